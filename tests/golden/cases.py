"""Cases whose numbers are pinned: each a device, a seed, vectors and calls, told in plain values.

A case is made with an empty configuration folder of its own. Its vectors come from SHAKE-128, so that they depend on no
library; a measured matrix is made in the same way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np

from opusim import OPU, Device, OpticalBench
from opusim.device.toml import presets
from opusim.encoding import SeparatedBitPlanDecoder, SeparatedBitPlanEncoder
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

#: Vectors that are kept of each call: the last ones.
KEPT = 8
#: Versions of presets that no release has had yet: their fields and their numbers may still change.
UNRELEASED: tuple[str, ...] = ("ngrc-bench@1",)
#: Versions of presets whose fields are pinned.
PRESET_NAMES = tuple(sorted(set(presets()) - set(UNRELEASED)))


@dataclass(frozen=True)
class Call:
    """One call on the vectors of a case.

    Parameters
    ----------
    method : str
        "transform", "linear_transform" or "field_transform" of `OPU`; "bit_planes", which is `linear_transform` of
        numbers of either sign with an encoder of bit planes; or "expose", frames of an `OpticalBench`.
    after_s : float
        Seconds that pass on the device's clock before it.
    """

    method: str = "transform"
    after_s: float = 0.0

    @property
    def label(self) -> str:
        """Name of the result."""
        return self.method + (f"_{self.after_s:g}_s_later" if self.after_s else "")


@dataclass(frozen=True)
class Case:
    """What is simulated, and what is asked of it.

    Parameters
    ----------
    name : str
        Its name, and that of its files. Two names that differ in the ending "-matrix" or "-waves" are one device.
    device : dict
        Tables of a device, as in a TOML file. A path in it is one within the case's folder.
    seed : int
        Of the device.
    options : dict
        Further arguments of `OPU`.
    fit : str
        "1d", "2d" or "packed".
    n_features : int or tuple of int
        Features of a vector.
    n_components : int
        Outputs of a vector.
    n_vectors : int
        Vectors of a call.
    calls : tuple of Call
        The calls, one after the other on the same `OPU`.
    """

    name: str
    device: Mapping[str, Any] = field(default_factory=lambda: {"preset": "aurora@1"})
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=lambda: {"execution": "matrix"})
    fit: str = "1d"
    n_features: int | tuple[int, int] = 300
    n_components: int = 400
    n_vectors: int = KEPT
    calls: tuple[Call, ...] = (Call(),)

    def described(self) -> dict[str, Any]:
        """Return the case as JSON holds it."""
        table = dataclasses.asdict(self)
        if isinstance(self.n_features, tuple):
            table["n_features"] = list(self.n_features)
        table["calls"] = [dataclasses.asdict(call) for call in self.calls]
        return table

    def run(self, folder: Path) -> dict[str, np.ndarray]:
        """Return the results by label, the last vectors of each call.

        Parameters
        ----------
        folder : Path
            An empty folder, for the configuration and for a measured matrix.
        """
        with _configuration_in(folder), warnings.catch_warnings():
            # A calibration is told, and so is a medium that has changed since: both are meant here.
            warnings.simplefilter("ignore", UserWarning)
            device = self._device(folder)
            if self.calls[0].method == "expose":
                return {"expose": _frames(OpticalBench(device, self.seed, **self.options))}
            x = self._vectors()
            with OPU(self.n_components, device=device, seed=self.seed, **self.options) as opu:
                if self.calls[0].method == "bit_planes":
                    opu.fit1d(n_features=x.shape[1])
                elif self.fit == "2d":
                    opu.fit2d(x)
                else:
                    opu.fit1d(x, packed=self.fit == "packed")
                return {call.label: _called(opu, x, call) for call in self.calls}

    def _device(self, folder: Path) -> Device:
        table = dict(self.device)
        medium = table.get("medium", {})
        if "path" in medium:
            path = folder / medium["path"]
            _write_matrix(path, self.n_components, math.prod(np.atleast_1d(self.n_features).tolist()))
            table["medium"] = {**medium, "path": str(path)}
        return Device.from_dict(table)

    def _vectors(self) -> np.ndarray:
        n = math.prod(np.atleast_1d(self.n_features).tolist())
        if self.calls[0].method == "bit_planes":
            return random_bytes("numbers", self.n_vectors * n).view(np.int8).reshape(self.n_vectors, n)
        bits = np.unpackbits(random_bytes("vectors", -(-self.n_vectors * n // 8)), count=self.n_vectors * n)
        bits = bits.reshape(self.n_vectors, n)
        if self.fit == "packed":
            return np.packbits(bits, axis=1)
        return bits.reshape(self.n_vectors, *np.atleast_1d(self.n_features))


def random_bytes(text: str, n: int) -> np.ndarray:
    """Return `n` bytes that follow from a text, the same everywhere: uint8, writable."""
    return np.frombuffer(bytearray(hashlib.shake_128(text.encode()).digest(n)), dtype=np.uint8)


@contextlib.contextmanager
def _configuration_in(folder: Path) -> Iterator[None]:
    """Let the user's configuration be in a folder, on each system where it looks for it."""
    names = {"linux": "XDG_CONFIG_HOME", "darwin": "HOME", "win32": "APPDATA"}
    with mock.patch.dict(os.environ, {names.get(sys.platform, "XDG_CONFIG_HOME"): str(folder)}):
        yield


def _write_matrix(path: Path, n_outputs: int, n_inputs: int) -> None:
    """Write a matrix and a background of odd multiples of 1/128, even from -255/128 to 255/128: exact in any type."""
    shape = (n_outputs, n_inputs + 1, 2)
    values = (2.0 * random_bytes("measured matrix", math.prod(shape)) - 255) / 128
    values = values.reshape(shape)
    entries = values[..., 0] + 1j * values[..., 1]
    with h5py.File(path, "w") as file:
        file["tm"], file["background"] = entries[:, 1:], entries[:, 0]


def _called(opu: OPU, x: np.ndarray, call: Call) -> np.ndarray:
    if call.after_s:
        opu.device.bench.skip_frames(round(call.after_s / opu.device.device_model.operation.frametime_s))
    if call.method == "bit_planes":
        result = opu.linear_transform(x, SeparatedBitPlanEncoder(precision=3), SeparatedBitPlanDecoder)
    else:
        result = getattr(opu, call.method)(x)
    return np.asarray(result)[-KEPT:]


def _frames(bench: OpticalBench) -> np.ndarray:
    """Eight frames: mirrors alone and under two phases, patterns of the formatter, the dark, and a flat field."""
    rows, columns = bench.mirror_shape
    mirrors = np.unpackbits(random_bytes("mirrors", -(-rows * columns // 8)), count=rows * columns)
    layout = MirrorLayout.lined(bench.mirror_shape, 100)
    patterns = MirrorPatterns(np.unpackbits(random_bytes("patterns", 25)).reshape(2, 100), layout)
    how: dict[str, Any] = {"exposure_s": 400e-6, "roi": (530, 1000, 16, 25)}
    mirrors = mirrors.reshape(rows, columns)
    return np.concatenate(
        [
            bench.expose(mirrors, **how),
            bench.expose(mirrors, reference_phase_rad=[0.0, math.pi / 2], **how),
            bench.expose(patterns, **how),
            bench.expose(None, **how),
            bench.flat_field(1000.0, n_frames=2, **how),
        ]
    )


# ---------------------------------------------------------------- the cases

_IDEAL = {"preset": "ideal@1"}
# A few thousand mirrors and pixels: mirror by mirror at little cost.
_SMALL = {
    "preset": "aurora@1",
    "dmd": {"shape": [60, 76]},
    "camera": {"shape": [64, 90]},
    "operation": {"ones_range": [200, 4000]},
}
_AREAS = {"polarised": False, "pixel_over_grain": 0.7}
_MIRRORS = {**_SMALL, "resolution": "mirrors"}
_WORN = {
    **_SMALL,
    "dmd": {
        "shape": [60, 76],
        "contrast_ratio": 50.0,
        "stuck_on_fraction": 0.02,
        "stuck_off_fraction": 0.03,
        "aberration_rms_rad": 1.5,
    },
    "camera": {
        "shape": [64, 90],
        "full_well_e": 600.0,
        "hot_pixel_fraction": 0.1,
        "hot_pixel_dark_e_per_s": 5e5,
        "dark_current_e_per_s": 20000.0,
        "prnu": 0.1,
        "dsnu_e": 30.0,
        "read_noise_e": 40.0,
    },
}
_GAUSSIAN = {"kind": "gaussian", "transmission": 8.37e-11, "decorrelation_time_s": 86400.0}
_MEASURED = {"kind": "measured", "path": "tm.h5", "transmission": 8.37e-11, "decorrelation_time_s": 86400.0}
_MATRIX, _WAVES = {"execution": "matrix"}, {"execution": "waves"}
_INTENSITY = {**_MATRIX, "linear_mode": "intensity"}
# A quarter of the time in which the medium becomes another one.
_LATER = (Call(), Call(after_s=21600.0))
_LINEAR = (Call("linear_transform"),)
_PLANES = (Call("bit_planes"),)
_HOLOGRAPHY = (Call("linear_transform"), Call("field_transform"), Call("field_transform", after_s=60.0))


def aurora(**tables: Any) -> dict[str, Any]:
    """Return the tables of aurora with some fields changed."""
    return {"preset": "aurora@1", **tables}


def both_ways(name: str, **rest: Any) -> list[Case]:
    """Return a case for each of the ways, matrix and waves."""
    options = rest.pop("options", {})
    return [Case(f"{name}-{way}", options={**options, "execution": way}, **rest) for way in ("matrix", "waves")]


_LIST = [
    # Counts.
    *both_ways("aurora", calls=_LATER),
    *both_ways("ideal", device=_IDEAL, n_components=200),
    Case("aurora-type1", {"preset": "aurora-type1@1"}, seed=1),
    Case("aurora-type3", {"preset": "aurora-type3@1"}, seed=2),
    # Two polarisations of four samples each.
    *both_ways("unpolarised-areas", device=aurora(camera=_AREAS), seed=3),
    *both_ways("unpolarised-areas-ideal", device={**_IDEAL, "camera": _AREAS}, seed=28, n_components=200),
    *both_ways("ballistic", device=aurora(medium={"ballistic_fraction": 0.2}), seed=4),
    *both_ways("twelve-bits", device=aurora(camera={"bits": 12, "gain_dn_per_e": 0.6}), seed=5),
    # Noise and light without the rounding that hides their last bits.
    *both_ways("unrounded", device=aurora(camera={"quantise": False}), seed=25),
    # Faults that are rare or small on aurora.
    *both_ways("worn", device=_WORN, seed=26, n_features=100),
    *both_ways("one-screen", device=aurora(medium={"n_screens": 1, "depolarising": False}), seed=27),
    # A new state of the medium every 1.6 ms, so about every third frame.
    *both_ways("restless", device=aurora(medium={"decorrelation_time_s": 0.5}), seed=6),
    Case("mirrors", aurora(resolution="mirrors"), seed=7, options=_WAVES),
    *both_ways("mirrors-small", device=_MIRRORS, seed=8, n_features=120, n_components=90),
    Case("gaussian", aurora(medium=_GAUSSIAN), seed=9, calls=_LATER),
    Case("gaussian-tiles", aurora(medium=_GAUSSIAN), seed=9, options={"memory_budget": 1}, calls=_LATER),
    Case("gaussian-mirrors", {**_MIRRORS, "medium": _GAUSSIAN}, seed=10, n_features=120, n_components=90),
    Case(
        "gaussian-mirrors-ideal",
        {**_MIRRORS, **_IDEAL, "medium": _GAUSSIAN},
        seed=29,
        n_features=120,
        n_components=90,
    ),
    Case("measured", aurora(medium=_MEASURED), seed=11, calls=_LATER),
    # Fewer outputs than features: the matrix is made backwards.
    *both_ways("packed", fit="packed", seed=12, n_features=781, n_components=300),
    *both_ways("pictures", fit="2d", seed=13, n_features=(20, 24)),
    Case("small-region", seed=14, options={**_MATRIX, "input_roi_strategy": "small"}),
    Case("every-mirror", seed=15, options=_WAVES, fit="packed", n_features=1_039_680),
    Case("frames", seed=16, options={}, calls=(Call("expose"),)),
    # Linear transforms. Of 70 vectors the last ones stand in the second block.
    *both_ways(
        "intensity", seed=17, options={"linear_mode": "intensity"}, n_components=200, n_vectors=70, calls=_LINEAR
    ),
    Case("intensity-ideal", _IDEAL, 18, _INTENSITY, n_components=200, calls=_LINEAR),
    Case("intensity-bit-planes", seed=19, options=_INTENSITY, n_components=200, calls=_PLANES),
    *both_ways("holography", seed=20, n_components=200, n_vectors=70, calls=_HOLOGRAPHY),
    *both_ways("holography-mirrors", device=_MIRRORS, seed=21, n_features=120, n_components=90, calls=_HOLOGRAPHY),
    Case("holography-pictures", _SMALL, 22, fit="2d", n_features=(9, 12), n_components=200, calls=_LINEAR),
    Case("holography-bit-planes", _SMALL, 23, n_features=100, n_components=200, calls=_PLANES),
    Case("holography-ideal", _IDEAL, 24, n_components=200, calls=_LINEAR),
]
# The newest versions: a few of each kind, with the seeds of their like above.
_IDEAL_2 = {"preset": "ideal@2"}
_AURORA_2 = {"preset": "aurora@2"}
_SMALL_2 = {**_SMALL, "preset": "aurora@2"}
_LIST_2 = [
    *both_ways("aurora-2", device=_AURORA_2, calls=_LATER),
    *both_ways("ideal-2", device=_IDEAL_2, n_components=200),
    Case("aurora-type1-2", {"preset": "aurora-type1@2"}, seed=1),
    Case("aurora-type3-2", {"preset": "aurora-type3@2"}, seed=2),
    *both_ways(
        "unpolarised-areas-2",
        device={**_AURORA_2, "camera": {"polarised": False}, "optics": {"pixel_integration": True}},
        seed=3,
    ),
    *both_ways(
        "mirrors-small-2", device={**_SMALL_2, "resolution": "mirrors"}, seed=8, n_features=120, n_components=90
    ),
    Case("gaussian-2", {**_AURORA_2, "medium": _GAUSSIAN}, seed=9, calls=_LATER),
    Case("frames-2", _AURORA_2, seed=16, options={}, calls=(Call("expose"),)),
    Case("intensity-2", _AURORA_2, 17, _INTENSITY, n_components=200, n_vectors=70, calls=_LINEAR),
    *both_ways("holography-2", device=_AURORA_2, seed=20, n_components=200, n_vectors=70, calls=_HOLOGRAPHY),
    Case("holography-pictures-2", _SMALL_2, 22, fit="2d", n_features=(9, 12), n_components=200, calls=_LINEAR),
    Case("holography-ideal-2", _IDEAL_2, 24, n_components=200, calls=_LINEAR),
]
# Numbers of a version that no release has had are not kept yet.
CASES = {case.name: case for case in (*_LIST, *_LIST_2) if case.device.get("preset") not in UNRELEASED}
