"""The same tests against several implementations of one interface.

In the main environment: `opusim.OPU`, and our class under lightonml's names. In the contract environment (its own
interpreter, made by `.ci/contract-environment`), where the real lightonml can be imported: `opusim.OPU`, the real
lightonml on our `lightonopu`, and the real lightonml's own simulator. Files that need the real one are not collected
elsewhere; `test_real_lightonml.py` runs this folder there.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NEEDS_LIGHTONOPU = (
    "test_driver_package.py",
    "test_formatting_v2.py",
    "test_pybind.py",
)
NEEDS_LIGHTONML = (
    "test_console_program.py",
    "test_encoders.py",
    "test_same_counts.py",
)
NEEDS_OLD_LIGHTONML = ("test_older_versions.py",)


def real_lightonml_version() -> tuple[int, ...] | None:
    """Version of the real lightonml as numbers, or None: ours says that it is ours."""
    if importlib.util.find_spec("lightonml") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pkg_resources is deprecated, which its importers cannot help
        import lightonml
    if hasattr(lightonml, "__opusim__"):
        return None
    return tuple(int(part) for part in lightonml.__version__.split(".")[:3] if part.isdigit())


VERSION = real_lightonml_version()
LATEST = (1, 4, 3)

collect_ignore: list[str] = []
if VERSION is None:
    collect_ignore += NEEDS_LIGHTONML
    if importlib.util.find_spec("lightonopu") is None:
        collect_ignore += NEEDS_LIGHTONOPU
else:
    collect_ignore.append("test_real_lightonml.py")
if VERSION is None or VERSION == LATEST:
    collect_ignore += NEEDS_OLD_LIGHTONML

if VERSION is not None and not hasattr(np, "float"):
    vars(np)["float"] = float  # the real lightonml's encoders were written before numpy 1.24

# aurora without noise, its counts rounded: equal rows give equal counts, bit for bit.
QUIET = """
name = "quiet"
preset = "ideal"
description = "aurora without noise, its counts rounded to 8 bits"

[camera]
quantise = true
full_well_e = 6375.0
"""


@dataclass(frozen=True)
class Backend:
    """One implementation of the interface.

    Parameters
    ----------
    name : str
    simulator : bool
        Whether it is lightonml's noise-free simulator: floats, and neither mirrors nor camera.
    """

    name: str
    simulator: bool = False

    @property
    def opu_class(self) -> Any:
        if self.name == "opusim":
            from opusim import OPU
        elif self.name.startswith("names"):
            from opusim.drivers.compat.opu import OPU
        else:
            from lightonml.opu import OPU
        return OPU

    @property
    def dtype(self) -> np.dtype:
        """Type of what `transform` returns."""
        return np.dtype(np.float32 if self.simulator else np.uint8)


def _backends() -> list[Backend]:
    if VERSION == LATEST:
        return [Backend("opusim"), Backend("lightonml"), Backend("lightonml-simulator", simulator=True)]
    backends = [Backend("opusim")]
    if importlib.util.find_spec("opusim.drivers.compat") is not None:
        backends += [Backend("names"), Backend("names-simulator", simulator=True)]
    return backends


BACKENDS = _backends()


@pytest.fixture(params=BACKENDS, ids=lambda b: b.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every implementation in turn."""
    return request.param


@pytest.fixture(params=[b for b in BACKENDS if not b.simulator], ids=lambda b: b.name)
def camera(request: pytest.FixtureRequest) -> Backend:
    """Every implementation with mirrors and a camera."""
    return request.param


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a device without noise that returns 8 bits."""
    path = tmp_path_factory.mktemp("device") / "quiet.toml"
    path.write_text(QUIET)
    return str(path)


@pytest.fixture(scope="session")
def quiet_mirrors(quiet: str) -> str:
    """Path of the same device with every mirror and every pixel a mode of its own."""
    path = Path(quiet).with_name("quiet-mirrors.toml")
    path.write_text('resolution = "mirrors"\n' + QUIET)
    return str(path)


@pytest.fixture
def make_opu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return an OPU of a backend; all of a test are closed when it ends.

    The device and the seed reach `opusim.OPU` as arguments, lightonml through the environment.
    """
    made: list[Any] = []

    def make(
        backend: Backend,
        n_components: int = 60,
        *,
        n_features: int = 100,
        device: str = "aurora",
        seed: int = 0,
        **kw: Any,
    ) -> Any:
        if backend.simulator:
            kw.update(simulated=True, max_n_features=n_features)
        elif backend.name == "opusim":
            kw.update(device=device, seed=seed, linear_mode="intensity")
        else:
            monkeypatch.setenv("OPUSIM_DEVICE", device)
            monkeypatch.setenv("OPUSIM_SEED", str(seed))
        opu = backend.opu_class(n_components, **kw)
        made.append(opu)
        return opu

    yield make
    for opu in made:
        opu.close()


@pytest.fixture
def bits() -> Any:
    """Make random 0/1 arrays of uint8: bits(shape..., seed=0, p=0.5)."""

    def make(*shape: int, seed: int = 0, p: float = 0.5) -> np.ndarray:
        return (np.random.default_rng(seed).random(shape) < p).astype(np.uint8)

    return make
