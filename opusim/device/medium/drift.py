"""Slow decorrelation of a medium, in small steps that each have one matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from opusim.base import elementary
from opusim.base.user_arrays import checked_array

# One state of a drifting medium holds until its correlation with the state that it stands for has fallen
# by this much: an intensity error of sqrt(2 x 2e-5), well under one percent of the mean, below a grey level.
STATE_DECORRELATION = 1e-5
# The mean over an exposure of T is one over n moments: up to the first ratio T / tau_d the middle alone, which leaves
# out 1.3e-4 of the contrast's square; up to the second those of Gauss and Legendre, which take a smooth path of the
# field as it is (the contrast's square to 1.2e-4); above 64 in equal steps, to 2 % of it up to 64 tau_d. Then a
# contrast of 1/8 stays.
_ONE_UP_TO, _GAUSS_UP_TO, _MOST_MOMENTS = 0.02, 16.0, 64
_MOST_STATES = 2.0**53
#: Equal parts of an exposure in which what moves beside the medium is given. What is faster than a part is left to its
#: mean there, which is wrong by 1 / (2 pi 256) of it, 6e-4, at most. A multiple of the most moments.
PARTS = 256
#: Longest exposure, in decorrelation times, whose contrast the moments have.
LONGEST = float(_MOST_MOMENTS)


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
    def still(self) -> bool:
        """Whether there is one state alone."""
        return math.isinf(self.decorrelation_time_s)

    @property
    def ends_s(self) -> float:
        """Time in seconds behind which nothing is known of the medium; `inf` where a law tells it."""
        return math.inf

    @property
    def begins_s(self) -> tuple[float, ...]:
        """Starts of states that were measured, in seconds; none where a law tells how the medium changes."""
        return ()

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
        times = checked_array("time_s", time_s, dtype=np.float64, finite=not math.isinf(self.decorrelation_time_s))
        return self.state_at(times)

    def check(self, name: str, time_s: float) -> None:
        """Raise an error if states cannot be counted up to a time.

        Parameters
        ----------
        name : str
            What it is called in the sentence.
        time_s : float
            Time in seconds.

        Raises
        ------
        ValueError
            If there are 2^53 states or more before it: a double would not tell one from the next.
        """
        if not abs(time_s) < self.step_s * _MOST_STATES:
            raise ValueError(
                f"{name} reaches {time_s:.6g} s, but it must be below {self.step_s * _MOST_STATES:.4g} s with "
                f"medium.decorrelation_time_s = {self.decorrelation_time_s!r}: its states of {self.step_s:.3g} s are "
                "counted to 2^53 only."
            )

    def state_at(self, times: np.ndarray, name: str = "time_s") -> np.ndarray:
        """Return what `state` does, for times of a clock of the package's own, which are known to be numbers.

        Parameters
        ----------
        times : ndarray of float64
            Times in seconds.
        name : str, optional
            What they are called in an error.

        Returns
        -------
        ndarray of int64
            Numbers from 0 on.

        Raises
        ------
        ValueError
            As from `check`.
        """
        if math.isinf(self.decorrelation_time_s):
            return np.zeros(times.shape, dtype=np.int64)
        if times.size:
            self.check(name, float(np.abs(times).max()))
        return np.floor(times / self.step_s).astype(np.int64)

    def state_of(self, time_s: float, name: str = "time_s") -> int:
        """Return what `state_at` does, for one time.

        Parameters
        ----------
        time_s : float
            Time in seconds.
        name : str, optional
            What it is called in an error.

        Returns
        -------
        int
            Number of the state, from 0 on.

        Raises
        ------
        ValueError
            As from `check`.
        """
        if math.isinf(self.decorrelation_time_s):
            return 0
        self.check(name, time_s)
        return math.floor(time_s / self.step_s)

    def moves_within(self, exposure_s: float) -> bool:
        """Return whether an exposure is longer than a state, so that it sees a mean over several.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        bool
            A shorter one sees the state in which it begins: what it leaves out is what states leave out.
        """
        return exposure_s > self.step_s

    def within(self, time_s: float, exposure_s: float) -> list[tuple[int, float]]:
        """Return states of the medium whose intensities an exposure averages, and the part of each.

        Parameters
        ----------
        time_s : float
            When the exposure begins, in seconds.
        exposure_s : float
            How long it is, in seconds.

        Returns
        -------
        list of (int, float)
            Numbers of states, rising, and weights whose sum is 1: the moments of a quadrature, each in the state that
            holds then. At most 64.

        Notes
        -----
        The mean over T of ``|S|^2`` has the contrast K of `opusim.theory.exposure_contrast`. With n = 2 + 2 T / tau_d
        moments of Gauss and Legendre its square is right to 1.2e-4 up to T = 16 tau_d; 64 moments in equal steps stand
        for more, good to 2 % up to 64 tau_d (``LONGEST``). Beyond, the contrast stays at 1/8, and a bench says so.
        """
        if not self.moves_within(exposure_s):
            return [(self.state_of(time_s), 1.0)]
        moments, weights = _moments(exposure_s / self.decorrelation_time_s)
        found: dict[int, float] = {}
        for state, weight in zip(self.state_at(time_s + exposure_s * moments).tolist(), weights.tolist(), strict=True):
            found[state] = found.get(state, 0.0) + weight
        return list(found.items())

    def within_parts(self, time_s: float, exposure_s: float) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Return states that an exposure averages, and what each takes of something that moves beside the medium.

        Parameters
        ----------
        time_s, exposure_s : float
            As for `within`.

        Returns
        -------
        states : list of int
            Numbers of states, rising; one may come twice.
        weights : ndarray of float64, shape (n,)
            Their parts of the exposure, of sum 1.
        shares : ndarray of float64, shape (n, PARTS)
            With p the means of a phasor over 256 equal parts of the exposure (``PARTS``), m = shares . p is its value
            for each state: the sum of w S m is the mean of S p.

        Notes
        -----
        Between the moments of Gauss and Legendre the field of the medium is the polynomial of degree n - 1 through
        them, and m is the projection of p onto such polynomials: ``m_k = sum_j (2 j + 1) P_j(x_k) <P_j p>``. The mean
        of S p is then right where either of the two is smooth. With w the weights, the sum of ``w |m|^2`` is at most
        the mean of ``|p|^2``, as polynomials through such moments are orthogonal. Moments in equal steps take the mean
        over their own step, which is a projection too.
        """
        if not self.moves_within(exposure_s):
            moments, weights, shares = np.zeros(1), np.ones(1), np.full((1, PARTS), 1 / PARTS)
        else:
            ratio = exposure_s / self.decorrelation_time_s
            (moments, weights), shares = _moments(ratio), _shares(ratio)
        return self.state_at(time_s + exposure_s * moments).tolist(), weights, shares

    def contrast(self, exposure_s: float) -> float:
        """Return the contrast that the moments of an exposure leave of speckle.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            The law is `opusim.theory.exposure_contrast`: K^2 is right to 2 % up to 64 times the decorrelation time.
        """
        if not self.moves_within(exposure_s):
            return 1.0
        ratio = exposure_s / self.decorrelation_time_s
        moments, weights = _moments(ratio)
        apart = ratio * (moments[:, None] - moments)
        left = np.maximum(-2 * apart * apart, -700.0)  # of what is less nothing is seen
        return math.sqrt(float((weights[:, None] * weights * elementary.exp(left)).sum()))

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
        late = (time_s - spacing * np.array(numbers)) / self.decorrelation_time_s
        weights = elementary.exp(-2 * late * late).tolist()
        norm = math.sqrt(sum(w * w for w in weights))
        return {n: w / norm for n, w in zip(numbers, weights, strict=True)}


@dataclass(frozen=True)
class StateSequence(Drift):
    """States that were measured one after the other: each holds until the next one begins, the last one for ever.

    Parameters
    ----------
    decorrelation_time_s : float
        `inf`: there is no law beside them.
    times_s : tuple of float
        Start of each state in seconds, rising from 0.
    """

    decorrelation_time_s: float = math.inf
    times_s: tuple[float, ...] = (0.0,)

    @property
    def still(self) -> bool:
        """Whether there is one state alone."""
        return len(self.times_s) == 1

    @property
    def ends_s(self) -> float:
        """Time in seconds at which the last state has taken as long as the one before it, whose end was measured."""
        return math.inf if self.still else 2 * self.times_s[-1] - self.times_s[-2]

    @property
    def begins_s(self) -> tuple[float, ...]:
        """Starts of the states in seconds; none where there is one alone."""
        return () if self.still else self.times_s

    @property
    def step_s(self) -> float:
        """Duration of the shortest state in seconds."""
        return math.inf if self.still else float(np.diff(self.times_s).min())

    def within_range(self, state: int) -> int:
        """Return a state, or the last one for a number that is beyond it.

        Parameters
        ----------
        state : int
            Number of a state.

        Returns
        -------
        int
            One that there is.
        """
        return min(state, len(self.times_s) - 1)

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
        return self.state_at(checked_array("time_s", time_s, dtype=np.float64, finite=True))

    def check(self, name: str, time_s: float) -> None:
        """Do nothing: the last state holds for ever.

        Parameters
        ----------
        name : str
            What it is called in the sentence of an error that there never is.
        time_s : float
            Time in seconds.
        """

    def state_at(self, times: np.ndarray, name: str = "time_s") -> np.ndarray:
        """Return the number of the last state that has begun at each time.

        Parameters
        ----------
        times : ndarray of float64
            Times in seconds.
        name : str, optional
            What they are called in an error that there never is.

        Returns
        -------
        ndarray of int64
            Numbers from 0 on.
        """
        found = np.searchsorted(np.array(self.times_s), times, side="right") - 1
        return np.maximum(found, 0).astype(np.int64)

    def state_of(self, time_s: float, name: str = "time_s") -> int:
        """Return what `state_at` does, for one time.

        Parameters
        ----------
        time_s : float
            Time in seconds.
        name : str, optional
            What it is called in an error that there never is.

        Returns
        -------
        int
            Number of the state, from 0 on.
        """
        return int(self.state_at(np.array([time_s]), name)[0])

    def within(self, time_s: float, exposure_s: float) -> list[tuple[int, float]]:
        """Return states whose intensities an exposure averages, and the part of it that each takes.

        The mean is exact, as each state holds for a time.

        Parameters
        ----------
        time_s : float
            When the exposure begins, in seconds.
        exposure_s : float
            How long it is, in seconds.

        Returns
        -------
        list of (int, float)
            Numbers of states, rising, and weights whose sum is 1.
        """
        states, edges = self._spans(time_s, exposure_s)
        return list(zip(states, np.diff(edges).tolist(), strict=True))

    def within_parts(self, time_s: float, exposure_s: float) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Return states that an exposure averages, and what each takes of what moves beside the medium.

        Each takes the mean over its own time, where a part of the exposure that two states share counts for both by
        its share.

        Parameters
        ----------
        time_s : float
            When the exposure begins, in seconds.
        exposure_s : float
            How long it is, in seconds.

        Returns
        -------
        states : list of int
            Numbers of states, rising.
        weights : ndarray of float64, shape (n,)
            Their parts of the exposure, of sum 1.
        shares : ndarray of float64, shape (n, PARTS)
            As from `Drift.within_parts`.
        """
        states, edges = self._spans(time_s, exposure_s)
        weights, parts = np.diff(edges), np.arange(PARTS + 1) / PARTS
        shares = np.empty((len(states), PARTS))
        for k, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            shares[k] = np.diff(np.clip(parts, start, end)) / (end - start)
        return states, weights, shares

    def _spans(self, time_s: float, exposure_s: float) -> tuple[list[int], np.ndarray]:
        """Return the states that an exposure sees, and their edges in parts of it, from 0 to 1."""
        if not self.moves_within(exposure_s):
            return [int(self.state_at(np.array([time_s]))[0])], np.array([0.0, 1.0])
        first, last = self.state_at(np.array([time_s, time_s + exposure_s])).tolist()
        inner = (np.array(self.times_s[first + 1 : last + 1]) - time_s) / exposure_s
        edges = np.concatenate([[0.0], np.clip(inner, 0.0, 1.0), [1.0]])
        seen = np.flatnonzero(np.diff(edges) > 0)
        return [first + int(k) for k in seen], np.concatenate([[0.0], edges[seen + 1]])

    def contrast(self, exposure_s: float) -> float:
        """Return 1: what an exposure leaves of speckle depends on the matrices that were measured.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            1.
        """
        return 1.0

    def correlation(self, time_s: float) -> float:
        """Raise an error: only the matrices say how alike two states are.

        Parameters
        ----------
        time_s : float
            Time since the start, in seconds.

        Returns
        -------
        float
            Never.

        Raises
        ------
        NotImplementedError
            `Medium.field_correlation` compares the matrices.
        """
        raise NotImplementedError(
            "A sequence of measured states follows no law: medium.field_correlation compares their matrices."
        )

    def time(self, state: int) -> float:
        """Return when a state begins.

        Parameters
        ----------
        state : int
            Number of the state.

        Returns
        -------
        float
            Seconds.
        """
        return self.times_s[self.within_range(state)]

    def mixture(self, time_s: float) -> tuple[float, list[tuple[int, float]]]:
        """Return the weight 1 alone: the matrix of a state is that of the file.

        Parameters
        ----------
        time_s : float
            Time since the start, in seconds.

        Returns
        -------
        first : float
            1.
        others : list
            Empty.
        """
        return 1.0, []


@lru_cache(maxsize=64)
def _moments(ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments from 0 to 1, rising, and weights of a mean over an exposure of so many decorrelation times."""
    if ratio > _GAUSS_UP_TO:
        return (np.arange(_MOST_MOMENTS) + 0.5) / _MOST_MOMENTS, np.full(_MOST_MOMENTS, 1 / _MOST_MOMENTS)
    n = 1 if ratio <= _ONE_UP_TO else 2 + math.ceil(2 * ratio)
    # Roots of the Legendre polynomial by Newton's method, from Tricomi's start; numpy's go by LAPACK, whose last bits
    # depend on the processor.
    x = elementary.cos(np.pi * (np.arange(1, n + 1) - 0.25) / (n + 0.5))
    slope = np.ones(n)
    for _ in range(8):
        before, value = np.ones(n), x
        for degree in range(2, n + 1):
            before, value = value, ((2 * degree - 1) * x * value - (degree - 1) * before) / degree
        slope = n * (x * value - before) / (x * x - 1)
        x = x - value / slope
    weights = 1 / ((1 - x * x) * slope * slope)
    return (1 - x) / 2, weights / weights.sum()


@lru_cache(maxsize=64)
def _shares(ratio: float) -> np.ndarray:
    """Return what the value at each of `_moments` takes of the means over `PARTS` equal parts: float64 (n, PARTS)."""
    moments, _ = _moments(ratio)
    n = len(moments)
    if ratio > _GAUSS_UP_TO:
        return np.repeat(np.eye(n), PARTS // n, axis=1) * (n / PARTS)
    at, edges = _legendre(n, 2 * moments - 1), _legendre(n + 1, 2 * np.arange(PARTS + 1) / PARTS - 1)
    shares = np.full((n, PARTS), 1 / PARTS)
    for j in range(1, n):
        # (2 j + 1) times the integral of P_j is P_(j + 1) - P_(j - 1); over -1 to 1 in place of 0 to 1, twice as much.
        shares += at[j][:, None] * np.diff(edges[j + 1] - edges[j - 1]) / 2
    return shares


def _legendre(n: int, x: np.ndarray) -> np.ndarray:
    """Return the first n Legendre polynomials at some places, by their recurrence: float64 (n, len(x))."""
    values = np.ones((n, len(x)))
    if n > 1:
        values[1] = x
    for j in range(2, n):
        values[j] = ((2 * j - 1) * x * values[j - 1] - (j - 1) * values[j - 2]) / j
    return values
