"""MNIST accuracy against what the camera, the exposure, the pixels and the medium are, a curve for each.

    OPUSIM_DATA=<folder with mnist.npz> python benchmarks/noise_vs_accuracy.py --folder FOLDER [--workers 2]
    python benchmarks/noise_vs_accuracy.py --folder FOLDER --dataset digits --train 0 --test 0 --components 300 --short

A ridge classifier on the counts of the default device (`opusim.sweep.KernelRidge`), one parameter varied at a time, the
others at the device's own values. Each curve is a sweep of its own in the folder: a run that was stopped goes on where
it was, and `opusim report FOLDER/bits.h5` tells it all. The figure shows all curves.

Told for each: where the mean accuracy over the seeds falls 0.5 points below the best of the curve, on either side,
interpolated between neighbouring points. Every seed has a medium, noise and images of its own, the same for all values.

- bits: `adc.bits`, the full scale kept, at the device's own mean level (.018) and at a tenth and a fifth of full scale.
- level: `exposure.mean_level`, mean count above black as a share of full scale.
- read: `camera.read_noise_e`; the mean signal of the device is about 115 electrons.
- exposure: `exposure_s`.
- pixel: `camera.pixel_over_grain`, the width of a pixel over that of a speckle grain.
- decorrelation: `medium.decorrelation_time_s`, with an hour between the training images and the test images.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from opusim import OPU, Device, plotting
from opusim.sweep import KernelRidge, Sweep, SweepResult, falls_at, sweep_curves

HOUR_S = 3600.0
DROP = 0.005
# What is varied for each curve: the long list, and the short one for a trial run.
CURVES: dict[str, tuple[dict[str, list[float]], dict[str, list[float]]]] = {
    "bits": (
        {"exposure.mean_level": [0.018, 0.1, 0.2], "adc.bits": [2, 3, 4, 5, 6, 7, 8, 10, 12]},
        {"exposure.mean_level": [0.018, 0.2], "adc.bits": [2, 5, 8]},
    ),
    "level": (
        {"exposure.mean_level": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8]},
        {"exposure.mean_level": [0.005, 0.05, 0.5]},
    ),
    "read": (
        {"camera.read_noise_e": [0, 13, 25, 50, 75, 100, 150, 200, 400, 800]},
        {"camera.read_noise_e": [13, 100, 800]},
    ),
    "exposure": (
        {"exposure_s": [20e-6, 50e-6, 100e-6, 200e-6, 400e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3]},
        {"exposure_s": [50e-6, 400e-6, 5e-3]},
    ),
    "pixel": (
        {"camera.pixel_over_grain": [0, 0.25, 0.5, 1, 1.5, 2, 3]},
        {"camera.pixel_over_grain": [0, 0.5, 1]},
    ),
    "decorrelation": (
        {"medium.decorrelation_time_s": [1e3, 2e3, 3.6e3, 5e3, 7.2e3, 1e4, 2e4, 4e4, 86400, 1e6]},
        {"medium.decorrelation_time_s": [2e3, 1e4, 86400]},
    ),
}


def make_opu(device: Device, n_components: int, seed: int, execution: str = "auto") -> Any:
    return OPU(n_components, device=device, seed=seed, execution=execution, disable_pbar=True)


def run(name: str, options: argparse.Namespace) -> SweepResult:
    """Run one curve, or what is missing of it."""
    task = KernelRidge(
        options.dataset, n_train=options.train, n_test=options.test, pause_s=HOUR_S * (name == "decorrelation")
    )
    # Pixels with many samples go by waves, one image at a time, unless the matrix is asked for.
    maker = functools.partial(make_opu, execution="matrix") if name == "pixel" else make_opu
    # The pixels' width in grains is a field where the magnification is held.
    device = Device.load(options.device).remagnified() if name == "pixel" else options.device
    sweep = Sweep(
        task, maker, CURVES[name][options.short], device=device, n_components=options.components,
        seeds=options.seeds,
    )  # fmt: skip
    return sweep.run(options.folder / f"{name}.h5", workers=options.workers, dask=options.dask, progress=True)


def own_value(name: str, result: SweepResult, device: Device) -> float:
    """What the device itself has of the parameter of a curve; NaN for the level, which no field says."""
    path = result.axes[-1].path
    if path.startswith("exposure.mean"):
        return math.nan
    stage, field = ("camera", "bits") if path == "adc.bits" else path.split(".")
    return float(getattr(getattr(device, stage), field))


def branches(result: SweepResult) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, parameter and accuracies (values, seeds) of each line of a curve."""
    x, grid = np.array(result.axes[-1].values, dtype=float), result.grid("accuracy")
    if len(result.axes) == 1:
        return [("", x, grid)]
    return [(f"level {value:g}", x, grid[i]) for i, value in enumerate(result.axes[0].values)]


def tell(name: str, result: SweepResult, device: Device) -> list[float]:
    """Print a curve; return where it falls by DROP."""
    own = own_value(name, result, device)
    path = result.axes[-1].path
    print(f"\n{name}: {path}" + ("" if math.isnan(own) else f" (the device's own: {own:g})"))
    places: list[float] = []
    for line, x, accuracy in branches(result):
        mean = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in accuracy])
        sd = np.array([row.std(ddof=1) if len(row) > 1 else np.nan for row in accuracy])
        for value, m, s in zip(x, mean, sd, strict=True):
            print(f"  {line:12s} {value:10.4g}  {100 * m:6.2f} %" + ("" if math.isnan(s) else f"  sd {100 * s:.2f}"))
        if not np.isfinite(mean).any():
            continue
        left, right = falls_at(x, mean, DROP)
        best = int(np.nanargmax(mean))
        said = [f"below {left:.3g}"] * math.isfinite(left) + [f"above {right:.3g}"] * math.isfinite(right)
        print(
            f"  {line:12s} best {100 * mean[best]:.2f} % at {x[best]:g}; 0.5 points less "
            f"{' and '.join(said) or 'nowhere in this range'}"
        )
        places += [p for p in (left, right) if math.isfinite(p)]
    if result.n_failed:
        print(f"  {result.n_failed} points failed: opusim report tells them")
    return places


def draw(curves: dict[str, tuple[SweepResult, list[float]]], device: Device, path: Path, title: str) -> None:
    with matplotlib.rc_context(plotting.STYLE):
        columns = min(3, len(curves))
        rows = math.ceil(len(curves) / columns)
        figure = Figure(figsize=(4.6 * columns, 3.9 * rows), layout="constrained")
        for ax, (name, (result, places)) in zip(figure.subplots(rows, columns, squeeze=False).flat, curves.items()):  # noqa: B905
            sweep_curves(result, "accuracy", ax=ax)
            ax.set_title(name)
            own = own_value(name, result, device)
            low, high = ax.get_xlim()
            if low <= own <= high:
                ax.axvline(own, color=plotting.INK, lw=0.8, ls="-", alpha=0.5)
                ax.annotate("own", (own, 1), xycoords=("data", "axes fraction"), xytext=(2, -9),
                            textcoords="offset points", fontsize=8)  # fmt: skip
            for place in places:
                ax.axvline(place, color=plotting.ACCENT, lw=1.0, ls=":")
        figure.suptitle(f"{title}; dotted: 0.5 points below the best")
        plotting.save(figure, path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for the sweeps and the figure")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--train", type=int, default=10_000, help="training images, 0 for all")
    parser.add_argument("--test", type=int, default=10_000, help="test images, 0 for all")
    parser.add_argument("--components", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="aurora")
    parser.add_argument("--only", choices=tuple(CURVES), nargs="+", default=list(CURVES))
    parser.add_argument("--short", action="store_true", help="three values of each")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--dask", default=None)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    device, start = Device.load(options.device), time.perf_counter()
    curves = {}
    for name in options.only:
        result = run(name, options)
        curves[name] = result, tell(name, result, device)
    size = f"{options.dataset}, {options.train or 'all'} to train, {options.components} outputs, {options.seeds} seeds"
    figure = options.folder / "noise_vs_accuracy.png"
    draw(curves, device, figure, f"{size}, device {device.name}")
    print(f"\n{size}: {time.perf_counter() - start:.0f} s for what was missing; figure {figure}")


if __name__ == "__main__":
    main()
