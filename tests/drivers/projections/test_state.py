"""The `state_dict` of a map: device, seed, fit, exposure and frames travel; the same batch gives the same counts."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from fake_bench import FakeBench
from opusim.base.module_state import packed, unpacked
from opusim.device.record import Device
from opusim.drivers import OPU, OpuDevice
from opusim.drivers.types import OutputRescaling
from opusim.encoding import BinaryThresholdEncoder, ConcatenatedBitPlanEncoder, MultiThresholdEncoder

torch = pytest.importorskip("torch")

from opusim.drivers.projections.torch import LightonOPUMap, OPUMap  # noqa: E402

AURORA = Device.load("aurora")
SMALL = AURORA.evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (80, 120), "operation.ones_range": (10, 500),
       "operation.minimum_output_size": 2000, "medium.transmission": AURORA.medium.transmission}
)  # fmt: skip
N, OUT = 40, 120


def bits(n=5, seed=0, share=0.5):
    return torch.from_numpy((np.random.default_rng(seed).random((n, N)) < share).astype(np.uint8))


def travelled(state):
    """What comes back from a file, read without a pickle."""
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def loaded(mapping, fresh):
    assert fresh.load_state_dict(travelled(mapping.state_dict())).missing_keys == []
    return fresh


def same_counts(one, other, x=None, times=2):
    x = bits(7, 3) if x is None else x
    for _ in range(times):
        assert torch.equal(one(x), other(x))


MAPS = {
    "default": {}, "seed": {"seed": 7}, "ideal": {"device": "ideal"}, "small": {"device": SMALL, "seed": 2},
    "ten bits": {"device": SMALL.evolve(**{"camera.bits": 10})},
    "two dimensions": {"device": SMALL, "ndims": 2},
    "mirrors": {"device": SMALL.evolve(resolution="mirrors")},
}  # fmt: skip


@pytest.mark.parametrize("arguments", MAPS.values(), ids=MAPS)
def test_a_fresh_map_gives_the_counts_that_the_first_one_gives_next(arguments):
    """Also where it was made for another device and seed: both are taken over, as weights are."""
    shape = (-1, 8, 5) if "ndims" in arguments else (-1, N)
    mapping = OPUMap(OUT, **arguments).fit(bits(6, 1, 0.9).reshape(shape))
    mapping(bits(3, 2).reshape(shape))
    fresh = loaded(mapping, OPUMap(OUT, ndims=arguments.get("ndims", 1)))
    assert fresh.fitted and fresh.opu_.current_fit == mapping.opu_.current_fit
    assert fresh.seed == mapping.seed and Device.load(fresh.device) == Device.load(mapping.device)
    assert fresh.opu.bench.clock == mapping.opu.bench.clock
    same_counts(mapping, fresh, bits(7, 3).reshape(shape))
    again = loaded(fresh, OPUMap(OUT, ndims=arguments.get("ndims", 1)))  # a state of a state
    same_counts(fresh, again, bits(7, 3).reshape(shape))


def test_the_exposure_of_the_fit_travels_and_is_not_that_of_the_next_batch():
    """Without it, a map that was fitted to bright data sees half as much again of a dark batch."""
    mapping = OPUMap(OUT, device=SMALL).fit(bits(20, 1, 0.95))
    fresh = loaded(mapping, OPUMap(OUT, device=SMALL))
    other = OPUMap(OUT, device=SMALL).fit(bits(20, 1, 0.15))
    exposures = [m.opu_.current_fit.exposure_us for m in (mapping, fresh, other)]
    assert exposures[0] == exposures[1] < exposures[2]
    same_counts(mapping, fresh, bits(7, 3, 0.15))


def test_what_a_program_set_on_the_device_since_the_fit_travels():
    mapping = OPUMap(OUT, device=SMALL).fit(bits())
    mapping.opu.device.exposure_us, mapping.opu.device.frametime_us = 123, 4567
    fresh = loaded(mapping, OPUMap(OUT))
    assert (fresh.opu.device.exposure_us, fresh.opu.device.frametime_us) == (123, 4567)
    same_counts(mapping, fresh)


@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_the_linear_transform_travels_with_its_calibration(mode):
    opu = OPU(OUT, device=SMALL, seed=3, linear_mode=mode, rescale="none")
    mapping = OPUMap(OUT, opu, linear=True).fit(bits())
    mapping(bits(3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is not calibrated again
        fresh = loaded(mapping, OPUMap(OUT, linear=True))
        same_counts(mapping, fresh)
    assert fresh.opu.linear_mode == mode and fresh.opu.rescale is OutputRescaling.none
    assert fresh.opu_.current_fit.measured.keys() == mapping.opu_.current_fit.measured.keys()


def test_inside_a_network_with_its_weights():
    def network(seed):
        return torch.nn.Sequential(OPUMap(OUT, device=SMALL, seed=seed), torch.nn.Linear(OUT, 2))

    first, second = network(1), network(2)
    first[0].fit(bits())
    assert set(first.state_dict()) == {"0._extra_state", "1.weight", "1.bias"}
    second.load_state_dict(travelled(first.state_dict()))
    x = bits(4, 3)
    assert torch.equal(first[1](first[0](x).float()), second[1](second[0](x).float()))
    clones = {name: value.clone().cpu() for name, value in first.state_dict().items()}  # loops that people write
    network(3).load_state_dict(clones, assign=True)
    assert all(value.dtype == torch.uint8 for name, value in clones.items() if name.endswith("_extra_state"))


PROGRAM = """
import sys, torch
from opusim.drivers.projections.torch import OPUMap
mapping = OPUMap(120, linear=sys.argv[3] == "True")
mapping.load_state_dict(torch.load(sys.argv[1], weights_only=True))
torch.save(mapping(torch.load(sys.argv[2])), sys.argv[2] + ".out")
"""


@pytest.mark.system
@pytest.mark.parametrize("linear", [False, True])
def test_another_process_gives_the_same_counts(linear, tmp_path):
    mapping = OPUMap(OUT, device=SMALL, seed=9, linear=linear).fit(bits())
    mapping(bits(3, 2))
    torch.save(mapping.state_dict(), tmp_path / "state.pt")
    torch.save(bits(7, 3), tmp_path / "x.pt")
    command = [sys.executable, "-c", PROGRAM, tmp_path / "state.pt", tmp_path / "x.pt", str(linear)]
    subprocess.run(command, check=True, timeout=300, cwd=Path(__file__).resolve().parents[3])
    assert torch.equal(torch.load(tmp_path / "x.pt.out"), mapping(bits(7, 3)))


# ---------------------------------------------------------------- frames


def test_frames_are_never_taken_twice():
    """A device that has come further stays where it is: its counts have noise of their own, and the same fit."""
    mapping = OPUMap(OUT, device=SMALL).fit(bits())
    state = travelled(mapping.state_dict())
    before = mapping(bits(7, 3))
    mapping.load_state_dict(state)
    assert mapping.opu.bench.clock.frames == 7
    after = mapping(bits(7, 3))
    assert not torch.equal(before, after) and mapping.opu.bench.clock.frames == 14
    assert (after.float() - before.float()).abs().max() < 60 and mapping.opu_.current_fit.exposure_us > 0
    ideal = OPUMap(OUT, device="ideal").fit(bits())
    state, expected = ideal.state_dict(), ideal(bits(7, 3))
    ideal.load_state_dict(state)
    assert torch.equal(ideal(bits(7, 3)), expected)  # without noise, whatever the frame


def test_taking_a_state_makes_no_frame_and_no_new_device():
    mapping = OPUMap(OUT, device=SMALL, seed=4).fit(bits())
    fresh = OPUMap(OUT, device=SMALL, seed=4)
    opu, device = fresh.opu, fresh.device
    loaded(mapping, fresh)
    assert fresh.opu is opu and fresh.device is device and fresh.opu_.device is opu.device
    assert opu.bench.clock.frames == 0


# ---------------------------------------------------------------- copies


COPIES = {"pickle": lambda m: pickle.loads(pickle.dumps(m)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", [OPUMap, LightonOPUMap])
def test_copies_keep_what_was_loaded(kind, copied):
    mapping = kind(OUT).fit(bits())
    fresh = kind(OUT)
    fresh.load_state_dict(travelled(mapping.state_dict()))
    other = copied(fresh)
    assert other._number != fresh._number and other.opu_.current_fit == mapping.opu_.current_fit
    if copied is not copy.deepcopy:
        same_counts(fresh, other)
    else:
        assert other.opu.device is fresh.opu.device and other(bits()).shape == (5, OUT)


# ---------------------------------------------------------------- states of other maps


def test_a_state_of_a_map_without_a_fit_takes_the_fit_away():
    fresh = OPUMap(OUT, device=SMALL).fit(bits())
    fresh.load_state_dict(OPUMap(OUT, device=SMALL, seed=5).state_dict())
    assert not fresh.fitted and fresh.seed == 5 and fresh.opu.device.seed == 5
    expected = OPU(OUT, device=SMALL, seed=5).fit_transform1d(bits().numpy())
    assert np.array_equal(fresh.fit(bits())(bits()).numpy(), expected)


def test_a_state_of_an_older_version_of_a_preset_goes_on_as_that():
    """Also one that was taken when some of today's fields were not there; a map on an OPU of today says which it is."""
    mapping = OPUMap(OUT, device="aurora@1", seed=3).fit(bits())
    mapping(bits(3, 2))
    content = unpacked(mapping.get_extra_state(), what="the state")
    del content["device"]["operation"]["exposure_average"]
    state = {"_extra_state": torch.from_numpy(packed(content))}
    fresh = OPUMap(OUT)
    fresh.load_state_dict(travelled(state))
    assert Device.load(fresh.device).title == "aurora, version 1"
    same_counts(mapping, fresh)
    with OPU(OUT, device="aurora", seed=3) as opu:
        with pytest.raises(
            RuntimeError, match="The device of the state is aurora, version 1, .*aurora@1 is that device"
        ):
            OPUMap(OUT, opu=opu).load_state_dict(state)


def test_online_and_packed_maps():
    packed = torch.from_numpy(np.packbits(bits(6).numpy(), axis=1))
    mapping = OPUMap(OUT, device=SMALL, packed=True).fit(packed, online=True)
    fresh = loaded(mapping, OPUMap(OUT, device=SMALL, packed=True))
    assert fresh.online and fresh(packed).shape == (6, OUT)
    same_counts(loaded(mapping, OPUMap(OUT)), loaded(mapping, OPUMap(OUT, packed=True)), packed)


def test_two_loads_in_a_row_and_a_map_that_is_closed():
    first, second = OPUMap(OUT, device=SMALL, seed=1).fit(bits()), OPUMap(OUT, device="ideal", seed=2).fit(bits())
    fresh = OPUMap(OUT)
    for mapping in (first, second, first):
        loaded(mapping, fresh)
    same_counts(first, fresh)
    fresh.close()
    loaded(second, fresh)
    fresh.open()
    same_counts(second, fresh)


def test_a_given_opu_must_be_of_the_device_and_the_seed():
    mapping = OPUMap(OUT, device=SMALL, seed=4).fit(bits())
    mapping(bits())
    opu = OPU(50, device=SMALL, seed=4)
    same_counts(mapping, loaded(mapping, OPUMap(OUT, opu)))
    assert opu.n_components == OUT
    for other in (OPU(OUT, device=SMALL, seed=5), OPU(OUT, device="ideal", seed=4), OPU(OUT)):
        fresh = torch.nn.Sequential(OPUMap(OUT, other).fit(bits()))
        fit = fresh[0].opu_.current_fit
        with pytest.raises(
            RuntimeError, match=r"0: The OPU of this map is .*, seed \d, but the state is of .*, seed 4, "
        ):
            fresh.load_state_dict({"0._extra_state": mapping.state_dict()["_extra_state"]})
        assert fresh[0].opu_.current_fit is fit and fresh[0].opu is other


def test_a_laboratory_that_does_not_say_who_it_is_gives_its_fit_to_its_own_kind():
    mapping = OPUMap(OUT, OPU(OUT, OpuDevice(bench=FakeBench()))).fit(bits())
    fresh = loaded(mapping, OPUMap(OUT, OPU(OUT, OpuDevice(bench=FakeBench()))))
    assert fresh.opu_.current_fit == mapping.opu_.current_fit and fresh(bits()).shape == (5, OUT)
    with pytest.raises(RuntimeError, match="not simulated: give the map an OPU that drives it"):
        OPUMap(OUT).load_state_dict(mapping.state_dict())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n_components": 60}, r"n_components is 60, but it is 120 in the state: make the map with n_components=120"),
        ({"ndims": 2}, "ndims is 2, but it is 1 in the state"),
        ({"linear": True}, "linear is True, but it is False in the state"),
        ({"encoder": BinaryThresholdEncoder(0.5)}, None),
    ],
)
def test_a_map_of_another_form_refuses_and_stays_as_it_was(arguments, match):
    state = OPUMap(OUT, device=SMALL).fit(bits()).state_dict()
    fresh = OPUMap(**{"n_components": OUT, "seed": 8, **arguments})
    if match is None:  # a fit without an encoder: nothing was learnt
        fresh.load_state_dict(state)
        return
    with pytest.raises(RuntimeError, match=match):
        fresh.load_state_dict(state)
    assert not fresh.fitted and fresh.seed == 8


def test_a_damaged_state_and_one_of_something_else():
    mapping = OPUMap(OUT, device=SMALL).fit(bits())
    state = mapping.state_dict()["_extra_state"]
    spoilt = state.clone()
    spoilt[len(spoilt) // 2] ^= 4
    no_bytes = torch.full((3,), 0.5)
    for data, match in ((spoilt, "is damaged"), (no_bytes, "must be the bytes"), ({"a": 1}, "must be the bytes")):
        with pytest.raises(RuntimeError, match=match):
            OPUMap(OUT).load_state_dict({"_extra_state": data})
        with pytest.raises(ValueError, match=match):
            OPUMap(OUT).set_extra_state(data)


def test_what_0_1_saved_is_loaded_with_a_warning_and_as_it_was_then():
    """Its state was empty: the map is fitted on the first batch, or keeps its own fit."""
    fresh = torch.nn.Sequential(OPUMap(OUT, device=SMALL), torch.nn.Linear(OUT, 2))
    old = {name: value for name, value in fresh.state_dict().items() if name.startswith("1.")}
    with pytest.warns(UserWarning, match="says nothing of the OPUMap 0.* fitted on the first batch") as caught:
        fresh.load_state_dict(old, strict=True)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="was not fitted"):
        fresh[0](bits())
    fit = fresh[0].opu_.current_fit
    with pytest.warns(UserWarning, match="its fit stays in force"):
        fresh.load_state_dict(old)
    assert fresh[0].opu_.current_fit is fit


# ---------------------------------------------------------------- encoders


class Own:
    """An encoder of a user's, which learns a plain number."""

    def fit(self, X, y=None):
        self.level = float(X.median())

    def transform(self, X):
        return X > self.level


class Strange(Own):
    """One that keeps what no plain value is."""

    def fit(self, X, y=None):
        super().fit(X)
        self.rule = lambda x: x


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.zeros(()))

    def fit(self, X, y=None):
        self.level.fill_(float(X.median()))

    def transform(self, X):
        return X > self.level


ENCODERS = {
    "median": BinaryThresholdEncoder, "thresholds": lambda: MultiThresholdEncoder(n_bins=4), "own": Own,
    "module": Module, "planes": lambda: ConcatenatedBitPlanEncoder(4),
}  # fmt: skip


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
def test_what_an_encoder_has_learnt_travels(make):
    numbers = torch.randn(30, 12, generator=torch.Generator().manual_seed(0)) + 5
    if isinstance(make(), ConcatenatedBitPlanEncoder):
        numbers = (numbers * 20).clamp(0, 255).to(torch.uint8)
    mapping = OPUMap(OUT, device=SMALL, encoder=make()).fit(numbers)
    fresh = loaded(mapping, OPUMap(OUT, encoder=make()))
    same_counts(mapping, fresh, numbers[:9])
    if hasattr(fresh.encoder_, "_medians"):
        assert fresh.encoder_.threshold_enc is fresh.encoder_._medians  # by which it knows that a fit set them


def test_an_encoder_that_only_a_pickle_could_hold_and_one_of_another_kind():
    numbers = torch.randn(30, 12, generator=torch.Generator().manual_seed(0)) + 5
    mapping = OPUMap(OUT, device=SMALL, encoder=Strange()).fit(numbers)
    given = Strange()
    given.fit(numbers)
    with pytest.warns(UserWarning, match="What the encoder, a Strange, has learnt is no plain value"):
        fresh = loaded(mapping, OPUMap(OUT, encoder=given))
    same_counts(mapping, fresh, numbers[:9])
    for encoder, name in ((Own(), "Own"), (None, "None"), (Own, "Own")):
        with pytest.raises(RuntimeError, match=f"encoder is {name}, but it is Strange in the state"):
            OPUMap(OUT, encoder=encoder).load_state_dict(mapping.state_dict())


# ---------------------------------------------------------------- under lightonml's names


def test_lightonml_maps():
    mapping = LightonOPUMap(OUT).fit(bits())
    mapping(bits())
    fresh = LightonOPUMap(OUT)
    fresh.load_state_dict(travelled(mapping.state_dict()))
    same_counts(mapping, fresh)
    with pytest.raises(RuntimeError, match="The OPU of this map is 'aurora'"):
        LightonOPUMap(OUT).load_state_dict(OPUMap(OUT, seed=1).fit(bits()).state_dict())


def test_lightonml_simulator():
    x = torch.randn(6, N, generator=torch.Generator().manual_seed(0))
    mapping = LightonOPUMap(OUT, simulated=True, max_n_features=N).fit(x)
    fresh = LightonOPUMap(OUT, simulated=True, max_n_features=N + 5)
    fresh.load_state_dict(travelled(mapping.state_dict()))
    same_counts(mapping, fresh, x)
    mapping.opu.device.build_random_matrix(N, OUT, None)  # of a seed that nobody knows
    fresh.load_state_dict(travelled(mapping.state_dict()))
    same_counts(mapping, fresh, x)
    with pytest.raises(RuntimeError, match="simulated is False, but in the state it is True"):
        LightonOPUMap(OUT).load_state_dict(mapping.state_dict())
    with pytest.raises(RuntimeError, match="simulated is True, but in the state it is False"):
        fresh.load_state_dict(LightonOPUMap(OUT).state_dict())
