#!/usr/bin/env bash
# Packages:  emva1288 1.0.2, numpy 1.26.4 (it calls numpy's asfarray, gone since numpy 2.0), scipy 1.17.1, Python 3.11.
# Guess:     the standard's reference program, whose README says that versions 1 are of release 4.0 of EMVA 1288, gives one
#            linearity error LE: the mean of the absolute relative deviations from the line between 5 and 95 % of
#            saturation, as we recall it of that release.
# Behaviour: no result is one number. There are LE_min and LE_max, the extremes of the deviations, and its report prints
#            these. For the parabola below, 1 % off the straight line at its middle, they are -1.54 and .80 %, where the
#            mean of the absolute deviations is .57 %.
# Seen:
#   results with a linearity error: LE_max LE_min
#   LE_min -1.54 LE_max 0.80
#   mean absolute deviation 0.57
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q emva1288==1.0.2 numpy==1.26.4 scipy==1.17.1 2> /dev/null
cat > "$folder/try.py" << 'PY'
import logging

import numpy as np
from emva1288.process.results import Results1288

# 50 levels up to saturation: mean and variance as they follow from the law, without noise of their own.
light = np.linspace(0.02, 1, 50)
level = 1000 * light * (1 + 0.04 * (1 - light))
dark = np.zeros_like(light)
temporal = {
    "texp": dark + 1e6, "u_p": 10_000 * light, "u_y": level, "u_ydark": dark, "s2_y": 0.1 * level + 1, "s2_ydark": dark + 1
}
results = Results1288({"temporal": temporal, "spatial": {}}, loglevel=logging.WARNING)
names = [name for name in dir(results) if name.startswith("LE") or "linearity_error" in name]
print("results with a linearity error:", *names)
print(f"LE_min {results.LE_min:.2f} LE_max {results.LE_max:.2f}")
deviations = results.linearity()["relative_deviation"][results.index_linearity_min : results.index_linearity_max + 1]
print(f"mean absolute deviation {np.abs(deviations).mean():.2f}")
PY
"$folder/venv/bin/python" "$folder/try.py" | tee "$folder/said"
grep -q '^results with a linearity error: LE_max LE_min$' "$folder/said"
grep -q '^LE_min -1.54 LE_max 0.80$' "$folder/said"
grep -q '^mean absolute deviation 0.57$' "$folder/said"
