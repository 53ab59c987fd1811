"""Small PyTorch networks, and their gradients: what the tests of the feedback behind them share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

# float32 gradients of order 1, each a sum of a few hundred products: rounding is below 1e-6.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are small; threads would wait for each other
    yield
    torch.set_num_threads(before)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(model, seed=0):
    """The model with parameters N(0, 0.5^2) from a generator of its own."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator(seed))
        seed += 1
    return model


def network(*sizes, activation=nn.Tanh):
    """Linear layers with an activation behind each but the last: the activations are modules 1, 3, ..."""
    layers = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), activation()]
    return drawn(nn.Sequential(*layers[:-1]))


def samples(n, features, n_classes, seed=9):
    x = torch.randn((n, features), generator=generator(seed))
    return x, torch.randint(n_classes, (n,), generator=generator(seed + 1))


def gradients(model, x, y, call=None, **options):
    model.zero_grad()
    functional.cross_entropy((call or model)(x), y, **options).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def assert_close(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
