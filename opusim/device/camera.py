"""The camera: an image sensor in electrons, by the model of EMVA standard 1288.

photons -> electrons (quantum efficiency, photo response non-uniformity, dark current) -> shot noise
-> full well -> response -> read noise, telegraph noise and fixed offset -> gain -> black level -> rounding -> clipping.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opusim.base import elementary, parallel, rng, validation
from opusim.base.parameters import Stage, parameter
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array

LEAST_PIXEL_OVER_GRAIN = 1e-3
"""Smallest pixel, in grains, that integrates over its area: its contrast is 1 to a millionth."""

_NOISE = "camera noise"
_MAX_FRAME = 2**63 - 1
# Dark currents of single precision stay finite with it, for any exposure.
_MOST_DOUBLINGS = 30.0
_LEAST_DOUBLINGS = 1000.0  # so often halved, nothing is left
_LEAST_SCALE_END_E = 1e-30  # the bend over it is a number of single precision
_MOST_SPREAD = 1000.0  # standard deviation over mean of a log-normal current
_LN2 = 0.6931471805599453
# From so much on, a full scale as a share of the full well, or a number of rows, is another one than before.
_APART, _ROWS_APART = 1.5, 0.02


@dataclass(frozen=True)
class Camera(Stage):
    """An image sensor with its electronics.

    Every imperfection has a value that switches it off alone, which is its default.

    Parameters
    ----------
    name : str
        Name of the sensor.
    shape : tuple of int
        Rows and columns.
    pixel_pitch_m : float
        Distance of pixel centres in metres.
    quantum_efficiency : float
        Electrons per photon that falls on a pixel, fill factor included, above 0 and up to 1.
    frame_rate_hz : float
        Full frames per second at most; sets the time that a row takes to read.
    gain_dn_per_e : float
        System gain K of EMVA 1288: grey levels (DN) per electron.
    bits : int
        Bits of a count, from 2 to 16. Counts are uint8 up to 8 bits, uint16 above.
    full_well_e : float
        Most electrons that a pixel holds; `inf` for no limit.
    read_noise_e : float
        Standard deviation of the temporal dark noise, in electrons, normal; sigma_d of EMVA 1288 where no pixel has
        telegraph noise (`temporal_dark_noise_e`).
    dark_current_e_per_s : float
        Mean electrons per second without light, of pixels that are not hot, at `dark_current_stated_c`.
    prnu : float
        Photo response non-uniformity: standard deviation of the relative response over the pixels, normal.
    dsnu_e : float
        Dark signal non-uniformity: standard deviation of the fixed offset over the pixels, in electrons, normal.
    hot_pixel_fraction : float
        Share of pixels that are hot, from 0 to 1.
    hot_pixel_dark_e_per_s : float
        Dark current of a hot pixel, in place of the usual one, at `dark_current_stated_c`.
    black_level_dn : float
        Grey levels added to every pixel.
    quantise : bool
        Whether counts are rounded and clipped. If not they are float32, and may lie below 0 or above full scale.
    shot_noise : bool
        Whether the electrons of a pixel follow a Poisson law. If not they are its mean.
    polarised : bool
        Whether a linear polariser stands in front; without one, two independent speckle patterns add.
    pixel_over_grain : float
        Width of a pixel divided by that of a speckle grain, if the pixel is to average over its area; 0 for a
        pixel that samples a point. Above 0 it is 1e-3 at least: a pixel that is smaller has, but for its neighbours,
        the light of a point. Where the device's optics hold lengths it is 0: these say it (`Optics`).
    shutter : {"global", "rolling"}
        "rolling": each row of the region that is read begins its exposure a `row_time_s` after the one before it, so
        that one pattern on all rows takes readout and exposure, and not the longer of the two.
    dsnu_row_e, dsnu_column_e : float
        Standard deviation, over rows and over columns, of an offset that all pixels of one share, in electrons, normal;
        `dsnu_e` is what is left from pixel to pixel. Their squares add up.
    prnu_row, prnu_column : float
        The same of the relative response, beside `prnu`.
    dark_current_spread_e_per_s : float
        Standard deviation of the dark current over the pixels, in electrons per second at `dark_current_stated_c`:
        dark signal non-uniformity that grows with the exposure. Log-normal about the mean `dark_current_e_per_s`, as a
        dark current is positive and has a tail to the right (rates of generation with a spread of activation energies);
        at most 1 000 times that mean, and without effect where it is 0. Hot pixels are beside it.
    dark_current_stated_c : float
        Temperature at which the dark currents and their spread are stated, in degrees Celsius.
    temperature_c : float
        Temperature of the sensor in degrees Celsius.
    dark_current_doubling_k : float
        Rise of the temperature that doubles every dark current, in kelvin; `inf` for one that does not depend on it.
    nonlinearity : float
        Integral non-linearity: the largest deviation of the level from the straight line between the ends of the scale,
        as a share of the scale, positive above the line. It is halfway, of a parabola (`response_e`).
    telegraph_fraction : float
        Share of pixels with random telegraph noise, from 0 to 1: a trap that is empty or full, in equal parts of the
        time. Correlated double sampling reads the difference of two moments: 0 in half of the frames, plus and minus
        the amplitude in a quarter each.
    telegraph_e : float
        Mean amplitude of such a pixel in electrons; amplitudes are exponential over the pixels.
    lag : float
        Share of the electrons of a frame that are read with the next one. A linear transform by intensities gets
        smaller by half as much again, and warns from .05 on; dark frames and flat fields show nothing of it.
    stated_wavelength_m : float
        Wavelength for which `quantum_efficiency` is stated; 0 where that is not said. Light of another one, by more
        than 5 %, is told (`opusim.Device.wavelength_doubts`). It changes no frame.
    qe_wavelengths_m, qe_values : tuple of float
        A curve of the quantum efficiency: rising wavelengths, and the value at each, with lines between them. In a
        device `quantum_efficiency` is then that of the curve at the laser's wavelength, which must lie on it.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not of the kind or in the range named.

    Notes
    -----
    For a pixel with mu_p mean photons, response q = quantum_efficiency (1 + prnu w + its row's and column's), dark
    current d and offset b, all fixed, exposed for t seconds::

        n  = min(Poisson(q mu_p + d t), full_well_e)
        DN = clip(rint(black_level_dn + gain_dn_per_e (R(n) + b + read_noise_e w' + A s)), 0, 2**bits - 1)

    with `response_e` as R, and the amplitude A of the pixel's telegraph noise times its step s of -1, 0 or 1.
    (EMVA 1288 release 4, sections 2 to 4; rounding adds the variance 1/12 DN^2.) The Poisson law is exact for
    means below 12 electrons and within 1e-4 in total variation above. The noise of a pixel in a frame is
    a function of (seed, frame number, place of the pixel on the sensor) and of nothing else.

    Gain, efficiency, dark noise and full well are those of this law. A data sheet has slopes of the standard's lines,
    which a bent response tilts: by about 2 a, 4 a and 2 a of the gain, the efficiency and the dark noise
    (docs/physics.md, section 4). The presets have fields of which the lines give what the sheet has.

    Not modelled: a read noise that differs from pixel to pixel where there is no telegraph noise (the core of
    scientific CMOS has a width), noise in time that rows or columns share, light that a global shutter's storage sees
    (parasitic light sensitivity), and blooming.
    """

    stage: ClassVar[str] = "camera"
    stated: ClassVar[tuple[str, ...]] = ("quantum_efficiency",)

    name: str = parameter(kind="name")
    shape: tuple[int, int] = parameter(kind="shape")
    pixel_pitch_m: float = parameter(low=0.0, high=1e-2, low_open=True, unit="m", shown="µm")
    quantum_efficiency: float = parameter(low=0.0, high=1.0, low_open=True, learnable="odds")
    frame_rate_hz: float = parameter(low=0.0, high=1e9, low_open=True, unit="Hz")
    gain_dn_per_e: float = parameter(low=0.0, high=1e6, low_open=True, unit="DN per electron", learnable="scale")
    bits: int = parameter(low=2, high=16, unit="bits")
    full_well_e: float = parameter(
        math.inf, low=0.0, high=math.inf, low_open=True, unit="e", off=math.inf, imperfection="full well",
        source="saturation", learnable="scale",
    )  # fmt: skip
    read_noise_e: float = parameter(
        0.0, low=0.0, high=1e6, unit="e", off=0.0, imperfection="read noise", source="read noise", learnable="scale"
    )
    dark_current_e_per_s: float = parameter(
        0.0, low=0.0, high=1e9, unit="e per s", off=0.0, imperfection="dark current", source="dark current",
        learnable="scale",
    )  # fmt: skip
    prnu: float = parameter(0.0, low=0.0, high=1.0, off=0.0, imperfection="PRNU", source="PRNU")
    dsnu_e: float = parameter(0.0, low=0.0, high=1e6, unit="e", off=0.0, imperfection="DSNU", source="DSNU")
    hot_pixel_fraction: float = parameter(
        0.0, low=0.0, high=1.0, off=0.0, imperfection="hot pixels", source="dark current"
    )
    hot_pixel_dark_e_per_s: float = parameter(0.0, low=0.0, high=1e9, unit="e per s", learnable="scale")
    black_level_dn: float = parameter(
        0.0, low=0.0, high=65535.0, below="full_scale_dn", unit="DN", off=0.0, imperfection="black level",
        learnable="odds",
    )  # fmt: skip
    quantise: bool = parameter(True, off=False, imperfection="quantisation", source="quantisation")
    shot_noise: bool = parameter(True, off=False, imperfection="shot noise", source="shot noise")
    polarised: bool = parameter(True, off=True, imperfection="unpolarised light")
    pixel_over_grain: float = parameter(
        0.0, low=0.0, high=100.0, off=0.0, imperfection="pixel integration", source="pixel integration"
    )
    shutter: str = parameter(
        "global", kind="choice", choices=("global", "rolling"), off="global", imperfection="rolling shutter",
        before="global",
    )  # fmt: skip
    dsnu_row_e: float = parameter(
        0.0, low=0.0, high=1e6, unit="e", off=0.0, imperfection="row DSNU", source="DSNU", before=0.0
    )
    dsnu_column_e: float = parameter(
        0.0, low=0.0, high=1e6, unit="e", off=0.0, imperfection="column DSNU", source="DSNU", before=0.0
    )
    prnu_row: float = parameter(0.0, low=0.0, high=1.0, off=0.0, imperfection="row PRNU", source="PRNU", before=0.0)
    prnu_column: float = parameter(
        0.0, low=0.0, high=1.0, off=0.0, imperfection="column PRNU", source="PRNU", before=0.0
    )
    dark_current_spread_e_per_s: float = parameter(
        0.0, low=0.0, high=1e9, unit="e per s", off=0.0, imperfection="dark current spread", source="DSNU", before=0.0
    )
    dark_current_stated_c: float = parameter(25.0, low=-273.15, high=200.0, unit="°C", before=25.0)
    temperature_c: float = parameter(25.0, low=-273.15, high=200.0, unit="°C", before=25.0)
    dark_current_doubling_k: float = parameter(
        math.inf, low=0.0, high=math.inf, low_open=True, unit="K", off=math.inf, imperfection="sensor temperature",
        source="dark current", before=math.inf,
    )  # fmt: skip
    nonlinearity: float = parameter(
        0.0, low=-0.2, high=0.2, off=0.0, imperfection="non-linearity", source="non-linearity", before=0.0
    )
    telegraph_fraction: float = parameter(
        0.0, low=0.0, high=1.0, off=0.0, imperfection="telegraph noise", source="read noise", before=0.0
    )
    telegraph_e: float = parameter(0.0, low=0.0, high=1e6, unit="e", before=0.0)
    lag: float = parameter(0.0, low=0.0, high=0.5, off=0.0, imperfection="lag", source="lag", before=0.0)
    stated_wavelength_m: float = parameter(0.0, low=0.0, high=20e-6, unit="m", shown="nm", before=0.0)
    qe_wavelengths_m: tuple[float, ...] = parameter((), kind="list", low=100e-9, high=20e-6, unit="m", before=())
    qe_values: tuple[float, ...] = parameter((), kind="list", low=0.0, high=1.0, low_open=True, before=())

    def _check_together(self) -> None:
        """Check the size of the sensor, and the black level against the full scale."""
        if self.n_pixels > 2**32:
            raise ValueError(f"camera.shape is {self.shape!r}, but a sensor may have at most 2**32 pixels.")
        if self.black_level_dn >= self.full_scale_dn:
            raise ValueError(
                f"camera.black_level_dn is {self.black_level_dn!r}, but it must be below the full scale of "
                f"{self.full_scale_dn} that camera.bits = {self.bits} gives."
            )
        if self._doublings > _MOST_DOUBLINGS:
            raise ValueError(
                f"camera.temperature_c is {self.temperature_c!r}, but with camera.dark_current_doubling_k = "
                f"{self.dark_current_doubling_k!r} it may be at most "
                f"{self.dark_current_stated_c + _MOST_DOUBLINGS * self.dark_current_doubling_k:g}, "
                f"{_MOST_DOUBLINGS:g} doublings of the dark current above camera.dark_current_stated_c."
            )
        if self.dark_current_spread_e_per_s > _MOST_SPREAD * self.dark_current_e_per_s > 0:
            raise ValueError(
                f"camera.dark_current_spread_e_per_s is {self.dark_current_spread_e_per_s!r}, but it may be at most "
                f"{_MOST_SPREAD * self.dark_current_e_per_s:g}, {_MOST_SPREAD:g} times camera.dark_current_e_per_s."
            )
        if self.nonlinearity and self.scale_end_e < _LEAST_SCALE_END_E:
            raise ValueError(
                f"camera.nonlinearity is {self.nonlinearity!r}, but the scale of this camera ends at "
                f"{self.scale_end_e:.3g} e, by camera.full_well_e = {self.full_well_e!r} and camera.gain_dn_per_e = "
                f"{self.gain_dn_per_e!r}: it must be 0, or the scale must end at {_LEAST_SCALE_END_E:g} e or above."
            )
        at, values = self.qe_wavelengths_m, self.qe_values
        if len(at) != len(values):
            raise ValueError(
                f"camera.qe_wavelengths_m holds {len(at)} numbers, but camera.qe_values holds {len(values)}: there "
                "must be as many of one as of the other."
            )
        if len(at) == 1 or any(b <= a for a, b in zip(at, at[1:], strict=False)):
            raise ValueError(
                f"camera.qe_wavelengths_m is {list(at)}, but it must be at least two wavelengths that rise, or none."
            )
        if 0 < self.pixel_over_grain < LEAST_PIXEL_OVER_GRAIN:
            raise ValueError(
                f"camera.pixel_over_grain is {self.pixel_over_grain!r}, but it must be 0, for pixels that sample "
                f"points which are independent, or at least {LEAST_PIXEL_OVER_GRAIN:g}."
            )

    # ------------------------------------------------------------------ what follows from the fields

    def without_effect(self) -> tuple[str, ...]:
        """Return the fields that change no frame.

        Returns
        -------
        tuple of str
            The wavelength for which the quantum efficiency is stated.
        """
        return ("stated_wavelength_m",)

    def efficiency_at(self, wavelength_m: float) -> float:
        """Return the quantum efficiency for light of a wavelength.

        Parameters
        ----------
        wavelength_m : float
            Wavelength in metres.

        Returns
        -------
        float
            That of the curve; `quantum_efficiency` where there is none.

        Raises
        ------
        ValueError
            If the wavelength lies outside of the curve.
        """
        at = self.qe_wavelengths_m
        if not at:
            return self.quantum_efficiency
        if not at[0] <= wavelength_m <= at[-1]:
            raise ValueError(
                f"laser.wavelength_m is {wavelength_m!r}, but the quantum efficiency of the camera is known from "
                f"{at[0]!r} to {at[-1]!r} m only (camera.qe_wavelengths_m): the wavelength must lie there, or the "
                "curve reach as far."
            )
        k = max(1, sum(one < wavelength_m for one in at))
        share = (wavelength_m - at[k - 1]) / (at[k] - at[k - 1])
        return self.qe_values[k - 1] * (1 - share) + self.qe_values[k] * share

    @property
    def n_pixels(self) -> int:
        """Number of pixels of the sensor."""
        return self.shape[0] * self.shape[1]

    @property
    def row_time_s(self) -> float:
        """Time that one row takes to read, in seconds."""
        return 1.0 / (self.frame_rate_hz * self.shape[0])

    @property
    def full_scale_dn(self) -> int:
        """Highest count, 2**bits - 1."""
        return 2**self.bits - 1

    @property
    def full_scale_e(self) -> float:
        """Electrons on a pixel, above the black level, that give the highest count."""
        return (self.full_scale_dn - self.black_level_dn) / self.gain_dn_per_e

    @property
    def _doublings(self) -> float:
        """How often the dark current has doubled from the temperature at which it is stated."""
        return (self.temperature_c - self.dark_current_stated_c) / self.dark_current_doubling_k

    @property
    def dark_current_factor(self) -> float:
        """Every dark current at `temperature_c`, divided by that at `dark_current_stated_c`.

        2 to the power (T - T_ref) / T_d, as EMVA 1288 release 4 has it for the mean. Whole doublings are exact.
        """
        if self._doublings < -_LEAST_DOUBLINGS:
            return 0.0
        whole = math.floor(self._doublings)
        return math.ldexp(float(elementary.exp((self._doublings - whole) * _LN2)), whole)

    @property
    def mean_dark_current_e_per_s(self) -> float:
        """Mean dark current at `temperature_c` in electrons per second, of pixels that are not hot."""
        return self.dark_current_e_per_s * self.dark_current_factor

    @property
    def hot_dark_current_e_per_s(self) -> float:
        """Dark current of a hot pixel at `temperature_c` in electrons per second."""
        return self.hot_pixel_dark_e_per_s * self.dark_current_factor

    @property
    def dark_current_deviation_e_per_s(self) -> float:
        """Standard deviation of the dark current at `temperature_c`, of pixels that are not hot; 0 without a mean."""
        return self.dark_current_spread_e_per_s * self.dark_current_factor if self.dark_current_e_per_s else 0.0

    def mean_dark_e(self, exposure_s: float) -> float:
        """Return the electrons that a pixel gathers in the dark, averaged over ordinary and hot pixels.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Electrons, at `temperature_c`.
        """
        hot = self.hot_pixel_fraction
        return (self.mean_dark_current_e_per_s * (1 - hot) + self.hot_dark_current_e_per_s * hot) * exposure_s

    @property
    def temporal_dark_noise_e(self) -> float:
        """Root mean square over the pixels of the temporal dark noise in electrons: sigma_d of EMVA 1288.

        Telegraph noise of amplitude A has the variance A^2 / 2, and exponential amplitudes of the mean m have the mean
        square 2 m^2. What rounding adds is not in it, nor is the shot noise of the dark current.
        """
        return math.sqrt(self.read_noise_e**2 + self.telegraph_fraction * self.telegraph_e**2)

    @property
    def total_prnu(self) -> float:
        """Standard deviation of the relative response over all pixels: of rows, columns and pixels together."""
        return math.sqrt(self.prnu_row**2 + self.prnu_column**2 + self.prnu**2)

    def total_dsnu_e(self, exposure_s: float) -> float:
        """Return the standard deviation of the dark signal over all pixels that are not hot.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Electrons: offsets of rows, columns and pixels, and the spread of the dark current at `temperature_c`.
        """
        offsets = self.dsnu_row_e**2 + self.dsnu_column_e**2 + self.dsnu_e**2
        return math.sqrt(offsets + (self.dark_current_deviation_e_per_s * exposure_s) ** 2)

    @property
    def scale_end_e(self) -> float:
        """Electrons at the end of the scale: full well or highest count, whichever comes first."""
        return min(self.full_well_e, self.full_scale_e)

    def response_e(self, electrons: ArrayLike) -> NDArray[np.float64]:
        """Return the electrons that a linear sensor would need to be read as this one reads some.

        Parameters
        ----------
        electrons : array_like of float, any shape
            Charge after the full well.

        Returns
        -------
        ndarray of float64, shape of `electrons`
            Electrons: n (1 + 4 a (1 - n / E)) with a = `nonlinearity` and E = `scale_end_e`, a parabola through both
            ends of the scale, a E above the line between them at its middle. Beyond E a line with its slope there, as
            the parabola would turn back.
        """
        charge = checked_array("electrons", electrons, dtype=np.float64, finite=True)
        inside = np.minimum(charge, self.scale_end_e)
        bend = 4 * self.nonlinearity
        return inside * (1 + bend * (1 - inside / self.scale_end_e)) + (charge - inside) * (1 - bend)

    def response_slope(self, electrons: ArrayLike) -> NDArray[np.float64]:
        """Return the slope of `response_e`, by which a small noise of the charge is multiplied.

        Parameters
        ----------
        electrons : array_like of float, any shape
            Charge after the full well.

        Returns
        -------
        ndarray of float64, shape of `electrons`
            From 1 + 4 a without charge it goes straight to 1 - 4 a at `scale_end_e`, and stays there.
        """
        charge = checked_array("electrons", electrons, dtype=np.float64, finite=True)
        inside = np.minimum(charge, self.scale_end_e)
        return 1 + 4 * self.nonlinearity * (1 - 2 * inside / self.scale_end_e)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the counts: uint8 up to 8 bits, uint16 above, float32 if they are not rounded."""
        if not self.quantise:
            return np.dtype(np.float32)
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    def readout_s(self, n_rows: int) -> float:
        """Return the time that reading rows takes.

        Parameters
        ----------
        n_rows : int
            How many rows.

        Returns
        -------
        float
            Seconds.
        """
        return validation.integer("n_rows", n_rows, low=1, high=self.shape[0]) * self.row_time_s

    def pattern_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the least time for which a pattern must be shown, so that all rows see it and nothing else.

        Parameters
        ----------
        n_rows : int
            How many rows are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds: the longer of readout and exposure, which a global shutter has at once; their sum if it is rolling.
        """
        readout_s = self.readout_s(n_rows)
        return readout_s + exposure_s if self.shutter == "rolling" else max(readout_s, exposure_s)

    def next_shares(self, n_rows: int, exposure_s: float, frametime_s: float) -> NDArray[np.float64]:
        """Return the share of its exposure for which each row sees the next pattern.

        Parameters
        ----------
        n_rows : int
            How many rows are read.
        exposure_s : float
            Exposure in seconds.
        frametime_s : float
            Time from one pattern to the next in seconds, at least the longer of readout and exposure.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            From 0 to 1: row r is exposed from r `row_time_s` on. Zeros for a global shutter.
        """
        if self.shutter != "rolling":
            return np.zeros(n_rows)
        late_s = np.arange(n_rows) * self.row_time_s + exposure_s - frametime_s
        return np.clip(late_s / exposure_s, 0.0, 1.0)

    def left_behind(self, before: Camera, given: Collection[str]) -> list[str]:
        """Say which fields stayed as they were though others, that they belong to, have changed.

        Parameters
        ----------
        before : Camera
            What this camera was made from.
        given : collection of str
            Names of the fields that were given anew; one of the same value as before is one that is meant.

        Returns
        -------
        list of str
            Sentences, which name the values that would fit.
        """
        result = []
        was, now = before.full_scale_e / before.full_well_e, self.full_scale_e / self.full_well_e
        if "gain_dn_per_e" not in given and self.quantise and was and now and not 1 / _APART < now / was < _APART:
            changed = "bits" if self.bits != before.bits else "full_well_e"
            # The black level goes with the counts, as the gain does, unless it was given.
            factor = self.full_scale_dn / before.full_scale_dn if "black_level_dn" not in given else 1.0
            black_dn = self.black_level_dn * factor
            gain = (self.full_scale_dn - black_dn) / (was * self.full_well_e)
            black = f" and camera.black_level_dn = {black_dn:.4g}" if black_dn != self.black_level_dn else ""
            result.append(
                f"camera.{changed} is {getattr(self, changed):g}, but camera.gain_dn_per_e stays "
                f"{self.gain_dn_per_e:g}, which belongs to {before.text(changed)}: the highest count is reached at "
                f"{self.full_scale_e:,.0f} electrons, {100 * now:.0f} % of the full well, where it was "
                f"{100 * was:.0f} %. camera.gain_dn_per_e = {gain:.4g}{black} would keep that."
            )
        spread, current = self.dark_current_spread_e_per_s, self.dark_current_e_per_s
        belongs = "dark_current_e_per_s" in given and "dark_current_spread_e_per_s" not in given
        if spread and not current and not belongs:
            result.append(
                f"camera.dark_current_spread_e_per_s is {spread:g}, but has no effect, because "
                "camera.dark_current_e_per_s is 0: a current that is never negative and 0 in the mean is 0 everywhere."
            )
        elif spread and current and belongs and before.dark_current_e_per_s:
            factor = current / before.dark_current_e_per_s
            share, share_before = (100 * spread / mean for mean in (current, before.dark_current_e_per_s))
            if not 1 / _APART < factor < _APART:
                result.append(
                    f"camera.dark_current_e_per_s is {current:g}, but camera.dark_current_spread_e_per_s stays "
                    f"{spread:g}, which belongs to {before.text('dark_current_e_per_s')}: it is "
                    f"{share:,.0f} % of the mean, where it was {share_before:,.0f} %. "
                    f"camera.dark_current_spread_e_per_s = {spread * factor:.4g} would keep that."
                )
        rows, rows_before = self.shape[0], before.shape[0]
        if "frame_rate_hz" not in given and abs(rows / rows_before - 1) > _ROWS_APART:
            fitting_hz = before.frame_rate_hz * rows_before / rows
            result.append(
                f"camera.shape has {rows} rows, but camera.frame_rate_hz stays {self.frame_rate_hz:g}, that of "
                f"{rows_before} rows: a row is read in {1e6 * self.row_time_s:.3g} µs, where it was "
                f"{1e6 * before.row_time_s:.3g} µs. camera.frame_rate_hz = {fitting_hz:.4g} would keep that."
            )
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values.

        Returns
        -------
        dict
            A value for each field, by its name.
        """
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def evolve(self, **changes: Any) -> Camera:
        """Return a camera with some fields changed.

        Parameters
        ----------
        **changes
            New values of fields, by name.

        Returns
        -------
        Camera
            The changed camera; this one stays as it is.
        """
        return replace(self, **changes)

    def params(self, *, electrons: bool = False) -> NDArray[np.float32]:
        """Return the numbers that the kernels of ``opusim.device.camera_kernels`` need.

        Parameters
        ----------
        electrons : bool, optional
            Whether the kernels are to stop after the full well and write electrons.

        Returns
        -------
        ndarray of float32, shape (12,)
            In the kernels' order.
        """
        from . import camera_kernels as place

        values = np.empty(place.N_PARAMS, dtype=np.float32)
        with np.errstate(over="ignore"):  # above 3e38 e a well, or the end of a scale, is infinite
            values[place.FULL_WELL_E], values[place.SCALE_END_E] = self.full_well_e, self.scale_end_e
        values[place.READ_NOISE_E] = self.read_noise_e
        values[place.GAIN_DN_PER_E] = self.gain_dn_per_e
        values[place.BLACK_LEVEL_DN] = self.black_level_dn
        values[place.FULL_SCALE_DN] = self.full_scale_dn
        values[place.SHOT_NOISE] = self.shot_noise
        values[place.QUANTISE] = self.quantise
        values[place.ELECTRONS] = electrons
        values[place.FIRST_SLOPE] = 1 + 4 * self.nonlinearity
        values[place.BEND_PER_E] = -4 * self.nonlinearity / self.scale_end_e
        values[place.LAST_SLOPE] = 1 - 4 * self.nonlinearity
        return values

    # ------------------------------------------------------------------ fixed patterns

    def maps(self, seed: int, pixels: ArrayLike | None = None) -> SensorMaps:
        """Return what is fixed about each pixel.

        Parameters
        ----------
        seed : int
            Seed of the device: names one sensor of this model.
        pixels : array_like of int, shape (n,), optional
            Raster index (row * columns + column) of each pixel on the sensor. All pixels if left out.

        Returns
        -------
        SensorMaps
            The values of a pixel depend on `seed` and its raster index only, what its row and its column add on `seed`
            and their numbers.

        Raises
        ------
        TypeError, ValueError
            If `pixels` is not a list of places on the sensor.
        """
        place = self._places(pixels)
        # A response cannot be negative; PRNU reaches that only at tens of per cent.
        gain = np.full(place.size, self.quantum_efficiency, dtype=np.float32)
        response = self._unevenness(seed, "PRNU", place, (self.prnu, self.prnu_row, self.prnu_column))
        if response is not None:
            gain *= np.maximum(1 + response, 0)
        offset = self._unevenness(seed, "DSNU", place, (self.dsnu_e, self.dsnu_row_e, self.dsnu_column_e))
        if offset is None:
            offset = np.zeros(place.size, dtype=np.float32)
        dark = self._dark_currents(seed, place)
        if self.hot_pixel_fraction:
            hot = rng.uniforms_at(rng.stream_key(seed, "camera hot pixels"), place) < self.hot_pixel_fraction
            dark[hot] = self.hot_dark_current_e_per_s
        return SensorMaps(
            pixels=place, gain=gain, dark_e_per_s=dark, offset_e=offset, telegraph_e=self._amplitudes(seed, place)
        )

    def _unevenness(
        self, seed: int, purpose: str, place: NDArray[np.uint32], spreads: tuple[float, float, float]
    ) -> NDArray[np.float32] | None:
        """Return the sum of what pixels, their rows and their columns have each, normal; None if nothing has any."""
        by_pixel, by_row, by_column = spreads
        total = None
        if by_pixel:
            total = np.float32(by_pixel) * rng.normals_at(rng.stream_key(seed, f"camera {purpose}"), place)
        lines = ((by_row, "row", np.floor_divide), (by_column, "column", np.remainder))
        for spread, kind, number_of in lines:
            if spread:
                key = rng.stream_key(seed, f"camera {kind} {purpose}")
                part = np.float32(spread) * _line_normals(key, number_of(place.astype(np.int64), self.shape[1]))
                total = part if total is None else total + part
        return total

    def _dark_currents(self, seed: int, place: NDArray[np.uint32]) -> NDArray[np.float32]:
        """Return the dark current of each pixel, as if none were hot."""
        mean = self.mean_dark_current_e_per_s
        if not (mean and self.dark_current_spread_e_per_s):
            return np.full(place.size, mean, dtype=np.float32)
        # Of a log-normal number: exp(s w - s^2 / 2) has the mean 1, and the variance exp(s^2) - 1.
        relative = self.dark_current_spread_e_per_s / self.dark_current_e_per_s
        square = float(elementary.log(1 + relative * relative))
        normal = rng.normals_at(rng.stream_key(seed, "camera dark current"), place)
        current = mean * elementary.exp(math.sqrt(square) * normal.astype(np.float64) - square / 2)
        return np.asarray(current, dtype=np.float32)

    def _amplitudes(self, seed: int, place: NDArray[np.uint32]) -> NDArray[np.float32]:
        """Return the amplitude of each pixel's telegraph noise, 0 where it has none; empty if no pixel has any."""
        if not (self.telegraph_fraction and self.telegraph_e):
            return _NO_TELEGRAPH
        has = rng.uniforms_at(rng.stream_key(seed, "camera telegraph pixels"), place) < self.telegraph_fraction
        if not has.any():
            return _NO_TELEGRAPH
        # Drawn for these alone; a larger share leaves those that have it as they are.
        uniform = rng.uniforms_at(rng.stream_key(seed, "camera telegraph amplitudes"), place[has])
        amplitude = np.zeros(place.size, dtype=np.float32)
        amplitude[has] = -self.telegraph_e * elementary.log(uniform)
        return amplitude

    def _places(self, pixels: ArrayLike | None) -> NDArray[np.uint32]:
        """Return raster indices as uint32 after checking them."""
        if pixels is None:
            return np.arange(self.n_pixels, dtype=np.uint32)
        array = checked_array("pixels", pixels, "whole numbers, the raster indices of pixels", kinds="iu")
        if array.ndim != 1:
            raise TypeError(
                f"pixels is {array.dtype} of shape {array.shape}, but it must be a list of whole numbers "
                "(raster indices of pixels)."
            )
        if array.size and (array.min() < 0 or array.max() >= self.n_pixels):
            raise ValueError(
                f"pixels reaches from {array.min()} to {array.max()}, but the raster indices of this sensor go from 0 "
                f"to {self.n_pixels - 1}."
            )
        return np.ascontiguousarray(array, dtype=np.uint32)

    # ------------------------------------------------------------------ exposure

    @staticmethod
    def noise_key(seed: int) -> rng.Key:
        """Return the key of the temporal noise, as `expose` uses it.

        Parameters
        ----------
        seed : int
            Seed of the device.

        Returns
        -------
        tuple of numpy.uint32
            The key of the generator.
        """
        return rng.key_of(seed, _NOISE)

    def expose(
        self,
        photons: ArrayLike,
        *,
        exposure_s: float,
        seed: int,
        maps: SensorMaps,
        frame0: int = 0,
        threads: int = 1,
    ) -> NDArray[Any]:
        """Return the counts of a stack of frames.

        Parameters
        ----------
        photons : array_like of float32, shape (n_frames, n_pixels) or (n_pixels,)
            Mean photons that fall on each pixel in the exposure, finite and at least 0. Double precision is
            rounded to single.
        exposure_s : float
            Exposure in seconds, for the dark current.
        seed : int
            Seed of the device: names its noise.
        maps : SensorMaps
            Of the pixels in the columns of `photons`, from `maps`.
        frame0 : int, optional
            Number of the first frame; frame i has number frame0 + i. Frames of one number share their noise.
        threads : int, optional
            Threads to use; the counts do not depend on it.

        Returns
        -------
        ndarray of `dtype`, shape of `photons`
            The counts.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of the kind named.
        """
        return self._develop(photons, self.params(), self.dtype, exposure_s, seed, maps, frame0, threads)

    def electrons(
        self,
        photons: ArrayLike,
        *,
        exposure_s: float,
        seed: int,
        maps: SensorMaps,
        frame0: int = 0,
        threads: int = 1,
    ) -> NDArray[np.float32]:
        """Return the electrons in each pixel at the end of the exposure, of the frames that `expose` gives.

        Parameters
        ----------
        photons : array_like of float32, shape (n_frames, n_pixels) or (n_pixels,)
            Mean photons that fall on each pixel in the exposure, finite and at least 0.
        exposure_s : float
            Exposure in seconds, for the dark current.
        seed : int
            Seed of the device: names its noise.
        maps : SensorMaps
            Of the pixels in the columns of `photons`, from `maps`.
        frame0 : int, optional
            Number of the first frame.
        threads : int, optional
            Threads to use; the result does not depend on it.

        Returns
        -------
        ndarray of float32, shape of `photons`
            After shot noise and full well, before non-linearity, read noise and offset.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of the kind named.
        """
        dtype = np.dtype(np.float32)
        return self._develop(photons, self.params(electrons=True), dtype, exposure_s, seed, maps, frame0, threads)

    def _develop(
        self,
        photons: ArrayLike,
        params: NDArray[np.float32],
        dtype: np.dtype[Any],
        exposure_s: float,
        seed: int,
        maps: SensorMaps,
        frame0: int,
        threads: int,
    ) -> NDArray[Any]:
        """Check the arguments of `expose` and run the kernel."""
        from . import camera_kernels

        light = _checked_photons(photons, maps)
        exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=1e6)
        frame0 = validation.integer("frame0", frame0, low=0, high=_MAX_FRAME)
        threads = validation.integer("threads", threads, low=1)
        stack = np.atleast_2d(light)
        out = np.empty(stack.shape, dtype=dtype)
        key0, key1 = self.noise_key(seed)
        n_blocks = -(-maps.pixels.size // camera_kernels.BLOCK)
        work = partial(
            camera_kernels.develop_frames,
            stack,
            maps.gain,
            maps.dark_e(exposure_s),
            maps.offset_e,
            maps.telegraph_e,
            maps.pixels,
            np.uint64(frame0),
            key0,
            key1,
            params,
            out,
        )
        parallel.over_ranges(work, stack.shape[0] * n_blocks, threads)
        return out.reshape(light.shape)


_NO_TELEGRAPH = np.empty(0, dtype=np.float32)
"""Amplitudes where no pixel has telegraph noise: one array for all, which takes no memory and no time."""


def _line_normals(key: rng.Key, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the normal number of each row, or column, by its number: drawn once for each of them."""
    if not numbers.size:
        return np.empty(0, dtype=np.float32)
    first = numbers.min()
    n = int(numbers.max() - first) + 1
    if n > numbers.size:  # pixels far from each other
        return rng.normals_at(key, numbers)
    return rng.normals(key, n, int(first))[numbers - first]


@short_repr
@dataclass(frozen=True)
class SensorMaps:
    """What is fixed about each of a list of pixels, from `Camera.maps`.

    Parameters
    ----------
    pixels : ndarray of uint32, shape (n,)
        Raster index of each pixel on the sensor.
    gain : ndarray of float32, shape (n,)
        Electrons per photon: quantum efficiency times the pixel's relative response.
    dark_e_per_s : ndarray of float32, shape (n,)
        Dark current in electrons per second, hot pixels included.
    offset_e : ndarray of float32, shape (n,)
        Fixed offset in electrons, of mean 0: of the pixel, its row and its column together.
    telegraph_e : ndarray of float32, shape (n,) or (0,)
        Amplitude of the pixel's telegraph noise in electrons, 0 where it has none; empty if no pixel has any.
    """

    pixels: NDArray[np.uint32]
    gain: NDArray[np.float32]
    dark_e_per_s: NDArray[np.float32]
    offset_e: NDArray[np.float32]
    telegraph_e: NDArray[np.float32] = field(default_factory=lambda: _NO_TELEGRAPH)

    def __post_init__(self) -> None:
        """Bring the maps into the form in which kernels read them: of their types, in line in memory.

        Raises
        ------
        ValueError
            If a map has another length than `pixels`.
        """
        n = np.size(self.pixels)
        for name in ("pixels", "gain", "dark_e_per_s", "offset_e", "telegraph_e"):
            kind = np.uint32 if name == "pixels" else np.float32
            values = np.ascontiguousarray(getattr(self, name), dtype=kind)  # itself, where it is so
            if values.size != n and not (name == "telegraph_e" and not values.size):
                raise ValueError(f"{name} has {values.size} values, but pixels has {n}: it must have one for each.")
            object.__setattr__(self, name, values)

    def dark_e(self, exposure_s: float) -> NDArray[np.float32]:
        """Return the mean dark electrons of each pixel in an exposure.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        ndarray of float32, shape (n,)
            Electrons, with the spread of the dark current, the temperature and hot pixels.
        """
        return self.dark_e_per_s * np.float32(exposure_s)

    def __len__(self) -> int:
        """Return the number of pixels."""
        return self.pixels.size


# Pixels of a region within a part of the sensor, several times what a calibration of phases needs.
_LEAST_WITHIN = 256


def middle_of_sensor(
    shape: tuple[int, int], n_pixels: int, *, full_width: bool, within: tuple[int, int, int, int] | None = None
) -> tuple[int, int, int, int]:
    """Return the rectangle in the middle of a sensor that holds at least `n_pixels`.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the sensor, or of the part that may be read.
    n_pixels : int
        Pixels wanted.
    full_width : bool
        Rows of full width, which are the fastest to read; else a rectangle of the proportions of `shape`.
    within : tuple of int, optional
        (row, column, n_rows, n_columns) that takes the place of the sensor: the middle, the width and the proportions
        are then its own. The region has 256 pixels at least, as calibrations need some tens that do not saturate; it
        is the whole rectangle where that has fewer than are wanted.

    Returns
    -------
    tuple of int
        (row, column, n_rows, n_columns), by the formulas of lightonml 1.4.3.
    """
    if within is not None:
        top, left, height, width = within
        rows, columns = middle_of_sensor((height, width), max(n_pixels, _LEAST_WITHIN), full_width=full_width)[2:]
        # A square root may be rounded up; and no more than all of it.
        rows, columns = min(rows, height), min(columns, width)
        return top + height // 2 - rows // 2, left + width // 2 - columns // 2, rows, columns
    height, width = shape
    if full_width:
        rows = math.ceil(n_pixels / width)
        return int(height / 2 - rows / 2), 0, rows, width
    ratio = width / height
    side = math.sqrt(n_pixels / ratio)
    columns, rows = math.ceil(ratio * side), math.ceil(side)
    return height // 2 - rows // 2, width // 2 - columns // 2, rows, columns


def _checked_photons(photons: ArrayLike, maps: SensorMaps) -> NDArray[np.float32]:
    """Return photons as contiguous float32 after checking shape and values."""
    if not isinstance(maps, SensorMaps):
        raise TypeError(f"maps is {maps!r} ({type(maps).__name__}), but it must be what Camera.maps returns.")
    array = checked_array("photons", photons)
    n = maps.pixels.size
    if array.ndim not in (1, 2) or array.shape[-1] != n:
        raise ValueError(
            f"photons has shape {array.shape}, but it must be ({n},) or (frames, {n}): one for each pixel of maps."
        )
    with np.errstate(over="ignore"):  # what overflows single precision is refused below, with its sentence
        # Aligned and writeable, so that the kernel is compiled for one kind of array only.
        array = np.require(array, np.float32, ["C", "A", "W"])
    if array.size:
        low, high = array.min(), array.max()
        if not (low >= 0 and high < np.inf):
            raise ValueError(f"photons reaches from {low:g} to {high:g}, but each value must be finite and at least 0.")
    return array
