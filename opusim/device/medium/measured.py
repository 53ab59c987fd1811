"""A medium whose transmission matrix somebody measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from opusim.base import elementary, parallel, rng
from opusim.base.parameters import parameter
from opusim.base.plain_files import check_plain

from . import matrix_file
from .base import EntryMedium, decorrelation_time, transmission
from .drift import Drift, StateSequence

if TYPE_CHECKING:
    from opusim.device.camera import Camera
    from opusim.device.laser import Laser


_MOST_TOLD = 6  # times of states


@dataclass(frozen=True)
class MeasuredMedium(EntryMedium):
    """A complex transmission matrix read from an HDF5 file.

    Column j of the matrix is input j: feature j of a layout. On a bench the inputs share the whole array of mirrors, in
    line (`opusim.OpticalBench.input_layout`); a pattern of fewer features has the first inputs, and the mirrors of the
    others stay off. Output i is the pixel of the sensor that the file says, so that a region of interest that moves
    keeps its rows; where the file says none it is pixel i of the region in raster order, whatever the region. The
    file's matrix is scaled to the mean square 1; `transmission` sets the light level. The matrix already holds the beam
    profile and the difference between on and off, as a differential measurement gives it.

    Parameters
    ----------
    path : str
        HDF5 file, of a laboratory or of ``opusim calibrate tm``. A TOML file names it from its own folder, a program
        from the working folder; ``~`` is the user's.
    dataset : str
        Name of the data set: complex, shape (outputs, inputs); or (states, outputs, inputs), a matrix for each state of
        a medium that changes.
    background : str
        Name of an optional data set: complex or real, shape (outputs,), or (states, outputs): the field with every
        feature off, in the same units. A file need not hold one of the usual name, "background"; then there is none, as
        with the name "none". One of another name must be there, here as in `pixels` and `times`.
    transmission : float
        Share of the light that leaves the mirrors (all on) which reaches one pixel on average, in one
        polarisation (`Medium`).
    decorrelation_time_s : float
        Time after which the field correlation with the measured matrix has fallen to 1/e; `inf` for none. It must be
        `inf` where the file's own states are the drift.
    drift_noise : {"row and column", "even"}
        What comes in while the measured matrix goes. "row and column": light that is as strong as the measured in each
        output and in each input, and in the background. "even": light of the mean square 1 everywhere, and a background
        that stays, as in version 0.1.
    pixels : str
        Name of an optional data set: whole numbers, shape (outputs, 2), row and column on the sensor, counted from 0,
        of each output; or a rectangle [row, column, n_rows, n_columns], whose pixels the outputs are in raster order.
        In a file of ``opusim calibrate tm`` that is "transmission/roi". "none" is no data set. A camera reads
        rectangles: of pixels that fill none a driver reads the largest full one (`own_outputs`).
    times : str
        Name of the data set that says when each state begins, in seconds: shape (states,), rising from 0.
    sequence : bool
        Whether the states of such a file follow each other: the matrix is that of the last state that has begun. It
        jumps there, as means of two states would be too dark; the last one stays. If not, the first one always stays.
    input_light : {"mirrors", "shared"}
        The light of an input that is on. "mirrors": that of its mirrors, however many other inputs there are. "shared":
        the features that are shown share the light of all mirrors, as in version 1 of the presets; there the medium has
        no inputs of its own, so that fewer features are brighter ones, and no procedure finds patterns for it.

    Raises
    ------
    ValueError
        On use, if the file cannot be read or does not hold such a matrix.

    Notes
    -----
    Drift is T(t) = C T_0 + sum_n w_n G_n, with C and the weights of `Drift.mixture`. Entries of G_n are independent and
    normal, with the standard deviation r_i c_j in "row and column": r_i is the root mean square of row i, and c_j that
    of column j over that of the matrix. The mean intensity of each row and each column is then that of the file at all
    times, and their correlation with it is C. A pixel or an input that is dark stays dark. The background of output i
    drifts in the same way, by the standard deviation r_i b, with b its root mean square over that of the matrix.

    Files that MATLAB writes (version 7.3) are read as MATLAB shows them: its axes are turned, and complex numbers are
    pairs of "real" and "imag". Places of pixels must be of a type of whole numbers there too, as ``int32``.
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
    drift_noise: str = parameter("row and column", choices=("row and column", "even"), before="even")
    pixels: str = parameter("pixels", kind="label", before=matrix_file.NONE)
    times: str = parameter("times_s", kind="label", before="times_s")
    sequence: bool = parameter(
        True, off=False, imperfection="decorrelation", source="decorrelation", before=True
    )  # fmt: skip
    input_light: str = parameter("mirrors", kind="choice", choices=("mirrors", "shared"), before="shared")

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs) of the stored matrix; its numbers are not read."""
        top = matrix_file.header(self._key())
        return top.n_outputs, top.n_inputs

    @property
    def drift(self) -> Drift:
        """How it changes with time: by the file's states, or by the decorrelation time.

        Raises
        ------
        ValueError
            If there are both, or the file says no times.
        """
        if not self.sequence:
            return Drift(self.decorrelation_time_s)
        try:
            key = self._key()
            top = _sequence_in(key)
        except ValueError:  # using it tells what is wrong
            top = None
        if top is None:
            return Drift(self.decorrelation_time_s)
        where = f"Data set {self.dataset!r} of {self.path!r} is a sequence of {top.n_states} matrices"
        if np.isfinite(self.decorrelation_time_s):
            raise ValueError(
                f"{where}, but medium.decorrelation_time_s is {self.decorrelation_time_s!r}: it must be inf, or "
                "medium.sequence False, which takes the first matrix alone."
            )
        if top.times_s is None:
            raise ValueError(
                f"{where}, but the file does not say when each begins: it must hold a data set {self.times!r} "
                f"(medium.times) of {top.n_states} times in seconds, or medium.sequence must be False, which takes the "
                "first matrix alone."
            )
        return StateSequence(times_s=top.times_s)

    def field_correlation(self, time_s: float) -> float:
        """Return the correlation of the field with that at the start: of two measured matrices for a sequence.

        Parameters
        ----------
        time_s : float
            Start of a state of the drift (`Drift.time`), in seconds.

        Returns
        -------
        float
            From 0 to 1.
        """
        drift = self.drift
        if not isinstance(drift, StateSequence):
            return drift.correlation(time_s)
        return _likeness(self._key(), int(drift.state_at(np.array([time_s]))[0]))

    @property
    def n_inputs(self) -> int | None:
        """Columns of the matrix; None where they share the light of all mirrors."""
        return None if self.input_light == "shared" else self.shape[1]

    def own_outputs(self, sensor_shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
        """Return the rectangle of the sensor that the rows of the matrix fill.

        Parameters
        ----------
        sensor_shape : tuple of int
            Rows and columns of the sensor.

        Returns
        -------
        tuple of int or None
            (row, column, n_rows, n_columns). Where the file says the pixels: the largest rectangle all of whose pixels
            it has. Where it does not: as many pixels as there are rows, in the middle of the sensor, in the fewest
            rows; None if the number of rows has no divisor that makes such a rectangle. None too where
            `input_light` is "shared".

        Raises
        ------
        ValueError
            If the file cannot be read, or has a pixel that is not on the sensor.
        """
        if self.input_light == "shared":
            return None
        key = self._key()
        top = matrix_file.header(key)
        if top.pixels is None:
            return _in_the_middle(top.n_outputs, sensor_shape)
        top.check_on(self.path, sensor_shape)
        return matrix_file.rectangle(key)

    def doubts(self) -> list[str]:
        """Say that rows of the matrix cannot be read together, where their pixels fill no rectangle.

        Returns
        -------
        list of str
            A sentence at most; none of a file that cannot be read, which is told on use.
        """
        if self.input_light == "shared":
            return []
        try:
            key = self._key()
            top = matrix_file.header(key)
        except ValueError:
            return []
        if top.pixels is None:
            return []
        roi = matrix_file.rectangle(key)
        n = roi[2] * roi[3]
        if n == top.n_outputs:
            return []
        return [
            f"medium.pixels: the {top.n_outputs} pixels of data set {top.pixels_from!r} of {self.path!r} fill no "
            f"rectangle. A camera reads rectangles, and the largest that is full has {n} of them, roi {roi} (row, "
            f"column, n_rows, n_columns): a driver reads these alone. medium.pixels = {matrix_file.NONE!r} takes all "
            "rows of the matrix in their order, wherever the region lies."
        ]

    def facts(self) -> dict[str, str]:
        """Return what the file holds: sizes, states and places of pixels.

        Returns
        -------
        dict of str
            "matrix", "drift" of a sequence, and "pixels".
        """
        key = self._key()
        top = matrix_file.header(key)
        found = {"matrix": f"{top.n_outputs:,} outputs x {top.n_inputs:,} inputs"}
        if top.n_states > 1:
            begins = ", ".join(f"{time_s:g}" for time_s in (top.times_s or ())[:_MOST_TOLD])
            more = ", …" if len(top.times_s or ()) > _MOST_TOLD else ""
            when = f"from {begins}{more} s on" if begins else "no times"
            used = "" if self.sequence else "; the first one alone is used"
            found["drift"] = f"{top.n_states} states, {when}{used}"
        found["pixels"] = "those of the region, in its order"
        if top.pixels is not None:
            found["pixels"] = matrix_file.told_pixels(key)
        return found

    @property
    def idle_fields(self) -> tuple[str, ...]:
        """Names of fields that have no effect: those of a sequence, where the file has one matrix."""
        return () if matrix_file.header(self._key()).n_states > 1 else ("times", "sequence")

    def output_powers(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return how strong each output is, and its background, by the first state of the file.

        Returns
        -------
        tuple of ndarray of float64, shape (outputs,), or None
            As of `Medium.output_powers`; None where features share all light, as in version 1 of the presets.
        """
        return None if self.input_light == "shared" else matrix_file.powers(self._key())

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
        outputs, inputs = self.shape
        for what, asked, stored in (("features", n_features, inputs), ("pixels", n_pixels, outputs)):
            if asked > stored:
                shared = what == "features" and self.input_light == "shared"
                raise ValueError(
                    f"The matrix in {self.path!r} has {stored} {what}, but {asked} were asked for: "
                    f"the number of {what} must be at most {stored}."
                    + (
                        " medium.input_light is 'shared', as in version 1 of the presets: with 'mirrors' the bench has "
                        "the inputs of the matrix, and procedures show patterns on these."
                        if shared else ""
                    )
                )  # fmt: skip

    def check_content(self) -> None:
        """Raise an error if a number in the file cannot be used; reads all of it once, and keeps nothing."""
        matrix_file.checked(self._key())

    def let_go(self) -> None:
        """Keep a large matrix no longer; where a law of drift makes each state of it, it stays."""
        drift = self.drift
        if drift.still or isinstance(drift, StateSequence):
            matrix_file.let_go(str(self.path_of("path").absolute()))

    def outputs_at(self, rows: np.ndarray, columns: np.ndarray, sensor_shape: tuple[int, int]) -> np.ndarray | None:
        """Return the outputs that lie on some pixels of the sensor.

        Parameters
        ----------
        rows, columns : ndarray of int64, shape (n,)
            The pixels.
        sensor_shape : tuple of int
            Rows and columns of the sensor.

        Returns
        -------
        ndarray of int64, shape (n,), or None
            Rows of the matrix; None if the file does not say which pixels they are: then they are those of the region,
            in raster order.

        Raises
        ------
        ValueError
            If the file has none for a pixel; the sentence names a region that would do.
        """
        top = matrix_file.header(self._key())
        return None if top.pixels is None else top.outputs_at(self.path, rows, columns, sensor_shape)

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
        key = self._key()
        drift = self.drift
        if isinstance(drift, StateSequence):
            found = matrix_file.matrix(key, drift.within_range(state)).matrix
            return np.ascontiguousarray(found[inputs.start : inputs.stop, outputs.start : outputs.stop])
        tile = matrix_file.matrix(key, 0).matrix[inputs.start : inputs.stop, outputs.start : outputs.stop]
        first, others = drift.mixture(drift.time(state))
        if not others:
            return np.ascontiguousarray(tile)
        result = tile * np.complex64(first)
        noise = self._noise(others, seed, inputs, outputs, threads)
        if self.drift_noise == "even":
            for weight, term in noise:
                result += weight * term
            return result
        rms = matrix_file.spread(key)
        result += _mixed(noise, rms.columns[inputs.start : inputs.stop], rms.rows[outputs.start : outputs.stop])
        return result

    def background_field(self, outputs: range, *, seed: int = 0, state: int = 0) -> np.ndarray | None:
        """Return the field with every feature off.

        Parameters
        ----------
        outputs : range
            Rows of the matrix.
        seed, state : int
            Which realisation of the drift, and which of its states.

        Returns
        -------
        ndarray of complex64, shape (len(outputs),), or None
            In the matrix's units; None if the file has none.
        """
        key = self._key()
        drift = self.drift
        if isinstance(drift, StateSequence):
            found = matrix_file.matrix(key, drift.within_range(state)).background
            return None if found is None else found[outputs.start : outputs.stop]
        found = matrix_file.matrix(key, 0).background
        if found is None:
            return None
        field = found[outputs.start : outputs.stop]
        first, others = drift.mixture(drift.time(state))
        if not others or self.drift_noise == "even":
            return field
        rms = matrix_file.spread(key)
        # Its noise is that of an input behind the file's own.
        behind = range(self.shape[1], self.shape[1] + 1)
        noise = self._noise(others, seed, behind, outputs, 1)
        weight = np.array([rms.background], dtype=np.float32)
        drifted: np.ndarray = field * np.complex64(first)
        drifted += _mixed(noise, weight, rms.rows[outputs.start : outputs.stop])[0]
        return drifted

    @staticmethod
    def _noise(
        others: list[tuple[int, float]], seed: int, inputs: range, outputs: range, threads: int | None
    ) -> Iterator[tuple[np.complex64, np.ndarray]]:
        """Yield weights and independent entries of the mean square 1, all in one array: complex64 (inputs, outputs)."""
        from .gaussian_kernels import gaussian_entries

        noise = np.empty((len(inputs), 2 * len(outputs)), dtype=np.float32)
        for m, weight in others:
            key = rng.stream_key(seed, "measured medium drift", m)
            gaussian_entries(
                key, noise, inputs.start, outputs.start, threads=threads or parallel.default_threads()
            )  # fmt: skip
            yield np.complex64(weight), noise.view(np.complex64)

    def _key(self) -> matrix_file.Key:
        """Return the file, whatever the working folder will be, its data sets, and what changes with the content.

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
        return matrix_file.Key(str(path), self.dataset, self.background, self.pixels, self.times, (*state, *moment))


def _in_the_middle(n: int, sensor_shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return the rectangle of n pixels in the middle of a sensor that has the fewest rows; None if there is none."""
    rows, columns = sensor_shape
    for n_rows in range(-(-n // columns), rows + 1):
        if n % n_rows == 0:
            n_columns = n // n_rows
            return (rows - n_rows) // 2, (columns - n_columns) // 2, n_rows, n_columns
    return None


def _mixed(
    noise: Iterator[tuple[np.complex64, np.ndarray]], columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Return the sum of weighted noise, of the strength of its columns (first axis) and rows: complex64."""
    total: Any = None
    for weight, term in noise:
        total = weight * term if total is None else total + weight * term
    parts = total.view(np.float32).reshape(len(columns), len(rows), 2)
    parts *= rows[:, None]
    parts *= columns[:, None, None]
    return np.asarray(total)


def _sequence_in(key: matrix_file.Key) -> matrix_file.Header | None:
    """Return what a file says if it holds a sequence of more than one matrix."""
    top = matrix_file.header(key)
    return top if top.is_sequence and top.n_states > 1 else None


@lru_cache(maxsize=64)
def _likeness(key: matrix_file.Key, state: int) -> float:
    """Return the correlation of the fields of two states of a sequence, that of the start and another."""
    if state == 0:
        return 1.0
    (first, _), (later, _) = (matrix_file.matrix(key, k) for k in (0, state))
    product, squares = 0j, [0.0, 0.0]
    for a in range(len(first)):
        x, y = first[a].astype(np.complex128), later[a].astype(np.complex128)
        product += complex(elementary.multiply(x, y.conj()).sum())
        squares[0] += float(elementary.square_modulus(x).sum())
        squares[1] += float(elementary.square_modulus(y).sum())
    return abs(product) / np.sqrt(squares[0] * squares[1]) if squares[1] else 0.0
