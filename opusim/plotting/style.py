"""The look of all figures, the axes that they are drawn on, and the file that they end in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base.user_arrays import checked_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["ACCENT", "INK", "SOFT", "STYLE", "counted", "save"]

# Dark and light enough to be told apart in grey, and by readers who do not see red and green.
INK = "#14213d"
SOFT = "#9fb3c8"
ACCENT = "#b5541c"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "image.interpolation": "none",
}
"""Settings of matplotlib, as for ``matplotlib.rc_context`` or ``pyplot.rcParams.update``."""

# Curves differ in dashes and markers too, for readers who do not see the colours.
LINES: tuple[dict[str, Any], ...] = (
    {"color": INK, "ls": "-", "marker": "o"},
    {"color": ACCENT, "ls": (0, (5, 2)), "marker": "s"},
    {"color": "#4f7f8f", "ls": (0, (1, 1)), "marker": "^"},
    {"color": "#7a6f9b", "ls": "-.", "marker": "D"},
    {"color": "#8a8d3f", "ls": (0, (3, 1, 1, 1, 1, 1)), "marker": "v"},
    {"color": "#555555", "ls": (0, (8, 3)), "marker": "P"},
    {"color": "#b58a1c", "ls": (0, (2, 3)), "marker": "X"},
    {"color": SOFT, "ls": "-", "marker": "<"},
)

# Sides longer than this are given in mm, shorter ones in µm.
_LONG_M = 2e-3


def save(figure: Figure, path: str | Path, *, dpi: int = 120) -> None:
    """Write a figure to a file; its ending (.png, .pdf, .svg, ...) says the format.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : str or Path
        The file; an existing one is replaced when the new one is whole.
    dpi : int, optional
        Dots per inch, for formats made of dots.

    Raises
    ------
    ValueError
        If matplotlib knows no format of that ending.
    OSError
        If the file cannot be written.
    """
    from opusim.base.files import replacing

    path = Path(path)
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise ValueError(f"The figure's name is {str(path)!r}, but it must end in one of .{', .'.join(sorted(known))}.")
    with replacing(path, "the figure") as temporary:
        figure.savefig(temporary, dpi=dpi)


def counted(n: int, thing: str) -> str:
    """Return a number and what it counts, as "1 output" or "2 outputs".

    Parameters
    ----------
    n : int
        How many.
    thing : str
        The word for one of them.

    Returns
    -------
    str
        The text.
    """
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


@contextmanager
def axes_for(ax: Axes | None, *, size: tuple[float, float] = (5.6, 4.2)) -> Iterator[Axes]:
    """Give axes to draw on: `ax`, or, for None, those of a new figure in the style of this package.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        Axes of the caller, drawn on as they are.
    size : tuple of float
        Width and height of a new figure in inches. It is not one of pyplot's.

    Raises
    ------
    TypeError
        If `ax` is something else.
    """
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if ax is not None:
        if not isinstance(ax, Axes):
            raise TypeError(f"ax is {ax!r} ({type(ax).__name__}), but it must be matplotlib's Axes, or None.")
        yield ax
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots()
        # Drawn here, so that the style holds for the layout too.
        figure.draw_without_rendering()


def image(
    ax: Axes, values: np.ndarray, *, thing: str, pitch_m: tuple[float, float] | None = None, **how: Any
) -> AxesImage:
    """Draw an array as a picture, a square for each entry, row 0 at the top.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where.
    values : ndarray of float, shape (rows, columns)
        The picture.
    thing : str
        What rows and columns count, in the plural: "pixels".
    pitch_m : tuple of float, optional
        Distance of two rows and of two columns in metres; without it, the axes tell their numbers.
    **how
        For `Axes.imshow`.
    """
    rows, columns = values.shape
    if pitch_m is None:
        down, across, xlabel, ylabel = 1.0, 1.0, f"column ({thing})", f"row ({thing})"
    else:
        unit, scale = ("mm", 1e3) if max(rows * pitch_m[0], columns * pitch_m[1]) > _LONG_M else ("µm", 1e6)
        down, across = pitch_m[0] * scale, pitch_m[1] * scale
        xlabel, ylabel = f"{columns} {thing} wide ({unit})", f"{rows} {thing} high ({unit})"
    shown = ax.imshow(values, interpolation="none", extent=(0, columns * across, rows * down, 0), **how)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    for spine in ax.spines.values():
        spine.set_visible(True)
    return shown


def picture_size(shape: tuple[int, ...], width: float = 5.6) -> tuple[float, float]:
    """Return width and height in inches of a figure for a picture of a shape with its scale of colours."""
    return width, min(max(0.75 * width * shape[0] / shape[1] + 0.7, 1.8), 1.2 * width)


def phase_image(ax: Axes, phases: np.ndarray, **how: Any) -> AxesImage:
    """Draw phases from -pi, black, to pi, white, with their scale; `how` is for `image`."""
    shown = image(ax, phases, cmap="gray", vmin=-np.pi, vmax=np.pi, **how)
    bar = colour_scale(shown, "phase (rad)")
    bar.set_ticks([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], labels=["−π", "−π/2", "0", "π/2", "π"])
    return shown


def colour_scale(shown: AxesImage, label: str, **how: Any) -> Colorbar:
    """Put the scale of colours of a picture beside it, as high as it; `how` is for `Figure.colorbar`."""
    # An inset keeps to the picture, whose height follows its shape and not the axes' place.
    bar = shown.axes.figure.colorbar(shown, cax=shown.axes.inset_axes((1.04, 0.0, 0.045, 1.0)), **how)
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return bar


def note(ax: Axes, text: str, at: tuple[float, float], **where: Any) -> None:
    """Write a text at a place of the axes, (0, 0) to (1, 1)."""
    ax.text(*at, text, transform=ax.transAxes, **{"fontsize": "small", **where})


def numbers(name: str, value: Any, *, ndim: int | None = None, kinds: str = "biuf") -> np.ndarray:
    """Return an array after checking its type, its dimensions, that it holds something, and nothing but numbers.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        What was given.
    ndim : int, optional
        Dimensions that it must have.
    kinds : str
        Kinds of numpy types that are allowed; "c" for complex ones.

    Raises
    ------
    TypeError
        If it holds something else.
    ValueError
        If it has other dimensions, is empty, or holds NaN or infinity.
    """
    array = checked_array(name, value, kinds=kinds)
    if ndim is not None and array.ndim != ndim:
        hint = ": give one, as in frames[0]" if array.ndim == ndim + 1 else ""
        raise ValueError(f"{name} has the shape {array.shape}, but it must have {counted(ndim, 'dimension')}{hint}.")
    if not array.size:
        raise ValueError(f"{name} has the shape {array.shape}: there is nothing in it to draw.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite.")
    return array


def of_planes(what: Any, plane: str) -> Any:
    """Return a plane of what `OpticalBench.inspect` gave, or `what` itself if it is something else."""
    return getattr(what, plane) if is_planes(what) else what


def is_planes(what: Any) -> bool:
    """Say whether something is what `OpticalBench.inspect` returns."""
    return hasattr(what, "medium_field") and hasattr(what, "counts")
