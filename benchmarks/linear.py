"""What the linear transform costs in accuracy: `python benchmarks/linear.py [--vectors 200] [--outputs 10000]`.

Default device, or `--device aurora@1`, 784 half-on features. The error is the rms of R x - (R x) without noise, over
the rms of R x, after one gain a pixel was fitted (its response and the level of the reference there belong to the
matrix); beside it with one gain for all pixels, so that a wrong map of the reference, and gains of pixels, show.
Without noise means the same mirrors, beam, medium and reference, with shot noise, read noise, rounding, jitter, drift
and vibration off, and in the second column of holography the leak of off mirrors too.

- Holographic: steps 3, 4, 8 at the exposure that its calibration chooses, and at mean signals of 50, 500 and 5 000
  electrons. Where the default camera would clip, its gain is lowered and its full well opened: such rows are marked.
- By intensity: the same mean signals; and at the device's own exposure with two and five frames a vector, beside the
  floor: the same estimate with shot noise alone; and for other numbers of vectors in a call, which share its anchors.
- Both at one photon budget a vector.

`--only intensity` leaves out what is holographic, and what needs its signal.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np

from opusim import OPU
from opusim.device.record import Device

N_FEATURES = 784
QUIET = {
    "camera.shot_noise": False, "camera.read_noise_e": 0.0, "camera.quantise": False, "camera.prnu": 0.0,
    "camera.dsnu_e": 0.0, "camera.dark_current_e_per_s": 0.0, "camera.hot_pixel_fraction": 0.0,
    "camera.dsnu_row_e": 0.0, "camera.dsnu_column_e": 0.0, "camera.prnu_row": 0.0, "camera.prnu_column": 0.0,
    "camera.dark_current_spread_e_per_s": 0.0, "camera.nonlinearity": 0.0, "camera.telegraph_fraction": 0.0,
    "camera.full_well_e": float("inf"), "laser.power_noise": 0.0, "laser.power_drift_per_hour": 0.0,
    "reference.jitter_rad": 0.0, "reference.drift_rad_per_minute": 0.0, "reference.vibration_rad": 0.0,
}  # fmt: skip


def electrons_per_s(device: Device) -> float:
    """Mean signal of half of the mirrors, in electrons a second."""
    with OPU(10, device=device) as opu:
        bench, camera = opu.bench, device.camera
        level = bench.expected_level_dn(device.dmd.n_mirrors / 2, 1e-3) - bench.expected_level_dn(0, 1e-3)
    return level / camera.gain_dn_per_e / 1e-3


def error(seen: np.ndarray, true: np.ndarray) -> float:
    """Relative rms error after one gain a pixel."""
    gain = (seen * true.conj()).mean(axis=0) / (np.abs(true) ** 2).mean(axis=0)
    return float(np.sqrt(np.mean(np.abs(seen - gain * true) ** 2) / np.mean(np.abs(seen) ** 2)))


def error_of_all(seen: np.ndarray, true: np.ndarray) -> float:
    """Relative rms error after one gain for all pixels."""
    gain = (seen * true.conj()).mean() / (np.abs(true) ** 2).mean()
    return float(np.sqrt(np.mean(np.abs(seen - gain * true) ** 2) / np.mean(np.abs(seen) ** 2)))


def by_pixel(y: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Relative rms error of each pixel, after its gain."""
    gain = (y * true).mean(axis=0) / (true**2).mean(axis=0)
    return np.asarray(np.sqrt(np.mean((y - gain * true) ** 2, axis=0) / np.mean((gain * true) ** 2, axis=0)))


def holographic(device: Device, x: np.ndarray, n_outputs: int, steps: int, exposure_s: float | None):
    """Fields of the vectors, and the calibration."""
    with OPU(n_outputs, device=device, rescale="none") as opu:
        opu.fit1d(x)
        opu.calibrate(steps=steps, exposure_s=exposure_s, store=False)
        opu.field_transform(x[:2])  # the fit's own fields
        frames = opu.bench.clock.frames
        start = time.perf_counter()
        field = np.asarray(opu.field_transform(x))
        lasted = time.perf_counter() - start
        return field, opu.calibration, (opu.bench.clock.frames - frames) / len(x), lasted


def with_frames(device: Device, frames: int) -> Device:
    """The device with so many frames a vector by intensity."""
    return device.evolve(**{"operation.frames_per_vector": frames})


def by_intensity(device: Device, x: np.ndarray, n_outputs: int, exposure_s: float):
    """R x by intensity, and frames a vector."""
    with OPU(n_outputs, device=device, rescale="none", linear_mode="intensity") as opu:
        opu.fit1d(x, exposure_us=exposure_s * 1e6)
        frames = opu.bench.clock.frames
        y = np.asarray(opu.linear_transform(x))
        return y, (opu.bench.clock.frames - frames) / len(x)


def roomy(device: Device, share: float) -> Device:
    """The device with a camera that takes `1 / share` times the light before it clips; itself if it needs no room."""
    if share >= 1:
        return device
    return device.evolve(
        **{"camera.gain_dn_per_e": device.camera.gain_dn_per_e * share, "camera.full_well_e": float("inf")}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=200)
    parser.add_argument("--outputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="aurora")
    parser.add_argument("--only", choices=("intensity", "holographic"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    model = Device.load(options.device)
    x = np.random.default_rng(options.seed).integers(0, 2, (options.vectors, N_FEATURES), dtype=np.uint8)
    rate = electrons_per_s(model)
    print(
        f"{options.device}, seed 0; {N_FEATURES} -> {options.outputs}, {options.vectors} vectors of seed {options.seed}"
    )
    print(
        f"reference over signal {model.reference.relative_amplitude}; signal {rate * 1e-3:.0f} electrons a millisecond,"
    )
    print(f"{rate * model.operation.exposure_s:.1f} at the device's own exposure\n")
    chosen = None if options.only == "intensity" else by_fringes(model, x, options.outputs, rate)
    if options.only != "holographic":
        at_own_exposure(model, x, options.outputs)
        by_call_size(model, options.seed, options.outputs)
    if options.only is None:
        at_signals(model, x, options.outputs, rate, *chosen)


def by_fringes(model: Device, x: np.ndarray, outputs: int, rate: float) -> tuple[float, float]:
    """Print the holographic tables; return electrons and error of four steps at the calibrated exposure."""
    quiet = model.evolve(**QUIET)
    true, *_ = holographic(quiet, x, outputs, 4, 1e-3)
    no_leak, *_ = holographic(quiet.evolve(**{"dmd.contrast_ratio": float("inf")}), x, outputs, 4, 1e-3)
    ratio = model.reference.relative_amplitude
    print("holographic, calibrated exposure")
    print("steps  reference    exposure  electrons  frames/vector  error   one gain  own estimate  floor   ms/vector")
    chosen = {}
    for steps, way in ((3, "demodulated"), (4, "alone"), (4, "demodulated"), (8, "demodulated")):
        device = model.evolve(**{"operation.reference_map": way})
        field, record, frames, lasted = holographic(device, x, outputs, steps, None)
        electrons = rate * record.exposure_s
        floor = np.sqrt((1 + 1 / ratio**2) / steps / electrons)
        chosen[steps] = electrons, error(field, true)
        print(
            f"{steps:5d}  {way:<11}  {record.exposure_s * 1e6:5.0f} us  {electrons:9.0f}  {frames:13.2f}  "
            f"{chosen[steps][1]:.4f}  {error_of_all(field, no_leak):8.4f}  {record.relative_error:12.4f}  {floor:.4f}  "
            f"{lasted / len(x) * 1e3:9.2f}"
        )
    print("\nholographic, given mean signal (* camera with room for it)")
    print("electrons  steps 3  steps 4  steps 8  floor 4")
    for electrons in (50, 500, 5000):
        share = chosen[4][0] / electrons
        device = roomy(model, share)
        errors = [error(holographic(device, x, outputs, steps, electrons / rate)[0], true) for steps in (3, 4, 8)]
        floor = np.sqrt((1 + 1 / ratio**2) / 4 / electrons)
        mark = "*" if device is not model else " "
        print(f"{electrons:8d}{mark}  " + "  ".join(f"{e:7.4f}" for e in errors) + f"  {floor:7.4f}")
    return chosen[4]


def at_own_exposure(model: Device, x: np.ndarray, outputs: int) -> None:
    """Print what two and five frames a vector give by intensity."""
    print("\nby intensity, the device's own exposure")
    print("frames  frames/vector  rms error  one gain  shot-noise floor  median over pixels")
    own_s = model.operation.exposure_s
    for frames in (2, 5):
        device = with_frames(model, frames)
        known, _ = by_intensity(device.evolve(**QUIET), x, outputs, own_s)
        y, each = by_intensity(device, x, outputs, own_s)
        shot = device.evolve(**(QUIET | {"camera.shot_noise": True}))
        floor = error(by_intensity(shot, x, outputs, own_s)[0], known)
        middle = np.median(by_pixel(y, known))
        errors = f"{error(y, known):9.4f}  {error_of_all(y, known):8.4f}"
        print(f"{frames:6d}  {each:13.2f}  {errors}  {floor:16.4f}  {middle:18.4f}")


def by_call_size(model: Device, seed: int, outputs: int) -> None:
    """Print what calls of other numbers of vectors give by intensity, with one gain for all pixels.

    A gain of each pixel cannot be fitted to one vector; and fitted to few, it takes some of their noise out.
    """
    print("\nby intensity, errors by the vectors of a call, one gain for all pixels")
    sizes = (1, 64, 65, 128, 400)
    print("frames  " + "  ".join(f"{n:6d}" for n in sizes))
    more = np.random.default_rng([seed, 1]).integers(0, 2, (max(sizes), N_FEATURES), dtype=np.uint8)
    own_s = model.operation.exposure_s
    for frames in (2, 5):
        device = with_frames(model, frames)
        known, _ = by_intensity(device.evolve(**QUIET), more, outputs, own_s)
        found = (error_of_all(by_intensity(device, more[:n], outputs, own_s)[0], known[:n]) for n in sizes)
        print(f"{frames:6d}  " + "  ".join(f"{e:6.4f}" for e in found))


def at_signals(model: Device, x: np.ndarray, outputs: int, rate: float, electrons_of_four: float, best: float) -> None:
    """Print what intensities give at given mean signals, and at the photons of a holographic vector."""
    quiet, ratio = model.evolve(**QUIET), model.reference.relative_amplitude
    print("\nby intensity, given mean signal (* camera with room for it)")
    print("electrons  frames/vector  rms error  median over pixels")
    y_true, _ = by_intensity(quiet, x, outputs, 1e-3)

    def intensity_row(electrons: float, label: str) -> None:
        # All features on give twice the signal; a full scale of eight times that hardly clips (docs/physics.md).
        scale = model.camera.full_scale_dn / model.camera.gain_dn_per_e / (8 * 2 * electrons)
        device = roomy(model, scale)
        y, frames = by_intensity(device, x, outputs, electrons / rate)
        per_pixel = by_pixel(y, y_true)
        mark = "*" if device is not model else " "
        print(f"{label:>8s}{mark}  {frames:13.2f}  {error(y, y_true):9.4f}  {np.median(per_pixel):18.4f}")

    for electrons in (50, 500, 5000):
        intensity_row(electrons, str(electrons))
    budget = 4 * (1 + ratio**2) * electrons_of_four
    print(f"\none budget of {budget:.0f} electrons a vector and pixel: holographic, 4 steps, {best:.4f}; by intensity:")
    intensity_row(budget / 2, f"{budget / 2:.0f}")


if __name__ == "__main__":
    main()
