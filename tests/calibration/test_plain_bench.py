"""What procedures do on a bench that has little more than frames: no clock, no lamp, no record, or a plain one."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import pytest

import alien_bench
from laboratory_bench import Few, Numbers
from opusim import OPU, OpticalBench
from opusim.calibration import measure_drift, measure_focus, measure_linear, measure_phases, measure_tm
from opusim.calibration.procedures.base import PROCEDURES
from opusim.calibration.procedures.drift import DriftRecord
from opusim.calibration.procedures.matrix.measure import refuse_carrier_of
from opusim.calibration.report import whose
from opusim.calibration.session import Calibration
from opusim.calibration.truth import simulated_device
from opusim.drivers import OpuDevice

ROI = (20, 30, 16, 40)


class Wall:
    """A clock on the wall that goes on when frames are taken, and when somebody waits."""

    def __init__(self, monkeypatch):
        self.now_s = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self.go_on)

    def go_on(self, time_s):
        self.now_s += time_s


class Timed(alien_bench.Alien):
    """Each call takes 20 ms of the wall's time."""

    wall: Wall

    def expose(self, *arguments, **how):
        self.wall.go_on(0.02)
        return super().expose(*arguments, **how)

    def now_s(self):
        return 0.0


@pytest.mark.parametrize(("looks", "apart_s"), [(4, 1.0), (31, 0.1)])
def test_looks_of_a_bench_without_a_clock_are_told_when_they_were(monkeypatch, looks, apart_s):
    """The four frames and the burst of a look take .1 s, and dark frames none of the watch."""
    bench = Timed()
    bench.wall = Wall(monkeypatch)
    record = measure_drift(
        bench, duration_s=3.0, looks=looks, exposure_s=1.5e-3, roi=ROI, full_scale_dn=alien_bench.FULL
    )  # fmt: skip
    assert np.allclose(np.diff(record.times_s), max(apart_s, 5 * 0.02)) and record.times_s[0] == 0


def test_full_scale_that_is_given_is_asked_of_nobody():
    bench = alien_bench.bare()
    record = measure_linear(bench, roi=ROI, full_scale_dn=3000.0, shortest_s=100e-6, longest_s=5e-3)
    assert record.full_scale_dn == 3000.0 and 100e-6 <= record.exposure_s <= 5e-3
    with pytest.raises(TypeError, match="Or give it a flat_field"):
        measure_linear(bench, roi=ROI)
    for value in (0.0, math.nan, -1.0):
        with pytest.raises(ValueError, match="full_scale_dn is"):
            measure_linear(bench, roi=ROI, full_scale_dn=value)
        with pytest.raises(ValueError, match="full_scale_dn is"):
            measure_drift(bench, roi=ROI, full_scale_dn=value)
        with pytest.raises(ValueError, match="full_scale_dn is"):
            measure_phases(bench, [0.0, 1.5], roi=ROI, full_scale_dn=value)


def test_an_opu_is_calibrated_on_a_bench_without_a_lamp():
    bench = Numbers()
    with OPU(400, opu_device=OpuDevice(bench=bench), disable_pbar=True) as opu:
        opu.fit1d(n_features=20)
        record = opu.calibrate(store=False)
    assert record.full_scale_dn == bench.device.camera.full_scale_dn == 255 and record.relative_error < 0.5


def test_an_arm_that_is_refused_by_either_error_is_none(tmp_path):
    class NoArm(alien_bench.Alien):
        def expose(self, mirrors, *, reference_phase_rad=None, **how):
            if reference_phase_rad is not None:
                raise TypeError("no arm here")
            return super().expose(mirrors, **how)

    assert not Calibration(NoArm(), tmp_path / "cal.h5", roi=ROI).has_reference
    assert Calibration(alien_bench.bare(), tmp_path / "cal.h5", roi=ROI).has_reference


def test_what_is_wrong_with_a_frame_is_not_taken_for_the_want_of_an_arm(tmp_path):
    session = Calibration(alien_bench.bare(), tmp_path / "cal.h5", roi=ROI, longest_s=20e-6)
    with pytest.raises(ValueError, match="the camera exposes for"):
        session.has_reference  # noqa: B018 - asking takes frames


@dataclass(frozen=True)
class Named:
    """The least that a record is."""

    name: str = "Lab 3"

    def fingerprint(self):
        return "lab-3-glass-7"


@pytest.mark.parametrize(("make", "method"), [("phases", "internal"), ("phases_with_arm", "phase-stepping")])
def test_a_record_that_tells_of_no_arm_leaves_it_to_a_frame(tmp_path, make, method):
    bench = getattr(alien_bench, make)()
    bench.device, bench.seed = Named(), 0
    record = measure_tm(bench, 4, exposure_s=1.5e-3, out=tmp_path / "tm.h5", roi=ROI)
    assert record.method == method


@pytest.mark.slow
def test_phases_that_the_arm_counts_the_other_way_bring_no_light_together(tmp_path):
    """The matrix is the conjugate then; stepped against each other, without an arm, the inputs have no other sign."""
    found = {}
    for make in ("phases", "phases_with_arm"):
        bench = getattr(alien_bench, make)()
        record = measure_tm(bench, 64, exposure_s=1e-3, out=tmp_path / f"{make}.h5")
        found[make] = measure_focus(bench, record, 32, exposure_s=4e-3, focus_exposure_s=1e-4)
    # The mean of 32 foci, each of which scatters as the power of its row of 64 entries does.
    assert found["phases"].enhancement == pytest.approx(found["phases"].theory, rel=0.15)
    assert found["phases_with_arm"].enhancement < 3


@pytest.mark.parametrize("record", [Named(), Few.device])
def test_a_record_that_knows_no_grain_and_no_tilt_is_not_asked_for_them(tmp_path, record):
    bench = alien_bench.bare()
    bench.device, bench.seed = record, 0
    refuse_carrier_of(bench, 4.0)
    bare = {"method": "off-axis", "full_scale_dn": 4095.0}
    with pytest.raises(ValueError, match=r"--grain-px is not given, but --method off-axis needs it: the width of"):
        Calibration(bench, tmp_path / "cal.h5", **bare).prepare("tm")
    assert Calibration(bench, tmp_path / "cal.h5", grain_px=4.0, **bare).prepare("tm") == []


def test_only_a_simulated_bench_knows_the_truth():
    assert simulated_device(OpticalBench("ideal")) == OpticalBench("ideal").device
    described = alien_bench.bare()
    described.device, described.seed = OpticalBench("ideal").device, 0  # what somebody believes of it
    assert [simulated_device(bench) for bench in (described, Few(), alien_bench.bare())] == [None] * 3


def test_a_device_without_name_and_seed_is_told_so(tmp_path):
    session = Calibration(alien_bench.bare(), tmp_path / "cal.h5", roi=ROI, full_scale_dn=4095.0)
    session.run("exposure")
    from opusim.calibration.report import read_report

    report = read_report(tmp_path / "cal.h5")
    assert whose(report.identity) == "without a name" and report.device is None
    assert report.of_instruments  # it has no clock that began at 0
    assert report.truth_note == "not known: the bench has no record that says which device it is"


def test_drift_that_nothing_was_seen_of_is_told_so():
    """Where the correlation rises, even the lower end of the interval is never."""
    record = DriftRecord(
        times_s=np.array([0.0, 1.0, 2.0]), intensity_correlation=np.array([1.0, 1.0, 1.0002]),
        field_correlation=np.full(3, math.nan), phase_rad=np.full(3, math.nan), decorrelation_time_s=math.inf,
        decorrelation_interval_s=(math.inf, math.inf), reference_drift_rad_per_minute=math.nan, power_drift=0.0,
        redo_after_s=math.inf, allowed_loss=0.01, phase_holds_s=math.nan, allowed_phase_rad=0.1, confidence=0.95,
        exposure_s=1e-3, elapsed_s=0.0, misfit=0.5,
    )  # fmt: skip
    rows = {name: value for name, value, _ in PROCEDURES["drift"].summary(record)}
    assert rows["medium decorrelates in"] == "none was seen"
    assert rows["1 % lost, redo after"] == "longer than was watched"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"full_scale_dn": -1.0}, "full_scale_dn is -1.0"),
        ({"full_scale_dn": "12 bits"}, "full_scale_dn is '12 bits'"),
        ({"shortest_s": 0.0}, "shortest_s is 0.0"),
        ({"longest_s": 1e9}, "longest_s is 1000000000.0"),
        ({"shortest_s": 1e-3, "longest_s": 1e-4}, "longest_s is 0.0001, but shortest_s is 0.001"),
    ],
)
def test_options_are_checked_before_a_frame(tmp_path, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Calibration(alien_bench.bare(), tmp_path / "cal.h5", **options)


def test_the_camera_is_not_held_in_the_dark_for_longer_than_it_may(tmp_path):
    bench = alien_bench.make()
    session = Calibration(bench, tmp_path / "cal.h5", roi=ROI, longest_s=0.02)
    record = session.run("camera")["camera"]
    assert record.dark_exposures_s[-1] == pytest.approx(0.02)
    with pytest.raises(ValueError, match="the camera exposes for"):
        Calibration(bench, tmp_path / "other.h5", roi=ROI).run("camera")
