"""Two OPUs at work at once, then one OPU in two maps of different width."""

import numpy as np
from lightonml import OPU
from lightonml.projections.sklearn import OPUMap

rng = np.random.RandomState(3)
X = rng.randint(0, 2, size=(30, 400)).astype("uint8")

first = OPU(n_components=300)
second = OPU(n_components=700)
first.fit1d(X)
second.fit1d(n_features=400)
y1, y2 = first.transform(X), second.transform(X)
y3 = first.transform(X)
assert y1.shape == (30, 300) and y2.shape == (30, 700)
# The same device, so the same matrix, whichever object holds it; only the noise is new.
again = np.corrcoef(np.ravel(y1), np.ravel(y3))[0, 1]
assert again > 0.97, again
assert y1.context.exposure_us == y3.context.exposure_us
first.close()
assert second.transform(X[:2]).shape == (2, 700)
second.close()

with OPU(n_components=200) as opu:
    narrow = OPUMap(n_components=200, opu=opu)
    z1 = narrow.fit_transform(X)
    wide = OPUMap(n_components=600, opu=opu)
    z2 = wide.fit_transform(X[:, :100])
    z3 = wide.transform(X[:, :100])
assert z1.shape == (30, 200) and z2.shape == z3.shape == (30, 600)
assert np.corrcoef(z2.ravel(), z3.ravel())[0, 1] > 0.97

# The linear transform of the same device, put together from its counts.
with OPU(n_components=400) as opu:
    disjoint = np.zeros((3, 400), dtype="uint8")
    disjoint[0, :200] = X[0, :200]
    disjoint[1, 200:] = X[0, 200:]
    disjoint[2] = X[0]
    opu.fit1d(disjoint)
    p = opu.linear_transform(disjoint)
assert p.shape == (3, 400) and p.dtype.kind == "f"
additive = np.corrcoef(p[0] + p[1], p[2])[0, 1]
assert additive > 0.9, additive

print(f"repeated {again:.3f}, linear transform additive with correlation {additive:.3f}")
