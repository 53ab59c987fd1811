"""Budgets of a device around a measured matrix: closed forms, and sources switched off on patterns of its inputs."""

from __future__ import annotations

import pytest

from measured_device import measured_device, write_matrix
from opusim.noise import error_budget
from opusim.noise.measured import measured_error_budget

ROI = (0, 0, 20, 40)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["intensity", "linear"])
def test_both_budgets_agree(tmp_path, mode):
    """Known by two ways that share nothing but the stages; 10 % for what 200 vectors and 800 pixels tell."""
    write_matrix(tmp_path / "tm.h5", 800, 256)
    device = measured_device(tmp_path / "tm.h5", "aurora")
    formed = error_budget(device, mode, roi=ROI)
    measured = measured_error_budget(device, mode, n_vectors=200, roi=ROI)
    assert measured.total == pytest.approx(formed.total, rel=0.1)
    for name in ("shot noise", "read noise"):
        assert measured.errors[name] == pytest.approx(formed.errors[name], rel=0.15)


def test_a_share_that_is_none_of_the_inputs_is_refused(tmp_path):
    write_matrix(tmp_path / "tm.h5", 800, 8)
    device = measured_device(tmp_path / "tm.h5", "aurora")
    with pytest.raises(ValueError, match="share_on is 0.05, but patterns are made for at least 0.062"):
        measured_error_budget(device, n_vectors=20, roi=ROI, share_on=0.05)
