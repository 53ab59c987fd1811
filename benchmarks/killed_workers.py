"""Sweeps whose points kill their workers, time and again, on a Dask cluster of two processes: only those points fail.

python benchmarks/killed_workers.py [runs]     a run takes some eight seconds; the seed of a run is its number
"""

from __future__ import annotations

import os
import random
import sys
import time

from opusim.sweep import Sweep, cluster

BITS = list(range(2, 13))


def one(seed: int, client: object) -> bool:
    rng = random.Random(seed)
    killers = rng.sample(BITS, rng.choice([1, 1, 2, 3]))
    waits = {bits: rng.choice([0.0, 0.0, 0.01, 0.05, 0.2]) for bits in BITS}

    def task(opu, seed):
        time.sleep(waits[opu])
        if opu in killers:
            os._exit(9)
        return {"value": opu}

    begin = time.perf_counter()
    sweep = Sweep(task, lambda device, n_components, seed: device.camera.bits, {"camera.bits": BITS})
    try:
        result = sweep.run(dask=client)
    except (RuntimeError, ConnectionError) as error:
        print(f"{seed}: {error}")
        return False
    failed = {BITS[i] for (i, _), outcome in result.outcomes.items() if outcome.failed}
    good = failed == set(killers) and len(result.outcomes) == len(BITS)
    seconds = time.perf_counter() - begin
    print(f"{seed}: killed by {sorted(killers)}, failed {sorted(failed)}, {seconds:.1f} s{'' if good else ' WRONG'}")
    return good


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with cluster.dask_client("local:2") as client:
        wrong = sum(not one(seed, client) for seed in range(runs))
    print(f"{wrong} of {runs} runs are wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
