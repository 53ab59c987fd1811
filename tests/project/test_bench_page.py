"""The way of the page on one's own bench, from a file to a calibrated transform, as it stands there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bench.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def run(folder, *line):
    environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config")}
    command = [sys.executable, *line]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the file of the page."""
    path = tmp_path_factory.mktemp("page")
    (bench,) = [code for code in blocks("python") if "Numbers in the place of instruments" in code]
    (path / "my_bench.py").write_text(bench, encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_commands_of_the_page_run(folder):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert [line.split()[1] for line in lines] == ["bench", "calibrate", "report"]
    for line in lines:
        # The page watches for ten minutes.
        words = line.replace("--minutes 10", "--minutes 0.02").split()
        done = run(folder, "-m", *words)
        assert done.returncode == 0, done.stderr
        if words[1] == "calibrate":
            assert "has no lamp (flat_field): camera is left out" in done.stdout
            assert "2,400 outputs x 64 inputs" in done.stdout and done.stdout.endswith("the laser is off\n")
    assert (folder / "cal.pdf").stat().st_size > 10_000 and (folder / "cal.tm.h5").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_the_programs_of_the_page_run_and_say_what_stands_there(folder):
    programs = [code for code in blocks("python") if "from my_bench import MyBench" in code]
    checked, measured, used = (run(folder, "-c", code) for code in programs)
    for done in (checked, measured, used):
        assert done.returncode == 0, done.stderr
    assert "checks passed" in checked.stdout and "passed   reference arm" in checked.stdout
    exposure_s, error = (float(word) for word in re.findall(r"[\d.]+(?:e-\d+)?", measured.stdout))
    assert 50e-6 < exposure_s < 1e-3 and error < 0.08
    outputs, error, alike = (float(word) for word in re.findall(r"\d*\.?\d+", used.stdout))
    assert outputs == 300 and 0.02 < error < 0.045 and alike > 0.998
    assert "some three per cent" in PAGE and "they correlate by .999" in " ".join(PAGE.split())


def test_the_skeleton_calls_what_harvesters_has():
    """It is Python, and says that no camera has seen it; with the package its names are looked up there."""
    (code,) = re.findall(r"^```\{code-block\} python\n:class: untested\n\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    tree = ast.parse(code)
    assert "has not been tested on hardware" in PAGE
    core = pytest.importorskip("harvesters.core", reason="harvesters is not installed")
    called: dict[str, set[str]] = {"harvester": set(), "camera": set()}
    for node in ast.walk(tree):
        owner = getattr(node, "value", None)
        if isinstance(node, ast.Attribute) and isinstance(owner, ast.Attribute) and owner.attr in called:
            called[owner.attr].add(node.attr)
    assert called["harvester"] >= {"add_file", "update", "create", "reset"}
    assert called["camera"] >= {"start", "stop", "fetch", "destroy", "num_buffers", "remote_device"}
    assert not {name for name in called["harvester"] if not hasattr(core.Harvester, name)}
    assert not {name for name in called["camera"] if not hasattr(core.ImageAcquirer, name)}
    assert all(hasattr(core.Component2DImage, name) for name in ("data", "height", "width"))
