"""Who may import whom, and what library code must not do: one test a rule."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"opusim": "opusim", "drivers": "opusim.drivers", "calibration": "opusim.calibration"}
# The rooms of the package, from the ground up: each imports from floors below its own, and from itself. Those that
# stand on one floor do not know each other. docs/design.md says what each is for; some are there for later work.
LAYERS = (
    "base", "theory datasets", "device patterns fringes encoding", "bench", "noise differentiable planning",
    "calibration", "drivers", "dfa", "applications", "exchange adapters twin torch serve", "tasks", "sweep", "plotting",
    "testing live", "cli",
)  # fmt: skip
FLOORS = {room: floor for floor, rooms in enumerate(LAYERS) for room in rooms.split()}
# Longest way from a room down to the ground, and entries of the package itself.
FLOORS_MOST, ROOMS_MOST = 10, 24
# Modules under other packages' names, by the names that they may import besides the standard library and numpy.
STAND_INS = {
    ROOT / "drivers" / "lightonopu": {"opusim", "lightonopu", "numpy"},
    ROOT / "drivers" / "lightonml": {"opusim", "lightonml", "lightonopu", "numpy"},
    ROOT / "drivers" / "lightonml_hook": {"opusim_lightonml_hook"},
    ROOT / "drivers" / "ALP4lib": {"opusim", "ALP4", "numpy"},
}
STAND_IN_SOURCES = sorted(path for folder in STAND_INS for path in folder.rglob("*.py") if "build" not in path.parts)
SOURCES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not any(path.is_relative_to(other) for other in STAND_INS) and path.name != "_version.py"
)
# Where lightonml's functions have an argument that asks for it.
PRINTS_ON_REQUEST = {ROOT / "opusim" / "encoding" / "models.py"}
# ALP4lib tells on the terminal what it opens, and of sequences that it cannot free.
PRINTS_ON_REQUEST |= {ROOT / "drivers" / "ALP4lib" / "ALP4.py"}
# A model that a user saved is a pickle in lightonml, and is read when the user asks for it. The suites send what they
# are given to themselves, as to a worker; to workers it goes as Dask would send it.
READS_PICKLES = {
    ROOT / "drivers" / "lightonml" / "lightonml" / "utils.py",
    ROOT / "opusim" / "testing.py",
    ROOT / "opusim" / "base" / "carried.py",
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def module_of(path: Path) -> str:
    """Name of a file's module as installed, for instance opusim.drivers.opu."""
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[first], *(part for part in rest if part != "__init__")])


MODULES = {module_of(path): path for path in SOURCES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> tuple[tuple[str, int, int], ...]:
    return tuple(_imports_of(path))


def _imports_of(path: Path) -> Iterator[tuple[str, int, int]]:
    """(module of ours, dots it was written with, line) of each import, in functions too, but for type checking."""
    own = module_of(path)
    package = own if path.name == "__init__.py" else own.rpartition(".")[0]
    for_types = {
        child
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree_of(path)):
        if node in for_types:
            continue
        names, level = [], 0
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            level = node.level
            base = package.split(".")[: len(package.split(".")) - level + 1] if level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{name}.{alias.name}" if f"{name}.{alias.name}" in MODULES else name for alias in node.names]
        for name in names:
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            if name and name != own:
                yield name, level, node.lineno


def room_of(module: str) -> str | None:
    """The room that a module is in; None for the package itself, which hands names of all rooms on, when asked."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else None


def arrows(name_of) -> dict[str, set[str]]:
    """Imports from one room, or file, to another."""
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for name, _, _ in imports_of(path):
            start, end = name_of(module), name_of(name)
            if start and end and start != end:
                found.setdefault(start, set()).add(end)
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_rooms_import_downwards():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in MODULES.items()
        for name, _, line in imports_of(path)
        if (start := room_of(module)) and (end := room_of(name)) and start != end
        if FLOORS[start] <= FLOORS[end]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_of_rooms_or_of_files_and_a_flat_house():
    """`static_order` raises a CycleError that names the circle."""
    for name_of in (room_of, lambda module: module if module != "opusim" else None):
        list(TopologicalSorter(arrows(name_of)).static_order())
    below = arrows(room_of)

    @cache
    def height(room: str) -> int:
        return 1 + max((height(other) for other in below.get(room, ())), default=0)

    assert max(map(height, below)) <= FLOORS_MOST
    entries = {room_of(module) for module in MODULES} - {None}
    assert entries <= set(FLOORS) and len(entries) <= ROOMS_MOST
    assert {"base", "device", "bench", "drivers", "calibration"} <= entries


def test_calibration_knows_no_simulation():
    """It runs on a laboratory's bench; what a simulated one really is, is told beside a report, and nowhere else."""
    simulated = {"opusim.device.record", "opusim.bench", "opusim.bench.bench"}
    knows = {
        module
        for module, path in MODULES.items()
        if room_of(module) == "calibration" and simulated & {name for name, _, _ in imports_of(path)}
    }
    assert knows == {"opusim.calibration.truth"}


def test_dots_stay_in_their_folder():
    """drivers/ and calibration/ lie elsewhere than they are installed, and a name with dots is hard to follow."""
    for module, path in MODULES.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for name, level, line in imports_of(path):
            assert level < 2, f"{path}:{line} reaches {name} by dots"
            assert not level or within(name, package), f"{path}:{line} reaches {name} by dots"


def test_stand_ins_import_opusim_by_its_name():
    """They lie off the package: what they need of it they import as any program would."""
    for path in STAND_IN_SOURCES:
        (folder,) = (folder for folder in STAND_INS if path.is_relative_to(folder))
        depth = len(path.relative_to(folder).parts) - 1
        tree = tree_of(path)
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


def test_library_is_quiet_and_keeps_no_global_random_state():
    legacy = {"seed", "rand", "randn", "random", "normal", "uniform", "randint", "choice", "shuffle", "permutation"}
    for path in (*SOURCES, *STAND_IN_SOURCES):
        for node in ast.walk(tree_of(path)):
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
                    assert name.partition(".")[0] not in ("pickle", "dill", "cloudpickle"), (
                        f"{path}:{node.lineno}: {name}"
                    )
