"""Rows that a rolling shutter exposes in turn: each has a reference of its own time, and may see the next pattern.

Row r of the region is exposed from r row times on. Where the frame time is shorter than readout and exposure, late rows
end their exposure when the mirrors show the next pattern already, and its light adds up with that of the frame's own by
the share of time: photons do, before shot noise. Where the reference moves, by drift or vibration, each row has its
phase at the row's time. This way is numpy's, a frame at a time, and is only taken where rows differ, or where a frame
leaves electrons behind (`opusim.bench.lag`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from opusim.base.short_repr import short_repr

from .film import intensity
from .frames import Shots, part_of
from .lag import Readout
from .way import Way

# Bytes of the fields that are held at a time.
_FIELD_BYTES = 64 << 20


@short_repr
@dataclass(frozen=True, eq=False)
class Rows:
    """What rows see each for itself.

    Parameters
    ----------
    shares : ndarray of float64, shape (n_rows,)
        Of the exposure, for which a row sees the next pattern.
    n_columns : int
        Pixels of a row.
    late_s : list of float
        Time at which the exposure of each row begins, after that of the first one; one 0 if the reference stands still.
    """

    shares: np.ndarray
    n_columns: int
    late_s: list[float]

    def level(
        self, field: np.ndarray, shots: list[Shots], k: int, arms: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """Return the intensity on each pixel in frame k of a run: float32 (n_pixels,).

        Parameters
        ----------
        field : ndarray of complex64, shape (n_pixels, samples)
            Field behind the medium.
        shots : list of Shots
            The run as each row sees it; one if all see the same.
        k : int
            Frame.
        arms : tuple of ndarray, optional
            `arms_of` these, if it is at hand.
        """
        reference = shots[0].reference
        turns, contrasts = arms_of(shots) if arms is None else arms
        if reference is None or len(shots) == 1:
            return intensity(field, reference, turns[0, k], float(contrasts[0, k]))
        turn, contrast = (np.repeat(one[:, k], self.n_columns)[: len(field), None] for one in (turns, contrasts))
        return intensity(field, reference, turn, contrast)

    def of_pixels(self, n_pixels: int) -> np.ndarray:
        """Return the share of each of the first pixels of the region, in raster order: float32 (n_pixels,)."""
        return np.repeat(self.shares, self.n_columns)[:n_pixels].astype(np.float32)


def arms_of(shots: list[Shots]) -> tuple[np.ndarray, np.ndarray]:
    """Return what turns the reference in each frame of a run, and the contrast of its fringes, as each row sees them.

    Parameters
    ----------
    shots : list of Shots
        The run, of each row.

    Returns
    -------
    turns : ndarray of complex64, shape (rows, n)
        Contrast included.
    contrasts : ndarray of float64, shape (rows, n)
        Of the fringes.
    """
    turns = np.stack([one.turns().view(np.complex64)[:, 0] for one in shots])
    return turns, np.stack([one.contrasts() for one in shots])


class RollingFilm:
    """The camera of a device whose rows are exposed in turn, or whose frames leave electrons behind.

    Parameters
    ----------
    readout : Readout
        Reads the frames.
    samples : int
        Fields whose intensities one pixel adds up.
    rows : Rows
        What its rows see.
    """

    def __init__(self, readout: Readout, samples: int, rows: Rows) -> None:
        self.readout, self.samples, self.rows = readout, samples, rows

    def develop(
        self,
        way: Way,
        bits: np.ndarray,
        runs: list[tuple[slice, list[Shots]]],
        out: np.ndarray,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Fill `out` with the counts of a sequence.

        Parameters
        ----------
        way : Way
            From patterns to fields, of numpy.
        bits : ndarray of uint8, shape (n, n_features)
            Patterns.
        runs : list of (slice, list of Shots)
            Patterns of one state of the drift each, one run after the other, and their frames: as each row sees them,
            or one `Shots` if all see the same.
        out : ndarray of the camera's type, shape (frames, n_pixels)
            Those that are read, filled in place. The last frame's rows see its own pattern to the end.
        progress : callable, optional
            Told how many patterns are done.
        """
        share = self.rows.of_pixels(out.shape[1]) if self.rows.shares.any() else None
        waiting: tuple[int, np.ndarray, Shots, int] | None = None
        for pattern, frame, light, shots, k in self._lights(way, bits, runs):
            if waiting is not None:
                number, own, run, place = waiting
                seen = own if share is None else own + share * (light - own)
                self.readout.read(out, number, seen, run, place)
            if progress is not None and pattern and not frame % shots.steps:
                progress(pattern)
            waiting = frame, light, shots, k
        if waiting is not None:
            number, own, run, place = waiting
            self.readout.read(out, number, own, run, place)
            if progress is not None:
                progress(len(bits))

    def _lights(
        self, way: Way, bits: np.ndarray, runs: list[tuple[slice, list[Shots]]]
    ) -> Iterator[tuple[int, int, np.ndarray, Shots, int]]:
        """Yield of each frame: its pattern, its number, photons (n_pixels,), its run, and its place in that."""
        number = 0
        for patterns, shots in runs:
            arms, steps = arms_of(shots), shots[0].steps
            own, one, moments = way.in_time(bits[patterns], shots[0])
            scale = (one.photons_per_intensity / self.samples).astype(np.float32)
            step = max(1, _FIELD_BYTES // (8 * len(one.maps) * self.samples))
            for first in range(0, len(own), step):
                some = slice(first, first + step)
                fields = way.fields(own[some], one.state, part_of(moments, some))
                for i, field in enumerate(fields, first):
                    for k in range(i * one.steps, (i + 1) * one.steps):
                        light = self.rows.level(field, shots, k, arms) * scale[k]
                        yield patterns.start + k // steps, number, light, shots[0], k
                        number += 1
