"""Encoding and decoding of the linear transform over a device that is exactly quadratic.

The device here is Y = |M u + p|^2 in double precision, with any padding field p.
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

KINDS = ["opusim"] + (["lightonopu"] if importlib.util.find_spec("lightonopu") else [])


@pytest.fixture(params=KINDS)
def method(request):
    """(encode, decode): 0/1 (n, d) -> 0/1 (n', d), and (n', m) -> (n, m)."""
    if request.param == "opusim":
        from opusim.drivers.methods import intensity as module

        seen = {}

        def encode(x):
            seen["d"] = np.shape(x)[-1]
            return module.encode(np.atleast_2d(x))

        return encode, lambda y: module.decode(y, seen["d"])
    from lightonopu import linear_reconstruction as module

    module.init(np.prod((912, 1140)))
    return module.encode_batch, module.decode_batch


def device(d, m, padding, seed=0):
    """Return M (d, m) with entries CN(0, 1) and p (m,)."""
    rng = np.random.default_rng(seed)
    matrix = (rng.normal(size=(d, m)) + 1j * rng.normal(size=(d, m))) / np.sqrt(2)
    return matrix, padding * np.sqrt(d / 2) * (rng.normal(size=m) + 1j * rng.normal(size=m))


def shown(frames, matrix, p):
    return np.abs(frames.astype(float) @ matrix + p) ** 2


@pytest.mark.parametrize("padding", [0.0, 0.3, 2.0])
def test_linear_for_any_padding_field(method, padding):
    encode, decode = method
    d, m = 40, 300
    matrix, p = device(d, m, padding)
    rng = np.random.default_rng(1)
    a = rng.integers(0, 2, (9, d), dtype=np.uint8)
    b = rng.integers(0, 2, (9, d), dtype=np.uint8) * (1 - a)
    x = np.concatenate([np.eye(d, dtype=np.uint8), a, b, a + b, np.zeros((1, d), dtype=np.uint8)])
    y = decode(shown(encode(x), matrix, p))
    assert y.shape == (len(x), m) and np.issubdtype(y.dtype, np.floating)
    size = y[:d].std()
    entries, ya, yb, both, nothing = np.split(y, [d, d + 9, d + 18, d + 27])
    assert np.abs(both - ya - yb).max() < 1e-4 * size * d
    assert np.abs(ya - a @ entries).max() < 1e-4 * size * d
    assert np.abs(nothing).max() < 1e-4 * size * d


def test_entries_are_normal_without_padding(method):
    """Over 1.4 million entries: mean and excess kurtosis within five standard errors (a false alarm in 1.7 million)."""
    encode, decode = method
    d, m = 500, 3000
    matrix, p = device(d, m, 0.0)
    y = decode(shown(encode(np.eye(d, dtype=np.uint8)), matrix, p)).astype(float)
    # The darkest references are not divided by in full; they are 2 % of the pixels, or 4 % with room to spare.
    light = np.abs(matrix.sum(axis=0)) ** 2
    y = y[:, light > 0.04 * light.mean()]
    y /= y.std()
    n = y.size
    assert abs(y.mean()) < 5 / np.sqrt(n)
    assert abs((y**3).mean()) < 5 * np.sqrt(6 / n)
    # The reference holds the entry itself, 1 part in d: kurtosis may differ by a few / d.
    assert abs((y**4).mean() - 3) < 5 * np.sqrt(24 / n) + 3 / d
    check_singular_values(y)


def check_singular_values(y):
    """Independent: Marchenko and Pastur's edges, but for one direction.

    Along 1 - 2 r the entries sum up to the modulus of the reference, which is divided by: its square is twice the
    variance. A direction of population variance 2 stands out of the bulk at sqrt(2 (1 + d / m)).
    """
    d, m = y.shape
    s = np.linalg.svd(y / np.sqrt(m), compute_uv=False)
    ratio = np.sqrt(d / m)
    assert s[0] == pytest.approx(np.sqrt(2 * (1 + ratio**2)), rel=0.05)
    assert s[1] == pytest.approx(1 + ratio, rel=0.05) and s[-1] == pytest.approx(1 - ratio, rel=0.05)


def test_sums_of_entries_are_not_biased(method):
    """An anchor of ones would make the mean of a row's entries |M 1| / d: trace and triangles then come out wrong."""
    encode, decode = method
    d, m = 400, 1000
    matrix, p = device(d, m, 0.0)
    x = np.ones((1, d), dtype=np.uint8)
    y = decode(shown(encode(np.concatenate([x, np.eye(d, dtype=np.uint8)])), matrix, p))
    z = y[0] / (y[1:].std() * np.sqrt(d))
    assert abs(z.mean()) < 5 / np.sqrt(m) and z.std() == pytest.approx(1, abs=5 / np.sqrt(2 * m))


def test_the_number_of_vectors_can_be_told_from_the_number_of_frames(method):
    encode, decode = method
    matrix, p = device(5, 7, 0.1)
    seen = set()
    for n in [*range(1, 200), 255, 256, 257, 1000, 1500, 3000]:
        frames = encode(np.random.default_rng(n).integers(0, 2, (n, 5), dtype=np.uint8))
        assert len(frames) not in seen and frames.shape[1] == 5
        assert decode(shown(frames, matrix, p)).shape == (n, 7)
        seen.add(len(frames))


@pytest.mark.parametrize("n", [1, 2, 64, 65, 130])
def test_numbers_around_a_block(method, n):
    encode, decode = method
    matrix, p = device(12, 50, 0.5)
    x = np.random.default_rng(n).integers(0, 2, (n, 12), dtype=np.uint8)
    alone = np.concatenate([decode(shown(encode(row[None]), matrix, p)) for row in x])
    assert np.allclose(decode(shown(encode(x), matrix, p)), alone, rtol=1e-3, atol=1e-3 * alone.std())


@pytest.mark.parametrize("each", [2, 3, 5])
def test_any_number_of_frames_a_vector(each):
    """What the device that was asked last said counts, also where another one is asked before the frames come back."""
    module = pytest.importorskip("lightonopu.linear_reconstruction")
    matrix, p = device(12, 50, 0.5)
    x = np.random.default_rng(0).integers(0, 2, (70, 12), dtype=np.uint8)
    two = module.decode_batch(shown(module.encode_batch(x), matrix, p))
    try:
        module.note_frames(each)
        frames = module.encode_batch(x)
        module.note_frames(4)
        assert len(frames) == each * 70 + 2 * 3 * (1 if each == 2 else each)
        assert np.allclose(module.decode_batch(shown(frames, matrix, p)), two, atol=1e-4 * two.std())
    finally:
        module.note_frames(2)


def test_batches_of_two_devices_are_told_apart():
    """Each is decoded as it was encoded, by its number of patterns: also after another one, and in another thread."""
    module = pytest.importorskip("lightonopu.linear_reconstruction")
    rng, made = np.random.default_rng(0), {}
    try:
        for each, d in ((5, 12), (2, 20)):
            module.note_frames(each)
            (matrix, p), x = device(d, 50, 0.5), rng.integers(0, 2, (9, d), dtype=np.uint8)
            counts = shown(module.encode_batch(x), matrix, p)
            module.note_levels(0.0, float(np.mean(shown(np.ones((1, d)), matrix, p))), len(counts))
            made[each] = counts, module.decode_batch(counts)
        with ThreadPoolExecutor(1) as other:
            for counts, own in made.values():
                assert np.array_equal(module.decode_batch(counts), own)
                assert np.array_equal(other.submit(module.decode_batch, counts).result(), own)
    finally:
        module.note_frames(2)


def test_one_dimension_gives_one_row(method):
    encode, decode = method
    x = np.array([0, 1, 1, 0, 1], dtype=np.uint8)
    frames = encode(x)
    assert frames.ndim == 2 and frames.dtype == np.uint8 and set(np.unique(frames)) == {0, 1}
    counts = np.random.default_rng(0).integers(0, 256, (len(frames), 20), dtype=np.uint8)
    assert decode(counts).shape == (1, 20)


def test_counts_of_8_bits_do_not_wrap(method):
    encode, decode = method
    matrix, p = device(30, 400, 0.0)
    x = np.random.default_rng(3).integers(0, 2, (5, 30), dtype=np.uint8)
    light = shown(encode(x), matrix, p)
    counts = np.clip(np.round(light * 4), 0, 255).astype(np.uint8)
    exact, got = decode(light), decode(counts)
    assert np.corrcoef(exact.ravel(), got.ravel())[0, 1] > 0.98


def test_frames_of_no_batch_are_refused(method):
    encode, decode = method
    encode(np.ones((3, 5), dtype=np.uint8))
    for n in (0, 1, 2, 3, 4):
        with pytest.raises(ValueError):
            decode(np.zeros((n, 7), dtype=np.uint8))


def test_all_types_of_zeros_and_ones(method):
    encode, _ = method
    x = np.random.default_rng(0).integers(0, 2, (3, 20), dtype=np.uint8)
    assert np.array_equal(encode(x.astype(bool)), encode(x))
