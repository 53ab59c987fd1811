"""Image sets as training takes them: vectors of floats, and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opusim import datasets
from opusim.base import validation
from opusim.base.short_repr import short_repr

__all__ = ["IMAGE_SETS", "TASKS", "ImageSet", "Task", "as_floats", "load_task"]


@dataclass(frozen=True)
class ImageSet:
    """What is to know of an image set.

    Parameters
    ----------
    white : int
        Level of a white pixel.
    threshold : int
        Above which level a pixel is on: lightonml's for MNIST, the middle of the 17 levels of the digits.
    epochs : int
        Epochs in which a network learns it: 1348 digits are some ten batches an epoch, against hundreds of MNIST.
    learning_rate : float
        Of Adam, likewise.
    at_hand : bool
        Whether it comes with scikit-learn; others are files.
    """

    white: int
    threshold: int
    epochs: int
    learning_rate: float
    at_hand: bool = False


IMAGE_SETS = {
    "mnist": ImageSet(white=255, threshold=25, epochs=5, learning_rate=1e-3),
    "fashion-mnist": ImageSet(white=255, threshold=25, epochs=5, learning_rate=1e-3),
    "digits": ImageSet(white=16, threshold=7, epochs=15, learning_rate=4e-3, at_hand=True),
}
"""Image sets by name."""
LISTED = tuple(sorted(IMAGE_SETS, key=lambda name: not IMAGE_SETS[name].at_hand))
"""Their names as tasks are listed by them: what needs no file comes first."""
TASKS = tuple(IMAGE_SETS)
"""Names that `load_task` knows."""


@short_repr
@dataclass(frozen=True)
class Task:
    """An image set for a classifier.

    Parameters
    ----------
    name : str
        Name of the image set.
    x_train : ndarray of float32, shape (n, pixels)
        Images, a row each; grey levels from 0 (black) to 1 (white), less the mean image if that was asked.
    y_train : ndarray of int64, shape (n,)
        Labels from 0 on.
    x_test, y_test : ndarray
        Images and labels to test with, likewise.
    n_classes : int
        How many labels there are.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_classes: int


def load_task(name: str, *, limit: int | None = None, centred: bool = False, progress: bool = False) -> Task:
    """Load an image set and scale it.

    Parameters
    ----------
    name : str
        "mnist", "fashion-mnist" or "digits"; see `opusim.datasets.load` for where they come from.
    limit : int, optional
        Use only the first so many training images; all by default. Test images stay.
    centred : bool, optional
        Whether to subtract the mean image of the training images in use, from the test images too.
    progress : bool, optional
        Whether to show a progress bar while something is downloaded.

    Returns
    -------
    Task
        Images and labels.

    Raises
    ------
    TypeError, ValueError
        If `name` is not one of these, or `limit` is not from 1 to the number of training images.
    FileNotFoundError
        If the data set is not to be had.
    """
    name = validation.choice("name", name, TASKS)
    data = datasets.load(name, progress=progress)
    if limit is not None:
        limit = validation.integer("limit", limit, low=1, high=len(data.x_train))
    x_train, x_test = (as_floats(images, name) for images in (data.x_train[:limit], data.x_test))
    if centred:
        mean = x_train.mean(axis=0, dtype=np.float64).astype(np.float32)
        x_train -= mean
        x_test -= mean
    y_train, y_test = (labels.astype(np.int64) for labels in (data.y_train[:limit], data.y_test))
    return Task(name, x_train, y_train, x_test, y_test, n_classes=int(data.y_train.max()) + 1)


def as_floats(images: np.ndarray, name: str) -> np.ndarray:
    """Return images as rows of float32, from 0 (black) to 1 (white in the image set of this name)."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(IMAGE_SETS[name].white)
