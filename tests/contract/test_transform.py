"""Shapes, types and layouts of what goes in and comes out."""

from __future__ import annotations

import numpy as np
import pytest

SHAPES_1D = [(100,), (1, 100), (7, 100), (2, 3, 100), (1, 1, 100)]
SHAPES_2D = [(10, 12), (1, 10, 12), (7, 10, 12), (2, 3, 10, 12)]


def is_context_array(y):
    return type(y).__name__ == "ContextArray" and isinstance(y, np.ndarray)


def same(backend, a, b):
    """Equal counts; the simulator's floats may differ by the order of a sum."""
    if backend.simulator:
        return np.allclose(a, b, rtol=1e-4, atol=1e-6)
    return np.array_equal(a, b)


@pytest.mark.parametrize("shape", SHAPES_1D, ids=str)
def test_shape_and_type_of_vectors(backend, make_opu, bits, shape):
    opu = make_opu(backend)
    y = opu.fit_transform1d(bits(*shape))
    assert is_context_array(y) and y.shape == shape[:-1] + (60,) and y.dtype == backend.dtype


@pytest.mark.parametrize("shape", SHAPES_2D, ids=str)
def test_shape_and_type_of_pictures(backend, make_opu, bits, shape):
    opu = make_opu(backend, n_features=120)
    y = opu.fit_transform2d(bits(*shape))
    assert is_context_array(y) and y.shape == shape[:-2] + (60,) and y.dtype == backend.dtype


def test_a_row_gives_the_same_alone_and_in_any_batch(backend, make_opu, bits, quiet):
    x = bits(12, 100)
    opu = make_opu(backend, device=quiet)
    opu.fit1d(x)
    whole = opu.transform(x)
    assert len(np.unique(whole, axis=0)) == 12
    assert same(backend, opu.transform(x.reshape(3, 4, 100)).reshape(12, 60), whole)
    assert same(backend, np.stack([opu.transform(row) for row in x]), whole)
    assert same(backend, opu.transform(x[3:4])[0], whole[3])


def test_the_same_rows_meet_the_same_matrix_and_other_noise(camera, make_opu, bits):
    x = bits(40, 100)
    opu = make_opu(camera, 200)
    opu.fit1d(x)
    a, b = opu.transform(x).astype(float), opu.transform(x).astype(float)
    assert not np.array_equal(a, b)
    # Correlation of counts: signal about 7 grey levels rms, noise about 1. Rows are 200 long: chance is below .5.
    alike = np.array([np.corrcoef(p, q)[0, 1] for p, q in zip(a, b, strict=True)])
    other = np.array([np.corrcoef(p, q)[0, 1] for p, q in zip(a, np.roll(b, 1, axis=0), strict=True)])
    assert alike.min() > 0.9 and other.mean() < 0.7


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "int64"])
def test_any_integer_type_that_holds_zeros_and_ones(backend, make_opu, bits, quiet, dtype):
    x = bits(5, 100)
    opu = make_opu(backend, device=quiet)
    assert same(backend, opu.fit_transform1d(x.astype(dtype)), opu.fit_transform1d(x))


def test_layout_in_memory_does_not_matter(backend, make_opu, bits, quiet):
    x = bits(6, 100)
    opu = make_opu(backend, device=quiet)
    opu.fit1d(x)
    expected = opu.transform(x)
    wide = np.zeros((6, 200), dtype=np.uint8)
    wide[:, ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (np.asfortranarray(x), wide[:, ::2], x[::-1][::-1], frozen):
        assert same(backend, opu.transform(other), expected)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_a_tensor_in_gives_a_tensor(backend, make_opu, bits, quiet, dtype):
    torch = pytest.importorskip("torch")
    x = bits(5, 100)
    opu = make_opu(backend, device=quiet)
    y = opu.fit_transform1d(torch.from_numpy(x).to(getattr(torch, dtype)))
    assert isinstance(y, torch.Tensor) and y.shape == (5, 60)
    assert y.dtype == (torch.float32 if backend.simulator else torch.uint8)
    assert same(backend, y.numpy(), opu.transform(x))
    single = opu.transform(torch.from_numpy(x[2]).to(getattr(torch, dtype)))
    assert isinstance(single, torch.Tensor) and same(backend, single.numpy(), opu.transform(x)[2])


# ---------------------------------------------------------------- packed


def test_packed_vectors(backend, make_opu, bits, quiet):
    x = bits(7, 104)
    opu = make_opu(backend, n_features=104, device=quiet)
    expected = opu.fit_transform1d(x)
    packed = np.packbits(x, axis=1)
    y = opu.fit_transform1d(packed, packed=True)
    assert same(backend, y, expected) and y.dtype == backend.dtype
    assert same(backend, opu.transform(packed[3]), expected[3])
    opu.fit1d(n_features=104, packed=True)
    assert same(backend, opu.transform(packed), expected)
    assert same(backend, opu.transform(packed[:6].reshape(2, 3, 13)).reshape(6, 60), expected[:6])


def test_packed_pictures(backend, make_opu, bits, quiet):
    x = bits(7, 10, 12)
    opu = make_opu(backend, n_features=120, device=quiet)
    expected = opu.fit_transform2d(x)
    packed = np.packbits(x.reshape(7, -1), axis=1)
    assert same(backend, opu.fit_transform2d(packed, packed=True, n_2d_features=(10, 12)), expected)
    opu.fit2d(packed, n_features=(10, 12), packed=True)
    assert same(backend, opu.transform(packed), expected)


def test_packed_features_that_do_not_fill_their_last_byte(camera, make_opu, bits, quiet):
    x = bits(5, 9, 11)
    opu = make_opu(camera, device=quiet)
    expected = opu.fit_transform2d(x)
    packed = np.packbits(x.reshape(5, -1), axis=1)
    assert np.array_equal(opu.fit_transform2d(packed, packed=True, n_2d_features=(9, 11)), expected)


def test_as_many_features_as_mirrors(camera, make_opu, bits, quiet_mirrors):
    x = bits(912, 1140)
    opu = make_opu(camera, 2, device=quiet_mirrors)
    y = opu.fit_transform2d(x)
    assert (y.context.fmt_type.name, y.context.fmt_factor) == ("none", 0)
    assert np.array_equal(opu.fit_transform1d(x.ravel()), y)
    assert np.array_equal(opu.fit_transform2d(np.ascontiguousarray(x.T)), y)
    packed = np.packbits(x.ravel(), bitorder="little")
    assert np.array_equal(opu.fit_transform1d(packed, packed=True), y)


# ---------------------------------------------------------------- fits


def test_a_fit_by_numbers_alone(backend, make_opu, bits, quiet):
    x, pictures = bits(5, 100), bits(5, 10, 10)
    opu = make_opu(backend, device=quiet)
    expected = opu.fit_transform1d(x)
    opu.fit1d(n_features=100)
    assert same(backend, opu.transform(x), expected)
    opu.fit2d(n_features=(10, 10))
    assert opu.transform(pictures).shape == (5, 60)


def test_the_number_of_components_can_change(backend, make_opu, bits):
    x = bits(5, 100)
    opu = make_opu(backend)
    for n in (50, 3000, np.int64(7)):
        opu.n_components = n
        opu.fit1d(x)
        assert opu.n_components == n and opu.transform(x).shape == (5, n)


def test_the_first_components_are_those_of_a_narrower_fit_of_the_same_region(camera, make_opu, bits, quiet):
    x = bits(5, 100)
    wide, narrow = (make_opu(camera, n, device=quiet) for n in (2000, 60))
    assert np.array_equal(wide.fit_transform1d(x)[:, :60], narrow.fit_transform1d(x))


def test_positional_arguments(backend, make_opu, bits):
    opu = backend.opu_class(60, None, 100, simulated=backend.simulator, open_at_init=False)
    assert opu.n_components == 60 and not opu.device.active
    with opu:
        opu.fit1d(n_features=100)
        assert opu.transform(bits(3, 100)).shape == (3, 60)
    assert not opu.device.active


def test_several_passes_leave_nothing_out(camera, make_opu, bits, quiet):
    x = bits(10, 100)
    expected = make_opu(camera, device=quiet).fit_transform1d(x)
    few = make_opu(camera, device=quiet, config_override={"n_samples_by_pass": 4})
    assert np.array_equal(few.fit_transform1d(x), expected)


class Doubling:
    """An encoder that says each feature twice."""

    def __init__(self, times=2):
        self.times = times

    def transform(self, x):
        return np.tile(x, self.times)


class Telling(Doubling):
    """One whose parameters a decoder is made with."""

    def get_params(self):
        return {"times": self.times}


class Cutting:
    """A decoder that returns the first components."""

    def __init__(self, times=5):
        self.times = times

    def transform(self, y):
        return y[:, : self.times]


def test_encoders_and_decoders(backend, make_opu, bits, quiet):
    x = bits(4, 50)
    opu = make_opu(backend, device=quiet)
    opu.fit1d(n_features=100)
    expected = opu.transform(np.tile(x, 2))
    assert same(backend, opu.transform(x, Doubling), expected)
    assert same(backend, opu.transform(x, encoder_cls=Doubling(), decoder_cls=Cutting(7)), expected[:, :7])
    assert opu.transform(x, Doubling, Cutting).shape == (4, 5)
    assert opu.transform(x, Telling, Cutting).shape == (4, 2)  # the class is made with the encoder's parameters
