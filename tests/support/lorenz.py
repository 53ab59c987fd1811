"""The Lorenz system of 1963, and the authors' digital model of an optical reservoir, written from its description."""

from __future__ import annotations

import numpy as np

STEP_S = 0.025


def lorenz63(steps, *, skip=400, start=(-0.8032, -0.1800, 19.4488), parts=10):
    """Values (steps, 3) every .025 by Runge and Kutta's fourth order; sigma 10, rho 28, beta 8/3."""

    def slope(v):
        x, y, z = v
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    v, h = np.array(start, dtype=np.float64), STEP_S / parts
    found = np.empty((steps, 3))
    for k in range(-skip, steps):
        if k >= 0:
            found[k] = v
        for _ in range(parts):
            a = slope(v)
            b = slope(v + h / 2 * a)
            c = slope(v + h / 2 * b)
            d = slope(v + h * c)
            v = v + h / 6 * (a + 2 * b + 2 * c + d)
    return found


class DigitalSpeckle:
    """|W exp(i phase)|^2 with phases and camera of 8 bits, clipped at 9 times the mean, noise of 1.7 % of the mean.

    With independent circular entries; the authors' program has imaginary parts that are even from 0 to 1.
    """

    def __init__(self, inputs, outputs, *, seed=0, noise=0.017, as_program=False):
        rng = np.random.default_rng(seed)
        imaginary = rng.random((outputs, inputs)) if as_program else rng.standard_normal((outputs, inputs))
        self.matrix = (rng.standard_normal((outputs, inputs)) + 1j * imaginary) / np.sqrt(2 * inputs)
        self.noise, self.rng = noise, rng

    def __call__(self, turns):
        phases = 2 * np.pi * np.floor(turns * 255) / 255
        light = np.abs(np.exp(1j * phases) @ self.matrix.T) ** 2
        light += self.noise * light.mean(axis=1, keepdims=True) * self.rng.standard_normal(light.shape)
        return np.floor(np.clip(light, 0, 9) / 9 * 255)
