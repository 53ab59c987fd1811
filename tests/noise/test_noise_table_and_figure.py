"""What the noise budget says of itself: fixed sources, notes, uncertainties, and the figure's layout."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opusim.device.record import Device
from opusim.noise.budget import ErrorBudget
from opusim.noise.levels import dark_level_dn, error_budget, level_distribution, noise_at_level, noise_terms
from opusim.noise.measured import measured_error_budget
from opusim.noise.sources import FIXED, without
from opusim.plotting.noise import noise_budget

AURORA = Device.load("aurora")


def test_new_sources_are_all_but_the_fixed_ones():
    budget = error_budget(AURORA)
    own = set(FIXED) & set(budget.errors)
    assert not set(budget.new) & own and set(budget.new) | own == set(budget.errors)
    # What only a phase modulator has is no part of a device with mirrors.
    assert set(FIXED) - own == {"unmodulated light"} and budget.share("unmodulated light") == 0
    assert budget.new_share + sum(budget.share(name) for name in FIXED) == pytest.approx(1)
    assert max(budget.errors, key=budget.errors.get) == "DSNU" and "DSNU" not in budget.new


def test_an_error_that_means_nothing_is_said_to():
    forgotten = AURORA.evolve(**{"medium.decorrelation_time_s": 30.0})
    with pytest.warns(UserWarning, match="is 2.*times the variance of outputs. Above 10 "):
        error_budget(forgotten)
    # Rounding of counts that never vary: no error of float64 leaks out as nan.
    still = AURORA.evolve(**{"camera.bits": 2, "camera.gain_dn_per_e": 1e-6, "camera.black_level_dn": 0.0})
    for budget_of in (error_budget, lambda device: measured_error_budget(device, n_vectors=4, roi=(0, 0, 8, 8))):
        with pytest.warns(UserWarning, match="Above 10"):
            budget = budget_of(still)
        assert budget.whole == 1e9 and all(map(math.isfinite, budget.errors.values()))


def test_too_long_an_exposure_of_bursts_is_told():
    with pytest.warns(UserWarning, match=r"\d+% of bursts have a saturated frame at exposure_s = 0.006"):
        error_budget(AURORA, "linear", exposure_s=6e-3)
    with pytest.raises(ValueError, match=r"exposure_s is 0.006, but fields cannot.*It must be shorter"):
        measured_error_budget(AURORA, "linear", exposure_s=6e-3, n_vectors=8, roi=(0, 0, 32, 32))


def test_notes_of_measured_parts():
    point = error_budget(AURORA).point
    parts = {"shot noise": 0.5, "read noise": 0.1}
    sure = {"shot noise": 0.01, "read noise": 0.01}
    assert ErrorBudget(point, parts, 0.6, True, sure).notes == ()
    (note,) = ErrorBudget(point, parts, 1.2, True, sure).notes
    assert "add up to 0.6, but all sources together make 1.2" in note
    (note,) = ErrorBudget(point, parts, 0.6, True, {**sure, "read noise": 0.2}).notes
    assert note.startswith("Measured parts of read noise are smaller than their uncertainty")


def test_outputs_of_long_after_a_fit_are_measured_too():
    """A day, more than a frame may take: a medium that falls to 1/e of it has lost as much as the closed form says."""
    device = AURORA.evolve(**{"medium.decorrelation_time_s": 86400.0})
    how = {"n_vectors": 16, "roi": (400, 400, 16, 16), "sources": ["decorrelation"], "elapsed_s": 43200.0}
    found = measured_error_budget(device, **how)
    wanted = error_budget(device, elapsed_s=43200.0, roi=how["roi"]).errors["decorrelation"]
    assert found.errors["decorrelation"] == pytest.approx(
        wanted, abs=3 * found.uncertainty["decorrelation"] + 0.05 * wanted
    )


def test_uncertainty_is_that_of_other_seeds():
    """Standard errors of a jackknife over eight groups are known to 1/4; of twelve seeds the spread is to 1/5."""
    arguments = {"n_vectors": 16, "roi": (400, 400, 16, 16), "sources": ["shot noise", "DSNU"]}
    found = [measured_error_budget(AURORA, seed=seed, **arguments) for seed in range(12)]
    for name in arguments["sources"]:
        spread = np.std([one.errors[name] for one in found], ddof=1)
        told = math.sqrt(np.mean([one.uncertainty[name] ** 2 for one in found]))
        assert 0.5 < told / spread < 2.0


@pytest.mark.parametrize("n", [1, 2, 4])
def test_numbers_of_the_figure_do_not_overlap(n):
    budgets = [error_budget(AURORA), error_budget(AURORA, "linear"), *(2 * [error_budget(AURORA, exposure_s=1e-4)])][:n]
    axes = noise_budget(budgets)
    figure = axes.get_figure()
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert boxes and not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    styles = {label.get_text(): label.get_fontstyle() for label in axes.get_yticklabels()}
    assert styles["DSNU"] == "italic" and styles["shot noise"] == "normal" and "in italics" in axes.get_xlabel()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: error_budget(AURORA, exposure=1.0),
            TypeError,
            "exposure is no circumstance.*one of share_on, exposure_s",
        ),
        (lambda: error_budget(3), TypeError, "device"),
        (lambda: measured_error_budget(AURORA, sources="DSNU"), TypeError, r"sources is the text 'DSNU'"),
        (lambda: measured_error_budget(AURORA, n_vectors=1), ValueError, "n_vectors is 1"),
        (lambda: measured_error_budget(AURORA, progress=3), TypeError, "progress is 3"),
        (lambda: without(AURORA, "DSNU"), TypeError, "sources is the text 'DSNU'"),
        (lambda: noise_at_level(AURORA, "20", 1e-3), TypeError, "level_dn is '20'"),
        (lambda: noise_at_level(AURORA, 20, "1e-3"), TypeError, "exposure_s is '1e-3'"),
        (lambda: noise_at_level(AURORA, 20, 1e-3, speckle=1), TypeError, "speckle is 1"),
        (lambda: dark_level_dn(AURORA, -1.0), ValueError, "exposure_s is -1.0"),
        (lambda: noise_terms(AURORA, -1, 1e-3), ValueError, "n_on is -1"),
        (lambda: noise_terms(AURORA, 0.5, 1e-3), TypeError, "n_on is 0.5"),
        (lambda: level_distribution(AURORA, 20.0, 1e-3, [3.0]), ValueError, "edges is an array of float64"),
        (lambda: level_distribution(AURORA, 20.0, 1e-3, [3.0, 1.0]), ValueError, "two rising numbers"),
        (lambda: noise_budget("aurora"), TypeError, "must be an ErrorBudget"),
        (lambda: noise_budget(3), TypeError, "budget is or holds int"),
    ],
)
def test_bad_input_is_answered_by_a_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_preset_by_name_will_do():
    assert noise_at_level("aurora", 20, 4e-4) == noise_at_level(AURORA, 20.0, 4e-4)
    assert dark_level_dn("aurora", 4e-4) == dark_level_dn(AURORA, 4e-4)
