"""The class that programs for the device use."""

from __future__ import annotations

import copy
import inspect
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from opusim.base import arrays, validation
from opusim.base.errors import InputTypeError, NotReadyError, warn_outside
from opusim.base.progress import long_work_shown
from opusim.bench import linear_modes
from opusim.bench.protocol import Drivable, has, input_layout_of, output_roi_of
from opusim.calibration import store as calibrations
from opusim.drivers import inputs
from opusim.drivers.inputs import UserInput
from opusim.drivers.inputs.dask import decode, encode
from opusim.drivers.inputs.traits import InputTraits, check_coder
from opusim.drivers.lowlevel.device import BenchArguments, OpuDevice
from opusim.drivers.lowlevel.settings_of_frame import FrameSettings
from opusim.drivers.methods.base import Method
from opusim.drivers.methods.counts import Counts
from opusim.drivers.values import Values

from . import acquire, settings
from .batch import Batch
from .context import ContextArray
from .fit import Fit, Overrides, frametime_us, make_fit
from .output_region import OutputRoi
from .settings import Settings
from .types import AcqState, InputRoiStrategy, OutputRescaling, as_member

if TYPE_CHECKING:
    from opusim.bench.bench import OpticalBench
    from opusim.calibration.procedures.linear import LinearRecord
    from opusim.device.record import Device


_CALLS = ("transform", "linear_transform", "field_transform")
# Phase steps of a method that is asked before there is a calibration: whatever their number, they are several.
_PLANNED_STEPS = 4
# What a copy of an OPU leaves out, and begins anew (`OPU._fresh`).
_OF_THIS_OBJECT = ("_online", "_was_active", "_read_config")


class OPU(validation.Fixed):
    """Interface to a simulated optical processing unit: y = camera counts of ``|R x|^2``.

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
        From 1 on, batches show a progress bar, and so does a matrix that takes longer than two seconds to make.
    input_roi_strategy : InputRoiStrategy or str
        Which part of the mirrors shows the features: full (macro-pixels), small (a mirror each) or auto.
    open_at_init : bool, optional
        Whether to open the device at once; None means yes.
    disable_pbar : bool
        Never show a progress bar.
    simulated : bool
        Accepted: every device here is simulated, camera and all. lightonml's own simulator gives floats without
        noise; for that use ``device="ideal"``.
    rescale : OutputRescaling or str
        Scale of the linear transform: variance, norm or none.
    features_fmt, dmd_strategy : object
        Arguments of old versions, without effect.
    device : str, Path or Device
        What is simulated: a preset's name, the path of a TOML file, or a device.
    seed : int
        Seed of the medium, the sensor and the noise. The same seed gives the same counts.
    resolution : {"auto", "mirrors"}, optional
        Whether modes are macro-pixels or single mirrors; the device's choice by default.
    execution : {"auto", "matrix", "waves"}
        How the light is computed; "auto" takes the way that is cheaper for a training set of 60 000 vectors, however
        many come. Up to about 10 000 features and as many outputs that is a matrix, which the first transform makes:
        2 s of processor time for 3000 x 3000, 18 s for 9000 x 9000. For fewer vectors than one to three times the
        features "waves" is quicker (``opusim plan`` tells), 50 of them in .1 s. Counts of the two differ by one level
        or an electron in at most 1 % of the pixels.
    memory_budget : int, optional
        Most bytes that a stored matrix may take; 6 GiB by default, on every machine. The way that the light is
        computed depends on it, and with it last bits. Where a matrix within it finds no room, it is refused with a
        sentence.
    threads : int, optional
        Threads to use with numpy; all processors by default. They do not change the result.
    linear_mode : str
        How `linear_transform` is made: "holographic", against the reference arm, or "intensity", from intensities
        alone; or another way that is registered (`opusim.bench.linear_modes`). "auto" takes the first on a device
        that has a reference arm, else the second.
    backend : {"auto", "numpy", "cupy", "torch", "torch:cpu", "torch:cuda", "torch:cuda:1", ...}
        What the light is computed with. "auto": where the data are, numpy for all that lies in the machine's own memory
        (arrays, CPU tensors). "torch": the GPU that the data are on, else a GPU if there is one, else the CPU. It holds
        for transforms; calibrations are measured with numpy. With `opu_device` that has its own.

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
    ImportError, RuntimeError
        If the backend needs a package, or a GPU, that is not there.

    Notes
    -----
    Counts have the camera's type: uint8 up to 8 bits, uint16 above, float32 for a camera that does not round.

    Tensors on a GPU and arrays of CuPy go in and come out without leaving it, packed ones too; so do CPU tensors with
    the backend "torch:cpu". What lies in the machine's own memory may be used with any backend: it is moved there, and
    the result comes back. Data on another device than the backend's are refused. An encoder is given the data as they
    are, a decoder the result as it would be returned; those of opusim compute in the machine's own memory. With "auto",
    data on a GPU that the camera cannot be compiled for go by the CPU, with a warning.

    The noise is the same with every backend: counts of two of them differ in at most one pixel of 10 000, where a
    number is at the edge of rounding, and there by what one electron is worth, or by one.

    One OPU may be used from several threads, and any number may be open. `copy.deepcopy` gives an OPU with settings of
    its own on the same low-level device, as with the real one. A pickle holds settings and the fit, no
    matrix; it opens the device again if it was open. A copy in another process, pickled or forked, is the same device
    and goes on counting frames from where it was copied: it meets the same noise as the other copies from there on.
    Workers that need noise of their own each call ``opu.bench.skip_frames(n)`` with another `n`, far enough
    apart.

    A device with a phase modulator (``[modulator]`` with ``kind = "slm"``) takes phases where one with mirrors takes
    bits: floats are turns of 2 pi, from 0 to below 1, and become the nearest level; whole numbers are levels. Every
    pixel is lit, so that the exposure is the device's own, whatever the data of the fit. Nothing is packed, bools are
    refused, and whole numbers that are only 0 and 1 are told once. What combines bits (``linear_mode="intensity"``,
    tasks, direct feedback alignment) is refused by a sentence.

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

    _fixed = {"config_file": "Change `config`, or make another OPU."}
    # Whether there was a word of values that are hardly meant as they are taken.
    _told = False
    # Whether there was one of a stop that features send no light through.
    _told_stop = False

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
        self._choose(rescale, input_roi_strategy, verbose_level, disable_pbar, config_file)
        self._simulated = bool(simulated)
        self._fit: Fit | None = None
        self._fresh()
        self.device = self._make_device(
            opu_device, BenchArguments(device, seed, resolution, execution, memory_budget, threads, backend)
        )
        config = settings.default_config(self.model)
        config["type"], config["name"] = self.device.opu_type, self.device.name
        config["input"]["frametime_us"] = self.device.asked_frametime_us
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

    def _choose(
        self,
        rescale: OutputRescaling | str,
        input_roi_strategy: InputRoiStrategy | str,
        verbose_level: int,
        disable_pbar: bool,
        config_file: str | Path,
    ) -> None:
        """Take what does not depend on the device."""
        self.rescale = rescale
        self.input_roi_strategy = input_roi_strategy
        self.verbose_level = validation.integer("verbose_level", verbose_level, low=-1)
        self.disable_pbar = bool(disable_pbar)
        self.config_file = config_file

    def _make_device(self, given: OpuDevice | None, arguments: BenchArguments) -> OpuDevice:
        if given is None:
            if has(arguments.device, Drivable):
                _refuse_bench("device", arguments.device)
            return OpuDevice(**vars(arguments))
        if not isinstance(given, OpuDevice):
            if has(given, Drivable):
                _refuse_bench("opu_device", given)
            raise TypeError(
                f"opu_device is {given!r} ({type(given).__name__}), but it must be an opusim.drivers.OpuDevice or "
                "None. To choose what is simulated, use device=."
            )
        for name, value in arguments.given.items():
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
    def _values(self) -> Values:
        """What the values of vectors are for the device's modulator."""
        return self.device.values

    @property
    def _shows_progress(self) -> bool:
        return self.verbose_level >= 1 and not self.disable_pbar

    def _fresh(self) -> None:
        """Begin what belongs to this object alone: no copy has it."""
        self._online: Any = None
        self._was_active: list[bool] = []
        # The configuration as text, and what was read from it.
        self._read_config: tuple[str, Settings] | None = None

    @property
    def bench(self) -> OpticalBench:
        """The bench behind the device: mirrors, light and camera; made when first asked for."""
        return self.device.bench

    @property
    def model(self) -> Device:
        """What is simulated: the record of all its parameters."""
        return self.device.device_model

    # ------------------------------------------------------------------ configuration

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, a dict shaped as the JSON file of a real device; the next fit reads it."""
        return self._config

    def _settings(self) -> Settings:
        """Return what the configuration says; it is checked when it has changed since the last time."""
        # It is a plain dict of lists and tables that anyone may change. Its text shows each change, and 1 from True.
        text, kept = repr(self._config), self._read_config
        if kept is None or kept[0] != text:
            found = settings.check_config(self._config, self.device.nb_features, self.device.output_shape_max)
            self._read_config = kept = text, found
        return kept[1]

    def _output_roi(self) -> OutputRoi:
        s = self._settings()
        return OutputRoi(
            self.device.output_shape_max,
            self.device.output_roi_strategy,
            s.allowed_roi,
            s.minimum_output_size,
            output_roi_of(self.device.bench),
        )

    @property
    def n_components(self) -> int:
        """Components of an output vector. Setting it chooses the region of interest on the camera, at once.

        So does a fit: a region of one's own, ``opu.device.output_roi``, is set after it.
        """
        return self._n_components

    @n_components.setter
    def n_components(self, value: int) -> None:
        regions = self._output_roi()
        n = validation.integer("n_components", value, low=1)
        roi = regions.compute_roi(n)
        with self.device.lock:
            ours = self._fit is not None and self.device.settings_owner is self._fit
            # Another OPU may be using this device: it must see that its region is gone.
            self.device.settings_owner = None
            self._n_components = n
            self.device.output_roi = roi
            if ours:
                assert self._fit is not None
                self._set_frametime(self._fit)
                self.device.settings_owner = self._fit

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
        """How `linear_transform` is made: auto, holographic, intensity, or another that is registered."""
        return self._linear_mode

    @linear_mode.setter
    def linear_mode(self, value: str) -> None:
        self._linear_mode = linear_modes.checked("linear_mode", value)

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

        name, version, place, core_type, core_version = (
            settings.entry(self._config, key) for key in ("name", "version", "location", "core_type", "core_version")
        )
        lines = [f"OPU {name}-{version}-{place}; core type {core_type}, core version {core_version}"]
        lines.append(f"opusim version {opusim.__version__}")
        if devices:
            lines.append(self.device.versions())
        return "\n".join(lines)

    def _apply(self, fit: Fit) -> None:
        """Set region and times of the low-level device."""
        # Nobody's until all are set: a fork in between would leave a mixture that passed for this fit's.
        self.device.settings_owner = None
        self.device.output_roi = self._output_roi().compute_roi(self._n_components)
        self.device.exposure_us = fit.exposure_us
        self._set_frametime(fit)
        self.device.settings_owner = fit

    def _set_frametime(self, fit: Fit) -> None:
        self.device.frametime_us = frametime_us(fit, self._settings(), self.device.least_frametime_us())

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

    # ------------------------------------------------------------------ fit

    def fit1d(
        self, X: Any = None, n_features: int | None = None, packed: bool = False, online: bool = False, **override: Any
    ) -> None:
        """Prepare for vectors with features in one dimension.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array, optional
            0/1 data, (n_features,), (batch, n_features) or (batch1, batch2, n_features); its number of ones sets the
            exposure. A Dask array is computed to count them, part by part. Of a phase modulator phases or levels.
        n_features : int, optional
            Features of a vector, if `X` is not given; the exposure is then the device's own.
        packed : bool
            Whether eight features share a byte, the first in the highest bit (`numpy.packbits`). As many features as
            mirrors are shown as they come, the first in the lowest bit.
        online : bool
            Whether vectors come one by one, as in a loop that knows the next one from the counts of the one before;
            batches are then refused. The configuration is read now, and by no `transform` until the next fit.
        **override
            Any of exposure_us, frametime_us, input_roi, raw_output_size, n_components, input_roi_strategy.

        Raises
        ------
        NotReadyError
            If the device is closed. A RuntimeError and an AssertionError.
        TypeError, ValueError
            If an argument is not what it may be, or `X` holds no vector. The fit before stays in force.

        Warns
        -----
        UserWarning
            Of data that give too little light or too much; once, of a Fourier stop that the light of features does not
            pass.
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
        X : array_like, torch.Tensor or cupy.ndarray, optional
            0/1 data, or phases, (a, b), (batch, a, b) or (batch1, batch2, a, b); packed (..., ceil(a*b/8)).
        n_features : tuple of int, optional
            (a, b), if `X` is not given or is packed.
        packed, online : bool
            As for `fit1d`.
        **override
            As for `fit1d`.

        Raises
        ------
        NotReadyError, TypeError, ValueError
            As for `fit1d`.
        """
        self._make_fit(X, n_features, packed, online, True, override)

    def _make_fit(
        self, X: Any, n_features: Any, packed: bool, online: bool, is_2d: bool, override: dict[str, Any]
    ) -> tuple[Fit, UserInput | None]:
        overrides = Overrides.from_keywords(override)
        validation.flag("online", online)
        traits, data = inputs.describe(X, n_features, packed, is_2d, self.device.backend, self._values)
        base = self._settings()
        if online and base.no_single_transform:
            raise RuntimeError("online is True, but this device has no online mode (no_single_transform is set).")
        self.device.check_open()
        fit = make_fit(
            traits,
            data,
            input_shape=self.device.input_shape,
            settings=base,
            strategy=self.input_roi_strategy,
            overrides=overrides,
            online=online,
            inputs=input_layout_of(self.device.bench),
        )
        self._tell_doubt(data)
        self._tell_stop(fit)
        # Nothing can fail from here on, so that an error leaves the fit before in force.
        self._end_online()
        with self.device.lock:
            self._fit = fit
            self._apply(fit)
        if online:
            self._begin_online()
        return fit, data

    # ------------------------------------------------------------------ transform

    def transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Show vectors and return the camera's counts.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            0/1 data shaped as in the fit; bool, integers or floats. Of a phase modulator floats are phases in turns,
            from 0 to below 1, and integers levels. Without a fit before, `fit1d` is called on it, as the drivers
            before lightonml 1.2 did.
        encoder_cls : class or object, optional
            Its `transform` makes bits of `X`.
        decoder_cls : class or object, optional
            Its `transform` is applied to the counts. A class is made with the encoder's `get_params()`, if it has any.

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Counts, uint8 for the default camera, of shape ``(*batch dimensions, n_components)``. A tensor or an array
            of CuPy, on the same device, if `X` was one; lazy if `X` was a Dask array.

        Raises
        ------
        NotReadyError
            If the device is closed, or a batch comes in online mode. A RuntimeError and an AssertionError.
        TypeError, ValueError
            If `X` is not what it may be, or holds no vector. The OPU can be used on.

        Notes
        -----
        A single vector in an array of numpy, or one that `transform` returned, without encoder or decoder, goes a
        shorter way: what it has in common with the one before is not looked at again, but its values and whatever was
        changed since are. Its counts are those of a batch, bit for bit; after a fit with ``online=True`` the
        configuration costs no time either.

        The lazy result of a Dask array has the counts that one call would give now, bit for bit, whatever the chunks,
        the scheduler or the workers (of one version, on one kind of processor, with numpy; with another backend as two
        backends agree), and each time it is computed: its
        frames and their time are taken when it is made. Values that are no bits are told when it is computed, and the
        OPU may be closed by then. Each task uses one thread in other processes. Chunks of the vectors are kept, but
        those above 32 MiB of input and result are split; the outputs of a vector are one chunk. Encoders and decoders
        must take each vector by itself: own ones say so by an attribute ``by_vector = True``. A worker that lacks what
        it takes, or has another opusim, is told when the array is computed, as a RuntimeError.
        """
        if encoder_cls is None and decoder_cls is None:
            kind = type(X)
            plain = X if kind is np.ndarray else X.view(np.ndarray) if kind is ContextArray else None
            if plain is not None:
                counts = self._single(plain)
                if counts is not None:
                    return counts
        encoder, bits = self._encode(X, encoder_cls, decoder_cls)
        fit, data = self._fitted(bits)
        return data.like_input(self._decode(self._counts(fit, data), encoder, decoder_cls, data.group))

    def _single(self, X: np.ndarray) -> Any:
        """Return the counts of a single vector by the way of loops; None where it must go the way of all.

        What a loop leaves as it is costs it nothing: settings that were checked are known by being the same objects.
        """
        device, fit = self.device, self._fit
        if fit is None or X.size != fit.vector_size or device.backend not in inputs.PLAIN:
            return None
        device.check_open()
        data = inputs.HostInput(X, fit.traits)
        self._tell_doubt(data)
        if not fit.online:
            self._settings()  # which a loop, in online mode, has read at its fit
        with device.lock:
            if device.settings_owner is not fit:
                return None
            exposure, n_components = device.exposure(), self._n_components
        n_out = acquire.output_size(fit, n_components, exposure)
        return acquire.run_one(data, fit, device, exposure, n_out, progress=self._shows_progress)

    @property
    def current_fit(self) -> Fit | None:
        """How vectors are shown now: layout, exposure, what was asked for. None before a fit."""
        return self._fit

    def acquire(self, method: Method, X: Any) -> Any:
        """Show vectors by a method of one's own, and return what it makes of their frames.

        Parameters
        ----------
        method : Method
            What is shown for them, and what becomes of the frames (``opusim.drivers.methods.base``).
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            Vectors of 0 and 1, as for `transform`.

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Of the method's dtype, of shape ``(*batch dimensions, n_components)``, where `X` was, as of `transform`.

        Raises
        ------
        NotReadyError
            If the device is closed, or the fit is not for such vectors.
        TypeError, ValueError
            If `method` is no method, or `X` is not what it may be.
        """
        if not isinstance(method, Method):
            what = (
                f"the class {method.__name__}" if inspect.isclass(method) else f"{method!r} ({type(method).__name__})"
            )
            raise TypeError(f"method is {what}, but it must be an object of opusim.drivers.methods.base.Method.")
        _, bits = self._encode(X, None, None)
        fit, data = self._fitted(bits)
        return data.like_input(self._run(method, fit, data))

    def batch(self, n_vectors: int, call: str = "transform") -> Batch:
        """Take the frames of a batch now, to show its vectors in parts: here or in other processes, in any order.

        The tasks of a job array each run the same program up to here, and show vectors of their own: the results are
        those of one call on all vectors, bit for bit. The fit must be the same in each, hence made on all of the data,
        not on a part: the exposure follows from them.

        Parameters
        ----------
        n_vectors : int
            Vectors of the whole batch.
        call : {"transform", "linear_transform", "field_transform"}
            Which result it is; a linear one calibrates the device as the call itself does. Encoders and decoders are
            for the caller to apply: vectors are bits here, as many as an encoder makes.

        Returns
        -------
        opusim.drivers.batch.Batch
            Its `rows` says which vectors are those of a part, its `transform` shows them.

        Raises
        ------
        NotReadyError
            If the device is closed, or there was no fit.
        TypeError, ValueError
            If an argument is not what it may be, or the bench cannot be made anew in another process.

        Examples
        --------
        >>> import numpy as np
        >>> from opusim import OPU
        >>> x = np.random.default_rng(0).integers(0, 2, (5, 100), dtype=np.uint8)
        >>> with OPU(n_components=1000) as opu:
        ...     opu.fit1d(x)
        ...     batch = opu.batch(len(x))
        ...     mine = batch.rows("2/2")
        ...     y = batch.transform(x[mine], mine.start)
        >>> mine, y.shape
        (slice(2, 5, None), (3, 1000))
        """
        n_vectors = validation.integer("n_vectors", n_vectors, low=1)
        if call not in _CALLS:
            raise ValueError(f"call is {call!r}, but it must be one of {', '.join(map(repr, _CALLS))}.")
        self.device.check_open()
        fit = self._fit
        if fit is None:
            raise NotReadyError("There was no fit: call fit1d or fit2d, on the data of the whole batch.")
        mode = None
        if call != "transform":
            fields = call == "field_transform"
            mode = self.device.linear_mode(linear_modes.field_mode(self.linear_mode) if fields else self.linear_mode)
        exposure, n_components, base = self._claim(fit)
        n_out = acquire.output_size(fit, n_components, exposure)
        method: Method = Counts(self.device.output_dtype)
        scale = 1.0
        if mode is not None:
            self._check_linear(mode, fit, fit.traits, n_vectors, exposure, n_out)
            method, exposure = mode.prepare(
                fit, self.device, exposure, n_out, arrays.NUMPY, complex_output=call == "field_transform"
            )
            scale = self._rescaling(fit.traits.n_features_total, n_components, base.stdev)
        acquire.check_fit(method, fit, fit.traits, n_vectors)
        step = acquire.pass_size(
            method, fit.traits.n_features_total, n_out, self.device.output_dtype.itemsize, base.n_samples_by_pass
        )
        shape = (n_vectors, *fit.traits.vector_shape)
        task = acquire.Task.of(method, n_vectors, fit.traits, shape, fit, self.device, exposure, n_out, step)
        return Batch(task, fit.traits, scale)

    def _fitted(self, bits: Any) -> tuple[Fit, UserInput]:
        """Return the fit and the vectors as it takes them; without a fit, one is made on them."""
        fit = self._fit
        if fit is None:
            with self.device.measuring:  # of several threads that come first one fits, and the others use it
                fit = self._fit
                if fit is None:
                    fit, data = self._make_fit(bits, None, False, False, False, {})
                    assert data is not None
                    return fit, data
        data = inputs.read(bits, fit.traits, self.device.backend)
        self._tell_doubt(data)
        return fit, data

    def _encode(self, X: Any, encoder_cls: Any, decoder_cls: Any) -> tuple[Any, Any]:
        """Return the encoder, if any, and what it makes of `X`."""
        self.device.check_open()
        if X is None:
            raise InputTypeError(f"X is None, but it must be an array of {self._values.what}.")
        for name, coder in (("encoder_cls", encoder_cls), ("decoder_cls", decoder_cls)):
            if coder is not None:
                check_coder(name, coder)
        encoder: Any = encoder_cls() if inspect.isclass(encoder_cls) else encoder_cls
        if type(X) is not np.ndarray and inputs.is_lazy(X):
            return encoder, encode(X, encoder, decoder_cls)
        if encoder is None:
            return encoder, X
        made = encoder.transform(X)
        self._values.check_encoded(encoder, made)
        return encoder, made

    def _tell_doubt(self, data: UserInput | None) -> None:
        """Warn, once, of values that are hardly meant as what the modulator takes them for."""
        values = self._values
        if self._told or values.binary or not isinstance(data, inputs.HostInput):
            return
        data.check_values()
        doubt = values.doubt(data.array.dtype, data.array)
        if doubt:
            self._told = True
            warn_outside(doubt)

    def _tell_stop(self, fit: Fit) -> None:
        """Warn, once, of features without a carrier before a stop that picks an order of a hologram."""
        from opusim.device.record import Device

        # A laboratory's record says nothing of a stop.
        if self._told_stop or fit.layout.by_mirror or not isinstance(self.model, Device):
            return
        stop = self.model.fourier_stop
        if stop.passes_axis(self.model.dmd.lattice):
            return
        self._told_stop = True
        down, across = stop.centre_cycles
        warn_outside(
            f"The Fourier stop of this device ({stop.diameter_cycles:g} cycles per pitch wide at {down:g} and "
            f"{across:g}) leaves out the light that goes straight on, where features on macro-pixels send nearly all "
            "of theirs: outputs will be near the dark level. It is meant for holograms (opusim.patterns.lee, "
            "superpixel): show them with OpticalBench.expose, or as features of one mirror each, or use a device "
            "without the stop (fourier_stop.diameter_cycles=inf)."
        )

    @staticmethod
    def _decode(values: Any, encoder: Any, decoder_cls: Any, group: int = 1) -> Any:
        if decoder_cls is None:
            return values
        decoder = decoder_cls
        if inspect.isclass(decoder_cls):
            decoder = decoder_cls(**encoder.get_params()) if hasattr(encoder, "get_params") else decoder_cls()
        return decode(values, decoder, group) if inputs.is_lazy(values) else decoder.transform(values)

    def _run(self, method: Method, fit: Fit, data: UserInput) -> Any:
        exposure, n_components, base = self._claim(fit)
        n_out = acquire.output_size(fit, n_components, exposure)
        return self._acquire(method, data, fit, exposure, n_out, base)

    def _counts(self, fit: Fit, data: UserInput) -> Any:
        return self._run(Counts(self.device.output_dtype), fit, data)

    def _acquire(
        self, method: Method, data: UserInput, fit: Fit, exposure: FrameSettings, n_out: int, base: Settings,
        divisor: float = 1.0,
    ) -> Any:  # fmt: skip
        return acquire.run(
            method, data, fit, self.device, exposure, n_out, n_samples_by_pass=base.n_samples_by_pass,
            progress=self._shows_progress, divisor=divisor,
        )  # fmt: skip

    def _claim(self, fit: Fit) -> tuple[FrameSettings, int, Settings]:
        """Return what the device is told now; set it again first if another fit on the device has set its own."""
        base = self._settings()
        with self.device.lock:
            if self.device.settings_owner is not fit:
                self._apply(fit)
            return self.device.exposure(), self._n_components, base

    def fit_transform1d(self, X: Any, packed: bool = False, **override: Any) -> Any:
        """Fit on data with `fit1d`, then `transform` them.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            Vectors of 0 and 1, as for `fit1d`.
        packed : bool
            Whether eight features share a byte, the first in the highest bit.
        **override
            As for `fit1d`.

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Counts, as for `transform`.
        """
        return self._fit_and_run(X, None, packed, False, override)

    def fit_transform2d(self, X: Any, packed: bool = False, n_2d_features: Any = None, **override: Any) -> Any:
        """Fit on data with `fit2d`, then `transform` them.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            Vectors of 0 and 1, as for `fit2d`.
        packed : bool
            Whether eight features share a byte, the first in the highest bit.
        n_2d_features : tuple of int, optional
            The shape (a, b) of packed features.
        **override
            As for `fit2d`.

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Counts, as for `transform`.
        """
        return self._fit_and_run(X, n_2d_features, packed, True, override)

    def transform1d(self, X: Any, packed: bool = False, **override: Any) -> Any:
        """Do what `fit_transform1d` does, under its name of 2018 to 2020.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            Vectors of 0 and 1, as for `fit1d`.
        packed : bool
            Whether eight features share a byte, the first in the highest bit.
        **override
            As for `fit1d`.

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Counts, as for `transform`.
        """
        return self.fit_transform1d(X, packed, **override)

    def transform2d(self, X: Any, packed: bool = False, n_2d_features: Any = None, **override: Any) -> Any:
        """Do what `fit_transform2d` does, under its name of 2018 to 2020.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            Vectors of 0 and 1, as for `fit2d`.
        packed : bool
            Whether eight features share a byte, the first in the highest bit.
        n_2d_features : tuple of int, optional
            The shape (a, b) of packed features.
        **override
            As for `fit2d`.

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Counts, as for `transform`.
        """
        return self.fit_transform2d(X, packed, n_2d_features, **override)

    def _fit_and_run(self, X: Any, n_features: Any, packed: bool, is_2d: bool, override: dict[str, Any]) -> Any:
        if X is None:
            raise InputTypeError(f"X is None, but it must be an array of {self._values.what}.")
        fit, data = self._make_fit(X, n_features, packed, False, is_2d, override)
        assert data is not None
        return data.like_input(self._counts(fit, data))

    # ------------------------------------------------------------------ linear transform

    @property
    def calibration(self) -> LinearRecord | None:
        """Calibration of the holographic linear transform for the present region; None before there is one.

        Its `valid`, bool of the pixels of the region, says which of them it can tell the field of. The others are not
        left out of `field_transform` and `linear_transform`: output i is pixel i, and ``valid[:n_components]`` says
        whether it is of use.
        """
        return self.device.linear_records.get(self.device.exposure().bench_roi)

    def calibrate(self, *, steps: int = 4, exposure_s: float | None = None, store: bool = True) -> LinearRecord:
        """Calibrate the holographic linear transform for the present region, anew.

        Parameters
        ----------
        steps : int
            Phase steps, 3 or more: frames of each vector.
        exposure_s : float, optional
            Exposure in seconds; by default the one with the best signal that does not saturate.
        store : bool
            Whether to keep it in the user's configuration folder. There it saves the time of a later calibration that
            would come out the same to the bit: of a simulated device by the same calls before it, as when a program
            runs again. No result depends on what is kept there. That of a laboratory's device serves for a day.

        Returns
        -------
        LinearRecord
            What was found; also `calibration` from now on.

        Raises
        ------
        NotReadyError
            If the device is closed.
        ValueError
            If there is no reference arm, or no exposure that fits.
        RuntimeError
            If the result is useless.
        """
        self.device.linear_mode(linear_modes.field_mode(self.linear_mode))
        validation.integer("steps", steps, low=3, high=63)
        self.device.check_open()
        device, roi = self.device, self.device.exposure().bench_roi
        with device.measuring, long_work_shown(self._shows_progress):
            return calibrations.measure(
                device.bench, roi, device.linear_records, steps=steps, exposure_s=exposure_s, store=store
            )

    def field_transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Show vectors and return the field at the camera, R x with a complex R.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            0/1 data shaped as in the fit, as for `transform`.
        encoder_cls, decoder_cls : class or object, optional
            As for `transform`.

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Fields, complex64, ``(*batch dimensions, n_components)``, scaled by `rescale` as `linear_transform` is: R x,
            or R exp(i phase) of a phase modulator, without the light that no feature changes; the
            entries of R are i.i.d. complex normal numbers with mean square 1 (around a measured matrix, those of the
            matrix). Pixels that are too dark or saturated come as ordinary numbers: ``opu.calibration.valid`` names
            them.

        Raises
        ------
        ValueError
            If the device has no reference arm.
        """
        return self._linear(X, encoder_cls, decoder_cls, linear_modes.field_mode(self.linear_mode), True)

    def linear_transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Show vectors and return R x itself, not its intensity.

        "holographic": the real part of the field, from frames under several phases of the reference arm (four by
        default), times sqrt(2). The first call calibrates the device for its region of the camera, with a warning
        that says so, unless `calibrate` was called. A program that runs again finds the calibration of its first run
        stored, and takes it in place of the same one: its frames and results are the same.

        "intensity": put together from counts without the reference arm, ``operation.frames_per_vector`` frames a vector
        and anchors for each 64 vectors begun: 3 with two frames a vector, 15 with five. All
        vectors of a call share the noise of its anchors, so that 64 or fewer have the largest error; and each row of R
        has a gain of its own, which is fixed (``opusim.drivers.methods.intensity``).

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            Data shaped as in the fit, as for `transform`.
        encoder_cls, decoder_cls : class or object, optional
            As for `transform`. Inputs that are not bits go through bit planes (`opusim.encoding`).

        Returns
        -------
        ContextArray, torch.Tensor, cupy.ndarray or dask.array.Array
            Numbers, float32, ``(*batch dimensions, n_components)``, scaled by `rescale`: "variance" divides R x by
            sqrt(n_features), "norm" by sqrt(n_components), "none" by nothing. Of a phase modulator x is
            exp(i phase), and y = sqrt(2) Re(R x) with complex R; it is scaled alike. By holography the entries of R are
            i.i.d. N(0, 1). By intensity they are so but in one direction: entries of one column have a mean of
            +-sqrt(pi / (2 n_features)), with a fixed random sign for each column.

        Raises
        ------
        NotReadyError
            If the device is closed, in online mode, or, by intensity, the features do not use all the mirrors that
            the strategy full gives them. A RuntimeError and an AssertionError.
        RuntimeError
            If the input is packed, or the calibration is useless or lost.
        TypeError, ValueError
            If `X` is not what it may be, or the device lacks what the mode needs.

        Notes
        -----
        By intensity, the matrix is that of `transform` but for a fixed sign of each column and a phase of each row.
        Features in one dimension fill the array. Those in two dimensions leave mirrors that are always on beside them:
        R x is linear then too, but by intensity the entries of R are not i.i.d.; by holography their light is
        measured and taken off.

        On a GPU, frames and results stay there; the calibration is measured with numpy, and its maps are moved once.
        The result is that of the other backends to single precision where the counts agree, and differs by what a
        count is worth where they do not.

        A Dask array gives a lazy one, as with `transform`. By holography, what belongs to the fit is measured at once,
        and chunks begin at multiples of a block, mostly 64 vectors.
        """
        return self._linear(X, encoder_cls, decoder_cls, self.linear_mode, False)

    def _linear(self, X: Any, encoder_cls: Any, decoder_cls: Any, asked: str, complex_output: bool) -> Any:
        mode = self.device.linear_mode(asked)
        encoder, bits = self._encode(X, encoder_cls, decoder_cls)
        fit, data = self._fitted(bits)
        exposure, n_components, base = self._claim(fit)
        n_out = acquire.output_size(fit, n_components, exposure)
        self._check_linear(mode, fit, data.traits, data.n_samples, exposure, n_out)
        method, exposure = mode.prepare(
            fit, self.device, exposure, n_out, data.place or arrays.NUMPY, complex_output=complex_output
        )
        scale = self._rescaling(fit.traits.n_features_total, n_components, base.stdev)
        if decoder_cls is None:
            return data.like_input(self._acquire(method, data, fit, exposure, n_out, base, scale))
        raw = self._acquire(method, data, fit, exposure, n_out, base)
        # After the decoder, as the real driver does it.
        return data.like_input(acquire.divided(self._decode(raw, encoder, decoder_cls, data.group), scale))

    def _check_linear(
        self, mode: linear_modes.LinearMode, fit: Fit, traits: InputTraits, n_vectors: int, exposure: FrameSettings,
        n_out: int,
    ) -> None:  # fmt: skip
        """Refuse vectors that cannot be shown after this fit, before the mode takes frames to calibrate by."""
        if fit.online or traits.packed:
            method, _ = mode.planned(fit, self.device, exposure, n_out, _PLANNED_STEPS)
            acquire.check_fit(method, fit, traits, n_vectors)

    def _rescaling(self, n_features: int, n_components: int, stdev: float = 1.0) -> float:
        """Return what a linear transform is divided by, as `rescale` says; `stdev` is the scale of a matrix entry."""
        if self.rescale is OutputRescaling.none:
            return 1.0
        return stdev * math.sqrt(n_features if self.rescale is OutputRescaling.variance else n_components)

    # ------------------------------------------------------------------ copies

    def __getstate__(self) -> dict[str, Any]:
        """Return settings and fit."""
        state = {name: value for name, value in self.__dict__.items() if name not in _OF_THIS_OBJECT}
        return {**state, "_is_online": self._online is not None and self.device.acq_state is AcqState.online}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore settings and fit, and the online mode if it was on."""
        settings_and_fit = dict(state)
        online = settings_and_fit.pop("_is_online")
        self.__dict__.update(settings_and_fit)
        self._fresh()
        if online and self.device.active:
            self._begin_online()


def _refuse_bench(name: str, bench: Any) -> None:
    raise TypeError(
        f"{name} is {bench!r}, which is a bench: wrap it, as in OPU(opu_device=opusim.drivers.OpuDevice(bench=bench))."
    )
