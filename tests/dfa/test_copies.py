"""Copies and pickles of feedbacks and of what puts them behind a network: each projects with its own."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from opusim.dfa import GaussianFeedback, NoisyFeedback

COPIES = {"pickle": lambda thing: pickle.loads(pickle.dumps(thing)), "deepcopy": copy.deepcopy, "copy": copy.copy}
each_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
ERRORS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


@each_copy
@pytest.mark.parametrize("kind", [GaussianFeedback, NoisyFeedback])
def test_a_feedback_projects_on(kind, copied):
    feedback = kind(3, 5, seed=4)
    feedback.project(ERRORS)
    other = copied(feedback)
    assert other.describe() == feedback.describe() and other.state() == feedback.state()
    assert np.array_equal(other.matrix, feedback.matrix)
    assert np.array_equal(other.project(ERRORS), feedback.project(ERRORS))
    for each in (feedback, other):
        with pytest.raises(ValueError, match="read-only"):
            each.matrix[0] = 0


@pytest.fixture
def marked():
    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    from opusim.dfa.torch import mark

    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))
    return model, mark(model, ["1"], GaussianFeedback(3, 6, seed=2))


def gradients(model):
    import torch

    model.zero_grad()
    x = torch.linspace(-1, 1, 20).reshape(5, 4)
    torch.nn.functional.cross_entropy(model(x), torch.arange(5) % 3).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_a_pickled_model_learns_by_its_own_feedback(marked):
    import torch

    model, marks = marked
    expected = gradients(model)
    seen = marks.dfa.feedback.costs.vectors
    other_model, other_marks = COPIES["pickle"]((model, marks))
    assert all(map(torch.equal, gradients(other_model), expected))
    assert marks.dfa.feedback.costs.vectors == seen and other_marks.dfa.feedback.costs.vectors == seen + 5


def test_a_saved_model_learns_on(marked, tmp_path):
    import torch

    from opusim.dfa.torch import _living

    model, _ = marked
    expected = gradients(model)
    torch.save(model, tmp_path / "model.pt")
    _living.clear()  # as in a process that has never seen the first one
    assert all(map(torch.equal, gradients(torch.load(tmp_path / "model.pt", weights_only=False)), expected))


def test_a_pickle_amid_a_forward_pass_begins_anew():
    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    from opusim.dfa.torch import DFA

    dfa = DFA(GaussianFeedback(3, 6))
    dfa.block(torch.ones(2, 6, requires_grad=True) * 2)
    for copied in (COPIES["pickle"], COPIES["copy"]):
        other = copied(dfa)
        with pytest.raises(ValueError, match="No block came before the output"):
            other.output(torch.zeros(2, 3, requires_grad=True))
        h = torch.ones(2, 6, requires_grad=True)
        logits = other.output(other.block(h * 2) @ torch.ones(6, 3))
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
        assert torch.isfinite(h.grad).all() and h.grad.any()
    assert copy.deepcopy(dfa) is dfa
