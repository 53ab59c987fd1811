"""Change detection in a stream: two averages with different memories, of random features of one vector at a time."""

import numpy as np
from lightonml import OPU
from lightonml.encoding.base import BinaryThresholdEncoder

rng = np.random.RandomState(1)
n_features, n_before, n_after = 300, 250, 150
means = np.where(rng.rand(2, n_features) < 0.5, 90, 160)
stream = np.concatenate(
    [rng.normal(means[0], 40, (n_before, n_features)), rng.normal(means[1], 40, (n_after, n_features))]
)
stream = np.clip(stream, 0, 255).astype("uint8")
encoder = BinaryThresholdEncoder(threshold_enc=125)

opu = OPU(n_components=500, disable_pbar=True)
opu.fit1d(n_features=n_features, online=True)
slow = fast = None
distances = []
for x in stream:
    bits = encoder.transform(x[np.newaxis])[0]
    y = opu.transform(bits).astype("float32")
    assert y.shape == (500,)
    slow = y if slow is None else 0.98 * slow + 0.02 * y
    fast = y if fast is None else 0.9 * fast + 0.1 * y
    distances.append(np.linalg.norm(fast - slow))

try:
    opu.transform(encoder.transform(stream[:5]))
except AssertionError:
    pass  # in online mode a batch is refused
else:
    raise SystemExit("a batch was taken in online mode")
opu.close()

distances = np.array(distances)
usual = distances[100:n_before]
threshold = usual.mean() + 6 * usual.std()
alarms = np.flatnonzero(distances[100:] > threshold) + 100
assert len(alarms) and n_before <= alarms[0] < n_before + 30, alarms[:5]
print(f"change at {n_before}, alarm at {alarms[0]}")
