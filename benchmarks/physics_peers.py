"""Wavefront shaping by OpenWFS on a simulated bench, against its own theory.

    pip install -e ".[openwfs]"                                 # .ci/peers physics does it
    python benchmarks/physics_peers.py                          # some minutes
    python benchmarks/physics_peers.py --devices ideal --frames 1 --targets 100 --phases

OpenWFS (Vellekoop and others) knows nothing of this project: its algorithms show phases, read a detector and return the
transmission matrix. `opusim.adapters.openwfs` makes of the bench its modulator and its detector:

- Segments are macro-pixels. Mirrors, 16 x 16 segments, are on for phase 0 and off for phase pi, so that with two phase
  steps the reference of `StepwiseSequential` is the pattern with all segments on. A modulator of phases takes the
  nearest level; its 12 x 20 segments fill it, as light that no segment turns is in neither half of
  `FourierDualReference`.
- The detector reads pixels far apart on the sensor, each a target of its own: the mean of some frames of the device's
  exposure.

Each target gets the pattern of the phases -angle(t); its counts, less those of dark frames, are compared with the mean
over random patterns and over all pixels: mirrors with half of the segments on, phases even over a turn. Optimised
patterns are exposed for an eighth of the time (phases: a 32nd), so that nothing clips, for 32 frames each.

Theory on mirrors, n segments of equal light: choosing on and off gives 1 + (n/2 - 1)/pi (Akbulut et al., Opt. Express
19, 4017, 2011); as the phase is that of the reference, the sum over all segments, sqrt(n)/2 more, to leading order.
With unequal light a_j, as of a Gaussian beam, n is (sum a)^2 / sum a^2. Beside it a simulation in numpy of the
algorithm on i.i.d. rows, which has no leading orders: 49.2 for 256 segments.

Theory on phases: `FourierDualReference` steps plane waves on one half of the modulator against the other half, M of
them on each. Phases alone give 1 + pi/4 (n - 1) where all of a target's row is known (Vellekoop and Mosk, Opt. Lett.
32, 2309, 2007). Of random rows M waves of the n/2 that a half can show hold the share f = 2 M / n, and the rest adds
to no focus: 1 + pi/4 (n - 1) f. In numpy the same without leading orders: the row's part in these waves, its phases.

An ideal device that is far from its simulation ends in an error.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from openwfs.algorithms import FourierDualReference, StepwiseSequential

import opusim
from opusim import Device, OpticalBench
from opusim.adapters.instruments import Instruments
from opusim.adapters.openwfs import BenchCamera, BenchSLM, PixelTargets
from opusim.patterns.layout import MirrorLayout

SEGMENTS, PHASE_SEGMENTS = (16, 16), (12, 20)
FINAL_FRAMES = 32
N_RANDOM = 512
# Waves of at most so many turns from edge to edge, on a half of 12 x 10 segments.
K_RADIUS = 5.5


class Table:
    """A bench with its segments and its targets."""

    def __init__(self, device: str | Device, seed: int, n_targets: int, n_frames: int) -> None:
        self.bench = OpticalBench(device, seed)
        rows, columns = self.bench.sensor_shape
        self.segments = SEGMENTS if self.bench.level_turns is None else PHASE_SEGMENTS
        self.both = Instruments(
            self.bench,
            layout=MirrorLayout.macro_2d(self.bench.mirror_shape, self.segments),
            roi=(rows // 2, 0, 2, columns),
        )
        # Far apart, so that no two are in one grain.
        self.targets = np.stack(np.divmod(np.linspace(0, 2 * columns - 1, n_targets).astype(np.int64), columns), axis=1)
        self.slm = BenchSLM(self.both)
        self.detector = PixelTargets(BenchCamera(self.both, n_frames=n_frames), self.targets)
        self.turns_phases = self.both.level_turns is not None
        self.final_share = 1 / 32 if self.turns_phases else 1 / 8

    def enhancement(self, t: np.ndarray) -> np.ndarray:
        """Counts of each target under its own pattern, over the mean of random patterns and pixels.

        Of all pixels: what one gives on average over patterns with half of the segments on spreads by a half of it,
        with the light that all segments give there.
        """
        both, exposure_s = self.both, self.both.exposure_s
        both.exposure_s = exposure_s * self.final_share
        dark, focused = both.dark(64).mean(axis=0), np.empty(len(t))
        for k, (row, pixel) in enumerate(zip(t, self.targets, strict=True)):
            self.slm.set_phases(-np.angle(row))
            frames = both.snap(FINAL_FRAMES)
            focused[k] = frames[:, *pixel].mean(dtype=np.float64) - dark[*pixel]
        both.exposure_s = exposure_s
        rng = np.random.default_rng(1)
        if self.turns_phases:
            random = rng.random((N_RANDOM, *self.segments))
        else:
            half = np.repeat(np.array([[1, 0]], dtype=np.uint8), math.prod(self.segments) // 2, axis=1)
            random = rng.permuted(np.repeat(half, N_RANDOM, axis=0), axis=1).reshape(-1, *self.segments)
        level = both.snap_each(random).mean(dtype=np.float64) - both.dark(64).mean()
        result: np.ndarray = focused / self.final_share / level
        return result


def on_off_theory(n: float) -> float:
    """Enhancement for n segments, on and off, to leading order."""
    return 1 + (n / 2 - 1) / math.pi + math.sqrt(n) / 2


def phase_theory(n: float, n_waves: int) -> float:
    """Enhancement for n segments by phases of so many waves on each half, to leading order."""
    return 1 + math.pi / 4 * (n - 1) * 2 * n_waves / math.prod(PHASE_SEGMENTS)


def rows_of(amplitudes: np.ndarray, draws: int) -> np.ndarray:
    """I.i.d. rows, of which each segment's entry has its own power."""
    parts = np.random.default_rng(0).standard_normal((2, draws, amplitudes.size)) * amplitudes.ravel() / np.sqrt(2)
    result: np.ndarray = parts[0] + 1j * parts[1]
    return result


def on_off_simulated(amplitudes: np.ndarray, draws: int = 20_000) -> float:
    """`StepwiseSequential` on i.i.d. rows, in numpy: segments on whose absence takes light from the sum of all."""
    t = rows_of(amplitudes, draws)
    whole = t.sum(axis=1, keepdims=True)
    on = np.abs(whole) ** 2 > np.abs(whole - t) ** 2
    return float(np.mean(np.abs(np.sum(t * on, axis=1)) ** 2) / (np.sum(amplitudes**2) / 2))


def waves_of_a_half() -> np.ndarray:
    """Plane waves on one half, (waves, rows * columns / 2), each of norm 1: they are orthogonal."""
    rows, columns = PHASE_SEGMENTS[0], PHASE_SEGMENTS[1] // 2
    y, x = np.mgrid[:rows, :columns]
    # Whole turns along a half of the columns are twice as many from edge to edge of both.
    turns = [(a, b) for a in range(-5, 6) for b in range(-2, 3) if a**2 + (2 * b) ** 2 <= K_RADIUS**2]
    waves = [np.exp(2j * np.pi * (a * y / rows + b * x / columns)).ravel() for a, b in turns]
    result: np.ndarray = np.array(waves) / math.sqrt(y.size)
    return result


def phase_simulated(amplitudes: np.ndarray, draws: int = 20_000) -> float:
    """`FourierDualReference` on i.i.d. rows, in numpy: the phases of the part of each half in its waves."""
    t = rows_of(amplitudes, draws).reshape(draws, PHASE_SEGMENTS[0], 2, -1)
    halves = t.swapaxes(1, 2).reshape(draws, 2, -1)
    waves = waves_of_a_half()
    known = (halves @ waves.conj().T) @ waves
    focus = np.sum(halves * np.exp(-1j * np.angle(known)), axis=(1, 2))
    return float(np.mean(np.abs(focus) ** 2) / np.sum(amplitudes**2))


def amplitudes_of(table: Table) -> np.ndarray:
    """Root of the power of each segment under the beam, in numpy alone."""
    modulator: Any = table.bench.device.dmd
    layout = table.both.layout
    assert layout is not None
    factor, shape, (row, column) = layout.factor, modulator.shape, layout.roi_offset
    n_rows, n_columns = table.segments
    down, across = modulator.spacing_m
    y = ((np.arange(row, row + factor * n_rows) - (shape[0] - 1) / 2) * down)[:, None]
    x = (np.arange(column, column + factor * n_columns) - (shape[1] - 1) / 2) * across
    if modulator.lattice == "diamond":
        y = y + (np.arange(column, column + factor * n_columns) % 2 - 0.5) * down / 2
    power = np.exp(-2 * (y**2 + x**2) / modulator.beam_radius_m**2)
    cells = power.reshape(n_rows, factor, n_columns, factor).sum(axis=(1, 3))
    result: np.ndarray = np.sqrt(cells / cells.mean())
    return result


def stepwise(table: Table) -> Any:
    """Segment after segment, on and off."""
    return StepwiseSequential(table.detector, table.slm, phase_steps=2, n_x=table.segments[1], n_y=table.segments[0])


def fourier(table: Table) -> Any:
    """Plane waves on each half, by four phases against the other half."""
    return FourierDualReference(
        feedback=table.detector, slm=table.slm, slm_shape=table.segments, phase_steps=4, k_radius=K_RADIUS
    )


def row_of(
    name: str, device: str | Device, n_frames: int, args: argparse.Namespace, algorithm: Callable[[Table], Any]
) -> bool:
    """Print the enhancement on a device; return whether it is what the simulation says."""
    values, taken, start = [], 0, time.perf_counter()
    for seed in args.seeds:
        table = Table(device, seed, args.targets, n_frames)
        result = algorithm(table).execute()
        taken += table.bench.clock.frames
        # Targets come first, whatever its docstring says.
        values.append(table.enhancement(result.t.reshape(args.targets, *table.segments)))
    each = np.concatenate(values)
    error = each.std(ddof=1) / math.sqrt(each.size)
    lit = amplitudes_of(table)
    n = float(lit.sum() ** 2 / np.sum(lit**2))
    if table.turns_phases:
        leading, expected = phase_theory(n, len(waves_of_a_half())), phase_simulated(lit)
    else:
        leading, expected = on_off_theory(n), on_off_simulated(lit)
    print(
        f"| {name} | {n_frames} | {each.mean():.1f} ± {error:.1f} | {leading:.1f} | {expected:.1f} "
        f"| {taken:,} | {time.perf_counter() - start:.0f} |",
        flush=True,
    )
    return bool(abs(each.mean() - expected) <= 4 * error + 0.02 * expected)


def main() -> None:
    """Print the enhancement of each device at each number of frames a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", nargs="*", default=["ideal@1", "ideal", "aurora@1", "aurora"], help="of mirrors")
    parser.add_argument("--phases", nargs="*", default=["ngrc-bench"], help="of phases, ideal ones and as they are")
    parser.add_argument("--frames", nargs="+", type=int, default=[1, 16, 128])
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    far = []
    print(f"openwfs {version('openwfs')}, opusim {opusim.__version__}, numpy {np.__version__}")
    head = "| device | frames a step | enhancement | theory | numpy on i.i.d. rows | frames | s |\n" + "|---" * 7 + "|"
    if args.devices:
        print(f"StepwiseSequential, on and off\n{head}")
    for name in args.devices:
        is_ideal = name.startswith("ideal")
        for n_frames in args.frames[:1] if is_ideal else args.frames:
            if not row_of(name, name, n_frames, args, stepwise) and is_ideal:
                far.append(name)
    if args.phases:
        print(f"FourierDualReference\n{head}")
    for name in args.phases:
        device = Device.load(name)
        if not row_of(f"{name}, ideal", device.ideal(), args.frames[0], args, fourier):
            far.append(f"{name}, ideal")
        for n_frames in args.frames:
            row_of(name, device, n_frames, args, fourier)
    if far:
        raise SystemExit(f"Beyond four standard errors and 2 % (the mean level's own error): {', '.join(far)}.")


if __name__ == "__main__":
    main()
