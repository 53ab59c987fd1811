"""The light of a bench as its medium sees it now: how the laser is tuned, and what surrounds the medium."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LightState:
    """Tuning and surroundings. Benches that share a clock share it too: they are one table, with one laser.

    Parameters
    ----------
    tuning_hz : float
        By how many hertz the laser is tuned.
    temperature_change_k, pressure_change_pa : float
        How far the surroundings of the medium are from those for which the device is described.
    shift : float
        What both do to the frequency of the light, over it (`OpticalBench.frequency_shift`).
    """

    tuning_hz: float = 0.0
    temperature_change_k: float = 0.0
    pressure_change_pa: float = 0.0
    shift: float = 0.0

    def given(self) -> dict[str, float]:
        """Return what it was set to, without what follows from that.

        Returns
        -------
        dict of float
            By name.
        """
        return {name: value for name, value in vars(self).items() if name != "shift"}
