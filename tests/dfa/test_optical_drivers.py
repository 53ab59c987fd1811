"""Projections by anything that has `linear_transform`: drivers made up for the test, good and bad."""

from __future__ import annotations

import numpy as np
import pytest

from opusim.dfa import NearestTernaryEncoding, OpticalFeedback
from projected_errors import ENCODINGS, WIDTH, N, errors_of, rms


class Driver:
    """A driver with nothing but the call: a matrix, and noise if wanted."""

    def __init__(self, width=WIDTH, classes=N, noise=0.0, seed=0, factor=7.3):
        self.rng = np.random.default_rng(seed)
        self.matrix = factor * self.rng.normal(size=(width, classes))
        self.noise = noise * factor
        self.shown = []

    def linear_transform(self, bits):
        assert bits.dtype == np.uint8 and set(np.unique(bits)) <= {0, 1}
        self.shown.append(len(bits))
        y = bits @ self.matrix.T
        return y + self.noise * self.rng.normal(size=y.shape)


# ------------------------------------------------------------------ good ones


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
@pytest.mark.parametrize("averages", [1, 3])
def test_projected_is_the_decoded_error_times_the_matrix(encoding, averages):
    """Whatever the driver's factor: B has mean square 1. To 1e-5: float32."""
    driver, errors = Driver(), errors_of(30)
    feedback = OpticalFeedback(driver, WIDTH, n_classes=N, encoding=encoding, averages=averages)
    matrix = driver.matrix / rms(driver.matrix)
    projected = feedback.project(errors)
    assert projected.dtype == np.float32
    assert np.allclose(projected, encoding.encode(errors).decoded() @ matrix.T, atol=1e-5)
    assert np.allclose(feedback.measured_matrix(2), matrix, atol=1e-5)
    assert abs(feedback.scale / rms(driver.matrix) - 1) < 1e-6 and feedback.relative_noise < 1e-6


@pytest.mark.parametrize("averages", [1, 4])
def test_all_vectors_go_in_one_call(averages):
    driver, errors = Driver(), errors_of(30)
    feedback = OpticalFeedback(driver, WIDTH, n_classes=N, averages=averages)
    feedback.prepare()
    driver.shown.clear()
    feedback.project(errors)
    assert driver.shown == [averages * len(NearestTernaryEncoding().encode(errors).bits)]
    feedback.prepare()  # has been done
    assert len(driver.shown) == 1


def test_nothing_to_show_costs_no_call():
    driver = Driver()
    feedback = OpticalFeedback(driver, WIDTH, n_classes=N)
    for errors in (np.zeros((4, N)), np.full((4, N), 0.01), np.zeros((0, N))):
        projected = feedback.project(errors)
        assert projected.shape == (len(errors), WIDTH) and not projected.any()
    assert not driver.shown and feedback.costs.vectors == 8


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_scale_and_noise_are_measured(noise):
    """The scale without a bias from noise, and the noise, each with five standard deviations of chance.

    Of 20 000 entries, the mean of y1 y2 (8 shots each, s = noise/sqrt(8)) over that of the matrix has the variance
    (2 s^2 + s^4) / 20 000, the scale half the deviation; the noise has 15 degrees of freedom an entry. (The square of
    the mean of all shots would be too large by noise^2 / 16, the scale by 3 %.)
    """
    driver = Driver(2000, noise=noise)
    feedback = OpticalFeedback(driver, 2000, n_classes=N)
    feedback.prepare()
    n, s2 = 2000 * N, noise**2 / 8
    chance = np.sqrt((2 * s2 + s2**2) / n) / 2
    true = rms(driver.matrix)
    assert abs(feedback.scale / true - 1) < 5 * chance
    assert abs(feedback.relative_noise / (driver.noise / true) - 1) < 5 * (chance + 1 / np.sqrt(2 * 15 * n))


@pytest.mark.parametrize("classes", [1, 2, 200])
def test_any_number_of_classes(classes):
    driver = Driver(classes=classes)
    feedback = OpticalFeedback(driver, WIDTH, n_classes=classes)
    projected = feedback.project(np.eye(classes))
    # 64 columns at most tell the scale: of 12 800 entries, 0.6 % by chance, 5 sigma.
    assert abs(rms(projected) / rms(driver.matrix) * feedback.scale - 1) < 1e-5
    assert abs(feedback.scale / rms(driver.matrix) - 1) < (1e-6 if classes <= 64 else 0.035)


def test_averages_lower_the_noise_by_the_root():
    """200 x 120 outputs: the ratio of two standard deviations to 1/sqrt(n) = 0.65 % (24 000 numbers each); 5 sigma."""
    errors, signal, noise = errors_of(120), None, {}
    for averages in (1, 9):
        driver = Driver(noise=0.3)
        feedback = OpticalFeedback(driver, WIDTH, n_classes=N, averages=averages)
        signal = NearestTernaryEncoding().encode(errors).decoded() @ (driver.matrix / rms(driver.matrix)).T
        noise[averages] = rms(feedback.project(errors) * feedback.scale / rms(driver.matrix) - signal)
    assert abs(noise[1] / noise[9] / 3 - 1) < 5 / np.sqrt(WIDTH * 120)


def test_a_driver_without_a_clock():
    feedback = OpticalFeedback(Driver(), WIDTH, n_classes=N)
    feedback.project(errors_of(5))
    assert feedback.costs.vectors == 5 and feedback.costs.projection_s > 0 and feedback.costs.encoding_s > 0
    assert feedback.costs.frames is None and feedback.costs.device_s is None and feedback.costs.device_j is None
    assert feedback.state() == {"vectors": 5}
    other = OpticalFeedback(Driver(), WIDTH, n_classes=N)
    other.restore(feedback.state())
    assert other.costs.vectors == 5
    assert feedback.describe()["driver"] == "Driver"


# ------------------------------------------------------------------ bad ones


class Without:
    n_components = WIDTH

    def transform(self, bits):
        return bits


def test_a_driver_without_linear_transform():
    with pytest.raises(TypeError, match=r"opu is .* \(Without\), but it must be a driver with `linear_transform`"):
        OpticalFeedback(Without(), WIDTH, n_classes=N)
    with pytest.raises(TypeError, match=r"opu is None \(NoneType\)"):
        OpticalFeedback(None, WIDTH, n_classes=N)


class Answers(Driver):
    """A driver whose answer goes through a function."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def linear_transform(self, bits):
        return self.change(super().linear_transform(bits))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y[:, :-1], r"returned an array of float64 of the shape \(10, 199\) for 10 vectors"),
        (lambda y: y[:-1], r"of the shape \(9, 200\) for 10 vectors"),
        (lambda y: y + 1j, "an array of complex128"),
        (lambda y: y * np.nan, "numbers that are not finite"),
        (lambda y: y * 0, "gives noise only, or nothing at all"),
        (lambda y: None, "an array of object"),
    ],
)
def test_answers_that_will_not_do(change, message):
    feedback = OpticalFeedback(Answers(change), WIDTH, n_classes=N)
    with pytest.raises(RuntimeError, match=message):
        feedback.project(errors_of(3))
    assert feedback.costs.vectors == 0


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_refused(seed):
    """Half of the time its two halves have a positive product: refused below 5 sigma of chance (2e-7 each)."""
    driver = Driver(noise=1.0, seed=seed)
    driver.matrix[:] = 0
    with pytest.raises(RuntimeError, match="gives noise only"):
        OpticalFeedback(driver, WIDTH, n_classes=N).prepare()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_classes": 0}, ValueError, "n_classes is 0"),
        ({"n_classes": 1.5}, TypeError, "n_classes is 1.5"),
        ({"averages": 0}, ValueError, "averages is 0"),
        ({"averages": True}, TypeError, "averages is True"),
        ({"calibrate": 1}, TypeError, "calibrate is 1"),
        ({"progress": "yes"}, TypeError, "progress is 'yes'"),
        ({"encoding": None}, ValueError, "encoding is None, but mirrors show bits only"),
        ({"encoding": "sign"}, TypeError, "encoding is 'sign'"),
        ({"exposure_s": 0.0}, ValueError, "exposure_s is 0.0"),
        ({"exposure_s": 1e-3}, ValueError, "exposure_s is 0.001, but it must be None: without a calibration or a fit"),
    ],
)
def test_bad_parameters(arguments, error, message):
    with pytest.raises(error, match=message):
        OpticalFeedback(Driver(), WIDTH, **{"n_classes": N, **arguments})


def test_bad_repeats():
    with pytest.raises(ValueError, match="repeats is 0"):
        OpticalFeedback(Driver(), WIDTH, n_classes=N).measured_matrix(0)
