"""The compiled modules that older versions of lightonml, and its input device, load by name."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

SENSORS = {1: (1920, 1080), 2: (2040, 1088), 3: (2048, 1088)}


@pytest.fixture(params=SENSORS)
def kind(request):
    return request.param


@pytest.fixture
def opu(kind, monkeypatch):
    monkeypatch.delenv("OPUSIM_DEVICE", raising=False)
    opu = importlib.import_module(f"lightonopu.opu{kind}_pybind").OPU()
    yield opu
    opu.close()


def test_what_it_is(opu, kind):
    assert not opu.active
    opu.open(500, 400, 0, 0)
    assert opu.active
    assert tuple(opu.input_shape) == (912, 1140) and opu.input_size == 129_960
    assert tuple(opu.output_shape_max) == SENSORS[kind]
    assert opu.gain_dB == 0.0 and (opu.frametime_us, opu.exposure_us) == (500, 400)
    assert isinstance(opu.device_versions(), str) and isinstance(opu.library_versions(), str)
    opu.close()
    opu.close()
    assert not opu.active and isinstance(opu.library_versions(), str)


def test_settings_are_lists_and_numbers(opu, kind):
    opu.open(500, 400, 1, 0)
    opu.frametime_us, opu.exposure_us, opu.gain_dB = 700, 300, 0.0
    offset, size = ([0, 500], [SENSORS[kind][0], 2]) if kind > 1 else ([900, 500], [120, 80])
    opu.output_roi = (offset, size)
    assert (opu.frametime_us, opu.exposure_us) == (700, 300)
    assert opu.output_roi == (offset, size) and all(type(part) is list for part in opu.output_roi)
    assert isinstance(opu.output_readout_us, int) and opu.output_readout_us > 0
    opu.reserve(3000)


def test_acquisition(opu):
    opu.open(500, 400, 0, 0)
    assert opu.acq_state == 1 and type(opu.acq_state) is int
    opu.start_acq(True)
    assert opu.acq_state == 2
    opu.stop_acq()
    opu.stop_acq()
    opu.start_online_acq(True)
    assert opu.acq_state == 3
    opu.close()
    opu.stop_acq()  # lightonml does so at the end of its with block, whatever came between


def test_frames(opu, kind, monkeypatch):
    opu.open(500, 400, 0, 0)
    width = SENSORS[kind][0]
    opu.output_roi = ([0, 500], [width, 1]) if kind > 1 else ([900, 500], [60, 40])
    pixels = int(np.prod(opu.output_roi[1]))
    ins = np.random.default_rng(0).integers(0, 256, (2, 129_960), dtype=np.uint8)
    out = np.zeros((2, 100), dtype=np.uint8)
    opu.start_acq(True)
    opu.transform2(ins, out, 0)
    opu.stop_acq()
    assert out.any(axis=1).all()
    assert opu.transform1(ins[:1], -1, 1).shape == (1, pixels)
    single = opu.transform_single(ins[0])
    assert single.shape == (pixels,) and single.dtype == np.uint8
    opu.start_online_acq(True)
    online = opu.transform_online(ins[0])
    # The same matrix, other noise.
    assert online.shape == (pixels,) and np.corrcoef(single, online)[0, 1] > 0.9


# ---------------------------------------------------------------- the mirrors alone


def test_input_device():
    from lightonopu.inputdev_pybind import InputDevice

    device = InputDevice(False)
    assert tuple(device.shape) == (912, 1140) and device.input_size == 129_960
    device.display(np.zeros(129_960, dtype=np.uint8), 500)
    for bad in (np.zeros(129_959, dtype=np.uint8), np.zeros(129_960)):
        with pytest.raises(ValueError):
            device.display(bad, 500)


def test_input_device_of_lightonml():
    module = pytest.importorskip("lightonml.internal.inputdevice")
    device = module.InputDevice()
    assert device.shape == (912, 1140) and device.shape_r == (1140, 912) and device.input_size == 1_039_680
    picture = np.zeros((912, 1140), dtype=np.uint8)
    picture[3, 5:9] = 1
    for shown in (picture, picture.T):
        device.display2d(np.ascontiguousarray(shown))
        assert np.array_equal(device.device.displayed, picture)
    device.display1d(picture.ravel())
    assert np.array_equal(device.device.displayed, picture)
    device.display1d(np.array([0, 1, 1, 0], dtype=np.uint8))
    assert np.array_equal(device.device.displayed[::228, 0], [0, 1, 1, 0])
    device.display2d(np.array([[0, 1], [1, 0]], dtype=np.uint8))
    assert device.device.displayed.sum() == 2 * 456**2  # square blocks; the rest of the whole array is off
