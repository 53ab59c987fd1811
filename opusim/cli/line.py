"""The line of light as text: a drawing with its lengths, and what follows from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from opusim.device.optics import LENGTHS

if TYPE_CHECKING:
    from opusim.device.record import Device

_UNITS = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"))


def metres(length_m: float) -> str:
    """Return a length in metres, millimetres or micrometres, with three digits.

    Parameters
    ----------
    length_m : float
        In metres.

    Returns
    -------
    str
        Such as "12 mm".
    """
    size, unit = next((one for one in _UNITS if length_m >= 0.9995 * one[0]), (1e-9, "nm"))
    return f"{length_m / size:.3g} {unit}"


def told_held(table: Mapping[str, Any], varied: Collection[str] = ()) -> str:
    """Return what stays where parts of a device are varied, in words.

    Parameters
    ----------
    table : mapping
        The device, as `Device.to_dict` gives it now or gave it once.
    varied : collection of str
        Dotted paths of what is varied.

    Returns
    -------
    str
        Which of the two of `opusim.Optics.held`; with lengths also whether pixels see the grain.
    """
    optics = table.get("optics", {})
    if optics.get("held") == LENGTHS:
        if not optics.get("pixel_integration", False) and "optics.pixel_integration" not in varied:
            return (
                "the lengths of the optics: light on a pixel goes by its pitch; pixels sample points "
                "(optics.pixel_integration off), so that only light and noise follow, and not the grain"
            )
        return "the lengths of the optics: light and grain on a pixel go by its pitch"
    return "the magnification: light of a pixel and grain in pixels stay, whatever the pitch"


def drawing(device: Device) -> str:
    """Return the line of light from the laser to the camera, with its lengths where these are held.

    Parameters
    ----------
    device : Device
        The device.

    Returns
    -------
    str
        Three lines of at most 80 columns: names, light, sizes.
    """
    optics = device.optics
    held = optics.by_lengths
    # (name, sign, size) of a part; a text is the way to the next.
    first = f"-{metres(optics.illumination_focal_m)}-" if held else "-----"
    second = f"-{metres(optics.focal_m)}-" if held else "-----"
    parts: list[tuple[str, str, str] | str] = [
        ("laser", "*", metres(device.laser.wavelength_m)), "-",
        ("DMD", "|", metres(device.dmd.pitch_m)), first, ("lens", "()", ""), first,
        ("layer", "[##]", metres(optics.exit_diameter_m) if held else ""),
    ]  # fmt: skip
    if held and optics.diameter_m < optics.exit_diameter_m:
        parts += ["-", ("stop", ":", metres(optics.diameter_m))]
    parts += [second, ("lens", "()", ""), second, ("camera", "|", metres(device.camera.pixel_pitch_m))]
    rows = ["", "", ""]
    for i, one in enumerate(parts):
        name, sign, size = ("", one, "") if isinstance(one, str) else one
        width = max(map(len, (name, sign, size)))
        # No light before the laser and behind the camera.
        light = {0: sign.rjust(width), len(parts) - 1: sign.ljust(width)}.get(i, sign.center(width, "-"))
        for k, text in enumerate((name.center(width), light, size.center(width))):
            rows[k] += text
    return "\n".join(row.rstrip() for row in rows)


def lengths(device: Device, exposure_s: float) -> list[tuple[str, str]]:
    """Return what follows from the lengths, or what is held in their place.

    Parameters
    ----------
    device : Device
        The device.
    exposure_s : float
        Exposure in seconds.

    Returns
    -------
    list of (str, str)
        Name and value of each.
    """
    optics, camera, wavelength_m = device.optics, device.camera, device.laser.wavelength_m
    half = device.photons_per_intensity(exposure_s) * device.dmd.n_mirrors / 2
    light = f"{half:.3g} photons with half the mirrors on, {device.pixel_share:.3g} of the mirrors' light"
    light += "" if camera.polarised else " in either polarisation"
    watts = half * device.laser.photon_energy_j / exposure_s / camera.pixel_pitch_m**2
    if not optics.by_lengths:
        grain = f"{camera.pixel_over_grain:g} grains wide" if camera.pixel_over_grain else "points, far below a grain"
        return [
            (
                "held",
                "the magnification: re-magnified for each camera, grain in pixels and light of a pixel stay",
            ),
            ("angle a mirror", "that of the grid of modes: wavelength / (side x medium.step_m)"),
            ("pixels", grain),
            ("light of a pixel", light),
        ]
    pitch_m = device.dmd.pitch_m
    sine = (device.dmd.shape[0] ** 2 + device.dmd.shape[1] ** 2) ** 0.5 * pitch_m / 2 / optics.illumination_focal_m
    grain_m = optics.grain_m(wavelength_m)
    ratio = camera.pixel_pitch_m / grain_m
    pixel_rad = camera.pixel_pitch_m / optics.focal_m
    spot_m = optics.spot_m(wavelength_m, pitch_m)
    through = optics.layer_transmittance(device.medium.transmission)
    whole = optics.share_on(camera.n_pixels * camera.pixel_pitch_m**2)
    rows, columns = (n * camera.pixel_pitch_m for n in camera.shape)
    area = "integrates over its area" if optics.pixel_integration else "samples a point (an idealisation)"
    return [
        ("held", "the lengths: another camera gets the light that falls on its pixels"),
        (
            "angle a mirror",
            f"{1e3 * optics.mirror_angle_rad(pitch_m):.3g} mrad, {metres(pitch_m)} / "
            f"{metres(optics.illumination_focal_m)}; a sine of {sine:.2g} in the corners",
        ),
        ("spot on the layer", f"a square of {metres(spot_m)}, wavelength / angle a mirror"),
        (
            "layer seen by the camera",
            f"{metres(optics.diameter_m)} across"
            + (", a stop" if optics.diameter_m < optics.exit_diameter_m else ", its exit face"),
        ),
        (
            "lens to the sensor",
            f"{metres(optics.focal_m)}: numerical aperture {optics.numerical_aperture:.3g}, f/{optics.f_number:.3g}",
        ),
        ("sensor", f"{metres(rows)} x {metres(columns)}, {pixel_rad * 1e6:.3g} µrad a pixel"),
        ("grain", f"{metres(grain_m)}, wavelength x {metres(optics.focal_m)} / {metres(optics.diameter_m)}"),
        ("pixel", f"{ratio:.3g} grains wide; {area}"),
        ("layer", f"{100 * through:.3g} % of the mirrors' light leave it in one polarisation"),
        ("light of a pixel", light),
        ("irradiance", f"{1e3 * watts:.3g} mW per square metre with half the mirrors on"),
        ("light on the sensor", f"{100 * whole:.2g} % of what leaves the layer"),
    ]  # fmt: skip
