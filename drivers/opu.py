"""The class that programs for the device use."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opusim import validation

from . import runner, settings
from .context import ContextArray
from .device import Exposure, OpuDevice
from .errors import InputTypeError
from .output_roi import OutputRoi
from .runner import Fit, Overrides
from .types import AcqState, InputRoiStrategy, OutputRescaling, as_member
from .user_input import InputTraits, UserInput, check_coder

if TYPE_CHECKING:
    from opusim.config import Device


class OPU:
    """Interface to a simulated optical processing unit: y = camera counts of |R x|^2.

    Parameters and methods are those of `lightonml.OPU` 1.4.3, and of the one-call interface before it. Those of our
    own are keyword-only.

    Parameters
    ----------
    n_components : int
        Components of an output vector; at most the sensor's pixels (2 219 520 by default).
    opu_device : OpuDevice, optional
        Low-level device to use; made from the arguments below if not given.
    max_n_features : int
        Kept for programs that pass it. There are as many features as mirrors, always.
    config_file : str or Path
        JSON file shaped as a real device's: timing, range of ones, regions. Keys that are not known have no effect.
    config_override : dict, optional
        Changes to the configuration, table by table. Unknown keys are an error.
    verbose_level : int
        From 1 on, batches show a progress bar.
    input_roi_strategy : InputRoiStrategy or str
        Which part of the mirrors shows the features: full (macro-pixels), small (a mirror each) or auto.
    open_at_init : bool, optional
        Whether to open the device at once; None means yes.
    disable_pbar : bool
        Never show a progress bar.
    simulated : bool
        Accepted: every device here is simulated, camera and all. (lightonml's own simulator gives floats without
        noise; for that use ``device="ideal"``.)
    rescale : OutputRescaling or str
        Scale of the linear transform: variance, norm or none.
    features_fmt, dmd_strategy : object
        Arguments of old versions, without effect.
    device : str, Path or opusim.config.Device
        What is simulated: a preset's name, the path of a TOML file, or a device.
    seed : int
        Seed of the medium, the sensor and the noise. The same seed gives the same counts.
    resolution : {"auto", "mirrors"}, optional
        Whether modes are macro-pixels or single mirrors; the device's choice by default.
    execution : {"auto", "matrix", "waves"}
        How the light is computed; "auto" takes the cheaper way.
    memory_budget : int, optional
        Most bytes that a stored matrix may take.

    Attributes
    ----------
    device : OpuDevice
        The low-level device; its `exposure_us` and others may be read and set.
    config_file : str or Path
        As given.
    disable_pbar : bool
    verbose_level : int

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be; the sentence says which, and what is allowed.

    Notes
    -----
    Counts have the camera's type: uint8 up to 8 bits, uint16 above, float32 for a camera that does not round.

    One OPU may be used from several threads, and any number may be open. `copy.deepcopy` gives an OPU with settings of
    its own on the same low-level device, as with the real one. A pickle holds settings and the fit, no
    matrix; it opens the device again if it was open. A copy in another process, pickled or forked, is the same device
    and goes on counting frames from where it was copied: it meets the same noise as the other copies from there on.
    Workers that need noise of their own each call ``opu.device.bench.skip_frames(n)`` with another `n`, far enough
    apart.

    The exposure follows the mirrors that are on in the data of the fit, counted over all of it: above the range of
    ones, it is divided by the excess. This is exact for features in two dimensions too, for whole mirror patterns, and
    for an input region of one's own, where lightonml counts too few or not at all.

    Examples
    --------
    >>> import numpy as np
    >>> from opusim import OPU
    >>> x = np.random.default_rng(0).integers(0, 2, (5, 100), dtype=np.uint8)
    >>> with OPU(n_components=1000) as opu:
    ...     y = opu.fit_transform1d(x)
    >>> y.shape, y.dtype.name
    ((5, 1000), 'uint8')
    """

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
    ) -> None:
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
        self.n_components = n_components
        if simulated:
            self.max_n_features = max_n_features
        if open_at_init is None or open_at_init:
            self.open()

    @staticmethod
    def _make_device(given: OpuDevice | None, **arguments: Any) -> OpuDevice:
        if given is None:
            return OpuDevice(**arguments)
        if not isinstance(given, OpuDevice):
            raise TypeError(
                f"opu_device is {given!r} ({type(given).__name__}), but it must be an opusim.drivers.OpuDevice or "
                "None. To choose what is simulated, use device=."
            )
        defaults = inspect.signature(OPU.__init__).parameters
        for name, value in arguments.items():
            if value is not defaults[name].default and value != defaults[name].default:
                raise ValueError(f"{name} is {value!r}, but with opu_device it cannot be given: that has its own.")
        return given

    def __repr__(self) -> str:
        """Say which device it is, whether it is open, and what it was fitted to."""
        state = "open" if self.device.active else "closed"
        fit = "no fit" if self._fit is None else f"n_features={self._fit.traits.shown}"
        device = f"device={self.device.name!r}, seed={self.device.seed}"
        return f"OPU(n_components={self.n_components}, {device}, {state}, {fit})"

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
    def rescale(self) -> OutputRescaling:
        """Scale of the linear transform."""
        return self._rescale

    @rescale.setter
    def rescale(self, value: OutputRescaling | str) -> None:
        self._rescale = as_member("rescale", value, OutputRescaling)

    def version(self, devices: bool = False) -> str:
        """Return name and version of the device and of the software, over several lines.

        Parameters
        ----------
        devices : bool
            Whether to add what the low-level device says about itself.
        """
        import opusim

        c = self._config
        device = f"OPU {c['name']}-{c['version']}-{c['location']}"
        lines = [f"{device}; core type {c['core_type']}, core version {c['core_version']}"]
        lines.append(f"opusim version {opusim.__version__}")
        if devices:
            lines.append(self.device.versions())
        return "\n".join(lines)

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

    def __enter__(self) -> OPU:
        """Open the device for the length of a with block."""
        self._was_active.append(self.device.active)
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the device, unless it was open before the with block."""
        if not self._was_active.pop():
            self.close()

    # ------------------------------------------------------------------ fit

    def fit1d(
        self, X: Any = None, n_features: int | None = None, packed: bool = False, online: bool = False, **override: Any
    ) -> None:
        """Prepare for vectors with features in one dimension.

        Parameters
        ----------
        X : array_like or torch.Tensor, optional
            0/1 data, (n_features,), (batch, n_features) or (batch1, batch2, n_features); its number of ones sets the
            exposure.
        n_features : int, optional
            Features of a vector, if `X` is not given; the exposure is then the device's own.
        packed : bool
            Whether eight features share a byte, the first in the highest bit (`numpy.packbits`). As many features as
            mirrors are shown as they come, the first in the lowest bit.
        online : bool
            Whether vectors come one by one; batches are then refused.
        **override
            exposure_us, frametime_us, input_roi, raw_output_size, n_components, input_roi_strategy.

        Raises
        ------
        NotReadyError
            If the device is closed. A RuntimeError and an AssertionError.
        TypeError, ValueError
            If an argument is not what it may be, or `X` holds no vector. The fit before stays in force.
        """
        self._make_fit(X, n_features, packed, online, False, override)

    def fit2d(
        self,
        X: Any = None,
        n_features: tuple[int, int] | None = None,
        packed: bool = False,
        online: bool = False,
        **override: Any,
    ) -> None:
        """Prepare for vectors with features in two dimensions, shown as a picture.

        Parameters
        ----------
        X : array_like or torch.Tensor, optional
            0/1 data, (a, b), (batch, a, b) or (batch1, batch2, a, b); packed (..., ceil(a*b/8)).
        n_features : tuple of int, optional
            (a, b), if `X` is not given or is packed.
        packed, online, **override
            As for `fit1d`.
        """
        self._make_fit(X, n_features, packed, online, True, override)

    def _make_fit(
        self, X: Any, n_features: Any, packed: bool, online: bool, is_2d: bool, override: dict[str, Any]
    ) -> UserInput | None:
        overrides = Overrides.from_keywords(override)
        validation.flag("online", online)
        if X is not None:
            data = UserInput.from_input(X, packed, is_2d, n_features if packed and is_2d else None)
            traits = data.traits
            if n_features is not None and InputTraits(n_features, packed).n_features != traits.n_features:
                raise ValueError(
                    f"n_features is {n_features!r}, but X has {traits.shown} features: leave out one of the two."
                )
        else:
            if n_features is None:
                raise ValueError("X and n_features are None, but one of them must be given.")
            data, traits = None, InputTraits(n_features, packed)
        if is_2d != (len(traits.n_features) == 2):
            raise ValueError(
                f"n_features is {n_features!r}, but {'fit2d takes two whole numbers' if is_2d else 'fit1d takes one'}."
            )
        base = self._settings()
        if online and base.no_single_transform:
            raise RuntimeError("online is True, but this device has no online mode (no_single_transform is set).")
        self.device.check_open()
        fit = runner.make_fit(
            traits,
            data,
            input_shape=self.device.input_shape,
            settings=base,
            strategy=self.input_roi_strategy,
            overrides=overrides,
        )
        # Nothing can fail from here on, so that an error leaves the fit before in force.
        self._end_online()
        with self.device.lock:
            self._fit = fit
            self._apply(fit)
        if online:
            self._begin_online()
        return data

    def _apply(self, fit: Fit) -> None:
        """Set region and times of the low-level device."""
        self.device.output_roi = self._output_roi().compute_roi(self._n_components)
        self.device.exposure_us = fit.exposure_us
        self._set_frametime(fit)
        self.device.settings_owner = fit

    def _set_frametime(self, fit: Fit) -> None:
        readout_us = self.device.readout_us(self.device.output_shape[1])
        self.device.frametime_us = runner.frametime_us(fit, self._settings(), readout_us, self.device.exposure_us)

    def _begin_online(self) -> None:
        self._online = self.device.acquiring(online=True)
        self._online.__enter__()

    def _end_online(self) -> None:
        if self._online is not None:
            self._online.__exit__(None, None, None)
            self._online = None

    # ------------------------------------------------------------------ transform

    def transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Show vectors and return the camera's counts.

        Parameters
        ----------
        X : array_like or torch.Tensor
            0/1 data shaped as in the fit; bool, integers or floats. Without a fit before, `fit1d` is called on it, as
            the drivers before lightonml 1.2 did.
        encoder_cls : class or object, optional
            Its `transform` makes bits of `X`.
        decoder_cls : class or object, optional
            Its `transform` is applied to the counts. A class is made with the encoder's `get_params()`, if it has any.

        Returns
        -------
        ContextArray or torch.Tensor
            Counts, uint8 for the default camera, of shape (*batch dimensions, n_components). A tensor, on the same
            torch device, if `X` was one.

        Raises
        ------
        NotReadyError
            If the device is closed, or a batch comes in online mode. A RuntimeError and an AssertionError.
        TypeError, ValueError
            If `X` is not what it may be, or holds no vector. The OPU can be used on.
        """
        self.device.check_open()
        for name, coder in (("encoder_cls", encoder_cls), ("decoder_cls", decoder_cls)):
            if coder is not None:
                check_coder(name, coder)
        encoder: Any = encoder_cls() if inspect.isclass(encoder_cls) else encoder_cls
        bits = X if encoder is None else encoder.transform(X)
        fit = self._fit
        if fit is None:
            data = self._make_fit(bits, None, False, False, False, {})
            fit = self._fit
            assert fit is not None and data is not None
        else:
            data = UserInput.from_traits(bits, fit.traits)
        counts: Any = self._run(fit, data)
        if decoder_cls is not None:
            decoder = decoder_cls
            if inspect.isclass(decoder_cls):
                decoder = decoder_cls(**encoder.get_params()) if hasattr(encoder, "get_params") else decoder_cls()
            counts = decoder.transform(counts)
        return data.like_input(counts)

    def _run(self, fit: Fit, data: UserInput) -> ContextArray:
        exposure, n_components, base = self._claim(fit)
        return runner.run(
            fit,
            data,
            self.device,
            exposure,
            runner.output_size(fit, n_components, exposure),
            n_samples_by_pass=base.n_samples_by_pass,
            progress=self.verbose_level >= 1 and not self.disable_pbar,
        )

    def _claim(self, fit: Fit) -> tuple[Exposure, int, settings.Settings]:
        """Return what the device is told now; set it again first if another fit on the device has set its own."""
        base = self._settings()
        with self.device.lock:
            if self.device.settings_owner is not fit:
                self._apply(fit)
            return self.device.exposure(), self._n_components, base

    def linear_transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Return R x itself, not its intensity. It needs a calibration, which this version does not have.

        Raises
        ------
        RuntimeError
            Always.
        """
        raise RuntimeError(
            "linear_transform needs a calibration of the device, which it does not have; transform gives intensities."
        )

    def fit_transform1d(self, X: Any, packed: bool = False, **override: Any) -> Any:
        """Fit on `X` with `fit1d`, then `transform` it."""
        return self._fit_and_run(X, None, packed, False, override)

    def fit_transform2d(self, X: Any, packed: bool = False, n_2d_features: Any = None, **override: Any) -> Any:
        """Fit on `X` with `fit2d`, then `transform` it; `n_2d_features` is (a, b) of packed features."""
        return self._fit_and_run(X, n_2d_features, packed, True, override)

    def transform1d(self, X: Any, packed: bool = False, **override: Any) -> Any:
        """Do what `fit_transform1d` does, under its name of 2018 to 2020."""
        return self.fit_transform1d(X, packed, **override)

    def transform2d(self, X: Any, packed: bool = False, n_2d_features: Any = None, **override: Any) -> Any:
        """Do what `fit_transform2d` does, under its name of 2018 to 2020."""
        return self.fit_transform2d(X, packed, n_2d_features, **override)

    def _fit_and_run(self, X: Any, n_features: Any, packed: bool, is_2d: bool, override: dict[str, Any]) -> Any:
        if X is None:
            raise InputTypeError("X is None, but it must be an array of 0 and 1.")
        data = self._make_fit(X, n_features, packed, False, is_2d, override)
        assert data is not None and self._fit is not None
        return data.like_input(self._run(self._fit, data))

    # ------------------------------------------------------------------ copies

    def __getstate__(self) -> dict[str, Any]:
        """Return settings and fit."""
        state = self.__dict__.copy()
        for name in ("_online", "_was_active"):
            state.pop(name)
        state["_is_online"] = self._online is not None and self.device.acq_state is AcqState.online
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore settings and fit, and the online mode if it was on."""
        online = state.pop("_is_online")
        self.__dict__.update(state)
        self._fresh()
        if online and self.device.active:
            self._begin_online()
