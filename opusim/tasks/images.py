"""Task: a ridge classifier on the counts of images."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim import datasets
from opusim.applications.ridge import ridge_classifier
from opusim.base import validation
from opusim.bench.driver import check_device_of_bits, check_driver_of_bits
from opusim.bench.protocol import elapsed_s, wait

from .choosing import ImageTask
from .image_sets import IMAGE_SETS, LISTED
from .registry import task

if TYPE_CHECKING:
    from opusim.device.record import Device
    from opusim.sweep.points import Axis, Setting

__all__ = ["KernelRidge"]

# A medium whose correlation stays above 1 - 1e-4, or a laser whose power stays within that, is as good as still.
_STILL = 1e-4
# Relative to the mean variance of an output. Noise is a penalty by itself, of about its share of the variance.
_PENALTIES = tuple(10.0**k for k in range(-6, 2))


@task({name: {"dataset": name} for name in LISTED}, what="ridge classifier on counts", order=10)
@dataclass(frozen=True)
class KernelRidge(ImageTask):
    """Accuracy of a ridge classifier on the counts of images: kernel ridge by random features.

    Binary images are shown by `fit2d`, pixels above a threshold being on.

    Parameters
    ----------
    dataset : {"mnist", "fashion-mnist", "digits"}
        Images.
    n_train, n_test : int
        Images to learn from and to test on, chosen at random by the seed; 0 for all.
    validation_share : float
        Share of the training images that pick the penalty, among eight from 1e-6 to 10 times the variance.
    pause_s : float
        Device time that passes between the training images and the test images, in seconds.

    Notes
    -----
    Returns `accuracy` (on the test images), `validation_accuracy`, `penalty` (over the mean variance), `mean_level`
    (mean of the counts, rounded as they are, above the black level, over the full scale above it), `clipped` (share of
    the counts at full scale), `exposure_us` and `device_s` (time on the device's clock).
    """

    validation_share: float = 0.1
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        """Check every parameter."""
        super().__post_init__()
        validation.number("validation_share", self.validation_share, low=0.01, high=0.5)
        validation.number("pause_s", self.pause_s, low=0.0, high=1e9)
        if 0 < self.n_train < 20:
            raise ValueError(f"n_train is {self.n_train}, but it must be 0 (all images) or at least 20.")

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.dataset

    def check(self, device: Device, n_components: int) -> None:
        """Refuse what cannot be done: the images must be there, and so many.

        Parameters
        ----------
        device : Device
            What is simulated at a point.
        n_components : int
            Outputs at that point.

        Raises
        ------
        ValueError, FileNotFoundError
            If it cannot.
        """
        check_device_of_bits(device, "A task on binary images")
        self.images(0)

    def check_sweep(self, axes: Sequence[Axis], settings: Sequence[Setting]) -> None:
        """Refuse to vary what has no effect on counts, or needs time to have one where none passes.

        Parameters
        ----------
        axes : sequence of Axis
            What is varied.
        settings : sequence of Setting
            Values of each point.

        Raises
        ------
        ValueError
            If something has none.
        """
        for axis in axes:
            if len(axis.values) < 2:
                continue
            if axis.path.startswith("reference."):
                raise ValueError(f"{axis.path} has no effect here: counts are taken with the reference arm closed.")
            if axis.path in _NEEDS_TIME and all(_NEEDS_TIME[axis.path](s) < _STILL for s in settings):
                raise ValueError(
                    f"{axis.path} has no effect here: all images are shown within {_duration_s(settings[0]):.2g} s, "
                    "and nothing passes between training and test. Set the task's pause_s, as in --set pause_s=3600."
                )

    def images(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the images of a seed, as bits.

        Parameters
        ----------
        seed : int
            Seed of the point.

        Returns
        -------
        tuple of ndarray
            Images and labels: x_train, y_train, x_test, y_test; images have the shape (n, rows, columns).
        """
        x_train, y_train, x_test, y_test = _binary_images(self.dataset)
        train, test = self._chosen(seed, len(x_train), len(x_test))
        return x_train[train], y_train[train], x_test[test], y_test[test]

    def example(self, seed: int) -> np.ndarray:
        """Return the training images.

        Parameters
        ----------
        seed : int
            Seed of the point.

        Returns
        -------
        ndarray, shape (n, rows, columns)
            Bits.
        """
        return self.images(seed)[0]

    def __call__(self, opu: Any, seed: int) -> dict[str, float]:
        """Show all images, learn and test."""
        check_driver_of_bits(opu, "A task on binary images")
        x_train, y_train, x_test, y_test = self.images(seed)
        bench = opu.bench
        start_s = elapsed_s(bench)
        opu.fit2d(x_train)
        train = np.asarray(opu.transform(x_train))
        if self.pause_s:
            wait(bench, self.pause_s)
        test = np.asarray(opu.transform(x_test))
        device_s = elapsed_s(bench) - start_s
        n_validation = max(1, round(self.validation_share * len(train)))
        found = ridge_classifier(train, y_train, test, y_test, n_validation=n_validation, penalties=_PENALTIES)
        camera = opu.model.camera
        span_dn = camera.full_scale_dn - camera.black_level_dn
        return {
            "accuracy": found.accuracy,
            "validation_accuracy": found.validation_accuracy,
            "penalty": found.penalty,
            "mean_level": (float(train.mean(dtype=np.float64)) - camera.black_level_dn) / span_dn,
            "clipped": float(np.mean(train >= camera.full_scale_dn)) if camera.quantise else 0.0,
            "exposure_us": float(opu.device.exposure_us),
            "device_s": device_s,
        }


def _duration_s(setting: Setting) -> float:
    """Return about how long the images of a point and the pause take on the device's clock."""
    task, operation = setting.task, setting.device.operation
    x_train, _, x_test, _ = _binary_images(task.dataset)
    n_images = (task.n_train or len(x_train)) + (task.n_test or len(x_test))
    return float(task.pause_s + n_images * max(operation.frametime_s, operation.exposure_s))


def _decorrelated(setting: Setting) -> float:
    return 1 - math.exp(-((_duration_s(setting) / setting.device.medium.decorrelation_time_s) ** 2))


def _power_lost(setting: Setting) -> float:
    return abs(setting.device.laser.power_drift_per_hour) * _duration_s(setting) / 3600


# How much has changed at the end, of what only time changes.
_NEEDS_TIME: dict[str, Callable[[Setting], float]] = {
    "medium.decorrelation_time_s": _decorrelated,
    "laser.power_drift_per_hour": _power_lost,
}


@functools.lru_cache(maxsize=2)
def _binary_images(dataset: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    data, threshold = datasets.load(dataset), IMAGE_SETS[dataset].threshold
    x_train, x_test = ((x > threshold).astype(np.uint8) for x in (data.x_train, data.x_test))
    return x_train, data.y_train, x_test, data.y_test
