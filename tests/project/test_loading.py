"""What `import opusim` loads, and what it finds."""

from __future__ import annotations

import subprocess
import sys

import pytest

import opusim


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = ("numpy", "scipy", "numba", "h5py", "matplotlib", "sklearn", "torch", "typer", "rich", "tqdm", "pooch")


def test_import_loads_nothing_heavy():
    loaded = run_python("import sys, opusim; print(*sys.modules)").split()
    assert not [name for name in HEAVY if name in loaded]
    assert [name for name in loaded if name.partition(".")[0] == "opusim"] == ["opusim"]


def test_import_takes_less_than_half_a_second():
    code = "import time; t = time.perf_counter(); import opusim; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.5


def test_the_driver_needs_no_optional_dependency():
    loaded = run_python("import sys; from opusim import OPU; OPU(n_components=10); print(*sys.modules)").split()
    assert not [name for name in ("torch", "dask", "distributed", "cupy", "jupytext", "IPython") if name in loaded]


def test_every_module_says_what_to_install_where_its_package_is_missing():
    code = """
import importlib, pkgutil, sys, warnings
import opusim, opusim.drivers, opusim.calibration
warnings.simplefilter("ignore")
extras = {"torch": ("PyTorch", "opusim[torch]"), "pymmcore_plus": ("pymmcore-plus", "opusim[pymmcore]")}
class WithoutExtras:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in extras:
            raise ImportError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, WithoutExtras())
for folder, package in ((opusim.__path__, "opusim."), (opusim.drivers.__path__, "opusim.drivers."),
                        (opusim.calibration.__path__, "opusim.calibration.")):
    for module in pkgutil.walk_packages(folder, package, onerror=lambda name: None):
        if "lighton" in module.name or module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            said = any(f"needs {name}" in str(error) and extra in str(error) for name, extra in extras.values())
            print(module.name, "says so" if said else error)
"""
    told = run_python(code).splitlines()
    assert all(line.endswith(" says so") for line in told), told
    assert {line.partition(" ")[0] for line in told} >= {
        "opusim.dfa.torch", "opusim.drivers.projections.torch", "opusim.differentiable.output",
        "opusim.differentiable.camera", "opusim.tasks.text", "opusim.tasks.graph", "opusim.encoding.models",
        "opusim.adapters.pymmcore",
    }  # fmt: skip


def test_the_names_of_the_real_driver_are_not_touched():
    """Nothing named lightonml or lightonopu can be imported, or is, until it is asked for."""
    code = "import sys, importlib.util as u, opusim.drivers as d; d.OPU(n_components=10); "
    code += (
        "print(*[n for n in ('lightonml', 'lightonopu') if n in sys.modules], *[p for p in sys.path if 'lighton' in p])"
    )
    assert run_python(code) == ""


def test_the_command_line_answers_without_the_simulation():
    loaded = run_python("import sys, opusim.cli; print(*sys.modules)").split()
    assert not [name for name in ("numpy", "scipy", "numba", "matplotlib", "sklearn", "torch") if name in loaded]


def test_the_first_counts_load_nothing_that_they_do_not_need():
    """By waves and by a matrix of waves: parts of scipy and the whole of numpy take longer to import than these counts.

    numba loads `scipy` itself, which is small.
    """
    code = """
import sys
import numpy as np
from opusim import OPU
x = np.random.default_rng(0).integers(0, 2, (4, 30), dtype=np.uint8)
for execution in ("matrix", "waves"):
    with OPU(n_components=40, execution=execution, disable_pbar=True) as opu:
        opu.fit_transform1d(x)
print(*sys.modules)
"""
    loaded = set(run_python(code).split())
    assert {"numpy", "numba"} <= loaded
    parts = ("fft", "integrate", "linalg", "optimize", "signal", "sparse", "special", "stats")
    others = "array_api_compat.numpy", "h5py", "matplotlib", "sklearn", "joblib", "tqdm", "numpy.f2py"
    assert loaded & {*(f"scipy.{part}" for part in parts), *others} == set()


def test_every_public_name_is_there():
    for name in opusim.__all__:
        assert getattr(opusim, name) is not None and name in dir(opusim)


def test_the_package_does_not_hold_itself_nor_its_tests():
    """In a clone `drivers` and `calibration` are found beside the package, and nothing else that is there."""
    code = "import importlib, pkgutil, opusim, opusim.drivers, opusim.calibration\n"
    code += "names = [m.name for m in pkgutil.walk_packages(opusim.__path__, 'opusim.') if 'torch' not in m.name]\n"
    code += "for name in ('opusim', 'tests', 'benchmarks', 'docs', 'notebooks'):\n"
    code += "    try:\n        importlib.import_module(f'opusim.{name}')\n        print('found', name)\n"
    code += "    except ModuleNotFoundError:\n        pass\n"
    code += "print(len(set(names)) == len(names) > 50, len(opusim.__path__))"
    assert run_python(code).splitlines()[-1] == "True 1" and "found" not in run_python(code)


def test_parts_of_a_device_are_names_of_the_package():
    parts = (opusim.Laser, opusim.Dmd, opusim.Optics, opusim.Reference, opusim.Camera, opusim.FourierStop)
    device = opusim.Device.load("aurora")
    own = (device.laser, device.dmd, device.optics, device.reference, device.camera, device.fourier_stop)
    assert tuple(map(type, own)) == parts


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Opu'; it has .*OPU"):
        _ = opusim.Opu
