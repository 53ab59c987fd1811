"""The module ALP4 of opusim's, on a bench that each test chooses."""

from __future__ import annotations

import sys

import pytest

from opusim import OpticalBench
from opusim.drivers.compat import standin
from opusim.drivers.compat.alp4 import table
from opusim.drivers.compat.alp4.table import with_mirrors


@pytest.fixture(scope="session")
def alp_devices():
    """Devices by name and mirrors, made once."""
    from opusim.device.record import Device

    kept = {}

    def device(name="ideal", dmd="DLP7000"):
        if (name, dmd) not in kept:
            kept[name, dmd] = with_mirrors(Device.load(name), dmd)
        return kept[name, dmd]

    return device


@pytest.fixture
def alp(monkeypatch):
    """The module ALP4; the board that a test leaves behind is let go."""
    monkeypatch.syspath_prepend(standin.ALP4LIB)
    monkeypatch.delitem(sys.modules, "ALP4", raising=False)
    import ALP4

    yield ALP4
    sys.modules.pop("ALP4", None)
    table._table = None


@pytest.fixture
def on(alp, alp_devices):
    """Put the board on a bench, and return (the board taken, the bench)."""
    from opusim.adapters.alp4 import use

    def make(name="ideal", dmd="DLP7000", grid=(8, 10), **arguments):
        table._table = None
        bench = use(OpticalBench(alp_devices(name, dmd), 3, **arguments), grid=grid)
        board = alp.ALP4()
        board.Initialize()
        return board, bench

    return make
