"""Makes the published hashes anew, of a release: `python -m tests.golden.hashes 0.2.0`, as README.md beside it says.

It says which of them differ from those before, and ends with 1 if any do.
"""

from __future__ import annotations

import argparse
import json
import re

from opusim.drivers import selftest


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Make the published hashes of `opusim selftest`.", prog="python -m tests.golden.hashes"
    )
    parser.add_argument("release", metavar="VERSION", help="the release whose hashes they are, such as 0.2.0")
    release = parser.parse_args().release
    if not re.fullmatch(r"\d+\.\d+\.\d+", release):
        parser.error(f"VERSION was {release!r}; it must be that of a release, such as 0.2.0")
    found, differences = selftest.check(print)
    if differences:
        # Nothing is published that depends on threads, parts or the processor.
        print(*differences, "Not stored.", sep="\n")
        return 1
    path = selftest.PUBLISHED
    before = json.loads(path.read_text(encoding="utf-8"))["sha256"] if path.exists() else {}
    changes = selftest.compare(found, before)
    path.write_text(json.dumps({**selftest.table_of(found), "opusim": release}, indent=1) + "\n", encoding="utf-8")
    print(*changes, f"{len(found)} hashes of {release} in {path.name}, {len(changes)} of them other or new.", sep="\n")
    return int(bool(changes))


if __name__ == "__main__":
    raise SystemExit(main())
