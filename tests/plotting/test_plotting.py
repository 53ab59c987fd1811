"""Figures: what they say, that they draw what they are given, and what they leave alone."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from opusim import Device, OpticalBench, plotting, theory
from opusim.noise.levels import dark_level_dn, error_budget, level_distribution
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.sweep.points import Axis
from opusim.sweep.result import Header, Outcome, SweepResult

ROI = (500, 900, 24, 40)
RNG = np.random.default_rng(0)
FIELD = (RNG.normal(size=(6, 9)) + 1j * RNG.normal(size=(6, 9))).astype(np.complex64)
MATRIX = RNG.normal(size=(80, 30)) + 1j * RNG.normal(size=(80, 30))
CURVE = np.array([2.0, 12.0, 22.0, 42.0]), np.array([0.4, 0.8, 1.2, 2.0])
CAMERA = SimpleNamespace(
    level_dn=CURVE[0], variance_dn2=CURVE[1], gain_dn_per_e=0.04, read_noise_e=13.0, prnu=0.01, dsnu_e=15.0
)
RECORD = SimpleNamespace(
    valid=np.arange(80) % 2 == 0, matrix=lambda rows: MATRIX[rows] if (np.asarray(rows) % 2 == 0).all() else None
)


@pytest.fixture(scope="module")
def bench():
    return OpticalBench("aurora", seed=0)


@pytest.fixture(scope="module")
def planes(bench):
    layout = MirrorLayout.macro_2d(bench.mirror_shape, (8, 8))
    bits = np.arange(64, dtype=np.uint8).reshape(1, 64) % 2
    return bench.inspect(MirrorPatterns(bits, layout), roi=ROI)


@pytest.fixture(scope="module")
def sweep():
    axes = (Axis("camera.bits", (4, 8)),)
    header = Header({"name": "digits"}, "aurora", "0" * 64, {}, 100, axes, False, (0, 1), "0.1.0")
    outcomes = {(i, j): Outcome({"accuracy": 0.8 + 0.1 * i + 0.02 * j}) for i in range(2) for j in range(2)}
    return SweepResult(header, ((4,), (8,)), outcomes)


def scale_of(ax):
    """The axes of the colour scale of a picture."""
    (bar,) = ax.child_axes
    return bar


def drawn(ax):
    (image,) = ax.images
    return np.asarray(image.get_array())


def line(ax, label):
    (found,) = (one for one in ax.lines if one.get_label() == label)
    return found


# ---------------------------------------------------------------------------------------------- labels and units

SAYS = {
    "mirrors": (lambda p, s: plotting.mirrors(p), ("column (mirrors)", "row (mirrors)", "white is on")),
    "mirrors, mm": (lambda p, s: plotting.mirrors(p, pitch_m=7.6e-6), ("1140 mirrors wide (mm)", "912 mirrors high")),
    "field": (lambda p, s: plotting.field(p)[0], ("(pixels)", "amplitude (1: a mean mirror)")),
    "phase": (lambda p, s: plotting.field(p)[1], ("(pixels)", "phase (rad)")),
    "field, mirrors": (lambda p, s: plotting.field(p, plane="mirrors")[0], ("column (modes)", "amplitude")),
    "speckle": (lambda p, s: plotting.speckle(p), ("(pixels)", "counts (grey levels)")),
    "speckle, µm": (lambda p, s: plotting.speckle(p, pitch_m=5e-6, plane="photons"), ("wide (µm)", "(photons)")),
    "speckle, electrons": (lambda p, s: plotting.speckle(p, plane="electrons"), ("(electrons)",)),
    "histogram": (lambda p, s: plotting.histogram(p), ("(photons)", "share per photon", "exponential law", "mean")),
    "histogram of counts": (lambda p, s: plotting.histogram(p.counts), ("counts (grey levels)", "per grey level")),
    "matrix": (lambda p, s: plotting.transmission_matrix(RECORD), ("input", "output", "entry (√ grey levels)")),
    "matrix, phase": (lambda p, s: plotting.transmission_matrix(MATRIX, part="phase"), ("phase (rad)", "input")),
    "matrix, real": (lambda p, s: plotting.transmission_matrix(MATRIX.real, part="real"), ("entry", "output (pixel)")),
    "values": (lambda p, s: plotting.singular_values(MATRIX), ("singular value / √80", "density", "Marchenko-Pastur")),
    "camera": (lambda p, s: plotting.photon_transfer(CAMERA), ("(DN)", "(DN²)", "0.0400 DN/e", "read noise 13 e")),
    "budget": (lambda p, s: plotting.noise_budget(error_budget("aurora")), ("(%)", "shot noise", "aurora, intensity")),
    "sweep": (lambda p, s: plotting.sweep_curves(s), ("bits", "accuracy (%)")),
}


def test_a_figure_of_a_changed_preset_says_so():
    changed = Device.load("aurora").evolve(**{"camera.prnu": 0.02})
    assert "aurora, changed, intensity" in words(plotting.noise_budget(error_budget(changed)))


def words(ax):
    """Everything that is written on axes and on those within."""
    found = [text.get_text() for text in ax.findobj(matplotlib.text.Text)]
    return "\n".join(found)


@pytest.mark.parametrize("name", SAYS)
def test_labels_have_units(name, planes, sweep):
    make, expected = SAYS[name]
    ax = make(planes, sweep)
    assert ax.get_xlabel() and (ax.get_ylabel() or name == "budget")
    ax.figure.draw_without_rendering()
    for text in expected:
        assert text in words(ax), text


@pytest.mark.slow
@pytest.mark.parametrize("name", SAYS)
def test_every_figure_can_be_saved(name, planes, sweep, tmp_path):
    ax = SAYS[name][0](planes, sweep)
    for ending, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        plotting.save(ax.figure, tmp_path / f"a{ending}", dpi=50)
        assert (tmp_path / f"a{ending}").read_bytes().startswith(start)


# ---------------------------------------------------------------------------------------------- what is drawn


def test_pictures_are_the_planes(planes):
    assert np.array_equal(drawn(plotting.mirrors(planes)), planes.mirrors)
    for plane in ("counts", "photons", "electrons"):
        assert np.array_equal(drawn(plotting.speckle(planes, plane=plane)), getattr(planes, plane))
        assert np.array_equal(drawn(plotting.speckle(getattr(planes, plane), plane=plane)), getattr(planes, plane))
    amplitude, phase = plotting.field(planes)
    assert np.array_equal(drawn(amplitude), np.abs(planes.medium_field[:, :, 0]))
    assert np.array_equal(drawn(phase), np.angle(planes.medium_field[:, :, 0]))
    assert np.array_equal(drawn(plotting.field(planes, plane="mirrors")[0]), np.abs(planes.dmd_field))
    assert np.array_equal(drawn(plotting.field(FIELD)[1]), np.angle(FIELD))


def test_a_mirror_and_a_pixel_lie_where_the_axes_say():
    pattern = np.zeros((30, 40), np.uint8)
    pattern[3, 7] = 1
    assert plotting.mirrors(pattern).images[0].get_extent() == [0, 40, 30, 0]
    # 40 mirrors of 100 µm are 4 mm, 40 pixels of 5 µm are 200 µm.
    assert plotting.mirrors(pattern, pitch_m=1e-4).images[0].get_extent() == pytest.approx([0, 4, 3, 0])
    assert plotting.speckle(pattern, pitch_m=5e-6).images[0].get_extent() == pytest.approx([0, 200, 150, 0])
    # Rows and columns of a diamond lattice differ: 30 x 10.8 um by 40 x 5.4 um.
    assert plotting.mirrors(pattern, pitch_m=(10.8e-6, 5.4e-6)).images[0].get_extent() == pytest.approx(
        [0, 216, 324, 0]
    )


def test_speckle_says_what_lies_beyond_its_colours():
    frame = np.arange(6000.0).reshape(60, 100)
    low, high = plotting.speckle(frame, darkest=10).images[0].get_clim()
    assert low == 10 and high == pytest.approx(np.quantile(frame, 0.998))
    # A dark frame, all 2: black, and a scale of one grey level.
    assert plotting.speckle(np.full((4, 4), 2, np.uint8), darkest=2).images[0].get_clim() == (2, 3)


def test_histogram_counts_every_value_once(planes):
    for values, plane in ((planes.counts, "counts"), (planes.photons, "photons"), (planes.counts * 20.0, "counts")):
        ax = plotting.histogram(values, plane=plane)
        bars = np.array([bar.get_height() * bar.get_width() for bar in ax.patches])
        assert bars.sum() == pytest.approx(1)
        (mean,) = (one.get_xdata()[0] for one in ax.lines if one.get_linestyle() == ":")
        assert mean == pytest.approx(values.mean(), rel=1e-6)
    counted = {round(bar.get_x() + 0.5): bar.get_height() for bar in plotting.histogram(planes.counts).patches}
    levels, numbers = np.unique(planes.counts, return_counts=True)
    for level, number in zip(levels.tolist(), numbers.tolist(), strict=True):
        assert counted[level] == pytest.approx(number / planes.counts.size)


def test_the_exponential_law_starts_at_the_dark_level_and_has_the_mean(planes, bench):
    x, y = line(plotting.histogram(planes), "exponential law").get_data()
    mean = planes.photons.mean(dtype=np.float64)
    assert y == pytest.approx(np.exp(-x / mean) / mean)
    x, y = line(plotting.histogram(planes.counts, dark=2.0), "exponential law").get_data()
    assert x[0] == 2 and y[0] == pytest.approx(1 / (planes.counts.mean() - 2))
    exposure_s = bench.device.operation.exposure_s
    ax = plotting.histogram(planes.counts, device=bench.device)
    assert line(ax, "exponential law alone").get_xdata()[0] == dark_level_dn(bench.device, exposure_s)
    x, y = line(ax, "speckle law and camera noise").get_data()
    edges = np.append(np.append(x - 0.5, x[-1] + 0.5), np.inf)
    expected = level_distribution(bench.device, planes.counts.mean(), exposure_s, edges)[: len(x)]
    assert y == pytest.approx(expected)


def test_where_a_pixel_adds_up_modes_the_exponential_law_is_not_drawn(planes, bench):
    device = bench.device.remagnified().evolve(**{"camera.pixel_over_grain": 1.0})
    labels = [one.get_label() for one in plotting.histogram(planes.counts, device=device).lines]
    assert "speckle law and camera noise" in labels and "exponential law alone" not in labels


@pytest.mark.parametrize("average", [True, False])
def test_where_the_medium_moves_in_a_frame_the_exponential_law_is_not_drawn(planes, bench, average):
    """A mean over states has a gamma law of a smaller contrast, which the full line follows."""
    moving = {"medium.decorrelation_time_s": 1e-3, "operation.exposure_average": average}
    ax = plotting.histogram(planes.counts, device=bench.device.evolve(**moving), exposure_s=1e-3)
    labels = [one.get_label() for one in ax.lines]
    assert "speckle law and camera noise" in labels
    assert ("exponential law alone" in labels) == (not average)


def test_matrix_is_the_matrix():
    assert np.array_equal(drawn(plotting.transmission_matrix(MATRIX)), np.abs(MATRIX))
    assert np.array_equal(drawn(plotting.transmission_matrix(MATRIX, part="phase")), np.angle(MATRIX))
    assert np.array_equal(drawn(plotting.transmission_matrix(MATRIX, part="real")), MATRIX.real)
    assert np.array_equal(drawn(plotting.transmission_matrix(RECORD)), np.abs(MATRIX[::2]))


@pytest.mark.parametrize("matrix", [MATRIX, MATRIX.T, MATRIX.real, MATRIX.astype(np.complex64) * 1e-3], ids=str)
def test_singular_values_are_those_of_the_matrix_with_equal_columns(matrix):
    ax = plotting.singular_values(matrix)
    tall = matrix if matrix.shape[0] > matrix.shape[1] else matrix.T
    tall = tall / np.sqrt(np.mean(np.abs(tall) ** 2, axis=0))
    values = np.linalg.svd(tall, compute_uv=False) / np.sqrt(80)
    edges = np.array([*(bar.get_x() for bar in ax.patches), ax.patches[-1].get_x() + ax.patches[-1].get_width()])
    heights = [bar.get_height() for bar in ax.patches]
    # The outermost edges are the outermost values: moved out by more than rounding.
    edges[0], edges[-1] = edges[0] - 1e-4, edges[-1] + 1e-4
    expected = np.histogram(values, edges)[0] / 30 / ax.patches[0].get_width()
    assert heights == pytest.approx(expected)
    x, y = line(ax, "Marchenko-Pastur").get_data()
    assert y == pytest.approx(theory.marchenko_pastur_pdf(x, 30 / 80))
    assert (x[0], x[-1]) == pytest.approx(theory.marchenko_pastur_edges(30 / 80))


@pytest.mark.parametrize("inputs", [60, 320])
def test_outputs_that_share_grains_have_the_law_of_the_independent_ones(inputs):
    """Each of 160 independent outputs on six pixels, turned by a unitary matrix: the singular values of the 160 alone.

    Between the edges of the law all of them lie, to the 3 % of so small a matrix, and what is not drawn are zeros.
    """
    rng = np.random.default_rng(3)
    few = rng.normal(size=(160, inputs)) + 1j * rng.normal(size=(160, inputs))
    spread = np.linalg.qr(rng.normal(size=(960, 160)) + 1j * rng.normal(size=(960, 160)))[0]
    ax = plotting.singular_values(spread @ few, independent=160)
    x, y = line(ax, "Marchenko-Pastur").get_data()
    matrix = spread @ few
    values = np.linalg.svd(matrix / np.sqrt(np.mean(np.abs(matrix) ** 2, axis=0)), compute_uv=False) / np.sqrt(960)
    values = values[values > 1e-6]
    assert len(values) == min(inputs, 160)
    assert values.min() == pytest.approx(x[0], abs=0.03 * x[-1]) and values.max() == pytest.approx(x[-1], rel=0.03)
    area = float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)))
    assert area == pytest.approx(min(inputs, 160) / inputs, rel=0.02)
    assert "160 independent outputs" in " ".join(text.get_text() for text in ax.texts)
    without = plotting.singular_values(matrix, independent=np.nan)
    assert not without.lines and "no law" in " ".join(text.get_text() for text in without.texts)
    with pytest.raises(ValueError, match="independent is 0.5"):
        plotting.singular_values(matrix, independent=0.5)


def test_a_square_matrix_has_a_law_that_is_finite():
    x, y = line(plotting.singular_values(MATRIX[:30]), "Marchenko-Pastur").get_data()
    # The quarter circle: sqrt(4 - s^2) / pi, from 2 / pi at 0.
    assert y == pytest.approx(np.sqrt(np.maximum(4 - x**2, 0)) / np.pi, abs=1e-6)


def test_photon_transfer_has_the_points_and_the_slope():
    ax = plotting.photon_transfer(CAMERA)
    x, y = line(ax, "flat fields").get_data()
    assert np.array_equal(x, CURVE[0] - 2) and np.array_equal(y, CURVE[1])
    x, y = line(ax, "gain 0.0400 DN/e").get_data()
    assert np.diff(y) / np.diff(x) == pytest.approx(0.04) and y[0] == CURVE[1][0]
    assert [one.get_label() for one in plotting.photon_transfer(CURVE).lines] == ["flat fields"]
    assert len(plotting.photon_transfer(CURVE, gain_dn_per_e=0.05).lines) == 2


def test_noise_budget_has_the_shares_and_hatches():
    budgets = [error_budget("aurora"), error_budget("aurora", "linear")]
    ax = plotting.noise_budget(budgets)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(ax.containers) == 2
    for budget, bars in zip(budgets, ax.containers, strict=True):
        found = {names[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width() for bar in bars}
        for name, width in found.items():
            assert width == pytest.approx(100 * budget.share(name) if name in budget.errors else 0.0)
    assert len({bars[0].get_hatch() for bars in ax.containers}) == 2


def test_sweep_curves_go_through_the_means(sweep):
    ax = plotting.sweep_curves(sweep)
    means = [one.get_ydata() for one in ax.lines if one.get_linestyle() == "-"]
    assert means[0] == pytest.approx([81.0, 91.0])


def test_lines_differ_in_dashes_and_not_in_colour_alone(planes, bench):
    laws = plotting.histogram(planes.counts, device=bench.device)
    styles = [line(laws, label).get_linestyle() for label in ("speckle law and camera noise", "exponential law alone")]
    assert styles[0] != styles[1]


# ---------------------------------------------------------------------------------------------- axes and pyplot

ON_AXES = {
    "mirrors": lambda p, s, ax: plotting.mirrors(p, ax),
    "speckle": lambda p, s, ax: plotting.speckle(p, ax),
    "histogram": lambda p, s, ax: plotting.histogram(p, ax),
    "matrix": lambda p, s, ax: plotting.transmission_matrix(MATRIX, ax),
    "values": lambda p, s, ax: plotting.singular_values(MATRIX, ax),
    "camera": lambda p, s, ax: plotting.photon_transfer(CAMERA, ax),
    "budget": lambda p, s, ax: plotting.noise_budget(error_budget("aurora"), ax),
    "sweep": lambda p, s, ax: plotting.sweep_curves(s, ax=ax),
}


@pytest.mark.parametrize("name", ON_AXES)
def test_given_axes_are_drawn_on_and_returned(name, planes, sweep):
    figure = Figure()
    before, ax = figure.subplots(1, 2)
    assert ON_AXES[name](planes, sweep, ax) is ax
    assert figure.axes == [before, ax] and not before.has_data()


def test_a_field_takes_two_axes_or_shares_the_place_of_one(planes):
    pair = Figure().subplots(1, 2)
    assert list(plotting.field(planes, pair)) == list(pair)
    figure = Figure(layout="constrained")
    above, below = figure.subplots(2, 1)
    left, right = plotting.field(planes, below)
    figure.draw_without_rendering()
    assert left is below and right.figure is figure and len(figure.axes) == 3
    assert left.get_position().y1 < above.get_position().y0
    assert left.get_position().x1 < right.get_position().x0
    with pytest.raises(ValueError, match="stands in no grid.*give two axes"):
        plotting.field(planes, Figure().add_axes((0, 0, 1, 1)))


@pytest.mark.slow
def test_settings_of_matplotlib_are_left_as_they_were(planes, sweep):
    before = dict(matplotlib.rcParams)
    for make, _ in SAYS.values():
        make(planes, sweep)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
def test_pyplot_is_not_touched_and_no_window_is_needed(tmp_path):
    """A backend that cannot be loaded: nothing asks for one."""
    code = """
import sys, numpy as np
from opusim import plotting
m = np.eye(5)
for ax in (plotting.mirrors(m), plotting.field(m)[0], plotting.speckle(m), plotting.histogram(m),
           plotting.transmission_matrix(m), plotting.singular_values(m), plotting.photon_transfer((m[0], m[1]))):
    plotting.save(ax.figure, sys.argv[1])
print("matplotlib.pyplot" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={"MPLBACKEND": "tkagg", "PATH": "", "HOME": "/tmp"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


# ---------------------------------------------------------------------------------------------- names, bad input


@pytest.mark.parametrize("name", plotting.__all__)
def test_every_name_is_there(name):
    assert getattr(plotting, name) is not None and name in dir(plotting)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'spekle'; it has .*speckle"):
        _ = plotting.spekle


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: plotting.mirrors(np.full((3, 3), 2)), ValueError, "pattern holds numbers from 2 to 2.*0 or 1"),
        (lambda: plotting.mirrors(np.zeros((2, 3, 3))), ValueError, r"shape \(2, 3, 3\).*frames\[0\]"),
        (lambda: plotting.mirrors("on"), TypeError, "pattern is 'on', but it must hold real numbers"),
        (lambda: plotting.mirrors(np.eye(3), pitch_m=0), ValueError, "pitch_m is 0"),
        (lambda: plotting.mirrors(np.eye(3), pitch_m=(1e-5, 0)), ValueError, r"pitch_m\[1\] is 0"),
        (lambda: plotting.mirrors(np.eye(3), pitch_m=(1e-5,)), ValueError, r"pitch_m is \(1e-05,\).*of rows and of"),
        (lambda: plotting.speckle(FIELD), TypeError, "complex64.*modulus"),
        (lambda: plotting.speckle(np.zeros(5)), ValueError, r"shape \(5,\), but it must have 2 dimensions"),
        (lambda: plotting.speckle(np.zeros((0, 5))), ValueError, "nothing in it to draw"),
        (lambda: plotting.speckle(np.full((2, 2), np.nan)), ValueError, "frame holds numbers that are not finite"),
        (lambda: plotting.speckle(np.eye(2), plane="light"), ValueError, "plane is 'light'.*'photons'"),
        (lambda: plotting.speckle([[1, 2], [3]]), (TypeError, ValueError), "."),
        (lambda: plotting.field(FIELD, plane="sensor"), ValueError, "plane is 'sensor'.*'camera', 'mirrors'"),
        (lambda: plotting.field(FIELD, ax=[1, 2]), TypeError, "ax is .*two of them"),
        (lambda: plotting.histogram(np.array([])), ValueError, "nothing in it"),
        (lambda: plotting.histogram(np.eye(2), ax=3), TypeError, "ax is 3 .*Axes"),
        (lambda: plotting.transmission_matrix(np.eye(3), part="size"), ValueError, "part is 'size'"),
        (lambda: plotting.transmission_matrix(np.eye(3), unit=3), TypeError, "unit is 3.*text"),
        (lambda: plotting.singular_values(np.zeros((4, 4, 4))), ValueError, "must have 2 dimensions"),
        (lambda: plotting.singular_values(np.ones((5, 1))), ValueError, "two rows and two columns"),
        (lambda: plotting.photon_transfer(np.eye(3)), TypeError, "must be a CameraRecord, or levels and variances"),
        (lambda: plotting.photon_transfer(([1, 2], [1])), ValueError, "2 levels and 1 variances"),
        (lambda: plotting.photon_transfer(CURVE, gain_dn_per_e=-1), ValueError, "gain_dn_per_e is -1"),
        (lambda: plotting.noise_budget([]), ValueError, "budget holds 0 budgets"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_bad_input_beside_planes_is_a_sentence(planes, bench):
    with pytest.raises(ValueError, match="sample is 3, but it must be a whole number from 0 to 0"):
        plotting.field(planes, sample=3)
    with pytest.raises(ValueError, match="device is given, but the values are photons"):
        plotting.histogram(planes, device=bench.device)
    with pytest.raises(ValueError, match="without a valid row"):
        plotting.transmission_matrix(SimpleNamespace(valid=np.zeros(3, bool), matrix=lambda rows: None))
