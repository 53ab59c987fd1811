"""Errors as patterns of bits: norms that are restored, bounds of the rounding, what is left out, what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from opusim.dfa.error_encoding import (
    BitPlaneEncoding,
    NearestTernaryEncoding,
    SignEncoding,
    TernaryEncoding,
    parse_encoding,
)

ENCODINGS = [
    NearestTernaryEncoding(), NearestTernaryEncoding(0.0), TernaryEncoding(),
    TernaryEncoding(0.0), TernaryEncoding(0.3, "vector"), SignEncoding(), SignEncoding("batch"),
    BitPlaneEncoding(1), BitPlaneEncoding(4), BitPlaneEncoding(16),
]  # fmt: skip
quick = settings(max_examples=60, deadline=None, derandomize=True)
# Zero, or far above where float32 loses bits.
numbers = st.one_of(st.just(0.0), st.floats(2.0**-20, 1.0, width=32), st.floats(-1.0, -(2.0**-20), width=32))
batches = hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.integers(1, 9)), elements=numbers)


def softmax_errors(batch=200, classes=10, seed=0):
    """What a trainer projects: softmax minus one-hot."""
    rng = np.random.default_rng(seed)
    e = rng.dirichlet(np.full(classes, 0.3), batch)
    e[np.arange(batch), rng.integers(0, classes, batch)] -= 1
    return e.astype(np.float32)


def norms(vectors):
    return np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)


# ------------------------------------------------------------------ all encodings


@quick
@given(errors=batches, encoding=st.sampled_from(ENCODINGS))
def test_what_is_shown(errors, encoding):
    """Bits of uint8, no empty pattern, one row of weights a vector, and decoded is weights times bits."""
    encoded = encoding.encode(errors)
    assert encoded.bits.dtype == np.uint8 and encoded.bits.shape[1:] == errors.shape[1:]
    assert set(np.unique(encoded.bits)) <= {0, 1} and encoded.bits.any(axis=1).all()
    assert encoded.weights.shape == (len(errors), len(encoded.bits)) and encoded.weights.dtype == np.float32
    decoded = encoded.decoded()
    assert decoded.shape == errors.shape and decoded.dtype == np.float32
    by_hand = encoded.weights.toarray().astype(np.float64) @ encoded.bits
    # Sums of float32 weights, whose parts are larger than the result: a few roundings of the largest part.
    assert np.allclose(decoded, by_hand, rtol=0, atol=1e-6 * max(1.0, np.abs(by_hand).max(initial=0)))


@quick
@given(errors=batches, encoding=st.sampled_from(ENCODINGS))
def test_signs_are_kept(errors, encoding):
    """No encoding turns an error round; 1e-5 of the scale: sums of float32."""
    decoded = encoding.encode(errors).decoded()
    assert (decoded * np.sign(errors) >= -1e-5 * np.abs(decoded).max(initial=0)).all()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_nothing_to_show(encoding):
    for errors in (np.zeros((3, 5)), np.zeros((0, 5))):
        encoded = encoding.encode(errors)
        assert encoded.bits.shape == (0, 5) and encoded.weights.shape == (len(errors), 0)
        assert np.array_equal(encoded.decoded(), errors)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8])
def test_any_real_type(encoding, dtype):
    errors = np.array([[1, -1, 0], [0, 1, 1]])
    assert np.array_equal(encoding.encode(errors.astype(dtype)).decoded(), encoding.encode(errors).decoded())


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_errors_are_not_changed(encoding):
    errors = softmax_errors(20)
    before = errors.copy()
    encoding.encode(errors)
    assert np.array_equal(errors, before)


# ------------------------------------------------------------------ ternary


def test_ternary_by_hand():
    """Threshold 0.5, strictly: t = (1, 0, -1, 0), norm of e over norm of t as factor."""
    e = np.array([[0.6, 0.5, -0.8, -0.5]], dtype=np.float32)
    encoded = TernaryEncoding(0.5, "vector").encode(e)
    assert np.array_equal(encoded.bits, [[1, 0, 0, 0], [0, 0, 1, 0]])
    factor = np.sqrt(0.36 + 0.25 + 0.64 + 0.25) / np.sqrt(2)
    assert np.allclose(encoded.decoded(), [[factor, 0, -factor, 0]], rtol=1e-6, atol=0)


def test_ternary_batch_scale_is_the_ratio_of_mean_norms():
    """One factor, E norm(e) / E norm(t) over all vectors, also those whose t is empty (docs/physics.md, section 3)."""
    e = softmax_errors()
    e[::3] *= 0.05
    t = np.sign(e) * (np.abs(e) > 0.1)
    assert not t.any(axis=1).all()
    expected = t * (norms(e).mean() / norms(t).mean())
    assert np.allclose(TernaryEncoding(0.1, "batch").encode(e).decoded(), expected, rtol=1e-6, atol=0)


@quick
@given(errors=batches, threshold=st.floats(0, 1))
def test_ternary_keeps_norms(errors, threshold):
    """The mean norm (batch), or every norm of a vector that is shown (vector), to float32."""
    decoded = TernaryEncoding(threshold, "batch").encode(errors).decoded()
    if decoded.any():
        assert np.isclose(norms(decoded).mean(), norms(errors).mean(), rtol=1e-5)
    decoded = TernaryEncoding(threshold, "vector").encode(errors).decoded()
    shown = (np.abs(errors) > np.float32(threshold)).any(axis=1)
    assert np.allclose(norms(decoded), np.where(shown, norms(errors), 0), rtol=1e-5)


def test_ternary_takes_two_frames_at_most():
    e = softmax_errors()
    t = np.sign(e) * (np.abs(e) > 0.1)
    expected = (t > 0).any(axis=1).sum() + (t < 0).any(axis=1).sum()
    assert len(TernaryEncoding(0.1).encode(e).bits) == expected <= 2 * len(e)


# ------------------------------------------------------------------ nearest ternary

small_batches = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=numbers)


@quick
@given(errors=small_batches)
def test_no_ternary_vector_lies_nearer(errors):
    """Against all 3^n ternary vectors, each with its least-squares factor; float32 weights and sums of squares."""
    n = errors.shape[1]
    ternary = np.array(np.meshgrid(*[[-1, 0, 1]] * n)).reshape(n, -1).T
    ternary = ternary[ternary.any(axis=1)]
    decoded = NearestTernaryEncoding(0.0).encode(errors).decoded()
    for e, found in zip(errors.astype(np.float64), decoded, strict=True):
        # Distance of the projection onto t: norm(e)^2 - (e . t)^2 / norm(t)^2.
        least = np.dot(e, e) - np.max((ternary @ e) ** 2 / (ternary**2).sum(axis=1))
        assert np.sum((e - found) ** 2) <= least + 1e-5 * np.dot(e, e)


def test_nearest_ternary_by_hand():
    """An untrained network's error is one frame; two alike stay together; small norms are not shown."""
    e = np.full((4, 10), 0.1, dtype=np.float32)
    e[0, 3] = -0.9  # k = 1: 0.81; k = 10: 1.8^2 / 10
    e[1] = 0
    e[1, :3] = 0.5, -0.5, 0.1  # k = 1: 0.25; k = 2: 0.5; k = 3: 0.403
    e[2] *= 0.1  # norm 0.032
    encoded = NearestTernaryEncoding(0.05).encode(e)
    expected = np.zeros((4, 10))
    expected[0, 3], expected[1, :2], expected[3] = -0.9, (0.5, -0.5), 0.1
    assert np.allclose(encoded.decoded(), expected, rtol=1e-6, atol=0)
    assert len(encoded.bits) == 4
    assert np.allclose(NearestTernaryEncoding(0.0).encode(e).decoded()[2], 0.01, rtol=1e-6)


# ------------------------------------------------------------------ signs


@quick
@given(errors=batches)
def test_signs(errors):
    """Every component has the size norm(e) / sqrt(n), and 0 counts as +; vectors of norm 0 are not shown."""
    decoded = SignEncoding().encode(errors).decoded()
    size = norms(errors) / np.sqrt(errors.shape[1])
    expected = np.where(errors >= 0, 1, -1) * size[:, None]
    assert np.allclose(decoded, expected, rtol=1e-5, atol=0)


def test_signs_with_one_scale():
    e = softmax_errors()
    expected = np.where(e >= 0, 1, -1) * norms(e).mean() / np.sqrt(10)
    assert np.allclose(SignEncoding("batch").encode(e).decoded(), expected, rtol=1e-6, atol=0)


@quick
@given(errors=batches)
def test_signs_take_one_pattern_a_vector_and_two(errors):
    """None of them has more than half of the classes on, rounded up."""
    bits = SignEncoding().encode(errors).bits
    assert len(bits) <= len(errors) + 2
    assert (bits.sum(axis=1) <= (errors.shape[1] + 1) // 2).all()


# ------------------------------------------------------------------ bit planes


@quick
@given(errors=batches, n_bits=st.integers(1, 12))
def test_bit_planes_round_to_half_a_step(errors, n_bits):
    """abs(decoded - e) <= step / 2 with step = max(abs(e)) / (2^n - 1): rounding, where truncation would give a step.

    2e-6 of the largest: the sums of float32 weights.
    """
    encoded = BitPlaneEncoding(n_bits).encode(errors)
    largest = np.abs(errors).max(initial=0)
    step = largest / (2**n_bits - 1)
    difference = np.abs(encoded.decoded().astype(np.float64) - errors)
    assert (difference <= step / 2 + 2e-6 * largest).all()
    assert len(encoded.bits) <= 2 * n_bits * len(errors)


def test_bit_planes_of_levels_are_exact():
    """Multiples of the step come back, and the frames are those of the bits that are on."""
    e = np.array([[7, -5, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
    encoded = BitPlaneEncoding(3).encode(e)
    assert np.array_equal(encoded.decoded(), e)
    # Vector 0: 4 +, 4 -, 2 +, 1 +, 1 -; vector 1: 1 +.
    assert np.array_equal(encoded.weights.toarray(), [[4, -4, 2, 1, -1, 0], [0, 0, 0, 0, 0, 1], [0] * 6])


def test_few_vectors_that_pass():
    """By themselves they keep their norm; with one factor for the batch they carry that of all (docs/physics.md)."""
    errors = np.full((8, 4), 0.05, np.float32)
    errors[0] = [0.9, 0, 0, 0]
    assert np.allclose(TernaryEncoding(0.1).encode(errors).decoded()[0], [0.9, 0, 0, 0])
    assert np.allclose(TernaryEncoding(0.1, "batch").encode(errors).decoded()[0], [0.9 + 7 * 0.1, 0, 0, 0])


# ------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("float", None), ("ternary", NearestTernaryEncoding()), ("ternary:0.25", TernaryEncoding(0.25)),
        ("ternary:0:vector", TernaryEncoding(0.0, "vector")), ("sign", SignEncoding()), ("bits:6", BitPlaneEncoding(6)),
        ("ternary:nearest", NearestTernaryEncoding()), ("ternary:nearest:0.2", NearestTernaryEncoding(0.2)),
        ("ternary:0.1:batch", TernaryEncoding(0.1, "batch")),
    ],
)  # fmt: skip
def test_texts(text, encoding):
    assert parse_encoding(text) == encoding


@pytest.mark.parametrize(
    "text",
    ["", "Ternary", "ternary:", "ternary:a", "ternary:nan", "ternary:-1", "ternary:inf", "ternary:0.1:row",
     "ternary:0.1:vector:1", "ternary:nearest:", "ternary:nearest:x", "ternary:nearest:-1", "ternary:nearest:0:1",
     "sign:1", "bits", "bits:", "bits:0", "bits:17", "bits:2.5", "float:32", "identity"],
)  # fmt: skip
def test_bad_texts(text):
    with pytest.raises(ValueError, match="encoding is .*but it must be 'float', 'ternary'"):
        parse_encoding(text)


@quick
@given(text=st.text(max_size=20))
def test_any_text_is_an_encoding_or_a_sentence(text):
    try:
        encoding = parse_encoding(text)
    except ValueError as error:
        assert str(error).startswith("encoding is ")
    else:
        assert encoding is None or encoding.describe()["encoding"] in ("ternary", "sign", "bits")


def test_bad_text_type():
    with pytest.raises(TypeError, match=r"encoding is 3 \(int\), but it must be 'float'"):
        parse_encoding(3)


def test_descriptions_tell_encodings_apart():
    descriptions = [encoding.describe() for encoding in ENCODINGS]
    assert all(a != b for i, a in enumerate(descriptions) for b in descriptions[:i])
    assert all(isinstance(value, (str, int, float)) for d in descriptions for value in d.values())


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("encoding", [TernaryEncoding(), SignEncoding(), BitPlaneEncoding()], ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e31, 1e300])
def test_numbers_that_are_not_finite(encoding, bad):
    errors = np.zeros((3, 4))
    errors[1, 2] = bad
    with pytest.raises(ValueError, match=r"errors\[1, 2\] is -?(nan|inf|1e\+31|9.99\S*), but every error must be"):
        encoding.encode(errors)


@pytest.mark.parametrize("exponent", [-100, -120, 80])
@pytest.mark.parametrize(
    "make",
    [
        lambda unit: NearestTernaryEncoding(0.05 * unit),
        lambda unit: TernaryEncoding(0.2 * unit),
        lambda unit: TernaryEncoding(0.2 * unit, "batch"),
        lambda unit: SignEncoding(),
        lambda unit: BitPlaneEncoding(4),
    ],
)
def test_a_magnitude_goes_through(make, exponent):
    """Thresholds are in units of the error: with both times a power of two, what is shown is so, too, to the bit."""
    errors, unit = softmax_errors(20), np.float32(2.0**exponent)
    known, found = make(1.0).encode(errors), make(float(unit)).encode(errors * unit)
    assert np.array_equal(found.bits, known.bits) and known.bits.any()
    # Below float32's least normal number, 2^-126, bits get lost.
    assert np.allclose(found.decoded() / unit, known.decoded(), rtol=1e-6 if exponent > -110 else 0.02, atol=0)


@pytest.mark.parametrize("encoding", [NearestTernaryEncoding(0.0), SignEncoding(), BitPlaneEncoding()], ids=repr)
def test_errors_that_all_vanish_in_float32_are_told(encoding):
    errors = np.array([[1e-200, -5e-201], [0, 0]])
    with pytest.warns(UserWarning, match="errors are at most 1e-200, which is 0 in float32"):
        assert not encoding.encode(errors).decoded().any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoding.encode(errors + [[0], [1]])  # beside others they count for nothing
        encoding.encode(errors * 0)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 4), (2, 0)])
def test_shapes(shape):
    with pytest.raises(ValueError, match="errors has the shape"):
        TernaryEncoding().encode(np.zeros(shape))


@pytest.mark.parametrize("errors", [[["a"]], [[1j]], [[True]], [[None]]])
def test_types(errors):
    with pytest.raises(TypeError, match="errors is an array of .*, but it must hold real numbers"):
        SignEncoding().encode(errors)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: NearestTernaryEncoding(-1), ValueError, "least_norm is -1"),
        (lambda: TernaryEncoding(-0.1), ValueError, "threshold is -0.1"),
        (lambda: TernaryEncoding(np.nan), ValueError, "threshold is nan"),
        (lambda: TernaryEncoding("0.1"), TypeError, "threshold is '0.1'"),
        (lambda: TernaryEncoding(0.1, "row"), ValueError, "scale is 'row', but it must be one of 'batch', 'vector'"),
        (lambda: SignEncoding("none"), ValueError, "scale is 'none'"),
        (lambda: BitPlaneEncoding(0), ValueError, "n_bits is 0, but it must be a whole number from 1 to 16"),
        (lambda: BitPlaneEncoding(2.0), TypeError, "n_bits is 2.0"),
    ],
)
def test_bad_parameters(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
