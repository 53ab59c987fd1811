"""What the maps for scikit-learn and for PyTorch share: whose OPU it is, and who fitted it last."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from opusim.base.errors import warn_outside
from opusim.base.locks import new_lock
from opusim.drivers.inputs.traits import check_coder
from opusim.drivers.lowlevel.device import OpuDevice
from opusim.drivers.opu import OPU

_LOCK = new_lock()
# Modules whose lines a warning does not point at: ours, and those of the libraries that call them.
INSIDE = ("opusim.drivers.", "sklearn.", "torch.")


class SharedOpu:
    """The OPU that a map and its clones made for themselves; one at a time, so that old devices do not pile up."""

    def __init__(self) -> None:
        self._key: Any = None
        self._opu: OPU | None = None

    def get(self, key: dict[str, Any], make: Callable[[], OPU]) -> OPU:
        """Return the OPU made for `key`; call `make` if the last one was made for another key."""
        with _LOCK:
            if self._opu is None or key != self._key:
                self._opu, self._key = make(), dict(key)
            return self._opu


class OpuUser:
    """A map's dealings with its OPU.

    The map drives the OPU as lightonml's does: a fit sets its number of components and fits it. What the fit made is
    then kept in `opu_`, a copy with settings of its own on the same low-level device. So maps of different width, or
    with other features, take turns on one OPU: the device is set again whenever another one was at work.
    """

    n_components: int
    ndims: int
    n_2d_features: Any
    packed: bool
    simulated: bool
    max_n_features: int | None
    verbose_level: int
    linear: bool
    encoder: Any
    decoder: Any
    device: Any
    seed: int
    opu_: OPU
    encoder_: Any

    # ------------------------------------------------------------------ the OPU

    @property
    def opu(self) -> OPU:
        """The OPU that this map drives: the one that was given, or else its own, made when first asked for."""
        given = self.__dict__["opu"]
        if given is not None:
            if not isinstance(given, OPU):
                raise TypeError(
                    f"opu is {given!r} ({type(given).__name__}), but it must be an opusim.drivers.OPU or None."
                )
            return given
        key = self._opu_arguments()
        made = self.__dict__.get("_made")
        if made is None or made[0] != key:
            shared = self.__dict__.setdefault("_shared", SharedOpu())
            made = key, same_device(shared.get(key, lambda: self._make_opu(key)))
            self.__dict__["_made"] = made
        opu = made[1]
        if opu.n_components != self.n_components:
            opu.n_components = self.n_components
        opu.verbose_level = self.verbose_level
        return opu

    @opu.setter
    def opu(self, value: OPU | None) -> None:
        self.__dict__["opu"] = value

    def _opu_arguments(self) -> dict[str, Any]:
        """Return what tells one device from another; a map makes an OPU anew if one of them changes."""
        arguments = {"device": self.device, "seed": self.seed, "simulated": self.simulated}
        if self.max_n_features is not None:
            arguments["max_n_features"] = self.max_n_features
        return {**arguments, **self.bench_options}

    def _make_opu(self, arguments: dict[str, Any]) -> OPU:
        return OPU(self.n_components, verbose_level=self.verbose_level, **arguments)

    @property
    def bench_options(self) -> dict[str, Any]:
        """Arguments of its own OPU that a state which was loaded set, by name: they decide last bits."""
        return self.__dict__.get("_bench_options", {})

    @bench_options.setter
    def bench_options(self, value: dict[str, Any]) -> None:
        self.__dict__["_bench_options"] = value

    @property
    def fitted(self) -> bool:
        """Whether there is a fit."""
        return "opu_" in self.__dict__

    def open(self) -> None:
        """Open the device; nothing happens if it is open."""
        self.opu.open()

    def close(self) -> None:
        """Close the device, for all that use it; settings and fits are kept."""
        self.opu.close()

    def __enter__(self) -> Any:
        """Open the device."""
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the device, as lightonml's maps do, even if it was open before the with block."""
        self.close()

    # ------------------------------------------------------------------ fit and transform

    def _check_ndims(self) -> None:
        if isinstance(self.ndims, bool) or self.ndims not in (1, 2):
            raise ValueError(f"ndims is {self.ndims!r}, but it must be 1 or 2: the dimensions of a vector's features.")

    def _fit_encoder(self, X: Any, y: Any) -> Any:
        """Make `encoder_`, fit it, and return the bits that it makes of `X`."""
        for name, coder in (("encoder", self.encoder), ("decoder", self.decoder)):
            if coder is not None:
                check_coder(name, coder)
        encoder = self.encoder() if isinstance(self.encoder, type) else copy.deepcopy(self.encoder)
        if encoder is not None and X is not None and callable(getattr(encoder, "fit", None)):
            encoder.fit(X) if y is None else encoder.fit(X, y)
        self.__dict__["encoder_"] = encoder  # torch would register a module under both names
        if X is None or encoder is None:
            return X
        made = encoder.transform(X)
        self.opu._values.check_encoded(encoder, made)
        return made

    def _fit_opu(self, bits: Any, n_features: Any, packed: bool, online: bool) -> None:
        packed = packed or self.packed
        if self.ndims == 2 and packed and n_features is None:
            n_features = self.n_2d_features
        opu = self.opu
        with opu.device.lock if isinstance(opu.device, OpuDevice) else nullcontext():
            opu.n_components = self.n_components
            fit = opu.fit1d if self.ndims == 1 else opu.fit2d
            fit(bits, n_features=n_features, packed=packed, online=online)
            own = same_device(opu)
            if isinstance(opu.device, OpuDevice):
                # The device is set for this fit; what a program changes on it from here on holds for the map.
                opu.device.settings_owner = own._fit
        self.opu_ = own

    def _run(self, X: Any) -> Any:
        own = self.opu_
        if self.__dict__["opu"] is None:
            own.verbose_level = self.verbose_level
        if own.n_components != self.n_components or not isinstance(own.device, OpuDevice):
            # A simulator holds one matrix, which another map may have drawn in another size.
            own.n_components = self.n_components
        transform = own.linear_transform if self.linear else own.transform
        result = transform(X, encoder_cls=self.encoder_, decoder_cls=self.decoder)
        shape = np.shape(X)
        if self.encoder_ is not None and self.decoder is None and len(shape) > 1 and len(result) != shape[0]:
            raise ValueError(
                f"encoder makes {len(result)} vectors of the {shape[0]} of X, so that a decoder is needed to put the "
                "results together, but decoder is None."
            )
        return result


def same_device(opu: OPU) -> OPU:
    """Return an OPU with settings and fit of its own on the same low-level device."""
    if not isinstance(opu.device, OpuDevice):
        return copy.copy(opu)  # a deep copy of a simulator would draw its matrix again
    own = copy.deepcopy(opu)
    # The first one keeps the device in online mode, if it is, and ends that at its next fit or when closed.
    own._end_online()
    return own


class LightonNames(OpuUser):
    """A map under lightonml's names: it has its OPU from the start, chosen and fitted as lightonml's.

    Parameters
    ----------
    n_components, opu, ndims, n_2d_features, packed, max_n_features, verbose_level, linear
        As for `OPUMap`. The linear transform is by intensity only, as the product's.
    simulated : bool
        Whether to use lightonml's own simulator, free of noise; it needs `max_n_features`.

    Raises
    ------
    ValueError
        If `ndims` is neither 1 nor 2, or `simulated` is set without `max_n_features`.
    """

    def __init__(
        self,
        n_components: int,
        opu: OPU | None = None,
        ndims: int = 1,
        n_2d_features: Any = None,
        packed: bool = False,
        simulated: bool = False,
        max_n_features: int | None = None,
        verbose_level: int = -1,
        linear: bool = False,
    ) -> None:
        super().__init__(  # type: ignore[call-arg]
            n_components, opu, ndims, n_2d_features, packed, simulated, max_n_features, verbose_level, linear
        )
        self._begin()

    def _opu_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"simulated": self.simulated}
        if self.simulated:
            if self.max_n_features is None:
                raise ValueError("max_n_features is None, but with simulated=True it must be given.")
            arguments["max_n_features"] = self.max_n_features
        return arguments

    def _make_opu(self, arguments: dict[str, Any]) -> OPU:
        from opusim.drivers.compat.opu import OPU as LightonOPU

        return LightonOPU(n_components=self.n_components, **arguments)

    def _begin(self) -> None:
        """Check what lightonml's constructor checks, and make the OPU, or set the width of the given one."""
        self._check_ndims()
        given = self.__dict__["opu"]
        opu = self.opu
        if given is not None:
            from opusim.drivers.compat.simulated_device import SimulatedOpuDevice

            is_simulator = isinstance(opu.device, SimulatedOpuDevice)
            if is_simulator != bool(self.simulated):
                warn_outside(
                    f"simulated is {self.simulated!r}, but the opu that was given is "
                    f"{'a' if is_simulator else 'no'} noise-free simulator: the opu is used as it is.",
                    inside=INSIDE,
                )
            opu.n_components = self.n_components

    @property
    def n_components(self) -> int:  # type: ignore[override]
        """Components of an output vector. Setting it sets it on the OPU too, at once."""
        return self.__dict__["n_components"]

    @n_components.setter
    def n_components(self, value: int) -> None:
        self.__dict__["n_components"] = value
        if "opu" in self.__dict__:
            self.opu.n_components = value


NO_FIT = (
    "OPUMap was not fitted, so that it is fitted now, on the input of this call: its number of features and its mean "
    "number of ones. Call fit first to choose the data."
)
