"""Tables and numbers as the commands print them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from opusim.device.record import Device


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column)
    return table


def percent(share: float) -> str:
    """One decimal, or one digit; what is below a thousandth of a percent is told to be so."""
    hundredths = 100 * share
    if 0 < hundredths < 0.001:
        return "< 0.001 %"
    return f"{hundredths:.1f} %" if hundredths >= 0.1 or not hundredths else f"{hundredths:.1g} %"


def joules(energy_j: float) -> str:
    """Two significant digits, without an exponent: 27 J, 0.30 J."""
    if energy_j <= 0:
        return "0 J"
    places = 1 - math.floor(math.log10(energy_j))
    return f"{round(energy_j, places):.{max(0, places)}f} J"


def _level(level_dn: float, device: Device) -> str:
    if not device.camera.quantise:
        return f"{level_dn:.2f} DN, float32, not rounded"
    return f"{level_dn:.2f} DN of {2**device.camera.bits - 1}"
