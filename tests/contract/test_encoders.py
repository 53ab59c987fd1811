"""Our encoders and decoders against the real lightonml's: equal, bit for bit, where theirs run.

Theirs need `numpy.float`, which conftest.py restores for them.
"""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import VERSION

RNG = np.random.default_rng(0)
SIGNED = RNG.normal(size=(6, 5)).astype(np.float32)
POSITIVE = np.abs(SIGNED)
BYTES = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
SHORTS = RNG.integers(0, 60_000, (6, 5), dtype=np.uint16)
INTEGERS = RNG.integers(-20, 30, (6, 5))
PROJECTED = RNG.integers(0, 256, (48, 7), dtype=np.uint8)

CASES = [
    ("ConcatenatedBitPlanEncoder", {}, BYTES),
    ("ConcatenatedBitPlanEncoder", {"n_bits": 3, "starting_bit": 2}, BYTES),
    ("ConcatenatedBitPlanEncoder", {"n_bits": 12}, SHORTS),
    ("ConcatenatingBitPlanDecoder", {"n_bits": 8}, PROJECTED),
    ("ConcatenatingBitPlanDecoder", {"n_bits": 4, "decoding_decay": 0.3}, PROJECTED),
    ("Float32Encoder", {}, SIGNED),
    ("Float32Encoder", {"sign_bit": False, "exp_bits": 2, "mantissa_bits": 0}, SIGNED),
    ("Float32Encoder", {"sign_bit": True, "exp_bits": 5, "mantissa_bits": 10}, SIGNED),
    ("ConcatenatedFloat32Encoder", {}, SIGNED),
    ("ConcatenatedFloat32Encoder", {"sign_bit": True, "exp_bits": 2, "mantissa_bits": 3}, SIGNED),
    ("BinaryThresholdEncoder", {}, SIGNED),
    ("BinaryThresholdEncoder", {"threshold_enc": 0.3}, SIGNED),
    ("BinaryThresholdEncoder", {"threshold_enc": 100, "greater_is_one": False}, BYTES),
    ("MultiThresholdEncoder", {}, SIGNED),
    ("MultiThresholdEncoder", {"n_bins": 5, "columnwise": True}, SIGNED),
    ("MultiThresholdEncoder", {"thresholds": [0.1, 0.5, 0.7], "n_bins": 4}, SIGNED),
    ("MultiThresholdEncoder", {"thresholds": "quantiles", "n_bins": 4}, SIGNED),
    ("SequentialBaseTwoEncoder", {}, SIGNED),
    ("SequentialBaseTwoEncoder", {"n_gray_levels": 8}, INTEGERS),
]
CASES_OF_1_4 = [
    ("NoEncoding", {}, BYTES),
    ("NoDecoding", {}, PROJECTED),
    *[
        ("SeparatedBitPlanEncoder", {"precision": p}, x)
        for p in (1, 6, 8)
        for x in (SIGNED, POSITIVE, -POSITIVE, INTEGERS, BYTES)
    ],
    ("SeparatedBitPlanDecoder", {"precision": 6, "magnitude_p": 0.7, "magnitude_n": 0.4}, PROJECTED),
    ("SeparatedBitPlanDecoder", {"precision": 6, "magnitude_p": 0.7}, PROJECTED),
    ("SeparatedBitPlanDecoder", {"precision": 6, "magnitude_p": 0.0, "magnitude_n": 0.4}, PROJECTED),
]
# Before 1.4, SeparatedBitPlanEncoder was another one, which MixingBitPlanDecoder undoes.
CASES_OF_1_3 = [
    ("MixingBitPlanDecoder", {}, PROJECTED),
    ("MixingBitPlanDecoder", {"n_bits": 4, "decoding_decay": 0.25}, PROJECTED),
]


def label(case):
    name, arguments, x = case
    return f"{name}-{'-'.join(map(str, arguments.values()))}-{x.dtype}-{'neg' if x.min() < 0 else 'pos'}"


ALL = CASES + (CASES_OF_1_4 if VERSION >= (1, 4) else CASES_OF_1_3)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("case", ALL, ids=label)
def test_equal_bit_for_bit(case, kind):
    from lightonml.encoding import base as theirs

    from opusim.encoding import base as ours

    name, arguments, x = case
    if kind == "torch":
        torch = pytest.importorskip("torch")
        if x.dtype == np.uint16:
            x = x.astype(np.int32)
        x = torch.from_numpy(x.copy())
    their, our = (getattr(module, name)(**arguments) for module in (theirs, ours))
    if isinstance(arguments.get("thresholds"), list):
        pass  # theirs is fitted by its constructor, and compares the array with names in fit
    elif arguments.get("thresholds") == "quantiles":
        with pytest.raises(TypeError):  # an argument of numpy.quantile that is gone
            their.fit(np.asarray(x))
        assert our.fit(np.asarray(x)).transform(x).shape == (6, 15)
        return
    else:
        their.fit(np.asarray(x))
        our.fit(np.asarray(x))
    expected, got = their.transform(x), our.transform(x)
    assert type(got).__name__ == type(expected).__name__
    a, b = (np.asarray(v) for v in (got, expected))
    assert a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    if hasattr(their, "get_params"):
        assert our.get_params() == their.get_params()
