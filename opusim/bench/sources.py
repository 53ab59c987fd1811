"""What feeds the medium: binary features or mirrors as fields on the input cells of the grid of modes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from opusim.base import elementary
from opusim.base.arrays import NUMPY, Arrays
from opusim.device import lattice
from opusim.device.dmd import Dmd
from opusim.device.fourier_stop import Relay
from opusim.device.modulator import Modulator
from opusim.device.slm import PhaseSlm
from opusim.patterns.kinds import ALWAYS_OFF, ALWAYS_ON
from opusim.patterns.layout import MirrorLayout

from .cells import Cells, macro_shape, scale
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


class MacroSource(Cells):
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
    one_weight = True
    """Whether all light of a feature is multiplied by one number, and no other light is."""

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
        self.input_shape = macro_shape(layout.n_features)

    def amplitudes(self, bits: np.ndarray) -> np.ndarray:
        """Amplitude of each mode, float32 (n, n_features + 1), the last one being the background."""
        result = np.empty((len(bits), self.n_features + 1), dtype=np.float32)
        np.multiply(np.where(bits, np.float32(1), self.off_amplitude), self.amplitude, out=result[:, :-1])
        result[:, -1] = self.background
        return result

    def cells(
        self, bits: Any, arrays: Arrays = NUMPY, moments: Moments | None = None, workers: int = 1
    ) -> Any:  # fmt: skip
        """Fields of the cells, complex64 (n, *input_shape)."""
        if self._motion is not None and arrays != NUMPY:
            return arrays.from_host(self.cells(bits, NUMPY, moments))
        flat = arrays.zeros((len(bits), math.prod(self.input_shape)), np.complex64)
        if self._motion is not None and moments is not None:
            own = self._motion.phasors(moments)
            of_modes = self.amplitudes(bits)
            scale(own, of_modes[:, :-1])
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
        scale(weights, np.asarray(bits) + rest)
        weights -= rest
        return weights

    def off(self) -> np.ndarray:
        """Fields of the cells with every feature off, complex64 (1, *input_shape)."""
        return self.cells(np.zeros((1, self.n_features), dtype=np.uint8))

    def shown(self, bits: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Fields of the cells as a picture of the mirrors, for `OpticalBench.inspect`: that of `cells`."""
        return self.cells(bits, moments=moments)

    def basis(self, start: int, stop: int, off: np.ndarray, workers: int = 1) -> np.ndarray:
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


class MirrorSource(Cells):
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
    relay : Relay, optional
        What the light goes through before it comes to the cells.
    """

    by_mirror = True
    weighted: bool
    """Whether mirrors move."""

    def __init__(
        self, layout: MirrorLayout | None, dmd: Dmd, seed: int, *, on_grid: bool = True, relay: Relay | None = None
    ) -> None:  # fmt: skip
        self.weighted = dmd.moves
        self._motion = ModeMotion(dmd, seed) if dmd.moves else None
        self.layout = layout
        self.dmd = dmd
        self.seed = seed
        self.relay = relay
        self._on_grid = on_grid
        self._moved = _Moved()
        self.input_shape = dmd.shape
        self.mirrors_per_cell = 1
        self.n_features = dmd.n_mirrors if layout is None else math.prod(layout.n_features)
        # Where mirrors lie side by side in space; the place of each there, in raster order, None for its own number.
        self._box = dmd.shape
        self._cell_of_mirror: np.ndarray | None = None
        if dmd.lattice == lattice.DIAMOND and (on_grid or relay is not None):
            u, v, self._box = lattice.along_edges(dmd.shape)
            self._cell_of_mirror = (u * self._box[1] + v).ravel()
            if on_grid:
                self.input_shape = self._box

    def cells(
        self, bits: Any, arrays: Arrays = NUMPY, moments: Moments | None = None, workers: int = 1
    ) -> Any:  # fmt: skip
        """Fields of the cells, complex64 (n, *input_shape); threads share what a relay does."""
        if arrays != NUMPY and self._motion is None:
            return self._relayed(self._cells_on(bits, arrays), arrays, workers)
        lit = self._on_cells(self._sent(self.shown(bits, moments)))
        return arrays.from_host(self._relayed(lit, NUMPY, workers))

    @property
    def one_weight(self) -> bool:
        """Whether all light of a feature is multiplied by one number: not where mirrors move, each by itself."""
        return not self.weighted

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

    def _sent(self, fields: np.ndarray) -> np.ndarray:
        """Take the carrier off the fields of mirrors (n, rows, columns), if a relay picks one; they are overwritten."""
        return fields if self.relay is None else elementary.multiply(fields, self.relay.carrier, out=fields)

    def _relayed(self, lit: Any, arrays: Arrays = NUMPY, workers: int = 1) -> Any:
        """Return the fields of the cells for those on the box of mirrors: behind the relay, if there is one."""
        if self.relay is None:
            return lit
        result = self.relay.through(lit, arrays, workers=workers)
        if self._cell_of_mirror is None:
            return result
        # Beyond the array there is no mode that would take the light.
        if self._on_grid:
            dark = self._moved.get(arrays, "beyond", self._beyond)
            return arrays.xp.where(dark, arrays.zeros((), np.complex64), result)
        return result.reshape(len(result), -1)[:, self._cell_of_mirror].reshape(len(result), *self.dmd.shape)

    def _beyond(self) -> np.ndarray:
        return self._on_cells(np.zeros((1, *self.dmd.shape), dtype=np.bool_), True)[0]

    def before_relay(self, fields: np.ndarray, workers: int = 1) -> np.ndarray:
        """As `Cells.before_relay`; what comes to cells that are no mirrors is left out."""
        if self.relay is not None and self._cell_of_mirror is not None:
            n = len(fields)
            of_mirrors = fields.reshape(n, -1)
            of_mirrors = of_mirrors[:, self._cell_of_mirror] if self._on_grid else of_mirrors
            fields = self._on_cells(of_mirrors.reshape(n, *self.dmd.shape))
        return super().before_relay(fields, workers)

    def _on_cells(self, of_mirrors: np.ndarray, elsewhere: int = 0) -> np.ndarray:
        """Put a value of each mirror (n, rows, columns) on its place in the box, and another on the rest."""
        if self._cell_of_mirror is None:
            return of_mirrors
        n = len(of_mirrors)
        cells = np.full((n, math.prod(self._box)), elsewhere, dtype=of_mirrors.dtype)
        cells[:, self._cell_of_mirror] = of_mirrors.reshape(n, -1)
        return cells.reshape(n, *self._box)

    def _cells_on(self, bits: Any, arrays: Arrays) -> Any:
        """Fields on the box of mirrors, on a device: each place fetches the bit of its feature."""
        assert self.layout is not None, "bare mirrors are shown by numpy"
        xp, total = arrays.xp, self.n_features

        def state(value: int) -> np.ndarray:
            of_mirrors = self.dmd.field(np.full((1, *self.dmd.shape), value, dtype=np.uint8), seed=self.seed)
            return self._on_cells(self._sent(of_mirrors))[0]

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
        return xp.where(xp.astype(mirrors, xp.bool).reshape(len(bits), *self._box), on, off)

    def basis(self, start: int, stop: int, off: np.ndarray, workers: int = 1) -> np.ndarray:
        """Fields by which features start ... stop - 1 change the cells when they go on; `off`: `cells` of none."""
        bits = np.zeros((stop - start, self.n_features), dtype=np.uint8)
        bits[np.arange(stop - start), np.arange(start, stop)] = 1
        if self.relay is not None:  # of the change alone: the light of all other mirrors does not round it
            change = self._sent(self.shown(bits))
            change -= self._sent(self.shown(np.zeros((1, self.n_features), dtype=np.uint8)))
            return self._relayed(self._on_cells(change), NUMPY, workers)
        cells = self.cells(bits)
        cells -= off
        return cells

    def modes(self) -> scipy.sparse.csr_array:
        """As `MacroSource.modes`, with a mode a cell; of a relay those in front of it (`before_relay`)."""
        import scipy.sparse

        assert self.layout is not None, "a matrix of features needs a layout"
        off = self._on_cells(self._sent(self.shown(np.zeros((1, self.n_features), dtype=np.uint8))))[0].ravel()
        lit = self.dmd.field(np.ones((1, *self.dmd.shape), dtype=np.uint8), seed=self.seed)
        on = self._on_cells(self._sent(lit)).ravel()
        feature = self._on_cells(self.layout.feature_of_mirror()[None], ALWAYS_OFF).ravel()
        cell = np.flatnonzero(feature >= 0)
        change = scipy.sparse.coo_array(((on - off)[cell], (feature[cell], cell)), shape=(self.n_features, off.size))
        return scipy.sparse.csr_array(scipy.sparse.vstack([change, scipy.sparse.csr_array(off[None, :])]))


def make_source(
    layout: MirrorLayout | None,
    modulator: Modulator,
    seed: int,
    *,
    by_mirror: bool,
    on_grid: bool = True,
    relay: Relay | None = None,
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
    relay : Relay, optional
        What the light of mirrors goes through.

    Returns
    -------
    MacroSource, MirrorSource, PhaseMacroSource or PixelSource
        The source.
    """
    whole = None if by_mirror else layout
    if isinstance(modulator, PhaseSlm):
        if whole is None:
            return PixelSource(layout, modulator, seed, relay=relay)
        return PhaseMacroSource(whole, modulator, seed)
    assert isinstance(modulator, Dmd), "modulators are of these two kinds"
    if whole is None:
        return MirrorSource(layout, modulator, seed, on_grid=on_grid, relay=relay)
    return MacroSource(whole, modulator, seed)
