"""What a sweep has found: an outcome for each combination of values and each seed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from opusim.base.parts import Part
from opusim.base.plain_files import parse_json
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array
from opusim.base.warn import warn_outside
from opusim.device.medium.base import MEDIA
from opusim.device.record import Device
from opusim.device.versions import told_version

from .points import Axis, Number, label

__all__ = ["Header", "Outcome", "SweepResult", "differences", "falls_at"]

Place = tuple[int, int]
# Metrics that are drawn and told first, if there are such.
_FIRST = ("accuracy", "error")


@dataclass(frozen=True)
class Outcome:
    """What one point gave.

    Parameters
    ----------
    metrics : dict of str to float
        What the task returned; empty if it failed.
    error_type, error : str
        Name of the error and its sentence; empty if it did not fail.
    traceback : str
        The end of the traceback.
    warnings : tuple of str
        Warnings, each once.
    seconds : float
        Wall time.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    error_type: str = ""
    error: str = ""
    traceback: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = math.nan

    @property
    def failed(self) -> bool:
        """Whether the task raised an error."""
        return bool(self.error_type)

    def to_json(self) -> str:
        """Return what must be the same however the point was run, as text.

        Returns
        -------
        str
            The metrics, exactly, or the error.
        """
        if self.failed:
            return json.dumps({"error_type": self.error_type, "error": self.error})
        return json.dumps({"metrics": dict(self.metrics)})


@dataclass(frozen=True)
class Header:
    """What makes a sweep the one that it is.

    Parameters
    ----------
    task : dict
        Name and settings of the task.
    device_name, fingerprint : str
        Of the device that is varied.
    device : dict
        Its tables.
    n_components : int
        Outputs, where they are not varied.
    axes : tuple of Axis
        What is varied.
    zipped : bool
        Whether the values of the axes go together.
    seeds : tuple of int
        Seeds.
    opusim_version : str
        What the points were computed with; several, with commas between, if the sweep went on with another version.
    meanings : dict of str to str, optional
        What a path stands for, of those for which that has changed since sweeps are written.
    """

    task: Mapping[str, Any]
    device_name: str
    fingerprint: str
    device: Mapping[str, Any]
    n_components: int
    axes: tuple[Axis, ...]
    zipped: bool
    seeds: tuple[int, ...]
    opusim_version: str
    meanings: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as text, exactly."""
        content = {**self.__dict__, "axes": [[axis.path, list(axis.values)] for axis in self.axes]}
        if not self.meanings:
            # As in files that were written before there were any: the check sum is over this text.
            del content["meanings"]
        return json.dumps(content, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Header:
        """Return what `to_json` wrote."""
        content = parse_json(text)
        content["axes"] = tuple(Axis(path, tuple(values)) for path, values in content["axes"])
        return cls(**{**content, "seeds": tuple(content["seeds"])})


@short_repr
@dataclass
class SweepResult:
    """Results of a sweep, complete or not.

    Parameters
    ----------
    header : Header
        Which sweep it is.
    settings : tuple of tuple of numbers
        Values of each combination, in the order of ``header.axes``.
    outcomes : dict
        Outcome of each point that was run, by (index of the combination, index of the seed).
    created : str
        When the sweep was begun, ISO 8601, UTC.
    part : Part, optional
        Which part of the sweep was run, of a job array's; None for all of it.
    texts : tuple of str, optional
        Check sums of the texts of the task that points were run with, several if it was mended meanwhile; empty if they
        are not known.
    """

    header: Header
    settings: tuple[tuple[Number, ...], ...]
    outcomes: dict[Place, Outcome] = field(default_factory=dict)
    created: str = ""
    part: Part | None = None
    texts: tuple[str, ...] = ()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What is varied."""
        return self.header.axes

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds."""
        return self.header.seeds

    @property
    def places(self) -> list[Place]:
        """All points, in the order in which they are run: every combination with the first seed comes first."""
        return [(i, j) for j in range(len(self.seeds)) for i in range(len(self.settings))]

    def places_of(self, part: Part | None) -> list[Place]:
        """Return the points of a part, in the order in which they are run.

        Parameters
        ----------
        part : Part or None
            Every so manieth point, so that points that take long are shared; None for all.

        Returns
        -------
        list of Place
            Places of the points.
        """
        return self.places if part is None else self.places[part.number - 1 :: part.count]

    @property
    def n_failed(self) -> int:
        """Number of points that failed."""
        return sum(outcome.failed for outcome in self.outcomes.values())

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what the task returned; "accuracy" or "error" comes first, if there is one."""
        names = dict.fromkeys(
            name for place in sorted(self.outcomes) for name in self.outcomes[place].metrics
        )  # a set that keeps its order
        return tuple(sorted(names, key=lambda name: name not in _FIRST))

    def label(self, place: Place) -> str:
        """Return what a point is, as text.

        Parameters
        ----------
        place : Place
            Where the point lies in the sweep.

        Returns
        -------
        str
            Its values and its seed.
        """
        return f"{label(self.axes, self.settings[place[0]])}, seed {self.seeds[place[1]]}"

    def values(self, metric: str | None = None) -> np.ndarray:
        """Return a metric at every point.

        Parameters
        ----------
        metric : str, optional
            Which one; the first by default.

        Returns
        -------
        ndarray of float64, shape (combinations, seeds)
            NaN where a point was not run, failed, or did not give it.

        Raises
        ------
        ValueError
            If no point has given it.
        """
        if not self.metrics:
            raise ValueError("There are no results: no point of this sweep is done.")
        if metric is None:
            metric = self.metrics[0]
        elif metric not in self.metrics:
            raise ValueError(f"metric is {metric!r}, but it must be one of {', '.join(map(repr, self.metrics))}.")
        result = np.full((len(self.settings), len(self.seeds)), np.nan)
        for place, outcome in self.outcomes.items():
            result[place] = outcome.metrics.get(metric, np.nan)
        return result

    def n_not_finite(self, metric: str | None = None) -> int:
        """Return how many points have given a metric that is NaN or infinite.

        Parameters
        ----------
        metric : str, optional
            Which one; the first by default.

        Returns
        -------
        int
            Points.
        """
        name = metric or next(iter(self.metrics), "")
        return sum(not math.isfinite(outcome.metrics.get(name, 0.0)) for outcome in self.outcomes.values())

    def grid(self, metric: str | None = None) -> np.ndarray:
        """Return a metric with an axis for each parameter and one for the seeds.

        Parameters
        ----------
        metric : str, optional
            Which one; the first by default.

        Returns
        -------
        ndarray of float64
            The metric; NaN where there is nothing.

        Raises
        ------
        ValueError
            If the values go together, or no point has given the metric.
        """
        if self.header.zipped:
            raise ValueError("The values of this sweep go together: they make no grid.")
        return self.values(metric).reshape(*(len(axis.values) for axis in self.axes), len(self.seeds))

    def digest(self) -> str:
        """Return a checksum of the sweep and its results.

        How long they took, and when, is left out.

        Returns
        -------
        str
            A sha256 in hexadecimal digits.
        """
        result = hashlib.sha256(self.header.to_json().encode())
        for place in sorted(self.outcomes):
            result.update(f"\n{place}{self.outcomes[place].to_json()}".encode())
        return result.hexdigest()

    def adopt(self, other: SweepResult, path: Any) -> None:
        """Take over the points of a sweep that this one extends.

        Parameters
        ----------
        other : SweepResult
            Results of the same sweep, perhaps with fewer values or seeds.
        path : str or Path
            Where it comes from, for the message.

        Raises
        ------
        ValueError
            If it is another sweep; the sentence names all that differs.
        """
        found = differences(other.header, self.header)
        if not found and self.part is not None and other.part != self.part:
            found = [_differs("the part", _part_name(other.part), _part_name(self.part))]
        if not found and self.part is not None and (other.settings, other.seeds) != (self.settings, self.seeds):
            found = ["values or seeds have been added, which makes other parts"]
        if found:
            raise ValueError(f"{path} holds another sweep: {'; '.join(found)}. Give this one a file of its own.")
        rows = {values: i for i, values in enumerate(self.settings)}
        columns = {seed: j for j, seed in enumerate(self.seeds)}
        for (i, j), outcome in other.outcomes.items():
            self.outcomes[rows[other.settings[i]], columns[other.seeds[j]]] = outcome
        self.created, self.texts = other.created, other.texts
        versions = other.header.opusim_version
        if self.header.opusim_version not in versions.split(", "):
            # A version of a device keeps its numbers, within the tolerance that docs/design.md names.
            warn_outside(
                f"{path} was begun with opusim {versions} and goes on with {self.header.opusim_version}; it names both."
            )
            versions += f", {self.header.opusim_version}"
        self.header = replace(self.header, opusim_version=versions)


def differences(then: Header, now: Header) -> list[str]:
    """Return what keeps a sweep from going on as another, in words; values and seeds may be added."""
    result = []
    version = _of_another_version(then, now)
    tables = {"task": (dict(then.task), dict(now.task))}
    if not version:  # one sentence in place of all fields that a version of a preset has set
        # Fields that came after the file was written are at what was done then.
        flat = (_flat(Device.stored_table(header.device)) for header in (then, now))
        # Wavelengths that are stated for efficiencies change no frame where the fingerprint is the same. Other fields
        # `without_effect` may have one at a point, where what is varied switches them on.
        same = then.fingerprint == now.fingerprint
        old, new = ({k: v for k, v in one.items() if not (same and k.endswith(_STATED))} for one in flat)
        tables["device"] = old, new
    for what, (old, new) in tables.items():
        for key in [*old, *(key for key in new if key not in old)]:
            if old.get(key, _ABSENT) != new.get(key, _ABSENT):
                result.append(_differs(f"{what} {key}", old.get(key, _ABSENT), new.get(key, _ABSENT)))
    if version:
        result.append(version)
    elif not result and then.fingerprint != now.fingerprint:
        words = _differs("the device's fingerprint", then.fingerprint[:16], now.fingerprint[:16])
        result.append(f"{words}: of the same fields, a file that it names or the code of a part of it is another")
    if then.n_components != now.n_components and not any(axis.path == "n_components" for axis in now.axes):
        result.append(_differs("n_components", then.n_components, now.n_components))
    paths = [", ".join(axis.path for axis in header.axes) for header in (then, now)]
    if paths[0] != paths[1]:
        result.append(_differs("what is varied", *paths))
    elif then.zipped != now.zipped:
        result.append("the values of all parameters go together in only one of the two")
    else:
        for old_axis, new_axis in zip(then.axes, now.axes, strict=True):
            result += _missing(f"{old_axis.path} was", old_axis.values, new_axis.values)
        if then.zipped and not result:
            # Each value may be there still, and in another combination.
            old_rows, new_rows = (set(zip(*(a.values for a in h.axes), strict=True)) for h in (then, now))
            if not old_rows <= new_rows:
                result.append("values that went together in the file do not now")
    result += _missing("the seeds were", then.seeds, now.seeds)
    if paths[0] == paths[1]:
        for path in {**then.meanings, **now.meanings}:
            meaning = [header.meanings.get(path, _EARLIER) for header in (then, now)]
            if meaning[0] != meaning[1]:
                result.append(_differs(f"what {path} stands for", *meaning))
    return result


def _of_another_version(then: Header, now: Header) -> str:
    """Say that a file is of an older version of the preset, or of a newer one, and what names that; empty if not."""
    if then.fingerprint == now.fingerprint:
        return ""
    try:
        return told_version(then.fingerprint, Device.from_stored(now.device)).removesuffix(".")
    except (TypeError, ValueError):
        return ""  # of a part that is not known here: the fields tell


def _part_name(part: Part | None) -> str:
    return "all" if part is None else str(part)


_ABSENT = "not there"
_STATED = ".stated_wavelength_m"
_EARLIER = "that of an earlier opusim"


def _differs(what: str, found: Any, now: Any) -> str:
    return f"{what} is {found!r} in the file, but {now!r} now"


def _missing(what: str, old: Sequence[Number], new: Sequence[Number]) -> list[str]:
    if set(old) <= set(new):
        return []
    return [f"{what} {list(old)} in the file, and {list(new)} lacks some of them"]


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a device by dotted path; its name and its description may change.

    So may the place of its files: what they hold is in the fingerprint.
    """
    result: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            files = getattr(MEDIA.get(value["kind"]), "files", ()) if "kind" in value else ()
            result |= {f"{key}.{name}": inner for name, inner in value.items() if name not in ("name", *files)}
        elif key not in ("name", "version", "description"):
            result[key] = value
    return result


def falls_at(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, drop: float) -> tuple[float, float]:
    """Find where a curve falls below its best by some amount, to the left and to the right of the best.

    Parameters
    ----------
    x : array_like of float, shape (n,)
        The parameter, rising.
    y : array_like of float, shape (n,)
        What it gives, such as the mean accuracy over the seeds; NaN where there is nothing.
    drop : float
        The amount, above 0.

    Returns
    -------
    left : float
        Where it falls to the left: linear between neighbouring points, in the logarithm of x if all of x is above 0.
        NaN where the curve does not fall so far.
    right : float
        Where it falls to the right, likewise.

    Raises
    ------
    ValueError
        If there are no points, or x does not rise.
    """
    xs, ys = checked_array("x", x, dtype=np.float64), checked_array("y", y, dtype=np.float64)
    if xs.ndim != 1 or xs.shape != ys.shape:
        raise ValueError(f"x has the shape {xs.shape} and y {ys.shape}, but both must be of (n,).")
    keep = np.isfinite(ys) & np.isfinite(xs)
    xs, ys = xs[keep], ys[keep]
    if not len(xs):
        raise ValueError("x and y hold no points with finite numbers.")
    if (np.diff(xs) <= 0).any():
        raise ValueError("x does not rise from point to point.")
    places = np.log(xs) if (xs > 0).all() else xs
    best = int(np.argmax(ys))
    level = ys[best] - drop

    def first_below(order: range) -> float:
        for i, k in zip(order, order[1:], strict=False):
            if ys[k] < level:
                place = places[i] + (level - ys[i]) / (ys[k] - ys[i]) * (places[k] - places[i])
                return float(np.exp(place) if (xs > 0).all() else place)
        return math.nan

    return first_below(range(best, -1, -1)), first_below(range(best, len(ys)))
