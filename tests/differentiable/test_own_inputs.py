"""The mean output of a device around a measured matrix: features lie where a fit of the driver lays them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from measured_device import measured_device, write_matrix  # noqa: E402
from opusim import OPU  # noqa: E402
from opusim.differentiable import ExpectedOutput  # noqa: E402


@pytest.mark.parametrize("n_features", [40, 25, (4, 5)])
def test_expected_output_is_that_of_the_driver(tmp_path, n_features):
    write_matrix(tmp_path / "tm.h5", 450, 40, 0.5)
    device = measured_device(tmp_path / "tm.h5")
    n = int(np.prod(n_features))
    x = np.random.default_rng(0).integers(0, 2, (4, n), dtype=np.uint8)
    with OPU(450, device=device) as opu:
        shape = n_features if isinstance(n_features, tuple) else (n,)
        y = (opu.fit_transform2d if len(shape) == 2 else opu.fit_transform1d)(x.reshape(4, *shape))
    found = ExpectedOutput(device, n_features, 450)(torch.from_numpy(x).float()).detach().numpy()
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-4 * y.mean())


def test_features_that_are_more_than_inputs_are_refused(tmp_path):
    write_matrix(tmp_path / "tm.h5", 450, 40)
    with pytest.raises(ValueError, match="n_features is 41, but it must be a whole number from 1 to 40"):
        ExpectedOutput(measured_device(tmp_path / "tm.h5"), 41, 450)
