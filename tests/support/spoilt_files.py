"""Files as opusim 0.1.0 left them beside HDF5 1.14: nothing opens them."""

from __future__ import annotations

from pathlib import Path

TRAILER = 40


def spoil(path: Path) -> None:
    """Make of a file what HDF5 1.14 makes of it: its status was 1 when the check sum of its superblock was made."""
    content = bytearray(path.read_bytes()[:-TRAILER])
    head = bytearray(content[:44])
    head[11] = 1
    content[44:48] = lookup3(bytes(head)).to_bytes(4, "little")
    path.write_bytes(content)


def lookup3(data: bytes) -> int:
    """Jenkins' hash of HDF5's metadata, from its publication (burtleburtle.net/bob/c/lookup3.c, public domain)."""
    mask = 0xFFFFFFFF

    def rot(x: int, k: int) -> int:
        return (x << k | x >> (32 - k)) & mask

    a = b = c = (0xDEADBEEF + len(data)) & mask
    while len(data) > 12:
        x, y, z = (int.from_bytes(data[i : i + 4], "little") for i in (0, 4, 8))
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        for k1, k2, k3 in ((4, 6, 8), (16, 19, 4)):
            a = (a - c) & mask ^ rot(c, k1)
            c = (c + b) & mask
            b = (b - a) & mask ^ rot(a, k2)
            a = (a + c) & mask
            c = (c - b) & mask ^ rot(b, k3)
            b = (b + a) & mask
        data = data[12:]
    x, y, z = (int.from_bytes(data[i : i + 4].ljust(4, b"\0"), "little") for i in (0, 4, 8))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    for first, second, k in (("c", "b", 14), ("a", "c", 11), ("b", "a", 25), ("c", "b", 16), ("a", "c", 4),
                             ("b", "a", 14), ("c", "b", 24)):  # fmt: skip
        v = {"a": a, "b": b, "c": c}
        v[first] = ((v[first] ^ v[second]) - rot(v[second], k)) & mask
        a, b, c = v["a"], v["b"], v["c"]
    return c
