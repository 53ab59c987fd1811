"""Small functions that examples and tests of the time used."""

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np


def rev(tuple_in: Any) -> tuple[Any, ...]:
    """Turn (x, y) into (row, column), or back."""
    return tuple(tuple_in)[::-1]


def blank_fn(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


def try_or_giveup(func: Callable[..., Any], n_tries: int, print_exc: Any, *args: Any, **kwargs: Any) -> tuple[Any, int]:
    """Call a function up to `n_tries` times; return its result and how often it had failed."""
    for failures in range(n_tries - 1):
        try:
            return func(*args, **kwargs), failures
        except Exception:
            continue
    return func(*args, **kwargs), max(0, n_tries - 1)


def recurse_update(d: MutableMapping[Any, Any], u: Mapping[Any, Any]) -> MutableMapping[Any, Any]:
    """Update a dict in place, and the dicts within it."""
    for key, value in u.items():
        d[key] = recurse_update(d.get(key, {}), value) if isinstance(value, Mapping) else value
    return d


def random_samples(X: np.ndarray, n_count: int) -> np.ndarray:
    """Return at most `n_count` rows of an array; a single vector as it is."""
    if X.ndim == 1 or len(X) <= n_count:
        return X
    return X[_generator().randint(0, len(X), n_count)]


def count_ones(X: np.ndarray, n_count: int, packed: bool = False) -> float:
    """Return the mean number of ones in a row, over at most `n_count` rows of 0/1 data, or of bytes of eight each."""
    rows = random_samples(np.asarray(X), n_count)
    ones = int(np.count_nonzero(np.unpackbits(rows) if packed else rows))
    return ones if rows.ndim == 1 else ones / len(rows)


def random_bin(shape: int | tuple[int, ...], dtype: Any = bool) -> np.ndarray:
    """Return random zeros and ones."""
    return _generator().randint(2, size=shape, dtype=dtype)


def gen_full_sequence(input_seq: np.ndarray, n_features: int = 100, fill_value: int = 1) -> np.ndarray:
    """Return (n, n_features): a row of `fill_value` for each one in a 0/1 vector, of zeros for each zero."""
    return np.repeat(np.asarray(input_seq)[:, np.newaxis] * fill_value, n_features, axis=1)


def alternate_full_sequence(n_vecs: int, n_features: int, fill_value: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return rows that are all `fill_value` or all zero at random, and the 0/1 vector that says which."""
    pattern = random_bin(n_vecs, dtype=np.uint8)
    return gen_full_sequence(pattern, n_features, fill_value), pattern


def binarize_output(out: np.ndarray) -> np.ndarray:
    """Return 1 for each row whose mean is above half the range of the means, else 0."""
    means = np.asarray(out).mean(axis=-1)
    return np.where(means > (means.max() - means.min()) / 2, 1, 0)


def _generator() -> Any:
    # numpy's own global generator: programs that call these functions seed that one.
    from sklearn.utils import check_random_state

    return check_random_state(None)
