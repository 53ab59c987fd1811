"""What feeds the medium from a phase modulator: levels as fields on the input cells of the grid of modes."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import elementary
from opusim.base.arrays import NUMPY, Arrays
from opusim.device.fourier_stop import Relay
from opusim.device.slm import PhaseSlm, crosstalk_weights
from opusim.patterns.layout import MirrorLayout

from .cells import Cells, macro_shape, scale

if TYPE_CHECKING:
    import scipy.sparse

    from .frames import Moments

# Entries of a matrix of crosstalk that are found at a time.
_ROOM = 1 << 20


class _Phases(Cells):
    """What features of a phase modulator make of their levels: a complex weight each.

    With crosstalk the phase of a feature is the mean of those of its pixels: each as the fringing fields of its
    neighbours leave it, which are those of the same feature or of others, or of level 0. With pixels of different
    gains it is that times their mean. Both are to first order in what the pixels of a feature differ by.
    """

    def __init__(self, layout: MirrorLayout | None, slm: PhaseSlm, seed: int) -> None:
        self.layout, self.slm, self.seed = layout, slm, seed

    def coefficients(self, levels: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Return by what each feature's light is multiplied, complex64 (n, n_features)."""
        slm, seed = self.slm, self.seed
        ripples = self._ripples(moments)
        if not slm.uneven:
            return slm.of_levels(levels, seed=seed, ripples=ripples)
        phases = slm.curve_rad(seed)[levels]
        if slm.mixes:
            phases = np.ascontiguousarray((self._mixing @ phases.T).T)
        if slm.gain_spread:
            phases *= self._gains
        if ripples is not None:
            phases *= ripples[:, None]
        return slm.turned(phases)

    def _ripples(self, moments: Moments | None) -> np.ndarray | None:
        if moments is None or not self.slm.moves:
            return None
        return self.slm.ripples(moments.frames, moments.times_s, moments.exposure_s, seed=self.seed)

    @cached_property
    def _mixing(self) -> scipy.sparse.csr_array:
        """What each feature's phase has of those of all, (n_features, n_features)."""
        assert self.layout is not None, "features have a layout"
        feature = self.layout.feature_of_mirror()
        weights = crosstalk_weights(self.slm.crosstalk_pixels)
        # Over each pixel's own sum, as its neighbours beyond the edge are left out.
        shares = [1 / _whole(weights, size) for size in feature.shape]
        return _mixed(feature, math.prod(self.layout.n_features), weights, *shares)

    @cached_property
    def _gains(self) -> np.ndarray:
        """Mean gain of the pixels of each feature, (n_features,)."""
        assert self.layout is not None, "features have a layout"
        feature = self.layout.feature_of_mirror().ravel()
        n, own = math.prod(self.layout.n_features), feature >= 0
        gains = self.slm.pixel_gains(self.seed).ravel()[own]
        return np.bincount(feature[own], weights=gains, minlength=n) / np.bincount(feature[own], minlength=n)


def _whole(weights: np.ndarray, size: int) -> np.ndarray:
    """Sum of the weights of the pixels that there are, for each pixel along an axis."""
    result = np.full(size, weights[0])
    for k in range(1, min(len(weights), size)):
        result[k:] += weights[k]
        result[:-k] += weights[k]
    return result


def _mixed(
    feature: np.ndarray, n: int, weights: np.ndarray, down_share: np.ndarray, across_share: np.ndarray
) -> scipy.sparse.csr_array:  # fmt: skip
    """Return the mean over the pixels of each of `n` features of the weights of those of each, (n, n)."""
    import scipy.sparse

    from .crosstalk_kernels import add_shares, run_ends  # numba is loaded when first needed

    flat = feature.ravel()
    pixels = np.argsort(flat, kind="stable")[np.count_nonzero(flat < 0) :]
    starts = np.concatenate([[0], np.cumsum(np.bincount(flat[flat >= 0], minlength=n))])
    from_left = np.concatenate([[0.0], np.cumsum(np.concatenate([weights[:0:-1], weights]))])
    own, ends, first = np.empty(n), run_ends(feature), 0
    # One feature at least goes into the room.
    indptr, indices, values = np.empty(n + 1, np.int64), np.empty(n + _ROOM, np.int32), np.empty(n + _ROOM)
    counts, parts = np.zeros(n + 1, dtype=np.int64), []
    while first < n:
        last = add_shares(
            feature, ends, pixels, starts, first, weights, from_left, down_share, across_share,
            own, indptr, indices, values,
        )  # fmt: skip
        filled = indptr[last]
        counts[first + 1 : last + 1] = np.diff(indptr[first : last + 1])
        parts.append((indices[:filled].copy(), values[:filled].copy()))
        first = last
    of, value = (np.concatenate(each) for each in zip(*parts, strict=True))
    others = scipy.sparse.csr_array((value, of, np.cumsum(counts)), shape=(n, n))
    # In the order of columns, which is that in which phases are added up.
    result = scipy.sparse.csr_array(others + scipy.sparse.diags_array(own, format="csr"))
    result.sort_indices()
    return result


class PhaseMacroSource(_Phases):
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
    one_weight = True

    def __init__(self, layout: MirrorLayout, slm: PhaseSlm, seed: int) -> None:
        super().__init__(layout, slm, seed)
        self.n_features = math.prod(layout.n_features)
        self.mirrors_per_cell = layout.mirrors_per_feature
        power = np.square(slm.amplitude(), dtype=np.float64).ravel()
        feature = layout.feature_of_mirror().ravel()
        of_feature = feature >= 0
        lit = np.bincount(feature[of_feature], weights=power[of_feature], minlength=self.n_features)
        self.amplitude = np.sqrt(lit).astype(np.float32)
        # Pixels of no feature show the level 0, whose phase is 0; what crosstalk brings them of features is left out.
        rest = math.sqrt(float(power[~of_feature].sum()))
        self.background = np.complex64(rest * complex(slm.phasors()[0] + slm.straight))
        self.input_shape = macro_shape(layout.n_features)

    def cells(
        self, levels: Any, arrays: Arrays = NUMPY, moments: Moments | None = None, workers: int = 1
    ) -> Any:  # fmt: skip
        """Fields of the cells, complex64 (n, *input_shape)."""
        flat = np.zeros((len(levels), math.prod(self.input_shape)), dtype=np.complex64)
        own = self.coefficients(np.asarray(levels), moments)
        own += np.float32(self.slm.straight)
        scale(own, self.amplitude)
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

    def basis(self, start: int, stop: int, off: np.ndarray, workers: int = 1) -> np.ndarray:
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
        rest = self.off().reshape(1, -1)[:, : n + 1]
        return scipy.sparse.csr_array(scipy.sparse.vstack([own, scipy.sparse.csr_array(rest)]))


class PixelSource(_Phases):
    """One cell for each pixel: the resolution "mirrors", and any picture of levels.

    Parameters
    ----------
    layout : MirrorLayout or None
        How features lie on the pixels; None if the inputs are the pixels themselves, in raster order.
    slm : PhaseSlm
        The modulator.
    seed : int
        Seed of the device.
    relay : Relay, optional
        What the light goes through before it comes to the cells.
    """

    by_mirror = True
    weighted = True

    def __init__(
        self, layout: MirrorLayout | None, slm: PhaseSlm, seed: int, *, relay: Relay | None = None
    ) -> None:  # fmt: skip
        super().__init__(layout, slm, seed)
        self.relay = relay
        self.input_shape, self.mirrors_per_cell = slm.shape, 1
        self.n_features = slm.n_mirrors if layout is None else math.prod(layout.n_features)

    @property
    def one_weight(self) -> bool:
        """Whether all light of a feature is multiplied by one number, and no other light is."""
        if self.layout is None or not self.slm.uneven:
            return True
        if self.slm.mixes:
            return self.n_features == self.slm.n_mirrors
        return self.layout.mirrors_per_feature == 1

    def cells(
        self, levels: Any, arrays: Arrays = NUMPY, moments: Moments | None = None, workers: int = 1
    ) -> Any:  # fmt: skip
        """Fields of the cells, complex64 (n, *input_shape); threads share what a relay does."""
        return arrays.from_host(self._relayed(self.shown(np.asarray(levels), moments), workers))

    def _relayed(self, fields: np.ndarray, workers: int = 1) -> np.ndarray:
        """Return the fields of the cells for those of the pixels: behind the relay, if there is one."""
        if self.relay is None:
            return fields
        return self.relay.through(elementary.multiply(fields, self.relay.carrier), NUMPY, workers=workers)

    def shown(self, levels: np.ndarray, moments: Moments | None = None) -> np.ndarray:
        """Fields of the pixels, complex64 (n, rows, columns)."""
        if self.layout is None or self.layout.in_order:
            pixels = levels.reshape(len(levels), *self.slm.shape)
        else:
            pixels = self.layout.pixels(levels)
        return self.slm.field(pixels, seed=self.seed, ripples=self._ripples(moments))

    def off(self) -> np.ndarray:
        """Fields of the cells without what the levels of features turn, complex64 (1, *input_shape)."""
        return self._relayed(self._off()[None])

    def _off(self) -> np.ndarray:
        """Fields of the pixels without what the levels of features turn, complex64 of their shape."""
        assert self.layout is not None, "a matrix of features needs a layout"
        field = self.slm.field(np.zeros(self.slm.shape, dtype=np.uint8), seed=self.seed)
        straight = self.slm.lit(self.seed) * np.float32(self.slm.straight)
        return np.where(self.layout.feature_of_mirror() >= 0, straight, field)

    def basis(self, start: int, stop: int, off: np.ndarray, workers: int = 1) -> np.ndarray:
        """Fields of the cells for a coefficient of 1 of features start ... stop - 1; `off` is not needed here."""
        assert self.layout is not None, "a matrix of features needs a layout"
        index = np.arange(start, stop)[:, None, None]
        own = self.layout.feature_of_mirror()[None] == index
        return self._relayed(np.where(own, self.slm.lit(self.seed)[None], np.complex64(0)), workers)

    def modes(self) -> scipy.sparse.csr_array:
        """As `PhaseMacroSource.modes`, with a mode a pixel; of a relay those in front of it (`before_relay`)."""
        import scipy.sparse

        assert self.layout is not None, "a matrix of features needs a layout"
        feature = self.layout.feature_of_mirror().ravel()
        cell = np.flatnonzero(feature >= 0)
        lit, off = self.slm.lit(self.seed), self._off()
        if self.relay is not None:
            lit, off = (elementary.multiply(each, self.relay.carrier) for each in (lit, off))
        lit, off = lit.ravel(), off.ravel()
        own = scipy.sparse.coo_array((lit[cell], (feature[cell], cell)), shape=(self.n_features, off.size))
        return scipy.sparse.csr_array(scipy.sparse.vstack([own, scipy.sparse.csr_array(off[None, :])]))
