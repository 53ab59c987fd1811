"""The kernel of blocks against the law of one pixel, bit for bit, whatever vectors the processor has."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import camera_cases
from camera_cases import SIZES, cases, in_block, one_by_one
from opusim.base.lane_kernels import LANES, address, lanes_at, put_lanes
from opusim.base.rng_kernels import gauss_pair, philox_lanes, philox_words
from opusim.base.vector_kernels import use_widest_vectors


def test_blocks_of_every_size_are_their_pixels_one_by_one():
    seen = 0
    for label, fixed, dtype, photons in cases():
        alone = one_by_one(fixed, dtype, photons)
        for size in SIZES:
            made = in_block(fixed, dtype, photons, size)
            assert made[4 : 4 + size].tobytes() == alone[:size].tobytes(), (label, size)
            assert (made[:4] == 77).all() and (made[4 + size :] == 77).all(), (label, size)
            seen += 1
    assert seen == len(SIZES) * len(camera_cases.KINDS) * 2 * 7


@njit
def _lanes_of_philox(sites, frame, key0, key1, words, normals):
    use_widest_vectors()
    made = philox_lanes(lanes_at(address(sites, 0), 0), np.uint64(5), frame, np.uint64(9), key0, key1)
    put_lanes(address(words, 0), 0, made[0])
    put_lanes(address(words, 0), LANES, made[1])
    put_lanes(address(words, 0), 2 * LANES, made[2])
    put_lanes(address(words, 0), 3 * LANES, made[3])
    shot, read = gauss_pair(made[0], made[1])
    put_lanes(address(normals, 0), 0, shot)
    put_lanes(address(normals, 0), LANES, read)


def test_lanes_have_the_words_and_normals_of_numbers_alone():
    sites = np.random.default_rng(3).integers(0, 2**32, LANES, dtype=np.uint32)
    words, normals = np.empty((4, LANES), np.uint32), np.empty((2, LANES), np.float32)
    frame, key = np.uint64(2**32 - 1), (np.uint64(2**32 - 7), np.uint64(3))
    _lanes_of_philox(sites, frame, *key, words.reshape(-1), normals.reshape(-1))
    for i, site in enumerate(sites):
        alone = philox_words(np.uint64(site), np.uint64(5), frame, np.uint64(9), *key)
        assert [int(word) & 0xFFFFFFFF for word in alone] == words[:, i].tolist()
        pair = gauss_pair(words[0, i], words[1, i])
        assert np.array(pair, np.float32).tobytes() == normals[:, i].tobytes()


@pytest.mark.system
@pytest.mark.parametrize("processor", ["x86-64-v3", "generic"])
def test_processors_with_lesser_vectors_give_the_same_counts(processor):
    if processor != "generic" and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("a processor of another kind")
    variables = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(Path(camera_cases.__file__))], capture_output=True, text=True, timeout=600, cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), os.environ.get("PYTHONPATH", ""))), **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == camera_cases.digests()
