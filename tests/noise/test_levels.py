"""The noise budget against its formulas and against the simulated camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
from typer.testing import CliRunner

from command_line import words
from opusim import cli
from opusim.device.record import Device
from opusim.noise.levels import error_budget, level_distribution, noise_at_level, noise_terms
from opusim.plotting.noise import noise_budget

AURORA = Device.load("aurora")
# A sensor without rows, columns, temperature and bend: laws of these are in test_sensor_sources.py.
PLAIN = AURORA.evolve(
    **{
        "camera.dsnu_row_e": 0.0, "camera.dsnu_column_e": 0.0, "camera.prnu_row": 0.0, "camera.prnu_column": 0.0,
        "camera.dark_current_spread_e_per_s": 0.0, "camera.nonlinearity": 0.0, "camera.temperature_c": 25.0,
    }
)  # fmt: skip
EXPOSURE_S = 400e-6


def frames_at(device: Device, level_dn: float, n_frames: int, n_pixels: int) -> np.ndarray:
    """Frames of an evenly lit sensor, float64 (n_frames, n_pixels), at a mean level."""
    camera = device.camera
    dark_dn = camera.black_level_dn + camera.gain_dn_per_e * camera.dark_current_e_per_s * EXPOSURE_S
    photons = (level_dn - dark_dn) / camera.gain_dn_per_e / camera.quantum_efficiency
    maps = camera.maps(3, np.arange(n_pixels, dtype=np.uint32))
    light = np.full((n_frames, n_pixels), photons, np.float32)
    return camera.expose(light, exposure_s=EXPOSURE_S, seed=3, frame0=0, maps=maps).astype(np.float64)


def test_default_device_has_the_noise_of_the_real_one():
    # Outputs of the real device: 1.0 to 1.2 grey levels rms at a mean of 21.6.
    assert 1.0 <= noise_at_level(AURORA, 21.6, EXPOSURE_S).rms_dn("temporal") <= 1.2


@pytest.mark.parametrize("polarised", [True, False])
def test_contrast_falls_where_the_medium_moves_within_an_exposure(polarised):
    """K^2 / M of M patterns, each with K^2 = sqrt(pi) erf(u) / u - (1 - exp(-u^2)) / u^2 at u = sqrt(2) T / tau."""
    device = AURORA.evolve(**{"medium.decorrelation_time_s": EXPOSURE_S, "camera.polarised": polarised})
    u = math.sqrt(2)
    square = math.sqrt(math.pi) * math.erf(u) / u - (1 - math.exp(-u * u)) / u**2
    budget = noise_at_level(device, 30.0, EXPOSURE_S, speckle=True)
    assert budget.contrast**2 == pytest.approx(square / (1 if polarised else 2), rel=1e-12)
    still = device.evolve(**{"operation.exposure_average": False})
    assert noise_at_level(still, 30.0, EXPOSURE_S, speckle=True).contrast ** 2 == pytest.approx(1 if polarised else 0.5)


def test_closed_forms_say_that_they_take_the_medium_as_still():
    device = AURORA.evolve(**{"medium.decorrelation_time_s": 0.04})
    with pytest.warns(UserWarning, match=r"0.0004 s is 0.01 times medium.decorrelation_time_s.*standing still"):
        error_budget(device, elapsed_s=0.0)


@pytest.mark.parametrize("level_dn", [9.0, 21.6, 100.0, 200.0])
def test_temporal_and_fixed_variance_are_those_of_the_camera(level_dn):
    device = PLAIN.evolve(**{"laser.power_noise": 0.0, "camera.hot_pixel_fraction": 0.0})
    n_frames = 200
    frames = frames_at(device, level_dn, n_frames, 20_000)
    budget = noise_at_level(device, level_dn, EXPOSURE_S)
    assert frames.mean() == pytest.approx(level_dn, rel=0.005)
    temporal = frames.var(axis=0, ddof=1).mean()
    assert temporal == pytest.approx(budget.variance_dn2("temporal"), rel=0.03)
    fixed = frames.mean(axis=0).var(ddof=1) - temporal / n_frames
    assert fixed == pytest.approx(budget.variance_dn2("fixed"), rel=0.05)


@pytest.mark.parametrize(
    ("name", "switch"),
    [
        ("shot noise", {"camera.shot_noise": False}),
        ("read noise", {"camera.read_noise_e": 0.0}),
        ("quantisation", {"camera.quantise": False}),
        ("PRNU", {"camera.prnu": 0.0}),
        ("DSNU", {"camera.dsnu_e": 0.0}),
        ("laser power", {"laser.power_noise": 0.0}),
    ],
)
def test_each_source_has_one_switch(name, switch):
    whole, without = (noise_at_level(d, 30.0, EXPOSURE_S) for d in (PLAIN, PLAIN.evolve(**switch)))
    assert whole.share(name) > 0 and without.share(name) == 0
    dark = whole.share("dark current") * whole.variance_dn2() if name == "shot noise" else 0.0
    difference = whole.variance_dn2() - without.variance_dn2()
    assert difference == pytest.approx(whole.share(name) * whole.variance_dn2() + dark)


def test_ideal_device_has_no_noise_and_never_saturates():
    budget = noise_terms(AURORA.ideal(), 500_000, EXPOSURE_S)
    assert budget.variance_dn2() == 0 and budget.saturation_probability == 0 and budget.share("shot noise") == 0


def test_hot_pixels_by_the_variance_of_a_mixture():
    device = PLAIN.evolve(**{"camera.hot_pixel_fraction": 0.1, "camera.hot_pixel_dark_e_per_s": 1e5})
    rates = np.where(np.arange(1000) < 100, 1e5, PLAIN.camera.dark_current_e_per_s)
    expected = (PLAIN.camera.gain_dn_per_e * EXPOSURE_S) ** 2 * rates.var()
    budget = noise_at_level(device, 30.0, EXPOSURE_S)
    assert budget.share("hot pixels") * budget.variance_dn2() == pytest.approx(expected)


def test_speckle_saturation_follows_the_exponential_law():
    camera = PLAIN.camera
    dark_dn = camera.black_level_dn + camera.gain_dn_per_e * camera.dark_current_e_per_s * EXPOSURE_S
    device = PLAIN.evolve(**{"camera.hot_pixel_fraction": 0.0})
    for times, share in ((3, 0.05), (5, 0.007), (8, 0.0003)):
        mean = dark_dn + (255 - dark_dn) / times
        budget = noise_at_level(device, mean, EXPOSURE_S, speckle=True)
        assert budget.saturation_probability == pytest.approx(math.exp(-times), rel=1e-6)
        assert budget.saturation_probability == pytest.approx(share, rel=0.15)


def test_full_well_limits_where_it_comes_first():
    device = AURORA.evolve(**{"camera.full_well_e": 1000.0})
    expected = device.camera.black_level_dn + 1000.0 * device.camera.gain_dn_per_e
    assert noise_at_level(device, 21.6, EXPOSURE_S).full_scale_dn == pytest.approx(expected)


@pytest.mark.parametrize("changes", [{}, {"camera.bits": 12, "camera.gain_dn_per_e": 0.6}, {"camera.polarised": False}])
def test_distribution_of_levels_is_that_of_noisy_speckle(changes):
    device = PLAIN.evolve(**changes)
    camera = device.camera
    mean_dn = float(noise_terms(device, 520_000, EXPOSURE_S).level_dn)
    hot = camera.hot_pixel_fraction * camera.hot_pixel_dark_e_per_s
    dark_e = ((1 - camera.hot_pixel_fraction) * camera.dark_current_e_per_s + hot) * EXPOSURE_S
    signal_e = (mean_dn - camera.black_level_dn) / camera.gain_dn_per_e - dark_e
    n, patterns = 400_000, 1 if camera.polarised else 2
    rng = np.random.default_rng(1)
    light = rng.gamma(patterns, signal_e / patterns / camera.quantum_efficiency, n).astype(np.float32)
    maps = camera.maps(5, np.arange(n, dtype=np.uint32))
    counts = camera.expose(light[None], exposure_s=EXPOSURE_S, seed=5, frame0=0, maps=maps)[0]
    width = 1 if camera.bits == 8 else 8
    edges = np.arange(0, 2**camera.bits + width, width) - 0.5
    expected = level_distribution(device, mean_dn, EXPOSURE_S, edges)
    assert expected.sum() == pytest.approx(1) and (expected >= 0).all()
    seen = np.histogram(counts, edges)[0] / n
    # Within six standard errors of the count and a hundredth of the bin (the noise is not exactly normal).
    tolerance = 6 * np.sqrt(expected / n) + 0.01 * expected + 2e-4
    assert (np.abs(seen - expected) < tolerance).all()


def test_dark_pattern_is_one_peak_at_the_dark_level():
    camera = PLAIN.camera
    dark_dn = camera.black_level_dn + camera.gain_dn_per_e * EXPOSURE_S * (
        camera.dark_current_e_per_s * (1 - camera.hot_pixel_fraction)
        + camera.hot_pixel_dark_e_per_s * camera.hot_pixel_fraction
    )
    edges = np.arange(257) - 0.5
    law = level_distribution(PLAIN, dark_dn, EXPOSURE_S, edges)
    assert law.argmax() == round(dark_dn) and law.sum() == pytest.approx(1)


@pytest.mark.parametrize("exposure_s", [0.0, -1.0, math.nan, math.inf])
def test_exposure_must_be_a_time(exposure_s):
    with pytest.raises(ValueError, match="exposure_s is .*must be a time in seconds above 0"):
        noise_at_level(AURORA, 21.6, exposure_s)


@pytest.mark.parametrize("level_dn", [-1.0, 0.5, math.nan, math.inf])
def test_level_must_not_be_below_the_dark(level_dn):
    with pytest.raises(ValueError, match="level_dn is .*must be at least the dark level"):
        noise_at_level(AURORA, level_dn, EXPOSURE_S)


def test_unknown_source_is_named():
    with pytest.raises(ValueError, match="name is 'thermal'.*must be one of shot noise, "):
        noise_at_level(AURORA, 21.6, EXPOSURE_S).share("thermal")


# ---------------------------------------------------------------- shares of the error of an output: figure, command


def test_figure_shows_every_source_that_counts():
    budgets = [error_budget(AURORA), error_budget(AURORA, "linear")]
    axes = noise_budget(budgets)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert set(names) == {
        name for one in budgets for name in one.errors if abs(one.share(name)) >= 1e-3
    }  # fmt: skip
    assert names[-1] == "shot noise" and "%" in axes.get_xlabel()  # the largest on top
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[0].startswith("aurora, intensity, 400 µs: error 1") and "linear, 4 x " in texts[1]
    for bars, one in zip(axes.containers, budgets, strict=True):
        widths = dict(zip(names, (bar.get_width() for bar in bars), strict=True))
        assert widths["shot noise"] == pytest.approx(100 * one.share("shot noise"))
    hatches = [bars[0].get_hatch() for bars in axes.containers]
    assert len(set(hatches)) == len(hatches)  # told apart without colour


def test_figure_draws_on_given_axes_and_takes_one_budget():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert noise_budget(error_budget("ideal"), axes) is axes
    assert [text.get_text() for text in axes.texts] == ["no error"]
    with pytest.raises(ValueError, match="budget holds 0 budgets"):
        noise_budget([])
    with pytest.raises(ValueError, match="budget holds 5 budgets"):
        noise_budget(5 * [error_budget("ideal")])


def info(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["info", *arguments], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return words(result.stdout)


def test_info_prints_the_shares_of_both_modes():
    text = info()
    for mode in ("intensity", "linear"):
        assert error_budget(AURORA, mode).rms > 0 and f"{mode}, " in text
    shares = [100 * error_budget(AURORA, mode).share("shot noise") for mode in ("intensity", "linear")]
    assert f"shot noise new {shares[0]:.1f} % {shares[1]:.1f} %" in text
    assert "A share below 0" in text and "60 s after the fit" in text and "decorrelation with time 0 % 0 %" in text
    # Why the two tables differ, and what a readout pays for.
    assert "not those in the variance of a grey level" in text
    new = [100 * error_budget(AURORA, mode).new_share for mode in ("intensity", "linear")]
    assert f"together new {new[0]:.1f} % {new[1]:.1f} %" in text and "DSNU the same" in text


def test_info_says_why_saturation_is_below_zero_where_it_is(tmp_path):
    """With a map of the reference's light that holds that of off mirrors, which the mending of bursts takes out."""
    sentence = "Saturation can be below 0 in linear mode"
    for name in ("alone", "demodulated"):
        path = tmp_path / f"{name}.toml"
        path.write_text(f'preset = "aurora"\nname = "{name}"\n[operation]\nreference_map = "{name}"\n')
        below = error_budget(Device.load(path), "linear").share("saturation") < 0
        assert below == (name == "alone") == (sentence in info(str(path)))


def test_info_tells_what_an_hour_does():
    text = info("--elapsed", "3600")
    share = 100 * error_budget(AURORA, elapsed_s=3600.0).share("decorrelation")
    assert share > 10 and f"decorrelation with time {share:.1f} %" in text


def test_info_of_a_device_without_reference_or_noise_or_light(tmp_path):
    for name, table, inside in (
        ("plain", "[reference]\nrelative_amplitude = 0.0\n", True),
        ("dark", "[laser]\npower_w = 0.0\n", False),
    ):
        path = tmp_path / f"{name}.toml"
        path.write_text(f'preset = "aurora"\nname = "{name}"\n{table}')
        text = info(str(path))
        assert ("Error of an output by source" in text) == inside and "linear, " not in text
    assert "Error of an output" not in info("ideal")


def test_info_refuses_a_time_before_the_fit():
    result = CliRunner().invoke(cli.app, ["info", "--elapsed", "-1"])
    assert result.exit_code == 2 and "elapsed_s is -1.0" in result.stderr
