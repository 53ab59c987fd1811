"""The OPU under lightonml's names: what programs for the product get, of either generation.

It differs from `opusim.OPU` in three things: `linear_transform` is always put together from intensities, as the
product did it; the device comes from the environment or a device's json, as there are no arguments for it
(`opusim.drivers.compat.environment`); and ``simulated=True`` gives lightonml's own noise-free simulator.
"""

from __future__ import annotations

import datetime as dt
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.errors import InputTypeError, warn_outside
from opusim.base.user_arrays import as_numpy, refuse_not_finite
from opusim.drivers.acquire import divided
from opusim.drivers.context import Context, ContextArray
from opusim.drivers.inputs import HostInput, InputTraits, describe, is_lazy
from opusim.drivers.lowlevel.device import BenchArguments, OpuDevice
from opusim.drivers.opu import OPU as _OPU
from opusim.drivers.settings import read_config
from opusim.drivers.types import FeaturesFormat, InputRoiStrategy, OutputRescaling
from opusim.drivers.values import BITS, Values

from . import environment
from .simulated_device import SimulatedOpuDevice

_verbose_level = 0


def get_verbose_level() -> int:
    """Return the level that `set_verbose_level` was given; 0 at first."""
    return _verbose_level


def set_verbose_level(verbose_level: int) -> None:
    """Set how much is told, for OPUs that have no level of their own.

    Parameters
    ----------
    verbose_level : int
        0 nothing, 1 progress bars; under lightonml's names 2 and 3 log messages of more and more detail.

    Raises
    ------
    TypeError, ValueError
        If it is no whole number, or below -1.
    """
    global _verbose_level
    _verbose_level = validation.integer("verbose_level", verbose_level, low=-1)


class OPU(_OPU):
    """Interface to a simulated optical processing unit, under lightonml's names.

    Parameters
    ----------
    n_components : int
        Components of an output vector.
    opu_device : OpuDevice or SimulatedOpuDevice, optional
        Low-level device to use. A whole number is a time in microseconds, as in the oldest programs (below).
    max_n_features : int
        Rows of the stored matrix of lightonml's simulator; without effect otherwise.
    config_file : str or Path
        JSON file shaped as a real device's.
    config_override : dict, optional
        Changes to the configuration, table by table.
    verbose_level : int
        From 1 on, batches show a progress bar, and so does a matrix that takes longer than two seconds to make;
        -1 follows `set_verbose_level`.
    input_roi_strategy : InputRoiStrategy or str
        Which part of the mirrors shows the features: full, small or auto.
    open_at_init : bool, optional
        Whether to open the device at once; None means yes.
    disable_pbar : bool
        Never show a progress bar.
    simulated : bool
        Whether it is lightonml's simulator, as with an `opu_device` that is a `SimulatedOpuDevice`.
    rescale : OutputRescaling or str
        Scale of the linear transform: variance, norm or none.
    features_fmt, dmd_strategy : object
        Arguments of old versions, without effect.

    Raises
    ------
    ValueError
        If `simulated` comes with an `opu_device`.

    Notes
    -----
    lightonml's simulator is ``|X R|^2`` in float32, no noise, a stored matrix of `max_n_features` rows.

    The oldest programs pass two times in microseconds by position, ``OPU(frametime_us, exposure_us)``, and no number of
    components: a whole number in the place of `opu_device` is read so.
    """

    def __init__(
        self,
        n_components: int = 200000,
        opu_device: OpuDevice | SimulatedOpuDevice | int | None = None,
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
    ) -> None:
        if type(self) is OPU and (simulated or isinstance(opu_device, SimulatedOpuDevice)):
            # The arguments say which of the two it is, and programs know only this class.
            self.__class__ = SimulatorOPU
        self._begin(
            n_components, opu_device, max_n_features, config_file, config_override, verbose_level, input_roi_strategy,
            open_at_init, disable_pbar, simulated, rescale,
        )  # fmt: skip

    def _begin(
        self, n_components: int, opu_device: Any, max_n_features: int, config_file: str | Path,
        config_override: dict[str, Any] | None, verbose_level: int, input_roi_strategy: InputRoiStrategy | str,
        open_at_init: bool | None, disable_pbar: bool, simulated: bool, rescale: OutputRescaling | str,
    ) -> None:  # fmt: skip
        """Begin as what it turned out to be."""
        if isinstance(opu_device, int) and not isinstance(opu_device, bool):
            times: dict[str, Any] = {"input": {"frametime_us": n_components}, "output": {"exposure_us": opu_device}}
            for name, change in (config_override or {}).items():
                both = isinstance(change, dict) and name in times
                times[name] = {**times[name], **change} if both else change
            n_components, opu_device, config_override = 200000, None, times
        # Asked once: it says which configuration is read, and what `_make_device` makes.
        self._selection = None if config_file else environment.selected()
        super().__init__(
            n_components, opu_device, max_n_features,
            config_file or (self._selection and self._selection.config_path) or "",
            config_override, verbose_level, input_roi_strategy, open_at_init, disable_pbar, False, rescale,
            linear_mode="intensity",
        )  # fmt: skip
        del self._selection

    def _make_device(self, given: OpuDevice | None, arguments: BenchArguments) -> OpuDevice:
        if given is not None:
            return super()._make_device(given, arguments)
        choice = self._selection or environment.selected(read_config(self.config_file).get("type"))
        return OpuDevice(
            choice.config["type"], device=choice.device, seed=choice.seed, name=str(choice.config["name"]),
            exclusive=choice.exclusive,
        )  # fmt: skip

    def fit1d(
        self, X: Any = None, n_features: int | None = None, packed: bool = False, online: bool = False, **override: Any
    ) -> None:
        """Prepare for vectors with features in one dimension, as `opusim.OPU.fit1d` does; `X` may hold any numbers.

        lightonml takes its shape from it, and as ones it counts what is not 0: programs fit on numbers that an encoder
        will make bits of. Times of 0 are none that are asked for.
        """
        super().fit1d(_seen(X, packed, self._values), n_features, packed, online, **override)

    def fit2d(
        self, X: Any = None, n_features: tuple[int, int] | None = None, packed: bool = False, online: bool = False,
        **override: Any,
    ) -> None:  # fmt: skip
        """Prepare for vectors with features in two dimensions, as `opusim.OPU.fit2d` does; see `fit1d`."""
        super().fit2d(_seen(X, packed, self._values), n_features, packed, online, **override)

    def _make_fit(
        self, X: Any, n_features: Any, packed: bool, online: bool, is_2d: bool, override: dict[str, Any]
    ) -> Any:
        # As lightonml's settings have it: 0 says that nothing is overridden.
        zeros = [name for name in ("exposure_us", "frametime_us") if _is_zero(override.get(name))]
        override = {name: value for name, value in override.items() if name not in zeros}
        return super()._make_fit(X, n_features, packed, online, is_2d, override)

    def linear_transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Return R x as `opusim.OPU.linear_transform` does by intensity; (1, n_components) for a single vector."""
        result = super().linear_transform(X, encoder_cls, decoder_cls)
        return result[None] if result.ndim == 1 else result

    @property
    def _shows_progress(self) -> bool:
        level = self.verbose_level if self.verbose_level >= 0 else get_verbose_level()
        return level >= 1 and not self.disable_pbar


def _is_zero(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and value == 0


def _seen(X: Any, packed: bool, shown: Values) -> Any:
    """Return what a fit looks at: which values are not 0; packed bits, and phases, as they are."""
    if X is None or packed is not False or not shown.binary:
        return X
    values = X if is_lazy(X) else as_numpy(X)[0]
    shown.check_dtype(values.dtype, packed)
    if isinstance(values, np.ndarray):
        refuse_not_finite("X", values, infinite=False)  # NaN is not 0, and no number either
    return values != 0


def _as_bytes(rows: np.ndarray) -> np.ndarray:
    """Return numbers as lightonml's simulator takes them: as uint8, cut to whole ones, modulo 256."""
    if rows.dtype.kind == "b" or rows.dtype == np.uint8:
        return rows.astype(np.uint8)
    if rows.dtype.kind == "f":
        # Beyond that, what a cast gives depends on the processor.
        if not (np.abs(rows) < 2.0**31).all():
            raise ValueError(
                "X holds numbers that are not finite, or as large as 2^31, but lightonml's simulator makes bytes of "
                "them."
            )
        whole = np.trunc(rows).astype(np.int64)
    else:
        whole = rows
    result = whole.astype(np.uint8)
    if not np.array_equal(result, rows):
        warn_outside(
            "X holds numbers that are no bytes: lightonml's simulator cuts them to whole numbers, modulo 256 (0.5, 1.7 "
            "and -1 are 0, 1 and 255). An encoder makes bits of numbers."
        )
    return result


class SimulatorOPU(OPU):
    """lightonml's simulator behind the same calls: |X R|^2, or X R, without mirrors, noise or camera.

    Made by ``OPU(simulated=True)``. Inputs are bytes: other numbers are cast to uint8 as lightonml casts them (0.5, 1.7
    and -1 are 0, 1 and 255), with a warning. `linear_transform` gives the real part of X R, divided
    as `rescale` says; lightonml does so too, on top of the 1 / sqrt(n_features) that R has.
    """

    device: Any

    @property
    def _values(self) -> Values:
        return BITS  # which it takes as bytes

    def _begin(
        self, n_components: int, opu_device: Any, max_n_features: int, config_file: str | Path,
        config_override: dict[str, Any] | None, verbose_level: int, input_roi_strategy: InputRoiStrategy | str,
        open_at_init: bool | None, disable_pbar: bool, simulated: bool, rescale: OutputRescaling | str,
    ) -> None:  # fmt: skip
        if simulated and opu_device is not None:
            raise ValueError("simulated is True and opu_device is given, but only one of them may be.")
        self.device = SimulatedOpuDevice() if opu_device is None else opu_device
        self._choose(rescale, input_roi_strategy, verbose_level, disable_pbar, config_file)
        self._config: dict[str, Any] = {}
        self._traits: InputTraits | None = None
        self._was_active: list[Any] = []
        self._n_features = validation.integer("max_n_features", max_n_features, low=1)
        self.n_components = n_components
        if open_at_init is None or open_at_init:
            self.open()

    def __repr__(self) -> str:
        """Say what it is."""
        return f"OPU(n_components={self.n_components}, max_n_features={self._n_features}, simulated=True)"

    @property
    def n_components(self) -> int:
        """Components of an output vector: columns of the matrix, which is drawn again when this is set."""
        return self._n_components

    @n_components.setter
    def n_components(self, value: int) -> None:
        self._n_components = validation.integer("n_components", value, low=1)
        self._draw()

    @property
    def max_n_components(self) -> int:
        """No limit but memory: pixels of the largest camera of a real device."""
        return 2048 * 1088

    @property
    def max_n_features(self) -> int:
        """Rows of the matrix, which is drawn again when this is set."""
        return self._n_features

    @max_n_features.setter
    def max_n_features(self, value: int) -> None:
        self._n_features = validation.integer("max_n_features", value, low=1)
        self._draw()

    def _draw(self) -> None:
        matrix = self.device.random_matrix
        if matrix is None or matrix.shape != (self._n_features, self._n_components):
            self.device.build_random_matrix(self._n_features, self._n_components)

    def version(self, devices: bool = False) -> str:
        """Return the version of the software, and with `devices` what the device says."""
        import opusim

        lines = [f"opusim version {opusim.__version__}"]
        return "\n".join(lines + ([self.device.versions()] if devices else []))

    def open(self) -> None:
        """Open it."""
        self.device.open()

    def close(self) -> None:
        """Close it; the fit is kept."""
        self.device.close()

    def _make_fit(
        self, X: Any, n_features: Any, packed: bool, online: bool, is_2d: bool, override: dict[str, Any]
    ) -> Any:
        traits, _ = describe(X, n_features, packed, is_2d, None)
        if traits.n_features_total > self._n_features:
            raise ValueError(
                f"n_features is {traits.shown}, but the matrix has {self._n_features} rows: set max_n_features."
            )
        self._traits = traits

    def _fields(self, X: Any, encoder_cls: Any, decoder_cls: Any) -> tuple[Any, np.ndarray, HostInput, dt.datetime]:
        """Return the encoder, X R for its output, that output, and when this began."""
        encoder, numbers = self._encode(X.compute() if is_lazy(X) else X, encoder_cls, decoder_cls)
        if self._traits is None:
            self._make_fit(numbers, None, False, False, False, {})
        assert self._traits is not None
        start = dt.datetime.now()
        data = HostInput.from_traits(numbers, self._traits)
        rows = data.array.reshape(data.n_samples, -1)
        if self._traits.packed:
            rows = np.unpackbits(rows, axis=1, count=self._traits.n_features_total)
        return encoder, self.device.fields(_as_bytes(rows).astype(np.float32)), data, start

    def _finish(self, values: np.ndarray, data: HostInput, start: dt.datetime, encoder: Any, decoder_cls: Any) -> Any:
        context = Context(fmt_type=FeaturesFormat.none, fmt_factor=0)
        context.from_opu(self.device, start, dt.datetime.now())
        return self._decode(ContextArray(data.shape_output(values), context), encoder, decoder_cls)

    def transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Return |X R|^2, float32 (*batch dimensions, n_components)."""
        encoder, field, data, start = self._fields(X, encoder_cls, decoder_cls)
        return data.like_input(self._finish(np.abs(field) ** 2, data, start, encoder, decoder_cls))

    def linear_transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Return the real part of X R, divided as `rescale` says."""
        encoder, field, data, start = self._fields(X, encoder_cls, decoder_cls)
        result = self._finish(np.ascontiguousarray(field.real), data, start, encoder, decoder_cls)
        scale = self._rescaling(data.traits.n_features_total, self._n_components)
        return data.like_input(divided(result, scale))

    def _fit_and_run(self, X: Any, n_features: Any, packed: bool, is_2d: bool, override: dict[str, Any]) -> Any:
        if X is None:
            raise InputTypeError("X is None, but it must be an array.")
        self._make_fit(X, n_features, packed, False, is_2d, override)
        return self.transform(X)

    def __getstate__(self) -> dict[str, Any]:
        """Return settings and fit."""
        return {**self.__dict__, "_was_active": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore settings and fit."""
        self.__dict__.update(state)
