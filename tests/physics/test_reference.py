"""The reference arm: interference, the phase shifter's errors, drift, coherence, off-axis fringes."""

from __future__ import annotations

import numpy as np
import pytest

from opusim import OpticalBench
from opusim.bench.region import Region, Roi
from opusim.device.record import Device
from opusim.device.reference import Reference
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

IDEAL = Device.load("ideal")
LAYOUT = MirrorLayout.lined((912, 1140), 100)
ROI = (500, 0, 2, 2040)
EXPOSURE_S = 400e-6
FOUR = np.pi / 2 * np.arange(4)


def patterns(n, seed=0):
    return MirrorPatterns(np.random.default_rng(seed).integers(0, 2, (n, 100), dtype=np.uint8), LAYOUT)


def frames_of(bench, shown, phases, roi=ROI):
    n = 1 if np.ndim(phases) == 0 else len(phases)
    frames = bench.expose(shown, exposure_s=EXPOSURE_S, roi=roi, reference_phase_rad=phases)
    return frames.reshape(len(shown), n, -1).astype(np.float64)


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize("changes", [{}, {"reference.coherence": 0.7}, {"reference.wavefront_rms_rad": 2.0}])
def test_two_beam_interference(execution, changes):
    """I(d) = |S|^2 + |R|^2 + 2 c Re(S conj(R) exp(-i d)) with S and R from the planes; float32, so 1e-5 of the mean."""
    device = IDEAL.evolve(**changes)
    bench = OpticalBench(device, execution=execution)
    shown = patterns(3)
    phases = np.array([0.3, 2.0, 4.4])
    frames = frames_of(bench, shown, phases)
    arm = device.reference
    region = Region(Roi(*ROI), ROI[2] * ROI[3], bench.sensor_shape[1])
    R = arm.field(
        region.pixels(), sensor_shape=bench.sensor_shape, pixel_pitch_m=5.5e-6, n_mirrors=912 * 1140, seed=0
    ).astype(np.complex128)  # fmt: skip
    unit = bench.photons_per_intensity(EXPOSURE_S) * device.camera.quantum_efficiency * device.camera.gain_dn_per_e
    for i in range(3):
        S = bench.inspect(shown[i : i + 1], roi=ROI).medium_field.reshape(-1).astype(np.complex128)
        for k, d in enumerate(phases):
            cross = 2 * arm.coherence * np.real(S * np.conj(R) * np.exp(-1j * d))
            expected = unit * (np.abs(S) ** 2 + np.abs(R) ** 2 + cross)
            assert np.max(np.abs(frames[i, k] - expected)) < 1e-5 * expected.mean()


def test_amplitude_relative_to_half_of_the_mirrors():
    """|R|^2 is relative_amplitude^2 times the mean signal of half the mirrors: 4080 pixels of contrast 1, so 4 / 64."""
    bench = OpticalBench(IDEAL)
    signal = frames_of(bench, MirrorPatterns(np.tile([0, 1], 50)[None].astype(np.uint8), LAYOUT), 0.0)
    alone = frames_of(bench, MirrorPatterns(np.zeros((1, 100), dtype=np.uint8), LAYOUT), 0.0)
    blocked = bench.expose(
        MirrorPatterns(np.tile([0, 1], 50)[None].astype(np.uint8), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI
    )
    ratio = IDEAL.reference.relative_amplitude**2
    assert abs(alone.mean() / blocked.mean() / ratio - 1) < 4 / np.sqrt(4080)
    assert signal.mean() > alone.mean()


def test_blocked_arm_leaves_the_counts_as_they_were():
    """A device with an arm that is blocked gives, bit for bit, what one without it gives."""
    device = Device.load("aurora")
    without = device.evolve(**{"reference.relative_amplitude": 0.0})
    shown = patterns(4)
    a, b = (OpticalBench(d).expose(shown, exposure_s=EXPOSURE_S, roi=ROI) for d in (device, without))
    assert np.array_equal(a, b)


def test_unpolarised_light_interferes_in_one_polarisation():
    """The fringes' mean square is that of one of two polarisations: 2 |R|^2 <|S1|^2>, each in units of one."""
    device = IDEAL.evolve(**{"camera.polarised": False})
    frames = frames_of(OpticalBench(device), patterns(20), FOUR)
    polarised = frames_of(OpticalBench(IDEAL), patterns(20), FOUR)
    q = [np.abs((f * np.exp(1j * FOUR)[None, :, None]).mean(axis=1)) ** 2 for f in (frames, polarised)]
    # 20 vectors on 4080 pixels, vectors correlated by half: false alarm below 1e-4 at 10 %.
    assert abs(q[0].mean() / q[1].mean() - 1) < 0.1


def test_same_bits_for_any_batch_threads_and_way_of_asking():
    device = Device.load("aurora")
    shown = patterns(9)
    whole = frames_of(OpticalBench(device, threads=2), shown, FOUR)
    bench = OpticalBench(device, threads=1)
    parts = np.concatenate([frames_of(bench, shown[:2], FOUR), frames_of(bench, shown[2:], FOUR)])
    assert np.array_equal(whole, parts)
    bench = OpticalBench(device)
    singly = [frames_of(bench, shown[i : i + 1], d) for i in range(9) for d in FOUR]
    assert np.array_equal(whole.reshape(36, -1), np.concatenate(singly).reshape(36, -1))


def test_inspect_shows_the_next_frame():
    bench = OpticalBench("aurora")
    planes = bench.inspect(patterns(1), exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=1.0)
    frame = bench.expose(patterns(1), exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=1.0)[0]
    assert np.array_equal(planes.counts, frame)


def asked(arm, phases, times=None, seed=0):
    n = len(phases)
    return arm.phases_rad(np.asarray(phases), np.arange(n), np.zeros(n) if times is None else times, seed=seed)


def test_shifter_model():
    """d' = d (1 + e1 + e2 d / pi) (Schmit and Creath 1995)."""
    d = np.linspace(0, 2 * np.pi, 9)
    assert np.allclose(asked(Reference(3.0), d), d)
    arm = Reference(3.0, scale_error=0.05, nonlinearity=0.02)
    assert np.allclose(asked(arm, d), d * (1.05 + 0.02 * d / np.pi))


def test_jitter_is_white_and_belongs_to_the_frame():
    """Standard deviation within 4 sigma of 20 000 draws (4 / sqrt(2 * 20000) = 2 %), neighbours uncorrelated."""
    arm = Reference(3.0, jitter_rad=0.1)
    error = asked(arm, np.zeros(20_000))
    assert abs(error.std() / 0.1 - 1) < 0.02 and abs(np.corrcoef(error[:-1], error[1:])[0, 1]) < 4 / np.sqrt(20_000)
    assert np.array_equal(arm.phases_rad(np.zeros(5), np.arange(7, 12), np.zeros(5), seed=0), error[7:12])


def test_drift_has_the_rms_that_was_asked_for():
    """Root mean square change over a minute, over seeds and starting times, within 10 % (2 000 nearly free draws)."""
    arm = Reference(3.0, drift_rad_per_minute=0.07)
    times = np.arange(0, 200) * 600.0
    changes = []
    for seed in range(40):
        before = asked(arm, np.zeros(200), times, seed)
        changes.append(asked(arm, np.zeros(200), times + 60, seed) - before)
        assert asked(arm, [0.0], np.array([0.0]), seed)[0] == 0
    assert abs(np.sqrt(np.mean(np.square(changes))) / 0.07 - 1) < 0.1


def test_vibration_is_a_sinusoid():
    arm = Reference(3.0, vibration_rad=0.1, vibration_hz=100.0)
    times = np.arange(1000) * 1e-4
    phase = asked(arm, np.zeros(1000), times)
    amplitude = np.abs(2 * np.mean(phase * np.exp(-2j * np.pi * 100.0 * times)))
    assert amplitude == pytest.approx(0.1, rel=1e-9) and np.abs(phase).max() <= 0.1


def test_carrier_makes_straight_fringes():
    """Off axis with all mirrors off, the reference alone has no fringes; with light, the spectrum peaks beside 0."""
    device = IDEAL.evolve(**{"reference.carrier_cycles_per_pixel": (0.0, 0.25)})
    arm = device.reference
    R = arm.field(np.arange(64), sensor_shape=(1, 64), pixel_pitch_m=5.5e-6, n_mirrors=100, seed=0)
    assert np.allclose(R[4:] / R[:-4], 1, atol=1e-4) and np.allclose(R[1] / R[0], 1j, atol=1e-5)


def test_bad_phases():
    bench = OpticalBench(IDEAL)
    for phases in ([], [np.nan], "pi", [[0.0]]):
        with pytest.raises(ValueError, match="reference_phase_rad is"):
            bench.expose(patterns(1), exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=phases)
    with pytest.raises(ValueError, match="shuts the laser"):
        bench.expose(None, exposure_s=EXPOSURE_S, reference_phase_rad=0.0)
    none = OpticalBench(IDEAL.evolve(**{"reference.relative_amplitude": 0.0}))
    with pytest.raises(ValueError, match="no reference arm"):
        none.expose(patterns(1), exposure_s=EXPOSURE_S, roi=ROI, reference_phase_rad=0.0)
    assert bench.clock.frames == none.clock.frames == 0
