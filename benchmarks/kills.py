"""Kills: `calibrate tm`, `calibrate all`, `sweep` and `train` ended by SIGKILL at random moments, and gone on with.

    python benchmarks/kills.py [--kills 1000 | --every] [--seed 0] [--only tm,all,sweep,train] [--seconds 900] [--json]

Each case is run once without a kill. Then, round by round, it is begun anew in an empty folder and killed one to four
times, each time in a life that goes on from what the one before has left, and at last let go to its end. Asked of each
round: no file that is there after a kill is unreadable; what is there at the end equals what one life without a kill
makes, to the bit; and nothing else is left in the folder.

A life is a fork of this process, which has everything imported, compiled and in its memory: a kill costs no start of
Python. Half of the kills come at a random time. The others come at a random one of the life's calls that name a file in
the folder (opened, renamed, removed, made): there a file may be half written, and a random time seldom falls there.
With --every each case is killed once at each of these calls instead.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Before numpy is imported: a life is a fork, and has no threads but its own.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

DEVICE = """
preset = "aurora"
name = "small"
[dmd]
shape = [128, 128]
[camera]
shape = [128, 256]
[operation]
ones_range = [800, 10000]
"""
TASK = """
import numpy as np

def task(opu, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (20, 60), dtype=np.uint8)
    counts = np.asarray(opu.fit_transform1d(bits), dtype=float)
    return {"mean": counts.mean(), "first": counts[0, 0]}
"""
# What says when something was written, or how long it took.
TIMES = {"created", "epoch_s", "_created", "_epoch_s", "created_utc", "written"}
SPENT = {"network_s", "encoding_s", "projection_s", "evaluation_s", "total_s"}


@dataclass(frozen=True)
class Case:
    """A command, and what it leaves.

    Parameters
    ----------
    name : str
        Its name here.
    arguments : tuple of str
        Its words, all but those that make it go on.
    files : tuple of str
        Its files, relative to its folder.
    resume : str
        The word that makes it go on from what is there; "" if it does so by itself.
    rests : tuple of str
        Hidden files that it leaves by design.
    """

    name: str
    arguments: tuple[str, ...]
    files: tuple[str, ...]
    resume: str = ""
    rests: tuple[str, ...] = ()

    def words(self, folder: Path, begun: bool) -> list[str]:
        words = [word.replace("{}", str(folder)) for word in self.arguments]
        # `train --resume` needs the file that it goes on from.
        goes_on = begun and self.resume and (self.name != "train" or (folder / self.files[0]).exists())
        return [*words, self.resume] if goes_on else words


CASES = {
    case.name: case
    for case in (
        Case(
            "tm",
            ("calibrate", "tm", "-d", "{}/../small.toml", "--roi", "50,90,4,64", "--inputs", "32", "--out",
             "{}/cal.h5"),
            ("cal.tm.h5",), "--resume",
        ),
        Case(
            "all",
            ("calibrate", "all", "-d", "{}/../small.toml", "--roi", "50,90,8,64", "--inputs", "16", "--minutes", "1",
             "--out", "{}/cal.h5"),
            ("cal.h5", "cal.tm.h5"), "--resume",
        ),
        Case(
            "sweep",
            ("sweep", "-d", "{}/../small.toml", "--task", "{}/../program.py:task", "--vary",
             "camera.read_noise_e=0,20,40", "--seeds", "2", "-n", "100", "--out", "{}/sweep.h5"),
            ("sweep.h5",), rests=(".sweep.h5.lock",),
        ),
        Case(
            "train",
            ("train", "--device", "{}/../small.toml", "--task", "digits", "--hidden", "24,16", "--limit", "300",
             "--batch-size", "32", "--epochs", "6", "--feedback", "optical", "--out", "{}/run.h5"),
            ("run.h5",), "--resume",
        ),
    )
}  # fmt: skip


def read(path: Path) -> Any:
    """Return what a file holds, in a form that can be compared; a ValueError says that it cannot be read."""
    from opusim.calibration.files import open_calibration, record_names
    from opusim.dfa.checkpoint import read_run
    from opusim.sweep import read_sweep

    if path.name == "sweep.h5":
        result = read_sweep(path)
        return len(result.outcomes), result.digest()
    if path.name == "run.h5":
        run = read_run(path)
        history = {n: v.tobytes() for n, v in vars(run.history).items() if n not in SPENT}
        state = {n: a.tobytes() for n, a in run.optimiser_state.items()}
        return run.settings, run.feedback_state, history, [p.tobytes() for p in run.parameters], state
    record_names(path)
    with open_calibration(path) as file:
        return _content(file)


def _content(group: Any) -> dict[str, Any]:
    found: dict[str, Any] = {f"@{n}": _plain(v) for n, v in group.attrs.items() if n not in TIMES}
    for name, item in group.items():
        found[name] = _content(item) if hasattr(item, "items") else (item.dtype.str, item.shape, item[()].tobytes())
        if not hasattr(item, "items"):
            found[f"{name}@"] = {n: _plain(v) for n, v in item.attrs.items()}
    return found


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def difference(a: Any, b: Any, where: str = "") -> str:
    """Return where two contents differ first, "" if they do not."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            if name not in a or name not in b:
                return f"{where}/{name} is in one of them only"
            told = difference(a[name], b[name], f"{where}/{name}")
            if told:
                return told
        return ""
    # NaN equals itself here.
    return "" if a == b or repr(a) == repr(b) else f"{where or 'content'} differs"


def live(words: list[str], folder: Path, at_call: int | None) -> int:
    """Run a command in a fork of this process, which kills itself at the call of that number; return its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        if at_call is not None:
            sys.addaudithook(_Killer(str(folder), at_call))
        status = command(words)
    except BaseException:
        # Beside the folder, of which nothing else may be in.
        folder.with_suffix(".traceback").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def command(words: list[str]) -> int:
    """Run a command in this process; return its exit status."""
    from opusim.cli import app

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return int(app(words, standalone_mode=False) or 0)
        except SystemExit as end:
            return int(end.code or 0)


@contextmanager
def quiet() -> Iterator[None]:
    """Let what commands print go nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(stream) for stream in (1, 2)]
    with open(os.devnull, "w") as null:
        for stream in (1, 2):
            os.dup2(null.fileno(), stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, old in zip((1, 2), before, strict=True):
            os.dup2(old, stream)
            os.close(old)


class _Killer:
    """Counts the calls that name a file in a folder, and ends the process at one of them."""

    EVENTS = frozenset(
        ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.scandir", "os.listdir", "shutil.rmtree",
         "os.chmod", "shutil.copymode")
    )  # fmt: skip

    def __init__(self, folder: str, at_call: int) -> None:
        self._folder, self.left, self.calls = folder, at_call, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in self.EVENTS and any(self._folder in str(argument) for argument in arguments):
            self.calls += 1
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def ended(pid: int, seconds: float) -> int | None:
    """Wait so long for a process to end; return its status, negative for a signal, or None."""
    until = time.perf_counter() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.perf_counter() > until:
            return None
        time.sleep(0.0005)


def kill(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@dataclass
class Seen:
    """What was seen of a case."""

    kills: int = 0
    kills_at_calls: int = 0
    rounds: int = 0
    unreadable: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not (self.unreadable or self.different or self.left or self.failed)


class Bench:
    """A case, what it makes without a kill, and how long that takes."""

    def __init__(self, case: Case, root: Path) -> None:
        self.case, self.root, self.seen = case, root, Seen()
        reference = root / f"{case.name}-reference"
        reference.mkdir()
        # Once in this process, so that all is imported, compiled and at hand; then in forks, for time and calls.
        with quiet():
            status = command(case.words(reference, False))
        if status:
            raise RuntimeError(f"{case.name} fails without a kill")
        self.content = {name: read(reference / name) for name in case.files}
        again = root / f"{case.name}-again"
        again.mkdir()
        start = time.perf_counter()
        if ended(live(case.words(again, False), again, None), 120):
            raise RuntimeError(f"{case.name} fails in a fork")
        self.seconds = time.perf_counter() - start
        for name in case.files:
            told = difference(self.content[name], read(again / name))
            if told:
                raise RuntimeError(f"{case.name} is not the same twice: {name}{told}")
        # About: what comes after the last one has ended by itself.
        self.calls = self._count(again)

    def _count(self, folder: Path) -> int:
        shutil.rmtree(folder)
        folder.mkdir()
        into, out = os.pipe()
        pid = os.fork()
        if not pid:
            counter = _Killer(str(folder), -1)
            sys.addaudithook(counter)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(null, stream)
            command(self.case.words(folder, False))
            os.write(out, str(counter.calls).encode())
            os._exit(0)
        os.close(out)
        os.waitpid(pid, 0)
        with os.fdopen(into) as told:
            return int(told.read())

    def round(self, dice: random.Random, number: int, most_kills: int, only_call: int | None = None) -> None:
        """Kill it a few times, or once at a call, let it go to its end, and compare."""
        seen, case = self.seen, self.case
        folder = self.root / f"{case.name}-{number}"
        folder.mkdir()
        begun = is_done = False
        lives: list[str] = []
        for _ in range(min(most_kills, dice.randint(1, 4))):
            at_call = only_call or (dice.randint(1, self.calls) if dice.random() < 0.5 else None)
            after_s = dice.uniform(0, 1.05 * self.seconds)
            pid = live(case.words(folder, begun), folder, at_call)
            status = ended(pid, after_s if at_call is None else 120)
            if status is None:
                status = kill(pid)
            lives.append(f"call {at_call}" if at_call is not None else f"{after_s:.4f} s")
            begun = True
            if status == -signal.SIGKILL:
                seen.kills += 1
                seen.kills_at_calls += at_call is not None
            elif status:
                seen.failed.append(self._told(number, lives, f"status {status} {self._traceback(folder)}"))
            else:
                is_done = True  # it had come to its end before
                break
            self._read_all(folder, number, lives)
        if not is_done:
            status = ended(live(case.words(folder, begun), folder, None), 120)
            if status:
                seen.failed.append(self._told(number, lives, f"the last: {status} {self._traceback(folder)}"))
        seen.rounds += 1
        for name in case.files:
            try:
                told = difference(self.content[name], read(folder / name))
            except (OSError, ValueError) as error:
                told = f" cannot be read: {error}"
            if told:
                seen.different.append(self._told(number, lives, f"{name}{told}"))
        more = {entry.name for entry in folder.iterdir()} - {*case.files, *case.rests}
        if more:
            seen.left.append(self._told(number, lives, str(sorted(more))))
        shutil.rmtree(folder)

    def _read_all(self, folder: Path, number: int, lives: list[str]) -> None:
        for name in self.case.files:
            if (folder / name).exists():
                try:
                    read(folder / name)
                except ValueError as error:
                    self.seen.unreadable.append(self._told(number, lives, str(error)))

    def _told(self, number: int, lives: list[str], what: str) -> str:
        return f"{self.case.name}, round {number}, killed at {', '.join(lives)}: {what}"

    @staticmethod
    def _traceback(folder: Path) -> str:
        path = folder.with_suffix(".traceback")
        return path.read_text() if path.exists() else ""


@contextmanager
def place() -> Iterator[Path]:
    """Give a folder in memory, where there is one: a kill leaves there what it leaves on a disk, and fsync is quick."""
    memory = Path("/dev/shm")
    root = tempfile.mkdtemp(prefix="opusim-kills-", dir=memory if os.access(memory, os.W_OK) else None)
    before = os.environ.get("XDG_CONFIG_HOME")
    os.environ["XDG_CONFIG_HOME"] = os.path.join(root, "config")
    try:
        yield Path(root)
    finally:
        if before is None:
            del os.environ["XDG_CONFIG_HOME"]
        else:
            os.environ["XDG_CONFIG_HOME"] = before
        shutil.rmtree(root, ignore_errors=True)


def run(
    names: list[str],
    kills: int,
    seed: int,
    seconds: float,
    tell: Callable[[str], object] = lambda text: None,
    *,
    every: bool = False,
) -> dict[str, Any]:
    """Kill so often, or for so long; return what was seen.

    Parameters
    ----------
    names : list of str
        Cases.
    kills : int
        Of all cases together.
    seed : int
        Of the moments. Of those by time none comes again exactly.
    seconds : float
        After which no more rounds are begun.
    tell : callable
        Told a line now and then.
    every : bool
        Whether to kill each case once at each of its calls, in place of random moments; `kills` does not count then.
    """
    with place() as root:
        (root / "small.toml").write_text(DEVICE)
        (root / "program.py").write_text(TASK)
        start = time.perf_counter()
        benches = [Bench(CASES[name], root) for name in names]
        warm_s = time.perf_counter() - start
        for bench in benches:
            tell(f"{bench.case.name}: {bench.seconds:.2f} s, {bench.calls} calls that name its files")
        dice, number = random.Random(seed), 0
        for bench in benches if every else ():
            for call in range(1, bench.calls + 1):
                if time.perf_counter() - start > seconds:
                    tell(f"{bench.case.name}: the time is over at call {call}")
                    break
                bench.round(dice, number, 1, call)
                number += 1
            tell(f"{bench.case.name}: {time.perf_counter() - start:.0f} s")
        while not every and (done := sum(bench.seen.kills for bench in benches)) < kills:
            if time.perf_counter() - start > seconds:
                break
            # That with the fewest kills next, so that all have as many.
            bench = min(benches, key=lambda one: one.seen.kills)
            bench.round(dice, number, kills - done)
            number += 1
            if number % 20 == 0:
                tell(f"{number} rounds, {done} kills, {time.perf_counter() - start:.0f} s")
    return {
        "seed": seed,
        "warm_s": warm_s,
        "seconds": time.perf_counter() - start,
        "cases": {
            bench.case.name: {**vars(bench.seen), "seconds": bench.seconds, "calls": bench.calls} for bench in benches
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Kills at random moments; see the file.")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--every", action="store_true", help="once at each call that names a file")
    parser.add_argument("--json", action="store_true", help="print what was seen as JSON alone")
    given = parser.parse_args()
    names = given.only.split(",")
    if not set(names) <= set(CASES):
        parser.error(f"--only is {given.only!r}, but there are {', '.join(CASES)}")
    seen = run(
        names, given.kills, given.seed, given.seconds,
        (lambda text: print(text, file=sys.stderr)) if given.json else print, every=given.every,
    )  # fmt: skip
    if given.json:
        print(json.dumps(seen))
    else:
        print(f"seed {seen['seed']}, {seen['seconds']:.0f} s")
        for name, case in seen["cases"].items():
            faults = {key: len(case[key]) for key in ("unreadable", "different", "left", "failed")}
            print(
                f"{name}: {case['kills']} kills ({case['kills_at_calls']} at calls), {case['rounds']} rounds, {faults}"
            )
            for key in faults:
                for text in case[key][:5]:
                    print(f"  {key}: {text}")
    sys.exit(any(case[key] for case in seen["cases"].values() for key in ("unreadable", "different", "left", "failed")))


if __name__ == "__main__":
    main()
