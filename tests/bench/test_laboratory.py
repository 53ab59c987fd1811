"""What a laboratory's own code returns is checked: frames that are lost, turned, old or of a buffer."""

from __future__ import annotations

import numpy as np
import pytest

from laboratory_bench import MIRRORS, Bare, Few, Numbers
from opusim import OPU
from opusim.bench.laboratory import FromExpose, LabDevice
from opusim.bench.returned import exposed
from opusim.calibration import find_exposure, measure_linear, measure_tm
from opusim.calibration.procedures.linear import demodulate
from opusim.drivers import OpuDevice
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

REGION = (3, 5, 20, 30)
# What is calibrated: at this exposure the reference alone gives 16 counts, half of the mirrors 4.
SMALL, EXPOSURE_S = (1, 2, 8, 12), 1e-3
LAYOUT = MirrorLayout.lined(MIRRORS, 64)
BITS = np.random.default_rng(3).integers(0, 2, (6, 64), dtype=np.uint8)
PATTERNS = MirrorPatterns(BITS, LAYOUT)


class Changed(Bare):
    """Its frames are changed before they are given away."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def expose(self, mirrors, **how):
        return self.change(self.inside.expose(mirrors, **how))


class ChangedShow(Numbers):
    """The same through `show` and `dark`."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def counts(self, light, roi):
        return self.change(super().counts(light, roi))


class Ragged(list):
    pass


def ragged(frames):
    return [frames[0].tolist(), frames[0, 0].tolist()]


WRONG = {
    "a frame is lost": (lambda f: f[:-1], "1 of them lost.*look at the trigger"),
    "three are lost": (lambda f: f[:-3] if len(f) > 3 else f[:-1], "of them lost, so that the others may belong"),
    "a frame too many": (lambda f: np.concatenate([f, f[:1]]), "1 of them too many"),
    "turned": (lambda f: np.swapaxes(f, 1, 2), "rows and columns are exchanged"),
    "nothing": (lambda f: None, "returned is None, but it must be an array of the shape"),
    "flat": (lambda f: f.reshape(len(f), -1), r"must be .*frames, rows, columns"),
    "masked": (lambda f: np.ma.masked_array(f, mask=f > 250), "is a masked array"),
    "ragged": (ragged, "no array"),
    "objects": (lambda f: f.astype(object), "returned an array of object"),
    "text": (lambda f: f.astype(str), "returned an array of <U"),
    "complex": (lambda f: f.astype(complex), "of complex128 .*must be of (real numbers|uint8, which .*), and of the"),
}


@pytest.mark.parametrize(("change", "sentence"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("make", [Changed, ChangedShow])
def test_frames_that_are_wrong_are_refused_by_a_sentence(make, change, sentence):
    right = make(lambda frames: frames)
    right.device  # noqa: B018 - one that is bare looks at a dark frame
    right.change = change
    how = {"exposure_s": 400e-6, "roi": REGION}
    calls = {
        "transform": lambda: right.transform(PATTERNS, n_pixels=100, **how),
        "calibration": lambda: exposed(right, PATTERNS, **how),
        "find_exposure": lambda: find_exposure(right, PATTERNS, roi=REGION),
    }
    for call in calls.values():
        with pytest.raises(RuntimeError, match=sentence) as error:
            call()
        assert str(error.value).endswith(".")


@pytest.mark.parametrize("change", [list, lambda f: [frame.tolist() for frame in f]], ids=["frames", "numbers"])
def test_a_list_of_frames_is_taken_where_its_type_is_right(change):
    bench = Changed(lambda frames: frames)
    known = exposed(bench, None, exposure_s=1e-3, roi=REGION, n_frames=2)
    bench.change = change
    assert np.array_equal(exposed(bench, None, exposure_s=1e-3, roi=REGION, n_frames=2).shape, known.shape)
    if change is list:
        assert exposed(bench, None, exposure_s=1e-3, roi=REGION).dtype == np.uint8


def test_tensors_are_taken_for_frames():
    torch = pytest.importorskip("torch")
    bench = Changed(lambda frames: torch.from_numpy(np.ascontiguousarray(frames)))
    bench.device  # noqa: B018
    counts = bench.transform(PATTERNS, exposure_s=400e-6, roi=REGION, n_pixels=100)
    assert type(counts) is np.ndarray and counts.dtype == np.uint8 and counts.max() > 10


def test_counts_of_another_type_than_the_device_says_are_refused():
    """They would be cut to the lower bits."""
    bench = Changed(lambda frames: frames)
    assert bench.device.bits == 8
    bench.change = lambda frames: frames.astype(np.uint16) * 4
    with pytest.raises(RuntimeError, match="returned an array of uint16 .* must be of uint8, which follows") as error:
        bench.transform(PATTERNS, exposure_s=400e-6, roi=REGION, n_pixels=100)
    # All frames are there: nothing is wrong with a trigger.
    assert "lost" not in str(error.value) and str(error.value).endswith("frames, rows, columns.")


# ---------------------------------------------------------------------------------------------- one buffer for all


class OneBuffer(Few):
    """Its camera hands out the same memory each time; `owned` says whether as an array that owns it."""

    owned = False

    def __init__(self):
        super().__init__()
        self.buffers = {}

    def counts(self, light, roi):
        frames = super().counts(light, roi)
        if self.owned:
            kept = self.buffers.setdefault(frames.shape, np.empty(frames.shape, frames.dtype))
        else:
            whole = self.buffers.setdefault("all", np.empty(10**7, frames.dtype))
            kept = whole[: frames.size].reshape(frames.shape)
        kept[...] = frames
        return kept


class OneBufferOwned(OneBuffer):
    owned = True


class BareBuffer(FromExpose):
    """Hands out one buffer from `expose` itself."""

    mirror_shape, sensor_shape = Few.device.mirror_shape, Few.device.sensor_shape

    def __init__(self):
        self.inside, self.kept = Few(), np.empty(10**7, dtype=np.uint8)

    def minimum_frametime_s(self, n_rows, exposure_s):
        return self.inside.minimum_frametime_s(n_rows, exposure_s)

    def expose(self, mirrors, **how):
        frames = self.inside.expose(mirrors, **how)
        kept = self.kept[: frames.size].reshape(frames.shape)
        kept[...] = frames
        return kept


@pytest.mark.slow
@pytest.mark.parametrize("make", [OneBuffer, OneBufferOwned, BareBuffer])
def test_a_bench_with_one_buffer_gives_the_numbers_of_one_without(make):
    """Noise and matrix are those of `Few`, so every number is known."""
    known = measure_linear(Few(), roi=SMALL, exposure_s=EXPOSURE_S)
    found = measure_linear(make(), roi=SMALL, exposure_s=EXPOSURE_S)
    assert 0.1 < known.relative_error < 0.5
    # A bare one takes a dark frame more, of which its full scale is known: the noise is another draw.
    np.testing.assert_allclose(found.relative_error, known.relative_error, rtol=0.05)
    if make is not BareBuffer:
        bench, patterns = make(), MirrorPatterns(BITS, MirrorLayout.lined((8, 12), 64))
        first = bench.expose(patterns[:1], exposure_s=EXPOSURE_S)
        before = first.copy()
        bench.expose(patterns[1:2], exposure_s=EXPOSURE_S)
        assert np.array_equal(first, before)


# ---------------------------------------------------------------------------------------------- frames that are old


class Old(Few):
    """Its second call for many patterns returns the frames of the first."""

    def __init__(self):
        super().__init__()
        self.old = {}

    def expose(self, mirrors, **how):
        frames = super().expose(mirrors, **how)
        if mirrors is None or len(mirrors) < 16:
            return frames
        return self.old.setdefault(frames.shape, frames)


def test_old_frames_are_refused_on_a_bench_with_noise():
    with pytest.raises(ValueError, match="second frames are the first ones to the bit.* returned old frames"):
        measure_linear(Old(), roi=SMALL, exposure_s=EXPOSURE_S)


class Silent(Few):
    """Without noise: counts are rounded, and nothing else."""

    def developed(self, light):
        return np.minimum(np.rint(2 + light), 255).astype(np.uint8)


class Exact(Few):
    """Not even rounded."""

    device = LabDevice("exact", (8, 12), (10, 16), bits=0, black_level_dn=2.0, has_reference=True)

    def developed(self, light):
        return (2 + light).astype(np.float32)


@pytest.mark.slow
def test_the_error_of_whole_counts_without_noise_is_that_of_rounding(tmp_path):
    """Two measurements are the same to the bit, but the fields are those of a camera without rounding to 1 % only."""
    record = measure_linear(Silent(), roi=SMALL, exposure_s=EXPOSURE_S)
    patterns = MirrorPatterns(np.random.default_rng(1).integers(0, 2, (64, 96), dtype=np.uint8), of_all())
    how = {"exposure_s": EXPOSURE_S, "roi": SMALL, "n_pixels": 96, "reference_phase_rad": record.asked_rad}
    rounded, exact = (demodulate(record, make().transform(patterns, **how)) for make in (Silent, Exact))
    np.testing.assert_allclose(record.relative_error, error_of(rounded, exact), rtol=0.3)
    assert 0.003 < record.relative_error < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("basis", ["hadamard", "canonical"])
def test_the_error_of_a_matrix_of_whole_counts_without_noise_is_that_of_rounding(tmp_path, basis):
    records = [
        measure_tm(
            make(), 32, exposure_s=EXPOSURE_S, out=tmp_path / make.__name__, roi=SMALL, basis=basis, full_scale_dn=255.0
        )
        for make in (Silent, Exact)
    ]
    use = np.flatnonzero(records[0].valid & records[1].valid)
    rounded, exact = (record.matrix(use) for record in records)
    np.testing.assert_allclose(records[0].relative_error, error_of(rounded, exact), rtol=0.4)
    assert records[0].relative_error > 100 * records[1].relative_error


def of_all():
    return MirrorLayout.lined(Few.device.mirror_shape, 96)


def error_of(fields, exact):
    """Random error over the rms, of fields in the reference's phase."""
    return float(np.sqrt(np.mean(np.abs(fields - exact) ** 2) / np.mean(np.abs(exact) ** 2)))


class WritesOver(Few):
    """Its instruments are handed the mirrors in place: other bytes are in them afterwards."""

    def show(self, mirrors, **how):
        frames = super().show(mirrors, **how)
        mirrors[:] = 255
        return frames


class BareWritesOver(Bare):
    """One with `expose` alone that does so."""

    def expose(self, mirrors, **how):
        frames = super().expose(mirrors, **how)
        if isinstance(mirrors, np.ndarray):
            mirrors[:] = 1
        return frames


@pytest.mark.parametrize("guards", [True, False])
@pytest.mark.parametrize("phases", [None, 0.5, [0.0, 1.0, 2.0]])
def test_a_bench_may_write_into_the_mirrors_that_it_is_given(guards, phases):
    mirrors = np.random.default_rng(5).integers(0, 2, (5, 8, 12), dtype=np.uint8)
    given = mirrors.copy()
    benches = Few(), WritesOver()
    for bench in benches:
        bench.guards = guards
    for _ in range(2):  # guards are kept from the first call
        known, frames = (b.expose(given, exposure_s=1e-2, reference_phase_rad=phases) for b in benches)
        assert np.array_equal(frames, known) and np.array_equal(given, mirrors)
    assert benches[1].expected_level_dn(48, 1e-3) == benches[0].expected_level_dn(48, 1e-3) > 2


def test_the_level_of_a_bench_that_writes_into_mirrors():
    assert BareWritesOver().expected_level_dn(384, 1e-4) == Bare().expected_level_dn(384, 1e-4) > 2


WRONG_TIMES = {"nan": np.nan, "inf": np.inf, "negative": -1e-3, "0": 0.0, "none": None, "text": "1 ms", "flag": True}


@pytest.mark.parametrize("time_s", WRONG_TIMES.values(), ids=WRONG_TIMES)
def test_a_frame_time_that_is_none_is_told_before_anything_is_shown(time_s):
    sentence = r"^minimum_frametime_s\(\d+, [\d.]+\), in seconds, is .*, but it must be a number in \(0, 7200\]\.$"
    bench, bare = Few(), Bare()
    bare.device  # noqa: B018 - made while its times are right
    bench.show = bench.dark = bench.set_reference = bare.inside.show = bare.inside.dark = None  # not called
    for other in (bench, bare, fresh := Bare()):
        other.minimum_frametime_s = WithName(time_s)
    mirrors = np.ones((2, 8, 12), dtype=np.uint8)
    how = {"exposure_s": 4e-4}
    calls = {
        "frames": lambda: bench.expose(mirrors, **how),
        "asked for": lambda: bench.expose(mirrors, frametime_s=1e-3, **how),
        "dark": lambda: bench.expose(None, **how),
        "phases": lambda: bench.expose(mirrors, reference_phase_rad=[0.0, 1.0], **how),
        "stepped": lambda: bench.stepped_frametime_s(10, 4e-4),
        "record": lambda: fresh.device,
        "driver": lambda: drive(bench),
        "driver of expose": lambda: drive(bare),
    }
    for call in calls.values():
        with pytest.raises(RuntimeError, match=sentence):
            call()


def test_a_stepped_time_that_is_none_is_told_by_its_name():
    bench = Few()
    bench.stepped_frametime_s = lambda n_rows, exposure_s: np.nan
    bench.stepped_frametime_s.__name__ = "stepped_frametime_s"
    with pytest.raises(RuntimeError, match=r"^stepped_frametime_s\(10, 0.0004\), in seconds, is nan"):
        bench.expose(np.ones((1, 8, 12), np.uint8), exposure_s=4e-4, reference_phase_rad=[0.0, 1.0])
    # A phase that stays is not stepped.
    assert bench.expose(np.ones((1, 8, 12), np.uint8), exposure_s=4e-4, reference_phase_rad=0.5).shape == (1, 10, 16)


@pytest.mark.parametrize("kind", [np.float32, np.array, np.float64])
def test_times_are_numbers_of_any_type(kind):
    bench = Few()
    bench.minimum_frametime_s = lambda n_rows, exposure_s: kind(exposure_s + 1e-3)
    assert bench.expose(np.ones((1, 8, 12), np.uint8), exposure_s=4e-4).shape == (1, 10, 16)
    with pytest.raises(ValueError, match="frametime_s is 0.001, but here it must be at least 0.0014"):
        bench.expose(np.ones((1, 8, 12), np.uint8), exposure_s=4e-4, frametime_s=1e-3)


class WithName:
    """A method in whose place a wrong time is returned."""

    __name__ = "minimum_frametime_s"

    def __init__(self, time_s):
        self.time_s = time_s

    def __call__(self, n_rows, exposure_s):
        return self.time_s


def drive(bench):
    with OPU(20, opu_device=OpuDevice(bench=bench)) as opu:
        opu.fit_transform1d(BITS)
