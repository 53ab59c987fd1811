"""Gradients of backpropagation for one batch, and the angle between two sets of updates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .network import MLP, Activations

__all__ = ["angle_deg", "backprop_deltas", "weight_update"]


def backprop_deltas(
    network: MLP, activations: Activations, output_delta: np.ndarray, deltas: Sequence[np.ndarray]
) -> None:
    """Write the deltas of the hidden layers: delta_l = (delta_(l+1) W_(l+1)) f'(a_l).

    Parameters
    ----------
    network : MLP
    activations : Activations
        Of a batch, from `MLP.forward`.
    output_delta : ndarray, shape (batch, n_classes)
        Gradient of the loss by the logits.
    deltas : sequence of ndarray, each of shape (batch, size of the hidden layer)
        Get the gradients of the loss by the pre-activations.

    Notes
    -----
    ``activations.pre`` is written over: its memory serves for what is in between.
    """
    delta = output_delta
    for layer in reversed(range(len(deltas))):
        back = np.matmul(delta, network.weights[layer + 1], out=activations.pre[layer])
        network.times_derivative(activations, layer, back, out=deltas[layer])
        delta = deltas[layer]


def weight_update(activations: Activations, layer: int, delta: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the gradient of a layer's weights: delta^T h_(l-1), shape (outputs, inputs)."""
    return np.matmul(delta.T, activations.into_layer(layer), out=out)


def angle_deg(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two arrays of one shape, taken as vectors, in degrees; NaN if one is zero.

    It is worked out as 2 atan2(|u - v|, |u + v|) of the unit vectors u and v, in double precision, because the arc
    cosine of a number near 1 loses half the digits (Kahan, "How futile are mindless assessments of roundoff", section
    12).
    """
    u, v = (array.astype(np.float64).reshape(-1) for array in (first, second))
    u_norm, v_norm = np.linalg.norm(u), np.linalg.norm(v)
    if not (u_norm > 0 and v_norm > 0):
        return math.nan
    u /= u_norm
    v /= v_norm
    return math.degrees(2 * math.atan2(float(np.linalg.norm(u - v)), float(np.linalg.norm(u + v))))
