"""Training: gradients, alignment, and what each method trains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from opusim import datasets
from opusim.dfa.feedback import GaussianFeedback
from opusim.dfa.losses import errors_and_loss
from opusim.dfa.network import MLP
from opusim.dfa.optimisers import SGD, Adam
from opusim.dfa.trainer import BackpropTrainer, DFATrainer, ShallowTrainer
from opusim.dfa.training_data import shuffled
from small_training import (
    LOSSES,
    METHODS,
    SIZES,
    MatrixFeedback,
    double_network,
    make,
    mean_loss,
    random_feedback,
    samples,
)

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


@pytest.mark.slow
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
