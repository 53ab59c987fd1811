"""Lengths of the bench: grain, light of a pixel and angle of a mirror, against conservation of area times solid angle.

Lengths are held here (`Optics.held`). Closed forms of radiometry agree to rounding; what is statistical says its
tolerance. Seeds are fixed.
"""

from __future__ import annotations

import dataclasses
import math

import h5py
import numpy as np
import pytest

from opusim import Device, OpticalBench, theory
from opusim.bench.geometry import Geometry
from opusim.bench.region import Region, Roi
from opusim.device.medium import GaussianMedium, MeasuredMedium, ModeGrid, PhaseScreenMedium
from opusim.device.optics import Optics
from opusim.noise.levels import noise_terms
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = Device.load("aurora")
PLANCK, LIGHT = 6.62607015e-34, 299_792_458.0
EXPOSURE_S = 400e-6
STATED_SHARE = 5.5e-6**2 / (math.pi * 0.1**2)
# Benches that share nothing but the laws: f1, exit face, stop, f2, pixel (m), share that leaves the layer.
BENCHES = [
    (12e-3, 5e-3, math.inf, 0.1, 5.5e-6, 0.0826),
    (50e-3, 20e-3, 7e-3, 0.05, 3.45e-6, 0.2),
    (8e-3, 1e-3, 1e-3, 0.2, 24e-6, 0.01),
]


def bench_of(f1, exit_face, stop, f2, pixel, share) -> Device:
    lengths = {"illumination_focal_m": f1, "exit_diameter_m": exit_face, "stop_diameter_m": stop, "focal_m": f2}
    return AURORA.evolve(
        optics=Optics(held="lengths", **lengths),
        # The transmission is stated for a pixel of 5.5 um behind a lens of .1 m without a stop.
        **{"camera.pixel_pitch_m": pixel, "medium.transmission": share * STATED_SHARE},
    )  # fmt: skip


def photons_behind(device: Device) -> float:
    """Photons that leave the layer in one polarisation, of one average mirror that is on."""
    per_second = device.laser.power_w / (PLANCK * LIGHT / device.laser.wavelength_m)
    leaving = per_second * EXPOSURE_S * device.dmd.efficiency * device.medium.transmission / STATED_SHARE
    return leaving / device.dmd.n_mirrors


# ---------------------------------------------------------------- light


@pytest.mark.parametrize("lengths", BENCHES)
def test_a_grain_holds_the_radiance_of_one_mode(lengths):
    """Light on (wavelength f2 / D)^2 is radiance x wavelength^2 x pi / 4: one mode for any lengths (Goodman, 5.7).

    The radiance is that of a face that shines by Lambert's law, P / (pi area).
    """
    device = bench_of(*lengths)
    f1, exit_face, stop, f2, pixel, _ = lengths
    grain = device.laser.wavelength_m * f2 / min(stop, exit_face)
    radiance = photons_behind(device) / (math.pi * math.pi * exit_face**2 / 4)
    on_grain = device.photons_per_intensity(EXPOSURE_S) * (grain / pixel) ** 2
    assert on_grain == pytest.approx(radiance * device.laser.wavelength_m**2 * math.pi / 4, rel=1e-12)
    assert device.optics.grain_m(device.laser.wavelength_m) == pytest.approx(grain, rel=1e-12)


@pytest.mark.parametrize("lengths", BENCHES)
def test_the_whole_field_gets_what_passes_the_stop(lengths):
    """Irradiance over the disc of all angles, radius f2, is what leaves the layer, times the stop's share of its face.

    Ray by ray: light between the angles a and a + da of Lambert's law goes through rings f2 sin(a) wide, so irradiance
    is d(power)/d(area) there, and even. Two million rays in equal steps of the angle: midpoint rule, 1e-6.
    """
    device = bench_of(*lengths)
    _, exit_face, stop, f2, pixel, _ = lengths
    passing = min(1.0, (stop / exit_face) ** 2)
    on_sensor = device.photons_per_intensity(EXPOSURE_S) / pixel**2
    assert on_sensor * math.pi * f2**2 == pytest.approx(photons_behind(device) * passing, rel=1e-12)
    n = 2_000_000
    angle = (np.arange(n) + 0.5) * (math.pi / 2 / n)
    power = photons_behind(device) * passing * 2 * np.cos(angle) * np.sin(angle) * (math.pi / 2 / n)
    ring = math.pi * np.diff((f2 * np.sin(np.arange(n + 1) * (math.pi / 2 / n))) ** 2)
    some = np.array([10, n // 7, n // 2, n - n // 9])
    np.testing.assert_allclose(power[some] / ring[some], on_sensor, rtol=1e-6)
    assert power.sum() == pytest.approx(on_sensor * math.pi * f2**2, rel=1e-6)


def test_half_the_mirrors_give_nine_grey_levels_on_aurora():
    """6.4 grey levels above the black level of 2.6 (docs/physics.md, section 2): within .1 of a level."""
    light = AURORA.photons_per_intensity(EXPOSURE_S) * AURORA.dmd.n_mirrors / 2
    level = 2.6 + light * AURORA.camera.quantum_efficiency * AURORA.camera.gain_dn_per_e
    assert level == pytest.approx(9.0, abs=0.1)


@pytest.mark.parametrize("name", ["aurora", "ideal"])
@pytest.mark.parametrize("medium", [GaussianMedium(), MeasuredMedium("matrix.h5")], ids=["gaussian", "measured"])
def test_a_medium_of_ones_own_has_the_light_that_it_says(name, medium):
    """1e-10, the default of media, of the light from the mirrors on a pixel of the CMV2000, on either version.

    By hand: photons of a mirror, times efficiency and share; to rounding. Under lengths and the magnification alike.
    """
    now, first = Device.load(name).evolve(medium=medium), Device.load(f"{name}@1").evolve(medium=medium)
    per_mirror = now.laser.power_w * EXPOSURE_S * now.laser.wavelength_m / (PLANCK * LIGHT) / now.dmd.n_mirrors
    for device in (now, first):
        assert device.medium.transmission == 1e-10
        expected = per_mirror * device.dmd.efficiency * 1e-10
        assert device.photons_per_intensity(EXPOSURE_S) == pytest.approx(expected, rel=1e-12)
    assert now.optics.by_lengths and not first.optics.by_lengths


@pytest.mark.parametrize("name", ["aurora", "ideal"])
def test_a_measured_matrix_gives_the_same_mean_level_on_either_version(name, tmp_path):
    """Mean level of twelve frames of 256 pixels: 1e-10 / 8.37e-11 of 7 grey levels, some 8, above black.

    By the light that mirrors send on, and the .8 % that a bent response reads too high where there is little light.
    Otherwise the versions differ in their noise alone: 3072 counts whose noise is below 1.5 have a mean to .03, .1 is
    asked.
    """
    rng = np.random.default_rng(4)
    matrix = (rng.normal(size=(256, 200)) + 1j * rng.normal(size=(256, 200))).astype(np.complex64)
    with h5py.File(tmp_path / "matrix.h5", "w") as file:
        file["tm"] = matrix
    layout = MirrorLayout.lined(AURORA.dmd.shape, 200)
    bits = rng.integers(0, 2, (12, 200), dtype=np.uint8)
    shown = {"exposure_s": EXPOSURE_S, "roi": (0, 0, 16, 16), "n_pixels": 256}
    levels = []
    for spec in (name, f"{name}@1"):
        device = Device.load(spec).evolve(medium=MeasuredMedium(str(tmp_path / "matrix.h5")))
        frames = OpticalBench(device, 3).transform(MirrorPatterns(bits, layout), **shown)
        bend = 1 + 4 * device.camera.nonlinearity
        levels.append((frames.mean() - device.camera.black_level_dn) / device.dmd.efficiency / bend * 0.65)
    assert levels[0] == pytest.approx(levels[1], abs=0.1) and levels[0] > 5


def test_the_share_may_be_stated_for_another_pixel():
    """For twice the pitch, behind a stop that lets a quarter through, at .2 m: a fourth, then, of the light in all.

    Area x 4, stop / 4, focal length squared x 4: the stated pixel gets 1/4 of what leaves the layer, so that the same
    transmission means four times as much light there, and on any pixel of the device.
    """
    there = (2 * 5.5e-6) ** 2 / (math.pi * 0.2**2) / 4
    device = AURORA.evolve(**{"optics.stated_share": there, "medium.transmission": 1e-11})
    ratio = device.photons_per_intensity(1.0) / AURORA.photons_per_intensity(1.0)
    assert ratio == pytest.approx(4 * 1e-11 / AURORA.medium.transmission, rel=1e-12)
    assert device.optics.layer_transmittance(1e-11) == pytest.approx(1e-11 / there, rel=1e-12)


def snr(device: Device) -> float:
    """Signal over temporal noise at the mean level of half the mirrors on, by EMVA 1288."""
    camera = device.camera
    electrons = device.photons_per_intensity(EXPOSURE_S) * device.dmd.n_mirrors / 2 * camera.quantum_efficiency
    dark = camera.dark_current_e_per_s * EXPOSURE_S
    read = camera.read_noise_e**2 + camera.telegraph_fraction * camera.telegraph_e**2
    variance = electrons + dark + read + 1 / 12 / camera.gain_dn_per_e**2
    return electrons / math.sqrt(variance)


def with_camera(device: Device, name: str) -> Device:
    return device.evolve(camera=Device.from_dict({"preset": "aurora", "camera": {"preset": name}}).camera)


def test_another_camera_gets_the_light_that_falls_on_its_pixels():
    """CMV2000 (5.5 um) to IMX250 (3.45 um): signal to noise 8.13 and 8.0 where irradiance stays, 13.0 re-magnified.

    Within 1 % of these, which were found by hand from the sensors' data: 264 photons on the larger pixel, so that
    (3.45 / 5.5)^2 x 264 x .665 = 69 electrons are left, with 2.32 electrons of read noise and 12 bits of a full well.
    """
    assert snr(AURORA) == pytest.approx(8.13, rel=0.01)
    assert snr(with_camera(AURORA, "IMX250")) == pytest.approx(8.0, rel=0.01)
    assert snr(with_camera(AURORA.remagnified(), "IMX250")) == pytest.approx(13.0, rel=0.01)


def test_frames_are_those_of_the_same_light_re_magnified():
    """A Gaussian medium knows no angles: with lengths held or not, frames and noise of the same light are the same."""
    device = AURORA.evolve(
        medium=GaussianMedium(transmission=4e-10), **{"camera.pixel_pitch_m": 2.75e-6, "camera.shape": (32, 40)}
    )
    same = device.remagnified()
    assert same.medium.transmission == pytest.approx(4e-10 / 4, rel=1e-12)
    layout = MirrorLayout.lined(device.dmd.shape, 50)
    bits = np.random.default_rng(0).integers(0, 2, (4, 50), dtype=np.uint8)
    shown = {"exposure_s": 0.1, "roi": (0, 0, 32, 40), "n_pixels": 1000}
    frames = [OpticalBench(one, 3).transform(MirrorPatterns(bits, layout), **shown) for one in (device, same)]
    np.testing.assert_array_equal(*frames)
    assert frames[0].std() > 1
    terms = [noise_terms(one, 1000, EXPOSURE_S).variance_dn2() for one in (device, same)]
    assert terms[0] == pytest.approx(terms[1], rel=1e-12)
    # A quarter of the area of a pixel of aurora, a quarter of its light.
    ratio = device.photons_per_intensity(1.0) / AURORA.photons_per_intensity(1.0)
    assert ratio == pytest.approx(0.25 * 4e-10 / AURORA.medium.transmission, rel=1e-12)


# ---------------------------------------------------------------- grain


@pytest.mark.parametrize("over_grain", [0.5, 1.0])
def test_pixels_that_integrate_have_the_contrast_that_the_lengths_give(over_grain):
    """Contrast 1/sqrt(M) of pitch D / (wavelength f2) grains, .91 and .72: within .02 (docs/physics.md, section 5).

    12 frames of 48 x 48 pixels of a grain or two, behind three layers: one spreads the contrast by .01, these by .006.
    """
    exit_face = over_grain * AURORA.laser.wavelength_m * 0.1 / 5.5e-6
    device = AURORA.ideal().evolve(
        **{
            "optics.exit_diameter_m": exit_face, "optics.pixel_integration": True, "camera.shape": (48, 48),
            "operation.ones_range": (0, 1000),
        }
    )  # fmt: skip
    assert device.pixel_over_grain == pytest.approx(over_grain, rel=1e-12)
    bits = np.random.default_rng(1).integers(0, 2, (12, 200), dtype=np.uint8)
    layout = MirrorLayout.lined(device.dmd.shape, 200)
    shown = {"exposure_s": EXPOSURE_S, "roi": (0, 0, 48, 48), "n_pixels": 48 * 48}
    benches = [OpticalBench(device, seed) for seed in (5, 6, 7)]
    y = np.concatenate([b.transform(MirrorPatterns(bits, layout), **shown) for b in benches]).astype(np.float64)
    assert np.mean(y.std(axis=1) / y.mean(axis=1)) == pytest.approx(theory.speckle_contrast(over_grain), abs=0.02)


# ---------------------------------------------------------------- angle of a mirror, memory effect

THICKNESS_M = 100e-6
SIDES = (96, 180)


def alike(device: Device, first: int, second: int, tilt: int) -> float:
    """Squared coherence of the fields of two mirrors on the sensor, one shifted by `tilt` cells either way."""
    one, two = (lit(device, place) for place in (first, second))
    values = []
    for a, b in ((one[:, tilt:], two[:, : two.shape[1] - tilt]), (one[:, : one.shape[1] - tilt], two[:, tilt:])):
        power = np.vdot(a, a).real * np.vdot(b, b).real
        values.append(abs(np.vdot(a, b)) ** 2 / power)
    return max(values)


def lit(device: Device, place: int) -> np.ndarray:
    """Field on the sensor of one mirror of the row in the middle."""
    mirrors = np.zeros((1, *device.dmd.shape), dtype=np.uint8)
    mirrors[0, device.dmd.shape[0] // 2, place] = 1
    field = OpticalBench(device, 7).inspect(mirrors).medium_field
    return np.asarray(field).reshape(device.camera.shape).astype(np.complex128)


def layer_device(side: int, angle: float, thickness_m: float = THICKNESS_M) -> Device:
    """A small bench whose mirrors light a layer of five screens under `angle` a mirror, with a sensor of some side."""
    medium = PhaseScreenMedium(n_screens=5, thickness_m=thickness_m, transmission=8e-11)
    return AURORA.ideal().evolve(
        medium=medium,
        **{
            "dmd.shape": (10, 12), "camera.shape": (side, side), "operation.ones_range": (0, 120),
            "resolution": "mirrors", "optics.illumination_focal_m": AURORA.dmd.pitch_m / angle,
            "dmd.contrast_ratio": math.inf, "dmd.lattice": "square",
        },
    )  # fmt: skip


@pytest.mark.parametrize("angle", [1.5e-3, 4e-3])
def test_neighbouring_mirrors_are_as_alike_as_their_angle_says_whatever_the_sensor(angle):
    """(qL / sinh qL)^2 with q = 2 pi / wavelength x pitch / f1 and L = .4 to .55 of the layer's thickness.

    Feng, Kane, Lee and Stone, Phys. Rev. Lett. 61, 834 (1988); the range of L is that of five screens
    (docs/physics.md, section 3), widened by .02 for the statistics of some 9 000 pixels, whose correlation is that of
    a speckle or two (five sigma are .05 near one). Sensors of two sizes agree within .03.
    """
    q = 2 * math.pi / AURORA.laser.wavelength_m * angle
    low, high = (theory.memory_effect(np.array([q]), share * THICKNESS_M)[0] for share in (0.57, 0.38))
    found = {}
    for side in SIDES:
        device = layer_device(side, angle)
        assert device.optics.mirror_angle_rad(device.dmd.pitch_m) == pytest.approx(angle, rel=1e-12)
        found[side] = np.mean([alike(device, k, k + 1, 1) for k in (1, 4, 7)])
        assert low - 0.05 < found[side] < high + 0.05
    assert found[SIDES[0]] == pytest.approx(found[SIDES[1]], abs=0.03)


def test_with_the_magnification_held_the_angle_is_that_of_the_grid():
    """wavelength / (side x step): a larger sensor makes neighbours more alike, as version 1 of the presets has it.

    The same law with that angle, and the same range; what holding lengths does away with is the difference.
    """
    found = []
    for side in SIDES:
        device = layer_device(side, 1e-3, thickness_m=20e-6).remagnified()
        q = 2 * math.pi / (side * device.medium.step_m)
        low, high = (theory.memory_effect(np.array([q]), share * 20e-6)[0] for share in (0.57, 0.38))
        found.append(np.mean([alike(device, k, k + 1, 1) for k in (1, 4, 7)]))
        assert low - 0.05 < found[-1] < high + 0.05
    assert found[1] > found[0] + 0.2


def test_two_mirrors_apart_are_as_alike_as_twice_the_angle():
    """The memory effect goes by the angle: two steps of 2 mrad are one of 4 mrad, within the statistics (.05)."""
    apart = np.mean([alike(layer_device(128, 2e-3), k, k + 2, 2) for k in (1, 4, 7)])
    once = np.mean([alike(layer_device(128, 4e-3), k, k + 1, 1) for k in (1, 4, 7)])
    assert apart == pytest.approx(once, abs=0.05)


def test_macro_pixels_lie_as_far_apart_as_the_squares_of_their_mirrors():
    """ "auto": a feature of m mirrors is m^(1/2) angles from the next; the layer takes m as "mirrors" takes one."""
    device = AURORA.evolve(**{"camera.shape": (64, 64)})
    angle = 7.637e-6 / 12e-3
    region = Region(Roi.whole(device.camera.shape), 64 * 64, 64)
    layout = MirrorLayout.lined(device.dmd.shape, 400)
    macro = Geometry.of(device, 0, layout, region)
    each = Geometry.of(device, 0, layout, region, "mirrors")
    assert macro.grid.cell_angle_rad == pytest.approx(angle * math.sqrt(layout.mirrors_per_feature), rel=1e-9)
    assert each.grid.cell_angle_rad == pytest.approx(angle, rel=1e-12)
    assert Geometry.of(device.remagnified(), 0, layout, region).grid.cell_angle_rad == 0


def test_a_layer_on_a_grid_is_as_thick_as_its_angle_asks():
    """The true angle over that of the grid, wavelength / (side x step), times the thickness: both give one product."""
    medium = PhaseScreenMedium(thickness_m=1e-3)
    grid = ModeGrid(256, (4, 4), (64, 64), cell_angle_rad=2e-3)
    own = 532e-9 / (256 * medium.step_m)
    assert medium.depth_on(grid, 532e-9) * own == pytest.approx(2e-3, rel=1e-12)
    assert medium.depth_on(ModeGrid(256, (4, 4), (64, 64)), 532e-9) == 1.0
    assert grid.transposed().cell_angle_rad == grid.cell_angle_rad
    thick = PhaseScreenMedium(thickness_m=1e-3 * 2e-3 / own)
    how = {"wavelength_m": 532e-9, "seed": 0}
    np.testing.assert_allclose(
        medium.factors(grid, **how).transfer, thick.factors(ModeGrid(256, (4, 4), (64, 64)), **how).transfer, atol=1e-5
    )


# ---------------------------------------------------------------- the mean with gradients


def test_the_mean_with_gradients_has_the_light_and_the_angles_of_the_bench():
    """Its grey levels are the bench's noise-free ones to single precision (1e-4 of their mean)."""
    torch = pytest.importorskip("torch")
    from opusim.differentiable import ExpectedOutput

    device = AURORA.ideal().evolve(
        **{"camera.pixel_pitch_m": 11e-6, "camera.shape": (48, 64), "optics.stop_diameter_m": 4e-3}
    )
    layout = MirrorLayout.lined(device.dmd.shape, 30)
    bits = np.random.default_rng(2).integers(0, 2, (3, 30), dtype=np.uint8)
    shown = {"exposure_s": EXPOSURE_S, "roi": (8, 8, 20, 20), "n_pixels": 400}
    counts = OpticalBench(device, 1).transform(MirrorPatterns(bits, layout), **shown)
    model = ExpectedOutput(device, 30, 400, seed=1, layout=layout, roi=(8, 8, 20, 20), execution="waves")
    found = model(torch.tensor(bits)).detach().numpy()
    np.testing.assert_allclose(found, counts, atol=1e-4 * counts.mean())


def test_a_transmission_that_is_learnt_means_what_that_of_the_device_means():
    """Light goes as it does, to single precision (1e-5); no more can be learnt than comes to the layer."""
    torch = pytest.importorskip("torch")
    from opusim.differentiable import ExpectedOutput

    device = AURORA.ideal().evolve(**{"camera.pixel_pitch_m": 11e-6, "camera.shape": (32, 32)})
    path, share = "medium.transmission", device.medium.transmission
    model = ExpectedOutput(device, 30, 100, seed=1, learn=[path])
    x = torch.tensor(np.random.default_rng(2).integers(0, 2, (3, 30)))
    found = model(x).detach()
    fixed = ExpectedOutput(device, 30, 100, seed=1)(x)
    half = ExpectedOutput(device.evolve(**{path: share / 2}), 30, 100, seed=1)(x)
    torch.testing.assert_close(found, fixed, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(model(x, values={path: share / 2}).detach(), half, rtol=1e-5, atol=0.0)
    with torch.no_grad():
        for one in model.parameters():
            one.fill_(100.0)  # as far as it goes
    assert model.device().optics.layer_transmittance(float(model.values()[path])) == pytest.approx(1.0, rel=1e-6)
    full = device.evolve(**{path: device.optics.stated_share})
    with pytest.raises(ValueError, match="learn names 'medium.transmission', which is .*ends excluded"):
        ExpectedOutput(full, 30, 100, seed=1, learn=[path])


def test_slopes_of_the_thickness_are_those_of_the_layer_on_the_grid():
    """Central difference of the phase of the factors, 1e-3 of the largest: single precision over a small change."""
    grid = ModeGrid(64, (4, 4), (32, 32), cell_angle_rad=3e-3)
    how = {"wavelength_m": 532e-9, "seed": 0}
    medium, change = PhaseScreenMedium(thickness_m=50e-6), 1e-7
    slopes = medium.phase_slopes("thickness_m", grid, **how).transfer
    low, high = (PhaseScreenMedium(thickness_m=50e-6 + sign * change).factors(grid, **how).transfer for sign in (-1, 1))
    found = np.angle(high.astype(np.complex128) * np.conj(low)) / (2 * change)
    inside = np.abs(slopes) * 2 * change < 3  # of phases that have not gone round
    assert np.count_nonzero(inside) > 1000
    np.testing.assert_allclose(found[inside], slopes[inside], atol=1e-3 * np.abs(slopes[inside]).max())


# ---------------------------------------------------------------- light on the exit face


def lit_bench(focal_m: float, **changes) -> Device:
    """64 x 64 mirrors, 96 x 96 pixels that integrate over .28 of a grain: a stop of .09 of the grid."""
    return AURORA.ideal().evolve(
        **{
            "laser.wavelength_m": 633e-9, "dmd.shape": (64, 64), "dmd.pitch_m": 13.68e-6, "camera.shape": (96, 96),
            "camera.pixel_pitch_m": 6.5e-6, "optics.illumination_focal_m": focal_m, "optics.focal_m": 0.1,
            "optics.exit_diameter_m": 3.2e-3, "optics.stop_diameter_m": 2.7e-3, "optics.pixel_integration": True,
            "medium.step_m": 0.45e-6, "medium.correlation_length_m": 0.9e-6, "operation.ones_range": (0, 4096),
            **changes,
        }
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:laser.wavelength_m is")  # the efficiency is no part of it
@pytest.mark.parametrize("focal_m", [12e-3, 30e-3, 60e-3])
def test_bare_mirrors_light_every_part_of_the_sensor_as_expected(focal_m):
    """Mean light over `expected_level_dn`: 1 for any share of mirrors on, on the whole sensor and in its ninths.

    Half of the light with half of the mirrors on, and all with all of them, is the mean of the mirrors, which comes to
    a focus in the middle of the first screen; the stop is the middle of the last one. Fields are speckle: the mean over
    w pixels along a side has the variance 1 / M(w pixels) of light integrated over such a square (Goodman, Statistical
    Optics, section 6.1), and devices are independent. Five sigma for 60 numbers, and .01 for what two gaps leave
    (`PhaseScreenMedium.evening`).
    """
    device, n = lit_bench(focal_m), 4096
    seeds, shares = range(32), (0.02, 0.1, 0.5, 1.0)
    light = np.zeros((len(shares), 3, 3))
    for seed in seeds:
        bench, order = OpticalBench(device, seed), np.random.default_rng(seed).permutation(n)
        mirrors = np.zeros((len(shares), n), dtype=np.uint8)
        for row, share in zip(mirrors, shares, strict=True):
            row[order[: round(share * n)]] = 1
        frames = bench.expose(mirrors.reshape(-1, 64, 64), exposure_s=EXPOSURE_S).astype(np.float64)
        dark = bench.expected_level_dn(0, EXPOSURE_S)
        expected = np.array([bench.expected_level_dn(int(m.sum()), EXPOSURE_S) for m in mirrors]) - dark
        ninths = frames.reshape(-1, 3, 32, 3, 32).mean(axis=(2, 4)) - dark
        light += ninths / expected[:, None, None] / len(seeds)
    for found, pixels in (
        (light[:, 1, 1], 32),  # the centre
        (light[:, ::2, ::2].mean(axis=(1, 2)), 64),  # the corners: four times as much light as one of them
        ((light[:, ::2, 1].mean(axis=1) + light[:, 1, ::2].mean(axis=1)) / 2, 64),  # the edges
        (light.mean(axis=(1, 2)), 96),
    ):
        spread = 1 / math.sqrt(len(seeds) * theory.pixel_modes(pixels * device.pixel_over_grain))
        np.testing.assert_allclose(found, 1.0, atol=5 * spread + 0.01)


def test_a_layer_behind_a_stop_is_as_thick_as_even_light_asks():
    """Gap x rms sine is .4 of the period at least; screens of sigma and l_c have wavelength sigma / (sqrt 2 pi l_c).

    That sine is at most that of light which is even over the grid's angles, whose half width is wavelength / (2 step).
    Without a stop, without an angle of its own, and where the angles make it thick enough, the layer stays as it is.
    """
    wavelength_m, side = 633e-9, 300
    wide = PhaseScreenMedium(thickness_m=1e-3, step_m=0.45e-6, correlation_length_m=0.9e-6)
    weak = PhaseScreenMedium(thickness_m=1e-3, step_m=0.45e-6, correlation_length_m=3e-6)
    assert wide.scattered_sine(wavelength_m) == pytest.approx(wavelength_m / 0.9e-6 / math.sqrt(3), rel=1e-12)
    slope = weak.phase_std_rad * math.sqrt(2) / 3e-6  # the rms of the derivative of the phase along an axis
    assert weak.scattered_sine(wavelength_m) == pytest.approx(slope * wavelength_m / (2 * math.pi), rel=1e-12)
    for medium in (wide, weak):
        period, sine = side * medium.step_m, medium.scattered_sine(wavelength_m)
        for angle in (0.1e-3, 0.3e-3, 5e-3):
            gap = 0.5e-3 * angle * period / wavelength_m
            for aperture in (0.0, 0.1):
                grid = ModeGrid(side, (4, 4), (64, 64), aperture, cell_angle_rad=angle)
                asked = max(gap, 0.4 * period / sine) if aperture else gap
                assert medium.depth_on(grid, wavelength_m) * medium.gap_m == pytest.approx(asked, rel=1e-12)
        assert medium.depth_on(ModeGrid(side, (4, 4), (64, 64), 0.1), wavelength_m) == 1.0
        assert medium.evening(0.1e-3, wavelength_m) > 1 == medium.evening(20e-3, wavelength_m)
    for one in (
        PhaseScreenMedium(n_screens=1),
        PhaseScreenMedium(thickness_m=0.0),
        PhaseScreenMedium(phase_std_rad=0.0),
    ):
        assert one.evening(1e-4, wavelength_m) == 1.0


@pytest.mark.parametrize("name", ["phase_std_rad", "thickness_m"])
@pytest.mark.parametrize("phase_std_rad", [1.5, 3.0])
def test_slopes_of_a_layer_that_is_thickened_are_those_of_its_factors(name, phase_std_rad):
    """Central differences, as above: such a layer does not go by its thickness; its depth may go by the screens."""
    grid = ModeGrid(64, (4, 4), (32, 32), 0.3, cell_angle_rad=1e-4)
    how = {"wavelength_m": 532e-9, "seed": 0}
    base = PhaseScreenMedium(thickness_m=50e-6, phase_std_rad=phase_std_rad)
    change = {"phase_std_rad": 1e-3, "thickness_m": 1e-7}[name]
    slopes = base.phase_slopes(name, grid, **how).transfer
    low, high = (
        dataclasses.replace(base, **{name: getattr(base, name) + sign * change}).factors(grid, **how).transfer
        for sign in (-1, 1)
    )
    found = np.angle(high.astype(np.complex128) * np.conj(low)) / (2 * change)
    wanted = np.zeros_like(found) if slopes is None else slopes
    assert (np.abs(wanted).max() > 0) == (name == "phase_std_rad" and phase_std_rad == 1.5)
    inside = np.abs(wanted) * 2 * change < 3
    # Single precision: 1e-6 of a radian over twice the change.
    atol = max(1e-3 * np.abs(wanted).max(), 1e-6 / change)
    np.testing.assert_allclose(found[inside], wanted[inside], atol=atol)
