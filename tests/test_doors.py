"""Every public door that takes an array: what is no such array is refused by a sentence that names the argument.

Doors are found by what the documentation lists; `doors.py` says how each is called. A new one without an entry fails.
"""

from __future__ import annotations

import dataclasses
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doors import DOORS, NOT_DOORS, array_doors, odd_arrays, other_forms

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(str(ROOT / name) for name in ("opusim", "drivers", "calibration"))


def test_every_door_has_an_entry():
    found = array_doors()
    assert len(found) > 200
    without = [name for name in found if name not in DOORS and not name.startswith(tuple(NOT_DOORS))]
    assert not without, "no entry in tests/support/doors.py:\n" + "\n".join(without)
    gone = [name for name in DOORS if name not in found]
    assert not gone, "there is no such door any more:\n" + "\n".join(gone)
    unused = [start for start in NOT_DOORS if not any(name.startswith(start) for name in found)]
    # Those of packages that are not installed are not found.
    assert "torch" in "".join(unused) or all(start.startswith("opusim.adapters.") for start in unused), unused


@pytest.mark.parametrize("name", DOORS)
def test_odd_arrays_are_right_or_refused_by_a_sentence(name):
    door = DOORS[name]
    argument = door.called or name.rpartition("(")[2].rstrip(")")
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        door.call(door.good())
        for kind, value in odd_arrays(door.good()).items():
            try:
                door.call(value)
            except (TypeError, ValueError) as error:
                wrong += [f"{kind}: {text}" for text in complaints(error, argument, door.library)]
                if kind in door.takes:
                    wrong.append(f"{kind}: is right here, but was refused: {error}")
            except Exception as error:
                wrong.append(f"{kind}: raised {type(error).__name__}: {error}")
            else:
                if kind not in door.takes:
                    wrong.append(f"{kind}: was taken")
    assert not wrong, "\n".join([name, *wrong])


def complaints(error: Exception, argument: str, library: str) -> list[str]:
    """What is wrong with a refusal, if anything."""
    text = str(error)
    found = []
    where = [frame.filename for frame in traceback.extract_tb(error.__traceback__)][-1]
    if library and f"/{library}/" in where:
        return []
    if not any(name in text for name in argument.split("|")):
        found.append(f"the sentence does not name {argument}: {text}")
    if not text.endswith((".", ")")) or "\n" in text:
        found.append(f"no sentence: {text!r}")
    if not where.startswith(OURS):
        found.append(f"raised in {where}: {text}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", DOORS)
def test_other_forms_of_the_same_values_give_the_same_or_a_sentence(name):
    door = DOORS[name]
    argument = door.called or name.rpartition("(")[2].rstrip(")")
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = leaves(door.call(door.good()))
        for kind, value in other_forms(door.good()).items():
            try:
                found = leaves(door.call(value))
            except (TypeError, ValueError) as error:
                wrong += [f"{kind}: {text}" for text in complaints(error, argument, door.library)]
                continue
            except Exception as error:
                wrong.append(f"{kind}: raised {type(error).__name__}: {error}")
                continue
            if door.same and not alike(found, known):
                wrong.append(f"{kind}: gave something else")
    assert not wrong, "\n".join([name, *wrong])


def leaves(result: Any) -> list[np.ndarray]:
    """Arrays of a result, one after the other."""
    if result is None:
        return []
    if dataclasses.is_dataclass(result):
        return leaves([getattr(result, field.name) for field in dataclasses.fields(result)])
    if isinstance(result, (tuple, list)):
        return [leaf for item in result for leaf in leaves(item)]
    return [np.array(result)]


def alike(found: list[np.ndarray], known: list[np.ndarray]) -> bool:
    if len(found) != len(known):
        return False
    return all(
        np.array_equal(a, b) if a.dtype.kind not in "fc" else np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
        for a, b in zip(found, known, strict=True)
    )
