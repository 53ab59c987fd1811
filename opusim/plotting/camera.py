"""The photon-transfer curve of a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opusim.base import validation

from .style import ACCENT, INK, SOFT, axes_for, note, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["photon_transfer"]


def photon_transfer(record: Any, ax: Axes | None = None, *, gain_dn_per_e: float | None = None) -> Axes:
    """Draw the temporal variance of flat fields against their level, and the line that the gain is the slope of.

    Parameters
    ----------
    record : CameraRecord, or two ndarrays of float, shape (n,)
        What `opusim.calibration.characterise_camera` found; or mean levels in grey levels (DN), the dark level
        first, and temporal variances in DN².
    ax : matplotlib.axes.Axes, optional
        Where; a figure of its own, apart from pyplot, by default.
    gain_dn_per_e : float, optional
        Gain in DN per electron for the line; that of the record by default. Arrays without it get no line.

    Returns
    -------
    matplotlib.axes.Axes
        EMVA 1288 release 4, 6.6: the variance is that of the dark plus the gain times the signal, up to saturation.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.
    """
    curve = (record.level_dn, record.variance_dn2) if hasattr(record, "variance_dn2") else record
    if not isinstance(curve, (tuple, list)) or len(curve) != 2:
        raise TypeError(f"record is {record!r}, but it must be a CameraRecord, or levels and variances.")
    level, variance = numbers("record[0]", curve[0], ndim=1), numbers("record[1]", curve[1], ndim=1)
    if level.shape != variance.shape:
        raise ValueError(
            f"record has {len(level)} levels and {len(variance)} variances: there must be as many of both."
        )
    gain = getattr(record, "gain_dn_per_e", None) if gain_dn_per_e is None else gain_dn_per_e
    signal, highest = level - level[0], float(variance.max())
    with axes_for(ax) as ax:
        ax.plot(signal, variance, "o", ms=4, mfc=SOFT, mec=INK, label="flat fields", zorder=3)
        if gain is not None:
            line = variance[0] + validation.number("gain_dn_per_e", gain, low=0.0, high=1e9) * signal
            highest = max(highest, float(line.max()))
            ax.plot(signal, line, color=ACCENT, lw=1.4, label=f"gain {gain:.4f} DN/e")
        ax.set(
            xlabel="level above the dark (DN)", ylabel="temporal variance (DN²)", xlim=(0, None),
            ylim=(0, 1.1 * highest or 1.0),
        )  # fmt: skip
        ax.legend(loc="upper left")
        if hasattr(record, "read_noise_e"):
            read = f"read noise {record.read_noise_e:.3g} e"
            patterns = f"PRNU {100 * record.prnu:.2g} %, DSNU {record.dsnu_e:.3g} e"
            if getattr(record, "dsnu_row_e", None) is not None:
                rows = f"rows {100 * record.prnu_row:.2g} %, {record.dsnu_row_e:.2g} e"
                patterns += f"\n{rows}; columns {100 * record.prnu_column:.2g} %, {record.dsnu_column_e:.2g} e"
            note(ax, f"{read}\n{patterns}", (0.97, 0.05), ha="right", va="bottom")
    return ax
