"""How features lie on the mirrors: which feature drives which mirror.

A layout is a rule with a handful of numbers, not an array. Rows and columns are those of the micromirror array
(912 x 1140 for the DLP4500); mirrors are counted in raster order, so that mirror ``k`` is
``(k // columns, k % columns)``. These are indices: on a diamond lattice a block of as many rows as columns is twice as
high as wide (`opusim.Dmd.places_m` tells where mirrors stand).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from opusim.base import arrays, validation
from opusim.base.parallel import default_threads
from opusim.base.user_arrays import as_numpy

from .bits import checked_device_bits
from .kinds import ALWAYS_OFF, ALWAYS_ON, KINDS, LayoutKind

# Bytes that one step of `mirrors` may hold on top of its result.
_STEP_BYTES = 64 << 20


def _pair(name: str, value: Any, low: int) -> tuple[int, int]:
    """Return two whole numbers of at least `low`, whatever sequence they came in."""
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 2:
        raise TypeError(f"{name} is {value!r}, but it must be two whole numbers (row axis, column axis).")
    return (
        validation.integer(f"{name}[0]", value[0], low=low),
        validation.integer(f"{name}[1]", value[1], low=low),
    )


@dataclass(frozen=True)
class MirrorLayout:
    """The rule that lays features on mirrors.

    Parameters
    ----------
    dmd_shape : tuple of int
        Mirrors as (rows, columns).
    n_features : int or tuple of int
        Number of features, or (rows, columns) of features in two dimensions. Kept as a tuple.
    kind : {"lined", "macro_2d", "dark_macro_2d", "plain"}
        "lined": inside the region of interest, taken in raster order, feature ``j`` drives the mirrors
        ``j*factor ... (j+1)*factor - 1``. "macro_2d": feature ``(a, b)`` drives a square block of
        ``factor x factor`` mirrors. "dark_macro_2d": the same, but mirrors outside the region are off. "plain": one
        mirror per feature, no region.
    factor : int
        Mirrors of a feature ("lined"), or side of its block ("macro_2d", "dark_macro_2d"); 1 for "plain".
    roi_offset, roi_size : tuple of int, optional
        Region of interest as (row, column) and (rows, columns); the whole array by default.

    Raises
    ------
    TypeError, ValueError
        If a number is not one, or the features do not fit.

    Notes
    -----
    Mirrors outside the region are on (off for "dark_macro_2d"), mirrors of the region that no feature drives are off. A
    plain layout in
    two dimensions takes features shaped like the mirrors, or their transpose, which is how images of the
    array's own size come (columns, rows).
    """

    dmd_shape: tuple[int, int]
    n_features: tuple[int, ...]
    kind: str
    factor: int
    roi_offset: tuple[int, int] = (0, 0)
    roi_size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Check that the features fit on the mirrors."""
        put = object.__setattr__
        put(self, "dmd_shape", _pair("dmd_shape", self.dmd_shape, 1))
        put(self, "n_features", _features(self.n_features))
        validation.choice("kind", self.kind, tuple(KINDS))
        put(self, "factor", validation.integer("factor", self.factor, low=1))
        put(self, "roi_offset", _pair("roi_offset", self.roi_offset, 0))
        size = self.dmd_shape if self.roi_size == (0, 0) else _pair("roi_size", self.roi_size, 1)
        put(self, "roi_size", size)
        for axis, side in enumerate(("rows", "columns")):
            if self.roi_offset[axis] + self.roi_size[axis] > self.dmd_shape[axis]:
                raise ValueError(
                    f"roi_offset {self.roi_offset} and roi_size {self.roi_size} leave the mirrors: the array has "
                    f"{self.dmd_shape[axis]} {side}."
                )
        self._rule.check(self)

    @property
    def _rule(self) -> LayoutKind:
        return KINDS[self.kind]

    @classmethod
    def lined(
        cls,
        dmd_shape: tuple[int, int],
        n_features: int,
        roi_offset: tuple[int, int] = (0, 0),
        roi_size: tuple[int, int] | None = None,
    ) -> MirrorLayout:
        """Lay features in line on a region, each on as many mirrors as fit (area // n_features).

        Parameters
        ----------
        dmd_shape : tuple of int
            Mirrors as (rows, columns).
        n_features : int
            Number of features.
        roi_offset : tuple of int
            First row and column of the region.
        roi_size : tuple of int, optional
            Rows and columns of the region; the whole array by default.

        Returns
        -------
        MirrorLayout
            The layout.

        Raises
        ------
        TypeError, ValueError
            If a number is not one, or the features do not fit.
        """
        n = _features(n_features)
        size = _pair("roi_size", dmd_shape if roi_size is None else roi_size, 1)
        return cls(dmd_shape, n, "lined", max(1, math.prod(size) // math.prod(n)), roi_offset, size)

    @classmethod
    def macro_2d(
        cls,
        dmd_shape: tuple[int, int],
        n_features: tuple[int, int],
        roi_offset: tuple[int, int] = (0, 0),
        roi_size: tuple[int, int] | None = None,
    ) -> MirrorLayout:
        """Lay a picture of features on a region, each on the largest square block that fits.

        Parameters
        ----------
        dmd_shape : tuple of int
            Mirrors as (rows, columns).
        n_features : tuple of int
            Features as (rows, columns).
        roi_offset : tuple of int
            First row and column of the region.
        roi_size : tuple of int, optional
            Rows and columns of the region; the whole array by default.

        Returns
        -------
        MirrorLayout
            The layout.

        Raises
        ------
        TypeError, ValueError
            If a number is not one, or the features do not fit.
        """
        n = _pair("n_features", n_features, 1)
        size = _pair("roi_size", dmd_shape if roi_size is None else roi_size, 1)
        return cls(dmd_shape, n, "macro_2d", max(1, min(size[0] // n[0], size[1] // n[1])), roi_offset, size)

    @classmethod
    def plain(cls, dmd_shape: tuple[int, int], n_features: int | tuple[int, ...] | None = None) -> MirrorLayout:
        """Lay one feature on each mirror.

        Parameters
        ----------
        dmd_shape : tuple of int
            Mirrors as (rows, columns).
        n_features : int or tuple of int, optional
            Number of features, or their shape; the number of mirrors by default.

        Returns
        -------
        MirrorLayout
            The layout.

        Raises
        ------
        TypeError, ValueError
            If a number is not one, or the features do not fit.
        """
        n = math.prod(dmd_shape) if n_features is None else n_features
        return cls(dmd_shape, _features(n), "plain", 1)

    def first(self, n: int) -> MirrorLayout:
        """Return the layout of the first features alone, each on the mirrors that it has here.

        Parameters
        ----------
        n : int
            How many features.

        Returns
        -------
        MirrorLayout
            Of `n` features; the mirrors of the others belong to none, and are always off.

        Raises
        ------
        TypeError, ValueError
            If `n` is no whole number from 1 to the number of features, or it is less than all of a layout that is not
            in line.
        """
        total = self.n_features_total
        if validation.integer("n", n, low=1, high=total) == total:
            return self
        if self.kind != "lined":
            raise ValueError(
                f"n is {n}, but the {total} features of a layout of kind {self.kind!r} can only be used together: "
                f"it must be {total}."
            )
        return replace(self, n_features=(n,))

    @property
    def n_mirrors(self) -> int:
        """Mirrors of the array."""
        return math.prod(self.dmd_shape)

    @property
    def n_features_total(self) -> int:
        """Features of a vector, whatever their shape."""
        return math.prod(self.n_features)

    @property
    def mirrors_per_feature(self) -> int:
        """Mirrors that one feature turns on."""
        return self._rule.mirrors_per_feature(self.factor)

    @property
    def n_always_on(self) -> int:
        """Mirrors outside the region of interest, which are always on; 0 where they are always off."""
        return self.n_mirrors - math.prod(self.roi_size) if self._rule.surround == ALWAYS_ON else 0

    @property
    def n_bytes(self) -> int:
        """Bytes of a packed pattern."""
        return -(-self.n_mirrors // 8)

    @property
    def by_mirror(self) -> bool:
        """Whether every mirror has a feature of its own, as in a plain layout."""
        return self._rule.by_mirror

    @property
    def in_order(self) -> bool:
        """Whether feature k drives mirror k, and that alone: a vector is then the mirrors in raster order."""
        return self._rule.in_order(self)

    @cached_property
    def _feature_map(self) -> np.ndarray:
        result = self._rule.feature_map(self)
        result.flags.writeable = False
        return result

    def feature_of_mirror(self) -> np.ndarray:
        """Return the feature that drives each mirror.

        Returns
        -------
        numpy.ndarray
            Index of the feature, in raster order for two dimensions; -1 for a mirror that is always on, -2 for one that
            is always off. An int32 array (rows, columns), read-only and kept.
        """
        return self._feature_map

    def check_bits(self, bits: np.ndarray) -> np.ndarray:
        """Return bits as they are used here, or raise a sentence.

        Parameters
        ----------
        bits : numpy.ndarray
            An array of uint8 or bool, (n, n_features_total) or (n_features_total,). The values must be 0 and 1; this is
            not looked at here.

        Returns
        -------
        numpy.ndarray
            A read-only view of uint8, (n, n_features_total).

        Raises
        ------
        TypeError, ValueError
            If type or shape are others.
        """
        array = bits if type(bits) is np.ndarray else as_numpy(bits, "bits", "an array of uint8 or bool")[0]
        if array.dtype not in (np.uint8, np.bool_):
            raise TypeError(f"bits has dtype {array.dtype}, but it must be uint8 or bool.")
        if array.ndim not in (1, 2) or array.shape[-1] != self.n_features_total:
            raise ValueError(f"bits has shape {array.shape}, but it must be (n, {self.n_features_total}).")
        view = np.atleast_2d(np.ascontiguousarray(array)).view(np.uint8).view()
        # Read-only on purpose: nobody downstream may write into a caller's array, and a jitted kernel that meets
        # only read-only arrays is compiled once.
        view.flags.writeable = False
        return view

    def mirrors(self, bits: np.ndarray) -> np.ndarray:
        """Return the state of every mirror.

        Parameters
        ----------
        bits : numpy.ndarray
            Zeros and ones, uint8 or bool, (n, n_features_total).

        Returns
        -------
        numpy.ndarray
            Zeros and ones, uint8, (n, rows, columns).
        """
        return self._shown(bits, always_on=1)

    def pixels(self, levels: np.ndarray) -> np.ndarray:
        """Return the level of every pixel of a phase modulator.

        Parameters
        ----------
        levels : numpy.ndarray
            Levels, uint8, (n, n_features_total).

        Returns
        -------
        numpy.ndarray
            Levels, uint8, (n, rows, columns); 0 where there is no feature, also outside the region of interest.
        """
        return self._shown(levels, always_on=0)

    def _shown(self, bits: np.ndarray, always_on: int) -> np.ndarray:
        values = self.check_bits(bits)
        out = np.empty((len(values), self.n_mirrors), dtype=np.uint8)
        # The two constants stand behind the features: index -2 is one, index -1 is zero after this shift.
        index = self._feature_map.ravel()
        total = self.n_features_total
        where = np.where(index >= 0, index, np.where(index == ALWAYS_ON, total, total + 1)).astype(np.intp)
        step = max(1, _STEP_BYTES // (total + 2))
        for start in range(0, len(values), step):
            part = values[start : start + step]
            padded = np.empty((len(part), total + 2), dtype=np.uint8)
            padded[:, :total] = part
            padded[:, total], padded[:, total + 1] = always_on, 0
            np.take(padded, where, axis=1, out=out[start : start + step], mode="clip")
        return out.reshape(-1, *self.dmd_shape)

    def packed(self, bits: np.ndarray, *, threads: int | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Return the state of every mirror as packed bits, which is what the device's electronics takes.

        Parameters
        ----------
        bits : numpy.ndarray
            Zeros and ones, uint8 or bool, (n, n_features_total).
        threads : int, optional
            Threads to use; all by default. The result does not depend on it.
        out : numpy.ndarray, optional
            An array of uint8, (n, ceil(mirrors / 8)), C-contiguous: written, every byte of it, and returned.

        Returns
        -------
        numpy.ndarray
            Bytes, uint8, (n, ceil(mirrors / 8)), little-endian: mirror ``k`` is bit ``k % 8`` of byte ``k // 8``.
        """
        values = self.check_bits(bits)
        shape = (len(values), self.n_bytes)
        if out is None:
            out = np.empty(shape, dtype=np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(
                f"out has shape {out.shape} and dtype {out.dtype}, but it must be {shape} of uint8, in C order."
            )
        threads = default_threads() if threads is None else validation.integer("threads", threads, low=1)
        self._rule.pack(self, values, out, threads)
        return out

    @cached_property
    def _packing_plan(self) -> tuple[Any, ...]:
        """Work out once what each byte of a pattern is made of.

        Most bytes belong to one feature and follow each other in runs; the others are put together from parts.
        In a picture of macro-pixels most rows repeat the row, or with half bytes the second row, above: these
        bytes are copied. Returns the arguments `template ... copy_back` of `layout_kernels.pack_rows`.
        """
        flat = np.full(self.n_bytes * 8, ALWAYS_OFF, dtype=np.int32)
        flat[: self.n_mirrors] = self._feature_map.ravel()
        octets: np.ndarray = flat.reshape(-1, 8)
        template = np.packbits(octets == ALWAYS_ON, axis=1, bitorder="little").ravel()
        driven = np.asarray((octets >= 0).any(axis=1))
        columns = self.dmd_shape[1]
        back = columns // math.gcd(columns, 8)  # bytes between mirrors of one column in rows that share alignment
        copied = np.zeros(self.n_bytes, dtype=bool)
        if self._rule.repeats_rows and back < self.n_bytes:
            copied[back:] = driven[back:] & np.equal(octets[back:], octets[:-back]).all(axis=1)
        first = octets[:, 0]
        whole = (octets == first[:, None]).all(axis=1) & (first >= 0) & ~copied
        # A run ends where the feature changes or a byte is not whole.
        label = np.where(whole, first, ALWAYS_OFF)
        edges = np.flatnonzero(np.diff(label)) + 1
        starts = np.concatenate([[0], edges])
        lengths = np.diff(np.concatenate([starts, [label.size]]))
        keep = label[starts] >= 0
        starts, lengths = starts[keep], lengths[keep]

        mixed = np.flatnonzero(~whole & driven & ~copied)
        pieces = octets[mixed]
        bit_weights = np.array([1, 2, 4, 8, 16, 32, 64, 128])
        begins = np.ones(pieces.shape, dtype=bool)
        begins[:, 1:] = pieces[:, 1:] != pieces[:, :-1]
        group = np.cumsum(begins.ravel()) - 1
        masks = np.bincount(group, weights=np.tile(bit_weights, len(pieces))).astype(np.uint8)
        heads = np.flatnonzero(begins.ravel())
        features = pieces.ravel()[heads]
        used = features >= 0
        part_byte, part_feature, part_mask = mixed[heads // 8][used], features[used], masks[used]

        # Copies no longer than their distance: source and target never overlap, so the loop is vectorised.
        places = np.flatnonzero(copied)
        breaks = np.ones(places.size, dtype=bool)
        breaks[1:] = (np.diff(places) > 1) | (places[1:] % back == 0)
        copy_start = places[breaks]
        copy_length = np.diff(np.append(np.flatnonzero(breaks), places.size))
        return (
            template,
            starts.astype(np.int64),
            lengths.astype(np.int64),
            label[starts].astype(np.int64),
            part_byte.astype(np.int64),
            part_feature.astype(np.int64),
            part_mask,
            copy_start.astype(np.int64),
            copy_length.astype(np.int64),
            back,
        )

    def count_on(self, bits: np.ndarray) -> np.ndarray:
        """Return how many mirrors each pattern turns on, those outside the region included.

        Parameters
        ----------
        bits : numpy.ndarray
            Zeros and ones, uint8 or bool, (n, n_features_total).

        Returns
        -------
        numpy.ndarray
            Numbers of mirrors, int64, (n,).
        """
        return self.n_always_on + self.mirrors_per_feature * self.check_bits(bits).sum(axis=1, dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        """Keep the rule alone; the maps made from it are made again where they are needed."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the rule."""
        self.__dict__.update(state)


def _features(value: Any) -> tuple[int, ...]:
    """Return a number of features, or two, as a tuple."""
    items = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value,)
    if len(items) not in (1, 2):
        raise ValueError(f"n_features is {value!r}, but it must be one whole number or two.")
    return tuple(validation.integer("n_features", item, low=1) for item in items)


@dataclass(frozen=True, eq=False)
class MirrorPatterns:
    """Feature vectors together with the layout that turns them into mirrors.

    The bench recognises it and need not look at single mirrors.

    Parameters
    ----------
    bits : numpy.ndarray, torch.Tensor or cupy.ndarray
        Zeros and ones, uint8 or bool, (n, n_features_total). An array is kept as a read-only view where it is
        contiguous; a tensor or an array of CuPy stays on its device, as uint8, and must not be written to.
    layout : MirrorLayout
        Where they go.

    Raises
    ------
    TypeError, ValueError
        If `bits` has another dtype or shape, or holds something else than 0 and 1.
    """

    bits: Any
    layout: MirrorLayout

    def __post_init__(self) -> None:
        """Check shape, dtype and values."""
        if arrays.is_device_array(self.bits):
            on_device = checked_device_bits(self.bits, self.layout.n_features_total)
            object.__setattr__(self, "bits", on_device)
            return
        checked = self.layout.check_bits(self.bits)
        if checked.size and getattr(self.bits, "dtype", None) != np.bool_ and checked.max() > 1:
            raise ValueError(f"bits holds the value {int(checked.max())}, but it may hold only 0 and 1.")
        object.__setattr__(self, "bits", checked)

    @classmethod
    def of_checked(cls, bits: Any, layout: MirrorLayout) -> Self:
        """Return patterns of bits that are known to be right, without looking at them again.

        Parameters
        ----------
        bits : numpy.ndarray, torch.Tensor or cupy.ndarray
            Zeros and ones, uint8, (n, n_features_total), in order in memory.
        layout : MirrorLayout
            Where they go.

        Returns
        -------
        MirrorPatterns
            With a read-only view of an array.
        """
        patterns = object.__new__(cls)
        if isinstance(bits, np.ndarray):
            # As in `check_bits`: a compiled kernel then meets only arrays of one kind.
            bits = bits.view()
            bits.flags.writeable = False
        object.__setattr__(patterns, "bits", bits)
        object.__setattr__(patterns, "layout", layout)
        return patterns

    def __len__(self) -> int:
        """Return the number of patterns."""
        return len(self.bits)

    def __getitem__(self, rows: slice) -> Self:
        """Return some of the patterns, without copying them."""
        if not isinstance(rows, slice):
            raise TypeError(f"The index is {rows!r}, but patterns are taken by slices, as in patterns[2:5].")
        part = object.__new__(type(self))
        some = self.bits[rows]
        if arrays.is_device_array(some):
            some = checked_device_bits(some, self.layout.n_features_total, values=False)
        else:
            some = self.layout.check_bits(some)
        object.__setattr__(part, "bits", some)
        object.__setattr__(part, "layout", self.layout)
        return part

    def host_bits(self) -> np.ndarray:
        """Return the bits as a numpy array, copied from a device if they lie on one.

        Returns
        -------
        numpy.ndarray
            Zeros and ones, uint8, (n, n_features_total).
        """
        if not arrays.is_device_array(self.bits):
            return self.bits
        return self.layout.check_bits(arrays.of(self.bits).to_host(self.bits))

    def to_mirrors(self) -> np.ndarray:
        """Return the state of every mirror.

        Returns
        -------
        numpy.ndarray
            Zeros and ones, uint8, (n, rows, columns).
        """
        return self.layout.mirrors(self.host_bits())

    def packed(self) -> np.ndarray:
        """Return the patterns as packed bits, little-endian.

        Returns
        -------
        numpy.ndarray
            Bytes, uint8, (n, ceil(mirrors / 8)).
        """
        return self.layout.packed(self.host_bits())

    def count_on(self) -> np.ndarray:
        """Return how many mirrors each pattern turns on.

        Returns
        -------
        numpy.ndarray
            Numbers of mirrors, int64, (n,).
        """
        return self.layout.count_on(self.host_bits())
