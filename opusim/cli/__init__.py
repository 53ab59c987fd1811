"""The command ``opusim``: a file for each of its commands, found by listing this folder."""

from opusim.base.plugins import import_folder

from .app import app, command

import_folder(__name__)

__all__ = ["app", "command"]
