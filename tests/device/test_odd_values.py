"""A field of a wrong type is refused in a sentence, whatever it is and wherever it stands."""

from __future__ import annotations

import dataclasses
import datetime
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import opusim
from opusim.base.parameters import parts_of
from opusim.device.record import Device

PARTS = parts_of(Device)
# What a TOML file may hold: each type, empty and nested, and numbers at the ends of their range and beyond.
ODD = [
    [], [1], [1, 2, 3], [[1], [2]], ["a", "b"], [{}], {}, {"a": 1}, {"a": [1]}, True, False, 0, -1, 3, 2**63, 10**400,
    -(10**400), 1.5, float("nan"), float("inf"), -float("inf"), "", "x", "a\0b", "x:y", ":", "a.py:B", "\n", "8",
    datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), datetime.time(1, 2),
]  # fmt: skip
AURORA = Device.load("aurora").to_dict()


# What a kind of a stage must be given.
GIVEN: dict[str, dict[str, Any]] = {
    "medium": {"transmission": 1e-10},
    "dmd": {"name": "x", "shape": [912, 1140], "pitch_m": 8e-6},
}


def tables(name: str, value: Any) -> Iterator[dict[str, Any]]:
    """Tables with a value in a field: alone over a preset, and in a whole table."""
    stage, _, field = name.rpartition(".")
    if not stage:
        yield {"preset": "aurora", field: value}
        yield AURORA | {field: value}
        return
    stage, _, kind = stage.partition(" ")
    table: dict[str, Any] = {field: value}
    if kind and field != "kind":
        table = {"kind": kind, **GIVEN[stage]} | table
    yield {"preset": "aurora", stage: table}
    if not kind or kind == AURORA[stage].get("kind", PARTS[stage].usual):
        yield AURORA | {stage: AURORA[stage] | table}


def names() -> list[str]:
    """All that a table may hold: fields of the device, and those of each kind of each stage."""
    result = ["preset", *(f.name for f in dataclasses.fields(Device))]
    for stage, part in PARTS.items():
        own = isinstance(part.kinds, type)
        for cls in part.known:
            of = stage if own else f"{stage} {cls.kind}"
            result += [f"{of}.{name}" for name in ["preset", "kind", *(f.name for f in dataclasses.fields(cls))]]
    return result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # some are right, and leave others behind
@pytest.mark.parametrize("name", names())
def test_every_odd_value_is_taken_or_refused_in_a_sentence(name):
    refused = 0
    for value in ODD:
        for table in tables(name, value):
            try:
                device = Device.from_dict(table)
            except (TypeError, ValueError) as error:
                refused += 1
                sentence, place = str(error), traceback.extract_tb(error.__traceback__)[-1]
                assert sentence.endswith("."), sentence
                # Raised by a line of ours, not on the way through another library.
                assert Path(place.filename).is_relative_to(Path(opusim.__file__).parent), f"{value!r}: {sentence}"
            else:
                assert Device.from_toml(device.to_toml()) == device, value
    assert refused


@pytest.mark.parametrize(
    "text, words",
    [
        ('[medium]\nkind = ["measured"]', r"medium\.kind is \['measured'\], but it must be one of 'phase_screens'"),
        ("[medium]\nkind = []", r"medium\.kind is \[\]"),
        ("[medium]\nkind = {a = [1]}", r"medium\.kind is \{'a': \[1\]\}"),
        ('[camera]\npreset = ["CMV2000"]', r"preset is \['CMV2000'\], but it must be the name of a camera preset"),
        ("[laser]\npower_w = 1" + 400 * "0", r"laser\.power_w is 1000.*must be a number in"),
        ("[laser]\npower_w = -1" + 400 * "0", r"laser\.power_w is -1000.*must be a number in"),
        ("[dmd]\ncontrast_ratio = 1" + 400 * "0", r"dmd\.contrast_ratio is 1000"),
    ],
)
def test_the_sentence_names_the_field(text, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Device.from_toml(f'preset = "aurora"\n{text}')
