"""The command ``opusim info``."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opusim.base.parameters import parameters_of, stage_name

from .app import _load_device, command, out
from .line import drawing, lengths, metres
from .tables import _level, _table, percent

if TYPE_CHECKING:
    from rich.table import Table

    from opusim.base.parameters import Stage
    from opusim.bench.bench import OpticalBench
    from opusim.device.camera import Camera
    from opusim.device.record import Device
    from opusim.device.slm import PhaseSlm
    from opusim.noise.levels import NoiseBudget


@command("info", order=13)
def info(
    device: Annotated[str, typer.Argument(help="Preset or path of a TOML file.")] = "aurora",
    elapsed: Annotated[
        float, typer.Option("--elapsed", help="Seconds since the medium was fitted or calibrated, for its drift.")
    ] = 60.0,
) -> None:
    """Tell what a device is, and what limits its outputs at its working point."""
    from opusim.bench.bench import OpticalBench
    from opusim.device.record import Device
    from opusim.device.slm import PhaseSlm
    from opusim.noise.levels import dark_level_dn, error_budget, noise_at_level, noise_terms
    from opusim.noise.table import fill_error_table

    model = _load_device(Device, device)
    exposure_s = model.operation.exposure_s
    # A phase modulator lights all of its pixels.
    binary = model.modulator.binary
    n_on = model.dmd.n_mirrors // 2 if binary else model.dmd.n_mirrors
    out.print(_description(model))
    line = _table("Line of light", "quantity", "value")
    for name, value in lengths(model, exposure_s):
        line.add_row(name, value)
    out.print(drawing(model), markup=False, highlight=False, soft_wrap=True)
    out.print(line)
    if model.fourier_stop.present:
        out.print(_WITHOUT_STOP, markup=False, highlight=False)
    for sentence in model.doubts:
        out.print(f"Note: {sentence}", markup=False, highlight=False)

    budget = noise_terms(model, n_on, exposure_s)
    lit = "half the mirrors on" if binary else "all pixels lit, random phases"
    facts = _table(f"Working point: {lit}, {1e6 * exposure_s:.0f} µs", "quantity", "value")
    saturated = budget.level_dn > budget.full_scale_dn
    if saturated:
        facts.add_row("mean grey level", f"capped at the full scale, {budget.full_scale_dn:.0f} DN: saturated")
    else:
        facts.add_row("mean grey level", _level(budget.level_dn, model))
    uneven = model.medium.output_powers() is not None
    facts.add_row("contrast over outputs" if uneven else "speckle contrast", f"{budget.contrast:.3f}")
    lit_modulator = model.lit_modulator
    if isinstance(lit_modulator, PhaseSlm):
        facts.add_row("light that no phase turns", percent(lit_modulator.unmodulated_share))
        if lit_modulator.moves:
            facts.add_row("flicker of phases", _flicker(lit_modulator, model.averaged_s(exposure_s)))
    if math.isfinite(budget.full_scale_dn):
        share = percent(budget.saturation_probability)
        facts.add_row("saturated outputs", f"{share} (beyond {budget.full_scale_dn:.0f} DN)")
    facts.add_row("full scale", _full_scale(model.camera))
    if model.camera.dark_current_spread_e_per_s:
        facts.add_row("dark, by exposure", _dark(model.camera, exposure_s))
    rows = model.operation.minimum_output_size / model.camera.shape[1]
    bench = OpticalBench(model)
    least_s = bench.minimum_frametime_s(max(1, round(rows)), exposure_s)
    full_s = bench.minimum_frametime_s(model.camera.shape[0], exposure_s)
    own_s = max(least_s, model.operation.frametime_s)
    frametime = f"{1e6 * own_s:.0f} µs; whole sensor {1e6 * full_s:.0f} µs"
    facts.add_row("frame time", frametime + _mixed(bench, own_s, exposure_s))
    if model.reference.present and model.reference.settling_s:
        stepped_s = bench.stepped_frametime_s(max(1, round(rows)), exposure_s)
        facts.add_row("frame time with phase steps", f"{1e6 * stepped_s:.0f} µs")
    facts.add_row("frame rate by rows", _rates(model.camera))
    if model.camera.shutter == "rolling":
        facts.add_row("one pattern on all rows", _pattern_times(bench, exposure_s))
    facts.add_row("power", model.operation.text("power_w"))
    out.print(facts)
    if not saturated and budget.variance_dn2():
        out.print(_budget_table("Noise there, averaged over the speckle", budget))
    if not saturated and budget.level_dn > dark_level_dn(model, exposure_s):
        linear = model.reference.present and binary
        line_resolved = len(model.sampling.lines) > 1
        modes = ("intensity", "linear") if linear and not line_resolved else ("intensity",)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Closed forms know nothing of the Fourier stop")  # said above
            budgets = [error_budget(model, mode, elapsed_s=elapsed) for mode in modes]
        if any(one.total > 1e-9 for one in budgets):
            shares = _table(f"Error of an output by source, {elapsed:g} s after the fit (share of the mean square)")
            fill_error_table(shares, budgets)
            out.print(shares)
            if any(one.share(name) < -5e-4 for one in budgets for name in one.errors):
                out.print("A share below 0: without that source the error would be larger.")
        if linear and line_resolved:
            out.print(
                "Note: errors of linear outputs are left out: the medium takes the light of this laser.linewidth_hz "
                "apart, and their budget knows one frequency."
            )
    if uneven:
        out.print(
            "Level, contrast and noise are means over all outputs of the file, with the strength of its rows and its "
            "background; outputs are taken to follow a gamma law of that contrast, so the share of saturated ones is "
            "rough. Shares of the error are those of independent entries of one strength, without a background."
        )
    out.print("DN (digital number) is one grey level of the camera.")
    if saturated:
        out.print(
            "The sensor is saturated: the light at this exposure is above its full scale. A shorter exposure "
            "(operation.exposure_s) or less light (laser.power_w) brings it into range."
        )
        return
    if not budget.variance_dn2():
        out.print("There is no noise.")
    # The level at which the output noise of the real device, of mirrors and this camera, was printed.
    reference_dn = 21.6
    if not binary or model.camera.name != "CMV2000":
        return
    if budget.variance_dn2() and dark_level_dn(model, exposure_s) < reference_dn < budget.full_scale_dn:
        one = noise_at_level(model, reference_dn, exposure_s)
        rms_dn = one.rms_dn("temporal")
        out.print(f"An output with a mean of {reference_dn} DN varies by {rms_dn:.2f} DN rms from frame to frame.")


_WITHOUT_STOP = (
    "Note: levels and noise below are those of light that passes the Fourier stop whole. What it takes depends on the "
    "pattern: a hologram sends 10 % of the light to its order at most."
)


def _flicker(slm: PhaseSlm, averaged_s: float) -> str:
    """Return by how much phases vary from frame to frame, and outputs by that, over their mean."""
    from opusim.noise.flicker import between_frames

    phases, outputs = slm.flicker_in(averaged_s), math.sqrt(1 - between_frames(slm, averaged_s))
    return f"{percent(phases)} rms in a frame: {percent(outputs)} of the mean of an output"


def _full_scale(camera: Camera) -> str:
    """Return the electrons that give the highest count, beside those that a pixel holds."""
    if not camera.quantise:
        return "none: outputs are neither rounded nor clipped"
    share = f", {percent(camera.full_scale_e / camera.full_well_e)} of the full well"
    at = f"{camera.full_scale_dn} DN at {camera.full_scale_e:,.0f} electrons"
    return at + (share if math.isfinite(camera.full_well_e) else "")


def _dark(camera: Camera, exposure_s: float) -> str:
    """Return what pixels gather in the dark, and differ by there, at the exposure and at longer ones."""
    told = []
    for time_s in dict.fromkeys((exposure_s, *(longer for longer in (0.01, 1.0) if longer > exposure_s))):
        mean_e = camera.mean_dark_current_e_per_s * time_s
        told.append(f"{mean_e:.3g} e in {1e3 * time_s:g} ms, DSNU {camera.total_dsnu_e(time_s):.3g} e")
    return "; ".join(told)


def _rates(camera: Camera) -> str:
    """Return the frames per second that the camera reads, of the whole sensor and of fewer rows."""
    rows = camera.shape[0]
    numbers = dict.fromkeys(n for n in (rows, rows // 2, rows // 8) if n)
    rates = ", ".join(f"{n} rows {1 / camera.readout_s(n):,.0f} Hz" for n in numbers)
    return f"{rates}: {1e6 * camera.row_time_s:.3g} µs a row"


def _pattern_times(bench: OpticalBench, exposure_s: float) -> str:
    """Return the frame times that a rolling shutter needs for one pattern on all rows, of all rows and of fewer."""
    rows = bench.sensor_shape[0]
    numbers = dict.fromkeys(n for n in (rows, rows // 2, rows // 8) if n)
    times = ", ".join(f"{n} rows {1e6 * bench.minimum_frametime_s(n, exposure_s):,.0f} µs" for n in numbers)
    return f"{times}, with {1e6 * exposure_s:g} µs of exposure: rows roll"


def _mixed(bench: OpticalBench, frametime_s: float, exposure_s: float) -> str:
    """Return from how many rows on a rolling shutter mixes patterns at a frame time; nothing for a global one."""
    camera = bench.device.camera
    if camera.shutter != "rolling":
        return ""
    whole = sum(r * camera.row_time_s + exposure_s <= frametime_s for r in range(camera.shape[0]))
    if whole == camera.shape[0]:
        return ""
    if not whole:
        return "; at the former all rows see the next pattern too"
    return f"; at the former rows of a region beyond the first {whole} see the next pattern too"


class _Told:
    """A stage that is described, and the fields of it that have been named by now."""

    def __init__(self, stage: Stage) -> None:
        self.stage: Any = stage
        self.named: set[str] = set()
        self.onto = ""
        """Of a laser: what it lights."""

    def value(self, name: str) -> Any:
        self.named.add(name)
        return getattr(self.stage, name)

    def text(self, name: str) -> str:
        self.named.add(name)
        return self.stage.text(name)

    def rest(self) -> str:
        """Return all other fields by name, each in its own unit; lists that are empty are left out."""
        names = [f.name for f in dataclasses.fields(self.stage) if f.name not in self.named]
        self.named.update(names)
        return ", ".join(f"{name} {_own_text(self.stage, name)}" for name in names if getattr(self.stage, name) != ())


def _own_text(stage: Any, name: str) -> str:
    """Return a field in its own unit, which is left out where its name says it."""
    about = parameters_of(type(stage)).get(name)
    if about is None:
        return stage.text(name)
    spelt = about.unit.replace(" ", "_").replace("^", "").lower()
    unit = "" if name.lower().endswith(f"_{spelt}") or getattr(stage, name) == math.inf else about.unit
    return dataclasses.replace(about, shown="", unit=unit).text(getattr(stage, name))


def _description(device: Device) -> Table:
    from opusim.base.parameters import parts_of
    from opusim.bench.inputs import input_layout

    table = _table(device.title, "part", "what it is")
    if device.description:
        table.add_row("device", device.description)
    if device.changes:
        then = ", ".join(f"{path} {_value(device, path, value)}" for path, (_, value) in device.changes.items())
        table.add_row("", f"the preset has: {then}")
    told = {name: _Told(getattr(device, name)) for name in parts_of(type(device))}
    told["laser"].onto = device.dmd.elements
    told["medium"].named.update(device.medium.idle_fields)
    if not device.modulator.binary:
        told["operation"].named.add("ones_range")  # pixels of phases are all lit
    for name, stage in told.items():
        kind = stage_name(type(stage.stage), name)
        label, words = _STAGES[kind](stage) if kind in _STAGES else (name, "")
        rest = stage.rest()
        table.add_row(label, words or rest)
        if words and rest:
            table.add_row("", f"also: {rest}")
        if name == "medium":
            for what, fact in device.medium.facts().items():
                table.add_row("", f"{what}: {fact}")
    inputs = input_layout(device)
    if inputs is not None:
        what = device.dmd.elements.removesuffix("s")
        each = f"{inputs.mirrors_per_feature:,} {what}" + ("s" if inputs.mirrors_per_feature > 1 else "")
        table.add_row("inputs", f"{inputs.n_features_total:,} of the medium's own, {each} each, in line")
    by_mirror = ""
    if device.has_places:
        what = "Fourier stop" if device.fourier_stop.present else "lens"
        by_mirror = f": behind the {what} each {device.dmd.elements.removesuffix('s')} is a mode"
    table.add_row("resolution", device.resolution + (by_mirror if device.resolution == "auto" else ""))
    table.add_row("fingerprint", device.fingerprint()[:16])
    return table


def _value(device: Device, path: str, value: Any) -> str:
    """Return a value of a field with its unit."""
    from opusim.base.parameters import paths_in, plain_text

    about = paths_in(device).get(path)
    return plain_text(value) if about is None else about.text(value)


def _laser(laser: _Told) -> tuple[str, str]:
    bandwidth = laser.text("power_noise_bandwidth_hz")
    band = f"up to {bandwidth}" if laser.value("power_noise_bandwidth_hz") else "per frame"
    return "laser", (
        f"{laser.text('wavelength_m')}, {laser.text('power_w')} on the {laser.onto}; noise "
        f"{laser.text('power_noise')} rms {band}, drift {laser.text('power_drift_per_hour')}" + _light(laser)
    )


def _light(laser: _Told) -> str:
    """Say how wide a laser's line is and how far it tunes, and nothing of one that has one frequency."""
    told = ""
    if laser.stage.linewidth_hz:
        told += f"; a {laser.value('line')} line of {laser.text('linewidth_hz')}"
    if laser.stage.tuning_range_hz:
        told += f"; tunes by {laser.text('tuning_range_hz')} to either side"
    return told


def _mirrors(dmd: _Told) -> tuple[str, str]:
    height, width = (metres(length_m) for length_m in dmd.stage.size_m)
    return "mirrors", (
        f"{dmd.value('name')}: {dmd.text('shape')}, pitch {dmd.text('pitch_m')} on a {dmd.value('lattice')} lattice, "
        f"{height} x {width}, "
        f"contrast {dmd.text('contrast_ratio')} : 1, efficiency {dmd.text('efficiency')}" + _motion(dmd)
    )


def _phases(slm: _Told) -> tuple[str, str]:
    height, width = (metres(length_m) for length_m in slm.stage.size_m)
    turns = slm.value("range_turns")
    return "phase modulator", (
        f"{slm.value('name')}: {slm.text('shape')}, pitch {slm.text('pitch_m')}, {height} x {width}, "
        f"{slm.value('levels')} levels over {turns:g} turn{'' if turns == 1 else 's'}, fill factor "
        f"{slm.text('fill_factor')}, efficiency {slm.text('efficiency')}"
    )


def _motion(dmd: _Told) -> str:
    """Say how mirrors move, and nothing of mirrors that stand still."""
    warm = [dmd.text(name) for name in ("warm_up_loss", "warm_up_time_s", "creep_per_hour")]
    shaken = [dmd.text(name) for name in ("vibration_rad", "vibration_hz")]
    told = ""
    if dmd.value("warm_up_loss") or dmd.value("creep_per_hour"):
        told += f"; warm-up takes {warm[0]} of the speckle's correlation within {warm[1]}, and {warm[2]} after that"
    return told + (f"; tilted by up to {shaken[0]} at {shaken[1]}" if dmd.value("vibration_rad") else "")


def _medium(medium: _Told) -> tuple[str, str]:
    return "medium", f"{medium.value('kind')}: {medium.rest()}"


def _camera(camera: _Told) -> tuple[str, str]:
    bits = camera.text("bits")
    return "camera", (
        f"{camera.value('name')}: {camera.text('shape')}, pitch {camera.text('pixel_pitch_m')}, "
        f"{bits if camera.value('quantise') else 'float32, not rounded'}, "
        f"{camera.text('gain_dn_per_e')}, quantum efficiency {camera.text('quantum_efficiency')}, "
        f"full well {camera.text('full_well_e')}, read noise {camera.text('read_noise_e')}"
    )


def _operation(operation: _Told) -> tuple[str, str]:
    least = operation.value("minimum_output_size")
    return "region read", operation.value("opu_type") + (f", at least {least:,} pixels" if least else "")


def _reference(reference: _Told) -> tuple[str, str]:
    if reference.stage.relative_amplitude:
        return "reference arm", ""
    reference.rest()  # what there is not is not told
    return "reference arm", "none"


def _optics(optics: _Told) -> tuple[str, str]:
    if not optics.stage.by_lengths:
        optics.rest()  # lengths that have no effect are not told
        return "lenses", "magnification held: see the line of light"
    held, stop = optics.value("held"), optics.text("stop_diameter_m")
    stop = f"stop {stop}" if math.isfinite(optics.stage.stop_diameter_m) else "no stop"
    return "lenses", (
        f"{held} held: {optics.text('illumination_focal_m')} before the layer, {optics.text('focal_m')} behind it; "
        f"exit face {optics.text('exit_diameter_m')}, {stop}"
    )


def _fourier_stop(stop: _Told) -> tuple[str, str]:
    if not stop.stage.present:
        stop.rest()  # what there is not is not told
        return "Fourier stop", "none"
    return "Fourier stop", (
        f"{stop.value('shape')}, {stop.text('diameter_cycles')} wide at {stop.text('centre_cycles')}; each mirror is a "
        "mode"
    )


# What each stage is called, and how the best known of its fields are told; the rest follows from their description.
_STAGES: dict[str, Callable[[_Told], tuple[str, str]]] = {
    "laser": _laser, "dmd": _mirrors, "modulator": _phases, "medium": _medium, "camera": _camera,
    "operation": _operation, "reference": _reference, "optics": _optics, "fourier_stop": _fourier_stop,
}  # fmt: skip


def _budget_table(title: str, budget: NoiseBudget) -> Table:
    table = _table(title, "source", "from frame to frame", "DN rms", "share of variance")
    for column in table.columns[2:]:
        column.justify = "right"
    for term in sorted(budget.terms, key=lambda t: -t.variance_dn2):
        kind = "new" if term.kind == "temporal" else "the same"
        table.add_row(term.name, kind, f"{term.rms_dn:.3f}", percent(budget.share(term.name)))
    table.add_section()
    table.add_row("together", "new", f"{budget.rms_dn('temporal'):.3f}", "")
    table.add_row("together", "the same", f"{budget.rms_dn('fixed'):.3f}", "")
    return table
