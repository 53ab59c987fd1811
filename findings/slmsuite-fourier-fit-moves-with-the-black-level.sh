#!/usr/bin/env bash
# Packages:  slmsuite 0.5.0, opencv-python 5.0.0.93, numpy 2.4.6, scipy 1.17.1, Python 3.11.
# Guess:     a Fourier calibration finds a lattice of bright spots wherever the dark pixels read: a camera of 256 counts that
#            reads 1 in the dark gives the same lens as one that reads 0.
# Behaviour: the fit moves. On slmsuite's own simulated SLM and camera, without noise, the direction that is furthest from
#            its true pixel is .3 pixels off without a black level, .7 with one count and .9 with five, in spots that are two
#            pixels wide and 128 counts high. With the black level taken off it is .3 again.
# Seen:
#   black level 0: off by 0.27 pixels
#   black level 1: off by 0.73 pixels
#   black level 5: off by 0.92 pixels
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q slmsuite==0.5.0 opencv-python==5.0.0.93 numpy==2.4.6 scipy==1.17.1
cat > "$folder/run.py" << 'PY'
import warnings

warnings.simplefilter("ignore")
import numpy as np
import slmsuite
from slmsuite.hardware.cameras.simulated import SimulatedCamera
from slmsuite.hardware.cameraslms import FourierSLM
from slmsuite.hardware.slms.simulated import SimulatedSLM

slmsuite.configure_logging("ERROR")
found = {}
for black in (0, 1, 5):
    np.random.seed(0)
    slm = SimulatedSLM((256, 224), pitch_um=8, wav_um=0.532)
    camera = SimulatedCamera(slm, (512, 480), pitch_um=8, noise={"read": lambda full: full * (black / 256)})
    matrix, middle = np.diag(512 * slm.pitch), np.array([[256.0], [240.0]])
    camera.set_affine(matrix, middle)
    setup = FourierSLM(camera, slm)
    slm.set_phase(None)
    camera.set_exposure(1.0)
    setup.fourier_calibrate(array_shape=[10, 9], array_pitch=12, autoexpose={"verbose": False}, verbose=False)
    k = np.random.default_rng(0).uniform(-60, 60, (2, 200)) / 256 / slm.pitch[:, None]
    found[black] = float(np.abs(setup.kxyslm_to_ijcam(k) - (matrix @ k + middle)).max())
    print(f"black level {black}: off by {found[black]:.2f} pixels")
assert found[0] < 0.4 and found[1] > 1.5 * found[0] and found[5] > 2.5 * found[0]
PY
"$folder/venv/bin/python" "$folder/run.py" 2> "$folder/errors" || { cat "$folder/errors" >&2; exit 1; }
