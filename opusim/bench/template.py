"""A laboratory's bench, to copy and fill in: five members, then `opusim.testing.check_bench`, then an `OPU`.

1. Copy this file into a folder of your own and name the class after your bench.
2. Fill in the five members below. Each says what it is given and what it must return.
3. Run ``opusim bench check my_bench.py:MyBench``, or ``opusim.testing.check_bench(MyBench())``. It names every rule
   that is broken, and what was seen. ``opusim calibrate all --bench my_bench.py:MyBench`` then measures it.
4. ``opusim.OPU(2000, opu_device=opusim.drivers.OpuDevice(bench=MyBench()))`` drives it, and so do the procedures of
   `opusim.calibration`.

Everything else comes from `opusim.bench.laboratory.LaboratoryBench`: arguments are checked, patterns become mirrors,
frames are counted. Where patterns are to lie on a part of the mirrors, or on inputs of one size, set `input_layout`, a
`~opusim.patterns.layout.MirrorLayout` (`opusim.bench.protocol.Inputs`); where light falls on a part of the sensor,
`output_roi` (`opusim.bench.protocol.Outputs`). A modulator that turns phases is one of `phase_levels` in `device`:
`show` is then given levels in place of 0 and 1. Replace what your instruments do better:
`expose`, if the phase of the reference can be stepped in one sequence; `transform`, if the camera need not send all
pixels; a `flat_field` (`opusim.bench.protocol.Lamp`), if you have a calibrated lamp, which `characterise_camera` needs.

A filled-in one, of numbers instead of instruments::

    import numpy as np
    from opusim.bench.laboratory import LabDevice, LaboratoryBench

    class MyBench(LaboratoryBench):
        device = LabDevice("numbers", mirror_shape=(24, 32), sensor_shape=(40, 60), bits=8, black_level_dn=2.0)

        def __init__(self):
            self.rng = np.random.default_rng()
            entries = np.random.default_rng(7).normal(size=(2, 40 * 60, 24 * 32))
            self.matrix = entries[0] + 1j * entries[1]

        def minimum_frametime_s(self, n_rows, exposure_s):
            return exposure_s + 50e-6

        def show(self, mirrors, *, exposure_s, frametime_s, roi):
            fields = mirrors.reshape(len(mirrors), -1) @ self.matrix.T
            return self.counts(np.abs(fields) ** 2 * 30 * exposure_s, roi)

        def dark(self, n_frames, *, exposure_s, frametime_s, roi):
            return self.counts(np.zeros((n_frames, 40 * 60)), roi)

        def counts(self, light, roi):
            row, column, n_rows, n_columns = roi
            frames = np.minimum(2 + self.rng.poisson(light), 255).astype(np.uint8).reshape(-1, 40, 60)
            return frames[:, row : row + n_rows, column : column + n_columns]
"""

from __future__ import annotations

import numpy as np

from opusim.bench.laboratory import LabDevice, LaboratoryBench

__all__ = ["TemplateBench"]


class TemplateBench(LaboratoryBench):
    """A bench of a laboratory; see the top of this file.

    Open your instruments in ``__init__``; the command line calls ``close`` at the end, if you write one.
    """

    @property
    def device(self) -> LabDevice:  # type: ignore[override]
        """What the driver must know: sizes, the camera's counts, times to begin with.

        Sizes are (rows, columns), as numpy has them: mirrors `mirror_shape`, pixels `sensor_shape`. `bits` sets the
        type of the frames: uint8 up to 8, uint16 up to 16. Times are in seconds. Give the device another name, or
        another version, whenever the medium is another: calibrations are kept by it.

        Example::

            device = LabDevice(
                "Lab 3", mirror_shape=(768, 1024), sensor_shape=(1088, 2048), bits=8, black_level_dn=2.0,
                exposure_s=400e-6, frametime_s=500e-6, has_reference=False,
            )
        """
        raise NotImplementedError("device is not filled in yet: it must be a LabDevice with the sizes of your bench.")

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames, in seconds, at which no trigger is lost.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read, from 1 on.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds, at least the exposure.

        Examples
        --------
        A camera that reads a row in 5 us while it does not expose, and mirrors at 10 kHz::

            return max(exposure_s + n_rows * 5e-6, 100e-6)
        """
        raise NotImplementedError("minimum_frametime_s is not filled in yet: it must return seconds.")

    def show(
        self, mirrors: np.ndarray, *, exposure_s: float, frametime_s: float, roi: tuple[int, int, int, int]
    ) -> np.ndarray:
        """Show patterns one after the other and return a frame for each.

        Parameters
        ----------
        mirrors : ndarray of uint8, shape (n, rows, columns)
            Patterns of 0 and 1, in C order; n is at least 1. 1 sends the light of that mirror to the medium.
        exposure_s : float
            Exposure of each frame in seconds.
        frametime_s : float
            Time from one pattern to the next in seconds, at least `minimum_frametime_s`.
        roi : tuple of int
            (row, column, n_rows, n_columns) of the sensor. Read more and cut it out if your camera reads in steps.

        Returns
        -------
        ndarray of uint8 or uint16, shape (n, n_rows, n_columns)
            Frame k is that of pattern k. The type is the one that ``device.bits`` gives; a dark pixel reads
            ``device.black_level_dn`` on average, a saturated one 2**bits - 1.

        Examples
        --------
        With instruments called `dmd` and `camera`::

            self.dmd.load(np.packbits(mirrors, axis=2))
            self.camera.arm(roi, exposure_s, n=len(mirrors))
            self.dmd.run(period_s=frametime_s)
            return self.camera.frames()
        """
        raise NotImplementedError("show is not filled in yet: it must return a frame for each pattern.")

    def dark(
        self, n_frames: int, *, exposure_s: float, frametime_s: float, roi: tuple[int, int, int, int]
    ) -> np.ndarray:
        """Return frames without light, and let the light on again.

        Parameters
        ----------
        n_frames : int
            How many, from 1 on.
        exposure_s, frametime_s, roi : float, float, tuple of int
            As in `show`.

        Returns
        -------
        ndarray of uint8 or uint16, shape (n_frames, n_rows, n_columns)
            Counts, of the type of those of `show`.

        Examples
        --------
        With a shutter; mirrors that are all off still send some light::

            with self.shutter.closed():
                return self.camera.take(n_frames, roi, exposure_s)
        """
        raise NotImplementedError("dark is not filled in yet: it must return frames with the laser shut.")

    def set_reference(self, phase_rad: float | None) -> None:
        """Set the phase of the reference arm, or block it; return when it stands.

        Parameters
        ----------
        phase_rad : float or None
            Radians, any number; None blocks the arm. Without an arm (``device.has_reference`` is False) it is always
            None, and this method may do nothing.

        Examples
        --------
        With a phase shifter of 2.5 V for 2 pi::

            self.shutter.open(phase_rad is not None)
            if phase_rad is not None:
                self.shifter.set_volts(phase_rad % (2 * np.pi) / (2 * np.pi) * 2.5)
        """
        raise NotImplementedError("set_reference is not filled in yet: without a reference arm, write pass.")
