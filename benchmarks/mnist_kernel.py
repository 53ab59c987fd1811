"""MNIST by kernel ridge on the device's counts, as in lightonml's notebook `kernels_and_random_features`.

    OPUSIM_DATA=<folder with mnist.npz> python benchmarks/mnist_kernel.py [--device aurora] [--seed 0]

All of MNIST, pixels > 25, `fit2d`, 10 000 features, 8-bit counts, scikit-learn's RidgeClassifier(alpha=1). The real
device printed 96.57 % on the test set (98.65 % on the training set); ridge on the raw pixels 86.04 %.
Needs about 12 GiB of memory for the ridge classifier.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from sklearn.linear_model import RidgeClassifier

import opusim


def peak_gib() -> float:
    """Peak resident memory of the process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="aurora")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--components", type=int, default=10_000)
    arguments = parser.parse_args()
    data = opusim.datasets.load("mnist")
    x_train, x_test = ((x > 25).astype(np.uint8) for x in (data.x_train, data.x_test))

    opu = opusim.OPU(n_components=arguments.components, device=arguments.device, seed=arguments.seed, disable_pbar=True)
    start = time.perf_counter()
    opu.fit2d(x_train)
    train = opu.transform(x_train)
    test = opu.transform(x_test)
    seconds = time.perf_counter() - start
    context = train.context
    print(f"device {arguments.device}, seed {arguments.seed}: {x_train.shape} and {x_test.shape} -> {train.shape[1]}")
    print(f"exposure {context.exposure_us} us, frame time {context.frametime_us} us, mirrors on {context.n_ones:.0f}")
    print(f"counts {train.dtype}: mean {train.mean():.2f}, saturated {np.mean(train == 255):.2e}")
    print(f"projection: {seconds:.1f} s for 70 000 vectors, peak memory {peak_gib():.2f} GiB")
    print(f"the real device would have needed {70_000 * context.frametime_us * 1e-6:.1f} s")

    start = time.perf_counter()
    ridge = RidgeClassifier(alpha=1).fit(train, data.y_train)
    scores = ridge.score(train, data.y_train), ridge.score(test, data.y_test)
    print(f"RidgeClassifier(alpha=1): {time.perf_counter() - start:.0f} s, peak memory {peak_gib():.2f} GiB")
    print(f"counts: train {100 * scores[0]:.2f} %, test {100 * scores[1]:.2f} %  (real device: 98.65 %, 96.57 %)")
    flat_train, flat_test = x_train.reshape(len(x_train), -1), x_test.reshape(len(x_test), -1)
    raw = RidgeClassifier(alpha=1).fit(flat_train, data.y_train)
    print(f"raw binary pixels: test {100 * raw.score(flat_test, data.y_test):.2f} %  (published, grey pixels: 86.04 %)")


if __name__ == "__main__":
    main()
