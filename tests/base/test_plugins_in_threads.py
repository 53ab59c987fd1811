"""Registries under threads and interrupts: each in a fresh process, where nothing is loaded yet."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from opusim.base.plugins import Registry


def run(folder: Path, program: str, **modules: str) -> list[str]:
    """Return the lines that a program prints, beside modules that are installed as parts."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    if modules:
        info = folder / "stranger-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
        points = "\n".join(f"{name} = {name}" for name in modules if not name.startswith("helper"))
        (info / "entry_points.txt").write_text(f"[opusim.parts]\n{points}\n", encoding="utf-8")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=folder, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("imported", "asked"),
    [
        ("from opusim.tasks import parse_task", "parse_task('randsvd')"),
        ("from opusim.device.medium.base import Medium", "Medium.of_kind('gaussian')"),
        ("from opusim.calibration import PROCEDURES", "PROCEDURES['tm']"),
        ("from opusim.bench.linear_modes import LINEAR", "LINEAR['intensity']"),
    ],
)
def test_several_threads_may_be_the_first_to_ask(tmp_path, imported, asked):
    program = f"""
        import threading
        {imported}

        said, together = [], threading.Barrier(6)

        def ask():
            together.wait()
            try:
                {asked}
                said.append("found")
            except Exception as error:
                said.append(f"{{type(error).__name__}}: {{error}}")

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(*said, sep="\\n")
    """
    assert run(tmp_path, program) == 6 * ["found"]


def test_threads_wait_for_the_parts_of_others(tmp_path):
    part = """
        import time
        from opusim.tasks import task

        time.sleep(0.5)

        @task("slow")
        def slow(opu, seed):
            return {"one": 1.0}
    """
    program = """
        import threading
        from opusim.tasks import parse_task

        said = []
        threads = [threading.Thread(target=lambda: said.append(parse_task("slow").__name__)) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(*said)
    """
    assert run(tmp_path, program, part=part) == ["slow slow slow slow"]


def test_a_part_may_wait_for_a_thread_that_asks(tmp_path):
    part = """
        import threading
        from opusim.tasks import TASKS, task

        seen = []
        thread = threading.Thread(target=lambda: seen.extend(TASKS))
        thread.start()
        thread.join()

        @task("late")
        def late(opu, seed):
            return {"one": 1.0}
    """
    program = """
        from opusim.base import plugins
        from opusim.tasks import TASKS

        plugins._PATIENCE_S = 0.3
        print("late" in TASKS)
        import part
        print("digits" in part.seen, "late" in part.seen)
    """
    assert run(tmp_path, program, part=part) == ["True", "True False"]


def test_after_an_interrupt_the_next_one_loads_on(tmp_path):
    first = "import pathlib\nwith open('first', 'a') as file: file.write('x')\n"
    second = """
        import pathlib

        if not pathlib.Path("interrupted").exists():
            pathlib.Path("interrupted").touch()
            raise KeyboardInterrupt
        from opusim.tasks import task

        @task("second")
        def f(opu, seed):
            return {"one": 1.0}
    """
    program = """
        from opusim.tasks import TASKS

        try:
            list(TASKS)
        except KeyboardInterrupt:
            print("interrupted")
        print("second" in TASKS, "third" in TASKS, len(open("first").read()))
    """
    third = second.replace("second", "third").replace("f(", "g(")
    lines = run(tmp_path, program, a_first=first, b_second=second, c_third=third)
    assert lines == ["interrupted", "True True 1"]


@pytest.mark.parametrize("name", ["", "a\nb", "a\n", "--help", "-h", "a/b", "a b", "../a", "a:b", "a=b", ".a"])
def test_names_are_words(name):
    with pytest.raises(ValueError, match=r"The name of a thing is .*, but it must be a word such as 'camera'\."):
        Registry("thing", "opusim.tasks").add(name, 1, origin="opusim.tasks.here:one")


@pytest.mark.parametrize("name", [None, 1, b"a", ("a",)])
def test_names_are_texts(name):
    with pytest.raises(TypeError, match=r"The name of a thing is .*, but it must be a text"):
        Registry("thing", "opusim.tasks").add(name, 1, origin="opusim.tasks.here:one")


def test_words_may_hold_dots_and_versions():
    registry = Registry("thing", "opusim.tasks")
    for name in ("a", "phase_screens", "my-task", "aurora@1", "a.b", "1d", "λ"):
        registry.add(name, name, origin="opusim.tasks.here:one")
    assert registry.known() == ["a", "phase_screens", "my-task", "aurora@1", "a.b", "1d", "λ"]
