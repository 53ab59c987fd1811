"""The transmission matrix: noise-free and noisy, killed and resumed, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import warnings

import h5py
import numpy as np
import pytest
import scipy.linalg

from opusim import OpticalBench
from opusim.calibration.algorithms import hadamard
from opusim.calibration.procedures.matrix import measure as module
from opusim.calibration.procedures.matrix.journal import resume_clock
from opusim.calibration.procedures.matrix.measure import measure_tm, read_matrix, read_tm
from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

IDEAL, AURORA = Device.load("ideal"), Device.load("aurora")
EXPOSURE_S = 400e-6
ROI = (500, 0, 1, 1020)
SHAPE = (912, 1140)


def true_matrix(bench, layout, roi=ROI):
    """(matrix, background) in roots of counts, from the planes of single inputs."""
    n = layout.n_features_total
    one = np.eye(n + 1, n, k=-1, dtype=np.uint8)
    fields = [bench.inspect(MirrorPatterns(b[None], layout), roi=roi).medium_field.reshape(-1) for b in one]
    camera = bench.device.camera
    unit = bench.photons_per_intensity(EXPOSURE_S) * camera.quantum_efficiency * camera.gain_dn_per_e
    fields = np.sqrt(unit) * np.array(fields, dtype=np.complex128)
    return (fields[1:] - fields[0]).T, fields[0]


def in_phase(matrix, truth):
    """The matrix with each row's phase, which no measurement tells, put to that of the truth."""
    turn = np.sum(truth * matrix.conj(), axis=1, keepdims=True)
    return matrix * (turn / np.maximum(np.abs(turn), 1e-300))


def error(matrix, truth):
    return np.linalg.norm(in_phase(matrix, truth) - truth) / np.linalg.norm(truth)


def measured(tmp_path, bench, inputs, **kwargs):
    kwargs = {"exposure_s": EXPOSURE_S, "roi": ROI, "out": tmp_path / "tm.h5"} | kwargs
    return measure_tm(bench, inputs, **kwargs)


# ---------------------------------------------------------------------------------------------- patterns


@pytest.mark.parametrize("order", [1, 2, 16, 128])
def test_rows_are_scipys(order):
    h = scipy.linalg.hadamard(order)
    assert np.array_equal(hadamard.rows(0, order, order), h)
    assert np.array_equal(hadamard.rows(order // 2, order, order - order // 3), h[order // 2 :, : order - order // 3])
    x = np.random.default_rng(0).standard_normal((order, 5))
    np.testing.assert_allclose(hadamard.fast_transform(x.copy()), h @ x, atol=1e-12 * order)


def test_signs_keep_patterns_half_on():
    """On average half; no pattern of 1 024 beyond six standard deviations of sqrt(n) / 2."""
    n = 1024
    on = (hadamard.rows(0, n, n) * hadamard.column_signs(n) > 0).sum(axis=1)
    assert np.abs(on - n / 2).max() < 6 * np.sqrt(n) / 2


def test_transform_needs_a_power_of_two():
    with pytest.raises(ValueError, match="values has 6 rows"):
        hadamard.fast_transform(np.zeros((6, 1)))


# ---------------------------------------------------------------------------------------------- noise-free


@pytest.mark.parametrize("basis", ["hadamard", "canonical"])
@pytest.mark.parametrize(
    "layout",
    [
        MirrorLayout.lined(SHAPE, 48),  # padded to 64
        MirrorLayout.macro_2d(SHAPE, (4, 8)),
        MirrorLayout.lined(SHAPE, 16, roi_offset=(100, 0), roi_size=(800, 1140)),  # mirrors that are always on
    ],
)
def test_noise_free_is_the_true_one(tmp_path, basis, layout):
    """Entries and background to 1e-4 of the rms entry (float32 frames; the bar of the noise-free case)."""
    bench = OpticalBench(IDEAL)
    truth, background = true_matrix(bench, layout)
    record = measured(tmp_path, bench, layout, basis=basis, steps=3)
    matrix = record.matrix()
    assert matrix.shape == truth.shape and matrix.dtype == np.complex64
    assert error(matrix, truth) < 1e-4
    both = np.column_stack([matrix, record.background()])
    assert np.abs(in_phase(both, np.column_stack([truth, background]))[:, -1] - background).max() < 1e-3
    assert record.valid.all() and record.contrast == pytest.approx(1, abs=1e-5)
    assert record.relative_error < 1e-3 and record.layout() == layout


def test_coherence_leakage_and_wavefront_are_divided_out(tmp_path):
    """Static properties of the arm and of the mirrors leave the entries as they are (on minus off): within 1e-3."""
    device = IDEAL.evolve(
        **{"reference.coherence": 0.8, "reference.wavefront_rms_rad": 1.0, "reference.beam_radius_m": 10e-3,
           "dmd.contrast_ratio": 1000.0}
    )  # fmt: skip
    bench = OpticalBench(device)
    truth, background = true_matrix(bench, MirrorLayout.lined(SHAPE, 64))
    record = measured(tmp_path, bench, 64)
    assert record.contrast == pytest.approx(0.8, abs=1e-3)
    assert error(record.matrix(), truth) < 1e-3
    assert np.linalg.norm(np.abs(record.background()) - np.abs(background)) < 0.01 * np.linalg.norm(background)


def test_drift_of_the_reference_is_taken_out(tmp_path):
    """30 rad/min, .15 rad over the measurement or more: left in, it would show; taken out, less than a hundredth."""
    bench = OpticalBench(IDEAL.evolve(**{"reference.drift_rad_per_minute": 30.0}))
    truth, _ = true_matrix(bench, MirrorLayout.lined(SHAPE, 64))
    record = measured(tmp_path, bench, 64)
    assert np.ptp(record.anchor_phase_rad) > 0.1
    assert error(record.matrix(), truth) < 0.01


def test_wrong_steps_by_known_phases_and_by_circularity(tmp_path):
    """Four steps 5 % too long leave a share of the conjugate; known phases, or circular entries, take it out."""
    device = IDEAL.evolve(**{"reference.scale_error": 0.05})
    steps = np.pi / 2 * np.arange(4)
    truth, _ = true_matrix(OpticalBench(device), MirrorLayout.lined(SHAPE, 64))
    errors = []
    for k, cure in enumerate(({}, {"actual_rad": 1.05 * steps}, {"circular": True})):
        record = measured(tmp_path, OpticalBench(device), 64, out=tmp_path / f"{k}.h5", **cure)
        errors.append(error(record.matrix(), truth))
    # docs/physics.md: 5 % give a phase error of .079 rad peak to valley, an amplitude of .0395 of the conjugate.
    assert errors[0] == pytest.approx(0.0395, rel=0.05)
    assert errors[1] < 1e-4
    # sum of t^2 over n entries is zero within 1 / sqrt(n): five times that, halved.
    assert errors[2] < 2.5 / np.sqrt(64 * 1020)


def test_entries_pass_the_laws(tmp_path):
    """As tests/physics/test_medium.py asks of the media: fourth moment 2 +- .05, KS to Marchenko-Pastur < .02."""
    from opusim import theory

    record = measured(tmp_path, OpticalBench(IDEAL), 256, roi=(500, 0, 4, 2040))
    t = record.matrix().astype(np.complex128)
    intensity = np.abs(t) ** 2
    assert np.mean(intensity**2) / np.mean(intensity) ** 2 == pytest.approx(2, abs=0.05)
    assert abs(np.mean(t**2)) / np.mean(intensity) < 5 * np.sqrt(2 / t.size)
    t = t[np.random.default_rng(5).choice(len(t), 1024, replace=False)]
    t /= np.sqrt(np.mean(np.abs(t) ** 2, axis=1, keepdims=True))
    t /= np.sqrt(np.mean(np.abs(t) ** 2, axis=0, keepdims=True))
    s = np.sort(np.linalg.svd(t / np.sqrt(1024), compute_uv=False))
    cdf = theory.marchenko_pastur_cdf(s, 256 / 1024)
    assert max(np.abs(cdf - np.arange(256) / 256).max(), np.abs(cdf - np.arange(1, 257) / 256).max()) < 0.02


# ---------------------------------------------------------------------------------------------- noise


@pytest.mark.parametrize("n", [64, 256])
def test_hadamard_beats_canonical(tmp_path, n):
    """By sqrt(n / 2) in amplitude at equal exposure, with what each differs from the plain law by.

    A field has the variance v = g (1 + |S|^2/|R|^2 + read^2/|R|^2) / steps, in counts for a gain g (docs/physics.md,
    section 3). Hadamard: 2 v / n with |S|^2 of half the inputs. Canonical: v of one input plus that of a background
    from n / 8 patterns, v (1 + 8 / n). Both within 5 %, and the ratio too: 60 000 entries or more.
    """
    read = 8.0
    # A strong reference, so that the light of half the inputs adds little noise: 4 %.
    ideal = IDEAL.evolve(**{"reference.relative_amplitude": 5.0})
    device = ideal.evolve(**{"camera.shot_noise": True, "camera.read_noise_e": read})
    gain = device.camera.gain_dn_per_e
    roi = (500, 0, 1, 2040)
    truth = measured(tmp_path, OpticalBench(ideal), n, roi=roi, out=tmp_path / "true.h5").matrix()
    reference_e = device.reference.relative_amplitude**2 * np.mean(np.sum(np.abs(truth) ** 2, axis=1)) / 2 / gain
    signal_e = np.mean(np.abs(truth) ** 2) * n / 2 / gain
    errors = {}
    for basis, variance in (
        ("hadamard", 2 / n * (1 + (signal_e + read**2) / reference_e)),
        ("canonical", (1 + 8 / n) * (1 + read**2 / reference_e + signal_e * 2 / n / reference_e)),
    ):
        record = measured(tmp_path, OpticalBench(device), n, roi=roi, basis=basis, out=tmp_path / f"{basis}.h5")
        errors[basis] = np.sqrt(np.mean(np.abs(record.matrix() - truth) ** 2))
        assert errors[basis] == pytest.approx(np.sqrt(gain * variance / 4), rel=0.05)
    # The plain law; at n = 64 the noise of the canonical background adds 6 % in amplitude.
    law = np.sqrt(n / 2 * (1 + 8 / n))
    assert errors["canonical"] / errors["hadamard"] == pytest.approx(law, rel=0.05)


def test_repeats_average_and_the_stored_error_is_the_true_one(tmp_path):
    """Default device, wrong steps taken out: the error falls by 2 for 4 repeats; the file's estimate within 10 %."""
    truth, _ = true_matrix(OpticalBench(AURORA), MirrorLayout.lined(SHAPE, 64))
    for repeats, out in ((1, "a.h5"), (4, "b.h5")):
        bench = OpticalBench(AURORA)
        record = measured(tmp_path, bench, 64, circular=True, repeats=repeats, out=tmp_path / out)
        v = record.valid
        assert error(record.matrix()[v], truth[v]) == pytest.approx(record.relative_error, rel=0.1)
        assert record.frames == 2 * 64 * 4 * repeats
        if repeats == 1:
            once = record.relative_error
    assert once / record.relative_error == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_the_stored_error_is_that_of_the_rows_that_are_kept(tmp_path, spread):
    """Of rows of unequal strength the brightest clip: what they are wrong by is no error of those that are kept.

    Against the entries that made the frames, within 15 %: 10 % for the wrong steps, which no anchor tells, and for the
    share of patterns in which a row that is kept may clip. By the correlation of all rows it was three times that.
    """
    rng = np.random.default_rng(3)
    m, n = 2000, 128
    entries = (rng.standard_normal((m, n)) + 1j * rng.standard_normal((m, n))).astype(np.complex64)
    entries *= np.exp(spread * rng.standard_normal((m, 1))).astype(np.float32)
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        file["tm"] = entries
    medium = MeasuredMedium(path=str(path), transmission=AURORA.medium.transmission)
    bench = OpticalBench(AURORA.evolve(medium=medium))
    roi = (500, 0, 20, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that are left out
        record = measured(tmp_path, bench, n, roi=roi, exposure_s=8e-4, circular=True)
    v = record.valid
    truth, _ = true_matrix(bench, record.layout(), roi)
    truth *= np.sqrt(8e-4 / EXPOSURE_S)
    assert spread == 0 or 0.01 < np.mean(~v) < 0.2
    assert record.relative_error == pytest.approx(error(record.matrix()[v], truth[v]), rel=0.15)


def test_saturated_pixels_are_masked(tmp_path):
    """At 1.6 times the exposure a share of the pixels loses fringes; hot ones read full scale. Their rows are zero."""
    device = AURORA.evolve(**{"camera.hot_pixel_fraction": 0.02, "camera.hot_pixel_dark_e_per_s": 1e8})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = measured(tmp_path, OpticalBench(device), 32)
    assert 0.005 < np.mean(~record.valid) < 0.06
    assert (record.matrix()[~record.valid] == 0).all() and (record.background()[~record.valid] == 0).all()
    assert np.abs(record.matrix()[record.valid]).min(axis=1).max() > 0


# ---------------------------------------------------------------------------------------------- as a device


def test_the_file_is_a_device(tmp_path):
    """A device made of the file shows, with all noise off, |tm x|^2 up to one factor: its light level."""
    record = measured(tmp_path, OpticalBench(IDEAL), 32)
    device = IDEAL.evolve(medium=MeasuredMedium(path=record.path))
    x = np.random.default_rng(0).integers(0, 2, (5, 32), dtype=np.uint8)
    frames = OpticalBench(device).expose(MirrorPatterns(x, record.layout()), exposure_s=EXPOSURE_S, roi=ROI)
    expected = np.abs(x @ record.matrix().T + record.background()) ** 2
    got = frames.reshape(5, -1)
    np.testing.assert_allclose(got / got.mean(), expected / expected.mean(), atol=1e-4)


class Bare:
    """A bench of a laboratory: the protocol and nothing else; it counts, and can lose its reference."""

    def __init__(self, bench, lost_from=None):
        self._bench, self.calls, self.lost_from = bench, 0, lost_from
        self.mirror_shape, self.sensor_shape = bench.mirror_shape, bench.sensor_shape
        self.flat_field, self.minimum_frametime_s = bench.flat_field, bench.minimum_frametime_s

    def expose(self, mirrors, *, exposure_s, reference_phase_rad=None, roi=None, frametime_s=None, n_frames=1):
        self.calls += 1
        if reference_phase_rad is not None and self.lost_from is not None and self.calls >= self.lost_from:
            mirrors = MirrorPatterns(np.repeat(mirrors.bits, len(reference_phase_rad), axis=0), mirrors.layout)
            reference_phase_rad = None
        return self._bench.expose(
            mirrors, exposure_s=exposure_s, reference_phase_rad=reference_phase_rad, roi=roi, n_frames=n_frames
        )


def test_a_bench_that_is_only_the_protocol(tmp_path):
    bench = OpticalBench(IDEAL)
    truth, _ = true_matrix(bench, MirrorLayout.lined(SHAPE, 16))
    record = measured(tmp_path, Bare(bench), 16)
    assert error(record.matrix(), truth) < 1e-4


def test_small_batches_give_the_same_matrix(tmp_path, monkeypatch):
    whole = measured(tmp_path, OpticalBench(AURORA), 32, out=tmp_path / "a.h5")
    monkeypatch.setattr(module, "_BATCH_BYTES", 100_000)
    parts = measured(tmp_path, OpticalBench(AURORA), 32, out=tmp_path / "b.h5")
    np.testing.assert_allclose(parts.matrix(), whole.matrix(), atol=1e-5)
    assert parts.matrix([5, 3]).shape == (2, 32) and np.array_equal(parts.matrix([5, 3]), parts.matrix()[[5, 3]])


# ---------------------------------------------------------------------------------------------- killed

SCRIPT = """
import os, signal, sys
from opusim import OpticalBench
from opusim.calibration.procedures.matrix.measure import measure_tm

out, basis, kill_at, after = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "after"
real, count = os.replace, 0

def replace(a, b):
    global count
    count += 1
    if count == kill_at and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    real(a, b)
    if count == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace
measure_tm(OpticalBench("aurora"), 32, exposure_s=400e-6, roi=(500, 0, 1, 500), out=out, basis=basis, resume=True)
"""


def run(*arguments):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def content(path):
    record = read_tm(path)
    return record.matrix().tobytes(), record.background().tobytes(), dict(record.__dict__)


@pytest.mark.slow
@pytest.mark.parametrize("basis", ["hadamard", "canonical"])
def test_killed_at_any_point_and_resumed_gives_the_same_bits(tmp_path, basis):
    """SIGKILL before or after a file gets its name: the header (1), the start (2), a batch's two files, the result.

    A last run without a kill goes on from what they left, over several processes that each die.
    """
    whole = tmp_path / "whole.h5"
    assert run(whole, basis, 0, "-").returncode == 0
    out = tmp_path / "killed.h5"
    deaths = [(1, "after"), (1, "before"), (1, "after"), (4, "before"), (2, "before"), (5, "after")]
    for kill_at, when in deaths:
        assert run(out, basis, kill_at, when).returncode == -9
    assert not out.exists() and (tmp_path / ".killed.h5.parts").is_dir()
    assert run(out, basis, 0, "-").returncode == 0
    a, b = content(whole), content(out)
    assert a[:2] == b[:2]
    for name in ("anchor_phase_rad", "anchor_correlation", "valid", "reference_dn", "relative_error"):
        assert np.array_equal(a[2][name], b[2][name])
    assert not (tmp_path / ".killed.h5.parts").exists()


def test_killed_once_the_result_has_its_name(tmp_path):
    """Killed between the last renaming and the deletion of the journal: resumed, it is made again, the same."""
    out, copy = tmp_path / "tm.h5", tmp_path / "copy.h5"
    bench = OpticalBench(AURORA)
    total = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Journal, "remove", lambda self: self.close())
        measured(tmp_path, bench, 32, progress=lambda done, n: total.append((done, n)))
    shutil.copy(out, copy)
    frames = bench.clock.frames
    measured(tmp_path, bench, 32, resume=True)
    assert bench.clock.frames == frames and content(out)[:2] == content(copy)[:2]
    assert total[0] == (0, 64) and total[-1] == (64, 64) and total == sorted(total)
    assert not list(tmp_path.glob(".*"))
    again = measured(tmp_path, bench, 32, resume=True)  # finished: read, not measured
    assert bench.clock.frames == frames and again.path == str(out)
    with pytest.raises(ValueError, match="holds another measurement, which is finished"):
        measured(tmp_path, bench, 32, resume=True, basis="canonical")


def interrupted(tmp_path, bench=None, **kwargs):
    """Leave a journal with a few batches."""

    def stop(done, total):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, bench or OpticalBench(AURORA), 32, progress=stop, **kwargs)
    return tmp_path / ".tm.h5.parts"


def test_a_journal_is_never_overwritten_nor_mixed(tmp_path):
    folder = interrupted(tmp_path)
    with pytest.raises(FileExistsError, match="holds an interrupted measurement"):
        measured(tmp_path, OpticalBench(AURORA), 32)
    for kwargs, sentence in (
        ({"basis": "canonical"}, "holds a measurement with basis = 'hadamard', but now basis is 'canonical'"),
        ({"exposure_s": 300e-6}, "with exposure_s = 0.0004"),
    ):
        with pytest.raises(ValueError, match=sentence):
            measured(tmp_path, OpticalBench(AURORA), 32, resume=True, **kwargs)
    with pytest.raises(ValueError, match="with seed = 0, but now seed is 1"):
        measured(tmp_path, OpticalBench(AURORA, seed=1), 32, resume=True)
    with pytest.raises(ValueError, match="with device_fingerprint = "):
        measured(tmp_path, OpticalBench(IDEAL), 32, resume=True)
    assert folder.is_dir()


@pytest.mark.parametrize("name", ["header.json", "start.npz"])
def test_a_damaged_journal_is_refused(tmp_path, name):
    path = interrupted(tmp_path) / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="damaged|cut short"):
        measured(tmp_path, OpticalBench(AURORA), 32, resume=True)


@pytest.mark.skipif(os.name != "posix", reason="locks of files")
def test_two_processes_do_not_write_one_journal(tmp_path):
    import fcntl

    folder = interrupted(tmp_path)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(FileExistsError, match="being written by another process"):
            measured(tmp_path, OpticalBench(AURORA), 32, resume=True)
    finally:
        os.close(handle)
    assert measured(tmp_path, OpticalBench(AURORA), 32, resume=True).n_inputs == 32


def test_the_clock_goes_forward_only():
    bench = OpticalBench(AURORA)
    resume_clock(bench, 100, 0.05)
    assert (bench.clock.frames, bench.clock.elapsed_s) == (100, 0.05)
    resume_clock(bench, 50, 0.02)
    assert (bench.clock.frames, bench.clock.elapsed_s) == (100, 0.05)
    resume_clock(object(), 100, 1.0)


# ---------------------------------------------------------------------------------------------- refusals


def test_reference_lost_in_the_middle_and_found_again(tmp_path):
    """The batch in which it goes is refused; with the arm back, the rest is measured."""
    bench = OpticalBench(IDEAL)
    truth, _ = true_matrix(bench, MirrorLayout.lined(SHAPE, 32))
    calls = []
    measured(tmp_path, counting := Bare(bench), 32)
    (tmp_path / "tm.h5").unlink()
    with pytest.raises(ValueError, match="anchor pattern does not repeat"):
        measured(tmp_path, Bare(bench, lost_from=counting.calls - 5), 32, progress=lambda k, n: calls.append(k))
    assert calls
    record = measured(tmp_path, Bare(bench), 32, resume=True)
    assert error(record.matrix(), truth) < 1e-4


@pytest.mark.parametrize(
    ("changes", "kwargs", "sentence"),
    [
        ({"reference.relative_amplitude": 0.0}, {}, "no reference arm"),
        ({"reference.relative_amplitude": 0.01}, {}, "reference arm is lost"),
        ({"reference.coherence": 0.0}, {}, "fringes have a contrast of"),
        ({"reference.jitter_rad": 10.0}, {}, "fringes have a contrast of|does not repeat"),
        ({"reference.drift_rad_per_minute": 1e4}, {"exposure_s": 0.05}, "does not repeat|contrast of"),
        ({}, {"exposure_s": 0.05}, "pixels saturate at an exposure of 0.05 s"),
        ({}, {"exposure_s": 1e-9}, "no light|reference arm is lost"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, changes, kwargs, sentence):
    device = AURORA if "exposure_s" in kwargs and not changes else IDEAL
    with pytest.raises(ValueError, match=sentence):
        measured(tmp_path, OpticalBench(device.evolve(**changes)), 32, **kwargs)
    assert not (tmp_path / "tm.h5").exists()


@pytest.mark.filterwarnings("ignore:The anchor pattern repeats badly")
def test_fast_drift_warns(tmp_path):
    """Some thousand rad a minute: half a radian from pair to pair, still followed, but said."""
    bench = OpticalBench(IDEAL.evolve(**{"reference.drift_rad_per_minute": 1e4}))
    with pytest.warns(UserWarning, match="drifts faster than the measurement"):
        record = measured(tmp_path, bench, 64)
    assert np.median(np.abs(np.angle(np.exp(1j * np.diff(record.anchor_phase_rad))))) > 0.5


def test_little_light_warns(tmp_path):
    with pytest.warns(UserWarning, match="repeats badly"):
        record = measured(tmp_path, OpticalBench(AURORA), 32, exposure_s=20e-6)
    assert record.relative_error > 0.3


def test_bad_arguments(tmp_path):
    bench = OpticalBench(AURORA)
    for inputs, kwargs, sentence in (
        (1, {}, "inputs is 1"),
        ((1, 1), {}, "at least 2 macro-pixels"),
        (MirrorLayout.lined((10, 10), 4), {}, "this bench has"),
        (16, {"basis": "fourier"}, "basis is 'fourier'"),
        (16, {"steps": 2}, "steps"),
        (16, {"steps": [0.0, 0.0, 0.0]}, "steps"),
        (16, {"actual_rad": [0.0, 1.0, 2.0]}, "actual_rad"),
        (16, {"exposure_s": -1.0}, "exposure_s is -1.0"),
        (16, {"repeats": 0}, "repeats is 0"),
        (16, {"roi": (0, 0, 5000, 1)}, "roi n_rows"),
        (16, {"out": tmp_path / "nowhere" / "tm.h5"}, "there is no folder"),
    ):
        with pytest.raises((TypeError, ValueError, FileNotFoundError), match=sentence):
            measured(tmp_path, bench, inputs, **kwargs)
    with pytest.raises(TypeError, match="it lacks expose"):
        measured(tmp_path, object(), 16)
    assert not list(tmp_path.iterdir())


def test_files_that_are_refused(tmp_path):
    record = measured(tmp_path, OpticalBench(AURORA), 16)
    assert read_tm(record.path, bench=OpticalBench(AURORA)).n_inputs == 16
    with pytest.raises(ValueError, match="another device"):
        read_tm(record.path, bench=OpticalBench(IDEAL))
    with pytest.raises(ValueError, match="seed"):
        read_tm(record.path, bench=OpticalBench(AURORA, seed=3))
    with pytest.raises(FileNotFoundError, match="no calibration file"):
        read_tm(tmp_path / "other.h5")
    data = (tmp_path / "tm.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.h5").write_text("no matrix")
    for name in ("cut.h5", "text.h5"):
        for read in (read_tm, read_matrix):
            with pytest.raises(ValueError, match="cut short|not an HDF5 file"):
                read(tmp_path / name)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["tm"] = np.zeros((2, 2), np.complex64)
    with pytest.raises(ValueError, match="not a calibration file"):
        read_tm(tmp_path / "other.h5")
