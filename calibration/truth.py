"""The simulated truth beside what was measured: the one place of this room that knows the simulation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from opusim.bench.bench import OpticalBench
from opusim.bench.protocol import Identity, Repeatable, has, level_turns_of
from opusim.calibration.on_bench import shown_features
from opusim.calibration.procedures.matrix.file import TmRecord
from opusim.device.record import Device
from opusim.device.toml import presets
from opusim.device.versions import told_version

from .files import device_of

__all__ = ["known_device", "simulated_device", "true_entries"]


def known_device(identity: Identity, given: Device | None, path: Path) -> tuple[Device | None, str]:
    """Return the simulated device of this fingerprint, and a word about it.

    Parameters
    ----------
    identity : Identity
        Whose the calibration is.
    given : Device or None
        The device that it is said to be; otherwise a preset is looked for.
    path : Path
        The file, for messages.

    Raises
    ------
    ValueError
        If `given` is another device.
    """
    if given is not None:
        if given.fingerprint() != identity.fingerprint:
            raise ValueError(
                f"{path} belongs to another device: {identity.name or 'one without a name'} with the fingerprint "
                f"{identity.fingerprint[:12] or 'none'}, but {given.name} has {given.fingerprint()[:12]}. "
                f"{told_version(identity.fingerprint, given)}".rstrip()
            )
        return given, f"that of the device {given.name}"
    if not identity.fingerprint:
        return None, "not known: the bench has no record that says which device it is"
    for spec in presets():
        device = Device.load(spec)
        if device.name == identity.name and device.fingerprint() == identity.fingerprint:
            return device, f"that of the preset {spec}"
    return None, "not known: no preset has this fingerprint (--device names the device)"


def simulated_device(bench: Any) -> Device | None:
    """Return the device of a simulated bench; None of a laboratory's, of whose record nothing is known to be true.

    Parameters
    ----------
    bench : Bench
        Any bench.

    Returns
    -------
    Device or None
        The device.
    """
    device = device_of(bench)
    return device if isinstance(device, Device) and has(bench, Repeatable) else None


def true_entries(record: TmRecord, device: Device, seed: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return entries of the simulated matrix, from the fields of single inputs less that of none, or of its opposite.

    Parameters
    ----------
    record : TmRecord
        The measured matrix.
    device : Device
        The simulated device.
    seed : int
        Its seed.
    rows, columns : ndarray of int64
        Outputs and inputs.

    Returns
    -------
    ndarray of complex128, shape (rows, columns)
        Entries in roots of counts.

    Notes
    -----
    What the reference R tells of a pixel that adds up several fields S_k with weights w_k is the sum of w_k S_k
    conj(R_k): over its area with the tilt of the reference, and of the polarisation of the reference alone. A
    measurement divides by the contrast of the fringes, and so does this: the mean square of all entries is that of the
    sum of w_k |S_k|^2, the light of a pixel.
    """
    bench, layout = OpticalBench(device, seed), record.layout()
    phases = level_turns_of(bench) is not None
    bits = np.zeros((len(columns) + 1, layout.n_features_total), dtype=np.uint8)
    bits[np.arange(1, len(bits)), columns] = 1
    camera = device.camera
    scale = math.sqrt(bench.photons_per_intensity(record.exposure_s) * camera.quantum_efficiency * camera.gain_dn_per_e)
    passed = _reference_weights(record, device, seed, rows)
    fields = np.empty((len(bits), len(rows)), dtype=np.complex128)
    light = interfering = 0.0
    none: np.ndarray | None = None
    for k, one in enumerate(bits):
        # Of a phase modulator the bit 1 is the phase 0 and 0 is half a turn: an input is half of the difference.
        shown = shown_features(bench, one[None], layout)
        planes = bench.inspect(shown, exposure_s=record.exposure_s, roi=record.rectangle)
        points = planes.medium_field.reshape(-1, planes.medium_field.shape[-1])[rows].astype(np.complex128)
        fields[k] = np.sum(points * passed, axis=1)
        if none is None:
            none = points
        else:
            light += float(np.sum(planes.weights * np.abs(points - none) ** 2))
            interfering += float(np.sum(np.abs(fields[k] - fields[0]) ** 2))
    contrast = math.sqrt(interfering / light) if light > 0 and interfering > 0 else 1.0
    return scale / contrast * (0.5 if phases else 1.0) * (fields[1:] - fields[0]).T


def _reference_weights(record: TmRecord, device: Device, seed: int, rows: np.ndarray) -> np.ndarray:
    """Weights of the fields of a pixel in its fringes: w_k conj(R_k) / |R|, complex128 (rows, samples)."""
    sampling = device.sampling
    weights = sampling.weights
    if sampling.samples == 1:
        return weights.astype(np.complex128)[None]
    row, column, _, n_columns = record.rectangle
    down, across = np.divmod(rows, n_columns)
    pixels = (row + down) * device.camera.shape[1] + column + across
    wave = device.reference.field(
        pixels, sensor_shape=device.camera.shape, pixel_pitch_m=device.camera.pixel_pitch_m,
        n_mirrors=device.dmd.shape[0] * device.dmd.shape[1], seed=seed, offsets=sampling.offsets,
    ).astype(np.complex128)  # fmt: skip
    wave /= np.maximum(np.abs(wave), 1e-300)
    passed = np.zeros((len(rows), sampling.channels, sampling.points), dtype=np.complex128)
    # The others are of the polarisation that the reference has not.
    passed[:, : len(sampling.lines)] = wave.conj()[:, None]
    passed *= weights.reshape(1, sampling.channels, sampling.points)
    found: np.ndarray = passed.reshape(len(rows), -1)
    return found
