"""Linear transforms of an OPU: which mode, and the calibration that the holographic one needs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import arrays, validation
from opusim.base.errors import warn_outside
from opusim.drivers.compat import environment
from opusim.drivers.methods.base import Method
from opusim.drivers.methods.intensity import intensity_of

from . import acquire
from .fit import Fit, output_size
from .settings import whole_microseconds
from .types import OutputRescaling

if TYPE_CHECKING:
    from opusim.calibration.procedures.linear import LinearRecord
    from opusim.drivers.lowlevel.device import OpuDevice
    from opusim.drivers.lowlevel.settings_of_frame import Exposure

LINEAR_MODES = ("auto", "holographic", "intensity")
# Measured noise of one field over its rms: from the first on a calibration is told to be poor, from the second refused.
_POOR, _USELESS = 0.25, 0.7
# Age in device time after which a stored calibration is measured again: beam and shifter stay, the dust does not.
_OLDEST_S = 86400.0


class CalibrationWarning(UserWarning):
    """The device was calibrated, or its calibration is poor."""


def chosen_mode(mode: str, device: OpuDevice) -> str:
    """Return "holographic" or "intensity" for what was asked; a ValueError if there is no reference arm for it."""
    if mode == "auto":
        return "holographic" if device.has_reference else "intensity"
    if mode == "holographic" and not device.has_reference:
        raise ValueError(
            "linear_mode is 'holographic', but this device has no reference arm: use 'intensity', or a device whose "
            "reference.relative_amplitude is above 0."
        )
    return mode


def times_of(record: LinearRecord, exposure: Exposure, device: OpuDevice) -> Exposure:
    """Return the region with the calibration's exposure, and frames as fast as that allows."""
    exposure_us = max(1, round(record.exposure_s * 1e6))
    least_s = device.bench.minimum_frametime_s(exposure.output_roi[1][1], exposure_us / 1e6)
    return replace(exposure, exposure_us=exposure_us, frametime_us=whole_microseconds(least_s))


def stored_path(device: OpuDevice) -> Path:
    """Return the file that keeps the calibrations of a device: one for each fingerprint and seed."""
    from opusim.bench.protocol import identity_of

    # Of the bench, not of the preset: the resolution may have been chosen apart.
    identity = identity_of(device.bench)
    name = f"{device.device_model.name}-{identity.fingerprint[:16]}-seed{device.seed}.h5"
    return environment.config_folder() / "calibrations" / name


def _group(roi: tuple[int, int, int, int]) -> str:
    """Name of a region's calibration; the last one made is the one that is kept."""
    return "linear_" + "_".join(map(str, roi))


def find_record(device: OpuDevice, exposure: Exposure) -> LinearRecord:
    """Return the calibration for a region: the device's own, a stored one, or a new one, which is told and stored.

    Raises
    ------
    RuntimeError
        If the calibration is useless.
    """
    roi = exposure.bench_roi
    record = device.linear_records.get(roi)
    if record is None:
        record = _load(device, roi)
    if record is None:
        warn_outside(
            f"linear_transform: the reference arm of {device.name!r} is calibrated on the region {roi} now. "
            "calibrate() does it in advance.",
            CalibrationWarning,
        )
        return measure(device, exposure)
    check_quality(record)
    device.linear_records[roi] = record
    return record


def check_quality(record: LinearRecord) -> None:
    """Warn of a poor calibration, refuse a useless one."""
    error = record.relative_error
    if not error < _USELESS:
        raise RuntimeError(
            f"The calibration of the linear transform is useless: a field repeats to {100 * error:.0f} % only. The "
            "reference arm or the exposure is not right."
        )
    if error > _POOR:
        warn_outside(
            f"The calibration of the linear transform is poor: a field repeats to {100 * error:.0f} %.",
            CalibrationWarning,
        )


def measure(
    device: OpuDevice, exposure: Exposure, *, steps: int = 4, exposure_s: float | None = None, store: bool = True
) -> LinearRecord:
    """Calibrate a region, and keep the result in the user's folder if that can be written."""
    from opusim.calibration.files import write_record
    from opusim.calibration.procedures.linear import measure_linear

    device.check_open()
    roi = exposure.bench_roi
    record = measure_linear(device.bench, steps=steps, roi=roi, exposure_s=exposure_s)
    check_quality(record)
    device.linear_records[roi] = record
    if store:
        path = stored_path(device)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_record(path, _group(roi), record, bench=device.bench)
            except ValueError:
                _write_in_spite(path, roi, record, device.bench)
        except OSError:
            pass  # a folder that cannot be written costs no more than the next calibration
    return record


def _write_in_spite(path: Path, roi: tuple[int, int, int, int], record: LinearRecord, bench: Any) -> None:
    """Write beside calibrations that 0.1.0 spoilt, or in place of a file of no use here, which is kept elsewhere."""
    from opusim.base.files import rescue_hdf5
    from opusim.calibration.files import write_record

    try:
        rescue_hdf5(path)
        write_record(path, _group(roi), record, bench=bench)
    except ValueError as error:
        aside = path.with_name(f"{path.name}.unreadable")
        path.replace(aside)
        warn_outside(f"{error} It is {aside} now, and the calibrations are made anew.", CalibrationWarning)
        write_record(path, _group(roi), record, bench=bench)


def _load(device: OpuDevice, roi: tuple[int, int, int, int]) -> LinearRecord | None:
    from opusim.calibration.files import read_record
    from opusim.calibration.procedures.linear import LinearRecord

    path = stored_path(device)
    if not path.exists():
        return None
    try:
        record = read_record(path, _group(roi), LinearRecord, bench=device.bench)
    except (OSError, ValueError):
        return None
    age_s = abs(device.bench.clock.elapsed_s - record.elapsed_s)
    return record if age_s < _OLDEST_S else None


class LinearTransforms:
    """The linear transforms of `OPU`; see there."""

    device: Any
    rescale: Any
    linear_mode: str
    _fit: Any

    @property
    def calibration(self) -> LinearRecord | None:
        """Calibration of the holographic linear transform for the present region; None before there is one."""
        return self.device.linear_records.get(self.device.exposure().bench_roi)

    def calibrate(self, *, steps: int = 4, exposure_s: float | None = None, store: bool = True) -> LinearRecord:
        """Calibrate the holographic linear transform for the present region, anew.

        Parameters
        ----------
        steps : int
            Phase steps, 3 or more: frames of each vector.
        exposure_s : float, optional
            Exposure in seconds; by default the one with the best signal that does not saturate.
        store : bool
            Whether to keep it for other processes that use the same device, in the user's configuration folder.

        Returns
        -------
        LinearRecord
            What was found; also `calibration` from now on.

        Raises
        ------
        NotReadyError
            If the device is closed.
        ValueError
            If there is no reference arm, or no exposure that fits.
        RuntimeError
            If the result is useless.
        """
        chosen_mode("holographic", self.device)
        validation.integer("steps", steps, low=3, high=63)
        return measure(self.device, self.device.exposure(), steps=steps, exposure_s=exposure_s, store=store)

    def field_transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Show vectors and return the field at the camera, R x with a complex R.

        Parameters
        ----------
        X, encoder_cls, decoder_cls : object
            As for `transform`.

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Fields, complex64, ``(*batch dimensions, n_components)``, scaled by `rescale` as `linear_transform` is; the
            entries of R are i.i.d. complex normal numbers with mean square 1.

        Raises
        ------
        ValueError
            If the device has no reference arm.
        """
        chosen_mode("holographic", self.device)
        return self._linear(X, encoder_cls, decoder_cls, "holographic", True)

    def linear_transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Show vectors and return R x itself, not its intensity.

        "holographic": the real part of the field, from frames under several phases of the reference arm (four by
        default), times sqrt(2). The first call calibrates the device for its region of the camera, with a warning
        that says so, unless `calibrate` was called or a calibration of the same device is stored.

        "intensity": put together from counts without the reference arm, two frames a vector and three for each 64
        vectors begun (``opusim.drivers.methods.intensity``).

        Parameters
        ----------
        X, encoder_cls, decoder_cls : object
            As for `transform`. Inputs that are not bits go through bit planes (`opusim.encoding`).

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Numbers, float32, ``(*batch dimensions, n_components)``, scaled by `rescale`: "variance" divides R x by
            sqrt(n_features), "norm" by sqrt(n_components), "none" by nothing. By holography the entries of R are i.i.d.
            N(0, 1). By intensity they are so but in one direction: entries of one column have a mean of
            +-sqrt(pi / (2 n_features)), with a fixed random sign for each column.

        Raises
        ------
        NotReadyError
            If the device is closed, in online mode, or, by intensity, the features do not use all the mirrors that
            the strategy full gives them. A RuntimeError and an AssertionError.
        RuntimeError
            If the input is packed, or the calibration is useless or lost.
        TypeError, ValueError
            If `X` is not what it may be, or the device lacks what the mode needs.

        Notes
        -----
        By intensity, the matrix is that of `transform` but for a fixed sign of each column and a phase of each row.
        Features in one dimension fill the array. Those in two dimensions leave mirrors that are always on beside them:
        R x is linear then too, but by intensity the entries of R are not i.i.d.; by holography their light is
        measured and taken off.

        On a GPU, frames and results stay there; the calibration is measured with numpy, and its maps are moved once.
        The result is that of the other backends to single precision where the counts agree, and differs by what a
        count is worth where they do not.

        A Dask array gives a lazy one, as with `transform`. By holography, what belongs to the fit is measured at once,
        and chunks begin at multiples of a block, mostly 64 vectors.
        """
        return self._linear(X, encoder_cls, decoder_cls, chosen_mode(self.linear_mode, self.device), False)

    def _linear(self, X: Any, encoder_cls: Any, decoder_cls: Any, mode: str, complex_output: bool) -> Any:
        encoder, bits = self._encode(X, encoder_cls, decoder_cls)  # type: ignore[attr-defined]
        data = self._data_for(bits)  # type: ignore[attr-defined]
        fit: Fit = self._fit
        exposure, n_components, base = self._claim(fit)  # type: ignore[attr-defined]
        n_out = output_size(fit, n_components, exposure)
        if mode == "intensity":
            method: Method = intensity_of(fit, self.device, exposure)
        else:
            method, exposure = self._holographic(fit, data.place, exposure, n_out, complex_output)
        raw = acquire.run(
            method, data, fit, self.device, exposure, n_out, n_samples_by_pass=base.n_samples_by_pass,
            progress=self._shows_progress,  # type: ignore[attr-defined]
        )  # fmt: skip
        result = self._decode(raw, encoder, decoder_cls, data.group)  # type: ignore[attr-defined]
        # After the decoder, as the real driver does it.
        return data.like_input(self._rescaled(result, fit.traits.n_features_total, n_components, base.stdev))

    def _rescaled(self, result: Any, n_features: int, n_components: int, stdev: float = 1.0) -> Any:
        """Divide a linear transform as `rescale` says; `stdev` is the measured scale of a matrix entry."""
        if self.rescale is OutputRescaling.none:
            return result
        n = n_features if self.rescale is OutputRescaling.variance else n_components
        return result / np.float32(stdev * math.sqrt(n))

    def _holographic(
        self, fit: Fit, place: arrays.Arrays | None, exposure: Exposure, n_out: int, complex_output: bool
    ) -> tuple[Method, Exposure]:
        """Return the method with the calibration of the region, and the calibration's times."""
        # Loads the calibration, and scipy with it: when first needed.
        from opusim.drivers.methods.holography import holography_of

        record = find_record(self.device, exposure)
        timed = times_of(record, exposure, self.device)
        method = holography_of(
            fit, self.device, timed, record, n_out, place or arrays.NUMPY, complex_output=complex_output
        )
        return method, timed
