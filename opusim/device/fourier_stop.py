"""A stop between two lenses behind the mirrors: it picks an order of a hologram, which then has amplitude and phase."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from opusim.base import elementary, parallel
from opusim.base.arrays import NUMPY, Arrays
from opusim.base.fourier import frequencies, transform
from opusim.base.parameters import Stage, parameter

from . import lattice as lattices
from . import propagation

if TYPE_CHECKING:
    from .modulator import Modulator

ROUND, SQUARE = "round", "square"
SHAPES = (ROUND, SQUARE)


@dataclass(frozen=True)
class FourierStop(Stage):
    """A relay of two lenses between mirrors and medium, with a stop in the plane where the first has its focus.

    In that plane light lies by the spatial frequency of the pattern. A hologram on the mirrors (`opusim.patterns.lee`,
    `opusim.patterns.superpixel`) sends a field of any amplitude and phase to one order, beside which the others lie;
    the stop lets that one pass. The second lens makes an image of the mirrors of it, and its axis goes through the
    middle of the stop: what follows sees the field without the carrier of the hologram. Light that the stop takes is
    lost, and so is what it spreads beyond the image of the array. An order that is picked has 1/pi^2 of the light at
    most, and the camera sees as much less.

    With a stop a device is computed mirror by mirror, whatever `opusim.Device.resolution` says: there is no order of a
    grating of macro-pixels.

    Parameters
    ----------
    diameter_cycles : float
        Full width of the stop in cycles per pitch of the mirrors: metres in its plane times pitch over wavelength and
        focal length. At most 1, the distance of the orders of the lattice; `inf`: there is no stop, and no relay.
    centre_cycles : tuple of float
        Middle of the stop along the first and the second axis in cycles per pitch: that of the carrier of a hologram.
        An order at ``f`` is light that goes as ``exp(2 pi i f.r)`` over places ``r`` in pitches from the middle of the
        array (`opusim.Dmd.places_m`), on either lattice.
    shape : {"round", "square"}
        Of the stop. The sides of a square one are along the edges of the mirrors.
    envelope : bool
        Whether light that a mirror sends at an angle is less by the diffraction of its own square cell: amplitude
        sinc(f) along both of its edges, 1 on the axis, to which ``dmd.efficiency`` belongs. If not, each mirror
        lights the whole plane of the stop evenly: what goes to the orders of the lattice beyond it is counted here.
        Without a stop mirrors are modes in any case.
    """

    stage: ClassVar[str] = "fourier_stop"

    diameter_cycles: float = parameter(
        math.inf, low=0.0, low_open=True, high=math.inf, unit="cycles per pitch", before=math.inf
    )
    centre_cycles: tuple[float, float] = parameter(
        (0.0, 0.0), kind="numbers", low=-0.5, high=0.5, unit="cycles per pitch", before=(0.0, 0.0)
    )
    shape: str = parameter(ROUND, kind="choice", choices=SHAPES, before=ROUND)
    envelope: bool = parameter(True, before=True)

    @property
    def present(self) -> bool:
        """Whether there is a stop."""
        return self.diameter_cycles < math.inf

    def passes_axis(self, lattice: str) -> bool:
        """Return whether light that goes straight on passes, as that of patterns without a carrier does.

        Parameters
        ----------
        lattice : str
            Lattice of the mirrors, along whose edges the sides of a square stop are.

        Returns
        -------
        bool
            True without a stop.
        """
        if not self.present:
            return True
        if self.shape == SQUARE:
            return 2 * max(map(abs, _along_edges(self.centre_cycles, lattice))) <= self.diameter_cycles
        down, across = self.centre_cycles
        return 2 * math.sqrt(down * down + across * across) <= self.diameter_cycles

    def without_effect(self) -> tuple[str, ...]:
        """Return the fields that change no frame as it is: without a stop all but its diameter.

        Returns
        -------
        tuple of str
            Their names.
        """
        return () if self.present else tuple(f.name for f in fields(FourierStop) if f.name != "diameter_cycles")

    def check(self, dmd: Modulator) -> None:
        """Raise an error if a stop does not go with the mirrors.

        Parameters
        ----------
        dmd : Modulator
            The mirrors.

        Raises
        ------
        ValueError
            If it is smaller than a mode of the array, wider than an order of the lattice, or its middle lies where
            other orders do.
        """
        if not self.present:
            return
        if self.diameter_cycles > 1:
            raise ValueError(
                f"fourier_stop.diameter_cycles is {self.diameter_cycles!r}, but it must be at most 1, where the next "
                "order of the mirrors' lattice begins, or inf for no stop."
            )
        across = min(dmd.size_m) / dmd.pitch_m
        if self.diameter_cycles * across < 1:
            raise ValueError(
                f"fourier_stop.diameter_cycles is {self.diameter_cycles!r}, but it must be at least {1 / across:.4g}: "
                f"the array is {across:.4g} pitches across, and a stop that is narrower than one over that is smaller "
                "than a mode of it, which is all that would pass."
            )
        edges = _along_edges(self.centre_cycles, dmd.lattice)
        if max(map(abs, edges)) > 0.5:
            raise ValueError(
                f"fourier_stop.centre_cycles is {list(self.centre_cycles)}, which on a {dmd.lattice} lattice is "
                f"{edges[0]:.4g} and {edges[1]:.4g} cycles per pitch along the edges of the mirrors, but these must be "
                "within -0.5 and 0.5: beyond, light is that of another order of the lattice."
            )


class Relay:
    """What takes fields of mirrors through a stop, as a linear map from the cells of their lattice to themselves.

    Parameters
    ----------
    stop : FourierStop
        A stop that is present.
    dmd : Modulator
        The mirrors in front of it.

    Attributes
    ----------
    carrier : ndarray of complex64, shape of the mirrors, read-only
        What turns the light of each mirror so that the middle of the stop lies on the axis: to be multiplied first.
    shape : tuple of int
        Cells along the edges of the mirrors: rows and columns on a square lattice, the box around a diamond one.
    grid : tuple of int
        Points of the grid on which the light goes through, with dark ones beside the cells.
    """

    def __init__(self, stop: FourierStop, dmd: Modulator) -> None:
        self.shape = dmd.shape if dmd.lattice == lattices.SQUARE else lattices.along_edges(dmd.shape)[2]
        self._stop, self._lattice, self._mirrors = stop, dmd.lattice, dmd.shape
        # As many dark points as cells: the light of a cell comes to all others once, and none comes round.
        rows, columns = (propagation.good_side(2 * n - 1) for n in self.shape)
        self.grid = rows, columns
        self._on_device: dict[Arrays, Any] = {}

    @property
    def carrier(self) -> np.ndarray:
        """What the light of each mirror is multiplied by before it goes through."""
        return _carrier(self._mirrors, self._lattice, self._stop.centre_cycles)

    def _mask(self, arrays: Arrays) -> Any:
        mask = _mask(self._stop, self._lattice, self.grid)
        if arrays.name == "numpy":
            return mask
        if arrays not in self._on_device:
            # Transforms of other libraries are not scaled; see `propagation.fourier`.
            scaled = np.ascontiguousarray(mask) * np.float32(1 / math.prod(self.grid))
            self._on_device[arrays] = arrays.from_host(scaled)
        return self._on_device[arrays]

    def through(self, cells: Any, arrays: Arrays = NUMPY, *, workers: int = 1, transposed: bool = False) -> Any:
        """Return the light behind the stop of light in front of it.

        Parameters
        ----------
        cells : array of complex64, shape (n, rows, columns) of `shape`
            Fields, with the carrier taken off; of the library of `arrays`.
        arrays : Arrays, optional
            Library and device.
        workers : int, optional
            Threads (numpy's arrays); they do not change the result.
        transposed : bool, optional
            Whether to take the transposed map: by reciprocity that of light that comes from behind.

        Returns
        -------
        array of complex64, shape of `cells`
            An array of its own.
        """
        n, mask = len(cells), self._mask(arrays)
        if arrays.name != "numpy":
            return propagation.filtered(cells, mask, inverse=transposed, arrays=arrays)
        # Threads take fields of their own, unless there are too few of them, as in a layer.
        if n < workers:
            return propagation.filtered(cells, mask, inverse=transposed, workers=workers)
        out = np.empty(cells.shape, dtype=np.complex64)

        def work(start: int, stop: int) -> None:
            out[start:stop] = propagation.filtered(cells[start:stop], mask, inverse=transposed)

        parallel.over_ranges(work, n, workers)
        return out

    # ---------------------------------------------------------------- what it takes

    @property
    def kept_bytes(self) -> int:
        """Bytes of what is kept: what multiplies the light in both planes."""
        return 8 * (math.prod(self.grid) + math.prod(self._mirrors))

    @property
    def grid_bytes(self) -> int:
        """Bytes of one field on its way: on rows that are lit, and what comes out."""
        return 16 * self.shape[0] * self.grid[1]

    def transforms_on(self, side: int) -> int:
        """Return as how many transforms on a square grid the two of one field count.

        Parameters
        ----------
        side : int
            Side of that grid.

        Returns
        -------
        int
            By the points that their passes go through, rounded up.
        """
        # Along rows those of the cells alone, along columns all.
        return -(-(self.shape[0] + self.grid[0]) * self.grid[1] // (side * side))


def _along_edges(cycles: tuple[float, float], lattice: str) -> tuple[float, float]:
    """Return a spatial frequency along the edges of mirrors, by which their cells lie on a grid."""
    if lattice == lattices.SQUARE:
        return cycles
    y, x = cycles
    root = math.sqrt(2.0)
    return (y + x) / root, (y - x) / root


@lru_cache(maxsize=4)
def _carrier(shape: tuple[int, int], lattice: str, centre: tuple[float, float]) -> np.ndarray:
    y, x = lattices.places(shape, lattice)
    turns = -(centre[0] * y + centre[1] * x)
    turns -= np.rint(turns)  # exact, and small
    result = elementary.phasors(2 * np.pi * turns, np.complex64)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=4)
def _mask(stop: FourierStop, lattice: str, grid: tuple[int, int]) -> np.ndarray:
    """Return what multiplies the transform of the light on a grid: complex64, column by column, read-only.

    It is that of the image of a point, so that on as many points as the image has the stop has its true edge.
    """
    away = [np.minimum(np.arange(n), n - np.arange(n)).astype(np.float64) for n in grid]
    half = [n // 2 + 1 for n in grid]  # the rest is the mirror image
    y, x = (axis[:n] for axis, n in zip(away, half, strict=True))
    d = stop.diameter_cycles
    if stop.shape == SQUARE:
        image = d * d * elementary.sinc(d * y)[:, None] * elementary.sinc(d * x)[None, :]
    else:
        image = d * d * _airy(d * np.sqrt(y[:, None] * y[:, None] + x[None, :] * x[None, :]))
    rows, columns = (axis.astype(np.int64) for axis in away)
    mask = transform(image[rows][:, columns].astype(np.complex128), (0, 1), overwrite=True).real
    if stop.envelope:
        centre = _along_edges(stop.centre_cycles, lattice)
        less = [elementary.sinc(f + frequencies(n)) for f, n in zip(centre, grid, strict=True)]
        mask = mask * less[0][:, None] * less[1][None, :]
    result = mask.astype(np.complex64, order="F")
    result.setflags(write=False)
    return result


def _airy(r: np.ndarray) -> np.ndarray:
    """Transform of a disc of diameter 1: J1(pi r) / (2 r)."""
    away = np.where(r > 0, r, 1.0)
    return np.where(r > 0, elementary.bessel_j1(np.pi * away) / (2 * away), np.pi / 4)
