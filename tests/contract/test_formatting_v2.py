"""`lightonopu.formatting_v2.Formatter` against a few lines of numpy."""

from __future__ import annotations

import time

import numpy as np
import pytest
from lightonopu.formatting_v2 import Formatter

SHAPE = (912, 1140)
WHOLE = ((912, 1140), (0, 0))


def lined(x, n, size, offset):
    """Mirrors (912, 1140) for one vector: written down from the contract, apart from opusim's own layout."""
    factor = size[0] * size[1] // n
    inside = np.zeros(size[0] * size[1], dtype=np.uint8)  # the remainder is off
    for j in range(n):
        inside[j * factor : (j + 1) * factor] = x[j]
    mirrors = np.ones(SHAPE, dtype=np.uint8)  # outside of the region, mirrors are on
    mirrors[offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]] = inside.reshape(size)
    return mirrors, factor


def macro_2d(x, n, size, offset):
    side = min(size[0] // n[0], size[1] // n[1])
    inside = np.zeros(size, dtype=np.uint8)
    inside[: n[0] * side, : n[1] * side] = np.kron(x.reshape(n), np.ones((side, side), dtype=np.uint8))
    mirrors = np.ones(SHAPE, dtype=np.uint8)
    mirrors[offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]] = inside
    return mirrors, side


def formatted(formatter, x, n, batch=True):
    """Pack, format into a target full of garbage, unpack: mirrors (k, 912, 1140)."""
    src = np.packbits(x, axis=-1)
    target = np.random.default_rng(9).integers(0, 256, (*x.shape[:-1], 129_960), dtype=np.uint8)
    before = src.copy()
    assert formatter.apply_format(src, target, n, True) is None
    assert np.array_equal(src, before)
    return np.unpackbits(target, axis=-1, bitorder="little").reshape(*x.shape[:-1], *SHAPE)


@pytest.mark.parametrize(
    ("n", "size", "offset"),
    [
        (10_000, *WHOLE),
        (1_000, *WHOLE),
        (784, *WHOLE),
        (7, *WHOLE),
        (1, *WHOLE),
        (600_001, *WHOLE),
        (100, (32, 40), (440, 550)),
        (99, (11, 13), (3, 5)),
        (143, (11, 13), (901, 1127)),
    ],
)
def test_lined(n, size, offset):
    x = np.random.default_rng(n).integers(0, 2, (3, n), dtype=np.uint8)
    formatter = Formatter(SHAPE)
    formatter.define_lined_mapping(np.array([n]), size, offset)  # lightonml hands an array of one
    expected = [lined(row, n, size, offset) for row in x]
    assert formatter.lined_factor == expected[0][1]
    got = formatted(formatter, x, n)
    for mirrors, (reference, _) in zip(got, expected, strict=True):
        assert np.array_equal(mirrors, reference)
    assert np.array_equal(formatted(formatter, x[1], n), expected[1][0])  # a single vector


@pytest.mark.parametrize(
    ("n", "size", "offset"),
    [
        ((28, 28), (896, 896), (8, 122)),
        ((900, 900), (900, 900), (6, 120)),
        ((8, 10), (912, 1140), (0, 0)),
        ((3, 50), (66, 1100), (423, 20)),
        ((5, 7), (53, 71), (1, 2)),
        ((912, 1), (912, 1), (0, 570)),
    ],
)
def test_macro_2d(n, size, offset):
    x = np.random.default_rng(n[0]).integers(0, 2, (3, n[0] * n[1]), dtype=np.uint8)
    formatter = Formatter(SHAPE)
    formatter.define_macro_2d_mapping(np.array(n), size, offset)
    expected = [macro_2d(row, n, size, offset) for row in x]
    assert formatter.macro_2d_size == expected[0][1]
    for mirrors, (reference, _) in zip(formatted(formatter, x, n[0] * n[1]), expected, strict=True):
        assert np.array_equal(mirrors, reference)


def test_factors_of_real_contexts():
    formatter = Formatter(SHAPE)
    for n, factor in ((10_000, 103), (1_000, 1039)):
        formatter.define_lined_mapping(n, *WHOLE)
        assert formatter.lined_factor == factor
    formatter.define_macro_2d_mapping((900, 900), (900, 900), (6, 120))
    assert formatter.macro_2d_size == 1


def test_ones_outside_of_a_region():
    formatter = Formatter(SHAPE)
    formatter.define_macro_2d_mapping((900, 900), (900, 900), (6, 120))
    mirrors = formatted(formatter, np.zeros(810_000, dtype=np.uint8), 810_000)
    assert mirrors.sum() == 229_680


def test_bytes_written_big_endian():
    formatter = Formatter(SHAPE)
    formatter.define_lined_mapping(1000, *WHOLE)
    x = np.random.default_rng(0).integers(0, 2, (2, 1000), dtype=np.uint8)
    target = np.empty((2, 129_960), dtype=np.uint8)
    formatter.apply_format(np.packbits(x, axis=1), target, 1000, False)
    assert np.array_equal(np.unpackbits(target, axis=1).reshape(2, *SHAPE), formatted(formatter, x, 1000))


def test_a_mapping_can_be_replaced():
    x = np.random.default_rng(0).integers(0, 2, (2, 100), dtype=np.uint8)
    formatter, other = Formatter(SHAPE), Formatter(SHAPE)
    formatter.define_lined_mapping(50, *WHOLE)
    for f in (formatter, other):
        f.define_macro_2d_mapping((10, 10), (910, 910), (1, 115))
    assert np.array_equal(formatted(formatter, x, 100), formatted(other, x, 100))


def test_what_does_not_fit_is_refused():
    formatter = Formatter(SHAPE)
    with pytest.raises(RuntimeError):
        formatter.apply_format(np.zeros(1, np.uint8), np.empty(129_960, np.uint8), 8, True)
    with pytest.raises(ValueError):
        formatter.define_lined_mapping(101, (10, 10), (0, 0))
    with pytest.raises(ValueError):
        formatter.define_macro_2d_mapping((5, 11), (10, 10), (0, 0))
    with pytest.raises(ValueError):
        formatter.define_lined_mapping(10, (10, 10), (905, 0))
    formatter.define_lined_mapping(100, *WHOLE)
    good = np.zeros((2, 13), np.uint8)
    with pytest.raises(ValueError):
        formatter.apply_format(good, np.empty((2, 129_959), np.uint8), 100, True)
    with pytest.raises(ValueError):
        formatter.apply_format(good[:, :-1], np.empty((2, 129_960), np.uint8), 100, True)
    with pytest.raises(ValueError):
        formatter.apply_format(good, np.empty((3, 129_960), np.uint8), 100, True)


def test_speed():
    """3 000 vectors of 10 000 features in 0.5 s on two idle cores; a third of them here, with room for others' load."""
    src = np.random.default_rng(0).integers(0, 256, (1000, 1250), dtype=np.uint8)
    formatter = Formatter(SHAPE)
    formatter.define_lined_mapping(10_000, *WHOLE)
    target = np.zeros((1000, 129_960), dtype=np.uint8)
    formatter.apply_format(src[:2], target[:2], 10_000, True)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        formatter.apply_format(src, target, 10_000, True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0
