"""A next-generation reservoir: phases, readout and forecast; light against the authors' digital model."""

from __future__ import annotations

import numpy as np
import pytest

from lorenz import DigitalSpeckle, lorenz63
from opusim import Device, OpticalBench
from opusim.applications.reservoir import Past, Readout, fit_readout, forecast, forecast_error
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import PhasePatterns, nearest_levels
from phase_benches import phase_device

OUTPUTS, TRAIN, TEST = 400, 2000, 1500
# The mean level at which 255 is 9 times the mean, and the gain at which shot noise is 1.7 % of it.
LEVEL_DN = 255 / 9
GAIN_DN_PER_E = LEVEL_DN * 0.017**2


class Light:
    """The speckle of a bench of phases, of 8 bits, with shot noise of 1.7 % of the mean and nothing else."""

    def __init__(self, inputs, seed=0):
        device = phase_device(reference=False).evolve(**{
            "camera.bits": 8, "camera.quantise": True, "camera.shot_noise": True,
            "camera.gain_dn_per_e": GAIN_DN_PER_E, "camera.full_well_e": 255 / GAIN_DN_PER_E,
        })  # fmt: skip
        self.bench = OpticalBench(device, seed)
        self.layout = MirrorLayout.lined(self.bench.mirror_shape, inputs)
        level = self.bench.expected_level_dn(self.bench.device.modulator.n_mirrors, 1e-3)
        self.exposure_s = 1e-3 * LEVEL_DN / level

    def __call__(self, turns):
        shown = PhasePatterns(nearest_levels(turns, self.bench.level_turns), self.layout)
        return self.bench.transform(shown, exposure_s=self.exposure_s, roi=(540, 0, 1, 2040), n_pixels=OUTPUTS)


@pytest.fixture(scope="module")
def series():
    """Lorenz's values, each from 0 to 1, of steps that have a past: their phases begin one step later."""
    values = lorenz63(TRAIN + TEST)
    return (values - values.min()) / np.ptp(values)


def one_step_error(speckle, values, penalty):
    """Root mean square error of one step, of a readout fitted to the first `TRAIN` steps, on the others."""
    past = Past()
    counts, own = speckle(past.turns(values)), values[1:]
    readout = fit_readout(counts[:TRAIN], own[:TRAIN], own[1 : TRAIN + 1], penalty=penalty)
    predicted = readout.predict(counts[TRAIN:-1], own[TRAIN:-1])
    return float(np.sqrt(np.mean((predicted - own[TRAIN + 1 :]) ** 2))), readout


def test_the_system_is_lorenzs():
    """Against scipy's integrator of high order, over 50 steps; later the two part, as the system is chaotic."""
    from scipy.integrate import solve_ivp

    def slope(t, v):
        return [10 * (v[1] - v[0]), v[0] * (28 - v[2]) - v[1], v[0] * v[1] - 8 / 3 * v[2]]

    ours = lorenz63(50, skip=0)
    true = solve_ivp(slope, (0, 1.25), ours[0], "DOP853", np.arange(50) * 0.025, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(ours, true.y.T, atol=1e-3)


def test_phases_are_those_of_the_authors():
    """pi [u_t; .93 u_(t-1); 1.05], whole turns off."""
    values = np.array([[0.1, 0.2], [0.3, 1.0], [-0.5, 0.7]])
    turns = Past().turns(values)
    expected = np.array([[0.3, 1.0, 0.093, 0.186, 1.05], [-0.5, 0.7, 0.279, 0.93, 1.05]]) / 2 % 1
    np.testing.assert_allclose(turns, expected, atol=1e-12)
    assert (turns >= 0).all() and (turns < 1).all()
    assert Past((1.0,), 0.0).turns(np.array([[-1e-20]])).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("outputs", [5, 60])
def test_readout_solves_the_normal_equations(outputs):
    """Both forms, by outputs and by steps, against the gradient of the penalised squares, which must vanish."""
    rng = np.random.default_rng(0)
    counts, values, targets = rng.random((40, outputs)), rng.random((40, 2)), rng.random((40, 2))
    readout = fit_readout(counts, values, targets, penalty=0.3)
    assert readout.scale == pytest.approx(9 * counts.mean())
    x = np.concatenate([counts / readout.scale, values], axis=1)
    gradient = x.T @ (x @ readout.weights - targets) + 0.3 * readout.weights
    assert np.abs(gradient).max() < 1e-9
    np.testing.assert_allclose(readout.predict(counts, values), x @ readout.weights)


def test_a_linear_series_is_forecast():
    """A rotation is linear in the values of one step: a readout of these alone goes on with it for ever."""
    t = np.arange(100) * 0.1
    values = np.stack([np.cos(t), np.sin(t)], axis=1)

    def dark(turns):
        return np.zeros((len(turns), 1))

    readout = fit_readout(dark(values[:-1]), values[:-1], values[1:], penalty=1e-9, scale=1.0)
    found = forecast(dark, readout, Past((1.0, 0.5)), values[:50], 50)
    np.testing.assert_allclose(found, values[50:], atol=1e-6)
    assert forecast_error(values[50:] + 0.3, values[50:]) == pytest.approx(0.3 / values[50:].max())


def test_light_has_the_noise_that_is_published(series):
    """1.7 % of the mean (with rounding, sqrt(1.7^2 + 1.02^2) = 1.98 %): from two frames of each pattern, within 3 %.

    400 outputs under 200 patterns tell a variance to sqrt(2 * 5 / 80 000) = 1 %, shot noise of exponential speckle
    being itself spread.
    """
    light = Light(7)
    turns = Past().turns(series[:201])
    one, other = light(turns).astype(np.float64), light(turns).astype(np.float64)
    noise = np.sqrt(np.mean((one - other) ** 2) / 2) / one.mean()
    rounding = 1 / np.sqrt(12) / LEVEL_DN
    assert noise == pytest.approx(np.hypot(0.017 * np.sqrt(LEVEL_DN / one.mean()), rounding), rel=0.03)


def test_light_predicts_as_the_digital_model(series):
    """One step ahead, from features of phases: within 12 % of |W exp(i phase)|^2 of 8 bits with noise of 1.7 %.

    Both draw their matrices: errors of five seeds scatter by 2.5 % on either side, and the authors' camera rounds down.
    Without noise the error is a quarter smaller at least, so that the noise shows. Values that stay as they are would
    miss by twenty times as much.
    """
    error, _ = one_step_error(Light(7), series, 1e-3)
    digital, _ = one_step_error(DigitalSpeckle(7, OUTPUTS), series, 1e-3)
    silent, _ = one_step_error(DigitalSpeckle(7, OUTPUTS, noise=0), series, 1e-3)
    assert error == pytest.approx(digital, rel=0.12)
    assert silent < 0.75 * error
    stays = float(np.sqrt(np.mean(np.diff(series[TRAIN:], axis=0) ** 2)))
    assert error < stays / 10


class Bench(Light):
    """The speckle of `ngrc-bench` itself, with all its imperfections, less the black level."""

    def __init__(self, inputs, seed=0):
        self.device = Device.load("ngrc-bench")
        self.bench = OpticalBench(self.device, seed)
        self.layout = MirrorLayout.lined(self.bench.mirror_shape, inputs)
        self.exposure_s = self.device.operation.exposure_s

    def levels(self, turns):
        return nearest_levels(turns, self.bench.level_turns)

    def __call__(self, turns):
        shown, how = PhasePatterns(self.levels(turns), self.layout), {"roi": (600, 0, 1, 1920), "n_pixels": OUTPUTS}
        counts = self.bench.transform(shown, exposure_s=self.exposure_s, **how)
        return counts.astype(np.float64) - self.device.camera.black_level_dn


def test_the_bench_has_the_noise_of_its_budget_under_phases_of_a_reservoir(series):
    """From two frames of each pattern, within 2 % of shot, read and rounding noise at its mean, and of flicker.

    To first order flicker n makes ``2 Re(E* i n sum_j phi_j T_j exp(i phi_j))`` of an intensity: sqrt(2) n times the
    standard deviation of the phases, over the mean of independent entries, as what turns all alike does not show. The
    budget has phases even over a turn, 1.81 rad, and 1.7 %; these have .81 rad, and 1.62 %. 400 outputs under 200
    patterns tell it to .4 %, of which 2 % is five; next to none saturates with this seed.
    """
    light = Bench(7, seed=1)
    turns = Past().turns(series[:201])
    one, other = light(turns), light(turns)
    assert np.mean(one == 255 - light.device.camera.black_level_dn) < 1e-3
    camera, slm = light.device.camera, light.device.modulator
    noise, mean = np.sqrt(np.mean((one - other) ** 2) / 2), one.mean()
    spread = (2 * np.pi / 256 * light.levels(turns)).std(axis=1)
    flicker = np.sqrt(2 * np.mean(np.square(slm.flicker * spread * one.mean(axis=1))))
    read = camera.gain_dn_per_e * camera.temporal_dark_noise_e
    law = np.sqrt(camera.gain_dn_per_e * mean + read**2 + 1 / 12 + flicker**2)
    assert noise == pytest.approx(law, rel=0.02)
    assert noise < 0.97 * np.sqrt(law**2 - flicker**2 + np.square(slm.flicker * np.pi * np.sqrt(2 / 3) * mean))


def test_the_bench_predicts_as_the_digital_model(series):
    """One step ahead on `ngrc-bench`, within 12 % of the digital model with noise of 1.7 %.

    As above: 2.5 % on either side for the matrices, three times their root of squares, and what the cameras differ by.
    """
    error, _ = one_step_error(Bench(7), series, 1e-3)
    digital, _ = one_step_error(DigitalSpeckle(7, OUTPUTS), series, 1e-3)
    assert error == pytest.approx(digital, rel=0.12)


def test_light_forecasts_alone(series):
    """25 steps (.57 of the time in which an error grows e-fold) on its own output, from ten starts: as the digital one.

    The median error over the largest value stays below 3 % for both.
    """
    medians = []
    for speckle in (Light(7), DigitalSpeckle(7, OUTPUTS)):
        _, readout = one_step_error(speckle, series, 1e-3)
        starts = range(TRAIN + 10, TRAIN + 1310, 130)
        runs = [forecast(speckle, readout, Past(), series[:k], 25) for k in starts]
        errors = [forecast_error(run, series[k : k + 25]) for run, k in zip(runs, starts, strict=True)]
        medians.append(float(np.median(errors)))
    assert max(medians) < 0.03, medians


def test_bad_input():
    values = np.zeros((5, 2))
    with pytest.raises(ValueError, match="series has the shape"):
        Past().turns(values[:1])
    with pytest.raises(TypeError, match="weights is"):
        Past([1.0])
    with pytest.raises(ValueError, match="there is no light"):
        fit_readout(np.zeros((5, 3)), values, values, penalty=1.0)
    with pytest.raises(ValueError, match="targets has 4 rows"):
        fit_readout(np.ones((5, 3)), values, values[:4], penalty=1.0)
    with pytest.raises(ValueError, match="values has 4 rows"):
        fit_readout(np.ones((5, 3)), values[:4], values, penalty=1.0)
    with pytest.raises(ValueError, match="penalty is 0"):
        fit_readout(np.ones((5, 3)), values, values, penalty=0.0)
    with pytest.raises(ValueError, match="true has the largest value 0"):
        forecast_error(values, values)
    grows = Readout(np.array([[0.0], [1e5]]), 1.0)
    with pytest.raises(RuntimeError, match="runs away: after 2 steps"):
        forecast(lambda turns: np.zeros((1, 1)), grows, Past((1.0,)), np.ones((1, 1)), 5)
