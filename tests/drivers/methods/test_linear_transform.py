"""Calls of linear_transform: shapes, scales, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opusim import OPU
from opusim.device.record import Device
from opusim.drivers import NotReadyError
from opusim.drivers.methods import intensity as method


@pytest.fixture(scope="module")
def opu():
    with OPU(300, device="ideal", rescale="none", linear_mode="intensity") as opu:
        opu.fit1d(n_features=60)
        yield opu


def bits(*shape):
    return np.random.default_rng(0).integers(0, 2, shape, dtype=np.uint8)


@given(st.integers(1, 10**7), st.integers(2, 64))
def test_the_number_of_frames_can_be_inverted(n, each):
    assert method.vectors_in(method.frames_needed(n, each), each) == n


@pytest.mark.parametrize("each", [2, 3, 5, 8])
def test_other_numbers_of_frames_are_refused(each):
    possible = {method.frames_needed(n, each): n for n in range(1, 300)}
    for n_frames in range(300 * each):
        if n_frames in possible:
            assert method.vectors_in(n_frames, each) == possible[n_frames]
        else:
            with pytest.raises(ValueError, match="no number of vectors"):
                method.vectors_in(n_frames, each)


def test_frames_of_one_block():
    x = bits(2, 9)
    ones, r, rest, a, b, c, d = method.encode(x)
    assert ones.all() and np.array_equal(r, method.anchor(9)) and np.array_equal(rest, 1 - r)
    assert np.array_equal(a, x[0] ^ r) and np.array_equal(b, x[0] ^ rest)
    assert np.array_equal(c, x[1] ^ r) and np.array_equal(d, x[1] ^ rest)


@pytest.mark.parametrize("each", [2, 3, 4, 5])
def test_frames_of_more_than_two(each):
    """Anchors as often as a vector, or once for two; the frames of a vector in turn, one after the other."""
    x, r = bits(66, 9), method.anchor(9)
    frames, many = method.encode(x, each), 1 if each == 2 else each
    anchors = np.tile([np.ones_like(r), r, 1 - r], (many, 1))
    second = 3 * many + 64 * each
    for first in (0, second):
        assert np.array_equal(frames[first : first + 3 * many], anchors)
    of_64 = frames[second + 3 * many : second + 3 * many + each]
    assert np.array_equal(of_64, [x[64] ^ (r if k % 2 == 0 else 1 - r) for k in range(each)])
    own = frames[3 * many : second].reshape(64, each, 9)
    assert np.array_equal(own, method.encode(x[:64], each).reshape(-1, 9)[3 * many :].reshape(64, each, 9))
    assert np.array_equal(own[:, 0], x[:64] ^ r) and len(frames) == second + 3 * many + 2 * each


@pytest.mark.parametrize("each", [2, 4, 5])
def test_frames_that_repeat_give_what_two_give(each):
    """Without noise repetitions change nothing but last bits; with it they are means."""
    x, rng = bits(70, 9), np.random.default_rng(2)
    matrix = rng.normal(size=(9, 5)) + 1j * rng.normal(size=(9, 5))
    seen = [np.abs(method.encode(x, k) @ matrix) ** 2 for k in (2, each)]
    two, more = method.decode(seen[0], 9), method.decode(seen[1], 9, frames_per_vector=each)
    assert np.allclose(more, two, rtol=1e-5, atol=1e-5 * two.std())
    noisy = rng.integers(0, 256, (method.frames_needed(3, each), 5)).astype(np.uint8)
    own = noisy[3 * (1 if each == 2 else each) :].reshape(3, each, 5).astype(float)
    way = method.Intensity(9, 2.0, frames_per_vector=each)
    found = way.decode(noisy, way.begin())
    assert np.allclose(found, own[:, ::2].mean(axis=1) - own[:, 1::2].mean(axis=1), atol=1e-4)


def test_a_frame_is_too_few():
    with pytest.raises(ValueError, match="frames_per_vector is 1"):
        method.Intensity(9, 2.0, frames_per_vector=1)


def test_an_opu_takes_the_frames_that_its_device_says():
    device = Device.load("ideal").evolve(**{"operation.frames_per_vector": 5})
    with OPU(30, device=device, rescale="none", linear_mode="intensity") as opu:
        opu.fit1d(n_features=60)
        x = bits(70, 60)
        before = opu.bench.clock.frames
        y = np.asarray(opu.linear_transform(x))
        assert opu.bench.clock.frames - before == method.frames_needed(70, 5) == 350 + 2 * 15
    with OPU(30, device="ideal", rescale="none", linear_mode="intensity") as opu:
        opu.fit1d(n_features=60)
        assert np.allclose(opu.linear_transform(x), y, atol=1e-4 * y.std())


@pytest.mark.parametrize("each", [2, 5])
def test_parts_give_what_the_whole_gives(each):
    x = bits(200, 9)
    frames = np.random.default_rng(1).integers(0, 256, (method.frames_needed(200, each), 7), dtype=np.uint8)
    way, cut = method.Intensity(9, 2.0, frames_per_vector=each), method.frames_needed(128, each)
    anchors, found = way.begin(), np.empty((200, 7), dtype=np.float32)
    assert way.decode(frames[:cut], anchors, out=found[:128]).base is found
    way.decode(frames[cut:], anchors, out=found[128:])
    assert np.array_equal(way.finish(found, anchors), method.decode(frames, 9, 2.0, None, each))
    assert len(x) == len(found)


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
