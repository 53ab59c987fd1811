"""The seam between the array libraries: what is chosen, what is refused, and that all of them compute the same."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from opusim.base import arrays
from opusim.base.arrays import NUMPY, Arrays

rng = np.random.default_rng(5)


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make a package look as if it were not installed."""
    monkeypatch.setitem(sys.modules, package, None)


# ---------------------------------------------------------------- what is chosen


@pytest.mark.parametrize("data", [None, [1, 2], np.zeros(3)])
def test_what_lies_in_memory_is_numpys_by_default(data):
    assert arrays.of(data) == NUMPY
    assert arrays.choose("auto", data) == arrays.choose("numpy", data) == NUMPY
    assert not NUMPY.is_gpu


def test_tensors_on_the_cpu():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.zeros(3)
    assert arrays.of(tensor) == Arrays("torch", "cpu")
    assert arrays.choose("auto", tensor) == NUMPY  # they lie in the machine's own memory
    assert arrays.choose("torch:cpu", tensor) == arrays.choose("torch:cpu") == Arrays("torch", "cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert arrays.choose("torch").device.startswith(expected)
    assert arrays.is_device_array(tensor) and not arrays.is_device_array(np.zeros(3))


def test_a_tensor_on_a_strange_device_is_refused():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(ValueError, match="lies on the device 'meta'.*CPU or on a CUDA GPU"):
        arrays.of(torch.zeros(3, device="meta"))


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [
        ("numpi", ValueError, "backend is 'numpi'.*'torch:cuda:1'.*Did you mean 'numpy'"),
        ("Torch", ValueError, "Did you mean 'torch'"),
        ("jax", ValueError, "backend is 'jax'"),
        ("torch:cuda:", ValueError, "backend is 'torch:cuda:'"),
        ("cuda:0", ValueError, "backend is 'cuda:0'.*Did you mean 'torch:cuda:0'"),
        ("cuda", ValueError, "Did you mean 'torch:cuda'"),
        ("GPU", ValueError, "Did you mean 'torch:cuda'"),
        ("torch:cuda:\u0663", ValueError, "backend is 'torch:cuda:"),  # a digit, but none of ours
        (None, TypeError, r"backend is None \(NoneType\)"),
    ],
)
def test_an_unknown_backend_is_a_sentence(backend, error, message):
    with pytest.raises(error, match=message):
        arrays.choose(backend)


@pytest.mark.parametrize(
    ("package", "backend", "extra"),
    [("torch", "torch", "torch"), ("torch", "torch:cpu", "torch"), ("cupy", "cupy", "gpu")],
)
def test_a_missing_package_names_the_extra(monkeypatch, package, backend, extra):
    without(monkeypatch, package)
    with pytest.raises(ImportError, match=rf"backend is '{backend}', but the package '{package}'.*opusim\[{extra}\]"):
        arrays.choose(backend)


@pytest.mark.parametrize("backend", ["torch:cuda", "torch:cuda:3"])
def test_a_gpu_that_is_not_there(backend):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.cuda.device_count() > 3:
        pytest.skip("there are many GPUs here")
    if torch.cuda.is_available() and backend == "torch:cuda":
        assert arrays.choose(backend).is_gpu
        return
    with pytest.raises(RuntimeError, match=f"backend is '{backend}'.*(no CUDA GPU here|the highest number)"):
        arrays.choose(backend)


def test_numbas_own_target_for_cuda_is_not_enough(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    without(monkeypatch, "numba_cuda")
    with pytest.raises(ImportError, match=r"backend is 'torch:cuda:0', but the package 'numba-cuda'.*opusim\[gpu\]"):
        arrays.choose("torch:cuda:0")


class TensorElsewhere:
    """Looks like a tensor on a GPU, for checks that come before any computing."""

    class device:  # noqa: N801
        type, index = "cuda", 1


@pytest.mark.parametrize("backend", ["numpy", "torch:cpu", "torch:cuda:0"])
def test_data_on_another_device_are_refused(monkeypatch, backend):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(torch, "Tensor", TensorElsewhere)
    assert arrays.of(TensorElsewhere()) == Arrays("torch", "cuda:1")
    with pytest.raises(ValueError, match=f"backend is '{backend}'.*belong to torch on cuda:1: devices are not mixed"):
        arrays.choose(backend, TensorElsewhere())


# ---------------------------------------------------------------- what they compute

LIBRARIES = [NUMPY, Arrays("torch", "cpu")]


@pytest.fixture(params=LIBRARIES, ids=[a.name for a in LIBRARIES])
def library(request) -> Arrays:
    if request.param.name != "numpy":
        pytest.importorskip(request.param.name, reason=f"{request.param.name} is not installed")
    return request.param


def field(*shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize(("norm", "power"), [("ortho", 0.5), ("forward", 1.0), ("backward", 0.0)])
def test_fft_is_the_sum_that_defines_it(library, axis, norm, power):
    x = field(3, 12, 12)
    k = np.arange(12)
    kernel = np.exp(-2j * np.pi * np.outer(k, k) / 12) / 12**power
    expected = np.einsum("kj,njm->nkm" if axis == -2 else "kj,nmj->nmk", kernel, x)
    out = library.fft(library.from_host(x.copy()), axis, norm=norm)
    assert arrays.of(out) == library
    assert library.to_host(out).dtype == np.complex64
    np.testing.assert_allclose(library.to_host(out), expected, atol=2e-6 * np.abs(expected).max())
    np.testing.assert_allclose(library.to_host(library.ifft(out, axis, norm=norm)), x, atol=2e-6)


def test_arrays_go_there_and_come_back(library):
    for kind in ("uint8", "uint16", "float32", "complex64"):
        values = np.arange(12).astype(kind).reshape(3, 4)
        there = library.from_host(values)
        assert there.dtype == library.dtype(kind)
        np.testing.assert_array_equal(library.to_host(there), values, strict=True)
        zeros, empty = library.zeros((2, 3), kind), library.empty((2, 3), kind)
        np.testing.assert_array_equal(library.to_host(zeros), np.zeros((2, 3), kind), strict=True)
        assert tuple(empty.shape) == (2, 3) and empty.dtype == library.dtype(kind)
    fixed = np.arange(6.0)[::-1]
    fixed.setflags(write=False)
    np.testing.assert_array_equal(library.to_host(library.from_host(fixed)), fixed)
    library.wait()


# ---------------------------------------------------------------- products, whatever torch is set to


def product_error() -> float:
    """Largest error of a product of float32 by `matmul`, over the rms, against one in double precision."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    a, b = (np.random.default_rng(i).standard_normal((200, 200)).astype(np.float32) for i in (1, 2))
    exact = a.astype(np.float64) @ b
    found = Arrays("torch", "cpu").matmul(torch.from_numpy(a), torch.from_numpy(b))
    assert found.dtype == torch.float32
    return float(np.abs(found.numpy() - exact).max() / exact.std())


@pytest.fixture
def precision():
    """torch's settings, put back at the end."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    yield torch
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_products_are_not_cast_by_autocast(precision, kind):
    with precision.autocast("cpu", dtype=getattr(precision, kind)):
        assert product_error() < 1e-5
        assert precision.is_autocast_enabled("cpu")


@pytest.mark.parametrize("setting", ["highest", "high", "medium"])
def test_products_have_full_precision_and_the_setting_stays(precision, setting):
    precision.set_float32_matmul_precision(setting)
    assert product_error() < 1e-5
    assert precision.get_float32_matmul_precision() == setting


def test_products_have_full_precision_by_the_newer_names(precision):
    part = precision.backends.mkldnn.matmul if hasattr(precision.backends.mkldnn, "matmul") else None
    if part is None:
        pytest.skip("this torch has only the older names")
    part.fp32_precision = "bf16"
    assert product_error() < 1e-5
    assert part.fp32_precision == "bf16"


def test_the_setting_stays_after_an_error_and_among_threads(precision):
    precision.set_float32_matmul_precision("medium")
    with pytest.raises(RuntimeError):
        Arrays("torch", "cpu").matmul(precision.zeros(2, 3), precision.zeros(2, 3))
    assert precision.get_float32_matmul_precision() == "medium"
    with ThreadPoolExecutor(8) as pool:
        errors = list(pool.map(lambda _: product_error(), range(80)))
    assert max(errors) < 1e-5
    assert precision.get_float32_matmul_precision() == "medium"
