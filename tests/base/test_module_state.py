"""What a torch module of ours carries besides weights: it comes back as it was, and damage is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opusim.base.module_state import NotPlainError, packed, unpacked

CONTENT = {
    "none": None, "flag": True, "whole": 2**70, "number": 0.1, "infinite": math.inf, "text": "é", "list": [1, [2.5]],
    "tuple": (1, (2, "3")), "table": {"tuple": (1,), "array": np.arange(3, dtype=np.int16)}, "scalar": np.float32(0.1),
    "complex": np.array([[1 + 2j]], np.complex64), "empty": np.zeros((0, 3), np.uint8), "bools": np.array([True]),
    "strided": np.arange(12.0).reshape(3, 4)[:, ::-2],
}  # fmt: skip


def same(a, b):
    if isinstance(a, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_plain_values_and_arrays_come_back_with_their_types():
    data = packed(CONTENT)
    assert data.dtype == np.uint8 and data.ndim == 1
    assert same(unpacked(data, what="it"), CONTENT)
    assert np.array_equal(packed(CONTENT), data)  # the same content, the same bytes


def test_an_array_that_occurs_twice_is_one_again():
    array = np.arange(1000)
    data = packed({"a": array, "b": [array]})
    found = unpacked(data, what="it")
    assert found["a"] is found["b"][0] and len(data) < 1.5 * array.nbytes


def test_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    tensor = torch.arange(4.0, requires_grad=True)
    found = unpacked(torch.from_numpy(packed({"a": tensor, "b": tensor})), what="it")
    assert torch.equal(found["a"], tensor) and found["a"] is found["b"]
    with pytest.raises(NotPlainError, match="bfloat16"):
        packed({"a": tensor.bfloat16()})


@pytest.mark.parametrize("value", [object(), {1: 2}, {3}, np.array([object()]), lambda: None, b"bytes"])
def test_what_only_a_pickle_could_hold_is_refused(value):
    with pytest.raises(NotPlainError):
        packed({"it": [value]})


def test_every_flipped_byte_is_told():
    """Of 400, and of each in the head; nothing is read before the check sum is."""
    data = packed(CONTENT)
    places = [*range(60), *np.random.default_rng(0).integers(60, len(data), 340)]
    for place in places:
        spoilt = data.copy()
        spoilt[place] ^= 1 << (int(place) % 8)
        with pytest.raises(ValueError, match="The state of it (is damaged|does not begin as)"):
            unpacked(spoilt, what="it")
    for cut in (0, 10, 40, len(data) - 1):
        with pytest.raises(ValueError, match="The state of it (is damaged|does not begin as)"):
            unpacked(data[:cut], what="it")


@pytest.mark.parametrize("data", [None, {}, "text", np.full(3, 0.5), np.zeros((2, 2), np.uint8)])
def test_what_is_no_state_is_refused(data):
    with pytest.raises(ValueError, match=r"The state of it is .*, but it must be the bytes"):
        unpacked(data, what="it")


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "float64"])
def test_a_cast_of_all_that_a_state_dict_holds_is_undone(kind):
    """As of tools that keep a mean of all weights, or save them in half precision."""
    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    cast = torch.from_numpy(packed(CONTENT)).to(getattr(torch, kind))
    assert same(unpacked(cast, what="it"), CONTENT)
