"""What a record may hold: refused when it is written, and when it is read from a file that another program changed."""

from __future__ import annotations

import dataclasses
import math
import warnings
from dataclasses import dataclass

import h5py
import numpy as np
import pytest

import four_kinds
from opusim.base.files import append_trailer
from opusim.calibration.contents import check_record, held
from opusim.calibration.files import read_info, read_record, record_names, write_record
from opusim.calibration.procedures.base import PROCEDURES
from opusim.calibration.procedures.exposure import ExposureRecord
from opusim.calibration.procedures.matrix.measure import read_matrix, read_tm
from opusim.calibration.report import read_report


@dataclass(frozen=True)
class Thing:
    exposure_s: float = held(low=0.0, low_open=True)
    share: float = held(low=0.0, high=1.0)
    limit: float = held(low=0.0, inf=True)
    maybe: float = held(nan=True)
    count: int = held(low=1.0, of="whole")
    by: str = held(choices=("well", "scale"))
    good: bool
    note: str | None
    interval: tuple[float, float] = held(shape=(2,))
    roi: np.ndarray = held(low=0.0, shape=(4,), of="whole")
    asked: np.ndarray = held(shape=("steps",), of="number")
    actual: np.ndarray = held(shape=("steps",), of="number")
    dark: np.ndarray = held(shape=("roi",), of="number")
    valid: np.ndarray = held(shape=("count",), of="flag")
    field: np.ndarray = held(nan=True, inf=True, shape=("count", "steps"))


def thing(**changes):
    right = {
        "exposure_s": 1e-3, "share": 1, "limit": math.inf, "maybe": math.nan, "count": 5, "by": "well", "good": True,
        "note": None, "interval": (1.0, 2.0), "roi": np.array([0, 7, 2, 3]), "asked": np.arange(4.0),
        "actual": np.arange(4), "dark": np.zeros(6, np.float32), "valid": np.ones(5, bool),
        "field": np.full((5, 4), np.nan + 1j, np.complex64),
    }  # fmt: skip
    return Thing(**{**right, **changes})


WRONG = {
    "exposure_s": [("abc", "is 'abc', but it must be a number"), (-5.0, "is -5.0, but it must be above 0 and finite"),
                   (0, "above 0"), (math.nan, "is nan"), (math.inf, "is inf"), (True, "a number"), (None, "a number")],
    "share": [(1.01, "at least 0 and at most 1"), (-0.1, "at least 0"), (math.nan, "is nan")],
    "limit": [(math.nan, "is nan, but it must be at least 0"), (-math.inf, "is -inf")],
    "maybe": [(math.inf, "is inf, but it must be finite")],
    "count": [(0, "at least 1"), (2.5, "is 2.5, but it must hold whole numbers")],
    "by": [("sun", "is 'sun', but it must be one of 'well', 'scale'"), (3.0, "a text")],
    "good": [(1.0, "a flag")], "note": [(2.0, "a text")],
    "interval": [((1.0,), r"has the shape \(1,\), but .* must be \(2,\)"), ((1.0, math.nan), r"\[1\] is nan")],
    "roi": [(np.zeros(3, int), "shape"), (np.array([0, 0, -1, 1]), r"\[2\] is -1"), (np.zeros(4), "whole numbers")],
    "asked": [(np.array([0, 1, np.inf, 2]), r"\[2\] is inf"), (3.0, "an array")],
    "actual": [(np.arange(4) * 1j, "an array of complex128, but it must hold numbers"), (np.zeros((4, 1)), "shape"),
               (np.zeros(5), "shape")],
    "dark": [(np.zeros(5), r"shape \(5,\), but .* must be \(6,\)"), (np.full(6, np.nan), r"\[0\] is nan")],
    "valid": [(np.ones(4, bool), "shape"), (np.ones(5), "flags")],
    "field": [(np.zeros((4, 5), np.complex64), "shape")],
}  # fmt: skip


@pytest.mark.parametrize("name, value, words", [(n, v, w) for n, some in WRONG.items() for v, w in some])
def test_what_a_field_may_not_hold_is_named(name, value, words, tmp_path):
    check_record(thing())
    with pytest.raises((TypeError, ValueError), match=f"^{name}.*{words}"):
        check_record(thing(**{name: value}))
    path = tmp_path / "cal.h5"
    with pytest.raises((TypeError, ValueError), match=rf"Thing\.{name}.*{words}"):
        write_record(path, "thing", thing(**{name: value}))
    assert not path.exists()


def test_what_it_may_hold_comes_back(tmp_path):
    write_record(tmp_path / "cal.h5", "thing", thing())
    assert four_kinds.plain(read_record(tmp_path / "cal.h5", "thing", Thing)) == four_kinds.plain(thing(share=1))


def test_every_field_of_ours_says_what_it_may_hold():
    """Numbers and arrays, that is: of a text and a flag its type says it."""
    for name in PROCEDURES.own():
        for record in PROCEDURES[name].records:
            silent = [f.name for f in dataclasses.fields(record) if not f.metadata and f.type not in ("str", "bool")]
            assert not silent, f"{record.__name__} does not say what {', '.join(silent)} may hold"


@pytest.fixture
def kinds(tmp_path):
    return {kind: four_kinds.make(kind, tmp_path) for kind in ("cal", "tm")}


def changed(path, function):
    """As another program does it that knows how to make the check sum."""
    with h5py.File(path, "r+") as file:
        function(file)
    append_trailer(path)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("exposure_s", "abc", "exposure_s is 'abc', but it must be a number"),
        ("exposure_s", -5.0, "exposure_s is -5.0, but it must be above 0"),
        ("exposure_s", np.nan, "exposure_s is nan"),
        ("n_inputs", 15, "shape|inputs"),
        ("n_outputs", 127, r"valid has the shape \(128,\), but .* must be \(127,\)"),
        ("basis", "fourier", "basis is 'fourier', but it must be one of 'hadamard', 'canonical'"),
        ("layout_kind", "spiral", "does not say how the inputs lie on the mirrors"),
        ("lost_share", 1.5, "lost_share is 1.5"),
        ("frames", 0, "frames is 0"),
    ],
)
def test_a_matrix_that_makes_no_sense_is_refused(kinds, name, value, words):
    path = kinds["tm"]
    changed(path, lambda file: file["transmission"].attrs.__setitem__(name, value))
    with pytest.raises(ValueError, match=f"tm.h5.*({words})"):
        read_tm(path)


@pytest.mark.parametrize("place", [(0, 0), (77, 3), (127, 15)])
@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, np.nan)])
def test_an_entry_that_is_not_finite_is_refused_where_it_is_read(kinds, place, value):
    path = kinds["tm"]
    right = read_matrix(path)
    changed(path, lambda file: file["tm"].__setitem__(place, value))
    for outputs in (slice(None), slice(place[0], place[0] + 1), slice(None, None, -1), [place[0], 5]):
        with pytest.raises(ValueError, match=r"tm.h5: tm.* holds .* at \[.*\], but all of it must be finite"):
            read_matrix(path, outputs)
    others = [row for row in range(20, 40) if row != place[0]]
    assert np.array_equal(read_matrix(path, others), right[others])
    read_tm(path)
    changed(path, lambda file: file["background"].__setitem__(place[0], value))
    with pytest.raises(ValueError, match=rf"tm.h5: background holds .* at \[{place[0]}\]"):
        read_tm(path)


@pytest.mark.parametrize(
    "outputs",
    [slice(None), slice(5, 90), slice(90, 5, -7), slice(3, 100, 9), slice(7, 7), slice(-20, None), [5, 5, -1, 0], []],
)
def test_rows_are_those_that_numpy_gives(kinds, outputs):
    with h5py.File(kinds["tm"], "r") as file:
        right = file["tm"][()][outputs if isinstance(outputs, slice) else np.array(outputs, int)]
    assert np.array_equal(read_matrix(kinds["tm"], outputs), right)


def test_a_row_that_is_not_there_is_refused(kinds):
    with pytest.raises(ValueError, match="outputs goes from 0 to 128, but the rows of tm in .* from 0 to 127"):
        read_matrix(kinds["tm"], [0, 128])


def test_a_record_without_its_kind_is_refused_and_one_of_an_unknown_kind_told(kinds):
    path = kinds["cal"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(read_report(path).records) == set(record_names(path))
    changed(path, lambda file: file["drift"].attrs.__setitem__("_kind", "SunRecord"))
    with pytest.warns(UserWarning, match="the record 'drift' is left out: it is a SunRecord, which no procedure"):
        report = read_report(path)
    assert "drift" not in report.records and report.info["drift"].kind == "SunRecord"
    changed(path, lambda file: file["drift"].attrs.__delitem__("_kind"))
    for read in (lambda: read_info(path, "drift"), lambda: read_report(path)):
        with pytest.raises(ValueError, match="cal.h5: drift has no attribute '_kind'"):
            read()
    assert read_record(path, "exposure", ExposureRecord).exposure_s > 0
