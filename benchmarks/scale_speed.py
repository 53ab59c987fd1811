"""The part of `scale.py --speed`: one table of what is asked of the speed, with peers and an earlier build in the run.

    python benchmarks/scale.py --speed --before FOLDER [--rows 1 3] [--rounds 5] [--lightonml ENVIRONMENT] [--busy]

FOLDER holds the package `opusim` of the earlier build as it is installed (`pip install --no-deps --target FOLDER` of a
checkout of commit 66803f9). ENVIRONMENT is what `.ci/contract-environment` makes. Digits are those of OPUSIM_DATA, or
of `shared/data` beside the checkout.

1. `transform`, 784 -> 10 000, 3 000 half-on vectors, over the arithmetic of lightonml's noise-free simulator.
2. The same with MNIST's digits (pixels > 25).
3. 10 000 -> 10 000, 3 000 vectors, over the complex product alone; beside it lightonml's simulator, the same as opusim
   has it, and the time of the real device. Both builds as they choose their way, and by matrix.
4. `linear_transform`, 1 920 vectors, by intensity and by holography, over the earlier build.
5. An epoch of optical DFA on 10 000 digits, over the earlier build: the projections alone, and all of it.
6. One vector after another after `fit1d(online=True)`, over the earlier build.

Each row has its memory over the earlier build's, what making the matrix took where counts come from one (with the layer
that it is made of), and a bare loop: the sums alone and the camera alone, called on
vectors, sizes and levels of the row, with nothing between them, no reference arm and no demodulation. Rows 1, 3 and 4
have one thread beside two. Everything is done by `speed_work.py` in processes of its own, one for each piece of work,
so that memory is that of the work alone; kernels are compiled before, in others. All of a row are started first and
wait for their turn. A round has a turn of each, forwards and backwards by turns. Ratios are medians of those of the
rounds, by the clock; behind them stands that by processor time.

A round begins when the machine is quiet: in a second in which all of these processes wait, what other processes used
and what the host took away is less than `QUIET` of a processor. If that does not happen within a minute, or if they use
more than that in the round, it is thrown away and counted. The load average would not tell: it is a mean over a minute,
and the benchmark itself drives it to two. A fifth of a processor is stricter than a load average of one, and is asked
of the whole round. With `--busy` all rounds count: to see that the rows work, not for results.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import other_build
from scale_common import row, shown, table

import opusim

HERE = Path(__file__).resolve()
ROWS = (1, 2, 3, 4, 5, 6)
DIGITS = (2, 5)  # rows that need MNIST
LIGHTONML = "lightonml-1.4.3"
QUIET = 0.2  # of a processor, used by others
PATIENCE_S = 60.0
REAL_DEVICE_S = 1.68  # 3 000 vectors of 10 000 features to 10 000 outputs, as the real device printed it
TICKS = os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- rows


@dataclass(frozen=True)
class Ask:
    """A bar: what a ratio or a time is asked to be.

    Attributes
    ----------
    what : str
        What is compared.
    over : str
        Name of the process whose time is divided by ours; "" for our own time.
    part : str
        Which time of a go.
    least, most : float
        Least ratio, or most seconds.
    """

    what: str
    over: str
    part: str = "s"
    least: float = 0.0
    most: float = 0.0


@dataclass(frozen=True)
class Case:
    """A size and way of a row.

    Attributes
    ----------
    row : int
        Number of the row.
    what : str
        In words.
    work : dict
        Work of `speed_work.py`, which both builds do.
    asks : tuple of Ask
        What is asked.
    peers : dict
        Work that others do.
    bare : dict
        The bare loop.
    bare_of : str
        Which time of a go the bare loop bounds.
    two_threads : bool
        Whether it is done with one thread too.
    per : str
        What a time is of.
    """

    row: int
    what: str
    work: dict[str, Any]
    asks: tuple[Ask, ...]
    peers: dict[str, dict[str, Any]] = field(default_factory=dict)
    bare: dict[str, Any] = field(default_factory=dict)
    bare_of: str = "s"
    two_threads: bool = False
    per: str = ""


def cases() -> list[Case]:
    """Return all rows of the table."""
    small = {"n": 784, "n_out": 10_000, "vectors": 3_000}
    square = {"n": 10_000, "n_out": 10_000, "vectors": 3_000}
    arithmetic = "lightonml's arithmetic"
    made = [
        Case(
            1, "784 -> 10 000, 3 000 half-on vectors", {"work": "counts", **small}, (Ask("", arithmetic, least=3.5),),
            {arithmetic: {"work": "arithmetic", **small}}, {"work": "bare", **small}, two_threads=True,
        ),
        Case(
            2, "784 -> 10 000, 3 000 MNIST digits", {"work": "counts", "data": "mnist", **small},
            (Ask("", arithmetic, least=4.5),), {arithmetic: {"work": "arithmetic", "data": "mnist", **small}},
            {"work": "bare", "data": "mnist", **small},
        ),
        Case(
            3, "10 000 -> 10 000, 3 000 half-on vectors", {"work": "counts", **square},
            (Ask("", "complex product", least=4.0), Ask("time", "", most=1.9)),
            {
                "complex product": {"work": "product", **square},
                "lightonml's simulator": {"work": "lightonml", **square},
                "the same in opusim": {"work": "simulator", **square},
            },
            two_threads=True,
        ),
        Case(
            3, "10 000 -> 10 000, execution='matrix'", {"work": "counts", "execution": "matrix", **square},
            (Ask("", "complex product", least=4.0), Ask("time", "", most=1.9)),
            {"complex product": {"work": "product", **square}}, {"work": "bare", **square}, two_threads=True,
        ),
    ]  # fmt: skip
    for n_out in (10_000, 3_000):
        for mode in ("intensity", "holographic"):
            one = {"n": 784, "n_out": n_out, "vectors": 1_920, "mode": mode}
            name = f"`linear_transform`, {mode}, 784 -> {n_out:,}, 1 920 vectors".replace(",000", " 000")
            made.append(
                Case(4, name, {"work": "linear", **one}, (Ask("", "before", least=3.0),),
                     bare={"work": "bare", **one}, two_threads=True)
            )  # fmt: skip
    projected = {"n": 10, "n_out": 2_048, "vectors": 0, "mode": "holographic", "frames": "as many as opusim shows"}
    made.append(
        Case(
            5, "optical DFA, an epoch of 10 000 digits", {"work": "training", "digits": 10_000},
            (Ask("projection", "before", "projection", least=2.5), Ask("whole epoch", "before", least=1.8)),
            bare={"work": "bare", **projected}, bare_of="projection",
        )
    )  # fmt: skip
    for n, n_out, most in ((984, 600, 0.3e-3), (2_100, 2_000, 0.8e-3)):
        one = {"n": n, "n_out": n_out, "vectors": 200}
        name = f"one online vector, {n} -> {n_out}"
        made.append(
            Case(6, name, {"work": "online", **one}, (Ask("time", "", most=most), Ask("", "before")),
                 bare={"work": "bare_online", **one}, per=" a vector")
        )  # fmt: skip
    return made


# ---------------------------------------------------------------- processes


class Worker(other_build.Waiting):
    """A process that does one piece of work when it is told to."""

    def __init__(self, work: dict[str, Any], python: str, paths: Sequence[str], cache: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPUSIM_")}
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "OPUSIM_CACHE": cache}
        if data_folder():
            environment["OPUSIM_DATA"] = data_folder()
        super().__init__([python, str(HERE.with_name("speed_work.py")), json.dumps(work)], environment)
        self.about = self.answer()


def data_folder() -> str:
    """Return the folder of data sets; "" if there is none."""
    named = os.environ.get("OPUSIM_DATA")
    folder = Path(named) if named else HERE.parents[2] / "shared" / "data"
    return str(folder.absolute()) if folder.is_dir() else ""


def two_threads() -> str:
    """Return the process that has two threads: ours, if this is a machine of two processors."""
    return "now" if len(os.sched_getaffinity(0)) == 2 else "two threads"


class Others:
    """What processes that are not ours use, in processors: of the machine's time, less that of ours.

    Parameters
    ----------
    ours : list of int
        Numbers of our processes.
    """

    def __init__(self, ours: list[int]) -> None:
        self.ours = ours
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._began = self._now()

    def _now(self) -> tuple[float, int, int]:
        # user, nice, system, idle, iowait, irq, softirq, steal: all but the two that wait. Guests are in user.
        parts = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        own = 0
        for number in self.ours:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            own += int(fields[11]) + int(fields[12])
        return time.perf_counter(), sum(parts) - parts[3] - parts[4], own

    def used(self) -> float:
        """Return the processors that others have used since `start`."""
        began, now = self._began, self._now()
        return max(0.0, (now[1] - began[1]) - (now[2] - began[2])) / TICKS / (now[0] - began[0])


# ---------------------------------------------------------------- a row


@dataclass
class Found:
    """What was measured of a case: answers of each process, round by round, and its memory."""

    case: Case
    goes: dict[str, list[dict[str, float]]]
    about: dict[str, dict[str, Any]]
    thrown: int
    others: list[float]

    def times(self, name: str, part: str = "s") -> list[float]:
        """Return the times of a process."""
        return [go[part] for go in self.goes[name]]

    def shown(self, name: str, part: str = "s") -> str:
        """Return the times of a process in words, with the way that it took where there are two."""
        way = self.about[name].get("way") if self.case.row == 3 else None
        return time_of(self.times(name, part)) + (f" by {way}" if way else "")

    def ratio(self, over: str, part: str = "s") -> str:
        """Return how often our time goes into another's, in words; of a whole go by processor time too."""
        by_clock = shown(self.ratios(over, part), 1)
        if part != "s":
            return by_clock
        return f"{by_clock}; {statistics.median(self.ratios(over, 'processor')):.3g}"

    def ratios(self, over: str, part: str = "s", under: str = "now") -> list[float]:
        """Return how often one process's time goes into another's, round by round."""
        return [a / b for a, b in zip(self.times(over, part), self.times(under, part), strict=True)]


def compiled(case: Case, name: str, path: str, cache: Callable[[], str], done: set[Any]) -> None:
    """See that a build's kernels for a case lie compiled on the disk: to compile them takes memory of its own.

    And that it is this build that its processes import.
    """
    kind = (path, case.row, *(case.work.get(name) for name in ("work", "mode", "execution")))
    if kind not in done:
        few = {key: least for key, least in (("vectors", 16), ("digits", 256)) if key in case.work}
        worker = Worker({**case.work, **few}, sys.executable, [path], cache())
        worker.close()
        other_build.check(other_build.Build(sys.executable, path), worker.about["package"], f"--{name}")
        done.add(kind)


def workers_of(
    case: Case, options: argparse.Namespace, cache: Callable[[], str], done: set[Any]
) -> dict[str, Worker]:  # fmt: skip
    """Start all processes of a case, one after the other."""
    now = str(Path(opusim.__file__).parents[1])
    wanted = {"now": (case.work, sys.executable, now)}
    if options.before:
        wanted["before"] = (case.work, sys.executable, os.path.abspath(options.before))
    for name, (_, _, path) in wanted.items():
        compiled(case, name, path, cache, done)
    if case.two_threads:
        wanted["one thread"] = ({**case.work, "threads": 1}, sys.executable, now)
        if two_threads() != "now":
            wanted["two threads"] = ({**case.work, "threads": 2}, sys.executable, now)
    for name, work in case.peers.items():
        if work["work"] == "lightonml":
            if options.lightonml:
                # As it stands: the links of an environment lead to another interpreter.
                folder = Path(os.path.abspath(options.lightonml))
                wanted[name] = (work, str(folder / "bin" / "python"), str(folder / LIGHTONML))
        else:
            wanted[name] = (work, sys.executable, now)
    if case.bare:
        wanted["bare loop"] = (case.bare, sys.executable, now)
    made: dict[str, Worker] = {}
    try:
        for name, (work, python, path) in wanted.items():
            if "frames" in work:
                work = {**work, "frames": int(made["now"].ask("go")["frames"])}
            made[name] = Worker(work, python, [path], cache())
    except BaseException:
        for worker in made.values():
            worker.close()
        raise
    return made


def quiet(others: Others, limit_s: float) -> bool:
    """Wait until others have used little in the last second; whether that came within the limit."""
    until = time.perf_counter() + limit_s
    while True:
        others.start()
        time.sleep(1.0)
        if others.used() < QUIET:
            return True
        if time.perf_counter() > until:
            return False


def measured(case: Case, options: argparse.Namespace, cache: Callable[[], str], done: set[Any]) -> Found:
    """Start the processes of a case, let them work round by round, and end them; `done` is what is compiled."""
    workers = workers_of(case, options, cache, done)
    try:
        found = Found(case, {name: [] for name in workers}, {}, 0, [])
        others = Others([os.getpid(), *(worker.process.pid for worker in workers.values())])
        rounds = 0
        # As many rounds more as were asked for may be thrown away.
        while rounds < options.rounds and found.thrown <= options.rounds:
            if not options.busy and not quiet(others, PATIENCE_S):
                found.thrown += 1
                continue
            order = list(workers) if (rounds + found.thrown) % 2 == 0 else list(workers)[::-1]
            others.start()
            goes = {}
            for name in order:
                time.sleep(0.1)  # threads of the one before have stopped to wait for work
                goes[name] = workers[name].ask("go")
            used = others.used()
            if used >= QUIET and not options.busy:
                found.thrown += 1
                continue
            rounds += 1
            found.others.append(used)
            for name, go in goes.items():
                found.goes[name].append(go)
        for name, worker in workers.items():
            found.about[name] = {**worker.about, **worker.ask("memory")}
        return found
    finally:
        for worker in workers.values():
            worker.close()


# ---------------------------------------------------------------- tables


def time_of(seconds: list[float]) -> str:
    """Return a median and its range in the unit that suits it."""
    scale, unit = (1.0, "s") if statistics.median(seconds) >= 0.1 else (1e3, "ms")
    return f"{shown(seconds, scale)} {unit}"


def verdict(reached: bool) -> str:
    return "reached" if reached else "**missed**"


def rows_of_times(found: Found) -> None:
    """Print a case's times and what was asked of them."""
    case = found.case
    for ask in case.asks:
        name = case.what + (f": {ask.what}" if ask.what else "")
        ours = found.times("now", ask.part)
        if not ask.over:
            median = statistics.median(ours)
            limit, unit = (ask.most, "s") if ask.most >= 0.1 else (ask.most * 1e3, "ms")
            asked = f"<= {limit:g} {unit}{case.per}"
            row(case.row, name, found.shown("now", ask.part) + case.per, "", "", asked, verdict(median <= ask.most))
            continue
        asked = f">= {ask.least:g}" if ask.least else ""
        if ask.over in found.goes:
            ratios = found.ratios(ask.over, ask.part)
            reached = verdict(statistics.median(ratios) >= ask.least) if ask.least else ""
            theirs = f"{ask.over}: {found.shown(ask.over, ask.part)}"
            row(case.row, name, found.shown("now", ask.part), theirs, found.ratio(ask.over, ask.part), asked, reached)
        else:
            row(case.row, name, found.shown("now", ask.part), f"{ask.over}: not given", "", asked, "")
    told = {ask.over for ask in case.asks}
    for name in (*case.peers, "before"):
        if name not in told and name in found.goes:
            theirs = f"{name}: {found.shown(name)}"
            row(case.row, case.what, found.shown("now"), theirs, found.ratio(name), "", "")
    if case.row == 3:
        frames_s = case.work["vectors"] * found.about["now"]["frame_s"]
        theirs = f"the real device: {REAL_DEVICE_S} s as it printed, {frames_s:.3g} s by its frame time"
        ratios = [REAL_DEVICE_S / ours for ours in found.times("now")]
        row(case.row, case.what, found.shown("now"), theirs, shown(ratios, 1), "", "")


def check(options: argparse.Namespace) -> None:
    """Refuse what cannot be measured: builds, environments and data that are not there.

    Raises
    ------
    SystemExit
        With status 2.
    """
    if options.before:
        other_build.found(options.before)
    if options.lightonml:
        folder = Path(os.path.abspath(options.lightonml))
        if not (folder / "bin" / "python").is_file() or not (folder / LIGHTONML).is_dir():
            other_build.refuse(
                f"--lightonml is {options.lightonml!r}, where bin/python and {LIGHTONML} are not both. It may be a "
                "folder that `.ci/contract-environment` has made."
            )
    if not rows_of(options):
        other_build.refuse(left_out(options) + " No row is left.")


def rows_of(options: argparse.Namespace) -> list[int]:
    """Return the rows that were asked for, and can be measured."""
    return [number for number in options.rows or ROWS if number not in DIGITS or data_folder()]


def left_out(options: argparse.Namespace) -> str:
    """Return which rows that were asked for are left out, and why; "" if none is."""
    rows = [str(number) for number in sorted(set(options.rows or ROWS) - set(rows_of(options)))]
    if not rows:
        return ""
    named = os.environ.get("OPUSIM_DATA")
    why = f"OPUSIM_DATA is {named!r}, which is no folder" if named else (
        "OPUSIM_DATA is not set, and there is no shared/data beside the checkout"
    )  # fmt: skip
    which = f"Row {rows[0]} is" if len(rows) == 1 else f"Rows {' and '.join(rows)} are"
    return f"{which} left out: {why}."


def speed(options: argparse.Namespace) -> None:
    """Measure the rows that were asked for, and print the tables."""
    chosen = [case for case in cases() if case.row in rows_of(options)]
    if left_out(options):
        print(left_out(options))
    if not options.before:
        print("What is compared with an earlier build is left out: --before FOLDER was not given.")
    print(
        f"Device aurora@1, seed 0, all noise, default threads; {options.rounds} rounds, medians (range). Load average "
        f"at the start {os.getloadavg()[0]:.2f}."
    )
    everything, done, began = [], set(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        # A folder of each process's own: none finds what another one has measured.
        for case in chosen:
            print(f"row {case.row}, {case.what} ...", file=sys.stderr, flush=True)
            everything.append(measured(case, options, lambda: tempfile.mkdtemp(dir=folder), done))
    print_rounds(everything, options, time.perf_counter() - began)
    everything = [found for found in everything if found.others]
    if not everything:
        return
    table("row", "what", "opusim", "beside it", "ratio; by processor time", "asked", "")
    for found in everything:
        rows_of_times(found)
    print_memory(everything)
    print_threads(everything)
    print_bare(everything)


def print_rounds(everything: list[Found], options: argparse.Namespace, seconds: float) -> None:
    """Print how many rounds counted, and how quiet the machine was."""
    thrown = ", ".join(f"{found.thrown} of {found.case.what}" for found in everything if found.thrown)
    others = [used for found in everything for used in found.others]
    rule = "All rounds count, on a machine that may be busy: no results." if options.busy else (
        f"Rounds thrown away, as others used {QUIET:g} of a processor or more in the second before or during them: "
        f"{thrown or 'none'}."
    )  # fmt: skip
    print(f"{rule}{f' Others used {shown(others, 1)} processors in the rounds.' if others else ''} {seconds:.0f} s.")
    for found in everything:
        if not found.others:
            print(f"Not measured, as no round was quiet: row {found.case.row}, {found.case.what}.")


def print_memory(everything: list[Found]) -> None:
    """Print the most memory of a fresh process in each case, beside the earlier build's; and what comes first."""
    table("row", "what", "peak memory, MiB", "before, MiB", "ratio", "asked", "the work took, MiB", "budget, MiB", "",
          "the matrix, s (before)", "with it the first call, s (before)")  # fmt: skip
    for found in everything:
        now, before = found.about["now"], found.about.get("before")
        took = now["mib"] - now["before_mib"]
        ratio = now["mib"] / before["mib"] if before else None
        reached = took <= now["budget_mib"] and (ratio is None or ratio <= 1.05)
        row(
            found.case.row, found.case.what, f"{now['mib']:.0f}", f"{before['mib']:.0f}" if before else "",
            f"{ratio:.3f}" if ratio else "", "<= 1.05", f"{took:.0f}", f"{now['budget_mib']:.0f}", verdict(reached),
            *(beside(now, before, part) for part in ("matrix_s", "first_s")),
        )  # fmt: skip


def beside(now: dict[str, Any], before: dict[str, Any] | None, part: str) -> str:
    """Return what a process took for something, and the earlier build's behind it; - for what it did not do."""
    first, *rest = (f"{about[part]:.3g}" if part in about else "-" for about in (now, before) if about is not None)
    return first + "".join(f" ({other})" for other in rest)


def print_threads(everything: list[Found]) -> None:
    """Print two threads over one, where it is asked."""
    chosen = [found for found in everything if found.case.two_threads]
    if not chosen:
        return
    table("row", "what", "one thread", "two threads", "ratio", "asked", "")
    for found in chosen:
        ratios = found.ratios("one thread", under=two_threads())
        one, two = (time_of(found.times(name)) for name in ("one thread", two_threads()))
        good = verdict(statistics.median(ratios) >= 1.6)
        row(found.case.row, found.case.what, one, two, shown(ratios, 1), ">= 1.6", good)


def print_bare(everything: list[Found]) -> None:
    """Print the bare loops, and how much of their speed the whole has."""
    table(
        "row",
        "what",
        "sums alone",
        "camera alone",
        "both",
        "whole",
        "share of the bare loop",
        "asked, if a bar is missed",
    )
    for found in (found for found in everything if found.case.bare):
        whole = found.times("now", found.case.bare_of)
        shares = [100 * a / b for a, b in zip(found.times("bare loop"), whole, strict=True)]
        parts = (time_of(found.times("bare loop", part)) for part in ("sums", "camera", "s"))
        row(found.case.row, found.case.what, *parts, time_of(whole), f"{shown(shares, 1)} %", ">= 80 %")
