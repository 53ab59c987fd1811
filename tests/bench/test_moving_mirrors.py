"""Mirrors that move on a bench: two ways, one device; same bits however frames are taken; what goes with what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from opusim.bench.bench import OpticalBench
from opusim.bench.frames import Moments
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.device.medium import GaussianMedium
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = Device.load("aurora")
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000),
       "dmd.warm_up_loss": 0.2, "dmd.warm_up_time_s": 1e-3, "dmd.vibration_rad": 0.7, "dmd.vibration_hz": 170.0}
)  # fmt: skip
LAYOUT = MirrorLayout(dmd_shape=(48, 64), n_features=(96,), kind="lined", factor=32)
BITS = np.random.default_rng(0).integers(0, 2, (9, 96), dtype=np.uint8)
EXPOSURE_S, N_PIXELS, ROI = 4e-4, 300, (5, 10, 20, 30)
MOMENTS = Moments(np.arange(9), 3.0 + 0.01 * np.arange(9), EXPOSURE_S)
STEPS = np.pi / 2 * np.arange(4)


def entries(device: Device) -> Device:
    return device.evolve(
        medium=GaussianMedium(transmission=device.medium.transmission), **{"optics.pixel_integration": False}
    )


def frames(device: Device = SMALL, bits: np.ndarray = BITS, seed: int = 1, **how: Any) -> np.ndarray:
    bench = OpticalBench(device, seed=seed, **{k: how.pop(k) for k in ("threads", "execution") if k in how})
    how = {"exposure_s": EXPOSURE_S, "roi": ROI, "n_pixels": N_PIXELS} | how
    return bench.transform(MirrorPatterns(bits, LAYOUT), **how)


def projector(device: Device, execution: str = "auto", resolution: str = "auto") -> Projector:
    region = Region(Roi(*ROI), N_PIXELS, 60)
    return Projector(device, 1, LAYOUT, region, execution=execution, resolution=resolution)


@pytest.mark.parametrize("contrast", [1000.0, 3.0, np.inf])
def test_both_ways_have_one_light(contrast):
    """To 1e-4 of the root mean square, as all ways. The light of off mirrors moves too."""
    device = SMALL.evolve(**{"dmd.contrast_ratio": contrast})
    a, b = (projector(device, way).way.fields(BITS, 0, MOMENTS) for way in ("matrix", "waves"))
    rms = np.sqrt(np.mean(np.abs(b) ** 2))
    assert np.abs(a - b).max() < 1e-4 * rms
    still = projector(device, "waves").way.fields(BITS, 0)
    assert np.abs(b - still).max() > 0.1 * rms


def test_mirrors_that_each_move_have_no_matrix():
    with pytest.raises(ValueError, match="mirrors that move, each by itself, have no matrix of features"):
        projector(SMALL, "matrix", "mirrors")
    found = projector(SMALL, resolution="mirrors")
    assert found.plan.way == "waves" and "each by itself" in found.plan.why


def test_patterns_are_those_of_their_mirrors_where_each_is_a_mode():
    """By waves, and through a medium of entries, which makes them vector by vector."""
    for device in (SMALL, entries(SMALL)):
        device = device.evolve(**{"resolution": "mirrors"})
        own = frames(device, BITS[:2], n_pixels=600, reference_phase_rad=STEPS[:2])
        bench = OpticalBench(device, seed=1)
        shown = LAYOUT.mirrors(BITS[:2])
        same = bench.expose(shown, exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=STEPS[:2])
        assert np.mean(own != same.reshape(4, -1)) < 0.01


def test_entries_follow_the_law_of_their_matrix():
    """Fields are those of the matrix of a still device, weighted: an independent sum in double precision."""
    device = entries(SMALL)
    way = projector(device).way
    still = projector(device.evolve(**{"dmd.warm_up_loss": 0.0, "dmd.vibration_rad": 0.0})).way
    assert way.name == "matrix"
    fields = way.fields(BITS, 0, MOMENTS)
    none = np.zeros((1, 96), np.uint8)
    constant = still.fields(none)[0].astype(complex)
    rows = still.fields(np.eye(96, dtype=np.uint8)).astype(complex) - constant
    dmd, eps = device.dmd, device.dmd.off_amplitude
    light, feature = dmd.amplitude().astype(float) ** 2, LAYOUT.feature_of_mirror()
    own = (feature[None] == np.arange(96)[:, None, None]) & (dmd.stuck(1) == 0)
    weight = (own * light).sum(axis=(1, 2))
    z, y = ((own * light * shape).sum(axis=(1, 2)) / weight for shape in dmd.motion_shapes(1))
    # All features together lose what the curve says.
    weight /= weight.sum()
    z -= weight @ z
    z /= np.sqrt(weight @ z**2)
    left = dmd.speckle_correlation(MOMENTS.times_s)
    sigma = [brentq(lambda s, c=c: abs(weight @ np.exp(1j * s * z)) ** 2 - c, 0, 1.5) for c in left]
    psi = np.outer(sigma, z) + np.outer(dmd.motion(MOMENTS.times_s, EXPOSURE_S, seed=1)[:, 1], y)
    # Light of feature j, on: its row over 1 - eps; a state b sends b + eps (1 - b) of it.
    state = (BITS + eps * (1 - BITS)) * np.exp(1j * psi)
    expected = constant + np.einsum("nj,jps->nps", (state - eps) / (1 - eps), rows)
    assert np.abs(fields - expected).max() < 1e-5 * np.sqrt(np.mean(np.abs(expected) ** 2))


@pytest.mark.parametrize(
    "changes", [{}, {"camera.lag": 0.1}, {"medium.decorrelation_time_s": 2e-3}], ids=["plain", "lag", "medium moves"]
)
@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_bits_are_those_of_any_split(changes, execution):
    """Batches, threads and reserved parts; with and without phases of the reference."""
    device = SMALL.evolve(**changes)
    for phases in (None, STEPS[:3]):
        how: dict[str, Any] = {"execution": execution, "reference_phase_rad": phases}
        whole = frames(device, **how, threads=1)
        np.testing.assert_array_equal(frames(device, **how, threads=3), whole)
        steps = 1 if phases is None else 3
        bench = OpticalBench(device, seed=1, execution=execution)
        time_s = max(device.operation.frametime_s, bench.minimum_frametime_s(20, EXPOSURE_S))
        taken = bench.reserve(9 * steps, frametime_s=time_s)
        parts = []
        for some in (np.arange(4, 9), np.arange(0, 4)):
            patterns = MirrorPatterns(BITS[some], LAYOUT)
            before = MirrorPatterns(BITS[some[0] - 1 : some[0]], LAYOUT) if some[0] and bench.lags else None
            parts.append(
                bench.transform(
                    patterns, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=N_PIXELS, reference_phase_rad=phases,
                    reserved=taken.only(some), before=before,
                )
            )  # fmt: skip
        np.testing.assert_array_equal(np.concatenate(parts[::-1]), whole)


def test_frames_of_one_burst_see_mirrors_of_their_own_time():
    """Without noise, frame k of a burst is what the pattern alone gives then."""
    device = SMALL.ideal().evolve(
        **{"dmd.vibration_rad": 0.7, "dmd.vibration_hz": 170.0, "reference.relative_amplitude": 1.5}
    )
    burst = frames(device, BITS[:1], reference_phase_rad=STEPS)
    bench = OpticalBench(device, seed=1)
    time_s = max(device.operation.frametime_s, bench.minimum_frametime_s(20, EXPOSURE_S))
    for k in range(4):
        bench.advance_to(k, k * time_s)
        one = bench.transform(
            MirrorPatterns(BITS[:1], LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=N_PIXELS,
            reference_phase_rad=STEPS[k],
        )  # fmt: skip
        np.testing.assert_allclose(burst[k], one[0], rtol=1e-6, atol=1e-6 * one.max())


def test_inspected_planes_are_those_of_the_next_frame():
    bench = OpticalBench(SMALL, seed=1)
    bench.advance_to(3, 0.013)
    patterns = MirrorPatterns(BITS[:1], LAYOUT)
    planes = bench.inspect(patterns, exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=0.3)
    frame = bench.expose(patterns, exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=0.3)
    np.testing.assert_array_equal(planes.counts, frame[0])
    assert np.ptp(np.angle(planes.dmd_field.ravel()[:96])) > 0.1


def test_frames_see_the_beginning_where_nothing_is_averaged():
    """Half a period of an exposure averages to 2 / pi of the sine, which is another picture."""
    averaged = SMALL.evolve(**{"dmd.vibration_hz": 1250.0})
    at_once = averaged.evolve(**{"operation.exposure_average": False})
    for device, exposure_s in ((averaged, EXPOSURE_S), (at_once, 0.0)):
        bench = OpticalBench(device, seed=1)
        planes = bench.inspect(MirrorPatterns(BITS[:1], LAYOUT), exposure_s=EXPOSURE_S, roi=ROI)
        moments = Moments(np.zeros(1, int), np.zeros(1), exposure_s)
        expected = projector(device).geometry.source.cells(BITS[:1], moments=moments)
        np.testing.assert_array_equal(planes.dmd_field, expected[0])


def test_rows_of_a_rolling_shutter_take_no_vibration():
    rolling = SMALL.evolve(**{"camera.shutter": "rolling"})
    with pytest.raises(ValueError, match="each see another tilt of the mirrors"):
        frames(rolling)
    warm = rolling.evolve(**{"dmd.vibration_rad": 0.0, "reference.drift_rad_per_minute": 0.5})
    whole = frames(warm, reference_phase_rad=STEPS[:2])
    still = warm.evolve(**{"dmd.warm_up_loss": 0.0})
    assert whole.shape == (18, N_PIXELS)
    assert np.mean(whole[-1] != frames(still, reference_phase_rad=STEPS[:2])[-1]) > 0.3


def test_no_shortcut_is_taken():
    bench = OpticalBench(SMALL, seed=1)
    assert bench.singles(LAYOUT, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=N_PIXELS) is None
    assert bench.together(LAYOUT, [], exposure_s=EXPOSURE_S, roi=ROI, n_pixels=N_PIXELS) is None


def test_states_that_hardly_differ_are_refused():
    with pytest.raises(ValueError, match=r"dmd.contrast_ratio is 1\.0, but of mirrors that warm up or vibrate"):
        SMALL.evolve(**{"dmd.contrast_ratio": 1.0})
    assert SMALL.ideal().evolve(**{"dmd.contrast_ratio": 1.0}).dmd.off_amplitude == 1.0


def test_torch_has_the_counts_of_numpy():
    """On the processor, to what is allowed for it: one count in 10 000."""
    torch = pytest.importorskip("torch")
    own = frames(reference_phase_rad=STEPS[:2])
    bench = OpticalBench(SMALL, seed=1, backend="torch:cpu")
    got = bench.transform(
        MirrorPatterns(torch.from_numpy(BITS), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=N_PIXELS,
        reference_phase_rad=STEPS[:2],
    )  # fmt: skip
    assert np.mean(np.asarray(got) != own) <= 1e-3
