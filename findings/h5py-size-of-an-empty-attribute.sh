#!/usr/bin/env bash
# Packages:  h5py 3.16.0 and 3.12.1, Python 3.11.
# Guess:     an attribute of HDF5's null dataspace, h5py.Empty, holds nothing, so that it takes 0 bytes: a reader that looks
#            at how much an attribute will bring before it reads it is told 0.
# Behaviour: the low-level get_storage_size of it raises a RuntimeError, "Unable to get ... storage size", though the same
#            attribute reads well, and the size of a data set of that kind is 0.
# Seen:
#   3.16.0: attribute RuntimeError, data set 0, value Empty
#   3.12.1: attribute RuntimeError, data set 0, value Empty
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/try.py" << 'PY'
import io

import h5py

with h5py.File(io.BytesIO(), "w") as file:
    file.attrs["a"] = h5py.Empty("f")
    file.create_dataset("d", data=h5py.Empty("f"))
    try:
        size = file.attrs.get_id("a").get_storage_size()
    except Exception as error:
        size = type(error).__name__
    print(f"{h5py.__version__}: attribute {size}, data set {file['d'].id.get_storage_size()}, value {type(file.attrs['a']).__name__}")
PY
for version in 3.16.0 3.12.1; do
    python3.11 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "h5py==$version" "numpy==2.2.6" 2> /dev/null
    "$folder/$version/bin/python" "$folder/try.py"
done | tee "$folder/seen"
sed -n 's/^#   \(3[0-9.]*: .*\)/\1/p' "$0" | diff - "$folder/seen" && echo "as stated"
