#!/usr/bin/env bash
# Packages:  openwfs 1.1.0, nidaqmx 1.7.0, Python 3.11.
# Guess:     openwfs imports with the dependencies that it declares: its devices/__init__.py puts mock modules in the place
#            of optional packages, and says that this is what makes it load without them.
# Behaviour: it does not. A mock module is no package, so that "import nidaqmx.system", "import OpenGL.GL" and
#            "from serial.tools import list_ports", further on, end in an error; algorithms and simulation cannot be imported
#            either. With the extras nidaq, opengl and zaber it loads, without any hardware or display.
# Seen:
#   openwfs: ModuleNotFoundError: No module named 'nidaqmx.system'; 'nidaqmx' is not a package
#   openwfs[nidaq]: ModuleNotFoundError: No module named 'OpenGL.GL'; 'OpenGL' is not a package
#   openwfs[nidaq,opengl]: ModuleNotFoundError: No module named 'serial.tools'; 'serial' is not a package
#   openwfs[nidaq,opengl,zaber]: 1.1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
for extras in "" "[nidaq]" "[nidaq,opengl]" "[nidaq,opengl,zaber]"; do
    "$folder/venv/bin/pip" install -q "openwfs$extras==1.1.0" 2> /dev/null
    echo "openwfs$extras: $("$folder/venv/bin/python" -c 'import openwfs; print(openwfs.__version__)' 2>&1 | tail -n 1)"
done | tee "$folder/said"
[ "$(grep -c ModuleNotFoundError "$folder/said")" -eq 3 ] && grep -q '^openwfs\[nidaq,opengl,zaber\]: 1.1.0$' "$folder/said"
