"""The bench: same seed, same bits; two ways, one device; the clock; every plane; bad input."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opusim.bench.bench import OpticalBench
from opusim.bench.by_waves import Layers
from opusim.bench.plan import FFT_FLOPS
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.device.medium import GaussianMedium, PhaseScreenMedium
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = Device.load("aurora")
AURORA_GAUSSIAN = GaussianMedium(transmission=AURORA.medium.transmission)
EXPOSURE_S = 400e-6
ROI = (540, 0, 1, 2040)

# A device small enough to simulate mirror by mirror in a test.
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000),
       "medium.transmission": AURORA.medium.transmission}
)  # fmt: skip


def lined(n_features: int, device: Device = AURORA) -> MirrorLayout:
    shape = device.dmd.shape
    return MirrorLayout(
        dmd_shape=shape, n_features=(n_features,), kind="lined", factor=shape[0] * shape[1] // n_features,
        roi_offset=(0, 0), roi_size=shape,
    )  # fmt: skip


def patterns(n: int, layout: MirrorLayout, seed: int = 0) -> MirrorPatterns:
    bits = np.random.default_rng(seed).integers(0, 2, size=(n, int(np.prod(layout.n_features))), dtype=np.uint8)
    return MirrorPatterns(bits, layout)


def run(n=64, *, batch=None, features=300, pixels=700, device=AURORA, roi=ROI, **kwargs) -> np.ndarray:
    bench = OpticalBench(device, kwargs.pop("seed", 1), **kwargs)
    p = patterns(n, lined(features, device))
    batch = batch or n
    parts = [
        bench.transform(p[i : i + batch], exposure_s=EXPOSURE_S, roi=roi, n_pixels=pixels) for i in range(0, n, batch)
    ]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def by_matrix():
    return run(execution="matrix")


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_same_counts_for_any_batch(by_matrix, batch):
    np.testing.assert_array_equal(run(batch=batch, execution="matrix"), by_matrix)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_same_counts_for_any_number_of_threads(threads, execution):
    np.testing.assert_array_equal(
        run(9, execution=execution, threads=threads, features=50, pixels=300),
        run(9, execution=execution, threads=2, batch=4, features=50, pixels=300),
    )


@pytest.mark.parametrize("n_features", [1, 3, 5, 64, 513])
def test_matrix_sums_equal_a_plain_product(n_features):
    """The kernel's sums against NumPy's, by tables and directly, noise off: float32 rounding only."""
    device = AURORA.ideal()
    layout = lined(n_features)
    for n in (2, 30):
        bench = OpticalBench(device, 0, execution="matrix")
        p = patterns(n, layout)
        counts = bench.transform(p, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=130)
        way = Projector(device, 0, layout, Region(Roi(*ROI), 130, 2040), execution="matrix").way
        matrix, constant = way.matrix()
        field = (p.bits.astype(np.float64) @ matrix.astype(np.float64) + constant).reshape(n, 130, 2)
        photons = np.sum(field**2, axis=2) * bench.photons_per_intensity(EXPOSURE_S)
        expected = device.camera.gain_dn_per_e * device.camera.quantum_efficiency * photons
        np.testing.assert_allclose(counts, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("features, pixels", [(60, 1500), (300, 40)])
def test_matrix_and_waves_are_the_same_device(features, pixels):
    """docs/design.md: fields agree to 1e-4 relative, counts differ in at most 1 % of the pixels, by one.

    The second case has fewer outputs than features: its matrix is made backwards, by reciprocity.
    """
    a = run(20, execution="matrix", features=features, pixels=pixels).astype(int)
    b = run(20, execution="waves", features=features, pixels=pixels).astype(int)
    assert np.abs(a - b).max() <= 1
    assert np.mean(a != b) <= 0.01
    fields = []
    for way in ("matrix", "waves"):
        p, region = patterns(3, lined(features)), Region(Roi(*ROI), pixels, 2040)
        fields.append(Projector(AURORA, 1, p.layout, region, execution=way).way.fields(p.bits))
    difference = np.linalg.norm(fields[0] - fields[1]) / np.linalg.norm(fields[1])
    assert difference < 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"camera.pixel_over_grain": 1.0},
        {"camera.polarised": False},
        {"camera.pixel_over_grain": 0.5, "camera.polarised": False},
        {"medium.ballistic_fraction": 0.2},
        {"dmd.stuck_on_fraction": 0.05, "dmd.stuck_off_fraction": 0.05},
    ],
)
@pytest.mark.parametrize("resolution", ["auto", "mirrors"])
def test_the_two_ways_agree_for_every_kind_of_device(changes, resolution):
    device = SMALL.remagnified().evolve(**changes, resolution=resolution)
    roi = (3, 2, 20, 50)
    a = run(12, execution="matrix", features=40, pixels=900, device=device, roi=roi).astype(int)
    b = run(12, execution="waves", features=40, pixels=900, device=device, roi=roi).astype(int)
    assert np.abs(a - b).max() <= 1
    assert np.mean(a != b) <= 0.01


def test_a_formatted_pattern_equals_its_mirrors_under_the_resolution_mirrors():
    """Mirror by mirror, a pattern of the formatter is the pattern of its mirrors, bit for bit, packed or not."""
    device = SMALL.evolve(resolution="mirrors")
    p = patterns(3, lined(30, device))
    frames = OpticalBench(device, 2, execution="waves").expose(p, exposure_s=EXPOSURE_S)
    mirrors = p.layout.mirrors(p.bits)
    packed = np.packbits(mirrors.reshape(3, -1), axis=1, bitorder="little")
    np.testing.assert_array_equal(frames, OpticalBench(device, 2).expose(mirrors, exposure_s=EXPOSURE_S))
    np.testing.assert_array_equal(frames, OpticalBench(device, 2).expose(mirrors.astype(bool), exposure_s=EXPOSURE_S))
    np.testing.assert_array_equal(frames, OpticalBench(device, 2).expose(packed, exposure_s=EXPOSURE_S))
    assert frames.shape == (3, 40, 60)
    assert frames.dtype == np.uint8


def test_gaussian_medium_stored_or_tile_by_tile_is_the_same():
    device = AURORA.evolve(medium=AURORA_GAUSSIAN)
    a = run(20, device=device)
    b = run(20, device=device, memory_budget=1_000_000)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a[:, :100], run(20, device=device, pixels=100))


def test_gaussian_medium_mirror_by_mirror():
    """Bare mirrors and features of the same mirrors meet the same entries: one entry a mirror."""
    device = SMALL.evolve(medium=AURORA_GAUSSIAN, resolution="mirrors")
    p = patterns(3, lined(30, device))
    by_features = OpticalBench(device, 2).expose(p, exposure_s=EXPOSURE_S).astype(int)
    by_mirrors = OpticalBench(device, 2).expose(p.layout.mirrors(p.bits), exposure_s=EXPOSURE_S).astype(int)
    assert np.abs(by_features - by_mirrors).max() <= 1
    assert np.mean(by_features != by_mirrors) <= 0.01


def test_seeds_and_frames_do_not_share_noise():
    bench = OpticalBench(AURORA, 1)
    p = patterns(1, lined(100))
    a, b = (bench.transform(p, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=2000)[0].astype(float) for _ in range(2))
    assert not np.array_equal(a, b)
    assert np.corrcoef(a, b)[0, 1] > 0.95  # the same matrix, not the same noise
    other = OpticalBench(AURORA, 2).transform(p, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=2000)[0].astype(float)
    assert abs(np.corrcoef(a, other)[0, 1]) < 5 / np.sqrt(2000)  # five sigma


def test_a_region_of_interest_is_a_part_of_the_frame_when_every_pixel_is_simulated():
    device = SMALL.evolve(resolution="mirrors")
    mirrors = np.random.default_rng(0).integers(0, 2, size=(48, 64), dtype=np.uint8)
    whole = OpticalBench(device, 0).expose(mirrors, exposure_s=EXPOSURE_S)
    part = OpticalBench(device, 0).expose(mirrors, exposure_s=EXPOSURE_S, roi=(5, 7, 11, 13))
    np.testing.assert_array_equal(part, whole[:, 5:16, 7:20])


def test_clock_counts_what_the_real_device_would_have_needed():
    bench = OpticalBench(AURORA, 0)
    bench.transform(patterns(100, lined(50)), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=10)
    assert bench.clock.frames == 100
    assert bench.clock.elapsed_s == pytest.approx(0.05)
    assert bench.clock.energy_j == pytest.approx(1.5)
    # Whole sensor: 1 / 340 Hz readout + 50 us (lightonml's rule).
    assert bench.minimum_frametime_s(1088, EXPOSURE_S) == pytest.approx(1 / 340 + 50e-6)
    assert bench.minimum_frametime_s(5, 1e-3) == pytest.approx(1.05e-3)
    bench.expose(None, exposure_s=EXPOSURE_S, n_frames=2)
    assert bench.clock.elapsed_s == pytest.approx(0.05 + 2 * (1 / 340 + 50e-6))


def test_inspect_shows_what_the_next_exposure_gives():
    bench = OpticalBench(SMALL, 3)
    mirrors = np.random.default_rng(0).integers(0, 2, size=(48, 64), dtype=np.uint8)
    planes = bench.inspect(mirrors, exposure_s=EXPOSURE_S)
    assert bench.clock.frames == 0
    frame = bench.expose(mirrors, exposure_s=EXPOSURE_S)[0]
    np.testing.assert_array_equal(planes.counts, frame)
    np.testing.assert_array_equal(planes.mirrors, mirrors)
    assert planes.dmd_field.shape == (48, 64)
    assert planes.medium_field.shape == (40, 60, 1)
    photons = np.abs(planes.medium_field[..., 0]) ** 2 * bench.photons_per_intensity(EXPOSURE_S)
    np.testing.assert_allclose(planes.photons, photons, rtol=0.02)  # laser noise of .2 % a frame
    # Electrons are Poisson around photons x quantum efficiency: the mean over 2 400 pixels within five sigma.
    expected = SMALL.camera.quantum_efficiency * float(planes.photons.mean())
    spread = np.sqrt(expected / planes.electrons.size) + SMALL.camera.prnu * expected / np.sqrt(planes.electrons.size)
    assert float(planes.electrons.mean()) == pytest.approx(expected, abs=5 * spread + 0.1)


def test_dark_frames_and_flat_field():
    bench = OpticalBench(SMALL, 0)
    dark = bench.expose(None, exposure_s=EXPOSURE_S, n_frames=50)
    assert dark.shape == (50, 40, 60)
    assert dark.mean() == pytest.approx(SMALL.camera.black_level_dn, abs=0.1)
    flat = bench.flat_field(1000.0, exposure_s=EXPOSURE_S, n_frames=50)
    expected = SMALL.camera.black_level_dn + 0.04 * 0.6 * 1000
    assert flat.mean() == pytest.approx(expected, rel=0.01)


def test_several_threads_may_use_one_bench():
    bench = OpticalBench(AURORA, 0)
    p = patterns(20, lined(64))
    results: list[np.ndarray] = []

    def work() -> None:
        results.append(bench.transform(p, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert bench.clock.frames == 80
    alone = OpticalBench(AURORA, 0)
    serial = [alone.transform(p, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=200) for _ in range(4)]
    assert {r.tobytes() for r in results} == {r.tobytes() for r in serial}


def test_copies_go_on_where_the_original_stood():
    bench = OpticalBench(AURORA, 0)
    p = patterns(5, lined(64))
    bench.transform(p, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=50)
    copies = [copy.deepcopy(bench), pickle.loads(pickle.dumps(bench)), bench]
    results = [b.transform(p, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=50) for b in copies]
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[2])


def test_batch_that_crosses_states_of_the_drift_equals_its_parts():
    device = AURORA.evolve(**{"medium.decorrelation_time_s": 1.0})
    a = run(40, device=device, features=40, pixels=100)
    b = run(40, device=device, features=40, pixels=100, batch=3)
    np.testing.assert_array_equal(a, b)


def test_empty_batch():
    bench = OpticalBench(AURORA, 0)
    counts = bench.transform(patterns(0, lined(64)), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=50)
    assert counts.shape == (0, 50)
    assert bench.expose(np.zeros((0, 912, 1140), np.uint8), exposure_s=EXPOSURE_S, roi=ROI).shape == (0, 1, 2040)
    assert bench.clock.frames == 0


def test_inspect_needs_one_pattern():
    bench = OpticalBench(SMALL, 0)
    for mirrors in (None, np.zeros((2, 48, 64), np.uint8)):
        with pytest.raises(ValueError, match="one pattern|exactly one"):
            bench.inspect(mirrors)


def test_skipped_frames_give_workers_noise_of_their_own():
    whole = run(8, features=64, pixels=50)
    bench = OpticalBench(AURORA, 1)
    bench.skip_frames(4)
    assert bench.clock.elapsed_s == pytest.approx(4 * 500e-6)
    rest = bench.transform(patterns(8, lined(64))[4:], exposure_s=EXPOSURE_S, roi=ROI, n_pixels=50)
    np.testing.assert_array_equal(rest, whole[4:])


def test_a_bench_advanced_to_the_clock_of_another_goes_on_with_its_frames():
    """Bit for bit, in a medium that drifts (a state lasts some 3 ms here), with noise and a reference that moves."""
    device = AURORA.evolve(**{"medium.decorrelation_time_s": 1.0})
    p = patterns(40, lined(64, device))

    def frames(bench: OpticalBench) -> np.ndarray:
        phases = np.array([0.0, 2.0])
        return bench.transform(p, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=50, reference_phase_rad=phases)

    first, second, early = (OpticalBench(device, 5) for _ in range(3))
    frames(first)
    first.skip_frames(7, frametime_s=0.123456789)
    second.advance_to(first.clock.frames, first.clock.elapsed_s)
    assert second.clock == first.clock
    expected = frames(first)
    np.testing.assert_array_equal(frames(second), expected)
    assert not np.array_equal(frames(early), expected)
    assert second.clock == first.clock


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ((9, 1.0), ValueError, "frames is 9, but the clock cannot go back: it must be at least 10"),
        ((10, 0.9), ValueError, "elapsed_s is 0.9, but the clock cannot go back: it must be at least 1.0"),
        ((-1, 1.0), ValueError, "frames"),
        ((10.5, 1.0), TypeError, "frames"),
        ((10, float("nan")), ValueError, "elapsed_s"),
        ((10, float("inf")), ValueError, "elapsed_s"),
        ((10, "late"), TypeError, "elapsed_s"),
    ],
)
def test_a_clock_goes_forward_only(arguments, error, words):
    bench = OpticalBench(SMALL, 0)
    bench.advance_to(10, 1.0)
    with pytest.raises(error, match=words) as raised:
        bench.advance_to(*arguments)
    assert str(raised.value).endswith(".")
    assert (bench.clock.frames, bench.clock.elapsed_s) == (10, 1.0)
    bench.advance_to(10, 1.0)


WAYS_ON = {
    "advance_to": lambda bench, n: bench.advance_to(n, 0.0),
    "skip_frames": lambda bench, n: bench.skip_frames(n, frametime_s=0.0),
    "reserve": lambda bench, n: bench.reserve(n, frametime_s=0.0),
    "expose": lambda bench, n: bench.expose(None, exposure_s=1e-3, n_frames=n, roi=(0, 0, 1, 4)),
    "flat_field": lambda bench, n: bench.flat_field(1.0, exposure_s=1e-3, n_frames=n, roi=(0, 0, 1, 4)),
}


@pytest.mark.parametrize("n", [2**62 + 1, 2**63 - 1, 2**63, 2**64])
@pytest.mark.parametrize("way", WAYS_ON)
def test_a_clock_ends_where_its_numbers_do(way, n):
    """Frames are numbered in 64 bits: what goes beyond is refused at the call, and the bench can be used on."""
    bench = OpticalBench(SMALL, 0)
    with pytest.raises(ValueError, match=rf"{n}.*{2**62}"):
        WAYS_ON[way](bench, n)
    assert (bench.clock.frames, bench.clock.elapsed_s) == (0, 0.0)
    assert bench.expose(None, exposure_s=1e-3, n_frames=2, roi=(0, 0, 1, 4)).shape == (2, 1, 4)


def test_a_clock_ends_in_time_too():
    """States of a drift are numbered in 64 bits."""
    bench = OpticalBench(SMALL, 0)
    for time_s in (1.1e12, 1e18):
        with pytest.raises(ValueError, match="elapsed_s is .*, but it must be a number in .0, 1e.12."):
            bench.advance_to(0, time_s)
    with pytest.raises(ValueError, match="a bench ends at frame .* and at 1e.12 s"):
        bench.skip_frames(10**12, frametime_s=3600.0)
    bench.advance_to(2**62 - 2, 9e11)
    assert bench.expose(None, exposure_s=1e-3, n_frames=2, roi=(0, 0, 1, 4)).shape == (2, 1, 4)
    with pytest.raises(ValueError, match="1 frames of .* would end at frame"):
        bench.expose(None, exposure_s=1e-3, roi=(0, 0, 1, 4))


def test_a_clock_is_put_forward_from_where_it_stands_only():
    bench = OpticalBench(SMALL, 0)
    assert not bench.advance_from((1, 0.0), (20, 1.0)) and not bench.advance_from((0, 1e-9), (20, 1.0))
    assert (bench.clock.frames, bench.clock.elapsed_s) == (0, 0.0)
    assert bench.advance_from((0, 0.0), (20, 1.0))
    assert (bench.clock.frames, bench.clock.elapsed_s) == (20, 1.0)


def test_light_doubles_without_the_polariser():
    """Both polarisations instead of one; the contrast falls to 1/sqrt 2 (its law is tested with the device)."""
    levels = []
    for polarised in (True, False):
        device = SMALL.ideal().evolve(**{"camera.polarised": polarised})
        levels.append(float(run(20, features=40, pixels=900, device=device, roi=(3, 2, 20, 50)).mean()))
    assert levels[1] / levels[0] == pytest.approx(2, rel=0.1)


BAD_CALLS = [
    (dict(mirrors=np.zeros((3, 3), np.uint8)), "mirrors has shape"),
    (dict(mirrors=np.zeros((48, 64), float)), "mirrors has type"),
    (dict(mirrors=np.full((48, 64), 2, np.uint8)), "mirrors holds the value 2"),
    (dict(mirrors=None, exposure_s=0), "exposure_s"),
    (dict(mirrors=None, exposure_s=float("nan")), "exposure_s"),
    (dict(mirrors=None, exposure_s="long"), "exposure_s"),
    (dict(mirrors=None, roi=(0, 0, 41, 3)), "n_rows"),
    (dict(mirrors=None, roi=(0, 0)), "roi"),
    (dict(mirrors=None, frametime_s=1e-4), "frametime_s"),
    (dict(mirrors=None, n_frames=-1), "n_frames"),
    (dict(mirrors=np.zeros((48, 64), np.uint8), n_frames=3), "n_frames"),
    (dict(mirrors=None, reference_phase_rad=0.0), "reference"),
]


@pytest.mark.parametrize("arguments, words", BAD_CALLS)
def test_bad_calls_get_a_sentence_and_leave_the_bench_usable(arguments, words):
    bench = OpticalBench(SMALL, 0)
    arguments = {"exposure_s": EXPOSURE_S, **arguments}
    with pytest.raises((ValueError, TypeError), match=words) as error:
        bench.expose(**arguments)
    assert str(error.value).endswith(".")
    assert bench.clock.frames == 0
    assert bench.expose(None, exposure_s=EXPOSURE_S).shape == (1, 40, 60)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(seed=-1), "seed"),
        (dict(seed=1.5), "seed"),
        (dict(resolution="fine"), "resolution"),
        (dict(execution="fast"), "execution"),
        (dict(threads=0), "threads"),
        (dict(memory_budget=0), "memory_budget"),
        (dict(device="auroa"), "aurora"),
    ],
)
def test_bad_benches_are_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        OpticalBench(**{"device": AURORA, **arguments})


def test_what_a_medium_cannot_do_is_said():
    gaussian = AURORA.evolve(medium=AURORA_GAUSSIAN)
    with pytest.raises(ValueError, match="waves"):
        run(1, device=gaussian, execution="waves")
    with pytest.raises(ValueError, match="pixel_over_grain"):
        gaussian.remagnified().evolve(**{"camera.pixel_over_grain": 1.0})
    with pytest.raises(ValueError, match=r"optics.pixel_integration is True, but a medium of kind 'gaussian'"):
        gaussian.evolve(**{"optics.pixel_integration": True})
    with pytest.raises(ValueError, match="entries"):
        OpticalBench(gaussian, 0).expose(np.zeros(AURORA.dmd.shape, np.uint8), exposure_s=EXPOSURE_S)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=4),
    dtype=st.sampled_from(["u1", "f4", "O", "c8", "i8", "?"]),
)
def test_any_wrong_array_is_refused(shape, dtype):
    bench = OpticalBench(SMALL, 0)
    with pytest.raises((ValueError, TypeError), match="mirrors"):
        bench.expose(np.zeros(shape, dtype=dtype), exposure_s=EXPOSURE_S)


@pytest.fixture
def layers_made(monkeypatch) -> list[int]:
    """States of the drift whose layers are made, one for each layer."""
    made, factors = [], PhaseScreenMedium.factors

    def counted(*given, state=0, **options):
        made.append(state)
        return factors(*given, state=state, **options)

    monkeypatch.setattr(PhaseScreenMedium, "factors", counted)
    return made


def test_regions_share_the_layer_under_the_resolution_mirrors(layers_made):
    """A second region of interest prepares no second layer; its frames are those of the whole frame's part."""
    bench = OpticalBench(SMALL.evolve(resolution="mirrors"), 0)
    mirrors = np.random.default_rng(0).integers(0, 2, size=(48, 64), dtype=np.uint8)
    for roi in ((0, 0, 10, 60), (5, 7, 11, 13)):
        bench.expose(mirrors, exposure_s=EXPOSURE_S, roi=roi)
    assert layers_made == [0]


def test_regions_of_one_size_share_the_layer(layers_made):
    """Features read on two regions of one size: the second is no second layer, and its counts are those of its own."""
    shown, elsewhere = patterns(3, lined(100)), (300, 0, 1, 2040)

    def bench_after_one_region(roi: tuple[int, int, int, int]) -> OpticalBench:
        bench = OpticalBench(AURORA, 0, execution="waves")
        bench.transform(shown, exposure_s=EXPOSURE_S, roi=roi, n_pixels=2000)
        return bench

    alone, bench = bench_after_one_region(elsewhere), bench_after_one_region(ROI)
    # The second pass of each: the same frames, on the region that only one of them has seen before.
    counts = [b.transform(shown, exposure_s=EXPOSURE_S, roi=elsewhere, n_pixels=2000) for b in (alone, bench)]
    assert np.array_equal(*counts) and layers_made == [0, 0]


def test_a_layer_lives_as_long_as_a_way_that_has_it():
    layers = Layers()

    def way(row: int) -> Any:
        region = Region(Roi(row, 0, 1, 60), 60, 60)
        return Projector(SMALL, 0, MirrorLayout.lined((48, 64), 20), region, execution="waves", layers=layers).way

    first, second = way(0), way(7)
    factors = first.operators(0)[0].factors
    assert second.operators(0)[0].factors is factors and len(layers.made) == 1
    # Without its first owner the layer is still found, without any it is gone.
    del first
    gc.collect()
    assert way(9).operators(0)[0].factors is factors
    del second
    gc.collect()
    assert len(layers.made) == 0


def test_the_clock_stays():
    bench = OpticalBench(SMALL, 0)
    with pytest.raises(AttributeError, match="clock can't be set to .* Use advance_to or skip_frames"):
        bench.clock = OpticalBench(SMALL, 0).clock
    assert bench.with_limits(threads=1).clock is bench.clock
    bench.clock.frames += 3
    assert pickle.loads(pickle.dumps(bench)).clock == bench.clock


def test_the_choice_of_a_way_is_explained():
    features, mirrors = patterns(2, lined(100)), np.zeros((1, *AURORA.dmd.shape), dtype=np.uint8)
    bench = OpticalBench(AURORA, 0)
    plan = bench.explain(features, roi=ROI, n_pixels=2000)
    assert (plan.way, plan.stored, plan.matrix_bytes) == ("matrix", True, 8 * 101 * 2000)
    assert plan.vector_flops == 2 * 100 * 2000 and "by matrix" in plan.why and "by waves" in plan.why
    small = bench.with_limits(memory_budget=10**6).explain(features, roi=ROI, n_pixels=2000)
    assert small.way == "waves" and "1.54 MiB and may take 977 KiB" in small.why
    assert small.vector_flops / small.wave_vector_s == pytest.approx(FFT_FLOPS)
    assert "Bare mirrors" in bench.explain(mirrors, roi=(0, 0, 4, 4)).why
    # Mirror by mirror the matrix is much the quicker way for many vectors, but takes longer to make than it may.
    stopped = OpticalBench(AURORA.evolve(**{"fourier_stop.diameter_cycles": 0.25}), 0)
    waits = stopped.explain(patterns(2, lined(784)), roi=(500, 0, 5, 2000))
    assert waits.way == "waves" and waits.build_s > 25 and "execution='matrix' takes it all the same" in waits.why
    assert "all the same" not in plan.why
    assert "execution is 'waves'" in OpticalBench(AURORA, 0, execution="waves").explain(features, roi=ROI).why
    entries = OpticalBench(AURORA.evolve(medium=GaussianMedium()), 0)
    assert "'gaussian' gives entries" in entries.explain(features, roi=ROI, n_pixels=9).why
    with pytest.raises(ValueError, match="n_pixels is 3000"):
        bench.explain(features, roi=ROI, n_pixels=3000)
    assert bench.clock.frames == 0


@pytest.mark.parametrize("polarised", [True, False])
def test_a_plan_tells_the_work_that_its_ways_tell(polarised):
    device = AURORA.evolve(**{"camera.polarised": polarised})
    region = Region(Roi(0, 0, 1, 1000), 1000, 2040)
    made = [Projector(device, 0, lined(3000), region, execution=way) for way in ("auto", "matrix", "waves")]
    plan, (_, matrix, waves) = made[0].plan, (projector.way for projector in made)
    making, showing = matrix.making(), waves.showing(1)
    # Both polarisations of an output come in one pass through the layer, and one pass is for the light of no feature.
    assert making.transforms == 1001 * showing.transforms == 1001 * 6 * device.sampling.channels
    assert (
        plan.build_s
        == pytest.approx(1001 * plan.wave_vector_s)
        == pytest.approx(5.972e9 * device.sampling.channels / FFT_FLOPS, 1e-3)
    )
    assert plan.matrix_bytes == matrix.matrix_bytes == 8 * 3001 * 1000 * device.sampling.channels
    assert (plan.way, made[2].plan.vector_flops) == ("matrix", waves.vector_flops)


@pytest.mark.parametrize(
    ("n_features", "n_pixels", "way"),
    [
        (784, 10_000, "matrix"),
        (10_000, 2_000, "matrix"),
        (10_000, 10_000, "matrix"),  # what the real device's papers use: 800 MB
        (20_000, 20_000, "waves"),  # a vector takes longer by matrix
        (784, 1_000_000, "waves"),  # making it would take minutes
    ],
)
def test_a_matrix_is_taken_up_to_sizes_at_which_it_pays(n_features, n_pixels, way):
    rows = n_pixels // 2000
    region = Region(Roi(0, 0, rows, 2000), n_pixels, 2040)
    plan = Projector(AURORA, 0, lined(n_features), region).plan
    assert plan.way == way
    if way == "matrix":
        assert plan.build_s < 25 and plan.matrix_vector_s < plan.wave_vector_s
    else:
        assert plan.build_s > 25 or plan.matrix_vector_s > plan.wave_vector_s


def test_making_the_entries_of_bare_mirrors_is_work_for_each_mirror():
    device = SMALL.evolve(medium=GaussianMedium(), resolution="mirrors")
    layout, region = MirrorLayout.lined(device.dmd.shape, 10), Region(Roi(0, 0, 1, 7), 7, device.camera.shape[1])
    for resolution, modes in (("mirrors", device.dmd.n_mirrors), ("auto", 11)):
        way = Projector(device, 0, layout, region, resolution=resolution).way
        assert way.making().entries == modes * 7


def test_mirrors_through_entries_are_inspected_as_they_are_exposed():
    device = SMALL.evolve(medium=GaussianMedium(SMALL.medium.transmission))
    mirrors = np.random.default_rng(0).integers(0, 2, size=(48, 64), dtype=np.uint8)
    planes = OpticalBench(device, 3).inspect(mirrors, roi=(1, 2, 3, 4), exposure_s=EXPOSURE_S)
    counts = OpticalBench(device, 3).expose(mirrors, roi=(1, 2, 3, 4), exposure_s=EXPOSURE_S)
    np.testing.assert_array_equal(planes.counts, counts[0])
