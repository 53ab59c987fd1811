#!/usr/bin/env bash
# Packages:  numpy 2.4.6, Python 3.11, x86-64 with AVX2 and FMA.
# Guess:     sums, products and moduli of complex arrays are a few operations of IEEE 754, each rounded as it must be: one
#            wheel of numpy gives the same bits on every processor. Only sine, exponential and their like would follow it.
# Behaviour: products, squares and moduli follow it too, in single and in double precision: where the processor has FMA,
#            numpy leaves out one rounding. Sums and quotients do not. So a product of two fields, or |E|, has other last
#            bits on an older machine, or where the features are turned off.
# Seen:
#   complex64: a * b differs, a ** 2 differs, abs differs, a + b is the same, a / b is the same
#   complex128: a * b differs, a ** 2 differs, abs differs, a + b is the same, a / b is the same
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "numpy==2.4.6" 2> /dev/null
cat > "$folder/try.py" << 'PY'
import os
import subprocess
import sys

import numpy as np

NAMES = ("a * b", "a ** 2", "abs", "a + b", "a / b")


def results(kind):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(2, 100_000)) + 1j * rng.normal(size=(2, 100_000))).astype(kind)
    return [r.tobytes() for r in (a * b, np.square(a), np.abs(a), a + b, a / b)]


if len(sys.argv) > 1:
    sys.stdout.buffer.write(b"".join(results(sys.argv[1])))
else:
    for kind in ("complex64", "complex128"):
        plain = {**os.environ, "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}
        other = subprocess.run([sys.executable, "-W", "ignore", __file__, kind], env=plain, capture_output=True, check=True).stdout
        told = []
        for name, here in zip(NAMES, results(kind)):
            there, other = other[: len(here)], other[len(here) :]
            told.append(f"{name} {'is the same' if here == there else 'differs'}")
        print(f"{kind}: {', '.join(told)}")
PY
"$folder/venv/bin/python" "$folder/try.py" | tee "$folder/seen"
sed -n 's/^#   \(complex[0-9]*: .*\)/\1/p' "$0" | diff - "$folder/seen" && echo "as stated"
