"""Patterns whose bits lie in a tensor: kept where they are, checked there, read by numpy where that is needed."""

from __future__ import annotations

import numpy as np
import pytest

from opusim.bench.bench import OpticalBench
from opusim.bench.inputs import checked_mirrors
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

torch = pytest.importorskip("torch")

LAYOUT = MirrorLayout.lined((912, 1140), 50)
BITS = np.random.default_rng(0).integers(0, 2, (6, 50), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_a_tensor_stays_one(dtype):
    tensor = torch.from_numpy(BITS).to(dtype)
    patterns = MirrorPatterns(tensor, LAYOUT)
    assert isinstance(patterns.bits, torch.Tensor) and patterns.bits.dtype == torch.uint8
    assert patterns.bits.data_ptr() == tensor.data_ptr()
    assert len(patterns) == 6 and len(MirrorPatterns(tensor[0], LAYOUT)) == 1
    assert torch.equal(patterns[2:5].bits, torch.from_numpy(BITS[2:5]))
    assert torch.equal(MirrorPatterns(tensor.t().contiguous().t(), LAYOUT).bits, torch.from_numpy(BITS))
    assert not MirrorPatterns(torch.zeros((0, 50), dtype=dtype), LAYOUT).bits.numel()


def test_what_reads_mirrors_reads_those_of_the_array():
    patterns, plain = MirrorPatterns(torch.from_numpy(BITS), LAYOUT), MirrorPatterns(BITS, LAYOUT)
    for name in ("host_bits", "to_mirrors", "packed", "count_on"):
        assert np.array_equal(getattr(patterns, name)(), getattr(plain, name)())
    layout, bits = checked_mirrors(patterns, LAYOUT.dmd_shape)
    assert layout == LAYOUT and isinstance(bits, np.ndarray) and np.array_equal(bits, BITS)
    assert checked_mirrors(patterns, LAYOUT.dmd_shape, on_device=True)[1] is patterns.bits
    assert isinstance(checked_mirrors(plain, LAYOUT.dmd_shape, on_device=True)[1], np.ndarray)


@pytest.mark.slow
def test_exposures_take_tensors():
    patterns, plain = MirrorPatterns(torch.from_numpy(BITS), LAYOUT), MirrorPatterns(BITS, LAYOUT)
    roi = (500, 0, 4, 100)
    frames = [OpticalBench("aurora").expose(p, exposure_s=4e-4, roi=roi) for p in (patterns, plain)]
    assert isinstance(frames[0], np.ndarray) and np.array_equal(*frames)
    bare = torch.from_numpy(LAYOUT.mirrors(BITS))
    frames = [OpticalBench("aurora").expose(m, exposure_s=4e-4, roi=roi) for m in (bare, bare.numpy())]
    assert np.array_equal(*frames)
    planes = [OpticalBench("aurora").inspect(p[:1], exposure_s=4e-4, roi=roi) for p in (patterns, plain)]
    assert np.array_equal(planes[0].counts, planes[1].counts)


@pytest.mark.parametrize(
    ("bits", "error", "match"),
    [
        (torch.full((2, 50), 3, dtype=torch.uint8), ValueError, "bits holds the value 3, but it may hold only 0 and 1"),
        (torch.zeros((2, 50)), TypeError, "bits has dtype torch.float32, but it must be uint8 or bool"),
        (torch.zeros((2, 49), dtype=torch.uint8), ValueError, r"bits has shape \(2, 49\), but it must be \(n, 50\)"),
        (torch.zeros((1, 2, 50), dtype=torch.bool), ValueError, r"bits has shape \(1, 2, 50\)"),
    ],
)
def test_bad_input(bits, error, match):
    with pytest.raises(error, match=match):
        MirrorPatterns(bits, LAYOUT)
