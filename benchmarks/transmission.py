"""Transmission matrix of the default device: error against the truth, time, both bases, and focusing with it.

    python benchmarks/transmission.py                 # 1 024 inputs x 16 384 outputs, about two minutes
    python benchmarks/transmission.py --inputs 256    # quicker

The truth is read from the planes of single inputs. Each row's phase, that of the reference, is left free.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from opusim import OpticalBench
from opusim.calibration.procedures.focus import (
    binary_enhancement,
    measure_focus,
    phase_enhancement,
    phase_enhancement_of,
)
from opusim.calibration.procedures.matrix.measure import TmRecord, measure_tm
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

EXPOSURE_S = 400e-6


def square(n_outputs: int, sensor: tuple[int, int]) -> tuple[int, int, int, int]:
    """Square region of about `n_outputs` pixels in the middle of the sensor."""
    side = round(n_outputs**0.5)
    return (sensor[0] - side) // 2, (sensor[1] - side) // 2, side, side


def truth(bench: OpticalBench, layout: MirrorLayout, roi: tuple[int, int, int, int]) -> np.ndarray:
    """True matrix (outputs, inputs), in roots of counts."""
    n = layout.n_features_total
    camera = bench.device.camera
    unit = bench.photons_per_intensity(EXPOSURE_S) * camera.quantum_efficiency * camera.gain_dn_per_e
    result = np.empty((roi[2] * roi[3], n), dtype=np.complex64)
    bits = np.zeros((1, n), dtype=np.uint8)
    off = bench.inspect(MirrorPatterns(bits, layout), roi=roi).medium_field.reshape(-1)
    for j in range(n):
        bits = np.zeros((1, n), dtype=np.uint8)
        bits[0, j] = 1
        field = bench.inspect(MirrorPatterns(bits, layout), roi=roi).medium_field.reshape(-1)
        result[:, j] = (field - off) * np.sqrt(unit)
    return result


def relative_error(record: TmRecord, true: np.ndarray) -> float:
    """Norm of the error over that of the true entries, over the valid pixels, in blocks."""
    wrong = power = 0.0
    for first in range(0, record.n_outputs, 2048):
        part = slice(first, min(record.n_outputs, first + 2048))
        ok = record.valid[part]
        t, m = true[part][ok], record.matrix(part)[ok]
        turn = np.sum(t * m.conj(), axis=1, keepdims=True)
        m = m * (turn / np.maximum(np.abs(turn), 1e-30))
        wrong += float(np.sum(np.abs(m - t) ** 2, dtype=np.float64))
        power += float(np.sum(np.abs(t) ** 2, dtype=np.float64))
    return (wrong / power) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="aurora")
    parser.add_argument("--inputs", type=int, default=1024)
    parser.add_argument("--outputs", type=int, default=16_384)
    parser.add_argument("--targets", type=int, default=2000)
    options = parser.parse_args()
    n = options.inputs
    device = Device.load(options.device)
    bench = OpticalBench(device)
    layout = MirrorLayout.lined(bench.mirror_shape, n)
    roi = square(options.outputs, bench.sensor_shape)
    begin = time.perf_counter()
    true = truth(OpticalBench(device), layout, roi)
    # The simulated medium is prepared on first use, which is no part of a measurement.
    bench.expose(MirrorPatterns(np.zeros((1, n), dtype=np.uint8), layout), exposure_s=EXPOSURE_S, roi=roi)
    print(
        f"{options.device}: {n} inputs x {roi[2] * roi[3]} outputs, {EXPOSURE_S * 1e6:.0f} us, {bench.threads} threads"
    )
    print(f"truth and preparation: {time.perf_counter() - begin:.1f} s\n")
    asked = np.pi / 2 * np.arange(4)
    known = asked * (1 + device.reference.scale_error + device.reference.nonlinearity * asked / np.pi)
    print(f"{'':42s}  error   stored estimate  frames   s here  s of device   pixels kept")
    cases = {
        "Hadamard, 4 steps as asked": {},
        "Hadamard, 4 steps, circular entries": {"circular": True},
        "Hadamard, 4 steps, true phases given": {"actual_rad": known},
        "Hadamard, 8 steps, circular entries": {"steps": 8, "circular": True},
        "Hadamard, 4 steps, circular, 4 repeats": {"repeats": 4, "circular": True},
        "canonical, 4 steps, circular entries": {"basis": "canonical", "circular": True},
    }
    errors, kept = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for k, (name, arguments) in enumerate(cases.items()):
            begin, clock = time.perf_counter(), bench.clock.elapsed_s
            record = measure_tm(
                bench, layout, exposure_s=EXPOSURE_S, roi=roi, out=Path(folder) / f"{k}.h5", **arguments
            )  # type: ignore[arg-type]
            seconds, on_device = time.perf_counter() - begin, bench.clock.elapsed_s - clock
            errors[name], kept[name] = relative_error(record, true), record
            print(
                f"{name:42s} {100 * errors[name]:6.2f} %   {100 * record.relative_error:6.2f} %     {record.frames:8d} "
                f"{seconds:8.1f}  {on_device:8.1f}        {100 * record.valid.mean():7.2f} %"
            )
        ratio = errors["canonical, 4 steps, circular entries"] / errors["Hadamard, 4 steps, circular entries"]
        # Patterns with half the inputs on have more shot noise than single inputs (variance 1 + (|S|^2 + read^2) /
        # |R|^2 in electrons), and the canonical background has noise of its own.
        camera = device.camera
        light = np.mean(np.sum(np.abs(true) ** 2, axis=1)) / camera.gain_dn_per_e / 2
        strong = light * device.reference.relative_amplitude**2
        fixed = camera.read_noise_e**2 + 1 / (12 * camera.gain_dn_per_e**2)
        single, half = 1 + fixed / strong, 1 + (light + fixed) / strong
        expected = np.sqrt(n / 2 * (1 + 8 / n) * single / half)
        print(
            f"\nHadamard better than canonical by {ratio:.1f}; sqrt(n / 2) = {np.sqrt(n / 2):.1f}, and {expected:.1f}"
        )
        print("with the light of half the inputs and the noise of the background counted")
        record = kept["Hadamard, 4 steps, circular entries"]
        focus = measure_focus(bench, record, options.targets)
        share = focus.enhancement / focus.theory
        print(f"\nfocusing, {options.targets} targets, all noise     measured   theory of a perfect device")
        print(f"  binary, on the bench               {focus.enhancement:8.1f}   {focus.theory:8.1f}  ({share:.3f})")
        phase, perfect = phase_enhancement_of(record.matrix(focus.targets), true[focus.targets]), phase_enhancement(n)
        print(f"  phase, through the true matrix     {phase:8.1f}   {perfect:8.1f}  ({phase / perfect:.3f})")
        ideal = OpticalBench(device.ideal())
        record = measure_tm(ideal, layout, exposure_s=EXPOSURE_S, roi=roi, out=Path(folder) / "ideal.h5")
        focus = measure_focus(ideal, record, options.targets)
        phase = phase_enhancement_of(record.matrix(focus.targets))
        print("focusing, noise-free")
        print(
            f"  binary, on the bench               {focus.enhancement:8.1f}   {binary_enhancement(n):8.1f}  "
            f"({focus.enhancement / focus.theory:.3f})"
        )
        print(f"  phase, on the measured matrix      {phase:8.1f}   {perfect:8.1f}  ({phase / perfect:.3f})")


if __name__ == "__main__":
    main()
