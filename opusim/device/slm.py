"""The liquid-crystal phase modulator: levels in, a field out whose phase they turn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from opusim.base import elementary
from opusim.base.parameters import parameter

from .modulator import Modulator


@dataclass(frozen=True)
class PhaseSlm(Modulator):
    """A liquid-crystal modulator whose pixels turn the phase of their light.

    Parameters
    ----------
    name : str
        Part name.
    shape : tuple of int
        Pixels as (rows, columns).
    pitch_m : float
        Distance of neighbouring pixels in metres.
    levels : int
        Levels that a pixel is driven with: whole numbers from 0 to `levels` - 1.
    range_turns : float
        Phase that all levels span, in turns of 2 pi: level k turns the light by ``range_turns k / levels``.
    unmodulated : float
        Share of the light that no level turns: that of the gaps between pixels and of the cover's reflection. It goes
        straight on, as a zero order.
    efficiency : float
        Share of the light on the array that leaves it in the order used.
    frame_rate_hz : float
        Highest rate of patterns.
    beam_radius_m : float
        Radius at which the beam's intensity is 1/e^2 of its centre; `inf` for even lighting.
    aberration_rms_rad : float
        Root mean square of the static low-order wavefront error over the array, in radians.
    """

    stage: ClassVar[str] = "modulator"
    kind: ClassVar[str] = "slm"
    binary: ClassVar[bool] = False

    name: str = parameter(kind="name")
    shape: tuple[int, int] = parameter(kind="shape")
    pitch_m: float = parameter(low=0.1e-6, high=1e-3, unit="m", shown="µm")
    levels: int = parameter(256, low=2, high=256)
    range_turns: float = parameter(1.0, low=0.0, high=8.0, low_open=True, unit="turns")
    unmodulated: float = parameter(
        0.0, low=0.0, high=1.0, shown="%", off=0.0, imperfection="unmodulated light", source="unmodulated light"
    )
    efficiency: float = parameter(0.6, low=0.0, high=1.0, low_open=True)
    frame_rate_hz: float = parameter(60.0, low=0.0, high=1e7, low_open=True, unit="Hz")
    beam_radius_m: float = parameter(
        math.inf, low=0.0, high=math.inf, low_open=True, unit="m", off=math.inf, imperfection="uneven beam"
    )
    aberration_rms_rad: float = parameter(0.0, low=0.0, high=100.0, unit="rad", off=0.0, imperfection="aberration")

    def levels_of(self, turns: np.ndarray) -> np.ndarray:
        """Return the level whose phase is nearest to a phase that is asked for.

        Parameters
        ----------
        turns : ndarray of float
            Phases in turns of 2 pi, from 0 to below 1.

        Returns
        -------
        ndarray of uint8, same shape
            Levels. Where the range is less than a turn, a phase beyond it takes whichever end is nearer.
        """
        asked = np.asarray(turns, dtype=np.float64)
        step = self.range_turns / self.levels
        level = np.rint(asked / step)
        last = self.levels - 1
        beyond = level > last
        if beyond.any():
            # Behind the last level the next one up is a whole turn.
            back = 1.0 - asked < asked - last * step
            level = np.where(beyond, np.where(back, 0.0, last), level)
        return level.astype(np.uint8)

    def driven(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return the levels that phases or levels of a user's stand for.

        Parameters
        ----------
        name : str
            What the sentence of an error calls them.
        values : ndarray
            Floats are phases in turns of 2 pi, from 0 to below 1; whole numbers are levels, from 0 to `levels` - 1.

        Returns
        -------
        ndarray of uint8, same shape
            Levels, in order in memory.

        Raises
        ------
        TypeError
            If they are bool, or neither floats nor whole numbers.
        ValueError
            If one is not a number, or beyond what it may be.
        """
        kind = values.dtype.kind
        if kind == "b":
            raise TypeError(
                f"{name} has dtype bool, but a phase modulator is neither on nor off: give phases in turns as floats, "
                f"from 0 to below 1, or levels as whole numbers, from 0 to {self.levels - 1}."
            )
        if kind not in "fui":
            raise TypeError(
                f"{name} has dtype {values.dtype}, but it must be floats, phases in turns, or whole numbers, levels."
            )
        if kind == "f":
            good = (values >= 0) & (values < 1)
            if not good.all():
                wrong = values.ravel()[int(good.argmin())]
                raise ValueError(
                    f"{name} holds {wrong}, but phases are in turns of 2 pi, from 0 to below 1"
                    + (": phases in radians, divided by 2 pi, modulo 1." if np.isfinite(wrong) else ".")
                )
            return np.ascontiguousarray(self.levels_of(values))
        if values.size and not 0 <= values.min() <= values.max() < self.levels:
            wrong = values.min() if values.min() < 0 else values.max()
            raise ValueError(f"{name} holds the level {wrong}, but levels go from 0 to {self.levels - 1}.")
        return np.ascontiguousarray(values, dtype=np.uint8)

    def phases_rad(self) -> np.ndarray:
        """Return the phase by which each level turns the light.

        Returns
        -------
        ndarray of float64, shape (levels,), read-only
            Radians.
        """
        return _phases(self)

    def phasors(self) -> np.ndarray:
        """Return by which number each level multiplies the light that it turns.

        Returns
        -------
        ndarray of complex64, shape (levels,), read-only
            ``sqrt(1 - unmodulated) exp(i phase)``.
        """
        return _phasors(self)

    @property
    def straight(self) -> float:
        """Amplitude of the light that no level turns: sqrt(unmodulated)."""
        return math.sqrt(self.unmodulated)

    def field(self, levels: np.ndarray, *, seed: int) -> np.ndarray:
        """Complex field that leaves the pixels.

        Parameters
        ----------
        levels : ndarray of uint8, shape (..., rows, columns)
            From 0 to `levels` - 1.
        seed : int
            Seed of the device: which wavefront error.

        Returns
        -------
        ndarray of complex64, same shape
            Field ``g [sqrt(1 - u) exp(i phase) + sqrt(u)] exp(i error)``, in units in which one pixel has the mean
            intensity 1, over all phases.
        """
        return elementary.multiply(self.phasors()[levels] + np.float32(self.straight), _lit(self, seed))

    def lit(self, seed: int) -> np.ndarray:
        """Return the field that falls on the pixels, with the static wavefront error.

        Parameters
        ----------
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of complex64, shape `shape`, read-only
            Of the mean intensity 1.
        """
        return _lit(self, seed)


@lru_cache(maxsize=8)
def _phases(slm: PhaseSlm) -> np.ndarray:
    result: np.ndarray = (2 * np.pi * slm.range_turns / slm.levels) * np.arange(slm.levels)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=8)
def _phasors(slm: PhaseSlm) -> np.ndarray:
    result = elementary.phasors(slm.phases_rad(), np.complex64) * np.float32(math.sqrt(1 - slm.unmodulated))
    result.setflags(write=False)
    return result


@lru_cache(maxsize=4)
def _lit(slm: PhaseSlm, seed: int) -> np.ndarray:
    result = slm.amplitude() * elementary.phasors(slm.phase_rad(seed), np.complex64)
    result.setflags(write=False)
    return result
