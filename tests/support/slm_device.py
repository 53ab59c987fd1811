"""A small device with a phase modulator in front, and what is known of it: for tests of the driver."""

from __future__ import annotations

import dataclasses

import numpy as np

from opusim.calibration.procedures.linear import measure_linear
from opusim.device.record import Device
from opusim.patterns.phases import PhasePatterns

SHAPE = (60, 76)


def slm_device(preset="ideal", *, name="small phases", tables=None, **modulator):
    """Return a device of 4560 pixels that turn phases; keywords are fields of its modulator."""
    table = {"kind": "slm", "name": "small", "shape": list(SHAPE), "pitch_m": 8e-6, **modulator}
    return Device.from_dict(
        {"preset": preset, "name": name, "modulator": table, "operation": {"ones_range": [1, 4560]}, **(tables or {})}
    )


def calibrated(opu):
    """Give an OPU a calibration of its region: the reference's light is that with the arm less that without it."""
    layout, roi, bench = opu.current_fit.layout, opu.device.exposure().bench_roi, opu.bench
    levels = opu.model.modulator.levels
    draws = np.random.default_rng(1).integers(0, levels, (32, layout.n_features_total), dtype=np.uint8)
    shown = PhasePatterns(draws, layout)
    record = measure_linear(bench, mirrors=shown, roi=roi)
    how = {"exposure_s": record.exposure_s, "roi": roi}
    alone = bench.expose(shown, **how).reshape(32, -1).mean(axis=0, dtype=np.float64)
    both = bench.expose(shown, reference_phase_rad=record.asked_rad, **how)
    both = both.reshape(32 * len(record.asked_rad), -1).mean(axis=0, dtype=np.float64)
    record = dataclasses.replace(record, reference_dn=(both - alone).astype(np.float32), coherence=1.0)
    opu.device.linear_records[roi] = record
    return record
