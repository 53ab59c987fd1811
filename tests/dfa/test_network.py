"""The network: its initial parameters, its forward pass, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from opusim.dfa.losses import errors_and_loss
from opusim.dfa.network import MLP

SIZES = (7, 5, 4, 3)


def samples(n: int, seed: int = 0, width: int = SIZES[0]) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


# ------------------------------------------------------------------------------------------------- parameters


def test_shapes_and_number_of_parameters():
    network = MLP([784, 1024, 1024, 10])
    assert [w.shape for w in network.weights] == [(1024, 784), (1024, 1024), (10, 1024)]
    assert [b.shape for b in network.biases] == [(1024,), (1024,), (10,)]
    assert network.n_parameters == 785 * 1024 + 1025 * 1024 + 1025 * 10
    assert network.hidden_sizes == (1024, 1024) and network.n_classes == 10 and network.n_layers == 3
    assert {array.dtype for array in network.parameters()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_start_uniform_within_one_over_root_of_inputs(dtype):
    """PyTorch's default; Kolmogorov-Smirnov at a false-alarm rate of 1e-6 for each of four tests, fixed seed."""
    network = MLP([100, 400, 300], seed=3, dtype=dtype)
    for arrays in (network.weights, network.biases):
        for array, n_in in zip(arrays, (100, 400), strict=True):
            bound = 1 / np.sqrt(n_in)
            assert abs(array).max() <= bound * (1 + 1e-6)
            assert stats.kstest(array.reshape(-1).astype(float), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-6


def test_parameters_of_layers_and_seeds_have_nothing_in_common():
    """The correlation of n independent pairs is within 5 / sqrt(n): a false-alarm rate of 6e-7 each."""
    first, other = MLP([100, 100, 100], seed=0), MLP([100, 100, 100], seed=1)
    pairs = [(first.weights[0], first.weights[1]), (first.weights[0], other.weights[0])]
    for a, b in pairs:
        assert abs(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1]) < 5 / 100
    again = MLP([100, 100, 100], seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_the_global_random_state_plays_no_part():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    MLP(SIZES)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_parameters_are_the_arrays_themselves_from_a_layer_on():
    network = MLP(SIZES)
    last = network.parameters(2)
    assert last[0] is network.weights[2] and last[1] is network.biases[2] and len(last) == 2


def test_load_parameters_copies():
    network, other = MLP(SIZES, seed=0), MLP(SIZES, seed=1)
    network.load_parameters(other.parameters())
    other.weights[0][...] = 0
    assert np.array_equal(network.weights[1], other.weights[1]) and network.weights[0].all()
    with pytest.raises(ValueError, match=r"given \(float32\(5, 7\), float32\(5,\), .*do not fit a network of the"):
        network.load_parameters(MLP([7, 5, 3]).parameters())
    with pytest.raises(ValueError, match="given .*float64.* do not fit .* float32"):
        network.load_parameters(MLP(SIZES, dtype=np.float64).parameters())


# ---------------------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize(("activation", "f"), [("tanh", np.tanh), ("relu", lambda a: np.maximum(a, 0))])
def test_forward_is_the_formula(activation, f):
    """h_l = f(W_l h_(l-1) + b_l), sample by sample; double precision leaves 1e-14 of sums of at most 7 terms."""
    network = MLP(SIZES, activation=activation, dtype=np.float64)
    X = samples(6)
    passed = network.forward(X)
    for n, x in enumerate(X.astype(np.float64)):
        h = x
        for layer in range(2):
            a = network.weights[layer] @ h + network.biases[layer]
            h = f(a)
            np.testing.assert_allclose(passed.pre[layer][n], a, atol=1e-14)
            np.testing.assert_allclose(passed.hidden[layer][n], h, atol=1e-14)
        np.testing.assert_allclose(passed.logits[n], network.weights[2] @ h + network.biases[2], atol=1e-14)


def test_forward_into_a_workspace_allocates_nothing_of_its_own():
    network = MLP(SIZES)
    space = network.workspace(6)
    passed = network.forward(samples(6), out=space)
    assert passed.logits is space.logits and passed.hidden[0] is space.hidden[0]
    assert np.array_equal(passed.logits, network.forward(samples(6)).logits)
    part = network.forward(samples(6)[:4], out=space.rows(4))
    assert np.shares_memory(part.logits, space.logits) and part.logits.shape == (4, 3)
    with pytest.raises(ValueError, match="out has 6 rows, but it must have as many as X: 4"):
        network.forward(samples(4), out=space)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_derivative_is_the_finite_difference(activation):
    """Central differences of step h: error of order h^2 = 1e-10. No pre-activation lies within h of relu's corner."""
    network, step = MLP([4, 6, 2], activation=activation, dtype=np.float64), 1e-5
    X, values = samples(20, width=4), np.random.default_rng(1).normal(size=(20, 6))
    passed = network.forward(X)
    assert abs(passed.pre[0]).min() > step
    f = np.tanh if activation == "tanh" else lambda a: np.maximum(a, 0)
    slope = (f(passed.pre[0] + step) - f(passed.pre[0] - step)) / (2 * step)
    out = np.empty_like(values)
    network.times_derivative(passed, 0, values, out)
    np.testing.assert_allclose(out, values * slope, atol=1e-8)


def test_whole_numbers_are_taken_as_they_are():
    network = MLP(SIZES)
    X = np.random.default_rng(0).integers(0, 255, (5, 7)).astype(np.uint8)
    assert np.array_equal(network.forward(X).logits, network.forward(X.astype(np.float32)).logits)


def test_predict_takes_the_largest_logit_whatever_the_number_of_samples():
    """2500 samples go through in three blocks; a BLAS may round differently by shape, so near ties are left out."""
    network, X = MLP(SIZES), samples(2500)
    logits = network.forward(X).logits
    top = np.sort(logits, axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-5
    assert clear.mean() > 0.99
    predicted = network.predict(X)
    assert predicted.dtype == np.int64
    assert np.array_equal(predicted[clear], logits.argmax(axis=1)[clear])


def test_accuracy_is_the_share_of_right_answers():
    network, X = MLP(SIZES), samples(40)
    y = network.predict(X)
    y[:10] = (y[:10] + 1) % 3
    assert network.accuracy(X, y) == 0.75


# ----------------------------------------------------------------------------------------------------- losses


def test_cross_entropy_against_scipy():
    """Logits up to 1e4 overflow no exponential. Single precision: 1e-6 relative for 10 classes."""
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(64, 10)) * 10.0 ** rng.integers(-2, 5, (64, 1))).astype(np.float32)
    labels, errors = rng.integers(0, 10, 64), np.empty((64, 10), np.float32)
    loss = errors_and_loss("cross_entropy", logits, labels, errors)
    exact = special.log_softmax(logits.astype(np.float64), axis=1)
    assert loss == pytest.approx(-exact[np.arange(64), labels].sum(), rel=1e-6)
    np.testing.assert_allclose(errors, np.exp(exact) - np.eye(10)[labels], atol=1e-6)


def test_squared_error_is_half_the_squared_distance():
    logits = samples(9, width=4).astype(np.float64)
    labels, errors = np.arange(9) % 4, np.empty((9, 4))
    distance = logits - np.eye(4)[labels]
    assert errors_and_loss("squared_error", logits, labels, errors) == pytest.approx(0.5 * (distance**2).sum())
    assert np.array_equal(errors, distance)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_logit_shows_in_the_loss(loss, bad):
    logits = np.zeros((3, 4), np.float32)
    logits[1, 2] = bad
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(errors_and_loss(loss, logits, np.zeros(3, int), np.empty_like(logits)))


# -------------------------------------------------------------------------------------------------- bad input


def test_sizes_may_be_an_array():
    network = MLP(np.array([8, 16, 3]))
    assert network.sizes == (8, 16, 3) and network.describe() == MLP([8, 16, 3]).describe()


@pytest.mark.parametrize("sizes", [[], [5], "784", 784, None])
def test_sizes_are_at_least_two_numbers(sizes):
    with pytest.raises(ValueError, match="sizes is .* at least two whole numbers"):
        MLP(sizes)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sizes": [4, 0, 2]}, ValueError, r"sizes\[1\] is 0"),
        ({"sizes": [4, 2.5]}, TypeError, r"sizes\[1\] is 2.5"),
        ({"activation": "sigmoid"}, ValueError, "activation is 'sigmoid', but it must be one of 'tanh', 'relu'"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"sizes": np.array([8.0, 16.0])}, TypeError, r"sizes\[0\] is 8.0"),
        ({"sizes": np.array(8)}, ValueError, "sizes is 8, but it must be at least two"),
        ({"dtype": "foo"}, ValueError, "dtype is 'foo', but it must be float32 or float64"),
        ({"dtype": np.float16}, ValueError, "dtype is float16, but it must be float32 or float64"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        MLP(**{"sizes": [4, 2], **arguments})


@pytest.mark.parametrize("X", [np.zeros(7), np.zeros((3, 6)), np.zeros((2, 7, 1)), 3.0])
@pytest.mark.parametrize("call", ["forward", "predict"])
def test_wrong_shapes(X, call):
    with pytest.raises(ValueError, match=r"X has the shape .*, but it must be \(samples, 7\)"):
        getattr(MLP(SIZES), call)(X)


@pytest.mark.parametrize("X", [np.zeros((2, 7), complex), np.array([["a"] * 7]), np.array([[None] * 7])])
def test_no_real_numbers(X):
    with pytest.raises(TypeError, match="X is an array of .*, but it must hold real numbers"):
        MLP(SIZES).forward(X)


@pytest.mark.parametrize("y", [np.zeros(3, int), np.zeros((4, 1), int)])
def test_accuracy_needs_a_label_for_each_sample(y):
    with pytest.raises(ValueError, match="y has the shape .*, but X has 4 samples"):
        MLP(SIZES).accuracy(samples(4), y)


@pytest.mark.parametrize("foreign", [-1, SIZES[-1], 255])
def test_accuracy_needs_labels_of_the_network(foreign):
    with pytest.raises(
        ValueError, match=rf"y\[2\] is {foreign}, but labels are whole numbers from 0 to {SIZES[-1] - 1}"
    ):
        MLP(SIZES).accuracy(samples(4), np.array([0, 1, foreign, 0]))


@pytest.mark.parametrize(
    "array", [np.zeros((5, 6), np.float32), np.zeros((5, 7)), np.zeros((7, 5), np.float32).T, [[0.0] * 7] * 5]
)
def test_check_finds_a_replaced_array(array):
    network = MLP(SIZES)
    network.check()
    network.weights[0] = np.zeros((5, 7), np.float32)
    network.check()
    network.weights[0] = array
    with pytest.raises(ValueError, match=r"weights\[0\] of the network must be a writeable array of float32\(5, 7\)"):
        network.check()
