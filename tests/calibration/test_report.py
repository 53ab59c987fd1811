"""`opusim report`: the table, the figure, the comparison with the truth, and files that it refuses."""

from __future__ import annotations

import dataclasses

import h5py
import matplotlib
import numpy as np
import pytest
from typer.testing import CliRunner

from opusim import Device, OpticalBench, cli, plotting
from opusim.calibration.procedures.tm import tm_path
from opusim.calibration.report import duration, read_report, summary
from opusim.calibration.session import Calibration
from opusim.plotting.calibration import report_figure

ROI = (500, 900, 16, 64)
AURORA, IDEAL = Device.load("aurora"), Device.load("ideal")


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["report", *(str(argument) for argument in arguments)])


def measured(path, device, procedures, **options):
    c = Calibration(OpticalBench(device), path, roi=ROI, **({"inputs": 64, "minutes": 3.0} | options))
    for procedure in procedures:
        c.run(procedure)
    return path


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "cal.h5"
    return measured(path, AURORA, ("exposure", "camera", "phase", "linear", "tm", "drift"))


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """Phase steps of a device that is no preset."""
    device = AURORA.evolve(name="bent", **{"reference.scale_error": 0.1})
    return measured(tmp_path_factory.mktemp("partial") / "cal.h5", device, ("phase",), exposure_s=5e-4), device


def panels(figure):
    """Panels by their titles."""
    return {axes.get_title("left"): axes for axes in figure.axes if axes.get_title("left")}


def texts(axes):
    return " ".join(text.get_text() for text in axes.texts)


def refused(result):
    assert result.exit_code == 2 and result.stdout == "" and "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("opusim report: ") and lines[0].endswith((".", ")"))
    return lines[0]


@pytest.mark.slow
def test_the_table_has_every_record_beside_the_truth(full):
    result = invoke(full)
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for name in ("exposure", "exposure_signal", "camera", "phase", "linear", "tm", "drift"):
        assert f"{name}, 20" in text
    assert "aurora, seed 0" in text and "that of the preset aurora@2" in text and "simulated device" in text
    for unit in ("DN/e", " e/s", "µs", " rad", " %", " min"):
        assert unit in text
    rows = dict((quantity, truth) for quantity, _, truth in summary(read_report(full).records["camera"], AURORA))
    assert rows["gain"] == "0.04" and rows["read noise"] == "13"


@pytest.mark.slow
def test_the_figure_has_its_panels_labels_and_units(full, tmp_path):
    backend, interactive = matplotlib.get_backend(), matplotlib.is_interactive()
    figure = report_figure(read_report(full))
    shown = panels(figure)
    assert list(shown) == [
        "Photon transfer", "Phase steps", "Fringe modulation", "Matrix entries against the truth", "Singular values",
        "Drift",
    ]  # fmt: skip
    units = {
        "Photon transfer": ("(DN)", "(DN²)"), "Phase steps": ("(rad)", "(mrad)"),
        "Fringe modulation": ("(pixels)", "(pixels)"), "Matrix entries against the truth": ("(√DN)", "(√DN)"),
        "Singular values": ("singular value", "density"), "Drift": ("(min)", "(‰)"),
    }  # fmt: skip
    for title, (x, y) in units.items():
        assert x in shown[title].get_xlabel() and y in shown[title].get_ylabel(), title
    labels = {text.get_text() for axes in shown.values() if axes.get_legend() for text in axes.get_legend().texts}
    assert {"flat fields", "simulated shifter", "Marchenko-Pastur", "phase of the reference"} <= labels
    assert (matplotlib.get_backend(), matplotlib.is_interactive()) == (backend, interactive)
    plotting.save(figure, tmp_path / "cal.pdf")
    assert (tmp_path / "cal.pdf").read_bytes().startswith(b"%PDF")
    target = tmp_path / "cal.png"
    result = invoke(full, "--figure", target)
    assert result.exit_code == 0 and f"Figure: {target}" in result.stdout
    assert target.read_bytes().startswith(b"\x89PNG") and target.stat().st_size > 20_000


@pytest.mark.slow
def test_entries_are_near_the_truth_and_as_near_as_they_say(full):
    """The random error that the matrix states holds against the true entries, within a fifth and the phases' own."""
    report = read_report(full)
    assert report.entries.truth.shape == (len(report.entries.matrix), 32)
    assert report.entries.error == pytest.approx(report.records["tm"].relative_error, rel=0.2, abs=0.01)


@pytest.mark.slow
def test_noise_free_entries_are_the_true_ones(tmp_path):
    path = measured(tmp_path / "cal.h5", IDEAL, ("tm",), exposure_s=4e-4, inputs=16)
    report = read_report(tm_path(path))
    assert list(report.records) == ["tm"] and report.entries.error < 1e-4
    # The truth of another realisation has nothing to do with it.
    other = read_report(tm_path(path), device=IDEAL)
    assert other.entries.error == report.entries.error
    with h5py.File(tm_path(path), "r+") as file:
        file.attrs["seed"] = 5
    assert read_report(tm_path(path)).entries.error > 0.5


@pytest.mark.slow
def test_missing_records_and_unknown_truth_are_said(partial, tmp_path):
    path, device = partial
    report = read_report(path)
    assert report.device is None and "--device" in report.truth_note
    shown = panels(report_figure(report))
    for title, procedure in (("Photon transfer", "camera"), ("Fringe modulation", "linear"), ("Singular values", "tm"),
                             ("Matrix entries against the truth", "tm"), ("Drift", "drift")):  # fmt: skip
        assert texts(shown[title]) == f"No record: opusim calibrate {procedure}"
    legend = [text.get_text() for text in shown["Phase steps"].get_legend().get_texts()]
    assert legend[-1].startswith("measured; repeats to ") and legend[-1].endswith(" mrad")
    toml = tmp_path / "bent.toml"
    toml.write_text(device.to_toml(), encoding="utf-8")
    result = invoke(path, "--device", toml)
    assert result.exit_code == 0 and "simulated device" in result.stdout and " 10 " in result.stdout
    scale = next(row for row in summary(report.records["phase"], device) if row[0] == "scale error")
    assert float(scale[1].split()[0]) == pytest.approx(10, rel=0.1) and scale[2] == "10"


@pytest.mark.slow
def test_matrix_of_an_unknown_device_has_no_truth(tmp_path):
    device = IDEAL.evolve(name="mine", **{"laser.power_w": IDEAL.laser.power_w * 1.1})
    path = measured(tmp_path / "cal.h5", device, ("tm",), exposure_s=4e-4, inputs=16)
    report = read_report(tm_path(path))
    assert report.entries.truth is None and np.isnan(report.entries.error)
    shown = panels(report_figure(report))
    assert texts(shown["Matrix entries against the truth"]).startswith(
        "The truth is not known:\nopusim report --device"
    )
    assert "16 entries" in texts(shown["Singular values"])


def test_files_that_are_refused(full, partial, tmp_path):
    assert "There is no file" in refused(invoke(tmp_path / "none.h5"))
    assert "is a folder" in refused(invoke(tmp_path))
    path, content = tmp_path / "cal.h5", full.read_bytes()
    for broken, words in ((content[: len(content) // 3], "damaged or cut short"), (b"text", "not an HDF5 file")):
        path.write_bytes(broken)
        assert words in refused(invoke(path))
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 3
    assert "has the format version 3" in refused(invoke(path))
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2
        for name in list(file):
            del file[name]
    result = invoke(path)
    assert result.exit_code == 2 and "has no check sum" in result.stderr and "there is no record in it" in result.stderr
    assert "belongs to another device: bent" in refused(invoke(partial[0], "--device", "aurora"))
    # A matrix beside it that is of another device.
    path.write_bytes(partial[0].read_bytes())
    tm_path(path).write_bytes(tm_path(full).read_bytes())
    assert "belongs to another device: aurora" in refused(invoke(path))


def test_figure_names_that_are_refused(full, tmp_path):
    assert "it must end in one of" in refused(invoke(full, "--figure", tmp_path / "cal.doc"))
    assert "There is no folder" in refused(invoke(full, "--figure", tmp_path / "nowhere" / "cal.png"))
    assert "is the calibration file itself" in refused(invoke(full, "--figure", full))


def test_records_that_are_none():
    with pytest.raises(TypeError, match="record is a int, but it must be one of a calibration procedure"):
        summary(5)


def test_a_watch_that_saw_nothing_is_told_as_a_bound(full):
    record = dataclasses.replace(
        read_report(full).records["drift"], decorrelation_time_s=np.inf, decorrelation_interval_s=(7200.0, np.inf),
        phase_holds_s=np.inf,
    )  # fmt: skip
    rows = {quantity: value for quantity, value, _ in summary(record)}
    assert rows["medium decorrelates in"] == "at least 2 h"
    # exp(-2 (t / tau)^2) = .99 at t = .0709 tau
    assert rows["1 % lost, redo after"] == "at least 8.51 min"
    assert rows["phase holds to 0.1 rad for"] == "more than the 3 min watched"


@pytest.mark.parametrize(("time_s", "words"), [(1.5, "1.5 s"), (180, "3 min"), (86400, "24 h"), (864000, "10 days")])
def test_duration(time_s, words):
    assert duration(time_s) == words
