"""How a measured matrix changes with time: by the law of drift, or by matrices that were measured later."""

from __future__ import annotations

import math
import pickle

import h5py
import numpy as np
import pytest

from opusim.bench.bench import OpticalBench
from opusim.device.medium import MeasuredMedium, StateSequence
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

IDEAL = Device.load("ideal")
TAU_S = 1000.0
N_INPUTS, N_OUTPUTS = 4000, 300
ROW_RMS = np.repeat([0.0, 0.3, 1.0, 3.0], N_OUTPUTS // 4)
COLUMN_RMS = np.repeat([0.0, 0.2, 1.0, 4.0], N_INPUTS // 4)


def normal(shape, seed):
    parts = np.random.default_rng(seed).standard_normal((2, *shape)) / math.sqrt(2)
    return parts[0] + 1j * parts[1]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A file of rows and columns of any strength, dark ones among them, and a background of five times the field."""
    path = tmp_path_factory.mktemp("matrix") / "tm.h5"
    with h5py.File(path, "w") as file:
        file["tm"] = 7 * ROW_RMS[:, None] * COLUMN_RMS * normal((N_OUTPUTS, N_INPUTS), 1)
        file["background"] = 35 * ROW_RMS * normal((N_OUTPUTS,), 2)
    return path


def at(medium, time_s, seed=0):
    """The matrix as (outputs, inputs), and the background, at a time; and the time that their state stands for."""
    state = int(medium.drift.state(np.array(time_s)))
    tm = medium.entries(range(N_INPUTS), range(N_OUTPUTS), seed=seed, state=state).T.astype(complex)
    background = medium.background_field(range(N_OUTPUTS), seed=seed, state=state).astype(complex)
    return tm, background, medium.drift.time(state)


def alike(a, b, axis):
    """Correlation of two matrices along an axis."""
    both = np.sum(a * b.conj(), axis=axis).real
    return both / np.sqrt(np.sum(np.abs(a) ** 2, axis=axis) * np.sum(np.abs(b) ** 2, axis=axis))


@pytest.mark.parametrize("share", [0.25, 0.6, 1.0])
def test_rows_and_columns_of_any_strength_decorrelate_by_one_law(uneven, share):
    """C = exp(-(t / tau)^2), closed form. A row of n entries shows it to about sqrt((1 - C^2) / n), and so does a
    column: of 2000 strong inputs and 150 strong outputs the largest of 4000 deviations is below five of these."""
    medium = MeasuredMedium(str(uneven), decorrelation_time_s=TAU_S)
    start, _, _ = at(medium, 0.0)
    later, _, time_s = at(medium, share * TAU_S)
    law = math.exp(-((time_s / TAU_S) ** 2))
    lit, lit_inputs = ROW_RMS > 0, COLUMN_RMS > 0
    by_row = alike(start[lit], later[lit], 1)
    # Strong entries alone count: sums of the fourth power say how many these are.
    n_row = np.sum(COLUMN_RMS**2) ** 2 / np.sum(COLUMN_RMS**4)
    n_column = np.sum(ROW_RMS**2) ** 2 / np.sum(ROW_RMS**4)
    assert np.abs(by_row - law).max() < 5 * math.sqrt((1 - law**2) / n_row)
    by_column = alike(start[:, lit_inputs], later[:, lit_inputs], 0)
    assert np.abs(by_column - law).max() < 5 * math.sqrt((1 - law**2) / n_column)
    for rms in (0.3, 1.0, 3.0):  # the mean over 75 rows: 1.8 % at most
        chosen = by_row[ROW_RMS[lit] == rms]
        assert chosen.mean() == pytest.approx(law, abs=4 * math.sqrt((1 - law**2) / n_row / len(chosen)))


def test_rows_columns_and_background_keep_their_brightness(uneven):
    """E|T_ij(t)|^2 = v_ij C^2 + r_i^2 c_j^2 (1 - C^2), whose means over rows and columns are those of v: closed form.

    Chance moves the mean of n squares by sqrt(1 / n) of it, less where C is left. Dark rows and columns stay dark.
    """
    medium = MeasuredMedium(str(uneven), decorrelation_time_s=TAU_S)
    start, background, _ = at(medium, 0.0)
    squares, columns, behind = [], [], []
    for seed in range(4):
        later, moved, _ = at(medium, 3 * TAU_S, seed=seed)
        assert not later[ROW_RMS == 0].any() and not later[:, COLUMN_RMS == 0].any() and not moved[ROW_RMS == 0].any()
        squares.append(np.mean(np.abs(later) ** 2, axis=1))
        columns.append(np.mean(np.abs(later) ** 2, axis=0))
        behind.append(np.abs(moved) ** 2)
    lit, lit_inputs = ROW_RMS > 0, COLUMN_RMS > 0
    n_row = 4 * np.sum(COLUMN_RMS**2) ** 2 / np.sum(COLUMN_RMS**4)
    n_column = 4 * np.sum(ROW_RMS**2) ** 2 / np.sum(ROW_RMS**4)
    rows = np.mean(squares, axis=0)[lit] / np.mean(np.abs(start) ** 2, axis=1)[lit]
    assert np.abs(rows - 1).max() < 5 / math.sqrt(n_row)
    found = np.mean(columns, axis=0)[lit_inputs] / np.mean(np.abs(start) ** 2, axis=0)[lit_inputs]
    assert np.abs(found - 1).max() < 5 / math.sqrt(n_column)
    # The mean over 4 x 75 strong outputs that all have their own.
    strong = ROW_RMS == 3.0
    ratio = np.mean(np.array(behind)[:, strong]) / np.mean(ROW_RMS[strong] ** 2)
    scale = np.mean(np.abs(background[lit]) ** 2) / np.mean(ROW_RMS[lit] ** 2)
    assert ratio / scale == pytest.approx(1, abs=4 / math.sqrt(4 * strong.sum()))


def test_the_background_decorrelates_by_the_same_law(uneven):
    """And not with the noise of any input: 225 outputs, weighted by their strength."""
    medium = MeasuredMedium(str(uneven), decorrelation_time_s=TAU_S)
    _, start, _ = at(medium, 0.0)
    found, law = [], 0.0
    for seed in range(20):
        _, later, time_s = at(medium, 0.6 * TAU_S, seed=seed)
        law = math.exp(-((time_s / TAU_S) ** 2))
        found.append(np.sum(later * start.conj()).real / np.sum(np.abs(start) ** 2))
    n = 20 * np.sum(ROW_RMS**2) ** 2 / np.sum(ROW_RMS**4)
    assert np.mean(found) == pytest.approx(law, abs=4 * math.sqrt((1 - law**2) / n))


def test_noise_of_version_1_is_even(uneven):
    """What was done before stays under its name: weak rows become as bright as the others, and the background stays."""
    medium = MeasuredMedium(str(uneven), decorrelation_time_s=TAU_S, drift_noise="even")
    _, start, _ = at(medium, 0.0)
    later, background, _ = at(medium, 3 * TAU_S)
    assert np.mean(np.abs(later[:75]) ** 2) == pytest.approx(1, rel=0.02)
    assert np.array_equal(start, background)


# ---------------------------------------------------------------- a sequence

LAYOUT = MirrorLayout(
    dmd_shape=IDEAL.dmd.shape, n_features=(30,), kind="lined", factor=math.prod(IDEAL.dmd.shape) // 30,
    roi_offset=(0, 0), roi_size=IDEAL.dmd.shape,
)  # fmt: skip
STATES = normal((3, 50, 30), 5)
TIMES_S = np.array([0.0, 2.0, 6.0])


def device(path, **medium):
    given = {"transmission": IDEAL.medium.transmission, **medium}
    return IDEAL.evolve(medium=MeasuredMedium(path=str(path), **given))


@pytest.fixture
def sequence(tmp_path):
    path = tmp_path / "states.h5"
    with h5py.File(path, "w") as file:
        file["tm"], file["times_s"] = STATES, TIMES_S
        file["background"] = STATES[:, :, 0]
    return path


def shown(bench, n=1, **how):
    patterns = MirrorPatterns(np.ones((n, 30), np.uint8), LAYOUT)
    given = {"exposure_s": 400e-6, "roi": (0, 0, 5, 10), "n_pixels": 50, **how}
    return bench.transform(patterns, **given).astype(float)


def light(state):
    """Intensity of all features and the background, up to one factor."""
    return np.abs(STATES[state].sum(axis=1) + STATES[state, :, 0]) ** 2


def test_states_of_a_file_follow_each_other_at_their_times(sequence):
    """Each frame sees the last state that has begun; all in the units of the first."""
    bench = OpticalBench(device(sequence), 0)
    counts = [shown(bench)[0]]
    factor = counts[0].sum() / light(0).sum()
    for time_s in (1.999, 2.0, 5.9, 6.0, 9.0):
        bench.advance_to(bench.clock.frames, time_s)
        counts.append(shown(bench)[0])
    for found, state in zip(counts, (0, 0, 1, 1, 2, 2), strict=True):
        np.testing.assert_allclose(found, factor * light(state), rtol=1e-4, atol=1e-4 * counts[0].max())


def test_behind_the_last_state_it_stays_and_a_warning_says_so_once(sequence):
    bench = OpticalBench(device(sequence), 0)
    bench.advance_to(0, 9.9)
    last = shown(bench)
    with pytest.warns(
        UserWarning, match=r"20.* s, but the last state of the medium in '.*states.h5' begins at 6 s"
    ) as told:
        bench.advance_to(bench.clock.frames, 20.0)
        later = shown(bench), shown(bench)
    assert len(told) == 1 and all(np.array_equal(last, counts) for counts in later)


def test_a_frame_over_several_states_is_their_mean_by_time(sequence):
    """From 1 s on for 7 s: a second of the first, four of the second, two of the third."""
    bench = OpticalBench(device(sequence).evolve(**{"operation.exposure_average": True}), 0)
    bench.advance_to(0, 1.0)
    found = shown(bench, exposure_s=7.0)[0]
    mean = (light(0) + 4 * light(1) + 2 * light(2)) / 7
    np.testing.assert_allclose(found / found.mean(), mean / mean.mean(), rtol=1e-4, atol=1e-4)


def test_frames_of_a_sequence_are_the_same_however_they_are_split(sequence):
    """With noise, to the bit: one call, calls of two sizes, with a matrix that is kept or made in tiles, and a copy."""
    with h5py.File(sequence, "a") as file:
        file["times_s"][...] = [0.0, 0.0052, 0.0131]
    noisy = Device.load("aurora").evolve(medium=device(sequence).medium)
    whole = shown(OpticalBench(noisy, 3), 40)
    spread = [np.corrcoef(whole[0], whole[k])[0, 1] for k in (5, 35)]  # in the first state, and in the last one
    assert spread[0] > 0.9 > 0.5 > spread[1]
    for budget in (None, 1):
        bench = OpticalBench(noisy, 3, memory_budget=budget)
        parts = [shown(bench, 7)]
        bench = pickle.loads(pickle.dumps(bench))
        parts += [shown(bench, 13), shown(bench, 20)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_moments_of_a_sequence_are_its_times():
    drift = StateSequence(times_s=(0.0, 2.0, 6.0))
    assert drift.within(1.0, 7.0) == [(0, pytest.approx(1 / 7)), (1, pytest.approx(4 / 7)), (2, pytest.approx(2 / 7))]
    states, weights, shares = drift.within_parts(1.0, 7.0)
    assert states == [0, 1, 2] and weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(weights @ shares, 1 / 256)  # each part of the exposure counts once
    assert drift.within(2.0, 4.5) == [(1, pytest.approx(4 / 4.5)), (2, pytest.approx(0.5 / 4.5))]
    assert drift.within(1.9, 0.5) == [(0, 1.0)]  # not longer than a state: the one in which it begins


def test_the_correlation_of_a_sequence_is_that_of_its_matrices(sequence):
    medium = device(sequence).medium
    a, b = STATES[0].reshape(-1), STATES[2].reshape(-1)
    law = abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b)
    assert medium.field_correlation(7.0) == pytest.approx(law, rel=1e-5) and medium.field_correlation(1.0) == 1


def test_without_its_sequence_the_first_matrix_stays(sequence):
    still = device(sequence, sequence=False)
    bench = OpticalBench(still, 0)
    first = shown(bench)
    bench.advance_to(bench.clock.frames, 7.0)
    np.testing.assert_array_equal(first, shown(bench))
    assert not device(sequence).ideal().medium.sequence
    drifting = device(sequence, sequence=False, decorrelation_time_s=10.0)
    assert drifting.medium.field_correlation(10.0) == pytest.approx(math.exp(-1))


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (None, "'tm'.*sequence of 3 matrices.*must hold a data set 'times_s'.*of 3 times"),
        ([0, 2], r"'times_s'.*shape \(2,\).*start of each of the 3 states"),
        ([0, 2, 2], "'times_s'.*goes from 2 s in state 1 to 2 s in state 2"),
        ([1, 2, 3], "'times_s'.*begins at 1 s, but the first state must begin at 0"),
        ([0, 1, math.nan], r"'times_s'.*\[2\] is nan"),
        (["a", "b", "c"], "'times_s'.*real numbers"),
    ],
    ids=str,
)
def test_times_that_no_sequence_has(tmp_path, times, words):
    path = tmp_path / "states.h5"
    with h5py.File(path, "w") as file:
        file["tm"] = STATES
        if times is not None:
            file["times_s"] = times
    bench = OpticalBench(device(path), 0)
    with pytest.raises(ValueError, match=words):
        shown(bench)
    assert bench.clock.frames == 0


def test_a_sequence_has_no_law_beside_it(sequence):
    bench = OpticalBench(device(sequence, decorrelation_time_s=5.0), 0)
    with pytest.raises(
        ValueError, match="sequence of 3 matrices, but medium.decorrelation_time_s is 5.0: it must be inf"
    ):
        shown(bench)
