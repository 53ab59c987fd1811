"""The command ``opusim info``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from .app import _load_device, command, out
from .tables import _level, _percent, _table

if TYPE_CHECKING:
    from rich.table import Table

    from opusim.device.record import Device
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
    facts.add_row("power", model.operation.text("power_w"))
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
        f"{laser.text('wavelength_m')}, {laser.text('power_w')} on the mirrors; noise "
        f"{laser.text('power_noise')} rms per frame, drift {laser.text('power_drift_per_hour')}",
    )
    table.add_row(
        "mirrors",
        f"{dmd.name}: {dmd.shape[0]} x {dmd.shape[1]}, pitch {dmd.text('pitch_m')}, "
        f"contrast {dmd.contrast_ratio:g} : 1, efficiency {dmd.efficiency:g}",
    )
    medium = ((key, value) for key, value in device.to_dict()["medium"].items() if key != "kind")
    words = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in medium)
    table.add_row("medium", f"{device.medium.kind}: {words}")
    table.add_row(
        "camera",
        f"{camera.name}: {camera.shape[0]} x {camera.shape[1]}, pitch {camera.text('pixel_pitch_m')}, "
        f"{camera.text('bits') if camera.quantise else 'float32, not rounded'}, "
        f"{camera.text('gain_dn_per_e')}, quantum efficiency {camera.text('quantum_efficiency')}, "
        f"full well {camera.text('full_well_e')}, read noise {camera.text('read_noise_e')}",
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
