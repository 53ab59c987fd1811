"""lightonml, lightonopu and ALP4 under their own names, for programs that were written for the real devices.

The modules lie in three folders beside this file that nothing imports from until they are put on the path: by `install`
in the running process, by `start_program` for a program of its own.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

__all__ = ["StandIn", "environment_for", "install", "stand_in_folders", "start_program"]

# Where the stand-ins and the hook lie.
_HERE = Path(__file__).resolve().parents[1]
LIGHTONOPU = str(_HERE / "lightonopu")
"""Folder of the module lightonopu, the hardware driver's stand-in."""
LIGHTONML = str(_HERE / "lightonml")
"""Folder of the module lightonml."""
ALP4LIB = str(_HERE / "ALP4lib")
"""Folder of the module ALP4, ALP4lib's stand-in."""
HOOK = str(_HERE / "lightonml_hook")
"""Folder whose `sitecustomize` shows an installed lightonml the simulated device's configuration."""
_OURS = frozenset((LIGHTONOPU, LIGHTONML, ALP4LIB, HOOK))
_HOOK_MODULE = "opusim_lightonml_hook"
# Run by a fresh interpreter: says whether lightonml can be imported there, and if not, why.
_TRY_IMPORT = """
import sys
if sys.argv[1] and sys.path[0] == "":
    sys.path[0] = sys.argv[1]
report, sys.stdout = sys.stdout, sys.stderr
try:
    import lightonml
except BaseException as error:
    lines = str(error).strip().splitlines()
    answer = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
else:
    answer = "works" if getattr(lightonml, "__file__", None) else "absent"
report.write(answer)
"""


@dataclass(frozen=True)
class StandIn:
    """What serves the names lightonopu, lightonml and ALP4.

    Parameters
    ----------
    folders : tuple of str
        Folders of opusim's own modules, to come first on the path.
    lightonml : {"opusim", "installed"}
        Whether the name lightonml means opusim's modules or those that are installed.
    problem : str
        Why lightonml, though installed, is not used; empty if there is nothing to tell.
    """

    folders: tuple[str, ...]
    lightonml: str
    problem: str = ""


def install(lightonml: bool | None = None, alp4: bool | None = None) -> StandIn:
    """Make ``import lightonopu``, ``import lightonml`` and ``import ALP4`` work here, as in a notebook's first cell.

    lightonopu is then opusim's own. So is lightonml, unless it is installed and can be imported: then that one is used,
    and it drives the simulated device. ALP4 is opusim's own, also beside an installed ALP4lib, which cannot do without
    the maker's library and a board. A second call is fine.

    Parameters
    ----------
    lightonml : bool, optional
        True for opusim's own lightonml in any case, False for the installed one in any case.
    alp4 : bool, optional
        True for opusim's own ALP4, False to leave that name alone, for the installed ALP4lib and a real board. By
        default it is opusim's, unless another ALP4 has been imported before, which stays.

    Returns
    -------
    StandIn
        What is used.

    Raises
    ------
    RuntimeError
        If another module of such a name has been imported before.
    TypeError
        If an argument is something else.

    Warns
    -----
    UserWarning
        If lightonml is installed but cannot be imported; with the reason.

    Examples
    --------
    >>> import opusim.drivers
    >>> opusim.drivers.install(lightonml=True).lightonml
    'opusim'
    >>> from lightonml import OPU
    """
    for argument, given in (("lightonml", lightonml), ("alp4", alp4)):
        if given is not None and not isinstance(given, bool):
            raise TypeError(f"{argument} is {given!r}, but it must be True, False or None.")
    _refuse_other("lightonopu", lightonml)
    for argument, name, given in (("alp4", "ALP4", alp4), ("lightonml", "lightonml", lightonml)):
        if given:
            _refuse_other(name, given, argument)
        elif given is False and _is_ours(sys.modules.get(name)):
            raise RuntimeError(
                f"{argument} is False, but opusim's own {name} has been imported already: restart Python, and call "
                f"opusim.drivers.install({argument}=False) before the first import of {name}."
            )
    _put_first(LIGHTONOPU)
    if alp4 is False:
        if ALP4LIB in sys.path:
            sys.path.remove(ALP4LIB)
    else:
        _put_first(ALP4LIB)
    if lightonml is None:
        problem = _problem_here()
    else:
        problem = "absent" if lightonml else ""
    used = stand_in_folders(problem=problem, alp4=alp4 is not False)
    if used.lightonml == "opusim":
        _put_first(LIGHTONML)
    else:
        _load_hook().install()
    if used.problem:
        warnings.warn(used.problem, stacklevel=2)
    return used


def stand_in_folders(
    program_folder: str | None = None, *, problem: str | None = None, alp4: bool = True
) -> StandIn:  # fmt: skip
    """Say what serves the names, and which folders go on the path for it.

    Parameters
    ----------
    program_folder : str, optional
        Folder that a fresh interpreter would look in first; the working folder if not given.
    problem : str, optional
        Why lightonml cannot be imported, if that is known: "absent", an error, or empty if it can be. A fresh
        interpreter is asked if it is not given, and if there is one to be found at all.
    alp4 : bool
        Whether the name ALP4 is served.

    Returns
    -------
    StandIn
        What is used.
    """
    if problem is None:
        problem = _problem_elsewhere(program_folder)
    more = (ALP4LIB,) if alp4 else ()
    if not problem:
        return StandIn((LIGHTONOPU, *more), "installed")
    reason = ""
    if problem != "absent":
        reason = (
            f"lightonml{_version_found()} is installed, but it cannot be imported here ({problem}); opusim's own "
            "modules of that name are used in its place."
        )
    return StandIn((LIGHTONOPU, LIGHTONML, *more), "opusim", reason)


def other_alp4(folder: str) -> str:
    """Say that a program's own folder has an ALP4, which comes before ours; empty if it has none.

    Parameters
    ----------
    folder : str
        The folder that Python looks in first.

    Returns
    -------
    str
        A sentence, or an empty text.
    """
    # ALP4lib tells its users to copy the file there.
    path = Path(folder) / "ALP4.py"
    if not path.is_file():
        return ""
    return (
        f"{path} lies beside the program, which gets that module ALP4 and not opusim's: rename or move it for a "
        "simulated board."
    )


# ---------------------------------------------------------------- a program of its own


def environment_for(
    used: StandIn, environment: Mapping[str, str], *, device: str | None = None, seed: int | None = None
) -> dict[str, str]:
    """Return the environment in which a fresh interpreter finds the stand-ins.

    Parameters
    ----------
    used : StandIn
        What is to be found.
    environment : mapping
        The environment to start from.
    device, seed : str and int, optional
        What is simulated, for OPUSIM_DEVICE and OPUSIM_SEED.

    Raises
    ------
    ValueError
        If a folder's name cannot stand in PYTHONPATH.
    """
    folders = [*([HOOK] if used.lightonml == "installed" else []), *used.folders]
    for folder in folders:
        if os.pathsep in folder:
            raise ValueError(
                f"opusim is installed in {str(_HERE)!r}, and Python's path cannot hold a folder with {os.pathsep!r} in "
                "its name."
            )
    result = dict(environment)
    others = [entry for entry in _path_of(environment) if entry not in _OURS]
    result["PYTHONPATH"] = os.pathsep.join([*folders, *others])
    given = result.get("OPUSIM_DEVICE", "")
    if device is not None:
        result["OPUSIM_DEVICE"] = device
    elif given.lower().endswith((".toml", ".json")):
        # The program may change its working folder before it makes an OPU.
        result["OPUSIM_DEVICE"] = str(Path(given).expanduser().absolute())
    if seed is not None:
        result["OPUSIM_SEED"] = str(seed)
    return result


def start_program(arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by a fresh interpreter on a program, so that nothing of opusim's stands around it.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``python`` on the command line: the program, or ``-m`` and the module, and their arguments.
    environment : mapping
        Environment of the program.

    Raises
    ------
    RuntimeError
        If this process was not started by an interpreter that can be named.
    """
    if not sys.executable:
        raise RuntimeError("Python does not know its own executable here, so no program can be started with it.")
    command = [sys.executable, *arguments]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # where there is no terminal
            stream.flush()
    if os.name != "nt":
        os.execve(sys.executable, command, dict(environment))
    # Windows would let the shell go on before the program has ended.
    with subprocess.Popen(command, env=dict(environment)) as process:
        while True:
            try:
                sys.exit(process.wait())
            except KeyboardInterrupt:  # the program has had it too, and decides
                continue


# ---------------------------------------------------------------- which lightonml


def _path_of(environment: Mapping[str, str]) -> list[str]:
    return [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _find(folders: Sequence[str]) -> importlib.machinery.ModuleSpec | None:
    """Find a lightonml that is not ours: in these folders, or where the other finders know one."""
    spec = importlib.machinery.PathFinder.find_spec("lightonml", [f for f in folders if f not in _OURS])
    for finder in sys.meta_path:
        if spec is None and finder is not importlib.machinery.PathFinder and hasattr(finder, "find_spec"):
            spec = finder.find_spec("lightonml", None)
    # Without an origin it is a folder that happens to have that name.
    return spec if spec is not None and spec.origin is not None else None


def _version_found() -> str:
    from importlib import metadata

    elsewhere = [entry for entry in sys.path if entry not in _OURS]
    for distribution in metadata.distributions(name="lightonml", path=elsewhere):
        return f" {distribution.version}"
    return ""


def _problem_elsewhere(program_folder: str | None) -> str:
    """Say why a fresh interpreter that starts in a folder cannot import lightonml; empty if it can."""
    if _find([program_folder or os.getcwd(), *sys.path]) is None:
        return "absent"
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in _path_of(environment) if entry not in _OURS)
    environment["PYTHONWARNINGS"] = "ignore"
    asked = subprocess.run(
        [sys.executable, "-c", _TRY_IMPORT, program_folder or ""],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )
    answer = asked.stdout.strip()
    if answer == "ModuleNotFoundError: No module named 'lightonml'":
        return "absent"
    if answer == "works":
        return ""
    return answer or f"Python ended with status {asked.returncode}"


def _problem_here() -> str:
    """Say why this process cannot import lightonml; empty if it can."""
    loaded = sys.modules.get("lightonml")
    if loaded is not None:
        return "absent" if _is_ours(loaded) else ""
    if _find(sys.path) is None:
        return "absent"
    if LIGHTONML in sys.path:  # from a call before this one, which has told
        return "absent"
    before = set(sys.modules)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("lightonml")
    except Exception as error:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "lightonml":
                del sys.modules[name]
        return f"{type(error).__name__}: {error}"
    return ""


# ---------------------------------------------------------------- this process


def _is_ours(module: ModuleType | None) -> bool:
    if module is None:
        return False
    return bool(getattr(module, "__opusim__", False)) or str(getattr(module, "__version__", "")).endswith("+opusim")


def _refuse_other(name: str, given: bool | None, argument: str = "lightonml") -> None:
    module = sys.modules.get(name)
    if module is None or _is_ours(module):
        return
    place = getattr(module, "__file__", None) or "an unknown place"
    call = "install()" if given is None else f"install({argument}={given})"
    raise RuntimeError(
        f"{name} has been imported already, from {place}, and it is not opusim's: restart Python, and call "
        f"opusim.drivers.{call} before the first import of {name}."
    )


def _put_first(folder: str) -> None:
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    # pkg_resources reads the path once, when it is imported, and lightonml asks it for lightonopu's version.
    resources: Any = sys.modules.get("pkg_resources")
    if resources is not None and folder not in resources.working_set.entries:
        resources.working_set.add_entry(folder)


def _load_hook() -> Any:
    """Load the hook from its folder, under the name that it has in a fresh interpreter."""
    if _HOOK_MODULE not in sys.modules:
        spec = importlib.util.spec_from_file_location(_HOOK_MODULE, os.path.join(HOOK, f"{_HOOK_MODULE}.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[_HOOK_MODULE] = module
    return sys.modules[_HOOK_MODULE]
