"""Networks small enough to train in a moment, samples, and a feedback: what the tests of training share."""

from __future__ import annotations

import numpy as np

from opusim.dfa.feedback import Costs
from opusim.dfa.losses import errors_and_loss
from opusim.dfa.network import MLP
from opusim.dfa.trainer import BackpropTrainer, DFATrainer, ShallowTrainer

SIZES = (6, 8, 7, 4)
LOSSES = ("cross_entropy", "squared_error")
METHODS = ("dfa", "backprop", "shallow")


class MatrixFeedback:
    """Projects by a given matrix in double precision; counts as a device would."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = np.asarray(matrix, float)
        self.width, self.n_classes = self.matrix.shape
        self.costs = Costs(frames=0, device_s=0.0, device_j=0.0)
        self.seen: list[np.ndarray] = []

    def project(self, errors: np.ndarray) -> np.ndarray:
        self.seen.append(errors.copy())
        self.costs.frames += 2 * len(errors)
        self.costs.device_s += 1e-3 * len(errors)
        self.costs.device_j += 3e-2 * len(errors)
        return errors @ self.matrix.T

    def describe(self):
        return {"kind": "matrix"}

    def state(self):
        return {"calls": len(self.seen)}

    def restore(self, state):
        self.seen = [np.empty(0)] * state["calls"]


def double_network(seed: int = 0, activation: str = "tanh", sizes=SIZES) -> MLP:
    return MLP(sizes, activation=activation, seed=seed, dtype=np.float64)


def samples(n: int = 40, sizes=SIZES, seed: int = 0, dtype=np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Classes that can be told apart: clouds around random centres."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, sizes[-1], n)
    return (rng.normal(size=(sizes[-1], sizes[0]))[y] + 0.5 * rng.normal(size=(n, sizes[0]))).astype(dtype), y


def random_feedback(sizes=SIZES, seed: int = 5) -> MatrixFeedback:
    return MatrixFeedback(np.random.default_rng(seed).normal(size=(sum(sizes[1:-1]), sizes[-1])))


def mean_loss(network: MLP, loss: str, X: np.ndarray, y: np.ndarray) -> float:
    logits = network.forward(X).logits
    return errors_and_loss(loss, logits, y, np.empty_like(logits)) / len(y)


def make(method: str, network: MLP, **options):
    if method == "dfa":
        return DFATrainer(network, options.pop("feedback", None) or random_feedback(network.sizes), **options)
    return {"backprop": BackpropTrainer, "shallow": ShallowTrainer}[method](network, **options)
