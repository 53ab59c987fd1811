"""The numbers that a seed gives are the stored ones: within the tolerance anywhere, to the bit where they were made.

README.md beside this file says when they may be made anew.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import pytest

from opusim import Device
from opusim.device.toml import presets

from . import stored
from .cases import CASES, PRESET_NAMES, UNRELEASED
from .stored import Level, judge

REMEDY = "README.md beside this file says when numbers may be made anew"
PAIRS = sorted(name.removesuffix("-matrix") for name in CASES if name.endswith("-matrix"))
LATER = sorted(name for name, case in CASES.items() if any(call.after_s for call in case.calls))


@functools.cache
def verdicts(name: str) -> dict[str, stored.Verdict]:
    """How near each result of a case is to the stored one."""
    with tempfile.TemporaryDirectory() as folder:
        results = CASES[name].run(Path(folder))
    before = stored.read_values(name)
    assert list(results) == list(before)
    return {label: judge(values, before[label]) for label, values in results.items()}


def exactness_demanded(made_with: dict[str, str]) -> bool:
    """Whether bits must be equal: where the environment is the one of the stored numbers, or on request."""
    asked = os.environ.get("OPUSIM_GOLDEN", "")
    if asked not in ("", "exact"):
        pytest.fail(f"OPUSIM_GOLDEN is {asked!r}, but it must be 'exact' or not set.")
    return asked == "exact" or not stored.other_than(made_with)


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_the_stored_ones_within_the_tolerance(name):
    far = {label: verdict.sentence for label, verdict in verdicts(name).items() if verdict.level < Level.TOLERANCE}
    assert not far, REMEDY


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_the_stored_ones_to_the_bit(name):
    """Passed: the same bits. Skipped: not the same, which is asked for only where they were made."""
    far = {label: verdict.sentence for label, verdict in verdicts(name).items() if verdict.level < Level.BITS}
    made_with = stored.read_record(name)["made_with"]
    if far and not exactness_demanded(made_with):
        pytest.skip(f"not to the bit, in another environment: {stored.other_than(made_with)}")
    assert not far, REMEDY


# ---------------------------------------------------------------- what is stored


def test_every_case_is_stored_and_nothing_else():
    assert stored.names() == set(CASES)
    assert {path.stem for path in stored.VALUES.glob("*.npz")} == set(CASES)
    assert sum(path.stat().st_size for path in stored.VALUES.iterdir()) < 600_000


@pytest.mark.parametrize("name", CASES)
def test_the_summary_is_that_of_the_values_and_of_the_case(name):
    record, values = stored.read_record(name), stored.read_values(name)
    assert record["case"] == CASES[name].described(), "the case has changed: its numbers must be made anew"
    assert list(record["results"]) == list(values) == [call.label for call in CASES[name].calls]
    for label, result in values.items():
        assert record["results"][label] == stored.summary(result)
        assert result.shape[0] == 8 and result[0].size >= stored.SHOWN
        assert np.isfinite(result).all() and result.std() > 0


@pytest.mark.parametrize("name", PAIRS)
def test_the_two_ways_are_one_device(name):
    """docs/design.md; matrix and waves differ in the options of a case only."""
    matrix, waves = CASES[f"{name}-matrix"].described(), CASES[f"{name}-waves"].described()
    for described, way in ((matrix, "matrix"), (waves, "waves")):
        assert described.pop("name") == f"{name}-{way}" and described["options"].pop("execution") == way
    assert matrix == waves
    by_matrix, by_waves = (stored.read_values(f"{name}-{way}") for way in ("matrix", "waves"))
    far = {label: verdict for label in by_matrix if not (verdict := judge(by_matrix[label], by_waves[label])).level}
    assert not far


@pytest.mark.parametrize("name", ["ideal", "holography"])
def test_the_two_ways_are_not_one_way(name):
    """One way pinned twice would be the same to the bit; float results of two ways are not."""
    by_matrix, by_waves = (stored.read_values(f"{name}-{way}") for way in ("matrix", "waves"))
    for label in by_matrix:
        assert judge(by_matrix[label], by_waves[label]).level == Level.TOLERANCE


@pytest.mark.parametrize("name", LATER)
def test_time_shows(name):
    """Hours or a minute move medium, laser and reference: the numbers are others, but not strange ones."""
    values = stored.read_values(name)
    for call in CASES[name].calls:
        if call.after_s:
            later, first = values[call.label], values[call.method]
            assert judge(later, first).level == Level.BEYOND
            assert abs(np.corrcoef(later.ravel(), first.ravel())[0, 1]) > 0.7


def test_a_matrix_made_in_tiles_has_the_bits_of_a_stored_one():
    whole, tiles = stored.read_record("gaussian"), stored.read_record("gaussian-tiles")
    assert tiles["case"]["options"]["memory_budget"] < 400 * 300 < 10**6
    assert whole["results"] == tiles["results"]


# ---------------------------------------------------------------- presets


def test_every_preset_is_pinned():
    """But for the versions that are being made: each is the newest of its name."""
    assert {path.stem for path in stored.PRESETS.glob("*.toml")} == set(PRESET_NAMES) == set(presets()) - {*UNRELEASED}
    for name in UNRELEASED:
        assert Device.load(name) == Device.load(name.partition("@")[0])


def _but_idle(device, table):
    """Return the fields of a device, but for those that came after a listing was written and change no frame."""
    result = device.to_dict()
    for stage, fields in table.items():
        if isinstance(fields, dict):
            for field in set(getattr(device, stage).without_effect()) - set(fields):
                del result[stage][field]
    return result


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_version_of_a_preset_stays_what_it_was(name):
    """Every field, also those that the preset leaves to a default; one that came later is at what was done before."""
    table = tomllib.loads((stored.PRESETS / f"{name}.toml").read_text(encoding="utf-8"))
    before, now = Device.from_stored(table), Device.load(name)
    assert _but_idle(now, table) == {**_but_idle(before, table), "description": now.description}
    assert now.fingerprint() == before.fingerprint()
    assert f"{now.name}@{now.version}" == name
    # What was stored once of a field is what it is now: only fields that came later are not in an older listing.
    assert all(
        now.to_dict()[stage][field] == value
        for stage, fields in table.items()
        if isinstance(fields, dict)
        for field, value in fields.items()
    )


@pytest.mark.parametrize("name", presets())
def test_a_name_means_its_newest_version(name):
    plain, _, version = name.partition("@")
    newest = max(int(one.partition("@")[2]) for one in presets() if one.partition("@")[0] == plain)
    assert (Device.load(plain) == Device.load(name)) == (int(version) == newest)
    assert Device.load(plain).version == newest


# ---------------------------------------------------------------- the judge


def counts(n=1000, kind=np.uint8):
    return (np.arange(n) % 200 + 20).astype(kind)


def floats(n=1000, kind=np.float32):
    return np.linspace(-1, 1, n).astype(kind) * kind(2 if kind is not np.complex64 else 2j)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_counts_may_differ_in_one_percent_by_one(kind):
    before, found = counts(kind=kind), counts(kind=kind)
    assert judge(found, before).level == Level.BITS
    found[:5] += 1
    found[5:10] -= 1
    assert judge(found, before) == stored.Verdict(Level.TOLERANCE, "10 of 1000 counts differ, by at most 1")
    found[10] += 1
    assert judge(found, before).level == Level.BEYOND
    found = counts(kind=kind)
    found[0] -= 2
    assert judge(found, before) == stored.Verdict(Level.BEYOND, "1 of 1000 counts differ, by at most 2")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.complex64])
def test_floats_may_differ_in_two_percent_by_more_than_a_ten_thousandth(kind):
    before = floats(kind=kind)
    step = 1e-4 * np.sqrt(np.mean(np.abs(before) ** 2))
    found = (before + 0.9 * step).astype(kind)
    assert judge(found, before).level == Level.TOLERANCE
    found[:20] += kind(1.1 * step)
    assert judge(found, before).level == Level.TOLERANCE
    found[20] += kind(1.1 * step)
    assert judge(found, before).level == Level.BEYOND
    found = before.copy()
    found[3] = np.nan
    assert judge(found, before).level == Level.BEYOND


def test_another_shape_or_type_is_beyond_the_tolerance():
    for found in (counts(999), counts().reshape(10, 100), counts().astype(np.uint16)):
        assert judge(found, counts()).level == Level.BEYOND
    assert judge(np.array([-0.0, 1.0]), np.array([0.0, 1.0])).level == Level.TOLERANCE


def test_another_seed_is_beyond_the_tolerance(tmp_path):
    """The tolerance tells devices apart."""
    case = CASES["aurora-matrix"]
    (found, *_) = dataclasses.replace(case, seed=case.seed + 1).run(tmp_path).values()
    assert judge(found, stored.read_values(case.name)["transform"]).level == Level.BEYOND
