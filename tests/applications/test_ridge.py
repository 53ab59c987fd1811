"""The ridge classifier of the sweeps, against its closed form and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from opusim.applications.ridge import _Dual, _Primal, _products, ridge_classifier


def counts(n: int, p: int, *, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(rng.exponential(9, (n, p)) @ (np.eye(p) + 0.02) + 2, 0, 255).astype(dtype)


def classes(x: np.ndarray, k: int, seed: int = 1) -> np.ndarray:
    """Classes that are linear in the counts, but for noise."""
    rng = np.random.default_rng(seed)
    scores = x @ rng.normal(size=(x.shape[1], k))
    return (scores - scores.mean(axis=0) + rng.normal(scale=scores.std(), size=scores.shape)).argmax(axis=1)


@pytest.mark.parametrize(("n", "p"), [(300, 40), (60, 200), (100, 100)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_scores_are_those_of_scikit_learn(n, p, dtype):
    """Same minimiser, by other arithmetic: relative difference below 1e-6 (condition 1e3, float64)."""
    x, other = counts(n, p, dtype=dtype), counts(50, p, dtype=dtype, seed=2)
    y = classes(x, 4)
    targets = np.where(y[:, None] == np.arange(4), 1.0, -1.0)
    penalty = 1e-2
    alpha = penalty * x.astype(float).var(axis=0).sum() / p * n
    expected = RidgeClassifier(alpha=alpha, solver="cholesky").fit(x.astype(float), y).decision_function(other)
    shift = np.rint(x.mean(axis=0)).astype(np.float32)
    for fit in (_Primal, _Dual):
        found = fit(x, targets, shift).scores(other, penalty)
        assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


def test_learning_in_two_parts_is_learning_at_once():
    x = counts(200, 30)
    targets = np.where(classes(x, 3)[:, None] == np.arange(3), 1.0, -1.0)
    shift = np.rint(x.mean(axis=0)).astype(np.float32)
    for fit in (_Primal, _Dual):
        parts = fit(x[:150], targets[:150], shift)
        parts.scores(x[:10], 1e-2)  # which must leave nothing behind
        parts.extend(x[150:], targets[150:])
        assert np.allclose(parts.scores(x, 1e-2), fit(x, targets, shift).scores(x, 1e-2), rtol=0, atol=1e-9)


def test_accuracy_and_choice_are_those_of_trying_each_penalty():
    x, y_test = counts(500, 60), None
    y = classes(x, 5)
    train, test, hold = slice(0, 400), slice(400, 500), slice(300, 400)
    y_test = y[test]
    penalties = (1e-4, 1e-2, 1.0, 100.0)
    errors, rights, scores = [], [], []
    for penalty in penalties:
        for part, found in ((slice(0, 300), errors), (train, scores)):
            part_x = x[part].astype(float)
            model = RidgeClassifier(alpha=penalty * part_x.var(axis=0).sum() / 60 * len(part_x), solver="cholesky")
            model.fit(part_x, y[part])
            if found is errors:
                decision = model.decision_function(x[hold].astype(float))
                errors.append(np.mean((decision - np.where(y[hold][:, None] == np.arange(5), 1, -1)) ** 2))
                rights.append(model.score(x[hold].astype(float), y[hold]))
            else:
                scores.append(model.score(x[test].astype(float), y_test))
    best = int(np.argmin(errors))
    found = ridge_classifier(x[train], y[train], x[test], y_test, n_validation=100, penalties=penalties)
    assert found.penalty == penalties[best]
    assert (found.accuracy, found.validation_accuracy) == pytest.approx((scores[best], rights[best]), abs=1e-12)


def test_products_of_counts_are_exact():
    """Whole numbers whose squares sum to less than 2**24: float32 holds every partial sum."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-80, 80, (7, 2000)).astype(np.float32) for _ in range(2))
    assert (np.einsum("ij,ij->i", a, a) < 2**24).all()
    exact = a.astype(np.int64) @ b.astype(np.int64).T
    assert np.array_equal(_products(a, b), exact)


@pytest.mark.parametrize("scale", [4000.0, 0.37])
def test_products_that_float32_does_not_hold_are_summed_in_float64(scale):
    rng = np.random.default_rng(0)
    a = np.rint(rng.normal(size=(5, 3000)) * 80).astype(np.float32) * np.float32(scale)
    exact = np.array([[sum(int(x * 2**20) * int(y * 2**20) for x, y in zip(r, s, strict=True)) for s in a] for r in a])
    assert np.allclose(_products(a, a), exact.astype(float) / 2**40, rtol=1e-6 if scale < 1 else 1e-12, atol=0)


def test_outputs_that_do_not_vary_are_no_error():
    x = np.full((50, 10), 255, np.uint8)
    y = np.arange(50) % 3
    found = ridge_classifier(x, y, x, y, n_validation=10, penalties=(1e-6, 1.0))
    assert found.accuracy == pytest.approx(np.mean(y == 0), abs=0.05)  # all in the largest class


@pytest.mark.parametrize(("n", "p"), [(300, 40), (100, 120)])
@pytest.mark.parametrize("exponent", [660, -660, 1000, -1000, 125, -140])
def test_the_unit_of_the_counts_does_not_matter(n, p, exponent):
    x = counts(n + 50, p).astype(np.float64)
    x[:, :4] *= 10
    y = x[:, :4].argmax(axis=1)

    def found(x):
        return ridge_classifier(x[:n], y[:n], x[n:], y[n:], n_validation=30, penalties=(1e-3, 1e-1))

    assert found(np.ldexp(x, exponent)) == found(x)
    assert found(x).accuracy > 0.5  # of four classes


GOOD = {"train": np.arange(12.0).reshape(6, 2), "test": np.ones((3, 2)), "y_train": np.arange(6) % 2,
        "y_test": np.zeros(3, int), "n_validation": 2, "penalties": (1e-3, 1.0)}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n_validation": 0}, "n_validation is 0, but it must be a whole number from 1 to 5"),
        ({"n_validation": -1}, "n_validation is -1, but"),
        ({"n_validation": 6}, "n_validation is 6, but"),
        ({"n_validation": 2.0}, "n_validation is 2.0 .float., but"),
        ({"penalties": ()}, "penalties is .., but it must be a sequence of at least one"),
        ({"penalties": (1.0, np.nan)}, r"penalties\[1\] is nan, but"),
        ({"penalties": (-1e-3,)}, r"penalties\[0\] is -0.001, but"),
        ({"penalties": [np.inf]}, r"penalties\[0\] is inf, but"),
        ({"penalties": 1.0}, "penalties is 1.0, but"),
        ({"y_test": np.zeros(1, int)}, r"y_test has the shape \(1,\), but it must be a class for each of 3"),
        ({"y_train": np.zeros((6, 1), int)}, r"y_train has the shape \(6, 1\), but"),
        ({"y_train": np.array([0, 1, -1, 0, 0, 0])}, r"y_train\[2\] is -1, but classes"),
        ({"test": np.ones((3, 1))}, "test has 1 outputs a sample, but it must have 2"),
        ({"test": np.ones(3)}, r"test has the shape \(3,\), but"),
        ({"test": np.full((3, 2), 1e200)}, "test holds counts that are too large beside those of train"),
        ({"train": [np.ma.masked_array([1.0, 2.0], mask=[True, False])] * 6}, r"train\[0\] is a masked array"),
    ],
)
def test_what_makes_no_classifier_is_refused(change, sentence):
    ridge_classifier(**GOOD)
    with pytest.raises((TypeError, ValueError), match=sentence):
        ridge_classifier(**GOOD | change)
