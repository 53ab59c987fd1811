"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from textwrap import dedent

import pytest

import opusim

# Threads of BLAS and numba follow the machine; a test that needs a number of threads sets it itself.
# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that: then no test of it could
# pass. Python's own handler is what they would have in the foreground.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
# Folders of the source tree, as they are installed in opusim/.
PACKAGES = ("opusim", "drivers", "calibration")
Command = Callable[..., subprocess.CompletedProcess[str]]


def _data_folder() -> Path | None:
    """Return the folder of data sets: OPUSIM_DATA, or shared/data beside the checkout, or None."""
    named = os.environ.get("OPUSIM_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


# Folders whose tests are of the whole as it is shipped or driven by others' programs: most start processes.
SYSTEM_FOLDERS = ("contract", "project", "system")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of some folders into the lane `system`."""
    for item in items:
        if item.path.relative_to(ROOT / "tests").parts[0] in SYSTEM_FOLDERS:
            item.add_marker("system")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout: where pyproject.toml and the folders are."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def _own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep calibrations and device files of the tests out of the user's folder, and those of two workers apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture
def data_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data sets, also named by OPUSIM_DATA; the test is skipped where there is none."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no data sets here: OPUSIM_DATA names no folder")
    monkeypatch.setenv("OPUSIM_DATA", str(folder))
    return folder


# ---------------------------------------------------------------- the package as it is shipped


def clean_environment() -> dict[str, str]:
    """The environment without what could help an installed package: nothing of the source tree may."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OPUSIM", "COV_"))}


def run_command(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**clean_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="session")
def run() -> Command:
    """Run a command in a folder, in an environment in which nothing of the source tree helps."""
    return run_command


def _tools_are_there() -> None:
    """Skip the test where this environment cannot build the package."""
    # Asked of the metadata: importing a build tool may replace parts of the standard library.
    for tool, least in (("pip", 23), ("hatchling", 1), ("setuptools-scm", 10)):
        try:
            version = metadata.version(tool)
        except metadata.PackageNotFoundError:
            pytest.skip(f"this environment has no {tool} to build the package with")
        if int(version.partition(".")[0]) < least:
            pytest.skip(f"{tool} here is {version}, and building the package needs {least}")


def copy_of_the_clone(target: Path) -> Path:
    """Copy the files that a build needs into a new folder, so that the source tree stays clean."""
    target.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "_version.py", "build", "*.egg-info")
    for name in (".ci", *PACKAGES):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    for name in (".gitignore", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copyfile(ROOT / name, target / name)
    return target


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the files."""
    _tools_are_there()
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_of_the_clone(folder / "source")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder]
    # There is no git in the copy.
    version = {"SETUPTOOLS_SCM_PRETEND_VERSION": opusim.__version__}
    built = run_command(sys.executable, "-m", "pip", "wheel", *options, source, folder=folder, **version)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def make_environment(folder: Path, *what: object) -> Path:
    """Install the package in a fresh environment, by pip's words for it; return the folder of its programs."""
    made = run_command(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    if made.returncode:
        pytest.skip(f"no virtual environment can be made here: {made.stderr.strip()[-200:]}")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    purelib = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    # The dependencies come from this environment, after its own packages; this environment's own .pth files,
    # which may lead to the source tree, are not followed from there.
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    others |= {str(path) for path in map(Path, sys.path) if path.name == "site-packages"}
    (purelib / "zz-dependencies.pth").write_text("\n".join(sorted(others)) + "\n")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--quiet"]
    done = run_command(
        sys.executable, "-m", "pip", "--python", programs / "python", "install", *options, *what, folder=folder.parent,
        SETUPTOOLS_SCM_PRETEND_VERSION=opusim.__version__,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return programs


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in a fresh environment; return the folder of its programs."""
    return make_environment(tmp_path_factory.mktemp("environment") / "venv", wheel)


@pytest.fixture(scope="module")
def clone_and_environments(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A clone by git's own name for it, and two environments with it: installed as editable, and plainly."""
    _tools_are_there()
    folder = tmp_path_factory.mktemp("beside")
    clone = copy_of_the_clone(folder / "opusim")
    (clone / "notebooks").mkdir()
    return clone, {
        "editable": make_environment(folder / "editable", "-e", clone),
        "plain": make_environment(folder / "plain", clone),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with a home of its own, so that nothing is kept in the user's."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def go(
    run: Callable[..., subprocess.CompletedProcess[str]], folder: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Write a program, and run it with `opusim run`."""

    def going(
        source: str, *arguments: object, before: tuple[object, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        (folder / "program.py").write_text(dedent(source), encoding="utf-8")
        home = {"XDG_CONFIG_HOME": str(folder.parent / "config")}
        return run(
            sys.executable,
            "-m",
            "opusim",
            "run",
            *before,
            "program.py",
            *arguments,
            folder=folder,
            **{**home, **environment},
        )

    return going
