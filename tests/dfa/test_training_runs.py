"""Training runs: their history, what stops them, and what is refused."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

from opusim.dfa.checkpoint import read_run
from opusim.dfa.error_encoding import NearestTernaryEncoding, TernaryEncoding
from opusim.dfa.feedback import GaussianFeedback
from opusim.dfa.network import MLP
from opusim.dfa.optimisers import SGD
from opusim.dfa.trainer import BackpropTrainer, DFATrainer, ShallowTrainer, TrainingDivergedError
from small_training import SIZES, MatrixFeedback, double_network, make, mean_loss, random_feedback, samples

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
            "ndarray.*, which has no costs, describe, n_classes, project, restore, state, width",
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
