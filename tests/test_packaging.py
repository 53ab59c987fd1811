"""The package as it is shipped: metadata, and a wheel that works away from the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import opusim

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAPPING = PYPROJECT["tool"]["setuptools"]["package-dir"]


def package_folders() -> dict[str, Path]:
    """Every folder of the source tree that is a package, by the name it is installed as."""
    found = {}
    for package, folder in MAPPING.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            found[".".join([package, *parts])] = init.parent
    return found


def test_version_is_the_same_everywhere():
    assert PYPROJECT["project"]["version"] == opusim.__version__
    assert f"version: {opusim.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {opusim.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_package_folder_is_listed():
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(package_folders())


def test_licence_is_apache():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS" in text
    assert PYPROJECT["project"]["license"] == "Apache-2.0"


def test_readme_commands_are_one_line_each():
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- command: ")[1:]
    commands = {block.partition(" -->")[0]: block.split("```sh\n")[1].split("\n```")[0] for block in blocks}
    assert list(commands) == ["demo", "tests"]
    assert not any("\n" in command for command in commands.values())
    assert commands["demo"].endswith("opusim demo") and commands["tests"].endswith("-m pytest")


def test_readme_picture_is_there_and_small():
    assert "docs/demo.png" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert 10_000 < (ROOT / "docs" / "demo.png").stat().st_size < 300_000


def run(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Nothing of the source tree may help: neither the working folder nor what an outer environment names.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OPUSIM", "COV_"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the files, so that the source tree stays clean."""
    # Asked of the metadata: importing setuptools would replace parts of the standard library.
    for tool, least in (("pip", 23), ("setuptools", 77)):
        try:
            version = metadata.version(tool)
        except metadata.PackageNotFoundError:
            pytest.skip(f"this environment has no {tool} to build a wheel with")
        if int(version.partition(".")[0]) < least:
            pytest.skip(f"{tool} here is {version}, and building a wheel needs {least}")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", *MAPPING.values()):
        (source / name).symlink_to(ROOT / name)
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder]
    built = run(sys.executable, "-m", "pip", "wheel", *options, source, folder=folder)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in a fresh environment; return the folder of its programs."""
    folder = tmp_path_factory.mktemp("environment")
    made = run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    if made.returncode:
        pytest.skip(f"no virtual environment can be made here: {made.stderr.strip()[-200:]}")
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    purelib = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")}))
    done = run(
        sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-deps", "--no-index", "--quiet",
        wheel, folder=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The dependencies come from this environment, after its own packages; this environment's own .pth files,
    # which may lead to the source tree, are not followed from there.
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    others |= {str(path) for path in map(Path, sys.path) if path.name == "site-packages"}
    (purelib / "dependencies.pth").write_text("\n".join(sorted(others)) + "\n")
    return programs


def test_wheel_holds_every_module_and_preset(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package, folder in package_folders().items():
        for path in folder.glob("*.py"):
            assert f"{package.replace('.', '/')}/{path.name}" in names
    presets = {f"opusim/{path.relative_to(ROOT / 'opusim')}" for path in (ROOT / "opusim" / "presets").rglob("*.toml")}
    assert presets and presets <= names and "opusim/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {"opusim", f"opusim-{opusim.__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_installed_wheel_runs_the_demo(installed, tmp_path):
    python = installed / "python"
    where = run(python, "-c", "import opusim, opusim.drivers; print(opusim.drivers.__file__)", folder=tmp_path)
    assert where.returncode == 0, where.stderr
    assert Path(where.stdout.strip()).is_relative_to(installed.parent)

    presets = run(installed / "opusim", "presets", folder=tmp_path)
    assert presets.returncode == 0 and "aurora" in presets.stdout and "cmv2000" in presets.stdout, presets.stderr

    demo = run(installed / "opusim", "demo", "--components", 1000, folder=tmp_path)
    assert demo.returncode == 0, demo.stderr
    assert "camera counts" in demo.stdout and (tmp_path / "opusim-demo.png").stat().st_size > 10_000


@pytest.mark.slow
def test_installed_wheel_works_without_a_cache_folder(installed, tmp_path):
    """Kernels are compiled again each time where nothing can be kept, and the counts are the same."""
    code = "import numpy as np; from opusim import OPU; x = np.tri(30, dtype=np.uint8)[5:]; "
    code += "opu = OPU(n_components=20, disable_pbar=True); opu.open(); print(opu.fit_transform1d(x).sum())"
    kept = run(installed / "python", "-W", "error", "-c", code, folder=tmp_path)
    none = run(
        installed / "python", "-W", "error", "-c", code, folder=tmp_path, NUMBA_CACHE_DIR="/proc/nothing", HOME="/proc"
    )
    assert kept.returncode == 0, kept.stderr
    assert none.returncode == 0, none.stderr
    assert kept.stdout == none.stdout
