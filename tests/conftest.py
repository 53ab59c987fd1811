"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Threads of BLAS and numba follow the machine; a test that needs a number of threads sets it itself.
ROOT = Path(__file__).resolve().parents[1]


def _data_folder() -> Path | None:
    """Return the folder of data sets: OPUSIM_DATA, or shared/data beside the checkout, or None."""
    named = os.environ.get("OPUSIM_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout: where pyproject.toml and the folders are."""
    return ROOT


@pytest.fixture
def data_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data sets, also named by OPUSIM_DATA; the test is skipped where there is none."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no data sets here: OPUSIM_DATA names no folder")
    monkeypatch.setenv("OPUSIM_DATA", str(folder))
    return folder
