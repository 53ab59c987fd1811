#!/usr/bin/env bash
# Packages:  pymmcore-plus 0.18.1, pymmcore 12.5.1.75.0, useq-schema 0.9.2, Python 3.11.
# Guess:     An acquisition (mda) whose events have an slm_image shows each image before its frame. Where the SLM takes
#            sequences (getSLMSequenceMaxLength) and images differ, they are loaded and started as one.
# Behaviour: Events that differ in nothing but the image are joined for a sequence of the camera. If the SLM takes sequences
#            and images differ, the run ends in a ValidationError: SequencedEvent.slm_sequence takes bytes, and is given
#            SLMImages. If all events have the same image, it is not shown at all, whatever the SLM can do: the joined
#            event has no slm_image. Nothing calls startSLMSequence. Right are only runs without hardware sequences
#            (engine.use_hardware_sequencing = False), or with an SLM without sequences and images that differ.
# Seen:
#   images differ, SLM with sequences: ValidationError, calls: none
#   one image, SLM with sequences: ran, calls: none
#   one image, SLM without sequences: ran, calls: none
#   images differ, SLM without sequences: ran, calls: set display set display set display
#   one image, hardware sequences off: ran, calls: set display set display set display
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pymmcore-plus==0.18.1 pymmcore==12.5.1.75.0 useq-schema==0.9.2 2> /dev/null
cat > "$folder/try.py" << 'PY'
import logging

import numpy as np
from pymmcore_plus.experimental.unicore import SimpleCameraDevice, SLMDevice, UniMMCore
from useq import MDAEvent

logging.disable()


class Camera(SimpleCameraDevice):
    def get_exposure(self):
        return 1.0

    def set_exposure(self, exposure):
        pass

    def sensor_shape(self):
        return (4, 5)

    def dtype(self):
        return np.uint16

    def snap(self, buffer):
        buffer[:] = 1
        return {}


class Slm(SLMDevice):
    def __init__(self, longest):
        super().__init__()
        self.longest, self.calls = longest, []

    def shape(self):
        return (2, 3)

    def dtype(self):
        return np.uint8

    def set_image(self, pixels):
        self.calls.append("set")

    def display_image(self):
        self.calls.append("display")

    def get_exposure(self):
        return 0.0

    def set_exposure(self, interval_ms):
        pass

    def get_sequence_max_length(self):
        return self.longest

    def send_sequence(self, sequence):
        self.calls.append("load")

    def start_sequence(self):
        self.calls.append("start")

    def stop_sequence(self):
        self.calls.append("stop")


def run(what, values, longest, hardware=True):
    core, slm = UniMMCore(), Slm(longest)
    core.loadPyDevice("Camera", Camera())
    core.loadPyDevice("SLM", slm)
    core.initializeAllDevices()
    core.setCameraDevice("Camera")
    core.setSLMDevice("SLM")
    core.setAutoShutter(False)  # there is no shutter
    core.mda.engine.use_hardware_sequencing = hardware
    images = [np.full((2, 3), value, dtype=np.uint8) for value in values]
    try:
        core.mda.run([MDAEvent(index={"t": k}, slm_image=image) for k, image in enumerate(images)])
        how = "ran"
    except Exception as error:
        how = type(error).__name__
    print(f"{what}: {how}, calls:", *slm.calls or ["none"])
    core.unloadAllDevices()


run("images differ, SLM with sequences", (1, 2, 3), 10)
run("one image, SLM with sequences", (1, 1, 1), 10)
run("one image, SLM without sequences", (1, 1, 1), 0)
run("images differ, SLM without sequences", (1, 2, 3), 0)
run("one image, hardware sequences off", (1, 1, 1), 0, hardware=False)
PY
"$folder/venv/bin/python" "$folder/try.py" | tee "$folder/said"
diff "$folder/said" <(sed -n 's/^#   \(.*: \(ValidationError\|ran\), calls: .*\)/\1/p' "$0")
