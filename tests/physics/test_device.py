"""Laws of the whole device: its working point, its contrast, its kernel, its drift."""

from __future__ import annotations

import numpy as np
import pytest

from opusim import theory
from opusim.bench.bench import OpticalBench
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = Device.load("aurora")
EXPOSURE_S = AURORA.operation.exposure_s
ROI = (540, 0, 10, 2040)


def lined(n_features: int) -> MirrorLayout:
    shape = AURORA.dmd.shape
    return MirrorLayout(
        dmd_shape=shape, n_features=(n_features,), kind="lined", factor=shape[0] * shape[1] // n_features,
        roi_offset=(0, 0), roi_size=shape,
    )  # fmt: skip


def expose(device: Device, bits: np.ndarray, *, n_pixels: int = 20_000, exposure_s: float = EXPOSURE_S, seed: int = 0):
    # Few vectors: waves need no matrix. That both ways are one device is tested with the bench.
    bench = OpticalBench(device, seed, execution="waves" if device.medium.has_waves else "auto")
    pattern = MirrorPatterns(np.ascontiguousarray(bits, dtype=np.uint8), lined(bits.shape[1]))
    return bench.transform(pattern, exposure_s=exposure_s, roi=ROI, n_pixels=n_pixels), bench


@pytest.fixture(scope="module")
def half_on():
    return np.random.default_rng(0).permuted(np.tile([0, 1], (20, 500)).astype(np.uint8), axis=1)


def test_half_the_mirrors_on_give_nine_grey_levels(half_on):
    """lightonml's examples: about 9 at 400 us (docs/physics.md). The mean of 400 000 speckles is good to a percent."""
    counts, bench = expose(AURORA, half_on)
    assert counts.dtype == np.uint8
    assert counts.mean() == pytest.approx(9, abs=0.3)
    assert counts.mean() == pytest.approx(bench.expected_level_dn(0.5 * AURORA.dmd.n_mirrors, EXPOSURE_S), rel=0.02)


def test_output_noise_is_that_of_the_real_device(half_on):
    """1.0 to 1.2 grey levels rms at a mean of 21.6 (lightonml's examples), and the sum of its parts within 2 %.

    The parts at a signal of 19 above the black level: shot K S = .76, read (K 13)^2 = .270, rounding 1/12, laser 5e-5
    (.002 S, of which an exposure of 1.2 ms keeps a fifteenth), together 1.11 = 1.06^2.
    """
    exposure_s = EXPOSURE_S * (21.6 - 2.6) / 6.4
    frames, _ = expose(AURORA, np.repeat(half_on[:1], 200, axis=0), n_pixels=5000, exposure_s=exposure_s)
    x = frames.astype(np.float64)
    assert x.mean() == pytest.approx(21.6, rel=0.03)
    noise = np.sqrt(np.mean(x.var(axis=0, ddof=1)))
    assert 1.0 <= noise <= 1.2
    signal = x.mean() - AURORA.camera.black_level_dn
    k = AURORA.camera.gain_dn_per_e
    laser = AURORA.laser.power_noise_in(exposure_s) ** 2 * np.mean((x.mean(axis=0) - AURORA.camera.black_level_dn) ** 2)
    assert noise**2 == pytest.approx(k * signal + (k * AURORA.camera.read_noise_e) ** 2 + 1 / 12 + laser, rel=0.02)


def test_counts_follow_the_exponential_law_of_speckle(half_on):
    """Contrast 1 +- .02 without imperfections (docs/physics.md), and P(I > t) = exp(-t/mean) at five points.

    20 000 pixels of 20 patterns: a fraction f is known to sqrt(f/400 000); the tolerance is .005, more than
    three sigma of the pattern-to-pattern spread.
    """
    counts, _ = expose(AURORA.ideal(), half_on)
    x = counts.astype(np.float64) / counts.mean()
    assert counts.dtype == np.float32
    assert x.std() == pytest.approx(1, abs=0.02)
    for t in (0.1, 0.5, 1.0, 2.0, 4.0):
        assert np.mean(x > t) == pytest.approx(np.exp(-t), abs=0.005)


@pytest.mark.parametrize("changes", [{"camera.pixel_over_grain": 1.0}, {"camera.polarised": False}])
def test_contrast_of_the_device_falls_by_its_law(half_on, changes):
    """C = .72 for a pixel of one grain, 1/sqrt 2 for unpolarised light, within .02 (docs/physics.md)."""
    device = AURORA.remagnified().ideal().evolve(**changes)
    counts, _ = expose(device, half_on, n_pixels=10_000)
    contrast = counts.std(dtype=np.float64) / counts.mean(dtype=np.float64)
    expected = 0.72 if "camera.pixel_over_grain" in changes else 1 / np.sqrt(2)
    assert contrast == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("changes", [{}, {"camera.polarised": False}, {"medium": "gaussian"}])
def test_inner_products_of_outputs_are_the_optical_kernel(changes):
    """<y(a) y(b)> = ||a||^2 ||b||^2 + (a.b)^2 / M over outputs, for a range of overlaps.

    A mean over 20 000 speckles of a product of intensities has a relative spread of 1.2 to 1.6 %; the 15 pairs share
    six vectors, so that their mean has about 1 %. The middle of the field is 2 exp(-K sigma^2 (1 - rho)) = .5 % an axis
    brighter than its mean, rho being the correlation of a screen over a step, as the layer scatters not quite evenly:
    about 1 % here. So the mean ratio must be within 4 %, and each within 8 %.
    """
    device = AURORA.ideal()
    if changes == {"medium": "gaussian"}:
        from opusim.device.medium import GaussianMedium

        device = device.evolve(medium=GaussianMedium(transmission=AURORA.medium.transmission))
    else:
        device = device.evolve(**changes)
    rng = np.random.default_rng(4)
    base = rng.integers(0, 2, size=400)
    x = np.stack([np.where(rng.random(400) < flip, 1 - base, base) for flip in (0, 0.05, 0.15, 0.3, 0.5, 1.0)])
    counts, bench = expose(device, x)
    y = counts.astype(np.float64) / (device.camera.gain_dn_per_e * device.camera.quantum_efficiency)
    mirrors = np.bincount(lined(400).feature_of_mirror().ravel()[lined(400).feature_of_mirror().ravel() >= 0])
    y /= bench.photons_per_intensity(EXPOSURE_S) * mirrors.mean()
    modes = 1 if device.camera.polarised else 2
    expected = theory.optical_kernel(x.astype(float), x.astype(float), modes)
    ratio = (y @ y.T / y.shape[1] / expected)[np.triu_indices(6, 1)]
    assert np.abs(ratio - 1).max() < 0.08
    assert ratio.mean() == pytest.approx(1, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("n_features, n_pixels", [(256, 2040), (1000, 2000)])
def test_the_devices_own_matrix_follows_marchenko_pastur(n_features, n_pixels):
    """KS < .02 (docs/physics.md) for the matrix as the default device makes it, its grid and its region as they are."""
    region = Region(Roi(540, 0, 1, 2040), n_pixels, 2040)
    projector = Projector(AURORA, 1, lined(n_features), region, execution="matrix")
    t = projector.way.matrix()[0].view(np.complex64).T.astype(np.complex128)
    t /= np.sqrt(np.mean(np.abs(t) ** 2, axis=1, keepdims=True))
    t /= np.sqrt(np.mean(np.abs(t) ** 2, axis=0, keepdims=True))
    s = np.sort(np.linalg.svd(t / np.sqrt(n_pixels), compute_uv=False))
    cdf = theory.marchenko_pastur_cdf(s, n_features / n_pixels)
    steps = np.arange(n_features + 1) / n_features
    assert max(np.abs(cdf - steps[:-1]).max(), np.abs(cdf - steps[1:]).max()) < 0.02
    low, high = theory.marchenko_pastur_edges(n_features / n_pixels)
    assert (s[0], s[-1]) == pytest.approx((low, high), abs=0.03)


def test_off_mirrors_leak_by_the_contrast_ratio(half_on):
    """All off against all on: 1/1000 of the light, within the speckle's spread of 5/sqrt(20 000)."""
    device = AURORA.ideal().evolve(**{"dmd.contrast_ratio": 1000.0})
    counts, _ = expose(device, np.stack([np.zeros(1000), np.ones(1000)]).astype(np.uint8))
    assert counts[0].mean() / counts[1].mean() == pytest.approx(1e-3, rel=5 / np.sqrt(20_000))


def test_speckle_decorrelates_with_device_time():
    """Intensity correlation exp(-2 (t/tau)^2) between frames at t = 0 and t = tau/2, tau: within .03."""
    device = AURORA.ideal().evolve(**{"medium.decorrelation_time_s": 1.0, "operation.frametime_s": 0.25})
    counts, bench = expose(device, np.tile(np.random.default_rng(0).integers(0, 2, 64), (5, 1)))
    assert bench.clock.elapsed_s == pytest.approx(1.25)
    for i in (1, 2, 4):
        correlation = np.corrcoef(counts[0], counts[i])[0, 1]
        assert correlation == pytest.approx(np.exp(-2 * (0.25 * i) ** 2), abs=0.03)


def test_neighbouring_outputs_are_independent(half_on):
    """LightOn tests its outputs as i.i.d.: correlation of neighbours, along and across, within five sigma."""
    counts, _ = expose(AURORA.ideal(), half_on)
    x = counts / counts.mean(axis=1, keepdims=True) - 1
    n = x.size
    for shift in (1, 2, 142, 143, 144, 2040):
        assert abs(np.mean(x[:, shift:] * x[:, :-shift])) < 5 / np.sqrt(n - 20 * shift)


def test_every_mirror_counts_the_same_as_macro_pixels():
    """The resolution changes the realisation, not the statistics: same mean within the speckle's spread, contrast 1."""
    changes = {"dmd.shape": (96, 120), "camera.shape": (80, 160), "operation.ones_range": (0, 9000)}
    small = AURORA.ideal().evolve(**changes)
    layout = MirrorLayout(
        dmd_shape=(96, 120), n_features=(8, 10), kind="macro_2d", factor=12, roi_offset=(0, 0), roi_size=(96, 120)
    )
    bits = np.random.default_rng(0).integers(0, 2, size=(6, 80), dtype=np.uint8)
    means, contrasts = [], []
    for resolution in ("auto", "mirrors"):
        frames = OpticalBench(small, 0, resolution=resolution).expose(
            MirrorPatterns(bits, layout), exposure_s=EXPOSURE_S
        )
        x = frames / frames.mean(axis=(1, 2), keepdims=True)
        means.append(frames.mean(axis=(1, 2)))
        contrasts.append(x.std())
    np.testing.assert_allclose(means[0], means[1], rtol=5 * np.sqrt(2 / (80 * 160)))
    assert contrasts[0] == pytest.approx(1, abs=0.02)
    assert contrasts[1] == pytest.approx(1, abs=0.02)
