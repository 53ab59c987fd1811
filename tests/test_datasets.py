"""Data sets: from a folder, from a server (a small one on this machine), from scikit-learn; and what goes wrong."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import logging
import lzma
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opusim import datasets


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No OPUSIM_DATA, an empty cache, no proxy between the test and its own server."""
    monkeypatch.delenv("OPUSIM_DATA", raising=False)
    monkeypatch.setenv("OPUSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """An http server on the loopback address: its address, its folder, and the paths it was asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, format, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/", folder, asked
        httpd.shutdown()
        thread.join()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, server) -> dict[str, np.ndarray]:
    """Put a small MNIST on the server, and its checksums into the table."""
    url, folder, _ = server
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (12, 28, 28), dtype=np.uint8),
        "y_train": rng.integers(0, 10, 12, dtype=np.uint8),
        "x_test": rng.integers(0, 256, (5, 28, 28), dtype=np.uint8),
        "y_test": rng.integers(0, 10, 5, dtype=np.uint8),
    }
    source = datasets._SOURCES["mnist"]
    assert source.remote is not None
    files = {}
    for key, (file, _md5) in source.remote.files.items():
        (folder / file).write_bytes(gzip.compress(idx_bytes(arrays[key])))
        files[key] = (file, "md5:" + hashlib.md5((folder / file).read_bytes()).hexdigest())
    sums = {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}
    remote = replace(source.remote, base_url=url, files=files, array_sha256=sums)
    monkeypatch.setitem(datasets._SOURCES, "mnist", replace(source, remote=remote))
    return arrays


def test_digits_are_a_fixed_split_of_all_images(bare):
    digits = datasets.load("digits")
    assert digits.keys() == ["x_train", "y_train", "x_test", "y_test"]
    assert digits.x_train.shape == (1348, 8, 8) and digits.x_test.shape == (449, 8, 8)
    assert {digits.__dict__[key].dtype for key in digits.keys()} == {np.dtype(np.uint8)}
    assert digits.x_train.max() == 16 and set(digits.y_test) == set(range(10))
    again = datasets.load("Digits")  # in any case
    assert again.name == "digits"
    assert all(np.array_equal(again.__dict__[key], digits.__dict__[key]) for key in digits.keys())


def test_record_is_frozen_and_names_what_it_has(bare):
    digits = datasets.load("digits")
    with pytest.raises(AttributeError, match="frozen"):
        digits.x_train = digits.x_test
    with pytest.raises(AttributeError, match="frozen"):
        del digits.x_train
    with pytest.raises(AttributeError, match="'labels'.*x_train, y_train, x_test, y_test"):
        _ = digits.labels
    assert "x_train: uint8(1348, 8, 8)" in repr(digits)


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_image_sets_of_the_folder(data_folder, name):
    record = datasets.load(name)
    assert record.x_train.shape == (60000, 28, 28) and record.x_test.shape == (10000, 28, 28)
    assert record.y_train.shape == (60000,) and record.y_test.shape == (10000,)
    assert {record.__dict__[key].dtype for key in record.keys()} == {np.dtype(np.uint8)}
    # The checksums that a download is held to are those of the folder's arrays.
    remote = datasets._SOURCES[name].remote
    assert remote is not None and list(remote.files) == record.keys()
    for key, expected in remote.array_sha256.items():
        assert hashlib.sha256(record.__dict__[key].tobytes()).hexdigest() == expected


@pytest.mark.data
def test_idx_of_mnist_equals_the_upstream_files(data_folder):
    # md5 of the four unzipped upstream files, as published beside them by several mirrors.
    published = {
        "x_train": "6bbc9ace898e44ae57da46a324031adb",
        "y_train": "a25bea736e30d166cdddb491f175f624",
        "x_test": "2646ac647ad5339dbf082846283269ea",
        "y_test": "27ae3e4e09519cfbb04c329615203637",
    }
    record = datasets.load("mnist")
    for key, expected in published.items():
        data = idx_bytes(record.__dict__[key])
        assert hashlib.md5(data).hexdigest() == expected
        assert np.array_equal(datasets.read_idx(data), record.__dict__[key])


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "nodes", "features", "classes", "edges"),
    [("cora", 2708, 1433, 7, 5278), ("citeseer", 3327, 3703, 6, 4552), ("pubmed", 19717, 500, 3, 44324)],
)
def test_citation_graphs_of_the_folder(data_folder, name, nodes, features, classes, edges):
    graph = datasets.load(name)
    assert tuple(graph.x_shape) == (nodes, features) and graph.x_indptr.shape == (nodes + 1,)
    assert graph.labels.shape == (nodes,) and graph.labels.max() + 1 == classes
    assert graph.edges.shape == (edges, 2) and (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert [len(graph.idx_train), len(graph.idx_val), len(graph.idx_test)] == [20 * classes, 500, 1000]


def test_download_parses_idx_and_is_cached(bare, server, small, capfd):
    _, folder, asked = server
    record = datasets.load("mnist")
    assert record.keys() == list(small)
    for key, array in small.items():
        assert np.array_equal(record.__dict__[key], array) and record.__dict__[key].dtype == np.uint8
    assert len(asked) == 4
    for file in folder.iterdir():  # the cache needs no server
        file.unlink()
    assert np.array_equal(datasets.load("mnist").x_test, small["x_test"])
    assert len(asked) == 4
    assert capfd.readouterr() == ("", "")


def test_folder_comes_before_the_network(bare, server, small, monkeypatch, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(folder / "mnist.npz", x_train=np.zeros((1, 28, 28), np.uint8))
    sha = hashlib.sha256((folder / "mnist.npz").read_bytes()).hexdigest()
    monkeypatch.setitem(datasets._SOURCES, "mnist", replace(datasets._SOURCES["mnist"], sha256=sha))
    monkeypatch.setenv("OPUSIM_DATA", str(folder))
    assert datasets.load("mnist").x_train.shape == (1, 28, 28)
    assert server[2] == []


def test_folder_without_the_file_falls_back_to_the_network(bare, server, small, monkeypatch, tmp_path):
    monkeypatch.setenv("OPUSIM_DATA", str(tmp_path))
    assert np.array_equal(datasets.load("mnist").y_train, small["y_train"])


def test_wrong_file_in_the_folder_is_refused(bare, server, small, monkeypatch, tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"not it")
    monkeypatch.setenv("OPUSIM_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"mnist\.npz is not the data set 'mnist': its sha256 is .* but it must be"):
        datasets.load("mnist")
    assert server[2] == []


def test_download_with_a_wrong_checksum_is_refused(bare, server, small):
    _, folder, _ = server
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match="hash"):
        datasets.load("mnist")
    assert not (bare / "mnist" / path.name).exists()


def test_download_with_other_elements_is_refused(bare, server, small, monkeypatch):
    source = datasets._SOURCES["mnist"]
    assert source.remote is not None
    sums = {**source.remote.array_sha256, "y_test": "0" * 64}
    monkeypatch.setitem(datasets._SOURCES, "mnist", replace(source, remote=replace(source.remote, array_sha256=sums)))
    with pytest.raises(ValueError, match="does not hold y_test of 'mnist'"):
        datasets.load("mnist")


def test_cut_gzip_is_a_sentence(bare, server, small, monkeypatch):
    _, folder, _ = server
    source = datasets._SOURCES["mnist"]
    assert source.remote is not None
    file, _ = source.remote.files["x_train"]
    cut = (folder / file).read_bytes()[:100]
    (folder / file).write_bytes(cut)
    files = {**source.remote.files, "x_train": (file, "md5:" + hashlib.md5(cut).hexdigest())}
    monkeypatch.setitem(datasets._SOURCES, "mnist", replace(source, remote=replace(source.remote, files=files)))
    with pytest.raises(ValueError, match="not a whole gzip file"):
        datasets.load("mnist")


def test_no_folder_and_no_network_names_both(bare, monkeypatch):
    source = datasets._SOURCES["mnist"]
    assert source.remote is not None
    # Port 9 of the loopback address: nothing listens there, the refusal comes at once.
    remote = replace(source.remote, base_url="http://127.0.0.1:9/")
    monkeypatch.setitem(datasets._SOURCES, "mnist", replace(source, remote=remote))
    with pytest.raises(FileNotFoundError, match=r"OPUSIM_DATA.*download from 127.0.0.1:9 failed \(\w+\).*network"):
        datasets.load("mnist")


def test_missing_on_the_server_names_both(bare, server, small):
    _, folder, _ = server
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"download from 127.0.0.1:\d+ failed \(HTTPError, status 404\). Connect to a network, or set OPUSIM_DATA",
    ):
        datasets.load("mnist")


@pytest.mark.parametrize("name", ["cora", "citeseer", "pubmed"])
def test_graphs_without_the_folder_say_why_there_is_no_download(bare, name):
    with pytest.raises(FileNotFoundError, match=f"{name}.*OPUSIM_DATA.*cannot be had from the network.*pickle"):
        datasets.load(name)


@pytest.mark.parametrize(
    ("name", "error"), [("cifar", ValueError), ("", ValueError), (3, TypeError), (None, TypeError)]
)
def test_unknown_name_lists_the_known_ones(bare, name, error):
    with pytest.raises(error, match="name is .*but it must be one of mnist, fashion-mnist, .*digits"):
        datasets.load(name)


@pytest.fixture
def small_text(monkeypatch: pytest.MonkeyPatch, server) -> str:
    """Put a small text on the server, and its checksums into the table."""
    url, folder, _ = server
    (folder / "input.txt").write_bytes(b"To be,\nor not\n")
    packed = lzma.compress(b"To be,\nor not\n")
    (folder / "small.txt.xz").write_bytes(packed)
    source = datasets._Source("small.txt.xz", hashlib.sha256(packed).hexdigest())
    checksum = "sha256:" + hashlib.sha256(b"To be,\nor not\n").hexdigest()
    monkeypatch.setitem(datasets._TEXTS, "tinyshakespeare", (source, url + "input.txt", checksum))
    return "To be,\nor not\n"


def test_text_comes_from_the_folder_else_from_the_network(bare, server, small_text, monkeypatch, capfd):
    _, folder, asked = server
    assert datasets.load_text("TinyShakespeare") == small_text
    assert asked == ["/input.txt"] and (bare / "tinyshakespeare" / "input.txt").is_file()
    assert datasets.load_text("tinyshakespeare") == small_text and len(asked) == 1  # from the cache
    monkeypatch.setenv("OPUSIM_DATA", str(folder))
    (bare / "tinyshakespeare" / "input.txt").unlink()
    assert datasets.load_text("tinyshakespeare") == small_text and len(asked) == 1
    assert capfd.readouterr() == ("", "")


def test_wrong_text_is_refused(bare, server, small_text, monkeypatch):
    _, folder, _ = server
    (folder / "input.txt").write_bytes(b"To be")
    with pytest.raises(ValueError, match="hash"):
        datasets.load_text("tinyshakespeare")
    (folder / "small.txt.xz").write_bytes(b"To be")
    monkeypatch.setenv("OPUSIM_DATA", str(folder))
    with pytest.raises(ValueError, match=r"small\.txt\.xz is not the data set 'tinyshakespeare'"):
        datasets.load_text("tinyshakespeare")


def test_missing_text_names_both_places(bare, server, small_text, monkeypatch, tmp_path):
    (server[1] / "input.txt").unlink()
    monkeypatch.setenv("OPUSIM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no file small\.txt\.xz, and the download from .* status 404.*OPUSIM"):
        datasets.load_text("tinyshakespeare")


@pytest.mark.parametrize(("name", "error"), [("hamlet", ValueError), (3, TypeError)])
def test_unknown_text_lists_the_known_ones(bare, name, error):
    with pytest.raises(error, match="name is .*but it must be one of tinyshakespeare"):
        datasets.load_text(name)


@pytest.mark.data
def test_tinyshakespeare_of_the_folder_is_the_published_text(data_folder):
    text = datasets.load_text("tinyshakespeare")
    assert len(text) == 1_115_394 and len(set(text)) == 65 and text.startswith("First Citizen:\n")
    checksum = datasets._TEXTS["tinyshakespeare"][2]
    assert checksum == "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def test_pooch_keeps_its_log_level(bare, server, small):
    import pooch

    pooch.get_logger().setLevel(logging.DEBUG)
    datasets.load("mnist")
    assert pooch.get_logger().level == logging.DEBUG


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_idx_round_trip(shape, seed):
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(datasets.read_idx(idx_bytes(array)), array)


@given(st.binary(max_size=40))
def test_idx_of_anything_is_an_array_or_a_sentence(data):
    try:
        array = datasets.read_idx(data)
    except ValueError as error:
        assert "idx file" in str(error)
    else:
        assert idx_bytes(array) == data
