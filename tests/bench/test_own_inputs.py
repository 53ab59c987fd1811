"""A bench whose medium has inputs of its own: where they lie, their light, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from laboratory_bench import MIRRORS, Numbers
from measured_device import measured_device, write_matrix
from opusim import OPU
from opusim.bench.bench import OpticalBench
from opusim.bench.protocol import input_layout_of
from opusim.drivers import OpuDevice
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

ROI = (0, 0, 20, 30)
EXPOSURE_S = 400e-6


def bench_of(tmp_path, inputs, background=0.0, **changes):
    tm, off = write_matrix(tmp_path / "tm.h5", 600, inputs, background)
    return OpticalBench(measured_device(tmp_path / "tm.h5", **changes)), tm, off


def test_inputs_lie_in_line_on_all_mirrors(tmp_path):
    bench, _, _ = bench_of(tmp_path, 256)
    assert bench.input_layout == input_layout_of(bench) == MirrorLayout.lined((60, 76), 256)
    assert bench.input_layout.mirrors_per_feature == 60 * 76 // 256
    assert OpticalBench("ideal").input_layout is None and input_layout_of(object()) is None
    bench, _, _ = bench_of(tmp_path, 5000)  # more than mirrors: the first ones, a mirror each
    assert bench.input_layout.n_features_total == 60 * 76


@pytest.mark.parametrize("inputs", [256, 1024, 2000])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_light_is_that_of_the_mirrors_of_the_inputs_that_are_on(tmp_path, inputs, share):
    """|T x + b|^2 times the light of an input's mirrors, whatever the number of features in use.

    T is the file's over its rms and b in the same units (`MeasuredMedium`); a mirror's light is the bench's own
    `photons_per_intensity`, as of any medium. Single precision over 2 000 inputs: 1e-4.
    """
    bench, tm, off = bench_of(tmp_path, inputs, background=4.0)
    layout = bench.input_layout.first(int(share * inputs))
    bits = np.random.default_rng(1).integers(0, 2, (4, layout.n_features_total), dtype=np.uint8)
    counts = bench.expose(MirrorPatterns(bits, layout), exposure_s=EXPOSURE_S, roi=ROI).reshape(4, -1)
    rms = np.sqrt(np.mean(np.abs(tm.astype(complex)) ** 2))
    fields = (bits @ tm[:, : bits.shape[1]].T.astype(complex) + off) / rms
    camera = bench.device.camera
    photons = bench.photons_per_intensity(EXPOSURE_S) * (60 * 76 // inputs) * np.abs(fields) ** 2
    expected = photons * camera.quantum_efficiency * camera.gain_dn_per_e + camera.black_level_dn
    np.testing.assert_allclose(counts, expected, rtol=1e-4, atol=1e-4 * expected.mean())


@pytest.mark.parametrize("inputs", [256, 2000])
def test_expected_level_counts_mirrors_as_the_light_does(tmp_path, inputs):
    """Half of the light is one speckle, that of the mean pattern: 0.5 / sqrt(600) of 600 pixels; 6 % is three of it.

    All mirrors shared out over 2 000 inputs would be 14 % more than the two of each.
    """
    bench, _, _ = bench_of(tmp_path, inputs)
    layout = bench.input_layout.first(inputs // 2)
    bits = np.random.default_rng(2).integers(0, 2, (64, inputs // 2), dtype=np.uint8)
    shown = MirrorPatterns(bits, layout)
    level = bench.expose(shown, exposure_s=EXPOSURE_S, roi=ROI).mean(dtype=float)
    assert bench.expected_level_dn(shown.count_on().mean(), EXPOSURE_S) == pytest.approx(level, rel=0.06)


def test_light_that_is_shared_is_that_of_all_mirrors_over_those_in_use(tmp_path):
    """What version 1 did, a value `before`: no inputs of its own, so that half of the features are as bright as all."""
    bench, _, _ = bench_of(tmp_path, 256)
    old = OpticalBench(bench.device.evolve(**{"medium.input_light": "shared"}))
    assert old.input_layout is None
    levels = []
    for n in (256, 128):
        shown = MirrorPatterns(np.ones((1, n), np.uint8), MirrorLayout.lined((60, 76), n))
        levels.append(old.expose(shown, exposure_s=EXPOSURE_S, roi=ROI).mean(dtype=float))
    # Speckle of 600 pixels.
    assert levels[1] == pytest.approx(levels[0], rel=0.2)
    assert bench.device.fingerprint() != old.device.fingerprint()


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (np.zeros((1, 60, 76), np.uint8), r"are bare mirrors.* known for 40 inputs.*bench.input_layout\), with bits"),
        (
            MirrorPatterns(np.zeros((1, 41), np.uint8), MirrorLayout.lined((60, 76), 41)),
            "have 41 features.* known for 40 inputs.*at most 40 features",
        ),
    ],
    ids=["bare", "more"],
)
def test_patterns_without_a_place_are_refused_with_what_to_do(tmp_path, shown, words):
    bench, _, _ = bench_of(tmp_path, 40)
    for call in (bench.expose, bench.inspect):
        with pytest.raises(ValueError, match=words):
            call(shown, exposure_s=EXPOSURE_S, roi=ROI)
    with pytest.raises(ValueError, match=words):
        bench.transform(shown, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=7)
    assert bench.clock.frames == 0


class Part(Numbers):
    """A laboratory's bench whose beam lights a part of the mirrors."""

    input_layout = MirrorLayout.lined(MIRRORS, 100, (4, 6), (12, 20))


def test_a_laboratory_s_inputs_tell_its_level():
    """Light of its inputs' mirrors alone: mirrors that are always on belong to no input."""
    bench, seen = Part(), []
    bench.guards = False  # they are on the inputs too, and counted
    bench.show = lambda mirrors, **how: seen.append(mirrors) or Numbers.show(bench, mirrors, **how)
    bench.expected_level_dn(10, EXPOSURE_S)
    outside = np.ones(MIRRORS, bool)
    outside[4:16, 6:26] = False
    assert sum(map(len, seen)) == 9 and all(mirrors[:, outside].all() for mirrors in seen)


def test_a_laboratory_s_inputs_are_those_of_the_driver():
    with OPU(50, opu_device=OpuDevice(bench=Part())) as opu:
        opu.fit1d(n_features=60)
        assert opu.current_fit.layout == Part.input_layout.first(60)
        assert opu.transform(np.ones((3, 60), np.uint8)).shape == (3, 50)
        with pytest.raises(ValueError, match="n_features is 101, but this device has 100 inputs of its own"):
            opu.fit1d(n_features=101)
