"""A fit, and a transform made with it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from opusim.base import arrays, memory, validation
from opusim.base.errors import NotReadyError, TooManyComponentsError, warn_outside
from opusim.base.parameters import near_names
from opusim.drivers.inputs.dask import LazyInput
from opusim.drivers.inputs.traits import InputTraits, UserInput
from opusim.drivers.lowlevel.device import OpuDevice
from opusim.drivers.lowlevel.settings_of_frame import FrameSettings
from opusim.drivers.methods import intensity as linear_reconstruction
from opusim.drivers.methods.base import BenchRecipe, CountsJob, IntensityJob, Passes
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

from .context import Context
from .input_region import InputRoi, format_of, make_layout
from .region import check_roi
from .settings import Settings, microseconds
from .types import AcqState, InputRoiStrategy, Roi, Tuple2D, as_member

# Bytes of bits, and of counts, that one pass may take beside the result.
_PASS_BYTES = 256 << 20


@dataclass(frozen=True)
class Overrides:
    """What a fit may be told in place of the driver's own choices.

    Parameters
    ----------
    exposure_us, frametime_us : int
        Times in microseconds; 0 leaves the choice to the driver.
    input_roi : tuple, optional
        ((x, y), (width, height)) of the mirrors to use.
    raw_output_size : bool
        Return every pixel of the region of interest, not just the first `n_components`.
    n_components : int, optional
        How many components to return; no more than the region has pixels.
    input_roi_strategy : InputRoiStrategy, optional
        For this fit.
    """

    exposure_us: int = 0
    frametime_us: int = 0
    input_roi: Roi | None = None
    raw_output_size: bool = False
    n_components: int | None = None
    input_roi_strategy: InputRoiStrategy | None = None

    def __post_init__(self) -> None:
        """Check each value."""
        put = object.__setattr__
        for name in ("exposure_us", "frametime_us"):
            value = getattr(self, name)
            put(self, name, microseconds(name, value) if value != 0 else 0)
        validation.flag("raw_output_size", self.raw_output_size)
        if self.n_components is not None:
            put(self, "n_components", validation.integer("n_components", self.n_components, low=1))
        if self.input_roi_strategy is not None:
            strategy = as_member("input_roi_strategy", self.input_roi_strategy, InputRoiStrategy)
            put(self, "input_roi_strategy", strategy)

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> Overrides:
        """Return the overrides; a TypeError names an unknown one."""
        known = [f.name for f in fields(cls)]
        for name in keywords:
            if name not in known:
                near = near_names(name, known, n=1, cutoff=0.6)
                hint = f"near is {near[0]!r}; " if near else ""
                raise TypeError(f"{name!r} is no setting of a fit; {hint}known are {', '.join(known)}.")
        return cls(**keywords)


@dataclass(frozen=True)
class Fit:
    """How vectors of one kind are shown.

    Attributes
    ----------
    traits : InputTraits
        Features of a vector.
    layout : MirrorLayout
        Where they go.
    n_ones : int or None
        Mirrors on, mean over the data of the fit; None without data.
    exposure_us : int
        Exposure for this much light.
    overrides : Overrides
        What was asked for.
    strategy : InputRoiStrategy
        By which the input region was chosen.
    online : bool
        Whether it is for single vectors, one by one.
    """

    traits: InputTraits
    layout: MirrorLayout
    n_ones: int | None
    exposure_us: int
    overrides: Overrides
    strategy: InputRoiStrategy
    online: bool = False

    @property
    def is_full(self) -> bool:
        """Whether the features use all the mirrors that they can."""
        strategy, roi = self.strategy, self.overrides.input_roi
        return self.layout.kind == "plain" or (strategy is InputRoiStrategy.full and roi is None)

    @property
    def bitorder(self) -> str:
        """Order of bits in packed input: whole mirror patterns come as the mirrors' electronics takes them."""
        return "little" if self.layout.kind == "plain" else "big"

    def describe(self, context: Context) -> None:
        """Write into `context` how the features are shown."""
        context.input_roi_upper, context.input_roi_shape = self.layout.roi_offset, self.layout.roi_size
        context.fmt_type, context.fmt_factor = format_of(self.layout)
        context.n_ones = self.n_ones


def make_fit(
    traits: InputTraits,
    data: UserInput | None,
    *,
    input_shape: Tuple2D,
    settings: Settings,
    strategy: InputRoiStrategy,
    overrides: Overrides,
    online: bool = False,
) -> Fit:
    """Choose region, layout and exposure.

    Parameters
    ----------
    traits : InputTraits
        Features of a vector.
    data : UserInput or None
        Vectors whose ones are counted, all of them; None if only the shape is known.
    input_shape : tuple of int
        Mirrors.
    settings : Settings
        Base times, range of ones.
    strategy : InputRoiStrategy
        The driver's; without data, auto becomes full.
    overrides : Overrides
        What was asked for.
    online : bool
        Whether it is for single vectors.

    Raises
    ------
    ValueError
        If the features do not fit.

    Warns
    -----
    UserWarning
        If there are no ones, if too few mirrors are on, or too many for an exposure that was asked for.
    """
    n, n_mirrors = traits.n_features_s, math.prod(input_shape)
    if n > n_mirrors:
        raise ValueError(f"n_features is {traits.shown}, but there are only {n_mirrors} mirrors: it can't be more.")
    if data is not None:
        data.check_binary()
    ones = data.count_ones() if data is not None else None
    if overrides.input_roi_strategy is not None:
        strategy = overrides.input_roi_strategy
    elif ones is None and strategy is InputRoiStrategy.auto:
        strategy = InputRoiStrategy.full
    roi: Roi | None = None
    if overrides.input_roi is not None:
        roi = check_roi("input_roi", overrides.input_roi, input_shape)
    elif n < n_mirrors:
        roi = InputRoi(input_shape, settings.ones_range).compute_roi(strategy, traits.n_features, ones)
    layout = make_layout(input_shape, traits.n_features, roi)
    n_ones, excess = None, 0.0
    if ones is not None:
        n_ones = layout.n_always_on + int(ones * layout.mirrors_per_feature)
        excess = n_ones / settings.ones_range[1]
        if not ones:
            warn_outside("X holds only zeros: no mirror that shows a feature is on, so the outputs tell nothing of X.")
        elif n_ones < settings.ones_range[0]:
            warn_outside(
                f"X turns {n_ones} mirrors on, on average, but it takes {settings.ones_range[0]} for a good signal: "
                "the input is too sparse. Another input_roi_strategy may help."
            )
    exposure_us = overrides.exposure_us
    if not exposure_us:
        exposure_us = max(1, int(settings.exposure_us / max(1.0, excess)))
    elif excess > 1:
        warn_outside(
            f"exposure_us is overridden with {exposure_us}, while {n_ones} mirrors on would need it to be reduced by a "
            f"factor {excess:.3g}: pixels may saturate."
        )
    return Fit(traits, layout, n_ones, exposure_us, overrides, strategy, online)


def frametime_us(fit: Fit, settings: Settings, readout_us: int, exposure_us: int) -> int:
    """Return the time between frames: as asked for, or at least max(readout, exposure) + 50 us."""
    return fit.overrides.frametime_us or max(settings.frametime_us, max(readout_us, exposure_us) + 50)


def output_size(fit: Fit, n_components: int, exposure: FrameSettings) -> int:
    """Return how many pixels a transform gives back; a sentence if the region has fewer."""
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


def pass_size(n_features: int, frame_bytes: int, n_samples_by_pass: int) -> int:
    """Return how many vectors go to the device at a time.

    Parameters
    ----------
    n_features, frame_bytes : int
        Bits of a vector, and bytes of its counts.
    n_samples_by_pass : int
        Most that the device takes.
    """
    return max(1, min(n_samples_by_pass, _PASS_BYTES // max(n_features, frame_bytes)))


def run(
    fit: Fit,
    data: UserInput,
    device: OpuDevice,
    exposure: FrameSettings,
    n_out: int,
    *,
    n_samples_by_pass: int,
    progress: bool,
) -> Any:
    """Show vectors and return their counts, in the shape that belongs to the input.

    Parameters
    ----------
    fit : Fit
        How they are shown.
    data : UserInput
        The vectors.
    device : OpuDevice
        Shows them.
    exposure : FrameSettings
        Region and times.
    n_out : int
        Pixels to return.
    n_samples_by_pass : int
        Most vectors that go to the device at a time.
    progress : bool
        Whether a batch shows a progress bar.

    Returns
    -------
    ContextArray, or an array of the input's device
        (*batch_shape, n_out).

    Raises
    ------
    MemoryError
        If the results do not fit the memory that is free.
    """
    device.check_open()
    data.check_binary()
    if data.is_batch and fit.online:
        raise NotReadyError(
            f"X holds {data.n_samples} vectors, but in online mode only single vectors are transformed: fit with "
            "online=False for batches."
        )
    start = dt.datetime.now()
    n = data.n_samples
    step = pass_size(data.traits.n_features_s, n_out * device.output_dtype.itemsize, n_samples_by_pass)
    if isinstance(data, LazyInput):
        recipe = BenchRecipe.of(device.bench)
        passes = Passes.reserve(device.bench, exposure, n, step, int)
        job = CountsJob(recipe, fit, data.array.shape, exposure, n_out, passes)
        return data.shown(job, device.output_dtype, n_out * device.output_dtype.itemsize)
    if n <= step:
        # One pass: the bench's array is the result.
        with acquiring_batch(device, step) if data.is_batch else nullcontext(), ProgressBar(n, progress) as bar:
            result = _pass(fit, data, 0, n, device, exposure, n_out, bar)
    else:
        check_result(data, n_out, device.output_dtype)
        result = data.empty((n, n_out), device.output_dtype)
        with acquiring_batch(device, step), ProgressBar(n, progress) as bar:
            for first in range(0, n, step):
                last = min(n, first + step)
                result[first:last] = _pass(fit, data, first, last, device, exposure, n_out, bar)
    return data.finished(result, context_of(fit, exposure, start))


def run_linear(
    fit: Fit,
    data: UserInput,
    device: OpuDevice,
    exposure: FrameSettings,
    n_out: int,
    *,
    n_samples_by_pass: int,
    progress: bool,
) -> Any:
    """Show the frames of the linear transform by intensities and put R x together; parameters as for `run`.

    Returns
    -------
    ContextArray, or an array of the input's device
        float32, (*batch_shape, n_out), entries of R of variance 1 (`linear_reconstruction`).

    Raises
    ------
    NotReadyError
        If the device is closed or in online mode, or the features do not fill the mirrors.
    RuntimeError
        If the input is packed.
    MemoryError
        If the results do not fit the memory that is free.
    """
    check_linear(fit, data, device)
    if not fit.is_full:
        raise NotReadyError(
            f"The input region is {fit.layout.roi_size} mirrors, but linear_transform needs all that the strategy full "
            "gives: fit with input_roi_strategy full and without input_roi."
        )
    start = dt.datetime.now()
    n, n_features = data.n_samples, data.traits.n_features_s
    level_dn = device.features_level_dn(fit.layout, exposure.exposure_us)
    # Speckle of a mean level I goes beyond full scale with the probability exp(-full scale / I): 5 % at a third.
    if device.black_level_dn + 3 * level_dn > device.full_scale_dn:
        warn_outside(
            f"exposure_us is {exposure.exposure_us}, at which all features together give a mean of {level_dn:.0f} grey "
            "levels: many pixels saturate in the frames that the linear transform needs, and its result is wrong there."
        )
    # Whole blocks at a time: their frames hold the anchors that they need.
    frame_bytes = max(n_features, n_out * device.output_dtype.itemsize)
    per_block = linear_reconstruction.frames_needed(linear_reconstruction.BLOCK)
    blocks = max(1, min(n_samples_by_pass, _PASS_BYTES // frame_bytes) // per_block)
    step = blocks * linear_reconstruction.BLOCK
    if isinstance(data, LazyInput):
        recipe = BenchRecipe.of(device.bench)
        passes = Passes.reserve(device.bench, exposure, n, step, linear_reconstruction.frames_needed)
        job = IntensityJob(
            recipe, fit, data.array.shape, exposure, n_out, passes, device.black_level_dn, level_dn
        )  # fmt: skip
        return data.shown(job, np.dtype(np.float32), n_out * (2 * device.output_dtype.itemsize + 4))
    check_result(data, n_out, np.dtype(np.float32))
    decoder = linear_reconstruction.Decoder(
        n, n_out, n_features, device.black_level_dn, level_dn, result=data.empty((n, n_out), np.float32)
    )
    total = linear_reconstruction.frames_needed(n)
    with acquiring_batch(device, min(total, step)), ProgressBar(total, progress) as bar:
        for first in range(0, n, step):
            bits = linear_reconstruction.encode(data.bits(first, min(n, first + step), fit.bitorder))
            shown = bar.from_start(linear_reconstruction.frames_needed(first))
            patterns = MirrorPatterns(bits, fit.layout)
            decoder.add(device.project(patterns, n_out, settings=exposure, progress=shown))
    return data.finished(decoder.finish(), context_of(fit, exposure, start))


def check_linear(fit: Fit, data: UserInput, device: OpuDevice) -> None:
    """Refuse what no linear transform takes.

    Raises
    ------
    NotReadyError
        If the device is closed or in online mode.
    RuntimeError
        If the input is packed.
    TypeError, ValueError
        If it is not of bits.
    """
    device.check_open()
    data.check_binary()
    if fit.online:
        raise NotReadyError("The device is in online mode, but the linear transform takes several frames a vector.")
    if data.traits.packed:
        raise RuntimeError("X is packed, but the linear transform takes bits that are not: use numpy.unpackbits.")


def check_result(data: UserInput, n_out: int, dtype: np.dtype[Any]) -> None:
    """Raise a MemoryError, before any frame is taken, if the results of a batch do not fit where they are to lie."""
    home = arrays.of(data.empty((0, n_out), dtype))
    memory.check_result(data.n_samples, n_out, dtype.itemsize, home)


def context_of(fit: Fit, exposure: FrameSettings, start: dt.datetime) -> Context:
    """Return what is told of frames that were begun at `start` and are done now."""
    context = Context(
        exposure.frametime_us, exposure.exposure_us, exposure.output_roi, start, dt.datetime.now(), exposure.gain_dB
    )
    fit.describe(context)
    return context


def acquiring_batch(device: OpuDevice, n_images: int) -> Any:
    """Acquire a batch. Where another OPU on this device is online, its mode stays: frames do not depend on it."""
    return nullcontext() if device.acq_state is AcqState.online else device.acquiring(n_images=n_images)


def _pass(
    fit: Fit,
    data: UserInput,
    first: int,
    last: int,
    device: OpuDevice,
    exposure: FrameSettings,
    n_out: int,
    bar: ProgressBar,
) -> Any:
    patterns = MirrorPatterns(data.bits(first, last, fit.bitorder), fit.layout)
    return device.project(patterns, n_out, settings=exposure, progress=bar.from_start(first))


class ProgressBar:
    """A progress bar, or nothing."""

    def __init__(self, total: int, shown: bool) -> None:
        self._bar: Any = None
        if shown and total > 1:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc="OPU: transform")

    def from_start(self, first: int) -> Callable[[int], None] | None:
        """Return what the bench tells how many vectors of a pass are done, or None."""
        if self._bar is None:
            return None
        bar = self._bar
        return lambda done: bar.update(first + done - bar.n)

    def reach(self, done: int) -> None:
        """Show that so many vectors are done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def __enter__(self) -> ProgressBar:
        """Begin."""
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        """Fill the bar, unless something went wrong."""
        if self._bar is not None:
            if kind is None:
                self._bar.update(self._bar.total - self._bar.n)
            self._bar.close()
