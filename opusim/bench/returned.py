"""Frames that a bench gave, checked: on a laboratory's bench they come from somebody's own code.

A frame that was lost, rows and columns exchanged, or a buffer that is written over by the next call would otherwise be
found in the results, if at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from opusim.base.user_arrays import as_numpy
from opusim.patterns.layout import MirrorPatterns

from .protocol import FramesLost, Fresh, has

__all__ = ["checked_frames", "exposed", "flat_frames", "number_of_patterns"]


def checked_frames(
    frames: Any, n: int, region: Any, *, who: str = "expose", dtype: Any = None, own: bool = False
) -> np.ndarray:
    """Return frames as an array, or raise a sentence that says what is wrong with them.

    Parameters
    ----------
    frames : object
        What a method of a bench returned: an array of any library, or a sequence of them.
    n : int
        How many frames were asked for.
    region : tuple of int
        (row, column, n_rows, n_columns) that was to be read.
    who : str
        The method, for the message.
    dtype : dtype, optional
        What the counts must be; any real numbers by default.
    own : bool
        Whether the result is to be an array that nobody else has: it is copied.

    Returns
    -------
    ndarray, shape (n, n_rows, n_columns)
        The frames.

    Raises
    ------
    RuntimeError
        If they are something else; `opusim.bench.protocol.FramesLost`, which is one, if there are fewer or more.
    """
    shape = (n, int(region[2]), int(region[3]))
    if type(frames) is np.ndarray:
        array = frames
    else:
        try:
            array, _ = as_numpy(frames, f"What {who} returned", f"an array of the shape {shape}: frames, rows, columns")
        except (TypeError, ValueError) as error:
            raise RuntimeError(str(error)) from None
    of_type = array.dtype.kind in "biuf" if dtype is None else array.dtype == dtype
    if array.shape == shape and of_type:
        return np.array(array) if own else array
    hint = ""
    kind: type[RuntimeError] = RuntimeError
    if array.ndim == 3 and array.shape[0] == n and array.shape[1:] == shape[:0:-1]:
        hint = "; rows and columns are exchanged"
    elif array.ndim == 3 and array.shape[1:] == shape[1:] and array.shape[0] != n:
        away = array.shape[0] - n
        # Of another type they would be refused after any number of attempts.
        kind = FramesLost if of_type else RuntimeError
        hint = (
            f"; {abs(away)} of them {'too many' if away > 0 else 'lost'}, so that the others may belong to other "
            "patterns: look at the trigger and at frametime_s"
        )
    must = "" if of_type else "of real numbers, and "
    if dtype is not None:
        must = f"of {np.dtype(dtype)}, which follows from device.bits, and "
    raise kind(
        f"{who} returned an array of {array.dtype} of the shape {array.shape}, but it must be {must}of the shape "
        f"{shape}: frames, rows, columns{hint}."
    )


def exposed(bench: Any, mirrors: Any, **how: Any) -> np.ndarray:
    """Return the frames of any bench's `expose`, checked, in an array that no later call writes over.

    Parameters
    ----------
    bench : Exposing
        Takes them.
    mirrors, **how
        As for `opusim.bench.protocol.Bench.expose`.

    Returns
    -------
    ndarray, shape (n * number of phases, n_rows, n_columns)
        Counts.

    Raises
    ------
    TypeError, ValueError
        If the bench refuses an argument.
    RuntimeError
        If it returned something else than the frames that were asked for.
    """
    frames = bench.expose(mirrors, **how)
    n = how.get("n_frames", 1) if mirrors is None else number_of_patterns(bench, mirrors)
    phases, roi = how.get("reference_phase_rad"), how.get("roi")
    n *= 1 if phases is None else int(np.size(phases))
    return checked_frames(frames, n, _region(bench, roi), own=not _gives_new(bench))


def flat_frames(bench: Any, photons_per_pixel: float, **how: Any) -> np.ndarray:
    """Return the frames of a lamp's `flat_field`, checked likewise.

    Parameters
    ----------
    bench : LitCamera
        Takes them.
    photons_per_pixel, **how
        As for `opusim.bench.protocol.Lamp.flat_field`.

    Returns
    -------
    ndarray, shape (n_frames, n_rows, n_columns)
        Counts.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As for `exposed`.
    """
    frames = bench.flat_field(photons_per_pixel, **how)
    region = _region(bench, how.get("roi"))
    return checked_frames(frames, how.get("n_frames", 1), region, who="flat_field", own=not _gives_new(bench))


def _gives_new(bench: Any) -> bool:
    return has(bench, Fresh) and bench.frames_are_new is True


def _region(bench: Any, roi: Any) -> tuple[int, ...]:
    return (0, 0, *bench.sensor_shape) if roi is None else tuple(roi)


def number_of_patterns(bench: Any, mirrors: Any) -> int:
    """Return how many patterns mirrors are, in any form that `expose` takes.

    Parameters
    ----------
    bench : Bench
        Whose mirrors they are.
    mirrors : ndarray or MirrorPatterns
        As for `opusim.bench.protocol.Bench.expose`.

    Returns
    -------
    int
        The number.
    """
    mirror_shape = tuple(bench.mirror_shape)
    if isinstance(mirrors, MirrorPatterns):
        return len(mirrors)
    shape = tuple(np.shape(mirrors))
    packed = len(shape) == 2 and shape[1] == -(-mirror_shape[0] * mirror_shape[1] // 8)
    return 1 if shape == mirror_shape and not packed else shape[0]
