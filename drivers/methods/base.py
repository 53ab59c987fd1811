"""What a way to make outputs is: which patterns are shown for vectors, and what is made of the frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base.errors import warn_outside
from opusim.bench.protocol import lags_of

if TYPE_CHECKING:
    from opusim.bench.reduction import Reduction
    from opusim.bench.together import TakenTogether
    from opusim.drivers.lowlevel.device import OpuDevice

# What `Method.reduce` stands for, and what may set attributes of it.
_REDUCED = frozenset(
    ("dtype", "block", "parted", "shares", "phases_rad", "n_pixels", "steps", "frames", "patterns", "encode", "decode",
     "places", "begin", "__post_init__")
)  # fmt: skip
# Share of a frame left behind from which a linear transform is told to be wrong by it: error and lag are about alike.
_MUCH_LAG = 0.05

#: Shows some patterns of a pass: (number of the pass, their places in it, bits of them) -> frames.
Show = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


class Method(ABC):
    """A way to make outputs of vectors. `opusim.drivers.acquire.run` is the one loop that all of them go through.

    A new one is a file of its own: a frozen dataclass that derives from this class and says `dtype`, `frames`, `encode`
    and `decode`; the rest has defaults. It is pickled as it is for the workers of a Dask array. One that makes a linear
    transform is known by name with a `LinearMode` beside it (`opusim.bench.linear_modes`).

    Vectors are shown in passes. Each pass is a sequence of patterns: those of its vectors, in their order, the same
    number for each, and between them those that belong to no single vector (anchors). Whoever calls `encode` and
    `decode` has either a whole pass, with all of them; or, where `parted` says that this may be, a part of one: some of
    its vectors, whose patterns are shown in the frames that `places` says, while `shared` has seen to the others.

    Attributes
    ----------
    dtype : numpy.dtype
        Of a result.
    block : int
        Vectors that belong together: a pass holds whole blocks, but for the last one.
    parted : bool
        Whether the vectors of a block may be shown apart from each other. If not, a pass is one block.
    shares : bool
        Whether all vectors of a call share something that frames tell: `begin`, `finish` and `shared` are there then.
    packed : bool
        Whether vectors may come packed.
    needs_bits : bool
        Whether they are combined as bits, so that levels of a phase modulator are nothing to it.
    full : bool
        Whether their features must use all the mirrors that they can.
    phases_rad : ndarray of float64, shape (steps,), or None
        Phases of the reference arm, under each of which a pattern is shown in turn; None blocks the arm.
    n_pixels : int or None
        Pixels of the region to read; None for as many as there are outputs.
    by_light : bool
        Whether frames are decoded where the light is computed, and results come from there; else, and always where
        vectors share something, where the data are.
    fit_patterns : int
        Patterns that were shown once for the fit, before any vector.
    reductions : tuple of type
        Kinds of ``opusim.bench.reduction.Reduction`` that `reduce` asks a bench for, which then makes no frames of
        whole passes; none by default, and for a class that has frames, patterns or results of its own without a
        `reduce`.
    """

    dtype: np.dtype[Any]
    block: int = 1
    parted: bool = True
    shares: bool = False
    packed: bool = True
    needs_bits: bool = False
    full: bool = False
    phases_rad: np.ndarray | None = None
    n_pixels: int | None = None
    by_light: bool = False
    fit_patterns: int = 0
    reductions: tuple[type[Reduction], ...] = ()

    def __init_subclass__(cls, **more: Any) -> None:
        """Let a class make frames that says otherwise what the `reduce` which it inherits stands for."""
        super().__init_subclass__(**more)
        for kind in cls.__mro__:
            if "reduce" in kind.__dict__ or "reductions" in kind.__dict__:
                return
            if _REDUCED & kind.__dict__.keys():
                cls.reductions = ()
                return

    # ------------------------------------------------------------------ what a method says

    @abstractmethod
    def frames(self, n: int) -> int:
        """Return how many frames a pass takes, those that belong to no single vector included.

        Parameters
        ----------
        n : int
            Vectors of the pass.

        Returns
        -------
        int
            Frames.
        """

    @abstractmethod
    def encode(self, bits: Any, *, part: bool = False) -> Any:
        """Return the patterns to show.

        Parameters
        ----------
        bits : array of uint8, shape (n, n_features)
            0 or 1, of any library, on any device, or levels of a phase modulator; not to be written to.
        part : bool
            Whether the vectors are a part of a pass, whose patterns alone are wanted.

        Returns
        -------
        array of uint8, shape (patterns, n_features)
            0 or 1, in order in memory, of the same library on the same device.
        """

    @abstractmethod
    def decode(
        self, frames: Any, shared: Any = None, *, out: Any = None, part: bool = False, threads: int | None = None
    ) -> Any:
        """Return what the frames of vectors give; with what they share `finish` makes results of it.

        Parameters
        ----------
        frames : array, shape (frames, pixels)
            Counts of the patterns of `encode`, each under every phase in turn.
        shared : object
            For a whole pass what `begin` returned, to which this pass adds, and which it does not read: it may be of
            this pass alone. For a part what `shared` returned, which stays as it is.
        out : array, shape (n, n_out), optional
            Where results may be put, if they lie there: it is returned then.
        part : bool
            As for `encode`.
        threads : int, optional
            Threads to use with numpy, told where `by_light` is set; they do not change the result.

        Returns
        -------
        array of `dtype`, shape (n, n_out)
            Of the library and on the device of the frames; may be the frames themselves.
        """

    def reduce(
        self, bits: np.ndarray, taken: TakenTogether, sizes: Sequence[int], shared: Any = None, *, out: Any = None
    ) -> np.ndarray:
        """Return what `decode` would of the frames of whole passes, shown and reduced at once by a bench.

        Parameters
        ----------
        bits : ndarray of uint8, shape (n, n_features)
            0 or 1.
        taken : TakenTogether
            The frames of the passes, a sequence each.
        sizes : sequence of int
            Vectors of each pass.
        shared : object
            What `begin` returned, to which the passes add.
        out : ndarray, shape (n, n_out), optional
            Where results may be put: it is returned then.

        Returns
        -------
        ndarray of `dtype`, shape (n, n_out)
            The same bits as by frames.

        Notes
        -----
        Where frames of one pass tell an error, those of the passes after it go back to the bench before it is raised
        (``TakenTogether.give_back``): the clock is then where it would be by frames.
        """
        raise NotImplementedError(f"{type(self).__name__} has reductions, but no method reduce.")

    # ------------------------------------------------------------------ what all vectors share

    def begin(self) -> Any:
        """Return what the passes of one call add to."""
        raise NotImplementedError(f"{type(self).__name__} shares something, but has no method begin.")

    def finish(self, results: Any, shared: Any) -> Any:
        """Return results, after all passes.

        Parameters
        ----------
        results : array of `dtype`, shape (n, n_out)
            What `decode` gave; they may be changed in place.
        shared : object
            What `begin` returned, to which all passes have added; it stays as it is.

        Returns
        -------
        array of `dtype`, shape (n, n_out)
            Results.
        """
        raise NotImplementedError(f"{type(self).__name__} shares something, but has no method finish.")

    def shared(self, show: Show, sizes: Sequence[int], n_features: int) -> Any:
        """Return what `begin` and all passes would have come to, before any vector is shown; a worker calls it.

        Parameters
        ----------
        show : callable
            Shows patterns of a pass in their frames.
        sizes : sequence of int
            Vectors of each pass.
        n_features : int
            Bits of a vector.
        """
        raise NotImplementedError(f"{type(self).__name__} shares something, but has no method shared.")

    def places(self, numbers: range, n: int) -> np.ndarray:
        """Return which patterns of a pass are those of some of its vectors.

        Parameters
        ----------
        numbers : range
            Numbers of the vectors within the pass.
        n : int
            Vectors of the pass.

        Returns
        -------
        ndarray of int64
            Numbers of patterns, rising. By default every vector has equally many, and there are no others.
        """
        each = self.patterns(n) // n
        return np.arange(numbers.start * each, numbers.stop * each)

    # ------------------------------------------------------------------ plans of work

    def reduction(self, n: int, n_features: int) -> Reduction | None:
        """Return what `reduce` asks of a bench for vectors, whatever they are, so that it can be timed.

        Parameters
        ----------
        n, n_features : int
            Vectors, and bits of one.

        Returns
        -------
        Reduction or None
            None by default: what follows the frames is timed in its place.
        """
        return None

    def rehearsed(self, frames: Any) -> Method:
        """Return the method for a fit on a device that gave these frames: `decode` takes them, and can be timed.

        Parameters
        ----------
        frames : ndarray, shape (frames, pixels)
            Of a whole pass, of any patterns; may be changed to be more like those of its own.

        Returns
        -------
        Method
            Itself, where any frames will do.
        """
        return self

    # ------------------------------------------------------------------ what follows

    @property
    def steps(self) -> int:
        """Frames of a pattern."""
        return 1 if self.phases_rad is None else len(self.phases_rad)

    def patterns(self, n: int) -> int:
        """Return how many patterns a pass shows.

        Parameters
        ----------
        n : int
            Vectors of the pass.

        Returns
        -------
        int
            Patterns, those that belong to no single vector included.
        """
        return self.frames(n) // self.steps

    def per_vector(self) -> int:
        """Return how many patterns belong to each vector alone.

        Returns
        -------
        int
            Patterns.
        """
        return self.patterns(2) - self.patterns(1)

    def task_bytes(self, n_out: int, frame_item: int) -> int:
        """Return the bytes of frames and result of a vector in a lazy task.

        Parameters
        ----------
        n_out : int
            Outputs of a vector.
        frame_item : int
            Bytes of a count.

        Returns
        -------
        int
            Bytes.
        """
        return n_out * (self.per_vector() * self.steps * frame_item + self.dtype.itemsize)


def tell_lag(device: OpuDevice, effect: str) -> float:
    """Return the share of a frame that the camera reads with the next one, and tell a large one.

    Parameters
    ----------
    device : OpuDevice
        Whose camera it is.
    effect : str
        What it does to a linear transform, as in "is smaller by half as much again".

    Returns
    -------
    float
        The share; 0 for a bench that does not lag.

    Warns
    -----
    UserWarning
        If it is a twentieth or more.
    """
    if not lags_of(device.bench):
        return 0.0
    lag = float(device.device_model.camera.lag)
    if lag >= _MUCH_LAG:
        warn_outside(
            f"camera.lag is {lag:g}: each frame holds this share of the one before it, and R x of linear_transform "
            f"{effect}. `opusim info` tells the error of an output."
        )
    return lag
