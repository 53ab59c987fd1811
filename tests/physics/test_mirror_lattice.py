"""Where mirrors stand: a square lattice, and the diamond one of a DLP4500."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.special import erf

from opusim import theory
from opusim.base.arrays import choose
from opusim.bench.bench import OpticalBench
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.bench.sources import MirrorSource
from opusim.cli.line import lengths
from opusim.device import lattice
from opusim.device.dmd import Dmd
from opusim.device.medium.gaussian import GaussianMedium
from opusim.device.medium.phase_screens import PhaseScreenMedium
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout

DLP4500 = Dmd(name="DLP4500", shape=(912, 1140), pitch_m=7.637e-6, lattice="diamond")
DIAMOND = lattice.DIAMOND
AURORA = Device.load("aurora@2")


def points(dmd: Dmd) -> np.ndarray:
    return np.stack([axis.ravel() for axis in dmd.places_m()], axis=1)


def small(**changes) -> Device:
    """A few mirrors of a diamond lattice in front of `aurora`'s layer, without imperfections but for those given."""
    sizes = {
        "dmd.shape": (24, 32), "dmd.lattice": DIAMOND, "camera.shape": (32, 48), "operation.ones_range": (0, 768)
    }  # fmt: skip
    return AURORA.ideal().evolve(**sizes, **changes)


# ---------------------------------------------------------------- places


def test_a_dlp4500_has_the_size_that_its_maker_states():
    """9.85 by 6.16 mm (diagonal of .45 inch): 912 x sqrt(2) pitches by 1140 / sqrt(2), of 7.637 um.

    Half of the last digit of each; the diagonal within 2 %, as inches are stated with two digits.
    """
    height, width = DLP4500.size_m
    assert height == pytest.approx(9.85e-3, abs=5e-6)
    assert width == pytest.approx(6.16e-3, abs=5e-6)
    assert 2 * DLP4500.half_diagonal_m == pytest.approx(0.45 * 25.4e-3, rel=0.02)
    y, x = DLP4500.places_m()
    assert y[1, 0] - y[0, 0] == pytest.approx(10.8e-6, abs=5e-10)
    assert x[0, 1] - x[0, 0] == pytest.approx(5.4e-6, abs=5e-10)
    # The outermost mirrors stand half a step within the size, but for the shift of every other line.
    assert np.ptp(x) == pytest.approx(width - 5.4e-6, abs=1e-9)
    assert np.ptp(y) == pytest.approx(height - 10.8e-6 + 5.4e-6, abs=1e-9)


@pytest.mark.parametrize("which", lattice.LATTICES)
@pytest.mark.parametrize("shape", [(20, 30), (21, 31), (912, 1140)])
def test_each_mirror_has_four_neighbours_at_one_pitch(which, shape):
    """By a search tree over the places: none nearer, four of them within the array; exact to rounding (1e-6).

    Cells of pitch^2 fill the array: number x pitch^2 = height x width.
    """
    dmd = Dmd(name="x", shape=shape, pitch_m=7.637e-6, lattice=which)
    at = points(dmd)
    distance, _ = cKDTree(at).query(at, k=6)
    assert distance[:, 1].min() == pytest.approx(dmd.pitch_m, rel=1e-6)
    height, width = dmd.size_m
    inside = (np.abs(at[:, 0]) < height / 2 - 2 * dmd.pitch_m) & (np.abs(at[:, 1]) < width / 2 - 2 * dmd.pitch_m)
    np.testing.assert_allclose(distance[inside, 1:5], dmd.pitch_m, rtol=1e-6)
    np.testing.assert_allclose(distance[inside, 5], dmd.pitch_m * math.sqrt(2), rtol=1e-6)
    assert dmd.area_m2 == pytest.approx(dmd.n_mirrors * dmd.pitch_m**2, rel=1e-12)
    assert dmd.area_m2 == pytest.approx(height * width, rel=1e-12)
    # The middle of what all of them fill is the origin.
    np.testing.assert_allclose(at.min(axis=0) + at.max(axis=0), 0, atol=1e-12)


def test_one_line_of_mirrors_stands_in_its_middle():
    np.testing.assert_allclose(
        Dmd(name="x", shape=(3, 1), pitch_m=1e-5, lattice=DIAMOND).places_m()[0].ravel() * 1e5,
        [-math.sqrt(2), 0, math.sqrt(2)],
    )


def test_a_diamond_lattice_is_a_square_one_that_is_turned():
    """Steps along the edges of mirrors are whole, each its own, and lie as the places do: a turn by 45 degrees."""
    for shape in ((7, 10), (6, 9), (912, 1140)):
        dmd = Dmd(name="x", shape=shape, pitch_m=1.0e-6, lattice=DIAMOND)
        u, v, box = lattice.along_edges(shape)
        assert u.min() == v.min() == 0 and box == (u.max() + 1, v.max() + 1)
        assert len(np.unique(u * box[1] + v)) == dmd.n_mirrors
        y, x = (axis / dmd.pitch_m for axis in dmd.places_m())
        np.testing.assert_allclose(u - u.mean(), ((y + x) - (y + x).mean()) / math.sqrt(2), atol=1e-6)
        np.testing.assert_allclose(v - v.mean(), ((y - x) - (y - x).mean()) / math.sqrt(2), atol=1e-6)


# ---------------------------------------------------------------- light


def test_beam_on_a_dlp4500():
    """A beam of 6 mm (1/e^2) on 9.85 x 6.16 mm: light in corners, edges and middle over the mean, in closed form.

    The mean of exp(-2 s^2 / w^2) over a length L is sqrt(pi / 2) w / L erf(L / (sqrt(2) w)). The mean square of the
    amplitude is 1, to single precision. 1 %: an outermost mirror stands up to 5.4 um within the corner, where the light
    falls by (4 r / w^2) 5.4 um, .4 % of itself along either axis.
    """
    radius = 6e-3
    dmd = Dmd(name="x", shape=(912, 1140), pitch_m=7.637e-6, lattice=DIAMOND, beam_radius_m=radius)
    light = np.square(dmd.amplitude(), dtype=np.float64)
    assert light.mean() == pytest.approx(1, rel=1e-6)
    height, width = 9.85e-3, 6.156e-3

    def mean(length: float) -> float:
        return math.sqrt(math.pi / 2) * radius / length * erf(length / (math.sqrt(2) * radius))

    def at(y: float, x: float) -> float:
        return math.exp(-2 * (y * y + x * x) / radius**2) / (mean(height) * mean(width))

    for corner in (light[0, 0], light[-1, 0], light[0, -1], light[-1, -1]):
        assert corner == pytest.approx(at(height / 2, width / 2), rel=0.01)
    assert light[456, 570] == pytest.approx(at(0, 0), rel=1e-3)
    assert light[0, 570] == pytest.approx(at(height / 2, 0), rel=0.01)
    assert light[456, 0] == pytest.approx(at(0, width / 2), rel=0.01)
    # On a square lattice, 6.96 x 8.71 mm, corners have .178 of the light of the middle in place of .154.
    square = np.square(Dmd(name="x", shape=(912, 1140), pitch_m=7.637e-6, beam_radius_m=radius).amplitude())
    assert light[0, 0] / square[0, 0] < 0.9


def test_wavefront_error_lies_on_the_places():
    """Zernike terms of the places are those of a fine square picture, read where the mirrors stand.

    Both are normalised over their own points: within 1 %, as 60 x 76 of them stand for the integral.
    """
    dmd = Dmd(name="x", shape=(60, 76), pitch_m=1e-5, lattice=DIAMOND, aberration_rms_rad=0.7)
    phase = dmd.phase_rad(5).astype(float)
    assert phase.std() == pytest.approx(0.7, rel=1e-4)
    y, x = dmd.places_m()
    height, width = dmd.size_m
    fine = Dmd(
        name="x", shape=(round(height / 1e-6), round(width / 1e-6)), pitch_m=1e-6, aberration_rms_rad=0.7
    )  # fmt: skip
    row = np.rint(y / 1e-6 + (fine.shape[0] - 1) / 2).astype(int)
    column = np.rint(x / 1e-6 + (fine.shape[1] - 1) / 2).astype(int)
    assert np.sqrt(np.mean(np.square(fine.phase_rad(5)[row, column] - phase))) < 0.02 * 0.7


# ---------------------------------------------------------------- the grid of modes


def test_mirrors_lie_on_the_grid_as_they_stand():
    """Bare mirrors, and those of a layout: one mirror on lights the point of the grid that is its place."""
    dmd = Dmd(name="x", shape=(8, 12), pitch_m=1e-5, lattice=DIAMOND)
    u, v, box = lattice.along_edges(dmd.shape)
    for layout in (None, MirrorLayout.plain(dmd.shape), MirrorLayout.lined(dmd.shape, 96)):
        cells = MirrorSource(layout, dmd, 0).cells(np.eye(96, dtype=np.uint8))
        assert cells.shape == (96, *box)
        lit = np.argwhere(cells)
        np.testing.assert_array_equal(lit, np.stack([np.arange(96), u.ravel(), v.ravel()], axis=1))


LEAKING = {"dmd.contrast_ratio": 500.0, "dmd.stuck_on_fraction": 0.02, "dmd.stuck_off_fraction": 0.02}
LAYOUT = MirrorLayout.macro_2d((24, 32), (5, 6), roi_offset=(2, 1), roi_size=(20, 24))
BITS = np.random.default_rng(0).integers(0, 2, (6, 30), dtype=np.uint8)


@pytest.mark.parametrize("n_pixels", [12, 600])
def test_both_ways_and_torch_have_the_fields_of_bare_mirrors(n_pixels):
    """Within 1e-4 of their rms (docs/design.md), with leakage, stuck mirrors and mirrors outside the region.

    12 outputs of 30 features are made from the camera's side, 600 from the mirrors'.
    """
    pytest.importorskip("torch")
    device = small(**LEAKING)
    roi = Roi(3, 5, 20, 30)
    region = Region(roi, n_pixels, 30)
    bare = Projector(device, 3, None, region, resolution="mirrors")
    wanted = bare.way.fields(LAYOUT.mirrors(BITS).reshape(6, -1))
    rms = np.sqrt(np.mean(np.abs(wanted) ** 2))
    for how in ({"execution": "matrix"}, {"execution": "waves"}, {"execution": "waves", "arrays": choose("torch:cpu")}):
        found = Projector(device, 3, LAYOUT, region, resolution="mirrors", **how).way.fields(BITS)
        assert np.abs(np.asarray(found) - wanted).max() < 1e-4 * rms


def test_the_mean_with_gradients_has_the_fields_of_the_bench():
    """Its layer in torch is fed by the same cells: 1e-4 of the largest field, as on a square lattice."""
    torch = pytest.importorskip("torch")
    from opusim.differentiable import ExpectedOutput

    device = small(**LEAKING).evolve(resolution="mirrors")
    for learn in ([], ["dmd.contrast_ratio"]):
        model = ExpectedOutput(device, (5, 6), 100, seed=3, execution="waves", learn=learn)
        projector = Projector(
            device, 3, model.layout, Region(model.roi, 100, 60), resolution="mirrors", execution="waves"
        )
        wanted, reader = projector.way.fields(BITS), model._learnt.reader(model._learnt.values())
        with torch.no_grad():
            found = torch.view_as_complex(model.field(torch.from_numpy(BITS).float(), reader)).numpy()
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_a_medium_of_entries_has_mirrors_in_raster_order():
    """Nothing lies on a grid there: the lattice changes no entry, and without a beam no field."""
    fields = []
    for which in lattice.LATTICES:
        device = small().evolve(**{"medium": GaussianMedium(), "dmd.lattice": which})
        region = Region(Roi.whole(device.camera.shape), 100, 48)
        fields.append(Projector(device, 3, LAYOUT, region, resolution="mirrors").way.fields(BITS))
    np.testing.assert_array_equal(*fields)


def test_inspecting_shows_mirrors_by_their_indices():
    device = small(**LEAKING)
    mirrors = np.random.default_rng(2).integers(0, 2, device.dmd.shape, dtype=np.uint8)
    planes = OpticalBench(device, 3).inspect(mirrors)
    np.testing.assert_array_equal(planes.mirrors, mirrors)
    np.testing.assert_array_equal(planes.dmd_field, device.dmd.field(mirrors, seed=3))


def field_of(device: Device, row: int, column: int) -> np.ndarray:
    """Field on the sensor of one mirror."""
    mirrors = np.zeros(device.dmd.shape, dtype=np.uint8)
    mirrors[row, column] = 1
    return OpticalBench(device, 7).inspect(mirrors).medium_field[:, :, 0].astype(np.complex128)


def test_mirrors_are_as_alike_as_their_distance_says():
    """The memory effect: (qL / sinh qL)^2 with q = 2 pi / wavelength x distance / f1.

    Next in the line (sqrt(2) pitches), next line (one pitch), the line after (sqrt(2) pitches), against the L that a
    square lattice of the same pitch shows at sqrt(2) pitches (along the diagonal) and one. .05 is the statistics of
    some 9 000 pixels (five sigma near one, as in `test_geometry`).
    """
    medium = PhaseScreenMedium(n_screens=5, thickness_m=100e-6, transmission=8e-11)
    device = AURORA.ideal().evolve(
        medium=medium,
        **{
            "dmd.shape": (10, 12), "dmd.pitch_m": 7.637e-6, "camera.shape": (96, 96), "operation.ones_range": (0, 120),
            "resolution": "mirrors", "optics.illumination_focal_m": 7.637e-6 / 2.2e-3, "dmd.contrast_ratio": math.inf,
        },
    )  # fmt: skip

    def alike(which: str, step: tuple[int, int], shift: tuple[int, int]) -> float:
        """Squared coherence of two mirrors, the one's speckle moved by a number of pixels, either way."""
        chosen, found = device.evolve(**{"dmd.lattice": which}), []
        for row, column in ((3, 2), (4, 6)):
            one, two = field_of(chosen, row, column), field_of(chosen, row + step[0], column + step[1])
            values = []
            for sign in (1, -1):
                a = np.roll(one, (sign * shift[0], sign * shift[1]), (0, 1))[2:-2, 2:-2]
                b = two[2:-2, 2:-2]
                values.append(abs(np.vdot(a, b)) ** 2 / (np.vdot(a, a).real * np.vdot(b, b).real))
            found.append(max(values))
        return float(np.mean(found))

    near, far = alike("square", (0, 1), (0, 1)), alike("square", (1, 1), (1, 1))
    assert near - far > 0.2  # the two distances can be told apart
    assert alike(DIAMOND, (1, 0), (1, 1)) == pytest.approx(far, abs=0.05)
    assert alike(DIAMOND, (0, 1), (1, 0)) == pytest.approx(near, abs=0.05)
    assert alike(DIAMOND, (0, 2), (1, -1)) == pytest.approx(far, abs=0.05)
    # And by the law, for the range of L that five screens have (docs/physics.md, section 3).
    for distance, found in ((1.0, near), (math.sqrt(2), far)):
        q = np.array([2 * math.pi / device.laser.wavelength_m * 2.2e-3 * distance])
        low, high = (theory.memory_effect(q, share * 100e-6)[0] for share in (0.57, 0.38))
        assert low - 0.05 < found < high + 0.05


# ---------------------------------------------------------------- lenses


def test_corners_of_a_diamond_lattice_light_the_layer_under_the_angle_of_their_places():
    """Half of the diagonal over f1, by hand: sqrt(9.85^2 + 6.156^2) / 2 = 5.808 mm, .484 of 12 mm; 5.57 mm are .46."""
    square = AURORA.evolve(**{"dmd.pitch_m": 7.637e-6, "dmd.lattice": "square"})
    diamond = square.evolve(**{"dmd.lattice": DIAMOND})
    told = {name: dict(lengths(device, 400e-6)) for name, device in (("square", square), ("diamond", diamond))}
    assert "0.636 mrad" in told["diamond"]["angle a mirror"] and "a sine of 0.48 " in told["diamond"]["angle a mirror"]
    assert "a sine of 0.46 " in told["square"]["angle a mirror"]
    assert "turned by 45 degrees" in told["diamond"]["spot on the layer"]
    assert "turned" not in told["square"]["spot on the layer"]
    for lattice_of_it, focal_m in (("square", 5.6e-3), (DIAMOND, 5.85e-3)):
        short = {"dmd.lattice": lattice_of_it, "optics.exit_diameter_m": 3e-3}
        square.evolve(**short, **{"optics.illumination_focal_m": focal_m})
        with pytest.raises(ValueError, match="must not be shorter than the half diagonal"):
            square.evolve(**short, **{"optics.illumination_focal_m": focal_m - 0.06e-3})
