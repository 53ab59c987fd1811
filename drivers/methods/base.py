"""What workers do for a lazy transform: show a part of the vectors in the frames that were reserved for it.

A job is made where the lazy array is, and sent to the workers: settings and frame numbers, no matrix. It gives the
same numbers in every process, for every part of the vectors, in any order, and again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

import opusim
from opusim.drivers.inputs.traits import InputTraits, UserInput
from opusim.patterns.layout import MirrorPatterns

from . import intensity as reconstruction

if TYPE_CHECKING:
    from opusim.bench.bench import OpticalBench
    from opusim.bench.frames import ReservedFrames
    from opusim.drivers.lowlevel.settings_of_frame import FrameSettings
    from opusim.drivers.runner import Fit

# Benches that a process makes and keeps, each with matrices of its own.
_KEPT_BENCHES = 2


class _Benches:
    """Benches of this process by what they are made from: those of its OPUs, and some that were made for jobs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.of_opus: WeakValueDictionary[Any, OpticalBench] = WeakValueDictionary()
        self.made: OrderedDict[Any, OpticalBench] = OrderedDict()


_benches = _Benches()


def _forget_benches() -> None:
    global _benches
    _benches = _Benches()


# A thread that holds a lock does not live on in a fork, its lock does.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_benches)


@dataclass(frozen=True)
class BenchRecipe:
    """What a bench is made from in another process, so that it gives the same counts there.

    Attributes
    ----------
    device : Device
        The device; the path of a measured matrix is absolute.
    seed : int
        Its seed.
    execution : str
        As the bench was told.
    memory_budget : int
        What the first bench reckoned with: it decides between matrix and waves, whose last bits differ.
    fingerprint : str
        Of the device where the recipe was written.
    version : str
        Of opusim there.
    backend : str
        What the bench computes with; a worker that lacks it says so.
    """

    device: Any
    seed: int
    execution: str
    memory_budget: int
    fingerprint: str
    version: str
    backend: str = "auto"

    @classmethod
    def of(cls, bench: Any) -> BenchRecipe:
        """Return the recipe of a bench.

        Raises
        ------
        TypeError
            If it is another kind of bench than `OpticalBench`.
        """
        from opusim.bench.bench import OpticalBench

        if type(bench) is not OpticalBench:
            raise TypeError(
                f"X is a Dask array, but the bench behind this OPU is a {type(bench).__name__}, which workers cannot "
                "make anew: it must be an opusim.bench.OpticalBench. Use X.compute()."
            )
        medium = bench.device.medium.anywhere()
        device = bench.device if medium is bench.device.medium else bench.device.evolve(medium=medium)
        recipe = cls(
            device, bench.seed, bench.execution, bench.memory_budget, device.fingerprint(), opusim.__version__,
            bench.backend,
        )  # fmt: skip
        with _benches.lock:
            _benches.of_opus[recipe._key] = bench
        return recipe

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.fingerprint, self.seed, self.execution, self.memory_budget, self.backend

    def bench(self) -> OpticalBench:
        """Return a bench: that of an OPU in this process, one that is kept, or a new one that uses one thread.

        Raises
        ------
        RuntimeError
            If this process has another version of opusim, or another file of a measured matrix.
        """
        from opusim.bench.bench import OpticalBench

        kept = _benches
        with kept.lock:
            bench = kept.of_opus.get(self._key) or kept.made.get(self._key)
            if bench is None:
                if self.version != opusim.__version__:
                    raise RuntimeError(
                        f"This worker has opusim {opusim.__version__}, but the lazy array was made with opusim "
                        f"{self.version}: they must be the same."
                    )
                if self.device.fingerprint() != self.fingerprint:
                    raise RuntimeError(
                        f"The device {self.device.name!r} is not the same on this worker: {self.device.medium.path!r} "
                        "holds another matrix."
                    )
                # One thread: a worker has as many tasks at a time as it may use processors.
                bench = OpticalBench(
                    self.device, self.seed, execution=self.execution, memory_budget=self.memory_budget, threads=1,
                    backend=self.backend,
                )  # fmt: skip
                kept.made[self._key] = bench
                while len(kept.made) > _KEPT_BENCHES:
                    kept.made.popitem(last=False)
            elif self._key in kept.made:
                kept.made.move_to_end(self._key)
            return bench


@dataclass(frozen=True)
class Passes:
    """Frames reserved for a batch as one call in one process would take them: a sequence for each pass.

    Attributes
    ----------
    size : int
        Vectors of a pass; the last one may have fewer.
    n_vectors : int
        Vectors in all.
    sequences : tuple of ReservedFrames
        One for each pass.
    """

    size: int
    n_vectors: int
    sequences: tuple[ReservedFrames, ...]

    @classmethod
    def reserve(
        cls, bench: Any, exposure: FrameSettings, n_vectors: int, size: int, n_frames: Callable[[int], int]
    ) -> Passes:
        """Reserve `n_frames(n)` frames for each pass of n vectors."""
        counts = (min(size, n_vectors - first) for first in range(0, n_vectors, size))
        time_s = exposure.frametime_us / 1e6
        sequences = tuple(bench.reserve(n_frames(count), frametime_s=time_s) for count in counts)
        return cls(size, n_vectors, sequences)

    def parts(self, start: int, stop: int) -> Iterator[tuple[slice, range, ReservedFrames]]:
        """Yield which of the vectors `start` to `stop` are in a pass, which of that pass they are, and its frames."""
        for k in range(start // self.size, -(-stop // self.size)):
            first = k * self.size
            a, b = max(start, first), min(stop, first + self.size)
            yield slice(a - start, b - start), range(a - first, b - first), self.sequences[k]


@dataclass(frozen=True)
class _InFrames:
    """A device whose next frames are reserved ones."""

    bench: OpticalBench
    reserved: ReservedFrames

    def project(
        self,
        patterns: MirrorPatterns,
        n_pixels: int,
        *,
        settings: FrameSettings,
        reference_phase_rad: np.ndarray | None = None,
    ) -> np.ndarray:
        """Show patterns as `OpuDevice.project` does."""
        return self.bench.transform(
            patterns,
            exposure_s=settings.exposure_us / 1e6,
            roi=settings.bench_roi,
            n_pixels=n_pixels,
            frametime_s=settings.frametime_us / 1e6,
            reference_phase_rad=reference_phase_rad,
            reserved=self.reserved,
        )


@dataclass(frozen=True)
class Job:
    """A transform of a batch, by parts.

    Attributes
    ----------
    recipe : BenchRecipe
        The bench.
    fit : Fit
        How the vectors are shown.
    shape : tuple of int
        Shape of the user's bits, for messages.
    exposure : FrameSettings
        Region and times.
    n_out : int
        Pixels to return.
    passes : Passes
        Frames.
    """

    recipe: BenchRecipe
    fit: Fit
    shape: tuple[int, ...]
    exposure: FrameSettings
    n_out: int
    passes: Passes

    def __call__(self, x: np.ndarray, first: int, shared: Any) -> np.ndarray:
        """Return the result of some vectors.

        Parameters
        ----------
        x : ndarray, shape (n, features or bytes)
            The vectors as the user gave them.
        first : int
            Number of the first of them.
        shared : object
            What `share` returned.

        Raises
        ------
        TypeError, ValueError
            If they are not of bits.
        """
        traits = self.fit.traits
        data = UserInput.from_traits(x, traits if traits.packed else InputTraits((traits.n_features_s,)))
        data.check_binary(first, self.shape)
        return self._show(data.bits(0, len(x), self.fit.bitorder), first, shared)

    def share(self) -> Any:
        """Return what all parts need and one worker makes; None if there is nothing."""
        return None

    def _show(self, bits: np.ndarray, first: int, shared: Any) -> np.ndarray:
        raise NotImplementedError

    def _in(self, reserved: ReservedFrames) -> _InFrames:
        return _InFrames(self.recipe.bench(), reserved)


@dataclass(frozen=True)
class CountsJob(Job):
    """The camera's counts: one frame a vector."""

    def _show(self, bits: np.ndarray, first: int, shared: Any) -> np.ndarray:
        shown = [
            self._in(frames.only(np.array(numbers))).project(
                MirrorPatterns(bits[rows], self.fit.layout), self.n_out, settings=self.exposure
            )
            for rows, numbers, frames in self.passes.parts(first, first + len(bits))
        ]
        return shown[0] if len(shown) == 1 else np.concatenate(shown)


@dataclass(frozen=True)
class IntensityJob(Job):
    """The linear transform by intensities: two frames a vector, and the anchors, which all vectors share.

    Attributes
    ----------
    black_level_dn, level_dn : float
        As for `linear_reconstruction.Decoder`.
    """

    black_level_dn: float
    level_dn: float

    def share(self) -> np.ndarray:
        """Return the means of the anchors over all blocks, float64 (3, n_out)."""
        r = reconstruction.anchor(self.fit.traits.n_features_s)
        anchors = np.stack([np.ones_like(r), r, 1 - r])
        total, n_blocks = np.zeros((len(anchors), self.n_out)), 0
        for _, numbers, frames in self.passes.parts(0, self.passes.n_vectors):
            starts = [reconstruction.frames_needed(v) for v in range(0, len(numbers), reconstruction.BLOCK)]
            places = (np.array(starts)[:, None] + np.arange(len(anchors))).ravel()
            patterns = MirrorPatterns(np.tile(anchors, (len(starts), 1)), self.fit.layout)
            shown = self._in(frames.only(places)).project(patterns, self.n_out, settings=self.exposure)
            # One after the other, as the decoder adds them.
            for block in shown.reshape(len(starts), *total.shape):
                total += block
            n_blocks += len(starts)
        return total / n_blocks

    def _show(self, bits: np.ndarray, first: int, shared: Any) -> np.ndarray:
        r = reconstruction.anchor(self.fit.traits.n_features_s)
        result = np.empty((len(bits), self.n_out), dtype=np.float32)
        for rows, numbers, frames in self.passes.parts(first, first + len(bits)):
            v = np.array(numbers)
            # The frames before it in the pass: anchors of the blocks begun, two of each vector.
            places = 2 * v + reconstruction.ANCHORS * (v // reconstruction.BLOCK + 1)
            pairs = np.empty((2 * len(v), bits.shape[1]), dtype=np.uint8)
            np.bitwise_xor(bits[rows], r, out=pairs[::2])
            np.subtract(1, pairs[::2], out=pairs[1::2])
            chosen = frames.only((places[:, None] + np.arange(2)).ravel())
            shown = self._in(chosen).project(
                MirrorPatterns(pairs, self.fit.layout), self.n_out, settings=self.exposure
            )  # fmt: skip
            np.subtract(shown[::2], shown[1::2], out=result[rows], dtype=np.float32)
        n_features = self.fit.traits.n_features_s
        return reconstruction.reconstruct(result, shared, n_features, self.black_level_dn, self.level_dn)
