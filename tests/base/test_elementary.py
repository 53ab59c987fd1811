"""Elementary functions against decimal arithmetic of sixty digits, and what makes their bits the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest

from opusim.base import elementary
from opusim.base.elementary_kernels import MOST_RAD, fill_phasors

_DIGITS = 60
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")


def _decimal_sine(x: Decimal) -> Decimal:
    """Sine by its series, after whole turns are taken off."""
    x -= 2 * _PI * (x / (2 * _PI)).to_integral_value()
    term, total, n = x, x, 1
    while abs(term) > Decimal(10) ** -(_DIGITS - 5):
        term *= -x * x / ((n + 1) * (n + 2))
        total += term
        n += 2
    return total


def _decimal_cosine(x: Decimal) -> Decimal:
    return _decimal_sine(x + _PI / 2)


def _ulps(found: np.ndarray, truth: Callable[[Decimal], Decimal], x: np.ndarray) -> float:
    """Largest error in units of the last place of the true value."""
    worst = 0.0
    with localcontext() as context:
        context.prec = _DIGITS + 30  # whole turns of large angles take some
        for value, argument in zip(found.tolist(), x.tolist(), strict=True):
            exact = truth(Decimal(argument))
            worst = max(worst, float(abs(Decimal(value) - exact) / Decimal(math.ulp(float(exact)))))
    return worst


def _angles() -> np.ndarray:
    r = np.random.default_rng(1)
    return np.concatenate(
        [
            r.uniform(-4, 4, 150), r.uniform(-1e4, 1e4, 150), 10 ** r.uniform(-9, math.log10(MOST_RAD), 150),
            # Next to the zeros of one of the two, where all leading digits cancel.
            np.round(r.uniform(0, 1e9, 150)) * (np.pi / 2),
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("function", "truth"), [(elementary.sin, _decimal_sine), (elementary.cos, _decimal_cosine)], ids=["sin", "cos"]
)
def test_sine_and_cosine_are_within_a_unit_of_the_last_place(function, truth):
    x = _angles()
    assert _ulps(function(x), truth, x) < 0.85


def test_exponential_is_within_a_unit_of_the_last_place():
    r = np.random.default_rng(2)
    x = np.concatenate([r.uniform(-700, 709, 500), r.uniform(-1, 1, 500), -(10 ** r.uniform(-12, 2, 200))])
    assert _ulps(elementary.exp(x), Decimal.exp, x) < 0.85


def test_logarithm_is_within_a_unit_of_the_last_place():
    r = np.random.default_rng(3)
    x = np.concatenate(
        [r.uniform(0, 1, 500), 10 ** r.uniform(-307, 307, 500), r.uniform(0.7, 1.5, 500), [5e-324, 1e-310]]
    )
    assert _ulps(elementary.log(x), Decimal.ln, x) < 0.85


def test_angle_is_that_of_its_own_sine_and_cosine():
    r = np.random.default_rng(4)
    z = r.standard_normal(20000) + 1j * r.standard_normal(20000)
    found = elementary.angle(z)
    # The sine of what is left over is the error: known far better than the angle itself.
    cosine, sine = elementary.cos(found), elementary.sin(found)
    error = (z.imag * cosine - z.real * sine) / np.abs(z)
    assert np.abs(error).max() < 6e-16
    assert [elementary.angle(v) for v in (0, 1, 1j, -1j)] == [0, 0, math.pi / 2, -math.pi / 2]
    assert elementary.angle(-1) == math.pi
    assert elementary.angle(-1 - 1j) == pytest.approx(-3 * math.pi / 4, rel=1e-15)


def test_the_transform_of_an_interval():
    """Both multiply by pi and divide alike: they differ by the last places of the sine."""
    x = np.concatenate([np.random.default_rng(5).uniform(-40, 40, 2000), [0.0, -0.0, 1e-300, 5e-324]])
    np.testing.assert_allclose(elementary.sinc(x), np.sinc(x), rtol=4e-16, atol=1e-16)
    assert elementary.sinc(0.0) == 1 and elementary.sinc(0.5) == pytest.approx(2 / math.pi, rel=4e-16)


def test_ends_of_the_ranges():
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0])
    np.testing.assert_array_equal(elementary.exp(x[:4]), [np.nan, np.inf, 0.0, 1.0])
    np.testing.assert_array_equal(elementary.log(x), [np.nan, np.inf, np.nan, -np.inf, np.nan])
    assert np.isnan(elementary.sin([np.nan, np.inf, 1.01 * MOST_RAD])).all()
    assert np.isnan(elementary.cos([np.nan, -np.inf, -1.01 * MOST_RAD])).all()
    assert elementary.sin(0.0) == 0
    assert elementary.cos(0.0) == 1
    # Between the least normal number and 0, and beyond the largest.
    np.testing.assert_allclose(elementary.exp([-740.0, -745.2, 710.0]), [math.exp(-740.0), 0.0, np.inf], rtol=1e-2)


def test_a_number_gives_a_number_and_an_array_keeps_its_shape():
    assert isinstance(elementary.sin(1.0), float)
    assert elementary.exp(np.zeros((2, 0, 3))).shape == (2, 0, 3)
    turned = np.arange(12.0).reshape(3, 4).T
    np.testing.assert_array_equal(elementary.cos(turned), elementary.cos(turned.copy()))


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_phasors_are_cosine_and_sine_rounded_once(kind):
    phase = np.random.default_rng(5).uniform(-9, 9, (7, 5)).astype(np.float32)
    found = elementary.phasors(phase, kind)
    assert found.dtype == kind
    np.testing.assert_array_equal(found.real, elementary.cos(phase).astype(found.real.dtype))
    np.testing.assert_array_equal(found.imag, elementary.sin(phase).astype(found.real.dtype))


def test_a_part_of_an_array_has_the_bits_of_the_whole():
    # Loops are cut into vectors: no element may depend on where it stands in them.
    x = np.random.default_rng(6).uniform(-9, 9, 103)
    whole, parts = np.empty(206), np.empty(206)
    fill_phasors(x, whole, 0, 103)
    for first, stop in ((0, 1), (1, 6), (6, 50), (50, 103)):
        fill_phasors(x, parts, first, stop)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal([elementary.exp(v) for v in x], elementary.exp(x))
    np.testing.assert_array_equal([elementary.log(abs(v)) for v in x], elementary.log(np.abs(x)))


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(3, 8, 40), (1, 5, 7), (40,), (6, 9)])
def test_products_of_complex_numbers_are_rounded_part_by_part(kind, shape):
    r = np.random.default_rng(7)
    a, b = ((r.standard_normal(shape) + 1j * r.standard_normal(shape)).astype(kind) for _ in range(2))
    factor = b[0] if len(shape) == 3 else b
    wide = np.broadcast_to(factor, shape)
    # By numpy's products and sums of real arrays, which nothing can fuse.
    real = a.real * wide.real - a.imag * wide.imag
    imaginary = a.real * wide.imag + a.imag * wide.real
    found = elementary.multiply(a, factor)
    np.testing.assert_array_equal(found.real, real)
    np.testing.assert_array_equal(found.imag, imaginary)
    assert elementary.multiply(a, factor, out=a) is a
    np.testing.assert_array_equal(a, found)
    padded = np.zeros((*shape[:-1], shape[-1] + 3), dtype=kind)[..., : shape[-1]]
    padded[...] = b
    elementary.multiply(padded, kind(1j), out=padded)
    np.testing.assert_array_equal(padded, -b.imag + 1j * b.real)


def test_square_modulus_and_equal_ratios():
    z = np.array([3 + 4j, -1j], dtype=np.complex64)
    np.testing.assert_array_equal(elementary.square_modulus(z), [25, 1])
    found = elementary.geometric(20.0, 86400.0, 16)
    np.testing.assert_allclose(found, np.geomspace(20.0, 86400.0, 16), rtol=1e-14)
    assert (found[0], found[-1]) == (20.0, 86400.0)


def _decimal_j1(x: float) -> Decimal:
    """Bessel function by its power series, whose terms cancel: hence the digits."""
    with localcontext() as context:
        context.prec = 200
        half = Decimal(x) / 2
        term = total = half
        k = 0
        while abs(term) > Decimal(10) ** -40:
            k += 1
            term *= -half * half / (k * (k + 1))
            total += term
        return total


def test_the_bessel_function_on_both_sides_of_where_the_series_begins():
    r = np.random.default_rng(4)
    x = np.concatenate([[0.0, 25.0, np.nextafter(25.0, 30.0)], r.uniform(0, 25, 60), r.uniform(25, 150, 60)])
    found = elementary.bessel_j1(x)
    assert (
        max(abs(Decimal(value) - _decimal_j1(at)) for value, at in zip(found.tolist(), x.tolist(), strict=True)) < 2e-15
    )
    small = np.array([1e-200, 1e-9])
    assert np.allclose(elementary.bessel_j1(small), small / 2, rtol=1e-15, atol=0)
    assert np.array_equal(elementary.bessel_j1(x[:120].reshape(2, 60)).ravel(), found[:120])
    assert elementary.bessel_j1(30.0) == elementary.bessel_j1([30.0])[0]
