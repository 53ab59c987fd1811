"""Whole spectrum of the layer on the grids of the presets against Marchenko and Pastur's law, for both planes.

    python benchmarks/spectrum.py                         # "auto" up to 131 000 x 131 000, and all mirrors
    python benchmarks/spectrum.py --sizes 4096 --mirrors  # smaller
    python benchmarks/spectrum.py --lossless              # a layer that does not depolarise, too

Lanczos' method (tests/support/spectrum.py): `--steps` steps from one random vector. Asked: largest singular value
within 3 % of the edge, KS distance below .02, smallest within 3 % where there are at most half as many inputs as
outputs (grids round to whole rows). Memory: `--steps` vectors of the shorter side, and a grid or two of the layer;
.6 GB for all mirrors of aurora. In "auto", grids are those of the default device for as many features and pixels; in
"mirrors" each mirror and each pixel of the preset is one.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the clone, for tests.support

import numpy as np

from opusim.bench.geometry import Geometry
from opusim.bench.region import Region, Roi
from opusim.device.medium import ModeGrid, PhaseScreenMedium
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout
from tests.support.spectrum import layer_spectrum

PLANES = ("middle screen", "exit face")


def auto_grid(device: Device, n_in: int, n_out: int) -> ModeGrid:
    """Grid of a preset for features and pixels, a mode each."""
    layout = MirrorLayout.lined(device.dmd.shape, n_in)
    sensor = device.camera.shape[1]
    rows = math.ceil(n_out / sensor)
    columns = math.ceil(n_out / rows)
    grid = Geometry.of(device, 0, layout, Region(Roi(0, 0, rows, columns), n_out, sensor), "auto").grid
    assert grid is not None
    return grid


def mirror_grid(device: Device) -> ModeGrid:
    """Grid of a preset where every mirror and every pixel is a mode."""
    rows, columns = device.camera.shape
    grid = Geometry.of(device, 0, None, Region(Roi(0, 0, rows, columns), rows * columns, columns), "mirrors").grid
    assert grid is not None
    return grid


def pass_ms(medium: PhaseScreenMedium, grid: ModeGrid, threads: int) -> tuple[float, float]:
    """Seconds to make the layer, and milliseconds of one pass: the best of several."""
    start = time.perf_counter()
    operator = medium.operator(grid, wavelength_m=532e-9, seed=0, workers=threads)
    made = time.perf_counter() - start
    x = np.ones((1, *grid.input_shape), dtype=np.complex64)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        operator.forward(x)
        times.append(time.perf_counter() - start)
    return made, 1e3 * min(times)


def main() -> None:
    """Print a row for each grid and plane."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", type=int, default=[1024, 4096, 16384, 32768, 131072])
    parser.add_argument("--mirrors", nargs="*", default=["aurora", "aurora-type1", "aurora-type3"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--lossless", action="store_true")
    args = parser.parse_args()
    aurora = Device.load("aurora")
    assert isinstance(aurora.medium, PhaseScreenMedium)
    cases: list[tuple[str, ModeGrid]] = []
    for n in args.sizes:
        cases += [
            (f"auto, {n:,}", auto_grid(aurora, n, n)),
            (f"auto, {n:,} to twice as many", auto_grid(aurora, n, 2 * n)),
        ]
    cases += [(f"mirrors, {name}", mirror_grid(Device.load(name))) for name in args.mirrors]
    media = {plane: dataclasses.replace(aurora.medium, depolarised_at=plane) for plane in PLANES}
    if args.lossless:
        media["lossless"] = dataclasses.replace(aurora.medium, depolarising=False)
    print(
        "| grid | inputs | outputs | side | depolarised at | largest / edge | smallest / edge | KS | made, s "
        "| pass, ms |"
    )
    print("|---" * 10 + "|")
    for name, grid in cases:
        for plane, medium in media.items():
            small = min(math.prod(grid.input_shape), math.prod(grid.output_shape))
            probes = max(1, -(-20_000 // small))
            found = [
                layer_spectrum(medium, grid, steps=args.steps, probes=probes, seed=seed, workers=args.threads)
                for seed in args.seeds
            ]
            made, ms = pass_ms(medium, grid, args.threads)
            columns = [
                " ".join(f"{value:.{digits}f}" for value in values) or "-"
                for values, digits in (
                    ([s.largest for s in found], 4), ([s.smallest for s in found if s.ratio < 0.55], 3),
                    ([s.distance for s in found], 4),
                )
            ]  # fmt: skip
            sizes = " | ".join(" x ".join(map(str, shape)) for shape in (grid.input_shape, grid.output_shape))
            print(
                f"| {name} | {sizes} | {grid.side} | {plane} | {' | '.join(columns)} | {made:.2f} | {ms:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
