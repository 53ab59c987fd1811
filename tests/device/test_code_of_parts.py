"""A part whose class comes from elsewhere is the same only while its code is: fingerprints hold that."""

from __future__ import annotations

import functools
import importlib.util
import linecache
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from opusim.base.plugins import code_of
from opusim.bench.bench import OpticalBench
from opusim.calibration import read_record, write_record
from opusim.calibration.store import stored_path
from opusim.device.camera import Camera
from opusim.device.medium.base import MEDIA
from opusim.device.record import Device
from opusim.sweep import Sweep

AURORA = Device.load("aurora")
MEDIUM = """
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from opusim.device.medium import EntryMedium


@dataclass(frozen=True)
class Mine(EntryMedium):
    kind: ClassVar[str] = "mine"
    random: ClassVar[bool] = False

    transmission: float = 1e-10
    decorrelation_time_s: float = math.inf

    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        return np.exp(PHASE * 1j * np.outer(np.array(inputs), np.array(outputs))).astype(np.complex64)
"""
CODES = {"this": MEDIUM.replace("PHASE", "1"), "other": MEDIUM.replace("PHASE", "2")}


@dataclass(frozen=True)
class Found:
    """A record of a calibration."""

    value: float


@pytest.fixture
def device_of(tmp_path, monkeypatch):
    """Import a file of a medium as a new process would; return a device with it."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def make(text: str, base: str = "aurora") -> Device:
        monkeypatch.setattr(MEDIA, "_parts", {name: at for name, at in MEDIA._parts.items() if name != "mine"})
        monkeypatch.delitem(sys.modules, "med_code", raising=False)
        path = tmp_path / "med_code.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("med_code", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "med_code", module)
        exec(compile(text, path, "exec"), module.__dict__)  # no .pyc of the second before
        return Device.load(base).evolve(medium=module.Mine())

    return make


def test_a_fingerprint_follows_the_code_of_the_file(device_of, tmp_path):
    prints = [device_of(text).fingerprint() for text in (CODES["this"], CODES["other"], CODES["this"])]
    assert prints[0] == prints[2] != prints[1]
    # What counts is the text that was imported, not what somebody writes while the program runs.
    device = device_of(CODES["this"])
    (tmp_path / "med_code.py").write_text(CODES["other"])
    assert device.fingerprint() == prints[0]
    # A checkout of Windows has other ends of lines.
    assert device_of(CODES["this"].replace("\n", "\r\n")).fingerprint() == prints[0]


def test_calibrations_of_the_old_code_do_not_serve_the_new(device_of, tmp_path):
    path = tmp_path / "cal.h5"
    benches = {name: OpticalBench(device_of(text)) for name, text in CODES.items()}
    write_record(path, "gain", Found(0.04), bench=benches["this"])
    assert read_record(path, "gain", Found, bench=benches["this"]) == Found(0.04)
    with pytest.raises(ValueError, match="another device"):
        read_record(path, "gain", Found, bench=benches["other"])
    assert stored_path(benches["this"]) != stored_path(benches["other"])


class Opu:
    """Stands in for an OPU of a sweep."""

    def __init__(self, device, n_components, seed):
        self.device = device

    def __enter__(self):
        """Open it."""
        return self

    def __exit__(self, *exception):
        """Close it."""


def one(opu, seed):
    """Return a number."""
    return {"number": 1.0}


def test_a_sweep_does_not_go_on_with_other_code(device_of, tmp_path):
    sweep = functools.partial(Sweep, one, Opu, {"camera.gain_dn_per_e": [1.0, 2.0]}, n_components=5)
    sweep(device=device_of(CODES["this"])).run(tmp_path / "sweep.h5")
    sweep(device=device_of(CODES["this"])).run(tmp_path / "sweep.h5")
    with pytest.raises(ValueError, match="another sweep: the device's fingerprint .* the code of a part"):
        sweep(device=device_of(CODES["other"])).run(tmp_path / "sweep.h5")
    assert device_of(CODES["this"]).told_beside_fields() == "the code of Mine is another"


@pytest.mark.parametrize("name", ["aurora", "ideal"])
def test_what_comes_with_opusim_has_no_code_in_it(name):
    device = Device.load(name)
    assert [code_of(type(stage)) for stage in (device, device.medium, device.camera, device.laser)] == [""] * 4


def test_any_part_and_any_base_counts(device_of):
    class Mixin:
        """Something that another class takes in."""

    class OwnCamera(Mixin, Camera):
        """A camera that somebody makes."""

    camera = OwnCamera(**{f.name: getattr(AURORA.camera, f.name) for f in fields(Camera)})
    assert AURORA.evolve(camera=camera).fingerprint() != AURORA.fingerprint()
    device_of(CODES["this"])
    base = sys.modules["med_code"].Mine
    derived = type("Derived", (base,), {"__module__": "opusim.somewhere"})
    assert code_of(derived) == code_of(base) != ""


def in_main(code: str, monkeypatch, *, file: str | None) -> type:
    """Make a class of the program's own module, in a script's file or a cell of a notebook."""
    name = file or "<cell 1>"
    if file is None:  # as notebooks do
        monkeypatch.setitem(linecache.cache, name, (len(code), None, code.splitlines(keepends=True), name))
    else:
        Path(file).write_text(code)
    main = type(sys)("__main__")
    if file is not None:
        main.__file__ = file
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(MEDIA, "_parts", {key: at for key, at in MEDIA._parts.items() if key != "mine"})
    exec(compile(code, name, "exec"), main.__dict__)
    return main.Mine


@pytest.mark.parametrize("file", ["program.py", None])
def test_in_a_script_or_a_notebook_the_class_counts(tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    texts = [CODES["this"], CODES["other"], f"# A comment.\n{CODES['this']}\nseeds = [1, 2]\n"]
    files = [str(tmp_path / f"{k}_{file}") if file else None for k in range(3)]
    codes = [code_of(in_main(text, monkeypatch, file=at)) for text, at in zip(texts, files, strict=True)]
    assert codes[0] == codes[2] != codes[1] and codes[0] != ""


def test_where_no_text_can_be_had_there_is_none():
    space: dict = {"__name__": "nowhere"}
    exec("class Thing:\n    def value(self):\n        return 1", space)
    assert code_of(space["Thing"]) == ""


@pytest.mark.system
def test_between_two_programs(tmp_path):
    (tmp_path / "lab.toml").write_text('preset = "ideal"\n[medium]\nkind = "med.py:Mine"\n')
    found = []
    for name in ("this", "this", "other"):
        (tmp_path / "med.py").write_text(CODES[name])
        code = "from opusim import Device; print(Device.load('lab.toml').fingerprint())"
        found.append(subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, check=True,
                                    text=True, timeout=120).stdout)  # fmt: skip
    assert found[0] == found[1] != found[2]
