"""A lens in place of the layer: the camera sees the Fourier transform of the modulator."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from lens_device import SENSOR, SHAPE, SIDE, lens_device
from opusim import OpticalBench
from opusim.cli import app
from opusim.device.medium import FourierLensMedium, ModeGrid
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import PhasePatterns
from opusim.testing import check_bench, check_medium

EXPOSURE_S = 1e-4


def levels(n: int = 1) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


def spectrum(shown: np.ndarray) -> np.ndarray:
    """Field of the lens at the camera's pixels, by numpy's transform: axis at the middle of both planes."""
    top, left = (SIDE // 2 - n // 2 for n in SHAPE)
    plane = np.zeros((SIDE, SIDE), dtype=complex)
    plane[top : top + SHAPE[0], left : left + SHAPE[1]] = np.exp(2j * np.pi * shown / 256)
    field = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(plane)))
    top, left = (SIDE // 2 - n // 2 for n in SENSOR)
    return field[top : top + SENSOR[0], left : left + SENSOR[1]]


def pixel_envelope() -> np.ndarray:
    f = [(np.arange(n) - n // 2) / SIDE for n in SENSOR]
    return np.outer(np.sinc(f[0]), np.sinc(f[1])) ** 2


@pytest.mark.parametrize("envelope", [True, False])
def test_the_camera_sees_the_transform_of_the_modulator(envelope):
    # Flat illumination, neither noise nor rounding: counts are the square of the field, times one number, which
    # follows from light, efficiency and transmission.
    device = lens_device(medium={"envelope": envelope})
    frame = OpticalBench(device, 0).expose(levels(), exposure_s=EXPOSURE_S)[0]
    field = spectrum(levels()[0])
    expected = np.abs(field) ** 2 * (pixel_envelope() if envelope else 1.0)
    camera = device.camera
    photons = device.laser.photons(EXPOSURE_S) * device.medium.transmission / device.dmd.n_mirrors
    expected *= photons * camera.quantum_efficiency * camera.gain_dn_per_e
    np.testing.assert_allclose(frame, expected, rtol=2e-3, atol=2e-5 * expected.max())


def test_a_lens_that_loses_nothing_keeps_the_light():
    device = lens_device(
        medium={"envelope": False, "transmission": 1 / SIDE**2}, camera={"shape": [SIDE, SIDE]}
    )  # fmt: skip
    frame = OpticalBench(device, 0).expose(levels(), exposure_s=EXPOSURE_S)[0]
    electrons = device.laser.photons(EXPOSURE_S) * device.camera.quantum_efficiency
    assert frame.sum(dtype=np.float64) / device.camera.gain_dn_per_e == pytest.approx(electrons, rel=1e-3)


@pytest.mark.parametrize("turns", [(0.0, 0.0), (16 / 256, 40 / 256), (-50 / 256, 32 / 256)])
def test_a_blazed_grating_sends_its_light_to_the_pixel_of_its_frequency(turns):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    shown = np.round(256 * (turns[0] * y + turns[1] * x)).astype(np.int64) % 256
    bench = OpticalBench(lens_device(), 0)
    flat, frame = bench.expose(np.stack([0 * shown, shown]).astype(np.uint8), exposure_s=EXPOSURE_S)
    at = np.unravel_index(frame.argmax(), frame.shape)
    assert at == (SENSOR[0] // 2 + SIDE * turns[0], SENSOR[1] // 2 + SIDE * turns[1])
    # 256 levels lose 1 - sinc^2(1/256) = 5e-5; what is left is the envelope of a square pixel.
    assert frame.max() / flat.max() == pytest.approx(np.sinc(turns[0]) ** 2 * np.sinc(turns[1]) ** 2, rel=1e-3)


def test_places_are_kept_whatever_the_resolution_the_layout_and_the_region():
    device = lens_device()
    assert device.resolution == "auto"
    layout = MirrorLayout.macro_2d(SHAPE, (14, 16))
    features = np.random.default_rng(0).integers(0, 256, (2, 14 * 16), dtype=np.uint8)
    pictures = np.kron(features.reshape(2, 14, 16), np.ones((8, 8), dtype=np.uint8))
    how = {"exposure_s": EXPOSURE_S}
    whole = OpticalBench(device, 0).expose(pictures, **how)
    by_feature = OpticalBench(device, 0).expose(PhasePatterns(features, layout), roi=(100, 90, 20, 50), **how)
    np.testing.assert_allclose(by_feature, whole[:, 100:120, 90:140], rtol=1e-3, atol=1e-5 * whole.max())
    fixed = device.evolve(resolution="mirrors")
    by_mirror = OpticalBench(fixed, 0).expose(PhasePatterns(features, layout), roi=(100, 90, 20, 50), **how)
    assert np.array_equal(by_feature, by_mirror)


def test_all_light_stays_in_one_polarisation():
    grid = ModeGrid(64, (32, 32), (64, 64))
    lens = FourierLensMedium()
    assert not lens.factors(grid, wavelength_m=532e-9, seed=0, channel=1).screens[-1].any()
    polarised, both = (
        OpticalBench(lens_device(camera={"polarised": one}), 0).expose(levels(), exposure_s=EXPOSURE_S)
        for one in (True, False)
    )
    np.testing.assert_allclose(both, polarised, rtol=1e-3, atol=1e-6 * polarised.max())


@pytest.mark.parametrize("envelope", [True, False])
def test_it_is_a_medium_as_any_other(envelope):
    assert check_medium(FourierLensMedium(envelope=envelope))
    again = type(lens_device()).from_toml(lens_device(medium={"envelope": envelope}).to_toml())
    assert again.medium == FourierLensMedium(envelope=envelope, transmission=1e-13)


def test_a_bench_with_a_lens_keeps_the_rules_of_a_bench():
    report = check_bench(OpticalBench(lens_device("aurora"), 0), exposure_s=5e-3)
    assert {"order", "exposure", "region", "transform"} <= set(report.passed)


def test_info_says_that_each_pixel_is_a_mode(tmp_path):
    path = tmp_path / "lens.toml"
    path.write_text(lens_device().to_toml())
    told = CliRunner().invoke(app, ["info", str(path)])
    assert told.exit_code == 0 and "auto: behind the lens each pixel is a mode" in " ".join(told.output.split())


def test_what_has_no_meaning_behind_a_lens_is_refused():
    with pytest.raises(ValueError, match=r"camera.pixel_over_grain is 0.5, but behind a lens there are no grains"):
        lens_device(camera={"pixel_over_grain": 0.5})
    with pytest.raises(ValueError, match=r"optics.pixel_integration is True, but with a medium of kind 'fourier_lens"):
        lens_device(tables={"optics": {"held": "lengths", "pixel_integration": True}})
    with pytest.raises(ValueError, match=r"grid.aperture is 0.5, but a medium of kind 'fourier_lens'"):
        FourierLensMedium().factors(ModeGrid(64, (8, 8), (8, 8), 0.5), wavelength_m=5e-7, seed=0)
    with pytest.raises(ValueError, match="decorrelation_time_s is 1.0, but it must be inf"):
        dataclasses.replace(FourierLensMedium(), decorrelation_time_s=1.0)
    assert math.isinf(FourierLensMedium().decorrelation_time_s)
