"""Feedback by a device: errors shown on its mirrors, projected by light."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from opusim.base import validation
from opusim.base.progress import counted
from opusim.bench.driver import Calibrating, Fitting, Moded, Projecting, Sized, bench_of, check_driver_of_bits
from opusim.bench.linear_modes import LinearMode, chosen, is_known
from opusim.bench.protocol import Clocked, Identified, Resumable, has, identity_of

from .error_encoding import ErrorEncoding, NearestTernaryEncoding, checked_errors
from .feedback import Costs, Description, State, checked_encoding, described, state_value, vectors_of

DEFAULT_ENCODING = NearestTernaryEncoding()
# Each of two halves shows every class so often; the scale is a mean over all entries and both.
_REPEATS = 8
# Classes that the scale is measured on, at most: all columns of the matrix have the same mean square.
_SCALE_CLASSES = 64
_FRESH = "Make a new driver of the same device and seed, and a new feedback on it."


class OpticalFeedback(validation.Fixed):
    """Projection by a device, through the driver's `linear_transform`.

    Parameters
    ----------
    opu : object
        A driver, open before the first use: anything whose ``linear_transform(bits)`` takes uint8 0/1 vectors
        (n, n_classes) and returns (n, width) numbers that are linear in them. It is called ``fit1d(n_features=...)``
        first if it has that. The scale of its output does not matter; it is measured. While the feedback is in use, it
        must not be fitted to anything else.
    width : int
        Length of a projected vector: the driver's `n_components`.
    n_classes : int
        Length of an error vector.
    encoding : ErrorEncoding
        How errors become bits.
    averages : int
        How often each pattern is shown; the noise falls by the root of it.
    calibrate : bool
        Whether `prepare` calibrates a driver that transforms by holography, without storing the result, so that the
        same device prepares in the same way every time. If not, the driver uses the calibration that it has or finds.
    exposure_s : float, optional
        Exposure in seconds, for the calibration (holography) or the fit (intensity, in whole microseconds); theirs by
        default.
    progress : bool
        Whether `prepare` and `measured_matrix` show a progress bar.

    Attributes
    ----------
    costs : Costs
        With frames, seconds and joules from the clock of the bench, if the driver has one; only what this feedback
        used, `prepare` included.
    scale : float
        Root mean square of an entry of the driver's matrix; 0 before `prepare`.
    relative_noise : float
        Noise of one output of a vector with a single 1, over `scale`, for a pattern that is shown once; 0 before.

    Raises
    ------
    TypeError
        If `opu` has no `linear_transform`, or an argument is of another type.
    ValueError
        If an argument is not what it may be, the driver's `n_components` is not `width`, or its device turns phases.

    Notes
    -----
    All patterns of a batch, repetitions too, go to the device in one call. A batch of errors that has nothing to show
    costs no call. The driver's own errors, for instance of a closed device, pass through.

    A run goes on bit for bit on a new `opusim.OPU` of the same device and seed: `restore` lets the clock come to where
    the first feedback was prepared, prepares, and lets it come to where the run stood.
    """

    _fixed = dict.fromkeys(
        ("opu", "n_classes", "width", "calibrate", "exposure_s"),
        "The driver is prepared for it: make another feedback.",
    )

    def __init__(
        self,
        opu: Any,
        width: int,
        *,
        n_classes: int,
        encoding: ErrorEncoding = DEFAULT_ENCODING,
        averages: int = 1,
        calibrate: bool = True,
        exposure_s: float | None = None,
        progress: bool = False,
    ) -> None:
        if not has(opu, Projecting):
            raise TypeError(
                f"opu is {opu!r} ({type(opu).__name__}), but it must be a driver with `linear_transform`, for instance "
                "opusim.OPU."
            )
        check_driver_of_bits(opu, "Feedback by light")
        self.opu = opu
        self.n_classes = validation.integer("n_classes", n_classes, low=1)
        self.width = validation.integer("width", width, low=1)
        n_components = opu.n_components if has(opu, Sized) else self.width
        if n_components != self.width:
            raise ValueError(
                f"width is {self.width}, but the driver's n_components is {n_components}: both must be the same. Set "
                f"n_components to {self.width}."
            )
        if encoding is None:
            raise ValueError(
                "encoding is None, but mirrors show bits only: it must be, for instance, NearestTernaryEncoding()."
            )
        checked_encoding(encoding, none_allowed=False)
        self.encoding = encoding
        self.averages = validation.integer("averages", averages, low=1)
        self.calibrate = validation.flag("calibrate", calibrate)
        if exposure_s is not None:
            exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True)
            if not (self._calibrates() or (self._fits() and not self._has_calibration())):
                raise ValueError(
                    f"exposure_s is {exposure_s!r}, but it must be None: without a calibration or a fit of the driver "
                    "there is nobody to tell it to."
                )
        self.exposure_s = exposure_s
        self.progress = validation.flag("progress", progress)
        self.scale = 0.0
        self.relative_noise = 0.0
        self._prepared_at: tuple[int, float] | None = None
        clock = self._clock()
        self.costs = Costs() if clock is None else Costs(frames=0, device_s=0.0, device_j=0.0)

    # ------------------------------------------------------------------ the device

    def _clock(self) -> Any:
        """Clock of the driver's bench, or None."""
        bench = bench_of(self.opu)
        return bench.clock if has(bench, Clocked) else None

    def _linear_mode(self) -> str:
        """Return the name of the way to the linear transform, or "" where the driver does not say."""
        mode = self._known_mode()
        if mode is not None:
            return mode.name
        return str(self.opu.linear_mode) if has(self.opu, Moded) else ""

    def _known_mode(self) -> LinearMode | None:
        """Return the way itself, if it is one of the OPU's."""
        if not has(self.opu, Moded):
            return None
        asked = self.opu.linear_mode
        return chosen(asked, self.opu.device.has_reference) if is_known(asked) else None

    def _has_calibration(self) -> bool:
        """Whether the way goes by a calibration, whose exposure it has."""
        mode = self._known_mode()
        return mode is not None and mode.calibrated

    def _fits(self) -> bool:
        return has(self.opu, Fitting)

    def _calibrates(self) -> bool:
        return self.calibrate and self._has_calibration() and has(self.opu, Calibrating)

    def prepare(self) -> None:
        """Fit and calibrate the driver and measure its scale, if that has not been done; it takes some seconds.

        Every class is shown 16 times alone. With the means y1, y2 of either half, the mean of y1 y2 over all entries is
        the mean square of the matrix: the noise of the two is independent and drops out.

        Raises
        ------
        RuntimeError
            If the driver's answer is not what it must be.
        """
        if self._prepared_at is not None:
            return
        clock = self._clock()
        began = (0, 0.0) if clock is None else (clock.frames, clock.elapsed_s)
        with _Meter(self):
            if self._fits():
                options: dict[str, int] = {}
                if self.exposure_s is not None and not self._has_calibration():
                    options["exposure_us"] = max(1, round(self.exposure_s * 1e6))
                self.opu.fit1d(n_features=self.n_classes, **options)
            if self._calibrates():
                self.opu.calibrate(exposure_s=self.exposure_s, store=False)
            self._measure_scale()
        self._prepared_at = began

    def _measure_scale(self) -> None:
        classes = np.linspace(0, self.n_classes - 1, min(self.n_classes, _SCALE_CLASSES)).round().astype(int)
        bits = np.eye(self.n_classes, dtype=np.uint8)[classes]
        sums = np.zeros((2, len(bits), self.width))
        squares = 0.0
        for k in counted(2 * _REPEATS, "OPU: scale", self.progress):
            y = self._show(bits)
            sums[k % 2] += y
            squares += float(np.square(y, dtype=np.float64).sum())
        n = sums[0].size
        square = float(np.vdot(sums[0], sums[1])) / (_REPEATS**2 * n)
        total = sums.sum(axis=0)
        variance = (squares - float(np.vdot(total, total)) / (2 * _REPEATS)) / ((2 * _REPEATS - 1) * n)
        # Five standard deviations of what noise alone would give.
        if not square > max(0.0, 5 * variance / (_REPEATS * math.sqrt(n))):
            raise RuntimeError(
                "linear_transform gives noise only, or nothing at all: what it returns for single classes does not "
                "repeat. Look at the exposure, and at what the driver was fitted to."
            )
        self.scale = math.sqrt(square)
        self.relative_noise = math.sqrt(max(0.0, variance) / square)

    def _show(self, bits: np.ndarray) -> np.ndarray:
        """Return the driver's answer to patterns, float32 (n, width), after checking it."""
        y = np.asarray(self.opu.linear_transform(bits))
        if y.shape != (len(bits), self.width) or y.dtype.kind not in "fiu":
            raise RuntimeError(
                f"linear_transform returned an array of {y.dtype} of the shape {y.shape} for {len(bits)} vectors, but "
                f"it must hold real numbers of the shape {(len(bits), self.width)}."
            )
        y = np.asarray(y, dtype=np.float32)
        if not np.isfinite(y).all():
            raise RuntimeError("linear_transform returned numbers that are not finite.")
        return y

    # ------------------------------------------------------------------ projections

    def project(self, errors: ArrayLike) -> np.ndarray:
        """Show errors on the device and return their projections.

        Parameters
        ----------
        errors : array_like of float, shape (batch, n_classes)
            Errors.

        Returns
        -------
        ndarray of float32, shape (batch, width)
            B e for e as the encoding shows it, with noise; entries of B have mean square 1.

        Raises
        ------
        TypeError, ValueError
            If `errors` is not what it may be. The device is not used then.
        RuntimeError
            If the driver's answer is not what it must be.
        """
        start = time.perf_counter()
        array = checked_errors(errors, self.n_classes)
        encoded = self.encoding.encode(array)
        self.costs.encoding_s += time.perf_counter() - start
        n = len(encoded.bits)
        if n == 0:
            result = np.zeros((len(array), self.width), dtype=np.float32)
        else:
            self.prepare()
            with _Meter(self):
                y = self._show(np.tile(encoded.bits, (self.averages, 1)))
                if self.averages > 1:
                    y = y.reshape(self.averages, n, self.width).mean(axis=0, dtype=np.float32)
                result = np.asarray(encoded.weights @ y, dtype=np.float32)
                result *= np.float32(1 / self.scale)
        self.costs.vectors += len(array)
        return result

    def measured_matrix(self, repeats: int = 16) -> np.ndarray:
        """Show every class alone and return the mean of what comes: the device's matrix, for a digital twin.

        Parameters
        ----------
        repeats : int
            How often each class is shown; the noise of an entry is `relative_noise` over the root of it.

        Returns
        -------
        ndarray of float32, shape (width, n_classes)
            For ``GaussianFeedback(n_classes, width, matrix=...)``; the mean square is 1 but for the noise.
        """
        validation.integer("repeats", repeats, low=1)
        self.prepare()
        bits = np.eye(self.n_classes, dtype=np.uint8)
        total = np.zeros((self.n_classes, self.width))
        with _Meter(self):
            for _ in counted(repeats, "OPU: matrix", self.progress):
                total += self._show(bits)
        return np.ascontiguousarray(total.T / (repeats * self.scale), dtype=np.float32)

    # ------------------------------------------------------------------ to go on later

    @property
    def device(self) -> Any:
        """The device of the driver's bench, as the bench says it; None of one that does not say which it is."""
        bench = bench_of(self.opu)
        return bench.device if has(bench, Identified) else None

    def describe(self) -> Description:
        """Return kind, sizes, encoding and averages, and which device in which mode.

        Returns
        -------
        dict
            Values by name.
        """
        what: Description = {
            "kind": "optical", "n_classes": self.n_classes, "width": self.width, "averages": self.averages,
            "calibrate": int(self.calibrate), "exposure_s": self.exposure_s or "auto",
            "driver": type(self.opu).__name__, **described(self.encoding),
        }  # fmt: skip
        identity, mode = identity_of(bench_of(self.opu)), self._linear_mode()
        if identity.fingerprint:
            what.update(device=identity.name, fingerprint=identity.fingerprint, seed=identity.seed)
        if mode:
            what["linear_mode"] = mode
        return what

    def state(self) -> State:
        """Return how far the device and the counts have come.

        Returns
        -------
        dict
            "vectors"; with a bench also "frames" and "elapsed_s" of its clock, where they stood when the feedback was
            prepared ("prepared_frames", -1 if it is not, "prepared_s"), and the costs ("used_frames", "used_s",
            "used_j").
        """
        state: State = {"vectors": self.costs.vectors}
        clock = self._clock()
        if clock is not None:
            frames, elapsed_s = (-1, 0.0) if self._prepared_at is None else self._prepared_at
            state.update(
                frames=clock.frames, elapsed_s=clock.elapsed_s, prepared_frames=frames, prepared_s=elapsed_s,
                used_frames=self.costs.frames or 0, used_s=self.costs.device_s or 0.0,
                used_j=self.costs.device_j or 0.0,
            )  # fmt: skip
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Prepare the device as it was, and go on from where it stood.

        Parameters
        ----------
        state : mapping
            What `state` returned. Without a bench only the count of vectors is taken from it.

        Raises
        ------
        ValueError
            If `state` lacks a number, or the device has gone further, or was prepared at another time.
        """
        vectors = vectors_of(state)
        if self._clock() is not None:
            frames, elapsed_s, prepared, prepared_s, used, used_s, used_j = (
                state_value(state, name)
                for name in ("frames", "elapsed_s", "prepared_frames", "prepared_s", "used_frames", "used_s", "used_j")
            )
            # A laboratory's device is prepared anew: its time has gone on by itself.
            if has(bench_of(self.opu), Resumable):
                was = None if prepared < 0 else (int(prepared), float(prepared_s))
                if was is not None and self._prepared_at is None:
                    self._advance(*was)
                    self.prepare()
                if self._prepared_at != was:
                    raise ValueError(
                        "The device of this feedback was prepared at another time than that of the run that goes on, "
                        f"so its numbers would be others. {_FRESH}"
                    )
                self._advance(int(frames), float(elapsed_s))
            self.costs.frames, self.costs.device_s, self.costs.device_j = int(used), float(used_s), float(used_j)
        self.costs.vectors = vectors

    def _advance(self, frames: int, elapsed_s: float) -> None:
        clock = self._clock()
        if clock.frames > frames or clock.elapsed_s > elapsed_s:
            raise ValueError(
                f"This device has shown {clock.frames} frames, but it would have to go on from {frames}, and frames "
                f"cannot be taken back. {_FRESH}"
            )
        bench_of(self.opu).advance_to(frames, elapsed_s)


class _Meter:
    """Adds to a feedback's costs the wall time and the clock of the bench that pass within."""

    def __init__(self, feedback: OpticalFeedback) -> None:
        self.costs = feedback.costs
        self.clock = feedback._clock()

    def __enter__(self) -> None:
        self.start = time.perf_counter()
        if self.clock is not None:
            self.before = self.clock.frames, self.clock.elapsed_s, self.clock.energy_j

    def __exit__(self, *exception: object) -> None:
        self.costs.projection_s += time.perf_counter() - self.start
        if self.clock is not None:
            self.costs.frames = (self.costs.frames or 0) + self.clock.frames - self.before[0]
            self.costs.device_s = (self.costs.device_s or 0.0) + self.clock.elapsed_s - self.before[1]
            self.costs.device_j = (self.costs.device_j or 0.0) + self.clock.energy_j - self.before[2]
