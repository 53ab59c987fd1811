"""One whole small bench written anew: 64 x 64 mirrors, a layer of screens, 64 x 64 pixels, reference arm, sensor.

The functions below say the laws of docs/physics.md in double precision and nothing else: a lens is a product with the
matrix of its transform, a screen a product of numbers, the sensor a line of EMVA 1288. Of the project they take the
fields of the device and the random numbers that a seed gives (`opusim.base.rng`). Every plane that
`OpticalBench.inspect` returns is compared with them.

How near single precision must come: a stage of an FFT rounds its numbers by .3 to .6 x 2^-24 of their rms (measured by
Schatzman, SIAM J. Sci. Comput. 17, 1150, 1996), and a pass has at most 2 K transforms of 2 log2(N) stages and as many
products, N = 64 to 192 points along a side: sqrt(2 K 16) x .6 x 6e-8 = 4e-7 for K = 3. The phase of a screen, up to
16 rad, is rounded to 2^-21 rad at worst, and is made by two such transforms: sqrt(K) x 3 rad x 2e-7. Together some 1e-6
of the rms field. `RMS` is twice that, and `LARGEST` five times `RMS`: a normal law has one number in 7e10 above it.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special, stats

from opusim import OpticalBench
from opusim.base import rng
from opusim.device.record import Device

RMS, LARGEST = 2e-6, 1e-5
SEED = 11
MIRRORS = (np.random.default_rng(5).random((64, 64)) < 0.4).astype(np.uint8)
EXPOSURE_S = 400e-6


# ------------------------------------------------------------------ the bench


def points(n: int) -> np.ndarray:
    """Whole numbers 0, 1, ... -1 as a transform of n points orders its frequencies."""
    k = np.arange(n)
    return np.where(k < (n + 1) // 2, k, k - n)


def transform(rows: np.ndarray, columns: np.ndarray, n: int) -> np.ndarray:
    """The matrix exp(-2 pi i r c / n) / sqrt n."""
    return np.exp(-2j * np.pi * np.outer(rows, columns) / n) / math.sqrt(n)


def both(matrix: np.ndarray, field: np.ndarray) -> np.ndarray:
    """A matrix along rows and along columns."""
    return matrix @ field @ matrix.T


def zernike(shape: tuple[int, int], rms_rad: float, seed: int, purpose: str) -> np.ndarray:
    """Noll's terms 4 to 12 in polar coordinates, each of unit variance over the array, with normal weights."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    y, x = np.meshgrid(y, x, indexing="ij")
    r, t = np.hypot(y, x) / (np.hypot(*shape) / 2), np.arctan2(y, x)
    terms = [
        2 * r**2, r**2 * np.sin(2 * t), r**2 * np.cos(2 * t), (3 * r**3 - 2 * r) * np.sin(t),
        (3 * r**3 - 2 * r) * np.cos(t), r**3 * np.sin(3 * t), r**3 * np.cos(3 * t), 6 * r**4 - 6 * r**2,
        (4 * r**4 - 3 * r**2) * np.cos(2 * t),
    ]  # fmt: skip
    weights = rng.normals(rng.stream_key(seed, purpose), 9)
    surface = sum(w * (z - z.mean()) / z.std() for w, z in zip(weights.astype(float), terms, strict=True))
    return rms_rad * surface / surface.std()


def light_of_mirrors(device: Device, seed: int, mirrors: np.ndarray) -> np.ndarray:
    """sqrt(g) (b + eps (1 - b)) exp(i phi), the mean of g being 1."""
    dmd = device.dmd
    y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * dmd.pitch_m for n in dmd.shape), indexing="ij")
    beam = np.exp(-2 * (x**2 + y**2) / dmd.beam_radius_m**2)
    u = rng.uniforms(rng.stream_key(seed, "dmd stuck mirrors"), dmd.n_mirrors).reshape(dmd.shape)
    on = np.where(u < dmd.stuck_on_fraction, 1, np.where(u > 1 - dmd.stuck_off_fraction, 0, mirrors))
    state = np.where(on == 1, 1.0, 1 / math.sqrt(dmd.contrast_ratio))
    phase = zernike(dmd.shape, dmd.aberration_rms_rad, seed, "dmd aberration")
    return np.sqrt(beam / beam.mean()) * state * np.exp(1j * phase)


def state_time(device: Device, time_s: float) -> float:
    """The medium moves in steps, in each of which the correlation falls by 1e-5: the start of the step."""
    step_s = device.medium.decorrelation_time_s * math.sqrt(1e-5)
    return 0.0 if math.isinf(step_s) else step_s * math.floor(time_s / step_s)


def screen(medium, wavelength_m: float, n: int, number: int, seed: int, channel: int, time_s: float) -> np.ndarray:
    """exp(i phi) of a Gaussian phi of the correlation sigma^2 exp(-(r / l)^2), and exp(-(t / t_c)^2) in time."""

    def white(purpose: str, *indices: int) -> np.ndarray:
        key = rng.stream_key(seed, purpose, number, channel, *indices)
        return rng.normals(key, n * n).astype(float).reshape(n, n)

    noise = white("phase screen")
    if time_s:
        # A moving average Z(t) = sum of w(t - m tau / 2) G_m, given its value at the start:
        # C G + Z(t) - C Z(0), C = <Z(t) Z(0)>.
        tau = medium.decorrelation_time_s * math.sqrt(medium.n_screens) * medium.phase_std_rad
        weights = []
        for t in (time_s, 0.0):
            middle = round(2 * t / tau)
            w = {m: math.exp(-2 * (t / tau - m / 2) ** 2) for m in range(middle - 4, middle + 5)}
            norm = math.sqrt(sum(v * v for v in w.values()))
            weights.append({m: v / norm for m, v in w.items()})
        now, start = weights
        c = sum(v * start.get(m, 0) for m, v in now.items())
        noise = c * noise
        for m in now.keys() | start.keys():
            number_of = 2 * m + 1 if m >= 0 else -2 * m
            noise += (now.get(m, 0) - c * start.get(m, 0)) * white("phase screen drift", number_of)
    f = points(n) / (n * medium.step_m)
    root = np.exp(-((np.pi * medium.correlation_length_m * f) ** 2) / 2)
    to, back = transform(np.arange(n), np.arange(n), n), transform(np.arange(n), -np.arange(n), n)
    phase = both(back, np.outer(root, root) * both(to, noise)).real
    return np.exp(1j * medium.phase_std_rad * phase / np.mean(root**2))


def free_space(field: np.ndarray, distance_m: float, step_m: float, wavelength_m: float) -> np.ndarray:
    """Plane waves, each with its phase z (k_z - k)."""
    n = len(field)
    f = points(n) / (n * step_m)
    k_z = 2 * np.pi * np.sqrt(1 / wavelength_m**2 - f[:, None] ** 2 - f[None, :] ** 2)
    to, back = transform(np.arange(n), np.arange(n), n), transform(np.arange(n), -np.arange(n), n)
    return both(back, both(to, field) * np.exp(1j * distance_m * (k_z - 2 * np.pi / wavelength_m)))


def grains_of_pixel(device: Device) -> float:
    """Width of a pixel in grains, wavelength x distance / diameter, where it integrates over its area."""
    if device.optics.held == "magnification":
        return device.camera.pixel_over_grain
    optics = device.optics
    grain_m = device.laser.wavelength_m * optics.focal_m / min(optics.stop_diameter_m, optics.exit_diameter_m)
    return device.camera.pixel_pitch_m / grain_m if optics.pixel_integration else 0.0


def round_stop(n: int, diameter: float) -> np.ndarray:
    """Amplitude of a stop whose power falls from 1 to 0 over a grid step, with the second moment of a round one.

    <r^2> of a disc of radius a is a^2 / 2; the ramp makes it a^2 / 2 + 5 / 24.
    """
    r = np.hypot(points(n)[:, None], points(n)[None, :])
    a = math.sqrt((n * diameter / 2) ** 2 - 5 / 12)
    return np.sqrt(np.clip(a + 0.5 - r, 0, 1))


def exit_face(device: Device, seed: int, light: np.ndarray, channel: int, time_s: float) -> np.ndarray:
    """Field behind the layer and its stop, of one polarisation: lens, screens, space between them, amplitudes."""
    medium, wavelength = device.medium, device.laser.wavelength_m
    n = device.camera.shape[0] * device.sampling.fine
    k = np.arange(n)
    lens = transform(k, np.arange(len(light)) - len(light) // 2, n)
    start = both(lens, light)
    thickness = medium.thickness_m
    if device.optics.held == "lengths":
        # Neighbouring mirrors differ in angle by pitch / f, neighbouring points of the grid by wavelength / width: the
        # layer is as much thicker, since tilts shift light by angle times thickness.
        thickness *= device.dmd.pitch_m / device.optics.illumination_focal_m / (wavelength / (n * medium.step_m))
        if grains_of_pixel(device):
            # What a stop cuts out is lit evenly: each gap spreads a point to an rms of .4 periods at least. The sine of
            # a screen is the slope of its phase over 2 pi / wavelength, or that of light even up to the grid's largest,
            # wavelength / (2 step).
            slope = math.sqrt(2) * medium.phase_std_rad / medium.correlation_length_m * wavelength / (2 * np.pi)
            sine = min(slope, wavelength / (2 * medium.step_m) / math.sqrt(3))
            thickness = max(thickness, (medium.n_screens - 1) * 0.4 * n * medium.step_m / sine)
    # A grain is as many points of the grid wide as the grid is wider than the stop.
    grains = grains_of_pixel(device)
    stop = round_stop(n, grains / device.sampling.fine) if grains else np.ones((n, n))
    stop /= math.sqrt(np.mean(stop**2))
    passing, middle = stop, np.ones((n, n))
    if medium.depolarising:
        if medium.n_screens >= 3 and device.medium.depolarised_at == "middle screen":
            # A quarter of a circle: the abscissa of places that are even in a disc of radius 2.
            key = rng.stream_key(seed, "middle screen", channel)
            r2, turns = rng.uniforms(key, n * n), rng.uniforms(key, n * n, n * n)
            middle = (2 * np.sqrt(r2) * np.cos(np.pi / 2 * turns)).reshape(n, n)
        else:
            # Rayleigh's law: of a circular Gaussian number.
            u = rng.uniforms(rng.stream_key(seed, "exit face", channel), n * n).reshape(n, n)
            passing = stop * np.sqrt(-np.log(u))
    field = start
    for number in range(medium.n_screens):
        if number:
            field = free_space(field, thickness / (medium.n_screens - 1), medium.step_m, wavelength)
        field = field * screen(medium, wavelength, n, number, seed, channel, time_s)
        if number == medium.n_screens // 2:
            field = field * middle / math.sqrt(np.mean(middle**2))
    field = math.sqrt(1 - medium.ballistic_fraction) * passing / math.sqrt(np.mean(passing**2)) * field
    if channel == 0 and medium.ballistic_fraction:
        straight = free_space(start, thickness, medium.step_m, wavelength)
        field = field + math.sqrt(medium.ballistic_fraction) * stop * straight
    return n * field


def at_camera(device: Device, face: np.ndarray, per_pixel: int) -> np.ndarray:
    """Field in the back focal plane of the second lens, at per_pixel points along each side of every pixel."""
    n = len(face)
    fine, pixels = device.sampling.fine, device.camera.shape[0]
    # In samples of the grid; the middles of parts of a pixel.
    place = (np.arange(pixels * per_pixel) + 0.5) * fine / per_pixel - 0.5 - fine * pixels // 2
    lens = np.exp(-2j * np.pi * np.outer(place, points(n)) / n) / math.sqrt(n)
    return both(lens, face)


def swing(times_s: np.ndarray, periods_s: np.ndarray, size: float, after_s: float, key) -> np.ndarray:
    """sum of a (cos(w t + p) - cos p), a ~ sqrt(period), whose rms over the phases p is `size` after so long."""
    w, p = 2 * np.pi / periods_s, 2 * np.pi * rng.uniforms(key, len(periods_s))
    a = np.sqrt(periods_s)
    a = a * size / math.sqrt(np.sum(a**2 * (1 - np.cos(w * after_s))))
    return np.sum(a * (np.cos(np.multiply.outer(times_s, w) + p) - np.cos(p)), axis=-1)


def power(device: Device, seed: int, frame: int, time_s: float, exposure_s: float) -> float:
    """Power of a frame over the mean power."""
    laser = device.laser
    drift = swing(
        np.array(time_s), np.geomspace(600, 4 * 86400, 16), laser.power_drift_per_hour, 3600,
        rng.stream_key(seed, "laser drift"),
    )  # fmt: skip
    noise = float(rng.normals(rng.stream_key(seed, "laser noise"), 1, frame)[0])
    if rate := 4 * device.laser.power_noise_bandwidth_hz:
        # It jumps `rate` times a second, in windows of 1 / rate a Poisson number of times of the mean 1. All jumps from
        # twenty windows before; of a long exposure, what is between its first and last is one normal number.
        keys = [rng.stream_key(seed, f"laser noise {name}") for name in ("jumps", "values")]
        start, end = time_s * rate, (time_s + exposure_s) * rate
        jumps = []
        for window in range(math.floor(start) - 20, math.floor(end) + 1):
            u = rng.uniforms(keys[0], 16, window % 2**58 * 16)
            n = int(np.sum(u[0] >= np.cumsum([1 / math.e / math.factorial(k) for k in range(15)])))
            values = rng.normals(keys[1], 16, window % 2**58 * 16)
            jumps += [(window + u[j], float(values[j])) for j in range(1, n + 1)]
        before, inside = ([v for v in sorted(jumps) if (v[0] > start) == late and v[0] < end] for late in (False, True))
        held = [(start, before[-1][1]), *inside]
        ends = [at for at, _ in inside] + [end]
        if end - start > 12 and inside:
            length = inside[-1][0] - inside[0][0]
            inner = math.sqrt(2 * (length - 1 + math.exp(-length))) * noise
            noise = (inside[0][0] - start) * held[0][1] + inner + (end - inside[-1][0]) * held[-1][1]
        else:
            noise = sum((e - at) * value for (at, value), e in zip(held, ends, strict=True))
        noise /= end - start
    return (1 + float(drift)) * (1 + laser.power_noise * noise)


def reference_at_camera(device: Device, seed: int, per_pixel: int) -> np.ndarray:
    """Field of the arm at the phase 0: tilted within each pixel, beam and wavefront as at its centre."""
    arm, camera = device.reference, device.camera
    y, x = np.meshgrid(*(np.arange(n) for n in camera.shape), indexing="ij")
    r2 = sum(((a - (n - 1) / 2) * camera.pixel_pitch_m) ** 2 for a, n in zip((y, x), camera.shape, strict=True))
    size = arm.relative_amplitude * math.sqrt(device.dmd.n_mirrors / 2) * np.exp(-r2 / arm.beam_radius_m**2)
    phase = zernike(camera.shape, arm.wavefront_rms_rad, seed, "reference wavefront")
    even = np.kron(size * np.exp(1j * phase), np.ones((per_pixel, per_pixel)))
    down, across = (
        np.exp(2j * np.pi * f * ((np.arange(n * per_pixel) + 0.5) / per_pixel - 0.5))
        for f, n in zip(arm.carrier_cycles_per_pixel, camera.shape, strict=True)
    )
    return even * np.outer(down, across)


def turn(device: Device, seed: int, asked_rad: float, frame: int, time_s: float, exposure_s: float) -> complex:
    """Phasor of the arm in a frame: the mean over the exposure, or that of its start."""
    arm = device.reference
    made = asked_rad * (1 + arm.scale_error + arm.nonlinearity * asked_rad / np.pi)
    made += arm.jitter_rad * float(rng.normals(rng.stream_key(seed, "reference jitter"), 1, frame)[0])
    t = np.array([time_s])
    if device.operation.exposure_average:
        t = time_s + exposure_s * (np.arange(4096) + 0.5) / 4096
    drift = swing(
        t, np.geomspace(20, 86400, 16), arm.drift_rad_per_minute, 60, rng.stream_key(seed, "reference drift")
    )  # fmt: skip
    phase = made + drift
    lines = device.reference.vibration_lines_hz
    hz = [arm.vibration_hz, *lines]
    rad = [arm.vibration_rad, *device.reference.vibration_lines_rad]
    starts = [
        *rng.uniforms(rng.stream_key(seed, "reference vibration"), 1),
        *rng.uniforms(rng.stream_key(seed, "reference vibration lines"), len(lines)),
    ]
    for f, a, u in zip(hz, rad, starts, strict=True):
        phase = phase + a * np.sin(2 * np.pi * (f * t + u))
    return complex(np.mean(np.exp(1j * phase)))


def philox(counter: list[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011): four words for each counter."""
    a, b, c, d = (np.asarray(word, dtype=np.uint64) for word in counter)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for i in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        k, m = (np.uint64((int(key[j]) + i * step) % 2**32) for j, step in enumerate((0x9E3779B9, 0xBB67AE85)))
        a, b, c, d = (q >> half) ^ b ^ k, q & low, (p >> half) ^ d ^ m, p & low
    return [a, b, c, d]


def noise_of_pixels(seed: int, frame: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two standard normal numbers for each pixel of a frame, Box and Muller's of the first two words, and a step.

    The angle is the second word without its low bit, as a signed number, in half turns; the low bit turns the cosine.
    The step of telegraph noise is the number of low bits of the last word that are set, of two, less 1.
    """
    pixel = np.arange(n)
    zero = np.zeros(n)
    words = philox([pixel, zero, zero + frame % 2**32, zero + frame // 2**32], rng.stream_key(seed, "camera noise"))
    radius = np.sqrt(-2 * np.log((words[0] + 0.5) / 2**32))
    odd = (words[1] & np.uint64(1)).astype(bool)
    angle = np.pi * (words[1] - odd).astype(np.uint32).view(np.int32).astype(float) / 2**32
    step = np.array([-1.0, 0.0, 0.0, 1.0])[(words[3] % np.uint64(4)).astype(int)]
    return np.where(odd, -1, 1) * radius * np.cos(angle), radius * np.sin(angle), step


def plain(
    device: Device, mirrors: np.ndarray = MIRRORS, *, asked_rad: float | None = None, frame: int = 0,
    time_s: float = 0.0, exposure_s: float = EXPOSURE_S, moments: int = 0, one_phasor: bool = False, seed: int = SEED,
) -> SimpleNamespace:  # fmt: skip
    """Every plane of one exposure, and how far single precision may be from it."""
    laser, dmd, medium, camera, arm = device.laser, device.dmd, device.medium, device.camera, device.reference
    light = light_of_mirrors(device, seed, mirrors)
    channels = range(1 if camera.polarised else 2)
    faces = [exit_face(device, seed, light, channel, state_time(device, time_s)) for channel in channels]
    # The light of a pixel is the integral over its area, here on a raster; a pixel of 0 grains samples a point of the
    # speckle, and still sees fringes over its area.
    grains = grains_of_pixel(device)
    per_pixel = 12 if grains else 1
    wave = np.zeros((1, 1)) if asked_rad is None else reference_at_camera(device, seed, per_pixel)

    def phasor_of(time_s: float, exposure_s: float) -> np.ndarray:
        if asked_rad is None:
            return np.zeros((1, 1))
        # Rows of a rolling shutter are exposed in turn.
        rolling = device.camera.shutter == "rolling"
        late_s = np.arange(camera.shape[0] if rolling else 1) / (camera.frame_rate_hz * camera.shape[0])
        rows = np.array([turn(device, seed, asked_rad, frame, time_s + late, exposure_s) for late in late_s])
        phasor = arm.coherence * np.repeat(rows, per_pixel if rolling else 1)[:, None]
        if not grains:
            phasor = phasor * math.prod(np.sinc(f) for f in arm.carrier_cycles_per_pixel)
        return phasor

    def light_at(faces: list[np.ndarray], phasor: np.ndarray) -> np.ndarray:
        fields = [at_camera(device, face, per_pixel) for face in faces]
        fields[0] = fields[0] + phasor * wave
        return sum(np.abs(field) ** 2 for field in fields) + (1 - np.abs(phasor) ** 2) * np.abs(wave) ** 2

    if moments:  # the mean of the light while medium and reference move
        part_s = exposure_s / moments
        starts = time_s + part_s * np.arange(moments)
        moved = ([exit_face(device, seed, light, channel, t + part_s / 2) for channel in channels] for t in starts)
        whole = phasor_of(time_s, exposure_s)
        phasors = [whole if one_phasor else phasor_of(t, part_s) for t in starts]
        intensity = sum(light_at(*then) for then in zip(moved, phasors, strict=True)) / moments
    else:
        intensity = light_at(faces, phasor_of(time_s, exposure_s))
    fields = [at_camera(device, face, per_pixel) for face in faces]
    size = sum(np.abs(field) ** 2 for field in fields) + np.abs(wave) ** 2
    share = medium.transmission
    if device.optics.held == "lengths":
        # A Lambertian face of exit_diameter, a stop on it, and a lens with Abbe's sine condition.
        optics = device.optics
        stop = min(optics.stop_diameter_m, optics.exit_diameter_m)
        # Stated for a pixel of 5.5 um behind a lens of .1 m without a stop.
        share /= 5.5e-6**2 / (np.pi * 0.1**2)
        share *= camera.pixel_pitch_m**2 / (np.pi * optics.focal_m**2) * (stop / optics.exit_diameter_m) ** 2
    unit = laser.power_w * exposure_s * laser.wavelength_m / (6.62607015e-34 * 299792458)  # photons on the mirrors
    unit *= power(device, seed, frame, time_s, exposure_s) * dmd.efficiency * share / dmd.n_mirrors
    shape = (camera.shape[0], per_pixel, camera.shape[1], per_pixel)
    photons = unit * intensity.reshape(shape).mean(axis=(1, 3))
    # |E + e|^2 - |E|^2 is at most about 2 |E| |e| in each of the fields that meet, with some roundings of its own.
    rms = math.sqrt(np.mean(np.abs(fields[0]) ** 2))
    near = unit * (2 * np.sqrt(size) * LARGEST * rms * math.sqrt(len(fields)) + 1e-6 * size)
    near = near.reshape(shape).mean(axis=(1, 3))

    # The sensor.
    def map_of(purpose, draw=rng.normals):
        return draw(rng.stream_key(seed, "camera " + purpose), camera.n_pixels).astype(float).reshape(camera.shape)

    def lines(purpose, by_row, by_column):
        """What rows and columns add."""
        rows = rng.normals(rng.stream_key(seed, f"camera row {purpose}"), camera.shape[0]).astype(float)
        columns = rng.normals(rng.stream_key(seed, f"camera column {purpose}"), camera.shape[1]).astype(float)
        return by_row * rows[:, None] + by_column * columns

    uneven = camera.prnu * map_of("PRNU") + lines("PRNU", camera.prnu_row, camera.prnu_column)
    gain = camera.quantum_efficiency * np.maximum(1 + uneven, 0)
    hot = map_of("hot pixels", rng.uniforms) < camera.hot_pixel_fraction
    # Log-normal with this mean and this standard deviation.
    square = np.log1p((camera.dark_current_spread_e_per_s / camera.dark_current_e_per_s) ** 2)
    current = camera.dark_current_e_per_s * np.exp(np.sqrt(square) * map_of("dark current") - square / 2)
    warmer = 2 ** ((camera.temperature_c - camera.dark_current_stated_c) / camera.dark_current_doubling_k)
    dark = exposure_s * warmer * np.where(hot, camera.hot_pixel_dark_e_per_s, current)
    mean = gain * photons + dark
    shot, read, step = (word.reshape(camera.shape) for word in noise_of_pixels(seed, frame, camera.n_pixels))
    electrons = mean if not camera.shot_noise else stats.poisson.ppf(special.ndtr(shot), mean)
    electrons = np.minimum(electrons, camera.full_well_e)
    offset = camera.dsnu_e * map_of("DSNU") + lines("DSNU", camera.dsnu_row_e, camera.dsnu_column_e)
    has = map_of("telegraph pixels", rng.uniforms) < camera.telegraph_fraction
    amplitude = np.where(has, -camera.telegraph_e * np.log(map_of("telegraph amplitudes", rng.uniforms)), 0)
    offset += camera.read_noise_e * read + amplitude * step
    # As much as one of a sensor that is linear, if this many are read as they are (n + 4 a n (1 - n / E)).
    end_e = min(camera.full_well_e, (2**camera.bits - 1 - camera.black_level_dn) / camera.gain_dn_per_e)
    inside = np.minimum(electrons, end_e)
    bend = 4 * camera.nonlinearity
    read_as = inside * (1 + bend * (1 - inside / end_e)) + (1 - bend) * (electrons - inside)
    level = camera.black_level_dn + camera.gain_dn_per_e * (read_as + offset)
    return SimpleNamespace(
        dmd_field=light, faces=faces, fields=[at_camera(device, face, device.sampling.fine) for face in faces],
        photons=photons, photons_near=near, mean_e=mean, electrons=electrons,
        electrons_near=gain * near + 1e-6 * mean, level=level,
        counts=np.clip(np.rint(level), 0, 2**camera.bits - 1) if camera.quantise else level,
    )  # fmt: skip


# ------------------------------------------------------------------ devices


def small(**changes) -> Device:
    """The default device of version 1 with few mirrors and pixels, every imperfection made large enough to be seen."""
    spoilt = {
        "dmd.shape": (64, 64), "dmd.contrast_ratio": 300.0, "dmd.beam_radius_m": 3e-4, "dmd.aberration_rms_rad": 0.8,
        "dmd.stuck_on_fraction": 0.01, "dmd.stuck_off_fraction": 0.01, "camera.shape": (64, 64), "camera.bits": 12,
        "camera.gain_dn_per_e": 0.5, "camera.black_level_dn": 20.0, "camera.full_well_e": 9000.0, "camera.prnu": 0.03,
        "camera.dsnu_e": 10.0, "camera.hot_pixel_fraction": 0.01, "camera.hot_pixel_dark_e_per_s": 1e6,
        "reference.beam_radius_m": 3e-4, "reference.coherence": 0.9, "reference.vibration_rad": 0.3,
        "medium.decorrelation_time_s": 5000.0, "medium.transmission": 1.2e-9, "resolution": "mirrors",
        "operation.ones_range": (0, 4096), "operation.exposure_average": False,
    }  # fmt: skip
    return Device.load("aurora@1").evolve(**(spoilt | changes))


QUIET = {"camera.shot_noise": False, "camera.read_noise_e": 0.0}
DEVICES = {
    "all imperfections": {},
    "an even layer": {"medium.depolarising": False, "medium.thickness_m": 1e-4},
    "one screen": {"medium.n_screens": 1, "medium.correlation_length_m": 0.0},
    "five weak screens": {"medium.n_screens": 5, "medium.phase_std_rad": 1.0},
    "ballistic light": {"medium.ballistic_fraction": 0.3},
    "both polarisations": {"camera.polarised": False, "medium.ballistic_fraction": 0.1},
    "off axis": {"reference.carrier_cycles_per_pixel": (0.25, -0.2)},
    "depolarised inside": {"medium.depolarised_at": "middle screen", "medium.ballistic_fraction": 0.1},
    "mean over the exposure": {
        "operation.exposure_average": True,
        "reference.vibration_rad": 1.3,
        "reference.vibration_hz": 1700.0,
        "reference.vibration_lines_hz": (50.0, 3100.0),
        "reference.vibration_lines_rad": (0.7, 0.4),
        "reference.drift_rad_per_minute": 100.0,
    },
    "slow power noise": {"laser.power_noise": 0.1, "laser.power_noise_bandwidth_hz": 10.0},
    "power noise, jump by jump": {"laser.power_noise": 0.1, "laser.power_noise_bandwidth_hz": 2e3},
    "fast power noise": {"laser.power_noise": 0.1, "laser.power_noise_bandwidth_hz": 20e3},
    "lengths": {
        "optics.held": "lengths",
        "optics.stop_diameter_m": 3e-3,
        "medium.transmission": 9e-10,  # nearly all of the light leaves the layer
        "medium.ballistic_fraction": 0.1,
        "medium.thickness_m": 2e-4,
        "laser.power_w": 30e-3,
    },
    "rolling shutter": {"camera.shutter": "rolling", "camera.frame_rate_hz": 300.0},
    "an uneven sensor that is warm and not linear": {
        "camera.dsnu_row_e": 8.0,
        "camera.dsnu_column_e": 5.0,
        "camera.prnu_row": 0.02,
        "camera.prnu_column": 0.01,
        "camera.dark_current_spread_e_per_s": 100.0,
        "camera.temperature_c": 70.0,
        "camera.dark_current_doubling_k": 6.0,
        "camera.nonlinearity": -0.05,
        "camera.telegraph_fraction": 0.2,
        "camera.telegraph_e": 30.0,
    },
    "everything": {
        "camera.shutter": "rolling",
        "camera.frame_rate_hz": 300.0,
        "operation.exposure_average": True,
        "reference.vibration_hz": 900.0,
        "reference.vibration_lines_hz": (3100.0,),
        "reference.vibration_lines_rad": (0.4,),
        "reference.carrier_cycles_per_pixel": (0.25, -0.2),
        "laser.power_noise_bandwidth_hz": 20e3,
        "medium.depolarised_at": "middle screen",
        "camera.polarised": False,
        "optics.held": "lengths",
        "optics.stop_diameter_m": 3e-3,
        "medium.transmission": 9e-10,  # nearly all of the light leaves the layer
        "laser.power_w": 30e-3,
    },
}


def assert_near(found: np.ndarray, expected: np.ndarray, rms: float) -> None:
    """Fields to single precision."""
    error = np.abs(found - expected)
    assert math.sqrt(np.mean(error**2)) < RMS * rms
    assert error.max() < LARGEST * rms


# ------------------------------------------------------------------ every plane


@pytest.mark.parametrize("asked_rad", [None, 2.5], ids=["signal alone", "with reference"])
@pytest.mark.parametrize("changes", DEVICES.values(), ids=DEVICES)
def test_every_plane_without_noise(changes, asked_rad):
    """Fields to single precision; photons and electrons to what that leaves; counts to the grey level.

    A count may differ, by one, where the plain level lies as near to the edge between two as the electrons are certain.
    """
    device = small(**QUIET, **changes)
    bench = OpticalBench(device, SEED)
    bench.skip_frames(1000, frametime_s=3.0)
    found = bench.inspect(MIRRORS, exposure_s=EXPOSURE_S, reference_phase_rad=asked_rad)
    wanted = plain(device, asked_rad=asked_rad, frame=1000, time_s=3000.0)

    np.testing.assert_array_equal(found.mirrors, MIRRORS)
    assert_near(found.dmd_field, wanted.dmd_field, 1.0)
    for channel, field in enumerate(wanted.fields):
        assert_near(found.medium_field[:, :, channel], field, math.sqrt(np.mean(np.abs(field) ** 2)))
    assert np.all(np.abs(found.photons - wanted.photons) < wanted.photons_near)
    assert np.all(np.abs(found.electrons - wanted.electrons) < wanted.electrons_near)
    near_e = wanted.electrons_near + 1e-6 * np.abs(wanted.level / device.camera.gain_dn_per_e)
    at_edge = np.abs(wanted.level % 1 - 0.5) < device.camera.gain_dn_per_e * near_e
    difference = found.counts.astype(int) - wanted.counts
    assert np.all(difference[~at_edge] == 0)
    assert np.all(np.abs(difference) <= 1)
    assert at_edge.mean() < 0.2  # or little would be said
    assert wanted.counts.std() > 50
    shown = bench.expose(MIRRORS, exposure_s=EXPOSURE_S, reference_phase_rad=asked_rad)
    np.testing.assert_array_equal(shown[0], found.counts)


@pytest.mark.parametrize("carrier", [None, (0.0, 0.0), (0.45, -0.3)], ids=["signal alone", "on axis", "off axis"])
@pytest.mark.parametrize(
    "changes",
    [
        {"camera.pixel_over_grain": 0.5}, {"camera.pixel_over_grain": 1.0}, {"camera.pixel_over_grain": 2.0},
        {"optics.held": "lengths", "optics.pixel_integration": True, "optics.exit_diameter_m": 9e-3,
         "medium.transmission": 9e-10},
        {"optics.held": "lengths", "optics.pixel_integration": True, "optics.exit_diameter_m": 9e-3,
         "optics.illumination_focal_m": 60e-3, "medium.transmission": 9e-10},
        {"camera.pixel_over_grain": 1.0, "camera.polarised": False},
    ],
    ids=["half a grain", "one grain", "two grains", "lengths", "long lens", "both polarisations"],
)  # fmt: skip
def test_light_of_a_pixel_is_the_integral_over_its_area(changes, carrier):
    """Points on the pixel are where the field is; their weighted sum is the integral on a raster of 12 x 12.

    The weights are fitted to contrast, neighbours and fringes, not to each pixel, so that a few points cannot do better
    than some percent of a single pixel: 2 % of the mean light is allowed as rms over the pixels, and .2 % for the sum
    over 4096 of them. The raster itself is within (pi f / 12)^2 / 6 of the integral at f cycles a pixel: .3 % at half a
    cycle, 1 % at one, above which a pixel passes next to nothing.
    """
    device = small(**QUIET, **{"reference.carrier_cycles_per_pixel": carrier or (0.0, 0.0)}, **changes)
    asked_rad = None if carrier is None else 2.5
    found = OpticalBench(device, SEED).inspect(MIRRORS, exposure_s=EXPOSURE_S, reference_phase_rad=asked_rad)
    wanted = plain(device, asked_rad=asked_rad)
    fine = device.sampling.fine
    by_pixel = [f.reshape(64, fine, 64, fine).swapaxes(1, 2).reshape(64, 64, fine**2) for f in wanted.fields]
    field = np.concatenate(by_pixel, axis=-1)
    assert_near(found.medium_field, field, math.sqrt(np.mean(np.abs(field) ** 2)))
    mean = wanted.photons.mean()
    assert found.photons.mean() == pytest.approx(mean, rel=0.002)
    assert math.sqrt(np.mean((found.photons - wanted.photons) ** 2)) < 0.02 * mean
    if asked_rad is None:
        light = (found.weights * np.abs(found.medium_field.astype(complex)) ** 2).sum(axis=-1)
        np.testing.assert_allclose(found.photons, light * mean / np.mean(np.abs(field) ** 2), rtol=0.01)


@pytest.mark.parametrize(
    "asked_rad, periods", [(None, 0.0), (2.5, 0.1), (2.5, 1.0), (2.5, 10.0)],
    ids=["signal alone", "slow reference", "one period", "fast reference"],
)  # fmt: skip
def test_a_medium_that_moves_during_a_frame(asked_rad, periods):
    """Light is the mean of intensities, here over 48 moments of an exposure of half a decorrelation time.

    The bench takes three moments of Gauss and Legendre, in steps of time: its square of the contrast is right to 1.2e-4
    (`Drift.within`), and the root of that, .011 of the mean light, is allowed as rms over the pixels. A frame of a
    medium that stands still is .2 off at least. A reference that vibrates by 1 rad meets each state in the phase that
    it has then: with its mean phasor in all of them a frame of up to a period is .015 off at least.
    """
    device = small(
        **QUIET,
        **{
            "operation.exposure_average": True, "medium.decorrelation_time_s": 2 * EXPOSURE_S,
            "reference.vibration_rad": 1.0, "reference.vibration_hz": periods / EXPOSURE_S,
            "reference.drift_rad_per_minute": 0.0,
        },
    )  # fmt: skip
    bench = OpticalBench(device, SEED)
    bench.skip_frames(1, frametime_s=1.0)
    found = bench.inspect(MIRRORS, exposure_s=EXPOSURE_S, reference_phase_rad=asked_rad)
    how = {"asked_rad": asked_rad, "frame": 1, "time_s": 1.0}
    wanted, still = plain(device, moments=48, **how), plain(device, **how)
    mean = wanted.photons.mean()
    assert math.sqrt(np.mean((found.photons - wanted.photons) ** 2)) < 0.011 * mean
    assert math.sqrt(np.mean((still.photons - wanted.photons) ** 2)) > 0.2 * mean
    if asked_rad is not None and periods <= 1:
        alone = plain(device, moments=48, one_phasor=True, **how)
        assert math.sqrt(np.mean((alone.photons - wanted.photons) ** 2)) > 0.015 * mean
    shown = bench.expose(MIRRORS, exposure_s=EXPOSURE_S, reference_phase_rad=asked_rad)
    np.testing.assert_array_equal(shown[0], found.counts)
    assert_near(found.medium_field[:, :, 0], wanted.fields[0], math.sqrt(np.mean(np.abs(wanted.fields[0]) ** 2)))


def test_rows_of_a_rolling_shutter_see_the_next_pattern_too():
    """Row r is exposed from r row times on: what falls behind the end of the frame is light of the next pattern.

    Rows of 1 ms / 64, frames of 1.05 ms, exposures of .4 ms: from row 42 on, and .87 of the last row. Light is that of
    the two patterns to single precision.
    """
    device = small(
        **QUIET, **{"camera.shutter": "rolling", "camera.frame_rate_hz": 1000.0, "laser.power_noise": 0.0,
                    "medium.decorrelation_time_s": math.inf}
    )  # fmt: skip
    patterns = np.stack([MIRRORS, MIRRORS[::-1]])
    with pytest.warns(UserWarning, match="rows 42 to 63"):
        frames = OpticalBench(device, SEED).expose(patterns, exposure_s=EXPOSURE_S, frametime_s=1.05e-3)
    own, other = (plain(device, mirrors, frame=0, time_s=0.0) for mirrors in patterns)
    ends_s = np.arange(64) * 1e-3 / 64 + EXPOSURE_S
    share = np.clip((ends_s - 1.05e-3) / EXPOSURE_S, 0, 1)[:, None]
    electrons = np.minimum((1 - share) * own.mean_e + share * other.mean_e, device.camera.full_well_e)
    level = own.level + device.camera.gain_dn_per_e * (electrons - own.electrons)
    near = device.camera.gain_dn_per_e * (own.electrons_near + other.electrons_near)
    counts = np.clip(np.rint(level), 0, 4095)
    at_edge = np.abs(level % 1 - 0.5) < near
    assert np.all(frames[0][~at_edge] == counts[~at_edge])
    assert np.all(np.abs(frames[0] - counts) <= 1)
    assert np.mean(frames[0][42:] != own.counts[42:]) > 0.9


def test_a_part_of_the_sensor_sees_what_the_whole_of_it_sees_there():
    device = small(**QUIET)
    found = OpticalBench(device, SEED).inspect(MIRRORS, exposure_s=EXPOSURE_S, roi=(10, 20, 30, 40))
    wanted = plain(device)
    here = (slice(10, 40), slice(20, 60))
    assert np.all(np.abs(found.photons - wanted.photons[here]) < wanted.photons_near[here])
    assert np.mean(found.counts != wanted.counts[here]) < 0.01


# ------------------------------------------------------------------ noise


@pytest.mark.parametrize("asked_rad", [None, 2.5], ids=["signal alone", "with reference"])
def test_every_pixel_of_a_noisy_frame(asked_rad):
    """The noise of a pixel is that of its address: Poisson's inverse distribution function at Phi(w), and w'.

    The electrons are whole numbers. They may differ by one where the mean lies as near to a step of the inverse as it
    is certain (`electrons_near` on average), and in 1e-4 of the pixels (`Camera`: the total variation above 12
    electrons).
    A count may differ by one where the electrons do, or where single precision puts it over an edge: 1e-3 of them.
    """
    device = small()
    bench = OpticalBench(device, SEED)
    bench.skip_frames(2**32 + 7, frametime_s=1e-9)  # numbers of frames have 64 bits
    found = bench.inspect(MIRRORS, exposure_s=EXPOSURE_S, reference_phase_rad=asked_rad)
    wanted = plain(device, asked_rad=asked_rad, frame=2**32 + 7, time_s=bench.clock.elapsed_s)
    bright = wanted.mean_e >= 12
    assert bright.mean() > 0.98
    difference = np.abs(found.electrons - wanted.electrons)[bright]
    assert difference.max() <= 1
    share = wanted.electrons_near.mean() + 1e-4
    assert np.mean(difference > 0) < share + 4 * math.sqrt(share / difference.size)
    off = np.abs(found.counts - wanted.counts)[bright]
    assert off.max() <= 1
    assert np.mean(off > 0) < np.mean(difference > 0) + 0.003


def test_mean_and_variance_of_many_frames():
    """EMVA 1288: mean black + K (mu_e + b), variance K^2 (sigma_d^2 + mu_e), of every pixel from few electrons to many.

    For n = 400 frames, mean of each pixel: a normal number after division by its deviation, so the mean of the squares
    over 4096 pixels is 1 to sqrt(2 / 4096) = .022. The variance over its law has the mean 1 to sqrt(2 / 400 / 4096)
    = .0011, more by the kurtosis of dim pixels (1 / mu): .0016. Four deviations are allowed.
    """
    device = small(**{
        "camera.quantise": False, "camera.full_well_e": math.inf, "laser.power_noise": 0.0,
        "laser.power_drift_per_hour": 0.0, "medium.decorrelation_time_s": math.inf, "medium.transmission": 2e-11,
    })  # fmt: skip
    wanted, n, camera = plain(device), 400, device.camera
    frames = OpticalBench(device, SEED).expose(np.stack([MIRRORS] * n), exposure_s=EXPOSURE_S).astype(float)
    offset = camera.dsnu_e * rng.normals(rng.stream_key(SEED, "camera DSNU"), 4096).reshape(64, 64)
    mean = camera.black_level_dn + camera.gain_dn_per_e * (wanted.mean_e + offset)
    variance = camera.gain_dn_per_e**2 * (camera.read_noise_e**2 + wanted.mean_e)
    assert np.mean((frames.mean(axis=0) - mean) ** 2 / (variance / n)) == pytest.approx(1, abs=4 * 0.022)
    assert np.mean(frames.var(axis=0, ddof=1) / variance) == pytest.approx(1, abs=4 * 0.0016)
    dim = wanted.mean_e < 12  # of which the sensor draws by another way
    assert 0.1 < dim.mean() < 0.9
    few = 4 * math.sqrt(2 / n / dim.sum())
    assert np.mean((frames.var(axis=0, ddof=1) / variance)[dim]) == pytest.approx(1, abs=1.5 * few)
