"""The simulated truth beside what was measured: the one place of this room that knows the simulation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from opusim.bench.bench import OpticalBench
from opusim.bench.protocol import Identity
from opusim.calibration.procedures.matrix.file import TmRecord
from opusim.device.record import Device
from opusim.device.toml import presets
from opusim.device.versions import told_version
from opusim.patterns.layout import MirrorPatterns

__all__ = ["known_device", "true_entries"]


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
    for spec in presets():
        device = Device.load(spec)
        if device.name == identity.name and device.fingerprint() == identity.fingerprint:
            return device, f"that of the preset {spec}"
    return None, "not known: no preset has this fingerprint (--device names the device)"


def true_entries(
    record: TmRecord, device: Device, seed: int, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray | None:
    """Return entries of the simulated matrix, from the fields of single inputs less that of none.

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
    ndarray of complex128, shape (rows, columns), or None
        Entries in roots of counts; None if a pixel has several fields.
    """
    bench, layout = OpticalBench(device, seed), record.layout()
    bits = np.zeros((len(columns) + 1, layout.n_features_total), dtype=np.uint8)
    bits[np.arange(1, len(bits)), columns] = 1
    camera = device.camera
    scale = math.sqrt(bench.photons_per_intensity(record.exposure_s) * camera.quantum_efficiency * camera.gain_dn_per_e)
    fields = np.empty((len(bits), len(rows)), dtype=np.complex128)
    for k, one in enumerate(bits):
        planes = bench.inspect(MirrorPatterns(one[None], layout), exposure_s=record.exposure_s, roi=record.rectangle)
        if planes.medium_field.shape[-1] != 1:
            return None
        fields[k] = planes.medium_field.reshape(-1)[rows]
    return scale * (fields[1:] - fields[0]).T
