"""What `scale.py --speed` times: a process for each piece of work, which waits for its turn.

    python benchmarks/speed_work.py '{"work": "counts", "n": 784, "n_out": 10000, "vectors": 3000}'

It makes what it needs and does the work once, so that all is warm, and prints a line of JSON. For each line that comes
in it does the work again, and answers with the seconds that it took and its processor time, part by part. The line
"memory" asks for the most memory that it has held.

Everything but the bare loop is written with what the build of commit 66803f9 has too.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

DEVICE = "aurora@1"  # the same device in all builds

#: One go: what each part took, in seconds.
Go = Callable[[], dict[str, float]]


def peak_mib() -> float:
    """Most memory that this process has held, in MiB (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def whole(work: Callable[[], object]) -> Go:
    """Return what times a piece of work that has no parts."""

    def go() -> dict[str, float]:
        start = time.perf_counter()
        work()
        return {"s": time.perf_counter() - start}

    return go


def vectors_of(data: str, n: int, n_features: int) -> np.ndarray:
    """Return vectors of 0 and 1: half-on ones, or MNIST's digits (pixels > 25)."""
    if data == "half-on":
        return np.random.default_rng(1).integers(0, 2, (n, n_features), dtype=np.uint8)
    from opusim import datasets

    return (datasets.load("mnist").x_train[:n].reshape(n, n_features) > 25).astype(np.uint8)


# ---------------------------------------------------------------- opusim, either build


def an_opu(n_out: int, threads: int | None, **settings: Any) -> Any:
    from opusim import OPU

    given = {} if threads is None else {"threads": threads}
    return OPU(n_components=n_out, device=DEVICE, disable_pbar=True, **given, **settings)


def counts(
    n: int, n_out: int, vectors: int, data: str = "half-on", execution: str = "auto", threads: int | None = None
) -> tuple[Go, Any]:
    """`transform` with all noise."""
    x = vectors_of(data, vectors, n)
    opu = an_opu(n_out, threads, execution=execution)
    opu.fit1d(x)
    return whole(lambda: opu.transform(x)), opu


def way_of(opu: Any) -> str:
    """Return the way that an OPU's counts take: matrix or waves."""
    from opusim.drivers import workload

    return str(workload.projector_of(opu, workload.workload(opu, 1), threads=1).plan.way)


@contextmanager
def preparing() -> Iterator[list[float]]:
    """Note what is spent on matrices before they are used, in seconds, with the layers that they are made of."""
    owner: Any
    try:
        from opusim.bench.by_matrix import MatrixWay as owner
    except ImportError:  # the build of commit 66803f9, or lightonml alone
        try:
            from opusim.projector import Projector as owner
        except ImportError:
            yield []
            return
    plain, spent = owner.prepare, []

    def prepare(self: Any, *arguments: Any) -> None:
        start = time.perf_counter()
        plain(self, *arguments)
        spent.append(time.perf_counter() - start)

    owner.prepare = prepare
    try:
        yield spent
    finally:
        owner.prepare = plain


def linear(n: int, n_out: int, vectors: int, mode: str, threads: int | None = None) -> tuple[Go, Any]:
    """`linear_transform`; the calibration that holography needs is made in the first call."""
    x = vectors_of("half-on", vectors, n)
    opu = an_opu(n_out, threads, linear_mode=mode)
    opu.fit1d(x)
    return whole(lambda: opu.linear_transform(x)), opu


def training(digits: int, threads: int | None = None) -> tuple[Go, Any]:
    """An epoch of direct feedback alignment on MNIST, 784-1024-1024-10, batches of 128, as `dfa.py` trains."""
    from opusim import datasets, dfa

    images = datasets.load("mnist")
    x = images.x_train[:digits].reshape(digits, 784).astype(np.float32) / 255
    y = images.y_train[:digits].astype(np.int64)
    opu = an_opu(2048, threads)
    feedback = dfa.OpticalFeedback(opu, 2048, n_classes=10, encoding=dfa.parse_encoding("ternary"))

    def go() -> dict[str, float]:
        network = dfa.MLP([784, 1024, 1024, 10], activation="tanh", seed=0)
        trainer = dfa.DFATrainer(
            network, feedback, optimiser=dfa.Adam(learning_rate=1e-3), batch_size=128, epochs=1, seed=0,
            learning_rate_decay=0.85,
        )  # fmt: skip
        frames = feedback.costs.frames
        history = trainer.fit(x, y)
        return {
            "s": float(history.total_s[0]), "projection": float(history.projection_s[0]),
            "frames": feedback.costs.frames - frames,
        }  # fmt: skip

    return go, opu


def online(n: int, n_out: int, vectors: int, threads: int | None = None) -> tuple[Go, Any]:
    """`transform` of one vector after another, fitted for that; the median of their times."""
    x = vectors_of("half-on", vectors, n)
    opu = an_opu(n_out, threads)
    opu.fit1d(x[0], online=True)

    def go() -> dict[str, float]:
        times = []
        for vector in x:
            start = time.perf_counter()
            opu.transform(vector)
            times.append(time.perf_counter() - start)
        return {"s": float(np.median(times))}

    return go, opu


# ---------------------------------------------------------------- peers


def random_matrix(n: int, n_out: int) -> np.ndarray:
    """Return a complex matrix of normal numbers, made without a second one beside it."""
    matrix = np.empty((n, n_out), dtype=np.complex64)
    np.random.default_rng(0).standard_normal(dtype=np.float32, out=matrix.view(np.float32))
    return matrix


def arithmetic(n: int, n_out: int, vectors: int, data: str = "half-on") -> tuple[Go, Any]:
    """The arithmetic of lightonml's noise-free simulator, no more."""
    x, matrix = vectors_of(data, vectors, n), random_matrix(n, n_out)
    return whole(lambda: np.abs(np.dot(x, matrix)) ** 2), None


def product(n: int, n_out: int, vectors: int) -> tuple[Go, Any]:
    """The complex product in it alone."""
    x, matrix = vectors_of("half-on", vectors, n).astype(np.complex64), random_matrix(n, n_out)
    return whole(lambda: np.dot(x, matrix)), None


def simulator(n: int, n_out: int, vectors: int) -> tuple[Go, Any]:
    """lightonml's simulator as opusim has it under lightonml's names."""
    from opusim.drivers.compat.opu import SimulatorOPU

    x = vectors_of("half-on", vectors, n)
    opu = SimulatorOPU(n_out, max_n_features=n, disable_pbar=True)
    opu.fit1d(x)
    return whole(lambda: opu.transform(x)), None


def lightonml(n: int, n_out: int, vectors: int) -> tuple[Go, Any]:
    """lightonml's own simulator."""
    from lightonml import OPU

    x = vectors_of("half-on", vectors, n)
    opu = OPU(n_components=n_out, max_n_features=n, simulated=True, disable_pbar=True, verbose_level=0)
    opu.fit1d(x)
    return whole(lambda: opu.transform(x)), None


# ---------------------------------------------------------------- the bare loop

PHOTONS = 32  # frames whose photons are made once and used again and again, from a cache


def bare_sums(bits: np.ndarray, matrix: np.ndarray) -> tuple[Callable[[int, int], None], int]:
    """Return what sums rows of the matrix for all vectors: the kernel of the sums alone, strip by strip.

    The one place that knows the kernel's arguments. What it needs to know of the vectors is listed beforehand. Sums
    stay in the memory that the kernel works in; only those of few vectors are written, which costs them nothing.

    Parameters
    ----------
    bits : ndarray of uint8, shape (n, n_features)
        Vectors of 0 and 1.
    matrix : ndarray of float32, shape (n_features, 2 * n_out)
        The matrix.

    Returns
    -------
    work : callable
        Takes the numbers of the first strip and of the one behind the last.
    n_strips : int
        How many there are.
    """
    from opusim.bench import by_matrix, matrix_kernels

    width, n_blocks = matrix.shape[1], -(-len(bits) // matrix_kernels.VECTORS)
    parts = [bits[len(bits) * k // n_blocks : len(bits) * (k + 1) // n_blocks] for k in range(n_blocks)]
    listed = [by_matrix.list_groups(np.packbits(part, axis=1, bitorder="little")) for part in parts]
    constant, strip = np.zeros(width, dtype=np.float32), 2 * matrix_kernels.STRIP
    out = np.empty((len(bits), width), dtype=np.float32) if len(bits) <= matrix_kernels.DIRECT else None

    def work(start: int, stop: int) -> None:
        if out is not None:
            matrix_kernels.sum_matrix(*listed[0], matrix, constant, strip // 2, 1, out, start, stop)
            return
        for given in listed:  # one after the other, as the kernel has them
            space = matrix_kernels.make_space(len(given[0]))
            for column0 in range(start * strip, min(stop * strip, width), strip):
                matrix_kernels.sum_strip(*given, matrix, constant, column0, min(strip, width - column0), space)

    return work, -(-width // strip)


def bare_camera(camera: Any, exposure_s: float, photons: np.ndarray) -> Callable[[np.ndarray, int, int], None]:
    """Return what develops frames of some photons: the camera's kernel alone.

    Parameters
    ----------
    camera : Camera
        The camera.
    exposure_s : float
        Exposure in seconds.
    photons : ndarray of float32, shape (PHOTONS, n_pixels)
        Mean photons on the pixels.

    Returns
    -------
    callable
        Takes memory for `PHOTONS` frames, of the camera's type, and the numbers of the first frame and of the one
        behind the last.
    """
    from opusim.device.camera_kernels import BLOCK as pixels_of_block
    from opusim.device.camera_kernels import develop_frames

    n_pixels = photons.shape[1]
    maps, key, params = camera.maps(0, np.arange(n_pixels)), camera.noise_key(0), camera.params()
    dark_e, n_blocks = maps.dark_e(exposure_s), -(-n_pixels // pixels_of_block)

    def work(out: np.ndarray, start: int, stop: int) -> None:
        for first in range(start, stop, len(photons)):
            n = min(len(photons), stop - first)
            develop_frames(
                photons[:n], maps.gain, dark_e, maps.offset_e, maps.telegraph_e, maps.pixels, np.uint64(first), *key,
                params, out[:n], 0, n * n_blocks,
            )  # fmt: skip

    return work


def photons_of(opu: Any, share: float, exposure_s: float, n_out: int, reference: float) -> np.ndarray:
    """Return photons as they fall on the pixels, of speckle of the level that the device has.

    Parameters
    ----------
    opu : OPU
        Of the device.
    share : float
        Share of the mirrors that is on.
    exposure_s : float
        Exposure in seconds.
    n_out : int
        Pixels.
    reference : float
        Amplitude of the reference arm over the root mean square of that of the light; 0 where it is blocked.
    """
    bench, camera = opu.device.bench, opu.device.bench.device.camera
    dark, lit = (bench.expected_level_dn(n, exposure_s) for n in (0, share * bench.device.dmd.n_mirrors))
    mean = (lit - dark) / camera.gain_dn_per_e / camera.quantum_efficiency
    fields = np.random.default_rng(2).normal(size=(PHOTONS, n_out, 2)) / np.sqrt(2)
    fields[..., 0] += reference
    return (mean * np.square(fields).sum(axis=2)).astype(np.float32)


def bare(
    n: int, n_out: int, vectors: int, data: str = "half-on", mode: str | None = None, frames: int | None = None,
    threads: int | None = None,
) -> tuple[Go, Any]:  # fmt: skip
    """The sums and the camera of a transform, each alone, on vectors, levels and sizes of it; nothing between them.

    By intensity a vector is two patterns of a frame each, by holography one of four frames. `frames` is of a run whose
    frames were counted, in the same mode.
    """
    from opusim.base import parallel

    opu = an_opu(n_out, threads)
    bench = opu.device.bench
    exposure_s, reference, each = opu.device.exposure_us * 1e-6, 0.0, 1
    if mode == "holographic":
        opu.linear_mode = mode
        opu.fit1d(n_features=n)
        opu.linear_transform(vectors_of("half-on", 1, n))
        exposure_s, reference, each = opu.calibration.exposure_s, bench.device.reference.relative_amplitude, 4
    if frames is None:
        frames = vectors * {"intensity": 2, "holographic": 4, None: 1}[mode]
    bits = vectors_of(data, frames // each, n)
    photons = photons_of(opu, float(bits.mean()), exposure_s, n_out, reference)
    camera = bench.device.camera
    add, n_strips = bare_sums(bits, random_matrix(n, n_out).view(np.float32))
    develop = bare_camera(camera, exposure_s, photons)

    def counts_of(start: int, stop: int) -> None:
        develop(np.empty(photons.shape, dtype=camera.dtype), start, stop)

    def go() -> dict[str, float]:
        begin = time.perf_counter()
        parallel.over_ranges(add, n_strips, bench.threads)
        middle = time.perf_counter()
        parallel.over_ranges(counts_of, frames, bench.threads)
        return {"sums": middle - begin, "camera": time.perf_counter() - middle, "s": time.perf_counter() - begin}

    return go, None


def bare_online(n: int, n_out: int, vectors: int) -> tuple[Go, Any]:
    """The sums and the camera of one vector after another, on one thread; medians of their times."""
    opu = an_opu(n_out, 1)
    exposure_s, x = opu.device.exposure_us * 1e-6, vectors_of("half-on", vectors, n)
    matrix = random_matrix(n, n_out).view(np.float32)
    photons = photons_of(opu, 0.5, exposure_s, n_out, 0.0)[:1]
    camera = opu.device.bench.device.camera
    develop = bare_camera(camera, exposure_s, photons)
    adds = [bare_sums(x[i : i + 1], matrix) for i in range(len(x))]
    frame = np.empty((1, n_out), dtype=camera.dtype)

    def go() -> dict[str, float]:
        times = []
        for i, (add, n_strips) in enumerate(adds):
            begin = time.perf_counter()
            add(0, n_strips)
            middle = time.perf_counter()
            develop(frame, i, i + 1)
            times.append((middle - begin, time.perf_counter() - middle))
        sums, light = np.median(times, axis=0)
        return {"sums": float(sums), "camera": float(light), "s": float(sums + light)}

    return go, None


# ---------------------------------------------------------------- the process

WORK: dict[str, Callable[..., tuple[Go, Any]]] = {
    "counts": counts, "linear": linear, "training": training, "online": online, "arithmetic": arithmetic,
    "product": product, "simulator": simulator, "lightonml": lightonml, "bare": bare, "bare_online": bare_online,
}  # fmt: skip


def main() -> None:
    """Make the work that the first argument describes, and do it for each line that comes in."""
    warnings.simplefilter("ignore")
    settings = json.loads(sys.argv[1])
    work = settings.pop("work")
    go, opu = WORK[work](**settings)
    about: dict[str, Any] = {"before_mib": peak_mib()}
    start = time.perf_counter()
    with preparing() as spent:
        go()
    about["first_s"] = time.perf_counter() - start
    if opu is not None:
        if work == "counts" and way_of(opu) == "matrix":
            about["matrix_s"] = sum(spent)
        about |= {
            "budget_mib": opu.device.bench.memory_budget / 2**20, "frame_s": opu.device.frametime_us * 1e-6,
            "way": way_of(opu), "package": sys.modules["opusim"].__file__,
        }  # fmt: skip
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(json.dumps({"mib": peak_mib()}), flush=True)
            continue
        processor = time.process_time()
        found = go()
        print(json.dumps({**found, "processor": time.process_time() - processor}), flush=True)


if __name__ == "__main__":
    main()
