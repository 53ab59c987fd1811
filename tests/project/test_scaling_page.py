"""The examples of docs/scaling.md, as a reader would run them: one after the other, in one folder."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def lacks(code: str) -> bool:
    """Whether an example needs a library that is not here."""
    needed = {"to_zarr": ["zarr"], "to_parquet": ["pandas", "pyarrow"], "distributed": ["distributed"]}
    for word, modules in needed.items():
        for module in modules:
            if word in code:
                try:
                    __import__(module)
                except ImportError:
                    return True
    return False


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    command = tmp_path / "bin" / "opusim"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m opusim "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_examples_in_python_run(folder):
    pytest.importorskip("dask.array", reason="the extra `distributed` is not installed")
    names: dict[str, object] = {"__name__": "example"}
    printed, ran = [], 0
    for code in blocks("python"):
        if lacks(code):
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, "docs/scaling.md", "exec"), names)
        printed += out.getvalue().split()
        ran += 1
    assert printed and set(printed) == {"True"} and ran >= 4
    y = np.load("y.npy")
    if (folder / "z.zarr").exists():
        import zarr

        assert np.array_equal(zarr.open(str(folder / "z.zarr"))[:], y)
    if (folder / "z.parquet").exists():
        import pandas

        assert np.array_equal(pandas.read_parquet(folder / "z.parquet").to_numpy(), y)
    import h5py

    with h5py.File("z.h5") as file:
        assert np.array_equal(file["y"][()], y)


@pytest.mark.skipif(sys.platform == "win32", reason="scripts of a shell")
def test_the_script_of_a_job_array_and_its_parts_give_the_file_of_one_run(folder):
    np.save("x.npy", np.random.default_rng(0).integers(0, 2, (50, 100), dtype=np.uint8))
    whole, script, loop, sweep = blocks("sh")

    def run(code: str, **environment: str) -> None:
        done = subprocess.run(
            ["bash", "-e", "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
        )
        assert done.returncode == 0, done.stderr

    run(whole.replace("10000", "300"))
    expected = Path("y.npy").read_bytes()
    Path("y.npy").unlink()
    first, last = map(int, re.search(r"#SBATCH --array=(\d+)-(\d+)", script).groups())  # type: ignore[union-attr]
    for task in range(last, first - 1, -1):
        given = {"ID": task, "COUNT": last - first + 1, "MIN": first, "MAX": last, "STEP": 1}
        run(script, **{f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in given.items()})
    merge, again = re.findall(r'--wrap "(.*)"', PAGE)
    part = Path("y.part3of4.npy")
    content = part.read_bytes()
    part.unlink()
    # As a task that is sent again has it.
    numbers = {"ID": first + 2, "COUNT": 1, "MIN": first + 2, "MAX": first + 2, "STEP": 1}
    alone = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in numbers.items()}
    run(again, **alone)
    assert part.read_bytes() == content
    by_number = re.search(r'`(--part "\$\(\(.*?")`', PAGE)
    run(script.replace("--part slurm", by_number[1]), **alone)  # type: ignore[index]
    assert part.read_bytes() == content and len(list(folder.glob("y.part*"))) == 4
    run(merge)
    assert Path("y.npy").read_bytes() == expected
    run(loop)
    assert Path("z.npy").read_bytes() == expected
    run(sweep)
    from opusim.sweep import read_sweep

    result = read_sweep("sweep.h5")
    assert len(result.outcomes) == 3 and not result.n_failed and result.values("accuracy").min() > 0.3
