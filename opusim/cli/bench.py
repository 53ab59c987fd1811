"""A laboratory's bench on the command line: how ``--bench`` finds it, and the command ``opusim bench``."""

from __future__ import annotations

import importlib.util
import inspect
import keyword
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from opusim.base import plugins

from .app import _folder_of, _interrupting, _say, command, err, out, refuse_foreign
from .tables import _table

EXIT_BROKEN = 1
# Errors that every command tells by their own words; those of makers' libraries are of classes of their own.
_TOLD = (OSError, TypeError, ValueError, RuntimeError, MemoryError)
# What else may come out of a bench. An exit within it is an error too: of its own it would end all as a success.
_RAISED = (Exception, SystemExit)
# What ends a process from outside, as kill, a scheduler, or a terminal that is closed; the last one is of Windows. They
# count as Ctrl-C where nothing else was to happen then: nohup has the one of terminals ignored.
_ENDINGS = {
    getattr(signal, name): signal.SIG_DFL for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
}

BenchOption = Annotated[
    str | None,
    typer.Option(
        "--bench", "-b", show_default=False,
        help="A bench of your own in place of --device: my_bench.py:MyBench or module:name. A class, a function "
        "without arguments that makes a bench, or a bench.",
    ),
]  # fmt: skip


class _Closing(Protocol):
    """A bench whose instruments are let go by a call."""

    def close(self) -> Any:
        """Let them go."""


@contextmanager
def opened_bench(spec: str, flag: str) -> Iterator[Any]:
    """Make the bench that a line names, and let its instruments go at the end, after errors and Ctrl-C too.

    A signal that would end the process (SIGTERM, SIGHUP) counts as Ctrl-C meanwhile.

    What is a context manager is entered and left, as by ``with``; of other benches ``close`` is called if there is one.

    Parameters
    ----------
    spec : str
        "module:name" or "file.py:name", as for `opusim.base.plugins.named`: a class, a function that makes a bench,
        or a bench.
    flag : str
        What it is called on the line, for messages.

    Yields
    ------
    object
        The bench: whatever has the members of `opusim.bench.protocol.Bench`.

    Raises
    ------
    TypeError, ValueError
        If nothing can be made of the text, or it is no bench.
    RuntimeError
        If it cannot be made or closed, or what is done with it exits, or raises an error of a class of its own.
    KeyboardInterrupt
        If the process was told to end.
    """
    from opusim.bench.protocol import checked_bench

    try:
        with _interrupting(_ENDINGS):
            bench, let_go = _entered(_made(spec, flag))
            try:
                checked_bench(bench)
                yield bench
            except BaseException:
                try:
                    let_go(*sys.exc_info())
                except _RAISED as error:  # what went wrong first is what is told as the end
                    _say(f"opusim: The bench could not be closed ({_named(error)}).")
                raise
            try:
                let_go(None, None, None)
            except _RAISED as error:
                raise RuntimeError(f"The bench could not be closed ({_named(error)}).") from error
    except _TOLD:
        raise
    except _RAISED as error:
        raise RuntimeError(f"{_named(error, ' was raised')} (opusim --traceback shows where).") from error


def _named(error: BaseException, said: str = "") -> str:
    """Return the class of an error, what is said of it, and its text if it has one."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{said}" + (f": {text}" if text else "")


def _entered(made: Any) -> tuple[Any, Callable[..., Any]]:
    """Return the bench, and what lets it go, which takes the error as ``__exit__`` does."""
    from opusim.bench.protocol import has

    if isinstance(made, AbstractContextManager):
        entered = made.__enter__()
        return (made if entered is None else entered), made.__exit__
    if not isinstance(made, type) and has(made, _Closing):
        return made, lambda *_: made.close()
    return made, lambda *_: None


def _made(spec: str, flag: str) -> Any:
    """Import what a line names, and call it if it is no bench yet."""
    from opusim.bench.protocol import Bench, has

    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise ValueError(
            f"{flag} is {spec!r}, but it must be a file or a module and a name in it, as in my_bench.py:MyBench or "
            "my_module:make_bench."
        )
    try:
        found = plugins.named(spec)
    except ValueError as error:
        raise ValueError(f"{flag} is {spec!r}, but {error}.") from error
    if not callable(found) or (not isinstance(found, type) and has(found, Bench)):
        return found
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise TypeError(
            f"{flag} is {spec!r}, but {name} wants arguments ({error}): name a function without any, which calls it."
        ) from None
    except ValueError:
        pass  # it does not say what it takes
    try:
        return found()
    except _RAISED as error:
        raise RuntimeError(f"{flag} is {spec!r}, but {name}() raised {_named(error)}") from error


_ACTIONS = {
    "check": "show some tens of patterns and say which rules the bench keeps",
    "template": "write a file to fill in",
}


@command("bench", order=23)
def bench(
    action: Annotated[
        str, typer.Argument(help="; ".join(f"{name}: {text}" for name, text in _ACTIONS.items()) + ".",
                            metavar="|".join(_ACTIONS))
    ],
    target: Annotated[
        str, typer.Argument(help="check: the bench, my_bench.py:MyBench or module:name. template: the file to write.")
    ],
    exposure_us: Annotated[
        float | None,
        typer.Option(
            "--exposure-us", show_default=False,
            help="check: exposure in µs at which half of the mirrors give a good signal; that of the bench's record, "
            "or 400.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", "-s", help="check: seed of the patterns; 0.", show_default=False)
    ] = None,
) -> None:  # fmt: skip
    """Check a bench of your own, or begin one: the file of template has five members to fill in.

    check ends with the status 1 where a rule is broken, and 2 where the bench cannot be run. opusim calibrate --bench
    then measures it.
    """
    if action not in _ACTIONS:
        raise ValueError(f"The action is {action!r}, but it must be one of {', '.join(_ACTIONS)}.")
    given = {"--exposure-us": exposure_us, "--seed": seed}
    refuse_foreign(given, dict.fromkeys(given, ("check",)), action, what="opusim bench ")
    if action == "template":
        _write_template(Path(target))
    elif not _checked(target, exposure_us, 0 if seed is None else seed):
        raise typer.Exit(EXIT_BROKEN)


def _checked(spec: str, exposure_us: float | None, seed: int) -> bool:
    """Run the suite, print what it found, and return whether no rule is broken."""
    from opusim.base import validation

    if exposure_us is not None:
        validation.number("--exposure-us", exposure_us, low=0.0, high=3.6e9, low_open=True)
    validation.integer("--seed", seed, low=0)
    with err.status("Showing patterns …"):
        from opusim.testing import ConformanceError, check_bench

        with opened_bench(spec, "The bench") as found:
            try:
                report = check_bench(found, exposure_s=None if exposure_us is None else 1e-6 * exposure_us, seed=seed)
            except ConformanceError as error:
                report, broken = error.report, error.failures
            else:
                broken = {}
    if broken:
        n = sum(map(len, broken.values()))
        out.print(f"{report.subject} breaks {n} rule{'s' * (n > 1)}:", markup=False, soft_wrap=True)
        for name, sentences in broken.items():
            for sentence in sentences:
                out.print(f"- {name}: {sentence}", markup=False, soft_wrap=True)
    title = "Other checks" if broken else f"{report.subject} keeps the rules"
    table = _table(title, "check", "result")
    for name in report.passed:
        table.add_row(name, "passed")
    for name, why in report.skipped.items():
        table.add_row(name, f"skipped: {why}")
    out.print(table)
    return not broken


def _refuse_taken(target: Path) -> None:
    """Refuse a file that could not be imported later, as its name means something else."""
    name = target.stem
    if keyword.iskeyword(name):
        raise ValueError(f"The file is {str(target)!r}, but {name!r} is a word of Python: name it as my_bench.py.")
    if name in sys.modules:
        found = getattr(sys.modules[name], "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a folder without a module in it gives way to a file
            return
        found = spec.origin if spec.has_location else None
    if found is None or Path(found).resolve() != target.resolve():
        raise ValueError(
            f"The file is {str(target)!r}, but there is another module {name!r} already, "
            f"{found or 'of Python itself'}: name it as my_bench.py."
        )


def _write_template(target: Path) -> None:
    """Write a copy of the template."""
    from importlib import resources

    from opusim.base.folders import expanded

    target = Path(expanded(str(target)))
    if target.suffix != ".py" or not target.stem.isidentifier():
        raise ValueError(f"The file is {str(target)!r}, but it must be named as a module of Python, as my_bench.py.")
    _refuse_taken(target)
    _folder_of(target)
    text = (resources.files("opusim") / "bench" / "template.py").read_text(encoding="utf-8")
    try:
        file = target.open("x", encoding="utf-8")
    except FileExistsError:
        raise FileExistsError(f"{target} is there already: name another file, or remove it.") from None
    try:
        with file:
            file.write(text)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    out.print(
        f"{target}: fill in its five members, then opusim bench check {target}:TemplateBench", markup=False,
        soft_wrap=True,
    )  # fmt: skip
