"""Layouts: which mirror shows which feature."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opusim.patterns.kinds import ALWAYS_OFF, ALWAYS_ON
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

DMD = (912, 1140)


def layouts():
    """Small layouts of every kind, on arrays whose rows do not end with a byte."""
    small = st.tuples(st.integers(1, 24), st.integers(1, 40))

    @st.composite
    def build(draw):
        shape = draw(small)
        kind = draw(st.sampled_from(["lined", "macro_2d", "plain", "plain_2d", "plain_transposed"]))
        if kind == "plain":
            return MirrorLayout.plain(shape)
        if kind.startswith("plain"):
            return MirrorLayout.plain(shape, shape if kind == "plain_2d" else shape[::-1])
        size = tuple(draw(st.integers(1, n)) for n in shape)
        offset = tuple(draw(st.integers(0, n - s)) for n, s in zip(shape, size, strict=True))
        if kind == "lined":
            return MirrorLayout.lined(shape, draw(st.integers(1, size[0] * size[1])), offset, size)
        return MirrorLayout.macro_2d(shape, tuple(draw(st.integers(1, s)) for s in size), offset, size)

    return build()


def random_bits(layout, n=3, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, layout.n_features_total), dtype=np.uint8)


def mirrors_by_definition(layout, bits):
    """The rule mirror by mirror, written down in the plainest way."""
    out = np.ones((len(bits), *layout.dmd_shape), dtype=np.uint8)
    (r0, c0), (h, w) = layout.roi_offset, layout.roi_size
    for row in range(h):
        for column in range(w):
            if layout.kind == "lined":
                j = (row * w + column) // layout.factor
                feature = j if j < layout.n_features[0] else None
            elif layout.kind == "macro_2d":
                a, b = row // layout.factor, column // layout.factor
                inside = a < layout.n_features[0] and b < layout.n_features[1]
                feature = a * layout.n_features[1] + b if inside else None
            elif layout.n_features == layout.dmd_shape or len(layout.n_features) == 1:
                feature = row * w + column
            else:
                feature = column * h + row
            out[:, r0 + row, c0 + column] = 0 if feature is None else bits[:, feature]
    return out


@settings(max_examples=150, deadline=None)
@given(layouts())
def test_mirrors_packed_and_count_follow_the_definition(layout):
    bits = random_bits(layout)
    expected = mirrors_by_definition(layout, bits)
    assert np.array_equal(layout.mirrors(bits), expected)
    packed = layout.packed(bits)
    assert packed.shape == (3, -(-layout.n_mirrors // 8))
    unpacked = np.unpackbits(packed, axis=1, bitorder="little")
    assert np.array_equal(unpacked[:, : layout.n_mirrors], expected.reshape(3, -1))
    assert not unpacked[:, layout.n_mirrors :].any()
    assert np.array_equal(layout.count_on(bits), expected.sum(axis=(1, 2)))


@pytest.mark.parametrize(
    "layout",
    [
        MirrorLayout.lined(DMD, 10_000),
        MirrorLayout.lined(DMD, 1000),
        MirrorLayout.lined(DMD, 810_000, (6, 120), (900, 900)),
        MirrorLayout.macro_2d(DMD, (28, 28), (8, 122), (896, 896)),
        MirrorLayout.macro_2d(DMD, (100, 100), (6, 120), (900, 900)),
        MirrorLayout(DMD, (100, 100), "dark_macro_2d", 9, (6, 120), (900, 900)),
        MirrorLayout.plain(DMD),
        MirrorLayout.plain(DMD, (1140, 912)),
    ],
    ids=lambda layout: f"{layout.kind}-{layout.n_features}",
)
def test_packed_equals_mirrors_on_the_real_array(layout):
    bits = random_bits(layout)
    mirrors = layout.mirrors(bits)
    for threads in (1, 2, 3):
        packed = layout.packed(bits, threads=threads)
        assert np.array_equal(np.unpackbits(packed, axis=1, bitorder="little").reshape(mirrors.shape), mirrors)
    assert np.array_equal(mirrors.sum(axis=(1, 2)), layout.count_on(bits))


def test_factors_of_the_real_device():
    assert [MirrorLayout.lined(DMD, n).factor for n in (10_000, 1000, 810_000)] == [103, 1039, 1]
    square = MirrorLayout.lined(DMD, 810_000, (6, 120), (900, 900))
    assert square.factor == 1
    assert square.n_always_on == 229_680


def test_feature_map_marks_constant_mirrors():
    layout = MirrorLayout.lined((4, 8), 3, (1, 2), (2, 5))
    index = layout.feature_of_mirror()
    assert index.dtype == np.int32 and not index.flags.writeable
    assert layout.factor == 3
    assert index[0, 0] == ALWAYS_ON and index[1, 1] == ALWAYS_ON
    assert index[1].tolist() == [-1, -1, 0, 0, 0, 1, 1, -1]
    assert index[2].tolist() == [-1, -1, 1, 2, 2, 2, ALWAYS_OFF, -1]
    assert layout.feature_of_mirror() is index


def test_a_dark_picture_is_the_other_one_with_its_surroundings_off():
    lit = MirrorLayout.macro_2d((12, 20), (3, 4), (1, 2), (10, 17))
    dark = MirrorLayout((12, 20), (3, 4), "dark_macro_2d", lit.factor, (1, 2), (10, 17))
    bits = random_bits(lit, 5)
    inside = np.zeros((12, 20), dtype=bool)
    inside[1:11, 2:19] = True
    assert np.array_equal(dark.mirrors(bits), np.where(inside, lit.mirrors(bits), 0))
    assert dark.n_always_on == 0 and lit.n_always_on == 12 * 20 - 170


def test_layouts_compare_hash_and_pickle_by_their_rule():
    layout = MirrorLayout.lined(DMD, 1000)
    layout.packed(random_bits(layout, 1))
    assert layout == MirrorLayout.lined(DMD, 1000) and hash(layout) == hash(MirrorLayout.lined(DMD, 1000))
    assert layout != MirrorLayout.lined(DMD, 1001)
    text = pickle.dumps(layout)
    assert len(text) < 1000  # the maps made from it stay behind
    assert pickle.loads(text) == layout == copy.deepcopy(layout)


def test_bits_may_be_bool_read_only_or_strided():
    layout = MirrorLayout.lined((16, 16), 10)
    bits = random_bits(layout, 4)
    frozen = bits.copy()
    frozen.flags.writeable = False
    strided = np.repeat(bits, 2, axis=1)[:, ::2]
    for other in (bits.astype(bool), frozen, strided, np.asfortranarray(bits)):
        assert np.array_equal(layout.mirrors(other), layout.mirrors(bits))
        assert np.array_equal(layout.packed(other), layout.packed(bits))
    assert layout.mirrors(bits[:0]).shape == (0, 16, 16)
    assert layout.packed(bits[:0]).shape == (0, 32)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (((4, 8), (3,), "lines", 1), "kind"),
        (((4, 8), (33,), "lined", 1), "n_features"),
        (((4, 8), (3,), "lined", 11), "factor"),
        (((4, 8), (3,), "lined", 0), "factor"),
        (((4, 8), (3,), "macro_2d", 1), "n_features"),
        (((4, 8), (3, 3), "lined", 1), "n_features"),
        (((4, 8), (3, 9), "macro_2d", 1), "n_features"),
        (((4, 8), (31,), "plain", 1), "n_features"),
        (((4, 8), (32,), "plain", 2), "factor"),
        (((4, 8), (3,), "lined", 1, (2, 0), (3, 8)), "roi"),
        (((4, 8), (3,), "lined", 1, (-1, 0), (3, 8)), "roi_offset"),
        (((4, 8), (1, 2, 3), "lined", 1), "n_features"),
        (((4,), (3,), "lined", 1), "dmd_shape"),
        (((4, 8), (2.5,), "lined", 1), "n_features"),
    ],
)
def test_bad_layouts_are_refused_with_a_sentence(arguments, word):
    with pytest.raises((TypeError, ValueError), match=word) as error:
        MirrorLayout(*arguments)
    assert str(error.value).endswith(".")


def test_patterns_hold_bits_and_layout():
    layout = MirrorLayout.lined((16, 16), 10)
    bits = random_bits(layout, 6)
    patterns = MirrorPatterns(bits, layout)
    assert len(patterns) == 6 and np.shares_memory(patterns.bits, bits)
    part = patterns[1:4]
    assert len(part) == 3 and part.layout is layout and np.shares_memory(part.bits, bits)
    assert np.array_equal(part.to_mirrors(), layout.mirrors(bits[1:4]))
    assert np.array_equal(part.packed(), layout.packed(bits[1:4]))
    assert np.array_equal(part.count_on(), layout.count_on(bits[1:4]))
    assert bits.flags.writeable and not patterns.bits.flags.writeable
    with pytest.raises(TypeError, match="slices"):
        patterns[0]


@pytest.mark.parametrize(
    ("bits", "word"),
    [
        (np.full((2, 10), 2, dtype=np.uint8), "value 2"),
        (np.zeros((2, 9), dtype=np.uint8), "shape"),
        (np.zeros((2, 10)), "dtype"),
        (np.zeros((1, 2, 10), dtype=np.uint8), "shape"),
    ],
)
def test_bad_patterns_are_refused_with_a_sentence(bits, word):
    with pytest.raises((TypeError, ValueError), match=word):
        MirrorPatterns(bits, MirrorLayout.lined((16, 16), 10))


def test_layout_is_light_to_import():
    code = "import sys, opusim.patterns.layout; assert 'numba' not in sys.modules and 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_first_features_keep_their_mirrors():
    layout = MirrorLayout.lined((12, 20), 30, (2, 4), (8, 10))
    part, every = layout.first(7), layout.feature_of_mirror()
    assert part.n_features == (7,) and part.factor == layout.factor and layout.first(30) is layout
    # Mirrors of the others are always off.
    assert np.array_equal(part.feature_of_mirror(), np.where(every >= 7, ALWAYS_OFF, every))
    bits = np.random.default_rng(0).integers(0, 2, (5, 7), dtype=np.uint8)
    assert np.array_equal(part.mirrors(bits), layout.mirrors(np.pad(bits, ((0, 0), (0, 23)))))
    assert np.array_equal(part.packed(bits), layout.packed(np.pad(bits, ((0, 0), (0, 23)))))


@pytest.mark.parametrize(
    ("layout", "n", "error", "words"),
    [
        (MirrorLayout.lined((12, 20), 30), 31, ValueError, "n is 31, but it must be a whole number from 1 to 30"),
        (MirrorLayout.lined((12, 20), 30), 0, ValueError, "n is 0, but it must be a whole number from 1 to 30"),
        (MirrorLayout.lined((12, 20), 30), 2.5, TypeError, "n is 2.5"),
        (MirrorLayout.macro_2d((12, 20), (3, 4)), 5, ValueError, "12 features of a layout of kind 'macro_2d' .* be 12"),
    ],
)
def test_features_that_are_none_of_the_first_are_refused(layout, n, error, words):
    with pytest.raises(error, match=words):
        layout.first(n)
