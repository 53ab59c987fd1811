"""The noise budget with few bits, little light and bright off mirrors: closed forms against a bench."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opusim.device.medium import GaussianMedium
from opusim.device.record import Device
from opusim.noise.levels import error_budget
from opusim.noise.measured import measured_error_budget
from opusim.noise.rounding import rounded_moments

AURORA = Device.load("aurora")
# The same light and noise through the textbook medium, which is quick to compute for many pixels.
TEXTBOOK = AURORA.evolve(medium=GaussianMedium(AURORA.medium.transmission, 86400.0))


def with_bits(bits: int, **changes: float) -> Device:
    """Return a camera of other bits with the same full scale, as `adc.bits` of a sweep."""
    camera, scale = TEXTBOOK.camera, (2**bits - 1) / 255
    return TEXTBOOK.evolve(
        **{
            "camera.bits": bits, "camera.gain_dn_per_e": camera.gain_dn_per_e * scale,
            "camera.black_level_dn": camera.black_level_dn * scale, **changes,
        }
    )  # fmt: skip


def middle(side: int) -> tuple[int, int, int, int]:
    rows, columns = AURORA.camera.shape
    return (rows - side) // 2, (columns - side) // 2, side, side


@pytest.mark.parametrize("level", [0.0, 0.3, 2.5, 14.9, 40.0])
@pytest.mark.parametrize("width", [1e-3, 0.2, 0.6, 0.8, 3.0])
def test_moments_of_a_rounded_level_by_drawing(level, width):
    """400 000 draws: five standard errors of mean and variance; a wide law is clipped before it is rounded."""
    n = 400_000
    draws = np.clip(np.rint(np.random.default_rng(0).normal(level, width, n)), 0, 15)
    mean, variance = (float(one[0]) for one in rounded_moments(np.array([level]), np.array([width**2]), 0.0, 15.0))
    near_an_end = width > 0.7 and min(abs(level), abs(level - 15)) < 4 * width
    assert mean == pytest.approx(draws.mean(), abs=5 * draws.std() / math.sqrt(n) + (0.1 if near_an_end else 1e-4))
    fourth = np.mean((draws - draws.mean()) ** 4)
    error = math.sqrt(max(fourth - draws.var() ** 2, 0) / n)
    assert variance == pytest.approx(draws.var(), abs=5 * error + (0.1 if near_an_end else 1e-3))


@pytest.mark.slow
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("exposure_s", [400e-6, 4e-3])
def test_few_bits_agree_with_switching_sources_off(bits, exposure_s):
    """Each part within 10 % or half a point of the total.

    16 000 pixels leave 1 to 3 % to chance; more with 2 bits and little light, where few pixels ever reach a step: twice
    the standard error is allowed beside.
    """
    # An even beam, as 40 features under one that falls off have a spread of light, and few pixels reach a step.
    device = with_bits(bits, **{"dmd.beam_radius_m": math.inf})
    closed = error_budget(device, exposure_s=exposure_s)
    names = ["shot noise", "read noise", "quantisation", "saturation", "DSNU", "off-state leakage"]
    measured = measured_error_budget(device, n_vectors=30, sources=names, roi=middle(128), exposure_s=exposure_s)
    chance = max(measured.uncertainty.values())
    assert abs(measured.whole - closed.whole) < 0.1 * measured.whole + 2 * chance
    for name in names:
        tolerance = max(0.1 * abs(measured.errors[name]), 0.005 * measured.whole) + 2 * measured.uncertainty[name]
        assert abs(closed.errors[name] - measured.errors[name]) < tolerance, name


@pytest.mark.parametrize(
    ("bits", "exposure_s", "changes", "elapsed_s"),
    [
        (4, 100e-6, {"dmd.contrast_ratio": 100.0, "medium.decorrelation_time_s": 4 * 3600.0}, 3600.0),
        (6, 100e-6, {}, 60.0),
        (5, 100e-6, {}, 60.0),
    ],
)
def test_little_light_and_few_bits(bits, exposure_s, changes, elapsed_s):
    """The last step of outputs decides: of 16 000 pixels a tenth is above it, 3 % to chance, and 10 % are allowed."""
    point = {"exposure_s": exposure_s, "elapsed_s": elapsed_s}
    closed = error_budget(with_bits(bits, **changes), **point)
    measured = measured_error_budget(
        with_bits(bits, **changes), n_vectors=30, sources=["quantisation"], roi=middle(128), **point
    )
    assert measured.whole == pytest.approx(closed.whole, rel=0.1)
    assert measured.errors["quantisation"] == pytest.approx(closed.errors["quantisation"], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6])
def test_few_bits_in_linear_mode(bits):
    """The limit that the docstring states: the error, and the parts of leakage and rounding, within a tenth of it."""
    device = with_bits(bits)
    closed = error_budget(device, "linear")
    names = ["shot noise", "quantisation", "off-state leakage"]
    measured = measured_error_budget(device, "linear", n_vectors=24, sources=names, roi=middle(112))
    assert measured.whole == pytest.approx(closed.whole, rel=0.1)
    for name in names:
        assert abs(closed.errors[name] - measured.errors[name]) < 0.1 * measured.whole, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "exposure_s"), [({}, 10e-6), ({"camera.black_level_dn": 0.0}, 30e-6)], ids=["dark", "no black level"]
)
def test_little_light_in_linear_mode(changes, exposure_s):
    """The reference is below a count: no error explodes, as pixels with next to none of it are left out."""
    device = TEXTBOOK.evolve(**changes)
    closed = error_budget(device, "linear", exposure_s=exposure_s)
    measured = measured_error_budget(
        device, "linear", n_vectors=24, sources=["quantisation"], roi=middle(96), exposure_s=exposure_s
    )
    assert measured.whole == pytest.approx(closed.whole, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("reference_map", ["alone", "demodulated"])
@pytest.mark.parametrize("contrast", [10.0, 30.0, 100.0])
def test_bright_off_mirrors_in_linear_mode(contrast, reference_map):
    """Beyond the first order in the leakage, within the 15 % of the docstring."""
    device = TEXTBOOK.evolve(**{"dmd.contrast_ratio": contrast, "operation.reference_map": reference_map})
    closed = error_budget(device, "linear")
    names = ["off-state leakage"]
    measured = measured_error_budget(device, "linear", n_vectors=30, sources=names, roi=middle(200))
    assert measured.whole == pytest.approx(closed.whole, rel=0.15)
    assert measured.errors[names[0]] == pytest.approx(closed.errors[names[0]], rel=0.15)
