"""``opusim plan``: what it prints, and one sentence for everything that can go wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from command_line import words
from opusim import OPU, cli
from opusim.cli import plan as cli_plan
from opusim.cli.plan import _bytes, _count
from opusim.drivers import workload as rules
from opusim.planning.costs import plan_scale
from opusim.planning.rates import planner_rates

SMALL = ("--features", 64, "--components", 300, "--vectors", 1000)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder for the rates."""
    monkeypatch.setenv("OPUSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    # What the tests before this one left in the process is no part of a worker.
    monkeypatch.setattr(cli_plan, "_program_bytes", lambda: 300 << 20)
    return tmp_path / "cache" / "rates.json"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["plan", *map(str, arguments)])


def planned(*arguments: object) -> dict:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("opusim plan: ") and lines[0].endswith((".", ")"))
    return lines[0]


# ---------------------------------------------------------------- what it tells


def test_a_million_to_two_million_in_words():
    result = invoke("--features", "1e6", "--components", "2e6", "--vectors", "1e6", "--workers", 64, "--threads", 2,
                    "--no-measure")  # fmt: skip
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert "1,000,000 vectors, 1,000,000 -> 2,000,000, on aurora" in text
    assert "way waves, on a grid of 2048 x 2048" in text
    assert "64 workers of 2" in text and "frames 1,000,000" in text
    assert "the device itself" in text and " J " in text
    assert "most, with 2 tasks at once" in text and "vectors, a byte a bit 931 GiB" in text
    assert "Rates: the planner's own" in text


def test_json_is_what_the_device_and_the_driver_would_do():
    got = planned("--features", "1e4", "--components", "2e4", "--vectors", "5e3", "--no-measure", "--threads", 1)
    with OPU(20_000) as opu:
        opu.fit1d(n_features=10_000)
        work = rules.workload(opu, 5000)
        plan = rules.projector_of(opu, work, threads=1).plan
    assert (got["way"], got["side"], got["matrix_bytes"]) == (plan.way, plan.side, plan.matrix_bytes)
    assert got["work"]["n_tasks"] == work.n_tasks and got["work"]["n_frames"] == 5000
    assert got["device_s"] == work.device_s and got["device_j"] == work.device_j
    assert got["traffic"]["bytes_in"] == 5000 * 10_000 and got["traffic"]["bytes_back"] == 5000 * 20_000
    memory = got["memory"]
    assert memory["total"] == memory["program"] + memory["kept"] + max(memory["making"], memory["task"])
    alone = got["process_memory"]
    assert alone["total"] == alone["program"] + alone["kept"] + max(alone["making"], alone["task"])
    assert alone["at_once"] == 1 and alone["kept"] == memory["kept"]
    assert got["rates"]["process"]["measured"] is False


def test_more_workers_take_less_time_and_the_same_memory_each():
    size = ("--features", "1e5", "--components", "2e5", "--vectors", "1e5", "--no-measure", "--threads", 2)
    one, many = planned(*size), planned(*size, "--workers", 16)
    assert many["cluster_s"] < one["cluster_s"] and many["cluster_s"] >= one["cluster_s"] / 16
    # The interpreter itself may have grown by a little.
    assert many["memory"]["kept"] == one["memory"]["kept"] and many["memory"]["task"] == one["memory"]["task"]


def test_budget_decides_whether_a_matrix_is_kept():
    size = ("--features", 784, "--components", 10_000, "--no-measure")
    assert planned(*size)["way"] == "matrix"
    small = planned(*size, "--memory-budget", "10MiB")
    assert small["way"] == "waves" and not small["stored"]


def test_few_vectors_are_told_the_other_way():
    size, told = ("--features", 3000, "--components", 3000, "--no-measure", "--threads", 1), "OPU(execution='waves')"
    few, many = planned(*size, "--vectors", 50), planned(*size, "--vectors", 60_000)
    for plan in (few, many):
        assert plan["way"] == "matrix" and plan["other_way"]["way"] == "waves"
    # Of the matrix most is its making, which waves do without; of each vector they take more.
    assert few["process_build_s"] > 0.9 * few["process_s"] > 9 * few["other_way"]["process_s"]
    assert many["other_way"]["process_s"] > many["process_s"]
    text = words(invoke(*size, "--vectors", 50).stdout)
    assert told in text and "50 vectors would take" in text and "by waves in one process" in text
    assert "1 vector would take" in words(invoke(*size, "--vectors", 1, "--linear").stdout)
    assert told not in words(invoke(*size, "--vectors", 60_000).stdout)


def test_the_other_way_of_a_linear_transform_is_that_of_an_opu_by_it(tmp_path):
    (tmp_path / "bare.toml").write_text('preset = "aurora"\n[reference]\nrelative_amplitude = 0.0\n')
    size = ("--features", 784, "--components", 3000, "--vectors", 500, "--no-measure", "--threads", 1, "--linear")
    for device in ("aurora", str(tmp_path / "bare.toml")):
        told = planned(*size, "--device", device)["other_way"]
        assert told["way"] == "waves"
        with OPU(3000, device=device, execution="waves") as opu:
            opu.fit1d(n_features=784)
            work = rules.workload(opu, 500, linear=True)
            projector = rules.projector_of(opu, work, threads=1)
            rates = planner_rates(projector, 1)
        assert not work.together  # waves make frames
        assert told["process_s"] == plan_scale(projector, work, rates, rates).process_s


def test_many_vectors_are_told_the_matrix_where_only_its_making_is_too_long():
    size = ("--features", 2000, "--components", 300_000, "--no-measure", "--threads", 1)
    few, many = planned(*size, "--vectors", 1000), planned(*size, "--vectors", 100_000)
    assert few["way"] == many["way"] == "waves" and many["other_way"]["way"] == "matrix"
    assert few["other_way"]["process_s"] > few["process_s"]
    assert many["other_way"]["process_s"] < many["process_s"]
    assert "by the matrix in one process" in words(invoke(*size, "--vectors", 100_000).stdout)
    assert "OPU(execution" not in words(invoke(*size, "--vectors", 1000).stdout)


def test_another_way_that_is_not_there_is_not_told(tmp_path):
    size = ("--features", 3000, "--components", 3000, "--vectors", 50, "--no-measure", "--threads", 1)
    assert planned(*size, "--memory-budget", "1MiB")["other_way"] is None  # no matrix
    (tmp_path / "gaussian.toml").write_text('preset = "aurora"\n[medium]\nkind = "gaussian"\n')
    assert planned(*size, "--device", tmp_path / "gaussian.toml")["other_way"] is None  # no waves
    fits = planned(*size)["memory"]["total"] >> 20
    waves = planned(*size, "--memory-budget", "1MiB")["memory"]["total"] >> 20
    assert waves < fits
    assert planned(*size, "--worker-memory", f"{fits + 1}MiB")["other_way"]["way"] == "waves"


def test_linear_by_holography_and_by_intensities(tmp_path):
    counts = planned(*SMALL, "--no-measure")
    holographic = planned(*SMALL, "--no-measure", "--linear")
    assert holographic["work"]["steps"] == 4 and holographic["work"]["n_frames"] > 4 * 1000
    (tmp_path / "bare.toml").write_text('preset = "aurora"\nname = "bare"\n[reference]\nrelative_amplitude = 0.0\n')
    (tmp_path / "two.toml").write_text((tmp_path / "bare.toml").read_text() + "[operation]\nframes_per_vector = 2\n")
    (tmp_path / "five.toml").write_text((tmp_path / "bare.toml").read_text() + "[operation]\nframes_per_vector = 5\n")
    intensity = planned(*SMALL, "--no-measure", "--linear", "--device", tmp_path / "two.toml")
    assert intensity["work"]["steps"] == 1 and intensity["work"]["n_frames"] == 2 * 1000 + 3 * 16
    five = planned(*SMALL, "--no-measure", "--linear", "--device", tmp_path / "five.toml")
    assert five["work"]["n_frames"] == 5 * 1000 + 15 * 16
    assert counts["device_s"] < intensity["device_s"] < five["device_s"]
    text = words(invoke(*SMALL, "--no-measure", "--linear").stdout)
    assert "holographic, 4 steps" in text and "vectors between two anchors" in text and "calibration" in text


@pytest.mark.parametrize("device", ["ideal", "ideal@1"])
def test_what_follows_frames_is_timed_for_a_camera_that_does_not_round(device):
    """It has no full scale from which a reference's level could be taken."""
    opu = OPU(200, device=device, linear_mode="holographic")
    with opu:
        opu.fit1d(n_features=100)
        work = rules.workload(opu, 64, linear=True)
        finish = rules.finisher(opu, work)
        assert finish is not None
        out = finish(np.random.default_rng(0).exponential(60.0, (4 * 66, work.n_pixels)).astype(np.float32))
    assert np.isfinite(out).all() and out.any()


def test_more_threads_than_tasks_is_told():
    text = invoke(*SMALL, "--no-measure", "--workers", 50, "--threads", 1).stdout
    assert "There is only 1 task for 50 threads" in text
    text = invoke(*SMALL[:4], "--vectors", 100_000, "--no-measure", "--workers", 5000, "--threads", 1).stdout
    assert re.search(r"There are only \d+ tasks for 5000 threads", text)


# ---------------------------------------------------------------- rates


def test_rates_are_measured_once_and_kept(monkeypatch, cache):
    from opusim.planning import rates as scale_rates

    real, shown = scale_rates.measure, []

    def measured(projector, calls, **options):
        # A rate that the noise of a busy machine took is 0, and such rates are not kept.
        names = ("frame_s_per_pixel", "transform_s_per_point", "layer_s_per_point", "sum_s")
        shown.append(
            [
                replace(one, **{name: max(getattr(one, name), 1e-12) for name in names}, slowed=1.0)
                for one in real(projector, calls, **options)
            ]
        )
        return shown[-1]

    monkeypatch.setattr(scale_rates, "measure", measured)
    first = planned(*SMALL, "--threads", 1)
    assert first["rates"]["process"]["measured"] and cache.is_file() and len(shown) == 1
    written = cache.read_bytes()
    second = planned(*SMALL, "--threads", 1)
    assert second["rates"] == first["rates"] and cache.read_bytes() == written and len(shown) == 1
    renewed = planned(*SMALL, "--threads", 1, "--measure")
    assert renewed["rates"] != first["rates"] and renewed["rates"]["process"]["measured"] and len(shown) == 2


@pytest.mark.parametrize(
    "slowed, kept, told",
    [
        (1.0, True, "Rates: measured on this machine; --measure does so anew."),
        (None, True, "How busy it was cannot be told here."),
        (
            1.8,
            False,
            "kept this machine busy. The times by them are at least 1.8 times too long. They are not kept: the",
        ),
    ],
)
def test_rates_of_a_busy_machine_are_told_and_not_kept(monkeypatch, cache, slowed, kept, told):
    from opusim.planning import rates as scale_rates

    calls = []

    def measured(projector, calls_, **options):
        calls.append(calls_)
        return [
            replace(scale_rates.planner_rates(projector, *call), measured=True, slowed=slowed) for call in calls_
        ]  # fmt: skip

    monkeypatch.setattr(scale_rates, "measure", measured)
    size = ("--features", "1e5", "--components", "1e5", "--vectors", 1000, "--threads", 1)
    assert told in words(invoke(*size).stdout)
    assert cache.exists() == kept
    assert told in words(invoke(*size).stdout)
    assert len(calls) == (1 if kept else 2)
    assert planned(*size)["rates"]["process"]["slowed"] == slowed


def test_a_medium_that_moves_during_a_frame_is_told(tmp_path):
    """Half a decorrelation time: three states in each frame, of which nothing is kept."""
    path = tmp_path / "restless.toml"
    path.write_text('preset = "aurora"\n[medium]\ndecorrelation_time_s = 0.002\n[operation]\nexposure_s = 0.001\n')
    size = ("--features", 64, "--components", 300, "--vectors", 1000, "--no-measure", "--threads", 1)
    text = words(invoke(*size, "--device", path).stdout)
    assert "The medium moves during a frame: each is the mean over 3 states of it" in text
    assert "operation.exposure_s below 1/316 of medium.decorrelation_time_s" in text
    assert "for each of" not in text
    assert "moves during a frame" not in words(invoke(*size).stdout)
    moving, still = planned(*size, "--device", path), planned(*size)
    assert moving["work"]["frame_states"] == 3 and still["work"]["frame_states"] == 0
    assert moving["process_s"] > 10 * still["process_s"]


def test_no_measure_writes_nothing(cache):
    planned(*SMALL, "--no-measure")
    assert not cache.exists()


# ---------------------------------------------------------------- bad input


def test_more_features_than_mirrors():
    sentence = refused("--features", "2e6", "--components", 100)
    assert "--features is 2000000" in sentence and "1039680 mirrors" in sentence


def test_as_many_features_as_mirrors():
    assert planned("--features", 1_039_680, "--components", 100, "--no-measure")["work"]["n_features"] == 1_039_680


def test_more_components_than_pixels():
    sentence = refused("--features", 100, "--components", "3e6")
    assert "--components is 3000000" in sentence and f"{2040 * 1088} pixels" in sentence


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "many", "nan", "inf", "1e99", ""])
@pytest.mark.parametrize("option", ["--features", "--vectors", "--workers"])
def test_a_count_that_is_none(option, text):
    arguments = {"--features": "64", "--components": "300", "--vectors": "10", "--workers": "1", option: text}
    sentence = refused(*(part for pair in arguments.items() for part in pair), "--no-measure")
    assert option in sentence and repr(text) in sentence and "whole number" in sentence


@pytest.mark.parametrize("text", ["much", "-1GiB", "0", "4 gallons", "e", "1e400"])
def test_a_size_that_is_none(text):
    sentence = refused(*SMALL, "--memory-budget", text)
    assert "--memory-budget" in sentence and repr(text) in sentence and "4GiB" in sentence


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4GiB", 4 << 30),
        ("512 MiB", 512 << 20),
        ("1e9", 10**9),
        ("16GB", 16 * 10**9),
        ("2k", 2000),
        ("1.5TiB", 3 << 39),
    ],
)
def test_sizes_with_units(text, value):
    assert _bytes("--memory-budget", text) == value


@pytest.mark.parametrize(("text", "value"), [("1e6", 10**6), ("1_000", 1000), ("20000", 20_000), ("2.5e3", 2500)])
def test_counts_with_exponents(text, value):
    assert _count("--features", text) == value


@pytest.mark.parametrize(
    ("size", "limit"),
    [
        (("--features", "1e6", "--components", "2e6", "--threads", 16), "1.5GiB"),
        (("--features", 784, "--components", "1e5", "--threads", 1, "--memory-budget", "4GiB"), "700MiB"),
        (("--features", "1e6", "--components", "2e6", "--threads", 1), "500MiB"),
    ],
)
def test_too_little_memory_says_how_much_and_a_setting_that_fits(size, limit):
    sentence = refused(*size, "--no-measure", "--worker-memory", limit)
    needed = re.search(r"take ([\d.]+ [MG]iB) on a worker", sentence)
    assert needed is not None and "would fit" in sentence
    hint = re.search(r"(--[a-z-]+) (\w+)(?: with (--threads) (\w+))?(?: or .*)? would fit", sentence)
    assert hint is not None
    changed = dict(zip(size[::2], map(str, size[1::2]), strict=True))
    changed[hint[1]] = hint[2]
    if hint[3]:
        changed[hint[3]] = hint[4]
    got = planned(*(part for pair in changed.items() for part in pair), "--no-measure", "--worker-memory", limit)
    assert got["memory"]["total"] <= _bytes("limit", limit)


@pytest.mark.parametrize(
    "size",
    [SMALL, (*SMALL, "--threads", 1), ("--features", "1e6", "--components", "2e6", "--threads", 2),
     ("--features", 784, "--components", "1e5", "--threads", 2, "--memory-budget", "4GiB")],
)  # fmt: skip
def test_nothing_fits_and_it_says_the_least_that_does(size):
    sentence = refused(*size, "--no-measure", "--worker-memory", "300MiB")
    hint = re.search(r"has 300 MiB\. The least that does is (--worker-memory (\d+)MiB.*)\.$", sentence)
    assert "would fit" not in sentence and hint is not None
    got = planned(*size, *hint[1].split(), "--no-measure")
    assert int(hint[2]) - 1 <= got["memory"]["total"] / 2**20 <= int(hint[2])


@pytest.mark.parametrize("lost", ["frame_s_per_pixel", "transform_s_per_point", "layer_s_per_point"])
def test_a_rate_of_nothing_is_not_kept(monkeypatch, cache, lost):
    from opusim.planning import rates as scale_rates

    real = scale_rates.planner_rates
    whole = []

    def measured(projector, calls, **options):
        rates = [replace(real(projector, *call), measured=True) for call in calls]
        return rates if whole else [replace(one, **{lost: 0.0}) for one in rates]

    monkeypatch.setattr(scale_rates, "measure", measured)
    size = ("--features", "1e5", "--components", "1e5", "--vectors", 1000, "--threads", 1)
    planned(*size)
    assert not cache.exists()
    whole.append(True)
    planned(*size)
    assert cache.exists()


def test_unknown_device():
    assert "boreas" in refused(*SMALL, "--device", "boreas")


def test_help_names_the_command():
    assert " plan " in words(CliRunner().invoke(cli.app, ["--help"]).stdout)
