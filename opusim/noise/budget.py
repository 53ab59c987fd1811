"""A budget of the sources of error of an output; `opusim.noise.sources` says what counts as an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from .point import WorkingPoint
from .sources import FIXED, SOURCES, all_sources, sources_of, unknown_sources

__all__ = ["LARGEST_ERROR", "ErrorBudget", "bounded", "names_of", "parts_of"]

LARGEST_ERROR = 10.0
"""Above this an error means no more than that outputs have next to nothing to do with their inputs."""

# 1 / |r|^2 of a correlation that is nothing but chance, or 0, may be any number.
_NOTHING_LEFT = 1e9


@dataclass(frozen=True)
class ErrorBudget:
    """Parts of the sources in the error of an output, relative to the variance of outputs.

    Parameters
    ----------
    point : WorkingPoint
        Device and circumstances.
    errors : dict of float
        By how much the error falls when a source is off, by its name; in the order of ``all_sources``.
    whole : float
        The error with all sources at once (that of pixel integration added). Above 10 it says no more
        than that outputs have next to nothing to do with their inputs; closed form and measurement need not agree then.
    measured : bool
        Whether it was measured on a bench (True) or comes from closed forms.
    uncertainty : dict of float
        Standard error of each measured part, by its name; empty for closed forms.
    """

    point: WorkingPoint
    errors: Mapping[str, float]
    whole: float
    measured: bool
    uncertainty: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return math.fsum(self.errors.values())

    @property
    def new(self) -> dict[str, float]:
        """Parts of the sources that are new in every frame or come with time: those that a trained readout pays for."""
        return {name: part for name, part in self.errors.items() if name not in FIXED}

    @property
    def new_share(self) -> float:
        """Share of these together in the sum of all; 0 if there is no error."""
        return math.fsum(self.new.values()) / self.total if self.total else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the numbers cannot be trusted for."""
        notes = []
        if self.whole > LARGEST_ERROR:
            notes.append(
                f"The error of an output ({self.point.mode}) is {self.whole:.2g} times the variance of outputs. Above "
                f"{LARGEST_ERROR:g} outputs have next to nothing to do with their inputs, and neither the error nor "
                "its parts mean more than that."
            )
        if not self.measured:
            unknown = unknown_sources(self.point.device)
            if unknown:
                notes.append(
                    f"Closed forms know nothing of {', '.join(unknown)}, which stands at 0; measured_error_budget does."
                )
            device, exposure_s = self.point.device, self.point.exposure_s
            arm = device.reference
            if arm.present and len(arm.vibration(0)) < len(arm.vibration(0, apart=True)):
                notes.append(
                    "Lines of the reference's vibration have equal frequencies. A device has their sum, which its seed "
                    "says; closed forms know no seed, and are those of the mean over devices."
                )
            if device.fourier_stop.present:
                notes.append(
                    "Closed forms know nothing of the Fourier stop (fourier_stop.diameter_cycles): they are those of "
                    "light that passes whole. What it takes depends on the pattern, and shot noise and rounding weigh "
                    "more in the light that is left."
                )
            if device.modulator.vibrates and self.point.mode == "linear":
                notes.append(
                    "Closed forms take mirrors that vibrate (dmd.vibration_rad) as tilted alike in all frames of a "
                    "burst; measured_error_budget does not."
                )
            if device.drift_within(exposure_s) is not None:
                ratio = exposure_s / device.medium.decorrelation_time_s
                notes.append(
                    f"An exposure of {exposure_s:.3g} s is {ratio:.2g} times medium.decorrelation_time_s. Closed forms "
                    "of an output's error take the medium as standing still during a frame; a bench averages over it."
                )
            return tuple(notes)
        off = abs(self.total - self.whole)
        if off > 0.25 * abs(self.whole) and off > 3 * math.hypot(*self.uncertainty.values()):
            notes.append(
                f"The measured parts add up to {self.total:.3g}, but all sources together make {self.whole:.3g}: they "
                "depend on each other here, so that shares are those of switching one source off alone."
            )
        least = 0.05 * abs(self.whole)
        unsure = [name for name, error in self.uncertainty.items() if error > max(abs(self.errors[name]), least)]
        if unsure:
            notes.append(
                f"Measured parts of {', '.join(unsure)} are smaller than their uncertainty: n_vectors or roi must be "
                "larger for them."
            )
        return tuple(notes)

    @property
    def rms(self) -> float:
        """Root of the error with all sources: rms error over the spread of outputs."""
        return math.sqrt(max(self.whole, 0.0))

    def share(self, source: str) -> float:
        """Return the part of a source in the sum of all.

        Parameters
        ----------
        source : str
            Name of the source.

        Returns
        -------
        float
            Its share; 0 if there is no error, or no part in the device that could have it.

        Raises
        ------
        ValueError
            If there is no source of that name.
        """
        if source in SOURCES and source not in all_sources(self.point.device):
            return 0.0
        if source not in self.errors:
            raise ValueError(f"source is {source!r}, but it must be one of {', '.join(self.errors)}.")
        return self.errors[source] / self.total if self.total else 0.0


def names_of(budgets: Iterable[ErrorBudget]) -> list[str]:
    """Return all sources that some budgets could tell of: those of ``SOURCES`` that their devices have, and others."""
    given = list(budgets)
    known = {name for budget in given for name in all_sources(budget.point.device)}
    own = [name for name in SOURCES if name in known]
    return list(dict.fromkeys([*own, *(name for budget in given for name in budget.errors)]))


def bounded(error: float) -> float:
    """Return an error, or 1e9 for outputs that do not vary with their inputs at all."""
    return float(error) if error < _NOTHING_LEFT else _NOTHING_LEFT


def parts_of(
    point: WorkingPoint, error: Callable[[WorkingPoint, Collection[str]], float], averaging: float
) -> tuple[dict[str, float], float]:
    """Parts of each source in an error, by switching it off, and the error with all of them.

    Parameters
    ----------
    point : WorkingPoint
        Device and circumstances.
    error : callable
        ``error(point, off)``: the error without the sources `off` and without pixel integration.
    averaging : float
        Part of pixel integration, which is added to it.

    Returns
    -------
    errors : dict of float
        By source.
    whole : float
    """
    whole = bounded(error(point, ()))
    errors = {
        source: averaging if source == "pixel integration" else whole - bounded(error(point, (source,)))
        for source in sources_of(point)
    }
    return errors, whole + averaging
