"""Rolling shutters: rows that are exposed in turn, one pattern on all rows, and what they see where time is short."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from opusim import OpticalBench
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.device.camera import Camera
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

ROI = (500, 0, 64, 32)
EXPOSURE_S = 170e-6
IDEAL = Device.load("ideal")
LAYOUT = MirrorLayout.lined(IDEAL.dmd.shape, 100)
OVERHEAD_S = 50e-6
SHORT_S = 240e-6


def bench(seed=0, **changes):
    return OpticalBench(IDEAL.evolve(**{"camera.shutter": "rolling"} | changes), seed)


def patterns(n, seed=0):
    return MirrorPatterns(np.random.default_rng(seed).integers(0, 2, (n, 100), dtype=np.uint8), LAYOUT)


def frames_of(one, shown, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return one.expose(shown, exposure_s=EXPOSURE_S, roi=ROI, **how).astype(np.float64)


def integrated(alone, frametime_s, row_time_s, n_times=4000):
    """What rows see by adding up moments of their exposure: frame k's pattern is shown from k to k + 1 frame times.

    The last one is not taken off.
    """
    n, rows = alone.shape[:2]
    moments = (np.arange(n_times) + 0.5) / n_times * EXPOSURE_S
    seen = np.zeros_like(alone)
    for k in range(n):
        for row in range(rows):
            shown = np.floor((k * frametime_s + row * row_time_s + moments) / frametime_s).astype(int)
            weights = np.bincount(np.minimum(shown, n - 1), minlength=n) / n_times
            seen[k, row] = np.tensordot(weights, alone[:, row], axes=1)
    return seen


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize("phases", [None, [0.0, 2.0, 4.0]])
def test_rows_see_a_mixture_where_there_is_no_time(execution, phases):
    """Photons of row r add up over r row times to r row times and an exposure, moment by moment: independent code.

    Without noise; tolerance 1/4000 of a moment's step and single precision, 1e-3 of the mean.
    """
    shown, row_time_s = patterns(4), IDEAL.camera.row_time_s
    how = {} if phases is None else {"reference_phase_rad": np.array(phases)}
    rolling = OpticalBench(IDEAL.evolve(**{"camera.shutter": "rolling"}), execution=execution)
    alone = frames_of(OpticalBench(IDEAL, execution=execution), shown, **how)
    seen = frames_of(rolling, shown, frametime_s=SHORT_S, **how)
    expected = integrated(alone, SHORT_S, row_time_s)
    assert np.abs(expected - alone)[:-1].max() > 0.2 * alone.mean()  # it is a mixture
    assert np.abs(seen - expected).max() < 1e-3 * alone.mean()
    assert rolling.clock.frames == len(alone) and rolling.clock.elapsed_s == pytest.approx(len(alone) * SHORT_S)


def test_frames_long_enough_show_one_pattern():
    """From readout + exposure on the frames are those of a global shutter, to the bit, with all of aurora's noise.

    But for a reference that moves while the rows take their turns, which here stands still.
    """
    device = Device.load("aurora").evolve(**{"reference.drift_rad_per_minute": 0.0, "reference.vibration_rad": 0.0})
    shown = MirrorPatterns(patterns(5).bits, MirrorLayout.lined(device.dmd.shape, 100))
    one, other = OpticalBench(device), OpticalBench(device.evolve(**{"camera.shutter": "rolling"}))
    least_s = other.minimum_frametime_s(ROI[2], EXPOSURE_S)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a, b = (
            x.expose(shown, exposure_s=EXPOSURE_S, roi=ROI, frametime_s=least_s, reference_phase_rad=[0.0, 1.0])
            for x in (one, other)
        )
    assert np.array_equal(a, b)


@pytest.mark.parametrize("n_rows", [1, 64, 1088])
def test_shortest_frame_time(n_rows):
    """All rows: readout + exposure + the electronics' time; the longer of the two if all begin at once."""
    readout_s = n_rows / 1088 / IDEAL.camera.frame_rate_hz
    slowest_s = 1 / IDEAL.dmd.frame_rate_hz
    rolling, at_once = bench(), OpticalBench(IDEAL)
    expected = max(readout_s + EXPOSURE_S + OVERHEAD_S, slowest_s)
    assert rolling.minimum_frametime_s(n_rows, EXPOSURE_S) == pytest.approx(expected, rel=1e-12)
    expected = max(max(readout_s, EXPOSURE_S) + OVERHEAD_S, slowest_s)
    assert at_once.minimum_frametime_s(n_rows, EXPOSURE_S) == pytest.approx(expected, rel=1e-12)


def test_each_row_has_the_reference_of_its_own_time():
    """Row r of frame k is that of a global shutter whose clock stands r row times later: rows one by one, by the clock.

    A vibration of 1 rad at 3 kHz turns half a time within the readout of 64 rows. Without noise, to 1e-5 of the mean;
    a frame that a moving reference would have at once is off by tens of per cent. `inspect` shows the same.
    """
    moving = {"reference.vibration_rad": 1.0, "reference.vibration_hz": 3000.0, "reference.jitter_rad": 0.1}
    shown, phase, row_time_s = patterns(1), 0.4, IDEAL.camera.row_time_s
    rolling = bench(**moving)
    rolling.advance_to(7, 3e-3)
    seen = rolling.inspect(shown, exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=phase).counts.astype(np.float64)
    frame = frames_of(rolling, shown, reference_phase_rad=phase)[0]
    assert np.array_equal(seen, frame)
    at_once = OpticalBench(IDEAL.evolve(**moving))
    for row in (0, 1, 20, 63):
        one = OpticalBench(at_once.device)
        one.advance_to(7, 3e-3 + row * row_time_s)
        expected = frames_of(one, shown, reference_phase_rad=phase)[0]
        assert np.abs(frame[row] - expected[row]).max() < 1e-5 * frame.mean()
        if row > 1:
            still = OpticalBench(at_once.device)
            still.advance_to(7, 3e-3)
            begun = frames_of(still, shown, reference_phase_rad=phase)[0]
            assert np.abs(frame[row] - begun[row]).max() > 0.1 * frame.mean()


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize("samples", [1, 2, 18], ids=["points", "no polariser", "pixels that integrate"])
def test_parts_of_a_sequence_are_the_whole_bit_for_bit(execution, samples):
    """What `ReservedFrames` promises, where rows have a reference of their own time; `inspect` is `expose`, too.

    The camera gives floats, so that every last bit of the light shows. Of a product by BLAS the last bits depend on how
    many patterns are in it.
    """
    device = IDEAL.evolve(
        **{
            "camera.shutter": "rolling", "reference.vibration_rad": 1.0, "reference.vibration_hz": 3000.0,
            "reference.jitter_rad": 0.1, "camera.polarised": samples == 1,
            "operation.exposure_average": True, "optics.pixel_integration": samples == 18,
        }
    )  # fmt: skip
    roi, shown, n = (500, 0, 16, 12), patterns(23), 23
    how = {"exposure_s": EXPOSURE_S, "roi": roi, "n_pixels": 16 * 12, "reference_phase_rad": [0.3, 1.9]}
    one = OpticalBench(device, 3, execution=execution)
    assert device.sampling.samples == samples
    seen = one.inspect(MirrorPatterns(shown.bits[:1], LAYOUT), exposure_s=EXPOSURE_S, roi=roi, reference_phase_rad=0.3)
    reserved = one.reserve(2 * n, frametime_s=one.minimum_frametime_s(16, EXPOSURE_S))
    whole = one.transform(shown, reserved=reserved, **how)
    assert whole.dtype == np.float32 and len(np.unique(whole)) > 0.9 * whole.size
    assert np.array_equal(seen.counts.ravel(), whole[0])
    for size in (1, 7):
        for first in range(0, n, size):
            part = np.arange(first, min(n, first + size))
            found = one.transform(MirrorPatterns(shown.bits[part], LAYOUT), reserved=reserved.only(part), **how)
            assert np.array_equal(found, whole[2 * first : 2 * (part[-1] + 1)])


@pytest.mark.parametrize("n", [1, 6, 7, 40])
def test_fields_by_matrix_are_its_product_and_have_the_same_bits_in_any_batch(n):
    """Against numpy in double precision: 100 features add up with a few roundings of 6e-8; to 2e-6 of the rms."""
    region = Region(Roi(500, 0, 20, 31), 620, IDEAL.camera.shape[1])
    way = Projector(IDEAL.evolve(**{"camera.polarised": False}), 3, LAYOUT, region, execution="matrix").way
    bits = np.random.default_rng(5).integers(0, 2, (n, 100), dtype=np.uint8)
    matrix, constant = (part.astype(np.float64) for part in way.matrix())
    expected = (bits.astype(np.float64) @ matrix + constant).view(np.complex128).reshape(n, 620, 2)
    fields = way.fields(bits)
    assert fields.dtype == np.complex64
    assert np.abs(fields - expected).max() < 2e-6 * np.sqrt(np.mean(np.abs(expected) ** 2))
    for i in (0, n // 2, n - 1):
        assert np.array_equal(way.fields(bits[i : i + 1])[0], fields[i])


def test_photons_are_mixed_before_shot_noise():
    """The variance of a mixed row is its mean (Poisson), not that of a mixture of counts, which has less.

    Two patterns in turn, so that every frame sees the same mixture: 400 frames of each on 64 x 32 pixels. The variance
    of a mixture of counts by shares of .4 and .6 would be .52 of the mean. Within 2 %.
    """
    noisy = {"camera.shot_noise": True, "camera.full_well_e": np.inf}
    two = patterns(2).bits
    shown = MirrorPatterns(np.tile(two, (200, 1)), LAYOUT)
    counts = frames_of(bench(**noisy), shown, frametime_s=SHORT_S) / IDEAL.camera.gain_dn_per_e
    late = counts[:-2, 40:].reshape(199, 2, -1)
    ratio = late.var(axis=0, ddof=1).mean() / late.mean()
    assert ratio == pytest.approx(1, rel=0.02)


def test_ways_of_mixing_patterns_agree():
    """Counts of a mixed sequence do not depend on threads, and `transform` gives those of `expose`."""
    noisy = {"camera.shot_noise": True}
    shown = patterns(4)
    one = frames_of(bench(**noisy), shown, frametime_s=SHORT_S).reshape(4, -1)
    with pytest.warns(UserWarning, match="mixes patterns"):
        other = bench(**noisy).transform(shown, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=2000, frametime_s=SHORT_S)
    assert np.array_equal(one[:, :2000], other)
    threads = OpticalBench(IDEAL.evolve(**{"camera.shutter": "rolling"} | noisy), threads=1)
    assert np.array_equal(one, frames_of(threads, shown, frametime_s=SHORT_S).reshape(4, -1))


def test_what_is_mixed_is_said():
    """Rows from r on with r row times + exposure > frame time; the frame time that avoids it; none for one frame."""
    first = int(np.floor((SHORT_S - EXPOSURE_S) / IDEAL.camera.row_time_s)) + 1
    least_s = bench().minimum_frametime_s(64, EXPOSURE_S)
    words = rf"rows {first} to 63 .* next pattern.*frametime_s = {least_s:.6g} avoids it"
    with pytest.warns(UserWarning, match=words):
        bench().expose(patterns(2), exposure_s=EXPOSURE_S, roi=ROI, frametime_s=SHORT_S)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench().expose(patterns(1), exposure_s=EXPOSURE_S, roi=ROI, frametime_s=SHORT_S)
        bench().expose(patterns(2), exposure_s=EXPOSURE_S, roi=ROI)
        OpticalBench(IDEAL).expose(patterns(2), exposure_s=EXPOSURE_S, roi=ROI, frametime_s=SHORT_S)


def test_what_is_refused():
    one = bench()
    with pytest.raises(ValueError, match="frametime_s is 0.0002, but .* at least"):
        one.expose(patterns(2), exposure_s=EXPOSURE_S, roi=ROI, frametime_s=200e-6)
    taken = one.reserve(2, frametime_s=SHORT_S)
    with pytest.raises(ValueError, match="reserved has frames of 0.00024 s, in which the rolling shutter mixes"):
        one.transform(patterns(2), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=9, reserved=taken)
    for bad in ("Rolling", "", 1, None):
        with pytest.raises((TypeError, ValueError), match="camera.shutter"):
            IDEAL.evolve(**{"camera.shutter": bad})


def test_a_medium_that_moves_in_a_frame_is_refused_where_rows_differ():
    """The sentence says what to do, and each piece of its advice works."""
    restless = {"medium.decorrelation_time_s": 2 * EXPOSURE_S, "operation.exposure_average": True}
    vibration = {"reference.vibration_rad": 1.0, "reference.vibration_hz": 3000.0}
    how = {"exposure_s": EXPOSURE_S, "roi": ROI}
    one, with_reference = bench(**restless), bench(**restless, **vibration)
    said = (
        r"exposure_s is 0\.00017, in which the medium moves \(medium\.decorrelation_time_s is 0\.00034\), but rows .*"
    )
    for act in (with_reference.expose, with_reference.inspect):
        with pytest.raises(ValueError, match=said + "see a reference that moves .* switch off drift and vibration"):
            act(patterns(1), reference_phase_rad=0.4, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(
            ValueError, match=said + "see two patterns .* the mixing by frametime_s = ([0-9.e-]+)"
        ) as told:
            one.expose(patterns(2), frametime_s=SHORT_S, **how)
    assert one.clock.frames == with_reference.clock.frames == 0
    least_s = float(str(told.value).rpartition("frametime_s = ")[2].rstrip("."))
    shown = [
        with_reference.expose(patterns(1), exposure_s=9e-7, roi=ROI, reference_phase_rad=0.4),
        bench(**restless, **vibration, **{"camera.shutter": "global"}).expose(
            patterns(1), reference_phase_rad=0.4, **how
        ),
        bench(**restless).expose(patterns(1), reference_phase_rad=0.4, **how),
        one.expose(patterns(2), frametime_s=least_s, **how),
        # A reference that is blocked moves nothing.
        with_reference.expose(patterns(1), **how),
    ]  # fmt: skip
    assert all(frames.std() > 0 for frames in shown)


def test_which_cameras_roll():
    """Zyla 4.2 and Flash4.0 V3 roll from version 2 on; version 1 and all others begin at once, as before."""
    for name in ("zyla-4.2", "flash4.0-v3"):
        new, old = (Device.from_toml(f'preset = "ideal"\n[camera]\npreset = "{spec}"') for spec in (name, f"{name}@1"))
        assert (new.camera.shutter, old.camera.shutter) == ("rolling", "global")
        assert isinstance(new.camera, Camera) and new.fingerprint() != old.fingerprint()
        assert new.ideal().camera.shutter == "global" and "rolling shutter" in new.imperfections()
    assert Device.load("aurora").camera.shutter == IDEAL.camera.shutter == "global"
