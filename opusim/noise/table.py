"""The noise budget as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .budget import ErrorBudget, names_of
from .sources import FIXED

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["fill_error_table"]


def fill_error_table(table: Table, budgets: list[ErrorBudget]) -> None:
    """Add a column for each budget, and a row for each source from the largest share down.

    Parameters
    ----------
    table : rich.table.Table
        An empty one. It gets a caption, which tells how to read it.
    budgets : list of ErrorBudget
        Of one device.
    """
    table.add_column("source")
    table.add_column("from frame to frame")
    for budget in budgets:
        point = budget.point
        steps = f"{point.n_steps} x " if point.mode == "linear" else ""
        table.add_column(f"{point.mode}, {steps}{1e6 * point.exposure_s:.0f} µs", justify="right")

    def share(budget: ErrorBudget, name: str) -> float:
        return budget.share(name) if name in budget.errors else 0.0

    for name in sorted(names_of(budgets), key=lambda name: -max(share(b, name) for b in budgets)):
        cells = [_percent(share(b, name)) if name in b.errors else "" for b in budgets]
        table.add_row(name, "the same" if name in FIXED else _AGES.get(name, "new"), *cells)
    table.add_section()
    table.add_row("together", "new", *(_percent(budget.new_share) for budget in budgets))
    table.add_row(
        "together", "the same", *(_percent(1 - budget.new_share if budget.total else 0.0) for budget in budgets)
    )
    table.add_section()
    table.add_row("rms error over spread", "", *(_two_digits(budget.rms) for budget in budgets))
    notes = [_READING]
    if any(share(budget, "saturation") < -5e-4 for budget in budgets if budget.point.mode == "linear"):
        notes.append(_SATURATION)
    table.caption = " ".join(notes)
    table.caption_justify = "left"


_AGES = {"decorrelation": "with time", "lag": "by the last"}
_READING = (
    "Shares are of the whole error of an output, which also counts leakage, rounding on the scale's ends and what time "
    "does, relative to the spread of outputs; those of camera and laser are therefore not those in the variance of a "
    "grey level. What is the same in every frame makes another matrix: a trained readout loses next to nothing by it."
)
_SATURATION = (
    "Saturation can be below 0 in linear mode: the field of a burst with a saturated frame comes from the other frames "
    "and the known |R|, and that way has the smaller error."
)


def _percent(share: float) -> str:
    """One decimal; what is below a tenth of a percent is told to be so."""
    percent = 100 * share
    if abs(percent) < 1e-9:
        return "0 %"
    return f"{percent:.1f} %" if abs(percent) >= 0.05 else "< 0.1 %"


def _two_digits(share: float) -> str:
    """Two digits below 100 %, and whole percents from there on; none with an exponent."""
    percent = 100 * share
    if 0 < percent < 1e-3:
        return "< 0.001 %"
    return f"{percent:.0f} %" if percent >= 99.5 else f"{percent:.2g} %"
