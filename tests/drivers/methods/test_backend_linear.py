"""Linear transforms on other backends: known matrices, agreement with numpy, and that nothing leaves the device."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from opusim.base import arrays
from opusim.bench.frames import BenchClock
from opusim.calibration.algorithms.phase_shifting import equal_steps
from opusim.calibration.procedures import linear
from opusim.device.record import Device
from opusim.drivers import OPU, OpuDevice
from opusim.drivers.methods import holography
from opusim.drivers.methods import intensity as reconstruction
from opusim.fringes.demodulation import field_of_clipped, fields_of_bursts

torch = pytest.importorskip("torch")

N, M = 60, 500
# One count in 10 000 may be off by a level. By intensity that is (2.2)^(1/2) / mean level of y on average over the
# speckle of the reference, whose darkest 2 % weigh most; of two frames and the anchors of a column, at some 30 levels,
# 1e-3 of the rms, and three times that where few pixels make the mean. By holography it is less.
OFF = 3e-3


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


@pytest.fixture(params=["torch:cpu", "torch:cuda", "cupy"])
def place(request):
    """The library and the device of a backend that works here."""
    try:
        return arrays.choose(request.param)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no GPU here: {error}")


def backend_of(place):
    return "cupy" if place.name == "cupy" else f"torch:{place.device}"


class KnownMatrix:
    """A bench without camera and noise: |T x + R exp(i d)|^2, in the library and on the device of the bits."""

    amplitude = 30.0

    def __init__(self, backend):
        self.device, self.seed, self.backend, self.clock = Device.load("ideal"), 0, backend, BenchClock()
        self.mirror_shape, self.sensor_shape = self.device.dmd.shape, self.device.camera.shape
        rng = np.random.default_rng(1)
        matrix = rng.normal(size=(N, M)) + 1j * rng.normal(size=(N, M))
        self.matrix = (matrix / np.sqrt(2)).astype(np.complex64)
        self.on = {}

    def minimum_frametime_s(self, n_rows, exposure_s):
        return max(self.device.camera.readout_s(n_rows), exposure_s) + 50e-6

    def expected_level_dn(self, n_on, exposure_s):
        return n_on / (self.device.dmd.n_mirrors // N)  # mean square of an entry: 1

    def transform(self, patterns, *, n_pixels, reference_phase_rad=None, **_):
        place = arrays.of(patterns.bits)
        if place not in self.on:
            self.on[place] = place.from_host(self.matrix)
        xp = place.xp
        field = xp.matmul(xp.astype(patterns.bits, xp.complex64), self.on[place][:, :n_pixels])
        if reference_phase_rad is None:
            return xp.abs(field) ** 2
        reference = place.from_host((self.amplitude * np.exp(1j * reference_phase_rad)).astype(np.complex64))
        frames = xp.abs(field[:, None] + reference[:, None]) ** 2
        return frames.reshape(-1, n_pixels)


def known_opu(backend, mode):
    """An OPU over a known matrix, calibrated: the reference has a phase of 0 everywhere."""
    bench = KnownMatrix(backend)
    opu = OPU(M, opu_device=OpuDevice(bench=bench), linear_mode=mode, rescale="none")
    opu.fit1d(n_features=N)
    if mode == "holographic":
        roi, n = opu.device.exposure().bench_roi, M + 300
        opu.device.linear_records[roi] = linear.LinearRecord(
            exposure_s=4e-4, asked_rad=equal_steps(4), actual_rad=equal_steps(4), jitter_rad=0.0, roi=np.array(roi),
            dark_dn=np.zeros(n, np.float32), reference_dn=np.full(n, bench.amplitude**2, np.float32),
            valid=np.ones(n, dtype=bool), full_scale_dn=np.inf, clipped_share=0.0, modulation=1.0,
            modulation_map=np.ones(n, np.float32), coherence=1.0, relative_error=0.01, drift_rad_per_minute=0.0,
            elapsed_s=0.0,
        )  # fmt: skip
    return opu


def expected(opu, x, mode):
    """R x by definition, entries of R of variance 1."""
    matrix = opu.device.bench.matrix
    r = reconstruction.anchor(N)
    if mode == "holographic":
        power = np.mean(np.abs(r @ matrix) ** 2 + np.abs((1 - r) @ matrix) ** 2) / N
        return np.sqrt(2 / power) * (x @ matrix).real
    ones = matrix.sum(axis=0)
    phase = np.conj(ones) / np.maximum(np.abs(ones), np.sqrt(0.02 * N))
    return np.sqrt(2) * (phase * ((x * (1.0 - 2.0 * r)) @ matrix)).real


@pytest.fixture
def few_pixels(monkeypatch):
    """The known matrix has no more pixels than outputs."""
    monkeypatch.setattr(holography, "_PIXELS", 1)


@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_a_known_matrix_comes_out(place, few_pixels, mode):
    x = bits(5, 14, N)
    opu = known_opu(backend_of(place), mode)
    y = opu.linear_transform(place.from_host(x))
    assert arrays.of(y) == place and tuple(y.shape) == (5, 14, M) and y.dtype == place.dtype("float32")
    known = expected(opu, x, mode)
    assert np.abs(place.to_host(y) - known).max() < 2e-4 * np.sqrt(np.mean(known**2))
    # What lies in the machine's own memory is computed there too, and comes back.
    host = opu.linear_transform(x)
    assert isinstance(host, np.ndarray) and np.abs(host - known).max() < 2e-4 * np.sqrt(np.mean(known**2))
    if mode == "holographic":
        field = place.to_host(opu.field_transform(place.from_host(x)))
        assert field.dtype == np.complex64 and np.allclose(field.real * np.sqrt(2), known, atol=1e-3)


@contextmanager
def nothing_leaves(monkeypatch):
    """Refuse every way by which the values of a tensor or an array come into the machine's own memory."""

    def refuse(*_, **__):
        raise AssertionError("values leave the device")

    with monkeypatch.context() as patch:
        for name in ("cpu", "numpy", "tolist", "__array__"):
            patch.setattr(torch.Tensor, name, refuse)
        patch.setattr(arrays.Arrays, "to_host", refuse)
        yield


def test_nothing_leaves_the_device(place, few_pixels, monkeypatch):
    x = place.from_host(bits(70, N))
    for mode in ("holographic", "intensity"):
        opu = known_opu(backend_of(place), mode)
        opu.linear_transform(x[:2])  # measures what belongs to the fit, once
        with nothing_leaves(monkeypatch):
            opu.linear_transform(x)
            opu.transform(x.reshape(2, 35, N))
            opu.fit_transform1d(x)
            with pytest.raises(AssertionError, match="values leave"):
                place.to_host(x)


def test_maps_are_moved_once(place, few_pixels, monkeypatch):
    opu = known_opu(backend_of(place), "holographic")
    x = place.from_host(bits(70, N))
    opu.linear_transform(x)
    moved = []
    monkeypatch.setattr(arrays.Arrays, "from_host", lambda self, array: moved.append(array.size) or _moved(self, array))
    opu.linear_transform(x)
    assert max(moved) <= 64  # phases of a block


def _moved(place, array, from_host=arrays.Arrays.from_host):
    return from_host(place, array)


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("steps", [3, 4, 5])
def test_demodulation_is_that_of_numpy(place, dtype, steps):
    rng = np.random.default_rng(2)
    n, m, phases = 7, 300, equal_steps(steps) + 0.05 * np.arange(steps)
    full = {"uint8": 255, "uint16": 4095, "float32": np.inf}[dtype]
    level = (1000 if dtype == "float32" else full) / 5
    signal = np.sqrt(level / 4) * (rng.normal(size=(n, m)) + 1j * rng.normal(size=(n, m)))
    reference, dark = np.sqrt(level * rng.uniform(0.02, 2, m)), rng.uniform(1, 3, m).astype(np.float32)
    light = np.abs(signal[:, None] + reference * np.exp(1j * phases)[:, None]) ** 2 + dark
    frames = light if dtype == "float32" else np.minimum(np.rint(light), full)
    frames = frames.reshape(n * steps, m).astype(dtype)
    record = linear.LinearRecord(
        exposure_s=1e-3, asked_rad=phases, actual_rad=phases, jitter_rad=0.0, roi=np.array((0, 0, 1, m)), dark_dn=dark,
        reference_dn=(reference**2).astype(np.float32), valid=np.ones(m, dtype=bool), full_scale_dn=float(full),
        clipped_share=0.0, modulation=1.0, modulation_map=np.ones(m, np.float32), coherence=0.97, relative_error=0.1,
        drift_rad_per_minute=0.0, elapsed_s=0.0,
    )  # fmt: skip
    known = linear.demodulate(record, frames)
    found = fields_of_bursts(place.from_host(frames), holography.burst_pixels(place, record, m))
    assert arrays.of(found) == place and found.dtype == place.dtype("complex64")
    assert dtype == "float32" or (frames == full).any()
    error = np.abs(place.to_host(found) - known) / np.abs(known).max()
    # Counts are some hundred times the field where the reference is dark, and have seven digits.
    touched = (frames.reshape(n, steps, m) >= full).any(axis=1)
    assert error[~touched].max() < 1e-5
    # Where few frames are left the last digits of the first guess decide where the search has come to.
    assert not touched.any() or (np.quantile(error[touched], 0.98) < 1e-5 and error.max() < 1e-3)


def test_clipped_bursts_are_those_of_numpy(place):
    rng = np.random.default_rng(3)
    phases, amplitude = equal_steps(4), rng.uniform(5, 9, 50)
    field = 4 * (rng.normal(size=50) + 1j * rng.normal(size=50))
    light = np.abs(field[:, None] + amplitude[:, None] * np.exp(1j * phases)) ** 2
    clipped = light >= 150
    given = np.minimum(light, 150), clipped, amplitude
    start = field * (1 + 0.2 * rng.normal(size=50))
    found = field_of_clipped(*map(place.from_host, given), phases, 1.0, place.from_host(start))
    assert clipped.any(axis=1).mean() > 0.2
    assert np.allclose(place.to_host(found), field_of_clipped(*given, phases, 1.0, start), rtol=1e-9)
    two_left = clipped.sum(axis=1) <= 2
    assert np.median(np.abs(place.to_host(found) - field)[two_left]) < 1e-3


@pytest.mark.parametrize("each", [2, 5])
def test_frames_of_the_intensity_mode(place, each):
    x = bits(70, N)
    patterns = reconstruction.encode(place.from_host(x), each)
    assert arrays.of(patterns) == place
    assert np.array_equal(place.to_host(patterns), reconstruction.encode(x, each))
    assert np.array_equal(reconstruction.encode(x.astype(bool), each), reconstruction.encode(x, each))
    for dtype in ("uint8", "uint16", "float32"):
        frames = np.random.default_rng(0).integers(0, 200, (len(patterns), M)).astype(dtype)
        method = reconstruction.Intensity(N, 2.0, 60.0, each)
        anchors = method.begin()
        found = method.finish(method.decode(place.from_host(frames), anchors), anchors)
        known = reconstruction.decode(frames, N, 2.0, 60.0, each)
        assert np.allclose(place.to_host(found), known, rtol=1e-6, atol=1e-6 * np.abs(known).max())


# ---------------------------------------------------------------- the whole device


@pytest.fixture(scope="module")
def both():
    """The same OPU with numpy and with another backend, fitted and calibrated; made once for all tests."""
    made = {}

    def make(place, device, mode):
        key = place, device, mode
        if key not in made:
            made[key] = [OPU(M, device=device, linear_mode=mode, backend=b) for b in ("numpy", backend_of(place))]
            for opu in made[key]:
                opu.fit1d(bits(20, N))
                if mode == "holographic":
                    opu.calibrate(store=False)
        return made[key]

    return make


def rms(values):
    return float(np.sqrt(np.mean(np.abs(values) ** 2)))


@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_an_ideal_device_gives_what_numpy_gives(place, both, mode):
    plain, opu = both(place, "ideal", mode)
    x = bits(70, N)
    known = plain.linear_transform(x)
    found = place.to_host(opu.linear_transform(place.from_host(x)))
    # Fields of two backends agree to single precision through a few transforms and sums: 1e-4, as of two executions.
    # An entry is a difference of frames with hundreds of times its light.
    assert rms(found - known) < 1e-4 * rms(known)
    assert np.abs(found - known).max() < 1e-3 * rms(known)


@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_a_device_with_noise_gives_what_numpy_gives(place, both, mode):
    plain, opu = both(place, "aurora", mode)
    x = bits(70, N)
    known = plain.linear_transform(x)
    found = opu.linear_transform(place.from_host(x))
    assert rms(place.to_host(found) - known) < OFF * rms(known)
    host = opu.linear_transform(x)
    assert isinstance(host, np.ndarray)
    assert rms(host - plain.linear_transform(x)) < OFF * rms(known)


@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_lazy_arrays(place, both, mode):
    da = pytest.importorskip("dask.array")
    plain, opu = both(place, "aurora", mode)
    x = bits(70, N)
    known = plain.linear_transform(x)
    found = opu.linear_transform(da.from_array(x, chunks=(40, N))).compute(scheduler="synchronous")
    assert isinstance(found, np.ndarray) and rms(found - known) < OFF * rms(known)


@pytest.mark.parametrize("rescale", ["variance", "norm", "none"])
def test_scales(place, few_pixels, rescale):
    x = bits(6, N)
    opu = known_opu(backend_of(place), "intensity")
    opu.rescale = rescale
    found = opu.linear_transform(place.from_host(x))
    divisor = {"variance": np.sqrt(N), "norm": np.sqrt(M), "none": 1 / opu._settings().stdev}[rescale]
    divisor *= opu._settings().stdev
    assert found.dtype == place.dtype("float32")
    assert np.allclose(place.to_host(found), expected(opu, x, "intensity") / divisor, atol=2e-3)


def test_packed_input_is_refused(place, few_pixels):
    opu = known_opu(backend_of(place), "intensity")
    packed = place.from_host(np.packbits(bits(4, N), axis=1))
    opu.fit2d(packed, n_features=(1, N), packed=True)
    with pytest.raises(RuntimeError, match="X is packed"):
        opu.linear_transform(packed)


def test_nothing_leaves_a_gpu(place, both, monkeypatch):
    """Bench and all: the tests above have a bench of their own."""
    if not place.is_gpu:
        pytest.skip("no GPU here: on the CPU the camera is compiled for numpy's arrays, and reads tensors as such")
    for mode in ("holographic", "intensity"):
        opu = both(place, "aurora", mode)[1]
        x = place.from_host(bits(70, N))
        opu.linear_transform(x)  # makes the matrix, and measures what belongs to the fit
        opu.transform(x)
        with nothing_leaves(monkeypatch):
            opu.linear_transform(x)
            opu.transform(x)
