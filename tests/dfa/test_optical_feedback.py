"""Projections by a device: against its digital twin, noise, averages, costs, exact resume, bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opusim import OPU
from opusim.base import folders
from opusim.base.errors import NotReadyError
from opusim.calibration.store import CalibrationWarning
from opusim.device.record import Device
from opusim.dfa import (
    BitPlaneEncoding,
    GaussianFeedback,
    NearestTernaryEncoding,
    OpticalFeedback,
    SignEncoding,
    TernaryEncoding,
)
from opusim.drivers.methods.intensity import frames_needed
from opusim.patterns.layout import MirrorLayout
from projected_errors import ENCODINGS, WIDTH, N, errors_of, rms

AURORA = Device.load("aurora")
# A device small enough to calibrate in a moment.
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000),
       "medium.transmission": AURORA.medium.transmission}
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "config_folder", lambda: tmp_path / "opusim")
    return tmp_path


@pytest.fixture(autouse=True)
def no_warnings():
    """Neither of a calibration, which the feedback makes itself, nor of anything else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def feedback_on(device=SMALL, width=WIDTH, *, seed=0, mode="auto", rescale="variance", **arguments):
    opu = OPU(n_components=width, device=device, seed=seed, linear_mode=mode, rescale=rescale)
    return OpticalFeedback(opu, width, **{"n_classes": N, **arguments})


def stated_noise(feedback, encoding, errors):
    """Noise of an output by the device's `relative_noise`: patterns are independent, weighted."""
    weights = encoding.encode(errors).weights
    return feedback.relative_noise * np.sqrt(weights.power(2).sum() / len(errors))


def test_an_encoding_is_no_text():
    with pytest.raises(
        TypeError, match="encoding is 'ternary' .* must be an encoding object, .*parse_encoding"
    ) as told:
        feedback_on(encoding="ternary")
    assert "None" not in str(told.value)


# ------------------------------------------------------------------ a device and its digital twin


@pytest.fixture(scope="module")
def ideal():
    feedback = feedback_on("ideal", 500)
    return feedback, feedback.measured_matrix(1)


@pytest.fixture(scope="module")
def aurora():
    feedback = feedback_on("aurora", 1000)
    return feedback, feedback.measured_matrix(32)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_an_ideal_device_is_its_digital_twin(ideal, encoding):
    """To 1e-3 of the rms: fields are float32, and the driver is linear to 1e-4 of what several patterns add up to."""
    feedback, matrix = ideal
    errors = errors_of(40)
    feedback.encoding = encoding
    twin = GaussianFeedback(N, 500, matrix=matrix, encoding=encoding).project(errors)
    assert rms(feedback.project(errors) - twin) < 1e-3 * rms(twin)
    assert feedback.relative_noise < 1e-4 and abs(rms(matrix) - 1) < 1e-4


def test_an_ideal_device_by_intensity():
    """To 1e-3 as well: differences of large counts in float32."""
    feedback, errors = feedback_on("ideal", 500, mode="intensity"), errors_of(40)
    twin = GaussianFeedback(N, 500, matrix=feedback.measured_matrix(1), encoding=NearestTernaryEncoding()).project(
        errors
    )
    assert rms(feedback.project(errors) - twin) < 1e-3 * rms(twin)


def test_batches_do_not_matter_to_an_ideal_device(ideal):
    feedback, _ = ideal
    feedback.encoding = TernaryEncoding(0.1, "vector")
    errors = errors_of(40)
    whole = feedback.project(errors)
    parts = np.concatenate([feedback.project(part) for part in np.split(errors, [1, 8, 30])])
    assert rms(parts - whole) < 1e-3 * rms(whole)


def test_the_matrix_is_standard_normal(aurora):
    """By holography entries are normal (the driver's law); noise of 0.05 aside. 5 sigma of 1000 outputs.

    The mean square is 1 by the scale, which is measured to its noise: 1 %. Ten features are strips of the whole array,
    which the beam lights unevenly: a column has the light of its mirrors, which is divided by.
    """
    _, matrix = aurora
    assert matrix.shape == (1000, N) and matrix.dtype == np.float32
    assert abs(np.mean(matrix**2) - 1) < 0.01
    feature = MirrorLayout.lined(AURORA.dmd.shape, N).feature_of_mirror().ravel()
    power = np.bincount(feature, weights=np.square(AURORA.dmd.amplitude(), dtype=np.float64).ravel(), minlength=N)
    measured = np.mean(np.square(matrix, dtype=np.float64), axis=0)
    np.testing.assert_allclose(measured, power / power.mean(), rtol=5 * np.sqrt(2 / 1000))
    matrix = matrix / np.sqrt(power / power.mean())
    assert np.abs(matrix.mean(axis=0)).max() < 5 / np.sqrt(1000)
    correlations = np.corrcoef(matrix.T)[np.triu_indices(N, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(1000)
    kurtosis = np.mean(matrix**4) / np.mean(matrix**2) ** 2
    assert abs(kurtosis - 3) < 5 * np.sqrt(24 / matrix.size)


@pytest.mark.parametrize("encoding", [NearestTernaryEncoding(), BitPlaneEncoding(3)], ids=repr)
def test_the_default_device_is_within_its_noise(aurora, encoding):
    """Against the twin: the stated noise of a pattern for each, and that of the twin, one of 32 shots a class.

    Within a quarter: a pattern of several classes has somewhat more light, hence noise, than a single one.
    """
    feedback, matrix = aurora
    errors = errors_of(60)
    feedback.encoding, feedback.averages = encoding, 1
    twin = GaussianFeedback(N, 1000, matrix=matrix, encoding=encoding).project(errors)
    of_twin = feedback.relative_noise / np.sqrt(32) * np.linalg.norm(encoding.encode(errors).decoded(), axis=1)
    expected = np.hypot(stated_noise(feedback, encoding, errors), rms(of_twin))
    assert 0.75 < rms(feedback.project(errors) - twin) / expected < 1.25
    assert rms(feedback.project(errors) - twin) < 0.1 * rms(twin)


def test_averages_lower_the_noise_of_the_device(aurora):
    """By the root, from two projections of the same errors each: 10 % for what a call shares, such as its anchors."""
    feedback, _ = aurora
    errors, noise = errors_of(60), {}
    feedback.encoding = NearestTernaryEncoding()
    for feedback.averages in (1, 4):
        noise[feedback.averages] = rms(feedback.project(errors) - feedback.project(errors)) / np.sqrt(2)
    feedback.averages = 1
    assert abs(noise[1] / noise[4] / 2 - 1) < 0.1


def test_the_noise_by_intensity_is_stated():
    """At most what is stated: the two patterns of a vector share the frames that the driver takes off both."""
    feedback, errors = feedback_on("aurora", 1000, mode="intensity"), errors_of(60)
    noise = rms(feedback.project(errors) - feedback.project(errors)) / np.sqrt(2)
    assert 0.5 < noise / stated_noise(feedback, NearestTernaryEncoding(), errors) < 1.05


def test_the_driver_may_scale_as_it_likes():
    """Same device, same frames: the same to float32."""
    errors = errors_of(20)
    one, other = (feedback_on(rescale=rescale).project(errors) for rescale in ("variance", "none"))
    assert np.allclose(one, other, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------ costs


@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_costs_are_those_of_the_clock(mode):
    """All of it where nobody else uses the bench, calibration included; only its own where somebody does."""
    feedback = feedback_on(mode=mode)
    clock = feedback.opu.device.bench.clock
    for batch in (3, 20):
        feedback.project(errors_of(batch))
    feedback.measured_matrix(2)
    assert feedback.costs.frames == clock.frames > 0 and feedback.costs.vectors == 23
    assert np.isclose(feedback.costs.device_s, clock.elapsed_s) and np.isclose(feedback.costs.device_j, clock.energy_j)
    feedback.opu.device.bench.skip_frames(1000)
    before = clock.frames
    feedback.project(errors_of(4))
    assert feedback.costs.frames == clock.frames - 1000
    # Two frames a vector for each pattern at least.
    assert clock.frames - before >= 2 * len(NearestTernaryEncoding().encode(errors_of(4)).bits)


def test_costs_before_the_first_use():
    costs = feedback_on().costs
    assert (costs.vectors, costs.frames, costs.device_s, costs.device_j) == (0, 0, 0.0, 0.0)


def test_averages_are_paid_for():
    """By intensity: the device's frames a pattern and anchors for each 64 begun (the driver's rule)."""
    errors = errors_of(40)
    shown = len(NearestTernaryEncoding().encode(errors).bits)
    for averages in (1, 3):
        feedback = feedback_on(mode="intensity", averages=averages)
        feedback.prepare()
        before = feedback.costs.frames
        feedback.project(errors)
        each = feedback.opu.device.device_model.operation.frames_per_vector
        assert feedback.costs.frames - before == frames_needed(averages * shown, each)


def test_exposure_is_told():
    by_calibration = feedback_on(exposure_s=150e-6)
    by_calibration.prepare()
    assert by_calibration.opu.calibration.exposure_s == 150e-6
    by_fit = feedback_on(mode="intensity", exposure_s=150e-6)
    by_fit.prepare()
    assert by_fit.opu.device.exposure_us == 150
    assert by_fit.describe()["exposure_s"] == 150e-6 and feedback_on().describe()["exposure_s"] == "auto"


def test_the_drivers_own_calibration_may_be_used():
    """It tells that it calibrates, which is not hidden; and it stores the result, which the feedback's own does not."""
    with pytest.warns(CalibrationWarning, match="calibrated on the region"):
        feedback_on(calibrate=False).prepare()
    feedback_on(calibrate=False).prepare()  # finds what is stored
    with pytest.raises(ValueError, match="exposure_s is 0.001, but it must be None"):
        feedback_on(calibrate=False, exposure_s=1e-3)


def test_the_feedback_stores_nothing(own_folder):
    feedback_on().prepare()
    assert not list(own_folder.rglob("*.h5"))


def test_progress_is_shown_on_request(capsys):
    feedback = feedback_on(progress=True)
    feedback.measured_matrix(2)
    assert "OPU: scale: 100%" in (shown := capsys.readouterr().err) and "OPU: matrix: 100%" in shown
    feedback_on().measured_matrix(2)
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------ exact resume


@pytest.mark.parametrize("mode", ["holographic", "intensity"])
@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize("used_before", [False, True])
def test_a_run_goes_on_bit_for_bit(mode, cut, used_before):
    """Also where the device had been used before, or was not prepared yet."""
    batches = [errors_of(7, seed) for seed in range(3)]
    whole = feedback_on(mode=mode)
    if used_before:
        whole.opu.device.bench.skip_frames(123)
    expected = []
    for i, errors in enumerate(batches):
        if i == cut:
            state = whole.state()
        expected.append(whole.project(errors))
    other = feedback_on(mode=mode)
    other.restore(state)
    assert other.state() == state and other.costs.vectors == 7 * cut
    for errors, one in zip(batches[cut:], expected[cut:], strict=True):
        assert np.array_equal(other.project(errors), one)
    assert other.state() == pytest.approx(whole.state(), rel=1e-9)
    assert all(isinstance(value, (int, float)) for value in state.values())


def test_a_fresh_device_gives_the_same_numbers():
    errors = errors_of(7)
    one, same, other = (feedback_on(seed=seed).project(errors) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.isclose(one, other, atol=1e-3).all()


def test_a_device_that_has_gone_on_is_refused():
    feedback = feedback_on()
    feedback.project(errors_of(3))
    state = feedback.state()
    feedback.project(errors_of(3))
    with pytest.raises(ValueError, match=r"This device has shown \d+ frames, but it would have to go on from \d+"):
        feedback.restore(state)
    late = feedback_on()
    late.opu.device.bench.skip_frames(5)
    with pytest.raises(ValueError, match="This device has shown 5 frames, but it would have to go on from 0"):
        late.restore(state)


def test_a_device_that_was_prepared_at_another_time_is_refused():
    feedback, early, late = feedback_on(), feedback_on(), feedback_on()
    unprepared = feedback.state()
    feedback.prepare()
    late.opu.device.bench.skip_frames(5)
    late.prepare()
    for prepared, state in ((late, feedback.state()), (early, late.state()), (late, unprepared)):
        prepared.prepare()
        with pytest.raises(ValueError, match="was prepared at another time .* Make a new driver"):
            prepared.restore(state)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(missing=st.sampled_from(["vectors", "frames", "elapsed_s", "prepared_frames", "prepared_s", "used_frames"]))
def test_a_state_that_lacks_a_number(missing):
    feedback = feedback_on()
    state = feedback.state()
    del state[missing]
    with pytest.raises(ValueError, match=f"must hold '{missing}'"):
        feedback.restore(state)


def test_descriptions_tell_devices_apart():
    feedbacks = [
        feedback_on(), feedback_on(seed=1), feedback_on(mode="intensity"), feedback_on("ideal"), feedback_on("aurora"),
        feedback_on(width=300), feedback_on(n_classes=11), feedback_on(averages=2), feedback_on(exposure_s=1e-3),
        feedback_on(encoding=SignEncoding()), feedback_on(calibrate=False),
    ]  # fmt: skip
    descriptions = [feedback.describe() for feedback in feedbacks]
    assert all(a != b for i, a in enumerate(descriptions) for b in descriptions[:i])
    assert all(isinstance(value, (str, int, float)) for d in descriptions for value in d.values())
    first = feedbacks[0]
    before = first.describe()
    first.project(errors_of(3))
    assert first.describe() == before
    assert before["fingerprint"] == SMALL.fingerprint() and before["linear_mode"] == "holographic"


# ------------------------------------------------------------------ bad input


def test_another_number_of_components():
    opu = OPU(n_components=WIDTH, device=SMALL)
    for width in (WIDTH - 1, WIDTH + 1):
        with pytest.raises(ValueError, match=f"width is {width}, .* is 200: .* Set n_components to {width}"):
            OpticalFeedback(opu, width, n_classes=N)


def test_a_closed_device_says_so_itself():
    feedback = feedback_on()
    feedback.opu.close()
    with pytest.raises(NotReadyError):
        feedback.project(errors_of(3))
    feedback.opu.open()
    assert feedback.project(errors_of(3)).any()


def test_bad_errors_cost_no_frame():
    feedback = feedback_on()
    bad = errors_of(3)
    bad[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"errors\[1, 1\] is nan"):
        feedback.project(bad)
    for shape in ((3, N + 1), (N,), (1, 3, N)):
        with pytest.raises(ValueError, match=r"errors has the shape .*, but it must be \(batch, 10\)"):
            feedback.project(np.zeros(shape))
    assert feedback.costs.frames == feedback.costs.vectors == 0
