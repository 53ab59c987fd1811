"""What rounding leaves in means of frames: the dark level, |R|^2 and the background of the linear mode."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from scipy import special

from .noise_light import FrameLight
from .noise_sources import WorkingPoint

__all__ = ["rounding_of_means"]


def rounding_of_means(point: WorkingPoint, off: Collection[str], light: FrameLight) -> tuple[float, float]:
    """Variance over pixels, in electrons^2, of means of rounded frames: dark ones, and ones of the reference alone.

    A mean of rounded levels is exact only as far as the noise of a frame spreads them over more than a step (dither).
    """
    camera = point.device.camera
    if not camera.quantise or "quantisation" in off:
        return 0.0, 0.0
    gain = camera.gain_dn_per_e
    dark_e = 0.0 if "dark current" in off else point.dark_e
    dsnu_e = 0.0 if "DSNU" in off else camera.dsnu_e
    prnu = 0.0 if "PRNU" in off else camera.prnu
    leakage = 0.0 if "off-state leakage" in off else point.leakage
    read_e = 0.0 if "read noise" in off else camera.read_noise_e
    shot = camera.shot_noise and "shot noise" not in off
    # Off mirrors interfere with the reference: 2 Re(eps S_1 conj(R)), f S_1 having about the power of S.
    beat_e = math.sqrt(2 * light.reference * leakage * light.field / point.share_on)
    found = []
    for bright_e, beat in ((0.0, 0.0), (light.reference, beat_e)):
        level_e = dark_e + bright_e
        spread_e = math.hypot(dsnu_e, prnu * bright_e, beat)
        noise_e = math.sqrt(read_e**2 + shot * level_e)
        level_dn = camera.black_level_dn + gain * level_e
        found.append(_rounding_variance(level_dn, gain * spread_e, gain * noise_e) / gain**2)
    return found[0], found[1]


def _rounding_variance(level: float, spread: float, noise: float) -> float:
    """Variance over pixels of what is wrong with the mean of many rounded frames of a pixel.

    Levels of pixels spread normally, those of a pixel's frames too, about its own. Levels below 0 read 0.
    """
    nodes = np.linspace(-6, 6, 241)
    weight = np.exp(-0.5 * nodes**2)
    weight /= weight.sum()
    levels = level + spread * nodes
    width = max(noise, 1e-6)
    first = max(0, math.floor(levels[0] - 8 * width))
    steps = np.arange(first + 1, math.ceil(levels[-1] + 8 * width) + 1)
    # The mean of rounded levels: the sum of the probabilities of reaching each.
    wrong = first + special.ndtr((levels[:, None] - steps + 0.5) / width).sum(axis=1) - levels
    return float(weight @ np.square(wrong - weight @ wrong))
