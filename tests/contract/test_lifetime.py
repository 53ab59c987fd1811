"""Open, closed, copied, pickled, two at once, never closed."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np


def test_open_close_and_with(backend, make_opu, bits):
    opu = make_opu(backend, open_at_init=False)
    assert not opu.device.active
    with opu:
        assert opu.device.active
        opu.open()
    assert not opu.device.active
    opu.close()
    opu.open()
    opu.fit1d(bits(3, 100))
    with opu:
        assert opu.transform(bits(3, 100)).shape == (3, 60)
    assert opu.device.active  # it was open before


def test_settings_outlive_a_close(camera, make_opu, bits, quiet):
    x = bits(3, 100)
    opu = make_opu(camera, device=quiet)
    opu.fit1d(x, exposure_us=300)
    y = opu.transform(x)
    roi = opu.device.output_roi
    opu.close()
    assert opu.device.exposure_us == 300 and opu.device.output_roi == roi
    opu.device.frametime_us = 800.7
    opu.open()
    assert opu.device.exposure_us == 300 and opu.device.frametime_us == 800
    again = opu.transform(x)
    assert np.array_equal(again, y) and again.context.exposure_us == 300


def test_pickle(backend, make_opu, bits, quiet):
    x = bits(3, 100)
    opu = make_opu(backend, device=quiet)
    opu.fit1d(x)
    y = opu.transform(x)
    again = pickle.loads(pickle.dumps(opu))
    assert again.device.active and again.n_components == 60
    assert np.allclose(again.transform(x), y, rtol=1e-4) if backend.simulator else np.array_equal(again.transform(x), y)
    again.close()
    if backend.name != "lightonml":  # theirs asks a closed device for its acquisition, and fails
        opu.close()
        assert not pickle.loads(pickle.dumps(opu)).device.active


def test_pickle_in_online_mode(camera, make_opu, bits, quiet):
    x = bits(3, 100)
    opu = make_opu(camera, device=quiet)
    opu.fit1d(x, online=True)
    y = opu.transform(x[0])
    again = pickle.loads(pickle.dumps(opu))
    assert np.array_equal(again.transform(x[0]), y)
    again.close()


def test_pickled_context(backend, make_opu, bits):
    y = make_opu(backend).fit_transform1d(bits(3, 100))
    c = pickle.loads(pickle.dumps(y.context))
    assert c == y.context and c.fmt_type is y.context.fmt_type


def test_deepcopy_shares_the_device(camera, make_opu, bits, quiet):
    x = bits(3, 100)
    opu = make_opu(camera, device=quiet)
    opu.fit1d(x)
    assert copy.deepcopy(opu.device) is opu.device
    if camera.name == "lightonml":
        return  # theirs holds an ExitStack of functions; sklearn's clone copies the device's holder, not the OPU
    twin = copy.deepcopy(opu)
    assert twin.device is opu.device and np.array_equal(twin.transform(x), opu.transform(x))


def test_two_at_once_are_one_device(camera, make_opu, bits, quiet):
    x = bits(3, 100)
    a, b = make_opu(camera, 60, device=quiet), make_opu(camera, 80, device=quiet)
    a.fit1d(x)
    b.fit1d(x)
    ya, yb = a.transform(x), b.transform(x)
    assert ya.shape == (3, 60) and yb.shape == (3, 80) and np.array_equal(ya, yb[:, :60])
    a.close()
    assert np.array_equal(b.transform(x), yb)


def test_seeds_are_devices(camera, make_opu, bits, quiet):
    x = bits(3, 100)
    y = [make_opu(camera, device=quiet, seed=seed).fit_transform1d(x) for seed in (0, 1, 0)]
    assert np.array_equal(y[0], y[2]) and not np.array_equal(y[0], y[1])


def test_never_closed(camera, tmp_path):
    """A program that leaves everything open, even the acquisition, ends without a word."""
    source = {"opusim": "from opusim import OPU", "names": "from opusim.drivers.compat import OPU"}.get(
        camera.name, "from lightonml import OPU"
    )
    program = (
        "import warnings; warnings.simplefilter('ignore')\n"
        f"{source}\n"
        "import numpy as np\n"
        "a, b = OPU(n_components=20), OPU(n_components=30)\n"
        "b.fit1d(n_features=50, online=True)\n"
        "print(b.transform(np.ones(50, dtype=np.uint8)).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(30,)\n", "")


def test_version(backend, make_opu):
    text = make_opu(backend).version(devices=not backend.simulator)
    assert isinstance(text, str) and "version" in text
    if not backend.simulator:
        assert "core type" in text and "aurora" in text


def test_attributes_that_programs_read(backend, make_opu):
    opu = make_opu(backend)
    device = opu.device
    assert (device.frametime_us, device.exposure_us) == (500, 400)
    assert tuple(device.input_shape) in ((912, 1140), (1140, 912))
    assert len(device.output_shape) == 2 and device.output_dtype == backend.dtype
    assert opu.n_components == 60 and opu.rescale.name == "variance" and opu.input_roi_strategy.name == "full"
