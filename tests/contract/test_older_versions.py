"""The real lightonml 1.3 and 1.4.1, which wrap `lightonopu.opu2_pybind` themselves.

They read their configuration before they load the driver, so that a program of theirs names it: `config_file`.
"""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import numpy as np
import pytest

from .conftest import VERSION

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lightonml.internal.types import InputRoiStrategy
    from lightonml.opu import OPU

FULL = {"input_roi_strategy": InputRoiStrategy.full}


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    monkeypatch.delenv("OPUSIM_DEVICE", raising=False)
    content = {
        "type": "type2",
        "name": f"unit-{tmp_path.name}",
        "version": "1",
        "location": "shelf",
        "core_type": "Nitro",
        "core_version": "2",
        "input": {"frametime_us": 500, "minimum_batch_size": 0},
        "output": {"exposure_us": 400, "minimum_output_size": 0},
        "ones_range": [52_000, 676_000],
        "n_samples_by_pass": 3000,
    }
    path = tmp_path / "opu.json"
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture
def opu(config_file):
    with OPU(200, config_file=config_file, **FULL) as opu:
        yield opu


def test_version():
    assert VERSION in ((1, 3), (1, 4, 1))


def test_counts_are_those_of_opusim(opu, bits):
    import opusim

    x = bits(20, 1000)
    with opusim.OPU(200) as ours:
        for call in (lambda o: o.fit_transform1d(x), lambda o: o.transform(x[:5]), lambda o: o.transform(x[2])):
            theirs = call(opu)
            assert theirs.dtype == np.uint8 and np.array_equal(theirs, call(ours))
    context = opu.transform(x).context
    assert (context.exposure_us, context.frametime_us, context.fmt_factor) == (400, 500, 1039)


def test_pictures(opu, bits):
    y = opu.fit_transform2d(bits(3, 28, 28))
    assert y.shape == (3, 200) and y.context.fmt_type.name == "macro_2d" and y.context.fmt_factor == 32


@pytest.mark.filterwarnings("ignore:As of version 1.2")
def test_first_names(opu, bits):
    if VERSION >= (1, 4):
        with pytest.raises(RuntimeError):
            opu.transform1d(bits(3, 100))
        return
    assert opu.transform1d(bits(3, 100)).shape == (3, 200)
    assert opu.transform2d(bits(3, 10, 10)).shape == (3, 200)


def test_packed(opu, bits):
    y = opu.fit_transform1d(np.packbits(bits(3, 104), axis=1), packed=True)
    assert y.shape == (3, 200) and y.context.fmt_factor == 912 * 1140 // 104


def test_online(opu, bits):
    x = bits(4, 1000)
    opu.fit1d(x)
    whole = opu.transform(x)
    opu.fit1d(x, online=True)
    assert opu.device.acq_state.name == "online"
    rows = np.stack([opu.transform(row) for row in x])
    assert np.corrcoef(rows.ravel(), whole.ravel())[0, 1] > 0.95
    with pytest.raises(AssertionError):
        opu.transform(x)


def test_tensors(opu, bits):
    torch = pytest.importorskip("torch")
    assert opu.fit_transform1d(torch.from_numpy(bits(3, 100)).bool()).dtype == torch.uint8


def test_close_pickle_and_deepcopy(opu, bits):
    x = bits(3, 100)
    opu.fit1d(x, exposure_us=300)
    opu.close()
    assert opu.device.exposure_us == 300 and opu.device.acq_state is None
    with pytest.raises(AssertionError):
        opu.transform(x)
    opu.open()
    assert opu.transform(x).context.exposure_us == 300
    assert copy.deepcopy(opu.device) is opu.device
    again = pickle.loads(pickle.dumps(opu))
    assert not opu.device.active and again.device.active
    assert again.transform(x).shape == (3, 200)
    again.close()


@pytest.mark.skipif(VERSION < (1, 4), reason="lightonml before 1.4 has no linear transform of intensities")
def test_linear(opu, bits):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, (5, 300), dtype=np.uint8)
    b = rng.integers(0, 2, (5, 300), dtype=np.uint8) * (1 - a)
    opu.fit1d(n_features=300)
    y = np.asarray(opu.linear_transform(np.concatenate([a, b, a + b])))
    rest = y[10:] - y[:5] - y[5:10]
    assert np.median(np.abs(rest)) < 0.5 * np.median(np.abs(y[10:]))


def test_region_may_be_found(config_file, bits):
    with OPU(200, config_file=config_file, input_roi_strategy=InputRoiStrategy.auto) as opu:
        x = np.zeros((2, 1000), dtype=np.uint8)
        x[:, 0] = 1
        assert opu.fit_transform1d(x).context.n_ones >= 52_000


def test_simulator(bits):
    from lightonml.internal.simulated_device import SimulatedOpuDevice

    opu = OPU(50, SimulatedOpuDevice(), 100)
    opu.fit1d(n_features=100)
    assert opu.transform(bits(3, 100)).dtype == np.float32


def test_version_text(opu):
    text = opu.version()
    assert "lightonml version 1." in text and ("1.4.3+opusim" in text or VERSION < (1, 4))
