"""The command ``opusim``.

Each command is a function with the decorator `command`, which turns an error into one sentence on stderr and the
exit status 2, and Ctrl-C into one line and 130. What takes time to import is imported inside the functions, so that
``opusim --help`` answers at once.
"""

from __future__ import annotations

import codecs
import functools
import io
import math
import re
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from opusim import __version__

if TYPE_CHECKING:
    from rich.table import Table

    from opusim.device.record import Device
    from opusim.noise.levels import NoiseBudget

__all__ = ["app", "command"]

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="opusim",
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


def command(name: str, **settings: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command whose errors end in a sentence.

    Parameters
    ----------
    name : str
        Name of the command.
    **settings
        How its line is read, for click's context.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                with warnings.catch_warnings():
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

        app.command(name, context_settings=settings)(guarded)
        return function

    return register


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
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Replace the output file if it is there.")]


@command("demo")
def demo(
    target: Annotated[
        Path, typer.Option("--out", "-o", help="File for the figure; it is replaced if it is there.")
    ] = Path("opusim-demo.png"),
    device: DeviceOption = "aurora",
    components: Annotated[int, typer.Option("--components", "-n", help="Outputs: camera pixels to read.")] = 3000,
    seed: SeedOption = 0,
) -> None:
    """Project handwritten digits, train a classifier on the camera's counts, draw a figure. Needs no network."""
    _check_components(components)
    _folder_of(target)
    start = time.perf_counter()
    with err.status("Loading the simulation …") as status:
        from opusim import plotting
        from opusim.drivers import OPU
        from opusim.tasks import digits_demo as demonstration

        with OPU(n_components=components, device=device, seed=seed, disable_pbar=True) as opu:
            result = demonstration.run(opu, say=lambda text: status.update(f"{text} …"))
        status.update("Drawing the figure …")
        plotting.save(plotting.demo_figure(result), target)

    table = _table("Ridge classifier on 8x8 handwritten digits", "features", "number", "test accuracy")
    table.caption = "penalty by cross-validation"
    table.add_row("binary pixels", f"{result.n_features}", f"{100 * result.accuracy_pixels:.1f} %")
    table.add_row("camera counts", f"{result.n_components}", f"[bold]{100 * result.accuracy_counts:.1f} %[/bold]")
    out.print(table)
    facts = _table(f"Device {result.device.name}, seed {seed}", "quantity", "value")
    facts.add_row("images", f"{result.n_train} to train, {result.n_test} to test")
    facts.add_row("mirrors on", f"{result.n_on:,.0f} of {result.device.dmd.n_mirrors:,} on average")
    facts.add_row("exposure", f"{1e6 * result.exposure_s:.0f} µs")
    facts.add_row("mean grey level", _level(result.mean_level_dn, result.device))
    facts.add_row("device clock", f"{result.device_s:.2f} s and {_joules(result.device_j)} for {result.frames} frames")
    facts.add_row("images simulated in", f"{result.wall_s:.2f} s")
    facts.add_row("whole run", f"{time.perf_counter() - start:.2f} s")
    out.print(facts)
    out.print(f"Figure: {target}", markup=False, soft_wrap=True)


@command("transform")
def transform(
    source: Annotated[Path, typer.Argument(help="A .npy file of 0 and 1: one vector a row (or one image, with --2d).")],
    target: Annotated[Path, typer.Argument(help="The .npy file to write: one row of counts for each vector.")],
    device: DeviceOption = "aurora",
    components: Annotated[int, typer.Option("--components", "-n", help="Outputs: camera pixels to read.")] = 10_000,
    seed: SeedOption = 0,
    two_d: Annotated[bool, typer.Option("--2d", help="Vectors are images (n, rows, columns): macro-pixels.")] = False,
    packed: Annotated[
        bool, typer.Option("--packed", help="Eight features in a byte, the first in the highest bit.")
    ] = False,
    features: Annotated[
        str, typer.Option("--features", help="With --packed --2d: rows and columns of an image, as 28x28.")
    ] = "",
    force: ForceOption = False,
) -> None:
    """Project the vectors of a .npy file and write the camera's counts to another."""
    from opusim.base.files import NpyWriter, open_npy, replacing

    _check_components(components)
    data = open_npy(source)
    shape = _check_vectors(source, data, two_d, packed, features)
    _folder_of(target)
    if target.suffix != ".npy":
        raise ValueError(f"The output is {str(target)!r}, but its name must end in .npy.")
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target} is the input itself: the output needs a name of its own, with --force too.")
    if target.exists() and not force:
        raise FileExistsError(f"{target} is there already; --force replaces it.")

    with err.status("Loading the simulation …"):
        from opusim.drivers import OPU

        opu = OPU(n_components=components, device=device, seed=seed, disable_pbar=True)
    with opu:
        if two_d:
            opu.fit2d(data, shape, packed)
        else:
            opu.fit1d(data, packed=packed)
        dtype = opu.device.output_dtype
        needed, free = len(data) * components * dtype.itemsize, shutil.disk_usage(target.parent).free
        if needed > free:
            sizes = f"{needed / 2**20:.0f} MiB, but its disk has only {free / 2**20:.0f} MiB left"
            raise OSError(f"{target} needs {sizes}.")
        start = time.perf_counter()
        with (
            replacing(target) as temporary,
            NpyWriter(temporary, (len(data), components), dtype) as writer,
            _progress("Preparing (the first use compiles)", "Projecting", len(data)) as advance,
        ):
            # In steps that keep memory small and the bar moving. The counts do not depend on the steps.
            step = max(1, min(500, (64 << 20) // (components * dtype.itemsize)))
            for first in range(0, len(data), step):
                counts = opu.transform(data[first : first + step])
                writer.append(counts)
                advance(len(counts))
        wall_s = time.perf_counter() - start
        clock = opu.device.bench.clock
    out.print(
        f"{target}: {dtype} {len(data)} x {components}, in {wall_s:.1f} s. The device itself would have "
        f"needed {clock.elapsed_s:.2f} s and {_joules(clock.energy_j)}.",
        markup=False,
        soft_wrap=True,
    )


@command("presets")
def presets() -> None:
    """List the devices, mirror arrays and cameras that come with opusim."""
    from opusim.device.record import presets as known

    for title, shelf in (("Devices", ""), ("Mirror arrays (DMDs)", "dmds"), ("Cameras", "cameras")):
        table = _table(title, "name", "version", "what it is")
        for spec, description in known(shelf).items():
            name, _, version = spec.partition("@")
            table.add_row(name, version, description)
        out.print(table)
    out.print(
        "A device is named as aurora, or aurora@1 for one version of it; a TOML file may start from any of these."
    )


@command("info")
def info(
    device: Annotated[str, typer.Argument(help="Preset or path of a TOML file.")] = "aurora",
    elapsed: Annotated[
        float, typer.Option("--elapsed", help="Seconds since the medium was fitted or calibrated, for its drift.")
    ] = 60.0,
) -> None:
    """Tell what a device is, and what limits its outputs at its working point."""
    from opusim.bench.bench import OpticalBench
    from opusim.device.record import Device
    from opusim.noise.levels import dark_level_dn, error_budget, noise_at_level, noise_terms
    from opusim.noise.table import fill_error_table

    model = _load_device(Device, device)
    exposure_s = model.operation.exposure_s
    n_on = model.dmd.n_mirrors // 2
    out.print(_description(model))

    budget = noise_terms(model, n_on, exposure_s)
    facts = _table(f"Working point: half the mirrors on, {1e6 * exposure_s:.0f} µs", "quantity", "value")
    saturated = budget.level_dn > budget.full_scale_dn
    if saturated:
        facts.add_row("mean grey level", f"capped at the full scale, {budget.full_scale_dn:.0f} DN: saturated")
    else:
        facts.add_row("mean grey level", _level(budget.level_dn, model))
    facts.add_row("speckle contrast", f"{budget.contrast:.3f}")
    if math.isfinite(budget.full_scale_dn):
        share = _percent(budget.saturation_probability)
        facts.add_row("saturated outputs", f"{share} (beyond {budget.full_scale_dn:.0f} DN)")
    rows = model.operation.minimum_output_size / model.camera.shape[1]
    bench = OpticalBench(model)
    least_s = bench.minimum_frametime_s(max(1, round(rows)), exposure_s)
    full_s = bench.minimum_frametime_s(model.camera.shape[0], exposure_s)
    facts.add_row(
        "frame time", f"{1e6 * max(least_s, model.operation.frametime_s):.0f} µs; whole sensor {1e6 * full_s:.0f} µs"
    )
    facts.add_row("power", f"{model.operation.power_w:g} W")
    out.print(facts)
    if not saturated and budget.variance_dn2():
        out.print(_budget_table("Noise there, averaged over the speckle", budget))
    if not saturated and budget.level_dn > dark_level_dn(model, exposure_s):
        modes = ("intensity", "linear") if model.reference.present else ("intensity",)
        budgets = [error_budget(model, mode, elapsed_s=elapsed) for mode in modes]
        if any(one.total > 1e-9 for one in budgets):
            shares = _table(f"Error of an output by source, {elapsed:g} s after the fit (share of the mean square)")
            fill_error_table(shares, budgets)
            out.print(shares)
            if any(one.share(name) < -5e-4 for one in budgets for name in one.errors):
                out.print("A share below 0: without that source the error would be larger.")
    out.print("DN (digital number) is one grey level of the camera.")
    if saturated:
        out.print(
            "The sensor is saturated: the light at this exposure is above its full scale. A shorter exposure "
            "(operation.exposure_s) or less light (laser.power_w) brings it into range."
        )
        return
    if not budget.variance_dn2():
        out.print("There is no noise.")
    # The level at which the real device's output noise was printed, if this camera reaches it.
    reference_dn = 21.6
    if budget.variance_dn2() and dark_level_dn(model, exposure_s) < reference_dn < budget.full_scale_dn:
        one = noise_at_level(model, reference_dn, exposure_s)
        rms_dn = one.rms_dn("temporal")
        out.print(f"An output with a mean of {reference_dn} DN varies by {rms_dn:.2f} DN rms from frame to frame.")


def _description(device: Device) -> Table:
    camera, dmd, laser, operation = device.camera, device.dmd, device.laser, device.operation
    table = _table(f"{device.name}, version {device.version}", "part", "what it is")
    if device.description:
        table.add_row("device", device.description)
    table.add_row(
        "laser",
        f"{1e9 * laser.wavelength_m:g} nm, {1e3 * laser.power_w:g} mW on the mirrors; noise "
        f"{100 * laser.power_noise:g} % rms per frame, drift {100 * laser.power_drift_per_hour:g} % per hour",
    )
    table.add_row(
        "mirrors",
        f"{dmd.name}: {dmd.shape[0]} x {dmd.shape[1]}, pitch {1e6 * dmd.pitch_m:g} µm, "
        f"contrast {dmd.contrast_ratio:g} : 1, efficiency {dmd.efficiency:g}",
    )
    medium = ((key, value) for key, value in device.to_dict()["medium"].items() if key != "kind")
    words = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in medium)
    table.add_row("medium", f"{device.medium.kind}: {words}")
    table.add_row(
        "camera",
        f"{camera.name}: {camera.shape[0]} x {camera.shape[1]}, pitch {1e6 * camera.pixel_pitch_m:g} µm, "
        f"{f'{camera.bits} bits' if camera.quantise else 'float32, not rounded'}, "
        f"{camera.gain_dn_per_e:g} DN per electron, quantum efficiency "
        f"{camera.quantum_efficiency:g}, full well {camera.full_well_e:g} e, read noise {camera.read_noise_e:g} e",
    )
    least = operation.minimum_output_size
    table.add_row("region read", operation.opu_type + (f", at least {least:,} pixels" if least else ""))
    table.add_row("resolution", device.resolution)
    table.add_row("fingerprint", device.fingerprint()[:16])
    return table


def _budget_table(title: str, budget: NoiseBudget) -> Table:
    table = _table(title, "source", "from frame to frame", "DN rms", "share of variance")
    for column in table.columns[2:]:
        column.justify = "right"
    for term in sorted(budget.terms, key=lambda t: -t.variance_dn2):
        kind = "new" if term.kind == "temporal" else "the same"
        table.add_row(term.name, kind, f"{term.rms_dn:.3f}", _percent(budget.share(term.name)))
    table.add_section()
    table.add_row("together", "new", f"{budget.rms_dn('temporal'):.3f}", "")
    table.add_row("together", "the same", f"{budget.rms_dn('fixed'):.3f}", "")
    return table


def _level(level_dn: float, device: Device) -> str:
    if not device.camera.quantise:
        return f"{level_dn:.2f} DN, float32, not rounded"
    return f"{level_dn:.2f} DN of {2**device.camera.bits - 1}"


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.001:
        return "< 0.001 %"
    return f"{percent:.1f} %" if percent >= 0.1 or not percent else f"{percent:.1g} %"


def _joules(energy_j: float) -> str:
    """Two significant digits, without an exponent: 27 J, 0.30 J."""
    if energy_j <= 0:
        return "0 J"
    places = 1 - math.floor(math.log10(energy_j))
    return f"{round(energy_j, places):.{max(0, places)}f} J"


def _load_device(kind: type[Device], spec: str) -> Device:
    """Load a device; for the name of a part, say where it belongs."""
    from opusim.device.record import presets as known

    name = spec.partition("@")[0].lower().replace(" ", "-")
    for shelf, table, what in (("cameras", "camera", "a camera"), ("dmds", "dmd", "a mirror array (DMD)")):
        if name in {other.partition("@")[0].lower() for other in known(shelf)}:
            raise ValueError(
                f'{spec} is no device: it is {what}. Use it in a TOML file as [{table}] preset = "{spec}".'
            )
    return kind.load(spec)


def _check_components(n: int) -> None:
    if n < 1:
        raise ValueError(f"--components is {n}, but it must be at least 1.")


def _check_vectors(source: Path, data: Any, two_d: bool, packed: bool, features: str) -> tuple[int, int] | None:
    """Check the form of a file of vectors; return rows and columns of an image where the file does not tell."""
    axes = 3 if two_d and not packed else 2
    if data.ndim != axes:
        form = {2: "(vectors, features)", 3: "(images, rows, columns)"}[axes]
        other = " Images of two dimensions need --2d." if data.ndim == 3 and not two_d else ""
        raise ValueError(f"{source} has the shape {data.shape}, but it must have {axes} axes, {form}.{other}")
    if not len(data):
        raise ValueError(f"{source} has the shape {data.shape}: it holds no vectors.")
    if data.dtype.kind not in "buif":
        raise TypeError(f"{source} holds {data.dtype}, but it must hold booleans, or numbers that are 0 or 1.")
    if not (packed and two_d):
        if features:
            raise ValueError(f"--features is {features!r}, but it is only for --packed --2d: the file itself tells.")
        return None
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", features)
    if match is None:
        raise ValueError(f"--features is {features!r}, but --packed --2d needs rows and columns, as in 28x28.")
    return int(match[1]), int(match[2])


def _folder_of(target: Path) -> None:
    """Say at once, not after the work, that an output has nowhere to go."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent} for {target.name}.")
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, but it must be the name of a file.")


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column)
    return table


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

    def __enter__(self) -> Callable[..., None]:
        self._bar.start()
        return lambda n: self._bar.update(self._task, advance=n, description=self._then)

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()


_FIGURES = (".png", ".pdf", ".svg")


def check_figure(figure: Path) -> None:
    """Refuse at once, not after the work, a figure that cannot be written: its ending, or where it is to go."""
    if figure.suffix.lower() not in _FIGURES:
        raise ValueError(f"--figure is {str(figure)!r}, but it must end in one of {', '.join(_FIGURES)}.")
    _folder_of(figure)
