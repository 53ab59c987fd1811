"""What the feedback behind a PyTorch network refuses, and that nothing is left of what failed."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from opusim.dfa.feedback import GaussianFeedback

torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from opusim.dfa import torch as dfa_torch  # noqa: E402
from opusim.dfa.torch import DFA, mark  # noqa: E402
from torch_networks import assert_close, drawn, gradients, network, one_thread, samples  # noqa: E402, F401


def test_a_feedback_of_the_wrong_width_says_the_right_one():
    model = network(5, 6, 4, 3)
    x, _ = samples(8, 5, 3)
    mark(model, ["1", "3"], GaussianFeedback(3, 12))
    for _ in range(2):  # the second time, too, and with the same numbers
        with pytest.raises(ValueError, match=r"feedback has width 12, but the blocks have 6 \+ 4 = 10 outputs a row"):
            model(x)


def test_shapes_that_do_not_go_together():
    dfa = DFA(GaussianFeedback(3, 6))
    h, logits = torch.ones(8, 6), torch.ones(8, 3)
    with pytest.raises(ValueError, match="No block came before the output"):
        dfa.output(logits)
    for wrong in (torch.ones(8, 4), torch.ones(3)):
        dfa.block(h)
        with pytest.raises(ValueError, match=r"logits have shape .* errors of 3 classes"):
            dfa.output(wrong)
    for wrong in (torch.ones(7, 6), torch.ones((8, 6), dtype=torch.int64)):
        dfa.block(wrong)
        with pytest.raises(ValueError, match=r"block 0 is .* of shape .* first axes .* \(8,\)"):
            dfa.output(logits)
    dfa.block(h)
    dfa.reset()
    dfa.block(h)
    assert torch.equal(dfa.output(logits), logits)


def test_blocks_that_are_not_in_the_model():
    model = network(5, 6, 3)
    feedback = GaussianFeedback(3, 6)
    for blocks, error, words in [
        (["hidden"], ValueError, "'hidden', but the model's modules are 0, 1, 2"),
        ([nn.Linear(2, 2)], ValueError, "a Linear that is not in the model"),
        ([3], TypeError, "holds a int"),
        ("1", TypeError, "must be a list"),
        ([], ValueError, "empty"),
        (["1", model[1]], ValueError, "'1' twice"),
        ([model], ValueError, "'the model', which is the output or the model"),
    ]:
        with pytest.raises(error, match=words):
            mark(model, blocks, feedback)
    with pytest.raises(ValueError, match="'2', which is the output"):
        mark(model, ["2"], feedback, output="2")
    with pytest.raises(ValueError, match="output holds 'last'"):
        mark(model, ["1"], feedback, output="last")
    with pytest.raises(TypeError, match="model is a list"):
        mark([model], ["1"], feedback)
    assert not model._forward_hooks and not model[1]._forward_hooks


def test_a_module_is_marked_once():
    model = network(5, 6, 4, 3)
    marks = mark(model, ["1"], GaussianFeedback(3, 6))
    for blocks, output, words in ((["1"], "4", "'1' carries"), (["3"], None, "The model carries")):
        with pytest.raises(ValueError, match=f"{words} a mark already, but a module is marked once"):
            mark(model, blocks, GaussianFeedback(3, 6), output=output)
    assert len(model[1]._forward_hooks) == len(model._forward_hooks) == len(model._forward_pre_hooks) == 1
    marks.remove()
    mark(model, ["1"], GaussianFeedback(3, 6))


def test_an_old_torch_is_told_at_the_import(monkeypatch):
    monkeypatch.delattr(torch.library, "custom_op")
    path = Path(dfa_torch.__file__)
    with pytest.raises(ImportError, match=r"opusim.dfa.torch needs PyTorch 2\.4 or newer, but .* is installed"):
        exec(
            compile(path.read_text(encoding="utf-8"), str(path), "exec"),
            {"__name__": "opusim.dfa.old", "__package__": "opusim.dfa"},
        )


def test_a_block_that_has_not_run_is_named():
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
            self.skip = True

        def forward(self, x):
            h = self.first(x)
            return self.last(h if self.skip else self.second(h))

    model = drawn(Skipping())
    x, y = samples(8, 5, 3)
    mark(model, ["first", "second"], GaussianFeedback(3, 10))
    with pytest.raises(ValueError, match="before the marked block second"):
        model(x)
    model.skip = False
    assert len(gradients(model, x, y)) == 6  # and nothing is left of the failed pass


def test_a_pass_that_failed_half_way_leaves_nothing():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x, fail=False):
            h = self.first(x)
            if fail:
                raise RuntimeError("half way")
            return self.last(h)

    model = drawn(Failing())
    x, y = samples(8, 5, 3)
    mark(model, ["first"], GaussianFeedback(3, 6))
    expected = gradients(model, x, y)
    with pytest.raises(RuntimeError, match="half way"):
        model(x, fail=True)
    assert_close(gradients(model, x, y), expected)


def test_a_block_or_an_output_that_returns_no_tensor():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class First(nn.Module):
        def forward(self, pair):
            return pair[0]

    x, _ = samples(8, 6, 3)
    model = nn.Sequential(Pair(), First(), nn.Linear(6, 3))
    mark(model, ["0"], GaussianFeedback(3, 6))
    with pytest.raises(TypeError, match="block '0' returns a tuple"):
        model(x)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3), Pair())
    mark(model, ["0"], GaussianFeedback(3, 6))
    with pytest.raises(TypeError, match="output is a tuple"):
        model(x)


def test_a_gradient_that_is_not_finite_is_not_projected():
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    feedback = GaussianFeedback(3, 6)
    mark(model, ["1"], feedback)
    x[2, 0] = float("nan")
    with pytest.raises(ValueError, match="gradient at the network's output holds NaN"):
        gradients(model, x, y)
    assert feedback.costs.vectors == 0


def test_double_backward_is_refused():
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    mark(model, ["1"], GaussianFeedback(3, 6))
    loss = functional.cross_entropy(model(x), y)
    first = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    with pytest.raises(NotImplementedError, match="double backward"):
        sum(gradient.square().sum() for gradient in first).backward()


def test_a_graph_keeps_its_dfa_and_a_number_alone_does_not():
    dfa = DFA(GaussianFeedback(3, 6, seed=1))
    h = torch.ones((8, 6), requires_grad=True)
    g = torch.linspace(-1, 1, 24).reshape(8, 3)
    logits, number = dfa.output(torch.ones(8, 3) + dfa.block(h).sum()), dfa._number
    expected = g @ torch.from_numpy(dfa.feedback.matrix.copy()).T / 6**0.5
    del dfa
    logits.backward(g)
    torch.testing.assert_close(h.grad, expected)
    del logits
    gc.collect()
    with pytest.raises(RuntimeError, match="must live until the backward pass is done: keep the model"):
        torch.ops.opusim_dfa.project(g, number, 6, 1.0)


def test_a_replica_of_data_parallel_is_refused():
    model = network(5, 6, 3)
    mark(model, ["1"], GaussianFeedback(3, 6))
    x, _ = samples(8, 5, 3)
    replica = model._replicate_for_data_parallel()
    with pytest.raises(RuntimeError, match="replica of torch.nn.DataParallel.* use .*DistributedDataParallel"):
        replica(x)
    assert model(x).shape == (8, 3) and nn.parallel.DataParallel(model)(x).shape == (8, 3)


def test_arguments_of_the_wrong_kind():
    with pytest.raises(TypeError, match="feedback is a str without n_classes and project and width"):
        DFA("light")
    feedback = GaussianFeedback(3, 6)
    for options, error, words in [
        ({"scale": 0.0}, ValueError, "scale is 0.0"),
        ({"scale": "big"}, TypeError, "scale is 'big'"),
        ({"error_scale": "median"}, ValueError, "error_scale is 'median', but it must be one of 'mean', 'sum'"),
        ({"error_scale": -1}, ValueError, "error_scale is -1"),
    ]:
        with pytest.raises(error, match=words):
            DFA(feedback, **options)


def test_a_feedback_that_returns_another_shape():
    class Short(GaussianFeedback):
        def project(self, errors):
            return super().project(errors)[:, :5]

    model = network(5, 6, 3)
    mark(model, ["1"], Short(3, 6))
    with pytest.raises(ValueError, match=r"shape \(8, 5\) for 8 errors, but its width is 6"):
        gradients(model, *samples(8, 5, 3))
