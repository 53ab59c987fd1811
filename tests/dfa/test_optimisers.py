"""Optimisers: closed forms, PyTorch's own, plain numpy, and going on from a state."""

from __future__ import annotations

import numpy as np
import pytest

from opusim.dfa.optimisers import SGD, Adam

KINDS = {
    "sgd": (SGD, {"learning_rate": 0.05, "momentum": 0.9}),
    "sgd without momentum": (SGD, {"learning_rate": 0.05, "momentum": 0.0}),
    "sgd with decay": (SGD, {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    "adam": (Adam, {"learning_rate": 0.01}),
    "adam with decay": (
        Adam,
        {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1},
    ),
}
SHAPES = [(30, 20), (30,), (3, 30), (3,)]


def arrays(seed: int, dtype=np.float32) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def trained(kind: str, steps: int, dtype=np.float32, **step_options) -> list[np.ndarray]:
    make, settings = KINDS[kind]
    optimiser, parameters = make(**settings), arrays(0, dtype)
    optimiser.prepare(parameters)
    for step in range(steps):
        optimiser.step(parameters, arrays(step + 1, dtype), **step_options)
    return parameters


def test_sgd_under_a_constant_gradient():
    """v_t = g (1 - mu^t) / (1 - mu), so p_t = p_0 - lr g (t - mu (1 - mu^t) / (1 - mu)) / (1 - mu)."""
    mu, rate, t = 0.9, 0.05, 40
    optimiser, p, g = SGD(rate, momentum=mu), np.array([1.0, -2.0, 3.0]), np.array([0.5, -0.25, 0.0])
    start = p.copy()
    optimiser.prepare([p])
    for _ in range(t):
        optimiser.step([p], [g])
    np.testing.assert_allclose(p, start - rate * g * (t - mu * (1 - mu**t) / (1 - mu)) / (1 - mu), rtol=1e-12)


def test_adam_under_a_constant_gradient():
    """Both means without their bias are g and g^2 from the first step on: each step is lr g / (|g| + epsilon)."""
    rate, epsilon, t = 0.01, 1e-3, 40
    optimiser, p, g = Adam(rate, epsilon=epsilon), np.array([1.0, -2.0, 3.0]), np.array([5.0, -1e-3, 0.0])
    start = p.copy()
    optimiser.prepare([p])
    for _ in range(t):
        optimiser.step([p], [g])
    np.testing.assert_allclose(p, start - t * rate * g / (abs(g) + epsilon), rtol=1e-10)


def test_weight_decay_alone_shrinks_geometrically():
    optimiser, p = SGD(0.1, momentum=0, weight_decay=0.5), np.array([1.0, -2.0])
    optimiser.prepare([p])
    for _ in range(10):
        optimiser.step([p], [np.zeros(2)])
    np.testing.assert_allclose(p, np.array([1.0, -2.0]) * 0.95**10, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_the_same_as_pytorch(kind, dtype, tolerance):
    """60 steps; the tolerance is that of sums of 60 rounded steps of at most 0.5 on parameters of order 1 to 10."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed here")
    make, settings = KINDS[kind]
    names = {"learning_rate": "lr", "epsilon": "eps"}
    options = {names.get(k, k): v for k, v in settings.items() if not k.startswith("beta")}
    if make is Adam:
        options["betas"] = (settings.get("beta1", 0.9), settings.get("beta2", 0.999))
    tensors = [torch.nn.Parameter(torch.from_numpy(array.copy())) for array in arrays(0, dtype)]
    theirs = (torch.optim.SGD if make is SGD else torch.optim.Adam)(tensors, **options)
    for step in range(60):
        for tensor, gradient in zip(tensors, arrays(step + 1, dtype), strict=True):
            tensor.grad = torch.from_numpy(gradient)
        theirs.step()
    for mine, tensor in zip(trained(kind, 60, dtype), tensors, strict=True):
        other = tensor.detach().numpy()
        assert abs(mine - other).max() <= tolerance * max(1.0, abs(other).max())


def plain_numpy(kind: str, steps: int) -> list[np.ndarray]:
    """The updates as their formulas read, in single precision."""
    make, settings = KINDS[kind]
    o, parameters = make(**settings), arrays(0)
    first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    for t in range(1, steps + 1):
        for p, g, m, s in zip(parameters, arrays(t), first, second, strict=True):
            g = g + np.float32(o.weight_decay) * p
            if make is SGD:
                m[...] = np.float32(o.momentum) * m + g
                p -= np.float32(o.learning_rate) * m
            else:
                m[...] = np.float32(o.beta1) * m + np.float32(1 - o.beta1) * g
                s[...] = np.float32(o.beta2) * s + np.float32(1 - o.beta2) * (g * g)
                root = np.sqrt(s) * np.float32(1 / np.sqrt(1 - o.beta2**t))
                p -= np.float32(o.learning_rate / (1 - o.beta1**t)) * m / (root + np.float32(o.epsilon))
    return parameters


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernels_do_what_plain_numpy_does(kind):
    """The same operations in the same order, each rounded once: two units in the last place cover a fused one."""
    for mine, plain in zip(trained(kind, 20), plain_numpy(kind, 20), strict=True):
        np.testing.assert_allclose(mine, plain, rtol=2.4e-7, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_goes_on_from_a_state_bit_for_bit(kind):
    make, settings = KINDS[kind]
    first, parameters = make(**settings), arrays(0)
    first.prepare(parameters)
    for step in range(7):
        first.step(parameters, arrays(step + 1))
    state = {name: array.copy() for name, array in first.state().items()}
    second = make(**settings)
    second.prepare(parameters)
    second.restore(state)
    for step in range(7, 15):
        second.step(parameters, arrays(step + 1))
    assert all(np.array_equal(a, b) for a, b in zip(parameters, trained(kind, 15), strict=True))
    assert second.steps == 15


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_prepare_forgets(kind):
    make, settings = KINDS[kind]
    optimiser = make(**settings)
    for _ in range(2):
        parameters = arrays(0)
        optimiser.prepare(parameters)
        for step in range(3):
            optimiser.step(parameters, arrays(step + 1))
    assert all(np.array_equal(a, b) for a, b in zip(parameters, trained(kind, 3), strict=True))


def test_the_rate_is_a_factor_on_the_learning_rate():
    """Parameters without decay move in proportion to it; single precision of p_0 +- a step of 0.05 to 5."""
    start = arrays(0)
    whole, half = trained("sgd", 5), trained("sgd", 5, rate=0.5)
    for p0, a, b in zip(start, whole, half, strict=True):
        np.testing.assert_allclose(b - p0, 0.5 * (a - p0), atol=2e-6)


def test_gradients_are_left_alone_and_parameters_change_in_place():
    optimiser, parameters, gradients = Adam(weight_decay=0.1), arrays(0), arrays(1)
    optimiser.prepare(parameters)
    kept = list(parameters)
    optimiser.step(parameters, gradients)
    assert all(np.array_equal(a, b) for a, b in zip(gradients, arrays(1), strict=True))
    assert all(a is b for a, b in zip(parameters, kept, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(parameters, arrays(0), strict=True))


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (SGD, {"learning_rate": 0}, ValueError, "learning_rate is 0"),
        (SGD, {"learning_rate": float("nan")}, ValueError, "learning_rate is nan"),
        (SGD, {"momentum": 1.0}, ValueError, r"momentum is 1.0, but it must be a number in \[0, 1\)"),
        (SGD, {"momentum": -0.1}, ValueError, "momentum is -0.1"),
        (SGD, {"weight_decay": -1}, ValueError, "weight_decay is -1"),
        (Adam, {"beta1": 1}, ValueError, "beta1 is 1"),
        (Adam, {"beta2": 2}, ValueError, "beta2 is 2"),
        (Adam, {"epsilon": 0}, ValueError, "epsilon is 0"),
        (Adam, {"learning_rate": "fast"}, TypeError, "learning_rate is 'fast'"),
    ],
)
def test_bad_settings(make, arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    "parameters", [[np.zeros(3, int)], [np.zeros(3), np.zeros(3, np.float32)], [np.zeros((3, 4)).T]]
)
def test_prepare_refuses_what_it_cannot_change_in_place(parameters):
    with pytest.raises(ValueError, match="parameters must be arrays of float32 or float64"):
        SGD().prepare(parameters)


@pytest.mark.parametrize("gradient", [np.zeros(4), np.zeros(3, np.float32), np.zeros((3, 1))])
def test_step_refuses_other_arrays(gradient):
    optimiser, parameter = SGD(), np.zeros(3)
    optimiser.prepare([parameter])
    with pytest.raises(ValueError, match="must have the shapes and the dtype"):
        optimiser.step([parameter], [gradient])


def test_restore_refuses_the_state_of_another():
    sgd, adam = SGD(), Adam()
    sgd.prepare(arrays(0))
    adam.prepare(arrays(0))
    with pytest.raises(ValueError, match="does not fit these parameters and Adam"):
        adam.restore(sgd.state())
    short = SGD()
    short.prepare(arrays(0)[:2])
    with pytest.raises(ValueError, match="does not fit these parameters and SGD"):
        sgd.restore(short.state())
