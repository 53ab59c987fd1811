"""Holograms: what is given, and what is refused. Their laws: tests/physics/test_fourier_stop.py."""

from __future__ import annotations

import inspect
import textwrap

import numpy as np
import pytest

import opusim.patterns
from opusim import Device, OpticalBench
from opusim.device.dmd import Dmd
from opusim.device.slm import PhaseSlm
from opusim.patterns import holograms, lee, lee_stop, superpixel, superpixel_stop

ONES = np.ones((8, 12))
DIAMOND = Dmd(name="x", shape=(8, 12), pitch_m=1e-5, lattice="diamond")


def test_names_of_the_package():
    assert set(opusim.patterns.__all__) == {"lee", "lee_stop", "superpixel", "superpixel_stop"}
    assert opusim.patterns.lee is lee
    with pytest.raises(AttributeError, match="lea.*it has lee, lee_stop"):
        opusim.patterns.lea  # noqa: B018


@pytest.mark.parametrize("make", [lambda x: lee(x, (0.1, 0.2)), lambda x: superpixel(x, 4)])
def test_a_stack_is_its_fields_one_by_one(make):
    """Of any type of numbers; what comes out is what a bench shows."""
    draws = np.random.default_rng(0).normal(size=(2, 3, 8, 12))
    fields = draws[0] + 1j * draws[1]
    fields /= np.abs(fields).max()
    shown = make(fields)
    assert shown.dtype == np.uint8 and shown.shape == fields.shape and set(np.unique(shown)) == {0, 1}
    for one, alone in zip(shown, fields, strict=True):
        np.testing.assert_array_equal(make(alone), one)
    np.testing.assert_array_equal(make(ONES.astype(np.complex64)), make(ONES.astype(int)))
    assert make(fields[:0]).shape == (0, 8, 12)
    device = Device.load("ideal").evolve(
        **{"dmd.shape": (8, 12), "dmd.lattice": "square", "camera.shape": (8, 8), "operation.ones_range": (0, 96)},
        **superpixel_stop(4),
    )
    assert OpticalBench(device, 0).expose(shown, exposure_s=1e-3).shape == (3, 8, 8)


def test_lines_that_end_on_mirrors_are_half_of_a_period():
    """Whatever rounding says of mirrors on which both edges of a line lie; with one mirror in the middle, or two."""
    for columns in (96, 97):
        for period in (4, 6, 8, 12):
            for turn in (0.0, 0.25, 0.5, 0.125):
                on = lee(np.full((1, columns), np.exp(2j * np.pi * turn)), (0.0, 1 / period))[0, :96]
                assert set(on.reshape(-1, period).sum(axis=1)) == {period // 2}


def test_stops_are_fields_of_a_device():
    device = Device.load("aurora")
    for stop in (lee_stop((0.1, -0.2)), lee_stop([0.0, 0.25], 0.1), superpixel_stop(4), superpixel_stop(3, 0.2)):
        made = device.evolve(**stop).fourier_stop
        assert made.diameter_cycles == stop["fourier_stop.diameter_cycles"]
        assert made.centre_cycles == stop["fourier_stop.centre_cycles"]
    assert superpixel_stop(4) == {
        "fourier_stop.diameter_cycles": 0.25, "fourier_stop.centre_cycles": (0.25, 0.0625)
    }  # fmt: skip
    # Half way to order 0, which is .25 away; from (0, .4) order -1 is nearer, at .6 of the next order of the lattice.
    assert lee_stop((0.0, 0.25))["fourier_stop.diameter_cycles"] == 0.25
    assert lee_stop((0.0, 0.4))["fourier_stop.diameter_cycles"] == pytest.approx(0.2)


@pytest.mark.parametrize("make", [lambda x, **how: lee(x, (0.1, 0.2), **how), lambda x, **how: superpixel(x, 2, **how)])
def test_fields_that_no_mirrors_make_are_refused(make):
    with_nan, bright = ONES.astype(complex), ONES.astype(complex)
    with_nan[2, 3] = np.nan
    bright[2, 3] = 0.8 + 0.8j
    with pytest.raises(ValueError, match="field"):
        make(with_nan)
    with pytest.raises(ValueError, match=r"field has a modulus of 1\.1313\d at \[2, 3\], but it must be at most 1"):
        make(bright)
    with pytest.raises(ValueError, match=r"at \[1, 2, 3\]"):
        make(np.stack([ONES, bright]))
    with pytest.raises(ValueError, match=r"field has shape \(12,\), but it must be of \(rows, columns\)"):
        make(ONES[0])
    with pytest.raises(TypeError, match="dmd is a PhaseSlm, which turns phases, but a hologram is made of mirrors"):
        make(ONES, dmd=PhaseSlm(name="x", shape=(8, 12), pitch_m=1e-5))
    square = Dmd(name="x", shape=(8, 10), pitch_m=1e-5)
    with pytest.raises(ValueError, match=r"field has shape \(8, 12\), but it must be of \(8, 10\) or \(n, \*\(8, 10\)"):
        make(ONES, dmd=square)
    # What single precision makes of a modulus of 1 is 1.
    make(np.exp(1j * np.linspace(0, 6, 96)).astype(np.complex64).reshape(8, 12))


def test_carriers_without_an_order_of_their_own_are_refused():
    for wrong in [(0.0, 0.0), (0.5, 0.0), (0.5, -0.5)]:
        for call in (lambda c: lee(ONES, c), lee_stop):
            with pytest.raises(ValueError, match=r"carrier is \(.*the two first orders of the grating are one"):
                call(wrong)
    with pytest.raises(ValueError, match=r"carrier is 0\.6, but it must be"):
        lee(ONES, (0.0, 0.6))
    with pytest.raises(ValueError, match="carrier is nan"):
        lee(ONES, (0.0, np.nan))
    for wrong in (0.1, (0.1, 0.2, 0.3), None, "ab"):
        with pytest.raises(TypeError, match="carrier"):
            lee(ONES, wrong)
    with pytest.raises(ValueError, match="diameter is 0"):
        lee_stop((0.0, 0.1), 0.0)


def test_a_carrier_may_be_an_array():
    pair = np.array([0.1, 0.2])
    assert np.array_equal(lee(ONES, pair), lee(ONES, (0.1, 0.2)))
    assert lee_stop(pair) == lee_stop((0.1, 0.2)) and type(lee_stop(pair)["fourier_stop.centre_cycles"][0]) is float
    with pytest.raises(TypeError, match=r"carrier has shape \(2, 1\), but it must be two numbers"):
        lee_stop(pair[:, None])


def test_the_example_of_the_module_shows_light():
    """A smooth field behind the stop, exposed as its docstring does, is far above the dark level of 2.6."""
    text = textwrap.dedent(inspect.getdoc(holograms).partition("::\n")[2].partition("\nAn order has")[0])
    names = {"np": np, "Device": Device, "OpticalBench": OpticalBench, "lee": lee, "lee_stop": lee_stop}
    exec(text.replace("exposure_s=4e-3)", "exposure_s=4e-3, roi=(500, 980, 32, 64))"), names)
    (frame,) = names["frames"]
    assert frame.shape == (32, 64)
    camera = names["device"].camera
    signal = frame.mean() - camera.black_level_dn
    assert 5 < signal < 30 and frame.max() > 40 and np.mean(frame == camera.full_scale_dn) < 0.02


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="size is 5"):
        superpixel(np.ones((10, 10)), 5)
    with pytest.raises(ValueError, match="size is 1"):
        superpixel_stop(1)
    with pytest.raises(ValueError, match="size is 3, but field has 8 rows and 12 columns: both must be multiples"):
        superpixel(ONES, 3)
    with pytest.raises(ValueError, match="dmd has a diamond lattice, but superpixels are squares"):
        superpixel(ONES, 2, DIAMOND)
    assert lee(ONES, (0.1, 0.2), DIAMOND).shape == (8, 12)
