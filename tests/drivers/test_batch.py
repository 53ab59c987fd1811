"""A batch that is shown in parts: the numbers of one call, whoever computes them."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from opusim import Device
from opusim.base.errors import NotReadyError
from opusim.drivers import OPU, acquire
from opusim.drivers.batch import Batch

N, FEATURES, OUTPUTS = 150, 90, 40
CALLS = [
    ("transform", "auto", np.uint8),
    pytest.param("linear_transform", "holographic", np.float32, marks=pytest.mark.slow),
    ("linear_transform", "intensity", np.float32),
    pytest.param("field_transform", "holographic", np.complex64, marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True)
def no_calibration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def vectors(density: float = 0.5) -> np.ndarray:
    return (np.random.default_rng(3).random((N, FEATURES)) < density).astype(np.uint8)


def made(mode: str = "auto", **more) -> OPU:
    return OPU(OUTPUTS, device="aurora", seed=5, linear_mode=mode, disable_pbar=True, **more)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("call", "mode", "dtype"), CALLS)
def test_parts_in_any_order_are_one_call(call, mode, dtype, tmp_path, monkeypatch):
    """Each part by an OPU of its own that has calibrated for itself, after a call that took frames."""
    x = vectors()

    def opu_of_a_task(name: str) -> OPU:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / name))
        opu = made(mode)
        opu.fit1d(x)
        opu.transform(x[:7])
        return opu

    with opu_of_a_task("whole") as opu:
        expected = np.asarray(getattr(opu, call)(x))
        after = np.asarray(opu.transform(x[:5]))
    assert expected.dtype == dtype
    for name, part in (("c", "3/3"), ("a", "1/3"), ("b", "2/3")):
        with opu_of_a_task(name) as opu:
            batch = opu.batch(N, call)
            rows = batch.rows(part)
            first, last = rows.start, rows.stop
            found = batch.transform(x[first:last], first)
            assert found.dtype == dtype and np.array_equal(found, expected[first:last])
            # The clock is that of one call: what comes next meets the same noise.
            assert np.array_equal(opu.transform(x[:5]), after)
            again = pickle.loads(pickle.dumps(batch))
            assert isinstance(again, Batch) and np.array_equal(again.transform(x[first:last], first), found)


@pytest.mark.parametrize("packed", [False, True])
def test_images_and_packed_bits(packed):
    x = vectors().reshape(N, 9, 10)
    data = np.packbits(x.reshape(N, -1), axis=1) if packed else x
    results = []
    for parts in (1, 3):
        with made() as opu:
            opu.fit2d(data, (9, 10) if packed else None, packed)
            if parts == 1:
                results.append(np.asarray(opu.transform(data)))
            else:
                batch = opu.batch(N)
                results.append(np.concatenate([batch.transform(data[i : i + 50], i) for i in range(0, N, 50)]))
    assert np.array_equal(*results)


@pytest.mark.slow
def test_several_passes_and_drift():
    """Frames of later passes, and a medium that changes with time."""
    aurora = Device.load("aurora")
    device = aurora.evolve(medium=replace(aurora.medium, decorrelation_time_s=2.0))
    x = np.tile(vectors(), (4, 1))
    override = {"n_samples_by_pass": 64}
    results = []
    for whole in (True, False):
        with OPU(OUTPUTS, device=device, seed=1, config_override=override, disable_pbar=True) as opu:
            opu.fit1d(x)
            if whole:
                results.append(np.asarray(opu.transform(x)))
            else:
                batch = opu.batch(len(x))
                starts = [550, 0, 63, 65]
                stops = [600, 63, 65, 550]
                parts = {a: batch.transform(x[a:b], a) for a, b in zip(starts, stops, strict=True)}
                results.append(np.concatenate([parts[a] for a in sorted(parts)]))
    assert np.array_equal(*results)


def test_what_is_no_part_of_the_batch_is_told():
    x = vectors()
    opu = made("intensity")
    with pytest.raises(NotReadyError, match="There was no fit: call fit1d or fit2d, on the data of the whole batch"):
        opu.batch(10)
    opu.fit1d(x)
    with pytest.raises(ValueError, match="call is 'fit', but it must be one of 'transform'"):
        opu.batch(10, "fit")
    with pytest.raises(ValueError, match="n_vectors is 0"):
        opu.batch(0)
    batch = opu.batch(10)
    assert repr(batch) == "Batch(10 vectors of 90 features, 40 outputs)" and batch.n_vectors == 10
    with pytest.raises(ValueError, match="X holds 5 vectors and first is 6, but the batch has 10"):
        batch.transform(x[:5], 6)
    with pytest.raises(ValueError, match="first is 10"):
        batch.transform(x[:5], 10)
    with pytest.raises(ValueError, match="must hold vectors one after the other"):
        batch.transform(x[0], 0)
    with pytest.raises(ValueError, match="X has shape"):
        batch.transform(x[:5, :80], 0)
    with pytest.raises(ValueError, match=r"X should be binary, but X\[3, 2\] is 7"):
        bad = x[:2].copy()
        bad[1, 2] = 7
        batch.transform(bad, 2)
    linear = opu.batch(100, "linear_transform")
    assert linear.block == 1 and batch.block == 1
    opu.close()
    with pytest.raises(NotReadyError):
        opu.batch(10)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_holography_is_shown_in_blocks():
    with made("holographic") as opu:
        opu.fit1d(vectors())
        batch = opu.batch(N, "linear_transform")
        assert batch.block == 64
        rows = [batch.rows(f"{k}/4") for k in (1, 2, 3, 4)]
        assert [(r.start, r.stop) for r in rows] == [(0, 0), (0, 64), (64, 128), (128, 150)]
        with pytest.raises(ValueError, match="holds the vectors 10 to 19 .* shows 64 together: .* multiple of 64"):
            batch.transform(vectors()[10:20], 10)


def test_a_batch_is_as_large_as_the_clock_allows():
    """At once, and in no more memory than a small one; the clock stays where it was if it does not hold so many."""
    x = vectors()
    with made() as opu:
        opu.fit1d(x)
        for n in (2**60, 2**70, 10**400):
            with pytest.raises(ValueError, match="but a bench ends at frame 4611686018427387904 and at 1e"):
                opu.batch(n)
        assert (opu.bench.clock.frames, opu.bench.clock.elapsed_s) == (0, 0.0)
        expected = np.asarray(opu.transform(x[:4]))
    with made() as opu:
        opu.fit1d(x)
        batch = opu.batch(2**50)
        assert len(pickle.dumps(batch)) < 100_000 and opu.bench.clock.frames == 2**50
        assert np.array_equal(batch.transform(x[:4], 0), expected)
        assert batch.transform(x[:4], 2**50 - 4).shape == expected.shape


def test_passes_of_a_batch_begin_where_those_of_one_call_do(monkeypatch):
    """And the clock ends there, to the last bit."""
    monkeypatch.setattr(acquire, "_PASS_BYTES", 7 * FEATURES)
    x, clocks = vectors(), []
    for way in ("call", "batch"):
        with made() as opu:
            opu.fit1d(x)
            opu.transform(x[:5])
            found = opu.transform(x) if way == "call" else opu.batch(N).transform(x, 0)
            clocks.append((opu.bench.clock.frames, opu.bench.clock.elapsed_s, np.asarray(found).tobytes()))
    assert clocks[0] == clocks[1]


@pytest.mark.parametrize("packed", [False, True])
def test_a_camera_that_lags_is_told_the_vector_before(packed):
    """Parts that end within a pass and at its end, in any order, are one call; other calls by parts are refused."""
    device = Device.load("aurora").evolve(**{"camera.lag": 0.3})
    x = np.packbits(vectors(), axis=1) if packed else vectors()
    settings = {"device": device, "seed": 1, "config_override": {"n_samples_by_pass": 64}, "linear_mode": "intensity"}
    with OPU(OUTPUTS, **settings) as opu:
        opu.fit1d(x, packed=packed)
        expected = np.asarray(opu.transform(x))
    with OPU(OUTPUTS, **settings) as opu:
        opu.fit1d(x, packed=packed)
        batch = pickle.loads(pickle.dumps(opu.batch(N)))
        for a, b in ((64, 140), (10, 64), (140, N), (0, 10)):
            found = batch.transform(x[a:b], a, x[a - 1 : a] if a else None)
            assert np.array_equal(found, expected[a:b])
        other = batch.transform(x[64:66], 64, x[:1])
        assert not np.array_equal(other[0], expected[64]) and np.array_equal(other[1], expected[65])
        with pytest.raises(ValueError, match="before is None, but with camera.lag above 0 the frame of vector 64 is"):
            batch.transform(x[64:66], 64)
        with pytest.raises(ValueError, match="before has shape .* but it must hold one vector"):
            batch.transform(x[64:66], 64, x[:2])
        if not packed:
            with pytest.raises(NotReadyError, match=r"by parts \(OPU.batch\) takes several frames a vector"):
                opu.batch(N, "linear_transform")
        dask = pytest.importorskip("dask.array")
        with pytest.raises(NotReadyError, match=r"X is a Dask array, .* transform an array in memory \(X.compute"):
            opu.transform(dask.from_array(x, chunks=(10, -1)))
