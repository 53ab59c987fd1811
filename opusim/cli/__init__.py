"""The command ``opusim``: a file for each command, and `app`, which all of them register with."""

from . import calibrate, plan, report, rescue, run, sweep, train
from .app import app, command

__all__ = ["app", "calibrate", "command", "plan", "report", "rescue", "run", "sweep", "train"]
