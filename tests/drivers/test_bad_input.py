"""Bad input: a sentence that names the argument, its value and what is allowed, and an OPU that can be used on."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from opusim.drivers import OPU, NotReadyError, OpuDevice, TooManyComponentsError

fast = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GOOD = (np.arange(300).reshape(3, 100) % 2).astype(np.uint8)


def assert_usable(opu):
    opu.open()
    assert opu.fit_transform1d(GOOD).shape == (3, opu.n_components)


def refused(call, *words, kind=(TypeError, ValueError)):
    """Check that a call fails with a sentence that holds every word."""
    with pytest.raises(kind) as error:
        call()
    text = str(error.value)
    for word in words:
        assert word in text, text
    assert text.endswith((".", ")")), text
    return text


# ---------------------------------------------------------------- values


@fast
@given(
    st.sampled_from(["float32", "float64", "int16", "uint8"]),
    st.integers(0, 2),
    st.integers(0, 99),
    st.floats(width=32).filter(lambda v: v not in (0, 1)),
)
def test_a_single_value_that_is_not_binary_is_found(opu, dtype, row, column, value):
    x = GOOD.astype(dtype)
    if np.dtype(dtype).kind in "iu":
        value = 2 + int(abs(value)) % 200 if np.isfinite(value) else 2
    x[row, column] = value
    opu.fit1d(GOOD)
    for call in (lambda: opu.transform(x), lambda: opu.fit1d(x), lambda: opu.fit_transform1d(x)):
        refused(call, "X", "binary", f"X[{row}, {column}] is ", "0 and 1", kind=ValueError)
    assert opu.transform(GOOD).shape == (3, 100)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.5, -1.0, 2.0])
def test_every_row_of_a_large_batch_is_looked_at(opu, value):
    x = np.zeros((20_000, 100), dtype=np.float32)
    x[12_345, 67] = value
    refused(lambda: opu.fit_transform1d(x), "X[12345, 67]", str(value), kind=ValueError)
    assert_usable(opu)


def test_negative_integers(opu):
    x = GOOD.astype(np.int8)
    x[1, 2] = -1
    refused(lambda: opu.fit_transform1d(x), "X[1, 2] is -1")
    pictures = x.reshape(3, 10, 10)
    refused(lambda: opu.fit_transform2d(pictures), "X[1, 0, 2] is -1")
    assert_usable(opu)


# ---------------------------------------------------------------- types


@pytest.mark.parametrize(
    "x",
    [
        GOOD.astype(object),
        GOOD.astype(str),
        GOOD.astype(complex),
        GOOD.astype("datetime64[s]"),
        "0101",
        {"a": 1},
        [[0, 1], [1]],
        pytest.param(object(), id="an object"),
        None,
    ],
    ids=str,
)
def test_wrong_types(opu, x):
    opu.fit1d(GOOD)
    for error in (TypeError, ValueError):  # both can be caught
        refused(lambda: opu.transform(x), "X", kind=error)
        refused(lambda: opu.fit_transform1d(x), "X", kind=error)
    assert opu.transform(GOOD).shape == (3, 100)


def test_sparse_matrices_and_none_get_a_hint(opu):
    sparse = pytest.importorskip("scipy.sparse")
    for x in (sparse.csr_matrix(GOOD), sparse.coo_array(GOOD)):
        refused(lambda x=x: opu.fit_transform1d(x), f"X is a sparse {type(x).__name__}", "use .toarray()")
    opu.fit1d(GOOD)
    refused(lambda: opu.transform(None), "X is None", "array of 0 and 1")
    assert_usable(opu)


@pytest.mark.parametrize("name", ["encoder_cls", "decoder_cls"])
@pytest.mark.parametrize("value", ["separated", 3, int, np.tanh], ids=str)
def test_coders_of_the_wrong_kind(opu, bench, name, value):
    opu.fit1d(GOOD)
    refused(lambda: opu.transform(GOOD, **{name: value}), f"{name} is {value!r}", "a method transform", kind=TypeError)
    assert bench.clock.frames == 0
    assert_usable(opu)


def test_packed_must_be_bytes(opu):
    refused(lambda: opu.fit_transform1d(GOOD.astype(np.int64), packed=True), "packed", "uint8")
    refused(lambda: opu.fit_transform1d(GOOD, packed="yes"), "packed is 'yes'", "True or False")
    refused(lambda: opu.fit_transform2d(GOOD, packed=True), "n_features is None")
    assert_usable(opu)


# ---------------------------------------------------------------- shapes


@fast
@given(hnp.array_shapes(min_dims=0, max_dims=5, max_side=4))
def test_any_other_shape_is_refused(opu, shape):
    opu.fit1d(GOOD)
    x = np.zeros(shape, dtype=np.uint8)
    refused(lambda: opu.transform(x), f"X has shape {shape}", "(100,)", kind=ValueError)
    assert opu.transform(GOOD).shape == (3, 100)
    opu.fit2d(n_features=(5, 20))
    refused(lambda: opu.transform(x), f"X has shape {shape}", "(5, 20)", kind=ValueError)


@pytest.mark.parametrize("shape", [(0, 100), (2, 0, 100), (0, 3, 100)])
def test_a_batch_without_vectors(opu, bench, shape):
    x, images = np.zeros(shape, np.uint8), np.zeros((*shape[:-1], 10, 10), np.uint8)
    packed = np.zeros((*shape[:-1], 13), np.uint8)
    one, two = (f"X has shape {a.shape}, but it must hold at least one vector" for a in (x, images))
    for call in (opu.fit1d, opu.transform, opu.fit_transform1d, opu.transform1d):
        refused(lambda call=call: call(x), one, kind=ValueError)
    for call in (opu.fit2d, opu.fit_transform2d, opu.transform2d):
        refused(lambda call=call: call(images), two, kind=ValueError)
    refused(lambda: opu.fit_transform1d(packed, packed=True), f"X has shape {packed.shape}", "at least one vector")
    opu.fit1d(GOOD)
    refused(lambda: opu.transform(x), one, kind=ValueError)
    assert bench.clock.frames == 0
    assert_usable(opu)


def test_dimensions(opu):
    refused(lambda: opu.fit_transform1d(np.uint8(1)), "X has shape ()")
    refused(lambda: opu.fit_transform2d(GOOD[0]), "X has shape (100,)", "two dimensions")
    refused(lambda: opu.fit_transform1d(np.zeros((1, 2, 3, 4), np.uint8)), "(1, 2, 3, 4)")
    refused(lambda: opu.fit_transform2d(np.zeros((1, 2, 3, 4, 5), np.uint8)), "(1, 2, 3, 4, 5)")
    refused(lambda: opu.fit_transform1d(np.zeros((3, 0), np.uint8)), "at least one feature")
    refused(lambda: opu.fit_transform1d(np.zeros((3, 0), np.uint8), packed=True), "n_features")
    assert_usable(opu)


@pytest.mark.parametrize("n", [1_039_681, 10**9])
def test_too_many_features(opu, n):
    refused(lambda: opu.fit1d(n_features=n), f"n_features is {n}, ", "1039680", kind=ValueError)
    refused(lambda: opu.fit2d(n_features=(n, 2)), "n_features", "1039680", kind=ValueError)
    assert_usable(opu)


@pytest.mark.parametrize("n", [0, -1, 2.5, "ten", True, (1, 2, 3), None, np.nan])
def test_bad_n_features(opu, n):
    refused(lambda: opu.fit1d(n_features=n), "n_features")
    refused(lambda: opu.fit2d(n_features=(n, 3) if n is not None else None), "n_features")
    assert_usable(opu)


def test_n_features_of_the_wrong_kind(opu):
    refused(lambda: opu.fit1d(n_features=(3, 4)), "fit1d takes one")
    refused(lambda: opu.fit2d(n_features=12), "fit2d takes two")
    refused(lambda: opu.fit1d(GOOD, n_features=99), "n_features is 99", "X has 100 features")
    refused(lambda: opu.fit2d(n_features=(2000, 30)), "must fit on the 912 x 1140")
    refused(lambda: opu.fit2d(n_features=(456, 2280)), "plain")
    opu.fit1d(GOOD, n_features=100)


# ---------------------------------------------------------------- components


@pytest.mark.parametrize("n", [0, -5, 2.0, 1e3, "many", None, True, np.nan, [100]])
def test_bad_n_components(opu, n):
    refused(lambda: setattr(opu, "n_components", n), "n_components", "whole number")
    refused(lambda: OPU(n, open_at_init=False), "n_components", "whole number")
    if n is not None:
        refused(lambda: opu.fit1d(GOOD, n_components=n), "n_components", "whole number")
    assert opu.n_components == 100
    assert_usable(opu)


def test_too_many_components(opu):
    for error in (ValueError, IndexError, TooManyComponentsError):
        refused(lambda: setattr(opu, "n_components", 2_219_521), "n_components is 2219521", "2219520", kind=error)
    opu.fit1d(GOOD, n_components=3000)
    refused(lambda: opu.transform(GOOD), "n_components is 3000", "2040 pixels")
    assert_usable(opu)


# ---------------------------------------------------------------- state


def test_closed(opu):
    opu.fit1d(GOOD)
    opu.close()
    for error in (RuntimeError, AssertionError, NotReadyError):
        for call in (lambda: opu.transform(GOOD), lambda: opu.fit1d(GOOD), lambda: opu.device.output_readout_us):
            with pytest.raises(error, match="isn't active.*open"):
                call()
    assert opu.n_components == 100 and opu.device.exposure_us == 400
    opu.n_components = 200
    assert_usable(opu)


def test_a_fit_that_fails_leaves_the_fit_before(opu):
    opu.fit1d(GOOD, exposure_us=111, online=True)
    expected = opu.transform(GOOD[0])
    for call in (
        lambda: opu.fit1d(np.full((2, 5), 7)),
        lambda: opu.fit1d(n_features=10**8),
        lambda: opu.fit1d(GOOD, exposure=5),
        lambda: opu.fit1d(GOOD, input_roi=((0, 0), (3, 3))),
        lambda: setattr(opu, "n_components", -1),
    ):
        refused(call)
    again = opu.transform(GOOD[0])
    assert np.array_equal(again, expected) and again.context.exposure_us == 111
    assert opu.device.acq_state.name == "online"


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"exposure": 5}, ("'exposure'", "'exposure_us'")),
        ({"nonsense": 5}, ("'nonsense'", "input_roi")),
        ({"exposure_us": -5}, ("exposure_us is -5",)),
        ({"exposure_us": "long"}, ("exposure_us is 'long'",)),
        ({"frametime_us": float("nan")}, ("frametime_us is nan",)),
        ({"input_roi": ((0, 0), (913, 1))}, ("input_roi is", "912 x 1140")),
        ({"input_roi": ((0, 0), (9, 9))}, ("input_roi is", "do not fit")),
        ({"input_roi": 5}, ("input_roi is 5",)),
        ({"raw_output_size": "yes"}, ("raw_output_size is 'yes'",)),
        ({"input_roi_strategy": "fullest"}, ("input_roi_strategy is 'fullest'", "InputRoiStrategy.full")),
    ],
)
def test_bad_overrides(opu, override, words):
    refused(lambda: opu.fit1d(GOOD, **override), *words)
    assert_usable(opu)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rescale": "best"}, ("rescale is 'best'", "variance", "norm", "none")),
        ({"rescale": 3}, ("rescale is 3",)),
        ({"input_roi_strategy": "large"}, ("input_roi_strategy is 'large'", "small")),
        ({"input_roi_strategy": None}, ("input_roi_strategy is None",)),
        ({"verbose_level": "high"}, ("verbose_level is 'high'",)),
        ({"seed": -1}, ("seed is -1",)),
        ({"seed": 1.5}, ("seed is 1.5",)),
        ({"seed": "zero"}, ("seed is 'zero'",)),
        ({"seed": None}, ("seed is None",)),
        ({"resolution": "pixels"}, ("resolution is 'pixels'", "'mirrors'")),
        ({"execution": "fast"}, ("execution is 'fast'", "'waves'")),
        ({"memory_budget": 0}, ("memory_budget is 0",)),
        ({"device": "aurorra"}, ("aurorra", "'aurora'")),
        ({"device": 7}, ("device is 7",)),
        ({"device": "no/such.toml"}, ("no/such.toml",)),
        ({"opu_device": "aurora"}, ("opu_device is 'aurora'", "device=")),
        ({"config_file": "/no/such.json"}, ("config_file is '/no/such.json'",)),
        ({"config_file": 5}, ("config_file is 5",)),
        ({"config_override": 5}, ("config_override is 5",)),
        ({"config_override": {"ones_rangee": 1}}, ("'ones_rangee'", "near", "'ones_range'")),
        ({"config_override": {"output": {"exposure": 1}}}, ("'output.exposure'", "'exposure_us'")),
        ({"config_override": {"output": 5}}, ("config_override output", "dict")),
        ({"config_override": {"output": {"exposure_us": 0}}}, ("output.exposure_us is 0",)),
        ({"config_override": {"input": {"frametime_us": "x"}}}, ("input.frametime_us is 'x'",)),
        ({"config_override": {"ones_range": [5, 5]}}, ("ones_range[1] is 5",)),
        ({"config_override": {"ones_range": 5}}, ("ones_range is 5",)),
        ({"config_override": {"ones_range": [0, 10**7]}}, ("ones_range[1] is 10000000", "1039680")),
        ({"config_override": {"n_samples_by_pass": 0}}, ("n_samples_by_pass is 0",)),
        ({"config_override": {"type": "type9"}}, ("type is 'type9'", "'type2'")),
        ({"config_override": {"output": {"allowed_roi": [[0, 0], [1, 5000]]}}}, ("output.allowed_roi is",)),
        ({"config_override": {"output": {"minimum_output_size": 10**8}}}, ("minimum_output_size is",)),
        ({"simulated": True, "max_n_features": 0}, ("max_n_features is 0",)),
    ],
    ids=str,
)
def test_bad_constructor_arguments(arguments, words):
    refused(lambda: OPU(100, open_at_init=False, **arguments), *words)


def test_arguments_that_contradict_a_given_device(bench):
    refused(lambda: OPU(100, opu_device=OpuDevice(bench=bench), seed=3), "seed is 3", "opu_device")
    refused(lambda: OPU(100, opu_device=OpuDevice(bench=bench), device="ideal"), "device is 'ideal'", "opu_device")


def test_a_file_that_is_no_configuration(tmp_path):
    path = tmp_path / "c.json"
    for text in ("{", "[1, 2]", "\x00"):
        path.write_text(text)
        refused(lambda: OPU(100, config_file=path, open_at_init=False), "config_file is", str(path))


def test_bad_config_is_found_when_it_is_used(opu):
    opu.config["n_samples_by_pass"] = -1
    refused(lambda: opu.fit1d(GOOD), "n_samples_by_pass is -1")
    opu.config["n_samples_by_pass"] = 3000
    assert_usable(opu)


def test_masked_arrays_are_refused(opu):
    refused(lambda: opu.fit_transform1d(np.ma.masked_array(GOOD, mask=GOOD == 1)), "masked array", kind=TypeError)
    opu.fit1d(GOOD)
    refused(lambda: opu.transform(None), "X is None", kind=TypeError)


# ---------------------------------------------------------------- pictures that are flat


@pytest.mark.parametrize("shape", [(30, 784), (300, 64), (40, 200), (200, 40), (20, 100)])
def test_flat_pictures_are_told(make_opu, shape):
    """(n, rows * columns) under fit2d is one picture of n x rows * columns."""
    opu = make_opu()
    x = np.ones(shape, dtype=np.uint8)
    for call in (opu.fit2d, opu.fit_transform2d):
        with pytest.warns(UserWarning, match=rf"shape \({shape[0]}, {shape[1]}\).* one picture .* n_features="):
            call(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opu.fit2d(x, n_features=shape)
        opu.fit1d(x)


@pytest.mark.parametrize("shape", [(28, 28), (30, 40), (64, 64), (48, 66), (3, 28, 28), (2, 3, 5, 100), (1, 4, 784)])
def test_pictures_are_taken_as_they_are(make_opu, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_opu().fit2d(np.ones(shape, dtype=np.uint8))
