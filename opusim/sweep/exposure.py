"""The exposure at which the mean output is a given share of the full scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from opusim.base import rng
from opusim.tasks.base import as_task

__all__ = ["OUTPUTS", "example_of", "exposure_for_level"]

#: Outputs that the level is measured on, at most.
OUTPUTS = 1024
# Vectors that are shown at each exposure that is tried, and features of those of our own.
_VECTORS, _FEATURES = 64, 1024
_TOLERANCE = 0.01
_LONGEST_US = 60_000_000  # the longest exposure that a device may have


def example_of(task: Any, seed: int, *, phases: bool = False) -> np.ndarray:
    """Return vectors such as a task shows: its attribute `example`, an array or a function of the seed.

    Parameters
    ----------
    task : callable
        The task. Without such an attribute, the vectors are random ones with half of the features on.
    seed : int
        Seed of the point.
    phases : bool
        Whether the device turns phases: random vectors are then phases in turns.

    Returns
    -------
    ndarray
        0/1, or phases, (n, features) or (n, rows, columns).

    Raises
    ------
    ValueError
        If the attribute is something else.
    """
    example = as_task(task).example
    if example is None:
        numbers = rng.uniforms(rng.stream_key(seed, "sweep example"), _VECTORS * _FEATURES)
        values = numbers if phases else (numbers < 0.5).astype(np.uint8)
        return values.reshape(_VECTORS, _FEATURES)
    vectors = np.asarray(example(seed) if callable(example) else example)
    if vectors.ndim not in (2, 3) or not len(vectors):
        raise ValueError(
            f"The task's example has the shape {vectors.shape}, but it must be (n, features) or (n, rows, columns), "
            "with n of at least 1."
        )
    return vectors


def exposure_for_level(opu: Any, share: float, example: np.ndarray) -> float:
    """Find an exposure by trying.

    Parameters
    ----------
    opu : OPU
        An open OPU. It is fitted to the example, shows some vectors of it at each exposure that is tried, and keeps
        the last exposure in its configuration. A sweep gives one whose camera hardly rounds
        (`opusim.sweep.points.without_rounding`): the level is that of the signal, the same for any bits.
    share : float
        Mean output wanted, above the black level, as a share of the camera's full scale above the black level; 0 to 1.
        Outputs that clip count as what they read, the full scale.
    example : ndarray
        Vectors as from `example_of`.

    Returns
    -------
    float
        Exposure in seconds, a whole number of microseconds: the level is right within 1 %, or a microsecond.

    Raises
    ------
    ValueError
        If no exposure gives that level.
    """
    camera = opu.device.device_model.camera
    span_dn = camera.full_scale_dn - camera.black_level_dn
    fit = opu.fit2d if example.ndim == 3 else opu.fit1d
    shown = example[:: max(1, len(example) // _VECTORS)][:_VECTORS]

    def share_at(exposure_us: int) -> float:
        opu.config["output"]["exposure_us"] = exposure_us
        fit(example)
        return (float(np.mean(opu.transform(shown), dtype=np.float64)) - camera.black_level_dn) / span_dn

    # The level rises with the exposure: `low` gives too little, `high` too much, and both are no exposures at first.
    low, high = 0, _LONGEST_US + 1
    exposure_us = int(opu.config["output"]["exposure_us"])
    nearest = math.inf, exposure_us, 0.0
    while high - low > 1:
        exposure_us = min(max(exposure_us, low + 1), high - 1)
        found = share_at(exposure_us)
        nearest = min(nearest, (abs(found - share), exposure_us, found))
        if abs(found - share) <= _TOLERANCE * share:
            return exposure_us * 1e-6
        if found < share:
            low = exposure_us
        else:
            high = exposure_us
        # In proportion, as without clipping; halfway (in ratio) where that leads out of what is known.
        guess = exposure_us * share / found if found > 0 else exposure_us * 100.0
        exposure_us = round(guess if low < guess < high else math.sqrt(max(low, 1) * high))
    _, exposure_us, found = nearest
    if low == 0 or high > _LONGEST_US:
        limit, light = ("shortest exposure, 1 µs", "less") if low == 0 else ("longest exposure, 60 s", "more")
        raise ValueError(
            f"exposure.mean_level is {share:g}, but at the {limit}, it is {found:.3g}: {light} light (laser.power_w), "
            "or another camera, is needed."
        )
    return exposure_us * 1e-6
