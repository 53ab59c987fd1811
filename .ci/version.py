"""The version of a build: from the tag of its commit, or, in a clone without tags, from the changelog."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version() -> str:
    """Return the version: that of the tag, or of what is on the way to the release after it, with the commit."""
    from setuptools_scm import get_version

    released = re.search(r"^## \[?(\d[^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released, "CHANGELOG.md has no heading of a release"
    return get_version(root=str(ROOT), fallback_version=released[1])
