"""The lenses: from lengths to grain, to light on a pixel, and to the angle at which a mirror lights the layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from opusim.base import validation
from opusim.base.parameters import Stage, parameter, parameters_of

if TYPE_CHECKING:
    from .camera import Camera
    from .laser import Laser
    from .modulator import Modulator

MAGNIFICATION, LENGTHS = "magnification", "lengths"
HELD = (MAGNIFICATION, LENGTHS)
"""What is held where a camera or a mirror array is put in place of another."""

LENGTH_FIELDS = ("illumination_focal_m", "exit_diameter_m", "stop_diameter_m", "focal_m")
"""What changes no light where the magnification is held."""

STATED_SHARE = 9.628874057059667e-10
"""What falls on a pixel of 5.5 um in the focal plane of a lens of .1 m without a stop: 5.5e-6^2 / (pi .1^2)."""

LARGEST_PIXEL_OVER_GRAIN = 100.0
"""As of `Camera.pixel_over_grain`."""

_SET_BY_F_NUMBER = ("held", "stop_diameter_m")
_LENGTHS_M = ("illumination_focal_m", "exit_diameter_m", "stop_diameter_m", "focal_m")
# How many times wider or narrower than the layer makes it the face may be stated: the rule is one of thumb.
_FACE_APART = 2.0


@dataclass(frozen=True)
class Optics(Stage):
    """The lens in front of the layer, the stop and the lens behind it.

    The mirrors lie in the front focal plane of the first lens, the layer in its back focal plane; the exit face of the
    layer lies in the front focal plane of the second lens, the sensor in its back focal plane.

    Parameters
    ----------
    held : {"magnification", "lengths"}
        What stays when a camera, or a mirror array, is put in place of another.
        "magnification": each one is re-magnified so that the grain keeps its size in pixels
        (`Camera.pixel_over_grain`), and a pixel its light, ``medium.transmission``. Neither pitch nor any length below
        changes the light of the layer on it; this is what version 1 of the presets did.
        "lengths": the lenses stay, and the lengths below say what follows. ``medium.transmission`` is the light of the
        pixel for which it was stated (`stated_share`); another pixel gets what falls on its own area.
    illumination_focal_m : float
        Focal length of the lens between mirrors and layer. Neighbouring mirrors light the layer at angles that are
        mirror pitch / focal length apart (Abbe's sine condition).
    exit_diameter_m : float
        Diameter of the face of the layer that shines: about the spot on it (`spot_m`) and twice the thickness of a
        layer that diffuses the light. It does not follow from the medium, but one that is more than twice or less than
        half of that is told (`opusim.Device.doubts`).
    stop_diameter_m : float
        Diameter of a round stop on that face; `inf` for none.
    focal_m : float
        Focal length of the lens between layer and sensor.
    pixel_integration : bool
        With "lengths", whether pixels integrate over their area, as many grains as the lengths give. If not they
        sample a point, whatever grain and pitch are: an idealisation, of outputs that are independent of each other.
        The face that shines is lit evenly then, by a layer that is thickened where its own thickness would not do that
        (`PhaseScreenMedium.evening`): the memory effect is narrower by as much than the lengths say. ``opusim info``
        tells where. A layer without gaps between screens cannot, and is refused.
    stated_share : float
        With "lengths", for which pixel, stop and focal length ``medium.transmission`` is stated, as the share of the
        light leaving the layer that falls on such a pixel: pitch^2 / (pi focal_m^2) (D / exit_diameter_m)^2, see
        Notes. The default is that of a pixel of 5.5 um, a focal length of .1 m and no stop (`Optics()` and the camera
        CMV2000).

    Raises
    ------
    TypeError, ValueError
        If a field is not what it may be, or stop and exit face contradict each other where lengths are held.

    Notes
    -----
    Both lenses keep Abbe's sine condition: a wave that leaves the layer at the angle a to the axis comes to the place
    focal_m sin(a) of the sensor (Goodman, Introduction to Fourier Optics, 3rd ed., section 5.2; Born and Wolf,
    Principles of Optics, 7th ed., section 4.5.1). The exit face shines by Lambert's law, evenly, so that of the power P
    which leaves it the irradiance

        E = P / (pi focal_m^2) (D / exit_diameter_m)^2

    falls on every place of the sensor, D being the smaller of stop and exit face: the cosine of Lambert's law is that
    of the solid angle of a place. The light on an area of one grain, (wavelength focal_m / D)^2, is radiance x
    wavelength^2 x pi / 4, whatever the lengths are: area times solid angle is conserved (docs/physics.md, section 3).
    P is the light on the mirrors that leaves them, times ``medium.transmission`` / stated_share
    (`layer_transmittance`).
    Lenses lose nothing beside `Dmd.efficiency` and ``medium.transmission``, and have no aberrations: behind a random
    medium those of the second do not show.

    The defaults are those of a bench whose mirrors lie .63 mrad apart, with the spot of one mirror on the layer .84 mm
    wide.
    """

    stage: ClassVar[str] = "optics"
    meant: ClassVar[Mapping[str, str]] = {
        "f_number": "it is optics.focal_m / optics.stop_diameter_m, set one of these",
        "numerical_aperture": "it is optics.stop_diameter_m / (2 optics.focal_m), set one of these",
    }

    held: str = parameter(MAGNIFICATION, choices=HELD, before=MAGNIFICATION)
    illumination_focal_m: float = parameter(
        12e-3, low=0.0, low_open=True, high=100.0, unit="m", shown="mm", before=12e-3
    )
    exit_diameter_m: float = parameter(5e-3, low=0.0, low_open=True, high=100.0, unit="m", shown="mm", before=5e-3)
    stop_diameter_m: float = parameter(
        math.inf, low=0.0, low_open=True, high=math.inf, unit="m", shown="mm", before=math.inf
    )
    focal_m: float = parameter(0.1, low=0.0, low_open=True, high=100.0, unit="m", shown="mm", before=0.1)
    pixel_integration: bool = parameter(
        False, off=False, imperfection="pixel integration", source="pixel integration", before=False
    )
    stated_share: float = parameter(STATED_SHARE, low=0.0, low_open=True, high=1.0, before=STATED_SHARE)

    @classmethod
    def of_f_number(cls, f_number: float, focal_m: float, **lengths: Any) -> Self:
        """Return optics of given lengths, with the stop that makes an f-number.

        Parameters
        ----------
        f_number : float
            Focal length of the lens behind the layer over the diameter of the stop: 1 / (2 numerical aperture).
        focal_m : float
            That focal length.
        **lengths
            Other fields than `held` and `stop_diameter_m`, which follow.

        Returns
        -------
        Optics
            Lengths are held.

        Raises
        ------
        TypeError, ValueError
            If a number is not above 0, the stop is wider than the face that shines, or a field is not one of those.
        """
        for name, value in lengths.items():
            if name in _SET_BY_F_NUMBER:
                what = f"f_number says it: {LENGTHS!r}" if name == "held" else "focal_m / f_number is it"
                raise TypeError(f"{name} is {value!r}, but of_f_number takes none: {what}.")
            if name not in parameters_of(cls):
                others = ", ".join(one for one in parameters_of(cls) if one not in (*_SET_BY_F_NUMBER, "focal_m"))
                raise TypeError(f"{name} is no field of the optics: others than f_number and focal_m are {others}.")
        f_number = validation.number("f_number", f_number, low=0.0, high=math.inf, low_open=True)
        focal_m = validation.number("focal_m", focal_m, low=0.0, high=math.inf, low_open=True)
        return cls(held=LENGTHS, focal_m=focal_m, stop_diameter_m=focal_m / f_number, **lengths)

    def _check_together(self) -> None:
        """Check the stop against the face that it is on, and both against the lens."""
        if not self.by_lengths:
            return
        if self.exit_diameter_m < self.stop_diameter_m < math.inf:
            raise ValueError(
                f"optics.stop_diameter_m is {self.stop_diameter_m!r}, but the face of the layer that shines is "
                f"{self.exit_diameter_m!r} m wide (optics.exit_diameter_m): a stop must not be larger, or must be inf "
                "for none."
            )
        if self.numerical_aperture > 1:
            raise ValueError(
                f"optics.focal_m is {self.focal_m!r} with {self.diameter_m!r} m of the layer shining: a numerical "
                f"aperture of {self.numerical_aperture:.3g}, but it must be at most 1. optics.focal_m must be at least "
                f"{self.diameter_m / 2:.3g}, or the stop smaller."
            )

    def left_without_effect(self, given: Collection[str]) -> list[str]:
        """Say which fields mean nothing as long as the magnification is held.

        Parameters
        ----------
        given : collection of str
            Names of the fields that were given.

        Returns
        -------
        list of str
            A sentence on those that differ from what they are by default; none where lengths are held.
        """
        if self.by_lengths:
            return []
        idle = [f"optics.{f.name}" for f in fields(self) if f.name in LENGTH_FIELDS and f.name in given]
        idle = [name for name in idle if getattr(self, name[7:]) != getattr(Optics, name[7:])]
        if not idle:
            return []
        return [
            f"{' and '.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect, because optics.held is "
            f"{self.held!r}: every camera is re-magnified, and no length changes its light. optics.held = {LENGTHS!r} "
            "would let lengths say what reaches a pixel."
        ]

    # ------------------------------------------------------------------ what follows from the lengths

    @property
    def by_lengths(self) -> bool:
        """Whether the lengths say what reaches a pixel."""
        return self.held == LENGTHS

    def without_effect(self) -> tuple[str, ...]:
        """Return the fields that change no frame of a device with these optics.

        Returns
        -------
        tuple of str
            Where the magnification is held, all fields of this class but `held`; none where lengths are held.
        """
        return () if self.by_lengths else tuple(f.name for f in fields(Optics) if f.name != "held")

    @property
    def diameter_m(self) -> float:
        """Diameter of what the camera sees of the layer, in metres: the smaller of stop and exit face."""
        return min(self.stop_diameter_m, self.exit_diameter_m)

    @property
    def numerical_aperture(self) -> float:
        """Sine of the half angle under which a pixel sees the layer: diameter / (2 focal length)."""
        return self.diameter_m / (2 * self.focal_m)

    @property
    def f_number(self) -> float:
        """Focal length over diameter."""
        return self.focal_m / self.diameter_m

    def grain_m(self, wavelength_m: float) -> float:
        """Return the width of a speckle grain on the sensor: wavelength x focal length / diameter.

        Parameters
        ----------
        wavelength_m : float
            Wavelength in metres.

        Returns
        -------
        float
            In metres.
        """
        return wavelength_m * self.focal_m / self.diameter_m

    def mirror_angle_rad(self, mirror_pitch_m: float) -> float:
        """Return the angle between the light of neighbouring mirrors on the layer: pitch / focal length.

        Parameters
        ----------
        mirror_pitch_m : float
            Distance between neighbouring mirrors in metres, `Dmd.pitch_m`: along the edges of mirrors, which on a
            diamond lattice stand at 45 degrees to its axes.

        Returns
        -------
        float
            In radians; of mirrors away from the axis the difference of the sines.
        """
        return mirror_pitch_m / self.illumination_focal_m

    def spot_m(self, wavelength_m: float, mirror_pitch_m: float) -> float:
        """Return the width of the square on the layer that holds the light of all mirrors.

        Parameters
        ----------
        wavelength_m : float
            Wavelength in metres.
        mirror_pitch_m : float
            Distance between mirrors in metres.

        Returns
        -------
        float
            Wavelength x focal length / pitch, in metres: over it the light of neighbouring mirrors, at its angles, is
            orthogonal, so that mirrors are modes. A narrower spot could not hold them all. The sides of the square are
            those of the mirrors: that of a diamond lattice stands on its corner.
        """
        return wavelength_m / self.mirror_angle_rad(mirror_pitch_m)

    def share_on(self, area_m2: float) -> float:
        """Return the share of the light that leaves the layer which falls on an area of the sensor.

        Parameters
        ----------
        area_m2 : float
            Area in square metres.

        Returns
        -------
        float
            The share area / (pi focal_m^2) x (diameter / exit diameter)^2: see Notes of the class.
        """
        passing = self.diameter_m / self.exit_diameter_m
        return area_m2 / (math.pi * self.focal_m * self.focal_m) * (passing * passing)

    def layer_transmittance(self, transmission: float) -> float:
        """Return the share of the light from the mirrors that leaves the layer towards the camera, in one polarisation.

        Parameters
        ----------
        transmission : float
            ``medium.transmission``: the light of the pixel for which it is stated.

        Returns
        -------
        float
            The share transmission / stated_share, which is at most 1 of a device that holds lengths.
        """
        return transmission / self.stated_share

    # ------------------------------------------------------------------ with the parts around

    def doubts(self, laser: Laser, dmd: Modulator, widening_m: float | None) -> list[str]:
        """Say where the face that shines is not the one that the layer makes of its spot.

        Parameters
        ----------
        laser : Laser
            The light.
        dmd : Modulator
            The mirrors.
        widening_m : float or None
            By how much the layer widens a spot (`Medium.widening_m`); None where that is not known.

        Returns
        -------
        list of str
            A sentence where lengths are held, and the face is more than twice or less than half as wide as spot and
            widening together.
        """
        if not self.by_lengths or widening_m is None:
            return []
        spot = self.spot_m(laser.wavelength_m, dmd.pitch_m)
        fitting = spot + widening_m
        if fitting / _FACE_APART <= self.exit_diameter_m <= fitting * _FACE_APART:
            return []
        # Not below what `check` asks for: area times solid angle is conserved.
        better = max(fitting, 2 / math.sqrt(math.pi) * spot)
        thicker = (self.exit_diameter_m - spot) / 2
        other = f", or medium.thickness_m = {thicker:.3g}" if thicker > 0 else ""
        return [
            f"optics.exit_diameter_m is {self.exit_diameter_m:g}, but a layer that diffuses the light, with a spot of "
            f"{spot:.3g} m on it and a thickness of {widening_m / 2:.3g} m, shines on about {fitting:.3g} m: spot + "
            f"2 x thickness. optics.exit_diameter_m = {better:.3g} would go with that{other}."
        ]

    def check(self, laser: Laser, dmd: Modulator, camera: Camera, transmission: float) -> None:
        """Raise an error where the parts around do not go with the lengths, or with none being held.

        Parameters
        ----------
        laser : Laser
            The light.
        dmd : Modulator
            The mirrors.
        camera : Camera
            The camera.
        transmission : float
            ``medium.transmission``.

        Raises
        ------
        ValueError
            If a length is below the wavelength, area times solid angle would not be conserved, a part is wider than
            its lens can take, more light would leave the layer than comes to it, or pixels are to integrate over a
            grain that no lengths give, or that is far too large or too small for them.
        """
        from .camera import LEAST_PIXEL_OVER_GRAIN  # numpy, which the command line does not load at its start

        if not self.by_lengths:
            if self.pixel_integration:
                raise ValueError(
                    f"optics.pixel_integration is True, but optics.held is {self.held!r}: the grain in pixels does not "
                    f"follow from lengths then. Set camera.pixel_over_grain, or optics.held = {LENGTHS!r}."
                )
            return
        for name in _LENGTHS_M:
            if getattr(self, name) < laser.wavelength_m:
                raise ValueError(
                    f"optics.{name} is {getattr(self, name)!r}, but it must be at least laser.wavelength_m, "
                    f"{laser.wavelength_m!r} m: these are laws of parts that are larger than a wave of the light."
                )
        if transmission > self.stated_share:
            raise ValueError(
                f"medium.transmission is {transmission!r}, but it must be at most optics.stated_share, "
                f"{self.stated_share!r}: transmission / stated_share, {self.layer_transmittance(transmission):.4g}, of "
                "the light from the mirrors would leave the layer. medium.transmission is the share that reaches one "
                "pixel."
            )
        sine = dmd.half_diagonal_m / self.illumination_focal_m
        if sine > 1:
            raise ValueError(
                f"optics.illumination_focal_m is {self.illumination_focal_m!r}, but the half diagonal of the "
                f"mirrors is {sine * self.illumination_focal_m:.4g} m, {sine:.3g} of it, which is the sine of an "
                "angle: the focal length must not be shorter than the half diagonal."
            )
        spot = self.spot_m(laser.wavelength_m, dmd.pitch_m)
        least = 2 / math.sqrt(math.pi) * spot
        if self.exit_diameter_m < least:
            raise ValueError(
                f"optics.exit_diameter_m is {self.exit_diameter_m!r}, but it must be at least {least:.4g}: each of "
                f"{dmd.n_mirrors:,} mirrors is a mode, and fills wavelength^2 of area times solid angle. At angles of "
                f"{self.mirror_angle_rad(dmd.pitch_m):.4g} rad a mirror (dmd.pitch_m / optics.illumination_focal_m) "
                f"they light a square of {spot:.4g} m of the layer, and no layer makes that smaller."
            )
        reach = _diagonal(camera.shape) * camera.pixel_pitch_m / 2
        if reach > self.focal_m:
            raise ValueError(
                f"camera.shape is {list(camera.shape)} at a pitch of {camera.pixel_pitch_m!r} m: a half diagonal of "
                f"{reach:.4g} m, but it must be at most optics.focal_m, {self.focal_m!r} m. Light at the angle a comes "
                "to focal length x sin(a), so that the field of a larger sensor ends before it does."
            )
        if camera.pixel_over_grain:
            shining = camera.pixel_over_grain * laser.wavelength_m * self.focal_m / camera.pixel_pitch_m
            raise ValueError(
                f"camera.pixel_over_grain is {camera.pixel_over_grain!r}, but optics.held is {LENGTHS!r}: pitch, "
                "wavelength, focal length and diameter say how many grains a pixel is wide, so it must be 0. "
                f"optics.pixel_integration = true with optics.exit_diameter_m = {shining:.4g} would give such pixels, "
                f"or optics.held = {MAGNIFICATION!r} (Device.remagnified, which keeps the light of a pixel)."
            )
        ratio = camera.pixel_pitch_m / self.grain_m(laser.wavelength_m)
        if self.pixel_integration and ratio > LARGEST_PIXEL_OVER_GRAIN:
            raise ValueError(
                f"optics.pixel_integration is True, and a pixel of {camera.pixel_pitch_m!r} m is {ratio:.4g} grains of "
                f"{self.grain_m(laser.wavelength_m):.4g} m wide, but it may be {LARGEST_PIXEL_OVER_GRAIN:g} at most: "
                "a smaller stop or a longer optics.focal_m makes larger grains."
            )
        if self.pixel_integration and ratio < LEAST_PIXEL_OVER_GRAIN:
            raise ValueError(
                f"optics.pixel_integration is True, and a pixel of {camera.pixel_pitch_m!r} m is {ratio:.4g} grains of "
                f"{self.grain_m(laser.wavelength_m):.4g} m wide, but it must be {LEAST_PIXEL_OVER_GRAIN:g} at least: "
                "a wider stop or a shorter optics.focal_m makes smaller grains."
            )


def _diagonal(shape: tuple[int, int]) -> float:
    return math.sqrt(shape[0] * shape[0] + shape[1] * shape[1])
