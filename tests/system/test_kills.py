"""Killed at random moments and gone on with: every file can be read, and the end is that of one go, to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forks of one process"),
]

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kills.py"
KILLS, SEED = 30, 20
FAULTS = ("unreadable", "different", "left", "failed")


def test_thirty_kills_lose_nothing_and_leave_nothing(root):
    """`benchmarks/kills.py` does a thousand."""
    words = [sys.executable, str(SCRIPT), "--kills", str(KILLS), "--seed", str(SEED), "--seconds", "400", "--json"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=590)
    assert done.stdout, done.stderr
    cases = json.loads(done.stdout)["cases"]
    assert {name: {fault: case[fault] for fault in FAULTS} for name, case in cases.items()} == {
        name: {fault: [] for fault in FAULTS} for name in ("tm", "all", "sweep", "train")
    }
    assert sum(case["kills"] for case in cases.values()) == KILLS and done.returncode == 0
    # All four, and moments of both kinds.
    assert min(case["kills"] for case in cases.values()) >= KILLS // 4 - 4
    assert 0 < sum(case["kills_at_calls"] for case in cases.values()) < KILLS
