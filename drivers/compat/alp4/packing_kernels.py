"""Loops over the pictures of an ALP board: from bytes as they are uploaded to packed mirrors, and their edges."""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel


@kernel()
def pack_bit(pixels, shift, out, start, stop):
    """Write one bit of every byte, eight mirrors a byte, the first in the lowest bit.

    Parameters
    ----------
    pixels : uint64, (n, words): eight bytes each
    shift : uint64: which bit of a byte
    out : uint8, (n, words), written
    start, stop : int: rows that are done
    """
    ones = np.uint64(0x0101010101010101)
    # Byte k, which stands at bit 8 k, goes to bit 56 + k: multiplied by 2^(56 - 7 k). No two products share a bit.
    gather = np.uint64(0x0102040810204080)
    for k in range(start, stop):
        row, target = pixels[k], out[k]
        for w in range(row.size):
            target[w] = np.uint8((((row[w] >> shift) & ones) * gather) >> np.uint64(56))


@kernel()
def reverse_rows(source, bytes_used, bottom_up, out, start, stop):
    """Copy packed rows with the bits of each byte turned round, without what they are padded by.

    Parameters
    ----------
    source : uint8, (n, rows, padded bytes)
    bytes_used : int: bytes of a row that hold mirrors
    bottom_up : bool: the last row comes first
    out : uint8, (n, rows, bytes_used), written
    start, stop : int: pictures that are done
    """
    for k in range(start, stop):
        rows = source.shape[1]
        for r in range(rows):
            row = source[k, rows - 1 - r] if bottom_up else source[k, r]
            target = out[k, r]
            for b in range(bytes_used):
                v = np.uint32(row[b])
                v = ((v >> np.uint32(4)) & np.uint32(0x0F)) | ((v & np.uint32(0x0F)) << np.uint32(4))
                v = ((v >> np.uint32(2)) & np.uint32(0x33)) | ((v & np.uint32(0x33)) << np.uint32(2))
                v = ((v >> np.uint32(1)) & np.uint32(0x55)) | ((v & np.uint32(0x55)) << np.uint32(1))
                target[b] = np.uint8(v)


@kernel()
def find_edges(pictures, column_edges, row_edges, columns_on, rows_on, start, stop):
    """Note where neighbours differ, and what is on, in any of some pictures.

    Parameters
    ----------
    pictures : uint64, (n, rows, words): packed mirrors, the first in the lowest bit
    column_edges, columns_on : uint64, (words,), added to: columns that differ from the one before, and that are on
    row_edges, rows_on : uint64, (rows,), added to: not 0 where a row differs from the one before, and where it is on
    start, stop : int: pictures that are done
    """
    for k in range(start, stop):
        picture = pictures[k]
        for r in range(picture.shape[0]):
            row = picture[r]
            above = picture[r - 1] if r else row
            differs, some = np.uint64(0), np.uint64(0)
            carry = row[0] & np.uint64(1)
            for w in range(row.size):
                word = row[w]
                column_edges[w] |= word ^ ((word << np.uint64(1)) | carry)
                carry = word >> np.uint64(63)
                columns_on[w] |= word
                some |= word
                differs |= word ^ above[w]
            row_edges[r] |= differs
            rows_on[r] |= some


@kernel()
def read_blocks(pictures, top, side, n_rows, lines, inside, places, bits, recognised, start, stop):
    """Read a feature a block from the pictures start ... stop - 1, and whether each block has one value, all else none.

    Parameters
    ----------
    pictures : uint64, (n, rows, words): packed mirrors, the first in the lowest bit
    top, side, n_rows : int: first row of the blocks, mirrors of a side, and rows of blocks
    lines : uint64, (words,): columns at which a block begins, and the one behind the last
    inside : uint64, (words,): columns of blocks
    places : int64, (columns of blocks,): first column of each
    bits : uint8, (n, n_rows * columns of blocks), written
    recognised : bool, (n,), written
    """
    bottom = top + n_rows * side
    for k in range(start, stop):
        picture, own = pictures[k], bits[k]
        wrong = np.uint64(0)
        for r in range(picture.shape[0]):
            if r < top or r >= bottom:
                for w in range(picture.shape[1]):
                    wrong |= picture[r, w]
            elif (r - top) % side:
                for w in range(picture.shape[1]):
                    wrong |= picture[r, w] ^ picture[r - 1, w]
            else:
                row = picture[r]
                carry = row[0] & np.uint64(1)
                for w in range(row.size):
                    word = row[w]
                    wrong |= (word & ~inside[w]) | ((word ^ ((word << np.uint64(1)) | carry)) & ~lines[w])
                    carry = word >> np.uint64(63)
                first = (r - top) // side * places.size
                for c in range(places.size):
                    place = np.uint64(places[c])
                    own[first + c] = np.uint8((row[place >> np.uint64(6)] >> (place & np.uint64(63))) & np.uint64(1))
        recognised[k] = wrong == 0
