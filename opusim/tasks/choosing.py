"""What a seed takes of a data set, and what tasks on images share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opusim.base import rng, validation

from .base import Task
from .image_sets import IMAGE_SETS

__all__ = ["ImageTask", "generator", "some"]


def generator(seed: int, what: str) -> np.random.Generator:
    """Return a generator for one purpose under one seed."""
    key = [int(word) for word in rng.stream_key(seed, f"sweep {what}")]
    return np.random.Generator(np.random.Philox(key[0] << 32 | key[1]))


def some(seed: int, name: str, n: int, n_all: int) -> np.ndarray:
    """Return which samples a seed takes, and in which order; an error if there are not so many."""
    validation.integer(name, n, low=0, high=n_all)
    return generator(seed, name).permutation(n_all)[: n or n_all]


@dataclass(frozen=True)
class ImageTask(Task):
    """What the tasks share: their images, and which of them a seed takes."""

    dataset: str = "mnist"
    n_train: int = 0
    n_test: int = 0

    def __post_init__(self) -> None:
        """Check every parameter."""
        validation.choice("dataset", self.dataset, tuple(IMAGE_SETS))
        validation.integer("n_train", self.n_train, low=0)
        validation.integer("n_test", self.n_test, low=0)

    def _chosen(self, seed: int, n_train: int, n_test: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which of so many training and test images a seed takes; an error if there are not enough."""
        return some(seed, "n_train", self.n_train, n_train), some(seed, "n_test", self.n_test, n_test)
