"""Data sets and utilities under lightonml's names, on small files made for the purpose."""

from __future__ import annotations

import gzip
import http.server
import importlib
import io
import json
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import types
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "drivers" / "lightonml"
ALIAS = "lightonml_of_these_tests"


@pytest.fixture
def lightonml(monkeypatch, tmp_path):
    """The package's own modules under another name, so that no `lightonml` is left behind; nothing is configured."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("LIGHTONML_DATA_DIR", raising=False)
    package = types.ModuleType(ALIAS)
    package.__path__ = [str(FOLDER / "lightonml")]
    sys.modules[ALIAS] = package
    try:
        for name in ("_state", "utils", "datasets"):
            importlib.import_module(f"{ALIAS}.{name}")
        yield package
    finally:
        for name in [name for name in sys.modules if name == ALIAS or name.startswith(f"{ALIAS}.")]:
            del sys.modules[name]


@pytest.fixture
def data(lightonml, tmp_path):
    """A data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    lightonml._state.set_ml_data_dir(folder)
    return folder


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    folder.mkdir()
    arrays = []
    for part, n in (("train", 6), ("t10k", 4)):
        for what, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            array = rng.integers(0, 256, shape, dtype=np.uint8)
            (folder / f"{part}-{what}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
            arrays.append(array)
    return arrays


def flat(splits) -> list[np.ndarray]:
    (X_train, y_train), (X_test, y_test) = splits
    return [X_train, y_train, X_test, y_test]


def equal(found, expected) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_original_image_files(lightonml, data, name):
    arrays = write_idx(data / name)
    equal(flat(getattr(lightonml.datasets, name)()), arrays)
    damaged = data / name / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(ValueError, match="t10k-labels"):
        getattr(lightonml.datasets, name)()
    damaged.write_bytes(gzip.compress(b"\0\0\x0d\x01"))
    with pytest.raises(ValueError, match="t10k-labels.*not an idx file"):
        getattr(lightonml.datasets, name)()
    damaged.unlink()
    with pytest.raises(FileNotFoundError, match="lacks t10k-labels-idx1-ubyte.gz"):
        getattr(lightonml.datasets, name)()


@pytest.mark.data
@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_images_need_no_folder_of_lightonml(lightonml, data_folder, name):
    X_train, y_train, X_test, y_test = flat(getattr(lightonml.datasets, name)())
    assert X_train.shape == (60000, 28, 28) and X_test.shape == (10000, 28, 28)
    assert y_train.shape == (60000,) and y_test.shape == (10000,)
    assert {a.dtype for a in (X_train, y_train, X_test, y_test)} == {np.dtype(np.uint8)}


def test_sign_mnist(lightonml, data):
    with pytest.raises(FileNotFoundError, match="kaggle"):
        lightonml.datasets.SignMNIST()
    rng = np.random.default_rng(1)
    tables = [rng.integers(0, 256, (n, 785), dtype=np.uint8) for n in (5, 1)]
    (data / "SignMNIST").mkdir()
    for name, table in zip(("train", "test"), tables, strict=True):
        header = ",".join(["label", *(f"pixel{i}" for i in range(1, 785))])
        np.savetxt(data / "SignMNIST" / f"sign_mnist_{name}.csv", table, "%d", ",", header=header, comments="")
    train, test = tables
    equal(flat(lightonml.datasets.SignMNIST()), [train[:, 1:], train[:, 0], test[:, 1:], test[:, 0]])


def cifar_files(n_labels: int, names: list[str]) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """Files of two records each, their images and the labels that count."""
    rng = np.random.default_rng(2)
    n = 2 * len(names)
    images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, (n, n_labels), dtype=np.uint8)
    records = [labels[i].tobytes() + images[i].tobytes() for i in range(n)]
    return {name: records[2 * k] + records[2 * k + 1] for k, name in enumerate(names)}, images, labels[:, -1]


def put(folder: Path, inner: str, archive: str | None, files: dict[str, bytes]) -> None:
    """Write files into a folder, or an archive with this folder."""
    folder.mkdir(exist_ok=True)
    if archive is None:
        (folder / inner).mkdir()
        for name, content in files.items():
            (folder / inner / name).write_bytes(content)
        return
    with tarfile.open(folder / archive, "w:gz") as tar:
        for name, content in {"readme.html": b"<p>", **files}.items():
            member = tarfile.TarInfo(f"{inner}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


CIFAR = {
    "CIFAR10": (
        1,
        [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"],
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
    ),
    "CIFAR100": (2, ["train.bin", "test.bin"], "cifar-100-binary", "cifar-100-binary.tar.gz"),
}


@pytest.mark.parametrize("name", CIFAR)
@pytest.mark.parametrize("packed", [False, True])
def test_cifar(lightonml, data, name, packed):
    n_labels, names, inner, archive = CIFAR[name]
    files, images, labels = cifar_files(n_labels, names)
    put(data / name, inner, archive if packed else None, files)
    labels = labels.astype(np.int64)
    equal(flat(getattr(lightonml.datasets, name)()), [images[:-2], labels[:-2], images[-2:], labels[-2:]])


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_reads_no_pickle(lightonml, data, name):
    _, names, inner, archive = CIFAR[name]
    pickled = data / name / ("cifar-10-batches-py" if name == "CIFAR10" else "cifar-100-python")
    pickled.mkdir(parents=True)
    (pickled / "data_batch_1").write_bytes(pickle.dumps({"data": [], "labels": []}))
    with pytest.raises(FileNotFoundError, match=rf"https://www.cs.toronto.edu/~kriz/{archive}.*pickle"):
        getattr(lightonml.datasets, name)()


def test_damaged_archives_are_refused(lightonml, data):
    n_labels, names, inner, archive = CIFAR["CIFAR100"]
    files, _, _ = cifar_files(n_labels, names)
    put(data / "CIFAR100", inner, archive, {"train.bin": files["train.bin"]})
    with pytest.raises(ValueError, match="holds no cifar-100-binary/test.bin"):
        lightonml.datasets.CIFAR100()
    whole = (data / "CIFAR100" / archive).read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive"):
        (data / "CIFAR100" / archive).write_bytes(content)
        with pytest.raises(ValueError, match="not a whole archive"):
            lightonml.datasets.CIFAR100()
    put(data / "CIFAR100", inner, None, {**files, "test.bin": files["test.bin"][:-1]})
    with pytest.raises(ValueError, match="test.bin has 6147 bytes"):
        lightonml.datasets.CIFAR100()


@pytest.mark.parametrize("packed", [False, True])
def test_stl10(lightonml, data, packed):
    with pytest.raises(FileNotFoundError, match="stl10_binary.tar.gz"):
        lightonml.datasets.STL10()
    rng = np.random.default_rng(3)
    X = [rng.integers(0, 256, (n, 3, 96, 96), dtype=np.uint8) for n in (2, 3, 4)]
    y = [rng.integers(1, 11, n, dtype=np.uint8) for n in (2, 3)]
    names = ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "unlabeled_X.bin"]
    arrays = [X[0], y[0], X[1], y[1], X[2]]
    files = {name: array.tobytes() for name, array in zip(names, arrays, strict=True)}
    put(data / "STL10", "stl10_binary", "stl10_binary.tar.gz" if packed else None, files)
    equal(flat(lightonml.datasets.STL10()), arrays[:4])
    *splits, unlabeled = lightonml.datasets.STL10(unlabeled=True)
    equal([*flat(splits), unlabeled], arrays)


def test_movielens(lightonml, data):
    sets = lightonml.datasets
    with pytest.raises(FileNotFoundError, match="u.data.*grouplens"):
        sets.movielens100k()
    for name in ("movielens-100k", "movielens-20m"):
        (data / name).mkdir()
        np.save(data / name / "ratings_mat.npy", np.eye(3))
    (data / "movielens-100k" / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    (data / "movielens-20m" / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n")
    (data / "movielens-20m" / "movies.csv").write_text("movieId,title,genres\n1,Été,Drama\n", encoding="utf-8")
    assert sets.movielens100k() == [["userId", "movieId", "rating"], ["196", "242", "3"], ["186", "302", "3"]]
    assert np.array_equal(sets.movielens100k(processed=True), np.eye(3))
    ratings = [["userId", "movieId", "rating"], ["1", "2", "3.5"]]
    assert sets.movielens20m() == (ratings, None)
    assert sets.movielens20m(id_to_movie=True) == (ratings, [["movieId", "title", "genres"], ["1", "Été", "Drama"]])
    np.save(data / "movielens-20m" / "ratings_mat.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="holds Python objects"):
        sets.movielens20m(processed=True)


# Utilities


def test_where_the_data_folder_comes_from(lightonml, tmp_path, monkeypatch):
    path = lightonml.utils.get_ml_data_dir_path
    configuration = Path(tmp_path / "home" / ".lighton.json")
    if not any(Path(p).exists() for p in ("/etc/lighton.json", "/etc/lighton/host.json")):
        with pytest.raises(FileNotFoundError, match="LIGHTONML_DATA_DIR.*set_ml_data_dir.*lighton.json"):
            path()
    configuration.write_text(json.dumps({"ml_data_path": "~/sets"}))
    assert path() == tmp_path / "home" / "sets"
    lightonml._state.set_ml_data_dir("/from/the/program")
    assert lightonml._state.get_ml_data_dir() == "/from/the/program"
    assert path() == Path("/from/the/program")
    monkeypatch.setenv("LIGHTONML_DATA_DIR", str(tmp_path))
    assert path() == tmp_path
    monkeypatch.delenv("LIGHTONML_DATA_DIR")
    lightonml._state.set_ml_data_dir("")
    for content in ("{", "[]"):
        configuration.write_text(content)
        with pytest.raises(ValueError, match="lighton.json"):
            path()


def test_models_are_saved_and_loaded(lightonml, tmp_path, capsys):
    model = {"weights": np.arange(3)}
    lightonml.utils.save_model(model, "model.pkl", str(tmp_path / "new" / "folder"))
    assert capsys.readouterr().out == ""
    loaded = lightonml.utils.load_model(str(tmp_path / "new" / "folder" / "model.pkl"))
    assert np.array_equal(loaded["weights"], model["weights"])
    with pytest.raises(FileNotFoundError, match="other.pkl"):
        lightonml.utils.load_model(str(tmp_path / "other.pkl"))


def test_subsets(lightonml):
    X, y = np.arange(40).reshape(20, 2), np.arange(20) % 5
    some, labels = lightonml.utils.select_subset(X, y, classes=[1, 3])
    assert np.array_equal(some, X[(y == 1) | (y == 3)]) and set(labels) == {1, 3}
    part, labels = lightonml.utils.select_subset(X, y, classes=[1, 3], ratio=0.5, random_state=0)
    assert len(part) == 4 and len(np.unique(part[:, 0])) == 4 and set(labels) <= {1, 3}
    again, _ = lightonml.utils.select_subset(X, y, classes=[1, 3], ratio=0.5, random_state=0)
    assert np.array_equal(part, again)
    with pytest.raises(ValueError, match="ratio is 1.5"):
        lightonml.utils.select_subset(X, y, ratio=1.5)


def test_archives_of_arrays(lightonml, tmp_path):
    arrays = {name: np.arange(i + 2) for i, name in enumerate(["X_train", "y_train", "X_test", "y_test"])}
    load = lightonml.utils.load_data_from_numpy_archive
    np.savez(tmp_path / "good.npz", **arrays)
    equal(flat(load(str(tmp_path / "good.npz"))), list(arrays.values()))
    np.savez(tmp_path / "short.npz", X_train=np.arange(3))
    with pytest.raises(KeyError, match="y_train, X_test, y_test"):
        load(tmp_path / "short.npz")
    np.savez(tmp_path / "objects.npz", **{**arrays, "X_train": np.array([{}])})
    with pytest.raises(ValueError, match="holds Python objects"):
        load(tmp_path / "objects.npz")
    with pytest.raises(FileNotFoundError, match="none.npz"):
        load(str(tmp_path / "none.npz"))


def test_grey_levels(lightonml):
    cast = lightonml.utils.cast_01_to_uint8
    assert cast(np.array([[0.0, 0.5, 1.0, 0.002]])).tolist() == [[0, 128, 255, 1]]
    assert cast(np.array([True, False])).tolist() == [255, 0]
    assert cast(np.array([1, 0], np.uint8)).dtype == np.uint8
    for bad in ([1.1], [-0.01], [np.nan]):
        with pytest.raises(ValueError, match="outside 0 to 1"):
            cast(np.array(bad))


def test_download(lightonml, tmp_path):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/some/file.gz" else 404)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"bytes")

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("NO_PROXY", "127.0.0.1")
                lightonml.utils.download(f"{address}/some/file.gz", str(tmp_path))
                with pytest.raises(OSError, match="404"):
                    lightonml.utils.download(f"{address}/other.gz", str(tmp_path))
        finally:
            server.shutdown()
            thread.join()
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["file.gz"]
    assert (tmp_path / "file.gz").read_bytes() == b"bytes"


def test_levels_of_messages(lightonml, capsys):
    state = lightonml._state
    assert state.get_verbose_level() == 0
    for get in (state.get_print_fn, state.get_debug_fn, state.get_trace_fn):
        assert get()("nothing") is None
    assert capsys.readouterr() == ("", "")
    state.set_verbose_level(1)
    assert state.get_print_fn() is print
    state.get_debug_fn()("too much")
    assert capsys.readouterr().err == ""


def test_debug_messages_go_to_stderr():
    """In a process of its own, because loggers are global."""
    code = (
        "from lightonml import _state as s; s.set_verbose_level(2); s.get_debug_fn()('seen'); "
        "s.get_trace_fn()('unseen'); s.set_verbose_level(3); s.get_trace_fn()('traced 100%')"
    )
    loader = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); {code}"
    done = subprocess.run([sys.executable, "-c", loader], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-2:] == ["seen", "traced 100%"] and done.stdout == ""
