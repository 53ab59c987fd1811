"""Any bench that has `expose`, with what `LaboratoryBench` does against frames that are lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from opusim.base.user_arrays import as_numpy, checked_array
from opusim.patterns.layout import MirrorPatterns

from .laboratory import FromExpose, unpacked
from .losses import ATTEMPTS, SEQUENCE_FRAMES, Losses, guard_codes, guard_layout, shares_on
from .protocol import Drivable, checked_bench, has, level_turns_of
from .returned import exposed

__all__ = ["Guarded"]

# Phases of the reference in one call: with four guards 80 frames.
_MOST_STEPS = 16
# Ways around `expose`: each would go without guards.
_AROUND = (
    "together",
    "singles",
    "reserve",
    "with_limits",
    "limits",
    "advance_from",
    "made_with",
    "transform",
    "backend",
)


class Guarded:
    """A bench whose sequences are shown in parts, with guard frames, and again where frames were lost.

    Everything else is the bench's own: its record, its clock, its lamp. A bench that has `transform` gets one by
    `expose`. `opusim.bench.laboratory.LaboratoryBench` does this by itself, with fewer frames where phases are stepped.

    Parameters
    ----------
    bench : Bench
        The bench. Its `expose` may raise `opusim.bench.protocol.FramesLost`.
    attempts : int
        How often a part is shown at most.
    sequence_frames : int
        Frames of a part at most, without guards.
    guards : bool
        Whether parts of two frames or more have guards: four patterns more, each under all phases.
    restart : callable, optional
        Called before a part is shown again, without arguments.

    Attributes
    ----------
    bench : Bench
        As given.
    guards : bool
        As given.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Examples
    --------
    >>> from opusim import OpticalBench
    >>> from opusim.bench.guarded import Guarded
    >>> bench = Guarded(OpticalBench("ideal"), attempts=5)
    >>> bench.sensor_shape
    (1088, 2048)
    """

    def __init__(
        self, bench: Any, *, attempts: int = ATTEMPTS, sequence_frames: int = SEQUENCE_FRAMES, guards: bool = True,
        restart: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        checked_bench(bench)
        if restart is not None and not callable(restart):
            raise TypeError(f"restart is {restart!r}, but it must be None, or a function without arguments.")
        self.bench, self.guards = bench, guards
        self._losses = Losses(
            attempts=attempts, sequence_frames=sequence_frames, guards=guards, restart=restart
        )  # fmt: skip

    #: Each call fills an array of its own.
    frames_are_new = True

    def __getattr__(self, name: str) -> Any:
        """Hand on what the bench has besides."""
        if name.startswith("_") or name == "bench":
            raise AttributeError(name)
        if name == "transform" and has(self.bench, Drivable):
            return self._transform
        if name in _AROUND:
            raise AttributeError(f"{type(self).__name__} has no {name}, which would go without guards.")
        return getattr(self.bench, name)

    @property
    def mirror_shape(self) -> tuple[int, int]:
        """Mirrors as (rows, columns)."""
        rows, columns = self.bench.mirror_shape
        return int(rows), int(columns)

    @property
    def sensor_shape(self) -> tuple[int, int]:
        """Pixels as (rows, columns)."""
        rows, columns = self.bench.sensor_shape
        return int(rows), int(columns)

    def expose(
        self, mirrors: Any, *, reference_phase_rad: Any = None, n_frames: int = 1, **how: Any
    ) -> np.ndarray:  # fmt: skip
        """Show patterns and return a frame for each, and for each phase of the reference arm.

        Parameters
        ----------
        mirrors : ndarray, MirrorPatterns or None
            As for `opusim.bench.protocol.Bench.expose`.
        reference_phase_rad : float or array_like of float, optional
            Phases of the reference arm in radians; None blocks it.
        n_frames : int
            How many dark frames, where `mirrors` is None.
        **how
            What else the bench's own `expose` takes: `exposure_s`, `roi`, `frametime_s`.

        Returns
        -------
        ndarray, shape (n * number of phases, n_rows, n_columns)
            Counts.

        Raises
        ------
        TypeError, ValueError
            If the bench refuses an argument.
        RuntimeError
            If it returned something else than the frames that were asked for. It is `FramesLost` where some were lost
            at every attempt.

        Warns
        -----
        UserWarning
            Once, if parts were shown again, and if there are guards that cannot be told apart.
        """
        if mirrors is None:
            if n_frames:
                given = {**how, "n_frames": n_frames, "reference_phase_rad": reference_phase_rad}
                return self._losses.dark(n_frames, lambda: exposed(self.bench, None, **given))
            return exposed(self.bench, None, n_frames=0, **how)
        if n_frames != 1:
            return exposed(self.bench, mirrors, n_frames=n_frames, **how)  # which refuses it
        steps = 1
        if reference_phase_rad is not None:
            reference_phase_rad = np.atleast_1d(checked_array("reference_phase_rad", reference_phase_rad, finite=True))
            steps = max(1, reference_phase_rad.size)
        turns = level_turns_of(self.bench)
        shown: Any = mirrors
        if not isinstance(mirrors, MirrorPatterns):
            shown = unpacked(as_numpy(mirrors, "mirrors", "an array of mirrors")[0], self.mirror_shape, turns)
        n = len(shown)

        def take(patterns: Any) -> np.ndarray:
            return exposed(self.bench, patterns, reference_phase_rad=reference_phase_rad, **how)

        if not n:
            return take(shown)
        if steps > _MOST_STEPS:  # a few phases at a time, as each guard is shown under all of them
            parts = np.array_split(np.asarray(reference_phase_rad), -(-steps // _MOST_STEPS))
            with self._losses.told():
                return np.concatenate(
                    [self.expose(shown[k : k + 1], reference_phase_rad=some, **how) for k in range(n) for some in parts]
                )
        lit = shares_on(shown.host_bits() if isinstance(shown, MirrorPatterns) else shown, turns)
        guards = cache(lambda: self._guards(shown, float(lit.max()), turns))  # frames by themselves need none

        def show(start: int, stop: int, guarded: bool) -> tuple[np.ndarray | None, np.ndarray]:
            part = shown[start:stop]
            if not guarded or not self.guards:
                return None, take(part)
            frames = take(_joined(guards(), part))
            first, part_of_it, last = np.split(frames, [2 * steps, len(frames) - 2 * steps])
            ends = np.concatenate([first, last])
            return ends.reshape(4, steps, *frames.shape[1:]), part_of_it

        return self._losses.take(n, steps, show, lit)

    def _guards(self, shown: Any, share: float, turns: np.ndarray | None) -> Any:
        """Return two patterns of the form of others."""
        if isinstance(shown, MirrorPatterns):
            return type(shown)(guard_codes(shown.layout, share, turns), shown.layout)
        layout = guard_layout(self.bench)
        codes = guard_codes(layout, share, turns)
        return layout.mirrors(codes) if turns is None else layout.pixels(codes)

    def _transform(self, patterns: Any, **how: Any) -> np.ndarray:
        with self._losses.told():
            counts: np.ndarray = FromExpose.transform(self, patterns, **how)  # type: ignore[arg-type]
        return counts


def _joined(guards: Any, part: Any) -> Any:
    """Return patterns between the guards, which come the other way round at the end."""
    if isinstance(part, MirrorPatterns):
        bits = np.concatenate([guards.host_bits(), part.host_bits(), guards.host_bits()[::-1]])
        return type(part)(bits, part.layout)
    return np.concatenate([guards, part, guards[::-1]])
