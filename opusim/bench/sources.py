"""What feeds the medium: binary features or mirrors as fields on the input cells of the grid of modes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse

from opusim.base.arrays import NUMPY, Arrays
from opusim.device.dmd import Dmd
from opusim.patterns.kinds import ALWAYS_OFF, ALWAYS_ON
from opusim.patterns.layout import MirrorLayout


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
    on. The wavefront error has no effect on these statistics.

    Parameters
    ----------
    layout : MirrorLayout
        How the features lie on the mirrors.
    dmd : Dmd
        The mirror array.
    seed : int
        Seed of the device.
    """

    def __init__(self, layout: MirrorLayout, dmd: Dmd, seed: int) -> None:
        self.n_features = math.prod(layout.n_features)
        self.mirrors_per_cell = layout.mirrors_per_feature
        self._moved = _Moved()
        power = np.square(dmd.amplitude(), dtype=np.float64).ravel()
        feature = layout.feature_of_mirror().ravel()
        stuck = dmd.stuck(seed).ravel()
        eps = dmd.off_amplitude
        live = (feature >= 0) & (stuck == 0)
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

    def coefficients(self, bits: np.ndarray) -> np.ndarray:
        """Amplitude of each mode, float32 (n, n_features + 1), the last one being the background."""
        result = np.empty((len(bits), self.n_features + 1), dtype=np.float32)
        np.multiply(np.where(bits, np.float32(1), self.off_amplitude), self.amplitude, out=result[:, :-1])
        result[:, -1] = self.background
        return result

    def cells(self, bits: Any, arrays: Arrays = NUMPY) -> Any:
        """Fields of the cells, complex64 (n, *input_shape)."""
        flat = arrays.zeros((len(bits), math.prod(self.input_shape)), np.complex64)
        if arrays == NUMPY:
            flat[:, : self.n_features + 1] = self.coefficients(bits)
        else:
            on = self._moved.get(arrays, "on", lambda: self.amplitude)
            off = self._moved.get(arrays, "off", lambda: self.amplitude * self.off_amplitude)
            xp = arrays.xp
            flat[:, : self.n_features] = xp.astype(xp.where(xp.astype(bits, xp.bool), on, off), flat.dtype)
            flat[:, self.n_features] = self.background
        return flat.reshape(len(bits), *self.input_shape)

    def basis(self, start: int, stop: int) -> np.ndarray:
        """Fields by which features start ... stop - 1 change the cells when they go on."""
        flat = np.zeros((stop - start, math.prod(self.input_shape)), dtype=np.complex64)
        index = np.arange(start, stop)
        flat[index - start, index] = self.amplitude[start:stop] * (1 - self.off_amplitude)
        return flat.reshape(stop - start, *self.input_shape)

    def modes(self) -> scipy.sparse.csr_array:
        """Amplitudes (n_features + 1, n_modes): change of each mode by each feature; last row: every feature off."""
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
    """

    def __init__(self, layout: MirrorLayout | None, dmd: Dmd, seed: int) -> None:
        self.layout = layout
        self.dmd = dmd
        self.seed = seed
        self._moved = _Moved()
        self.input_shape = dmd.shape
        self.mirrors_per_cell = 1
        self.n_features = dmd.n_mirrors if layout is None else math.prod(layout.n_features)

    def cells(self, bits: Any, arrays: Arrays = NUMPY) -> Any:
        """Fields of the mirrors, complex64 (n, rows, columns)."""
        if arrays != NUMPY:
            return self._cells_on(bits, arrays)
        if self.layout is None or self.layout.in_order:
            mirrors = np.asarray(bits).reshape(len(bits), *self.dmd.shape)
        else:
            mirrors = self.layout.mirrors(bits)
        return self.dmd.field(mirrors, seed=self.seed)

    def _cells_on(self, bits: Any, arrays: Arrays) -> Any:
        """As `cells`, on a device: each mirror fetches the bit of its feature."""
        assert self.layout is not None, "bare mirrors are shown by numpy"
        xp, total = arrays.xp, self.n_features

        def state(value: int) -> np.ndarray:
            return self.dmd.field(np.full((1, *self.dmd.shape), value, dtype=np.uint8), seed=self.seed)[0]

        def source_of_mirror() -> np.ndarray:
            # Behind the features stand the two constants: one for what is always on, zero for what is always off.
            feature = self.layout.feature_of_mirror().ravel()  # type: ignore[union-attr]
            constant = np.where(feature == ALWAYS_ON, total, total + 1)
            return np.where(feature >= 0, feature, constant).astype(np.int64)

        constants = self._moved.get(arrays, "constants", lambda: np.array([[1, 0]], dtype=np.uint8))
        padded = xp.concat([xp.astype(bits, constants.dtype), xp.broadcast_to(constants, (len(bits), 2))], axis=1)
        mirrors = xp.take(padded, self._moved.get(arrays, "source", source_of_mirror), axis=1)
        on = self._moved.get(arrays, "on", lambda: state(1))
        off = self._moved.get(arrays, "off", lambda: state(0))
        return xp.where(xp.astype(mirrors, xp.bool).reshape(len(bits), *self.dmd.shape), on, off)

    def basis(self, start: int, stop: int) -> np.ndarray:
        """Fields by which features start ... stop - 1 change the mirrors' field when they go on."""
        bits = np.zeros((stop - start, self.n_features), dtype=np.uint8)
        bits[np.arange(stop - start), np.arange(start, stop)] = 1
        return self.cells(bits) - self.cells(np.zeros((1, self.n_features), dtype=np.uint8))

    def modes(self) -> scipy.sparse.csr_array:
        """As `MacroSource.modes`, with a mode a mirror."""
        assert self.layout is not None, "a matrix of features needs a layout"
        off = self.cells(np.zeros((1, self.n_features), dtype=np.uint8))[0].ravel()
        on = self.dmd.field(np.ones((1, *self.dmd.shape), dtype=np.uint8), seed=self.seed)[0].ravel()
        feature = self.layout.feature_of_mirror().ravel()
        mirror = np.flatnonzero(feature >= 0)
        change = scipy.sparse.coo_array(
            ((on - off)[mirror], (feature[mirror], mirror)), shape=(self.n_features, self.dmd.n_mirrors)
        )
        return scipy.sparse.csr_array(scipy.sparse.vstack([change, scipy.sparse.csr_array(off[None, :])]))


def make_source(layout: MirrorLayout | None, dmd: Dmd, seed: int, *, by_mirror: bool) -> MacroSource | MirrorSource:
    """Return what feeds the medium.

    Parameters
    ----------
    layout : MirrorLayout or None
        How features lie on the mirrors; None if the inputs are the mirrors themselves, in raster order.
    dmd : Dmd
        The mirror array.
    seed : int
        Seed of the device.
    by_mirror : bool
        Whether each mirror is a mode, as it always is without a layout.

    Returns
    -------
    MacroSource or MirrorSource
        The source.
    """
    if layout is None or by_mirror:
        return MirrorSource(layout, dmd, seed)
    return MacroSource(layout, dmd, seed)
