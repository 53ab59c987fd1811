"""How fast this machine works: rates measured in some seconds, and kept for the next time.

Each rate is measured with the code that does the work: a stack of patterns through the layer on the grid in question, a
small matrix through the kernel of sums, the counts of a camera.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import opusim
from opusim.base import parallel
from opusim.base.files import replacing
from opusim.base.folders import cache_folder
from opusim.base.plain_files import parse_json, read_text
from opusim.bench import matrix_kernels
from opusim.bench.by_matrix import MatrixWay
from opusim.bench.by_waves import WavesWay
from opusim.bench.frames import Shots
from opusim.bench.geometry import Geometry
from opusim.bench.plan import ENTRIES_PER_S, FFT_FLOPS, SUM_FLOPS, WEIGHT_FLOPS
from opusim.bench.projector import Projector
from opusim.bench.reduction import Reduction
from opusim.bench.region import Region, Roi
from opusim.bench.way import Way, Work, transform_flops
from opusim.patterns.layout import MirrorLayout

__all__ = ["Rates", "RateStore", "measure", "planner_rates"]

# A time is the median of three or more rounds that together take this long, in seconds.
_ROUNDS, _LONG_S = 3, 0.25
# A measurement that took so many times as long as on a quiet machine, or more, is one of a busy machine.
_SLOWED = 1.1
# Size of the matrix on which sums are timed: larger than the tables of a tile, smaller than a second's work.
_FEATURES, _FIELDS = 256, 2048
# A camera's pixel in seconds, one thread, the same where counts are reduced in the kernel, and the preparation of a
# point of the layer: what is reckoned with where nothing was measured. On one core of a Xeon of 2023 a pixel took 4.5
# to 5.5 ns, with means of it 6, demodulated 6.5 to 8.
_PIXEL_S, _REDUCED_S, _LAYER_S = 6e-9, 8e-9, 3e-7
# Mean light of a speckled reference, over full scale, at which one burst in fourteen has a saturated frame.
_BRIGHT = 1 / 2.6


@dataclass(frozen=True)
class Rates:
    """Seconds of a unit of each kind of work, in every one of `at_once` calls that run together.

    Parameters
    ----------
    threads : int
        Threads of a call.
    at_once : int
        Calls at a time.
    side : int
        Side of the grid on which waves were timed; 0 for none.
    transform_s_per_point : float
        One Fourier transform of a pass through the layer, its share of the products included, for a point of the grid.
    layer_s_per_point : float
        Preparing the layer of one polarisation, for a point of the grid.
    frame_s_per_pixel : float
        A pixel of a frame, from the field to the count.
    step_s_per_pixel : float
        The same with the reference arm; 0 if it was not measured.
    finish_s_per_pixel : float
        What follows the frames of a linear transform, for a pixel of a frame; 0 if it was not measured.
    sum_s : float
        One entry of a table of four features added to one field; or one product with a complex weight.
    table_s : float
        The table of four features of one field.
    entry_s : float
        Making an entry of the matrix; where there are waves, beside their own time.
    measured : bool
        Whether they were measured; False for those that the planner reckons with.
    slowed : float or None
        How many times as long as on a quiet machine the measurement took, at least, because other programs were
        running: the processors that these used and the calls had work for, over those that there are. None where it
        cannot be told.
    reduced_s_per_pixel : float
        A pixel of a frame, from the field to what the kernel makes of it in a linear transform without frames; 0 if it
        was not measured.
    """

    threads: int
    at_once: int
    side: int
    transform_s_per_point: float
    layer_s_per_point: float
    frame_s_per_pixel: float
    step_s_per_pixel: float
    finish_s_per_pixel: float
    sum_s: float
    table_s: float
    entry_s: float
    measured: bool = True
    slowed: float | None = None
    reduced_s_per_pixel: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether they were measured on a machine that was busy with something else, and are too slow."""
        return self.slowed is not None and self.slowed > _SLOWED

    def completed(self, projector: Projector) -> Rates:
        """Return rates of both ways: the planner's own where this way has no such work.

        Parameters
        ----------
        projector : Projector
            What they are for.

        Returns
        -------
        Rates
            The same, with none missing for the sums of a matrix.
        """
        if self.sum_s:
            return self
        own = planner_rates(projector, self.threads, self.at_once)
        return dataclasses.replace(self, sum_s=own.sum_s, table_s=own.table_s, entry_s=self.entry_s or own.entry_s)

    def transform_s(self, side: int) -> float:
        """Return the seconds of one transform on a grid of another side: in proportion to N log N.

        Parameters
        ----------
        side : int
            Side of the grid.

        Returns
        -------
        float
            Seconds.
        """
        if not self.side:
            return math.inf
        return self.transform_s_per_point * self.side**2 * transform_flops(side) / transform_flops(self.side)

    def seconds(self, work: Work) -> float:
        """Return the seconds of some work.

        Parameters
        ----------
        work : Work
            Of a way.

        Returns
        -------
        float
            Seconds.
        """
        seconds = work.layer_points * self.layer_s_per_point + work.entries * self.entry_s
        seconds += work.sums * self.sum_s + work.tables * self.table_s
        return seconds + work.transforms * self.transform_s(work.side) if work.transforms else seconds


def planner_rates(projector: Projector, threads: int, at_once: int = 1) -> Rates:
    """Return the rates that the planner itself reckons with; right within a factor of two or so.

    Parameters
    ----------
    projector : Projector
        What they are for.
    threads, at_once : int
        Threads of a call, and calls at a time; threads are taken to share the work evenly.

    Returns
    -------
    Rates
        The rates.
    """
    side = projector.plan.side
    pixel_s = _PIXEL_S * projector.plan.samples / threads
    sum_s = 8 / WEIGHT_FLOPS if projector.geometry.source.weighted else 2 * matrix_kernels.GROUP / SUM_FLOPS
    return Rates(
        threads=threads,
        at_once=at_once,
        side=side,
        transform_s_per_point=transform_flops(side) / side**2 / FFT_FLOPS / threads if side else 0.0,
        layer_s_per_point=_LAYER_S,
        frame_s_per_pixel=pixel_s,
        step_s_per_pixel=pixel_s,
        finish_s_per_pixel=_PIXEL_S,
        sum_s=sum_s / threads,
        table_s=2 * 2**matrix_kernels.GROUP / SUM_FLOPS / threads,
        entry_s=0.0 if side else 1 / ENTRIES_PER_S,
        measured=False,
        reduced_s_per_pixel=_REDUCED_S * projector.plan.samples / threads,
    )


# ---------------------------------------------------------------- measuring


def measure(
    projector: Projector,
    calls: Sequence[tuple[int, int]] = ((1, 1),),
    *,
    steps: int = 1,
    reference: np.ndarray | None = None,
    finish: Callable[[np.ndarray], object] | None = None,
    reduction: Callable[[int, int], Reduction | None] | None = None,
    frames: int = 1,
) -> list[Rates]:
    """Time the parts of what a projector does, at its own size but for the matrix.

    Parameters
    ----------
    projector : Projector
        What is planned: device, layout and region; it is not computed with, copies are.
    calls : sequence of (int, int)
        Ways of calling it: threads of a call, and calls at a time.
    steps : int
        Frames of a pattern.
    reference : ndarray of complex64, shape (n_pixels, samples), optional
        Field of the reference arm, for more than one step.
    finish : callable, optional
        What follows the frames of a linear transform; takes frames (patterns * steps, n_pixels).
    reduction : callable, optional
        What is made in the kernel where there are no frames, for so many vectors of so many features.
    frames : int
        Frames of a vector, for that.

    Returns
    -------
    list of Rates
        One for each of `calls`.
    """
    timer = _Timer(steps, reference, reduction, frames)
    _warm_up(projector)
    others = _Others()
    waves: list[dict[str, float]] = [{} for _ in calls]
    if projector.plan.side:
        waves = [timer.waves(projector, *call) for call in calls]
    sums: list[dict[str, float]] = [{} for _ in calls]
    if projector.plan.way == "matrix":
        sums = timer.sums(projector, calls)
    finishes = [0.0 if finish is None else timer.finish(projector, finish, at_once) for _, at_once in calls]
    processors = others.processors()
    result = []
    for (threads, at_once), through, added, finish_s in zip(calls, waves, sums, finishes, strict=True):
        light = added or through
        result.append(
            Rates(
                threads=threads,
                at_once=at_once,
                side=projector.plan.side,
                transform_s_per_point=through.get("transform", 0.0),
                layer_s_per_point=through.get("layer", 0.0),
                frame_s_per_pixel=light["frame"],
                step_s_per_pixel=light.get("step", 0.0),
                finish_s_per_pixel=finish_s,
                sum_s=added.get("sum", 0.0),
                table_s=added.get("table", 0.0),
                entry_s=added.get("entry", 0.0),
                reduced_s_per_pixel=added.get("reduced", 0.0),
                slowed=None if processors is None else _slowed(processors, threads * at_once),
            )
        )
    return result


def _slowed(others: float, ours: int) -> float:
    """Return how many times as long work takes where others have work for so many processors, and ours for so many."""
    return max(1.0, (others + ours) / max(ours, parallel.default_threads()))


class _Others:
    """How many of the processors that this process may use other programs keep busy, from when it is made."""

    def __init__(self) -> None:
        self._wall_s, self._own_s, self._busy_s = time.perf_counter(), time.process_time(), _busy_s()
        self._load: float | None = None
        if self._busy_s is None and hasattr(os, "getloadavg"):
            self._load = os.getloadavg()[0]  # of the minute before this, when there was no work of ours

    def processors(self) -> float | None:
        """Return their number, on average, of all those; None where it cannot be told."""
        now_s = _busy_s()
        if now_s is None or self._busy_s is None:
            return self._load
        own_s, busy_s = time.process_time() - self._own_s, now_s - self._busy_s
        if busy_s < own_s / 2:
            return None  # what the system says is not so, as in some containers
        return max(0.0, busy_s - own_s) / (time.perf_counter() - self._wall_s)


def _busy_s() -> float | None:
    """Return the seconds that the processors of this process have worked, for anyone; None where it is not told."""
    try:
        mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
        # user, nice, system; irq, softirq, and what another system on the same machine took.
        return tick_s * sum(sum(map(int, [*words[1:4], *words[6:9]])) for words in lines if words[0] in mine)
    except (AttributeError, OSError, ValueError, IndexError):
        return None


def _copy(
    projector: Projector, threads: int, *, execution: str, n_features: int | None = None, n_pixels: int | None = None
) -> Projector:
    """Return a projector of the same device for another way, or for fewer features in line and fewer pixels."""
    geometry = projector.geometry
    region, layout = geometry.region, geometry.layout
    if n_pixels is not None:
        columns = min(n_pixels, region.sensor_columns)
        rows = -(-n_pixels // columns)
        region = Region(Roi(0, 0, rows, columns), n_pixels, region.sensor_columns)
    if n_features is not None:
        layout = MirrorLayout.lined(geometry.device.dmd.shape, n_features)
    resolution = "mirrors" if geometry.by_mirror else "auto"
    return Projector(
        geometry.device, geometry.seed, layout, region, resolution=resolution, execution=execution, threads=threads
    )


def _by_waves(projector: Projector, threads: int) -> WavesWay:
    """Return the way by waves of the same device."""
    way = _copy(projector, threads, execution="waves").way
    assert isinstance(way, WavesWay)
    return way


def _seconds(*works: Callable[[], object], at_once: int = 1) -> list[float]:
    """Median seconds of each work, done by `at_once` callers at the same time, in interleaved rounds.

    A first round, which may compile, does not count.
    """
    rounds: list[list[float]] = []
    with ThreadPoolExecutor(at_once) as pool:
        while len(rounds) <= _ROUNDS or sum(map(sum, rounds[1:])) < _LONG_S * len(works):
            times = []
            for work in works:
                start = time.perf_counter()
                for done in [pool.submit(work) for _ in range(at_once)]:
                    done.result()
                times.append(time.perf_counter() - start)
            rounds.append(times)
            if len(rounds) > 1 and sum(rounds[-1]) > 2 * _LONG_S * len(works):
                break  # so slow that one round is long enough to tell
    return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]


def _warm_up(like: Projector) -> None:
    """Load kernels and libraries, which the first use in a process takes seconds for."""
    if like.geometry.device.medium.by_feature or like.geometry.by_mirror:
        return  # of these there is no small one
    for execution in ("matrix", "waves") if like.plan.side else ("matrix",):
        _copy(like, 1, execution=execution, n_features=16, n_pixels=16).way.fields(_half_on(1, 16))


@dataclass(frozen=True)
class _Timer:
    """Times the parts, for patterns of `steps` frames against the reference arm, and of what is made of them."""

    steps: int
    reference: np.ndarray | None
    reduction: Callable[[int, int], Reduction | None] | None = None
    frames: int = 1

    def counts(self, geometry: Geometry, way: Way, bits: np.ndarray, steps: int) -> Callable[[], object]:
        """Work that makes the counts of patterns, at the device's working point."""
        device, region, samples = geometry.device, geometry.region, geometry.sampling.samples
        n = len(bits) * steps
        maps = device.camera.maps(geometry.seed, region.pixels())
        exposure_s = device.operation.exposure_s
        photons = device.photons_per_intensity(exposure_s)
        reference, phases = None, None
        if steps > 1:
            assert self.reference is not None, "steps need a reference arm"
            reference = np.resize(self.reference, (region.n_pixels, samples))
            phases = np.arange(n) * (2 * np.pi / steps)
        shots = Shots(0, np.arange(n), np.full(n, photons), exposure_s, maps, steps, reference, phases)

        def work() -> None:
            way.counts(bits, shots, np.empty((n, region.n_pixels), dtype=device.camera.dtype))

        return work

    def reduced(self, geometry: Geometry, way: Way, bits: np.ndarray) -> Callable[[], object] | None:
        """Work that reduces the frames of vectors, as bright as a calibration has them; None if there is none."""
        device, region, samples = geometry.device, geometry.region, geometry.sampling.samples
        found = None if self.reduction is None else self.reduction(*bits.shape)
        if found is None:
            return None
        n, camera, exposure_s = len(bits) * self.frames, device.camera, device.operation.exposure_s
        photons, reference, phases = device.photons_per_intensity(exposure_s), None, None
        if self.steps > 1:
            draw = np.random.default_rng(0).normal(size=(2, region.n_pixels, samples)) / 2**0.5
            reference = (draw[0] + 1j * draw[1]).astype(np.complex64)
            photons = _BRIGHT * camera.full_scale_dn / (camera.gain_dn_per_e * camera.quantum_efficiency)
            phases = np.arange(n) * (2 * np.pi / self.steps)
        maps = camera.maps(geometry.seed, region.pixels())
        shots = Shots(0, np.arange(n), np.full(n, photons), exposure_s, maps, self.frames, reference, phases)
        out = found.empty(len(bits), self.frames, region.n_pixels)
        return lambda: way.reduce(bits, shots, found, out)

    def waves(self, like: Projector, threads: int, at_once: int) -> dict[str, float]:
        """Rates of the way through the layer, on the grid of the projector."""
        geometry, way = like.geometry, _by_waves(like, threads)
        pixels, n = geometry.region.n_pixels, way.stack
        start = time.perf_counter()
        way.prepare(0)
        layer_s = time.perf_counter() - start
        bits = _half_on(n, geometry.source.n_features)
        works = [lambda: way.fields(bits), self.counts(geometry, way, bits, 1)]
        if self.steps > 1:
            works.append(self.counts(geometry, way, bits, self.steps))
        fields_s, counts_s, *steps_s = (seconds / n for seconds in _seconds(*works, at_once=at_once))
        fields_s = min(fields_s, counts_s)  # whatever the noise, together they are a vector
        made, shown = way.making(), way.showing(1)
        rates = {
            "layer": layer_s / made.layer_points,
            "transform": fields_s / (shown.transforms * shown.side**2),
            "frame": (counts_s - fields_s) / pixels,
        }
        if steps_s:
            rates["step"] = max(0.0, steps_s[0] - fields_s) / (self.steps * pixels)
        return rates

    def sums(self, like: Projector, calls: Sequence[tuple[int, int]]) -> list[dict[str, float]]:
        """Rates of the kernel of sums, on a small matrix of the same device; one of eight features tells the camera."""
        threads, samples = calls[0][0], like.plan.samples
        n_features = min(like.geometry.source.n_features, _FEATURES)
        n_pixels = min(like.geometry.region.n_pixels, max(1, _FIELDS // samples))
        if like.geometry.device.medium.by_feature:  # its matrix belongs to its features
            large = small = _copy(like, threads, execution="matrix")
            n_features, n_pixels = like.geometry.source.n_features, like.geometry.region.n_pixels
        else:
            large = _copy(like, threads, execution="matrix", n_features=n_features, n_pixels=n_pixels)
            small = _copy(like, threads, execution="matrix", n_features=min(8, n_features), n_pixels=n_pixels)
        start = time.perf_counter()
        large.way.prepare(0)
        build_s = time.perf_counter() - start
        small.way.prepare(0)
        made = large.way.making()
        if made.transforms:
            # What the waves do not explain of it.
            waves = _by_waves(large, threads)
            bits = _half_on(waves.stack, n_features)
            start = time.perf_counter()
            waves.prepare(0)
            passes = made.transforms // waves.showing(1).transforms
            build_s -= time.perf_counter() - start + passes * _seconds(lambda: waves.fields(bits))[0] / len(bits)
        entry_s = max(0.0, build_s) / made.entries
        groups = large.way.showing(1).sums
        few, many = matrix_kernels.VECTORS // 8, matrix_kernels.VECTORS
        shown = ((small, many), (large, few), (large, many))
        result = []
        for threads, at_once in calls:

            def counts(projector: Projector, n: int, steps: int = 1, threads: int = threads) -> Callable[[], object]:
                way, geometry = projector.way, projector.geometry
                assert isinstance(way, MatrixWay)
                bits = _half_on(n, geometry.source.n_features)
                return self.counts(geometry, way.with_threads(threads), bits, steps)

            works = [counts(projector, n) for projector, n in shown]
            if self.steps > 1:
                works.append(counts(small, many // self.steps, self.steps))
            vectors = many // self.frames
            way = small.way
            assert isinstance(way, MatrixWay)
            bits = _half_on(vectors, small.geometry.source.n_features)
            reduced = self.reduced(small.geometry, way.with_threads(threads), bits)
            if reduced is not None:
                works.append(reduced)
            camera_s, few_s, many_s, *rest_s = _seconds(*works, at_once=at_once)
            frame_s = camera_s / many
            sums_s = max(0.0, (many_s - few_s) / (many - few) - frame_s)
            rates = {
                "frame": frame_s / n_pixels,
                "sum": sums_s / groups,
                "table": max(0.0, many_s - many * (sums_s + frame_s)) / groups,
                "entry": entry_s,
            }
            if reduced is not None:
                rates["reduced"] = rest_s.pop() / (vectors * self.frames * n_pixels)
            if rest_s:
                rates["step"] = rest_s[0] / (many // self.steps * self.steps * n_pixels)
            result.append(rates)
        return result

    def finish(self, projector: Projector, finish: Callable[[np.ndarray], object], at_once: int) -> float:
        """Seconds a pixel of what follows the frames, for a few megabytes of them."""
        pixels, camera = projector.geometry.region.n_pixels, projector.geometry.device.camera
        n = self.steps * max(4, min(64, (4 << 20) // (pixels * self.steps)))
        # As many bursts have a saturated frame as at a calibrated exposure: one in fourteen of four steps.
        level = camera.full_scale_dn / 4
        frames = np.random.default_rng(0).exponential(level, (n, pixels)).clip(0, camera.full_scale_dn)
        frames = frames.astype(camera.dtype)
        return _seconds(lambda: finish(frames), at_once=at_once)[0] / frames.size


def _half_on(n: int, n_features: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, n_features), dtype=np.uint8)


# ---------------------------------------------------------------- keeping


def machine() -> str:
    """Return what names this machine and what runs on it: rates hold for it alone."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    parts = (platform.node(), processor, parallel.default_threads(), platform.python_version(), np.__version__)
    return ", ".join(map(str, parts))


class RateStore:
    """Rates of earlier runs, in a JSON file of the user's cache folder.

    Parameters
    ----------
    path : Path, optional
        The file; by default ``rates.json`` in the cache folder that `opusim.datasets` uses, which OPUSIM_CACHE names.

    Notes
    -----
    Rates of another machine or another version of opusim are not found. A file that cannot be read counts as empty,
    and one that cannot be written costs no more than measuring again.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            path = cache_folder() / "rates.json"
        self.path = path

    @staticmethod
    def key(projector: Projector, threads: int, at_once: int, mode: tuple[int, ...] = (1, 1)) -> str:
        """Return under which name the rates of a projector are kept: all that they depend on.

        Parameters
        ----------
        projector : Projector
            What they are for.
        threads, at_once : int
            Threads of a call, and calls at a time.
        mode : tuple of int
            What distinguishes a transform from a linear one: steps, and patterns of a vector.

        Returns
        -------
        str
            The name.
        """
        plan, geometry = projector.plan, projector.geometry
        device = geometry.device
        size: tuple[Any, ...] = (plan.way, plan.side, plan.samples, geometry.by_mirror)
        if plan.way == "waves":
            size += (geometry.region.n_pixels, geometry.source.n_features)
        else:
            size += (device.medium.kind,)
        words = json.dumps([opusim.__version__, machine(), device.fingerprint(), threads, at_once, mode, size])
        return hashlib.sha256(words.encode()).hexdigest()[:16]

    def load(self, key: str) -> Rates | None:
        """Return the rates that are kept under a name.

        Parameters
        ----------
        key : str
            From `key`.

        Returns
        -------
        Rates or None
            None if there are none.
        """
        try:
            return Rates(**self._read()[key]["rates"])
        except (KeyError, TypeError):
            return None

    def save(self, key: str, rates: Rates) -> None:
        """Keep rates under a name.

        Parameters
        ----------
        key : str
            From `key`.
        rates : Rates
            What to keep.
        """
        content = self._read()
        content[key] = {
            "machine": machine(), "version": opusim.__version__, "rates": dataclasses.asdict(rates)
        }  # fmt: skip
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        except OSError:
            pass

    def _read(self) -> dict[str, Any]:
        try:
            content = parse_json(read_text(self.path))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
