"""The matrix of a phase-screen medium: the same bits for any threads and either way, and how much of it is made."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from opusim import OPU
from opusim.base import progress
from opusim.base.progress import long_work_shown
from opusim.bench import by_waves
from opusim.bench.projector import Projector
from opusim.bench.region import Region, Roi
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout

AURORA = Device.load("aurora")
POINTS = AURORA.evolve(
    **{"camera.polarised": False, "optics.pixel_integration": True, "optics.exit_diameter_m": 0.0097}
)
# Features and pixels: from features, and from outputs, of which AURORA has one a pixel and POINTS nine.
SIZES = [(150, 200), (700, 70)]


def projector_of(device: Device, n_features: int, n_pixels: int, **settings) -> Projector:
    layout = MirrorLayout.lined(device.dmd.shape, n_features)
    region = Region(Roi(0, 0, n_pixels // 10, 10), n_pixels, 10)
    return Projector(device, 3, layout, region, **settings)


@pytest.mark.parametrize("device", [AURORA, POINTS], ids=["points", "areas"])
@pytest.mark.parametrize("size", SIZES, ids=["features", "outputs"])
def test_the_matrix_has_the_same_bits_for_any_threads_and_is_that_of_the_waves(device, size, monkeypatch):
    ways = [projector_of(device, *size, execution="matrix", threads=n).way for n in (1, 2, 3)]
    first, constant = ways[0].matrix()
    for way in ways[1:]:
        for found, expected in zip(way.matrix(), (first, constant), strict=True):
            np.testing.assert_array_equal(found, expected)
    monkeypatch.setattr(by_waves, "_STACK_BYTES", 1)  # one pattern at a time
    np.testing.assert_array_equal(projector_of(device, *size, execution="matrix").way.matrix()[0], first)
    bits = np.eye(size[0], dtype=np.uint8)[:: size[0] // 40]
    waves = projector_of(device, *size, execution="waves").way.fields(bits).reshape(len(bits), -1)
    rows = first.view(np.complex64)[:: size[0] // 40] + constant.view(np.complex64)
    assert np.abs(rows - waves).max() <= 1e-4 * np.abs(rows).max()


class _Bars:
    """Bars that are written down."""

    def __init__(self):
        self.told: list = []

    def __call__(self, total, text, unit, done):
        self.told += [(total, text), done]
        return self

    def reach(self, done):
        self.told.append(done)

    def close(self):
        self.told.append("closed")


@pytest.mark.parametrize("size", SIZES, ids=["features", "outputs"])
def test_making_tells_what_is_done(size, monkeypatch):
    monkeypatch.setattr(progress, "LONG_S", 0.0)
    monkeypatch.setattr(by_waves, "_ROUND", 1)
    bars, total = _Bars(), min(size)
    with long_work_shown(bars=bars):
        projector_of(AURORA, *size, execution="matrix", threads=1).way.matrix()
    assert bars.told == [(total, "OPU: matrix"), *range(64, total, 64), total, "closed"]
    bars.told.clear()
    projector_of(AURORA, *size, execution="matrix").way.matrix()
    assert not bars.told


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_ends_the_making_closes_its_bar(error, monkeypatch):
    monkeypatch.setattr(progress, "LONG_S", 0.0)
    monkeypatch.setattr(by_waves, "_ROUND", 1)
    way = projector_of(AURORA, 150, 200, execution="matrix", threads=1).way
    bars = _Bars()

    def fails(*_):
        raise error

    bars.reach = fails
    with pytest.raises(error), long_work_shown(bars=bars):
        way.matrix()
    assert bars.told[-1] == "closed"
    assert way.matrix()[0].shape == (150, 400)  # and it can be made afterwards


def test_an_opu_shows_a_bar_of_a_matrix_that_takes_long(monkeypatch, capfd):
    monkeypatch.setattr(by_waves, "_ROUND", 1)
    x = np.ones(300, dtype=np.uint8)

    def told(**settings) -> str:
        with OPU(300, execution="matrix", **settings) as opu:
            opu.fit_transform1d(x)
        return capfd.readouterr().err

    monkeypatch.setattr(progress, "LONG_S", 60.0)
    assert not told(verbose_level=1)
    monkeypatch.setattr(progress, "LONG_S", 0.0)
    assert "OPU: matrix" in told(verbose_level=1)
    assert not told(verbose_level=1, disable_pbar=True) and not told()


class _Seconds:
    """A clock that goes on by a second whenever it is read."""

    def __init__(self):
        self._read = itertools.count(100.0)

    def monotonic(self):
        return next(self._read)


@pytest.mark.parametrize("online", [True, False])
def test_so_does_a_single_vector(online, monkeypatch, capfd):
    monkeypatch.setattr(by_waves, "_ROUND", 1)
    monkeypatch.setattr(progress, "time", _Seconds())
    x = np.ones(300, dtype=np.uint8)

    def told(**settings) -> str:
        with OPU(300, execution="matrix", threads=1, **settings) as opu:
            opu.fit1d(x, online=online)
            opu.transform(x)
            first = capfd.readouterr().err
            opu.transform(x)
            assert not capfd.readouterr().err  # the matrix is there
        return first

    assert "OPU: matrix" in told(verbose_level=1)
    assert not told(verbose_level=1, disable_pbar=True) and not told()
