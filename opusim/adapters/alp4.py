"""ALP4lib, the driver of ViALUX's micromirrors: lab scripts at our bench, and such mirrors as a bench of ours.

A program with ``from ALP4 import *`` needs the maker's library and a board. By ``opusim run``, or after
``opusim.drivers.install()``, it finds a module ALP4 of opusim's in place of ALP4lib 1.1.0, with a simulated board whose
mirrors are those of an `opusim.OpticalBench`. `AlpCamera` takes frames of what the board shows, `use` says on which
bench it is, `trigger` sends pulses to its input. No package is needed for that.

`AlpBench` is the other way: an ALP4 object, real or simulated, and a camera as a bench, for `opusim.calibration` and an
`opusim.OPU`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.warn import warn_outside
from opusim.bench.bench import OpticalBench
from opusim.bench.inputs import checked_exposure
from opusim.bench.laboratory import LabDevice
from opusim.bench.protocol import FramesLost, input_layout_of
from opusim.bench.region import AnyRoi, Roi, checked_roi
from opusim.drivers.compat.alp4 import constants, table
from opusim.drivers.compat.alp4.board import MODELS
from opusim.drivers.compat.alp4.library import Library
from opusim.patterns.layout import MirrorLayout

from .instruments import ShutteredBench

__all__ = ["AlpBench", "AlpCamera", "trigger", "use"]


def use(
    bench: OpticalBench | None = None, *, dmd: str | None = None, grid: str | tuple[int, int] | MirrorLayout = "auto"
) -> OpticalBench:
    """Put the board that ALP4 finds on a bench, before a program takes it.

    Without a call the bench is that of the environment, as for ``opusim run --device``: ``OPUSIM_DEVICE``, else
    "aurora", with a DLP7000 in place of mirrors that such a board does not drive; ``OPUSIM_SEED``; and
    ``OPUSIM_ALP4_GRID`` for `grid`.

    Parameters
    ----------
    bench : OpticalBench, optional
        The bench, with 768 x 1024 mirrors (DLP7000) or 1080 x 1920 (DLP9500); that of the environment by default.
    dmd : {"DLP7000", "DLP9500"}, optional
        Mirrors of the bench of the environment.
    grid : {"auto", "mirrors"}, tuple of int or MirrorLayout
        On which blocks of mirrors the pictures lie (see Notes): "auto" finds out, "mirrors" takes single mirrors, two
        numbers are (rows, columns) of blocks in the middle of the mirrors, as large as fit.

    Returns
    -------
    OpticalBench
        The bench.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    RuntimeError
        If a program has the board at present.

    Notes
    -----
    A bench under the resolution "auto" has a mode for each block of mirrors that is drawn as one, which is fast, and
    another realisation of the medium than one for each mirror. So that the same mirrors meet one matrix, the grid of a
    program is chosen once, when light is first needed: the largest square blocks that have one value each in all
    pictures in the memory of the board, if these are at least 16 bit planes; else single mirrors. A picture that does
    not lie on it is refused where the grid was given, and else ends it with a warning. A bench under "mirrors" has one
    matrix for all.
    """
    if bench is None:
        bench = table.bench_from_environment(dmd)
    elif dmd is not None:
        raise ValueError(f"dmd is {dmd!r} beside a bench, which has mirrors of its own: it must be None.")
    if not isinstance(bench, OpticalBench):
        raise TypeError(f"bench is {bench!r}, but it must be an opusim.OpticalBench.")
    if not bench.device.modulator.binary or tuple(bench.mirror_shape) not in MODELS:
        known = " or ".join(f"{model.shape} ({model.preset})" for model in MODELS.values())
        raise ValueError(
            f"bench has a modulator of {tuple(bench.mirror_shape)}, but the board drives micromirrors of {known}."
        )
    table.use(bench, grid)
    return bench


def trigger(n: int = 1) -> None:
    """Send pulses to the trigger input of the board, one a picture time.

    In the mode ALP_SLAVE each shows the next picture, under ALP_PROJ_STEP the next one takes over; a camera that is
    armed takes a frame of each.

    Parameters
    ----------
    n : int
        How many.

    Raises
    ------
    TypeError, ValueError
        If it is no whole number, or below 1.
    """
    board = table.table().board
    with board.lock:
        board.trigger(validation.integer("n", n, low=1))


_CURE = "Set a longer pictureTime, fewer rows or a shorter exposure."


class AlpCamera:
    """The camera of the bench that the board is on, for lab scripts.

    Armed, it takes a frame at each synchronisation pulse of the board: frame k is of picture k, through repetitions and
    loops. Time is simulated: it goes on when frames are taken, and when a program waits for a sequence.

    Parameters
    ----------
    roi : tuple of int, optional
        (row, column, n_rows, n_columns) that is read; the whole sensor by default.
    exposure_s : float, optional
        Exposure in seconds, in whole microseconds; that of the bench's device by default.

    Attributes
    ----------
    lost : int
        Pulses of the last acquisition that came while the camera was not ready.
    reference_phase_rad : float or None
        Phase of the reference arm in radians; None, as at first, blocks it. May be set.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Notes
    -----
    A pulse that comes before the camera is ready again (`OpticalBench.minimum_frametime_s`) is lost, which a warning
    tells. An exposure that is longer than the light of a picture integrates the dark phase, and the next picture; gray
    pictures are integrated plane by plane, each for its time.

    Examples
    --------
    ::

        camera = AlpCamera(roi=(500, 900, 32, 32), exposure_s=200e-6)
        camera.arm(100)
        DMD.Run(loop=False)
        frames = camera.frames()
    """

    def __init__(self, roi: AnyRoi | None = None, exposure_s: float | None = None) -> None:
        self._table = table.table()
        self.roi = Roi.whole(self.bench.sensor_shape) if roi is None else roi
        self.exposure_s = self.bench.device.operation.exposure_s if exposure_s is None else exposure_s
        self.reference_phase_rad: float | None = None
        self.lost = 0
        self._wanted = self._armed = 0
        self._ready_us = 0
        self._taken: list[np.ndarray] = []
        # When the sequence started whose pulses are counted, and the first one that is not.
        self._counted: tuple[int, int] = (-1, 0)

    @property
    def bench(self) -> OpticalBench:
        """The bench."""
        return self._table.bench

    @property
    def sensor_shape(self) -> tuple[int, int]:
        """Pixels as (rows, columns)."""
        return self.bench.sensor_shape

    @property
    def roi(self) -> Roi:
        """(row, column, n_rows, n_columns) that is read."""
        return self._roi

    @roi.setter
    def roi(self, value: AnyRoi) -> None:
        self._roi = checked_roi(value, self.sensor_shape)

    @property
    def exposure_s(self) -> float:
        """Exposure in seconds."""
        return self._exposure_us * 1e-6

    @exposure_s.setter
    def exposure_s(self, value: float) -> None:
        exposure_us = checked_exposure(value) * 1e6
        if round(exposure_us) < 1 or abs(exposure_us - round(exposure_us)) > 1e-3:
            raise ValueError(f"exposure_s is {value!r}, but it must be a whole number of microseconds, at least one.")
        self._exposure_us = round(exposure_us)

    @property
    def frametime_s(self) -> float:
        """Shortest time between two frames in seconds: pulses that come faster are lost."""
        return self._frametime_us * 1e-6

    @property
    def _frametime_us(self) -> int:
        least_us = self.bench.minimum_frametime_s(self.roi[2], self.exposure_s) * 1e6
        return math.ceil(least_us - 1e-6)

    def arm(self, n: int) -> None:
        """Wait for pulses: take a frame at each of the next ones. Frames of before are let go.

        Parameters
        ----------
        n : int
            How many.

        Raises
        ------
        TypeError, ValueError
            If it is no whole number, or below 1.
        """
        n = validation.integer("n", n, low=1)
        board = self._table.board
        with board.lock:
            # It is ready when this returns.
            board.pass_time(max(0, self._ready_us - board.now_us))
            self._wanted = self._armed = n
            self.lost, self._taken, self._counted = 0, [], (-1, 0)
            if self not in board.watchers:
                board.watchers.append(self)

    def disarm(self) -> None:
        """Wait for no more pulses."""
        with self._table.board.lock:
            self._wanted = 0
            if self in self._table.board.watchers:
                self._table.board.watchers.remove(self)

    def frames(self) -> np.ndarray:
        """Return the frames for which the camera was armed.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts, in the order of the pulses.

        Raises
        ------
        RuntimeError
            If it was not armed.
        TimeoutError
            If the board gives fewer pulses; the camera stays armed, and keeps the frames that it has.

        Warns
        -----
        UserWarning
            If pulses were lost.
        """
        with self._table.board.lock:
            if not self._armed:
                raise RuntimeError("The camera is not armed: call arm(n) before the sequence is started.")
            self.watch()
            if self._wanted:
                lost, cure = "", "Start a sequence of more pictures, or send triggers in slave mode."
                if self.lost:
                    lost = f", and {self.lost} pulses came while the camera was not ready{self._why_lost()}"
                    cure = _CURE
                raise TimeoutError(
                    f"The camera was armed for {self._armed} frames, but has {self._armed - self._wanted}: the board "
                    f"shows nothing more{lost}. {cure}"
                )
            frames = self._taken[0] if len(self._taken) == 1 else np.concatenate(self._taken)
            self._armed, self._taken = 0, []
            self.disarm()
            if self.lost:
                warn_outside(
                    f"{self.lost} pulses came while the camera was not ready{self._why_lost()}. Frames are of the "
                    f"pictures whose pulses it took. {_CURE}"
                )
            return frames

    def _why_lost(self) -> str:
        return (
            f": it needs {self._frametime_us} us a frame for {self.roi[2]} rows and an exposure of "
            f"{self._exposure_us} us"
        )

    def take(self, n: int, start: Callable[[], object], *, exposure_s: float, roi: AnyRoi) -> np.ndarray:
        """Take frames of what a function starts: the camera that `AlpBench` asks for.

        Parameters
        ----------
        n : int
            How many.
        start : callable
            Starts a sequence of as many pictures, and returns.
        exposure_s : float
            Exposure in seconds.
        roi : tuple of int
            (row, column, n_rows, n_columns).

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts.
        """
        self.exposure_s, self.roi = exposure_s, roi
        self.arm(n)
        try:
            start()
            return self.frames()
        finally:
            self.disarm()

    def snap(self, n: int = 1) -> np.ndarray:
        """Take frames now, one after the other, of whatever the mirrors show meanwhile.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts.

        Raises
        ------
        TypeError, ValueError
            If it is no whole number, or below 1.
        """
        n = validation.integer("n", n, low=1)
        board, step_us = self._table.board, self._frametime_us
        with board.lock:
            frames = []
            for _ in range(n):
                board.pass_time(max(0, self._ready_us - board.now_us))
                frames.append(
                    self._table.frame(board.now_us, self._exposure_us, step_us, self.roi, self.reference_phase_rad)
                )
                self._ready_us = board.now_us + step_us
                board.pass_time(step_us)
            return np.stack(frames)

    def dark(self, n: int = 1) -> np.ndarray:
        """Take frames with the laser shut; the board stands still meanwhile.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts.
        """
        with self._table.board.lock:
            return self._table.dark(validation.integer("n", n, low=1), self._exposure_us, self.roi)

    def watch(self) -> None:
        """Take the frames that are still wanted, as far as there are pulses for them."""
        board = self._table.board
        while self._wanted and board.active is not None and board.pulses >= 1:
            projection, period_us = board.active, board.active.timing.picture_us
            now, end = board.shown_now, board.shown_now + board.pulses
            # Pulses before this one are taken or counted.
            begun = max(now, self._counted[1]) if self._counted[0] == board.start_us else now
            first = max(begun, -(-(self._ready_us - board.start_us) // period_us))
            stride = max(1, -(-self._frametime_us // period_us))
            left = end - first
            n = int(min(self._wanted, -(-left // stride))) if left > 0 else 0
            if n < 1:
                self.lost += max(0, int(end - begun))
                self._counted = board.start_us, int(end)
                if board.triggered:
                    return
                board.pass_time(int(board.end_us()) - board.now_us)
                continue
            first_us = board.start_us + first * period_us
            self._taken.append(
                self._table.frames(
                    projection, first_us, stride, first, n, self._exposure_us, self.roi, self.reference_phase_rad
                )
            )
            self._wanted -= n
            self.lost += (first - begun) + (n - 1) * (stride - 1)
            self._counted = board.start_us, first + (n - 1) * stride + 1
            last_us = first_us + (n - 1) * stride * period_us
            self._ready_us = last_us + self._frametime_us
            if board.triggered and not board.projection_settings[constants.ALP_PROJ_STEP]:
                return  # whoever gives triggers lets time go on
            board.pass_time(last_us + period_us - board.now_us)


class AlpBench(ShutteredBench):
    """A bench of micromirrors that an ALP4 object drives, real or simulated, and a camera that its pulses trigger.

    Patterns of a call are shown in parts, as on any `LaboratoryBench`: `sequence_frames` of them, 64, and four more
    where there are guards. Each part is uploaded and shown as one sequence of the board, or as several where its memory
    has less room. With a stepped reference each frame is one.

    Parameters
    ----------
    dmd : ALP4
        After ``Initialize()``. It stays the caller's, to be freed.
    camera : callable
        ``camera(n, start, exposure_s=..., roi=...)`` makes the camera ready for `n` frames, one at each pulse of the
        board, calls ``start()``, which runs the sequence, and returns the frames, (n, n_rows, n_columns).
        `AlpCamera.take` is one.
    device : LabDevice
        What a driver needs to know; mirrors as the board has them.
    camera_frametime_s : callable
        ``camera_frametime_s(n_rows, exposure_s)`` returns the shortest time between two pulses at which the camera
        loses none, in seconds.
    shutter : callable, optional
        Opens the laser's shutter when given True and shuts it when given False, and returns when it stands. Without
        one, dark frames are those of mirrors that are all off, which is said in a warning.
    guards : bool, optional
        Whether parts have guard frames, as for `LaboratoryBench`. None, the default, is False on a simulated board,
        which tells of each pulse that the camera loses, and True (or what the class says) on any other.
    input_layout : MirrorLayout, optional
        How inputs lie on the mirrors: guards lie so, and calibrations and an `opusim.OPU` show features of it. Without
        one, guards are macro-mirrors in line over all mirrors, and any pattern is shown.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Notes
    -----
    A simulated board finds the blocks of mirrors that a program draws by what is in its memory (`use`). Guards that are
    not of these blocks leave single mirrors, which take some hundred times as long; a grid that was declared refuses
    them. Where guards are wanted on such a board, give the blocks as `input_layout`.
    """

    def __init__(
        self, dmd: Any, camera: Callable[..., np.ndarray], device: LabDevice,
        camera_frametime_s: Callable[[int, float], float], *, shutter: Callable[[bool], object] | None = None,
        guards: bool | None = None, input_layout: MirrorLayout | None = None,
    ) -> None:  # fmt: skip
        super().__init__(device, shutter=shutter)
        for name, value in (("camera", camera), ("camera_frametime_s", camera_frametime_s)):
            if not callable(value):
                raise TypeError(f"{name} is {value!r}, but it must be a function.")
        shape = (int(dmd.nSizeY), int(dmd.nSizeX))
        if tuple(device.mirror_shape) != shape:
            raise ValueError(f"device has {tuple(device.mirror_shape)} mirrors, but the board has {shape}.")
        self._dmd, self._camera, self._camera_frametime_s = dmd, camera, camera_frametime_s
        if guards is not None:
            self.guards = validation.flag("guards", guards)
        elif isinstance(getattr(dmd, "_ALPLib", None), Library):
            # Pulses that are lost are told by the board and its camera.
            self.guards = False
        if input_layout is not None:
            self.input_layout = input_layout
            input_layout_of(self)  # which refuses what is no layout of these mirrors
        self._picture_us = self._shortest_us()

    def minimum_frametime_s(self, n_rows: int, exposure_s: float) -> float:
        """Return the shortest time between frames: what the camera needs, latency and exposure, what the board can.

        Parameters
        ----------
        n_rows : int
            Rows of the sensor that are read.
        exposure_s : float
            Exposure in seconds.

        Returns
        -------
        float
            Seconds, a whole number of microseconds.
        """
        least_s = max(float(self._camera_frametime_s(n_rows, exposure_s)), exposure_s + self.device.latency_s)
        return max(math.ceil(least_s * 1e6 - 1e-6), self._picture_us) * 1e-6

    def show(self, mirrors: np.ndarray, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        """Show patterns as sequences of the board and return a frame for each, as `LaboratoryBench.show`.

        Parameters
        ----------
        mirrors : ndarray of uint8, shape (n, rows, columns)
            Patterns.
        exposure_s, frametime_s, roi : float, float, tuple of int
            As in `LaboratoryBench.show`.

        Returns
        -------
        ndarray, shape (n, n_rows, n_columns)
            Counts.

        Raises
        ------
        FramesLost
            If the camera returns another number of frames: `expose` then shows them again.
        RuntimeError
            If the board has no memory left.
        """
        room = int(self._dmd.DevInquire(constants.ALP_AVAIL_MEMORY))
        if room < 1:
            raise RuntimeError("The board has no memory left for a picture: free sequences that are not needed.")
        parts = [
            self._as_sequence(mirrors[a : a + room], exposure_s=exposure_s, frametime_s=frametime_s, roi=roi)
            for a in range(0, len(mirrors), room)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _unlit(self, n_frames: int, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        off = np.zeros((n_frames, *self.mirror_shape), dtype=np.uint8)
        return self.show(off, exposure_s=exposure_s, frametime_s=frametime_s, roi=roi)

    def _as_sequence(self, mirrors: np.ndarray, *, exposure_s: float, frametime_s: float, roi: Roi) -> np.ndarray:
        dmd, n = self._dmd, len(mirrors)
        sequence = self._sequence(n)
        try:
            dmd.SeqPut(self._uploaded(mirrors), SequenceId=sequence)
            dmd.SetTiming(SequenceId=sequence, pictureTime=math.ceil(frametime_s * 1e6 - 1e-3))
            frames = np.asarray(
                self._camera(n, lambda: dmd.Run(SequenceId=sequence, loop=False), exposure_s=exposure_s, roi=roi)
            )
        finally:
            dmd.Halt()
            dmd.FreeSeq(sequence)
        if frames.shape[:1] != (n,):
            raise FramesLost(
                f"camera returned an array of the shape {frames.shape} for {n} pictures: pulses were lost."
            )
        return frames

    def _uploaded(self, mirrors: np.ndarray) -> np.ndarray:
        model = MODELS.get(self.mirror_shape)
        if model is None:  # how rows of other boards are padded is not known: a byte a mirror
            return (mirrors * np.uint8(255)).ravel()
        packed = np.packbits(mirrors, axis=2)
        padded = np.zeros((len(mirrors), mirrors.shape[1], model.row_bytes), dtype=np.uint8)
        padded[:, :, : packed.shape[2]] = packed
        return padded.ravel()

    def _sequence(self, n: int) -> Any:
        sequence = self._dmd.SeqAlloc(nbImg=n, bitDepth=1)
        if self.mirror_shape in MODELS:
            self._dmd.SeqControl(constants.ALP_DATA_FORMAT, constants.ALP_DATA_BINARY_TOPDOWN, SequenceId=sequence)
        self._dmd.SeqControl(constants.ALP_BIN_MODE, constants.ALP_BIN_UNINTERRUPTED, SequenceId=sequence)
        return sequence

    def _shortest_us(self) -> int:
        """Ask the board for its shortest picture time without a dark phase, by a sequence of one picture."""
        sequence = self._sequence(1)
        try:
            self._dmd.SetTiming(SequenceId=sequence)
            return int(self._dmd.SeqInquire(constants.ALP_MIN_PICTURE_TIME, SequenceId=sequence))
        finally:
            self._dmd.FreeSeq(sequence)
