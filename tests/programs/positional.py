"""Arguments by position, on the device and on lightonml's own simulator; both follow the law of speckle."""

import numpy as np
from lightonml import OPU
from lightonml.internal.simulated_device import SimulatedOpuDevice

rng = np.random.RandomState(5)
n_components, max_n_features = 2000, 300
X = rng.randint(0, 2, size=(25, max_n_features)).astype(bool)

opu = OPU(n_components, None, max_n_features)
opu.open()
y = opu.fit_transform1d(X)
opu.close()
assert opu.n_components == n_components and y.shape == (25, n_components) and y.dtype == np.uint8

simulated = OPU(n_components, SimulatedOpuDevice(), max_n_features)
with simulated:
    simulated.fit1d(X)
    z = simulated.transform(X)
    flipped = X.copy()
    flipped[:, :15] ^= True
    near = np.corrcoef(simulated.transform(flipped).ravel(), z.ravel())[0, 1]
R = simulated.device.random_matrix
assert R.shape == (max_n_features, n_components) and np.iscomplexobj(R)
assert np.allclose(z, np.abs(X.astype("float32") @ R) ** 2, rtol=1e-3)

# Speckle: the standard deviation of the intensity is its mean. The camera's black level makes it less in counts.
contrast = z.std(axis=1) / z.mean(axis=1)
assert abs(contrast.mean() - 1) < 0.05, contrast.mean()
contrast_counts = (y.std(axis=1) / y.mean(axis=1)).mean()
assert 0.6 < contrast_counts < 1.1, contrast_counts
# Close inputs give close outputs.
assert 0.5 < near < 0.99, near

print(f"contrast {contrast.mean():.3f} in the simulator, {contrast_counts:.3f} in counts")
