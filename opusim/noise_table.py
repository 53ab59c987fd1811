"""The noise budget as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .noise_sources import SOURCES, ErrorBudget

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["fill_error_table"]


def fill_error_table(table: Table, budgets: list[ErrorBudget]) -> None:
    """Add a column for each budget, and a row for each source from the largest share down.

    Parameters
    ----------
    table : rich.table.Table
        An empty one.
    budgets : list of ErrorBudget
        Of one device.
    """
    table.add_column("source")
    for budget in budgets:
        point = budget.point
        steps = f"{point.n_steps} x " if point.mode == "linear" else ""
        table.add_column(f"{point.mode}, {steps}{1e6 * point.exposure_s:.0f} µs", justify="right")

    def share(budget: ErrorBudget, name: str) -> float:
        return budget.share(name) if name in budget.errors else 0.0

    for name in sorted(SOURCES, key=lambda name: -max(share(b, name) for b in budgets)):
        cells = [_percent(share(b, name)) if name in b.errors else "" for b in budgets]
        table.add_row(name, *cells)
    table.add_section()
    table.add_row("rms error over spread", *(f"{100 * budget.rms:.2g} %" for budget in budgets))


def _percent(share: float) -> str:
    """One decimal; what is below a tenth of a percent is told to be so."""
    percent = 100 * share
    if abs(percent) < 1e-9:
        return "0 %"
    return f"{percent:.1f} %" if abs(percent) >= 0.05 else "< 0.1 %"
