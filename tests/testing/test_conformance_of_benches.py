"""`check_bench`: every bench that there is passes, and each rule that is broken is named in a sentence of its own."""

from __future__ import annotations

import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest

from fake_bench import FakeBench
from laboratory_bench import MIRRORS, SENSOR, Bare, Numbers
from opusim import OpticalBench
from opusim.bench import protocol
from opusim.bench.driver import bench_of
from opusim.calibration.on_bench import saturation_dn
from opusim.device.medium import GaussianMedium, MeasuredMedium
from opusim.device.record import Device
from opusim.drivers import OpuDevice
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.testing import ConformanceError, Report, check_bench
from phase_benches import Phases, phase_device


def small(name: str, **changes) -> Device:
    sizes = {"dmd.shape": (48, 64), "camera.shape": SENSOR, "operation.ones_range": (10, 2000)}
    return Device.load(name).evolve(**sizes, **changes)


PRESETS = ("aurora", "aurora-type1", "aurora-type3", "ideal")
ALL = {
    **{name: lambda name=name: OpticalBench(small(name)) for name in PRESETS},
    "waves": lambda: OpticalBench(small("aurora"), execution="waves"),
    "mirrors": lambda: OpticalBench(small("aurora"), resolution="mirrors"),
    "gaussian": lambda: OpticalBench(small("aurora", medium=GaussianMedium(Device.load("aurora").medium.transmission))),
    "without an arm": lambda: OpticalBench(small("aurora", **{"reference.relative_amplitude": 0.0})),
    "tuned": lambda: OpticalBench(small("aurora", **{"laser.tuning_range_hz": 1e12})),
    "laboratory": Numbers,
    "bare": Bare,
}  # fmt: skip


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_bench_conforms(make):
    report = check_bench(make())
    assert {"members", "frames", "order", "region", "refusals", "transform"} <= set(report.passed)


def test_a_bench_whose_matrix_was_measured_conforms(tmp_path):
    """Of inputs and pixels of a region: it shows no mirrors one by one, and is shown patterns of its own inputs."""
    with h5py.File(tmp_path / "tm.h5", "w") as file:
        file["tm"] = GaussianMedium().entries(range(256), range(600), seed=9).T
    light = Device.load("aurora").medium.transmission
    bench = OpticalBench(small("aurora", medium=MeasuredMedium(str(tmp_path / "tm.h5"), transmission=light)))
    report = check_bench(bench)
    assert set(report.skipped) == {"region", "forms of mirrors", "packed mirrors"} and "transform" in report.passed


@pytest.mark.parametrize("bench", [Phases, lambda: OpticalBench(phase_device("aurora"))])
def test_benches_of_phases_conform(bench):
    report = check_bench(bench())
    assert "its modulator has levels" in str(report)


def test_a_bench_that_shows_phases_as_mirrors_does_not_conform():
    """One that turns light on and off by levels, and takes bits: each is named."""

    class OnOff(Phases):
        def expose(self, mirrors, **how):
            if isinstance(mirrors, MirrorPatterns):
                mirrors = mirrors.to_mirrors()
            return super().expose(mirrors, **how)

    with pytest.raises(ConformanceError, match="bits of mirrors, which turn no phase, was taken"):
        check_bench(OnOff())


def test_a_laboratory_s_bench_with_inputs_of_its_own_conforms():
    """Its beam lights a part of the mirrors, and takes bare mirrors too."""
    layout = MirrorLayout.lined(MIRRORS, 100, (4, 6), (12, 20))
    report = check_bench(type("Part", (Numbers,), {"input_layout": layout})())
    assert {"inputs", "fewer inputs", "region", "forms of mirrors", "level"} <= set(report.passed)


def test_inputs_that_move_are_named():
    """Fewer features on the mirrors of all: a factor of two mirrors each in place of one."""

    class Spread(Numbers):
        input_layout = MirrorLayout.lined(MIRRORS, 300)

        def expose(self, mirrors, **how):
            if isinstance(mirrors, MirrorPatterns) and len(mirrors) and mirrors.bits.shape[1] < 300:
                n = mirrors.bits.shape[1]
                mirrors = MirrorPatterns(mirrors.bits[:, ::-1], MirrorLayout.lined(MIRRORS, n))
            return Numbers.expose(self, mirrors, **how)

    with pytest.raises(ConformanceError, match="first 299 inputs .* are less like those of all 300") as error:
        check_bench(Spread())
    assert set(error.value.failures) == {"fewer inputs"}


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ((24, 32), r"input_layout of the bench is \(24, 32\), but it must be a MirrorLayout, or None"),
        (MirrorLayout.lined((10, 10), 20), r"is for \(10, 10\) mirrors, but it has \(24, 32\)"),
        (MirrorLayout.lined(MIRRORS, 1), "has 1 input, but for patterns that differ it must have two"),
    ],
)
def test_inputs_that_are_none_are_named(layout, words):
    with pytest.raises(ConformanceError, match=words) as error:
        check_bench(type("Wrong", (Numbers,), {"input_layout": layout})())
    assert set(error.value.failures) == {"inputs"}


def test_a_bench_without_light_breaks_that_rule_alone():
    """Its numbers follow from the mirrors, whatever the exposure."""
    with pytest.raises(ConformanceError, match="breaks 1 rule:\n- exposure: .*but twice the exposure must be brighter"):
        check_bench(FakeBench(small("aurora")))


@pytest.mark.slow
def test_the_real_size_conforms():
    assert not check_bench(OpticalBench("aurora")).skipped


def test_what_is_not_there_is_told():
    report = check_bench(Bare())
    assert report.skipped["clock"] == "no clock: it is not Clocked"
    assert report.skipped["lamp"] == "no flat_field: it is not a Lamp"
    assert "passed   order" in str(report) and "skipped  clock: no clock: it is not Clocked" in str(report)
    assert isinstance(report, Report) and "reference arm" in report.passed


# ---------------------------------------------------------------------------------------------- wrong ones


def turned(self, mirrors, **how):
    return np.swapaxes(Numbers.expose(self, mirrors, **how), 1, 2)


def all_of_the_sensor(self, mirrors, *, roi=None, **how):
    return Numbers.expose(self, mirrors, **how)


def from_the_corner(self, mirrors, *, roi=None, **how):
    return Numbers.expose(self, mirrors, roi=roi and (0, 0, *roi[2:]), **how)


def wider_in_light(self, mirrors, **how):
    frames = Numbers.expose(self, mirrors, **how)
    return frames if mirrors is None else frames.astype(np.uint16)


def backwards(self, mirrors, **how):
    return Numbers.expose(self, mirrors, **how)[::-1].copy()


def same_noise(self, mirrors, **how):
    self.rng = np.random.default_rng(0)
    return Numbers.expose(self, mirrors, **how)


def uncounted(self, mirrors, **how):
    frames = Numbers.expose(self, mirrors, **how)
    self.clock.frames -= len(frames) - 1
    return frames


def shut(self, mirrors, **how):
    n = how.pop("n_frames", 1) if mirrors is None else len(mirrors)
    return Numbers.expose(self, None, n_frames=n, **how)


def lenient(self, mirrors, *, exposure_s, **how):
    return Numbers.expose(self, mirrors, exposure_s=exposure_s or 1e-6, **how)


def phase_by_phase(self, mirrors, *, reference_phase_rad=None, **how):
    if reference_phase_rad is None:
        return Numbers.expose(self, mirrors, **how)
    steps = np.size(reference_phase_rad)
    frames = Numbers.expose(self, mirrors, reference_phase_rad=reference_phase_rad, **how)
    return np.concatenate([frames[k::steps] for k in range(steps)])


def last_pixels(self, patterns, *, n_pixels, roi, **how):
    return Numbers.transform(self, patterns, n_pixels=roi[2] * roi[3], roi=roi, **how)[:, -n_pixels:]


def one_exposure(self, mirrors, *, exposure_s, **how):
    return Numbers.expose(self, mirrors, exposure_s=min(exposure_s, 100e-6), **how)


def any_value(self, mirrors, **how):
    if isinstance(mirrors, np.ndarray):
        mirrors = mirrors.astype(bool)
    return Numbers.expose(self, mirrors, **how)


def any_number(self, mirrors, *, n_frames=1, **how):
    return Numbers.expose(self, mirrors, n_frames=n_frames if mirrors is None else 1, **how)


def clears_mirrors(self, mirrors, **how):
    frames = Numbers.expose(self, mirrors, **how)
    if isinstance(mirrors, np.ndarray) and how["roi"] is not None:
        mirrors[...] = 0
    return frames


def other_end(self, patterns, **how):
    if isinstance(patterns, np.ndarray):
        n_mirrors = MIRRORS[0] * MIRRORS[1]
        patterns = np.packbits(np.unpackbits(patterns, axis=1, count=n_mirrors), axis=1, bitorder="little")
    return Numbers.transform(self, patterns, **how)


def one_buffer(self, mirrors, **how):
    frames = Numbers.expose(self, mirrors, **how)
    kept = self.__dict__.setdefault("kept", np.zeros(10**6, dtype=np.uint8))
    kept[: frames.size] = frames.ravel()
    return kept[: frames.size].reshape(frames.shape)


WRONG = {
    "one buffer": ({"expose": one_buffer}, "own arrays", "what expose returned was changed by the next calls"),
    "exposure": ({"expose": one_exposure}, "exposure", "from exposure_s = 0.0002 to 0.0004 the mean .* must be"),
    "any value": ({"expose": any_value}, "refusals", "mirrors of the value 2 was taken, but it must be refused"),
    "n_frames": ({"expose": any_number}, "refusals", "n_frames = 2 with mirrors, of dark frames alone, was taken"),
    "clears mirrors": ({"expose": clears_mirrors}, "forms of mirrors", "expose changed the mirrors that it was given"),
    "packed": ({"transform": other_end}, "packed mirrors", "transform takes eight mirrors a byte, little-endian"),
    "turned": ({"expose": turned}, "dark frames", "must be .3, 20, 30.: frames, rows, columns; rows and"),
    "ignores the region": ({"expose": all_of_the_sensor}, "dark frames", "have the shape .3, 40, 60., but it must be"),
    "region elsewhere": ({"expose": from_the_corner}, "region", "less like that part of the whole sensor"),
    "type of counts": ({"expose": wider_in_light}, "frames", "are of uint16, but dark frames are of uint8"),
    "backwards": ({"expose": backwards}, "order", "frame k must be that of pattern k"),
    "noise again": ({"expose": same_noise}, "noise", "two frames must never share their noise"),
    "frame numbers again": ({"expose": uncounted}, "clock", "and 4 guards took 6 frames of the clock, .* take 9"),
    "no light": ({"expose": shut}, "light", "light must be brighter than the dark"),
    "no refusal": ({"expose": lenient}, "refusals", "exposure_s = 0 was taken, but it must be refused"),
    "order of phases": ({"expose": phase_by_phase}, "reference arm", "shown under all phases before the next one"),
    "other pixels": ({"transform": last_pixels}, "transform", "they must be the pixels of the region in raster order"),
    "level": ({"expected_level_dn": lambda *_: 1.0}, "level", "expected_level_dn is 1 for .* mirrors on and 1 for"),
    "shape": ({"mirror_shape": [24, 32]}, "shapes", r"mirror_shape is \[24, 32\], but it must be two whole numbers"),
    "time": ({"minimum_frametime_s": lambda *_: -1.0}, "dark frames", "is -1.0, but it must be a number"),
    "microseconds": ({"minimum_frametime_s": lambda *_: 400.0}, "frame times", "is 400.0, but it must be seconds, and"),
    "lamp": ({"flat_field": lambda self, photons, **how: self.expose(None, **how)}, "lamp", "more light must be"),
    "arguments": (
        {"minimum_frametime_s": lambda self, rows: 1e-3}, "arguments",
        r"is called as minimum_frametime_s\(n_rows, exposure_s\), but it takes \(rows\) \(too many positional",
    ),
    "arguments of instruments": (
        {"dark": lambda self, n_frames, roi: None}, "arguments", r"dark is called as dark\(n_frames, exposure_s=",
    ),
    "seed": ({"seed": "one"}, "identity", "seed is 'one', but it must be a whole number"),
}  # fmt: skip


def test_what_a_bench_without_an_arm_skips_is_said_in_short():
    report = check_bench(type("Armless", (Numbers,), {"device": replace(Numbers.device, has_reference=False)})())
    assert report.skipped["reference arm"] == report.skipped["settling"] == "it has no reference arm"

    class Refusing(Numbers):
        """Its record says that there is an arm."""

        def set_reference(self, phase_rad):
            if phase_rad is not None:
                raise ValueError("The shifter is not plugged in. " * 20)

    why = check_bench(Refusing()).skipped["settling"]
    assert why.startswith("it takes no phase of a reference arm (The shifter is not plugged in.") and len(why) < 150


@pytest.mark.parametrize(("members", "check", "sentence"), WRONG.values(), ids=WRONG)
def test_a_rule_that_is_broken_is_named(members, check, sentence):
    wrong = type("Wrong", (Numbers,), members)
    with pytest.raises(ConformanceError, match=sentence) as error:
        check_bench(wrong(), exposure_s=400e-6)
    assert check in error.value.failures


def test_a_class_is_no_bench():
    with pytest.raises(ConformanceError, match=r"The bench Bare breaks 1 rule:\n- members: it is a class: .* Bare\(\)"):
        check_bench(Bare)
    with pytest.raises(TypeError, match=r"bench is .*, which is a class: give an object, as Bare\(\)\."):
        OpuDevice(bench=Bare)


def test_all_that_is_broken_is_told_at_once():
    wrong = type("Wrong", (Numbers,), {"expose": same_noise, "transform": last_pixels, "seed": None})
    with pytest.raises(
        AssertionError,
        match="breaks 4 rules:\n- change of exp.*before, to the bit.*\n- noise: .*\n- identity: .*\n- tra",
    ) as e:
        check_bench(wrong())
    assert pickle.loads(pickle.dumps(e.value)).failures == e.value.failures


def test_what_is_no_bench_is_told_what_it_lacks():
    with pytest.raises(ConformanceError, match="lacks expose, mirror_shape, sensor_shape, but a bench must have all"):
        check_bench(object())


# ---------------------------------------------------------------------------------------------- parts of a bench


def test_parts_are_found_through_what_hands_them_on():
    """As a wrapper of a laboratory does it, which isinstance overlooks from Python 3.12 on."""

    class Wrapper:
        def __init__(self, inside):
            self._inside = inside

        def __getattr__(self, name):
            return getattr(self._inside, name)

    optical = OpticalBench(small("aurora"))
    parts = [
        value for value in vars(protocol).values() if isinstance(value, type) and value.__module__ == protocol.__name__
    ]
    of_benches = [part for part in parts if part.__name__ in protocol.__all__ and protocol.has(optical, part)]
    assert {"Bench", "Drivable", "Lamp", "Limited", "Reservable"} <= {part.__name__ for part in of_benches}
    assert all(protocol.has(Wrapper(optical), part) for part in of_benches)
    assert protocol.lacking(Wrapper(Bare()), protocol.Lamp, protocol.Clocked) == ["clock", "flat_field"]


def test_what_stands_for_a_part_that_is_absent():
    bare = Bare()
    assert protocol.elapsed_s(bare) == 0.0 and protocol.threads_of(bare) is None
    assert protocol.identity_of(object()) == protocol.Identity()
    assert protocol.identity_of(bare).name == "Bare" and bench_of(bare) is None
    assert saturation_dn(bare, 1e-3) == 255.0
    sentence = "lacks .*transform, as declared by opusim.bench.protocol.Drivable. Or give it a flat_field"
    with pytest.raises(TypeError, match=sentence):
        saturation_dn(object(), 1e-3)
    with pytest.raises(TypeError, match="it lacks flat_field, as declared by opusim.bench.protocol.Lamp"):
        protocol.checked_bench(bare, protocol.Bench, protocol.Lamp)
