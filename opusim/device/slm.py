"""The liquid-crystal phase modulator: levels in, a field out whose phase they turn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from opusim.base import elementary, rng
from opusim.base.circle import nearest_on_circle
from opusim.base.parameters import parameter
from opusim.base.user_arrays import checked_array

from .modulator import Modulator

# Sines that a table's error is made of: smooth over the levels.
_TABLE_TERMS = 5
# Points of the Gaussian of the fringing field, and its standard deviations on either side.
_NODES, _REACH = 2048, 6.0
# Least share of a neighbour's phase that is counted.
_LEAST = 5e-6
# Most turns of the range, and most radians of the table's error.
_MOST_TURNS, _MOST_ERROR_RAD = 8.0, 3.0


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
        Phase that all levels span, in turns of 2 pi: level k is meant to turn the light by
        ``range_turns k / levels``.
    table_error_rms_rad : float
        Root mean square, over the levels, of what the phase of a level differs by from what it is meant to be, in
        radians: a look-up table that does not fit. Smooth over the levels, the same for all pixels, 0 at level 0.
    gain_spread : float
        Root mean square, over the pixels, of the relative deviation of a pixel's phase from that of its level.
    flicker : float
        Root mean square of the relative deviation of all phases together from frame to frame.
    flicker_hz : float
        Frequency of the flicker in hertz: a sine, of which a frame sees the mean over its exposure. 0: it is new in
        every frame, whatever the exposure.
    crosstalk_pixels : float
        Width of the fringing field between pixels, as the standard deviation of the Gaussian that smooths the steps of
        the phase, in pixels. A pixel has the mean phase of its cell.
    fill_factor : float
        Share of a pixel's area that turns the light. The gaps send theirs on as it is: amplitudes of ``fill_factor``
        and ``1 - fill_factor`` in the order used, which add up.
    unmodulated : float
        Share of the light that no level turns for other reasons, such as the reflection of the cover. With that of the
        gaps it goes straight on, as a zero order.
    efficiency : float
        Share of the light on the array that leaves it in the order used.
    frame_rate_hz : float
        Highest rate of patterns.
    beam_radius_m : float
        Radius at which the beam's intensity is 1/e^2 of its centre; `inf` for even lighting.
    aberration_rms_rad : float
        Root mean square of the static low-order wavefront error over the array, in radians.
    stated_wavelength_m : float
        Wavelength for which `efficiency`, `range_turns` and `table_error_rms_rad` are stated; 0 where that is not said,
        for phases as they are at the laser's. A panel turns light by a length of path: light of another wavelength by
        as many turns less as it is longer (`lit_by`). One that is off by more than 5 % is told
        (`opusim.Device.wavelength_doubts`).

    Notes
    -----
    The phase of level 0 is 0 by definition, and only differences between pixels show. The driver knows what phases are
    meant to be (`phases_rad`), at the wavelength for which they are stated, as its table knows no laser; the light gets
    what they are (`curve_rad`). A table that was made for the laser is `range_turns` at `stated_wavelength_m` of it.
    """

    stage: ClassVar[str] = "modulator"
    kind: ClassVar[str] = "slm"
    binary: ClassVar[bool] = False
    stated: ClassVar[tuple[str, ...]] = ("efficiency", "range_turns")

    name: str = parameter(kind="name")
    shape: tuple[int, int] = parameter(kind="shape")
    pitch_m: float = parameter(low=0.1e-6, high=1e-3, unit="m", shown="µm")
    levels: int = parameter(256, low=2, high=256)
    range_turns: float = parameter(1.0, low=0.0, high=_MOST_TURNS, low_open=True, unit="turns")
    table_error_rms_rad: float = parameter(
        0.0, low=0.0, high=_MOST_ERROR_RAD, unit="rad", off=0.0, imperfection="look-up table error"
    )
    gain_spread: float = parameter(0.0, low=0.0, high=0.5, shown="%", off=0.0, imperfection="uneven phase")
    flicker: float = parameter(
        0.0, low=0.0, high=0.5, shown="%", off=0.0, imperfection="phase flicker", source="phase flicker"
    )
    flicker_hz: float = parameter(0.0, low=0.0, high=1e6, unit="Hz")
    crosstalk_pixels: float = parameter(0.0, low=0.0, high=4.0, unit="pixels", off=0.0, imperfection="pixel crosstalk")
    fill_factor: float = parameter(
        1.0, low=0.0, high=1.0, low_open=True, shown="%", off=1.0, imperfection="unmodulated light",
        source="unmodulated light",
    )  # fmt: skip
    unmodulated: float = parameter(
        0.0, low=0.0, high=1.0, shown="%", off=0.0, imperfection="unmodulated light", source="unmodulated light"
    )
    efficiency: float = parameter(0.6, low=0.0, high=1.0, low_open=True)
    frame_rate_hz: float = parameter(60.0, low=0.0, high=1e7, low_open=True, unit="Hz")
    beam_radius_m: float = parameter(
        math.inf, low=0.0, high=math.inf, low_open=True, unit="m", off=math.inf, imperfection="uneven beam"
    )
    aberration_rms_rad: float = parameter(0.0, low=0.0, high=100.0, unit="rad", off=0.0, imperfection="aberration")
    stated_wavelength_m: float = parameter(0.0, low=0.0, high=20e-6, unit="m", shown="nm", before=0.0)

    def without_effect(self) -> tuple[str, ...]:
        """Return the fields that change no frame.

        Returns
        -------
        tuple of str
            None: the wavelength for which phases are stated says what they are at the laser's.
        """
        return ()

    def lit_by(self, wavelength_m: float) -> PhaseSlm:
        """Return the modulator as light of a wavelength sees it.

        Parameters
        ----------
        wavelength_m : float
            Wavelength in metres.

        Returns
        -------
        PhaseSlm
            One whose range and whose table's error, as lengths of path, are over this wavelength; itself where they
            are stated for it, or for none.

        Raises
        ------
        ValueError
            If they are more than a modulator may have.
        """
        stated_m = self.stated_wavelength_m
        if not stated_m or stated_m == wavelength_m:
            return self
        ratio = stated_m / wavelength_m
        for name, most in (("range_turns", _MOST_TURNS), ("table_error_rms_rad", _MOST_ERROR_RAD)):
            value = getattr(self, name)
            if value * ratio > most:
                raise ValueError(
                    f"modulator.{name} is {value!r} for light of {stated_m:g} m, which is {value * ratio:.4g} at "
                    f"laser.wavelength_m {wavelength_m:g}, but there it must be at most {most:g}."
                )
        return replace(
            self, range_turns=self.range_turns * ratio, table_error_rms_rad=self.table_error_rms_rad * ratio,
            stated_wavelength_m=wavelength_m,
        )  # fmt: skip

    @property
    def level_turns(self) -> np.ndarray:
        """Phase of each level in turns, as it is meant to be: float64 (levels,)."""
        turns: np.ndarray = np.arange(self.levels) * (self.range_turns / self.levels)
        return turns

    def levels_of(self, turns: np.ndarray) -> np.ndarray:
        """Return the level whose phase is nearest to a phase that is asked for.

        Parameters
        ----------
        turns : ndarray of float
            Phases in turns of 2 pi, from 0 to below 1.

        Returns
        -------
        ndarray of uint8, same shape
            Levels, whole turns not counted: where the range is less than a turn, a phase beyond it takes whichever end
            is nearer.

        Raises
        ------
        TypeError, ValueError
            If they are no floats, or not within their range.
        """
        asked = checked_array("turns", turns, "phases in turns, from 0 to below 1", kinds="f").astype(np.float64)
        if not ((asked >= 0) & (asked < 1)).all():
            raise ValueError("turns holds a phase that is no number or out of range: they go from 0 to below 1.")
        return nearest_on_circle(asked, self.level_turns)

    # ------------------------------------------------------------------ phases

    @property
    def moves(self) -> bool:
        """Whether the light of one pattern is another one from frame to frame: with flicker."""
        return self.flicker > 0

    @property
    def vibrates(self) -> bool:
        """Whether it is another one within a frame's own time: with flicker of a frequency."""
        return self.flicker > 0 and self.flicker_hz > 0

    @property
    def mixes(self) -> bool:
        """Whether the phase of a pixel depends on those around it."""
        return self.crosstalk_pixels > 0

    @property
    def uneven(self) -> bool:
        """Whether pixels of one level have different phases."""
        return self.mixes or self.gain_spread > 0

    def phases_rad(self) -> np.ndarray:
        """Return the phase by which each level is meant to turn the light.

        Returns
        -------
        ndarray of float64, shape (levels,), read-only
            Radians.
        """
        return _phases(self)

    def curve_rad(self, seed: int) -> np.ndarray:
        """Return the phase by which each level turns the light, with the error of the look-up table.

        Parameters
        ----------
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of float64, shape (levels,), read-only
            Radians; 0 for level 0.
        """
        return _curve(self, seed)

    def pixel_gains(self, seed: int) -> np.ndarray:
        """Return what each pixel's phase is over that of its level.

        Parameters
        ----------
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of float64, shape `shape`, read-only
            Numbers about 1, spread by `gain_spread`.
        """
        return _gains(self, seed)

    def smoothed(self, phases_rad: np.ndarray) -> np.ndarray:
        """Return the mean phase of each pixel with the fringing field of its neighbours.

        Parameters
        ----------
        phases_rad : ndarray of float64, shape (..., rows, columns)
            Phases that pixels are driven to, in radians.

        Returns
        -------
        ndarray of float64, same shape
            Radians. Pixels at the edge of the array see those that there are.
        """
        if not self.mixes:
            return phases_rad
        weights = crosstalk_weights(self.crosstalk_pixels)
        return _along(_along(phases_rad, weights, -1), weights, -2)

    def flicker_in(self, exposure_s: float) -> float:
        """Return the root mean square of the phases' relative deviation in a frame.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            `flicker`, times ``|sin(pi f T) / (pi f T)|`` for a sine of the frequency f over an exposure T.
        """
        return self.flicker * abs(self._sine_left(exposure_s))

    def _sine_left(self, exposure_s: float) -> float:
        """Return what a mean over an exposure T leaves of a sine of the frequency f: sin(pi f T) / (pi f T)."""
        x = math.pi * self.flicker_hz * exposure_s
        return float(elementary.sin(x)) / x if x > 1e-9 else 1.0

    def ripples(self, frames: np.ndarray, times_s: np.ndarray, exposure_s: float, *, seed: int) -> np.ndarray:
        """Return by which factor flicker multiplies all phases in each frame.

        Parameters
        ----------
        frames : ndarray of int64, shape (n,)
            The frames.
        times_s : ndarray of float64, shape (n,)
            Device time at which the exposure of each begins, in seconds.
        exposure_s : float
            Exposure in seconds.
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of float64, shape (n,)
            Numbers about 1. The mean phase of an exposure stands for what it does: to first order in the flicker.
        """
        frames = checked_array("frames", frames, "whole numbers of at least 0", kinds="iu")
        times_s = checked_array("times_s", times_s, "times in seconds")
        if not self.flicker_hz:
            return 1.0 + self.flicker * rng.normals_at(rng.stream_key(seed, "slm flicker"), frames).astype(np.float64)
        start = float(rng.uniforms(rng.stream_key(seed, "slm flicker"), 1)[0])
        turns = np.mod(self.flicker_hz * (times_s.astype(np.float64) + exposure_s / 2), 1.0) + start
        mean = self._sine_left(exposure_s)
        return 1.0 + math.sqrt(2) * self.flicker * mean * elementary.cos(2 * math.pi * turns)

    # ------------------------------------------------------------------ light

    @property
    def unmodulated_share(self) -> float:
        """Share of the light that no level turns: that of the gaps and `unmodulated`, whose amplitudes add up."""
        if self.fill_factor == 1.0:
            return self.unmodulated
        if self.unmodulated == 1.0:
            return 1.0
        ratio = math.sqrt(self.unmodulated / (1 - self.unmodulated)) + (1 - self.fill_factor) / self.fill_factor
        return ratio * ratio / (1 + ratio * ratio)

    @property
    def straight(self) -> float:
        """Amplitude of the light that no level turns: the root of `unmodulated_share`."""
        return math.sqrt(self.unmodulated_share)

    def phasors(self, seed: int | None = None) -> np.ndarray:
        """Return by which number each level multiplies the light that it turns.

        Parameters
        ----------
        seed : int, optional
            Seed of the device. By default levels turn the light as they are meant to.

        Returns
        -------
        ndarray of complex64, shape (levels,), read-only
            ``sqrt(1 - u) exp(i phase)``, u being `unmodulated_share`.
        """
        return _phasors(self, seed)

    def turned(self, phases_rad: np.ndarray) -> np.ndarray:
        """Return by which number phases multiply the light that they turn.

        Parameters
        ----------
        phases_rad : ndarray of float64
            Radians.

        Returns
        -------
        ndarray of complex64, same shape
            ``sqrt(1 - u) exp(i phase)``, u being `unmodulated_share`.
        """
        result = elementary.phasors(phases_rad, np.complex64)
        result *= np.float32(math.sqrt(1 - self.unmodulated_share))
        return result

    def of_levels(self, levels: np.ndarray, *, seed: int, ripples: np.ndarray | None = None) -> np.ndarray:
        """Return by which number each level multiplies the light that it turns, in frames that flicker.

        Parameters
        ----------
        levels : ndarray of uint8, shape (n, ...)
            Levels of n patterns.
        seed : int
            Seed of the device.
        ripples : ndarray of float64, shape (n,), optional
            Factor of all phases in each; without flicker by default.

        Returns
        -------
        ndarray of complex64, same shape
            ``sqrt(1 - u) exp(i phase)``, u being `unmodulated_share`, for a pixel without crosstalk and of the gain 1.
        """
        if ripples is None:
            return np.asarray(self.phasors(seed)[levels])
        tables = self.turned(self.curve_rad(seed) * ripples[:, None])
        return np.take_along_axis(tables, levels.reshape(len(levels), -1), axis=1).reshape(levels.shape)

    def field(self, levels: np.ndarray, *, seed: int, ripples: np.ndarray | None = None) -> np.ndarray:
        """Complex field that leaves the pixels.

        Parameters
        ----------
        levels : ndarray of uint8, shape (..., rows, columns)
            From 0 to `levels` - 1.
        seed : int
            Seed of the device: which wavefront error, which pixels.
        ripples : ndarray of float64, shape (n,), optional
            Of n pictures of levels: factor of all phases in each (`ripples`). Without flicker by default.

        Returns
        -------
        ndarray of complex64, same shape
            Field ``g [sqrt(1 - u) exp(i phase) + sqrt(u)] exp(i error)``, in units in which one pixel has the mean
            intensity 1, over all phases; u is `unmodulated_share`.

        Raises
        ------
        TypeError, ValueError
            If `levels` has another type or shape, or a level that there is not.
        """
        levels = checked_array("levels", levels, "levels, as whole numbers", kinds="iu")
        low, high = levels.min(initial=0), levels.max(initial=0)
        if levels.shape[-2:] != self.shape or low < 0 or high >= self.levels:
            raise ValueError(
                f"levels has shape {levels.shape} and values from {low} to {high}, but it must be of "
                f"(..., {self.shape[0]}, {self.shape[1]}), with levels from 0 to {self.levels - 1}."
            )
        if self.uneven:
            phases = self.smoothed(self.curve_rad(seed)[levels])
            if self.gain_spread:
                phases = phases * self.pixel_gains(seed)
            if ripples is not None:
                phases = phases * ripples[:, None, None]
            turned = self.turned(phases)
        else:
            turned = self.of_levels(levels, seed=seed, ripples=ripples)
        turned += np.float32(self.straight)
        return elementary.multiply(turned, _lit(self, seed))

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


@lru_cache(maxsize=32)
def crosstalk_weights(sigma_pixels: float) -> np.ndarray:
    """Return how much of its own and of its neighbours' phase a pixel has, along one axis.

    Phases that are even over each pixel's cell are smoothed by a Gaussian, and a pixel has the mean over its cell: the
    overlap of two cells, a triangle, under the Gaussian.

    Parameters
    ----------
    sigma_pixels : float
        Standard deviation of the Gaussian, in pixels.

    Returns
    -------
    ndarray of float64, shape (k + 1,), read-only
        Of pixels at the distances 0 ... k; with both sides they add up to 1.
    """
    u = (np.arange(_NODES) + 0.5) / _NODES * 2 * _REACH - _REACH
    weights = elementary.exp(-u * u / 2)
    weights /= weights.sum()
    places = np.arange(math.ceil(_REACH * sigma_pixels) + 1)
    shares = np.maximum(0.0, 1.0 - np.abs(places[:, None] - sigma_pixels * u))
    found = (shares * weights).sum(axis=1)
    # What is left out of a phase of one turn is less than 1e-4 rad; the rest makes up for it.
    result: np.ndarray = found[found > _LEAST]
    result /= result[0] + 2 * result[1:].sum()
    result.setflags(write=False)
    return result


def _along(phases: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Weigh each pixel with its neighbours along an axis; those beyond the edge are left out."""
    given = np.moveaxis(phases, axis, -1)
    size = given.shape[-1]
    total, whole = weights[0] * given, np.full(size, weights[0])
    for k in range(1, min(len(weights), size)):
        total[..., k:] += weights[k] * given[..., :-k]
        total[..., :-k] += weights[k] * given[..., k:]
        whole[k:] += weights[k]
        whole[:-k] += weights[k]
    total /= whole
    return np.moveaxis(total, -1, axis)


@lru_cache(maxsize=8)
def _phases(slm: PhaseSlm) -> np.ndarray:
    result: np.ndarray = (2 * np.pi * slm.range_turns / slm.levels) * np.arange(slm.levels)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=8)
def _curve(slm: PhaseSlm, seed: int) -> np.ndarray:
    if not slm.table_error_rms_rad:
        return slm.phases_rad()
    # Sines that are 0 at level 0 and free at the last one.
    along = (np.pi / slm.levels) * np.arange(slm.levels)
    weights = rng.normals(rng.stream_key(seed, "slm table error"), _TABLE_TERMS).astype(np.float64)
    error = np.zeros(slm.levels)
    for j, weight in enumerate(weights):
        error += weight * elementary.sin((j + 0.5) * along)
    error *= slm.table_error_rms_rad / math.sqrt(float(np.mean(np.square(error))))
    result: np.ndarray = slm.phases_rad() + error
    result.setflags(write=False)
    return result


@lru_cache(maxsize=4)
def _gains(slm: PhaseSlm, seed: int) -> np.ndarray:
    spread = rng.normals(rng.stream_key(seed, "slm pixel gains"), slm.n_mirrors).astype(np.float64)
    result: np.ndarray = 1.0 + slm.gain_spread * spread.reshape(slm.shape)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=8)
def _phasors(slm: PhaseSlm, seed: int | None) -> np.ndarray:
    result = slm.turned(slm.phases_rad() if seed is None else slm.curve_rad(seed))
    result.setflags(write=False)
    return result


@lru_cache(maxsize=4)
def _lit(slm: PhaseSlm, seed: int) -> np.ndarray:
    result = slm.amplitude() * elementary.phasors(slm.phase_rad(seed), np.complex64)
    result.setflags(write=False)
    return result
