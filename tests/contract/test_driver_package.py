"""The distribution lightonopu, its other modules, and where it takes its configuration from."""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest


def run(program, cwd, **environment):
    import os

    variables = {k: v for k, v in os.environ.items() if not k.startswith("OPUSIM_")} | environment
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=variables,
        timeout=300,
    )


def test_distribution():
    import lightonopu

    assert importlib.metadata.version("lightonopu") == lightonopu.__version__ == "1.4.3+opusim"
    pkg_resources = pytest.importorskip("pkg_resources")
    for requirement in ("lightonopu>=1.4.1", "lightonopu>=1.3b3", "lightonopu>=1.4.2"):
        assert pkg_resources.require(requirement)[0].key == "lightonopu"


def test_first_generation():
    """`from lightonopu import OPU`, `transform` without a fit, `transform1d`, `transform2d`."""
    import lightonopu
    from lightonopu.opu import OPU

    assert lightonopu.OPU is OPU
    x = np.random.default_rng(0).integers(0, 2, (3, 100), dtype=np.uint8)
    with OPU(n_components=50, verbose_level=0, features_fmt="auto", dmd_strategy=None) as opu:
        assert opu.transform(x).shape == (3, 50)
        assert opu.transform1d(x[0]).shape == (50,)
        assert opu.transform2d(x.reshape(3, 10, 10)).context.fmt_type.name == "macro_2d"


def test_types():
    from lightonopu.types import DmdRoiStrategy, FeaturesFormat

    assert {m.name: m.value for m in FeaturesFormat} == {"lined": 1, "macro_2d": 2, "auto": 3, "none": 4}
    assert {m.name for m in DmdRoiStrategy} >= {"full", "small", "auto"}


def test_simulated_device():
    from lightonopu.simulated_device import SimulatedOpuDevice

    device = SimulatedOpuDevice()
    device.build_random_matrix(20, 30, seed=3)
    with device:
        x = np.random.default_rng(0).integers(0, 2, (4, 20), dtype=np.uint8)
        y = device.transform1(x)
        assert np.allclose(y, np.abs(x @ device.random_matrix) ** 2, rtol=1e-4)
        out = np.empty((4, 30), dtype=np.float32)
        device.transform2(x, out, 0)
        assert np.allclose(out, y) and np.allclose(device.transform_single(x[0]), y[0])
    again = pickle.loads(pickle.dumps(device))
    assert np.array_equal(again.random_matrix, device.random_matrix)
    rng = np.random.RandomState(3)  # as lightonml draws it
    real = rng.normal(scale=1 / np.sqrt(20), size=(20, 30)).astype(np.float32)
    assert np.allclose(device.random_matrix.real, real) and device.random_matrix.dtype == np.complex64


def test_nothing_is_loaded_by_the_name_alone(tmp_path):
    program = "import sys, lightonopu; print([m for m in sys.modules if m in ('opusim', 'lightonml', 'numpy')])"
    assert run(program, tmp_path).stdout.strip() == "[]"


# ---------------------------------------------------------------- configuration

PROGRAM = """
from lightonml import OPU
with OPU(n_components=50) as opu:
    c = opu.config
    opu.fit1d(n_features=100)
    print(c["type"], c["name"], opu.device.exposure_us, opu.max_n_components, opu.device.output_dtype.__str__())
"""


@pytest.fixture
def lightonml():
    module = pytest.importorskip("lightonml")
    if module.__version__ != "1.4.3":
        pytest.skip("versions before 1.4.2 read their configuration before they load the driver")
    return module


def test_no_configuration_at_all(lightonml, tmp_path):
    done = run(PROGRAM, tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:4] == ["type2", "aurora", "400", str(2040 * 1088)]
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert written and all((tmp_path / "config") in p.parents for p in written)


def test_a_preset(lightonml, tmp_path):
    done = run(PROGRAM, tmp_path, XDG_CONFIG_HOME=str(tmp_path), OPUSIM_DEVICE="aurora-type1")
    assert done.stdout.split()[:4] == ["type1", "aurora-type1", "400", str(1920 * 1080)], done.stderr


def device_json(folder, **changes):
    content = {
        "type": "type3",
        "name": "a unit",
        "version": "1",
        "location": "shelf",
        "input": {"frametime_us": 700, "minimum_batch_size": 0},
        "output": {"exposure_us": 350, "allowed_roi": None, "minimum_output_size": 130_560, "stdev": 1.0},
        "ones_range": [50_000, 676_000],
        "n_samples_by_pass": 3000,
        "n_transform_tries": 5,
        "sequence_nb_prelim": 0,
        "detect_trigger_issue": False,
        "no_single_transform": False,
        "core_type": "Nitro",
        "core_version": "2",
        **changes,
    }
    path = folder / "unit.json"
    path.write_text(json.dumps(content))
    return path


def test_the_json_of_a_real_device(lightonml, tmp_path):
    path = device_json(tmp_path)
    done = run(
        PROGRAM.replace("a unit", "unit"), tmp_path, XDG_CONFIG_HOME=str(tmp_path / "c"), OPUSIM_DEVICE=str(path)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("type3 a unit 350 ") and str(2048 * 1088) in done.stdout


def test_config_file(lightonml, tmp_path, monkeypatch):
    monkeypatch.delenv("OPUSIM_DEVICE", raising=False)
    path = device_json(tmp_path)
    from lightonml.opu import OPU

    with OPU(n_components=50, config_file=str(path)) as opu:
        y = opu.fit_transform1d(np.ones((2, 100), dtype=np.uint8) * (np.arange(100) % 2).astype(np.uint8))
        assert y.shape == (2, 50) and y.context.frametime_us == 700 and y.context.exposure_us == 350
        assert opu.device.output_shape == (2048, 64)  # the least that this device reads: 130 560 pixels
        assert "OPU a unit-1-shelf; core type Nitro, core version 2" in opu.version()


def test_a_trigger_fault_is_looked_for_and_not_found(lightonml, tmp_path, monkeypatch):
    """200 frames, all on or all off, at opening; a small device makes it quick."""
    from opusim.device.medium import GaussianMedium
    from opusim.device.record import Device

    monkeypatch.delenv("OPUSIM_DEVICE", raising=False)
    aurora = Device.load("aurora")
    changes = {"dmd.shape": (24, 40), "operation.ones_range": (50, 600)}
    small = aurora.evolve(medium=GaussianMedium(transmission=aurora.medium.transmission), **changes)
    (tmp_path / "small.toml").write_text(small.to_toml())
    few = {"type": "type2", "simulated_device": str(tmp_path / "small.toml"), "ones_range": [50, 600]}
    output = {"exposure_us": 400, "minimum_output_size": 0}
    path = device_json(tmp_path, detect_trigger_issue=True, output=output, **few)
    monkeypatch.setenv("OPUSIM_DEVICE", str(path))
    from lightonml.opu import OPU

    with OPU(n_components=50) as opu:
        assert opu.device.input_shape == (24, 40)
        assert opu.device._OpuDevice__opu.nb_prelim == 0  # 1 would be the work-around


def test_a_wrong_device_is_named(lightonml, tmp_path):
    done = run(PROGRAM, tmp_path, XDG_CONFIG_HOME=str(tmp_path), OPUSIM_DEVICE="no such device")
    assert done.returncode != 0 and "no such device" in done.stderr
    done = run(PROGRAM, tmp_path, XDG_CONFIG_HOME=str(tmp_path), OPUSIM_SEED="minus one")
    assert done.returncode != 0 and "OPUSIM_SEED" in done.stderr
