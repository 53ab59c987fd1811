"""Speckle that decorrelates while the shutter is open: contrast, fringes, and the mean of the moments of a frame.

The correlation of fields is g = exp(-(t/tau)^2). The contrast K of the mean intensity over T is the root of the mean of
g^2 over two moments of the exposure; the mean field, which makes the fringes with a steady reference, has the mean of g
as its part of the power (Goodman, Speckle Phenomena in Optics, 2nd ed., section 3.3; Bandyopadhyay et al., Rev. Sci.
Instrum. 76, 093110, 2005). Both means are taken numerically here.
"""

from __future__ import annotations

import math
import warnings

import h5py
import numpy as np
import pytest
from scipy import integrate

from opusim import Device, OpticalBench, theory
from opusim.device.medium import GaussianMedium, MeasuredMedium, ModeGrid, PhaseScreenMedium
from opusim.device.medium.drift import Drift
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

SMALL = {"dmd.shape": (16, 16), "camera.shape": (64, 64), "operation.ones_range": (1, 250)}
IDEAL = Device.load("ideal").evolve(**SMALL)
MEDIA = {
    "gaussian": IDEAL.evolve(medium=GaussianMedium(IDEAL.medium.transmission)),
    "phase_screens": IDEAL,
}
BITS = np.random.default_rng(0).integers(0, 2, (8, 60), dtype=np.uint8)
LAYOUT = MirrorLayout.lined((16, 16), 60)
ROI = (0, 0, 64, 64)


def restless(device: Device, tau_s: float, average: bool = True) -> Device:
    return device.evolve(
        **{"medium.decorrelation_time_s": tau_s, "operation.exposure_average": average}
    )  # fmt: skip


def mean_over_pairs(power: float, ratio: float) -> float:
    """Mean of exp(-power (s - t)^2 ratio^2) over s and t from 0 to 1: their difference has a triangle's law."""
    return 2 * integrate.quad(lambda d: (1 - d) * math.exp(-power * (ratio * d) ** 2), 0, 1, epsabs=1e-12)[0]


def shown(bench: OpticalBench, exposure_s: float, n: int = 4, **how) -> np.ndarray:
    patterns = MirrorPatterns(BITS[:n], LAYOUT)
    return bench.transform(patterns, exposure_s=exposure_s, roi=ROI, n_pixels=4096, **how).astype(np.float64)


# ---------------------------------------------------------------- laws


@pytest.mark.parametrize("ratio", [1e-4, 0.01, 0.5, 1.0, 3.0, 16.0, 200.0])
def test_closed_forms_are_the_means_over_pairs_of_moments(ratio):
    assert theory.exposure_contrast(ratio) ** 2 == pytest.approx(mean_over_pairs(2, ratio), rel=1e-7)
    assert theory.exposure_fringe_contrast(ratio) ** 2 == pytest.approx(mean_over_pairs(1, ratio), rel=1e-7)


@pytest.mark.parametrize("ratio", [0.0033, 0.015, 0.021, 0.1, 0.5, 1.0, 3.0, 7.3, 15.9, 17.0, 63.0])
def test_moments_of_a_frame_have_the_contrast_of_the_law(ratio):
    """Squares of both: 1.4e-4 for what moments leave out (2 % above 16 times tau), and states begin 1/316 tau apart."""
    drift = Drift(2.0)
    states = drift.within(123.4, 2.0 * ratio)
    times = np.array([drift.time(state) for state, _ in states])
    weights = np.array([weight for _, weight in states])
    assert weights.sum() == pytest.approx(1, abs=1e-12) and len(states) <= 64
    assert (np.diff(times) > 0).all() and times[0] > 123.4 - 0.01 and times[-1] < 123.4 + 2 * ratio
    apart = (times[:, None] - times) / 2.0
    # A state is late by up to 1/316 of tau: 4 (1/316) in an exponent of 2 d^2 at d = 1 at most, half of it at random.
    allowed = (1.4e-4 if ratio < 16 else 2e-2) + (0.004 if len(states) > 1 else 0)
    for power in (1, 2):
        expected = mean_over_pairs(power, ratio)
        assert weights @ np.exp(-power * apart**2) @ weights == pytest.approx(expected, rel=allowed)


def test_an_exposure_within_a_state_sees_one():
    drift = Drift(100.0)
    assert not drift.moves_within(drift.step_s) and drift.moves_within(1.001 * drift.step_s)
    for time_s in (0.0, 0.9 * drift.step_s, 1234.5):
        assert drift.within(time_s, drift.step_s) == [(int(drift.state(np.array(time_s))), 1.0)]
    assert Drift(math.inf).within(5.0, 60.0) == [(0, 1.0)]
    # However long an exposure is, it takes 64 states.
    assert len(drift.within(0.0, 1e6)) == 64


@pytest.mark.parametrize("periods", [0.1, 1.0, 2.3, 7.0, 30.0])
@pytest.mark.parametrize("ratio", [0.003, 0.02, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0])
def test_each_moment_takes_its_part_of_a_phase_that_moves(ratio, periods):
    """The mean of S(t) p(t) over an exposure, p = exp(i sin(2 pi f t + a)), S of unit power and a Gaussian correlation.

    What the moments leave of it is a sum over pairs of moments of the correlation: no field is drawn. Light of
    |S| = |R| is wrong by the root of half of that, as part of its mean. Allowed: .3 % of the mean light up to tau,
    where the mean phasor in all moments leaves up to 10 %; .8 % up to 16 times tau, and 2 % above. The power of the
    fringes is at most that of the reference.
    """
    drift, n, start_s = Drift(2.0), 1024, 12345 * Drift(2.0).step_s
    t = (np.arange(n) + 0.5) / n
    states, weights, shares = drift.within_parts(start_s, 2.0 * ratio)
    assert shares.shape == (len(states), 256) and weights.sum() == pytest.approx(1, abs=1e-12)
    assert sorted(dict(drift.within(start_s, 2.0 * ratio))) == sorted(set(states))
    times = np.concatenate([ratio * t, np.array([drift.time(state) - start_s for state in states]) / 2.0])
    correlation = np.exp(-((times[:, None] - times) ** 2))
    for begun in (0.0, 0.8, 1.6, 2.4):
        phasor = np.exp(1j * np.sin(2 * np.pi * periods * t + begun))
        means = shares @ phasor.reshape(256, -1).mean(axis=1)
        left = np.concatenate([phasor / n, -weights * means])
        error = math.sqrt((left.conj() @ correlation @ left).real / 2)
        assert error < (0.003 if ratio <= 1 else 0.008 if ratio < 16 else 0.02)
        assert weights @ np.abs(means) ** 2 <= 1 + 1e-12
        assert weights @ means == pytest.approx(phasor.mean(), abs=1e-12)
    # A phase that stands still is taken as it is.
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-11)


@pytest.mark.parametrize("periods", [0.1, 0.3, 1.0, 5.0])
def test_a_frame_is_the_mean_of_its_moments_while_the_reference_moves(periods):
    """Pixel by pixel against 100 short exposures in the same time, medium and reference both moving.

    T = tau / 2, vibration of 1 rad. 1 % of the mean as rms over the pixels: states are 1/316 of tau apart, and three
    moments leave .1 %. The mean phasor of the frame in all moments would be 1.5 to 5 % off.
    """
    moving = {"vibration_rad": 1.0, "vibration_hz": periods / 0.5, "drift_rad_per_minute": 5.0, "jitter_rad": 0.0}
    device = restless(MEDIA["phase_screens"], 1.0).evolve(
        **{"reference.relative_amplitude": 1.0} | {f"reference.{name}": value for name, value in moving.items()}
    )
    how = {"roi": (0, 0, 32, 32), "n_pixels": 1024, "reference_phase_rad": 0.4}
    long, short = OpticalBench(device, seed=3), OpticalBench(device, seed=3)
    frame = long.transform(MirrorPatterns(BITS[:1], LAYOUT), exposure_s=0.5, **how)[0]
    again = MirrorPatterns(np.repeat(BITS[:1], 100, axis=0), LAYOUT)
    short.skip_frames(1, frametime_s=0.0025 - 0.0005)
    expected = short.transform(again, exposure_s=1e-3, frametime_s=0.005, **how).mean(axis=0) * 500
    assert math.sqrt(np.mean((frame - expected) ** 2)) < 0.01 * expected.mean()


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("medium", MEDIA)
def test_contrast_falls_as_the_law_says(medium, ratio):
    """Of 2 frames of 4096 pixels, which share nothing. Chance: at most 1 / sqrt(n), of exponential laws; four sigma."""
    bench = OpticalBench(restless(MEDIA[medium], 0.01), seed=4)
    frames = shown(bench, ratio * 0.01, 2, frametime_s=0.2)
    contrast = np.sqrt(np.mean(frames.var(axis=1) / frames.mean(axis=1) ** 2))
    assert contrast == pytest.approx(math.sqrt(mean_over_pairs(2, ratio)), rel=4 / math.sqrt(frames.size))


def after_one_time(kind: str, n: int) -> tuple[float, float]:
    """Mean over layers of the squared field correlation after one decorrelation time, 64 x 64 modes, and its error."""
    medium, found = PhaseScreenMedium(decorrelation_time_s=1.0), []
    later = int(medium.drift.state(np.array(1.0)))
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    bowl = x * x + y * y - np.mean(x * x + y * y)
    for seed in range(n):
        field = np.random.default_rng(seed).integers(0, 2, (1, 64, 64)).astype(np.complex64)
        if kind == "one mirror":
            field = np.zeros_like(field)
            field[0, 20, 33] = 1
        elif kind == "half on, aberrated":
            field = field * np.exp(6j * bowl / bowl.std()).astype(np.complex64)
        grid = ModeGrid(64, (64, 64), (64, 64))
        a, b = (
            medium.operator(grid, wavelength_m=532e-9, seed=seed, state=state).forward(field).astype(np.complex128)
            for state in (0, later)
        )
        found.append(abs(np.vdot(a, b)) ** 2 / np.vdot(a, a).real / np.vdot(b, b).real)
    return float(np.mean(found)), float(np.std(found) / math.sqrt(n))


@pytest.mark.parametrize("kind", ["one mirror", "half on, aberrated", "half on"])
def test_screens_keep_more_of_a_pattern_with_a_zero_order(kind):
    """Half on: .25 exp(-4 L / 3) + .75 exp(-2 L), L = 27 (1 - exp(-1 / 27)); otherwise exp(-2 L).

    The zero order, half of the light, lies on one spot of the first of three screens and sees one phase D of it, of the
    variance 2 L / 3: |exp(i D) exp(-2 L / 3) / 2 + exp(-L) / 2|^2, averaged over D. Four errors of the mean over the
    layers, and .005: the first screen has about 500 cells, which leave 1 / 500 of the light to chance, and the spot
    of an aberration of 6 rad still covers only part of the screen.
    """
    mean, error = after_one_time(kind, 200)
    loss = 27 * (1 - math.exp(-1 / 27))
    law, more = math.exp(-2 * loss), 0.25 * math.exp(-4 * loss / 3) + 0.75 * math.exp(-2 * loss)
    assert (law, more) == pytest.approx((0.1404, 0.1728), abs=5e-4)
    assert mean == pytest.approx(more if kind == "half on" else law, abs=4 * error + 0.005)
    if kind == "half on":
        assert mean > law + 4 * error


def test_closed_form_of_the_zero_order_is_a_mean_over_its_phase():
    """The mean over D is taken numerically, for other screens and shares too; weak drift and none leave 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    for ratio, screens, sigma, share in (
        (0.3, 3, 3.0, 0.5),
        (1.0, 5, 2.0, 0.3),
        (1.5, 1, 2.0, 1.0),
        (2.0, 4, 3.0, 0.0),
    ):
        loss = screens * sigma**2 * (1 - math.exp(-(ratio**2) / (screens * sigma**2)))
        turned = np.exp(1j * nodes * math.sqrt(2 * loss / screens))
        field = share * turned * math.exp(-loss * (screens - 1) / screens) + (1 - share) * math.exp(-loss)
        expected = np.abs(field) ** 2 @ weights / weights.sum()
        assert theory.screens_correlation(ratio, screens, sigma, share) == pytest.approx(expected, rel=1e-9)
        # Fringes: the mean of the field is that of the law.
        assert abs(field @ weights / weights.sum()) == pytest.approx(math.exp(-loss), rel=1e-9)
    assert theory.screens_correlation(0.0, 3, 3.0, 0.5) == 1
    assert theory.screens_correlation(2.0, 3, 0.0, 0.5) == 1
    # The contrast of an exposure of 10 decorrelation times.
    mean = 2 * integrate.quad(lambda d: (1 - d) * theory.screens_correlation(10 * d, 3, 3.0, 0.5), 0, 1)[0]
    # The drift of strong screens is a pure Gaussian; K sigma^2 = 27 is .8 % above.
    strong = 0.25 * mean_over_pairs(4 / 3, 10) + 0.75 * mean_over_pairs(2, 10)
    assert strong < mean < 1.015 * strong and strong > 1.05 * theory.exposure_contrast(10) ** 2


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_fringes_lose_what_the_field_loses(ratio):
    """Frames in the phases 0 and pi from the same moment on differ by 4 Re(S R*); their power, to four sigma.

    The same pixels without the average give the whole power: each of the two has sqrt(2 / n), n = 2 x 4096.
    """

    def power(average: bool) -> float:
        device = restless(MEDIA["gaussian"], 0.01, average)
        there, back = (
            shown(OpticalBench(device, seed=6), ratio * 0.01, 2, frametime_s=0.2, reference_phase_rad=phase)
            for phase in (0.0, math.pi)
        )
        return float(np.mean((there - back) ** 2))

    assert power(True) / power(False) == pytest.approx(mean_over_pairs(1, ratio), rel=4 * math.sqrt(4 / 8192))


@pytest.fixture
def measured(tmp_path):
    """A matrix of normal entries in a file."""
    numbers = np.random.default_rng(1).standard_normal((64, 60, 2))
    path = tmp_path / "tm.h5"
    with h5py.File(path, "w") as file:
        file["tm"] = numbers[..., 0] + 1j * numbers[..., 1]
    return IDEAL.evolve(medium=MeasuredMedium(path=str(path), transmission=IDEAL.medium.transmission))


@pytest.mark.parametrize("medium", [*MEDIA, "measured"])
def test_a_frame_is_the_mean_of_its_moments(medium, request):
    """Pixel by pixel against 120 short exposures in the same time, each within one state: 1 % of the mean.

    States are 1/316 of tau apart, which changes a pixel by .5 %; midpoints are off by 1e-4.
    """
    device = MEDIA[medium] if medium in MEDIA else request.getfixturevalue(medium)
    device = restless(device, 1.0).evolve(**{"reference.relative_amplitude": 1.0})
    how = {"roi": (10, 10, 8, 8), "n_pixels": 64, "reference_phase_rad": 0.4}
    long, short = OpticalBench(device, seed=3), OpticalBench(device, seed=3)
    frame = long.transform(MirrorPatterns(BITS[:1], LAYOUT), exposure_s=1.2, **how)[0]
    short.skip_frames(1, frametime_s=0.005)
    again = MirrorPatterns(np.repeat(BITS[:1], 120, axis=0), LAYOUT)
    moments = short.transform(again, exposure_s=1e-3, frametime_s=0.01, **how)
    expected = moments.mean(axis=0) * 1200
    assert np.abs(frame - expected).max() < 0.01 * expected.mean()
    # And no moment alone is that mean.
    assert np.abs(moments[60] * 1200 - expected).max() > 0.2 * expected.mean()


# ---------------------------------------------------------------- where nothing is averaged


@pytest.mark.parametrize("medium", MEDIA)
def test_without_the_average_a_frame_keeps_full_contrast(medium):
    """The frame is that of the moment when it begins, however long it is."""
    device = restless(MEDIA[medium], 0.01, average=False)
    frames, short = (shown(OpticalBench(device, seed=4), t, 1) for t in (0.03, 1e-5))
    np.testing.assert_allclose(frames, short * 3000, rtol=1e-4)
    assert frames.std() / frames.mean() == pytest.approx(1, abs=4 / 64)


@pytest.mark.parametrize("name", ["aurora", "gaussian"])
def test_an_exposure_within_a_state_gives_the_same_bits(name):
    # A reference that stands still: what an exposure leaves of its phase is another matter.
    still = {"reference.vibration_rad": 0.0, "reference.drift_rad_per_minute": 0.0}
    device = Device.load("aurora").evolve(**SMALL, **still)
    if name == "gaussian":
        device = device.evolve(medium=GaussianMedium(device.medium.transmission))
    how = {"exposure_s": 400e-6, "reference_phase_rad": [0.0, 1.0]}
    frames = [shown(OpticalBench(restless(device, 0.5, average), seed=1), **how) for average in (True, False)]
    np.testing.assert_array_equal(*frames)


# ---------------------------------------------------------------- the ways through the bench


AURORA = Device.load("aurora").evolve(**SMALL)


@pytest.mark.parametrize("medium", ["gaussian", "phase_screens"])
def test_parts_of_a_sequence_in_any_order_are_the_whole(medium):
    device = AURORA if medium == "phase_screens" else AURORA.evolve(medium=GaussianMedium(AURORA.medium.transmission))
    device = restless(device, 2e-3)
    how = {"exposure_s": 1e-3, "roi": ROI, "n_pixels": 500, "reference_phase_rad": [0.0, 2.0]}
    whole = OpticalBench(device, seed=2).transform(MirrorPatterns(BITS[:3], LAYOUT), **how)
    bench, done = OpticalBench(device, seed=2, execution="matrix"), []
    reserved = bench.reserve(6, frametime_s=bench.minimum_frametime_s(64, 1e-3))
    for i in (2, 0, 1):
        part = reserved.only(np.array([i]))
        counts = bench.transform(MirrorPatterns(BITS[i : i + 1], LAYOUT), reserved=part, progress=done.append, **how)
        np.testing.assert_array_equal(counts, whole[2 * i : 2 * i + 2])
    assert done == [1, 1, 1]


def test_every_way_gives_the_same_counts():
    """Within the tolerance between ways: 1 % of the pixels, by one."""
    frames = [shown(OpticalBench(restless(AURORA, 2e-3), 2, execution=w), 1e-3) for w in ("matrix", "waves")]
    differ = np.abs(frames[0] - frames[1])
    assert differ.max() <= 1 and np.mean(differ > 0) <= 0.01


def test_torch_gives_the_same_counts_within_the_tolerance():
    torch = pytest.importorskip("torch")
    device = restless(AURORA, 2e-3)
    numpy_counts = shown(OpticalBench(device, 2), 1e-3)
    patterns = MirrorPatterns(torch.from_numpy(BITS[:4].copy()), LAYOUT)
    counts = OpticalBench(device, 2, backend="torch:cpu").transform(patterns, exposure_s=1e-3, roi=ROI, n_pixels=4096)
    assert isinstance(counts, torch.Tensor) and counts.dtype == torch.uint8
    differ = np.abs(counts.numpy().astype(float) - numpy_counts)
    assert differ.max() <= 1 and np.mean(differ > 0) <= 0.01


@pytest.mark.parametrize("medium", ["gaussian", "phase_screens"])
def test_inspect_is_what_is_exposed_next(medium):
    device = AURORA if medium == "phase_screens" else AURORA.evolve(medium=GaussianMedium(AURORA.medium.transmission))
    device = restless(device, 2e-3)
    bench = OpticalBench(device, seed=7)
    bench.skip_frames(3)
    how = {"exposure_s": 1e-3, "reference_phase_rad": 0.5, "roi": (8, 8, 16, 16)}
    pattern = MirrorPatterns(BITS[:1], LAYOUT)
    planes = bench.inspect(pattern, **how)
    np.testing.assert_array_equal(planes.counts, bench.expose(pattern, **how)[0])


def test_no_patterns_give_no_frames():
    bench = OpticalBench(restless(AURORA, 2e-3), seed=7)
    assert shown(bench, 1e-3, 0).shape == (0, 4096) and bench.clock.frames == 0


# ---------------------------------------------------------------- what states cannot do


@pytest.mark.parametrize("ratio", [0.001, 0.5, 3.0, 15.0, 40.0, 64.0, 100.0, 1e4, 1e9])
def test_contrast_of_the_moments_is_known(ratio):
    """Of the moments themselves, and that of the law to 1 % up to 64 times tau; 1/8 far beyond."""
    drift = Drift(2.0)
    found = drift.contrast(2.0 * ratio)
    if ratio <= 64:
        assert found == pytest.approx(math.sqrt(mean_over_pairs(2, ratio)), rel=0.01)
    elif ratio > 1e3:
        assert found == pytest.approx(1 / 8, abs=1e-12)
    states = drift.within(0.0, 2.0 * ratio)
    if 1 < len(states) and ratio < 1e3:
        times, weights = np.array([drift.time(s) for s, _ in states]) / 2, np.array([w for _, w in states])
        expected = math.sqrt(weights @ np.exp(-2 * (times[:, None] - times) ** 2) @ weights)
        assert found == pytest.approx(expected, rel=0.005)


def test_an_exposure_that_is_too_long_for_the_moments_is_told_once():
    """The contrast named is that which frames have (1024 pixels: five sigma), and the right one."""
    device = restless(MEDIA["gaussian"], 1e-5)
    bench, patterns, few = (
        OpticalBench(device, threads=1),
        MirrorPatterns(BITS[:1], LAYOUT),
        {"roi": (0, 0, 4, 4), "n_pixels": 16},
    )
    with pytest.warns(
        UserWarning, match=r"is 0.001, 100 times medium.decorr.*contrast 0.126 here, .* have 0.112"
    ) as told:
        frame = bench.transform(patterns, exposure_s=1e-3, roi=(0, 0, 32, 32), n_pixels=1024)[0].astype(np.float64)
        bench.inspect(patterns, exposure_s=1e-3, roi=few["roi"])
    assert len(told) == 1
    assert frame.std() / frame.mean() == pytest.approx(0.126, rel=5 / math.sqrt(2 * 1024))
    assert theory.exposure_contrast(100.0) == pytest.approx(0.112, abs=5e-4)
    for fine in (restless(MEDIA["gaussian"], 1e-3 / 63), restless(MEDIA["gaussian"], 1e-5, average=False)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            OpticalBench(fine, threads=1).transform(patterns, exposure_s=1e-3, **few)


def test_a_clock_that_counts_no_states_is_refused_before_frames_are_taken():
    bench = OpticalBench(restless(MEDIA["gaussian"], 1e-9))
    most_s = 2.0**53 * Drift(1e-9).step_s
    bench.advance_to(5, 1e8)
    sentence = r"The clock of the bench reaches 1e\+08 s, but it must be below 2.848e\+04 s with medium.decorrelation_"
    for call in (
        shown,
        lambda bench, exposure_s: bench.inspect(MirrorPatterns(BITS[:1], LAYOUT), exposure_s=exposure_s),
    ):
        with pytest.raises(ValueError, match=sentence):
            call(bench, 1e-6)
    assert (bench.clock.frames, bench.clock.elapsed_s) == (5, 1e8)
    for time_s in (most_s, -most_s, 1e300):
        with pytest.raises(ValueError, match="time_s reaches .* counted to 2.53 only"):
            Drift(1e-9).state(np.array([0.0, time_s]))
    late = OpticalBench(restless(MEDIA["gaussian"], 1e-9))
    late.advance_to(5, 0.999999999 * most_s)
    with pytest.raises(ValueError, match="The clock of the bench reaches"):
        shown(late, 1e-9, 4, frametime_s=1e3)
    assert late.clock.frames == 5
    assert Drift(1e-9).state(np.array([0.5 * most_s]))[0] == 2**52


@pytest.mark.parametrize("tau_s", [1e-300, 9e-10, 0.0, -1.0, math.nan])
@pytest.mark.parametrize("medium", MEDIA)
def test_a_decorrelation_time_below_a_nanosecond_is_refused(medium, tau_s):
    with pytest.raises(
        ValueError, match=r"medium.decorrelation_time_s is .*, but it must be a number in \[1e-09, inf\]"
    ):
        restless(MEDIA[medium], tau_s)
