"""Outputs with their context behave as plain arrays: a number is a number, an array keeps the context."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from opusim.drivers import Context, ContextArray

VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4)
CONTEXT = Context()
NUMBERS = {
    **{name: lambda y, name=name: getattr(y, name)() for name in ("mean", "sum", "std", "var", "max", "min", "any")},
    "np.mean": np.mean,
    "np.median": np.median,
    "np.percentile": lambda y: np.percentile(y, 30),
    "product": lambda y: y[0] @ y[1],
    "item": lambda y: y[1, 2],
    "norm": lambda y: np.linalg.norm(y.astype(np.float64)),
}
ARRAYS = {
    "sum of rows": lambda y: y.sum(axis=0),
    "sum that keeps axes": lambda y: y.sum(keepdims=True),
    "arithmetic": lambda y: y / 2 + 1,
    "slice": lambda y: y[1:, ::2],
    "copy": lambda y: y.copy(),
    "pickle": lambda y: pickle.loads(pickle.dumps(y)),
}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_a_number_is_the_one_of_a_plain_array(number):
    found, plain = number(ContextArray(VALUES, CONTEXT)), number(VALUES)
    assert type(found) is type(plain) and not isinstance(found, np.ndarray)
    assert found == plain


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_keeps_the_context(array):
    found = array(ContextArray(VALUES, CONTEXT))
    assert isinstance(found, ContextArray) and found.context == CONTEXT
    assert np.array_equal(found, array(VALUES))


def test_a_mean_goes_into_json():
    y = ContextArray(VALUES, CONTEXT)
    assert json.loads(json.dumps({"mean": y.mean(), "std": y.std()})) == {"mean": 5.5, "std": VALUES.std()}
