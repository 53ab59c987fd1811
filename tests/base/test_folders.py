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


@pytest.mark.parametrize("text", ["", "relative", "./relative", "~/config"])
@pytest.mark.parametrize("variable", ["XDG_CONFIG_HOME", "XDG_CACHE_HOME"])
def test_by_the_xdg_rules_a_relative_folder_counts_as_unset(monkeypatch, tmp_path, variable, text):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OPUSIM_CACHE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv(variable, text)
    if variable == "XDG_CONFIG_HOME":
        assert folders.config_folder() == tmp_path / ".config" / "opusim"
    else:
        assert folders.cache_folder() == tmp_path / ".cache" / "opusim"


@pytest.mark.parametrize(
    ("platform", "parts"), [("win32", ("roaming", "opusim")), ("darwin", ("Application Support", "opusim"))]
)
def test_each_system_has_its_own_place(monkeypatch, platform, parts, tmp_path):
    monkeypatch.setenv("APPDATA", str(tmp_path / "roaming"))
    monkeypatch.setattr("sys.platform", platform)
    assert folders.config_folder().parts[-2:] == parts
    monkeypatch.setenv("APPDATA", "roaming")
    assert folders.config_folder().is_absolute()


def test_the_cache_folder_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("OPUSIM_CACHE", str(tmp_path))
    assert folders.cache_folder() == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for text, folder in (("here", tmp_path / "here"), ("~/there", tmp_path / "home" / "there")):
        monkeypatch.setenv("OPUSIM_CACHE", text)
        assert folders.cache_folder() == folder
    for text in ("", " "):
        monkeypatch.setenv("OPUSIM_CACHE", text)
        assert "opusim" in folders.cache_folder().parts and folders.cache_folder().is_absolute()
    monkeypatch.delenv("OPUSIM_CACHE")
    assert "opusim" in folders.cache_folder().parts


def test_what_cannot_be_kept_is_told():
    error = folders.not_kept("The lock", Path("/x"), OSError(13, "Permission denied"))
    assert error.errno == 13 and "The lock cannot be kept in /x (Permission denied)" in str(error)


STRANGE = ["../../../../evil", "a/b", "a\\b", "a\0b", "x" * 300, "\ud800", "", " ", ".", "..", ".hidden", "CON",
           "nul.h5", "grün", "a:b", "a*", "a\n", "a.", "a~b", "aurora, changed", "Zähler/2", "a b"]  # fmt: skip


def test_any_name_makes_a_file_of_its_own(tmp_path):
    names = [folders.file_name(name, "-1.h5") for name in STRANGE]
    assert len({name.lower() for name in names}) == len(STRANGE)
    for name in names:
        assert Path(name).name == name and len(name) < 80 and name.isascii()
        (tmp_path / name).touch()
    assert len(list(tmp_path.iterdir())) == len(STRANGE)


def test_names_of_presets_stay_as_they_are():
    """So that what was stored under them is found."""
    from opusim.device.record import Device
    from opusim.device.toml import presets

    shipped = [Device.load(name).name for name in presets()]
    assert "aurora" in shipped
    for name in [*shipped, "zeus", "my-device_2.1", "a" * 64]:
        assert folders.file_name(name, ".lock") == f"{name}.lock"
