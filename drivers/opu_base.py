"""An OPU without its transforms: what it is made of, its configuration, open and closed."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from opusim.base import validation
from opusim.drivers.lowlevel.device import OpuDevice

from . import settings
from .fit import Fit, frametime_us
from .linear_modes import LINEAR_MODES
from .output_region import OutputRoi
from .types import InputRoiStrategy, OutputRescaling, as_member

if TYPE_CHECKING:
    from opusim.device.record import Device


class OpuBase(validation.Fixed):
    """What `OPU` is without fits and transforms; see there."""

    _fixed = {"config_file": "Change `config`, or make another OPU."}

    def __init__(
        self,
        n_components: int = 200000,
        opu_device: OpuDevice | None = None,
        max_n_features: int = 1000,
        config_file: str | Path = "",
        config_override: dict[str, Any] | None = None,
        verbose_level: int = -1,
        input_roi_strategy: InputRoiStrategy | str = InputRoiStrategy.full,
        open_at_init: bool | None = None,
        disable_pbar: bool = False,
        simulated: bool = False,
        rescale: OutputRescaling | str = OutputRescaling.variance,
        *,
        features_fmt: Any = None,
        dmd_strategy: Any = None,
        device: str | Path | Device = "aurora",
        seed: int = 0,
        resolution: str | None = None,
        execution: str = "auto",
        memory_budget: int | None = None,
        threads: int | None = None,
        linear_mode: str = "auto",
        backend: str = "auto",
    ) -> None:
        self.linear_mode = linear_mode
        self.rescale = rescale
        self.input_roi_strategy = input_roi_strategy
        self.verbose_level = validation.integer("verbose_level", verbose_level, low=-1)
        self.disable_pbar = bool(disable_pbar)
        self._simulated = bool(simulated)
        self._fit: Fit | None = None
        self.config_file = config_file
        self._fresh()

        self.device = self._make_device(
            opu_device,
            device=device,
            seed=seed,
            resolution=resolution,
            execution=execution,
            memory_budget=memory_budget,
            threads=threads,
            backend=backend,
        )
        config = settings.default_config(self.device.device_model)
        config["type"], config["name"] = self.device.opu_type, self.device.name
        config["input"]["frametime_us"] = self.device.frametime_us
        config["output"]["exposure_us"] = self.device.exposure_us
        if config_file:
            settings.update_config(config, settings.read_config(config_file), name="config_file", strict=False)
        if config_override is not None:
            settings.update_config(config, copy.deepcopy(config_override), name="config_override", strict=True)
        self._config = config
        base = self._settings()
        if opu_device is None:
            self.device.opu_type, self.device.name = config["type"], str(config["name"])
            self.device.frametime_us, self.device.exposure_us = base.frametime_us, base.exposure_us
            self.device.exclusive = base.exclusive or self.device.exclusive
        self.n_components = n_components
        if simulated:
            self.max_n_features = max_n_features
        if open_at_init is None or open_at_init:
            self.open()

    def _make_device(self, given: OpuDevice | None, **arguments: Any) -> OpuDevice:
        if given is None:
            return OpuDevice(**arguments)
        if not isinstance(given, OpuDevice):
            raise TypeError(
                f"opu_device is {given!r} ({type(given).__name__}), but it must be an opusim.drivers.OpuDevice or "
                "None. To choose what is simulated, use device=."
            )
        defaults = inspect.signature(OpuBase.__init__).parameters
        for name, value in arguments.items():
            if value is not defaults[name].default and value != defaults[name].default:
                raise ValueError(f"{name} is {value!r}, but with opu_device it cannot be given: that has its own.")
        return given

    def __repr__(self) -> str:
        """Say which device it is, whether it is open, and what it was fitted to."""
        state = "open" if self.device.active else "closed"
        fit = "no fit" if self._fit is None else f"n_features={self._fit.traits.shown}"
        device = f"device={self.device.name!r}, seed={self.device.seed}"
        if self.device.backend not in ("auto", None):
            device += f", backend={self.device.backend!r}"
        return f"OPU(n_components={self.n_components}, {device}, {state}, {fit})"

    @property
    def _shows_progress(self) -> bool:
        return self.verbose_level >= 1 and not self.disable_pbar

    def _fresh(self) -> None:
        self._online: Any = None
        self._was_active: list[bool] = []

    # ------------------------------------------------------------------ configuration

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, a dict shaped as the JSON file of a real device; the next fit reads it."""
        return self._config

    def _settings(self) -> settings.Settings:
        return settings.check_config(self._config, self.device.nb_features, self.device.output_shape_max)

    def _output_roi(self) -> OutputRoi:
        s = self._settings()
        return OutputRoi(
            self.device.output_shape_max, self.device.output_roi_strategy, s.allowed_roi, s.minimum_output_size
        )

    @property
    def n_components(self) -> int:
        """Components of an output vector. Setting it chooses the region of interest on the camera, at once."""
        return self._n_components

    @n_components.setter
    def n_components(self, value: int) -> None:
        regions = self._output_roi()
        n = validation.integer("n_components", value, low=1)
        roi = regions.compute_roi(n)
        with self.device.lock:
            self._n_components = n
            self.device.output_roi = roi
            if self._fit is not None and self.device.settings_owner is self._fit:
                self._set_frametime(self._fit)
            else:
                # Another OPU may be using this device: it must see that its region is gone.
                self.device.settings_owner = None

    @property
    def max_n_components(self) -> int:
        """Most components: the pixels of the camera that may be read."""
        return self._output_roi().max_components

    @property
    def max_n_features(self) -> int:
        """Most features of a vector: the number of mirrors."""
        return self.device.nb_features

    @max_n_features.setter
    def max_n_features(self, value: int) -> None:
        if not self._simulated:
            raise AttributeError(
                f"max_n_features can't be set to {value!r}: it is the number of mirrors, {self.device.nb_features}. "
                "Programs made for lightonml's simulator may set it with simulated=True."
            )
        # Nothing has to be resized: the medium has all of its inputs. Only the number is checked.
        validation.integer("max_n_features", value, low=1, high=self.device.nb_features)

    @property
    def input_roi_strategy(self) -> InputRoiStrategy:
        """Which part of the mirrors shows the features, from the next fit on."""
        return self._input_roi_strategy

    @input_roi_strategy.setter
    def input_roi_strategy(self, value: InputRoiStrategy | str) -> None:
        self._input_roi_strategy = as_member("input_roi_strategy", value, InputRoiStrategy)

    @property
    def linear_mode(self) -> str:
        """How `linear_transform` is made: auto, holographic or intensity."""
        return self._linear_mode

    @linear_mode.setter
    def linear_mode(self, value: str) -> None:
        self._linear_mode = validation.choice("linear_mode", value, LINEAR_MODES)

    @property
    def rescale(self) -> OutputRescaling:
        """Scale of the linear transform."""
        return self._rescale

    @rescale.setter
    def rescale(self, value: OutputRescaling | str) -> None:
        self._rescale = as_member("rescale", value, OutputRescaling)

    def version(self, devices: bool = False) -> str:
        """Return name and version of the device and of the software.

        Parameters
        ----------
        devices : bool
            Whether to add what the low-level device says about itself.

        Returns
        -------
        str
            Several lines.
        """
        import opusim

        c = self._config
        device = f"OPU {c['name']}-{c['version']}-{c['location']}"
        lines = [f"{device}; core type {c['core_type']}, core version {c['core_version']}"]
        lines.append(f"opusim version {opusim.__version__}")
        if devices:
            lines.append(self.device.versions())
        return "\n".join(lines)

    def _apply(self, fit: Fit) -> None:
        """Set region and times of the low-level device."""
        self.device.output_roi = self._output_roi().compute_roi(self._n_components)
        self.device.exposure_us = fit.exposure_us
        self._set_frametime(fit)
        self.device.settings_owner = fit

    def _set_frametime(self, fit: Fit) -> None:
        readout_us = self.device.readout_us(self.device.output_shape[1])
        self.device.frametime_us = frametime_us(fit, self._settings(), readout_us, self.device.exposure_us)

    def _begin_online(self) -> None:
        self._online = self.device.acquiring(online=True)
        self._online.__enter__()

    def _end_online(self) -> None:
        if self._online is not None:
            self._online.__exit__(None, None, None)
            self._online = None

    # ------------------------------------------------------------------ open and closed

    def open(self) -> None:
        """Open the device; nothing happens if it is open."""
        if not self.device.active:
            self.device.open()
            self.device.reserve(self._settings().n_samples_by_pass)

    def close(self) -> None:
        """Close the device and end the online mode; settings and fit are kept."""
        self._end_online()
        self.device.close()

    def __enter__(self) -> Self:
        """Open the device for the length of a with block."""
        self._was_active.append(self.device.active)
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the device, unless it was open before the with block."""
        if not self._was_active.pop():
            self.close()
