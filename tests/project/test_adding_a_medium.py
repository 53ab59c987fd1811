"""A kind of medium in a file of its own, as a stranger would add it: no other file knows it, and everything works."""

from __future__ import annotations

import importlib
import pickle

import numpy as np
import pytest

from opusim import OPU, Device, OpticalBench
from opusim.base.parameters import parameter
from opusim.device.medium import EntryMedium, Medium
from opusim.noise import error_budget
from opusim.noise.budget import names_of
from opusim.noise.measured import measured_error_budget
from opusim.noise.sources import SOURCES, all_sources, without
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.planning import plan_scale, planner_rates
from opusim.sweep import Sweep
from opusim.testing import check_medium

FILE = '''
"""A medium whose matrix is a formula."""

import math
from dataclasses import dataclass

import numpy as np

from opusim.device.medium import EntryMedium


@dataclass(frozen=True)
class ChirpMedium(EntryMedium):
    """Entries exp(2 pi i chirp (output + 1) (input + 1)^2): all of modulus 1."""

    kind = "chirp"
    random = False

    chirp: float = 0.1
    transmission: float = 1e-10
    decorrelation_time_s: float = math.inf

    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        j, i = np.array(inputs)[:, None] + 1.0, np.array(outputs) + 1.0
        return np.exp(2j * np.pi * np.mod(self.chirp * i * j**2, 1)).astype(np.complex64)
'''
AURORA = Device.load("aurora")
SHAPE, SENSOR, N = (48, 64), (40, 60), 24
ROI, PIXELS = (5, 7, 6, 20), 117
EXPOSURE_S = 4e-4


@pytest.fixture(scope="module")
def chirp(tmp_path_factory) -> type[EntryMedium]:
    """The class, from a file in a folder, which is imported as a program's own module is."""
    folder = tmp_path_factory.mktemp("laboratory")
    (folder / "laboratory_of_tests.py").write_text(FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        return importlib.import_module("laboratory_of_tests").ChirpMedium


@pytest.fixture
def device(chirp) -> Device:
    """A small device with this medium, from TOML."""
    text = f"""
    preset = "aurora"
    [medium]
    kind = "chirp"
    chirp = 0.013
    transmission = {AURORA.medium.transmission}
    [dmd]
    shape = {list(SHAPE)}
    [camera]
    shape = {list(SENSOR)}
    [operation]
    ones_range = [10, 2000]
    """
    return Device.from_toml(text)


def layout() -> MirrorLayout:
    return MirrorLayout.lined(SHAPE, N)


def bits(n: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, N), dtype=np.uint8)


def expected(device: Device) -> np.ndarray:
    """Grey levels |T x|^2 of the noise-free device, in closed form."""
    medium, camera = device.medium, device.camera
    p = np.arange(PIXELS)
    place = (ROI[0] + p // ROI[3]) * SENSOR[1] + ROI[1] + p % ROI[3]
    t = np.exp(2j * np.pi * np.mod(medium.chirp * np.outer(place + 1.0, (np.arange(N) + 1.0) ** 2), 1))
    # Each feature sends the light of its mirrors: what is always on there is none of.
    field = bits() @ t.T * np.sqrt(layout().mirrors_per_feature)
    photons = device.laser.photons(EXPOSURE_S) * device.dmd.efficiency * device.pixel_share / device.dmd.n_mirrors
    return camera.gain_dn_per_e * camera.quantum_efficiency * photons * np.abs(field) ** 2


@pytest.mark.parametrize("budget", [None, 10_000], ids=["stored", "in tiles"])
def test_counts_are_the_square_of_the_product(device, budget):
    ideal = device.ideal()
    assert layout().n_always_on == 0
    shown = {"exposure_s": EXPOSURE_S, "roi": ROI, "n_pixels": PIXELS}
    patterns = MirrorPatterns(bits(), layout())
    bench = OpticalBench(ideal, 3, memory_budget=budget)
    counts = bench.transform(patterns, **shown)
    np.testing.assert_allclose(counts, expected(ideal), rtol=1e-4, atol=1e-4 * counts.mean())
    plan = bench.explain(patterns, roi=ROI, n_pixels=PIXELS)
    assert (plan.way, plan.stored) == ("matrix", budget is None) and "'chirp' gives entries" in plan.why
    with pytest.raises(ValueError, match="medium of kind 'chirp' has only the way 'matrix'"):
        OpticalBench(ideal, 3, execution="waves").transform(patterns, **shown)


def test_every_mirror_is_an_input_under_the_resolution_mirrors(device):
    ideal = device.ideal().evolve(resolution="mirrors")
    mirrors = np.zeros((1, *SHAPE), dtype=np.uint8)
    mirrors[0, 3, 5] = 1
    frames = OpticalBench(ideal, 0).expose(mirrors, exposure_s=EXPOSURE_S, roi=ROI)
    # Entries have the modulus 1: one mirror lights all pixels alike.
    assert frames.std() < 1e-4 * frames.mean() and frames.mean() > 0


def test_an_opu_a_plan_and_budgets_of_noise_work(device):
    from opusim.drivers import workload

    with OPU(100, device=device, seed=1, disable_pbar=True) as opu:
        y = opu.fit_transform1d(bits())
        assert y.shape == (9, 100) and y.std() > 0
        work = workload.workload(opu, 1000)
        projector = workload.projector_of(opu, work, threads=1)
    rates = planner_rates(projector, 1)
    plan = plan_scale(projector, work, rates, rates)
    assert (plan.way, plan.side) == ("matrix", 0) and 0 < plan.process_s < 10 and plan.memory.total > 0
    closed = error_budget(device)
    measured = measured_error_budget(device, n_vectors=40, roi=(5, 7, 10, 10), sources=["shot noise", "read noise"])
    assert closed.errors["shot noise"] > 0 and measured.errors["shot noise"] > 0
    assert measured.errors["shot noise"] == pytest.approx(closed.errors["shot noise"], rel=0.5)


def test_files_fingerprints_and_pickles_know_it(device, chirp):
    again = Device.from_toml(device.to_toml())
    assert type(again.medium) is chirp and again == device
    assert again.fingerprint() == device.fingerprint()
    assert device.evolve(**{"medium.chirp": 0.02}).fingerprint() != device.fingerprint()
    assert pickle.loads(pickle.dumps(device)) == device
    assert device.imperfections()["decorrelation"] == {"medium.decorrelation_time_s": float("inf")}
    assert Medium.of_kind("chirp") is chirp and Device.load(AURORA).evolve(medium=chirp()).medium.chirp == 0.1


SMOKE = '''
"""A medium behind smoke, which takes a share of the light that nobody knows."""

from dataclasses import dataclass

import numpy as np

from opusim.base import rng
from opusim.base.parameters import parameter
from opusim.device.medium import GaussianMedium


@dataclass(frozen=True)
class SmokeMedium(GaussianMedium):
    """A Gaussian medium whose light is partly that of another one."""

    kind = "smoke"

    smoke: float = parameter(0.5, low=0.0, high=1.0, off=0.0, imperfection="smoke", source="smoke in the beam")
    strength: float = parameter(1.0, low=0.0, high=10.0, learnable="scale")

    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        how = {"state": state, "channel": channel, "threads": threads}
        clear = super().entries(inputs, outputs, seed=seed, **how)
        other = super().entries(inputs, outputs, seed=seed + 1, **how)
        return (np.sqrt(1 - self.smoke) * clear + np.sqrt(self.smoke) * other).astype(np.complex64)
'''


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> type[EntryMedium]:
    """A class that is defined long after opusim was imported, with an imperfection of its own."""
    folder = tmp_path_factory.mktemp("smoke")
    (folder / "smoke_of_tests.py").write_text(SMOKE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        return importlib.import_module("smoke_of_tests").SmokeMedium


def test_a_source_of_error_of_its_own_is_told_and_switched_off(device, smoke):
    smoky = device.evolve(medium=smoke(transmission=AURORA.medium.transmission))
    assert [name for name in all_sources(smoky) if name not in SOURCES] == ["smoke in the beam"]
    of_phases = {"phase flicker", "unmodulated light"}  # of a phase modulator alone
    assert list(all_sources(device)) == [name for name in SOURCES if name not in of_phases]
    assert SOURCES["decorrelation"] == ("mirror warm-up", "mirror vibration", "decorrelation")
    clear = without(smoky, ["smoke in the beam"])
    assert clear.medium.smoke == 0.0 and clear == smoky.evolve(**{"medium.smoke": 0.0})
    with pytest.raises(ValueError, match="source is 'smoke in the beam', but it must be one of"):
        without(device, ["smoke in the beam"])
    how = {"n_vectors": 60, "roi": (5, 7, 20, 20), "sources": ["smoke in the beam", "shot noise"]}
    measured = measured_error_budget(smoky, **how)
    # Fields correlate as the root of the share of clear light, intensities as the square of that: 1 / r^2 - 1 = 3.
    assert list(measured.errors) == ["shot noise", "smoke in the beam"]
    assert measured.errors["smoke in the beam"] == pytest.approx(3.0, rel=0.3)
    with pytest.warns(UserWarning, match="Closed forms know nothing of smoke in the beam, which stands at 0"):
        closed = error_budget(smoky)
    assert closed.errors["smoke in the beam"] == 0.0 and list(closed.errors)[-1] == "smoke in the beam"
    assert "smoke in the beam" in names_of([closed]) and not error_budget(clear).notes


def test_a_source_of_error_must_have_a_switch():
    with pytest.raises(ValueError, match="source is 'fog', but imperfection is empty"):
        parameter(0.0, low=0.0, high=1.0, source="fog")


def make_opu(device, n_components, seed):
    return OPU(n_components, device=device, seed=seed, disable_pbar=True)


def spread(opu, seed):
    return {"spread": float(opu.fit_transform1d(bits()).std())}


def test_it_conforms(chirp):
    assert {"tiles", "threads", "copies"} <= set(check_medium(chirp()).passed)


def test_plain_fields_are_checked(device, chirp):
    assert device.evolve(**{"medium.decorrelation_time_s": 2.0}).ideal().medium.decorrelation_time_s == float("inf")
    for path, value in {"transmission": -1, "chirp": "abc", "decorrelation_time_s": 0}.items():
        with pytest.raises((TypeError, ValueError), match=f"medium.{path} is {value!r}.*, but it must be a number in"):
            device.evolve(**{f"medium.{path}": value})
    with pytest.raises(ValueError, match="near matches are 'medium.chirp'"):
        device.evolve(**{"medium.chrip": 1.0})


def test_a_sweep_varies_its_fields(device):
    found = Sweep(spread, make_opu, {"medium.chirp": [0.01, 0.02]}, device=device, n_components=50).run()
    assert found.values("spread").shape == (2, 1) and (found.values("spread") > 0).all()


def test_what_is_no_medium_is_refused(chirp):
    with pytest.raises(ValueError, match=r"medium.kind is 'chrip'; near matches are 'chirp', but .*'gaussian'"):
        Device.from_dict({"preset": "aurora", "medium": {"kind": "chrip"}})
    with pytest.raises(ValueError, match="There is a kind of medium 'chirp' already, that of .*:ChirpMedium"):

        class Other(EntryMedium):
            kind = "chirp"

    class Plain(EntryMedium):
        transmission, decorrelation_time_s = 1e-10, 1.0

        def entries(self, inputs, outputs, **how):
            return np.ones((len(inputs), len(outputs)), dtype=np.complex64)

    with pytest.raises(TypeError, match="medium is a Plain, but a medium must be a frozen dataclass"):
        AURORA.evolve(medium=Plain())
    with pytest.raises(TypeError, match="medium is 'fog', but it must be of type Medium"):
        AURORA.evolve(medium="fog")
    with pytest.raises(ValueError, match=r"camera.pixel_over_grain is 1.0, but a medium of kind 'chirp'"):
        AURORA.remagnified().evolve(medium=chirp(), **{"camera.pixel_over_grain": 1.0})


GLASS = '''
"""A pane of ground glass: one screen."""

from dataclasses import dataclass

import numpy as np

from opusim.base import rng
from opusim.base.parameters import parameter
from opusim.device.medium import WaveMedium, decorrelation_time
from opusim.device.medium.layer import LayerFactors


@dataclass(frozen=True)
class GlassMedium(WaveMedium):
    """A random phase in the plane between the lenses."""

    kind = "ground_glass"
    inside = ("roughness_rad",)
    n_transforms = 2  # both lenses

    roughness_rad: float = parameter(3.0, low=0.0, high=100.0, unit="rad", learnable="scale")
    thickness_m: float = parameter(1e-3, low=0.0, high=1.0, unit="m", learnable="scale")
    transmission: float = 1e-10
    decorrelation_time_s: float = decorrelation_time(frozen=True)

    def layer_bytes(self, side, channels):
        return 8 * side**2 * channels

    def height(self, grid, seed, channel):
        return rng.normals(rng.stream_key(seed, "ground glass", channel), grid.side**2).reshape(grid.side, grid.side)

    def factors(self, grid, *, wavelength_m, seed, state=0, channel=0):
        phase = self.roughness_rad * self.height(grid, seed, channel)
        return LayerFactors([(grid.side * np.exp(1j * phase)).astype(np.complex64)])

    def phase_slopes(self, name, grid, *, wavelength_m, seed, channel=0):
        assert name == "roughness_rad"
        return LayerFactors([self.height(grid, seed, channel)])
'''


def test_a_medium_of_waves_takes_both_ways_and_has_gradients(tmp_path, monkeypatch):
    (tmp_path / "glass_of_tests.py").write_text(GLASS)
    monkeypatch.syspath_prepend(str(tmp_path))
    medium = importlib.import_module("glass_of_tests").GlassMedium(transmission=AURORA.medium.transmission)
    assert {"linearity", "reciprocity"} <= set(check_medium(medium).passed)
    with pytest.raises(ValueError, match="medium.decorrelation_time_s is 5.0, but it must be inf"):
        AURORA.evolve(medium=medium, **{"medium.decorrelation_time_s": 5.0})
    changes = {"dmd.shape": SHAPE, "camera.shape": SENSOR, "operation.ones_range": (10, 2000)}
    device = AURORA.evolve(**changes, medium=medium).ideal()
    shown, patterns = {"exposure_s": EXPOSURE_S, "roi": ROI, "n_pixels": PIXELS}, MirrorPatterns(bits(), layout())
    found = [OpticalBench(device, 2, execution=way).transform(patterns, **shown) for way in ("matrix", "waves")]
    assert found[0].mean() > 0
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-3 * found[0].mean())
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from opusim.differentiable import ExpectedOutput

    model = ExpectedOutput(device, N, PIXELS, seed=2, layout=layout(), roi=ROI, execution="waves")
    x = torch.from_numpy(bits()).float().requires_grad_()
    y = model(x)
    np.testing.assert_allclose(y.detach().numpy(), found[0], rtol=1e-3, atol=1e-3 * found[0].mean())
    y.sum().backward()
    assert float(x.grad.abs().min()) > 0

    how = {"seed": 2, "layout": layout(), "roi": ROI, "dtype": torch.float64, "rounding": "none"}
    model = ExpectedOutput(device, N, PIXELS, learn=["medium.roughness_rad"], **how)
    model(x.detach()).sum(dim=0)[:20].square().sum().backward()
    (found,) = (step.grad.item() for step in model.steps.values())
    sums = []
    for roughness in (2.997, 3.003):  # learnt by factors: a step of the logarithm
        changed = ExpectedOutput(
            device.evolve(**{"medium.roughness_rad": roughness}), N, PIXELS, execution="waves", **how
        )
        sums.append(changed(x.detach()).sum(dim=0)[:20].square().sum().item())
    assert found == pytest.approx((sums[1] - sums[0]) / 0.002, rel=1e-2)
    with pytest.raises(ValueError, match="'medium.thickness_m', which is described as learnable, but"):
        ExpectedOutput(device, N, PIXELS, learn=["medium.thickness_m"], **how)


def test_what_nothing_reads_is_not_learnt(device, smoke):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from opusim.differentiable import ExpectedOutput

    smoky = device.evolve(medium=smoke(transmission=AURORA.medium.transmission))
    with pytest.raises(ValueError, match="'medium.strength', which is described as learnable, but nothing .* reads it"):
        ExpectedOutput(smoky, N, PIXELS, layout=layout(), roi=ROI, learn=["medium.strength"])
    # A plain field of a name that every medium has is what it is in all of them.
    model = ExpectedOutput(device, N, PIXELS, layout=layout(), roi=ROI, learn=["medium.transmission"])
    model(torch.from_numpy(bits()).float()).sum().backward()
    assert all(step.grad.abs() > 0 for step in model.steps.values())
