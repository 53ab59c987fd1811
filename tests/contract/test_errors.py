"""Bad calls: each raises what the real lightonml raises, whatever else its type is."""

from __future__ import annotations

import numpy as np
import pytest


def test_closed(backend, make_opu, bits):
    opu = make_opu(backend)
    opu.fit1d(n_features=100)
    opu.close()
    with pytest.raises(AssertionError):
        opu.transform(bits(3, 100))
    opu.open()
    assert opu.transform(bits(3, 100)).shape == (3, 60)


def test_a_fit_needs_an_open_device(camera, make_opu):
    opu = make_opu(camera, open_at_init=False)
    with pytest.raises(RuntimeError):
        opu.fit1d(n_features=100)
    with pytest.raises(RuntimeError):
        opu.device.output_readout_us  # noqa: B018


def test_nothing_fitted(backend, make_opu, bits):
    opu = make_opu(backend)
    if not backend.name.startswith("lightonml"):
        assert opu.transform(bits(3, 100)).shape == (3, 60)  # as before lightonml 1.2
    else:
        with pytest.raises(AssertionError):
            opu.transform(bits(3, 100))


@pytest.mark.parametrize("fit", ["fit1d", "fit2d"])
def test_a_fit_to_nothing(backend, make_opu, fit):
    with pytest.raises(AssertionError):
        getattr(make_opu(backend), fit)()


def test_input_that_is_not_binary(camera, make_opu, bits):
    x = bits(5, 100) * 2
    opu = make_opu(camera)
    opu.fit1d(n_features=100)
    with pytest.raises(ValueError):
        opu.transform(x)
    with pytest.raises(ValueError):
        opu.linear_transform(x)
    assert opu.transform(bits(5, 100)).shape == (5, 60)


@pytest.mark.parametrize("shape", [(99,), (5, 99), (5, 101), (5, 10, 10)], ids=str)
def test_input_of_another_size_than_the_fit(camera, make_opu, bits, shape):
    opu = make_opu(camera)
    opu.fit1d(n_features=100)
    with pytest.raises(ValueError):
        opu.transform(bits(*shape))
    assert opu.transform(bits(5, 100)).shape == (5, 60)


def test_dimensions_that_mean_nothing(backend, make_opu, bits):
    opu = make_opu(backend)
    with pytest.raises(ValueError):
        opu.fit1d(bits(2, 2, 2, 2, 20))
    with pytest.raises(AssertionError):
        opu.fit2d(bits(100))  # one dimension is no picture
    with pytest.raises(AssertionError):
        opu.fit1d(bits(2, 2, 2, 20))  # four dimensions are batches of pictures


def test_packed_input(backend, make_opu, bits):
    opu = make_opu(backend, n_features=120)
    with pytest.raises(ValueError):
        opu.fit1d(bits(3, 15).astype(np.int64), packed=True)
    with pytest.raises(ValueError):
        opu.fit2d(bits(3, 15), packed=True)  # its two numbers of features are not known
    with pytest.raises(AssertionError):
        opu.fit2d(bits(3, 10, 12), n_features=(12, 10))  # they are known from the shape


def test_more_features_than_mirrors(camera, make_opu):
    opu = make_opu(camera)
    for n in (912 * 1140 + 1, 2_000_000):
        with pytest.raises(ValueError):
            opu.fit1d(n_features=n)
    with pytest.raises(ValueError):
        opu.fit2d(n_features=(2000, 10))


def test_regions_that_do_not_fit(camera, make_opu, bits):
    opu = make_opu(camera)
    with pytest.raises(ValueError):
        opu.fit1d(bits(3, 100), input_roi=((900, 0), (100, 100)))
    with pytest.raises(ValueError):
        opu.fit1d(bits(3, 100), input_roi=((0, 0), (9, 9)))


def test_more_components_than_pixels(camera, make_opu):
    with pytest.raises(IndexError):
        make_opu(camera, 2040 * 1088 + 1)
    opu = make_opu(camera)
    with pytest.raises(IndexError):
        opu.n_components = 3_000_000
    assert opu.n_components == 60


def test_the_number_of_mirrors_cannot_be_set(camera, make_opu):
    opu = make_opu(camera)
    assert opu.max_n_features == 912 * 1140
    with pytest.raises(AttributeError):
        opu.max_n_features = 10


def test_a_device_of_another_kind(backend, make_opu):
    with pytest.raises(TypeError):
        backend.opu_class(60, opu_device="a device")


def test_unknown_override(camera, make_opu, bits):
    with pytest.raises(TypeError):
        make_opu(camera).fit1d(bits(3, 100), exposure=300)


def test_unknown_rescaling(backend, make_opu):
    with pytest.raises(KeyError):
        make_opu(backend, rescale="largest")
    for name in ("variance", "Norm", "NONE"):
        assert make_opu(backend, rescale=name).rescale.name == name.lower()


def test_input_too_sparse_for_auto(camera, make_opu):
    from importlib import import_module

    types = import_module("lightonml.internal.types" if camera.name == "lightonml" else "opusim.drivers.types")
    override = {"ones_range": [1_039_500, 1_039_600]}  # more than even a mirror for each feature leaves outside
    opu = make_opu(camera, input_roi_strategy=types.InputRoiStrategy.auto, config_override=override)
    x = np.zeros((2, 1000), dtype=np.uint8)
    x[:, 0] = 1
    with pytest.raises(ValueError):
        opu.fit1d(x)


def test_an_encoder_that_is_none(backend, make_opu, bits):
    opu = make_opu(backend)
    opu.fit1d(n_features=100)
    with pytest.raises(AttributeError):
        opu.transform(bits(3, 100), encoder_cls=object)
