"""Phase steps: what the shifter makes comes back to what jitter and camera noise allow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from opusim import OpticalBench
from opusim.calibration.files import read_record, write_record
from opusim.calibration.procedures.phase import PhaseRecord, measure_phases
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = Device.load("aurora")
STILL = AURORA.evolve(**{"reference.vibration_rad": 0.0, "reference.drift_rad_per_minute": 0.0})
ROI = (500, 500, 32, 32)
LAYOUT = MirrorLayout.lined((912, 1140), 100)
FOUR = np.pi / 2 * np.arange(4)


def pattern(n=1):
    return MirrorPatterns(np.random.default_rng(0).integers(0, 2, (n, 100), dtype=np.uint8), LAYOUT)


def made(asked, arm):
    """The shifter's model, with the mean of what was asked."""
    true = asked * (1 + arm.scale_error + arm.nonlinearity * asked / np.pi)
    return true + (asked - true).mean()


def measure(device, asked=FOUR, seed=0, **more):
    return measure_phases(OpticalBench(device, seed=seed), asked, **{"mirrors": pattern(), "roi": ROI, **more})


@pytest.mark.parametrize("asked", [FOUR, 2 * np.pi / 3 * np.arange(3), np.array([0.0, 1.0]), np.arange(8) * np.pi / 4])
@pytest.mark.parametrize(("scale", "bend"), [(0.02, 0.005), (-0.05, 0.02), (0.0, 0.0)])
def test_noise_free_steps_are_found(asked, scale, bend):
    """To 1e-5: the counts are single precision."""
    device = Device.load("ideal").evolve(**{"reference.scale_error": scale, "reference.nonlinearity": bend})
    record = measure(device, asked, bursts=2)
    assert np.max(np.abs(record.phases_rad - made(asked, device.reference))) < 1e-5
    assert abs(record.scale_error - scale) < 1e-5 and abs(record.nonlinearity - bend) < 1e-5
    assert record.repeatability_rad < 1e-5 and np.array_equal(record.asked_rad, asked)


SEEDS = 8


@pytest.fixture(scope="module", params=[AURORA, STILL], ids=["aurora", "aurora without vibration"])
def runs(request):
    return request.param, [measure(request.param, seed=seed, confidence=0.9999) for seed in range(SEEDS)]


@pytest.mark.slow
def test_aurora_steps_are_found_to_what_jitter_allows(runs):
    """Errors in units of the stated one have the standard deviation 1: chi-squared between its 1e-5 quantiles.

    Four steps less their mean are 3 degrees of freedom a seed. What was asked for is wrong by .06 rad at the ends,
    twenty times as much.
    """
    device, records = runs
    true = made(FOUR, device.reference)
    score = [np.sum((r.phases_rad - true) ** 2) / r.uncertainty_rad**2 for r in records]
    assert stats.chi2.ppf(1e-5, 3 * SEEDS) < sum(score) < stats.chi2.isf(1e-5, 3 * SEEDS)
    assert max(r.uncertainty_rad for r in records) < 0.06 / 15
    assert np.median([np.abs(r.phases_rad - true).max() for r in records]) < np.abs(true - FOUR).max() / 10


@pytest.mark.slow
def test_intervals_of_the_shifters_errors(runs):
    """Each at 99.99 %: a false alarm once in 300 changes of the seeds. And they exclude a perfect shifter."""
    for record in runs[1]:
        assert record.scale_interval[0] <= 0.02 <= record.scale_interval[1]
        assert record.nonlinearity_interval[0] <= 0.005 <= record.nonlinearity_interval[1]
        assert record.scale_interval[0] > 0


@pytest.mark.parametrize("jitter", [0.01, 0.05])
def test_repeatability_is_the_jitter(jitter):
    """23 x 11 degrees of freedom: 4.4 % of the standard deviation, four of these (false alarm 6e-5)."""
    record = measure(STILL.evolve(**{"reference.jitter_rad": jitter}))
    assert abs(record.repeatability_rad / jitter - 1) < 4 / math.sqrt(2 * 23 * 11)


def test_vibration_adds_to_the_repeatability():
    """A sine of amplitude A has the rms A / sqrt 2; few periods are sampled, so 15 %."""
    record = measure(STILL.evolve(**{"reference.vibration_rad": 0.05}), bursts=48)
    assert abs(record.repeatability_rad / math.hypot(0.01, 0.05 / math.sqrt(2)) - 1) < 0.15


def test_camera_noise_is_told_from_jitter():
    """No jitter at all in a short exposure: the frames' phases scatter by camera noise, which is taken off."""
    device = STILL.evolve(**{"reference.jitter_rad": 0.0})
    record = measure(device, exposure_s=100e-6)
    assert record.noise_rad > 0.002 and record.repeatability_rad < record.noise_rad / 2


@pytest.mark.parametrize("coherence", [1.0, 0.7])
def test_modulation_is_that_of_the_two_arms(coherence):
    """Median of 2 c sqrt(S^2 R^2) / (S^2 + R^2), from frames of each arm alone, noise-free."""
    device = Device.load("ideal").evolve(**{"reference.coherence": coherence})
    bench = OpticalBench(device)
    signal = bench.expose(pattern(), exposure_s=400e-6, roi=ROI).astype(np.float64)
    off = np.zeros((1, 100), dtype=np.uint8)
    alone = bench.expose(MirrorPatterns(off, LAYOUT), exposure_s=400e-6, roi=ROI, reference_phase_rad=0.0)
    expected = np.median(2 * coherence * np.sqrt(signal * alone) / (signal + alone))
    assert measure_phases(bench, FOUR, mirrors=pattern(), roi=ROI, bursts=2).modulation == pytest.approx(
        expected, rel=1e-4
    )


def test_record_survives_the_file(tmp_path):
    bench = OpticalBench(AURORA)
    record = measure_phases(bench, FOUR, mirrors=pattern(), roi=ROI, bursts=2)
    assert record.elapsed_s == bench.clock.elapsed_s
    write_record(tmp_path / "cal.h5", "phase", record, bench=bench)
    back = read_record(tmp_path / "cal.h5", "phase", PhaseRecord, bench=bench)
    for name in PhaseRecord.__dataclass_fields__:
        assert np.array_equal(getattr(back, name), getattr(record, name)), name


def test_mirrors_and_progress_by_default():
    seen = []
    record = measure_phases(
        OpticalBench(STILL), FOUR, roi=(500, 500, 8, 32), bursts=2, progress=lambda *done: seen.append(done)
    )
    assert seen == [(1, 2), (2, 2)] and record.modulation > 0.3


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"reference.relative_amplitude": 0.0}, {}, "this device has no reference arm"),
        ({"laser.power_w": 1e-12}, {}, "There is no light: frames are .* DN above dark ones"),
        ({"laser.power_w": 1.0}, {}, "The frames are saturated: .* exposure_s is 0.0004, but it must be shorter"),
        ({"reference.coherence": 0.0}, {}, "The reference's phase is lost: frames change with it by .* Fourier stop"),
        ({"reference.jitter_rad": 10.0}, {}, "The reference's phase is lost"),
        ({"reference.drift_rad_per_minute": 5000.0}, {}, "The reference drifts faster|The reference's phase is lost"),
        ({"reference.drift_rad_per_minute": 800.0}, {}, "The reference drifts faster than its phases can be measured"),
        ({}, {"bursts": 1}, "bursts is 1, but"),
        ({}, {"exposure_s": -1.0}, "exposure_s is -1.0, but"),
        ({}, {"asked": [0.0]}, "phases_rad is .* but it must be at least 2 finite numbers"),
        ({}, {"asked": [0.0, np.nan]}, "phases_rad is .* but it must be at least 2 finite numbers"),
        ({}, {"asked": "four"}, "phases_rad is 'four', but"),
        ({}, {"mirrors": pattern(2)}, "mirrors holds several patterns"),
        ({}, {"roi": (0, 0, 4, 4)}, "unsaturated pixels, but at least 64 are needed"),
        ({}, {"confidence": 0.0}, "confidence is 0.0, but"),
    ],
)
def test_refusals_are_sentences(changes, arguments, message):
    with pytest.raises(ValueError, match=message):
        measure(STILL.evolve(**changes), **arguments)


def test_shifter_that_does_not_move():
    class Stuck:
        def __init__(self):
            self.bench = OpticalBench(STILL)
            self.mirror_shape, self.sensor_shape = self.bench.mirror_shape, self.bench.sensor_shape
            self.flat_field = self.bench.flat_field

        def expose(self, mirrors, *, reference_phase_rad=None, **rest):
            if reference_phase_rad is not None:
                reference_phase_rad = np.zeros_like(reference_phase_rad)
            return self.bench.expose(mirrors, reference_phase_rad=reference_phase_rad, **rest)

    with pytest.raises(ValueError, match="phase is lost: .* does the shifter move"):
        measure_phases(Stuck(), FOUR, mirrors=pattern(), roi=ROI)


def test_dark_frames_are_called_dark():
    """A microsecond gives a tenth of a count: not a lost phase, no light."""
    with pytest.raises(ValueError, match="The frames are dark: .*exposure must be longer"):
        measure_phases(OpticalBench("aurora"), FOUR, mirrors=pattern(), exposure_s=1e-6, roi=ROI)
