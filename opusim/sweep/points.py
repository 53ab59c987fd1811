"""What a sweep varies: fields of a device by dotted path, and a few things beside them.

Beside the numeric fields of a device (``camera.bits``, ``medium.decorrelation_time_s``, ...) there are:

- ``n_components``: outputs of the OPU.
- ``exposure_s`` (or ``exposure.exposure_s``): the same as ``operation.exposure_s``, in whole microseconds as the driver
  takes them.
- ``exposure.mean_level``: the exposure is found for each point at which the mean output, above the black level, is this
  share of the full scale (``opusim.sweep.exposure``). The mean is taken before the camera rounds to its bits, so that
  points of different bits get the same light.
- ``adc.bits``: bits of a camera whose full scale stays: the gain and the black level follow, so that a count is the
  same signal rounded more or less finely. ``camera.bits`` alone keeps the gain, and the full scale moves with it.
- ``task.NAME``: a numeric setting of the task.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, get_type_hints

import numpy as np

from opusim.base import validation
from opusim.base.parameters import near_matches, parameters_of, parts_of, paths_in, stage_name
from opusim.device.optics import LENGTH_FIELDS
from opusim.device.record import Device
from opusim.tasks.base import as_task

Number = int | float

LEVEL, BITS, COMPONENTS, EXPOSURE = "exposure.mean_level", "adc.bits", "n_components", "operation.exposure_s"
_ALIASES = {"exposure_s": EXPOSURE, "exposure.exposure_s": EXPOSURE}
_SPECIAL: dict[str, type] = {COMPONENTS: int, LEVEL: float, BITS: int}
#: What a path stands for, where that has changed: a file in which it stood for something else is another sweep.
MEANINGS = {LEVEL: "before rounding"}
# Bits of the camera that a level is measured with: rounding is then far below any noise.
_FINE_BITS = 16
# How alike a path and a name must be for the name to be proposed.
_ALIKE = 0.7
# Two of these would set the same thing.
_CLASHES = (({LEVEL, EXPOSURE}, "the exposure"), ({BITS, "camera.bits"}, "the bits"))
# The driver's exposures are whole microseconds.
_SHORTEST_S = 1e-6
_RANGE = "a list as in 2,4,8, where a range may stand too, LOW:HIGH:lin:NUMBER or LOW:HIGH:log:NUMBER"


@dataclass(frozen=True)
class Axis:
    """One parameter of a sweep.

    Parameters
    ----------
    path : str
        Which one.
    values : tuple of int or float
        Its values, each once.
    """

    path: str
    values: tuple[Number, ...]


@dataclass(frozen=True)
class Setting:
    """One combination of values: all that a point is run with, but for the seed.

    Parameters
    ----------
    values : tuple of int or float
        One for each axis.
    device : Device
        The device with these values.
    n_components : int
        Outputs of the OPU.
    task : callable
        The task with these values.
    mean_level : float or None
        Share of the full scale for which the exposure is to be found; None for the device's own exposure.
    """

    values: tuple[Number, ...]
    device: Device
    n_components: int
    task: Any
    mean_level: float | None = None


def numeric_fields(device: Device, task: Any) -> dict[str, type]:
    """Return int or float for each path that may be varied, by path."""
    result = dict(_SPECIAL)
    for stage in parts_of(Device):
        # A part of one's own may have plain fields too, which nothing describes but their annotation.
        own = getattr(device, stage)
        table = stage_name(type(own), stage)
        result |= {f"{table}.{name}": kind for name, kind in _numbers_of(own).items()}
    for path, about in paths_in(device).items():
        if about.is_number:
            result[path] = int if about.kind == "integer" else float
    return result | {f"task.{name}": kind for name, kind in _numbers_of(task).items()}


def _numbers_of(record: Any) -> dict[str, type]:
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        return {}
    hints = get_type_hints(type(record))
    return {f.name: hints[f.name] for f in dataclasses.fields(record) if f.init and hints[f.name] in (int, float)}


def make_axes(vary: Mapping[str, Sequence[Number]], device: Device, task: Any) -> tuple[Axis, ...]:
    """Check what is to be varied.

    Parameters
    ----------
    vary : mapping of str to sequence of numbers
        Values by path.
    device : Device
        Whose fields may be named.
    task : callable
        Whose settings may be named, if it is a dataclass.

    Returns
    -------
    tuple of Axis
        Whole numbers as int, others as float, as the field asks for.

    Raises
    ------
    TypeError, ValueError
        If a path is unknown (near matches are named) or has no numbers, or the values are not such a list.
    """
    if not isinstance(vary, Mapping):
        raise TypeError(f"vary is {vary!r}, but it must be a mapping from paths to lists of values.")
    if not vary:
        raise ValueError("vary is empty, but a sweep needs something to vary, such as {'camera.bits': [4, 6, 8]}.")
    known = numeric_fields(device, task)
    axes: list[Axis] = []
    for given, values in vary.items():
        path = _ALIASES.get(given, given) if isinstance(given, str) else given
        if path not in known:
            raise ValueError(_unknown(given, device, known))
        stage, _, name = path.partition(".")
        if stage == "optics" and name in (*LENGTH_FIELDS, "stated_share") and not device.optics.by_lengths:
            raise ValueError(
                f"vary names {path}, but it has no effect, because optics.held of the device {device.name!r} is "
                f"{device.optics.held!r}: every camera is re-magnified, and no length changes its light. It needs a "
                'TOML of the device with [optics] held = "lengths", or "aurora", which holds them.'
            )
        if any(path == axis.path for axis in axes):
            raise ValueError(f"vary names {path} twice.")
        if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
            raise TypeError(f"vary: {given} is {values!r}, but it must be a list of numbers.")
        checked = tuple(_as_kind(given, value, known[path]) for value in values)
        if not checked:
            raise ValueError(f"vary: {given} has no values.")
        axes.append(Axis(path, checked))
    for clash, what in _CLASHES:
        if clash <= {axis.path for axis in axes}:
            raise ValueError(f"vary names {' and '.join(sorted(clash))}, but both set {what}: only one of them may be.")
    return tuple(axes)


def _unknown(path: Any, device: Device, known: dict[str, type]) -> str:
    if path in device.paths():
        value: Any = device
        for name in path.split("."):
            value = getattr(value, name)
        return f"vary: {path} cannot be varied, because it is {value!r}, not a number{_by_tables(path)}."
    if words := _by_tables(path):
        return f"vary: {path} cannot be varied, because it is no number{words}."
    names = [*known, *_ALIASES]
    # `contrast` for `contrast_ratio`: a word of the name is nearer than its letters tell.
    near = device.meant_by(str(path)) or near_matches(str(path), names, cutoff=_ALIKE, parts="last")
    return (
        f"vary: there is no numeric field {path!r} in the device {device.name!r}{near}. Beside the device's there are "
        f"{', '.join([*_SPECIAL, 'exposure_s', *(name for name in known if name.startswith('task.'))])}."
    )


def _by_tables(path: Any) -> str:
    """Return the way out where something is to be varied that is no number, as a camera; nothing for other paths."""
    stage, _, name = str(path).partition(".")
    parts = parts_of(Device)
    if name:
        kinds = parts[stage].known if stage in parts else ()
        about = [found[name] for one in kinds if name in (found := parameters_of(one))]
        if name != "kind" and (not about or about[0].is_number):
            return ""
        line = f"[{stage}] {name} = ..."
    elif stage in parts:
        line = f'[{stage}] preset = "NAME"' if parts[stage].shelf else f"a table [{stage}]"
    elif path == "resolution":
        line = "resolution = ..."
    else:
        return ""
    return (
        f'. A sweep goes over numbers: make a TOML of each device, {line} below preset = "aurora", and a sweep of '
        "each, opusim sweep --device a.toml --out a.h5"
    )


def _as_kind(path: str, value: Any, kind: type) -> Number:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"vary: {path} has the value {value!r} ({type(value).__name__}), but it must be a number.")
    number = float(value)
    if kind is float:
        return number
    if not number.is_integer():
        raise ValueError(f"vary: {path} has the value {value!r}, but it must be a whole number.")
    return int(number)


def make_settings(
    axes: Sequence[Axis], *, device: Device, n_components: int, task: Any, zipped: bool = False
) -> tuple[Setting, ...]:
    """Return all combinations of values, each checked.

    Parameters
    ----------
    axes : sequence of Axis
        From `make_axes`.
    device : Device
        The device that is varied.
    n_components : int
        Outputs of the OPU, where that is not varied.
    task : callable
        The task; its `check` and `check_sweep` are asked.
    zipped : bool, optional
        Whether the values go together, the first of each, then the second of each. If not, every one is combined with
        every other; the first axis moves slowest.

    Raises
    ------
    ValueError
        If zipped axes differ in length, a value is not allowed (the sentence says for which point), or what is varied
        has no effect on the task.
    """
    if zipped and len({len(axis.values) for axis in axes}) > 1:
        lengths = ", ".join(f"{axis.path} has {len(axis.values)}" for axis in axes)
        raise ValueError(f"Values that go together must be as many for each, but {lengths}.")
    values_of = [axis.values for axis in axes]
    every = list(zip(*values_of, strict=True) if zipped else itertools.product(*values_of))
    twice = [values for values, times in Counter(every).items() if times > 1]
    if twice:
        raise ValueError(f"vary has {label(axes, twice[0])} twice.")
    result = []
    for number, values in enumerate(every, start=1):
        try:
            result.append(_setting(dict(zip((a.path for a in axes), values, strict=True)), device, n_components, task))
        except (TypeError, ValueError) as error:
            shown = label(axes, values)
            raise ValueError(f"Point {number} of {len(every)} ({shown}) cannot be run: {error}") from error
    as_task(task).check_sweep(axes, result)
    return tuple(result)


def _setting(changes: dict[str, Number], device: Device, n_components: int, task: Any) -> Setting:
    values = tuple(changes.values())
    components = validation.integer(COMPONENTS, changes.pop(COMPONENTS, n_components), low=1)
    level, bits = changes.pop(LEVEL, None), changes.pop(BITS, None)
    if level is not None and not 0 < level < 1:
        raise ValueError(f"{LEVEL} is {level!r}, but it must be a share of the full scale, above 0 and below 1.")
    of_task = {p.removeprefix("task."): changes.pop(p) for p in list(changes) if p.startswith("task.")}
    if of_task:
        task = dataclasses.replace(task, **of_task)
    if changes.get(EXPOSURE, _SHORTEST_S) < _SHORTEST_S:
        raise ValueError(
            f"{EXPOSURE} is {changes[EXPOSURE]!r}, but the driver takes whole microseconds: it must be at least 1e-6."
        )
    changed = device.evolve(**changes) if changes else device
    if bits is not None:
        changed = with_adc_bits(changed, int(bits))
    validation.integer(COMPONENTS, components, low=1, high=changed.camera.n_pixels)
    declared = as_task(task)
    if declared.linear:
        _check_linear(changes, level, changed)
    declared.check(changed, components)
    return Setting(values, changed, components, task, None if level is None else float(level))


def with_adc_bits(device: Device, bits: int) -> Device:
    """Return the device with other bits and the same full scale in electrons: gain and black level follow."""
    bits = validation.integer(BITS, bits, low=2, high=16)
    camera = device.camera
    factor = (2**bits - 1) / camera.full_scale_dn
    return device.evolve(
        **{
            "camera.bits": bits,
            "camera.gain_dn_per_e": camera.gain_dn_per_e * factor,
            "camera.black_level_dn": camera.black_level_dn * factor,
        }
    )


def without_rounding(device: Device) -> Device:
    """Return the device with so many bits that rounding hardly matters; it clips where it did."""
    return with_adc_bits(device, _FINE_BITS) if device.camera.quantise else device


def _check_linear(changes: dict[str, Number], level: Number | None, device: Device) -> None:
    """Refuse what would have no effect: by holography the exposure is that of the calibration."""
    if level is not None:
        raise ValueError(f"{LEVEL} is a level of counts, but this task uses the linear transform.")
    if EXPOSURE in changes and device.reference.present:
        raise ValueError(
            f"{EXPOSURE} has no effect here: the linear transform by holography has the exposure of its calibration. "
            "Vary task.exposure_s."
        )


def label(axes: Sequence[Axis], values: Sequence[Number]) -> str:
    """Return "camera.bits=8, n_components=1000" for one combination of values."""
    return ", ".join(f"{axis.path}={value:g}" for axis, value in zip(axes, values, strict=True))


def parse_vary(text: str) -> tuple[str, list[Number]]:
    """Read ``camera.bits=2,4,8`` or ``camera.prnu=1e-4:1e-2:log:5``.

    Parameters
    ----------
    text : str
        A path, an equals sign, and a list with commas: of numbers, ``inf`` among them, and of ranges,
        LOW:HIGH:lin:NUMBER (evenly spaced) or LOW:HIGH:log:NUMBER (equal ratios), ends included.

    Returns
    -------
    path : str
    values : list of int or float

    Raises
    ------
    ValueError
        If the text is not so.
    """
    path, equals, values = (part.strip() for part in text.partition("="))
    if not path or not equals or not values:
        raise ValueError(f"--vary is {text!r}, but it must be a path, an equals sign and {_RANGE}.")
    try:
        return path, [number for part in values.split(",") for number in _numbers(part)]
    except ValueError as error:
        if words := _by_tables(path):
            raise ValueError(f"--vary is {text!r}, but {path} is no number{words}.") from None
        raise ValueError(f"--vary is {text!r}, but {path} must be {_RANGE} ({error}).") from None


def _numbers(text: str) -> list[Number]:
    """Return the numbers of one part of a list: one number, or those of a range."""
    if ":" not in text:
        return [_number(text)]
    low, high, spacing, number = (part.strip() for part in text.split(":"))
    if spacing not in ("lin", "log") or not re.fullmatch("[1-9][0-9]*", number):
        raise ValueError(f"{spacing}:{number} is neither lin:NUMBER nor log:NUMBER")
    first, last = float(low), float(high)
    if not (math.isfinite(first) and math.isfinite(last)) or (spacing == "log" and min(first, last) <= 0):
        raise ValueError(f"its ends must be {'finite' if spacing == 'lin' else 'above 0 and finite'}")
    space = np.linspace if spacing == "lin" else np.geomspace
    # Twelve digits, so that 0.1:0.3:lin:3 holds 0.2 and not a neighbour of it.
    return [float(f"{value:.12g}") for value in space(first, last, int(number)).tolist()]


def _number(text: str) -> Number:
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text.strip()) else float(text)
