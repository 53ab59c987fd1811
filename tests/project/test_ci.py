"""The scripts of .ci: what fails in a lane is counted, whatever comes after it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt" or shutil.which("bash") is None, reason="the scripts need bash")


def lanes(*bodies: str) -> tuple[str, int]:
    """Run functions of bash as lanes; return the last line, and the exit status."""
    functions = "\n".join(f"part{n}() {{\n{body}\n}}\nlane 'part {n}' part{n}" for n, body in enumerate(bodies))
    script = f"set -euo pipefail\nsource {ROOT}/.ci/lib.sh\n{functions}\nfinish"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()[-1], done.returncode


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ("true", "1 passed, 0 failed, 0 skipped"),
        ("false", "0 passed, 1 failed, 0 skipped"),
        # What fails ends a lane, also in a subshell, in a pipe, in a function that it calls.
        ("false\necho on", "0 passed, 1 failed, 0 skipped"),
        ("echo digits | grep -q letters\necho on", "0 passed, 1 failed, 0 skipped"),
        ("(false\necho on)\necho on", "0 passed, 1 failed, 0 skipped"),
        ("inner() { false; echo on; }\ninner\necho on", "0 passed, 1 failed, 0 skipped"),
        ("no-such-command\necho on", "0 passed, 1 failed, 0 skipped"),
        # pytest's closing line, and nothing else, is read.
        ("echo '=== 7 passed, 2 skipped in 3.21s ==='", "7 passed, 0 failed, 2 skipped"),
        ("echo '7 passed, 1 warning in 63.21s (0:01:03)'", "7 passed, 0 failed, 0 skipped"),
        ("echo '1 failed, 7 passed, 2 errors in 3.21s'\nfalse", "7 passed, 3 failed, 0 skipped"),
        ("echo 'I saw 9 failed in 3 parts'", "1 passed, 0 failed, 0 skipped"),
        # It was killed after its line, or before there was one.
        ("echo '7 passed in 3.21s'\nfalse", "7 passed, 1 failed, 0 skipped"),
        ("echo '....'\nkill -9 $BASHPID", "0 passed, 1 failed, 0 skipped"),
        ("echo 'no tests ran in 0.01s'\nfalse", "0 passed, 1 failed, 0 skipped"),
        # Skipped alone is no success of anything.
        ("echo '3 skipped in 0.01s'", "0 passed, 0 failed, 3 skipped"),
    ],
)
def test_a_lane_counts_what_happened(body, counts):
    line, status = lanes(body)
    assert line == counts
    assert (status == 0) == (", 0 failed" in counts and not counts.startswith("0 passed"))


def test_the_last_line_adds_up_all_lanes():
    line, status = lanes("echo '7 passed, 2 skipped in 3.21s'", "false\ntrue", "true", "echo '3 passed in 1.00s'")
    assert (line, status) == ("11 passed, 1 failed, 2 skipped", 1)


def test_the_scripts_are_programs_that_bash_reads():
    for name in ("run", "peers", "release", "contract-environment"):
        path = ROOT / ".ci" / name
        assert os.access(path, os.X_OK) and path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
        assert subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True).stderr == ""


def test_lanes_that_are_told_are_there():
    """Those of the head of .ci/peers are those that it runs."""
    text = (ROOT / ".ci" / "peers").read_text(encoding="utf-8")
    head = [line.split()[1] for line in text.splitlines()[2:] if line.startswith("#   ")]
    assert head == text.split("everything=(")[1].split(")")[0].split()
    done = subprocess.run(["bash", str(ROOT / ".ci" / "peers"), "no-lane"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "There is no lane 'no-lane'" in done.stderr
