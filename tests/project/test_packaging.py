"""The package as it is shipped: metadata, and a wheel that works away from the source tree."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

import opusim

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WHEEL = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
MAPPING = {WHEEL["sources"].get(folder, folder).replace("/", "."): folder for folder in WHEEL["only-include"]}
# Folders of modules under other packages' names: data until they are asked for.
STAND_INS = ("lightonopu", "lightonml", "lightonml_hook", "ALP4lib")


def package_folders() -> dict[str, Path]:
    """Every folder of the source tree that is a package, by the name it is installed as."""
    found = {}
    for package, folder in MAPPING.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            if folder == "drivers" and parts and parts[0] in STAND_INS:
                continue
            found[".".join([package, *parts])] = init.parent
    return found


def test_version_is_that_of_the_changelog_and_the_citation():
    """The newest release, or a state on the way to the next one; the tag itself is compared by .ci/release."""
    newest = re.search(r"^## (\d+)\.(\d+)\.(\d+) - ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest is not None
    release = ".".join(newest.groups())
    assert f"version: {release}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    if opusim.__version__ == "0+unknown":
        pytest.skip("opusim was not built here, so it has no version")
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", opusim.__version__)
    assert found is not None
    # An editable install keeps the version of the day on which it was made.
    assert tuple(map(int, found.groups())) <= (int(newest[1]), int(newest[2]), int(newest[3]) + 1)


def test_the_version_is_known_without_git(tmp_path):
    """That of a tag, of an unpacked source distribution, or of the changelog: a clone may come without tags."""
    pytest.importorskip("setuptools_scm")
    (tmp_path / ".ci").mkdir()
    for name in (".ci/version.py", "CHANGELOG.md"):
        shutil.copyfile(ROOT / name, tmp_path / name)

    def version() -> str:
        return str(runpy.run_path(str(tmp_path / ".ci" / "version.py"))["version"]())

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    release = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[0]
    assert version() == f"{release}+archive"
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    major, minor, patch = release.split(".")
    assert re.fullmatch(rf"{major}\.{minor}\.{int(patch) + 1}\.dev1\+g[0-9a-f]+", version())
    git("tag", "golden-2026")  # a tag, but none of a release
    assert re.fullmatch(rf"{major}\.{minor}\.{int(patch) + 1}\.dev1\+g[0-9a-f]+", version())
    git("tag", "v7.8.9")
    assert version() == "7.8.9"
    git("commit", "--allow-empty", "-m", "two")
    assert re.fullmatch(r"7\.8\.10\.dev1\+g[0-9a-f]+", version())


def test_licence_is_apache():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS" in text
    assert PYPROJECT["project"]["license"] == "Apache-2.0"


def test_readme_commands_are_one_line_each():
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- command: ")[1:]
    commands = {block.partition(" -->")[0]: block.split("```sh\n")[1].split("\n```")[0] for block in blocks}
    assert list(commands) == ["demo", "tests"]
    assert not any("\n" in command for command in commands.values())
    assert commands["demo"].endswith("opusim demo") and "-m pytest" in commands["tests"]


def test_readme_picture_is_there_and_small():
    assert "docs/demo.png" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert 10_000 < (ROOT / "docs" / "demo.png").stat().st_size < 300_000


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


def test_wheel_carries_the_stand_ins_as_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = set()
    for folder in STAND_INS:
        assert not (ROOT / "drivers" / folder / "__init__.py").exists()
        for path in (ROOT / "drivers" / folder).rglob("*"):
            local = path.relative_to(ROOT / "drivers").as_posix()
            is_built = any(part.endswith(".egg-info") or part in ("build", "__pycache__") for part in path.parts)
            if path.is_file() and not is_built:
                expected.add(f"opusim/drivers/{local}")
    carried = {name for name in names if name.startswith(tuple(f"opusim/drivers/{folder}/" for folder in STAND_INS))}
    assert carried == expected
    for name in ("lightonopu", "lightonml"):
        assert f"opusim/drivers/{name}/{name}/__init__.py" in carried
        assert f"opusim/drivers/{name}/{name}-1.4.3+opusim.dist-info/METADATA" in carried


@pytest.mark.parametrize("name", ["lightonopu", "lightonml"])
def test_stand_ins_say_their_version_alike(name):
    folder = ROOT / "drivers" / name
    metadata = (folder / f"{name}-1.4.3+opusim.dist-info" / "METADATA").read_text(encoding="utf-8")
    assert f"\nName: {name}\nVersion: 1.4.3+opusim\n" in metadata
    assert '__version__ = "1.4.3+opusim"' in (folder / name / "__init__.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_installed_wheel_runs_the_demo(installed, run, tmp_path):
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
def test_installed_wheel_works_without_a_cache_folder(installed, run, tmp_path):
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
