"""What the drop-in costs: the formatter, and the real lightonml beside `opusim.OPU`, in interleaved rounds.

    PYTHONPATH=FOLDER/lightonml-1.4.3 FOLDER/bin/python benchmarks/dropin.py [--rounds 5] [--vectors 3000]

`.ci/contract-environment FOLDER PYTHON` makes the environment of it.

- Formatter: 3 000 vectors of 10 000 features, packed, to mirror bits. Asked: at most 0.5 s.
- A batch through the real lightonml 1.4.3 on our lightonopu, against the same through `opusim.OPU`: 10 000 -> 10 000
  and 784 -> 10 000, 3 000 vectors each. Asked: at most 1.3 times.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable

import numpy as np

import opusim

N_COMPONENTS = 10_000


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(rounds: int, **peers: Callable[[], object]) -> dict[str, list[float]]:
    """Times of each peer, one round of all after the other; a first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for i in range(rounds + 1):
        for name, work in peers.items():
            t = timed(work)
            if i:
                times[name].append(t)
    return times


def report(times: dict[str, list[float]]) -> None:
    """Print the median and the range of each peer."""
    for name, values in times.items():
        print(f"  {name:<28} median {np.median(values):7.3f} s   range {min(values):.3f} - {max(values):.3f}")


def formatter(rounds: int, n: int) -> None:
    """Time the formatter, into fresh memory as lightonml does, and into memory that is there."""
    from lightonopu.formatting_v2 import Formatter

    source = np.random.default_rng(0).integers(0, 256, (n, 1250), dtype=np.uint8)
    lined = Formatter((912, 1140))
    lined.define_lined_mapping(10_000, (912, 1140), (0, 0))
    kept = np.zeros((n, 129_960), dtype=np.uint8)

    def fresh() -> None:
        lined.apply_format(source, np.empty((n, 129_960), dtype=np.uint8), 10_000, True)

    print(f"Formatter: {n} vectors of 10 000 features to {kept.nbytes / 1e6:.0f} MB of mirrors")
    times = interleaved(
        rounds,
        **{
            "into fresh memory": fresh,
            "into memory that is there": lambda: lined.apply_format(source, kept, 10_000, True),
        },
    )
    report(times)
    print(f"  {np.median(times['into fresh memory']):.3f} s (asked: at most 0.5 s for 3 000)\n")


def batch(rounds: int, n: int, n_features: int) -> None:
    """Time a batch through both; the counts of the first round must be the same."""
    from lightonml.opu import OPU as RealOPU

    x = np.random.default_rng(1).integers(0, 2, (n, n_features), dtype=np.uint8)
    ours = opusim.OPU(N_COMPONENTS, disable_pbar=True)
    theirs = RealOPU(N_COMPONENTS, disable_pbar=True)
    print(f"{n_features} -> {N_COMPONENTS}, {n} random vectors")
    for opu in (ours, theirs):
        opu.fit1d(x)
    same = np.array_equal(ours.transform(x), theirs.transform(x))
    print(f"  the counts of the first batch are {'the same' if same else 'NOT the same'}")
    times = interleaved(
        rounds,
        **{
            "opusim.OPU": lambda: ours.transform(x),
            "lightonml 1.4.3, lightonopu": lambda: theirs.transform(x),
        },
    )
    report(times)
    ratios = np.array(times["lightonml 1.4.3, lightonopu"]) / np.array(times["opusim.OPU"])
    print(
        f"  ratio: median {np.median(ratios):.2f}, range {ratios.min():.2f} - {ratios.max():.2f} (asked: at most 1.3)\n"
    )
    ours.close()
    theirs.close()


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vectors", type=int, default=3000)
    arguments = parser.parse_args()
    for name in ("OPUSIM_DEVICE", "OPUSIM_SEED"):  # both sides simulate the default device
        os.environ.pop(name, None)
    warnings.simplefilter("ignore")
    import lightonml
    import lightonopu

    print(
        f"opusim {opusim.__version__}, lightonml {lightonml.__version__}, lightonopu {lightonopu.__version__}, "
        f"numpy {np.__version__}, {len(os.sched_getaffinity(0))} processors\n"
    )
    formatter(arguments.rounds, arguments.vectors)
    for n_features in (784, 10_000):
        batch(arguments.rounds, arguments.vectors, n_features)


if __name__ == "__main__":
    main()
