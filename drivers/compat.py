"""The OPU under lightonml's names: what programs for the product get, of either generation.

It differs from `opusim.OPU` in three things: `linear_transform` is always put together from intensities, as the
product did it; the device comes from the environment or a device's json, as there are no arguments for it
(`opusim.drivers.environment`); and ``simulated=True`` gives lightonml's own noise-free simulator.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from opusim import validation

from . import environment
from .device import OpuDevice
from .opu import OPU as _OPU
from .settings import read_config
from .simulated_device import SimulatedOpuDevice
from .types import InputRoiStrategy, OutputRescaling

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
    n_components, opu_device, max_n_features, config_file, config_override, verbose_level, input_roi_strategy,
    open_at_init, disable_pbar, simulated, rescale, features_fmt, dmd_strategy : object
        As for `opusim.OPU`; `verbose_level` -1 follows `set_verbose_level`. With ``simulated=True``, or an
        `opu_device` that is a `SimulatedOpuDevice`, the OPU is lightonml's simulator: |X R|^2 in float32, no noise, a
        stored matrix of `max_n_features` rows. The oldest programs pass two times in microseconds by position,
        ``OPU(frametime_us, exposure_us)``, and no number of components: a whole number in the place of `opu_device` is
        read so.

    Raises
    ------
    ValueError
        If `simulated` comes with an `opu_device`.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> OPU:
        """Make the simulator where one is asked for."""
        if cls is OPU and _wants_simulator(args, kwargs):
            from .simulated_opu import SimulatorOPU

            return object.__new__(SimulatorOPU)
        return object.__new__(cls)

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
        if isinstance(opu_device, int) and not isinstance(opu_device, bool):
            times = {"input": {"frametime_us": n_components}, "output": {"exposure_us": opu_device}}
            n_components, opu_device, config_override = 200000, None, config_override or times
        # Asked once: it says which configuration is read, and what `_make_device` makes.
        self._selection = None if config_file else environment.selected()
        super().__init__(
            n_components,
            opu_device,  # type: ignore[arg-type]
            max_n_features,
            config_file or (self._selection and self._selection.config_path) or "",
            config_override,
            verbose_level,
            input_roi_strategy,
            open_at_init,
            disable_pbar,
            False,
            rescale,
            linear_mode="intensity",
        )
        del self._selection

    def _make_device(self, given: OpuDevice | None, **arguments: Any) -> OpuDevice:
        if given is not None:
            return super()._make_device(given)
        choice = self._selection or environment.selected(read_config(self.config_file).get("type"))
        return OpuDevice(
            choice.config["type"], device=choice.device, seed=choice.seed, name=str(choice.config["name"]),
            exclusive=choice.exclusive,
        )  # fmt: skip

    def linear_transform(self, X: Any, encoder_cls: Any = None, decoder_cls: Any = None) -> Any:
        """Return R x as `opusim.OPU.linear_transform` does by intensity; (1, n_components) for a single vector."""
        result = super().linear_transform(X, encoder_cls, decoder_cls)
        return result[None] if result.ndim == 1 else result

    @property
    def _shows_progress(self) -> bool:
        level = self.verbose_level if self.verbose_level >= 0 else get_verbose_level()
        return level >= 1 and not self.disable_pbar


_POSITION = {name: i for i, name in enumerate(list(inspect.signature(OPU.__init__).parameters)[1:])}


def _wants_simulator(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    def given(name: str) -> Any:
        place = _POSITION[name]
        return args[place] if len(args) > place else kwargs.get(name)

    return bool(given("simulated")) or isinstance(given("opu_device"), SimulatedOpuDevice)
