"""What a procedure needs of a bench, and small questions to ask one."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from opusim.base import validation
from opusim.patterns.layout import MirrorPatterns

__all__ = [
    "Bench", "Identity", "Roi", "dark_frames", "elapsed_s", "identity_of", "random_mirrors",
    "saturation_dn", "wait",
]  # fmt: skip

#: (row, column, n_rows, n_columns) on the sensor.
Roi = tuple[int, int, int, int]

_LONGEST_SKIP_S = 3600.0


@runtime_checkable
class Bench(Protocol):
    """A laser, mirrors, a medium and a camera that show patterns and return frames.

    `opusim.OpticalBench` is one; so is any object of a laboratory with these members. Three more are used where they
    are there: ``device`` and ``seed`` (files then say whose they are) and ``clock.elapsed_s`` (device time in seconds).
    ``skip_frames(n, frametime_s=)`` stands for waiting, on a bench whose time is simulated.
    """

    @property
    def mirror_shape(self) -> tuple[int, int]:
        """Mirrors as (rows, columns)."""
        ...

    @property
    def sensor_shape(self) -> tuple[int, int]:
        """Pixels as (rows, columns)."""
        ...

    def expose(
        self,
        mirrors: np.ndarray | MirrorPatterns | None,
        *,
        exposure_s: float,
        reference_phase_rad: float | np.ndarray | None = None,
        roi: Roi | None = None,
        frametime_s: float | None = None,
        n_frames: int = 1,
    ) -> np.ndarray:
        """Show patterns and return a frame for each, and for each phase of the reference arm.

        With several phases each pattern is shown under every one of them, in turn.

        Parameters
        ----------
        mirrors : ndarray or MirrorPatterns, or None
            Patterns, (rows, columns) or (n, rows, columns) of 0 and 1. None shuts the laser.
        exposure_s : float
            Exposure in seconds.
        reference_phase_rad : float or array_like of float, optional
            Phases of the reference arm in radians; None blocks it.
        roi : tuple of int, optional
            (row, column, n_rows, n_columns); the whole sensor by default.
        frametime_s : float, optional
            Time of each frame in seconds; the bench's own by default.
        n_frames : int
            How many dark frames, where `mirrors` is None.

        Returns
        -------
        ndarray, shape (n * number of phases, n_rows, n_columns)
            Counts.
        """
        ...

    def flat_field(
        self, photons_per_pixel: float, *, exposure_s: float, n_frames: int = 1, roi: Roi | None = None
    ) -> np.ndarray:
        """Light the sensor evenly and return frames.

        Parameters
        ----------
        photons_per_pixel : float
            Known mean number of photons on each pixel in the exposure.
        exposure_s : float
            Exposure in seconds.
        n_frames : int
            How many frames.
        roi : tuple of int, optional
            (row, column, n_rows, n_columns); the whole sensor by default.

        Returns
        -------
        ndarray, shape (n_frames, n_rows, n_columns)
            Counts.
        """
        ...

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds.
        """
        ...


@dataclass(frozen=True)
class Identity:
    """Which device a bench is.

    Parameters
    ----------
    fingerprint : str
        Of everything that sets what the device does (`Device.fingerprint`); empty if the bench has none.
    name : str
        The device's name; empty if it has none.
    seed : int
        Which realisation of it; -1 if the bench has none.
    """

    fingerprint: str = ""
    name: str = ""
    seed: int = -1


def identity_of(bench: Any) -> Identity:
    """Return which device `bench` is, as far as it says."""
    seed = getattr(bench, "seed", None)
    name = getattr(getattr(bench, "device", None), "name", None)
    return Identity(_fingerprint_of(bench), str(name or ""), -1 if seed is None else int(seed))


def _fingerprint_of(bench: Any) -> str:
    """Return the fingerprint of the bench's device, or "" if it has none."""
    ask = getattr(getattr(bench, "device", None), "fingerprint", None)
    return str(ask()) if callable(ask) else ""


def elapsed_s(bench: Any) -> float:
    """Return the device time in seconds, or 0.0 if the bench has no clock."""
    return float(getattr(getattr(bench, "clock", None), "elapsed_s", 0.0))


def wait(bench: Any, time_s: float) -> None:
    """Let time pass on the bench: its own `skip_frames` where it has one, else real time."""
    time_s = validation.number("time_s", time_s, low=0.0, high=1e9)
    skip = getattr(bench, "skip_frames", None)
    if skip is None:
        time.sleep(time_s)
        return
    n = max(1, math.ceil(time_s / _LONGEST_SKIP_S))
    skip(n, frametime_s=time_s / n)


def dark_frames(bench: Bench, exposure_s: float, n: int, roi: Roi | None = None) -> np.ndarray:
    """Return `n` frames with the laser shut, (n, rows, columns) in the camera's type."""
    return bench.expose(None, exposure_s=exposure_s, n_frames=n, roi=roi)


def random_mirrors(bench: Bench, *, seed: int = 0) -> np.ndarray:
    """Return a fixed pattern with half of the mirrors on, bool of shape (1, rows, columns)."""
    return np.random.default_rng(seed).random((1, *bench.mirror_shape)) < 0.5


def saturation_dn(bench: Bench, exposure_s: float, roi: Roi | None = None) -> float:
    """Return the count from which a pixel is taken as saturated; inf for a camera that returns floats.

    Two flat fields of far too much light are taken. They read full scale, or, where the full well comes first, that
    level with its read noise: then four standard deviations below it.
    """
    frames = bench.flat_field(1e9, exposure_s=exposure_s, n_frames=2, roi=roi)
    if frames.dtype.kind == "f":
        return math.inf
    level = frames.astype(np.float64)
    return float(math.floor(level.mean() - 4 * level.std())) if level.std() else float(level.flat[0])


def checked_bench(bench: Any, needs: Sequence[str] = ("expose", "mirror_shape", "sensor_shape")) -> None:
    """Raise a TypeError that says what the bench lacks."""
    lacking = [name for name in needs if not hasattr(bench, name)]
    if lacking:
        raise TypeError(
            f"bench is {bench!r} ({type(bench).__name__}), but it must have {', '.join(needs)}; "
            f"it lacks {', '.join(lacking)}."
        )


def checked_shifter_phases(name: str, phases_rad: Any, *, least: int = 2, n: int | None = None) -> np.ndarray:
    """Return phases of the shifter as float64 of shape (n,), in radians.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    phases_rad : array_like of float, shape (n,)
        Phases in radians.
    least : int
        Fewest of them.
    n : int, optional
        How many, where they belong to those of `phases_rad`.

    Raises
    ------
    ValueError
        If they are not finite numbers, or another number of them.
    """
    try:
        array = np.asarray(phases_rad, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 1 or len(array) < least or not np.isfinite(array).all() or n not in (None, len(array)):
        wanted = f"at least {least} finite numbers" if n is None else f"{n} finite numbers, as phases_rad"
        raise ValueError(f"{name} is {phases_rad!r}, but it must be {wanted}, in radians.")
    return array


def checked_confidence(confidence: float) -> float:
    """Return the two-sided normal quantile of a confidence between 0 and 1."""
    from scipy import special

    value = validation.number("confidence", confidence, low=0.0, high=1.0, low_open=True)
    if value == 1.0:
        raise ValueError("confidence is 1, but it must be below 1: no interval is certain.")
    return float(special.ndtri((1 + value) / 2))
