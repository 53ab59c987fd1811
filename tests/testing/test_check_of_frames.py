"""`check_bench` on benches that lose frames, send counts at the upper end, or follow too late: each is told plainly."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from laboratory_bench import Numbers
from opusim.bench.laboratory import LabDevice
from opusim.testing import ConformanceError, _bench_settling, check_bench


class Plain(Numbers):
    """What its camera does comes through: nothing looks at it on the way."""

    guards = False

    def expose(self, mirrors, **how):
        return self.sent(super().expose(mirrors, **how))

    def sent(self, frames):
        return frames


class Moved(Plain):
    """Loses the frame of the 21st trigger of long sequences, and repeats the last one."""

    def sent(self, frames):
        return frames if len(frames) < 32 else np.concatenate([frames[:20], frames[21:], frames[-1:]])


class Doubled(Plain):
    def sent(self, frames):
        if len(frames) >= 32:
            frames[20] = frames[19]
        return frames


class Fewer(Plain):
    def sent(self, frames):
        return frames if len(frames) < 32 else frames[:-2]


class Exchanged(Plain):
    """Two frames in each other's place."""

    def sent(self, frames):
        if len(frames) >= 32:
            frames[[20, 40]] = frames[[40, 20]]
        return frames


class Late(Plain):
    """From the fifth frame of a sequence on each is that of the pattern before, but for the last ones."""

    def show(self, mirrors, **how):
        if len(mirrors) > 6:
            mirrors = mirrors.copy()
            mirrors[4:-1] = mirrors[3:-2]
        return super().show(mirrors, **how)


class Mixed(Plain):
    """In place of a lost frame it gives the mean of its neighbours, of which one is of the other pattern."""

    def sent(self, frames):
        if len(frames) >= 32:
            frames[24] = (frames[23].astype(int) + frames[25]) // 2
        return frames


class Torn(Plain):
    """The lower half of a frame is of the next one, as where a buffer is read while it is filled."""

    def sent(self, frames):
        if len(frames) >= 32:
            half = frames.shape[1] // 2
            frames[24, half:] = frames[25, half:]
        return frames


class InNoise(Plain):
    """Single frames of one pattern are alike by a third only."""

    def developed(self, light):
        return super().developed(0.05 * light)


class TornInNoise(InNoise):
    sent = Torn.sent


class Lost(Numbers):
    """Its guards see it, each time."""

    def show(self, mirrors, **how):
        return Moved.sent(self, super().show(mirrors, **how))


class Twelve(Numbers):
    """A camera of 12 bits, as they are."""

    device = LabDevice("twelve", Numbers.device.mirror_shape, Numbers.device.sensor_shape, bits=12, black_level_dn=8.0)

    def developed(self, light):
        return np.minimum(8 + self.rng.poisson(4 * light), 4095).astype(np.uint16)


class LeftJustified(Twelve):
    device = LabDevice("left", Numbers.device.mirror_shape, Numbers.device.sensor_shape, bits=16, black_level_dn=128.0)

    def developed(self, light):
        return super().developed(light) << 4


class LateExposure(Numbers):
    """The exposure that it is given holds from the next frame on, as that of many cameras."""

    late = 1

    def __init__(self):
        super().__init__()
        self.set = [400e-6] * 3

    def show(self, mirrors, *, exposure_s, **how):
        frames = []
        for k in range(len(mirrors)):
            self.set = [exposure_s, *self.set[:2]]
            frames.append(super().show(mirrors[k : k + 1], exposure_s=self.set[self.late], **how))
        return np.concatenate(frames)


class LaterExposure(LateExposure):
    late = 2


class InTime(LateExposure):
    late = 0


class Creeping(Numbers):
    """A piezo that has made a part of its way alone when the first frame is taken, and all of it at the next."""

    done = 0.7

    def set_reference(self, phase_rad):
        self.last, self.phase = self.phase, phase_rad
        self.new = None not in (phase_rad, self.last) and phase_rad != self.last

    def show(self, mirrors, **how):
        target = self.phase
        if self.new:
            self.phase = self.last + self.done * (target - self.last)
        frames = super().show(mirrors, **how)
        self.phase, self.new = target, False
        return frames


class Settled(Creeping):
    done = 1.0


BROKEN = {
    Moved: ("lost frames", "frames from number 2[0-9] of 64 on, .*are those of the next patterns: a frame was lost"),
    Doubled: ("lost frames", "frame 20 of 64 is frame 19 to the bit, in place of its own: a frame was lost"),
    Fewer: (
        "lost frames",
        r"have the shape .62, 20, 30., but it must be .64, 20, 30..*; 2 of them lost: look at the tri",
    ),
    Exchanged: ("lost frames", "frame (20|40) of 64 is that of another pattern, and 2 are in all"),
    Late: ("order", r"those of the same patterns shown alone \(by .*\) than they are like each other .0\.9.*: frame k"),
    Mixed: ("lost frames", "frame 24 of 64 is nearer to its own pattern than .* by -?0.[01]. of .* and 1 such are in"),
    Torn: ("lost frames", "frame 24 of 64 is nearer .* a part of it is of another frame, as of one that was torn"),
    TornInNoise: ("lost frames", "frame 24 of 64 is nearer .* and 1 such are in all"),
    Lost: ("lost frames", "FramesLost was raised .* 3 times, .*frames were moved.*-1 the other guard"),
    LeftJustified: ("counts", "multiples of 16: .*Shift frames to the right by 4, frames >> 4, and give bits=12"),
    LateExposure: ("change of exposure", "frame 0 is still .* Let 1 frame pass unread after each change"),
    LaterExposure: ("change of exposure", "frame 1 is still .* Let 2 frames pass unread after each change"),
    Creeping: ("settling", "after a step of the reference's phase by pi is 2.*% of the fringe away .*settling_s"),
}


@pytest.mark.filterwarnings("ignore:Frames were lost")
@pytest.mark.parametrize(("make", "told"), BROKEN.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_a_camera_that_breaks_a_rule_is_told_so(make, told):
    check, sentence = told
    with pytest.raises(ConformanceError, match=sentence) as error:
        check_bench(make(), exposure_s=400e-6)
    assert check in error.value.failures
    assert all(s.endswith(".") for s in error.value.failures[check])
    assert len(error.value.failures[check]) == 1


@pytest.mark.parametrize("make", [Plain, Twelve, InTime, Settled, InNoise])
def test_one_that_keeps_them_is_not(make):
    report = check_bench(make(), exposure_s=400e-6)
    assert {"lost frames", "counts", "change of exposure"} <= set(report.passed)
    assert "settling" in (report.passed if make.device.has_reference else report.skipped)


def test_the_phase_is_missed_by_what_the_piezo_lacks():
    """Of a step of pi that is 70 % done (1 - cos(.3 pi)) / 2 of the way from fringe to fringe is missing."""
    with pytest.raises(ConformanceError) as error:
        check_bench(Creeping(), exposure_s=400e-6)
    share = float(error.value.failures["settling"][0].split(" is ")[1].split("%")[0]) / 100
    assert share == pytest.approx((1 - np.cos(0.3 * np.pi)) / 2, abs=0.03)


class Slow(Numbers):
    """A camera that begins late, and a bench that does not reckon with it."""

    device = LabDevice(
        "slow", Numbers.device.mirror_shape, Numbers.device.sensor_shape, black_level_dn=2.0, latency_s=1e-3
    )


class InTimeForIt(Slow):
    def minimum_frametime_s(self, n_rows, exposure_s):
        return exposure_s + 1e-3 + n_rows * 1e-6


def test_a_frame_time_without_the_latency_is_told():
    with pytest.raises(
        ConformanceError, match="device.latency_s and the exposure take 0.0014: a pattern must stay"
    ) as e:
        check_bench(Slow(), exposure_s=400e-6)
    assert "frame times" in e.value.failures
    assert "frame times" in check_bench(InTimeForIt(), exposure_s=400e-6).passed


def test_noise_is_not_taken_for_a_shifter_that_lags():
    """In weak light, where a step's own noise on both sides of the product would make some per cent of a fringe."""
    for seed in range(8):
        bench = Settled()
        bench.rng, bench.guards = np.random.default_rng(seed), False
        pattern = np.random.default_rng(seed + 100).integers(0, 2, (1, *bench.mirror_shape), dtype=np.uint8)
        probe = SimpleNamespace(
            expose=partial(bench.expose, exposure_s=40e-6), shown=lambda bits: bits, pair=pattern,
            region=(0, 0, *bench.sensor_shape), dark=bench.expose(None, exposure_s=40e-6),
        )  # fmt: skip
        assert not list(_bench_settling(probe))
