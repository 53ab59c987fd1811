"""One physics, several libraries: the counts of a bench on tensors against those of numpy."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

from opusim.base import arrays, memory
from opusim.bench.bench import OpticalBench
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

torch = pytest.importorskip("torch", reason="torch is not installed")

AURORA = Device.load("aurora")
SHAPE = (60, 76)
N = 300
ROI = (3, 5, 40, 30)
PHASES = np.arange(4) * np.pi / 2


def small(**changes) -> Device:
    """The default device with few mirrors and pixels; names with a double underscore go to its parts."""
    parts: dict[str, dict] = {"dmd": {"shape": SHAPE}, "camera": {"shape": (64, 90)}, "operation": {}}
    parts["operation"]["ones_range"] = (100, 2000)
    for name, value in changes.items():
        part, _, field = name.partition("__")
        parts.setdefault(part, {})[field] = value
    from dataclasses import replace

    # As bright as the real one, whose light more mirrors share.
    base = AURORA.remagnified()  # whose pixels are wide in grains where a case says so
    return base.evolve(**{part: replace(getattr(base, part), **fields) for part, fields in parts.items()})


def bits_of(n: int, n_features: int = N) -> np.ndarray:
    return np.random.default_rng(8).integers(0, 2, (n, n_features)).astype(np.uint8)


def gpu_backends() -> list:
    """Backends to compare with numpy; those of a GPU skip where there is none."""
    here = torch.cuda.is_available()
    none = pytest.mark.skipif(not here, reason="no GPU here")
    return ["torch:cpu", pytest.param("torch:cuda", marks=none), pytest.param("cupy", marks=none)]


BACKENDS = gpu_backends()


def counts(bench: OpticalBench, layout: MirrorLayout, bits, **options):
    settings = {"exposure_s": 4e-4, "roi": ROI, "n_pixels": 1111, "frametime_s": 2e-3, **options}
    return bench.transform(MirrorPatterns(bits, layout), **settings)


def host(values) -> np.ndarray:
    return arrays.of(values).to_host(values)


def agree(found, expected: np.ndarray, device: Device) -> None:
    """One pixel in 10^4 differs in the mean, of few pixels three sigma more, by at most what one electron is worth.

    Light of two libraries differs by some 1e-7, so that the share is about 3e-7 of the mean electrons times the grey
    levels an electron is worth: within the bound for cameras of a few grey levels a hundred electrons.
    """
    found = host(found)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    worth = max(1.0, device.camera.gain_dn_per_e) if device.camera.quantise else device.camera.gain_dn_per_e
    assert difference.max(initial=0) <= np.ceil(worth)
    mean = 1e-4 * difference.size
    assert np.sum(difference > 0) <= mean + 3 * np.sqrt(mean)


DEVICES = {
    "points": small(),
    "areas": small(camera__pixel_over_grain=0.7),
    "both polarisations": small(camera__polarised=False),
    "ballistic light behind a stop": small(camera__pixel_over_grain=0.7, medium__ballistic_fraction=0.1),
    "ballistic light": small(medium__ballistic_fraction=0.2, medium__depolarising=False),
    "drift": small(medium__decorrelation_time_s=4.0),
    "one screen": small(medium__n_screens=1),
    "twelve bits": small(camera__bits=12, camera__gain_dn_per_e=0.1),
    "an uneven sensor that is not linear": small(
        camera__dsnu_row_e=10.0,
        camera__dsnu_column_e=5.0,
        camera__prnu_row=0.02,
        camera__prnu_column=0.01,
        camera__dark_current_spread_e_per_s=90.0,
        camera__telegraph_fraction=0.2,
        camera__telegraph_e=30.0,
        camera__nonlinearity=0.05,
        camera__temperature_c=50.0,
        camera__dark_current_doubling_k=6.0,
    ),
    "dirt and stuck mirrors": small(
        dmd__contrast_ratio=50.0, dmd__stuck_on_fraction=0.01, dmd__stuck_off_fraction=0.02, dmd__aberration_rms_rad=1.0
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("phases", [None, PHASES], ids=["alone", "with the reference"])
@pytest.mark.parametrize("resolution", ["auto", "mirrors"])
@pytest.mark.parametrize("execution", ["waves", "matrix"])
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_counts_are_numpys(backend, name, execution, resolution, phases):
    """Ten patterns and 1111 pixels: a rectangle that is not read to its end, in more than one step."""
    device = DEVICES[name]
    settings = {"resolution": resolution, "execution": execution}
    layout = MirrorLayout.lined(SHAPE, N)
    expected = counts(OpticalBench(device, 4, **settings), layout, bits_of(10), reference_phase_rad=phases)
    bench = OpticalBench(device, 4, **settings, backend=backend)
    found = counts(bench, layout, bits_of(10), reference_phase_rad=phases)
    assert isinstance(found, np.ndarray)  # as the bits
    assert expected.std() > 0.5
    agree(found, expected, device)


@pytest.mark.parametrize("layout", ["macro_2d", "plain", "transposed"])
@pytest.mark.parametrize("resolution", ["auto", "mirrors"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_layout_reaches_its_mirrors(backend, resolution, layout):
    kinds = {
        "macro_2d": MirrorLayout.macro_2d(SHAPE, (12, 13), (5, 7), (40, 50)),
        "plain": MirrorLayout.plain(SHAPE),
        "transposed": MirrorLayout.plain(SHAPE, SHAPE[::-1]),
    }
    device, lay = small(), kinds[layout]
    bits = bits_of(5, lay.n_features_total)
    settings = {"resolution": resolution, "execution": "waves"}
    expected = counts(OpticalBench(device, 2, **settings), lay, bits)
    agree(counts(OpticalBench(device, 2, **settings, backend=backend), lay, bits), expected, device)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_medium_of_entries_stored_or_tile_by_tile(backend):
    from opusim.device.medium.gaussian import GaussianMedium

    device = small().evolve(medium=GaussianMedium(transmission=AURORA.medium.transmission))
    layout = MirrorLayout.lined(SHAPE, N)
    expected = counts(OpticalBench(device, 3), layout, bits_of(7), reference_phase_rad=PHASES)
    for budget in (None, 200_000):  # a matrix of 2.7 MB
        bench = OpticalBench(device, 3, backend=backend, memory_budget=budget)
        agree(counts(bench, layout, bits_of(7), reference_phase_rad=PHASES), expected, device)
        plan = bench.explain(MirrorPatterns(bits_of(1), layout), roi=ROI, n_pixels=1111)
        assert plan.stored == (budget is None)


@pytest.mark.parametrize("execution", ["waves", "matrix"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_fields_are_numpys(backend, execution):
    """Single precision through twelve passes: 1e-5 of the root mean square."""
    region = Region(Roi(2, 3, 30, 20), 590, 90)
    made = []
    for place in (arrays.NUMPY, arrays.choose(backend)):
        projector = Projector(small(), 1, MirrorLayout.lined(SHAPE, N), region, execution=execution, arrays=place)
        made.append(projector.way.fields(bits_of(6)))
        assert arrays.of(made[-1]) == place
    expected = made[0]
    error = np.abs(host(made[1]) - expected).max() / np.sqrt(np.mean(np.abs(expected) ** 2))
    assert expected.shape == (6, 590, 1) and error < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_pixels_of_more_samples_than_the_kernel_sums_in_numpys_order(backend):
    """169 samples a pixel: numpy's own sum on one side, the kernel's on the other."""
    device, layout = small(camera__pixel_over_grain=8.0), MirrorLayout.lined(SHAPE, N)
    settings = {"roi": (3, 5, 8, 9), "n_pixels": 70, "reference_phase_rad": PHASES}
    expected = counts(OpticalBench(device, 4), layout, bits_of(5), **settings)
    agree(counts(OpticalBench(device, 4, backend=backend), layout, bits_of(5), **settings), expected, device)


# ---------------------------------------------------------------- tensors in, tensors out


@pytest.mark.parametrize("execution", ["waves", "matrix"])
@pytest.mark.parametrize("backend", ["auto", "numpy", "torch", "torch:cpu"])
def test_tensors_go_in_and_come_out(backend, execution):
    device, layout = small(), MirrorLayout.lined(SHAPE, N)
    expected = counts(OpticalBench(device, 4, execution=execution), layout, bits_of(3))
    for kind in (torch.uint8, torch.bool):
        bench = OpticalBench(device, 4, execution=execution, backend=backend)
        found = counts(bench, layout, torch.from_numpy(bits_of(3)).to(kind))
        assert isinstance(found, torch.Tensor) and found.device.type == "cpu"
        agree(found, expected, device)
        if backend in ("auto", "numpy"):  # where they lie: numpy's own counts
            np.testing.assert_array_equal(host(found), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_tensors_on_the_gpu_stay_there():
    device, layout = small(), MirrorLayout.lined(SHAPE, N)
    expected = counts(OpticalBench(device, 4), layout, bits_of(3), reference_phase_rad=PHASES)
    found = counts(OpticalBench(device, 4), layout, torch.from_numpy(bits_of(3)).cuda(), reference_phase_rad=PHASES)
    assert found.is_cuda
    agree(found, expected, device)


def test_frames_that_are_not_rounded_and_none_at_all():
    device = small(camera__quantise=False, camera__shot_noise=False)
    layout = MirrorLayout.lined(SHAPE, N)
    expected = counts(OpticalBench(device, 4), layout, bits_of(3))
    found = counts(OpticalBench(device, 4, backend="torch:cpu"), layout, torch.from_numpy(bits_of(3)))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(host(found), expected, rtol=1e-4, atol=1e-4)
    none = counts(OpticalBench(device, 4, backend="torch:cpu"), layout, torch.from_numpy(bits_of(0)))
    assert isinstance(none, torch.Tensor) and tuple(none.shape) == (0, 1111)


def test_frames_and_planes_are_numpys_whatever_the_backend():
    device, layout = small(), MirrorLayout.lined(SHAPE, N)
    plain, other = OpticalBench(device, 4), OpticalBench(device, 4, backend="torch:cpu")
    bits = bits_of(2)
    for patterns in (MirrorPatterns(torch.from_numpy(bits), layout), torch.from_numpy(layout.mirrors(bits))):
        shown = MirrorPatterns(bits, layout) if isinstance(patterns, MirrorPatterns) else layout.mirrors(bits)
        found = other.expose(patterns, exposure_s=4e-4)
        np.testing.assert_array_equal(found, plain.expose(shown, exposure_s=4e-4), strict=True)
    planes = other.inspect(MirrorPatterns(torch.from_numpy(bits[:1]), layout))
    np.testing.assert_array_equal(planes.counts, plain.inspect(MirrorPatterns(bits[:1], layout)).counts, strict=True)


# ---------------------------------------------------------------- the same again


@pytest.mark.parametrize("execution", ["waves", "matrix"])
def test_the_same_call_gives_the_same_bits(execution):
    """Twice, in parts, on a copy, and from a pickle."""
    device, layout = small(medium__decorrelation_time_s=4.0), MirrorLayout.lined(SHAPE, N)
    bits = bits_of(9)

    def bench() -> OpticalBench:
        return OpticalBench(device, 4, execution=execution, backend="torch:cpu")

    first = bench()
    copies = [copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    expected = counts(first, layout, bits)
    assert all(other.backend == "torch:cpu" for other in copies)
    for other in (bench(), *copies):
        np.testing.assert_array_equal(counts(other, layout, bits), expected, strict=True)
    following = counts(first, layout, bits)
    assert (following != expected).any()  # other frames, other noise
    again = pickle.loads(pickle.dumps(first))  # its clock stands where the first one's does
    np.testing.assert_array_equal(counts(again, layout, bits), counts(first, layout, bits))


@pytest.mark.parametrize("backend", ["auto", "torch:cpu"])
def test_reserved_frames_in_parts_are_the_whole(backend):
    device, layout, bits = small(medium__decorrelation_time_s=4.0), MirrorLayout.lined(SHAPE, N), bits_of(9)
    settings = {"execution": "waves", "backend": backend}
    whole = OpticalBench(device, 4, **settings)
    expected = host(counts(whole, layout, torch.from_numpy(bits), reference_phase_rad=PHASES))
    reserved = OpticalBench(device, 4, **settings).reserve(36, frametime_s=2e-3)
    other = OpticalBench(device, 4, **settings)
    rows = expected.reshape(9, 4, -1)
    for part in (np.array([5, 8]), np.array([0, 1, 2, 3])):
        patterns = torch.from_numpy(bits[part])
        found = counts(other, layout, patterns, reference_phase_rad=PHASES, reserved=reserved.only(part))
        difference = host(found).reshape(len(part), 4, -1) != rows[part]
        assert np.mean(difference) <= (0 if backend == "auto" else 1e-4)
    assert other.clock.frames == 0


@pytest.mark.parametrize("backend", ["numpy", "torch:cpu"])
def test_threads_of_the_user_share_a_bench(backend):
    """The grids that are used again belong to one call at a time."""
    device, layout = small(), MirrorLayout.lined(SHAPE, N)
    bench = OpticalBench(device, 4, execution="waves", resolution="mirrors", backend=backend)
    reserved = bench.reserve(6, frametime_s=2e-3)
    expected = counts(bench, layout, bits_of(6), reserved=reserved)
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = counts(bench, layout, bits_of(6), reserved=reserved)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for values in found.values():
        np.testing.assert_array_equal(values, expected)


# ---------------------------------------------------------------- errors


def test_a_backend_that_is_not_there_is_refused_at_once():
    with pytest.raises(ValueError, match="backend is 'tensorflow'"):
        OpticalBench(AURORA, backend="tensorflow")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="no CUDA GPU here"):
            OpticalBench(AURORA, backend="torch:cuda")


def test_a_matrix_beyond_its_budget_names_both_sizes():
    bench = OpticalBench(small(), execution="matrix", memory_budget=1 << 20)
    with pytest.raises(ValueError, match=r"takes 2.55 MiB and may take 1 MiB.*memory_budget=2675288 would.*'waves'"):
        counts(bench, MirrorLayout.lined(SHAPE, N), bits_of(1))
    assert bench.clock.frames == 0


@pytest.mark.parametrize("what", ["waves", "matrix", "counts"])
def test_too_little_memory_is_said_before_any_is_taken(monkeypatch, what):
    free = {"waves": 1e5, "matrix": 2.0e6, "counts": 1e6}[what]
    monkeypatch.setattr(memory, "available_bytes", lambda arrays=arrays.NUMPY: free)
    words = {
        "waves": r"layer on a grid of \d+ x \d+ modes needs [\d.]+ [KM]iB, but this machine has 97.7 KiB to.*fewer",
        "matrix": r"matrix of 300 features and 1111 pixels needs 2.55 MiB.*memory_budget.*execution='waves'",
        "counts": r"counts of 1000 frames of 1111 pixels needs 1.06 MiB, but this machine has 977 KiB.*fewer patterns",
    }
    bench = OpticalBench(small(), execution="waves" if what == "waves" else "matrix")
    with pytest.raises(MemoryError, match=words[what]):
        counts(bench, MirrorLayout.lined(SHAPE, N), bits_of(1000 if what == "counts" else 10))
    assert bench.clock.frames == 0 and bench.clock.elapsed_s == 0


def test_memory_that_is_free_is_measured():
    free = memory.available_bytes()
    assert 1e6 < free < 1e15
    assert memory.text(3 * 2**30) == "3 GiB" and memory.text(1000) == "1000 bytes"


def test_a_layer_takes_no_more_than_it_is_reckoned_to():
    """Its arrays and two grids of fields, against what is asked for beforehand."""
    device = small(medium__ballistic_fraction=0.1)
    projector = Projector(device, 1, None, Region(Roi(0, 0, 64, 90), 5760, 90))
    (operator,) = projector.way.operators(0)
    factors = operator.factors
    kept = sum(array.nbytes for array in (*factors.screens, factors.transfer, factors.ballistic))
    side, reckoned = projector.plan.side, projector.way.layer_bytes
    assert (
        kept == 5 * 8 * side**2 == device.medium.layer_bytes(side, 1) and kept + 2 * 8 * side**2 <= reckoned <= 2 * kept
    )


def test_results_that_do_not_fit_name_how_many_vectors_do(monkeypatch):
    """Room for four vectors' results, of which a quarter is left."""
    monkeypatch.setattr(memory, "available_bytes", lambda arrays=arrays.NUMPY: 4 * 4000.0)
    memory.check_result(4, 1000, 4)
    words = r"result of 5 vectors of 1000 outputs needs 19.5 KiB, but this machine.*pass at most 3 at a time.*Dask"
    with pytest.raises(MemoryError, match=words):
        memory.check_result(5, 1000, 4)
    with pytest.raises(MemoryError, match=r"use fewer components"):
        memory.check_result(2, 10000, 4)


@pytest.mark.parametrize("free", [3e9, 1e8, 1e6])
def test_a_stack_on_a_gpu_leaves_room_for_its_copies(monkeypatch, free):
    monkeypatch.setattr(memory, "available_bytes", lambda arrays=arrays.NUMPY: free)
    place = arrays.Arrays("torch", "cuda:0")
    projector = Projector(
        small(), 1, MirrorLayout.lined(SHAPE, N), Region(Roi(2, 3, 30, 20), 590, 90), execution="waves", arrays=place
    )  # fmt: skip
    way, grid = projector.way, 8 * projector.plan.side**2
    layer = way.layer_bytes
    assert 1 <= way.stack <= 64
    assert way.stack == 1 or layer + 5 * way.stack * grid <= free
    monkeypatch.setattr(memory, "available_bytes", lambda arrays=arrays.NUMPY: 1e9)
    first = way.stack
    assert way.stack == first  # of one size for all batches
    monkeypatch.setattr(memory, "available_bytes", lambda arrays=arrays.NUMPY: layer + 4.0 * (first - 1) * grid - 1)
    with pytest.raises(MemoryError, match="layer on a grid of"):
        way.operators(0)


@pytest.mark.parametrize("execution", ["waves", "matrix"])
@pytest.mark.parametrize("how", ["autocast", "medium"])
def test_counts_do_not_depend_on_torchs_settings(execution, how):
    device, layout = small(), MirrorLayout.lined(SHAPE, N)
    expected = counts(OpticalBench(device, 4, execution=execution), layout, bits_of(10))
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium" if how == "medium" else before)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
            found = counts(OpticalBench(device, 4, execution=execution, backend="torch:cpu"), layout, bits_of(10))
    finally:
        torch.set_float32_matmul_precision(before)
    agree(found, expected, device)
