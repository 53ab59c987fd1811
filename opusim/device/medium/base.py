"""What every medium has in common: the grid of modes, the protocol, the slow drift."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy import optimize, special

from opusim import theory
from opusim.base.parameters import parameter

# One state of a drifting medium holds until its correlation with the state that it stands for has fallen
# by this much: an intensity error of sqrt(2 x 2e-5), well under one percent of the mean, below a grey level.
STATE_DECORRELATION = 1e-5


def transmission() -> Any:
    """Return the field that every medium has for the share of the light that reaches one pixel."""
    return parameter(1e-10, low=0.0, high=1.0, learnable="odds")


def decorrelation_time() -> Any:
    """Return the field that every medium has for the time after which its field correlation has fallen to 1/e."""
    return parameter(
        math.inf, low=0.0, high=math.inf, low_open=True, unit="s", off=math.inf, imperfection="decorrelation",
        source="decorrelation",
    )  # fmt: skip


@dataclass(frozen=True)
class ModeGrid:
    """Where the input cells and the output cells lie on the grid of modes.

    Parameters
    ----------
    side : int
        Grid points along each axis; even, the optical axis is at side / 2.
    input_shape, output_shape : tuple of int
        Cells of the input (mirrors or macro-pixels) and of the output (pixels, times the samples that one
        pixel integrates over), as (rows, columns).
    aperture : float
        Diameter of the round stop at the exit face as a share of the grid's side; 0 for none.
    input_corner, output_corner : tuple of int, optional
        Grid point of the first cell; by default the block is centred on the axis.
    """

    side: int
    input_shape: tuple[int, int]
    output_shape: tuple[int, int]
    aperture: float = 0.0
    input_corner: tuple[int, int] | None = None
    output_corner: tuple[int, int] | None = None

    @staticmethod
    def _block(side: int, shape: tuple[int, int], corner: tuple[int, int] | None) -> tuple[slice, slice]:
        first = corner or (side // 2 - shape[0] // 2, side // 2 - shape[1] // 2)
        return slice(first[0], first[0] + shape[0]), slice(first[1], first[1] + shape[1])

    @property
    def input_block(self) -> tuple[slice, slice]:
        """Rows and columns of the grid that the input cells fill."""
        return self._block(self.side, self.input_shape, self.input_corner)

    @property
    def output_block(self) -> tuple[slice, slice]:
        """Rows and columns of the grid that the output cells fill."""
        return self._block(self.side, self.output_shape, self.output_corner)

    def transposed(self) -> ModeGrid:
        """Return the same grid seen from the other side, for building a matrix row by row.

        Returns
        -------
        ModeGrid
            Inputs and outputs have changed places.
        """
        return ModeGrid(
            self.side, self.output_shape, self.input_shape, self.aperture, self.output_corner, self.input_corner
        )


def pixel_sampling(pixel_over_grain: float) -> tuple[int, float]:
    """How finely the speckle on a pixel is sampled, and behind which stop.

    Parameters
    ----------
    pixel_over_grain : float
        Pixel pitch over the speckle grain; 0 for no integration over the pixel.

    Returns
    -------
    fine : int
        Samples along each side of a pixel: at least two, and two a grain.
    aperture : float
        Diameter of the stop as a share of the grid's side; 0 for none.

    Notes
    -----
    A stop of `aperture` sides makes grains of 1/aperture samples. A mean over few samples keeps a little more
    contrast than the integral over the pixel; the stop is opened until the contrast is that of the integral
    (`theory.pixel_modes`).
    """
    if pixel_over_grain == 0:
        return 1, 0.0
    fine = max(2, math.ceil(2 * pixel_over_grain))
    centres = (np.arange(fine) + 0.5) / fine
    y, x = (axis.ravel() for axis in np.meshgrid(centres, centres))
    distance = np.hypot(y[:, None] - y, x[:, None] - x)

    def excess(effective: float) -> float:
        r = np.maximum(np.pi * effective * distance, 1e-9)
        return float(np.mean(np.square(2 * special.j1(r) / r))) - 1 / theory.pixel_modes(pixel_over_grain)

    effective = optimize.brentq(excess, pixel_over_grain, 1.5 * pixel_over_grain)
    return fine, float(effective / fine)


@runtime_checkable
class Medium(Protocol):
    """What a projector needs to know of a medium; the three kinds add how their matrix is had.

    Attributes
    ----------
    kind : str
        "phase_screens", "gaussian" or "measured"; the key of the TOML table.
    transmission : float
        Share of the light that leaves the mirrors (all on) which reaches one pixel, averaged over the speckle.
    decorrelation_time_s : float
        Time after which the field correlation with the start has fallen to 1/e; `inf` for a frozen medium.
    """

    kind: str

    @property
    def transmission(self) -> float:
        """Share of the light from the mirrors that reaches one pixel."""
        ...

    @property
    def decorrelation_time_s(self) -> float:
        """Time in seconds after which the field correlation has fallen to 1/e."""
        ...


@dataclass(frozen=True)
class Drift:
    """Slow decorrelation: the correlation of the field with that of a time tau earlier is exp(-(tau/tau_d)^2).

    The medium moves in small steps ("states"), so that the matrix of a state can be kept. A state lasts
    until the correlation within it has fallen by 1e-5.

    Parameters
    ----------
    decorrelation_time_s : float
        The time tau_d in seconds; ``inf`` for none.
    """

    decorrelation_time_s: float

    @property
    def step_s(self) -> float:
        """Duration of a state in seconds."""
        return self.decorrelation_time_s * math.sqrt(STATE_DECORRELATION)

    def state(self, time_s: np.ndarray) -> np.ndarray:
        """Return the number of the state at each time.

        Parameters
        ----------
        time_s : ndarray
            Times in seconds.

        Returns
        -------
        ndarray of int64
            Numbers from 0 on.
        """
        times = np.asarray(time_s, dtype=np.float64)
        if math.isinf(self.decorrelation_time_s):
            return np.zeros(times.shape, dtype=np.int64)
        return np.floor(times / self.step_s).astype(np.int64)

    def time(self, state: int) -> float:
        """Return the time that a state stands for: its start.

        Parameters
        ----------
        state : int
            Number of the state.

        Returns
        -------
        float
            Seconds.
        """
        return state * self.step_s if state else 0.0

    def correlation(self, time_s: float) -> float:
        """Return the correlation of the field with that at the start: exp(-(time_s / decorrelation_time_s)^2).

        Parameters
        ----------
        time_s : float
            Time since the start, in seconds.

        Returns
        -------
        float
            From 0 to 1.
        """
        return math.exp(-((time_s / self.decorrelation_time_s) ** 2))

    def mixture(self, time_s: float) -> tuple[float, list[tuple[int, float]]]:
        """Return weights of independent matrices whose sum is the medium at a time.

        Parameters
        ----------
        time_s : float
            Time since the start, in seconds.

        Returns
        -------
        first : float
            Weight of the matrix at t = 0.
        others : list of (int, float)
            Numbers (from 1) and weights of further independent matrices of the same statistics; empty at t = 0.

        Notes
        -----
        Z(t) = sum_n w(t - n d) G_n with independent G_n and w(u) = exp(-2 (u/tau_d)^2), a moving average, is a
        stationary Gaussian process with the correlation C(t) = exp(-(t/tau_d)^2). It never comes back: far
        times share no G_n. (A Fourier series in t with a handful of frequencies does come back after a few
        tau_d.) Conditioned on the value T_0 at t = 0 the process is T(t) = C(t) T_0 + Z(t) - C(t) Z(0).
        """
        if time_s == 0 or math.isinf(self.decorrelation_time_s):
            return 1.0, []
        now, start = self._window(time_s), self._window(0.0)
        correlation = sum(weight * start.get(n, 0.0) for n, weight in now.items())
        others = []
        for n in sorted(set(now) | set(start)):
            weight = now.get(n, 0.0) - correlation * start.get(n, 0.0)
            others.append((2 * n + 1 if n >= 0 else -2 * n, weight))
        return correlation, others

    def _window(self, time_s: float) -> dict[int, float]:
        """Weights w(t - n d) of the moving average, d = tau_d / 2, out to 4 standard deviations, of norm 1."""
        spacing = self.decorrelation_time_s / 2
        middle = round(time_s / spacing)
        numbers = range(middle - 4, middle + 5)
        weights = [math.exp(-2 * ((time_s - n * spacing) / self.decorrelation_time_s) ** 2) for n in numbers]
        norm = math.sqrt(sum(w * w for w in weights))
        return {n: w / norm for n, w in zip(numbers, weights, strict=True)}
