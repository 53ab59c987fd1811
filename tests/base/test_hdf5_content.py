"""What is in an HDF5 file: there, in this file, of the size that it says, and finite; or a sentence."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from opusim.base import memory
from opusim.base.hdf5_content import FileError, attribute, check_finite, first_not_finite, member, read_array


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.arange(10.0).tofile("elsewhere.bin")
    with h5py.File("other.h5", "w") as other:
        other["x"] = np.arange(10.0)
    with h5py.File("a.h5", "w", libver="v108") as new:
        new["x"] = np.arange(10.0)
        new["texts"] = ["a", "b"]
        new["empty"] = np.zeros(0)
        new["scalar"] = 5.0
        new.create_dataset("packed", data=np.zeros((100, 100)), chunks=(50, 50), compression="gzip")
        new.create_dataset("chunks", data=np.eye(10), chunks=(5, 5))
        new.create_group("group")["y"] = np.arange(3)
        new["soft"] = h5py.SoftLink("/x")
        new["nowhere"] = h5py.SoftLink("/gone")
        new["loop"] = h5py.SoftLink("/loop")
        new["other"] = h5py.ExternalLink("other.h5", "/x")
        new["other_file"] = h5py.ExternalLink("other.h5", "/")
        new["soft_other"] = h5py.SoftLink("/other")
        new.create_dataset("raw", (10,), "f8", external=[("elsewhere.bin", 0, 80)])
        layout = h5py.VirtualLayout((10,), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", shape=(10,))
        new.create_virtual_dataset("virtual", layout)
        new.create_dataset("never", (10,), "f8")
        new.create_dataset("huge", (10**12,), "f8")
        new.create_dataset("huge_packed", (10**12,), "f8", chunks=(10**6,), compression="gzip")
        new["null"] = h5py.Empty("f8")
    with h5py.File("a.h5", "r") as opened:
        yield opened


@pytest.mark.parametrize("name", ["x", "texts", "empty", "scalar", "packed", "chunks", "group/y"])
def test_what_is_there_is_read_as_h5py_reads_it(file, name):
    array = read_array(member(file, name))
    assert array.dtype == file[name].dtype and np.array_equal(array, file[name][()])


@pytest.mark.parametrize(
    "name, links, words",
    [
        ("soft", False, "holds 'soft' as a link to '/x', but it must be there itself"),
        ("nowhere", False, "holds 'nowhere' as a link to '/gone', but it must be there itself"),
        ("nowhere", True, "as a link to '/gone', and there is no such thing in the file"),
        ("loop", True, "as a link to '/loop', and there is no such thing"),
        ("other", False, "as a link to '/x' in the file 'other.h5', but it must be in the file itself"),
        ("other", True, "as a link to '/x' in the file 'other.h5', but it must be in the file itself"),
        ("soft_other", True, "as a link to '/other', and there is no such thing"),
        ("other_file/x", True, "holds 'other_file/x' in another file"),
        ("raw", True, "raw keeps its elements in other files"),
        ("virtual", True, "virtual keeps its elements in other files"),
        ("never", False, r"never says that it has the shape \(10,\) and 80 bytes, but the file holds 0 bytes"),
        ("huge", False, r"huge says that it has the shape \(1000000000000,\) and 7.28 TiB, but the file holds 0 bytes"),
        ("null", False, "null holds nothing"),
        ("group", False, "group is a group, but it must be a data set"),
    ],
)
def test_what_is_not_is_a_sentence(file, name, links, words):
    with pytest.raises(FileError, match=f"^a.h5.* ?{words}.*\\.$"):
        read_array(member(file, name, links=links))


def test_a_link_within_the_file_is_followed_where_it_may_be(file):
    assert np.array_equal(read_array(member(file, "soft", links=True)), np.arange(10.0))
    assert np.array_equal(read_array(member(file, "never"), sparse=True), np.zeros(10))
    with pytest.raises(KeyError, match="none"):
        member(file, "none")


def test_more_than_there_is_memory_for_is_a_sentence(file, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda *_: 2.0**30)
    with pytest.raises(MemoryError, match=r"a.h5: huge_packed.* needs 7.28 TiB, but this machine has 1 GiB to spare"):
        read_array(member(file, "huge_packed"))


ATTRIBUTES = {
    "text": "é", "empty_text": "", "whole": 3, "number": 2.5, "complex": 1j, "flag": True, "table": np.arange(3),
    "texts": ["x", "yz"], "bytes": b"raw", "nothing": h5py.Empty("f"), "large": np.zeros(9000),
    "small": np.float32(1.5),
}  # fmt: skip


def test_attributes_are_read_as_h5py_reads_them(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="v108") as new:
        for name, value in ATTRIBUTES.items():
            new.attrs[name] = value
    with h5py.File(path, "r") as file:
        for name in ATTRIBUTES:
            got, right = attribute(file, name), file.attrs[name]
            assert type(got) is type(right)
            assert isinstance(right, h5py.Empty) or np.array_equal(got, right)
        with pytest.raises(FileError, match="a.h5 has no attribute 'gone', which files of opusim have"):
            attribute(file, "gone")
        for name, kind, words in (
            ("number", str, "is 2.5.*must be a text"), ("text", float, "is 'é'.* must be a finite number"),
            ("number", int, "must be a whole number"), ("table", float, r"an array of the shape \(3,\)"),
            ("nothing", str, "must be a text"),
        ):  # fmt: skip
            with pytest.raises(FileError, match=f"a.h5: the attribute {name!r} is .*{words.removeprefix('is ')}"):
                attribute(file, name, kind)
        assert attribute(file, "whole", float) == 3 and attribute(file, "small", float) == 1.5


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", "c8", "c16", ">c8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_number_that_is_not_finite_is_found(dtype, bad):
    """Against numpy's own answer, in arrays of several parts, with numbers whose squares overflow."""
    rng = np.random.default_rng(0)
    for shape in ((5,), (1000, 700), (3, 7, 11)):
        array = rng.normal(size=shape).astype(dtype)
        if dtype != "f2":
            array.reshape(-1)[0] = 1e30
        assert first_not_finite(array) is None and first_not_finite(array.T) is None
        places = [tuple(int(rng.integers(n)) for n in shape) for _ in range(2)]
        for place in places:
            array[place] = bad
        right = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        assert first_not_finite(array) == right
        with pytest.raises(FileError, match=r"it holds .* at .*, but all of it must be finite"):
            check_finite(array, "it")
    assert first_not_finite(np.arange(3)) is None and first_not_finite(np.zeros(0)) is None
