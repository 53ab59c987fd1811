"""Whether a preset does what the real device did: `OPUSIM_DATA=DIR python benchmarks/fidelity.py [DEVICE ...]`.

For each device, by default `aurora@1` and `aurora@2`, beside what is asked (docs/physics.md says where from):

- accuracy of kernel ridge on all of MNIST, as `mnist_kernel.py` has it: pixels > 25, `fit2d`, 10 000 features, and the
  classifier of scikit-learn's RidgeClassifier(alpha=1), solved by `opusim.applications.ridge`;
- the grey level that half of the mirrors give at 400 us, over 20 patterns and 20 000 pixels: about 9, the black level
  of the device among it;
- the noise in time at a mean of 21.6 grey levels: one half-on pattern shown 200 times, the rms over the frames at 5 000
  pixels;
- the relative rms error of holographic linear transforms, as `linear.py` has it: 784 half-on features, 4 steps, the
  exposure that the calibration chooses; against the same device without noise (`linear.QUIET`), with one gain a pixel
  fitted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings

import numpy as np
from linear import N_FEATURES, QUIET, error, holographic

import opusim
from opusim import Device, OpticalBench
from opusim.applications.ridge import ridge_classifier
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

EXPOSURE_S = 400e-6
ASKED = {
    "MNIST, test": "96.57 ± .3 %",
    "half-on level": "9",
    "noise at 21.6": "1.0 to 1.2",
    "linear error": "at most 2.9 %",
}


def mnist(device: Device, seed: int, components: int) -> tuple[float, float]:
    """Accuracy on the test set, and the mean count."""
    data = opusim.datasets.load("mnist")
    x_train, x_test = ((x > 25).astype(np.uint8) for x in (data.x_train, data.x_test))
    with opusim.OPU(n_components=components, device=device, seed=seed, disable_pbar=True) as opu:
        opu.fit2d(x_train)
        train, test = np.asarray(opu.transform(x_train)), np.asarray(opu.transform(x_test))
    # RidgeClassifier's alpha is added to the sums of squares; ours is over the samples and the mean variance.
    penalty = 1 / (
        len(train) * float(np.mean([part.var(axis=0).mean() for part in np.array_split(train, 100, axis=1)]))
    )
    found = ridge_classifier(train, data.y_train, test, data.y_test, n_validation=1, penalties=[penalty])
    return found.accuracy, float(train.mean())


def half_on(n: int) -> np.ndarray:
    """Patterns of 1 000 features, each with half of them on."""
    return np.random.default_rng(0).permuted(np.tile([0, 1], (n, 500)).astype(np.uint8), axis=1)


def counts(device: Device, bits: np.ndarray, seed: int, n_pixels: int, exposure_s: float) -> np.ndarray:
    """Counts of patterns on the first pixels of the sensor's middle rows, in float64."""
    bench = OpticalBench(device, seed)
    patterns = MirrorPatterns(np.ascontiguousarray(bits), MirrorLayout.lined(device.dmd.shape, bits.shape[1]))
    rows, columns = device.camera.shape
    wanted = -(-n_pixels // columns)
    roi = ((rows - wanted) // 2, 0, wanted, columns)
    shown = bench.transform(patterns, exposure_s=exposure_s, roi=roi, n_pixels=n_pixels)
    return np.asarray(shown, dtype=np.float64)


def level(device: Device, seed: int) -> float:
    """Mean grey level of half of the mirrors."""
    return float(counts(device, half_on(20), seed, 20_000, EXPOSURE_S).mean())


def noise(device: Device, seed: int, at_dn: float) -> tuple[float, float]:
    """Rms in time at a mean grey level, and the mean that came of it."""
    black = device.camera.black_level_dn
    per_s = (level(device, seed) - black) / EXPOSURE_S
    frames = counts(device, np.repeat(half_on(1), 200, axis=0), seed, 5000, (at_dn - black) / per_s)
    return float(np.sqrt(frames.var(axis=0, ddof=1).mean())), float(frames.mean())


def linear_error(device: Device, seed: int, vectors: int, outputs: int) -> float:
    """Relative rms error of the fields of four steps."""
    x = np.random.default_rng(seed).integers(0, 2, (vectors, N_FEATURES), dtype=np.uint8)
    true, *_ = holographic(device.evolve(**QUIET), x, outputs, 4, 1e-3)
    return error(holographic(device, x, outputs, 4, None)[0], true)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("devices", nargs="*", default=["aurora@1", "aurora@2"], metavar="DEVICE")
    parser.add_argument("--seed", type=int, default=0, help="of the device and of the vectors (%(default)s)")
    parser.add_argument("--components", type=int, default=10_000, help="features of MNIST (%(default)s)")
    parser.add_argument("--vectors", type=int, default=200, help="of the linear transform (%(default)s)")
    parser.add_argument("--outputs", type=int, default=10_000, help="of the linear transform (%(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: dict[str, list[str]] = {name: [] for name in ASKED}
    lasted = []

    def found_of(name: str, words: str) -> None:
        rows[name].append(words)
        print(f"{spec}: {name} {words}", file=sys.stderr, flush=True)

    for spec in options.devices:
        start, device = time.perf_counter(), Device.load(spec)
        if os.environ.get("OPUSIM_DATA"):
            accuracy, mean = mnist(device, options.seed, options.components)
            found_of("MNIST, test", f"{100 * accuracy:.2f} % (mean count {mean:.2f})")
        else:
            found_of("MNIST, test", "OPUSIM_DATA names no folder")
        found = level(device, options.seed)
        found_of("half-on level", f"{found:.2f}, {found - device.camera.black_level_dn:.2f} above black")
        rms, mean = noise(device, options.seed, 21.6)
        found_of("noise at 21.6", f"{rms:.3f} (mean {mean:.2f})")
        found_of("linear error", f"{100 * linear_error(device, options.seed, options.vectors, options.outputs):.2f} %")
        lasted.append(f"{time.perf_counter() - start:.0f} s")
    print(
        f"seed {options.seed}; MNIST with {options.components} features; {options.vectors} vectors to {options.outputs}"
    )
    print(f"| | {' | '.join(options.devices)} | asked |")
    print(f"| --- |{' --- |' * (len(options.devices) + 1)}")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(values)} | {ASKED[name]} |")
    print(f"| fingerprint | {' | '.join(Device.load(spec).fingerprint()[:16] for spec in options.devices)} | |")
    print(f"| time | {' | '.join(lasted)} | |")


if __name__ == "__main__":
    main()
