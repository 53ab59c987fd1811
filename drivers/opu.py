"""The class that programs for the device use."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.errors import InputTypeError
from opusim.drivers import inputs
from opusim.drivers.inputs.dask import decode, encode
from opusim.drivers.inputs.traits import UserInput, check_coder
from opusim.drivers.lowlevel.device import Exposure
from opusim.drivers.methods.counts import Counts

from . import acquire, settings
from .fit import Fit, Overrides, make_fit, output_size
from .linear_modes import LinearTransforms
from .opu_base import OpuBase
from .types import AcqState


class OPU(LinearTransforms, OpuBase):
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
        From 1 on, batches show a progress bar.
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
        How the light is computed; "auto" takes the cheaper way.
    memory_budget : int, optional
        Most bytes that a stored matrix may take; a quarter of the machine's memory by default. The way that the light
        is computed depends on it, and with it last bits.
    threads : int, optional
        Threads to use with numpy; all processors by default. They do not change the result.
    linear_mode : {"auto", "holographic", "intensity"}
        How `linear_transform` is made: against the reference arm, or from intensities alone. "auto" takes the first
        on a device that has a reference arm.
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

    # ------------------------------------------------------------------ fit

    def fit1d(
        self, X: Any = None, n_features: int | None = None, packed: bool = False, online: bool = False, **override: Any
    ) -> None:
        """Prepare for vectors with features in one dimension.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array, optional
            0/1 data, (n_features,), (batch, n_features) or (batch1, batch2, n_features); its number of ones sets the
            exposure. A Dask array is computed to count them, part by part.
        n_features : int, optional
            Features of a vector, if `X` is not given; the exposure is then the device's own.
        packed : bool
            Whether eight features share a byte, the first in the highest bit (`numpy.packbits`). As many features as
            mirrors are shown as they come, the first in the lowest bit.
        online : bool
            Whether vectors come one by one; batches are then refused.
        **override
            Any of exposure_us, frametime_us, input_roi, raw_output_size, n_components, input_roi_strategy.

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
        X : array_like, torch.Tensor or cupy.ndarray, optional
            0/1 data, (a, b), (batch, a, b) or (batch1, batch2, a, b); packed (..., ceil(a*b/8)).
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
    ) -> UserInput | None:
        overrides = Overrides.from_keywords(override)
        validation.flag("online", online)
        traits, data = inputs.describe(X, n_features, packed, is_2d, self.device.backend)
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
        )
        # Nothing can fail from here on, so that an error leaves the fit before in force.
        self._end_online()
        with self.device.lock:
            self._fit = fit
            self._apply(fit)
        if online:
            self._begin_online()
        return data

    # ------------------------------------------------------------------ transform

    def transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Show vectors and return the camera's counts.

        Parameters
        ----------
        X : array_like, torch.Tensor, cupy.ndarray or dask.array.Array
            0/1 data shaped as in the fit; bool, integers or floats. Without a fit before, `fit1d` is called on it, as
            the drivers before lightonml 1.2 did.
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
        The lazy result of a Dask array has the counts that one call would give now, bit for bit, whatever the chunks,
        the scheduler or the workers (of one version, on one kind of processor, with numpy; with another backend as two
        backends agree), and each time it is computed: its
        frames and their time are taken when it is made. Values that are no bits are told when it is computed, and the
        OPU may be closed by then. Each task uses one thread in other processes. Chunks of the vectors are kept, but
        those above 32 MiB of input and result are split; the outputs of a vector are one chunk. Encoders and decoders
        must take each vector by itself: own ones say so by an attribute ``by_vector = True``.
        """
        encoder, bits = self._encode(X, encoder_cls, decoder_cls)
        data = self._data_for(bits)
        assert self._fit is not None
        return data.like_input(self._decode(self._run(self._fit, data), encoder, decoder_cls, data.group))

    def _data_for(self, bits: Any) -> UserInput:
        """Return the vectors as the fit takes them; without a fit, one is made on them."""
        if self._fit is not None:
            return inputs.read(bits, self._fit.traits, self.device.backend)
        data = self._make_fit(bits, None, False, False, False, {})
        assert data is not None
        return data

    def _encode(self, X: Any, encoder_cls: Any, decoder_cls: Any) -> tuple[Any, Any]:
        """Return the encoder, if any, and what it makes of `X`."""
        self.device.check_open()
        if X is None:
            raise InputTypeError("X is None, but it must be an array of 0 and 1.")
        for name, coder in (("encoder_cls", encoder_cls), ("decoder_cls", decoder_cls)):
            if coder is not None:
                check_coder(name, coder)
        encoder: Any = encoder_cls() if inspect.isclass(encoder_cls) else encoder_cls
        if type(X) is not np.ndarray and inputs.is_lazy(X):
            return encoder, encode(X, encoder, decoder_cls)
        return encoder, X if encoder is None else encoder.transform(X)

    @staticmethod
    def _decode(values: Any, encoder: Any, decoder_cls: Any, group: int = 1) -> Any:
        if decoder_cls is None:
            return values
        decoder = decoder_cls
        if inspect.isclass(decoder_cls):
            decoder = decoder_cls(**encoder.get_params()) if hasattr(encoder, "get_params") else decoder_cls()
        return decode(values, decoder, group) if inputs.is_lazy(values) else decoder.transform(values)

    def _run(self, fit: Fit, data: UserInput) -> Any:
        exposure, n_components, base = self._claim(fit)
        return acquire.run(
            Counts(self.device.output_dtype),
            data,
            fit,
            self.device,
            exposure,
            output_size(fit, n_components, exposure),
            n_samples_by_pass=base.n_samples_by_pass,
            progress=self._shows_progress,
        )

    def _claim(self, fit: Fit) -> tuple[Exposure, int, settings.Settings]:
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
