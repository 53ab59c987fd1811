"""The version of a build: from the tag of its commit, or, in a clone without tags, from the changelog.

An archive without git has the newest release of the changelog and "+archive": it may be of a later state.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version() -> str:
    """Return the version: that of the tag, or of what is on the way to the release after it, with the commit."""
    from setuptools_scm import get_version

    found = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "CHANGELOG.md has no heading of a release"
    is_known = any((ROOT / name).exists() for name in (".git", "PKG-INFO"))
    # Only tags of releases: a tag such as golden-2026 is none.
    describe = ["git", "describe", "--dirty", "--tags", "--long", "--match", "v[0-9]*"]
    return get_version(
        root=str(ROOT),
        fallback_version=found[1] if is_known else f"{found[1]}+archive",
        scm={"git": {"describe_command": describe}},
    )
