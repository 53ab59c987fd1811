"""Phase-shifting algorithms against the truth and the closed forms of docs/physics.md section 3, holography.

Monte Carlo checks use numpy's own Poisson and normal laws, with fixed seeds; beside each bound stands how often it
would fail by chance with another seed.
"""

from __future__ import annotations

import numpy as np
import pytest

import holography_theory as theory
from opusim.calibration.algorithms import phase_shifting as ps

Q = np.pi / 2


def speckle(pixels, mean=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.sqrt(mean / 2) * (rng.normal(size=pixels) + 1j * rng.normal(size=pixels))


def holograms(signal, reference, phases):
    """|S + R exp(i d_k)|^2 in double precision, straight from the definition."""
    steps = np.reshape(phases, (-1,) + (1,) * np.ndim(signal))
    return np.abs(signal + reference * np.exp(1j * steps)) ** 2


def counts(mean_e, rng, read_e=0.0, gain=1.0):
    """Camera counts in electrons: shot noise, read noise, rounding to whole grey levels."""
    electrons = rng.poisson(mean_e) + read_e * rng.normal(size=np.shape(mean_e))
    return np.rint(gain * electrons) / gain


def far(found, true):
    """Largest error over the rms of the truth."""
    return np.max(np.abs(found - true)) / np.sqrt(np.mean(np.abs(true) ** 2))


def swing(field, true):
    """Peak to valley of the phase error, in radians."""
    error = np.angle(field * np.conj(true) / np.mean(field * np.conj(true) / np.abs(field * true)))
    return np.ptp(error)


# ---------------------------------------------------------------- noise-free


S = speckle((40, 50))
R = 3 * np.exp(1j * np.linspace(0, 20, 50)) * np.linspace(0.7, 1.3, 40)[:, None]
TRUE_Q = S * np.conj(R)
ALGORITHMS = {
    "three_step": (ps.three_step, [0, 2 * np.pi / 3, 4 * np.pi / 3]),
    "four_step": (ps.four_step, [0, Q, 2 * Q, 3 * Q]),
    "schwider_hariharan": (ps.schwider_hariharan, [0, Q, 2 * Q, 3 * Q, 4 * Q]),
    "carre": (lambda frames: ps.carre(frames)[0], 1.7 * np.arange(4)),
    "carre_small": (lambda frames: ps.carre(frames)[0], 0.9 * np.arange(4)),
    **{
        f"least_squares_{n}": (lambda frames, d=d: ps.least_squares(frames, d), d)
        for n, d in [(3, [0, 1.91, 3.82]), (4, [0.3, 1.1, 2.9, 4.0]), (7, np.arange(7) * 0.8), (8, ps.equal_steps(8))]
    },
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_noise_free_recovery(name):
    """q, offset, field and modulation to 1e-5 of their rms, in single precision, at the algorithm's phases."""
    algorithm, phases = ALGORITHMS[name]
    fit = algorithm(holograms(S, R, phases).astype(np.float32))
    assert fit.q.dtype == np.complex64 and fit.offset.dtype == np.float32
    assert far(fit.q, TRUE_Q) < 1e-5
    assert far(fit.offset, np.abs(S) ** 2 + np.abs(R) ** 2) < 1e-5
    assert far(fit.field(np.abs(R) ** 2), S * np.exp(-1j * np.angle(R))) < 1e-5
    assert far(fit.modulation, 2 * np.abs(S * R) / (np.abs(S) ** 2 + np.abs(R) ** 2)) < 1e-5


@pytest.mark.parametrize("step", [0.9, 1.6, 2.2])
def test_carre_finds_the_step(step):
    frames = holograms(S, R, step * np.arange(4))
    assert abs(ps.carre(frames)[1] - step) < 1e-9
    fit, steps = ps.carre(frames, per_pixel=True)
    # In a pixel whose fringe is nearly even about the middle of the four frames its step is 0/0: those are left out.
    sure = fit.valid & (np.abs(np.sin(np.angle(TRUE_Q) - 1.5 * step)) > 0.05)
    assert sure.mean() > 0.95
    assert far(steps[sure], step) < 1e-9 and far(fit.q[sure], TRUE_Q[sure]) < 1e-9
    assert far(fit.offset[sure], (np.abs(S) ** 2 + np.abs(R) ** 2)[sure]) < 1e-9


def test_carre_with_a_step_of_each_pixels_own():
    steps = np.linspace(1.2, 1.9, S.size).reshape(S.shape)
    frames = np.abs(S + R * np.exp(1j * steps * np.arange(4)[:, None, None])) ** 2
    fit, found = ps.carre(frames, per_pixel=True)
    sure = fit.valid & (np.abs(np.sin(np.angle(TRUE_Q) - 1.5 * steps)) > 0.05)
    assert far(found[sure], steps[sure]) < 1e-9 and far(fit.q[sure], TRUE_Q[sure]) < 1e-9


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_every_axis_is_the_same_fit(axis):
    """The step axis may stand anywhere, for floats and for counts, in order in memory or not."""
    phases = [0.1, 1.4, 2.9, 4.4, 5.0]
    frames = holograms(S, R, phases)
    moved = np.moveaxis(frames, 0, axis)
    for batch in (moved, np.ascontiguousarray(moved), moved.astype(np.float32)):
        assert far(ps.least_squares(batch, phases, axis=axis).q, TRUE_Q) < 1e-5
    whole = np.rint(frames).astype(np.uint8)
    fit = ps.least_squares(np.ascontiguousarray(np.moveaxis(whole, 0, axis)), phases, axis=axis)
    assert fit.q.dtype == np.complex64
    assert far(fit.q, ps.least_squares(whole.astype(np.float64), phases).q) < 1e-5


def test_large_batches_are_the_same_fit():
    """Blocks leave no seam: a batch larger than one block, one frame larger than one block."""
    rng = np.random.default_rng(0)
    phases = ps.equal_steps(4)
    for shape in ((300, 4, 1000), (2, 4, 200_000)):
        frames = rng.integers(0, 256, shape, dtype=np.uint8)
        q = (frames * np.exp(1j * phases)[:, None]).mean(axis=1)
        assert far(ps.four_step(frames, axis=1).q, q) < 1e-5
        assert far(ps.least_squares(frames, phases, axis=1).q, q) < 1e-5


def test_weights_leave_frames_out():
    phases = [0, 1, 2, 3, 4.5]
    frames = holograms(S, R, phases)
    frames[2] = 1e3
    assert far(ps.least_squares(frames, phases, weights=[1, 2, 0, 1, 0.5]).q, TRUE_Q) < 1e-9


# ---------------------------------------------------------------- noise


@pytest.mark.parametrize("n_steps", [3, 4, 8])
@pytest.mark.parametrize("ratio", [1, 3, 10])
@pytest.mark.parametrize("read_e", [0, 10, 40])
def test_variance_of_the_field(n_steps, ratio, read_e):
    """Mean over 40 000 pixels of |error|^2 over its closed form is 1 within 5 %.

    That mean scatters by about .6 %: the bound is at 8 sigma, false alarms below 1e-12.
    """
    rng = np.random.default_rng([n_steps, ratio, read_e])
    signal, gain = speckle(40_000, 500, 7), 0.25
    reference = ratio * np.sqrt(500)
    phases = ps.equal_steps(n_steps)
    found = ps.least_squares(counts(holograms(signal, reference, phases), rng, read_e, gain), phases)
    noise = theory.camera_noise_e(read_e, gain)
    expected = theory.field_variance_e(n_steps, np.abs(signal) ** 2, reference**2, noise)
    error = np.abs(found.field(reference**2) - signal) ** 2
    assert abs(np.mean(error / expected) - 1) < 0.05
    relative = np.sqrt(error.mean() / np.mean(np.abs(signal) ** 2))
    assert abs(relative / theory.noise_error(n_steps, 500, ratio, noise) - 1) < 0.025


def test_variance_at_uneven_phases():
    """`noise_gain` against frames of one level of noise; 40 000 pixels, 5 % at 10 sigma."""
    rng = np.random.default_rng(5)
    phases = np.array([0, 0.7, 2.0, 4.4])
    found = ps.least_squares(rng.normal(size=(4, 40_000)), phases)
    assert abs(np.mean(np.abs(found.q) ** 2) / theory.noise_gain(phases) - 1) < 0.05
    assert all(abs(theory.noise_gain(ps.equal_steps(n)) - 1 / n) < 1e-12 for n in (3, 4, 5, 8))


@pytest.mark.parametrize("n_steps", [3, 4, 8])
def test_phase_jitter(n_steps):
    """Each pixel with steps of its own, off by .02 rad rms: sigma sqrt(2/N) within 5 % (over 10 sigma)."""
    rng = np.random.default_rng(n_steps)
    signal = speckle(40_000)
    phases = ps.equal_steps(n_steps)
    off = phases[:, None] + 0.02 * rng.normal(size=(n_steps, 40_000))
    frames = np.abs(signal + 3 * np.exp(1j * off)) ** 2
    error = ps.least_squares(frames, phases).q / (3 * signal) - 1
    assert abs(np.sqrt(np.mean(np.abs(error) ** 2)) / theory.jitter_error(0.02, n_steps) - 1) < 0.05


@pytest.mark.parametrize("n_steps", [3, 4, 8])
@pytest.mark.parametrize("ratio", [1, 3, 10])
def test_power_noise(n_steps, ratio):
    """Each pixel with powers of its own, .5 % rms: the closed form within 5 %; 100 000 pixels, over 6 sigma."""
    rng = np.random.default_rng([n_steps, ratio])
    signal = speckle(100_000)
    phases = ps.equal_steps(n_steps)
    frames = holograms(signal, ratio, phases) * (1 + 0.005 * rng.normal(size=(n_steps, 100_000)))
    error = ps.least_squares(frames, phases).q - ratio * signal
    relative = np.sqrt(np.mean(np.abs(error) ** 2) / np.mean(np.abs(ratio * signal) ** 2))
    assert abs(relative / theory.power_noise_error(0.005, n_steps, ratio) - 1) < 0.05


def test_power_noise_as_in_the_reference():
    """docs/physics.md: g = .5 % gives .9 % at R/S = 3 and 2.5 % at R/S = 10, four steps."""
    assert round(100 * theory.power_noise_error(0.005, 4, 3), 1) == 0.9
    assert abs(100 * theory.power_noise_error(0.005, 4, 10) - 2.5) < 0.06


def test_normalisation_removes_power_noise():
    """Powers common to a frame: mean levels leave 1/sqrt(P) of the field, the fit leaves camera noise only.

    20 bursts of 200 000 pixels. Mean levels take a mean(q)/mean(a) off q: that error is known burst by burst. Its
    square is exponential; the ratio of errors is .26 on average, and .5 only with a chance below 1e-6.
    """
    rng = np.random.default_rng(11)
    pixels, ratio, phases = 200_000, 3.0, ps.equal_steps(4)
    plain, by_mean, by_fit, expected = [], [], [], []
    for trial in range(20):
        signal = speckle(pixels, 1.0, 100 + trial)
        powers = 1 + 0.005 * rng.normal(size=4)
        level = np.abs(signal) ** 2 + ratio**2
        expected.append(np.mean(level**2) / np.mean(level) ** 2 * np.abs(np.mean(signal)) ** 2)
        frames = (holograms(signal, ratio, phases) * powers[:, None]).astype(np.float32)
        for errors, given in (
            (plain, None),
            (by_mean, ps.frame_powers(frames)),
            (by_fit, ps.frame_powers(frames, phases)),
        ):
            q = ps.least_squares(frames, phases, powers=given).q
            # A power common to all four frames scales the field; that is no error of the normalisation.
            q = q * (1.0 if given is None else 1 / powers.mean())
            errors.append(np.mean(np.abs(q / ratio - signal) ** 2))
        assert np.max(np.abs(ps.frame_powers(frames, phases) * powers.mean() / powers - 1)) < 1e-5
        assert far(ps.normalise_power(frames, phases), frames / (powers / powers.mean())[:, None]) < 1e-5
    plain, by_mean, by_fit, expected = (np.sqrt(np.mean(e)) for e in (plain, by_mean, by_fit, expected))
    assert plain > 0.006
    assert abs(by_mean / expected - 1) < 0.05 and by_mean < plain / 2
    assert by_fit < 1e-4


def test_fitted_powers_with_camera_noise():
    """500 electrons and 10 of read noise, 20 000 pixels: the fit still removes nine tenths of .5 % power noise."""
    rng = np.random.default_rng(3)
    signal, phases = speckle(20_000, 500, 1), ps.equal_steps(4)
    frames = np.stack([holograms(signal, 3 * np.sqrt(500), phases)] * 30)
    powers = 1 + 0.005 * rng.normal(size=(30, 4))
    frames = counts(frames * powers[:, :, None], rng, 10)
    found = ps.frame_powers(frames, phases, axis=1)
    assert np.std(found - powers / powers.mean(axis=1, keepdims=True)) < 0.1 * 0.005
    # Bursts in one batch, each with powers of its own, are the bursts one by one.
    batch = ps.least_squares(frames, phases, powers=found, axis=1).q
    alone = ps.least_squares(frames[7], phases, powers=found[7]).q
    assert batch.shape == (30, 20_000) and far(batch[7], alone) < 1e-6


# ---------------------------------------------------------------- wrong steps


CIRCLE = np.exp(1j * np.linspace(0, 2 * np.pi, 7201))


@pytest.mark.parametrize("n_steps, known", [(3, 0.125), (4, 0.079), (8, 0.055)])
def test_steps_five_per_cent_too_long(n_steps, known):
    """Peak-to-valley phase error as in docs/physics.md, to its last digit, and as the closed form."""
    phases = ps.equal_steps(n_steps)
    found = swing(ps.least_squares(holograms(CIRCLE, 3.0, 1.05 * phases), phases).q, CIRCLE)
    assert abs(found - known) < 6e-4
    assert abs(found - theory.miscalibration_phase_error(0.05, n_steps)) < 1e-6


def test_schwider_hariharan_and_carre_with_long_steps():
    phases = np.array(ps.SCHWIDER_HARIHARAN_PHASES)
    found = swing(ps.schwider_hariharan(holograms(CIRCLE, 3.0, 1.05 * phases)).q, CIRCLE)
    assert abs(found - 0.003) < 2e-4
    assert abs(found - theory.miscalibration_phase_error(0.05, 5, schwider_hariharan=True)) < 1e-6
    carre = ps.carre(holograms(CIRCLE, 3.0, 1.05 * phases[:4]))[0].q
    assert swing(carre, CIRCLE) < 1e-9


@pytest.mark.parametrize("error", [-0.1, 0.02, 0.2])
@pytest.mark.parametrize("n_steps", [3, 4, 5, 8])
def test_error_response_is_the_algorithms(error, n_steps):
    phases = ps.equal_steps(n_steps)
    b, c = theory.error_response(np.exp(1j * phases) / n_steps, (1 + error) * phases)
    q = ps.least_squares(holograms(CIRCLE, 1.0, (1 + error) * phases), phases).q
    assert far(q, b * CIRCLE + c * np.conj(CIRCLE)) < 1e-9
    assert abs(2 * np.arcsin(abs(c / b)) - theory.miscalibration_phase_error(error, n_steps)) < 1e-9


# ---------------------------------------------------------------- unknown steps


def error_after(phases, true_phases):
    """Peak-to-valley phase error of least squares at `phases`, on frames at others, over all phases of the field."""
    return swing(ps.least_squares(holograms(CIRCLE, 3.0, true_phases), phases).q, CIRCLE)


@pytest.mark.parametrize("noise", [False, True], ids=["noise-free", "500 electrons"])
@pytest.mark.parametrize("n_steps, before", [(3, 0.125), (4, 0.079), (5, None), (8, 0.055)])
def test_advanced_iterative_finds_long_steps(n_steps, before, noise):
    """Steps 5 % too long: the phase error falls at least tenfold without their being told.

    With 2^17 pixels of speckle the error left is 2.4e-3 rms for four steps (smaller for others): false alarm 3e-5.
    """
    nominal = ps.equal_steps(n_steps)
    signal = speckle(2**17, 500, n_steps)
    frames = holograms(signal, 3 * np.sqrt(500), 1.05 * nominal)
    if noise:
        frames = counts(frames, np.random.default_rng(n_steps), 10)
    fit = ps.advanced_iterative(frames.astype(np.float32), nominal)
    was = error_after(nominal, 1.05 * nominal)
    assert before is None or abs(was - before) < 6e-4
    assert fit.converged and fit.iterations < 30
    assert error_after(fit.phases_rad, 1.05 * nominal) < was / 10


@pytest.mark.parametrize("n_steps", [5, 6, 8])
def test_advanced_iterative_is_exact_from_five_steps_on(n_steps):
    """Noise-free, uneven steps: the field to 1e-5 in single precision, but for one common phase."""
    rng = np.random.default_rng(n_steps)
    nominal = ps.equal_steps(n_steps)
    true = nominal + 0.2 * rng.normal(size=n_steps)
    fit = ps.advanced_iterative(holograms(S, R, true).astype(np.float32), nominal)
    common = np.mean(fit.phases_rad - true)
    assert np.max(np.abs(fit.phases_rad - true - common)) < 1e-5
    assert far(fit.q * np.exp(-1j * common), TRUE_Q) < 1e-5
    # The steps keep the nominal ones' mean: what frames cannot tell is not changed.
    assert abs(np.mean(fit.phases_rad - nominal)) < 1e-9


@pytest.mark.parametrize("turn", [1, -1])
def test_advanced_iterative_takes_sign_and_turns_from_the_nominal_steps(turn):
    nominal = turn * ps.equal_steps(5) + 40.0
    true = turn * 1.05 * ps.equal_steps(5) + 40.0
    fit = ps.advanced_iterative(holograms(S, R, true), nominal)
    assert np.max(np.abs(fit.phases_rad - true - np.mean(nominal - true))) < 1e-5
    assert far(fit.q, TRUE_Q * np.exp(1j * np.mean(nominal - true))) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("n_steps, fit_power", [(3, False), (4, False), (4, True), (8, True)])
def test_advanced_iterative_knows_its_error(n_steps, fit_power):
    """The scatter of the phases over 30 bursts is what each fit expects, within 30 %.

    At least 60 degrees of freedom: the ratio scatters by 9 %, false alarm 1e-3.
    """
    rng = np.random.default_rng(n_steps)
    nominal = ps.equal_steps(n_steps)
    errors, expected = [], []
    for trial in range(30):
        true = nominal + 0.05 * rng.normal(size=n_steps)
        frames = holograms(speckle(5000, 500, trial), 3 * np.sqrt(500), true)
        if fit_power:
            frames = frames * (1 + 0.005 * rng.normal(size=(n_steps, 1)))
        fit = ps.advanced_iterative(counts(frames, rng, 10), nominal, fit_power=fit_power)
        off = fit.phases_rad - true
        errors.append(off - off.mean())
        expected.append(fit.phase_std_rad)
    assert abs(np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(expected))) - 1) < 0.3


def test_alternation_alone():
    """Without refinement the steps are right to a few times 1/sqrt(P), for any number of them."""
    for n_steps in (3, 4, 5, 8):
        nominal = ps.equal_steps(n_steps)
        frames = holograms(speckle(40_000, 1.0, n_steps), 3.0, 1.05 * nominal)
        fit = ps.advanced_iterative(frames, nominal, refine=False)
        off = fit.phases_rad - 1.05 * nominal
        assert fit.converged and np.std(off) < 4 / np.sqrt(40_000) < np.std(0.05 * nominal) / 2


def test_masked_pixels_do_not_bend_the_steps():
    nominal = ps.equal_steps(5)
    frames = np.minimum(holograms(S, R, 1.05 * nominal), 16.0)
    clipped = ps.saturated_pixels(frames, 16.0)
    assert 0.1 < clipped.mean() < 0.9
    fit = ps.advanced_iterative(frames, nominal, mask=~clipped)
    bent = ps.advanced_iterative(frames, nominal)
    assert error_after(fit.phases_rad, 1.05 * nominal) < 1e-6 < error_after(bent.phases_rad, 1.05 * nominal)


# ---------------------------------------------------------------- saturation


def test_saturated_frames_are_left_out():
    """Clipped frames lose nothing where three good ones are left; other pixels are marked and not numbers."""
    phases = ps.equal_steps(4)
    frames = holograms(S, R, phases)
    level = np.quantile(frames, 0.85)
    clipped = np.minimum(frames, level)
    fit = ps.least_squares_unsaturated(clipped, phases, level)
    lost = (frames >= level).sum(axis=0)
    assert np.array_equal(fit.valid, lost <= 1) and 0.01 < np.mean(lost == 1) and np.mean(lost >= 2) > 0.01
    assert far(fit.q[fit.valid], TRUE_Q[fit.valid]) < 1e-9
    assert far(fit.offset[fit.valid], (np.abs(S) ** 2 + np.abs(R) ** 2)[fit.valid]) < 1e-9
    assert np.isnan(fit.q[~fit.valid]).all() and np.isnan(fit.offset[~fit.valid]).all()
    # Left in, they do harm.
    assert far(ps.least_squares(clipped, phases).q[lost == 1], TRUE_Q[lost == 1]) > 0.01


def test_saturated_frames_along_another_axis():
    phases = ps.equal_steps(8)
    frames = np.rint(10 * holograms(S, R, phases)).astype(np.uint16)
    level = int(np.quantile(frames, 0.9))
    clipped = np.minimum(frames, level)
    first = ps.least_squares_unsaturated(clipped, phases, level, black_level_dn=2.0)
    second = ps.least_squares_unsaturated(np.moveaxis(clipped, 0, 1), phases, level, axis=1)
    assert np.array_equal(first.valid, second.valid) and first.valid.mean() > 0.5
    assert far(first.q[first.valid], second.q[first.valid]) < 1e-5
    assert far(first.offset[first.valid] + 2, second.offset[first.valid]) < 1e-5


def test_badly_conditioned_rests_are_masked():
    """Of phases 0, .1, .2 and pi, the last one saturated leaves three that hardly differ."""
    phases = [0, 0.1, 0.2, np.pi]
    frames = np.ones((4, 2))
    frames[3, 1] = 100
    fit = ps.least_squares_unsaturated(frames, phases, 100, least_condition=0.01)
    assert fit.valid.tolist() == [True, False]


def test_dark_and_saturated_pixels():
    level = np.array([[0.0, 1.0, 10.0], [29.0, np.nan, 40.0]])
    assert ps.dark_pixels(level, least_share=0.1).tolist() == [[True, True, False], [False, True, False]]
    frames = np.array([[1, 255, 3], [4, 5, 254]], dtype=np.uint8)
    assert ps.saturated_pixels(frames, 255).tolist() == [False, True, False]


# ---------------------------------------------------------------- best reference


@pytest.mark.parametrize("headroom", [1.5, 2.65, 4.0])
@pytest.mark.parametrize("noise", [0.0, 15.0, 200.0])
def test_best_reference_ratio(headroom, noise):
    """No ratio of a fine grid does better under the same full scale."""

    def error(ratio):
        return theory.noise_error(4, theory.signal_at_full_scale_e(13_500, ratio, headroom), ratio, noise)

    best = theory.best_reference_ratio(headroom, noise, 13_500)
    grid = np.linspace(0.2, 8, 2000)
    values = [error(ratio) for ratio in grid]
    assert error(best) <= min(values)
    assert abs(grid[int(np.argmin(values))] - best) < 0.005
    assert headroom ** (1 / 3) - 1e-9 <= best <= headroom
