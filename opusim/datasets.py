"""Data sets as records of arrays: from a local folder, from the network, or from scikit-learn.

``load("mnist")`` looks in two places, in this order:

1. the folder that the environment variable ``OPUSIM_DATA`` names, for ``mnist.npz``;
2. the cache of earlier downloads, and then the network (image sets only). The cache is the user's
   own cache folder, or the folder that ``OPUSIM_CACHE`` names.

Whatever is read is checked against a known checksum first. ``load("digits")`` needs neither: its
images come with scikit-learn.

`load_text` looks in the same places for a text.

Image sets have ``x_train, y_train, x_test, y_test`` (uint8). Citation graphs have ``x_data, x_indices,
x_indptr, x_shape`` (the features as raw CSR arrays), ``edges`` (pairs u < v, each once), ``self_loops``,
``labels`` (-1: unlabelled), ``idx_train``, ``idx_val``, ``idx_test`` (the Planetoid split of Yang, Cohen
and Salakhutdinov, 2016).
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from opusim.base.folders import cache_folder

__all__ = ["NAMES", "TEXTS", "Dataset", "load", "load_text", "read_idx"]

_TIMEOUT_S = 30.0


class Dataset:
    """A frozen record of named arrays.

    Parameters
    ----------
    name : str
        Name of the data set.
    arrays : mapping of str to numpy.ndarray
        The arrays; each becomes an attribute of that name.

    Examples
    --------
    >>> from opusim import datasets
    >>> digits = datasets.load("digits")
    >>> digits.x_train.shape, digits.x_train.dtype
    ((1348, 8, 8), dtype('uint8'))
    """

    name: str

    def __init__(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.__dict__.update(arrays)
        self.__dict__["name"] = name

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to set anything."""
        raise AttributeError(f"A Dataset is frozen: {name} cannot be set.")

    def __delattr__(self, name: str) -> None:
        """Refuse to delete anything."""
        raise AttributeError(f"A Dataset is frozen: {name} cannot be deleted.")

    def __getattr__(self, name: str) -> np.ndarray:
        """Name the arrays that there are: this is reached only for one that is not."""
        raise AttributeError(f"There is no array {name!r} in this data set; it has {', '.join(self.keys())}.")

    def keys(self) -> list[str]:
        """Return the names of the arrays.

        Returns
        -------
        list of str
            Names.
        """
        return [key for key in self.__dict__ if key != "name"]

    def __repr__(self) -> str:
        """Return name, types and shapes."""
        shapes = ", ".join(f"{key}: {self.__dict__[key].dtype}{self.__dict__[key].shape}" for key in self.keys())
        return f"Dataset({self.__dict__['name']!r}; {shapes})"


@dataclass(frozen=True)
class _Remote:
    """Four gzipped idx files of one server, and what the arrays in them must be."""

    base_url: str
    files: Mapping[str, tuple[str, str]]  # array name -> (file name, checksum as pooch writes it)
    array_sha256: Mapping[str, str]  # sha256 of each array's bytes (C order)


@dataclass(frozen=True)
class _Source:
    """Where one data set comes from."""

    file: str
    sha256: str
    remote: _Remote | None = None
    why_no_download: str = field(default="")


# The archives of the folder OPUSIM_DATA. MNIST and Fashion-MNIST are the four upstream files
# unchanged, so a download must give the same arrays: the checksums of the arrays say whether it did.
# The md5 sums of the upstream files are the published ones (torchvision's `MNIST.resources` and
# `FashionMNIST.resources`).
_PICKLED = "its publishers distribute it as Python pickles only, and no pickle is ever read here"
_SOURCES: dict[str, _Source] = {
    "mnist": _Source(
        "mnist.npz",
        "37ac4434c24aa2360e2a8ddfd357ba4cdcf48919961b2b780a6d3040894d1a02",
        _Remote(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            {
                "x_train": ("train-images-idx3-ubyte.gz", "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                "y_train": ("train-labels-idx1-ubyte.gz", "md5:d53e105ee54ea40749a09fcbcd1e9432"),
                "x_test": ("t10k-images-idx3-ubyte.gz", "md5:9fb629c4189551a2d022fa330f9573f3"),
                "y_test": ("t10k-labels-idx1-ubyte.gz", "md5:ec29112dd5afa0611ce80d1b7f02629c"),
            },
            {
                "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
                "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
                "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
                "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
            },
        ),
    ),
    "fashion-mnist": _Source(
        "fashion-mnist.npz",
        "b449bc40c8140657fbdcb1f7daa479c7215d809df909f55e7a091fbc92b11db0",
        _Remote(
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            {
                "x_train": ("train-images-idx3-ubyte.gz", "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                "y_train": ("train-labels-idx1-ubyte.gz", "md5:25c81989df183df01b3e8a0aad5dffbe"),
                "x_test": ("t10k-images-idx3-ubyte.gz", "md5:bef4ecab320f06d8554ea6380940ec79"),
                "y_test": ("t10k-labels-idx1-ubyte.gz", "md5:bb300cfdad3c16e7a12a480ee83cd310"),
            },
            {
                "x_train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
                "y_train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
                "x_test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
                "y_test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
            },
        ),
    ),
    "cora": _Source(
        "cora.npz",
        "f7c9c5cfed04e6703c43589617f5a8bd4329b134cec4f18c3369f7082e886ea1",
        why_no_download=_PICKLED,
    ),
    "citeseer": _Source(
        "citeseer.npz",
        "803fc9bcce47e5d2a99861f2436fbd39d05553dae6efbca3a547c4676136967d",
        why_no_download=_PICKLED,
    ),
    "pubmed": _Source(
        "pubmed.npz",
        "34d1d319b100f9b15d3f22c54eacabc26466bc294bb3187ece452520c9d4e8b2",
        why_no_download=_PICKLED,
    ),
}

NAMES = (*_SOURCES, "digits")
"""Names that `load` knows."""


def load(name: str, *, progress: bool = False) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        "mnist", "fashion-mnist", "cora", "citeseer", "pubmed" or "digits", in any case.
    progress : bool, optional
        Whether to show a progress bar (on stderr) while something is downloaded.

    Returns
    -------
    Dataset
        The arrays as attributes. "mnist" and "fashion-mnist": `x_train` (60000, 28, 28), `x_test`
        (10000, 28, 28), `y_train`, `y_test`, all uint8. "digits": the 1797 images of 8x8 pixels and
        17 levels that come with scikit-learn, uint8; every fourth image (index 3, 7, 11, ...) is for
        testing, so `x_train` is (1348, 8, 8) and `x_test` (449, 8, 8). The graphs: see this module.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no data set of that name, or a file's checksum or form is wrong.
    FileNotFoundError
        If the data set is neither in the folder OPUSIM_DATA nor to be had from the network.
    """
    name = _known(name, NAMES)
    if name == "digits":
        return _digits()
    source = _SOURCES[name]
    path, local = _in_folder(source.file)
    if path is not None:
        return _from_archive(name, path, source.sha256)
    if source.remote is None:
        raise FileNotFoundError(
            f"The data set {name!r} was not found: {local}, and it cannot be had from the network, "
            f"because {source.why_no_download}. Set OPUSIM_DATA to a folder that holds {source.file}."
        )
    with _not_found(name, source.file, local, source.remote.base_url):
        return _from_network(name, source.remote, progress)


# The packed file is that of the folder OPUSIM_DATA; the text itself is the file that its author published.
_TEXTS = {
    "tinyshakespeare": (
        _Source("tinyshakespeare.txt.xz", "21b40ccf4999c004256d116655824719001352dbc22636354d9cd0c645d03a4a"),
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )
}

TEXTS = tuple(_TEXTS)
"""Names that `load_text` knows."""


def load_text(name: str, *, progress: bool = False) -> str:
    """Load a text by name.

    Parameters
    ----------
    name : str
        "tinyshakespeare" (A. Karpathy's 1 115 394 characters of Shakespeare's plays, 65 different ones), in any case.
    progress : bool, optional
        Whether to show a progress bar (on stderr) while something is downloaded.

    Returns
    -------
    str
        The whole text.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If there is no text of that name, or a file's checksum is wrong.
    FileNotFoundError
        If the text is neither in the folder OPUSIM_DATA nor to be had from the network.
    """
    source, url, checksum = _TEXTS[_known(name, TEXTS)]
    path, local = _in_folder(source.file)
    if path is not None:
        import lzma  # not every build of Python has it

        _check(name.lower(), path, source.sha256)
        return lzma.decompress(path.read_bytes()).decode("ascii")

    import pooch

    cache = cache_folder() / name.lower()
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=_TIMEOUT_S)
    with _not_found(name.lower(), source.file, local, url), _quiet(pooch.get_logger()):
        return Path(pooch.retrieve(url, checksum, "input.txt", cache, downloader=downloader)).read_text("ascii")


def read_idx(data: bytes) -> np.ndarray:
    """Read an array of unsigned bytes in the idx format of the MNIST files.

    The format: two zero bytes, the type (8 for uint8), the number of axes, the length of each axis as a
    big-endian 32-bit integer, then the elements in C order.

    Parameters
    ----------
    data : bytes
        The whole file, already unzipped.

    Returns
    -------
    numpy.ndarray
        The array, uint8, of the shape that the file states.

    Raises
    ------
    ValueError
        If the file is of another kind or of another length than it states.
    """
    if len(data) < 4 or data[:3] != b"\x00\x00\x08" or data[3] == 0:
        raise ValueError(f"This is not an idx file of unsigned bytes: it begins with {data[:4].hex(' ') or 'nothing'}.")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"The idx file is cut short: {len(data)} bytes, but its header alone has {start}.")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    expected = start + int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise ValueError(f"The idx file has {len(data)} bytes, but its header, for shape {shape}, asks for {expected}.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def _known(name: str, names: tuple[str, ...]) -> str:
    """Return a name in lower case after checking that it is one of `names`."""
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r} ({type(name).__name__}), but it must be one of {', '.join(names)}.")
    if name.lower() not in names:
        raise ValueError(f"name is {name!r}, but it must be one of {', '.join(names)}.")
    return name.lower()


def _in_folder(file: str) -> tuple[Path | None, str]:
    """Return the path of a file in the folder OPUSIM_DATA, or None and why there is none."""
    folder = os.environ.get("OPUSIM_DATA")
    if not folder:
        return None, f"the environment variable OPUSIM_DATA, which may name a folder that holds {file}, is not set"
    path = Path(folder).expanduser() / file
    return (path, "") if path.is_file() else (None, f"OPUSIM_DATA is {folder!r}, which holds no file {file}")


@contextmanager
def _not_found(name: str, file: str, local: str, url: str) -> Iterator[None]:
    """Turn a failed download into a sentence that names both places."""
    try:
        yield
    except OSError as error:
        raise FileNotFoundError(
            f"The data set {name!r} was not found: {local}, and the download from {urlsplit(url).netloc} failed "
            f"({_what_failed(error)}). Connect to a network, or set OPUSIM_DATA to a folder that holds {file}."
        ) from error


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)
    labels = bunch.target.astype(np.uint8)
    test = np.arange(len(images)) % 4 == 3
    arrays = {"x_train": images[~test], "y_train": labels[~test], "x_test": images[test], "y_test": labels[test]}
    return Dataset("digits", arrays)


def _check(name: str, path: Path, sha256: str) -> None:
    """Raise a ValueError if a file is not the one that is known under this name."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(
            f"The file {path} is not the data set {name!r}: its sha256 is {found}, but it must be {sha256}. "
            "It may be cut short or of another version."
        )


def _from_archive(name: str, path: Path, sha256: str) -> Dataset:
    _check(name, path, sha256)
    with np.load(path, allow_pickle=False) as archive:
        return Dataset(name, {key: archive[key] for key in archive.files})


def _from_network(name: str, remote: _Remote, progress: bool) -> Dataset:
    import pooch

    cache = cache_folder() / name
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=_TIMEOUT_S)
    arrays = {}
    for key, (file, checksum) in remote.files.items():
        with _quiet(pooch.get_logger()):
            path = pooch.retrieve(remote.base_url + file, checksum, file, cache, downloader=downloader)
        try:
            with gzip.open(path) as stream:
                array = read_idx(stream.read())
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"The file {path} is not a whole gzip file ({error}); delete it and try again.") from error
        found = hashlib.sha256(array.tobytes()).hexdigest()
        if found != remote.array_sha256[key]:
            raise ValueError(
                f"The file {path} does not hold {key} of {name!r}: the sha256 of its elements is {found}, "
                f"but it must be {remote.array_sha256[key]}. Delete the file and try again."
            )
        arrays[key] = array
    return Dataset(name, arrays)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch from announcing each download on stderr: a library is quiet."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _what_failed(error: BaseException) -> str:
    """Name the kind of an error, and the server's answer if there was one; the whole text is in the cause."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return type(error).__name__ if status is None else f"{type(error).__name__}, status {status}"
