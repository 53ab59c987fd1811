"""Every way to install works from every folder: a clone named opusim must not hide the package that it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

PROGRAM = """
import pathlib, sys
from opusim import OPU
import opusim.calibration.files, opusim.dfa, opusim.encoding

print(pathlib.Path(opusim.__file__).resolve().parent)
print(pathlib.Path(opusim.drivers.__file__).resolve().parent)
print(pathlib.Path(opusim.calibration.__file__).resolve().parent)
print(opusim.drivers.OPU is OPU, len([name for name in sys.modules if name.endswith("drivers.opu")]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["editable", "plain"])
@pytest.mark.parametrize("where", ["the parent", "the clone", "a folder of the clone", "elsewhere"])
@pytest.mark.parametrize("by", ["a program there", "-c"])
def test_imports_from_any_folder(clone_and_environments, run, tmp_path, how, where, by):
    clone, environments = clone_and_environments
    python = environments[how] / "python"
    folder = {
        "the parent": clone.parent, "the clone": clone, "a folder of the clone": clone / "notebooks",
        "elsewhere": tmp_path,
    }[where]  # fmt: skip
    if by == "-c":
        done = run(python, "-c", PROGRAM, folder=folder)
    else:
        program = folder / "program.py"
        program.write_text(PROGRAM)
        try:
            done = run(python, program, folder=tmp_path)
        finally:
            program.unlink()
    assert done.returncode == 0, done.stderr
    package, drivers, calibration, one = done.stdout.splitlines()
    # Python that starts in the clone takes the clone's files, else the installed ones; never some of each.
    from_the_clone = how == "editable" or where == "the clone"
    if from_the_clone:
        assert (package, drivers, calibration) == tuple(str(clone / x) for x in ("opusim", "drivers", "calibration"))
    else:
        assert Path(package).is_relative_to(environments["plain"].parent)
        assert (drivers, calibration) == (f"{package}/drivers", f"{package}/calibration")
    assert one == "True 1"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["editable", "plain"])
@pytest.mark.parametrize("where", ["the parent", "the clone"])
def test_the_command_starts_from_any_folder(clone_and_environments, run, how, where):
    clone, environments = clone_and_environments
    folder = clone if where == "the clone" else clone.parent
    for command in ([environments[how] / "opusim"], [environments[how] / "python", "-m", "opusim"]):
        done = run(*command, "presets", folder=folder)
        assert done.returncode == 0 and "aurora" in done.stdout, done.stderr
