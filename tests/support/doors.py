"""Every public door that takes an array: found by the documentation's lists, called by the table here.

A door is an argument of a public function, method or constructor whose docstring or annotation says that it is an
array. `array_doors` finds them all; `DOORS` says how each is called with what is right, and which odd kinds of arrays
are right there too. `NOT_DOORS` names what looks like a door and is none, with the reason.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
_OF_ARRAYS = re.compile(r"\barray|ndarray|\bTensor|csr_array|ArrayLike|NDArray")
# Choices between words, and arrays only of another kind.
_CHOICE = re.compile(r"\{[^}]*\}")


# ---------------------------------------------------------------------------------------------- to find them


def documented() -> Iterator[tuple[str, Any]]:
    """Full names that the pages of the reference list, and what they name."""
    for page in sorted(REFERENCE.glob("*.rst")):
        current, inside = "", False
        for line in page.read_text(encoding="utf-8").splitlines():
            directive = re.fullmatch(r"\.\. (?:py:)?(\w+):: ?(.*)", line)
            if directive:
                kind, argument = directive.groups()
                inside = kind == "autosummary"
                current = argument if kind in ("automodule", "currentmodule") else current
            elif line and not line.startswith(" "):
                inside = False
            elif inside and re.fullmatch(r" +[\w.]+", line):
                name = line.strip()
                full = name if name.startswith("opusim.") else f"{current}.{name}"
                try:
                    yield full, resolved(full)
                except ImportError:  # of torch and of others' packages, where they are not installed
                    continue


def resolved(full: str) -> Any:
    """What a dotted name names."""
    parts = full.split(".")
    for k in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            thing = getattr(thing, part)
        return thing
    raise ImportError(full)


def array_arguments(function: Any, text: str | None) -> list[str]:
    """Arguments that are arrays, by the docstring's types and by annotations."""
    found = []
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}|\Z)", inspect.cleandoc(text or ""), re.S | re.M)
    for line in section[1].splitlines() if section else []:
        entry = re.match(r"^(\w[\w, ]*) : (.*)$", line)
        if entry and _OF_ARRAYS.search(_CHOICE.sub("", entry[2])):
            found += [name.strip() for name in entry[1].split(",")]
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = {}
    for name, parameter in parameters.items():
        kind = str(parameter.annotation)
        if _OF_ARRAYS.search(kind) and "Callable" not in kind and name not in found:
            found.append(name)
    return found


@functools.cache
def array_doors() -> tuple[str, ...]:
    """All doors, as ``module.function(argument)`` or ``module.Class.method(argument)``, by where they are written."""
    doors: dict[str, None] = {}

    def add(thing: Any, text: str | None) -> None:
        for name in array_arguments(thing, text):
            doors[f"{thing.__module__}.{thing.__qualname__}({name})"] = None

    for _, thing in documented():
        if inspect.isclass(thing):
            add(thing, thing.__doc__)
            for name, member in inspect.getmembers(thing):
                public = not name.startswith("_") or name == "__call__"
                if public and inspect.isroutine(member) and str(getattr(member, "__module__", "")).startswith("opusim"):
                    add(member, member.__doc__)
        elif inspect.isroutine(thing):
            add(thing, thing.__doc__)
    return tuple(doors)


# ---------------------------------------------------------------------------------------------- odd arrays


class Raises:
    """Says that it is an array, and is none."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise RuntimeError("there is nothing in here")


class Table:
    """As a DataFrame: a table with a name, which gives its values when it is asked for an array."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.name, self.shape, self.dtype = values, "measured", values.shape, values.dtype

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype=dtype)

    def __len__(self) -> int:
        return len(self.values)


def odd_arrays(good: np.ndarray) -> dict[str, Any]:
    """What a user may give in place of an array, by kind; each of the shape of a right one where it has a shape."""
    import scipy.sparse

    real = good.real.astype(np.float64)
    with_nan, with_infinity = real.copy(), real.copy()
    with_nan.flat[0], with_infinity.flat[0] = np.nan, np.inf
    mask = np.zeros(good.shape, dtype=bool)
    mask.flat[0] = True
    odd = {
        "none": None,
        "masked": np.ma.masked_array(good, mask=mask),
        "sparse": scipy.sparse.csr_array(np.atleast_2d(real.reshape(good.shape[0] if good.ndim else 1, -1))),
        "objects": good.astype(object),
        "texts": np.full(good.shape, "a"),
        "ragged": [[1.0, 2.0], [1.0]],
        "dates": real.astype(np.int64).astype("datetime64[s]"),
        "records": np.zeros(good.shape, dtype=[("a", np.float32)]),
        "an object": object(),
        "raises": Raises(),
        "nan": with_nan,
        "infinity": with_infinity,
        "complex": real + 1j,
    }
    # numpy makes an array of the values of these, and forgets the masks, or has NaN in their places.
    parts = [np.ma.masked_array(*part) for part in zip(good, mask, strict=True)] if good.ndim else []
    if good.ndim:
        odd["list of masked"] = parts
    if good.ndim > 1:
        odd["lists of masked"] = tuple(list(part) for part in parts)
    return odd | odd_tensors(real)


def odd_tensors(real: np.ndarray) -> dict[str, Any]:
    """Tensors that hold no values of their own, or in a form that numpy does not know; none without torch."""
    try:
        import torch
    except ImportError:
        return {}
    tensor = torch.from_numpy(real).float()
    listed = {"list of sparse tensors": [part.to_sparse() for part in tensor]} if real.ndim > 1 else {}
    return listed | {
        "sparse tensor": tensor.to_sparse(),
        "quantised tensor": torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        "tensor without values": tensor.to("meta"),
    }


def other_forms(good: np.ndarray) -> dict[str, Any]:
    """The same values in other forms: each gives the same, or a sentence."""
    forms = {
        "list": good.tolist(),
        "table": Table(good),
        "other byte order": good.astype(good.dtype.newbyteorder()),
        "not in order": np.asfortranarray(good) if good.ndim > 1 else np.repeat(good, 2)[::2],
        "to read": good.copy(),
        "subclass": good.view(type("Own", (np.ndarray,), {})),
    }
    forms["to read"].flags.writeable = False
    try:
        import torch
    except ImportError:
        return forms
    return forms | {"tensor": torch.from_numpy(good.copy())}


# ---------------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Door:
    """How a door is gone through.

    Attributes
    ----------
    call : callable
        Calls it with a value of the argument, all else right; it returns something that may be compared.
    good : callable
        Makes a right value.
    takes : frozenset of str
        Kinds of `odd_arrays` that are right here.
    called : str
        What sentences call the argument, where that is not its name; several, if there are, separated by "|".
    same : bool
        Whether the same values give the same result again.
    library : str
        A library whose own sentences are right here.
    """

    call: Callable[[Any], Any]
    good: Callable[[], np.ndarray]
    takes: frozenset[str] = frozenset()
    called: str = ""
    same: bool = True
    library: str = ""


DOORS: dict[str, Door] = {}

#: What looks like a door and is none: the beginning of names, and why.
NOT_DOORS = {
    # Records that the package makes and hands out. A file of one is checked where it is read.
    **dict.fromkeys(
        (
            "opusim.bench.planes.Planes(", "opusim.calibration.procedures.camera.CameraRecord(",
            "opusim.calibration.procedures.phase.PhaseRecord(", "opusim.calibration.procedures.linear.LinearRecord(",
            "opusim.calibration.procedures.matrix.file.TmRecord(", "opusim.calibration.procedures.drift.DriftRecord(",
            "opusim.calibration.procedures.focus.FocusRecord(",
            "opusim.calibration.procedures.frequency.FrequencyRecord(", "opusim.device.camera.SensorMaps(",
            "opusim.dfa.history.History(", "opusim.dfa.error_encoding.EncodedErrors(", "opusim.dfa.checkpoint.RunFile(",
            "opusim.tasks.image_sets.Task(", "opusim.calibration.algorithms.fringe_fit.Demodulated(",
            "opusim.calibration.algorithms.iterative.PhaseEstimate(", "opusim.bench.frames.ReservedFrames(",
            "opusim.datasets.Dataset(", "opusim.drivers.context.ContextArray(",
        ),
        "a record that the package makes",
    ),
    # Declarations: who implements them checks.
    **dict.fromkeys(
        (
            "opusim.bench.protocol.", "opusim.bench.driver.", "opusim.dfa.feedback.ErrorProjection.",
            "opusim.dfa.error_encoding.ErrorEncoding.", "opusim.drivers.methods.base.Method.",
            "opusim.bench.laboratory.LaboratoryBench.show(", "opusim.bench.template.TemplateBench.show(",
            "opusim.encoding.transformer.BaseTransformer.transform(", "opusim.adapters.alp4.AlpBench.show(",
            "opusim.adapters.instruments.OneByOneBench.",
        ),
        "a declaration: whoever implements it is called with what was checked",
    ),
    # Between stages: what comes there was checked at the door before, and the loop is hot.
    **dict.fromkeys(
        (
            "opusim.device.medium.layer.", "opusim.device.fourier_stop.Relay.",
            "opusim.device.pixel_sampling.PixelSampling.",
            "opusim.planning.rates.measure(",
            "opusim.dfa.network.MLP.times_derivative(", "opusim.dfa.optimisers.Optimiser.",
            "opusim.patterns.layout.MirrorPatterns.of_checked(",
            "opusim.device.slm.PhaseSlm.of_levels(",
            "opusim.device.slm.PhaseSlm.smoothed(", "opusim.device.slm.PhaseSlm.turned(",
            "opusim.device.slm.PhaseSlm.field(ripples)",
            "opusim.device.medium.drift.Drift.state_at(",
            "opusim.device.medium.drift.StateSequence.state_at(", "opusim.device.medium.base.EntryMedium.outputs_at(",
            "opusim.device.medium.measured.MeasuredMedium.outputs_at(",
            "opusim.bench.singles.Singles.counts(", "opusim.drivers.lowlevel.device.OpuDevice.project_one(",
        ),
        "between two stages, for arrays of the package's own",
    ),
    # Given for scikit-learn's sake, and not looked at.
    **dict.fromkeys(
        (
            "opusim.encoding.thresholds.BinaryThresholdEncoder.fit(y)",
            "opusim.encoding.thresholds.MultiThresholdEncoder.fit(y)",
            "opusim.encoding.base_two.SequentialBaseTwoEncoder.fit(y)",
            "opusim.encoding.transformer.BaseTransformer.fit",
        ),
        "ignored",
    ),
    # Where results are put: an array of the caller's own making.
    **dict.fromkeys(
        ("opusim.patterns.layout.MirrorLayout.packed(out)", "opusim.drivers.lowlevel.device.OpuDevice.transform2(out)"),
        "a place for results",
    ),
    # Tensors of a model: tests/dfa/test_torch_refusals.py and those beside it.
    **dict.fromkeys(
        (
            "opusim.dfa.torch.", "opusim.differentiable.output.", "opusim.drivers.projections.torch.",
            "opusim.encoding.models.", "opusim.base.module_state.CarriesState.",
        ),
        "a module of torch, which takes tensors alone",
    ),
    # Gone through by tests of their own, where the package is: tests/adapters/test_openwfs_adapter.py.
    "opusim.adapters.openwfs.": "a module that needs OpenWFS",
}  # fmt: skip

_STEPS = np.arange(4) * np.pi / 2
_SIZES = {"dmd.shape": (16, 16), "camera.shape": (16, 20), "operation.ones_range": (1, 200)}


def door(
    name: str, call: Callable[[Any], Any], good: Callable[[], np.ndarray], takes: str = "", called: str = "",
    same: bool = True, library: str = "",
) -> None:  # fmt: skip
    """Enter a door; `takes` names odd kinds, separated by commas."""
    kinds = frozenset(kind.strip() for kind in takes.split(",") if kind.strip())
    DOORS[name] = Door(call, good, kinds, called, same, library)


def fringes(steps: int = 4, pixels: int = 64) -> np.ndarray:
    """Frames (steps, pixels) of a speckle pattern against a reference, equal steps over a turn."""
    draws = np.random.default_rng(3).normal(size=(2, pixels))
    field = 3 * (draws[0] + 1j * draws[1])
    turns = np.exp(-2j * np.pi * np.arange(steps) / steps)[:, None]
    return np.abs(field) ** 2 + 36 + 2 * (6 * field * turns).real


def hologram() -> np.ndarray:
    """A frame (32, 32) under a reference tilted by .25 cycles a pixel along rows."""
    draws = np.random.default_rng(3).normal(size=(2, 32, 32))
    spectrum = np.fft.fft2(draws[0] + 1j * draws[1])
    far = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)[None, :])
    field = np.fft.ifft2(spectrum * (far < 0.06))
    return np.abs(field + 3 * np.exp(0.5j * np.pi * np.arange(32))[:, None]) ** 2


@functools.cache
def small_opu(ndims: int = 1, encoded: bool = False) -> Any:
    """An OPU on a small simulated device, fitted to 16 features."""
    from opusim import OPU, OpticalBench
    from opusim.drivers import OpuDevice

    opu = OPU(100, opu_device=OpuDevice(bench=small_bench(OpticalBench)))
    opu.open()
    if ndims == 1:
        opu.fit1d(n_features=16)
    else:
        opu.fit2d(n_features=(4, 4))
    return opu


def small_bench(kind: Any) -> Any:
    from opusim import Device

    return kind(Device.load("aurora").evolve(**_SIZES))


@functools.cache
def optical_bench() -> Any:
    from opusim import OpticalBench

    return small_bench(OpticalBench)


@functools.cache
def lagging_bench() -> Any:
    from opusim import OpticalBench

    bench = OpticalBench(optical_bench().device.evolve(**{"camera.lag": 0.1}))
    bench.skip_frames(1)
    return bench


@functools.cache
def lagging_batch() -> Any:
    from opusim import OPU, OpticalBench
    from opusim.drivers import OpuDevice

    bench = OpticalBench(optical_bench().device.evolve(**{"camera.lag": 0.1}))
    opu = OPU(100, opu_device=OpuDevice(bench=bench))
    opu.open()
    opu.fit1d(n_features=16)
    return opu.batch(3)


@functools.cache
def network() -> Any:
    from opusim.dfa import MLP

    return MLP([4, 3, 2])


def bits(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, shape, dtype=np.uint8)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=shape)


def _theory() -> None:
    from opusim import theory

    not_a_number = "nan, infinity"
    door("opusim.theory.memory_effect(tilt)", lambda x: theory.memory_effect(x, 2.0), lambda: numbers(5), not_a_number)
    for name in ("marchenko_pastur_pdf", "marchenko_pastur_cdf"):
        call = getattr(theory, name)
        door(f"opusim.theory.{name}(s)", lambda x, call=call: call(x, 0.5), lambda: np.abs(numbers(5)), not_a_number)
    other = numbers(3, 4)
    kernel = theory.optical_kernel
    door("opusim.theory.optical_kernel(x)", lambda x: kernel(x, other), lambda: numbers(5, 4), not_a_number)
    turns = theory.phase_kernel
    door("opusim.theory.phase_kernel(x_turns)", lambda x: turns(x, other), lambda: numbers(5, 4))
    door("opusim.theory.phase_kernel(y_turns)", lambda y: turns(other, y), lambda: numbers(5, 4))
    moments, one_each = theory.exposure_moments, lambda: np.abs(numbers(5))
    door("opusim.theory.exposure_moments(hz)", lambda x: moments(x, one_each(), 0.1), one_each)
    door("opusim.theory.exposure_moments(rad)", lambda x: moments(one_each(), x, 0.1), one_each)
    door("opusim.theory.optical_kernel(y)", lambda y: kernel(other, y), lambda: numbers(5, 4), not_a_number)


def _algorithms() -> None:
    from opusim.calibration.algorithms import hadamard, masks, off_axis
    from opusim.calibration.algorithms import phase_shifting as ps

    at = "opusim.calibration.algorithms"
    for name, steps in (("three_step", 3), ("four_step", 4), ("schwider_hariharan", 5), ("carre", 4)):
        call = getattr(ps, name)
        door(f"{at}.phase_shifting.{name}(frames)", call, functools.partial(fringes, steps))
    frames = fringes()
    fit, one = ps.least_squares, lambda: np.ones(4)
    door(f"{at}.fringe_fit.least_squares(frames)", lambda x: fit(x, _STEPS), fringes)
    door(f"{at}.fringe_fit.least_squares(phases_rad)", lambda x: fit(frames, x), _STEPS.copy)
    door(f"{at}.fringe_fit.least_squares(weights)", lambda x: fit(frames, _STEPS, x), one, "none")
    door(f"{at}.fringe_fit.least_squares(powers)", lambda x: fit(frames, _STEPS, powers=x), one, "none")
    fit_2 = ps.least_squares_unsaturated
    door(f"{at}.masks.least_squares_unsaturated(frames)", lambda x: fit_2(x, _STEPS, 900.0), fringes)
    door(f"{at}.masks.least_squares_unsaturated(phases_rad)", lambda x: fit_2(frames, x, 900.0), _STEPS.copy)
    door(f"{at}.masks.least_squares_unsaturated(weights)", lambda x: fit_2(frames, _STEPS, 900.0, x), one, "none")
    door(
        f"{at}.masks.least_squares_unsaturated(black_level_dn)",
        lambda x: fit_2(frames, _STEPS, 900.0, black_level_dn=x), lambda: np.ones(64),
    )  # fmt: skip
    find, five = ps.advanced_iterative, fringes(5)
    steps = np.arange(5) * 2 * np.pi / 5
    door(f"{at}.iterative.advanced_iterative(frames)", lambda x: find(x, steps), lambda: five.copy())
    door(f"{at}.iterative.advanced_iterative(nominal_rad)", lambda x: find(five, x), steps.copy)
    some = np.arange(64) % 3 > 0
    door(f"{at}.iterative.advanced_iterative(mask)", lambda x: find(five, steps, mask=x), some.copy, "none")
    q = numbers(2, 8)
    level = np.full(8, 9.0)
    door(
        f"{at}.fringe_fit.modulation(q)", lambda x: ps.modulation(x, level), lambda: q[0] + 1j * q[1],
        "complex, nan, infinity",
    )  # fmt: skip
    door(f"{at}.fringe_fit.modulation(offset)", lambda x: ps.modulation(q[0], x), level.copy, "nan, infinity")
    door(f"{at}.fringe_fit.Demodulated.field(reference_intensity)", fit(frames, _STEPS).field,
         lambda: np.full(64, 36.0), "nan, infinity")  # fmt: skip
    power = ps.frame_powers
    door(f"{at}.frame_power.frame_powers(frames)", power, fringes)
    door(f"{at}.frame_power.frame_powers(phases_rad)", lambda x: power(frames, x), _STEPS.copy, "none")
    door(f"{at}.frame_power.frame_powers(mask)", lambda x: power(frames, mask=x), some.copy, "none")
    normal = ps.normalise_power
    door(f"{at}.frame_power.normalise_power(frames)", normal, fringes)
    door(f"{at}.frame_power.normalise_power(phases_rad)", lambda x: normal(frames, x), _STEPS.copy, "none")
    door(f"{at}.frame_power.normalise_power(powers)", lambda x: normal(frames, powers=x), one, "none")
    door(f"{at}.frame_power.normalise_power(mask)", lambda x: normal(frames, mask=x), some.copy, "none")
    door(f"{at}.masks.saturated_pixels(frames)", lambda x: masks.saturated_pixels(x, 90.0), fringes, "infinity")
    door(f"{at}.masks.dark_pixels(offset)", masks.dark_pixels, lambda: np.abs(numbers(64)) + 1, "nan, infinity")
    image, tilt = hologram(), np.array([0.25, 0.0])
    shown = off_axis.demodulate
    door(f"{at}.off_axis.demodulate(frames)", lambda x: shown(x, tilt, 0.06), hologram)
    door(f"{at}.off_axis.demodulate(carrier)", lambda x: shown(image, x, 0.06), tilt.copy)
    door(f"{at}.off_axis.demodulate(background)", lambda x: shown(image, tilt, 0.06, background=x),
         lambda: np.full((32, 32), 9.0), "none")  # fmt: skip
    door(f"{at}.off_axis.demodulate(reference)", lambda x: shown(image, tilt, 0.06, reference=x),
         lambda: np.full((32, 32), 9.0), "none")  # fmt: skip
    door(f"{at}.off_axis.find_carrier(frames)", lambda x: off_axis.find_carrier(x, 0.06), hologram)
    door(f"{at}.off_axis.find_carrier(reference)", lambda x: off_axis.find_carrier(image, 0.06, reference=x),
         lambda: np.full((32, 32), 9.0), "none")  # fmt: skip
    door(f"{at}.off_axis.find_carrier(near)", lambda x: off_axis.find_carrier(image, 0.06, near=x), tilt.copy, "none")
    door(f"{at}.hadamard.fast_transform(values)", lambda x: hadamard.fast_transform(getattr(x, "copy", lambda: x)()),
         lambda: numbers(8, 3), "nan, infinity, complex")  # fmt: skip


def _procedures() -> None:
    from opusim import calibration
    from opusim.calibration import on_bench
    from opusim.calibration.procedures import focus
    from opusim.calibration.procedures.focus import focus_binary, focus_levels, focus_phase
    from opusim.patterns.layout import MirrorLayout

    at = "opusim.calibration.procedures"

    def any_mirrors() -> np.ndarray:
        return bits(1, 16, 16)

    how = {"exposure_s": 1e-3}
    find = calibration.find_exposure
    door(f"{at}.exposure.find_exposure(mirrors)", lambda x: find(optical_bench(), x), any_mirrors, same=False)
    door(
        f"{at}.exposure.find_exposure(reference_phase_rad)",
        lambda x: find(optical_bench(), any_mirrors(), reference_phase_rad=x), _STEPS.copy, "none", same=False,
    )  # fmt: skip
    # What is wrong is refused before the first pattern is shown; a whole measurement is another test's.
    required = {
        ("phase.measure_phases", "phases_rad"), ("matrix.measure.measure_tm", "steps"),
        ("frequency.lock_frequency", "mirrors"),
    }  # fmt: skip
    for name, make, arguments in (
        ("phase.measure_phases", calibration.measure_phases, ("phases_rad", "mirrors")),
        ("drift.measure_drift", calibration.measure_drift, ("mirrors", "phases_rad", "actual_rad")),
        ("linear.measure_linear", calibration.measure_linear, ("mirrors",)),
        ("frequency.lock_frequency", calibration.lock_frequency, ("mirrors",)),
        ("matrix.measure.measure_tm", calibration.measure_tm, ("steps", "actual_rad", "carrier")),
    ):
        for argument in arguments:
            good = (lambda: bits(16, 16, 16)) if argument == "mirrors" else _STEPS.copy
            if argument == "carrier":
                good = np.array([0.25, 0.25]).copy
            takes = "" if (name, argument) in required else "none"
            door(f"{at}.{name}({argument})", _refused_by(make, argument, how), good, takes, same=False)
    rows = numbers(2, 5)
    levels = np.arange(8) / 8

    def levels_for(rows: Any) -> np.ndarray:
        return focus_levels(rows, levels)

    for name, call in (("focus_phase", focus_phase), ("focus_binary", focus_binary), ("focus_levels", levels_for)):
        door(f"{at}.focus.{name}(rows)", call, lambda: rows + 1j * rows[::-1], "complex")
    door(f"{at}.focus.focus_levels(level_turns)", lambda x: focus_levels(rows, x), levels.copy)
    sixteen = MirrorLayout.lined((16, 16), 16)
    door("opusim.calibration.on_bench.shown_features(bits)",
         lambda x: on_bench.shown_features(optical_bench(), x, sixteen).host_bits(), lambda: bits(3, 16))  # fmt: skip
    record = type("Record", (), {"valid": np.ones(20, dtype=bool), "n_outputs": 20})
    door(f"{at}.focus.measure_focus(targets)", lambda x: focus._targets(record, x), lambda: np.array([3, 5]))


def _refused_by(make: Callable[..., Any], argument: str, how: dict[str, Any]) -> Callable[[Any], Any]:
    """Call a procedure on a bench that shows nothing: a right value comes as far as that."""

    class NoFrames(Exception):
        pass

    class Blind:
        mirror_shape, sensor_shape = (16, 16), (16, 20)
        tuning_hz, tuning_range_hz = 0.0, 1e9

        def tune(self, shift_hz: float) -> None:
            raise NoFrames

        def expose(self, mirrors: Any, **given: Any) -> Any:
            if mirrors is None:
                return np.full((given.get("n_frames", 1), 16, 20), 2, dtype=np.uint8)
            raise NoFrames

        def flat_field(self, photons: float, **given: Any) -> Any:
            raise NoFrames

    def call(value: Any) -> None:
        import tempfile

        given: dict[str, Any] = dict(how)
        if make.__name__ == "measure_phases" and argument != "phases_rad":
            given["phases_rad"] = _STEPS
        with tempfile.TemporaryDirectory() as folder:
            if make.__name__ == "measure_drift":
                given |= {"duration_s": 1.0, "phases_rad": _STEPS}
            elif make.__name__ == "measure_tm":
                given |= {"inputs": 4, "out": f"{folder}/tm.h5"}
                given |= {"method": "off-axis", "grain_px": 6.0} if argument == "carrier" else {}
            given["full_scale_dn"] = 255.0
            if make.__name__ in ("measure_linear", "lock_frequency"):
                del given["full_scale_dn"]
            try:
                make(Blind(), **{**given, argument: value})
            except NoFrames:
                return

    return call


def _device() -> None:
    from opusim import Device
    from opusim.device.camera import Camera
    from opusim.device.medium import StateSequence

    device = Device.load("aurora").evolve(**_SIZES)
    at = "opusim.device"
    times, frames = np.arange(5) * 1e-3, np.arange(5)
    laser, arm = device.laser, device.reference
    door(f"{at}.laser.Laser.relative_power(frames)", lambda x: laser.relative_power(x, times, seed=1), frames.copy)
    door(f"{at}.laser.Laser.relative_power(times_s)", lambda x: laser.relative_power(frames, x, seed=1), times.copy,
         "nan, infinity")  # fmt: skip
    door(f"{at}.dmd.Dmd.field(mirrors)", lambda x: device.dmd.field(x, seed=1), lambda: bits(2, 16, 16))
    from opusim.device.slm import PhaseSlm

    slm = PhaseSlm(name="x", shape=(16, 16), pitch_m=9e-6, flicker=0.1, flicker_hz=50.0)
    door(f"{at}.slm.PhaseSlm.field(levels)", lambda x: slm.field(x, seed=1), lambda: bits(2, 16, 16))
    door(f"{at}.slm.PhaseSlm.levels_of(turns)", slm.levels_of, lambda: np.linspace(0.0, 0.9, 6))
    by_frame = PhaseSlm(name="x", shape=(16, 16), pitch_m=9e-6, flicker=0.1)
    door(f"{at}.slm.PhaseSlm.ripples(frames)", lambda x: by_frame.ripples(x, times, 1e-3, seed=1), frames.copy)
    door(f"{at}.slm.PhaseSlm.ripples(times_s)", lambda x: slm.ripples(frames, x, 1e-3, seed=1), times.copy,
         "nan, infinity")  # fmt: skip
    moving = device.evolve(**{"dmd.warm_up_loss": 0.013, "dmd.vibration_rad": 0.1}).micromirrors
    door(f"{at}.dmd.Dmd.motion(times_s)", lambda x: moving.motion(x, 1e-3, seed=1), times.copy, "nan, infinity")
    door(f"{at}.dmd.Dmd.speckle_correlation(times_s)", moving.speckle_correlation, times.copy, "nan, infinity")
    place = {"sensor_shape": (16, 20), "pixel_pitch_m": 5e-6, "n_mirrors": 256, "seed": 1}
    door(f"{at}.reference.Reference.field(pixels)", lambda x: arm.field(x, **place), lambda: np.arange(6))
    door(f"{at}.reference.Reference.field(offsets)", lambda x: arm.field(np.arange(6), **place, offsets=x),
         lambda: np.zeros((4, 2)), "none, nan, infinity")  # fmt: skip
    phases = arm.phases_rad
    door(f"{at}.reference.Reference.phases_rad(asked_rad)", lambda x: phases(x, frames, times, seed=1), times.copy,
         "nan, infinity")  # fmt: skip
    door(f"{at}.reference.Reference.phases_rad(frames)", lambda x: phases(times, x, times, seed=1), frames.copy)
    door(f"{at}.reference.Reference.phases_rad(times_s)", lambda x: phases(times, frames, x, seed=1), times.copy,
         "nan, infinity")  # fmt: skip
    means = arm.phasors
    door(f"{at}.reference.Reference.phasors(asked_rad)", lambda x: means(x, frames, times, 1e-3, seed=1), times.copy,
         "nan, infinity")  # fmt: skip
    door(f"{at}.reference.Reference.phasors(frames)", lambda x: means(times, x, times, 1e-3, seed=1), frames.copy)
    door(f"{at}.reference.Reference.phasors(times_s)", lambda x: means(times, frames, x, 1e-3, seed=1), times.copy,
         "nan, infinity")  # fmt: skip
    camera: Camera = device.camera
    maps = camera.maps(1)
    show = {"exposure_s": 1e-3, "seed": 1}
    door(f"{at}.camera.Camera.electrons(photons)", lambda x: camera.electrons(x, maps=maps, **show),
         lambda: np.full((2, 320), 50.0))  # fmt: skip
    door(f"{at}.camera.Camera.expose(photons)", lambda x: camera.expose(x, maps=maps, **show),
         lambda: np.full((2, 320), 50.0))  # fmt: skip
    bent = camera.evolve(nonlinearity=0.01)
    door(f"{at}.camera.Camera.response_e(electrons)", bent.response_e, lambda: np.linspace(0.0, 2e4, 6))
    door(f"{at}.camera.Camera.response_slope(electrons)", bent.response_slope, lambda: np.linspace(0.0, 2e4, 6))
    door(f"{at}.camera.Camera.maps(pixels)", lambda x: camera.maps(1, x).gain, lambda: np.arange(6), "none")
    drift = device.evolve(**{"medium.decorrelation_time_s": 10.0}).medium.drift
    door(f"{at}.medium.drift.Drift.state(time_s)", drift.state, times.copy)
    sequence = StateSequence(times_s=(0.0, 0.1, 0.4))
    door(f"{at}.medium.drift.StateSequence.state(time_s)", sequence.state, times.copy)


def _bench() -> None:
    from laboratory_bench import Bare, Few
    from opusim.bench.frames import ReservedFrames
    from opusim.bench.reduction import CountSums
    from opusim.calibration import on_bench
    from opusim.patterns.layout import MirrorLayout, MirrorPatterns
    from opusim.patterns.phases import PhasePatterns

    layout = MirrorLayout.lined((16, 16), 16)
    door("opusim.patterns.phases.PhasePatterns(bits)", lambda x: PhasePatterns(x, layout).host_bits(),
         lambda: bits(3, 16))  # fmt: skip
    at = "opusim.patterns.layout"
    for name in ("check_bits", "count_on", "mirrors", "packed"):
        door(f"{at}.MirrorLayout.{name}(bits)", getattr(layout, name), lambda: bits(3, 16))
    door(f"{at}.MirrorLayout.pixels(levels)", layout.pixels, lambda: bits(3, 16), called="bits")
    door(f"{at}.MirrorPatterns(bits)", lambda x: MirrorPatterns(x, layout).host_bits(), lambda: bits(3, 16))
    sequence = ReservedFrames(0, 0.0, 9, 1e-3) if not _needs_more(ReservedFrames) else None
    if sequence is not None:
        door("opusim.bench.frames.ReservedFrames.only(patterns)", lambda x: sequence.only(x).patterns,
             lambda: np.arange(3))  # fmt: skip
    few, bare = Few(), Bare()
    how = {"exposure_s": 1e-3}
    some = bits(1, 8, 12)
    at = "opusim.bench.laboratory"
    door(f"{at}.LaboratoryBench.expose(mirrors)", lambda x: few.expose(x, **how), some.copy, "none", same=False)
    door(f"{at}.LaboratoryBench.expose(reference_phase_rad)",
         lambda x: few.expose(some, reference_phase_rad=x, **how), _STEPS.copy, "none", same=False)  # fmt: skip
    region = {"roi": (0, 0, 5, 6), "n_pixels": 7, **how}
    door(f"{at}.FromExpose.transform(patterns)", lambda x: bare.transform(x, **region), lambda: bits(2, 96),
         called="mirrors|patterns", same=False)  # fmt: skip
    door(f"{at}.LaboratoryBench.transform(patterns)", lambda x: few.transform(x, **region), lambda: bits(2, 12),
         called="mirrors|patterns", same=False)  # fmt: skip
    packed = np.packbits(bits(1, 24 * 32), axis=1, bitorder="little")
    from opusim.bench.guarded import Guarded

    around = Guarded(Few())
    door("opusim.bench.guarded.Guarded.expose(mirrors)", lambda x: around.expose(x, **how), some.copy, "none",
         same=False)  # fmt: skip
    door("opusim.bench.guarded.Guarded.expose(reference_phase_rad)",
         lambda x: around.expose(some, reference_phase_rad=x, **how), _STEPS.copy, "none", same=False)  # fmt: skip
    door(f"{at}.FromExpose.transform(reference_phase_rad)",
         lambda x: bare.transform(packed, reference_phase_rad=x, **region), _STEPS.copy, "none",
         same=False)  # fmt: skip
    at, shown = "opusim.bench.bench.OpticalBench", bits(1, 16, 16)
    patterns = MirrorPatterns(bits(2, 16), layout)
    door(f"{at}.explain(patterns)", lambda x: str(optical_bench().explain(x)), shown.copy, called="mirrors",
         same=False)  # fmt: skip
    door(f"{at}.expose(mirrors)", lambda x: optical_bench().expose(x, **how), shown.copy, "none", same=False)
    door(f"{at}.expose(reference_phase_rad)", lambda x: optical_bench().expose(shown, reference_phase_rad=x, **how),
         _STEPS.copy, "none", same=False)  # fmt: skip
    door(f"{at}.inspect(mirrors)", lambda x: optical_bench().inspect(x, **how), shown.copy, same=False)
    door("opusim.calibration.on_bench.repeated(mirrors)", lambda x: on_bench.repeated(optical_bench(), x, 2),
         shown.copy, same=False)  # fmt: skip
    door("opusim.calibration.on_bench.shown_mirrors(mirrors)", lambda x: on_bench.shown_mirrors(x, optical_bench()),
         shown.copy, same=False)  # fmt: skip
    for name, show in (("exposed_each", on_bench.exposed_each), ("exposed_steadily", on_bench.exposed_steadily)):
        door(f"opusim.calibration.on_bench.{name}(mirrors)",
             lambda x, show=show: show(lagging_bench(), x, **how), shown.copy, "none", same=False)  # fmt: skip
        door(f"opusim.calibration.on_bench.{name}(reference_phase_rad)",
             lambda x, show=show: show(lagging_bench(), shown, reference_phase_rad=x, **how), _STEPS.copy, "none",
             same=False)  # fmt: skip
    door(f"{at}.transform(reference_phase_rad)",
         lambda x: optical_bench().transform(patterns, reference_phase_rad=x, **region), _STEPS.copy, "none",
         same=False)  # fmt: skip
    sums, lined = (CountSums,), {**region, "frametime_s": 2e-3}
    door(f"{at}.together(reference_phase_rad)",
         lambda x: optical_bench().together(layout, sums, reference_phase_rad=x, **lined), _STEPS.copy, "none",
         same=False)  # fmt: skip
    turned_on = np.packbits(bits(2, 16 * 16), axis=1, bitorder="little")
    door(f"{at}.transform(before)", lambda x: lagging_bench().transform(turned_on, before=x, **region),
         turned_on[:1].copy, "none", called="mirrors|before", same=False)  # fmt: skip


def _needs_more(kind: type) -> bool:
    required = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
    return len(required) > 4


def _drivers() -> None:
    from opusim.bench.reduction import CountSums
    from opusim.drivers.lowlevel import device as lowlevel
    from opusim.patterns.layout import MirrorLayout

    at = "opusim.drivers.opu.OPU"
    vectors, pictures = lambda: bits(3, 16), lambda: bits(3, 4, 4)
    kept = {"same": False}
    for name in ("transform", "transform1d", "fit_transform1d", "linear_transform", "field_transform"):
        door(f"{at}.{name}(X)", lambda x, name=name: getattr(small_opu(), name)(x), vectors, **kept)
    door(f"{at}.fit1d(X)", lambda x: small_opu().fit1d(x, n_features=16) and None, vectors, "none", **kept)
    for name in ("transform2d", "fit_transform2d"):
        door(f"{at}.{name}(X)", lambda x, name=name: getattr(small_opu(2), name)(x), pictures, **kept)
    door(f"{at}.fit2d(X)", lambda x: small_opu(2).fit2d(x, n_features=(4, 4)) and None, pictures, "none", **kept)

    def acquire(x: Any) -> Any:
        from opusim.drivers.methods.counts import Counts

        return small_opu().acquire(Counts(np.dtype(np.uint8)), x)

    door(f"{at}.acquire(X)", acquire, vectors, **kept)
    door("opusim.drivers.batch.Batch.transform(X)", lambda x: small_opu().batch(3).transform(x, 0), vectors, **kept)
    door("opusim.drivers.batch.Batch.transform(before)", lambda x: lagging_batch().transform(bits(1, 16), 1, x),
         lambda: bits(1, 16), called="X|before", **kept)  # fmt: skip
    at = "opusim.drivers.lowlevel.device.OpuDevice"

    def packed(n: int) -> np.ndarray:
        return np.packbits(bits(n, 256), axis=1, bitorder="little")

    def inside() -> lowlevel.OpuDevice:
        return small_opu().device

    door(f"{at}.project(patterns)", lambda x: inside().project(x, 5), lambda: packed(2), called="mirrors", **kept)
    door(f"{at}.project(reference_phase_rad)", lambda x: inside().project(packed(2), 5, reference_phase_rad=x),
         _STEPS.copy, "none", **kept)  # fmt: skip
    door(f"{at}.project(before)", lambda x: inside().project(packed(2), 5, before=x), lambda: packed(1), "none",
         called="mirrors|before", **kept)  # fmt: skip
    layout = MirrorLayout.lined((16, 16), 16)
    door(f"{at}.together(reference_phase_rad)",
         lambda x: inside().together(layout, (CountSums,), 5, inside().exposure(), x), _STEPS.copy, "none",
         **kept)  # fmt: skip
    door(f"{at}.transform1(ins)", lambda x: inside().transform1(x), lambda: packed(2), **kept)
    out = np.zeros((2, 5), dtype=np.uint8)
    door(f"{at}.transform2(ins)", lambda x: inside().transform2(x, out), lambda: packed(2), **kept)
    door(f"{at}.transform_single(v)", lambda x: inside().transform_single(x), lambda: packed(1)[0], **kept)

    def online(x: Any) -> Any:
        with inside().acquiring(online=True):
            return inside().transform_online(x)

    door(f"{at}.transform_online(v)", online, lambda: packed(1)[0], **kept)

    def sklearn_map() -> Any:
        from opusim.drivers.projections.sklearn import OPUMap

        return OPUMap(opu=small_opu(), n_components=100)

    at = "opusim.drivers.projections.sklearn.OPUMap"
    door(f"{at}.fit(X)", lambda x: sklearn_map().fit(x, n_features=16) and None, vectors, "none, objects",
         library="sklearn", **kept)  # fmt: skip
    door(f"{at}.transform(X)", lambda x: sklearn_map().fit(vectors()).transform(x), vectors, "objects",
         library="sklearn", **kept)  # fmt: skip


def _encoding() -> None:
    from opusim import encoding

    data = np.array([[1.0, 2.5, -3.0], [0.5, 9.0, 4.0]])
    at = "opusim.encoding"
    above = "infinity"
    for name, takes, takes_fit in (
        ("thresholds.BinaryThresholdEncoder", above, ""),
        ("thresholds.MultiThresholdEncoder", above, ""),
        ("base_two.SequentialBaseTwoEncoder", above, ""),
    ):
        kind = getattr(encoding, name.rpartition(".")[2])
        door(f"{at}.{name}.fit(X)", lambda x, kind=kind: kind().fit(x) and None, data.copy, takes_fit)
        door(f"{at}.{name}.transform(X)", kind().fit(data).transform, data.copy, takes)
    door(f"{at}.base_two.SequentialBaseTwoEncoder.normalize(X)",
         encoding.SequentialBaseTwoEncoder().fit(data).normalize, data.copy, above)  # fmt: skip
    door(f"{at}.thresholds.MultiThresholdEncoder(thresholds)",
         lambda x: encoding.MultiThresholdEncoder(x).transform(data), lambda: np.array([1.0, 2.0]), above)  # fmt: skip
    for name in (
        "float_bits.Float32Encoder", "float_bits.ConcatenatedFloat32Encoder", "bit_planes.ConcatenatedBitPlanEncoder",
    ):  # fmt: skip
        single = data.astype(np.float32)
        door(f"{at}.{name}.transform(X)", getattr(encoding, name.rpartition(".")[2])().transform, single.copy, above,
             same=False)  # fmt: skip
    door(f"{at}.separated_planes.SeparatedBitPlanEncoder.transform(X)",
         lambda x: encoding.SeparatedBitPlanEncoder().transform(x), data.copy)  # fmt: skip
    planes = numbers(4, 3)
    # What an output is, NaN too, is seen in what is made of it.
    for name, decoder in (
        ("separated_planes.SeparatedBitPlanDecoder", encoding.SeparatedBitPlanDecoder(2)),
        ("bit_planes.MixingBitPlanDecoder", encoding.MixingBitPlanDecoder(2)),
        ("bit_planes.ConcatenatingBitPlanDecoder", encoding.ConcatenatingBitPlanDecoder(2)),
    ):
        door(f"{at}.{name}.transform(X)", decoder.transform, planes.copy, "nan, infinity")


def _dfa() -> None:
    from opusim import dfa

    at = "opusim.dfa"
    samples, labels = lambda: numbers(6, 4), lambda: np.arange(6) % 2
    X, y = samples(), labels()
    net = network()
    seen = "nan, infinity"
    door(f"{at}.network.MLP(sizes)", lambda x: dfa.MLP(x).sizes, lambda: np.array([4, 3, 2]), "objects")
    door(f"{at}.network.MLP.forward(X)", lambda x: net.forward(x).logits, samples, seen)
    door(f"{at}.network.MLP.predict(X)", net.predict, samples)
    door(f"{at}.network.MLP.accuracy(X)", lambda x: net.accuracy(x, y), samples)
    door(f"{at}.network.MLP.accuracy(y)", lambda x: net.accuracy(X, x), labels)
    others = [array.copy() for array in net.parameters()]
    door(f"{at}.network.MLP.load_parameters(arrays)", lambda x: net.load_parameters([x, *others[1:]]),
         others[0].copy, called="arrays[0]|parameters given")  # fmt: skip

    def trainer() -> Any:
        return dfa.DFATrainer(dfa.MLP([4, 3, 2]), dfa.GaussianFeedback(2, 3), epochs=1, batch_size=3)

    def losses(history: Any) -> np.ndarray:
        return history.loss

    at = "opusim.dfa.base_trainer.Trainer"
    door(f"{at}.fit(X)", lambda x: losses(trainer().fit(x, y)), samples)
    door(f"{at}.fit(y)", lambda x: losses(trainer().fit(X, x)), labels)
    door(f"{at}.fit(validation)", lambda x: losses(trainer().fit(X, y, validation=(x, y))), samples,
         called="validation[0]")  # fmt: skip
    for name in ("gradients", "alignment_deg"):
        door(f"{at}.{name}(X)", lambda x, name=name: getattr(trainer(), name)(x, y), samples)
        door(f"{at}.{name}(y)", lambda x, name=name: getattr(trainer(), name)(X, x), labels)
    errors = lambda: numbers(5, 2)  # noqa: E731
    at = "opusim.dfa"
    door(f"{at}.feedback.GaussianFeedback(matrix)", lambda x: dfa.GaussianFeedback(2, 3, matrix=x).project(errors()),
         lambda: numbers(3, 2), "none")  # fmt: skip
    door(f"{at}.feedback.NoisyFeedback(matrix)", lambda x: dfa.NoisyFeedback(2, 3, matrix=x) and None,
         lambda: numbers(3, 2), "none")  # fmt: skip
    door(f"{at}.feedback.GaussianFeedback.project(errors)", dfa.GaussianFeedback(2, 3).project, errors)
    door(f"{at}.error_encoding._Encoding.encode(errors)", lambda x: dfa.TernaryEncoding().encode(x).decoded(), errors)

    def optical(x: Any) -> Any:
        return dfa.OpticalFeedback.project(_feedback(), x)

    door(f"{at}.optical_feedback.OpticalFeedback.project(errors)", optical, errors, same=False)


@functools.cache
def _feedback() -> Any:
    from opusim import dfa

    class Digital:
        n_components = 3

        def __init__(self) -> None:
            self.matrix = np.random.default_rng(0).normal(size=(2, 3))

        def fit1d(self, X: Any = None, **how: Any) -> Any:
            return self

        def linear_transform(self, X: Any) -> np.ndarray:
            return (np.asarray(X, dtype=np.float32) @ self.matrix).astype(np.float32)

    return dfa.OpticalFeedback(Digital(), 3, n_classes=2)


def _others() -> None:
    from opusim import Device, plotting
    from opusim.noise import level_distribution
    from opusim.sweep import falls_at

    edges = lambda: np.arange(0.0, 60.0, 10.0)  # noqa: E731
    door("opusim.noise.levels.level_distribution(edges)",
         lambda x: level_distribution(Device.load("aurora"), 20.0, 1e-3, x), edges)  # fmt: skip
    rising, curve = np.arange(1.0, 6.0), np.array([1.0, 3.0, 4.0, 2.0, 1.0])
    door("opusim.sweep.result.falls_at(x)", lambda x: falls_at(x, curve, 1.0), rising.copy, "nan, infinity")
    door("opusim.sweep.result.falls_at(y)", lambda x: falls_at(rising, x, 1.0), curve.copy, "nan, infinity")
    at = "opusim.plotting"
    drawn = lambda axes: None  # noqa: E731
    door(f"{at}.planes.mirrors(pattern)", lambda x: drawn(plotting.mirrors(x)), lambda: bits(4, 5))
    field = numbers(4, 5) + 1j
    door(f"{at}.planes.field(values)", lambda x: drawn(plotting.field(x)), field.copy, "complex")
    door(f"{at}.planes.speckle(frame)", lambda x: drawn(plotting.speckle(x)), lambda: np.abs(numbers(4, 5)))
    door(f"{at}.planes.histogram(values)", lambda x: drawn(plotting.histogram(x)), lambda: np.abs(numbers(40)))
    for name in ("transmission_matrix", "singular_values"):
        call = getattr(plotting, name)
        door(f"{at}.matrices.{name}(matrix)", lambda x, call=call: drawn(call(x)), lambda: numbers(9, 5), "complex")
    levels = np.linspace(1, 50, 8)
    door(f"{at}.camera.photon_transfer(record)", lambda x: drawn(plotting.photon_transfer((x, levels))), levels.copy,
         called="record")  # fmt: skip


def _patterns() -> None:
    from opusim import patterns

    draws = np.random.default_rng(2).normal(size=(2, 8, 12))
    field = draws[0] + 1j * draws[1]
    field /= np.abs(field).max()
    at = "opusim.patterns.holograms"
    door(f"{at}.lee(field)", lambda x: patterns.lee(x, (0.1, 0.2)), field.copy)
    carrier = functools.partial(np.array, (0.1, 0.2))
    door(f"{at}.lee(carrier)", lambda x: patterns.lee(field, x), carrier)
    door(f"{at}.lee_stop(carrier)", patterns.lee_stop, carrier)
    door(f"{at}.superpixel(field)", lambda x: patterns.superpixel(x, 2), field.copy)


def _adapters() -> None:
    from opusim.adapters.instruments import Instruments
    from phase_benches import Phases

    at, phases = "opusim.adapters.instruments.Instruments", (8, 12)

    def of_mirrors() -> Instruments:
        return Instruments(optical_bench())

    door(f"{at}.put(picture)", lambda x: of_mirrors().put(x), lambda: bits(16, 16))
    door(f"{at}.snap_each(pictures)", lambda x: of_mirrors().snap_each(x), lambda: bits(2, 16, 16), same=False)
    door(f"{at}.put_phases(phases_rad)", lambda x: Instruments(Phases()).put_phases(x), lambda: np.ones(phases))


for fill in (
    _theory, _algorithms, _procedures, _device, _patterns, _bench, _drivers, _encoding, _dfa, _adapters, _others,
):  # fmt: skip
    fill()
