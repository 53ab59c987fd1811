"""The low-level device: `lightonopu.internal.device.OpuDevice` where there is a lightonopu, and ours."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import subprocess
import sys

import numpy as np
import pytest

KINDS = ["opusim"] + (["lightonopu"] if importlib.util.find_spec("lightonopu") else [])
SENSORS = {"type1": (1920, 1080), "type2": (2040, 1088), "type3": (2048, 1088)}
PRESETS = {"type1": "aurora-type1", "type2": "aurora", "type3": "aurora-type3"}


@pytest.fixture(params=KINDS)
def make_device(request, monkeypatch):
    made = []

    def make(opu_type="type2", frametime_us=500, exposure_us=400, *args, device=None, **kw):
        if request.param == "opusim":
            from opusim.drivers import OpuDevice

            kw["device"] = device or PRESETS[opu_type]
        else:
            from lightonopu.internal.device import OpuDevice

            if device is None:
                monkeypatch.delenv("OPUSIM_DEVICE", raising=False)
            else:
                monkeypatch.setenv("OPUSIM_DEVICE", device)
        made.append(OpuDevice(opu_type, frametime_us, exposure_us, *args, **kw))
        return made[-1]

    yield make
    for d in made:
        d.close()


@pytest.fixture
def device(make_device):
    d = make_device()
    d.open()
    return d


def patterns(n=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 129_960), dtype=np.uint8)


@pytest.mark.parametrize("opu_type", SENSORS)
def test_shapes(make_device, opu_type):
    d = make_device(opu_type)
    assert type(d).__name__ == "OpuDevice"  # lightonml looks at the name of the class
    assert tuple(d.input_shape) == (912, 1140) and d.nb_features == 1_039_680 and d.input_size == 129_960
    assert tuple(d.output_shape_max) == SENSORS[opu_type]
    assert d.output_roi_strategy.value == (2 if opu_type == "type1" else 1)
    assert d.output_roi_increment == (8 if opu_type == "type1" else 1)
    assert d.output_dtype == np.uint8


def test_arguments_by_position(make_device):
    d = make_device("type2", 600.9, 300.9, 1, ((0, 500), (2040, 3)), 0, "a name")
    assert (d.frametime_us, d.exposure_us, d.output_roi) == (600, 300, ((0, 500), (2040, 3)))
    assert d.name == "a name" and d._OpuDevice__opu.nb_prelim == 1
    d._OpuDevice__opu.nb_prelim = 2  # lightonml writes it when it works round a fault of the trigger
    assert d._OpuDevice__opu.nb_prelim == 2


def test_settings_while_closed_are_kept(make_device):
    d = make_device()
    assert not d.active and d.acq_state is None and d.gain_dB == 0.0
    d.frametime_us, d.exposure_us, d.gain_dB = 800.7, np.float64(300.2), 0.0
    d.output_roi = ((np.int64(0), np.int64(500)), (np.int64(2040), np.int64(4)))
    for _ in range(2):
        assert (d.frametime_us, d.exposure_us) == (800, 300)
        assert d.output_roi == ((0, 500), (2040, 4)) and d.output_shape == (2040, 4)
        assert isinstance(d.output_roi, tuple) and all(type(v) is int for pair in d.output_roi for v in pair)
        d.open()
        assert (d.frametime_us, d.exposure_us, d.output_roi) == (800, 300, ((0, 500), (2040, 4)))
        d.close()


def test_regions_that_the_camera_refuses(device):
    for roi in (((0, 1080), (2040, 9)), ((10, 500), (100, 4)), ((-1, 0), (2040, 4))):
        with pytest.raises(ValueError):
            device.output_roi = roi


def test_a_square_region_of_type1(make_device):
    d = make_device("type1")
    d.output_roi = ((900, 500), (120, 80))
    assert d.output_shape == (120, 80)


def test_readout(make_device):
    d = make_device()
    with pytest.raises(RuntimeError):
        d.output_readout_us  # noqa: B018
    d.open()
    whole = d.output_readout_us
    d.output_roi = ((0, 500), (2040, 4))
    assert isinstance(whole, int) and 0 < d.output_readout_us < 100 < 2000 < whole


def test_open_and_close(make_device):
    d = make_device()
    d.open()
    d.open()
    assert d.active
    d.reserve(3000)
    assert isinstance(d.versions(), str)
    d.close()
    d.close()
    assert not d.active
    with d as same:
        assert same is d and d.active
    assert not d.active


def test_acquisition(device):
    assert (device.acq_state.name, device.acq_state.value) == ("stopped", 1)
    with device.acquiring(n_images=3000):
        assert (device.acq_state.name, device.acq_state.value) == ("batch", 2)
    with device.acquiring(triggered=True, online=True, n_images=0):
        assert (device.acq_state.name, device.acq_state.value) == ("online", 3)
    assert device.acq_state.value == 1
    with pytest.raises(ZeroDivisionError), device.acquiring():
        raise ZeroDivisionError
    assert device.acq_state.value == 1


def test_an_acquisition_outlives_a_close(device):
    with device.acquiring(online=True):
        device.close()
    assert device.acq_state is None


# ---------------------------------------------------------------- frames


def test_transform2_fills_in_place(device):
    device.output_roi = ((0, 500), (2040, 2))
    ins, out = patterns(3), np.zeros((2, 50), dtype=np.uint8)
    view = out[:, :40]
    with device.acquiring(n_images=3):
        assert device.transform2(ins, view, 0) is None
        assert view.any(axis=1).all() and not out[:, 40:].any()
        whole = np.zeros((3, 4080), dtype=np.uint8)
        device.transform2(ins, out=whole, batch_index=-1, nb_acq_output=2)
    assert whole[:2].any(axis=1).all() and not whole[2].any()


def test_all_ways_of_transforming_meet_one_matrix(make_device, quiet):
    d = make_device(device=quiet)
    d.open()
    d.output_roi = ((0, 500), (2040, 2))
    ins, out = patterns(2), np.empty((2, 4080), dtype=np.uint8)
    d.transform2(ins, out, batch_index=0)
    assert np.array_equal(d.transform1(ins), out) and d.transform1(ins, -1, 1).shape == (1, 4080)
    assert np.array_equal(d.transform_single(ins[1]), out[1])
    with d.acquiring(online=True):
        assert np.array_equal(d.transform_online(ins[0]), out[0])
    # Raster order: the second row of the region starts at element 2040.
    d.output_roi = ((0, 501), (2040, 1))
    assert np.array_equal(d.transform1(ins), out[:, 2040:])


def test_arrays_of_another_size_are_refused(device):
    device.output_roi = ((0, 500), (2040, 1))
    good = patterns(2)
    for ins in (good[:, :-1], good[0], good.astype(np.int64)):
        with pytest.raises(ValueError):
            device.transform1(ins)
    for out in (np.empty((3, 10), np.uint8), np.empty((2, 2041), np.uint8), np.empty((2, 10)), np.empty(10, np.uint8)):
        with pytest.raises(ValueError):
            device.transform2(good, out, 0)


def test_the_seed_and_the_frame_number_make_the_counts(make_device):
    """An arbitrary pattern gives what the bench gives for the same mirrors, noise and all."""
    from opusim import OpticalBench

    ins = patterns(3, seed=5)
    d = make_device(device="aurora")
    d.open()
    d.output_roi = ((0, 500), (2040, 2))
    out = np.empty((3, 3000), dtype=np.uint8)
    d.transform2(ins, out, -1)
    mirrors = np.unpackbits(ins, axis=1, bitorder="little").reshape(3, 912, 1140)
    frames = OpticalBench("aurora", seed=0).expose(
        mirrors, exposure_s=400e-6, frametime_s=500e-6, roi=(500, 0, 2, 2040)
    )
    assert np.array_equal(out, frames.reshape(3, -1)[:, :3000])
    assert out.std() > 4


# ---------------------------------------------------------------- copies and processes


def test_deepcopy_and_pickle(make_device):
    d = make_device("type2", 700, 350, 1)
    assert copy.deepcopy(d) is d
    d.output_roi = ((0, 500), (2040, 4))
    d.open()
    again = pickle.loads(pickle.dumps(d))
    assert again.active and again._OpuDevice__opu.nb_prelim == 1
    assert (again.frametime_us, again.exposure_us, again.output_roi) == (700, 350, ((0, 500), (2040, 4)))
    if type(d).__module__.startswith("lightonopu"):
        assert not d.active  # the real one is closed when it is pickled: there is one of it
    again.close()
    d.close()
    assert not pickle.loads(pickle.dumps(d)).active


HOLDER = """
import sys
from opusim.drivers import OpuDevice
d = OpuDevice(name="contract-test", exclusive=True); d.open()
print("open", flush=True)
sys.stdin.read()
"""


def test_another_process_may_hold_an_exclusive_device(tmp_path, monkeypatch):
    from opusim.base.errors import OpuAlreadyUsedException
    from opusim.drivers import OpuDevice

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "open\n"
        shared = OpuDevice(name="contract-test")
        shared.open()  # a device is not exclusive unless it says so
        mine = OpuDevice(name="contract-test", exclusive=True)
        with pytest.raises(OpuAlreadyUsedException):
            mine.open()
        holder.communicate()
    mine.open()
    another = OpuDevice(name="contract-test", exclusive=True)
    another.open()  # never within one process
    assert mine.active and another.active
    mine.close()
    another.close()
