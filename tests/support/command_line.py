"""The commands within the process of a test, and what they print as a reader takes it in."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from opusim import cli


def invoke(*arguments: object) -> Result:
    """Run ``opusim`` with these words."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def words(text: str) -> str:
    """Text on one line, without the lines of tables."""
    return " ".join("".join(" " if "\u2500" <= c <= "\u257f" else c for c in text).split())
