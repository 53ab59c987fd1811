"""Encoders and decoders: what each bit means, the way back, tensors, scikit-learn, bad input."""

from __future__ import annotations

import pickle
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from opusim import encoding
from opusim.encoding import (
    BaseTransformer,
    BinaryThresholdEncoder,
    ConcatenatedBitPlanEncoder,
    ConcatenatedFloat32Encoder,
    ConcatenatingBitPlanDecoder,
    Float32Encoder,
    MixingBitPlanDecoder,
    MultiThresholdEncoder,
    NoDecoding,
    NoEncoding,
    SeparatedBitPlanDecoder,
    SeparatedBitPlanEncoder,
    SequentialBaseTwoEncoder,
    preserve_type,
)

ENCODERS = [
    ConcatenatedBitPlanEncoder,
    Float32Encoder,
    ConcatenatedFloat32Encoder,
    BinaryThresholdEncoder,
    MultiThresholdEncoder,
    SequentialBaseTwoEncoder,
    SeparatedBitPlanEncoder,
]
FLOATS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(width=32, allow_nan=False)
)
MATRICES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


def float_bits(x: np.float32) -> str:
    """The 32 bits of a float, sign first, as text."""
    return f"{struct.unpack('>I', struct.pack('>f', x))[0]:032b}"


def as_text(bits: np.ndarray) -> str:
    return "".join(str(b) for b in bits)


@given(FLOATS)
def test_float_bits_are_those_of_the_standard(X):
    planes = Float32Encoder().transform(X)
    beside = ConcatenatedFloat32Encoder().transform(X)
    assert planes.dtype == beside.dtype == np.uint8
    assert planes.shape == (len(X) * 32, X.shape[1]) and beside.shape == (len(X), X.shape[1] * 32)
    for i, row in enumerate(X):
        for j, x in enumerate(row):
            assert as_text(planes[i * 32 : (i + 1) * 32, j]) == float_bits(x)
            assert as_text(beside[i, j * 32 : (j + 1) * 32]) == float_bits(x)


@given(st.booleans(), st.integers(0, 8), st.integers(0, 23))
def test_float_bits_that_are_kept_are_the_leading_ones(sign, exponent, mantissa):
    X = np.array([[1.2345e-7, -98.75]], dtype=np.float32)
    encoder = Float32Encoder(sign, exponent, mantissa)
    bits = encoder.transform(X)
    assert encoder.n_bits == len(bits) == sign + exponent + mantissa
    for j in range(2):
        text = float_bits(X[0, j])
        assert as_text(bits[:, j]) == text[:1] * sign + text[1 : 1 + exponent] + text[9 : 9 + mantissa]


def test_byte_order_in_memory_does_not_matter():
    X = np.array([[1.5, -2.25]], dtype=np.float32)
    assert np.array_equal(Float32Encoder().transform(X), Float32Encoder().transform(X.astype(">f4")))


def test_doubles_are_encoded_with_a_warning():
    X = np.array([[1.5, -0.1]])
    with pytest.warns(UserWarning, match="float64.*astype"):
        bits = ConcatenatedFloat32Encoder().transform(X)
    for j in range(2):
        assert as_text(bits[0, 32 * j :][:32]) == f"{struct.unpack('>Q', struct.pack('>d', X[0, j]))[0]:064b}"[:32]


@given(hnp.arrays(np.uint8, (3, 4)), st.integers(1, 8), st.integers(0, 7))
def test_bits_of_bytes_side_by_side(X, n_bits, start):
    encoder = ConcatenatedBitPlanEncoder(n_bits, start)
    if n_bits + start > 8:
        with pytest.raises(ValueError, match="8 bits"):
            encoder.transform(X)
        return
    bits = encoder.transform(X)
    for i, row in enumerate(X):
        assert as_text(bits[i]) == "".join(f"{x:08b}"[start : start + n_bits] for x in row)


def test_bits_of_two_bytes_come_low_byte_first():
    assert as_text(ConcatenatedBitPlanEncoder(16).transform(np.array([[0xABCD]], np.uint16))[0]) == (
        f"{0xCD:08b}{0xAB:08b}"
    )


@given(hnp.arrays(np.uint8, (3, 4)), st.integers(1, 8), st.integers(0, 7))
def test_planes_of_the_older_interface_begin_with_the_lowest_bit(X, n_bits, start):
    encoder = SeparatedBitPlanEncoder(n_bits=n_bits, starting_bit=start)
    assert (encoder.n_bits, encoder.starting_bit) == (n_bits, start)
    if n_bits + start > 8:
        with pytest.raises(ValueError, match="8 bits"):
            encoder.transform(X)
        return
    planes = encoder.transform(X).reshape(3, n_bits, 4)
    for k in range(n_bits):
        assert np.array_equal(planes[:, k], X >> (start + k) & 1)


def test_older_interface_there_and_back():
    X = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    encoder = SeparatedBitPlanEncoder(n_bits=8)
    planes = encoder.transform(X)
    assert encoder.get_params() == {"n_bits": 8}
    # from the lowest bit on, weights that double restore the numbers
    assert np.array_equal(MixingBitPlanDecoder(8, decoding_decay=2).transform(planes), X)


@given(hnp.arrays(np.uint8, (6, 3)), st.sampled_from([1, 2, 3, 6]), st.sampled_from([0.5, 0.25, 1.0]))
def test_plane_decoders_weigh_and_add(X, n_bits, decay):
    beside = ConcatenatingBitPlanDecoder(n_bits, decay).transform(X)
    mixed = MixingBitPlanDecoder(n_bits, decay).transform(X)
    assert beside.dtype == mixed.dtype == np.float32
    # these weights are powers of two: sums of bytes are exact
    weighted = [[X[i * n_bits + k] * decay**k for k in range(n_bits)] for i in range(6 // n_bits)]
    assert np.array_equal(beside, [np.concatenate(rows) for rows in weighted])
    assert np.array_equal(mixed, np.array([sum(rows) for rows in weighted]))


@given(MATRICES, st.integers(1, 8))
def test_separated_planes_and_back_within_half_a_level(X, precision):
    encoder = SeparatedBitPlanEncoder(precision=precision)
    planes = encoder.transform(X)
    assert planes.dtype == np.uint8 and planes.max(initial=0) <= 1
    sides = 2 if X.min() < 0 < X.max() else 1
    assert planes.shape == (len(X) * precision * sides, X.shape[1])
    restored = SeparatedBitPlanDecoder(**encoder.get_params()).transform(planes)
    assert restored.shape == X.shape and restored.dtype == np.float64
    steps = 2**precision - 1
    for part, size in ((X > 0, X.max()), (X < 0, -X.min())):
        assert (np.abs(restored - X)[part] <= size / steps / 2 * (1 + 1e-9) + 1e-300).all()
    assert (restored[X == 0] == 0).all()


@given(hnp.arrays(np.uint8, (3, 4), elements=st.integers(0, 63)))
def test_integers_that_fit_are_restored_exactly(X):
    for dtype in (np.uint8, np.int16, np.int64):
        signed = X.astype(dtype) if dtype is np.uint8 else X.astype(dtype) - 20
        encoder = SeparatedBitPlanEncoder(precision=6)
        planes = encoder.transform(signed)
        assert np.array_equal(SeparatedBitPlanDecoder(**encoder.get_params()).transform(planes), signed)


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 65535), (bool, 1)])
def test_the_largest_number_of_a_type_is_encoded(dtype, top):
    encoder = SeparatedBitPlanEncoder(precision=8)
    planes = encoder.transform(np.array([[top, 0]]).astype(dtype))
    assert planes[:, 1].sum() == 0 and planes[0, 0] == 1
    restored = SeparatedBitPlanDecoder(**encoder.get_params()).transform(planes)
    assert restored[0, 0] == pytest.approx(top, rel=1 / 256)


def test_decoding_goes_with_any_linear_device():
    rng = np.random.default_rng(1)
    X, M = rng.normal(size=(6, 40)), rng.normal(size=(40, 5))
    encoder = SeparatedBitPlanEncoder(precision=8)
    rows = encoder.transform(X) @ M
    Y = SeparatedBitPlanDecoder(**encoder.get_params()).transform(rows)
    # each of 40 entries is off by at most half a level
    bound = np.abs(X).max() / 255 / 2 * np.abs(M).sum(axis=0)
    assert (np.abs(Y - X @ M) <= bound).all()


@given(MATRICES, st.floats(-100, 100))
def test_one_threshold(X, threshold):
    assert np.array_equal(BinaryThresholdEncoder(threshold).transform(X), np.where(X > threshold, 1, 0))
    below = BinaryThresholdEncoder(threshold, greater_is_one=False).transform(X)
    assert np.array_equal(below, np.where(X < threshold, 1, 0)) and below.dtype == np.uint8


def test_threshold_of_each_feature_is_its_median():
    X = np.arange(15).reshape(5, 3) * np.array([1, 2, 3])
    encoder = BinaryThresholdEncoder()
    bits = encoder.fit_transform(X)
    assert encoder.threshold_enc.tolist() == [6, 14, 24]
    assert bits.sum(axis=0).tolist() == [2, 2, 2]
    # a second fit looks at the new data
    assert encoder.fit(X + 1).threshold_enc.tolist() == [7, 15, 25]


def test_threshold_outside_the_data_warns_and_prints_nothing(capsys):
    with pytest.warns(UserWarning, match="outside the range"):
        BinaryThresholdEncoder(7).fit(np.zeros((3, 2)))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("rule", ["linspace", "quantiles"])
def test_thermometer_code_of_even_data(rule):
    X = np.arange(1001.0)[:, None] @ np.ones((1, 2))
    encoder = MultiThresholdEncoder(rule, n_bins=4)
    assert encoder.fit(X).thresholds == pytest.approx([250, 500, 750])
    bits = encoder.transform(np.array([[100.0, 300.0], [600.0, 900.0]]))
    # first all features against the lowest threshold
    assert bits.tolist() == [[0, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1]]


def test_thresholds_of_each_feature():
    encoder = MultiThresholdEncoder("linspace", n_bins=2, columnwise=True)
    X = np.array([[0.0, 0.0], [10.0, 1000.0]])
    assert encoder.fit(X).thresholds.tolist() == [[5], [500]] and encoder.thresholds.dtype == np.float32
    assert encoder.transform([[6, 6]]).tolist() == [[1, 0]]
    given_ones = MultiThresholdEncoder([[1, 2], [3, 4]], columnwise=True)
    assert given_ones.n_bins == 3 and given_ones.fit(X) is given_ones
    assert given_ones.transform([[2, 4]]).tolist() == [[1, 1, 0, 0]]


@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(-50, 50)), st.sampled_from([2, 4, 16, 256]))
def test_base_two_counts_as_many_ones_as_the_level(X, levels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal numbers
        encoder = SequentialBaseTwoEncoder(levels).fit(X)
    bits = encoder.transform(X).reshape(4, 3, levels - 1)
    level = encoder.normalize(X)
    # bit k is repeated 2^k times, so that the ones add up to the number
    assert np.array_equal(bits.sum(axis=2), level)
    if encoder.scale > 1e-6:
        assert np.abs(level - (X - X.min()) / np.ptp(X) * (levels - 1)).max() <= 0.5 + 1e-9


def test_base_two_example():
    encoder = SequentialBaseTwoEncoder(8).fit(np.arange(8.0))
    assert as_text(encoder.transform([[5.0, 0.0]])[0]) == "1111001" + "0000000"
    assert encoder.n_bits == 3 and encoder.transform([[-4.0, 99.0]]).tolist() == [[0] * 7 + [1] * 7]


def test_base_two_says_that_bytes_wrap_around():
    X = np.arange(0, 256, 5, dtype=np.uint8)[:, None]
    with pytest.warns(UserWarning, match="uint8.*wraps around.*astype"):
        SequentialBaseTwoEncoder(16).fit(X).transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bits = SequentialBaseTwoEncoder(16).fit(X.astype(float)).transform(X.astype(float))
    assert bits.sum(axis=1).tolist() == np.round(X[:, 0] * (15 / 255)).tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_base_two_says_in_fit_that_the_range_wraps_around(dtype):
    limits = np.iinfo(dtype)
    X = np.array([[limits.min, 0], [limits.max, 1]], dtype)
    with pytest.warns(UserWarning, match="this range wraps around in int.*astype") as found:
        SequentialBaseTwoEncoder().fit(X)
    assert len(found) == 1  # and not that all numbers are equal
    level = SequentialBaseTwoEncoder().fit(X.astype(float)).normalize(X.astype(float))
    assert level.tolist() == [[0, 8], [15, 8]] or dtype is np.int64 and level[:, 0].tolist() == [0, 15]


@pytest.mark.parametrize(("dtype", "largest"), [(np.float64, 1.7e308), (np.float32, 3.4e38), (np.float16, 6e4)])
@pytest.mark.parametrize("levels", [2, 16, 256])
def test_base_two_of_large_numbers(dtype, largest, levels):
    """Levels are what they are for small numbers, up to the largest range that a type holds."""
    X = np.array([[0.0, 0.31, 0.71], [1.0, 0.45, 0.2]])
    encoder = SequentialBaseTwoEncoder(levels).fit((X * largest).astype(dtype))
    assert np.array_equal(encoder.normalize((X * largest).astype(dtype)), np.round(X * (levels - 1)))
    assert encoder.normalize(np.array([[np.inf, -np.inf]], dtype)).tolist() == [[levels - 1, 0]]
    both = ((X - 0.5) * 2 * largest).astype(dtype)
    with pytest.raises(ValueError, match=f"X reaches from -.* to .*, but {np.dtype(dtype)} must hold its range"):
        SequentialBaseTwoEncoder(levels).fit(both)


@pytest.mark.parametrize("X", [[[7, 300]], [[7, -1]], [[7, 256]], np.array([[0.0, 0.5]])])
def test_numbers_of_more_bits_than_are_kept_are_told(X):
    X = np.array(X)
    with pytest.warns(UserWarning, match=rf"X\[0, 1\] is {X[0, 1]}, and 8 of the 64 bits of {X.dtype}") as found:
        ConcatenatedBitPlanEncoder(n_bits=8).transform(X)
    assert found[0].filename == __file__


def test_what_is_kept_whole_or_cut_on_purpose_is_no_warning():
    numbers = np.array([[0, 255], [7, 128]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bits = ConcatenatedBitPlanEncoder(n_bits=8).transform(numbers)
        assert np.array_equal(bits, ConcatenatedBitPlanEncoder(n_bits=8).transform(numbers.astype(np.uint8)))
        ConcatenatedBitPlanEncoder(n_bits=4).transform(numbers)
        ConcatenatedBitPlanEncoder(n_bits=8, starting_bit=8).transform(np.array([[0x1234]], np.uint16))
        ConcatenatedBitPlanEncoder(n_bits=64).transform(np.array([[0.5, -3.0]]))
        SeparatedBitPlanEncoder(n_bits=8).transform(numbers.astype(np.uint8))
    # Planes of lightonml 1.3 begin with the last byte of memory: of a wider type, it is 0.
    with pytest.warns(UserWarning, match=r"X\[0, 1\] is 255, and 8 of the 64 bits .* last first") as found:
        SeparatedBitPlanEncoder(n_bits=8).transform(numbers)
    assert found[0].filename == __file__


@pytest.mark.parametrize(
    ("decoder", "X"),
    [
        (MixingBitPlanDecoder(2), np.full((2, 3), 3e38, np.float32)),
        (MixingBitPlanDecoder(2), np.full((2, 3), 1.5e308)),
        (MixingBitPlanDecoder(16), np.full((16, 3), 1e300)),
        (MixingBitPlanDecoder(2, 1e30), np.full((2, 3), 1e9, np.float32)),
        (ConcatenatingBitPlanDecoder(2), np.full((2, 3), 1e300)),
        (SeparatedBitPlanDecoder(2, 1e300, 1e300), np.full((4, 3), 1e300)),
        (SeparatedBitPlanDecoder(2), np.full((2, 3), 1.5e308)),
    ],
)
def test_decoded_numbers_beyond_the_type_are_told(decoder, X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="what is decoded is beyond what float(32|64) holds"):
            decoder.transform(X)
        assert np.isfinite(decoder.transform(X / X.max())).all()


def test_nothing_is_done_by_the_two_that_do_nothing():
    X = object()
    assert NoEncoding().fit(X).transform(X) is X
    assert NoDecoding(precision=3, magnitude_p=1.0).transform(X) is X


# Tensors


def test_tensors_give_what_arrays_give():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    for dtype in (torch.float32, torch.float64, torch.uint8, torch.int16, torch.bool):
        tensor = torch.from_numpy(rng.normal(size=(8, 5)) * 40).to(dtype)
        for cls in ENCODERS:
            if cls in (Float32Encoder, ConcatenatedFloat32Encoder) and dtype.itemsize < 4:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = cls().fit(tensor).transform(tensor)
                expected = cls().fit(tensor.numpy()).transform(tensor.numpy())
            assert isinstance(result, torch.Tensor) and result.dtype == torch.uint8
            assert np.array_equal(result.numpy(), expected)
        for decoder in (ConcatenatingBitPlanDecoder(4), MixingBitPlanDecoder(4), SeparatedBitPlanDecoder(4)):
            assert np.array_equal(decoder.transform(tensor).numpy(), decoder.transform(tensor.numpy()))


def test_tensors_of_any_kind():
    torch = pytest.importorskip("torch")
    plain = torch.arange(12.0).reshape(3, 4)
    expected = Float32Encoder().transform(plain)
    with_gradient = plain.clone().requires_grad_()
    assert torch.equal(Float32Encoder().transform(with_gradient), expected)
    assert torch.equal(Float32Encoder().transform(torch.nn.Parameter(plain)), expected)
    assert not Float32Encoder().transform(with_gradient).requires_grad
    assert torch.equal(Float32Encoder().transform(plain.t().contiguous().t()), expected)
    assert torch.equal(Float32Encoder().transform(plain.to(torch.bfloat16)), expected)


def test_preserve_type_serves_methods_of_others():
    torch = pytest.importorskip("torch")

    class Flip(BaseTransformer):
        @preserve_type
        def transform(self, X, axis=1):
            assert isinstance(X, np.ndarray)
            return np.flip(X, axis=axis)

    tensor = torch.tensor([[1, 2], [3, 4]])
    assert Flip().transform(tensor).tolist() == [[2, 1], [4, 3]]
    assert Flip().transform(tensor.numpy(), axis=0).tolist() == [[3, 4], [1, 2]]
    assert Flip().transform.__name__ == "transform"


# scikit-learn


def test_pipeline_clone_and_grid_search():
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 4))
    y = (X[:, 0] > 0).astype(int)
    for encoder in (BinaryThresholdEncoder(), MultiThresholdEncoder(), SequentialBaseTwoEncoder()):
        pipeline = clone(Pipeline([("bits", encoder), ("classify", LogisticRegression())]))
        assert pipeline.fit(X, y).score(X, y) > 0.9
    pipeline = Pipeline([("bits", MultiThresholdEncoder()), ("classify", LogisticRegression())])
    search = GridSearchCV(pipeline, {"bits__n_bins": [2, 6], "bits__thresholds": ["linspace", "quantiles"]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.8
    assert search.best_estimator_["bits"].n_bins in (2, 6)


@pytest.mark.parametrize("cls", ENCODERS)
def test_clones_have_learnt_nothing_and_copies_everything(cls):
    from sklearn.base import clone

    X = np.random.default_rng(4).normal(size=(10, 3)).astype(np.float32)
    encoder = cls().fit(X)
    bits = encoder.transform(X)
    assert np.array_equal(pickle.loads(pickle.dumps(encoder)).transform(X), bits)
    assert repr(clone(encoder)) == repr(cls()) == repr(encoder)
    assert np.array_equal(clone(encoder).fit(X).transform(X), bits)
    if cls in (BinaryThresholdEncoder, MultiThresholdEncoder, SequentialBaseTwoEncoder):
        with pytest.raises(RuntimeError):
            clone(encoder).transform(X)


def test_only_one_encoder_hands_parameters_to_a_decoder():
    """An OPU gives what get_params returns to the decoder's class, NoDecoding by default."""
    assert [cls for cls in ENCODERS if hasattr(cls, "get_params")] == [SeparatedBitPlanEncoder]
    assert SeparatedBitPlanEncoder().get_params() == {"precision": 6, "magnitude_p": None, "magnitude_n": None}


def test_parameters_can_be_set():
    assert ConcatenatedBitPlanEncoder().set_params(n_bits=3).transform(np.array([[255]], np.uint8)).size == 3
    with pytest.raises(ValueError, match="no parameter 'bits'.*n_bits"):
        ConcatenatedBitPlanEncoder().set_params(bits=3)


# Bad input


@pytest.mark.parametrize(
    "make, types, words",
    [
        (lambda: ConcatenatedBitPlanEncoder(n_bits=0), ValueError, "n_bits is 0"),
        (lambda: ConcatenatedBitPlanEncoder(starting_bit=-1), ValueError, "starting_bit is -1"),
        (lambda: ConcatenatedBitPlanEncoder(n_bits=2.5), TypeError, "n_bits is 2.5"),
        (lambda: Float32Encoder(exp_bits=9), ValueError, "exp_bits is 9.*from 0 to 8"),
        (lambda: ConcatenatedFloat32Encoder(mantissa_bits=24), ValueError, "mantissa_bits is 24"),
        (lambda: BinaryThresholdEncoder("median"), ValueError, "threshold_enc is 'median'"),
        (lambda: MultiThresholdEncoder("quantile"), ValueError, "thresholds is 'quantile'.*'quantiles'"),
        (lambda: MultiThresholdEncoder([1, 2], columnwise=True), ValueError, "columnwise=True"),
        (lambda: MultiThresholdEncoder([[1, 2], [3]]), ValueError, "one length"),
        (lambda: MultiThresholdEncoder([]), ValueError, "one at least"),
        (lambda: MultiThresholdEncoder(n_bins=1), ValueError, "n_bins is 1"),
        (lambda: SequentialBaseTwoEncoder(12), (AssertionError, ValueError), "n_gray_levels is 12.*power of 2"),
        (lambda: SequentialBaseTwoEncoder(512), (AssertionError, ValueError), "from 1 to 256"),
        (lambda: SequentialBaseTwoEncoder(8.0), (AssertionError, TypeError), "8.0 .float."),
        (lambda: SeparatedBitPlanEncoder(9), (AssertionError, ValueError), "precision is 9.*from 1 to 8"),
        (lambda: SeparatedBitPlanEncoder(n_bits=0), ValueError, "n_bits is 0"),
        (lambda: SeparatedBitPlanDecoder(0), ValueError, "precision is 0"),
        (lambda: MixingBitPlanDecoder(3).transform(np.ones((4, 2))), ValueError, "4 rows.*n_bits = 3"),
        (lambda: SeparatedBitPlanDecoder(3, 1, 1).transform(np.ones((9, 2))), ValueError, "9 rows.*multiple of 6"),
        (lambda: SeparatedBitPlanDecoder(3, None, None).transform(np.ones((9, 2))), TypeError, "magnitude_p is None"),
        (lambda: BinaryThresholdEncoder().transform([[1]]), RuntimeError, "fit must be called"),
        (lambda: MultiThresholdEncoder().transform([[1]]), (RuntimeError, AttributeError), "fit must be called"),
        (lambda: SequentialBaseTwoEncoder().transform([[1]]), (AssertionError, RuntimeError), "fit must be called"),
        (lambda: SequentialBaseTwoEncoder().fit([[np.inf]]), ValueError, "finite"),
        (lambda: BinaryThresholdEncoder().fit(np.eye(3)).transform(np.eye(2)), ValueError, "shape .2, 2."),
        (lambda: MultiThresholdEncoder([[1], [2]]).transform(np.eye(3)), ValueError, "3 features.*for 2"),
        (lambda: SeparatedBitPlanEncoder().transform([[1.0, np.nan]]), ValueError, r"X\[0, 1\] is nan"),
        (lambda: SeparatedBitPlanEncoder().transform(np.ones((0, 3))), ValueError, "at least one number"),
        (lambda: Float32Encoder().transform(np.ones((2, 2), np.uint8)), (ValueError, IndexError), "8 bits"),
        (lambda: BaseTransformer().transform([[1]]), NotImplementedError, "no method transform"),
    ],
)
def test_refusals_are_sentences(make, types, words):
    for kind in types if isinstance(types, tuple) else (types,):
        with pytest.raises(kind, match=words) as error:
            make()
        assert str(error.value).endswith(".")


def test_arguments_that_are_not_used_are_named():
    with pytest.warns(UserWarning, match="presicion"):
        SeparatedBitPlanEncoder(presicion=3)


@pytest.mark.parametrize("cls", ENCODERS)
@pytest.mark.parametrize("X", [None, "text", [[1, 2], [3]], [[1j]], [["a"]], [[None]], {"a": 1}])
def test_what_is_no_array_of_numbers_is_refused(cls, X):
    for kind in (TypeError, ValueError):
        with pytest.raises(kind, match="X is a|X is None"):
            cls().fit(np.array([[1.0], [2.0]])).transform(X)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("cls", ENCODERS)
def test_nan_is_refused_by_every_encoder(cls, dtype):
    good = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=dtype)
    bad = good.copy()
    bad[1, 0] = np.nan
    encoder = cls().fit(good)
    with pytest.raises(ValueError, match=r"X\[1, 0\] is nan, but .*must be") as error:
        encoder.transform(bad)
    assert str(error.value).endswith(".")
    if "fit" in vars(cls):
        with pytest.raises(ValueError, match=r"X\[1, 0\] is nan, but"):
            cls().fit(bad)


@pytest.mark.parametrize(
    "encoder",
    [BinaryThresholdEncoder(0.5), BinaryThresholdEncoder(0.5, False), MultiThresholdEncoder([0.5, 2.0])],
    ids=repr,
)
def test_nan_is_refused_where_thresholds_are_given_and_infinity_is_above_all(encoder):
    for call in (encoder.fit, encoder.transform):
        with pytest.raises(ValueError, match=r"X\[0, 1\] is nan"):
            call(np.array([[1.0, np.nan]]))
    bits = encoder.transform(np.array([[np.inf], [-np.inf]]))
    above = np.array([[1], [0]]) ^ (not getattr(encoder, "greater_is_one", True))
    assert np.array_equal(bits, np.repeat(above, bits.shape[1], axis=1))


def test_a_threshold_that_is_nan_is_refused():
    for make in (BinaryThresholdEncoder, lambda threshold: MultiThresholdEncoder([1.0, threshold])):
        with pytest.raises(ValueError, match="threshold.* is (NaN|nan)"):
            make(np.nan)


@pytest.mark.parametrize("rule", ["linspace", "quantiles"])
@pytest.mark.parametrize("columnwise", [False, True])
def test_thresholds_come_from_finite_data(rule, columnwise):
    with pytest.raises(ValueError, match=r"X\[1, 0\] is inf"):
        MultiThresholdEncoder(rule, columnwise=columnwise).fit(np.array([[1.0], [np.inf]]))


@pytest.mark.parametrize("cls", [c for c in ENCODERS if c not in (BinaryThresholdEncoder, SeparatedBitPlanEncoder)])
@given(X=hnp.arrays(np.float32, hnp.array_shapes(max_dims=4, max_side=3), elements=st.floats(-9, 9, width=32)))
def test_two_dimensions_or_a_clear_error(cls, X):
    encoder = cls().fit(np.array([[1.0], [2.0]]))
    if X.ndim == 2:
        bits = encoder.transform(X)
        assert bits.dtype == np.uint8 and set(np.unique(bits)) <= {0, 1}
    else:
        with pytest.raises(ValueError, match="two dimensions"):
            encoder.transform(X)


@given(
    hnp.arrays(
        st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.boolean_dtypes(), hnp.floating_dtypes()),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=4),
    )
)
def test_any_numbers_give_bits_or_an_error_of_ours(X):
    for cls in ENCODERS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bits = cls().fit(X).transform(X)
        except ValueError as error:
            assert str(error).endswith(".")
            continue
        assert bits.dtype == np.uint8 and set(np.unique(bits)) <= {0, 1}


def test_every_public_name_is_in_base():
    from opusim.encoding import base

    assert set(encoding.__all__) == set(base.__all__)
    assert all(getattr(encoding, name) is getattr(base, name) for name in base.__all__)
