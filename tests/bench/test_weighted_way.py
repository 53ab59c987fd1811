"""The way by matrix of features with complex weights: phases to counts, whatever the batch, the thread, the library."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from opusim.base import arrays
from opusim.bench.bench import OpticalBench
from opusim.bench.by_weights import WeightedMatrixWay
from opusim.bench.frames import Moments
from opusim.bench.plan import SUM_FLOPS, WEIGHT_FLOPS
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.device.medium import GaussianMedium
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import PhasePatterns

SHAPE, N, ROI, N_PIXELS = (60, 76), 300, (3, 5, 40, 30), 1111
REGION = Region(Roi(*ROI), N_PIXELS, 90)
LAYOUT = MirrorLayout.lined(SHAPE, N)
SLM = PhaseSlm(name="small", shape=SHAPE, pitch_m=8e-6, unmodulated=0.05, aberration_rms_rad=0.5)


def device(**camera) -> Device:
    aurora = Device.load("aurora").remagnified()
    operation = replace(aurora.operation, ones_range=(100, 2000))
    return aurora.evolve(dmd=SLM, camera=replace(aurora.camera, shape=(64, 90), **camera), operation=operation)


def levels(n: int, n_features: int = N) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, n_features)).astype(np.uint8)


def counts(bench: OpticalBench, shown: np.ndarray, **options) -> np.ndarray:
    settings = {"exposure_s": 4e-4, "roi": ROI, "n_pixels": N_PIXELS, "frametime_s": 0.02, **options}
    return np.asarray(bench.transform(PhasePatterns(shown, LAYOUT), **settings))


def projector_of(like: Device, threads: int = 1, execution: str = "matrix", **options):
    return Projector(like, 4, LAYOUT, REGION, execution=execution, threads=threads, **options)


def way_of(like: Device, threads: int = 1, execution: str = "matrix", **options):
    return projector_of(like, threads, execution, **options).way


@pytest.mark.parametrize("phases", [None, np.arange(4) * np.pi / 2], ids=["alone", "with the reference"])
@pytest.mark.parametrize("over_grain", [None, 0.7], ids=["points", "areas"])
def test_counts_are_the_same_for_any_batch_and_thread(phases, over_grain, monkeypatch):
    model = device(**({} if over_grain is None else {"pixel_over_grain": over_grain}))
    shown, asked = levels(40), {"reference_phase_rad": phases}
    whole = counts(OpticalBench(model, 4, execution="matrix", threads=1), shown, **asked)
    assert whole.std() > 1
    other = OpticalBench(model, 4, execution="matrix", threads=3)
    parts = np.concatenate([counts(other, shown[a:b], **asked) for a, b in ((0, 1), (1, 4), (4, 11), (11, 40))])
    assert np.array_equal(parts, whole)
    # As where more vectors are shown than go to the kernel together.
    monkeypatch.setattr("opusim.bench.by_weights._VECTORS", 9)
    assert np.array_equal(counts(OpticalBench(model, 4, execution="matrix", threads=2), shown, **asked), whole)


def test_both_ways_are_one_device():
    shown = levels(20)
    by_matrix, by_waves = (way_of(device(), execution=execution).fields(shown) for execution in ("matrix", "waves"))
    scale = np.sqrt(np.mean(np.abs(by_waves) ** 2))
    assert np.abs(by_matrix - by_waves).max() < 1e-4 * scale
    found = [counts(OpticalBench(device(), 4, execution=execution), shown) for execution in ("matrix", "waves")]
    difference = np.abs(found[0].astype(int) - found[1])
    assert difference.max() <= 1 and np.mean(difference > 0) < 0.01


def test_fields_are_those_of_the_counts():
    # Without noise, and not rounded, counts are the intensity times one number, and an offset.
    quiet = {"shot_noise": False, "quantise": False, "full_well_e": np.inf}
    quiet |= {name: 0.0 for name in ("read_noise_e", "prnu", "dsnu_e", "dark_current_e_per_s", "hot_pixel_fraction")}
    quiet |= {name: 0.0 for name in ("dsnu_row_e", "dsnu_column_e", "prnu_row", "prnu_column", "nonlinearity")}
    quiet |= {name: 0.0 for name in ("dark_current_spread_e_per_s", "telegraph_fraction")}
    model = device(**quiet).evolve(**{"laser.power_noise": 0.0, "laser.power_drift_per_hour": 0.0})
    shown = levels(12)
    found = counts(OpticalBench(model, 4, execution="matrix"), shown).ravel().astype(float)
    light = np.sum(np.abs(way_of(model).fields(shown)) ** 2, axis=-1).ravel()
    fitted = np.polyfit(light, found, 1)
    assert np.abs(np.polyval(fitted, light) - found).max() < 1e-5 * found.mean()


def test_a_matrix_that_is_not_kept_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr("opusim.bench.by_matrix._TILE_BYTES", 16 * (N + 1) * 100)
    medium = GaussianMedium(transmission=7.95e-11)
    kept = way_of(device().evolve(medium=medium))
    tiles = way_of(device().evolve(medium=medium), memory_budget=1 << 20)
    assert kept.stored and not tiles.stored
    assert np.array_equal(kept.fields(levels(30)), tiles.fields(levels(30)))
    found = [
        counts(OpticalBench(device().evolve(medium=medium), 4, memory_budget=budget), levels(30))
        for budget in (None, 1 << 20)
    ]
    assert np.array_equal(*found)


@pytest.mark.parametrize("n", [1, 40])
def test_weights_may_follow_the_moment(n, monkeypatch):
    projector, shown = projector_of(device()), levels(n)
    way, source = projector.way, projector.geometry.source
    turned = np.exp(0.1j * np.arange(100)).astype(np.complex64)

    def coefficients(bits, moments=None):
        return SLM.phasors()[bits] * turned[moments.frames, None]

    still = way.fields(shown)
    monkeypatch.setattr(source, "coefficients", coefficients)
    moments = Moments(np.arange(n) + 7, np.zeros(n), 4e-4)
    constant = way.matrix(0)[1].view(np.complex64).reshape(still.shape[1:])
    found = way.fields(shown, 0, moments) - constant
    expected = (still - constant) * turned[7 : 7 + n, None, None]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    monkeypatch.setattr("opusim.bench.by_weights._PACKED", 1)
    monkeypatch.setattr("opusim.bench.by_weights._VECTORS", 9)
    assert np.array_equal(way.fields(shown, 0, moments) - constant, found)


def test_single_patterns_are_those_of_a_transform():
    bench, other, shown = OpticalBench(device(), 4), OpticalBench(device(), 4), levels(5)
    asked = {"exposure_s": 4e-4, "roi": ROI, "n_pixels": N_PIXELS, "frametime_s": 0.02}
    loop = bench.singles(LAYOUT, **asked)
    assert loop is not None
    found = np.concatenate([loop.counts(shown[i : i + 1]) for i in range(5)])
    assert np.array_equal(found, counts(other, shown)) and bench.clock == other.clock


@pytest.mark.parametrize("n", [1, 100, 1500])
def test_no_more_memory_is_taken_than_is_declared(n):
    way = way_of(device(), threads=1)
    shown = levels(n)
    bench = OpticalBench(device(), 4, execution="matrix", threads=1)
    counts(bench, shown[:1])
    tracemalloc.start()
    found = counts(bench, shown)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Circumstances of frames and maps of pixels are small, and not the way's.
    assert peak < found.nbytes + way.showing_bytes(n, 1) + 1000 * n + (1 << 19)


def test_the_planner_knows_what_weights_take():
    plan = Projector(device(), 4, LAYOUT, REGION, execution="matrix").plan
    assert plan.vector_flops == 8 * N * N_PIXELS * plan.samples
    assert plan.matrix_vector_s == pytest.approx(plan.vector_flops / WEIGHT_FLOPS)
    # Four multiply-adds where mirrors take one addition, at about the rate of those.
    assert WEIGHT_FLOPS < SUM_FLOPS


@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_counts_of_torch_are_numpys(execution):
    pytest.importorskip("torch", reason="torch is not installed")
    shown = levels(12)
    expected = counts(OpticalBench(device(), 4, execution=execution), shown)
    found = counts(OpticalBench(device(), 4, execution=execution, backend="torch:cpu"), shown)
    # One in 10^4 at the edge of rounding, of few pixels three sigma more: as of mirrors.
    difference, mean = np.abs(found.astype(int) - expected), 1e-4 * expected.size
    assert difference.max() <= 1 and np.sum(difference > 0) <= mean + 3 * np.sqrt(mean)


def test_fields_of_torch_are_numpys_to_single_precision():
    pytest.importorskip("torch", reason="torch is not installed")
    library = arrays.choose("torch:cpu", None)
    way, shown = way_of(device(), arrays=library), levels(12)
    assert isinstance(way, WeightedMatrixWay)
    expected, found = way_of(device()).fields(shown), library.to_host(way.fields(shown))
    assert np.sqrt(np.mean(np.abs(found - expected) ** 2)) < 2e-6 * np.sqrt(np.mean(np.abs(expected) ** 2))
