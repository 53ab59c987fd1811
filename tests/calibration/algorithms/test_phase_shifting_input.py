"""Bad input to the phase-shifting functions: a sentence that names the argument, never a wrong field."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from opusim.calibration.algorithms import off_axis
from opusim.calibration.algorithms import phase_shifting as ps

fast = settings(max_examples=80, deadline=None)
PHASES = ps.equal_steps(4)
RNG = np.random.default_rng(0)
SIGNAL = RNG.normal(size=(8, 8)) + 1j * RNG.normal(size=(8, 8))
FRAMES = np.abs(SIGNAL + 3 * np.exp(1j * PHASES)[:, None, None]) ** 2
BY_NAME = {
    "three_step": lambda frames, **k: ps.three_step(frames[:3] if np.ndim(frames) else frames, **k),
    "four_step": ps.four_step,
    "carre": ps.carre,
    "least_squares": lambda frames, **k: ps.least_squares(frames, PHASES, **k),
    "unsaturated": lambda frames, **k: ps.least_squares_unsaturated(frames, PHASES, 1e9, **k),
    "advanced_iterative": lambda frames, **k: ps.advanced_iterative(frames, PHASES, **k),
    "frame_powers": ps.frame_powers,
    "normalise_power": ps.normalise_power,
    "saturated_pixels": lambda frames, **k: ps.saturated_pixels(frames, 200, **k),
}


def refused(call, *words, kind=(TypeError, ValueError)):
    """Check that a call fails with a sentence that holds every word."""
    with pytest.raises(kind) as error:
        call()
    text = str(error.value)
    for word in words:
        assert word in text, text
    assert text.endswith("."), text


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("dtype", [bool, complex, object, str, "datetime64[s]"])
def test_frames_that_are_not_real_numbers(name, dtype):
    frames = FRAMES.astype(np.int64).astype(dtype)
    refused(lambda: BY_NAME[name](frames), "frames", "real numbers", kind=TypeError)


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("axis", [3, -4, 1.0, None, True])
def test_axes_that_frames_have_not(name, axis):
    refused(lambda: BY_NAME[name](FRAMES, axis=axis), "axis")


@fast
@given(
    st.sampled_from(["four_step", "carre", "least_squares", "unsaturated", "advanced_iterative", "frame_powers"]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 7)),
    st.sampled_from([np.float32, np.float64]),
)
def test_a_single_value_that_is_not_finite_is_found(name, value, place, dtype):
    frames = FRAMES.astype(dtype)
    frames[place] = value
    refused(lambda: BY_NAME[name](frames), "frames", "finite", kind=ValueError)


@fast
@given(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
def test_frames_of_any_shape(shape):
    """Either a field of the frames' shape without the step axis, or a sentence."""
    frames = np.zeros(shape)
    for call, steps in ((ps.three_step, 3), (ps.four_step, 4), (ps.schwider_hariharan, 5)):
        if len(shape) and shape[0] == steps:
            assert call(frames).q.shape == shape[1:]
        else:
            refused(lambda call=call: call(frames), "frames" if shape else "axis", kind=ValueError)


def test_ragged_frames():
    refused(lambda: ps.four_step([[1.0, 2], [3.0], [1.0, 2], [4.0]]), "frames", "one shape", kind=ValueError)


# ---------------------------------------------------------------- phases


@fast
@given(hnp.arrays(np.float64, st.integers(0, 6), elements=st.floats(-20, 20) | st.sampled_from([np.nan, np.inf])))
def test_any_phases(phases):
    """Either they recover the field, or the sentence names them."""
    frames = np.abs(SIGNAL + 3 * np.exp(1j * np.nan_to_num(phases, posinf=0))[:, None, None]) ** 2
    try:
        fit = ps.least_squares(frames, phases)
    except ValueError as error:
        assert ("phases_rad" in str(error) or "frames has" in str(error)) and str(error).endswith(".")
        turns = np.unique(np.round(np.exp(1j * phases[np.isfinite(phases)]), 9))
        gaps = np.abs(turns[:, None] - turns)[np.triu_indices(len(turns), 1)]
        # It may only refuse what is short, not finite, or has no three phases that differ clearly.
        assert len(phases) < 3 or not np.isfinite(phases).all() or len(turns) < 3 or gaps.min() < 0.1
    else:
        assert np.max(np.abs(fit.q - 3 * SIGNAL)) < 1e-6


@pytest.mark.parametrize("phases", [None, "0123", [0, 1j, 2, 3], [[0, 1, 2, 3]], [0, 1, 2], 1.0, [[0], [1, 2]]])
def test_phases_that_are_no_list_of_numbers(phases):
    refused(lambda: ps.least_squares(FRAMES, phases), "phases_rad", "one for each")
    refused(lambda: ps.advanced_iterative(FRAMES, phases), "nominal_rad", "one for each")
    refused(lambda: ps.least_squares_unsaturated(FRAMES, phases, 255), "phases_rad", "one for each")


@pytest.mark.parametrize("phases", [[0, 0, 0, 0], [0, np.pi, 2 * np.pi, np.pi], [0, 1e-5, 2e-5, 3e-5]])
def test_phases_that_do_not_differ(phases):
    refused(lambda: ps.least_squares(FRAMES, phases), "phases_rad", "three phases must differ", kind=ValueError)


@pytest.mark.parametrize("weights", [[1, 1, 0, 0], [1, 1, 1, -1], [1, 1, 1], [1, 1, 1, np.nan], "1111"])
def test_weights(weights):
    refused(lambda: ps.least_squares(FRAMES, PHASES, weights), "weights")


def test_weights_that_leave_two_phases():
    refused(lambda: ps.least_squares(FRAMES, [0, 1, 2 * np.pi, 4], [1, 1, 1, 0]), "weights", kind=ValueError)


@pytest.mark.parametrize("powers", [[1, 1, 1, 0], [1, 1, 1, -1], [1, 1, 1], [1, 1, 1, np.nan], "1111", [[1, 1, 1, 1]]])
def test_powers(powers):
    refused(lambda: ps.least_squares(FRAMES, PHASES, powers=powers), "powers")
    refused(lambda: ps.normalise_power(FRAMES, powers=powers), "powers")


@pytest.mark.parametrize("n", [2, 0, -1, 3.0, True, "4", None])
def test_equal_steps(n):
    refused(lambda: ps.equal_steps(n), "n_steps")


# ---------------------------------------------------------------- frames without a fringe


def test_frames_without_light_or_fringe():
    for frames in (np.zeros((4, 8, 8)), np.ones((4, 8, 8)), np.arange(4.0)[:, None] * np.ones(64)):
        refused(lambda f=frames: ps.carre(f), "fringe")
        refused(lambda f=frames: ps.carre(f, per_pixel=True), "fringe")
        refused(lambda f=frames: ps.advanced_iterative(f, PHASES), "fringe")
    refused(lambda: ps.frame_powers(np.zeros((4, 8))), "without light", kind=ValueError)
    refused(lambda: ps.frame_powers(np.zeros((4, 8)), PHASES), "without light", kind=ValueError)
    refused(lambda: ps.frame_powers(FRAMES[:3], PHASES[:3]), "at least 4", kind=ValueError)
    refused(lambda: ps.frame_powers(np.zeros((4, 0))), "at least one pixel", kind=ValueError)
    refused(lambda: ps.dark_pixels(np.zeros(5)), "dark frames", kind=ValueError)


def test_two_frames_that_differ_in_one_way_only():
    """Frames that go to and fro between two pictures hold no field."""
    frames = np.stack([FRAMES[0], FRAMES[1]] * 2)
    refused(lambda: ps.advanced_iterative(frames, PHASES), "no fringe", kind=ValueError)


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(np.uint8, (4, 64)))
def test_any_counts(frames):
    """Whatever the counts: numbers, or a sentence of no fringe."""
    assert np.isfinite(ps.four_step(frames).q).all()
    for call in (lambda: ps.carre(frames)[0], lambda: ps.advanced_iterative(frames, PHASES)):
        try:
            fit = call()
        except ValueError as error:
            assert "fringe" in str(error) or "differ clearly" in str(error)
        else:
            assert np.isfinite(fit.q).all() and np.isfinite(fit.offset).all()
    fit = ps.least_squares_unsaturated(frames, PHASES, 255)
    assert np.array_equal(np.isfinite(fit.q), fit.valid)


# ---------------------------------------------------------------- masks and options


@pytest.mark.parametrize("mask", [np.ones((8, 8)), np.ones(64, bool), np.zeros((8, 8), bool)])
def test_masks(mask):
    refused(lambda: ps.advanced_iterative(FRAMES, PHASES, mask=mask), "mask")
    refused(lambda: ps.frame_powers(FRAMES, mask=mask), "mask")


def test_too_few_pixels_for_steps():
    refused(lambda: ps.advanced_iterative(FRAMES[:, 0, :7], PHASES), "7 pixels", "at least 8", kind=ValueError)


@pytest.mark.parametrize(
    "name, value",
    [
        ("tolerance_rad", 0),
        ("tolerance_rad", "x"),
        ("max_iterations", 0),
        ("max_iterations", 2.5),
        ("fit_power", 1),
        ("refine", None),
    ],
)
def test_options_of_the_iterative_algorithm(name, value):
    refused(lambda: ps.advanced_iterative(FRAMES, PHASES, **{name: value}), name)


def test_rounds_that_do_not_suffice_are_said():
    fit = ps.advanced_iterative(FRAMES, PHASES * 1.2, max_iterations=1, tolerance_rad=1e-12)
    assert not fit.converged and fit.iterations == 1


@pytest.mark.parametrize("value", [0, -1, np.nan, "255", None, True])
def test_full_scale(value):
    refused(lambda: ps.saturated_pixels(FRAMES, value), "full_scale_dn")
    refused(lambda: ps.least_squares_unsaturated(FRAMES, PHASES, value), "full_scale_dn")


def test_other_arguments():
    fit = ps.four_step(FRAMES)
    refused(lambda: fit.field(np.ones(7)), "reference_intensity", "(7,)", kind=ValueError)
    refused(lambda: fit.field(1j), "reference_intensity", kind=TypeError)
    assert np.isnan(fit.field(0.0)).all()
    refused(lambda: ps.modulation(fit.q, fit.offset[0]), "one shape", kind=ValueError)
    refused(lambda: ps.dark_pixels(FRAMES[0], least_share=2), "least_share", kind=ValueError)
    refused(lambda: ps.dark_pixels("dark"), "offset", kind=TypeError)
    refused(lambda: ps.least_squares_unsaturated(FRAMES, PHASES, 255, black_level_dn=[1, 2]), "black_level_dn")
    refused(lambda: ps.least_squares_unsaturated(FRAMES, PHASES, 255, black_level_dn=np.nan), "black_level_dn")
    refused(lambda: ps.least_squares_unsaturated(np.ones((64, 2)), ps.equal_steps(64), 255), "63", kind=ValueError)


# ---------------------------------------------------------------- off axis


@pytest.mark.parametrize("carrier", [None, "ab", [1], [0.1, 0.2, 0.3], [0.1, 1j]])
def test_carriers_that_are_no_pair(carrier):
    refused(lambda: off_axis.demodulate(FRAMES[0], carrier, 0.05), "carrier", kind=TypeError)


@pytest.mark.parametrize("carrier", [[np.nan, 0], [0.6, 0], [0, -np.inf]])
def test_carriers_beyond_the_pixels(carrier):
    refused(lambda: off_axis.demodulate(FRAMES[0], carrier, 0.05), "carrier", kind=ValueError)


@fast
@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.001, 0.5), st.booleans(), st.integers(8, 20))
def test_any_carrier(row, column, band, known, size):
    """Finite numbers where there is room for the side band, a sentence where there is none."""
    frame = np.random.default_rng(size).normal(size=(size, 9)).astype(np.float32)
    background = np.float32(0.0) if known else None
    try:
        fit = off_axis.demodulate(frame, (row, column), band, background=background)
    except ValueError as error:
        assert str(error).startswith("carrier is") and str(error).endswith(".")
        # The carrier is too short, or its side band too near its twin (half a cycle per pixel wraps round).
        assert np.hypot(row, column) < 3 * band or max(abs(row), abs(column)) > 0.5 - band
    else:
        assert np.hypot(row, column) >= (1 if known else 3) * band * (1 - 1e-6)
        assert fit.q.shape == frame.shape and np.isfinite(fit.q).all()


def test_off_axis_frames():
    good = np.ones((16, 16))
    refused(lambda: off_axis.demodulate(np.ones(16), (0.2, 0.2), 0.05), "frames", "(16,)", kind=ValueError)
    refused(lambda: off_axis.demodulate(np.ones((16, 4)), (0.2, 0.2), 0.05), "frames", kind=ValueError)
    refused(lambda: off_axis.demodulate(good * 1j, (0.2, 0.2), 0.05), "frames", kind=TypeError)
    refused(lambda: off_axis.demodulate(good * np.nan, (0.2, 0.2), 0.05), "frames", "finite", kind=ValueError)
    refused(lambda: off_axis.find_carrier(good * np.inf, 0.05), "frames", "finite", kind=ValueError)
    refused(lambda: off_axis.find_carrier(good, 0.05, near=(1, 2, 3)), "near", kind=TypeError)
    for band in (0, -1, 0.6, np.nan, "x", None):
        refused(lambda b=band: off_axis.demodulate(good, (0.2, 0.2), b), "bandwidth")
        refused(lambda b=band: off_axis.find_carrier(good, b), "bandwidth")
    refused(lambda: off_axis.half_bandwidth(0), "grain_px", kind=ValueError)
    refused(lambda: off_axis.demodulate(good, (0.2, 0.2), 0.05, background=np.ones(5)), "background", kind=ValueError)
    refused(lambda: off_axis.demodulate(good, (0.2, 0.2), 0.05, background=1j), "background", kind=TypeError)
