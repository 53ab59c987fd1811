"""Feedback behind a PyTorch network: the laws of the gradients, shapes, compilation, and what is refused."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest

from opusim.dfa.error_encoding import TernaryEncoding
from opusim.dfa.feedback import GaussianFeedback
from opusim.dfa.network import MLP
from opusim.dfa.optimisers import SGD
from opusim.dfa.trainer import DFATrainer

torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from opusim.dfa import torch as dfa_torch  # noqa: E402
from opusim.dfa.torch import DFA, mark  # noqa: E402
from torch_networks import CLOSE, assert_close, drawn, generator, gradients, network, one_thread, samples  # noqa: E402, F401


def errors_of(logits, y):
    return torch.softmax(logits, -1) - functional.one_hot(y, logits.shape[-1])


class Recorder(GaussianFeedback):
    """A digital feedback that keeps what it was given."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.seen = []

    def project(self, errors):
        self.seen.append(np.array(errors))
        return super().project(errors)


# ---------------------------------------------------------------- laws


def test_feedback_by_the_downstream_weights_is_backpropagation():
    # In a linear network the gradient at h_l is the product of the weights behind it, transposed, times the error.
    model = network(6, 5, 4, 3, activation=nn.Identity)
    x, y = samples(32, 6, 3)
    expected = gradients(model, x, y)
    behind_2 = model[4].weight.detach().T
    behind_1 = model[2].weight.detach().T @ behind_2
    matrix = torch.cat([behind_1, behind_2]).numpy()
    mark(model, ["1", "3"], GaussianFeedback(3, 9, matrix=matrix), scale=1.0)
    assert_close(gradients(model, x, y), expected)


def test_gradients_are_those_of_the_numpy_trainer():
    x, y = samples(64, 7, 3)
    numbers = MLP([7, 6, 5, 3], seed=4)
    before = [array.copy() for array in numbers.parameters()]
    model = network(7, 6, 5, 3)
    for parameter, array in zip(model.parameters(), before, strict=True):
        parameter.data = torch.from_numpy(array.copy())
    # One step of gradient descent with rate 1 on the whole batch changes the parameters by minus the gradient.
    settings = {
        "optimiser": SGD(learning_rate=1.0, momentum=0.0),
        "batch_size": 64,
        "epochs": 1,
        "alignment_samples": 0,
    }
    DFATrainer(numbers, GaussianFeedback(3, 11, seed=2), **settings).fit(x.numpy(), y.numpy())
    expected = [torch.from_numpy(old - new) for old, new in zip(before, numbers.parameters(), strict=True)]
    mark(model, ["1", "3"], GaussianFeedback(3, 11, seed=2))
    assert_close(gradients(model, x, y), expected)


def test_inside_a_block_is_autograd_of_the_blocks_output_gradient():
    class Block(nn.Module):
        """Two layers and a way round them."""

        def __init__(self, width):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            self.norm = nn.LayerNorm(width)

        def forward(self, x):
            return self.norm(x + self.inner(x))

    model = drawn(nn.Sequential(Block(4), Block(4), nn.Linear(4, 3)))
    x, y = samples(16, 4, 3)
    feedback = GaussianFeedback(3, 8, seed=1)
    mark(model, ["0", "1"], feedback, scale=0.7)
    found = gradients(model, x, y)
    unmarked = drawn(nn.Sequential(Block(4), Block(4), nn.Linear(4, 3)))
    h1 = unmarked[0](x)
    h2 = unmarked[1](h1.detach())
    logits = unmarked[2](h2.detach())
    g = (errors_of(logits, y) / len(x)).detach()
    signals = 0.7 * torch.tensor(feedback.matrix) @ g.T
    torch.autograd.backward([h1, h2, logits], [signals[:4].T, signals[4:].T, g])
    assert_close(found, [parameter.grad for parameter in unmarked.parameters()])


def test_default_scale_is_one_over_the_root_of_the_widest_block():
    model = network(4, 9, 5, 3)
    x, y = samples(8, 4, 3)
    marks = mark(model, ["1", "3"], GaussianFeedback(3, 14))
    default = gradients(model, x, y)
    marks.remove()
    mark(model, ["1", "3"], GaussianFeedback(3, 14), scale=1 / 3)
    assert_close(gradients(model, x, y), default)


def test_by_hand_and_by_marks_are_the_same():
    model = network(5, 6, 4, 3)
    x, y = samples(8, 5, 3)
    dfa = DFA(GaussianFeedback(3, 10))

    def by_hand(x):
        h = dfa.block(model[:2](x))
        return dfa.output(model[4](dfa.block(model[2:4](h))))

    expected = gradients(model, x, y, by_hand)
    marks = dfa.mark(model, [model[1], "3"])
    assert_close(gradients(model, x, y), expected)
    marks.remove()
    marks = dfa.mark(model, ["1", "3"], output="4")
    assert_close(gradients(model, x, y), expected)


# ---------------------------------------------------------------- scale of the errors


@pytest.mark.parametrize(("reduction", "error_scale"), [("mean", "mean"), ("sum", "sum"), ("mean", 8.0)])
def test_feedback_sees_the_error_of_each_sample(reduction, error_scale):
    # softmax - one-hot, whatever the loss does with the batch: so a threshold means the same everywhere.
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    feedback = Recorder(3, 6)
    mark(model, ["1"], feedback, error_scale=error_scale)
    gradients(model, x, y, reduction=reduction)
    expected = errors_of(model(x), y).detach().numpy()
    np.testing.assert_allclose(feedback.seen[0], expected, rtol=1e-5, atol=1e-6)


def test_error_scale_does_not_change_what_a_linear_feedback_gives():
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    found = []
    for error_scale in ("mean", "sum", 100.0):
        marks = mark(model, ["1"], GaussianFeedback(3, 6), error_scale=error_scale)
        found.append(gradients(model, x, y))
        marks.remove()
    assert_close(found[1], found[0])
    assert_close(found[2], found[0])


def test_ternary_gradients_of_a_mean_are_those_of_a_sum_over_the_batch():
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    marks = mark(model, ["1"], GaussianFeedback(3, 6, encoding=TernaryEncoding(0.3)))
    mean = gradients(model, x, y)
    marks.remove()
    mark(model, ["1"], GaussianFeedback(3, 6, encoding=TernaryEncoding(0.3)), error_scale="sum")
    assert_close([gradient / 8 for gradient in gradients(model, x, y, reduction="sum")], mean)


def test_rows_without_an_error_are_not_shown():
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    y[[1, 4, 5]] = -100  # cross_entropy leaves these out of the mean
    feedback = Recorder(3, 6)
    mark(model, ["1"], feedback)
    found = gradients(model, x, y)
    used = y >= 0
    assert feedback.seen[0].shape == (5, 3) and feedback.costs.vectors == 5
    assert_close(gradients(model, x[used], y[used]), found)
    loss = functional.cross_entropy(model(x), y) * 0  # nothing at all to show
    model.zero_grad()
    loss.backward()
    assert len(feedback.seen) == 2 and not any(parameter.grad.any() for parameter in model.parameters())


# ---------------------------------------------------------------- where it works


def test_sequences_and_images():
    feedback = GaussianFeedback(3, 4 + 2 * 5 * 5, seed=3)
    dfa = DFA(feedback, scale=1.0)
    a = torch.randn((2, 6, 4), generator=generator(1), requires_grad=True)  # (batch, steps, model)
    b = torch.randn((2, 6, 2, 5, 5), generator=generator(2), requires_grad=True)
    assert torch.equal(dfa.block(a), a) and not dfa.block(b).requires_grad
    logits = torch.randn((2, 6, 3), generator=generator(3), requires_grad=True)
    g = torch.randn((2, 6, 3), generator=generator(4))
    out = dfa.output(logits)
    assert torch.equal(out, logits)
    out.backward(g)
    signals = g.reshape(12, 3) @ torch.tensor(feedback.matrix).T
    assert_close([logits.grad, a.grad, b.grad], [g, signals[:, :4].reshape(a.shape), signals[:, 4:].reshape(b.shape)])


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_types_keep_theirs(dtype):
    model = network(5, 6, 3).to(getattr(torch, dtype))
    x, y = samples(8, 5, 3)
    mark(model, ["1"], GaussianFeedback(3, 6))
    found = gradients(model, x.to(model[0].weight.dtype), y)
    assert {gradient.dtype for gradient in found} == {getattr(torch, dtype)}
    assert all(gradient.isfinite().all() for gradient in found)


def test_two_forward_passes_before_one_backward_and_accumulation():
    model = network(5, 6, 4, 3)
    x, y = samples(16, 5, 3)
    mark(model, ["1", "3"], GaussianFeedback(3, 10))
    whole = gradients(model, x, y)
    model.zero_grad()
    halves = [functional.cross_entropy(model(x[rows]), y[rows]) / 2 for rows in (slice(8), slice(8, 16))]
    sum(halves).backward()
    assert_close([parameter.grad for parameter in model.parameters()], whole)
    model.zero_grad()
    for rows in (slice(8), slice(8, 16)):
        (functional.cross_entropy(model(x[rows]), y[rows]) / 2).backward()
    assert_close([parameter.grad for parameter in model.parameters()], whole)


def test_one_projection_and_one_call_for_all_blocks():
    model = network(5, 6, 4, 3)
    x, y = samples(8, 5, 3)
    feedback = Recorder(3, 10)
    mark(model, ["1", "3"], feedback)
    gradients(model, x, y)
    assert [errors.shape for errors in feedback.seen] == [(8, 3)]


def test_without_gradients_or_training_nothing_happens():
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    expected = gradients(model, x, y)
    feedback = GaussianFeedback(3, 6)
    dfa = DFA(feedback)
    dfa.mark(model, ["1"])
    with torch.no_grad():
        model(x)
        assert dfa.block(x) is x and dfa.output(x) is x
    model.eval()
    assert_close(gradients(model, x, y), expected)
    model.train()
    gradients(model, x, y)
    assert feedback.costs.vectors == 8


def test_removed_marks_leave_backpropagation():
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    expected = gradients(model, x, y)
    mark(model, ["1"], GaussianFeedback(3, 6)).remove()
    assert_close(gradients(model, x, y), expected)


def test_a_copy_of_a_marked_model_shares_nothing():
    model = network(5, 6, 3)
    x, y = samples(8, 5, 3)
    feedback = GaussianFeedback(3, 6)
    mark(model, ["1"], feedback)
    expected = gradients(model, x, y)
    twin = copy.deepcopy(model)
    model.eval()  # must not touch the twin
    assert_close(gradients(twin, x, y), expected)
    assert feedback.costs.vectors == 8


def test_a_module_that_runs_twice_has_two_slices():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.last = nn.Linear(4, 3)

        def forward(self, x):
            return self.last(self.inner(self.inner(x)))

    model = drawn(Twice())
    x, y = samples(8, 4, 3)
    feedback = GaussianFeedback(3, 8)
    mark(model, ["inner"], feedback, scale=1.0)
    found = gradients(model, x, y)[0]
    g = (errors_of(model(x), y) / 8).detach()
    signals = g @ torch.tensor(feedback.matrix).T
    torch.testing.assert_close(found, signals[:, :4].T @ x + signals[:, 4:].T @ model.inner(x).detach(), **CLOSE)


def test_frozen_blocks_and_in_place_layers():
    model = drawn(
        nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 3))
    )
    x, y = samples(8, 5, 3)
    mark(model, ["0", "2"], GaussianFeedback(3, 10))
    free = gradients(model, x, y)
    model[2].requires_grad_(False)
    model.zero_grad()
    functional.cross_entropy(model(x), y).backward()
    assert model[2].weight.grad is None
    assert_close([model[0].weight.grad, model[4].weight.grad], [free[0], free[4]])


def test_a_checkpointed_block_gives_the_same_gradients():
    from torch.utils.checkpoint import checkpoint

    class Saving(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network(5, 6, 4)
            self.last = nn.Linear(4, 3)
            self.saving = False

        def forward(self, x):
            h = checkpoint(self.inner, x, use_reentrant=False) if self.saving else self.inner(x)
            return self.last(h)

    model = drawn(Saving())
    x, y = samples(8, 5, 3)
    mark(model, ["inner"], GaussianFeedback(3, 4))
    expected = gradients(model, x, y)
    model.saving = True
    for _ in range(2):  # the second pass must not find what the first one's recomputation left
        assert_close(gradients(model, x, y), expected)


def test_no_global_random_state_is_touched():
    before = torch.random.get_rng_state()
    model = network(5, 6, 3)
    state = torch.random.get_rng_state()  # the constructors of nn draw
    mark(model, ["1"], GaussianFeedback(3, 6))
    gradients(model, *samples(8, 5, 3))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.random.set_rng_state(before)


# ---------------------------------------------------------------- compilation


@pytest.mark.slow
def test_operators_pass_torchs_own_checks():
    dfa = DFA(GaussianFeedback(3, 10))
    logits = torch.randn((4, 3), generator=generator(), requires_grad=True)
    blocks = [torch.randn((4, width), generator=generator(width), requires_grad=True) for width in (4, 6)]
    done = torch.library.opcheck(dfa_torch._tie_operator, (logits, blocks, dfa._number, 10, 0.5))
    assert set(done.values()) == {"SUCCESS"}
    checks = ("test_schema", "test_faketensor")  # no autograd: it has no second order
    arguments = (logits.detach(), dfa._number, 10, 0.5)
    done = torch.library.opcheck(dfa_torch._project_operator, arguments, test_utils=checks)
    assert set(done.values()) == {"SUCCESS"}


@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler"),
            ],
        ),
    ],
)
def test_a_compiled_model_has_the_same_gradients_without_a_graph_break(backend):
    model = network(5, 6, 4, 3)
    x, y = samples(16, 5, 3)
    feedback = GaussianFeedback(3, 10)
    mark(model, ["1", "3"], feedback)
    expected = gradients(model, x, y)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend=backend, fullgraph=True)  # fullgraph: a break is an error
    assert_close(gradients(model, x, y, compiled), expected)
    assert_close(gradients(model, x, y, compiled), expected)
    assert feedback.costs.vectors == 3 * 16
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), **CLOSE)


def test_a_compiled_step_with_the_marks_by_hand_and_changing_batches():
    model = network(5, 6, 3)
    dfa = DFA(GaussianFeedback(3, 6))

    def step(x, y):
        return functional.cross_entropy(dfa.output(model[2](dfa.block(model[:2](x)))), y)

    torch._dynamo.reset()
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True, dynamic=True)
    for n in (16, 7, 9):
        x, y = samples(n, 5, 3, seed=n)
        found = []
        for function in (step, compiled):
            model.zero_grad()
            function(x, y).backward()
            found.append([parameter.grad.clone() for parameter in model.parameters()])
        assert_close(found[1], found[0])
