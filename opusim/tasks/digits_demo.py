"""The demonstration: handwritten digits through the optical device, and what a linear classifier makes of them.

The images are the 8x8 digits that come with scikit-learn, so nothing is downloaded. Each image is shown on the
mirrors, the camera's grey levels are the features, and a ridge classifier on them is compared with the same
classifier on the binary pixels themselves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from opusim import datasets
from opusim.base.short_repr import short_repr
from opusim.bench.bench import OpticalBench
from opusim.bench.driver import check_driver_of_bits
from opusim.bench.protocol import output_roi_of
from opusim.device.record import Device
from opusim.patterns.layout import MirrorPatterns

from .image_sets import IMAGE_SETS

__all__ = ["DemoResult", "run"]

# Penalties among which each classifier picks its own, by cross-validation within the training images.
PENALTIES = 10.0 ** np.arange(0, 8)
# Region of the sensor of which one frame is taken: rows and columns, less where the sensor is smaller.
FRAME = (128, 512)
# Part of it that is shown.
WINDOW = (60, 75)
# Test image that is shown: a zero that is easily read.
SHOWN = 19


@short_repr
@dataclass(frozen=True)
class DemoResult:
    """What the demonstration found.

    Attributes
    ----------
    device : Device
        The device that was simulated.
    n_train, n_test, n_features, n_components : int
        Sizes.
    accuracy_pixels, accuracy_counts : float
        Share of test images that are classified rightly, from the binary pixels and from the camera's counts.
    mean_level_dn : float
        Mean of all counts in grey levels.
    n_on : float
        Mean number of mirrors that were on.
    exposure_s : float
        Exposure that the driver chose.
    frames : int
        Frames that the device has shown.
    device_s, device_j : float
        Seconds and joules that the real device would have needed.
    wall_s : float
        Seconds that the simulation of these frames took.
    mirrors : ndarray of uint8, shape (rows, columns)
        The mirrors of one image.
    window : ndarray
        A part of the sensor with these mirrors, one frame.
    counts : ndarray
        The counts of a larger part of that frame.
    label : int
        The digit of that image.
    """

    device: Device
    n_train: int
    n_test: int
    n_features: int
    n_components: int
    accuracy_pixels: float
    accuracy_counts: float
    mean_level_dn: float
    n_on: float
    exposure_s: float
    frames: int
    device_s: float
    device_j: float
    wall_s: float
    mirrors: np.ndarray
    window: np.ndarray
    counts: np.ndarray
    label: int


def run(opu: Any, *, say: Callable[[str], None] | None = None) -> DemoResult:
    """Project the digits, train two classifiers and take one frame for the picture.

    Parameters
    ----------
    opu : OPU
        An open OPU; its `n_components` sets the number of outputs.
    say : callable, optional
        Told, in a few words, what is being done.

    Returns
    -------
    DemoResult
        What was found.

    Raises
    ------
    ValueError
        If the device turns phases: the digits are bits.
    """
    check_driver_of_bits(opu, "This demonstration")
    say = say or (lambda text: None)
    bench: OpticalBench = opu.bench
    digits = datasets.load("digits")
    train, test = _binary(digits.x_train), _binary(digits.x_test)

    say("Compiling the kernels (some seconds, on the first use only)")
    opu.fit2d(np.concatenate([train, test]))
    opu.transform(train[:1])

    say(f"Showing {len(train) + len(test)} images on the mirrors")
    frames, device_s, device_j = bench.clock.frames, bench.clock.elapsed_s, bench.clock.energy_j
    start = time.perf_counter()
    train_counts, test_counts = opu.transform(train), opu.transform(test)
    wall_s = time.perf_counter() - start
    frames, device_s = bench.clock.frames - frames, bench.clock.elapsed_s - device_s
    device_j = bench.clock.energy_j - device_j

    say("Training the classifiers")
    pixels = _accuracy(train, digits.y_train, test, digits.y_test)
    counts = _accuracy(train_counts, digits.y_train, test_counts, digits.y_test)

    say("Taking a frame")
    context = test_counts.context
    layout = opu.current_fit.layout
    patterns = MirrorPatterns(test[SHOWN].reshape(1, -1), layout)
    exposure_s = context.exposure_us * 1e-6
    row, column, rows, columns = output_roi_of(bench) or (0, 0, *bench.sensor_shape)
    height, width = min(FRAME[0], rows), min(FRAME[1], columns)
    if (
        output_roi_of(bench) is None and bench.input_layout is not None
    ):  # its medium may be known for few pixels, too: no more than there were outputs
        height, width = (min(size, math.isqrt(train_counts.shape[1])) for size in (height, width))
    roi = (row + (rows - height) // 2, column + (columns - width) // 2, height, width)
    frame = bench.expose(patterns, exposure_s=exposure_s, roi=roi)[0]
    return DemoResult(
        device=bench.device,
        n_train=len(train),
        n_test=len(test),
        n_features=train[0].size,
        n_components=train_counts.shape[1],
        accuracy_pixels=pixels,
        accuracy_counts=counts,
        mean_level_dn=float(train_counts.mean()),
        n_on=float(context.n_ones),
        exposure_s=exposure_s,
        frames=frames,
        device_s=device_s,
        device_j=device_j,
        wall_s=wall_s,
        mirrors=patterns.to_mirrors()[0],
        window=frame[: WINDOW[0], : WINDOW[1]].copy(),
        counts=frame,
        label=int(digits.y_test[SHOWN]),
    )


def _binary(images: np.ndarray) -> np.ndarray:
    return (images > IMAGE_SETS["digits"].threshold).astype(np.uint8)


def _accuracy(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    from sklearn.linear_model import RidgeClassifierCV

    x_train, x_test = (np.asarray(x, np.float32).reshape(len(x), -1) for x in (x_train, x_test))
    return float(RidgeClassifierCV(PENALTIES).fit(x_train, y_train).score(x_test, y_test))
