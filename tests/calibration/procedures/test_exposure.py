"""The exposure: the level wanted within 2 %, the clipped share kept, and refusals in sentences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opusim import OpticalBench
from opusim.calibration.files import read_record, write_record
from opusim.calibration.on_bench import saturation_dn
from opusim.calibration.procedures.exposure import ExposureRecord, find_exposure
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = Device.load("aurora")
LAYOUT = MirrorLayout.lined((912, 1140), 100)
ROI = (500, 500, 64, 64)
FOUR = np.pi / 2 * np.arange(4)


def patterns(n=4, seed=0, share=0.5):
    generator = np.random.default_rng(seed)
    return MirrorPatterns((generator.random((n, 100)) < share).astype(np.uint8), LAYOUT)


def level(bench, shown, exposure_s, phases=None):
    """Mean level above the dark on fresh frames, and share of outputs that reach 255 in any phase."""
    frames = bench.expose(shown, exposure_s=exposure_s, roi=ROI, reference_phase_rad=phases)
    dark = bench.expose(None, exposure_s=exposure_s, roi=ROI, n_frames=16)
    steps = 1 if phases is None else len(phases)
    highest = frames.reshape(len(shown), steps, -1).max(axis=1)
    return frames.mean() - dark.mean(), np.mean(highest >= 255)


@pytest.mark.parametrize("target", [2.0, 7.0, 30.0])
@pytest.mark.parametrize("start_s", [20e-6, 400e-6, 0.1])
def test_level_is_reached_within_two_per_cent(target, start_s):
    bench = OpticalBench(AURORA)
    record = find_exposure(bench, patterns(), target_level_dn=target, clipped_share=0.01, roi=ROI, start_s=start_s)
    fresh, _ = level(bench, patterns(), record.exposure_s)
    assert abs(fresh / target - 1) < 0.02 and abs(record.level_dn / target - 1) < 0.02
    assert record.target_level_dn == target and record.clipped_share <= 0.01
    # Rows and columns of the region, 64 of each, share offsets: .04 levels in the mean, and up to .05 of dark current.
    assert record.dark_dn == pytest.approx(2.6, abs=0.15) and record.saturation_dn == 255


def test_level_with_the_reference():
    bench = OpticalBench(AURORA)
    record = find_exposure(
        bench, patterns(2), target_level_dn=60.0, roi=ROI, reference_phase_rad=FOUR, clipped_share=0.02
    )
    fresh, clipped = level(bench, patterns(2), record.exposure_s, FOUR)
    assert abs(fresh / 60 - 1) < 0.02 and clipped < 0.03


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("start_s", [20e-6, 20e-3])
def test_longest_exposure_keeps_the_clipped_share(share, start_s):
    """On frames of other patterns, too: 8 x 4096 outputs, 5 standard errors of a share; no more than half given away.

    Speckle's law is exponential: P(clip) = exp(-(255 - 2.6)/level) checks the level that is reached.
    """
    bench = OpticalBench(AURORA)
    record = find_exposure(bench, patterns(), clipped_share=share, roi=ROI, start_s=start_s)
    assert record.clipped_share <= share and math.isnan(record.target_level_dn)
    fresh, clipped = level(bench, patterns(8, seed=1), record.exposure_s)
    # The patterns share half of their light, so their outputs are not independent: an eighth of them counted.
    slack = 5 * math.sqrt(share / 4096)
    assert clipped <= share + slack
    assert fresh > 0.8 * 252 / -math.log(share / 2)


def test_longest_exposure_with_the_reference():
    bench = OpticalBench(AURORA)
    record = find_exposure(bench, patterns(), clipped_share=0.03, roi=ROI, reference_phase_rad=FOUR)
    _, clipped = level(bench, patterns(), record.exposure_s, FOUR)
    assert 0.005 < clipped < 0.035 and record.exposure_s > 400e-6


def test_mirrors_themselves_do():
    bench = OpticalBench(AURORA)
    roi = (500, 500, 16, 16)
    shown = patterns(1).to_mirrors()
    record = find_exposure(bench, shown, target_level_dn=20.0, clipped_share=0.02, roi=roi)
    assert abs(bench.expose(shown, exposure_s=record.exposure_s, roi=roi).mean() - 2.6 - 20) < 0.6


def test_a_camera_that_never_clips():
    bench = OpticalBench("ideal")
    record = find_exposure(bench, patterns(), roi=ROI)
    assert record.exposure_s == 400e-6 and math.isinf(record.saturation_dn) and record.clipped_share == 0
    wanted = find_exposure(bench, patterns(), roi=ROI, target_level_dn=1000.0)
    assert abs(bench.expose(patterns(), exposure_s=wanted.exposure_s, roi=ROI).mean() / 1000 - 1) < 0.02


def test_saturation_of_full_well_is_below_full_scale():
    """IMX174: 33 147 e- at .12233 DN/e- and a black level of 40 are 4094.9 DN, with a read noise of .83 DN."""
    device = Device.from_dict({**AURORA.to_dict(), "camera": {"preset": "IMX174"}})
    value = saturation_dn(OpticalBench(device), 400e-6, ROI)
    assert 4094.9 - 6 < value < 4094.9 - 2
    assert saturation_dn(OpticalBench(AURORA), 400e-6, ROI) == 255
    assert saturation_dn(OpticalBench("ideal"), 400e-6, ROI) == math.inf


def test_record_survives_the_file(tmp_path):
    bench = OpticalBench(AURORA)
    record = find_exposure(bench, patterns(), target_level_dn=7.0, clipped_share=0.01, roi=ROI)
    assert record.elapsed_s == bench.clock.elapsed_s > 0
    write_record(tmp_path / "cal.h5", "exposure", record, bench=bench)
    assert read_record(tmp_path / "cal.h5", "exposure", ExposureRecord, bench=bench) == record


def weak(factor):
    return OpticalBench(AURORA.evolve(**{"laser.power_w": 10e-3 * factor}))


@pytest.mark.parametrize(
    ("factor", "arguments", "message"),
    [
        (1e-5, {"target_level_dn": 7.0}, "The light is too weak: at the longest exposure of 0.1 s|There is no light"),
        (1e-3, {}, "The light is too weak: at the longest exposure of 0.1 s the level is .* less than a tenth"),
        (1e-12, {}, "There is no light: at the longest exposure of 0.1 s frames are .* Is the laser on"),
        (1e-12, {"target_level_dn": 7.0}, "There is no light: at the longest exposure"),
        (1e4, {}, "The light is too strong: at the shortest exposure of 2e-05 s .* of the outputs clip, and at most"),
        (1e4, {"target_level_dn": 7.0}, "The light is too strong: at the shortest exposure of 2e-05 s the level"),
        (1.0, {"target_level_dn": 200.0}, "target_level_dn is 200, but .* of the outputs clip at a level of"),
        (1.0, {"target_level_dn": 60.0}, "target_level_dn is 60, but .* and at most 0.10% may: it must be lower"),
        (1.0, {"target_level_dn": 0.0}, "target_level_dn is 0.0, but it must be"),
        (1.0, {"clipped_share": 2.0}, "clipped_share is 2.0, but"),
        (1.0, {"tolerance": 0.0}, "tolerance is 0.0, but"),
        (1.0, {"shortest_s": 1.0, "longest_s": 0.5}, "longest_s is 0.5, but"),
        (1.0, {"n_dark": 0}, "n_dark is 0, but"),
        (1.0, {"roi": (0, 0, 0, 5)}, "roi n_rows is 0, but"),
    ],
)
def test_refusals_are_sentences(factor, arguments, message):
    with pytest.raises(ValueError, match=message):
        find_exposure(weak(factor), patterns(), **{"roi": ROI, **arguments})


def test_no_reference_arm_no_light_no_bench():
    without = OpticalBench(AURORA.evolve(**{"reference.relative_amplitude": 0.0}))
    with pytest.raises(ValueError, match="this device has no reference arm"):
        find_exposure(without, patterns(), roi=ROI, reference_phase_rad=FOUR)
    with pytest.raises(ValueError, match="mirrors is None, which shuts the laser"):
        find_exposure(OpticalBench(AURORA), None, roi=ROI)
    with pytest.raises(ValueError, match="mirrors holds no pattern"):
        find_exposure(OpticalBench(AURORA), patterns(0), roi=ROI)
    with pytest.raises(TypeError, match="bench is 3 .int., but it must have expose"):
        find_exposure(3, patterns(), roi=ROI)


def test_a_flickering_light_is_refused():
    bench = OpticalBench(AURORA.evolve(**{"laser.power_noise": 0.4}))
    with pytest.raises(ValueError, match="does not settle within 0.1% of 7 DN in 30 trials"):
        find_exposure(bench, patterns(1), roi=ROI, target_level_dn=7.0, tolerance=0.001, clipped_share=0.1)
