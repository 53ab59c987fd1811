"""The electronics of an ALP board: memory, sequences and their times, and what its mirrors show at which moment.

Written from public sources: the header of the library as many repositories have it, the docstrings of ALP4lib, and
what programs say that were run on such boards. What they do not tell is marked at its place, and in
``docs/with_alp4.md``.

Time is counted in whole microseconds from when the board was allocated, and goes on when somebody waits for a sequence
or takes frames of it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from opusim.base.locks import new_lock
from opusim.base.parallel import default_threads, over_ranges

from . import constants as c

__all__ = ["MODELS", "AlpReturn", "Board", "Lit", "Model", "Projection", "Sequence", "Timing"]

NOT_IDLE, NOT_AVAILABLE, NOT_READY, PARM_INVALID, ADDR_INVALID, MEMORY_FULL, SEQ_IN_USE = range(1002, 1009)
"""Return codes of the library that ALP4lib has no names for."""

# Picture times in microseconds, from the docstring of ALP4lib's SetTiming: 30 a second where nothing is said, up to
# ten seconds; delays up to 130 ms.
_DEFAULT_US, _LONGEST_US, _LONGEST_DELAY_US = 33334, 10_000_000, 130_000
# Between two pictures of the normal binary mode the mirrors are cleared. Inferred: public sources say that there is a
# dark phase, not how short it can be.
_DARK_US = 20
_QUEUE = 10  # waiting positions of the queue mode: inferred


class AlpReturn(Exception):
    """A call of the library ends with a code other than ALP_OK.

    Parameters
    ----------
    code : int
        The code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Model:
    """A kind of board with its mirrors.

    Parameters
    ----------
    preset : str
        Preset of the mirrors.
    shape : tuple of int
        Mirrors as (rows, columns).
    dmd_type : int
        What ALP_DEV_DMDTYPE tells.
    load_us : int
        Shortest time of a binary picture without a dark phase, in microseconds.
    gray_us : int
        Shortest time of a picture of 8 bits.
    row_bytes : int
        Bytes of a row in the packed formats, padding included.
    pictures : int
        Binary pictures that the memory holds.
    """

    preset: str
    shape: tuple[int, int]
    dmd_type: int
    load_us: int
    gray_us: int
    row_bytes: int
    pictures: int

    @property
    def used_bytes(self) -> int:
        """Bytes of a row that hold mirrors."""
        return self.shape[1] // 8

    def minimum_us(self, bits: int) -> int:
        """Shortest time of the light of a picture: each plane takes `load_us`, the last of them longer by its weight.

        Parameters
        ----------
        bits : int
            Bit planes that are shown.
        """
        if bits == 1:
            return self.load_us
        return max(bits * self.load_us, round(self.gray_us * (2**bits - 1) / 255))


MODELS = {
    model.shape: model
    for model in (
        # 22 727 pictures a second: 44 us and 43 690 pictures (4 GiB of 96 KiB) in a public simulator of a V-7002,
        # "about
        # 22,000" and "about 290 of 8 bits" in the manual of a public toolbox for it.
        Model("DLP7000", (768, 1024), c.ALP_DMDTYPE_XGA_07A, 44, 3448, 128, (4 << 30) // (768 * 128)),
        # 17 857 pictures a second: arXiv 2311.17496. Its gray pictures are scaled, its memory taken to be as large.
        Model("DLP9500", (1080, 1920), c.ALP_DMDTYPE_1080P_095A, 56, 4388, 256, (4 << 30) // (1080 * 256)),
    )
}
"""By the shape of the mirrors."""


@dataclass(frozen=True)
class Timing:
    """Times of a sequence in microseconds, and what they were set for.

    Parameters
    ----------
    picture_us, illuminate_us : int
        From picture to picture, and of its light: all of it where there is no dark phase.
    delay_us, pulse_us, trigger_delay_us : int
        From the synchronisation pulse to the light, length of the pulse, and from a trigger to the light.
    bits : int
        Bit planes that are shown.
    uninterrupted : bool
        Whether there is no dark phase.
    """

    picture_us: int
    illuminate_us: int
    delay_us: int
    pulse_us: int
    trigger_delay_us: int
    bits: int
    uninterrupted: bool


@dataclass
class Sequence:
    """Pictures in the memory of the board.

    Parameters
    ----------
    number : int
        Its identifier.
    bits, n : int
        Bit planes of a picture, and pictures.
    planes : ndarray of uint8, shape (n * bits, bytes)
        Packed mirrors, the first in the lowest bit; the planes of a picture follow each other, the highest bit first.
    """

    number: int
    bits: int
    n: int
    planes: np.ndarray = field(repr=False)
    timing: Timing
    settings: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Projection:
    """A sequence as it was started: settings that are changed later are those of the next start.

    Parameters
    ----------
    sequence : Sequence
        What is shown.
    timing : Timing
        Its times.
    first, last : int
        First and last picture.
    repeats : int or None
        How often; None until it is stopped.
    flips : tuple of bool
        Whether bright and dark, and top and bottom, are exchanged.
    queue_id : int
        Number of the start.
    """

    sequence: Sequence
    timing: Timing
    first: int
    last: int
    repeats: int | None
    flips: tuple[bool, bool]
    queue_id: int

    @property
    def pictures(self) -> float:
        """Pictures until the end; inf where there is none."""
        return math.inf if self.repeats is None else (self.last - self.first + 1) * self.repeats

    def picture(self, k: int) -> int:
        """Which picture of the sequence is the k-th that is shown."""
        return self.first + k % (self.last - self.first + 1)

    def plane_ends_us(self) -> list[int]:
        """Return when each plane of a picture ends, from its light on, the highest bit first: by weight, all of it."""
        bits, light_us = self.timing.bits, self.timing.illuminate_us
        return [light_us * (2**bits - 2 ** (bits - 1 - b)) // (2**bits - 1) for b in range(bits)]

    def left_by(self, picture: int) -> tuple[Projection | None, int]:
        """Return what stays on the mirrors behind a picture of the sequence, as the first parts of a `Lit`.

        Nothing clears the mirrors where there is no dark phase.
        """
        return (self, picture * self.sequence.bits) if self.timing.uninterrupted else (None, 0)


@dataclass(frozen=True)
class Lit:
    """What the mirrors show for a while.

    Parameters
    ----------
    projection : Projection or None
        Of which sequence; None where all mirrors are off.
    plane : int
        Row of its `planes`.
    us : int
        How long, in microseconds.
    """

    projection: Projection | None
    plane: int
    us: int


class Watching(Protocol):
    """Who is to see what is shown before time goes on: a camera that is armed."""

    def watch(self) -> None:
        """Take the frames that are still wanted, as far as there are pictures for them."""
        ...


class Board:
    """An ALP board: one device, its memory and what it shows.

    Parameters
    ----------
    model : Model
        Which.
    serial : int
        Serial number.
    threads : int, optional
        Threads to pack pictures with; all processors by default.

    Attributes
    ----------
    now_us : int
        Time that has gone by.
    active : Projection or None
        What is shown.
    start_us : int
        When the synchronisation pulse of its first picture came. Its light begins `delay_us` later.
    stays : Projection or None
        What stays on the mirrors until something else is shown: the last picture of a sequence without a dark phase.
    """

    def __init__(self, model: Model, serial: int = 1, threads: int | None = None) -> None:
        self.model, self.serial, self.threads = model, serial, threads or default_threads()
        self.lock = new_lock()
        self.watchers: list[Watching] = []
        self.allocated = False
        self.now_us = 0
        self._clear()

    def _clear(self) -> None:
        self.sequences: dict[int, Sequence] = {}
        self._next_number = self._next_queue_id = 1
        self.device_settings = dict(_DEVICE_DEFAULTS)
        self.projection_settings = dict(_PROJECTION_DEFAULTS)
        self.active: Projection | None = None
        self.start_us = self.now_us
        self.stays: Projection | None = None
        self._stays_plane = 0
        self.waiting: deque[Projection] = deque()
        self.steps = 0  # pictures that external triggers have called for
        self._in_trigger = False

    # ------------------------------------------------------------------ device

    def allocate(self, serial: int) -> None:
        """Take the board: all at its defaults, the memory empty."""
        if serial not in (0, self.serial):
            raise AlpReturn(c.ALP_NOT_ONLINE)
        if self.allocated:
            raise AlpReturn(NOT_READY)
        self._clear()
        self.allocated = True

    def free(self) -> None:
        """Give the board back, and its memory."""
        self.check()
        if self.active is not None:
            raise AlpReturn(NOT_IDLE)
        self._clear()
        self.allocated = False

    def check(self) -> None:
        """Refuse calls to a board that nobody has taken."""
        if not self.allocated:
            raise AlpReturn(NOT_AVAILABLE)
        self._settle()

    @property
    def available(self) -> int:
        """Binary pictures for which there is memory."""
        return self.model.pictures - sum(s.n * s.bits for s in self.sequences.values())

    # ------------------------------------------------------------------ sequences

    def new_sequence(self, bits: int, n: int) -> Sequence:
        """Take memory for pictures: all off at first."""
        self.check()
        if not 1 <= bits <= 8 or n < 1:
            raise AlpReturn(PARM_INVALID)
        if bits * n > self.available:
            raise AlpReturn(MEMORY_FULL)
        # The system gives memory when it is written to.
        planes = np.zeros((n * bits, self.model.shape[0] * self.model.used_bytes), dtype=np.uint8)
        sequence = Sequence(self._next_number, bits, n, planes, self._timing(bits, False))
        sequence.settings = {
            c.ALP_SEQ_REPEAT: 1, c.ALP_FIRSTFRAME: 0, c.ALP_LASTFRAME: n - 1, c.ALP_BITNUM: bits,
            c.ALP_BIN_MODE: c.ALP_BIN_NORMAL, c.ALP_DATA_FORMAT: c.ALP_DATA_MSB_ALIGN, c.ALP_SEQ_PUT_LOCK: 0,
            c.ALP_PWM_MODE: 0, c.ALP_FLUT_MODE: 0, c.ALP_X_SHEAR_SELECT: 0, c.ALP_DMD_MASK_SELECT: 0,
        }  # fmt: skip
        self.sequences[sequence.number] = sequence
        self._next_number += 1
        return sequence

    def sequence(self, number: int) -> Sequence:
        """Return a sequence by its number."""
        self.check()
        found = self.sequences.get(number)
        if found is None:
            raise AlpReturn(PARM_INVALID)
        return found

    def in_use(self, sequence: Sequence) -> bool:
        """Whether a sequence is shown, or waits to be."""
        shown = [*self.waiting, *([] if self.active is None else [self.active])]
        return any(each.sequence is sequence for each in shown)

    def free_sequence(self, number: int) -> None:
        """Give the memory of a sequence back."""
        sequence = self.sequence(number)
        if self.in_use(sequence):
            raise AlpReturn(SEQ_IN_USE)
        if self.stays is not None and self.stays.sequence is sequence:
            self.stays, self._stays_plane = None, 0
        del self.sequences[number]

    def control_sequence(self, number: int, name: int, value: int) -> None:
        """Set what SeqControl sets; settings of what is shown are those of its next start."""
        sequence = self.sequence(number)
        s = sequence.settings
        allowed = {
            c.ALP_SEQ_REPEAT: range(1, 1 << 20), c.ALP_FIRSTFRAME: range(s[c.ALP_LASTFRAME] + 1),
            c.ALP_LASTFRAME: range(s[c.ALP_FIRSTFRAME], sequence.n), c.ALP_BITNUM: range(1, sequence.bits + 1),
            c.ALP_BIN_MODE: (c.ALP_BIN_NORMAL, c.ALP_BIN_UNINTERRUPTED),
            c.ALP_DATA_FORMAT: range(4) if sequence.bits == 1 else range(2), c.ALP_SEQ_PUT_LOCK: range(2),
            # Scrolling, look-up tables, shear, masks and flexible pulse widths are not simulated: their defaults alone.
            **dict.fromkeys(_NOT_SIMULATED, (0,)),
        }  # fmt: skip
        defaults = {c.ALP_SEQ_REPEAT: 1, c.ALP_BITNUM: sequence.bits, c.ALP_BIN_MODE: c.ALP_BIN_NORMAL}
        if value == 0:
            value = defaults.get(name, 0)
        if name not in allowed or value not in allowed[name]:
            raise AlpReturn(PARM_INVALID)
        s[name] = value

    def set_timing(self, number: int, illuminate: int, picture: int, delay: int, pulse: int, trigger: int) -> None:
        """Set the times of a sequence; 0 stands for the default. Bit depth and binary mode are those set before."""
        sequence = self.sequence(number)
        s = sequence.settings
        uninterrupted = s[c.ALP_BITNUM] == 1 and s[c.ALP_BIN_MODE] == c.ALP_BIN_UNINTERRUPTED
        sequence.timing = self._timing(s[c.ALP_BITNUM], uninterrupted, illuminate, picture, delay, pulse, trigger)

    def _timing(
        self, bits: int, uninterrupted: bool, illuminate: int = 0, picture: int = 0, delay: int = 0, pulse: int = 0,
        trigger: int = 0,
    ) -> Timing:  # fmt: skip
        if min(illuminate, picture, delay, pulse, trigger) < 0 or max(delay, trigger) > _LONGEST_DELAY_US:
            raise AlpReturn(PARM_INVALID)
        least = self.model.minimum_us(bits)
        dark = 0 if uninterrupted else _DARK_US
        if uninterrupted:
            illuminate = 0  # of no effect
        if not picture:
            picture = illuminate + dark if illuminate else max(_DEFAULT_US, least + dark)
        if not illuminate:
            illuminate = picture - dark
        if not least + dark <= picture <= _LONGEST_US or not least <= illuminate <= picture or pulse >= picture:
            raise AlpReturn(PARM_INVALID)
        # Inferred: the pulse of a picture comes after the light of the one before it has begun.
        if delay >= picture:
            raise AlpReturn(PARM_INVALID)
        illuminate = min(illuminate, picture - dark)
        pulse = pulse or min(delay + illuminate, picture)
        return Timing(picture, illuminate, delay, pulse, trigger, bits, uninterrupted)

    @staticmethod
    def longest_delay_us(sequence: Sequence) -> int:
        """Return the longest time from the synchronisation pulse to the light that a sequence may have."""
        return min(_LONGEST_DELAY_US, sequence.timing.picture_us - 1)

    def shortest_us(self, sequence: Sequence) -> int:
        """Return the shortest time of a picture of a sequence, in microseconds."""
        timing = sequence.timing
        return self.model.minimum_us(timing.bits) + (0 if timing.uninterrupted else _DARK_US)

    def put(
        self, number: int, first: int, load: int, data: np.ndarray, lines: tuple[int, int] | None = None
    ) -> None:  # fmt: skip
        """Write pictures into the memory.

        Parameters
        ----------
        number : int
            Of the sequence.
        first, load : int
            First picture, and how many.
        data : ndarray of uint8, shape (load, rows, bytes)
            A byte a mirror, or packed rows, by ALP_DATA_FORMAT.
        lines : tuple of int, optional
            First row and number of rows, where it is not whole pictures.
        """
        sequence = self.sequence(number)
        top, rows = lines or (0, self.model.shape[0])
        kind = sequence.settings[c.ALP_DATA_FORMAT]
        threads = self.threads
        planes = sequence.planes.reshape(sequence.n, sequence.bits, self.model.shape[0], self.model.used_bytes)
        target = planes[first : first + load, :, top : top + rows]
        from .packing_kernels import pack_bit, reverse_rows  # numba is loaded when first needed

        if kind in (c.ALP_DATA_BINARY_TOPDOWN, c.ALP_DATA_BINARY_BOTTOMUP):
            bottom_up = kind == c.ALP_DATA_BINARY_BOTTOMUP
            out = target[:, 0]
            used = self.model.used_bytes
            over_ranges(lambda a, b: reverse_rows(data, used, bottom_up, out, a, b), load, threads)
            return
        words = np.ascontiguousarray(data).reshape(load * rows, self.model.shape[1]).view("<u8")
        for plane in range(sequence.bits):
            # The highest bit of the data, or of those that the sequence has.
            shift = np.uint64((7 if kind == c.ALP_DATA_MSB_ALIGN else sequence.bits - 1) - plane)
            whole = sequence.bits == 1 and rows == self.model.shape[0]
            out = target[:, plane].reshape(load * rows, -1) if whole else np.empty((load * rows, words.shape[1]), "u1")
            # As an argument of its own: a name of the loop would be another one when a thread comes to it.
            over_ranges(lambda a, b, s=shift, o=out: pack_bit(words, s, o, a, b), len(words), threads, 64)  # type: ignore[misc]
            if not whole:
                target[:, plane] = out.reshape(load, rows, -1)

    # ------------------------------------------------------------------ projection

    def start(self, number: int, repeats: bool) -> None:
        """Show a sequence: now, or when what is shown has come to its end.

        In the legacy mode one sequence waits, which a later start replaces; one that is shown until it is stopped ends
        with its present iteration for it. In the queue mode all wait for the end of those before.
        """
        sequence = self.sequence(number)
        s, p = sequence.settings, self.projection_settings
        flips = (bool(p[c.ALP_PROJ_INVERSION]), bool(p[c.ALP_PROJ_UPSIDE_DOWN]))
        made = Projection(
            sequence, sequence.timing, s[c.ALP_FIRSTFRAME], s[c.ALP_LASTFRAME],
            s[c.ALP_SEQ_REPEAT] if repeats else None, flips, self._next_queue_id,
        )  # fmt: skip
        if self.active is not None and p[c.ALP_PROJ_QUEUE_MODE] == c.ALP_PROJ_SEQUENCE_QUEUE:
            if len(self.waiting) >= _QUEUE:
                raise AlpReturn(NOT_IDLE)
            self.waiting.append(made)
        elif self.active is not None:
            self.waiting.clear()
            self.waiting.append(made)
            if self.active.repeats is None:
                # So that it ends with the iteration that it is in.
                length = self.active.last - self.active.first + 1
                done = max(1, -(-self.shown_now // length))
                self.active = replace(self.active, repeats=done)
        else:
            self._begin(made, self.now_us)
        self._next_queue_id += 1

    def _begin(self, projection: Projection, at_us: int) -> None:
        self.active, self.start_us = projection, at_us
        self.steps = 0

    @property
    def triggered(self) -> bool:
        """Whether pictures wait for an external trigger."""
        settings = self.projection_settings
        return settings[c.ALP_PROJ_MODE] == c.ALP_SLAVE or bool(settings[c.ALP_PROJ_STEP])

    @property
    def shown_now(self) -> int:
        """Pictures of what is shown whose synchronisation pulses have come before now."""
        assert self.active is not None
        return -(-(self.now_us - self.start_us) // self.active.timing.picture_us)

    def delay_us(self, projection: Projection) -> int:
        """Time from a synchronisation pulse to the light of its picture: none where a trigger from outside shows it."""
        return 0 if self.projection_settings[c.ALP_PROJ_MODE] == c.ALP_SLAVE else projection.timing.delay_us

    def end_us(self) -> float:
        """When the light of what is shown ends; inf where it does not."""
        if self.active is None:
            return self.now_us
        light_us = self.active.pictures * self.active.timing.picture_us
        return self.start_us + self.delay_us(self.active) + light_us

    def _settle(self) -> None:
        """Let what has come to its end be followed by what waits."""
        while self.active is not None and not self.triggered and self.now_us >= self.end_us():
            self._end(int(self.end_us()))

    def _end(self, at_us: int) -> None:
        ended = self.active
        self.active = None
        assert ended is not None
        self.stays, self._stays_plane = ended.left_by(ended.last)
        if self.waiting:
            self._begin(self.waiting.popleft(), at_us)

    def trigger(self, n: int) -> None:
        """Give triggers to the input, one a picture time: each shows the next picture, as watchers see.

        Parameters
        ----------
        n : int
            How many. Those behind the end of a sequence show nothing.
        """
        self.check()
        for _ in range(n):
            if self.active is None or not self.triggered:
                return
            stepping = bool(self.projection_settings[c.ALP_PROJ_STEP])
            self.steps += 1
            if not stepping:
                self.start_us = self.now_us - (self.steps - 1) * self.active.timing.picture_us
            self._in_trigger = True
            try:
                self._watched()
            finally:
                self._in_trigger = False
            self.now_us += self.active.timing.picture_us
            # In steps, as the picture before the first trigger is one of the sequence, the last trigger ends it.
            if self.active is not None and self.steps >= self.active.pictures:
                self._end(self.now_us)

    @property
    def pulses(self) -> float:
        """Pictures that begin from now on, each with a synchronisation pulse, until what is shown ends."""
        if self.active is None:
            return 0
        if self.projection_settings[c.ALP_PROJ_STEP]:
            return math.inf
        if self.projection_settings[c.ALP_PROJ_MODE] == c.ALP_SLAVE:
            return 1 if self._in_trigger else 0
        return max(0, self.active.pictures - self.shown_now)

    def pass_time(self, us: int) -> None:
        """Let time go by."""
        self.now_us += us
        self._settle()

    def wait(self) -> None:
        """Let time go by until nothing is shown any more; watchers take their frames first."""
        self.check()
        self._watched()
        if self.active is not None and (self.active.repeats is None or any(p.repeats is None for p in self.waiting)):
            raise AlpReturn(PARM_INVALID)  # inferred: it would never end
        if self.active is not None and self.triggered:
            raise RuntimeError(
                "Wait is called while pictures wait for an external trigger, which never comes by itself: give "
                "triggers "
                "with opusim.adapters.alp4.trigger, or call Halt."
            )
        while self.active is not None:
            self.pass_time(int(self.end_us()) - self.now_us)

    def _watched(self) -> None:
        for watcher in list(self.watchers):
            watcher.watch()

    def halt(self) -> None:
        """Stop, and let nothing wait. Watchers take their frames first, as time only goes on for those who wait."""
        self.check()
        self._watched()
        self.active = None
        self.stays, self._stays_plane = None, 0
        self.waiting.clear()

    # ------------------------------------------------------------------ what is seen

    def lit(self, start_us: int, stop_us: int) -> Iterator[Lit]:
        """Say what the mirrors show from one moment to another, neither before now.

        Parameters
        ----------
        start_us, stop_us : int
            The moments.

        Yields
        ------
        Lit
            One after the other, of `stop_us` - `start_us` together.
        """
        active, began, waiting = self.active, self.start_us, list(self.waiting)
        stays, plane = self.stays, self._stays_plane
        t = start_us
        stepping = bool(self.projection_settings[c.ALP_PROJ_STEP])
        dark_from = math.inf
        if self.projection_settings[c.ALP_PROJ_MODE] == c.ALP_SLAVE and active is not None:
            # Each trigger shows one picture; then there is none until the next.
            dark_from = began + self.steps * active.timing.picture_us
        while t < stop_us:
            if active is None:
                yield Lit(stays, plane, stop_us - t)
                return
            timing = active.timing
            if t >= dark_from:
                if self.steps:
                    stays, plane = active.left_by(active.picture(self.steps - 1))
                yield Lit(stays, plane, stop_us - t)
                return
            # The light of a picture lies between its own delay and that of the next one, all of it.
            lit_from = began + self.delay_us(active)
            if t < lit_from:
                us = min(lit_from, stop_us) - t
                yield Lit(stays, plane, us)
                t += us
                continue
            k, into = divmod(t - lit_from, timing.picture_us)
            if stepping:
                k = int(min(self.steps, active.pictures - 1))
            if k >= active.pictures:
                began = lit_from + int(active.pictures) * timing.picture_us
                stays, plane = active.left_by(active.last)
                active = waiting.pop(0) if waiting else None
                continue
            first = active.picture(k) * active.sequence.bits
            for b, end in enumerate((*active.plane_ends_us(), timing.picture_us)):
                if into < end:
                    us = min(end - into, stop_us - t)
                    yield Lit(active, first + b, us) if b < timing.bits else Lit(None, 0, us)
                    t, into = t + us, into + us
                if t >= stop_us:
                    return


_NOT_SIMULATED = (
    c.ALP_PWM_MODE, c.ALP_FIRSTLINE, c.ALP_LASTLINE, c.ALP_LINE_INC, c.ALP_SCROLL_FROM_ROW, c.ALP_SCROLL_TO_ROW,
    c.ALP_FLUT_MODE, c.ALP_FLUT_ENTRIES9, c.ALP_FLUT_OFFSET9, c.ALP_SEQ_DMD_LINES, c.ALP_X_SHEAR_SELECT,
    c.ALP_DMD_MASK_SELECT,
)  # fmt: skip
_DEVICE_DEFAULTS = {
    c.ALP_SYNCH_POLARITY: c.ALP_LEVEL_HIGH, c.ALP_TRIGGER_EDGE: c.ALP_EDGE_FALLING,
    c.ALP_TRIGGER_TIME_OUT: c.ALP_TIME_OUT_ENABLE, c.ALP_DEV_DMD_MODE: c.ALP_DMD_RESUME, c.ALP_PWM_LEVEL: 0,
}  # fmt: skip
_PROJECTION_DEFAULTS = {
    c.ALP_PROJ_MODE: c.ALP_MASTER, c.ALP_PROJ_STEP: 0, c.ALP_PROJ_SYNC: c.ALP_ASYNCHRONOUS, c.ALP_PROJ_INVERSION: 0,
    c.ALP_PROJ_UPSIDE_DOWN: 0, c.ALP_PROJ_QUEUE_MODE: c.ALP_PROJ_LEGACY, c.ALP_PROJ_WAIT_UNTIL: 0,
}  # fmt: skip
