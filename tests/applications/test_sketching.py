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
