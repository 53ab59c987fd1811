"""What is reduced in the kernel is, to the bit, what plain code makes of the frames."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from opusim import OPU
from opusim.bench.bench import OpticalBench
from opusim.bench.frames import MOST_FRAMES
from opusim.bench.reduction import CountSums, FieldsOfBursts, MeanDifferences
from opusim.bench.together import TakenTogether
from opusim.device.record import Device
from opusim.drivers import OpuDevice
from opusim.drivers.methods.holography import Holography
from opusim.patterns.layout import MirrorLayout


class Framed(OpticalBench):
    """The same bench with a `transform` of its own: its frames are made, and reduced by plain code."""

    def transform(self, *given: Any, **more: Any) -> Any:
        """Return the same counts."""
        return super().transform(*given, **more)


def vectors(n: int, n_features: int = 64, seed: int = 3) -> np.ndarray:
    """Half-on vectors."""
    return np.random.default_rng(seed).integers(0, 2, size=(n, n_features), dtype=np.uint8)


def pair(device: Device, n_out: int, **settings: Any) -> list[OPU]:
    """An OPU that reduces, and one that makes frames."""
    opus = []
    for kind in (OpticalBench, Framed):
        bench = kind(device, 5, execution="matrix", threads=2)
        opus.append(OPU(n_components=n_out, opu_device=OpuDevice(bench=bench), disable_pbar=True, **settings))
    return opus


def small(name: str = "aurora@1", **changed: Any) -> Device:
    """A preset with few mirrors and pixels, and some fields changed."""
    return Device.load(name).evolve(
        **{"dmd.shape": (32, 32), "camera.shape": (40, 50), "operation.ones_range": (1, 900), **changed}
    )


DEVICES = {
    "version 1": {},
    "12 bits": {"camera.bits": 12, "camera.gain_dn_per_e": 0.6},
    "no rounding": {"camera.quantise": False},
    "five frames": {"operation.frames_per_vector": 5},
    "three frames": {"operation.frames_per_vector": 3},
    "a drifting medium": {"medium.decorrelation_time_s": 20.0},
}


def compared(device: Device, mode: str, n: int, n_out: int, call: str = "linear_transform") -> None:
    """Assert that both give the same bits, twice in a row, and the same clock."""
    opus = pair(device, n_out, linear_mode=mode)
    x = vectors(n)
    results = []
    for opu in opus:
        opu.fit1d(x)
        transform = getattr(opu, call)
        results.append([transform(x), transform(x[:70]), transform(x[3])])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        assert np.asarray(one).dtype == np.asarray(other).dtype
    clocks = [(opu.device.bench.clock.frames, opu.device.bench.clock.elapsed_s) for opu in opus]
    assert clocks[0] == clocks[1]


@pytest.mark.parametrize("name", list(DEVICES))
def test_intensities_are_those_of_frames(name):
    """Differences and anchors, for any number of frames and any kind of count."""
    compared(small(**DEVICES[name]), "intensity", 150, 600)


@pytest.mark.parametrize("name", ["version 1", "12 bits", "a drifting medium", "no rounding"])
@pytest.mark.filterwarnings("ignore")
def test_holography_is_that_of_frames(name):
    """Fields, saturated ones too, of blocks that go together."""
    compared(small(**DEVICES[name]), "holographic", 200, 600)


@pytest.mark.filterwarnings("ignore")
def test_fields_are_those_of_frames():
    """The complex output."""
    compared(small("aurora"), "holographic", 130, 600, "field_transform")


def test_a_bench_says_what_it_reduces():
    """By the matrix with numpy, and nothing else."""
    device = small()
    layout = MirrorLayout.lined(device.dmd.shape, 50)
    asked = {"exposure_s": 4e-4, "roi": (0, 0, 10, 50), "n_pixels": 100}
    kinds = (CountSums, MeanDifferences)
    assert OpticalBench(device, 0, execution="matrix").together(layout, kinds, **asked) is not None
    assert OpticalBench(device, 0, execution="waves").together(layout, kinds, **asked) is None
    assert OpticalBench(device, 0, backend="torch:cpu").together(layout, kinds, **asked) is None
    assert Framed(device, 0).together(layout, kinds, **asked) is None
    floating = device.evolve(**{"camera.quantise": False})
    bench = OpticalBench(floating, 0, execution="matrix")
    assert bench.together(layout, (FieldsOfBursts,), **asked, reference_phase_rad=[0.0, 1.0, 2.0]) is None
    assert bench.together(layout, kinds, **asked) is not None


def test_frames_that_are_taken_together_are_those_of_sequence_after_sequence():
    """Numbers, and times to the last bit."""
    benches = [OpticalBench(small(), 0, execution="matrix") for _ in range(2)]
    layout = MirrorLayout.lined(benches[0].mirror_shape, 50)
    together = benches[0].together(
        layout, (CountSums,), exposure_s=4e-4, roi=(0, 0, 10, 50), n_pixels=100, frametime_s=1.003e-3
    )
    taken = together.taken([67, 67, 5])
    alone = [benches[1].reserve(n, frametime_s=1.003e-3) for n in (67, 67, 5)]
    assert [(s.first, s.start_s, s.n_frames) for s in taken.sequences] == [
        (s.first, s.start_s, s.n_frames) for s in alone
    ]
    assert taken.still


def clock_of(opu: OPU) -> tuple[int, float]:
    """Frames, and seconds to the last bit."""
    clock = opu.device.bench.clock
    return clock.frames, clock.elapsed_s


def told_by(opu: OPU, x: np.ndarray) -> str:
    """What a linear transform raises."""
    with pytest.raises((RuntimeError, ValueError)) as found:
        opu.linear_transform(x)
    return str(found.value)


@pytest.mark.filterwarnings("ignore")
def test_a_reference_that_is_lost_leaves_the_clock_behind_its_block():
    """Frames of later blocks, which nobody has seen, are not gone."""
    x, ends = vectors(700), []
    for opu in pair(small(**{"reference.drift_rad_per_minute": 12.5}), 600, linear_mode="holographic"):
        opu.fit1d(x)
        opu.linear_transform(x[:1])
        before = clock_of(opu)[0]
        ends.append((told_by(opu, x), *clock_of(opu)))
        assert 4 * 66 < clock_of(opu)[0] - before < 4 * 66 * 5
        assert (clock_of(opu)[0] - before) % (4 * 66) == 0
    assert ends[0] == ends[1] and "reference turned" in ends[0][0]


@pytest.mark.parametrize("left", [0, 263, 264, 1000])
@pytest.mark.filterwarnings("ignore")
def test_a_clock_at_its_end_leaves_the_blocks_before_it(monkeypatch, left):
    """What had time is shown, and stays taken; one sentence."""
    x, ends, shown = vectors(300), [], []
    real = Holography.reduce

    def reduce(self: Holography, bits: np.ndarray, *given: Any, **more: Any) -> np.ndarray:
        shown.append(len(bits))
        return real(self, bits, *given, **more)

    monkeypatch.setattr(Holography, "reduce", reduce)
    for opu in pair(small(**{"medium.decorrelation_time_s": math.inf}), 600, linear_mode="holographic"):
        opu.fit1d(x)
        opu.linear_transform(x[:1])
        shown.clear()
        opu.device.bench.advance_to(MOST_FRAMES - left, clock_of(opu)[1])
        ends.append((told_by(opu, x), *clock_of(opu), list(shown)))
    assert ends[0][:3] == ends[1][:3] and "a bench ends at frame" in ends[0][0]
    assert [end[3] for end in ends] == [[64 * (left // 264)] if left >= 264 else [], []]


def test_frames_that_others_took_meanwhile_stay_taken():
    """No two frames share noise: only what lies at the end of the clock is given back."""
    bench = OpticalBench(small(), 0, execution="matrix")
    layout = MirrorLayout.lined(bench.mirror_shape, 50)
    together = bench.together(layout, (CountSums,), exposure_s=4e-4, roi=(0, 0, 10, 50), n_pixels=100)
    taken = together.taken([7, 5, 3])
    middle = taken.sequences[1]
    taken.give_back(2)
    assert (bench.clock.frames, bench.clock.elapsed_s) == (12, middle.start_s + 5 * middle.frametime_s)
    bench.skip_frames(1)
    stands = bench.clock.frames, bench.clock.elapsed_s
    taken.give_back(0)
    assert (bench.clock.frames, bench.clock.elapsed_s) == stands
    later = together.taken([2, 2])
    bench.skip_frames(4)
    last = together.taken([6])
    TakenTogether((*later.sequences, *last.sequences), last.way, last.take_back, None).give_back(0)
    assert bench.clock.frames == stands[0] + 2 + 2 + 4


def test_sequences_are_taken_as_long_as_the_medium_stays_as_it_is():
    """No matrix of a state is made twice: the rest of the sequences comes in the next call."""
    device = small(**{"medium.decorrelation_time_s": 20.0})
    bench = OpticalBench(device, 0, execution="matrix")
    layout = MirrorLayout.lined(bench.mirror_shape, 50)
    step_s = device.medium.drift.step_s
    together = bench.together(
        layout, (CountSums,), exposure_s=4e-4, roi=(0, 0, 10, 50), n_pixels=100, frametime_s=step_s / 10
    )
    assert [len(together.taken([4, 4, 4]).sequences), bench.clock.frames] == [2, 8]
    crossing = together.taken([4, 4])
    assert [len(crossing.sequences), crossing.still, bench.clock.frames] == [1, False, 12]
    assert [len(together.taken([4, 4, 4]).sequences), bench.clock.frames] == [2, 20]


def test_a_transform_that_is_set_on_the_bench_is_seen():
    """As one of a class: neither single vectors nor linear transforms go past it."""
    bench = OpticalBench(small(), 0, execution="matrix")
    layout = MirrorLayout.lined(bench.mirror_shape, 50)
    asked = {"exposure_s": 4e-4, "roi": (0, 0, 10, 50), "n_pixels": 100}
    assert bench.singles(layout, **asked) is not None and bench.together(layout, (CountSums,), **asked) is not None
    for other in (lambda *given, **more: None, OpticalBench(small(), 1).transform):
        bench.transform = other
        assert bench.singles(layout, **asked) is None and bench.together(layout, (CountSums,), **asked) is None
        del bench.transform
    assert bench.singles(layout, **asked) is not None and bench.together(layout, (CountSums,), **asked) is not None
