"""A bench as a modulator and a camera, and a modulator and a camera as a bench."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import opusim
from opusim import OpticalBench
from opusim.adapters.instruments import Instruments, OneByOneBench
from opusim.bench.laboratory import LabDevice
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.testing import check_bench
from slm_device import slm_device

ROI = (500, 700, 12, 30)


def small_bench(seed: int = 0) -> OpticalBench:
    return OpticalBench("aurora", seed)


def test_frames_are_those_of_the_bench():
    bench, other = small_bench(), small_bench()
    layout = MirrorLayout.macro_2d(bench.mirror_shape, (16, 16))
    both = Instruments(bench, layout=layout, roi=ROI, exposure_s=300e-6)
    pictures = np.random.default_rng(0).integers(0, 2, (3, 16, 16))
    assert both.shape == (16, 16) and both.level_turns is None and both.sensor_shape == bench.sensor_shape
    both.put(pictures[0])
    first = both.snap(2)
    each = both.snap_each(pictures.astype(bool))
    assert np.array_equal(both.picture, pictures[2])
    dark = both.dark(2)
    bits = pictures.reshape(3, -1).astype(np.uint8)
    how = {"exposure_s": 300e-6, "roi": ROI}
    assert np.array_equal(first, other.expose(MirrorPatterns(bits[[0, 0]], layout), **how))
    assert np.array_equal(each, other.expose(MirrorPatterns(bits, layout), **how))
    assert np.array_equal(dark, other.expose(None, n_frames=2, **how))


def test_what_is_given_stays_the_callers():
    both = Instruments(small_bench(), layout=MirrorLayout.macro_2d((912, 1140), (4, 4)), roi=ROI)
    picture = np.ones((4, 4), dtype=np.uint8)
    both.put(picture)
    picture[:] = 0
    assert both.picture.all()
    both.picture[:] = 0
    assert both.picture.all()


def test_phases_go_to_the_nearest_level():
    bench = OpticalBench(slm_device(), 0)
    both = Instruments(bench, layout=MirrorLayout.macro_2d(bench.mirror_shape, (4, 4)))
    turns = both.level_turns
    assert turns is not None
    phases = np.linspace(-20, 20, 16).reshape(4, 4)
    both.put_phases(phases)
    away = (turns[both.picture] - phases / (2 * np.pi) + 0.5) % 1 - 0.5
    assert np.abs(away).max() <= 0.5 / len(turns) + 1e-12
    both.put(np.full((4, 4), 0.25))
    assert np.allclose(turns[both.picture], 0.25, atol=0.5 / len(turns))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda b: b.put(np.zeros((3, 4))), r"picture has the shape \(3, 4\), but it must be \(4, 4\)"),
        (lambda b: b.put(np.full((4, 4), 2)), "picture holds 2, but mirrors are off or on"),
        (lambda b: b.put(np.full((4, 4), np.nan)), "picture holds nan, but mirrors are off or on"),
        (lambda b: b.put(np.full((4, 4), 1j)), "dtype complex128"),
        (lambda b: b.put_phases(np.zeros((4, 4))), "this bench has mirrors"),
        (lambda b: b.snap_each(np.zeros((4, 4))), r"pictures has the shape \(4, 4\), but it must be \(n, 4, 4\)"),
        (lambda b: b.snap(-1), "n is -1"),
        (lambda b: setattr(b, "exposure_s", 0), "exposure_s is 0"),
        (lambda b: setattr(b, "roi", (0, 0, 5000, 1)), "roi"),
        (lambda b: Instruments(b.bench, layout=MirrorLayout.macro_2d((8, 8), (4, 4))), r"layout is for \(8, 8\)"),
        (lambda b: Instruments(b.bench, layout=(4, 4)), "layout is"),
        (lambda b: Instruments(3), "bench is 3"),
    ],
)
def test_refusals_leave_all_as_it_was(call, words):
    both = Instruments(small_bench(), layout=MirrorLayout.macro_2d((912, 1140), (4, 4)), roi=ROI)
    both.put(np.eye(4))
    with pytest.raises((TypeError, ValueError), match=words):
        call(both)
    assert np.array_equal(both.picture, np.eye(4)) and both.roi == ROI
    assert both.bench.clock.frames == 0


class Parts(OneByOneBench):
    """A modulator and a camera of numpy."""

    def __init__(self, **how):
        phases = how.pop("phase_levels", 0)
        device = LabDevice("parts", (6, 8), (20, 30), bits=12, black_level_dn=100, phase_levels=phases)
        super().__init__(device, **how)
        rng = np.random.default_rng(1)
        self.matrix = rng.normal(size=(600, 48)) + 1j * rng.normal(size=(600, 48))
        self.noise = np.random.default_rng(2)
        self.picture, self.open, self.log = np.zeros((6, 8)), True, []

    def minimum_frametime_s(self, n_rows, exposure_s):
        return exposure_s + 1e-5 * n_rows

    def put(self, picture):
        self.picture = picture.copy()
        self.log.append(("put", time.monotonic()))

    def take(self, *, exposure_s, roi):
        self.log.append(("take", time.monotonic()))
        levels = self.device.phase_levels
        field = self.matrix @ (np.exp(2j * np.pi * self.picture / levels) if levels else self.picture).ravel()
        light = np.abs(field.reshape(20, 30)) ** 2 * 4e4 * exposure_s * self.open
        frame = np.minimum(100 + self.noise.poisson(light), 4095).astype(np.uint16)
        return frame[roi[0] : roi[0] + roi[2], roi[1] : roi[1] + roi[3]]


@pytest.mark.parametrize("levels", [0, 16])
def test_parts_are_a_bench_and_drive_an_opu(levels):
    bench = Parts(phase_levels=levels, shutter=lambda is_open: setattr(bench, "open", is_open))
    check_bench(bench)
    if levels:
        return
    with opusim.OPU(50, opu_device=opusim.drivers.OpuDevice(bench=bench)) as opu:
        x = np.random.default_rng(0).integers(0, 2, (20, 48), dtype=np.uint8)
        y = opu.fit_transform1d(x)
    assert y.shape == (20, 50) and np.asarray(y).std() > 0


def test_dark_without_a_shutter():
    bench = Parts()
    bench.picture[:] = 1
    with pytest.warns(UserWarning, match="mirrors that are all off") as told:
        frames = bench.expose(None, exposure_s=4e-4, n_frames=3)
    assert [w.filename for w in told] == [__file__]
    assert frames.mean() == 100 and frames.shape == (3, 20, 30)
    with pytest.raises(RuntimeError, match="never dark"):
        Parts(phase_levels=4).expose(None, exposure_s=4e-4)


def test_a_shutter_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="^shutter is 5, but it must be a function of True, .*, or None.$"):
        Parts(shutter=5)
    assert Parts(shutter=None).device.name == "parts"


def test_the_picture_that_stays_is_the_one_that_was_given():
    """Whoever has `expose` alone may write into what is handed to it."""

    class WritesOver:
        mirror_shape, sensor_shape = (4, 4), (2, 3)

        def expose(self, mirrors, *, exposure_s, reference_phase_rad=None, roi=None, frametime_s=None, n_frames=1):
            mirrors[:] = 1
            return np.zeros((len(mirrors), 2, 3), dtype=np.uint8)

    both = Instruments(WritesOver())
    pictures = np.stack([np.eye(4), 1 - np.eye(4)])
    both.snap_each(pictures)
    assert np.array_equal(both.picture, pictures[-1])
    both.snap(2)
    assert np.array_equal(both.picture, pictures[-1])


def test_the_shutter_opens_again_after_an_error():
    bench = Parts(shutter=lambda is_open: setattr(bench, "open", is_open))
    bench.take = lambda **how: np.zeros((2, 2), dtype=np.uint16)
    with pytest.raises(RuntimeError, match=r"take returned .* of the shape \(20, 30\)"):
        bench.expose(None, exposure_s=4e-4)
    assert bench.open


def test_light_settles_before_a_frame_and_frames_are_not_faster_than_asked():
    bench = Parts(settling_s=0.02)
    bench.expose(np.ones((3, 6, 8), dtype=np.uint8), exposure_s=1e-3, frametime_s=0.05)
    times = [at for _, at in bench.log]
    assert [kind for kind, _ in bench.log] == ["put", "take"] * 3
    assert all(b - a >= 0.02 for a, b in zip(times[::2], times[1::2], strict=True))
    assert times[4] - times[0] >= 0.0999


def test_pictures_and_frames_of_threads_are_not_mixed():
    bench = OpticalBench("ideal", 0)
    both = Instruments(bench, layout=MirrorLayout.macro_2d(bench.mirror_shape, (4, 4)), roi=ROI)
    pictures = np.random.default_rng(0).integers(0, 2, (2, 4, 4), dtype=np.uint8)
    known = [both.snap_each(p[None]) for p in pictures]
    wrong = []

    def loop(k):
        for _ in range(10):
            frames = both.snap_each(np.repeat(pictures[k][None], 2, axis=0))
            wrong.extend(np.corrcoef(f.ravel(), known[k].ravel())[0, 1] < 0.9 for f in frames)

    threads = [threading.Thread(target=loop, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 40 and not any(wrong)
