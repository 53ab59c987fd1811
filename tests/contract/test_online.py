"""Vectors one by one."""

from __future__ import annotations

import numpy as np
import pytest


def test_single_rows_meet_the_matrix_of_the_batch(backend, make_opu, bits, quiet):
    x = bits(6, 100)
    opu = make_opu(backend, device=quiet)
    opu.fit1d(x)
    whole = opu.transform(x)
    opu.fit1d(x, online=True)
    rows = np.stack([opu.transform(row) for row in x])
    assert rows.dtype == backend.dtype
    assert np.allclose(rows, whole, rtol=1e-4) if backend.simulator else np.array_equal(rows, whole)
    assert opu.transform(x[:1]).shape == (1, 60) and opu.transform(x[0]).shape == (60,)


def test_pictures_and_packed_rows(camera, make_opu, bits, quiet):
    x = bits(4, 10, 12)
    opu = make_opu(camera, device=quiet)
    opu.fit2d(x)
    whole = opu.transform(x)
    opu.fit2d(n_features=(10, 12), online=True)
    assert np.array_equal(np.stack([opu.transform(row) for row in x]), whole)
    opu.fit2d(n_features=(10, 12), packed=True, online=True)
    packed = np.packbits(x.reshape(4, -1), axis=1)
    assert np.array_equal(np.stack([opu.transform(row) for row in packed]), whole)


def test_context_of_a_single_row(camera, make_opu, bits):
    opu = make_opu(camera)
    opu.fit1d(n_features=100, online=True)
    c = opu.transform(bits(100)).context
    assert (c.exposure_us, c.frametime_us, c.fmt_factor) == (400, 500, 10_396)
    assert c.start is not None


def test_noise_is_new_in_each_call(camera, make_opu, bits):
    x = bits(1000)
    opu = make_opu(camera, 500)
    opu.fit1d(n_features=1000, online=True)
    a, b = (opu.transform(x).astype(float) for _ in range(2))
    # About 1 grey level rms in each at a mean of 9, rounding included.
    assert 0.5 < np.std(a - b) / np.sqrt(2) < 2


def test_state_of_the_acquisition(camera, make_opu, bits):
    x = bits(3, 100)
    opu = make_opu(camera)
    assert opu.device.acq_state.value == 1
    opu.fit1d(x, online=True)
    assert (opu.device.acq_state.name, opu.device.acq_state.value) == ("online", 3)
    opu.fit1d(x)
    assert (opu.device.acq_state.name, opu.device.acq_state.value) == ("stopped", 1)
    assert opu.transform(x).shape == (3, 60)
    opu.fit1d(x, online=True)
    opu.close()
    assert opu.device.acq_state is None


def test_batches_are_refused(camera, make_opu, bits):
    x = bits(3, 100)
    opu = make_opu(camera)
    opu.fit1d(x, online=True)
    for call in (opu.transform, opu.linear_transform):
        with pytest.raises(AssertionError):
            call(x)
    assert opu.transform(x[0]).shape == (60,)


def test_a_device_without_online_mode(camera, make_opu, bits):
    x = bits(3, 100)
    opu = make_opu(camera, config_override={"no_single_transform": True, "input": {"minimum_batch_size": 4}})
    with pytest.raises(RuntimeError):
        opu.fit1d(x, online=True)
    opu.fit1d(x)
    assert opu.transform(x[0]).shape == (60,)  # single vectors go as batches of one
