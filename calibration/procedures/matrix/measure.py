"""The complex transmission matrix of a bench, measured column by column against the reference arm.

Each pattern's field is found by phase stepping, q = S conj(R), and divided by |R|, so the matrix is in roots of the
camera's counts: |tm @ x + background|^2 is the frame that x gives. Each row is known but for one phase, that of the
reference in this pixel, which no frame on this sensor tells.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from opusim.base import validation
from opusim.base.user_arrays import checked_array
from opusim.bench.protocol import Bench, checked_bench, has, identity_of, input_layout_of, level_turns_of
from opusim.bench.region import AnyRoi
from opusim.calibration.algorithms.frame_input import checked_phases
from opusim.calibration.algorithms.off_axis import checked_carrier, half_bandwidth
from opusim.calibration.algorithms.phase_shifting import equal_steps
from opusim.calibration.files import device_of, read_info
from opusim.calibration.on_bench import checked_full_scale, feature_layout
from opusim.patterns.layout import MirrorLayout
from opusim.patterns.phases import PhasePatterns

from .file import GROUP, TmRecord, read_matrix, read_tm, write_tm
from .journal import Journal, clear_removed, clock_of, resume_clock
from .one_frame import OffAxis, free_carrier
from .patterns import PLANS, PatternPlan, plan_of
from .phases import INTERNAL_STEPS, check_levels
from .steps import Measurement, measure_batch, measure_start

__all__ = ["TmRecord", "measure_tm", "read_matrix", "read_tm", "refuse_carrier_of", "resume_clock"]

# Bytes of frames and fields that one batch may hold.
_BATCH_BYTES = 64 << 20
_LEAST_BATCHES = 16
#: How a pattern's field is found: from frames at several phases of the reference, from one under a tilted one, or, on a
#: modulator of phases, from frames at several phases of one half of the inputs against the other.
METHODS = ("phase-stepping", "off-axis", "internal")


class _WithReference(Protocol):
    """A device that tells of its reference arm."""

    @property
    def reference(self) -> Any:
        """The arm."""


class _Present(Protocol):
    """An arm that says whether it is there."""

    @property
    def present(self) -> bool:
        """Whether it is."""


class _Tilted(Protocol):
    """An arm, simulated, that knows its light."""

    @property
    def relative_amplitude(self) -> float:
        """Its amplitude over that of the signal; 0 without an arm."""

    @property
    def carrier_cycles_per_pixel(self) -> tuple[float, float]:
        """Its tilt."""


def measure_tm(
    bench: Bench,
    inputs: int | tuple[int, int] | MirrorLayout,
    *,
    exposure_s: float,
    out: str | os.PathLike[str],
    basis: str = "hadamard",
    steps: int | np.ndarray = 4,
    actual_rad: np.ndarray | None = None,
    circular: bool = False,
    roi: AnyRoi | None = None,
    repeats: int = 1,
    full_scale_dn: float | None = None,
    method: str | None = None,
    grain_px: float | None = None,
    carrier: ArrayLike | None = None,
    subtract_reference: bool = True,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> TmRecord:
    """Measure the transmission matrix from macro-pixels to pixels and store it in an HDF5 file.

    Parameters
    ----------
    bench : Bench
        With a reference arm, or with a modulator of phases (`opusim.bench.protocol.Phases`).
    inputs : int, tuple of int, or MirrorLayout
        Macro-pixels: so many in line, (rows, columns) of square ones, or a layout. On a bench with inputs of its own
        (`opusim.bench.protocol.Inputs`) a number of these.
    exposure_s : float
        Exposure of each frame in seconds.
    out : path-like
        The file. Beside it, in ``.NAME.parts``, lies the journal until the measurement is whole.
    basis : {"hadamard", "canonical"}
        "hadamard": each Hadamard vector as two complementary binary patterns, whose difference is kept, so that what
        is always on drops out. "canonical": one macro-pixel on at a time, against all off. On a modulator of phases
        "hadamard" alone, +1 and -1 as the phases 0 and half a turn.
    steps : int or array_like of float
        Phase steps: how many equal ones, or the phases to ask of the shifter in radians.
    actual_rad : array_like of float, optional
        Phases that the shifter really makes when asked for these, if they are known (`LinearRecord.actual_rad`).
    circular : bool
        Whether to take out what wrong phase steps leave of each entry's conjugate, on the assumption that the entries
        are circular (mean of the squares zero), as behind a scattering medium. Its own error is 1 / sqrt(2 entries).
    roi : tuple of int, optional
        (row, column, n_rows, n_columns); the whole sensor by default.
    repeats : int
        How often each pattern is measured; the mean is kept.
    full_scale_dn : float, optional
        Count from which a pixel is saturated; found with the flat field by default.
    method : {"phase-stepping", "off-axis", "internal"}, optional
        By default "phase-stepping"; "internal" on a modulator of phases without a reference arm. "off-axis": the field
        of one frame, under a tilted reference (`opusim.calibration.algorithms.off_axis`), for a region of 8 x 8
        pixels at least; `steps`, `actual_rad` and `circular` are not for it. "internal": without a reference arm, on a
        modulator of phases. One half of the inputs is stepped against the other by quarters of a turn, then the other
        half; these are not for it either.
    grain_px : float, optional
        Off axis: width of a speckle grain, wavelength x distance / diameter of the aperture, in pixels. It must be
        given, and sets the half bandwidth B = 1 / (2 grain_px).
    carrier : array_like of float, shape (2,), optional
        Off axis: tilt of the reference in cycles per pixel along rows and columns. By default it is found from the
        spectra of 16 patterns, and its sign by the way in which the field turns with the reference's phase. A
        simulated bench whose device has one that cannot work is refused before any frame.
    subtract_reference : bool
        Off axis: whether what the reference alone has in the side band is taken off each field.
    resume : bool
        Whether to go on with an interrupted measurement of the same `out`. It need not be there.
    progress : callable, optional
        Told (done, total) patterns after each batch.

    Returns
    -------
    TmRecord
        What was found, but for the matrix itself: `TmRecord.matrix` reads it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named, the bench has no reference arm or its light is lost, there is no
        light, most pixels saturate, nothing repeats, or the journal belongs to another measurement or is damaged. Off
        axis also if there is no side band, or it overlaps the middle of the spectrum or its twin.
    FileExistsError
        If there is an interrupted measurement and `resume` is False.
    OSError
        If the disk is full; the batches that are whole stay.

    Warns
    -----
    UserWarning
        If the reference drifts fast against the patterns, the anchor repeats badly, many pixels are left out, a stored
        batch is damaged and is measured anew, or off axis nothing tells the carrier's sign.

    Notes
    -----
    Every group of patterns holds an anchor, a field that is the same each time: the sum of the two complementary
    patterns, or one random pattern every eight columns. Its phase against the first one is the reference's drift and
    is taken out.

    With noise of variance v in a field, an entry has the variance 2 v / n in the Hadamard basis (2 n patterns) and
    v (1 + 8 / n) in the canonical one (1.25 n patterns): a factor of sqrt(n / 2) in amplitude at equal exposure.

    Off axis a pattern takes one frame in place of `steps`, and a frame of noise of variance v in each pixel gives
    fields of variance about pi B^2 v, against v / steps. But pixels of one grain know of each other, and a few grains
    along the region's edges are wrong by several per cent. The start takes 32 frames of the reference alone, at
    opposite phases: their mean has its light without that of mirrors that are off.

    With an internal reference about 2 n patterns of four frames give all n inputs. The light that stands still is
    speckle: pixels where it is dark, some 6 %, are left out. The phase of a row is then that of the first half's
    reference.

    A killed measurement loses the frames of the batch in flight. Resumed on the simulated bench, in a new process, it
    gives the same bits as an uninterrupted one, for frame numbers and times address the noise.
    """
    checked_bench(bench)
    layout = _layout(bench, inputs)
    validation.choice("basis", basis, tuple(PLANS))
    rectangle = (0, 0, *bench.sensor_shape) if roi is None else tuple(int(v) for v in roi)
    turns = level_turns_of(bench)
    method = _usual_method(bench, turns, layout, exposure_s, rectangle) if method is None else method
    internal = method == "internal"
    apart = _off_axis(bench, method, grain_px, carrier, subtract_reference, circular, actual_rad, rectangle)
    if internal:
        _check_internal(turns, steps, actual_rad, circular)
        asked = actual = 2 * np.pi * INTERNAL_STEPS
    elif apart is None:
        asked = equal_steps(steps) if isinstance(steps, (int, np.integer)) else checked_array("steps", steps)
        asked = checked_phases("steps", asked, asked.size)
        actual = asked if actual_rad is None else checked_phases("actual_rad", actual_rad, len(asked))
    else:
        asked = actual = np.zeros(1)
    if turns is not None:
        check_levels(turns, INTERNAL_STEPS if internal else np.array([0.0, 0.5]), "a matrix")
    repeats = validation.integer("repeats", repeats, low=1)
    plan = plan_of(basis, layout.n_features_total, repeats, phases=turns is not None, internal=internal)
    n_pixels = rectangle[2] * rectangle[3]
    full_scale_dn = checked_full_scale(full_scale_dn)
    identity = identity_of(bench)
    m = Measurement(
        bench=bench, plan=plan, layout=layout, roi=rectangle, n_pixels=n_pixels, asked_rad=asked, actual_rad=actual,
        exposure_s=validation.number("exposure_s", exposure_s, low=0.0, high=3600.0, low_open=True),
        patterns_at_once=max(1, _BATCH_BYTES // (n_pixels * (2 * len(asked) + (24 if apart is None else 64)))),
        off_axis=apart, level_turns=turns, internal=internal,
    )  # fmt: skip
    header = {
        "device_fingerprint": identity.fingerprint, "seed": identity.seed, "basis": basis,
        "layout": {name: getattr(layout, name) for name in layout.__dataclass_fields__}, "roi": rectangle,
        "exposure_s": m.exposure_s, "asked_rad": asked.tolist(), "actual_rad": actual.tolist(), "repeats": repeats,
        "full_scale_dn": full_scale_dn, "circular": validation.flag("circular", circular),
    }  # fmt: skip
    if apart is not None:
        tilt = None if apart.carrier is None else apart.carrier.tolist()
        header |= {"method": method, "grain_px": apart.grain_px, "carrier": tilt, "subtract": apart.subtract}
    if turns is not None:
        header |= {"level_turns": turns.tolist(), "method": method}
    out = Path(out)
    clear_removed(out)
    if resume and out.exists() and not Journal.there(out):
        return _finished(out, bench, header)
    batches = _batches(plan, m.patterns_at_once)
    journal = Journal(out, header, resume=resume, device=device_of(bench))
    try:
        start = _start(journal, m, full_scale_dn)
        m = m.of_start(start)
        total = plan.patterns(0, plan.n_groups)
        whole = journal.whole_batches(len(batches))
        done = sum(plan.patterns(*batches[number]) for number in whole)
        if progress is not None:
            progress(done, total)
        for number, (first, stop) in enumerate(batches):
            if number in whole:
                continue
            # As what is before it has left the bench; a batch that was damaged may have whole ones behind it.
            before = journal.rest(number - 1) if number else start
            resume_clock(bench, int(before["frames"]), float(before["elapsed_s"]))
            fields, rest = measure_batch(m, start, first, stop)
            frames, elapsed = clock_of(bench)
            journal.write_batch(number, fields, frames=np.int64(frames), elapsed_s=np.float64(elapsed), **rest)
            done += plan.patterns(first, stop)
            if progress is not None:
                progress(done, total)
        # Where there was nothing to measure the clock has not moved, and what comes after this goes on with it.
        last = journal.rest(len(batches) - 1)
        resume_clock(bench, int(last["frames"]), float(last["elapsed_s"]))
        record = write_tm(out, journal, m, start, len(batches), identity, circular)
    except BaseException:
        journal.close()
        raise
    journal.remove()
    return record


def _usual_method(
    bench: Bench, turns: np.ndarray | None, layout: MirrorLayout, exposure_s: float, roi: tuple[int, ...]
) -> str:
    """Return "internal" for phases without a reference arm, else "phase-stepping"."""
    if turns is None:
        return "phase-stepping"
    device = device_of(bench)
    if has(device, _WithReference) and has(device.reference, _Present):
        return "phase-stepping" if device.reference.present else "internal"
    row, column, _, n_columns = roi
    shown = PhasePatterns(np.zeros((1, layout.n_features_total), np.uint8), layout)
    try:  # a bench of a laboratory is asked for a frame with it
        bench.expose(shown, exposure_s=exposure_s, roi=(row, column, 1, n_columns), reference_phase_rad=0.0)
    except ValueError:
        return "internal"
    return "phase-stepping"


def _off_axis(
    bench: Bench,
    method: str,
    grain_px: float | None,
    carrier: ArrayLike | None,
    subtract: bool,
    circular: bool,
    actual_rad: np.ndarray | None,
    rectangle: tuple[int, ...],
) -> OffAxis | None:
    """Return how fields are found off axis after checking what is given for it; None for phase stepping."""
    validation.flag("subtract_reference", subtract)
    if validation.choice("method", method, METHODS) != "off-axis":
        for name, value in (("grain_px", grain_px), ("carrier", carrier)):
            if value is not None:
                raise ValueError(f"{name} is given, but it is for method='off-axis', and method is {method!r}.")
        return None
    for name, given in (("actual_rad", actual_rad is not None), ("circular", circular)):
        if given:
            raise ValueError(f"{name} is given, but off axis a field has no phase steps that could be wrong.")
    if grain_px is None:
        raise ValueError(
            "grain_px is not given, but off axis it must be: the width of a speckle grain in pixels says how much of "
            "the spectrum is the field's."
        )
    grain_px = validation.number("grain_px", grain_px, low=1.0, high=1e4)
    tilt = None if carrier is None else np.array(checked_carrier(carrier))
    found = OffAxis((rectangle[2], rectangle[3]), grain_px, tilt, subtract)
    if tilt is None:
        refuse_carrier_of(bench, grain_px)
    return found


def _check_internal(turns: np.ndarray | None, steps: Any, actual_rad: Any, circular: bool) -> None:
    """Refuse a bench without phases, and what is for phase steps of the reference arm."""
    if turns is None:
        raise ValueError(
            "method is 'internal', but it steps the phases of the inputs, and the mirrors of this bench are on or off: "
            "it must be 'phase-stepping' or 'off-axis', with a reference arm."
        )
    if not isinstance(steps, (int, np.integer)) or steps != len(INTERNAL_STEPS):
        raise ValueError(f"steps is {steps!r}, but an internal reference is stepped by {len(INTERNAL_STEPS)} quarters.")
    for name, given in (("actual_rad", actual_rad is not None), ("circular", circular)):
        if given:
            raise ValueError(
                f"{name} is given, but it is for phase steps of a reference arm, and method is 'internal'."
            )


def refuse_carrier_of(bench: Bench, grain_px: float) -> None:
    """Refuse a simulated bench whose reference's tilt leaves no side band free, before a frame is taken.

    Raises
    ------
    ValueError
        If the carrier of its device is too short for the grain, or longer than the pixels resolve.
    """
    device = device_of(bench)
    if not has(device, _WithReference) or not has(device.reference, _Tilted):
        return
    reference = device.reference
    if not reference.relative_amplitude:
        return
    try:
        free_carrier(reference.carrier_cycles_per_pixel, half_bandwidth(grain_px))
    except ValueError as error:
        raise ValueError(
            f"reference.carrier_cycles_per_pixel of this device cannot be read off axis with grains of {grain_px:.4g} "
            f"pixels: {error}"
        ) from None


def _start(journal: Journal, m: Measurement, full_scale_dn: float | None) -> dict[str, np.ndarray]:
    """Return what is measured once, from the journal or from the bench."""
    start = journal.start()
    if start is None:
        try:
            start = measure_start(m, full_scale_dn)
        except (TypeError, ValueError):
            journal.remove()  # it holds nothing that could be gone on with
            raise
        frames, elapsed = clock_of(m.bench)
        start |= {"frames": np.array(frames, dtype=np.int64), "elapsed_s": np.array(elapsed)}
        journal.write_start(**start)
    return start


def _batches(plan: PatternPlan, patterns_at_once: int) -> list[tuple[int, int]]:
    """Return the groups of each batch, as (first, stop)."""
    size = max(1, patterns_at_once // plan.patterns(0, 1))
    size = min(size, max(1, -(-plan.n_groups // _LEAST_BATCHES)))
    return [(first, min(plan.n_groups, first + size)) for first in range(0, plan.n_groups, size)]


def _layout(bench: Bench, inputs: Any) -> MirrorLayout:
    shape: Any = tuple(bench.mirror_shape)
    own = input_layout_of(bench)
    most = shape[0] * shape[1] if own is None else own.n_features_total
    if isinstance(inputs, MirrorLayout):
        if tuple(inputs.dmd_shape) != shape:
            raise ValueError(f"inputs is laid out for {tuple(inputs.dmd_shape)}, but this bench has {shape} mirrors.")
        if inputs.n_features_total > most:
            raise ValueError(f"inputs is laid out for {inputs.n_features_total} macro-pixels, but there are {most}.")
        layout = inputs
    elif own is not None and isinstance(inputs, tuple) and inputs != own.n_features:
        lie = "in line" if len(own.n_features) == 1 else f"as {own.n_features}"
        raise ValueError(
            f"inputs is {inputs!r}, but this bench has {most} inputs of its own, which lie {lie}: it must be a number "
            f"up to {most}, of the first ones."
        )
    elif isinstance(inputs, tuple):
        layout = MirrorLayout.macro_2d(shape, inputs) if own is None else own
    else:
        layout = feature_layout(bench, validation.integer("inputs", inputs, low=2, high=most))
    if layout.n_features_total < 2:
        raise ValueError(f"inputs is {inputs!r}, but a matrix needs at least 2 macro-pixels.")
    return layout


def _finished(out: Path, bench: Bench, header: dict[str, Any]) -> TmRecord:
    """Return a measurement that had come to its end, if it is the one that is asked for."""
    record = read_tm(out, bench=bench)
    same = (
        record.basis == header["basis"]
        and tuple(record.roi) == tuple(header["roi"])
        and record.layout() == MirrorLayout(**header["layout"])
        and record.exposure_s == header["exposure_s"]
        and (record.conjugate_share != 0) == header["circular"]
        and record.repeats == header["repeats"]
        and record.method == header.get("method", record.method)
        and record.grain_px == header.get("grain_px", 0.0)
        and np.array_equal(record.asked_rad, header["asked_rad"])
        and np.array_equal(record.actual_rad, header["actual_rad"])
    )
    if not same:
        raise ValueError(f"{out} holds another measurement, which is finished: give another name, or resume=False.")
    clock = read_info(out, GROUP)
    if clock.frames is not None:
        resume_clock(bench, clock.frames, clock.elapsed_s)
    return replace(record, path=str(out))
