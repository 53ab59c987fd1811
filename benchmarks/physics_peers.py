"""Wavefront shaping by OpenWFS on a simulated bench, against its own theory.

    pip install "openwfs[nidaq,opengl,zaber]==1.1.0"        # beside opusim; .ci/peers physics does it
    python benchmarks/physics_peers.py                      # about ten minutes
    python benchmarks/physics_peers.py --devices ideal --frames 1 --targets 100

OpenWFS (Vellekoop and others) knows nothing of this project: its `StepwiseSequential` shows a phase on one segment
after the other, reads a detector and returns the transmission matrix. The adapter below makes of the bench a phase
modulator of two phases and a detector of many pixels:

- 16 x 16 segments are macro-pixels of the mirrors; phase 0 is on, phase pi is off, so that with two phase steps the
  reference is the pattern with all segments on.
- The detector reads pixels far apart on the sensor, each a target of its own: the mean of some frames of 400 us.

OpenWFS's phases of the optimised wavefront, -angle(t), are then 0 or pi: the segments that are on are those that make
the target brighter. Each target gets its pattern; its counts, less those of dark frames, are compared with the mean
over random patterns with half of the segments on and over all pixels. Optimised patterns are exposed for an eighth of
the time, so that nothing clips, for 32 frames each.

Theory, n segments of equal light: choosing on and off gives 1 + (n/2 - 1)/pi (Akbulut et al., Opt. Express 19, 4017,
2011); as the phase is that of the reference, the sum over all segments, sqrt(n)/2 more, to leading order. With unequal
light a_j, as of a Gaussian beam, n is (sum a)^2 / sum a^2. Beside it a simulation in numpy of the algorithm on i.i.d.
rows, which has no leading orders: 49.2 for 256 segments. An ideal device that is far from it ends in an error.
"""

from __future__ import annotations

import argparse
import math
import time
from importlib.metadata import version
from typing import Any

import astropy.units as u
import numpy as np
from openwfs.algorithms import StepwiseSequential
from openwfs.core import Detector, PhaseSLM

import opusim
from opusim import OpticalBench
from opusim.device.dmd import Dmd
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

EXPOSURE_S = 400e-6
SEGMENTS = 16
FINAL_FRAMES, FINAL_SHARE = 32, 1 / 8
N_RANDOM = 512


class MirrorsAsPhases(PhaseSLM):
    """Macro-pixels as segments of two phases: on for a positive cosine, off for a negative one."""

    def __init__(self, n: int) -> None:
        self.bits = np.ones(n * n, dtype=np.uint8)

    def set_phases(self, values: Any, update: bool = True) -> None:
        """Take phases in radians, (rows, columns)."""
        self.bits = (np.cos(np.asarray(values, dtype=np.float64)) > 0).astype(np.uint8).ravel()

    def update(self) -> None:
        """Nothing to do: the bench shows the bits when it takes a frame."""


class Pixels(Detector):
    """The mean of some frames on chosen pixels."""

    def __init__(self, table: Table, slm: MirrorsAsPhases, n_frames: int) -> None:
        # Not in a thread of its own: the bench shows what the modulator holds when the detector is read.
        super().__init__(
            data_shape=(len(table.targets),), pixel_size=None, duration=0 * u.ms, latency=0 * u.ms, multi_threaded=False
        )
        self._table, self._slm, self._n_frames = table, slm, n_frames

    def _fetch(self) -> np.ndarray:
        bits = np.repeat(self._slm.bits[None], self._n_frames, axis=0)
        result: np.ndarray = self._table.frames(bits)[:, self._table.targets].mean(axis=0, dtype=np.float64)
        return result


class Table:
    """A bench with its segments and its targets."""

    def __init__(self, name: str, seed: int, n_targets: int) -> None:
        self.bench = OpticalBench(name, seed)
        shape = self.bench.mirror_shape
        self.layout = MirrorLayout.macro_2d(shape, (SEGMENTS, SEGMENTS))
        rows, columns = self.bench.sensor_shape
        self.roi = (rows // 2, 0, 2, columns)
        # Far apart, so that no two are in one grain.
        self.targets = np.linspace(0, 2 * columns - 1, n_targets).astype(np.int64)

    def frames(self, bits: np.ndarray, exposure_s: float = EXPOSURE_S) -> np.ndarray:
        """Counts of all pixels of the region for patterns, (patterns, pixels)."""
        return self.bench.transform(
            MirrorPatterns(bits, self.layout), exposure_s=exposure_s, roi=self.roi, n_pixels=2 * self.roi[3]
        )

    def dark(self, exposure_s: float) -> np.ndarray:
        """Mean of 64 dark frames, (pixels,)."""
        frames = self.bench.expose(None, exposure_s=exposure_s, roi=self.roi, n_frames=64)
        result: np.ndarray = frames.reshape(64, -1).mean(axis=0)
        return result

    def enhancement(self, bits: np.ndarray) -> np.ndarray:
        """Counts of each target under its own pattern, over the mean of random patterns and pixels.

        Of all pixels: what one gives on average over patterns with half of the segments on spreads by a half of it,
        with the light that all segments give there.
        """
        short = EXPOSURE_S * FINAL_SHARE
        dark, focused = self.dark(short), np.empty(len(bits))
        for k, (pattern, pixel) in enumerate(zip(bits, self.targets, strict=True)):
            frames = self.frames(np.repeat(pattern[None], FINAL_FRAMES, axis=0), short)
            focused[k] = frames[:, pixel].mean(dtype=np.float64) - dark[pixel]
        random = np.zeros((N_RANDOM, SEGMENTS**2), dtype=np.uint8)
        random[:, : SEGMENTS**2 // 2] = 1
        random = np.random.default_rng(1).permuted(random, axis=1)
        level = self.frames(random).mean(dtype=np.float64) - self.dark(EXPOSURE_S).mean()
        result: np.ndarray = focused / FINAL_SHARE / level
        return result


def theory(n: float) -> float:
    """Enhancement for n segments, to leading order."""
    return 1 + (n / 2 - 1) / math.pi + math.sqrt(n) / 2


def simulated(amplitudes: np.ndarray, draws: int = 20_000) -> float:
    """The same algorithm on i.i.d. rows, in numpy: segments on whose absence takes light from the sum of all."""
    rng = np.random.default_rng(0)
    t = rng.standard_normal((2, draws, amplitudes.size)) * amplitudes.ravel() / np.sqrt(2)
    t = t[0] + 1j * t[1]
    whole = t.sum(axis=1, keepdims=True)
    on = np.abs(whole) ** 2 > np.abs(whole - t) ** 2
    return float(np.mean(np.abs(np.sum(t * on, axis=1)) ** 2) / (np.sum(amplitudes**2) / 2))


def amplitudes_of(table: Table) -> np.ndarray:
    """Root of the power of each segment under the beam, in numpy alone."""
    dmd: Dmd = table.bench.device.dmd
    size = table.layout.factor * SEGMENTS
    shape, (row, column) = dmd.shape, table.layout.roi_offset
    down, across = dmd.spacing_m
    y = ((np.arange(row, row + size) - (shape[0] - 1) / 2) * down)[:, None]
    x = (np.arange(column, column + size) - (shape[1] - 1) / 2) * across
    if dmd.lattice == "diamond":
        y = y + (np.arange(column, column + size) % 2 - 0.5) * down / 2
    power = np.exp(-2 * (y**2 + x**2) / dmd.beam_radius_m**2)
    cells = power.reshape(SEGMENTS, table.layout.factor, SEGMENTS, table.layout.factor).sum(axis=(1, 3))
    result: np.ndarray = np.sqrt(cells / cells.mean())
    return result


def main() -> None:
    """Print the enhancement of each device at each number of frames a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", nargs="+", default=["ideal@1", "ideal", "aurora@1", "aurora"])
    parser.add_argument("--frames", nargs="+", type=int, default=[1, 16, 128])
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    far = []
    print(f"openwfs {version('openwfs')}, opusim {opusim.__version__}, numpy {np.__version__}")
    print("| device | frames a step | enhancement | theory | numpy on i.i.d. rows | frames | s |\n" + "|---" * 7 + "|")
    for name in args.devices:
        for n_frames in args.frames if not name.startswith("ideal") else args.frames[:1]:
            values, taken, start = [], 0, time.perf_counter()
            for seed in args.seeds:
                table = Table(name, seed, args.targets)
                slm = MirrorsAsPhases(SEGMENTS)
                detector = Pixels(table, slm, n_frames)
                result = StepwiseSequential(detector, slm, phase_steps=2, n_x=SEGMENTS, n_y=SEGMENTS).execute()
                taken += table.bench.clock.frames
                t = result.t.reshape(args.targets, -1)  # targets come first, whatever its docstring says
                bits = np.empty((args.targets, SEGMENTS**2), dtype=np.uint8)
                for k, row in enumerate(t):
                    slm.set_phases(-np.angle(row))
                    bits[k] = slm.bits
                values.append(table.enhancement(bits))
            each = np.concatenate(values)
            error = each.std(ddof=1) / math.sqrt(each.size)
            lit = amplitudes_of(table)
            n = float(lit.sum() ** 2 / np.sum(lit**2))
            expected = simulated(lit)
            if name.startswith("ideal") and abs(each.mean() - expected) > 4 * error + 0.02 * expected:
                far.append(name)
            print(
                f"| {name} | {n_frames} | {each.mean():.1f} ± {error:.1f} | {theory(n):.1f} | {expected:.1f} "
                f"| {taken:,} | {time.perf_counter() - start:.0f} |",
                flush=True,
            )
    if far:
        raise SystemExit(f"Beyond four standard errors and 2 % (the mean level's own error): {', '.join(far)}.")


if __name__ == "__main__":
    main()
