"""A device that differs from its preset does not go by its name, nor by its description; what stays behind is told."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from dataclasses import fields

import pytest

from opusim.bench.bench import OpticalBench
from opusim.bench.protocol import identity_of
from opusim.calibration import read_info, read_record, record_names, write_record
from opusim.calibration.store import stored_path
from opusim.device import origin
from opusim.device.camera import Camera
from opusim.device.laser import Laser
from opusim.device.medium import GaussianMedium
from opusim.device.record import Device
from opusim.device.toml import presets

AURORA = Device.load("aurora")


@dataclasses.dataclass(frozen=True)
class Found:
    """A record of a calibration."""

    value: float


CAMERA = dataclasses.replace(AURORA.camera, prnu=0.02)
# Ways to the same change: of a camera's non-uniformity from 0.0095 to 0.02.
WAYS = {
    "toml": lambda: Device.from_toml('preset = "aurora"\n[camera]\nprnu = 0.02'),
    "table": lambda: Device.from_dict({"preset": "aurora@2", "camera": {"prnu": 0.02}}),
    "evolve": lambda: AURORA.evolve(**{"camera.prnu": 0.02}),
    "evolve the part": lambda: AURORA.evolve(camera=CAMERA),
    "replace": lambda: dataclasses.replace(AURORA, camera=CAMERA),
    # As files of 0.1 have it: all fields, under the name and the description of the preset.
    "whole table": lambda: Device.from_dict(AURORA.to_dict() | {"camera": AURORA.to_dict()["camera"] | {"prnu": 0.02}}),
    "by a detour": lambda: AURORA.evolve(**{"camera.prnu": 0.5}).evolve(**{"camera.prnu": 0.02}),
}


@pytest.mark.parametrize("spec", presets())
def test_a_preset_is_itself(spec):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        device = Device.load(spec)
        from_it = Device.from_toml(f'preset = "{spec}"')
    assert device == from_it and device.changes == {}
    assert device.name == spec.partition("@")[0] and device.description == presets()[spec]


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_preset_says_so(way):
    device = WAYS[way]()
    assert device.name == "aurora, changed" and device.description == "aurora, changed: camera.prnu 0.02"
    assert device.changes == {"camera.prnu": (0.02, 0.0095)}
    assert device == WAYS["toml"]() and hash(device) == hash(WAYS["toml"]())
    # Wherever it is named: on a bench, in a calibration, in figures.
    assert identity_of(OpticalBench(device)).name == "aurora, changed"


@pytest.mark.parametrize("way", WAYS)
def test_the_name_changes_nothing_else(way):
    device = WAYS[way]()
    assert device.fingerprint() == device.evolve(name="mine", description="").fingerprint()
    assert device.fingerprint() != AURORA.fingerprint()
    for again in (Device.from_toml(device.to_toml()), pickle.loads(pickle.dumps(device)), copy.deepcopy(device)):
        assert again == device and again.changes == device.changes and again.fingerprint() == device.fingerprint()


@pytest.mark.parametrize("way", WAYS)
def test_a_calibration_that_was_stored_under_the_name_of_the_preset_is_read(way, tmp_path, monkeypatch):
    """As 0.1 named it; one of the preset itself is refused."""
    bench, path = OpticalBench(WAYS[way]()), tmp_path / "cal.h5"
    with monkeypatch.context() as patch:
        patch.setattr(origin, "told", lambda device: ("aurora", device.description))
        write_record(path, "gain", Found(0.04), bench=OpticalBench(WAYS[way]()))
    assert read_info(path, "gain").device.name == "aurora"
    assert read_record(path, "gain", Found, bench=bench) == Found(0.04)
    write_record(path, "offset", Found(2.0), bench=bench)  # beside it
    assert record_names(path) == ["gain", "offset"]
    with pytest.raises(ValueError, match="another device"):
        read_record(path, "gain", Found, bench=OpticalBench("aurora"))
    # The file that is looked for by itself is that of name and fingerprint: never the preset's.
    assert stored_path(bench) != stored_path(OpticalBench("aurora"))


@pytest.mark.parametrize("way", WAYS)
def test_changed_back_it_is_the_preset(way):
    assert WAYS[way]().evolve(**{"camera.prnu": 0.0095}) == AURORA


def test_names_and_descriptions_of_its_own_stay():
    change = "[camera]\nprnu = 0.02"
    named = Device.from_toml(f'preset = "aurora"\nname = "mine"\n{change}')
    assert (named.name, named.description) == ("mine", "aurora, changed: camera.prnu 0.02")
    assert named.changes == {"camera.prnu": (0.02, 0.0095)}
    described = Device.from_toml(f'preset = "aurora"\ndescription = "ours"\n{change}')
    assert (described.name, described.description) == ("aurora, changed", "ours")
    both = Device.from_toml(f'preset = "aurora"\nname = "mine"\ndescription = "ours"\n{change}')
    assert (both.name, both.description) == ("mine", "ours") and both.changes == {}
    only = Device.from_toml('preset = "aurora"\nname = "mine"')
    assert (only.name, only.description, only.changes) == ("mine", AURORA.description, {})
    assert named.evolve(**{"camera.prnu": 0.0095}) == only


@pytest.mark.parametrize(
    "changes, words, paths",
    [
        ({"medium": GaussianMedium(1e-10)}, "medium gaussian", {"medium.kind": ("gaussian", "phase_screens")}),
        ({"resolution": "mirrors"}, "resolution mirrors", {"resolution": ("mirrors", "auto")}),
        ({"laser.wavelength_m": 5e-7}, "laser.wavelength_m 500 nm", {"laser.wavelength_m": (5e-7, 532e-9)}),
        ({"camera.name": "mine"}, "", {}),  # names of parts are not what a device does
        ({"version": 7}, "", {}),
    ],
)
def test_what_has_changed_is_said(changes, words, paths):
    device = AURORA.evolve(**changes)
    assert device.changes == paths
    assert device.name == ("aurora, changed" if paths else "aurora")
    assert device.description == (f"aurora, changed: {words}" if paths else AURORA.description)


def test_another_part_is_said_by_its_name_and_many_changes_in_few_words():
    table = {"preset": "aurora", "camera": {"preset": "IMX174"}, "laser": {"power_w": 0.02}}
    device = Device.from_dict(table)
    assert device.description == "aurora, changed: laser.power_w 20 mW, camera IMX174"
    assert device.changes["camera.bits"] == (12, 8) and device.changes["camera.shape"] == ((1216, 1936), (1088, 2040))
    assert AURORA.ideal().description.endswith(" more") and len(AURORA.ideal().description) < 300
    assert AURORA.ideal().fingerprint() == Device.load("ideal").fingerprint()


def test_a_version_is_that_of_the_preset():
    assert AURORA.title == "aurora, version 2"
    assert WAYS["toml"]().title == "aurora, changed (from aurora, version 2)"
    assert "'aurora, changed' (from aurora, version 2)" in repr(WAYS["toml"]())
    own = {"name": "mine", "description": ""}
    assert AURORA.evolve(name="mine").title == "mine (from aurora, version 2)"
    assert AURORA.evolve(version=3, **own).title == "mine, version 3"


def test_a_device_of_an_older_version_says_so():
    """What differs is told beside the version that it came from, not beside the newest."""
    older = Device.load("aurora@1")
    assert (older.title, older.name, older.changes) == ("aurora, version 1", "aurora", {})
    changed = Device.from_toml('preset = "aurora@1"\n[camera]\nprnu = 0.02')
    assert changed.title == "aurora, changed (from aurora, version 1)"
    assert changed.changes == {"camera.prnu": (0.02, 0.01)} and changed == older.evolve(**{"camera.prnu": 0.02})
    assert older.ideal().fingerprint() == Device.load("ideal@1").fingerprint()
    assert older.fingerprint() != AURORA.fingerprint()


def test_only_presets_are_renamed():
    own = AURORA.evolve(name="mine", description="ours").evolve(**{"camera.prnu": 0.5})
    assert (own.name, own.description) == ("mine", "ours")
    assert AURORA.evolve(name="mine", **{"camera.prnu": 0.5}).name == "mine"


@pytest.mark.filterwarnings("ignore:.*stays:UserWarning")
@pytest.mark.parametrize(
    "text, words",
    [
        ('[camera]\npreset = "IMX174"\nprnu = 0.2\nbits = 8', "camera IMX174 with bits 8, prnu 0.2"),
        ('[camera]\npreset = "IMX174"\nshape = [1216, 1936]', "camera IMX174"),  # as it is
        ('[dmd]\npreset = "DLP7000"\nstuck_on_fraction = 0.5', "dmd DLP7000 with stuck_on_fraction 0.5"),
        ('[camera]\nname = "mine"\nprnu = 0.2', "camera mine"),  # of which nothing else is known
        ("[camera]\nbits = 10", "camera.bits 10"),
    ],
)
def test_a_changed_preset_of_a_part_is_not_told_as_that_preset(text, words):
    device = Device.from_toml(f'preset = "aurora"\n{text}')
    assert device.description == f"aurora, changed: {words}"


def test_a_part_of_a_class_of_its_own_is_another_part():
    class OwnLaser(Laser):
        """A laser that somebody makes."""

    device = AURORA.evolve(laser=OwnLaser(**{f.name: getattr(AURORA.laser, f.name) for f in fields(Laser)}))
    assert device.changes == {"laser.kind": ("OwnLaser", "Laser")}
    assert device.description == "aurora, changed: laser OwnLaser"


# ---------------------------------------------------------------- what stays behind

IMX174 = '[camera]\npreset = "IMX174"\n'


@pytest.mark.parametrize(
    "text, words",
    [
        # Full scale at a quarter of the full well of 33 147 electrons: (1023 - 40) / 0.12233 = 8 036. A quarter of the
        # gain would keep it, and of the black level.
        (f"{IMX174}bits = 10", ["camera.bits is 10,", "8,036 electrons", "24 %", "it was 100 %",
                                "gain_dn_per_e = 0.03056 ", "black_level_dn = 9.99"]),
        (f"{IMX174}bits = 10\nblack_level_dn = 10.0", ["gain_dn_per_e = 0.03056 "]),
        ("[camera]\nbits = 12", ["camera.bits is 12,", "102,310 electrons", "758 %", "it was 47 %", "= 0.642"]),
        # (255 - 2.6) / 0.04 = 6 310 electrons of 3 000.
        ("[camera]\nfull_well_e = 3000", ["camera.full_well_e is 3000,", "6,310 electrons", "210 %", "= 0.18 "]),
        ("[camera]\nshape = [544, 2040]", ["camera.shape has 544 rows", "that of 1088 rows", "frame_rate_hz = 680 "]),
        ("[camera]\nshape = [2176, 2040]", ["camera.shape has 2176 rows", "frame_rate_hz = 170 "]),
        (f"{IMX174}shape = [608, 1936]", ["608 rows", "that of 1216 rows", "frame_rate_hz = 324 "]),
        ("[camera]\ndark_current_e_per_s = 0.0\ndark_current_spread_e_per_s = 50.0", ["is 50, but has no effect"]),
        ('[dmd]\npreset = "DLP7000"', ["786,432 mirrors", "[52000, 676000]", "1,039,680", "[39334, 511338]"]),
    ],
)  # fmt: skip
def test_fields_that_stay_behind_are_told_at_loading(text, words, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'preset = "aurora"\n{text}')
    for load in (lambda: Device.load(path), lambda: Device.from_toml(path.read_text())):
        with pytest.warns(UserWarning) as told:
            load()
        (sentence,) = (str(one.message) for one in told)
        assert sentence.endswith(".") and [word for word in words if word not in sentence + " "] == []
        assert told[0].filename == __file__


@pytest.mark.parametrize(
    "text",
    [
        f"{IMX174}",
        f"{IMX174}bits = 10\ngain_dn_per_e = 0.12233",  # meant
        "[camera]\nbits = 10\ngain_dn_per_e = 0.16",
        "[camera]\nshape = [544, 2040]\nframe_rate_hz = 340.0",
        "[camera]\nshape = [1080, 1920]",
        "[camera]\nprnu = 0.0",
        "[camera]\ndark_current_e_per_s = 0.0",
        "[camera]\ndark_current_e_per_s = 5.0\ndark_current_spread_e_per_s = 0.0",
        "[camera]\nbits = 8",
        "[camera]\nbits = 10\nquantise = false",
        "[camera]\nfull_well_e = inf",
        '[dmd]\npreset = "DLP7000"\n[operation]\nones_range = [52000, 676000]',
        '[medium]\nkind = "gaussian"\ntransmission = 5e-11',
    ],
)
def test_what_belongs_together_is_not_told(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Device.from_toml(f'preset = "aurora"\n{text}')


def test_a_spread_that_stays_with_another_dark_current_is_told():
    before = dataclasses.replace(AURORA.camera, dark_current_spread_e_per_s=50.0)
    (sentence,) = dataclasses.replace(before, dark_current_e_per_s=5.0).left_behind(before, ["dark_current_e_per_s"])
    assert sentence == (
        "camera.dark_current_e_per_s is 5, but camera.dark_current_spread_e_per_s stays 50, which belongs to 125 e per "
        "s: it is 1,000 % of the mean, where it was 40 %. camera.dark_current_spread_e_per_s = 2 would keep that."
    )
    near = dataclasses.replace(before, dark_current_e_per_s=120.0)
    assert near.left_behind(before, ["dark_current_e_per_s"]) == []


def test_values_that_a_warning_names_are_taken_without_one():
    with pytest.warns(UserWarning, match="would keep that"):
        Device.from_dict({"camera": {"preset": "IMX174", "bits": 10}, "preset": "aurora"})
    camera = {"preset": "IMX174", "bits": 10, "gain_dn_per_e": 0.03056, "black_level_dn": 9.993}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        device = Device.from_dict({"camera": camera, "preset": "aurora"})
        Device.from_toml(device.to_toml())
    assert device.camera.full_scale_e == pytest.approx(Camera(**table_of("IMX174")).full_scale_e, rel=1e-3)


def table_of(name: str) -> dict:
    return Device.from_dict({"preset": "aurora", "camera": {"preset": name}}).camera.to_dict()


def test_programs_that_vary_a_field_are_not_told():
    """A sweep over bits varies bits; `camera.bits` of it is what is studied."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AURORA.evolve(**{"camera.bits": 12, "camera.shape": (544, 2040)})
