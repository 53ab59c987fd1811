"""Figures of sweeps: what is drawn is what was found, with units, and readable without colour."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from opusim.device.record import Device
from opusim.plotting.sweep import axis_label
from opusim.sweep import Sweep, sweep_curves, sweep_figure, sweep_map
from opusim.sweep.points import numeric_fields


def make_opu(device, n_components, seed):
    return device, n_components


def task(opu, seed):
    device, n_components = opu
    if device.camera.bits == 6 and seed == 1:
        raise ValueError("No.")
    return {"accuracy": 0.05 * device.camera.bits + 0.01 * seed, "level": n_components / device.camera.read_noise_e}


def run(vary, **arguments):
    return Sweep(task, make_opu, vary, **{"seeds": 2, **arguments}).run()


def lines(ax):
    """Curves, without the dots of single seeds and the crosses."""
    return [line for line in ax.lines if line.get_linestyle() != "None"]


def test_a_curve_goes_through_the_means_and_its_band_covers_the_seeds():
    ax = sweep_curves(run({"camera.bits": [4, 8, 2]}))
    (line,) = lines(ax)
    assert np.array_equal(line.get_xdata(), [2, 4, 8])
    assert np.allclose(line.get_ydata(), [10.5, 20.5, 40.5])  # in percent: it is an accuracy
    (band,) = ax.collections
    low, high = band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()
    assert (low, high) == pytest.approx((10.0, 41.0))
    dots = [line for line in ax.lines if line.get_marker() == "."]
    assert sorted(y for line in dots for y in line.get_ydata()) == pytest.approx([10, 11, 20, 21, 40, 41])
    assert ax.get_ylabel() == "accuracy (%)" and ax.get_xlabel() == "camera: bits"


def test_one_seed_has_no_band():
    ax = sweep_curves(run({"camera.bits": [4, 8]}, seeds=1))
    assert not ax.collections and len(ax.lines) == 1 and not ax.get_title()
    result = run({"camera.bits": [4, 8], "camera.read_noise_e": [1.0, 2.0]}, seeds=1)
    assert not sweep_map(result).get_title()


@pytest.mark.parametrize("values", [[math.nan] * 4, [1.0, math.nan, math.inf, 2.0]])
@pytest.mark.filterwarnings("error")
def test_results_that_are_no_number_are_told_in_the_figure(values):
    def odd(opu, seed):
        device, n_components = opu
        return {"value": values[2 * (device.camera.bits > 4) + (n_components > 1)]}

    result = Sweep(odd, make_opu, {"camera.bits": [4, 8], "n_components": [1, 2]}).run()
    missing = int(sum(not math.isfinite(v) for v in values))
    for ax in (sweep_curves(result), sweep_map(result)):
        assert f"{missing} of 4 results: not a number, or infinite" in [text.get_text() for text in ax.texts]
    sweep_figure(result)


def test_another_metric_and_other_axes_may_be_asked_for():
    ax = Figure().subplots()
    result = run({"camera.bits": [4, 8]}, seeds=1)
    assert sweep_curves(result, "level", ax=ax) is ax and ax.get_ylabel() == "level"
    with pytest.raises(ValueError, match="metric is 'levels'"):
        sweep_curves(result, "levels")


def test_curves_of_a_second_parameter_differ_in_more_than_colour():
    ax = sweep_curves(run({"camera.read_noise_e": [1.0, 2.0], "camera.bits": [2, 4, 8]}))
    drawn = lines(ax)
    assert len(drawn) == 2 and all(len(line.get_xdata()) == 3 for line in drawn)
    assert len({line.get_marker() for line in drawn}) == 2
    assert len({str(line._unscaled_dash_pattern) for line in drawn}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "camera.read_noise_e = 1", "camera.read_noise_e = 2",
    ]  # fmt: skip


def test_points_that_failed_are_marked():
    ax = sweep_curves(run({"camera.bits": [4, 6, 8]}))
    (crosses,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert list(crosses.get_xdata()) == [6] and "failed" in [t.get_text() for t in ax.get_legend().get_texts()]
    assert np.allclose(lines(ax)[0].get_ydata(), [20.5, 30.0, 40.5])  # of the seed that did not fail


def test_wide_ranges_have_equal_ratios_and_infinity_its_own_place():
    values = [10.0, 100.0, 1000.0, math.inf]
    ax = sweep_curves(run({"medium.decorrelation_time_s": values}))
    assert ax.get_xscale() == "log"
    x = lines(ax)[0].get_xdata()
    assert np.array_equal(x[:3], values[:3]) and x[3] > 5000 and np.isfinite(x[3])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["10", "100", "1000", "∞"]
    assert ax.get_xlabel() == "medium: decorrelation time (s)"


def test_infinity_alone_can_be_drawn():
    ax = sweep_curves(run({"medium.decorrelation_time_s": [math.inf]}))
    assert np.isfinite(lines(ax)[0].get_xdata()).all()


def test_values_that_go_together_are_drawn_against_the_first():
    ax = sweep_curves(run({"camera.bits": [4, 8], "camera.read_noise_e": [1.0, 2.0]}, zipped=True))
    assert np.array_equal(lines(ax)[0].get_xdata(), [4, 8])
    assert ax.get_xlabel() == "camera: bits\n(with it: camera: read noise (electrons))"


def test_too_many_curves_are_refused():
    result = run({"camera.read_noise_e": list(range(1, 10)), "n_components": list(range(1, 11))}, seeds=1)
    with pytest.raises(ValueError, match="9 combinations beside n_components, but a figure shows at most 8"):
        sweep_curves(result)


def test_a_map_shows_the_means_in_rising_order():
    result = run({"camera.bits": [8, 4], "camera.read_noise_e": [2.0, 1.0, 4.0]})
    ax = sweep_map(result)
    mean = ax.collections[0].get_array()
    assert np.allclose(mean, [[20.5] * 3, [40.5] * 3])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["4", "8"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "4"]
    assert sorted(t.get_text() for t in ax.texts) == ["20.5"] * 3 + ["40.5"] * 3
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("camera: read noise (electrons)", "camera: bits")


def test_numbers_in_a_map_stand_out_from_their_cell():
    ax = sweep_map(run({"camera.bits": [2, 4, 8, 12], "camera.read_noise_e": [1.0, 2.0]}))
    colours = {float(t.get_text()): t.get_color() for t in ax.texts}
    assert colours[10.5] == "white" and colours[60.5] == "black"


def test_cells_without_a_result_stay_empty():
    ax = sweep_map(run({"camera.bits": [6, 8], "camera.read_noise_e": [1.0, 2.0]}, seeds=[1]))
    assert np.array_equal(np.ma.getmaskarray(ax.collections[0].get_array()), [[True, True], [False, False]])
    assert len(ax.texts) == 2


def test_a_map_needs_two_parameters_in_a_grid():
    with pytest.raises(ValueError, match="A heat map needs two parameters in a grid"):
        sweep_map(run({"camera.bits": [4, 8]}))


@pytest.mark.parametrize(
    ("vary", "panels"),
    [
        ({"camera.bits": [4, 8]}, 1),
        ({"camera.bits": [4, 8], "camera.read_noise_e": [1.0, 2.0]}, 3),  # map, curves, colour bar
        ({"camera.bits": [4, 8], "camera.read_noise_e": [1.0]}, 1),
        ({"camera.bits": [4, 8], "camera.read_noise_e": [1.0, 2.0], "n_components": [1, 2]}, 1),
    ],
)
def test_a_page_has_what_belongs_to_the_number_of_parameters(vary, panels, tmp_path):
    before = dict(matplotlib.rcParams)
    figure = sweep_figure(run(vary))
    assert len(figure.axes) == panels and dict(matplotlib.rcParams) == before
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_sweep_without_results_is_told():
    result = run({"camera.bits": [6]}, seeds=[1])
    for draw in (sweep_figure, sweep_curves):
        with pytest.raises(ValueError, match="no point of this sweep is done"):
            draw(result)


def test_every_field_has_a_label_without_underscores():
    for path in numeric_fields(Device.load("aurora"), task):
        assert "_" not in axis_label(path)
    assert axis_label("camera.gain_dn_per_e") == "camera: gain (DN/electron)"
    assert axis_label("camera.dark_current_e_per_s") == "camera: dark current (electrons/s)"
    assert axis_label("camera.prnu") == "camera: PRNU" and axis_label("laser.power_w") == "laser: power (W)"
