"""What a transform was made with, carried by the array that it returns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np

from opusim.bench.region import LightonmlRoi

from .types import FeaturesFormat, Tuple2D


def from_epoch(value: dt.datetime | float) -> dt.datetime:
    """Return a time given as datetime or as seconds since 1970."""
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return dt.datetime.fromtimestamp(value)
    raise ValueError(f"The time is {value!r}, but it must be a datetime or seconds since 1970.")


class Context:
    """What a transform was made with.

    Parameters
    ----------
    frametime, exposure : int, optional
        Time between frames and exposure of the camera, in microseconds.
    output_roi : tuple of tuple of int, optional
        Region of interest on the camera: (x, y) of its first pixel, and (width, height).
    start, end : datetime, optional
        When the transform began and ended.
    gain : float, optional
        Analogue gain of the camera in dB, relative to the device's own.
    input_roi : tuple of tuple of int, optional
        Region of interest on the mirrors, in the same way: x counts along the axis of 912, y along that of 1140.
    n_ones : int, optional
        Mirrors that are on, those outside the input region included; mean over the data of the fit.
    fmt_type : FeaturesFormat, optional
        How the features lie on the mirrors.
    fmt_factor : int, optional
        Mirrors of a feature (lined), side of its block (macro_2d), or 0 (none).

    Attributes
    ----------
    exposure_us, frametime_us : int or None
        As given: exposure and frame time in microseconds.
    output_roi_upper, output_roi_shape : tuple of int or None
        Both parts of `output_roi`.
    input_roi_upper, input_roi_shape : tuple of int or None
        Both parts of `input_roi`.
    start, end : datetime or None
    gain : float or None
    n_ones, fmt_factor : int or None
    fmt_type : FeaturesFormat or None
        All as given.
    info : object
        Anything that was added.
    """

    def __init__(
        self,
        frametime: int | None = None,
        exposure: int | None = None,
        output_roi: LightonmlRoi | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        gain: float | None = None,
        input_roi: LightonmlRoi | None = None,
        n_ones: int | None = None,
        fmt_type: FeaturesFormat | None = None,
        fmt_factor: int | None = None,
    ) -> None:
        self.info: Any = None
        self.exposure_us = exposure
        self.frametime_us = frametime
        self.output_roi_upper: Tuple2D | None = output_roi[0] if output_roi else None
        self.output_roi_shape: Tuple2D | None = output_roi[1] if output_roi else None
        self.input_roi_upper: Tuple2D | None = input_roi[0] if input_roi else None
        self.input_roi_shape: Tuple2D | None = input_roi[1] if input_roi else None
        self.start = start
        self.end = end
        self.gain = gain
        self.n_ones = n_ones
        self.fmt_type = fmt_type
        self.fmt_factor = fmt_factor

    def from_opu(self, opu: Any, start: dt.datetime, end: dt.datetime | None = None) -> None:
        """Take frame time, exposure, output region and gain from a low-level device.

        Parameters
        ----------
        opu : OpuDevice
            The device.
        start, end : datetime
            When the transform began and ended; no end by default.
        """
        self.frametime_us = opu.frametime_us
        self.exposure_us = opu.exposure_us
        self.output_roi_upper, self.output_roi_shape = opu.output_roi
        self.gain = opu.gain_dB
        self.start = start
        self.end = end

    @staticmethod
    def from_timestamps(start: dt.datetime | float, end: dt.datetime | float | None = None) -> Context:
        """Return a context that knows its times only.

        Parameters
        ----------
        start, end : datetime or float
            When the transform began and ended, also in seconds since 1970; no end by default.

        Returns
        -------
        Context
            The context; its numbers are -1.
        """
        last = from_epoch(end) if end is not None else None
        return Context(-1, -1, ((-1, -1), (-1, -1)), from_epoch(start), last)

    @staticmethod
    def from_dict(d: Mapping[str, Any]) -> Context:
        """Return the context that a dictionary describes.

        Parameters
        ----------
        d : dict
            From `as_dict` or `as_flat_dict`; the names of older versions are known.

        Returns
        -------
        Context
            The context.
        """

        def region(*names: str) -> LightonmlRoi | None:
            for name in names:
                if d.get(name):
                    return d[name]
                if f"{name}_position_0" in d:
                    corner, size = ((d[f"{name}_{part}_0"], d[f"{name}_{part}_1"]) for part in ("position", "shape"))
                    return corner, size
            return None

        context = Context(
            frametime=d["frametime_us"],
            exposure=d["exposure_us"],
            output_roi=region("output_roi", "ROI", "roi"),
            start=d["start"],
            end=d.get("end"),
            gain=d.get("gain_dB", d.get("gain_db")),
            input_roi=region("input_roi"),
            n_ones=d.get("n_ones"),
            fmt_type=FeaturesFormat[d["fmt_type"]] if "fmt_type" in d else None,
            fmt_factor=d.get("fmt_factor"),
        )
        context.add_info(d.get("info"))
        return context

    def add_info(self, info: Any) -> None:
        """Add anything worth keeping.

        Parameters
        ----------
        info : object
            What `info` is from now on.
        """
        self.info = info

    def as_dict(self) -> dict[str, Any]:
        """Return what is known, by name.

        Returns
        -------
        dict
            Times, regions and numbers; names of what is not known are left out.
        """
        result: dict[str, Any] = {
            "exposure_us": self.exposure_us,
            "frametime_us": self.frametime_us,
            "output_roi": (self.output_roi_upper, self.output_roi_shape),
            "start": self.start,
        }
        if self.input_roi_upper is not None and self.input_roi_shape is not None:
            result["input_roi"] = (self.input_roi_upper, self.input_roi_shape)
        optional = {
            "gain_dB": self.gain,
            "info": self.info,
            "end": self.end,
            "n_ones": self.n_ones,
            "fmt_type": None if self.fmt_type is None else self.fmt_type.name,
            "fmt_factor": self.fmt_factor,
        }
        result.update({name: value for name, value in optional.items() if value is not None})
        return result

    def as_flat_dict(self) -> dict[str, Any]:
        """Return what is known, with one number per entry, as for the columns of a table.

        Returns
        -------
        dict
            As `as_dict`, with four numbers for a region.
        """
        result = self.as_dict()
        for name in ("output_roi", "input_roi"):
            region = result.pop(name, None)
            if region is not None and None not in region:
                for part, values in zip(("position", "shape"), region, strict=True):
                    result[f"{name}_{part}_0"], result[f"{name}_{part}_1"] = values
        return result

    def __str__(self) -> str:
        """Return the known entries as text."""
        return str(self.as_dict())

    def __repr__(self) -> str:
        """Return the known entries as text."""
        return f"Context({self.as_dict()})"

    def __eq__(self, other: object) -> bool:
        """Compare every attribute."""
        return self.__dict__ == other.__dict__ if isinstance(other, Context) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


class ContextArray(np.ndarray):
    """An array with the context of the transform that made it.

    Parameters
    ----------
    input_array : array_like
        The values; not copied if they are an array.
    context : Context
        What they were made with. Slices and results of arithmetic carry it on.
    """

    context: Context | None

    def __new__(cls, input_array: Any, context: Context | None) -> ContextArray:
        """View `input_array` and attach `context`."""
        result = np.asarray(input_array).view(cls)
        result.context = context
        return result

    def __array_finalize__(self, obj: Any) -> None:
        """Carry the context over to views and copies."""
        self.context = getattr(obj, "context", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool | None = None) -> Any:
        """Return a number where numpy has one, such as the mean over everything: JSON takes no array for it."""
        if return_scalar is None:  # numpy 1 does not say
            return array[()] if not array.ndim else super().__array_wrap__(array, context)
        return array[()] if return_scalar else super().__array_wrap__(array, context, return_scalar)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the context in pickles, which plain arrays would lose."""
        reduced: Any = super().__reduce__()
        rebuild, arguments, state = reduced
        return rebuild, arguments, (state, self.context)

    def __setstate__(self, state: Any) -> None:
        """Restore values and context."""
        values, self.context = state
        super().__setstate__(values)
