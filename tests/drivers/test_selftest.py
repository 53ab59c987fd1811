"""The table of hashes: how it is run, written and compared, and what the command says of it."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from opusim import cli
from opusim.base import elementary
from opusim.base.numerics import environment, numpy_features
from opusim.cli.selftest import _otherwise
from opusim.drivers import selftest

WHOLE = selftest.TABLE
RELEASE = selftest.PUBLISHED
FEW = (
    selftest.Case("small", selftest._SMALL, 3, ("transform", "later"), n_components=50),
    selftest.Case("arm", selftest._SMALL, 4, ("frames",), ("matrix",)),
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of the few cases in the place of that of the release."""
    path = tmp_path_factory.mktemp("published") / "table.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftest, "TABLE", FEW)
        path.write_text(json.dumps({**selftest.table_of(selftest.digests()), "opusim": "7.0.0"}))
    return path


@pytest.fixture(autouse=True)
def _few_cases(monkeypatch: pytest.MonkeyPatch, published: Path) -> None:
    monkeypatch.setattr(selftest, "TABLE", FEW)
    monkeypatch.setattr(selftest, "PUBLISHED", published)
    monkeypatch.setenv("COLUMNS", "200")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["selftest", "--quick", *map(str, arguments)])


def test_names_of_the_table_are_told_apart():
    names = [case.name for case in WHOLE]
    assert len(set(names)) == len(names)


def test_hashes_of_the_release_come_with_it():
    """Of this table of cases, and of a release that the changelog names or is about to; test_same_light.py compares."""
    table = selftest.read_table(RELEASE)
    assert list(table["sha256"]) == [
        selftest._label(case, way, call) for case in WHOLE for way in case.ways for call in case.calls
    ]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in table["sha256"].values())
    assert re.fullmatch(r"\d+\.\d+\.\d+", table["opusim"])
    assert set(table["made_with"]) == set(environment())


def test_the_command_compares_with_the_hashes_of_the_release(published: Path, monkeypatch, tmp_path: Path):
    result = invoke()
    assert result.exit_code == 0
    assert "Against the published hashes of opusim 7.0.0: all results are the same bits." in result.output
    table = json.loads(published.read_text())
    table["sha256"]["arm | matrix | frames"] = "0" * 64
    other = tmp_path / "other.json"
    other.write_text(json.dumps(table))
    monkeypatch.setattr(selftest, "PUBLISHED", other)
    result = invoke()
    assert result.exit_code == 1
    assert "Against the published hashes of opusim 7.0.0: 1 result differs." in result.output
    assert invoke("--compare", published).exit_code == 0  # in place of those of the release


def otherwise(published: Path, path: Path, **made_with: str) -> Path:
    """Write the published table with another processor or library, and hashes that are none of this machine's."""
    table = json.loads(published.read_text())
    table["made_with"].update(made_with)
    table["sha256"] = dict.fromkeys(table["sha256"], "0" * 64)
    path.write_text(json.dumps(table))
    return path


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("machine", "Plan9 mips", "a processor of the kind mips (here "),
        ("numpy", "1.2.3", "numpy 1.2.3 (here "),
        ("scipy", "1.2.3", "scipy 1.2.3 (here "),
        ("numba", "0.1", "numba 0.1 (here "),
    ],
)
def test_where_the_published_hashes_need_not_hold_they_are_not_compared(
    name, value, words, published: Path, monkeypatch, tmp_path: Path
):
    other = otherwise(published, tmp_path / "other.json", **{name: value})
    monkeypatch.setattr(selftest, "PUBLISHED", other)
    result = invoke()
    assert result.exit_code == 0, result.output
    assert "both ways): all results are the same bits." in result.output and "Against" not in result.output
    assert "Nothing was compared with the published hashes of opusim 7.0.0" in result.output and words in result.output
    told = json.loads(invoke("--json").stdout)
    assert told["compared_with"] is None and words in told["not_compared"] and told["differences"] == []
    # Who names a file has it compared.
    assert invoke("--compare", other).exit_code == 1


def test_another_system_or_a_third_number_is_compared(published: Path, monkeypatch, tmp_path: Path):
    scipy = environment()["scipy"].split(".")
    kind = environment()["machine"].split()[-1]
    made_with = {
        "machine": f"Plan9 {kind}",
        "processor": "another",
        "blas": "none",
        "scipy": f"{'.'.join(scipy[:2])}.999",
    }
    monkeypatch.setattr(selftest, "PUBLISHED", otherwise(published, tmp_path / "other.json", **made_with))
    result = invoke()
    assert result.exit_code == 1
    assert "Against the published hashes of opusim 7.0.0: 5 results differ." in result.output
    assert selftest._processor_kind("Windows AMD64") == selftest._processor_kind("Linux x86_64") == "x86-64"
    assert selftest._processor_kind("Darwin arm64") == selftest._processor_kind("Linux aarch64") != "x86-64"


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"format": "opusim selftest", "table": 0, "sha256": {}}', "no made_with"]
)
def test_without_the_published_hashes_what_can_be_compared_is(text, published: Path, monkeypatch, tmp_path: Path):
    place, file = tmp_path / "gone.json", tmp_path / "here.json"
    if text == "no made_with":
        text = json.dumps({**json.loads(published.read_text()), "made_with": None})
    if text is not None:
        place.write_text(text)
    monkeypatch.setattr(selftest, "PUBLISHED", place)
    result = invoke("--write", file)
    assert result.exit_code == 0, result.output
    assert "both ways): all results are the same bits." in result.output
    assert str(place) in result.output and "reinstall opusim." in result.output and "--write FILE" not in result.output
    assert selftest.read_table(file)["sha256"] == json.loads(published.read_text())["sha256"]


def test_what_differs_here_counts_without_the_published_hashes(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(selftest, "PUBLISHED", tmp_path / "gone.json")
    monkeypatch.setattr(selftest, "check", lambda *_, **__: ({"a | b | c": "0" * 64}, ["a | b | c: otherwise."]))
    assert invoke().exit_code == 1


def test_features_of_the_processor_are_told_where_nothing_else_differs():
    here, there = ({"opusim": "1", "made_with": {"numpy": "2", "numpy_uses": uses}} for uses in ("A B", "A"))
    assert _otherwise(here, there) == ["It was made with numpy_uses A (here A B)."]
    there["made_with"]["numpy"] = "1"
    assert _otherwise(here, there) == ["It was made with numpy 1 (here 2)."]
    assert _otherwise(here, here) == []


def test_all_runs_on_this_machine_are_the_same_bits():
    told: list[str] = []
    found, differences = selftest.check(told.append, plain=False)
    assert differences == []
    assert list(found) == [
        "small | matrix | transform", "small | matrix | later", "small | waves | transform", "small | waves | later",
        "arm | matrix | frames",
    ]  # fmt: skip
    assert found["small | matrix | transform"] != found["small | matrix | later"]
    assert told[0] == "small, matrix"
    assert selftest.digests() == found


def test_a_result_that_depends_on_the_split_is_told(monkeypatch):
    whole = selftest._results

    def spoilt(progress=None, *, threads=None, parts=1):
        results = whole(progress, threads=threads, parts=parts)
        if parts > 1:
            results["small | waves | later"][0, 0] ^= 1
        return results

    monkeypatch.setattr(selftest, "_results", spoilt)
    _, differences = selftest.check(plain=False)
    assert differences == ["small | waves | later: three threads and vectors in three parts give other bits."]
    assert invoke().exit_code == 1


def test_ways_that_are_not_one_device_are_told():
    one = np.zeros((8, 50), dtype=np.uint8)
    results = {f"small | {way} | {call}": one.copy() for way in ("matrix", "waves") for call in ("transform", "later")}
    assert selftest._between_ways(results) == []
    results["small | waves | later"][0, :4] = 1  # one per cent, by one
    assert selftest._between_ways(results) == []
    results["small | waves | later"][0, 0] = 2
    (sentence,) = selftest._between_ways(results)
    assert sentence.startswith("small | later: 4 of 400 counts of the two ways differ, by 2 at most")
    # A camera of 2.2 levels an electron: counts at the edge of one differ by 3.
    assert [case.most_apart for case in WHOLE if case.name.startswith(("rolling", "aurora@2", "twelve"))] == [1, 1, 3]


def test_written_table_compares_with_itself_and_with_another(tmp_path: Path):
    file = tmp_path / "table.json"
    result = invoke("--write", file)
    assert result.exit_code == 0, result.output
    assert "both ways): all results are the same bits." in result.output
    assert f"File: {file}" in result.output
    result = invoke("--compare", file)
    assert result.exit_code == 0 and f"Against {file}: all results are the same bits." in result.output
    table = json.loads(file.read_text())
    assert set(table) == {"format", "table", "opusim", "made_with", "sha256"}
    table["sha256"]["arm | matrix | frames"] = "0" * 64
    del table["sha256"]["small | waves | later"]
    table["made_with"]["processor"] = "another"
    file.write_text(json.dumps(table))
    result = invoke("--compare", file, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    here = told["sha256"]["arm | matrix | frames"][:16]
    assert sorted(told["differences"]) == [
        f"arm | matrix | frames: other bits here, {here}, than in the table, {'0' * 16}.",
        "small | waves | later: only here, not in the table.",
    ]
    assert told["compared_with"]["made_with"]["processor"] == "another"
    result = invoke("--compare", file)
    assert "both ways): all results are the same bits." in result.output
    assert f"Against {file}: 2 results differ." in result.output
    assert "It was made with processor another (here " in result.output


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
def test_a_pipe_is_no_table(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "pipe", "is a pipe"),
        (tmp_path, "is a folder"),
        (Path("/dev/zero"), "is a device"),
    ):
        result = invoke("--compare", path)
        assert result.exit_code == 2 and f"{words}, but it must be a table of hashes" in " ".join(result.stderr.split())


def test_what_is_no_table_is_refused_before_anything_is_run(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(selftest, "check", lambda *_, **__: pytest.fail("was run"))
    file = tmp_path / "table.json"
    for text, words in (
        ("{", "is no JSON"),
        ("[]", "is no table of hashes"),
        ('{"format": "opusim selftest", "table": 0, "sha256": {}}', "holds table 0 of cases"),
    ):
        file.write_text(text)
        result = invoke("--compare", file)
        assert result.exit_code == 2
        assert words in " ".join(result.stderr.split())
    result = invoke("--write", file)
    assert result.exit_code == 2
    assert "--force replaces it" in result.stderr
    assert invoke("--write", tmp_path / "nowhere" / "table.json").exit_code == 2


def test_plain_environment_names_what_this_numpy_knows():
    variables = selftest.plain_environment()
    assert variables["NUMBA_CPU_NAME"] == "generic"
    assert set(variables["NPY_DISABLE_CPU_FEATURES"].split()) <= set(numpy_features())


class Shaken:
    """`opusim.base.elementary`, but for last bits in single precision of all that it returns."""

    def __init__(self):
        self.calls = 0

    def __getattr__(self, name):
        function = getattr(elementary, name)

        def shaken(*values, **options):
            result = np.asarray(function(*values, **options))
            result = result if result.flags.writeable else result.copy()
            # Not all by the same: what is normed afterwards would not tell.
            self.calls += 1
            places = np.arange(result.shape[-1]) if result.ndim else np.int64(1)
            result *= (1 + 2.0**-22 * ((self.calls + places) % 3)).astype(result.dtype)
            return result[()]

        return shaken


# Where light is made, and cases that must tell when its last bits are others.
SEES = {
    "opusim.device.dmd": "uneven beam, wavefront, stuck mirrors, leakage",
    "opusim.device.laser": "laser and medium drift", "opusim.device.medium.drift": "laser and medium drift",
    "opusim.device.propagation": "ideal@1",
    "opusim.device.medium.layer": "ballistic light", "opusim.device.medium.phase_screens": "ideal@1",
    "opusim.device.reference": "reference arm, ideal", "opusim.bench.frames": "reference arm, ideal",
    "opusim.bench.film": "reference arm on many points",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("module", SEES)
def test_last_bits_of_every_part_of_the_light_are_seen(module, monkeypatch):
    (case,) = (case for case in WHOLE if case.name == SEES[module])

    def forget():
        for name in [name for name in sys.modules if name.startswith("opusim.device")]:
            for value in vars(sys.modules[name]).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()

    forget()
    plain = {way: case.run(way) for way in case.ways}
    forget()
    monkeypatch.setattr(f"{module}.elementary", Shaken())
    try:
        for way in case.ways:
            shaken = case.run(way)
            assert not all(np.array_equal(shaken[call], values) for call, values in plain[way].items())
    finally:
        forget()
