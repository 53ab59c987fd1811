"""Where files of the user's own lie: settings and calibrations in one folder, what can be fetched again in another."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

__all__ = ["cache_folder", "config_folder", "expanded", "file_name", "named_folder", "not_kept"]

# Names that mean the same file on every system, whatever its letters: no more is let through.
_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?")
# What Windows takes for a device, with any ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def config_folder() -> Path:
    """Return the user's configuration folder for opusim, which need not exist.

    Returns
    -------
    Path
        Absolute. By the XDG rules `XDG_CONFIG_HOME` counts as unset where it is empty or relative.
    """
    if sys.platform == "win32":
        return (_absolute("APPDATA") or Path.home()) / "opusim"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "opusim"
    return (_absolute("XDG_CONFIG_HOME") or Path.home() / ".config") / "opusim"


def cache_folder() -> Path:
    """Return the folder of what can be fetched again: `OPUSIM_CACHE`, else the user's cache folder for opusim.

    Returns
    -------
    Path
        Absolute. `OPUSIM_CACHE` is taken from the working folder if it is relative, and its ``~`` is the user's home;
        `XDG_CACHE_HOME` counts as unset where it is empty or relative.
    """
    named = named_folder("OPUSIM_CACHE")
    if named is not None:
        return named
    import pooch

    if (
        "XDG_CACHE_HOME" in os.environ
        and _absolute("XDG_CACHE_HOME") is None
        and sys.platform not in ("win32", "darwin")
    ):
        return Path.home() / ".cache" / "opusim"
    return Path(pooch.os_cache("opusim"))


def named_folder(variable: str) -> Path | None:
    """Return the folder that a variable of opusim's own names, from the working folder; None if it is empty or not set.

    Parameters
    ----------
    variable : str
        Its name.

    Returns
    -------
    Path or None
        Absolute.
    """
    text = os.environ.get(variable, "").strip()
    return expanded(text).absolute() if text else None


def _absolute(variable: str) -> Path | None:
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else None


def file_name(name: str, ending: str = "") -> str:
    """Return the name of a file for something that has a name of its own, which may be any text.

    Parameters
    ----------
    name : str
        As a device has it. A plain one, as those of the presets, stays as it is.
    ending : str
        What the file's name ends with; taken as it is.

    Returns
    -------
    str
        Letters, digits and ``. _ @ + -`` alone, at most 64 characters before the ending. Of a name that has others, or
        is longer, a part stays, with a fingerprint of all of it: no two names have one file.
    """
    if _SAFE.fullmatch(name) and not _DEVICES.fullmatch(name):
        return name + ending
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    kept = re.sub(r"[^A-Za-z0-9]+", "_", name)[:32].strip("_")
    return f"{kept or 'unnamed'}~{digest}{ending}"


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
