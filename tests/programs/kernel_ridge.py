"""Ridge regression on optical random features, which approximate a kernel ridge regression."""

import numpy as np
from lightonml.encoding.base import BinaryThresholdEncoder
from lightonml.projections.sklearn import OPUMap
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X.astype("uint8"), y, test_size=0.25, random_state=0)

pipeline = make_pipeline(
    BinaryThresholdEncoder(threshold_enc=7), OPUMap(n_components=2000, ndims=1), RidgeClassifier(alpha=1e5)
)
pipeline.fit(X_train, y_train)
accuracy = pipeline.score(X_test, y_test)
pipeline.named_steps["opumap"].close()

binary = RidgeClassifier().fit(X_train > 7, y_train).score(X_test > 7, y_test)
assert accuracy > 0.9 and accuracy > binary, (accuracy, binary)

with OPUMap(n_components=500) as mapping:
    features = mapping.fit_transform((X_train[:50] > 7).astype("uint8"))
assert type(features) is np.ndarray and features.shape == (50, 500) and features.dtype == np.uint8

print(f"accuracy {accuracy:.3f}, on the pixels {binary:.3f}")
