"""Devices around a measured matrix whose pixels are fewer than a row of the sensor, or lie elsewhere.

Expected rectangles are worked out by hand from the numbers of pixels; fields are compared with the matrix of the file.
"""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from measured_device import measured_device, write_matrix
from opusim import OPU, Device, OpticalBench
from opusim.bench.inputs import output_roi
from opusim.bench.protocol import output_roi_of
from opusim.bench.region import Roi
from opusim.calibration import Calibration, read_tm
from opusim.calibration.session import middle_region
from opusim.device.medium import MeasuredMedium
from opusim.drivers import OpuDevice
from opusim.drivers.output_region import OutputRoi
from opusim.drivers.types import OutputRoiStrategy
from opusim.testing import check_bench


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the calibration of linear_transform is told
        yield


def lab(folder, preset, outputs, inputs, pixels=None):
    """Return a device of the preset's own size around a matrix, and the matrix."""
    tm, _ = write_matrix(folder / "tm.h5", outputs, inputs, pixels=pixels)
    base = Device.load(preset)
    return base.evolve(medium=MeasuredMedium(path=str(folder / "tm.h5"), transmission=base.medium.transmission)), tm


def alike(found, true):
    """Correlation of each output over the vectors, but for a phase of its own, which the reference has there."""
    overlap = np.abs(np.sum(found.conj() * true, axis=0))
    return overlap / (np.linalg.norm(found, axis=0) * np.linalg.norm(true, axis=0))


@pytest.mark.parametrize("opu_type", ["type1", "type2"])
@pytest.mark.parametrize(
    ("pixels", "own"),
    # 500 pixels in one row of 2040, and where the file says.
    [(None, (543, 770, 1, 500)), ((400, 900, 20, 25), (400, 900, 20, 25))],
)
@pytest.mark.parametrize(("preset", "least"), [("ideal", 0.999), ("aurora", 0.99)])
def test_a_lab_s_matrix_of_300_by_500_is_all_there_is(tmp_path, preset, least, pixels, own, opu_type):
    device, tm = lab(tmp_path, preset, 500, 300, pixels)
    x = np.random.default_rng(1).integers(0, 2, (96, 300), dtype=np.uint8)
    with OPU(500, device=device.evolve(**{"operation.opu_type": opu_type})) as opu:
        assert opu.bench.output_roi == own and opu.max_n_components == 500
        counts = opu.fit_transform1d(x)
        assert counts.shape == (96, 500)
        row, column, n_rows, n_columns = own
        assert opu.device.output_roi == ((column, row), (n_columns, n_rows))
        field = np.asarray(opu.field_transform(x))
        valid = opu.calibration.valid
        found = alike(field, x.astype(np.float32) @ tm.T)
        # Rows in the order of the file; a pixel that saturates or is dark is named by the calibration.
        assert valid.shape == (500,) and valid.mean() > 0.97 and found[valid].min() >= least
        assert opu.linear_transform(x).shape == (96, 500)
        assert opu.calibrate().valid.shape == (500,)


def test_fewer_components_are_the_first_of_the_rectangle_and_too_many_are_told(tmp_path):
    device, tm = lab(tmp_path, "ideal", 500, 40, (400, 900, 20, 25))
    with OPU(60, device=device) as opu:
        assert opu.device.output_roi == (
            (900, 405),
            (25, 11),
        )  # 256 pixels or more in rows of its own width, in its middle
        x = np.random.default_rng(1).integers(0, 2, (64, 40), dtype=np.uint8)
        opu.fit1d(x)
        field = np.asarray(opu.field_transform(x))
        assert alike(field, x.astype(np.float32) @ tm[5 * 25 : 5 * 25 + 60].T).min() > 0.999
        with pytest.raises(
            ValueError, match=r"n_components is 501, but .* rectangle of 500 .*\(\(900, 400\), \(25, 20\)\).* 1 to 500"
        ):
            opu.n_components = 501


def test_a_region_of_one_s_own_is_read_by_a_camera_of_full_width(tmp_path):
    device, tm = lab(tmp_path, "ideal", 500, 40, (400, 900, 20, 25))
    x = np.random.default_rng(1).integers(0, 2, (64, 40), dtype=np.uint8)
    with OPU(100, device=device) as opu:
        opu.fit1d(x)
        opu.device.output_roi = ((903, 402), (10, 10))
        field = np.asarray(opu.field_transform(x))
        rows = (2 + np.arange(10)[:, None]) * 25 + 3 + np.arange(10)
        assert alike(field, x.astype(np.float32) @ tm[rows.ravel()].T).min() > 0.999
    device = OpuDevice(bench=OpticalBench("ideal"))
    with pytest.raises(ValueError, match="this camera reads full width"):
        device.output_roi = ((903, 402), (5, 4))


@pytest.mark.parametrize(
    ("outputs", "own"),
    [
        (2040, (543, 0, 1, 2040)),
        (2041, None),  # 13 * 157: 13 rows of 157
        (4998, (542, 187, 3, 1666)),
        (4999, None),  # prime
        (5000, (542, 395, 4, 1250)),
        (2040 * 1088, (0, 0, 1088, 2040)),
        (2040 * 1088 + 2040, None),
    ],
)
def test_rows_without_pixels_lie_in_the_middle(tmp_path, outputs, own):
    if outputs == 2041:
        own = (537, 941, 13, 157)
    write_matrix(tmp_path / "tm.h5", outputs, 2)
    medium = MeasuredMedium(path=str(tmp_path / "tm.h5"))
    assert medium.own_outputs((1088, 2040)) == own
    assert Device.load("ideal").medium.own_outputs((1088, 2040)) is None
    shared = MeasuredMedium(path=str(tmp_path / "tm.h5"), input_light="shared")
    assert shared.own_outputs((1088, 2040)) is None and not shared.doubts()


def test_pixels_that_fill_no_rectangle_are_told_when_the_device_is_read(tmp_path):
    """A cross of bars of 20 x 60: one of them can be read, 1200 of 2000 pixels."""
    mask = np.zeros((64, 90), dtype=bool)
    mask[22:42, 10:70] = mask[2:62, 30:50] = True
    write_matrix(tmp_path / "tm.h5", 2000, 20, pixels=np.argwhere(mask))
    device = measured_device(tmp_path / "tm.h5")
    told = device.medium.doubts()
    assert len(told) == 1 and "2000 pixels" in told[0] and "largest that is full has 1200" in told[0]
    own = output_roi(device)
    assert own in ((22, 10, 20, 60), (2, 30, 60, 20))
    with OPU(1200, device=device) as opu:
        assert opu.fit_transform1d(np.ones((2, 20), np.uint8)).shape == (2, 1200)
        assert opu.linear_transform(np.ones((2, 20), np.uint8)).shape == (2, 1200)
    with pytest.raises(
        ValueError, match="n_components is 2000, but this device has outputs on a rectangle of 1200 pix"
    ):
        OPU(2000, device=device)
    in_order = device.evolve(**{"medium.pixels": "none"})
    assert not in_order.medium.doubts() and output_roi(in_order) == (19, 5, 25, 80)


def test_a_pixel_off_the_sensor_is_told_at_once(tmp_path):
    write_matrix(tmp_path / "tm.h5", 6, 20, pixels=(60, 88, 2, 3))
    with pytest.raises(ValueError, match=r"row 2 of the matrix on the pixel \(60, 90\), but the sensor has 64 rows"):
        OPU(6, device=measured_device(tmp_path / "tm.h5"))


def test_a_rectangle_that_a_root_would_round_up_is_never_left():
    """All numbers of pixels of all small rectangles: no region leaves them, and each is large enough."""
    for n_rows in range(1, 14):
        for n_columns in range(1, 14):
            own = (5, 7, n_rows, n_columns)
            for strategy in OutputRoiStrategy.mid_square, OutputRoiStrategy.mid_width:
                regions = OutputRoi((40, 30), strategy, outputs=Roi(*own))
                for n in range(1, n_rows * n_columns + 1):
                    (x, y), (w, h) = regions.compute_roi(n)
                    assert w * h >= n and 5 <= y and y + h <= 5 + n_rows and 7 <= x and x + w <= 7 + n_columns, own


def test_an_allowed_region_is_kept_to(tmp_path):
    device, _ = lab(tmp_path, "ideal", 500, 40, (400, 900, 20, 25))
    with OPU(50, device=device) as opu:
        opu.config["output"]["allowed_roi"] = [[0, 410], [2040, 100]]
        assert opu.max_n_components == 250
        opu.n_components = 250
        assert opu.device.output_roi == ((900, 410), (25, 10))
        opu.config["output"]["allowed_roi"] = [[0, 0], [2040, 100]]
        with pytest.raises(ValueError, match="output.allowed_roi is .* has outputs on .* must hold some of them"):
            opu.n_components = 5


def test_a_calibration_takes_the_rectangle_or_its_middle(tmp_path):
    assert middle_region((1088, 2040)) == (512, 956, 64, 128)
    device, _ = lab(tmp_path, "ideal", 500, 40, (400, 900, 20, 25))
    assert Calibration(OpticalBench(device), tmp_path / "cal.h5").roi == (400, 900, 20, 25)
    device, _ = lab(tmp_path, "ideal", 100 * 200, 40, (400, 900, 100, 200))
    assert Calibration(OpticalBench(device), tmp_path / "cal.h5").roi == (418, 936, 64, 128)


def test_a_bench_says_a_rectangle_of_its_sensor():
    class Part:
        sensor_shape = (20, 30)
        output_roi: object = (2, 3, 4, 5)

    part = Part()
    assert output_roi_of(part) == (2, 3, 4, 5) and output_roi_of(object()) is None
    for wrong in ((2, 3, 19, 5), "all", (1, 2, 3)):
        part.output_roi = wrong
        with pytest.raises((TypeError, ValueError), match=r"output_roi of the bench is .*, but it must be None, or a"):
            output_roi_of(part)


@pytest.mark.parametrize("pixels", [None, (10, 40, 12, 20)])
def test_the_bench_conforms(tmp_path, pixels):
    write_matrix(tmp_path / "tm.h5", 240, 40, pixels=pixels)
    check_bench(OpticalBench(measured_device(tmp_path / "tm.h5", "aurora")))


@pytest.mark.system
@pytest.mark.parametrize("pixels", [None, (400, 900, 20, 25)])
def test_commands_need_no_region(tmp_path, pixels):
    tm, _ = write_matrix(tmp_path / "tm.h5", 500, 300, 0.3, pixels=pixels)
    (tmp_path / "lab.toml").write_text(
        'preset = "aurora"\n[medium]\nkind = "measured"\npath = "tm.h5"\ntransmission = 8.37e-11\n'
    )

    def done(*command):
        run = subprocess.run(
            [sys.executable, "-m", "opusim", *command, "--device", "lab.toml"],
            cwd=tmp_path, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        return run.stdout

    done("calibrate", "tm", "--out", "cal.h5", "--inputs", "300")
    record = read_tm(tmp_path / "cal.tm.h5")
    found, true = record.matrix()[record.valid], tm[record.valid]
    overlap = np.abs(np.sum(found * true.conj(), axis=1))
    assert record.valid.mean() > 0.97
    assert np.median(overlap / np.linalg.norm(found, axis=1) / np.linalg.norm(true, axis=1)) > 0.99
    assert "500" in done("demo", "--out", "demo.png")
    done("plan", "--linear", "--no-measure", "--features", "300", "--components", "500", "--vectors", "1000")


@pytest.mark.system
def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "measured_matrix.md").read_text()
    section = page.split("## Use it")[1].split("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    names["opu"].close()
    found = re.search(r"(\d+) of 500 outputs are of use; correlation with x @ tm.T ([.\d]+)", capsys.readouterr().out)
    assert int(found[1]) > 480 and float(found[2]) > 0.99
    assert names["frames"].shape == (64, 20, 25) and names["frames"].dtype == np.uint8
