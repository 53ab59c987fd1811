"""Sketches by anything that has a linear transform."""

from __future__ import annotations

import numpy as np
import pytest

from opusim.applications.sketching import moments, own_matrix, range_basis, sketch_by, sketch_noise


class Exact:
    """A random matrix without noise."""

    def __init__(self, size: int, n_components: int) -> None:
        self.matrix = np.random.default_rng(3).normal(size=(size, n_components))

    def linear_transform(self, bits: np.ndarray) -> np.ndarray:
        assert set(np.unique(bits)) <= {0, 1}
        return bits @ self.matrix


@pytest.fixture
def numbers() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_sketch_is_a_product_but_for_the_bits(numbers):
    """Rounding to n bits of the magnitude: the error falls by half with each bit, a sixth of 2^-n at most here."""
    opu, x = Exact(60, 400), numbers.normal(size=(5, 60))
    errors = [sketch_noise(x @ opu.matrix, sketch_by(opu, n_bits)(x)) for n_bits in (4, 8)]
    assert errors[1] < 2**-8 and errors[0] == pytest.approx(16 * errors[1], rel=0.5)


def test_the_matrix_of_a_transform_is_measured(numbers):
    opu = Exact(50, 7)
    signs = numbers.choice([-1.0, 1.0], size=50)
    assert np.allclose(own_matrix(sketch_by(opu, 1), 50, signs), opu.matrix)


def test_a_matrix_of_low_rank_is_found_whole(numbers):
    matrix = numbers.normal(size=(80, 5)) @ numbers.normal(size=(5, 60))
    q = range_basis(matrix, matrix @ Exact(60, 5).matrix)
    assert np.allclose(q @ (q.T @ matrix), matrix)
    # What is left of a slowly falling matrix gets less with iterations.
    left, right = (np.linalg.qr(numbers.normal(size=(60, 60)))[0] for _ in range(2))
    slow = (left / np.arange(1.0, 61) ** 0.5) @ right
    sketch = slow @ Exact(60, 10).matrix
    bases = [range_basis(slow, sketch, power_iterations=k) for k in (0, 3)]
    errors = [np.linalg.norm(slow - q @ (q.T @ slow)) for q in bases]
    assert errors[1] < 0.97 * errors[0]


@pytest.mark.parametrize("power", [1, 3])
def test_moments_have_the_right_mean(numbers, power):
    """20 blocks: the mean is known to the spread over sqrt(20); four of that."""
    matrix = numbers.random((30, 30))
    s = Exact(30, 20 * 40).matrix
    small = s.T @ matrix @ s
    found = moments(small, 40, power)
    truth = np.trace(np.linalg.matrix_power(matrix, power))
    assert len(found) == 20
    if power == 1:
        assert abs(found.mean() - truth) < 4 * found.std() / np.sqrt(20)
    else:  # a power of an estimate has its spread in its mean
        assert found.mean() == pytest.approx(truth, rel=0.5)


EYE = np.eye(4)
SIGNS = np.array([1.0, -1.0, 1.0, 1.0])


def identity(x):
    return x


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x: range_basis(x, EYE), "matrix"),
        (lambda x: range_basis(EYE, x), "sketch"),
        (lambda x: range_basis(EYE, x, power_iterations=1), "sketch"),
        (lambda x: moments(x, 2, 1), "twice"),
        (lambda x: sketch_noise(x, EYE), "first"),
        (lambda x: sketch_noise(EYE, x), "again"),
        (lambda x: own_matrix(identity, 4, x[0]), "signs"),
        (lambda x: own_matrix(lambda _: x, 4, SIGNS), "what sketch returned"),
    ],
)
def test_arrays_that_hold_no_numbers_are_refused(call, sentence):
    mask = EYE > 0
    for odd in (np.where(mask, np.nan, EYE), np.where(mask, np.inf, EYE), np.ma.masked_array(EYE, mask), EYE * 1j):
        with pytest.raises((TypeError, ValueError), match=sentence):
            call(odd)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: range_basis(EYE, EYE[:1]), r"sketch has the shape \(1, 4\), but .* rows as matrix: 4"),
        (lambda: range_basis(EYE[0], EYE), r"matrix has the shape \(4,\), but"),
        (lambda: range_basis(EYE, EYE, power_iterations=-1), "power_iterations is -1, but"),
        (lambda: moments(EYE[:3], 1, 1), r"twice has the shape \(3, 4\), but it must be square"),
        (lambda: moments(EYE, 3, 1), "block is 3, but it must divide n_components, 4"),
        (lambda: moments(EYE, 0, 1), "block is 0, but"),
        (lambda: moments(EYE, 2, -1), "power is -1, but"),
        (lambda: sketch_noise(EYE, EYE[:1]), r"again has the shape \(1, 4\), but it must be that of first, \(4, 4\)"),
        (lambda: own_matrix(identity, 4, SIGNS[:1]), r"signs has the shape \(1,\), but"),
        (lambda: own_matrix(identity, 4, SIGNS / 2), r"signs\[0\] is 0.5, but every sign must be \+1 or -1"),
        (lambda: own_matrix(lambda x: x[:1], 4, SIGNS), r"What sketch returned has the shape \(1, 4\), but"),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
