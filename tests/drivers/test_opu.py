"""What OPU does with good input, over a bench without optics."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from opusim import Device
from opusim.drivers import OPU, ContextArray, FeaturesFormat
from opusim.patterns import lee_stop

torch = pytest.importorskip("torch")


def bits(*shape):
    return (np.random.default_rng(0).random(shape) < 0.5).astype(np.uint8)


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
    from opusim.device.record import Device

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


def small_device(**changes):
    sizes = {"dmd.shape": (48, 64), "camera.shape": (64, 64), "operation.ones_range": (0, 48 * 64)}
    return Device.load("aurora").evolve(**sizes, **changes)


def test_features_before_a_stop_off_axis_are_told_once():
    bits = np.random.default_rng(0).integers(0, 2, (4, 48), dtype=np.uint8)
    stopped = small_device(**lee_stop((0.0, 0.25)))
    with OPU(64, device=stopped) as opu:
        with pytest.warns(UserWarning, match=r"Fourier stop .*0\.25 cycles per pitch wide at 0 and 0\.25") as told:
            y = opu.fit_transform1d(bits)
            opu.fit1d(bits)
        assert len(told) == 1
        assert y.mean() < stopped.camera.black_level_dn + 1  # in the dark, as the warning says


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("n", "changes"),
    [
        (48, {}),  # no stop
        (48, {"fourier_stop.diameter_cycles": 0.25}),  # on the axis
        (48, {"fourier_stop.diameter_cycles": 0.5, "fourier_stop.centre_cycles": (0.0, 0.25)}),  # the axis on its edge
        (48 * 64, lee_stop((0.0, 0.25))),  # a feature a mirror, as a hologram needs
    ],
)
def test_features_that_may_pass_a_stop_are_not(n, changes):
    with OPU(64, device=small_device(**changes)) as opu:
        opu.fit1d(n_features=n)
        assert opu.transform(np.ones(n, dtype=np.uint8)).shape == (64,)
