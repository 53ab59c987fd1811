#!/usr/bin/env bash
# Packages:  openwfs 1.1.0 with the extras nidaq, opengl and zaber, Python 3.11.
# Guess:     openwfs.simulation.SLM(duration=...) is a modulator of that duration: its docstring calls it "the duration that
#            the OpenWFS framework uses for synchronization", so that detectors wait for it before they measure.
# Behaviour: a property of the class says 0 ms, whatever was given, and a detector reads at once. The latency that is given
#            is kept, and waited for.
# Seen:
#   given 300 ms, duration 0.0 ms
#   read after less than 100 ms: True
#   given a latency of 300 ms, latency 300.0 ms
#   read after less than 100 ms: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "openwfs[nidaq,opengl,zaber]==1.1.0" 2> /dev/null
cat > "$folder/try.py" << 'PY'
import time

import astropy.units as u
import numpy as np
from openwfs.simulation import SLM, StaticSource

source = StaticSource(np.zeros((2, 2)))


def read_after(slm):
    source.read()
    slm.set_phases(0.0)
    start = time.monotonic()
    source.read()
    return time.monotonic() - start < 0.1


slm = SLM((2, 2), duration=300 * u.ms)
print("given 300 ms, duration", slm.duration)
print("read after less than 100 ms:", read_after(slm))
slm = SLM((2, 2), latency=300 * u.ms)
print("given a latency of 300 ms, latency", slm.latency)
print("read after less than 100 ms:", read_after(slm))
PY
"$folder/venv/bin/python" "$folder/try.py" | tee "$folder/said"
grep -q '^given 300 ms, duration 0.0 ms$' "$folder/said"
[ "$(grep '^read after' "$folder/said" | cut -d ' ' -f 7 | tr '\n' ' ')" = "True False " ]
