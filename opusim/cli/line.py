"""The line of light as text: a drawing with its lengths, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
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
    first = f"-{metres(optics.illumination_focal_m)}-" if held else "-----"
    second = f"-{metres(optics.focal_m)}-" if held else "-----"
    face, after = metres(optics.exit_diameter_m) if held else "", []
    middle: Callable[[str, int, str], str] = str.center
    if held and optics.diameter_m < optics.exit_diameter_m:
        # The stop touches the face that it is on; a space parts their words.
        middle, after = str.rjust, [(" stop", ":", f" {metres(optics.diameter_m)}", str.ljust)]
    shows = (device.dmd.kind.upper(), "|", metres(device.dmd.pitch_m), str.center)
    relay = ["-", ("relay", "(:)", "", str.center)] if device.fourier_stop.present else []
    # (name, sign, size, side of all three) of a part; a text is the way to the next.
    parts: list[Any] = [
        ("laser", "*", metres(device.laser.wavelength_m), str.rjust), "-",
        shows, *relay, first, ("lens", "()", "", str.center), first,
        ("layer", "[##]", face, middle), *after, second, ("lens", "()", "", str.center), second,
        ("camera", "|", metres(device.camera.pixel_pitch_m), str.ljust),
    ]  # fmt: skip
    rows = ["", "", ""]
    for i, one in enumerate(parts):
        name, sign, size, side = ("", one, "", str.center) if isinstance(one, str) else one
        width = max(map(len, (name, sign, size)))
        # No light before the laser and behind the camera.
        light = side(sign, width, " " if i in (0, len(parts) - 1) else "-")
        for k, text in enumerate((side(name, width, " "), light, side(size, width, " "))):
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
    from opusim.device.lattice import DIAMOND  # numpy, which the command line does not load at its start

    optics, camera, wavelength_m = device.optics, device.camera, device.laser.wavelength_m
    # A phase modulator lights all of its pixels.
    binary = device.dmd.binary
    lit, one = ("half the mirrors on", "mirror") if binary else ("all pixels lit", "modulator pixel")
    its = "mirrors'" if binary else "modulator's"
    half = device.photons_per_intensity(exposure_s) * device.dmd.n_mirrors / (2 if binary else 1)
    light = f"{half:.3g} photons with {lit}, {device.pixel_share:.3g} of the {its} light"
    light += "" if camera.polarised else " in either polarisation"
    watts = half * device.laser.photon_energy_j / exposure_s / camera.pixel_pitch_m**2
    if not optics.by_lengths:
        grain = "points, far below a grain"
        if camera.pixel_over_grain:
            grain = f"{camera.pixel_over_grain:g} grains wide: a grain is {_count(1 / camera.pixel_over_grain)}"
        return [
            (
                "held",
                "the magnification: re-magnified for each camera, grain in pixels and light of a pixel stay",
            ),
            *_relay(device),
            (f"angle a {one}", "that of the grid of modes: wavelength / (side x medium.step_m)"),
            ("pixels", grain),
            ("light of a pixel", light),
            *_frequency(device),
            *_reference(device),
        ]
    pitch_m = device.dmd.pitch_m
    sine = device.dmd.half_diagonal_m / optics.illumination_focal_m
    # A diamond lattice is a square one that is turned, and so is all that follows from it.
    turned = ", turned by 45 degrees as the mirrors are" if device.dmd.lattice == DIAMOND else ""
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
        *_relay(device),
        (
            f"angle a {one}",
            f"{1e3 * optics.mirror_angle_rad(pitch_m):.3g} mrad, {metres(pitch_m)} / "
            f"{metres(optics.illumination_focal_m)}; a sine of {sine:.2g} in the corners",
        ),
        ("spot on the layer", f"a square of {metres(spot_m)}, wavelength / angle a {one}{turned}"),
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
        (
            "grain",
            f"{metres(grain_m)}, {_count(1 / ratio)}: wavelength x {metres(optics.focal_m)} / "
            f"{metres(optics.diameter_m)}",
        ),
        ("pixel", f"{ratio:.3g} grains wide; {area}"),
        ("layer", f"{100 * through:.3g} % of the {its} light leave it in one polarisation"),
        *_thickened(device),
        ("light of a pixel", light),
        ("irradiance", f"{1e3 * watts:.3g} mW per square metre with {lit}"),
        ("light on the sensor", f"{100 * whole:.2g} % of what leaves the layer"),
        *_frequency(device),
        *_reference(device),
    ]  # fmt: skip


def _relay(device: Device) -> list[tuple[str, str]]:
    """Return what the Fourier stop lets pass, if there is one."""
    stop = device.fourier_stop
    if not stop.present:
        return []
    d = stop.diameter_cycles
    spot = f"spots of {1 / d:.3g} mirrors on their image"
    if device.optics.by_lengths:
        lit_m = d * device.optics.spot_m(device.laser.wavelength_m, device.dmd.pitch_m)
        spot += f", {metres(lit_m)} of the spot on the layer"
    return [("Fourier stop", f"{stop.text('diameter_cycles')} wide: {spot}")]


def _frequency(device: Device) -> list[tuple[str, str]]:
    """Tell how the medium takes the line of the laser, its tuning, and warmth; nothing of a device without any."""
    from opusim.device.lines import spectral_width

    laser, medium = device.laser, device.medium
    warm = medium.equivalent_shift(1.0, 0.0)
    if not medium.disperses or not (laser.linewidth_hz or laser.tuning_range_hz or warm):
        return []
    width = spectral_width(medium, laser.wavelength_m)
    law = getattr(medium, "spectral_law", "medium")
    away = f"half as alike {_hertz(width * laser.frequency_hz)} away" if width < math.inf else "alike at any frequency"
    rows = [("speckle", f"{away}, by the law of the {law}")]
    if laser.linewidth_hz:
        told = f"{_hertz(laser.linewidth_hz)} wide, {laser.line}: leaves a contrast of {device.line_contrast:.3g}"
        rows.append(("line of the laser", f"{told}, as the sum of {len(device.sampling.lines)} frequencies"))
    if warm:
        rows.append(("a kelvin more", f"is as a laser tuned by {_hertz(warm * laser.frequency_hz)}"))
    return rows


def _hertz(hz: float) -> str:
    power = min(4, max(0, int(math.log10(abs(hz) or 1.0) // 3)))
    return f"{hz / 1000**power:.3g} {('Hz', 'kHz', 'MHz', 'GHz', 'THz')[power]}"


def _thickened(device: Device) -> list[tuple[str, str]]:
    """Tell by how much the layer is thickened in front of bare mirrors, so that its exit face is lit evenly."""
    from opusim.device.medium import PhaseScreenMedium

    medium, angle = device.medium, device.optics.mirror_angle_rad(device.dmd.pitch_m)
    if not isinstance(medium, PhaseScreenMedium) or not device.sampling.aperture:
        return []
    times = medium.evening(angle, device.laser.wavelength_m)
    if times == 1:
        return []
    return [
        (
            "memory effect",
            f"{times:.3g} times narrower than the lengths say for bare mirrors: with {metres(medium.gap_m)} between "
            "screens the layer would not light its exit face evenly, and is thickened by as much",
        )
    ]


def _reference(device: Device) -> list[tuple[str, str]]:
    """Return how the reference meets the signal: what is held of it, its fringes, and whether off axis has room."""
    arm = device.reference
    if not arm.present:
        return []
    down, across = arm.carrier_cycles_per_pixel
    rows = [("reference", "re-scaled with the signal; its tilt is held in cycles a pixel")]
    if not (down or across):
        return rows
    carrier, pitch_m = math.hypot(down, across), device.camera.pixel_pitch_m
    sine = carrier * device.laser.wavelength_m / pitch_m
    tilt = f"a tilt of {math.degrees(math.asin(sine)):.3g} degrees" if sine <= 1 else "more than any tilt gives"
    rows.append(("fringes", f"a period of {_count(1 / carrier)}, {metres(pitch_m / carrier)}: {tilt}"))
    rows.append(("off axis", _room((down, across), device.pixel_over_grain)))
    return rows


def _room(carrier: tuple[float, float], pixel_over_grain: float) -> str:
    """Return whether the side band of a tilted reference is free, by the limits of off-axis demodulation."""
    from opusim.calibration.algorithms.off_axis import check_room

    if not pixel_over_grain:
        return "no band to cut out: pixels sample points, whose fields are independent"
    half, size = pixel_over_grain / 2, math.hypot(*carrier)
    told = f"carrier {size:.3g} cycles a pixel, half bandwidth {half:.3g}"
    if half > 0.5:
        return f"{told}: pixels are coarser than the speckle, and no side band is free"
    try:
        check_room(carrier, half)
    except ValueError:
        pass
    else:
        return f"{told}: at least 3 of these, {3 * half:.3g}, so the side band is free"
    try:
        check_room(carrier, half, background_known=True)
    except ValueError:
        short = size < half
        why = "the tilt is below one of these" if short else "it overlaps its twin, the pixels are too coarse"
        return f"{told}: no side band is free, {why}"
    return f"{told}: below 3 of these, {3 * half:.3g}; the side band is free only where the background is known"


def _count(pixels: float) -> str:
    """Return a number of pixels."""
    return f"{pixels:.3g} pixels"
