"""Errors of the driver, and where its warnings point.

Each error is also of the type that lightonml raises in its place, so that programs catch it.
"""

from __future__ import annotations

from .warn import warn_outside

__all__ = [
    "CallError", "CoderError", "InputTypeError", "NotReadyError", "OpuAlreadyUsedException", "TooManyComponentsError",
    "UnknownNameError", "no_torch", "warn_outside",
]  # fmt: skip


class NotReadyError(RuntimeError, AssertionError):
    """The call needs something done first: `open`, or a fit."""


class InputTypeError(TypeError, ValueError):
    """An input of a kind that cannot be shown on mirrors."""


class CallError(ValueError, AssertionError):
    """A call whose arguments do not go together: shapes and numbers of features."""


class UnknownNameError(ValueError, KeyError):
    """The name of a choice that does not exist."""

    def __str__(self) -> str:
        """Return the sentence; a KeyError alone would show it in quotation marks."""
        return str(self.args[0])


class CoderError(TypeError, AttributeError):
    """An encoder or decoder that has no method `transform`."""


class TooManyComponentsError(ValueError, IndexError):
    """More components than the sensor has pixels."""


class OpuAlreadyUsedException(RuntimeError):  # noqa: N818 - the name that programs catch
    """Another process holds a device that only one may hold."""


def no_torch(who: str, error: ImportError) -> ImportError:
    """Return the error of a module that needs PyTorch, where it cannot be imported: it says what to install.

    Parameters
    ----------
    who : str
        What needs it.
    error : ImportError
        What importing it raised.

    Returns
    -------
    ImportError
        To raise from that one.
    """
    return ImportError(
        f"{who} needs PyTorch ({error}): install the extra, as in pip install 'opusim[torch]', or in a clone "
        "pip install -e '.[torch]'."
    )
