"""Scalar wave propagation on a periodic grid: angular spectrum and lens."""

from __future__ import annotations

from typing import Any

import numpy as np

from opusim.base import elementary, parallel
from opusim.base.arrays import NUMPY, Arrays
from opusim.base.fourier import frequencies

_BLOCK_BYTES = 1 << 19  # with a copy and a factor of its size it fits the second-level cache of a core
_WHOLE_BYTES = 1 << 20  # grids up to this size, which threads do not share, are not cut: blocks cost some Python each
_LINE = 8  # complex numbers in a cache line


def good_side(minimum: int) -> int:
    """Return the smallest even side of at least `minimum` whose only prime factors are 2, 3 and 5.

    Even, because the optical axis lies on a grid point; such lengths are fast for the FFT.
    """
    side = max(2, minimum + minimum % 2)
    while True:
        rest = side
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return side
        side += 2


def axis_signs(side: int) -> np.ndarray:
    """Return (-1)^k, which moves the origin of a discrete Fourier transform to the middle of the grid."""
    signs = np.ones(side, dtype=np.float32)
    signs[1::2] = -1
    return signs


def _cosines2(fy: np.ndarray, fx: np.ndarray, wavelength_m: float) -> np.ndarray:
    """(k_z / k)^2 at spatial frequencies; below 0 for evanescent waves."""
    return 1.0 - wavelength_m * wavelength_m * (fy**2 + fx**2)


def axial_wave_numbers(shape: tuple[int, int], *, step_m: float, wavelength_m: float) -> np.ndarray:
    """Return k_z - k for every wave of a grid: by how much the phase of `transfer_function` grows with distance.

    Parameters
    ----------
    shape : tuple of int
        Grid points (rows, columns).
    step_m, wavelength_m : float
        As of `transfer_function`.

    Returns
    -------
    ndarray of float64, shape `shape`
        In radians per metre, in the FFT's own frequency order; -k for evanescent waves.
    """
    fy, fx = frequencies(shape[0], step_m)[:, None], frequencies(shape[1], step_m)[None, :]
    return 2 * np.pi / wavelength_m * (np.sqrt(np.maximum(_cosines2(fy, fx, wavelength_m), 0)) - 1)


def transfer_function(shape: tuple[int, int], *, step_m: float, wavelength_m: float, distance_m: float) -> np.ndarray:
    """Transfer function of free space for the angular spectrum method.

    Parameters
    ----------
    shape : tuple of int
        Grid points (rows, columns).
    step_m : float
        Grid step in metres.
    wavelength_m : float
        Wavelength in the medium, in metres.
    distance_m : float
        Distance along the axis, in metres.

    Returns
    -------
    ndarray of complex64, shape `shape`
        exp(i z (k_z - k)) in the FFT's own frequency order; waves beyond 1/wavelength decay
        (Goodman, Introduction to Fourier Optics, 3rd ed., eq. 3-74). The common phase k z is left out.
        The field is periodic, so sampling this function is exact for any distance.
    """
    from .propagation_kernels import fill_transfer

    fy, fx = (frequencies(n, step_m) for n in shape)
    result = np.empty(shape, dtype=np.complex64)
    fill_transfer(fy, fx, float(wavelength_m), float(distance_m), result.view(np.float32), 0, shape[0])
    return result


def padded_grids(n: int, shape: tuple[int, int]) -> np.ndarray:
    """Return grids of complex64 that the column passes go through quickly, as a view of shape (n, *shape), not filled.

    A row is an odd number of cache lines long in memory. With a power of two, all points of a column would compete for
    the same few places in the cache: a column pass over 2048 rows then takes twice as long.
    """
    lines = -(-shape[1] // _LINE)
    return np.empty((n, shape[0], _LINE * (lines + 1 - lines % 2)), dtype=np.complex64)[:, :, : shape[1]]


def _sweep(
    field: np.ndarray, axis: int, *, norm: str, inverse: bool = False, times: np.ndarray | None = None,
    dark: tuple[slice, ...] = (), rows: slice | None = None, workers: int | None = None,
    out: np.ndarray | None = None, columns: slice | None = None,
) -> None:  # fmt: skip
    """Transform numpy's `field` along one axis in place, block by block, and multiply while a block is in the cache.

    Parameters
    ----------
    field : ndarray of complex64, shape (n, rows, columns)
        Changed in place.
    axis : int
        -1 along rows, -2 along columns.
    norm : {"ortho", "forward", "backward"}
        As in `Arrays.fft`.
    inverse : bool
        Whether to take the inverse transform.
    times : ndarray of complex64, shape (rows, columns), optional
        Factor of the result.
    dark : tuple of slice
        Rows that count as zero (for a pass along columns).
    rows : slice, optional
        Only these rows are transformed (for a pass along rows).
    workers : int, optional
        Threads; blocks are shared out among them.
    out, columns : ndarray and slice, optional
        Where a pass along rows leaves these columns of the result, in place of `field`.
    """
    transform = NUMPY.ifft if inverse else NUMPY.fft
    n, n_rows, n_columns = field.shape
    first, last = (0, n_columns) if axis == -2 else (rows or slice(0, n_rows)).indices(n_rows)[:2]
    line = 8 * (n_rows if axis == -2 else n_columns)
    grid = 8 * n_rows * n_columns
    images = max(1, _WHOLE_BYTES // grid)  # small grids go several at a time
    # A multiple of the cache line: threads do not share one, and whole vector registers are filled.
    width = last - first if grid <= _WHOLE_BYTES else max(_LINE, _BLOCK_BYTES // line // _LINE * _LINE)
    per_image = max(1, -(-(last - first) // max(1, width)))

    def work(start: int, stop: int) -> None:
        for unit in range(start, stop):
            group = slice(unit // per_image * images, (unit // per_image + 1) * images)
            low = first + unit % per_image * width
            part = slice(low, min(last, low + width))
            if axis == -2:
                for stripe in dark:
                    field[group, stripe, part] = 0
            place = (group, slice(None), part) if axis == -2 else (group, part)
            block = field[place]
            done = transform(block, axis, workers=1, norm=norm)
            if np.may_share_memory(done, block):
                done = block  # made in place: numpy copies an operand that only overlaps with its output
            if out is not None:
                out[group, low - first : part.stop - first] = done[..., columns or slice(None)]
            elif times is not None and not later:
                elementary.multiply(done, times[place[1:]], out=block)
            elif done is not block:
                block[...] = done

    def multiply(start: int, stop: int) -> None:
        assert times is not None
        for i in range(n):
            elementary.multiply(field[i : i + 1, start:stop], times[start:stop], out=field[i : i + 1, start:stop])

    # A part of each row of the factor would be fetched for every block of columns; row by row is twice as quick.
    later = times is not None and axis == -2 and per_image > 1
    parallel.over_ranges(work, -(-n // images) * per_image, workers or 1)
    if later:
        parallel.over_ranges(multiply, n_rows, workers or 1)


def fourier(
    field: Any, *, times: Any = None, inverse: bool = False, arrays: Arrays = NUMPY, workers: int | None = None,
    scaled: bool = True,
) -> Any:  # fmt: skip
    """Two-dimensional unitary Fourier transform over the last two axes; `field` is overwritten.

    Parameters
    ----------
    field : array of complex64, shape (..., rows, columns)
        An array of the library of `arrays`.
    times : array of complex64, shape (rows, columns), optional
        Factor of the result.
    inverse : bool
        Whether to take the inverse transform.
    arrays : Arrays
        Library and device.
    workers : int, optional
        Threads (numpy's arrays); they do not change the result.
    scaled : bool
        False leaves out 1 / sqrt(rows * columns), except for numpy's arrays, where it costs nothing.

    Returns
    -------
    array of complex64, shape of `field`
    """
    if arrays.name != "numpy":
        field = arrays.fft2(field, inverse=inverse, scaled=scaled)
        if times is not None:
            field *= times
        return field
    field = np.require(field, np.complex64, ["W"])
    stack = field.reshape(-1, *field.shape[-2:])
    # All of the scale in one pass, as a transform of both axes at once has it: 1 / side is exact, its root is not.
    square = stack.shape[-2] == stack.shape[-1]
    if square and len(stack) * 8 * stack.shape[-1] ** 2 <= _WHOLE_BYTES:
        # All of it stays in the cache of a core: one call does both passes, and threads would share too little.
        done = NUMPY.fft2(stack, inverse=inverse)
        if times is not None:
            elementary.multiply(done, times, out=stack)
        elif not np.may_share_memory(done, stack):
            stack[...] = done
        return stack.reshape(field.shape)
    there, back = ("backward", "forward") if inverse else ("forward", "backward")
    first, second = (there, back) if square else ("ortho", "ortho")
    _sweep(stack, -2, norm=first, inverse=inverse, workers=workers)
    _sweep(stack, -1, norm=second, inverse=inverse, times=times, workers=workers)
    return stack.reshape(field.shape)


def inverse_fourier(
    field: Any, *, times: Any = None, arrays: Arrays = NUMPY, workers: int | None = None, scaled: bool = True
) -> Any:  # fmt: skip
    """Inverse of `fourier`; `field` is overwritten."""
    return fourier(field, times=times, inverse=True, arrays=arrays, workers=workers, scaled=scaled)


def filtered(
    cells: Any, times: Any, *, inverse: bool = False, arrays: Arrays = NUMPY, workers: int | None = None
) -> Any:  # fmt: skip
    """Fields with dark points beside them, transformed, multiplied and transformed back; the dark points are left out.

    On the CPU passes skip the rows that are dark, and each block of columns goes there and back while it is in cache.

    Parameters
    ----------
    cells : array of complex64, shape (n, rows, columns)
        Fields.
    times : array of complex64, shape (high, wide)
        Factor of the transform, on the grid with the dark points behind the cells. For numpy's fields its columns are
        contiguous; for other libraries 1 / (high * wide) is in it.
    inverse : bool
        Whether the inverse transform comes first.
    arrays : Arrays
        Library and device.
    workers : int, optional
        Threads (numpy's arrays); they do not change the result.

    Returns
    -------
    array of complex64, shape (n, rows, columns)
        numpy's: of its own.
    """
    (n, rows, columns), (high, wide) = cells.shape, times.shape
    if arrays.name != "numpy":
        field = arrays.zeros((n, high, wide), np.complex64)
        field[:, :rows, :columns] = cells
        field = fourier(field, times=times, inverse=inverse, arrays=arrays, scaled=False)
        return fourier(field, inverse=not inverse, arrays=arrays, scaled=False)[:, :rows, :columns]
    there, back = (NUMPY.ifft, NUMPY.fft) if inverse else (NUMPY.fft, NUMPY.ifft)
    out = np.empty(cells.shape, dtype=np.complex64)
    field = padded_grids(1, (rows, wide))[0]
    by_columns = times.T
    lines, stripe = max(1, _BLOCK_BYTES // (8 * wide)), max(_LINE, _BLOCK_BYTES // (8 * high) // _LINE * _LINE)
    for one, result in zip(cells, out, strict=True):

        def across(start: int, stop: int, one: np.ndarray = one) -> None:
            for first in range(start * lines, min(rows, stop * lines), lines):
                part = slice(first, min(rows, first + lines))
                block = np.zeros((part.stop - first, wide), dtype=np.complex64)
                block[:, :columns] = one[part]
                field[part] = there(block, -1, workers=1, norm="backward")

        def along(start: int, stop: int) -> None:
            for first in range(start * stripe, min(wide, stop * stripe), stripe):
                part = slice(first, min(wide, first + stripe))
                block = np.zeros((part.stop - first, high), dtype=np.complex64)
                block[:, :rows] = field[:, part].T
                block = there(block, -1, workers=1, norm="backward")
                elementary.multiply(block, by_columns[part], out=block)
                field[:, part] = back(block, -1, workers=1, norm="backward")[:, :rows].T

        def across_again(start: int, stop: int, result: np.ndarray = result) -> None:
            for first in range(start * lines, min(rows, stop * lines), lines):
                part = slice(first, min(rows, first + lines))
                result[part] = back(field[part].copy(), -1, workers=1, norm="backward")[:, :columns]

        parallel.over_ranges(across, -(-rows // lines), workers or 1)
        parallel.over_ranges(along, -(-wide // stripe), workers or 1)
        parallel.over_ranges(across_again, -(-rows // lines), workers or 1)
    return out


def lens_from_rows(
    field: Any, rows: slice, *, times: Any = None, arrays: Arrays = NUMPY, workers: int | None = None,
    scaled: bool = True,
) -> Any:  # fmt: skip
    """Two-dimensional transform of a field that is zero outside `rows`; `field` is overwritten.

    On the CPU the first pass skips the rows that are known to be dark; what they hold does not matter. A GPU takes the
    whole transform, which is quicker there than two passes that each write the grid, and reads zeros in them.

    Parameters
    ----------
    field : array of complex64, shape (n, rows, columns)
        Field.
    rows : slice
        Rows that are lit.
    times : array of complex64, shape (rows, columns), optional
        Factor of the result.
    arrays : Arrays
        Library and device.
    workers : int, optional
        Threads (numpy's arrays).
    scaled : bool
        False leaves out 1 / sqrt(rows * columns), as in `fourier`.
    """
    if arrays.name != "numpy":
        return fourier(field, times=times, arrays=arrays, scaled=scaled)
    first, last, _ = rows.indices(field.shape[-2])
    _sweep(field, -1, norm="ortho", rows=rows, workers=workers)
    _sweep(
        field, -2, norm="ortho", times=times, dark=(slice(0, first), slice(last, field.shape[-2])), workers=workers
    )  # fmt: skip
    return field


def lens_to_block(
    field: Any, rows: slice, columns: slice, *, arrays: Arrays = NUMPY, workers: int | None = None, scaled: bool = True,
    out: np.ndarray | None = None,
) -> Any:  # fmt: skip
    """Rows `rows` and columns `columns` of the two-dimensional transform; `field` is overwritten.

    On the CPU the second pass skips the rows that nobody reads.

    Parameters
    ----------
    field : array of complex64, shape (n, rows, columns)
        Field.
    rows, columns : slice
        What is read.
    arrays : Arrays
        Library and device.
    workers : int, optional
        Threads (numpy's arrays).
    scaled : bool
        False leaves out 1 / sqrt(rows * columns), as in `fourier`.
    out : ndarray of complex64, optional
        Where to leave what is read (numpy's arrays), shape (n, n_rows, n_columns).

    Returns
    -------
    array of complex64
        numpy's: `out`, or an array of its own; elsewhere a view of the whole transform.
    """
    if arrays.name != "numpy":
        return fourier(field, arrays=arrays, scaled=scaled)[:, rows, columns]
    _sweep(field, -2, norm="ortho", workers=workers)
    if out is None:
        shape = (len(range(*rows.indices(field.shape[1]))), len(range(*columns.indices(field.shape[2]))))
        out = np.empty((len(field), *shape), dtype=np.complex64)
    _sweep(field, -1, norm="ortho", rows=rows, workers=workers, out=out, columns=columns)
    return out
