"""A stop behind the mirrors, and the holograms that it makes fields of."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.special import j1

from opusim.base.arrays import choose
from opusim.bench.bench import OpticalBench
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.bench.sources import MirrorSource
from opusim.device.dmd import Dmd
from opusim.device.fourier_stop import FourierStop, Relay
from opusim.device.medium.gaussian import GaussianMedium
from opusim.device.medium.measured import MeasuredMedium
from opusim.device.record import Device
from opusim.noise.levels import error_budget
from opusim.patterns import lee, lee_stop, superpixel, superpixel_stop
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

IDEAL = Device.load("aurora@2").ideal()
LATTICES, SHAPES = ("square", "diamond"), ("round", "square")


def mirrors(shape: tuple[int, int] = (24, 30), lattice: str = "square") -> Dmd:
    return Dmd(name="x", shape=shape, pitch_m=1e-5, lattice=lattice)


def behind(patterns: np.ndarray, dmd: Dmd, **stop) -> np.ndarray:
    """Fields of the mirrors behind a stop, (n, rows, columns)."""
    relay = Relay(FourierStop(**stop), dmd)
    return MirrorSource(None, dmd, 0, on_grid=False, relay=relay).cells(patterns)


def small(lattice: str = "square", shape: tuple[int, int] = (24, 32), **changes) -> Device:
    sizes = {
        "dmd.shape": shape, "dmd.lattice": lattice, "camera.shape": (32, 48),
        "operation.ones_range": (0, math.prod(shape)),
    }  # fmt: skip
    return IDEAL.evolve(**sizes, **changes)


def stopped(pattern: np.ndarray, centre: tuple[float, float], diameter: float) -> np.ndarray:
    """Field behind a round stop by numpy's FFT, on four times the array in each direction."""
    rows, columns = pattern.shape
    y, x = np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2
    turned = pattern * np.exp(-2j * np.pi * (centre[0] * y[:, None] + centre[1] * x[None, :]))
    shape = (4 * rows, 4 * columns)
    inside = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]) <= diameter / 2
    return np.fft.ifft2(np.fft.fft2(turned, shape) * inside)[:rows, :columns]


def fidelity(field: np.ndarray, wanted: np.ndarray) -> float:
    """|<E, E0>|^2 / (|E|^2 |E0|^2): what no factor of all of the field changes."""
    return float(abs(np.vdot(field, wanted)) ** 2 / (np.vdot(field, field).real * np.vdot(wanted, wanted).real))


def correlation(field: np.ndarray, other: np.ndarray) -> complex:
    return complex(np.vdot(other, field) / (np.linalg.norm(field) * np.linalg.norm(other)))


# ---------------------------------------------------------------- the image of the mirrors


def image_of_a_point(shape: str, d: float, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Transform of the stop (Goodman, Introduction to Fourier Optics, 3rd ed., eqs. 4-31 and 4-33), of area d^2."""
    if shape == "square":
        return d * d * np.sinc(d * u) * np.sinc(d * v)
    r = np.maximum(np.hypot(u, v), 1e-9)
    return d * j1(np.pi * d * r) / (2 * r)


def away(dmd: Dmd) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places of mirrors, and how far each lies from each other along both edges of the mirrors, in pitches."""
    y, x = (axis.ravel() / dmd.pitch_m for axis in dmd.places_m())
    dy, dx = y[:, None] - y, x[:, None] - x
    if dmd.lattice == "diamond":
        dy, dx = (dy + dx) / math.sqrt(2), (dy - dx) / math.sqrt(2)
    return y, x, dy, dx


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_mirror_has_the_image_of_the_stop(lattice, shape):
    """The field is the sum of the images of all mirrors, those at the far edge included: nothing comes round.

    A sum in double precision over all pairs of mirrors; single precision leaves 2e-7.
    """
    dmd, centre, d = mirrors(lattice=lattice), (0.21, -0.07), 0.3
    patterns = np.random.default_rng(0).integers(0, 2, (3, *dmd.shape), dtype=np.uint8)
    patterns[2] = 0
    patterns[2, 0, 0] = 1
    y, x, u, v = away(dmd)
    lit = patterns.reshape(3, -1) * np.exp(-2j * np.pi * (centre[0] * y + centre[1] * x))
    expected = (lit @ image_of_a_point(shape, d, u, v).T).reshape(patterns.shape)
    found = behind(patterns, dmd, diameter_cycles=d, centre_cycles=centre, shape=shape, envelope=False)
    for one, other in zip(found, expected, strict=True):
        assert np.linalg.norm(one - other) < 2e-6 * np.linalg.norm(other)


@pytest.mark.parametrize("lattice", LATTICES)
def test_the_envelope_is_that_of_a_mirrors_square_cell(lattice):
    """A mirror that shines over its cell: the integral over it of the image of a point, by Gauss's rule of 8 x 8.

    The transform of a square cell is sinc along both edges (Goodman, section 4.4.1). It is taken at the points of a
    grid of twice the array, where the stop's edge is not sharp: 1e-3 of the norm.
    """
    dmd, centre, d = mirrors(lattice=lattice), (0.2, 0.15), 0.3
    patterns = np.random.default_rng(0).integers(0, 2, (2, *dmd.shape), dtype=np.uint8)
    y, x, u, v = away(dmd)
    lit = patterns.reshape(2, -1) * np.exp(-2j * np.pi * (centre[0] * y + centre[1] * x))
    along = centre if lattice == "square" else ((0.2 + 0.15) / math.sqrt(2), (0.2 - 0.15) / math.sqrt(2))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    image = 0
    for a, of_a in zip(nodes / 2, weights / 2, strict=True):
        for b, of_b in zip(nodes / 2, weights / 2, strict=True):
            turned = np.exp(-2j * np.pi * (along[0] * a + along[1] * b))
            image = image + of_a * of_b * turned * image_of_a_point("round", d, u - a, v - b)
    expected = (lit @ image.T).reshape(patterns.shape)
    found = behind(patterns, dmd, diameter_cycles=d, centre_cycles=centre)
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("lattice", LATTICES)
def test_light_is_lost_and_never_won(lattice):
    """A square stop of one cycle passes all orders of the lattice; a smaller one its area of white light.

    Mirrors at random have the variance 1/4, white, and a zero order that a stop off axis takes. Of 64 x 64 mirrors the
    energy scatters by 3 %, and the edges lose as much again.
    """
    dmd = mirrors((64, 64), lattice)
    patterns = np.random.default_rng(1).integers(0, 2, (8, *dmd.shape), dtype=np.uint8)
    whole = behind(patterns, dmd, diameter_cycles=1.0, centre_cycles=(0.1, 0.2), shape="square", envelope=False)
    np.testing.assert_allclose(np.abs(whole), patterns, atol=2e-6)
    d = 0.25
    passed = behind(patterns, dmd, diameter_cycles=d, centre_cycles=(0.25, 0.2), envelope=False)
    share = np.sum(np.abs(passed) ** 2) / patterns.size
    assert 0.88 * np.pi * d * d / 16 < share < 1.03 * np.pi * d * d / 16
    envelope = behind(patterns, dmd, diameter_cycles=d, centre_cycles=(0.25, 0.2))
    assert np.sum(np.abs(envelope) ** 2) < np.sum(np.abs(passed) ** 2)


# ---------------------------------------------------------------- Lee holograms


def windowed(field: np.ndarray) -> complex:
    """Mean of a field under Hann's window."""
    rows, columns = (np.hanning(n + 2)[1:-1] for n in field.shape)
    weights = rows[:, None] * columns[None, :]
    return complex((field * weights).sum() / weights.sum())


@pytest.mark.parametrize("period", [4, 6, 10, 16])
def test_the_first_order_has_one_over_pi_squared_of_the_light(period):
    """Lines that are half of a period: |sin(pi / 2) / pi|^2 of the light on the array, whatever the period.

    Without the envelope of a mirror, what each sends to further orders of the lattice is counted to the first:
    1 / (period sin(pi / period))^2, the sum over them. Means under a window that falls to 0 at the edges of the array,
    which leave .2 %.
    """
    dmd, carrier = mirrors((96, 160)), (0.0, 1 / period)
    shown = lee(np.ones(dmd.shape), carrier, dmd)[None]
    stop = {"diameter_cycles": 0.1, "centre_cycles": carrier}
    amplitude = abs(windowed(behind(shown, dmd, **stop)[0]))
    assert amplitude**2 == pytest.approx(1 / np.pi**2, rel=2e-3)
    counted = abs(windowed(behind(shown, dmd, **stop, envelope=False)[0]))
    assert counted**2 == pytest.approx(1 / (period * math.sin(math.pi / period)) ** 2, rel=2e-3)


@pytest.mark.parametrize("lattice", LATTICES)
def test_no_carrier_sends_more_than_that(lattice):
    """Also those that no whole number of mirrors fits: 1 / pi^2 is the most, and the envelope leaves half."""
    dmd = mirrors((64, 64), lattice)
    for carrier in [(0.0, 0.25), (0.1, 0.2), (0.17, 0.03), (0.3, 0.2), (0.12, -0.31)]:
        shown = lee(np.ones(dmd.shape), carrier, dmd)[None]
        found = behind(shown, dmd, diameter_cycles=0.1, centre_cycles=carrier)
        assert 0.5 / np.pi**2 < np.mean(np.abs(found) ** 2) < 1.02 / np.pi**2


@pytest.mark.parametrize("lattice", LATTICES)
def test_width_of_the_lines_is_the_amplitude_and_their_shift_the_phase(lattice):
    """A field of the modulus a and the phase p comes out as a exp(i p) / pi: lines of arcsin(a) / pi of a period.

    A carrier that whole mirrors do not fit rounds the lines evenly, so that .5 % of 1 / pi is what is left; the
    envelope of a mirror, sinc along both of its edges, is less by its closed form.
    """
    dmd, carrier = mirrors((96, 96), lattice), (0.0719, 0.1131)
    edges = carrier
    if lattice == "diamond":
        edges = (carrier[0] + carrier[1]) / math.sqrt(2), (carrier[0] - carrier[1]) / math.sqrt(2)
    for modulus, turn in [(1.0, 0.0), (0.8, 0.3), (0.5, 0.55), (0.2, 0.9)]:
        wanted = modulus * np.exp(2j * np.pi * turn)
        shown = lee(np.full(dmd.shape, wanted), carrier, dmd)[None]
        for envelope, factor in [(False, 1.0), (True, np.sinc(edges[0]) * np.sinc(edges[1]))]:
            found = behind(shown, dmd, diameter_cycles=0.08, centre_cycles=carrier, envelope=envelope)[0]
            assert abs(windowed(found) - factor * wanted / np.pi) < 5e-3 * modulus / np.pi
    assert not lee(np.zeros(dmd.shape), carrier, dmd).any()


def test_shift_of_the_grating_turns_the_speckle():
    """A quarter of a period turns the field at the camera by a quarter of a turn, and leaves it else: correlation 1.

    Edges of the array, where mirrors come and go, leave .99. Without a stop the mirrors that both gratings share are
    what is common: 1, 1/2, 0, 1/2 but for the scatter of 1 536 pixels, .03.
    """
    carrier, shape = (0.0, 0.125), (64, 128)
    turns = np.array([0.0, 0.25, 0.5, 0.75])
    shown = [lee(np.full(shape, np.exp(2j * np.pi * turn)), carrier) for turn in turns]
    plain = small(shape=shape)
    with_stop = plain.evolve(**lee_stop(carrier, 0.06))
    speckle = {}
    for device in (plain, with_stop):
        bench = OpticalBench(device, 3)
        speckle[device] = [bench.inspect(one, exposure_s=1e-3).medium_field.ravel() for one in shown]
    found = np.array([correlation(one, speckle[with_stop][0]) for one in speckle[with_stop]])
    assert np.all(np.abs(found) > 0.99)
    np.testing.assert_allclose(np.exp(1j * np.angle(found)), np.exp(2j * np.pi * turns), atol=0.03)
    before = np.array([abs(correlation(one, speckle[plain][0])) for one in speckle[plain]])
    np.testing.assert_allclose(before, [1, 0.5, 0, 0.5], atol=0.1)
    # And the camera has as much less light: |1 / pi|^2 of all mirrors for the half of them that is on, and the edges.
    light = [np.mean(np.abs(np.concatenate(fields)) ** 2) for fields in (speckle[with_stop], speckle[plain])]
    assert light[0] / light[1] == pytest.approx(2 / np.pi**2, rel=0.1)


def test_a_carrier_at_another_angle_makes_the_same_field():
    """The middle of the stop lies on the axis of what follows: two carriers, each with its stop, one speckle.

    Lines of 8 and 10 mirrors; rounding to whole mirrors and the edges leave 2 % of a smooth field.
    """
    shape = (64, 80)
    y, x = np.mgrid[:64, :80] / 80
    field = np.exp(-8 * ((y - 0.4) ** 2 + (x - 0.5) ** 2) + 2j * np.pi * y)
    speckle = []
    for carrier in [(0.0, 0.125), (0.0, 0.1)]:
        device = small(shape=shape, **{"fourier_stop.envelope": False}).evolve(**lee_stop(carrier, 0.05))
        shown = lee(field / np.abs(field).max(), carrier, device.dmd)
        speckle.append(OpticalBench(device, 3).inspect(shown, exposure_s=1e-3).medium_field.ravel())
    assert abs(correlation(*speckle)) > 0.98


# ---------------------------------------------------------------- superpixels


def beams(n: int) -> dict[str, np.ndarray]:
    """Smooth fields of modulus 1 at most: a vortex, two waves, and a wave of even modulus."""
    r = (np.arange(n) - (n - 1) / 2) / n
    y, x = r[:, None], r[None, :]
    fields = {
        "vortex": (x + 1j * y) * np.exp(-25 * (x**2 + y**2)),
        "two waves": 1 + 0.8 * np.exp(2j * np.pi * (2.5 * x + 5 * y)),
        "lens": np.exp(20j * (x**2 + y**2)),
    }
    return {name: field / np.abs(field).max() for name, field in fields.items()}


@pytest.mark.parametrize("name", list(beams(8)))
def test_fidelity_of_superpixels(name):
    """|<E, E0>|^2 / (|E|^2 |E0|^2) for superpixels of 4 x 4, of our light and of an independent FFT's: within .002.

    Behind the stop of one superpixel, 1/4 of a cycle, it is .85 or more: which mirrors of a superpixel are on shows
    within it too. At 8 x 8 mirrors a spot it is .98, as measured by Goorden, Bertolotti and Mosk, Optics Express 22,
    17999 (2014).
    """
    wanted = beams(128)[name]
    shown = superpixel(wanted, 4)
    for diameter, least in [(None, 0.85), (1 / 8, 0.98)]:
        stop = superpixel_stop(4, diameter)
        d, centre = stop["fourier_stop.diameter_cycles"], stop["fourier_stop.centre_cycles"]
        ours = behind(shown[None], mirrors(shown.shape), diameter_cycles=d, centre_cycles=centre, envelope=False)[0]
        found, independent = fidelity(ours, wanted), fidelity(stopped(shown, centre, d), wanted)
        assert found == pytest.approx(independent, abs=0.002)
        assert found > least
        # The level that the docstring states, less what passes beside the stop, and the phase.
        level = np.vdot(wanted, ours) / np.vdot(wanted, wanted) * 16 * math.sin(math.pi / 16)
        assert 0.9 < level.real < 1 and abs(level.imag) < 0.01


@pytest.mark.parametrize("size", [2, 3, 4])
def test_sums_of_superpixels_are_the_nearest_there_are(size):
    """Against all subsets of mirrors, one by one: no other one is nearer to the field that is wanted."""
    n = size * size
    draws = np.random.default_rng(5).normal(size=(2, 6, 6))
    blocks = draws[0] + 1j * draws[1]
    blocks /= np.abs(blocks).max()
    wanted = np.kron(blocks, np.ones((size, size)))
    shown = superpixel(wanted, size)
    side = 6 * size
    places = np.arange(side) - (side - 1) / 2
    turned = np.exp(-2j * np.pi * (places[:, None] / size + places[None, :] / n))
    sums = (shown * turned).reshape(6, size, 6, size).sum(axis=(1, 3))
    every = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    all_sums = every @ np.exp(-2j * np.pi * np.arange(n) / n)
    most = np.abs(all_sums).max()
    first = turned[::size, ::size]
    for i in range(6):
        for j in range(6):
            least = np.abs(all_sums * first[i, j] - most * blocks[i, j]).min()
            assert abs(sums[i, j] - most * blocks[i, j]) == pytest.approx(least, abs=1e-9)


# ---------------------------------------------------------------- one device, whatever the way


REGIONS = {"few": Roi(4, 8, 2, 6), "many": Roi(0, 0, 20, 30)}
BITS = np.random.default_rng(0).integers(0, 2, (5, 30), dtype=np.uint8)


def layout(lattice: str) -> MirrorLayout:
    return MirrorLayout.macro_2d((24, 32), (5, 6), roi_offset=(2, 1), roi_size=(20, 24))


def fields(device: Device, bits: np.ndarray, roi: Roi, own: MirrorLayout | None, execution: str = "auto", **how):
    region = Region(roi, roi.n_pixels, device.camera.shape[1])
    return Projector(device, 4, own, region, resolution=device.resolution, execution=execution, **how).way.fields(bits)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("size", list(REGIONS))
def test_both_ways_have_the_fields_of_bare_mirrors(lattice, size):
    """Within 1e-4 of their rms (docs/design.md), under either resolution, with leakage and mirrors that are stuck.

    With few pixels the matrix is made the other way through layer and stop.
    """
    changes = {"dmd.contrast_ratio": 500.0, "dmd.stuck_on_fraction": 0.02, "dmd.aberration_rms_rad": 0.5}
    device = small(
        lattice, **changes, **{"fourier_stop.centre_cycles": (0.1, 0.2), "fourier_stop.diameter_cycles": 0.3}
    )
    own, roi = layout(lattice), REGIONS[size]
    bare = fields(device, own.mirrors(BITS).reshape(5, -1), roi, None)
    for resolution in ("auto", "mirrors"):
        for execution in ("waves", "matrix"):
            found = fields(device.evolve(resolution=resolution), BITS, roi, own, execution)
            assert np.linalg.norm(found - bare) < 1e-4 * np.linalg.norm(bare)
    without = device.evolve(**{"fourier_stop.diameter_cycles": math.inf})
    other = fields(without, own.mirrors(BITS).reshape(5, -1), roi, None)
    assert np.linalg.norm(bare - other) > np.linalg.norm(bare)


def test_budgets_say_that_they_know_no_stop():
    """Closed forms with a stop are those without one, and say so; what is measured on a bench has it."""
    device = small(medium=GaussianMedium())
    stopped_device = device.evolve(**{"fourier_stop.diameter_cycles": 0.3})
    with pytest.warns(UserWarning, match="know nothing of the Fourier stop"):
        budget = error_budget(stopped_device, exposure_s=1e-3)
    without = error_budget(device, exposure_s=1e-3)
    assert budget.errors == without.errors
    assert not without.notes
    assert any("fourier_stop.diameter_cycles" in note for note in budget.notes)
    assert not any("fourier_stop" in note for note in dataclasses.replace(budget, measured=True).notes)


@pytest.mark.parametrize("lattice", LATTICES)
def test_entries_have_the_fields_of_bare_mirrors(lattice):
    """A medium of entries: the matrix of features against mirrors one by one, and their light by numpy."""
    device = small(lattice, medium=GaussianMedium()).evolve(
        **{"fourier_stop.diameter_cycles": 0.3, "fourier_stop.centre_cycles": (0.1, 0.2)}
    )
    own, roi = layout(lattice), REGIONS["few"]
    shown = own.mirrors(BITS)
    bare = fields(device, shown.reshape(5, -1), roi, None)
    found = fields(device, BITS, roi, own)
    assert np.linalg.norm(found - bare) < 1e-5 * np.linalg.norm(bare)
    pixels = np.concatenate([48 * row + np.arange(8, 14) for row in (4, 5)])
    entries = GaussianMedium().entries(range(768), range(32 * 48), seed=4)[:, pixels]
    light = behind(shown, device.dmd, diameter_cycles=0.3, centre_cycles=(0.1, 0.2)).reshape(5, -1)
    expected = light.astype(complex) @ entries
    assert np.linalg.norm(bare[:, :, 0] - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("lattice", LATTICES)
def test_same_bits_for_any_batch_and_thread(lattice):
    device = small(lattice, **lee_stop((0.1, 0.2)))
    roi, own = REGIONS["many"], layout(lattice)
    for given, pattern in ((own, BITS), (None, own.mirrors(BITS).reshape(5, -1))):
        for execution in ("waves", "matrix") if given else ("auto",):
            known = fields(device, pattern, roi, given, execution, threads=1)
            for threads in (2, 3):
                np.testing.assert_array_equal(fields(device, pattern, roi, given, execution, threads=threads), known)
            for part in (slice(0, 1), slice(1, 3), slice(3, 5)):
                np.testing.assert_array_equal(
                    fields(device, pattern[part], roi, given, execution, threads=2), known[part]
                )


def test_torch_has_the_same_light():
    pytest.importorskip("torch")
    for lattice in LATTICES:
        device = small(lattice, **lee_stop((0.1, 0.2)))
        own, roi = layout(lattice), REGIONS["many"]
        known = fields(device, BITS, roi, own, "waves")
        found = fields(device, BITS, roi, own, "waves", arrays=choose("torch:cpu")).numpy()
        assert np.linalg.norm(found - known) < 1e-5 * np.linalg.norm(known)


# ---------------------------------------------------------------- a device with a stop, and without


def test_without_a_stop_nothing_changes():
    """To the bit: where it is not, whatever the other fields say, and in what was stored before there was one."""
    device = small()
    other = device.evolve(**{"fourier_stop.centre_cycles": (0.1, 0.2), "fourier_stop.envelope": False})
    assert other.fingerprint() == device.fingerprint()
    patterns = MirrorPatterns(BITS, layout("square"))
    counts = [OpticalBench(one, 1).expose(patterns, exposure_s=4e-4) for one in (device, other)]
    np.testing.assert_array_equal(*counts)
    stored = device.to_dict()
    del stored["fourier_stop"]
    assert Device.from_stored(stored) == device
    # As release 0.2.0 told them (tests/releases/0.2.0/program.txt).
    assert Device.load("aurora@1").fingerprint().startswith("e400bf33db558b33")
    assert Device.load("aurora@2").fingerprint().startswith("3b2befe388768b5a")


def test_a_stop_is_part_of_a_device():
    device = small(**lee_stop((0.0, 0.25)))
    assert device.fingerprint() != small().fingerprint()
    assert Device.from_dict(device.to_dict()) == Device.from_toml(device.to_toml()) == device
    assert set(device.changes) > {"fourier_stop.diameter_cycles", "fourier_stop.centre_cycles"}
    assert device.ideal().fourier_stop == device.fourier_stop
    bench = OpticalBench(device, 1)
    assert bench.explain(MirrorPatterns(BITS, layout("square"))).why.endswith("each mirror is a mode.")


def test_what_goes_straight_on_passes_a_stop_around_the_axis():
    """The constant field of a plain device, by the light itself: it comes through, or next to none of it does."""
    for lattice in LATTICES:
        dmd = mirrors((64, 64), lattice)
        for shape in SHAPES:
            for centre, diameter in (((0.0, 0.1), 0.3), ((0.0, 0.25), 0.3), ((0.1, 0.1), 0.25), ((-0.2, 0.1), 0.3)):
                stop = FourierStop(diameter_cycles=diameter, centre_cycles=centre, shape=shape)
                light = behind(
                    np.ones((1, 64, 64), dtype=np.uint8),
                    dmd,
                    diameter_cycles=diameter,
                    centre_cycles=centre,
                    shape=shape,
                )
                share = np.vdot(light, light).real / light.size
                assert (share > 0.8) == stop.passes_axis(lattice) and (share > 0.8 or share < 0.1)
    assert FourierStop().passes_axis("square")


def refused(words: str, device: Device, **changes) -> None:
    with pytest.raises(ValueError, match=words):
        device.evolve(**changes)


def test_stops_that_make_no_sense_are_refused():
    device = small()
    narrow = r"fourier_stop\.diameter_cycles is 0\.04, but it must be at least 0\.04167: .* smaller than a mode"
    refused(narrow, device, **{"fourier_stop.diameter_cycles": 0.04})
    for wrong in (0.0, -0.1, math.nan):
        refused(r"fourier_stop\.diameter_cycles is", device, **{"fourier_stop.diameter_cycles": wrong})
    refused("at most 1, where the next order", device, **{"fourier_stop.diameter_cycles": 1.2})
    refused(r"fourier_stop\.centre_cycles is", device, **{"fourier_stop.centre_cycles": (0.0, 0.6)})
    refused(r"fourier_stop\.centre_cycles is", device, **{"fourier_stop.centre_cycles": (math.nan, 0.0)})
    refused(r"fourier_stop\.shape is 'oval'", device, **{"fourier_stop.shape": "oval"})
    beyond = {"fourier_stop.diameter_cycles": 0.2, "fourier_stop.centre_cycles": (0.45, 0.45)}
    assert device.evolve(**beyond).fourier_stop.present
    refused("along the edges of the mirrors", device, **beyond, **{"dmd.lattice": "diamond"})


def test_a_measured_matrix_has_no_stop():
    stop = FourierStop(0.2)
    with pytest.raises(ValueError, match=r"a medium of kind 'measured' is known for its own inputs"):
        small(medium=MeasuredMedium(path="tm.h5"), fourier_stop=stop)


# ------------------------------------------------------------------------------------------------ a phase modulator


def panel(resolution: str = "mirrors", **changes) -> Device:
    """A device without noise, with a phase modulator of 32 x 48 pixels, a fifth of whose light no level turns."""
    device = Device.from_toml(
        f'preset = "ideal"\nname = "panel"\nresolution = "{resolution}"\n'
        '[modulator]\nkind = "slm"\nname = "x"\nshape = [32, 48]\npitch_m = 9.2e-6\nunmodulated = 0.2\n'
        "[camera]\nshape = [48, 64]\nframe_rate_hz = 7707.0\n[operation]\nones_range = [1, 1000]\n"
    )
    return device.evolve(**changes)


def test_a_stop_takes_what_no_phase_turns():
    """A blazed grating sends what levels turn to its first order; the zero order is left behind.

    Turned by a quarter, the field behind the stop is turned by a quarter, as a whole. Without a stop the fifth that no
    level turns stays as it was. It lights the medium at another angle than the grating, so that both make speckle of
    their own, with .2 and .8 of the light: the correlation is .2 + .8 i. Tolerance: 3 / sqrt(1536) for as many grains
    of speckle, and less with the stop, where all that is left of it is what the edge of the array spreads.
    """
    turns = (np.arange(48) / 4)[None, :] + np.zeros((32, 1))
    roi = Roi(0, 0, 48, 64)
    pictures = np.stack([turns % 1, (turns + 0.25) % 1])
    found = {}
    for name, changes in (("without", {}), ("with", lee_stop((0.0, 0.25)))):
        device = panel(**changes)
        levels = device.modulator.levels_of(pictures).reshape(2, -1)
        first, turned = fields(device, levels, roi, None)
        found[name] = correlation(turned, first)
    assert found["with"] == pytest.approx(1j, abs=0.03)
    assert found["without"] == pytest.approx(0.2 + 0.8j, abs=0.08)


def test_both_ways_have_the_fields_of_pixels():
    layout_ = MirrorLayout.macro_2d((32, 48), (8, 12))
    levels = np.random.default_rng(3).integers(0, 256, (6, 96), dtype=np.uint8)
    device, roi = panel(**lee_stop((0.125, 0.25))), Roi(4, 4, 10, 12)
    bare = fields(device, layout_.pixels(levels).reshape(6, -1), roi, None)
    for execution in ("waves", "matrix"):
        other = fields(device, levels, roi, layout_, execution)
        assert np.abs(other - bare).max() < 1e-4 * np.sqrt(np.mean(np.abs(bare) ** 2))
