"""Attributes that an object was made from: setting one is an error that says what to do, or takes effect."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from opusim import OPU, OpticalBench
from opusim.base.validation import Fixed
from opusim.device.record import Device
from opusim.dfa import GaussianFeedback, NoisyFeedback, OpticalFeedback
from opusim.dfa.network import MLP
from opusim.drivers import OpuDevice
from opusim.drivers.compat.random_mapping import OPURandomMapping
from opusim.drivers.input_region import InputRoi
from opusim.drivers.output_region import OutputRoi
from opusim.drivers.projections.sklearn import OPUMap
from opusim.drivers.types import OutputRoiStrategy
from opusim.encoding import Float32Encoder, SequentialBaseTwoEncoder
from opusim.sweep import Sweep


class Thing(Fixed):
    _fixed = {"size": "Make another Thing."}

    def __init__(self, size, colour="red"):
        self.size, self.colour = size, colour


def test_an_attribute_is_set_once():
    thing = Thing(3)
    thing.colour = "blue"
    with pytest.raises(
        AttributeError, match="^size can't be set to 4: this Thing was made with 3, which stays. Make another Thing.$"
    ):
        thing.size = 4
    with pytest.raises(AttributeError, match="^size can't be taken away: this Thing was made with it.$"):
        del thing.size
    assert (thing.size, thing.colour) == (3, "blue")


def test_long_values_are_named_by_their_kind():
    with pytest.raises(AttributeError, match="set to a list: this Thing was made with a ndarray, which"):
        Thing(np.zeros(100)).size = list(range(100))


def test_copies_are_made():
    thing = Thing(3, "blue")
    assert [vars(c) for c in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing)))] == [
        {"size": 3, "colour": "blue"}
    ] * 3


# ---------------------------------------------------------------- every class that has such attributes


class Driver:
    """As plain as a driver may be."""

    n_components = 5

    def linear_transform(self, bits):
        return np.zeros((len(bits), 5), np.float32)


def sweep():
    return Sweep(lambda opu, seed: {"a": 1.0}, lambda *a: None, {"camera.bits": [8]})


MADE = {
    "OpuDevice": (OpuDevice, {"device_model": Device.load("ideal")}),
    "OPU": (lambda: OPU(50), {"config_file": "other.json"}),
    "GaussianFeedback": (lambda: GaussianFeedback(3, 5), {"n_classes": 4, "width": 6, "seed": 1}),
    "NoisyFeedback": (lambda: NoisyFeedback(3, 5), {"n_classes": 4, "width": 6, "seed": 1}),
    "OpticalFeedback": (
        lambda: OpticalFeedback(Driver(), 5, n_classes=3),
        {"opu": Driver(), "n_classes": 4, "width": 6, "calibrate": False, "exposure_s": 1e-3},
    ),
    "MLP": (lambda: MLP([3, 4, 2]), {"sizes": (3, 2), "activation": "relu", "seed": 1, "dtype": np.dtype("f8")}),
    "Sweep": (sweep, {"task": print, "settings": (), "header": None}),
    "SequentialBaseTwoEncoder": (SequentialBaseTwoEncoder, {"n_gray_levels": 8, "n_bits": 3}),
    "Float32Encoder": (Float32Encoder, {"sign_bit": False, "exp_bits": 4, "mantissa_bits": 3, "n_bits": 5}),
    "InputRoi": (lambda: InputRoi((912, 1140), (10, 1000)), {"input_shape": (10, 10), "input_size": 100}),
    "OutputRoi": (
        lambda: OutputRoi((2040, 1088), OutputRoiStrategy.mid_width),
        {"strategy": OutputRoiStrategy.mid_square, "allowed_roi": ((0, 0), (2040, 2)), "max_components": 5},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (_, names) in MADE.items() for name in names])
def test_what_was_computed_from_it_would_not_follow(kind, name):
    make, values = MADE[kind]
    made = make()
    before = getattr(made, name)
    with pytest.raises(AttributeError, match=f"^{name} can't be set to .*{kind} was made with .*which stays. .*[.]$"):
        setattr(made, name, values[name])
    assert getattr(made, name) is before


def test_classes_of_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from opusim.dfa.torch import DFA
    from opusim.differentiable.output import ExpectedOutput

    dfa = DFA(GaussianFeedback(2, 3))
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
    marks = dfa.mark(model, ["0"])
    expected = ExpectedOutput("aurora", 20, 10)
    changes = {
        dfa: {"feedback": GaussianFeedback(2, 4), "n_classes": 3, "width": 4},
        marks: {"dfa": dfa, "model": torch.nn.Linear(2, 2)},
        expected: {"layout": None, "roi": (0, 0, 1, 10), "n_components": 5, "seed": 1},
    }
    for made, values in changes.items():
        for name, value in values.items():
            with pytest.raises(AttributeError, match=f"^{name} can't be set to .*{type(made).__name__} was made with"):
                setattr(made, name, value)


# ---------------------------------------------------------------- what can be set takes effect


def test_the_linear_mode_is_checked_when_it_is_set():
    opu = OPU(50, device=Device.load("aurora").evolve(**{"reference.relative_amplitude": 0.0}))
    x = np.random.default_rng(0).integers(0, 2, (3, 40), dtype=np.uint8)
    opu.fit1d(x)
    opu.linear_mode = "intensity"
    assert opu.linear_transform(x).shape == (3, 50)
    with pytest.raises(ValueError, match="linear_mode is 'intensities', but it must be one of 'auto'"):
        opu.linear_mode = "intensities"
    assert opu.linear_mode == "intensity"


def test_the_type_of_a_device_is_checked_when_it_is_set():
    device = OpuDevice("type2")
    device.opu_type = "type1"
    assert device.output_roi_strategy is OutputRoiStrategy.mid_square
    with pytest.raises(ValueError, match="opu_type is 'type9', but it must be one of"):
        device.opu_type = "type9"
    assert device.opu_type == "type1"


def test_encoders_take_other_numbers_by_set_params():
    x = np.random.default_rng(0).normal(size=(6, 5))
    changed = SequentialBaseTwoEncoder(16).fit(x).set_params(n_gray_levels=4).fit(x)
    assert np.array_equal(changed.transform(x), SequentialBaseTwoEncoder(4).fit(x).transform(x))
    bits = Float32Encoder(exp_bits=8, mantissa_bits=0).set_params(exp_bits=2).transform(x.astype(np.float32))
    assert np.array_equal(bits, Float32Encoder(exp_bits=2, mantissa_bits=0).transform(x.astype(np.float32)))


def test_progress_bars_of_maps_follow_what_is_set(capfd):
    x = np.random.default_rng(0).integers(0, 2, (3, 40), dtype=np.uint8)
    mapping = OPUMap(50).fit(x)
    mapping.transform(x)
    assert not capfd.readouterr().err
    mapping.set_params(verbose_level=1).transform(x)
    assert "3/3" in capfd.readouterr().err
    old = OPURandomMapping(50)
    old.fit(x)
    assert old.get_params()["disable_pbar"] is False
    old.set_params(disable_pbar=True)
    assert old.disable_pbar is True and old.opu.disable_pbar and old.opu_.disable_pbar


@pytest.mark.parametrize(
    "given", [{"seed": 7}, {"device": "ideal"}, {"execution": "waves"}, {"memory_budget": 5}, {"threads": 1}], ids=str
)
def test_a_bench_and_what_only_a_new_one_would_have(given):
    bench = OpticalBench("aurora", seed=3)
    (name,) = given
    with pytest.raises(ValueError, match=f"bench is given, and so is {name}: the bench has its own"):
        OpuDevice(bench=bench, **given)
    assert OpuDevice(bench=bench).bench is bench
