"""What feeds the medium from a phase modulator: levels as fields on the input cells of the grid of modes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base.arrays import NUMPY, Arrays
from opusim.device.slm import PhaseSlm
from opusim.patterns.layout import MirrorLayout

if TYPE_CHECKING:
    import scipy.sparse

    from .frames import Moments


class PhaseMacroSource:
    """One cell for each feature and one for the pixels that show none: the resolution "auto".

    As `MacroSource`: a feature that covers m pixels sends one random field of m times the mean intensity, turned by its
    level. What no level turns goes with it, through the same mode.

    Parameters
    ----------
    layout : MirrorLayout
        How the features lie on the pixels.
    slm : PhaseSlm
        The modulator.
    seed : int
        Seed of the device.
    """

    weighted = True

    def __init__(self, layout: MirrorLayout, slm: PhaseSlm, seed: int) -> None:
        self.layout, self.slm, self.seed = layout, slm, seed
        self.n_features = math.prod(layout.n_features)
        self.mirrors_per_cell = layout.mirrors_per_feature
        power = np.square(slm.amplitude(), dtype=np.float64).ravel()
        feature = layout.feature_of_mirror().ravel()
        of_feature = feature >= 0
        lit = np.bincount(feature[of_feature], weights=power[of_feature], minlength=self.n_features)
        self.amplitude = np.sqrt(lit).astype(np.float32)
        # Pixels of no feature show the level 0.
        rest = math.sqrt(float(power[~of_feature].sum()))
        self.background = np.complex64(rest * complex(slm.phasors()[0] + slm.straight))
        if len(layout.n_features) == 2:
            rows, columns = layout.n_features
            self.input_shape = (rows + 1, columns)  # the background lies in the row below
        else:
            columns = math.ceil(math.sqrt(self.n_features + 1))
            self.input_shape = (math.ceil((self.n_features + 1) / columns), columns)

    def coefficients(self, levels: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Return by what each feature's light is multiplied, complex64 (n, n_features)."""
        return self.slm.phasors()[levels]

    def cells(self, levels: Any, arrays: Arrays = NUMPY, moments: Moments | None = None) -> Any:
        """Fields of the cells, complex64 (n, *input_shape)."""
        flat = np.zeros((len(levels), math.prod(self.input_shape)), dtype=np.complex64)
        own = self.coefficients(np.asarray(levels), moments)
        own += np.float32(self.slm.straight)
        # Each part times a real number: no sums that could round.
        own.view(np.float32).reshape(len(own), -1, 2)[...] *= self.amplitude[:, None]
        flat[:, : self.n_features] = own
        flat[:, self.n_features] = self.background
        return arrays.from_host(flat.reshape(len(levels), *self.input_shape))

    def off(self) -> np.ndarray:
        """Fields of the cells without what levels turn, complex64 (1, *input_shape)."""
        flat = np.zeros((1, math.prod(self.input_shape)), dtype=np.complex64)
        flat[:, : self.n_features] = self.amplitude * np.float32(self.slm.straight)
        flat[:, self.n_features] = self.background
        return flat.reshape(1, *self.input_shape)

    def shown(self, levels: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Fields of the cells as a picture of the pixels, for `OpticalBench.inspect`: that of `cells`."""
        return self.cells(levels, moments=moments)

    def basis(self, start: int, stop: int, off: np.ndarray) -> np.ndarray:
        """Fields of the cells for a coefficient of 1 of features start ... stop - 1; `off` is not needed here."""
        flat = np.zeros((stop - start, math.prod(self.input_shape)), dtype=np.complex64)
        index = np.arange(start, stop)
        flat[index - start, index] = self.amplitude[start:stop]
        return flat.reshape(stop - start, *self.input_shape)

    def modes(self) -> scipy.sparse.csr_array:
        """Amplitudes (n_features + 1, n_modes): modes for a coefficient of 1 of each feature; last row: `off`."""
        import scipy.sparse

        n = self.n_features
        own = scipy.sparse.diags_array(self.amplitude, shape=(n, n + 1))
        rest = np.append((self.amplitude * np.float32(self.slm.straight)).astype(np.complex64), self.background)
        return scipy.sparse.csr_array(scipy.sparse.vstack([own, scipy.sparse.csr_array(rest[None, :])]))


class PixelSource:
    """One cell for each pixel: the resolution "mirrors", and any picture of levels.

    Parameters
    ----------
    layout : MirrorLayout or None
        How features lie on the pixels; None if the inputs are the pixels themselves, in raster order.
    slm : PhaseSlm
        The modulator.
    seed : int
        Seed of the device.
    """

    weighted = True

    def __init__(self, layout: MirrorLayout | None, slm: PhaseSlm, seed: int) -> None:
        self.layout, self.slm, self.seed = layout, slm, seed
        self.input_shape, self.mirrors_per_cell = slm.shape, 1
        self.n_features = slm.n_mirrors if layout is None else math.prod(layout.n_features)

    def coefficients(self, levels: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Return by what each feature's light is multiplied, complex64 (n, n_features)."""
        return self.slm.phasors()[levels]

    def cells(self, levels: Any, arrays: Arrays = NUMPY, moments: Moments | None = None) -> Any:
        """Fields of the cells, complex64 (n, *input_shape)."""
        return arrays.from_host(self.shown(np.asarray(levels), moments))

    def shown(self, levels: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Fields of the pixels, complex64 (n, rows, columns)."""
        if self.layout is None or self.layout.in_order:
            pixels = levels.reshape(len(levels), *self.slm.shape)
        else:
            pixels = self.layout.pixels(levels)
        return self.slm.field(pixels, seed=self.seed)

    def off(self) -> np.ndarray:
        """Fields of the cells without what the levels of features turn, complex64 (1, *input_shape)."""
        assert self.layout is not None, "a matrix of features needs a layout"
        field = self.slm.field(np.zeros(self.slm.shape, dtype=np.uint8), seed=self.seed)
        straight = self.slm.lit(self.seed) * np.float32(self.slm.straight)
        return np.where(self.layout.feature_of_mirror() >= 0, straight, field)[None]

    def basis(self, start: int, stop: int, off: np.ndarray) -> np.ndarray:
        """Fields of the cells for a coefficient of 1 of features start ... stop - 1; `off` is not needed here."""
        assert self.layout is not None, "a matrix of features needs a layout"
        index = np.arange(start, stop)[:, None, None]
        own = self.layout.feature_of_mirror()[None] == index
        return np.where(own, self.slm.lit(self.seed)[None], np.complex64(0))

    def modes(self) -> scipy.sparse.csr_array:
        """As `PhaseMacroSource.modes`, with a mode a pixel."""
        import scipy.sparse

        assert self.layout is not None, "a matrix of features needs a layout"
        feature = self.layout.feature_of_mirror().ravel()
        cell = np.flatnonzero(feature >= 0)
        lit, off = self.slm.lit(self.seed).ravel(), self.off().ravel()
        own = scipy.sparse.coo_array((lit[cell], (feature[cell], cell)), shape=(self.n_features, off.size))
        return scipy.sparse.csr_array(scipy.sparse.vstack([own, scipy.sparse.csr_array(off[None, :])]))
