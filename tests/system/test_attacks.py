"""Damage of every kind to a file of every kind: refused in a sentence, before HDF5 sees it; nothing silent, no hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import four_kinds

FLIPS, CUTS = 1000, 40


@pytest.mark.parametrize("kind", four_kinds.KINDS)
def test_changed_bytes_and_cuts_are_refused_before_hdf5_sees_them(kind, tmp_path):
    """A thousand single bytes and forty cuts: each a sentence. In a process of its own, so that a hang would end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, four_kinds.__file__, kind, str(tmp_path), str(FLIPS), str(CUTS)],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout)
    first, *others = four_kinds.readers(kind)
    assert {what for count in counts.values() for what in count} == {"refused"}, counts
    assert counts[first]["refused"] > FLIPS + CUTS / 2
    assert all(counts[name]["refused"] >= FLIPS // len(others) for name in others)
