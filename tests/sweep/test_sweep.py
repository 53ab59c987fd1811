"""The engine of the sweeps: every point once, one file, and nothing lost whatever goes wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

import opusim
from opusim.device.record import Device
from opusim.sweep import Sweep, SweepResult, falls_at, read_sweep
from opusim.sweep.cluster import dask_client
from opusim.sweep.file import write_sweep
from opusim.sweep.result import Outcome

VARY = {"camera.read_noise_e": [1.0, 2.0, 3.0]}


class Opu:
    """Stands in for an OPU: what a sweep asks of one is up to the task."""

    def __init__(self, device: Device, n_components: int, seed: int) -> None:
        self.model, self.n_components, self.seed, self.is_open = device, n_components, seed, False

    def __enter__(self) -> Opu:
        self.is_open = True
        return self

    def __exit__(self, *exception: object) -> None:
        self.is_open = False


class Task:
    """Counts its calls; may fail at some values."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, int, int]] = []
        self.fails_at: set[float] = set()

    def describe(self) -> dict[str, str]:
        return {"name": "test"}

    def __call__(self, opu: Opu, seed: int) -> dict[str, float]:
        assert opu.is_open and opu.seed == seed
        noise = opu.model.camera.read_noise_e
        self.calls.append((noise, opu.n_components, seed))
        if noise in self.fails_at:
            raise KeyError("the light went out")
        return {"double": 2 * noise + seed, "third": 1 / 3}


@pytest.fixture
def task() -> Task:
    return Task()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.h5"


def sweep(task, vary=VARY, **arguments) -> Sweep:
    return Sweep(task, Opu, vary, **{"seeds": 2, "n_components": 10, **arguments})


# ---------------------------------------------------------------- running


def test_every_point_is_run_once_with_its_values(task, path):
    result = sweep(task).run(path)
    assert task.calls == [(1.0, 10, 0), (2.0, 10, 0), (3.0, 10, 0), (1.0, 10, 1), (2.0, 10, 1), (3.0, 10, 1)]
    assert np.array_equal(result.values("double"), [[2, 3], [4, 5], [6, 7]])
    assert result.metrics == ("double", "third") and np.array_equal(result.values(), result.values("double"))
    assert not result.n_failed and all(outcome.seconds >= 0 for outcome in result.outcomes.values())


def test_a_grid_comes_as_an_array_with_an_axis_for_each_parameter(task):
    result = sweep(task, {"camera.read_noise_e": [1.0, 2.0], "n_components": [5, 6, 7]}).run()
    assert result.grid("double").shape == (2, 3, 2)
    assert np.array_equal(result.grid("double")[1, :, 0], [4, 4, 4])
    zipped = sweep(task, {"camera.read_noise_e": [1.0, 2.0], "n_components": [5, 6]}, zipped=True).run()
    with pytest.raises(ValueError, match="make no grid"):
        zipped.grid()


def test_what_is_read_is_what_was_written(task, path):
    task.fails_at = {2.0}
    result = sweep(task).run(path)
    read = read_sweep(path)
    assert (read.header, read.settings, read.created) == (result.header, result.settings, result.created)
    # Exactly, tracebacks and durations too: 1/3 comes back to the last bit.
    assert read.outcomes == result.outcomes and read.digest() == result.digest()


def test_other_programs_find_the_numbers_as_arrays(task, path):
    sweep(task).run(path)
    with h5py.File(path) as file:
        assert file.attrs["format"] == "opusim sweep" and file.attrs["opusim_version"] == opusim.__version__
        assert file.attrs["device_fingerprint"] == Device.load("aurora").fingerprint()
        assert np.array_equal(file["values"], [[1.0], [2.0], [3.0]]) and np.array_equal(file["seeds"], [0, 1])
        names = json.loads(file["metrics"].attrs["names"])
        assert names == ["double", "third"]
        assert np.array_equal(file["metrics"][names.index("double")], [[2, 3], [4, 5], [6, 7]])


def test_metrics_that_not_every_point_has_are_missing_there(path):
    def task(opu, seed):
        return {"a": 1.0} if seed else {"b": 2.0, "nothing": float("nan")}

    result = sweep(task, {"camera.bits": [8]}).run(path)
    assert result.metrics == ("b", "nothing", "a")
    assert np.array_equal(result.values("a"), [[np.nan, 1]], equal_nan=True)
    assert np.isnan(read_sweep(path).outcomes[0, 0].metrics["nothing"])
    assert read_sweep(path).digest() == result.digest()


def test_accuracy_comes_first():
    def task(opu, seed):
        return {"loss": 0.1, "accuracy": 0.9}

    assert sweep(task, {"camera.bits": [8]}).run().metrics == ("accuracy", "loss")


def test_an_unknown_metric_is_named(task):
    result = sweep(task).run()
    with pytest.raises(ValueError, match="metric is 'single', but it must be one of 'double', 'third'"):
        result.values("single")


def test_results_do_not_depend_on_what_is_timed(task, path):
    first = sweep(task).run(path)
    second = SweepResult(
        first.header,
        first.settings,
        {place: dataclasses.replace(o, seconds=99.0) for place, o in reversed(first.outcomes.items())},
        "some other day",
    )
    assert second.digest() == first.digest()
    changed = dict(first.outcomes)
    changed[0, 0] = Outcome({"double": np.nextafter(2.0, 3.0), "third": 1 / 3})
    assert SweepResult(first.header, first.settings, changed).digest() != first.digest()


def test_callbacks_hear_of_every_point_and_before_the_first(task):
    told = []
    sweep(task).run(callback=lambda result, place: told.append((place, len(result.outcomes))))
    assert told[0] == (None, 0)
    assert told[1:] == [((0, 0), 1), ((1, 0), 2), ((2, 0), 3), ((0, 1), 4), ((1, 1), 5), ((2, 1), 6)]


def test_progress_shows_a_bar_on_request(task, capsys):
    sweep(task).run()
    assert capsys.readouterr().err == ""
    sweep(task).run(progress=True)
    assert "6/6" in capsys.readouterr().err


def test_points_run_with_one_blas_thread_and_blas_gets_its_own_back():
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    def task(opu, seed):
        return {"most": max(threads())}

    np.eye(2) @ np.eye(2)
    before = threads()
    assert np.array_equal(sweep(task, {"camera.bits": [8]}).run().values(), [[1, 1]])
    assert threads() == before


def test_numbers_of_any_kind_are_taken_and_other_things_are_not():
    kinds = [np.float32(0.5), np.array(0.5), np.int64(1), True, 0.5]

    def task(opu, seed):
        return {"value": kinds[seed]} if seed < len(kinds) else {"value": [0.5]} if seed == 5 else "nothing"

    result = sweep(task, {"camera.bits": [8]}, seeds=7).run()
    assert np.array_equal(result.values()[0], [0.5, 0.5, 1, 1, 0.5, np.nan, np.nan], equal_nan=True)
    assert "must return names with real numbers" in result.outcomes[0, 5].error
    assert "must return a mapping" in result.outcomes[0, 6].error


def test_warnings_of_a_point_are_kept_each_once(path, recwarn):
    def task(opu, seed):
        for _ in range(3):
            warnings.warn("too bright", stacklevel=2)
        return {"one": 1.0}

    result = sweep(task, {"camera.bits": [8]}).run(path)
    assert result.outcomes[0, 0].warnings == ("UserWarning: too bright",) and not len(recwarn)
    assert read_sweep(path).outcomes == result.outcomes


def test_warnings_go_to_the_point_that_they_come_from(recwarn):
    """Of a thread that a point has started, of a sweep within a task, and of one in a thread of its own."""

    def warn(text):
        warnings.warn(text, stacklevel=2)

    def task(opu, seed):
        def inner(opu, seed):
            warn("inner")
            return {"one": 1.0}

        within = sweep(inner, {"camera.bits": [8]}, seeds=1).run()
        assert within.outcomes[0, 0].warnings == ("UserWarning: inner",)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(warn, "helper").result()
        warn("outer")
        return {"one": 1.0}

    kept = {(0, 0): ("UserWarning: helper", "UserWarning: outer")}
    state = warnings.showwarning, list(warnings.filters)
    plan = sweep(task, {"camera.bits": [8]}, seeds=1)
    assert {place: outcome.warnings for place, outcome in plan.run().outcomes.items()} == kept
    with ThreadPoolExecutor(1) as pool:
        assert {place: o.warnings for place, o in pool.submit(plan.run).result().outcomes.items()} == kept
    assert not len(recwarn) and (warnings.showwarning, warnings.filters) == state


# ---------------------------------------------------------------- going on


def test_a_sweep_that_is_done_is_not_run_again(task, path):
    first = sweep(task).run(path)
    task.calls.clear()
    again = sweep(task).run(path)
    assert not task.calls and again.outcomes == first.outcomes and again.created == first.created


@pytest.mark.parametrize("after", range(6))
def test_an_interrupted_sweep_goes_on_and_its_file_is_equal(task, path, tmp_path, after):
    def interrupt(result, place):
        if len(result.outcomes) == after and place is not None or (after == 0 and place is None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(task).run(path, callback=interrupt)
    assert len(read_sweep(path).outcomes) == after
    done = len(task.calls)
    assert sweep(task).run(path).digest() == read_sweep(path).digest() == sweep(Task()).run(tmp_path / "b.h5").digest()
    assert done == after and len(task.calls) == 6 and len(set(task.calls)) == 6


def test_more_seeds_and_values_are_added_and_nothing_is_run_twice(task, path):
    sweep(task).run(path)
    task.calls.clear()
    more = {"camera.read_noise_e": [0.5, 1.0, 2.0, 2.5, 3.0]}
    result = sweep(task, more, seeds=[3, 0, 1]).run(path)
    expected = {(v, 10, 3) for v in more["camera.read_noise_e"]} | {(v, 10, s) for v in (0.5, 2.5) for s in (0, 1)}
    assert set(task.calls) == expected and len(task.calls) == len(expected)
    assert np.array_equal(result.values(), [[2 * v + s for s in (3, 0, 1)] for v in more["camera.read_noise_e"]])
    assert result.digest() == sweep(Task(), more, seeds=[3, 0, 1]).run().digest() == read_sweep(path).digest()


def test_a_list_of_values_that_go_together_may_grow(task, path):
    sweep(task, {"camera.read_noise_e": [1.0, 2.0], "n_components": [5, 6]}, zipped=True).run(path)
    task.calls.clear()
    grown = {"camera.read_noise_e": [1.0, 2.0, 3.0], "n_components": [5, 6, 7]}
    sweep(task, grown, zipped=True).run(path)
    assert task.calls == [(3.0, 7, 0), (3.0, 7, 1)]
    with pytest.raises(ValueError, match="values that went together in the file do not now"):
        sweep(task, {**grown, "n_components": [7, 6, 5]}, zipped=True).run(path)


OTHERS = {
    "task": (dict(task=lambda opu, seed: {"a": 1.0}), "task name is 'test' in the file"),
    "fewer values": (dict(vary={"camera.read_noise_e": [1.0]}), r"camera.read_noise_e was \[1.0, 2.0, 3.0\]"),
    "other path": (dict(vary={"camera.prnu": [0.1]}), "what is varied is 'camera.read_noise_e' in the file, but"),
    "one more path": (
        dict(vary={**VARY, "camera.bits": [8]}),
        "'camera.read_noise_e' in the file, but 'camera.read_noise_e, camera.bits' now",
    ),
    "zipped": (dict(zipped=True), "go together in only one of the two"),
    "fewer seeds": (dict(seeds=1), r"the seeds were \[0, 1\] in the file, and \[0\] lacks some"),
    "device": (
        dict(device=Device.load("aurora").evolve(**{"camera.prnu": 0.5})),
        "device camera.prnu is 0.0095 in the file, but 0.5 now",
    ),
    "outputs": (dict(n_components=11), "n_components is 10 in the file, but 11 now"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_file_of_another_sweep_is_refused_and_kept(task, path, other):
    arguments, sentence = other
    sweep(task).run(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"sweep.h5 holds another sweep: .*{sentence}.*file of its own"):
        sweep(**{"task": task, **arguments}).run(path)
    assert path.read_bytes() == before


def test_all_that_differs_is_named_at_once(task, path):
    sweep(task).run(path)
    with pytest.raises(ValueError, match="device camera.bits.*n_components.*the seeds were"):
        sweep(task, device=Device.load("aurora").evolve(**{"camera.bits": 9}), n_components=5, seeds=1).run(path)


def test_a_file_without_points_is_no_other_sweep(task, path):
    def interrupt(result, place):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(task).run(path, callback=interrupt)
    assert not read_sweep(path).outcomes
    assert len(sweep(task, {"camera.bits": [8]}).run(path).outcomes) == 2


def test_a_level_of_rounded_counts_is_another_sweep(task, path):
    """As files have it that were written before a level was that of the signal; they can still be read."""
    vary = {"exposure.mean_level": [0.1]}
    now = sweep(task, vary)
    old = SweepResult(
        dataclasses.replace(now.header, meanings={}), ((0.1,),), {(0, 0): Outcome({"double": 1.0})}, "then"
    )
    assert "meanings" not in old.header.to_json()
    write_sweep(path, old)
    assert read_sweep(path).digest() == old.digest()
    with pytest.raises(ValueError, match="what exposure.mean_level stands for is 'that of an earlier opusim' in the"):
        now.run(path)


def test_names_and_descriptions_of_a_device_may_change(task, path):
    sweep(task).run(path)
    task.calls.clear()
    device = dataclasses.replace(Device.load("aurora"), name="mine", description="another line")
    sweep(task, device=device).run(path)
    assert not task.calls


def test_a_sweep_that_goes_on_with_another_version_says_so_and_names_both(task, path, monkeypatch):
    sweep(task).run(path)
    first, calls = opusim.__version__, len(task.calls)
    monkeypatch.setattr(opusim, "__version__", "99.0")
    for seeds in (3, 4):
        if seeds == 3:
            with pytest.warns(UserWarning, match=f"begun with opusim {re.escape(first)} and goes on with 99.0"):
                result = sweep(task, seeds=seeds).run(path)
        else:
            result = sweep(task, seeds=seeds).run(path)  # said once
        assert result.header.opusim_version == read_sweep(path).header.opusim_version == f"{first}, 99.0"
    assert len(task.calls) == 2 * calls


# ---------------------------------------------------------------- points that fail


def test_a_point_that_fails_is_recorded_and_the_rest_goes_on(task, path):
    task.fails_at = {2.0}
    result = sweep(task).run(path)
    assert len(task.calls) == 6 and result.n_failed == 2
    failed = read_sweep(path).outcomes[1, 0]
    assert (failed.error_type, failed.error, dict(failed.metrics)) == ("KeyError", "'the light went out'", {})
    assert failed.traceback.splitlines()[-1] == "KeyError: 'the light went out'" and "__call__" in failed.traceback
    assert np.array_equal(result.values(), [[2, 3], [np.nan, np.nan], [6, 7]], equal_nan=True)


def test_failed_points_are_run_again_only_when_asked(task, path):
    task.fails_at = {2.0}
    sweep(task).run(path)
    task.calls.clear()
    task.fails_at = set()
    assert sweep(task).run(path).n_failed == 2 and not task.calls
    result = sweep(task).run(path, retry_failed=True)
    assert task.calls == [(2.0, 10, 0), (2.0, 10, 1)] and not result.n_failed
    assert result.digest() == sweep(Task()).run().digest()


def test_a_maker_that_fails_is_recorded_too(path):
    def make_opu(device, n_components, seed):
        raise MemoryError

    result = Sweep(lambda opu, seed: {"a": 1.0}, make_opu, {"camera.bits": [8]}).run(path)
    assert (result.outcomes[0, 0].error_type, result.outcomes[0, 0].error) == ("MemoryError", "MemoryError")
    with pytest.raises(ValueError, match="no point of this sweep is done"):
        result.values()


def test_any_text_may_be_in_an_error(path):
    def task(opu, seed):
        raise ValueError("null \0, half \ud800, long " + "x" * 10**5)

    result = sweep(task, {"camera.bits": [8]}).run(path)
    assert len(result.outcomes[0, 0].error) == 2000
    assert read_sweep(path).outcomes == result.outcomes


# ---------------------------------------------------------------- where points run


def test_arguments_of_a_run_are_checked(task):
    for arguments, error in (
        ({"workers": 0}, ValueError),
        ({"workers": 1.5}, TypeError),
        ({"threads": 0}, ValueError),
        ({"workers": 2, "dask": "local"}, ValueError),
    ):
        with pytest.raises(error, match=next(iter(arguments))):
            sweep(task).run(**arguments)


def test_processes_give_the_same_and_take_functions_that_only_this_one_knows(path):
    """A closure, which no module holds: the workers get it by value."""
    offset = 40

    def task(opu, seed):
        if opu.model.camera.read_noise_e == 2.0 and seed == 1:
            raise ValueError("no")
        return {"value": opu.model.camera.read_noise_e + offset + seed, "process": float(os.getpid())}

    result = sweep(task, seeds=4).run(path, workers=2)
    assert np.array_equal(result.values("value")[0], [41, 42, 43, 44]) and result.n_failed == 1
    assert os.getpid() not in result.values("process")
    assert read_sweep(path).outcomes == result.outcomes
    assert result.outcomes[1, 1].error == "no"


def test_dask_without_distributed_is_a_sentence(monkeypatch, task):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RuntimeError, match="distributed is not installed: pip install"):
        sweep(task).run(dask="tcp://127.0.0.1:1")


def test_dask_takes_addresses_and_clients_only():
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    with pytest.raises(TypeError, match="dask is 3 .int., but it must be an address"):
        with dask_client(3):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp://127.0.0.1:x", "nonsense", "smoke://a:1", "local:0"])
def test_a_scheduler_that_does_not_answer_is_told_within_seconds(task, path, address):
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    start = time.perf_counter()
    with pytest.raises(ConnectionError, match="no Dask scheduler answers there"):
        sweep(task).run(path, dask=address)
    # Five seconds of waiting, and what a busy machine needs beside them.
    assert time.perf_counter() - start < 20
    # Nothing is left behind that would be in the way of another sweep.
    assert not path.exists() and not task.calls


@pytest.mark.slow
def test_a_scheduler_that_listens_and_says_nothing_is_told_within_seconds(task):
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(ConnectionError, match="no Dask scheduler answers there"):
            sweep(task).run(dask=f"tcp://127.0.0.1:{server.getsockname()[1]}")
    assert not task.calls


# ---------------------------------------------------------------- where a curve falls


def test_where_a_curve_falls():
    """Straight lines between the points, over x, or over its logarithm where x is positive throughout."""
    left, right = falls_at([-2, -1, 0, 1, 2], [0.0, 0.5, 1.0, 0.5, 0.0], 0.25)
    assert (left, right) == pytest.approx((-0.5, 0.5))
    left, right = falls_at([1, 10, 100], [0.0, 1.0, 0.9], 0.5)
    assert left == pytest.approx(10**0.5) and np.isnan(right)
    left, right = falls_at([0, 1, 2, 3], [1.0, np.nan, 0.5, 0.5], 0.25)
    assert np.isnan(left) and right == pytest.approx(1.0)


def test_where_a_curve_falls_needs_points_that_rise():
    with pytest.raises(ValueError, match="no points"):
        falls_at([1.0], [np.nan], 0.1)
    with pytest.raises(ValueError, match="does not rise"):
        falls_at([2.0, 1.0], [1.0, 1.0], 0.1)
