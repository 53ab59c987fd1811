"""Where files of the user's own lie: settings and calibrations in one folder, what can be fetched again in another."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def config_folder() -> Path:
    """Return the user's configuration folder for opusim, which need not exist."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "opusim"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "opusim"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "opusim"


def cache_folder() -> Path:
    """Return the folder of what can be fetched again: `OPUSIM_CACHE`, else the user's cache folder for opusim."""
    import pooch

    return Path(os.environ.get("OPUSIM_CACHE") or pooch.os_cache("opusim")).expanduser()


def expanded(path: str | Path) -> Path:
    """Return a path with ``~`` as the user's folder; one of a user that is not known stays as it is."""
    return Path(os.path.expanduser(path))


def not_kept(what: str, folder: Path, error: OSError) -> OSError:
    """Return the error that says what cannot be kept in the configuration folder, and how to name another."""
    return OSError(
        error.errno,
        f"{what} cannot be kept in {folder} ({error.strerror}): let the environment variable XDG_CONFIG_HOME name a "
        "folder that can be written",
    )
