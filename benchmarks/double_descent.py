"""Double descent: least squares without a penalty on MNIST, by the number of features (physics reference, row 5).

    OPUSIM_DATA=<folder with mnist.npz> python benchmarks/double_descent.py [--figure double_descent.png]
    python benchmarks/double_descent.py --train 300 --test 500 --features 50 150 250 300 350 450 600 900 --trials 2

10 000 training digits, pixels > 25, 500 to 20 000 features, the solution of least norm: at as many features as training
images the data can just be fitted, by weights that are huge, and the test error has its peak. Models: "float" is
|R x|^2 in float64 with normal numbers R; any other name is a device, whose counts are the features. Noise and
quantisation act as a penalty: they lower the peak and round it.

Published (lightonai/double-descent-curve, five trials, read off a figure): real device .124 at 500, .071 at 3 000,
.88 at 10 000, .065 at 20 000 (from images that an autoencoder made binary); their float model .060 at 1 000, .049 at
3 000, .88 at 10 000, .070 at 20 000 (from grey images).

How: features less their overall mean, targets one for the class less a tenth, no intercept. N features are the first N
of the most. Up to n of them, one QR of the n x n matrix serves all N (its leading blocks are the factors of the leading
columns), so that the condition is not squared where it matters, at the peak. Beyond, the Cholesky factor of the n x n
Gram matrix of rows; within 5 % of n, QR again. All in float64. Two n x n matrices at most are held: 1.6 GB for 10 000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.linalg
from scipy.linalg import blas, lapack

from opusim import OPU, datasets, plotting

# Columns of features that are made, and rows of the test set that are scored, at a time.
_COLUMNS, _ROWS = 1000, 1000
# From n to this times n, the Gram matrix is too near to singular for its Cholesky factor.
_NEAR = 1.05
FEATURES = [500, 1000, 2000, 3000, 5000, 7000, 8000, 9000, 9500, 9800, 10_000, 10_200, 10_600, 11_000, 12_000, 14_000,
            17_000, 20_000]  # fmt: skip
PUBLISHED = {
    "real device (published)": {500: 0.124, 3000: 0.071, 10_000: 0.88, 20_000: 0.065},
    "their float model (published)": {1000: 0.060, 3000: 0.049, 10_000: 0.88, 20_000: 0.070},
}
# features(which, first, last): columns first to last of the features of "train" or "test", float64
Features = Callable[[str, int, int], np.ndarray]


def images(dataset: str, n_train: int, n_test: int, seed: int) -> dict[str, np.ndarray]:
    """Binary images, flat, no two training images alike: equal rows cannot be fitted if their noise is none."""
    data = datasets.load(dataset)
    threshold = 7 if dataset == "digits" else 25
    rng = np.random.default_rng(seed)
    x = (data.x_train > threshold).astype(np.uint8).reshape(len(data.x_train), -1)
    order = rng.permutation(len(x))
    _, first = np.unique(np.packbits(x[order], axis=1), axis=0, return_index=True)
    chosen = order[np.sort(first)[:n_train]]
    if len(chosen) < n_train:
        raise SystemExit(f"--train is {n_train}, but {dataset} has only {len(chosen)} training images that differ.")
    test = rng.permutation(len(data.x_test))[:n_test]
    x_test = (data.x_test[test] > threshold).astype(np.uint8).reshape(len(test), -1)
    return {"train": x[chosen], "test": x_test, "y_train": data.y_train[chosen], "y_test": data.y_test[test]}


def float_features(data: dict[str, np.ndarray], n_features: int, seed: int) -> Features:
    """|R x|^2 with complex normal R, each column from a generator of its own: made again when it is needed again."""

    def columns(which: str, first: int, last: int) -> np.ndarray:
        x = data[which].astype(np.float64)
        parts = []
        for block in range(first // _COLUMNS, -(-last // _COLUMNS)):
            real, imaginary = np.random.default_rng([seed, block]).normal(size=(2, x.shape[1], _COLUMNS))
            values = x @ real
            values *= values
            other = x @ imaginary
            other *= other
            values += other
            begin = block * _COLUMNS
            parts.append(values[:, max(first, begin) - begin : min(last, begin + _COLUMNS) - begin])
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    return columns


def device_features(device: str, data: dict[str, np.ndarray], n_features: int, seed: int) -> Features:
    """Counts of a device, all of them shown once, training images first."""
    side = int(np.sqrt(data["train"].shape[1]))
    pictures = {which: data[which].reshape(-1, side, side) for which in ("train", "test")}
    with OPU(n_features, device=device, seed=seed, disable_pbar=True) as opu:
        opu.fit2d(pictures["train"])
        counts = {which: np.asarray(opu.transform(pictures[which])) for which in ("train", "test")}
    return lambda which, first, last: counts[which][:, first:last].astype(np.float64)


def test_errors(features: Features, data: dict[str, np.ndarray], sizes: list[int]) -> dict[int, float]:
    """Share of the test images that are wrong, for each number of features."""
    n, most = len(data["train"]), max(sizes)
    classes = np.arange(int(data["y_train"].max()) + 1)
    targets = (data["y_train"][:, None] == classes) - 1.0 / len(classes)
    shift = float(features("train", 0, min(most, _COLUMNS)).mean())
    weights: dict[int, np.ndarray] = {}
    few = [size for size in sizes if size <= n]
    many = [size for size in sizes if size > n]
    if many:
        # First, so that the two large matrices of each part are not held together.
        weights |= by_samples(features, targets, many, shift)
    if few:
        weights |= by_columns(features, targets, few, shift)
    scores = {size: np.zeros((len(data["test"]), len(classes))) for size in sizes}
    for first in range(0, most, _COLUMNS):
        block = features("test", first, min(most, first + _COLUMNS)) - shift
        for size, score in scores.items():
            if first < size:
                part = weights[size][first : first + _COLUMNS]
                score += block[:, : len(part)] @ part
    return {size: float(np.mean(score.argmax(axis=1) != data["y_test"])) for size, score in scores.items()}


def by_columns(features: Features, targets: np.ndarray, sizes: list[int], shift: float) -> dict[int, np.ndarray]:
    """Least squares with at most as many features as samples: weights (size, classes) from one QR."""
    n, most = len(targets), max(sizes)
    a = np.empty((n, most), order="F")
    for first in range(0, most, _COLUMNS):
        a[:, first : first + _COLUMNS] = features("train", first, min(most, first + _COLUMNS)) - shift
    rotated, a = qr_of(a, targets)
    return {size: scipy.linalg.solve_triangular(a[:size, :size], rotated[:size], check_finite=False) for size in sizes}


def qr_of(a: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Q^T right, and R in the upper triangle of `a`, which is overwritten."""
    work, _ = lapack.dgeqrf_lwork(*a.shape)
    a, tau, _, info = lapack.dgeqrf(a, lwork=int(work), overwrite_a=1)
    assert info == 0
    _, work_array, _ = lapack.dormqr("L", "T", a, tau, right, lwork=-1)
    rotated, _, info = lapack.dormqr("L", "T", a, tau, right, lwork=int(work_array[0]))
    assert info == 0
    return rotated, a


def by_samples(features: Features, targets: np.ndarray, sizes: list[int], shift: float) -> dict[int, np.ndarray]:
    """Solutions of least norm with more features than samples: weights (size, classes) from the Gram matrix of rows."""
    n, most = len(targets), max(sizes)
    gram = np.zeros((n, n), order="F")
    alphas: dict[int, np.ndarray] = {}
    edges = sorted({0, *sizes, *range(0, most, _COLUMNS)})
    for first, last in zip(edges, edges[1:], strict=False):
        block = np.asfortranarray(features("train", first, last) - shift)
        gram = blas.dsyrk(1.0, block, beta=1.0, c=gram, lower=1, overwrite_c=1)
        if last in sizes and last >= _NEAR * n:
            factor, info = lapack.dpotrf(gram, lower=1, clean=0)
            if info:
                raise SystemExit(f"With {last} features the Gram matrix is singular to float64.")
            alphas[last], info = lapack.dpotrs(factor, targets, lower=1)
            assert info == 0
            del factor
    del gram
    for size in (s for s in sizes if s < _NEAR * n):
        # X^T = Q R: the weights are Q R^-T y.
        a = np.empty((size, n), order="F")
        for first in range(0, size, _COLUMNS):
            a[first : first + _COLUMNS] = (features("train", first, min(size, first + _COLUMNS)) - shift).T
        _, a = qr_of(a, np.zeros((size, 1)))
        # R^T R is the Gram matrix, so its solution comes from two triangular systems, of the root of its condition.
        half = scipy.linalg.solve_triangular(a[:n], targets, trans="T", check_finite=False)
        alphas[size] = scipy.linalg.solve_triangular(a[:n], half, check_finite=False)
        del a
    weights = {size: np.empty((size, targets.shape[1])) for size in sizes}
    for first in range(0, most, _COLUMNS):
        block = features("train", first, min(most, first + _COLUMNS)) - shift
        for size in sizes:
            width = max(0, min(size - first, _COLUMNS))
            weights[size][first : first + width] = block[:, :width].T @ alphas[size]
    return weights


def available_bytes() -> float:
    """Memory that is free for us; inf where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return np.inf


def check_memory(n: int, n_test: int, sizes: list[int]) -> None:
    """Refuse sizes that do not fit: two square matrices, blocks of features, and a device's counts."""
    near = max([s for s in sizes if n < s < _NEAR * n], default=n)
    needed = 8 * n * (n + near) + 4 * 8 * n * _COLUMNS + (n + n_test) * max(sizes) + 0.5e9
    print(f"memory needed: about {needed / 1e9:.1f} GB, available {available_bytes() / 1e9:.1f} GB")
    if needed > available_bytes():
        raise SystemExit("That is more than is available: use fewer training images (--train).")


def tell(errors: dict[str, np.ndarray], sizes: list[int], n: int) -> None:
    """Print test errors, the peak and its width."""
    print("features   " + "  ".join(f"{model:>16s}" for model in errors))
    for i, size in enumerate(sizes):
        cells = (f"{e[:, i].mean():8.4f} ± {e[:, i].std(ddof=1) if len(e) > 1 else 0:.4f}" for e in errors.values())
        print(f"{size:8d}   " + "  ".join(f"{cell:>16s}" for cell in cells))
    for model, values in errors.items():
        mean = values.mean(axis=0)
        top = int(np.argmax(mean))
        floor = min(mean[:top].min(initial=np.inf), mean[top + 1 :].min(initial=np.inf))
        if not np.isfinite(floor):
            continue
        half = (mean[top] + floor) / 2
        left, right = (crossing(sizes, mean, top, half, step) for step in (-1, 1))
        print(
            f"{model}: peak {mean[top]:.3f} at {sizes[top]} features ({sizes[top] / n:.3g} of the training images), "
            f"lowest {floor:.4f}; half its height from {left:.0f} to {right:.0f}, a width of {(right - left) / n:.3f} n"
        )


def crossing(sizes: list[int], mean: np.ndarray, top: int, level: float, step: int) -> float:
    i = top
    while 0 <= i + step < len(sizes) and mean[i + step] > level:
        i += step
    if not 0 <= i + step < len(sizes):
        return float(sizes[i])
    share = (mean[i] - level) / (mean[i] - mean[i + step])
    return sizes[i] + share * (sizes[i + step] - sizes[i])


def draw(errors: dict[str, np.ndarray], sizes: list[int], n: int, path: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(8.0, 5.0), layout="constrained")
        ax = figure.subplots()
        looks = [(plotting.INK, "-", "o"), (plotting.ACCENT, (0, (5, 2)), "s"), ("#4f7f8f", (0, (1, 1)), "^")]
        for (model, values), (colour, dashes, marker) in zip(errors.items(), looks * 3, strict=False):
            ax.plot(sizes, values.mean(axis=0), color=colour, ls=dashes, marker=marker, mfc="white", ms=5, label=model)
            ax.fill_between(sizes, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
        if n == 10_000:
            for (name, points), marker in zip(PUBLISHED.items(), ("x", "+"), strict=True):
                ax.plot(*zip(*points.items(), strict=True), ls="", marker=marker, color="black", ms=9, label=name)
        ax.axvline(n, color=plotting.SOFT, lw=1, ls=":")
        ax.annotate("as many as training images", (n, 1), xycoords=("data", "axes fraction"), xytext=(4, -10),
                    textcoords="offset points", fontsize=8)  # fmt: skip
        ax.set(
            xlabel="features", ylabel="test error", yscale="log", title=f"Least squares without a penalty, {n} images"
        )
        ax.set_yticks([0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.9], ["3 %", "5 %", "10 %", "20 %", "30 %", "50 %", "90 %"])
        ax.set_yticks([], minor=True)
        low = min(float(values.min()) for values in errors.values())
        ax.set_ylim(0.9 * min(low, 0.049 if n == 10_000 else low), 1.0)
        ax.legend()
        plotting.save(figure, path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist", choices=("mnist", "fashion-mnist", "digits"))
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--features", type=int, nargs="+", default=FEATURES)
    parser.add_argument("--models", nargs="+", default=["float", "aurora"], help="float, or devices")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--figure", type=Path, default=None)
    options = parser.parse_args()
    sizes = sorted(set(options.features))
    check_memory(options.train, options.test, sizes)
    errors: dict[str, list[list[float]]] = {model: [] for model in options.models}
    for trial in range(options.trials):
        data = images(options.dataset, options.train, options.test, trial)
        for model, found in errors.items():
            start = time.perf_counter()
            if model == "float":
                features = float_features(data, max(sizes), trial)
            else:
                features = device_features(model, data, max(sizes), trial)
            errors_of_sizes = test_errors(features, data, sizes)
            found.append([errors_of_sizes[size] for size in sizes])
            print(f"trial {trial}, {model}: {time.perf_counter() - start:.0f} s", flush=True)
    arrays = {model: np.array(found) for model, found in errors.items()}
    tell(arrays, sizes, options.train)
    if options.figure is not None:
        draw(arrays, sizes, options.train, options.figure)
        print(f"figure {options.figure}")


if __name__ == "__main__":
    main()
