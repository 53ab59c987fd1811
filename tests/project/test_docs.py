"""The documentation names every public name, command and preset, its links hold, and it builds without a warning."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import opusim

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "reference").glob("*.rst"))
# Packages that are no part of the interface: programs to run.
NOT_DESCRIBED = {
    "opusim.tasks",
    "opusim.dfa.examples",
    "opusim.cli",
    "opusim.drivers.compat",
    "opusim.drivers.compat.alp4",
    "opusim.drivers.encoding",
}
# Modules that a page shows for what they say; only some of their names are meant for users.
DESCRIBED_IN_PART = {"opusim.sweep.points"}
STAND_INS = {"lightonopu", "lightonml", "lightonml_hook", "ALP4lib"}
NEEDED = ("sphinx", "numpydoc", "myst_parser", "pydata_sphinx_theme")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
HAS_TORCH = importlib.util.find_spec("torch") is not None
# Packages without which the modules that import them are not imported: the documentation has stand-ins for them.
OPTIONAL = ("torch", "openwfs", "slmsuite", "pymmcore_plus")


# ---------------------------------------------------------------- what the pages name


def read_page(path: Path) -> tuple[set[str], set[str]]:
    """Modules whose docstrings a page shows, and full names that it has entries for."""
    modules, names, current, inside = set(), set(), "", False
    for line in path.read_text(encoding="utf-8").splitlines():
        directive = re.fullmatch(r"\.\. (?:py:)?(\w+):: ?(.*)", line)
        if directive:
            kind, argument = directive.groups()
            inside = kind in ("autosummary", "data")
            if kind in ("automodule", "currentmodule"):
                current = argument
            if kind == "automodule":
                modules.add(argument)
            if kind == "data":
                names.add(argument if argument.startswith("opusim.") else f"{current}.{argument}")
        elif line and not line.startswith(" "):
            inside = False
        elif inside and re.fullmatch(r" +[\w.]+", line):
            name = line.strip()
            names.add(name if name.startswith("opusim.") else f"{current}.{name}")
    return modules, names


DESCRIBED = set().union(*(read_page(path)[0] for path in PAGES))
ENTRIES = set().union(*(read_page(path)[1] for path in PAGES))


def source_of(module: str) -> Path:
    """File of a module, found without importing it."""
    parts = module.split(".")[1:]
    base = ROOT / parts.pop(0) if parts and parts[0] in ("drivers", "calibration") else ROOT / "opusim"
    file = base.joinpath(*parts)
    return file / "__init__.py" if file.is_dir() else file.with_suffix(".py")


def needs_more(module: str) -> bool:
    """Whether a module imports an optional package, whatever is installed."""
    text = source_of(module).read_text(encoding="utf-8")
    return any(re.search(rf"^ *(import|from) {name}\b", text, flags=re.MULTILINE) for name in OPTIONAL)


def public_names(module: str) -> list[str]:
    """What a module exports: its `__all__`, or else the classes and functions that it defines."""
    if needs_more(module):
        tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return ast.literal_eval(node.value)
        return [
            node.name
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
        ]
    loaded = importlib.import_module(module)
    own = [name for name, value in vars(loaded).items() if getattr(value, "__module__", None) == module]
    return list(getattr(loaded, "__all__", [name for name in own if not name.startswith("_")]))


def value_of(name: str) -> Any:
    """What a full name means; None where that takes a package that is not here."""
    module, _, last = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), last)
    except ImportError:
        if not needs_more(module) or all(importlib.util.find_spec(name) for name in OPTIONAL):
            raise
        return None


@pytest.fixture(scope="module")
def values() -> list[Any]:
    """Everything that has an entry; an entry of what is not there is an error."""
    return [value for value in map(value_of, sorted(ENTRIES)) if value is not None]


def is_described(module: str, name: str, values: list[Any]) -> bool:
    """Whether a name has an entry, here or where else it is known; or it is a module, and that is described."""
    full = f"{module}.{name}"
    if full in ENTRIES or full in DESCRIBED:
        return True
    if needs_more(module):
        return False
    value = value_of(full)
    return not isinstance(value, ModuleType) and any(value is other for other in values)


def packages() -> Iterator[str]:
    for folder, package in {
        "opusim": "opusim",
        "drivers": "opusim.drivers",
        "calibration": "opusim.calibration",
    }.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            if not STAND_INS & set(parts) and "build" not in parts:
                yield ".".join([package, *parts])


def test_every_package_is_described():
    # Rooms that hand no names on are the house's own.
    open_rooms = {package for package in packages() if "__all__" in source_of(package).read_text(encoding="utf-8")}
    assert open_rooms - DESCRIBED <= NOT_DESCRIBED and {"opusim.bench", "opusim.noise"} <= open_rooms


def test_every_public_name_is_described(values):
    pairs = [(module, name) for module in sorted(DESCRIBED - DESCRIBED_IN_PART) for name in public_names(module)]
    assert len(pairs) > 150
    assert [".".join(pair) for pair in pairs if not is_described(*pair, values)] == []


def imports_in(code: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "opusim":
            yield from ((node.module, alias.name) for alias in node.names)


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_everything_that_examples_import_is_described(values):
    codes = [code for path in (ROOT / "README.md", *DOCS.glob("*.md")) for code in python_blocks(path)]
    codes += [path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.py")]
    imported = {pair for code in codes for pair in imports_in(code)}
    assert ("opusim", "OPU") in imported and ("opusim.sweep", "Sweep") in imported
    assert [".".join(pair) for pair in sorted(imported) if not is_described(*pair, values)] == []


# ---------------------------------------------------------------- what is made of the package itself


@pytest.fixture(scope="module")
def texts() -> Any:
    """The module that makes parts of the pages."""
    spec = importlib.util.spec_from_file_location("opusim_texts", DOCS / "opusim_texts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_is_described(texts):
    from typer.main import get_command

    from opusim.cli.app import app

    program: Any = get_command(app)
    text = texts.command_line()
    sections = dict(re.findall(r"^#+ `(.+?)`\n(.*?)(?=^#|\Z)", text, flags=re.DOTALL | re.MULTILINE))
    assert list(sections) == ["opusim", *(f"opusim {name}" for name in program.commands)]
    for name, command in program.commands.items():
        section = sections[f"opusim {name}"]
        assert f"$ opusim {name}" in section and "`-h, --help`" in section
        for parameter in command.params:
            options = [*parameter.opts, *parameter.secondary_opts] if parameter.opts[0].startswith("-") else []
            assert all(re.search(rf"`[^`\n]*{option}\b[^`\n]*`: \S", section) for option in options), (name, options)
            assert f": {parameter.help}" in section.replace("&#x27;", "'").replace("&quot;", '"'), (name, parameter)


def test_every_preset_is_described(texts):
    from opusim.device.toml import presets

    text = texts.presets()
    for shelf in ("", "dmds", "slms", "cameras"):
        for name in presets(shelf):
            short, _, version = name.partition("@")
            assert re.search(rf"^\| \[{re.escape(short)}\]\(#preset-{re.escape(short)}\) \| .+ \|$", text, re.MULTILINE)
            newest = f"(preset-{short})=\n### {short}\n\nVersion {version}, the newest.\n"
            older = f"(preset-{short}-{version})=\n### {name}\n\nVersion {version}, kept as it was.\n"
            assert (newest in text) != (older in text)
    for path in (ROOT / "opusim" / "presets").rglob("*.toml"):
        assert path.read_text(encoding="utf-8").strip() in text
    # A table has as many cells in each row, whatever its words hold.
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for first, second in zip(rows, rows[1:], strict=False):
        if not second.startswith("| name"):
            assert len(re.findall(r"(?<!\\)\|", first)) == len(re.findall(r"(?<!\\)\|", second)), second


def test_every_published_hash_is_described(texts):
    from opusim.drivers import selftest

    table = selftest.read_table(selftest.PUBLISHED)
    text = texts.hashes(DOCS / "reference" / "hashes.md")
    assert f"## Those of {table['opusim']}\n" in text
    for label, digest in table["sha256"].items():
        case, way, call = label.split(" | ")
        assert f"| {case} | {way} | `` {call} `` | `` {digest[:16]} `` |" in text
    (link,) = re.findall(r"\{download\}`the file <(.+)>`", text)
    assert (DOCS / "reference" / link).samefile(selftest.PUBLISHED)


@pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")
def test_everything_that_may_be_learnt_is_described(texts):
    from opusim.differentiable.parameters import RANGES

    table = texts.learnable().splitlines()
    assert [line.partition(";")[0].strip() for line in table[4:]] == [f"``{path}``" for path in RANGES]


def test_every_procedure_is_described(texts):
    from opusim.calibration import PROCEDURES

    table = texts.procedures().splitlines()
    assert [line.partition(";")[0].strip() for line in table[4:]] == [f"``{name}``" for name in PROCEDURES]
    assert all(line.count(";") == 3 for line in table[4:])


def test_every_parameter_is_described(texts):
    """Its row has as many cells as the head, and they say what the field says."""
    from opusim.base.parameters import parameters_of, parts_of
    from opusim.device.record import Device

    tables = re.findall(r"header-rows: 1\n\n((?:   .*\n)+)", texts.parameters())
    kinds: list[Any] = [Device, *(kind for part in parts_of(Device).values() for kind in part.classes)]
    assert len(tables) == len(kinds)
    for kind, table in zip(kinds, tables, strict=True):
        head, *rows = ([cell.strip() for cell in line.split(";")] for line in table.splitlines())
        assert head == ["name", "unit", "may be", "default", "before", "off", "imperfection", "learnable"]
        before = f"{kind.stage}." if kind.stage else ""
        described = [(before + name, about) for name, about in parameters_of(kind).items()]
        assert len(rows) == len(described)
        for row, (path, about) in zip(rows, described, strict=True):
            assert len(row) == len(head) and row[0] == f"``{path}``" and row[1] == about.unit
            assert row[2].startswith(about.allowed()) and row[6] == about.imperfection
            assert bool(row[5]) == bool(about.imperfection) and (row[7] == "yes") == bool(about.learnable)
            assert bool(row[4]) == (about.before is not None)


# ---------------------------------------------------------------- links


def links_of(path: Path) -> list[str]:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("http", "#"))]


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in sorted(DOCS.rglob("*.md")))])
def test_links_lead_to_files(page):
    folder = (ROOT / page).parent
    for link in links_of(ROOT / page):
        target = folder / link.partition("#")[0]
        assert any(target.with_name(target.name + ending).is_file() for ending in ("", ".md", ".rst")), link


def test_readme_links_to_pictures_of_the_documentation():
    assert {link for link in links_of(ROOT / "README.md") if link.startswith("docs/")} >= {
        "docs/demo.png",
        "docs/noise_vs_accuracy.png",
    }


def test_every_page_is_in_the_contents():
    listed = set()
    for path in (DOCS / "index.md", DOCS / "reference" / "index.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {path.parent / re.sub(r".*<(.+)>", r"\1", entry) for entry in entries}
    pages = {
        path.with_suffix("") for pattern in ("*.md", "reference/*.md", "reference/*.rst") for path in DOCS.glob(pattern)
    }
    assert pages - {DOCS / "index"} == listed


# ---------------------------------------------------------------- as a reader meets it


@pytest.mark.slow
def test_examples_of_the_start_page_run():
    blocks = python_blocks(DOCS / "index.md")
    assert len(blocks) == 2
    printed = []
    for code in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, "docs/index.md", "exec"), {"__name__": "example"})
        printed.append(out.getvalue().split())
    # 6.4 grey levels above the black level of 2.6, at the device's own exposure of 400 us, with half of the mirrors on.
    assert 8 < float(printed[0][0]) < 10 and printed[0][1] == "400"
    assert abs(float(printed[1][0]) - 0.96) < 0.015


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"the documentation needs {', '.join(MISSING)}, which is not here")
def test_documentation_builds_without_a_warning(tmp_path):
    # The build writes pages of its own beside the others: into a copy, with this tree's modules next to it.
    clone = tmp_path / "clone"
    shutil.copytree(DOCS, clone / "docs", ignore=shutil.ignore_patterns("_build", "generated", "__pycache__"))
    for name in ("opusim", "drivers", "calibration"):
        (clone / name).symlink_to(ROOT / name)
    out = tmp_path / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", clone / "docs", out]
    done = subprocess.run([str(part) for part in command], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and not done.stderr, done.stderr

    texts = {path.stem: path.read_text(encoding="utf-8") for path in (out / "reference").glob("*.html")}
    for name in ENTRIES:
        page = out / "reference" / "generated" / f"{name}.html"
        # Constants have no page of their own: they are told where they are named.
        places = [page.read_text(encoding="utf-8")] if page.exists() else texts.values()
        assert any(f'id="{name}"' in text for text in places), name
    assert "opusim calibrate" in texts["commands"] and 'id="preset-flash4-0-v3"' in texts["presets"]
    assert f"opusim {opusim.__version__}" in texts["commands"]
    (file,) = (out / "_downloads").rglob("published_hashes.json")
    assert f"{file.parent.name}/{file.name}" in texts["hashes"]
    # The laws of physics.md, which tests and code name by section, are under their anchors.
    assert 'id="laws"' in (out / "physics.html").read_text(encoding="utf-8")
    # Names are links: to a class from the type of an argument, to a preset from a table.
    assert 'href="opusim.Device.html#opusim.Device"' in (out / "reference" / "generated" / "opusim.OPU.html").read_text(
        encoding="utf-8"
    )
    # What stands in for torch does not show.
    module = (out / "reference" / "generated" / "opusim.differentiable.ExpectedOutput.html").read_text(encoding="utf-8")
    assert "args" not in re.search(r"<dt class=\"sig.*?</dt>", module, flags=re.DOTALL)[0]
