"""How the numbers of a case are stored, and how other numbers are judged against them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from opusim.drivers.selftest import environment

HERE = Path(__file__).resolve().parent
VALUES = HERE / "values"
PRESETS = HERE / "presets"
#: Values at either end of a result that its summary shows.
SHOWN = 64
#: docs/design.md: counts differ in at most this share, by at most this much.
COUNTS_SHARE, COUNTS_STEP = 0.01, 1
#: Numbers that are not counts differ in at most this share by more than this, over their root mean square.
FLOATS_SHARE, FLOATS_ERROR = 0.02, 1e-4
#: And none by more than this: a count more or less moves a linear output of the intensity mode by less, and a component
#: that is gone moves by about the rms.
FLOATS_MOST = 0.2


class Level(IntEnum):
    """How near two results are, the best last."""

    BEYOND = 0
    TOLERANCE = 1
    BITS = 2


@dataclass(frozen=True)
class Verdict:
    """What was found of one result.

    Attributes
    ----------
    level : Level
        How near it is.
    sentence : str
        How much of it differs, and by how much.
    """

    level: Level
    sentence: str


def judge(found: np.ndarray, stored: np.ndarray) -> Verdict:
    """Judge a result against the stored one: to the bit, within the tolerance, or beyond it."""
    if found.dtype != stored.dtype or found.shape != stored.shape:
        return Verdict(Level.BEYOND, f"{found.dtype} {found.shape}, but stored is {stored.dtype} {stored.shape}")
    if digest(found) == digest(stored):
        return Verdict(Level.BITS, "the same bits")
    if stored.dtype.kind in "iu":
        difference = np.abs(found.astype(np.int64) - stored.astype(np.int64))
        n, most = int(np.count_nonzero(difference)), int(difference.max())
        good = n <= COUNTS_SHARE * stored.size and most <= COUNTS_STEP
        return Verdict(Level(int(good)), f"{n} of {stored.size} counts differ, by at most {most}")
    if not np.isfinite(found).all():
        return Verdict(Level.BEYOND, "not all values are finite")
    rms = math.sqrt(float(np.mean(np.square(np.abs(stored), dtype=np.float64))))
    difference = np.abs(found - stored).astype(np.float64)
    n, most = int(np.count_nonzero(difference > FLOATS_ERROR * rms)), float(difference.max()) / rms
    sentence = f"{n} of {stored.size} differ by more than {FLOATS_ERROR:g} of the rms, the most by {most:.1e}"
    return Verdict(Level(int(n <= FLOATS_SHARE * stored.size and most <= FLOATS_MOST)), sentence)


def digest(values: np.ndarray) -> str:
    """Return the sha256 (hex) of the values as they lie in memory, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).hexdigest()


# ---------------------------------------------------------------- files


def summary(values: np.ndarray) -> dict[str, Any]:
    """Return what of a result can be read: first and last values, mean, hash; complex numbers as pairs."""
    flat = values.reshape(-1)
    return {
        "shape": list(values.shape),
        "dtype": values.dtype.name,
        "sha256": digest(values),
        "mean": _mean(flat),
        "first": [_plain(value) for value in flat[:SHOWN]],
        "last": [_plain(value) for value in flat[-SHOWN:]],
    }


def _plain(value: Any) -> Any:
    if np.iscomplexobj(value):
        return [_plain(value.real), _plain(value.imag)]
    # The shortest text that single precision reads back.
    return int(value) if value.dtype.kind in "iu" else float(str(value))


def _mean(flat: np.ndarray) -> Any:
    if np.iscomplexobj(flat):
        return [_mean(flat.real), _mean(flat.imag)]
    return math.fsum(flat.tolist()) / flat.size  # the same on every machine


def write(name: str, described: dict[str, Any], results: dict[str, np.ndarray]) -> None:
    """Store the results of a case: a summary to be read, and all values."""
    VALUES.mkdir(exist_ok=True)
    record = {
        "case": described,
        "made_with": environment(),
        "results": {label: summary(values) for label, values in results.items()},
    }
    (VALUES / f"{name}.json").write_text(_text(record) + "\n", encoding="utf-8")
    np.savez_compressed(VALUES / f"{name}.npz", **results)


def _text(value: Any, indent: str = "") -> str:
    """JSON with a key a line, but each list in one."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = indent + "  "
    lines = [f"{inner}{json.dumps(key)}: {_text(each, inner)}" for key, each in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def names() -> set[str]:
    """Return the names of all cases that are stored."""
    return {path.stem for path in VALUES.glob("*.json")}


def read_record(name: str) -> dict[str, Any]:
    """Return the summary of a case."""
    return json.loads((VALUES / f"{name}.json").read_text(encoding="utf-8"))


def read_values(name: str) -> dict[str, np.ndarray]:
    """Return all values of a case by label."""
    with np.load(VALUES / f"{name}.npz", allow_pickle=False) as file:
        return {label: file[label] for label in file.files}


# ---------------------------------------------------------------- where the last bits come from


def other_than(made_with: dict[str, str]) -> str:
    """Return in what the environment here differs from another one; empty if in nothing."""
    here = environment()
    return "; ".join(
        f"{name}: {made_with.get(name, 'unknown')} there, {here.get(name, 'unknown')} here"
        for name in sorted({*here, *made_with})
        if here.get(name) != made_with.get(name)
    )
