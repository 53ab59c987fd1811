"""Tasks on images: a ridge classifier on counts, and a network that learns by projected errors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from opusim import datasets
from opusim.applications.ridge import ridge_classifier
from opusim.base import rng, validation
from opusim.bench.protocol import elapsed_s, wait

if TYPE_CHECKING:
    from opusim.device.record import Device
    from opusim.sweep.points import Axis, Setting

__all__ = ["IMAGE_SETS", "DfaAccuracy", "KernelRidge", "generator"]

#: Above which grey level a pixel is on: lightonml's for MNIST, the middle of the 17 levels of the digits.
_THRESHOLDS = {"mnist": 25, "fashion-mnist": 25, "digits": 7}
IMAGE_SETS = tuple(_THRESHOLDS)
# Epochs and learning rate of a network: 1348 digits are some ten batches an epoch, against hundreds of MNIST.
_TRAINING = {"mnist": (5, 1e-3), "fashion-mnist": (5, 1e-3), "digits": (15, 4e-3)}
# A medium whose correlation stays above 1 - 1e-4, or a laser whose power stays within that, is as good as still.
_STILL = 1e-4
# Relative to the mean variance of an output. Noise is a penalty by itself, of about its share of the variance.
_PENALTIES = tuple(10.0**k for k in range(-6, 2))


@dataclass(frozen=True)
class _ImageTask:
    """What the tasks share: their images, and which of them a seed takes."""

    dataset: str = "mnist"
    n_train: int = 0
    n_test: int = 0

    def __post_init__(self) -> None:
        """Check every parameter."""
        validation.choice("dataset", self.dataset, IMAGE_SETS)
        validation.integer("n_train", self.n_train, low=0)
        validation.integer("n_test", self.n_test, low=0)

    def _chosen(self, seed: int, n_train: int, n_test: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which of so many training and test images a seed takes; an error if there are not enough."""
        return some(seed, "n_train", self.n_train, n_train), some(seed, "n_test", self.n_test, n_test)


@dataclass(frozen=True)
class KernelRidge(_ImageTask):
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
        x_train, y_train, x_test, y_test = self.images(seed)
        bench = opu.device.bench
        start_s = elapsed_s(bench)
        opu.fit2d(x_train)
        train = np.asarray(opu.transform(x_train))
        if self.pause_s:
            wait(bench, self.pause_s)
        test = np.asarray(opu.transform(x_test))
        device_s = elapsed_s(bench) - start_s
        n_validation = max(1, round(self.validation_share * len(train)))
        found = ridge_classifier(train, y_train, test, y_test, n_validation=n_validation, penalties=_PENALTIES)
        camera = opu.device.device_model.camera
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


def generator(seed: int, what: str) -> np.random.Generator:
    """Return a generator for one purpose under one seed."""
    key = [int(word) for word in rng.stream_key(seed, f"sweep {what}")]
    return np.random.Generator(np.random.Philox(key[0] << 32 | key[1]))


@functools.lru_cache(maxsize=2)
def _binary_images(dataset: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    data, threshold = datasets.load(dataset), _THRESHOLDS[dataset]
    x_train, x_test = ((x > threshold).astype(np.uint8) for x in (data.x_train, data.x_test))
    return x_train, data.y_train, x_test, data.y_test


def some(seed: int, name: str, n: int, n_all: int) -> np.ndarray:
    """Return which samples a seed takes, and in which order; an error if there are not so many."""
    validation.integer(name, n, low=0, high=n_all)
    return generator(seed, name).permutation(n_all)[: n or n_all]


@dataclass(frozen=True)
class DfaAccuracy(_ImageTask):
    """Accuracy of a network whose hidden layers learn from errors that the device projects.

    A network with tanh and one or more equal hidden layers, trained by direct feedback alignment with Adam
    (`opusim.dfa`). The OPU's `n_components` must be the sum of the hidden layers.

    Parameters
    ----------
    dataset : {"mnist", "fashion-mnist", "digits"}
        Images.
    n_train, n_test : int
        Images to learn from and to test on, chosen at random by the seed; 0 for all.
    layers : int
        Hidden layers.
    epochs : int
        Epochs; 0 for 15 on the digits, 5 on the others.
    learning_rate : float
        Of Adam; 0 for 4e-3 on the digits, 1e-3 on the others.
    encoding : str
        How errors become bits, as for `opusim.dfa.parse_encoding`: "ternary", "sign", "bits:4" and others.
    exposure_s : float
        Exposure of the calibration, by holography; 0 for the best one.

    Notes
    -----
    Returns `accuracy` (on the test images), `train_accuracy` (while learning, in the last epoch), `loss`,
    `alignment_deg` (mean angle between the updates of the hidden layers and those of backpropagation) and `device_s`.
    """

    linear: ClassVar[bool] = True

    layers: int = 2
    epochs: int = 0
    learning_rate: float = 0.0
    encoding: str = "ternary"
    exposure_s: float = 0.0

    def __post_init__(self) -> None:
        """Check every parameter."""
        super().__post_init__()
        validation.integer("layers", self.layers, low=1, high=100)
        validation.integer("epochs", self.epochs, low=0)
        validation.number("learning_rate", self.learning_rate, low=0.0, high=10.0)
        # The numbers themselves, so that they are told, and are part of what makes a sweep the one that it is.
        epochs, rate = _TRAINING[self.dataset]
        object.__setattr__(self, "epochs", self.epochs or epochs)
        object.__setattr__(self, "learning_rate", self.learning_rate or rate)
        validation.number("exposure_s", self.exposure_s, low=0.0, high=60.0)

    @property
    def name(self) -> str:
        """Name of the task."""
        return f"dfa-{self.dataset}"

    def check(self, device: Device, n_components: int) -> None:
        """Refuse what cannot be done.

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
        if n_components % self.layers:
            raise ValueError(
                f"n_components is {n_components}, but it must be a multiple of layers, {self.layers}: it is shared out "
                "among the hidden layers."
            )
        data = datasets.load(self.dataset)
        self._chosen(0, len(data.x_train), len(data.x_test))
        self._encoding()

    def _encoding(self) -> Any:
        from opusim.dfa import parse_encoding

        encoding = parse_encoding(self.encoding)
        if encoding is None:
            raise ValueError(f"encoding is {self.encoding!r}, but mirrors show bits only: it must be 'ternary', say.")
        return encoding

    def __call__(self, opu: Any, seed: int) -> dict[str, float]:
        """Train a network and test it."""
        from opusim.dfa import MLP, Adam, DFATrainer, OpticalFeedback

        data = datasets.load(self.dataset)
        train, test = self._chosen(seed, len(data.x_train), len(data.x_test))
        white = np.float32(data.x_train.max())
        x_train, x_test = (
            x.reshape(len(x), -1).astype(np.float32) / white for x in (data.x_train[train], data.x_test[test])
        )
        y_train, y_test = data.y_train[train].astype(np.int64), data.y_test[test].astype(np.int64)
        n_classes = int(data.y_train.max()) + 1
        width = opu.n_components
        network = MLP(
            [x_train.shape[1], *[width // self.layers] * self.layers, n_classes], activation="tanh", seed=seed
        )
        feedback = OpticalFeedback(
            opu, width, n_classes=n_classes, encoding=self._encoding(), exposure_s=self.exposure_s or None
        )
        trainer = DFATrainer(
            network, feedback, optimiser=Adam(self.learning_rate), epochs=self.epochs, seed=seed, alignment_samples=256
        )
        history = trainer.fit(x_train, y_train)
        return {
            "accuracy": float(network.accuracy(x_test, y_test)),
            "train_accuracy": float(history.train_accuracy[-1]),
            "loss": float(history.loss[-1]),
            "alignment_deg": float(np.mean(history.alignment_deg[-1])),
            "device_s": float(feedback.costs.device_s or 0.0),
        }
