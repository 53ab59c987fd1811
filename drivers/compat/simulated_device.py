"""lightonml's own simulator of a device: |X R|^2 with a stored random matrix, without noise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.errors import NotReadyError, warn_outside
from opusim.base.locks import new_lock
from opusim.bench.region import LightonmlRoi
from opusim.drivers.types import Tuple2D


class SimulatedOpuDevice:
    """A random matrix in place of optics and camera, as `lightonml.internal.simulated_device` has it.

    Parameters
    ----------
    frametime_us, exposure_us : int, optional
        Kept, without effect.
    verbose : bool, optional
        Kept, without effect.
    linear : bool, optional
        Whether `transform1` and the others give the real part of X R in place of |X R|^2.
    output_roi : tuple, optional
        Kept, without effect.

    Notes
    -----
    R = (N + i N') / sqrt(n_features), from `numpy.random.RandomState(seed)` in float32: the numbers are lightonml's,
    bit for bit. For a device with a camera, use `opusim.OPU`.
    """

    def __init__(
        self,
        frametime_us: float = 500,
        exposure_us: float = 400,
        verbose: bool = False,
        linear: bool = False,
        output_roi: LightonmlRoi | None = None,
    ) -> None:
        self.active = False
        self.frametime_us = int(frametime_us)
        self.exposure_us = int(exposure_us)
        self.output_roi: LightonmlRoi = ((0, 0), (2040, 1088)) if output_roi is None else output_roi
        self._verbose = verbose
        self._linear = linear
        self._random_matrix: np.ndarray | None = None
        self._made_with: tuple[int, int, Any] | None = None
        self._lock = new_lock()

    def build_random_matrix(self, n_features: int, n_components: int, seed: Any = 0) -> None:
        """Draw the matrix, complex64 (n_features, n_components).

        Parameters
        ----------
        n_features, n_components : int
            Its shape.
        seed : int or array_like or None
            Of the `RandomState`; None takes one from the operating system.
        """
        shape = (
            validation.integer("n_features", n_features, low=1),
            validation.integer("n_components", n_components, low=1),
        )
        generator = np.random.RandomState(seed)  # noqa: NPY002 - the numbers must be lightonml's
        scale = 1.0 / np.sqrt(n_features)
        real = generator.normal(loc=0.0, scale=scale, size=shape).astype(np.float32)
        imaginary = generator.normal(loc=0.0, scale=scale, size=shape).astype(np.float32)
        with self._lock:
            self._random_matrix = real + 1j * imaginary
            self._made_with = (*shape, seed)

    @property
    def random_matrix(self) -> np.ndarray | None:
        """The matrix; None before it is made."""
        return self._random_matrix

    def fields(self, x: np.ndarray) -> np.ndarray:
        """Return X R, complex64 (n, n_components), for `x` of shape (n, at most the matrix's rows)."""
        matrix = self._random_matrix
        if matrix is None:
            raise RuntimeError("The random matrix isn't made, but it is needed: call build_random_matrix.")
        if x.ndim != 2 or x.shape[1] > len(matrix):
            raise ValueError(f"X has shape {x.shape}, but it must have at most {len(matrix)} columns.")
        if x.shape[1] < len(matrix):
            warn_outside(
                f"X has {x.shape[1]} features and the random matrix {len(matrix)} rows: the others are not used. Set "
                "max_n_features to save their memory."
            )
        return np.dot(x, matrix[: x.shape[1]])

    def transform1(self, X: np.ndarray) -> np.ndarray:
        """Return |X R|^2, float32 (n, n_components); the real part of X R for a linear device."""
        field = self.fields(np.asarray(X))
        return field.real if self._linear else np.abs(field) ** 2

    def transform2(self, X: np.ndarray, Y: np.ndarray, _: Any = None) -> None:
        """Fill `Y` with what `transform1` returns."""
        Y[:] = self.transform1(X)

    def transform_single(self, X: np.ndarray) -> np.ndarray:
        """Return one row for one vector, (n,) or (1, n)."""
        return self.transform1(np.atleast_2d(X))[0]

    def check_open(self) -> None:
        """Raise a NotReadyError (a RuntimeError and an AssertionError) if it is closed."""
        if not self.active:
            raise NotReadyError("The OPU device isn't active, but it must be open for this: call open().")

    def open(self) -> None:
        """Open it."""
        self.active = True

    def close(self) -> None:
        """Close it; the matrix is kept."""
        self.active = False

    def __enter__(self) -> SimulatedOpuDevice:
        """Open it."""
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    def reserve(self, _: int) -> None:
        """Do nothing: there is no memory to prepare."""

    @contextmanager
    def acquiring(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Do nothing: there is no camera."""
        yield

    def versions(self) -> str:
        """Return what it is."""
        return "random matrix, no noise"

    @property
    def input_shape(self) -> Tuple2D:
        """(1140, 912): transposed, as lightonml's has it."""
        return 1140, 912

    @property
    def nb_features(self) -> int | None:
        """Rows of the matrix; None before it is made."""
        return None if self._random_matrix is None else len(self._random_matrix)

    @property
    def input_size(self) -> int:
        """Bytes of a packed vector."""
        return (self.nb_features or 0) // 8

    @property
    def acq_state(self) -> None:
        """None: there is no camera."""
        return

    @property
    def output_dtype(self) -> type[np.float32]:
        """float32."""
        return np.float32

    @property
    def output_roi_strategy(self) -> None:
        """None: every component is read."""
        return

    @property
    def output_roi_increment(self) -> int:
        """1."""
        return 1

    @property
    def output_shape_max(self) -> Tuple2D:
        """(1920, 1080)."""
        return 1920, 1080

    @property
    def output_shape(self) -> Tuple2D:
        """Size of the region that is kept for programs that read it."""
        return self.output_roi[1]

    @property
    def output_readout_us(self) -> int:
        """As long as the exposure."""
        return self.exposure_us

    @property
    def gain_dB(self) -> float:
        """0."""
        return 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Leave the matrix out; it is drawn again."""
        state = self.__dict__.copy()
        del state["_lock"]
        # A matrix without a seed cannot be drawn again.
        if self._made_with is None or self._made_with[2] is not None:
            state["_random_matrix"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Draw the matrix again."""
        self.__dict__.update(state)
        self._lock = new_lock()
        if self._made_with is not None and self._random_matrix is None:
            self.build_random_matrix(*self._made_with)
