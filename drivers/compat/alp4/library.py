"""The calls of ViALUX's ALP library, over a simulated board: return codes, numbers of the C interface, pointers.

It takes ctypes' objects as ALP4lib hands them to the library, so that ALP4lib itself works on it too.
"""

from __future__ import annotations

import ctypes as ct
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from . import constants as c
from .board import (
    _LONGEST_DELAY_US,
    _LONGEST_US,
    _QUEUE,
    ADDR_INVALID,
    NOT_AVAILABLE,
    NOT_IDLE,
    PARM_INVALID,
    SEQ_IN_USE,
    AlpReturn,
    Board,
)  # fmt: skip

__all__ = ["Library"]

_DEV_BUSY, _DEV_IDLE = 1100, 1102
_PROJ_ACTIVE, _PROJ_IDLE = 1200, 1201
_VERSION = 0x0403  # ALP-4.3
_DEGREES = 40 * 256  # warm boards; in 1/256 of a degree
_NO_QUEUE_ID = 0xFFFFFFFF


def _call(function: Callable[..., None]) -> Callable[..., int]:
    """Return a call that answers by a return code."""

    @wraps(function)
    def answering(self: Library, device: Any, *arguments: Any) -> int:
        with self.board.lock:
            try:
                if _number(device) != self.device_id:
                    raise AlpReturn(NOT_AVAILABLE)
                function(self, *arguments)
            except AlpReturn as answer:
                return answer.code
            return c.ALP_OK

    return answering


def _number(value: Any) -> int:
    """Return the number that a C function would see."""
    if value is None:
        return 0
    return int(getattr(value, "value", value))


def _behind(pointer: Any) -> Any:
    """Return what ctypes' byref or pointer was made of; None where it is neither."""
    target = getattr(pointer, "_obj", None)
    return getattr(pointer, "contents", None) if target is None else target


def _to(pointer: Any, value: int) -> None:
    """Write a number where a pointer leads."""
    target = _behind(pointer)
    if target is None:
        raise AlpReturn(ADDR_INVALID)
    if isinstance(target, ct.c_double):
        # The library knows of no doubles: it writes a whole number into their bytes.
        ct.memmove(ct.addressof(target), ct.byref(ct.c_int32(value)), 4)
    else:
        target.value = value


def _structure(pointer: Any, kind: type[ct.Structure]) -> Any:
    target = _behind(pointer)
    # ALP4lib has structures of its own, laid out alike.
    if [each[0] for each in getattr(target, "_fields_", ())] != [each[0] for each in kind._fields_]:
        raise AlpReturn(ADDR_INVALID)
    return target


class Library:
    """The library, with one board.

    Parameters
    ----------
    board : Board
        The board.

    Attributes
    ----------
    device_id : int
        Identifier of the board.
    uploaded : ndarray or None
        What the next AlpSeqPut takes, in place of the bytes behind its pointer: the caller knows its size.
    """

    device_id = 1

    def __init__(self, board: Board) -> None:
        self.board = board
        self.uploaded: np.ndarray | None = None

    # ------------------------------------------------------------------ device

    def AlpDevAlloc(self, number: Any, flag: Any, device: Any) -> int:  # noqa: N802 - the library's names
        """Take the board."""
        with self.board.lock:
            try:
                self.board.allocate(_number(number))
            except AlpReturn as answer:
                return answer.code
            _to(device, self.device_id)
            return c.ALP_OK

    @_call
    def AlpDevFree(self) -> None:  # noqa: N802
        """Give the board back."""
        self.board.free()

    @_call
    def AlpDevHalt(self) -> None:  # noqa: N802
        """Stop all."""
        self.board.halt()

    @_call
    def AlpDevInquire(self, name: Any, pointer: Any) -> None:  # noqa: N802
        """Tell something of the board."""
        board, name = self.board, _number(name)
        board.check()
        rows, columns = board.model.shape
        known = {
            c.ALP_DEVICE_NUMBER: board.serial, c.ALP_VERSION: _VERSION, c.ALP_AVAIL_MEMORY: board.available,
            c.ALP_DEV_STATE: _DEV_IDLE if board.active is None else _DEV_BUSY, c.ALP_USB_CONNECTION: 0,
            c.ALP_DEV_DMDTYPE: board.model.dmd_type, c.ALP_DEV_DISPLAY_HEIGHT: rows, c.ALP_DEV_DISPLAY_WIDTH: columns,
            c.ALP_DDC_FPGA_TEMPERATURE: _DEGREES, c.ALP_APPS_FPGA_TEMPERATURE: _DEGREES,
            c.ALP_PCB_TEMPERATURE: _DEGREES, **board.device_settings,
        }  # fmt: skip
        _to(pointer, _known(known, name))

    @_call
    def AlpDevControl(self, name: Any, value: Any) -> None:  # noqa: N802
        """Set something of the board."""
        board = self.board
        board.check()
        allowed: dict[int, Any] = {
            c.ALP_SYNCH_POLARITY: (c.ALP_LEVEL_HIGH, c.ALP_LEVEL_LOW),
            c.ALP_TRIGGER_EDGE: (c.ALP_EDGE_FALLING, c.ALP_EDGE_RISING),
            c.ALP_TRIGGER_TIME_OUT: (c.ALP_TIME_OUT_ENABLE, c.ALP_TIME_OUT_DISABLE), c.ALP_USB_CONNECTION: (0,),
            c.ALP_DEV_DMDTYPE: (0, board.model.dmd_type), c.ALP_PWM_LEVEL: range(101),
            c.ALP_DEV_DMD_MODE: (c.ALP_DMD_RESUME, c.ALP_DMD_POWER_FLOAT),
        }  # fmt: skip
        name, value = _allowed(allowed, name, value)
        if name in board.device_settings:
            board.device_settings[name] = value

    @_call
    def AlpDevControlEx(self, name: Any, structure: Any) -> None:  # noqa: N802
        """Set which pictures have pulses on the other outputs: taken, and of no effect, as nothing hangs on them."""
        self.board.check()
        gates = (c.ALP_DEV_DYN_SYNCH_OUT1_GATE, c.ALP_DEV_DYN_SYNCH_OUT2_GATE, c.ALP_DEV_DYN_SYNCH_OUT3_GATE)
        if _number(name) not in gates:
            raise AlpReturn(PARM_INVALID)
        given = _structure(structure, c.tAlpDynSynchOutGate)
        if not given.Period <= 16 or given.Polarity > 1:
            raise AlpReturn(PARM_INVALID)

    # ------------------------------------------------------------------ sequences

    @_call
    def AlpSeqAlloc(self, bits: Any, n: Any, pointer: Any) -> None:  # noqa: N802
        """Take memory for a sequence."""
        _to(pointer, self.board.new_sequence(_number(bits), _number(n)).number)

    @_call
    def AlpSeqFree(self, number: Any) -> None:  # noqa: N802
        """Give the memory of a sequence back."""
        self.board.free_sequence(_number(number))

    @_call
    def AlpSeqControl(self, number: Any, name: Any, value: Any) -> None:  # noqa: N802
        """Set something of a sequence."""
        self.board.control_sequence(_number(number), _number(name), _number(value))

    @_call
    def AlpSeqTiming(  # noqa: N802
        self, number: Any, illuminate: Any, picture: Any, delay: Any, pulse: Any, trigger: Any
    ) -> None:  # fmt: skip
        """Set the times of a sequence."""
        self.board.set_timing(_number(number), *map(_number, (illuminate, picture, delay, pulse, trigger)))

    @_call
    def AlpSeqInquire(self, number: Any, name: Any, pointer: Any) -> None:  # noqa: N802
        """Tell something of a sequence."""
        sequence = self.board.sequence(_number(number))
        t = sequence.timing
        least = self.board.model.minimum_us(t.bits)
        known = {
            c.ALP_BITPLANES: sequence.bits, c.ALP_PICNUM: sequence.n, c.ALP_PICTURE_TIME: t.picture_us,
            c.ALP_ILLUMINATE_TIME: t.illuminate_us, c.ALP_SYNCH_DELAY: t.delay_us, c.ALP_SYNCH_PULSEWIDTH: t.pulse_us,
            c.ALP_TRIGGER_IN_DELAY: t.trigger_delay_us, c.ALP_MAX_SYNCH_DELAY: self.board.longest_delay_us(sequence),
            c.ALP_MAX_TRIGGER_IN_DELAY: _LONGEST_DELAY_US, c.ALP_MIN_ILLUMINATE_TIME: least,
            c.ALP_MIN_PICTURE_TIME: self.board.shortest_us(sequence), c.ALP_MAX_PICTURE_TIME: _LONGEST_US,
            c.ALP_ON_TIME: t.illuminate_us, c.ALP_OFF_TIME: t.picture_us - t.illuminate_us, **sequence.settings,
        }  # fmt: skip
        _to(pointer, _known(known, _number(name)))

    @_call
    def AlpSeqPut(self, number: Any, first: Any, load: Any, data: Any) -> None:  # noqa: N802
        """Write pictures."""
        self._put(_number(number), _number(first), _number(load), data, None)

    @_call
    def AlpSeqPutEx(self, number: Any, structure: Any, data: Any) -> None:  # noqa: N802
        """Write some lines of pictures."""
        given = _structure(structure, c.tAlpLinePut)
        rows = self.board.model.shape[0]
        if given.TransferMode != c.ALP_PUT_LINES or not 0 <= given.LineOffset < rows or given.LineLoad < 0:
            raise AlpReturn(PARM_INVALID)
        n = given.LineLoad or rows - given.LineOffset
        if given.LineOffset + n > rows:
            raise AlpReturn(PARM_INVALID)
        self._put(_number(number), given.PicOffset, given.PicLoad, data, (given.LineOffset, n))

    def _put(self, number: int, first: int, load: int, data: Any, lines: tuple[int, int] | None) -> None:
        board, known = self.board, self.uploaded
        self.uploaded = None
        sequence = board.sequence(number)
        if not sequence.settings[c.ALP_SEQ_PUT_LOCK] and board.in_use(sequence):
            raise AlpReturn(SEQ_IN_USE)
        load = load or sequence.n - first
        if first < 0 or load < 1 or first + load > sequence.n:
            raise AlpReturn(PARM_INVALID)
        packed = sequence.settings[c.ALP_DATA_FORMAT] in (c.ALP_DATA_BINARY_TOPDOWN, c.ALP_DATA_BINARY_BOTTOMUP)
        rows = board.model.shape[0] if lines is None else lines[1]
        width = board.model.row_bytes if packed else board.model.shape[1]
        size = load * rows * width
        if known is None:
            address = _number(data)
            if not address:
                raise AlpReturn(ADDR_INVALID)
            known = np.frombuffer(memoryview((ct.c_uint8 * size).from_address(address)), dtype=np.uint8)
        flat = known.reshape(-1)
        if len(flat) < size:  # the library would read on behind it
            raise AlpReturn(ADDR_INVALID)
        board.put(number, first, load, flat[:size].reshape(load, rows, width), lines)

    # ------------------------------------------------------------------ projection

    @_call
    def AlpProjStart(self, number: Any) -> None:  # noqa: N802
        """Show a sequence as often as ALP_SEQ_REPEAT says."""
        self.board.start(_number(number), repeats=True)
        if self.board.projection_settings[c.ALP_PROJ_SYNC] == c.ALP_SYNCHRONOUS:
            self.board.wait()

    @_call
    def AlpProjStartCont(self, number: Any) -> None:  # noqa: N802
        """Show a sequence until it is stopped."""
        self.board.start(_number(number), repeats=False)

    @_call
    def AlpProjWait(self) -> None:  # noqa: N802
        """Wait until nothing is shown any more."""
        self.board.wait()

    @_call
    def AlpProjHalt(self) -> None:  # noqa: N802
        """Stop what is shown."""
        self.board.halt()

    @_call
    def AlpProjControl(self, name: Any, value: Any) -> None:  # noqa: N802
        """Set something of the projection."""
        board = self.board
        board.check()
        name, value = _number(name), _number(value)
        if name == c.ALP_PROJ_RESET_QUEUE and value == 0:
            board.waiting.clear()
            return
        allowed: dict[int, Any] = {
            c.ALP_PROJ_MODE: (c.ALP_MASTER, c.ALP_SLAVE), c.ALP_PROJ_SYNC: (c.ALP_SYNCHRONOUS, c.ALP_ASYNCHRONOUS),
            c.ALP_PROJ_STEP: (0, c.ALP_LEVEL_HIGH, c.ALP_LEVEL_LOW, c.ALP_EDGE_FALLING, c.ALP_EDGE_RISING),
            c.ALP_PROJ_INVERSION: None, c.ALP_PROJ_UPSIDE_DOWN: None,  # anything but 0 switches them on
            c.ALP_PROJ_QUEUE_MODE: (c.ALP_PROJ_LEGACY, c.ALP_PROJ_SEQUENCE_QUEUE),
            c.ALP_PROJ_WAIT_UNTIL: (c.ALP_PROJ_WAIT_PIC_TIME, c.ALP_PROJ_WAIT_ILLU_TIME),
        }  # fmt: skip
        name, value = _allowed(allowed, name, value)
        if board.active is not None:
            raise AlpReturn(NOT_IDLE)
        board.projection_settings[name] = value

    @_call
    def AlpProjControlEx(self, name: Any, structure: Any) -> None:  # noqa: N802
        """Set look-up tables, shear or masks: not simulated."""
        self.board.check()
        raise AlpReturn(PARM_INVALID)

    @_call
    def AlpProjInquire(self, name: Any, pointer: Any, *more: Any) -> None:  # noqa: N802
        """Tell something of the projection.

        A C function sees its first three arguments alone: ALP4lib's ProjInquire hands it four, so that the number of
        the sequence stands in the place of what is asked for.
        """
        board = self.board
        board.check()
        known = {
            c.ALP_PROJ_STATE: _PROJ_IDLE if board.active is None else _PROJ_ACTIVE,
            c.ALP_PROJ_QUEUE_ID: (board._next_queue_id - 1) or _NO_QUEUE_ID, c.ALP_PROJ_QUEUE_MAX_AVAIL: _QUEUE,
            c.ALP_PROJ_QUEUE_AVAIL: _QUEUE - len(board.waiting), **board.projection_settings,
        }  # fmt: skip
        _to(pointer, _known(known, _number(name)))


def _known(known: dict[int, int], name: int) -> int:
    if name not in known:
        raise AlpReturn(PARM_INVALID)
    return known[name]


def _allowed(allowed: dict[int, Any], name: Any, value: Any) -> tuple[int, int]:
    name, value = _number(name), _number(value)
    if name not in allowed or (allowed[name] is not None and value not in allowed[name]):
        # 0 is the default of all of them.
        defaults = {c.ALP_PROJ_MODE: c.ALP_MASTER, c.ALP_PROJ_SYNC: c.ALP_ASYNCHRONOUS,
                    c.ALP_SYNCH_POLARITY: c.ALP_LEVEL_HIGH, c.ALP_TRIGGER_EDGE: c.ALP_EDGE_FALLING}  # fmt: skip
        if value or name not in defaults:
            raise AlpReturn(PARM_INVALID)
        value = defaults[name]
    return name, value
