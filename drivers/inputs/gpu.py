"""Input that lies on a device, and stays there: tensors of torch, arrays of CuPy.

Which way data take is decided by `place_for` from the backend and from where they lie. Data on a GPU that the backend
computes on, or CPU tensors under the backend "torch:cpu", never leave their library. All else comes into the
machine's own memory first, as it always did.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from opusim.base import arrays
from opusim.base.errors import InputTypeError, warn_outside
from opusim.base.user_arrays import refuse_odd_tensor
from opusim.drivers.context import Context
from opusim.patterns.bits import as_uint8

from .traits import InputTraits, PresentInput, as_numpy, like


def place_for(X: Any, backend: str | None) -> tuple[arrays.Arrays | None, bool]:
    """Return where the light of some data is computed, and whether the data lie there and stay.

    Parameters
    ----------
    X : object
        The data; None if there are none.
    backend : str or None
        As for `OPU`; None for a bench that knows only numpy.

    Returns
    -------
    place : Arrays or None
        None for numpy.
    stays : bool
        Whether the data need not move.

    Raises
    ------
    TypeError, ValueError, ImportError, RuntimeError
        From `opusim.base.arrays.choose`: the data lie on another device than the backend's, on one that is neither a
        CPU nor a CUDA GPU, or that is not there.

    Warns
    -----
    UserWarning
        If the backend is "auto" and the data lie on a GPU that the camera cannot be compiled for: they go by the CPU.
    """
    on_device = arrays.is_device_array(X)
    if backend is None or (backend in ("auto", "numpy") and not on_device):
        return None, False
    if backend == "auto" and getattr(X.device, "type", "cuda") == "cpu":
        return None, False
    try:
        chosen = arrays.choose(backend, X)
    except (ImportError, RuntimeError) as error:
        if backend != "auto":
            raise
        warn_outside(f"X lies on {X.device}, but its light is computed on the CPU: {error}")
        return None, False
    if chosen == arrays.NUMPY:
        return None, False
    return chosen, on_device and arrays.of(X) == chosen


class DeviceInput(PresentInput):
    """A batch of vectors of bits that stays on its device. What is asked of the values is asked there.

    Parameters
    ----------
    X : torch.Tensor or cupy.ndarray
        As the user gave it, any layout in memory. A gradient stops here.
    traits : InputTraits
        Features of a vector, packed or not.
    place : Arrays
        Its library and device.

    Raises
    ------
    TypeError, ValueError
        As from `UserInput`, and from `kind_of`.
    """

    def __init__(self, X: Any, traits: InputTraits, place: arrays.Arrays) -> None:
        super().__init__(tuple(X.shape), kind_of(X), traits)
        self.values = X.detach() if place.name == "torch" else X
        if "float8" in str(X.dtype):  # of which torch can compare none
            self.values = self.values.float()
        self.place: arrays.Arrays = place

    @property
    def home(self) -> arrays.Arrays:
        """Where results are collected: there."""
        return self.place

    @cached_property
    def _flat(self) -> Any:
        """Vectors one after the other, (n_samples, features or bytes); a copy only of what is not in order."""
        return self.values.reshape(self.n_samples, -1)

    @property
    def _parts(self) -> list[slice]:
        return [slice(start, start + self._step) for start in range(0, self.n_samples, self._step)]

    def _check_values(self, first: int, shape: tuple[int, ...]) -> None:
        xp, values = self.place.xp, self.values
        if self.traits.packed or values.dtype == xp.bool:
            return
        if values.dtype == xp.uint8 and int(xp.max(values)) <= 1:
            return
        for rows in self._parts:
            part = self._flat[rows]
            good = self.traits.values.good(part)
            if not bool(xp.all(good)):
                self._refuse(self.place.to_host(good), as_numpy(part)[0], first + rows.start, shape)

    def _count(self) -> int:
        xp = self.place.xp
        ones: Any = 0
        for rows in self._parts:
            part = self._unpacked(self._flat[rows], "big") if self.traits.packed else self._flat[rows]
            ones = ones + xp.sum(part != 0, dtype=xp.int64)  # known when the last part is: the device is not waited for
        return int(ones)

    def bits(self, start: int, stop: int, bitorder: str = "big") -> Any:
        """Return some of the vectors as bits on their device, uint8 0/1 (stop - start, n_features_total)."""
        xp, part = self.place.xp, self._flat[start:stop]
        if self.traits.packed:
            return self._unpacked(part, bitorder)
        return as_uint8(part if part.dtype in (xp.uint8, xp.bool) else xp.astype(part, xp.uint8))

    def _unpacked(self, part: Any, bitorder: str) -> Any:
        order = np.arange(8, dtype=np.uint8)
        shifts = self.place.from_host(order if bitorder == "little" else order[::-1].copy())
        xp = self.place.xp
        bits = xp.astype((part[:, :, None] >> shifts) & 1, xp.uint8, copy=False)
        return as_uint8(bits.reshape(len(part), -1)[:, : self.traits.n_features_total])

    def placed(self, bits: Any) -> Any:
        """Return bits where the light is computed: there they are."""
        return bits

    def fetched(self, values: Any) -> Any:
        """Return results as they are: they stay on the device."""
        return values

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of the device to collect results in."""
        return self.place.empty(shape, dtype)

    def finished(self, Y: Any, context: Context) -> Any:
        """Return results (n_samples, m) in the input's shape; arrays of a device carry no context."""
        return self.shape_output(Y)

    def like_input(self, Y: Any) -> Any:
        """Return the result on the input's device, whatever a decoder has made of it."""
        return like(Y, self.values.device if self.place.name == "torch" else self.place)


def kind_of(X: Any) -> np.dtype[Any]:
    """Return numpy's name of the type of a tensor or an array of CuPy; an InputTypeError if it can hold no bits."""
    name = str(X.dtype).removeprefix("torch.")
    refuse_odd_tensor(X)
    if "float" in name and name not in ("float32", "float64"):
        name = "float16"  # and others that numpy does not know, such as bfloat16
    try:
        return np.dtype(name)
    except TypeError:
        raise InputTypeError(
            f"X has dtype {X.dtype}, but it must be bool, integer or float, with only 0 and 1 in it."
        ) from None
