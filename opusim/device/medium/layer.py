"""A layer on its grid: the factors that multiply the light, and what takes fields through them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim.base import elementary, parallel
from opusim.base.arrays import NUMPY, Arrays
from opusim.device import propagation

from .grid import ModeGrid

#: Grids up to this size go through the whole layer in one core's cache, as many at a time as it holds.
CACHE_BYTES = 1 << 20
_KEPT_GRIDS = 2  # grids of fields that are kept between calls, or one for each thread


@dataclass(frozen=True, eq=False)
class LayerFactors:
    """What the light is multiplied by from lens to lens, in one polarisation.

    Parameters
    ----------
    screens : list of array of complex64, shape (side, side)
        Transmittance of each screen, in the grid's own order. The first and the last carry the sign pattern that puts
        the origin of the lenses' transforms on the optical axis; the last carries stop and exit amplitude, and the
        scale that gives the entries of the map the mean square 1.
    transfer : array of complex64, shape (side, side), or None
        Of the space between two screens, by spatial frequency in the transform's order; None for one screen.
    stop : array of float32, shape (side, side), or None
        Amplitude of the round stop at the exit face, in the transform's order; None without one.
    ballistic : array of complex64, shape (side, side), or None
        What the light that meets no screen is multiplied by, counted from the axis as the image of the mirrors is;
        None without such light.
    """

    screens: list[Any]
    transfer: Any = None
    stop: Any = None
    ballistic: Any = None


class LayerOperator:
    """A scattering layer on a grid: fields of input cells in, fields of output cells out.

    Entries of the linear map have the mean square 1 over the grid. Made by `WaveMedium.operator`.

    Parameters
    ----------
    factors : LayerFactors
        Of the layer on this grid, by numpy; they are taken over, and changed for other libraries.
    grid : ModeGrid
        Grid of modes.
    workers : int, optional
        Threads of the FFT; they do not change the result.
    arrays : Arrays
        Library and device of the fields.

    Attributes
    ----------
    grid : ModeGrid
    arrays : Arrays
    factors : LayerFactors
        Of the library of `arrays`. For other libraries than numpy they also carry the scale of the transforms.
    """

    def __init__(self, factors: LayerFactors, grid: ModeGrid, workers: int | None, arrays: Arrays = NUMPY) -> None:
        self.grid = grid
        self.workers = workers
        self.arrays = arrays
        self._free: list[np.ndarray] = []
        self._origin: LayerOperator | None = None
        self.factors = factors if arrays == NUMPY else _moved(factors, grid.side, arrays)

    def on(self, grid: ModeGrid) -> LayerOperator:
        """Return the same layer with other blocks of cells; they share its arrays.

        Parameters
        ----------
        grid : ModeGrid
            Of the same side and stop.

        Returns
        -------
        LayerOperator
            On that grid.
        """
        assert (grid.side, grid.aperture) == (self.grid.side, self.grid.aperture), "another grid needs another layer"
        other = copy.copy(self)
        other.grid = grid
        other._origin = self._origin or self  # lives as long as any copy: by it the layer is found
        return other

    @property
    def reciprocal(self) -> bool:
        """Whether `backward` is the transpose of `forward`."""
        return self.factors.ballistic is None or self.factors.stop is None

    def forward(self, cells: Any, workers: int | None = None) -> Any:
        """Field of the output cells for fields of the input cells.

        Parameters
        ----------
        cells : array of complex64, shape (n, rows, columns) of ``grid.input_shape``
            Fields that leave the mirrors, of the library of `arrays`.
        workers : int, optional
            Threads of this call; those of the operator by default. Callers with threads of their own take 1.

        Returns
        -------
        array of complex64, shape (n, rows, columns) of ``grid.output_shape``
            Fields at the camera. May be called from several threads.
        """
        return self._pass(cells, self.grid, self.factors.screens, workers or self.workers or 1)

    def backward(self, cells: Any, workers: int | None = None) -> Any:
        """Field of the input cells for fields of the output cells: the transposed map, by reciprocity.

        Not defined for ballistic light behind a stop, which `reciprocal` tells.

        Parameters
        ----------
        cells : array of complex64, shape (n, rows, columns) of ``grid.output_shape``
            Fields that enter from the camera's side, of the library of `arrays`.
        workers : int, optional
            As of `forward`.

        Returns
        -------
        array of complex64, shape (n, rows, columns) of ``grid.input_shape``
            Fields at the mirrors.
        """
        return self._pass(cells, self.grid.transposed(), self.factors.screens[::-1], workers or self.workers or 1)

    def _pass(self, cells: Any, grid: ModeGrid, screens: list[Any], workers: int) -> Any:
        n = len(cells)
        if self.arrays.name != "numpy":
            return self._through(cells, grid, screens, workers)
        out = np.empty((n, *grid.output_shape), dtype=np.complex64)
        # As many grids at a time as the cache holds. Threads take grids of their own, which is quicker than parts of
        # one grid, unless there are too few of them.
        bytes_ = 8 * grid.side**2
        step, apart = max(1, CACHE_BYTES // bytes_), n >= workers or bytes_ <= CACHE_BYTES

        def work(start: int, stop: int) -> None:
            for first in range(start, stop, step):
                part = slice(first, min(stop, first + step))
                self._through(cells[part], grid, screens, 1 if apart else workers, out[part])

        parallel.over_ranges(work, n, workers if apart else 1)
        return out

    def _through(
        self, cells: Any, grid: ModeGrid, screens: list[Any], workers: int, out: np.ndarray | None = None
    ) -> Any:  # fmt: skip
        """Pass a few fields through the layer, from lens to lens; numpy's into `out`."""
        # opusim/differentiable/field.py writes this law once more, open to gradients; its tests hold both equal.
        rows, columns = grid.input_block
        how: dict[str, Any] = {"arrays": self.arrays, "workers": workers, "scaled": False}
        held = self._take(len(cells))
        field = held
        if self.arrays.name == "numpy":  # whose lens takes the other rows for dark
            field[:, rows, : columns.start] = 0
            field[:, rows, columns.stop :] = 0
        field[:, rows, columns] = cells
        field = propagation.lens_from_rows(field, rows, times=screens[0], **how)
        for screen in screens[1:]:
            field = propagation.fourier(field, times=self.factors.transfer, **how)
            field = propagation.inverse_fourier(field, times=screen, **how)
        field = propagation.lens_to_block(field, *grid.output_block, out=out, **how)
        if self.arrays.name == "numpy" and len(self._free) < max(_KEPT_GRIDS, self.workers or 1):
            self._free.append(held)
        if self.factors.ballistic is not None:
            field += self._unscattered(cells, grid, workers)
        return field

    def _take(self, n: int) -> Any:
        """Return grids for `n` fields: numpy's are used again, since new memory costs as much as a pass over it.

        Each call takes them out of the list and puts them back (both are one step for Python), so threads never share.
        """
        side = self.grid.side
        if self.arrays.name != "numpy":
            return self.arrays.zeros((n, side, side), np.complex64)
        try:
            grids = self._free.pop()
        except IndexError:
            grids = np.empty((0, 0, 0), dtype=np.complex64)
        return grids if len(grids) == n else propagation.padded_grids(n, (side, side))

    def _unscattered(self, cells: Any, grid: ModeGrid, workers: int | None) -> Any:
        """Light that met no screen: the mirrors' image upside down, defocused by the layer's thickness."""
        side, xp = grid.side, self.arrays.xp
        image = self.arrays.zeros((len(cells), side, side), np.complex64)
        rows, columns = grid.input_block
        image[:, rows, columns] = cells
        # Point m of the image is point -m of the object, m counted from the axis at side / 2, modulo the side.
        image = xp.roll(xp.flip(image, axis=(1, 2)), (1, 1), axis=(1, 2))
        if self.arrays.name == "numpy":
            elementary.multiply(image, self.factors.ballistic, out=image)
        else:
            image *= self.factors.ballistic
        if self.factors.stop is not None:  # the stop acts in the exit face, one lens before the camera
            how: dict[str, Any] = {"arrays": self.arrays, "workers": workers, "scaled": False}
            image = propagation.fourier(propagation.inverse_fourier(image, times=self.factors.stop, **how), **how)
        rows, columns = grid.output_block
        return image[:, rows, columns]


def _moved(factors: LayerFactors, side: int, arrays: Arrays) -> LayerFactors:
    """Return the factors on another device, with what makes the transforms unitary in them."""
    screens = factors.screens
    # Each factor takes the scale from the transform before it, the last screen also from the lens behind it.
    for factor in (*screens, screens[-1], factors.transfer, factors.stop):
        if factor is not None:
            factor *= np.float32(1 / side)
    if factors.ballistic is not None and factors.stop is not None:
        ballistic = factors.ballistic
        ballistic *= np.float32(1 / side)  # of the lens behind the stop
    for k, screen in enumerate(screens):  # one by one: the host holds no more than it must
        screens[k] = arrays.from_host(screen)
    rest = (None if f is None else arrays.from_host(f) for f in (factors.transfer, factors.stop, factors.ballistic))
    return LayerFactors(screens, *rest)
