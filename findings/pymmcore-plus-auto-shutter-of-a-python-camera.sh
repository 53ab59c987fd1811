#!/usr/bin/env bash
# Packages:  pymmcore-plus 0.18.1, pymmcore 12.5.1.75.0, useq-schema 0.9.2, Python 3.11.
# Guess:     With auto-shutter on, which it is at first, the core opens its shutter for each exposure and shuts it behind it,
#            for a camera in Python (experimental.unicore) as for one in C++.
# Behaviour: For a camera in Python it never opens the shutter, neither in snapImage nor in a sequence. In an acquisition
#            (mda) of single events the engine shuts it after each one: a shutter that was open before is shut in all
#            frames but the first.
# Seen:
#   auto-shutter: True
#   open in snapImage: False
#   open in a sequence: False False
#   open in an acquisition, opened before: True False False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pymmcore-plus==0.18.1 pymmcore==12.5.1.75.0 useq-schema==0.9.2 2> /dev/null
cat > "$folder/try.py" << 'PY'
import logging
import time

import numpy as np
from pymmcore_plus.experimental.unicore import ShutterDevice, SimpleCameraDevice, UniMMCore
from useq import MDAEvent

logging.disable()


class Shutter(ShutterDevice):
    state = False

    def get_open(self):
        return self.state

    def set_open(self, open):
        self.state = open


class Camera(SimpleCameraDevice):
    """Notes whether the shutter is open in each exposure."""

    def __init__(self, shutter):
        super().__init__()
        self.shutter, self.seen = shutter, []

    def get_exposure(self):
        return 1.0

    def set_exposure(self, exposure):
        pass

    def sensor_shape(self):
        return (4, 5)

    def dtype(self):
        return np.uint16

    def snap(self, buffer):
        self.seen.append(self.shutter.state)
        buffer[:] = self.shutter.state
        return {}


core, shutter = UniMMCore(), Shutter()
camera = Camera(shutter)
core.loadPyDevice("Camera", camera)
core.loadPyDevice("Shutter", shutter)
core.initializeAllDevices()
core.setCameraDevice("Camera")
core.setShutterDevice("Shutter")


def seen():
    noted, camera.seen = camera.seen, []
    return noted


print("auto-shutter:", core.getAutoShutter())
core.snapImage()
print("open in snapImage:", *seen())
core.startSequenceAcquisition(2, 0, True)
while core.isSequenceRunning():
    time.sleep(0.01)
print("open in a sequence:", *seen())
core.setShutterOpen(True)
core.mda.engine.use_hardware_sequencing = False
core.mda.run([MDAEvent(index={"t": k}) for k in range(3)])
print("open in an acquisition, opened before:", *seen())
PY
"$folder/venv/bin/python" "$folder/try.py" | tee "$folder/said"
diff "$folder/said" <(sed -n '/^# Seen:/,/^set/s/^#   //p' "$0")
