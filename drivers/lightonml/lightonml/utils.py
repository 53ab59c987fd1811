"""Data folder, subsets of data, and models in files: the functions of ``lightonml.utils``."""

from __future__ import annotations

import os

# Models that users save and load themselves are pickles in lightonml, and this is the only place where opusim
# reads one: when its user asks for it by `load_model`. A pickle runs code when it is read: load only your own.
import pickle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from opusim.base.files import read_npz
from opusim.base.plain_files import check_plain, parse_json, read_text

from . import _state

_TIMEOUT_S = 30.0
_PIECE_BYTES = 1 << 20
_WHITE = 255


def get_ml_data_dir_path() -> Path:
    """Return the folder of data sets.

    The first of these that names one: the environment variable ``LIGHTONML_DATA_DIR``, ``lightonml.set_ml_data_dir``,
    and the field ``ml_data_path`` of ``~/.lighton.json``, ``/etc/lighton.json``, ``/etc/lighton/host.json``.

    Returns
    -------
    pathlib.Path
        The folder; it need not exist.

    Raises
    ------
    FileNotFoundError
        If nothing names a folder.
    ValueError
        If a configuration file is no JSON object.
    """
    for named in (os.environ.get("LIGHTONML_DATA_DIR"), _state.get_ml_data_dir()):
        if named:
            return Path(named).expanduser()
    files = [Path.home() / ".lighton.json", Path("/etc/lighton.json"), Path("/etc/lighton/host.json")]
    for file in files:
        if not file.is_file():
            continue
        try:
            settings = parse_json(read_text(file))
        except ValueError as error:
            raise ValueError(f"The configuration file {file} is no JSON: {error}.") from error
        if not isinstance(settings, dict):
            raise ValueError(f"The configuration file {file} must hold a JSON object, like {{'ml_data_path': ...}}.")
        if settings.get("ml_data_path"):
            return Path(settings["ml_data_path"]).expanduser()
    raise FileNotFoundError(
        "No folder of data sets is named. Set the environment variable LIGHTONML_DATA_DIR, call "
        f"lightonml.set_ml_data_dir(folder), or write the field ml_data_path into {files[0]}."
    )


def download(url: str, directory: Any) -> None:
    """Download a file into a folder, under the last part of its address.

    Parameters
    ----------
    url : str
        Address.
    directory : str or pathlib.Path
        A folder that exists. The file appears in it when it is whole.

    Raises
    ------
    OSError
        If the server does not deliver the file.
    """
    import requests

    from opusim.base.file_system import replace_file

    target = Path(directory) / urlsplit(url).path.split("/")[-1]
    part = target.with_name(target.name + ".part")
    with requests.get(url, stream=True, timeout=_TIMEOUT_S) as response:
        if response.status_code != requests.codes.ok:
            raise OSError(f"The server answered {response.status_code} for {url}; nothing was downloaded.")
        try:
            with part.open("wb") as file:
                for piece in response.iter_content(_PIECE_BYTES):
                    file.write(piece)
            replace_file(part, target)
        finally:
            part.unlink(missing_ok=True)


def load_model(model_path: Any) -> Any:
    """Load a model that `save_model` wrote, as lightonml's function of this name does: from a pickle.

    A pickle may run any code when it is read, and none is checked: load only files of your own. All else that opusim
    reads of a user's is no pickle.

    Parameters
    ----------
    model_path : str or pathlib.Path
        The pickle.

    Returns
    -------
    object
        The model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    path = Path(model_path)
    check_plain(path)
    with path.open("rb") as file:
        return pickle.load(file)


def save_model(model: Any, model_name: str, model_path: Any) -> None:
    """Save a model as a pickle.

    Parameters
    ----------
    model : object
        The model.
    model_name : str
        Name of the file.
    model_path : str or pathlib.Path
        Folder of the file, made if it is not there.
    """
    folder = Path(model_path)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / model_name).open("wb") as file:
        pickle.dump(model, file)


def select_subset(
    X: np.ndarray, y: np.ndarray, classes: Any = range(10), ratio: float = 1, random_state: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Select the samples of some classes, or a random part of them.

    Parameters
    ----------
    X, y : numpy.ndarray
        Data (n_samples, ...) and their classes (n_samples,).
    classes : array_like, optional
        Classes to keep.
    ratio : float, optional
        Part of them to keep, 0 to 1. Below 1 they come in random order.
    random_state : int, numpy.random.RandomState or None, optional
        As in scikit-learn; None takes numpy's global state.

    Returns
    -------
    X, y : numpy.ndarray
        Those samples.

    Raises
    ------
    ValueError
        If `ratio` is out of range.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio is {ratio!r}, but it must be a number from 0 to 1.")
    chosen = np.flatnonzero(np.isin(y, np.asarray(classes)))
    if ratio != 1:
        from sklearn.utils import check_random_state

        random = check_random_state(random_state)
        chosen = random.choice(chosen, size=int(len(chosen) * ratio), replace=False)
    return X[chosen], y[chosen]


def load_data_from_numpy_archive(
    path_to_file: Any,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Load training and test data from an .npz file.

    Parameters
    ----------
    path_to_file : str or pathlib.Path
        The file, with arrays X_train, y_train, X_test and y_test.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuple of numpy.ndarray
        The arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KeyError
        If one of the arrays is missing.
    ValueError
        If an array holds Python objects: no pickle is read. If the file is damaged.
    """
    arrays = read_npz(path_to_file, ("X_train", "y_train", "X_test", "y_test"))
    return (arrays["X_train"], arrays["y_train"]), (arrays["X_test"], arrays["y_test"])


def cast_01_to_uint8(X: Any) -> np.ndarray:
    """Return numbers from 0 to 1 as grey levels.

    Parameters
    ----------
    X : array_like
        Numbers from 0 to 1, or bool.

    Returns
    -------
    numpy.ndarray
        uint8, round(255 X).

    Raises
    ------
    ValueError
        If a number is outside that range by half a level or more, or NaN.
    """
    levels = np.round(_WHITE * np.asarray(X, dtype=None if np.asarray(X).dtype.kind == "f" else np.float64))
    if not ((levels >= 0) & (levels <= _WHITE)).all():
        raise ValueError("X holds numbers outside 0 to 1, which have no grey level.")
    return levels.astype(np.uint8)
