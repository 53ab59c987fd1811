"""The nearest of some numbers on a circle, such as phases."""

from __future__ import annotations

import numpy as np


def nearest_on_circle(turns: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return which number of a table is nearest to each of some, whole turns not counted.

    Parameters
    ----------
    turns : ndarray of float64
        Any finite numbers, in turns.
    table : ndarray of float64, shape (n,)
        Numbers in turns; at most 256.

    Returns
    -------
    ndarray of uint8, shape of `turns`
        Places in the table; the lowest where several are the same number.
    """
    asked = turns
    if asked.size and not (asked.min() >= 0 and asked.max() < 1):
        asked = asked % 1.0
    n, step = len(table), table[1] if len(table) > 1 else 0.0
    # A scale of even steps within a turn, as most are, needs no search.
    if 0 < n * step <= 1 + 1e-12 and np.array_equal(table, np.arange(n) * step):
        place, last = np.rint(asked / step), n - 1
        beyond = place > last
        if beyond.any():
            # Behind the last one the next one up is a whole turn.
            back = 1.0 - asked < asked - last * step
            place = np.where(beyond, np.where(back, 0.0, last), place)
        return place.astype(np.uint8)
    numbers, places = np.unique(table % 1.0, return_index=True)
    # The last number stands also a turn below the first one, and the first one a turn above the last.
    around = np.concatenate([numbers[-1:] - 1.0, numbers, numbers[:1] + 1.0])
    which = np.concatenate([places[-1:], places, places[:1]]).astype(np.uint8)
    found: np.ndarray = which[np.searchsorted((around[1:] + around[:-1]) / 2, asked)]
    return found
