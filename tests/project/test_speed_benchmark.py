"""The benchmarks of speed: what is compared is there, and the bare loop sums and develops all of it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

SCRIPTS = ("scale.py --speed", "online.py", "making.py", "first_use.py", "camera.py", "earlier_build.py", "files.py")


def run(root, words, **environment):
    """Run a benchmark of this checkout, with ours first on the path."""
    name, *options = words
    return subprocess.run(
        [sys.executable, str(root / "benchmarks" / name), *options],
        env={**os.environ, "PYTHONPATH": str(root), **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture
def speed_work(root) -> ModuleType:
    """What the table of speeds times."""
    spec = importlib.util.spec_from_file_location("speed_work", root / "benchmarks" / "speed_work.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_folder_without_a_package_is_no_earlier_build(root, tmp_path, script):
    """The other build would be found on the path that is left: it would be this one."""
    done = run(root, [*script.split(), "--before", str(tmp_path)])
    assert done.returncode == 2 and done.stdout == ""
    assert f"--before is {str(tmp_path)!r}, a folder without the package opusim." in done.stderr


@pytest.mark.parametrize("named", ["missing", "broken", "ours", "elsewhere", "too early"])
def test_what_is_no_earlier_build_is_told(root, tmp_path, named):
    words = {
        "missing": "which is not there",
        "broken": "ValueError: no such build",
        "ours": "imports the build that it is to be compared with",
        "elsewhere": "its processes import opusim from",
        "too early": "a build that has no opusim.bench.by_matrix",
    }
    folder = {"missing": tmp_path / "none", "ours": root}.get(named, tmp_path)
    lines = {"broken": "raise ValueError('no such build')", "elsewhere": f"__file__ = {str(root / 'opusim/a.py')!r}"}
    if folder == tmp_path:
        (tmp_path / "opusim").mkdir()
        (tmp_path / "opusim" / "__init__.py").write_text(lines.get(named, ""))
    done = run(root, ["online.py", "--before", str(folder)])
    assert done.returncode == 2 and words[named] in done.stderr, done.stderr


@pytest.mark.parametrize(("options", "told"), [
    (["--rows", "2"], "Row 2 is left out: OPUSIM_DATA is "),
    (["--rows", "5", "2"], "Rows 2 and 5 are left out: OPUSIM_DATA is "),
    (["--rows", "1", "--lightonml", "no-folder"], "--lightonml is 'no-folder', where bin/python"),
])  # fmt: skip
def test_what_cannot_be_measured_is_told_at_the_start(root, tmp_path, options, told):
    done = run(root, ["scale.py", "--speed", *options], OPUSIM_DATA=str(tmp_path / "none"))
    assert done.returncode == 2 and told in done.stderr and done.stdout == ""


class Seen:
    """The kernels that a bare loop calls: they do their work, what it gave is checked and how much it was written down.

    Attributes
    ----------
    sums : list of tuple of int
        Vectors, first column and width of each strip.
    frames : list of int
        Numbers of the frames.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from opusim.bench import matrix_kernels
        from opusim.device import camera_kernels

        self.sums: list[tuple[int, int, int]] = []
        self.frames: list[int] = []
        self._read, self._strip = matrix_kernels.read_strip, matrix_kernels.sum_strip
        self._few, self._develop = matrix_kernels.sum_matrix, camera_kernels.develop_frames
        monkeypatch.setattr(matrix_kernels, "VECTORS", 16)  # so that there are several parts
        monkeypatch.setattr(matrix_kernels, "sum_strip", self.strip)
        monkeypatch.setattr(matrix_kernels, "sum_matrix", self.few)
        monkeypatch.setattr(camera_kernels, "develop_frames", self.develop)

    def _check(self, packed: np.ndarray, matrix: np.ndarray, fields: np.ndarray) -> None:
        bits = np.unpackbits(packed, axis=1, bitorder="little")[:, : len(matrix)]
        np.testing.assert_allclose(fields, bits.astype(float) @ matrix.astype(float), atol=1e-4)

    def strip(self, packed: np.ndarray, *rest: Any) -> None:
        self._strip(packed, *rest)
        matrix, (column0, width, space) = rest[5], rest[-3:]
        fields = np.empty((len(packed), width), dtype=np.float32)
        for v, line in enumerate(fields):
            self._read(space, len(packed), v, width, line)
        self._check(packed, matrix[:, column0 : column0 + width], fields)
        self.sums.append((len(packed), column0, width))

    def few(self, packed: np.ndarray, *rest: Any) -> None:
        self._few(packed, *rest)
        matrix, out = rest[5], rest[9]
        self._check(packed, matrix, out)
        self.sums.append((len(packed), 0, out.shape[1]))

    def develop(self, photons: np.ndarray, *rest: Any) -> None:
        self._develop(photons, *rest)
        first, out = int(rest[5]), rest[-3]
        assert out.any() and len(out) == len(photons)
        self.frames += range(first, first + len(out))


@pytest.mark.parametrize(("mode", "frames"), [(None, 40), ("intensity", 80)])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_bare_loop_sums_all_vectors_and_develops_all_frames(speed_work, monkeypatch, mode, frames, threads):
    seen = Seen(monkeypatch)
    go, _ = speed_work.bare(n=60, n_out=1100, vectors=40, mode=mode, threads=threads)
    found = go()
    vectors = 80 if mode == "intensity" else 40
    parts: dict[tuple[int, int], list[int]] = {}
    for n, column0, width in seen.sums:
        parts.setdefault((column0, width), []).append(n)
    ends = [0]
    for (column0, width), each in sorted(parts.items()):
        assert column0 == ends[-1] and len(each) == vectors // 16 + (vectors % 16 > 0) and sum(each) == vectors
        ends.append(column0 + width)
    assert ends[-1] == 2200 and len(ends) > 3
    assert sorted(seen.frames) == list(range(frames))
    assert found["sums"] > 0 and found["camera"] > 0 and found["s"] >= found["sums"] + found["camera"]


def test_the_bare_loop_of_single_vectors_sums_and_develops_each(speed_work, monkeypatch):
    seen = Seen(monkeypatch)
    go, _ = speed_work.bare_online(n=60, n_out=1100, vectors=5)
    found = go()
    assert seen.sums == [(1, 0, 2200)] * 5 and seen.frames == list(range(5))
    assert found["sums"] > 0 and found["camera"] > 0 and found["s"] == found["sums"] + found["camera"]


@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_the_time_of_making_a_matrix_is_told_where_there_is_one(root, execution):
    """And where the package is, for the table to see that it is the build that was meant."""
    work = {"work": "counts", "n": 60, "n_out": 100, "vectors": 3, "execution": execution}
    done = run(root, ["speed_work.py", json.dumps(work)])
    about = json.loads(done.stdout)
    assert about["way"] == execution and Path(about["package"]).parent == root / "opusim"
    assert ("matrix_s" in about) == (execution == "matrix")
    assert 0 < about.get("matrix_s", about["first_s"]) <= about["first_s"]
