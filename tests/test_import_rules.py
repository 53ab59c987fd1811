"""Who may import whom, what `import opusim` loads, and what library code must not do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import opusim

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"opusim": "opusim", "drivers": "opusim.drivers", "calibration": "opusim.calibration"}
# Modules under other packages' names, by the names that they may import besides the standard library and numpy.
STAND_INS = {
    ROOT / "drivers" / "lightonopu": {"opusim", "lightonopu", "numpy"},
    ROOT / "drivers" / "lightonml": {"opusim", "lightonml", "lightonopu", "numpy"},
    ROOT / "drivers" / "lightonml_hook": {"opusim_lightonml_hook"},
}
STAND_IN_SOURCES = sorted(path for folder in STAND_INS for path in folder.rglob("*.py") if "build" not in path.parts)
SOURCES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not any(path.is_relative_to(other) for other in STAND_INS)
)
# Where lightonml's functions have an argument that asks for it.
PRINTS_ON_REQUEST = {ROOT / "drivers" / "encoding" / "models.py"}
# A model that a user saved is a pickle in lightonml, and is read when the user asks for it.
READS_PICKLES = {ROOT / "drivers" / "lightonml" / "lightonml" / "utils.py"}
# What a folder must not import. The command line and the lazy names of the package itself are above the rule.
FORBIDDEN = {
    "opusim": ("opusim.drivers", "opusim.calibration"),
    "calibration": ("opusim.drivers",),
    "drivers": (),
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMMANDS = (
    "cli.py",
    "cli_calibrate.py",
    "cli_plan.py",
    "cli_report.py",
    "cli_rescue.py",
    "cli_run.py",
    "cli_sweep.py",
    "cli_train.py",
)
ABOVE = {ROOT / "opusim" / name for name in ("__init__.py", "__main__.py", *COMMANDS)}


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def folder_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def module_of(path: Path) -> str:
    """Name of a file's module as installed, for instance opusim.drivers.opu."""
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[first], *(part for part in rest if part != "__init__")])


def imports_of(path: Path) -> list[tuple[str, int, ast.AST]]:
    """(absolute name of what is imported, dots it was written with, statement) for each import of a file."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    found: list[tuple[str, int, ast.AST]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0, node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found += [(name, node.level, node), *((f"{name}.{alias.name}", node.level, node) for alias in node.names)]
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_there_are_sources():
    assert {folder_of(path) for path in SOURCES} == set(FOLDERS)


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p not in ABOVE], ids=ids([p for p in SOURCES if p not in ABOVE])
)
def test_imports_go_one_way(path):
    for name, _, node in imports_of(path):
        for forbidden in FORBIDDEN[folder_of(path)]:
            assert not within(name, forbidden), f"{path}:{node.lineno} imports {name}"


@pytest.mark.parametrize("path", sorted(ABOVE), ids=ids(sorted(ABOVE)))
def test_the_command_line_imports_drivers_late(path):
    """At the top of a file, drivers are not imported even where the rule is lifted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        for child in ast.walk(node) if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            if isinstance(child, ast.ImportFrom):
                assert "drivers" not in (child.module or "") and "calibration" not in (child.module or "")
            elif isinstance(child, ast.Import):
                assert not any("drivers" in alias.name or "calibration" in alias.name for alias in child.names)


@pytest.mark.parametrize("path", SOURCES, ids=ids(SOURCES))
def test_relative_imports_stay_in_their_folder(path):
    """drivers/ and calibration/ lie elsewhere than they are installed: `..` would lead out of them."""
    for name, level, node in imports_of(path):
        if level and folder_of(path) != "opusim":
            assert within(name, FOLDERS[folder_of(path)]), f"{path}:{node.lineno} reaches {name} by dots"


@pytest.mark.parametrize("path", STAND_IN_SOURCES, ids=ids(STAND_IN_SOURCES))
def test_stand_ins_import_opusim_by_its_name(path):
    """They lie off the package: what they need of it they import as any program would."""
    (folder,) = (folder for folder in STAND_INS if path.is_relative_to(folder))
    depth = len(path.relative_to(folder).parts) - 1
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nested = {child for node in ast.walk(tree) if isinstance(node, FUNCTIONS) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= depth, f"{path}:{node.lineno} reaches out of its package"
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in (name.partition(".")[0] for name in names):
            allowed = name in STAND_INS[folder] or name in sys.stdlib_module_names
            # Optional libraries, and opusim itself in the hook, are imported where they are used.
            assert allowed or node in nested, f"{path}:{node.lineno} imports {name}"


@pytest.mark.parametrize("path", [*SOURCES, *STAND_IN_SOURCES], ids=ids([*SOURCES, *STAND_IN_SOURCES]))
def test_library_is_quiet_and_keeps_no_global_random_state(path):
    legacy = {"seed", "rand", "randn", "random", "normal", "uniform", "randint", "choice", "shuffle", "permutation"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print" or path in PRINTS_ON_REQUEST, f"{path}:{node.lineno} prints"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False", f"{path}:{node.value.lineno} reads pickles"
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            assert not dotted.startswith(("np.fft", "numpy.fft")), f"{path}:{node.lineno} uses numpy.fft"
            head, _, last = dotted.rpartition(".")
            assert not (head in ("np.random", "numpy.random") and last in legacy), f"{path}:{node.lineno}: {dotted}"
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if path not in READS_PICKLES:
            for name in names:
                assert name.partition(".")[0] not in ("pickle", "dill", "cloudpickle"), f"{path}:{node.lineno}: {name}"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = ("numpy", "scipy", "numba", "h5py", "matplotlib", "sklearn", "torch", "typer", "rich", "tqdm", "pooch")


def test_import_loads_nothing_heavy():
    loaded = run_python("import sys, opusim; print(*sys.modules)").split()
    assert not [name for name in HEAVY if name in loaded]
    assert [name for name in loaded if within(name, "opusim")] == ["opusim"]


def test_import_takes_less_than_half_a_second():
    code = "import time; t = time.perf_counter(); import opusim; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.5


def test_the_driver_needs_no_optional_dependency():
    loaded = run_python("import sys; from opusim import OPU; OPU(n_components=10); print(*sys.modules)").split()
    assert not [name for name in ("torch", "dask", "distributed", "cupy", "jupytext", "IPython") if name in loaded]


def test_the_names_of_the_real_driver_are_not_touched():
    """Nothing named lightonml or lightonopu can be imported, or is, until it is asked for."""
    code = "import sys, importlib.util as u, opusim.drivers as d; d.OPU(n_components=10); "
    code += (
        "print(*[n for n in ('lightonml', 'lightonopu') if n in sys.modules], *[p for p in sys.path if 'lighton' in p])"
    )
    assert run_python(code) == ""


def test_the_command_line_answers_without_the_simulation():
    loaded = run_python("import sys, opusim.cli; print(*sys.modules)").split()
    assert not [name for name in ("numpy", "scipy", "numba", "matplotlib", "sklearn", "torch") if name in loaded]


@pytest.mark.parametrize("name", opusim.__all__)
def test_every_public_name_is_there(name):
    assert getattr(opusim, name) is not None and name in dir(opusim)


def test_the_package_does_not_hold_itself_nor_its_tests():
    """In a clone `drivers` and `calibration` are found beside the package, and nothing else that is there."""
    code = "import importlib, pkgutil, opusim, opusim.drivers, opusim.calibration\n"
    code += "names = [m.name for m in pkgutil.walk_packages(opusim.__path__, 'opusim.') if 'torch' not in m.name]\n"
    code += "for name in ('opusim', 'tests', 'benchmarks', 'docs', 'notebooks'):\n"
    code += "    try:\n        importlib.import_module(f'opusim.{name}')\n        print('found', name)\n"
    code += "    except ModuleNotFoundError:\n        pass\n"
    code += "print(len(set(names)) == len(names) > 50, len(opusim.__path__))"
    assert run_python(code).splitlines()[-1] == "True 1" and "found" not in run_python(code)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Opu'; it has .*OPU"):
        _ = opusim.Opu
