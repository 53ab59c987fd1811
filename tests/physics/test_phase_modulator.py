"""Laws of the liquid-crystal phase modulator: gratings, unmodulated light, flicker, crosstalk, look-up table."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from opusim import Device, OpticalBench
from opusim.bench import phase_sources
from opusim.bench.phase_sources import PhaseMacroSource
from opusim.device.slm import PhaseSlm, crosstalk_weights
from opusim.noise.levels import dark_level_dn, error_budget, noise_at_level, noise_terms
from opusim.noise.measured import measured_error_budget
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import PhasePatterns, nearest_levels

PLAIN = PhaseSlm(name="x", shape=(4, 256), pitch_m=9.2e-6)


def small(resolution: str = "auto", **fields: object) -> Device:
    """A device without noise, with a small modulator: 40 x 48 pixels."""
    device = Device.from_toml(
        f'preset = "ideal"\nname = "small"\nresolution = "{resolution}"\n'
        '[modulator]\nkind = "slm"\nname = "x"\nshape = [40, 48]\npitch_m = 9.2e-6\n'
        "[camera]\nshape = [48, 64]\nframe_rate_hz = 7707.0\n[operation]\nones_range = [1, 1000]\n"
    )
    return device.evolve(**{f"modulator.{name}": value for name, value in fields.items()})


def orders(line: np.ndarray) -> np.ndarray:
    """Share of the light in each order of a grating, from the fields along it."""
    return np.abs(np.fft.fft(line) / len(line)) ** 2 / np.mean(np.abs(line) ** 2)


def random_levels(n: int, features: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, features), dtype=np.uint8)


# ------------------------------------------------------------------------------------------------ gratings


@pytest.mark.parametrize("levels", [2, 4, 8, 16])
def test_first_order_of_a_blazed_grating_of_few_levels(levels):
    """sinc^2(1 / levels) (Goodman, Introduction to Fourier Optics, 3rd ed., section 7.3): 40.5, 81.1, 95.0, 98.7 %.

    The sum over 64 pixels a period stands for the integral over it: within (pi / 64)^2 / 3, .1 %.
    """
    slm = dataclasses.replace(PLAIN, levels=levels)
    turns = (np.arange(256) % 64 + 0.5) / 64  # no ties between two levels
    field = slm.field(np.broadcast_to(slm.levels_of(turns), slm.shape), seed=0)[0]
    assert orders(field)[256 // 64] == pytest.approx(np.sinc(1 / levels) ** 2, rel=1.2e-3)


def test_phases_within_half_a_level_and_both_ends():
    turns = np.linspace(0, 1, 1000, endpoint=False)
    back = PLAIN.phases_rad()[PLAIN.levels_of(turns)] / (2 * np.pi)
    off = np.abs(back - turns)
    assert np.minimum(off, 1 - off).max() <= 0.5 / 256 + 1e-12


@pytest.mark.parametrize("turns", [0.3, 1.0, 1.5, 3.7])
def test_levels_of_phases_are_the_nearest_ones_round_the_circle(turns):
    """Against all distances on the circle; the same for the modulator, and for a table that a laboratory gives."""
    slm = dataclasses.replace(PLAIN, levels=50, range_turns=turns)
    uneven = slm.level_turns + 0.003 * np.sin(np.arange(50))
    asked = np.random.default_rng(0).random(3000)

    def apart(table, levels):
        return np.abs((table[levels] - asked + 0.5) % 1.0 - 0.5)

    for table in (slm.level_turns, uneven):
        best = np.abs((table[None] - asked[:, None] + 0.5) % 1.0 - 0.5).min(axis=1)
        np.testing.assert_allclose(apart(table, nearest_levels(asked, table)), best, atol=1e-12)
    np.testing.assert_array_equal(slm.levels_of(asked), nearest_levels(asked, slm.level_turns))
    np.testing.assert_array_equal(nearest_levels(asked + 2, uneven), nearest_levels(asked, uneven))


def test_a_picture_of_bits_is_doubted_once():
    bits = (np.arange(40 * 48).reshape(40, 48) % 2).astype(np.uint8)
    bench, how = OpticalBench(small()), {"exposure_s": 1e-3, "roi": (0, 0, 4, 4)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.expose(bits * 0.5, **how)
        bench.expose(bits * 2, **how)
    with pytest.warns(UserWarning, match=r"mirrors holds whole numbers .* the levels 0 and 1 of 256.* 0.5 \* mirrors"):
        bench.expose(bits, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.expose(bits, **how)


def test_zero_order_has_the_unmodulated_share():
    """Of a blazed grating the turned light is in the first order, and what no level turns in the zero order."""
    slm = dataclasses.replace(PLAIN, unmodulated=0.07)
    field = slm.field(np.broadcast_to(slm.levels_of((np.arange(256) % 32) / 32), slm.shape), seed=0)[0]
    share = orders(field)
    assert share[0] == pytest.approx(0.07, rel=1e-4)
    assert share[256 // 32] == pytest.approx(0.93, rel=1e-4)


@pytest.mark.parametrize("fill", [0.8, 0.9, 0.95])
def test_gaps_add_their_amplitude_to_the_zero_order(fill):
    """Zero order over first order of a grating against fields on points of each pixel, the last of which are the gap.

    The law: amplitudes F and 1 - F in the order of the pixels that is used. Points see the first order under the
    envelope of a pixel, 1 - (pi / 32)^2 / 6 in amplitude: .3 % of the ratio of intensities.
    """
    points, period = 40, 32
    turns = (np.arange(256) % period) / period
    turned = np.exp(2j * np.pi * turns)[:, None] * np.ones(points)
    turned[:, round(fill * points) :] = 1
    fine = np.abs(np.fft.fft(turned.ravel())) ** 2
    slm = dataclasses.replace(PLAIN, fill_factor=fill)
    share = orders(slm.field(np.broadcast_to(slm.levels_of(turns), slm.shape), seed=0)[0])
    assert share[0] / share[256 // period] == pytest.approx(fine[0] / fine[256 // period], rel=4e-3)
    assert share[0] / share[256 // period] == pytest.approx(((1 - fill) / fill) ** 2, rel=1e-3)
    assert share.sum() == pytest.approx(1, abs=1e-6)


def test_light_of_gaps_and_of_the_cover_add_their_amplitudes():
    both = dataclasses.replace(PLAIN, fill_factor=0.9, unmodulated=0.04)
    ratio = np.sqrt(0.04 / 0.96) + 0.1 / 0.9
    assert both.unmodulated_share == pytest.approx(ratio**2 / (1 + ratio**2), rel=1e-12)
    assert dataclasses.replace(PLAIN, unmodulated=0.04).unmodulated_share == 0.04
    assert dataclasses.replace(PLAIN, fill_factor=0.9, unmodulated=1.0).unmodulated_share == 1.0


# ------------------------------------------------------------------------------------------------ look-up table


def test_error_of_the_table_has_its_size_is_smooth_and_belongs_to_the_seed():
    """Root mean square over the levels as stated; five sines of at most 4.5 half waves over 256 levels turn by at most
    4.5 pi / 256 of their sum a level, which is below 5 sqrt(2) of the root mean square."""
    slm = dataclasses.replace(PLAIN, table_error_rms_rad=0.2)
    error = slm.curve_rad(3) - slm.phases_rad()
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.2, rel=1e-9)
    assert error[0] == 0
    assert np.abs(np.diff(error)).max() < 4.5 * np.pi / 256 * 0.2 * 5 * np.sqrt(2)
    assert np.abs(error - (slm.curve_rad(4) - slm.phases_rad())).max() > 0.01


def test_table_that_is_in_error_costs_the_first_order():
    """Against a sum over the levels that are shown; and levels chosen by the curve as it is undo it."""
    slm = dataclasses.replace(PLAIN, table_error_rms_rad=0.3)
    turns = np.arange(256) / 256
    field = slm.field(np.broadcast_to(slm.levels_of(turns), slm.shape), seed=5)[0]
    phases = slm.curve_rad(5)
    expected = abs(np.exp(1j * (phases - 2 * np.pi * turns)).mean()) ** 2
    assert expected < 0.99
    assert orders(field)[1] == pytest.approx(expected, rel=1e-5)
    off = np.exp(1j * (phases[:, None] - 2 * np.pi * turns))
    mended = np.abs(off - 1).argmin(axis=0).astype(np.uint8)
    again = slm.field(np.broadcast_to(mended, slm.shape), seed=5)[0]
    assert orders(again)[1] > 0.9995


def test_light_of_longer_waves_is_turned_by_fewer_turns():
    """Phase = 2 pi path / wavelength: a blaze of one turn at 532 nm has at 1064 nm the first order of half a turn.

    sinc^2(1 - R) of the light for a blaze of R turns (Goodman, Introduction to Fourier Optics, 3rd ed., section 7.3):
    .405 for R = 1/2; the sum over 256 pixels stands for the integral, within .1 %. Levels are as the driver means them.
    """
    slm = dataclasses.replace(PLAIN, stated_wavelength_m=532e-9, table_error_rms_rad=0.2)
    assert slm.lit_by(532e-9) is slm and PLAIN.lit_by(532e-9) is PLAIN
    lit = slm.lit_by(1064e-9)
    np.testing.assert_allclose(lit.curve_rad(3), slm.curve_rad(3) / 2, rtol=1e-12)
    plain = dataclasses.replace(slm, table_error_rms_rad=0.0).lit_by(1064e-9)
    levels = np.broadcast_to(slm.levels_of(np.arange(256) / 256), slm.shape)
    assert orders(plain.field(levels, seed=0)[0])[1] == pytest.approx(np.sinc(0.5) ** 2, rel=2e-3)


@pytest.mark.parametrize("resolution", ["auto", "mirrors"])
def test_a_bench_turns_phases_at_its_laser(resolution):
    """Counts at another wavelength are those of a modulator that is stated there; levels of the driver stay."""
    device = small(resolution, stated_wavelength_m=532e-9, table_error_rms_rad=0.1, flicker=0.05)
    other = device.evolve(**{"modulator.stated_wavelength_m": 665e-9})
    here = device.evolve(**{"modulator.range_turns": 1.25, "modulator.table_error_rms_rad": 0.125})
    none = device.evolve(**{"modulator.stated_wavelength_m": 0.0})
    patterns = PhasePatterns(random_levels(3, 320), layout_of("auto"))
    times = {"exposure_s": 1e-3, "roi": (0, 0, 16, 16), "n_pixels": 256}
    frames = {
        name: OpticalBench(each, seed=3).transform(patterns, **times)
        for name, each in {"device": device, "other": other, "here": here, "none": none}.items()
    }
    np.testing.assert_allclose(frames["other"], frames["here"], rtol=1e-3, atol=1e-4 * frames["here"].mean())
    np.testing.assert_array_equal(frames["device"], frames["none"])
    assert np.abs(frames["other"] - frames["device"]).mean() > 0.1 * frames["device"].mean()
    np.testing.assert_array_equal(OpticalBench(other).level_turns, np.arange(256) / 256)
    fluctuation = [noise_terms(each, 40 * 48, 1e-3).share("phase flicker") for each in (other, here, device)]
    assert fluctuation[0] == pytest.approx(fluctuation[1], rel=1e-9)
    # Another device than one without: its phases depend on the laser. One that says nothing is as before.
    assert len({each.fingerprint() for each in (device, other, none)}) == 3
    assert none.fingerprint() == small(resolution, table_error_rms_rad=0.1, flicker=0.05).fingerprint()


def test_phases_beyond_what_a_modulator_may_have_at_the_laser_are_refused():
    with pytest.raises(ValueError, match="modulator.range_turns is 6.0 for light of 1.064e-06 m, which is 12 at"):
        small(range_turns=6.0, stated_wavelength_m=1064e-9)


def test_gains_of_pixels_have_their_spread_and_leave_level_0():
    """Five sigma of 48 000 pixels: 5 / sqrt(2 n) = 1.6 %. The field of one level spreads by gain times phase."""
    slm = PhaseSlm(name="x", shape=(200, 240), pitch_m=9.2e-6, gain_spread=0.02)
    assert slm.pixel_gains(1).std() == pytest.approx(0.02, rel=0.016)
    np.testing.assert_allclose(slm.field(np.zeros(slm.shape, np.uint8), seed=1), 1, atol=1e-6)
    level = np.full(slm.shape, 64, np.uint8)
    spread = np.angle(slm.field(level, seed=1) / 1j)
    assert spread.std() == pytest.approx(0.02 * np.pi / 2, rel=0.016)


# ------------------------------------------------------------------------------------------------ crosstalk


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("period", [4, 8, 32])
def test_crosstalk_lowers_a_sine_of_the_phase(sigma, period):
    """Phases that are even over cells, smoothed by a Gaussian, and their mean over cells: at f = 1 / period

        H(f) = sum over m of sinc^2(f + m) exp(-2 (pi sigma (f + m))^2)

    (the transfer function of two cells and a Gaussian, sampled by pixel). For f << 1 / sigma, 1 it is
    exp(-2 (pi f)^2 (sigma^2 + 1/6)) where sigma is above half a pixel. Pixels at the edges are left out.
    """
    slm = PhaseSlm(name="x", shape=(1, 1024), pitch_m=9.2e-6, crosstalk_pixels=sigma)
    x = np.arange(1024)
    sine = np.cos(2 * np.pi * x / period)
    seen = slm.smoothed(sine[None, :])[0]
    f = 1 / period + np.arange(-50, 51)
    law = float(np.sum(np.sinc(f) ** 2 * np.exp(-2 * (np.pi * sigma * f) ** 2)))
    inside = slice(64, -64)
    np.testing.assert_allclose(seen[inside], law * sine[inside], atol=2e-4)
    if sigma == 1.0 and period == 32:
        assert law == pytest.approx(np.exp(-2 * (np.pi / 32) ** 2 * (1 + 1 / 6)), rel=1e-3)


def test_no_crosstalk_and_even_phases_are_as_they_were():
    np.testing.assert_array_equal(crosstalk_weights(0.0), [1.0])
    for sigma in (0.1, 0.7, 3.0):
        weights = crosstalk_weights(sigma)
        assert weights[0] + 2 * weights[1:].sum() == pytest.approx(1, abs=1e-9)
        assert (np.diff(weights) <= 0).all()
    slm = dataclasses.replace(PLAIN, crosstalk_pixels=1.5)
    np.testing.assert_allclose(slm.smoothed(np.full(slm.shape, 2.5)), 2.5, rtol=1e-12)


@pytest.mark.parametrize("period", [2, 8])
def test_crosstalk_takes_light_from_a_grating(period):
    """First order against phases on a fine grid, smoothed there by FFT, and their means over pixels.

    A binary grating of 0 and pi, or a blazed one, whose fly-back is what crosstalk smears (Persson, Engstroem, Goksoer,
    Optics Express 20, 22334 (2012)).
    """
    sigma, fine = 0.6, 64
    turns = (np.arange(256) % period) / period
    stairs = np.repeat(2 * np.pi * turns, fine)
    f = np.fft.fftfreq(len(stairs), 1 / fine)
    smooth = np.fft.ifft(np.fft.fft(stairs) * np.exp(-2 * (np.pi * sigma * f) ** 2)).real
    means = smooth.reshape(256, fine).mean(axis=1)
    # The modulator ends where the fine grid goes round: the middle is looked at.
    inside = slice(64, 192)
    expected = orders(np.exp(1j * means[inside]))[128 // period]
    slm = PhaseSlm(name="x", shape=(1, 256), pitch_m=9.2e-6, crosstalk_pixels=sigma)
    field = slm.field(slm.levels_of(turns)[None], seed=0)[0]
    assert orders(field[inside])[128 // period] == pytest.approx(expected, rel=2e-3)
    assert expected < 0.97 * orders(np.exp(2j * np.pi * turns[inside]))[128 // period]


def test_features_of_several_pixels_have_the_mean_of_their_phases():
    """Resolution "auto": weights against the pixels' own smoothed phases, averaged over each feature."""
    device = small(crosstalk_pixels=0.8)
    slm, layout = device.modulator, MirrorLayout.macro_2d((40, 48), (7, 9), roi_offset=(2, 1), roi_size=(36, 46))
    levels = random_levels(3, 63)
    weights = PhaseMacroSource(layout, slm, 2).coefficients(levels)
    feature = layout.feature_of_mirror()
    for vector, weight in zip(levels, weights, strict=True):
        phases = slm.smoothed(slm.phases_rad()[layout.pixels(vector[None])[0]])
        means = np.array([phases[feature == j].mean() for j in range(63)])
        np.testing.assert_allclose(weight, np.exp(1j * means), atol=1e-6)


# ------------------------------------------------------------------------------------------------ flicker


def test_flicker_has_its_size_and_belongs_to_its_frame():
    """Root mean square of 20 000 frames within five sigma, 5 / sqrt(2 n) = 2.5 %; a frame keeps its own."""
    slm = dataclasses.replace(PLAIN, flicker=0.01)
    n = 20_000
    frames, times = np.arange(n), np.arange(n) * 1e-3
    ripple = slm.ripples(frames, times, 1e-3, seed=3)
    assert ripple.std() == pytest.approx(0.01, rel=0.025)
    assert ripple.mean() == pytest.approx(1, abs=5 * 0.01 / np.sqrt(n))
    np.testing.assert_array_equal(slm.ripples(frames[500:600], times[:100], 1e-3, seed=3), ripple[500:600])
    assert not np.array_equal(slm.ripples(frames[:100], times[:100], 1e-3, seed=4), ripple[:100])


def test_flicker_of_a_frequency_is_averaged_over_the_exposure():
    """A sine: its mean over an exposure T is sinc(f T) of it; frames a period apart see the same."""
    slm = dataclasses.replace(PLAIN, flicker=0.01, flicker_hz=120.0)
    times = np.linspace(0, 1 / 120, 400, endpoint=False)
    for exposure_s in (1e-5, 2e-3, 6e-3):
        ripple = slm.ripples(np.arange(400), times, exposure_s, seed=3)
        assert ripple.std() == pytest.approx(0.01 * abs(np.sinc(120 * exposure_s)), rel=1e-6)
        assert slm.flicker_in(exposure_s) == pytest.approx(0.01 * abs(np.sinc(120 * exposure_s)), rel=1e-9)
        later = slm.ripples(np.arange(400) + 7, times + 1 / 120, exposure_s, seed=3)
        np.testing.assert_allclose(later, ripple, atol=1e-9)
    assert dataclasses.replace(PLAIN, flicker=0.01).flicker_in(1.0) == 0.01


@pytest.mark.parametrize("way", ["matrix", "waves"])
def test_speckle_of_one_pattern_under_flicker(way):
    """Fields of phases that are even over a turn correlate as the mean of exp(i phase d), d the difference of two
    frames' flicker: |mean|^2 = sinc^2(d). Intensities of Gaussian fields too (Siegert's relation).

    10 % of flicker; over 400 features and 3072 pixels within .03.
    """
    device = small(flicker=0.1)
    layout = MirrorLayout.lined((40, 48), 400)
    levels = np.repeat(random_levels(1, 400), 6, axis=0)
    # Every level about as often as any other.
    levels[:] = np.random.default_rng(5).permutation(np.arange(400) * 256 // 400).astype(np.uint8)
    bench = OpticalBench(device, seed=7, execution=way)
    frames = bench.transform(PhasePatterns(levels, layout), exposure_s=1e-3, roi=(0, 0, 48, 64), n_pixels=3072)
    ripple = device.modulator.ripples(np.arange(6), np.zeros(6), 1e-3, seed=7)
    seen = np.corrcoef(frames.astype(np.float64))
    law = np.sinc(np.subtract.outer(ripple, ripple)) ** 2
    assert law.min() < 0.95
    np.testing.assert_allclose(seen, law, atol=0.03)


def test_each_frame_of_a_burst_has_its_own_flicker():
    """A burst of steps is as many frames, each with its ripple."""
    device = small(flicker=0.05).evolve(**{"reference.relative_amplitude": 1.0})
    layout = MirrorLayout.lined((40, 48), 100)
    patterns = PhasePatterns(random_levels(2, 100), layout)
    bench = OpticalBench(device, seed=7)
    phases = np.zeros(3)
    times = {"exposure_s": 1e-3, "roi": (0, 0, 16, 16), "n_pixels": 256}
    burst = bench.transform(patterns, reference_phase_rad=phases, **times).reshape(2, 3, 256)
    singles = OpticalBench(device, seed=7).transform(
        PhasePatterns(np.repeat(patterns.bits, 3, axis=0), layout), reference_phase_rad=np.zeros(1), **times
    )
    np.testing.assert_array_equal(burst.reshape(6, 256), singles.reshape(6, 256))
    assert np.abs(burst[:, 1] - burst[:, 0]).max() > 1e-3 * burst.mean()


def test_rows_of_a_rolling_shutter_take_no_flicker_of_a_frequency():
    """Each row would see another phase of the sine. Flicker that is new in every frame is the same for its rows."""
    rolling = small(flicker=0.05).evolve(**{"camera.shutter": "rolling"})
    patterns = PhasePatterns(random_levels(1, 100), MirrorLayout.lined((40, 48), 100))
    times = {"exposure_s": 1e-3, "roi": (0, 0, 16, 16), "n_pixels": 256}
    seen = OpticalBench(rolling, seed=7).transform(patterns, **times)
    still = OpticalBench(rolling.evolve(**{"modulator.flicker": 0.0}), seed=7).transform(patterns, **times)
    assert np.abs(seen - still).max() > 1e-3 * still.mean()
    fast = rolling.evolve(**{"modulator.flicker_hz": 120.0})
    with pytest.raises(ValueError, match="camera.shutter is 'rolling' and modulator.flicker_hz is 120.0, but rows"):
        OpticalBench(fast, seed=7).transform(patterns, **times)
    silent = fast.evolve(**{"modulator.flicker": 0.0})
    np.testing.assert_array_equal(OpticalBench(silent, seed=7).transform(patterns, **times), still)


# ------------------------------------------------------------------------------------------------ the bench

ALL = {
    "table_error_rms_rad": 0.2, "flicker": 0.03, "crosstalk_pixels": 0.6, "fill_factor": 0.92, "unmodulated": 0.01,
    "gain_spread": 0.05, "aberration_rms_rad": 0.5,
}  # fmt: skip


def layout_of(resolution: str) -> MirrorLayout:
    """Features of six pixels, or of one where each is a mode: there a matrix of features exists with crosstalk."""
    return MirrorLayout.lined((40, 48), 320) if resolution == "auto" else MirrorLayout.plain((40, 48))


@pytest.mark.parametrize("sigma", [0.25, 1.0, 4.0])
@pytest.mark.parametrize(
    "layout",
    [MirrorLayout.lined((40, 48), 320), MirrorLayout.lined((40, 48), 37), MirrorLayout.macro_2d((40, 48), (5, 7)),
     MirrorLayout.plain((12, 20))],
    ids=["runs", "runs with pixels of none", "squares", "pixels"],
)  # fmt: skip
def test_crosstalk_of_features_is_the_mean_over_their_pixels(layout, sigma):
    """Against the plain form: all pixels by all pixels, a product of one matrix an axis. Sums of doubles: 1e-12."""
    slm = dataclasses.replace(PLAIN, shape=layout.dmd_shape, crosstalk_pixels=sigma)
    weights = crosstalk_weights(sigma)
    axes = []
    for size in layout.dmd_shape:
        apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        axis = np.append(weights, 0.0)[np.minimum(apart, len(weights))]
        axes.append(axis / axis.sum(axis=1, keepdims=True))
    n = layout.n_features_total
    member = (layout.feature_of_mirror().ravel()[:, None] == np.arange(n)).astype(np.float64)
    plain = (member / member.sum(axis=0)).T @ np.kron(*axes) @ member
    found = PhaseMacroSource(layout, slm, 0)._mixing
    np.testing.assert_allclose(found.toarray(), plain, rtol=0, atol=1e-12)
    assert np.array_equal(found.toarray() == 0, plain == 0)


def test_crosstalk_is_found_in_parts(monkeypatch):
    """The same bits, however many features go into the room at a time."""
    layout, slm = MirrorLayout.plain((12, 20)), dataclasses.replace(PLAIN, shape=(12, 20), crosstalk_pixels=1.0)
    whole = PhaseMacroSource(layout, slm, 0)._mixing
    monkeypatch.setattr(phase_sources, "_ROOM", 0)
    np.testing.assert_array_equal(PhaseMacroSource(layout, slm, 0)._mixing.toarray(), whole.toarray())


@pytest.mark.parametrize("resolution", ["auto", "mirrors"])
def test_waves_and_matrix_agree_with_everything_on(resolution):
    """The same fields to 1e-4 relative, as for micromirrors (docs/design.md)."""
    device, layout = small(resolution, **ALL), layout_of(resolution)
    patterns = PhasePatterns(random_levels(5, layout.n_features_total), layout)
    times = {"exposure_s": 1e-3, "roi": (4, 4, 20, 30), "n_pixels": 600}
    one, other = (
        OpticalBench(device, seed=3, execution=way).transform(patterns, **times) for way in ("matrix", "waves")
    )
    # Intensities: twice the error of the field.
    error = np.sqrt(np.mean(np.square(one - other, dtype=np.float64)) / np.mean(np.square(other, dtype=np.float64)))
    assert error < 2e-4


@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_same_bits_for_any_batch_and_threads(execution):
    device, layout = small(**ALL), layout_of("auto")
    patterns = PhasePatterns(random_levels(9, 320), layout)
    times = {"exposure_s": 1e-3, "roi": (0, 0, 20, 30), "n_pixels": 600}
    whole = OpticalBench(device, seed=3, execution=execution, threads=1).transform(patterns, **times)
    bench = OpticalBench(device, seed=3, execution=execution, threads=2)
    parts = [bench.transform(patterns[part], **times) for part in (slice(0, 1), slice(1, 6), slice(6, 9))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_pictures_are_as_their_features():
    """With a mode a pixel: levels of pixels, and the same levels by a layout of several pixels a feature, by waves."""
    device = small("mirrors", **ALL)
    layout = MirrorLayout.macro_2d((40, 48), (8, 12))
    levels = random_levels(2, 96)
    times = {"exposure_s": 1e-3, "roi": (0, 0, 20, 30)}
    bench = OpticalBench(device, seed=3)
    by_layout = bench.transform(PhasePatterns(levels, layout), n_pixels=600, **times)
    pictures = np.concatenate([OpticalBench(device, seed=3).expose(layout.pixels(levels), **times)])
    np.testing.assert_array_equal(by_layout.reshape(pictures.shape), pictures)


def test_no_matrix_of_features_whose_pixels_differ():
    device = small("mirrors", crosstalk_pixels=0.5)
    patterns = PhasePatterns(random_levels(1, 96), MirrorLayout.macro_2d((40, 48), (8, 12)))
    bench = OpticalBench(device, seed=3, execution="matrix")
    with pytest.raises(ValueError, match="execution is 'matrix', but with resolution 'mirrors' crosstalk"):
        bench.transform(patterns, exposure_s=1e-3, roi=(0, 0, 8, 8), n_pixels=64)
    assert OpticalBench(device, seed=3).explain(patterns, roi=(0, 0, 8, 8), n_pixels=64).way == "waves"


@pytest.mark.parametrize("fields", [{}, {"fill_factor": 0.8}, {"crosstalk_pixels": 0.7, "gain_spread": 0.1}])
def test_mean_light_is_the_expected_level(fields):
    """Random phases over a turn: |T exp(i phase)|^2 has the mean of as many pixels as there are, all lit.

    Crosstalk takes light from no phase; the unmodulated share is in the mean. 40 patterns of 320 features on 600
    pixels: five sigma of 40 x 600 exponential levels are 3 %, of the medium's mean 2 %.
    """
    device, layout = small(**fields), layout_of("auto")
    bench = OpticalBench(device, seed=3)
    frames = bench.transform(
        PhasePatterns(random_levels(40, 320), layout), exposure_s=1e-3, roi=(0, 0, 20, 30), n_pixels=600
    )
    expected = bench.expected_level_dn(device.modulator.n_mirrors, 1e-3)
    assert frames.mean() == pytest.approx(expected, rel=0.04)


def test_ideal_switches_everything_off():
    """What an ideal device's modulator does is exp(i phase) of the levels, no more."""
    slm = small(**ALL).ideal().modulator
    assert not slm.moves and not slm.uneven
    assert slm.unmodulated_share == 0
    levels = random_levels(1, 40 * 48).reshape(40, 48)
    np.testing.assert_allclose(slm.field(levels, seed=1), np.exp(2j * np.pi * levels / 256), atol=2e-6)
    names = {"look-up table error", "phase flicker", "pixel crosstalk", "unmodulated light", "uneven phase"}
    assert names <= set(small(**ALL).imperfections())


# ------------------------------------------------------------------------------------------------ budgets of noise


def test_noise_of_the_reservoir_bench():
    """1.7 % of the mean from frame to frame: published for that bench (Light: Science & Applications 14, 245 (2025)).

    The budget has it, for phases that are even over a turn. 96 frames of such a pattern on 2500 pixels have what it
    says at their own mean level (that of one pattern scatters by 2 %). Frames share their flicker, 9 % of the variance,
    of which 96 know 14 %, and one pattern's contrast squared 9 %: .8 % of the root mean square together. Pixels know
    theirs to .2 %. What saturates, 1 % of the shot noise's variance, is without noise: .4 %. Three standard errors and
    that: 3 %.
    """
    device = Device.load("ngrc-bench")
    bench = OpticalBench(device, seed=4)
    layout = MirrorLayout.macro_2d(device.modulator.shape, (16, 24))
    patterns = PhasePatterns(np.repeat(random_levels(1, 384), 96, axis=0), layout)
    exposure_s = device.operation.exposure_s
    frames = bench.transform(patterns, exposure_s=exposure_s, roi=(0, 0, 50, 50), n_pixels=2500).astype(np.float64)
    mean = frames.mean() - device.camera.black_level_dn
    noise = np.sqrt(frames.var(axis=0, ddof=1).mean())
    there = noise_at_level(device, float(frames.mean()), exposure_s, speckle=True)
    assert noise == pytest.approx(there.rms_dn("temporal"), rel=0.03)
    budget = noise_terms(device, device.modulator.n_mirrors, exposure_s)
    assert budget.rms_dn("temporal") / (budget.level_dn - dark_level_dn(device, exposure_s)) == pytest.approx(
        0.017, rel=0.01
    )
    assert mean == pytest.approx(budget.level_dn - device.camera.black_level_dn, rel=0.12)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_flicker_as_noise_of_an_output(share):
    """Variance from frame to frame against the closed form, on 60 frames of a device without other noise.

    The variance of 60 frames' flicker is known to sqrt(2 / 60) = 18 %; over 4 patterns to 9 %, twice that is allowed.
    """
    device = small(flicker=0.02, unmodulated=share)
    layout = MirrorLayout.lined((40, 48), 384)
    found = []
    for seed in range(4):
        patterns = PhasePatterns(np.repeat(random_levels(1, 384, seed), 60, axis=0), layout)
        frames = (
            OpticalBench(device, seed=seed)
            .transform(patterns, exposure_s=1e-3, roi=(0, 0, 48, 64), n_pixels=3072)
            .astype(np.float64)
        )
        found.append(frames.var(axis=0, ddof=1).mean() / frames.mean() ** 2)
    budget = noise_terms(device, 40 * 48, 1e-3)
    (term,) = (term for term in budget.terms if term.name == "phase flicker")
    signal = budget.level_dn - dark_level_dn(device, 1e-3)
    assert term.kind == "temporal"
    assert np.mean(found) == pytest.approx(term.variance_dn2 / signal**2, rel=0.2)
    if not share:
        # To second order 2 (pi f)^2 / 3: sinc^2 of a difference with twice the variance.
        assert term.variance_dn2 / signal**2 == pytest.approx(2 / 3 * (np.pi * 0.02) ** 2, rel=1e-2)


def test_error_budget_of_a_phase_modulator_against_switching_sources_off():
    """Closed forms of flicker and of unmodulated light against a bench; five of its standard errors, and 5 %."""
    device = small(flicker=0.08, unmodulated=0.05)
    closed = error_budget(device, exposure_s=1e-3)
    measured = measured_error_budget(
        device, n_vectors=300, sources=["phase flicker", "unmodulated light"], exposure_s=1e-3, roi=(0, 0, 40, 40)
    )
    # The mean of sinc^2 over a normal law of .08, by its series; errors of independent causes multiply.
    alike = 1 - (np.pi * 0.08) ** 2 / 3 + 2 * np.pi**4 * 3 * 0.08**4 / 45
    assert closed.whole == pytest.approx(1 / (0.95 * alike) ** 2 - 1, rel=2e-3)
    assert closed.errors["unmodulated light"] == pytest.approx((1 / 0.95**2 - 1) / alike**2, rel=2e-3)
    for name in ("phase flicker", "unmodulated light"):
        allowed = 5 * measured.uncertainty[name] + 0.05 * closed.errors[name]
        assert measured.errors[name] == pytest.approx(closed.errors[name], abs=allowed), name
    assert "off-state leakage" not in closed.errors
    assert not closed.notes


def test_flicker_of_frames_that_see_a_moment_in_both_budgets():
    """Without `Operation.exposure_average` an exposure of a whole period averages nothing of the flicker.

    A sine of flicker .05 rms, sampled at 60 moments: the variance of outputs is 2 / 3 (pi .05)^2 to second order; that
    of a sine over 60 frames without a common period is known within a tenth.
    """
    device = small(flicker=0.05, flicker_hz=2500.0)
    still = device.evolve(**{"operation.exposure_average": False})
    layout = MirrorLayout.lined((40, 48), 384)
    found = []
    for seed in range(4):
        patterns = PhasePatterns(np.repeat(random_levels(1, 384, seed), 60, axis=0), layout)
        frames = OpticalBench(still, seed=seed).transform(
            patterns, exposure_s=400e-6, roi=(0, 0, 48, 64), n_pixels=3072, frametime_s=2.0371e-2
        )
        frames = frames.astype(np.float64)
        found.append(frames.var(axis=0, ddof=1).mean() / frames.mean() ** 2)

    def told(of):
        budget = noise_terms(of, 40 * 48, 400e-6)
        (term,) = (term for term in budget.terms if term.name == "phase flicker")
        return term.variance_dn2 / (budget.level_dn - dark_level_dn(of, 400e-6)) ** 2

    assert told(still) == pytest.approx(2 / 3 * (np.pi * 0.05) ** 2, rel=0.02)
    assert np.mean(found) == pytest.approx(told(still), rel=0.2)
    assert told(device) == pytest.approx(0.0, abs=1e-9)
    alike = 1 - (np.pi * 0.05) ** 2 / 3  # the mean of sinc^2, to second order
    errors = [error_budget(of, exposure_s=400e-6).errors["phase flicker"] for of in (still, device)]
    assert errors[0] == pytest.approx(1 / alike**2 - 1, rel=0.03)
    assert errors[1] == pytest.approx(0.0, abs=1e-9)


def test_mirrors_that_move_have_no_flicker_in_their_budget():
    budget = noise_terms(Device.load("aurora").evolve(**{"dmd.warm_up_loss": 0.05}), 1000, 1e-3)
    assert "phase flicker" not in [term.name for term in budget.terms]


def test_budgets_refuse_what_phases_have_not():
    device = small().evolve(**{"reference.relative_amplitude": 1.0})
    with pytest.raises(ValueError, match="n_on is 960, but a phase modulator lights all of its pixels: it must be"):
        noise_terms(device, 960, 1e-3)
    with pytest.raises(ValueError, match="share_on is 0.5, but a phase modulator lights all"):
        error_budget(device, share_on=0.5)
    with pytest.raises(ValueError, match="mode is 'linear', but this device has a phase modulator"):
        error_budget(device, "linear")


# ------------------------------------------------------------------------------------------------ presets


@pytest.mark.parametrize("name", ["HSP1920", "PLUTO-2.1", "X13138"])
def test_presets_of_phase_modulators(name):
    """By the table [modulator], and by [dmd] too; with the efficiency that the comment beside it computes."""
    device = Device.from_toml(f'preset = "aurora"\n[modulator]\npreset = "{name}"\nflicker = 0.1\n')
    slm = device.modulator
    assert isinstance(slm, PhaseSlm)
    assert (slm.name, slm.flicker, device.dmd) == (name, 0.1, slm)
    assert device.description.startswith(f"aurora, changed: modulator {name} with flicker 10 %")
    assert Device.from_toml(device.to_toml()) == device
    assert repr(device).count(f"{slm.shape[0]} x {slm.shape[1]} pixels") == 1
    mirror = {"HSP1920": 0.90, "PLUTO-2.1": 0.75, "X13138": 0.97}[name]
    used = slm.fill_factor**2 + (1 - slm.fill_factor) ** 2
    assert slm.efficiency == pytest.approx(mirror * used, abs=5.1e-4)
    with pytest.raises(ValueError, match=r"that is a modulator\. Use it in a TOML file, as preset = .* \[modulator\]"):
        Device.load(name)


def test_unknown_modulator_names_those_that_there_are():
    with pytest.raises(ValueError, match="no DMD or phase modulator preset 'PLUTO'.*dlp4500@2.*pluto-2.1@1"):
        Device.from_toml('preset = "aurora"\n[modulator]\npreset = "PLUTO"\n')
