"""Sign bits of features of a network, projected, decoded, classified; the way of the transfer learning examples."""

import numpy as np
from lightonml.encoding.base import Float32Encoder, MixingBitPlanDecoder, SeparatedBitPlanEncoder
from lightonml.projections.sklearn import OPUMap
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

# A random layer stands for the network.
images, labels = load_digits(return_X_y=True)
rng = np.random.RandomState(0)
layer = rng.randn(64, 512).astype("float32")
features = (images - images.mean(axis=0)).astype("float32") @ layer
n_train = 1300

# One bit a number: the sign. Rows stay rows.
encoder = Float32Encoder(sign_bit=True, exp_bits=0, mantissa_bits=0)
signs = encoder.transform(features)
assert signs.shape == features.shape and signs.dtype == np.uint8
assert np.array_equal(signs, np.signbit(features).astype("uint8"))

mapping = OPUMap(n_components=1000)
mapping.opu.open()
train = mapping.transform(signs[:n_train])
test = mapping.transform(signs[n_train:])
mapping.opu.close()
classifier = RidgeClassifier(alpha=1e6).fit(train, labels[:n_train])
accuracy = classifier.score(test, labels[n_train:])
assert accuracy > 0.85, accuracy

# Several bits a number: as many rows for each, put together again behind the device.
levels = (images[:900] * 15).astype("uint8")
labels = labels[:900]
planes = SeparatedBitPlanEncoder(n_bits=3, starting_bit=5).transform(levels)
assert planes.shape == (3 * len(levels), 64) and set(np.unique(planes)) <= {0, 1}
with OPUMap(n_components=800) as mapping:
    projected = mapping.transform(planes)
decoded = MixingBitPlanDecoder(n_bits=3, decoding_decay=0.5).transform(projected)
assert decoded.shape == (len(levels), 800) and decoded.dtype.kind == "f"
first = projected[:3].astype(float)
assert np.allclose(decoded[0], first[0] + first[1] / 2 + first[2] / 4)
accuracy_planes = RidgeClassifier(alpha=1e5).fit(decoded[:600], labels[:600]).score(decoded[600:], labels[600:])
assert accuracy_planes > 0.65, accuracy_planes

print(f"accuracy {accuracy:.3f} with signs, {accuracy_planes:.3f} with bit planes")
