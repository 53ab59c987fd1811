"""Whole scripts for ALP4lib: by `opusim run`, after `install()`, and those of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from opusim.drivers.compat import standin

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
# Black and white in turn, as the example of ALP4lib's page has it: the calls of a script that was written for the lab.
BLACK_AND_WHITE = """
    import numpy as np
    from ALP4 import *
    import time

    DMD = ALP4(version = '4.3')
    DMD.Initialize()
    black = np.zeros([DMD.nSizeY, DMD.nSizeX])
    white = np.ones([DMD.nSizeY, DMD.nSizeX]) * (2**8 - 1)
    DMD.SeqAlloc(nbImg = 2, bitDepth = 1)
    DMD.SeqPut(imgData = np.concatenate([black.ravel(), white.ravel()]))
    DMD.SetTiming(pictureTime = 20000)
    DMD.Run()
    time.sleep(.01)
    DMD.Halt()
    DMD.FreeSeq()
    DMD.Free()
"""


def go(folder, source, *arguments, **variables):
    program = folder / "program.py"
    program.write_text(dedent(source), encoding="utf-8")
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), **variables}
    return subprocess.run(
        [sys.executable, *arguments, str(program)], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


def test_a_lab_script_runs_unchanged(tmp_path):
    done = go(tmp_path, BLACK_AND_WHITE, "-m", "opusim", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "DMD found, resolution = 1024 x 768."


def test_the_script_gets_the_mirrors_and_the_medium_that_it_is_run_with(tmp_path):
    source = """
        import ALP4
        from importlib.metadata import version
        from opusim.adapters.alp4 import AlpCamera
        bench = AlpCamera(roi=(0, 0, 4, 4)).bench
        print(ALP4.__version__ == version("ALP4lib"), bench.device.dmd.name, bench.seed, bench.device.camera.dtype)
    """
    table = tmp_path / "bench.toml"
    lines = (
        'name = "table"',
        'preset = "ideal"',
        "[dmd]",
        'preset = "DLP9500"',
        "[operation]",
        "ones_range = [0, 9999]",
    )
    table.write_text("\n".join(lines))
    done = go(tmp_path, source, "-m", "opusim", "run", "--device", str(table), "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "DLP9500", "5", "float32"]


def test_a_copy_beside_the_script_is_told_of(tmp_path):
    (tmp_path / "ALP4.py").write_text("mine = True\n")
    done = go(tmp_path, "import ALP4; print(ALP4.mine)", "-m", "opusim", "run")
    assert done.returncode == 0 and done.stdout.split() == ["True"]
    assert "lies beside the program, which gets that module ALP4 and not opusim's" in done.stderr
    assert standin.other_alp4(str(tmp_path / "elsewhere")) == ""


def test_install_puts_the_name_there_or_leaves_it_alone(tmp_path):
    other = tmp_path / "site"
    other.mkdir()
    (other / "ALP4.py").write_text("theirs = True\n")
    source = f"""
        import sys
        sys.path.insert(1, {str(other)!r})  # before an installed one
        import opusim.drivers
        assert "ALP4" not in sys.modules
        for value in (1, "yes"):
            try:
                opusim.drivers.install(alp4=value)
            except TypeError as error:
                assert str(error) == f"alp4 is {{value!r}}, but it must be True, False or None."
            else:
                raise SystemExit(1)
        opusim.drivers.install()
        opusim.drivers.install(alp4=False)
        import ALP4
        print(ALP4.theirs)
        opusim.drivers.install()  # what has been imported stays
        try:
            opusim.drivers.install(alp4=True)
        except RuntimeError as error:
            print(error)
        del sys.modules["ALP4"]
        opusim.drivers.install(alp4=True)
        import ALP4
        print(ALP4.__version__)
        try:
            opusim.drivers.install(alp4=False)
        except RuntimeError as error:
            print(error)
    """
    done = go(tmp_path, source)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "True" and lines[1].startswith("ALP4 has been imported already, from ")
    assert "opusim.drivers.install(alp4=True) before the first import of ALP4." in lines[1]
    assert lines[2] == "1.1.0+opusim" and lines[3].startswith("alp4 is False, but opusim's own ALP4 has been imported")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("fine", "OPUSIM_ALP4_GRID is 'fine'"),
        ("0x3", "OPUSIM_ALP4_GRID is '0x3'"),
        ("900x3", "OPUSIM_ALP4_GRID is (900, 3) blocks, but there are only (768, 1024) mirrors"),
    ],
)
def test_a_grid_that_is_none_is_refused(tmp_path, value, words):
    done = go(tmp_path, "import ALP4; ALP4.ALP4()", "-m", "opusim", "run", OPUSIM_ALP4_GRID=value)
    assert done.returncode == 1 and words in done.stderr


@pytest.mark.slow
def test_the_page_runs(tmp_path):
    """All code of the page, in its order, in one process; then what it promises of frames and names."""
    text = (ROOT / "docs" / "with_alp4.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    first = "\nassert frames.shape == (20, 32, 32) and frames.dtype == np.uint8 and frames.std() > 1\n"
    last = "\nassert frames.shape == (2, 32, 32) and bench.device.dmd.name == 'DLP9500'\n"
    # A warning would be an error of the page.
    source = "import warnings\nwarnings.simplefilter('error')\n"
    done = go(tmp_path, source + blocks[0] + blocks[1] + first + blocks[2] + blocks[3] + last)
    assert done.returncode == 0, done.stderr


def test_the_page_has_the_figures_of_the_board():
    from opusim.drivers.compat.alp4 import constants
    from opusim.drivers.compat.alp4.board import _DARK_US, _QUEUE, MODELS
    from opusim.drivers.compat.alp4.grid import FEWEST

    text = (ROOT / "docs" / "with_alp4.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+ \| [^|]+?) \|", text, flags=re.MULTILINE))
    small, large = MODELS[768, 1024], MODELS[1080, 1920]

    def both(name):
        return [int(re.sub(r"[^0-9]", "", part)) for part in rows[name].split("|")]

    assert both("type") == [small.dmd_type, large.dmd_type]
    assert both("shortest binary picture without a dark phase") == [small.load_us, large.load_us]
    assert both("shortest picture of 8 bits") == [small.minimum_us(8), large.minimum_us(8)]
    assert both("binary pictures in the memory") == [small.pictures, large.pictures]
    assert both("bytes of a packed row") == [small.row_bytes, large.row_bytes]
    assert f"is {_DARK_US} µs or longer" in text and f"at least {FEWEST} bit planes" in " ".join(text.split())
    assert _QUEUE == 10 and "the queue has ten places" in text and constants.ALP_ERRORS[1005] in text
