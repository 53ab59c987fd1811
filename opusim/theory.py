"""Closed forms of what the simulation must show: speckle, random matrices, kernels, beams.

scipy's functions are imported where they are used: a transform needs none of them, and they take .2 s.
"""

from __future__ import annotations

import numpy as np

from opusim.base import elementary, validation
from opusim.base.user_arrays import checked_array


def marchenko_pastur_edges(ratio: float) -> tuple[float, float]:
    """Return the smallest and the largest singular value of a large random matrix, 1 -+ sqrt(ratio).

    Parameters
    ----------
    ratio : float
        Inputs over outputs, 0 < ratio <= 1, for entries of variance 1 / outputs.

    Returns
    -------
    tuple of float
        Both edges of the distribution.
    """
    root = float(np.sqrt(ratio))
    return 1 - root, 1 + root


def marchenko_pastur_pdf(s: np.ndarray, ratio: float) -> np.ndarray:
    """Return the density of the singular values (Marchenko and Pastur 1967).

    It is sqrt((s+^2 - s^2)(s^2 - s-^2)) / (pi ratio s) between the edges s- and s+, and 0 elsewhere.

    Parameters
    ----------
    s : ndarray
        Singular values.
    ratio : float
        As in `marchenko_pastur_edges`.

    Returns
    -------
    ndarray
        Density at each `s`.
    """
    low, high = marchenko_pastur_edges(ratio)
    s = checked_array("s", s, dtype=np.float64)
    inside = np.maximum((high**2 - s**2) * (s**2 - low**2), 0.0)
    return np.sqrt(inside) / (np.pi * ratio * np.maximum(s, 1e-300))


def marchenko_pastur_cdf(s: np.ndarray, ratio: float) -> np.ndarray:
    """Return the distribution function of the singular values, by the trapezoidal rule on 20 000 steps.

    Parameters
    ----------
    s : ndarray
        Singular values.
    ratio : float
        As in `marchenko_pastur_edges`.

    Returns
    -------
    ndarray
        Share of the singular values up to each `s`.
    """
    from scipy import integrate

    low, high = marchenko_pastur_edges(ratio)
    s = checked_array("s", s, dtype=np.float64)
    # The substitution s = mid - half cos(a) takes away the square-root ends.
    angle = np.linspace(0, np.pi, 20_001)
    half = (high - low) / 2
    nodes = (high + low) / 2 - half * np.cos(angle)
    density = marchenko_pastur_pdf(nodes, ratio) * half * np.sin(angle)
    cdf = integrate.cumulative_trapezoid(density, angle, initial=0.0)
    return np.interp(s, nodes, cdf / cdf[-1], left=0.0, right=1.0)


def independent_outputs(pixels: int, grain_px: float) -> float:
    """Return how many of neighbouring pixels are independent, for the field of the speckle of a round aperture.

    Parameters
    ----------
    pixels : int
        Pixels of a region.
    grain_px : float
        Grain g = wavelength x distance / diameter of the aperture, in pixels.

    Returns
    -------
    float
        Of them pi / (4 g^2), the area of the disc of half bandwidth 1 / (2 g) in which the field's spectrum lies; all
        where that is above 1, and one at least. A region of few grains has somewhat more, by its edges.
    """
    return float(min(pixels, max(1.0, pixels * np.pi / 4 / grain_px**2)))


def pixel_modes(pixel_over_grain: float) -> float:
    """Return the number M of speckle modes that a square pixel adds up, for the speckle of a round aperture.

    Parameters
    ----------
    pixel_over_grain : float
        Pixel pitch over the grain g = wavelength x distance / diameter of the aperture.

    Returns
    -------
    float
        M = 1 / integral of the triangle-weighted squared coherence ``|2 J1(pi r)/(pi r)|^2`` over the pixel
        (Goodman, Speckle Phenomena in Optics, 2nd ed., eq. 4-133). The contrast is 1/sqrt(M).
    """
    if pixel_over_grain == 0:
        return 1.0
    p = float(pixel_over_grain)
    nodes, weights = np.polynomial.legendre.leggauss(max(40, int(20 * p)))
    u = (nodes + 1) / 2
    w = weights / 2
    r = p * np.hypot(u[:, None], u[None, :])
    coherence = np.square(2 * elementary.bessel_j1(np.pi * r) / (np.pi * r))
    share = np.sum(w[:, None] * w[None, :] * (1 - u[:, None]) * (1 - u[None, :]) * coherence)
    return float(1 / (4 * share))


def neighbour_correlation(pixel_over_grain: float, rows: float = 0, columns: float = 1) -> float:
    """Return the correlation of the intensities that two square pixels read, for the speckle of a round aperture.

    Parameters
    ----------
    pixel_over_grain : float
        Pixel pitch over the grain, as in `pixel_modes`; above 0. The pixels fill their pitch.
    rows, columns : float
        How far apart the pixels are, in pixels.

    Returns
    -------
    float
        Covariance over variance: .574, .236 and .113 for neighbours at .5, 1 and 2 grains a pixel.

    Notes
    -----
    The squared coherence ``|2 J1(pi r)/(pi r)|^2`` of two points (Goodman, Speckle Phenomena in Optics, 2nd ed.,
    section 4.4) is averaged over both pixels: over the difference of places in them, which has a triangular law.
    """
    p = float(pixel_over_grain)
    nodes, weights = np.polynomial.legendre.leggauss(max(40, int(8 * p)))
    u = np.concatenate([nodes - 1, nodes + 1]) / 2
    w = np.concatenate([weights, weights]) / 2 * (1 - np.abs(u))

    def covariance(down: float, across: float) -> float:
        r = np.pi * p * np.hypot(u[:, None] + down, u[None, :] + across)
        coherence = np.square(np.where(r > 0, 2 * elementary.bessel_j1(r) / np.maximum(r, 1e-300), 1.0))
        return float(np.sum(w[:, None] * w[None, :] * coherence))

    return covariance(rows, columns) / covariance(0, 0)


def exposure_contrast(exposure_over_decorrelation: float) -> float:
    """Return the contrast that an exposure leaves of speckle which decorrelates meanwhile.

    Parameters
    ----------
    exposure_over_decorrelation : float
        Exposure T over the time tau of the correlation of fields exp(-(t / tau)^2).

    Returns
    -------
    float
        K, from 1 down to 0: K^2 is the mean over two moments t, t' of the exposure of exp(-2 ((t - t') / tau)^2), the
        correlation of intensities (Goodman, Speckle Phenomena in Optics, 2nd ed., section 3.3; for the mean over an
        exposure Bandyopadhyay et al., Rev. Sci. Instrum. 76, 093110, 2005). With u = sqrt(2) T / tau,
        K^2 = sqrt(pi) erf(u) / u - (1 - exp(-u^2)) / u^2.

    Notes
    -----
    That of independent entries and of light that is spread over the first screen of a layer. A binary pattern puts the
    half of its light that is its mean on one spot there, unless the mirrors' wavefront error spreads it: phase screens
    then leave a little more, for three screens of 3 rad K^2 = .128 in place of .121 at T = 10 tau
    (`screens_correlation`).
    """
    return float(np.sqrt(_mean_over_pairs(np.sqrt(2) * exposure_over_decorrelation)))


def exposure_fringe_contrast(exposure_over_decorrelation: float) -> float:
    """Return the part of the fringes with a steady reference that an exposure leaves of speckle which decorrelates.

    Parameters
    ----------
    exposure_over_decorrelation : float
        As in `exposure_contrast`.

    Returns
    -------
    float
        The root of the power of the mean field over the mean power: K of `exposure_contrast` with u = T / tau.
    """
    return float(np.sqrt(_mean_over_pairs(exposure_over_decorrelation)))


def screens_correlation(
    time_over_decorrelation: float, n_screens: int, phase_std_rad: float, zero_order: float
) -> float:
    """Return the correlation of intensities behind phase screens that drift, for a pattern with a zero order.

    Parameters
    ----------
    time_over_decorrelation : float
        Time between two frames over the decorrelation time.
    n_screens : int
        K, number of screens.
    phase_std_rad : float
        The sigma: standard deviation of each screen's phase in radians.
    zero_order : float
        Share z of the light that comes to one spot of the first screen, a correlation length wide at most: 1/2 for
        mirrors of which half are on at random (the mean of the pattern squared, over the mean of its square), 0 for one
        mirror, or where a wavefront error spreads that light.

    Returns
    -------
    float
        The squared modulus of the field correlation of two frames, averaged over realisations of the layer:
        exp(-2 L) [1 - z^2 + z^2 exp(2 L / K)], L = K sigma^2 (1 - exp(-(t / tau)^2 / (K sigma^2))).

    Notes
    -----
    Each screen that is met over many correlation lengths takes exp(-L / K) of the field. The spot sees one phase of the
    first, which turns by D, of the variance 2 L / K: the field correlation is z exp(i D) exp(-L (K - 1) / K) +
    (1 - z) exp(-L). Its mean over D is exp(-L) for any z, so that fringes with a steady reference keep the law of
    `exposure_fringe_contrast`; the mean of its square is above exp(-2 L).
    """
    strength = n_screens * phase_std_rad * phase_std_rad
    loss = -strength * np.expm1(-(time_over_decorrelation**2) / strength) if strength else 0.0
    one_spot = zero_order * zero_order
    return float(np.exp(-2 * loss) * (1 - one_spot + one_spot * np.exp(2 * loss / n_screens)))


def slab_correlation(shift_hz: float, diffusion_time_s: float) -> float:
    """Return the correlation of the intensities behind a diffusive slab at two optical frequencies.

    Parameters
    ----------
    shift_hz : float
        Difference of the frequencies in hertz.
    diffusion_time_s : float
        L^2 / D in seconds: square of the thickness over the diffusion constant of the light.

    Returns
    -------
    float
        The number x^2 / (cosh x - cos x), x = sqrt(2 w L^2 / D), w the difference in radians per second: the square of
        ``|z / sinh z|`` for z^2 = i w L^2 / D (Genack, Phys. Rev. Lett. 58, 2043, 1987; docs/physics.md, section 3).
    """
    shift_hz = validation.number("shift_hz", shift_hz, low=-1e18, high=1e18)
    diffusion_time_s = validation.number("diffusion_time_s", diffusion_time_s, low=0.0, high=1e3)
    x = float(np.sqrt(4 * np.pi * abs(shift_hz) * diffusion_time_s))
    if x < 0.1:  # where the differences would be lost in rounding
        return 1 - x * x * x * x / 360
    if x > 700:
        return 0.0
    left = float(elementary.exp(-x))
    return 2 * x * x * left / (1 + left * left - 2 * left * float(elementary.cos(x)))


def _mean_over_pairs(u: float) -> float:
    """Mean of exp(-(u (s - t))^2) over s and t from 0 to 1."""
    if u < 1e-3:  # the closed form would be lost in rounding
        return 1 - u * u / 6
    from scipy import special

    return float(np.sqrt(np.pi) * special.erf(u) / u + np.expm1(-u * u) / (u * u))


def speckle_contrast(pixel_over_grain: float = 0.0, polarised: bool = True) -> float:
    """Return the contrast (standard deviation over mean) of the intensity that pixels read: 1/sqrt(M).

    Unpolarised light through a depolarising medium adds two independent patterns (Goodman 1976).

    Parameters
    ----------
    pixel_over_grain : float
        Side of a pixel over the size of a speckle grain; 0 for a pixel that samples a point.
    polarised : bool
        Whether the camera reads one polarisation.

    Returns
    -------
    float
        Contrast, from 0 to 1.
    """
    return float(1 / np.sqrt(pixel_modes(pixel_over_grain) * (1 if polarised else 2)))


def optical_kernel(x: np.ndarray, y: np.ndarray, modes: float = 1.0) -> np.ndarray:
    """Return the kernel of ``|Rx|^2`` features (Saade et al. 2016, 1510.06664).

    It is ``||x||^2 ||y||^2 + (x . y)^2 / modes``.

    Parameters
    ----------
    x, y : ndarray, shapes (n, d) and (m, d)
        Real inputs.
    modes : float
        Speckle modes that a pixel adds up.

    Returns
    -------
    ndarray, shape (n, m)
        Mean over outputs of ``|Rx|^2 |Ry|^2`` for entries of unit variance.
    """
    x = checked_array("x", x, kinds="biuf", dtype=np.float64)
    y = checked_array("y", y, kinds="biuf", dtype=np.float64)
    norms = np.sum(np.square(x), axis=1)[:, None] * np.sum(np.square(y), axis=1)[None, :]
    return norms + np.square(x @ y.T) / modes


def phase_kernel(
    x_turns: np.ndarray, y_turns: np.ndarray, modes: float = 1.0, unmodulated: float = 0.0
) -> np.ndarray:  # fmt: skip
    """Return the kernel of ``|R z|^2`` features of phases, ``z = sqrt(1 - u) exp(i phase) + sqrt(u)``.

    It is ``||z||^2 ||z'||^2 + |<z, z'>|^2 / modes``: the fourth moment of circular Gaussian fields (Isserlis 1918; for
    real inputs Saade et al. 2016, 1510.06664). Without unmodulated light it is
    ``d^2 + |sum exp(i (phase - phase'))|^2 / modes`` for d inputs.

    Parameters
    ----------
    x_turns, y_turns : ndarray, shapes (n, d) and (m, d)
        Phases of the inputs in turns of 2 pi; any finite numbers.
    modes : float
        Speckle modes that a pixel adds up.
    unmodulated : float
        Share u of the light that no phase turns, from 0 to 1.

    Returns
    -------
    ndarray, shape (n, m)
        Mean over outputs of ``|R z|^2 |R z'|^2`` for entries of unit variance.
    """
    share = validation.number("unmodulated", unmodulated, low=0.0, high=1.0)
    turned, straight = np.sqrt(1 - share), np.sqrt(share)
    fields = []
    for name, turns in (("x_turns", x_turns), ("y_turns", y_turns)):
        phases = checked_array(name, turns, "phases in turns", finite=True, dtype=np.float64)
        # Whole turns off before the product with 2 pi, which would round them in.
        fields.append(turned * elementary.phasors(2 * np.pi * (phases % 1.0), np.complex128) + straight)
    x, y = fields
    norms = np.sum(elementary.square_modulus(x), axis=1)[:, None] * np.sum(elementary.square_modulus(y), axis=1)[None]
    return norms + np.square(np.abs(x @ y.conj().T)) / modes


def gaussian_beam_radius(waist_m: float, distance_m: float, wavelength_m: float) -> float:
    """Return the 1/e^2 radius of a Gaussian beam: w0 sqrt(1 + (z wavelength / (pi w0^2))^2) (Siegman, Lasers, ch. 17).

    Parameters
    ----------
    waist_m : float
        Radius w0 at the waist, in metres.
    distance_m : float
        Distance z from the waist, in metres.
    wavelength_m : float
        Wavelength in metres.

    Returns
    -------
    float
        Radius in metres.
    """
    rayleigh = np.pi * waist_m**2 / wavelength_m
    return float(waist_m * np.sqrt(1 + (distance_m / rayleigh) ** 2))


def blaze_efficiency(
    pitch_m: float, wavelength_m: float, *, fill: float = 1.0, tilt_rad: float = np.pi / 15
) -> tuple[int, float, float]:
    """Return which order of an array of tilted mirrors is the brightest, how well it is blazed, and what it holds.

    Light along the normal of the array leaves each mirror, a square that tilts about its diagonal, at twice the tilt;
    light at twice the tilt leaves it along the normal. The orders of the lattice lie at whole numbers along both sides
    of a cell, the reflection at p = sin(2 tilt) pitch / (sqrt(2) wavelength) on both. A mirror of the side
    a = sqrt(fill) pitch sends the amplitude fill sinc(q delta)^2 into the order that is delta = p - m away along both
    sides, with q = a / pitch; its power is fill^2 sinc(q delta)^4. The shortening of a tilted mirror, 1 - cos(tilt),
    some 2 %, is left out.

    Parameters
    ----------
    pitch_m : float
        Side of a mirror's cell in metres.
    wavelength_m : float
        Wavelength in metres.
    fill : float, optional
        Share of a cell that the mirror fills, above 0 and up to 1.
    tilt_rad : float, optional
        Tilt of a mirror in radians; 12 degrees by default, as the arrays of ``opusim/presets/dmds`` have.

    Returns
    -------
    order : int
        The nearest order, the same along both sides of a cell.
    blaze : float
        ``1 - 2 |p - order|``: 1 where the order lies in the reflection, 0 half-way between two orders.
    efficiency : float
        Share of the light on the array in that order with all mirrors on, before the losses of mirror and window.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not of the kind or in the range named.
    """
    pitch_m = validation.number("pitch_m", pitch_m, low=0, high=1, low_open=True)
    wavelength_m = validation.number("wavelength_m", wavelength_m, low=0, high=1, low_open=True)
    fill = validation.number("fill", fill, low=0, high=1, low_open=True)
    tilt_rad = validation.number("tilt_rad", tilt_rad, low=0, high=np.pi / 4)
    p = float(np.sin(2 * tilt_rad)) * pitch_m / (np.sqrt(2) * wavelength_m)
    order = round(p)
    return order, float(1 - 2 * abs(p - order)), float(fill**2 * np.sinc(np.sqrt(fill) * (p - order)) ** 4)


def memory_effect(tilt: np.ndarray, length: float) -> np.ndarray:
    """Return the correlation of the speckle with itself after a tilt: (q L / sinh q L)^2 for a diffusive slab.

    Parameters
    ----------
    tilt : ndarray
        The q: change of the transverse wave number, in 1/m.
    length : float
        Effective thickness in metres (Feng, Kane, Lee and Stone 1988; for screens .4 to .55 of the distance
        from the first to the last one, docs/physics.md section 3; about two thirds of it for three screens).

    Returns
    -------
    ndarray
        Correlation at each `tilt`, from 0 to 1.
    """
    # Beyond 300 it is 0 to within 1e-255, and sinh would soon be beyond what a number holds.
    x = np.minimum(np.abs(checked_array("tilt", tilt, dtype=np.float64) * length), 300.0)
    safe = np.where(x < 1e-6, 1.0, x)
    return np.where(x < 1e-6, 1.0, np.square(safe / np.sinh(safe)))


def exposure_moments(hz: np.ndarray, rad: np.ndarray, exposure_s: float) -> tuple[float, float, float]:
    """Return moments of the mean phasor M of an exposure under sines of random phases.

    With t - s the distance of two moments of an exposure T, whose density is triangular, and sines a_j at f_j::

        E M     = product of J0(a_j)
        E |M|^2 = 2 integral from 0 to 1 of (1 - u) product of J0(2 a_j sin(pi f_j T u)) du
        E M^2   = the same with the cosine

    Parameters
    ----------
    hz, rad : ndarray, shape (n,)
        Frequencies in hertz and amplitudes in radians.
    exposure_s : float
        Exposure T in seconds; 0 for a moment.

    Returns
    -------
    mean : float
        Of M; it does not depend on the exposure.
    power : float
        Mean of ``|M|^2``.
    square : float
        Mean of ``M^2``, which is real.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Notes
    -----
    From E exp(i x sin t) = J0(x) over a turn of t, and sin t +- sin s as products. Lines of more than 300 periods in
    the exposure have the factor J0(a)^2, the mean of both over a turn: 1e-3 of a part of them is left out.
    """
    from scipy import special

    hz, rad = checked_array("hz", hz, dtype=np.float64), checked_array("rad", rad, dtype=np.float64)
    if hz.ndim != 1 or hz.shape != rad.shape:
        raise ValueError(f"hz has shape {hz.shape} and rad {rad.shape}, but both must be (n,): one of each for a line.")
    for name, given in (("hz", hz), ("rad", rad)):
        if not (np.isfinite(given).all() and (given >= 0).all()):
            raise ValueError(f"{name} is {given.tolist()}, but it must be finite numbers of at least 0.")
    exposure_s = validation.number("exposure_s", exposure_s, low=0.0, high=3600.0)
    left = special.j0(rad)
    mean = float(left.prod())
    periods = hz * exposure_s
    slow = periods <= 300
    fast = float(np.square(left[~slow]).prod())
    turns, sway = periods[slow], 2 * rad[slow]
    panels = 1 + int(np.ceil(np.max(turns, initial=0.0) + (sway * turns).sum()))
    nodes, weights = special.roots_legendre(16)
    u = ((np.arange(panels)[:, None] + (nodes + 1) / 2) / panels).ravel()
    weight = np.tile(weights / panels, panels) * (1 - u)
    power, square = weight.copy(), weight.copy()
    for turn, size in zip(turns, sway, strict=True):
        power *= special.j0(size * np.sin(np.pi * turn * u))
        square *= special.j0(size * np.cos(np.pi * turn * u))
    return mean, fast * float(power.sum()), fast * float(square.sum())
