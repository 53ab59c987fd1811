"""A fit: how vectors of one kind are shown, and what may be asked of it in place of the driver's own choices."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from opusim.base import validation
from opusim.base.errors import warn_outside
from opusim.base.parameters import near_names
from opusim.bench.region import LightonmlRoi, checked_lightonml_roi
from opusim.drivers.inputs.traits import InputTraits, UserInput
from opusim.patterns.layout import MirrorLayout

from .input_region import InputRoi, format_of, make_layout
from .settings import Settings, microseconds
from .types import InputRoiStrategy, Tuple2D, as_member

# What may be done where too few mirrors are on.
_OTHER = "Another input_roi_strategy may help."
_LONGER = "Mirrors of inputs that no feature uses stay off: a longer exposure_us may help."


@dataclass(frozen=True)
class Overrides:
    """What a fit may be told in place of the driver's own choices.

    Parameters
    ----------
    exposure_us, frametime_us : int, optional
        Times in microseconds; None leaves the choice to the driver.
    input_roi : tuple, optional
        ((x, y), (width, height)) of the mirrors to use.
    raw_output_size : bool
        Return every pixel of the region of interest, not just the first `n_components`.
    n_components : int, optional
        How many components to return; no more than the region has pixels.
    input_roi_strategy : InputRoiStrategy, optional
        For this fit.
    """

    exposure_us: int | None = None
    frametime_us: int | None = None
    input_roi: LightonmlRoi | None = None
    raw_output_size: bool = False
    n_components: int | None = None
    input_roi_strategy: InputRoiStrategy | None = None

    def __post_init__(self) -> None:
        """Check each value."""
        put = object.__setattr__
        for name in ("exposure_us", "frametime_us"):
            value = getattr(self, name)
            put(self, name, None if value is None else microseconds(name, value))
        validation.flag("raw_output_size", self.raw_output_size)
        if self.n_components is not None:
            put(self, "n_components", validation.integer("n_components", self.n_components, low=1))
        if self.input_roi_strategy is not None:
            strategy = as_member("input_roi_strategy", self.input_roi_strategy, InputRoiStrategy)
            put(self, "input_roi_strategy", strategy)

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> Overrides:
        """Return the overrides; a TypeError names an unknown one."""
        known = [f.name for f in fields(cls)]
        for name in keywords:
            if name not in known:
                near = near_names(name, known, n=1, cutoff=0.6)
                hint = f"near is {near[0]!r}; " if near else ""
                raise TypeError(f"{name!r} is no setting of a fit; {hint}known are {', '.join(known)}.")
        return cls(**keywords)


@dataclass(frozen=True)
class Fit:
    """How vectors of one kind are shown.

    Attributes
    ----------
    traits : InputTraits
        Features of a vector.
    layout : MirrorLayout
        Where they go.
    n_ones : int or None
        Mirrors on, mean over the data of the fit, None without data; all pixels of a phase modulator.
    exposure_us : int
        FrameSettings for this much light.
    overrides : Overrides
        What was asked for.
    strategy : InputRoiStrategy
        By which the input region was chosen.
    online : bool
        Whether it is for single vectors, one by one.
    kept : dict
        What methods have computed for this fit, by their names; not carried by copies.
    measured : dict
        What methods have measured for this fit, by their names. Copies carry it: measured anew, it would be other
        numbers, and take frames.
    """

    traits: InputTraits
    layout: MirrorLayout
    n_ones: int | None
    exposure_us: int
    overrides: Overrides
    strategy: InputRoiStrategy
    online: bool = False
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    measured: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def is_full(self) -> bool:
        """Whether the features use all the mirrors that they can."""
        strategy, roi = self.strategy, self.overrides.input_roi
        return self.layout.by_mirror or (strategy is InputRoiStrategy.full and roi is None)

    @cached_property
    def vector_size(self) -> int:
        """Values of one vector as the user gives it: features, or bytes of packed ones."""
        return math.prod(self.traits.vector_shape)

    @cached_property
    def bitorder(self) -> str:
        """Order of bits in packed input: whole mirror patterns come as the mirrors' electronics takes them."""
        return "little" if self.layout.by_mirror else "big"

    @cached_property
    def told(self) -> dict[str, Any]:
        """What a `Context` says of how the features are shown: arguments of it."""
        kind, factor = format_of(self.layout)
        roi = self.layout.roi_offset, self.layout.roi_size
        return {"input_roi": roi, "n_ones": self.n_ones, "fmt_type": kind, "fmt_factor": factor}

    def __getstate__(self) -> dict[str, Any]:
        """Return what the fit is and what was measured for it, without what was computed."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the fit."""
        self.__dict__.update({"measured": {}, **state}, kept={})

    def __deepcopy__(self, memo: dict[int, Any]) -> Fit:
        """Return a fit of its own, with the same parts: none of them is ever changed."""
        other = copy.copy(self)
        memo[id(self)] = other
        object.__setattr__(other, "measured", dict(self.measured))
        return other


def make_fit(
    traits: InputTraits,
    data: UserInput | None,
    *,
    input_shape: Tuple2D,
    settings: Settings,
    strategy: InputRoiStrategy,
    overrides: Overrides,
    online: bool = False,
    inputs: MirrorLayout | None = None,
) -> Fit:
    """Choose region, layout and exposure.

    Parameters
    ----------
    traits : InputTraits
        Features of a vector.
    data : UserInput or None
        Vectors whose ones are counted, all of them; None if only the shape is known. Phases have none: the exposure
        is the device's own then.
    input_shape : tuple of int
        Mirrors.
    settings : Settings
        Base times, range of ones.
    strategy : InputRoiStrategy
        The driver's; without data, and for phases, auto becomes full.
    overrides : Overrides
        What was asked for.
    online : bool
        Whether it is for single vectors.
    inputs : MirrorLayout, optional
        The device's own inputs, if it has any (`opusim.bench.protocol.Inputs`): the features are laid on the first of
        them, and there is no region to choose.

    Raises
    ------
    ValueError
        If the features do not fit, or a region is asked for where the device has inputs of its own.

    Warns
    -----
    UserWarning
        If there are no ones, if too few mirrors are on, or too many for an exposure that was asked for.
    """
    n, n_mirrors = traits.n_features_total, math.prod(input_shape)
    if n > n_mirrors:
        raise ValueError(f"n_features is {traits.shown}, but there are only {n_mirrors} mirrors: it can't be more.")
    if inputs is not None:
        _check_own(inputs, traits, overrides)
    ones = data.count_ones() if data is not None else None  # None of phases: every pixel is lit, whatever they are
    if overrides.input_roi_strategy is not None:
        strategy = overrides.input_roi_strategy
    elif ones is None and strategy is InputRoiStrategy.auto:
        strategy = InputRoiStrategy.full
    if not traits.values.binary and strategy is InputRoiStrategy.auto:
        strategy = InputRoiStrategy.full  # there are no ones to choose a region by
    roi: LightonmlRoi | None = None
    if inputs is not None:
        layout = inputs.first(n)
    else:
        if overrides.input_roi is not None:
            roi = checked_lightonml_roi("input_roi", overrides.input_roi, input_shape)
        elif n < n_mirrors:
            roi = InputRoi(input_shape, settings.ones_range).compute_roi(strategy, traits.n_features, ones)
        layout = make_layout(input_shape, traits.n_features, roi)
    n_ones, excess = None if traits.values.binary else n_mirrors, 0.0
    if ones is not None:
        n_ones = layout.n_always_on + int(ones * layout.mirrors_per_feature)
        excess = n_ones / settings.ones_range[1]
        if not ones:
            warn_outside("X holds only zeros: no mirror that shows a feature is on, so the outputs tell nothing of X.")
        elif n_ones < settings.ones_range[0]:
            warn_outside(
                f"X turns {n_ones} mirrors on, on average, but it takes {settings.ones_range[0]} for a good signal: "
                f"the input is too sparse. {_OTHER if inputs is None else _LONGER}"
            )
    exposure_us = overrides.exposure_us
    if exposure_us is None:
        exposure_us = max(1, int(settings.exposure_us / max(1.0, excess)))
    elif excess > 1:
        warn_outside(
            f"exposure_us is overridden with {exposure_us}, while {n_ones} mirrors on would need it to be reduced by a "
            f"factor {excess:.3g}: pixels may saturate."
        )
    return Fit(traits, layout, n_ones, exposure_us, overrides, strategy, online)


def _check_own(inputs: MirrorLayout, traits: InputTraits, overrides: Overrides) -> None:
    """Refuse features, or a region of the mirrors, for which a device with inputs of its own has no place."""
    total = inputs.n_features_total
    if traits.n_features_total > total:
        raise ValueError(
            f"n_features is {traits.shown}, but this device has {total} inputs of its own, which its medium is known "
            "for: it can't be more."
        )
    if overrides.input_roi is not None:
        raise ValueError(
            f"input_roi is {overrides.input_roi!r}, but this device has {total} inputs of its own, which lie where "
            "they are: it must be left out."
        )


def frametime_us(fit: Fit, settings: Settings, least_us: int) -> int:
    """Return the time between frames: as asked for, or the device's own and what region and exposure need at least."""
    asked = fit.overrides.frametime_us
    return max(settings.frametime_us, least_us) if asked is None else asked
