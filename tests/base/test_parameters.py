"""What follows from the parameters of the stages: checks and their sentences, ideal devices, gradients, tables."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from opusim.base.parameters import (
    Parameter,
    Stage,
    near_matches,
    near_names,
    parameter,
    parameters_of,
    parts_of,
    paths_of,
)
from opusim.device.camera import Camera
from opusim.device.dmd import Dmd
from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm
from opusim.device.toml import NAMES
from opusim.noise.sources import FIXED, SOURCES
from opusim.sweep.points import numeric_fields

AURORA = Device.load("aurora")
# What a stage must be given.
GIVEN: dict[type, dict[str, Any]] = {
    Dmd: {"name": "x", "shape": (8, 8), "pitch_m": 1e-5},
    Camera: {
        "name": "x", "shape": (8, 8), "pixel_pitch_m": 5e-6, "quantum_efficiency": 0.6, "frame_rate_hz": 100.0,
        "gain_dn_per_e": 0.1, "bits": 16,
    },
    PhaseSlm: {"name": "x", "shape": (8, 8), "pitch_m": 1e-5},
    MeasuredMedium: {"path": "x.h5"},
}  # fmt: skip
GIVEN[Device] = {f.name: getattr(AURORA, f.name) for f in dataclasses.fields(Device)}
EVERY = {f"{kind.__name__}.{name}": (kind, name, path, about) for kind, name, path, about in paths_of(Device)}
EVERY |= {f"Device.{name}": (Device, name, name, about) for name, about in parameters_of(Device).items()}
OTHERS: dict[str, list[Any]] = {
    "number": [None, "1", True, [1.0], 1j, np.array([1.0, 2.0])],
    "integer": [None, "1", True, 8.0, [8]],
    "flag": [0, 1, None, "yes", np.True_],
    "choice": ["", "none of them", None, 3],
    "text": [None, 3, b"x"],
    "name": [None, 3, ""],
    "label": [None, 3, ""],
    "shape": [(0, 5), (5,), "ab", (1.5, 2), (3, True), None, 5],
    "integers": [(5,), "ab", (1.5, 2), (-1, 2), (3, 0), None, 5],
    "numbers": [(0.1,), "ab", ("a", 0.1), (math.nan, 0.1), (0.1, math.inf), None, 0.1],
    "list": [("a",), "ab", (0.1, None), (math.nan,), [1.0, math.inf], None, 0.1, {1.0}],
}


def make(kind: type, **fields: Any) -> Any:
    given = {**GIVEN.get(kind, {}), **fields}
    # A slab has a time, and nothing else has.
    if given.get("spectral_law") == "slab":
        given.setdefault("diffusion_time_s", 1e-10)
    elif (
        "spectral_law" not in fields
        and isinstance(given.get("diffusion_time_s"), float)
        and given["diffusion_time_s"] > 0
    ):
        given["spectral_law"] = "slab"
    return kind(**given)


def outside(about: Parameter) -> Iterator[Any]:
    """Values next to the range, and those that are no place on a scale."""
    if about.kind == "number":
        assert about.high is not None
        yield from (math.nan, -math.inf)
        yield about.low if about.low_open else np.nextafter(about.low, -math.inf).item()
        if math.isfinite(about.high):
            yield from (np.nextafter(about.high, math.inf).item(), math.inf)
    elif about.kind == "integer":
        yield from (about.low - 1, math.nan, math.inf)
        if about.high is not None:
            yield int(about.high) + 1


def inside(about: Parameter) -> Iterator[Any]:
    """The ends of the range, or the values next to those that are no part of it."""
    if about.kind == "number":
        assert about.high is not None
        if about.below:
            yield about.low
        else:
            yield from (np.nextafter(about.low, math.inf).item() if about.low_open else about.low, about.high)
            yield np.float64(about.high)
    elif about.kind == "integer":
        yield from (about.low, about.low + 1 if about.high is None else int(about.high), np.int64(about.low + 1))
    elif about.kind == "flag":
        yield from (True, False)
    elif about.kind == "choice":
        yield from about.choices
    elif about.kind == "numbers":
        yield from ((about.low, about.high), [about.high, about.low])


@pytest.mark.parametrize("case", EVERY)
def test_what_a_parameter_may_not_be_is_refused_in_a_sentence(case):
    kind, name, path, about = EVERY[case]
    assert about.kind is not None
    for bad in (*outside(about), *OTHERS[about.kind]):
        with pytest.raises((TypeError, ValueError)) as caught:
            make(kind, **{name: bad})
        sentence = str(caught.value)
        assert re.match(rf"{re.escape(path)}(\[[01]\])? is ", sentence), sentence
        shown = repr(bad) if isinstance(bad, (int, float, str)) else ""
        assert shown in sentence and ", but it must be " in sentence and sentence.endswith("."), sentence
        if about.is_number:
            assert about.allowed().removeprefix("at least ").split(" to ")[0] in sentence
    for good in inside(about):
        kept = getattr(make(kind, **{name: good}), name)
        assert kept == (tuple(good) if about.kind == "numbers" else good)


@pytest.mark.parametrize("stage", parts_of(Device))
def test_a_stage_of_the_wrong_class_is_refused_in_a_sentence(stage):
    part = parts_of(Device)[stage]
    name = (part.kinds if part.base is None else part.base).__name__
    for bad in (None, 3, "IMX174", {}, Camera, next(part for part in _stages() if part.stage != stage)):
        with pytest.raises(TypeError) as caught:
            AURORA.evolve(**{stage: bad})
        assert str(caught.value) == f"{stage} is {bad!r}, but it must be of type {name}."


def _stages() -> list[Stage]:
    return [getattr(AURORA, stage) for stage in parts_of(Device)]


def test_every_field_of_every_stage_is_described():
    for stage, one in parts_of(Device).items():
        for kind in (kind for kind in one.classes if kind.__module__.startswith("opusim.")):
            assert issubclass(kind, Stage) and kind.stage in (stage, NAMES.get(stage))
            assert list(parameters_of(kind)) == [f.name for f in dataclasses.fields(kind)]
    fields = [f.name for f in dataclasses.fields(Device)]
    assert sorted([*parameters_of(Device), *parts_of(Device)]) == sorted(fields)


@pytest.mark.parametrize("case", EVERY)
def test_a_parameters_own_facts_agree(case):
    kind, name, _, about = EVERY[case]
    assert (about.off is None) == (not about.imperfection)
    assert about.imperfection or not about.source
    default = kind.__dataclass_fields__[name].default
    if default is not dataclasses.MISSING and (kind, name) != (MeasuredMedium, "path"):
        assert about.check(name, default) == default
    if about.imperfection:
        assert about.check(name, about.off) == about.off
    if about.learnable:
        assert about.kind == "number"
        low, high = about.learnt_range
        assert low == about.low
        # By factors there is no upper end: what lies beyond the parameter's own is refused when a device is made of it.
        assert high == {"scale": math.inf, "odds": None if about.below else about.high}[about.learnable]
        assert not about.below or isinstance(getattr(AURORA.camera, about.below), int)
    if about.is_number:
        assert about.text(1.0).partition(" ")[2] == (about.shown or about.unit)


@pytest.mark.parametrize("medium", parts_of(Device)["medium"].classes)
def test_ideal_devices_and_imperfections_are_those_of_the_fields(medium):
    device = AURORA.evolve(medium=make(medium))
    described = {
        f"{stage}.{name}": about
        for stage in parts_of(Device)
        for name, about in parameters_of(type(getattr(device, stage))).items()
        if about.imperfection
    }
    switches = device.imperfections()
    assert set(switches) == {about.imperfection for about in described.values()}
    for name, switch in switches.items():
        assert switch == {path: about.off for path, about in described.items() if about.imperfection == name}
    ideal = device.ideal()
    every = {path: value for switch in switches.values() for path, value in switch.items()}
    assert ideal == device.evolve(**every) and ideal.ideal() == ideal
    for path, off in every.items():
        stage, _, name = path.partition(".")
        assert getattr(getattr(ideal, stage), name) == off


def test_sources_of_error_are_those_of_the_fields():
    described = {about.source for _, _, _, about in paths_of(Device, shipped=True)} - {""}
    assert set(SOURCES) == described and set(FIXED) < described
    switches = {*AURORA.imperfections(), *Device.load("ngrc-bench").imperfections()}
    assert all(names and set(names) <= switches for names in SOURCES.values())


def test_what_a_sweep_may_vary_is_every_number():
    known = numeric_fields(AURORA, None)
    numbers = {
        f"{stage}.{name}": {"number": float, "integer": int}[str(about.kind)]
        for stage in parts_of(Device)
        for name, about in parameters_of(type(getattr(AURORA, stage))).items()
        if about.is_number
    }
    assert {path: kind for path, kind in known.items() if path.partition(".")[0] in parts_of(Device)} == numbers
    phases = numeric_fields(Device.load("ngrc-bench"), None)
    assert phases["modulator.flicker"] is float and not any(path.startswith("dmd.") for path in phases)


def test_what_is_learnable_has_a_range():
    pytest.importorskip("torch", reason="the extra `torch` is not installed")
    from opusim.differentiable.parameters import RANGES

    ours = paths_of(Device, shipped=True)  # kinds of media of other tests are known in this process too
    assert {path: about.learnt_range for _, _, path, about in ours if about.learnable} == RANGES


def test_a_stage_of_ones_own_is_checked_and_described():
    @dataclasses.dataclass(frozen=True)
    class Filter(Stage):
        stage = "filter"
        centre_m: float = parameter(low=0.0, high=1e-5, low_open=True, unit="m", shown="nm")
        loss: float = parameter(0.1, low=0.0, high=1.0, shown="%", off=0.0, imperfection="loss of the filter")
        turned: bool = parameter(False)

    one = Filter(532e-9)
    assert one.text("centre_m") == "532 nm" and one.text("loss") == "10 %"
    assert one.switches() == {"loss of the filter": {"loss": 0.0}} and one.ideal() == Filter(532e-9, 0.0)
    assert Filter(1e-6, 1).loss == 1
    with pytest.raises(ValueError, match=r"^filter\.centre_m is 0\.0, but it must be a number in \(0, 1e-05\]\.$"):
        Filter(0.0)
    with pytest.raises(TypeError, match=r"^filter\.turned is 1 \(int\), but it must be True or False\.$"):
        Filter(1e-6, turned=1)


def test_near_names():
    names = ["bits", "full_well_e", "gain_dn_per_e"]
    assert near_names("bit", names) == ["bits"] and near_names("colour", names) == []
    assert near_names("gain", names, parts="first") == ["gain_dn_per_e"] and near_names("gian", names) == [
        "gain_dn_per_e"
    ]
    assert near_names("e", names, parts="last", n=1) == ["full_well_e"]
    assert near_matches("bit", names) == "; near matches are 'bits'" and near_matches("colour", names) == ""
    assert near_matches("bit", names, before="", after="; ") == "near matches are 'bits'; "
    # What comes before the dot says nothing, and one word of a name is enough.
    paths = ["camera.prnu", "camera.read_noise_e", "camera.bits", "laser.power_w"]
    assert near_names("camera.redd", paths)[0] == "camera.read_noise_e" and near_names("redd", ["read_noise_e", "bits"])
    assert near_names("camera.bit", paths)[0] == "camera.bits" and "laser.power_w" in near_names("camera.power", paths)


def test_a_plain_field_is_checked_too():
    @dataclass(frozen=True)
    class Plate(Stage):
        stage = "plate"
        described = {
            "loss": parameter(0.0, kind="number", low=0.0, high=1.0, off=0.0, imperfection="loss of the plate")
        }
        width_m: float = 0.1
        life_s: float = math.inf
        layers: int = 2
        coated: bool = False
        glass: str = "BK7"
        loss: float = 0.2

    assert {name: about.allowed() for name, about in parameters_of(Plate).items()} == {
        "width_m": "(-inf, inf)", "life_s": "(-inf, inf]", "layers": "a whole number", "coated": "True or False",
        "glass": "a text", "loss": "[0, 1]",
    }  # fmt: skip
    assert Plate().ideal() == Plate(loss=0.0) and Plate(width_m=-3).width_m == -3 and Plate(layers=-1).layers == -1
    for field, bad in {
        "width_m": "abc",
        "layers": 1.5,
        "coated": 1,
        "glass": 2,
        "loss": -1,
        "life_s": math.nan,
    }.items():
        with pytest.raises((TypeError, ValueError), match=rf"^plate\.{field} is .*, but it must be .*\.$"):
            Plate(**{field: bad})
    with pytest.raises(ValueError, match=r"^plate\.width_m is inf, but it must be a number in \(-inf, inf\)\.$"):
        Plate(width_m=math.inf)

    @dataclass(frozen=True)
    class Stack(Stage):
        plates: tuple[int, ...] = ()

    with pytest.raises(
        TypeError, match=r"^Stack\.plates is declared as .*tuple\[int, \.\.\.\].*must be a float, an int"
    ):
        Stack()


@pytest.mark.parametrize(
    ("path", "given", "kept"),
    [
        ("camera.read_noise_e", np.float32(2.5), 2.5),
        ("camera.read_noise_e", np.float64(2.5), 2.5),
        ("camera.read_noise_e", np.int64(2), 2.0),
        ("camera.read_noise_e", Fraction(5, 2), 2.5),
        ("camera.bits", np.int64(10), 10),
        ("camera.bits", np.uint8(10), 10),
    ],
)
def test_numbers_of_other_libraries_become_plain_ones(path, given, kept):
    device, plain = AURORA.evolve(**{path: given}), AURORA.evolve(**{path: kept})
    table, name = path.split(".")
    assert type(getattr(getattr(device, table), name)) is type(kept)
    assert device.fingerprint() == plain.fingerprint() and device == plain


def test_a_whole_number_stays_one():
    assert type(AURORA.evolve(**{"camera.read_noise_e": 2}).camera.read_noise_e) is int


@pytest.mark.parametrize("given", [np.array(["auto", "mirrors"]), np.array([1.0, 2.0]), ["auto"], None, {}])
def test_what_is_no_text_is_no_choice(given):
    with pytest.raises(ValueError, match=r"resolution is .*, but it must be one of 'auto', 'mirrors'"):
        AURORA.evolve(resolution=given)


def test_kinds_of_media_stand_in_their_order():
    known = [kind for kind in parts_of(Device)["medium"].known if kind.__module__.startswith("opusim.")]
    assert [kind.kind for kind in known] == ["phase_screens", "gaussian", "measured", "fourier_lens"]
