"""A medium whose transmission matrix somebody measured."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from opusim.base import elementary, parallel, rng
from opusim.base.hdf5_content import FileError, check_size, member, read_array
from opusim.base.parameters import parameter
from opusim.base.plain_files import check_plain
from opusim.base.user_arrays import exponent_of, refuse_not_finite, times_two_to

from .base import EntryMedium, decorrelation_time, transmission

if TYPE_CHECKING:
    import h5py

    from opusim.device.camera import Camera
    from opusim.device.laser import Laser


# Of a background over the root mean square of the matrix: a feature more adds nothing to such a field.
_LARGEST_BACKGROUND = 1e7
# Up to this power of two nothing over- or underflows, in single precision neither.
_LARGE = 100


@dataclass(frozen=True)
class MeasuredMedium(EntryMedium):
    """A complex transmission matrix read from an HDF5 file.

    Column j of the matrix is input j: feature j of a layout. On a bench the inputs share the whole array of mirrors, in
    line (`opusim.OpticalBench.input_layout`); a pattern of fewer features has the first inputs, and the mirrors of the
    others stay off. Output mode i is pixel i of the region of interest in raster order. The file's matrix is scaled to
    the mean square 1; `transmission` sets the light level. The matrix already holds the beam profile and the difference
    between on and off, as a differential measurement gives it.

    Parameters
    ----------
    path : str
        HDF5 file. A TOML file names it from its own folder, a program from the working folder; ``~`` is the user's.
    dataset : str
        Name of the data set: complex, shape (outputs, inputs).
    background : str
        Name of an optional data set: complex, shape (outputs,), the field with every feature off, in the
        same units. A file without it has no background.
    transmission : float
        Share of the light that leaves the mirrors (all on) which reaches one pixel on average, in one
        polarisation (`Medium`).
    decorrelation_time_s : float
        Time after which the field correlation with the measured matrix has fallen to 1/e; `inf` for none.
    input_light : {"mirrors", "shared"}
        The light of an input that is on. "mirrors": that of its mirrors, however many other inputs there are. "shared":
        the features that are shown share the light of all mirrors, as in version 1 of the presets; there the medium has
        no inputs of its own, so that fewer features are brighter ones, and no procedure finds patterns for it.

    Raises
    ------
    ValueError
        On use, if the file cannot be read or does not hold such a matrix.
    """

    kind: ClassVar[str] = "measured"
    order: ClassVar[float] = 30.0
    files: ClassVar[tuple[str, ...]] = ("path",)
    by_feature: ClassVar[bool] = True

    path: str = parameter("", kind="label")
    dataset: str = parameter("tm", kind="label")
    background: str = parameter("background", kind="label")
    transmission: float = transmission()
    decorrelation_time_s: float = decorrelation_time()
    input_light: str = parameter("mirrors", kind="choice", choices=("mirrors", "shared"), before="shared")

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs) of the stored matrix."""
        shape = _stored_shape(*self._file())
        if shape is None:  # using it tells what is wrong
            matrix, _ = self._load()
            shape = matrix.shape[1], matrix.shape[0]
        return shape

    @property
    def n_inputs(self) -> int | None:
        """Columns of the matrix; None where they share the light of all mirrors."""
        return None if self.input_light == "shared" else self.shape[1]

    def check_size(self, n_features: int, n_pixels: int) -> None:
        """Raise an error if the file's matrix is too small.

        Parameters
        ----------
        n_features, n_pixels : int
            Inputs and outputs that are wanted.

        Raises
        ------
        ValueError
            If the matrix has fewer.
        """
        matrix, _ = self._load()  # not its shape alone: what is wrong with it is told before the first frame
        inputs, outputs = matrix.shape
        for what, asked, stored in (("features", n_features, inputs), ("pixels", n_pixels, outputs)):
            if asked > stored:
                raise ValueError(
                    f"The matrix in {self.path!r} has {stored} {what}, but {asked} were asked for: "
                    f"the number of {what} must be at most {stored}."
                )

    def check(self, laser: Laser, camera: Camera) -> None:
        """Raise an error for a camera that sees both polarisations.

        Parameters
        ----------
        laser : Laser
            The light that comes in.
        camera : Camera
            What sees the light that comes out.

        Raises
        ------
        ValueError
            If laser or camera do not go with it.
        """
        super().check(laser, camera)
        if not camera.polarised:
            raise ValueError(
                "camera.polarised is False, but a measured medium holds one polarisation: it must be True."
            )

    def entries(
        self, inputs: range, outputs: range, *, seed: int, state: int = 0, channel: int = 0, threads: int | None = None
    ) -> np.ndarray:
        """Return a tile of the matrix; see `GaussianMedium.entries`.

        Parameters
        ----------
        inputs, outputs : range
            Columns and rows of the matrix.
        seed, state : int
            Which realisation of the drift, and which of its states.
        channel : int
            There for the protocol alone: a measured matrix holds one polarisation.
        threads : int, optional
            Upper limit of threads; numba's by default.

        Returns
        -------
        ndarray of complex64, shape (len(inputs), len(outputs))
            Entries of mean square 1.
        """
        matrix, _ = self._load()
        tile = matrix[inputs.start : inputs.stop, outputs.start : outputs.stop]
        drift = self.drift
        first, others = drift.mixture(drift.time(state))
        if not others:
            return np.ascontiguousarray(tile)
        from .gaussian_kernels import gaussian_entries

        result = tile * np.complex64(first)
        noise = np.empty((len(inputs), 2 * len(outputs)), dtype=np.float32)
        for m, weight in others:
            key = rng.stream_key(seed, "measured medium drift", m)
            gaussian_entries(
                key, noise, inputs.start, outputs.start, threads=threads or parallel.default_threads()
            )  # fmt: skip
            result += np.complex64(weight) * noise.view(np.complex64)
        return result

    def background_field(self, outputs: range) -> np.ndarray | None:
        """Return the field with every feature off.

        Parameters
        ----------
        outputs : range
            Rows of the matrix.

        Returns
        -------
        ndarray of complex64, shape (len(outputs),), or None
            In the matrix's units; None if the file has none.
        """
        _, background = self._load()
        return None if background is None else background[outputs.start : outputs.stop]

    def _load(self) -> tuple[np.ndarray, np.ndarray | None]:
        path, dataset, *state = self._file()
        return _load_matrix(path, dataset, self.background, *state)

    def _file(self) -> tuple[Any, ...]:
        """Return the file, whatever the working folder will be, the data set, and what changes with the content.

        Of a file so young that it might not show a change, that is the moment, too.
        """
        from opusim.base.files import is_settled, state_of

        path = self.path_of("path").absolute()
        try:
            check_plain(path)
            with open(path, "rb") as raw:
                state = state_of(raw)
        except (OSError, ValueError) as error:
            raise ValueError(f"medium.path is {self.path!r}, but that file cannot be read ({error}).") from error
        now_ns = time.time_ns()
        moment = () if is_settled(state, now_ns) else (now_ns,)
        return str(path), self.dataset, *state, *moment


@lru_cache(maxsize=8)
def _stored_shape(path: str, dataset: str, *_state: int) -> tuple[int, int] | None:
    """Return (outputs, inputs) of a matrix without reading it; None if there is none that can be used."""
    import h5py

    from opusim.base.files import check_trailer

    if check_trailer(path) is False:
        return None
    try:
        with h5py.File(path, "r") as file:
            stored = member(file, dataset, links=True)
            check_size(stored, sparse=True)
            if len(stored.shape) == 2 and stored.dtype.kind == "c":
                return stored.shape if stored.size else None
    except (OSError, RuntimeError, KeyError, FileError):
        pass
    return None


def _read(file: h5py.File, name: str) -> np.ndarray:
    """Return a data set of a laboratory's file, all of which is in it: the fingerprint follows the file's bytes."""
    return read_array(member(file, name, links=True), sparse=True)


@lru_cache(maxsize=2)
def _load_matrix(path: str, dataset: str, background: str, *_state: int) -> tuple[np.ndarray, np.ndarray | None]:
    import h5py

    from opusim.base.files import OLD, check_trailer, tell_unchecked

    try:
        # A lab's own file has none, and need not.
        whole = check_trailer(path)
        if whole is False:
            raise ValueError(f"medium.path is {path!r}, but that file is damaged or cut short; use a backup of it.")
        with h5py.File(path, "r") as file:
            if whole is None and str(file.attrs.get("format", "")).startswith("opusim "):
                tell_unchecked(Path(path), OLD)
            if dataset not in file and file.get(dataset, getlink=True) is None:
                raise ValueError(
                    f"medium.dataset is {dataset!r}, but {path!r} holds {', '.join(map(repr, file)) or 'nothing'}."
                )
            stored = _read(file, dataset)
            extra = _read(file, background) if file.get(background, getlink=True) is not None else None
    except FileError as error:
        raise ValueError(f"medium.path is {path!r}, but {error}") from error
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"medium.path is {path!r}, but that is not a readable HDF5 file ({error}).") from error
    if stored.ndim != 2 or not np.iscomplexobj(stored) or stored.size == 0:
        raise ValueError(
            f"Data set {dataset!r} of {path!r} has shape {stored.shape} and type {stored.dtype}, but it must be a "
            "complex matrix of shape (outputs, inputs)."
        )
    refuse_not_finite(f"Data set {dataset!r} of {path!r}", stored)
    if extra is not None and (extra.shape != (stored.shape[0],) or extra.dtype.kind not in "fc"):
        raise ValueError(
            f"Data set {background!r} of {path!r} has shape {extra.shape} and type {extra.dtype}, but it must be "
            f"complex, of shape ({stored.shape[0]},)."
        )
    if not stored.any():
        raise ValueError(f"Data set {dataset!r} of {path!r} is zero everywhere.")
    # By a power of two first, which rounds nothing: squares of any number then stay within what a number holds.
    exponent = exponent_of(stored)
    if abs(exponent) < _LARGE:
        exponent = 0  # without a copy
    stored = times_two_to(stored, -exponent)
    scale = math.sqrt(float(np.mean(elementary.square_modulus(stored.astype(np.complex128)))))
    matrix = np.ascontiguousarray((stored.T / scale).astype(np.complex64))
    if extra is None:
        return matrix, None
    refuse_not_finite(f"Data set {background!r} of {path!r}", extra)
    with np.errstate(over="ignore", invalid="ignore"):
        field = (times_two_to(extra, -exponent) / scale).astype(np.complex64)
    # Its square is light on a pixel, in single precision.
    largest = float(np.abs(field).max())
    if not largest < _LARGEST_BACKGROUND:
        raise ValueError(
            f"Data set {background!r} of {path!r} reaches {float(np.abs(extra).max()):.3g}, more than "
            f"{_LARGEST_BACKGROUND:g} times the root mean square of data set {dataset!r}: both must be in one unit."
        )
    return matrix, field
