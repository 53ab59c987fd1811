"""pymmcore-plus: our bench in a core, and a core's devices as our bench.

Without the package all of it is skipped; `.ci/peers pymmcore` has it in an environment of its own.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("pymmcore_plus", reason="pymmcore-plus is not installed: .ci/peers pymmcore has it")

from pymmcore_plus import CMMCorePlus  # noqa: E402
from pymmcore_plus.core import PixelFormat  # noqa: E402
from pymmcore_plus.experimental.unicore import CameraDevice, ShutterDevice, SLMDevice, UniMMCore  # noqa: E402
from pymmcore_plus.mda import MDAEngine  # noqa: E402
from useq import MDAEvent, SLMImage  # noqa: E402

import opusim  # noqa: E402
from laboratory_bench import Few, Numbers  # noqa: E402
from opusim import OpticalBench  # noqa: E402
from opusim.adapters.pymmcore import (  # noqa: E402
    BenchCamera,
    BenchReference,
    BenchShutter,
    BenchSlm,
    CoreBench,
    SlmEngine,
    load,
)
from opusim.calibration import measure_tm  # noqa: E402
from opusim.patterns.layout import MirrorLayout, MirrorPatterns  # noqa: E402
from opusim.testing import check_bench  # noqa: E402
from phase_benches import Phases  # noqa: E402
from slm_device import slm_device  # noqa: E402

ROI = (500, 700, 12, 30)
EXPOSURE_S = 300e-6
SHAPE = (16, 16)
HOW = {"exposure_s": EXPOSURE_S, "roi": ROI}


@pytest.fixture
def core():
    core = UniMMCore()
    yield core
    core.unloadAllDevices()


def table(core, device="aurora", **how):
    """A bench in a core, one like it beside, and how pictures lie on both."""
    bench, other = OpticalBench(device, 3), OpticalBench(device, 3)
    layout = MirrorLayout.macro_2d(bench.mirror_shape, SHAPE)
    load(core, bench, **{"layout": layout, "roi": ROI, "exposure_s": EXPOSURE_S, **how})
    return bench, other, layout


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, *SHAPE), dtype=np.uint8)


def patterns(bits, layout):
    return MirrorPatterns(np.reshape(bits, (len(bits), -1)), layout)


def acquired(core, events):
    """Frames of an acquisition, by the event that each is said to be of."""
    frames = {}
    connected = core.mda.events.frameReady.connect(lambda frame, event, meta: frames.update({event.index["t"]: frame}))
    try:
        core.mda.run(events)
    finally:
        core.mda.events.frameReady.disconnect(connected)
    return np.stack([frames[k] for k in range(len(frames))])


def show(core, picture):
    core.setSLMImage(picture)
    core.displaySLMImage()


def popped(core, n):
    """Frames of a sequence of the camera that runs, in their order."""
    frames, due = [], time.monotonic() + 120
    while len(frames) < n and time.monotonic() < due:
        if core.getRemainingImageCount():
            frames.append(core.popNextImage())
        else:
            time.sleep(1e-3)
    return np.stack(frames)


# ---------------------------------------------------------------------------------- our bench in a core


@pytest.mark.parametrize("longest", [1000, 40, 0])
def test_frames_of_an_acquisition_are_those_of_its_patterns(core, longest):
    bench, other, layout = table(core, longest_sequence=longest)
    bits = pictures(100)
    started, camera = [], core._pydevices["Camera"]
    start = camera.start_sequence
    camera.start_sequence = lambda n, get_buffer: (started.append(n), start(n, get_buffer))[1]
    frames = acquired(core, [MDAEvent(index={"t": k}, slm_image=picture) for k, picture in enumerate(bits)])
    assert np.array_equal(frames, other.expose(patterns(bits, layout), **HOW))
    assert bench.clock.frames == 100 and frames.std() > 1
    assert started == {1000: [100], 40: [40, 40, 20], 0: [1] * 100}[longest]


def test_an_image_stays_for_events_without_one_and_for_those_that_repeat_it(core):
    _, other, layout = table(core)
    a, b = pictures(2)
    given = [a, a, a, None, b, None, a.astype(bool), True, None]
    shown = np.stack([a, a, a, a, b, b, a, np.ones(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)])
    events = [MDAEvent(index={"t": k}, slm_image=image) for k, image in enumerate(given)]
    assert np.array_equal(acquired(core, events), other.expose(patterns(shown, layout), **HOW))
    # All alike: no sequence, but the image is shown before the first frame.
    events = [MDAEvent(index={"t": k}, slm_image=b) for k in range(3)]
    assert np.array_equal(acquired(core, events), other.expose(patterns(np.stack([b] * 3), layout), **HOW))
    # Without any the last one stays.
    events = [MDAEvent(index={"t": k}) for k in range(3)]
    assert np.array_equal(acquired(core, events), other.expose(patterns(np.stack([b] * 3), layout), **HOW))


def test_events_whose_exposures_differ_are_shown_in_turn(core):
    _, other, layout = table(core)
    bits, exposures_ms = pictures(6), [0.1, 0.1, 0.3, 0.3, 0.1, 0.2]
    events = [
        MDAEvent(index={"t": k}, slm_image=picture, exposure=ms)
        for k, (picture, ms) in enumerate(zip(bits, exposures_ms, strict=True))
    ]
    known = np.concatenate(
        [
            other.expose(patterns(bits[k : k + 1], layout), exposure_s=ms * 1e-3, roi=ROI)
            for k, ms in enumerate(exposures_ms)
        ]
    )
    assert np.array_equal(acquired(core, events), known)


def test_an_engine_that_somebody_has_set_stays(core):
    class Own(MDAEngine):
        pass

    own = Own(core)
    core.mda.set_engine(own)
    table(core)
    assert core.mda.engine is own
    assert type(UniMMCore().mda.engine) is MDAEngine


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((3, 4), dtype=np.uint8), r"slm_image has the shape \(3, 4\), but the SLM 'SLM' has \(16, 16\)"),
        (np.full(SHAPE, 300), "slm_image of int64 holds 300, but pixels are whole, from 0 to 255"),
        (np.full(SHAPE, 0.5), "slm_image of float64 holds 0.5"),
    ],
)
def test_images_that_the_modulator_cannot_show_end_an_acquisition(core, image, words):
    table(core)
    events = [MDAEvent(index={"t": k}, slm_image=i) for k, i in enumerate([pictures(1)[0], image])]
    with pytest.raises(ValueError, match=words):
        core.mda.run(events)


def test_a_snap_is_a_frame_of_what_is_shown(core):
    _, other, layout = table(core)
    a, b = pictures(2)
    show(core, a)
    core.setSLMImage(b * 255)  # loaded, not yet shown
    core.snapImage()
    first = core.getImage()
    core.displaySLMImage()
    core.setExposure(0.2)
    core.setROI(*(40, 10, 50, 20))  # x, y, width, height
    core.snapImage()
    second = core.getImage()
    assert first.dtype == np.uint8 and second.shape == (20, 50)
    assert np.array_equal(first, other.expose(patterns([a], layout), **HOW)[0])
    assert np.array_equal(second, other.expose(patterns([b], layout), exposure_s=200e-6, roi=(10, 40, 20, 50))[0])
    assert core.getExposure() == pytest.approx(0.2) and core.getROI() == [40, 10, 50, 20]
    assert (core.getImageWidth(), core.getImageHeight(), core.getImageBitDepth()) == (50, 20, 8)
    assert np.array_equal(core.getSLMImage(), b) and (core.getSLMWidth(), core.getSLMHeight()) == SHAPE
    core.clearROI()
    assert core.getROI() == [0, 0, *other.sensor_shape[::-1]]


def test_a_sequence_of_the_camera_steps_that_of_the_modulator_and_begins_again_behind_its_end(core):
    _, other, layout = table(core)
    bits = pictures(5)
    core.loadSLMSequence("SLM", list(bits))
    core.startSLMSequence("SLM")
    core.startSequenceAcquisition(8, 0, True)
    frames = popped(core, 8)
    core.stopSLMSequence("SLM")
    core.snapImage()  # the picture that it has come to
    core.startSLMSequence("SLM")
    core.snapImage()
    again = core.getImage()
    shown = bits[[0, 1, 2, 3, 4, 0, 1, 2, 2, 0]]
    known = other.expose(patterns(shown, layout), **HOW)
    assert np.array_equal(frames, known[:8]) and np.array_equal(again, known[9])


def test_a_sequence_that_is_loaded_and_not_started_is_not_shown(core):
    _, other, layout = table(core)
    bits = pictures(4)
    show(core, bits[3])
    core.loadSLMSequence("SLM", [picture.tobytes() for picture in bits[:3]])
    core.startSequenceAcquisition(3, 0, True)
    assert np.array_equal(popped(core, 3), other.expose(patterns(bits[[3, 3, 3]], layout), **HOW))


def test_live_frames_follow_what_is_shown_and_the_region_waits_until_they_end(core):
    _, other, layout = table(core, "ideal")
    bits = pictures(2)
    known = other.expose(patterns(bits, layout), **HOW)
    show(core, bits[0])
    core.startContinuousSequenceAcquisition(0)
    popped(core, 2)
    with pytest.raises(RuntimeError, match="region cannot be set while a sequence is running"):
        core.setROI(0, 0, 8, 8)
    show(core, bits[1])
    core.clearCircularBuffer()
    popped(core, 3)
    last = core.getLastImage() if core.getRemainingImageCount() else popped(core, 1)[0]
    core.stopSequenceAcquisition()
    assert [np.corrcoef(last.ravel(), frame.ravel())[0, 1] > 0.99 for frame in known] == [False, True]
    core.setROI(0, 0, 8, 8)
    assert core.getROI() == [0, 0, 8, 8]


def test_the_region_can_be_set_as_soon_as_the_last_frame_is_there(core):
    table(core)
    core.startSequenceAcquisition(2, 0, True)
    popped(core, 2)
    core.setROI(0, 0, 8, 8)
    core.snapImage()
    assert core.getImage().shape == (8, 8)


def test_the_shutter_makes_frames_dark_unless_the_core_opens_it_for_each(core):
    _, other, layout = table(core)
    a = pictures(1)[0]
    show(core, a)
    core.setAutoShutter(False)
    core.setShutterOpen(False)
    assert not core.getShutterOpen()
    core.snapImage()
    dark = core.getImage()
    core.loadSLMSequence("SLM", [a, 1 - a])
    core.startSLMSequence("SLM")
    core.snapImage()  # the sequence steps in the dark, too
    core.setAutoShutter(True)
    core.snapImage()
    lit = core.getImage()
    core.setShutterDevice("")
    core.snapImage()
    still = core.getImage()
    assert np.array_equal(dark, other.expose(None, **HOW)[0])
    other.expose(None, **HOW)
    assert np.array_equal(lit, other.expose(patterns([1 - a], layout), **HOW)[0])
    # No longer the core's shutter, it stays shut.
    assert np.array_equal(still, other.expose(None, **HOW)[0])


def test_an_acquisition_with_auto_shutter_has_light_in_all_frames(core):
    _, other, layout = table(core, longest_sequence=0)
    bits = pictures(4)
    assert core.getAutoShutter()
    frames = acquired(core, [MDAEvent(index={"t": k}, slm_image=picture) for k, picture in enumerate(bits)])
    assert not core.getShutterOpen()  # the package's engine shuts it after each event
    assert np.array_equal(frames, other.expose(patterns(bits, layout), **HOW))


def test_the_reference_arm_is_a_device_of_its_own(core):
    _, other, layout = table(core)
    a = pictures(1)[0]
    show(core, a)
    assert core.getProperty("Reference", "Open") == 0
    core.setProperty("Reference", "Phase", 1.25)
    core.snapImage()
    frames = [core.getImage()]
    core.setProperty("Reference", "Open", 1)
    core.snapImage()
    frames.append(core.getImage())
    core.setProperty("Reference", "Phase", "2.5")
    core.snapImage()
    frames.append(core.getImage())
    core.setProperty("Reference", "Open", 0)
    core.snapImage()
    frames.append(core.getImage())
    known = [
        other.expose(patterns([a], layout), reference_phase_rad=phase, **HOW)[0] for phase in (None, 1.25, 2.5, None)
    ]
    assert np.array_equal(frames, known) and core.getProperty("Reference", "Phase") == 2.5


def test_what_the_bench_is_stands_in_properties(core):
    bench, _, _ = table(core)
    got = {name: core.getProperty("Camera", name) for name in core.getDevicePropertyNames("Camera")}
    assert got == {
        "Binning": 1, "Exposure": pytest.approx(EXPOSURE_S * 1e3), "PixelFormat": PixelFormat.MONO8,
        "CameraName": bench.device.camera.name, "BitDepth": 8, "BenchName": "aurora", "Seed": 3,
    }  # fmt: skip
    assert all(core.isPropertyReadOnly("Camera", name) for name in got if name != "Exposure")


def test_a_device_without_a_reference_arm_has_none_in_the_core(core):
    device = opusim.Device.load("aurora").evolve(**{"reference.relative_amplitude": 0.0})
    load(core, OpticalBench(device, 0))
    assert core.getLoadedDevices() == ("Camera", "SLM", "Shutter", "Core")


def test_levels_of_a_phase_modulator(core):
    bench, other = OpticalBench(slm_device(), 0), OpticalBench(slm_device(), 0)
    load(core, bench, roi=ROI, exposure_s=EXPOSURE_S)
    levels = np.random.default_rng(0).integers(0, 256, bench.mirror_shape, dtype=np.uint8)
    show(core, levels)
    core.snapImage()
    assert core.getImage().dtype == np.float32  # this device does not round
    assert np.array_equal(core.getImage(), other.expose(levels[None], **HOW)[0])


class Plain:
    """Another's bench, which has the three members alone and gives 12 bits."""

    mirror_shape, sensor_shape = (4, 6), (20, 30)

    def __init__(self):
        rng = np.random.default_rng(5)
        self.matrix = rng.normal(size=(600, 24)) + 1j * rng.normal(size=(600, 24))
        self.shown = []

    def expose(self, mirrors, *, exposure_s, reference_phase_rad=None, roi=None, frametime_s=None, n_frames=1):
        row, column, n_rows, n_columns = (0, 0, 20, 30) if roi is None else roi
        bits = np.zeros((n_frames, 24)) if mirrors is None else np.reshape(mirrors, (-1, 24))
        self.shown += list(bits)
        fields = bits @ self.matrix.T
        if reference_phase_rad is not None:
            fields = fields + 9 * np.exp(1j * reference_phase_rad)
        frames = (100 + 2e4 * exposure_s * np.abs(fields) ** 2).astype(np.uint16).reshape(-1, 20, 30)
        return frames[:, row : row + n_rows, column : column + n_columns]


def test_a_bench_that_has_expose_alone(core):
    bench, other = Plain(), Plain()
    load(core, bench, exposure_s=1e-3)
    bench.shown.clear()
    bits = np.random.default_rng(1).integers(0, 2, (5, 4, 6), dtype=np.uint8)
    frames = acquired(core, [MDAEvent(index={"t": k}, slm_image=picture) for k, picture in enumerate(bits)])
    assert frames.dtype == np.uint16 and core.getImageBitDepth() == 16
    assert np.array_equal(frames, other.expose(bits, exposure_s=1e-3))
    assert np.array_equal(np.reshape(bench.shown, bits.shape), bits)
    core.setProperty("Reference", "Phase", 0.5)
    core.setProperty("Reference", "Open", 1)
    show(core, bits[0])
    core.snapImage()
    assert np.array_equal(core.getImage(), other.expose(bits[0], exposure_s=1e-3, reference_phase_rad=0.5)[0])
    assert core.getProperty("Camera", "BenchName") == "Plain"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda c: c.setSLMImage(np.full(SHAPE, 7)),
            ValueError,
            "picture holds 7, but mirrors are off, 0, or on, 1 or 255",
        ),
        (lambda c: c.loadSLMSequence("SLM", [np.full(SHAPE, 2)]), ValueError, "Picture 0 holds 2"),
        (lambda c: c.loadSLMSequence("SLM", []), ValueError, "sequence holds no picture"),
        (lambda c: c.startSLMSequence("SLM"), RuntimeError, "No sequence of pictures is loaded"),
        (lambda c: c.setSLMExposure(5.0), ValueError, "exposure of the SLM is 5.0 ms, but here it must be 0"),
        (lambda c: c.setExposure(0), ValueError, "exposure is 0"),
        (lambda c: c.setExposure(float("nan")), ValueError, "exposure is nan"),
        (lambda c: c.setProperty("Camera", "Exposure", "long"), TypeError, "exposure is 'long'"),
        (lambda c: c.setProperty("Reference", "Phase", "x"), TypeError, "Phase is 'x'"),
        (lambda c: c.startSequenceAcquisition(-1, 0, True), ValueError, "number of frames is -1"),
        (lambda c: c.startSequenceAcquisition(0, 0, True), ValueError, "number of frames is 0, but it must be a whole"),
        (lambda c: c.setROI(0, 0, 5000, 8), ValueError, "roi"),
        (lambda c: load(c, OpticalBench("ideal", 0)), ValueError, "label is 'Camera', but it must be a text that no"),
        (lambda c: load(c, OpticalBench("ideal", 0), camera="C", slm="C"), ValueError, "label is 'C'"),
        (lambda c: load(c, 3, camera="A", slm="B", shutter="D", reference="E"), TypeError, "bench is 3"),
        (lambda c: load(CMMCorePlus(), OpticalBench("ideal", 0)), TypeError, "must be a pymmcore_plus.experimental"),
    ],
)
def test_refusals_leave_all_as_it_was(core, call, error, words):
    bench, other, layout = table(core)
    a = pictures(1)[0]
    show(core, a)
    devices = core.getLoadedDevices()
    with pytest.raises(error, match=words):
        call(core)
    assert core.getLoadedDevices() == devices
    core.snapImage()
    assert np.array_equal(core.getImage(), other.expose(patterns([a], layout), **HOW)[0])


def test_nothing_is_shown_or_loaded_while_a_sequence_runs(core):
    table(core)
    core.loadSLMSequence("SLM", list(pictures(2)))
    core.startSLMSequence("SLM")
    for call in (core.displaySLMImage, lambda: core.loadSLMSequence("SLM", list(pictures(2)))):
        with pytest.raises(RuntimeError, match="A sequence of pictures is running: call stopSLMSequence"):
            call()


@pytest.mark.parametrize("kind", [BenchCamera, BenchShutter, BenchReference, lambda table: BenchSlm(table, 10)])
def test_devices_are_made_by_load(kind):
    with pytest.raises(TypeError, match=r"is made by opusim.adapters.pymmcore.load, not of 3"):
        kind(3)


# ---------------------------------------------------------------------------------- a core's devices as our bench


class LabSlm(SLMDevice):
    """Somebody's modulator: it holds a picture, and a sequence that the camera triggers."""

    SIZE = (6, 8)

    def __init__(self, longest=0):
        super().__init__()
        self.longest, self.loaded, self.shown = longest, np.zeros(self.SIZE, np.uint8), np.zeros(self.SIZE, np.uint8)
        self.sequence, self.step, self.uploads = [], None, 0

    def shape(self):
        return self.SIZE

    def dtype(self):
        return np.uint8

    def set_image(self, pixels):
        self.loaded = pixels.copy()

    def display_image(self):
        self.shown = self.loaded

    def get_exposure(self):
        return 0.0

    def set_exposure(self, interval_ms):
        pass

    def get_sequence_max_length(self):
        return self.longest

    def send_sequence(self, sequence):
        self.sequence, self.uploads = [picture.copy() for picture in sequence], self.uploads + 1

    def start_sequence(self):
        self.step = 0

    def stop_sequence(self):
        self.step = None

    def trigger(self):
        if self.step is not None:
            self.shown = self.sequence[self.step % len(self.sequence)]
            self.step += 1


class LabShutter(ShutterDevice):
    """Somebody's shutter; shut at first."""

    def __init__(self):
        super().__init__()
        self.open = False

    def get_open(self):
        return self.open

    def set_open(self, open):
        self.open = open


class LabCamera(CameraDevice):
    """Somebody's camera of 12 bits behind a random matrix; its counts may be left-justified in 16 bits."""

    SIZE = (20, 30)

    def __init__(self, slm, shutter, *, levels=0, shift=0, coarse=False, longest_ms=1e3, lose=(), format=None):
        super().__init__()
        rng = np.random.default_rng(1)
        self.matrix = (rng.normal(size=(600, 48)) + 1j * rng.normal(size=(600, 48))) / np.sqrt(2)
        self.slm, self.shutter, self.levels, self.shift, self.coarse = slm, shutter, levels, shift, coarse
        self.longest_ms, self.lose, self.ms, self.region = longest_ms, lose, 1.0, (0, 0, 30, 20)
        self.noise = np.random.default_rng(2)
        if format is not None:
            self.register_property("PixelFormat", default_value=format, property_type=PixelFormat, is_read_only=True)

    def get_exposure(self):
        return self.ms

    def set_exposure(self, exposure):
        self.ms = min(exposure, self.longest_ms)

    def shape(self):
        return self.region[3], self.region[2]

    def dtype(self):
        return np.uint16

    def get_roi(self):
        return self.region

    def set_roi(self, x, y, width, height):
        if self.coarse:  # columns by 8s alone
            x, width = x // 8 * 8, -(-(x + width) // 8) * 8 - x // 8 * 8
        self.region = (x, y, min(width, 30 - x), height)

    def clear_roi(self):
        self.region = (0, 0, 30, 20)

    def light(self):
        picture = self.slm.shown
        field = np.exp(2j * np.pi * picture / self.levels) if self.levels else (picture != 0).astype(float)
        return np.abs(self.matrix @ field.ravel()) ** 2

    def start_sequence(self, n, get_buffer):
        for k in range(n):
            self.slm.trigger()
            if k in self.lose:
                continue
            counts = 100 + self.noise.poisson(self.light() * 12 * self.ms * self.shutter.open)
            x, y, width, height = self.region
            frame = np.minimum(counts, 4095).reshape(20, 30)[y : y + height, x : x + width]
            get_buffer((height, width), np.uint16)[:] = frame << self.shift
            yield {}


def laboratory(core, *, longest=0, **camera):
    slm, shutter = LabSlm(longest), LabShutter()
    instruments = LabCamera(slm, shutter, **camera), slm, shutter
    for label, device in zip(("Orca", "Panel", "Beam"), instruments, strict=True):
        core.loadPyDevice(label, device)
    core.initializeAllDevices()
    core.setCameraDevice("Orca")
    core.setSLMDevice("Panel")
    core.setShutterDevice("Beam")
    return instruments


@pytest.mark.parametrize("longest", [0, 5, 1000])
@pytest.mark.parametrize("levels", [0, 256])
def test_devices_of_a_core_are_a_bench(core, longest, levels):
    _, slm, shutter = laboratory(core, longest=longest, levels=levels, shift=4)
    with CoreBench(core, "panel and orca", bits=12, shift=4, phase_levels=levels, black_level_dn=100) as bench:
        assert (bench.mirror_shape, bench.sensor_shape, bench.device.camera.full_scale_dn) == ((6, 8), (20, 30), 4095)
        report = check_bench(bench)
        assert {"order", "region", "exposure", "dark frames"} <= set(report.passed)
        assert shutter.open and not core.getAutoShutter()
        assert bool(slm.uploads) == (longest > 0)
    assert core.getAutoShutter() and core.getROI() == [0, 0, 30, 20]


def test_an_opu_on_devices_of_a_core(core):
    camera, _, _ = laboratory(core, longest=100)
    with CoreBench(core, "panel and orca", bits=12, black_level_dn=100) as bench:
        x = np.random.default_rng(0).integers(0, 2, (40, 48), dtype=np.uint8)
        with opusim.OPU(600, opu_device=opusim.drivers.OpuDevice(bench=bench)) as opu:
            y = np.asarray(opu.fit_transform1d(x), dtype=np.float64)
            exposure_ms = opu.device.exposure_us * 1e-3
        layout = opu.current_fit.layout
        mirrors = MirrorPatterns(x, layout).to_mirrors().reshape(40, -1)
        light = np.abs(mirrors @ camera.matrix.T) ** 2 * 12 * exposure_ms
    # The OPU reads the whole of this sensor. Poisson noise alone: a standard deviation of 1 of (y - mean) / sqrt(mean).
    unclipped = light < 3500
    pull = (y - 100 - light)[unclipped] / np.sqrt(light[unclipped] + 1)
    assert unclipped.mean() > 0.9 and abs(pull.mean()) < 0.05 and pull.std() == pytest.approx(1, abs=0.05)


def correlations(record, matrix, layout):
    """How alike rows of a measured matrix are to those of the known one, for the pixels that were measured."""
    mirrors = MirrorPatterns(np.eye(layout.n_features_total, dtype=np.uint8), layout).to_mirrors()
    known = matrix @ mirrors.reshape(len(mirrors), -1).T
    tm = record.matrix()
    seen = tm.any(axis=1)  # a pixel that was saturated has no row
    tm, known = tm[seen], known[seen]
    alike = np.abs(np.sum(tm.conj() * known, axis=1)) / np.linalg.norm(tm, axis=1) / np.linalg.norm(known, axis=1)
    return seen.mean(), alike


def phase_setter(core):
    """What sets the phase of the reference arm that `load` has put into a core."""

    def set_phase(phase_rad):
        core.setProperty("Reference", "Open", int(phase_rad is not None))
        if phase_rad is not None:
            core.setProperty("Reference", "Phase", phase_rad)

    return set_phase


@pytest.mark.parametrize("longest", [0, 1000])
def test_a_matrix_measured_on_devices_of_a_core_is_that_of_the_light(core, longest, tmp_path):
    camera, _, _ = laboratory(core, longest=longest, levels=256)
    with CoreBench(core, "panel and orca", bits=12, phase_levels=256, black_level_dn=100) as bench:
        layout = MirrorLayout.macro_2d((6, 8), (6, 8))
        record = measure_tm(bench, layout, exposure_s=5e-4, out=tmp_path / "tm.h5", method="internal")
    seen, alike = correlations(record, camera.matrix, layout)
    assert seen > 0.95 and np.median(alike) > 0.995


def test_our_bench_through_a_core_gives_the_frames_of_the_bench(core):
    simulated, other, layout = table(core)
    bits = pictures(40)
    with CoreBench(core, "through a core", shutter="Shutter") as bench:
        assert bench.device.camera.bits == 8 and bench.sensor_shape == simulated.sensor_shape
        shown = bits.reshape(40, *SHAPE)
        known = patterns(bits, layout)
        assert np.array_equal(bench.expose(shown, **HOW), other.expose(known, **HOW))
        assert np.array_equal(bench.expose(None, n_frames=2, **HOW), other.expose(None, n_frames=2, **HOW))
        one_by_one = CoreBench(core, "through a core", sequences=False)
        assert np.array_equal(one_by_one.expose(shown[:5], **HOW), other.expose(known[:5], **HOW))
    assert simulated.clock.frames == other.clock.frames == 47


def test_a_camera_that_has_light_on_a_part_of_its_sensor_alone(core):
    class Lit(Plain):
        output_roi = (4, 10, 12, 15)

    load(core, Lit(), exposure_s=1e-3)
    assert core.getROI() == [10, 4, 15, 12]
    bits = np.ones((2, 4, 6), dtype=np.uint8)
    with CoreBench(core, "lit") as bench:
        assert bench.sensor_shape == (12, 15)
        frames = bench.expose(bits, exposure_s=1e-3, roi=(2, 3, 4, 5))
        assert core.getROI() == [13, 6, 5, 4]
    assert np.array_equal(frames, Plain().expose(bits, exposure_s=1e-3, roi=(6, 13, 4, 5)))


def test_a_matrix_measured_through_a_core_with_a_reference_arm(core, tmp_path):
    inside = Few()
    load(core, inside)
    with CoreBench(core, "through a core", reference=phase_setter(core), black_level_dn=2.0) as bench:
        layout = MirrorLayout.macro_2d((8, 12), (8, 8))
        record = measure_tm(bench, layout, exposure_s=4e-3, out=tmp_path / "tm.h5")
    seen, alike = correlations(record, inside.matrix, layout)
    assert seen > 0.95 and np.median(alike) > 0.95


# ---------------------------------------------------------------------------------- what cameras do


def test_a_camera_that_reads_in_steps_is_cut(core):
    camera, _, _ = laboratory(core, coarse=True)
    bench = CoreBench(core, "steps", bits=12)
    frames = bench.expose(np.ones((1, 6, 8), np.uint8), exposure_s=1e-3, roi=(3, 5, 7, 9))
    known = (100 + camera.light() * 12).reshape(20, 30)[3:10, 5:14]
    assert camera.region == (0, 3, 16, 7) and frames.shape == (1, 7, 9)
    unclipped = known < 3500
    assert np.abs((frames[0] - known)[unclipped] / np.sqrt(known[unclipped])).max() < 5


def test_a_camera_without_regions_is_cut(core):
    camera, _, _ = laboratory(core)
    camera.set_roi = lambda *region: CameraDevice.set_roi(camera, *region)
    bench = CoreBench(core, "whole", bits=12)
    frames = bench.expose(np.ones((2, 6, 8), np.uint8), exposure_s=1e-3, roi=(3, 5, 7, 9))
    assert frames.shape == (2, 7, 9) and frames.mean() > 110


@pytest.mark.parametrize(("longest", "lose"), [(100, (3,)), (100, (7,)), (100, tuple(range(8)))])
def test_a_lost_frame_of_a_sequence_is_told(core, longest, lose):
    _, panel, _ = laboratory(core, longest=longest, lose=lose)
    bench = CoreBench(core, "lost", bits=12, timeout_s=0.2)
    with pytest.raises(RuntimeError, match=f"{len(lose)} of them lost"):
        bench.expose(np.ones((8, 6, 8), np.uint8), exposure_s=1e-3)
    assert panel.step is None and not core.isSequenceRunning()


def test_counts_that_are_left_justified_are_told(core):
    laboratory(core, shift=4)
    bright = np.ones((1, 6, 8), np.uint8)
    with pytest.raises(RuntimeError, match="with bits = 12 it is 4095 at most. If counts are left-justified"):
        CoreBench(core, "as 12", bits=12).expose(bright, exposure_s=1e-3)
    with pytest.raises(RuntimeError, match="bits below the lowest 5, but with shift = 5"):
        CoreBench(core, "as 11", bits=11, shift=5).expose(bright, exposure_s=1e-3)
    frames = CoreBench(core, "right", bits=12, shift=4).expose(bright, exposure_s=1e-3)
    assert frames.dtype == np.uint16 and 100 < frames.mean() < 4095


def test_bits_are_those_of_the_pixel_format_where_the_core_knows_only_the_type(core):
    laboratory(core, format=PixelFormat.MONO12)
    assert core.getImageBitDepth() == 16
    assert CoreBench(core, "by format").device.camera.bits == 12
    core.unloadAllDevices()
    laboratory(core)
    assert CoreBench(core, "by type").device.camera.bits == 16


def test_an_exposure_that_the_camera_does_not_have_is_told(core):
    laboratory(core, longest_ms=2.0)
    bench = CoreBench(core, "short", bits=12)
    with pytest.raises(RuntimeError, match="asked for an exposure of 3 ms and set 2 ms"):
        bench.expose(np.ones((1, 6, 8), np.uint8), exposure_s=3e-3)
    wide = CoreBench(core, "short", bits=12, exposure_tolerance=0.5)
    assert wide.expose(np.ones((1, 6, 8), np.uint8), exposure_s=3e-3).shape == (1, 20, 30)


def test_dark_frames_of_a_core_are_dark_and_light_comes_back(core):
    _, _, shutter = laboratory(core)
    bench = CoreBench(core, "dark", bits=12)
    dark = bench.expose(None, exposure_s=1e-3, n_frames=3)
    assert np.all(dark == 100) and shutter.open
    # Without a shutter mirrors that are all off stand for it, and that is said.
    bench = CoreBench(core, "dark", bits=12, shutter="")
    with pytest.warns(UserWarning, match="has no shutter"):
        bench.expose(None, exposure_s=1e-3)


class Colours(LabCamera):
    def shape(self):
        return 20, 30, 3


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"camera": "Iris"}, ValueError, "camera is 'Iris', but the core has 'Orca', 'Panel', 'Beam'"),
        ({"slm": ""}, ValueError, "slm is not given, and the core has no current one"),
        ({"shutter": "Door"}, ValueError, "shutter is 'Door'"),
        ({"bits": 17}, ValueError, "bits is 17"),
        ({"shift": 16}, ValueError, "shift is 16"),
        ({"on_value": 0}, ValueError, "on_value is 0"),
        ({"exposure_tolerance": -1}, ValueError, "exposure_tolerance is -1"),
        ({"timeout_s": 0}, ValueError, "timeout_s is 0"),
        ({"sequences": 1}, TypeError, "sequences is 1"),
        ({"reference": 5}, TypeError, "reference is 5, but it must be a function of a phase in radians"),
        ({"name": ""}, TypeError, "name is ''"),
    ],
)
def test_a_bench_that_cannot_be_made_is_refused(core, how, error, words):
    laboratory(core)
    with pytest.raises(error, match=words):
        CoreBench(core, **{"name": "x", **how})


def test_other_things_than_a_core_and_colours_are_refused(core):
    with pytest.raises(TypeError, match="core is 3, but it must be a pymmcore_plus.CMMCorePlus"):
        CoreBench(3, "x")
    with pytest.raises(ValueError, match="camera is not given, and the core has no current one"):
        CoreBench(core, "x")
    _, slm, shutter = laboratory(core)
    core.loadPyDevice("Colours", Colours(slm, shutter))
    core.initializeDevice("Colours")
    with pytest.raises(ValueError, match="gives 3 components a pixel, but counts are one"):
        CoreBench(core, "x", camera="Colours")


# ---------------------------------------------------------------------------------- Micro-Manager's own devices


@pytest.fixture
def demo():
    adapters = pytest.importorskip("mm_test_adapters", reason="mm-test-adapters is not installed")
    core = UniMMCore()
    core.setDeviceAdapterSearchPaths([str(adapters.device_adapter_path())])
    core.loadDevice("DCam", "DemoCamera", "DCam")
    core.loadDevice("DShutter", "DemoCamera", "DShutter")
    core.loadPyDevice("Panel", LabSlm(longest=1000))
    core.initializeAllDevices()
    core.setCameraDevice("DCam")
    core.setShutterDevice("DShutter")
    core.setSLMDevice("Panel")
    yield core
    core.unloadAllDevices()


@pytest.mark.parametrize("sequences", [False, True])
def test_a_camera_in_c_is_read(demo, sequences):
    """Its frames know nothing of the modulator: what is asked of it arrives, and what it gives is read as it is."""
    demo.setProperty("DCam", "PixelType", "16bit")
    demo.setProperty("DCam", "BitDepth", "12")
    with CoreBench(demo, "demo", sequences=sequences) as bench:
        assert bench.device.camera.bits == 12 and bench.sensor_shape == (512, 512)
        frames = bench.expose(np.ones((6, 6, 8), np.uint8), exposure_s=5e-3, roi=(100, 40, 20, 64))
        assert frames.shape == (6, 20, 64) and frames.dtype == np.uint16 and frames.std() > 0
        assert demo.getExposure() == 5.0 and demo.getROI("DCam") == [40, 100, 64, 20]
        assert demo._pydevices["Panel"].uploads == int(sequences)
        bench.expose(None, exposure_s=5e-3, n_frames=2, roi=(100, 40, 20, 64))
        assert demo.getShutterOpen()


def test_an_engine_on_a_camera_in_c_shows_a_sequence(demo):
    panel = demo._pydevices["Panel"]
    demo.mda.set_engine(SlmEngine(demo, on_value=255))
    bits = np.random.default_rng(0).integers(0, 2, (5, 6, 8)).astype(bool)
    frames = acquired(demo, [MDAEvent(index={"t": k}, slm_image=SLMImage(data=b)) for k, b in enumerate(bits)])
    assert len(frames) == 5 and panel.uploads == 1 and panel.step is None
    assert np.array_equal(panel.sequence, np.where(bits, 255, 0))


@pytest.mark.parametrize("kind", [Numbers, Phases])
@pytest.mark.parametrize("longest", [0, 7])
def test_a_laboratorys_bench_in_a_core_and_back(core, kind, longest):
    """There and back again: a bench that is not ours, through devices of Python, as a bench."""
    load(core, kind(), longest_sequence=longest)
    levels = kind.device.phase_levels
    with CoreBench(core, "back", phase_levels=levels, reference=phase_setter(core)) as back:
        report = check_bench(back)
    assert {"order", "region", "exposure", "reference arm"} <= set(report.passed)
