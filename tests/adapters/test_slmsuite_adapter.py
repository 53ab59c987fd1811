"""A bench as slmsuite's SLM and camera, and slmsuite's as a bench: against the real package."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from lens_device import SENSOR, SHAPE, SIDE, lens_device
from opusim import OpticalBench
from opusim.adapters.instruments import Instruments
from opusim.calibration import measure_tm
from opusim.patterns.layout import MirrorLayout
from opusim.testing import check_bench
from phase_benches import Phases

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it would compute with if it were there
    slmsuite = pytest.importorskip("slmsuite", reason="slmsuite is not installed: .ci/peers slmsuite runs these")
    from slmsuite.hardware.cameras.simulated import SimulatedCamera
    from slmsuite.hardware.slms.simulated import SimulatedSLM
    from slmsuite.holography.algorithms import SpotHologram
    from slmsuite.holography.toolbox.phase import blaze

    from opusim.adapters.slmsuite import BenchCamera, BenchSLM, SlmsuiteBench, fourier_slm

PAGE = Path(__file__).resolve().parents[2] / "docs" / "with_slmsuite.md"
# Gaps, look-up table, pixels, flicker and fringing fields of a panel as HSP1920.
PANEL = {
    "table_error_rms_rad": 0.06, "gain_spread": 0.005, "flicker": 0.002, "crosstalk_pixels": 0.25,
    "fill_factor": 0.957, "unmodulated": 0.002, "efficiency": 0.826,
}  # fmt: skip
LARGE, LARGE_SENSOR, LARGE_SIDE = (224, 256), (480, 512), 512


@pytest.fixture(autouse=True)
def quiet_and_repeatable():
    """slmsuite's log, and the shared generator of numpy's that its holograms begin with."""
    slmsuite.configure_logging("ERROR")
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    yield
    np.random.set_state(before)  # noqa: NPY002


def small(preset="ideal", **how):
    return fourier_slm(OpticalBench(lens_device(preset, **how), 0), exposure_s=1e-4)


def large(preset, seed=0, **modulator):
    """A bench of 224 x 256 pixels before 480 x 512, black level off."""
    device = lens_device(
        preset, camera={"shape": list(LARGE_SENSOR)}, medium={"transmission": 1e-12}, shape=list(LARGE), **modulator
    )  # fmt: skip
    off = {"subtract_dn": 8} if preset != "ideal" else {}
    return fourier_slm(OpticalBench(device, seed), exposure_s=2e-4, camera=off)


def truth(setup, kxy):
    """Pixel (column, row) of directions, by the law of the lens alone."""
    return np.array([[LARGE_SENSOR[1] // 2], [LARGE_SENSOR[0] // 2]]) + LARGE_SIDE * setup.slm.pitch[:, None] * kxy


# ---------------------------------------------------------------------------------------------- levels and phases


def test_phases_become_the_levels_that_turn_the_light_by_them():
    slm = small().slm
    assert (slm.shape, slm.bitdepth, slm.phase_scaling) == (SHAPE, 8, 1.0)
    np.testing.assert_allclose([slm.wav_um, *slm.pitch_um], [0.532, 8, 8])
    assert not slm.instruments.picture.any()
    asked = np.random.default_rng(0).integers(-600, 600, SHAPE)
    slm.set_phase(2 * np.pi * asked / 256)
    assert np.array_equal(slm.instruments.picture, np.mod(asked, 256))
    # Levels of slmsuite fall where its phases grow.
    slm.set_phase(np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(np.uint8))
    turned = (slm.instruments.level_turns[slm.instruments.picture] - slm.phase / (2 * np.pi)) % 1
    assert np.ptp(turned) < 1e-6 and np.allclose(turned, turned[0, 0])


@pytest.mark.parametrize(
    ("levels", "bits"), [(2, 1), (16, 4), (200, 8), (100, 8)], ids=["two", "a power of two", "many", "few"]
)
def test_any_number_of_levels(levels, bits):
    slm = small(levels=levels).slm
    assert slm.bitdepth == bits
    asked = np.random.default_rng(0).uniform(-9, 9, SHAPE)
    slm.set_phase(asked)
    shown = slm.instruments.level_turns[slm.instruments.picture]
    away = np.abs((shown - asked / (2 * np.pi) + 0.5) % 1 - 0.5)
    # Half a step of ours, and half of one of slmsuite's where they are not the same ones.
    assert away.max() <= 0.5 / levels + (0 if levels == 1 << bits else 0.5 / 256) + 1e-6


def zero_order(setup, vector=(0.01, 0.007)):
    """Share of the light of a flat modulator that stays on the axis under a blaze."""
    setup.slm.set_phase(None)
    flat = setup.cam.get_image().max()
    setup.slm.set_phase(blaze(setup.slm, vector))
    return setup.cam.get_image()[SENSOR[0] // 2, SENSOR[1] // 2] / flat


def test_levels_that_span_more_than_a_turn_are_used_in_part():
    # 1.3 turns at 532 nm are 1.09 turns at 633 nm: levels go by what the light is turned by.
    panel = {"range_turns": 1.3, "stated_wavelength_m": 532e-9}
    device = lens_device(tables={"laser": {"wavelength_m": 633e-9}}, **panel)
    setup = fourier_slm(OpticalBench(device, 0), exposure_s=1e-4)
    assert setup.slm.phase_scaling == pytest.approx(633 / (1.3 * 532))
    wrong = fourier_slm(OpticalBench(device, 0), exposure_s=1e-4, slm={"wav_design_um": 0.633})
    assert zero_order(setup) < 1e-4 < 1e-3 < zero_order(wrong)


def test_a_laboratorys_bench_says_its_lengths_by_hand():
    shown = []

    class Watched(Phases):
        def show(self, mirrors, **how):
            shown.append(mirrors.copy())
            return super().show(mirrors, **how)

    setup = fourier_slm(Watched(), slm={"wav_um": 0.6, "pitch_um": (9, 8)}, exposure_s=1e-4)
    assert setup.slm.bitdepth == 6 and setup.slm.shape == (8, 12) and setup.cam.shape == (10, 16)
    setup.slm.set_phase(np.full((8, 12), 2 * np.pi * 5 / 64))
    image = setup.cam.get_image()
    assert image.dtype == np.uint8 and image.any() and (shown[-1] == 5).all()


def test_macro_pixels_are_the_pixels_of_the_modulator():
    bench = OpticalBench(lens_device(), 0)
    layout = MirrorLayout.macro_2d(SHAPE, (14, 16))
    setup = fourier_slm(bench, layout=layout, exposure_s=1e-4)
    assert setup.slm.shape == (14, 16) and np.allclose(setup.slm.pitch_um, 64)
    setup.slm.set_phase(blaze(setup.slm, (2 / 128 / setup.slm.pitch[0] * 8, 0)))
    at = np.unravel_index(setup.cam.get_image().argmax(), SENSOR)
    assert at == (SENSOR[0] // 2, SENSOR[1] // 2 + 4)  # 2 cycles over 128 pixels


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BenchSLM(OpticalBench("aurora", 0)), "The bench has mirrors, which are on or off"),
        (lambda: BenchSLM(Phases(), pitch_um=8), "wav_um is not given, but this bench does not say its wavelength"),
        (lambda: BenchSLM(Phases(), wav_um=0.5), "pitch_um is not given, but this bench does not say its pitch"),
        (lambda: BenchSLM(Phases(), wav_um=-1, pitch_um=8), "wav_um is -1"),
        (lambda: BenchSLM(Phases(), wav_um=0.5, pitch_um=np.nan), "pitch_um is nan, but it must be a number in (0,"),
        (lambda: BenchSLM(Phases(), wav_um=0.5, pitch_um=(8, np.inf)), "pitch_um is inf"),
        (lambda: BenchSLM(Phases(), wav_um=0.5, pitch_um=(8, 8, 8)), "pitch_um is (8, 8, 8), but it must be a number"),
        (lambda: BenchSLM(Phases(), wav_um=0.5, pitch_um=0), "pitch_um is 0"),
        (lambda: BenchSLM(Phases(), wav_um=0.5, pitch_um="8"), "pitch_um is '8'"),
        (lambda: BenchSLM(Phases(), wav_um=0.5, pitch_um=8, wav_design_um=np.nan), "wav_design_um is nan"),
        (lambda: BenchSLM(Phases(), wav_um=0.5, pitch_um=8, settle_time_s=np.nan), "settle_time_s is nan"),
        (lambda: BenchCamera(Phases(), bitdepth=8, pitch_um=np.nan), "pitch_um is nan"),
        (lambda: BenchCamera(Phases(), bitdepth=17), "bitdepth is 17"),
        (lambda: BenchCamera(Phases(), subtract_dn=-1), "subtract_dn is -1"),
        (lambda: BenchCamera(np.zeros(3)), "bench is"),
        (lambda: SlmsuiteBench(1, 2, "x"), "slm is 1, but it must be an SLM of slmsuite"),
        (lambda: SlmsuiteBench(simulated()[0], 2, "x"), "camera is 2, but it must be a Camera of slmsuite"),
        (lambda: SlmsuiteBench(*simulated(), "x", exposure_tolerance=2), "exposure_tolerance is 2"),
        (lambda: SlmsuiteBench(*simulated(), "x", shutter=5), "shutter is 5, but it must be a function"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(make, words):
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        make()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("design", [1.0, 1.25])
@pytest.mark.parametrize("where", ["phase", "hologram", "correction"])
def test_phases_that_are_none_are_refused_and_what_is_shown_stays(wrong, design, where):
    bench = Phases()
    slm = BenchSLM(bench, wav_um=0.6, wav_design_um=0.6 * design, pitch_um=8)
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, slm.shape)
    slm.set_phase(phase)
    if where == "hologram":  # levels count as shown, too
        slm.set_phase(np.arange(phase.size, dtype=slm.dtype).reshape(phase.shape) % slm.bitresolution)
    before = slm.phase.copy(), slm.display.copy(), slm.instruments.picture
    bad = phase.copy()
    bad[1, 2] = wrong

    class Hologram:
        def get_phase(self):
            return bad

    if where == "correction":
        slm.source["phase"] = bad - phase
    with pytest.raises(ValueError, match=r"^phase holds .*, but it must be finite numbers in radians"):
        slm.set_phase(Hologram() if where == "hologram" else phase if where == "correction" else bad)
    after = slm.phase, slm.display, slm.instruments.picture
    assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))


def test_phases_of_many_turns_are_those_of_the_rest():
    slm = BenchSLM(Phases(), wav_um=0.6, pitch_um=8)
    phase = np.random.default_rng(0).integers(0, 16, slm.shape) * (2 * np.pi / 16)
    levels = np.array(slm.set_phase(phase))
    for turns in (-1, 1, 1000, -1000):
        assert np.array_equal(slm.set_phase(phase + turns * 2 * np.pi), levels)


def test_features_in_line_have_no_pitch():
    with pytest.raises(TypeError, match="features of this layout lie in line"):
        BenchSLM(Instruments(OpticalBench(lens_device(), 0), layout=MirrorLayout.lined(SHAPE, 100)))


# ---------------------------------------------------------------------------------------------- the camera


def test_images_are_frames_of_the_bench():
    setup, other = small("aurora"), OpticalBench(lens_device("aurora"), 0)
    picture = np.random.default_rng(0).integers(0, 256, SHAPE)
    setup.slm.set_phase(2 * np.pi * picture / 256)
    how = {"exposure_s": 1e-4, "roi": (0, 0, *SENSOR)}
    # The first one slmsuite has taken to see of which type it is.
    frames = other.expose(np.repeat(picture[None].astype(np.uint8), 7, axis=0), **how)[1:]
    cam = setup.cam
    assert (cam.shape, cam.dtype, cam.bitdepth) == (SENSOR, np.uint8, 8)
    assert np.array_equal(cam.get_image(), frames[0])
    assert np.array_equal(cam.get_images(2), frames[1:3])
    assert np.array_equal(cam.get_image(averaging=3), frames[3:].astype(int).sum(axis=0))
    assert setup.slm.instruments.bench.clock.frames == 7


def test_windows_exposures_and_orientations():
    setup, other = small(), OpticalBench(lens_device(), 0)
    picture = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    setup.slm.set_phase(2 * np.pi * picture / 256)
    whole = other.expose(picture[None], exposure_s=1e-4)[0]
    cam = setup.cam
    assert cam.set_woi((30, 70, 100, 20)) == (30, 70, 100, 20) and cam.shape == (20, 70)
    assert np.array_equal(cam.get_image(), whole[100:120, 30:100])
    assert setup.slm.instruments.roi == (100, 30, 20, 70)
    cam.set_woi(None)
    assert cam.set_exposure(3e-4) == 3e-4
    np.testing.assert_allclose(cam.get_image(), 3 * whole, rtol=1e-5)
    turned = BenchCamera(setup.slm.instruments, rot="90", flipud=True)
    assert turned.shape == SENSOR[::-1]
    np.testing.assert_allclose(turned.get_image(), turned.transform(3 * whole), rtol=1e-5)


def test_high_dynamic_range_has_the_dark_parts_of_a_clipped_image():
    clipping = {"quantise": True, "black_level_dn": 0.0}
    setup, exact = small(camera=clipping), small()
    pattern = 2 * np.random.default_rng(1).random(SHAPE)
    for one in (setup, exact):
        one.slm.set_phase(pattern)
        one.cam.set_exposure(1e-4)
    known = exact.cam.get_image()
    scale = 250 / known.max()
    for one in (setup, exact):
        one.cam.set_exposure(1e-4 * scale)
    known, plain, hdr = exact.cam.get_image(), setup.cam.get_image(), setup.cam.get_image(hdr=(8, 2))
    dim = (known > 0.05) & (known < 0.3)
    assert dim.sum() > 200 and not plain[dim].any()
    np.testing.assert_allclose(hdr[dim].mean(), known[dim].mean(), rtol=0.05)
    assert setup.cam.exposure_s == pytest.approx(1e-4 * scale)


def test_counts_below_the_black_level_are_not_wrapped():
    setup = small("aurora")
    dark = BenchCamera(setup.slm.instruments, subtract_dn=200)
    assert dark.get_image().max() <= 55 and np.median(dark.get_image()) == 0


# ---------------------------------------------------------------------------------------------- physics


@pytest.mark.parametrize("fill", [1.0, 0.8])
@pytest.mark.parametrize("levels", [2, 4, 8, 16, 256])
def test_the_first_order_of_a_blaze_has_its_share_of_the_light(levels, fill):
    """Law of Goodman, section 7.3, with gaps: F^2 sinc^2(1 / steps), and (1 - F)^2 that stays on the axis.

    A period of 32 pixels has as many steps as there are levels, 32 at most.
    """
    setup = small(levels=levels, fill_factor=fill)
    setup.slm.set_phase(None)
    flat = setup.cam.get_image().max()
    setup.slm.set_phase(blaze(setup.slm, (1 / 32 / setup.slm.pitch[0], 0)))
    image = setup.cam.get_image()
    row, column = SENSOR[0] // 2, SENSOR[1] // 2
    first = image[row, column + SIDE // 32] / flat
    assert first == pytest.approx(fill**2 * np.sinc(1 / min(levels, 32)) ** 2, rel=2e-3)
    assert image[row, column] / flat == pytest.approx((1 - fill) ** 2, rel=0.01, abs=1e-6)


def test_a_blaze_in_x_sends_light_to_larger_columns_and_one_in_y_to_lower_rows_of_the_image():
    setup = small()
    for vector in ((0.02, 0.0), (0.0, 0.02)):
        setup.slm.set_phase(blaze(setup.slm, vector))
        at = np.unravel_index(setup.cam.get_image().argmax(), SENSOR)
        law = np.array([SENSOR[0] // 2, SENSOR[1] // 2]) + SIDE * np.flip(setup.slm.pitch * vector)
        assert np.abs(at - law).max() <= 0.5


@pytest.mark.parametrize(
    ("preset", "panel", "limit_px"),
    [("ideal", {}, 0.3), ("aurora", {}, 0.3), ("aurora", PANEL, 0.3)],
    ids=["ideal", "noise", "noise and panel"],
)
def test_fourier_calibration_finds_the_lens(preset, panel, limit_px):
    setup = large(preset, **panel)
    setup.fourier_calibrate(array_shape=[10, 9], array_pitch=12, autoexpose=True, verbose=False)
    draws = np.random.default_rng(0).uniform(-60, 60, (2, 200)) / LARGE[1] / setup.slm.pitch[:, None]
    assert np.abs(setup.kxyslm_to_ijcam(draws) - truth(setup, draws)).max() < limit_px
    np.testing.assert_allclose(setup.fourier_affine.M, LARGE_SIDE * np.diag(setup.slm.pitch), rtol=0, atol=15)


def test_holograms_put_their_spots_where_they_are_asked_with_the_light_that_waves_have_there():
    setup = large("ideal")
    setup.fourier_calibrate(array_shape=[10, 9], array_pitch=12, autoexpose=True, verbose=False)
    draws = np.random.default_rng(4)
    places = np.stack([np.arange(170, 350, 30), 240 + draws.integers(-80, 80, 6)]).astype(float)
    hologram = SpotHologram((512, 512), places, basis="ij", cameraslm=setup)
    hologram.optimize("WGS-Kim", maxiter=30, verbose=False)
    phase = hologram.get_phase()
    setup.cam.set_exposure(2e-5)
    setup.slm.set_phase(None)
    flat = setup.cam.get_image().sum(dtype=float)
    setup.slm.set_phase(phase)
    image = setup.cam.get_image().astype(float)
    # The same by numpy: levels, transform, envelope of square pixels.
    f = (np.arange(LARGE_SIDE) - LARGE_SIDE // 2) / LARGE_SIDE
    near = np.zeros((2, LARGE_SIDE, LARGE_SIDE), dtype=complex)
    near[0, 144:368, 128:384] = np.exp(2j * np.pi / 256 * np.round(np.asarray(phase) * 256 / (2 * np.pi)))
    near[1, 144:368, 128:384] = 1
    axes = {"axes": (1, 2)}
    field = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(near, **axes)), **axes)
    far, far_flat = (np.abs(field) ** 2 * np.outer(np.sinc(f), np.sinc(f)) ** 2)[:, 16:496]
    assert image.sum() / flat == pytest.approx(far.sum() / far_flat.sum(), rel=2e-3)
    lit, known = [], []
    for x, y in places.T:
        x0, y0 = int(x) - 4, int(y) - 4
        part = image[y0 : y0 + 9, x0 : x0 + 9]
        yy, xx = np.mgrid[:9, :9]
        centre = np.array([(part * xx).sum(), (part * yy).sum()]) / part.sum()
        assert np.abs(centre + [x0, y0] - [x, y]).max() < 0.6  # spots lie on slmsuite's grid of one pixel here
        lit.append(part.sum() / image.sum())
        known.append(far[y0 : y0 + 9, x0 : x0 + 9].sum() / far.sum())
    np.testing.assert_allclose(lit, known, rtol=0.01)
    # Phases alone that split light into some spots keep about .93 of it (Di Leonardo, Ianni and Ruocco, Opt. Express
    # 15, 1913, 2007), and 9 pixels of the fringes of a square aperture's spot, 2 wide, hold .95 along each axis.
    assert 0.7 < sum(lit) < 0.93 * 0.95**2 + 0.03 and np.std(lit) < 0.05 * np.mean(lit)


def test_feedback_from_the_camera_makes_spots_even():
    """Against the envelope of the pixels, which slmsuite does not know, and under noise."""
    setup = large("aurora")
    setup.fourier_calibrate(array_shape=[7, 5], array_pitch=16, autoexpose=True, verbose=False)
    places = np.stack([np.arange(170, 350, 30), 240 + np.random.default_rng(4).integers(-80, 80, 6)]).astype(float)
    uneven = {}
    for feedback in ("computational_spot", "experimental_spot"):
        hologram = SpotHologram((512, 512), places, basis="ij", cameraslm=setup)
        hologram.optimize("WGS-Kim", maxiter=12, verbose=False)
        setup.slm.set_phase(hologram.get_phase())
        setup.cam.autoexpose(set_fraction=0.6, verbose=False)
        hologram.optimize("WGS-Kim", maxiter=15, feedback=feedback, verbose=False)
        setup.slm.set_phase(hologram.get_phase())
        image = setup.cam.get_images(20).mean(axis=0)
        light = [image[int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5].sum() for x, y in places.T]
        uneven[feedback] = np.std(light) / np.mean(light)
    assert uneven["experimental_spot"] < 0.02 < 0.03 < uneven["computational_spot"]


def test_the_correction_of_the_wavefront_makes_a_blurred_spot_sharp():
    blurred, sharp = large("ideal", aberration_rms_rad=2.0), large("ideal")
    peaks = []
    error_rad = blurred.slm.instruments.bench.device.dmd.phase_rad(0)
    for setup, correction_rad in ((blurred, 0 * error_rad), (blurred, -error_rad), (sharp, 0 * error_rad)):
        setup.slm.source["phase"] = np.asarray(correction_rad, dtype=np.float32)
        setup.slm.set_phase(blaze(setup.slm, (32 / LARGE_SIDE / setup.slm.pitch[0], 0)))
        peaks.append(setup.cam.get_image().max())
    # Marechal's exp(-rms^2), .02 here, is for small errors; 256 levels leave the rest.
    assert peaks[0] < 0.5 * peaks[2] and peaks[1] == pytest.approx(peaks[2], rel=1e-3)


# ---------------------------------------------------------------------------------------------- the other way round


def simulated(shape=(48, 32), sensor=(40, 24), bits=12, **how):
    """slmsuite's own simulation with a diffuser on the modulator: its pixels are points of the transform."""
    phases = np.random.default_rng(7).uniform(0, 2 * np.pi, shape[::-1]).astype(np.float32)
    slm = SimulatedSLM(
        shape, wav_um=0.6, source={"amplitude_sim": np.ones_like(phases), "phase_sim": phases}, **how
    )  # fmt: skip
    camera = SimulatedCamera(slm, sensor, bitdepth=bits, pitch_um=5)
    camera.set_exposure(1e-3)
    camera.gain = 0.4 * 2**bits / (1e-3 * camera.render().max())
    return slm, camera


def bench_of(slm, camera, **how):
    gain = camera.gain

    def shutter(is_open):
        camera.gain = gain if is_open else 0.0

    return SlmsuiteBench(slm, camera, "slmsuite's own", shutter=shutter, **how)


def test_a_bench_of_their_instruments_keeps_all_rules():
    report = check_bench(bench_of(*simulated()))
    assert "order" in report.passed and "exposure" in report.passed and "transform" in report.passed


def test_a_matrix_is_measured_on_their_instruments(tmp_path):
    slm, camera = simulated()
    bench = bench_of(slm, camera)
    record = measure_tm(bench, (4, 8), exposure_s=1e-3, out=tmp_path / "tm.h5", full_scale_dn=4095)
    assert record.method == "internal"
    feature = MirrorLayout.macro_2d((32, 48), (4, 8)).feature_of_mirror()
    lit = np.exp(1j * slm.source["phase_sim"])
    near = np.where(feature == np.arange(32)[:, None, None], lit, 0)
    far = np.fft.fftshift(np.fft.fft2(np.fft.fftshift(near, axes=(1, 2))), axes=(1, 2))
    true = far[:, 4:28, 4:44].reshape(32, -1).T
    found, valid = record.matrix(), record.valid
    assert valid.mean() > 0.9
    alike = (
        np.abs((true.conj() * found).sum(axis=1))[valid]
        / (np.linalg.norm(true, axis=1) * np.linalg.norm(found, axis=1))[valid]
    )
    assert np.median(alike) > 0.9999 and alike.min() > 0.99


@pytest.mark.parametrize(("design_um", "bits"), [(0.6, 8), (0.6, 10), (0.75, 8), (0.5, 8), (0.6, 4)])
def test_levels_of_the_bench_are_phases_of_their_modulator(design_um, bits):
    slm, camera = simulated(bitdepth=bits, wav_design_um=design_um)
    bench = bench_of(slm, camera)
    turns, n = bench.level_turns, bench.device.phase_levels
    assert n == (min(256, 1 << bits) if design_um <= 0.6 else int(256 * 0.8)) and (turns < 1 + 1e-9).all()
    picture = np.random.default_rng(0).integers(0, n, slm.shape).astype(np.uint8)
    bench.put(picture)
    shown = slm._display2phase(slm.display) / (2 * np.pi)
    away = (shown - turns[picture] - (shown - turns[picture]).ravel()[0] + 0.5) % 1 - 0.5
    assert np.abs(away).max() < 1e-3


def test_their_own_corrections_act():
    slm, camera = simulated()
    bench = bench_of(slm, camera)
    slm.source["phase"] = -slm.source["phase_sim"]
    bench.put(np.zeros(slm.shape, dtype=np.uint8))
    image = bench.take(exposure_s=1e-3, roi=(0, 0, 24, 40))
    assert np.unravel_index(image.argmax(), image.shape) == (12, 20)  # all light comes to the axis


def test_what_a_camera_may_not_do_is_told():
    slm, camera = simulated()
    bench = bench_of(slm, camera)
    whole = (0, 0, 24, 40)
    camera.exposure_bounds_s = (5e-4, 2e-3)
    with pytest.raises(RuntimeError, match=r"asked for an exposure of 1e-05 s and makes one of 0.0005 s"):
        bench.take(exposure_s=1e-5, roi=whole)
    camera.exposure_bounds_s = None
    camera.set_exposure, kept = lambda exposure_s: np.nan, camera.set_exposure
    with pytest.raises(RuntimeError, match="makes one of nan s"):
        bench.take(exposure_s=1e-5, roi=whole)
    camera.set_exposure = kept
    camera.set_woi((0, 20, 0, 10))
    with pytest.raises(RuntimeError, match=r"images of the shape \(10, 20\), but they were \(24, 40\)"):
        bench.take(exposure_s=1e-3, roi=whole)
    camera.set_woi(None)
    camera.set_binning(2)
    with pytest.raises(ValueError, match=r"camera sums \(2, 2\) pixels by software"):
        bench_of(slm, camera)
    camera.set_binning(1)
    slm, shifted = simulated()
    bench = bench_of(slm, shifted)
    shifted.bitdepth = 16
    shifted.gain *= 16
    with pytest.raises(RuntimeError, match="its bitdepth of 12 means 0 to 4095"):
        bench.take(exposure_s=1e-3, roi=whole)
    with pytest.raises(RuntimeError, match="a modulator of phases is never dark"):
        SlmsuiteBench(*simulated(), "x").dark(1, exposure_s=1e-3, frametime_s=1e-3, roi=whole)


# ---------------------------------------------------------------------------------------------- the page


def test_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    (tmp_path / "lens.toml").write_text(re.findall(r"^```toml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)[0])
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) == 3 and names["residual_px"] < 0.3
    assert 0.6 < names["share"] < 1 and names["record"].relative_error < 0.02
