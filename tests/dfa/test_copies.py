"""Copies and pickles of feedbacks and of what puts them behind a network: each projects with its own."""

from __future__ import annotations

import copy
import gc
import io
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from opusim import OPU
from opusim.device.record import Device
from opusim.dfa import GaussianFeedback, NoisyFeedback, OpticalFeedback

AURORA = Device.load("aurora")
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (1, 2000),
       "operation.minimum_output_size": 600, "medium.transmission": AURORA.medium.transmission}
)  # fmt: skip

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


def test_a_deep_copy_of_a_feedback_counts_by_itself_and_has_the_same_matrix_once():
    feedback = GaussianFeedback(3, 5, seed=4)
    other = copy.deepcopy(feedback)
    feedback.project(ERRORS)
    assert (feedback.costs.vectors, other.costs.vectors) == (7, 0)
    assert np.shares_memory(other.matrix, feedback.matrix)


# ---------------------------------------------------------------- behind a network


torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from opusim.dfa import torch as dfa_torch  # noqa: E402
from opusim.dfa.torch import DFA, mark  # noqa: E402
from torch_networks import gradients, network, one_thread, samples  # noqa: E402, F401

X, Y = samples(8, 5, 3)


def optical(n_classes: int, width: int, seed: int) -> OpticalFeedback:
    return OpticalFeedback(OPU(width, device=SMALL, seed=seed), width, n_classes=n_classes)


def by_intensity(n_classes: int, width: int, seed: int) -> OpticalFeedback:
    return OpticalFeedback(OPU(width, device=SMALL, seed=seed, linear_mode="intensity"), width, n_classes=n_classes)


FEEDBACKS = {"gaussian": GaussianFeedback, "noisy": NoisyFeedback, "optical": optical, "intensity": by_intensity}


def seeded(of: int, n_classes: int, width: int, seed: int) -> GaussianFeedback:
    return GaussianFeedback(n_classes, width, seed=of)


def marked(kind=GaussianFeedback):
    """A network whose hidden layers learn by feedback."""
    model = network(5, 6, 4, 3)
    mark(model, ["1", "3"], kind(3, 10, seed=3))
    return model


class ByHand(torch.nn.Module):
    """A network that has its `DFA` in its forward."""

    def __init__(self, kind=GaussianFeedback):
        super().__init__()
        self.layers = network(5, 6, 4, 3)
        self.dfa = DFA(kind(3, 10, seed=3))

    def forward(self, x):
        first, middle, last = self.layers[:2], self.layers[2:4], self.layers[4]
        return self.dfa.output(last(self.dfa.block(middle(self.dfa.block(first(x))))))


def dfa_of(model):
    """The `DFA` that a model trains by."""
    return model.dfa if isinstance(model, ByHand) else next(iter(model[1]._forward_hooks.values())).marks.dfa


def saved(model):
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


def sent(model):
    """As torch sends it to another process: tensors by shared memory."""
    stream = io.BytesIO()
    ForkingPickler(stream, pickle.HIGHEST_PROTOCOL).dump(model)
    return pickle.loads(stream.getvalue())


def by_joblib(model):
    stream = io.BytesIO()
    pytest.importorskip("joblib").dump(model, stream)
    stream.seek(0)
    return pytest.importorskip("joblib").load(stream)


def by_value(model):
    cloudpickle = pytest.importorskip("cloudpickle")
    return cloudpickle.loads(cloudpickle.dumps(model))


WAYS = {"pickle": COPIES["pickle"], "torch.save": saved, "multiprocessing": sent, "joblib": by_joblib,
        "cloudpickle": by_value, "deepcopy": copy.deepcopy}  # fmt: skip
each_way = pytest.mark.parametrize("travelled", WAYS.values(), ids=WAYS)


LIGHT = [pytest.param(make, kind, id=f"{make.__name__}-{kind.__name__}")
         for make in (marked, ByHand) for kind in (GaussianFeedback, NoisyFeedback)]  # fmt: skip
OF_DEVICES = [pytest.param(marked, kind, id=kind.__name__, marks=pytest.mark.slow) for kind in (optical, by_intensity)]


@each_way
@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
@pytest.mark.parametrize(("make", "kind"), [*LIGHT, *OF_DEVICES])
def test_a_model_that_has_travelled_learns_by_its_own_feedback(make, kind, trained, travelled):
    """Its gradients are those that the first one has, bit for bit, whatever has become of the other."""
    model = make(kind)
    if trained:
        gradients(model, X, Y)
    other = travelled(model)
    first, second = dfa_of(model), dfa_of(other)
    assert second is not first and second.feedback is not first.feedback
    seen = first.feedback.costs.vectors
    same_device = kind in (optical, by_intensity) and travelled is copy.deepcopy
    if same_device:
        assert second.feedback.opu.device is first.feedback.opu.device
        assert second.feedback.opu is not first.feedback.opu
        with torch.no_grad():
            other[-1].weight.mul_(2) if make is marked else other.layers[-1].weight.mul_(2)
        assert len(gradients(other, X, Y)) == 6  # on frames of its own
    else:
        found = gradients(other, X, Y)
        assert all(map(torch.equal, found, gradients(model, X, Y)))
        assert all(map(torch.equal, gradients(other, X, Y), gradients(model, X, Y)))
    assert second.feedback.costs.vectors == seen + (8 if same_device else 16)


def test_a_copy_outlives_the_first_one():
    model = marked()
    expected, other = gradients(model, X, Y), copy.deepcopy(model)
    del model
    gc.collect()
    assert all(map(torch.equal, gradients(other, X, Y), expected))


@each_way
@pytest.mark.parametrize("make", [marked, ByHand])
def test_a_model_travels_amid_a_forward_pass(make, travelled):
    model = make()
    expected = gradients(model, X, Y)
    layers = model if make is marked else model.layers
    h = layers[1](layers[0](X))  # keeps a tensor of a graph
    if make is ByHand:
        model.dfa.block(h)
    other = travelled(model)
    assert all(map(torch.equal, gradients(other, X, Y), expected))


@each_way
def test_a_copy_of_a_copy_and_marks_that_are_taken_away(travelled):
    model = travelled(travelled(marked()))
    by_feedback = gradients(model, X, Y)
    next(iter(model[1]._forward_hooks.values())).marks.remove()
    assert not model[1]._forward_hooks and not model._forward_hooks and not model._forward_pre_hooks
    plain = gradients(network(5, 6, 4, 3), X, Y)
    assert all(map(torch.equal, gradients(model, X, Y), plain)) and not torch.equal(by_feedback[0], plain[0])


def test_a_loaded_model_can_be_compiled():
    """What was compiled for one model must not project by the feedback of another."""
    first, second = marked(), saved(marked(NoisyFeedback))
    expected = [gradients(marked(), X, Y), gradients(marked(NoisyFeedback), X, Y)]
    for model, wanted in zip((first, second), expected, strict=True):
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(gradients(model, X, Y, compiled), wanted)


def test_weights_of_a_state_dict_go_on_with_the_feedback_of_the_model_that_takes_them():
    model = marked(NoisyFeedback)
    gradients(model, X, Y)
    with torch.no_grad():
        model[0].weight += 1
    fresh = marked(NoisyFeedback)
    fresh.load_state_dict(model.state_dict())
    dfa_of(fresh).feedback.restore(dfa_of(model).feedback.state())
    assert all(map(torch.equal, gradients(fresh, X, Y), gradients(model, X, Y)))


def test_models_of_one_process_never_take_each_others_numbers():
    """A number means nothing elsewhere: here each stands for another object in a process that knows neither."""
    data = [pickle.dumps(marked(partial(seeded, k))) for k in range(3)]
    expected = [gradients(pickle.loads(each), X, Y) for each in data]
    dfa_torch._living.clear()
    found = [gradients(model, X, Y) for model in map(pickle.loads, reversed(data))]
    for one, other in zip(reversed(found), expected, strict=True):
        assert all(map(torch.equal, one, other))


def test_threads_of_one_model_have_a_forward_pass_each():
    """Two threads, the second of which runs whole between the blocks of the first."""
    model = ByHand()
    expected = gradients(copy.deepcopy(model), X, Y)
    with ThreadPoolExecutor(1) as pool:
        layers, dfa = model.layers, model.dfa
        first = dfa.block(layers[:2](X))
        pool.submit(lambda: model(X + 1)).result()
        logits = dfa.output(layers[4](dfa.block(layers[2:4](first))))
    torch.nn.functional.cross_entropy(logits, Y).backward()
    assert all(map(torch.equal, [p.grad for p in model.parameters()], expected))


PROGRAM = """
import sys, torch
from opusim.dfa.feedback import GaussianFeedback
from opusim.dfa.torch import DFA
others = [DFA(GaussianFeedback(3, 10, seed=k)) for k in range(5)]  # the numbers of this process are taken
torch.set_num_threads(1)
for name in sys.argv[1:]:
    model, x, y = torch.load(name, weights_only=False)
    torch.nn.functional.cross_entropy(model(x), y).backward()
    torch.save([p.grad for p in model.parameters()], name + ".gradients")
"""


@pytest.mark.system
def test_a_saved_model_learns_in_another_process_as_here(tmp_path):
    models = {name: marked(kind) for name, kind in FEEDBACKS.items()}
    for name, model in models.items():
        gradients(model, X, Y)
        model.zero_grad()
        torch.save((model, X, Y), tmp_path / name)
    command = [sys.executable, "-c", PROGRAM, *(str(tmp_path / name) for name in models)]
    subprocess.run(command, check=True, timeout=600, cwd=Path(__file__).resolve().parents[2])
    for name, model in models.items():
        found = torch.load(tmp_path / f"{name}.gradients", weights_only=True)
        assert all(map(torch.equal, found, gradients(model, X, Y))), name


def _into(queue, model):
    torch.set_num_threads(1)
    queue.put([g.numpy() for g in gradients(model, X, Y)])


@pytest.mark.system
def test_a_model_that_is_handed_to_a_new_process_learns_there_as_here():
    model = marked(NoisyFeedback)
    gradients(model, X, Y)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_into, args=(queue, model))
    process.start()
    found = queue.get(timeout=300)
    process.join(60)
    assert all(np.array_equal(one, other.numpy()) for one, other in zip(found, gradients(model, X, Y), strict=True))


@pytest.mark.system
def test_a_distributed_model_has_the_same_gradients():
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("torch is built without gloo")
    model = marked(NoisyFeedback)
    expected = gradients(copy.deepcopy(model), X, Y)
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        found = gradients(model, X, Y, torch.nn.parallel.DistributedDataParallel(model))
    finally:
        distributed.destroy_process_group()
    assert all(map(torch.equal, found, expected))


def test_a_pickle_amid_a_forward_pass_begins_anew():
    dfa = DFA(GaussianFeedback(3, 6))
    dfa.block(torch.ones(2, 6, requires_grad=True) * 2)
    for copied in COPIES.values():
        other = copied(dfa)
        with pytest.raises(ValueError, match="No block came before the output"):
            other.output(torch.zeros(2, 3, requires_grad=True))
        h = torch.ones(2, 6, requires_grad=True)
        logits = other.output(other.block(h * 2) @ torch.ones(6, 3))
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
        assert torch.isfinite(h.grad).all() and h.grad.any()
