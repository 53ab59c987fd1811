"""Ways to a linear transform by name, as `OPU.linear_mode` has them, and what "auto" means.

A way is a class of `LinearMode` beside its method, in one file; it registers itself, and the `OPU`, tasks, feedbacks,
commands and plans then know it. Our own are the files of ``opusim.drivers.methods``, which are found by listing the
folder; those of other packages are found as ``opusim.base.plugins`` says. The registry stands below the drivers, as
`Moded` does: tasks and feedbacks ask it too, and know no driver.

Such a file is imported when any way is asked for by name: what takes long to load (a calibration, scipy) is imported in
the functions that need it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from opusim.base.parameters import near_matches
from opusim.base.plugins import Registry

if TYPE_CHECKING:
    from opusim.base.arrays import Arrays
    from opusim.drivers.fit import Fit
    from opusim.drivers.lowlevel.device import OpuDevice
    from opusim.drivers.lowlevel.settings_of_frame import FrameSettings
    from opusim.drivers.methods.base import Method

__all__ = ["AUTO", "LINEAR", "LinearMode", "checked", "chosen", "field_mode", "is_known", "names"]

#: What leaves the choice to the device.
AUTO = "auto"

LINEAR: Registry[LinearMode] = Registry(
    "linear mode", "opusim.drivers.methods", marker=r"^class \w+\(.*LinearMode.*\):"
)
"""Ways to a linear transform by name."""


class LinearMode(ABC):
    """A way to a linear transform: how its `Method` is made for a fit. A subclass that has a name registers itself.

    Results are R x with entries of R of mean square 1: the OPU divides them as `rescale` says.

    Attributes
    ----------
    name : str
        What `linear_mode` calls it.
    what : str
        What it is, in a few words, for tables and help.
    needs_reference : bool
        Whether it cannot do without a reference arm.
    needs_bits : bool
        Whether it combines vectors as bits, so that phases are nothing to it.
    calibrated : bool
        Whether it goes by the calibration that `OPU.calibrate` makes, and has its exposure.
    gives_fields : bool
        Whether it can return the field itself, for `OPU.field_transform`.
    auto : bool
        Whether "auto" may take it. It takes the first one, in order, that the device has what it needs for; one of
        another package only once that is imported.
    order : float
        Its place among the others; our own are below 100.
    """

    name: ClassVar[str]
    what: ClassVar[str] = ""
    needs_reference: ClassVar[bool] = False
    needs_bits: ClassVar[bool] = False
    calibrated: ClassVar[bool] = False
    gives_fields: ClassVar[bool] = False
    auto: ClassVar[bool] = False
    order: ClassVar[float] = 100.0

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Register a class that has a name."""
        super().__init_subclass__(**keywords)
        name = vars(cls).get("name")
        if name is None:
            return
        if name == AUTO:
            raise ValueError(f"The name of a linear mode is {AUTO!r}, but that leaves the choice to the device.")
        LINEAR.add(name, cls(), origin=f"{cls.__module__}:{cls.__qualname__}", order=cls.order)

    @abstractmethod
    def prepare(
        self, fit: Fit, device: OpuDevice, settings: FrameSettings, n_out: int, place: Arrays, *, complex_output: bool
    ) -> tuple[Method, FrameSettings]:
        """Return the method for a fit, and the settings of its frames; called for every transform.

        Parameters
        ----------
        fit : Fit
            How vectors are shown. What is computed once for it may be kept in ``fit.kept``, what is measured in
            ``fit.measured``, which copies carry.
        device : OpuDevice
            What shows them.
        settings : FrameSettings
            Region, times and gain of the device.
        n_out : int
            Outputs of a vector, the first pixels of the region.
        place : Arrays
            Where the light is computed.
        complex_output : bool
            Whether the field itself is asked for; never, unless the mode `gives_fields`.

        Returns
        -------
        Method
            Its results have `n_out` columns.
        FrameSettings
            The same region.
        """

    @abstractmethod
    def planned(
        self, fit: Fit, device: OpuDevice, settings: FrameSettings, n_out: int, steps: int
    ) -> tuple[Method, FrameSettings]:
        """Return what `prepare` would, for plans of work: nothing is shown, what would be measured is made up.

        Parameters
        ----------
        fit, device, settings, n_out : object
            As for `prepare`.
        steps : int
            Phase steps, where their number is free.

        Returns
        -------
        Method
            One that takes as many frames, and `rehearsed` as long to decode.
        FrameSettings
            Theirs.
        """


def names() -> tuple[str, ...]:
    """Return all that `linear_mode` may be, other packages' ways too.

    Returns
    -------
    tuple of str
        "auto", and the names of the ways in order.
    """
    return (AUTO, *LINEAR)


def is_known(value: Any) -> bool:
    """Return whether `linear_mode` may be a value.

    Parameters
    ----------
    value : object
        What is asked for.

    Returns
    -------
    bool
        Whether it is "auto" or the name of a way.
    """
    return isinstance(value, str) and (value == AUTO or value in LINEAR)


def checked(name: str, value: Any) -> str:
    """Return a linear mode after a look whether there is one of that name.

    Parameters
    ----------
    name : str
        What the argument is called, for the message.
    value : object
        What was given.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ValueError
        If it is none: it tells those that there are.
    """
    if is_known(value):
        return value
    known = names()
    near = near_matches(str(value), known)
    raise ValueError(f"{name} is {value!r}, but it must be one of {', '.join(map(repr, known))}{near}.")


def chosen(asked: str, has_reference: bool) -> LinearMode:
    """Return the mode of a name on a device with or without a reference arm; what it needs is not asked.

    Parameters
    ----------
    asked : str
        One of `names`.
    has_reference : bool
        Whether there is an arm: what "auto" takes depends on it.

    Returns
    -------
    LinearMode
        The way.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if asked != AUTO:
        return LINEAR[checked("linear_mode", asked)]
    own = (LINEAR[name] for name in LINEAR.own())
    return next(mode for mode in own if mode.auto and (has_reference or not mode.needs_reference))


def field_mode(asked: str) -> str:
    """Return the name of the mode that gives fields.

    Parameters
    ----------
    asked : str
        One of `names`.

    Returns
    -------
    str
        The one that is asked for if it can, else the first that can.
    """
    if asked != AUTO and LINEAR[asked].gives_fields:
        return asked
    return next(name for name in LINEAR.own() if LINEAR[name].gives_fields)
