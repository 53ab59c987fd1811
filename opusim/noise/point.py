"""A device and the circumstances of an output, for which a budget is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from opusim.fringes.calibrated import REFERENCE_FRAMES, reference_bursts

if TYPE_CHECKING:
    from opusim.bench.region import Roi
    from opusim.device.record import Device

__all__ = ["MODES", "Mode", "WorkingPoint"]

Mode = Literal["intensity", "linear"]
MODES = ("intensity", "linear")


@dataclass(frozen=True)
class WorkingPoint:
    """A device and the circumstances of an output. Made by `working_point`.

    Parameters
    ----------
    device : Device
        The device.
    mode : "intensity" or "linear"
        What an output is: a count, or a field measured by phase-shifting holography.
    share_on : float
        Share of the mirrors (of the features) that are on; 1 for a phase modulator.
    exposure_s : float
        Exposure of a frame in seconds.
    elapsed_s : float
        Time since the state of the medium that outputs are compared with, in seconds.
    n_steps : int
        Frames of a burst in linear mode; 1 in intensity mode.
    frametime_s : float
        Time from one frame to the next in seconds.
    roi : tuple of int
        Region of the sensor: (row, column, n_rows, n_columns).
    """

    device: Device
    mode: Mode
    share_on: float
    exposure_s: float
    elapsed_s: float
    n_steps: int
    frametime_s: float
    roi: Roi

    @property
    def electrons_per_intensity(self) -> float:
        """Electrons in a pixel for the light of one average mirror."""
        return self.device.photons_per_intensity(self.exposure_s) * self.device.camera.quantum_efficiency

    @property
    def leakage(self) -> float:
        """Intensity of an off mirror over that of the same mirror on."""
        # A measured matrix is that of the features' changes.
        return 0.0 if self.device.medium.by_feature else self.device.dmd.off_amplitude**2

    @property
    def unmodulated(self) -> float:
        """Share of the light that no level of a phase modulator turns; 0 for mirrors."""
        return self.device.modulator.unmodulated_share

    @property
    def demodulated(self) -> bool:
        """Whether the light of off mirrors is taken out of the measured ``|R|^2`` (`Operation.reference_map`)."""
        return self.device.operation.reference_map == "demodulated"

    @property
    def reference_frames(self) -> int:
        """Frames from which ``|R|^2`` is measured."""
        return reference_bursts(self.n_steps) * self.n_steps if self.demodulated else REFERENCE_FRAMES

    @property
    def dark_e(self) -> float:
        """Electrons that a pixel gathers in the dark, averaged over ordinary and hot pixels."""
        return self.device.camera.mean_dark_e(self.exposure_s)

    @property
    def ordinary_dark_e(self) -> float:
        """Electrons that a pixel gathers in the dark, averaged over those that are not hot."""
        return self.device.camera.mean_dark_current_e_per_s * self.exposure_s

    @property
    def hot_dark_e(self) -> float:
        """Electrons that a hot pixel gathers in the dark."""
        return self.device.camera.hot_dark_current_e_per_s * self.exposure_s

    @property
    def dark_spread_e(self) -> float:
        """Standard deviation of these electrons over pixels that are not hot."""
        return self.device.camera.dark_current_deviation_e_per_s * self.exposure_s

    @property
    def full_scale_dn(self) -> float:
        """Count from which a pixel is taken as saturated; inf for a camera that returns floats.

        The end of the scale, or, where the full well comes first, four standard deviations below its level, as
        ``opusim.calibration.on_bench.saturation_dn`` finds it.
        """
        camera = self.device.camera
        if not camera.quantise:
            return math.inf
        well = camera.black_level_dn + camera.gain_dn_per_e * camera.full_well_e
        spread_e2 = camera.temporal_dark_noise_e**2 + camera.total_dsnu_e(0.0) ** 2
        width = math.sqrt(camera.gain_dn_per_e**2 * spread_e2 + 1 / 12)
        return float(min(camera.full_scale_dn, math.floor(well - 4 * width) if math.isfinite(well) else math.inf))

    def pattern_correlation(self, *, leakage: bool = True) -> float:
        """Return the correlation of the fields of two patterns that have as many mirrors on, else nothing in common.

        Parameters
        ----------
        leakage : bool
            Whether the light of off mirrors counts, which both have.

        Returns
        -------
        float
            (f + eps (1 - f))^2 / (f + eps^2 (1 - f)) with the share f of mirrors on, and eps^2 the leakage: the share
            of both patterns' light that comes from the same mirrors.
        """
        share, eps = self.share_on, math.sqrt(self.leakage) if leakage else 0.0
        return (share + eps * (1 - share)) ** 2 / (share + eps**2 * (1 - share))

    @property
    def field_correlation(self) -> float:
        """Correlation of the field with that of the state it is compared with, in the medium's own steps of time.

        That of a modulator that moves is a part of it.
        """
        medium, device = self.device.medium, self.device
        kept = medium.field_correlation(medium.drift.time(int(medium.drift.state(np.array(self.elapsed_s)))))
        return kept * device.modulator.field_correlation(self.elapsed_s, device.averaged_s(self.exposure_s))
