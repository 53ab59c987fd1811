"""``python -m opusim`` is the command ``opusim``."""

from opusim.cli.app import app

if __name__ == "__main__":
    app(prog_name="opusim")
