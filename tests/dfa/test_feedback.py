"""Projections by arithmetic: the matrix, what is projected, the noise and its address, the levels, bad input."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import opusim.dfa
from opusim.dfa import BitPlaneEncoding, GaussianFeedback, NoisyFeedback, SignEncoding, TernaryEncoding

ENCODINGS = [None, TernaryEncoding(), SignEncoding(), BitPlaneEncoding(3)]
# Encodings that look at one vector at a time.
SEPARATE = [None, TernaryEncoding(0.1, "vector"), SignEncoding()]
KINDS = [GaussianFeedback, NoisyFeedback]


def errors_of(batch, classes=10, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, (batch, classes)).astype(np.float32)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def in_batches(feedback, errors, sizes):
    ends = np.cumsum(sizes)
    assert ends[-1] == len(errors)
    return np.concatenate([feedback.project(part) for part in np.split(errors, ends[:-1])])


# ------------------------------------------------------------------ the matrix


def test_entries_are_standard_normal():
    """400 000 entries: mean to 1/sqrt(n), variance to sqrt(2/n), correlation of columns to 1/sqrt(rows); 5 sigma."""
    matrix = GaussianFeedback(20, 20000).matrix.astype(np.float64)
    assert abs(matrix.mean()) < 5 / np.sqrt(matrix.size)
    assert abs(np.mean(matrix**2) - 1) < 5 * np.sqrt(2 / matrix.size)
    correlations = (matrix.T @ matrix / len(matrix))[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(len(matrix))


def test_projected_has_the_norm_of_the_error():
    """B e has the rms norm(e): 20 000 outputs, 0.5 % of it by chance; 5 sigma."""
    errors = errors_of(30)
    projected = GaussianFeedback(10, 20000, seed=2).project(errors)
    for row, error in zip(projected, errors, strict=True):
        assert abs(rms(row) / np.linalg.norm(error) - 1) < 5 / np.sqrt(2 * 20000)


def test_the_seed_sets_the_matrix():
    one, again, other = (GaussianFeedback(10, 50, seed=s).matrix for s in (1, 1, 2))
    assert np.array_equal(one, again) and not np.isclose(one, other).any()
    assert np.array_equal(GaussianFeedback(10, 80, seed=1).matrix[:50], one)
    assert np.array_equal(NoisyFeedback(10, 50, seed=1).matrix, one)
    assert one.dtype == np.float32 and not one.flags.writeable


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_of_ones_own(kind):
    matrix = np.arange(12).reshape(4, 3)
    feedback = kind(3, 4, matrix=matrix, **({"noise": 0.0} if kind is NoisyFeedback else {}))
    assert np.array_equal(feedback.project(np.eye(3)), matrix.T)
    changed = matrix.copy()
    changed[0, 0] = 1
    assert kind(3, 4, matrix=changed).describe() != kind(3, 4, matrix=matrix).describe()
    matrix[:] = 0  # what was given is not what is kept
    assert feedback.matrix.any()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
@pytest.mark.parametrize("batch", [0, 1, 64, 100])
def test_projected_is_the_decoded_error_times_the_matrix(encoding, batch):
    """To 1e-5 of the rms: float32 sums of ten terms."""
    feedback, errors = GaussianFeedback(10, 300, encoding=encoding), errors_of(batch)
    decoded = errors if encoding is None else encoding.encode(errors).decoded()
    expected = decoded.astype(np.float64) @ feedback.matrix.T.astype(np.float64)
    projected = feedback.project(errors)
    assert projected.dtype == np.float32 and projected.shape == (batch, 300)
    assert np.allclose(projected, expected, rtol=0, atol=1e-5 * max(rms(errors) if batch else 0, 1e-30) * 10)


# ------------------------------------------------------------------ batches


@pytest.mark.parametrize("classes", [3, 10, 65])
@pytest.mark.parametrize("width", [17, 256])
@pytest.mark.parametrize("encoding", SEPARATE, ids=repr)
@pytest.mark.parametrize("make", [GaussianFeedback, NoisyFeedback, lambda *a, **k: NoisyFeedback(*a, bits=6, **k)])
def test_same_bits_for_any_split(make, encoding, width, classes):
    errors = errors_of(70, classes)
    whole = make(classes, width, encoding=encoding).project(errors)
    for sizes in ([1] * 70, [64, 6], [7] * 10, [0, 69, 0, 1]):
        assert np.array_equal(in_batches(make(classes, width, encoding=encoding), errors, sizes), whole)


def test_same_bits_for_any_split_on_several_threads():
    """More than 2^24 multiplications, in three blocks of columns."""
    errors = errors_of(300, 65)
    whole = GaussianFeedback(65, 1100).project(errors)
    for sizes in ([1] * 300, [150, 150], [3, 297]):
        assert np.array_equal(in_batches(GaussianFeedback(65, 1100), errors, sizes), whole)


def test_order_of_batches():
    """Without noise the order has no part in it; with noise, the noise goes by the number of the vector."""
    a, b = errors_of(10, seed=1), errors_of(10, seed=2)
    plain = GaussianFeedback(10, 40)
    first = plain.project(a)
    plain.project(b)
    assert np.array_equal(plain.project(a), first)
    forth, back = NoisyFeedback(10, 40), NoisyFeedback(10, 40)
    noise_forth = [(forth.project(e) - plain.project(e)) / np.linalg.norm(e, axis=1)[:, None] for e in (a, b)]
    noise_back = [(back.project(e) - plain.project(e)) / np.linalg.norm(e, axis=1)[:, None] for e in (b, a)]
    # The place sets the noise: equal to the rounding of float32 sums (noise of 0.1).
    for one, other in zip(noise_forth, noise_back, strict=True):
        assert np.allclose(one, other, atol=1e-5)


# ------------------------------------------------------------------ noise


@pytest.mark.parametrize("noise", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("encoding", [None, TernaryEncoding()], ids=repr)
def test_noise_level(noise, encoding):
    """sigma = noise * norm(e as shown): 200 000 normal numbers have their rms to 1/sqrt(2 n) = 0.16 %; 5 sigma.

    And by the root mean square of B e it is `noise` to 3 %, the chance of 1000 outputs, 5 sigma being 11 %.
    """
    errors = errors_of(200)
    shown = errors if encoding is None else encoding.encode(errors).decoded()
    signal = GaussianFeedback(10, 1000, encoding=encoding, seed=4).project(errors)
    added = NoisyFeedback(10, 1000, noise=noise, encoding=encoding, seed=4).project(errors) - signal
    relative = added / np.linalg.norm(shown, axis=1)[:, None]
    assert abs(rms(relative) / noise - 1) < 5 / np.sqrt(2 * relative.size) + 1e-4
    assert abs(relative.mean() / noise) < 5 / np.sqrt(relative.size)
    assert abs(rms(added) / rms(signal) / noise - 1) < 0.11


def test_noise_is_never_the_same_twice():
    """Correlation of 40 000 numbers: 1/sqrt(n); 5 sigma. The same for two seeds."""
    errors = errors_of(40)
    feedback = NoisyFeedback(10, 1000, noise=1.0)
    signal = GaussianFeedback(10, 1000).project(errors)
    first, second = feedback.project(errors) - signal, feedback.project(errors) - signal
    other = NoisyFeedback(10, 1000, noise=1.0, seed=1, matrix=feedback.matrix).project(errors) - signal
    for one, two in ((first, second), (first, other)):
        assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 5 / np.sqrt(first.size)


def test_no_noise_is_the_twin():
    errors = errors_of(70)
    assert np.array_equal(
        NoisyFeedback(10, 90, noise=0.0, seed=3).project(errors), GaussianFeedback(10, 90, seed=3).project(errors)
    )


@pytest.mark.parametrize("encoding", [None, TernaryEncoding()], ids=repr)
def test_errors_of_zero_have_no_noise(encoding):
    for bits in (None, 4):
        assert not NoisyFeedback(10, 90, noise=0.5, bits=bits, encoding=encoding).project(np.zeros((5, 10))).any()


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_levels(bits):
    """At most 2^bits values for each vector, evenly from -4 to 4 norms; half a level off unless clipped."""
    errors = errors_of(20)
    exact = GaussianFeedback(10, 5000).project(errors)
    rounded = NoisyFeedback(10, 5000, noise=0.0, bits=bits).project(errors)
    for signal, result, error in zip(exact, rounded, errors, strict=True):
        full = 4 * np.linalg.norm(error)
        step = 2 * full / (2**bits - 1)
        levels = (result.astype(np.float64) + full) / step
        # Levels are whole to the rounding of float32, at most 2^8 of them.
        assert np.allclose(levels, np.rint(levels), atol=1e-3)
        assert levels.min() > -0.01 and levels.max() < 2**bits - 0.99
        inside = np.abs(signal) <= full
        assert (np.abs(result - signal)[inside] <= step * (0.5 + 1e-3)).all()


def test_outputs_beyond_the_range_are_clipped():
    """One class and a matrix of -6 to 6: full scale is 4 times the error."""
    matrix = np.linspace(-6, 6, 25)[:, None]
    projected = NoisyFeedback(1, 25, noise=0.0, bits=8, matrix=matrix).project([[0.5]])
    step = 2 * 4 * 0.5 / 255
    assert np.allclose(projected, np.clip(0.5 * matrix.T, -2, 2), atol=step / 2 + 1e-5)
    assert abs(projected.max() - 2) < 1e-5 and abs(projected.min() + 2) < 1e-5


# ------------------------------------------------------------------ to go on later


@pytest.mark.parametrize("bits", [None, 8])
def test_a_run_goes_on_bit_for_bit(bits):
    errors = errors_of(90)
    whole = NoisyFeedback(10, 60, bits=bits)
    expected = whole.project(errors)
    first = NoisyFeedback(10, 60, bits=bits)
    first.project(errors[:37])
    second = NoisyFeedback(10, 60, bits=bits)
    second.restore(first.state())
    assert np.array_equal(second.project(errors[37:]), expected[37:])
    assert second.state() == whole.state() == {"vectors": 90}
    assert second.costs.vectors == 90


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("state", "error"), [({}, ValueError), ({"vectors": -1}, ValueError), ({"vectors": "3"}, TypeError)]
)
def test_bad_states(kind, state, error):
    with pytest.raises(error, match="vectors"):
        kind(10, 60).restore(state)


def test_costs():
    feedback = GaussianFeedback(10, 60, encoding=TernaryEncoding())
    feedback.project(errors_of(5))
    feedback.project(errors_of(7))
    costs = feedback.costs
    assert costs.vectors == 12 and costs.encoding_s > 0 and costs.projection_s > 0
    assert costs.frames is None and costs.device_s is None and costs.device_j is None


def test_descriptions_tell_feedbacks_apart():
    ones = np.ones((60, 10))
    feedbacks = [
        GaussianFeedback(10, 60), GaussianFeedback(10, 61), GaussianFeedback(11, 60), GaussianFeedback(10, 60, seed=1),
        GaussianFeedback(10, 60, encoding=TernaryEncoding()), GaussianFeedback(10, 60, matrix=ones),
        NoisyFeedback(10, 60), NoisyFeedback(10, 60, noise=0.2), NoisyFeedback(10, 60, bits=8),
        NoisyFeedback(10, 60, matrix=ones), NoisyFeedback(10, 60, matrix=ones, seed=1),
    ]  # fmt: skip
    descriptions = [feedback.describe() for feedback in feedbacks]
    assert all(a != b for i, a in enumerate(descriptions) for b in descriptions[:i])
    assert all(isinstance(value, (str, int, float)) for d in descriptions for value in d.values())
    assert GaussianFeedback(10, 60).describe() == GaussianFeedback(10, 60).describe()


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (10,), (3, 9), (3, 11), (2, 3, 10)])
def test_shapes(kind, shape):
    with pytest.raises(ValueError, match=r"errors has the shape .*, but it must be \(batch, 10\)"):
        kind(10, 60).project(np.zeros(shape))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    errors=hnp.arrays(np.float32, (3, 4), elements=st.floats(-1, 1, width=32)),
    row=st.integers(0, 2), column=st.integers(0, 3), bad=st.sampled_from([np.nan, np.inf, -np.inf]),
)  # fmt: skip
def test_one_bad_number_is_found_and_named(errors, row, column, bad):
    feedback = NoisyFeedback(4, 5)
    errors[row, column] = bad
    with pytest.raises(ValueError, match=rf"errors\[{row}, {column}\] is"):
        feedback.project(errors)
    assert feedback.state() == {"vectors": 0}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_classes": 0}, ValueError, "n_classes is 0"),
        ({"width": 2.5}, TypeError, "width is 2.5"),
        ({"seed": -1}, ValueError, "seed is -1"),
        (
            {"encoding": "ternary"},
            TypeError,
            r"encoding is 'ternary' \(str\), .* be None or an encoding object",
        ),
        ({"matrix": np.zeros((10, 60))}, ValueError, r"matrix has the shape \(10, 60\), but it must be .* \(60, 10\)"),
        ({"matrix": np.full((60, 10), np.nan)}, ValueError, "matrix holds numbers that are not finite"),
        ({"matrix": np.zeros((60, 10), dtype=complex)}, TypeError, "matrix is an array of complex128"),
        ({"noise": -0.1}, ValueError, "noise is -0.1"),
        ({"noise": np.nan}, ValueError, "noise is nan"),
        ({"bits": 0}, ValueError, "bits is 0"),
        ({"bits": 17}, ValueError, "bits is 17"),
        ({"bits": 8.0}, TypeError, "bits is 8.0"),
    ],
)
def test_bad_parameters(arguments, error, message):
    given_arguments = {"n_classes": 10, "width": 60, **arguments}
    with pytest.raises(error, match=message):
        NoisyFeedback(**given_arguments)


# ------------------------------------------------------------------ the package


@pytest.mark.parametrize("name", opusim.dfa.__all__)
def test_every_public_name_is_there(name):
    assert getattr(opusim.dfa, name).__name__ == name and name in dir(opusim.dfa)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Feedbacks'; it has .*Feedback"):
        _ = opusim.dfa.Feedbacks


def test_feedback_and_trainers_load_no_torch_and_no_driver():
    code = "import sys, opusim.dfa as d; print(*sys.modules); [getattr(d, n) for n in d.__all__]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    before, after = (line.split() for line in done.stdout.splitlines())
    assert not {"numpy", "scipy", "torch"} & set(before)
    assert not {"torch", "opusim.drivers", "opusim.calibration", "matplotlib", "tqdm"} & set(after)
