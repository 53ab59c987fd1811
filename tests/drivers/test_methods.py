"""Ways from vectors to outputs: each keeps its word about frames, and gives what it is to give, at once and lazily."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest

from opusim import OPU
from opusim.base import folders
from opusim.calibration.procedures.linear import measure_linear
from opusim.drivers import NotReadyError, acquire, inputs
from opusim.drivers.methods.base import Method
from opusim.drivers.methods.counts import Counts
from opusim.drivers.methods.holography import holography_of
from opusim.drivers.methods.intensity import Intensity, anchor, intensity_of
from opusim.patterns.layout import MirrorPatterns
from own_anchor import OwnAnchor

N, M = 48, 60
KINDS = ("counts", "intensity", "holography")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "config_folder", lambda: tmp_path / "opusim")


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def record():
    opu = OPU(M, device="ideal")
    return measure_linear(opu.device.bench, roi=opu.device.exposure().bench_roi)


def fitted(**arguments) -> OPU:
    opu = OPU(M, device="ideal", rescale="none", **arguments)
    opu.fit1d(n_features=N)
    return opu


def method_of(kind: str, opu: OPU, record: Any) -> tuple[Method, Any]:
    """The method, and the exposure that it is for."""
    fit, device = opu.current_fit, opu.device
    exposure = device.exposure()
    if kind == "counts":
        return Counts(device.output_dtype), exposure
    if kind == "intensity":
        return intensity_of(fit, device, exposure), exposure
    return holography_of(fit, device, exposure, record, M, complex_output=True)


def acquired(method: Method, X: Any, opu: OPU, exposure: Any = None, n_samples_by_pass: int = 3000) -> Any:
    """What the public door gives: data as the OPU reads them, shown by any method."""
    fit, device = opu.current_fit, opu.device
    exposure = device.exposure() if exposure is None else exposure
    data = inputs.read(X, fit.traits, device.backend)
    n_out = acquire.output_size(fit, opu.n_components, exposure)
    return acquire.run(method, data, fit, device, exposure, n_out, n_samples_by_pass=n_samples_by_pass)


# ---------------------------------------------------------------- by the OPU


def test_an_opu_shows_vectors_by_any_method(record):
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    x = np.random.default_rng(5).integers(0, 2, (7, N), dtype=np.uint8)
    opu = fitted()
    method, _ = method_of("intensity", opu, record)
    # The device is without noise: a second look is the same.
    shown = opu.acquire(method, x)
    assert shown.dtype == np.float32 and np.array_equal(shown, acquired(method, x, opu))
    assert np.array_equal(opu.acquire(method, x[0]), shown[0])
    assert np.array_equal(opu.acquire(method, da.from_array(x, chunks=(3, N))).compute(), shown)


@pytest.mark.parametrize("method", [Counts, "counts", None])
def test_what_is_no_method_is_refused(method):
    with pytest.raises(TypeError, match=r"^method is .*, but it must be an object of opusim.drivers.methods.base.Meth"):
        fitted().acquire(method, np.ones((2, N), dtype=np.uint8))


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
def test_frames_are_those_of_the_clock(kind, n, record):
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    opu = fitted()
    method, exposure = method_of(kind, opu, record)
    step = acquire.pass_size(method, N, M, opu.device.output_dtype.itemsize, 100)
    passes = [min(step, n - first) for first in range(0, n, step)]
    expected = sum(method.frames(k) for k in passes)
    assert expected == acquire.patterns_of(method, n, step) * method.steps
    clock = opu.device.bench.clock
    for X in (bits(n, N), da.from_array(bits(n, N), chunks=(7, -1))):
        frames, start_s = clock.frames, clock.elapsed_s
        acquired(method, X, opu, exposure, 100)
        assert clock.frames - frames == expected
        assert clock.elapsed_s - start_s == pytest.approx(expected * exposure.frametime_us / 1e6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 64, 65, 130])
def test_patterns_of_a_part_are_those_of_the_pass(kind, n, record):
    """Shown in the frames that are said to be theirs, parts make the whole, but for what all vectors share."""
    opu = fitted()
    method, _ = method_of(kind, opu, record)
    x = bits(n, N)
    whole = method.encode(x)
    assert len(whole) == method.patterns(n) and whole.dtype == np.uint8 and whole.max() <= 1
    if not method.parted:
        return
    for a, b in ((0, n), (0, 1), (n // 2, n), (n - 1, n)):
        places = method.places(range(a, b), n)
        assert (np.diff(places) > 0).all() and len(places) == (b - a) * method.per_vector()
        assert np.array_equal(whole[places], method.encode(x[a:b], part=True))


# ---------------------------------------------------------------- there and back


def fields_of(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) @ matrix


def a_matrix(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(N, M)) + 1j * rng.normal(size=(N, M))) / np.sqrt(2)


def test_counts_there_and_back():
    x, matrix = bits(9, N), a_matrix()
    method = Counts(np.dtype(np.float64))
    frames = np.abs(fields_of(method.encode(x), matrix)) ** 2
    assert np.array_equal(method.decode(frames), np.abs(fields_of(x, matrix)) ** 2)


@pytest.mark.parametrize(("n", "each"), [(1, 2), (64, 2), (65, 2), (150, 2), (65, 3), (150, 5)])
def test_intensity_there_and_back(n, each):
    """R is the matrix in the phase of the field of all features, with a sign of each column, for a dark level too."""
    x, matrix, black = bits(n, N), a_matrix(), 3.0
    method = Intensity(N, black, float(np.mean(np.abs(matrix.sum(axis=0)) ** 2)), each)

    def shown(patterns):
        return np.abs(fields_of(patterns, matrix)) ** 2 + black

    anchors = method.begin()
    y = method.finish(method.decode(shown(method.encode(x)), anchors), anchors)
    ones = matrix.sum(axis=0)
    floor = np.sqrt(0.02 * method.level_dn)
    rows = np.conj(ones) / np.maximum(np.abs(ones), floor) * matrix * (1 - 2.0 * anchor(N))[:, None]
    known = np.sqrt(2 * N / method.level_dn) * (x @ rows).real
    assert y.dtype == method.dtype and np.abs(y - known).max() < 1e-4 * np.sqrt(np.mean(known**2))
    # The same in parts: the anchors before, then the vectors.
    shared = method.shared(lambda k, places, patterns: shown(patterns), [n], N)
    part = method.decode(shown(method.encode(x[: n // 2 + 1], part=True)), shared, part=True)
    assert np.allclose(method.finish(part, shared), y[: n // 2 + 1], rtol=1e-6, atol=1e-6)


def test_holography_there_and_back(record):
    opu = fitted()
    method, _ = method_of("holography", opu, record)
    n_pixels, x = method.n_pixels, bits(20, N)
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(N, n_pixels)) + 1j * rng.normal(size=(N, n_pixels))
    background = rng.normal(size=n_pixels) + 1j * rng.normal(size=n_pixels)
    reference = np.full(n_pixels, 50.0)
    even = replace(
        record, actual_rad=record.asked_rad, dark_dn=np.zeros(n_pixels, np.float32), coherence=1.0,
        reference_dn=(reference**2).astype(np.float32), valid=np.ones(n_pixels, bool), full_scale_dn=np.inf,
    )  # fmt: skip

    def shown(patterns):
        fields = fields_of(patterns, matrix) + background
        turned = np.exp(1j * method.phases_rad)
        return (np.abs(fields[:, None] + (reference * turned[:, None])[None]) ** 2).reshape(-1, n_pixels)

    at_anchor = (fields_of(anchor(N)[None], matrix) + background)[0].astype(np.complex64)
    fields = replace(method.fields, anchor=at_anchor, background=background.astype(np.complex64), scale=2.0)
    y = replace(method, record=even, fields=fields).decode(shown(method.encode(x)))
    known = fields_of(x, matrix)[:, :M] / 2.0
    assert y.dtype == method.dtype == np.complex64 and y.shape == (20, M)
    assert np.abs(y - known).max() < 1e-4 * np.sqrt(np.mean(np.abs(known) ** 2))


@pytest.mark.parametrize("kind", KINDS)
def test_through_the_whole_device(kind, record):
    """Counts are a square, the others linear; on a device without noise, to its rounding and single precision."""
    opu = fitted()
    method, exposure = method_of(kind, opu, record)
    x = bits(70, N)
    y = np.asarray(acquired(method, x, opu, exposure))
    if kind == "counts":
        field = np.asarray(acquired(method_of("holography", opu, record)[0], x, opu, exposure))
        ratio = y / np.abs(field) ** 2
        strong = np.abs(field) ** 2 > np.mean(np.abs(field) ** 2)
        assert np.std(ratio[strong]) < 0.05 * np.mean(ratio[strong])
        return
    apart = [
        np.asarray(acquired(method, part, opu, exposure))
        for part in (x * (np.arange(N) < 20), x * (np.arange(N) >= 20))
    ]
    assert np.abs(sum(apart) - y).max() < 5e-3 * np.sqrt(np.mean(np.abs(y) ** 2))


# ---------------------------------------------------------------- a third one


@dataclass(frozen=True)
class Contrast(Method):
    """What a vector gives beyond its complement: two frames each, and one of all mirrors for every block of ten."""

    n_features: int
    dtype = np.dtype(np.float64)
    block = 10
    shares = True

    def frames(self, n):
        return 2 * n + -(-n // 10)

    def encode(self, bits, *, part=False):
        pairs = np.stack([bits, 1 - bits], axis=1)
        if part:
            return pairs.reshape(-1, self.n_features)
        blocks = [pairs[first : first + 10].reshape(-1, self.n_features) for first in range(0, len(bits), 10)]
        ones = np.ones((1, self.n_features), dtype=np.uint8)
        return np.concatenate([each for block in blocks for each in (ones, block)])

    def decode(self, frames, shared=None, *, out=None, part=False, threads=None):
        if not part:
            first = np.arange(len(frames)) % 21 == 0
            shared.extend(frames[first].astype(np.float64))
            frames = frames[~first]
        return frames[::2].astype(np.float64) - frames[1::2]

    def begin(self):
        return []

    def finish(self, results, shared):
        results /= np.mean(shared)
        return results

    def shared(self, show, sizes, n_features):
        every = []
        for k, n in enumerate(sizes):
            places = 21 * np.arange(-(-n // 10))
            every.extend(show(k, places, np.ones((len(places), n_features), dtype=np.uint8)).astype(np.float64))
        return every

    def places(self, numbers, n):
        v = np.array(numbers)
        return ((2 * v + v // 10 + 1)[:, None] + np.arange(2)).ravel()


@pytest.mark.parametrize("n", [1, 10, 25, 64])
@pytest.mark.parametrize("n_samples_by_pass", [30, 3000])
def test_a_third_method_at_once_and_lazily(n, n_samples_by_pass):
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    x = bits(n, N)
    opus = [OPU(M, seed=5) for _ in range(2)]
    for opu in opus:
        opu.fit1d(n_features=N)
    now = acquired(Contrast(N), x, opus[0], n_samples_by_pass=n_samples_by_pass)
    assert now.shape == (n, M) and now.dtype == np.float64 and now.context.exposure_us == 400
    later = acquired(Contrast(N), da.from_array(x, chunks=(7, -1)), opus[1], n_samples_by_pass=n_samples_by_pass)
    assert isinstance(later, da.Array) and later.chunks[0][0] == min(7, n)
    for _ in range(2):
        assert np.array_equal(later.compute(scheduler="synchronous"), now)
    assert opus[0].device.bench.clock.frames == opus[1].device.bench.clock.frames
    # By counts alone: the same, pattern by pattern.
    third = OPU(M, seed=5)
    third.fit1d(n_features=N)
    step = acquire.pass_size(Contrast(N), N, M, 1, n_samples_by_pass)
    shown = [np.asarray(third.transform(Contrast(N).encode(x[a : a + step]))) for a in range(0, n, step)]
    anchors = [part[np.arange(len(part)) % 21 == 0].astype(float) for part in shown]
    pairs = np.concatenate([part[np.arange(len(part)) % 21 > 0].astype(float) for part in shown])
    known = (pairs[::2] - pairs[1::2]) / np.mean(np.concatenate(anchors))
    assert np.allclose(now, known, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 6, 25, 60])
@pytest.mark.parametrize("by_light", [False, True])
def test_whole_blocks_that_share_something(n, by_light):
    """A worker shows a block as one call does, and adds nothing to what all workers have: in any order, and again."""
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    x = bits(n, N)
    opus = [OPU(M, seed=5) for _ in range(2)]
    for opu in opus:
        opu.fit1d(n_features=N)
    method = OwnAnchor(by_light)
    now = acquired(method, x, opus[0])
    later = acquired(method, da.from_array(x, chunks=(7, -1)), opus[1])
    assert opus[0].device.bench.clock.frames == opus[1].device.bench.clock.frames == n + -(-n // 6)
    for scheduler in ("synchronous", "threads", "synchronous"):
        assert np.array_equal(later.compute(scheduler=scheduler), now)


def test_a_third_method_in_the_shapes_and_states_of_the_others():
    opu = OPU(M)
    opu.fit1d(n_features=N)
    assert acquired(Contrast(N), bits(N), opu).shape == (M,)
    assert acquired(Contrast(N), bits(2, 3, N), opu).shape == (2, 3, M)
    with pytest.raises(ValueError, match=r"X\[0, 0\] is 2"):
        acquired(Contrast(N), np.full((2, N), 2), opu)
    assert opu.device.bench.clock.frames == 2 + 1 + 2 * 6 + 1
    opu.fit1d(n_features=N, online=True)
    with pytest.raises(NotReadyError, match="online"):
        acquired(Contrast(N), bits(N), opu)
    opu.close()
    with pytest.raises(NotReadyError, match="open"):
        acquired(Contrast(N), bits(N), opu)


def test_what_follows_from_frames():
    method = Contrast(N)
    assert (method.steps, method.per_vector(), method.patterns(25)) == (1, 2, 53)
    assert [acquire.pass_size(method, N, M, 1, most) for most in (1, 21, 62, 63)] == [10, 10, 20, 30]
    assert acquire.patterns_of(method, 25, 10) == 21 + 21 + 11
    assert method.task_bytes(100, 2) == 100 * (2 * 2 + 8)
    assert Counts(np.dtype(np.uint8)).task_bytes(100, 1) == 100


# ---------------------------------------------------------------- values are read once


@pytest.mark.parametrize("call", ["transform", "linear_transform", "fit_transform1d"])
def test_values_are_read_once(call, monkeypatch):
    opu = OPU(M, linear_mode="intensity")
    opu.fit1d(n_features=N)
    looks = []
    check = inputs.HostInput._check_values
    monkeypatch.setattr(inputs.HostInput, "_check_values", lambda *a: looks.append(1) or check(*a))
    monkeypatch.setattr(MirrorPatterns, "__post_init__", lambda self: looks.append(2))
    getattr(opu, call)(bits(5, N))
    assert looks == [1]


def test_a_lazy_input_is_an_input():
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    opu = OPU(M)
    opu.fit1d(n_features=N)
    x = bits(9, N)
    data = inputs.read(da.from_array(x, chunks=4), opu.current_fit.traits, "auto")
    assert isinstance(data, inputs.UserInput) and not isinstance(data, inputs.PresentInput)
    assert data.count_ones() == x.sum() / 9 and (data.n_samples, data.batch_shape) == (9, (9,))


# ---------------------------------------------------------------- one that derives from ours


def own(of: type, names: dict[str, Any]) -> type:
    """A class that derives from one of ours, with members of its own."""
    return type("Own", (of,), names)


def twice(of: type) -> Any:
    """A `decode` with twice the result."""

    def decode(self, *given, **more):
        more.pop("out", None)
        return 2 * of.decode(self, *given, **more)

    return decode


@pytest.mark.parametrize("kind", ["intensity", "holography"])
def test_what_a_class_says_otherwise_is_not_passed_by(kind, record):
    """Its own `decode`, also from a class beside ours, and none of what ours does without frames."""
    x = bits(150, N)
    results = []
    for made in ("ours", "own", "beside"):
        opu = fitted(execution="matrix", seed=3)
        method, exposure = method_of(kind, opu, record)
        ours = type(method)
        assert method.reductions and ours.reduce is not Method.reduce
        changed = {"decode": twice(ours)}
        of = {"ours": ours, "own": own(ours, changed), "beside": type("Own", (type("Beside", (), changed), ours), {})}
        method = of[made](**{each.name: getattr(method, each.name) for each in fields(method) if each.init})
        assert bool(method.reductions) == (made == "ours")
        results.append(np.asarray(acquired(method, x, opu, exposure)))
    one, *others = results
    if kind == "holography":
        for other in others:
            np.testing.assert_array_equal(other, 2 * one)
    else:  # its anchors are taken off after `decode`
        np.testing.assert_array_equal(others[0], others[1])
        assert np.abs(others[0]).mean() > 1.3 * np.abs(one).mean()


@pytest.mark.parametrize("name", ["encode", "frames", "begin", "places", "phases_rad", "block", "__post_init__"])
def test_what_reduce_stands_for_needs_a_reduce_of_its_own(name):
    """Once a class has one, or says itself which reductions it asks for, those that derive from it have them."""
    own_one = own(Intensity, {name: None})
    assert own_one.reductions == () and own(own_one, {}).reductions == ()
    own_too = own(own_one, {"reduce": Intensity.reduce, "reductions": Intensity.reductions})
    assert own_too.reductions == Intensity.reductions and own(own_too, {}).reductions
    assert own(Intensity, {name: None, "reductions": Intensity.reductions}).reductions
    assert own(Intensity, {"finish": None, "task_bytes": None, "more": 1}).reductions == Intensity.reductions


# ---------------------------------------------------------------- what results are divided by


@dataclass(frozen=True)
class Keeping(Method):
    """Hands out an array that it keeps."""

    kept: np.ndarray

    dtype = np.dtype(np.float32)

    def frames(self, n: int) -> int:
        return n

    def encode(self, bits: Any, *, part: bool = False) -> Any:
        return bits

    def decode(self, frames: Any, shared: Any = None, *, out: Any = None, part: bool = False, threads: Any = None):
        return self.kept[: len(frames)]


@pytest.mark.parametrize("most", [3000, 4])  # one pass, whose array is the method's own, and several
def test_an_array_that_a_method_keeps_is_not_written_to(most):
    opu = fitted()
    fit, device = opu.current_fit, opu.device
    kept = np.random.default_rng(1).normal(size=(8, M)).astype(np.float32)
    before = kept.copy()
    data = inputs.read(bits(8, N), fit.traits, device.backend)
    found = acquire.run(
        Keeping(kept), data, fit, device, device.exposure(), M, n_samples_by_pass=most, divisor=3.0
    )  # fmt: skip
    expected = before if most == 3000 else np.concatenate([before[:4], before[:4]])
    assert np.array_equal(found, expected / np.float32(3)) and np.array_equal(kept, before)


@pytest.mark.parametrize("n", [5, 130])
def test_results_are_divided_at_last(n):
    """Where they were collected or in an array of their own, to the bit; the device is without noise."""
    opu = fitted(linear_mode="intensity")
    x = bits(n, N)
    plain = np.asarray(opu.linear_transform(x))
    opu.rescale = "variance"
    assert np.array_equal(opu.linear_transform(x), plain / np.float32(np.sqrt(N)))
