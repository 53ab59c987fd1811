"""Transforms of Dask arrays: the numbers of one call in one process, bit for bit."""

from __future__ import annotations

import contextlib
import functools
import math
import pickle
import warnings
from dataclasses import dataclass
from typing import ClassVar

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import opusim
from opusim import OPU, encoding
from opusim.base import folders
from opusim.base.errors import CoderError
from opusim.bench.bench import OpticalBench
from opusim.calibration.procedures.linear import measure_linear
from opusim.device.medium import base as medium
from opusim.device.record import Device
from opusim.drivers import ContextArray, NotReadyError, recipe
from opusim.drivers.compat import opu as compat
from opusim.drivers.inputs import dask as lazy
from opusim.patterns.layout import MirrorPatterns

da = pytest.importorskip("dask.array", reason="dask is not installed")
dask = pytest.importorskip("dask", reason="dask is not installed")

N = 60
# Medium, laser and reference change within a batch, the medium about every sixtieth frame of 500 us.
RESTLESS = Device.load("aurora").evolve(
    **{
        "medium.decorrelation_time_s": 10.0, "laser.power_noise": 0.02, "laser.power_drift_per_hour": 0.1,
        "reference.drift_rad_per_minute": 0.5, "reference.vibration_rad": 0.02,
    }
)  # fmt: skip
CALLS = {
    "counts": lambda opu, x: opu.transform(x),
    "intensity": lambda opu, x: opu.linear_transform(x),
    "holographic": lambda opu, x: opu.linear_transform(x),
    "field": lambda opu, x: opu.field_transform(x),
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "config_folder", lambda: tmp_path / "opusim")


@pytest.fixture
def elsewhere(monkeypatch):
    """Call it and this process forgets its benches, as if it were another one."""

    def forget():
        monkeypatch.setattr(recipe, "_benches", recipe._Benches())

    return forget


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


_records = {}


def calibration(opu):
    """A calibration of the device, measured once."""
    key = opu.device.device_model.fingerprint()
    if key not in _records:
        bench = OpticalBench(opu.device.device_model, opu.device.seed)
        _records[key] = measure_linear(bench, roi=opu.device.exposure().bench_roi)
    return _records[key]


def twins(n_components=120, *, kind="counts", fit=True, **arguments):
    """Two OPUs of one device and seed, fitted, and calibrated where that is needed."""
    mode = "intensity" if kind in ("counts", "intensity") else "holographic"
    pair = [OPU(n_components, linear_mode=mode, seed=4, **arguments) for _ in range(2)]
    for opu in pair:
        if fit:
            opu.fit1d(n_features=N)
        if mode == "holographic":
            opu.device.linear_records[opu.device.exposure().bench_roi] = calibration(opu)
    return pair


def same(a, b):
    return a.dtype == b.dtype and np.array_equal(np.asarray(a), np.asarray(b))


# ---------------------------------------------------------------- equal to one call


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_bits_of_one_call_whatever_the_chunks(kind, scheduler, elsewhere):
    x = bits(150, N)
    now, later = twins(kind=kind)
    for i, chunks in enumerate([150, 64, 13, (1, 0, 70, 79)]):
        expected = CALLS[kind](now, x)
        y = CALLS[kind](later, da.from_array(x, chunks=(chunks, -1)))
        assert isinstance(y, da.Array) and y.shape == (150, 120) and y.chunks[1] == (120,)
        if i % 2:
            elsewhere()
        computed = y.compute(scheduler=scheduler)
        assert same(computed, expected) and type(computed) is np.ndarray
        assert later.device.bench.clock == now.device.bench.clock


@pytest.mark.parametrize("kind", CALLS)
def test_computed_again_in_parts_and_out_of_order(kind, elsewhere):
    x = bits(150, N)
    now, later = twins(kind=kind)
    expected = np.asarray(CALLS[kind](now, x))
    y = CALLS[kind](later, da.from_array(x, chunks=(50, -1)))
    other = later.transform(bits(5, N))
    assert same(now.transform(bits(5, N)), other)  # the frames were taken when the lazy array was made
    clock = (later.device.bench.clock.frames, later.device.bench.clock.elapsed_s)
    elsewhere()
    for rows in (slice(140, 150), slice(0, 3), slice(63, 66), slice(None), slice(None)):
        assert same(y[rows].compute(scheduler="synchronous"), expected[rows])
    assert (later.device.bench.clock.frames, later.device.bench.clock.elapsed_s) == clock


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["counts", "intensity", "field"])
@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_a_device_that_changes_meanwhile(kind, execution, elsewhere):
    x = bits(130, N)
    # Four frames of a vector, and those of the fit: the same number of states in a longer time.
    slower = RESTLESS.evolve(**{"medium.decorrelation_time_s": 60.0}) if kind == "field" else RESTLESS
    now, later = twins(kind=kind, device=slower, execution=execution)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The field of the anchor pattern has changed")
        expected = CALLS[kind](now, x)
        y = CALLS[kind](later, da.from_array(x, chunks=(37, -1)))
        elsewhere()
        assert same(y.compute(), expected)


@pytest.mark.parametrize("kind", ["counts", "intensity"])
def test_passes_of_the_driver_are_kept(kind):
    """Times are counted from the start of a pass, and add up otherwise in one sum."""
    x = bits(300, N)
    now, later = twins(kind=kind, device=RESTLESS, config_override={"n_samples_by_pass": 140})
    y = CALLS[kind](later, da.from_array(x, chunks=(90, -1)))
    assert same(y.compute(scheduler="synchronous"), CALLS[kind](now, x))


def test_a_camera_that_does_not_round():
    """Anchors of the linear transform are sums of floats: in the order in which one call adds them."""
    now, later = twins(kind="intensity", device="ideal")
    x = bits(200, N)
    y = later.linear_transform(da.from_array(x, chunks=(33, -1)))
    assert same(y.compute(), now.linear_transform(x))


@pytest.mark.parametrize("budget", [1, None])
def test_workers_take_the_way_that_was_chosen_here(budget, elsewhere, monkeypatch):
    """The way depends on memory, and last bits on the way: a worker with other memory must take the same."""
    now, later = twins(memory_budget=budget)
    x = bits(40, N)
    expected = now.transform(x)
    y = later.transform(da.from_array(x, chunks=(9, -1)))
    elsewhere()
    monkeypatch.setattr("opusim.bench.bench.memory_budget_bytes", lambda: 1 if budget is None else 1 << 40)
    assert same(y.compute(scheduler="synchronous"), expected)
    (bench,) = recipe._benches.made.values()
    patterns = MirrorPatterns(x, later.current_fit.layout)
    plan = bench.explain(patterns, roi=later.device.exposure().bench_roi, n_pixels=y.shape[1])
    assert plan.stored == (budget is None) and bench.threads == 1


@pytest.mark.parametrize("rescale", ["variance", "norm", "none"])
def test_scales(rescale):
    now, later = twins(kind="intensity", rescale=rescale)
    x = bits(20, N)
    assert same(later.linear_transform(da.from_array(x, chunks=(7, -1))).compute(), now.linear_transform(x))


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize("shape", [(N,), (1, N), (7, N), (2, 3, N)])
@pytest.mark.parametrize("kind", ["counts", "field"])
def test_batches_of_any_shape(shape, kind):
    now, later = twins(kind=kind)
    x = bits(*shape)
    for chunks in ("auto", 1):
        y = CALLS[kind](later, da.from_array(x, chunks=chunks))
        assert y.shape == (*shape[:-1], 120) and same(y.compute(), CALLS[kind](now, x))


def test_features_in_two_dimensions_and_packed():
    now, later = twins(fit=False)
    pictures = bits(9, 6, 10)
    for opu in (now, later):
        opu.fit2d(pictures)
    assert same(later.transform(da.from_array(pictures, chunks=(4, 3, 5))).compute(), now.transform(pictures))
    packed = np.packbits(bits(9, 64), axis=1)
    for opu in (now, later):
        opu.fit1d(packed, packed=True)
    assert same(later.transform(da.from_array(packed, chunks=(2, 3))).compute(), now.transform(packed))


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_types(dtype):
    now, later = twins()
    x = bits(6, N).astype(dtype)
    assert same(later.transform(da.from_array(x, chunks=(4, 7))).compute(), now.transform(x))


def test_the_product_gives_two_dimensions(monkeypatch):
    monkeypatch.setenv("OPUSIM_DEVICE", "ideal")
    opu = compat.OPU(30)
    opu.fit1d(n_features=N)
    assert opu.linear_transform(da.from_array(bits(N))).shape == (1, 30)


def test_lightonmls_simulator_computes_at_once():
    opu = compat.OPU(30, simulated=True, max_n_features=N)
    x = bits(5, N)
    opu.fit1d(n_features=N)
    y = opu.transform(da.from_array(x, chunks=(2, -1)))
    assert isinstance(y, ContextArray) and same(y, opu.transform(x))


# ---------------------------------------------------------------- fits


def test_a_fit_counts_the_ones_of_a_dask_array():
    """Half of these features are on, above the range of ones: the exposure follows."""
    now, later = twins(fit=False, config_override={"ones_range": [1000, 100_000]})
    x = bits(31, N)
    lazy_x = da.from_array(x, chunks=(8, 13))
    now.fit1d(x)
    later.fit1d(lazy_x)
    assert (
        later.current_fit.n_ones == now.current_fit.n_ones and later.device.exposure_us == now.device.exposure_us < 400
    )
    assert same(later.transform(lazy_x).compute(), now.transform(x))
    assert same(later.fit_transform1d(lazy_x).compute(), now.fit_transform1d(x))
    packed = np.packbits(x, axis=1)
    assert same(
        later.fit_transform1d(da.from_array(packed, chunks=4), packed=True).compute(),
        now.fit_transform1d(packed, packed=True),
    )


def test_a_fit_counts_what_a_client_holds_that_is_not_the_default_one():
    """There is none, or it is that of another cluster; Dask itself asks for the default one."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    x = bits(31, N)
    cluster = functools.partial(
        distributed.LocalCluster, n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    with cluster() as first, distributed.Client(first, set_as_default=False) as client:
        held = client.persist(da.from_array(x, chunks=(8, -1)))
        with cluster() as second:
            for default_client in (contextlib.nullcontext, functools.partial(distributed.Client, second)):
                with default_client():
                    now, later = twins(fit=False)
                    now.fit1d(x)
                    later.fit1d(held)
                    assert later.current_fit.n_ones == now.current_fit.n_ones
                    assert same(client.compute(later.transform(held)).result(), now.transform(x))


def test_without_a_fit_one_is_made():
    now, later = twins(fit=False)
    x = bits(12, N)
    assert same(later.transform(da.from_array(x, chunks=5)).compute(), now.transform(x))
    assert later.current_fit.n_ones == now.current_fit.n_ones is not None


# ---------------------------------------------------------------- encoders


@pytest.mark.parametrize(
    ("encoder", "decoder", "dtype"),
    [
        (encoding.BinaryThresholdEncoder(100), None, np.uint8),
        (encoding.ConcatenatedBitPlanEncoder(2), encoding.NoDecoding, np.uint8),
        (encoding.MultiThresholdEncoder([50, 100, 150]), None, np.uint8),
        (encoding.Float32Encoder(exp_bits=3, mantissa_bits=0), encoding.MixingBitPlanDecoder(4), np.float32),
        (encoding.Float32Encoder(exp_bits=3, mantissa_bits=0), None, np.float32),
        (encoding.SeparatedBitPlanEncoder(n_bits=8), encoding.MixingBitPlanDecoder, np.uint8),
        (encoding.SeparatedBitPlanEncoder(n_bits=4), encoding.ConcatenatingBitPlanDecoder, np.uint8),
    ],
)
def test_encoders_that_take_each_vector_by_itself(encoder, decoder, dtype):
    numbers = np.random.default_rng(1).integers(0, 256, (45, N)).astype(dtype)
    for kind in ("counts", "intensity", "holographic"):
        now, later = twins(kind=kind, fit=False)
        for opu in (now, later):
            opu.fit1d(encoder.transform(numbers))
        call = OPU.transform if kind == "counts" else OPU.linear_transform
        y = call(later, da.from_array(numbers, chunks=(11, 30)), encoder, decoder)
        expected = call(now, numbers, encoder, decoder)
        assert y.shape == expected.shape and y.dtype == expected.dtype
        assert same(y.compute(), expected)


class Bright:
    by_vector = True

    def transform(self, x):
        return (x > x.mean(axis=1, keepdims=True)).astype(np.uint8)


def test_an_own_encoder_says_that_it_goes_by_vector():
    now, later = twins()
    numbers = np.random.default_rng(1).random((10, N))
    y = later.transform(da.from_array(numbers, chunks=(3, 5)), Bright, encoding.NoDecoding)
    assert same(y.compute(), now.transform(numbers, Bright, encoding.NoDecoding))


@pytest.mark.parametrize(
    ("encoder", "decoder", "named"),
    [
        (encoding.SeparatedBitPlanEncoder(), None, "encoder_cls"),
        (type("Own", (), {"transform": lambda self, x: x}), None, "encoder_cls"),
        (None, encoding.SeparatedBitPlanDecoder(6), "decoder_cls"),
        (encoding.NoEncoding(), encoding.SeparatedBitPlanDecoder, "decoder_cls"),
        (type("Flat", (), {"by_vector": True, "transform": lambda self, x: x.ravel()}), None, "number of dimensions"),
    ],
)
def test_coders_that_are_refused(encoder, decoder, named):
    opu = twins()[0]
    frames = opu.device.bench.clock.frames
    with pytest.raises(TypeError, match=named):
        opu.transform(da.zeros((8, N), dtype=np.uint8, chunks=4), encoder, decoder)
    assert opu.device.bench.clock.frames == frames


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((0, N), np.uint8), np.zeros((3, N + 1), np.uint8), np.zeros((2, 2, 2, N), np.uint8),
        np.zeros((3, N), complex), np.zeros((3, N), "U1"),
    ],
    ids=["empty", "features", "dimensions", "complex", "text"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["counts", "intensity"])
def test_the_sentences_are_those_for_arrays(x, kind):
    now, later = twins(kind=kind)
    with pytest.raises(Exception) as expected:  # noqa: B017 - whatever an array raises
        CALLS[kind](now, x)
    with pytest.raises(type(expected.value)) as error:
        CALLS[kind](later, da.from_array(x, chunks=-1))
    assert str(error.value) == str(expected.value)
    assert later.device.bench.clock.frames == 0


@pytest.mark.parametrize("value", [2, 0.5, np.nan])
def test_a_value_that_is_no_bit_is_named_where_it_is(value):
    now, later = twins()
    x = bits(5, 4, N).astype(np.float32)
    x[3, 2, 17] = value
    with pytest.raises(ValueError, match=r"X\[3, 2, 17\]") as expected:
        now.transform(x)
    y = later.transform(da.from_array(x, chunks=(2, 3, 20)))
    with pytest.raises(ValueError, match=r"X\[3, 2, 17\]") as error:
        y.compute(scheduler="synchronous")
    assert str(error.value) == str(expected.value)
    with pytest.raises(ValueError, match=r"X\[3, 2, 17\]"):
        later.fit1d(da.from_array(x, chunks=(2, 3, 20)))


@pytest.mark.parametrize("block", [lambda b: b[:1], lambda b: np.concatenate([b, b]), lambda b: b[:, :-1]])
def test_blocks_that_are_not_as_declared_are_told(block):
    """Shorter ones gave a shorter result, and longer ones lost vectors where chunks are cut anew."""
    x = bits(N, 50)
    with OPU(20, device="ideal", disable_pbar=True) as opu:
        opu.fit1d(x)
        for chunks in ((20, -1), (20, 25)):
            lazy = da.from_array(x, chunks=chunks).map_blocks(block, dtype=x.dtype, meta=x[:0])
            with pytest.raises(ValueError, match=r"block \[.*\] has shape \(.*\), but it was declared with \("):
                opu.transform(lazy).compute(scheduler="synchronous")
            with pytest.raises(ValueError, match="but it was declared with"):
                opu.fit1d(lazy)


class Halving:
    """An encoder that says that it goes by vector, and gives fewer for many."""

    by_vector = True

    def transform(self, x):
        return x[: -(-len(x) // 2)]


def test_an_encoder_that_makes_another_number_of_vectors_is_told():
    x = bits(N, 50)
    with OPU(20, device="ideal", disable_pbar=True) as opu:
        opu.fit1d(x)
        lazy = opu.transform(da.from_array(x, chunks=(20, -1)), encoder_cls=Halving)
        with pytest.raises(CoderError, match=r"made the shape \(10, 50\) of a block of shape \(20, 50\), but"):
            lazy.compute(scheduler="synchronous")


def test_unknown_chunks():
    opu = twins()[0]
    x = da.from_array(bits(20, N), chunks=(5, -1))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        opu.transform(x[x[:, 0] > 0])
    assert opu.transform(x[x[:, 0] > 0].compute_chunk_sizes()).compute().shape[1] == 120


def test_states_in_which_nothing_is_shown():
    x = da.from_array(bits(5, N))
    opu = twins(kind="intensity")[0]
    opu.fit1d(n_features=N, input_roi_strategy="small")
    with pytest.raises(NotReadyError, match="strategy full"):
        opu.linear_transform(x)
    opu.fit1d(n_features=64, packed=True)
    with pytest.raises(RuntimeError, match="packed"):
        opu.linear_transform(da.zeros((5, 8), dtype=np.uint8))
    opu.fit1d(n_features=N, online=True)
    for transform in (opu.transform, opu.linear_transform):
        with pytest.raises(NotReadyError, match="online"):
            transform(x)
    opu.close()
    with pytest.raises(NotReadyError, match="open"):
        opu.transform(x)


def test_a_closed_device_still_gives_what_was_reserved():
    now, later = twins()
    x = bits(9, N)
    with later:
        y = later.transform(da.from_array(x, chunks=4))
    later.close()
    assert same(y.compute(), now.transform(x))


def test_another_kind_of_bench(opu):
    """The fixture's bench has no optics: nobody could make it anew."""
    opu.fit1d(n_features=N)
    with pytest.raises(TypeError, match="FakeBench, which workers cannot make"):
        opu.transform(da.from_array(bits(5, N)))


def test_a_worker_of_another_version(elsewhere, monkeypatch):
    y = twins()[0].transform(da.from_array(bits(5, N)))
    elsewhere()
    monkeypatch.setattr(opusim, "__version__", "99")
    with pytest.raises(RuntimeError, match="worker has opusim 99"):
        y.compute(scheduler="synchronous")


def test_a_measured_matrix_is_found_again_or_missed(tmp_path, elsewhere, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("tm.h5", "other.h5"):
        with h5py.File(name, "w") as file:
            file["tm"] = (rng.normal(size=(300, N)) + 1j * rng.normal(size=(300, N))).astype(np.complex64)
    table = Device.load("aurora").to_dict()
    table["medium"] = {"kind": "measured", "path": "tm.h5"}
    device = Device.from_dict(table)
    now, later = twins(device=device)
    x = bits(9, N)
    expected = now.transform(x)
    y = later.transform(da.from_array(x, chunks=4))
    elsewhere()
    monkeypatch.chdir(tmp_path.parent)  # a worker runs in another folder
    assert same(y.compute(scheduler="synchronous"), expected)
    elsewhere()
    (tmp_path / "other.h5").rename(tmp_path / "tm.h5")
    with pytest.raises(RuntimeError, match="holds another matrix"):
        y.compute(scheduler="synchronous")


def test_a_file_of_another_medium_is_missed_too(tmp_path, elsewhere, monkeypatch):
    """Of one's own, whose field that names the file has a name of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(medium.MEDIA, "_parts", dict(medium.MEDIA._parts))  # known in this test alone

    @dataclass(frozen=True)
    class FiledMedium(medium.EntryMedium):
        kind: ClassVar[str] = "filed"
        files: ClassVar[tuple[str, ...]] = ("matrix_file",)

        matrix_file: str = "matrix.npy"
        transmission: float = 1e-10
        decorrelation_time_s: float = math.inf

        def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
            phase = np.load(self.matrix_file)
            return np.exp(1j * phase * np.outer(np.array(inputs), np.array(outputs))).astype(np.complex64)

    np.save("matrix.npy", 0.1)
    device = Device.load("aurora").evolve(medium=FiledMedium())
    now, later = twins(device=device)
    x = bits(9, N)
    y = later.transform(da.from_array(x, chunks=4))
    assert same(y.compute(scheduler="synchronous"), now.transform(x))
    elsewhere()
    np.save("matrix.npy", 0.2)
    with pytest.raises(RuntimeError, match=r"not the same on this worker: '.*matrix\.npy' holds another matrix, or"):
        y.compute(scheduler="synchronous")


# ---------------------------------------------------------------- what it costs


def test_a_task_is_a_light_one():
    """What is sent is settings and frames: the matrix alone would take 6 MB."""
    opu = OPU(1000)
    x = bits(100, 784)
    opu.fit_transform1d(x)
    y = opu.transform(da.from_array(x, chunks=(10, -1)))
    sizes = [len(pickle.dumps(task)) for name, task in dict(y.__dask_graph__()).items() if "opu" in str(name)]
    assert len(sizes) >= 12 and max(sizes) < 20_000


def test_large_chunks_are_split():
    """A task holds at most 32 MiB of input and result: 784 + 10 000 bytes a vector."""
    opu = OPU(10_000)
    opu.fit1d(n_features=784)
    y = opu.transform(da.zeros((20_000, 784), dtype=np.uint8, chunks=(20_000, -1)))
    assert max(y.chunks[0]) <= (32 << 20) // 10_784 and len(y.chunks[0]) <= 8
    with_small_ones = opu.transform(da.zeros((100, 784), dtype=np.uint8, chunks=(10, -1)))
    assert with_small_ones.chunks[0] == (10,) * 10


def test_few_benches_are_kept(elsewhere):
    x = bits(3, N)
    lazies = []
    for seed in range(4):
        opu = OPU(20, seed=seed)
        opu.fit1d(n_features=N)
        lazies.append(opu.transform(da.from_array(x)))
    elsewhere()
    for y in lazies:
        y.compute(scheduler="synchronous")
    assert len(recipe._benches.made) == 2
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(lazies[0].compute(), lazies[1].compute())


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=12).filter(sum),
    st.integers(1, 20),
    st.integers(1, 64),
)
def test_edges_of_chunks(given_sizes, pieces, align):
    most = pieces * align
    sizes = lazy._chunks(tuple(given_sizes), most, align)
    assert sum(sizes) == sum(given_sizes) and min(sizes) > 0 and max(sizes) <= most
    assert all(edge % align == 0 for edge in np.cumsum(sizes)[:-1])
    if align == 1 and max(given_sizes) <= most:
        assert sizes == tuple(size for size in given_sizes if size)


# ---------------------------------------------------------------- other processes


@pytest.mark.slow
def test_processes_that_share_nothing():
    """Workers of a cluster, started afresh, show every kind of transform; those of Dask's own pool show the last."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    x = bits(130, N)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster),
    ):
        for kind in CALLS:
            now, later = twins(kind=kind)
            y = CALLS[kind](later, da.from_array(x, chunks=(23, -1)))
            assert same(y.compute(), CALLS[kind](now, x))
    assert same(y[70:75].compute(scheduler="processes"), CALLS[kind](twins(kind=kind)[0], x)[70:75])
