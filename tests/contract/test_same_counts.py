"""The same calls give the same counts through `opusim.OPU`, our class under lightonml's names, and the real one."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def three(make_opu):
    """Make one OPU of each: (opusim.OPU, our class under lightonml's names, the real lightonml)."""
    from .conftest import Backend

    def make(n_components=300, device="aurora", seed=0, **kw):
        return [
            make_opu(Backend(b), n_components, device=device, seed=seed, **kw) for b in ("opusim", "names", "lightonml")
        ]

    return make


def agree(results):
    first = np.asarray(results[0])
    assert first.std() > 0
    for other in results[1:]:
        assert other.dtype == first.dtype and np.array_equal(np.asarray(other), first)


@pytest.mark.parametrize("seed", [0, 7])
def test_vectors(three, bits, seed):
    x = bits(20, 1000)
    opus = three(seed=seed)
    agree([opu.fit_transform1d(x) for opu in opus])
    agree([opu.transform(x[:7]) for opu in opus])  # the noise of the frames that follow
    agree([opu.transform(x[3]) for opu in opus])
    agree([opu.transform(x.reshape(4, 5, 1000)) for opu in opus])


def test_pictures(three, bits):
    """Their exposure is given: lightonml counts the mirrors of squares otherwise (see test_context.py)."""
    x = bits(6, 28, 28)
    agree([opu.fit_transform2d(x, exposure_us=300) for opu in three()])


def test_packed(three, bits):
    packed = np.packbits(bits(6, 1000), axis=1)
    agree([opu.fit_transform1d(packed, packed=True) for opu in three()])


def test_online(three, bits):
    x = bits(5, 1000)
    opus = three()
    for opu in opus:
        opu.fit1d(n_features=1000, online=True)
    for row in x:
        agree([opu.transform(row) for opu in opus])


def test_passes(three, bits):
    x = bits(10, 500)
    agree([opu.fit_transform1d(x) for opu in three(config_override={"n_samples_by_pass": 4})])


def test_a_region_of_the_mirrors(three, bits):
    x = bits(6, 100)
    agree([opu.fit_transform1d(x, input_roi=((10, 20), (800, 1000)), exposure_us=400) for opu in three()])


def test_whole_mirror_patterns(three, bits, tmp_path):
    """lightonml hands them over as bare mirrors, opusim with their layout: the same where mirrors are the modes."""
    (tmp_path / "mirrors.toml").write_text('preset = "aurora"\nname = "mirrors"\nresolution = "mirrors"\n')
    x = bits(1, 912, 1140)
    ours, _, real = three(5, str(tmp_path / "mirrors.toml"))
    agree([opu.fit_transform2d(x, exposure_us=400) for opu in (ours, real)])


def test_the_linear_transform_under_lightonmls_names(three, bits):
    x = bits(70, 200)
    _, names, real = three()
    results = []
    for opu in (names, real):
        opu.fit1d(n_features=200)
        results.append(np.asarray(opu.linear_transform(x)))
    assert np.allclose(*results, rtol=1e-5, atol=1e-5 * results[1].std())


def test_the_simulator(make_opu, bits):
    from .conftest import Backend

    x = bits(20, 100)
    backends = [Backend("names-simulator", simulator=True), Backend("lightonml-simulator", simulator=True)]
    opus = [make_opu(b, 300) for b in backends]
    assert np.array_equal(*[opu.device.random_matrix for opu in opus])
    for call in ("fit_transform1d", "transform", "linear_transform"):
        ours, theirs = (np.asarray(getattr(opu, call)(x)) for opu in opus)
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    numbers = np.random.default_rng(1).integers(0, 200, (5, 100), dtype=np.uint8)  # need not be binary
    assert np.array_equal(*[np.asarray(opu.transform(numbers)) for opu in opus])
