"""Older versions of presets: their fingerprints, fields that came later, and what is said of a file that is of one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from opusim.base.parameters import Stage, parameter, parameters_of, part, parts_of
from opusim.bench.bench import OpticalBench
from opusim.calibration import read_record, write_record
from opusim.device import record
from opusim.device.medium import GaussianMedium
from opusim.device.record import Device
from opusim.device.versions import told_version
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA, FIRST = Device.load("aurora"), Device.load("aurora@1")
NEWEST = AURORA.version
# What release 0.1.0 printed of its presets, and of some files that started from them: `Device.fingerprint` there.
OF_0_1_0 = {
    'preset = "aurora@1"': "e400bf33db558b3364c13c907ca925ab1160db0568c4bba8d557373d829699b8",
    'preset = "ideal@1"': "b4d7e9d0e0077d42a58ff5c8749640a4387db0398082796a506ff1d6e55a5729",
    'preset = "aurora-type1@1"': "0609a1f8a72b0ef7ffde7138a79d5e26f0bef3e1760fc3483c9abadce239c307",
    'preset = "aurora-type3@1"': "fb60070a488b73f64d887bbcaf132ab6041ea6a15273bd7dbcc8d25917e814be",
    'preset = "aurora@1"\n[camera]\npreset = "IMX174"': (
        "993a46232189ade5a9fbd0b3d0e46d019aa2492a6c241dbfab8a8f379ef24be9"
    ),
    'preset = "aurora@1"\n[camera]\npreset = "IMX250"': (
        "b943b6d8b40cd23c2c398e0ff286fe2c754eb1a8f255802bcfbe32af40515780"
    ),
    'preset = "aurora@1"\n[camera]\npreset = "Zyla-4.2"': (
        "6ca1d327bed88436e100e7faf77b23c11808f37c5ca188a35f039b6db7c4becc"
    ),
    'preset = "aurora@1"\n[camera]\npreset = "Flash4.0-V3"': (
        "a485a049fd4e580d29acc1eaf795d49555a1c2aa6b5681695c6a5b0191083cff"
    ),
    'preset = "aurora@1"\n[medium]\nkind = "gaussian"': (
        "cd49200c24ac83da8277724fe2a4d2381ca5d3055dea945f7ac323bae1d31380"
    ),
    'preset = "ideal@1"\nresolution = "mirrors"\n[dmd]\npreset = "DLP7000"': (
        "d46d0ae46214d6874854ed67327aa40c296d44eb58e509ca6837e308cf82360c"
    ),
}


# ---------------------------------------------------------------- the first version is what it was


@pytest.mark.filterwarnings("ignore:.*ones_range stays")
@pytest.mark.parametrize("text", OF_0_1_0)
def test_a_device_of_version_1_has_the_fingerprint_that_0_1_0_gave_it(text):
    """Parts that a file takes from elsewhere do what they did then, too."""
    device = Device.from_toml(text)
    assert device.fingerprint() == OF_0_1_0[text]
    newer = Device.from_toml(text.replace("@1", ""))
    assert newer.fingerprint() != device.fingerprint()


def test_a_field_that_came_later_is_in_the_fingerprint_only_where_it_is_not_as_before():
    averaged = FIRST.evolve(**{"operation.exposure_average": True})
    assert not FIRST.operation.exposure_average and AURORA.operation.exposure_average
    assert averaged.fingerprint() != FIRST.fingerprint()
    assert averaged.evolve(**{"operation.exposure_average": False}).fingerprint() == FIRST.fingerprint()


LENGTHS = {
    "optics.illumination_focal_m": 0.02, "optics.exit_diameter_m": 4e-3, "optics.stop_diameter_m": 2e-3,
    "optics.focal_m": 0.2, "optics.stated_share": 1e-9,
}  # fmt: skip


@pytest.mark.parametrize("device", [FIRST, AURORA.remagnified()], ids=["version 1", "newest"])
@pytest.mark.parametrize("path", LENGTHS)
def test_a_length_that_changes_no_frame_is_not_in_the_fingerprint(device, path):
    """Where the magnification is held; where lengths are, each of them is."""
    changed = device.evolve(**{path: LENGTHS[path]})
    assert changed != device and changed.fingerprint() == device.fingerprint()
    layout = MirrorLayout.lined(device.dmd.shape, 16)
    shown = MirrorPatterns(np.eye(16, dtype=np.uint8)[:2], layout)
    one, other = (OpticalBench(d).expose(shown, exposure_s=4e-4, roi=(0, 0, 3, 4)) for d in (device, changed))
    assert np.array_equal(one, other)
    by_lengths = AURORA.evolve(**{path: LENGTHS[path]})
    assert by_lengths.fingerprint() != AURORA.fingerprint()


def test_a_stored_table_means_what_was_done_when_it_was_stored():
    table = AURORA.to_dict()
    assert Device.from_stored(table) == AURORA
    del table["operation"]["exposure_average"]
    stored = Device.from_stored(table)
    assert stored.operation.exposure_average is False
    # As a table that somebody writes now it has what is done now.
    assert Device.from_dict(table).operation.exposure_average is True
    assert Device.stored_table(table)["operation"] == {**table["operation"], "exposure_average": False}
    assert "exposure_average" not in table["operation"]  # what was given stays as it was


@pytest.mark.parametrize("stage", [{}, {"kind": "gaussian"}, {"kind": "nothing of the kind"}])
def test_a_stored_table_that_makes_no_device_is_refused_as_any_other(stage):
    table = {**AURORA.to_dict(), "medium": stage}
    with pytest.raises(ValueError, match=r"medium\.(kind is|transmission)|lacks"):
        Device.from_stored({**table, "camera": {}} if stage.get("kind") == "gaussian" else table, origin="the file")


@dataclass(frozen=True)
class Lengths(Stage):
    """A stage that no device had once."""

    stage: ClassVar[str] = "lengths"
    used: bool = parameter(True, before=False)
    sizes: tuple[int, int] = parameter((2, 3), kind="integers", low=(0, 0), before=(0, 0))


@dataclass(frozen=True)
class WithLengths(Device):
    """A device of a later release."""

    lengths: Lengths = part(Lengths, given=False)


@pytest.fixture
def later(monkeypatch):
    """A release in which devices have one stage more."""
    monkeypatch.setattr(record, "parts_of", lambda _: parts_of(WithLengths))
    monkeypatch.setattr(record, "code_of", lambda _: "")  # the class stands in this file, as no stage of opusim does
    return lambda device, **lengths: WithLengths(
        **{f.name: getattr(device, f.name) for f in dataclasses.fields(Device)}, lengths=Lengths(**lengths)
    )


@pytest.mark.parametrize(
    "device, fingerprint",
    [(FIRST, FIRST.fingerprint()), (AURORA, AURORA.fingerprint())],
    ids=["version 1", "newest"],
)
def test_a_stage_that_came_later_is_left_out_where_all_of_it_is_as_before(later, device, fingerprint):
    with_it, without = later(device), later(device, used=False, sizes=(0, 0))
    assert "lengths" in without.to_dict()
    assert without.fingerprint() == fingerprint != with_it.fingerprint()
    # One field of it is enough.
    assert len({later(device, used=False).fingerprint(), fingerprint, with_it.fingerprint()}) == 3
    table = without.to_dict()
    assert WithLengths.from_stored({name: value for name, value in table.items() if name != "lengths"}) == without
    assert WithLengths.from_stored({**table, "lengths": {"used": True}}).lengths == Lengths(True, (0, 0))


FOG = """
from dataclasses import dataclass
from opusim.base.parameters import parameter
from opusim.device.medium import GaussianMedium

@dataclass(frozen=True)
class Fog(GaussianMedium):
    kind = "fog_of_versions"
    wet: float = parameter(1.0, low=0.0, before=0.5)
"""


def test_a_part_of_its_own_in_an_older_version_does_what_was_done_then(tmp_path):
    (tmp_path / "fog.py").write_text(FOG)
    for preset, more, wet in (
        ("aurora", "", 1.0), ("aurora@1", "", 0.5), ("ideal@1", "", 0.5), ("aurora@1", "wet = 0.75", 0.75),
        (f"aurora@{NEWEST}", "", 1.0),
    ):  # fmt: skip
        path = tmp_path / "mine.toml"
        path.write_text(f'preset = "{preset}"\n[medium]\nkind = "fog.py:Fog"\n{more}\n')
        assert Device.load(path).medium.wet == wet


# ---------------------------------------------------------------- what is said of a file


def test_a_preset_of_an_older_version_is_told_by_its_name_of_today():
    sentence = told_version(FIRST.fingerprint(), AURORA)
    assert sentence == (
        f"The device of the file is aurora, version 1, and aurora means version {NEWEST} now: aurora@1 is that device "
        "(--device aurora@1, or device='aurora@1')."
    )
    for other in (None, Device.load("ideal"), AURORA.evolve(**{"camera.prnu": 0.5}), object()):
        assert told_version(FIRST.fingerprint(), other) == sentence
    assert told_version(FIRST.fingerprint(), AURORA, "the state").startswith("The device of the state is aurora, v")


def test_the_newest_version_is_told_where_an_older_one_is_at_hand():
    sentence = told_version(AURORA.fingerprint(), FIRST)
    assert sentence.startswith(f"The device of the file is aurora, version {NEWEST}: aurora@{NEWEST} is that device")


@pytest.mark.parametrize(
    "fingerprint, device",
    [
        ("", AURORA),
        ("0" * 64, AURORA),
        ("0" * 64, None),
        (AURORA.fingerprint(), AURORA),
        (AURORA.fingerprint(), Device.load("ideal")),  # the names tell these apart
        (AURORA.fingerprint(), AURORA.evolve(**{"camera.prnu": 0.5})),
        (FIRST.fingerprint(), FIRST.evolve(**{"camera.prnu": 0.5})),
        ("0" * 64, AURORA.evolve(name="mine", description="ours", medium=GaussianMedium(1e-10))),
    ],
)
def test_nothing_is_said_where_versions_are_no_matter(fingerprint, device):
    assert told_version(fingerprint, device) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"camera.prnu": 0.02},
        {"camera.prnu": 0.02, "resolution": "mirrors", "operation.ones_range": (1, 100)},
        {"medium": GaussianMedium(1e-10)},
        {"name": "mine", "camera.prnu": 0.02},
    ],
)
def test_the_same_changes_of_an_older_version_are_found(changes):
    then, now = FIRST.evolve(**changes), AURORA.evolve(**changes)
    assert told_version(then.fingerprint(), now) == (
        f"The device of the file came from aurora, version 1, and aurora means version {NEWEST} now: with "
        'preset = "aurora@1" in place of what it starts from the device of now is that one.'
    )
    assert told_version(now.fingerprint(), then).startswith(
        f"The device of the file came from aurora, version {NEWEST}:"
    )


def test_a_device_of_no_preset_is_told_which_fields_came_later():
    own = AURORA.evolve(name="mine", description="ours", **{"camera.prnu": 0.02})
    table = own.to_dict()
    for stage in parts_of(Device):
        for field, about in parameters_of(type(getattr(own, stage))).items():
            if about.before is not None:
                del table[stage][field]
    then = Device.from_stored(table)
    sentence = told_version(then.fingerprint(), own)
    assert sentence.startswith("The device of the file is of a time when these fields were not there: with ")
    assert "operation.exposure_average = false" in sentence and sentence.endswith(" the device of now is that one.")


def test_a_calibration_of_version_1_is_read_by_version_1_and_told_to_others(tmp_path):
    @dataclass(frozen=True)
    class Found:
        value: float

    path = tmp_path / "cal.h5"
    write_record(path, "gain", Found(0.04), bench=OpticalBench("aurora@1"))
    assert read_record(path, "gain", Found, bench=OpticalBench("aurora@1")) == Found(0.04)
    for door in (
        lambda: read_record(path, "gain", Found, bench=OpticalBench("aurora")),
        lambda: write_record(path, "offset", Found(2.0), bench=OpticalBench("aurora")),
    ):
        with pytest.raises(ValueError, match=r"belongs to another device: aurora .*aurora@1 is that device \(--device"):
            door()
