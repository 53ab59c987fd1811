"""`check_method`: every way to make outputs passes, and each rule that is broken is named in a sentence of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from opusim import OPU
from opusim.device.record import Device
from opusim.drivers import OpuDevice
from opusim.drivers.methods.base import Method
from opusim.drivers.methods.counts import Counts
from opusim.drivers.methods.holography import Holography
from opusim.drivers.methods.intensity import Intensity
from opusim.patterns.layout import MirrorPatterns
from opusim.testing import ConformanceError, check_method
from own_anchor import OwnAnchor

SMALL = Device.load("aurora").evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000)}
)
N, OUT = 96, 64
SHIPPED = {
    "counts": Counts(np.dtype(np.uint8)),
    "intensity": Intensity(N, 2.0, 60.0),
    "intensity without a level": Intensity(N, 2.0),
    "intensity, five frames a vector": Intensity(N, 2.0, 60.0, 5),
}


def test_none_is_left_out():
    assert set(Method.__subclasses__()) >= {Counts, Intensity, Holography}
    ours = {cls for cls in Method.__subclasses__() if cls.__module__.startswith("opusim.")}
    assert ours == {Counts, Intensity, Holography}


@pytest.mark.parametrize("method", SHIPPED.values(), ids=SHIPPED)
def test_every_method_conforms(method):
    report = check_method(method, n_features=N, n_out=OUT)
    assert not report.skipped and {"patterns", "places", "parts", "copies"} <= set(report.passed)


@pytest.mark.parametrize("transform", ["linear_transform", "field_transform"])
def test_holography_conforms(transform, monkeypatch):
    """With what it was made for: a device that was calibrated, and a fit whose fields were measured."""
    made: list[Holography] = []
    shown: list[dict[str, Any]] = []
    reduce, project = Holography.reduce, OpuDevice.project

    def reducing(self, *args: Any, **how: Any) -> Any:
        made.append(self)
        return reduce(self, *args, **how)

    def projecting(self, patterns: Any, *args: Any, **how: Any) -> Any:
        shown.append({"layout": patterns.layout, "settings": how["settings"]})
        return project(self, patterns, *args, **how)

    with OPU(OUT, device=SMALL) as opu:
        opu.calibrate(store=False)
        opu.fit1d(n_features=N)
        with monkeypatch.context() as patch:
            patch.setattr(Holography, "reduce", reducing)
            patch.setattr(OpuDevice, "project", projecting)
            getattr(opu, transform)(np.ones((1, N), dtype=np.uint8))
        (method,), layout, settings = made, shown[-1]["layout"], shown[-1]["settings"]

        def show(bits, phases_rad):
            patterns = MirrorPatterns(bits, layout)
            return opu.device.project(patterns, method.n_pixels, settings=settings, reference_phase_rad=phases_rad)

        report = check_method(method, n_features=N, n_out=OUT, show=show)
    assert report.skipped["places"] == "its blocks are not shown in parts" and "parts" in report.passed


# ---------------------------------------------------------------------------------------------- wrong ones


@dataclass(frozen=True)
class Mean(Method):
    """A right one: the mean of two frames of a vector."""

    dtype = np.dtype(np.float32)
    block = 4

    def frames(self, n):
        return 2 * n

    def encode(self, bits, *, part=False):
        return np.repeat(bits, 2, axis=0)

    def decode(self, frames, shared=None, *, out=None, part=False, threads=None):
        return (frames[::2].astype(np.float32) + frames[1::2]) / 2


class Running(OwnAnchor):
    """Takes off what came so far: of a lazy array, that is not known."""

    def decode(self, frames, shared=None, **how):
        return super().decode(frames, shared) - np.mean(shared, axis=0)


class Forgetful(OwnAnchor):
    """Its anchors for workers are others than those of its passes."""

    def shared(self, show, sizes, n_features):
        return super().shared(show, sizes[:1], n_features)


class TooMany(Mean):
    def frames(self, n):
        return 2 * n + 1


class ByNumber(Mean):
    """Takes off what is common to all vectors that come at once."""

    def decode(self, frames, shared=None, *, out=None, part=False, threads=None):
        found = super().decode(frames)
        return found - found.mean(axis=0, dtype=np.float32)


class Double(Mean):
    def decode(self, frames, shared=None, **how):
        return super().decode(frames).astype(np.float64)


class Writing(Mean):
    def encode(self, bits, *, part=False):
        bits.flags.writeable = True
        bits[0] = 1 - bits[0]
        return super().encode(bits)


class Grey(Mean):
    def encode(self, bits, *, part=False):
        return 2 * super().encode(bits)


class Elsewhere(Mean):
    def places(self, numbers, n):
        return super().places(numbers, n)[::-1]


class OtherPart(Mean):
    def encode(self, bits, *, part=False):
        return 1 - super().encode(bits) if part else super().encode(bits)


class Chance(Mean):
    def decode(self, frames, shared=None, **how):
        found = super().decode(frames)
        return found + np.random.default_rng().random(found.shape, dtype=np.float32)


class ByThreads(Mean):
    def decode(self, frames, shared=None, *, out=None, part=False, threads=None):
        return super().decode(frames) * np.float32(threads or 1)


class Endless(Mean):
    def decode(self, frames, shared=None, **how):
        return super().decode(frames) / np.float32(0)


class Scattered(Mean):
    def encode(self, bits, *, part=False):
        return np.asfortranarray(super().encode(bits))


class Misplaced(Mean):
    def decode(self, frames, shared=None, *, out=None, part=False, threads=None):
        found = super().decode(frames)
        if out is not None:
            out[...] = found + 1
        return found if out is None else out


class Falling(Mean):
    def frames(self, n):
        return 20 - 2 * n


class Unmeasured(Mean):
    phases_rad = np.array([0.0, np.nan])


WRONG = {
    "frames": (TooMany(), "patterns", r"encode of 1 vectors gave uint8 of the shape \(2, 96\), but frames\(1\) is 3"),
    "split": (ByNumber(), "parts", "decoded in parts gave other results than in whole passes"),
    "running": (Running(), "parts", "decoded in parts gave other results than in whole passes"),
    "anchors of others": (Forgetful(), "parts", "in any order, and again: as workers do it, after what is shared"),
    "type": (Double(), "results", "vectors gave float64 of the shape .11, 64., but it must be float32, its dtype"),
    "vectors changed": (Writing(), "patterns", "encode changed the 1 vectors that it was given"),
    "grey": (Grey(), "patterns", "encode gave the value 2, but mirrors show 0 and 1 only"),
    "places": (Elsewhere(), "places", "but it must rise, below 16"),
    "part": (OtherPart(), "places", "but a vector must be shown by the same patterns either way"),
    "chance": (Chance(), "repetition", "the same frames gave other results the second time"),
    "threads": (ByThreads(), "threads", "1 and 2 threads gave different results"),
    "not finite": (Endless(), "results", "results hold numbers that are not finite"),
    "order in memory": (Scattered(), "patterns", "do not lie in order in memory, but they must"),
    "out": (Misplaced(), "places for results", "put into `out` are others than without it"),
    "falling": (Falling(), "frames", "frames falls where there are more vectors"),
    "phases": (Unmeasured(), "members", "phases_rad is .*nan.*, but it must be some finite numbers in radians"),
    "no method": (object(), "members", "it is a object, but it must be an opusim.drivers.methods.base.Method"),
}


@pytest.mark.parametrize(("method", "check", "sentence"), WRONG.values(), ids=WRONG)
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value:RuntimeWarning")
def test_a_rule_that_is_broken_is_named(method, check, sentence):
    with pytest.raises(ConformanceError, match=sentence) as error:
        check_method(method, n_features=N, n_out=OUT)
    assert check in error.value.failures


def test_a_right_one_of_ones_own():
    assert not check_method(Mean(), n_features=N, n_out=OUT).skipped
    report = check_method(OwnAnchor(), n_features=N, n_out=OUT)
    assert set(report.skipped) == {"places"} and "parts" in report.passed


def test_a_class_and_a_method_without_a_type_are_told():
    class Untyped(Method):
        frames, encode, decode = Counts.frames, Counts.encode, Counts.decode

    with pytest.raises(ConformanceError, match=r"The method Untyped .*\n- members: it has no dtype, but it must say"):
        check_method(Untyped())
    with pytest.raises(ConformanceError, match=r"The method Counts .*\n- members: it is a class: .*, as Counts\(\)"):
        check_method(Counts)
