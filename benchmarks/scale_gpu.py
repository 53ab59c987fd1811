"""The part of `scale.py --gpu`: the published sizes on a GPU, against its memory bandwidth and against the CPU."""

from __future__ import annotations

import argparse
import importlib
import statistics
import warnings
from typing import Any

import numpy as np
from scale_common import fitted
from throughput import interleaved

from opusim.patterns.layout import MirrorPatterns

FEATURES, LINEAR_OUTPUTS, OUTPUTS = 1_000_000, 300_000, 2_000_000
BATCH, STEPS = 64, 4
HARDWARE_MS = 1.25
MOST_APART = 1e-4  # share of pixels whose counts may differ from the CPU's, by one grey level


def found() -> Any:
    """Return torch if it finds a GPU; end with a sentence otherwise."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        lacking = "scale.py --gpu: torch is not installed (pip install 'opusim[torch]'): nothing is measured."
        raise SystemExit(lacking) from None
    if not torch.cuda.is_available():
        raise SystemExit("scale.py --gpu: torch finds no CUDA GPU here: nothing is measured.")
    return torch


def bandwidth(torch: Any, rounds: int) -> float:
    """Bytes a second that a copy within the GPU's memory reads and writes."""
    source = torch.ones(1 << 28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(10):
            target.copy_(source)
        torch.cuda.synchronize()

    times = interleaved(rounds, copy=copy)["copy"]
    return 20 * source.numel() * 4 / statistics.median(times)


def moved_bytes(opu: Any, n_out: int, steps: int) -> float:
    """Bytes that one vector moves by unpruned, unfused transforms.

    Every transform reads and writes its grid once an axis, and the products ride along. The camera reads the field
    once for all frames of a vector, with the reference arm that too, and each frame writes a byte a pixel. Transforms
    that leave out what is dark, or that are fused with the products, move less.
    """
    from opusim.drivers import workload as rules

    projector = rules.projector_of(opu, rules.workload(opu, 1), threads=1)
    passes = 2 * projector.way.showing(1).transforms
    light = n_out * (8 * projector.plan.samples * (2 if steps > 1 else 1) + steps)
    return passes * 16 * projector.plan.side**2 + light


def agreement(torch: Any) -> None:
    """Counts of the GPU against the CPU's: how many pixels differ, and by how much."""
    print("\n| outputs | vectors | pixels that differ | by at most | asked | |\n| --- | --- | --- | --- | --- | --- |")
    for n_out, n in ((LINEAR_OUTPUTS, 16), (OUTPUTS, 4)):
        bits = np.random.default_rng(1).integers(0, 2, (n, FEATURES), dtype=np.uint8)
        on_cpu = np.asarray(fitted(FEATURES, n_out, backend="numpy").transform(bits)).astype(np.int64)
        on_gpu = fitted(FEATURES, n_out, backend="torch:cuda").transform(torch.from_numpy(bits).to("cuda"))
        apart = np.abs(on_gpu.cpu().numpy().astype(np.int64) - on_cpu)
        share = np.mean(apart > 0)
        verdict = _verdict(share <= MOST_APART and apart.max() <= 1)
        print(f"| {n_out:,} | {n} | {share:.2e} | {apart.max()} | <= {MOST_APART:g}, one grey level | {verdict} |")


def _verdict(met: bool) -> str:
    return "PASS" if met else "FAIL"


def run(options: argparse.Namespace) -> None:
    """Print the tables."""
    torch, rounds = found(), options.rounds
    warnings.simplefilter("ignore")
    name, rate = torch.cuda.get_device_name(0), bandwidth(torch, rounds)
    print(f"GPU: {name}; a copy within its memory moves {rate / 1e9:.0f} GB/s; torch {torch.__version__}")
    linear, plain = (fitted(FEATURES, n_out, backend="torch:cuda") for n_out in (LINEAR_OUTPUTS, OUTPUTS))
    bench, exposure = linear.bench, linear.device.exposure()
    phases = np.arange(STEPS) * 2 * np.pi / STEPS
    x = torch.randint(0, 2, (BATCH, FEATURES), dtype=torch.uint8, device="cuda",
                      generator=torch.Generator("cuda").manual_seed(0))  # fmt: skip
    patterns = MirrorPatterns(x, linear._fit.layout)
    linear.calibrate(steps=STEPS, store=False)

    def frames() -> None:
        bench.transform(
            patterns, exposure_s=exposure.exposure_us / 1e6, roi=exposure.bench_roi, n_pixels=LINEAR_OUTPUTS,
            reference_phase_rad=phases,
        )  # fmt: skip
        torch.cuda.synchronize()

    def transform(call: Any) -> None:
        call(x)
        torch.cuda.synchronize()

    times = interleaved(
        rounds, frames=frames, linear=lambda: transform(linear.linear_transform),
        counts=lambda: transform(plain.transform),
    )  # fmt: skip
    rows = (
        ("frames", f"{FEATURES:,} -> {LINEAR_OUTPUTS:,}, {STEPS} frames a vector", linear, LINEAR_OUTPUTS, STEPS),
        ("linear", "the same as linear_transform: anchors, demodulation", linear, LINEAR_OUTPUTS, STEPS),
        ("counts", f"{FEATURES:,} -> {OUTPUTS:,}, one frame a vector", plain, OUTPUTS, 1),
    )
    print(f"\nAll noise, batch of {BATCH}, seed 0, medians of {rounds} interleaved rounds\n")
    print("| | ms a vector | share of the bandwidth, unpruned and unfused | asked | |\n| --- | --- | --- | --- | --- |")
    for key, what, opu, n_out, steps in rows:
        each = [1e3 * t / BATCH for t in times[key]]
        share = 1e3 * moved_bytes(opu, n_out, steps) / rate / statistics.median(each)
        asked = f"<= {HARDWARE_MS} ms" if steps > 1 else ""
        verdict = _verdict(statistics.median(each) <= HARDWARE_MS) if asked else ""
        print(f"| {what} | {statistics.median(each):.3f} ({min(each):.3f} - {max(each):.3f}) | {100 * share:.0f} % "
              f"| {asked} | {verdict} |")  # fmt: skip
    print(f"Memory of the GPU at most {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB by torch.")
    agreement(torch)
