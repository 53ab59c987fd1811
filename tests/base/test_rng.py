"""Random streams: the generator's published vectors, the laws of the numbers, and their addresses.

Seeds are fixed, so a test passes or fails for good; the false-alarm rates named are those of a new seed.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from opusim.base import jit as _jit
from opusim.base import rng, rng_kernels

KEY = rng.stream_key(1234, "test")
LONG = 2_000_000


# kat_vectors of Random123 1.14 (D. E. Shaw Research), the lines "philox4x32 10".
@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter, key, words):
    result = rng_kernels.philox_words(*(np.uint64(v) for v in (*counter, *key)))
    assert tuple(int(v) & 0xFFFFFFFF for v in result) == words  # every use takes the low half


def plain_philox(counter, key):
    """Philox4x32-10 as the paper writes it, in Python's integers."""
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(second >> 32) ^ c[1] ^ k0, second & 0xFFFFFFFF, (first >> 32) ^ c[3] ^ k1, first & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def plain_normal(key, index):
    """Element of a normal stream in double precision."""
    block = index >> 2
    words = plain_philox((block & 0xFFFFFFFF, block >> 32, 0, 0), key)
    r0, r1 = words[2:] if index & 2 else words[:2]
    radius = np.sqrt(-2 * np.log((r0 + 0.5) / 2**32))
    signed = (r1 & 0xFFFFFFFE) - (2**32 if r1 >> 31 else 0)
    angle = np.pi * signed / 2**32
    return radius * np.sin(angle) if index & 1 else radius * np.cos(angle) * (-1 if r1 & 1 else 1)


@pytest.mark.parametrize("offset", [0, 3, 2**34 - 6, 2**60 + 1])
def test_normals_are_box_muller_of_philox(offset):
    key = (int(KEY[0]), int(KEY[1]))
    expected = [plain_normal(key, offset + i) for i in range(200)]
    np.testing.assert_allclose(rng.normals(KEY, 200, offset=offset), expected, rtol=2e-6, atol=2e-6)


def test_normals_follow_the_normal_law():
    x = rng.normals(KEY, LONG).astype(np.float64)
    assert x.dtype == np.float64 and rng.normals(KEY, 3).dtype == np.float32
    error = 5 / np.sqrt(LONG)  # five standard errors: 6e-7 of false alarms each
    assert abs(x.mean()) < error
    assert abs(x.var() - 1) < error * np.sqrt(2)
    assert abs((x**3).mean()) < error * np.sqrt(15)
    assert abs((x**4).mean() - 3) < error * np.sqrt(96)
    assert stats.kstest(x, "norm").pvalue > 1e-6
    assert 4.5 < np.abs(x).max() < 6.8


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 1000])
def test_normals_do_not_depend_on_one_another(lag):
    x = rng.normals(KEY, LONG).astype(np.float64)
    assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 5 / np.sqrt(LONG)
    assert abs(np.corrcoef(x[:-lag] ** 2, x[lag:] ** 2)[0, 1]) < 5 / np.sqrt(LONG)


def test_uniforms_follow_the_uniform_law():
    u = rng.uniforms(KEY, LONG)
    assert u.dtype == np.float64 and u.min() > 0 and u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-6
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 5 / np.sqrt(LONG)


@pytest.mark.parametrize("other", [(1235, "test"), (1234, "tests"), (1234, "test", 0), (1234, "test", 1)])
def test_streams_share_nothing(other):
    a, b = rng.normals(KEY, LONG), rng.normals(rng.stream_key(*other), LONG)
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(LONG)


@settings(max_examples=100, deadline=None)
@given(offset=st.integers(0, 2**62), n=st.integers(0, 70), start=st.integers(0, 70))
def test_an_element_depends_on_its_index_only(offset, n, start):
    start = min(start, n)
    for draw, pick in ((rng.normals, rng.normals_at), (rng.uniforms, rng.uniforms_at)):
        whole = draw(KEY, n, offset=offset)
        np.testing.assert_array_equal(whole[start:], draw(KEY, n - start, offset=offset + start))
        np.testing.assert_array_equal(whole[::-1], pick(KEY, offset + np.arange(n)[::-1]))


def test_indices_of_any_shape():
    index = np.arange(12, dtype=np.uint32).reshape(3, 4)
    np.testing.assert_array_equal(rng.normals_at(KEY, index).ravel(), rng.normals(KEY, 12))
    assert rng.uniforms_at(KEY, []).shape == (0,)


def test_keys_are_what_they_were():
    # Presets, calibrations and papers depend on these numbers: changing them changes every device.
    assert rng.stream_key(0, "camera noise") == (3026342721, 3755365392)
    assert rng.stream_key(7, "gaussian medium", 1, 2) == (526265294, 1474420418)
    assert isinstance(KEY[0], np.uint32)


def test_no_two_arguments_give_one_key():
    tails = ((), (1,), (1, 1))
    keys = {rng.stream_key(seed, purpose, *tail) for seed in range(50) for purpose in "ab" for tail in tails}
    assert len(keys) == 300
    assert rng.stream_key(2**200, "a") != rng.stream_key(2**200 + 1, "a")
    assert rng.stream_key(np.int64(3), "a", np.uint8(1)) == rng.stream_key(3, "a", 1)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((-1, "a"), ValueError, ["seed", "-1", "at least 0"]),
        ((1.5, "a"), TypeError, ["seed", "1.5", "whole number"]),
        ((True, "a"), TypeError, ["seed", "True"]),
        ((None, "a"), TypeError, ["seed", "None"]),
        ((0, 3), TypeError, ["purpose", "3", "text"]),
        ((0, ""), ValueError, ["purpose"]),
        ((0, "a", 1.0), TypeError, ["indices[0]", "1.0", "whole number"]),
    ],
)
def test_bad_keys_are_refused_in_a_sentence(arguments, error, words):
    with pytest.raises(error) as caught:
        rng.stream_key(*arguments)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: rng.normals(KEY, -1), ValueError, ["n is -1"]),
        (lambda: rng.uniforms(KEY, 2.0), TypeError, ["n is 2.0"]),
        (lambda: rng.normals(KEY, 1, offset=-4), ValueError, ["offset is -4"]),
        (lambda: rng.normals(3, 1), TypeError, ["key is 3", "stream_key"]),
        (lambda: rng.normals((1, 2**32), 1), ValueError, ["key[1]"]),
        (lambda: rng.normals_at(KEY, [0.5]), TypeError, ["indices", "float64"]),
        (lambda: rng.uniforms_at(KEY, [3, -2]), ValueError, ["indices", "-2", "at least 0"]),
    ],
)
def test_bad_draws_are_refused_in_a_sentence(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words)


def test_import_costs_no_compiler():
    code = "import sys, opusim.base.rng, opusim.device.camera; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_kernels_work_where_no_cache_can_be_written(monkeypatch):
    real = _jit.numba.njit

    def njit(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")
        return real(**options)

    monkeypatch.setattr(_jit.numba, "njit", njit)
    assert _jit.kernel()(lambda x: x + 1)(2) == 3
