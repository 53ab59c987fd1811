#!/usr/bin/env bash
# Packages:  openwfs 1.1.0 with the extras nidaq, opengl and zaber, numpy 2.4.6, Python 3.11.
# Guess:     WFSResult.t holds segments first and targets last, as its docstring says, and select_target(b) gives the
#            transmission matrix of target b.
# Behaviour: analyze_phase_stepping, by which the algorithms end, puts the targets first. select_target still takes them from
#            the last axis: of three targets and 6 x 6 segments it returns a 3 x 6 array, column b of the segments of all
#            targets, for b = 0; for b = 1 it ends in an IndexError, as fidelity_noise is one number for all targets. The
#            matrix itself is right: result.t[b].
# Seen:
#   t (3, 6, 6)
#   t[b] against the truth: 1.000000 1.000000 1.000000
#   select_target(0).t (3, 6)
#   select_target(1): IndexError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "openwfs[nidaq,opengl,zaber]==1.1.0" "numpy==2.4.6" 2> /dev/null
cat > "$folder/try.py" << 'PY'
import numpy as np
from openwfs.algorithms.utilities import analyze_phase_stepping

rng = np.random.default_rng(0)
t = rng.standard_normal((6, 6, 3)) + 1j * rng.standard_normal((6, 6, 3))
rest = t.sum(axis=(0, 1)) - t  # all other segments, at phase 0
steps = np.exp(2j * np.pi * np.arange(4) / 4)
measured = np.abs(rest[:, :, None] + t[:, :, None] * steps[:, None]) ** 2  # (rows, columns, steps, targets)
result = analyze_phase_stepping(measured, axis=2)
print("t", result.t.shape)
true = np.conj(rest) * t
print("t[b] against the truth:", *(
    f"{abs(np.vdot(result.t[b], true[..., b])) / np.linalg.norm(result.t[b]) / np.linalg.norm(true[..., b]):.6f}"
    for b in range(3)
))
print("select_target(0).t", result.select_target(0).t.shape)
try:
    result.select_target(1)
    print("select_target(1): no error")
except IndexError as error:
    print("select_target(1):", type(error).__name__)
PY
"$folder/venv/bin/python" "$folder/try.py" | tee "$folder/said"
grep -q '^select_target(0).t (3, 6)$' "$folder/said" && grep -q '^select_target(1): IndexError$' "$folder/said"
