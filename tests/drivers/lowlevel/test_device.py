"""The low-level device, by the contract of the closed driver."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from opusim.bench.region import Roi
from opusim.device.record import Device
from opusim.drivers import AcqState, NotReadyError, OpuDevice, OutputRoiStrategy
from opusim.patterns.layout import MirrorLayout, MirrorPatterns


@pytest.fixture
def device(bench):
    return OpuDevice("type2", 500, 400, 0, ((0, 500), (2040, 2)), 0, "mine", bench=bench)


def mirrors(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 129_960), dtype=np.uint8)


def test_shapes(device):
    assert device.input_shape == (912, 1140)
    assert device.nb_features == 1_039_680 and device.input_size == 129_960
    assert device.output_shape_max == (2040, 1088)
    assert device.output_dtype == np.uint8
    assert device.output_roi_strategy.value == 1 and device.output_roi_increment == 1
    assert device.name == "mine" and device.opu_type == "type2"


def test_type1_reads_a_rectangle_in_the_middle():
    model = Device.load("aurora").evolve(**{"operation.opu_type": "type1", "camera.shape": (1080, 1920)})
    device = OpuDevice(device=model)
    assert device.output_shape_max == (1920, 1080)
    assert device.output_roi_strategy is OutputRoiStrategy.mid_square and device.output_roi_increment == 8
    device.output_roi = ((100, 100), (64, 32))
    assert device.output_shape == (64, 32)


def test_settings_while_closed_and_over_close(device):
    assert not device.active and device.acq_state is None
    device.frametime_us, device.exposure_us = 612.7, np.float32(300.9)
    assert (device.frametime_us, device.exposure_us, device.gain_dB) == (612, 300, 0.0)
    device.output_roi = (np.int64(0), np.int64(3)), np.array([2040, 5])
    assert device.output_roi == ((0, 3), (2040, 5)) and type(device.output_roi[1][0]) is int
    with pytest.raises(RuntimeError, match="isn't active"):
        _ = device.output_readout_us
    with device:
        assert device.active and device.output_readout_us == 14
    device.open()
    device.open()
    device.close()
    device.close()
    assert (device.frametime_us, device.exposure_us, device.output_shape) == (612, 300, (2040, 5))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exposure_us", 0),
        ("exposure_us", "long"),
        ("exposure_us", float("inf")),
        ("frametime_us", -1),
        ("output_roi", ((0, 0), (2039, 1))),
        ("output_roi", ((0, 1088), (2040, 1))),
        ("output_roi", None),
        ("gain_dB", 6.0),
    ],
)
def test_bad_settings(device, name, value):
    before = getattr(device, name)
    with pytest.raises((TypeError, ValueError), match=name):
        setattr(device, name, value)
    assert getattr(device, name) == before


def test_acquiring(device):
    with pytest.raises(NotReadyError), device.acquiring():
        pass
    device.open()
    assert device.acq_state is AcqState.stopped and device.acq_state.value == 1
    with device.acquiring(n_images=10), device.acquiring():
        assert device.acq_state.value == 2
        with pytest.raises(RuntimeError, match="batch mode"), device.acquiring(online=True):
            pass
    with device.acquiring(triggered=True, online=True):
        assert device.acq_state.value == 3
    with pytest.raises(KeyError), device.acquiring():
        raise KeyError
    assert device.acq_state is AcqState.stopped
    with device.acquiring():
        device.close()
    device.open()
    assert device.acq_state is AcqState.stopped


def test_the_four_transforms_agree(device):
    ins = mirrors(5)
    with device:
        whole = device.transform1(ins)
        assert whole.shape == (5, 4080) and whole.dtype == np.uint8
        out = np.full((4, 1000), 255, dtype=np.uint8)
        assert device.transform2(ins=ins, out=out, batch_index=0) is None
        assert np.array_equal(out, whole[:4, :1000])
        out[:] = 255
        device.transform2(ins, out, -1, nb_acq_output=2)
        assert np.array_equal(out[:2], whole[:2, :1000]) and (out[2:] == 255).all()
        assert device.transform1(ins, -1, 3).shape == (3, 4080)
        assert np.array_equal(device.transform_single(ins[2]), whole[2])
        with pytest.raises(RuntimeError, match="online"):
            device.transform_online(ins[2])
        with device.acquiring(online=True):
            assert np.array_equal(device.transform_online(ins[2]), whole[2])


def test_many_patterns_go_in_steps(device, bench):
    with device:
        device.transform1(mirrors(130))
    assert [c["n"] for c in bench.calls] == [64, 64, 2]


def test_a_column_view_is_filled_in_place(device):
    ins = mirrors(3)
    with device:
        whole = device.transform1(ins)
        out = np.zeros((3, 500), dtype=np.uint8)
        device.transform2(ins, out[:, ::2], 0)
        assert np.array_equal(out[:, ::2], whole[:, :250]) and not out[:, 1::2].any()


@pytest.mark.parametrize(
    ("ins", "out"),
    [
        (mirrors(2).astype(int), np.empty((2, 5), np.uint8)),
        (mirrors(2)[:, :-1], np.empty((2, 5), np.uint8)),
        (mirrors(2)[0], np.empty((2, 5), np.uint8)),
        (mirrors(2), np.empty((3, 5), np.uint8)),
        (mirrors(2), np.empty((2, 5), np.float32)),
        (mirrors(2), np.empty((2, 4081), np.uint8)),
        (mirrors(2), np.empty(5, np.uint8)),
        (mirrors(2), [[0]]),
    ],
)
def test_bad_arrays(device, ins, out):
    with device, pytest.raises(ValueError, match=r"(ins|out) (has|is)"):
        device.transform2(ins, out, 0)


def test_features_and_their_mirrors_give_the_same(device):
    layout = MirrorLayout.lined((912, 1140), 1000)
    bits = np.random.default_rng(0).integers(0, 2, (4, 1000), dtype=np.uint8)
    with device:
        by_feature = device.project(MirrorPatterns(bits, layout), 4080)
        assert np.array_equal(device.transform1(layout.packed(bits)), by_feature)


def test_copies():
    device = OpuDevice("type2", 500, 400, 0, ((0, 500), (2040, 2)), 0, "mine")
    assert copy.copy(device) is device
    assert copy.deepcopy(device) is device
    device.exposure_us = 77
    for active in (False, True):
        if active:
            device.open()
        other = pickle.loads(pickle.dumps(device))
        assert other.active is active and other.exposure_us == 77 and other.output_roi == device.output_roi
        assert other.device_model == device.device_model and other.name == "mine"


def test_private_name_that_programs_write(device):
    device._OpuDevice__opu.nb_prelim = 1
    assert device._OpuDevice__opu.nb_prelim == 1


def test_versions_and_reserve(device):
    assert "aurora" in device.versions()
    device.reserve(3000)
    with pytest.raises(ValueError, match="n_images"):
        device.reserve(-1)


def test_unknown_type():
    with pytest.raises(ValueError, match="opu_type is 'type4'"):
        OpuDevice("type4")


def _python(code):
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=dict(os.environ)
    )


def test_an_acquisition_left_open_at_exit_is_silent():
    code = "from opusim.drivers import OPU\nimport numpy as np\no = OPU(10)\no.fit1d(n_features=10, online=True)"
    assert _python(code).stderr == ""


def test_import_is_light():
    code = (
        "import sys, opusim.drivers\n"
        "for name in ('numba', 'scipy', 'torch', 'sklearn', 'tqdm', 'h5py', 'matplotlib'):\n"
        "    assert name not in sys.modules, name\n"
        "opusim.drivers.OPU(10)\n"
        "assert 'numba' not in sys.modules"
    )
    _python(code)


def test_settings_of_a_frame_follow_each_setting(bench):
    """They are worked out once, and again when one is set."""
    device = OpuDevice(bench=bench, output_roi=((0, 10), (2040, 4)))
    first = device.exposure()
    assert device.exposure() is first and first.bench_roi == (10, 0, 4, 2040)
    assert (first.exposure_s, first.frametime_s) == (400e-6, 500e-6)
    device.exposure_us = 300
    assert device.exposure().exposure_us == 300
    device.frametime_us = 900
    assert device.exposure().frametime_us == 900
    device.output_roi = ((0, 0), (2040, 8))
    assert device.exposure().bench_roi == (0, 0, 8, 2040) and first.bench_roi == (10, 0, 4, 2040)


def test_region_of_lightonml_and_of_the_bench():
    roi = ((3, 10), (20, 4))
    assert Roi.from_lightonml(roi) == (10, 3, 4, 20) and Roi.from_lightonml(roi).as_lightonml == roi
