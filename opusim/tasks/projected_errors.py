"""Task: a network that learns images by projected errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from opusim import datasets
from opusim.base import validation
from opusim.bench.driver import check_device_of_bits

from .choosing import ImageTask
from .image_sets import IMAGE_SETS, LISTED, as_floats
from .registry import task

if TYPE_CHECKING:
    from opusim.device.record import Device

__all__ = ["DfaAccuracy"]


@task({f"dfa-{name}": {"dataset": name} for name in LISTED}, order=30)
@dataclass(frozen=True)
class DfaAccuracy(ImageTask):
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
        usual = IMAGE_SETS[self.dataset]
        object.__setattr__(self, "epochs", self.epochs or usual.epochs)
        object.__setattr__(self, "learning_rate", self.learning_rate or usual.learning_rate)
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
        check_device_of_bits(device, "A task that projects errors")
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
        x_train, x_test = (as_floats(x, self.dataset) for x in (data.x_train[train], data.x_test[test]))
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
