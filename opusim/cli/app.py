"""What the commands of ``opusim`` share: the program, the console, the decorator, options.

Each command is a function with the decorator `command`, which turns an error into one sentence on stderr and the
exit status 2, and Ctrl-C into one line and 130. What takes time to import is imported inside the functions, so that
``opusim --help`` answers at once.

A command of another package is such a function in a module that an entry point names (`opusim.base.plugins`)::

    from opusim.cli import command

    @command("hello")
    def hello(name: str) -> None:
        \"\"\"Say hello.\"\"\"
"""

from __future__ import annotations

import _thread
import codecs
import functools
import inspect
import io
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from opusim import __version__
from opusim.base import plugins

if TYPE_CHECKING:
    from rich.status import Status

    from opusim.device.record import Device

__all__ = ["app", "command"]

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

# Packages whose native code is made ready by their import, and for how long Ctrl-C waits for one at most.
_NATIVE = frozenset({"h5py", "llvmlite", "matplotlib", "numba", "numpy", "scipy", "sklearn", "torch"})
_LONGEST_HOLD_S = 10.0

_orders: dict[str, float] = {}


class _Program(TyperGroup):
    """The program, which looks for commands of other packages when it lists them, or does not know one."""

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return a command, or None."""
        if super().get_command(ctx, cmd_name) is None:  # type: ignore[arg-type]
            self._look_for_others()
        return super().get_command(ctx, cmd_name)  # type: ignore[arg-type]

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of all commands in the order of their help."""
        self._look_for_others()
        return sorted(self.commands, key=lambda name: _orders[name])

    def _look_for_others(self) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: _say(f"opusim: {message}")
            plugins.load()
        if not _orders.keys() <= self.commands.keys():
            program: Any = typer.main.get_command(app)
            for name, found in program.commands.items():
                self.commands.setdefault(name, found)


app = typer.Typer(
    name="opusim",
    cls=_Program,
    help="An optical processing unit, simulated: laser, mirrors, scattering medium, camera.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
_show_traceback = False
# What a terminal without the character shows in its place; for any other one, a question mark.
_PLAIN = {"µ": "u", "…": "...", "±": "+/-", "²": "^2", "–": "-", "“": '"', "”": '"'}
_PLAIN_HANDLER = "opusim_plain"


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


def _print_on_any_terminal() -> None:
    """Let the standard streams replace the characters that they cannot encode, rather than fail on them."""
    codecs.register_error(_PLAIN_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != _PLAIN_HANDLER:
            stream.reconfigure(errors=_PLAIN_HANDLER)


@contextmanager
def _lasting_interrupts() -> Iterator[None]:
    """Let a Ctrl-C that comes at a bad place come a little later.

    While an object is let go Python drops all errors: a loop of many short steps is in such places often enough that
    one Ctrl-C in a thousand is lost otherwise. `_interrupting` tells of the other places.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _send_again(signal.SIGINT)
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        # Where Ctrl-C is ignored, as by nohup, it stays so.
        with _interrupting({signal.SIGINT: signal.default_int_handler}):
            yield
    finally:
        sys.unraisablehook = before


@contextmanager
def _interrupting(usual: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Let signals raise KeyboardInterrupt, once no native code is being imported.

    Meanwhile it comes out as another error ("numba._devicearray failed to import"), or the process dies of a package
    that is half there.

    Parameters
    ----------
    usual : mapping from Signals to handler
        What handles each of them as a rule: one that is handled otherwise stays so.
    """
    held_since: float | None = None

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal held_since
        now = time.monotonic()
        held_since = now if held_since is None else held_since
        if _loads_native_code(frame) and now - held_since < _LONGEST_HOLD_S:
            _send_again(number)
        else:
            held_since = None
            raise KeyboardInterrupt

    # Python takes handlers in the main thread alone.
    here = threading.current_thread() is threading.main_thread()
    ours = [number for number, usually in usual.items() if here and signal.getsignal(number) is usually]
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is handler:  # else somebody has put another one there
                signal.signal(number, usual[number])


def _send_again(number: int) -> None:
    """Let a signal come to the main thread once more, in a moment: now it would be dropped or held again."""
    main = threading.main_thread().ident

    def send() -> None:
        time.sleep(0.01)
        if hasattr(signal, "pthread_kill") and main is not None:  # which ends a sleep as well
            signal.pthread_kill(main, number)
        else:
            signal.raise_signal(number)

    _thread.start_new_thread(send, ())  # takes no lock, which the interrupted code may hold


def _loads_native_code(frame: FrameType | None) -> bool:
    """Return whether a package of native code is being imported there."""
    within = False
    while frame is not None:
        within = within or str(frame.f_globals.get("__name__", "")).partition(".")[0] in _NATIVE
        if within and frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


# Fills in the parameters of a command, and returns those that it has added.
Late = Callable[[list[Any]], list[Any]]
_LATE = "opusim.late"


def command(
    name: str, *, order: float = 100.0, late: Late | None = None, **settings: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command whose errors end in a sentence.

    Parameters
    ----------
    name : str
        Name of the command.
    order : float
        Its place in the help, where our own are below 100; those of one place stand as they came.
    late : callable, optional
        Called once, when somebody asks for the parameters of the command and not for its name alone: it is given
        them, may change their help, and returns more options, whose values `late_values` has.
    **settings
        How its line is read, for click's context.

    Raises
    ------
    ValueError
        If there is a command of this name that another function makes.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                with _lasting_interrupts(), warnings.catch_warnings():
                    warnings.showwarning = lambda message, *_: _say(f"opusim {name}: {message}")
                    function(*args, **kwargs)
            except typer.Exit:  # which is a RuntimeError
                raise
            except KeyboardInterrupt:
                _end("Interrupted; no unfinished file was left behind.", EXIT_INTERRUPTED)
            except (OSError, TypeError, ValueError, RuntimeError, MemoryError) as error:
                if _show_traceback:
                    raise
                _end(f"opusim {name}: {_sentence(error)}", EXIT_ERROR)

        if name in _orders:
            raise ValueError(f"There is a command {name!r} already.")
        _orders[name] = order
        cls = type("_Command", (_LateCommand,), {"late": staticmethod(late)}) if late is not None else TyperCommand
        app.command(name, cls=cls, context_settings=settings, help=_unwrapped(inspect.getdoc(function)))(guarded)
        app.registered_commands.sort(key=lambda info: _orders[str(info.name)])
        return function

    return register


def _unwrapped(text: str | None) -> str | None:
    """Return a docstring with each paragraph in one line: lines of the source are not those of a terminal.

    Typer joins the lines of the first one alone. What is indented, or begins as a list does, stays as it is.
    """
    if text is None:
        return None
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        one if any(line[:1] in (" ", "\b", "-", "*") for line in one.splitlines()) else " ".join(one.splitlines())
        for one in paragraphs
    )


class _LateCommand(TyperCommand):
    """A command some of whose words and options follow from what there is, which takes a moment to find out."""

    late: ClassVar[Late]
    _params: list[Any]
    _added: list[Any]
    _complete: bool

    @property
    def params(self) -> list[Any]:  # type: ignore[override]
        """All parameters: completed when they are first asked for."""
        if not self._complete:
            self._complete = True
            with warnings.catch_warnings():  # of parts that cannot be loaded
                warnings.showwarning = lambda message, *_: _say(f"opusim {self.name}: {message}")
                self._added = type(self).late(self._params)
            self._params += self._added
        return self._params

    @params.setter
    def params(self, value: list[Any]) -> None:
        self._params, self._added, self._complete = value, [], False

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Call the function; values of options that it has no argument for go by the context."""
        ctx.meta[_LATE] = {option.name: ctx.params.pop(option.name) for option in self._added}
        return super().invoke(ctx)  # type: ignore[arg-type]


def late_values(context: typer.Context) -> dict[str, Any]:
    """Return the values of the options that a command has got late; None for those that are not given."""
    return dict(context.meta[_LATE])


def late_options(kinds: Mapping[str, tuple[str, type, str]]) -> list[Any]:
    """Return options for `command`.

    Parameters
    ----------
    kinds : mapping
        By keyword: name on the line, kind (int, float, str, or bool for a switch), and help.

    Returns
    -------
    list of click options
        Those that are not given are None; switches are False.
    """

    # typer makes them of a signature, as it does those of a command: its own classes change from version to version.
    def function() -> None:
        """Do nothing."""

    parameters, hints = [], {}
    for name, (flag, kind, text) in kinds.items():
        hints[name] = Annotated[
            kind if kind is bool else kind | None, typer.Option(flag, help=text, show_default=False)
        ]  # fmt: skip
        default = False if kind is bool else None
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        )
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = hints
    only = typer.Typer(add_completion=False)
    only.command()(function)
    made: Any = typer.main.get_command(only)
    return [option for option in made.params if option.name in kinds]


def refuse_foreign(
    given: Mapping[str, Any], owners: Mapping[str, Sequence[str]], chosen: str, *, what: str = "", join: str = ", "
) -> None:
    """Raise a ValueError for an option that is given but does not belong to what is chosen.

    Parameters
    ----------
    given : mapping
        Values by the option's name on the line; None or False for those that are not given.
    owners : mapping
        For each option, what has it.
    chosen : str
        What is chosen.
    what, join : str
        Words before the owners, and between them.
    """
    for flag, of in owners.items():
        if given[flag] not in (None, False) and chosen not in of:
            raise ValueError(f"{flag} is given, but it is for {what}{join.join(of)}, not for {chosen}.")


def _say(text: str) -> None:
    err.print(text, markup=False, soft_wrap=True)


def _end(text: str, status: int) -> NoReturn:
    _say(text)
    raise typer.Exit(status)


def _sentence(error: BaseException) -> str:
    """Make one sentence of an error."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        text = f"{error.strerror}{where}"
    elif isinstance(error, MemoryError):
        text = str(error) or "There is not enough memory for this"
    else:
        text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"opusim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of an error.")] = False,
) -> None:
    global _show_traceback
    _show_traceback = traceback
    _print_on_any_terminal()


DeviceOption = Annotated[
    str, typer.Option("--device", "-d", help="Preset (opusim presets lists them) or path of a TOML file.")
]
SeedOption = Annotated[int, typer.Option("--seed", "-s", help="Seed of the medium, the sensor and the noise.")]
PartOption = Annotated[
    str | None,
    typer.Option(
        "--part", help="k/K: do part k of K, from 1 on, into a file of its own (OUT.partkofK); opusim merge puts them "
        "together. slurm: this task's part, in a job array of all parts, as --array=0-3.", show_default=False,
    ),
]  # fmt: skip
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Replace the output file if it is there.")]


def _load_device(kind: type[Device], spec: str) -> Device:
    """Load a device; for the name of a part, say where it belongs."""
    from opusim.device.toml import presets as known

    name = spec.partition("@")[0].lower().replace(" ", "-")
    for shelf, table, what in (
        ("cameras", "camera", "a camera"), ("dmds", "dmd", "a mirror array (DMD)"),
        ("slms", "modulator", "a phase modulator (SLM)"),
    ):  # fmt: skip
        if name in {other.partition("@")[0].lower() for other in known(shelf)}:
            raise ValueError(
                f'{spec} is no device: it is {what}. Use it in a TOML file as [{table}] preset = "{spec}".'
            )
    return kind.load(spec)


def _check_components(n: int) -> None:
    if n < 1:
        raise ValueError(f"--components is {n}, but it must be at least 1.")


def _folder_of(target: Path) -> None:
    """Say at once, not after the work, that an output has nowhere to go."""
    from opusim.base.plain_files import refuse_other_target

    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent} for {target.name}.")
    refuse_other_target(target)


class _progress:
    """A progress bar on stderr; entering gives a function that moves it on.

    Until it first moves the bar says `first`, then `then`.
    """

    def __init__(self, first: str, then: str, total: int | None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err
        )
        self._task = self._bar.add_task(first, total=total)
        self._then = then
        self._stack = ExitStack()

    def __enter__(self) -> Callable[..., None]:
        self._start()
        return lambda n: self._bar.update(self._task, advance=n, description=self._then)

    def _start(self) -> None:
        from opusim.base.progress import long_work_shown

        self._bar.start()
        self._stack.callback(self._bar.stop)
        self._stack.enter_context(long_work_shown(bars=self._below))

    def _below(self, total: int, text: str, unit: str, done: int) -> _Below:
        """Return a bar below this one, for what must be there before it moves on."""
        return _Below(self._bar, self._bar.add_task(text, total=total, completed=done))

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        task = next((task for task in self._bar.tasks if task.id == self._task), None)
        # One that has not begun says nothing beside an error: it would stay in the terminal as if it still ran.
        if kind is not None and task is not None and not task.completed:
            self._bar.remove_task(self._task)
        self._stack.close()


class _Below:
    """A further line of a bar, until it is closed."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def reach(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def close(self) -> None:
        self._bar.remove_task(self._task)


class _Shares:
    """Says behind the text of a status how much of some work is done, until it is closed."""

    def __init__(self, status: Status, total: int, text: str, done: int) -> None:
        self._status, self._before, self._total, self._text = status, status.status, total, text
        self.reach(done)

    def reach(self, done: int) -> None:
        self._status.update(f"{self._before} {self._text}: {100 * done // self._total} %")

    def close(self) -> None:
        self._status.update(self._before)


@contextmanager
def telling(status: Status) -> Iterator[None]:
    """Let a status tell, while the with block lasts, how much of a matrix is made that takes long."""
    from opusim.base.progress import long_work_shown

    with long_work_shown(bars=lambda total, text, unit, done: _Shares(status, total, text, done)):
        yield


_FIGURES = (".png", ".pdf", ".svg")


def check_figure(figure: Path) -> None:
    """Refuse at once, not after the work, a figure that cannot be written: its ending, or where it is to go."""
    if figure.suffix.lower() not in _FIGURES:
        raise ValueError(f"--figure is {str(figure)!r}, but it must end in one of {', '.join(_FIGURES)}.")
    _folder_of(figure)
