#!/usr/bin/env bash
# Packages:  h5py 3.10.0, 3.13.0, 3.15.1 (HDF5 1.14.2, 1.14.6, 1.14.6) and 3.16.0 (HDF5 2.0.0); Python 3.11.
# Guess:     the image that `FileID.get_file_image` gives of a file in memory (core driver) is that file: written to a
#            disk, it opens.
# Behaviour: with HDF5 1.14 an image whose superblock is of version 2 or 3 (libver "v108" or "latest") opens nowhere,
#            under no version: "incorrect metadata checksum". The image's status byte (the twelfth) is 0, but the check
#            sum of the superblock was made while it was 1: with that byte set to 1 the same image opens. Version 0
#            (libver None) is not touched, nor is a file that h5py writes through a Python file object. HDF5 2.0 gives
#            an image that opens.
# Seen:
#   3.10.0 / HDF5 1.14.2: None opens, v108 does not, latest does not, v108 with status 1 opens, through BytesIO opens
#   3.13.0 / HDF5 1.14.6: None opens, v108 does not, latest does not, v108 with status 1 opens, through BytesIO opens
#   3.15.1 / HDF5 1.14.6: None opens, v108 does not, latest does not, v108 with status 1 opens, through BytesIO opens
#   3.16.0 / HDF5 2.0.0: None opens, v108 opens, latest opens, v108 with status 1 does not, through BytesIO opens
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/try.py" << 'PY'
import io
import h5py


def image(libver):
    with h5py.File("in memory", "w", driver="core", backing_store=False, libver=libver) as file:
        file["numbers"] = range(10)
        file.flush()
        return bytearray(file.id.get_file_image())


def through_bytes(libver):
    target = io.BytesIO()
    with h5py.File(target, "w", libver=libver) as file:
        file["numbers"] = range(10)
    return target.getvalue()


def opens(content):
    try:
        with h5py.File(io.BytesIO(bytes(content)), "r") as file:
            return "opens" if file["numbers"][3] == 3 else "gives other numbers"
    except OSError as error:
        assert "checksum" in str(error), error
        return "does not"


status = image("v108")
status[11] = 1
print(
    f"{h5py.version.version} / HDF5 {h5py.version.hdf5_version}: "
    f"None {opens(image(None))}, v108 {opens(image('v108'))}, latest {opens(image('latest'))}, "
    f"v108 with status 1 {opens(status)}, through BytesIO {opens(through_bytes('v108'))}"
)
PY
for version in 3.10.0 3.13.0 3.15.1 3.16.0; do
    python3.11 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "h5py==$version" "numpy==1.26.4" 2> /dev/null
    "$folder/$version/bin/python" "$folder/try.py"
done | tee "$folder/seen"
sed -n 's/^#   \(3\.1.*\)/\1/p' "$0" | diff - "$folder/seen" && echo "as stated"
