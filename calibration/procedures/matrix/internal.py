"""What a matrix measurement with a reference of its own light begins with: the light of each half, and their phase.

With one half A of the inputs stepped, frames show ``|S_A exp(-i d) + R_A|^2``. R_A is all light that stands still: that
of the other half B, and what no level turns. So the fields of A are known times conj(R_A), those of B times conj(R_B).
Both stepped from one pattern, whose field is E, tell how the two references stand to each other:
``E conj(R_A) = q_A + |R_A|^2`` over ``E conj(R_B) = q_B + |R_B|^2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.calibration.algorithms.masks import dark_pixels
from opusim.calibration.algorithms.phase_shifting import least_squares
from opusim.calibration.on_bench import dark_frames, saturation_dn

from .phases import HalvesPlan, random_bits

if TYPE_CHECKING:
    from .steps import Measurement

__all__ = ["fitted_light", "measure_internal_start"]

# Patterns that tell the light of a reference, bursts of the anchor, dark frames.
_PATTERNS, _BURSTS, _DARK = 48, 32, 16
# A reference is speckle, dark where it is dark: below this share of the mean a pixel is left out.
_LEAST_SHARE = 0.02
_ROUNDS = 12
# Share of the patterns that must not saturate in a pixel.
_LEAST_GOOD = 0.5
_LEAST_CORRELATION = 0.3
# Counts in a pixel that no light comes to: their square is a number above 0 still.
_NO_LIGHT = 1e-100


def measure_internal_start(m: Measurement, full_scale_dn: float | None) -> dict[str, np.ndarray]:
    """Measure what is needed once: dark level, the light of both references, how they stand to each other.

    Returns
    -------
    dict of ndarray
        As `opusim.calibration.procedures.matrix.steps.measure_start`, with the reference of the first half, and join,
        complex128 (n_pixels,): by what fields against the second reference are those against the first.

    Raises
    ------
    ValueError
        If there is no light, most pixels saturate, or the fields do not repeat.
    """
    plan = m.plan
    assert isinstance(plan, HalvesPlan)
    limit = saturation_dn(m.bench, m.exposure_s, m.roi, full_scale_dn=full_scale_dn)
    dark = dark_frames(m.bench, m.exposure_s, _DARK, m.roi).reshape(_DARK, -1).mean(axis=0, dtype=np.float64)
    clipped = np.zeros(m.n_pixels, dtype=bool)
    whole = True
    anchors, lights = [], []
    for half, inputs in enumerate(plan.halves):
        base = plan.stepped(half, np.repeat(plan.base[None, inputs], _BURSTS, axis=0))
        random = random_bits(_PATTERNS, len(inputs), "patterns of an internal reference", half)
        q, _, good, whole = _fields(m, base, limit)
        _check_repeats(q, dark, m.exposure_s)
        clipped |= ~good.all(axis=0)
        anchors.append(q.mean(axis=0))
        q, offset, good, _ = _fields(m, plan.stepped(half, random), limit)
        clipped |= good.sum(axis=0) < _LEAST_GOOD * len(good)
        lights.append(fitted_light(q, offset - dark, good))
    joint = [anchor + light for anchor, light in zip(anchors, lights, strict=True)]
    if np.mean(clipped) > 0.5:
        raise ValueError(
            f"More than half of the pixels saturate at an exposure of {m.exposure_s:.4g} s: it must be shorter."
        )
    valid = ~clipped
    for light in (*lights, np.abs(joint[1]) ** 2 / np.maximum(lights[1], 1e-300)):
        valid &= ~dark_pixels(light, least_share=_LEAST_SHARE)
    join = np.where(valid, joint[0] / np.where(valid, joint[1], 1), 0)
    return {
        "full_scale_dn": np.float64(limit), "dark_dn": dark, "reference_dn": lights[0], "anchor": anchors[0],
        "background": lights[0] - anchors[1] * join, "valid": valid, "contrast": np.float64(1.0),
        "rounding_dn2": np.float64(1 / 12 if whole else 0.0), "join": join,
    }  # fmt: skip


def _fields(m: Measurement, codes: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Fields and offsets (n, n_pixels) of patterns, where no frame clips, and whether counts are whole numbers."""
    fields, offsets, good = [], [], []
    whole = True
    for first in range(0, len(codes), m.patterns_at_once):
        frames = m.expose(codes[first : first + m.patterns_at_once])
        fit = least_squares(frames, m.actual_rad, axis=1)
        fields.append(fit.q.astype(np.complex128))
        offsets.append(np.asarray(fit.offset, dtype=np.float64))
        good.append((frames < limit).all(axis=1))
        whole = frames.dtype.kind in "iu"
    return np.concatenate(fields), np.concatenate(offsets), np.concatenate(good), whole


def fitted_light(q: np.ndarray, offset: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Return |R|^2 (n_pixels,) from fields S conj(R) and offsets |S|^2 + |R|^2 of several S, by least squares.

    With P = |q|^2 an offset is P / I + I. One pattern leaves open which of the two is the reference's; many do not.
    Those that are not `good` in a pixel, since a frame saturates, do not count there.
    """
    n = np.maximum(good.sum(axis=0), 1)
    power, offset = np.where(good, np.abs(q) ** 2, 0), np.where(good, offset, 0)
    away = np.where(good, power - power.sum(axis=0) / n, 0)
    covariance = (away * offset).sum(axis=0)
    mean = np.maximum(offset.sum(axis=0) / n, _NO_LIGHT)
    # The slope of offsets against powers is 1 / I; noise makes it smaller, never the light negative.
    with np.errstate(over="ignore"):
        light: Any = np.clip((away**2).sum(axis=0) / np.maximum(covariance, 1e-300), 1e-3 * mean, mean)
    for _ in range(_ROUNDS):  # Gauss and Newton
        slope = np.where(good, 1 - power / light**2, 0)
        rest = offset - power / light - light
        step = (slope * rest).sum(axis=0) / np.maximum((slope**2).sum(axis=0), 1e-300)
        light = np.clip(light + np.clip(step, -0.5 * light, light), 1e-3 * mean, mean)
    found: np.ndarray = light
    return found


def _check_repeats(q: np.ndarray, dark: np.ndarray, exposure_s: float) -> None:
    """Refuse fields of one pattern that have nothing in common."""
    one, other = q[::2].mean(axis=0), q[1::2].mean(axis=0)
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    alike = abs(np.vdot(one, other)) / size if size else 0.0
    if alike < _LEAST_CORRELATION:
        raise ValueError(
            f"The fields of one pattern do not repeat: they correlate by {alike:.2g}, and it must be above "
            f"{_LEAST_CORRELATION:g}. There is no light at an exposure of {exposure_s:.4g} s (the dark level is "
            f"{float(dark.mean()):.3g}), the modulator does not turn phases, or the medium changes within the steps."
        )
