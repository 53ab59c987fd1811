"""Off-axis holography: the field from one frame where the carrier condition holds, a sentence where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from opusim.calibration.algorithms import off_axis


def far(found, true):
    """Largest error over the rms of the truth."""
    return np.max(np.abs(found - true)) / np.sqrt(np.mean(np.abs(true) ** 2))


SIZE, BAND = 96, 1 / 12
TILT = (0.25, 24 / 96)


def band_limited(seed, size=SIZE, band=BAND):
    """Speckle whose spectrum is a disc of radius `band` (periodic), of mean intensity 1."""
    rng = np.random.default_rng(seed)
    f = fft.fftfreq(size)
    spectrum = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    field = fft.ifft2(spectrum * (np.hypot(f[:, None], f) <= band))
    return field / np.sqrt(np.mean(np.abs(field) ** 2))


def tilted(tilt, size=SIZE, amplitude=3.0):
    rows, columns = np.mgrid[:size, :size]
    return amplitude * np.exp(2j * np.pi * (tilt[0] * rows + tilt[1] * columns))


def test_off_axis_recovers_the_field():
    """One frame where the side bands are free: exact, in single precision, in a batch too."""
    signal = np.stack([band_limited(1), band_limited(2)])
    frames = np.abs(signal + tilted(TILT)) ** 2
    fit = off_axis.demodulate(frames.astype(np.float32), TILT, BAND)
    assert fit.q.dtype == np.complex64
    assert far(fit.field(9.0), signal) < 1e-5
    assert far(fit.offset, np.abs(signal) ** 2 + 9) < 1e-5


def test_off_axis_at_the_limit_of_the_carrier_condition():
    tilt = (25 / 96, 0.0)  # three half bandwidths and one frequency of the frame
    signal = band_limited(3)
    frame = np.abs(signal + tilted(tilt)) ** 2
    assert far(off_axis.demodulate(frame, tilt, BAND).field(9.0), signal) < 1e-5


def test_off_axis_with_known_background():
    """With |S|^2 + |R|^2 taken off, a carrier of 1.5 half bandwidths is enough."""
    tilt = (12 / 96, 0.0)
    signal = band_limited(4)
    frame = np.abs(signal + tilted(tilt)) ** 2
    with pytest.raises(ValueError, match="3 half bandwidths"):
        off_axis.demodulate(frame, tilt, BAND)
    fit = off_axis.demodulate(frame, tilt, BAND, background=np.abs(signal) ** 2 + 9)
    assert far(fit.field(9.0), signal) < 1e-5


@pytest.mark.parametrize("tilt", [TILT, (-0.22, 0.24), (0.3, -0.1)])
def test_carrier_is_found(tilt):
    """Ten frames of 2 B 96 = 16 grains across: to a twentieth of the half bandwidth, either sign by the hint."""
    signal = np.stack([band_limited(seed) for seed in range(10)])
    frames = np.abs(signal + tilted(tilt)) ** 2
    found = off_axis.find_carrier(frames, BAND, near=tilt + np.array([0.02, -0.03]))
    assert np.max(np.abs(found - tilt)) < BAND / 20
    other = off_axis.find_carrier(frames, BAND, near=(-tilt[0], -tilt[1]))
    assert np.max(np.abs(other + tilt)) < BAND / 20
    free = off_axis.find_carrier(frames, BAND)
    assert np.max(np.abs(free - np.sign(tilt[0]) * np.array(tilt))) < BAND / 20


@pytest.mark.parametrize("grain, tilt", [(3.6, (0.32, 0.32)), (4.0, (-0.3, 0.28))])
def test_pixels_that_average_fringes_do_not_draw_the_carrier_to_zero(grain, tilt):
    """Each wave of the fringes passes a square pixel by sinc(f) sinc(f'): one side of the band more than the other.

    The centre of the power lies off by the mean square of half the band times the slope of ln sinc^2, .012 at .32
    cycles and grains of 3.6 pixels. The disc's own is found to B / (2 n), for the 64 / grain across, from 8 frames cut
    out of a larger field: 1 / (4 * 64) = .004 a component.
    """
    rng, size, band = np.random.default_rng(1), 96, 0.5 / grain
    f = np.fft.fftfreq(size)
    slope = 2 * (np.pi / np.tan(np.pi * 0.32) - 1 / 0.32)
    assert grain != 3.6 or slope * band**2 / 4 == pytest.approx(-0.011, abs=1e-3)
    waves = (rng.normal(size=(8, size, size)) + 1j * rng.normal(size=(8, size, size))) * (
        np.hypot(f[:, None], f) <= band
    )
    unit = np.sqrt(np.mean(np.abs(np.fft.ifft2(waves)) ** 2))
    signal = np.fft.ifft2(waves) / unit
    fringes = np.fft.ifft2(waves * np.multiply.outer(np.sinc(f - tilt[0]), np.sinc(f - tilt[1]))) / unit
    row, column = np.mgrid[:size, :size]
    reference = 3 * np.exp(2j * np.pi * (tilt[0] * row + tilt[1] * column))
    frames = np.abs(signal) ** 2 + 9 + 2 * np.real(fringes * reference.conj())
    found = off_axis.find_carrier(frames[:, 5:69, 7:71], band, near=tilt)
    assert np.abs(found - tilt).max() < 1 / 256


def test_off_axis_in_a_frame_that_is_not_periodic():
    """A window cut from a larger field, with a tilt off the grid: 4 % rms beyond two grains from the edge."""
    signal = band_limited(5, 192)
    tilt = (0.2531, 0.2417)
    frame = (np.abs(signal + tilted(tilt, 192)) ** 2)[:150, :140]
    found = off_axis.demodulate(frame, tilt, BAND).field(9.0)
    inside = (slice(12, -12), slice(12, -12))
    error = found[inside] - signal[:150, :140][inside]
    assert np.sqrt(np.mean(np.abs(error) ** 2)) < 0.04


def test_no_carrier_is_said():
    signal = band_limited(6)
    with pytest.raises(ValueError, match="no side band"):
        off_axis.find_carrier(np.abs(signal) ** 2, BAND)
    with pytest.raises(ValueError, match="no side band"):
        off_axis.find_carrier(np.ones((64, 64)), BAND)


@pytest.mark.parametrize("tilt, words", [((0.1, 0.1), "3 half bandwidths"), ((0.49, 0.5), "too coarse")])
def test_carrier_condition_is_kept(tilt, words):
    with pytest.raises(ValueError, match=words):
        off_axis.demodulate(np.ones((64, 64)), tilt, BAND)


# ---------------------------------------------------------------------------------------------- the reference alone


def uneven_reference(seed=0, size=SIZE, dust=0.01):
    """A tilted Gaussian beam of 1/e^2 radius `size` with a low-order phase and dust: 1 % of white amplitude noise."""
    rows, columns = (np.mgrid[:size, :size] - size / 2) / size
    beam = np.exp(-(rows**2 + columns**2)) * (1 + dust * np.random.default_rng(seed).normal(size=(size, size)))
    return 5 * beam * np.exp(1j * (rows**2 - 2 * rows * columns)) * tilted(TILT, size, 1.0)


def rank_deficient_columns(n_inputs=40, rank=8, seed=0):
    """Images of the columns of a matrix of `rank` band-limited channels of equal strength."""
    channels = np.stack([band_limited(100 + k) for k in range(rank)]).reshape(rank, -1)
    channels = np.linalg.qr(channels.T)[0].T * SIZE
    rng = np.random.default_rng(seed)
    weights = np.linalg.qr(rng.normal(size=(n_inputs, rank)) + 1j * rng.normal(size=(n_inputs, rank)))[0]
    return (weights @ channels).reshape(n_inputs, SIZE, SIZE) * np.sqrt(n_inputs / rank)


def gap(fields, rank=8):
    """The last true singular value over the first false one."""
    values = np.linalg.svd(fields.reshape(len(fields), -1), compute_uv=False)
    return values[rank - 1] / values[rank]


@pytest.mark.parametrize("kind, least", [(np.float64, 1e10), (np.float32, 1e4)])
def test_gap_of_a_rank_deficient_matrix_comes_back(kind, least):
    """Light beside the beam (dust, a window, a fixed pattern): q - q_R is linear in S, so its rank is that of S.

    With S band-limited and periodic and the beam itself a plane wave, nothing but that light is in the way: the first
    false singular value falls from sqrt(n) |q_R| to rounding, that of float64 and of float32 with room to spare.
    """
    beside = np.abs(uneven_reference()) ** 2
    columns, plane = rank_deficient_columns(), tilted(TILT)
    frames, alone = (np.abs(columns + plane) ** 2 + beside).astype(kind), (np.abs(plane) ** 2 + beside).astype(kind)
    biased = off_axis.demodulate(frames, TILT, BAND)
    cured = off_axis.demodulate(frames, TILT, BAND, reference=alone)
    assert gap(biased.q) < 30 and gap(cured.q) > least
    assert far(cured.field(9.0), columns) < (1e-10 if kind is np.float64 else 1e-4)
    # What is taken off is one field, that of the reference alone, from each frame alike; the offset stays.
    alone_q = off_axis.demodulate(alone, TILT, BAND).q
    assert np.abs(biased.q - alone_q - cured.q).max() < 1e-4 * np.abs(biased.q).max()
    assert np.abs(biased.offset - cured.offset).max() < 1e-5 * biased.offset.max()


def test_gap_behind_an_uneven_beam():
    """The beam's own dust and profile: |R|^2 goes, the twin conj(S) R that they scatter into the side band stays.

    Dust of relative amplitude d scatters the twin by d sqrt(w), w the share of the spectrum that passes the filter: so
    many false singular values as channels, the largest of 8 at most some twice their rms. Asked: ten times the gap
    without, and no less than 1 / (2 d sqrt(w)).
    """
    dust = 0.01
    beam = uneven_reference(dust=dust)
    frames, alone = np.abs(rank_deficient_columns() + beam) ** 2, np.abs(beam) ** 2
    biased = off_axis.demodulate(frames, TILT, BAND)
    cured = off_axis.demodulate(frames, TILT, BAND, reference=alone)
    share = off_axis.share_of_band((SIZE, SIZE), TILT, BAND)
    assert gap(cured.q) > 10 * gap(biased.q)
    assert gap(cured.q) > 1 / (2 * dust * np.sqrt(share))


def test_frames_of_the_reference_alone_are_averaged():
    """With shot noise in all frames, the bias that is left is q_R's own noise, of 1/n of the variance of one frame.

    The field taken off is the same in each: against the noise-free one its variance is n times smaller for n frames,
    within 15 % (some 400 independent places of the side band, 16 references).
    """
    rng = np.random.default_rng(1)
    light = 100 * np.abs(uneven_reference()) ** 2
    errors = {}
    for n in (1, 16):
        draws = [rng.poisson(light, (n, SIZE, SIZE)).astype(np.float64) for _ in range(16)]
        zero = [off_axis.demodulate(light, TILT, BAND, reference=frames).q for frames in draws]
        errors[n] = np.mean(np.abs(zero) ** 2)
    assert errors[1] / errors[16] == pytest.approx(16, rel=0.15)
    # And one frame's is white noise of variance `light` through the filter.
    expected = off_axis.share_of_band((SIZE, SIZE), TILT, BAND) * light.mean()
    assert errors[1] == pytest.approx(expected, rel=0.1)


def test_fringes_of_the_reference_are_no_carrier():
    """A window's fringes in the reference, stronger than the hologram's: the carrier is found if they are taken off."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    reference = tilted(TILT) * (1 + 0.6 * np.cos(2 * np.pi * (0.3 * rows - 0.2 * columns)))
    signal = 0.3 * np.stack([band_limited(seed) for seed in range(6)])
    frames, alone = np.abs(signal + reference) ** 2, np.abs(reference) ** 2
    assert np.hypot(*(off_axis.find_carrier(frames, BAND) - TILT)) > BAND
    found = off_axis.find_carrier(frames, BAND, reference=alone)
    assert np.max(np.abs(found - TILT)) < BAND / 10


def test_what_is_no_reference_is_said():
    frame = np.ones((64, 64))
    with pytest.raises(ValueError, match=r"reference has shape \(32, 64\).*64 x 64"):
        off_axis.demodulate(frame, TILT, BAND, reference=np.ones((32, 64)))
    with pytest.raises(ValueError, match="reference and background are both given"):
        off_axis.demodulate(frame, TILT, BAND, reference=frame, background=frame)
    with pytest.raises(ValueError, match="reference"):
        off_axis.demodulate(frame, TILT, BAND, reference=frame * np.nan)
