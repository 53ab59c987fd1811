"""The same vectors give the same bits, however they are shown: 200 random ways against one plain run of each.

What varies: how vectors are split into calls and passes, threads, type and memory of the data, packed bits, dimensions
of the batch, Dask chunks, copies between calls, and work of another device in between. What stays is what sets the
numbers: device, seed, fit, the way of the light (waves or matrix), and the order of the vectors.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from opusim import OPU
from opusim.device.medium import GaussianMedium
from opusim.device.record import Device

AURORA = Device.load("aurora")
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000),
       "operation.minimum_output_size": 600, "medium.transmission": AURORA.medium.transmission}
)  # fmt: skip


def with_camera(name: str) -> Device:
    """The small device with another camera, cut to its size."""
    camera = Device.from_dict({"preset": "aurora", "camera": {"preset": name}}).camera
    return SMALL.evolve(camera=dataclasses.replace(camera, shape=SMALL.camera.shape))


DEVICES = {
    "small": SMALL,
    "ideal": SMALL.ideal(),
    "ten bits": SMALL.evolve(**{"camera.bits": 10}),
    "mirrors": SMALL.evolve(resolution="mirrors"),
    "no polariser": SMALL.evolve(**{"camera.polarised": False}),
    **{name: with_camera(name) for name in ("imx252", "cmv2000", "zyla-4.2", "flash4.0-v3")},
    "entries": SMALL.evolve(medium=GaussianMedium(transmission=AURORA.medium.transmission)),
}
METHODS = ("transform", "transform", "transform", "intensity", "holographic")
# Vectors between two anchor patterns of a linear transform: calls that end there show the same frames as one call.
BLOCK = 64
# Multiples of so many vectors go into one call. A transform by intensities takes the mean of the anchors of a call, and
# is another one for another number of them.
MULTIPLES = {"transform": 1, "holographic": BLOCK, "intensity": 1 << 30}


@dataclass(frozen=True)
class Plain:
    """What sets the numbers."""

    device: str
    seed: int
    execution: str
    features: tuple[int, ...]
    n_components: int
    n: int
    method: str

    @classmethod
    def drawn(cls, random: np.random.Generator) -> Plain:
        method = str(random.choice(METHODS))
        features = (
            (int(random.integers(2, 200)),) if random.random() < 0.6 else tuple(random.integers(2, 14, 2).tolist())
        )
        device = str(random.choice(list(DEVICES)))
        execution = "matrix" if device == "entries" else str(random.choice(["waves", "matrix"]))
        n = int(random.integers(1, 40)) if method == "transform" else int(random.choice([1, 5, BLOCK, BLOCK + 9]))
        return cls(device, int(random.integers(100)), execution, features, int(random.integers(1, 600)), n, method)

    def vectors(self) -> np.ndarray:
        return np.random.default_rng(self.seed).integers(0, 2, (self.n, *self.features), dtype=np.uint8)

    def opu(self, **more: Any) -> OPU:
        mode = self.method if self.method != "transform" else "auto"
        return OPU(
            self.n_components, device=DEVICES[self.device], seed=self.seed, execution=self.execution, linear_mode=mode,
            **more,
        )  # fmt: skip

    def fitted(self, packed: bool = False, **more: Any) -> OPU:
        opu = self.opu(**more)
        shape = self.features if len(self.features) > 1 else self.features[0]
        (opu.fit2d if len(self.features) > 1 else opu.fit1d)(n_features=shape, packed=packed)
        if self.method == "holographic":
            opu.calibrate(store=False)
        return opu

    def show(self, opu: OPU, X: Any) -> Any:
        return opu.transform(X) if self.method == "transform" else opu.linear_transform(X)


@cache
def expected(plain: Plain) -> np.ndarray:
    """One call, one thread, one array."""
    return np.array(plain.show(plain.fitted(threads=1), plain.vectors()))


# ---------------------------------------------------------------- ways to show the same vectors


def as_bool(x):
    return x.astype(bool)


def as_float(x):
    return x.astype(np.float32)


def as_int(x):
    return x.astype(np.int64)


def with_other_strides(x):
    padded = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    padded[..., ::2] = x
    return padded[..., ::2]


def in_fortran_order(x):
    return np.asfortranarray(x)


def as_tensor(x):
    return pytest.importorskip("torch").from_numpy(x.copy())


TYPES: tuple[Callable[[Any], Any], ...] = (
    lambda x: x, as_bool, as_float, as_int, with_other_strides, in_fortran_order, as_tensor,
)  # fmt: skip
COPIES: tuple[Callable[[OPU], OPU], ...] = (
    lambda opu: opu, lambda opu: opu, copy.deepcopy, copy.copy, lambda opu: pickle.loads(pickle.dumps(opu)),
)  # fmt: skip


def parts(random: np.random.Generator, n: int, multiple: int) -> Iterator[slice]:
    """Split n vectors at random places."""
    places = np.arange(multiple, n, multiple)
    cuts = np.sort(random.choice(places, int(random.integers(0, min(len(places), 5) + 1)), replace=False))
    edges = [0, *cuts.tolist(), n]
    return (slice(a, b) for a, b in zip(edges, edges[1:], strict=False))


def shown(plain: Plain, random: np.random.Generator) -> tuple[np.ndarray, str]:
    """Show the vectors in a random way; return the outputs, and the way in words."""
    packed = plain.method == "transform" and bool(random.random() < 0.3)
    more: dict[str, Any] = {"threads": int(random.integers(1, 5))}
    if random.random() < 0.5:
        step = int(random.integers(1, 30)) * (1 if plain.method == "transform" else BLOCK)
        more["config_override"] = {"n_samples_by_pass": step}
    opu = plain.fitted(packed, **more)
    X = plain.vectors()
    words = [f"{more}", "packed" if packed else ""]
    if packed:
        X = np.packbits(X.reshape(plain.n, -1), axis=1)
    other = OPU(30, device=DEVICES["small"], seed=int(random.integers(100)))
    results = []
    for part in parts(random, plain.n, MULTIPLES[plain.method]):
        copied = COPIES[random.integers(len(COPIES))]
        opu = copied(opu)
        if random.random() < 0.3:
            other.fit_transform1d(np.ones((2, 9), np.uint8))  # of another device, between two calls
        x = X[part]
        if not packed:
            x = TYPES[random.integers(len(TYPES))](x)
        if len(x) % 2 == 0 and random.random() < 0.3:
            x = x.reshape(2, -1, *x.shape[1:])
        words.append(f"{part} {type(x).__name__} {x.dtype} {tuple(x.shape)}")
        if isinstance(x, np.ndarray) and random.random() < 0.15:
            of_vector = 1 if packed else len(plain.features)
            batch, vector = x.shape[: x.ndim - of_vector], x.shape[x.ndim - of_vector :]
            chunks = (*(int(random.integers(1, k + 1)) for k in batch), *vector)
            x = pytest.importorskip("dask.array").from_array(x, chunks=chunks)
            words.append(f"Dask, in chunks of {chunks}")
        y = plain.show(opu, x)
        results.append(np.asarray(y.compute() if hasattr(y, "compute") else y).reshape(-1, plain.n_components))
    return np.concatenate(results), "; ".join(words)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(200))
def test_the_same_vectors_give_the_same_bits(number):
    random = np.random.default_rng(1000 + number)
    plain = Plain.drawn(random)
    y = expected(plain)
    found, how = shown(plain, random)
    assert found.dtype == y.dtype
    assert np.array_equal(found, y), f"{plain}: {how}: {np.mean(found != y):.2%} differ, by {np.abs(found - y).max()}"


# ---------------------------------------------------------------- numpy against torch on the CPU


# Of the root mean square of the outputs, where there is no noise and no rounding: single precision.
FLOATS = 2e-5
LINEAR = 1e-4


@pytest.fixture
def torch():
    """torch with one thread: the arrays are small, and threads would wait for each other."""
    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


@pytest.mark.slow
def test_torch_on_the_cpu_gives_the_counts_of_numpy_but_for_edges_of_rounding(torch):
    """At most one count in 10 000 is another one, by a level or an electron; else all is equal to single precision.

    The light of torch depends on how vectors are split into calls, in its last bits: so much for the same bound.
    """
    differing = counted = 0
    for number in range(40):
        random = np.random.default_rng(5000 + number)
        plain = dataclasses.replace(Plain.drawn(random), method="transform")
        y = expected(plain).astype(np.float64)
        X = plain.vectors()
        whole = np.asarray(plain.fitted(backend="torch:cpu").transform(torch.from_numpy(X)))
        opu = plain.fitted(backend="torch:cpu", threads=int(random.integers(1, 4)))
        split = np.concatenate(
            [opu.transform(X[part]).reshape(-1, plain.n_components) for part in parts(random, plain.n, 1)]
        )
        for found in (whole.reshape(y.shape), split):
            error = np.abs(found - y)
            if plain.device == "ideal":
                assert error.max() <= FLOATS * np.sqrt(np.mean(y**2)), plain
            else:
                # What an electron is worth, where that is more.
                assert error.max() <= max(1, np.ceil(DEVICES[plain.device].camera.gain_dn_per_e)), plain
                differing += np.count_nonzero(error)
                counted += error.size
    assert counted > 200_000 and differing <= counted / 10_000


@pytest.mark.slow
@pytest.mark.parametrize("method", ["intensity", "holographic"])
def test_linear_transforms_of_torch_on_the_cpu_agree_to_single_precision(torch, method):
    """Of the same counts. With noise a count at the edge of rounding changes an output by what it is worth."""
    for number in range(5):
        random = np.random.default_rng(7000 + number)
        plain = dataclasses.replace(Plain.drawn(random), method=method, n=9)
        y, found = expected(plain), np.asarray(plain.show(plain.fitted(backend="torch:cpu"), plain.vectors()))
        error, scale = np.abs(found - y), np.sqrt(np.mean(np.square(y, dtype=np.float64)))
        assert error.max() <= LINEAR * scale or plain.device != "ideal", plain
        assert np.mean(error > LINEAR * scale) <= 0.02, plain  # the tolerance of docs/design.md
