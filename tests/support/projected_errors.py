"""Errors to project, and encodings for them: what the tests of optical feedback share."""

from __future__ import annotations

import numpy as np

from opusim.dfa import BitPlaneEncoding, NearestTernaryEncoding, SignEncoding

N, WIDTH = 10, 200
ENCODINGS = [NearestTernaryEncoding(), SignEncoding(), BitPlaneEncoding(3)]


def errors_of(batch, seed=0, classes=N):
    """What a trainer projects: softmax minus one-hot."""
    rng = np.random.default_rng(seed)
    e = rng.dirichlet(np.full(classes, 0.3), batch)
    e[np.arange(batch), rng.integers(0, classes, batch)] -= 1
    return e.astype(np.float32)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
