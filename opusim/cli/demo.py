"""The command ``opusim demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .app import DeviceOption, SeedOption, _check_components, _folder_of, command, err, out, telling
from .tables import _level, _table, joules

_COMPONENTS = 3000


@command("demo", order=10)
def demo(
    target: Annotated[
        Path, typer.Option("--out", "-o", help="File for the figure; it is replaced if it is there.")
    ] = Path("opusim-demo.png"),
    device: DeviceOption = "aurora",
    components: Annotated[
        int | None,
        typer.Option(
            "--components",
            "-n",
            show_default=False,
            help=f"Outputs: camera pixels to read; {_COMPONENTS} by default, or as many as the device has.",
        ),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Project handwritten digits, train a classifier on the camera's counts, draw a figure. Needs no network."""
    if components is not None:
        _check_components(components)
    _folder_of(target)
    start = time.perf_counter()
    with err.status("Loading the simulation …") as status, telling(status):
        from opusim import plotting
        from opusim.drivers import OPU
        from opusim.tasks import digits_demo as demonstration

        with OPU(n_components=components or 1, device=device, seed=seed, disable_pbar=True) as opu:
            if components is None:
                opu.n_components = min(_COMPONENTS, opu.max_n_components)
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
    facts.add_row("device clock", f"{result.device_s:.2f} s and {joules(result.device_j)} for {result.frames} frames")
    facts.add_row("images simulated in", f"{result.wall_s:.2f} s")
    facts.add_row("whole run", f"{time.perf_counter() - start:.2f} s")
    out.print(facts)
    out.print(f"Figure: {target}", markup=False, soft_wrap=True)
