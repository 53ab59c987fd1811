"""The map for scikit-learn: its rules, one device for many maps, copies, searches."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from contextlib import nullcontext

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer
from sklearn.utils.estimator_checks import estimator_checks_generator

from opusim.drivers import OPU, NotReadyError, OpuDevice
from opusim.drivers.projections.sklearn import LightonOPUMap, OPUMap
from opusim.encoding import BinaryThresholdEncoder, MultiThresholdEncoder


def bits(*shape, seed=0, p=0.5):
    return (np.random.default_rng(seed).random(shape) < p).astype(np.uint8)


@pytest.fixture
def quiet():
    """No warning at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ---------------------------------------------------------------- scikit-learn's own checks

BINARY = "the check's data are floats, but mirrors show only 0 and 1: without an encoder they are refused"
NOISE = "the camera is noisy: the second transform of the same data differs from the first"
SINGLE = "a single vector is a valid input, as on the OPU: it is not refused"

BARE = {
    name: BINARY
    for name in (
        "check_fit_score_takes_y",
        "check_estimators_overwrite_params",
        "check_dont_overwrite_parameters",
        "check_estimators_fit_returns_self",
        "check_readonly_memmap_input",
        "check_n_features_in_after_fitting",
        "check_positive_only_tag_during_fit",
        "check_estimators_dtypes",
        "check_dtype_object",
        "check_estimators_nan_inf",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_transformer_data_not_an_array",
        "check_transformer_general",
        "check_transformers_unfitted_stateless",
        "check_pipeline_consistency",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_fit2d_1sample",
        "check_fit2d_1feature",
        "check_dict_unchanged",
        "check_fit_idempotent",
        "check_fit_check_is_fitted",
        "check_n_features_in",
        "check_fit2d_predict1d",
    )
}
ENCODED = {"check_fit1d": SINGLE, "check_fit2d_predict1d": SINGLE}
# What the exceptions look like, so that a check that fails for another reason is found.
SIGNS = {BINARY: "should be binary", NOISE: "Idempotency check failed", SINGLE: "DID NOT RAISE|Did not raise"}

CASES = {
    "encoder": (dict(encoder=BinaryThresholdEncoder(0.5), device="ideal"), ENCODED),
    "encoder, noise": (dict(encoder=BinaryThresholdEncoder(0.5)), {**ENCODED, "check_fit_idempotent": NOISE}),
    "bare": (dict(device="ideal"), BARE),
}


def all_checks():
    """Every check that scikit-learn has for the map, with the reason if it is expected to fail."""
    for case, (arguments, exceptions) in CASES.items():
        checks = estimator_checks_generator(OPUMap(n_components=30, **arguments))
        for i, (estimator, check) in enumerate(checks):
            name = getattr(check, "func", check).__name__
            yield pytest.param(estimator, check, exceptions.get(name), id=f"{case}-{i}-{name}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check", "reason"), list(all_checks()))
def test_check_estimator(estimator, check, reason):
    with nullcontext() if reason is None else pytest.raises((AssertionError, ValueError), match=SIGNS[reason]):
        check(estimator)


def test_every_exception_is_of_a_check_that_exists():
    names = {case: set() for case in CASES}
    for parameter in all_checks():
        case, _, name = parameter.id.rsplit("-", 2)
        names[case].add(name)
    for case, (_, exceptions) in CASES.items():
        assert set(exceptions) <= names[case]


# ---------------------------------------------------------------- shapes, types, what comes in


def test_counts_are_those_of_an_opu_of_the_same_seed(quiet):
    x = bits(7, 60)
    y = OPUMap(100, device="ideal", seed=3).fit_transform(x)
    assert type(y) is np.ndarray and y.dtype == np.float32
    assert np.array_equal(y, OPU(100, device="ideal", seed=3).fit_transform1d(x))
    assert not np.array_equal(y, OPUMap(100, device="ideal", seed=4).fit_transform(x))
    noisy = OPUMap(100).fit_transform(x)
    assert type(noisy) is np.ndarray and noisy.dtype == np.uint8 and noisy.any()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_rows_alone_are_rows_of_a_batch(dtype):
    x = bits(6, 60).astype(dtype)
    mapping = OPUMap(100, device="ideal").fit(x)
    y = mapping.transform(x)
    assert np.array_equal(mapping.transform(x[2]), y[2]) and mapping.transform(x[2]).shape == (100,)
    assert np.array_equal(mapping.transform(x.reshape(2, 3, 60)), y.reshape(2, 3, 100))
    assert np.array_equal(mapping.transform(x.tolist()), y)


def test_two_dimensions_and_packed():
    pictures = bits(6, 8, 10)
    mapping = OPUMap(100, ndims=2, device="ideal").fit(pictures)
    y = mapping.transform(pictures)
    assert y.shape == (6, 100) and mapping.n_features_in_ == 80
    packed = np.packbits(pictures.reshape(6, 80), axis=1)
    other = OPUMap(100, None, 2, (8, 10), True, device="ideal")
    assert np.array_equal(other.fit_transform(packed), y) and other.n_features_in_ == 10
    flat = OPUMap(100, packed=True, device="ideal").fit_transform(packed)
    assert np.array_equal(flat, OPUMap(100, device="ideal").fit_transform(pictures.reshape(6, 80)))
    assert np.array_equal(OPUMap(100, device="ideal").fit(packed, packed=True).transform(packed), flat)


def test_fit_on_a_number_of_features():
    x = bits(5, 60)
    mapping = OPUMap(100, device="ideal").fit(n_features=60)
    assert mapping.transform(x).shape == (5, 100) and mapping.n_features_in_ == 60
    with pytest.raises(ValueError, match="X and n_features are None"):
        OPUMap(100).fit()


def test_transform_without_fit_warns_and_fits():
    x = bits(5, 60)
    mapping = OPUMap(100, device="ideal")
    assert not mapping.fitted
    with pytest.warns(UserWarning, match="was not fitted") as caught:
        y = mapping.transform(x)
    assert caught[0].filename == __file__
    assert mapping.fitted and np.array_equal(mapping.transform(x), y)


def test_online():
    x = bits(5, 60)
    mapping = OPUMap(100, device="ideal").fit(x, online=True)
    with pytest.raises(NotReadyError, match="online mode only single"):
        mapping.transform(x)
    single = mapping.transform(x[1])
    assert np.array_equal(mapping.fit(x).transform(x)[1], single)


def test_linear_map():
    x = bits(40, 60)
    opu = OPU(200)
    y = OPUMap(200, opu=opu, linear=True).fit(x).transform(x)
    assert y.dtype == np.float32 and y.shape == (40, 200) and type(y) is np.ndarray
    first, second = np.zeros((2, 60), dtype=np.uint8)
    first[:30], second[30:] = 1, 1
    mapping = OPUMap(200, linear=True, device="ideal").fit(x)
    a, b, both = mapping.transform(np.stack([first, second, first | second]))
    assert np.linalg.norm(a + b - both) < 1e-3 * np.linalg.norm(both)
    assert both.std() > 0.1


def test_encoder_and_decoder():
    x = np.random.default_rng(0).normal(size=(6, 60))
    y = OPUMap(100, device="ideal").fit_transform((x > 0.25).astype(np.uint8))
    for encoder in (Binarizer(threshold=0.25), BinaryThresholdEncoder(0.25)):
        mapping = OPUMap(100, device="ideal", encoder=encoder).fit(x)
        assert np.array_equal(mapping.transform(x), y)
        assert mapping.encoder is encoder and mapping.encoder_ is not encoder
    assert OPUMap(100, encoder=Binarizer(threshold=0.25)).get_params()["encoder__threshold"] == 0.25

    class Twice(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return np.repeat(X > 0.25, 2, axis=0)

    class Mean:
        def transform(self, Y):
            return (Y[::2] + Y[1::2]) / 2

    with pytest.raises(ValueError, match="encoder makes 12 vectors of the 6"):
        OPUMap(100, encoder=Twice()).fit(x).transform(x)
    assert np.allclose(OPUMap(100, device="ideal", encoder=Twice(), decoder=Mean()).fit_transform(x), y)


# ---------------------------------------------------------------- one device, several maps


def test_maps_of_different_width_and_features_share_an_opu():
    opu = OPU(50, device="ideal")
    x, z = bits(6, 60), bits(4, 90, seed=1)
    narrow, wide = OPUMap(100, opu=opu).fit(x), OPUMap(300, opu=opu).fit(z)
    assert narrow.opu is opu and wide.opu is opu
    for _ in range(2):
        assert np.array_equal(narrow.transform(x), OPU(100, device="ideal").fit_transform1d(x))
        assert np.array_equal(wide.transform(z), OPU(300, device="ideal").fit_transform1d(z))
    # The OPU itself has the last fit, as with lightonml.
    assert np.array_equal(opu.transform(z), wide.transform(z))
    assert (narrow.n_components, wide.n_components) == (100, 300)


def test_maps_that_share_an_opu_in_threads():
    opu = OPU(50, device="ideal")
    data = [(n, bits(5, 40 + n // 10, seed=n)) for n in (100, 150, 200, 250)]
    expected = [OPU(n, device="ideal").fit_transform1d(x) for n, x in data]
    failures = []

    def work(i):
        n, x = data[i]
        for _ in range(5):
            if not np.array_equal(OPUMap(n, opu=opu).fit(x).transform(x), expected[i]):
                failures.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_two_maps_of_their_own_at_once():
    x = bits(6, 60)
    one, two = OPUMap(100), OPUMap(100, seed=1)
    assert one.fit(x).opu.device is not two.fit(x).opu.device
    assert one.transform(x).shape == two.transform(x).shape


def test_what_is_set_on_the_device_after_the_fit_holds():
    x = bits(6, 60)
    before = OPUMap(100, device="ideal").fit_transform(x)
    mapping = OPUMap(100, device="ideal").fit(x)
    assert mapping.opu.device is mapping.opu_.device
    mapping.opu.device.exposure_us //= 2
    for _ in range(2):
        assert np.allclose(mapping.transform(x), before / 2, rtol=1e-2)


def test_width_after_fit():
    x = bits(6, 60)
    mapping = OPUMap(100, device="ideal").fit(x)
    mapping.set_params(n_components=150)
    assert mapping.transform(x).shape == (6, 150) and mapping.opu.n_components == 150
    assert len(mapping.get_feature_names_out()) == 150
    mapping.n_components = 40
    assert np.array_equal(mapping.transform(x), OPU(40, device="ideal").fit_transform1d(x))


def test_open_close():
    x = bits(6, 60)
    mapping = OPUMap(100)
    assert mapping.opu.device.active  # open from the start, as an OPU is
    with mapping as same:
        assert same is mapping
        mapping.fit(x).transform(x)
    assert not mapping.opu.device.active
    for call in (mapping.transform, mapping.fit):
        with pytest.raises(NotReadyError, match="isn't active"):
            call(x)
    mapping.open()
    assert mapping.transform(x).shape == (6, 100)
    mapping.close()


# ---------------------------------------------------------------- copies


def test_the_constructor_only_stores():
    mapping = OPUMap(100)
    assert mapping.get_params()["opu"] is None and "_made" not in vars(mapping)
    assert mapping.opu is mapping.opu and mapping.get_params()["opu"] is None
    assert mapping.opu.n_components == 100


@pytest.mark.parametrize("give_opu", [False, True])
def test_clone_and_deepcopy_use_the_same_device(give_opu):
    x = bits(6, 60)
    mapping = OPUMap(100, opu=OPU(10) if give_opu else None).fit(x)
    for other in (clone(mapping), copy.deepcopy(mapping), clone(clone(OPUMap(100)).set_params(opu=mapping.opu))):
        assert other.opu.device is mapping.opu.device
        assert other.opu is not mapping.opu or other.get_params()["opu"] is not None
    assert not clone(mapping).fitted and copy.deepcopy(mapping).fitted
    wide = clone(mapping).set_params(n_components=200).fit(x)
    assert mapping.transform(x).shape == (6, 100) and wide.transform(x).shape == (6, 200)


def test_clones_of_an_unused_map_share_a_device_but_not_with_another_seed():
    mapping = OPUMap(100)
    one, two, third = clone(mapping), clone(mapping), clone(mapping).set_params(seed=1)
    assert one.opu.device is two.opu.device and one.opu is not two.opu
    assert third.opu.device is not one.opu.device and third.opu.device.seed == 1
    one.set_params(seed=1)
    assert one.opu.device.seed == 1


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("way", ["pickle", "joblib"])
def test_a_map_that_has_travelled_gives_the_counts_of_the_first_one(linear, way, tmp_path):
    """Of the same frames: the fit, its exposure and what was measured for it travel, and so does the encoder's."""
    x = np.random.default_rng(0).normal(size=(9, 30))
    mapping = OPUMap(120, linear=linear, encoder=MultiThresholdEncoder(n_bins=4), seed=4).fit(x)
    if linear:
        mapping.opu.calibrate(store=False)
    mapping.transform(x)
    if way == "pickle":
        other = pickle.loads(pickle.dumps(mapping))
    else:
        joblib.dump(mapping, tmp_path / "map.joblib")
        other = joblib.load(tmp_path / "map.joblib")
    assert other.opu.device is other.opu_.device is not mapping.opu.device
    for _ in range(2):
        assert np.array_equal(other.transform(x), mapping.transform(x))
    assert other.opu.bench.clock == mapping.opu.bench.clock


@pytest.mark.parametrize("give_opu", [False, True])
def test_pickle(give_opu):
    x = bits(6, 60)
    mapping = OPUMap(100, opu=OPU(10, device="ideal") if give_opu else None, device="ideal")
    fresh = pickle.loads(pickle.dumps(mapping))
    y = mapping.fit(x).transform(x)
    again = pickle.loads(pickle.dumps(mapping))
    assert again.fitted and np.array_equal(again.transform(x), y)
    assert again.opu.device is again.opu_.device
    assert not fresh.fitted and np.array_equal(fresh.fit(x).transform(x), y)


# ---------------------------------------------------------------- inside scikit-learn


def labelled(n=120, d=60):
    x = bits(n, d)
    return x, (x[:, : d // 2].sum(axis=1) > x[:, d // 2 :].sum(axis=1)).astype(int)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_grid_search(n_jobs):
    x, y = labelled()
    pipeline = make_pipeline(OPUMap(50), RidgeClassifier())
    grid = {"opumap__n_components": [30, 300], "ridgeclassifier__alpha": [1.0, 1e6]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(x, y)
    assert search.best_params_["opumap__n_components"] in (30, 300)
    best = search.best_estimator_
    assert best[0].transform(x).shape[1] == search.best_params_["opumap__n_components"]
    assert best.score(x, y) > 0.8
    if n_jobs == 1:
        assert best[0].opu.device is clone(pipeline)[0].opu.device


def test_grid_search_over_encoder_and_shared_opu():
    x, y = labelled()
    x = x + np.random.default_rng(1).normal(0, 0.1, x.shape)
    pipeline = make_pipeline(OPUMap(200, opu=OPU(10), encoder=Binarizer()), RidgeClassifier())
    grid = {"opumap__encoder__threshold": [-5.0, 0.5]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all ones: many mirrors on
        search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(x, y)
    assert search.best_params_ == {"opumap__encoder__threshold": 0.5}


def test_pandas_in_and_out():
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(bits(6, 4), columns=list("abcd"))
    mapping = OPUMap(30, device="ideal").set_output(transform="pandas").fit(x)
    y = mapping.transform(x)
    assert list(mapping.feature_names_in_) == list("abcd")
    assert list(y.columns) == [f"opumap{i}" for i in range(30)] and y.shape == (6, 30)
    assert np.array_equal(y.to_numpy(), OPUMap(30, device="ideal").fit_transform(x.to_numpy()))
    with pytest.raises(ValueError, match="feature names"):
        mapping.transform(x[list("dcba")])


def test_feature_names_out():
    mapping = OPUMap(3).fit(bits(5, 60))
    assert list(mapping.get_feature_names_out()) == ["opumap0", "opumap1", "opumap2"]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array, sparse.coo_matrix])
def test_sparse_is_refused(make):
    x = bits(6, 60)
    for call in (OPUMap(100).fit, OPUMap(100).fit(x).transform):
        with pytest.raises(TypeError, match="sparse.*toarray"):
            call(make(x))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"ndims": 3}, ValueError, "ndims is 3, but it must be 1 or 2"),
        ({"opu": "aurora"}, TypeError, "opu is 'aurora'.* must be an opusim.drivers.OPU"),
        ({"n_components": 0}, ValueError, "n_components is 0"),
        ({"n_components": 2.5}, TypeError, "n_components is 2.5"),
        ({"encoder": 3}, TypeError, "encoder is 3.*transform"),
        ({"decoder": "x"}, TypeError, "decoder is 'x'.*transform"),
        ({"device": "nowhere"}, ValueError, "nowhere"),
    ],
)
def test_bad_parameters_are_found_at_fit(arguments, error, match):
    mapping = OPUMap(**{"n_components": 100, **arguments})
    with pytest.raises(error, match=match):
        mapping.fit(bits(5, 60))
    assert not mapping.fitted


def test_other_features_than_in_the_fit():
    mapping = OPUMap(100).fit(bits(5, 60))
    with pytest.raises(ValueError, match="X has 50 features, but OPUMap is expecting 60"):
        mapping.transform(bits(5, 50))
    with pytest.raises(ValueError, match="may contain only 0 and 1"):
        mapping.transform(bits(5, 60) * 2)
    assert mapping.transform(bits(5, 60)).shape == (5, 100)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.int64, np.complex128, np.dtype("U3"), object]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_any_array_gives_counts_or_a_sentence(x):
    mapping = SHARED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y = clone(mapping).fit(x).transform(x)
        except (TypeError, ValueError) as error:
            assert len(str(error)) > 20
        else:
            assert y.shape == (*x.shape[:-1], 20)


SHARED = OPUMap(20, device="ideal")


# ---------------------------------------------------------------- under lightonml's names


def test_lightonml_names():
    x = bits(6, 60)
    mapping = LightonOPUMap(100)
    assert mapping.opu.n_components == 100 and isinstance(mapping.opu.device, OpuDevice)
    y = mapping.fit(x).transform(x)
    assert y.dtype == np.uint8 and y.shape == (6, 100)
    mapping.n_components = 70
    assert mapping.opu.n_components == 70 and mapping.transform(x).shape == (6, 70)
    assert clone(mapping).opu.device is mapping.opu.device
    assert pickle.loads(pickle.dumps(mapping)).transform(x).shape == (6, 70)
    opu = OPU(10)
    assert LightonOPUMap(80, opu).opu is opu and opu.n_components == 80


def test_lightonml_simulator():
    x = np.random.default_rng(0).normal(size=(6, 60)).astype(np.float32)
    mapping = LightonOPUMap(100, simulated=True, max_n_features=60)
    y = mapping.fit(x).transform(x)
    assert type(y) is np.ndarray and y.dtype == np.float32
    assert np.allclose(y, np.abs(x @ mapping.opu.device.random_matrix) ** 2, rtol=1e-4)
    other = LightonOPUMap(50, opu=mapping.opu, simulated=True, max_n_features=60).fit(x)
    assert other.transform(x).shape == (6, 50) and np.array_equal(mapping.transform(x), y)
    assert np.array_equal(pickle.loads(pickle.dumps(mapping)).transform(x), y)
    assert np.array_equal(clone(mapping).fit(x).transform(x), y)
    with pytest.raises(ValueError, match="max_n_features is None"):
        LightonOPUMap(100, simulated=True)
    with pytest.raises(ValueError, match="ndims is 3"):
        LightonOPUMap(100, ndims=3)
    with pytest.warns(UserWarning, match="simulated is False"):
        LightonOPUMap(100, opu=mapping.opu)


def test_an_online_map_and_a_batch_map_share_an_opu():
    """Each keeps its own mode: the batch map takes batches, the online map refuses them, whichever was fitted last."""
    x = bits(12, 60)
    opu = OPU(50, device="ideal")
    batch, online = OPUMap(50, opu=opu).fit(x), OPUMap(50, opu=opu)
    online.fit(n_features=60, online=True)
    y = batch.transform(x)
    assert y.shape == (12, 50) and np.array_equal(online.transform(x[3]), y[3])
    batch.fit(x)
    with pytest.raises(NotReadyError, match="only single vectors"):
        online.transform(x)
    assert np.array_equal(online.transform(x[3]), y[3])
