"""What a bench is given to show and to read, checked: every refusal is a sentence that names the argument.

What is plainly right passes here at once; the words of a refusal are those of `opusim.base.validation`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.user_arrays import as_numpy, checked_array
from opusim.device.dmd import unpack_mirrors
from opusim.device.modulator import Modulator
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.phases import PhasePatterns, driven

from .region import Roi, checked_roi

LONGEST_S = 3600.0
"""Longest exposure, and longest time of a frame, in seconds."""


def checked_transform(
    device: Device, patterns: Any, exposure_s: Any, roi: Any, n_pixels: Any, phases: Any, *, on_device: bool = True
) -> tuple[MirrorLayout | None, Any, float, Roi, int, np.ndarray | None]:
    """Return the arguments of a transform: layout, bits, exposure, rectangle, number of pixels, phases.

    Parameters
    ----------
    device : Device
        That shows and reads.
    patterns : MirrorPatterns or ndarray
        What was given to show.
    exposure_s : float
        Exposure in seconds.
    roi : tuple of int or None
        (row, column, n_rows, n_columns).
    n_pixels : int
        How many of its pixels are read.
    phases : float or array_like of float, or None
        Phases of the reference arm in radians.
    on_device : bool
        Whether bits on a device stay there.

    Raises
    ------
    TypeError, ValueError
        If one of them is not what it may be.
    """
    turned = None if phases is None else checked_phases(phases, device.reference.present)
    exposure_s = checked_exposure(exposure_s)
    rectangle = checked_roi(roi, device.camera.shape)
    n = _whole("n_pixels", n_pixels, 1, rectangle.n_pixels)
    layout, bits = checked_patterns(patterns, device.modulator, on_device=on_device)
    return layout, bits, exposure_s, rectangle, n, turned


def checked_before(before: Any, layout: MirrorLayout | None, modulator: Modulator) -> np.ndarray:
    """Return the bits (1, n_inputs) of the pattern that was shown before others of a layout, or of mirrors."""
    own, bits = checked_patterns(before, modulator)
    if own != layout or len(bits) != 1:
        raise ValueError(
            f"before holds {len(bits)} patterns of {own!r}, but it must be one, the last that was shown before, of the "
            f"layout of patterns: {layout!r}."
        )
    return np.asarray(bits)


def checked_exposure(exposure_s: float) -> float:
    """Return the exposure in seconds, above 0 and at most an hour."""
    if type(exposure_s) is float and 0.0 < exposure_s <= LONGEST_S:
        return exposure_s
    return validation.number("exposure_s", exposure_s, low=0.0, high=LONGEST_S, low_open=True)


def checked_frametime(frametime_s: float, least_s: float, why: str = "this exposure and region of interest") -> float:
    """Return the time of a frame in seconds, at least what it takes and at most an hour."""
    if type(frametime_s) is float and 0.0 < frametime_s <= LONGEST_S:
        value = frametime_s
    else:
        value = validation.number("frametime_s", frametime_s, low=0.0, high=LONGEST_S, low_open=True)
    if value < least_s * (1 - 1e-9):
        raise ValueError(f"frametime_s is {value!r}, but with {why} it must be at least {least_s:.6g}.")
    return value


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is int and low <= value <= high:
        return value
    return validation.integer(name, value, low=low, high=high)


def checked_phases(value: float | np.ndarray | None, has_reference: bool) -> np.ndarray | None:
    """Return the phases of the reference arm in radians, float64 (at least one,), or None if it is blocked."""
    if value is None:
        return None
    if not has_reference:
        raise ValueError(
            f"reference_phase_rad is {value!r}, but this device has no reference arm: it must be None. An arm comes "
            "with reference.relative_amplitude above 0, that of a laboratory with has_reference=True of its LabDevice."
        )
    if type(value) is float:
        phases = np.array([value])
    else:
        phases = checked_array("reference_phase_rad", value, "a phase in radians, or some of them", dtype=np.float64)
        phases = np.atleast_1d(phases)
    if phases.ndim != 1 or not len(phases) or not np.isfinite(phases).all():
        raise ValueError(f"reference_phase_rad is {value!r}, but it must be a number in radians, or some of them.")
    return phases


def input_layout(device: Device) -> MirrorLayout | None:
    """Return how the inputs that a device's medium has of its own lie on the mirrors: in line, on all of them.

    Parameters
    ----------
    device : Device
        The device.

    Returns
    -------
    MirrorLayout or None
        As for `opusim.bench.protocol.Inputs`; None where any pattern of the mirrors will do.

    Raises
    ------
    ValueError
        If the medium's file cannot be read.
    """
    n = device.medium.n_inputs
    return None if n is None else MirrorLayout.lined(device.dmd.shape, min(n, device.dmd.n_mirrors))


def output_roi(device: Device) -> Roi | None:
    """Return the rectangle of the sensor that the outputs fill which a device's medium has of its own.

    Parameters
    ----------
    device : Device
        The device.

    Returns
    -------
    Roi or None
        As for `opusim.bench.protocol.Outputs`; None where any pixels will do, or no rectangle has as many.

    Raises
    ------
    ValueError
        If the medium's file cannot be read, or has a pixel that is not on the sensor.
    """
    own = device.medium.own_outputs(device.camera.shape)
    return None if own is None else Roi(*own)


def check_inputs(layout: MirrorLayout | None, device: Device) -> None:
    """Refuse patterns that have no place on the inputs of a device's medium.

    Parameters
    ----------
    layout : MirrorLayout or None
        How they lie on the mirrors; None for bare mirrors.
    device : Device
        The device.

    Raises
    ------
    ValueError
        If they are bare mirrors, or more features than there are inputs.
    """
    n = device.medium.n_inputs
    if n is None or (layout is not None and layout.n_features_total <= n):
        return
    if layout is None:
        what = "are bare mirrors"
        do = f"opusim.patterns.layout.MirrorPatterns(bits, bench.input_layout), with bits of the shape (n, {n})"
    else:
        what = f"have {layout.n_features_total} features"
        do = f"at most {n} features, as opusim.patterns.layout.MirrorPatterns(bits, bench.input_layout)"
    raise ValueError(
        f"The patterns {what}, but the medium of this device is known for {n} inputs, and for nothing else: show {do}."
    )


def checked_patterns(
    patterns: Any, modulator: Modulator, *, on_device: bool = False
) -> tuple[MirrorLayout | None, Any]:
    """Return (layout or None, uint8 (n, n_inputs)): bits for mirrors, levels for a phase modulator.

    Bits of patterns on a device stay there if `on_device` is set; everything else comes as a numpy array.
    """
    if not isinstance(modulator, PhaseSlm):
        if isinstance(patterns, PhasePatterns):
            raise TypeError(
                "mirrors holds levels of a phase modulator, but this device has micromirrors, which are on or off: "
                "give opusim.patterns.layout.MirrorPatterns, or use a device with a phase modulator."
            )
        return checked_mirrors(patterns, modulator.shape, on_device=on_device)
    return checked_levels(patterns, modulator)


def checked_levels(levels: Any, slm: PhaseSlm) -> tuple[MirrorLayout | None, np.ndarray]:
    """Return (layout or None, levels (n, n_inputs), uint8) of patterns for a phase modulator.

    Floats are phases in turns of 2 pi, from 0 to below 1; whole numbers are levels.
    """
    if isinstance(levels, MirrorPatterns):
        if not isinstance(levels, PhasePatterns):
            raise TypeError(
                "mirrors holds bits of micromirrors, but this device has a phase modulator: give levels as "
                "opusim.patterns.phases.PhasePatterns, or phases in turns."
            )
        _check_laid_out(levels, slm.shape)
        bits = levels.bits
        if slm.levels < 256 and bits.size and bits.max() >= slm.levels:
            raise ValueError(f"mirrors holds the level {bits.max()}, but levels go from 0 to {slm.levels - 1}.")
        return levels.layout, bits
    pictures = level_pictures(levels, slm.shape, slm.level_turns)
    return None, pictures.reshape(len(pictures), slm.n_mirrors)


def level_pictures(given: Any, shape: tuple[int, int], level_turns: np.ndarray) -> np.ndarray:
    """Return the levels of pixels, uint8 (n, rows, columns), for one picture of phases or levels, or several."""
    rows, columns = shape
    array, _ = as_numpy(given, "mirrors", "an array of phases in turns, or of levels")
    if array.shape == (rows, columns):
        array = array[None]
    if array.ndim != 3 or array.shape[1:] != (rows, columns):
        raise ValueError(
            f"mirrors has shape {array.shape}, but it must be ({rows}, {columns}) or (n, {rows}, {columns}): phases in "
            "turns or levels. Features are given with their layout, as opusim.patterns.phases.PhasePatterns(levels, "
            "layout)."
        )
    return driven("mirrors", array, level_turns)


def _check_laid_out(patterns: MirrorPatterns, shape: tuple[int, int]) -> None:
    """Raise an error if patterns are laid out for another modulator."""
    if tuple(patterns.layout.dmd_shape) != tuple(shape):
        raise ValueError(
            f"mirrors are laid out for {tuple(patterns.layout.dmd_shape)}, but this device has {tuple(shape)}."
        )


def checked_mirrors(
    mirrors: Any, mirror_shape: tuple[int, int], *, on_device: bool = False
) -> tuple[MirrorLayout | None, Any]:
    """Return (layout or None, 0/1 bits (n, n_inputs), uint8).

    Bits of patterns on a device (a tensor of torch, an array of CuPy) stay there if `on_device` is set; everything
    else comes as a numpy array.
    """
    rows, columns = mirror_shape
    if isinstance(mirrors, MirrorPatterns):
        _check_laid_out(mirrors, mirror_shape)
        return mirrors.layout, mirrors.bits if on_device else mirrors.host_bits()
    array, _ = as_numpy(mirrors, "mirrors", "an array of 0 and 1")
    if array.dtype not in (np.bool_, np.uint8):
        raise TypeError(f"mirrors has type {array.dtype}, but it must be bool or uint8.")
    packed_bytes = -(-rows * columns // 8)
    if array.ndim == 2 and array.shape[1] == packed_bytes and array.dtype == np.uint8:
        return None, unpack_mirrors(array, (rows, columns)).reshape(len(array), rows * columns)
    if array.shape == (rows, columns):
        array = array[None]
    if array.ndim != 3 or array.shape[1:] != (rows, columns):
        raise ValueError(
            f"mirrors has shape {array.shape}, but it must be ({rows}, {columns}), (n, {rows}, {columns}), "
            f"or packed bits (n, {packed_bytes}). Features are given with their layout, as "
            "opusim.patterns.layout.MirrorPatterns(bits, layout)."
        )
    if array.size and array.dtype == np.uint8 and array.max() > 1:
        raise ValueError(f"mirrors holds the value {array.max()}, but it must hold only 0 and 1.")
    return None, np.ascontiguousarray(array).view(np.uint8).reshape(len(array), rows * columns)
