"""Training: gradients, alignment, what each method trains, the history, and what stops a run."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from scipy import stats

from opusim import datasets
from opusim.dfa.checkpoint import read_run
from opusim.dfa.error_encoding import NearestTernaryEncoding, TernaryEncoding
from opusim.dfa.feedback import Costs, GaussianFeedback
from opusim.dfa.losses import errors_and_loss
from opusim.dfa.network import MLP
from opusim.dfa.optimisers import SGD, Adam
from opusim.dfa.trainer import BackpropTrainer, DFATrainer, ShallowTrainer, TrainingDivergedError
from opusim.dfa.training_data import shuffled

SIZES = (6, 8, 7, 4)
LOSSES = ("cross_entropy", "squared_error")


class MatrixFeedback:
    """Projects by a given matrix in double precision; counts as a device would."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = np.asarray(matrix, float)
        self.width, self.n_classes = self.matrix.shape
        self.costs = Costs(frames=0, device_s=0.0, device_j=0.0)
        self.seen: list[np.ndarray] = []

    def project(self, errors: np.ndarray) -> np.ndarray:
        self.seen.append(errors.copy())
        self.costs.frames += 2 * len(errors)
        self.costs.device_s += 1e-3 * len(errors)
        self.costs.device_j += 3e-2 * len(errors)
        return errors @ self.matrix.T

    def describe(self):
        return {"kind": "matrix"}

    def state(self):
        return {"calls": len(self.seen)}

    def restore(self, state):
        self.seen = [np.empty(0)] * state["calls"]


def double_network(seed: int = 0, activation: str = "tanh", sizes=SIZES) -> MLP:
    return MLP(sizes, activation=activation, seed=seed, dtype=np.float64)


def samples(n: int = 40, sizes=SIZES, seed: int = 0, dtype=np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Classes that can be told apart: clouds around random centres."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, sizes[-1], n)
    return (rng.normal(size=(sizes[-1], sizes[0]))[y] + 0.5 * rng.normal(size=(n, sizes[0]))).astype(dtype), y


def random_feedback(sizes=SIZES, seed: int = 5) -> MatrixFeedback:
    return MatrixFeedback(np.random.default_rng(seed).normal(size=(sum(sizes[1:-1]), sizes[-1])))


def mean_loss(network: MLP, loss: str, X: np.ndarray, y: np.ndarray) -> float:
    logits = network.forward(X).logits
    return errors_and_loss(loss, logits, y, np.empty_like(logits)) / len(y)


def make(method: str, network: MLP, **options):
    if method == "dfa":
        return DFATrainer(network, options.pop("feedback", None) or random_feedback(network.sizes), **options)
    return {"backprop": BackpropTrainer, "shallow": ShallowTrainer}[method](network, **options)


METHODS = ("dfa", "backprop", "shallow")

# -------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_backprop_gradients_are_finite_differences(activation, loss):
    """Central differences in double precision: error of order step^2 = 1e-10, rounding 1e-16 / step = 1e-11."""
    network, (X, y), step = double_network(activation=activation), samples(), 1e-5
    gradients = BackpropTrainer(network, loss=loss).gradients(X, y)
    # No corner of relu is near.
    assert activation == "tanh" or min(abs(a).min() for a in network.forward(X).pre) > 20 * step
    rng = np.random.default_rng(2)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        for place in rng.choice(parameter.size, min(parameter.size, 12), replace=False):
            flat = parameter.reshape(-1)
            kept = flat[place]
            flat[place] = kept + step
            above = mean_loss(network, loss, X, y)
            flat[place] = kept - step
            below = mean_loss(network, loss, X, y)
            flat[place] = kept
            assert gradient.reshape(-1)[place] == pytest.approx((above - below) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_backprop_gradients_are_those_of_pytorch(activation, dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed here")
    network = MLP(SIZES, activation=activation, dtype=dtype)
    X, y = samples(dtype=dtype)
    tensors = [torch.tensor(array, requires_grad=True) for array in network.parameters()]
    h = torch.from_numpy(X)
    for layer in range(3):
        h = torch.nn.functional.linear(h, tensors[2 * layer], tensors[2 * layer + 1])
        h = h if layer == 2 else getattr(torch, activation)(h)
    torch.nn.functional.cross_entropy(h, torch.from_numpy(y)).backward()
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    for mine, tensor in zip(BackpropTrainer(network).gradients(X, y), tensors, strict=True):
        np.testing.assert_allclose(mine, tensor.grad.numpy(), atol=tolerance)


@pytest.mark.parametrize("loss", LOSSES)
def test_dfa_gradients_are_the_formula(loss):
    """delta_l = s (B_l e) f'(a_l), one sample after the other; the last layer as in backpropagation."""
    network, (X, y), feedback = double_network(), samples(), random_feedback()
    trainer = DFATrainer(network, feedback, feedback_scale=0.3, loss=loss)
    gradients = trainer.gradients(X, y)
    passed, expected = network.forward(X), [np.zeros_like(p) for p in network.parameters()]
    errors = np.empty_like(passed.logits)
    errors_and_loss(loss, passed.logits, y, errors)
    for n, e in enumerate(errors):
        begin = 0
        for layer, size in enumerate(SIZES[1:-1]):
            slope = 1 - np.tanh(passed.pre[layer][n]) ** 2
            delta = 0.3 * (feedback.matrix[begin : begin + size] @ e) * slope
            expected[2 * layer] += np.outer(delta, passed.into_layer(layer)[n]) / len(y)
            expected[2 * layer + 1] += delta / len(y)
            begin += size
    for mine, formula in zip(gradients[:4], expected[:4], strict=True):
        np.testing.assert_allclose(mine, formula, atol=1e-14)
    for mine, true in zip(gradients[4:], BackpropTrainer(network, loss=loss).gradients(X, y)[4:], strict=True):
        assert np.array_equal(mine, true)
    # The feedback is given the errors of single samples, not of a mean.
    np.testing.assert_array_equal(feedback.seen[0], errors)


def test_the_default_feedback_scale_is_one_over_the_root_of_the_widest_layer():
    assert DFATrainer(double_network(), random_feedback()).feedback_scale == pytest.approx(1 / np.sqrt(8))


def linear_where_it_works() -> MLP:
    """A relu network that is linear on its samples: all pre-activations are positive."""
    network = double_network(activation="relu")
    for bias in network.biases[:2]:
        bias += 20
    return network


def test_dfa_with_the_product_of_the_weights_above_is_backprop():
    """Where the network is linear above a layer, B_l = (W_L ... W_(l+1))^T gives the true gradient, and angle 0."""
    network, (X, y) = linear_where_it_works(), samples()
    assert min(a.min() for a in network.forward(X).pre) > 0
    _, W2, W3 = network.weights
    feedback = MatrixFeedback(np.concatenate([(W3 @ W2).T, W3.T]))
    trainer = DFATrainer(network, feedback, feedback_scale=1.0)
    for mine, true in zip(trainer.gradients(X, y), BackpropTrainer(network).gradients(X, y), strict=True):
        np.testing.assert_allclose(mine, true, atol=1e-12)
    assert (trainer.alignment_deg(X, y) < 1e-6).all()


def test_dfa_with_the_last_weights_is_backprop_for_the_last_hidden_layer():
    """For any activation: the last layer itself is linear. The layer before it is another matter."""
    network, (X, y) = double_network(), samples()
    matrix = np.concatenate([np.random.default_rng(0).normal(size=(8, 4)), network.weights[2].T])
    trainer = DFATrainer(network, MatrixFeedback(matrix), feedback_scale=1.0)
    mine, true = trainer.gradients(X, y), BackpropTrainer(network).gradients(X, y)
    for k in (2, 3):
        np.testing.assert_allclose(mine[k], true[k], atol=1e-14)
    angles = trainer.alignment_deg(X, y)
    assert angles[1] < 1e-6 and angles[0] > 10


def test_an_opposite_matrix_stands_at_180_degrees():
    network, (X, y) = double_network(sizes=(6, 8, 4)), samples()
    assert DFATrainer(network, MatrixFeedback(-network.weights[1].T)).alignment_deg(X, y) == pytest.approx(
        180, abs=1e-6
    )


def test_random_feedback_stands_at_a_right_angle():
    """The inner product of the two updates is the sum of B_jc M_jc, with M_jc = sum_n f'_nj (G h_n)_j e_nc.

    So it is normal, with the standard deviation |M|. The sum of squares of 60 x 2 such numbers is chi-square, tested
    two-sided at a false-alarm rate of 1e-6. (The two layers share a sample, but not their slices of B.)
    """
    sizes, loss = (40, 50, 60, 10), "cross_entropy"
    network, (X, y) = double_network(sizes=sizes), samples(100, sizes)
    passed, errors = network.forward(X), np.empty((100, 10))
    errors_and_loss(loss, passed.logits, y, errors)
    true = BackpropTrainer(network).gradients(X, y)
    z, angles = [], []
    for seed in range(60):
        trainer = DFATrainer(network, random_feedback(sizes, seed))
        angles.append(trainer.alignment_deg(X, y))
        mine = trainer.gradients(X, y)
        for layer in range(2):
            G = true[2 * layer]
            M = ((passed.into_layer(layer) @ G.T) * (1 - passed.hidden[layer] ** 2)).T @ errors
            sigma = np.linalg.norm(M) * trainer.feedback_scale / 100
            inner = np.cos(np.radians(angles[-1][layer])) * np.linalg.norm(mine[2 * layer]) * np.linalg.norm(G)
            z.append(inner / sigma)
    assert 5e-7 < stats.chi2(len(z)).cdf(np.sum(np.square(z))) < 1 - 5e-7
    # The mean of 60 is within 5 of its own standard deviations: 6e-7 for each layer.
    spread = np.std(angles, axis=0) / np.sqrt(60)
    assert (abs(np.mean(angles, axis=0) - 90) < 5 * spread).all()


# --------------------------------------------------------------------------------------- what is trained, how


def test_shallow_trains_only_the_last_layer():
    network, (X, y) = double_network(), samples()
    before = [array.copy() for array in network.parameters()]
    history = ShallowTrainer(network, epochs=2).fit(X, y)
    same = [np.array_equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert same == [True] * 4 + [False] * 2
    assert np.isnan(history.alignment_deg).all() and np.isnan(ShallowTrainer(network).alignment_deg(X, y)).all()


@pytest.mark.parametrize("method", METHODS)
def test_each_epoch_is_one_pass_of_the_optimiser_in_the_order_of_its_seed(method):
    """Written out: three batches (the last of 8), learning rate times 0.5 after each epoch."""
    X, y = samples()
    network, other = double_network(), double_network()
    options = {"batch_size": 16, "epochs": 3, "seed": 9, "learning_rate_decay": 0.5}
    make(method, network, optimiser=SGD(0.1, momentum=0), **options).fit(X, y)
    single = make(method, other)
    for epoch in (1, 2, 3):
        order = shuffled(len(y), 9, epoch)
        for chosen in (order[:16], order[16:32], order[32:]):
            gradients = single.gradients(X[chosen], y[chosen])
            for parameter, gradient in zip(other.parameters(single.first_layer), gradients, strict=True):
                parameter -= 0.1 * 0.5 ** (epoch - 1) * gradient
    for mine, expected in zip(network.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-13)


def test_the_order_is_a_permutation_of_its_seed_and_epoch():
    orders = [shuffled(1000, seed, epoch) for seed, epoch in ((0, 1), (0, 2), (1, 1), (0, 1))]
    assert all(np.array_equal(np.sort(order), np.arange(1000)) for order in orders)
    assert np.array_equal(orders[0], orders[3])
    # Two random orders agree in a Poisson number of places of mean 1: more than 12 has the probability 6e-11.
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.sum(orders[a] == orders[b]) <= 12


@pytest.mark.parametrize("method", METHODS)
def test_digits(method):
    """1348 digits in 64-64-64-10, 15 epochs: the two that train all layers end clearly above the last layer alone."""
    digits = datasets.load("digits")
    X, Xv = ((x.reshape(len(x), 64) / 16).astype(np.float32) for x in (digits.x_train, digits.x_test))
    network = MLP([64, 64, 64, 10])
    options = {"batch_size": 32, "epochs": 15, "optimiser": SGD(0.05)}
    trainer = make(method, network, **options, **({"feedback": GaussianFeedback(10, 128)} if method == "dfa" else {}))
    history = trainer.fit(X, digits.y_train, validation=(Xv, digits.y_test))
    last = history.validation_accuracy[-1]
    assert last == network.accuracy(Xv, digits.y_test)
    assert last < 0.92 if method == "shallow" else last > 0.94
    assert history.loss[-1] < history.loss[0] and history.train_accuracy[-1] > history.train_accuracy[0]
    if method == "dfa":
        # Training aligns: that is what the method is named after (Lillicrap et al. 2016, Nokland 2016).
        assert (history.alignment_deg[-1] < 60).all()


def test_whole_numbers_and_floats_train_alike():
    X, y = samples(dtype=np.float32)
    X = np.rint(X * 10).clip(-100, 100).astype(np.int8)
    kept = X.copy()
    trained = []
    for array in (X, X.astype(np.float32), np.asfortranarray(X.astype(np.float64))):
        network = MLP(SIZES)
        BackpropTrainer(network, epochs=2, batch_size=16).fit(array, y)
        trained.append(network.parameters())
    assert all(np.array_equal(a, b) and np.array_equal(a, c) for a, b, c in zip(*trained, strict=True))
    assert np.array_equal(X, kept)


def test_a_second_fit_starts_with_a_fresh_optimiser_from_where_the_network_stands():
    X, y = samples()
    network, other = double_network(), double_network()
    trainer = BackpropTrainer(network, epochs=1)
    trainer.fit(X, y)
    history = trainer.fit(X, y)
    BackpropTrainer(other, epochs=1).fit(X, y)
    BackpropTrainer(other, epochs=1, optimiser=Adam()).fit(X, y)
    assert all(np.array_equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    assert len(history) == 1


# ---------------------------------------------------------------------------------------------------- history


def test_loss_and_accuracy_of_an_epoch_are_those_of_its_batches():
    """At a learning rate too small to move a double, they are those of the network as it was."""
    network, (X, y) = double_network(), samples()
    loss, accuracy = mean_loss(network, "cross_entropy", X, y), network.accuracy(X, y)
    history = BackpropTrainer(network, optimiser=SGD(1e-30), batch_size=16, epochs=1).fit(X, y)
    assert history.loss[0] == pytest.approx(loss, rel=1e-12)
    assert history.train_accuracy[0] == pytest.approx(accuracy)
    assert np.isnan(history.validation_accuracy[0])


def test_the_history_counts_what_the_feedback_counts():
    """Two frames for each of 40 samples and 16 of the alignment."""
    X, y = samples()
    history = DFATrainer(double_network(), random_feedback(), epochs=3, alignment_samples=16).fit(X, y)
    assert history.frames.tolist() == [112] * 3
    np.testing.assert_allclose(history.clock_s, 56e-3)
    np.testing.assert_allclose(history.energy_j, 56 * 3e-2)
    assert history.epoch.tolist() == [1, 2, 3] and history.alignment_deg.shape == (3, 2)


def test_alignment_is_measured_on_the_first_samples_at_the_end_of_an_epoch():
    network, (X, y), feedback = double_network(), samples(), random_feedback()
    history = DFATrainer(network, feedback, epochs=1, alignment_samples=16).fit(X, y)
    assert np.array_equal(history.alignment_deg[0], DFATrainer(network, feedback).alignment_deg(X[:16], y[:16]))


def test_no_alignment_without_samples_and_none_needed_for_backprop():
    X, y = samples()
    feedback = random_feedback()
    assert np.isnan(DFATrainer(double_network(), feedback, epochs=1, alignment_samples=0).fit(X, y).alignment_deg).all()
    assert sum(len(errors) for errors in feedback.seen) == 40
    history = BackpropTrainer(double_network(), epochs=2).fit(X, y)
    assert np.array_equal(history.alignment_deg, np.zeros((2, 2)))
    assert np.isnan(history.frames).all() and not history.projection_s.any()


def test_an_update_of_zero_has_no_angle():
    X, y = samples()
    assert np.isnan(DFATrainer(double_network(), MatrixFeedback(np.zeros((15, 4)))).alignment_deg(X, y)).all()


def test_the_parts_of_an_epoch_are_within_it():
    class Slow(MatrixFeedback):
        def project(self, errors):
            time.sleep(0.02)
            self.costs.encoding_s += 0.008
            self.costs.projection_s += 0.012
            return super().project(errors)

    X, y = samples()
    feedback = Slow(random_feedback().matrix)
    history = DFATrainer(double_network(), feedback, batch_size=10, epochs=2).fit(X, y, validation=(X, y))
    np.testing.assert_allclose(history.encoding_s, 5 * 0.008)
    np.testing.assert_allclose(history.projection_s, 5 * 0.012)
    parts = history.network_s + history.encoding_s + history.projection_s + history.evaluation_s
    # The five calls sleep at least as long as they say, outside of network and evaluation.
    assert (parts <= history.total_s).all() and (history.network_s > 0).all() and (history.evaluation_s > 0).all()


def test_a_network_without_hidden_layers_can_be_trained_but_not_by_dfa():
    X, y = samples()
    for trainer in (BackpropTrainer, ShallowTrainer):
        network = double_network(sizes=(6, 4))
        history = trainer(network, epochs=2, optimiser=SGD(0.5)).fit(X, y)
        assert history.loss[1] < history.loss[0] and history.alignment_deg.shape == (2, 0)
    with pytest.raises(ValueError, match="needs a hidden layer"):
        DFATrainer(double_network(sizes=(6, 4)), MatrixFeedback(np.zeros((1, 4))))


def test_a_callback_follows_the_run():
    calls = []
    X, y = samples()
    history = BackpropTrainer(double_network(), epochs=2, batch_size=16, callback=calls.append).fit(X, y)
    assert [(c.epoch, c.step, c.epoch_done, len(c.history)) for c in calls] == [
        *[(1, 1, False, 0), (1, 2, False, 0), (1, 3, False, 0), (1, 3, True, 1)],
        *[(2, 1, False, 1), (2, 2, False, 1), (2, 3, False, 1), (2, 3, True, 2)],
    ]
    assert {(c.epochs, c.steps) for c in calls} == {(2, 3)}
    assert calls[-1].loss == history.loss[-1] and calls[-1].accuracy == history.train_accuracy[-1]


def test_a_bar_is_shown_when_asked_for(capsys):
    X, y = samples()
    BackpropTrainer(double_network(), epochs=2).fit(X, y, validation=(X, y))
    assert capsys.readouterr() == ("", "")
    DFATrainer(double_network(), random_feedback(), epochs=2, progress=True).fit(X, y, validation=(X, y))
    out, err = capsys.readouterr()
    assert out == "" and "epoch 2 of 2" in err and "validation=" in err and "alignment=" in err


# -------------------------------------------------------------------------------------------- what stops a run


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["backprop", "dfa"])
def test_a_run_that_diverges_says_where(method):
    """At a rate of 1e6 the last bias alone grows by that factor from step to step: 1e38 is passed by the eighth."""
    X, y = samples(dtype=np.float32)
    network = MLP(SIZES, activation="relu")
    options = {"optimiser": SGD(1e6, momentum=0), "loss": "squared_error", "batch_size": 4}
    told = r"epoch 1, step \d: .*There is no checkpoint yet.*learning rate"
    with pytest.raises(TrainingDivergedError, match=told) as raised:
        make(method, network, **options).fit(X, y)
    assert raised.value.epoch == 1 and 2 <= raised.value.step <= 8 and raised.value.checkpoint is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("encoding", [None, NearestTernaryEncoding(), TernaryEncoding()], ids=repr)
def test_errors_no_feedback_takes_are_told_as_diverging(tmp_path, encoding):
    """A logit of 1e35 has a squared error of 5e69, which is finite in double precision: the error is what is too large.

    The check comes before the feedback, in the first step and in the measurement of the angles alike.
    """
    X, y = samples(dtype=np.float32)
    for first, where in ((1e35, "epoch 1, step 1"), (None, "epoch 3, step 4")):
        path = tmp_path / f"{first}.h5"
        network = MLP(SIZES)
        feedback = GaussianFeedback(4, 15, encoding=encoding)

        def grow(at, network=network):
            # After the last batch of the epoch: only the angles are left.
            if (at.epoch, at.step) == (3, 4) and not at.epoch_done:
                network.biases[-1][0] = 1e35

        options = {"loss": "squared_error", "batch_size": 10, "epochs": 4, "checkpoint": path, "callback": grow}
        if first is not None:
            network.biases[-1][0] = first
        trainer = DFATrainer(network, feedback, optimiser=SGD(1e-3), **options)
        with pytest.raises(TrainingDivergedError, match=f"{where}: an error at the output is .* 1e\\+30") as raised:
            trainer.fit(X, y)
        if first is None:
            assert (raised.value.epoch, raised.value.step, raised.value.checkpoint) == (3, 4, path)
            assert read_run(path).epochs_done == 2
        else:
            assert raised.value.checkpoint is None and feedback.costs.vectors == 0


class BreaksLate(MatrixFeedback):
    """Gives NaN from a certain call on."""

    def __init__(self, matrix, call):
        super().__init__(matrix)
        self.call = call

    def project(self, errors):
        result = super().project(errors)
        return result * np.nan if len(self.seen) >= self.call else result


@pytest.mark.parametrize(
    ("call", "epoch", "step", "what"),
    [(9, 3, 2, "the loss is nan"), (12, 3, 4, "a weight or bias is no longer finite")],
)
def test_the_last_checkpoint_is_kept(tmp_path, call, epoch, step, what):
    """Four batches an epoch: NaN in call 9 shows in the loss of batch 10; in call 12, the last of epoch 3, nowhere."""
    X, y = samples()
    path = tmp_path / "run.h5"
    feedback = BreaksLate(random_feedback().matrix, call)
    trainer = DFATrainer(double_network(), feedback, batch_size=10, epochs=9, alignment_samples=0, checkpoint=path)
    kept = []
    trainer.callback = lambda at: at.epoch_done and kept.append(path.read_bytes())
    with pytest.raises(TrainingDivergedError, match=f"{what}. The checkpoint .*run.h5 of epoch 2 is kept") as told:
        trainer.fit(X, y)
    assert (told.value.epoch, told.value.step, told.value.checkpoint) == (epoch, step, path)
    assert path.read_bytes() == kept[-1] and len(kept) == 2 == len(trainer.history) == trainer.checkpoint_epoch


BAD_DATA = [
    (lambda X, y: (X, np.where(y == 3, 4, y)), ValueError, r"y\[\d+\] is 4, but labels must be from 0 to 3"),
    (lambda X, y: (X, y - 1), ValueError, r"y\[\d+\] is -1, but labels .* of 40 labels are out of range"),
    (lambda X, y: (X, y.astype(float)), TypeError, "y is an array of float64, but it must hold labels"),
    (lambda X, y: (X, np.eye(4)[y]), TypeError, "y is an array of float64"),
    (lambda X, y: (X, y[:-1]), ValueError, r"y has the shape \(39,\), but it must be \(40,\)"),
    (lambda X, y: (X[:, 1:], y), ValueError, r"X has the shape \(40, 5\), but it must be \(samples, 6\)"),
    (lambda X, y: (X[:0], y[:0]), ValueError, r"X has the shape \(0, 6\).*at least one sample"),
    (lambda X, y: (X + 0j, y), TypeError, "X is an array of complex128"),
    (lambda X, y: (np.where(np.arange(40)[:, None] == 7, np.nan, X), y), ValueError, r"X\[7, 0\] is nan"),
    (
        lambda X, y: (np.where(np.arange(40)[:, None] == 39, 1e39, X), y),
        ValueError,
        r"X\[39, 0\] is 1e\+39.*in float32",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD_DATA)
def test_bad_data_are_refused_before_anything_is_trained(change, error, message):
    network = MLP(SIZES)
    before = [array.copy() for array in network.parameters()]
    X, y = samples()
    trainer = BackpropTrainer(network, epochs=1)
    with pytest.raises(error, match=message):
        trainer.fit(*change(X, y))
    of_validation = re.sub("^X", r"validation\\[0\\]", re.sub("^y", r"validation\\[1\\]", message))
    with pytest.raises(error, match=of_validation):
        trainer.fit(X, y, validation=change(X, y))
    with pytest.raises(error, match=message):
        trainer.gradients(*change(X, y))
    assert all(np.array_equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("validation", [np.zeros((3, 6)), (np.zeros((3, 6)),), [1, 2, 3]])
def test_validation_is_a_pair(validation):
    with pytest.raises(TypeError, match="validation is a .*, but it must be None or two arrays"):
        BackpropTrainer(MLP(SIZES)).fit(*samples(), validation=validation)


def test_validation_may_be_a_list():
    X, y = samples()
    first, second = (BackpropTrainer(MLP(SIZES), epochs=1).fit(X, y, validation=kind([X, y])) for kind in (list, tuple))
    assert np.array_equal(first.validation_accuracy, second.validation_accuracy)


@pytest.mark.parametrize(
    ("feedback", "error", "message"),
    [
        (
            MatrixFeedback(np.zeros((8, 4))),
            ValueError,
            r"width 8, but it must be 15: the sum of the hidden layers 8 \+ 7",
        ),
        (MatrixFeedback(np.zeros((15, 5))), ValueError, "errors of 5 classes, but the network has 4"),
        (
            np.zeros((15, 4)),
            TypeError,
            "ndarray.*, which has no n_classes, width, costs, project, describe, state, restore",
        ),
    ],
)
def test_a_feedback_that_does_not_fit(feedback, error, message):
    with pytest.raises(error, match=message):
        DFATrainer(MLP(SIZES), feedback)


def test_a_feedback_that_returns_another_shape():
    feedback = random_feedback()
    feedback.project = lambda errors: np.zeros((len(errors), 3))
    with pytest.raises(ValueError, match=r"feedback returned an array of the shape \(40, 3\), but it must be"):
        DFATrainer(MLP(SIZES), feedback).fit(*samples())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"epochs": 1.5}, TypeError, "epochs is 1.5"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"loss": "hinge"}, ValueError, "loss is 'hinge', but it must be one of 'cross_entropy', 'squared_error'"),
        ({"learning_rate_decay": 0}, ValueError, "learning_rate_decay is 0"),
        ({"alignment_samples": -1}, ValueError, "alignment_samples is -1"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every is 0"),
        ({"progress": 1}, TypeError, "progress is 1"),
        ({"callback": 1}, TypeError, "callback is 1"),
        ({"optimiser": "adam"}, TypeError, "optimiser is 'adam'"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        BackpropTrainer(MLP(SIZES), **options)


def test_other_networks_are_refused():
    with pytest.raises(TypeError, match="network is .*, but it must be an opusim.dfa.MLP"):
        BackpropTrainer([6, 4])
    network = MLP(SIZES)
    network.weights[1] = network.weights[1].astype(np.float64)
    with pytest.raises(ValueError, match=r"weights\[1\] of the network must be"):
        BackpropTrainer(network).fit(*samples())


@pytest.mark.parametrize("scale", [0, -1, np.inf, np.nan])
def test_bad_feedback_scale(scale):
    with pytest.raises(ValueError, match="feedback_scale is"):
        DFATrainer(MLP(SIZES), random_feedback(), feedback_scale=scale)
