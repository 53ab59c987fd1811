"""Frames that are reserved: shown in parts, again, out of order and elsewhere, they give the counts of one call."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from opusim.bench.bench import OpticalBench
from opusim.bench.frames import time_after
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

ROI = (500, 0, 1, 2040)
# Everything that changes with time, fast: the medium takes a new state every 9 ms, so about every thirteenth frame.
RESTLESS = Device.load("aurora").evolve(
    **{"medium.decorrelation_time_s": 3.0, "laser.power_noise": 0.02, "laser.power_drift_per_hour": 0.1}
)
LAYOUT = MirrorLayout.lined((912, 1140), 50)
BITS = np.random.default_rng(0).integers(0, 2, (21, 50), dtype=np.uint8)
TIMES = {"exposure_s": 4e-4, "frametime_s": 7e-4}


def show(bench, rows, **more):
    return bench.transform(MirrorPatterns(BITS[rows], LAYOUT), roi=ROI, n_pixels=300, **TIMES, **more)


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize("phases", [None, np.array([0.0, 2.0, 4.0])])
def test_parts_in_any_order_are_the_whole(execution, phases):
    steps = 1 if phases is None else len(phases)
    whole_bench, bench = (OpticalBench(RESTLESS, 3, execution=execution) for _ in range(2))
    whole_bench.skip_frames(5)
    bench.skip_frames(5)
    expected = show(whole_bench, slice(None), reference_phase_rad=phases).reshape(21, steps, 300)
    reserved = bench.reserve(21 * steps, frametime_s=7e-4)
    assert bench.clock == whole_bench.clock
    elsewhere = OpticalBench(RESTLESS, 3, execution=execution, threads=1)
    for numbers in ([20], [0, 1, 2, 3], [7, 11, 19], list(range(4, 21)), [20]):
        part = pickle.loads(pickle.dumps(reserved.only(np.array(numbers))))
        counts = show(elsewhere, numbers, reference_phase_rad=phases, reserved=part)
        assert np.array_equal(counts.reshape(-1, steps, 300), expected[numbers])
    assert np.array_equal(show(bench, slice(None), reference_phase_rad=phases, reserved=reserved), np.vstack(expected))
    assert bench.clock == whole_bench.clock and elsewhere.clock.frames == 0


def test_no_call_shows_anything_in_them():
    bench = OpticalBench("aurora", 0)
    reserved = bench.reserve(4, frametime_s=7e-4)
    assert reserved.numbers().tolist() == [0, 1, 2, 3] and bench.clock.frames == 4
    after = show(bench, slice(0, 4))
    assert not np.array_equal(after, show(bench, slice(0, 4), reserved=reserved))
    assert bench.clock.frames == 8 and bench.clock.elapsed_s == pytest.approx(8 * 7e-4)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (None, "reserved holds 4 frames, but 3 patterns of 1 frames each take 3"),
        ([0, 1], "reserved is for 2 patterns, but there are 3"),
        ([1, 2, 4], "lie within its 4 frames"),
        ([-1, 0, 1], "lie within its 4 frames"),
        ([2, 1, 3], "must rise"),
    ],
)
def test_patterns_that_do_not_fit(numbers, message):
    bench = OpticalBench("aurora", 0)
    reserved = bench.reserve(4, frametime_s=7e-4)
    with pytest.raises(ValueError, match=message):
        show(bench, slice(0, 3), reserved=reserved if numbers is None else reserved.only(np.array(numbers)))


def test_bad_reservations():
    bench = OpticalBench("aurora", 0)
    for arguments in ({"n_frames": -1, "frametime_s": 1e-3}, {"n_frames": 1, "frametime_s": -1e-3}):
        with pytest.raises(ValueError, match="n_frames|frametime_s"):
            bench.reserve(**arguments)
    assert bench.clock.frames == 0


@pytest.mark.parametrize("seed", range(6))
def test_time_after_many_sequences_is_that_of_a_loop(seed):
    """Of start and step of any ratio, ties among them."""
    rng = np.random.default_rng(seed)
    for _ in range(60):
        step = float(rng.choice([0.1, 1.0, 3.0, rng.random(), 0.0029 * int(rng.integers(1, 5000))]))
        start = float(rng.choice([0.0, rng.random(), step * 2.0 ** int(rng.integers(48, 55)), 1e3 * rng.random()]))
        n = int(rng.integers(0, 3000))
        expected = start
        for _ in range(n):
            expected += step
        assert time_after(start, step, n) == expected, (start, step, n)


def test_time_after_more_sequences_than_anyone_adds():
    # Exact as long as sums of whole numbers are.
    assert time_after(5.0, 3.0, 2**50) == 5.0 + 3.0 * 2**50
    assert time_after(0.0, 0.0, 2**60) == 0.0
