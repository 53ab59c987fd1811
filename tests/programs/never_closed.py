"""A program that opens devices one after the other, and leaves each open, one of them in online mode."""

import numpy as np
from lightonml import OPU
from lightonml.projections.sklearn import OPUMap

rng = np.random.RandomState(4)


def project(X, n):
    opu = OPU(n_components=n, max_n_features=X.shape[1])
    return opu.fit_transform1d(X)


X = rng.randint(0, 2, size=(20, 250))
outputs = [project(X, n) for n in (100, 200, 300)]
assert [y.shape for y in outputs] == [(20, 100), (20, 200), (20, 300)]

left_open = OPU(n_components=150)
left_open.fit1d(n_features=250, online=True)
single = left_open.transform(X[0])
assert single.shape == (150,) and left_open.device.active

other = OPUMap(n_components=120)
features = other.transform(X.astype(bool))
assert features.shape == (20, 120) and other.opu.device.active
assert features.max() > features.min()

print("left open:", left_open.device.active, other.opu.device.active)
