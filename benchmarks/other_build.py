"""The other build of a comparison: found before anything is timed, so that no build is compared with itself.

And processes that do work of a build when their turn comes. Scripts whose processes are themselves started without
their folder on the path import this where they need it, not at their top. It imports no opusim.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

EARLIER = "--before"
WHERE = "print(__import__('opusim').__file__)"


@dataclass(frozen=True)
class Build:
    """A build of opusim and how its processes are started.

    Attributes
    ----------
    python : str
        Interpreter.
    path : str
        What PYTHONPATH has to be: the folder that holds the package; "" for what the interpreter has installed.
    """

    python: str
    path: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its processes: scripts that they run bring no modules from their own folder."""
        return {**os.environ, "PYTHONPATH": self.path, "PYTHONSAFEPATH": "1"}


class Waiting:
    """A process that waits for its turn: it answers a line with a line of JSON.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    environment : dict of str
        Its environment.
    folder : str, optional
        Where it works; here by default.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], folder: str | None = None) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        )

    def answer(self) -> Any:
        """Return what comes next from the process."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"The process of {self.process.args} ended without an answer.")
        return json.loads(line)

    def ask(self, what: str) -> Any:
        """Return what the process answers to a line."""
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def refuse(sentence: str) -> NoReturn:
    """End the program as wrong arguments do: a sentence, status 2."""
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


def found(where: str, option: str = EARLIER, *, interpreters: bool = False, needs: str = "") -> Build:
    """Return the build that an option names, which a process of it has been asked for.

    Parameters
    ----------
    where : str
        Folder that holds the package `opusim` as it is installed.
    option : str
        The option's name.
    interpreters : bool
        Whether it may be an interpreter of an environment in which the build is installed.
    needs : str
        Module of opusim that the script calls, which the build has to have; "" for none.

    Returns
    -------
    Build
        Interpreter and path.

    Raises
    ------
    SystemExit
        With status 2, if it is neither, if it lacks the module, if its processes import another build, or if the
        earlier one is the very build that this process would import.
    """
    # Not resolved: links of an environment lead to an interpreter without its packages.
    folder = Path(os.path.abspath(where))
    kinds = "a folder with the package opusim, as `pip install --no-deps --target FOLDER` of a checkout makes it"
    if interpreters:
        kinds += ", or an interpreter that has it installed"
    if folder.is_dir():
        if not (folder / "opusim" / "__init__.py").is_file():
            refuse(f"{option} is {where!r}, a folder without the package opusim. It may be {kinds}.")
        build = Build(sys.executable, str(folder))
    else:
        program = shutil.which(where) if interpreters else None
        if program is None:
            refuse(f"{option} is {where!r}, which is not there. It may be {kinds}.")
        build = Build(os.path.abspath(program), "")
    asked = subprocess.run([build.python, "-c", WHERE], capture_output=True, text=True, env=build.environment)
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["no reason was given"])[-1]
        refuse(f"{option} is {where!r}, whose opusim cannot be imported: {reason}. It may be {kinds}.")
    file = asked.stdout.strip().splitlines()[-1]
    check(build, file, option)
    command = [build.python, "-c", f"import {needs}"]
    if needs and subprocess.run(command, capture_output=True, env=build.environment).returncode:
        refuse(f"{option} is {where!r}, a build that has no {needs}, which is timed here. It may be a later one.")
    ours = importlib.util.find_spec("opusim")
    if option == EARLIER and ours is not None and ours.origin and Path(file).resolve() == Path(ours.origin).resolve():
        refuse(f"{option} is {where!r}, which imports the build that it is to be compared with, {ours.origin}.")
    return build


def check(build: Build, file: str, option: str = EARLIER) -> None:
    """Refuse a build whose process imported opusim from elsewhere.

    Parameters
    ----------
    build : Build
        As it was found.
    file : str
        `opusim.__file__` in its process.
    option : str
        The option that names it.
    """
    package = Path(file).resolve().parent
    if build.path and package != (Path(build.path) / "opusim").resolve():
        refuse(f"{option} is {build.path!r}, but its processes import opusim from {package}.")
