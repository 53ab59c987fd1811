"""Files: whole or not there at all, and no pickle."""

from __future__ import annotations

import os
import pickle
import stat

import numpy as np
import pytest

from opusim.files import NpyWriter, open_npy, replacing


def test_replacing_renames_when_whole(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_replacing_leaves_the_old_file_on_an_error(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_replacing_gives_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_replacing_needs_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "no" / "a"):
        pass


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_writer_makes_what_numpy_saves(tmp_path, dtype):
    array = np.arange(60).reshape(10, 6).astype(dtype)
    with NpyWriter(tmp_path / "a.npy", array.shape, array.dtype) as writer:
        writer.append(array[:4])
        writer.append(array[4:4])
        writer.append(np.asfortranarray(array[4:]))
    np.save(tmp_path / "b.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert np.array_equal(open_npy(tmp_path / "a.npy"), array)


@pytest.mark.parametrize("rows", [np.zeros((2, 5), np.uint8), np.zeros((4, 6), np.uint8), np.zeros((1, 6), np.uint16)])
def test_writer_refuses_rows_that_do_not_fit(tmp_path, rows):
    with (
        NpyWriter(tmp_path / "a.npy", (3, 6), np.dtype(np.uint8)) as writer,
        pytest.raises(ValueError, match="rows is .* after 0 rows of uint8"),
    ):
        writer.append(rows)


def test_open_npy_refuses_pickles(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trap"),)

    np.save(tmp_path / "objects.npy", np.array([Trap()], object), allow_pickle=True)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="holds Python objects, which are never read"):
        open_npy(tmp_path / "objects.npy")
    with pytest.raises(ValueError, match="is not a .npy file"):
        open_npy(tmp_path / "raw.npy")
    assert not (tmp_path / "trap").exists()


def test_open_npy_says_what_is_wrong(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 100)))
    np.savez(tmp_path / "a.npz", np.zeros(3))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:500])
    (tmp_path / "header.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:20])
    with pytest.raises(FileNotFoundError, match="There is no file"):
        open_npy(tmp_path / "none.npy")
    with pytest.raises(IsADirectoryError, match="is a folder, but it must be a .npy file"):
        open_npy(tmp_path)
    with pytest.raises(ValueError, match="is not a .npy file"):
        open_npy(tmp_path / "a.npz")
    for name in ("cut.npy", "header.npy"):
        with pytest.raises(ValueError, match="cut short"):
            open_npy(tmp_path / name)
