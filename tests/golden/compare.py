"""Says of each case how near its numbers are to the stored ones: `python -m tests.golden.compare [NAME ...]`.

It ends with 0 if all are the same bits, 1 if some are only within the tolerance, 2 if some are beyond it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from . import stored
from .cases import CASES
from .stored import Level

WORDS = {Level.BITS: "to the bit", Level.TOLERANCE: "within the tolerance", Level.BEYOND: "BEYOND the tolerance"}


def main() -> int:
    names = sys.argv[1:] or list(CASES)
    if unknown := sorted(set(names) - set(CASES)):
        print(f"There is no case {', '.join(map(repr, unknown))}; there are {', '.join(CASES)}.")
        return 2
    levels: Counter[Level] = Counter()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            results = CASES[name].run(Path(folder))
        before = stored.read_values(name)
        for label, values in results.items():
            verdict = stored.judge(values, before[label])
            levels[verdict.level] += 1
            print(f"{name + ' ' + label:70} {WORDS[verdict.level]:22} {verdict.sentence}", flush=True)
    print("; ".join(f"{levels[level]} {words}" for level, words in WORDS.items()))
    others = {stored.other_than(stored.read_record(name)["made_with"]) for name in names} - {""}
    for other in sorted(others):
        print(f"Made elsewhere: {other}.")
    return int(Level.BITS - min(levels))


if __name__ == "__main__":
    sys.exit(main())
