"""Which device a program gets that does not choose one, and who may open it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest

from opusim.base import folders
from opusim.base.errors import OpuAlreadyUsedException
from opusim.drivers import OpuDevice
from opusim.drivers.compat import environment


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """A configuration folder of the test's own, and no device of the machine's."""
    for name in list(os.environ):
        if name.startswith("OPUSIM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(folders, "config_folder", lambda: tmp_path / "config" / "opusim")
    monkeypatch.setattr(environment, "MACHINE_HOST_FILE", tmp_path / "machine" / "host.json")
    return tmp_path


def test_default_follows_the_type():
    assert environment.selected().device.name == "aurora"
    assert environment.selected("type1").device.camera.shape == (1080, 1920)
    assert environment.selected("type3").device.camera.shape == (1088, 2048)
    assert environment.selected().seed == 0 and not environment.selected().exclusive


def test_preset_and_toml_file(monkeypatch, tmp_path):
    monkeypatch.setenv("OPUSIM_DEVICE", "ideal")
    monkeypatch.setenv("OPUSIM_SEED", "7")
    choice = environment.selected("type1")
    assert (choice.device.name, choice.seed, choice.config["name"]) == ("ideal", 7, "ideal")
    path = tmp_path / "mine.toml"
    path.write_text('preset = "aurora"\nname = "mine"\n[operation]\nexposure_s = 200e-6\n')
    monkeypatch.setenv("OPUSIM_DEVICE", str(path))
    assert environment.selected().config["output"]["exposure_us"] == 200


def test_json_of_a_device(monkeypatch, tmp_path):
    path = tmp_path / "opu.json"
    path.write_text(json.dumps({"type": "type3", "name": "zeus", "output": {"exposure_us": 300}, "exclusive": True}))
    monkeypatch.setenv("OPUSIM_DEVICE", str(path))
    choice = environment.selected()
    assert choice.device.camera.shape == (1088, 2048) and choice.exclusive
    assert choice.config["output"] == {
        "exposure_us": 300, "allowed_roi": None, "minimum_output_size": 0, "stdev": 1.0,
    }  # fmt: skip
    path.write_text(json.dumps({"simulated_device": "ideal"}))
    assert environment.selected().device.name == "ideal"
    # A file is looked for beside the json, not in the working folder.
    (tmp_path / "mine.toml").write_text('preset = "aurora"\nname = "mine"\n')
    path.write_text(json.dumps({"simulated_device": "mine.toml"}))
    assert environment.selected().device.name == "mine"


def test_the_machines_own_json_is_read(tmp_path):
    machine = tmp_path / "machine"
    machine.mkdir()
    (machine / "opu.json").write_text(json.dumps({"type": "type1", "name": "saturn"}))
    (machine / "host.json").write_text(json.dumps({"opu_config": str(machine / "opu.json")}))
    assert environment.selected().config["name"] == "saturn"
    assert environment.host_file() == machine / "host.json"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("OPUSIM_DEVICE", "arora", "OPUSIM_DEVICE.*arora"),
        ("OPUSIM_DEVICE", "nowhere.toml", "OPUSIM_DEVICE.*nowhere.toml"),
        ("OPUSIM_DEVICE", "nowhere.json", "OPUSIM_DEVICE is 'nowhere.json', but it cannot be read"),
        ("OPUSIM_SEED", "-1", "OPUSIM_SEED is '-1', but it must be a whole number"),
        ("OPUSIM_EXCLUSIVE", "perhaps", "OPUSIM_EXCLUSIVE is 'perhaps', but it must be 0 or 1"),
    ],
)
def test_bad_values_are_told(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=sentence):
        environment.selected()


def test_bad_type_in_a_json(monkeypatch, tmp_path):
    path = tmp_path / "opu.json"
    path.write_text('{"type": "type9"}')
    monkeypatch.setenv("OPUSIM_DEVICE", str(path))
    with pytest.raises(ValueError, match=r"opu.json: type is 'type9', but it must be one of"):
        environment.selected()


def test_host_file_leads_to_the_device(own_folder, monkeypatch):
    monkeypatch.setenv("OPUSIM_DEVICE", "aurora-type3")
    host = environment.host_file()
    config = json.loads(open(json.loads(host.read_text())["opu_config"]).read())
    assert config["type"] == "type3" and config["ones_range"] == [52000, 676000]
    inside = [path for path in own_folder.rglob("*") if path.is_file()]
    assert all((own_folder / "config") in path.parents for path in inside) and len(inside) == 2
    before = host.stat().st_mtime_ns
    assert environment.host_file() == host and host.stat().st_mtime_ns == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(own_folder):
    (own_folder / "config").mkdir()
    (own_folder / "config").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OSError, match="XDG_CONFIG_HOME"):
        environment.host_file()


def test_file_in_the_place_of_the_folder(own_folder):
    (own_folder / "config").write_text("no folder")
    with pytest.raises(OSError, match="cannot be kept in .*XDG_CONFIG_HOME"):
        environment.host_file()


# ---------------------------------------------------------------- exclusive devices

HOLD = """
import sys
from opusim.drivers import OpuDevice
device = OpuDevice(name=sys.argv[1], exclusive=True)
device.open()
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(own_folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, "zeus"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_killed(holder, own_folder, monkeypatch):
    device = OpuDevice(name="zeus", exclusive=True)
    with pytest.raises(OpuAlreadyUsedException, match="'zeus' is in use by another process"):
        device.open()
    assert not device.active
    OpuDevice(name="zeus").open()  # not an exclusive one
    OpuDevice(name="ares", exclusive=True).open()  # another device
    holder.kill()
    holder.wait()
    device.open()
    assert device.active
    device.close()


def test_one_process_may_open_it_twice(own_folder, monkeypatch):
    with OpuDevice(name="hera", exclusive=True) as first, OpuDevice(name="hera", exclusive=True) as second:
        assert first.active and second.active


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_is_another_one(own_folder, monkeypatch):
    """It inherits the open device, but does not hold it; what it does leaves the parent's hold as it is."""
    with OpuDevice(name="leto", exclusive=True) as device:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                if not device.active:
                    try:
                        device.open()
                    except OpuAlreadyUsedException:
                        device.close()
                        status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        program = HOLD.replace("device.open()", "device.open(); raise SystemExit(0)")
        other = subprocess.run([sys.executable, "-c", program, "leto"], capture_output=True, text=True)
        assert other.returncode == 1 and "OpuAlreadyUsedException" in other.stderr and device.active


def test_opu_says_exclusive_in_its_configuration(make_opu):
    opu = make_opu(config_override={"exclusive": False})
    assert not opu.device.exclusive
    from opusim import OPU

    with OPU(10, config_override={"exclusive": True, "name": "athena"}, open_at_init=False) as other:
        assert other.device.exclusive and other.device.name == "athena"
