"""The mean output as a torch module: the mean of frames, gradients against finite differences, learning, bad input."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy import optimize

torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from opusim.bench.bench import OpticalBench  # noqa: E402
from opusim.bench.projector import Projector  # noqa: E402
from opusim.bench.region import Region  # noqa: E402
from opusim.device.medium import GaussianMedium, PhaseScreenMedium  # noqa: E402
from opusim.device.medium.grid import ModeGrid  # noqa: E402
from opusim.device.record import Device  # noqa: E402
from opusim.differentiable.output import ExpectedOutput  # noqa: E402
from opusim.differentiable.parameters import RANGES, READ, Parameters, inside_of, learnable_of  # noqa: E402
from opusim.drivers import OPU  # noqa: E402
from opusim.patterns.layout import MirrorLayout, MirrorPatterns  # noqa: E402

SEED = 3
# The module stands at the start of the device's time, so nothing may drift while frames are averaged.
STILL = Device.load("aurora").evolve(
    **{
        "laser.power_drift_per_hour": 0.0,
        "medium.decorrelation_time_s": math.inf,
        "reference.drift_rad_per_minute": 0.0,
        "reference.vibration_rad": 0.0,
        "camera.hot_pixel_fraction": 0.02,
        "dmd.stuck_on_fraction": 1e-3,
    }
)
# A device small enough to simulate mirror by mirror, with an image of the mirrors, two polarisations and large pixels.
SMALL = STILL.remagnified().evolve(
    **{
        "dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000),
        "medium.ballistic_fraction": 0.2, "camera.polarised": False, "camera.pixel_over_grain": 1.0,
    }
)  # fmt: skip
GAUSSIAN = STILL.evolve(medium=GaussianMedium(transmission=STILL.medium.transmission))
# Times of the device's own exposure, at which half the mirrors on give 9 grey levels.
LIGHT = {"dim": 0.1, "usual": 1.0, "bright": 10.0, "half saturated": 40.0, "saturated": 4000.0}


def lit(device, name):
    return device.evolve(**{"operation.exposure_s": 400e-6 * LIGHT[name]})


def bits_of(n, n_features, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, n_features), dtype=np.uint8)


def frames_of(model, bits, n_frames, phase=None):
    """Frames of each pattern and phase, (patterns * phases, n_frames, n_components), by the simulator."""
    device = model.device()
    bench = OpticalBench(device, SEED)
    shown = MirrorPatterns(np.repeat(bits, n_frames, axis=0), model.layout)
    counts = bench.transform(
        shown, exposure_s=device.operation.exposure_s, roi=model.roi, n_pixels=model.n_components,
        reference_phase_rad=phase,
    )  # fmt: skip
    steps = 1 if phase is None else np.size(phase)
    shape = (len(bits), n_frames, steps, model.n_components)
    return counts.reshape(shape).swapaxes(1, 2).reshape(-1, n_frames, model.n_components).astype(np.float64)


def mean_of(model, bits):
    with torch.no_grad():
        return model(torch.from_numpy(bits)).double().numpy()


def assert_is_the_mean_of(frames, expected):
    """Compare with the mean of frames: six standard errors.

    That is 2e-9 for each pixel; a test has a few thousand, so a false alarm once in 1e5. A pixel all whose frames are
    at one level tells only that others are rarer than 20 in the number of frames (2e-9 again).
    """
    n = frames.shape[1]
    error = frames.std(axis=1, ddof=1) / math.sqrt(n)
    allowed = np.where(frames.std(axis=1) < 0.5, np.maximum(6 * error, 20 / n), 6 * error)
    difference = expected - frames.mean(axis=1)
    assert np.all(np.abs(difference) <= allowed), np.max(np.abs(difference) / allowed)
    return difference, error


# ---------------------------------------------------------------- the mean of the simulator


@pytest.mark.parametrize("name", LIGHT)
def test_output_is_the_mean_of_many_frames(name):
    device = lit(STILL, name).evolve(**{"laser.power_noise": 0.0})
    model = ExpectedOutput(device, 200, 400, seed=SEED)
    bits = bits_of(2, 200)
    frames = frames_of(model, bits, 800)
    difference, error = assert_is_the_mean_of(frames, mean_of(model, bits))
    # And of all pixels together, whose noise is independent: what the closed form leaves out is below .01.
    assert abs(difference.mean()) < 6 * math.sqrt(np.sum(error**2)) / difference.size + 0.01
    share = np.mean(frames == 255)
    assert {"saturated": share > 0.9, "half saturated": 0.1 < share < 0.9}.get(name, share < 0.05)


@pytest.mark.parametrize("phase", [0.7, [0.0, 1.5, 3.0]], ids=["one phase", "three"])
@pytest.mark.parametrize("name", ["dim", "bright", "half saturated"])
def test_output_with_the_reference_is_the_mean_of_many_frames(name, phase):
    # Jitter of a fifth of a radian lowers the mean fringe by 2 %; near full scale it is to be small.
    jitter = {"dim": 0.2}.get(name, 0.02)
    device = lit(STILL, name).evolve(**{"reference.jitter_rad": jitter, "laser.power_noise": 0.01})
    # An exposure of eight times the time in which the power's noise decays keeps about half of it.
    device = device.evolve(**{"laser.power_noise_bandwidth_hz": 2 / device.operation.exposure_s})
    model = ExpectedOutput(device, 200, 300, seed=SEED, reference_phase_rad=phase)
    bits = bits_of(2, 200)
    assert_is_the_mean_of(frames_of(model, bits, 500, phase), mean_of(model, bits))


@pytest.mark.parametrize("averaged", [True, False], ids=["averaged", "momentary"])
def test_output_under_vibration_is_the_mean_of_many_frames(averaged):
    """Frames at an odd fraction of a period from each other, averaged over 1.5 periods, or as they are at a moment."""
    device = lit(STILL, "dim")
    device = device.evolve(
        **{
            "reference.vibration_rad": 0.8, "reference.vibration_hz": 1.5 / device.operation.exposure_s,
            "reference.vibration_lines_hz": [170.0], "reference.vibration_lines_rad": [0.3],
            "operation.exposure_average": averaged,
        }
    )  # fmt: skip
    model = ExpectedOutput(device, 200, 300, seed=SEED, reference_phase_rad=0.7)
    bits = bits_of(2, 200)
    # All pixels share the phase of a frame: what chance leaves of its mean goes as the fringe.
    assert_is_the_mean_of(frames_of(model, bits, 2000, 0.7), mean_of(model, bits))


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize("resolution", ["auto", "mirrors"])
def test_every_stage_is_that_of_the_simulator(resolution, execution):
    phase = [0.4, 2.0]
    model = ExpectedOutput(
        SMALL, 90, 200, seed=SEED, resolution=resolution, execution=execution, reference_phase_rad=phase
    )
    bits = bits_of(2, 90)
    assert_is_the_mean_of(frames_of(model, bits, 400, phase), mean_of(model, bits))


@pytest.mark.parametrize("device", [GAUSSIAN, Device.load("ideal")], ids=["gaussian", "ideal"])
def test_other_devices(device):
    model = ExpectedOutput(device, 100, 200, seed=SEED)
    bits = bits_of(3, 100)
    if device.camera.shot_noise:
        assert_is_the_mean_of(frames_of(model, bits, 400), mean_of(model, bits))
    else:  # without noise one frame is the mean
        np.testing.assert_allclose(mean_of(model, bits), frames_of(model, bits, 1)[:, 0], rtol=2e-5)


@pytest.mark.parametrize("learn", [[], ["dmd.contrast_ratio"]], ids=["fixed", "contrast"])
@pytest.mark.parametrize("resolution", ["auto", "mirrors"])
@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_fields_are_those_of_the_projector(execution, resolution, learn):
    device = SMALL.evolve(resolution=resolution)
    model = ExpectedOutput(device, (6, 8), 100, seed=SEED, execution=execution, learn=learn)
    bits = bits_of(4, 48)
    projector = Projector(
        device, SEED, model.layout, Region(model.roi, 100, 60), resolution=resolution, execution="waves"
    )
    expected = projector.way.fields(bits)
    reader = model._learnt.reader(model._learnt.values())
    with torch.no_grad():
        found = torch.view_as_complex(model.field(torch.from_numpy(bits).float(), reader)).numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("opu_type", ["type1", "type2"])
@pytest.mark.parametrize("n_features", [150, (9, 14)], ids=["line", "picture"])
def test_it_shows_and_reads_what_an_opu_does(n_features, opu_type):
    device = STILL.evolve(**{"operation.opu_type": opu_type})
    model = ExpectedOutput(device, n_features, 130, seed=SEED)
    bits = bits_of(1, math.prod(n_features) if isinstance(n_features, tuple) else n_features)
    n = 400
    with OPU(n_components=130, device=device, seed=SEED) as opu:
        if isinstance(n_features, tuple):
            opu.fit2d(n_features=n_features)
            counts = opu.transform(np.repeat(bits, n, axis=0).reshape(n, *n_features))
        else:
            opu.fit1d(n_features=n_features)
            counts = opu.transform(np.repeat(bits, n, axis=0))
    assert_is_the_mean_of(np.asarray(counts, dtype=np.float64)[None], mean_of(model, bits))


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("execution", ["matrix", "waves"])
@pytest.mark.parametrize("name", ["dim", "bright", "half saturated"])
def test_gradient_of_the_input(name, execution):
    device = lit(SMALL, name)
    model = ExpectedOutput(
        device, 12, 6, seed=SEED, execution=execution, mirrors="relaxed", dtype=torch.float64, reference_phase_rad=0.5
    )
    x = torch.rand(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(model, x, eps=1e-6, atol=1e-6, rtol=1e-5)


def test_gradient_of_a_saturated_pixel_fades_as_its_mean_does():
    x = torch.rand(1, 50, generator=torch.Generator().manual_seed(1)).requires_grad_()
    size = {}
    for name in LIGHT:
        model = ExpectedOutput(lit(STILL, name), 50, 20, seed=SEED, mirrors="relaxed", rounding="none")
        (slope,) = torch.autograd.grad(model(x).sum(), x)
        size[name] = slope.norm().item()
    assert size["usual"] == pytest.approx(10 * size["dim"], rel=1e-2)
    assert size["bright"] == pytest.approx(10 * size["usual"], rel=1e-2)
    assert size["saturated"] < 1e-3 * size["bright"]


@pytest.mark.parametrize("name", ["dim", "bright"])
def test_straight_through_mirrors(name):
    """Values are those of the binary vector; the gradient is that of relaxed mirrors there."""
    models = [ExpectedOutput(lit(STILL, name), 60, 30, seed=SEED, mirrors=m) for m in ("straight-through", "relaxed")]
    x = torch.randn(3, 60, generator=torch.Generator().manual_seed(2)).requires_grad_()
    binary = (x.detach() > 0.5).float().requires_grad_()
    outputs = [model(given) for model, given in zip(models, (x, binary), strict=True)]
    assert torch.equal(*outputs)
    slopes = [torch.autograd.grad(out.sum(), given)[0] for out, given in zip(outputs, (x, binary), strict=True)]
    assert torch.equal(*slopes) and slopes[0].abs().max() > 0


def test_straight_through_rounding_of_the_module():
    models = {r: ExpectedOutput(STILL, 60, 30, seed=SEED, rounding=r) for r in ("straight-through", "none")}
    x = torch.rand(2, 60, generator=torch.Generator().manual_seed(3)).requires_grad_()
    out = {r: model(x) for r, model in models.items()}
    assert torch.equal(out["straight-through"], torch.round(out["none"]))
    slopes = [torch.autograd.grad(y.sum(), x)[0] for y in out.values()]
    assert torch.equal(*slopes) and slopes[0].abs().max() > 0


# Steps of the finite differences, relative, where they are not 1e-5: the arrays of a changed medium, contrast or
# reference and the map of dark currents are of single precision, and noise has little effect on a mean.
STEPS = {
    "medium.phase_std_rad": 3e-4, "medium.thickness_m": 2e-6, "dmd.contrast_ratio": 3e-2,
    "reference.relative_amplitude": 1e-3, "laser.power_noise": 1e-3, "camera.read_noise_e": 1e-3,
    "camera.dark_current_e_per_s": 1e-3,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("exposure", [2.0, 20.0, 60.0], ids=["dim", "bright", "saturated"])
@pytest.mark.parametrize("path, execution", [(p, "auto") for p in RANGES] + [("dmd.contrast_ratio", "waves")])
def test_gradients_of_the_device(path, exposure, execution):
    """Autograd through one module against a module for each changed device."""
    device = SMALL.evolve(**{"operation.exposure_s": exposure * 1e-4, "reference.relative_amplitude": 0.5})
    device = device.evolve(**{"reference.scale_error": 0.02, "reference.nonlinearity": 0.01, "laser.power_noise": 0.05})
    # Full well and full scale close to each other, and dark noise at the lower end, so that pixels meet all limits.
    device = device.evolve(**{"camera.hot_pixel_fraction": 0.2, "laser.power_noise_bandwidth_hz": 1e3})
    device = device.evolve(
        **{
            "camera.full_well_e": 6300.0,
            "camera.black_level_dn": 0.5,
            "dmd.contrast_ratio": 50.0,
            "reference.jitter_rad": 0.1,
        }
    )
    x = torch.from_numpy(bits_of(3, 30)).double()

    def module(changed, learn=()):
        return ExpectedOutput(
            changed, 30, 40, seed=SEED, execution=execution, learn=learn, reference_phase_rad=0.9, dtype=torch.float64
        )

    stage, field = path.split(".")
    value = getattr(getattr(device, stage), field)
    given = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    model = module(device, [path])
    found = torch.stack(
        [torch.autograd.grad(y, given, retain_graph=True)[0] for y in model(x, values={path: given}).flatten()]
    )
    step = value * STEPS.get(path, 1e-5)
    with torch.no_grad():
        high, low = (module(device.evolve(**{path: value + sign * step}))(x) for sign in (1, -1))
    expected = ((high - low) / (2 * step)).flatten()
    scale = expected.abs().max()
    assert scale > 1e-9 or (path in ("camera.full_well_e", "laser.power_noise") and exposure == 2.0)
    allowed = 5e-3 if path in STEPS else 1e-4
    assert (found - expected).abs().max() <= allowed * scale + 1e-12


@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_all_that_is_learnable_has_a_gradient(execution):
    """A device that meets every limit: full well, full scale and black level, all noise, hot pixels and leakage."""
    device = SMALL.evolve(
        **{
            "operation.exposure_s": 3e-3, "reference.relative_amplitude": 0.5, "reference.scale_error": 0.02,
            "reference.nonlinearity": 0.01, "reference.jitter_rad": 0.1, "laser.power_noise": 0.05,
            "camera.hot_pixel_fraction": 0.2, "camera.full_well_e": 6300.0, "camera.black_level_dn": 0.5,
            "laser.power_noise_bandwidth_hz": 1e3,
            "dmd.contrast_ratio": 50.0,
        }
    )  # fmt: skip
    inside = inside_of(device.medium)
    assert set(RANGES) == {*READ, *inside} == set(learnable_of(device)) and inside
    learn = [path for path in RANGES if execution == "waves" or path not in inside]
    model = ExpectedOutput(
        device, 30, 40, seed=SEED, learn=learn, execution=execution, reference_phase_rad=0.9, dtype=torch.float64
    )
    model(torch.from_numpy(bits_of(6, 30)).double()).square().mean().backward()
    slopes = {path: model.steps[path.replace(".", "__")].grad for path in learn}
    assert all(slope is not None and slope.isfinite() and slope.abs() > 1e-6 for slope in slopes.values()), slopes


def test_what_is_read_is_declared():
    reader = Parameters(STILL, [], None, torch.float32).reader({})
    assert reader("camera.gain_dn_per_e") == 0.04
    with pytest.raises(AssertionError, match="camera.prnu is read, but it stands neither in READ nor"):
        reader("camera.prnu")


@pytest.mark.parametrize("name", PhaseScreenMedium.inside)
def test_phases_of_factors_turn_as_the_medium_says(name):
    medium = SMALL.medium
    grid, how = ModeGrid(32, (8, 8), (8, 8), 0.5), {"wavelength_m": 532e-9, "seed": SEED}
    change = 1e-4 * getattr(medium, name)
    slopes = medium.phase_slopes(name, grid, **how)
    before, after = (
        one.factors(grid, **how)
        for one in (medium, dataclasses.replace(medium, **{name: getattr(medium, name) + change}))
    )
    for part in ("transfer", "ballistic"):
        slope = getattr(slopes, part)
        turned = getattr(before, part) * (1 if slope is None else np.exp(1j * slope * change))
        np.testing.assert_allclose(getattr(after, part), turned, atol=1e-4 * np.abs(turned).max())
    assert (slopes.transfer is None) == (name == "phase_std_rad") == bool(slopes.screens)
    for k, screen in enumerate(before.screens):
        turned = screen * (np.exp(1j * slopes.screens[k] * change) if slopes.screens else 1)
        np.testing.assert_allclose(after.screens[k], turned, atol=1e-4 * np.abs(turned).max())
    with pytest.raises(NotImplementedError, match="of kind 'phase_screens' has no field 'step_m' that turns phases"):
        medium.phase_slopes("step_m", grid, **how)


def test_gradient_of_the_reference_phase():
    model = ExpectedOutput(
        STILL, 40, 25, seed=SEED, learn=["reference_phase_rad"], reference_phase_rad=[0.3, 1.1], dtype=torch.float64
    )
    x = torch.from_numpy(bits_of(2, 40)).double()
    phases = torch.tensor([0.3, 1.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: model(x, values={"reference_phase_rad": p}), phases, atol=1e-5)
    assert model(x).shape == (4, 25)


# ---------------------------------------------------------------- learning


@pytest.mark.slow
@pytest.mark.parametrize("path", ["operation.exposure_s", "camera.gain_dn_per_e"])
def test_learning_the_best_use_of_full_scale(path):
    """Exposure, or gain, for the largest variance of the counts over vectors and pixels.

    The intensity of speckle of mean m is exponential. Clipped at c = a m its variance is
    c^2 [(1 - exp(-2 a)) / a^2 - 2 exp(-a) / a], which is largest at a = 1.13: at full scale for a third of the pixels.
    """
    best = optimize.minimize_scalar(
        lambda a: -((1 - math.exp(-2 * a)) / a**2 - 2 * math.exp(-a) / a), bounds=(0.2, 5), method="bounded"
    )
    # A dim start; a full well that no pixel reaches; the beam even, so that vectors are many independent modes.
    dim = GAUSSIAN.evolve(**{path: 0.2 * (400e-6 if path.startswith("op") else 0.04), "camera.full_well_e": 1e6})
    dim = dim.evolve(**{"dmd.beam_radius_m": math.inf, "camera.black_level_dn": 0.0, "camera.prnu": 0.0})
    model = ExpectedOutput(dim.evolve(**{"laser.power_w": 50e-3}), 300, 400, seed=SEED, learn=[path])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    start = model.values()[path]
    for step in range(150):
        for group in optimiser.param_groups:
            group["lr"] = 0.1 if step < 100 else 0.02
        x = torch.randint(0, 2, (64, 300), generator=generator).float()
        optimiser.zero_grad()
        (-model(x).var()).backward()
        optimiser.step()
    learnt = model.device()
    assert model.values()[path] > 2 * start
    level = learnt.camera.gain_dn_per_e * learnt.camera.quantum_efficiency * 150 / 300 * learnt.dmd.n_mirrors
    level *= OpticalBench(learnt, SEED).photons_per_intensity(learnt.operation.exposure_s)
    # 120 000 samples of a batch on 400 pixels: the optimum is flat, and its place is known to a few per cent.
    assert 255 / level == pytest.approx(best.x, rel=0.1)
    # The simulator, with what was learnt: 2 * 400 pixels, of half the variance each that an exponential law has.
    frames = frames_of(model, bits_of(200, 300), 1)[:, 0]
    assert frames.var() == pytest.approx(-best.fun * 255**2, rel=0.1)
    assert np.mean(frames == 255) == pytest.approx(math.exp(-best.x), abs=0.05)


def test_what_is_learnt_is_trained_with_a_network():
    model = ExpectedOutput(STILL, 30, 20, seed=SEED, learn=["camera.gain_dn_per_e", "laser.power_w"])
    chain = torch.nn.Sequential(torch.nn.Linear(8, 30), model, torch.nn.Linear(20, 2))
    chain(torch.randn(5, 8, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in chain.parameters())
    assert len(list(model.parameters())) == 2
    learnt = ["_learnt.steps.camera__gain_dn_per_e", "_learnt.steps.laser__power_w"]
    assert sorted(model.state_dict()) == ["_extra_state", *learnt]


LEARN = {"seed": SEED, "learn": ["camera.gain_dn_per_e", "reference_phase_rad"], "reference_phase_rad": [0.0, 1.0]}


def learnt_module(**changes):
    arguments = {"device": STILL, "n_features": 30, "n_components": 20, **LEARN, **changes}
    return ExpectedOutput(**arguments)


def read_back(state):
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def test_what_is_learnt_travels_with_the_device_that_it_is_of():
    """By a state_dict, a pickle and a deep copy: the same output and the same device, bit for bit."""
    model, fresh = learnt_module(), learnt_module()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
    x = torch.randint(0, 2, (4, 30), generator=torch.Generator().manual_seed(0)).float()
    expected = model(x)
    state = read_back(model.state_dict())
    fresh.load_state_dict(state)
    for other in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), expected) and other.device() == model.device() != STILL
    waves = learnt_module(execution="waves")
    for other in (copy.deepcopy(waves), pickle.loads(pickle.dumps(waves))):
        assert torch.equal(other(x), waves(x))
    old = {name: value for name, value in state.items() if name != "_extra_state"}
    fresh = learnt_module()
    with pytest.warns(UserWarning, match="says nothing of the ExpectedOutput.*taken to be of the same device"):
        fresh.load_state_dict(old)
    assert torch.equal(fresh(x), expected)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seed": SEED + 1}, f"seed is {SEED + 1} here, but {SEED} in the state"),
        ({"device": "ideal"}, "device is 'ideal' here, but '.*' in the state"),
        ({"device": STILL.evolve(**{"camera.bits": 10})}, "device is '[0-9a-f]{64}' here"),
        ({"n_features": 31}, "layout is .*31.* here"),
        ({"n_components": 21}, "n_components is 21 here, but 20 in the state"),
        ({"reference_phase_rad": [0.0, 2.0]}, r"reference_phase_rad is \[0.0, 2.0\] here"),
        ({"roi": (0, 0, 20, 20)}, "roi is "),
    ],
)
def test_a_module_of_another_device_refuses_what_was_learnt(changes, match):
    """The same steps from another start are other values: gain, power and phase would be wrong without a word."""
    state = learnt_module().state_dict()
    with pytest.raises(RuntimeError, match=match):
        learnt_module(**changes).load_state_dict(state)


@pytest.mark.parametrize("path", RANGES)
def test_values_start_as_they_are_and_stay_in_their_range(path):
    device = STILL.evolve(**{"reference.scale_error": 0.02, "reference.nonlinearity": 0.01})
    parameters = Parameters(device, [path], 0.0, torch.float32)
    assert parameters.learnt_device() == device
    (step,) = parameters.parameters()
    low, high = parameters.bounds[path]
    stage, field = path.split(".")
    before = getattr(getattr(device, stage), field)
    slope = torch.autograd.grad(parameters.values()[path], step)[0]
    assert slope > 0
    for size in (1e-3, 0.5, 8.0, 90.0):
        with torch.no_grad():
            step.fill_(-size)
            below = parameters.values()[path].item()
            step.fill_(size)
            above = parameters.values()[path].item()
        assert low <= below < before < above <= high
        if size == 1e-3:
            assert (above - below) / 2e-3 == pytest.approx(slope.item(), rel=1e-4)


def test_the_device_has_what_was_learnt():
    model = ExpectedOutput(
        STILL, 30, 20, seed=SEED, learn=["camera.read_noise_e", "reference.coherence"], reference_phase_rad=1.0
    )
    assert model.device() == STILL
    with torch.no_grad():
        model.steps["camera__read_noise_e"].fill_(math.log(2))
    changed = model.device()
    assert changed.camera.read_noise_e == pytest.approx(26.0) and changed.reference == STILL.reference
    assert model.values() == {"camera.read_noise_e": pytest.approx(26.0), "reference.coherence": pytest.approx(0.99)}
    other = ExpectedOutput(changed, 30, 20, seed=SEED, reference_phase_rad=1.0)
    x = torch.from_numpy(bits_of(2, 30))
    torch.testing.assert_close(model(x), other(x))


def test_shapes_types_and_whole_mirror_patterns():
    model = ExpectedOutput(SMALL.evolve(**{"camera.pixel_over_grain": 0.0}), 48 * 64, 30, seed=SEED)
    assert model.layout.kind == "plain"
    bits = torch.from_numpy(bits_of(2, 48 * 64))
    rows = model(bits)
    assert rows.shape == (2, 30) and rows.dtype == torch.float32
    torch.testing.assert_close(model(bits[0]), rows[0])
    torch.testing.assert_close(model(bits.bool()), rows)
    assert model.double()(bits).dtype == torch.float64
    torch.testing.assert_close(model(bits).float(), rows, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("execution", ["matrix", "waves"])
def test_on_the_gpu(execution):
    model = ExpectedOutput(SMALL, 90, 50, seed=SEED, execution=execution, learn=["camera.gain_dn_per_e"])
    bits = torch.from_numpy(bits_of(3, 90))
    expected = model(bits)
    found = model.cuda()(bits.cuda())
    found.sum().backward()
    assert found.is_cuda and model.steps["camera__gain_dn_per_e"].grad.isfinite()
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-2)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"learn": ["camera.gain"]}, "learn names 'camera.gain', .*no such field.*near.* 'camera.gain_dn_per_e'"),
        ({"learn": ["medium.phase_std"]}, "near ones are 'medium.phase_std_rad'"),
        ({"learn": ["camera.bits"]}, "learn names 'camera.bits', but .*no gradient.*It may name laser.power_w"),
        ({"learn": ["laser.wavelength_m"]}, "no gradient with respect to it"),
        ({"learn": ["reference.coherence"]}, "reference_phase_rad is None, which blocks the reference arm"),
        ({"learn": ["reference_phase_rad"]}, "reference_phase_rad is None.*phase to start from"),
        ({"learn": ["camera.dark_current_e_per_s"], "device": STILL.evolve(**{"camera.dark_current_e_per_s": 0.0})},
         r"which is 0.0 in the device, but learning must start from within its range \(0, inf\)"),
        ({"learn": ["camera.full_well_e"], "device": STILL.evolve(**{"camera.full_well_e": math.inf})}, "which is inf"),
        ({"learn": ["medium.thickness_m"], "execution": "matrix"}, "execution is 'matrix', but medium.thickness_m"),
        ({"learn": ["medium.phase_std_rad"], "device": GAUSSIAN}, "no such field in the device"),
        ({"device": STILL.evolve(**{"medium.decorrelation_time_s": 0.01})},
         r"in which a medium of medium.decorrelation_time_s = 0.01 moves.*must be at most 3.16e-05 s, or"),
        ({"device": STILL.evolve(**{"dmd.creep_per_hour": 0.001})}, "changes from frame to frame on the modulator"),
        ({"device": STILL.evolve(**{"dmd.vibration_rad": 0.1})}, "vectors one by one: switch off what moves in it"),
        ({"mirrors": "soft"}, "mirrors is 'soft', but it must be one of 'straight-through', 'relaxed'"),
        ({"rounding": "up"}, "rounding is 'up', but it must be one of"),
        ({"execution": "gpu"}, "execution is 'gpu', but it must be one of"),
        ({"dtype": torch.float16}, "dtype is torch.float16, but it must be torch.float32 or torch.float64"),
        ({"n_components": 10**8}, "n_components is 100000000, but it must be a whole number from 1 to 2219520"),
        ({"n_features": 0}, "n_features is 0, but it must be"),
        ({"n_features": (2000, 2)}, r"n_features is \(2000, 2\), but a picture must fit on the \(912, 1140\) mirrors"),
        ({"roi": (0, 0, 1, 10)}, "n_components is 20, but it must be a whole number from 1 to 10"),
        ({"layout": MirrorLayout.lined((48, 64), 30)}, r"layout is for \(48, 64\) mirrors"),
        ({"layout": MirrorLayout.lined((912, 1140), 31)}, "n_features is 30, but the layout has"),
        ({"device": GAUSSIAN, "memory_budget": 100}, "takes 0 MiB and may take 0 MiB: memory_budget"),
        ({"device": Device.load("aurora").evolve(**{"reference.relative_amplitude": 0.0}), "reference_phase_rad": 0.0},
         "this device has no reference arm"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, words):
    given = {"device": STILL, "n_features": 30, "n_components": 20, **arguments}
    with pytest.raises(ValueError, match=words):
        ExpectedOutput(given.pop("device"), given.pop("n_features"), given.pop("n_components"), **given)


def test_bad_types_of_arguments():
    with pytest.raises(TypeError, match=r"learn is 'camera.bits', but it must be a list of paths"):
        ExpectedOutput(STILL, 30, 20, learn="camera.bits")
    with pytest.raises(TypeError, match="layout is 3 .int., but it must be a MirrorLayout"):
        ExpectedOutput(STILL, 30, 20, layout=3)


def test_bad_input():
    model = ExpectedOutput(STILL, 30, 20, mirrors="relaxed", learn=["laser.power_w"])
    with pytest.raises(ValueError, match="x reaches from 0 to 2, but mirrors='relaxed' takes values from 0 to 1"):
        model(torch.tensor([0.0, 1.0, 2.0] * 10))
    with pytest.raises(ValueError, match="relaxed"):
        model(torch.full((30,), math.nan))
    with pytest.raises(ValueError, match=r"x has shape \(2, 29\), but it must be \(batch, 30\) or \(30,\)"):
        model(torch.zeros(2, 29))
    with pytest.raises(TypeError, match="x is a ndarray, but it must be a tensor"):
        model(np.zeros((2, 30)))
    with pytest.raises(TypeError, match="x is a tensor of torch.complex64"):
        model(torch.zeros(30, dtype=torch.complex64))
    with pytest.raises(
        ValueError, match="values names 'camera.bits', but it may name only what learn named: laser.power_w"
    ):
        model(torch.zeros(30), values={"camera.bits": 3})


@pytest.mark.parametrize(
    "module",
    [
        "opusim.differentiable",
        "opusim.dfa.torch",
        "opusim.encoding.models",
        "opusim.drivers.projections.torch",
        "opusim.tasks.graph",
    ],
)
def test_without_torch_the_extra_is_named(module):
    what = "import ExpectedOutput" if module == "opusim.differentiable" else "import *"
    code = f"import sys; sys.modules['torch'] = None; from {module} {what}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert f"{module} needs PyTorch" in done.stderr and "pip install 'opusim[torch]'" in done.stderr


# ---------------------------------------------------------------- a sensor by EMVA 1288

UNEVEN = {
    "camera.dsnu_row_e": 20.0, "camera.dsnu_column_e": 30.0, "camera.prnu_row": 0.05, "camera.prnu_column": 0.05,
    "camera.dark_current_e_per_s": 5e4, "camera.dark_current_spread_e_per_s": 4e4, "camera.temperature_c": 33.0,
    "camera.dark_current_doubling_k": 8.0, "camera.nonlinearity": -0.04, "camera.telegraph_fraction": 0.2,
    "camera.telegraph_e": 15.0, "camera.hot_pixel_dark_e_per_s": 2e5,
}  # fmt: skip


@pytest.mark.parametrize("name", ["usual", "half saturated"])
def test_an_uneven_warm_sensor_that_is_not_linear(name):
    """The mean of 800 frames, pixel by pixel: chi-squared of a pixel's mean is 1, and 5 standard errors hold for all.

    A grey level of 25 electrons; each of these imperfections alone moves pixels by more than that.
    """
    device = lit(GAUSSIAN, name).evolve(**UNEVEN)
    model = ExpectedOutput(device, 64, 400, seed=SEED, dtype=torch.float64)
    bits = bits_of(2, 64)
    frames = frames_of(model, bits, 800)
    error = frames.std(axis=1) / math.sqrt(800) + 2e-3
    away = (frames.mean(axis=1) - mean_of(model, bits)) / error
    assert np.sqrt(np.mean(away**2)) < 1.1 and np.abs(away).max() < 5


@pytest.mark.parametrize(
    "path",
    ["camera.dark_current_e_per_s", "camera.full_well_e", "camera.gain_dn_per_e", "camera.black_level_dn"],
)
def test_gradients_of_an_uneven_sensor(path):
    """Against the outputs of modules of two devices: central differences, to 1e-3 of the gradient's norm.

    The dark current of a pixel is made in single precision, so that a step of 1e-3 knows 1e-4 of a slope.
    """
    device = lit(GAUSSIAN, "half saturated").evolve(**UNEVEN, **{"camera.full_well_e": 3000.0})
    x = torch.from_numpy(bits_of(1, 64)).double()
    how = {"n_features": 64, "n_components": 60, "seed": SEED, "dtype": torch.float64, "rounding": "none"}
    model = ExpectedOutput(device, learn=[path], **how)
    start = model.values()[path]
    value = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    found = torch.autograd.functional.jacobian(lambda v: model(x, values={path: v}), value).ravel()
    step = 1e-3 * start
    two = [ExpectedOutput(device.evolve(**{path: start + s}), **how)(x) for s in (step, -step)]
    expected = ((two[0] - two[1]) / (2 * step)).ravel()
    assert torch.linalg.norm(found - expected) < 1e-3 * torch.linalg.norm(expected)


def test_lag_is_refused():
    with pytest.raises(ValueError, match=r"camera\.lag is 0\.1, with which .* vectors one by one"):
        ExpectedOutput(STILL.evolve(**{"camera.lag": 0.1}), 64, 10)


def test_a_fourier_stop_is_refused():
    with pytest.raises(ValueError, match=r"fourier_stop\.diameter_cycles is 0\.25, but ExpectedOutput does not know"):
        ExpectedOutput(STILL.evolve(**{"fourier_stop.diameter_cycles": 0.25}), 64, 10)
