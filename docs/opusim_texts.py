"""What pages take from the package itself when they are built: commands, presets, parameters, what may be learnt."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
import warnings
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path

from typer.cli import get_docs_for_click
from typer.main import get_command

from opusim.base.parameters import parameters_of, parts_of, stage_name
from opusim.cli.app import app as opusim_app
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm
from opusim.drivers import selftest

# ---------------------------------------------------------------- the command line


def command_line() -> str:
    """Return every command with its arguments and options, in Markdown as typer writes it."""
    program = get_command(opusim_app)
    context = program.make_context("opusim", [], resilient_parsing=True)
    text = get_docs_for_click(obj=program, ctx=context, name="opusim", indent=1)
    # The list of commands breaks off what they do, and each has a section of its own.
    return re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", text)


# ---------------------------------------------------------------- hashes of the results


def hashes(page: Path) -> str:
    """Return the table of published hashes, and a link to its file, in Markdown.

    Parameters
    ----------
    page : Path
        The page's file.
    """
    table = selftest.read_table(selftest.PUBLISHED)
    made_with = table["made_with"]
    # Beside the package, wherever that is.
    link = Path(os.path.relpath(selftest.PUBLISHED, page.parent)).as_posix()
    lines = [
        f"## Those of {table['opusim']}",
        "",
        f"Made with numpy {made_with['numpy']}, scipy {made_with['scipy']} and numba {made_with['numba']} on "
        f"{made_with['machine']} ({made_with['processor']}). The first 16 of 64 digits, as the command "
        f"prints them; all of them are in {{download}}`the file <{link}>` that comes with the package.",
        "",
        "| case | way | call | sha256 |",
        "|---|---|---|---|",
    ]
    for label, digest in table["sha256"].items():
        case, way, call = label.split(" | ")
        lines.append(f"| {case} | {way} | `` {call} `` | `` {digest[:16]} `` |")
    return "\n".join([*lines, ""])


# ---------------------------------------------------------------- the presets

Row = Callable[[str], dict[str, str]]


def _device(name: str) -> dict[str, str]:
    device = Device.load(name)
    return {
        "what it is": device.description,
        "modulator": device.dmd.name,
        "camera": device.camera.name,
        "medium": device.medium.kind.replace("_", " "),
        "reference arm": "yes" if device.reference.present else "no",
    }


def _mirrors(name: str) -> dict[str, str]:
    # In a laboratory of its own it is lit by the light that it is for; here it is only read.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the table: laser.wavelength_m")
        dmd = Device.from_dict({"preset": "aurora", "dmd": {"preset": name}, "operation": {"ones_range": [0, 1]}}).dmd
    return {
        "rows × columns": f"{dmd.shape[0]} × {dmd.shape[1]}",
        "pitch, µm": f"{1e6 * dmd.pitch_m:g}",
        "lattice": dmd.lattice,
        "mm": " × ".join(f"{1e3 * length_m:.2f}" for length_m in dmd.size_m),
        "contrast ratio": f"{dmd.contrast_ratio:g}",
        "efficiency": f"{dmd.efficiency:g}",
        "patterns a second": f"{dmd.frame_rate_hz:g}",
    }


def _phases(name: str) -> dict[str, str]:
    slm = Device.from_dict({"preset": "aurora", "modulator": {"preset": name}}).modulator
    assert isinstance(slm, PhaseSlm)
    return {
        "rows × columns": f"{slm.shape[0]} × {slm.shape[1]}",
        "pitch, µm": f"{1e6 * slm.pitch_m:g}",
        "mm": " × ".join(f"{1e3 * length_m:.2f}" for length_m in slm.size_m),
        "levels": f"{slm.levels}",
        "fill factor": f"{slm.fill_factor:g}",
        "flicker": f"{slm.flicker:g}",
        "efficiency": f"{slm.efficiency:g}",
        "patterns a second": f"{slm.frame_rate_hz:g}",
    }


def _camera(name: str) -> dict[str, str]:
    camera = Device.from_dict({"preset": "aurora", "camera": {"preset": name}}).camera
    return {
        "rows × columns": f"{camera.shape[0]} × {camera.shape[1]}",
        "pitch, µm": f"{1e6 * camera.pixel_pitch_m:g}",
        "bits": f"{camera.bits}",
        "quantum efficiency": f"{camera.quantum_efficiency:g}",
        "full well, e⁻": f"{camera.full_well_e:g}",
        "read noise, e⁻": f"{camera.read_noise_e:g}",
        "frames a second": f"{camera.frame_rate_hz:g}",
    }


def presets() -> str:
    """Return a table of each kind of preset, and the files themselves, where each value has its source beside it."""
    kinds: list[tuple[str, str, Row]] = [
        ("Devices", "", _device), ("Mirror arrays", "dmds", _mirrors), ("Phase modulators", "slms", _phases),
        ("Cameras", "cameras", _camera),
    ]  # fmt: skip
    return "\n".join(line for title, shelf, row in kinds for line in _section(title, shelf, row))


def _section(title: str, shelf: str, row: Row) -> Iterable[str]:
    folder = resources.files("opusim") / "presets" / shelf
    files = {file.name.removesuffix(".toml"): file for file in folder.iterdir() if file.name.endswith(".toml")}
    texts = {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}
    # Older versions lie beside the newest, as NAME@VERSION.toml: a row is of the newest.
    rows = {name: row(name) for name in texts if "@" not in name}
    head = next(iter(rows.values()))
    yield from (f"## {title}", "", f"| name | {' | '.join(head)} |", f"|---|{'---|' * len(head)}")
    for name, values in rows.items():
        cells = (value.replace("|", "\\|") for value in values.values())
        yield f"| [{name}](#preset-{name}) | {' | '.join(cells)} |"
    for name, text in texts.items():
        version = tomllib.loads(text).get("version", 1)
        words = "kept as it was" if "@" in name else "the newest"
        label = name.replace("@", "-")
        yield from ("", f"(preset-{label})=", f"### {name}", "", f"Version {version}, {words}.", "")
        yield from ("```toml", text.strip(), "```", "")


# ---------------------------------------------------------------- the parameters of a device


def parameters() -> str:
    """Return tables of the parameters of each stage and of the device itself, in reStructuredText."""
    lines = [
        "Every parameter",
        "---------------",
        "",
        "In a device without imperfections (:meth:`opusim.Device.ideal`) each of them has its value *off*;",
        ":meth:`opusim.Device.imperfections` gives these one by one, for :meth:`opusim.Device.evolve`. A field without",
        "a default must be given. One that came later has its value *before*, at which a device does what it did until",
        "then. Of a range, square brackets hold their end, round ones do not. What is learnable has",
        "gradients in :class:`opusim.differentiable.ExpectedOutput`.",
    ]
    tables = [("the device itself", "", Device)]
    for stage, part in parts_of(Device).items():
        for kind in part.classes:
            # A stage of several kinds has a table for each.
            own = stage_name(kind, stage)
            title = stage if isinstance(part.kinds, type) else f"{own}: {kind.kind}"
            tables.append((title, f"{own}.", kind))
    for title, before, kind in tables:
        rows = ("; ".join(_cells(before, kind, name)).rstrip() for name in parameters_of(kind))
        lines += ["", title, "~" * len(title), ""]
        lines += [".. csv-table::", "   :class: parameters", "   :delim: ;", "   :header-rows: 1", ""]
        lines += (f"   {row}" for row in ("name; unit; may be; default; before; off; imperfection; learnable", *rows))
    return "\n".join([*lines, ""])


def _cells(before: str, kind: type, name: str) -> Iterable[str]:
    about, field = parameters_of(kind)[name], kind.__dataclass_fields__[name]

    def shown(value: object) -> str:
        if value == ():
            return "none"
        return f"{value:g}" if isinstance(value, float) else str(value).replace("'", "")

    yield f"``{before}{name}``"
    yield about.unit
    yield f"{about.allowed()}{' and below the full scale' if about.below else ''}"
    yield "" if field.default is dataclasses.MISSING else shown(field.default)
    yield "" if about.before is None else shown(about.before)
    yield shown(about.off) if about.imperfection else ""
    yield about.imperfection
    yield "yes" if about.learnable else ""


# ---------------------------------------------------------------- what torch can learn of a device


def learnable() -> str:
    """Return a table of the parameters of a device that have gradients, in reStructuredText."""
    from opusim.differentiable.parameters import RANGES

    rows = [
        f"``{path}``; {low:g} to {'the full scale' if high is None else f'{high:g}'}"
        for path, (low, high) in RANGES.items()
    ]
    return "\n   ".join([".. csv-table::", ":delim: ;", ":header: parameter; range", "", *rows])


# ---------------------------------------------------------------- procedures of calibration


def procedures() -> str:
    """Return a table of the procedures, in reStructuredText."""
    from opusim.calibration import PROCEDURES

    rows = [
        f"``{name}``; {one.title}; {'yes' if one.needs_reference else 'no'}; "
        f"{', '.join(f'``{option.name}``' for option in one.options)}"
        for name, one in PROCEDURES.items()
    ]
    table = [".. csv-table::", ":delim: ;", ":header: name; what it measures; needs a reference arm; options", ""]
    return "\n   ".join([*table, *rows])
