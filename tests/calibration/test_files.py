"""Calibration files: whole or not at all, one device, one version, nothing unpickled."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from opusim import OpticalBench
from opusim.calibration import files
from opusim.calibration.files import read_info, read_record, record_names, write_record
from opusim.device.record import Device

SLOW_FIXTURE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Thing:
    field: np.ndarray
    mask: np.ndarray
    gain: float
    interval: tuple[float, float]
    roi: tuple[int, ...]
    names: tuple[str, ...]
    count: int
    good: bool
    note: str
    limit: float | None


def thing(size=100, note="as it was"):
    field = np.random.default_rng(size).normal(size=(size, 2)).astype(np.float32).view(np.complex64)
    return Thing(field, field.real > 0, 0.04, (0.03, 0.05), (1, 2, 3, 4), ("a", "é"), 7, True, note, None)


def same(a, b):
    for name in Thing.__dataclass_fields__:
        x, y = getattr(a, name), getattr(b, name)
        assert type(x) is type(y), name
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype and np.array_equal(x, y), name
        else:
            assert x == y, name


@pytest.fixture(scope="module")
def bench():
    return OpticalBench("aurora", seed=5)


def test_round_trip(tmp_path, bench):
    path = tmp_path / "cal.h5"
    bench.skip_frames(2, frametime_s=1.5)
    write_record(path, "one", thing(), bench=bench)
    write_record(path, "two", thing(3), bench=bench)
    same(read_record(path, "one", Thing, bench=bench), thing())
    same(read_record(path, "two", Thing), thing(3))
    assert record_names(path) == ["one", "two"] and os.listdir(tmp_path) == ["cal.h5"]
    info = read_info(path, "two")
    assert info.kind == "Thing" and info.elapsed_s == bench.clock.elapsed_s and info.created.endswith("+00:00")
    assert info.device.fingerprint == bench.device.fingerprint() and info.device.seed == 5
    assert info.device.name == "aurora"


def test_replacing_a_record_keeps_the_others_and_wastes_no_room(tmp_path):
    path = tmp_path / "cal.h5"
    write_record(path, "one", thing())
    write_record(path, "two", thing(20_000))
    size = path.stat().st_size
    for note in ("b", "c", "d"):
        write_record(path, "two", thing(20_000, note=note))
    same(read_record(path, "one", Thing), thing())
    assert read_record(path, "two", Thing).note == "d"
    assert path.stat().st_size <= size + 100


KINDS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300),
    st.none(),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=5).map(tuple),
    arrays.arrays(
        st.sampled_from(["?", "u1", "u2", "<i8", ">f4", "f8", "c8", "c16"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
)


@SLOW_FIXTURE
@given(values=st.lists(KINDS, min_size=1, max_size=4))
def test_any_record_comes_back(tmp_path, values):
    kind = make_dataclass("Any", [f"field{i}" for i in range(len(values))], frozen=True)
    path = tmp_path / "any.h5"
    write_record(path, "any", kind(*values))
    back = read_record(path, "any", kind)
    for name, value in zip(kind.__dataclass_fields__, values, strict=True):
        got = getattr(back, name)
        assert type(got) is type(value)
        if isinstance(value, np.ndarray):
            assert got.dtype == value.dtype and got.shape == value.shape and got.tobytes() == value.tobytes()
        else:
            assert got == value


@pytest.mark.parametrize("value", [{}, [], object(), np.array(["a"]), np.array([object()]), (1, "a"), "a\0b", "\ud800"])
def test_what_cannot_be_written_is_named_and_changes_nothing(tmp_path, value):
    path = tmp_path / "cal.h5"
    write_record(path, "one", thing())
    before = path.read_bytes()
    kind = make_dataclass("Odd", ["stuff"], frozen=True)
    with pytest.raises((TypeError, ValueError), match=r"Odd\.stuff is .* but"):
        write_record(path, "one", kind(value))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["cal.h5"]


@pytest.mark.parametrize("name", ["", "a/b", "..", 3, "a b"])
def test_names_are_words(tmp_path, name):
    with pytest.raises(ValueError, match="must be a word"):
        write_record(tmp_path / "cal.h5", name, thing())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "cal.h5"
    write_record(path, "one", thing(500))
    write_record(path, "two", thing(3))
    return path.read_bytes()


@pytest.mark.slow
@settings(SLOW_FIXTURE, max_examples=300)
@given(data=st.data())
def test_cut_short_at_any_byte(tmp_path, whole, data):
    path = tmp_path / "cut.h5"
    # Without its trailer, and nothing else, a file is one of an older opusim: tests/test_files.py.
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1).filter(lambda n: n != len(whole) - 40))])
    for act in (
        lambda: read_record(path, "one", Thing),
        lambda: record_names(path),
        lambda: write_record(path, "two", thing()),
    ):
        with pytest.raises(ValueError, match="is damaged or cut short; calibrate again"):
            act()


def test_cut_short_by_one_byte(tmp_path, whole):
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="is damaged or cut short"):
        record_names(path)


@settings(SLOW_FIXTURE, max_examples=300)
@given(data=st.data())
def test_a_changed_byte_is_a_sentence(tmp_path, whole, data):
    place = data.draw(st.integers(0, len(whole) - 1))
    bad = bytearray(whole)
    bad[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "bad.h5"
    path.write_bytes(bad)
    with pytest.raises(ValueError, match="bad.h5 is (damaged or cut short|not an HDF5 file)"):
        read_record(path, "one", Thing)


def test_other_device_seed_version_and_format(tmp_path, bench):
    path = tmp_path / "cal.h5"
    write_record(path, "one", thing(), bench=bench)
    before = path.read_bytes()
    ideal = OpticalBench("ideal", seed=5)
    with pytest.raises(ValueError, match="belongs to another device: aurora with the fingerprint"):
        read_record(path, "one", Thing, bench=ideal)
    with pytest.raises(ValueError, match="belongs to another device"):
        read_record(path, "one", Thing, fingerprint="0" * 64)
    with pytest.raises(ValueError, match="of seed 5, but this one has the seed 6"):
        read_record(path, "one", Thing, bench=OpticalBench("aurora", seed=6))
    with pytest.raises(ValueError, match="belongs to another device"):
        write_record(path, "two", thing(), bench=ideal)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="has no record 'two'; it has one"):
        read_record(path, "two", Thing)
    with pytest.raises(ValueError, match="holds a Thing, but a Other is wanted"):
        read_record(path, "one", make_dataclass("Other", ["x"]))
    with pytest.raises(ValueError, match="lacks newer; calibrate again"):
        read_record(path, "one", make_dataclass("Thing", ["newer", "gain"]))
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = 3
    with pytest.raises(ValueError, match="has the format version .*3.*, but this opusim .* reads 1 to 2"):
        read_record(path, "one", Thing)
    with pytest.raises(ValueError, match="has the format version"):
        write_record(path, "one", thing(), bench=bench)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="is an HDF5 file, but not a calibration file"):
        read_record(path, "one", Thing)


def test_a_field_that_the_record_refuses(tmp_path):
    @dataclass(frozen=True)
    class Picky:
        x: float

        def __post_init__(self):
            if self.x < 0:
                raise ValueError("x must be at least 0.")

    path = tmp_path / "cal.h5"
    write_record(path, "p", Picky(1.0))
    with h5py.File(path, "a") as file:
        file["p"].attrs["x"] = -1.0
    with pytest.raises(ValueError, match="does not hold a valid Picky .x must be at least 0"):
        read_record(path, "p", Picky)


@settings(SLOW_FIXTURE)
@given(content=st.binary(max_size=200))
def test_not_hdf5(tmp_path, content):
    path = tmp_path / "cal.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not an HDF5 file|is damaged or cut short"):
        read_record(path, "one", Thing)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no calibration file"):
        read_record(tmp_path / "none.h5", "one", Thing)
    with pytest.raises(IsADirectoryError, match="is a folder, but it must be a calibration file"):
        read_record(tmp_path, "one", Thing)
    with pytest.raises(FileNotFoundError):
        write_record(tmp_path / "no" / "cal.h5", "one", thing())


def test_full_disk_keeps_the_old_file(tmp_path):
    """A limit on the size of a file stands for the full disk: the write fails half way."""
    path = tmp_path / "cal.h5"
    write_record(path, "one", thing())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError):
            write_record(path, "two", thing(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["cal.h5"]
    write_record(path, "two", thing(100_000))
    assert record_names(path) == ["one", "two"]


def start(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


WRITER = """
import sys
from dataclasses import make_dataclass
import numpy as np
from opusim.calibration.files import write_record
kind = make_dataclass("Filled", ["values", "by"], frozen=True)
print("ready", flush=True)
for i in range(30):
    write_record(sys.argv[1], "one", kind(np.full(200_000, int(sys.argv[2])), int(sys.argv[2])))
"""


@pytest.mark.slow
def test_two_processes_write_and_the_last_one_wins_whole(tmp_path):
    path = tmp_path / "cal.h5"
    kind = make_dataclass("Filled", ["values", "by"], frozen=True)
    write_record(path, "one", kind(np.full(200_000, 0), 0))
    writers = [start(WRITER, path, by) for by in (1, 2)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        record = read_record(path, "one", kind)
        assert (record.values == record.by).all()
        seen.add(record.by)
    record = read_record(path, "one", kind)
    assert [writer.wait() for writer in writers] == [0, 0] and record.by in (1, 2)
    assert (record.values == record.by).all() and os.listdir(tmp_path) == ["cal.h5"]


KILLED = """
import os, sys, signal
from dataclasses import make_dataclass
from pathlib import Path
import numpy as np
from opusim.calibration import files
step, path = sys.argv[1:]
if step == "write":  # dies with half of the bytes written
    class Half:
        def __init__(self, raw): self.raw = raw
        def __enter__(self): return self
        def __exit__(self, *_): self.raw.close()
        def write(self, image):
            self.raw.write(bytes(image)[: len(image) // 2]); self.raw.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    plain = Path.open
    Path.open = lambda self, mode="r", *a, **k: Half(plain(self, mode)) if mode == "wb" else plain(self, mode, *a, **k)
elif step == "sync":
    os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
elif step == "rename":
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
files.write_record(path, "one", make_dataclass("Filled", ["values", "by"], frozen=True)(np.ones(100_000), 1))
"""


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
def test_killed_while_writing_leaves_the_old_file(tmp_path, step):
    path = tmp_path / "cal.h5"
    write_record(path, "one", thing())
    before = path.read_bytes()
    assert start(KILLED, step, path).wait() == -signal.SIGKILL
    assert path.read_bytes() == before
    same(read_record(path, "one", Thing), thing())


def test_killed_at_any_time_leaves_a_whole_file(tmp_path):
    path = tmp_path / "cal.h5"
    kind = make_dataclass("Filled", ["values", "by"], frozen=True)
    write_record(path, "one", kind(np.full(200_000, 0), 0))
    for _ in range(3):
        writer = start(WRITER, path, 1)
        assert writer.stdout.readline() == "ready\n"
        writer.stdout.close()
        writer.kill()
        writer.wait()
        record = read_record(path, "one", kind)
        assert (record.values == record.by).all()


def test_nothing_is_unpickled():
    assert "pickle" not in Path(files.__file__).read_text().replace("unpickled", "")


def test_device_without_identity(tmp_path):
    """A laboratory's bench without a fingerprint writes and reads; a file of a known device is not taken for it."""
    path = tmp_path / "cal.h5"
    write_record(path, "one", thing(), bench=object())
    same(read_record(path, "one", Thing, bench=object()), thing())
    with pytest.raises(ValueError, match="one without a name with the fingerprint none, but this one has"):
        read_record(path, "one", Thing, fingerprint=Device.load("ideal").fingerprint())
