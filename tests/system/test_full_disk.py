"""A disk that fills up: every command that writes says so in a sentence that names the file, and the old one stays."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from opusim.sweep import read_sweep

pytestmark = pytest.mark.system

DEVICE = """
preset = "aurora"
name = "small"
[dmd]
shape = [128, 128]
[camera]
shape = [128, 256]
[operation]
ones_range = [800, 10000]
"""
TASK = """
def task(opu, seed):
    return {f"metric_{k}": float(k) for k in range(2000)}
"""


@dataclass(frozen=True)
class Door:
    """A command that writes.

    Parameters
    ----------
    words : str
        Its words; PLACE is the small disk.
    file : str
        What it writes there.
    limit : int
        Bytes that a file may have, which are too few; 0 where no file alone is too large.
    disk : int
        Bytes of a disk that is too small.
    what : str
        What the sentence calls it.
    before : str
        Words that make the older file; "" for one that is not read.
    """

    words: str
    file: str
    limit: int
    disk: int
    what: str
    before: str = ""


TM = "calibrate tm -d small.toml --roi 50,90,8,64 --exposure-us 700 --out PLACE/cal.h5 --inputs"
SWEEP = "sweep -d small.toml --task program.py:task -n 10 --out PLACE/sweep.h5 --vary camera.read_noise_e="
DOORS = {
    "tm, its start": Door(f"{TM} 32", "cal.tm.h5", 20_000, 112 << 10, "the start of the measurement", f"{TM} 16"),
    "tm, a batch": Door(f"{TM} 32", "cal.tm.h5", 0, 176 << 10, "of the measurement of cal.tm.h5", f"{TM} 16"),
    "tm, its file": Door(f"{TM} 32", "cal.tm.h5", 60_000, 448 << 10, "the transmission matrix", f"{TM} 16"),
    "calibrate": Door(
        "calibrate camera -d small.toml --roi 50,90,8,64 --out PLACE/cal.h5", "cal.h5", 12_000, 24 << 10,
        "the calibration", "calibrate exposure -d small.toml --roi 50,90,8,64 --out PLACE/cal.h5",
    ),
    "sweep": Door(f"{SWEEP}0,20,40", "sweep.h5", 130_000, 232 << 10, "the sweep", f"{SWEEP}0"),
    "train": Door(
        "train --task digits --hidden 60 --limit 64 --epochs 1 --feedback gaussian --out PLACE/run.h5 --force",
        "run.h5", 30_000, 32 << 10, "the training run",
    ),
    "transform": Door(
        "transform in.npy PLACE/out.npy -d small.toml -n 1000 --force", "out.npy", 100_000, 128 << 10, "the array",
    ),
    "figure": Door("report cal.h5 --figure PLACE/cal.png", "cal.png", 8192, 16 << 10, "the figure"),
}  # fmt: skip
# What a command imports and compiles is not on the small disk, but a limit is on every file.
RUN = """
import sys
from opusim.cli import app
if limit := int(sys.argv[1]):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
app(sys.argv[2:])
"""


def run(words: str, folder: Path, place: Path, limit: int = 0) -> subprocess.CompletedProcess[str]:
    arguments = [word.replace("PLACE", str(place)) for word in words.split()]
    return subprocess.run(
        [sys.executable, "-c", RUN, str(limit), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read; and each has run once, so that all is compiled."""
    folder = tmp_path_factory.mktemp("full-disk")
    (folder / "small.toml").write_text(DEVICE)
    (folder / "program.py").write_text(TASK)
    np.save(folder / "in.npy", np.random.default_rng(0).integers(0, 2, (400, 64), dtype=np.uint8))
    # The older files first: what a command goes on with stays beside them.
    for words in dict.fromkeys([*(door.before for door in DOORS.values() if door.before), DOORS["calibrate"].words]):
        done = run(words, folder, folder)
        assert done.returncode == 0, done.stderr
        for door in DOORS.values():
            if door.before == words:
                shutil.copy(folder / door.file, folder / f"before-{door.file}")
    return folder


@contextmanager
def small_disk(place: Path, n_bytes: int) -> Iterator[bool]:
    """Put a file system of so many bytes in a folder, and say whether we could."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(words, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="limits and file systems as on POSIX are needed")
@pytest.mark.parametrize("name", DOORS)
def test_a_full_disk_is_told_in_a_sentence_that_names_the_file(folder, tmp_path, name):
    """On a small file system, or, where none can be mounted, with a limit on the size of a file."""
    door = DOORS[name]
    with small_disk(tmp_path, door.disk) as mounted:
        if not mounted and not door.limit:
            pytest.skip("no small file system can be mounted here, and no file of it alone is too large")
        target = tmp_path / door.file
        if door.before:
            shutil.copy(folder / f"before-{door.file}", target)
        else:
            target.write_bytes(b"an older one")
        before = target.read_bytes()
        done = run(door.words, folder, tmp_path, 0 if mounted else door.limit)
        said = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 2, (done.returncode, done.stderr)
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
        assert re.search("File too large; |No space left on device; |MiB left", said), said
        assert door.file in said and (door.what in said or "MiB left" in said), said
        # Whole batches of a journal, and the points of a sweep that fit, are worth keeping. Half files are not.
        assert {path.name for path in tmp_path.iterdir()} - {f".{door.file}.lock", f".{door.file}.parts"} == {door.file}
        if name == "sweep":
            assert 1 <= len(read_sweep(target).outcomes) < 3
        else:
            assert target.read_bytes() == before
