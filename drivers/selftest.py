"""Whether this machine gives the same light as any other: a fixed table of cases, and the hashes of their results.

The cases go through presets, ways, kinds of vectors, media and modes. `check` compares what they give in several ways
of running them on one machine, one of them a new process that uses none of the processor's vector instructions;
`compare` compares two tables of hashes, of two machines or versions; that of a release comes with it (`PUBLISHED`).
docs/physics.md says what is the same and why.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from opusim.base.numerics import environment, numpy_dispatch, numpy_features

__all__ = ["PUBLISHED", "TABLE", "Case", "check", "compare", "digests", "plain_environment", "published", "read_table"]

#: The hashes of the release: what every x86-64 processor gives. `python -m tests.golden.hashes` makes it.
PUBLISHED = Path(__file__).with_name("published_hashes.json")
_FORMAT = "opusim selftest"
#: What its hashes depend on beside the kind of processor: docs/reference/hashes.md.
_LIBRARIES = ("numpy", "scipy", "numba")
#: Number of the table of cases: hashes of two numbers cannot be compared.
VERSION = 2
#: docs/design.md: counts of the two ways differ in at most this share, by one level or an electron.
_WAYS_SHARE = 0.01
_FEATURES, _COMPONENTS, _VECTORS = 300, 400, 8

Progress = Callable[[str], object]


@dataclass(frozen=True)
class Case:
    """A device, and what is asked of it.

    Parameters
    ----------
    name : str
        Its name.
    device : dict
        Tables of a device, as in a TOML file.
    seed : int
        Of the device.
    calls : tuple of str
        Methods of `OPU`, one after the other on the same vectors; "later" stands for `transform` six hours later, and
        "frames" for frames of a bench under phases of the reference arm.
    ways : tuple of str
        How the light is computed: "matrix", "waves".
    fit : str
        "1d", "2d" or "packed".
    n_components : int
        Outputs of a vector.
    one_call : bool
        Whether vectors in several calls are other frames: a camera that lags reads the end of a call in the next one.
    """

    name: str
    device: Mapping[str, Any] = field(default_factory=lambda: {"preset": "aurora@1"})
    seed: int = 0
    calls: tuple[str, ...] = ("transform",)
    ways: tuple[str, ...] = ("matrix", "waves")
    fit: str = "1d"
    n_components: int = _COMPONENTS
    one_call: bool = False

    @property
    def linear_mode(self) -> str:
        """The mode of its linear transforms."""
        return "holographic" if "field_transform" in self.calls else "intensity"

    @property
    def most_apart(self) -> int:
        """Levels by which a count of the two ways may differ: one, or an electron where that is more."""
        from opusim.device.record import Device

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # told when the case was run
            camera = Device.from_dict(dict(self.device)).camera
        return max(1, math.ceil(camera.gain_dn_per_e))

    def run(self, way: str, *, threads: int | None = None, parts: int = 1) -> dict[str, np.ndarray]:
        """Return the results by call.

        Parameters
        ----------
        way : str
            One of `ways`.
        threads : int, optional
            Threads; all processors by default.
        parts : int
            In how many batches `transform` is given the vectors, unless they belong in one call.

        Returns
        -------
        dict of ndarray
            Counts, or floats of a camera that does not round and of linear transforms.
        """
        from opusim.device.record import Device
        from opusim.drivers import OPU

        device = Device.from_dict(dict(self.device))
        if self.calls == ("frames",):
            return {"frames": _frames(device, self.seed, way, threads)}
        x, results = self._vectors(), {}
        options: dict[str, Any] = {"execution": way, "linear_mode": self.linear_mode, "threads": threads}
        with OPU(self.n_components, device=device, seed=self.seed, disable_pbar=True, **options) as opu:
            if self.fit == "2d":
                opu.fit2d(x)
            else:
                opu.fit1d(x, packed=self.fit == "packed")
            if self.linear_mode == "holographic":
                opu.calibrate(store=False)  # nothing that the user keeps is read or written
            for call in self.calls:
                if call == "later":
                    opu.device.bench.skip_frames(round(6 * 3600 / device.operation.frametime_s))
                if call in ("transform", "later"):
                    given = np.array_split(x, 1 if self.one_call else parts)
                    made = [np.asarray(opu.transform(part)) for part in given]
                    results[call] = np.concatenate(made)
                else:
                    results[call] = np.asarray(getattr(opu, call)(x))
        return results

    def _vectors(self) -> np.ndarray:
        bits = _random_bits(f"vectors of {self.name}", _VECTORS * _FEATURES).reshape(_VECTORS, _FEATURES)
        if self.fit == "packed":
            return np.packbits(bits, axis=1)
        return bits.reshape(_VECTORS, 15, 20) if self.fit == "2d" else bits


def _aurora(**tables: Any) -> dict[str, Any]:
    return {"preset": "aurora@1", **tables}


def _bare(**tables: Any) -> dict[str, Any]:
    """Tables of a device whose camera hides nothing: a last bit of the light is one of its numbers."""
    return {"preset": "ideal@1", **tables}


_AREAS = {"polarised": False, "pixel_over_grain": 0.7}
# A few thousand mirrors and pixels: mirror by mirror at little cost.
_FEW: dict[str, Any] = {"camera": {"shape": [64, 90]}, "operation": {"ones_range": [200, 4000]}}
_SMALL = _aurora(dmd={"shape": [60, 76]}, **_FEW)
_GAUSSIAN = {"kind": "gaussian", "transmission": 8.37e-11, "decorrelation_time_s": 86400.0}
_ARM = {
    "relative_amplitude": 3.0, "beam_radius_m": 2e-4, "wavefront_rms_rad": 0.5, "carrier_cycles_per_pixel": [0.2, 0.1],
    "scale_error": 0.02, "nonlinearity": 0.01, "jitter_rad": 0.02, "drift_rad_per_minute": 0.1, "vibration_rad": 0.1,
    "coherence": 0.9,
}  # fmt: skip
_MATRIX, _WAVES = ("matrix",), ("waves",)

#: The cases, in order.
TABLE = (
    Case("aurora@2", {"preset": "aurora@2"}, calls=("transform", "later")),
    Case("ideal@2", {"preset": "ideal@2"}),
    Case("aurora-type1@2", {"preset": "aurora-type1@2"}, 1, ways=_MATRIX),
    Case("aurora-type3@2", {"preset": "aurora-type3@2"}, 2, ways=_MATRIX),
    Case("aurora@1", calls=("transform", "later")),
    Case("ideal@1", _bare()),
    Case("aurora-type1@1", {"preset": "aurora-type1@1"}, 1, ways=_MATRIX),
    Case("aurora-type3@1", {"preset": "aurora-type3@1"}, 2, ways=_MATRIX),
    Case("both polarisations, areas", _aurora(camera=_AREAS), 3),
    Case("both polarisations, areas, ideal", _bare(camera=_AREAS), 4, n_components=200),
    Case("many points of a pixel", _bare(camera={"pixel_over_grain": 8.0}), 5, ways=_WAVES, n_components=16),
    # Unscattered light falls on the middle of what is read: on no pixel of the first rows.
    Case("ballistic light", _bare(medium={"ballistic_fraction": 0.2}), 5, n_components=2040),
    Case("twelve bits", _aurora(camera={"bits": 12, "gain_dn_per_e": 0.6}), 6),
    Case("counts not rounded", _aurora(camera={"quantise": False}), 7),
    Case("a state of the medium every third frame", _bare(medium={"decorrelation_time_s": 0.5}), 8),
    Case(
        "laser and medium drift", _bare(
            laser={"power_noise": 0.002, "power_drift_per_hour": 0.01}, medium={"decorrelation_time_s": 86400.0}
        ), 8, ("transform", "later"),
    ),
    Case(
        "averaged over the exposure", _bare(
            laser={"power_noise": 0.002, "power_noise_bandwidth_hz": 50e3}, medium={"decorrelation_time_s": 1e-3},
            operation={"exposure_average": True},
        ), 8,
    ),
    Case("Gaussian matrix", _aurora(medium=_GAUSSIAN), 9, ("transform", "later"), _MATRIX),
    Case("Gaussian matrix, ideal", _bare(medium=_GAUSSIAN), 9, ("transform", "later"), _MATRIX),
    Case("pictures", seed=10, fit="2d", ways=_MATRIX),
    Case("packed", seed=11, fit="packed", ways=_WAVES),
    Case("mirror by mirror", {**_SMALL, "resolution": "mirrors"}, 12, n_components=90),
    Case(
        "uneven beam, wavefront, stuck mirrors, leakage",
        _bare(resolution="mirrors", dmd={
            "shape": [60, 76], "beam_radius_m": 4e-4, "aberration_rms_rad": 1.5, "stuck_on_fraction": 0.02,
            "stuck_off_fraction": 0.03, "contrast_ratio": 50.0,
        }, **_FEW),
        13, n_components=90,
    ),
    Case("reference arm", {**_SMALL, "reference": _ARM}, 14, ("frames",)),
    Case(
        "reference arm on many points",
        _bare(dmd={"shape": [60, 76]}, reference=_ARM, camera={"shape": [64, 90], "pixel_over_grain": 8.0},
              operation=_FEW["operation"]),
        14, ("frames",), _WAVES,
    ),
    Case("reference arm, ideal", _bare(dmd={"shape": [60, 76]}, reference=_ARM, **_FEW), 14, ("frames",)),
    Case("linear by intensities", seed=15, calls=("linear_transform",), n_components=200),
    Case("linear by intensities, ideal", _bare(), 16, ("linear_transform",), n_components=200),
    Case("linear by holography", _SMALL, 17, ("linear_transform", "field_transform"), n_components=200),
    Case("linear by intensities, aurora@2", {"preset": "aurora@2"}, 18, ("linear_transform",), n_components=200),
    Case(
        "linear by holography, aurora@2", {"preset": "aurora@2", "dmd": {"shape": [60, 76]}, **_FEW}, 19,
        ("linear_transform", "field_transform"), n_components=200,
    ),
    Case("rolling shutter, rows and columns, telegraph noise",
         {"preset": "aurora@2", "camera": {"preset": "Zyla 4.2@2"}}, 20),
    Case("a camera that lags", {"preset": "aurora@2", "camera": {"lag": 0.1}}, 21, one_call=True),
    Case("pixels that integrate behind lenses",
         {"preset": "ideal@2", "dmd": {"shape": [60, 76]}, "optics": {"pixel_integration": True}, **_FEW},
         22, ways=_WAVES, n_components=60),
)  # fmt: skip


def _random_bits(text: str, n: int) -> np.ndarray:
    """Return `n` bits that follow from a text and from no library of random numbers."""
    stream = hashlib.shake_128(text.encode()).digest(-(-n // 8))
    return np.unpackbits(np.frombuffer(stream, dtype=np.uint8), count=n)


def _frames(device: Any, seed: int, way: str, threads: int | None) -> np.ndarray:
    """Frames of patterns and of the dark, under phases of the reference arm and without it, now and an hour later."""
    from opusim.bench.bench import OpticalBench
    from opusim.patterns.layout import MirrorLayout, MirrorPatterns

    bench = OpticalBench(device, seed, execution=way, threads=threads)
    layout = MirrorLayout.lined(bench.mirror_shape, 100)
    patterns = MirrorPatterns(_random_bits("patterns", 400).reshape(4, 100), layout)
    how: dict[str, Any] = {"exposure_s": 400e-6, "roi": (20, 30, 16, 25)}
    phases = np.array([0.0, math.pi / 2, 4.0])
    frames = [bench.expose(patterns, reference_phase_rad=phases, **how), bench.expose(patterns, **how)]
    bench.skip_frames(1_800_000)
    frames += [bench.expose(patterns, reference_phase_rad=phases, **how), bench.expose(None, **how)]
    return np.concatenate(frames)


def digests(progress: Progress | None = None) -> dict[str, str]:
    """Return the hashes of all results.

    Parameters
    ----------
    progress : callable, optional
        Told the name of each case before it is run.

    Returns
    -------
    dict of str
        For each case, way and call the sha256 of the values as they lie in memory, little-endian.
    """
    return {label: _digest(values) for label, values in _results(progress).items()}


def _results(
    progress: Progress | None = None, *, threads: int | None = None, parts: int = 1
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the values by "case, way, call"; of a split run those alone that are given vectors in parts."""
    found = {}
    with warnings.catch_warnings():
        # That a medium has changed since the fit is told, and meant here.
        warnings.simplefilter("ignore", UserWarning)
        for case in TABLE:
            for way in case.ways:
                if progress is not None:
                    progress(f"{case.name}, {way}")
                results = case.run(way, threads=threads, parts=parts)
                found.update({_label(case, way, call): values for call, values in results.items()})
    return found


def _label(case: Case, way: str, call: str) -> str:
    return f"{case.name} | {way} | {call}"


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def check(progress: Progress | None = None, *, plain: bool = True) -> tuple[dict[str, str], list[str]]:
    """Run the table in several ways on this machine and compare.

    Parameters
    ----------
    progress : callable, optional
        Told what is run, before it is.
    plain : bool
        Whether a new process runs it as well, for which numba compiles for the plainest processor of the kind, and
        numpy, the C library and OpenBLAS use none of the instructions that they choose by the processor.

    Returns
    -------
    found : dict of str
        Hashes, as `digests` returns them.
    differences : list of str
        A sentence for each result that another run gave otherwise; empty if all are the same.

    Raises
    ------
    RuntimeError
        If the new process fails.
    """
    told: Progress = progress if progress is not None else _silent
    whole = _results(progress)
    found = {label: _digest(values) for label, values in whole.items()}
    differences = list(_between_ways(whole))
    told("three threads, vectors in three parts")
    for label, values in _results(threads=3, parts=3).items():
        if _digest(values) != found[label]:
            differences.append(f"{label}: three threads and vectors in three parts give other bits.")
    if plain:
        told("a new process without the processor's vector instructions")
        other = _plain_digests()
        differences += [
            f"{label}: a process without the processor's vector instructions gives other bits."
            for label, digest in found.items()
            if other.get(label) != digest
        ]
    return found, differences


def _between_ways(results: Mapping[str, np.ndarray]) -> list[str]:
    """Compare the counts of the two ways, which are one device to rounding."""
    sentences = []
    for case in TABLE:
        for call in case.calls:
            if case.ways != ("matrix", "waves"):
                continue
            one, other = (results[_label(case, way, call)] for way in case.ways)
            if one.dtype.kind not in "iu":
                continue
            apart = np.abs(one.astype(np.int64) - other.astype(np.int64))
            n = int(np.count_nonzero(apart))
            if n > _WAYS_SHARE * one.size or int(apart.max(initial=0)) > case.most_apart:
                sentences.append(
                    f"{case.name} | {call}: {n} of {one.size} counts of the two ways differ, by {apart.max()} at most; "
                    f"at most {_WAYS_SHARE:.0%} may, by {case.most_apart}."
                )
    return sentences


def _plain_digests() -> dict[str, str]:
    code = "import json; from opusim.drivers.selftest import digests; print(json.dumps(digests()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **plain_environment()}
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"The process without vector instructions ended with {done.returncode}: {last}")
    result: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def plain_environment() -> dict[str, str]:
    """Return the variables that keep a new process from what it would choose by the processor.

    Returns
    -------
    dict of str
        For numba, numpy, and on x86-64 for OpenBLAS and glibc.
    """
    variables = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    used = numpy_features()
    variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(name for name in numpy_dispatch() if name in used)
    if platform.machine().lower() in ("x86_64", "amd64"):
        variables["OPENBLAS_CORETYPE"] = "Nehalem"
        if platform.libc_ver()[0] == "glibc":
            # Names of glibc before 2.33 and since; each ignores those that it does not know.
            off = ("AVX2_Usable", "FMA_Usable", "AVX2", "FMA", "FMA4", "AVX512F")
            variables["GLIBC_TUNABLES"] = "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in off)
    return variables


def table_of(found: Mapping[str, str]) -> dict[str, Any]:
    """Return hashes as a file holds them, with what they were made with.

    Parameters
    ----------
    found : mapping of str
        From `digests` or `check`.

    Returns
    -------
    dict
        Ready for JSON.
    """
    from opusim import __version__

    return {
        "format": _FORMAT, "table": VERSION, "opusim": __version__, "made_with": environment(), "sha256": dict(found),
    }  # fmt: skip


def read_table(path: Path) -> dict[str, Any]:
    """Return the table of a file.

    Parameters
    ----------
    path : Path
        A file that ``opusim selftest --write`` wrote, or `PUBLISHED`.

    Returns
    -------
    dict
        As from `table_of`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is no such file, a pipe or a device, or of another table of cases.
    """
    from opusim.base.plain_files import check_plain, parse_json, read_text

    check_plain(path, noun="table of hashes", wanted="a table of hashes (JSON)")
    try:
        table: Any = parse_json(read_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is no table of hashes: it is no JSON ({error}).") from error
    if not isinstance(table, dict) or table.get("format") != _FORMAT or not isinstance(table.get("sha256"), dict):
        raise ValueError(f"{path} is no table of hashes: `opusim selftest --write FILE` makes one.")
    if table.get("table") != VERSION:
        raise ValueError(
            f"{path} holds table {table.get('table')!r} of cases, but this version of opusim has table {VERSION}: "
            "write it anew with the same version on both machines."
        )
    return table


def published() -> tuple[dict[str, Any] | None, str]:
    """Return the table of the release where this machine should give its hashes.

    They are promised for the kind of processor and the versions of numpy, scipy and numba that they were made with; a
    version's third number is not looked at.

    Returns
    -------
    table : dict or None
        As from `table_of`; None where its hashes need not hold here, or it cannot be read.
    reason : str
        Why there is none, a sentence; empty where there is one.
    """
    try:
        table = read_table(PUBLISHED)
        made = {name: str(table["made_with"][name]) for name in ("machine", *_LIBRARIES)}
    except (OSError, ValueError, KeyError, TypeError):
        return None, (
            f"The published hashes, which come with opusim in {PUBLISHED}, are missing or damaged, so that nothing was "
            "compared with them: reinstall opusim."
        )
    here = environment()
    kind, its_kind = _processor_kind(here["machine"]), _processor_kind(made["machine"])
    others = [] if kind == its_kind else [f"a processor of the kind {its_kind} (here {kind})"]
    others += [
        f"{name} {made[name]} (here {here[name]})" for name in _LIBRARIES if _series(made[name]) != _series(here[name])
    ]
    if not others:
        return table, ""
    return None, (
        f"Nothing was compared with the published hashes of opusim {table.get('opusim')}, which need not hold here: "
        f"they were made with {', '.join(others)}. Two machines that are alike are compared by --write and --compare."
    )


def _processor_kind(machine: str) -> str:
    """Return the kind of processor of a system and its machine, such as "Linux x86_64", by one name."""
    kind = machine.lower().rpartition(" ")[2]
    return {"amd64": "x86-64", "x86_64": "x86-64", "aarch64": "arm64"}.get(kind, kind)


def _series(version: str) -> list[str]:
    """Return the first two numbers of a version: libraries whose first stays compute otherwise by the second."""
    return version.split(".")[:2]


def compare(found: Mapping[str, str], stored: Mapping[str, str]) -> list[str]:
    """Compare two tables of hashes.

    Parameters
    ----------
    found, stored : mapping of str
        Hashes of this machine, and of another one or of the release.

    Returns
    -------
    list of str
        A sentence for each result that differs or that one of them lacks.
    """
    sentences = []
    for label in {**found, **stored}:
        here, there = found.get(label), stored.get(label)
        if here is None or there is None:
            sentences.append(f"{label}: only {'in the table' if here is None else 'here, not in the table'}.")
        elif here != there:
            sentences.append(f"{label}: other bits here, {here[:16]}, than in the table, {str(there)[:16]}.")
    return sentences


def _silent(text: str) -> None:
    """Do nothing with the progress."""
