"""What the context says, with the numbers that the real device printed."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest


def half_on(*shape):
    return np.tile([0, 1], (*shape[:-1], shape[-1] // 2)).astype(np.uint8)


def plain(value):
    """Nested tuples of int: lightonml leaves numpy's integers in its regions."""
    return tuple(plain(v) for v in value) if isinstance(value, (tuple, list, np.ndarray)) else int(value)


@pytest.mark.parametrize(("n", "factor"), [(10_000, 103), (1_000, 1039)])
def test_features_in_line(camera, make_opu, n, factor):
    y = make_opu(camera).fit_transform1d(half_on(2, n))
    c = y.context
    assert (c.fmt_type.name, c.fmt_factor) == ("lined", factor)
    assert plain((c.input_roi_upper, c.input_roi_shape)) == ((0, 0), (912, 1140))
    assert c.n_ones == n // 2 * factor


def test_ones_of_half_on_vectors(camera, make_opu, bits):
    # The real device printed about 514.7k; 1000 rows of 10 000 random bits scatter by 103 * 50 / sqrt(1000) = 163.
    y = make_opu(camera, 10).fit_transform1d(bits(1000, 10_000))
    assert y.context.n_ones == pytest.approx(515_000, abs=5 * 163)
    assert y.context.n_ones == pytest.approx(514_700, rel=2e-3)


def test_picture_of_900_by_900(camera, make_opu):
    """Mirrors outside the region are on: 229 680 of them."""
    y = make_opu(camera, 10).fit_transform2d(half_on(2, 900, 900))
    c = y.context
    assert (c.fmt_type.name, c.fmt_factor, c.n_ones) == ("macro_2d", 1, 229_680 + 405_000)
    assert c.n_ones == pytest.approx(634_700, abs=50)
    assert plain((c.input_roi_upper, c.input_roi_shape)) == ((6, 120), (900, 900))


def test_picture_of_macro_pixels(camera, make_opu):
    y = make_opu(camera).fit_transform2d(half_on(2, 28, 28))
    c = y.context
    assert (c.fmt_type.name, c.fmt_factor) == ("macro_2d", 32)
    assert plain((c.input_roi_upper, c.input_roi_shape)) == ((8, 122), (896, 896))
    # lightonml multiplies by the side of a block where its area is meant; ours counts mirrors.
    side = 32 if camera.name == "lightonml" else 32**2
    assert c.n_ones == 912 * 1140 - 896**2 + 392 * side


@pytest.mark.parametrize(("n", "roi"), [(60, ((0, 543), (2040, 1))), (10_000, ((0, 541), (2040, 5)))])
def test_output_region_is_centred_at_full_width(camera, make_opu, bits, n, roi):
    y = make_opu(camera, n).fit_transform1d(bits(2, 100))
    assert plain((y.context.output_roi_upper, y.context.output_roi_shape)) == roi


def test_times_and_gain(camera, make_opu, bits):
    opu = make_opu(camera)
    before = dt.datetime.now()
    c = opu.fit_transform1d(bits(3, 100)).context
    assert (c.exposure_us, c.frametime_us, c.gain) == (400, 500, 0.0)
    assert before <= c.start <= c.end <= dt.datetime.now()
    assert opu.device.exposure_us == 400 and opu.device.frametime_us == 500


def test_context_goes_along(backend, make_opu, bits):
    y = make_opu(backend).fit_transform1d(bits(3, 100))
    assert y[1:].context is y.context and (y * 2).context is y.context


def test_as_dictionaries(backend, make_opu, bits):
    c = make_opu(backend).fit_transform1d(bits(3, 100)).context
    nested, flat = c.as_dict(), c.as_flat_dict()
    assert nested["exposure_us"] == 400 and nested["frametime_us"] == 500 and nested["gain_dB"] == 0.0
    assert flat["output_roi_shape_0"] == nested["output_roi"][1][0]
    assert {"fmt_type", "fmt_factor", "start", "end"} <= set(nested)
    again = type(c).from_dict(nested)
    assert again.as_dict()["output_roi"] == nested["output_roi"] and again.fmt_type is c.fmt_type
    assert str(c).startswith("{") and "exposure_us" in str(c)


# ---------------------------------------------------------------- exposure and frame time


def test_too_many_ones_shorten_the_exposure(camera, make_opu):
    opu = make_opu(camera)
    y = opu.fit_transform1d(np.ones((2, 1000), dtype=np.uint8))
    most = opu.config["ones_range"][1]
    assert y.context.exposure_us == opu.device.exposure_us == int(400 / (1000 * 1039 / most)) < 400
    opu.fit1d(n_features=1000)
    assert opu.device.exposure_us == 400


def test_too_few_ones_warn(camera, make_opu):
    x = np.zeros((2, 1000), dtype=np.uint8)
    x[:, 0] = 1
    opu = make_opu(camera)
    with pytest.warns(UserWarning, match="too sparse"):
        opu.fit1d(x)
    assert opu.transform(x).shape == (2, 60)


def test_auto_finds_a_region_with_enough_ones(camera, make_opu):
    x = np.zeros((2, 1000), dtype=np.uint8)
    x[:, 0] = 1
    from importlib import import_module

    types = import_module("lightonml.internal.types" if camera.name == "lightonml" else "opusim.drivers.types")
    opu = make_opu(camera, input_roi_strategy=types.InputRoiStrategy.auto)
    c = opu.fit_transform1d(x).context
    assert plain(c.input_roi_shape) == (889, 1111) and c.n_ones >= opu.config["ones_range"][0]


def test_overrides(camera, make_opu, bits):
    x = bits(3, 100)
    opu = make_opu(camera)
    c = opu.fit_transform1d(x, exposure_us=300, frametime_us=900).context
    assert (c.exposure_us, c.frametime_us) == (300, 900)
    c = opu.fit_transform1d(x, exposure_us=2000).context
    assert (c.exposure_us, c.frametime_us) == (2000, 2050)
    c = opu.fit_transform1d(x, input_roi=((10, 20), (30, 40))).context
    assert plain((c.input_roi_upper, c.input_roi_shape)) == ((10, 20), (30, 40)) and c.fmt_factor == 12
    assert opu.fit_transform1d(x, raw_output_size=True).shape == (3, 2040)


def test_readout_lengthens_the_frame(camera, make_opu, bits):
    opu = make_opu(camera, 2_219_520)
    opu.fit1d(n_features=100)
    readout = opu.device.output_readout_us
    assert readout > 450 and opu.device.frametime_us == readout + 50
    assert opu.max_n_components == 2040 * 1088


def test_more_light_gives_more_counts(camera, make_opu, bits):
    x = bits(3, 1000)
    opu = make_opu(camera, 500)
    mean = {t: float(opu.fit_transform1d(x, exposure_us=t).mean()) for t in (100, 400)}
    # Half the mirrors on at 400 us: about 9 grey levels (1500 speckle grains: 6.4 / sqrt(1500) = .2 of scatter).
    assert mean[400] == pytest.approx(9, abs=1.2)
    assert mean[400] - 2.6 == pytest.approx(4 * (mean[100] - 2.6), rel=0.15)


def test_a_picture_has_a_constant_background(camera, make_opu):
    """Margins are on, so an input of zeros is not dark; in line, nothing is on but a remainder.

    Margins send a seventh of the light of all mirrors, 12.8 grey levels above the black level of 2.6: 4.4 on average,
    which 500 speckles know to .09.
    """
    opu = make_opu(camera, 500)
    opu.fit2d(n_features=(28, 28))
    margins = opu.transform(np.zeros((2, 28, 28), dtype=np.uint8)).mean()
    opu.fit1d(n_features=784)
    dark = opu.transform(np.zeros((2, 784), dtype=np.uint8)).mean()
    assert dark < 3.1 < 4.0 < margins
