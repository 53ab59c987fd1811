"""pymmcore-plus: a bench as the camera and the modulator of a Micro-Manager core, and those of any core as a bench.

``pip install "opusim[pymmcore]"``. It needs ``pymmcore_plus.experimental.unicore``, whose devices are Python objects,
and none of Micro-Manager's own adapters in C++: the core itself comes with pymmcore.

A core that has a simulated bench::

    from pymmcore_plus.experimental.unicore import UniMMCore
    from opusim import OpticalBench
    from opusim.adapters.pymmcore import load
    from opusim.patterns.layout import MirrorLayout

    core, bench = UniMMCore(), OpticalBench("aurora", seed=1)
    load(core, bench, layout=MirrorLayout.macro_2d(bench.mirror_shape, (16, 16)))
    core.setSLMImage(picture)
    core.displaySLMImage()
    core.snapImage()
    frame = core.getImage()

A bench of a modulator and a camera that a core has::

    from opusim.adapters.pymmcore import CoreBench

    with CoreBench(core, "Table 2, ground glass", bits=12) as bench:
        check_bench(bench)
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

try:
    from pymmcore_plus import CMMCorePlus
    from pymmcore_plus.core import PixelFormat, SequencedEvent
    from pymmcore_plus.experimental.unicore import (
        CameraDevice,
        GenericDevice,
        ShutterDevice,
        SLMDevice,
        UniMMCore,
    )
    from pymmcore_plus.mda import MDAEngine
    from useq import MDAEvent, SLMImage
except ImportError as error:
    raise ImportError(
        f"opusim.adapters.pymmcore needs pymmcore-plus ({error}): install the extra, as in "
        "pip install 'opusim[pymmcore]', or in a clone pip install -e '.[pymmcore]'."
    ) from error

from opusim.base import validation
from opusim.base.locks import new_lock
from opusim.bench.laboratory import LabDevice
from opusim.bench.protocol import Drivable, Identified, has, output_roi_of
from opusim.bench.region import AnyRoi, Roi
from opusim.patterns.layout import MirrorLayout

from .instruments import Instruments, OneByOneBench, checked_function

__all__ = ["BenchCamera", "BenchReference", "BenchShutter", "BenchSlm", "CoreBench", "SlmEngine", "load"]

# Patterns of a sequence that are computed together: as mirrors each takes a megabyte, as does half of a whole frame.
_PATTERNS_PER_STEP = 32
# Live frames go to a screen, none of which shows more; without a limit they would take all that the processor has.
_LIVE_FRAMES_PER_S = 100.0
# 8 bits, all on: what most of Micro-Manager's modulators take for a pixel that is on.
_FULL = 255
_FORMATS = {8: PixelFormat.MONO8, 10: PixelFormat.MONO10, 12: PixelFormat.MONO12, 14: PixelFormat.MONO14}
# Before its first frame a simulated bench prepares its medium, and the first time of all compiles its kernels.
_FIRST_FRAME_S = 300.0
# How often a camera in a sequence is asked for frames.
_POLL_S = 0.5e-3


class _Table:
    """What the instruments of one bench share: the shutter, and the sequence that frames of the camera step through."""

    def __init__(self, both: Instruments) -> None:
        self.both = both
        self.is_open = True
        self.pictures: np.ndarray | None = None
        self.step: int | None = None
        self._lock = new_lock()
        self._core: Callable[[], CMMCorePlus | None] = lambda: None
        self._shutter = ""

    def belongs_to(self, core: CMMCorePlus, shutter: str) -> None:
        """Remember whose auto-shutter it is; weakly, as the core holds the devices."""
        self._core, self._shutter = weakref.ref(core), shutter

    @property
    def lit(self) -> bool:
        """Whether a frame has light: the shutter is open, or the core opens it for the time of the exposure.

        A core does that for its own cameras, not for those of Python (pymmcore-plus 0.18.1).
        """
        core = self._core()
        by_itself = core is not None and core.getAutoShutter() and core.getShutterDevice() == self._shutter
        return self.is_open or by_itself

    @property
    def stepping(self) -> bool:
        """Whether a sequence of pictures runs."""
        return self.step is not None

    def start(self) -> None:
        """Begin with the first picture of the sequence at the next frame."""
        with self._lock:
            if self.pictures is None:
                raise RuntimeError("No sequence of pictures is loaded: call loadSLMSequence before startSLMSequence.")
            self.step = 0

    def stop(self) -> None:
        """Stay at the picture that is shown."""
        with self._lock:
            self.step = None

    def frames(self, n: int) -> np.ndarray:
        """Take frames: each is a trigger for the sequence, if one runs, and is that of the picture it comes to."""
        with self._lock:
            pictures, step = self.pictures, self.step
            if pictures is None or step is None:
                return self.both.snap(n) if self.lit else self.both.dark(n)
            self.step = step + n
            shown = pictures[np.arange(step, step + n) % len(pictures)]
            if self.lit:
                return self.both.snap_each(shown)
            self.both.put(shown[-1])
            return self.both.dark(n)


def _number(name: str, value: Any, **limits: Any) -> float:
    """Return a number, also of the text that it is in a configuration file."""
    try:
        value = float(value) if isinstance(value, str) else value
    except ValueError:
        pass
    return validation.number(name, value, **limits)


def _checked_table(what: str, table: Any) -> _Table:
    if not isinstance(table, _Table):
        raise TypeError(f"{what} is made by opusim.adapters.pymmcore.load, not of {table!r}: it shares its bench.")
    return table


class BenchCamera(CameraDevice):
    """The camera of a bench, as a Python device of pymmcore-plus; `load` makes it.

    Exposures are in milliseconds, regions (x, y, width, height), frames arrays of (rows, columns) of the bench's own
    type: uint8, uint16, or float32 of a camera that does not round. In a sequence each frame is a trigger for the
    sequence of the modulator, if one runs. Properties: Binning (1), Exposure, PixelFormat, CameraName, BitDepth,
    BenchName and Seed, all but the exposure to be read alone.

    Parameters
    ----------
    table : object
        What the devices of a bench share.
    """

    def __init__(self, table: _Table) -> None:
        super().__init__()
        self._table = _checked_table("A BenchCamera", table)
        self._bench = table.both.bench
        # A bench that has `expose` alone says its type by a frame.
        record = self._bench.device.camera if has(self._bench, Drivable) else None
        self._dtype = np.dtype(table.both.snap(1).dtype if record is None else record.dtype)
        if record is None:
            self._bits, self._name = 8 * self._dtype.itemsize, type(self._bench).__name__
        else:
            self._bits, self._name = int(record.bits) if record.quantise else 32, str(record.name)
        lit = output_roi_of(self._bench)
        self._all = Roi.whole(table.both.sensor_shape) if lit is None else lit
        self._running = False
        known = has(self._bench, Identified)
        name = str(self._bench.device.name) if known else type(self._bench).__name__
        seed = int(self._bench.seed) if known else 0
        for prop, value in (("BitDepth", self._bits), ("BenchName", name), ("Seed", seed)):
            self.register_property(prop, default_value=value, is_read_only=True)

    def get_exposure(self) -> float:
        """Return the exposure.

        Returns
        -------
        float
            Milliseconds.
        """
        return self._table.both.exposure_s * 1e3

    def set_exposure(self, exposure: float) -> None:
        """Set the exposure, of frames that begin from now on.

        Parameters
        ----------
        exposure : float
            Milliseconds.

        Raises
        ------
        TypeError, ValueError
            If it is no time above 0.
        """
        ms = _number("exposure", exposure, low=0.0, high=3.6e6, low_open=True)
        self._table.both.exposure_s = ms * 1e-3

    def get_camera_name(self) -> str:
        """Return the name of the camera.

        Returns
        -------
        str
            As in the bench's record; of a bench without one the name of its class.
        """
        return self._name

    def get_pixel_format(self) -> PixelFormat:
        """Return the format of a pixel.

        Returns
        -------
        PixelFormat
            Of 8, 10, 12 or 14 bits, else the 16 or 32 that hold a count.
        """
        return _FORMATS.get(self._bits, PixelFormat.MONO32 if self._bits > 16 else PixelFormat.MONO16)

    def shape(self) -> tuple[int, int]:
        """Return the size of a frame.

        Returns
        -------
        tuple of int
            Rows and columns of the region.
        """
        region = self._table.both.roi
        return region.n_rows, region.n_columns

    def dtype(self) -> np.dtype[Any]:
        """Return the type of the counts.

        Returns
        -------
        dtype
            Of uint8, uint16 or float32.
        """
        return self._dtype

    def get_roi(self) -> tuple[int, int, int, int]:
        """Return the region that is read.

        Returns
        -------
        tuple of int
            First column and row, width and height.
        """
        region = self._table.both.roi
        return region.column, region.row, region.n_columns, region.n_rows

    def set_roi(self, x: int, y: int, width: int, height: int) -> None:
        """Read a region of the sensor.

        Parameters
        ----------
        x, y : int
            First column and row.
        width, height : int
            Columns and rows.

        Raises
        ------
        ValueError
            If it does not lie on the sensor.
        RuntimeError
            If a sequence is running.
        """
        self._set_region((y, x, height, width))

    def clear_roi(self) -> None:
        """Read all that there is: the whole sensor, or the part of it that has light.

        Raises
        ------
        RuntimeError
            If a sequence is running.
        """
        self._set_region(self._all)

    def _set_region(self, region: AnyRoi) -> None:
        if self._running:
            raise RuntimeError("The region cannot be set while a sequence is running: stop it first.")
        self._table.both.roi = Roi(*region)

    def start_sequence(self, n: int | None, get_buffer: Callable[..., np.ndarray]) -> Iterator[Mapping[str, Any]]:
        """Begin to take frames.

        Parameters
        ----------
        n : int or None
            How many; None goes on until the caller has enough, at 100 frames a second at most.
        get_buffer : callable
            Gives an array for a frame, of a shape and a type.

        Returns
        -------
        iterator of dict
            An empty one after each frame.

        Raises
        ------
        ValueError
            If it is less than one frame.
        """
        if n is not None:
            validation.integer("The number of frames", n, low=1)
        self._running = True
        return self._sequence(n, get_buffer)

    def _sequence(self, n: int | None, get_buffer: Callable[..., np.ndarray]) -> Iterator[Mapping[str, Any]]:
        taken, due = 0, time.monotonic()
        try:
            while n is None or taken < n:
                # Frames of a picture that may be exchanged at any time are taken one by one.
                ahead = min(n - taken, _PATTERNS_PER_STEP) if n is not None and self._table.stepping else 1
                for frame in self._table.frames(ahead):
                    get_buffer(frame.shape, frame.dtype)[:] = frame
                    taken += 1
                    # Whoever has the last frame may set the region, before this generator is let go.
                    self._running = taken != n
                    yield {}
                if n is None:
                    due = max(due + 1 / _LIVE_FRAMES_PER_S, time.monotonic())
                    time.sleep(max(0.0, due - time.monotonic()))
        finally:
            self._running = False


class BenchSlm(SLMDevice):
    """The modulator of a bench, as a Python device of pymmcore-plus; `load` makes it.

    Pictures are uint8 of (rows, columns) of the layout: of mirrors 0 is off, 1 or 255 on; of a modulator of phases they
    are levels. Sequences (loadSLMSequence, startSLMSequence, stopSLMSequence) go one picture further with each frame of
    the camera, the first of which has the first picture, and begin again behind the last.

    Parameters
    ----------
    table : object
        What the devices of a bench share.
    longest_sequence : int
        Pictures of a sequence at most.
    """

    def __init__(self, table: _Table, longest_sequence: int) -> None:
        super().__init__()
        self._table = _checked_table("A BenchSlm", table)
        self._longest = validation.integer("longest_sequence", longest_sequence, low=0)
        self._loaded = table.both.picture

    def shape(self) -> tuple[int, int]:
        """Return the size of a picture.

        Returns
        -------
        tuple of int
            Rows and columns.
        """
        return self._table.both.shape

    def dtype(self) -> np.dtype[Any]:
        """Return the type of a picture.

        Returns
        -------
        dtype
            The type uint8.
        """
        return np.dtype(np.uint8)

    def set_image(self, pixels: np.ndarray) -> None:
        """Load a picture, which `display_image` shows.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (rows, columns)
            Mirrors or levels.

        Raises
        ------
        ValueError
            If it holds something else.
        """
        self._loaded = self._checked("The picture", np.asarray(pixels))

    def get_image(self) -> np.ndarray:
        """Return the picture that was loaded last.

        Returns
        -------
        ndarray of uint8, shape (rows, columns)
            0 and 1, or levels; a copy.
        """
        return self._loaded.copy()

    def display_image(self) -> None:
        """Show the picture that is loaded.

        Raises
        ------
        RuntimeError
            If a sequence runs.
        """
        if self._table.stepping:
            raise RuntimeError("A sequence of pictures is running: call stopSLMSequence before displaySLMImage.")
        self._table.both.put(self._loaded)

    def get_exposure(self) -> float:
        """Return how long a picture is shown.

        Returns
        -------
        float
            The number 0: until the next one.
        """
        return 0.0

    def set_exposure(self, interval_ms: float) -> None:
        """Refuse to turn a picture off by itself.

        Parameters
        ----------
        interval_ms : float
            The number 0.

        Raises
        ------
        ValueError
            If it is something else.
        """
        if interval_ms != 0:
            raise ValueError(
                f"The exposure of the SLM is {interval_ms!r} ms, but here it must be 0: a picture stays until the next "
                "one. Set that of the camera."
            )

    def get_sequence_max_length(self) -> int:
        """Return how many pictures a sequence may have.

        Returns
        -------
        int
            As given to `load`.
        """
        return self._longest

    def send_sequence(self, sequence: Sequence[np.ndarray]) -> None:
        """Load a sequence of pictures.

        Parameters
        ----------
        sequence : sequence of ndarray of uint8
            Pictures, each as for `set_image`.

        Raises
        ------
        ValueError
            If one holds something else, or there is none.
        RuntimeError
            If a sequence runs.
        """
        if self._table.stepping:
            raise RuntimeError("A sequence of pictures is running: call stopSLMSequence before loadSLMSequence.")
        if not len(sequence):
            raise ValueError("The sequence holds no picture, but it must have one at least.")
        self._table.pictures = np.stack([self._checked(f"Picture {k}", p) for k, p in enumerate(sequence)])

    def start_sequence(self) -> None:
        """Begin with the first picture at the next frame.

        Raises
        ------
        RuntimeError
            If no sequence is loaded.
        """
        self._table.start()

    def stop_sequence(self) -> None:
        """End a sequence; the picture that it has come to stays."""
        self._table.stop()

    def _checked(self, what: str, pixels: np.ndarray) -> np.ndarray:
        turns = self._table.both.level_turns
        if turns is not None:
            if pixels.max(initial=0) >= len(turns):
                raise ValueError(
                    f"{what} holds {pixels.max()}, but this modulator has the levels 0 to {len(turns) - 1}."
                )
            return np.array(pixels, dtype=np.uint8)
        wrong = pixels[(pixels > 1) & (pixels != _FULL)]
        if wrong.size:
            raise ValueError(f"{what} holds {wrong[0]}, but mirrors are off, 0, or on, 1 or {_FULL}.")
        return (pixels != 0).astype(np.uint8)


class BenchShutter(ShutterDevice):
    """The shutter of the laser of a bench, as a Python device of pymmcore-plus; `load` makes it.

    It is open at first. Frames are dark while it is shut, unless it is the core's shutter and the core's auto-shutter
    is on, which opens it for each exposure.

    Parameters
    ----------
    table : object
        What the devices of a bench share.
    """

    def __init__(self, table: _Table) -> None:
        super().__init__()
        self._table = _checked_table("A BenchShutter", table)

    def get_open(self) -> bool:
        """Say whether it is open.

        Returns
        -------
        bool
            As set.
        """
        return self._table.is_open

    def set_open(self, open: bool) -> None:
        """Open or shut it.

        Parameters
        ----------
        open : bool
            Whether it is to be open.
        """
        self._table.is_open = bool(open)


class BenchReference(GenericDevice):
    """The reference arm of a bench, as a Python device of pymmcore-plus; `load` makes it where there is one.

    Properties: Open (0 or 1; 0 at first) and Phase, in radians.

    Parameters
    ----------
    table : object
        What the devices of a bench share.
    """

    def __init__(self, table: _Table) -> None:
        super().__init__()
        self._both = _checked_table("A BenchReference", table).both
        self._phase_rad = 0.0
        self.register_property(
            "Open", getter=BenchReference._get_open, setter=BenchReference._set_open, allowed_values=(0, 1),
            property_type=int,
        )  # fmt: skip
        self.register_property(
            "Phase", getter=BenchReference._get_phase, setter=BenchReference._set_phase, property_type=float
        )

    def _get_open(self) -> int:
        return int(self._both.reference_phase_rad is not None)

    def _set_open(self, value: int) -> None:
        self._both.reference_phase_rad = self._phase_rad if value else None

    def _get_phase(self) -> float:
        return self._phase_rad

    def _set_phase(self, value: float) -> None:
        self._phase_rad = _number("Phase", value, low=-1e6, high=1e6)
        if self._get_open():
            self._set_open(1)


class SlmEngine(MDAEngine):
    """An engine of acquisitions (`mda`) that shows the SLM images of events also where events are run as one sequence.

    The engine of pymmcore-plus 0.18.1 joins events that the hardware can run by itself. There an SLM image that is the
    same in all of them is left out, and images that differ end in an error, whatever the SLM can do. This one loads and
    starts a sequence of them where the SLM has sequences (getSLMSequenceMaxLength), and goes one by one where it has
    none. It works with any core: ``core.mda.set_engine(SlmEngine(core))``; `load` does so.

    Parameters
    ----------
    core : CMMCorePlus
        The core.
    on_value : int
        What a True of an image is in a sequence: 1, or 255 for modulators whose full light that is.
    **options
        As for ``MDAEngine``.
    """

    def __init__(self, core: CMMCorePlus, *, on_value: int = 1, **options: Any) -> None:
        super().__init__(core, **options)
        self.on_value = validation.integer("on_value", on_value, low=0, high=_FULL)
        self._stepping = ""

    def event_iterator(self, events: Iterable[MDAEvent]) -> Iterator[MDAEvent]:
        """Join events that the hardware can run by itself, with their SLM images.

        Parameters
        ----------
        events : iterable of MDAEvent
            Events.

        Yields
        ------
        MDAEvent
            Single ones, as they were given, and sequences.

        Raises
        ------
        ValueError
            If an image of a sequence is not of the size of the SLM, or not of bytes.
        """
        source = iter(events)
        following = next(source, None)
        while following is not None:
            run = _Run(following.slm_image, self._longest(following.slm_image))
            taken: deque[tuple[MDAEvent, SLMImage | None]] = deque()

            def without_images(run: _Run = run, taken: deque[Any] = taken) -> Iterator[MDAEvent]:
                nonlocal following
                while following is not None and run.takes(following.slm_image):
                    taken.append((following, run.image))
                    yield following.model_copy(update={"slm_image": None})
                    following = next(source, None)

            # The engine's own rules join what is left without the images.
            for joined in super().event_iterator(without_images()):
                n = len(joined.events) if isinstance(joined, SequencedEvent) else 1
                yield self._with_images(joined, [taken.popleft() for _ in range(n)])

    def setup_sequenced_event(self, event: SequencedEvent) -> None:
        """Set the hardware up for a sequence, that of the SLM too.

        Parameters
        ----------
        event : SequencedEvent
            The sequence.
        """
        super().setup_sequenced_event(event)
        if event.slm_sequence:
            core = self.mmcore
            label = core.getSLMDevice()
            image = event.events[0].slm_image
            if image is not None and image.exposure:
                core.setSLMExposure(label, image.exposure)
            core.startSLMSequence(label)
            self._stepping = label

    def teardown_event(self, event: MDAEvent) -> None:
        """End an event, and the sequence of the SLM that it had.

        Parameters
        ----------
        event : MDAEvent
            The event.
        """
        super().teardown_event(event)
        if self._stepping:
            label, self._stepping = self._stepping, ""
            self.mmcore.stopSLMSequence(label)

    def _longest(self, image: SLMImage | None) -> int:
        """Return how many images like this one the SLM takes as a sequence; 0 if none."""
        core = self.mmcore
        label = core.getSLMDevice()
        if image is None or not label or image.device not in (None, label) or np.asarray(image.data).ndim not in (0, 2):
            return 0
        return int(core.getSLMSequenceMaxLength(label)) if core.getSLMBytesPerPixel(label) == 1 else 0

    def _with_images(self, joined: MDAEvent, taken: list[tuple[MDAEvent, SLMImage | None]]) -> MDAEvent:
        events, images = tuple(event for event, _ in taken), [image for _, image in taken]
        if not isinstance(joined, SequencedEvent):
            return events[0]
        if all(image == images[0] for image in images):
            return joined.model_copy(update={"events": events, "slm_image": images[0]})
        pictures = tuple(self._bytes(image) for image in images if image is not None)
        return joined.model_copy(update={"events": events, "slm_sequence": pictures})

    def _bytes(self, image: SLMImage) -> bytes:
        core = self.mmcore
        label = core.getSLMDevice()
        shape = (core.getSLMHeight(label), core.getSLMWidth(label))
        array = np.asarray(image.data)
        if array.shape not in ((), shape):
            raise ValueError(
                f"An slm_image has the shape {array.shape}, but the SLM {label!r} has {shape}: rows, columns."
            )
        if array.dtype == bool:
            array = np.where(array, self.on_value, 0)
        pixels = array.astype(np.uint8)
        if not np.array_equal(pixels, array):
            raise ValueError(f"An slm_image of {array.dtype} holds {array.max()}, but pixels are whole, from 0 to 255.")
        return np.broadcast_to(pixels, shape).tobytes()


class _Run:
    """Events in turn whose SLM images may be one sequence, or are one image."""

    def __init__(self, first: SLMImage | None, longest: int) -> None:
        self.first = self.image = first
        self._longest = longest
        self._n, self._varies = 0, False

    def takes(self, image: SLMImage | None) -> bool:
        """Take one event more, if it may be in this run; without an image it has that of the event before."""
        image = self.image if image is None else image
        varies = self._varies or (image is not self.first and image != self.first)
        if varies:
            first = self.first
            if first is None or image is None or self._n + 1 > self._longest:
                return False
            if (image.device, image.exposure) != (first.device, first.exposure):
                return False
            if np.asarray(image.data).ndim not in (0, 2):
                return False
        self._n, self._varies, self.image = self._n + 1, varies, image
        return True


class CoreBench(OneByOneBench):
    """A bench of a modulator and a camera that a Micro-Manager core drives.

    Where the modulator takes sequences (getSLMSequenceMaxLength above 1), patterns are uploaded as sequences and the
    camera's frames are to trigger them, as pymmcore-plus has it; else each picture is shown, and a frame of it snapped.
    The core's auto-shutter is switched off and the shutter kept open, but for dark frames, until `close`.

    Parameters
    ----------
    core : CMMCorePlus
        A core, with its devices. One of ``pymmcore_plus.experimental.unicore`` has those of Python too.
    name : str
        Name of the bench; another for another medium, as calibrations are kept by it.
    camera, slm : str, optional
        Labels of the devices; those that are the core's current ones.
    shutter : str, optional
        Label of the laser's shutter; the core's current one. Without any, or with "", see `OneByOneBench`.
    bits : int, optional
        Bits of a count, 0 for float32. By default those of the camera's PixelFormat, if it has that property, else of
        getImageBitDepth, which for cameras of Python tells those of the array's type: 16 of one with 12 bits.
    shift : int
        Bits by which counts are shifted up in the camera's frames: 4 for 12 bits that are left-justified in 16.
    phase_levels, phase_range_turns : int, float
        Of a modulator that turns phases, as for `LabDevice`; 0 levels for mirrors.
    on_value : int
        What a mirror that is on is in a picture: 255, for a few modulators 1.
    reference : callable, optional
        Sets the phase of a reference arm, in radians, and returns when it stands; given None it blocks the arm.
    black_level_dn, row_time_s, version : float, float, int
        As for `LabDevice`.
    settling_s : float
        Time in seconds from a picture to light that is of it alone, where pictures are shown one by one.
    sequences : bool
        Whether sequences are used at all. Only where the camera's frames trigger the modulator are they right.
    exposure_tolerance : float
        By how much of itself the exposure that a camera sets may differ from the one asked for.
    timeout_s : float
        Seconds that a sequence may go without a frame before it is taken as ended.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or the core has no camera or no modulator.
    """

    def __init__(
        self, core: CMMCorePlus, name: str, *, camera: str | None = None, slm: str | None = None,
        shutter: str | None = None, bits: int | None = None, shift: int = 0, phase_levels: int = 0,
        phase_range_turns: float = 1.0, on_value: int = _FULL,
        reference: Callable[[float | None], object] | None = None, black_level_dn: float = 0.0,
        row_time_s: float = 0.0, version: int = 1, settling_s: float = 0.0,
        sequences: bool = True, exposure_tolerance: float = 0.01, timeout_s: float = 10.0,
    ) -> None:  # fmt: skip
        if not isinstance(core, CMMCorePlus):
            raise TypeError(f"core is {core!r}, but it must be a pymmcore_plus.CMMCorePlus, or a UniMMCore.")
        self.core = core
        self._camera = _label(core, "camera", camera, core.getCameraDevice())
        self._slm = _label(core, "slm", slm, core.getSLMDevice())
        self._on = validation.integer("on_value", on_value, low=1, high=_FULL)
        self._shift = validation.integer("shift", shift, low=0, high=15)
        self._reference = checked_function("reference", reference, "a phase in radians")
        self._tolerance = validation.number("exposure_tolerance", exposure_tolerance, low=0.0, high=1.0)
        self._timeout_s = validation.number("timeout_s", timeout_s, low=0.0, high=3600.0, low_open=True)
        validation.flag("sequences", sequences)
        core.setCameraDevice(self._camera)
        if core.getNumberOfComponents() != 1:
            raise ValueError(
                f"The camera {self._camera!r} gives {core.getNumberOfComponents()} components a pixel, but counts are "
                "one: choose a grey PixelType."
            )
        if core.getSLMBytesPerPixel(self._slm) != 1:
            raise ValueError(
                f"The modulator {self._slm!r} takes {core.getSLMBytesPerPixel(self._slm)} bytes a pixel, but here it "
                "must take 1."
            )
        core.clearROI()
        # Pixels are counted from the first one that the camera reads when it reads all.
        self._origin = core.getROI(self._camera)[:2]
        self._exposure_ms = (0.0, 0.0)
        exposure_s = core.getExposure() * 1e-3
        super().__init__(
            LabDevice(
                name, (core.getSLMHeight(self._slm), core.getSLMWidth(self._slm)),
                (core.getImageHeight(), core.getImageWidth()),
                bits=self._bits() if bits is None else bits, black_level_dn=black_level_dn, exposure_s=exposure_s,
                frametime_s=exposure_s, row_time_s=row_time_s, has_reference=reference is not None, version=version,
                phase_levels=phase_levels, phase_range_turns=phase_range_turns,
            ),
            settling_s=settling_s,
        )  # fmt: skip
        self._longest = core.getSLMSequenceMaxLength(self._slm) if sequences else 0
        label = core.getShutterDevice() if shutter is None else shutter
        self._auto = core.getAutoShutter()
        if label:
            label = _label(core, "shutter", label, "")
            core.setAutoShutter(False)
            self._shutter = lambda is_open: self._let_light(label, is_open)
            self._let_light(label, True)

    def _bits(self) -> int:
        if self.core.hasProperty(self._camera, "PixelFormat"):
            value = self.core.getProperty(self._camera, "PixelFormat")
            digits = str(getattr(value, "value", value)).removeprefix("Mono")
            if digits in ("8", "10", "12", "14", "16"):
                return int(digits)
        depth = int(self.core.getImageBitDepth())
        if depth > 16:
            raise ValueError(
                f"The camera {self._camera!r} says that its counts have {depth} bits, but it must be 16 at most. Give "
                "bits: 0 if it gives float32."
            )
        return depth

    def _let_light(self, label: str, is_open: bool) -> None:
        self.core.setShutterOpen(label, is_open)
        self.core.waitForDevice(label)

    def close(self) -> None:
        """Give the core back: all of the sensor, and auto-shutter as it was."""
        self.core.setCameraDevice(self._camera)
        self.core.clearROI()
        self.core.setAutoShutter(self._auto)

    def __enter__(self) -> CoreBench:
        """Return the bench."""
        return self

    def __exit__(self, *error: object) -> None:
        """Give the core back."""
        self.close()

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames, in seconds.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds: the exposure and the time of the rows. A core knows no more; one by one it takes what it takes.
        """
        return exposure_s + n_rows * self.device.camera.row_time_s

    def set_reference(self, phase_rad: float | None) -> None:
        """Set the phase of the reference arm, if there is one.

        Parameters
        ----------
        phase_rad : float or None
            Radians; None blocks the arm.
        """
        if self._reference is not None:
            self._reference(phase_rad)

    def put(self, picture: np.ndarray) -> None:
        """Show a picture.

        Parameters
        ----------
        picture : ndarray of uint8, shape (rows, columns)
            0 and 1, or levels.
        """
        self.core.setSLMImage(self._slm, self._pixels(picture))
        self.core.displaySLMImage(self._slm)
        self.core.waitForDevice(self._slm)

    def take(self, *, exposure_s: float, roi: Roi) -> np.ndarray:
        """Expose a new frame, and return it.

        Parameters
        ----------
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns) on the sensor.

        Returns
        -------
        ndarray, shape (n_rows, n_columns)
            Counts.

        Raises
        ------
        RuntimeError
            If the camera does not follow, or its counts are not those of `bits` and `shift`.
        """
        read = self._ready(exposure_s, roi)
        self.core.snapImage()
        return self._counts(self.core.getImage(), read, roi)

    def show(self, mirrors: np.ndarray, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        """Show pictures one after the other and take a frame of each, as `LaboratoryBench.show`.

        Parameters
        ----------
        mirrors : ndarray of uint8, shape (n, rows, columns)
            Pictures.
        exposure_s, frametime_s, roi : float, float, tuple of int
            As in `LaboratoryBench.show`.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts; fewer frames than pictures if some were lost.
        """
        if len(mirrors) < 2 or self._longest < 2:
            return super().show(mirrors, exposure_s=exposure_s, frametime_s=frametime_s, roi=roi)
        read = self._ready(exposure_s, roi)
        # A buffer that is full ends a sequence.
        part = min(self._longest, self.core.getBufferTotalCapacity() or self._longest)
        frames: list[np.ndarray] = []
        for start in range(0, len(mirrors), part):
            shown = mirrors[start : start + part]
            frames += self._sequence(shown, read, roi, frametime_s)
            if len(frames) < start + len(shown):
                break  # what was lost is said by whoever counts
        return np.stack(frames) if frames else np.empty((0, *roi[2:]), dtype=self.device.camera.dtype)

    def _sequence(self, pictures: np.ndarray, read: Roi, roi: Roi, frametime_s: float) -> list[np.ndarray]:
        core, n = self.core, len(pictures)
        frames: list[np.ndarray] = []
        core.loadSLMSequence(self._slm, [self._pixels(picture).tobytes() for picture in pictures])
        core.startSLMSequence(self._slm)
        try:
            core.waitForDevice(self._slm)
            core.startSequenceAcquisition(n, frametime_s * 1e3, True)
            due = time.monotonic() + self._timeout_s + frametime_s
            while len(frames) < n and time.monotonic() < due:
                if core.getRemainingImageCount():
                    frames.append(self._counts(core.popNextImage(), read, roi))
                    due = time.monotonic() + self._timeout_s + frametime_s
                elif core.isSequenceRunning() or core.getRemainingImageCount():
                    time.sleep(_POLL_S)
                else:
                    break
        finally:
            if core.isSequenceRunning():
                core.stopSequenceAcquisition()
            core.stopSLMSequence(self._slm)
        return frames

    def _pixels(self, picture: np.ndarray) -> np.ndarray:
        return picture if self.device.phase_levels else picture * np.uint8(self._on)

    def _ready(self, exposure_s: float, roi: Roi) -> Roi:
        """Set camera, exposure and region where they are others; return the region that is read."""
        core, label = self.core, self._camera
        if core.getCameraDevice() != label:
            core.setCameraDevice(label)
        ms = exposure_s * 1e3
        # What a camera makes of it may be another number; it is asked for each once.
        if self._exposure_ms != (ms, core.getExposure(label)):
            core.setExposure(label, ms)
            self._exposure_ms = (ms, core.getExposure(label))
        if not abs(self._exposure_ms[1] - ms) <= self._tolerance * ms:
            raise RuntimeError(
                f"The camera {label!r} was asked for an exposure of {ms:g} ms and set {self._exposure_ms[1]:g} ms, but "
                f"it may differ by {self._tolerance:g} of it (exposure_tolerance): choose one that it has."
            )
        read = self._region()
        if read != roi:
            try:
                x, y = self._origin
                core.setROI(label, x + roi.column, y + roi.row, roi.n_columns, roi.n_rows)
            except (RuntimeError, ValueError):  # a camera that reads all, or only some regions
                core.clearROI()
            read = self._region()
            if not _within(roi, read):
                core.clearROI()
                read = self._region()
        if not _within(roi, read):
            raise RuntimeError(f"The camera {label!r} reads {read}, but the region {tuple(roi)} was asked for.")
        return read

    def _region(self) -> Roi:
        x, y, width, height = self.core.getROI(self._camera)
        return Roi(y - self._origin[1], x - self._origin[0], height, width)

    def _counts(self, image: np.ndarray, read: Roi, roi: Roi) -> np.ndarray:
        """Return the frame of a region as counts of the type of the record."""
        camera = self.device.camera
        if image.shape != tuple(read[2:]):
            raise RuntimeError(
                f"The camera {self._camera!r} gave an array of the shape {image.shape}, but its region has "
                f"{tuple(read[2:])}: rows, columns."
            )
        top, left = roi.row - read.row, roi.column - read.column
        frame = image[top : top + roi.n_rows, left : left + roi.n_columns]
        if not camera.quantise:
            return frame.astype(np.float32)
        if frame.dtype.kind != "u":
            raise RuntimeError(
                f"The camera {self._camera!r} gave {frame.dtype}, but of counts it must be whole: give bits=0."
            )
        if self._shift:
            if (frame & ((1 << self._shift) - 1)).any():
                raise RuntimeError(
                    f"Counts have bits below the lowest {self._shift}, but with shift = {self._shift} these must be 0."
                )
            frame = frame >> self._shift
        if frame.max() > camera.full_scale_dn:
            raise RuntimeError(
                f"A count is {frame.max()}, but with bits = {camera.bits} it is {camera.full_scale_dn} at most. If "
                "counts are left-justified, give shift."
            )
        return frame.astype(camera.dtype)


def _label(core: CMMCorePlus, name: str, given: str | None, current: str) -> str:
    label = current if given is None else given
    if not label:
        raise ValueError(f"{name} is not given, and the core has no current one: load a device, or say its label.")
    if label not in core.getLoadedDevices():
        raise ValueError(f"{name} is {label!r}, but the core has {', '.join(map(repr, core.getLoadedDevices()))}.")
    return label


def _within(inner: Roi, outer: Roi) -> bool:
    return (
        outer.row <= inner.row
        and outer.column <= inner.column
        and inner.row + inner.n_rows <= outer.row + outer.n_rows
        and inner.column + inner.n_columns <= outer.column + outer.n_columns
    )


def load(
    core: UniMMCore, bench: Any, *, layout: MirrorLayout | None = None, exposure_s: float | None = None,
    roi: AnyRoi | None = None, longest_sequence: int = 1000, camera: str = "Camera", slm: str = "SLM",
    shutter: str = "Shutter", reference: str = "Reference",
) -> Instruments:  # fmt: skip
    """Load a bench into a core, as its current camera, SLM and shutter.

    Programs and widgets that are written for the core then see the bench: snapImage, sequences, `mda`. The core's
    engine of acquisitions becomes an `SlmEngine`, unless somebody has set one of his own.

    Parameters
    ----------
    core : UniMMCore
        A core of ``pymmcore_plus.experimental.unicore``, which has devices of Python.
    bench : Bench
        Any bench: `opusim.OpticalBench`, or a laboratory's.
    layout, exposure_s, roi : MirrorLayout, float, tuple of int, optional
        As for `Instruments`.
    longest_sequence : int
        Pictures of a sequence of the SLM at most, which are kept as bytes; 0 for an SLM without sequences.
    camera, slm, shutter : str
        Labels of the devices.
    reference : str
        Label of the reference arm, where the bench has one, or does not say.

    Returns
    -------
    Instruments
        What the devices work with.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be, or a label is in use; then nothing is loaded.
    """
    if not isinstance(core, UniMMCore):
        raise TypeError(f"core is {core!r}, but it must be a pymmcore_plus.experimental.unicore.UniMMCore.")
    both = Instruments(bench, layout=layout, exposure_s=exposure_s, roi=roi)
    table = _Table(both)
    devices: dict[str, Any] = {}
    labels = (camera, slm, shutter, reference)
    for label in labels:
        if not isinstance(label, str) or not label or label in core.getLoadedDevices() or labels.count(label) > 1:
            raise ValueError(f"A label is {label!r}, but it must be a text that no other device has.")
    devices[camera] = BenchCamera(table)
    devices[slm] = BenchSlm(table, longest_sequence)
    devices[shutter] = BenchShutter(table)
    if not has(bench, Drivable) or bench.device.reference.present:
        devices[reference] = BenchReference(table)
    for label, device in devices.items():
        core.loadPyDevice(label, device)
        core.initializeDevice(label)
    core.setCameraDevice(camera)
    core.setSLMDevice(slm)
    core.setShutterDevice(shutter)
    table.belongs_to(core, shutter)
    if type(core.mda.engine) is MDAEngine:
        core.mda.set_engine(SlmEngine(core, timeout_first_frame=_FIRST_FRAME_S))
    return both
