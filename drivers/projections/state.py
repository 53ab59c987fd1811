"""What the `state_dict` of a map carries: which device, how it is set, the fit, and how far its frames have come."""

from __future__ import annotations

import copy
import inspect
from dataclasses import fields, replace
from typing import Any

import opusim
from opusim.base.errors import warn_outside
from opusim.base.module_state import NotPlainError, packed
from opusim.bench.driver import bench_of
from opusim.bench.protocol import Clocked, Identity, Resumable, has, identity_of
from opusim.bench.region import Roi
from opusim.device.record import Device
from opusim.device.versions import told_version
from opusim.drivers.fit import Fit, Overrides
from opusim.drivers.inputs.traits import InputTraits
from opusim.drivers.lowlevel.device import OpuDevice
from opusim.drivers.lowlevel.settings_of_frame import FrameSettings
from opusim.drivers.opu import OPU
from opusim.drivers.types import InputRoiStrategy
from opusim.patterns.layout import MirrorLayout

from .base import INSIDE, LightonNames, OpuUser, same_device

# Records that are carried by their fields. Those of methods and calibrations are imported where there is one.
_RECORDS: dict[str, Any] = {kind.__name__: kind for kind in (Fit, Overrides, InputTraits, MirrorLayout, FrameSettings)}
# Settings of an OPU that set its numbers.
_SETTINGS = ("linear_mode", "rescale", "input_roi_strategy")
# Arguments of a bench that decide last bits: by which way the light is computed.
_OPTIONS = ("execution", "memory_budget")
# What a lightonml simulator needs to have the same matrix.
_MATRIX = ("_made_with", "_random_matrix")


# ---------------------------------------------------------------- what is told


def state_of(mapping: OpuUser) -> dict[str, Any]:
    """Return what a map is fitted to, and on which device, as plain values and arrays.

    Parameters
    ----------
    mapping : OpuUser
        The map, fitted or not. No frame is taken, and no device is made.

    Returns
    -------
    dict
        For `take`.
    """
    state: dict[str, Any] = {
        "opusim_version": opusim.__version__, "n_components": mapping.n_components, "ndims": mapping.ndims,
        "linear": bool(mapping.linear), "fit": None, "encoder": _encoder_state(mapping.__dict__.get("encoder_")),
    }  # fmt: skip
    opu = _opu_at_hand(mapping)
    if opu is None:
        model = Device.load(mapping.device)
        state["identity"] = [model.fingerprint(), model.name, mapping.seed]
        return {**state, "device": _anywhere(model), "options": mapping.bench_options}
    if not isinstance(opu.device, OpuDevice):
        made = opu.device.__getstate__()
        simulator = {name: made[name] for name in _MATRIX}
        return {**state, "simulator": simulator, "fit": _plain(opu._traits) if mapping.fitted else None}
    bench = bench_of(opu)
    identity = identity_of(bench)
    state["identity"] = [identity.fingerprint, identity.name, identity.seed]
    if _is_simulated(bench):
        state["device"] = _anywhere(bench.device)
        state["options"] = {name: getattr(bench, name) for name in _OPTIONS}
    state["settings"] = {name: getattr(getattr(opu, name), "name", getattr(opu, name)) for name in _SETTINGS}
    state["config"] = copy.deepcopy(opu.config)
    if has(bench, Clocked):
        state["clock"] = [bench.clock.frames, bench.clock.elapsed_s]
    if mapping.fitted and opu.current_fit is not None:
        state |= _fit_state(mapping, opu, opu.current_fit)
    return state


def _opu_at_hand(mapping: OpuUser) -> OPU | None:
    """Return the OPU that a map is fitted on, else the one that it has; None if it is not made yet."""
    if mapping.fitted:
        return mapping.opu_
    given, made = mapping.__dict__["opu"], mapping.__dict__.get("_made")
    return mapping.opu if given is not None or made is not None else None


def _is_simulated(bench: Any) -> bool:
    """Whether a bench can be made anew from device and seed; one of another class, derived or not, is not ours."""
    from opusim.bench.bench import OpticalBench

    return type(bench) is OpticalBench


def _anywhere(model: Device) -> dict[str, Any]:
    return model.evolve(medium=model.medium.anywhere()).to_dict()


def _fit_state(mapping: OpuUser, opu: OPU, fit: Fit) -> dict[str, Any]:
    device = opu.device
    state: dict[str, Any] = {"fit": _plain(fit), "online": fit.online}
    with device.lock:
        if device.settings_owner is fit:
            # A program may have set them since the fit.
            state["times"] = [device.exposure_us, device.asked_frametime_us]
    if mapping.linear:
        record = device.linear_records.get(Roi.from_lightonml(opu._output_roi().compute_roi(opu.n_components)))
        measured = fit.measured.get("holography")
        if record is not None:
            state["calibration"] = _plain(record)
        if record is not None and measured is not None and measured[0][0] is record:
            (_, *of), timed, found = measured
            state["measured"] = [of, _plain(timed), _plain(found)]
    return state


def _encoder_state(encoder: Any) -> dict[str, Any] | None:
    """Return kind and content of the encoder in use; content None where only a pickle could hold it."""
    if encoder is None:
        return None
    content = encoder.state_dict() if _is_module(encoder) else encoder.__getstate__() or {}
    try:
        packed({"content": content})
    except NotPlainError:
        content = None
    return {"kind": type(encoder).__qualname__, "content": dict(content) if isinstance(content, dict) else None}


def _is_module(encoder: Any) -> bool:
    return callable(getattr(encoder, "state_dict", None)) and callable(getattr(encoder, "load_state_dict", None))


def _plain(value: Any) -> Any:
    """Return a record of ours as a dict of its fields, with those in it. What values are, the device knows."""
    if isinstance(value, InputRoiStrategy):
        return {"strategy": value.name}
    if hasattr(type(value), "__dataclass_fields__"):
        content = {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.init and f.name != "values"}
        return {"record": type(value).__name__, "content": content}
    return value


def _record(value: Any) -> Any:
    """Return what `_plain` was given."""
    if isinstance(value, dict) and "strategy" in value:
        return InputRoiStrategy[value["strategy"]]
    if isinstance(value, dict) and "record" in value:
        name = value["record"]
        kind = _RECORDS[name] if name in _RECORDS else _measured_records()[name]
        return kind(**{name: _record(item) for name, item in value["content"].items()})
    return value


def _measured_records() -> dict[str, Any]:
    from opusim.calibration.procedures.linear import LinearRecord
    from opusim.drivers.methods.holography import FitFields

    return {kind.__name__: kind for kind in (LinearRecord, FitFields)}


# ---------------------------------------------------------------- what is taken


def take(mapping: OpuUser, state: dict[str, Any]) -> InputTraits | None:
    """Give a map the device, the settings and the fit of another one. Nothing is changed if that is refused.

    Parameters
    ----------
    mapping : OpuUser
        The map. One that makes its own OPU takes over device and seed; one with a given OPU must have them.
    state : dict
        From `state_of`.

    Returns
    -------
    InputTraits or None
        What the map is fitted to now.

    Raises
    ------
    ValueError
        If map and state do not go together; the sentence says in what.

    Warns
    -----
    UserWarning
        If what the encoder has learnt is not in the state.
    """
    try:
        for name in ("n_components", "ndims", "linear"):
            here = bool(mapping.linear) if name == "linear" else getattr(mapping, name)
            if state[name] != here:
                raise ValueError(
                    f"{name} is {here!r}, but it is {state[name]!r} in the state: make the map with {name}="
                    f"{state[name]!r}."
                )
        encoder = _encoder_of(mapping, state["encoder"])
        fit = _record(state["fit"])
        if "simulator" in state:
            _take_simulator(mapping, state["simulator"], fit)
        else:
            _take_fit(mapping, state, fit)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"The state is of opusim {state.get('opusim_version', 'of another version')}, and cannot be read by "
            f"{opusim.__version__} ({type(error).__name__}: {error}): fit the map anew."
        ) from error
    mapping.__dict__["encoder_"] = encoder
    return fit.traits if isinstance(fit, Fit) else fit


def _encoder_of(mapping: OpuUser, told: dict[str, Any] | None) -> Any:
    """Return an encoder that has learnt what that of the state has."""
    given = mapping.encoder
    if told is None:
        return None
    name = "None" if given is None else (given if inspect.isclass(given) else type(given)).__qualname__
    if name != told["kind"]:
        raise ValueError(f"encoder is {name}, but it is {told['kind']} in the state: make the map with such a one.")
    encoder: Any = given() if inspect.isclass(given) else copy.deepcopy(given)
    content = told["content"]
    if content is None:
        warn_outside(
            f"What the encoder, a {name}, has learnt is no plain value or array, so that it is not in the state: it is "
            "as it was given. Fit it before, or save the whole module.",
            inside=INSIDE,
        )
    elif _is_module(encoder):
        encoder.load_state_dict(content)
    elif hasattr(encoder, "__setstate__"):
        encoder.__setstate__(content)
    else:
        encoder.__dict__.update(content)
    return encoder


def _take_simulator(mapping: OpuUser, simulator: dict[str, Any], traits: InputTraits | None) -> None:
    opu: Any = mapping.opu
    if isinstance(opu.device, OpuDevice):
        raise ValueError("simulated is False, but in the state it is True: make the map with simulated=True.")
    device = opu.device
    if simulator["_random_matrix"] is not None:
        device.__dict__.update(simulator)
    elif device.__getstate__()["_made_with"] != simulator["_made_with"]:
        device.build_random_matrix(*simulator["_made_with"])
    opu._n_features = len(device.random_matrix)
    if isinstance(mapping, LightonNames):
        mapping.max_n_features = opu._n_features
    opu._traits = traits
    _have(mapping, None if traits is None else same_device(opu))


def _take_fit(mapping: OpuUser, state: dict[str, Any], fit: Fit | None) -> None:
    if mapping.__dict__["opu"] is not None or isinstance(mapping, LightonNames):
        _check_device(mapping, state)
    else:
        _take_device(mapping, state)
    opu, n_components = mapping.opu, mapping.n_components
    shape = opu.device.input_shape
    if fit is not None and fit.layout.dmd_shape != shape:
        raise ValueError(
            f"The OPU has {shape} mirrors, but the fit in the state is for {fit.layout.dmd_shape}: give another opu."
        )
    with opu.device.lock:
        if mapping.__dict__["opu"] is None:
            _set(opu, state)
        _advance(bench_of(opu), state.get("clock"))
        if fit is None:
            _have(mapping, None)
            return
        # As a fit does it: the OPU is fitted, and the map keeps a copy with settings of its own.
        fit = replace(fit, traits=replace(fit.traits, values=opu.device.values))
        opu._end_online()
        opu._fit = fit
        own = same_device(opu)
        _set(own, state)
        opu.n_components = own.n_components = n_components
        taken = own._fit
        assert taken is not None
        own._apply(taken)
        if "times" in state:
            opu.device.exposure_us, opu.device.frametime_us = state["times"]
        _take_measured(own, taken, state)
        if fit.online and opu.device.active:
            opu._begin_online()
    _have(mapping, own)


def _set(opu: OPU, state: dict[str, Any]) -> None:
    """Give an OPU the settings of the state, if there are any."""
    for name, value in state.get("settings", {}).items():
        setattr(opu, name, value)
    if "config" in state:
        opu._config = copy.deepcopy(state["config"])


def _check_device(mapping: OpuUser, state: dict[str, Any]) -> None:
    """Raise a ValueError unless the OPU that a map was given is of the state's device and seed."""
    opu, wanted = mapping.opu, Identity(*state["identity"])
    if not isinstance(opu.device, OpuDevice):
        raise ValueError("simulated is True, but in the state it is False: make the map without it.")
    here = identity_of(bench_of(opu))
    if (here.fingerprint, here.seed) != (wanted.fingerprint, wanted.seed):
        other = here.fingerprint != wanted.fingerprint
        version = told_version(wanted.fingerprint, getattr(bench_of(opu), "device", None), "the state") if other else ""
        raise ValueError(
            f"The OPU of this map is {_told(here)}, but the state is of {_told(wanted)}, whose matrix is another: give "
            f"the map an OPU of that device and seed, or none, so that it makes its own. {version}".rstrip()
        )


def _take_device(mapping: OpuUser, state: dict[str, Any]) -> None:
    """Take over device and seed, and what decides the way of the light; what is the same already stays."""
    wanted, options = Identity(*state["identity"]), dict(state.get("options", {}))
    if "device" not in state:
        raise ValueError(
            f"The state is of {_told(wanted)}, which is not simulated: give the map an OPU that drives it, by opu."
        )
    made = mapping.__dict__.get("_made")
    bench = None if made is None else bench_of(mapping.opu)
    here = Device.load(mapping.device) if bench is None else bench.device
    if (here.fingerprint(), mapping.seed) != (wanted.fingerprint, wanted.seed):
        device = Device.from_stored(state["device"], origin="the state")
        if device.fingerprint() != wanted.fingerprint:
            raise ValueError(
                f"The device {device.name!r} of the state is not the same here: {device.told_beside_fields()}."
            )
        mapping.device, mapping.seed, bench = device, wanted.seed, None
    if bench is None or any(getattr(bench, name) != value for name, value in options.items()):
        mapping.bench_options = options


def _told(identity: Identity) -> str:
    if not identity.fingerprint:
        return "a device that does not say which one it is"
    return f"{identity.name!r} ({identity.fingerprint[:8]}), seed {identity.seed}"


def _advance(bench: Any, clock: list[Any] | None) -> None:
    """Let the clock stand where that of the state stood, unless it has come further: frames are never taken twice."""
    if clock is not None and has(bench, Clocked) and has(bench, Resumable):
        frames, elapsed_s = clock
        if bench.clock.frames <= frames and bench.clock.elapsed_s <= elapsed_s:
            bench.advance_to(frames, elapsed_s)


def _take_measured(own: OPU, fit: Fit, state: dict[str, Any]) -> None:
    """Take calibration and fields that were measured for the fit, unless the device has a calibration of its own."""
    if "calibration" not in state:
        return
    record = _record(state["calibration"])
    kept = own.device.linear_records.setdefault(record.rectangle, record)
    if kept is record and "measured" in state:
        of, timed, found = state["measured"]
        fit.measured["holography"] = (record, *of), _record(timed), _record(found)


def _have(mapping: Any, own: OPU | None) -> None:
    """Make an OPU the one that a map is fitted on, or take its fit away."""
    if own is None:
        mapping.__dict__.pop("opu_", None)
    else:
        mapping.opu_ = own
