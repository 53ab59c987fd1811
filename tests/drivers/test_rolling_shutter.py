"""Frame times of cameras whose rows are exposed in turn: a driver shows what one pattern a frame needs."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

from command_line import words
from opusim import cli
from opusim.device.record import Device
from opusim.drivers import OPU, OpuDevice

TEXT = 'preset = "ideal"\nname = "sCMOS"\n[camera]\npreset = "zyla-4.2"\n[operation]\nopu_type = "type1"\n'
OLD = TEXT.replace("zyla-4.2", "zyla-4.2@1")


def needed_us(n_rows, exposure_us, rolling):
    """Readout at 100 full frames of 2048 rows a second, rounded up, by hand."""
    readout_us = 1e4 * n_rows / 2048
    return math.ceil((readout_us + exposure_us if rolling else max(readout_us, exposure_us)) + 50 - 1e-6)


@pytest.mark.parametrize("text, rolling", [(TEXT, True), (OLD, False)])
def test_opu_shows_the_frame_time_that_it_takes(text, rolling):
    """After a fit, at another exposure, in the context and on the clock."""
    X = np.random.default_rng(0).integers(0, 2, (3, 100), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with OPU(100 * 100, device=Device.from_toml(text)) as opu:
            opu.fit1d(X, exposure_us=900)
            shown = opu.device.frametime_us
            n_rows = opu.device.output_shape[1]
            assert shown == max(needed_us(n_rows, 900, rolling), 500)
            before = opu.device.bench.clock.elapsed_s
            counts = opu.transform(X)
            assert opu.device.bench.clock.elapsed_s - before == pytest.approx(3e-6 * shown)
    assert counts.context.frametime_us == shown


def test_a_frame_time_that_is_too_short_is_lengthened():
    """As one below the exposure is: the driver never mixes patterns."""
    X = np.random.default_rng(0).integers(0, 2, (3, 100), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with OPU(1000, device=Device.from_toml(TEXT)) as opu:
            opu.fit1d(X, exposure_us=900, frametime_us=920)
            n_rows = opu.device.output_shape[1]
            least = needed_us(n_rows, 900, True)
            assert opu.device.least_frametime_us() == least > 920
            assert opu.transform(X).context.frametime_us == least
            assert opu.device.output_readout_us == math.ceil(1e4 * n_rows / 2048 - 1e-6)


@pytest.mark.parametrize("text, rolling", [(TEXT, True), (OLD, False)])
def test_a_frame_time_that_is_set_shows_as_what_is_taken(text, rolling):
    """Whatever is set after a fit: shown, in the context and on the clock; what was asked for comes back where it can.

    100 us is shorter than the mirrors take, 460 and 600 than readout and exposure of a rolling shutter.
    """
    X = np.random.default_rng(0).integers(0, 2, (3, 100), dtype=np.uint8)
    model = Device.from_toml(text)
    with OPU(100 * 100, device=model) as opu:
        opu.fit1d(X, exposure_us=400)
        n_rows = opu.device.output_shape[1]
        least = max(needed_us(n_rows, 400, rolling), math.ceil(1e6 / model.dmd.frame_rate_hz - 1e-6))
        for asked in (100, 460, 600, 5000):
            opu.device.frametime_us = asked
            assert opu.device.frametime_us == max(asked, least)
            assert opu.device.asked_frametime_us == asked
            before = opu.device.bench.clock.elapsed_s
            counts = opu.transform(X)
            assert opu.device.bench.clock.elapsed_s - before == pytest.approx(3e-6 * opu.device.frametime_us)
            assert counts.context.frametime_us == opu.device.frametime_us
        opu.device.frametime_us = 600
        opu.device.exposure_us = 2000
        assert opu.device.frametime_us == needed_us(n_rows, 2000, rolling)
        opu.device.exposure_us = 20
        assert opu.device.frametime_us == max(600, needed_us(n_rows, 20, rolling))


def test_a_device_shows_what_was_set_until_it_has_a_region():
    """A new one reads the whole sensor, which nobody asked for; from the first frames on that is what is taken."""
    with OpuDevice("type2", 500, 400, device=Device.from_toml(TEXT)) as device:
        device.frametime_us = 700
        assert device.frametime_us == 700
        whole = needed_us(device.output_shape[1], 400, True)
        device.transform2(np.zeros((1, device.input_size), np.uint8), np.empty((1, 9), device.output_dtype), 0)
        assert device.frametime_us == whole > 700
        device.output_roi = ((0, 0), (device.output_shape_max[0], 8))
        assert device.frametime_us == max(700, needed_us(8, 400, True))


def test_info_tells_it(tmp_path):
    path = tmp_path / "scmos.toml"
    path.write_text(TEXT)
    told = words(CliRunner().invoke(cli.app, ["info", str(path)]).stdout)
    assert "one pattern on all rows 2048 rows 10,450 µs, 1024 rows 5,450 µs, 256 rows 1,700 µs" in told
    assert "rolling" in told
    path.write_text(OLD)
    assert "one pattern on all rows" not in CliRunner().invoke(cli.app, ["info", str(path)]).stdout
