"""The one loop from vectors to outputs, whatever the method: encode, project, decode, pass by pass.

A Dask array goes the same way in parts, by whoever computes it: frames and their time are reserved when the lazy array
is made, so that its numbers are those of one call in one process, bit for bit, whatever the chunks and the workers.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import arrays, memory, parallel
from opusim.base.errors import NotReadyError, TooManyComponentsError
from opusim.base.progress import ProgressBar, long_work_shown
from opusim.bench.protocol import lags_of
from opusim.drivers.inputs.dask import LazyInput
from opusim.drivers.inputs.traits import HostInput, InputTraits, PresentInput, UserInput
from opusim.drivers.lowlevel.device import project
from opusim.drivers.methods.base import Method
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

from .context import Context
from .recipe import BenchRecipe
from .types import AcqState

if TYPE_CHECKING:
    from opusim.bench.bench import OpticalBench
    from opusim.bench.frames import ReservedFrames
    from opusim.drivers.lowlevel.device import OpuDevice
    from opusim.drivers.lowlevel.settings_of_frame import FrameSettings

    from .fit import Fit

# Bytes of bits, and of counts, that one pass may take beside the result.
_PASS_BYTES = 256 << 20
# Vectors whose frames are reduced at once, in whole passes: beyond, tables cost next to nothing. Bytes of their bits.
_TOGETHER, _TOGETHER_BYTES = 1024, 16 << 20
# Numbers whose division takes as long as a thread takes to wake.
_FEW_RESULTS = 1 << 18


def run(
    method: Method,
    data: UserInput,
    fit: Fit,
    device: OpuDevice,
    exposure: FrameSettings,
    n_out: int,
    *,
    n_samples_by_pass: int,
    progress: bool = False,
    divisor: float = 1.0,
) -> Any:
    """Show vectors and return what the method makes of their frames, in the shape that belongs to the input.

    Parameters
    ----------
    method : Method
        What is shown for them, and what becomes of the frames.
    data : UserInput
        The vectors.
    fit : Fit
        How they are shown.
    device : OpuDevice
        Shows them.
    exposure : FrameSettings
        Region and times.
    n_out : int
        Outputs of a vector.
    n_samples_by_pass : int
        Most patterns that go to the device at a time.
    progress : bool
        Whether several patterns show a progress bar, and a matrix that takes long to make.
    divisor : float
        What results are divided by at last, as `divided` does it.

    Returns
    -------
    ContextArray, an array of the input's device, or dask.array.Array
        Of the method's dtype, ``(*batch_shape, n_out)``; lazy for vectors in a Dask array.

    Raises
    ------
    NotReadyError
        If the device is closed, or the fit is not for such vectors.
    TypeError, ValueError
        If the vectors cannot be shown, or no worker could make the device's bench.
    MemoryError
        If the results do not fit the memory that is free.

    Notes
    -----
    After an error the clock of the bench stands behind the frames of the pass that it was in. After Ctrl-C, or where
    memory ran out meanwhile, it may be further where passes are reduced together: behind all of these.
    """
    device.check_open()
    start, n = dt.datetime.now(), data.n_samples
    frame = device.output_dtype
    step = pass_size(method, data.traits.n_features_total, n_out, frame.itemsize, n_samples_by_pass)
    if isinstance(data, LazyInput):
        check_fit(method, fit, data.traits, data.n_samples)
        if lags_of(device.bench):
            raise NotReadyError(
                "X is a Dask array, whose parts are shown in any order, but with camera.lag above 0 a frame is read "
                "with electrons of the one before it: transform an array in memory (X.compute()), or set camera.lag "
                "to 0."
            )
        task = Task.of(method, data.n_samples, data.traits, data.shape, fit, device, exposure, n_out, step)
        align = 1 if method.parted else step
        lazy = data.later(task, method.dtype, n_out, method.task_bytes(n_out, frame.itemsize), align)
        return divided(lazy, divisor)
    assert isinstance(data, PresentInput)
    data.check_values()
    check_fit(method, fit, data.traits, n)
    if n > step or n * n_out * method.dtype.itemsize > _PASS_BYTES:
        memory.check_result(n, n_out, method.dtype.itemsize, data.home)
    # A single frame is taken without a batch; where another OPU on this device is online, its mode stays.
    several = data.is_batch or method.frames(1) > 1
    begins = several and device.acq_state is not AcqState.online
    if begins:
        device.start_acquisition(AcqState.batch)
    try:
        lags, before, shown, n_pixels = lags_of(device.bench), None, 0, method.n_pixels or n_out
        shared = method.begin() if method.shares else None
        values = data.traits.values
        by_light, threads = decodes_by_light(method), device.threads if method.by_light else None
        together, stride = None, step
        if method.reductions and isinstance(data, HostInput):
            together = device.together(fit.layout, method.reductions, n_pixels, exposure, method.phases_rad)
        if together is not None:
            stride = stride_of(method, step, data.traits.n_features_total, n_pixels * frame.itemsize)
        # One pass: what it decodes to is the result.
        result: Any = data.empty((n, n_out), method.dtype) if n > step or together is not None else None
        made = result  # here: nobody else holds it
        bar = ProgressBar(patterns_of(method, n, step), "OPU: transform") if progress and several else None

        def decoded(bits: Any, target: Any, reserved: ReservedFrames | None = None) -> Any:
            """Show a pass and return its results."""
            nonlocal before, shown
            patterns = method.encode(data.placed(bits) if by_light else bits)
            frames = device.project(
                values.patterns(patterns, fit.layout), n_pixels, settings=exposure,
                reference_phase_rad=method.phases_rad, progress=None if bar is None else bar.after(shown),
                before=before, reserved=reserved,
            )  # fmt: skip
            if lags:
                before = values.patterns(patterns[-1:], fit.layout)
            part = method.decode(frames, shared, out=target, threads=threads)
            shown += len(patterns)
            return data.fetched(part) if by_light else part

        with bar or nullcontext(), long_work_shown(progress):
            last = 0
            while last < n:
                first, last = last, min(n, last + stride)
                sizes = [min(step, last - k) for k in range(first, last, step)]
                taken = None if together is None else together.taken([method.frames(size) for size in sizes])
                if taken is not None:
                    sizes = sizes[: len(taken.sequences)]
                    last = first + sum(sizes)
                if taken is not None and taken.still:
                    method.reduce(
                        data.bits(first, last, fit.bitorder), taken, sizes, shared, out=result[first:last]
                    )  # fmt: skip
                    shown += sum(method.patterns(size) for size in sizes)
                    if bar is not None:
                        bar.reach(shown)
                    continue
                for k, size in enumerate(sizes):
                    rows = slice(first + k * step, first + k * step + size)
                    target = None if result is None else result[rows]
                    part = decoded(
                        data.bits(rows.start, rows.stop, fit.bitorder), target,
                        None if taken is None else taken.sequences[k],
                    )  # fmt: skip
                    if result is None:
                        result = part
                    elif part is not target:
                        result[rows] = part
    finally:
        if begins:
            device.stop_acquisition(AcqState.batch)
    if shared is not None:
        result = method.finish(result, shared)
    # A method may hand out an array that it keeps: that is not written to.
    if divisor != 1.0 and result is made and _divide_in_place(result, divisor, device.threads):
        divisor = 1.0
    return divided(data.finished(result, _context(fit, exposure, start)), divisor)


def divided(results: Any, divisor: float) -> Any:
    """Return results over a number, in single precision; the results themselves where it is 1.

    Parameters
    ----------
    results : array of any library
        Results.
    divisor : float
        The number.
    """
    return results if divisor == 1.0 else results / np.float32(divisor)


def _divide_in_place(results: Any, divisor: float, threads: int | None) -> bool:
    """Divide results as `divided` does, in their own memory; return whether they are of a kind that has room for it."""
    number = np.float32(divisor)
    if not isinstance(results, np.ndarray) or np.result_type(results.dtype, number) != results.dtype:
        return False

    def work(start: int, stop: int) -> None:
        np.divide(results[start:stop], number, out=results[start:stop])

    least = -(-_FEW_RESULTS // max(1, results.shape[1]))
    parallel.over_ranges(work, len(results), threads or parallel.default_threads(), least)
    return True


def run_one(
    data: HostInput, fit: Fit, device: OpuDevice, exposure: FrameSettings, n_out: int, *, progress: bool = False
) -> Any:
    """Return the counts of a single vector as `run` does, by a shorter way; None where there is none.

    Parameters
    ----------
    data : HostInput
        The vector.
    fit, device, exposure, n_out
        As of `run`.
    progress : bool
        Whether a matrix that takes long to make shows a progress bar.

    Returns
    -------
    ContextArray or None
        Counts, ``(*batch_shape, n_out)``; None where the vector must go by `run`, and nothing was shown.

    Raises
    ------
    ValueError
        If the vector cannot be shown.
    """
    start = dt.datetime.now()
    data.check_values()
    bits = data.bits(0, 1, fit.bitorder)
    if progress:
        with long_work_shown():
            frames = device.project_one(bits, fit.layout, n_out, exposure)
    else:  # a loop that asks for no bar pays nothing for it
        frames = device.project_one(bits, fit.layout, n_out, exposure)
    if frames is None:
        return None
    return data.finished(frames, _context(fit, exposure, start))


def _context(fit: Fit, exposure: FrameSettings, start: dt.datetime) -> Context:
    """Return the context of frames that were taken from a moment until now."""
    return Context(
        exposure.frametime_us, exposure.exposure_us, exposure.output_roi, start, dt.datetime.now(), exposure.gain_dB,
        **fit.told,
    )  # fmt: skip


def stride_of(method: Method, step: int, n_features: int, frame_bytes: int) -> int:
    """Return how many vectors are reduced at a time: as many passes as share their tables, within bounds of memory.

    Parameters
    ----------
    method : Method
        How they are shown.
    step : int
        Vectors of a pass.
    n_features, frame_bytes : int
        Bits of a vector, and bytes of a frame: there is none, but so long it takes until Ctrl-C is heard.
    """
    most = min(_TOGETHER, _TOGETHER_BYTES // n_features, _PASS_BYTES // (frame_bytes * method.frames(step) // step))
    return step * max(1, most // step)


def output_size(fit: Fit, n_components: int, exposure: FrameSettings) -> int:
    """Return how many pixels a transform gives back.

    Parameters
    ----------
    fit : Fit
        How vectors are shown, and what overrides the driver's settings.
    n_components : int
        Outputs that the driver has.
    exposure : FrameSettings
        Its region.

    Returns
    -------
    int
        Outputs of a vector.

    Raises
    ------
    TooManyComponentsError
        If the region has fewer pixels.
    """
    width, height = exposure.output_roi[1]
    if fit.overrides.raw_output_size:
        return width * height
    n = fit.overrides.n_components or n_components
    if n > width * height:
        raise TooManyComponentsError(
            f"n_components is {n}, but the region of interest on the camera, {exposure.output_roi}, has only "
            f"{width * height} pixels: set n_components of the OPU itself, which chooses the region."
        )
    return n


def pass_size(method: Method, n_features: int, n_out: int, frame_item: int, n_samples_by_pass: int) -> int:
    """Return how many vectors go to the device at a time: whole blocks, at least one.

    Parameters
    ----------
    method : Method
        How they are shown.
    n_features, n_out, frame_item : int
        Bits of a vector, outputs of it, and bytes of a count.
    n_samples_by_pass : int
        Most patterns that the device takes.
    """
    if not method.parted:
        return method.block
    most = max(1, min(n_samples_by_pass, _PASS_BYTES // max(n_features, n_out * frame_item)))
    steps = 1 if method.phases_rad is None else len(method.phases_rad)
    return method.block * max(1, most * steps // method.frames(method.block))


def decodes_by_light(method: Method) -> bool:
    """Return whether frames are decoded where the light is computed; what vectors share stays with the results."""
    return method.by_light and not method.shares


def patterns_of(method: Method, n: int, step: int) -> int:
    """Return how many patterns are shown for `n` vectors in passes of `step`."""
    whole, rest = divmod(n, step)
    return whole * (method.patterns(step) if whole else 0) + (method.patterns(rest) if rest else 0)


def check_fit(method: Method, fit: Fit, traits: InputTraits, n_vectors: int) -> None:
    """Raise a sentence if so many vectors cannot be shown so after this fit."""
    if fit.online and method.frames(1) > 1:
        raise NotReadyError("The device is in online mode, but the linear transform takes several frames a vector.")
    if fit.online and n_vectors > 1:
        raise NotReadyError(
            f"X holds {n_vectors} vectors, but in online mode only single vectors are transformed: fit with "
            "online=False for batches."
        )
    if method.needs_bits and not traits.values.binary:
        raise NotReadyError(
            f"{type(method).__name__} combines vectors as bits, but this device has a phase modulator: it needs one "
            "with micromirrors."
        )
    if traits.packed and not method.packed:
        raise RuntimeError("X is packed, but the linear transform takes bits that are not: use numpy.unpackbits.")
    if method.full and not fit.is_full:
        raise NotReadyError(
            f"The input region is {fit.layout.roi_size} mirrors, but linear_transform needs all that the strategy full "
            "gives: fit with input_roi_strategy full and without input_roi."
        )


def _one_frame_each(method: Method) -> bool:
    """Return whether vectors are shown one after the other, in a frame each."""
    return method.parted and not method.shares and method.phases_rad is None and method.patterns(1) == 1


# ---------------------------------------------------------------- what workers do


@dataclass(frozen=True)
class Passes:
    """Frames reserved for a batch as one call in one process would take them: a sequence for each pass.

    It is as small for many passes as for one.

    Attributes
    ----------
    size : int
        Vectors of a pass; the last one may have fewer.
    n_vectors : int
        Vectors in all.
    first : int
        Number of the first frame.
    start_s : float
        Device time of the first frame, in seconds.
    frames, last_frames : int
        Frames of a pass, and of the last one.
    frametime_s : float
        Time between frames, in seconds.
    """

    size: int
    n_vectors: int
    first: int
    start_s: float
    frames: int
    last_frames: int
    frametime_s: float

    @classmethod
    def reserve(cls, bench: OpticalBench, exposure: FrameSettings, method: Method, n_vectors: int, size: int) -> Passes:
        """Reserve the frames of all passes.

        Raises
        ------
        ValueError
            If there are more than the bench's clock can count.
        """
        from opusim.bench.frames import MOST_FRAMES, MOST_S

        before = (n_vectors - 1) // size
        frames, last = method.frames(size) if before else 0, method.frames(n_vectors - before * size)
        time_s = exposure.frametime_us / 1e6
        while True:
            start = bench.clock.frames, bench.clock.elapsed_s
            passes = cls(size, n_vectors, *start, frames, last, time_s)
            n = before * frames + last
            many = start[0] + n > MOST_FRAMES
            end_s = math.inf if many else passes._start_s(before) + last * time_s
            if many or end_s > MOST_S:
                raise ValueError(
                    f"{n_vectors} vectors take {n} frames of {time_s:g} s from frame {start[0]} at {start[1]:g} s on, "
                    f"but a bench ends at frame {MOST_FRAMES} and at {MOST_S:g} s."
                )
            # Not if another thread has taken frames meanwhile.
            if bench.advance_from(start, (start[0] + n, end_s)):
                return passes

    @property
    def sizes(self) -> list[int]:
        """Vectors of each pass."""
        return [self.size_of(k) for k in range(-(-self.n_vectors // self.size))]

    def size_of(self, k: int) -> int:
        """Return the vectors of a pass."""
        return min(self.size, self.n_vectors - k * self.size)

    def sequence(self, k: int) -> ReservedFrames:
        """Return the frames of a pass."""
        from opusim.bench.frames import ReservedFrames

        n = self.frames if (k + 1) * self.size < self.n_vectors else self.last_frames
        return ReservedFrames(self.first + k * self.frames, self._start_s(k), n, self.frametime_s)

    def _start_s(self, k: int) -> float:
        from opusim.bench.frames import time_after

        return time_after(self.start_s, self.frames * self.frametime_s, k)

    def parts(self, start: int, stop: int) -> Iterator[tuple[slice, int, range]]:
        """Yield which of the vectors `start` to `stop` are in a pass, its number, and which of that pass they are."""
        for k in range(start // self.size, -(-stop // self.size)):
            first = k * self.size
            a, b = max(start, first), min(stop, first + self.size)
            yield slice(a - start, b - start), k, range(a - first, b - first)


@dataclass(frozen=True)
class Task:
    """A transform of a batch by parts. It gives the same numbers in every process, in any order, and again.

    It is made where the lazy array is, and sent to the workers: settings and frame numbers, no matrix.

    Attributes
    ----------
    recipe : BenchRecipe
        The bench.
    method : Method
        What is shown for vectors, and what becomes of the frames.
    traits : InputTraits
        Features of a vector as parts come: packed, or in one dimension.
    layout : MirrorLayout
        Where the features go.
    bitorder : str
        Of packed bits.
    shape : tuple of int
        Shape of the user's bits, for messages.
    exposure : FrameSettings
        Region and times.
    n_out, n_pixels : int
        Outputs, and pixels to read.
    passes : Passes
        Frames.
    lags : bool
        Whether a frame depends on the one before it, so that a part must be told the vector before its first.
    """

    recipe: BenchRecipe
    method: Method
    traits: InputTraits
    layout: MirrorLayout
    bitorder: str
    shape: tuple[int, ...]
    exposure: FrameSettings
    n_out: int
    n_pixels: int
    passes: Passes
    lags: bool = False

    @classmethod
    def of(
        cls,
        method: Method,
        n_vectors: int,
        traits: InputTraits,
        shape: tuple[int, ...],
        fit: Fit,
        device: OpuDevice,
        exposure: FrameSettings,
        n_out: int,
        step: int,
    ) -> Task:
        """Return the task of so many vectors, of a user's array of a shape; their frames are reserved.

        Raises
        ------
        NotReadyError
            If a frame depends on the one before it, and the method shows several for a vector.
        """
        lags = lags_of(device.bench)
        if lags and not _one_frame_each(method):
            raise NotReadyError(
                "A linear transform by parts (OPU.batch) takes several frames a vector, in an order of its own, but "
                "with camera.lag above 0 a frame is read with electrons of the one before it: call linear_transform on "
                "all vectors at once, or set camera.lag to 0."
            )
        recipe = BenchRecipe.of(device.bench)
        recipe.offer(device.bench)
        n_pixels = method.n_pixels or n_out
        passes = Passes.reserve(device.bench, exposure, method, n_vectors, step)
        return cls(
            recipe, method, traits.flat, fit.layout, fit.bitorder, shape, exposure, n_out, n_pixels, passes, lags
        )  # fmt: skip

    def __call__(self, x: np.ndarray, first: int, shared: Any, before: np.ndarray | None = None) -> np.ndarray:
        """Return the results of some vectors.

        Parameters
        ----------
        x : ndarray, shape (n, features or bytes)
            The vectors as the user gave them.
        first : int
            Number of the first of them.
        shared : object
            What `share` returned.
        before : ndarray, shape (1, features or bytes), optional
            The vector right before the first of them, where `lags` and `first` is above 0.

        Raises
        ------
        TypeError, ValueError
            If they cannot be shown.
        """
        data = HostInput.from_traits(x, self.traits)
        data.check_values(first, self.shape)
        bits = data.bits(0, len(x), self.bitorder)
        if before is not None:
            one = HostInput.from_traits(before, self.traits)
            one.check_values(first - 1, self.shape)
            before = one.bits(0, 1, self.bitorder)
        place = arrays.choose(self.recipe.backend) if decodes_by_light(self.method) else arrays.NUMPY
        found = [
            self._part(
                place, bits[rows], k, numbers, shared, bits[rows.start - 1 : rows.start] if rows.start else before
            )
            for rows, k, numbers in self.passes.parts(first, first + len(x))
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def share(self) -> Any:
        """Return what all parts need and one worker makes."""
        if not self.method.shares:
            return None
        return self.method.shared(self._show_some, self.passes.sizes, self.layout.n_features_total)

    def _part(
        self, place: arrays.Arrays, bits: np.ndarray, k: int, numbers: range, shared: Any, before: np.ndarray | None
    ) -> np.ndarray:
        method, reserved = self.method, self.passes.sequence(k)
        if method.parted:
            reserved = reserved.only(method.places(numbers, self.passes.size_of(k)))
        last = None
        if self.lags and before is not None:
            last = self.traits.values.patterns(method.encode(place.from_host(before)), self.layout)
        frames = self._show(method.encode(place.from_host(bits), part=method.parted), reserved, last)
        # A whole pass adds to what it is given; what all passes came to is known already, and other tasks have it too.
        own = method.begin() if method.shares and not method.parted else shared
        found = method.decode(frames, own, part=method.parted, threads=self.recipe.bench().threads)
        return place.to_host(method.finish(found, shared) if method.shares else found)

    def _show_some(self, k: int, places: np.ndarray, bits: np.ndarray) -> np.ndarray:
        return self._show(bits, self.passes.sequence(k).only(places))

    def _show(self, bits: Any, reserved: ReservedFrames, before: MirrorPatterns | None = None) -> Any:
        return project(
            self.recipe.bench(), self.traits.values.patterns(bits, self.layout), self.n_pixels, self.exposure,
            reference_phase_rad=self.method.phases_rad, reserved=reserved, before=before,
        )  # fmt: skip
