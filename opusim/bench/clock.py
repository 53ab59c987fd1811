"""Time and light of a bench: how long frames take, how bright they are, and who gets which frame numbers."""

from __future__ import annotations

import math
from threading import RLock

from opusim.base import validation
from opusim.device.record import Device

from .frames import ReservedFrames
from .planes import BenchClock

#: Time that the electronics need between frames, from lightonml's timing rule.
FRAME_OVERHEAD_S = 50e-6


class ClockedBench:
    """What `OpticalBench` knows of time and light; made by it alone.

    Attributes
    ----------
    device : Device
        The device.
    clock : BenchClock
        Device time, frames and energy.
    """

    device: Device
    clock: BenchClock
    _lock: RLock

    @property
    def mirror_shape(self) -> tuple[int, int]:
        """Mirrors as (rows, columns)."""
        return self.device.dmd.shape

    @property
    def sensor_shape(self) -> tuple[int, int]:
        """Pixels as (rows, columns)."""
        return self.device.camera.shape

    def readout_s(self, n_rows: int) -> float:
        """Return the time to read rows of the sensor.

        Parameters
        ----------
        n_rows : int
            How many rows.

        Returns
        -------
        float
            Seconds.
        """
        return self.device.camera.readout_s(n_rows)

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames.

        That is max(readout, exposure) + 50 us (lightonml), and what the mirrors allow.

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
        camera = max(self.readout_s(n_rows), exposure_s) + FRAME_OVERHEAD_S
        return max(camera, 1.0 / self.device.dmd.frame_rate_hz)

    def photons_per_intensity(self, exposure_s: float) -> float:
        """Return the photons on a pixel for a field of intensity 1: the light of one average mirror, at the mean power.

        Without the polariser both polarisations reach the camera: twice the light.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Mean number of photons.
        """
        device = self.device
        light = device.laser.photons(exposure_s) * device.dmd.efficiency * device.medium.transmission
        if not device.camera.polarised:
            light *= 2
        return light / device.dmd.n_mirrors

    def expected_level_dn(self, n_on: float, exposure_s: float) -> float:
        """Mean grey level for `n_on` mirrors on, spread evenly over the beam, without clipping.

        Parameters
        ----------
        n_on : float
            Number of mirrors that are on.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Grey levels.
        """
        camera, dmd = self.device.camera, self.device.dmd
        intensity = n_on + dmd.off_amplitude**2 * (dmd.n_mirrors - n_on)
        electrons = camera.quantum_efficiency * intensity * self.photons_per_intensity(exposure_s)
        return camera.black_level_dn + camera.gain_dn_per_e * (electrons + camera.dark_current_e_per_s * exposure_s)

    def reserve(self, n_frames: int, *, frametime_s: float) -> ReservedFrames:
        """Take frames and their time now, to show patterns in them later (`transform`), here or on another bench.

        Parameters
        ----------
        n_frames : int
            How many.
        frametime_s : float
            Time of each, in seconds.

        Returns
        -------
        ReservedFrames
            The frames, for the argument `reserved` of `transform`.
        """
        n = validation.integer("n_frames", n_frames, low=0)
        time_s = validation.number("frametime_s", frametime_s, low=0.0, high=3600.0)
        return ReservedFrames(*self._reserve(n, time_s), n, time_s)

    def skip_frames(self, n_frames: int, *, frametime_s: float | None = None) -> None:
        """Let frames pass unread, and their time.

        A copy of a bench in another process goes on with the same frame numbers, hence with the same noise; workers
        that must not share noise each skip to a range of their own.

        Parameters
        ----------
        n_frames : int
            How many.
        frametime_s : float, optional
            Time of each; the device's own by default.
        """
        n = validation.integer("n_frames", n_frames, low=0)
        default = self.device.operation.frametime_s
        time_s = validation.number("frametime_s", default if frametime_s is None else frametime_s, low=0.0, high=3600.0)
        self._reserve(n, time_s)

    def advance_to(self, frames: int, elapsed_s: float) -> None:
        """Let the clock stand where that of another bench of the same device and seed stood.

        Its next frames are then, bit for bit, those that the other bench would have taken next: noise is addressed by
        the frame's number, drift by the time. So a run goes on in another process.

        Parameters
        ----------
        frames : int
            ``clock.frames`` of the other bench.
        elapsed_s : float
            ``clock.elapsed_s`` of the other bench, in seconds.

        Raises
        ------
        TypeError, ValueError
            If an argument is not a number that it may be, or lies behind the clock: frames that are taken stay
            taken, or two frames would share their noise. The clock stays as it was.
        """
        frames = validation.integer("frames", frames, low=0)
        elapsed_s = validation.number("elapsed_s", elapsed_s, low=0.0, high=math.inf)
        with self._lock:
            clock = self.clock
            for name, value, now in (("frames", frames, clock.frames), ("elapsed_s", elapsed_s, clock.elapsed_s)):
                if value < now:
                    raise ValueError(f"{name} is {value!r}, but the clock cannot go back: it must be at least {now!r}.")
            clock.frames, clock.elapsed_s = frames, elapsed_s

    def _reserve(self, n: int, frametime_s: float) -> tuple[int, float]:
        """Take `n` frame numbers and their time; no two calls ever share noise."""
        with self._lock:
            first, start = self.clock.frames, self.clock.elapsed_s
            self.clock.frames += n
            self.clock.elapsed_s += n * frametime_s
        return first, start

    def _frametime(self, frametime_s: float | None, n_rows: int, exposure_s: float) -> float:
        least = self.minimum_frametime_s(n_rows, exposure_s)
        if frametime_s is None:
            return max(least, self.device.operation.frametime_s)
        value = validation.number("frametime_s", frametime_s, low=0.0, high=3600.0, low_open=True)
        if value < least * (1 - 1e-9):
            raise ValueError(
                f"frametime_s is {value!r}, but with this exposure and region of interest it must be at least "
                f"{least:.6g}."
            )
        return value
