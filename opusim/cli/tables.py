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


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.001:
        return "< 0.001 %"
    return f"{percent:.1f} %" if percent >= 0.1 or not percent else f"{percent:.1g} %"


def _joules(energy_j: float) -> str:
    """Two significant digits, without an exponent: 27 J, 0.30 J."""
    if energy_j <= 0:
        return "0 J"
    places = 1 - math.floor(math.log10(energy_j))
    return f"{round(energy_j, places):.{max(0, places)}f} J"


def _level(level_dn: float, device: Device) -> str:
    if not device.camera.quantise:
        return f"{level_dn:.2f} DN, float32, not rounded"
    return f"{level_dn:.2f} DN of {2**device.camera.bits - 1}"
