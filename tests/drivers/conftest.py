"""Devices for the driver's tests."""

from __future__ import annotations

import pytest

from fake_bench import FakeBench
from opusim.drivers import OPU, OpuDevice


@pytest.fixture
def bench():
    return FakeBench()


@pytest.fixture
def make_opu(bench):
    """Return an OPU over the fake bench."""

    def make(n_components=100, **arguments):
        return OPU(n_components, opu_device=OpuDevice(bench=bench), **arguments)

    return make


@pytest.fixture
def opu(make_opu):
    return make_opu()
