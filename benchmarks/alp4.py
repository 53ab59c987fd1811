"""What the stand-in for ALP4lib takes: upload, start, and frames of macro-mirrors, beside `OPU.transform` of the same.

    python benchmarks/alp4.py                                # some minutes, 7 GB
    python benchmarks/alp4.py --patterns 2000 --outputs 1000 --threads 1

A sequence of random patterns of 256 x 256 macro-mirrors on a DLP7000: 3 x 3 mirrors each, 768 x 768 in the middle.
They are uploaded packed (ALP_DATA_BINARY_TOPDOWN, 96 KiB a pattern), in parts of some hundred as a program would that
draws them; drawing is not counted. Frames are read from a region of as many pixels as outputs. The first run finds the
blocks and makes the matrix; a second run of the same sequence has both. `OPU.transform` takes the same features, on a
device of the same kind whose matrix is made too.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np

import opusim.drivers
from opusim import OPU, OpticalBench
from opusim.adapters.alp4 import AlpCamera, use
from opusim.bench.region import Roi
from opusim.drivers.compat.alp4.table import bench_from_environment, table

PART = 500
SIDE = 256


def drawn(k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 65 536) of random patterns, and their mirrors packed as a program hands them to SeqPut."""
    small = np.random.default_rng(k).integers(0, 2, (n, SIDE, SIDE), dtype=np.uint8)
    row = np.zeros((n, SIDE, 1024), dtype=np.uint8)
    row[:, :, 128:896] = np.repeat(small, 3, axis=2)
    return small.reshape(n, -1), np.repeat(np.packbits(row, axis=2), 3, axis=1).ravel()


def timed(call: Any) -> np.ndarray:
    """Seconds of a call, on the wall and of processors: where others want these too, the second tells more."""
    start = np.array([time.perf_counter(), time.process_time()])
    call()
    return np.array([time.perf_counter(), time.process_time()]) - start


def measure(n: int, n_outputs: int, threads: int) -> str:
    """One line of the table: milliseconds a pattern."""
    import ALP4

    model = bench_from_environment("DLP7000")
    bench = use(OpticalBench(model.device, 0, threads=threads))
    rows, columns = bench.sensor_shape
    n_rows = -(-n_outputs // columns) if n_outputs > columns else 20
    roi = Roi(rows // 2, 0, n_rows, columns if n_outputs > columns else n_outputs // n_rows)
    dmd = ALP4.ALP4()
    dmd.Initialize()
    sequence = dmd.SeqAlloc(nbImg=n, bitDepth=1)
    dmd.SeqControl(ALP4.ALP_DATA_FORMAT, ALP4.ALP_DATA_BINARY_TOPDOWN)
    dmd.SeqControl(ALP4.ALP_BIN_MODE, ALP4.ALP_BIN_UNINTERRUPTED)
    dmd.SetTiming(pictureTime=1000)
    dmd.SeqPut(drawn(0, 2)[1], PicOffset=0, PicLoad=2)  # kernels are loaded
    upload = np.zeros(2)
    features = np.empty((n, SIDE * SIDE), dtype=np.uint8)
    for first in range(0, n, PART):
        stop = min(n, first + PART)
        features[first:stop], mirrors = drawn(first, stop - first)
        put = lambda m=mirrors, a=first, b=stop: dmd.SeqPut(m, PicOffset=a, PicLoad=b - a)  # noqa: E731
        upload += timed(put)
    camera = AlpCamera(roi=roi, exposure_s=400e-6)
    camera.arm(n)
    start = timed(lambda: dmd.Run(sequence, loop=False))
    first_s = timed(camera.frames)
    again = []
    for _ in range(2):
        camera.arm(n)
        dmd.Run(sequence, loop=False)
        again.append(timed(camera.frames))
    layout = table().grid.layout
    assert layout is not None and layout.n_features == (SIDE, SIDE)
    dmd.Wait()
    dmd.FreeSeq(sequence)
    dmd.Free()
    del camera, bench
    use(OpticalBench(model.device, 1, threads=threads))  # lets the matrix go
    opu_bench = OpticalBench(model.device, 0, threads=threads)
    with OPU(n_outputs, opu_device=opusim.drivers.OpuDevice(bench=opu_bench)) as opu:
        images = features.reshape(-1, SIDE, SIDE)
        opu.fit2d(images[:1])
        opu.transform(images[:2])
        other = [timed(lambda: opu.transform(images)) for _ in range(2)]
    again_s, other_s = np.min(again, axis=0), np.min(other, axis=0)
    cells = [
        " / ".join(f"{1e3 * each / n:.3g}" for each in seconds)
        for seconds in (upload + start, first_s, again_s, other_s)
    ]
    ratio = " / ".join(f"{each:.2f}" for each in again_s / other_s)
    return f"| {n_outputs:,} | {threads} | {' | '.join(cells)} | {ratio} |"


def main() -> None:
    """Print a line for each number of outputs and of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patterns", type=int, default=10_000)
    parser.add_argument("--outputs", nargs="+", type=int, default=[1000, 10_000])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    opusim.drivers.install()
    print(f"opusim {opusim.__version__}, numpy {np.__version__}, {args.patterns:,} patterns")
    print("ms a pattern, on the wall / of processors")
    print("| outputs | threads | upload and start | first run | second run | OPU.transform | second run over it |")
    print("|---" * 7 + "|")
    for n_outputs in args.outputs:
        for threads in args.threads:
            print(measure(args.patterns, n_outputs, threads), flush=True)


if __name__ == "__main__":
    main()
