"""The product of errors and a feedback matrix, whose rows do not depend on each other to the last bit.

A BLAS promises that for no shape: with OpenBLAS's Haswell kernels a row's last bits follow its place among 64 rows.
"""

from __future__ import annotations

from opusim.base.jit import kernel
from opusim.base.rng_kernels import fma

#: Columns that are summed at a time: their sums stay in the first-level cache.
COLUMNS = 512


@kernel()
def add_products(errors, matrix, first, last, out):  # type: ignore[no-untyped-def]
    """Add errors @ matrix to columns of a result, the classes in their order, each by one fused multiply and add.

    Parameters
    ----------
    errors : ndarray of float32, shape (batch, n_classes)
        Contiguous.
    matrix : ndarray of float32, shape (n_classes, width)
        Contiguous.
    first, last : int
        Columns, [first, last).
    out : ndarray of float32, shape (batch, width)
        Contiguous; zeros at first.
    """
    n_rows, n_classes = errors.shape
    for start in range(first, last, COLUMNS):
        stop = min(start + COLUMNS, last)
        row = 0
        while row < n_rows:
            # Four rows share what is read of the matrix; alone or in four, a row's sums are the same.
            if row + 4 <= n_rows:
                a, b = out[row, start:stop], out[row + 1, start:stop]
                c, d = out[row + 2, start:stop], out[row + 3, start:stop]
                for k in range(n_classes):
                    p, q, r, s = errors[row, k], errors[row + 1, k], errors[row + 2, k], errors[row + 3, k]
                    if p == 0 and q == 0 and r == 0 and s == 0:
                        continue
                    m = matrix[k, start:stop]
                    for j in range(m.size):
                        x = m[j]
                        a[j] = fma(p, x, a[j])
                        b[j] = fma(q, x, b[j])
                        c[j] = fma(r, x, c[j])
                        d[j] = fma(s, x, d[j])
                row += 4
            else:
                a = out[row, start:stop]
                for k in range(n_classes):
                    p = errors[row, k]
                    if p == 0:
                        continue
                    m = matrix[k, start:stop]
                    for j in range(m.size):
                        a[j] = fma(p, m[j], a[j])
                row += 1
