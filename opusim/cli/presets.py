"""The command ``opusim presets``."""

from __future__ import annotations

from .app import command, out
from .tables import _table


@command("presets", order=12)
def presets() -> None:
    """List the devices, mirror arrays and cameras that come with opusim."""
    from opusim.device.toml import presets as known

    for title, shelf in (("Devices", ""), ("Mirror arrays (DMDs)", "dmds"), ("Cameras", "cameras")):
        table = _table(title, "name", "version", "what it is")
        for spec, description in known(shelf).items():
            name, _, version = spec.partition("@")
            table.add_row(name, version, description)
        out.print(table)
    out.print(
        "A device is named as aurora, its newest version, or as aurora@1 for one version of it; a TOML file may start "
        "from any of these."
    )
