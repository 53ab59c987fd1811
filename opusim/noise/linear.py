"""Closed forms of the error of a field measured by phase-shifting holography: the linear mode.

Frame k of a burst shows I_k = |S|^2 + |R|^2 + 2 c Re(S conj(R) exp(-i d_k)) electrons. The field is sum of c_k I_k
over |R|, with the coefficients of least squares, less the field with every feature off; |R|^2 comes from frames with
every mirror off. With G = sum |c_k|^2 (1/N for equal steps), f the share of mirrors on, eps^2 the leakage of one that
is off, r = |R|^2 and s = mean |S|^2 in electrons (a part v of it makes fringes, b = c^2 r v (1 - eps)^2), the parts
are, as long as no frame is saturated:

=================  ============================  =====================================================================
source             part                          from
=================  ============================  =====================================================================
shot noise         G (r + s + d) / b             the variance of I_k is its mean; d: dark electrons
read noise         G sigma_d^2 / b               the same
quantisation       G / (12 K^2 b)                the same
dark current       G d / b                       the same; what is fixed of hot pixels drops out with the dark frame
DSNU               0                             an offset drops out, as the c_k add up to 0; so does a spread of the
                                                 dark current
non-linearity      (8 a s / E)^2 at most         a field is too small by a share of 8 a (B - <B>) / E, where
                   for a small a                 B = |S|^2 + |R|^2 + d is the mean of its frames and E the charge of the
                                                 scale's end; three steps fold the square of the fringes into it, too
PRNU               sigma^2 / 4                   I_k and |R|^2 share the response 1 + w: S sqrt(1 + w)
laser power        g^2 G <I^2> / b               <I^2>: the mean of I_k^2 over the steps and over pixels
lag                (l / N)^2 ((1 - f) (3 + f)    below, for equal steps and a small l
                   + 2 (1 - f^4) s / (c^2 r))
decorrelation      exp(2 L) - 1                  fields correlate as exp(-L)
reference phase    2 G sigma^2 / (1 - eps)^2     an error e_k changes I_k by 2 Im(q exp(-i d_k)) e_k; a vibration of
                                                 amplitude a adds the covariance a^2 cos(w (k - l) T) / 2 of frames k
                                                 and l, times sinc^2 of its periods in an exposure, and lowers c
off-state leakage  eps^2 (n / r) (2 + f) / 4     below, or 0; and the noise of all others is larger by 1 / (1 - eps)^2
pixel integration  0                             the mean of the field over the pixel, as the reference weighs and turns
                                                 its points, is linear in the pattern: it is the output
=================  ============================  =====================================================================

Off mirrors add a constant field, which is taken off; a feature changes its mirrors by 1 - eps only. And where frames of
the reference alone stand for |R|^2, their light is in it: |R + eps S_1|^2 with S_1 the field of all n mirrors, so that
a field is too large by delta = -eps Re(S_1 conj(R)) / r. As S is f S_1 and an independent rest, <|S|^2 delta^2> is
eps^2 (n / r) (1 + f) / 2 of <|S|^2>; f/4 of that bracket is an offset. Demodulated bursts with every mirror off
(`Operation.reference_map`) tell eps S_1 from R. What is left of it in |R|^2, (1 - c^2) eps^2 |S_1|^2, is of second
order, and the part is 0.

Lag mixes the steps. Frame k reads (1 - l) I_k + l I_(k-1), and frame 0 that of the last step, N, of the pattern before.
With S_0 the field of that, a field S becomes

    g S + b S* + l c_0 [exp(-i d_N) S_0 + exp(i d_N) S_0* + (|S_0|^2 - |S|^2) / (c |R|)],
    g = 1 - l + l sum_(k>0) c_k exp(-i d_(k-1)),    b = l sum_(k>0) c_k exp(i d_(k-1)).

Fields of two patterns with f of the mirrors on correlate as f: that part of S_0 turns and scales S as all others, which
is no error, and its rest is one; so is S*. Fields shrink by |g|, and the noise of frames counts for 1 / |g|^2 as much.
That is exact where no frame is saturated.

What is measured once (|R|^2, dark level, background) is so from as many frames as the driver takes (`noise_light`);
its noise, a few percent of that of an output, is counted with the sources that make it.

What rounding does beyond 1/12 DN^2, the lower end of the scale, and leakage beyond the first order are added by
`noise_bursts`, from some thousand bursts. Pixels are left out as the driver does: those with less than a twentieth of
the mean reference, and those that are saturated in half of the bursts.

Limits of validity. With few bits (2 to 5, gain and black level in proportion) the error is right within a tenth, and
so are the large parts; that of saturation is not, as the mending of saturated bursts knows rounding as noise only. With
bright off mirrors (a contrast of 10 to 100) the error is right within 15 %. The part of saturation hangs on a few
bursts in ten thousand, in pixels many of which are left out: it is right within three hundredths of the error on the
default device, and within a tenth with bright off mirrors. Up to 30 % of bursts may have a saturated frame. With a
reference of less than some counts the error is right within 15 %, but its parts are not: there they depend on each
other. An error above 10 means no more than that nothing is left. Rounding is taken for a straight response.

The fit of bursts with a saturated frame knows no bend. Where next to none are saturated the part of non-linearity is
right within a tenth or so. At the driver's exposure, where one burst in fourteen is, it is too small by a third to a
half, and for the default device's small bend it is below what can be told. Measured on a bench with the light of the
default device, the whole error is too small by .4 % of itself with a = .002, 4 % with .01, a fifth with .03, and a half
of itself with .1: for a bend of more than .01 use a shorter exposure, or a bench
(`opusim.noise.measured.measured_error_budget`).
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from opusim.fringes.calibrated import DARK_FRAMES
from opusim.fringes.demodulation import field_of_clipped, least_squares_row

from .budget import parts_of
from .bursts import beyond_first_order, shares_left
from .light import BACKGROUND_BURSTS, FrameLight, phase_covariance, saturation_e, step_phases_rad
from .point import WorkingPoint

__all__ = ["linear_errors"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Flags = NDArray[np.bool_]


def linear_errors(point: WorkingPoint) -> tuple[dict[str, float], float]:
    """Parts of each source in the error of an output in linear mode, and the error with all of them.

    Parameters
    ----------
    point : WorkingPoint
        In linear mode.

    Returns
    -------
    errors : dict of float
        By source; see the module's table.
    whole : float
    """
    return parts_of(point, _error, 0.0)


def _error(point: WorkingPoint, off: Collection[str]) -> float:
    """Error against the same pixel without any source, some sources being off."""
    correlation = 1.0 if "decorrelation" in off else point.field_correlation
    # Correlations of independent causes multiply, and 1 + error is one over the square of a correlation.
    lagging, response2 = (0.0, 1.0) if "lag" in off else _lag_error(point, off)
    return (1 + lagging + _burst_error(point, off) / response2) / correlation**2 - 1


def _lag_error(point: WorkingPoint, off: Collection[str]) -> tuple[float, float]:
    """Error that lag makes of the fields of bursts, and the square of what it leaves of them (the module's notes)."""
    lag = point.device.camera.lag
    if not lag:
        return 0.0, 1.0
    light, phases = FrameLight.of(point, off), step_phases_rad(point)[1]
    row, waves = least_squares_row(phases), np.exp(-1j * phases)
    first = lag * row[0]
    before, mirrored = first * waves[-1], first * waves[-1].conj()
    alike = point.share_on
    response = 1 - lag + lag * row[1:] @ waves[:-1] + alike * before
    conjugate = lag * row[1:] @ waves[:-1].conj() + alike * mirrored
    # Intensities of exponential law, and of the other light, correlate as the squares of fields.
    apart = 1 - point.pattern_correlation(leakage="off-state leakage" not in off) ** 2
    steady = 2 * apart * (light.field**2 + light.other**2 / light.modes)
    power = light.coherence**2 * light.reference * light.field
    error = abs(conjugate) ** 2 + (1 - alike**2) * (abs(before) ** 2 + abs(mirrored) ** 2)
    error += abs(first) ** 2 * steady / power
    response2 = abs(response) ** 2
    return error / response2, response2


def _burst_error(point: WorkingPoint, off: Collection[str]) -> float:
    """Error of the fields of bursts through a given medium."""
    device = point.device
    camera = device.camera

    def on(source: str, value: float) -> float:
        return 0.0 if source in off else value

    light = FrameLight.of(point, off)
    phases = step_phases_rad(point)[1]
    x, y, other, weight = light.nodes()
    frames = light.frames(x, y, other, phases)
    # Pixels that are saturated in half of the bursts are left out.
    saturated = (frames + point.dark_e > saturation_e(point)).sum(axis=-1)
    weight = weight * shares_left(point)[saturated]
    weight /= weight.sum()
    dark_e = on("dark current", point.dark_e)
    root = math.sqrt(light.reference)
    # The field that the fringes show.
    x, y = light.coherence * x, light.coherence * y
    field: Complex = x + 1j * y

    # The estimate's response to each frame, and to the measured |R|.
    first_rows = least_squares_row(phases) / root
    rows = np.broadcast_to(first_rows, frames.shape).copy()
    leakage = on("off-state leakage", point.leakage)
    kept = 1 - math.sqrt(leakage)  # a feature changes its mirrors by this much
    to_reference: Complex = -field / root
    bias: Complex = np.zeros_like(field)
    some: Flags = np.zeros(len(field), dtype=bool)
    seen = frames
    if "saturation" not in off:
        gain, black = camera.gain_dn_per_e, camera.black_level_dn
        limit = (point.full_scale_dn - 0.5 - black) / gain - dark_e
        end = min(camera.full_well_e, (camera.full_scale_dn - black) / gain if camera.quantise else math.inf) - dark_e
        seen = np.minimum(frames, end)
        clipped = frames > limit
        some = np.asarray(clipped.any(axis=-1))
        bias = seen @ first_rows - field  # of a burst whose saturated frames nobody takes for saturated
        if some.any():
            own = (light.field + light.other) / light.field / light.coherence**2
            start, amplitude = (field + bias)[some], np.full(int(some.sum()), root)
            found = field_of_clipped(seen[some], clipped[some], amplitude, phases, own**-0.5, start)
            bias[some] = found - field[some]
            slope = own * field[some, None] + root * np.exp(1j * phases)
            rows[some], to_reference[some] = _left(slope, ~clipped[some], root, field[some], phases)

    steady = on("read noise", camera.temporal_dark_noise_e) ** 2 + on("shot noise", camera.shot_noise) * dark_e
    if camera.quantise:
        steady += on("quantisation", 1 / (12 * camera.gain_dn_per_e**2))
    variance = steady + on("shot noise", camera.shot_noise) * frames
    power_noise = on("laser power", device.laser.power_noise_in(point.exposure_s))
    variance = variance + np.square(power_noise * frames)
    steepness: Array = np.ones_like(frames)
    after = steady - on("shot noise", camera.shot_noise) * dark_e  # noise that comes after the read-out's bend
    if on("non-linearity", camera.nonlinearity):
        charge = seen + dark_e
        # Frames that are saturated are left out of their bursts, and rows know it.
        bent = (rows * (camera.response_e(charge) - charge)).sum(axis=-1)
        # Fields that are all too large by a factor are taken as they should be, so that what is wrong with them by a
        # share, as leakage into |R|, stays that share.
        factor = 1 + float(weight @ np.real(field.conj() * bent)) / float(weight @ np.square(np.abs(field)))
        rows, first_rows, bias = rows / factor, first_rows / factor, (field + bias + bent) / factor - field
        # What comes before the read-out is bent with the charge.
        steepness = camera.response_slope(charge)
        variance = after + steepness**2 * (variance - after)
    noise = (np.square(np.abs(rows)) * variance).sum(axis=-1)
    # Frames closer than the power's noise is fast share a part of it: what all share is a factor of the field.
    lags = point.frametime_s * np.arange(1, len(phases))
    shared_power = [device.laser.power_noise_correlation(point.exposure_s, float(lag)) for lag in lags]
    for k, correlation in enumerate(shared_power, 1):
        if correlation > 1e-12 and power_noise:  # less is below the rounding of the sum
            moved = rows * steepness * frames
            pairs = (moved[:, k:] * moved[:, :-k].conj()).real.sum(axis=-1)
            noise += 2 * correlation * power_noise**2 * pairs

    # A phase error e_k changes frame k by 2 |R| Im(S exp(-i d_k)) e_k; errors of two frames may correlate.
    shaken = phase_covariance(point, off, len(phases))
    moved = rows * steepness * 2 * root * np.imag(field[:, None] * np.exp(-1j * phases))
    noise += np.einsum("nk,kl,nl->n", moved, shaken, moved.conj()).real
    # The field has a little more power than the light of the mirrors that are on, which is what is measured.
    part = point.share_on / (point.share_on + leakage * (1 - point.share_on))
    noise += part * (kept * on("PRNU", camera.total_prnu)) ** 2 / 4 * np.square(np.abs(field))

    leaked = _leakage(light, point.share_on, leakage, field, to_reference, ~some, point.demodulated)
    to_reference, wrong, uncertain = leaked
    bias += wrong
    noise += uncertain

    # What is measured once for all outputs: |R|^2, the dark level and the background.
    dark, lit, of_reference = steady, steady + on("shot noise", camera.shot_noise) * light.reference, 1.0
    if on("non-linearity", camera.nonlinearity):
        # These frames are bent where they are, and |R|^2 is measured by a gain of its own.
        ends = np.array([dark_e, dark_e + light.reference])
        (slope_dark, slope_lit), (read_dark, read_lit) = camera.response_slope(ends), camera.response_e(ends)
        of_reference = float(read_lit - read_dark) / light.reference
        dark, lit = after + slope_dark**2 * (dark - after), after + slope_lit**2 * (lit - after)
    once = (dark / DARK_FRAMES + lit / point.reference_frames) / of_reference**2
    noise += np.square(np.abs(to_reference) / (2 * root)) * once
    noise += float(np.sum(np.square(np.abs(first_rows)))) * lit / BACKGROUND_BURSTS

    # The output is (1 - eps) of the target, and what the measurement of the field adds to it.
    power = float(weight @ np.square(np.abs(field)))
    bias -= weight @ bias
    shared = float(weight @ np.real(np.conj(field) * bias)) / power
    added = float(weight @ (np.square(np.abs(bias)) + noise)) / (power * part)
    first = (kept**2 + 2 * kept * shared + added) / (kept + shared) ** 2 - 1
    return first + beyond_first_order(point, off, light)


def _leakage(
    light: FrameLight,
    share_on: float,
    leakage: float,
    field: Complex,
    to_reference: Complex,
    whole: Flags,
    demodulated: bool,
) -> tuple[Complex, Complex, Array]:
    """Response to |R| of an output, and its mean error and variance by the light of off mirrors in |R|.

    A `demodulated` |R| has none of it, and no error by it.

    A field S = (1 - eps) X + eps S_1 holds the light X of the mirrors that are on and S_1 of all of them, both
    Gaussian; eps S_1 is taken off, and |R| is wrong by eps Re S_1 (in its phase). Of X and S_1 a part is known from S:
    p S and t S. An output whose frames are `whole` is (1 - eps) X (1 - eps Re S_1 / |R|), to first order.
    """
    eps, root = math.sqrt(leakage), math.sqrt(light.reference)
    fill = share_on + leakage * (1 - share_on)
    power = light.coherence**2 * light.field / fill  # of S_1
    p, t = share_on / fill, (share_on + eps * (1 - share_on)) / fill
    rest_on, rest_all = power * (share_on - p**2 * fill), power * (1 - t**2 * fill)
    rest_both = power * (share_on - p * t * fill)
    to_reference = np.where(whole, -(1 - eps) * p * field / root, to_reference + eps * t * field / root)
    if demodulated:
        return to_reference, np.zeros_like(field), np.zeros(field.shape)
    wrong = to_reference * eps * t * field.real - whole * (1 - eps) * eps / root * rest_both / 2
    along = np.square(field.real)
    uncertain = np.square(np.abs(to_reference)) * leakage * rest_all / 2
    more = p * t * rest_both * along + rest_on * (t**2 * along + rest_all / 2) + rest_both**2 / 4
    return to_reference, wrong, uncertain + whole * np.square((1 - eps) * eps / root) * more


def _left(slope: Complex, left: Flags, root: float, field: Complex, phases: Array) -> tuple[Complex, Complex]:
    """Responses to each frame and to |R| where some frames are left out: one step of Gauss and Newton.

    `slope` (n, steps) is half the change of a frame with the field, its real part along x and its imaginary along y.
    """
    along_x, along_y = 2 * slope.real * left, 2 * slope.imag * left
    xx, yy, xy = ((a * b).sum(axis=-1) for a, b in ((along_x, along_x), (along_y, along_y), (along_x, along_y)))
    damping = 1e-4 * (xx + yy) + 1e-12  # for bursts of which less than two frames are left
    xx, yy = xx + damping, yy + damping
    rows = (yy - 1j * xy)[:, None] * along_x + (1j * xx - xy)[:, None] * along_y
    rows /= (xx * yy - xy**2)[:, None]
    change = 2 * root + 2 * np.real(field[:, None] * np.exp(-1j * phases))
    return rows, -(rows * left * change).sum(axis=-1)
