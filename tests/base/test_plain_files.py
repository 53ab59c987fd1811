"""Pipes, sockets, devices and folders in the place of a file: a sentence at once, through every door for a path."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from opusim import OPU, cli, dfa
from opusim.base.files import check_file, open_npy, read_npz, replacing, rescue_hdf5
from opusim.base.plain_files import check_plain, parse_json, parse_toml, read_text, refuse_other_target
from opusim.calibration.files import read_record, record_names, write_record
from opusim.calibration.procedures.exposure import ExposureRecord
from opusim.calibration.procedures.matrix.measure import read_matrix, read_tm
from opusim.calibration.report import read_report
from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device
from opusim.dfa.checkpoint import check_target
from opusim.drivers.settings import read_config
from opusim.sweep import read_sweep
from opusim.sweep.file import writing
from opusim.tasks.function import FunctionTask

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes and devices as on POSIX are needed")
OTHERS = ("pipe", "socket", "endless", "folder")


@pytest.fixture
def other(request, tmp_path):
    """Something at a path that is no plain file."""
    kind = request.param
    if kind == "endless":
        return Path("/dev/zero")
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        here = Path.cwd()
        os.chdir(tmp_path)  # names of sockets are short
        try:
            socket.socket(socket.AF_UNIX).bind(kind)
        finally:
            os.chdir(here)
    return path


def command(*words):
    """Run a command of opusim; its sentence becomes an error again."""
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), result.output
    raise ValueError(result.stderr)


def task_of(path):
    link = path.parent / "task.py" if path.parent != Path("/dev") else Path(os.environ["OF_THIS_TEST"]) / "task.py"
    link.symlink_to(path)
    return FunctionTask(f"{link}:f")


READERS = {
    "a device": lambda p: Device.from_toml(p),
    "a device by its path": lambda p: Device.load(str(p)),
    "opusim info": lambda p: command("info", p),
    "opusim run --device": lambda p: command("run", "--device", _named(p, ".json"), __file__),
    "opusim transform": lambda p: command("transform", p, Path(os.environ["OF_THIS_TEST"]) / "out.npy"),
    "opusim report": lambda p: command("report", p),
    "opusim rescue": lambda p: _rescue(p),
    "a measured matrix": lambda p: MeasuredMedium(path=str(p)).shape,
    "a measured matrix's fingerprint": lambda p: _measured(p).fingerprint(),
    "read_record": lambda p: read_record(p, "exposure", ExposureRecord),
    "record_names": record_names,
    "write_record": lambda p: write_record(p, "exposure", ExposureRecord(1e-3, *[1.0] * 6, 1, 0.0)),
    "read_report": read_report,
    "read_tm": read_tm,
    "read_matrix": read_matrix,
    "read_sweep": read_sweep,
    "a sweep into it": lambda p: writing(p).__enter__(),
    "read_run": dfa.read_run,
    "a checkpoint into it": check_target,
    "open_npy": open_npy,
    "read_npz": read_npz,
    "read_config": read_config,
    "OPU(config_file)": lambda p: OPU(config_file=str(p)),
    "a task": task_of,
    "check_file": lambda p: check_file(p, b"x", noun="thing", wanted="a thing", other="It is another."),
    "check_plain": check_plain,
    "read_text": read_text,
    "replacing": lambda p: replacing(p).__enter__(),
    "refuse_other_target": refuse_other_target,
}


def _named(path, suffix):
    link = Path(os.environ["OF_THIS_TEST"]) / f"link{suffix}"
    link.symlink_to(path)
    return link


def _rescue(path):
    result = CliRunner().invoke(cli.app, ["rescue", str(path)])
    assert result.exit_code == 2
    raise ValueError(result.stderr)


def _measured(path):
    aurora = Device.load("aurora").ideal()
    return aurora.evolve(medium=MeasuredMedium(path=str(path), transmission=aurora.medium.transmission))


@pytest.mark.parametrize("other", OTHERS, indirect=True)
@pytest.mark.parametrize("door", READERS)
def test_what_is_no_plain_file_is_refused_at_once(door, other, tmp_path, monkeypatch):
    monkeypatch.setenv("OF_THIS_TEST", str(tmp_path))
    (tmp_path / "kept").touch()
    found: list[BaseException | None] = []

    def go():
        try:
            READERS[door](other)
            found.append(None)
        except Exception as error:  # noqa: BLE001 - looked at below
            found.append(error)

    # A thread, which a hang would leave behind, not this test.
    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join(60)
    assert found, f"{door} waits for {other}"
    (error,) = found
    assert isinstance(error, (ValueError, OSError)), error
    text = " ".join(str(error).split())
    assert any(words in text for words in ("is a pipe", "is a socket", "is a device", "is a folder")), text
    assert other.exists() and not other.is_file()


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x = 1\r\n")
    (tmp_path / "b.txt").symlink_to("a.txt")
    check_plain(tmp_path / "b.txt")
    refuse_other_target(tmp_path / "b.txt")
    refuse_other_target(tmp_path / "none")
    assert read_text(tmp_path / "b.txt") == "x = 1\n"
    with pytest.raises(FileNotFoundError, match="There is no matrix .*none"):
        check_plain(tmp_path / "none", noun="matrix")
    with pytest.raises(ValueError, match="no file can have that name"):
        check_plain("a\0b")
    (tmp_path / "c.txt").symlink_to("c.txt")
    with pytest.raises(OSError):
        check_plain(tmp_path / "c.txt")


def test_a_text_that_is_too_long_is_not_read(tmp_path):
    path = tmp_path / "long.toml"
    with path.open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(ValueError, match="longer than 16 MiB"):
        read_text(path)
    with pytest.raises(ValueError, match="long.toml.* cannot be read .*longer than 16 MiB"):
        Device.from_toml(path)


DEEP = 100_000
TEXTS = {
    "lists": "x = " + "[" * DEEP + "]" * DEEP,
    "tables": "x = " + "{a = " * DEEP + "1" + "}" * DEEP,
    "dotted keys": ".".join("a" * 1000) + " = 1",
    "header": "[" + ".".join("a" * 1000) + "]",
    "a number too long": "x = " + "9" * 5000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_toml_that_is_nested_too_deeply_is_a_sentence(text, tmp_path):
    with pytest.raises(ValueError, match="is not valid TOML: (it is nested more than 100 levels|Exceeds the limit)"):
        Device.from_toml(text)
    path = tmp_path / "deep.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="deep.toml' is not valid TOML"):
        Device.load(path)


@pytest.mark.parametrize(
    "text", ["[" * DEEP + "]" * DEEP, '{"a": ' * DEEP + "1" + "}" * DEEP, '{"a": ' * 150 + "1" + "}" * 150]
)
def test_json_that_is_nested_too_deeply_is_a_sentence(text, tmp_path, monkeypatch):
    path = tmp_path / "deep.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="config_file is .*deep.json.*nested more than 100 levels deep"):
        read_config(path)
    monkeypatch.setenv("OPUSIM_DEVICE", str(path))
    with pytest.raises(ValueError, match="deep.json.*nested more than 100 levels deep"):
        command("run", "--device", path, __file__)


@pytest.mark.parametrize("depth, fits", [(99, True), (100, True), (101, False), (900, False)])
def test_the_bound_of_nesting_is_the_same_for_both(depth, fits):
    """A list in lists: one level each. No parser need be at its end."""
    text = "[" * depth + "]" * depth
    if fits:
        assert json.dumps(parse_json(text)) == text and parse_toml(f"x = {text[2:-2]}")
    else:
        for parse, whole in ((parse_json, text), (parse_toml, f"x = {text}")):
            with pytest.raises(ValueError, match="nested more than 100 levels deep"):
                parse(whole)


def test_rescue_of_a_plain_file_only(tmp_path):
    with pytest.raises(ValueError, match="is a device, but it must be a file that opusim wrote"):
        rescue_hdf5("/dev/null")
    with pytest.raises(ValueError, match="not a .npy file"):
        np.savez(tmp_path / "a.npz", np.zeros(3))
        open_npy(tmp_path / "a.npz")
