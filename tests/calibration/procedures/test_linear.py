"""What the linear transform needs: the coherence that is measured, and that of the simulated device beside it."""

from __future__ import annotations

import math

import pytest
from scipy import integrate, special

from opusim import Device, OpticalBench
from opusim.calibration.procedures.linear import measure_linear
from opusim.calibration.report import summary

IDEAL = Device.load("ideal").remagnified().evolve(
    **{
        "operation.exposure_average": True, "operation.ones_range": (1, 4095), "dmd.shape": (64, 64),
        "camera.shape": (128, 128),
    }
)  # fmt: skip
EXPOSURE_S = 200e-6
ROI = (32, 32, 32, 64)


def grain_share(size: float) -> float:
    """Mean of 2 J1(pi x) / (pi x) over pairs of points of a square pixel `size` grains wide, by adaptive quadrature.

    The distance of two points along one side has a triangle's law.
    """

    def coherence(y: float, x: float) -> float:
        r = math.pi * size * math.hypot(x, y)
        return 4 * (1 - x) * (1 - y) * (2 * special.j1(r) / r if r > 0 else 1.0)

    return float(integrate.dblquad(coherence, 0, 1, 0, 1, epsabs=1e-6)[0])


DEVICES = {
    "two arms": ({"reference.coherence": 0.8}, 0.8),
    # Twelve whole periods in an exposure.
    "vibration": ({"reference.vibration_rad": 1.0, "reference.vibration_hz": 12 / EXPOSURE_S}, special.j0(1.0)),
    "tilt": ({"reference.carrier_cycles_per_pixel": (0.25, 0.0)}, math.sin(math.pi / 4) / (math.pi / 4)),
    "both polarisations": ({"camera.polarised": False}, math.sqrt(0.5)),
    "grain": ({"camera.pixel_over_grain": 1.0}, math.sqrt(grain_share(1.0))),
    "all of them": (
        {
            "reference.coherence": 0.8, "reference.vibration_rad": 1.0, "reference.vibration_hz": 12 / EXPOSURE_S,
            "camera.polarised": False, "camera.pixel_over_grain": 1.0,
        },
        0.8 * special.j0(1.0) * math.sqrt(grain_share(1.0) / 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "changes, expected",
    # Both polarisations of twelve and more points on a pixel take five seconds.
    [pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name[:3] == "all")) for name, case in DEVICES.items()],
)  # fmt: skip
def test_coherence_is_that_of_all_that_takes_from_the_fringes(changes, expected):
    """Closed forms, the value that is told of the simulated device, and the value that is measured.

    Told: 1 %, for points on a pixel in place of its area. Measured: from 16 patterns on 2048 pixels, whose intensities
    and fields share their chance; 3 %.
    """
    device = IDEAL.evolve(**changes)
    record = measure_linear(OpticalBench(device, seed=3), exposure_s=EXPOSURE_S, roi=ROI)
    rows = {name: (value, own) for name, value, own in summary(record, device)}
    measured, own = (float(text) for text in rows["coherence"])
    assert own == pytest.approx(expected, rel=0.01)
    assert measured == pytest.approx(expected, rel=0.03)


def test_a_medium_that_moves_in_a_frame_takes_from_the_coherence():
    """The power of the mean field: the mean of exp(-(t / tau)^2) over pairs of moments; here T = tau."""
    device = IDEAL.evolve(**{"medium.decorrelation_time_s": EXPOSURE_S})
    kept = 2 * integrate.quad(lambda d: (1 - d) * math.exp(-d * d), 0, 1)[0]
    still = measure_linear(OpticalBench(IDEAL, seed=3), exposure_s=EXPOSURE_S, roi=ROI)
    row = {name: own for name, _, own in summary(still, device)}
    assert float(row["coherence"]) == pytest.approx(math.sqrt(kept), rel=0.003)
