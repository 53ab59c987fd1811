"""A method whose blocks are shown whole, and share something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opusim.drivers.methods.base import Method


@dataclass(frozen=True)
class OwnAnchor(Method):
    """Blocks of six, each shown whole after an anchor of its own; the mean of the anchors of all is taken off."""

    by_light: bool = False
    dtype = np.dtype(np.float64)
    block = 6
    parted = False
    shares = True

    def frames(self, n):
        return n + 1

    def encode(self, bits, *, part=False):
        return np.concatenate([np.ones((1, bits.shape[1]), np.uint8), bits])

    def decode(self, frames, shared=None, *, out=None, part=False, threads=None):
        assert not part
        shared.append(frames[0].astype(np.float64))
        return frames[1:].astype(np.float64)

    def begin(self):
        return []

    def finish(self, results, shared):
        results -= np.mean(shared, axis=0)
        return results

    def shared(self, show, sizes, n_features):
        ones = np.ones((1, n_features), np.uint8)
        return [show(k, np.array([0]), ones)[0].astype(np.float64) for k in range(len(sizes))]
