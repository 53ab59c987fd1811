"""What is asked of a driver by what stands above it and takes any: the parts that it may have, by name.

An `OPU` has all of them. Training and sweeps are given a driver and import none; `has` tells which parts it has.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from opusim.device.modulator import Modulator

from .protocol import Identified, has

__all__ = [
    "Calibrating", "Fitting", "Moded", "OnBench", "Projecting", "Sized", "bench_of", "check_device_of_bits",
    "check_driver_of_bits",
]  # fmt: skip


@runtime_checkable
class Projecting(Protocol):
    """All that training by light needs of a driver."""

    def linear_transform(self, X: Any) -> Any:
        """Show vectors and return numbers that are linear in them.

        Parameters
        ----------
        X : ndarray of uint8, shape (n, features)
            Zeros and ones.

        Returns
        -------
        ndarray, shape (n, outputs)
            Real numbers.
        """
        ...


@runtime_checkable
class Sized(Protocol):
    """A driver that says how many outputs it gives."""

    @property
    def n_components(self) -> int:
        """Outputs of a vector."""
        ...


@runtime_checkable
class Fitting(Protocol):
    """A driver that is to be told what will be shown."""

    def fit1d(self, X: Any = None, *, n_features: int | None = None) -> Any:
        """Prepare for vectors.

        Parameters
        ----------
        X : ndarray, optional
            Vectors such as will be shown.
        n_features : int, optional
            Their length, without them.

        Returns
        -------
        object
            The driver.
        """
        ...


@runtime_checkable
class Calibrating(Protocol):
    """A driver that calibrates its linear transform by holography."""

    def calibrate(self, *, steps: int = 4, exposure_s: float | None = None, store: bool = True) -> Any:
        """Calibrate anew.

        Parameters
        ----------
        steps : int
            Phase steps.
        exposure_s : float, optional
            Exposure in seconds.
        store : bool
            Whether to keep it for other processes.

        Returns
        -------
        object
            What was found.
        """
        ...


@runtime_checkable
class Moded(Protocol):
    """A driver with several ways to a linear transform; its `device` says whether it `has_reference`.

    Attributes
    ----------
    linear_mode : str
        One of the OPU's (`opusim.bench.linear_modes`), where "auto" leaves the choice to the device; or a name of its
        own.
    """

    linear_mode: str

    @property
    def device(self) -> Any:
        """What it drives."""
        ...


@runtime_checkable
class OnBench(Protocol):
    """A driver whose ``device.bench`` is a bench."""

    @property
    def device(self) -> Any:
        """What it drives, with a `bench`."""
        ...


class _Below(Protocol):
    bench: Any


def bench_of(driver: Any) -> Any:
    """Return the bench that a driver stands on, or None if it does not say.

    Parameters
    ----------
    driver : object
        An `OPU`, or anything that projects.

    Returns
    -------
    object or None
        The bench.
    """
    return driver.device.bench if has(driver, OnBench) and has(driver.device, _Below) else None


def check_device_of_bits(device: Any, what: str) -> None:
    """Refuse a device that shows phases to what makes bits of its own: as levels they would hardly differ.

    Parameters
    ----------
    device : object
        A `Device`, or what a bench says that it is.
    what : str
        What shows bits, as the sentence begins.

    Raises
    ------
    ValueError
        If its modulator turns phases.
    """
    modulator = getattr(device, "dmd", None)
    if isinstance(modulator, Modulator) and not modulator.binary:
        raise ValueError(
            f"{what} shows bits, but the device {getattr(device, 'name', '')!r} has a phase modulator, which is "
            "neither on nor off: it must be a device with micromirrors."
        )


def check_driver_of_bits(driver: Any, what: str) -> None:
    """Refuse a driver whose device shows phases, as `check_device_of_bits` does; one that does not say is taken.

    Parameters
    ----------
    driver : object
        An `OPU`, or anything that projects.
    what : str
        What shows bits, as the sentence begins.

    Raises
    ------
    ValueError
        If its modulator turns phases.
    """
    bench = bench_of(driver)
    if has(bench, Identified):
        check_device_of_bits(bench.device, what)
