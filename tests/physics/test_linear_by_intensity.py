"""The linear transform by intensities: its algebra, and the statistics of its matrix (docs/physics.md section 2)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from opusim import OPU
from opusim.device.record import Device
from opusim.drivers.methods import intensity as method
from opusim.theory import marchenko_pastur_cdf

N_FEATURES, N_PIXELS = 400, 4000


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    """The matrix of a noise-free device, entry by entry, float64 (pixels, features)."""
    with OPU(N_PIXELS, device="ideal", rescale="none", linear_mode="intensity") as opu:
        opu.fit1d(n_features=N_FEATURES)
        return np.asarray(opu.linear_transform(np.eye(N_FEATURES, dtype=np.uint8)), dtype=np.float64).T


@pytest.mark.parametrize("each", [2, 5])
def test_exact_for_any_padding_field(each):
    """y is the closed form, times a number for each pixel, for a field p of any size.

    An algebraic identity; the result is float32, and differences of numbers 100 times larger: 1e-5 of its rms.
    """
    rng = np.random.default_rng(1)
    n, m, k = 50, 30, 100
    M = rng.normal(size=(m, n)) + 1j * rng.normal(size=(m, n))
    p = 20 * (rng.normal(size=m) + 1j * rng.normal(size=m))
    x = rng.integers(0, 2, (k, n), dtype=np.uint8)
    frames = method.encode(x, each)
    assert set(np.unique(frames)) == {0, 1} and frames.shape == (method.frames_needed(k, each), n)
    intensities = np.abs(frames @ M.T + p) ** 2
    raw = method.decode(intensities, n, frames_per_vector=each)
    reference = M.sum(axis=1) + 2 * p
    closed = 2 * np.real(np.conj(reference) * (x @ ((1 - 2.0 * method.anchor(n)) * M).T))
    scale = (raw * closed).sum(axis=0) / np.square(closed).sum(axis=0)
    assert np.all(scale > 0)
    assert np.max(np.abs(raw - scale * closed)) < 1e-5 * np.sqrt(np.mean(np.square(raw)))


def test_linear_on_the_noise_free_device(matrix):
    """y is linear in x to 1e-4 of its rms (float32 fields)."""
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2, (200, N_FEATURES), dtype=np.uint8)
    with OPU(N_PIXELS, device="ideal", rescale="none", linear_mode="intensity") as opu:
        opu.fit1d(x)
        y = np.asarray(opu.linear_transform(x))
        first, second = x.copy(), x.copy()
        first[:, 200:], second[:, :200] = 0, 0
        halves = np.asarray(opu.linear_transform(first)) + np.asarray(opu.linear_transform(second))
    rms = np.sqrt(np.mean(np.square(y)))
    assert np.sqrt(np.mean(np.square(y - x @ matrix.T))) < 1e-4 * rms
    assert np.sqrt(np.mean(np.square(y - halves))) < 1e-4 * rms


def test_entries_are_normal_but_in_one_direction(matrix):
    """Off the direction 1 - 2 r: mean 0, variance 1, normal. Along it: sqrt(2) Rayleigh (closed forms of the module).

    1.6 million entries, 4 sigma each: the mean to .0032, the excess kurtosis to 4 sqrt(24 / 1.6e6) = .016 and the .02
    that the two per cent of pixels with a limited reference add; the variance to 4 * .6 / sqrt(4000) = .038, as the
    scale comes from the mean level of 4 000 pixels. The Rayleigh test: mean sqrt(pi / 2) to 4 * .66 / sqrt(4000).
    """
    d = (1 - 2.0 * method.anchor(N_FEATURES)) / np.sqrt(N_FEATURES)
    along = matrix @ d
    rest = matrix - along[:, None] * d
    freedom = 1 - 1 / N_FEATURES
    assert abs(rest.mean()) < 0.0032
    assert abs(rest.var() / freedom - 1) < 0.038
    assert abs(stats.kurtosis(rest, axis=None)) < 0.036
    assert along.min() > 0
    # What that means for single columns: a mean of sqrt(pi / 2n), with the sign of 1 - 2 r. 4 000 pixels, 400 columns:
    # 4.5 sigma each, and the scale is known to .038.
    means = matrix.mean(axis=0) * np.sign(d)
    assert np.abs(means - np.sqrt(np.pi / (2 * N_FEATURES))).max() < 4.5 / np.sqrt(N_PIXELS) + 0.004
    assert abs(along.mean() - np.sqrt(np.pi / 2)) < 0.042
    # Kolmogorov-Smirnov against sqrt(2) Rayleigh(1/sqrt 2) = Rayleigh(1): false alarm 1e-4, and .02 for the limit.
    assert stats.kstest(along / np.sqrt(rest.var()), stats.rayleigh.cdf).statistic < 2.23 / np.sqrt(N_PIXELS) + 0.02


@pytest.mark.slow
def test_entries_are_independent(matrix):
    """Singular values off the special direction follow Marchenko and Pastur: KS < .02, as for the medium."""
    d = (1 - 2.0 * method.anchor(N_FEATURES)) / np.sqrt(N_FEATURES)
    rest = matrix - (matrix @ d)[:, None] * d
    singular = np.linalg.svd(rest / np.sqrt(N_PIXELS * rest.var()), compute_uv=False)[:-1]
    assert stats.kstest(singular, lambda s: marchenko_pastur_cdf(s, N_FEATURES / N_PIXELS)).statistic < 0.02


def with_frames(each: int) -> Device:
    """The default device with some frames a vector."""
    return Device.load("aurora").evolve(**{"operation.frames_per_vector": each})


@pytest.mark.parametrize("each", [2, 5])
def test_noise_of_the_default_device(each):
    """Two transforms of one batch differ by what the camera's noise gives through the closed form.

    With s^2 the noise variance of a count at half the mean level, means of a and b = k - a frames give
    s^2 (1 / a + 1 / b), the anchors little (averaged over 8 blocks), so that two y differ by sqrt(2) times the root of
    that, times the scale: checked per pixel in the median, within 10 % (512 vectors: the estimate itself is good to
    3 %, the rest is the spread of levels over the vectors).
    """
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2, (512, 200), dtype=np.uint8)
    with OPU(500, device=with_frames(each), rescale="none", linear_mode="intensity") as opu:
        opu.fit1d(x)
        a, b = np.asarray(opu.linear_transform(x)), np.asarray(opu.linear_transform(x))
        level = np.asarray(opu.transform(x)).mean(axis=0, dtype=np.float64)
        ones = np.asarray(opu.transform(np.ones((300, 200), dtype=np.uint8))).mean(axis=0, dtype=np.float64)
        camera = opu.device.device_model.camera
    black, gain = camera.black_level_dn, camera.gain_dn_per_e
    mean_ones = np.mean(ones) - black
    noise = np.sqrt(gain * (level - black) + (gain * camera.read_noise_e) ** 2 + 1 / 12)  # EMVA 1288, eq. 7 ff.
    scale = np.sqrt(2 * 200 / mean_ones) / (2 * np.sqrt(np.maximum(ones - black, 0.02 * mean_ones)))
    expected = np.sqrt(2 * (1 / -(-each // 2) + 1 / (each // 2))) * noise * scale
    assert abs(np.median((a - b).std(axis=0) / expected) - 1) < 0.1


@pytest.mark.parametrize("n, law", [(40, 4 / (5 / 6 + 2 / 5)), (128, 3 / (5 / 6 + 1 / 5))])
def test_anchors_have_their_part_in_the_noise(n, law):
    """Of few vectors the anchors r and ~r have as much part in the noise as frames of the vectors.

    In units of s^2, B blocks leave 2 + 2 / B by two frames and 1/2 + 1/3 + 2 / (5 B) by five: the closed form of the
    module, of which `law` is the ratio. 3 000 pixels; the anchors' part is that of 3 000 differences, with a heavy
    tail, which the median over pixels is spared: within 5 % of the rms (seven standard errors of a median's ratio).
    """
    x = np.random.default_rng(3).integers(0, 2, (n, 200), dtype=np.uint8)
    found = []
    for each in (2, 5):
        with OPU(3000, device=with_frames(each), rescale="none", linear_mode="intensity") as opu:
            opu.fit1d(x)
            a, b = (np.asarray(opu.linear_transform(x), dtype=np.float64) for _ in range(2))
        found.append(np.median(np.square(a - b).mean(axis=0)))
    assert abs(np.sqrt(found[0] / found[1] / law) - 1) < 0.05
