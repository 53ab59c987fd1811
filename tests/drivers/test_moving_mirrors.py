"""OPUs whose mirrors move: transforms and linear transforms, in one call, in a loop and in parts."""

from __future__ import annotations

import numpy as np
import pytest

from opusim import OPU
from opusim.device.record import Device

SMALL = Device.load("aurora").evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 3000), "laser.power_w": 0.02}
)
MOVING = SMALL.evolve(
    **{"dmd.warm_up_loss": 0.013, "dmd.creep_per_hour": 0.0018, "dmd.vibration_rad": 0.1, "dmd.vibration_hz": 170.0}
)
X = np.random.default_rng(0).integers(0, 2, (130, 60), dtype=np.uint8)


def fitted(device: Device = MOVING, mode: str = "holographic") -> OPU:
    opu = OPU(n_components=90, device=device, seed=3, linear_mode=mode)
    opu.fit1d(X)
    if mode == "holographic":
        opu.calibrate()
    return opu


def test_a_loop_has_the_counts_of_one_call():
    one, other = fitted(mode="intensity"), fitted(mode="intensity")
    whole = one.transform(X[:20])
    np.testing.assert_array_equal(np.stack([other.transform(x) for x in X[:20]]), whole)
    assert one.device.bench.clock.elapsed_s == pytest.approx(other.device.bench.clock.elapsed_s)
    assert np.mean(whole != fitted(SMALL, "intensity").transform(X[:20])) > 0.1


@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_linear_transforms_are_those_of_still_mirrors_with_their_error(mode):
    """A tilt of .1 rad at the edge turns light by .058 rad rms at most: a correlation above .98 with still ones."""
    moving, still = (fitted(device, mode).linear_transform(X[:64]) for device in (MOVING, SMALL))
    assert np.corrcoef(moving.ravel(), still.ravel())[0, 1] > 0.98
    assert not np.array_equal(moving, still)


def test_parts_of_a_lazy_array_have_the_numbers_of_one_call():
    """By holography, in calls that end at multiples of a block, and counts of all."""
    dask = pytest.importorskip("dask.array")
    lazy = dask.from_array(X, chunks=(64, -1))
    for name in ("transform", "linear_transform"):
        whole = getattr(fitted(), name)(X)
        np.testing.assert_array_equal(np.asarray(getattr(fitted(), name)(lazy)), whole)
