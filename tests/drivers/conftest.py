"""Devices for the driver's tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from opusim.drivers import OPU, OpuDevice

_spec = importlib.util.spec_from_file_location("fake_bench", Path(__file__).with_name("fake_bench.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)


@pytest.fixture
def bench():
    return _module.FakeBench()


@pytest.fixture
def make_opu(bench):
    """Return an OPU over the fake bench."""

    def make(n_components=100, **arguments):
        return OPU(n_components, opu_device=OpuDevice(bench=bench), **arguments)

    return make


@pytest.fixture
def opu(make_opu):
    return make_opu()
