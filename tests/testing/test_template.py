"""The template of a laboratory's bench: copied, filled in, and used as a stranger would."""

from __future__ import annotations

import importlib
import pickle
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from opusim import OPU
from opusim.bench import laboratory, template
from opusim.bench.laboratory import LabDevice
from opusim.calibration import find_exposure, measure_drift
from opusim.drivers import OpuDevice
from opusim.drivers.projections.sklearn import OPUMap
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.tasks.images import KernelRidge
from opusim.testing import check_bench

N, OUT = 96, 500
FILLED = {
    "device": 'return LabDevice("numbers", mirror_shape=(24, 32), sensor_shape=(40, 60), black_level_dn=2.0)',
    "minimum_frametime_s": "return exposure_s + n_rows * 1e-6",
    "show": """\
fields = mirrors.reshape(len(mirrors), -1) @ self.matrix
return self.counts(np.abs(fields) ** 2 * 40 * exposure_s, roi)""",
    "dark": "return self.counts(np.zeros((n_frames, 40 * 60)), roi)",
    "set_reference": "pass",
}
MORE = """
    rng = np.random.default_rng(0)
    entries = np.random.default_rng(7).normal(size=(2, 40 * 60, 24 * 32)).astype(np.float32)
    matrix = (entries[0] + 1j * entries[1]).T

    def counts(self, light, roi):
        row, column, n_rows, n_columns = roi
        frames = np.minimum(2 + self.rng.poisson(light), 255).astype(np.uint8).reshape(-1, 40, 60)
        return frames[:, row : row + n_rows, column : column + n_columns]
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The class of a copy of the template whose sentences are replaced by code."""
    text = Path(template.__file__).read_text(encoding="utf-8")
    for name, code in FILLED.items():
        body = textwrap.indent(code, 8 * " ")
        text, n = re.subn(rf' +raise NotImplementedError\("{name} .*"\)', lambda _, body=body: body, text)
        assert n == 1
    assert "NotImplementedError" not in text
    folder = tmp_path_factory.mktemp("laboratory")
    name = "bench_of_a_stranger"
    (folder / f"{name}.py").write_text(text.replace("class TemplateBench", "class MyBench") + MORE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(name).MyBench
    finally:
        sys.path.remove(str(folder))
        del sys.modules[name]


@pytest.fixture
def opu(filled):
    with OPU(OUT, opu_device=OpuDevice(bench=filled())) as made:
        yield made


def bits(n: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, N), dtype=np.uint8)


def matrix() -> np.ndarray:
    """Of features, as the layout of one dimension lies on the mirrors, to pixels of the middle of the sensor."""
    entries = np.random.default_rng(7).normal(size=(2, 40 * 60, 24 * 32))
    return entries[0] + 1j * entries[1]


def test_a_copy_that_is_filled_in_conforms(filled):
    report = check_bench(filled())
    assert {"order", "region", "clock", "transform", "level"} <= set(report.passed)
    assert set(report.skipped) == {
        "lamp", "reference arm", "fewer inputs", "reserved frames", "limits", "tuning", "resuming", "repeating",
        "settling",
    }  # fmt: skip


def test_every_member_says_what_it_is_for_until_it_is_filled_in():
    bench = template.TemplateBench()
    region = (0, 0, 1, 1)
    for name, call in {
        "device": lambda: bench.device,
        "minimum_frametime_s": lambda: bench.minimum_frametime_s(1, 1e-3),
        "show": lambda: bench.show(np.zeros((1, 2, 2), np.uint8), exposure_s=1e-3, frametime_s=2e-3, roi=region),
        "dark": lambda: bench.dark(1, exposure_s=1e-3, frametime_s=2e-3, roi=region),
        "set_reference": lambda: bench.set_reference(None),
    }.items():
        with pytest.raises(NotImplementedError, match=f"^{name} is not filled in yet: .*\\.$"):
            call()
        doc = getattr(template.TemplateBench, name).__doc__
        assert "Example" in doc and len(doc.splitlines()) > 8


def test_the_example_of_its_docstring_conforms():
    code, names = textwrap.dedent(template.__doc__.split("instead of instruments::")[1]), {}
    exec(code, names)
    check_bench(names["MyBench"]())


def test_an_opu_drives_it(opu):
    x = bits()
    y = opu.fit_transform1d(x)
    assert y.shape == (len(x), OUT) and y.dtype == np.uint8 and y.context.exposure_us == 400
    # One frame a vector, on the region that the driver chose, and four guards.
    assert opu.device.bench.clock.frames == len(x) + 4
    layout, (row, column, n_rows, n_columns) = opu.current_fit.layout, opu.device.exposure().bench_roi
    light = np.abs(layout.mirrors(x).reshape(len(x), -1) @ matrix().T) ** 2 * 40 * 400e-6
    region = light.reshape(-1, 40, 60)[:, row : row + n_rows, column : column + n_columns]
    expected = 2 + region.reshape(len(x), -1)[:, :OUT]
    # A Poisson law: the residual has the variance of the light.
    residual = (y - expected) / np.sqrt(expected - 2 + 0.1)
    assert abs(residual.mean()) < 0.05 and 0.9 < residual.std() < 1.1


def test_the_linear_transform_by_intensities(opu):
    """Linear in the vectors to within the noise, and of the scale that it has on a simulated device."""
    opu.linear_mode = "intensity"
    x = bits()
    a, b = x[0] & ~x[1] & 1, x[1] & ~x[0] & 1
    opu.fit1d(x)
    each = np.mean([np.asarray(opu.linear_transform(np.stack([a, b, a | b]))) for _ in range(30)], axis=0)
    error = each[2] - each[0] - each[1]
    assert np.corrcoef(each[2], each[0] + each[1])[0, 1] > 0.9 and error.std() < 0.5 * each[2].std()
    # "auto" is the same here: there is no reference arm.
    opu.linear_mode = "auto"
    assert np.asarray(opu.linear_transform(x)).std() == pytest.approx(np.sqrt(0.5), rel=0.35)
    with pytest.raises(ValueError, match="this device has no reference arm"):
        opu.field_transform(x)


def test_procedures_that_need_no_lamp(filled):
    bench = filled()
    shown = MirrorPatterns(bits(8), MirrorLayout.lined(bench.mirror_shape, N))
    record = find_exposure(bench, shown)
    assert record.saturation_dn == 255 and 0.5e-3 < record.exposure_s < 5e-3
    assert find_exposure(bench, shown, target_level_dn=20.0).level_dn == pytest.approx(20.0, rel=0.05)
    drift = measure_drift(bench, mirrors=shown[:1], duration_s=0.01, looks=3, repeats=2, reference=False)
    assert len(drift.times_s) == 3 and drift.times_s[-1] >= 0.01


def test_an_estimator_a_task_and_a_pickle(filled, opu, monkeypatch):
    x = bits(20)
    assert OPUMap(opu=opu, n_components=OUT).fit(x).transform(x).shape == (20, OUT)
    task = KernelRidge("digits", n_train=60, n_test=30)
    with OPU(200, opu_device=OpuDevice(bench=filled())) as other:
        numbers = task(other, 0)
    assert 0 < numbers["mean_level"] < 0.5 and numbers["exposure_us"] == 400 and numbers["device_s"] > 0
    monkeypatch.setattr("time.sleep", lambda s: None)
    copied = pickle.loads(pickle.dumps(opu))
    assert type(copied.device.bench) is filled and copied.transform(x).shape == (20, OUT)


def test_what_instruments_return_is_checked(filled):
    class Wrong(filled):
        def show(self, mirrors, **how):
            return super().show(mirrors, **how).astype(np.int64)

    with pytest.raises(
        RuntimeError, match="show returned an array of int64 of the shape .1, 40, 60., but it must be of"
    ):
        Wrong().expose(np.ones((24, 32), np.uint8), exposure_s=1e-3)
    for arguments, sentence in (
        ({"exposure_s": 0.0}, "exposure_s is 0.0"),
        ({"roi": (0, 0, 41, 1)}, "roi n_rows is 41"),
        ({"frametime_s": 1e-6}, "frametime_s is 1e-06, but here it must be at least"),
        ({"n_frames": 2}, "n_frames is 2, but it counts dark frames only"),
        ({"reference_phase_rad": 0.0}, "this device has no reference arm"),
    ):
        with pytest.raises(ValueError, match=sentence):
            filled().expose(np.ones((24, 32), np.uint8), **{"exposure_s": 1e-3, **arguments})
    for arguments, sentence in (
        ({"name": ""}, "name is '', but it must be a text"),
        ({"bits": 17}, "bits is 17"),
        ({"mirror_shape": (0, 4)}, "mirror_shape"),
        ({"exposure_s": 0.0}, "operation.exposure_s is 0.0"),
        ({"opu_type": "type4"}, "operation.opu_type is 'type4'"),
    ):
        with pytest.raises((TypeError, ValueError), match=sentence):
            LabDevice(**{"name": "lab", "mirror_shape": (4, 4), "sensor_shape": (4, 4), **arguments})


def test_cameras_of_other_types():
    for depth, dtype, most in ((8, np.uint8, 255), (12, np.uint16, 4095), (0, np.float32, np.inf)):
        camera = LabDevice("lab", (4, 4), (8, 8), bits=depth, row_time_s=2e-6).camera
        assert camera.dtype == dtype and camera.full_scale_dn == most and camera.quantise is (depth > 0)
        assert camera.readout_s(4) == 8e-6
    assert LabDevice("lab", (4, 4), (8, 8)).fingerprint() != LabDevice("lab", (4, 4), (8, 8), version=2).fingerprint()


def test_a_bench_that_an_opu_cannot_drive_is_told_what_it_lacks():
    class Lab:
        mirror_shape = sensor_shape = (8, 8)

        def expose(self, *_, **__):
            raise AssertionError

    sentence = "it lacks device, minimum_frametime_s, seed, transform, as declared by opusim.bench.protocol.Drivable"
    with pytest.raises(TypeError, match=f"{sentence}. {laboratory.__name__}.FromExpose makes that of expose."):
        OpuDevice(bench=Lab())
