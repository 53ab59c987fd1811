#!/usr/bin/env bash
# Packages:  ALP4lib 1.1.0, numpy 2.4.6, six 1.17.0, Python 3.11. Not the maker's library: an object that notes its calls.
# Guess:     ProjInquire(ALP_PROJ_STATE) asks whether a sequence is shown, by the library's
#            AlpProjInquire(DeviceId, InquireType, *UserVarPtr); ProjInquireEx asks AlpProjInquireEx for a structure.
# Behaviour: ProjInquire hands AlpProjInquire four arguments, the sequence in the place of what is asked for, and what is
#            asked for in the place of the pointer. ProjInquireEx, which is said to be for structures, calls AlpProjInquire
#            with the three right arguments, and a double for the long: the state is in the double's low bytes. So the state
#            of the projection can be had by ProjInquireEx alone. ImgToBitPlane always ends in a TypeError, and SeqPut of
#            a list, which its docstring allows, in an AttributeError.
# Seen:
#   ProjInquire(2400): AlpProjInquire(device, 7, 2400, pointer)
#   ProjInquireEx(2400): AlpProjInquire(device, 2400, pointer to c_double)
#   ImgToBitPlane: TypeError
#   SeqPut of a list: AttributeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "ALP4lib==1.1.0" "numpy==2.4.6" "six==1.17.0" 2> /dev/null
cat > "$folder/try.py" << 'PY'
import ctypes as ct

import numpy as np
from ALP4 import ALP4, ALP_PROJ_STATE


class Library:
    """Notes what it is called with."""

    def __getattr__(self, name):
        def call(device, *arguments):
            self.seen = name, arguments
            return 0

        return call


board = ALP4.__new__(ALP4)
board._ALPLib, board.ALP_ID, board._lastDDRseq = Library(), ct.c_ulong(1), ct.c_long(7)
board.ProjInquire(ALP_PROJ_STATE)
name, (first, second, third) = board._ALPLib.seen
print(f"ProjInquire({ALP_PROJ_STATE}): {name}(device, {first.value}, {second}, pointer)")
board.ProjInquireEx(ALP_PROJ_STATE)
name, (first, second) = board._ALPLib.seen
print(f"ProjInquireEx({ALP_PROJ_STATE}): {name}(device, {first}, pointer to {type(second._obj).__name__})")
for what, call in (
    ("ImgToBitPlane", lambda: board.ImgToBitPlane(np.ones(64, dtype=np.uint8))),
    ("SeqPut of a list", lambda: board.SeqPut([255, 0, 255])),
):
    try:
        call()
        print(f"{what}: no error")
    except (TypeError, AttributeError) as error:
        print(f"{what}: {type(error).__name__}")
PY
"$folder/venv/bin/python" "$folder/try.py" | tee "$folder/said"
grep -q '^ProjInquire(2400): AlpProjInquire(device, 7, 2400, pointer)$' "$folder/said"
grep -q '^ProjInquireEx(2400): AlpProjInquire(device, 2400, pointer to c_double)$' "$folder/said"
grep -q '^ImgToBitPlane: TypeError$' "$folder/said" && grep -q '^SeqPut of a list: AttributeError$' "$folder/said"
