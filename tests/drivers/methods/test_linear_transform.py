"""Calls of linear_transform: shapes, scales, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opusim import OPU
from opusim.drivers import NotReadyError
from opusim.drivers.methods import intensity as method


@pytest.fixture(scope="module")
def opu():
    with OPU(300, device="ideal", rescale="none", linear_mode="intensity") as opu:
        opu.fit1d(n_features=60)
        yield opu


def bits(*shape):
    return np.random.default_rng(0).integers(0, 2, shape, dtype=np.uint8)


@given(st.integers(1, 10**7))
def test_the_number_of_frames_can_be_inverted(n):
    assert method.vectors_in(method.frames_needed(n)) == n


def test_other_numbers_of_frames_are_refused():
    possible = {method.frames_needed(n): n for n in range(1, 300)}
    for n_frames in range(600):
        if n_frames in possible:
            assert method.vectors_in(n_frames) == possible[n_frames]
        else:
            with pytest.raises(ValueError, match="no number of vectors"):
                method.vectors_in(n_frames)


def test_frames_of_one_block():
    x = bits(2, 9)
    ones, r, rest, a, b, c, d = method.encode(x)
    assert ones.all() and np.array_equal(r, method.anchor(9)) and np.array_equal(rest, 1 - r)
    assert np.array_equal(a, x[0] ^ r) and np.array_equal(b, x[0] ^ rest)
    assert np.array_equal(c, x[1] ^ r) and np.array_equal(d, x[1] ^ rest)


def test_parts_give_what_the_whole_gives():
    x = bits(200, 9)
    frames = np.random.default_rng(1).integers(0, 256, (method.frames_needed(200), 7), dtype=np.uint8)
    way, cut = method.Intensity(9, 2.0), method.frames_needed(128)
    anchors, found = way.begin(), np.empty((200, 7), dtype=np.float32)
    assert way.decode(frames[:cut], anchors, out=found[:128]).base is found
    way.decode(frames[cut:], anchors, out=found[128:])
    assert np.array_equal(way.finish(found, anchors), method.decode(frames, 9, 2.0)) and len(x) == len(found)


def test_dark_frames_give_finite_numbers():
    assert np.isfinite(method.decode(np.full((5, 4), 2, dtype=np.uint8), 10, 2.0)).all()


def test_shapes_and_dtype(opu):
    for shape in ((60,), (1, 60), (5, 60), (2, 3, 60)):
        y = opu.linear_transform(bits(*shape))
        assert y.shape == (*shape[:-1], 300) and y.dtype == np.float32
        assert y.context.fmt_factor == 1039680 // 60 and y.context.exposure_us == 400


def test_row_alone_and_in_a_batch_is_the_same_on_a_noise_free_device(opu):
    x = bits(100, 60)
    y = np.asarray(opu.linear_transform(x))
    assert np.allclose(opu.linear_transform(x[17]), y[17], atol=1e-4 * y.std())


def test_rescaling(opu):
    x = bits(4, 60)
    plain = np.asarray(opu.linear_transform(x))
    try:
        opu.rescale = "variance"
        assert np.allclose(opu.linear_transform(x), plain / np.sqrt(60), rtol=1e-5, atol=1e-5)
        opu.rescale = "norm"
        assert np.allclose(opu.linear_transform(x), plain / np.sqrt(300), rtol=1e-5, atol=1e-5)
        # Norms are kept approximately: 300 components, so within 4 * sqrt(2 / 300) = 33 %, and 10 % for the scale.
        ratio = np.square(opu.linear_transform(x)).sum(axis=1) / x.sum(axis=1)
        assert np.all(np.abs(ratio - 1) < 0.43)
    finally:
        opu.rescale = "none"


def test_two_dimensions_and_without_a_fit():
    with OPU(50, device="ideal", linear_mode="intensity") as opu:
        x = bits(70, 40)
        assert opu.linear_transform(x).shape == (70, 50)
        opu.fit2d(bits(3, 8, 8))
        y = np.asarray(opu.linear_transform(np.stack([np.eye(8, dtype=np.uint8), np.zeros((8, 8), dtype=np.uint8)])))
        assert y.shape == (2, 50) and np.abs(y[1]).max() < 1e-3 * np.abs(y[0]).max()


def test_encoder_and_decoder(opu):
    class Negative:
        def transform(self, x):
            return (np.asarray(x) < 0).astype(np.uint8)

    class Doubled:
        def transform(self, y):
            return 2 * y

    x = np.where(bits(4, 60), -1.5, 2.0)
    y = opu.linear_transform(x, Negative, Doubled())
    assert np.allclose(y, 2 * np.asarray(opu.linear_transform(bits(4, 60))), rtol=1e-4, atol=1e-3)


def test_tensors(opu):
    torch = pytest.importorskip("torch")
    y = opu.linear_transform(torch.from_numpy(bits(3, 60)))
    assert y.dtype == torch.float32 and tuple(y.shape) == (3, 300) and not y.requires_grad


def test_what_is_refused(opu):
    with pytest.raises(ValueError, match="binary|0 and 1"):
        opu.linear_transform(np.full((2, 60), 0.5))
    with OPU(20, linear_mode="intensity") as other:
        other.fit1d(bits(2, 8), packed=True)
        with pytest.raises(RuntimeError, match="packed"):
            other.linear_transform(bits(2, 8))
        other.fit1d(bits(3, 60), input_roi_strategy="small")
        with pytest.raises(AssertionError, match="strategy full"):
            other.linear_transform(bits(3, 60))
        other.fit1d(n_features=60, online=True)
        with pytest.raises(AssertionError, match="online"):
            other.linear_transform(bits(60))
    with pytest.raises(NotReadyError):
        other.linear_transform(bits(60))


def test_saturated_anchors_are_told():
    """Five milliseconds give a mean of some 170 grey levels with all features on: a quarter of the pixels clip."""
    with OPU(20, linear_mode="intensity") as opu:
        opu.fit1d(n_features=60, exposure_us=5000)
        with pytest.warns(UserWarning, match="many pixels saturate"):
            opu.linear_transform(bits(2, 60))
