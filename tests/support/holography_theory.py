"""Closed forms of phase-shifting holography: noise, phase errors, power noise, the best reference.

Frame k shows I_k = |S + R exp(i d_k)|^2 electrons, with N frames of equal steps over a turn unless phases are given.
A linear algorithm estimates q = S conj(R) as sum of c_k I_k. (Creath in Progress in Optics 26, 349, 1988, and
Malacara, Interferogram Analysis, ch. 6, for phase-shifting algorithms; the forms here are derived in the docstrings.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

__all__ = [
    "best_reference_ratio",
    "camera_noise_e",
    "error_response",
    "field_variance_e",
    "jitter_error",
    "miscalibration_phase_error",
    "noise_error",
    "noise_gain",
    "power_noise_error",
    "signal_at_full_scale_e",
]


def camera_noise_e(read_noise_e: float, gain_dn_per_e: float = np.inf) -> float:
    """Noise of a frame that does not come from light, in electrons: sqrt(sigma_d^2 + sigma_q^2 / K^2).

    Parameters
    ----------
    read_noise_e : float
        Temporal dark noise sigma_d in electrons.
    gain_dn_per_e : float, optional
        System gain K; rounding adds sigma_q^2 = 1/12 DN^2 (EMVA 1288 release 4, section 2). No rounding by default.
    """
    return float(np.sqrt(read_noise_e**2 + 1 / (12 * gain_dn_per_e**2)))


def noise_gain(phases_rad: ArrayLike) -> float:
    """Variance of q from least squares over that of one frame: trace of the field's part of (A' A)^-1.

    Columns of A are 1, 2 cos d, 2 sin d. It is 1/N for N equal steps over a turn, its least value.
    """
    d = np.asarray(phases_rad, dtype=np.float64)
    columns = np.stack([np.ones_like(d), 2 * np.cos(d), 2 * np.sin(d)], axis=1)
    return float(np.trace(np.linalg.inv(columns.T @ columns)[1:, 1:]))


def field_variance_e(
    n_steps: int, signal_e: ArrayLike, reference_e: ArrayLike, camera_noise: float = 0.0
) -> NDArray[np.float64]:
    """Variance of the estimated field S = q / |R| in electrons, both quadratures together.

    Parameters
    ----------
    n_steps : int
        Number N of equal steps over a turn.
    signal_e, reference_e : array_like of float
        |S|^2 and |R|^2 in electrons per frame.
    camera_noise : float, optional
        sqrt(sigma_d^2 + sigma_q^2 / K^2) in electrons (`camera_noise_e`).

    Returns
    -------
    ndarray of float64
        (1 + |S|^2/|R|^2 + (sigma_d^2 + sigma_q^2/K^2)/|R|^2) / N.

    Notes
    -----
    q = (1/N) sum of I_k exp(i d_k), and Var I_k = |S + R exp(i d_k)|^2 + sigma_d^2 + sigma_q^2/K^2 has the mean
    |S|^2 + |R|^2 + sigma_d^2 + sigma_q^2/K^2 over the steps: Var q is that over N.
    """
    s, r = np.asarray(signal_e, dtype=np.float64), np.asarray(reference_e, dtype=np.float64)
    return (1 + s / r + camera_noise**2 / r) / n_steps


def noise_error(n_steps: int, mean_signal_e: float, ratio: float, camera_noise: float = 0.0) -> float:
    """Relative rms error of the field over speckle: sqrt(mean of `field_variance_e` / mean |S|^2).

    Parameters
    ----------
    n_steps : int
        Number of steps.
    mean_signal_e : float
        Mean of |S|^2 in electrons per frame.
    ratio : float
        |R| over the rms of |S|.
    camera_noise : float, optional
        As in `field_variance_e`.
    """
    variance = field_variance_e(n_steps, mean_signal_e, ratio**2 * mean_signal_e, camera_noise)
    return float(np.sqrt(variance / mean_signal_e))


def jitter_error(sigma_rad: float, n_steps: int) -> float:
    """Relative error of the field from independent errors of each step: sigma sqrt(2/N).

    An error e_k changes I_k by 2 Im(q exp(-i d_k)) e_k, of mean square 2 |q|^2 sigma^2 over the steps; q averages N.
    """
    return float(sigma_rad * np.sqrt(2 / n_steps))


def power_noise_error(power_noise: float, n_steps: int, ratio: float, *, speckle: bool = True) -> float:
    """Relative rms error of the field from frame-to-frame power noise.

    Parameters
    ----------
    power_noise : float
        Relative standard deviation g of a frame's power.
    n_steps : int
        Number N of steps.
    ratio : float
        rho = |R| over the rms of |S|.
    speckle : bool, optional
        Whether |S|^2 follows the exponential law of speckle (default), or is the same in all pixels.

    Returns
    -------
    float
        g sqrt(<(|R|^2 + |S|^2)^2 + 2 |R|^2 |S|^2>) / (|R| |S|rms sqrt N), that is g sqrt(rho^4 + 4 rho^2 + m) /
        (rho sqrt N) with m = <|S|^4>/<|S|^2>^2: 2 for speckle, 1 without.

    Notes
    -----
    Frame k errs by g_k I_k, and the mean of I_k^2 over the steps is (|R|^2 + |S|^2)^2 + 2 |R|^2 |S|^2.
    """
    moment = 2.0 if speckle else 1.0
    return float(power_noise * np.sqrt(ratio**4 + 4 * ratio**2 + moment) / (ratio * np.sqrt(n_steps)))


def error_response(coefficients: ArrayLike, phases_rad: ArrayLike) -> tuple[complex, complex]:
    """Response of a linear algorithm to frames at other phases than its own: q estimated is b q + c conj(q).

    Parameters
    ----------
    coefficients : array_like of complex, shape (steps,)
        c_k of q = sum of c_k I_k; their sum is 0.
    phases_rad : array_like of float, shape (steps,)
        The phases that the frames have.

    Returns
    -------
    b, c : complex
        sum of c_k exp(-i d_k) and sum of c_k exp(i d_k). The phase error swings by 2 arcsin |c/b| peak to valley as
        the phase of q goes round, beside a constant; the relative error of the field beside it is |c/b|.
    """
    weights, d = np.asarray(coefficients, dtype=np.complex128), np.asarray(phases_rad, dtype=np.float64)
    return complex(weights @ np.exp(-1j * d)), complex(weights @ np.exp(1j * d))


def miscalibration_phase_error(error: float, n_steps: int, *, schwider_hariharan: bool = False) -> float:
    """Peak-to-valley phase error when all steps are too long by a share `error`.

    Parameters
    ----------
    error : float
        Relative error e of the phase shifter's scale.
    n_steps : int
        Number N of equal steps over a turn (5 steps of a quarter turn for Schwider and Hariharan's algorithm).
    schwider_hariharan : bool, optional
        Whether the five-step algorithm is meant.

    Returns
    -------
    float
        In radians. 2 arcsin |sin(pi e/N) / sin(pi (2 + e)/N)|: geometric sums of `error_response`. Schwider and
        Hariharan: 2 arcsin((1 - cos(pi e/2)) / (1 + cos(pi e/2))), of second order in e. Carré's algorithm: 0.

    Notes
    -----
    For e = .05: .125 (N = 3), .079 (4), .055 (8) and .003 (Schwider and Hariharan).
    """
    if schwider_hariharan:
        cosine = np.cos(np.pi * error / 2)
        return float(2 * np.arcsin((1 - cosine) / (1 + cosine)))
    return float(2 * np.arcsin(min(1.0, abs(np.sin(np.pi * error / n_steps) / np.sin(np.pi * (2 + error) / n_steps)))))


def signal_at_full_scale_e(full_scale_e: float, ratio: float, headroom: float) -> float:
    """Mean signal at which (|R| + h |S|rms)^2 fills the range: F / (rho + h)^2 electrons.

    Parameters
    ----------
    full_scale_e : float
        Electrons F at which a pixel saturates.
    ratio : float
        rho = |R| over the rms of |S|.
    headroom : float
        h: a share exp(-h^2) of speckle is brighter than h |S|rms, and saturates in a step that meets its phase.
    """
    return full_scale_e / (ratio + headroom) ** 2


def best_reference_ratio(headroom: float, camera_noise: float = 0.0, full_scale_e: float = np.inf) -> float:
    """Return rho = |R| / |S|rms of least relative error where the range of a frame is what limits.

    Parameters
    ----------
    headroom : float
        h of `signal_at_full_scale_e`, at least 1.
    camera_noise : float, optional
        sigma_n = sqrt(sigma_d^2 + sigma_q^2/K^2) in electrons.
    full_scale_e : float, optional
        Electrons F at full scale.

    Returns
    -------
    float
        The root of rho^3 - h + (sigma_n^2/F) (rho + h)^2 (rho - h): h^(1/3) where shot noise rules, rising to h where
        the camera's noise does.

    Raises
    ------
    ValueError
        If the headroom is below 1.

    Notes
    -----
    With the signal of `signal_at_full_scale_e` the squared error of `noise_error` is ((1 + rho^-2)(rho + h)^2 +
    (sigma_n^2/F) (rho + h)^4 rho^-2) / (N F); its derivative vanishes at that root. Power noise and what the
    reference hides of dark speckle are not in it.
    """
    if not headroom >= 1:
        raise ValueError(f"headroom is {headroom!r}, but it must be a number of at least 1.")
    noise = camera_noise**2 / full_scale_e
    low, high = headroom ** (1 / 3), float(headroom)
    if noise == 0 or low == high:
        return float(low)
    return float(
        optimize.brentq(lambda x: x**3 - headroom + noise * (x + headroom) ** 2 * (x - headroom), low, high, xtol=1e-12)
    )
