"""What is done against frames that are lost: sequences in parts, guard frames, and showing a part again.

A camera that misses a trigger says so, returns fewer frames, or fills its stack up: with the frames behind it moved up
by one and anything at the end, or with a frame twice. `Losses` shows patterns in parts, looks at what comes back, and
shows a part again where something is missing. `opusim.bench.laboratory.LaboratoryBench` has it built in,
`opusim.bench.guarded.Guarded` puts it around any other bench.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from opusim.base import validation
from opusim.base.warn import warn_outside
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import nearest_levels

from .protocol import FramesLost, input_layout_of

__all__ = ["Losses", "guard_codes"]

# Frames that are shown in one go where nobody says how many. With a loss in a fraction p of the frames, parts of L
# frames with four guards cost 4 / L for the guards and (L + 4) p for parts that are shown again: least for
# L = sqrt(4 / p), 63 for one in a thousand. All of three attempts at such a part fail once in 3 500 parts.
SEQUENCE_FRAMES = 64
ATTEMPTS = 3
# Two patterns at the start, and the same two the other way round at the end.
N_GUARDS = 4
# Features of a guard pattern, where the bench has no inputs of its own.
_MACRO_PIXELS = 1024

# Guards at the end are right where they lie nearer to their own ones at the start than to the other by this share of
# the way: 1 is expected, 0 of any other pattern, -1 of the other guard, as after a shift by one.
# At the edges of bursts, where patterns that have inputs in common with both may lie at a half, it is more.
_LEAST_SHARE, _LEAST_OF_BURSTS = 0.5, 0.7
# ... and by so many standard errors of the noise. Gaussian: once in 30 000.
_SURE = 4.0
# Shares of both guards that fall by about as much, none to the other guard, are also what a change of the light makes:
# a shift by one takes one of them to -1, a single wrong frame leaves one at 1.
_TOGETHER, _NOT_THE_OTHER = 0.5, -0.5
# Guards can be told apart at all where the most unlike ones differ from the most alike by so many standard errors; then
# the share above is known to a tenth.
_TOLD_APART, _FEW_PIXELS = 10.0, 6.0
# Noise changes so many pixels of a frame, or a frame that is the same to the bit may be so by chance (exp(-20) or
# less).
# Of a small region a quarter: what is taken for lost by chance is shown again, which costs no more than that.
_CHANGED, _OF_FEW = 20, 4
# Pixels of a frame between its lowest and its highest count: a dark or a saturated one has few, and looks like another.
_TELLING = 32
# A frame with so little of the light of the others, though as many mirrors are on, is a dark one in place of a lost
# one.
_DARK_SHARE, _LIT_SHARE = 0.25, 0.5
# Fewer pixels are too few for a mean: single grains are dark by themselves.
_LEAST_PIXELS = 64
# Sequences that came out the same to the bit after which a bench counts as one without noise, and for how many of
# them frames are remembered.
_NOISELESS_AFTER, _REMEMBERED = 3, 4

# start, stop, guarded -> frames of two guards twice (4, ...) or None, and those of the bursts from start to stop.
Show = Callable[[int, int, bool], tuple[np.ndarray | None, np.ndarray]]


class Ends(NamedTuple):
    """What the guards of a sequence tell.

    Attributes
    ----------
    sentence : str
        What is wrong, as the beginning of a sentence; empty if nothing is, or if it cannot be told.
    told_apart : bool
        Whether the guards could be told apart.
    together : bool
        Whether those at the end are wrong by as much, as after a change of the light.
    """

    sentence: str = ""
    told_apart: bool = True
    together: bool = False


@dataclass
class _Look:
    """What one attempt looked like: digests of its frames, those that came before, those that are dark, moved ones."""

    texts: list[bytes]
    same: dict[int, np.ndarray]
    dark: set[int]
    moved: bool

    def differs(self, good: _Look) -> bool:
        """Whether something was lost, which a good attempt after it shows."""
        return self.moved or (bool(self.same) and self.texts != good.texts) or not self.dark <= good.dark


class Losses:
    """What a bench knows of frames that it lost, and how it shows sequences.

    Parameters
    ----------
    attempts : int
        How often a part is shown at most.
    sequence_frames : int
        Frames of a part at most, guards not counted; a burst is never cut.
    guards : bool
        Whether parts have guard frames.
    restart : callable, optional
        Called before a part is shown again.

    Attributes
    ----------
    shown, again, weak, changed : int
        Parts that were shown since the bench was made, how many of them again, how many with guards that could not be
        told apart, and how many of these with enough light, which changed within the part.
    """

    def __init__(
        self, *, attempts: int = ATTEMPTS, sequence_frames: int = SEQUENCE_FRAMES, guards: bool = True,
        restart: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        self.adjust(attempts, sequence_frames, guards, restart)
        self.shown = self.again = self.weak = self.changed = 0
        self._known: deque[set[bytes]] = deque(maxlen=_REMEMBERED)
        self._alike_without_noise = 0
        self._dark: tuple[float, float] | None = None
        self._depth = 0
        # Of the outermost call: whether guards right after one another can be told apart, where that was asked.
        self._enough_light: bool | None = None

    def adjust(
        self, attempts: Any, sequence_frames: Any, guards: Any, restart: Callable[[], object] | None = None
    ) -> None:  # fmt: skip
        """Take other settings, checked.

        Parameters
        ----------
        attempts, sequence_frames, guards, restart : object
            As for the class.
        """
        self.attempts = validation.integer("attempts", attempts, low=1, high=1000)
        self.sequence_frames = validation.integer("sequence_frames", sequence_frames, low=1, high=1_000_000)
        self.guards = validation.flag("guards", guards)
        self._restart = restart

    # ------------------------------------------------------------------ showing

    def take(self, n: int, steps: int, show: Show, lit: np.ndarray) -> np.ndarray:
        """Show bursts in parts, each until it is whole.

        Parameters
        ----------
        n, steps : int
            How many patterns, at least 1, and frames of each: a burst.
        show : callable
            ``show(start, stop, guarded)`` shows some of the bursts, with guards or not, and returns the frames of the
            guards, in the order first, second, second, first, or None, and those of the bursts. It may raise
            `FramesLost`.
        lit : ndarray of float, shape (n,)
            How much of the modulator is on in each.

        Returns
        -------
        ndarray, shape (n * steps, rows, columns)
            The frames.

        Raises
        ------
        FramesLost
            If a part was lost at every attempt.
        """
        step, result = max(1, self.sequence_frames // steps), None
        with self.told():
            for start in range(0, n, step):
                stop = min(n, start + step)
                frames = self._part(start, stop, steps, show, lit[start:stop].repeat(steps))
                if stop - start == n:
                    return frames
                if result is None:
                    result = np.empty((n * steps, *frames.shape[1:]), dtype=frames.dtype)
                result[start * steps : stop * steps] = frames
        return np.asarray(result)

    def dark(self, n: int, show: Callable[[], np.ndarray]) -> np.ndarray:
        """Take dark frames, again where some were lost or are frames that were handed out before, with light.

        Parameters
        ----------
        n : int
            How many.
        show : callable
            Takes them; it may raise `FramesLost`.

        Returns
        -------
        ndarray, shape (n, rows, columns)
            The frames.

        Raises
        ------
        FramesLost
            If some were lost at every attempt.
        """
        with self.told():
            self.shown += 1
            why: FramesLost | None = None
            before: list[list[bytes]] = []
            for attempt in range(self.attempts):
                self._before(attempt)
                try:
                    frames = show()
                except FramesLost as error:
                    why = error
                    continue
                texts = _digests(frames)
                old = [k for k, text in enumerate(texts) if self._was_seen(text) and _tells(frames[k])]
                again = texts in before
                before.append(texts)
                self._alike_without_noise += again
                if not old or again or self._is_noiseless:
                    self.again += attempt > 0 and not again
                    means = frames.reshape(n, -1).mean(axis=1, dtype=np.float64)
                    # Of a single frame the scatter of its mean is that of its pixels.
                    spread = float(means.std()) if n > 2 else float(frames.std()) / math.sqrt(frames[0].size)
                    self._dark = float(np.median(means)), spread
                    return frames
                why = FramesLost(f"Dark frame {old[0]} is one with light that came before, to the bit.", frames=old)
            raise self._given_up(why, "dark frames")

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say once, at the end of the outermost call, how many sequences were shown again."""
        if self._depth:
            yield
            return
        before, self._depth, self._enough_light = self._counts(), 1, None
        try:
            yield
        finally:
            self._depth = 0
        # Not where it ends in an error, which says more.
        self._tell(*(now - was for now, was in zip(self._counts(), before, strict=True)))

    def _counts(self) -> tuple[int, int, int, int]:
        return self.shown, self.again, self.weak, self.changed

    def _tell(self, shown: int, again: int, weak: int, changed: int) -> None:
        if again:
            warn_outside(
                f"Frames were lost, it seems: of {shown} sequences {again} {'were' if again > 1 else 'was'} shown "
                "again, and what is returned is whole. Many of them mean that triggers come too fast, or that frames "
                "are not fetched in time."
            )
        if changed:
            warn_outside(
                f"In {changed} of {shown} sequences the guard frames cannot be told apart at the end, though they can "
                "be right after one another: the medium or the laser changed within the sequence, so that frames "
                "which were moved by one would not be seen there. Shorter sequences (sequence_frames) help; guards = "
                "False says that none are wanted."
            )
        if weak > changed:
            warn_outside(
                f"In {weak - changed} of {shown} sequences the guard frames cannot be told apart, as the light is "
                "too weak or too strong for the camera, or the region too small: frames that were moved by one would "
                "not be seen there. Another exposure or a larger region helps; guards = False says that none are "
                "wanted."
            )

    def _before(self, attempt: int) -> None:
        if attempt and self._restart is not None:
            self._restart()

    def _given_up(self, why: FramesLost | None, what: str, *, together: bool = False) -> FramesLost:
        tried = f"{what[0].upper()}{what[1:]} were lost"
        if self.attempts > 1:
            tried += f" {self.attempts} times, one time after the other"
        drift = ""
        if together:
            drift = (
                " As both guards at the end are wrong by about as much, it may also be that the reference arm, the "
                "medium or the laser drifts within a sequence: then shorter ones help (sequence_frames), or none with "
                "guards (guards = False)."
            )
        lost = FramesLost(
            f"{tried}: {why}{drift} Look at the trigger, its cable and its length, at frametime_s, which must leave "
            "the camera time to be ready again, and at the rate at which frames are fetched.",
            frames=None if why is None else why.frames,
        )
        lost.__cause__ = why
        return lost

    def _part(self, start: int, stop: int, steps: int, show: Show, lit: np.ndarray) -> np.ndarray:
        # A frame by itself has no neighbours whose place it could take.
        guarded = self.guards and len(lit) > 1
        self.shown += 1
        why: FramesLost | None = None
        before: list[_Look] = []
        raised, together = False, True
        for attempt in range(self.attempts):
            self._before(attempt)
            try:
                shown, frames = show(start, stop, guarded)
            except FramesLost as error:
                why, raised, together = error, True, False
                continue
            ends = Ends() if shown is None else moved(shown, frames[[0, -1]])
            sentence, together = ends.sentence, together and ends.together
            look = self._look(frames, _all_digests(shown), lit, before, sentence)
            # A pattern that is dark every time is so by itself.
            new_dark = look.dark.difference(*(other.dark for other in before))
            where = start * steps
            if sentence:
                why = FramesLost(f"{sentence} (sequence from frame {where} to {where + len(lit) - 1}).")
            elif look.same:
                lost = sorted(where + k for k in look.same)
                why = FramesLost(f"Frame {lost[0]} is one that came before, to the bit, in place of its own.", lost)
            elif new_dark:
                lost = sorted(where + k for k in new_dark)
                why = FramesLost(f"Frame {lost[0]} is dark, though its pattern has light.", lost)
            else:
                if not ends.told_apart:
                    self.weak += 1
                    self.changed += self._has_enough_light(start, show)
                # Nothing was lost where frames have no noise, or are as dark each time.
                self.again += raised or any(other.differs(look) for other in before)
                return frames
            before.append(look)
        raise self._given_up(why, f"frames of patterns {start} to {stop - 1}", together=together)

    def _has_enough_light(self, start: int, show: Show) -> bool:
        """Say whether guards with nothing between them can be told apart; asked once for each outermost call.

        Four frames that are all unlike are as well noise as light of a medium that changes: time is what differs.
        """
        if self._enough_light is None:
            self._enough_light = False
            try:
                shown, _ = show(start, start, True)
            except FramesLost:
                return False
            if shown is not None:
                self._known.append(set(_all_digests(shown)))
                self._enough_light = moved(shown) == Ends()
        return self._enough_light

    # ------------------------------------------------------------------ looking

    def _look(
        self, frames: np.ndarray, guards: list[bytes], lit: np.ndarray, before: list[_Look], sentence: str
    ) -> _Look:  # fmt: skip
        texts = _digests(frames)
        same = set() if self._is_noiseless else self._same(frames, texts, guards, before)
        self._known.append({*texts, *guards})
        return _Look(texts, {k: frames[k].copy() for k in same}, self._without_light(frames, lit), bool(sentence))

    def _was_seen(self, text: bytes) -> bool:
        return any(text in known for known in self._known)

    @property
    def _is_noiseless(self) -> bool:
        return self._alike_without_noise >= _NOISELESS_AFTER

    def _same(self, frames: np.ndarray, texts: list[bytes], guards: list[bytes], before: list[_Look]) -> set[int]:
        """Return the frames that are one that came before, to the bit, where noise would have changed it."""
        found: set[int] = set()
        first: dict[bytes, int] = {}
        without_noise = False
        for k, text in enumerate(texts):
            i = first.setdefault(text, k)
            if (i == k and text not in guards and not self._was_seen(text)) or not _tells(frames[k]):
                continue
            # A frame that differs from this one by little: then noise is little, and may have changed nothing.
            if any(_differ_little(frames[k], other) for other in frames):
                continue
            if any(_differ_little(frames[k], other.same[k]) for other in before if k in other.same):
                continue
            if any(other.texts == texts for other in before):  # nothing has changed, in any frame
                without_noise = True
                continue
            found.add(k)
        self._alike_without_noise += without_noise
        return found

    def _without_light(self, frames: np.ndarray, lit: np.ndarray) -> set[int]:
        """Return the frames that are dark, though as much of the modulator is on as in the others."""
        if self._dark is None or frames[0].size < _LEAST_PIXELS:
            return set()
        level, error = self._dark
        light = frames.reshape(len(frames), -1).mean(axis=1, dtype=np.float64) - level
        least, usual = 2 * _SURE * max(error, 1e-9), float(np.median(light))
        if len(frames) == 1:  # there are no others: as dark as without any light
            return {0} if usual <= least and lit[0] > 0 else set()
        if usual <= least:
            return set()
        return set(np.flatnonzero((light < _DARK_SHARE * usual) & (lit >= _LIT_SHARE * np.median(lit))).tolist())


def moved(guards: np.ndarray, beside: np.ndarray | None = None) -> Ends:
    """Say whether guard frames lie where they were shown.

    Parameters
    ----------
    guards : ndarray, shape (4, rows, columns) or (4, steps, rows, columns)
        Counts: the first and the second guard at the start, the second and the first at the end.
    beside : ndarray, shape (n, rows, columns), optional
        Frames next to the guards, of which one may be that of a guard.

    Returns
    -------
    Ends
        What they tell.

    Notes
    -----
    With a, b the frames at the start and x one at the end, ``<x - (a + b) / 2, a - b>`` is half the squared distance
    of the two patterns' light where x is of a, minus that where it is of b, and near 0 for any other pattern. The noise
    is that of the two frames which are most alike, so that it is known whichever of them is wrong.
    """
    four = guards.reshape(N_GUARDS, -1, math.prod(guards.shape[-2:])).astype(np.float64)
    pixels = four.shape[2]
    squares = _alike(four, None if beside is None else beside.reshape(-1, pixels).astype(np.float64))
    told_apart = True
    # Bursts that are moved by one frame are so from the first of them on: only at their edges is it a frame of another.
    for step in sorted({0, four.shape[1] - 1}):
        share = _LEAST_SHARE if four.shape[1] == 1 else _LEAST_OF_BURSTS
        ends = _moved(four[:, step], squares, share)
        if ends.sentence:
            return ends
        told_apart &= ends.told_apart
    return Ends(told_apart=told_apart)


def _moved(four: np.ndarray, squares: np.ndarray, share: float) -> Ends:
    """Say whether guards of one step (4, pixels) lie where they were shown; `squares` are those of noise alone."""
    a, b, b_end, a_end = four
    n, way, middle = a.size, a - b, (a + b) / 2
    least = float(squares.mean())
    most = max(float(np.square(x - y).mean()) for x, y in itertools.combinations(four, 2))
    # Squares of a difference of two frames of noise scatter by root two of their mean, or more.
    error = max(float(squares.std()), math.sqrt(2) * least) * math.sqrt(2 / n)
    # The least of several is below what noise gives on average, the more so the fewer pixels there are.
    error *= 1 + _FEW_PIXELS / math.sqrt(n)
    told_apart = bool(most - least > max(_TOLD_APART * error, 1e-12))
    power = float(np.sum(way * way))
    expected = (power - n * least) / 2  # without what noise adds to it
    # Of x and of the middle.
    noise = math.sqrt(1.5 * least / 2 * power)
    near = np.array([float(np.sum((a_end - middle) * way)), -float(np.sum((b_end - middle) * way))])
    if expected > 0 and (near > share * expected).all() and (near > _SURE * noise).all():
        if all(_is_near(x, own, way, error) for x, own in ((a_end, a), (b_end, b))):
            return Ends()
    opposite = expected > 0 and bool((near < -_SURE * noise).any())
    if not told_apart and not opposite:
        return Ends(told_apart=False)
    shares = near / expected if expected > _SURE * noise else np.zeros(2)
    together = abs(float(shares[0] - shares[1])) < _TOGETHER and bool((shares > _NOT_THE_OTHER).all())
    what = "frames were moved" + (", or the light changed" if together else "")
    sentence = (
        f"The guard frames at the end of a sequence are not those that were shown there, so that {what}: "
        f"they lie {shares[0]:.2f} and {shares[1]:.2f} of the way towards what they must be, where 1 is right, and -1 "
        "the other guard, as after one lost frame"
    )
    return Ends(sentence, True, together)


def _is_near(x: np.ndarray, own: np.ndarray, way: np.ndarray, error: float) -> bool:
    """Whether a frame is no further from its guard than the other guard is; means aside, as a laser's power drifts.

    One with much more light, as of a bright reference arm, may lie anywhere on the way from one guard to the other.
    """
    if x.size < _LEAST_PIXELS:
        return True
    return float((x - own).var()) <= float(way.var()) + 2 * _SURE * error


def _alike(four: np.ndarray, beside: np.ndarray | None) -> np.ndarray:
    """Return the squares of the difference of the two frames, one of a guard at least, that are most alike.

    Of guards under several phases (4, steps, pixels) any at the end may be that of another step.
    """
    if four.shape[1] == 1:
        frames = four[:, 0]
        pairs = list(itertools.combinations(frames, 2))
        pairs += [(x, y) for x in frames for y in (() if beside is None else beside)]
    else:
        ends = [*four[2], *four[3], *(() if beside is None else beside)]
        pairs = [(x, y) for x in (four[0, 0], four[0, -1], four[1, -1]) for y in ends]
    return np.asarray(min((np.square(x - y) for x, y in pairs), key=np.mean))


def _all_digests(guards: np.ndarray | None) -> list[bytes]:
    return [] if guards is None else _digests(guards.reshape(-1, *guards.shape[-2:]))


def _digests(frames: np.ndarray) -> list[bytes]:
    return [hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).digest() for frame in frames]


def _tells(frame: np.ndarray) -> bool:
    """Whether a frame has enough counts of its own to be told from any other."""
    return bool(
        np.count_nonzero((frame > frame.min()) & (frame < frame.max())) >= min(_TELLING, -(-frame.size // _OF_FEW))
    )


def _differ_little(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether frames differ, but in so few pixels that they might as well not."""
    return 0 < int(np.count_nonzero(a != b)) < min(_CHANGED, a.size // _OF_FEW)


def guard_codes(layout: MirrorLayout, share: float, level_turns: np.ndarray | None) -> np.ndarray:
    """Return two patterns that have nothing in common: features on, or random levels.

    Parameters
    ----------
    layout : MirrorLayout
        Where features lie.
    share : float
        Share of the features that is on, so that guards are as bright as the patterns; at most a half. None, of 0, is
        a half too.
    level_turns : ndarray of float64, or None
        Phase of each level in turns where pixels turn phases.

    Returns
    -------
    ndarray of uint8, shape (2, n_features)
        0 and 1, or levels; the same ones for the same arguments.
    """
    n, draws = layout.n_features_total, np.random.default_rng(0)
    if level_turns is not None:
        return nearest_levels(draws.random((2, n)), level_turns)
    n_on = min(max(1, round(min(share or 0.5, 0.5) * n)), n - n // 2)
    order = draws.permutation(n)
    codes = np.zeros((2, n), dtype=np.uint8)
    codes[0, order[:n_on]] = 1
    codes[1, order[n - n_on :]] = 1
    return codes


def guard_layout(bench: Any) -> MirrorLayout:
    """Return how features of a bench's guards lie.

    Parameters
    ----------
    bench : Bench
        The bench.

    Returns
    -------
    MirrorLayout
        That of its inputs; macro-pixels in line where it has none of its own.
    """
    own = input_layout_of(bench)
    if own is not None:
        return own
    rows, columns = map(int, bench.mirror_shape)
    return MirrorLayout.lined((rows, columns), min(_MACRO_PIXELS, rows * columns))


def shares_on(patterns: np.ndarray, level_turns: np.ndarray | None) -> np.ndarray:
    """Return how much of the modulator is on in each pattern.

    Parameters
    ----------
    patterns : ndarray of uint8, shape (n, ...)
        0 and 1 of features or mirrors, at least one pattern; or levels.
    level_turns : ndarray of float64, or None
        Phase of each level in turns where pixels turn phases.

    Returns
    -------
    ndarray of float64, shape (n,)
        Shares; 1 where phases are turned.
    """
    if level_turns is not None:
        return np.ones(len(patterns))
    return np.array([np.count_nonzero(pattern.view(np.bool_)) for pattern in patterns]) / patterns[0].size
