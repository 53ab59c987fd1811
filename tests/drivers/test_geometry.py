"""Regions of interest and factors: lightonml's numbers. Those of the tables were computed with its 1.4.3 wheel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opusim.bench.region import checked_lightonml_roi
from opusim.drivers.input_region import InputRoi, format_of, make_layout
from opusim.drivers.output_region import OutputRoi
from opusim.drivers.types import FeaturesFormat, InputRoiStrategy, OutputRoiStrategy, as_member

SHAPE = (912, 1140)
RANGE = (52_000, 676_000)
FULL, SMALL, AUTO = InputRoiStrategy.full, InputRoiStrategy.small, InputRoiStrategy.auto

INPUT_TABLE = [
    # n_features, strategy, ones in a vector, region
    ((10000,), FULL, 5000, ((0, 0), (912, 1140))),
    ((10000,), SMALL, 5000, ((406, 520), (100, 100))),
    ((10000,), AUTO, 5000, ((0, 0), (912, 1140))),
    ((10000,), AUTO, 100, ((11, 14), (890, 1113))),
    ((1000,), AUTO, 1, ((12, 15), (889, 1111))),
    ((784,), AUTO, 30, ((3, 4), (906, 1133))),
    ((810000,), SMALL, 405000, ((6, 120), (900, 900))),
    ((810000,), AUTO, 405000, ((6, 120), (900, 900))),
    ((900000,), SMALL, 1000, ((0, 77), (912, 987))),
    ((519840,), AUTO, 100, ((134, 167), (645, 807))),
    ((28, 28), FULL, 150, ((8, 122), (896, 896))),
    ((28, 28), SMALL, 150, ((442, 556), (28, 28))),
    ((28, 28), AUTO, 150, ((8, 122), (896, 896))),
    ((100, 100), FULL, 5000, ((6, 120), (900, 900))),
    ((900, 900), FULL, 405000, ((6, 120), (900, 900))),
    ((9, 11), AUTO, 0, ((11, 26), (891, 1089))),
    ((10, 800), FULL, 10, ((451, 170), (10, 800))),
]
OUTPUT_TABLE = [
    # sensor, strategy, fewest pixels, n_components, region
    ((2040, 1088), 1, 0, 10000, ((0, 541), (2040, 5))),
    ((2040, 1088), 1, 130560, 10000, ((0, 512), (2040, 64))),
    ((2040, 1088), 1, 0, 200000, ((0, 494), (2040, 99))),
    ((2040, 1088), 1, 0, 1, ((0, 543), (2040, 1))),
    ((2040, 1088), 1, 0, 2219520, ((0, 0), (2040, 1088))),
    ((2048, 1088), 1, 0, 315000, ((0, 467), (2048, 154))),
    ((1920, 1080), 2, 0, 10000, ((893, 503), (134, 75))),
    ((1920, 1080), 2, 0, 1, ((959, 540), (2, 1))),
    ((1920, 1080), 2, 0, 2073600, ((0, 0), (1920, 1080))),
    ((1920, 1080), 2, 130560, 1000, ((719, 405), (482, 271))),
]


@pytest.mark.parametrize(("n_features", "strategy", "ones", "roi"), INPUT_TABLE)
def test_input_regions(n_features, strategy, ones, roi):
    assert InputRoi(SHAPE, RANGE).compute_roi(strategy, n_features, ones) == roi


@pytest.mark.parametrize(("shape", "strategy", "fewest", "n", "roi"), OUTPUT_TABLE)
def test_output_regions(shape, strategy, fewest, n, roi):
    assert OutputRoi(shape, OutputRoiStrategy(strategy), None, fewest).compute_roi(n) == roi


@pytest.mark.parametrize(
    ("n_features", "factor", "kind"),
    [
        ((10_000,), 103, FeaturesFormat.lined),
        ((1000,), 1039, FeaturesFormat.lined),
        ((810_000,), 1, FeaturesFormat.lined),
        ((900, 900), 1, FeaturesFormat.macro_2d),
        ((28, 28), 32, FeaturesFormat.macro_2d),
    ],
)
def test_factors_of_real_contexts(n_features, factor, kind):
    roi = InputRoi(SHAPE, RANGE).compute_roi(FULL, n_features)
    assert format_of(make_layout(SHAPE, n_features, roi)) == (kind, factor)


def test_ones_of_real_contexts():
    """Half-on inputs: about 514.7k for 10 000 features in line, 634.7k for 900 x 900."""
    regions = InputRoi(SHAPE, RANGE)
    line = make_layout(SHAPE, (10_000,), regions.compute_roi(FULL, (10_000,)))
    square = make_layout(SHAPE, (900, 900), regions.compute_roi(FULL, (900, 900)))
    bits = np.arange(10_000, dtype=np.uint8)[None] % 2
    assert line.count_on(bits) == 515_000
    assert square.n_always_on == 229_680
    assert square.count_on(np.arange(810_000, dtype=np.uint32)[None].astype(np.uint8) % 2) == 634_680


def test_plain_layout_for_as_many_features_as_mirrors():
    layout = make_layout(SHAPE, (1140, 912), None)
    assert format_of(layout) == (FeaturesFormat.none, 0)
    assert layout.roi_offset == (0, 0) and layout.roi_size == SHAPE
    with pytest.raises(ValueError, match="plain"):
        make_layout(SHAPE, (456, 2280), None)


features = st.one_of(st.tuples(st.integers(1, 1_039_679)), st.tuples(st.integers(1, 912), st.integers(1, 1140)))


@settings(max_examples=200, deadline=None)
@given(features, st.sampled_from([FULL, SMALL, AUTO]), st.floats(0, 1))
def test_every_region_holds_its_features(n_features, strategy, share):
    ones = share * math.prod(n_features)
    roi = InputRoi(SHAPE, RANGE).compute_roi(strategy, n_features, ones)
    layout = make_layout(SHAPE, n_features, None if math.prod(n_features) == 1_039_680 else roi)
    assert layout.n_features_total == math.prod(n_features)
    if strategy is AUTO and math.prod(n_features) <= 519_840:
        assert layout.n_always_on + int(ones * layout.mirrors_per_feature) >= RANGE[0]


@pytest.mark.parametrize("n_features", [(913, 1), (1, 1141), (30, 2000), (1_039_681,)])
@pytest.mark.parametrize("strategy", [FULL, SMALL, AUTO])
def test_features_that_do_not_fit(n_features, strategy):
    with pytest.raises(ValueError, match="n_features.*must fit"):
        InputRoi(SHAPE, RANGE).compute_roi(strategy, n_features, 10.0)


def test_auto_needs_data_and_ones():
    with pytest.raises(ValueError, match="auto needs data"):
        InputRoi(SHAPE, RANGE).compute_roi(AUTO, (100,))
    with pytest.raises(ValueError, match="too sparse"):
        InputRoi(SHAPE, (600_000, 676_000)).compute_roi(AUTO, (519_000,), 0.0)


def test_output_region_errors():
    with pytest.raises(ValueError, match="n_components is 2219521"):
        OutputRoi((2040, 1088), OutputRoiStrategy.mid_width).compute_roi(2_219_521)
    with pytest.raises(IndexError):
        OutputRoi((2040, 1088), OutputRoiStrategy.mid_width).compute_roi(2_219_521)
    with pytest.raises(ValueError, match="x = 0"):
        OutputRoi((2040, 1088), OutputRoiStrategy.mid_width, ((8, 0), (100, 100)))
    with pytest.raises(ValueError, match="minimum_output_size"):
        OutputRoi((20, 10), OutputRoiStrategy.mid_width, None, 200)


def test_regions_may_be_of_numpy_integers():
    roi = checked_lightonml_roi("output_roi", (np.array([0, 1]), [np.int64(5), np.int32(6)]), (10, 10))
    assert roi == ((0, 1), (5, 6)) and all(type(v) is int for pair in roi for v in pair)
    for bad in (None, 3, ((0, 0), (11, 1)), ((-1, 0), (2, 2)), ((0, 0), (0, 1)), ((0.5, 0), (1, 1)), ((0, 0), (1,))):
        with pytest.raises(ValueError, match="output_roi is"):
            checked_lightonml_roi("output_roi", bad, (10, 10))


def test_members_by_name_and_from_other_enums():
    from enum import Enum

    other = Enum("InputRoiStrategy", "full small auto")
    assert as_member("x", "SMALL", InputRoiStrategy) is SMALL
    assert as_member("x", other.auto, InputRoiStrategy) is AUTO
    for bad in ("fullest", 1, None, OutputRoiStrategy.mid_width):
        with pytest.raises(ValueError, match="strategy is .*InputRoiStrategy.full"):
            as_member("strategy", bad, InputRoiStrategy)
