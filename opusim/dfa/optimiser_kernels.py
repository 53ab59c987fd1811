"""Updates of the optimisers, in one pass over memory each: numpy, with one for each operation, takes 3 times as long.

All arrays are flat, of one length and one dtype, and so are the numbers. What is the same for all elements is worked
out before, in double precision.
"""

from __future__ import annotations

import numpy as np

from opusim.base.jit import kernel


@kernel()
def sgd_update(parameter, gradient, velocity, learning_rate, momentum, weight_decay):  # type: ignore[no-untyped-def]
    """Set v = momentum v + g; p = p - learning_rate v, where weight_decay p is added to g."""
    for i in range(parameter.size):
        v = momentum * velocity[i] + (gradient[i] + weight_decay * parameter[i])
        velocity[i] = v
        parameter[i] -= learning_rate * v


@kernel()
def adam_update(  # type: ignore[no-untyped-def]
    parameter, gradient, mean, mean_square, rate, root, keep1, take1, keep2, take2, epsilon, weight_decay
):
    """Set m = keep1 m + take1 g; s = keep2 s + take2 g^2; p = p - rate m / (root sqrt(s) + epsilon)."""
    for i in range(parameter.size):
        g = gradient[i] + weight_decay * parameter[i]
        m = keep1 * mean[i] + take1 * g
        s = keep2 * mean_square[i] + take2 * (g * g)
        mean[i] = m
        mean_square[i] = s
        parameter[i] -= rate * m / (root * np.sqrt(s) + epsilon)
