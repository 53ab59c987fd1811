"""The way of the page on one's own bench, from a file to a calibrated transform, as it stands there."""

from __future__ import annotations

import ast
import builtins
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


@pytest.fixture(scope="module")
def said(folder):
    """What the commands of the page print, which leave its files."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert [line.split()[1] for line in lines] == ["bench", "calibrate", "report"]
    told = {}
    for line in lines:
        # The page watches for a minute.
        words = line.replace("--minutes 1 ", "--minutes 0.02 ").split()
        assert "--minutes" not in words or "0.02" in words
        done = run(folder, "-m", *words)
        assert done.returncode == 0, done.stderr
        told[words[1]] = done.stdout
    return told


@pytest.mark.slow
def test_the_commands_of_the_page_run(folder, said):
    assert "has no lamp (flat_field): camera is left out" in said["calibrate"]
    assert "2,400 outputs x 64 inputs" in said["calibrate"] and said["calibrate"].endswith("the laser is off\n")
    assert (folder / "cal.pdf").stat().st_size > 10_000 and (folder / "cal.tm.h5").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("said")
def test_the_programs_of_the_page_run_and_say_what_stands_there(folder):
    programs = [code for code in blocks("python") if "from my_bench import MyBench" in code]
    checked, opened, measured, used, guarded = (run(folder, "-c", code) for code in programs)
    for done in (checked, opened, measured, used, guarded):
        assert done.returncode == 0, done.stderr
    assert "checks passed" in checked.stdout and "passed   reference arm" in checked.stdout
    # By theory of 64 inputs a focus has 21 times the mean, from pixel to pixel by half of it more or less.
    assert 6 < float(re.findall(r"\d+", opened.stdout)[0]) < 40 and "some ten times" in PAGE
    exposure_s, error = (float(word) for word in re.findall(r"[\d.]+(?:e-\d+)?", measured.stdout))
    assert 50e-6 < exposure_s < 1e-3 and error < 0.08
    outputs, error, alike = (float(word) for word in re.findall(r"\d*\.?\d+", used.stdout))
    assert outputs == 300 and 0.02 < error < 0.045 and alike > 0.998
    assert "some three per cent" in PAGE and "they correlate by .999" in " ".join(PAGE.split())


def test_blocks_of_the_page_bring_the_names_that_they_use():
    """Each can be copied by itself; instruments, a file of another page and what a class inherits are not here."""
    for code in blocks("python"):
        tree = ast.parse(code)
        named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                bound |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
        assert not named - bound - set(dir(builtins)), code


@pytest.mark.parametrize("word", ["input_layout = MirrorLayout", "phase_levels=256"])
def test_classes_of_the_page_can_be_copied(word):
    (code,) = [code for code in blocks("python") if word in code]
    names = {}
    exec(compile(code, "docs/bench.md", "exec"), names)
    assert issubclass(names["MyBench"], names["LaboratoryBench"])


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
