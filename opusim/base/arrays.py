"""The seam between the array libraries: numpy, torch on the CPU or a GPU, CuPy.

What is written once for all of them takes an `Arrays`, which knows the library and the device, and uses its
namespace of the array API standard (array-api-compat) and the few things beside it that the standard lacks or that
one library does better. Libraries are imported when they are used.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import fourier
from .locks import after_fork, forks_wait, new_lock
from .parameters import near_names

_NAMES = ("auto", "numpy", "cupy", "torch", "torch:cpu", "torch:cuda")
#: What a backend may be, for messages.
BACKENDS = "'auto', 'numpy', 'cupy', 'torch', 'torch:cpu', 'torch:cuda' or 'torch:cuda:1' (any number)"


@dataclass(frozen=True)
class Arrays:
    """A library of arrays, and the device that it keeps them on.

    Parameters
    ----------
    name : {"numpy", "torch", "cupy"}
        The library.
    device : str
        "cpu", or "cuda:0", "cuda:1", ...
    """

    name: str
    device: str

    @cached_property
    def is_gpu(self) -> bool:
        """Whether the arrays lie in the memory of a GPU."""
        return self.device != "cpu"

    @property
    def index(self) -> int:
        """Number of the GPU; 0 for the CPU."""
        return int(self.device.rpartition(":")[2]) if self.is_gpu else 0

    @property
    def xp(self) -> Any:
        """Namespace of the array API standard.

        numpy is one itself from 2.1 on. That of array-api-compat loads all of numpy, which takes 50 ms.
        """
        if self.name == "numpy" and hasattr(np, "astype"):
            return np
        return importlib.import_module(f"array_api_compat.{self.name}")

    def dtype(self, kind: Any) -> Any:
        """Return the library's own dtype for a numpy dtype or its name."""
        if self.name == "numpy":
            return np.dtype(kind).type
        return getattr(self.xp, np.dtype(kind).name)

    def _place(self) -> Any:
        """Where the library makes an array, as its functions take it."""
        return importlib.import_module("cupy").cuda.Device(self.index) if self.name == "cupy" else self.device

    def empty(self, shape: tuple[int, ...], kind: Any) -> Any:
        """Return an array of a shape and a numpy dtype (or its name), not filled."""
        if self.name == "numpy":
            return np.empty(shape, dtype=kind)
        return self.xp.empty(shape, dtype=self.dtype(kind), device=self._place())

    def zeros(self, shape: tuple[int, ...], kind: Any) -> Any:
        """Return an array of zeros of a shape and a numpy dtype (or its name)."""
        if self.name == "numpy":
            return np.zeros(shape, dtype=kind)
        return self.xp.zeros(shape, dtype=self.dtype(kind), device=self._place())

    def from_host(self, array: np.ndarray) -> Any:
        """Return a numpy array's values on this device.

        numpy and torch on the CPU share the memory of an array that may be written; elsewhere it is a copy.
        """
        if self.name == "numpy":
            return array
        if self.name == "torch":
            torch = importlib.import_module("torch")
            # torch knows neither arrays that must not be written nor strides that go back.
            if not array.flags.writeable or any(step < 0 for step in array.strides):
                array = array.copy()
            return torch.from_numpy(array).to(self.device)
        cupy = importlib.import_module("cupy")
        with cupy.cuda.Device(self.index):
            return cupy.asarray(array)

    def to_host(self, array: Any) -> np.ndarray:
        """Return an array of this library as a numpy array; on the CPU the memory is shared."""
        if self.name == "torch":
            return array.detach().cpu().numpy()
        return array if self.name == "numpy" else importlib.import_module("cupy").asnumpy(array)

    def bring(self, array: Any) -> Any:
        """Return an array of any library on this device, as it is if it lies here already."""
        home = of(array)
        return array if home == self else self.from_host(home.to_host(array) if home != NUMPY else np.asarray(array))

    def floats(self, x: Any) -> Any:
        """Return complex64 (..., n) as float32 (..., 2 n), real and imaginary parts by turns, without a copy."""
        if self.name != "torch":
            return x.view(self.dtype(np.float32))
        pairs = importlib.import_module("torch").view_as_real(x)
        return pairs.reshape(*pairs.shape[:-2], -1)

    def complexes(self, x: Any) -> Any:
        """Return float32 of shape (..., 2 n) as complex64 (..., n), without a copy: the inverse of `floats`."""
        if self.name != "torch":
            return x.view(self.dtype(np.complex64))
        return importlib.import_module("torch").view_as_complex(x.reshape(*x.shape[:-1], -1, 2))

    def matmul(self, a: Any, b: Any) -> Any:
        """Return the product of two matrices in their own precision.

        What the user has set for training does not reach it: torch's autocast, and its float32 products in bfloat16 or
        TF32, whose rounding would change counts.
        """
        if self.name != "torch":
            with forks_wait():
                return a @ b
        torch = importlib.import_module("torch")
        with torch.autocast("cuda" if self.is_gpu else "cpu", enabled=False), _full_precision(torch):
            return a @ b

    def current(self) -> AbstractContextManager[Any]:
        """Return a context in which this GPU is the current one of CuPy, which computes on no other."""
        if self.name != "cupy":
            return nullcontext()
        device: AbstractContextManager[Any] = importlib.import_module("cupy").cuda.Device(self.index)
        return device

    def fft(self, x: Any, axis: int, workers: int | None = None, norm: str = "ortho") -> Any:
        """Fourier transform along one axis; `x` may be overwritten.

        Parameters
        ----------
        x : array of complex64
            Any shape; the result has the same shape and type.
        axis : int
            Axis of the transform.
        workers : int, optional
            Threads, where the library takes them for each call (numpy's arrays).
        norm : {"ortho", "forward", "backward"}
            As in `scipy.fft`: unitary, divided by the length on the way there, or on the way back.
        """
        return self._fft("fft", x, axis, workers, norm)

    def ifft(self, x: Any, axis: int, workers: int | None = None, norm: str = "ortho") -> Any:
        """Inverse of `fft`; `x` may be overwritten."""
        return self._fft("ifft", x, axis, workers, norm)

    def _fft(self, kind: str, x: Any, axis: int, workers: int | None, norm: str) -> Any:
        if self.name == "torch":
            return getattr(importlib.import_module("torch.fft"), kind)(x, dim=axis, norm=norm)
        if self.name == "cupy":
            return getattr(importlib.import_module("cupyx.scipy.fft"), kind)(x, axis=axis, norm=norm, overwrite_x=True)
        return fourier.transform(x, (axis,), inverse=kind == "ifft", norm=norm, overwrite=True, workers=workers)

    def fft2(self, x: Any, *, inverse: bool = False, scaled: bool = True) -> Any:
        """Transform over the last two axes, or its inverse; `x` may be overwritten.

        Parameters
        ----------
        x : array of complex64, shape (..., rows, columns)
            The result has the same shape and type.
        inverse : bool
            Whether to take the inverse.
        scaled : bool
            Whether the transform is unitary; False leaves out 1 / sqrt(rows * columns). The libraries of a GPU scale
            in a pass of its own over the memory.
        """
        kind = "ifft2" if inverse else "fft2"
        norm = "ortho" if scaled else "forward" if inverse else "backward"
        if self.name == "torch":
            return getattr(importlib.import_module("torch.fft"), kind)(x, norm=norm)
        if self.name == "cupy":
            return getattr(importlib.import_module("cupyx.scipy.fft"), kind)(x, norm=norm, overwrite_x=True)
        return fourier.transform(x, (-2, -1), inverse=inverse, norm=norm, overwrite=True)

    def wait(self) -> None:
        """Wait until the device has done what it was told; the CPU always has."""
        if self.is_gpu and self.name == "torch":
            importlib.import_module("torch").cuda.synchronize(self.device)
        elif self.is_gpu:
            importlib.import_module("cupy").cuda.Device(self.index).synchronize()


NUMPY = Arrays("numpy", "cpu")

# The settings belong to the process: the first thread puts them away, the last one puts them back.
_precision_lock = new_lock()
_precision_users = 0
_precision_mine = threading.local()  # how many of the users are this thread
_precision_before: list[tuple[Any, str]] = []


@contextmanager
def _full_precision(torch: Any) -> Iterator[None]:
    """Let torch compute products of float32 in float32; for several threads at a time."""
    global _precision_users
    with _precision_lock:
        if not _precision_users:
            _precision_before[:] = _set_full_precision(torch)
        _precision_users += 1
        _precision_mine.n = getattr(_precision_mine, "n", 0) + 1
    try:
        yield
    finally:
        with _precision_lock:
            _precision_users -= 1
            _precision_mine.n -= 1
            if not _precision_users:
                _put_precision_back()


def _put_precision_back() -> None:
    for setter, value in _precision_before:
        setter(value)
    _precision_before.clear()


def _only_this_thread_needs_precision() -> None:
    """Forget the users that are no threads of a forked child."""
    global _precision_users
    _precision_users = getattr(_precision_mine, "n", 0)
    if not _precision_users:
        _put_precision_back()


after_fork(_only_this_thread_needs_precision)


def _set_full_precision(torch: Any) -> list[tuple[Any, str]]:
    """Set what is not at full precision, and return how it is put back."""
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # set by the newer names, which the older one then refuses to read
        changed = []
        for backend in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):
            value = backend.fp32_precision
            if value not in ("none", "ieee"):
                backend.fp32_precision = "ieee"
                changed.append((lambda given, backend=backend: setattr(backend, "fp32_precision", given), value))
        return changed
    if before == "highest":
        return []
    torch.set_float32_matmul_precision("highest")
    return [(torch.set_float32_matmul_precision, before)]


def is_device_array(value: Any) -> bool:
    """Whether a value is a tensor of torch or an array of CuPy, wherever it lies; loads neither library."""
    if isinstance(value, np.ndarray):
        return False
    return any(
        name in sys.modules and isinstance(value, getattr(sys.modules[name], kind, ()))
        for name, kind in (("torch", "Tensor"), ("cupy", "ndarray"))
    )


def of(array: Any) -> Arrays:
    """Return the library and the device that an array belongs to.

    Parameters
    ----------
    array : object
        A numpy array, a tensor of torch, an array of CuPy; anything else (lists, None) counts as numpy's.

    Raises
    ------
    ValueError
        If a tensor lies on a device that is neither a CPU nor a CUDA GPU.
    """
    if not is_device_array(array):
        return NUMPY
    device = array.device
    if not hasattr(device, "type"):
        return Arrays("cupy", f"cuda:{device.id}")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"The tensor lies on the device {str(device)!r}, but it must be on the CPU or on a CUDA GPU: use .cpu()."
        )
    return Arrays("torch", "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}")


def choose(backend: str = "auto", data: Any = None) -> Arrays:
    """Return the library and the device to compute with.

    Parameters
    ----------
    backend : str
        "auto": where the data are, numpy for all that lies in the machine's own memory. "numpy", "cupy". "torch": the
        GPU that the data are on, else a GPU if there is one, else the CPU. "torch:cpu", "torch:cuda",
        "torch:cuda:1".
    data : object, optional
        What is to be computed with, as for `of`. Arrays in the machine's own memory may go to any backend.

    Raises
    ------
    TypeError, ValueError
        If there is no such backend, or the data lie on another device than the backend's.
    ImportError
        If a package that the backend needs is missing.
    RuntimeError
        If the backend needs a GPU and CUDA finds none.
    """
    if not isinstance(backend, str):
        raise TypeError(f"backend is {backend!r} ({type(backend).__name__}), but it must be {BACKENDS}.")
    if backend not in _NAMES and not re.fullmatch(r"torch:cuda:[0-9]+", backend):
        gpu = re.fullmatch(r"(?:cuda|gpu)(:[0-9]+)?", backend.lower())
        near = [f"torch:cuda{gpu[1] or ''}"] if gpu else near_names(backend.lower(), _NAMES, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"backend is {backend!r}, but it must be {BACKENDS}.{hint}")
    given = of(data)
    if backend == "auto":
        if given.is_gpu:
            _check_gpu(given, backend)
        return given if given.is_gpu else NUMPY
    asked = _asked(backend, given)
    if given.is_gpu and given != asked:
        raise ValueError(
            f"backend is {backend!r}, which computes with {asked.name} on {asked.device}, but the data belong to "
            f"{given.name} on {given.device}: devices are not mixed. Use backend='auto', or move the data first."
        )
    if asked.is_gpu:
        _check_gpu(asked, backend)
    return asked


def _asked(backend: str, given: Arrays) -> Arrays:
    """Return what a name other than "auto" stands for."""
    if backend == "numpy":
        return NUMPY
    if backend == "cupy":
        return given if given.name == "cupy" else Arrays("cupy", f"cuda:{_current_cupy_device()}")
    torch = _load("torch", backend, "torch")
    if backend == "torch:cpu":
        return Arrays("torch", "cpu")
    if backend == "torch" and not (given.is_gpu or torch.cuda.is_available()):
        return Arrays("torch", "cpu")
    if backend.startswith("torch:cuda:"):
        return Arrays("torch", f"cuda:{int(backend.rpartition(':')[2])}")
    if given.name == "torch" and given.is_gpu:
        return given
    return Arrays("torch", f"cuda:{torch.cuda.current_device() if torch.cuda.is_available() else 0}")


def _current_cupy_device() -> int:
    cupy = _load("cupy", "cupy", "gpu")
    try:
        return int(cupy.cuda.runtime.getDevice())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0  # that there is no GPU is said by `_check_gpu`


def _load(package: str, backend: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"backend is {backend!r}, but the package {package!r} cannot be imported ({error}): "
            f"pip install 'opusim[{extra}]'."
        ) from error


def _check_gpu(arrays: Arrays, backend: str) -> None:
    """Raise a sentence unless there is such a GPU, and numba can compile the camera for it."""
    if arrays.name == "torch":
        torch = _load("torch", backend, "torch")
        n = torch.cuda.device_count() if torch.cuda.is_available() else 0
    else:
        cupy = _load("cupy", backend, "gpu")
        try:
            n = int(cupy.cuda.runtime.getDeviceCount())
        except cupy.cuda.runtime.CUDARuntimeError:
            n = 0
    if n == 0:
        raise RuntimeError(
            f"backend is {backend!r}, but {arrays.name} finds no CUDA GPU here: use backend='numpy' or 'torch:cpu'."
        )
    if arrays.index >= n:
        raise RuntimeError(
            f"backend is {backend!r}, which asks for {arrays.device}, but there {'is' if n == 1 else 'are'} {n} GPU"
            f"{'' if n == 1 else 's'} here: the highest number is {n - 1}."
        )
    if importlib.util.find_spec("numba_cuda") is None:
        # numba's own target for CUDA, which it replaces, cannot compile the camera.
        raise ImportError(
            f"backend is {backend!r}, but the package 'numba-cuda' is not installed, which compiles the camera for the "
            "GPU: pip install 'opusim[gpu]'."
        )
    cuda = _load("numba.cuda", backend, "gpu")
    if not cuda.is_available():
        raise RuntimeError(
            f"backend is {backend!r}, and {arrays.name} finds a GPU, but numba does not, which compiles the camera for "
            "it: pip install 'opusim[gpu]', or use backend='numpy'."
        )
