"""The camera by the photon-transfer method of EMVA standard 1288, from dark frames and flat fields."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import validation
from opusim.base.short_repr import short_repr
from opusim.bench.protocol import Exposing, Lamp, LitCamera, checked_bench, elapsed_s
from opusim.bench.region import AnyRoi, Roi
from opusim.bench.returned import flat_frames
from opusim.calibration.algorithms.camera_statistics import (
    FrameStatistics,
    gain_fit,
    gather,
    hot_pixels,
    line,
    linearity,
    proportional,
    root_interval,
    spatial_variance,
)
from opusim.calibration.contents import held
from opusim.calibration.on_bench import dark_frames

from .base import EXPOSURE, Procedure, Progress, Row, checked_confidence

if TYPE_CHECKING:
    from opusim.calibration.session import Calibration
    from opusim.device.record import Device

__all__ = ["CameraRecord", "characterise_camera"]

Interval = tuple[float, float]

# EMVA 1288 release 4, 6.6: the gain from levels up to 70 % of saturation; 6.7: linearity from 5 % to 95 %.
_GAIN_TO, _LINEAR_FROM, _LINEAR_TO = 0.70, 0.05, 0.95
# EMVA 1288, 6.5: below a dark variance of .24 DN^2 rounding rules, and the read noise is only known to be below .4 DN.
_LEAST_DARK_VARIANCE, _LEAST_READ_NOISE_DN = 0.24, 0.40
_DARK_EXPOSURES = 6
# Light from which the search for saturation starts, and at which it ends, in photons per pixel.
_FAINTEST, _BRIGHTEST = 4.0, 1e9
# A pixel that far above 0, in standard deviations, is not clipped.
_ABOVE_ZERO = 3.0
_LEAST_SIGNIFICANCE = 3.0
_LEAST_PIXELS = 64
# Where a camera that never clips is measured: shot noise of 1 %.
_UNCLIPPED_PHOTONS = 1e4


@short_repr
@dataclass(frozen=True)
class CameraRecord:
    """A camera's figures with their confidence intervals, and the photon-transfer curve they come from.

    Parameters
    ----------
    gain_dn_per_e, gain_interval : float, tuple of float
        System gain K in DN per electron.
    quantum_efficiency, quantum_efficiency_interval : float, tuple of float
        Electrons per photon.
    read_noise_e, read_noise_interval : float, tuple of float
        Temporal dark noise of one frame at `exposure_s` in electrons, rounding and dark current's shot noise taken off.
    read_noise_dn : float
        The same in DN.
    dark_current_e_per_s, dark_current_interval : float, tuple of float
        Dark current of ordinary pixels, in electrons per second.
    saturation_e, saturation_interval : float, tuple of float
        Electrons at which a pixel saturates, the dark signal not counted; inf if it does not.
    saturation_by : str
        "full scale": counts end before the full well is reached, which then is at least `saturation_e`;
        "full well": the well is full before counts end; "none".
    saturation_dn : float
        Level of a saturated pixel in DN.
    linearity_error, linearity_interval : float, tuple of float
        Mean deviation of the level from a straight line, relative to it, from 5 % to 95 % of saturation, as a share.
    prnu, prnu_interval : float, tuple of float
        Standard deviation of the relative response over the pixels, as a share.
    dsnu_e, dsnu_interval : float, tuple of float
        Standard deviation of the dark level over the pixels, in electrons, at `exposure_s`.
    dsnu_dn : float
        The same in DN.
    dark_level_dn : float
        Mean level without light at `exposure_s`, in DN.
    dark_clipped_share : float
        Share of dark counts that are 0. Above some tenths of a per cent DSNU and read noise come out too small, and the
        black level should be raised.
    hot_pixels : ndarray of int64, shape (n, 2)
        (row, column) on the sensor of pixels whose dark current is far above that of the others.
    confidence : float
        Probability with which each interval alone holds the true value.
    exposure_s : float
        Exposure of the flat fields, in seconds.
    roi : tuple of int
        Region measured: row, column, n_rows, n_columns.
    frames_per_level : int
        Frames of each level.
    photons : ndarray of float64, shape (n,)
        Mean photons per pixel of each level; 0 first.
    level_dn : ndarray of float64, shape (n,)
        Mean level of each, dark level included.
    variance_dn2 : ndarray of float64, shape (n,)
        Temporal variance of each.
    dark_exposures_s, dark_levels_dn : ndarray of float64, shape (m,)
        Mean dark level of ordinary pixels against exposure.
    elapsed_s : float
        Device time at the end, in seconds.
    """

    gain_dn_per_e: float = held(low=0.0, low_open=True)
    gain_interval: Interval = held(shape=(2,))
    quantum_efficiency: float = held()
    quantum_efficiency_interval: Interval = held(shape=(2,))
    read_noise_e: float = held(low=0.0)
    read_noise_interval: Interval = held(shape=(2,))
    read_noise_dn: float = held(low=0.0)
    dark_current_e_per_s: float = held()
    dark_current_interval: Interval = held(shape=(2,))
    saturation_e: float = held(inf=True)
    saturation_interval: Interval = held(shape=(2,), inf=True)
    saturation_by: str = held(choices=("full scale", "full well", "none"))
    saturation_dn: float = held(inf=True)
    linearity_error: float = held()
    linearity_interval: Interval = held(shape=(2,))
    prnu: float = held()
    prnu_interval: Interval = held(shape=(2,))
    dsnu_e: float = held(low=0.0)
    dsnu_interval: Interval = held(shape=(2,))
    dsnu_dn: float = held(low=0.0)
    dark_level_dn: float = held()
    dark_clipped_share: float = held(low=0.0, high=1.0)
    hot_pixels: np.ndarray = held(low=0.0, shape=("hot", 2), of="whole")
    confidence: float = held(low=0.0, high=1.0)
    exposure_s: float = held(low=0.0, low_open=True)
    roi: Roi = held(low=0.0, shape=(4,), of="whole")
    frames_per_level: int = held(low=1.0, of="whole")
    photons: np.ndarray = held(low=0.0, shape=("levels",), of="number")
    level_dn: np.ndarray = held(shape=("levels",), of="number")
    variance_dn2: np.ndarray = held(shape=("levels",), of="number")
    dark_exposures_s: np.ndarray = held(low=0.0, low_open=True, shape=("darks",), of="number")
    dark_levels_dn: np.ndarray = held(shape=("darks",), of="number")
    elapsed_s: float = held()


def characterise_camera(
    bench: LitCamera,
    *,
    roi: AnyRoi | None = None,
    exposure_s: float = 400e-6,
    levels: int = 20,
    frames_per_level: int = 8,
    dark_frames_per_exposure: int = 32,
    longest_dark_s: float = 1.0,
    confidence: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> CameraRecord:
    """Measure a camera's gain, noise, dark current, saturation, linearity and fixed patterns.

    Parameters
    ----------
    bench : LitCamera
        The bench, with a `flat_field` of known light.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default. Intervals shrink as the root of its pixels.
    exposure_s : float, optional
        Exposure of every frame but the long dark ones, in seconds. The light is changed, not the exposure.
    levels : int, optional
        Levels of light, at equal distances up to 95 % of saturation; EMVA 1288 asks for 50, from 8 on it works.
    frames_per_level : int, optional
        Frames of each level, at least 2.
    dark_frames_per_exposure : int, optional
        Dark frames of each of 6 exposures, at least 2.
    longest_dark_s : float, optional
        Longest exposure in the dark, in seconds; the dark current shows in it.
    confidence : float, optional
        Probability with which each interval is to hold the true value.
    progress : callable, optional
        Told (done, total) levels.

    Returns
    -------
    CameraRecord
        What was found, with intervals.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, the flat field gives no light or is saturated throughout, or its noise
        does not grow with the light.

    Notes
    -----
    EMVA 1288 release 4. Temporal variance from the differences of frames, with the change of their means taken off
    (eq. 18, for two frames); gain K as the slope of the variance against the level up to 70 % of saturation (6.6),
    here a weighted fit; read noise from sigma_y.dark^2 = K^2 sigma_d^2 + 1/12 DN^2; spatial variance of mean images
    with the temporal part removed (8.2), after a second-degree surface (an uneven lamp) is taken off; DSNU from dark
    frames, PRNU from the level nearest to half of saturation. Unlike the standard, PRNU is found from the difference
    of bright and dark mean images: the same expected value, but the dark pattern cancels in each pixel.

    The read noise is found from pixels that stand well above 0 in the dark, so that clipping does not bend it: choosing
    pixels by their mean leaves their variance as it is.
    """
    rectangle = _checked_roi(bench, roi)
    validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
    validation.integer("levels", levels, low=8, high=10_000)
    validation.integer("frames_per_level", frames_per_level, low=2)
    validation.integer("dark_frames_per_exposure", dark_frames_per_exposure, low=2)
    validation.number("longest_dark_s", longest_dark_s, low=2 * exposure_s, high=3600.0)
    quantile = checked_confidence(confidence)
    dark_exposures = np.geomspace(exposure_s, longest_dark_s, _DARK_EXPOSURES)
    tell = progress or (lambda done, total: None)
    total = levels + _DARK_EXPOSURES + 1

    darks = []
    for i, time_s in enumerate(dark_exposures):
        darks.append(gather(dark_frames(bench, float(time_s), dark_frames_per_exposure, rectangle)))
        tell(i + 1, total)
    dark, ordinary = darks[0], ~hot_pixels(darks[0], darks[-1])
    dark_levels = np.array([d.mean_image[ordinary].mean() for d in darks])

    top = _saturation(bench, exposure_s, rectangle, dark)
    tell(_DARK_EXPOSURES + 1, total)
    if dark_levels[-1] > (dark.mean + top.level_dn) / 2:
        raise ValueError(
            f"longest_dark_s is {longest_dark_s!r}, but in that time the dark current alone fills half of the "
            f"range, to {dark_levels[-1]:.4g} DN: it must be shorter."
        )
    photons = top.photons * _LINEAR_TO * np.arange(1, levels + 1) / levels
    lit = []
    for i, light in enumerate(photons):
        frames = flat_frames(bench, float(light), exposure_s=exposure_s, n_frames=frames_per_level, roi=rectangle)
        lit.append(gather(frames))
        tell(_DARK_EXPOSURES + 2 + i, total)

    curve = _Curve(photons, photons / top.photons, lit, dark, ordinary, dark_exposures, dark_levels, darks, quantile)
    return CameraRecord(
        **_temporal(curve, top),
        **_patterns(curve),
        dark_level_dn=dark.mean,
        dark_clipped_share=dark.zero_share if dark.integers else 0.0,
        hot_pixels=np.argwhere(~ordinary) + np.array(rectangle[:2]),
        confidence=float(confidence),
        exposure_s=float(exposure_s),
        roi=rectangle,
        frames_per_level=frames_per_level,
        photons=np.concatenate([[0.0], photons]),
        level_dn=np.array([s.mean for s in (dark, *lit)]),
        variance_dn2=np.array([s.variance for s in (dark, *lit)]),
        dark_exposures_s=dark_exposures,
        dark_levels_dn=dark_levels,
        elapsed_s=elapsed_s(bench),
    )


@dataclass(frozen=True)
class _Top:
    """Where the camera ends: level in DN, photons that reach it, and what ends it."""

    level_dn: float
    photons: float
    by: str


@dataclass(frozen=True)
class _Curve:
    """The measurements, and the gain that follows from them."""

    photons: np.ndarray
    share: np.ndarray  # of saturation
    lit: list[FrameStatistics]
    dark: FrameStatistics
    ordinary: np.ndarray
    dark_exposures: np.ndarray
    dark_levels: np.ndarray
    darks: list[FrameStatistics]
    quantile: float

    @property
    def signal(self) -> np.ndarray:
        return np.array([s.mean for s in self.lit]) - self.dark.mean

    def gain(self) -> tuple[float, float, float]:
        """System gain in DN per electron, its standard error, and its derivative by the dark variance."""
        used = self.share <= _GAIN_TO
        variance, dof = np.array([s.variance for s in self.lit]), np.array([s.dof for s in self.lit])
        gain, error, follows = gain_fit(
            self.signal[used], variance[used], dof[used], *self.dark.variance_above(_ABOVE_ZERO)
        )
        if not gain > _LEAST_SIGNIFICANCE * error:
            raise ValueError(
                "The noise of the flat field does not grow with its light, so the gain cannot be found: the camera has "
                "no shot noise, or the region has too few pixels."
            )
        return gain, error, follows

    def around(self, value: float, error: float, least: float = -math.inf) -> Interval:
        return max(value - self.quantile * error, least), value + self.quantile * error


def _temporal(curve: _Curve, top: _Top) -> dict[str, Any]:
    """Gain, response, read noise, dark current, saturation and linearity."""
    dark, quantile = curve.dark, curve.quantile
    gain, gain_error, follows = curve.gain()
    relative = gain_error / gain

    slope, slope_error = line(curve.dark_exposures, curve.dark_levels, np.array([d.mean_error for d in curve.darks]))
    current = slope / gain
    current_error = math.hypot(slope_error / gain, current * relative)

    variance, error = dark.variance_above(_ABOVE_ZERO)
    shot = gain * max(slope, 0.0) * curve.dark_exposures[0]
    noise2 = variance - (1 / 12 if dark.integers else 0.0) - shot
    # The gain follows the dark variance (downwards), so its error counts once, with both effects.
    own = math.sqrt(max(gain_error**2 - (follows * error) ** 2, 0.0)) / gain
    low, high = _in_electrons(noise2, error * (1 - 2 * noise2 * follows / gain), gain, own, quantile)
    if dark.integers and variance < _LEAST_DARK_VARIANCE:
        low, high = 0.0, max(high, _LEAST_READ_NOISE_DN / gain)
    read_dn = math.sqrt(max(noise2, 0.0))

    straight = curve.share >= _LINEAR_FROM
    light, signal = curve.photons[straight], curve.signal[straight]
    errors = np.array([math.hypot(s.mean_error, dark.mean_error) for s in curve.lit])[straight]
    response, response_error = proportional(light, signal, errors)
    deviation, least, most = linearity(signal, response * light, errors, quantile)
    efficiency = response / gain

    # The region's mean response and offset differ from the sensor's by the patterns over the root of its pixels.
    patterns, pixels = _patterns(curve), dark.mean_image.size
    by_prnu = patterns["prnu"] / math.sqrt(pixels)
    by_dsnu = patterns["dsnu_dn"] / gain / math.sqrt(pixels)
    saturation = (top.level_dn - dark.mean) / gain
    saturation_error = math.hypot(saturation * relative, by_dsnu) if math.isfinite(saturation) else 0.0
    return {
        "gain_dn_per_e": gain,
        "gain_interval": curve.around(gain, gain_error),
        "quantum_efficiency": efficiency,
        "quantum_efficiency_interval": curve.around(
            efficiency, efficiency * math.hypot(relative, response_error / response, by_prnu)
        ),
        "read_noise_e": read_dn / gain,
        "read_noise_interval": (low, high),
        "read_noise_dn": read_dn,
        "dark_current_e_per_s": current,
        "dark_current_interval": curve.around(current, current_error, 0.0),
        "saturation_e": saturation,
        "saturation_interval": curve.around(saturation, saturation_error),
        "saturation_by": top.by,
        "saturation_dn": top.level_dn,
        "linearity_error": deviation,
        "linearity_interval": (least, most),
    }


def _patterns(curve: _Curve) -> dict[str, Any]:
    """PRNU and DSNU."""
    dark, quantile = curve.dark, curve.quantile
    gain, gain_error, _ = curve.gain()
    dark_part = dark.variance / dark.frames
    half = int(np.argmin(np.abs(curve.share - 0.5)))
    lit, signal = curve.lit[half], float(curve.signal[half])
    square, error = spatial_variance(lit.mean_image - dark.mean_image, lit.variance / lit.frames + dark_part)
    low, high = root_interval(square, error, quantile)
    offset2, offset_error = spatial_variance(dark.mean_image, dark_part, leave_out=~curve.ordinary)
    dsnu_dn = math.sqrt(max(offset2, 0.0))
    return {
        "prnu": math.sqrt(max(square, 0.0)) / signal,
        "prnu_interval": (low / signal, high / signal),
        "dsnu_e": dsnu_dn / gain,
        "dsnu_interval": _in_electrons(offset2, offset_error, gain, gain_error / gain, quantile),
        "dsnu_dn": dsnu_dn,
    }


def _in_electrons(square: float, error: float, gain: float, relative: float, quantile: float) -> Interval:
    """Interval of a standard deviation in electrons, from its square in DN^2 and the gain, both with an error."""
    return root_interval(square / gain**2, math.hypot(error, 2 * relative * square) / gain**2, quantile)


def _saturation(bench: LitCamera, exposure_s: float, roi: AnyRoi, dark: FrameStatistics) -> _Top:
    """Raise the light until the level no longer follows."""
    light, last = _FAINTEST, 0.0
    seen: list[tuple[float, float]] = []
    while light <= _BRIGHTEST:
        frames = flat_frames(bench, light, exposure_s=exposure_s, n_frames=2, roi=roi)
        signal = float(frames.mean(dtype=np.float64)) - dark.mean
        noise = math.sqrt(float(np.var(frames)) / frames.size) + dark.mean_error
        visible = signal > 10 * noise
        if visible and last and signal < 1.02 * last:
            below = [(p, s) for p, s in seen if s < 0.6 * signal]
            if not below:
                raise ValueError(
                    f"The flat field is saturated already with {_FAINTEST:g} photons a pixel, so that no photon "
                    "transfer can be measured."
                )
            # The brightest light that is not near the end tells how much light fills the range.
            photons, level = below[-1]
            highest = frames.max()
            code = int(highest) + 1
            ends = float(np.mean(frames == highest)) > 0.99 and code & (code - 1) == 0
            by = "full scale" if frames.dtype.kind in "iu" and ends else "full well"
            return _Top(signal + dark.mean, photons * signal / level, by)
        if visible:
            seen.append((light, signal))
            last = signal
        light *= 4
    if not seen:
        raise ValueError("The flat field gives no light: its frames are as dark as dark frames.")
    return _Top(math.inf, _UNCLIPPED_PHOTONS, "none")


def _checked_roi(bench: LitCamera, roi: AnyRoi | None) -> Roi:
    """Return the region after checking the bench and that there are pixels enough."""
    checked_bench(bench, Exposing, Lamp)
    region = Roi.whole(bench.sensor_shape) if roi is None else Roi(*map(int, roi))
    if region.n_pixels < _LEAST_PIXELS:
        raise ValueError(f"roi is {roi!r}, but it must hold at least {_LEAST_PIXELS} pixels.")
    return region


class CameraProcedure(Procedure):
    """The photon transfer of the camera."""

    name = "camera"
    title = "The camera by photon transfer: gain, noise, dark current, linearity, hot pixels."
    records = (CameraRecord,)
    order = 20.0
    options = (EXPOSURE,)

    def measure(self, session: Calibration, progress: Progress | None = None) -> dict[str, Any]:
        """Change the light, not the exposure."""
        asked = session.options["exposure_s"]
        exposure: dict[str, Any] = {} if asked is None else {"exposure_s": asked}
        bench: Any = session.bench  # whether it has a lamp is asked there
        return {"camera": characterise_camera(bench, roi=session.roi, progress=progress, **exposure)}

    def summary(self, record: CameraRecord, device: Device | None = None) -> list[Row]:
        """Say in a few rows what a record holds."""
        camera = None if device is None else device.camera

        def with_interval(value: float, interval: tuple[float, float], scale: float = 1.0, unit: str = "") -> str:
            low, high = interval
            return f"{scale * value:.4g} ({scale * low:.4g} to {scale * high:.4g}){unit}"

        def own(name: str, scale: float = 1.0) -> str:
            return "" if camera is None else f"{scale * getattr(camera, name):.4g}"

        top = record.saturation_e
        # The record's is that of all pixels together: of rows and columns too, and of dark currents.
        dsnu = "" if camera is None else f"{camera.total_dsnu_e(record.exposure_s):.4g}"
        return [
            ("gain", with_interval(record.gain_dn_per_e, record.gain_interval, 1, " DN/e"), own("gain_dn_per_e")),
            (
                "quantum efficiency",
                with_interval(record.quantum_efficiency, record.quantum_efficiency_interval),
                own("quantum_efficiency"),
            ),
            (
                "read noise",
                with_interval(record.read_noise_e, record.read_noise_interval, 1, " e"),
                own("temporal_dark_noise_e"),
            ),
            (
                "dark current",
                with_interval(record.dark_current_e_per_s, record.dark_current_interval, 1, " e/s"),
                own("mean_dark_current_e_per_s"),
            ),
            ("saturation", f"{top:.4g} e, by {record.saturation_by}" if math.isfinite(top) else "none", ""),
            ("PRNU", with_interval(record.prnu, record.prnu_interval, 100, " %"), own("total_prnu", 100)),
            ("DSNU", with_interval(record.dsnu_e, record.dsnu_interval, 1, " e"), dsnu),
            ("linearity error", f"{100 * record.linearity_error:.2g} %", ""),
            ("hot pixels", f"{len(record.hot_pixels)} of {record.roi[2] * record.roi[3]:,}", ""),
            ("intervals hold with", f"{100 * record.confidence:g} %, each alone", ""),
        ]
