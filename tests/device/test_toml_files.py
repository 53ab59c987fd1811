"""Files that a TOML file names: from its own folder, wherever the program works; ``~`` is the user's."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import pytest

from opusim.device.medium import EntryMedium, MeasuredMedium
from opusim.device.record import Device
from opusim.sweep import Sweep, read_sweep
from opusim.sweep.file import write_sweep


@dataclass(frozen=True)
class TwoFilesMedium(EntryMedium):
    """A medium of one's own, with two files, one by default."""

    kind: ClassVar[str] = "two_files"
    files: ClassVar[tuple[str, ...]] = ("first", "second")

    first: str = ""
    second: str = "second.npy"
    transmission: float = 1e-10
    decorrelation_time_s: float = math.inf

    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        """Return the two numbers, everywhere."""
        level = float(np.load(self.path_of("first"))) + 1j * float(np.load(self.path_of("second")))
        return np.full((len(inputs), len(outputs)), level, np.complex64)


FOG = """
from dataclasses import dataclass
from typing import ClassVar
from opusim.device.medium import GaussianMedium

@dataclass(frozen=True)
class Fog{number}(GaussianMedium):
    kind: ClassVar[str] = "fog_{number}"
    transmission: float = 1e-10
    decorrelation_time_s: float = float("inf")
"""


def measured(folder: Path, level: float) -> str:
    with h5py.File(folder / "tm.h5", "w") as file:
        file["tm"] = np.full((round(level), 2), 1 + 1j)
    return 'kind = "measured"\npath = "tm.h5"'


def two_files(folder: Path, level: float) -> str:
    np.save(folder / "first.npy", level)
    np.save(folder / "second.npy", -level)
    return 'kind = "two_files"\nfirst = "first.npy"'


def fog(folder: Path, level: float) -> str:
    (folder / f"fog_{folder.name}.py").write_text(FOG.format(number=round(level)))
    return f'kind = "fog_{folder.name}.py:Fog{round(level)}"'


def what_it_holds(device: Device) -> float:
    medium = device.medium
    if isinstance(medium, MeasuredMedium):
        return medium.shape[0]
    if isinstance(medium, TwoFilesMedium):
        return float(medium.entries(range(1), range(1), seed=0)[0, 0].real)
    return float(medium.kind.removeprefix("fog_"))


@pytest.fixture
def folders(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A folder of a TOML file, and the working folder."""
    lab, here = tmp_path / "lab", tmp_path / "here"
    lab.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    return lab, here


def written(folder: Path, table: str, head: str = 'preset = "ideal"\nname = "mine"\n') -> Path:
    path = folder / "device.toml"
    path.write_text(f"{head}[medium]\n{table}\n")
    return path


@pytest.mark.parametrize("spec", ["whole", "relative", "text", "home"])
@pytest.mark.parametrize("kind", [measured, two_files])
def test_files_lead_from_the_folder_of_the_toml(folders, monkeypatch, kind, spec):
    lab, here = folders
    kind(here, 3)  # another file of the same name, which must not be used
    path = written(lab, kind(lab, 5))
    monkeypatch.setenv("HOME", str(lab))
    monkeypatch.setenv("USERPROFILE", str(lab))
    given = {
        "whole": path, "relative": Path("../lab/device.toml"), "text": "../lab/device.toml", "home": "~/device.toml"
    }[spec]  # fmt: skip
    device = Device.load(given)
    assert what_it_holds(device) == 5
    # It stays so wherever the program goes then, and in what is written of it.
    monkeypatch.chdir(here.parent)
    assert what_it_holds(device) == 5
    again = Device.from_toml(device.to_toml())
    assert again == device and again.fingerprint() == device.fingerprint()


def test_a_class_in_a_file_leads_from_the_folder_of_the_toml(folders):
    lab, here = folders
    path = written(lab, fog(lab, 11))
    (here / "fog_lab.py").write_text("raise RuntimeError('not this one')\n")
    assert what_it_holds(Device.load(path)) == 11


def test_a_class_in_a_file_that_only_the_working_folder_has(folders):
    lab, here = folders
    path = written(lab, fog(here, 12))
    with pytest.raises(ValueError, match=r"medium\.kind.*no file 'fog_here\.py' in '.*lab'"):
        Device.load(path)


@pytest.mark.parametrize("kind", [measured, two_files])
def test_a_file_that_only_the_working_folder_has_is_not_used(folders, kind):
    lab, here = folders
    path = written(lab, kind(here, 3))
    with pytest.raises(ValueError, match=r"leads from the folder of the file.*write '\.\./here/.*or the whole path\."):
        Device.load(path)


def test_home_is_the_users(folders, monkeypatch):
    lab, here = folders
    measured(lab, 7)
    monkeypatch.setenv("HOME", str(lab))
    monkeypatch.setenv("USERPROFILE", str(lab))
    path = written(here, 'kind = "measured"\npath = "~/tm.h5"')
    medium = MeasuredMedium("~/tm.h5")
    text = Device.from_toml('preset = "ideal"\n[medium]\nkind = "measured"\npath = "~/tm.h5"')
    evolved = Device.load("ideal").evolve(medium=medium)
    for device in (Device.load(path), text, evolved):
        assert device.medium.shape == (7, 2)
        assert device.medium.anywhere().path == str(lab.resolve() / "tm.h5")
        assert device.fingerprint() == evolved.fingerprint()


def test_programs_and_texts_name_files_from_the_working_folder(folders):
    _, here = folders
    measured(here, 4)
    text = Device.from_toml('preset = "ideal"\n[medium]\nkind = "measured"\npath = "tm.h5"')
    assert text.medium.shape == MeasuredMedium("tm.h5").shape == (4, 2)
    assert text.medium.path == "tm.h5"  # as tables of 0.1 have it


def test_an_unknown_user_is_a_file_that_is_not_there():
    with pytest.raises(ValueError, match="~nobody_of_this_name"):
        Device.load("~nobody_of_this_name/device.toml")


def test_the_shape_of_a_matrix_is_read_without_it(folders):
    """A matrix of 305 MiB took 1.2 GiB for it; this one has 8 TB, none of them written."""
    with h5py.File("large.h5", "w") as file:
        file.create_dataset("tm", (10**6, 2 * 10**6), np.complex64, chunks=(1000, 1000))
        file["real"] = np.ones((3, 4))
        file.create_dataset("empty", (0, 4), np.complex64)
        file.create_group("group")
    assert MeasuredMedium("large.h5").shape == (10**6, 2 * 10**6)
    for dataset, words in {"real": "complex", "empty": r"\(0, 4\)", "group": "is a group", "none": "holds"}.items():
        with pytest.raises(ValueError, match=words):
            _ = MeasuredMedium("large.h5", dataset).shape


class Opu:
    """Stands in for an OPU of a sweep."""

    def __init__(self, device, n_components, seed):
        self.device = device

    def __enter__(self):
        """Open it."""
        return self

    def __exit__(self, *exception):
        """Close it."""


def outputs_of_the_matrix(opu, seed):
    """Return how many outputs the device's matrix has."""
    return {"outputs": float(opu.device.medium.shape[0])}


def test_a_sweep_of_a_device_whose_file_has_another_path_now_goes_on(folders, monkeypatch):
    """As one of 0.1, which has the path as it stood in the TOML; what the file holds must be the same."""
    lab, _ = folders
    device = Device.load(written(lab, measured(lab, 6)))
    now = Sweep(outputs_of_the_matrix, Opu, {"camera.gain_dn_per_e": [1.0, 2.0]}, device=device, n_components=5)
    result = now.run("sweep.h5")
    assert (result.values("outputs") == 6).all()
    table = json.loads(json.dumps(dict(result.header.device)))
    table["medium"]["path"] = "tm.h5"
    result.outcomes.popitem()
    write_sweep("sweep.h5", dataclasses.replace(result, header=dataclasses.replace(result.header, device=table)))
    monkeypatch.chdir(lab)
    again = now.run("../here/sweep.h5")
    assert len(again.outcomes) == 2 and (again.values("outputs") == 6).all()
    measured(lab, 8)
    other = Sweep(outputs_of_the_matrix, Opu, {"camera.gain_dn_per_e": [1.0, 2.0]}, device=device, n_components=5)
    with pytest.raises(ValueError, match="another sweep.*fingerprint"):
        other.run("../here/sweep.h5")
    assert read_sweep("../here/sweep.h5").digest() == again.digest()


@pytest.mark.parametrize(
    "text, words",
    [
        ("[camera]\nbits = 40", "camera.bits is 40, but"),
        ('[camera]\nbits = "8"', "camera.bits is '8' (str), but"),
        ('[camera]\npreset = "IMX17"', "There is no camera preset 'IMX17'"),
        ('[camera]\nname = ""', "camera.name is '', but it must be a text that is not empty."),
        ('name = ""', "name is '', but it must be a text that is not empty."),
        ('resolution = "fine"', "resolution is 'fine', but"),
        ("[operation]\nones_range = [5, 2]", "operation.ones_range is"),  # between fields
        ('[dmd]\npreset = "DLP7000"\n[operation]\nones_range = [5, 900000]', "operation.ones_range is"),  # of stages
        ('[medium]\nkind = "fogg"', "medium.kind is 'fogg'"),
        ("colour = 1", ""),
        ('[modulator]\nkind = "slmm"', "modulator.kind is 'slmm'"),
        ("modulator = 3", "modulator is 3, but it must be a table such as [modulator]"),
    ],
)
def test_an_error_names_the_file_once(text, words, tmp_path):
    path = tmp_path / "t.toml"
    path.write_text(f'preset = "aurora"\n{text}')
    with pytest.raises((TypeError, ValueError)) as told:
        Device.load(path)
    sentence = str(told.value)
    assert sentence.startswith(f"{str(path)!r}{': ' if words else ' '}{words}")
    assert sentence.count(str(path)) == 1


def test_a_table_is_called_by_its_own_name():
    """That of a modulator of any kind is allowed, and is not called by the name of the usual kind."""
    for text, sentence in (
        ('[modulator]\nkind = "slm"', "lacks modulator.name, modulator.shape, modulator.pitch_m"),
        ("[modulator]\ncolour = 1", "has an unknown key 'modulator.colour'"),
        ("[dmd]\ncolour = 1", "has an unknown key 'dmd.colour'"),
        ('[slm]\npreset = "HSP1920"', r"has an unknown key 'slm': the table of a phase modulator is \[modulator\]"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Device.from_toml(f'preset = "aurora"\n{text}\n')
    with pytest.raises(ValueError, match=r"unknown key 'colour'.* Allowed are .* dmd, .* modulator, "):
        Device.from_toml('preset = "aurora"\ncolour = 1\n')
