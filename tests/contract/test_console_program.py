"""lightonml's own console program, unmodified."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SIZE = ["-ns", "3000", "-nf", "1000", "-nc", "2000"]


@pytest.mark.parametrize("options", [[], ["-l"]], ids=["intensity", "linear"])
def test_opu_test(options, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "lightonml.cmd_line.opu_test", *SIZE, *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^3000 transforms in \d+\.\d\d s \(\d+\.\d\d Hz\)$", done.stdout, re.MULTILINE)
    assert "OPU aurora-" in done.stdout and "lightonopu version 1.4.3+opusim" in done.stdout


def test_version(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "lightonml.cmd_line.opu_test", "-V"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert done.returncode == 0 and "lightonml version 1.4.3" in done.stdout
    assert "lightonopu version 1.4.3+opusim" in done.stdout
