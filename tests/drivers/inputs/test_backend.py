"""Backends of an OPU: what goes in comes out of the same library on the same device, with the counts of numpy."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from opusim.base import arrays
from opusim.device.record import Device
from opusim.drivers import OPU, OpuDevice
from opusim.drivers.context import ContextArray
from opusim.drivers.inputs import gpu as device_input
from opusim.drivers.recipe import BenchRecipe, _forget_benches
from opusim.encoding import (
    BinaryThresholdEncoder,
    ConcatenatingBitPlanDecoder,
    MixingBitPlanDecoder,
    SeparatedBitPlanEncoder,
)

torch = pytest.importorskip("torch")

N, M = 120, 3000


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


@pytest.fixture(params=["torch:cpu", "torch:cuda", "cupy"])
def backend(request):
    """A backend that works here."""
    try:
        arrays.choose(request.param)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no GPU here: {error}")
    return request.param


@pytest.fixture
def place(backend):
    return arrays.choose(backend)


def agree(found, expected, device="aurora"):
    """Counts of two backends: one pixel in 10 000 at a rounding edge, by one electron or one level.

    That is a mean: of few pixels as many more may be there as three sigma of a Poisson law.
    """
    camera = Device.load(device).camera
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    mean = 1e-4 * difference.size
    assert np.sum(difference > 0) <= mean + 3 * np.sqrt(mean)
    assert difference.max() <= max(1.0, camera.gain_dn_per_e)


# ---------------------------------------------------------------- in and out


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int64", "float32", "float16"])
def test_counts_are_those_of_numpy(backend, place, dtype):
    x = bits(20, N)
    given = place.from_host(x.astype(dtype))
    y = OPU(M, backend=backend).fit_transform1d(given)
    assert arrays.of(y) == place and type(y) is type(given) and y.dtype == place.dtype("uint8")
    agree(place.to_host(y), OPU(M, backend="numpy").fit_transform1d(x))


@pytest.mark.parametrize("shape", [(N,), (1, N), (3, 4, N)])
def test_shapes(backend, place, shape):
    x = bits(*shape)
    with OPU(M, backend=backend) as opu, OPU(M) as plain:
        opu.fit1d(place.from_host(x))
        plain.fit1d(x)
        assert (
            opu.current_fit.n_ones == plain.current_fit.n_ones
            and opu.current_fit.exposure_us == plain.current_fit.exposure_us
        )
        y = opu.transform(place.from_host(x))
        assert tuple(y.shape) == (*shape[:-1], M)
        agree(place.to_host(y), plain.transform(x))


def test_features_in_two_dimensions(backend, place):
    x = bits(2, 3, 9, 11)
    y = OPU(M, backend=backend).fit_transform2d(place.from_host(x))
    assert tuple(y.shape) == (2, 3, M)
    agree(place.to_host(y), OPU(M).fit_transform2d(x))


def test_layouts_in_memory(backend, place):
    x = bits(N, 40)
    given = place.from_host(x)
    before = place.to_host(given).copy()
    agree(place.to_host(OPU(M, backend=backend).fit_transform1d(given.T[::2])), OPU(M).fit_transform1d(x.T[::2]))
    assert np.array_equal(place.to_host(given), before)


def test_a_gradient_stops_here():
    x = torch.from_numpy(bits(4, N)).float().requires_grad_()
    y = OPU(M, backend="torch:cpu").fit_transform1d(x)
    assert not y.requires_grad and x.grad is None
    z = torch.from_numpy(bits(4, N)).to(torch.bfloat16)
    assert torch.equal(OPU(M, backend="torch:cpu").fit_transform1d(z), y)


@pytest.mark.parametrize("features", [N, 117])
def test_packed(backend, place, features):
    x = bits(5, features)
    packed = np.packbits(x, axis=1)
    packed[:, -1] |= 0xFF >> (8 - (-features % 8)) if features % 8 else 0  # what is behind the last feature is not read
    opu, plain = OPU(M, backend=backend), OPU(M)
    for one, data in ((opu, place.from_host(packed)), (plain, packed)):
        one.fit2d(data, n_features=(1, features), packed=True)
    assert opu.current_fit.n_ones == plain.current_fit.n_ones
    y = opu.transform(place.from_host(packed))
    assert arrays.of(y) == place
    agree(place.to_host(y), plain.transform(packed))


def test_whole_mirror_patterns_packed_as_the_electronics_take_them(backend, place):
    x = np.random.default_rng(0).integers(0, 256, (2, 912 * 1140 // 8), dtype=np.uint8)
    for one, data in ((opu := OPU(M, backend=backend), place.from_host(x)), (plain := OPU(M), x)):
        one.fit1d(data, packed=True)
    assert opu.current_fit.bitorder == "little" and opu.current_fit.n_ones == plain.current_fit.n_ones
    agree(place.to_host(opu.transform(place.from_host(x))), plain.transform(x))


def test_several_passes(backend, place):
    x = bits(30, N)
    small = {"n_samples_by_pass": 7}
    y = OPU(M, backend=backend, config_override=small).fit_transform1d(place.from_host(x))
    assert arrays.of(y) == place
    agree(place.to_host(y), OPU(M, config_override=small).fit_transform1d(x))


@pytest.mark.parametrize(
    ("change", "dtype"),
    [({"camera.bits": 12}, "uint16"), ({"camera.quantise": False}, "float32")],
)
def test_type_of_the_camera(backend, place, change, dtype):
    device = Device.load("aurora").evolve(**change)
    x = bits(10, N)
    small = {"n_samples_by_pass": 4}
    y = OPU(M, device=device, backend=backend, config_override=small).fit_transform1d(place.from_host(x))
    expected = OPU(M, device=device, config_override=small).fit_transform1d(x)
    assert y.dtype == place.dtype(dtype) and expected.dtype == dtype
    if dtype == "uint16":
        agree(place.to_host(y), expected, device)
    else:  # nothing is rounded to levels, but electrons are whole numbers
        far = ~np.isclose(place.to_host(y), expected, rtol=1e-4, atol=1e-4)
        # Light that differs by 7e-7 moves one electron of 175 in about one pixel of 8 000, on both versions of aurora.
        assert far.mean() <= 3e-4
        assert np.abs(place.to_host(y) - expected).max() <= 1.01 * device.camera.gain_dn_per_e


def test_arrays_go_to_the_backend_and_come_back(backend):
    x = bits(10, N)
    y = OPU(M, backend=backend).fit_transform1d(x)
    assert isinstance(y, ContextArray) and y.context.exposure_us > 0
    agree(y, OPU(M).fit_transform1d(x))
    tensor = OPU(M, backend=backend).fit_transform1d(torch.from_numpy(x))
    assert tensor.device.type == "cpu"
    agree(tensor, y)


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_without_another_backend_everything_is_as_it_was(backend, opu):
    x = bits(20, N)
    y = OPU(M, backend=backend).fit_transform1d(x)
    assert np.array_equal(y, OPU(M).fit_transform1d(x))
    tensor = OPU(M, backend=backend).fit_transform1d(torch.from_numpy(x))
    assert isinstance(tensor, torch.Tensor) and np.array_equal(tensor.numpy(), y)
    # A bench of another kind knows nothing of backends and is given arrays.
    assert opu.device.backend is None
    assert torch.equal(opu.fit_transform1d(torch.from_numpy(x)), torch.from_numpy(np.array(opu.fit_transform1d(x))))


@pytest.mark.system
def test_numpy_needs_no_torch():
    program = (
        "import sys, numpy as np\n"
        "from opusim import OPU\n"
        "x = np.ones((2, 50), dtype=np.uint8)\n"
        "for backend in ('auto', 'numpy'):\n"
        "    OPU(100, backend=backend, linear_mode='intensity').fit_transform1d(x)\n"
        "assert 'torch' not in sys.modules and 'cupy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---------------------------------------------------------------- encoders, decoders, lazy arrays, copies


class Halves:
    """A decoder of one's own, in whatever library the result is in."""

    def transform(self, y):
        self.seen = type(y)
        return y[:, : M // 2]


def test_coders(backend, place):
    x = np.random.default_rng(0).integers(0, 8, (6, 40))
    opu, plain = OPU(M, backend=backend), OPU(M)
    opu.fit1d(n_features=40)
    plain.fit1d(n_features=40)
    y = opu.transform(place.from_host(x), SeparatedBitPlanEncoder(n_bits=3), MixingBitPlanDecoder)
    expected = plain.transform(x, SeparatedBitPlanEncoder(n_bits=3), MixingBitPlanDecoder)
    assert arrays.of(y) == place
    close = np.isclose(place.to_host(y), expected, rtol=1e-6, atol=1e-4)
    assert np.mean(~close) <= 3e-4  # each is made of three counts
    decoder = Halves()
    y = opu.transform(place.from_host(x), BinaryThresholdEncoder(4), decoder)
    assert issubclass(decoder.seen, type(y)) and arrays.of(y) == place and tuple(y.shape) == (6, M // 2)


def test_a_decoder_may_return_an_array():
    class ToNumpy:
        def transform(self, y):
            return np.asarray(y)

    x = torch.from_numpy(bits(4, N))
    y = OPU(M, backend="torch:cpu")
    y.fit1d(x)
    assert isinstance(y.transform(x, None, ToNumpy), torch.Tensor)


def test_own_coders_keep_the_library(place):
    x = np.random.default_rng(0).integers(0, 8, (6, 40))
    coded = SeparatedBitPlanEncoder(n_bits=3).transform(place.from_host(x))
    assert arrays.of(coded) == place
    assert np.array_equal(place.to_host(coded), SeparatedBitPlanEncoder(n_bits=3).transform(x))
    decoded = ConcatenatingBitPlanDecoder(n_bits=3).transform(coded)
    assert arrays.of(decoded) == place


def test_lazy_arrays(backend):
    da = pytest.importorskip("dask.array")
    x = bits(40, N)
    opu = OPU(M, backend=backend)
    opu.fit1d(x)
    y = opu.transform(da.from_array(x, chunks=(9, N)))
    expected = OPU(M)
    expected.fit1d(x)
    assert isinstance(y, da.Array)
    agree(y.compute(scheduler="synchronous"), expected.transform(x))


def test_a_recipe_carries_the_backend(backend):
    bench = OPU(M, backend=backend).device.bench
    recipe = pickle.loads(pickle.dumps(BenchRecipe.of(bench)))
    recipe.offer(bench)
    assert recipe.bench() is bench
    _forget_benches()  # as in another process
    made = recipe.bench()
    assert made is not bench and made.backend == backend
    assert BenchRecipe.of(OPU(M).device.bench)._key != recipe._key


def test_copies(backend, place):
    x = bits(6, N)
    opu = OPU(M, backend=backend)
    opu.fit1d(x)
    again = pickle.loads(pickle.dumps(opu))
    assert again.device.backend == again.device.bench.backend == backend
    y, z = opu.transform(place.from_host(x)), again.transform(place.from_host(x))
    assert np.array_equal(place.to_host(y), place.to_host(z))
    assert copy.deepcopy(opu).device is opu.device


def test_over_a_bench_of_ones_own(backend, place):
    from opusim.bench.bench import OpticalBench

    opu = OPU(M, opu_device=OpuDevice(bench=OpticalBench("aurora", backend=backend)))
    assert opu.device.backend == backend
    assert arrays.of(opu.fit_transform1d(place.from_host(bits(3, N)))) == place


def test_repr():
    assert repr(OPU(10)) == "OPU(n_components=10, device='aurora', seed=0, open, no fit)"
    assert "seed=0, backend='torch:cpu', open" in repr(OPU(10, backend="torch:cpu"))
    # Every OPU is simulated, so that this changes nothing.
    assert OPU(10, simulated=True, backend="torch:cpu").device.bench.backend == "torch:cpu"


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        ("tensorflow", ValueError, "backend is 'tensorflow', but it must be 'auto', 'numpy'"),
        ("Torch", ValueError, "Did you mean 'torch'"),
        (3, TypeError, "backend is 3"),
        (None, TypeError, "backend is None"),
    ],
)
def test_unknown_backend(value, error, match):
    with pytest.raises(error, match=match):
        OPU(10, backend=value)
    with pytest.raises(error, match=match):
        OpuDevice(backend=value)


def test_no_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    for name in ("torch:cuda", "torch:cuda:1"):
        with pytest.raises(RuntimeError, match=f"backend is '{name}', but torch finds no CUDA GPU here"):
            OPU(10, backend=name)
    with pytest.raises((ImportError, RuntimeError), match="backend is 'cupy', but"):
        OPU(10, backend="cupy")


def test_a_device_has_its_own_backend():
    device = OpuDevice(backend="torch:cpu")
    with pytest.raises(ValueError, match="backend is 'numpy', but with opu_device it cannot be given"):
        OPU(10, opu_device=device, backend="numpy")


def test_values_that_are_no_bits(backend, place):
    opu = OPU(M, backend=backend)
    opu.fit1d(n_features=N)
    wrong = [("uint8", 2, "2"), ("int64", -1, "-1"), ("float32", 0.5, "0.5"), ("float32", np.nan, "nan")]
    for dtype, value, shown in wrong:
        x = bits(2, 3, N).astype(dtype)
        x[1, 2, 7] = value
        with pytest.raises(ValueError, match=rf"X should be binary, but X\[1, 2, 7\] is {shown}"):
            opu.transform(place.from_host(x))
    with pytest.raises(ValueError, match=r"X has shape \(4, 7\), but vectors of 120 features"):
        opu.transform(place.from_host(bits(4, 7)))
    with pytest.raises(ValueError, match=r"at least one vector"):
        opu.transform(place.from_host(bits(0, N)))
    with pytest.raises(TypeError, match=r"complex64, but it must be bool, integer or float"):
        opu.transform(place.from_host(bits(4, N).astype(np.complex64)))
    with pytest.raises(TypeError, match=r"packed input must be uint8"):
        opu.fit1d(place.from_host(bits(4, N).astype(bool)), packed=True)


def test_sparse_tensors():
    opu = OPU(M, backend="torch:cpu")
    with pytest.raises(TypeError, match="sparse_coo.*, but it must be an ordinary array: use .to_dense"):
        opu.fit1d(torch.from_numpy(bits(4, N)).to_sparse())


@pytest.mark.parametrize("backend", ["auto", "torch:cpu"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: t.to_sparse_csr(), "a tensor of layout sparse_csr.*use .to_dense"),
        (lambda t: torch.quantize_per_tensor(t, 1.0, 0, torch.quint8), "a quantised tensor .*use .dequantize"),
        (lambda t: t.to("meta"), "a tensor on the device 'meta'"),
        (lambda t: torch.nested.nested_tensor([t[0], t[1]]), "a nested tensor"),
    ],
    ids=["sparse", "quantised", "meta", "nested"],
)
def test_tensors_that_are_no_ordinary_arrays(backend, make, words):
    with OPU(M, backend=backend) as opu:
        opu.fit1d(n_features=N)
        for call in (opu.transform, opu.fit1d, opu.linear_transform):
            with pytest.raises(TypeError, match=f"X is {words}"):
                call(make(torch.from_numpy(bits(4, N)).float()))


@pytest.mark.parametrize("backend", ["auto", "torch:cpu"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16"])
def test_floats_of_few_bits_are_the_numbers_that_they_are(backend, name):
    x = torch.from_numpy(bits(4, N))
    counts = []
    for given in (x, x.float().to(getattr(torch, name))):
        with OPU(M, backend=backend, seed=3) as opu:
            counts.append(opu.fit_transform1d(given))
    assert torch.equal(*counts)
    with OPU(M, backend=backend) as opu, pytest.raises(ValueError, match=r"X\[0, 0\] is 2.0"):
        opu.fit1d((x.float() + 2).to(getattr(torch, name)))


def test_data_on_another_device_are_refused(monkeypatch):
    gpu = arrays.Arrays("torch", "cuda:0")
    monkeypatch.setattr(arrays, "of", lambda value: gpu if value is not None else arrays.NUMPY)
    for name in ("numpy", "torch:cpu"):
        with pytest.raises(ValueError, match=f"backend is '{name}'.*data belong to torch on cuda:0.*not mixed"):
            device_input.place_for(torch.zeros(3), name)


def test_auto_goes_by_the_cpu_where_the_camera_cannot_be_compiled(monkeypatch):
    x = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    monkeypatch.setattr(arrays, "is_device_array", lambda value: True)

    def choose(backend, data):
        raise RuntimeError("numba does not find it.")

    monkeypatch.setattr(arrays, "choose", choose)
    with pytest.warns(UserWarning, match="its light is computed on the CPU: numba does not find it"):
        assert device_input.place_for(x, "auto") == (None, False)
    with pytest.raises(RuntimeError, match="numba"):
        device_input.place_for(x, "torch")
    # A device that only torch knows is none of a backend's business.
    assert device_input.place_for(SimpleNamespace(device=SimpleNamespace(type="mps")), "auto") == (None, False)


# ---------------------------------------------------------------- what does not fit, and what lies elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("way", ["counts", "intensities", "holography"])
@pytest.mark.parametrize("backend_here", ["numpy", "torch:cpu"])
def test_results_that_do_not_fit_are_refused_before_a_frame(monkeypatch, way, backend_here):
    from opusim.base import memory
    from opusim.drivers import acquire

    place = arrays.choose(backend_here)
    x = place.from_host(bits(50, N))
    mode = "intensity" if way == "intensities" else "auto"
    with OPU(M, backend=backend_here, linear_mode=mode, disable_pbar=True) as opu:
        opu.fit1d(n_features=N)
        if way == "holography":
            opu.calibrate(store=False)
        call = opu.transform if way == "counts" else opu.linear_transform
        monkeypatch.setattr(acquire, "_PASS_BYTES", 8 * M)
        call(x[:2])
        frames = opu.device.bench.clock.frames
        each = M * (1 if way == "counts" else 4)
        monkeypatch.setattr(memory, "available_bytes", lambda arrays=arrays.NUMPY: 40.0 * each)
        with pytest.raises(MemoryError, match="result of 50 vectors of 3000 outputs.*pass at most 30 at a time.*Dask"):
            call(x)
        assert opu.device.bench.clock.frames == frames


def test_a_tensor_on_a_strange_device_is_refused():
    with OPU(M) as opu, pytest.raises(ValueError, match="X is a tensor on the device 'meta', which .* no values"):
        opu.fit1d(torch.zeros(3, N, device="meta", dtype=torch.uint8))
