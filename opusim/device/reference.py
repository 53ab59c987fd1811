"""The reference arm: light of the same laser that reaches the camera beside the medium, with a phase shifter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from opusim.base import elementary, rng, validation
from opusim.base.parameters import Stage, parameter
from opusim.base.user_arrays import checked_array

from .vibration import Lines, Swings, mean_phasors, spectrum_lines, spectrum_variance
from .wavefront import low_order_wavefront

# Periods of the drift's Fourier series: from twenty seconds (air) to a day (temperature).
_SHORTEST_S, _LONGEST_S, _N_PERIODS = 20.0, 86400.0, 16
_MOST_RAD2 = 5000.0  # variance of a sine of 100 rad
_LONGEST_EXPOSURE_S = 3600.0


def shifted_rad(asked_rad: Any, scale_error: Any, nonlinearity: Any) -> Any:
    """Return the phases that a shifter of such errors makes, but for noise and drift; see `Reference`.

    Parameters
    ----------
    asked_rad : float, array or tensor
        Phases asked of it, in radians.
    scale_error, nonlinearity : float or tensor
        Its miscalibration.

    Returns
    -------
    float, array or tensor
        Phases in radians.
    """
    return asked_rad * (1 + scale_error + nonlinearity * asked_rad / math.pi)


@dataclass(frozen=True)
class Reference(Stage):
    """A reference arm with a phase shifter.

    With the phase d asked for, the camera sees ``|S + c R exp(i d')|^2 + (1 - c^2) |R|^2``, where S is the field
    behind the medium, R the reference, c the coherence of the two arms, and d' the phase that the shifter really makes.
    Where the phase moves during an exposure (`Operation.exposure_average`), m exp(i d') is the mean of the phasor over
    it, and c m stands in place of c: what the fringes lose becomes light that does not interfere.

    The arm does not follow the lengths of the optics (`Optics`), where these are held. Its amplitude is relative to the
    signal: a smaller stop darkens the reference by as much. Its tilt is held in cycles a pixel: pixels of another pitch
    see another angle, carrier x wavelength / pitch. ``opusim info`` tells period and tilt.

    Parameters
    ----------
    relative_amplitude : float
        ``|R|`` over the rms of ``|S|`` with half of the mirrors on. 0: there is no reference arm. Two to four is
        practical, 3 is the value for four steps in docs/physics.md section 4.
    beam_radius_m : float
        Radius (1/e^2 of the intensity) of the beam on the sensor in metres; inf lights it evenly.
    wavefront_rms_rad : float
        Low-order wavefront error over the sensor in radians.
    carrier_cycles_per_pixel : tuple of float
        (along rows, along columns): tilt of the reference against the signal. 0 on axis; off-axis holography needs
        more than the half-bandwidth of the speckle (docs/physics.md section 3). A pixel averages such fringes over its
        area: their amplitude falls by sinc(f) for each of the two.
    scale_error, nonlinearity : float
        Miscalibration of the shifter: d' = d (1 + scale_error + nonlinearity d / pi), the model of Schmit and Creath,
        Applied Optics 34, 3610 (1995).
    jitter_rad : float
        Standard deviation of a random error of each step in radians.
    drift_rad_per_minute : float
        Root mean square of the change of the path-length difference, as a phase, in one minute: .04 to .1 on a bench
        (docs/physics.md section 3).
    vibration_rad, vibration_hz : float
        Amplitude and frequency of a sinusoidal phase: .1 rad undamped, .02 damped (docs/physics.md section 3).
    vibration_lines_hz, vibration_lines_rad : tuple of float
        Frequencies and amplitudes of more such phases, as many of one as of the other, whose starts follow from the
        seed. None by default: which a bench has is for an accelerometer to say. Lines of equal frequency, that of
        `vibration_hz` included, are one sine of each device: their sum, as phasors.
    vibration_psd_hz, vibration_psd_rad2_per_hz : tuple of float
        One-sided power spectral density of a phase that is random: rising frequencies above 0, and the density at each,
        above 0. Between two of them it is a power of the frequency, outside it is 0; its integral is the variance of
        the phase. It is made as a sum of 64 lines (``opusim.device.vibration.spectrum_lines``). None by default.
    coherence : float
        0 to 1: contrast of the fringes, below 1 for arms whose difference is not short against the coherence length.
    settling_s : float
        Time that the shifter needs after a step, before the next exposure may begin, in seconds. 0: an electro-optic
        modulator; a piezo has milliseconds. Frames of a burst of phases follow each other no faster than exposure and
        settling (`OpticalBench.stepped_frametime_s`).
    """

    stage: ClassVar[str] = "reference"

    relative_amplitude: float = parameter(0.0, low=0.0, high=1e3, learnable="scale")
    beam_radius_m: float = parameter(
        math.inf, low=0.0, high=math.inf, low_open=True, unit="m", off=math.inf, imperfection="uneven reference"
    )
    wavefront_rms_rad: float = parameter(0.0, low=0.0, high=100.0, unit="rad", off=0.0, imperfection="uneven reference")
    carrier_cycles_per_pixel: tuple[float, float] = parameter(
        (0.0, 0.0), kind="numbers", low=-0.5, high=0.5, unit="cycles per pixel"
    )
    scale_error: float = parameter(
        0.0, low=-0.9, high=10.0, off=0.0, imperfection="phase shifter's error", learnable="odds"
    )
    nonlinearity: float = parameter(
        0.0, low=-1.0, high=1.0, off=0.0, imperfection="phase shifter's error", learnable="odds"
    )
    jitter_rad: float = parameter(
        0.0, low=0.0, high=10.0, unit="rad", off=0.0, imperfection="phase jitter", source="reference phase",
        learnable="scale",
    )  # fmt: skip
    drift_rad_per_minute: float = parameter(
        0.0, low=0.0, high=1e4, unit="rad per minute", off=0.0, imperfection="reference drift"
    )
    vibration_rad: float = parameter(
        0.0, low=0.0, high=100.0, unit="rad", off=0.0, imperfection="vibration", source="reference phase"
    )
    vibration_hz: float = parameter(100.0, low=0.0, high=1e6, unit="Hz")
    vibration_lines_hz: tuple[float, ...] = parameter(
        (), kind="list", low=0.0, high=1e6, unit="Hz", off=(), imperfection="vibration", source="reference phase",
        before=(),
    )  # fmt: skip
    vibration_lines_rad: tuple[float, ...] = parameter(
        (), kind="list", low=0.0, high=100.0, unit="rad", off=(), imperfection="vibration", source="reference phase",
        before=(),
    )  # fmt: skip
    vibration_psd_hz: tuple[float, ...] = parameter(
        (), kind="list", low=1e-9, high=1e6, unit="Hz", off=(), imperfection="vibration", source="reference phase",
        before=(),
    )  # fmt: skip
    vibration_psd_rad2_per_hz: tuple[float, ...] = parameter(
        (), kind="list", low=1e-30, high=1e6, unit="rad^2 per Hz", off=(), imperfection="vibration",
        source="reference phase", before=(),
    )  # fmt: skip
    coherence: float = parameter(1.0, low=0.0, high=1.0, off=1.0, imperfection="partial coherence", learnable="odds")
    settling_s: float = parameter(0.0, low=0.0, high=60.0, unit="s", before=0.0)

    def _check_together(self) -> None:
        """Check that what describes the vibration belongs together."""
        for one, other in (
            ("vibration_lines_hz", "vibration_lines_rad"),
            ("vibration_psd_hz", "vibration_psd_rad2_per_hz"),
        ):
            n, m = len(getattr(self, one)), len(getattr(self, other))
            if n != m:
                raise ValueError(
                    f"reference.{one} holds {n} number{'s' * (n != 1)}, but reference.{other} holds {m}: there must be "
                    "as many of one as of the other."
                )
        hz = self.vibration_psd_hz
        if len(hz) == 1 or any(b <= a for a, b in zip(hz, hz[1:], strict=False)):
            raise ValueError(
                f"reference.vibration_psd_hz is {list(hz)}, but it must be at least two frequencies that rise, or none."
            )
        if hz and (variance := spectrum_variance(hz, self.vibration_psd_rad2_per_hz)) > _MOST_RAD2:
            raise ValueError(
                f"reference.vibration_psd_rad2_per_hz has an integral of {variance:.4g} rad^2, but it must be at most "
                f"{_MOST_RAD2:g}: a vibration of 100 rad."
            )
        if hz and not np.isfinite(self.vibration(0).rad).all():
            raise ValueError(
                f"reference.vibration_psd_rad2_per_hz is {list(self.vibration_psd_rad2_per_hz)} at {list(hz)} Hz, but "
                "no sines of finite amplitudes make such a spectrum: it must be less steep."
            )

    @property
    def present(self) -> bool:
        """Whether there is a reference arm."""
        return self.relative_amplitude > 0

    @property
    def moves(self) -> bool:
        """Whether its phase moves during an exposure: drift or vibration."""
        return bool(
            self.drift_rad_per_minute or self.vibration_rad or any(self.vibration_lines_rad) or self.vibration_psd_hz
        )

    def vibration(self, seed: int, *, apart: bool = False) -> Lines:
        """Return the vibration as a sum of sines.

        Parameters
        ----------
        seed : int
            Seed of the device: where each starts, and where the lines of the power spectral density stand.
        apart : bool, optional
            Whether sines of equal frequency stay apart, for means over devices, whose starts are independent. In one
            device they have one phase to each other for ever, and are one sine.

        Returns
        -------
        Lines
            Those of an amplitude above 0: the one line, the list of lines, the power spectral density. Those of equal
            frequency are added, as phasors, at the place of the first.
        """
        return _vibration(
            self.vibration_hz, self.vibration_rad, self.vibration_lines_hz, self.vibration_lines_rad,
            self.vibration_psd_hz, self.vibration_psd_rad2_per_hz, seed, apart,
        )  # fmt: skip

    def field(
        self,
        pixels: np.ndarray,
        *,
        sensor_shape: tuple[int, int],
        pixel_pitch_m: float,
        n_mirrors: int,
        seed: int,
        offsets: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the reference field at some pixels, for the phase 0.

        Parameters
        ----------
        pixels : ndarray of int
            Raster indices on the sensor.
        sensor_shape : tuple of int
            (rows, columns).
        pixel_pitch_m : float
            Distance of the pixels in metres.
        n_mirrors : int
            Mirrors of the array: half of them on give the intensity n_mirrors / 2.
        seed : int
            Seed of the device: which wavefront error.
        offsets : ndarray of float64, shape (points, 2), optional
            Points of each pixel, as rows and columns from its centre, in pixels. The tilt is taken at each of them,
            beam and wavefront, which change slowly, at the centre.

        Returns
        -------
        ndarray of complex64, shape (n,), or (n, points) with `offsets`
            In the units of the projector: an intensity of 1 is the light of one average mirror.

        Raises
        ------
        TypeError, ValueError
            If an array is not what it may be.
        """
        rows, columns = sensor_shape
        row, column = np.divmod(checked_array("pixels", pixels, kinds="iu", dtype=np.int64), columns)
        amplitude = np.full(len(row), self.relative_amplitude * math.sqrt(n_mirrors / 2))
        if not math.isinf(self.beam_radius_m):
            y, x = (row - (rows - 1) / 2) * pixel_pitch_m, (column - (columns - 1) / 2) * pixel_pitch_m
            amplitude *= elementary.exp(-(x**2 + y**2) / (self.beam_radius_m * self.beam_radius_m))
        down, across = self.carrier_cycles_per_pixel
        phase: np.ndarray = 2 * np.pi * (down * row + across * column)
        if self.wavefront_rms_rad:
            surface = low_order_wavefront(sensor_shape, self.wavefront_rms_rad, seed, "reference wavefront")
            phase = phase + surface[row, column]
        if offsets is None:
            return (amplitude * elementary.phasors(phase)).astype(np.complex64)
        places = checked_array("offsets", offsets, dtype=np.float64)
        if places.ndim != 2 or places.shape[1] != 2:
            raise ValueError(f"offsets has shape {places.shape}, but it must be (points, 2): rows and columns.")
        if not (down or across):
            even = (amplitude * elementary.phasors(phase)).astype(np.complex64)
            return np.repeat(even[:, None], len(places), axis=1)
        phase = phase[:, None] + 2 * np.pi * (down * places[:, 0] + across * places[:, 1])
        return (amplitude[:, None] * elementary.phasors(phase)).astype(np.complex64)

    def phases_rad(self, asked_rad: np.ndarray, frames: np.ndarray, times_s: np.ndarray, *, seed: int) -> np.ndarray:
        """Return the phase that the reference has at the start of each frame.

        Parameters
        ----------
        asked_rad : ndarray of float64, shape (n,)
            Phase asked of the shifter, in radians.
        frames : ndarray of int64, shape (n,)
            Frame numbers: the jitter of a frame depends on (seed, frame number) alone.
        times_s : ndarray of float64, shape (n,)
            Device time of each frame in seconds: drift and vibration are functions of it.
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of float64, shape (n,)
            Phases in radians.

        Notes
        -----
        The drift is a Fourier series with random phases, zero at t = 0, whose amplitudes grow as the square root of
        the period as in a random walk; see `Laser.relative_power`.
        """
        phases, frames, times = self._shifted(asked_rad, frames, times_s)
        if self.drift_rad_per_minute:
            from .drift_kernels import sum_swings

            drift = np.zeros(len(times))
            sum_swings(times, *_drift_series(self.drift_rad_per_minute, seed), drift)
            phases = phases + drift
        lines = self.vibration(seed)
        for hz, rad, start in zip(lines.hz, lines.rad, lines.start, strict=True):
            turns = hz * times
            turns -= np.rint(turns)  # exact, and small whenever it is
            phases = phases + rad * elementary.sin(2 * np.pi * turns + start)
        return self._jittered(phases, frames, seed)

    def phasors(
        self, asked_rad: np.ndarray, frames: np.ndarray, times_s: np.ndarray, exposure_s: float, *, seed: int
    ) -> np.ndarray:
        """Return the mean over each exposure of exp(i phase): what the fringes of a frame see of the reference.

        Parameters
        ----------
        asked_rad, frames, times_s : ndarray, shape (n,)
            As for `phases_rad`: an exposure begins at its time.
        exposure_s : float
            Exposure in seconds, from 0 to an hour.
        seed : int
            Seed of the device.

        Returns
        -------
        ndarray of complex128, shape (n,)
            Modulus (at most 1) times a phase. Drift and vibration are averaged; the jitter of a step stays as it is
            while the shutter is open.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what it may be.

        Notes
        -----
        A vibration of amplitude a over whole periods leaves J0(a). How exact the means are:
        ``opusim.device.vibration.mean_phasors``.
        """
        phases, frames, times = self._shifted(asked_rad, frames, times_s)
        exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=_LONGEST_EXPOSURE_S)
        turned = elementary.phasors(self._jittered(phases, frames, seed))
        if not self.moves:
            return turned
        drift = _drift_series(self.drift_rad_per_minute, seed) if self.drift_rad_per_minute else None
        return elementary.multiply(turned, mean_phasors(times, exposure_s, self.vibration(seed), drift))

    def _shifted(
        self, asked_rad: np.ndarray, frames: np.ndarray, times_s: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the phases that the shifter makes, and frames and times, checked."""
        asked = checked_array("asked_rad", asked_rad, dtype=np.float64)
        times = np.ascontiguousarray(checked_array("times_s", times_s, dtype=np.float64))
        frames = checked_array("frames", frames, kinds="iu")
        return shifted_rad(asked, self.scale_error, self.nonlinearity), frames, times

    def _jittered(self, phases: np.ndarray, frames: np.ndarray, seed: int) -> np.ndarray:
        """Return phases with the random error of each step."""
        if self.jitter_rad and len(phases):
            from opusim.base.rng_kernels import normals_between  # numba, where it is needed

            numbers = np.asarray(frames, dtype=np.int64)
            first = int(numbers.min())
            noise = normals_between(rng.key_of(seed, "reference jitter"), first, int(numbers.max()) + 1)
            phases = phases + self.jitter_rad * noise[numbers - first].astype(np.float64)
        return phases


@lru_cache(maxsize=16)
def _drift_series(drift_rad_per_minute: float, seed: int) -> Swings:
    """Angular frequencies, amplitudes and phases of the drift."""
    from .drift_kernels import sum_swings

    periods_s = elementary.geometric(_SHORTEST_S, _LONGEST_S, _N_PERIODS)
    omega = 2 * np.pi / periods_s
    amplitude = np.sqrt(periods_s)
    # What the squares of the amplitudes give after that time, without the random phases: -sum of a^2 (1 - cos).
    swing = np.zeros(1)
    sum_swings(np.array([60.0]), omega, amplitude**2, np.zeros(len(omega)), swing)
    amplitude *= drift_rad_per_minute / math.sqrt(-swing[0])
    start = 2 * np.pi * rng.uniforms(rng.key_of(seed, "reference drift"), len(omega))
    return omega, amplitude, start


@lru_cache(maxsize=16)
def _vibration(
    hz: float, rad: float, lines_hz: tuple[float, ...], lines_rad: tuple[float, ...], psd_hz: tuple[float, ...],
    psd_rad2_per_hz: tuple[float, ...], seed: int, apart: bool,
) -> Lines:  # fmt: skip
    """Lines of a vibration; see `Reference.vibration`."""
    starts = [rng.uniforms(rng.key_of(seed, "reference vibration"), 1)]
    starts.append(rng.uniforms(rng.key_of(seed, "reference vibration lines"), len(lines_hz)))
    start = 2 * np.pi * np.concatenate(starts).astype(np.float64)
    every, amplitude = np.array([hz, *lines_hz], dtype=np.float64), np.array([rad, *lines_rad], dtype=np.float64)
    found = [(every, amplitude, start)]
    if psd_hz:
        more = spectrum_lines(psd_hz, psd_rad2_per_hz, seed)
        found.append((more.hz, more.rad, more.start))
    every, amplitude, start = (np.concatenate(parts) for parts in zip(*found, strict=True))
    on = amplitude > 0
    lines = Lines(every[on], amplitude[on], start[on])
    return lines if apart else lines.added()
