"""The transmission matrix from one frame a pattern, under a tilted reference."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest
from scipy import fft

from opusim import OpticalBench
from opusim.base.files import append_trailer, hdf5_onto
from opusim.calibration import Calibration
from opusim.calibration.procedures.matrix.measure import measure_tm, read_tm
from opusim.calibration.procedures.tm import MatrixProcedure
from opusim.calibration.report import read_report
from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm
from opusim.plotting.calibration import report_figure

SIZE, GRAIN_PX, INPUTS, RANK = 64, 6.0, 24, 6
BAND = 0.5 / GRAIN_PX
TILT = (0.25, 0.25)
ROI = (500, 900, SIZE, SIZE)
EXPOSURE_S = 400e-6


def channels(n, seed):
    """Periodic speckle whose spectrum is a disc of radius B, flat (n, pixels), of mean intensity 1."""
    rng = np.random.default_rng(seed)
    f = fft.fftfreq(SIZE)
    spectrum = rng.normal(size=(n, SIZE, SIZE)) + 1j * rng.normal(size=(n, SIZE, SIZE))
    found = fft.ifft2(spectrum * (np.hypot(f[:, None], f) <= BAND)).reshape(n, -1)
    return found / np.sqrt(np.mean(np.abs(found) ** 2))


def true_matrix(rank, seed=0):
    """(pixels, inputs), of `rank` channels of like strength: what the medium of `device` does, band-limited."""
    rng = np.random.default_rng(seed)
    weights = np.linalg.qr(rng.normal(size=(INPUTS, rank)) + 1j * rng.normal(size=(INPUTS, rank)))[0]
    return (weights @ channels(rank, seed)).T.astype(np.complex64)


def true_background():
    """What is there with every input off, as strong as three entries."""
    return (3 / np.sqrt(INPUTS) * channels(1, 77)[0]).astype(np.complex64)


@pytest.fixture
def device(tmp_path):
    """A function: an ideal device in front of a matrix of so many channels, under a tilted reference."""

    def made(rank=RANK, background=False, features=INPUTS, **changes):
        path = tmp_path / f"medium{rank}.h5"
        with h5py.File(path, "w") as file:
            # More features than these do nothing.
            file["tm"] = np.pad(true_matrix(rank), ((0, 0), (0, features - INPUTS)))
            if background:
                file["background"] = true_background()
        base = {
            "medium": MeasuredMedium(str(path)),
            "reference.carrier_cycles_per_pixel": TILT,
            "dmd.off_amplitude": 0.0,
        }
        base.pop("dmd.off_amplitude")
        return Device.load("ideal").evolve(**base | {"reference.relative_amplitude": 4.0} | changes)

    return made


def measured(tmp_path, device, seed=0, **how):
    given = {"exposure_s": EXPOSURE_S, "roi": ROI, "method": "off-axis", "grain_px": GRAIN_PX, "carrier": TILT} | how
    return measure_tm(OpticalBench(device, seed), INPUTS, out=tmp_path / "tm.h5", **given)


def error_of(matrix, truth):
    """Differences over the rms entry, each row's phase and the common scale put to those of the truth."""
    turn = np.sum(truth * matrix.conj(), axis=1, keepdims=True)
    matrix = matrix * (turn / np.maximum(np.abs(turn), 1e-300))
    return matrix * (np.vdot(matrix, truth).real / np.vdot(matrix, matrix).real) - truth


def error(matrix, truth):
    """Relative error, and the scale that was put to that of the truth."""
    off = error_of(matrix, truth)
    return np.linalg.norm(off) / np.linalg.norm(truth), np.linalg.norm(truth) / np.linalg.norm(matrix)


def gap(matrix, rank=RANK):
    values = np.linalg.svd(matrix, compute_uv=False)
    return values[rank - 1] / values[rank]


@pytest.mark.parametrize("basis", ["hadamard", "canonical"])
def test_noise_free_is_the_true_one(tmp_path, device, basis):
    """Band-limited periodic fields under a plane wave: to single precision (1e-4), in roots of counts.

    A pixel averages the fringes over its square: of a carrier of (f, f') it leaves sinc(f) sinc(f'), .811 at a quarter
    of a cycle either way (docs/physics.md, section 3). The procedure finds that contrast and divides it out.
    """
    one = device(INPUTS)
    record = measured(tmp_path, one, basis=basis)
    found, scale = error(record.matrix(), true_matrix(INPUTS))
    assert found < 1e-4
    camera = one.camera
    unit = one.photons_per_intensity(EXPOSURE_S) * camera.quantum_efficiency * camera.gain_dn_per_e
    mirrors = record.layout().mirrors_per_feature
    assert scale * np.sqrt(unit * mirrors) == pytest.approx(1, rel=2e-3)
    assert record.method == "off-axis" and record.carrier_cycles_per_pixel == TILT and record.grain_px == GRAIN_PX
    left = np.sinc(TILT[0]) * np.sinc(TILT[1])
    assert record.contrast == pytest.approx(left, rel=1e-3) and record.valid.all()
    again = read_tm(record.path)
    assert again.carrier_cycles_per_pixel == TILT and again.frames == record.frames


def test_a_pattern_takes_one_frame(tmp_path, device):
    """Frames on the clock: those of the start, 32 of them of the reference alone, and one for each pattern."""
    bench = OpticalBench(device())
    asked = []
    expose = bench.expose

    def counted(mirrors, **how):
        phases = how.get("reference_phase_rad")
        asked.append((0 if mirrors is None else len(mirrors), None if phases is None else tuple(np.ravel(phases))))
        return expose(mirrors, **how)

    bench.__dict__["expose"] = counted
    record = measure_tm(
        bench, INPUTS, exposure_s=EXPOSURE_S, roi=ROI, out=tmp_path / "tm.h5", method="off-axis", grain_px=GRAIN_PX,
        carrier=TILT, basis="canonical",
    )  # fmt: skip
    alone = sum(n * len(phases) for n, phases in asked if phases == (0.0, np.pi))
    patterns = sum(n for n, phases in asked if phases == (0.0,))
    assert alone == 32 and record.frames == 3 * 10 == patterns - 16 * 10


@pytest.mark.parametrize("noises", [{}, {"camera.shot_noise": True, "camera.read_noise_e": 5.0}])
def test_gap_of_a_rank_deficient_matrix_comes_back(tmp_path, device, noises):
    """A reference that drifts: what it has in the side band by itself does not turn with it, and fills the gap.

    The pixels' own responses (5 %) put |R|^2 into the side band. By one input at a time it would drop out with the
    field of none if the reference stood still. The gap must be ten times that without the reference's frames, on an
    ideal device and with shot and read noise at some 1e6 electrons a pixel. The phase moves by some 15 rad from one
    frame to the next, .3 s, and by half a radian in an exposure, 10 ms, which leaves the fringes.
    """
    given = {
        "reference.drift_rad_per_minute": 3e3, "operation.frametime_s": 0.3, "laser.power_w": 0.3,
        "camera.full_well_e": np.inf, "camera.prnu": 0.05, **noises,
    }  # fmt: skip
    gaps = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a reference that drifts fast
        for subtract in (True, False):
            record = measured(
                tmp_path, device(**given), subtract_reference=subtract, basis="canonical", exposure_s=0.01,
                roi=ROI,
            )  # fmt: skip
            gaps[subtract] = gap(record.matrix())
    assert gaps[True] > 10 * gaps[False] and gaps[False] < 10


@pytest.mark.parametrize("tilt", [TILT, (-16 / 64, 14 / 64), (-20 / 64, -6 / 64)])
def test_carrier_is_found_with_its_sign(tmp_path, device, tilt):
    """At either sign, which the turn of the fields by a quarter of a wave tells, to a tenth of the half bandwidth.

    16 patterns of 2 B 64 = 11 grains across: B / (2 n) over 4 is .012 B; asked is five times that and a little. The
    filter has room for that, so that the matrix is right within 1 %.
    """
    one = device(INPUTS, **{"reference.carrier_cycles_per_pixel": tilt})
    record = measured(tmp_path, one, carrier=None)
    assert np.abs(np.subtract(record.carrier_cycles_per_pixel, tilt)).max() < BAND / 10
    assert error(record.matrix(), true_matrix(INPUTS))[0] < 0.01


class WithoutShifter:
    """A laboratory's bench whose reference has a tilt but no phase shifter."""

    def __init__(self, device):
        self._bench = OpticalBench(device)
        self.mirror_shape, self.sensor_shape = self._bench.mirror_shape, self._bench.sensor_shape

    def expose(self, mirrors, *, reference_phase_rad=None, **how):
        phases = None if reference_phase_rad is None else 0.0 * np.asarray(reference_phase_rad)
        return self._bench.expose(mirrors, reference_phase_rad=phases, **how)


def test_without_a_phase_shifter(tmp_path, device):
    """The sign is then not told but warned of; with the carrier given nothing is asked of a shifter."""
    bench = WithoutShifter(device(INPUTS))
    how = {"exposure_s": EXPOSURE_S, "roi": ROI, "method": "off-axis", "grain_px": GRAIN_PX, "full_scale_dn": np.inf}
    with pytest.warns(UserWarning, match="may have the other sign.*give carrier"):
        record = measure_tm(bench, INPUTS, out=tmp_path / "a.h5", **how)
    matrix, truth = record.matrix(), true_matrix(INPUTS)
    assert min(error(matrix, truth)[0], error(matrix.conj(), truth)[0]) < 0.01
    record = measure_tm(bench, INPUTS, out=tmp_path / "b.h5", carrier=TILT, **how)
    assert error(record.matrix(), truth)[0] < 1e-4


@pytest.mark.parametrize("basis", ["hadamard", "canonical"])
def test_light_that_is_always_there_is_not_taken_for_the_reference(tmp_path, device, basis):
    """A field with all inputs off: it turns with the reference, whose own light does not, and is told apart by that.

    |S + R|^2 at opposite phases of R: to 1e-3 of the rms entry, with the matrix beside it in one phase for each row.
    """
    record = measured(tmp_path, device(INPUTS, background=True), basis=basis)
    truth = np.column_stack([true_matrix(INPUTS), true_background()])
    found = np.column_stack([record.matrix(), record.background()])
    assert error(found, truth)[0] < 1e-3
    rest = np.abs(error_of(found, truth)[:, -1])
    assert np.sqrt(np.mean(rest**2)) < 1e-3 * np.sqrt(np.mean(np.abs(truth) ** 2))


def test_interrupted_it_goes_on_with_the_same_bits(tmp_path, device):
    """Carrier and reference come from the journal."""
    one, seen = device(INPUTS), []

    def stop(done, total):
        seen.append(done)
        if done > total / 2:
            raise KeyboardInterrupt

    given = {"method": "off-axis", "grain_px": GRAIN_PX, "exposure_s": EXPOSURE_S, "roi": ROI}
    with pytest.raises(KeyboardInterrupt):
        measure_tm(OpticalBench(one), INPUTS, out=tmp_path / "a.h5", progress=stop, **given)
    a = measure_tm(OpticalBench(one), INPUTS, out=tmp_path / "a.h5", resume=True, **given)
    b = measure_tm(OpticalBench(one), INPUTS, out=tmp_path / "b.h5", **given)
    assert np.array_equal(a.matrix(), b.matrix()) and len(seen) > 1
    with pytest.raises(ValueError, match="holds another measurement"):
        measure_tm(OpticalBench(one), INPUTS, out=tmp_path / "a.h5", resume=True, **given | {"grain_px": 7.0})


@pytest.mark.parametrize(
    "how, words",
    [
        ({"grain_px": None}, "grain_px is not given, but off axis it must be"),
        ({"grain_px": 0.5}, "grain_px is 0.5, but it must be"),
        ({"carrier": (0.1, 0.1)}, "at least 3 half bandwidths"),
        ({"carrier": (0.7, 0.1)}, "pixels resolve"),
        ({"roi": (500, 900, 4, 64)}, "roi has 4 x 64 pixels"),
        ({"method": "twin"}, "method is 'twin'"),
        ({"method": "phase-stepping"}, "grain_px is given, but it is for method='off-axis'"),
        ({"circular": True}, "circular is given, but off axis"),
        ({"actual_rad": np.zeros(1)}, "actual_rad is given, but off axis"),
        ({"subtract_reference": 2}, "subtract_reference is 2"),
    ],
)
def test_what_is_refused(tmp_path, device, how, words):
    with pytest.raises((TypeError, ValueError), match=words):
        measured(tmp_path, device(), **how)
    assert not list(tmp_path.glob("*tm.h5*")) and not list(tmp_path.glob(".tm*"))


class Blind:
    """A laboratory's bench, which says of no device that it is its own; `frames` counts what is asked of it."""

    def __init__(self, device):
        self._bench, self.frames = OpticalBench(device), 0
        self.mirror_shape, self.sensor_shape = self._bench.mirror_shape, self._bench.sensor_shape

    def expose(self, mirrors, **how):
        self.frames += 1
        return self._bench.expose(mirrors, **how)


def test_no_tilt_is_said(tmp_path, device):
    one = device(**{"reference.carrier_cycles_per_pixel": (0.0, 0.0)})
    how = {"exposure_s": EXPOSURE_S, "roi": ROI, "method": "off-axis", "grain_px": GRAIN_PX, "full_scale_dn": np.inf}
    with pytest.raises(ValueError, match="no side band"):
        measure_tm(Blind(one), INPUTS, out=tmp_path / "tm.h5", **how)


class Untouched(OpticalBench):
    """A simulated bench that takes no frame."""

    def expose(self, *args, **how):
        raise AssertionError("a frame was taken")


@pytest.mark.parametrize("tilt, words", [((0.0, 0.1), "at least 3 half bandwidths"), ((0.48, 0.5), "too coarse")])
def test_a_tilt_that_cannot_work_is_refused_before_a_frame(tmp_path, device, tilt, words):
    """That of a simulated device, or one that is given: by the procedure and by `measure_tm`."""
    bench = Untouched(device(**{"reference.carrier_cycles_per_pixel": tilt}))
    how = {"method": "off-axis", "grain_px": GRAIN_PX}
    with pytest.raises(ValueError, match=f"reference.carrier_cycles_per_pixel of this device.*{words}"):
        measure_tm(bench, INPUTS, exposure_s=EXPOSURE_S, roi=ROI, out=tmp_path / "tm.h5", **how)
    with pytest.raises(ValueError, match=words):
        Calibration(bench, tmp_path / "cal.h5", roi=ROI, **how).run("tm")
    good = Untouched(device())
    with pytest.raises(ValueError, match=words):
        Calibration(good, tmp_path / "cal.h5", roi=ROI, carrier=tilt, **how).run("tm")


def grainy(**changes):
    """A device whose pixels integrate over grains of 3.6 pixels, with a camera of 16 bits and light to spare."""
    base = {
        "camera.pixel_over_grain": 1 / 3.6, "dmd.shape": (32, 32), "camera.shape": (64, 64), "camera.bits": 16,
        "operation.ones_range": (5, 1000), "camera.quantise": True, "camera.gain_dn_per_e": 2.0,
        "camera.shot_noise": True, "camera.full_well_e": 33000.0, "reference.relative_amplitude": 3.0,
        "reference.carrier_cycles_per_pixel": (0.32, 0.32),
    }  # fmt: skip
    return Device.load("ideal").remagnified().evolve(**base | changes)


def test_options_are_checked_before_a_frame(tmp_path, device):
    """Without a grain where none is known, and options of the other method; the grain of a simulated device is told."""
    points = Untouched(device())
    with pytest.raises(ValueError, match="--grain-px is not given.*are points"):
        Calibration(points, tmp_path / "cal.h5", roi=ROI, method="off-axis").run("tm")
    with pytest.raises(ValueError, match="--grain-px is not given"):
        Calibration(Blind(device()), tmp_path / "cal.h5", roi=ROI, method="off-axis").prepare("tm")
    for name, value in (("grain_px", 6.0), ("carrier", (0.25, 0.25))):
        with pytest.raises(ValueError, match=f"--{name.split('_')[0]}.* is given, but it is for --method off-axis"):
            Calibration(points, tmp_path / "cal.h5", roi=ROI, **{name: value}).run("tm")
    with pytest.raises(ValueError, match="pixels resolve"):
        Calibration(points, tmp_path / "cal.h5", roi=ROI, method="off-axis", carrier=(0.6, 0))
    told = Calibration(OpticalBench(grainy()), tmp_path / "cal.h5", method="off-axis").prepare("tm")
    assert len(told) == 1 and told[0].startswith("A grain is taken to be 3.6 pixels wide")
    fine = OpticalBench(grainy(**{"camera.pixel_over_grain": 1.5}))
    with pytest.raises(ValueError, match="A grain of the simulated device is 0.667 pixels wide"):
        Calibration(fine, tmp_path / "cal.h5", method="off-axis").prepare("tm")
    read = next(option.read for option in MatrixProcedure.options if option.name == "carrier")
    assert read("0.25, -0.3") == (0.25, -0.3)
    for bad in ("0.3", "a,b", "0.1,0.7", "1,2,3"):
        with pytest.raises(ValueError, match="--carrier is .* two numbers from -0.5 to 0.5"):
            read(bad)


@pytest.mark.slow
def test_the_exposure_allows_for_all_frames_and_entries_are_the_true_ones(tmp_path):
    """128 frames: a pixel that clips in one spoils a grain. At least 99 % of the pixels are kept.

    The carrier is found to 1 / (4 n) for n pixels a side (B / (2 n) of grains). Entries are the field under the
    pixel's weights and the reference's tilt: two grains from the edges, where a window cut out of a field tells it to
    some per cent (`test_off_axis_in_a_frame_that_is_not_periodic`: 4 % there), within 10 %; by phase stepping, which
    knows no edges, to what it states.
    """
    device = grainy()
    how = {"roi": (2, 2, 60, 60), "inputs": 64}
    session = Calibration(OpticalBench(device), tmp_path / "cal.h5", method="off-axis", **how)
    record = session.run("tm")["tm"]
    assert record.valid.mean() >= 0.99 and record.lost_share < 1e-2
    off = np.abs(np.subtract(record.carrier_cycles_per_pixel, 0.32)).max()
    assert record.carrier_uncertainty == pytest.approx(1 / 240) and off < record.carrier_uncertainty
    report = read_report(tmp_path / "cal.tm.h5", device=device)
    assert report.entries.inner_error < 0.1 and report.entries.error < 0.25
    rows = {row[0]: row[1:] for row in MatrixProcedure().summary(record, device)}
    assert rows["grain"] == ("3.6 pixels", "3.6") and rows["carrier"][1] == "0.3200 and 0.3200"
    assert "(each to 0.004)" in rows["carrier"][0]
    figure = report_figure(report)
    shown = {axes.get_title("left"): " ".join(text.get_text() for text in axes.texts) for axes in figure.axes}
    assert "two grains" in shown["Matrix entries against the truth"]
    assert "218 independent outputs" in shown["Singular values"]  # 3600 pi / 4 / 3.6^2
    on_axis = grainy(**{"reference.carrier_cycles_per_pixel": (0.0, 0.0), "camera.polarised": False})
    session = Calibration(OpticalBench(on_axis), tmp_path / "on.h5", exposure_s=record.exposure_s, **how)
    record = session.run("tm")["tm"]
    entries = read_report(tmp_path / "on.tm.h5", device=on_axis).entries
    assert entries.inside is None and entries.error == pytest.approx(record.relative_error, rel=0.2)


def test_as_a_procedure(tmp_path, device):
    """`opusim calibrate tm --method off-axis --grain-px 6`: a file of it, told in words."""
    bench = OpticalBench(device(INPUTS, features=1024))
    options = {"inputs": INPUTS, "exposure_s": EXPOSURE_S, "method": "off-axis"}
    session = Calibration(bench, tmp_path / "cal.h5", roi=ROI, grain_px=GRAIN_PX, **options)
    session.run("tm")
    assert session.done("tm")
    record = read_tm(tmp_path / "cal.tm.h5")
    assert error(record.matrix(), true_matrix(INPUTS))[0] < 0.01
    told = {row[0]: row[1] for row in MatrixProcedure().summary(record)}
    assert "off axis" in told["basis"] and told["carrier"].startswith("0.2") and told["grain"] == "6 pixels"


def test_files_from_before_are_phase_stepping(tmp_path, device):
    """A file without the younger fields is read as what it is."""
    record = measured(
        tmp_path, device(INPUTS, **{"reference.carrier_cycles_per_pixel": (0.0, 0.0)}), method="phase-stepping",
        grain_px=None, carrier=None,
    )  # fmt: skip
    with hdf5_onto(tmp_path / "old.h5") as new, h5py.File(record.path) as old:
        for name in old:
            old.copy(name, new)
        for name, value in old.attrs.items():
            new.attrs[name] = value
        for name in ("method", "carrier_cycles_per_pixel", "grain_px", "carrier_uncertainty"):
            del new["transmission"].attrs[name]
    append_trailer(tmp_path / "old.h5")
    again = read_tm(tmp_path / "old.h5")
    assert again.method == "phase-stepping" and again.grain_px == 0 and again.carrier_cycles_per_pixel == (0.0, 0.0)
    assert np.array_equal(again.matrix(), record.matrix())


@pytest.mark.parametrize("carrier", [TILT, None])
def test_phases_off_axis_are_the_true_ones(tmp_path, device, carrier):
    """No pattern of a modulator of phases is dark: the reference alone is told by what the arm adds. To 1e-3.

    The carrier that is found may be off by what the record says of it: rows then have other phases, which `error`
    takes off.
    """
    preset = Device.load("ideal").dmd
    pixels = PhaseSlm("pixels", preset.shape, preset.pitch_m, efficiency=preset.efficiency, frame_rate_hz=1e3)
    record = measured(tmp_path, device(dmd=pixels), carrier=carrier)
    assert record.method == "off-axis" and record.valid.all()
    if carrier is None:
        np.testing.assert_allclose(record.carrier_cycles_per_pixel, TILT, atol=3 * record.carrier_uncertainty)
    found, _ = error(record.matrix(), true_matrix(RANK))
    assert found < (1e-3 if carrier else 0.15)
