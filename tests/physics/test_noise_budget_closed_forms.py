"""Parts of each source in the error of an output: closed forms against textbook formulas and against a bench."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import holography_theory as holography
from opusim.bench.bench import OpticalBench
from opusim.device.medium import GaussianMedium
from opusim.device.record import Device
from opusim.fringes.demodulation import field_of_clipped, least_squares_row
from opusim.noise.budget import ErrorBudget
from opusim.noise.levels import error_budget
from opusim.noise.measured import measured_error_budget
from opusim.noise.sources import SOURCES, without
from opusim.noise.table import fill_error_table
from opusim.noise.working_point import working_point
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.theory import pixel_modes, speckle_contrast

AURORA = Device.load("aurora").evolve(**{"operation.reference_map": "alone"})
DEMODULATED = {"operation.reference_map": "demodulated"}
# The same light and noise through the textbook medium, which is quick to compute for many pixels.
TEXTBOOK = AURORA.evolve(medium=GaussianMedium(AURORA.medium.transmission, 86400.0))
# Every source strong enough to be seen, an hour after the fit; frames of a burst share a part of the power's noise.
DIRTY = TEXTBOOK.evolve(
    **{
        "camera.prnu": 0.05, "camera.hot_pixel_fraction": 0.05, "camera.hot_pixel_dark_e_per_s": 2e5,
        "camera.dark_current_e_per_s": 5e4, "camera.black_level_dn": 4.0, "laser.power_noise": 0.02,
        "laser.power_noise_bandwidth_hz": 1e3, "dmd.contrast_ratio": 300.0,
    }
)  # fmt: skip
# An even beam: a bench shows patterns of 40 features, and under a beam that falls off their light has a spread of 7 %,
# which the steep tail of bright speckle would show.
EVEN = {"dmd.beam_radius_m": math.inf}
# A shallow full well before a scale of ten bits.
SHALLOW = TEXTBOOK.evolve(**{"camera.full_well_e": 3000.0, "camera.bits": 10})
WIDE_PIXELS = AURORA.remagnified().evolve(**{"camera.pixel_over_grain": 0.5})
# What all pixels of a frame share is known from many frames, what belongs to pixels from many pixels.
OF_FRAMES = ("laser power", "reference phase")


def middle(device: Device, side: int) -> tuple[int, int, int, int]:
    rows, columns = device.camera.shape
    return (rows - side) // 2, (columns - side) // 2, side, side


def assert_agree(closed, measured, names):
    """Each part within 10 % or half a point of the total, and twice the standard error of what is measured."""
    for name in names:
        expected, seen = closed.errors[name], measured.errors[name]
        tolerance = max(0.1 * abs(expected), 0.005 * closed.total) + 2 * measured.uncertainty[name]
        assert abs(seen - expected) < tolerance, f"{name}: {expected:.4g} in closed form, {seen:.4g} measured"


# ---------------------------------------------------------------- against the bench


CASES = {
    "aurora": (AURORA, "intensity", 128, 40, {}),
    "aurora, linear": (AURORA, "linear", 128, 30, {}),
    "aurora, linear, short": (AURORA, "linear", 96, 40, {"exposure_s": 400e-6}),
    "aurora, linear, demodulated": (AURORA.evolve(**DEMODULATED), "linear", 128, 30, {}),
    "dirty, linear, demodulated": (DIRTY.evolve(**DEMODULATED), "linear", 112, 30, {"exposure_s": 600e-6}),
    "dirty, an hour later": (DIRTY, "intensity", 112, 40, {"elapsed_s": 3600.0}),
    "dirty, linear, an hour later": (DIRTY, "linear", 112, 30, {"elapsed_s": 3600.0, "exposure_s": 600e-6}),
    "shallow well, long": (SHALLOW.evolve(**EVEN), "intensity", 200, 16, {"exposure_s": 2e-3}),
    "few mirrors on, too long": (TEXTBOOK.evolve(**EVEN), "intensity", 280, 12, {"exposure_s": 5e-3, "share_on": 0.3}),
    "pixels of half a grain": (WIDE_PIXELS, "intensity", 64, 60, {}),
    "pixels of half a grain, linear": (WIDE_PIXELS, "linear", 64, 60, {"exposure_s": 600e-6}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_pixels_own_sources_agree_with_switching_them_off(case):
    """Within 10 %, or half a point of the total.

    Some 10 000 pixels and 30 vectors leave 1 to 3 % of a part to chance (fixed patterns sqrt(2 / pixels), and of two
    fixed patterns that share the pixels the product). Saturation of bursts has a test of its own.
    """
    device, mode, side, n_vectors, point = CASES[case]
    closed = error_budget(device, mode, **point)
    names = [name for name in closed.errors if name not in OF_FRAMES and (mode, name) != ("linear", "saturation")]
    measured = measured_error_budget(
        device, mode, n_vectors=n_vectors, sources=names, roi=middle(device, side), **point
    )
    assert_agree(closed, measured, names)
    # What the sources do together, each with the others around.
    assert measured.whole == pytest.approx(closed.whole, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "mode", "point"),
    [
        (AURORA, "intensity", {}),
        (AURORA, "linear", {}),
        (DIRTY, "intensity", {}),
        (DIRTY, "linear", {"exposure_s": 600e-6}),
    ],
    ids=["aurora", "aurora, linear", "dirty", "dirty, linear"],
)
def test_sources_that_frames_share_agree_with_switching_them_off(device, mode, point):
    """1500 vectors leave sqrt(2 / 1500) = 3.7 % of a variance to chance, sqrt(1 / 1500) of one of a burst."""
    closed = error_budget(device, mode, **point)
    names = [name for name in OF_FRAMES if name in closed.errors]
    side = 24 if mode == "intensity" else 48  # bursts with saturated frames are rare
    measured = measured_error_budget(device, mode, n_vectors=1500, sources=names, roi=middle(device, side), **point)
    assert_agree(closed, measured, names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "exposure_s"), [(TEXTBOOK, 1.3e-3), (SHALLOW, 600e-6)], ids=["end of the scale", "full well"]
)
def test_saturated_bursts_agree_with_switching_saturation_off(device, exposure_s):
    """Four bursts in a hundred have a saturated frame; the fit of what is left knows |R|, and is the better one.

    Most of the part is leakage into |R|, which that fit repairs in part. It belongs to the pixel, and goes as the
    fourth power of bright speckle: 160 000 pixels leave 6 % to chance. At the driver's exposure a third of the part
    comes from bursts of which less than two frames are left, one in ten thousand: a bench would need a hundred million
    pixels for it. The reference's phase is left still: it would need as many vectors.
    """
    device = device.evolve(**{"reference.jitter_rad": 0.0, "reference.vibration_rad": 0.0})
    closed = error_budget(device, "linear", exposure_s=exposure_s)
    assert closed.share("saturation") < -0.03
    measured = measured_error_budget(
        device, "linear", n_vectors=8, sources=["saturation"], seed=1, roi=middle(device, 400), exposure_s=exposure_s
    )
    assert_agree(closed, measured, ["saturation"])


def test_measured_is_the_same_for_the_same_seed_and_only_then():
    point = {"n_vectors": 4, "roi": middle(TEXTBOOK, 16), "sources": ["shot noise", "PRNU"]}
    first, again = (measured_error_budget(TEXTBOOK, **point) for _ in range(2))
    other = measured_error_budget(TEXTBOOK, seed=1, **point)
    assert first.errors == again.errors and first.whole == again.whole and first.errors != other.errors
    assert list(first.errors) == ["shot noise", "PRNU"] and first.measured


# ---------------------------------------------------------------- against textbook formulas


def plain(**changes):
    """A device without leakage and drift, whose scale ends far above its light: nothing but noise.

    Its response is straight and it has no lag; closed forms of these are in tests/noise/test_sensor_sources.py.
    """
    fields = {"dmd.contrast_ratio": math.inf, "medium.decorrelation_time_s": math.inf, "camera.bits": 16}
    fields |= {"laser.power_noise_bandwidth_hz": 0.0, "camera.nonlinearity": 0.0, "camera.lag": 0.0}
    return AURORA.remagnified().evolve(
        **{**fields, "camera.black_level_dn": 100.0, "camera.full_well_e": math.inf, **changes}
    )


def prnu2(camera):
    """Square of the PRNU: pixels, rows and columns are independent."""
    return camera.prnu**2 + camera.prnu_row**2 + camera.prnu_column**2


# Variance of the power's mean over an exposure of 400 us, where its correlation falls as exp(-|t| / 250 us): its mean
# over pairs of moments, 2 (x - 1 + exp(-x)) / x^2 with x = 400 / 250.
BAND, BAND_SHARE = {"laser.power_noise_bandwidth_hz": 1e3}, 2 * (0.6 + math.exp(-1.6)) / 1.6**2


@pytest.mark.parametrize(
    "changes",
    [{}, {"camera.polarised": False}, {"camera.pixel_over_grain": 0.5}, {"camera.dark_current_e_per_s": 1e5}, BAND],
)
@pytest.mark.parametrize("share_on", [0.1, 0.5])
def test_intensity_parts_are_variances_over_that_of_speckle(changes, share_on):
    """EMVA 1288, section 2, and <I^2> = mu^2 (1 + C^2). Exact but for the slices of the speckle's law: 1e-5.

    The gain is such that noise spans more than a step with any source off.
    """
    device = plain(**{"camera.gain_dn_per_e": 0.1, **changes})
    camera = device.camera
    budget = error_budget(device, share_on=share_on)
    point = budget.point
    mean_e = point.electrons_per_intensity * share_on * device.dmd.n_mirrors
    contrast = speckle_contrast(camera.pixel_over_grain, camera.polarised)
    speckle = (mean_e * contrast) ** 2
    # Dark currents are stated at a temperature, and double by so many kelvin; all electrons below are at the die's own.
    warm_s = 2 ** ((camera.temperature_c - camera.dark_current_stated_c) / camera.dark_current_doubling_k)
    warm_s *= point.exposure_s
    hot = camera.hot_pixel_fraction
    excess_e = (camera.hot_pixel_dark_e_per_s - camera.dark_current_e_per_s) * warm_s
    dark_e = camera.dark_current_e_per_s * warm_s + hot * excess_e
    # Pixels that are not hot have a spread of the dark current. It ends with the dark current, and is a part of both.
    spread = (1 - hot) * (camera.dark_current_spread_e_per_s * warm_s) ** 2
    dark = dark_e + hot * (1 - hot) * excess_e**2 + spread
    square = (1 + contrast**2) / contrast**2
    expected = {
        "shot noise": (mean_e + dark_e) / speckle,
        "read noise": camera.read_noise_e**2 / speckle,
        "quantisation": 1 / (12 * camera.gain_dn_per_e**2 * speckle),
        "saturation": 0.0,
        "non-linearity": 0.0,
        "PRNU": prnu2(camera) * square,
        "DSNU": (camera.dsnu_e**2 + camera.dsnu_row_e**2 + camera.dsnu_column_e**2 + spread) / speckle,
        "dark current": dark / speckle,
        "lag": 0.0,
        "laser power": device.laser.power_noise**2 * square * (BAND_SHARE if changes is BAND else 1),
        "decorrelation": 0.0,
        "off-state leakage": 0.0,
        "pixel integration": pixel_modes(camera.pixel_over_grain) - 1,
    }
    assert budget.errors == pytest.approx(expected, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("n_steps", "changes", "frames"),
    [(3, {}, 64), (4, {}, 64), (8, {}, 64), (3, DEMODULATED, 66), (4, DEMODULATED, 64)],
)
def test_linear_parts_are_those_of_phase_shifting(n_steps, changes, frames):
    """`holography_theory`; the grid of fields has the mean square of |S|^2 to 1e-3."""
    device = plain(
        **{
            **changes,
            "reference.scale_error": 0.0, "reference.nonlinearity": 0.0, "reference.vibration_rad": 0.0,
            "reference.beam_radius_m": math.inf, "camera.hot_pixel_fraction": 0.0, "camera.dark_current_e_per_s": 0.0,
            "camera.dark_current_spread_e_per_s": 0.0, "reference.coherence": 1.0, "camera.gain_dn_per_e": 0.1,
            # Pixels are all on a count in the dark, so that rounding the dark frame is no error without read noise.
            "camera.dsnu_e": 0.0, "camera.dsnu_row_e": 0.0, "camera.dsnu_column_e": 0.0,
        }
    )  # fmt: skip
    camera, arm = device.camera, device.reference
    budget = error_budget(device, "linear", n_steps=n_steps, exposure_s=1e-3)
    mean_e = budget.point.electrons_per_intensity * device.dmd.n_mirrors / 2
    ratio = arm.relative_amplitude
    # |R|^2, the dark level and the background are means of so many frames.
    reference_e = ratio**2 * mean_e
    once = (1 / frames + 1 / 32) / (4 * reference_e**2), 1 / (n_steps * reference_e * mean_e * 32)
    noise = holography.noise_error(n_steps, mean_e, ratio, holography.camera_noise_e(camera.read_noise_e)) ** 2
    shot = holography.noise_error(n_steps, mean_e, ratio) ** 2
    expected = {
        "shot noise": shot + reference_e / frames / (4 * reference_e**2) + once[1] * reference_e,
        "read noise": noise - shot + sum(once) * camera.read_noise_e**2,
        "quantisation": (1 / (n_steps * reference_e * mean_e) + sum(once)) / (12 * camera.gain_dn_per_e**2),
        "saturation": 0.0,
        "non-linearity": 0.0,
        "PRNU": prnu2(camera) / 4,
        "DSNU": 0.0,
        "dark current": 0.0,
        "lag": 0.0,
        "laser power": holography.power_noise_error(device.laser.power_noise, n_steps, ratio) ** 2,
        "decorrelation": 0.0,
        "reference phase": holography.jitter_error(arm.jitter_rad, n_steps) ** 2,
        "off-state leakage": 0.0,
        "pixel integration": 0.0,
    }
    # Fixed patterns are means over 8000 pixels: 1 %.
    assert budget.errors.pop("PRNU") == pytest.approx(expected.pop("PRNU"), rel=1e-2)
    assert budget.errors == pytest.approx(expected, rel=3e-3, abs=1e-9)


def test_saturation_of_speckle_in_closed_form():
    """y = min(I, F) with I exponential: E y, E y^2 and E I y are elementary integrals. 1e-3: slices at the kink."""
    device = AURORA.ideal().evolve(**{"camera.full_well_e": 400.0})
    budget = error_budget(device)
    mean = budget.point.electrons_per_intensity * device.dmd.n_mirrors / 2
    x = 400.0 / mean
    tail = math.exp(-x)
    first, second = mean * (1 - tail), 2 * mean**2 * (1 - (1 + x) * tail)
    across = 2 * mean**2 - tail * mean**2 * (2 + x)
    expected = (second - first**2) * mean**2 / (across - mean * first) ** 2 - 1
    assert expected > 0.01
    assert budget.errors["saturation"] == pytest.approx(expected, rel=1e-3) and budget.whole == pytest.approx(expected)


@pytest.mark.parametrize("mode", ["intensity", "linear"])
def test_decorrelation_and_leakage_are_one_over_the_square_of_a_correlation(mode):
    """Fields of a Gaussian medium correlate as exp(-(t / tau)^2), t in its steps of time; intensities as the square."""
    device = without(AURORA.ideal(), []).evolve(medium=GaussianMedium(AURORA.medium.transmission, 1000.0))
    for elapsed_s in (0.0, 100.0, 400.0):
        time_s = math.floor(elapsed_s / math.sqrt(10)) * math.sqrt(10)
        power = 4 if mode == "intensity" else 2
        budget = error_budget(device, mode, elapsed_s=elapsed_s)
        assert budget.total == pytest.approx(math.expm1(power * (time_s / 1000) ** 2), abs=1e-12)
    # To the first order in the leakage: 1 / contrast of it is left out.
    leakage = 1e-2 if mode == "intensity" else 1e-4
    leaking = AURORA.ideal().evolve(**{"dmd.contrast_ratio": 1 / leakage})
    for share_on in (0.1, 0.5, 1.0):
        budget = error_budget(leaking, mode, share_on=share_on)
        if mode == "intensity":
            expected = (1 + leakage * (1 - share_on) / share_on) ** 2 - 1
        else:  # n / r = 2 / ratio^2, by the definition of the reference's amplitude
            expected = leakage * 2 / AURORA.reference.relative_amplitude**2 * (2 + share_on) / 4
        # In linear mode on a grid of fields.
        assert budget.total == pytest.approx(expected, rel=1e-6 if mode == "intensity" else 1e-2, abs=1e-12)
        if mode == "linear":  # of demodulated bursts nothing is left, with fringes of full contrast
            demodulated = error_budget(leaking.evolve(**DEMODULATED), mode, share_on=share_on)
            assert abs(demodulated.total) < leakage**2


def test_rounding_of_the_dark_frame_is_saved_by_read_noise():
    """Without read noise the DSNU is all that tells pixels apart in the dark: each is off by up to half a level.

    Levels spread over more than a step: 1/12 DN^2 of |R|^2, so (1/12) / (2 |R|^2)^2 of the field. Shot noise of a warm
    sensor's dark current, s DN, blurs the edges of the steps. A mean count at x s from an edge is off by 1/2 - Q(x)
    with Q the tail of the normal law, not by 1/2; over both sides of an edge Q - Q^2 adds up to s / sqrt(pi), and the
    64 frames of the mean leave 1/64 of it. Rounding is found from 8192 pixels: 3 %. The response is straight.
    """
    device = AURORA.evolve(
        **{
            "camera.dsnu_e": 100.0, "camera.black_level_dn": 20.0, "camera.nonlinearity": 0.0,
            "dmd.contrast_ratio": math.inf,
        }
    )  # fmt: skip
    camera = device.camera
    with_noise = error_budget(device, "linear", exposure_s=400e-6)
    quiet = device.evolve(**{"camera.read_noise_e": 0.0})
    without_noise = error_budget(quiet, "linear", exposure_s=400e-6)
    unit = with_noise.point.electrons_per_intensity * device.dmd.n_mirrors / 2
    reference_e = unit * device.reference.relative_amplitude**2
    frames = (1 + 1 / 32) / (4 * reference_e * unit * device.reference.coherence**2)  # and those of the background
    read = camera.read_noise_e**2 * (frames + (1 / 64 + 1 / 32) / (4 * reference_e**2))
    warm = 2 ** ((camera.temperature_c - camera.dark_current_stated_c) / camera.dark_current_doubling_k)
    blur_dn = camera.gain_dn_per_e * math.sqrt(camera.dark_current_e_per_s * warm * 400e-6)
    square_dn2 = 1 / 12 - blur_dn / math.sqrt(math.pi) * (1 - 1 / 64)
    rounding = square_dn2 / (2 * camera.gain_dn_per_e * reference_e) ** 2
    assert with_noise.errors["read noise"] == pytest.approx(read - rounding, rel=0.01)
    assert without_noise.errors["quantisation"] - with_noise.errors["quantisation"] == pytest.approx(rounding, rel=0.03)


# ---------------------------------------------------------------- the fit of bursts with saturated frames


def test_least_squares_row_is_that_of_equal_steps_and_has_the_noise_of_theory():
    phases = 2 * np.pi * np.arange(5) / 5
    np.testing.assert_allclose(least_squares_row(phases), np.exp(1j * phases) / 5, atol=1e-15)
    phases = phases * 1.07
    row = least_squares_row(phases)
    assert abs(row.sum()) < 1e-15 and np.sum(np.abs(row) ** 2) == pytest.approx(holography.noise_gain(phases))


@pytest.mark.parametrize("coherence", [1.0, 0.8])
def test_two_frames_and_the_reference_give_the_field(coherence):
    """Noise-free bursts with one or two of four frames saturated; damped steps converge to 1e-3."""
    rng = np.random.default_rng(0)
    field = 20 * (rng.normal(size=400) + 1j * rng.normal(size=400))
    phases = np.pi / 2 * np.arange(4)
    root = np.full(400, 30.0)
    wave = np.exp(1j * phases)
    frames = (np.abs(field) ** 2 / coherence**2)[:, None] + 900 + 60 * np.real(field[:, None] * wave.conj())
    full = np.sort(frames, axis=1)[:, [2, 1]][np.arange(400), rng.integers(0, 2, 400)]
    clipped = frames > full[:, None]
    found = field_of_clipped(np.minimum(frames, full[:, None]), clipped, root, phases, coherence, 0.9 * field)
    assert np.quantile(np.abs(found - field) / np.abs(field), 0.95) < 1e-3


# ---------------------------------------------------------------- the budget as an object


@pytest.mark.parametrize("mode", ["intensity", "linear"])
def test_shares_add_up(mode):
    budget = error_budget("aurora", mode)
    assert sum(budget.share(name) for name in budget.errors) == pytest.approx(1)
    of_phases = {"phase flicker", "unmodulated light"}  # which mirrors have none of
    others = of_phases if mode == "linear" else of_phases | {"reference phase"}
    assert list(budget.errors) == [name for name in SOURCES if name not in others]
    assert budget.rms == pytest.approx(math.sqrt(budget.whole)) and not budget.measured
    with pytest.raises(ValueError, match="source is 'thermal'.*one of shot noise, "):
        budget.share("thermal")


@pytest.mark.parametrize("mode", ["intensity", "linear"])
def test_device_without_imperfections_has_no_error(mode):
    budget = error_budget("ideal", mode)
    assert budget.errors == pytest.approx(dict.fromkeys(budget.errors, 0.0), abs=1e-12)
    assert measured_error_budget(TEXTBOOK.ideal(), mode, n_vectors=4, roi=middle(TEXTBOOK, 16)).whole == pytest.approx(
        0, abs=1e-6
    )  # single precision


def test_usual_exposure_is_the_one_of_the_drivers_calibration():
    """The calibration found 1.558 ms on the default device; 2 %: it seeks by the quantile of some frames."""
    from opusim import OPU

    with OPU(2000, device=AURORA, linear_mode="holographic") as opu:
        opu.fit1d(n_features=100)
        found = opu.calibrate(store=False).exposure_s
    assert working_point(AURORA, "linear").exposure_s == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "field"}, "mode is 'field'.*'intensity', 'linear'"),
        ({"share_on": 0.0}, "share_on is 0.0"),
        ({"share_on": 1.5}, "share_on is 1.5"),
        ({"exposure_s": -1.0}, "exposure_s is -1.0"),
        ({"elapsed_s": math.nan}, "elapsed_s is nan"),
        ({"mode": "linear", "n_steps": 2}, "n_steps is 2"),
        ({"frametime_s": 1e-6}, "frametime_s is 1e-06"),
        ({"roi": (0, 0, 5000, 1)}, "roi n_rows is 5000"),
    ],
)
def test_bad_circumstances(arguments, message):
    with pytest.raises(ValueError, match=message):
        error_budget(AURORA, **arguments)


def test_what_a_device_cannot_do():
    with pytest.raises(ValueError, match="mode is 'linear', but this device has no reference arm"):
        error_budget(replace(AURORA, reference=replace(AURORA.reference, relative_amplitude=0.0)), "linear")
    with pytest.raises(ValueError, match="There is no light at the camera"):
        error_budget(AURORA.evolve(**{"laser.power_w": 0.0}))
    with pytest.raises(ValueError, match="source is 'thermal'"):
        without(AURORA, ["thermal"])
    with pytest.raises(ValueError, match="source is 'reference phase'"):
        measured_error_budget(AURORA, sources=["reference phase"])
    with pytest.raises(ValueError, match="share_on is 0.001, but patterns are made for"):
        measured_error_budget(AURORA, share_on=0.001)


# ---------------------------------------------------------------- fields that a pixel averages


def test_the_mean_field_over_a_pixel_is_a_linear_output():
    """What a linear map leaves of the fields of a bench is its noise: no part of it comes from averaging over pixels.

    Pixels of .3 grains see fringes of a tilt of .32 cycles a pixel either way: contrast is lost, and with it signal
    (`linear_coherence`), but the field is that of the pattern. 300 patterns of 20 features, four steps each; the fit of
    20 columns takes 20 / 300 of the noise with it. Sources that make another matrix, or come with time, are off. The
    region is some 50 grains wide in area: with 20 features its light is known to 1 / sqrt(1000) = 3 %, and .1 is three
    times that.
    """
    device = AURORA.remagnified().evolve(
        **{
            "camera.pixel_over_grain": 0.3, "reference.carrier_cycles_per_pixel": (0.32, 0.32), "camera.prnu": 0.0,
            "camera.dsnu_e": 0.0, "camera.hot_pixel_fraction": 0.0, "dmd.contrast_ratio": math.inf,
            "medium.decorrelation_time_s": math.inf, "reference.drift_rad_per_minute": 0.0,
            "laser.power_drift_per_hour": 0.0, "reference.wavefront_rms_rad": 0.0, "camera.bits": 12,
            "camera.full_well_e": math.inf,
        }
    )  # fmt: skip
    n, roi, exposure_s = 300, middle(device, 24), 400e-6
    bench, rng = OpticalBench(device, 3), np.random.default_rng(0)
    bits = np.argsort(rng.random((n, 20)), axis=1) < 10
    phases = np.pi / 2 * np.arange(4)
    patterns = MirrorPatterns(bits.astype(np.uint8), MirrorLayout.lined(device.dmd.shape, 20))
    frames = bench.transform(patterns, exposure_s=exposure_s, roi=roi, n_pixels=576, reference_phase_rad=phases)
    made = phases * (1 + device.reference.scale_error + device.reference.nonlinearity * phases / np.pi)
    columns = np.stack([np.ones(4), np.cos(made), np.sin(made)], axis=1)
    x = np.linalg.lstsq(columns, frames.reshape(n, 4, 576).astype(float).swapaxes(0, 1).reshape(4, -1), rcond=None)[0]
    field = (x[1] + 1j * x[2]).reshape(n, 576)
    field -= field.mean(axis=0)
    inputs = bits - bits.mean(axis=0)
    left = field - inputs @ np.linalg.lstsq(inputs, field, rcond=None)[0]
    noise = np.mean(np.abs(left) ** 2) / (1 - 20 / n)
    # Patterns with half of the features on: their spread is half of the power, and the budget's is that of fields.
    signal = (np.mean(np.abs(field) ** 2) - noise) * 2
    closed = error_budget(device, "linear", exposure_s=exposure_s, elapsed_s=0.0, roi=roi)
    assert closed.errors["pixel integration"] == 0
    assert closed.whole == pytest.approx(noise / signal, rel=0.1)
    measured = measured_error_budget(
        device, "linear", n_vectors=100, sources=["shot noise", "pixel integration"], roi=roi, exposure_s=exposure_s,
        elapsed_s=0.0,
    )  # fmt: skip
    assert measured.errors["pixel integration"] == 0
    assert measured.whole == pytest.approx(closed.whole, rel=0.1)
    # The intensity of a pixel is still compared with that of a point.
    assert error_budget(device).errors["pixel integration"] == pytest.approx(pixel_modes(0.3) - 1, rel=0.02)


def test_tables_tell_large_errors_without_an_exponent():
    from rich.table import Table

    point = error_budget(AURORA).point
    for whole, told in ((1.04, "102 %"), (0.0361, "19 %"), (0.9999, "100 %"), (1e-12, "< 0.001 %"), (0.0, "0 %")):
        table = Table()
        fill_error_table(table, [ErrorBudget(point, {"shot noise": whole}, whole, False)])
        assert list(table.columns[-1].cells)[-1] == told
