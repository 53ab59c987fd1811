#!/usr/bin/env bash
# Packages:  openwfs 1.1.0 with the extras nidaq, opengl and zaber, Python 3.11.
# Guess:     a detector reads when modulators have settled. The switch from moving to measuring may come early by the
#            smallest latency of all detectors, as a comment in Device._start says ("how long it takes before any of the
#            detectors actually starts"), so never early where one has no latency.
# Behaviour: it comes early by the latency of the detector that asks for it, whatever others have. Devices of a kind are
#            told by comparing bound methods (_is_actuator, which the base class declares as a property), and those of two
#            objects are never equal. After a late detector was triggered, a prompt one reads light that has not settled.
# Seen (milliseconds from a modulator's update, which takes 300, to each read):
#   prompt first: prompt 300, late 300
#   late first: late 100, prompt 100
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "openwfs[nidaq,opengl,zaber]==1.1.0" 2> /dev/null
cat > "$folder/try.py" << 'PY'
import time

import astropy.units as u
import numpy as np
from openwfs.core import Actuator, Detector, PhaseSLM


class Modulator(PhaseSLM, Actuator):
    def __init__(self):
        super().__init__(duration=300 * u.ms, latency=0 * u.ms)

    def set_phases(self, values, update=True):
        self.update()

    def update(self):
        self._start()
        self.at = time.monotonic()


class Watch(Detector):
    def __init__(self, latency):
        super().__init__(data_shape=(), pixel_size=None, duration=0 * u.ms, latency=latency, multi_threaded=False)

    def _fetch(self):
        return np.array(1e3 * (time.monotonic() - modulator.at))


modulator = Modulator()
late, prompt = Watch(200 * u.ms), Watch(0 * u.ms)
for first, second, names in ((prompt, late, ("prompt", "late")), (late, prompt, ("late", "prompt"))):
    modulator.set_phases(0.0)
    times = [float(detector.read()) for detector in (first, second)]
    told = ", ".join(f"{name} {round(at, -2):.0f}" for name, at in zip(names, times))
    print(f"{names[0]} first: {told}")
PY
"$folder/venv/bin/python" "$folder/try.py" | tee "$folder/said"
grep -q '^prompt first: prompt 300, late 300$' "$folder/said" && grep -q '^late first: late 100, prompt 100$' "$folder/said"
