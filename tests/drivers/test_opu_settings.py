"""What an OPU is set to: exposure, frame time, region, configuration. Over a bench without optics."""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import numpy as np
import pytest

from opusim.drivers import OPU, InputRoiStrategy, OutputRescaling, settings


def bits(*shape):
    return (np.random.default_rng(0).random(shape) < 0.5).astype(np.uint8)


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


def test_config_is_a_dict_that_may_be_changed_in_place(opu):
    """A change anywhere in it is checked at the next fit or transform, which then says what is wrong with it."""
    x = bits(3, 100)
    y = opu.fit_transform1d(x)
    for copied in (dict(opu.config), copy.deepcopy(opu.config), pickle.loads(pickle.dumps(opu.config))):
        assert copied == opu.config and type(copied["output"]) is dict
    opu.config["output"]["exposure_us"] = 200
    opu.config["ones_range"][1] = 52_001
    assert opu.transform(x).context.exposure_us == y.context.exposure_us  # the fit's
    assert opu.fit_transform1d(x).context.exposure_us == int(200 / (y.context.n_ones / 52_001))
    for table, key, wrong, sentence in (
        (opu.config, "n_samples_by_pass", 0, "n_samples_by_pass is 0, but it must be a whole number of at least 1"),
        (opu.config, "exclusive", 0, "exclusive is 0 .int., but it must be True or False"),  # which equals what it was
        (opu.config["output"], "stdev", True, "output.stdev is True .bool., but it must be a number"),
        (opu.config["ones_range"], 0, "few", r"ones_range\[0\] is 'few'"),
    ):
        before, table[key] = table[key], wrong
        for call in (opu.transform, opu.fit1d):
            with pytest.raises((TypeError, ValueError), match=sentence):
                call(x)
        table[key] = before
    assert opu.transform(x).context.exposure_us > 0


def test_a_configuration_is_checked_when_it_changed_not_at_each_transform(opu, monkeypatch):
    x, checks = bits(3, 100), []
    opu.fit1d(x)
    check = settings.check_config
    monkeypatch.setattr(settings, "check_config", lambda *arguments: checks.append(1) or check(*arguments))
    for _ in range(3):
        opu.transform(x)
    assert not checks
    opu.config["n_samples_by_pass"] = 2
    for _ in range(3):
        opu.transform(x)
    assert len(checks) == 1


def test_bench_and_model_are_those_of_the_device(opu, bench):
    assert opu.bench is bench and opu.model is opu.device.device_model is bench.device


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


@pytest.mark.parametrize("path", ["input", "input.frametime_us", "output", "output.exposure_us", "ones_range", "type"])
def test_what_is_taken_out_of_the_configuration_is_named(make_opu, path):
    opu = make_opu()
    *tables, key = path.split(".")
    del (opu.config[tables[0]] if tables else opu.config)[key]
    with pytest.raises(ValueError, match=rf"^The configuration has no '{path}[a-z_.]*', but it must have one\.$"):
        opu.fit1d(n_features=100)


@pytest.mark.parametrize("table", ["input", "output"])
def test_a_table_of_the_configuration_that_is_none_is_named(make_opu, table):
    opu = make_opu()
    opu.config[table] = None
    with pytest.raises(TypeError, match=rf"^{table} of the configuration is None, but it must be a dict\.$"):
        opu.fit1d(n_features=100)


@pytest.mark.parametrize("key", ["name", "version", "location", "core_type", "core_version"])
def test_a_version_without_a_name_is_told(make_opu, key):
    opu = make_opu()
    del opu.config[key]
    with pytest.raises(ValueError, match=f"^The configuration has no '{key}', but it must have one"):
        opu.version()
