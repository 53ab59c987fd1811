"""Where files of the user's own lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from opusim.base import folders


def test_the_configuration_folder_is_the_one_that_typer_names(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert folders.config_folder() == Path(typer.get_app_dir("opusim"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert folders.config_folder() == Path(typer.get_app_dir("opusim"))


@pytest.mark.parametrize(
    ("platform", "parts"), [("win32", ("roaming", "opusim")), ("darwin", ("Application Support", "opusim"))]
)
def test_each_system_has_its_own_place(monkeypatch, platform, parts):
    monkeypatch.setenv("APPDATA", "roaming")
    monkeypatch.setattr("sys.platform", platform)
    assert folders.config_folder().parts[-2:] == parts


def test_the_cache_folder_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("OPUSIM_CACHE", str(tmp_path))
    assert folders.cache_folder() == tmp_path
    monkeypatch.delenv("OPUSIM_CACHE")
    assert "opusim" in folders.cache_folder().parts


def test_what_cannot_be_kept_is_told():
    error = folders.not_kept("The lock", Path("/x"), OSError(13, "Permission denied"))
    assert error.errno == 13 and "The lock cannot be kept in /x (Permission denied)" in str(error)
