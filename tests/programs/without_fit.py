"""The calls of 2018 to 2020: transform without a fit, transform1d, transform2d, and the mapping's first name."""

import numpy as np
from lightonml.random_projections.opu import OPURandomMapping
from lightonopu import types
from lightonopu.opu import OPU

rng = np.random.RandomState(2)
X = rng.randint(0, 2, size=(40, 500)).astype("uint8")

opu = OPU(n_components=800, disable_pbar=True, verbose_level=0, features_fmt=types.FeaturesFormat.lined,
          dmd_strategy=types.DmdRoiStrategy.full)  # fmt: skip
opu.open()
batch = opu.transform(X)
alone = opu.transform(X[3])
assert batch.shape == (40, 800) and alone.shape == (800,) and batch.dtype == np.uint8
same = np.corrcoef(alone, batch[3])[0, 1]
other = np.corrcoef(alone, batch[4])[0, 1]
assert same > 0.95 and other < 0.9, (same, other)

again = opu.transform1d(X)
assert np.corrcoef(again[3], batch[3])[0, 1] > 0.95
images = opu.transform2d(rng.randint(0, 2, size=(5, 28, 28)).astype("uint8"))
assert images.shape == (5, 800)
exposure_us = opu.device.exposure_us
assert exposure_us > 0 and opu.device.frametime_us > exposure_us
opu.device.close()

# The mapping under its first name fitted at each call.
opu = OPU()
mapping = OPURandomMapping(opu=opu, n_components=300, disable_pbar=True)
opu.open()
state = np.zeros((3, 300), dtype="uint8")
for _ in range(4):
    frames = np.concatenate([state > 15, np.ones((3, 50)), rng.randint(0, 2, size=(3, 100))], axis=1)
    state = mapping.fit_transform(frames)
    assert state.shape == (3, 300) and state.dtype == np.uint8 and state.std() > 0
mirrors = mapping.formatting_func(frames[0].reshape(1, -1))
picture = mirrors.reshape(1140, 912)
assert set(np.unique(picture)) == {0, 1} and 0.2 < picture.mean() < 0.9
opu.close()

print(f"the same row in a batch and alone: correlation {same:.3f}; another row: {other:.3f}")
