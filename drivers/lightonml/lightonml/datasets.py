"""Common data sets as tuples of training and test data: the functions of ``lightonml.datasets``.

Grey images are (height, width), colour images (3, height, width). Files are looked for in the folder that
`lightonml.utils.get_ml_data_dir_path` names; MNIST and FashionMNIST come from `opusim.datasets` if they are not there.
CIFAR is read in its binary version, because the other one is a pickle, and no pickle is read.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from opusim import datasets as _datasets
from opusim.base.files import open_npy

from .utils import get_ml_data_dir_path

Split = tuple[np.ndarray, np.ndarray]

_SIGN_ADDRESS = "https://www.kaggle.com/datamunge/sign-language-mnist/home"
_STL10_ADDRESS = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
_CIFAR10_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_CIFAR100_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
_MOVIELENS_ADDRESS = "https://grouplens.org/datasets/movielens/"
_N_FIELDS = 3


def MNIST() -> tuple[Split, Split]:
    """Load MNIST.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuple of numpy.ndarray
        uint8: images (60000, 28, 28) and (10000, 28, 28), labels (60000,) and (10000,).

    Raises
    ------
    FileNotFoundError
        If the folder MNIST of the data folder holds only some of the files, or none and there is no other source.
    ValueError
        If a file is damaged.
    """
    return _idx_images("MNIST", "mnist")


def FashionMNIST() -> tuple[Split, Split]:
    """Load Fashion-MNIST.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuple of numpy.ndarray
        uint8: images (60000, 28, 28) and (10000, 28, 28), labels (60000,) and (10000,).

    Raises
    ------
    FileNotFoundError
        If the folder FashionMNIST of the data folder holds only some of the files, or none and there is no other
        source.
    ValueError
        If a file is damaged.
    """
    return _idx_images("FashionMNIST", "fashion-mnist")


def SignMNIST() -> tuple[Split, Split]:
    """Load the sign-language MNIST: images of hands, labels 0 to 25 for A to Z.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuple of numpy.ndarray
        uint8: flat images (27455, 784) and (7172, 784), labels (27455,) and (7172,).

    Raises
    ------
    FileNotFoundError
        If the two .csv files are not in the folder SignMNIST of the data folder.
    """
    folder = get_ml_data_dir_path() / "SignMNIST"
    files = [folder / "sign_mnist_train.csv", folder / "sign_mnist_test.csv"]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"There is no file {file}. Download the data set from {_SIGN_ADDRESS} and unzip it in {folder}."
            )
    train, test = (np.loadtxt(file, dtype=np.uint8, skiprows=1, delimiter=",", ndmin=2) for file in files)
    return (train[:, 1:], train[:, 0]), (test[:, 1:], test[:, 0])


def STL10(unlabeled: bool = False) -> Any:
    """Load STL-10.

    Parameters
    ----------
    unlabeled : bool, optional
        Whether to return the images without labels, too.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuple of numpy.ndarray
        uint8: images (5000, 3, 96, 96) and (8000, 3, 96, 96), labels 1 to 10, (5000,) and (8000,).
    X_unlabeled : numpy.ndarray
        Only with `unlabeled`: uint8, (100000, 3, 96, 96).

    Raises
    ------
    FileNotFoundError
        If neither the folder stl10_binary nor its archive is in the folder STL10 of the data folder.
    ValueError
        If a file is cut short.
    """
    names = ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", *(["unlabeled_X.bin"] if unlabeled else [])]
    arrays = []
    for name, data in zip(names, _unpacked("STL10", "stl10_binary", names, _STL10_ADDRESS), strict=True):
        arrays.append(_records(data, 3 * 96 * 96, name).reshape(-1, 3, 96, 96) if "_X" in name else data)
    splits = (arrays[0], arrays[1]), (arrays[2], arrays[3])
    return (*splits, arrays[4]) if unlabeled else splits


def CIFAR10() -> tuple[Split, Split]:
    """Load CIFAR-10, from its binary version.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuple of numpy.ndarray
        Images uint8, (50000, 3, 32, 32) and (10000, 3, 32, 32); labels int64, (50000,) and (10000,).

    Raises
    ------
    FileNotFoundError
        If neither the folder cifar-10-batches-bin nor its archive is in the folder CIFAR10 of the data folder.
    ValueError
        If a file is cut short.
    """
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    return _cifar("CIFAR10", "cifar-10-batches-bin", names, _CIFAR10_ADDRESS, n_labels=1)


def CIFAR100() -> tuple[Split, Split]:
    """Load CIFAR-100 with its fine labels, from its binary version.

    Returns
    -------
    (X_train, y_train), (X_test, y_test) : tuple of tuple of numpy.ndarray
        Images uint8, (50000, 3, 32, 32) and (10000, 3, 32, 32); labels int64, (50000,) and (10000,).

    Raises
    ------
    FileNotFoundError
        If neither the folder cifar-100-binary nor its archive is in the folder CIFAR100 of the data folder.
    ValueError
        If a file is cut short.
    """
    return _cifar("CIFAR100", "cifar-100-binary", ["train.bin", "test.bin"], _CIFAR100_ADDRESS, n_labels=2)


def parse_line(line: str, sep: str = ",") -> list[str]:
    """Return the first three fields of a line, without the space around them."""
    return [field.strip() for field in line.split(sep)][:_N_FIELDS]


def movielens100k(processed: bool = False) -> Any:
    """Load MovieLens 100k: ratings from 1 to 5 of 1682 films by 943 users (Harper and Konstan, 2015).

    Parameters
    ----------
    processed : bool, optional
        Whether to return the matrix of ratings, from ratings_mat.npy.

    Returns
    -------
    list of list of str, or numpy.ndarray
        Rows of user, film and rating after a row of their names; or the matrix (943, 1682).

    Raises
    ------
    FileNotFoundError
        If the file is not in the folder movielens-100k of the data folder.
    """
    folder = get_ml_data_dir_path() / "movielens-100k"
    if processed:
        return _matrix(folder / "ratings_mat.npy")
    return [["userId", "movieId", "rating"], *_rows(folder / "u.data", "\t")]


def movielens20m(processed: bool = False, id_to_movie: bool = False) -> tuple[Any, list[list[str]] | None]:
    """Load MovieLens 20M: ratings of 27278 films by 138493 users (Harper and Konstan, 2015).

    Parameters
    ----------
    processed : bool, optional
        Whether to return the matrix of ratings, from ratings_mat.npy.
    id_to_movie : bool, optional
        Whether to return the films' names, too.

    Returns
    -------
    ratings : list of list of str, or numpy.ndarray
        Rows of user, film and rating, the first one their names; or the matrix (138493, 27278).
    id_to_movie_mapping : list of list of str or None
        Rows of film, name and kind.

    Raises
    ------
    FileNotFoundError
        If a file is not in the folder movielens-20m of the data folder.
    """
    folder = get_ml_data_dir_path() / "movielens-20m"
    ratings = _matrix(folder / "ratings_mat.npy") if processed else _rows(folder / "ratings.csv", ",")
    return ratings, _rows(folder / "movies.csv", ",") if id_to_movie else None


def _idx_images(folder_name: str, name: str) -> tuple[Split, Split]:
    """Return images and labels of the original files, if there are any, else of `opusim.datasets`."""
    try:
        folder = get_ml_data_dir_path() / folder_name
    except FileNotFoundError:  # no data folder: the other source needs none
        folder = None
    if folder is not None:
        files = [
            folder / f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
        ]
        missing = [file.name for file in files if not file.is_file()]
        if not missing:
            train_x, train_y, test_x, test_y = (_idx(file) for file in files)
            return (train_x, train_y), (test_x, test_y)
        if len(missing) < len(files):
            raise FileNotFoundError(f"The folder {folder} lacks {', '.join(missing)}.")
    data = _datasets.load(name)
    return (data.x_train, data.y_train), (data.x_test, data.y_test)


def _idx(file: Path) -> np.ndarray:
    try:
        with gzip.open(file) as stream:
            return _datasets.read_idx(stream.read())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"The file {file} is not a whole gzip file ({error}).") from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _unpacked(folder_name: str, inner: str, names: Sequence[str], address: str, note: str = "") -> list[np.ndarray]:
    """Return files as bytes, from the folder of an archive that was unpacked, or from the archive itself."""
    folder = get_ml_data_dir_path() / folder_name
    if all((folder / inner / name).is_file() for name in names):
        return [np.fromfile(folder / inner / name, dtype=np.uint8) for name in names]
    archive = folder / address.split("/")[-1]
    if not archive.is_file():
        raise FileNotFoundError(
            f"{folder / inner} does not hold {', '.join(names)}. Download {address} into {folder}; it is read as it "
            f"is, or unpacked there.{note}"
        )
    found: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            # in the archive's order: going back in a gzip file means reading it again
            for member in tar:
                stream = tar.extractfile(member) if member.name in {f"{inner}/{name}" for name in names} else None
                if stream is not None:
                    found[member.name.split("/")[-1]] = np.frombuffer(stream.read(), dtype=np.uint8)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"The file {archive} is not a whole archive ({error}).") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"The file {archive} holds no {inner}/{missing[0]}.")
    return [found[name] for name in names]


def _records(data: np.ndarray, size: int, name: str) -> np.ndarray:
    """Return bytes as rows of `size`."""
    if not data.size or data.size % size:
        raise ValueError(f"{name} has {data.size} bytes, which are no whole number of records of {size}.")
    return data.reshape(-1, size)


def _cifar(folder: str, inner: str, names: Sequence[str], address: str, n_labels: int) -> tuple[Split, Split]:
    """Read records of labels, of which the last one counts, and an image; the last file is for testing."""
    note = " The version for Python is a pickle, which is not read, because a pickle may run any code."
    parts = []
    for name, data in zip(names, _unpacked(folder, inner, names, address, note), strict=True):
        rows = _records(data, n_labels + 3 * 32 * 32, name)
        parts.append((rows[:, n_labels:].reshape(-1, 3, 32, 32), rows[:, n_labels - 1].astype(np.int64)))
    images, labels = zip(*parts[:-1], strict=True)
    return (np.concatenate(images), np.concatenate(labels)), parts[-1]


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}. MovieLens can be had from {_MOVIELENS_ADDRESS}.")
    return file


def _matrix(file: Path) -> np.ndarray:
    return np.array(open_npy(_existing(file)))


def _rows(file: Path, separator: str) -> list[list[str]]:
    with _existing(file).open(encoding="utf-8") as lines:
        return [parse_line(line, separator) for line in lines]
