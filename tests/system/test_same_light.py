"""The same bits whatever instructions the processor has: the table of `opusim selftest` in processes that lack some.

A process in which a result depends on them differs in nearly all floats and, now and then, in a count.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from opusim.base.numerics import environment
from opusim.drivers import selftest

pytestmark = pytest.mark.system

_DIGESTS = "import json; from opusim.drivers.selftest import digests; print(json.dumps(digests()))"
# Every length that a grid of modes can have up to 8192: what its transforms give of numbers that no library draws.
_TRANSFORMS = """
import hashlib, json
import numpy as np, scipy.fft
from opusim.device.propagation import good_side

found, side = {}, 64
while side <= 8192:
    x = np.frombuffer(hashlib.shake_128(str(side).encode()).digest(4 * 2 * side), "<i2").astype(np.float32)
    x = x[: 4 * side].reshape(2, 2 * side).view(np.complex64)
    made = scipy.fft.fft(x), scipy.fft.ifft(x), scipy.fft.rfft(x.real.copy()), scipy.fft.irfft(x)
    found[side] = hashlib.sha256(b"".join(each.tobytes() for each in made)).hexdigest()
    side = good_side(side + 2)
print(json.dumps(found))
"""
_PLAIN = selftest.plain_environment()
_X86 = platform.machine().lower() in ("x86_64", "amd64")


def _said(code: str, variables: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def here() -> dict[str, str]:
    """Hashes of this machine as it is."""
    return selftest.digests()


# Two processes that between them lack everything: kernels are compiled for each kind of processor.
@pytest.mark.parametrize(
    ("processor", "others"),
    [("x86-64-v3", ("NPY_DISABLE_CPU_FEATURES",)), ("generic", ("GLIBC_TUNABLES", "OPENBLAS_CORETYPE"))],
    ids=["AVX2 kernels, plain numpy", "plain kernels, C library and BLAS"],
)
def test_every_result_has_the_same_bits(here, processor, others):
    if processor != "generic" and not _X86:
        pytest.skip("a processor of another kind")
    variables = {"NUMBA_CPU_NAME": processor} | {name: _PLAIN[name] for name in others if name in _PLAIN}
    assert selftest.compare(_said(_DIGESTS, variables), here) == []


def test_hashes_of_the_release_are_what_this_machine_gives(here):
    """With the libraries that they were made with on any x86-64 processor; with others that is not promised."""
    table = selftest.read_table(selftest.PUBLISHED)
    differences = selftest.compare(here, table["sha256"])
    made_with, now = table["made_with"], environment()
    others = [
        f"{name} {now[name]}, not {made_with[name]}"
        for name in ("machine", "numpy", "scipy", "numba")
        if now[name] != made_with[name]
    ]
    if differences and others:
        pytest.skip(f"{len(differences)} results differ from those of the release, with {', '.join(others)}")
    assert differences == []


def test_variables_reach_the_libraries():
    # Else the test above would compare a process with itself.
    code = (
        "import json, math, numpy as np, numba; from opusim.base.numerics import numpy_features\n"
        "x = np.linspace(1, 9, 100000); made = [np.exp(x), np.cos(x), x[:1000] @ x[:1000]]\n"
        "print(json.dumps({'numba': str(numba.config.CPU_NAME), 'numpy': ' '.join(numpy_features()), "
        "'exp': str(hash(made[0].tobytes())), 'cos': str(hash(made[1].tobytes()))}))"
    )
    fixed = {"PYTHONHASHSEED": "0"}
    native, plain = _said(code, fixed), _said(code, {**fixed, **_PLAIN})
    assert plain["numba"] == "generic"
    assert not set(plain["numpy"].split()) & set(_PLAIN["NPY_DISABLE_CPU_FEATURES"].split())
    if "X86_V3" in native["numpy"].split() and "GLIBC_TUNABLES" in _PLAIN:
        assert native["exp"] != plain["exp"] or native["cos"] != plain["cos"]


def test_transforms_of_all_lengths_have_the_same_bits():
    assert _said(_TRANSFORMS, _PLAIN) == _said(_TRANSFORMS, {})
