"""Randomised linear algebra by the linear transform: trace, triangles, singular values (lightonml's own examples).

    python benchmarks/linear_algebra.py opusim [--seeds 5] [--size 2000] [--mode intensity] [--frames 5]
        [--device aurora@1]
    PYTHONPATH=FOLDER/lightonml-1.4.3 FOLDER/bin/python benchmarks/linear_algebra.py lightonml

The first through `opusim.OPU`, the second through the real lightonml on our lightonopu (in the environment that
`.ci/contract-environment FOLDER PYTHON` makes), which knows intensities alone. `--frames` are those of a
vector by intensities, by default those of the preset. Real matrices go bit plane by bit plane: SeparatedBitPlanEncoder
and SeparatedBitPlanDecoder. Beside each device stands an ideal sketch, a matrix of normal numbers, in double precision.

What the real device printed, each once, and what an ideal sketch gives on average:

- trace of A = U(0, 1) by Hutchinson's estimate, m = 200: relative error 0.05; ideal mean 0.09, sd 0.06.
- triangles tr(A^3) / 6 of a Barabasi-Albert graph (2000, 500), m = 200: relative error 0.34; ideal mean 0.27.
- randomised singular values of A = N(0, 1), rank 1000, two power iterations: |A - A'| / |A| = 0.351; ideal 0.342, and
  0.326 for the best approximation of that rank.

Sources: the notebook randomized_linear_algebra of lightonml; Hesslow et al., arXiv:2104.14429.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Sketch = Callable[[np.ndarray], np.ndarray]  # (rows, n) -> (rows, m)


def barabasi_albert(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Adjacency matrix of a graph that grows: each new node takes k neighbours, by their number of neighbours.

    As in networkx: it starts from a star of k + 1 nodes. float64 0/1, (n, n).
    """
    adjacency = np.zeros((n, n))
    ends = np.empty(2 * k * (n - k), dtype=np.int64)  # each node as often as it has neighbours
    adjacency[0, 1 : k + 1] = adjacency[1 : k + 1, 0] = 1
    ends[:k], ends[k : 2 * k] = 0, np.arange(1, k + 1)
    used = 2 * k
    for node in range(k + 1, n):
        chosen: set[int] = set()
        while len(chosen) < k:
            chosen.update(int(e) for e in rng.choice(ends[:used], k - len(chosen)))
        others = np.fromiter(chosen, dtype=np.int64)
        adjacency[node, others] = adjacency[others, node] = 1
        ends[used : used + k], ends[used + k : used + 2 * k] = others, node
        used += 2 * k
    return adjacency


def ideal(n: int, m: int, seed: int) -> Sketch:
    """A sketch by a stored matrix of normal numbers of variance 1 / m."""
    matrix = np.random.default_rng([seed, n, m]).normal(size=(n, m)) / np.sqrt(m)
    return lambda x: x @ matrix


def device(
    kind: str, n: int, m: int, seed: int, mode: str = "auto", frames: int | None = None, preset: str = "aurora"
) -> tuple[Sketch, Any]:
    """A sketch by the linear transform of an OPU, and the OPU; variance 1 / m by rescale="norm"."""
    opu: Any
    if kind == "opusim":
        from opusim import OPU
        from opusim.device.record import Device
        from opusim.encoding import SeparatedBitPlanDecoder, SeparatedBitPlanEncoder

        model = Device.load(preset)
        if frames is not None:
            model = model.evolve(**{"operation.frames_per_vector": frames})
        opu = OPU(m, device=model, seed=seed, rescale="norm", disable_pbar=True, linear_mode=mode)
    else:
        vars(np).setdefault("float", float)  # lightonml's encoders were written before numpy 1.24
        os.environ["OPUSIM_SEED"] = str(seed)
        os.environ["OPUSIM_DEVICE"] = preset
        if frames is not None:
            path = Path(tempfile.gettempdir()) / f"{preset}-{frames}-frames.toml"
            path.write_text(f'preset = "{preset}"\n[operation]\nframes_per_vector = {frames}\n')
            os.environ["OPUSIM_DEVICE"] = str(path)
        from lightonml import OPU
        from lightonml.encoding.base import SeparatedBitPlanDecoder, SeparatedBitPlanEncoder

        opu = OPU(m, rescale="norm", disable_pbar=True)
    opu.fit1d(n_features=n)

    def sketch(x: np.ndarray) -> np.ndarray:
        y = opu.linear_transform(x, encoder_cls=SeparatedBitPlanEncoder, decoder_cls=SeparatedBitPlanDecoder)
        return np.asarray(y, dtype=float)

    return sketch, opu


def both_sides(a: np.ndarray, sketch: Sketch) -> np.ndarray:
    """R^T A R for the sketch x -> x R, by two passes: (m, m)."""
    return sketch(sketch(a).T).T


def trace_error(size: int, m: int, rng: np.random.Generator, sketch: Sketch) -> float:
    """Relative error of tr(R^T A R) as an estimate of tr(A)."""
    a = rng.random((size, size))
    return abs(np.trace(both_sides(a, sketch)) / np.trace(a) - 1)


def triangles_error(size: int, m: int, rng: np.random.Generator, sketch: Sketch) -> float:
    """Relative error of tr((R^T A R)^3) as an estimate of six times the number of triangles."""
    a = barabasi_albert(size, size // 4, rng)
    b = both_sides(a, sketch)
    return abs(np.trace(b @ b @ b) / np.trace(a @ a @ a) - 1)


def singular_values_error(size: int, m: int, rng: np.random.Generator, sketch: Sketch) -> float:
    """Relative Frobenius error of the approximation of rank m, with two power iterations."""
    a = rng.normal(size=(size, size))
    y = sketch(a)
    for _ in range(2):
        q, _ = np.linalg.qr(y)
        q, _ = np.linalg.qr(a.T @ q)
        y = a @ q
    q, _ = np.linalg.qr(y)
    return float(np.linalg.norm(a - q @ (q.T @ a)) / np.linalg.norm(a))


def truncated_error(size: int, m: int, rng: np.random.Generator) -> float:
    """What the best approximation of rank m leaves."""
    s = np.linalg.svd(rng.normal(size=(size, size)), compute_uv=False)
    return float(np.sqrt((s[m:] ** 2).sum() / (s**2).sum()))


def main() -> None:
    """Run the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("through", choices=("opusim", "lightonml"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--mode", default="auto", choices=("auto", "holographic", "intensity"), help="of opusim")
    parser.add_argument("--frames", type=int, metavar="K", help="of a vector, by intensities")
    parser.add_argument("--device", default="aurora", metavar="PRESET")
    parser.add_argument("--only", choices=("trace", "triangles", "singular-values"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    size, m, rank = arguments.size, max(10, arguments.size // 10), arguments.size // 2
    tasks = {
        "trace": ("trace, U(0, 1)", trace_error, m, "0.05"),
        "triangles": ("triangles, Barabasi-Albert", triangles_error, m, "0.34"),
        "singular-values": ("singular values, N(0, 1)", singular_values_error, rank, "0.351"),
    }
    print(
        f"{arguments.device}, size {size} x {size}, through {arguments.through}, {arguments.seeds} seeds "
        "(the device's and the data's)\n"
    )
    for key, (title, error, n_outputs, printed) in tasks.items():
        if arguments.only not in (None, key):
            continue
        results: dict[str, list[float]] = {arguments.through: [], "ideal sketch": []}
        seconds = []
        for seed in range(arguments.seeds):
            # The same data for both: each makes it from a generator of the same seed.
            results["ideal sketch"].append(
                error(size, n_outputs, np.random.default_rng(seed), ideal(size, n_outputs, seed))
            )
            start = time.perf_counter()
            sketch, opu = device(
                arguments.through, size, n_outputs, seed, arguments.mode, arguments.frames, arguments.device
            )
            results[arguments.through].append(error(size, n_outputs, np.random.default_rng(seed), sketch))
            seconds.append(time.perf_counter() - start)
            opu.close()
        print(f"{title}, {n_outputs} outputs; the real device printed {printed} at size 2000")
        for name, values in results.items():
            shown = " ".join(f"{v:.3f}" for v in values)
            print(f"  {name:<14} mean {np.mean(values):.4f}  sd {np.std(values):.4f}   each: {shown}")
        if key == "singular-values":
            best = [truncated_error(size, n_outputs, np.random.default_rng(s)) for s in range(min(2, arguments.seeds))]
            print(f"  {'truncated':<14} mean {np.mean(best):.3f}")
        print(f"  seconds for one: {np.median(seconds):.1f}\n")


if __name__ == "__main__":
    main()
