"""Files: whole or not there at all, and no pickle."""

from __future__ import annotations

import os
import pickle
import signal
import stat
import warnings
from threading import Thread

import h5py
import numpy as np
import pytest

import opusim
from opusim.base import files
from opusim.base.files import (
    Hdf5Kind,
    NpyWriter,
    append_trailer,
    check_trailer,
    open_hdf5,
    open_npy,
    read_npz,
    replacing,
    rescue_hdf5,
    writing_hdf5,
)
from spoilt_files import lookup3, spoil


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


def test_a_changed_header_of_a_npy_file_is_a_sentence(tmp_path):
    """Each byte of the header in turn: numpy reads it as Python's text, and raises whatever that gives rise to."""
    path, array = tmp_path / "a.npy", np.arange(60.0).reshape(10, 6)
    np.save(path, array)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for place in range(128):
        for change in rng.integers(1, 256, 6):
            content = bytearray(whole)
            content[place] ^= int(change)
            path.write_bytes(content)
            try:
                found = open_npy(path)
            except ValueError as error:
                refused += 1
                assert "a.npy" in str(error) and "\n" not in str(error) and len(str(error)) < 500
            else:
                # The order of bytes and of axes, a type as wide: no header says that they were others.
                assert found.nbytes == array.nbytes and found.tobytes() == array.tobytes() or found.flags.f_contiguous
    assert refused > 600


def test_what_lies_behind_the_array_of_a_npy_file_is_told(tmp_path):
    path = tmp_path / "two.npy"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"two.npy goes on for 152 bytes behind its array, float64\[3\]"):
        open_npy(path)


def test_arrays_of_a_npz_file(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(1000), y=np.eye(3))
    assert read_npz(path, ["y"]).keys() == {"y"} and np.array_equal(read_npz(path)["x"], np.arange(1000))
    with pytest.raises(KeyError, match="has no array z; it has x, y"):
        read_npz(path, ["z", "x"])
    whole, rng, told = path.read_bytes(), np.random.default_rng(0), 0
    for cut in rng.integers(2, len(whole), 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="a.npz is cut short or damaged"):
            read_npz(path)
    for place in rng.integers(0, len(whole), 200):
        content = bytearray(whole)
        content[place] ^= 255
        path.write_bytes(content)
        try:
            found = read_npz(path, ["x", "y"])
        except (ValueError, KeyError) as error:
            told += "a.npz" in str(error)
        else:
            assert np.array_equal(found["x"], np.arange(1000)) and np.array_equal(found["y"], np.eye(3))
            told += 1
    assert told == 200


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


# ---------------------------------------------------------------- HDF5 files and their trailer

KIND = Hdf5Kind(
    "opusim thing",
    2,
    oldest=1,
    checked=2,
    noun="thing",
    wanted="a thing (HDF5)",
    again="make it again",
    rescue="make it again",
)
TRAILER = 40


@pytest.fixture
def thing(tmp_path):
    """A small file with all that our files hold: attributes, texts, chunks, an empty value."""
    path = tmp_path / "thing.h5"
    with writing_hdf5(path, KIND) as file:
        file.attrs["text"] = "words"
        file["numbers"] = np.arange(1000.0)
        file.create_dataset("texts", data=["a", "bc"], dtype=h5py.string_dtype())
        group = file.create_group("group")
        group.create_dataset("chunks", data=np.eye(64), chunks=(16, 16), compression="gzip")
        group.attrs["empty"] = h5py.Empty("f")
    return path


def numbers(path):
    with open_hdf5(path, KIND) as file:
        return file["numbers"][()].sum(), file["group/chunks"][()].sum(), file["texts"].asstr()[()].tolist()


def crc_32(data):
    """ISO 3309's check sum, bit by bit: the remainder by the polynomial of Ethernet, lowest bits first."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0xEDB88320 if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


def test_the_trailer_is_as_its_description_says(thing):
    content = thing.read_bytes()
    body, trailer = content[:-TRAILER], content[-TRAILER:]
    assert trailer[:16] == b"opusim checksum\n" and trailer[28:] == b"opusim end.\n"
    assert int.from_bytes(trailer[16:24], "little") == len(body)
    assert int.from_bytes(trailer[24:28], "little") == crc_32(body)
    assert check_trailer(thing) is True
    # Any other program reads it as HDF5.
    with h5py.File(thing, "r") as file:
        assert file.attrs["format"] == "opusim thing" and file.attrs["format_version"] == 2
        assert file.attrs["opusim_version"] == opusim.__version__
        assert file["numbers"][3] == 3.0


def test_a_file_is_checked_before_hdf5_sees_it(thing, monkeypatch):
    content = bytearray(thing.read_bytes())
    content[len(content) // 2] ^= 1
    thing.write_bytes(content)
    monkeypatch.setattr(h5py, "File", lambda *_, **__: pytest.fail("h5py was asked to open a damaged file"))
    with pytest.raises(ValueError, match="thing.h5 is damaged or cut short; make it again"):
        numbers(thing)


def test_a_changed_bit_anywhere_is_found(thing):
    content = thing.read_bytes()
    rng = np.random.default_rng(0)
    # Of the superblock and the trailer each byte, the highest bit of the length among them; of the rest some.
    places = {*rng.integers(48, len(content), 300).tolist(), *range(len(content) - TRAILER, len(content))}
    flips = [(place, 1 << int(rng.integers(8))) for place in places] + [
        (p, 1 << b) for p in range(8, 48) for b in (0, 7)
    ]
    for place, flip in flips:
        thing.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
        with pytest.raises(ValueError, match="damaged or cut short"):
            numbers(thing)
    thing.write_bytes(content)
    assert numbers(thing) == (499500.0, 64.0, ["a", "bc"])


def test_a_file_cut_anywhere_is_refused_but_where_the_trailer_begins(thing):
    content = thing.read_bytes()
    body = len(content) - TRAILER
    lengths = {0, 5, 8, 11, 12, 35, 36, 48, 100, body // 2, body - 1, *range(body + 1, len(content))}
    for length in lengths:
        thing.write_bytes(content[:length])
        with pytest.raises(ValueError, match="damaged or cut short"):
            numbers(thing)
    thing.write_bytes(content[:body])
    with pytest.warns(UserWarning, match="thing.h5 has no check sum, so that damage to it may not be seen"):
        assert numbers(thing) == (499500.0, 64.0, ["a", "bc"])


def test_bytes_behind_the_trailer_are_damage(thing):
    with thing.open("ab") as raw:
        raw.write(b"more")
    with pytest.raises(ValueError, match="damaged or cut short"):
        numbers(thing)


def test_a_trailer_whose_ends_are_both_changed_does_not_look_absent(thing, monkeypatch):
    """Behind what HDF5 reads there is nothing, or a trailer: HDF5 itself ends a file where it says."""
    content = thing.read_bytes()
    body = len(content) - TRAILER
    monkeypatch.setattr(h5py, "File", lambda *_, **__: pytest.fail("h5py was asked to open a damaged file"))
    rng = np.random.default_rng(0)
    trailers = []
    for first in range(16):
        for last in range(28, 40):
            bad = bytearray(content)
            bad[body + first] ^= int(rng.integers(1, 256))
            bad[body + last] ^= int(rng.integers(1, 256))
            trailers.append(bad)
    trailers += [content[:body] + bytes(TRAILER), content[:body] + b"\0", content[:body] + bytes(5000)]
    for bad in trailers:
        thing.write_bytes(bad)
        with pytest.raises(ValueError, match="damaged or cut short"):
            numbers(thing)
        with pytest.raises(ValueError, match="damaged or cut short"):
            rescue_hdf5(thing)


def test_a_change_within_the_tick_of_the_clock_is_seen(thing, monkeypatch):
    """A file is checked, changed and checked again, all at one time of the file system's clock."""
    content = thing.read_bytes()
    bad = bytearray(content)
    bad[1000] ^= 1
    times, state_of = thing.stat(), files.state_of
    monkeypatch.setattr(files, "state_of", lambda raw: (*state_of(raw)[:2], times.st_mtime_ns, times.st_ctime_ns))
    monkeypatch.setattr(files.time, "time_ns", lambda: times.st_ctime_ns + 1_000_000)
    for _ in range(2):
        thing.write_bytes(content)
        assert check_trailer(thing) is True
        thing.write_bytes(bad)
        assert check_trailer(thing) is False
    # Once the clock has gone on, a change would show in the times: the file is remembered.
    monkeypatch.setattr(files.time, "time_ns", lambda: times.st_ctime_ns + 3_000_000_000)
    thing.write_bytes(content)
    assert check_trailer(thing) is True
    monkeypatch.setattr(files, "_sum", lambda *_: pytest.fail("the file was read again"))
    assert check_trailer(thing) is True


@pytest.mark.parametrize("changed_ns, age_ms, settled", [
    (1_000_000_123, 10, False), (1_000_000_123, 30, True), (2_000_000_000, 30, False), (2_000_000_000, 2100, True),
])  # fmt: skip
def test_a_file_is_old_enough_by_the_ticks_that_its_times_show(changed_ns, age_ms, settled):
    assert files.is_settled((1, 100, changed_ns, changed_ns), changed_ns + age_ms * 1_000_000) is settled
    # One whose times lie ahead, as after a change of the clock, never is.
    assert not files.is_settled((1, 100, changed_ns + 10**12, changed_ns), changed_ns + age_ms * 1_000_000)


def test_a_file_that_did_not_change_is_read_for_its_check_once(thing, monkeypatch):
    monkeypatch.setattr(files, "_TICK_NS", -1)  # it was written long ago
    assert check_trailer(thing) is True
    with monkeypatch.context() as patch:
        patch.setattr(files, "_sum", lambda *_: pytest.fail("the file was read again"))
        assert check_trailer(thing) is True
    content = bytearray(thing.read_bytes())
    content[1000] ^= 1
    thing.write_bytes(content)
    os.utime(thing, ns=(0, 12345))
    assert check_trailer(thing) is False


def test_a_file_that_another_program_changed_opens_with_one_warning(thing):
    with h5py.File(thing, "r+") as file:
        file["numbers"][0] = 1.0
    assert check_trailer(thing) is None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert numbers(thing)[0] == 499501.0 and numbers(thing)[0] == 499501.0
    assert [warning.filename for warning in seen] == [__file__]
    assert "another program changed it" in str(seen[0].message)
    assert rescue_hdf5(thing) == f"{thing} could be read as it was, and has a check sum now."
    assert check_trailer(thing) is True


def test_versions_from_the_oldest_to_this_one_are_read(thing):
    for version, fits in ((0, False), (1, True), (2, True), (3, False)):
        with h5py.File(thing, "r+") as file:
            file.attrs["format_version"] = version
        rescue_hdf5(thing)
        if fits:
            assert numbers(thing)[1] == 64.0
        else:
            with pytest.raises(ValueError, match=f"format version {version}, but this opusim .* reads 1 to 2; make"):
                numbers(thing)


def test_an_error_in_the_block_leaves_the_old_file(thing):
    before = thing.read_bytes()
    with pytest.raises(KeyError), writing_hdf5(thing, KIND) as file:
        file["numbers"] = np.zeros(3)
        raise KeyError("no")
    assert thing.read_bytes() == before and os.listdir(thing.parent) == ["thing.h5"]


def test_rescue_refuses_what_is_none_of_ours_or_damaged(thing, tmp_path):
    content = thing.read_bytes()
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = 1
    for path, raw, words in (
        (thing, content[: len(content) // 2], "damaged or cut short in a way that cannot be mended"),
        (thing, content[:2000] + b"?" * 100 + content[2100:], "damaged or cut short in a way that cannot be mended"),
        (thing, b"text", "is not an HDF5 file"),
        (other, other.read_bytes(), "is an HDF5 file, but none that opusim wrote"),
    ):
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=words):
            rescue_hdf5(path)
        assert path.read_bytes() == raw
    with pytest.raises(FileNotFoundError, match="There is no file"):
        rescue_hdf5(tmp_path / "none.h5")
    with pytest.raises(IsADirectoryError):
        rescue_hdf5(tmp_path)


@pytest.mark.parametrize("survey, words", [
    ("import time; time.sleep(60)", "HDF5 had not read it after 1 s"), ("import os; os.abort()", "Reading it ended"),
])  # fmt: skip
def test_a_rescue_that_does_not_come_to_an_end_is_ended(thing, monkeypatch, survey, words):
    with h5py.File(thing, "r+") as file:
        file["numbers"][0] = 1.0
    before = thing.read_bytes()
    monkeypatch.setattr(files, "_SURVEY", survey)
    with pytest.raises(ValueError, match=f"cannot be mended; use a backup of it. {words}"):
        rescue_hdf5(thing, limit_s=1.0)
    assert thing.read_bytes() == before and os.listdir(thing.parent) == ["thing.h5"]
    assert "has a check sum now" in rescue_hdf5(thing, limit_s=None)


def test_a_rescued_file_is_whole_under_any_h5py(thing, tmp_path):
    content = thing.read_bytes()
    assert lookup3(content[:44]) == int.from_bytes(content[44:48], "little"), "HDF5's own check sum"
    spoil(thing)
    before = thing.read_bytes()
    with pytest.raises(OSError, match="checksum"):
        h5py.File(thing, "r")
    out = tmp_path / "rescued.h5"
    assert rescue_hdf5(thing, out) == f"{out} can be read again, and has a check sum."
    assert thing.read_bytes() == before
    assert numbers(out) == (499500.0, 64.0, ["a", "bc"])
    with h5py.File(out, "r") as file:
        assert file.attrs["text"] == "words" and isinstance(file["group"].attrs["empty"], h5py.Empty)
        assert file["texts"].asstr()[()].tolist() == ["a", "bc"]
    # HDF5's status is that of a closed file, its check sum right: any version opens it.
    content = out.read_bytes()
    assert content[8] == 2 and content[11] == 0
    assert lookup3(content[:44]) == int.from_bytes(content[44:48], "little")


def test_two_threads_writing_and_reading_one_file_meet_whole_files(thing):
    errors = []

    def write(value):
        for _ in range(20):
            with writing_hdf5(thing, KIND) as file:
                file["numbers"] = np.full(1000, value)
                file["group/chunks"] = np.eye(64)
                file.create_dataset("texts", data=["a", "bc"], dtype=h5py.string_dtype())

    def read():
        for _ in range(40):
            try:
                assert numbers(thing)[0] in (499500.0, 1000.0, 2000.0)
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)

    workers = [Thread(target=write, args=(1.0,)), Thread(target=write, args=(2.0,)), Thread(target=read)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors and check_trailer(thing) is True


@pytest.mark.skipif(os.name == "nt", reason="limits as on POSIX are needed")
def test_a_full_disk_leaves_the_old_file_and_says_so(thing):
    import resource

    before, limits = thing.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        with (
            pytest.raises(OSError, match="the thing cannot be written to"),
            writing_hdf5(thing, KIND, "the thing") as f,
        ):
            f["numbers"] = np.zeros(100_000)
        with pytest.raises(OSError):
            append_trailer(thing)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert thing.read_bytes() == before and os.listdir(thing.parent) == ["thing.h5"]
