"""Which parameters of a device have gradients, and how they are kept within their ranges while they are learnt."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from opusim.base.errors import no_torch
from opusim.base.parameters import Parameter, near_names, paths_in, paths_of
from opusim.device.medium import Medium, WaveMedium
from opusim.device.record import Device

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise no_torch("opusim.differentiable", error) from error

__all__ = ["PHASE", "RANGES", "READ", "Parameters", "Reader", "inside_of", "learnable_of"]

#: The phase asked of the reference arm: no part of the device, but it may be learnt.
PHASE = "reference_phase_rad"
#: What the mean output is computed from, beside what a medium of waves names in `inside`. A `Reader` gives no others.
READ = (
    "laser.power_w", "laser.power_noise", "dmd.contrast_ratio", "dmd.efficiency", "medium.transmission",
    "camera.quantum_efficiency", "camera.full_well_e", "camera.gain_dn_per_e", "camera.black_level_dn",
    "camera.read_noise_e", "camera.dark_current_e_per_s", "camera.hot_pixel_dark_e_per_s", "operation.exposure_s",
    "reference.relative_amplitude", "reference.scale_error", "reference.nonlinearity", "reference.jitter_rad",
    "reference.coherence",
)  # fmt: skip


def inside_of(medium: Medium | type[Medium]) -> tuple[str, ...]:
    """Return the paths of what acts on the waves inside a medium and is read."""
    kind = medium if isinstance(medium, type) else type(medium)
    return tuple(f"medium.{name}" for name in kind.inside) if issubclass(kind, WaveMedium) else ()


def learnable_of(device: Device) -> dict[str, Parameter]:
    """Return the parameters of a device that have gradients, by path: described as learnable, and read.

    Parameters
    ----------
    device : Device
        The device, whatever parts it has.

    Returns
    -------
    dict of str to Parameter
        In the order of the device's fields.
    """
    read = (*READ, *inside_of(device.medium))
    return {path: about for path, about in paths_in(device).items() if about.learnable and path in read}


#: Range of every parameter that has a gradient in what comes with opusim; None stands for the full scale of the camera.
RANGES: dict[str, tuple[float, float | None]] = {
    path: about.learnt_range
    for kind, _, path, about in paths_of(Device, shipped=True)
    if about.learnable and (path in READ or (issubclass(kind, Medium) and path in inside_of(kind)))
}


class Parameters(nn.Module):
    """The parameters of a device, some of which are learnt.

    What is learnt is a number without unit that starts at 0, so that one learning rate suits all, and that may take
    any value: t. A parameter v with the range (a, inf) is a + (v0 - a) exp(t); one with the range (a, b) has the
    odds (v - a) / (b - v) of its start times exp(t). A phase is v0 + t.

    Parameters
    ----------
    device : Device
        Start.
    learn : iterable of str
        Dotted paths of what is learnt.
    phase_rad : float or ndarray or None
        Phases asked of the reference arm.
    dtype : torch.dtype
        Of the numbers that are learnt.

    Raises
    ------
    TypeError, ValueError
        If a path is unknown (near ones are named), has no gradient, or stands at an end of its range.
    """

    def __init__(self, device: Device, learn: Iterable[str], phase_rad: Any, dtype: torch.dtype) -> None:
        super().__init__()
        if isinstance(learn, str):
            raise TypeError(f"learn is {learn!r}, but it must be a list of paths, as in learn=[{learn!r}].")
        self.paths = tuple(dict.fromkeys(learn))
        self.device = device
        self.bounds: dict[str, tuple[float, float]] = {}
        self.start: dict[str, float] = {}
        for path in self.paths:
            if path == PHASE:
                if phase_rad is None:
                    raise ValueError(
                        f"learn names {PHASE!r}, but reference_phase_rad is None, which blocks the reference arm: it "
                        "must be a phase to start from."
                    )
                continue
            self._check(path, phase_rad)
        self.steps = nn.ParameterDict()
        for path in self.paths:  # names of torch parameters hold no dots
            shape = torch.as_tensor(phase_rad).shape if path == PHASE else ()
            self.steps[_plain(path)] = nn.Parameter(torch.zeros(shape, dtype=dtype))
        phase = None if phase_rad is None else torch.as_tensor(phase_rad, dtype=torch.float64)
        self.register_buffer("phase_rad", phase, persistent=False)

    def _check(self, path: Any, phase_rad: Any) -> None:
        """Refuse a path that has no gradient; note its range and its start."""
        known, learnable = self.device.paths(), learnable_of(self.device)
        if path not in known:
            # Part of a name first; a difflib ratio alone prefers other names of the same length.
            near = near_names(str(path), [*learnable, PHASE, *known], cutoff=0.6, parts="first")
            hint = f"; near ones are {', '.join(map(repr, near))}" if near else ""
            raise ValueError(f"learn names {path!r}, but there is no such field in the device{hint}.")
        if path not in learnable:
            allowed = ", ".join([*learnable, PHASE])
            described = paths_in(self.device)
            if path in described and described[path].learnable:
                raise ValueError(
                    f"learn names {path!r}, which is described as learnable, but nothing that computes the mean output "
                    f"reads it (a medium of waves names in `inside` what acts on them). It may name {allowed}."
                )
            raise ValueError(
                f"learn names {path!r}, but the mean output has no gradient with respect to it here. It may name "
                f"{allowed}."
            )
        if path == "camera.quantum_efficiency" and self.device.camera.qe_wavelengths_m:
            raise ValueError(
                f"learn names {path!r}, but the camera has a curve of it (camera.qe_wavelengths_m), which says what it "
                "is: the curve must be empty."
            )
        if path.startswith("reference.") and phase_rad is None:
            raise ValueError(
                f"learn names {path!r}, but reference_phase_rad is None, which blocks the reference arm: it must be a "
                "phase."
            )
        if path == "dmd.contrast_ratio" and self.device.medium.by_feature:
            raise ValueError(
                f"learn names {path!r}, but a measured matrix already holds the difference between on and off: the "
                "output does not depend on it."
            )
        low, high = learnable[path].learnt_range
        if high is None:
            stage, _, _ = path.partition(".")
            high = float(operator.attrgetter(f"{stage}.{learnable[path].below}")(self.device))
        if path == "medium.transmission" and self.device.optics.by_lengths:
            high = self.device.optics.stated_share  # no device lets more through than comes to its layer
        value = float(operator.attrgetter(path)(self.device))
        if not low < value < high:
            raise ValueError(
                f"learn names {path!r}, which is {value!r} in the device, but learning must start from within its "
                f"range ({low:g}, {high:g}), ends excluded: see Device.evolve."
            )
        self.bounds[path] = (low, high)
        self.start[path] = value

    def values(self, over: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Return what is learnt in its own units, double precision scalars, with a gradient.

        Parameters
        ----------
        over : mapping of str to Tensor or float, optional
            Values to use in place of some of them.

        Raises
        ------
        ValueError
            If `over` names something that is not learnt.
        """
        over = dict(over or {})
        allowed = ", ".join(self.paths) or "nothing"
        for name in over:
            if name not in self.paths:
                raise ValueError(f"values names {name!r}, but it may name only what learn named: {allowed}.")
        result = {}
        for path in self.paths:
            step = self.steps[_plain(path)]
            if path in over:
                result[path] = torch.as_tensor(over[path], device=step.device).to(torch.float64)
            elif path == PHASE:
                result[path] = self.phase_rad + step.to(torch.float64)
            else:
                result[path] = _within(self.start[path], *self.bounds[path], step.to(torch.float64))
        return result

    def reader(self, values: Mapping[str, Tensor]) -> Reader:
        """Return what looks up a parameter by its path: among `values`, else in the device."""
        return Reader(self.device, values)

    def learnt_device(self) -> Device:
        """Return the device with the present values."""
        with torch.no_grad():
            values = self.values()
            # What has not moved stays as it is, to the last bit.
            moved = {p: float(v) for p, v in values.items() if p != PHASE and self.steps[_plain(p)].item()}
        return self.device.evolve(**moved)


class Reader:
    """Parameters by path: as tensors where they are learnt, as floats where not; none but those that are declared."""

    def __init__(self, device: Device, values: Mapping[str, Tensor]) -> None:
        self.device = device
        self.values = values
        self.declared = (*READ, *inside_of(device.medium))

    def __call__(self, path: str) -> Any:
        """Return the parameter at a path."""
        assert path in self.declared, f"{path} is read, but it stands neither in READ nor in the medium's inside"
        return self.values[path] if path in self.values else operator.attrgetter(path)(self.device)


def _plain(path: str) -> str:
    return path.replace(".", "__")


def _within(start: float, low: float, high: float, step: Tensor) -> Tensor:
    """Value of a parameter at a step; `start` at 0."""
    if math.isinf(high):
        return low + (start - low) * torch.exp(step)
    odds = (start - low) / (high - start)
    return low + (high - low) * torch.sigmoid(step + math.log(odds))
