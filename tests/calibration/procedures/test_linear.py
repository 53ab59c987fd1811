"""What the linear transform needs: the coherence that is measured, and that of the simulated device beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special

from opusim import Device, OpticalBench
from opusim.bench.laboratory import LabDevice
from opusim.bench.protocol import reference_map_of
from opusim.calibration.procedures.linear import measure_linear
from opusim.calibration.report import summary
from opusim.fringes.calibrated import light_of_reference

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


# ---------------------------------------------------------------- the light of the reference


LEAKY = {"dmd.contrast_ratio": 400.0, "reference.scale_error": 0.02, "reference.nonlinearity": 0.005}


def test_the_light_of_the_reference_is_the_root_of_its_equation():
    """Level and fringe of any R and a darker E give |R|^2 back: algebra, to the last bits."""
    rng = np.random.default_rng(0)
    r, e = (rng.normal(size=(2, 1000)) + 1j * rng.normal(size=(2, 1000))) * [[3], [1]]
    e = np.where(np.abs(e) < np.abs(r), e, 0.5 * r)
    level, power = np.abs(r) ** 2 + np.abs(e) ** 2, np.abs(e * r.conj()) ** 2
    assert np.allclose(light_of_reference(level, power), np.abs(r) ** 2, rtol=1e-6)
    # Noise may leave more fringe than the level has room for: half of the level then.
    assert light_of_reference(np.array([2.0, -1.0]), np.array([1.5, 0.0])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("steps", [pytest.param(3, marks=pytest.mark.slow), 4, pytest.param(8, marks=pytest.mark.slow)])
def test_a_demodulated_map_has_no_light_of_off_mirrors(steps):
    """The map of a device without noise against that of the same one whose mirrors are dark when they are off.

    Off mirrors send eps = 1/20 of their field: |R + eps S_1|^2 is wrong by 2 eps Re(S_1 conj R), of variance
    2 eps^2 n / r of it, n / r = 2 / ratio^2 (within 10 %, from 2048 pixels). Demodulated it is right to single
    precision and the phases that are found: (1 - c^2) eps^2 is 0 for the full contrast of this device.
    """
    dark = IDEAL.evolve(**(LEAKY | {"dmd.contrast_ratio": math.inf}))
    leaky = IDEAL.evolve(**LEAKY)
    how = {"steps": steps, "exposure_s": EXPOSURE_S, "roi": ROI}
    known = measure_linear(OpticalBench(dark, seed=3), reference_map="alone", **how).reference_dn
    errors = {}
    for way in ("alone", "demodulated"):
        record = measure_linear(OpticalBench(leaky, seed=3), reference_map=way, **how)
        errors[way] = np.sqrt(np.mean(np.square(record.reference_dn / known - 1)))
    ratio = leaky.reference.relative_amplitude
    assert errors["alone"] == pytest.approx(math.sqrt(2 * 2 / 400) / ratio, rel=0.1)
    assert errors["demodulated"] < 1e-4


@pytest.mark.slow
def test_fringes_of_less_contrast_leave_their_share_of_the_light():
    """What is left is (1 - c^2) |E|^2 and no more, here for c = .8, by the slope of the map's error over |E|^2."""
    changes = LEAKY | {"reference.coherence": 0.8}
    maps = [
        measure_linear(
            OpticalBench(IDEAL.evolve(**(changes | {"dmd.contrast_ratio": contrast})), seed=3),
            reference_map=way, exposure_s=EXPOSURE_S, roi=ROI,
        ).reference_dn.astype(float)
        for contrast, way in ((math.inf, "alone"), (400.0, "demodulated"))
    ]  # fmt: skip
    # The light of off mirrors themselves, without the reference.
    bench = OpticalBench(IDEAL.evolve(**changes), seed=3)
    off = np.zeros((1, *bench.mirror_shape), dtype=np.uint8)
    light = bench.expose(off, exposure_s=EXPOSURE_S, roi=ROI).reshape(-1).astype(float)
    light -= bench.expose(None, exposure_s=EXPOSURE_S, roi=ROI).reshape(-1)
    slope = float(light @ (maps[1] - maps[0]) / (light @ light))
    assert slope == pytest.approx(1 - 0.8**2, rel=0.05)


@pytest.mark.slow
def test_the_device_says_which_map_is_taken():
    """A record says so; a laboratory's, and a bench without one, have demodulated bursts."""
    how = {"exposure_s": EXPOSURE_S, "roi": ROI}
    for way in ("alone", "demodulated"):
        device = IDEAL.evolve(**LEAKY, **{"operation.reference_map": way})
        own = measure_linear(OpticalBench(device, seed=3), **how)
        given = measure_linear(OpticalBench(IDEAL.evolve(**LEAKY), seed=3), reference_map=way, **how)
        assert reference_map_of(OpticalBench(device)) == way
        assert np.array_equal(own.reference_dn, given.reference_dn)
    assert reference_map_of(object()) == "demodulated"
    assert LabDevice("lab", (8, 8), (16, 16)).operation.reference_map == "demodulated"
    with pytest.raises(ValueError, match="reference_map is 'dark'"):
        measure_linear(OpticalBench(IDEAL), reference_map="dark", **how)
