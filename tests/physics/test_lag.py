"""Lag: what is left of a frame is read with the next one. Laws of it, against closed forms and code of its own."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from opusim import OPU, OpticalBench
from opusim.base.errors import NotReadyError
from opusim.bench.region import Roi
from opusim.device.record import Device
from opusim.drivers import OpuDevice
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

ROI = (500, 0, 32, 24)
ROI_CHECKED = Roi(*ROI)
N = ROI[2] * ROI[3]
EXPOSURE_S = 170e-6
LAG = 0.12
IDEAL = Device.load("ideal")
LAYOUT = MirrorLayout.lined(IDEAL.dmd.shape, 100)
TIMES = {"exposure_s": EXPOSURE_S, "roi": ROI}
#: Everything that changes from frame to frame, and what a pixel averages over.
RESTLESS = {
    "camera.shot_noise": True, "camera.read_noise_e": 3.0, "camera.prnu": 0.01, "camera.dark_current_e_per_s": 2e4,
    "laser.power_noise": 0.05, "reference.jitter_rad": 0.1, "reference.vibration_rad": 0.3,
    "reference.vibration_hz": 300.0, "operation.exposure_average": True,
}  # fmt: skip


def bench(seed=0, lag=LAG, execution="auto", **changes):
    return OpticalBench(IDEAL.evolve(**{"camera.lag": lag} | changes), seed, execution=execution)


def patterns(n, seed=0):
    return MirrorPatterns(np.random.default_rng(seed).integers(0, 2, (n, 100), dtype=np.uint8), LAYOUT)


def shown(one, some, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return one.transform(some, n_pixels=N, **TIMES, **how).astype(np.float64)


def lagging(alone, lag=LAG):
    """The law, frame by frame: (1 - lag) of its own, lag of the one before, nothing before the first one."""
    read = np.zeros_like(alone)
    for k in range(len(alone)):
        read[k] = (1 - lag) * alone[k] + (lag * alone[k - 1] if k else 0)
    return read


def test_a_step_from_black_to_white_and_back():
    """Black, white, white, black, black read 0, 1 - l, 1, l, 0 of the white level, every electron once.

    Off mirrors of `ideal` send nothing. Without noise, to single precision: 1e-6 of the white level.
    """
    bits = np.zeros((5, 100), dtype=np.uint8)
    bits[1:3] = 1
    read = shown(bench(), MirrorPatterns(bits, LAYOUT))
    white = shown(bench(lag=0.0), MirrorPatterns(bits[1:2], LAYOUT))[0]
    expected = np.array([0, 1 - LAG, 1, LAG, 0])[:, None] * white
    assert np.abs(read - expected).max() < 1e-6 * white.max()


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize("phases", [None, [0.0, 2.0, 4.0]])
@pytest.mark.parametrize("samples", [1, 2], ids=["points", "no polariser"])
def test_every_frame_is_the_mixture_of_means(execution, phases, samples):
    """With and without the reference: the frame before a burst's first one is the last of the burst before."""
    how = {} if phases is None else {"reference_phase_rad": np.array(phases)}
    still = {"camera.polarised": samples == 1}
    alone = shown(bench(lag=0.0, execution=execution, **still), patterns(5), **how)
    read = shown(bench(execution=execution, **still), patterns(5), **how)
    assert np.abs(read - lagging(alone)).max() < 2e-6 * alone.max()


def test_a_rolling_shutter_lags_as_well():
    """A frame leaves a share of all that its rows saw, the next pattern's light included."""
    rolls = {"camera.shutter": "rolling"}
    how = {"frametime_s": 240e-6}
    tall = {"exposure_s": EXPOSURE_S, "roi": (500, 0, 64, 12), "n_pixels": 64 * 12, **how}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        alone = bench(lag=0.0, **rolls).transform(patterns(4), **tall).astype(np.float64)
        read = bench(**rolls).transform(patterns(4), **tall)
        pure = bench(lag=0.0).transform(patterns(4), **tall)
    assert np.abs(alone - pure).max() > 0.1 * alone.mean()
    assert np.abs(read - lagging(alone)).max() < 2e-6 * alone.max()


def test_a_medium_that_moves_in_a_frame_lags_as_well():
    moves = {"medium.decorrelation_time_s": 3 * EXPOSURE_S, "operation.exposure_average": True}
    how = {"reference_phase_rad": np.array([0.0, 2.0])}
    alone, read = (shown(bench(lag=lag, **moves), patterns(2), **how) for lag in (0.0, LAG))
    assert np.abs(read - lagging(alone)).max() < 2e-6 * alone.max()
    one = bench(**moves)
    seen = one.inspect(patterns(1), exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=0.0)
    assert np.array_equal(seen.counts.ravel(), shown(one, patterns(1), **how)[0].astype(np.float32))


def test_shot_noise_is_that_of_the_mixed_mean_and_two_frames_share_none():
    """Thinning: variance = mean to 2 %, and no correlation of neighbours, where a mixture of counts would have one.

    That of counts: l (1 - l) / ((1 - l)^2 + l^2) = .13 for l = .12, and a variance of .79 of the mean. Two patterns by
    turns on 768 pixels, 400 frames: the mean correlation of pixels is known to 1 / sqrt(200 * 768) = .003; 4 of these.
    """
    two = MirrorPatterns(np.tile(patterns(2).bits, (200, 1)), LAYOUT)
    noisy = {"camera.shot_noise": True, "camera.full_well_e": math.inf}
    counts = shown(bench(**noisy), two)[2:] / IDEAL.camera.gain_dn_per_e
    counts = counts.reshape(199, 2, N)
    assert counts.var(axis=0, ddof=1).mean() == pytest.approx(counts.mean(), rel=0.02)
    apart = (counts - counts.mean(axis=0)) / counts.std(axis=0)
    assert abs((apart[:, 0] * apart[:, 1]).mean()) < 0.012


def test_dark_and_even_frames():
    """A light that does not change was there before: every frame has all dark electrons and all light, exactly."""
    dark = {"camera.dark_current_e_per_s": 1e6}
    one, plain = bench(**dark), bench(lag=0.0, **dark)
    for light in (0.0, 500.0):
        a, b = (
            x._light_evenly(light, 3, x._region(ROI_CHECKED), EXPOSURE_S, 1e-3).astype(np.float64) for x in (one, plain)
        )
        assert a == pytest.approx(b, rel=1e-6)
    frames = one.expose(None, n_frames=2, roi=ROI, exposure_s=EXPOSURE_S)
    expected = 1e6 * EXPOSURE_S * IDEAL.camera.gain_dn_per_e
    assert frames.mean(axis=(1, 2)) == pytest.approx(expected, rel=1e-5)


def test_a_full_well_leaves_no_more_than_its_share():
    """All black after white of a hundred times the full well: l times the full well is read, in electrons."""
    bits = np.array([[1] * 100, [0] * 100], dtype=np.uint8)
    well_e = 50.0
    device = {"camera.full_well_e": well_e, "camera.dark_current_e_per_s": 1e4, "laser.power_w": 100.0}
    read = shown(bench(**device), MirrorPatterns(bits, LAYOUT)) / IDEAL.camera.gain_dn_per_e
    dark_e = 1e4 * EXPOSURE_S
    bright = read[0] == well_e
    assert bright.mean() > 0.9
    assert read[1, bright] == pytest.approx(LAG * well_e + (1 - LAG) * dark_e, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_parts_of_a_call_are_the_whole_bit_for_bit(execution):
    """Each part is told the pattern before it, here and in reserved frames; floats show every last bit."""
    n, phases = 15, [0.3, 1.9, 4.0]
    how = {"reference_phase_rad": np.array(phases)}
    one = bench(3, execution=execution, **RESTLESS)
    times = {"frametime_s": one.minimum_frametime_s(ROI[2], EXPOSURE_S)}
    reserved = one.reserve(3 * n, **times)
    whole = shown(one, patterns(n), reserved=reserved, **how)
    for size in (1, 7):
        for first in range(0, n, size):
            part = np.arange(first, min(n, first + size))
            before = patterns(n)[first - 1 : first] if first else None
            told = {} if before is None else {"before": before}
            found = shown(one, patterns(n)[first : part[-1] + 1], reserved=reserved.only(part), **told, **how)
            assert np.array_equal(found, whole[3 * first : 3 * (part[-1] + 1)])
    alone = OpticalBench(one.device, 3, execution=execution, threads=1)
    parts = [
        shown(alone, patterns(n)[:9], **times, **how),
        shown(alone, patterns(n)[9:], before=patterns(n)[8:9], **times, **how),
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    seen = OpticalBench(one.device, 3, execution=execution).inspect(patterns(1), reference_phase_rad=0.3, **TIMES)
    assert np.array_equal(seen.counts.ravel(), whole[0].astype(seen.counts.dtype))


@pytest.mark.slow
@pytest.mark.parametrize("linear", [None, "holographic", "intensity"])
def test_passes_of_an_opu_change_nothing(linear):
    """One pass, or passes of 64 patterns at most: the same bits of outputs, for counts and both linear modes."""
    device = Device.load("aurora").evolve(**{"camera.lag": 0.01, "camera.quantise": False})
    X = np.random.default_rng(1).integers(0, 2, (140, 64), dtype=np.uint8)
    found = []
    for most in (64, 3000):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            opu = OPU(400, device=device, **({} if linear is None else {"linear_mode": linear}))
            with opu:
                opu.n_samples_by_pass = most
                opu.fit1d(X)
                found.append(np.asarray(opu.transform(X) if linear is None else opu.linear_transform(X)))
    assert np.array_equal(*found)


@pytest.mark.slow
def test_mirrors_of_the_low_level_device_in_steps(monkeypatch):
    """Packed mirrors that no formatter made are shown some at a time: the first of a step lags as every other one."""
    monkeypatch.setattr("opusim.drivers.lowlevel.device._PATTERNS_PER_STEP", 2)
    packed = np.random.default_rng(3).integers(0, 256, (3, IDEAL.dmd.n_mirrors // 8), dtype=np.uint8)
    found = []
    for lag in (0.0, LAG):
        with OpuDevice("type1", 500, 400, device=IDEAL.evolve(**{"camera.lag": lag})) as device:
            device.output_roi = ((0, 0), (16, 8))
            found.append(device.transform1(packed).astype(np.float64))
    assert np.abs(found[1] - lagging(found[0])).max() < 2e-6 * found[0].max()


def test_the_steps_of_a_burst_mix():
    """Field of a still pattern by equal steps of the phase: turned and shrunk by m = 1 - l + l exp(-i step).

    Frame k reads the mean of I(d_k) and I(d_k - step), so that the part that goes as exp(i d) gets the factor m; the
    first frame of a sequence is another one. Exact: to single precision. For four steps 1 - l - i l, for a small l a
    turn by -l and a loss of l, common to all pixels: no error of an output, but for the change of patterns.
    """
    steps = 4
    phases = 2 * np.pi * np.arange(steps) / steps
    same = MirrorPatterns(np.repeat(patterns(1).bits, 2, axis=0), LAYOUT)
    fields = [
        shown(bench(lag=lag), same, reference_phase_rad=phases)[steps:].T @ np.exp(1j * phases) for lag in (0.0, LAG)
    ]
    m = (1 - LAG) + LAG * np.exp(2j * np.pi / steps)
    assert np.abs(fields[1] - m * fields[0]).max() < 1e-5 * np.abs(fields[0]).max()


def test_what_is_refused():
    one = bench()
    taken = one.reserve(6, frametime_s=1e-3)
    with pytest.raises(ValueError, match=r"reserved is for the patterns \[1 2\] .*camera\.lag .* before must be"):
        shown(one, patterns(2), reserved=taken.only(np.array([1, 2])))
    with pytest.raises(ValueError, match=r"patterns \[0 2\] .* without a gap"):
        shown(one, patterns(2), reserved=taken.only(np.array([0, 2])))
    with pytest.raises(ValueError, match="before holds 2 patterns"):
        shown(one, patterns(2), before=patterns(2))
    with pytest.raises(ValueError, match="before is a pattern, but there is no frame"):
        shown(bench(), patterns(2), before=patterns(1))
    # Of no interest to a camera that leaves nothing behind.
    assert np.array_equal(shown(bench(lag=0.0), patterns(2), before=patterns(1)), shown(bench(lag=0.0), patterns(2)))
    da = pytest.importorskip("dask.array")
    with OPU(100, device=one.device) as opu:
        X = np.random.default_rng(0).integers(0, 2, (4, 100), dtype=np.uint8)
        opu.fit1d(X)
        with pytest.raises(NotReadyError, match=r"X is a Dask array, .* with camera\.lag above 0"):
            opu.transform(da.from_array(X, chunks=2))


def test_what_is_off_is_what_there_was():
    """Without lag the frames are those of the fast way, to the bit; the switch is one of the device's."""
    assert not OpticalBench(IDEAL).lags and bench().lags
    assert IDEAL.evolve(**{"camera.lag": 0.1}).ideal().camera.lag == 0
    assert IDEAL.imperfections()["lag"] == {"camera.lag": 0.0}
