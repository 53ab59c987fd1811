"""Off-axis holography: the field from a single frame under a tilted reference.

A reference R exp(2 pi i f . r) moves the term S conj(R) of the frame's spectrum away from the middle, where it can be
cut out. The spectrum of a frame has three parts: ``|S|^2 + |R|^2`` in a disc of radius 2 B around zero, with B the
half bandwidth of the speckle, and two side bands of radius B around -f and f. They are apart if ``|f| >= 3 B``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from opusim.base import validation
from opusim.base.user_arrays import checked_array, exponent_of, refuse_not_finite

from .frame_input import single_precision
from .fringe_fit import Demodulated

__all__ = ["demodulate", "find_carrier", "half_bandwidth"]

# Side bands may overlap by rounding of their radii only.
_SLACK = 1e-9
# Power in the side band over that of an equal disc beside it, below which there is no carrier.
_LEAST_CONTRAST = 3.0
# Share of the side band's median power from which a frequency counts as full: low, so that the band counts as a disc
# even where pixels pass one side of it twice as well as the other.
_FULL = 0.125
# The disc in which its centre is sought, over its radius: all of it, while that is not yet centred.
_AROUND, _MOVES = 1.2, 30


def half_bandwidth(grain_px: float) -> float:
    """Return the half bandwidth B of speckle behind a round aperture: 1/(2 g) for a grain of g pixels.

    Parameters
    ----------
    grain_px : float
        Grain g = wavelength x distance / diameter of the aperture, in pixels, above 0.

    Returns
    -------
    float
        Cycles per pixel.

    Raises
    ------
    TypeError, ValueError
        If it is not a number above 0.
    """
    return 0.5 / validation.number("grain_px", grain_px, low=0.0, high=1e6, low_open=True)


def demodulate(
    frames: ArrayLike,
    carrier: ArrayLike,
    bandwidth: float,
    *,
    background: ArrayLike | None = None,
    reference: ArrayLike | None = None,
    workers: int | None = None,
) -> Demodulated:
    """Return the field of each frame by Fourier filtering around the carrier.

    Parameters
    ----------
    frames : array_like of real numbers, shape (..., rows, columns)
        Off-axis holograms.
    carrier : array_like of float, shape (2,)
        Cycles per pixel of the reference's phase along rows and columns:
        ``R = |R| exp(2 pi i (f0 row + f1 column))``.
    bandwidth : float
        Half bandwidth B of the speckle in cycles per pixel (`half_bandwidth`).
    background : array_like of real numbers, shape broadcastable to frames, optional
        The sum ``|S|^2 + |R|^2`` of each frame, from frames with one arm blocked. Taken off first; the carrier may then
        be as short as 1 B, where the two side bands touch.
    reference : array_like of real numbers, shape (..., rows, columns), optional
        One frame or several of the reference alone, at any of its phases and at the same exposure: what their mean has
        in the side band is taken off each field.
    workers : int, optional
        Threads of the Fourier transforms, as in ``scipy.fft``.

    Returns
    -------
    Demodulated
        The field q = S conj(R exp(-2 pi i f . r)): the tilt is taken out. Its phases are (0,), its offset the frame's
        part within 2 B of zero frequency (or the background).

    Raises
    ------
    TypeError
        If an argument is not of the kind named.
    ValueError
        If the side band overlaps the middle of the spectrum or its own twin (``|f| < 3 B``, or f beyond what the pixels
        resolve), frames hold NaN or infinity, or both a background and a reference are given: the former holds the
        latter.

    Notes
    -----
    Leith and Upatnieks, J. Opt. Soc. Am. 52, 1123 (1962); Takeda, Ina and Kobayashi, J. Opt. Soc. Am. 72, 156 (1982).
    The side band passes unchanged; where there is room around it the filter falls off as a cosine. Exact where the
    frame is periodic; a real frame's edges leak, so a few grains along them are wrong by several per cent. There are
    about pi B^2 independent outputs per pixel: 1 in 10 at most, with B = sqrt(1/32) and the carrier on the diagonal.

    A reference is not even: dust, windows and the pixels' own responses give ``|R|^2`` parts in the side band, an
    uneven beam leaks there from the frame's edges. They add the same q_R to every field. In a transmission matrix that
    is a matrix of rank one, which fills the gap behind the last singular value of a medium with few channels; hence
    `reference`: q - q_R (Popoff and Loquet, wavefrontshaping.net, post 91, 2025, doi:10.5281/zenodo.15691870). The mean
    of n frames leaves 1/n of the variance of one frame's noise, again the same in all fields. What dust and edges
    scatter of the twin conj(S) R stays.
    """
    array = _checked_images(frames)
    half = validation.number("bandwidth", bandwidth, low=0.0, high=0.5, low_open=True)
    tilt = checked_carrier(carrier)
    room = check_room(tilt, half, background_known=background is not None)
    real = np.float32 if single_precision(array.dtype) else np.float64
    light: NDArray[Any] = array.astype(real, copy=False)
    offset: NDArray[Any] | None = None
    alone: NDArray[Any] | None = None
    if reference is not None:
        if background is not None:
            raise ValueError(
                "reference and background are both given, but the background holds the light of the reference already: "
                "give one of them."
            )
        alone = _mean_reference(reference, array.shape[-2:]).astype(real)
        light = light - alone
    if background is not None:
        offset = _checked_background(background, array.shape).astype(real, copy=False)
        light = light - offset
        offset = np.array(np.broadcast_to(offset, array.shape))
    spectrum = fft.fft2(light, workers=workers)
    frequencies = fft.fftfreq(array.shape[-2])[:, None], fft.fftfreq(array.shape[-1])[None, :]
    if offset is None:
        middle = _window(_distance(frequencies, (0.0, 0.0)), 2 * half, room)
        # Fourier filters are linear: the part of the reference alone, which was taken off, is put back here.
        whole = spectrum if alone is None else spectrum + fft.fft2(alone, workers=workers)
        offset = np.ascontiguousarray(fft.ifft2(whole * middle.astype(real), workers=workers).real)
    # S conj(R) carries the opposite tilt: its side band lies at -f.
    band = _window(_distance(frequencies, (-tilt[0], -tilt[1])), half, room).astype(real)
    q = fft.ifft2(spectrum * band, workers=workers, overwrite_x=True)
    if array.dtype.kind == "f" and not np.isfinite(q.sum()):
        refuse_not_finite("frames", array)
        if not np.isfinite(q).all():
            raise ValueError(
                f"frames holds {float(np.abs(array).max()):.3g}, whose sums are beyond what {q.real.dtype} holds: "
                "divide frames by a number first, or give them in float64."
            )
    rows, columns = (np.exp(2j * np.pi * f * np.arange(n)) for f, n in zip(tilt, array.shape[-2:], strict=True))
    q *= rows[:, None].astype(q.dtype)
    q *= columns.astype(q.dtype)
    return Demodulated(q, offset, np.zeros(1))


def find_carrier(
    frames: ArrayLike,
    bandwidth: float,
    *,
    near: ArrayLike | None = None,
    reference: ArrayLike | None = None,
    workers: int | None = None,
) -> NDArray[np.float64]:
    """Find the carrier from the frames' power spectrum.

    Parameters
    ----------
    frames : array_like of real numbers, shape (..., rows, columns)
        Off-axis holograms; the spectra of all are added.
    bandwidth : float
        Half bandwidth B of the speckle in cycles per pixel.
    near : array_like of float, shape (2,), optional
        Roughly where it is. Frames cannot tell f from -f (the field from its conjugate): the one nearer to `near` is
        returned, or without it the one with a positive row frequency.
    reference : array_like of real numbers, shape (..., rows, columns), optional
        One frame or several of the reference alone, as for `demodulate`: fringes of its own are then no side band.
    workers : int, optional
        Threads of the Fourier transforms.

    Returns
    -------
    ndarray of float64, shape (2,)
        Cycles per pixel along rows and columns.

    Raises
    ------
    TypeError
        If an argument is not of the kind named.
    ValueError
        If no side band stands out of the spectrum beyond 2 B.

    Notes
    -----
    The disc of radius B that holds most power, outside the middle's 2 B; then the centre of that disc, for which power
    counts up to an eighth of its median in it. The centre of the power itself is another one: pixels pass fringes of
    f cycles by sinc(f) (Goodman, Introduction to Fourier Optics, section 2.4), which draws it towards zero, by .012 at
    a carrier of (.32, .32) and grains of 3.6 pixels.

    The spectrum of speckle is itself a speckle: one frame of n grains across gives the centre to about B / (2 n). A
    wrong carrier leaves that tilt in the field, the same in all frames, which is the reference's to own.
    """
    array = _checked_images(frames)
    half = validation.number("bandwidth", bandwidth, low=0.0, high=0.5, low_open=True)
    hint = None if near is None else checked_carrier(near, "near")
    rows, columns = array.shape[-2:]
    refuse_not_finite("frames", array)
    alone = None if reference is None else _mean_reference(reference, (rows, columns))
    power, smooth = np.zeros((2, rows, columns))
    exponent = exponent_of(array)
    fade = _fading(rows)[:, None] * _fading(columns)
    for image in array.reshape(-1, rows, columns):
        # By a power of two, which rounds nothing: squares of any number then stay within what a number holds.
        image = np.ldexp(image.astype(np.float64), -exponent)
        if alone is not None:
            image = image - np.ldexp(alone, -exponent)
        image = image - image.mean()
        power += np.square(np.abs(fft.fft2(image, workers=workers)))
        smooth += np.square(np.abs(fft.fft2(image * fade, workers=workers)))
    frequencies = fft.fftfreq(rows)[:, None], fft.fftfreq(columns)[None, :]
    from_zero = _distance(frequencies, (0.0, 0.0))
    disc = (from_zero <= half).astype(np.float64)
    power, smooth = (np.where(from_zero > 2 * half, one, 0.0) for one in (power, smooth))
    in_disc = fft.ifft2(fft.fft2(power, workers=workers) * fft.fft2(disc, workers=workers), workers=workers).real
    # Only places whose whole disc lies outside the middle compete; at 3 B from zero and beyond.
    allowed = from_zero >= 3 * half * (1 - 0.05)
    if hint is not None:
        allowed &= _distance(frequencies, (-hint[0], -hint[1])) <= 2 * half
    best = np.unravel_index(int(np.argmax(np.where(allowed, in_disc, -1))), in_disc.shape)
    typical = float(np.median(in_disc[allowed])) if allowed.any() else 0.0
    peak = float(in_disc[best]) if allowed.any() else 0.0
    if not peak > _LEAST_CONTRAST * typical or not peak > 1e-12:
        raise ValueError(
            "frames shows no side band: no disc of the spectrum beyond 3 half bandwidths holds clearly more power than "
            f"others (half bandwidth {half:.4g} cycles per pixel). The reference is blocked, too little tilted, or the "
            "bandwidth is wrong."
        )
    at = np.array([frequencies[0][best[0], 0], frequencies[1][0, best[1]]])
    for _ in range(_MOVES):  # the centre of the disc, by steps
        away = [(f - c + 0.5) % 1 - 0.5 for f, c in zip(frequencies, at, strict=True)]
        distance = np.hypot(away[0], away[1])
        full = _FULL * float(np.median(smooth[distance <= half]))
        inside = np.minimum(smooth, full) * (distance <= _AROUND * half)
        step = np.array([float((inside * part).sum()) for part in away]) / max(float(inside.sum()), 1e-300)
        at = at + step
        if np.abs(step).max() < 1e-6:
            break
    found = (-at + 0.5) % 1 - 0.5  # S conj(R) lies at -f
    if hint is None:
        return found if found[0] > 0 or (found[0] == 0 and found[1] > 0) else -found
    return found


def share_of_band(shape: tuple[int, int], carrier: ArrayLike, bandwidth: float) -> float:
    """Return what a field keeps of the variance of its frames' noise, if that is white.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of a frame.
    carrier : array_like of float, shape (2,)
        As for `demodulate`.
    bandwidth : float
        Half bandwidth B of the speckle in cycles per pixel.

    Returns
    -------
    float
        Variance of q over that of a pixel: the mean square of the filter, about pi B^2 and somewhat more where there is
        room around the side band.

    Raises
    ------
    TypeError, ValueError
        As from `demodulate`.
    """
    half = validation.number("bandwidth", bandwidth, low=0.0, high=0.5, low_open=True)
    tilt = checked_carrier(carrier)
    frequencies = fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1])[None, :]
    band = _window(_distance(frequencies, (-tilt[0], -tilt[1])), half, check_room(tilt, half))
    return float(np.mean(band * band))


def check_room(tilt: tuple[float, float], half: float, *, background_known: bool = False) -> float:
    """Return how far the filter may reach beyond the side band; raise if the side band is not free.

    Parameters
    ----------
    tilt : tuple of float
        The carrier in cycles per pixel along rows and columns.
    half : float
        Half bandwidth in cycles per pixel.
    background_known : bool
        Whether ``|S|^2 + |R|^2`` is taken off first.

    Returns
    -------
    float
        Cycles per pixel.

    Raises
    ------
    ValueError
        If the carrier is too short, or longer than the pixels resolve.
    """
    size = float(np.hypot(*tilt))
    down, across = ((2 * f + 0.5) % 1 - 0.5 for f in tilt)
    twin = float(np.hypot(down, across))
    need = 1.0 if background_known else 3.0
    if size < need * half * (1 - _SLACK):
        advice = "" if background_known else "; or give the background, and 1 half bandwidth will do"
        raise ValueError(
            f"carrier is {size:.4g} cycles per pixel long, but it must be at least {need:g} half bandwidths "
            f"({need * half:.4g}), or the field overlaps the middle of the spectrum{advice}."
        )
    if twin < 2 * half * (1 - _SLACK):
        raise ValueError(
            f"carrier is ({tilt[0]:.4g}, {tilt[1]:.4g}) cycles per pixel, but its side band and the twin's must lie 2 "
            f"half bandwidths apart ({2 * half:.4g}; they are {twin:.4g} apart, counted modulo the pixels' frequency): "
            "the pixels are too coarse for this tilt, or the tilt is too small."
        )
    room = min(0.5 * half, (twin - 2 * half) / 2)
    if not background_known:
        room = min(room, (size - 3 * half) / 2)
    return max(0.0, room)


def _window(distance: NDArray[np.float64], radius: float, room: float) -> NDArray[np.float64]:
    """1 up to the radius, falling as a cosine over the room beyond it."""
    # A frequency on the edge belongs to the band, whichever way it was rounded.
    edge = radius * (1 + 1e-6)
    if room < 1e-6 * radius:
        return (distance <= edge).astype(np.float64)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - edge) / room, 0, 1))


def _fading(n: int) -> NDArray[np.float64]:
    """Hann's window, by which what a frame's edges leak from one part of its spectrum to another is small."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)


def _distance(frequencies: tuple[NDArray, NDArray], centre: tuple[float, float]) -> NDArray[np.float64]:
    """Distance of each frequency from the centre, on the torus of what pixels tell apart."""
    down, across = ((f - c + 0.5) % 1 - 0.5 for f, c in zip(frequencies, centre, strict=True))
    return np.hypot(down, across)


def _checked_images(frames: ArrayLike) -> NDArray[Any]:
    array = checked_array("frames", frames)
    if array.ndim < 2 or min(array.shape[-2:]) < 8 or array.size == 0:
        raise ValueError(
            f"frames has shape {array.shape}, but it must be (..., rows, columns) with 8 of each at least."
        )
    return array


def checked_carrier(carrier: ArrayLike, name: str = "carrier") -> tuple[float, float]:
    """Return a carrier as two floats after checking it.

    Parameters
    ----------
    carrier : array_like of float, shape (2,)
        Cycles per pixel along rows and columns.
    name : str
        What the sentence of an error calls it.

    Returns
    -------
    tuple of float
        The same.

    Raises
    ------
    TypeError, ValueError
        If it is not two numbers that pixels resolve.
    """
    array = checked_array(name, carrier, "two numbers: cycles per pixel along rows and columns")
    if array.shape != (2,):
        raise TypeError(f"{name} is {carrier!r}, but it must be two numbers: cycles per pixel along rows and columns.")
    if not (np.isfinite(array).all() and (np.abs(array) <= 0.5).all()):
        raise ValueError(f"{name} is {carrier!r}, but pixels resolve from -0.5 to 0.5 cycles per pixel.")
    return float(array[0]), float(array[1])


def _mean_reference(reference: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the mean frame (rows, columns) of the reference alone."""
    array = checked_array("reference", reference, finite=True)
    if array.ndim < 2 or array.shape[-2:] != tuple(shape) or array.size == 0:
        raise ValueError(
            f"reference has shape {array.shape}, but it must be one frame or several of {shape[0]} x {shape[1]} "
            "pixels, as frames are."
        )
    return array.reshape(-1, *shape).mean(axis=0, dtype=np.float64)


def _checked_background(background: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    array = checked_array("background", background, finite=True)
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"background has shape {array.shape}, but it must fit frames of shape {shape}.")
    return array
