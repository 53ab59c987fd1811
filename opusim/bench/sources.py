"""What feeds the medium: binary features or mirrors as fields on the input cells of the grid of modes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from opusim.base import elementary
from opusim.base.arrays import NUMPY, Arrays
from opusim.device import lattice
from opusim.device.dmd import Dmd
from opusim.device.modulator import Modulator
from opusim.device.slm import PhaseSlm
from opusim.patterns.kinds import ALWAYS_OFF, ALWAYS_ON
from opusim.patterns.layout import MirrorLayout

from .moving import ModeMotion
from .phase_sources import PhaseMacroSource, PixelSource

if TYPE_CHECKING:
    import scipy.sparse

    from .frames import Moments


Source: TypeAlias = "MacroSource | MirrorSource | PhaseMacroSource | PixelSource"
"""One of the classes of this file, or of `phase_sources`."""


class _Moved:
    """Arrays of a source that are needed on a device: moved there once."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Arrays, str], Any] = {}

    def get(self, arrays: Arrays, name: str, make: Any) -> Any:
        """Return the array `name`, which `make()` gives as numpy's, on a device."""
        if (arrays, name) not in self._kept:
            self._kept[arrays, name] = arrays.from_host(make())
        return self._kept[arrays, name]


class MacroSource:
    """One cell for each feature and one for what is always on: the resolution "auto".

    A feature that covers m mirrors sends the sum of m random fields, which is one random field of m times the
    mean intensity. The mirrors that show no feature (padding, stuck ones) act as one more cell that is always
    on. The wavefront error has no effect on these statistics. Where mirrors move, features
    turn as `ModeMotion` says, and that one cell, whose mirrors lie all over the array, stays.

    Parameters
    ----------
    layout : MirrorLayout
        How the features lie on the mirrors.
    dmd : Dmd
        The mirror array.
    seed : int
        Seed of the device.
    """

    weighted: bool
    """Whether features have complex weights (`coefficients`), in place of being on or off: where mirrors move."""

    def __init__(self, layout: MirrorLayout, dmd: Dmd, seed: int) -> None:
        self.weighted = dmd.moves
        self.n_features = math.prod(layout.n_features)
        self.mirrors_per_cell = layout.mirrors_per_feature
        self._moved = _Moved()
        power = np.square(dmd.amplitude(), dtype=np.float64).ravel()
        feature = layout.feature_of_mirror().ravel()
        stuck = dmd.stuck(seed).ravel()
        eps = dmd.off_amplitude
        live = (feature >= 0) & (stuck == 0)
        self._motion = ModeMotion(dmd, seed, np.where(live, feature, -1), self.n_features) if dmd.moves else None
        on = np.bincount(feature[live], weights=power[live], minlength=self.n_features)
        always_on = (stuck > 0) | ((feature == ALWAYS_ON) & (stuck == 0))
        always_off = (stuck < 0) | ((feature == ALWAYS_OFF) & (stuck == 0))
        self.amplitude = np.sqrt(on).astype(np.float32)
        self.off_amplitude = np.float32(eps)
        self.background = math.sqrt(float(power[always_on].sum() + eps * eps * power[always_off].sum()))
        if len(layout.n_features) == 2:
            rows, columns = layout.n_features
            self.input_shape = (rows + 1, columns)  # the background lies in the row below
        else:
            columns = math.ceil(math.sqrt(self.n_features + 1))
            self.input_shape = (math.ceil((self.n_features + 1) / columns), columns)

    def amplitudes(self, bits: np.ndarray) -> np.ndarray:
        """Amplitude of each mode, float32 (n, n_features + 1), the last one being the background."""
        result = np.empty((len(bits), self.n_features + 1), dtype=np.float32)
        np.multiply(np.where(bits, np.float32(1), self.off_amplitude), self.amplitude, out=result[:, :-1])
        result[:, -1] = self.background
        return result

    def cells(self, bits: Any, arrays: Arrays = NUMPY, moments: Moments | None = None) -> Any:
        """Fields of the cells, complex64 (n, *input_shape)."""
        if self._motion is not None and arrays != NUMPY:
            return arrays.from_host(self.cells(bits, NUMPY, moments))
        flat = arrays.zeros((len(bits), math.prod(self.input_shape)), np.complex64)
        if self._motion is not None and moments is not None:
            own = self._motion.phasors(moments)
            # Each part times a real number: no sums that could round.
            of_modes = self.amplitudes(bits)
            own.view(np.float32).reshape(len(own), -1, 2)[...] *= of_modes[:, :-1, None]
            flat[:, : self.n_features] = own
            flat[:, self.n_features] = of_modes[:, -1]
        elif arrays == NUMPY:
            flat[:, : self.n_features + 1] = self.amplitudes(bits)
        else:
            on = self._moved.get(arrays, "on", lambda: self.amplitude)
            off = self._moved.get(arrays, "off", lambda: self.amplitude * self.off_amplitude)
            xp = arrays.xp
            flat[:, : self.n_features] = xp.astype(xp.where(xp.astype(bits, xp.bool), on, off), flat.dtype)
            flat[:, self.n_features] = self.background
        return flat.reshape(len(bits), *self.input_shape)

    def coefficients(self, bits: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Return by what the change of each feature is multiplied, complex64 (n, n_features), for features that move.

        With the leakage e and ``r = e / (1 - e)`` it is ``exp(i psi) (b + r) - r``: the constant that is added has the
        light of off mirrors as it stands still.
        """
        if self._motion is None or moments is None:
            return np.asarray(bits).astype(np.complex64)
        weights = self._motion.phasors(moments)
        rest = np.float32(float(self.off_amplitude) / (1 - float(self.off_amplitude)))
        weights.view(np.float32).reshape(len(weights), -1, 2)[...] *= (np.asarray(bits) + rest)[:, :, None]
        weights -= rest
        return weights

    def off(self) -> np.ndarray:
        """Fields of the cells with every feature off, complex64 (1, *input_shape)."""
        return self.cells(np.zeros((1, self.n_features), dtype=np.uint8))

    def shown(self, bits: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Fields of the cells as a picture of the mirrors, for `OpticalBench.inspect`: that of `cells`."""
        return self.cells(bits, moments=moments)

    def basis(self, start: int, stop: int, off: np.ndarray) -> np.ndarray:
        """Fields by which features start ... stop - 1 change the cells when they go on; `off` is not needed here."""
        flat = np.zeros((stop - start, math.prod(self.input_shape)), dtype=np.complex64)
        index = np.arange(start, stop)
        flat[index - start, index] = self.amplitude[start:stop] * (1 - self.off_amplitude)
        return flat.reshape(stop - start, *self.input_shape)

    def modes(self) -> scipy.sparse.csr_array:
        """Amplitudes (n_features + 1, n_modes): change of each mode by each feature; last row: every feature off."""
        import scipy.sparse

        n = self.n_features
        change = scipy.sparse.diags_array(self.amplitude * (1 - self.off_amplitude), shape=(n, n + 1))
        rest = np.append(self.amplitude * self.off_amplitude, np.float32(self.background))
        return scipy.sparse.csr_array(scipy.sparse.vstack([change, scipy.sparse.csr_array(rest[None, :])]))


class MirrorSource:
    """One cell for each mirror: the resolution "mirrors", and any pattern that no formatter made.

    Parameters
    ----------
    layout : MirrorLayout or None
        How features lie on the mirrors; None if the inputs are the mirrors themselves, in raster order.
    dmd : Dmd
        The mirror array.
    seed : int
        Seed of the device.
    on_grid : bool, optional
        Whether cells are points of a grid, and lie on it as the mirrors lie in space. A diamond lattice is turned then:
        the axes of the grid are the edges of the mirrors, and cells beyond the array send nothing. If not, cells are
        mirrors in raster order.
    """

    weighted: bool
    """Whether mirrors move. Each does so by itself, so that features have no weights (`Geometry.has_matrix`)."""

    def __init__(self, layout: MirrorLayout | None, dmd: Dmd, seed: int, *, on_grid: bool = True) -> None:
        self.weighted = dmd.moves
        self._motion = ModeMotion(dmd, seed) if dmd.moves else None
        self.layout = layout
        self.dmd = dmd
        self.seed = seed
        self._moved = _Moved()
        self.input_shape = dmd.shape
        self.mirrors_per_cell = 1
        self.n_features = dmd.n_mirrors if layout is None else math.prod(layout.n_features)
        # The cell of each mirror, in raster order; None where that is its own number.
        self._cell_of_mirror: np.ndarray | None = None
        if on_grid and dmd.lattice == lattice.DIAMOND:
            u, v, self.input_shape = lattice.along_edges(dmd.shape)
            self._cell_of_mirror = (u * self.input_shape[1] + v).ravel()

    def cells(self, bits: Any, arrays: Arrays = NUMPY, moments: Moments | None = None) -> Any:
        """Fields of the cells, complex64 (n, *input_shape)."""
        if arrays != NUMPY and self._motion is None:
            return self._cells_on(bits, arrays)
        return arrays.from_host(self._on_cells(self.shown(bits, moments)))

    def off(self) -> np.ndarray:
        """Fields of the cells with every feature off, complex64 (1, *input_shape)."""
        return self.cells(np.zeros((1, self.n_features), dtype=np.uint8))

    def shown(self, bits: Any, moments: Moments | None = None) -> np.ndarray:
        """Fields of the mirrors, complex64 (n, rows, columns)."""
        if self.layout is None or self.layout.in_order:
            mirrors = np.asarray(bits).reshape(len(bits), *self.dmd.shape)
        else:
            mirrors = self.layout.mirrors(bits)
        field = self.dmd.field(mirrors, seed=self.seed)
        if self._motion is None or moments is None:
            return field
        return elementary.multiply(field, self._motion.phasors(moments).reshape(field.shape))

    def _on_cells(self, of_mirrors: np.ndarray, elsewhere: int = 0) -> np.ndarray:
        """Put a value of each mirror (n, rows, columns) on its cell (n, *input_shape), and another on the rest."""
        if self._cell_of_mirror is None:
            return of_mirrors
        n = len(of_mirrors)
        cells = np.full((n, math.prod(self.input_shape)), elsewhere, dtype=of_mirrors.dtype)
        cells[:, self._cell_of_mirror] = of_mirrors.reshape(n, -1)
        return cells.reshape(n, *self.input_shape)

    def _cells_on(self, bits: Any, arrays: Arrays) -> Any:
        """As `cells`, on a device: each cell fetches the bit of its feature."""
        assert self.layout is not None, "bare mirrors are shown by numpy"
        xp, total = arrays.xp, self.n_features

        def state(value: int) -> np.ndarray:
            of_mirrors = self.dmd.field(np.full((1, *self.dmd.shape), value, dtype=np.uint8), seed=self.seed)
            return self._on_cells(of_mirrors)[0]

        def source_of_cell() -> np.ndarray:
            # Behind the features stand the two constants: one for what is always on, zero for what is always off.
            feature = self.layout.feature_of_mirror()[None]  # type: ignore[union-attr]
            constant = np.where(feature == ALWAYS_ON, total, total + 1)
            return self._on_cells(np.where(feature >= 0, feature, constant).astype(np.int64), total + 1).ravel()

        constants = self._moved.get(arrays, "constants", lambda: np.array([[1, 0]], dtype=np.uint8))
        padded = xp.concat([xp.astype(bits, constants.dtype), xp.broadcast_to(constants, (len(bits), 2))], axis=1)
        mirrors = xp.take(padded, self._moved.get(arrays, "source", source_of_cell), axis=1)
        on = self._moved.get(arrays, "on", lambda: state(1))
        off = self._moved.get(arrays, "off", lambda: state(0))
        return xp.where(xp.astype(mirrors, xp.bool).reshape(len(bits), *self.input_shape), on, off)

    def basis(self, start: int, stop: int, off: np.ndarray) -> np.ndarray:
        """Fields by which features start ... stop - 1 change the cells when they go on; `off`: `cells` of none."""
        bits = np.zeros((stop - start, self.n_features), dtype=np.uint8)
        bits[np.arange(stop - start), np.arange(start, stop)] = 1
        cells = self.cells(bits)
        cells -= off
        return cells

    def modes(self) -> scipy.sparse.csr_array:
        """As `MacroSource.modes`, with a mode a cell."""
        import scipy.sparse

        assert self.layout is not None, "a matrix of features needs a layout"
        off = self.cells(np.zeros((1, self.n_features), dtype=np.uint8))[0].ravel()
        on = self._on_cells(self.dmd.field(np.ones((1, *self.dmd.shape), dtype=np.uint8), seed=self.seed)).ravel()
        feature = self._on_cells(self.layout.feature_of_mirror()[None], ALWAYS_OFF).ravel()
        cell = np.flatnonzero(feature >= 0)
        change = scipy.sparse.coo_array(((on - off)[cell], (feature[cell], cell)), shape=(self.n_features, off.size))
        return scipy.sparse.csr_array(scipy.sparse.vstack([change, scipy.sparse.csr_array(off[None, :])]))


def make_source(
    layout: MirrorLayout | None, modulator: Modulator, seed: int, *, by_mirror: bool, on_grid: bool = True
) -> Source:
    """Return what feeds the medium.

    Parameters
    ----------
    layout : MirrorLayout or None
        How features lie on the mirrors; None if the inputs are the mirrors themselves, in raster order.
    modulator : Modulator
        Mirrors, or a phase modulator.
    seed : int
        Seed of the device.
    by_mirror : bool
        Whether each mirror is a mode, as it always is without a layout.
    on_grid : bool, optional
        Whether mirrors that are modes lie on a grid, as in front of a medium that has waves.

    Returns
    -------
    MacroSource, MirrorSource, PhaseMacroSource or PixelSource
        The source.
    """
    whole = None if by_mirror else layout
    if isinstance(modulator, PhaseSlm):
        return PixelSource(layout, modulator, seed) if whole is None else PhaseMacroSource(whole, modulator, seed)
    assert isinstance(modulator, Dmd), "modulators are of these two kinds"
    if whole is None:
        return MirrorSource(layout, modulator, seed, on_grid=on_grid)
    return MacroSource(whole, modulator, seed)
