"""Records with arrays say in a few lines what they hold, and a device which one it is."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import numpy as np
import pytest

import opusim
from opusim import Device
from opusim.base.short_repr import short_repr

# Programs and stand-ins that are not imported as modules of the package.
NOT_IMPORTED = ("opusim.__main__", "opusim.drivers.lightonml")


def modules() -> Iterator[str]:
    for package in ("opusim", "opusim.drivers", "opusim.calibration"):
        path = importlib.import_module(package).__path__
        for found in pkgutil.walk_packages(path, f"{package}.", onerror=lambda name: None):
            if not found.name.startswith(NOT_IMPORTED):
                yield found.name


def records() -> dict[str, type]:
    """Public dataclasses one of whose fields is an array, by their full names."""
    found = {}
    for name in modules():
        try:
            module = importlib.import_module(name)
        except ImportError:  # of a library that is not here
            continue
        for member in vars(module).values():
            if not inspect.isclass(member) or not dataclasses.is_dataclass(member) or member.__module__ != name:
                continue
            shown = [field for field in dataclasses.fields(member) if field.repr]
            if any("ndarray" in str(field.type) for field in shown) and not member.__name__.startswith("_"):
                found[f"{name}.{member.__name__}"] = member
    return found


RECORDS = records()


def test_there_are_records():
    assert {"opusim.calibration.procedures.matrix.file.TmRecord", "opusim.dfa.history.History"} <= set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_arrays_show_as_dtype_and_shape(name):
    kind = RECORDS[name]
    record = object.__new__(kind)
    for field in dataclasses.fields(kind):
        value = np.zeros((3000, 7), dtype=np.float32) if "ndarray" in str(field.type) else 1
        object.__setattr__(record, field.name, value)
    text = repr(record)
    assert text.startswith(f"{kind.__qualname__}(") and "<float32 (3000, 7)>" in text
    assert "0. " not in text and len(text) < 60 * len(dataclasses.fields(kind))


def test_small_arrays_and_others_show_as_they_are():
    @short_repr
    @dataclasses.dataclass(frozen=True)
    class Thing:
        phases_rad: np.ndarray
        bits: np.ndarray
        many: dict
        name: str
        parts: tuple = ()
        hidden: int = dataclasses.field(default=3, repr=False)

    thing = Thing(np.array([0.0, 1.5]), np.zeros((2, 5), dtype=np.uint8), {1: np.ones(9)}, "x" * 1000, (np.zeros(10),))
    assert repr(thing).startswith(
        "test_small_arrays_and_others_show_as_they_are.<locals>.Thing(phases_rad=[0. , 1.5], "
        "bits=<uint8 (2, 5)>, many={1: <float64 (9,)>}, name='xxx"
    )
    assert repr(thing).endswith("parts=(<float64 (10,)>,))") and len(repr(thing)) < 500
    many = Thing(np.empty(0), np.eye(2), {k: k for k in range(10**6)}, "y")
    assert len(repr(many)) < 500 and "bits=[[1., 0.], [0., 1.]]" in repr(many)


def test_a_device_says_which_one_it_is():
    assert repr(Device.load("aurora")) == (
        "<Device 'aurora', version 2: 912 x 1140 mirrors, PhaseScreenMedium, 1088 x 2040 pixels of 8 bits, with a "
        "reference arm>"
    )
    assert len(repr(opusim.Device.load("ideal"))) < 200
