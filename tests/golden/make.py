"""Makes the stored numbers anew: `python -m tests.golden.make [--beyond] [NAME ...]`, as README.md beside it says."""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
from pathlib import Path

from opusim import Device

from . import stored
from .cases import CASES, PRESET_NAMES
from .stored import Level


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the stored numbers anew.", prog="python -m tests.golden.make")
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases; all by default, and the presets")
    parser.add_argument("--beyond", action="store_true", help="also those that differ by more than the tolerance")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(CASES)):
        parser.error(f"there is no case {', '.join(map(repr, unknown))}; there are {', '.join(CASES)}")
    refused = [name for name in arguments.names or CASES if not made(name, arguments.beyond)]
    if not arguments.names:
        refused += [name for name in PRESET_NAMES if not preset_kept(name, arguments.beyond)]
        remove_others()
    if refused:
        print(
            f"Not stored: {', '.join(refused)}. Numbers beyond the tolerance are another version of the preset "
            "(docs/design.md); --beyond stores them."
        )
    return 1 if refused else 0


def made(name: str, beyond: bool) -> bool:
    """Make a case and store it; not if it is beyond the tolerance of what is stored, unless that is wanted."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        results = case.run(Path(folder))
    level = Level.BITS
    if name in stored.names() and stored.read_record(name)["case"] == case.described():
        before = stored.read_values(name)
        for label, values in results.items():
            verdict = stored.judge(values, before[label])
            level = min(level, verdict.level)
            print(f"{name} {label}: {verdict.sentence}")
    else:
        print(f"{name}: new")
    if level == Level.BEYOND and not beyond:
        return False
    stored.write(name, case.described(), results)
    return True


def preset_kept(name: str, beyond: bool) -> bool:
    """Store a preset with all its fields; not if it is another one than is stored, unless that is wanted."""
    device = Device.load(name)
    path = stored.PRESETS / f"{name}.toml"
    if (
        path.exists()
        and Device.from_stored(tomllib.loads(path.read_text(encoding="utf-8"))).fingerprint() != device.fingerprint()
        and not beyond
    ):
        return False
    stored.PRESETS.mkdir(exist_ok=True)
    path.write_text(device.to_toml(), encoding="utf-8")
    return True


def remove_others() -> None:
    """Remove what belongs to no case any more."""
    for name in stored.names() - set(CASES):
        for ending in ("json", "npz"):
            (stored.VALUES / f"{name}.{ending}").unlink()


if __name__ == "__main__":
    sys.exit(main())
