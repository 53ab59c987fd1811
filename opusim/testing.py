"""Conformance suites: whether a bench, a medium, a method or a task does what those that use it rely on.

Each suite runs named checks and raises one `ConformanceError` with a sentence for every rule that is broken: which it
is, what was seen, and what must be. They need nothing but opusim, and ask the thing alone: no truth about it is known.

>>> from opusim import OpticalBench
>>> from opusim.testing import check_bench
>>> report = check_bench(OpticalBench("aurora", seed=1))  # doctest: +SKIP
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np

from opusim.base import validation
from opusim.base.parameters import parameters_of
from opusim.bench import protocol
from opusim.bench.laboratory import LaboratoryBench
from opusim.bench.losses import N_GUARDS
from opusim.bench.protocol import has, lacking
from opusim.bench.region import Roi
from opusim.device.medium import Drift, EntryMedium, Medium, ModeGrid, StateSequence
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.phases import PhasePatterns, nearest_levels

__all__ = ["ConformanceError", "Report", "check_bench", "check_medium", "check_method", "check_task"]


class ConformanceError(AssertionError):
    """Rules that are broken, all of them.

    Parameters
    ----------
    subject : str
        What was checked.
    failures : dict of str to list of str
        Sentences by the name of the check.
    report : Report, optional
        What passed, and what was skipped; nothing by default.

    Attributes
    ----------
    failures : dict of str to list of str
        The same.
    report : Report
        The same.
    """

    def __init__(self, subject: str, failures: dict[str, list[str]], report: Report | None = None) -> None:
        self.subject, self.failures = subject, failures
        self.report = Report(subject) if report is None else report
        lines = [f"- {name}: {sentence}" for name, sentences in failures.items() for sentence in sentences]
        super().__init__(f"{subject} breaks {len(lines)} rule{'s' * (len(lines) > 1)}:\n" + "\n".join(lines))

    def __reduce__(self) -> Any:
        """Keep the parts, so that it comes back from another process."""
        return ConformanceError, (self.subject, self.failures, self.report)


@dataclass(frozen=True)
class Report:
    """What a suite found that is not broken.

    Parameters
    ----------
    subject : str
        What was checked.
    passed : tuple of str
        Names of the checks that it passed.
    skipped : dict of str to str
        Those that had nothing to check, and why.
    """

    subject: str
    passed: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return a line for each check."""
        lines = [f"{self.subject}: {len(self.passed)} checks passed"]
        lines += [f"  passed   {name}" for name in self.passed]
        return "\n".join(lines + [f"  skipped  {name}: {why}" for name, why in self.skipped.items()])


class _NothingToCheck(Exception):
    """An optional part is absent."""


Check = Callable[[Any], Iterator[str]]


def _run(subject: str, probe: Any, gates: tuple[Check, ...], checks: tuple[Check, ...]) -> Report:
    """Run checks; those of `gates` first, and none after one of them that failed: the others rely on it."""
    passed: list[str] = []
    skipped: dict[str, str] = {}
    failures: dict[str, list[str]] = {}
    for check in (*gates, *checks):
        if failures and any(_name(gate) in failures for gate in gates):
            skipped[_name(check)] = "relies on what is broken"
            continue
        try:
            broken = list(check(probe))
        except _NothingToCheck as why:
            skipped[_name(check)] = str(why)
            continue
        except Exception as error:
            text = f": {error}" if str(error) else "."
            broken = [f"{type(error).__name__} was raised where all is as it may be{text}"]
        if broken:
            failures[_name(check)] = broken
        else:
            passed.append(_name(check))
    report = Report(subject, tuple(passed), skipped)
    if failures:
        raise ConformanceError(subject, failures, report)
    return report


def _name(check: Check) -> str:
    return check.__name__.lstrip("_").split("_", 1)[1].replace("_", " ")


def _alike(a: Any, b: Any) -> float:
    """Correlation of two arrays, absolute for complex ones; 0 if one is constant."""
    a, b = (np.asarray(x).ravel().astype(np.complex128 if np.iscomplexobj(x) else np.float64) for x in (a, b))
    if not np.iscomplexobj(a):
        a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(np.vdot(a, a).real) * float(np.vdot(b, b).real))
    return float(abs(np.vdot(a, b)) if np.iscomplexobj(a) else np.vdot(a, b)) / norm if norm else 0.0


def _subject(what: str, thing: Any) -> str:
    """Return what a report calls a part."""
    return f"The {what} {(thing if isinstance(thing, type) else type(thing)).__name__}"


def _a_class(thing: Any) -> Iterator[str]:
    if isinstance(thing, type):
        yield f"it is a class: give an object, as {thing.__name__}()."


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


# ---------------------------------------------------------------------------------------------- a bench


_FEATURES, _REPEATS = 256, 4
# No camera takes as long for a frame of a short exposure.
_LONG_FRAME_S = 10.0
# A sequence in which frames may get lost; what single frames of two patterns must differ by, to be told one by one.
_LONG, _TELLS_A_FRAME = 64, 0.2
# A frame is not that of its pattern where it lies nearer to the other one, and short of the other frames by so many
# standard deviations of them. Gaussian: once in 10**9.
_FAR = 6.0
# Different counts that show which of their bits are in use.
_VALUES = 8
# Frames after a change of the exposure or of the phase, steps of the phase to and fro, and the share of a fringe that
# may be missing after one: .2 rad of a step, whose share is (1 - cos) / 2.
_AFTER, _STEPS, _UNSETTLED = 6, 4, 0.01


class _BenchProbe:
    """A bench under test, and what is shown on it: two patterns, in turn, on a region off the middle."""

    def __init__(self, bench: Any, exposure_s: float | None, seed: int) -> None:
        self.bench, self.seed = bench, seed
        if exposure_s is None and isinstance(bench, type):
            exposure_s = 0.0
        elif exposure_s is None:
            exposure_s = bench.device.operation.exposure_s if has(bench, protocol.Drivable) else 400e-6
        self.exposure_s = exposure_s

    @cached_property
    def region(self) -> Roi:
        own = protocol.output_roi_of(self.bench)
        if own is not None:
            return Roi(own.row, own.column, min(40, own.n_rows), min(90, own.n_columns))
        rows, columns = self.bench.sensor_shape
        n_rows, n_columns = max(1, min(40, rows // 2)), max(1, min(90, columns // 2))
        if n_rows == n_columns and n_rows > 1:
            n_rows -= 1
        return Roi((rows - n_rows) // 3, (columns - n_columns) * 2 // 3, n_rows, n_columns)

    @cached_property
    def layout(self) -> MirrorLayout:
        own = protocol.input_layout_of(self.bench)
        if own is not None:
            return own
        rows, columns = map(int, self.bench.mirror_shape)
        return MirrorLayout.lined((rows, columns), min(_FEATURES, rows * columns))

    @cached_property
    def pair(self) -> np.ndarray:
        """Two patterns of which each turns half of the features on, far from each other.

        Mirrors of the second are those that are off in the first. Of phases such patterns would be the same light
        behind a lens, but for its focus: they are independent.
        """
        draws, n = np.random.default_rng(self.seed), self.layout.n_features_total
        first = (draws.permutation(n) < n // 2).astype(np.uint8)
        if self.level_turns is None:
            return np.stack([first, 1 - first])
        return np.stack([first, (draws.permutation(n) < n // 2).astype(np.uint8)])

    @cached_property
    def level_turns(self) -> np.ndarray | None:
        return protocol.level_turns_of(self.bench)

    def shown(self, bits: np.ndarray, layout: MirrorLayout | None = None) -> MirrorPatterns:
        """Patterns of bits; where pixels turn phases 1 is no phase and 0 a quarter of a turn.

        With half a turn a pattern and its opposite would be the same light.
        """
        layout = self.layout if layout is None else layout
        if self.level_turns is None:
            return MirrorPatterns(bits, layout)
        return PhasePatterns(nearest_levels(np.array([0.25, 0.0]), self.level_turns)[bits], layout)

    @cached_property
    def sequence(self) -> MirrorPatterns:
        return self.shown(np.tile(self.pair, (_REPEATS, 1)))

    def expose(self, mirrors: Any, **how: Any) -> np.ndarray:
        # Copied: what a later call does to them is looked at by a check of its own.
        return np.array(self.bench.expose(mirrors, **{"exposure_s": self.exposure_s, "roi": self.region, **how}))

    @cached_property
    def dark(self) -> np.ndarray:
        return self.expose(None, n_frames=3)

    @cached_property
    def frames(self) -> np.ndarray:
        return self.expose(self.sequence)

    @cached_property
    def repeat(self) -> float:
        """How alike two frames of one pattern are."""
        return self.likeness(self.frames, self.frames)

    @cached_property
    def singles(self) -> np.ndarray:
        """A frame of each pattern, shown alone, where no other can take its place."""
        return np.concatenate([self.expose(self.shown(self.pair[k : k + 1])) for k in (0, 1)])

    @cached_property
    def nearness(self) -> np.ndarray:
        """By how much each of `frames` is more alike to its own pattern, shown alone, than to the other."""
        return np.array(
            [_alike(self.singles[k % 2], x) - _alike(self.singles[1 - k % 2], x) for k, x in enumerate(self.frames)]
        )

    @cached_property
    def alone(self) -> float:
        """How alike frames of one pattern are: the most of them, whichever pattern each is of."""
        return float(np.median(np.abs(self.nearness)))

    @staticmethod
    def likeness(shown: np.ndarray, known: np.ndarray) -> float:
        """How much more alike frames are to known ones of their own pattern, in turn, than to those of the other."""
        own = [
            _alike(known[k], shown[k + 2 * j])
            for k in (0, 1)
            for j in range(len(shown) // 2)
            if j or known is not shown
        ]
        other = [_alike(known[k], shown[1 - k + 2 * j]) for k in (0, 1) for j in range(len(shown) // 2)]
        return float(np.mean(own) - np.mean(other))


def check_bench(bench: Any, *, exposure_s: float | None = None, seed: int = 0) -> Report:
    """Check that a bench does what calibration and drivers rely on.

    It is shown some tens of patterns, on a region of its sensor, and once on all of it. Optional parts
    (`opusim.bench.protocol`) are checked where they are there.

    Parameters
    ----------
    bench : Bench
        The bench; its clock goes on.
    exposure_s : float, optional
        Exposure in seconds at which half of the mirrors give a good signal; that of the bench's record by default, or
        400 us.
    seed : int
        Of the patterns.

    Returns
    -------
    Report
        What was checked, and what was not there to be checked.

    Raises
    ------
    ConformanceError
        With a sentence for each rule that is broken.
    """
    gates = (
        _bench_members, _bench_arguments, _bench_shapes, _bench_inputs, _bench_dark_frames, _bench_frames,
        _bench_light,
    )  # fmt: skip
    checks = (
        _bench_order, _bench_lost_frames, _bench_fewer_inputs, _bench_own_arrays, _bench_counts, _bench_exposure,
        _bench_change_of_exposure, _bench_region, _bench_forms_of_mirrors,
        _bench_noise, _bench_refusals, _bench_clock, _bench_frame_times, _bench_identity, _bench_lamp, _bench_transform,
        _bench_packed_mirrors, _bench_level, _bench_reference_arm, _bench_settling, _bench_reserved_frames,
        _bench_limits,
        _bench_tuning, _bench_resuming, _bench_repeating,
    )  # fmt: skip
    return _run(_subject("bench", bench), _BenchProbe(bench, exposure_s, seed), gates, checks)


def _needs(bench: Any, *parts: type) -> None:
    missing = [part.__name__ for part in parts if lacking(bench, part)]
    if missing:
        names = " and ".join("a Lamp" if name == "Lamp" else name for name in missing)
        raise _NothingToCheck(f"no {', '.join(lacking(bench, *parts))}: it is not {names}")


def _bench_members(p: _BenchProbe) -> Iterator[str]:
    if isinstance(p.bench, type):
        yield from _a_class(p.bench)
        return
    missing = lacking(p.bench, protocol.Bench)
    if missing:
        yield f"it lacks {', '.join(missing)}, but a bench must have all of opusim.bench.protocol.Bench."


# What members are called with: positions, then keywords. Those of instruments are what `LaboratoryBench` calls.
_CALLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "expose": (("mirrors",), ("exposure_s", "roi", "n_frames")),
    "minimum_frametime_s": (("n_rows", "exposure_s"), ()),
}
_INSTRUMENT_CALLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "show": (("mirrors",), ("exposure_s", "frametime_s", "roi")),
    "dark": (("n_frames",), ("exposure_s", "frametime_s", "roi")),
    "set_reference": (("phase_rad",), ()),
}


def _bench_arguments(p: _BenchProbe) -> Iterator[str]:
    """Members take what they are given: else the first call would fail, under the name of whatever makes it."""
    calls = _CALLS | (_INSTRUMENT_CALLS if isinstance(p.bench, LaboratoryBench) else {})
    for name, (positions, keywords) in calls.items():
        try:
            signature = inspect.signature(getattr(p.bench, name))
        except (AttributeError, TypeError, ValueError):  # it is not there, or does not say what it takes
            continue
        try:
            signature.bind(*positions, **dict.fromkeys(keywords))
        except TypeError as error:
            words = ", ".join((*positions, *(f"{keyword}=..." for keyword in keywords)))
            yield f"{name} is called as {name}({words}), but it takes {signature} ({error})."


def _bench_shapes(p: _BenchProbe) -> Iterator[str]:
    for name, shape in (("mirror_shape", p.bench.mirror_shape), ("sensor_shape", p.bench.sensor_shape)):
        if not isinstance(shape, tuple) or len(shape) != 2 or not all(_is_whole(n) and n > 0 for n in shape):
            yield f"{name} is {shape!r}, but it must be two whole numbers above 0, a tuple of (rows, columns)."


def _bench_inputs(p: _BenchProbe) -> Iterator[str]:
    try:
        layout = protocol.input_layout_of(p.bench)
        roi = protocol.output_roi_of(p.bench)
    except (TypeError, ValueError) as error:
        yield str(error)
        return
    if roi is not None and roi != p.bench.output_roi:
        yield f"output_roi gave {roi} and then {p.bench.output_roi}, but it must be the same each time."
    if layout is not None and layout != p.bench.input_layout:
        yield f"input_layout gave {layout} and then {p.bench.input_layout}, but it must be the same each time."
    if layout is not None and layout.n_features_total < 2:
        yield f"input_layout has {layout.n_features_total} input, but for patterns that differ it must have two."


def _frames_are(what: str, frames: np.ndarray, shape: tuple[int, ...], dtype: Any = None) -> Iterator[str]:
    if frames.shape != shape:
        turned = frames.shape == (shape[0], shape[2], shape[1])
        hint = "; rows and columns are exchanged" if turned else ""
        if frames.ndim == len(shape) and frames.shape[1:] == shape[1:]:
            away = frames.shape[0] - shape[0]
            hint = f"; {abs(away)} of them {'too many' if away > 0 else 'lost'}: look at the trigger and at frametime_s"
        yield f"{what} have the shape {frames.shape}, but it must be {shape}: frames, rows, columns{hint}."
    if dtype is not None and frames.dtype != dtype:
        yield f"{what} are of {frames.dtype}, but dark frames are of {dtype}: all must be of one type."


def _bench_dark_frames(p: _BenchProbe) -> Iterator[str]:
    yield from _frames_are(f"3 dark frames of the region {p.region}", p.dark, (3, *p.region[2:]))
    if p.dark.dtype not in (np.uint8, np.uint16, np.float32):
        yield f"dark frames are of {p.dark.dtype}, but counts must be uint8, uint16 or float32."


def _bench_frames(p: _BenchProbe) -> Iterator[str]:
    what = f"frames of {len(p.sequence)} patterns on the region {p.region}"
    yield from _frames_are(what, p.frames, (len(p.sequence), *p.region[2:]), p.dark.dtype)


def _bench_light(p: _BenchProbe) -> Iterator[str]:
    lit, dark = p.frames.astype(np.float64), p.dark.astype(np.float64)
    error = math.sqrt(lit.var() / lit.size + dark.var() / dark.size)
    if not lit.mean() - dark.mean() > 5 * error:
        yield (
            f"half of the mirrors give a mean of {lit.mean():.4g} at exposure_s = {p.exposure_s:g}, and dark frames "
            f"{dark.mean():.4g}: light must be brighter than the dark. If it is only weak, give another exposure_s."
        )


def _bench_order(p: _BenchProbe) -> Iterator[str]:
    if not p.repeat > 0.02:
        yield (
            f"in frames of two patterns in turn those of one are more alike than those of both by a correlation of "
            f"{p.repeat:.3f} only, but frame k must be that of pattern k."
        )
        return
    found = float(np.mean(p.nearness))
    # Not by chance: a correlation of n pixels of noise scatters by the root of 1 / n.
    if not found > 0.3 * p.repeat or p.alone - found > max(p.alone / 2, 4 / math.sqrt(p.frames[0].size)):
        yield (
            f"frames of a sequence are less like those of the same patterns shown alone (by a correlation of "
            f"{found:.3f}) than they are like each other ({max(p.repeat, p.alone):.3f}): frame k must be that of "
            "pattern k."
        )


def _bench_lost_frames(p: _BenchProbe) -> Iterator[str]:
    """Show the two patterns in an order without a period: after a loss frames no longer follow it."""
    if not p.alone > _TELLS_A_FRAME:
        raise _NothingToCheck(
            f"single frames of a pattern are more alike than those of two by a correlation of {p.alone:.3f} only"
        )
    order = np.random.default_rng(p.seed + 1).integers(0, 2, _LONG)
    frames = p.expose(p.shown(p.pair[order]))
    broken = list(_frames_are(f"frames of {_LONG} patterns", frames, (_LONG, *p.region[2:]), p.dark.dtype))
    yield from broken
    if broken:
        return
    # Of those that were shown alone, and are like them: what was lost already is not what others are measured by.
    right = [p.frames[k::2][p.nearness[k::2] > p.alone / 2] for k in (0, 1)]
    known = [np.concatenate([p.singles[k : k + 1], right[k]]).mean(axis=0, dtype=np.float64) for k in (0, 1)]
    # Of each frame: the pattern that it is nearer to, and not by chance.
    nearer = np.array([_alike(known[1], frame) - _alike(known[0], frame) for frame in frames])
    own, usual = np.where(order, nearer, -nearer), float(np.median(np.abs(nearer)))
    scatter = 1.4826 * float(np.median(np.abs(np.abs(nearer) - usual)))  # the median's, as a standard deviation
    # Halfway between them is 0, and where it is a mean of both; a quarter of the other leaves a half.
    wrong = np.flatnonzero((own < usual / 2) & (own < usual - _FAR * scatter))
    noise = not np.array_equal(p.frames[0], p.frames[2])
    twice = [
        k for k in range(1, _LONG)
        if (noise or order[k] != order[k - 1]) and np.array_equal(frames[k], frames[k - 1]) and np.ptp(frames[k])
    ]  # fmt: skip
    if not len(wrong) and not twice:
        return
    # Where they were moved, each is that of the pattern behind, from some frame before the first wrong one.
    shifted = np.where(order[1:], nearer[:-1], -nearer[:-1])
    first = int(wrong[0]) if len(wrong) else twice[0]
    if len(wrong) > 1 and (shifted[first:] > 0).all():
        yield (
            f"frames from number {first} of {_LONG} on, or a little before, are those of the next patterns: a frame "
            "was lost, and the others moved up. Raise FramesLost where the instruments say so, and look at the trigger "
            "and at frametime_s."
        )
    elif twice:
        yield (
            f"frame {twice[0]} of {_LONG} is frame {twice[0] - 1} to the bit, in place of its own: a frame was lost, "
            "and the one before it filled in. Raise FramesLost where the instruments say so, and look at the trigger "
            "and at frametime_s."
        )
    elif len(others := wrong[own[wrong] < -usual / 2]):
        yield (
            f"frame {others[0]} of {_LONG} is that of another pattern, and {len(others)} are in all, but frame k must "
            "be that of pattern k."
        )
    else:
        yield (
            f"frame {first} of {_LONG} is nearer to its own pattern than to the other one by {own[first] / usual:.2f} "
            f"of what others are, and {len(wrong)} such are in all: a part of it is of another frame, as of one that "
            "was torn, or put together from its neighbours after a loss. Frame k must be that of pattern k."
        )


def _bench_fewer_inputs(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Inputs)
    layout = protocol.input_layout_of(p.bench)
    if layout is None:
        return  # any pattern will do, and those of all other checks are some
    if layout.kind != "lined":
        raise _NothingToCheck(f"its inputs, of kind {layout.kind!r}, are used all together")
    n = layout.n_features_total - 1
    shown = p.shown(np.tile(p.pair[:, :n], (_REPEATS, 1)), layout.first(n))
    frames = p.expose(shown)
    yield from _frames_are(f"frames of patterns of {n} inputs", frames, p.frames.shape, p.dark.dtype)
    # Of very few inputs the one that is left out is most of the light.
    found = p.likeness(frames, p.frames[:2]) if n >= 31 and frames.shape == p.frames.shape else p.repeat
    if not found > 0.3 * p.repeat:
        yield (
            f"frames of the first {n} inputs (input_layout.first) are less like those of all {n + 1} (by a correlation "
            f"of {found:.3f}) than these are like each other ({p.repeat:.3f}), but input k must be the same mirrors in "
            "both."
        )


def _bench_own_arrays(p: _BenchProbe) -> Iterator[str]:
    how: dict[str, Any] = {"exposure_s": p.exposure_s, "roi": p.region}
    calls: dict[str, Callable[[int], Any]] = {"expose": lambda k: p.bench.expose(p.shown(p.pair[k : k + 1]), **how)}
    if has(p.bench, protocol.Drivable):
        calls["transform"] = lambda k: _transformed(p, p.shown(p.pair[k : k + 1]), p.region[3])
    for name, call in calls.items():
        first = call(0)
        before = np.array(first)
        call(1)
        p.expose(None)
        if not np.array_equal(np.asarray(first), before):
            yield (
                f"what {name} returned was changed by the next calls, but each must give an array of its own: return a "
                "copy of the camera's buffer."
            )


def _bench_exposure(p: _BenchProbe) -> Iterator[str]:
    half: dict[str, Any] = {"exposure_s": p.exposure_s / 2}
    # Each pixel against itself: how much pixels differ from each other says nothing.
    risen = p.frames.astype(np.float64) - p.expose(p.sequence, **half)
    dark, dark_half = (x.astype(np.float64) for x in (p.dark, p.expose(None, n_frames=3, **half)))
    by = risen.mean() - (dark.mean() - dark_half.mean())
    error = math.sqrt(risen.var() / risen.size + dark.var() / dark.size + dark_half.var() / dark_half.size)
    if not by > 5 * error:
        yield (
            f"from exposure_s = {p.exposure_s / 2:g} to {p.exposure_s:g} the mean above the dark rises by {by:.3g}, "
            "but twice the exposure must be brighter."
        )


def _bench_counts(p: _BenchProbe) -> Iterator[str]:
    if p.dark.dtype.kind != "u":
        raise _NothingToCheck("its counts are no whole numbers")
    counts = np.concatenate([p.frames.ravel(), p.dark.ravel()])
    # Full scale is 2**bits - 1 shifted where low bits are zeros, and all ones else.
    if len(np.unique(counts)) < _VALUES:
        raise _NothingToCheck(f"its counts have fewer than {_VALUES} values")
    bits = int(np.bitwise_or.reduce(counts))
    shift = (bits & -bits).bit_length() - 1
    if shift:
        depth = 8 * counts.dtype.itemsize - shift
        yield (
            f"all counts are multiples of {2**shift}: the camera puts its bits at the upper end of {counts.dtype}. "
            f"Shift frames to the right by {shift}, frames >> {shift}, and give bits={depth}, or have the camera send "
            "them at the lower end."
        )


def _bench_change_of_exposure(p: _BenchProbe) -> Iterator[str]:
    """Many cameras take an exposure that is set while they run from the next frame, or the one after it, on."""
    shown = p.shown(np.repeat(p.pair[:1], _AFTER, axis=0))
    for before, now in ((1.0, 0.5), (0.5, 1.0)):
        old = p.expose(shown, exposure_s=before * p.exposure_s).astype(np.float64)
        # One by one: what a bench takes before and after a sequence would hide it.
        first = p.expose(p.shown(p.pair[:1]), exposure_s=now * p.exposure_s)
        rest = [p.expose(p.shown(p.pair[:1]), exposure_s=now * p.exposure_s) for _ in range(_AFTER - 1)]
        levels = np.array([x.mean(dtype=np.float64) for x in [first, *rest]])
        usual, step = np.median(levels[_AFTER // 2 :]), old.mean() - np.median(levels[_AFTER // 2 :])
        error = max(float(np.std(levels[_AFTER // 2 :])), float(np.std(first)) / math.sqrt(first.size))
        late = np.flatnonzero((levels[: _AFTER // 2] - usual) * np.sign(step) > 0.3 * abs(step))
        late = late[: len(late) * bool(abs(step) > 10 * error)]
        if len(late):
            unread = int(late[-1]) + 1
            yield (
                f"after a change of exposure_s from {before * p.exposure_s:g} to {now * p.exposure_s:g} the mean of "
                f"frame {unread - 1} is still {levels[unread - 1]:.4g}, and {usual:.4g} later: a new exposure must "
                f"hold from the first frame on. Let {unread} frame{'s' * (unread > 1)} pass unread after each change, "
                "or stop the camera for it."
            )
            return


class _ByFeature(Protocol):
    """A medium that says whether its inputs are features."""

    by_feature: bool


def _needs_mirrors(p: _BenchProbe) -> None:
    """Leave out what shows mirrors one by one where the medium is that of inputs, and refuses them."""
    if has(p.bench, protocol.Drivable) and has(p.bench.device.medium, _ByFeature) and p.bench.device.medium.by_feature:
        raise _NothingToCheck("its medium was measured for features, and knows no single mirrors")
    if protocol.input_layout_of(p.bench) is not None:
        try:
            p.expose(p.shown(p.pair[:1]).to_mirrors())
        except (TypeError, ValueError) as error:
            raise _NothingToCheck(f"it has inputs of its own, and takes no bare mirrors ({error})") from error


def _bench_region(p: _BenchProbe) -> Iterator[str]:
    _needs_mirrors(p)
    # As mirrors: a simulated bench may realise what comes from the formatter anew for each region.
    shown = p.shown(p.pair).to_mirrors()
    whole = p.expose(shown.copy(), roi=None)
    broken = list(_frames_are("frames without roi", whole, (2, *p.bench.sensor_shape), p.dark.dtype))
    yield from broken
    if not broken:
        row, column, n_rows, n_columns = p.region
        part = whole[:, row : row + n_rows, column : column + n_columns]
        found = p.likeness(p.expose(shown), part)
        if not found > 0.3 * p.repeat:
            yield (
                f"frames of the region {p.region} are less like that part of the whole sensor (by a correlation of "
                f"{found:.3f}) than frames of one pattern are like each other ({p.repeat:.3f}): roi is (row, column, "
                "n_rows, n_columns)."
            )


def _bench_forms_of_mirrors(p: _BenchProbe) -> Iterator[str]:
    _needs_mirrors(p)
    mirrors = p.shown(p.pair).to_mirrors()
    small = (*p.region[:2], min(8, p.region[2]), p.region[3])
    given = mirrors.copy()
    known = p.expose(given, roi=small)
    if not np.array_equal(given, mirrors):
        yield "expose changed the mirrors that it was given, but they are the caller's."
    yield from _frames_are("frames of mirrors of uint8 (2, rows, columns)", known, (2, *small[2:]), p.dark.dtype)
    forms = {"one pattern of (rows, columns)": mirrors[0].copy()}
    if p.level_turns is None:
        forms["mirrors of bool"] = mirrors[:1].astype(bool)
    else:
        forms["phases in turns"] = np.full(mirrors[:1].shape, 0.25)
    # One picture of so few rows is as large as packed mirrors.
    if mirrors[0].size == 8 * mirrors.shape[2]:
        del forms["one pattern of (rows, columns)"]
    for what, form in forms.items():
        yield from _frames_are(f"frames of {what}", p.expose(form, roi=small), (1, *small[2:]), p.dark.dtype)
    none = p.expose(np.zeros((0, *mirrors.shape[1:]), dtype=np.uint8), roi=small)
    yield from _frames_are("frames of no pattern", none, (0, *small[2:]))


def _bench_noise(p: _BenchProbe) -> Iterator[str]:
    if np.array_equal(p.frames[0], p.frames[2]):
        raise _NothingToCheck("its frames have no noise")
    again = p.expose(p.sequence)
    if np.array_equal(again, p.frames):
        yield (
            "the same patterns shown again gave the same counts to the bit, though frames of one pattern within a "
            "call differ: two frames must never share their noise."
        )


def _refused(p: _BenchProbe, what: str, call: Callable[[], Any]) -> Iterator[str]:
    try:
        call()
    except (TypeError, ValueError):
        return
    except Exception as error:
        yield f"{what} raised {type(error).__name__} ({error}), but it must be a TypeError or a ValueError."
        return
    yield f"{what} was taken, but it must be refused by a TypeError or a ValueError."


def _bench_refusals(p: _BenchProbe) -> Iterator[str]:
    rows, columns = p.bench.sensor_shape
    shown = p.shown(p.pair[:1])
    before = p.bench.clock.frames if has(p.bench, protocol.Clocked) else 0
    outside = (0, 0, rows + 1, columns)
    yield from _refused(p, f"roi = {outside}, beyond the sensor,", lambda: p.expose(shown, roi=outside))
    yield from _refused(p, "exposure_s = 0", lambda: p.expose(shown, exposure_s=0.0))
    wrong = np.zeros((1, p.bench.mirror_shape[0] + 1, p.bench.mirror_shape[1]), dtype=np.uint8)
    yield from _refused(p, f"mirrors of the shape {wrong.shape}", lambda: p.expose(wrong))
    if p.level_turns is None:
        grey = np.full((1, *p.bench.mirror_shape), 2, dtype=np.uint8)
        yield from _refused(p, "mirrors of the value 2", lambda: p.expose(grey))
    else:
        beyond = np.full((1, *p.bench.mirror_shape), 1.5)
        yield from _refused(p, "phases of 1.5 turns", lambda: p.expose(beyond))
        bits = MirrorPatterns(p.pair[:1], p.layout)
        yield from _refused(p, "bits of mirrors, which turn no phase,", lambda: p.expose(bits))
    yield from _refused(p, "n_frames = 2 with mirrors, of dark frames alone,", lambda: p.expose(shown, n_frames=2))
    if has(p.bench, protocol.Clocked) and p.bench.clock.frames != before:
        yield f"what was refused took {p.bench.clock.frames - before} frames of the clock, but it must take none."


def _bench_clock(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Clocked)
    frames, elapsed_s = p.bench.clock.frames, p.bench.clock.elapsed_s
    p.expose(p.sequence[0:3])
    p.expose(None, n_frames=2)
    taken = p.bench.clock.frames - frames
    own = has(p.bench, protocol.Guarding) and p.bench.guards
    # Its guards count, and what it showed again.
    least = 5 + (N_GUARDS if own else 0)
    if taken < least or (taken > least and not own):
        beside = f", and {N_GUARDS} guards" if own else ""
        yield (
            f"3 patterns and 2 dark frames{beside} took {taken} frames of the clock, but they must take {least}, each "
            "of its own."
        )
    if not p.bench.clock.elapsed_s >= elapsed_s:
        yield f"clock.elapsed_s went from {elapsed_s} to {p.bench.clock.elapsed_s}, but it must not go back."


def _bench_frame_times(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Timed)
    one, all_ = (p.bench.minimum_frametime_s(n, p.exposure_s) for n in (1, p.bench.sensor_shape[0]))
    for n_rows, time_s in ((1, one), (p.bench.sensor_shape[0], all_)):
        if not isinstance(time_s, Real) or not 0 < float(time_s) < 3600:
            yield (f"minimum_frametime_s({n_rows}, {p.exposure_s:g}) is {time_s!r}, but it must be seconds, above 0.")
            return
        if float(time_s) > max(_LONG_FRAME_S, 100 * p.exposure_s):
            yield (
                f"minimum_frametime_s({n_rows}, {p.exposure_s:g}) is {time_s!r}, but it must be seconds, and so many "
                f"for an exposure of {p.exposure_s:g} s look like another unit, such as microseconds."
            )
            return
    if all_ < one:
        yield f"minimum_frametime_s falls from {one:g} for 1 row to {all_:g} for all, but more rows must not be faster."
    if isinstance(p.bench, LaboratoryBench) and p.bench.device.latency_s:
        needed_s = p.exposure_s + p.bench.device.latency_s
        if all_ < needed_s * (1 - 1e-9):
            yield (
                f"minimum_frametime_s is {all_:g} for all rows, but device.latency_s and the exposure take "
                f"{needed_s:g}: a pattern must stay until it is exposed."
            )
            return
    if has(p.bench, protocol.Stepping):
        stepped = p.bench.stepped_frametime_s(p.bench.sensor_shape[0], p.exposure_s)
        if not isinstance(stepped, Real) or not float(all_) <= float(stepped) < 3600:
            yield f"stepped_frametime_s is {stepped!r}, but it must be seconds, no less than {all_:g}, of any frames."
    frames = p.expose(p.sequence[0:1], frametime_s=float(all_))
    yield from _frames_are("frames at the shortest frametime_s", frames, (1, *p.region[2:]), p.dark.dtype)


def _bench_identity(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Identified)
    if not has(p.bench.device, protocol.Record):
        yield (
            f"its device lacks {', '.join(lacking(p.bench.device, protocol.Record))}, but it must be an "
            "opusim.bench.protocol.Record."
        )
        return
    first, second = p.bench.device.fingerprint(), p.bench.device.fingerprint()
    if not isinstance(first, str) or not first or first != second:
        yield f"device.fingerprint() gave {first!r} and then {second!r}, but it must be one text that is not empty."
    if not _is_whole(p.bench.seed):
        yield f"seed is {p.bench.seed!r}, but it must be a whole number."


def _bench_lamp(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Lamp)
    given: dict[str, Any] = {"exposure_s": p.exposure_s, "n_frames": 2, "roi": p.region}
    weak, strong = (np.asarray(p.bench.flat_field(photons, **given)) for photons in (0.0, 1e9))
    for frames in (weak, strong):
        yield from _frames_are("2 frames of flat_field", frames, (2, *p.region[2:]), p.dark.dtype)
    if not strong.mean(dtype=np.float64) > weak.mean(dtype=np.float64):
        yield (
            f"flat_field of 1e9 photons reads {strong.mean():.4g}, and of none {weak.mean():.4g}: more light must be "
            "brighter."
        )


def _transformed(p: _BenchProbe, patterns: MirrorPatterns | np.ndarray, n_pixels: int, **how: Any) -> np.ndarray:
    least_s = p.bench.minimum_frametime_s(p.region[2], p.exposure_s)
    time_s = max(float(least_s), float(p.bench.device.operation.frametime_s))
    return np.asarray(
        p.bench.transform(patterns, exposure_s=p.exposure_s, roi=p.region, n_pixels=n_pixels, frametime_s=time_s, **how)
    )


def _bench_transform(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Drivable)
    device, dtype = p.bench.device, p.dark.dtype
    for what, told, seen in (
        ("device.dmd.shape", device.dmd.shape, p.bench.mirror_shape),
        ("device.camera.shape", device.camera.shape, p.bench.sensor_shape),
        ("device.camera.dtype", device.camera.dtype, dtype),
    ):
        if told != seen:
            yield f"{what} is {told}, but the bench's own is {seen}: they must be the same."
    if device.camera.quantise and max(p.frames.max(), p.dark.max()) > device.camera.full_scale_dn:
        yield f"a count is {p.frames.max()}, but device.camera.full_scale_dn is {device.camera.full_scale_dn}."
    n_pixels = max(1, p.region[2] * p.region[3] * 3 // 4)
    done: list[int] = []
    counts = _transformed(p, p.sequence, n_pixels, progress=done.append)
    if counts.shape != (len(p.sequence), n_pixels) or counts.dtype != dtype:
        yield (
            f"transform of {len(p.sequence)} patterns returned {counts.dtype} of the shape {counts.shape}, but it must "
            f"be {dtype}, as of expose, of the shape {(len(p.sequence), n_pixels)}."
        )
        return
    if not done or done[-1] != len(p.sequence) or sorted(done) != done:
        yield f"progress was told {done}, but it must be told rising numbers up to {len(p.sequence)}."
    found = p.likeness(counts, p.frames[:2].reshape(2, -1)[:, :n_pixels])
    if not found > 0.3 * p.repeat:
        yield (
            f"counts of transform are less like the first {n_pixels} pixels of the same frames of expose (by a "
            f"correlation of {found:.3f}) than these are like each other ({p.repeat:.3f}): they must be the pixels of "
            "the region in raster order."
        )


def _bench_packed_mirrors(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Drivable)
    if p.level_turns is not None:
        raise _NothingToCheck("its modulator has levels, which are not packed")
    _needs_mirrors(p)
    n_mirrors = math.prod(p.bench.mirror_shape)
    first = (np.random.default_rng(p.seed).permutation(n_mirrors) < n_mirrors // 2).astype(np.uint8)
    flat = np.tile(np.stack([first, 1 - first]), (_REPEATS, 1))
    frames = p.expose(flat.reshape(-1, *p.bench.mirror_shape))
    n_pixels = p.region[2] * p.region[3]
    counts = _transformed(p, np.packbits(flat, axis=1, bitorder="little"), n_pixels)
    if counts.shape != (len(flat), n_pixels):
        yield (
            f"transform of {len(flat)} packed patterns returned the shape {counts.shape}, but it must be "
            f"{(len(flat), n_pixels)}."
        )
        return
    repeat = p.likeness(frames, frames)
    found = p.likeness(counts, frames[:2].reshape(2, -1))
    if not found > 0.3 * repeat:
        yield (
            f"counts of packed mirrors are less like frames of the same mirrors (by a correlation of {found:.3f}) than "
            f"these are like each other ({repeat:.3f}): transform takes eight mirrors a byte, little-endian."
        )


def _bench_level(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Levelled)
    n_on = int(p.sequence[0:1].count_on()[0])
    none, half = (float(p.bench.expected_level_dn(n, p.exposure_s)) for n in (0, n_on))
    seen = p.frames.mean(dtype=np.float64) - p.dark.mean(dtype=np.float64)
    expected = half - float(p.dark.mean(dtype=np.float64))
    # Pixels that clip, and the part of the sensor that is looked at, make it less exact.
    if not (half > none and 0.4 * expected < seen < 2.5 * expected):
        yield (
            f"expected_level_dn is {half:.4g} for {n_on} mirrors on and {none:.4g} for none, but frames of so many are "
            f"{seen:.4g} above the dark."
        )


def _no_arm(bench: Any, error: Exception) -> str:
    """Say that there is no arm; where the record does not, or says that there is one, also why a phase was refused."""
    device = getattr(bench, "device", None)
    if getattr(getattr(device, "reference", None), "present", None) is False:
        return "it has no reference arm"
    text = " ".join(str(error).split()).rstrip(".")
    return f"it takes no phase of a reference arm ({text if len(text) <= 100 else text[:99] + '…'})"


def _bench_reference_arm(p: _BenchProbe) -> Iterator[str]:
    phases = np.array([0.0, np.pi])
    try:
        frames = p.expose(p.sequence, reference_phase_rad=phases)
    except (TypeError, ValueError) as error:
        raise _NothingToCheck(_no_arm(p.bench, error)) from error
    shape = (2 * len(p.sequence), *p.region[2:])
    broken = list(_frames_are(f"frames of {len(p.sequence)} patterns under 2 phases", frames, shape, p.dark.dtype))
    yield from broken
    if not broken:
        fringes = frames[::2].astype(np.float64) - frames[1::2]
        found = p.likeness(fringes, fringes)
        if not found > 0.02:
            yield (
                "the difference of a pattern's frames under the phases 0 and pi is as unlike itself as it is unlike "
                f"that of another pattern (by a correlation of {found:.3f}): each pattern must be shown under all "
                "phases before the next one, and the arm must interfere."
            )


def _bench_settling(p: _BenchProbe) -> Iterator[str]:
    """Frames right after a step of the phase, against later ones under the same."""
    turns = np.repeat(np.array([0.0, np.pi]), _AFTER)
    try:
        frames = p.expose(p.shown(p.pair[:1]), reference_phase_rad=np.tile(turns, _STEPS))
    except (TypeError, ValueError) as error:
        raise _NothingToCheck(_no_arm(p.bench, error)) from error
    shape = (2 * _STEPS * _AFTER, *p.region[2:])
    broken = list(_frames_are(f"frames of a pattern under {shape[0]} phases", frames, shape, p.dark.dtype))
    yield from broken
    if broken:
        return
    each = frames.reshape(_STEPS, 2, _AFTER, -1).astype(np.float64)
    late = each[:, :, _AFTER // 2 :].mean(axis=2)  # (step, phase, pixels)
    ways = late[:, 1] - late[:, 0]
    # Of the other steps: with noise of its own a step would always seem a little behind.
    ways = (ways.sum(axis=0) - ways) / (_STEPS - 1)
    # How far towards the other phase the first frames still are, as a share of the step; each step is one measurement.
    missed = (each[:, :, 0] - late) * np.array([1, -1])[:, None]
    behind = np.einsum("skp,sp->sk", missed, ways) / np.square(ways).sum(axis=1)[:, None]
    behind = behind.ravel()[1:]  # before the very first one there was no step
    mean, scatter = float(behind.mean()), float(behind.std(ddof=1)) / math.sqrt(behind.size)
    if mean > max(_UNSETTLED, 5 * scatter):
        yield (
            f"a frame right after a step of the reference's phase by pi is {mean:.1%} of the fringe away from those "
            "that follow under the same phase: the shifter has not settled. Give a longer settling_s in LabDevice, or "
            "return from set_reference later."
        )


def _bench_reserved_frames(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Reservable, protocol.Drivable)
    n, n_pixels = len(p.sequence), p.region[2] * p.region[3]
    least_s = float(p.bench.minimum_frametime_s(p.region[2], p.exposure_s))
    reserved = p.bench.reserve(n, frametime_s=max(least_s, float(p.bench.device.operation.frametime_s)))
    frames = p.bench.clock.frames if has(p.bench, protocol.Clocked) else 0
    whole = _transformed(p, p.sequence, n_pixels, reserved=reserved)
    if not np.array_equal(_transformed(p, p.sequence, n_pixels, reserved=reserved), whole):
        yield "patterns shown twice in the same reserved frames gave other counts, but they must be the same bits."
    # Of a camera that leaves electrons behind, a frame needs the one before it.
    lags = has(p.bench, protocol.Lagging) and p.bench.lags
    some = np.arange(n // 2) if lags else np.arange(1, n, 2)
    part = type(p.sequence)(p.sequence.bits[some], p.layout)
    if not np.array_equal(_transformed(p, part, n_pixels, reserved=reserved.only(some)), whole[some]):
        yield (
            "a part of the patterns, shown in their reserved frames, gave other counts than in the whole sequence, but "
            "they must be the same to the bit."
        )
    if has(p.bench, protocol.Clocked) and p.bench.clock.frames != frames:
        yield f"patterns in reserved frames took {p.bench.clock.frames - frames} frames more, but they must take none."


def _bench_limits(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Limited)
    other = p.bench.with_limits(threads=1)
    if type(other) is not type(p.bench) or other.limits.get("threads") != 1 or other.threads != 1:
        yield (
            f"with_limits(threads=1) gave a {type(other).__name__} with the limits {other.limits} and {other.threads} "
            f"threads, but it must be a {type(p.bench).__name__} with one."
        )
    if has(p.bench, protocol.Clocked):
        before = p.bench.clock.frames
        other.expose(p.sequence[0:1], exposure_s=p.exposure_s, roi=p.region)
        if p.bench.clock.frames != before + 1:
            yield "a bench with other limits does not share the clock, but no two of their frames may share noise."


def _bench_tuning(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Tunable)
    if not protocol.tunes(p.bench):
        yield from _refused(p, "a tuning of a laser whose tuning_range_hz is 0", lambda: p.bench.tune(1.0))
        return
    start, most = p.bench.tuning_hz, p.bench.tuning_range_hz
    for tuning_hz in (most / 2, 0.0):
        p.bench.tune(tuning_hz)
        if p.bench.tuning_hz != tuning_hz:
            yield f"tune({tuning_hz:g}) left tuning_hz at {p.bench.tuning_hz!r}, but it must be what was asked for."
    yield from _refused(p, "a tuning beyond tuning_range_hz", lambda: p.bench.tune(2.0 * most))
    p.bench.tune(start)


def _bench_resuming(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Resumable, protocol.Clocked)
    clock = p.bench.clock
    frames, elapsed_s = clock.frames, clock.elapsed_s
    p.bench.advance_to(frames + 10, elapsed_s + 1.0)
    if (clock.frames, clock.elapsed_s) != (frames + 10, elapsed_s + 1.0):
        yield (
            f"advance_to({frames + 10}, {elapsed_s + 1.0:g}) left the clock at {(clock.frames, clock.elapsed_s)}, but "
            "it must stand where it was put."
        )
    yield from _refused(p, "advance_to a frame that is taken", lambda: p.bench.advance_to(frames, elapsed_s))


def _bench_repeating(p: _BenchProbe) -> Iterator[str]:
    _needs(p.bench, protocol.Repeatable)
    clock = p.bench.clock
    now, then = (clock.frames, clock.elapsed_s), (clock.frames + 10, clock.elapsed_s + 1.0)
    if p.bench.advance_from(then, (then[0] + 10, then[1] + 1.0)) or (clock.frames, clock.elapsed_s) != now:
        yield f"advance_from({then}, ...) moved a clock that stood at {now}, but it must leave it alone."
    elif not p.bench.advance_from(now, then) or (clock.frames, clock.elapsed_s) != then:
        yield (
            f"advance_from({now}, {then}) left the clock at {(clock.frames, clock.elapsed_s)}, but it must stand where "
            "it was put, and say so."
        )
    if not isinstance(p.bench.made_with, str) or p.bench.made_with != p.bench.made_with:
        yield f"made_with is {p.bench.made_with!r}, but it must be a text that stays the same."


# ---------------------------------------------------------------------------------------------- a task


class _TaskProbe:
    """A task under test, and numbers that it gave."""

    def __init__(
        self, task: Any, make_opu: Callable[[int], Any], device: Any, n_components: int, seed: int, random: bool,
        shows: bool,
    ) -> None:  # fmt: skip
        self.task, self.make_opu, self.device, self.seed = task, make_opu, device, seed
        self.n_components, self.random, self.shows = n_components, random, shows
        self.changed: dict[str, tuple[Any, Any]] = {}
        self.frames, self.drew_from = 0, ""

    @cached_property
    def result(self) -> Any:
        with self.make_opu(self.seed) as opu:
            before, frames, state = _settings(opu), opu.bench.clock.frames, _shared_generators()
            result = self.task(opu, self.seed)
            after, self.frames = _settings(opu), opu.bench.clock.frames - frames
            self.drew_from = " and ".join(name for name, text in _shared_generators().items() if text != state[name])
            self.changed = {name: (value, after[name]) for name, value in before.items() if after[name] != value}
            self.changed |= _left_on_device(opu)
        return result

    def numbers(self, seed: int, *, opu_seed: int | None = None) -> dict[str, float]:
        with self.make_opu(self.seed if opu_seed is None else opu_seed) as opu:
            return dict(self.task(opu, seed))


def _shared_generators() -> dict[str, str]:
    """Return the states of generators that the whole program shares."""
    state: Any = np.random.get_state(legacy=True)  # noqa: NPY002
    _, keys, *rest = state
    return {"numpy.random": f"{keys.tobytes().hex()} {rest}", "random": repr(random.getstate())}


class _Exposed(Protocol):
    """A fit, which says what exposure it came with."""

    exposure_us: int


def _left_on_device(opu: Any) -> dict[str, tuple[Any, Any]]:
    """Return which of the device's settings are others than the last fit has made them."""
    device, fit = opu.device, opu.device.settings_owner
    if not has(fit, _Exposed):
        return {}
    left = {name: getattr(device, name) for name in ("exposure_us", "frametime_us", "output_roi")}
    device.exposure_us = fit.exposure_us
    opu.n_components = opu.n_components  # chooses the region and the frame time anew
    return {f"device.{name}": (found, was) for name, was in left.items() if (found := getattr(device, name)) != was}


def _settings(opu: Any) -> dict[str, Any]:
    """Return what of an OPU is set by whoever made it, and must stay."""
    return {
        "n_components": opu.n_components, "linear_mode": opu.linear_mode, "rescale": opu.rescale.name,
        "input_roi_strategy": opu.input_roi_strategy.name, "config": copy.deepcopy(opu.config),
        "device.active": opu.device.active,
    }  # fmt: skip


def check_task(
    task: Any, *, device: Any = "aurora", n_components: int | None = None, seed: int = 0, random: bool = True,
    shows: bool = True,
) -> Report:  # fmt: skip
    """Check that a task is one that a sweep can repeat: ``task(opu, seed)`` returns names with numbers.

    It is run three times, each on an OPU of its own. Give it short settings.

    Parameters
    ----------
    task : callable
        The task, as `opusim.tasks.base.Task` describes it.
    device : Device, str or Path
        What the OPUs simulate.
    n_components : int, optional
        Their outputs; those that the task names (`outputs`), or 100.
    seed : int
        Seed of the OPUs, and of the task.
    random : bool
        Whether the task's seed chooses something in it. Say False of one that always shows the same vectors: then two
        OPUs of different seeds must give different numbers.
    shows : bool
        Whether it shows vectors to its OPU. Say False of one that only computes, as a comparison does.

    Returns
    -------
    Report
        What was checked. All but what the task says of itself is skipped where its data are not on this machine.

    Raises
    ------
    ConformanceError
        With a sentence for each rule that is broken.
    """
    from opusim.device.record import Device
    from opusim.drivers.opu import OPU
    from opusim.tasks.base import as_task

    device = Device.load(device)
    name = getattr(task, "__qualname__", type(task).__name__)
    gates = (_task_call, _task_description, _task_attributes, _task_numbers)
    if isinstance(task, type) or not callable(task):
        return _run(f"The task {name}", _TaskProbe(task, OPU, device, 0, seed, random, shows), gates[:1], ())
    try:
        declared = as_task(task)
    except TypeError as error:
        raise ConformanceError(f"The task {name}", {"attributes": [str(error)]}) from error
    if n_components is None:
        n_components = declared.outputs or 100

    def make_opu(opu_seed: int) -> Any:
        return OPU(n_components, device=device, seed=opu_seed)

    probe = _TaskProbe(task, make_opu, device, n_components, seed, random, shows)
    checks = (_task_light, _task_repetition, _task_seed, _task_settings, _task_generators, _task_copies, _task_example)
    try:
        declared.check(device, n_components)
    except FileNotFoundError as error:
        why = f"its data are not here ({error})"
        report = _run(f"The task {name}", probe, gates[:3], ())
        return Report(report.subject, report.passed, {_name(c): why for c in (gates[3], *checks)})
    except (TypeError, ValueError) as error:
        sentence = f"check refused the device {device.name!r} and n_components = {n_components}: {error}"
        raise ConformanceError(f"The task {name}", {"check": [sentence]}) from error
    return _run(f"The task {name}", probe, gates, checks)


def _task_call(p: _TaskProbe) -> Iterator[str]:
    if isinstance(p.task, type) or not callable(p.task):
        yield f"it is {p.task!r}, but it must be a function of an OPU and a seed, or an object that can be called so."


def _task_description(p: _TaskProbe) -> Iterator[str]:
    from opusim.tasks.registry import describe

    first, second = describe(p.task), describe(p.task)
    if first != second or not all(isinstance(name, str) for name in first):
        yield f"it describes itself as {first} and then {second}, but it must be the same texts, flags and numbers."


def _task_attributes(p: _TaskProbe) -> Iterator[str]:
    from opusim.tasks.base import as_task

    declared = as_task(p.task)
    outputs, linear = declared.outputs, declared.linear
    if outputs is not None and not (_is_whole(outputs) and outputs > 0):
        yield f"outputs is {outputs!r}, but it must be a whole number above 0, or None."
    if not isinstance(linear, bool):
        yield f"linear is {linear!r}, but it must be True or False."


def _task_numbers(p: _TaskProbe) -> Iterator[str]:
    if not isinstance(p.result, Mapping) or not p.result:
        yield f"it returned {p.result!r}, but it must return a mapping from names to numbers."
        return
    for name, value in p.result.items():
        number = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        if not isinstance(name, str) or not isinstance(number, Real):
            yield f"it returned {name!r}: {value!r}, but it must return names with real numbers."
        elif not math.isfinite(number):
            yield f"it returned {name!r}: {value!r}, but a number must be finite."


def _task_light(p: _TaskProbe) -> Iterator[str]:
    if not p.shows:
        raise _NothingToCheck("it only computes")
    if not p.frames > 0:
        yield f"it took {p.frames} frames of the OPU that it was given, but it must use it; or say shows=False."


def _task_repetition(p: _TaskProbe) -> Iterator[str]:
    again = p.numbers(p.seed)
    if again != dict(p.result):
        yield (
            f"on another OPU of the same seed it returned {again}, and before {dict(p.result)}: the same seed must "
            "give the same numbers. It may draw from a generator of its own, or use a calibration that is stored."
        )


def _task_seed(p: _TaskProbe) -> Iterator[str]:
    if not p.random:
        if p.numbers(p.seed, opu_seed=p.seed + 1) == dict(p.result):
            yield (
                f"on OPUs of the seeds {p.seed} and {p.seed + 1} it returned the same numbers, {dict(p.result)}, but "
                "they must follow from what the OPU gives."
            )
        return
    other = p.numbers(p.seed + 1)
    if set(other) != set(p.result):
        yield f"with the seed {p.seed + 1} it returned {sorted(other)}, and with {p.seed} {sorted(p.result)}."
    elif other == dict(p.result):
        yield (
            f"with the seeds {p.seed} and {p.seed + 1} it returned the same numbers on the same device, {other}, but "
            "the seed must choose what is random in the task. If nothing is, check it with random=False."
        )


def _task_settings(p: _TaskProbe) -> Iterator[str]:
    for name, (before, after) in p.changed.items():
        yield f"it found the OPU with {name} = {before!r} and left it with {after!r}, but it must leave it as it was."


def _task_generators(p: _TaskProbe) -> Iterator[str]:
    if p.drew_from:
        yield (
            f"it seeded or drew from {p.drew_from}, which the whole program shares, but it must have a generator of "
            "its own: numpy.random.default_rng(seed)."
        )


def _task_copies(p: _TaskProbe) -> Iterator[str]:
    from opusim.tasks.registry import describe

    copied = pickle.loads(pickle.dumps(p.task))
    if describe(copied) != describe(p.task):
        yield f"its pickle, as workers get it, is {describe(copied)}, but it must be {describe(p.task)}."


def _task_example(p: _TaskProbe) -> Iterator[str]:
    from opusim.sweep.exposure import example_of
    from opusim.tasks.base import as_task

    if as_task(p.task).example is None:
        raise _NothingToCheck("it names no example")
    first, second = (example_of(p.task, p.seed) for _ in range(2))
    if not np.array_equal(first, second):
        yield "its example is another each time, but it must follow from the seed."
    if not np.isin(first, (0, 1)).all():
        yield "its example holds other values than 0 and 1, but it must be such vectors as the mirrors show."


# ---------------------------------------------------------------------------------------------- a medium


_WAVELENGTH_M = 532e-9
# Correlation that two independent matrices do not reach.
_CHANCE = 0.2


class _Ballistic(Protocol):
    """A medium that lets a share of the light through unscattered."""

    ballistic_fraction: float


class _WithEntries(Protocol):
    """A medium whose entries are given."""

    def entries(self, inputs: range, outputs: range, *, seed: int) -> np.ndarray:
        """Return a tile of the matrix."""
        ...


class _MediumProbe:
    """A medium under test, and its matrix for a few inputs and outputs."""

    def __init__(self, medium: Any, n_inputs: int, n_outputs: int, seed: int) -> None:
        self.medium, self.n_inputs, self.n_outputs, self.seed = medium, n_inputs, n_outputs, seed

    @cached_property
    def grid(self) -> ModeGrid:
        """Cells of the inputs in a block, and of the outputs in one that is wider than high."""
        side = 2 * math.ceil(math.sqrt(2 * max(self.n_inputs, self.n_outputs)))
        return ModeGrid(max(32, side), _block(self.n_inputs), _block(self.n_outputs))

    def operator(self, **which: Any) -> Any:
        how = {"seed": self.seed, **which}
        return self.medium.operator(self.grid, wavelength_m=_WAVELENGTH_M, **how)

    def matrix(self, medium: Any = None, **which: Any) -> np.ndarray:
        """Complex64, (inputs, outputs)."""
        medium, how = self.medium if medium is None else medium, {"seed": self.seed, **which}
        if not medium.has_waves:
            return np.asarray(medium.entries(range(self.n_inputs), range(self.n_outputs), **how))
        operator = medium.operator(self.grid, wavelength_m=_WAVELENGTH_M, **how)
        return np.asarray(operator.forward(_unit_cells(self.grid.input_shape))).reshape(self.n_inputs, -1)

    @cached_property
    def first(self) -> np.ndarray:
        return self.matrix()

    @cached_property
    def scattering(self) -> Any:
        """The medium without light that passes it unscattered, which is the same for all seeds and at all times."""
        return dataclasses.replace(self.medium, ballistic_fraction=0.0) if has(self.medium, _Ballistic) else self.medium


def _block(n: int) -> tuple[int, int]:
    rows = max(k for k in range(1, math.isqrt(n) + 1) if n % k == 0)
    return rows, n // rows


def _unit_cells(shape: tuple[int, int]) -> np.ndarray:
    return np.eye(math.prod(shape), dtype=np.complex64).reshape(-1, *shape)


def check_medium(medium: Any, *, n_inputs: int = 48, n_outputs: int = 1200, seed: int = 0) -> Report:
    """Check that a medium is what a bench computes with: one linear map for a seed, a state and a polarisation.

    The entries of that map have the mean square 1, those of two seeds or polarisations are independent, and in time
    they fall off as the decorrelation time says. They are the same to the bit whenever, in whatever tile, and by
    however many threads they are computed.

    Parameters
    ----------
    medium : Medium
        The medium; its files must be there. One that is given, not drawn, says so by ``Medium.random``: it need not be
        another for each seed, polarisation and time, nor have entries of the mean square 1.
    n_inputs, n_outputs : int
        Size of the matrix that is looked at: for one that is measured no more than it has.
    seed : int
        Which realisation is looked at, beside others.

    Returns
    -------
    Report
        What was checked, and what the kind of medium does not have.

    Raises
    ------
    ConformanceError
        With a sentence for each rule that is broken.
    ValueError
        If it has fewer inputs or outputs than are to be looked at.
    """
    validation.integer("n_inputs", n_inputs, low=8)
    validation.integer("n_outputs", n_outputs, low=64)
    if isinstance(medium, EntryMedium):
        medium.check_size(n_inputs, n_outputs)
    gates = (_medium_members, _medium_matrix)
    checks = (
        _medium_level, _medium_repetition, _medium_seed, _medium_polarisations, _medium_drift, _medium_copies,
        _medium_tiles, _medium_threads, _medium_linearity, _medium_reciprocity, _medium_inside,
    )  # fmt: skip
    probe = _MediumProbe(medium, n_inputs, n_outputs, seed)
    return _run(_subject("medium", medium), probe, gates, checks)


def _medium_members(p: _MediumProbe) -> Iterator[str]:
    if isinstance(p.medium, type):
        yield from _a_class(p.medium)
        return
    if not isinstance(p.medium, Medium):
        yield f"it is a {type(p.medium).__name__}, but it must be an opusim.device.medium.Medium."
        return
    if not isinstance(p.medium.kind, str) or not p.medium.kind:
        yield f"kind is {p.medium.kind!r}, but it must be a name, as in kind: ClassVar[str] = 'fog'."
    if not isinstance(p.medium.random, bool):
        yield f"random is {p.medium.random!r}, but it must be True or False."
    share, time_s = p.medium.transmission, p.medium.decorrelation_time_s
    is_right = True
    if not isinstance(share, Real) or not 0 <= share <= 1:
        is_right = False
        yield f"transmission is {share!r}, but it must be a share of the light, from 0 to 1."
    if not isinstance(time_s, Real) or not time_s > 0:
        is_right = False
        yield f"decorrelation_time_s is {time_s!r}, but it must be seconds above 0, or inf."
    medium: Any = p.medium
    if is_right and hash(medium) != hash(dataclasses.replace(medium)):
        yield "it must be a frozen dataclass of its parameters, so that a device is known by them."


def _medium_matrix(p: _MediumProbe) -> Iterator[str]:
    what = "forward of its operator" if p.medium.has_waves else "entries"
    if p.first.dtype != np.complex64 or p.first.shape != (p.n_inputs, p.n_outputs):
        yield (
            f"{what} gave {p.first.dtype} of the shape {p.first.shape}, but it must be complex64 of "
            f"{(p.n_inputs, p.n_outputs)}: inputs, outputs."
        )
    elif not np.isfinite(p.first).all():
        yield f"{what} gave numbers that are not finite."
    elif not p.first.any():
        yield f"{what} gave zeros alone, but some light must come through."


def _needs_chance(p: _MediumProbe, why: str) -> None:
    if not p.medium.random:
        raise _NothingToCheck(f"its matrix is given, not drawn (random is False): {why}")


def _medium_level(p: _MediumProbe) -> Iterator[str]:
    _needs_chance(p, "entries may have any mean square")
    entries = p.first
    if p.medium.has_waves:  # over the whole grid: light that is not scattered comes to some places only
        side = p.grid.side
        grid = ModeGrid(side, p.grid.input_shape, (side, side))
        operator = p.medium.operator(grid, wavelength_m=_WAVELENGTH_M, seed=p.seed)
        entries = np.asarray(operator.forward(_unit_cells(p.grid.input_shape)[:8]))
    square = float(np.mean(np.square(np.abs(entries), dtype=np.float64)))
    if not 0.7 < square < 1.4:  # chance moves it by a few percent
        yield (
            f"the mean square of its entries is {square:.4g}, but it must be 1: how much light comes through is said "
            "by transmission alone."
        )


def _medium_repetition(p: _MediumProbe) -> Iterator[str]:
    if not np.array_equal(p.matrix(), p.first):
        yield f"asked twice for the seed {p.seed} it gave two matrices, but a seed must give one, to the bit."


def _medium_seed(p: _MediumProbe) -> Iterator[str]:
    if p.medium.by_feature:
        raise _NothingToCheck("its matrix is that of one device, whatever the seed")
    _needs_chance(p, "it may be the same for every seed")
    found = _alike(p.matrix(p.scattering), p.matrix(p.scattering, seed=p.seed + 1))
    if found > _CHANCE:
        yield (
            f"matrices of the seeds {p.seed} and {p.seed + 1} are alike by {found:.2f}, but they must be independent, "
            f"unless the class says random = False."
        )


def _medium_polarisations(p: _MediumProbe) -> Iterator[str]:
    if p.medium.by_feature:
        raise _NothingToCheck("its matrix was measured in one polarisation")
    _needs_chance(p, "it may be the same for both polarisations")
    found = _alike(p.matrix(p.scattering), p.matrix(p.scattering, channel=1))
    if found > _CHANCE:
        yield f"matrices of the two polarisations are alike by {found:.2f}, but they must be independent."


def _medium_drift(p: _MediumProbe) -> Iterator[str]:
    tau_s = 100.0
    if isinstance(p.medium.drift, StateSequence):
        raise _NothingToCheck("its states were measured: they follow no law")
    try:
        medium = dataclasses.replace(p.scattering, decorrelation_time_s=tau_s)
    except ValueError as error:
        raise _NothingToCheck(f"it never changes ({error})") from None
    drift, start = Drift(tau_s), p.matrix(medium)
    if not np.array_equal(start, p.matrix(p.scattering)):
        yield "at the start a medium that drifts must be the one that does not, but it is another."
    state = int(drift.state(np.array(0.6 * tau_s)))
    expected = drift.correlation(drift.time(state))
    later = p.matrix(medium, state=state)
    if np.array_equal(later, start):
        _needs_chance(p, "it does not change with time")
    found = _alike(start, later)
    if abs(found - expected) > 0.12:
        yield (
            f"after 0.6 of its decorrelation time its matrix is like that at the start by {found:.2f}, but it must be "
            f"by exp(-0.36), here {expected:.2f}; one that never changes has decorrelation_time(frozen=True)."
        )
    near = _alike(start, p.matrix(medium, state=1))
    if near < 0.999:
        yield f"one state on, its matrix is like that at the start by {near:.4f}, but a state must be a small step."


def _medium_copies(p: _MediumProbe) -> Iterator[str]:
    copied = pickle.loads(pickle.dumps(p.medium))
    if copied != p.medium or not np.array_equal(p.matrix(copied), p.first):
        yield "its pickle is another medium, or has another matrix, but workers must compute the same."


def _medium_tiles(p: _MediumProbe) -> Iterator[str]:
    if p.medium.has_waves:
        raise _NothingToCheck("it has no entries")
    inputs, outputs = range(3, p.n_inputs // 2), range(5, p.n_outputs // 2)
    tile = np.asarray(p.medium.entries(inputs, outputs, seed=p.seed))
    whole = p.first[inputs.start : inputs.stop, outputs.start : outputs.stop]
    if not np.array_equal(tile, whole):
        yield (
            f"entries({inputs}, {outputs}) are not those of the whole matrix at these places, but an entry must depend "
            "on its input and its output alone."
        )


def _medium_threads(p: _MediumProbe) -> Iterator[str]:
    if p.medium.has_waves:
        one, two = (np.asarray(p.operator(workers=k).forward(_unit_cells(p.grid.input_shape))) for k in (1, 2))
    else:
        one, two = (p.matrix(threads=k) for k in (1, 2))
    if not np.array_equal(one, two):
        yield "1 and 2 threads gave different matrices, but the numbers must not depend on them."


def _medium_inside(p: _MediumProbe) -> Iterator[str]:
    if not p.medium.has_waves or not p.medium.inside:
        raise _NothingToCheck("it names no field that acts on waves inside it and may be learnt")
    how: dict[str, Any] = {"wavelength_m": _WAVELENGTH_M, "seed": p.seed}
    before = p.medium.factors(p.grid, **how)
    for name in p.medium.inside:
        about = parameters_of(type(p.medium)).get(name)
        if about is None or not about.learnable:
            yield f"inside names {name!r}, but there is no field of that name that is described as learnable."
            continue
        start = float(getattr(p.medium, name))
        after = dataclasses.replace(p.medium, **{name: 1.001 * start}).factors(p.grid, **how)
        slopes = p.medium.phase_slopes(name, p.grid, **how)
        none = [None] * len(before.screens)
        rows = (
            (before.transfer, after.transfer, slopes.transfer), (before.ballistic, after.ballistic, slopes.ballistic),
            *zip(before.screens, after.screens, slopes.screens or none, strict=True),
        )  # fmt: skip
        for factor, changed, slope in rows:
            if factor is None:
                continue
            turned = factor if slope is None else factor * np.exp(1j * slope * 0.001 * start)
            error = float(np.abs(changed - turned).max() / np.abs(factor).max())
            if error > 1e-3 + 0.05 * float(np.abs(changed - factor).max() / np.abs(factor).max()):
                yield (
                    f"with {name} larger by a thousandth a factor differs by {error:.2g} of it from what phase_slopes "
                    "says, but gradients are computed by that."
                )
                break


def _medium_linearity(p: _MediumProbe) -> Iterator[str]:
    if not p.medium.has_waves:
        raise _NothingToCheck("it has no operator")
    numbers = np.random.default_rng(p.seed).normal(size=(2, 3, p.n_inputs))
    x = (numbers[0] + 1j * numbers[1]).astype(np.complex64)
    found = np.asarray(p.operator().forward(x.reshape(3, *p.grid.input_shape))).reshape(3, -1)
    error = _relative(found, x @ p.first)
    if error > 1e-4:
        yield (
            f"forward of random fields differs from the sum over its answers to single cells by {error:.2g} of it, but "
            "the medium must be linear."
        )
    if not p.medium.has_waves or lacking(p.medium, _WithEntries):
        return
    entries = np.asarray(p.medium.entries(range(p.n_inputs), range(p.n_outputs), seed=p.seed))
    if entries.shape != p.first.shape or _relative(entries, p.first) > 1e-4:
        yield "its entries are not those of its operator, but both must be one matrix."


def _medium_reciprocity(p: _MediumProbe) -> Iterator[str]:
    if not p.medium.has_waves:
        raise _NothingToCheck("it has no operator")
    operator = p.operator()
    if not operator.reciprocal:
        raise _NothingToCheck("its operator says that backward is not the transpose")
    back = np.asarray(operator.backward(_unit_cells(p.grid.output_shape))).reshape(p.n_outputs, -1)
    error = _relative(back.T, p.first)
    if error > 1e-4:
        yield (
            f"backward differs from the transpose of forward by {error:.2g} of it, but both must be one matrix: "
            "entries are computed by either."
        )


def _relative(found: np.ndarray, known: np.ndarray) -> float:
    return float(np.linalg.norm(found - known)) / max(float(np.linalg.norm(known)), 1e-30)


# ---------------------------------------------------------------------------------------------- a method


class _MethodProbe:
    """A method under test, two passes of vectors, and the frames of their patterns, each taken once."""

    def __init__(self, method: Any, n_features: int, n_out: int, show: Any, seed: int) -> None:
        self.method, self.n_features, self.n_out, self.seed = method, n_features, n_out, seed
        self.show = self._by_numbers if show is None else show
        self._noise = np.random.default_rng(seed)

    def _by_numbers(self, bits: np.ndarray, phases_rad: np.ndarray | None) -> np.ndarray:
        """Return counts of a random matrix, as a camera of 8 bits gives them; with noise no two frames are alike."""
        n_pixels = self.n_out if self.method.n_pixels is None else self.method.n_pixels
        real, imaginary = np.random.default_rng(self.seed).normal(size=(2, self.n_features + 1, n_pixels))
        entries = (real + 1j * imaginary) / math.sqrt(2 * self.n_features)
        arms = np.zeros(1) if phases_rad is None else np.exp(1j * np.asarray(phases_rad))
        fields = (bits @ entries[:-1])[:, None] + arms[:, None] * entries[-1] * math.sqrt(self.n_features)
        light = (60 * np.abs(fields) ** 2).reshape(-1, n_pixels)
        return np.clip(np.rint(2 + light + self._noise.normal(size=light.shape)), 0, 255).astype(np.uint8)

    @cached_property
    def sizes(self) -> list[int]:
        block = self.method.block
        return [block, min(3, block)] if not self.method.parted else [2 * block, 3]

    def bits(self, n: int, which: int = 0) -> np.ndarray:
        bits = np.random.default_rng((self.seed, which)).integers(0, 2, (n, self.n_features), dtype=np.uint8)
        bits.flags.writeable = False
        return bits

    @cached_property
    def patterns(self) -> list[np.ndarray]:
        return [np.asarray(self.method.encode(self.bits(n, k))) for k, n in enumerate(self.sizes)]

    @cached_property
    def frames(self) -> list[np.ndarray]:
        return [np.asarray(self.show(patterns, self.method.phases_rad)) for patterns in self.patterns]

    def whole(self, method: Any = None, **how: Any) -> np.ndarray:
        """Results of both passes, one after the other."""
        method = self.method if method is None else method
        shared = method.begin() if method.shares else None
        parts = [np.asarray(method.decode(frames.copy(), shared, **how)) for frames in self.frames]
        results = np.concatenate(parts)
        return results if shared is None else np.asarray(method.finish(results, shared))

    @cached_property
    def result(self) -> np.ndarray:
        return self.whole()

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Frames of some patterns of a pass."""
        return (np.asarray(places)[:, None] * self.method.steps + np.arange(self.method.steps)).ravel()


class _WithDtype(Protocol):
    """What says of which type a result is."""

    dtype: np.dtype[Any]


def check_method(
    method: Any, *, n_features: int = 96, n_out: int = 64, show: Callable[..., Any] | None = None, seed: int = 0
) -> Report:
    """Check that a method is one that the loop over vectors may take apart: in passes, and in parts of them.

    Parameters
    ----------
    method : Method
        The method (`opusim.drivers.methods.base.Method`).
    n_features, n_out : int
        Bits of a vector, and outputs of it, that the method was made for.
    show : callable, optional
        ``show(bits, phases_rad)`` returns the frames of patterns of features, (patterns * phases, pixels), as the
        device gives them that the method was made for. By default the counts of a random matrix.
    seed : int
        Of the vectors.

    Returns
    -------
    Report
        What was checked, and what the method does not have.

    Raises
    ------
    ConformanceError
        With a sentence for each rule that is broken.
    """
    gates = (_method_members, _method_frames, _method_patterns, _method_results)
    checks = (
        _method_repetition,
        _method_threads,
        _method_places,
        _method_parts,
        _method_copies,
        _method_places_for_results,
    )
    probe = _MethodProbe(method, n_features, n_out, show, seed)
    return _run(_subject("method", method), probe, gates, checks)


def _method_members(p: _MethodProbe) -> Iterator[str]:
    from opusim.drivers.methods.base import Method

    method = p.method
    if isinstance(method, type):
        yield from _a_class(method)
        return
    if not isinstance(method, Method):
        yield f"it is a {type(method).__name__}, but it must be an opusim.drivers.methods.base.Method."
        return
    if lacking(method, _WithDtype):
        yield "it has no dtype, but it must say of which type a result is, as in dtype = np.dtype(np.float32)."
        return
    if not isinstance(method.dtype, np.dtype):
        yield f"dtype is {method.dtype!r}, but it must be a numpy.dtype."
    if not _is_whole(method.block) or method.block < 1:
        yield f"block is {method.block!r}, but it must be a whole number of vectors, at least 1."
    phases = method.phases_rad
    if phases is not None and not (np.ndim(phases) == 1 and len(phases) and np.isfinite(phases).all()):
        yield f"phases_rad is {phases!r}, but it must be some finite numbers in radians, or None."


def _method_frames(p: _MethodProbe) -> Iterator[str]:
    most, steps = max(p.sizes), p.method.steps
    numbers = [p.method.frames(n) for n in range(1, most + 1)]
    if not all(_is_whole(n) and n > 0 and n % steps == 0 for n in numbers):
        yield f"frames gives {numbers[:4]} for 1, 2, 3, 4 vectors, but it must be whole numbers, {steps} a pattern."
    elif sorted(numbers) != numbers:
        yield "frames falls where there are more vectors, but each pass must take at least as many as a smaller one."


def _method_patterns(p: _MethodProbe) -> Iterator[str]:
    for n in sorted({1, 2, *p.sizes} & set(range(1, max(p.sizes) + 1))):
        bits = p.bits(n)
        before = bits.copy()
        patterns = np.asarray(p.method.encode(bits))
        if not np.array_equal(bits, before):
            yield f"encode changed the {n} vectors that it was given, but they are the user's."
            return
        expected = p.method.frames(n) // p.method.steps
        if patterns.shape != (expected, p.n_features) or patterns.dtype != np.uint8:
            yield (
                f"encode of {n} vectors gave {patterns.dtype} of the shape {patterns.shape}, but frames({n}) is "
                f"{p.method.frames(n)}: it must be uint8 of {(expected, p.n_features)}."
            )
        elif not patterns.flags.c_contiguous:
            yield f"encode of {n} vectors gave patterns that do not lie in order in memory, but they must."
        elif patterns.size and patterns.max() > 1:
            yield f"encode gave the value {patterns.max()}, but mirrors show 0 and 1 only."
        elif not np.array_equal(patterns, np.asarray(p.method.encode(bits))):
            yield f"encode of the same {n} vectors gave other patterns the second time."


def _method_results(p: _MethodProbe) -> Iterator[str]:
    shape = (sum(p.sizes), p.n_out)
    if p.result.dtype != p.method.dtype or p.result.shape != shape:
        yield (
            f"{shape[0]} vectors gave {p.result.dtype} of the shape {p.result.shape}, but it must be {p.method.dtype}, "
            f"its dtype, of {shape}."
        )
    elif not np.isfinite(p.result).all():
        yield "results hold numbers that are not finite, from frames that are."


def _method_repetition(p: _MethodProbe) -> Iterator[str]:
    if not np.array_equal(p.whole(), p.result):
        yield "the same frames gave other results the second time, but results must follow from the frames, to the bit."


def _method_threads(p: _MethodProbe) -> Iterator[str]:
    if not np.array_equal(p.whole(threads=1), p.whole(threads=2)):
        yield "1 and 2 threads gave different results, but the numbers must not depend on them."


def _method_places(p: _MethodProbe) -> Iterator[str]:
    if not p.method.parted:
        raise _NothingToCheck("its blocks are not shown in parts")
    for k, n in enumerate(p.sizes):
        for numbers in (range(0, 1), range(n // 2, n), range(0, n)):
            places = np.asarray(p.method.places(numbers, n))
            if places.size and not (
                places[0] >= 0 and places[-1] < p.method.patterns(n) and (np.diff(places) > 0).all()
            ):
                yield f"places({numbers}, {n}) is {places}, but it must rise, below {p.method.patterns(n)}."
                return
            part = np.asarray(p.method.encode(p.bits(n, k)[numbers.start : numbers.stop], part=True))
            if not np.array_equal(part, p.patterns[k][places]):
                yield (
                    f"encode of the vectors {numbers} of {n} as a part is not what encode of all has at "
                    f"places({numbers}, {n}), but a vector must be shown by the same patterns either way."
                )
                return


def _method_parts(p: _MethodProbe) -> Iterator[str]:
    """By parts, as workers of a Dask array have them, in any order, more than once; by whole passes if not parted."""
    method = p.method
    wrong: list[str] = []

    def some(k: int, places: np.ndarray, bits: np.ndarray) -> np.ndarray:
        if not np.array_equal(np.asarray(bits), p.patterns[k][np.asarray(places)]):
            wrong.append("shared shows other patterns at some places of a pass than encode has there.")
        return p.frames[k][p.rows(places)]

    shared = method.shared(some, p.sizes, p.n_features) if method.shares else None
    yield from wrong[:1]

    def part(k: int, a: int, b: int) -> np.ndarray:
        if method.parted:
            frames = p.frames[k][p.rows(method.places(range(a, b), p.sizes[k]))]
            results = np.asarray(method.decode(frames, shared, part=True))
        else:
            results = np.asarray(method.decode(p.frames[k].copy(), method.begin() if method.shares else None))
        return np.asarray(method.finish(results, shared)) if method.shares else results

    parts = []
    for k, n in enumerate(p.sizes):
        edges = sorted({0, 1, n // 3, n - 1, n} if method.parted else {0, n})
        parts += [(k, a, b) for a, b in zip(edges, edges[1:], strict=False)]
    for order in (parts, parts[::-1]):
        found = {which: part(*which) for which in order}
        if not np.array_equal(np.concatenate([found[which] for which in parts]), p.result):
            yield (
                "vectors decoded in parts gave other results than in whole passes, but they must be the same to the "
                "bit, however they are split, in any order, and again: as workers do it, after what is shared is known."
            )
            return


def _method_copies(p: _MethodProbe) -> Iterator[str]:
    if not np.array_equal(p.whole(pickle.loads(pickle.dumps(p.method))), p.result):
        yield "its pickle gave other results of the same frames, but workers must give the same."


def _method_places_for_results(p: _MethodProbe) -> Iterator[str]:
    where = np.empty(p.result.shape, p.method.dtype)
    shared, first = p.method.begin() if p.method.shares else None, 0
    for n, frames in zip(p.sizes, p.frames, strict=True):
        target = where[first : first + n]
        part = p.method.decode(frames.copy(), shared, out=target)
        if part is not target:
            target[...] = part
        first += n
    if not np.array_equal(where if shared is None else np.asarray(p.method.finish(where, shared)), p.result):
        yield "results that were to be put into `out` are others than without it, but they must be the same to the bit."
    if not p.method.task_bytes(p.n_out, 1) > 0:
        yield f"task_bytes is {p.method.task_bytes(p.n_out, 1)!r}, but results take some bytes."
