"""Tensors that are no ordinary arrays of numbers: the same sentence at every door that takes a tensor."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from opusim.base.errors import InputTypeError  # noqa: E402
from opusim.base.tensors import as_tensor, ordinary_tensor  # noqa: E402
from opusim.dfa.feedback import GaussianFeedback  # noqa: E402
from opusim.dfa.torch import DFA  # noqa: E402
from opusim.differentiable import ExpectedOutput  # noqa: E402
from opusim.drivers.projections.torch import OPUMap  # noqa: E402

X = (torch.arange(5 * 60).reshape(5, 60) % 3 == 0).float()


def odd(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls some of them prototypes
        return make()


# Of what kind, and what the sentence says of it.
ODD = {
    "coo": (lambda: X.to_sparse(), r"layout sparse_coo, .* use .to_dense\(\)"),
    "csr": (lambda: X.to_sparse_csr(), r"layout sparse_csr, .* use .to_dense\(\)"),
    "csc": (lambda: X.to_sparse_csc(), r"layout sparse_csc, .* use .to_dense\(\)"),
    "bsr": (lambda: X.to_sparse_bsr((1, 1)), r"layout sparse_bsr, .* use .to_dense\(\)"),
    "mkldnn": (lambda: X.to_mkldnn(), r"layout _mkldnn, .* use .to_dense\(\)"),
    "quint8": (lambda: torch.quantize_per_tensor(X, 1.0, 0, torch.quint8), r"quantised tensor \(quint8\).*dequantize"),
    "qint8": (lambda: torch.quantize_per_tensor(X, 0.5, 0, torch.qint8), r"quantised tensor \(qint8\).*dequantize"),
    "nested": (lambda: torch.nested.nested_tensor(list(X)), "a nested tensor, .* use .to_padded_tensor"),
    "jagged": (lambda: torch.nested.nested_tensor(list(X), layout=torch.jagged), "a nested tensor, .*padded"),
    "masked": (lambda: torch.masked.masked_tensor(X, X > 0), "a masked tensor, and no value can be left out"),
    "meta": (lambda: X.to("meta"), "on the device 'meta', which has a shape but no values"),
}
if hasattr(torch, "float4_e2m1fn_x2"):
    ODD["float4"] = (lambda: X.to(torch.uint8).view(torch.float4_e2m1fn_x2), "a tensor of float4_e2m1fn_x2")


@pytest.fixture(scope="module")
def doors():
    """What takes a tensor, by the name that its sentence has for it."""
    fitted, expected = OPUMap(50, device="ideal").fit(n_features=60), ExpectedOutput("ideal", 60, 20)

    def logits(x):
        dfa = DFA(GaussianFeedback(60, 8))
        dfa.block(torch.zeros(5, 8, requires_grad=True))
        return dfa.output(x)

    def block(x):
        dfa = DFA(GaussianFeedback(3, 60))
        dfa.block(x)
        return dfa.output(torch.zeros(5, 3, requires_grad=True))

    def after_block(x):
        if x.is_nested or type(x) is not torch.Tensor:
            pytest.skip("torch itself cannot detach it")
        return block(x)

    return {"input": fitted, "X": lambda x: OPUMap(50, device="ideal").fit(x), "x": expected, "The output": logits,
            "The output of block 0": after_block}  # fmt: skip


@pytest.mark.parametrize("door", ["input", "X", "x", "The output", "The output of block 0"])
@pytest.mark.parametrize(("make", "match"), ODD.values(), ids=ODD)
def test_an_odd_tensor_is_refused_by_a_sentence(doors, make, match, door):
    x = odd(make)
    with pytest.raises(InputTypeError, match=f"^{door} is .*{match}"):
        doors[door](x)


@pytest.mark.parametrize("name", [name for name in dir(torch) if name.startswith("float8_") and "e8m0" not in name])
def test_floats_of_eight_bits_are_what_they_say(doors, name):
    """0 and 1 are numbers of each: the counts are those of the same tensor in float32."""
    x = X.to(getattr(torch, name))
    assert torch.equal(doors["input"](x), doors["input"](X)) and torch.equal(doors["x"](x), doors["x"](X))
    assert torch.equal(ordinary_tensor("x", x), X)


def test_logits_must_be_real_numbers():
    dfa = DFA(GaussianFeedback(3, 6))
    for dtype in (torch.complex64, torch.int64):
        dfa.block(torch.zeros(5, 6))
        with pytest.raises(
            TypeError, match=f"The output is a tensor of {dtype}, but logits must be of a floating type"
        ):
            dfa.output(torch.zeros(5, 3, dtype=dtype))


def test_ordinary_ones_pass_as_they_are():
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64, torch.complex64):
        x = X.to(dtype)
        assert ordinary_tensor("x", x) is x
    reversed_columns = X.numpy()[:, ::-1]
    assert np.array_equal(as_tensor("x", reversed_columns).numpy(), reversed_columns)
    frozen = X.numpy().copy()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(as_tensor("x", frozen).numpy(), frozen)


@pytest.mark.parametrize("value", [None, "text", [[1, 2], [3]], np.ma.masked_array([1, 0], [0, 1]), [object()]])
def test_what_is_no_array_is_refused_by_a_map(value):
    for call in (OPUMap(50, device="ideal").fit(n_features=2), OPUMap(50, device="ideal")):
        with pytest.raises(InputTypeError, match=" is .* must |no value can be left out|cannot leave out"):
            call(value)
