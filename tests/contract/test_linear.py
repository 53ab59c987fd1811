"""`linear_transform`, through every implementation."""

from __future__ import annotations

import numpy as np
import pytest


def disjoint(n, d, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2, (n, d), dtype=np.uint8)
    b = rng.integers(0, 2, (n, d), dtype=np.uint8) * (1 - a)
    return a, b


@pytest.mark.parametrize("shape", [(100,), (1, 100), (7, 100), (2, 3, 100)], ids=str)
def test_shape_and_type(backend, make_opu, bits, shape):
    opu = make_opu(backend)
    opu.fit1d(n_features=100)
    y = opu.linear_transform(bits(*shape))
    expected = shape[:-1] + (60,)
    if shape == (100,) and backend.name in ("lightonml", "names"):
        expected = (1, 60)  # the product's decoder returns rows
    assert np.shape(y) == expected and y.dtype.kind == "f" and type(y).__name__ == "ContextArray"


def test_pictures(backend, make_opu, bits):
    opu = make_opu(backend, n_features=120)
    opu.fit2d(n_features=(10, 12))
    assert opu.linear_transform(bits(5, 10, 12)).shape == (5, 60)


def test_tensors(backend, make_opu, bits):
    torch = pytest.importorskip("torch")
    opu = make_opu(backend)
    opu.fit1d(n_features=100)
    y = opu.linear_transform(torch.from_numpy(bits(5, 100)))
    assert isinstance(y, torch.Tensor) and y.shape == (5, 60) and y.dtype.is_floating_point


@pytest.mark.parametrize("picture", [False, True])
def test_exactly_linear_without_noise(backend, make_opu, picture):
    """On the ideal device, whose counts are not rounded; with margins that are always on too."""
    a, b = disjoint(6, 100)
    opu = make_opu(backend, device="ideal")
    x = np.concatenate([a, b, a + b])
    if picture:
        opu.fit2d(n_features=(10, 10))
        x = x.reshape(-1, 10, 10)
    else:
        opu.fit1d(n_features=100)
    y = np.asarray(opu.linear_transform(x))
    ya, yb, both = np.split(y, 3)
    assert np.abs(both - ya - yb).max() < 1e-3 * y.std()
    assert np.isfinite(y).all()


def test_linear_within_noise(camera, make_opu):
    """What is left of y(a + b) - y(a) - y(b) is noise of the size that two calls differ by."""
    a, b = disjoint(20, 1000)
    opu = make_opu(camera, 500)
    opu.fit1d(n_features=1000)
    x = np.concatenate([a, b, a + b])
    first, second = np.asarray(opu.linear_transform(x)), np.asarray(opu.linear_transform(x))
    ya, yb, both = np.split(first, 3)
    rest, noise = np.median(np.abs(both - ya - yb)), np.median(np.abs(first - second))
    # A difference of two calls holds two noises, the rest three: sqrt(3 / 2) = 1.2, and the anchors' share.
    assert 0.8 * noise < rest < 1.8 * noise
    assert noise < 0.5 * np.median(np.abs(first))


def test_entries_are_independent_normal_numbers(camera, make_opu):
    """160 000 entries on the ideal device; bounds of five standard errors (a false alarm in 1.7 million)."""
    d, m = 200, 800
    opu = make_opu(camera, m, device="ideal", rescale="none")
    opu.fit1d(n_features=d)
    light = np.asarray(opu.transform(np.ones((2, d), dtype=np.uint8)))[0]
    y = np.asarray(opu.linear_transform(np.eye(d, dtype=np.uint8)), dtype=float)
    y = y[:, light > 0.04 * light.mean()]  # darker references are not divided by in full
    # Variance 1: the mean level is estimated from three speckles of m pixels.
    assert y.std() == pytest.approx(1, abs=5 * 0.6 / np.sqrt(m))
    y /= y.std()
    n = y.size
    assert abs(y.mean()) < 5 / np.sqrt(n)
    assert abs((y**3).mean()) < 5 * np.sqrt(6 / n)
    assert abs((y**4).mean() - 3) < 5 * np.sqrt(24 / n) + 3 / d
    # Independent: Marchenko and Pastur's edges, but for one direction that holds the reference (its own test says why).
    s = np.linalg.svd(y / np.sqrt(y.shape[1]), compute_uv=False)
    ratio = np.sqrt(d / y.shape[1])
    assert s[0] == pytest.approx(np.sqrt(2 * (1 + ratio**2)), rel=0.07)
    assert s[1] == pytest.approx(1 + ratio, rel=0.05)
    # The smallest of 200 lies 1.5 % above the edge on average, and scatters by 1.5 % (Tracy and Widom): four of these.
    assert s[-1] == pytest.approx(1.015 * (1 - ratio), rel=0.06)


def test_rescaling(backend, make_opu, bits, quiet):
    x = bits(5, 100)
    y = {}
    for rescale in ("none", "variance", "norm"):
        opu = make_opu(backend, device=quiet, rescale=rescale)
        opu.fit1d(n_features=100)
        y[rescale] = np.asarray(opu.linear_transform(x))
    assert np.allclose(y["variance"] * np.sqrt(100), y["none"], rtol=1e-4, atol=1e-5)
    assert np.allclose(y["norm"] * np.sqrt(60), y["none"], rtol=1e-4, atol=1e-5)


def test_stdev_of_the_configuration(camera, make_opu, bits, quiet):
    x = bits(5, 100)
    y = []
    for stdev in (1.0, 4.0):
        opu = make_opu(camera, device=quiet, config_override={"output": {"stdev": stdev}})
        opu.fit1d(n_features=100)
        y.append(np.asarray(opu.linear_transform(x)))
    assert np.allclose(y[1] * 4, y[0], rtol=1e-4, atol=1e-5)


def test_norms_are_kept(camera, make_opu):
    """rescale="norm": |y| = |x| within 1 / sqrt(2 m), and distances too."""
    m, d = 2000, 300
    a, b = disjoint(10, d)
    opu = make_opu(camera, m, device="ideal", rescale="norm")
    opu.fit1d(n_features=d)
    x = np.concatenate([a, b])
    y = np.asarray(opu.linear_transform(x))
    for u, v in ((x.astype(float), y), (a.astype(float) - b, y[:10] - y[10:])):
        ratio = np.linalg.norm(v, axis=1) / np.linalg.norm(u, axis=1)
        # 2 % for the dark references, and five standard errors of the norm and of the mean level.
        assert np.allclose(ratio, 1, atol=0.02 + 5 * (1 / np.sqrt(2 * m) + 0.6 / np.sqrt(m)))


def test_a_batch_larger_than_a_block(camera, make_opu, quiet):
    """Rows do not depend on the others, but for the anchors, which are the same frames without noise."""
    x = np.random.default_rng(0).integers(0, 2, (150, 100), dtype=np.uint8)
    opu = make_opu(camera, 200, device=quiet)
    opu.fit1d(n_features=100)
    whole, part = np.asarray(opu.linear_transform(x)), np.asarray(opu.linear_transform(x[140:]))
    assert np.allclose(whole[140:], part, rtol=1e-4, atol=1e-4 * whole.std())


def test_the_device_says_how_many_frames_a_vector_takes(camera, make_opu, tmp_path):
    """Two devices in turn, with two and with five frames a vector: the same numbers without noise, other times."""
    x = np.random.default_rng(0).integers(0, 2, (70, 100), dtype=np.uint8)
    opus = []
    for frames in (2, 5):
        path = tmp_path / f"{frames}.toml"
        path.write_text(f'preset = "ideal"\n[operation]\nframes_per_vector = {frames}\n')
        opus.append(make_opu(camera, device=str(path)))
        opus[-1].fit1d(n_features=100)
    y = [np.asarray(opu.linear_transform(x)) for opu in (*opus, *opus)]
    for other in y[1:]:
        assert np.allclose(other, y[0], atol=1e-3 * y[0].std())
    clocks = [getattr(opu.device, "bench", None) for opu in opus]
    if None not in clocks:
        assert [bench.clock.frames for bench in clocks] == [2 * (2 * 70 + 2 * 3), 2 * (5 * 70 + 2 * 15)]


def test_over_several_passes(camera, make_opu, quiet):
    x = np.random.default_rng(0).integers(0, 2, (20, 100), dtype=np.uint8)
    y = []
    for n in (3000, 7):
        opu = make_opu(camera, device=quiet, config_override={"n_samples_by_pass": n})
        opu.fit1d(n_features=100)
        y.append(np.asarray(opu.linear_transform(x)))
    assert np.allclose(y[0], y[1], rtol=1e-5, atol=1e-6)


def test_the_region_must_be_full(camera, make_opu, bits):
    from importlib import import_module

    types = import_module("lightonml.internal.types" if camera.name == "lightonml" else "opusim.drivers.types")
    opu = make_opu(camera, input_roi_strategy=types.InputRoiStrategy.small)
    opu.fit2d(n_features=(10, 10))
    with pytest.raises(AssertionError):
        opu.linear_transform(bits(5, 10, 10))


def test_nothing_fitted(backend, make_opu, bits):
    if backend.name.startswith("lightonml"):
        with pytest.raises(AssertionError):
            make_opu(backend).linear_transform(bits(5, 100))
    else:
        with pytest.raises((AssertionError, RuntimeError)):
            make_opu(backend, open_at_init=False).linear_transform(bits(5, 100))
