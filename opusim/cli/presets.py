"""The command ``opusim presets``."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import command, out
from .tables import _table

_SHELVES = {
    "Devices": "", "Mirror arrays (DMDs)": "dmds", "Phase modulators (SLMs)": "slms", "Cameras": "cameras",
}  # fmt: skip


@command("presets", order=12)
def presets(
    name: Annotated[
        str | None, typer.Argument(help="One of them, such as aurora or IMX250@1: print its file.", show_default=False)
    ] = None,
) -> None:
    """List the devices, modulators and cameras that come with opusim, or print one of them with its sources."""
    from opusim.device.toml import preset_text
    from opusim.device.toml import presets as known

    if name is not None:
        # A file has a mark and a source beside each value.
        texts = [text for shelf in _SHELVES.values() if (text := preset_text(name, shelf))]
        if not texts:
            raise ValueError(f"There is no preset {name!r}: opusim presets lists those that there are.")
        out.print(texts[0].rstrip(), markup=False, highlight=False, soft_wrap=True)
        return
    for title, shelf in _SHELVES.items():
        table = _table(title, "name", "version", "what it is")
        for spec, description in known(shelf).items():
            stem, _, version = spec.partition("@")
            table.add_row(stem, version, description)
        out.print(table)
    out.print(
        "A device is named as aurora, its newest version, or as aurora@1 for one version of it; a TOML file may start "
        "from any of these. opusim presets NAME prints the file of one, where each value has its source beside it."
    )
