#!/usr/bin/env bash
# Packages:  numpy 2.4.6 with its OpenBLAS 0.3.31 (Haswell and SkylakeX kernels, one thread); Python 3.11, x86-64 with
#            AVX2. The second line also needs AVX-512.
# Guess:     in a product of 64 rows by a matrix, always of one shape, a row's result does not depend on which of the 64
#            places the row stands in: "one shape, the same bits".
# Behaviour: with the Haswell kernels it does. Moved round, a row of float32 gives other last bits at 30 to 42 of 64
#            places, for any number of columns that was tried. With the SkylakeX kernels all places agree. So
#            batch-invariant numbers cannot be had by padding batches to one shape.
# Seen:
#   Haswell: the row differs at some places for every shape
#   SkylakeX: the row is the same at all places for every shape
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "numpy==2.4.6" 2> /dev/null
cat > "$folder/try.py" << 'PY'
import os

import numpy as np

rng = np.random.default_rng(0)
counts = []
for k in (10, 17, 65, 256):
    for m in (17, 65, 256):
        a, b = rng.normal(size=(64, k)).astype(np.float32), rng.normal(size=(k, m)).astype(np.float32)
        first = (a @ b)[0]
        counts.append(sum(not np.array_equal((np.roll(a, i, axis=0) @ b)[i], first) for i in range(64)))
text = {
    (True, True): "the row differs at some places for every shape",
    (False, False): "the row is the same at all places for every shape",
}.get((min(counts) > 0, max(counts) > 0), f"the row differs at {min(counts)} to {max(counts)} places")
print(f"{os.environ['OPENBLAS_CORETYPE']}: {text}")
PY
export OPENBLAS_NUM_THREADS=1
tried=Haswell
grep -q avx512f /proc/cpuinfo && tried="Haswell SkylakeX"
for kernels in $tried; do
    OPENBLAS_CORETYPE=$kernels "$folder/venv/bin/python" "$folder/try.py"
done | tee "$folder/seen"
sed -n 's/^#   \([HS][a-zA-Z]*: .*\)/\1/p' "$0" | head -n "$(wc -w <<< "$tried")" | diff - "$folder/seen" && echo "as stated"
