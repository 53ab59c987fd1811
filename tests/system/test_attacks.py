"""Damage of every kind to a file of every kind: refused in a sentence, before HDF5 sees it; nothing silent, no hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import four_kinds

FLIPS, CUTS = 1000, 40


def _done(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `four_kinds` in a process of its own, so that a hang comes to an end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, four_kinds.__file__, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.mark.parametrize("kind", four_kinds.KINDS)
def test_changed_bytes_and_cuts_are_refused_before_hdf5_sees_them(kind, tmp_path):
    """A thousand single bytes and forty cuts: each a sentence."""
    done = _done("attack", kind, tmp_path, FLIPS, CUTS)
    counts = json.loads(done.stdout)
    first, *others = four_kinds.readers(kind)
    assert {what for count in counts.values() for what in count} == {"refused"}, counts
    assert counts[first]["refused"] > FLIPS + CUTS / 2
    assert all(counts[name]["refused"] >= FLIPS // len(others) for name in others)


# What cannot be seen to be wrong: a record that is not there, a wall time that nobody knows.
LEGAL = {
    "sweep": {"read_sweep, run/seconds: NaN"},
    "run": set(),
    "cal": {
        f"everything, {name}: gone" for name in ("camera", "drift", "exposure", "exposure_signal", "linear", "phase")
    },
    "tm": set(),
}


@pytest.mark.parametrize("kind", four_kinds.KINDS)
def test_what_makes_no_sense_is_refused_whoever_gave_it_a_right_check_sum(kind, tmp_path):
    """Each attribute, data set and group: missing, of another kind or shape, NaN, larger than the disk, elsewhere."""
    done = _done("change", kind, tmp_path)
    found = json.loads(done.stdout)
    assert found["raw"] == []
    assert set(found["changed"]) == LEGAL[kind]
    assert len(found["refused"]) > 70
