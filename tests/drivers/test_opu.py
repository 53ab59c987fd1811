"""What OPU does with good input, over a bench without optics."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
import threading
import warnings

import numpy as np
import pytest

from opusim.drivers import (
    OPU,
    AcqState,
    ContextArray,
    FeaturesFormat,
    InputRoiStrategy,
    NotReadyError,
    OpuDevice,
    OutputRescaling,
)

torch = pytest.importorskip("torch")


def bits(*shape, seed=0, p=0.5):
    return (np.random.default_rng(seed).random(shape) < p).astype(np.uint8)


# ---------------------------------------------------------------- shapes, types, layouts in memory


@pytest.mark.parametrize("shape", [(100,), (1, 100), (7, 100), (2, 3, 100), (1, 1, 100)])
def test_output_shape_1d(opu, shape):
    y = opu.fit_transform1d(bits(*shape))
    assert y.shape == shape[:-1] + (100,)
    assert type(y) is ContextArray and y.dtype == np.uint8


@pytest.mark.parametrize("shape", [(10, 12), (1, 10, 12), (7, 10, 12), (2, 3, 10, 12)])
def test_output_shape_2d(opu, shape):
    y = opu.fit_transform2d(bits(*shape))
    assert y.shape == shape[:-2] + (100,)
    assert y.context.fmt_type is FeaturesFormat.macro_2d


def test_a_row_gives_the_same_alone_and_in_any_batch(make_opu):
    x = bits(12, 100)
    opu = make_opu(config_override={"n_samples_by_pass": 5})
    opu.fit1d(x)
    whole = opu.transform(x)
    assert np.array_equal(opu.transform(x.reshape(3, 4, 100)).reshape(12, 100), whole)
    assert np.array_equal(np.stack([opu.transform(row) for row in x]), whole)
    assert np.array_equal(opu.transform(x[3:4])[0], whole[3])


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int64", "uint32", "float16", "float32", "float64"]
)
def test_any_type_that_holds_zeros_and_ones(opu, dtype):
    x = bits(5, 100)
    assert np.array_equal(opu.fit_transform1d(x.astype(dtype)), opu.fit_transform1d(x))


def test_memory_layouts_and_lists(opu):
    x = bits(6, 4, 100)
    opu.fit1d(x)
    expected = opu.transform(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    padded = np.zeros((6, 4, 200), dtype=np.uint8)
    padded[..., ::2] = x
    for other in (frozen, np.asfortranarray(x), padded[..., ::2], x[::-1][::-1], x.tolist(), x.astype(bool)):
        assert np.array_equal(opu.transform(other), expected)
    assert x.flags.writeable
    pictures = bits(5, 10, 12)
    opu.fit2d(pictures)
    turned = np.ascontiguousarray(pictures.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert np.array_equal(opu.transform(turned), opu.transform(pictures))


def test_the_input_is_not_copied(opu, bench, monkeypatch):
    x = bits(5, 100)
    seen = []
    original = bench.transform
    monkeypatch.setattr(bench, "transform", lambda p, **k: (seen.append(p.bits), original(p, **k))[1])
    opu.fit_transform1d(x)
    opu.fit_transform1d(x.astype(bool).view(np.uint8))
    assert np.shares_memory(seen[0], x)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "bfloat16"])
def test_tensor_in_tensor_out(opu, dtype):
    x = torch.from_numpy(bits(5, 100)).to(getattr(torch, dtype))
    y = opu.fit_transform1d(x)
    assert isinstance(y, torch.Tensor) and y.dtype == torch.uint8 and y.shape == (5, 100)
    assert np.array_equal(y.numpy(), opu.fit_transform1d(bits(5, 100)))


def test_tensor_that_needs_a_gradient(opu):
    x = torch.from_numpy(bits(5, 100)).float().requires_grad_()
    assert not opu.fit_transform1d(x).requires_grad


def test_counts_of_cameras_with_more_bits():
    from opusim.config import Device

    with OPU(50, device=Device.load("aurora").evolve(**{"camera.bits": 12})) as opu:
        assert opu.device.output_dtype == np.uint16


# ---------------------------------------------------------------- packed


def test_packed_is_what_packbits_makes(opu):
    x = bits(7, 104)
    expected = opu.fit_transform1d(x)
    packed = np.packbits(x, axis=1)
    y = opu.fit_transform1d(packed, packed=True)
    assert np.array_equal(y, expected) and y.context.n_ones == expected.context.n_ones
    opu.fit1d(n_features=104, packed=True)
    assert np.array_equal(opu.transform(packed[2]), expected[2])


def test_packed_2d_with_spare_bits(opu):
    x = bits(7, 9, 11)
    expected = opu.fit_transform2d(x)
    packed = np.packbits(x.reshape(7, -1), axis=1)
    packed[:, -1] |= 1  # bits behind the last feature mean nothing
    y = opu.fit_transform2d(packed, packed=True, n_2d_features=(9, 11))
    assert np.array_equal(y, expected) and y.context.n_ones == expected.context.n_ones
    opu.fit2d(packed, n_features=(9, 11), packed=True)
    assert np.array_equal(opu.transform(packed), expected)


def test_as_many_features_as_mirrors(opu):
    x = bits(2, 912, 1140)
    y = opu.fit_transform2d(x)
    assert (y.context.fmt_type, y.context.fmt_factor) == (FeaturesFormat.none, 0)
    assert y.context.n_ones == round(float(x.mean(dtype=float) * x[0].size)) or y.context.n_ones == int(x.sum() / 2)
    assert np.array_equal(opu.fit_transform1d(x.reshape(2, -1)), y)
    # a picture of the array's own size comes as (columns, rows); packed mirrors come as the electronics takes them
    assert np.array_equal(opu.fit_transform2d(np.ascontiguousarray(x.transpose(0, 2, 1))), y)
    packed = np.packbits(x.reshape(2, -1), axis=1, bitorder="little")
    assert np.array_equal(opu.fit_transform1d(packed, packed=True), y)


# ---------------------------------------------------------------- context


def test_context_says_everything(make_opu, bench):
    opu = make_opu(10_000)
    x = np.tile([0, 1], (3, 5000)).astype(bool)
    before = dt.datetime.now()
    y = opu.fit_transform1d(x)
    c = y.context
    assert (c.exposure_us, c.frametime_us, c.gain) == (400, 500, 0.0)
    assert (c.output_roi_upper, c.output_roi_shape) == ((0, 541), (2040, 5))
    assert (c.input_roi_upper, c.input_roi_shape) == ((0, 0), (912, 1140))
    assert (c.fmt_type, c.fmt_factor, c.n_ones) == (FeaturesFormat.lined, 103, 515_000)
    assert before <= c.start <= c.end <= dt.datetime.now()
    assert bench.calls[-1] == {
        "n": 3, "exposure_s": 400e-6, "roi": (541, 0, 5, 2040), "n_pixels": 10_000, "frametime_s": 500e-6
    }  # fmt: skip
    assert opu.transform(x[0]).context.end is not None
    assert y[1:].context is c and (y * 2).context is c


def test_region_of_900_by_900_shows_its_padding(opu):
    y = opu.fit_transform2d(np.tile([0, 1], (900, 450)).astype(np.uint8))
    assert (y.context.n_ones, y.context.fmt_factor) == (634_680, 1)
    assert (y.context.input_roi_upper, y.context.input_roi_shape) == ((6, 120), (900, 900))


# ---------------------------------------------------------------- exposure and frame time


def test_too_many_ones_shorten_the_exposure(opu):
    opu.fit1d(np.ones((2, 1000), dtype=bool))
    n_on = 1000 * 1039
    assert opu.device.exposure_us == int(400 / (n_on / 676_000)) == 260
    opu.fit1d(n_features=1000)  # without data: the base
    assert opu.device.exposure_us == 400
    opu.fit2d(np.ones((28, 28), dtype=bool))  # squares and padding count in full: every mirror is on
    assert opu.device.exposure_us == int(400 / (1_039_680 / 676_000)) == 260


def test_the_count_takes_every_row(opu):
    x = np.zeros((4000, 100), dtype=bool)
    x[::2] = True
    assert opu.fit_transform1d(x).context.n_ones == 100 * 10396 // 2


def test_too_few_ones_warn_and_auto_finds_a_region(make_opu):
    x = np.zeros((2, 1000), dtype=np.uint8)
    x[:, 0] = 1
    opu = make_opu()
    with pytest.warns(UserWarning, match="1039 mirrors on.*52000"):
        opu.fit1d(x)
    auto = make_opu(input_roi_strategy="auto")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = auto.fit_transform1d(x)
    assert y.context.input_roi_shape == (889, 1111) and y.context.n_ones >= 52_000
    auto.fit1d(n_features=1000)  # no data: full
    assert auto.transform(x).context.input_roi_shape == (912, 1140)


def test_only_zeros_warn_even_if_margins_are_on(opu):
    for fit, x in ((opu.fit1d, np.zeros((2, 100), bool)), (opu.fit2d, np.zeros((2, 8, 8), bool))):
        with pytest.warns(UserWarning, match="X holds only zeros"):
            fit(x)


def test_warnings_point_at_the_line_of_the_user(make_opu):
    x = np.eye(20, dtype=np.uint8)
    for call in (make_opu().fit1d, make_opu().transform, make_opu().fit_transform1d, make_opu().transform1d):
        with pytest.warns(UserWarning, match="too sparse") as record:
            call(x)
        assert [w.filename for w in record] == [__file__]


def test_overrides(make_opu, bench):
    opu = make_opu()
    x = bits(3, 100)
    y = opu.fit_transform1d(x, exposure_us=300, frametime_us=900)
    assert (y.context.exposure_us, y.context.frametime_us) == (300, 900)
    y = opu.fit_transform1d(x, exposure_us=2000)
    assert (y.context.exposure_us, y.context.frametime_us) == (2000, 2050)
    y = opu.fit_transform1d(x, exposure_us=2000, frametime_us=600)  # a camera that is not ready cannot be triggered
    assert (y.context.exposure_us, y.context.frametime_us) == (2000, 2050)
    y = opu.fit_transform1d(x, input_roi=((10, 20), (30, 40)))
    assert (y.context.input_roi_upper, y.context.input_roi_shape, y.context.fmt_factor) == ((10, 20), (30, 40), 12)
    y = opu.fit_transform1d(x, input_roi_strategy=InputRoiStrategy.small)
    assert y.context.input_roi_shape == (10, 10) and opu.input_roi_strategy is InputRoiStrategy.full
    assert opu.fit_transform1d(x, raw_output_size=True).shape == (3, 2040)
    assert np.array_equal(opu.fit_transform1d(x, n_components=60), opu.fit_transform1d(x)[:, :60])
    with pytest.warns(UserWarning, match="overridden"):
        opu.fit1d(np.ones((2, 100), dtype=bool), exposure_us=400)


def test_readout_of_many_rows_lengthens_the_frame(make_opu):
    opu = make_opu(2_219_520)
    opu.fit1d(n_features=100)
    readout = opu.device.output_readout_us
    assert readout == 2942 and opu.device.frametime_us == readout + 50
    opu.n_components = 100
    assert opu.device.frametime_us == 500


def test_exposure_set_on_the_device_is_used(opu, bench):
    x = bits(3, 100)
    opu.fit1d(x)
    opu.device.exposure_us = 123
    assert opu.transform(x).context.exposure_us == 123 and bench.calls[-1]["exposure_s"] == pytest.approx(123e-6)
    opu.device.exposure_us = 2000
    assert opu.transform(x).context.frametime_us == 2050


# ---------------------------------------------------------------- n_components, several OPUs, threads


def test_n_components_can_be_set_after_a_fit(opu):
    x = bits(3, 100)
    opu.fit1d(x)
    for n in (50, 5000, np.int64(7), 100):
        opu.n_components = n
        assert opu.n_components == n and type(opu.n_components) is int
        assert opu.transform(x).shape == (3, n)
    assert opu.max_n_components == 2040 * 1088


def test_two_opus_share_a_device(bench):
    device = OpuDevice(bench=bench)
    narrow, wide = OPU(100, opu_device=device), OPU(5000, opu_device=device)
    x = bits(3, 100)
    narrow.fit1d(x, exposure_us=100)
    a = narrow.transform(x)
    wide.fit1d(x, exposure_us=200)
    b = wide.transform(x)
    again = narrow.transform(x)
    assert np.array_equal(again, a) and again.context.exposure_us == 100
    assert np.array_equal(wide.transform(x), b) and b.shape == (3, 5000)
    assert np.array_equal(narrow.transform(x), a)
    third = OPU(9000, opu_device=device)  # choosing a region is enough to disturb the others
    assert np.array_equal(narrow.transform(x), a)
    third.n_components = 20_000
    assert np.array_equal(narrow.transform(x), a)


def test_a_fit_that_another_thread_replaced_shows_its_own_settings(opu):
    x = bits(3, 100)
    opu.fit1d(x, exposure_us=100)
    first = opu._fit
    opu.fit1d(x, exposure_us=200)
    assert opu._claim(first)[0].exposure_us == 100
    assert opu.transform(x).context.exposure_us == 200


def test_threads(opu):
    x = bits(40, 100)
    opu.fit1d(x)
    expected = opu.transform(x)
    failures = []

    def work():
        for _ in range(20):
            if not np.array_equal(opu.transform(x), expected):
                failures.append("differs")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures and opu.device.acq_state is AcqState.stopped


def test_passes_leave_nothing_out(make_opu, bench):
    opu = make_opu(config_override={"n_samples_by_pass": 4})
    x = bits(10, 100)
    y = opu.fit_transform1d(x)
    assert [call["n"] for call in bench.calls] == [4, 4, 2]
    opu.config["n_samples_by_pass"] = 3000
    assert np.array_equal(opu.transform(x), y) and bench.calls[-1]["n"] == 10


def test_progress_bar_only_on_request(make_opu, capsys):
    x = bits(10, 100)
    make_opu().fit_transform1d(x)
    make_opu(verbose_level=1, disable_pbar=True).fit_transform1d(x)
    make_opu(verbose_level=1).fit_transform1d(x[0])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""
    make_opu(verbose_level=1, config_override={"n_samples_by_pass": 3}).fit_transform1d(x)
    assert "10/10" in capsys.readouterr().err


# ---------------------------------------------------------------- both generations


def test_one_call_interface(opu):
    x, pictures = bits(4, 100), bits(4, 10, 10)
    assert np.array_equal(opu.transform1d(x), opu.fit_transform1d(x))
    assert np.array_equal(opu.transform2d(pictures), opu.fit_transform2d(pictures))


def test_transform_fits_if_nothing_was_fitted(make_opu):
    x = bits(4, 100)
    assert np.array_equal(make_opu().transform(x), make_opu().fit_transform1d(x))


def test_old_arguments_are_accepted():
    opu = OPU(100, None, 500, "", None, 0, features_fmt="lined", dmd_strategy=2, simulated=True, open_at_init=False)
    assert opu.max_n_features == 912 * 1140
    opu.max_n_features = 2000
    with pytest.raises(ValueError, match="max_n_features"):
        opu.max_n_features = 2_000_000
    with pytest.raises(AttributeError, match="max_n_features"):
        OPU(100, open_at_init=False).max_n_features = 10


class Doubling:
    """An encoder that says each feature twice."""

    def __init__(self, times=2):
        self.times = times

    def transform(self, x):
        return x.repeat(1, self.times) if isinstance(x, torch.Tensor) else np.tile(x, self.times)

    def get_params(self):
        return {"times": self.times}


class Cutting:
    """A decoder that returns the first components."""

    def __init__(self, times=5):
        self.times = times

    def transform(self, y):
        return y[:, : self.times]


def test_encoders_and_decoders(opu):
    x = bits(4, 50)
    opu.fit1d(n_features=100)
    expected = opu.transform(np.tile(x, 2))
    assert np.array_equal(opu.transform(x, Doubling), expected)
    assert np.array_equal(opu.transform(x, encoder_cls=Doubling(2), decoder_cls=Cutting(7)), expected[:, :7])
    y = opu.transform(x, Doubling, Cutting)
    assert y.shape == (4, 2) and y.context is not None  # the class is made with the encoder's parameters
    assert isinstance(opu.transform(torch.from_numpy(x), Doubling, Cutting), torch.Tensor)


# ---------------------------------------------------------------- open, closed, online


def test_open_close_and_with(make_opu):
    opu = make_opu(open_at_init=False)
    assert not opu.device.active
    with opu:
        assert opu.device.active
        with opu:
            pass
        assert opu.device.active
    assert not opu.device.active
    opu.open()
    opu.open()
    opu.fit1d(bits(3, 100))
    with opu:
        pass
    assert opu.device.active  # it was open before
    opu.close()
    opu.close()
    with pytest.raises(NotReadyError, match="open"):
        opu.transform(bits(3, 100))
    opu.open()
    assert opu.transform(bits(3, 100)).shape == (3, 100)  # the fit is kept


def test_online(opu):
    x = bits(4, 100)
    opu.fit1d(x)
    expected = opu.transform(x)
    opu.fit1d(x, online=True)
    assert opu.device.acq_state is AcqState.online
    assert np.array_equal(opu.transform(x[0]), expected[0]) and opu.transform(x[:1]).shape == (1, 100)
    for error in (RuntimeError, AssertionError):
        with pytest.raises(error, match="single vectors"):
            opu.transform(x)
    opu.fit1d(x)
    assert opu.device.acq_state is AcqState.stopped and np.array_equal(opu.transform(x), expected)
    opu.fit1d(x, online=True)
    opu.close()
    assert opu.device.acq_state is None


def test_online_can_be_missing(make_opu):
    opu = make_opu(config_override={"no_single_transform": True})
    with pytest.raises(RuntimeError, match="no online mode"):
        opu.fit1d(bits(3, 100), online=True)


def test_interrupt_leaves_it_usable(make_opu, bench):
    opu = make_opu(config_override={"n_samples_by_pass": 3})
    x = bits(10, 100)
    expected = opu.fit_transform1d(x)
    bench.interrupt_at = len(bench.calls) + 2
    with pytest.raises(KeyboardInterrupt):
        opu.transform(x)
    assert opu.device.acq_state is AcqState.stopped
    assert np.array_equal(opu.transform(x), expected)


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("active", [False, True])
def test_pickle(active, online):
    opu = OPU(100, seed=5, config_override={"ones_range": [10, 600_000]}, input_roi_strategy="small")
    opu.fit1d(bits(3, 100), online=online)
    if not active:
        opu.close()
    data = pickle.dumps(opu)
    assert len(data) < 20_000  # settings, no matrix
    other = pickle.loads(data)
    assert opu.device.active is active and other.device.active is active
    assert other.device is not opu.device and other.device.seed == 5
    assert other.config == opu.config and other.input_roi_strategy is InputRoiStrategy.small
    assert other.n_components == 100 and other._fit == opu._fit
    if active:
        assert other.device.acq_state is (AcqState.online if online else AcqState.stopped)


def test_deepcopy_shares_the_device_and_nothing_else(opu):
    x = bits(3, 100)
    opu.fit1d(x)
    expected = opu.transform(x)
    other = copy.deepcopy(opu)
    assert other.device is opu.device and other.config is not opu.config
    other.n_components = 3000
    other.fit1d(bits(3, 64))
    assert other.transform(bits(3, 64)).shape == (3, 3000)
    assert opu.n_components == 100 and np.array_equal(opu.transform(x), expected)


def test_context_survives_pickle_and_copy(opu):
    y = opu.fit_transform1d(bits(3, 100))
    for other in (pickle.loads(pickle.dumps(y)), copy.deepcopy(y), y.copy()):
        assert np.array_equal(other, y) and other.context == y.context


# ---------------------------------------------------------------- configuration


def test_config_is_shaped_as_a_real_device_s(opu):
    c = opu.config
    assert c["type"] == "type2" and c["name"] == "aurora"
    assert c["input"] == {"frametime_us": 500, "minimum_batch_size": 0}
    assert c["output"] == {"exposure_us": 400, "allowed_roi": None, "minimum_output_size": 0, "stdev": 1.0}
    assert (c["n_samples_by_pass"], c["n_transform_tries"], c["sequence_nb_prelim"]) == (3000, 5, 0)
    json.dumps(c)


def test_config_file_and_override(tmp_path, make_opu):
    path = tmp_path / "opu.json"
    path.write_text(json.dumps({"name": "mine", "output": {"exposure_us": 200, "minimum_output_size": 130560}, "x": 1}))
    opu = make_opu(config_file=str(path), config_override={"output": {"exposure_us": 250}, "ones_range": [0, 400_000]})
    assert opu.config["output"]["exposure_us"] == 250 and opu.config["input"]["frametime_us"] == 500
    assert opu.config["x"] == 1  # files of real devices hold more than we read
    y = opu.fit_transform1d(bits(3, 100))
    assert y.context.output_roi_shape == (2040, 64) and y.context.exposure_us < 250
    assert "OPU mine-" in opu.version()
    direct = OPU(100, config_file=path, open_at_init=False)
    assert direct.device.exposure_us == 200 and direct.device.name == "mine"


def test_allowed_roi(make_opu):
    opu = make_opu(config_override={"output": {"allowed_roi": [[0, 0], [2040, 100]]}})
    assert opu.max_n_components == 204_000
    assert opu.fit_transform1d(bits(2, 100)).context.output_roi_upper == (0, 49)


def test_the_given_file_can_be_read(tmp_path, make_opu):
    path = tmp_path / "opu.json"
    path.write_text("{}")
    assert make_opu(config_file=path).config_file == path and make_opu().config_file == ""


def test_repr(opu):
    assert repr(opu) == "OPU(n_components=100, device='aurora', seed=0, open, no fit)"
    opu.fit1d(n_features=100)
    assert repr(opu).endswith("open, n_features=100)")
    opu.fit2d(n_features=(28, 20))
    opu.close()
    assert repr(opu).endswith("closed, n_features=(28, 20))")


def test_version(opu):
    assert opu.version().splitlines()[1].startswith("opusim version ")
    assert "seed 0" in opu.version(devices=True)


def test_rescale_and_strategy_by_name(make_opu):
    opu = make_opu(rescale="NORM", input_roi_strategy="small")
    assert opu.rescale is OutputRescaling.norm and opu.input_roi_strategy is InputRoiStrategy.small
    opu.rescale = OutputRescaling.none
    assert opu.rescale is OutputRescaling.none
