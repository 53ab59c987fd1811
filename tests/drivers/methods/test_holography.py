"""The linear transform against the reference arm: accuracy, calibration on first use, drift, what it refuses."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest

from opusim import OPU
from opusim.base import folders
from opusim.base.errors import NotReadyError
from opusim.base.files import rescue_hdf5
from opusim.calibration import store
from opusim.calibration.files import record_names
from opusim.calibration.store import CalibrationWarning
from opusim.device.record import Device
from opusim.drivers.compat.opu import OPU as PRODUCT
from opusim.drivers.methods.intensity import frames_needed
from spoilt_files import spoil

# Everything that is noise, or changes from frame to frame; the optics stays that of the device.
QUIET = {
    "camera.shot_noise": False, "camera.read_noise_e": 0.0, "camera.quantise": False, "camera.prnu": 0.0,
    "camera.dsnu_e": 0.0, "camera.dark_current_e_per_s": 0.0, "camera.hot_pixel_fraction": 0.0,
    "laser.power_noise": 0.0, "laser.power_drift_per_hour": 0.0, "reference.jitter_rad": 0.0,
    "reference.drift_rad_per_minute": 0.0, "reference.vibration_rad": 0.0,
}  # fmt: skip
N = 100


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "config_folder", lambda: tmp_path / "opusim")
    return tmp_path


def bits(*shape):
    return np.random.default_rng(0).integers(0, 2, shape, dtype=np.uint8)


def calibrated(n_components=3000, device="aurora", features=N, **arguments):
    opu = OPU(n_components, device=device, rescale="none", **arguments)
    opu.fit1d(n_features=features)
    opu.calibrate(store=False)
    return opu


def relative(error, signal):
    return float(np.sqrt(np.mean(np.abs(error) ** 2) / np.mean(np.abs(signal) ** 2)))


@pytest.fixture(scope="module")
def ideal():
    with OPU(3000, device="ideal", rescale="none") as opu:
        opu.fit1d(n_features=N)
        opu.calibrate(store=False)
        yield opu


@pytest.mark.slow
def test_linear_to_float_precision(ideal):
    """y is linear in x to 1e-4 of its rms on a noise-free device (asked), and so is the complex field."""
    x = bits(80, N)
    first, second = x.copy(), x.copy()
    first[:, N // 2 :], second[:, : N // 2] = 0, 0
    for transform in (ideal.linear_transform, ideal.field_transform):
        whole = np.asarray(transform(x))
        assert relative(np.asarray(transform(first)) + np.asarray(transform(second)) - whole, whole) < 1e-4


def test_entries_are_standard_normal(ideal):
    """Real: N(0, 1); complex: mean square 1. 300 000 entries, the scale from 3 000 pixels: 4 * 1 / sqrt(3000) = 7 %."""
    H = np.asarray(ideal.linear_transform(np.eye(N, dtype=np.uint8)), dtype=np.float64)
    F = np.asarray(ideal.field_transform(np.eye(N, dtype=np.uint8)))
    assert abs(H.mean()) < 4 / np.sqrt(H.size) and abs(H.var() - 1) < 0.07
    assert abs(np.mean(np.abs(F) ** 2) - 1) < 0.07
    assert abs((H**4).mean() / H.var() ** 2 - 3) < 4 * np.sqrt(24 / H.size) + 0.02
    assert relative(H - np.sqrt(2) * F.real, H) < 1e-5


def test_field_is_the_true_one(ideal):
    """|F|^2 without background is the intensity that `transform` gives, in one unit for all pixels."""
    with OPU(3000, device="ideal") as opu:
        opu.fit1d(n_features=N)
        counts = np.asarray(opu.transform(bits(5, N)), dtype=np.float64)
    F = np.abs(np.asarray(ideal.field_transform(bits(5, N)))) ** 2
    unit = (counts * F).sum() / (F * F).sum()
    assert relative(counts - unit * F, counts) < 1e-3


@pytest.mark.slow
def test_error_of_the_default_device():
    """At most .035 of the rms for four steps (benchmarks: .030), against the same optics without noise.

    The per-pixel gain (pixel response, reference) is fitted: it belongs to the matrix. 64 vectors of 3 000 pixels: the
    estimate itself is good to 1 %.
    """
    x = bits(64, N)
    with calibrated(device=Device.load("aurora").evolve(**QUIET)) as quiet, calibrated() as opu:
        true = np.asarray(quiet.field_transform(x))
        seen = np.asarray(opu.field_transform(x))
        record = opu.calibration
    gain = (seen * np.conj(true)).mean(axis=0) / (np.abs(true) ** 2).mean(axis=0)
    error = relative(seen - gain * true, seen)
    assert error < 0.035
    # What the calibration says of itself is the same but for the common phase of a vector, which vibration turns.
    assert 0.7 < record.relative_error / error < 1.1


@pytest.mark.slow
def test_drift_of_the_reference_is_taken_out():
    """After ten minutes the reference has moved by half a radian; the anchor takes that out to .01 rad."""
    steady = {"reference.jitter_rad": 0.0, "reference.vibration_rad": 0.0}
    with calibrated(device=Device.load("aurora").evolve(**steady)) as opu:
        x = bits(64, N)
        before = np.asarray(opu.field_transform(x))
        opu.device.bench.skip_frames(10, frametime_s=60.0)
        after = np.asarray(opu.field_transform(x))
        moved = opu.device.device_model.reference.phases_rad(
            np.zeros(1), np.zeros(1, dtype=int), np.array([opu.device.bench.clock.elapsed_s]), seed=0
        )  # fmt: skip
    assert abs(moved[0]) > 0.05  # the test means something
    assert abs(np.angle((after * np.conj(before)).sum())) < 0.01


@pytest.mark.slow
def test_background_of_mirrors_that_are_always_on_is_taken_off():
    with OPU(2040, device="ideal", rescale="none") as opu:
        opu.fit2d(n_features=(30, 30))
        opu.calibrate(store=False)
        zero, some = np.asarray(opu.linear_transform(np.stack([np.zeros((30, 30), dtype=np.uint8), bits(30, 30)])))
        assert np.abs(zero).max() < 1e-3 * some.std()


@pytest.mark.slow
def test_calibrates_itself_once_and_stores_it(own_folder):
    x = bits(3, N)
    with OPU(2040) as opu:
        assert opu.calibration is None
        with pytest.warns(CalibrationWarning, match="is calibrated on the region") as told:
            opu.fit1d(x)
            opu.linear_transform(x)
        assert [w.filename for w in told] == [__file__]
        first = opu.calibration
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opu.linear_transform(x)
        assert opu.calibration is first
    assert list((own_folder / "opusim" / "calibrations").iterdir())
    with OPU(2040) as other, warnings.catch_warnings():
        warnings.simplefilter("error")
        other.fit1d(x)
        other.linear_transform(x)
        assert other.calibration.exposure_s == first.exposure_s
    with OPU(2040, seed=1) as another, pytest.warns(CalibrationWarning):
        another.fit1d(x)
        another.linear_transform(x)


@pytest.mark.slow
def test_damaged_file_is_measured_again(own_folder):
    x = bits(3, N)
    with OPU(2040) as opu:
        opu.fit1d(x)
        opu.calibrate()
    (path,) = (own_folder / "opusim" / "calibrations").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with OPU(2040) as opu, pytest.warns(CalibrationWarning, match="calibrated"):
        opu.fit1d(x)
        opu.linear_transform(x)
    aside = path.with_name(f"{path.name}.unreadable")
    assert aside.stat().st_size == 1000
    with OPU(2040) as opu, warnings.catch_warnings():  # the file was made anew
        warnings.simplefilter("error")
        opu.fit1d(x)
        opu.linear_transform(x)


@pytest.mark.slow
def test_calibrations_that_0_1_0_spoilt_are_rescued_not_lost(own_folder):
    """Those of other regions too: a new one is written beside them."""
    x = bits(3, N)
    with OPU(2040) as opu:
        opu.fit1d(x)
        opu.calibrate()
    (path,) = (own_folder / "opusim" / "calibrations").iterdir()
    spoil(path)
    with OPU(4080) as opu, pytest.warns(CalibrationWarning, match="calibrated"):
        opu.fit1d(x)
        opu.linear_transform(x)
    assert len(record_names(path)) == 2 and len(list(path.parent.iterdir())) == 1


@pytest.mark.slow
def test_calibrations_of_a_later_version_are_put_aside_as_they_are(own_folder):
    x = bits(3, N)
    with OPU(2040) as opu:
        opu.fit1d(x)
        opu.calibrate()
    (path,) = (own_folder / "opusim" / "calibrations").iterdir()
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    rescue_hdf5(path)  # its check sum, which h5py has taken away
    later = path.read_bytes()
    with OPU(2040) as opu, pytest.warns(CalibrationWarning, match="has the format version 99.* made anew"):
        opu.fit1d(x)
        opu.linear_transform(x)
    assert path.with_name(f"{path.name}.unreadable").read_bytes() == later
    assert len(record_names(path)) == 1


def test_modes():
    none = Device.load("aurora").evolve(**{"reference.relative_amplitude": 0.0})
    with pytest.raises(ValueError, match="linear_mode is 'other'"):
        OPU(10, linear_mode="other")
    with OPU(2040, device=none) as opu:
        opu.fit1d(bits(3, N))
        frames = opu.device.bench.clock.frames
        opu.linear_transform(bits(3, N))
        assert opu.device.bench.clock.frames - frames == frames_needed(3, none.operation.frames_per_vector)
        for call in (lambda: opu.field_transform(bits(3, N)), lambda: opu.calibrate()):
            with pytest.raises(ValueError, match="no reference arm"):
                call()
    with OPU(2040, device=none, linear_mode="holographic") as opu, pytest.raises(ValueError, match="no reference arm"):
        opu.fit1d(bits(3, N))
        opu.linear_transform(bits(3, N))


def test_lightonml_names_stay_with_intensities():
    with PRODUCT(2040) as opu:
        opu.fit1d(bits(3, N))
        frames = opu.device.bench.clock.frames
        opu.linear_transform(bits(3, N))
        each = opu.device.device_model.operation.frames_per_vector
        assert opu.device.bench.clock.frames - frames == frames_needed(3, each) and opu.calibration is None


@pytest.mark.slow
def test_frames_for_each_vector():
    """Four a vector, and two anchors for each 64 vectors."""
    with calibrated(2040) as opu:
        opu.linear_transform(bits(2, N))  # the fit's own fields are measured with the first
        frames = opu.device.bench.clock.frames
        opu.linear_transform(bits(128, N))
        assert opu.device.bench.clock.frames - frames == 4 * (128 + 4)


def test_what_cannot_be_shown_is_refused_before_a_calibration_takes_frames():
    with OPU(200) as opu:
        for call in (opu.linear_transform, opu.field_transform):
            opu.fit1d(n_features=N, online=True)
            with pytest.raises(NotReadyError, match="online mode, but the linear transform takes several frames"):
                call(bits(N))
            opu.fit1d(bits(2, 13), packed=True)
            with pytest.raises(RuntimeError, match="packed"):
                call(bits(2, 13))
            with pytest.raises(RuntimeError, match="packed"):
                opu.batch(4, call.__name__)
        assert opu.bench.clock.frames == 0 and opu.calibration is None


@pytest.mark.slow
def test_what_is_refused():
    with calibrated(2040) as opu:
        opu.fit1d(bits(2, 13), packed=True)
        with pytest.raises(RuntimeError, match="packed"):
            opu.linear_transform(bits(2, 13))
        opu.fit1d(n_features=N, online=True)
        with pytest.raises(AssertionError, match="online"):
            opu.linear_transform(bits(N))
        opu.close()
        with pytest.raises(AssertionError):
            opu.calibrate()


@pytest.mark.slow
def test_a_medium_that_changed_is_noticed():
    """With a decorrelation time of a second the anchor is lost after a minute: an error, not a wrong result."""
    device = Device.load("aurora").evolve(**{"medium.decorrelation_time_s": 10.0})
    with calibrated(2040, device=device) as opu:
        opu.linear_transform(bits(3, N))
        opu.device.bench.skip_frames(10, frametime_s=60.0)
        with pytest.raises(RuntimeError, match="reference is lost, or the medium is another"):
            opu.linear_transform(bits(3, N))


@pytest.mark.slow
def test_a_reference_that_runs_away_within_a_block():
    with calibrated(2040) as opu:
        opu.linear_transform(bits(2, N))
        bench = opu.device.bench
        fast = bench.device.evolve(**{"reference.drift_rad_per_minute": 300.0})
        vars(bench)["device"] = fast  # what no program may do: from here on the arm is another
        bench.skip_frames(1, frametime_s=100.0)
        with pytest.raises(RuntimeError, match="drifts faster than they can be measured|reference is lost"):
            for _ in range(20):
                opu.linear_transform(bits(64, N))


@pytest.mark.slow
def test_a_medium_that_is_changing_is_told():
    """At a seventh of the decorrelation time exp(-(t/tau)^2) has fallen to .98: the matrix has changed by a fifth."""
    device = Device.load("aurora").evolve(**{"medium.decorrelation_time_s": 350.0})
    with calibrated(2040, device=device) as opu:
        opu.linear_transform(bits(3, N))
        opu.device.bench.skip_frames(1, frametime_s=75.0)
        with pytest.warns(UserWarning, match="has changed by"):
            opu.linear_transform(bits(3, N))


@pytest.mark.slow
def test_each_resolution_has_calibrations_of_its_own():
    assert store.stored_path(OPU(10, resolution="mirrors").bench) != store.stored_path(OPU(10).bench)


@pytest.mark.slow
def test_a_useless_calibration_is_refused():
    device = Device.load("aurora").evolve(**{"reference.jitter_rad": 3.0})
    with OPU(2040, device=device) as opu:
        opu.fit1d(n_features=N)
        with pytest.raises((RuntimeError, ValueError), match="useless|drifts faster|phase is lost"):
            opu.calibrate(store=False)


def test_tensors_and_copies(ideal):
    torch = pytest.importorskip("torch")
    y = ideal.linear_transform(torch.from_numpy(bits(3, N)))
    assert y.dtype == torch.float32 and ideal.field_transform(torch.from_numpy(bits(3, N))).dtype == torch.complex64


def test_a_calibration_without_a_pixel_that_counts_is_useless():
    from opusim.calibration.procedures import linear
    from opusim.calibration.store import check_quality

    m, phases = 6, np.arange(4) * np.pi / 2
    none = np.zeros(m, dtype=bool)
    record = linear.LinearRecord(
        exposure_s=1e-3, asked_rad=phases, actual_rad=phases, jitter_rad=0.0, roi=np.array((0, 0, 1, m)),
        dark_dn=np.zeros(m, np.float32), reference_dn=np.ones(m, np.float32), valid=none, full_scale_dn=255.0,
        clipped_share=1.0, modulation=0.5, modulation_map=np.ones(m, np.float32), coherence=1.0, relative_error=np.inf,
        drift_rad_per_minute=0.0, elapsed_s=0.0,
    )  # fmt: skip
    bursts = np.full((16, 4, m), 255, dtype=np.uint8)
    found = linear._with_quality(record, bursts, bursts, np.zeros((16, m), dtype=bool), 0.0, 1.0)
    assert found.relative_error == np.inf
    with pytest.raises(RuntimeError, match="useless"):
        check_quality(found)
