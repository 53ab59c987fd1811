"""Speckle and fringes on pixels that average over their area, against the integral over it.

The simulator sums over points of a pixel. Integrals are taken here over spatial frequencies instead: in cycles a pixel,
the intensity of speckle behind a round stop has the autocorrelation of that stop as its spectrum,
acos x - x sqrt(1 - x^2) for x = |f| / (pixel / grain), and a square pixel has the transfer function sinc(f) sinc(f')
(Goodman, Speckle Phenomena in Optics, 2nd ed., section 4.4; Introduction to Fourier Optics, section 2.4).
"""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy import fft

from opusim import OpticalBench, theory
from opusim.bench.pixel_block import PixelBlock
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.calibration.algorithms import off_axis
from opusim.device.medium import GaussianMedium, MeasuredMedium, ModeGrid, PhaseScreenMedium
from opusim.device.pixel_sampling import PixelSampling, pixel_sampling
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

MIRRORS, EXPOSURE_S = (64, 64), 400e-6
# Re-magnified, so that the camera's pixels over a grain are what a test says.
IDEAL = (
    Device.load("ideal")
    .remagnified()
    .evolve(**{"dmd.shape": MIRRORS, "camera.shape": (96, 128), "operation.ones_range": (10, 2000)})
)
LAYOUT = MirrorLayout.lined(MIRRORS, 64)
# Correlation of the intensities of neighbours by pixel / grain, from the integral, to three digits.
KNOWN = {0.5: 0.574, 1.0: 0.236, 2.0: 0.113}
SIZES = [0.05, 0.12, 0.25, 0.5, 0.7, 1.0, 1.3, 1.5, 1.6, 2.0, 2.5, 3.0, 4.0, 6.0]


def patterns(n, seed=0):
    return MirrorPatterns(np.random.default_rng(seed).integers(0, 2, (n, 64), dtype=np.uint8), LAYOUT)


def wide(size, **changes):
    return IDEAL.evolve(**{"camera.pixel_over_grain": size}, **changes)


def covariance(size, transfer, apart):
    """Covariance of the intensities of pixels that are `apart` columns apart, over the squared mean."""
    f = (np.arange(600) + 0.5) / 600 * size  # the spectrum is even in both directions
    x = np.minimum(np.hypot(f[:, None], f) / size, 1)
    spectrum = np.arccos(x) - x * np.sqrt(1 - x * x)
    # Of the whole plane: integral of acos x - x sqrt(1 - x^2) is pi^2 / 8.
    spectrum *= 4 * (size / 600) ** 2 / (np.pi**2 / 8 * size**2)
    passed = np.square(transfer(f))
    return float(passed @ spectrum @ (passed * np.cos(2 * np.pi * f * apart)))


def transfer_of(sampling):
    """Transfer function of a weighted sum over points along one side."""
    fine, weights = sampling.fine, np.array(sampling.axis_weights)
    places = (np.arange(fine) + 0.5) / fine - 0.5
    return lambda f: np.cos(2 * np.pi * np.multiply.outer(f, places)) @ weights


def neighbours(frames):
    """Correlation of vertical and of horizontal neighbours, over all frames (n, rows, columns), each over its mean."""
    x = np.asarray(frames, dtype=np.float64)
    x = x / x.mean(axis=(1, 2), keepdims=True) - 1
    return np.mean(x[:, 1:] * x[:, :-1]) / x.var(), np.mean(x[..., 1:] * x[..., :-1]) / x.var()


# --------------------------------------------------------------------------------------------- the sum and the integral


@pytest.mark.parametrize("size", SIZES)
def test_a_sum_over_points_is_the_integral_over_the_pixel(size):
    """Contrast within 1 %, neighbours within .006, power of steady fringes within 1 % up to .45 cycles a pixel.

    That is along one axis. Along both the errors multiply, to 1.2 %; fringes of speckle are in the next test.
    """
    sampling = PixelSampling(1, *pixel_sampling(size))
    transfer = transfer_of(sampling)
    assert np.isclose(sum(sampling.axis_weights), 1, atol=2e-8) and min(sampling.axis_weights) > 0
    assert sampling.aperture * sampling.fine == pytest.approx(size, rel=1e-7) and sampling.aperture <= 1
    integral, summed = (covariance(size, way, 0) for way in (np.sinc, transfer))
    assert np.sqrt(summed / integral) == pytest.approx(1, abs=0.01)
    beside = covariance(size, np.sinc, 1) / integral
    assert covariance(size, transfer, 1) / summed == pytest.approx(beside, abs=0.006)
    f = np.linspace(0, 0.45, 46)
    contrast = np.array([sampling.fringe_contrast((one, 0.0)) for one in f])
    assert np.square(transfer(f) * contrast / np.sinc(f)) == pytest.approx(1, abs=0.01)
    assert np.square(transfer(0.45) * contrast[-1]) == pytest.approx(0.488, abs=0.005)


@pytest.mark.parametrize("size", [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
def test_fringes_of_speckle_have_the_power_of_the_integral(size):
    """Mean of the transfer function's square over the disc of the stop around the carrier, which the field fills.

    A steady field is promised 1 % along one axis. The grain adds its frequencies, of up to half a pixel / grain, to the
    carrier: 1.8 %. The largest are -1.5 and -1.64 % at (.45, .45) on .75 and 1 grain, -1.35 % without one on 4 grains.
    """
    transfer = transfer_of(PixelSampling(1, *pixel_sampling(size)))
    x = ((np.arange(300) + 0.5) / 300 - 0.5) * size
    inside = np.hypot(x[:, None], x) <= size / 2

    def power(way, carrier):
        down, across = (np.square(way(x + f)) for f in carrier)
        return np.mean(np.multiply.outer(down, across)[inside])

    for carrier in ((0.0, 0.0), (0.0, 0.25), (0.0, 0.45), (0.25, 0.25), (0.45, 0.25), (0.45, 0.45)):
        assert power(transfer, carrier) == pytest.approx(power(np.sinc, carrier), rel=0.018)
    f = np.linspace(0, 0.45, 46)
    steady = np.square(transfer(f) / np.sinc(f))
    assert np.multiply.outer(steady, steady) == pytest.approx(1, abs=0.012)


@pytest.mark.parametrize("size", SIZES)
def test_closed_forms_are_the_integral(size):
    """Over places in `opusim.theory`, over frequencies here: the same to 1e-4."""
    variance = covariance(size, np.sinc, 0)
    assert 1 / theory.pixel_modes(size) == pytest.approx(variance, abs=1e-4)
    for apart in (1, 2):
        expected = covariance(size, np.sinc, apart) / variance
        assert theory.neighbour_correlation(size, 0, apart) == pytest.approx(expected, abs=1e-4)
        assert theory.neighbour_correlation(size, apart, 0) == pytest.approx(expected, abs=1e-4)
    if size in KNOWN:
        assert theory.neighbour_correlation(size) == pytest.approx(KNOWN[size], abs=5e-4)


@pytest.mark.parametrize("size", sorted(KNOWN))
def test_closed_forms_are_those_of_fine_speckle(size):
    """Speckle of 16 points a pixel from one transform, added up by pixels: neighbours and contrast by brute force.

    800 to 13 000 grains a frame, 8 frames: the spread of both is below .008, the tolerance .025.
    """
    rng, n = np.random.default_rng(int(10 * size)), 1024
    f = fft.fftfreq(n, d=1 / n)
    stop = np.hypot(f[:, None], f) <= size * n / 32
    frames = []
    for _ in range(8):
        noise = (rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))) * stop
        light = np.square(np.abs(fft.ifft2(noise.astype(np.complex64))))
        frames.append(light.reshape(64, 16, 64, 16).mean(axis=(1, 3)))
    for found in neighbours(frames):
        assert found == pytest.approx(theory.neighbour_correlation(size), abs=0.025)
    assert np.std(frames) / np.mean(frames) == pytest.approx(theory.speckle_contrast(size), abs=0.025)


def test_a_stop_of_few_points_makes_grains_of_the_right_size():
    """The field's coherence n points apart is 2 J1(pi n a) / (pi n a) for a stop of a sides: from 16 points across on.

    The envelope of intensities behind the stop is what makes it; its transform is the coherence, to .002.
    """
    medium = PhaseScreenMedium(n_screens=1, phase_std_rad=0.0, depolarising=False)
    for side, aperture in ((64, 16.3 / 64), (96, 17.8 / 96), (64, 0.25), (90, 0.5)):
        factors = medium.factors(ModeGrid(side, (2, 2), (4, 4), aperture), wavelength_m=532e-9, seed=0)
        power = np.square(np.abs(factors.screens[0].astype(np.complex128)))
        for points in (1, 3):
            turn = np.cos(2 * np.pi * fft.fftfreq(side) * points)
            found = (power * turn).sum() / power.sum()
            assert found == pytest.approx(coherence_of_points(aperture * points), abs=0.002)


def coherence_of_points(r):
    """2 J1(pi r) / (pi r), as the transform of a disc: a sum over 1 000 chords of it."""
    x = (np.arange(-500, 500) + 0.5) / 1000
    disc = np.sqrt(0.25 - x * x)
    return float(np.sum(disc * np.cos(2 * np.pi * r * x)) / np.sum(disc))


# --------------------------------------------------------------------------------------------- the bench


@pytest.mark.parametrize("size, resolution", [(0.5, "auto"), (1.0, "auto"), (2.0, "auto"), (1.0, "mirrors")])
def test_neighbours_on_the_bench(size, resolution):
    """Both kinds of neighbours, on a region that is not square, under both resolutions.

    Means over six layers of three patterns: 8 000 grains at .5, of which two in three differ. The tolerance is four
    times the spread.
    """
    frames = []
    for seed in range(6):
        device = wide(size, **{"camera.shape": (24, 80)}, resolution=resolution)
        frames.append(OpticalBench(device, seed).expose(patterns(3, seed), exposure_s=EXPOSURE_S))
    vertical, horizontal = neighbours(np.concatenate(frames))
    assert vertical == pytest.approx(KNOWN[size], abs=0.04)
    assert horizontal == pytest.approx(KNOWN[size], abs=0.04)


def test_photons_are_the_weighted_mean_of_the_field():
    """`inspect` has the field itself, and the weights by which its intensities are the light of a pixel."""
    bench = OpticalBench(wide(0.5, **{"camera.polarised": False}), 1)
    planes = bench.inspect(patterns(1), exposure_s=EXPOSURE_S, roi=(0, 0, 12, 20))
    assert planes.medium_field.shape == (12, 20, 18) and planes.weights.shape == (18,)
    assert planes.weights.sum() == pytest.approx(1, abs=1e-8)
    light = np.square(np.abs(planes.medium_field.astype(np.complex128)))
    expected = light @ planes.weights * bench.photons_per_intensity(EXPOSURE_S)
    assert planes.photons == pytest.approx(expected, rel=1e-5)
    # The field itself is as bright at every point of the pixel: 240 pixels of few grains, so within a fifth.
    by_point = light.reshape(-1, 2, 9).mean(axis=(0, 1))
    assert by_point == pytest.approx(by_point.mean(), rel=0.2)
    # And it is smooth: neighbouring points are a third of a pixel, a sixth of a grain apart.
    first = planes.medium_field[..., :9].reshape(-1, 3, 3)
    a, b = first[:, 1, 1], first[:, 1, 2]
    found = abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b)
    assert found == pytest.approx(coherence_of_points(0.5 / 3), abs=0.02)


@pytest.mark.parametrize("size", [0.0, 0.1])
@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_a_pixel_that_samples_a_point_averages_the_fringes_of_a_tilt(size, execution):
    """The fringe's power at .45 cycles a pixel is sinc^2 = .488 of full; the reference's mean light stays."""
    power = {}
    for carrier in ((0.0, 0.0), (0.0, 0.45), (0.45, 0.25)):
        device = wide(size, **{"reference.carrier_cycles_per_pixel": carrier, "reference.coherence": 0.8})
        bench = OpticalBench(device, 2, execution=execution)
        shown = patterns(3)
        frames = bench.expose(shown, exposure_s=EXPOSURE_S, roi=(0, 0, 32, 64), reference_phase_rad=[0.0, np.pi])
        frames = frames.reshape(3, 2, 32, 64).astype(np.float64)
        signal = bench.expose(shown, exposure_s=EXPOSURE_S, roi=(0, 0, 32, 64)).astype(np.float64)
        fringe, steady = (frames[:, 0] - frames[:, 1]) / 4, frames.mean(axis=1) - signal
        bright = steady.mean()
        assert steady == pytest.approx(bright, rel=1e-4)
        rows, columns = np.mgrid[:32, :64]
        field = np.stack([
            bench.inspect(shown[i : i + 1], roi=(0, 0, 32, 64)).medium_field[..., 0] for i in range(3)
        ]).astype(np.complex128)  # fmt: skip
        full = np.real(field * np.exp(-2j * np.pi * (carrier[0] * rows + carrier[1] * columns)))
        # Frame by frame: the fringe of a point times one number.
        power[carrier] = np.vdot(full, fringe) ** 2 / np.vdot(full, full) ** 2
        assert fringe == pytest.approx(np.sqrt(power[carrier]) * full, abs=1e-3 * np.abs(fringe).max())
    plain = power[0.0, 0.0]
    assert power[0.0, 0.45] / plain == pytest.approx(0.488, abs=0.001)
    assert power[0.45, 0.25] / plain == pytest.approx((np.sinc(0.45) * np.sinc(0.25)) ** 2, rel=1e-3)


def test_a_pixel_that_samples_its_area_averages_the_fringes_of_a_tilt():
    """Fringe power at pixel / grain .5 and .45 cycles a pixel: mean of sinc^2 sinc^2 over the stop's disc around it.

    The field has frequencies up to a quarter of a cycle a pixel, alike within the disc. Four layers: 4 % (the ratio of
    two carriers on the same light is better known than either).
    """
    x = (np.arange(200) + 0.5) / 200 * 0.5 - 0.25
    inside = np.hypot(x[:, None], x) <= 0.25
    expected, found = [], []
    for carrier in ((0.0, 0.45), (0.0, 0.0)):
        passed = np.sinc(x[:, None] + carrier[0]) * np.sinc(x + carrier[1])
        expected.append(np.mean(np.square(passed)[inside]))
        total = 0.0
        for seed in range(4):
            device = wide(0.5, **{"reference.carrier_cycles_per_pixel": carrier})
            bench = OpticalBench(device, seed)
            frames = bench.expose(
                patterns(1, seed), exposure_s=EXPOSURE_S, roi=(0, 0, 64, 64),
                reference_phase_rad=[0.0, np.pi / 2, np.pi, -np.pi / 2],
            ).astype(np.float64)  # fmt: skip
            total += np.mean(np.square(frames[0] - frames[2]) + np.square(frames[1] - frames[3]))
        found.append(total)
    assert found[0] / found[1] == pytest.approx(expected[0] / expected[1], rel=0.04)


def test_the_reference_is_taken_at_the_points_of_a_pixel():
    """A tilt of f cycles a pixel turns it by 2 pi f per pixel, within a pixel too; float32, so 1e-6."""
    device = wide(0.5, **{"reference.carrier_cycles_per_pixel": (0.1, -0.3)})
    how = {"sensor_shape": (4, 5), "pixel_pitch_m": 5e-6, "n_mirrors": 4096, "seed": 0}
    offsets = device.sampling.offsets
    field = device.reference.field(np.arange(20), **how, offsets=offsets)
    row, column = (axis.ravel()[:, None] for axis in np.indices((4, 5)))
    phase = 0.1 * (row + offsets[:, 0]) - 0.3 * (column + offsets[:, 1])
    assert offsets[[0, 4, 5]] == pytest.approx(np.array([[-1, -1], [0, 0], [0, 1]]) / 3)
    assert field == pytest.approx(abs(field[0, 0]) * np.exp(2j * np.pi * phase), rel=1e-6)
    for bad in (np.zeros(2), np.zeros((4, 3)), np.zeros((1, 2, 2))):
        with pytest.raises(ValueError, match=r"offsets has shape .* but it must be \(points, 2\)"):
            device.reference.field(np.arange(20), **how, offsets=bad)


@pytest.mark.parametrize("size, known, within", [(0.5, True, 0.01), (0.2, False, 0.03)])
def test_off_axis_recovers_the_field_of_an_ideal_device(size, known, within):
    """One frame at the half bandwidth of the grain gives the field in the middle of each pixel.

    The pixel's transfer function differs over the side band, so the correlation with the field is below 1: over a disc
    of the spectrum, its mean over its rms, .988 at pixel / grain .5. What is left when the field is passed through that
    function first is the leakage of the frame's edges, of which 24 pixels are left out: below 1 %, or 3 % without a
    frame of |S|^2 + |R|^2.
    """
    carrier, band = (0.25, 0.25), off_axis.half_bandwidth(1 / size)
    device = wide(size, **{"reference.carrier_cycles_per_pixel": carrier, "reference.relative_amplitude": 5.0})
    f = np.linspace(-band, band, 201)
    inside = np.hypot(f[:, None], f) <= band
    passed = np.multiply.outer(np.sinc(f - carrier[0]), np.sinc(f - carrier[1]))[inside]
    law = passed.mean() / np.sqrt(np.square(passed).mean())
    how = {"exposure_s": EXPOSURE_S, "roi": (0, 0, 96, 96)}
    bench, shown = OpticalBench(device, 1), patterns(1, 1)
    frame = bench.expose(shown, reference_phase_rad=0.0, **how)[0].astype(np.float64)
    background = None
    if known:
        dark = MirrorPatterns(np.zeros((1, 64), dtype=np.uint8), LAYOUT)
        signal, alone = bench.expose(shown, **how)[0], bench.expose(dark, reference_phase_rad=0.0, **how)[0]
        background = signal.astype(np.float64) + alone
    found = off_axis.demodulate(frame, carrier, band, background=background).q
    points = bench.inspect(shown, roi=(0, 0, 96, 96)).medium_field
    true = points[..., points.shape[-1] // 2].astype(np.complex128)
    f = fft.fftfreq(96)
    seen = fft.ifft2(fft.fft2(true) * np.multiply.outer(np.sinc(f - carrier[0]), np.sinc(f - carrier[1])))
    a, b, c = (part[24:-24, 24:-24].ravel() for part in (found, true, seen))
    assert abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(law, abs=0.005)
    scale = np.vdot(c, a) / np.vdot(c, c)
    assert np.linalg.norm(a - scale * c) / np.linalg.norm(a) < within


# --------------------------------------------------------------------------------------------- what "auto" keeps


def test_auto_keeps_the_picture_of_a_region():
    """Pixels that integrate lie on the grid as on the sensor; points, whose order means nothing, in a square."""
    for roi, bands in (((0, 0, 8, 100), 1), ((0, 0, 96, 3), 1), ((2, 3, 40, 40), 1)):
        region = Region(Roi(*roi), 5, 128)
        geometry = Projector(wide(0.5), 0, LAYOUT, region).geometry
        fine = geometry.sampling.fine
        assert geometry.block.bands == bands
        assert geometry.grid.output_shape == (roi[2] * fine, roi[3] * fine)
        point = Projector(IDEAL, 0, LAYOUT, region).geometry
        assert max(point.grid.output_shape) == int(np.ceil(np.sqrt(roi[2] * roi[3])))


@pytest.mark.parametrize("size", [0.5, 1.7])
def test_transform_and_expose_agree_to_the_bit(size):
    """The first pixels of a region are the first pixels of its frames, also where a row is read in part."""
    shown, roi = patterns(3), (4, 8, 10, 70)
    whole = OpticalBench(wide(size), 5).expose(shown, exposure_s=EXPOSURE_S, roi=roi).reshape(3, -1)
    for n_pixels in (700, 333):
        part = OpticalBench(wide(size), 5).transform(shown, exposure_s=EXPOSURE_S, roi=roi, n_pixels=n_pixels)
        assert np.array_equal(part, whole[:, :n_pixels])


def test_a_pixel_of_too_many_samples_is_said_to_be_the_reason():
    """Not the budget of memory, which would not help; bare mirrors have a reason of their own."""
    bench = OpticalBench(wide(5.0), execution="matrix", memory_budget=1 << 40)
    how = {"exposure_s": EXPOSURE_S, "roi": (0, 0, 8, 8)}
    with pytest.raises(ValueError, match="at most 64 samples a pixel, and there are 100 .*5 grains a pixel"):
        bench.expose(patterns(1), **how)
    with pytest.raises(ValueError, match=r"may take 1 KiB \(memory_budget=\d+ would let it\)"):
        OpticalBench(wide(0.5), execution="matrix", memory_budget=1024).expose(patterns(1), **how)


def test_a_folded_block_holds_every_point_once():
    """Bands of a long region: no cell twice, neighbours within a band beside each other, bands a grain apart."""
    sampling = PixelSampling(1, *pixel_sampling(0.5))
    for shape in ((5, 400), (400, 5), (1, 1000), (1000, 2)):
        block = PixelBlock.within(shape, sampling, 300)
        places = block.places(shape[0] * shape[1])
        assert block.bands > 1 and max(block.cells) <= 300
        assert len(np.unique(places)) == places.size and places.max() < np.prod(block.cells)
        row, column = np.divmod(places[:, 0].reshape(shape), block.cells[1])
        down, across = (np.diff(axis, axis=int(shape[1] > shape[0])) for axis in (row, column))
        beside = np.hypot(down, across) == sampling.fine
        assert beside.mean() > 0.98
        assert np.hypot(down, across)[~beside].min() > 1.2 / sampling.aperture
    assert PixelBlock.within((20, 60), sampling, 300).bands == 1


def test_a_long_region_keeps_its_neighbours_where_it_is_folded(monkeypatch):
    """Three rows of 110 pixels on a small grid: vertical neighbours are all there, horizontal ones but for the seams.

    The limit from which regions are folded is set low, as the true one takes large grids. Four times the spread.
    """
    monkeypatch.setattr("opusim.bench.geometry._PICTURE_SIDE", 128)
    device = wide(0.5, **{"camera.shape": (3, 110)})
    geometry = Projector(device, 0, LAYOUT, Region(Roi(0, 0, 3, 110), 330, 110)).geometry
    assert geometry.block.bands > 1 and geometry.grid.side < 330
    frames = [OpticalBench(device, seed).expose(patterns(3, seed), exposure_s=EXPOSURE_S) for seed in range(24)]
    for found in neighbours(np.concatenate(frames)):
        assert found == pytest.approx(KNOWN[0.5], abs=0.06)


# --------------------------------------------------------------------------------------------- planes of every medium


@pytest.mark.parametrize("formatted", [True, False])
@pytest.mark.parametrize("kind", ["phase_screens", "gaussian", "measured"])
def test_inspect_shows_the_planes_of_every_medium(kind, formatted, tmp_path):
    """Photons are the power of the field behind the medium, and counts those of the next exposure.

    A measured matrix knows the features it was measured with, and refuses bare mirrors, which are more.
    """
    media = {"phase_screens": PhaseScreenMedium, "gaussian": GaussianMedium}
    if kind == "measured":
        with h5py.File(tmp_path / "tm.h5", "w") as file:
            file["tm"] = GaussianMedium().entries(range(64), range(96), seed=9).T
    medium = MeasuredMedium(str(tmp_path / "tm.h5")) if kind == "measured" else media[kind]()
    bench = OpticalBench(IDEAL.evolve(medium=medium), 3)
    bits = np.random.default_rng(0).integers(0, 2, size=(1, *MIRRORS), dtype=np.uint8)
    shown = patterns(1) if formatted else bits
    if kind == "measured" and not formatted:
        with pytest.raises(ValueError, match="bare mirrors.*known for 64 inputs"):
            bench.inspect(shown, exposure_s=EXPOSURE_S, roi=(2, 3, 8, 12))
        return
    planes = bench.inspect(shown, exposure_s=EXPOSURE_S, roi=(2, 3, 8, 12))
    expected = np.square(np.abs(planes.medium_field[..., 0])) * bench.photons_per_intensity(EXPOSURE_S)
    assert planes.photons == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(planes.counts, bench.expose(shown, exposure_s=EXPOSURE_S, roi=(2, 3, 8, 12))[0])
    assert planes.mirrors.shape == MIRRORS and np.array_equal(planes.weights, [1.0])


@pytest.mark.parametrize("size", [1e-10, 5e-324, 9.99e-4])
def test_a_pixel_that_would_become_a_point_is_refused(size):
    """Neighbours of 1e-10 grains have one light, those of 0 are independent by what 0 means."""
    with pytest.raises(ValueError, match="camera.pixel_over_grain is .*, but it must be 0, for .* or at least 0.001"):
        wide(size)


def test_the_smallest_pixels_have_one_light():
    """A thousandth of a grain: neighbours are the same to (pi / 1000)^2 / 2 of the mean square, by the integral."""
    assert theory.neighbour_correlation(1e-3) == pytest.approx(1, abs=1e-5)
    bench = OpticalBench(wide(1e-3))
    frames = bench.expose(patterns(4), exposure_s=EXPOSURE_S, roi=(0, 0, 32, 32)).astype(np.float64)
    assert np.mean(np.diff(frames, axis=-1) ** 2) < 2e-5 * np.mean(frames**2) and frames.min() > 0
