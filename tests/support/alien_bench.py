"""A bench as a laboratory that knows nothing of opusim would write one: numpy alone, its own optics and conventions.

It is asked for by name (``--bench alien_bench.py:make``) and imports nothing of opusim. What differs from opusim's own:

- the optics: a beam on the mirrors, a rough plate, a lens, a second rough plate with a stop, a lens; by FFT;
- the phase of the reference is counted the other way round, so that a measured matrix is the conjugate of the light's;
- the camera cuts counts off instead of rounding them, 12 bits in uint16, with a gain, a black level, a noise of rows,
  and columns that are read four at a time;
- noise comes from numpy's generator in order, the laser's power changes from frame to frame;
- mirrors that are off still send some light, and there is an odd number of columns of them.

An instrument says what it was told in the file that ALIEN_LOG names.
"""

from __future__ import annotations

import os
import time

import numpy as np

MIRRORS = (36, 45)
SENSOR = (54, 94)
GRID = 128
STOP = 32  # samples across the stop: a grain is GRID / STOP = 4 pixels wide

GAIN = 0.31  # counts an electron
BLACK = 87.0  # counts
FULL = 4095
READ_E = 5.2
ROW_E = 2.0
EFFICIENCY = 0.62
DARK_E_PER_S = 30.0
PRNU, DSNU_E = 0.008, 3.0
SHORTEST_S, LONGEST_S = 50e-6, 0.5
READOUT_S = 2e-3

SIGNAL_E_PER_S = 1.2e6  # of a pixel, with all mirrors on
REFERENCE_E_PER_S = 0.9e6
OFF_LIGHT = 0.08  # amplitude of a mirror that is off, to that of one that is on
TILT = (0.22, -0.34)  # cycles a pixel
POWER_RMS = 0.002
SCALE_ERROR, BENT, JITTER_RAD = 0.025, 0.01, 0.012
DELAY_S = 30e-12  # spread of the delays in the second plate: tells how far apart two frequencies give the same light
TUNES_HZ = 40e9


def log(text):
    if "ALIEN_LOG" in os.environ:
        with open(os.environ["ALIEN_LOG"], "a") as file:
            file.write(text + "\n")


class Ticks:
    """Counts frames and time."""

    def __init__(self):
        self.frames, self.elapsed_s, self.energy_j = 0, 0.0, 0.0


class Optics:
    """From mirrors to the field on the sensor, in roots of electrons a second."""

    def __init__(self, tau_s):
        rng = np.random.default_rng(20261)
        rows, columns = np.indices(MIRRORS)
        beam = np.exp(-(((rows - 20) / 24) ** 2) - ((columns - 19) / 30) ** 2)
        self.beam = beam * np.exp(2j * np.pi * rng.random(MIRRORS))
        # The plate at the mirrors changes with time, that at the stop with the frequency of the light.
        self.rate = rng.normal(0, np.sqrt(2) / tau_s, MIRRORS) if np.isfinite(tau_s) else np.zeros(MIRRORS)
        y, x = np.indices((GRID, GRID)) - GRID // 2
        inside = x**2 + y**2 <= (STOP / 2) ** 2
        self.delay_s = rng.normal(0, DELAY_S, (GRID, GRID))
        self.plate = inside * np.exp(2j * np.pi * rng.random((GRID, GRID)))
        self.scale = 1.0
        level = np.mean(np.abs(self.field(np.ones((1, *MIRRORS)))) ** 2)
        self.scale = np.sqrt(SIGNAL_E_PER_S / level)

    def field(self, amplitudes, at_s=0.0, shift_hz=0.0):
        """Field of amplitudes (n, rows, columns) on the sensor, complex (n, rows, columns)."""
        plane = np.zeros((len(amplitudes), GRID, GRID), dtype=np.complex128)
        # Two samples apart: the stop then tells most mirrors from their neighbours.
        lit = amplitudes * self.beam * np.exp(1j * self.rate * at_s)
        plane[:, 28 : 28 + 2 * MIRRORS[0] : 2, 19 : 19 + 2 * MIRRORS[1] : 2] = lit
        second = np.fft.fftshift(np.fft.fft2(plane), axes=(1, 2))
        second *= self.plate * np.exp(2j * np.pi * shift_hz * self.delay_s)
        screen = np.fft.fft2(np.fft.ifftshift(second, axes=(1, 2))) * self.scale
        return screen[:, 31 : 31 + SENSOR[0], 11 : 11 + SENSOR[1]]


class Alien:
    """The least that a bench has: both shapes, and `expose`.

    Parameters
    ----------
    arm : bool
        Whether there is a reference arm.
    tau_s : float
        Time in which the field decorrelates to 1/e.
    """

    mirror_shape, sensor_shape = MIRRORS, SENSOR

    def __init__(self, *, arm=True, tau_s=np.inf):
        log("open")
        self.arm, self.optics = arm, Optics(tau_s)
        self.rng = np.random.default_rng()
        fixed = np.random.default_rng(5)
        self.response = 1 + PRNU * fixed.standard_normal(SENSOR)
        self.offset_e = DSNU_E * fixed.standard_normal(SENSOR)
        y, x = np.indices(SENSOR)
        self.arm_wave = np.sqrt(REFERENCE_E_PER_S) * np.exp(2j * np.pi * (TILT[0] * y + TILT[1] * x))
        self.began = time.monotonic()

    def now_s(self):
        return time.monotonic() - self.began

    def shift_hz(self):
        """By how much the light that the plates see differs in frequency from the first day's."""
        return 0.0

    def passed(self, n, exposure_s, frametime_s):
        """Let the time of n frames pass: here it does so by itself."""

    def amplitudes(self, mirrors):
        """Amplitudes of the mirrors of patterns in any form."""
        if hasattr(mirrors, "to_mirrors"):
            mirrors = mirrors.to_mirrors()
        mirrors = np.asarray(mirrors)
        if mirrors.shape == MIRRORS:
            mirrors = mirrors[None]
        if mirrors.ndim != 3 or mirrors.shape[1:] != MIRRORS:
            raise ValueError(f"these are {mirrors.shape}, not {MIRRORS} mirrors")
        if mirrors.size and (mirrors.min() < 0 or mirrors.max() > 1):
            raise ValueError("a mirror is either on or off")
        return np.where(mirrors > 0, 1.0, OFF_LIGHT)

    def expose(self, mirrors, *, exposure_s, reference_phase_rad=None, roi=None, frametime_s=None, n_frames=1):
        top, left, height, width = self.window(roi)
        self.check_time(exposure_s)
        if mirrors is None:
            if reference_phase_rad is not None:
                raise ValueError("the arm needs the laser")
            rates = np.zeros((n_frames, height, width))
            self.passed(n_frames, exposure_s, frametime_s)
            return self.developed(rates, exposure_s, (top, left, height, width))
        if n_frames != 1:
            raise ValueError("n_frames is for the dark")
        waves = self.amplitudes(mirrors)
        phases = [None] if reference_phase_rad is None else np.atleast_1d(reference_phase_rad)
        if reference_phase_rad is not None and not self.arm:
            raise ValueError("there is no arm")
        frames = np.empty((len(waves) * len(phases), height, width), dtype=np.uint16)
        for i, wave in enumerate(waves):
            field = self.optics.field(wave[None], self.now_s(), self.shift_hz())[0]
            for k, phase in enumerate(phases):
                total = field if phase is None else field + self.arm_wave * self.turned(phase)
                rate = np.abs(total[top : top + height, left : left + width]) ** 2
                rate = rate * (1 + POWER_RMS * self.rng.standard_normal())
                frames[i * len(phases) + k] = self.developed(rate[None], exposure_s, (top, left, height, width))[0]
                self.passed(1, exposure_s, frametime_s)
        return frames

    def turned(self, phase):
        """What the shifter makes of a phase; it counts them the other way round."""
        made = phase * (1 + SCALE_ERROR + BENT * phase / np.pi) + JITTER_RAD * self.rng.standard_normal()
        return np.exp(-1j * made)

    def window(self, roi):
        """Rows and columns to hand out; the camera itself reads columns in fours."""
        top, left, height, width = (0, 0, *SENSOR) if roi is None else map(int, roi)
        if min(top, left) < 0 or min(height, width) < 1 or top + height > SENSOR[0] or left + width > SENSOR[1]:
            raise ValueError(f"{roi} is not on a sensor of {SENSOR}")
        return top, left, height, width

    def check_time(self, exposure_s):
        if not SHORTEST_S <= exposure_s <= LONGEST_S * (1 + 1e-9):
            raise ValueError(f"the camera exposes for {SHORTEST_S} to {LONGEST_S} s, not {exposure_s}")

    def developed(self, rates, exposure_s, window):
        """Counts of electrons a second: cut off, not rounded."""
        top, left, height, width = window
        first, last = left // 4 * 4, -(-(left + width) // 4) * 4
        wide = np.zeros((len(rates), height, last - first))
        wide[:, :, left - first : left - first + width] = rates
        share, offset = np.ones((height, last - first)), np.zeros((height, last - first))
        inside = slice(0, min(last, SENSOR[1]) - first)
        share[:, inside] = self.response[top : top + height, first:last]
        offset[:, inside] = self.offset_e[top : top + height, first:last]
        electrons = self.rng.poisson(wide * share * exposure_s + DARK_E_PER_S * exposure_s) + offset
        electrons = electrons + READ_E * self.rng.standard_normal(electrons.shape)
        electrons += ROW_E * self.rng.standard_normal((len(rates), height, 1))
        counts = np.clip(np.floor(BLACK + GAIN * electrons), 0, FULL).astype(np.uint16)
        return counts[:, :, left - first : left - first + width]


class Whole(Alien):
    """With a lamp, a laser that tunes, and time that it counts itself, and can skip."""

    tuning_range_hz = TUNES_HZ

    def __init__(self, **how):
        super().__init__(**how)
        self.clock, self.tuning_hz = Ticks(), 0.0
        self.warmer_hz = 1e9 * float(os.environ.get("ALIEN_WARMER_GHZ", "0"))

    def now_s(self):
        return self.clock.elapsed_s

    def shift_hz(self):
        return self.tuning_hz + self.warmer_hz

    def passed(self, n, exposure_s, frametime_s):
        self.clock.frames += n
        self.clock.elapsed_s += n * (exposure_s + READOUT_S if frametime_s is None else frametime_s)

    def skip_frames(self, n_frames, *, frametime_s=None):
        self.passed(n_frames, 0.0, frametime_s)

    def tune(self, shift_hz):
        if not abs(shift_hz) <= TUNES_HZ:
            raise ValueError(f"the laser tunes by {TUNES_HZ:g} Hz, not {shift_hz}")
        self.tuning_hz = float(shift_hz)

    def flat_field(self, photons_per_pixel, *, exposure_s, n_frames=1, roi=None):
        window = self.window(roi)
        self.check_time(exposure_s)
        rate = EFFICIENCY * min(photons_per_pixel, 1e7) / exposure_s
        across = 1 + 0.02 * (np.arange(SENSOR[1]) / SENSOR[1] - 0.5)
        rates = np.broadcast_to(rate * across[window[1] : window[1] + window[3]], (n_frames, *window[2:]))
        self.passed(n_frames, exposure_s, None)
        return self.developed(rates, exposure_s, window)

    def close(self):
        log("closed")


class Phases(Whole):
    """A liquid-crystal modulator of 64 levels in the place of the mirrors."""

    level_turns = np.arange(64) / 64

    def amplitudes(self, mirrors):
        if hasattr(mirrors, "to_mirrors"):
            if "Phase" not in type(mirrors).__name__:
                raise TypeError("these are bits, not levels")
            mirrors = mirrors.to_mirrors()
        mirrors = np.asarray(mirrors)
        if mirrors.shape == MIRRORS:
            mirrors = mirrors[None]
        if mirrors.ndim != 3 or mirrors.shape[1:] != MIRRORS:
            raise ValueError(f"these are {mirrors.shape}, not {MIRRORS} pixels")
        if mirrors.dtype.kind == "f":
            if mirrors.size and (mirrors.min() < 0 or mirrors.max() >= 1):
                raise ValueError("phases are from 0 to 1 turn")
            return np.exp(2j * np.pi * mirrors)
        return np.exp(2j * np.pi * self.level_turns[mirrors])


# ---------------------------------------------------------------- what a line names


def make():
    """All that it has; a day in which the medium changes slowly."""
    return Whole(tau_s=1800.0)


def bare():
    """Shapes and `expose` alone."""
    return Alien()


def melting():
    """The same, of a medium that changes within the watch."""
    return Alien(tau_s=float(os.environ.get("ALIEN_TAU_S", "6")))


def armless():
    """Without a reference arm."""
    return Whole(arm=False)


def phases():
    """A modulator of phases, without a reference arm."""
    return Phases(arm=False)


def phases_with_arm():
    """A modulator of phases, with one."""
    return Phases()
