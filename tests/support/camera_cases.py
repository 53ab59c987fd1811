"""Cases of the camera's kernel: every kind of sensor, blocks of every size, light from none to more than a well."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
from numba import njit

from opusim.bench.field_kernels import develop_fields
from opusim.device.camera import Camera
from opusim.device.camera_kernels import BLOCK, develop_block, develop_pixel, make_scratch

CAMERA = Camera(
    "cases", (40, 64), 5.5e-6, 0.6, 340.0, gain_dn_per_e=0.1, bits=8, full_well_e=9000.0, read_noise_e=7.0,
    dark_current_e_per_s=125.0, prnu=0.01, dsnu_e=5.0, black_level_dn=2.0,
)  # fmt: skip
KINDS: dict[str, dict[str, object]] = {
    "all noise": {},
    "twelve bits": {"bits": 12},
    "not rounded": {"quantise": False},
    "no shot noise": {"shot_noise": False},
    "no read noise": {"read_noise_e": 0.0},
    "no noise": {"shot_noise": False, "read_noise_e": 0.0},
    "telegraph": {"telegraph_fraction": 0.4, "telegraph_e": 30.0},
    "telegraph alone": {"telegraph_fraction": 0.4, "telegraph_e": 30.0, "shot_noise": False, "read_noise_e": 0.0},
    "not linear": {"nonlinearity": 0.1, "full_well_e": 2000.0, "quantise": False},
    "not linear, telegraph": {"nonlinearity": -0.2, "telegraph_fraction": 1.0, "telegraph_e": 9.0, "bits": 16},
}
SIZES = (1, 2, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 255, BLOCK)
FRAME = np.uint64(2**32 + 3)  # a number of two words
_FIRST = 7


def cases() -> Iterator[tuple[str, tuple, np.dtype, np.ndarray]]:
    """Name, fixed arguments of the kernel, type of the counts and photons, one after the other."""
    generator = np.random.default_rng(4)
    n = _FIRST + BLOCK
    even = generator.exponential(1.0, n)
    lights = {
        "dark": np.zeros(n),
        "dim": 6 * even,
        "mixed": 40 * even,
        "few dim": np.where(np.arange(n) % 37 == 5, 1.0, 900.0),
        "bright": 300 + 2000 * even,
        "at the threshold": np.float32(12 / 0.6) * (1 + 1e-6 * generator.integers(-3, 4, n)),
        "beyond the well": 1e6 * even,
    }
    for kind, changes in KINDS.items():
        camera = CAMERA.evolve(**changes)
        maps = camera.maps(5, np.arange(900, 900 + n)[::-1])
        for electrons in (False, True):
            fixed = (maps.gain, maps.dark_e(1e-3), maps.offset_e, maps.telegraph_e, maps.pixels)
            rest = (*camera.noise_key(5), camera.params(electrons=electrons))
            dtype = np.dtype(np.float32) if electrons else camera.dtype
            for name, light in lights.items():
                label = f"{kind}, {name}{', electrons' if electrons else ''}"
                yield label, (*fixed, *rest), dtype, light.astype(np.float32)


def in_block(fixed: tuple, dtype: np.dtype, photons: np.ndarray, size: int) -> np.ndarray:
    """Return the counts of a block of some size as the kernel of blocks gives them, with what lies around it."""
    *maps, key0, key1, params = fixed
    out = np.full(size + 8, 77, dtype)
    develop_block(photons, _FIRST, size, *maps, _FIRST, FRAME, key0, key1, params, make_scratch(), out, 4)
    return out


@njit(error_model="numpy")
def _one_by_one(photons, gain, dark_e, offset_e, telegraph_e, pixels, key0, key1, params, frame, first, out):
    for i in range(out.size):
        k = first + i
        step = telegraph_e[k] if telegraph_e.size else np.float32(0)
        out[i] = develop_pixel(
            photons[k], gain[k], dark_e[k], offset_e[k], step, pixels[k], frame, key0, key1, params
        )  # fmt: skip


def one_by_one(fixed: tuple, dtype: np.dtype, photons: np.ndarray) -> np.ndarray:
    """Return the counts of the largest block by the law of one pixel."""
    out = np.empty(BLOCK, dtype)
    _one_by_one(photons, *fixed, FRAME, _FIRST, out)
    return out


def digests() -> dict[str, str]:
    """Return a hash of the counts of each case, and of fields with few and many samples."""
    found = {}
    for label, fixed, dtype, photons in cases():
        counts = b"".join(in_block(fixed, dtype, photons, size).tobytes() for size in (1, 40, BLOCK))
        found[label] = hashlib.sha256(counts).hexdigest()
    generator = np.random.default_rng(6)
    for samples in (1, 2, 11):
        for n_pixels in (20, 300):
            for steps in (1, 4):
                found[f"{n_pixels} pixels of {samples} samples, {steps} steps"] = _of_fields(
                    generator, samples, n_pixels, steps
                )
    return found


def _of_fields(generator: np.random.Generator, samples: int, n_pixels: int, steps: int) -> str:
    maps = CAMERA.maps(5, np.arange(n_pixels))
    n = 2 * steps
    fields = generator.integers(-99, 99, (2, 2 * n_pixels * samples)).astype(np.float32)
    reference = generator.integers(-99, 99, 2 * n_pixels * samples if steps > 1 else 0).astype(np.float32)
    turns = np.ldexp(generator.integers(-60, 60, (n, 2)), -6).astype(np.float32)
    fraction = np.full(n, 0.25, np.float32)
    scale = np.ldexp(np.ones(n, np.float32), np.arange(n) - 8)
    out = np.empty((n, n_pixels), CAMERA.dtype)
    develop_fields(
        fields, samples, steps, reference, turns, fraction, scale, maps.gain, maps.dark_e(1e-3), maps.offset_e,
        maps.telegraph_e, maps.pixels, np.arange(n).astype(np.uint64), *CAMERA.noise_key(5), CAMERA.params(), out, 0,
        2 * -(-n_pixels // BLOCK),
    )  # fmt: skip
    return hashlib.sha256(out.tobytes()).hexdigest()


if __name__ == "__main__":
    print(json.dumps(digests()))
