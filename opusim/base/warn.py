"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_outside"]


def warn_outside(
    text: str, category: type[Warning] = UserWarning, *, inside: tuple[str, ...] = ("opusim.", "contextlib")
) -> None:
    """Warn at the line outside the package that led here.

    Parameters
    ----------
    text : str
        What is told.
    category : type
        Kind of the warning.
    inside : tuple of str
        How the names of modules begin whose lines the user did not write.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(inside):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
