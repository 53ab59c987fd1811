"""Errors of the driver. Each is also of the type that lightonml raises in its place, so that programs catch it."""

from __future__ import annotations


class NotReadyError(RuntimeError, AssertionError):
    """The call needs something done first: `open`, or a fit."""


class InputTypeError(TypeError, ValueError):
    """An input of a kind that cannot be shown on mirrors."""


class TooManyComponentsError(ValueError, IndexError):
    """More components than the sensor has pixels."""


class OpuAlreadyUsedException(RuntimeError):  # noqa: N818 - the name that programs catch
    """Another process holds a device that only one may hold."""
