"""Job arrays: parts of a transform and of a sweep, merged, are one run; what is no whole is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from command_line import invoke
from opusim import OPU
from opusim.drivers.batch import Batch
from opusim.sweep import merge_sweeps, read_sweep
from opusim.sweep.file import write_sweep

N, FEATURES = 23, 60


def done(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return " ".join(result.output.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def x(folder: Path) -> np.ndarray:
    """Vectors whose first rows have few ones: a fit on them alone would choose another exposure."""
    density = np.linspace(0.05, 0.9, N)[:, None]
    vectors = (np.random.default_rng(0).random((N, FEATURES)) < density).astype(np.uint8)
    np.save(folder / "x.npy", vectors)
    return vectors


TRANSFORM = ("transform", "x.npy", "y.npy", "-n", 50, "--seed", 3)


# ---------------------------------------------------------------- transforms


@pytest.mark.parametrize("count", [1, 4, pytest.param(30, marks=pytest.mark.slow)])
def test_merged_parts_of_a_transform_are_the_file_of_one(folder, x, count):
    """To the last byte, in whatever order; more parts than vectors are no trouble."""
    done(*TRANSFORM)
    expected = (folder / "y.npy").read_bytes()
    with OPU(50, seed=3, disable_pbar=True) as opu:
        opu.fit1d(x)
        assert np.array_equal(np.load("y.npy"), opu.transform(x))
    (folder / "y.npy").unlink()
    for k in range(count, 0, -1):
        told = done(*TRANSFORM, "--part", f"{k}/{count}")
        assert f"y.part{k}of{count}.npy: uint8" in told and f"part {k}/{count}" in told
    assert not (folder / "y.npy").exists()
    parts = sorted(folder.glob("y.part*.npy"))
    # A part is a file that numpy reads.
    assert sum(len(np.load(part)) for part in parts) == N
    told = done("merge", "y.npy", *parts)
    assert f"uint8 {N} x 50, of {count} part" in told
    assert (folder / "y.npy").read_bytes() == expected and all(part.exists() for part in parts)


def test_images_in_parts(folder, x):
    np.save("x.npy", x.reshape(N, 6, 10))
    done(*TRANSFORM, "--2d")
    expected = (folder / "y.npy").read_bytes()
    for k in (1, 2):
        done(*TRANSFORM, "--2d", "--part", f"{k}/2")
    done("merge", "y.npy", "y.part1of2.npy", "y.part2of2.npy", "--force")
    assert (folder / "y.npy").read_bytes() == expected


def test_the_number_that_slurm_gives_counts_from_where_its_array_begins(folder, x, monkeypatch):
    for name, value in (("COUNT", 3), ("MIN", 0), ("MAX", 2), ("STEP", 1)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    for task in range(3):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task))
        done(*TRANSFORM, "--part", "slurm")
        assert "--part slurm is for" in refused(*TRANSFORM, "--part", f"{task}/3")
    assert sorted(path.name for path in folder.glob("y.*")) == [f"y.part{k}of3.npy" for k in (1, 2, 3)]


@pytest.fixture
def three(folder: Path, x: np.ndarray) -> list[Path]:
    for k in (1, 2, 3):
        done(*TRANSFORM, "--part", f"{k}/3")
    return [folder / f"y.part{k}of3.npy" for k in (1, 2, 3)]


def test_a_set_of_parts_that_is_no_whole_transform_is_refused(folder, x, three):
    assert "Parts 1, 3 of 3 are missing." in refused("merge", "out.npy", three[1])
    assert "are both part 2/3" in refused("merge", "out.npy", *three, three[1])
    assert "no part of a transform: opusim transform --part" in refused("merge", "out.npy", three[0], "x.npy")
    assert "There is no part" in refused("merge", "out.npy", three[0], "nowhere.npy")
    done(*TRANSFORM, "--part", "3/4")
    # One of another division is told before those that are missing.
    assert "is a part of 3 and" in refused("merge", "out.npy", *three[:2], "y.part3of4.npy")
    assert "needs a name of its own" in refused("merge", three[0], *three)
    assert "is there already; --force replaces it" in refused("merge", "x.npy", *three)
    assert "must end in .npy" in refused("merge", "out.h5", *three)
    assert not list(folder.glob("out*")) and not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--seed", 4), "seed is 3 in the one and 4 in the other"),
        (("--device", "ideal"), "device is"),
        (("-n", 51), "columns is [50] in the one and [51] in the other"),
        ((), "input is"),
    ],
)
def test_parts_of_another_transform_are_told(folder, x, three, arguments, what):
    if not arguments:
        # As many ones: nothing but the vectors themselves tells.
        np.save("x.npy", x[::-1])
    done(*TRANSFORM, *arguments, "--part", "2/3", "--force")
    told = refused("merge", "out.npy", *three)
    assert "y.part1of3.npy and" in told and "are parts of two transforms" in told and what in told


def test_an_input_that_changes_meanwhile_makes_no_part(folder, x, monkeypatch):
    """The fit and the first vectors would be of another input than the hash."""
    transform = Batch.transform
    expected = done(*TRANSFORM, "--part", "1/2") and (folder / "y.part1of2.npy").read_bytes()

    def changing(change):
        def show(batch, vectors, *where):
            found = transform(batch, vectors, *where)
            change()
            return found

        monkeypatch.setattr(Batch, "transform", show)
        return ("--part", "1/2", "--force")

    assert done(*TRANSFORM, *changing(lambda: os.utime("x.npy", (1, 1))))  # the same vectors
    assert (folder / "y.part1of2.npy").read_bytes() == expected
    told = refused(*TRANSFORM, *changing(lambda: np.save("x.npy", x[::-1])))
    assert "x.npy was changed while its vectors were shown, so y.part1of2.npy is not written" in told
    assert (folder / "y.part1of2.npy").read_bytes() == expected and not list(folder.glob(".*.npy"))


def test_a_part_whose_end_is_hurt_is_damaged_and_a_plain_file_is_no_part(folder, three):
    content = three[1].read_bytes()
    array = np.load(three[1])
    behind = content.index(array.tobytes()) + array.nbytes
    cut = [content[:size] for size in (len(content) - 1, len(content) - 41, behind + 1, behind - 1)]
    for spoilt in [
        content[:-1] + bytes([content[-1] ^ 4]),
        content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        *cut,
    ]:
        three[1].write_bytes(spoilt)
        assert "y.part2of3.npy is damaged or cut short: run this part again" in refused("merge", "out.npy", *three)
    three[1].write_bytes(content[:behind])
    assert "is no part of a transform: opusim transform --part" in refused("merge", "out.npy", *three)


@pytest.mark.slow
def test_a_damaged_part_is_named(folder, three):
    content = three[1].read_bytes()
    rng = np.random.default_rng(1)
    for place in [*rng.integers(0, len(content), 40), 6, 7, 8, len(content) - 1]:
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << int(rng.integers(8))
        three[1].write_bytes(spoilt)
        assert "y.part2of3.npy" in refused("merge", "out.npy", *three), place
    for size in [0, 5, 100, len(content) - 300, len(content) - 41, len(content) - 1]:
        three[1].write_bytes(content[:size])
        assert "y.part2of3.npy" in refused("merge", "out.npy", *three), size
    three[1].write_bytes(content)
    done("merge", "out.npy", *three)


@pytest.mark.parametrize("command", [TRANSFORM, ("sweep", "-t", "t.py:task", "-v", "camera.bits=4,8")])
@pytest.mark.parametrize("part", ["0/4", "5/4", "two", "2"])
def test_what_is_no_part_is_told_and_writes_nothing(folder, x, command, part):
    (folder / "t.py").write_text("def task(opu, seed):\n    return {'value': 1}\n")
    before = set(folder.iterdir())
    assert "part is" in refused(*command, "--part", part)
    assert set(folder.iterdir()) == before


# ---------------------------------------------------------------- sweeps

TASK = """
import time, pathlib
import numpy as np

def task(opu, seed):
    camera = opu.device.device_model.camera
    bits = np.random.default_rng(seed).integers(0, 2, (10, 40), dtype=np.uint8)
    counts = np.asarray(opu.fit_transform1d(bits), dtype=float)
    if pathlib.Path("slow").exists():
        pathlib.Path(f"at.{camera.bits}.{seed}").touch()
        time.sleep(60 if seed else 0)
    if camera.bits == 6 and seed == 1:
        raise ValueError("No light.")
    return {"accuracy": counts.mean() / 255, "first": counts[0, 0]}
"""
SWEEP = ("sweep", "-t", "t.py:task", "-v", "camera.bits=4,6,8", "-n", 20, "--seeds", 2, "-o", "s.h5")


@pytest.fixture
def task(folder: Path) -> None:
    (folder / "t.py").write_text(TASK)


def everything(path: Path) -> dict[str, object]:
    """All that a sweep's file holds, but when it was run and how long that took."""
    found: dict[str, object] = {}
    with h5py.File(path) as file:

        def keep(name: str, item: h5py.Group | h5py.Dataset) -> None:
            found.update({f"{name}@{key}": value for key, value in item.attrs.items()})
            if isinstance(item, h5py.Dataset):
                found[name] = np.asarray(item[()]).tolist()

        found.update(file.attrs)
        file.visititems(keep)
    for name in ("run@created", "run@written", "run/seconds", "run/notes"):
        del found[name]
    return {name: str(value) for name, value in found.items()}


@pytest.mark.parametrize("count", [2, 7])
def test_merged_parts_of_a_sweep_are_the_file_of_one(folder, task, count):
    assert invoke(*SWEEP).exit_code == 2  # a point fails
    expected, one = everything(folder / "s.h5"), read_sweep("s.h5")
    for k in range(count, 0, -1):
        assert invoke(*SWEEP, "--part", f"{k}/{count}").exit_code in (0, 2)
    parts = sorted(folder.glob("s.part*.h5"))
    assert sum(len(read_sweep(part).outcomes) for part in parts) == 6
    told = " ".join(invoke("report", parts[0]).output.split())
    n, n_failed = -(-6 // count), read_sweep(parts[0]).n_failed
    failed = f"; {n_failed} failed" if n_failed else " "
    assert f"part │ 1/{count} of a sweep of 6 points" in told and f"{n - n_failed} of {n} are done{failed}" in told
    assert "its name must not end in .npy" in refused("merge", "m.npy", *parts)
    told = done("merge", "m.h5", *parts)
    assert f"6 points, 1 of them failed, of {count} parts" in told
    assert everything(folder / "m.h5") == expected
    merged = read_sweep("m.h5")
    assert merged.digest() == one.digest() and merged.part is None and merged.n_failed == 1
    for place, outcome in merged.outcomes.items():
        assert outcome.warnings == one.outcomes[place].warnings and 0 < outcome.seconds < 90
        assert ("No light." in outcome.traceback) == outcome.failed
    # It goes on as any other: with more values.
    assert invoke(*SWEEP[:-4], "--seeds", 3, "-o", "m.h5").exit_code == 2
    assert len(read_sweep("m.h5").outcomes) == 9


def test_parts_of_a_task_that_was_edited_are_not_merged(folder):
    (folder / "t.py").write_text("def task(opu, seed):\n    return {'value': seed}\n")
    sweep = ("sweep", "-t", "t.py:task", "-v", "camera.bits=4,6,8", "-n", 20, "--seeds", 2, "-o", "s.h5")
    parts = [folder / f"s.part{k}of2.h5" for k in (1, 2)]
    done(*sweep, "--part", "1/2")
    (folder / "t.py").write_text("def task(opu, seed):\n    return {'value': seed + 10}\n")
    done(*sweep, "--part", "2/2")
    told = refused("merge", "m.h5", *parts)
    assert "s.part1of2.h5 and" in told and "were run with different texts of the task 't.py:task'" in told
    # As one that an earlier opusim has written.
    unknown = read_sweep(parts[0])
    unknown.texts = ()
    write_sweep(parts[0], unknown)
    done("merge", "m.h5", *parts)
    # A part without a point left to do keeps what it was run with.
    (folder / "t.py").write_text("def task(opu, seed):\n    return {'value': seed + 20}\n")
    known = read_sweep(parts[1]).texts
    done(*sweep, "--part", "2/2")
    assert read_sweep(parts[1]).texts == known and len(known) == 1
    # One that goes on with another text has both.
    half = read_sweep(parts[1])
    half.outcomes.popitem()
    write_sweep(parts[1], half)
    done(*sweep, "--part", "2/2")
    assert len(read_sweep(parts[1]).texts) == 2
    parts[0].unlink()
    done(*sweep, "--part", "1/2")
    assert "were run with different texts" in refused("merge", "m.h5", "--force", *parts)
    parts[1].unlink()
    done(*sweep, "--part", "2/2")
    done("merge", "m.h5", "--force", *parts)
    done(*sweep)
    assert everything(folder / "m.h5") == everything(folder / "s.h5")


@pytest.mark.slow
def test_a_set_of_parts_that_is_no_whole_sweep_is_refused(folder, task):
    for k in (1, 2, 3):
        invoke(*SWEEP, "--part", f"{k}/3")
    parts = [folder / f"s.part{k}of3.h5" for k in (1, 2, 3)]
    assert "Parts 1, 3 of 3 are missing." in refused("merge", "m.h5", parts[1])
    assert "are both part 1/3" in refused("merge", "m.h5", *parts, parts[0])
    invoke(*SWEEP)
    assert "s.h5 is no part of a sweep: it was not written with --part" in refused("merge", "m.h5", *parts, "s.h5")
    invoke(*SWEEP[:-2], "-o", "o.h5", "--device", "ideal", "--part", "3/3")
    assert "are parts of two sweeps: device" in refused("merge", "m.h5", *parts[:2], "o.part3of3.h5")
    invoke(*SWEEP[:-4], "--seeds", 3, "-o", "o2.h5", "--part", "3/3")
    assert "are parts of two sweeps: values or seeds" in refused("merge", "m.h5", *parts[:2], "o2.part3of3.h5")
    content = parts[1].read_bytes()
    parts[1].write_bytes(content[:700] + bytes([content[700] ^ 1]) + content[701:])
    assert "s.part2of3.h5 is damaged" in refused("merge", "m.h5", *parts)
    parts[1].write_bytes(content)
    # A part goes on as the part that it is.
    os.replace(parts[0], folder / "s.part2of3.h5")
    assert "the part is '1/3' in the file, but '2/3' now" in refused(*SWEEP, "--part", "2/3")
    assert not (folder / "m.h5").exists()


@pytest.mark.system
@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
def test_a_part_that_is_killed_goes_on_and_an_unfinished_one_is_not_merged(folder, task):
    """The other parts run meanwhile, as tasks of an array do."""
    command = [sys.executable, "-m", "opusim", *map(str, SWEEP)]
    (folder / "slow").touch()
    started = [subprocess.Popen([*command, "--part", f"{k}/2"], stderr=subprocess.PIPE) for k in (1, 2)]
    try:
        limit = time.monotonic() + 90
        while len(list(folder.glob("at.*.1"))) < 2:
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        for process in started:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    parts = [folder / f"s.part{k}of2.h5" for k in (1, 2)]
    left = [3 - len(read_sweep(part).outcomes) for part in parts]
    assert min(left) > 0
    assert f"s.part1of2.h5, part 1/2, lacks {left[0]} of its 3 points: run it again" in refused("merge", "m.h5", *parts)
    (folder / "slow").unlink()
    for k in (1, 2):
        subprocess.run([*command, "--part", f"{k}/2"], capture_output=True, timeout=90)
    done("merge", "m.h5", *parts)
    invoke(*SWEEP)
    assert read_sweep("m.h5").digest() == read_sweep("s.h5").digest()


def test_in_python(folder, task):
    from opusim.cli.sweep import make_opu
    from opusim.sweep import Sweep
    from opusim.tasks.registry import parse_task

    sweep = Sweep(parse_task("t.py:task"), make_opu, {"camera.bits": [4, 8]}, n_components=20, seeds=2)
    for k in (1, 2, 3):
        found = sweep.run(f"p{k}.h5", part=f"{k}/3")
        assert str(found.part) == f"{k}/3" and sorted(found.outcomes) == sorted(found.places[k - 1 :: 3])
    merged = merge_sweeps("m.h5", [f"p{k}.h5" for k in (1, 2, 3)])
    assert merged.digest() == read_sweep("m.h5").digest() == sweep.run().digest()
    with pytest.raises(ValueError, match="parts is empty"):
        merge_sweeps("m.h5", [])


def test_a_camera_that_lags_is_shown_whole_and_in_parts(x, folder):
    """The counts of `OPU.transform`, which shows one vector after the other."""
    (folder / "lag.toml").write_text('preset = "aurora"\n[camera]\nlag = 0.2\n')
    with OPU(50, device="lag.toml", seed=3, disable_pbar=True) as opu:
        expected = np.asarray(opu.fit_transform1d(x))
    done(*TRANSFORM, "--device", "lag.toml")
    assert np.array_equal(np.load("y.npy"), expected)
    for part in ("2/3", "1/3", "3/3"):
        done(*TRANSFORM, "--device", "lag.toml", "--part", part, "--force")
    done("merge", "y.npy", *(f"y.part{k}of3.npy" for k in (1, 2, 3)), "--force")
    assert np.array_equal(np.load("y.npy"), expected)
