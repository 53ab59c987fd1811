"""`check_medium`: every kind of medium passes, and each rule that is broken is named in a sentence of its own."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import h5py
import numpy as np
import pytest

from opusim.base import rng
from opusim.device.medium import EntryMedium, GaussianMedium, MeasuredMedium, Medium, PhaseScreenMedium, WaveMedium
from opusim.device.record import Device
from opusim.device.toml import presets
from opusim.testing import ConformanceError, check_medium


@pytest.fixture
def measured(tmp_path):
    path = tmp_path / "tm.h5"
    with h5py.File(path, "w") as file:
        file["tm"] = GaussianMedium().entries(range(48), range(1200), seed=9).T
    return MeasuredMedium(str(path))


SHIPPED = {
    **{name.partition("@")[0]: Device.load(name).medium for name in presets()},
    "gaussian": GaussianMedium(),
    "drifting": GaussianMedium(decorrelation_time_s=20.0),
    "unscattered": PhaseScreenMedium(ballistic_fraction=0.3),
    "one screen": PhaseScreenMedium(n_screens=1),
}


def test_every_kind_is_here():
    assert {medium.kind for medium in SHIPPED.values()} | {"measured"} >= {"phase_screens", "gaussian", "measured"}


@pytest.mark.parametrize("medium", SHIPPED.values(), ids=SHIPPED)
def test_every_medium_conforms(medium):
    report = check_medium(medium)
    assert {"level", "repetition", "seed", "drift", "copies"} <= set(report.passed)
    assert ("reciprocity" in report.passed) is medium.has_waves is not ("tiles" in report.passed)


def test_a_measured_medium_conforms(measured):
    report = check_medium(measured)
    assert "tiles" in report.passed and report.skipped["seed"] == "its matrix is that of one device, whatever the seed"
    with pytest.raises(ValueError, match="64 .*48"):
        check_medium(measured, n_inputs=64)


def test_a_sequence_of_measured_matrices_conforms(tmp_path):
    path = tmp_path / "states.h5"
    with h5py.File(path, "w") as file:
        file["tm"] = np.stack([GaussianMedium().entries(range(48), range(1200), seed=s).T for s in (1, 2)])
        file["times_s"] = [0.0, 1.0]
    report = check_medium(MeasuredMedium(str(path)))
    assert "tiles" in report.passed and report.skipped["drift"] == "its states were measured: they follow no law"


# ---------------------------------------------------------------------------------------------- wrong ones


@dataclass(frozen=True)
class Plain(EntryMedium):
    """A right one: entries by numpy, a small change for each state."""

    transmission: float = 1e-10
    decorrelation_time_s: float = math.inf

    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        first, others = self.drift.mixture(self.drift.time(state))
        result = first * self.made(inputs, outputs, seed, channel, 0)
        for m, weight in others:
            result = result + weight * self.made(inputs, outputs, seed, channel, m)
        return result.astype(np.complex64)

    def made(self, inputs, outputs, seed, channel, term):
        numbers = rng.uniforms(rng.stream_key(seed, "plain", channel, term), 2 * 4096 * 64).reshape(2, 4096, 64)
        size, turn = (part[outputs.start : outputs.stop, inputs.start : inputs.stop].T for part in numbers)
        return np.sqrt(-np.log1p(-size)) * np.exp(2j * np.pi * turn)


class Bright(Plain):
    def entries(self, *args, **how):
        return 2 * super().entries(*args, **how)


class Chance(Plain):
    def made(self, inputs, outputs, seed, channel, term):
        numbers = np.random.default_rng().normal(size=(2, len(inputs), len(outputs)))
        return (numbers[0] + 1j * numbers[1]) / math.sqrt(2)


class Seedless(Plain):
    def made(self, inputs, outputs, seed, channel, term):
        return super().made(inputs, outputs, 0, channel, term)


class Polarised(Plain):
    def made(self, inputs, outputs, seed, channel, term):
        return super().made(inputs, outputs, seed, 0, term)


class ByTile(Plain):
    def made(self, inputs, outputs, seed, channel, term):
        return super().made(range(len(inputs)), range(len(outputs)), seed, channel, term)


class Still(Plain):
    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        return self.made(inputs, outputs, seed, channel, 0).astype(np.complex64)


class Jumping(Plain):
    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        return self.made(inputs, outputs, seed, channel, state).astype(np.complex64)


class Double(Plain):
    def entries(self, *args, **how):
        return super().entries(*args, **how).astype(np.complex128)


class Outputs(Plain):
    def entries(self, *args, **how):
        return super().entries(*args, **how).T


class ByThreads(Plain):
    def entries(self, *args, threads=None, **how):
        return super().entries(*args, **how) * np.float32(1 + 1e-6 * (threads or 1))


class Operator:
    """Wraps that of phase screens, and spoils one thing."""

    def __init__(self, inside, spoilt):
        self.inside, self.spoilt, self.reciprocal = inside, spoilt, inside.reciprocal

    def forward(self, cells):
        fields = self.inside.forward(cells)
        return fields * np.abs(fields) if self.spoilt == "forward" else fields

    def backward(self, cells):
        fields = self.inside.backward(cells)
        return fields.conj() if self.spoilt == "backward" else fields


class Bent(PhaseScreenMedium):
    spoilt: ClassVar[str] = "forward"

    def operator(self, *args, **how):
        return Operator(super().operator(*args, **how), self.spoilt)


class OneWay(Bent):
    spoilt: ClassVar[str] = "backward"


class TwoMatrices(PhaseScreenMedium):
    def entries(self, inputs, outputs, *, seed):
        return GaussianMedium().entries(inputs, outputs, seed=seed)


class Dark(Plain):
    def entries(self, *args, **how):
        return 0 * super().entries(*args, **how)


class Given(Plain):
    """The same for all, and not scaled."""

    random: ClassVar[bool] = False

    def entries(self, inputs, outputs, *, seed, state=0, channel=0, threads=None):
        return np.equal.outer(np.array(inputs), np.array(outputs)).astype(np.complex64)


class Lying(PhaseScreenMedium):
    def phase_slopes(self, name, grid, **how):
        slopes = super().phase_slopes(name, grid, **how)
        return dataclasses.replace(slopes, screens=[2 * slope for slope in slopes.screens])


class Forgetful(PhaseScreenMedium):
    inside: ClassVar[tuple[str, ...]] = ("step_m",)


def forced(medium: Medium, **values: float) -> Medium:
    """Give a medium values that its own checks refuse: somebody's may have none."""
    for name, value in values.items():
        object.__setattr__(medium, name, value)
    return medium


class Loose(Plain):
    __hash__ = None


WRONG = {
    "mean square": (Bright(), "level", "the mean square of its entries is 3.9.*, but it must be 1"),
    "chance": (Chance(), "repetition", "asked twice for the seed 0 it gave two matrices"),
    "seed": (Seedless(), "seed", "matrices of the seeds 0 and 1 are alike by 1.00, but they must be independent"),
    "polarisations": (Polarised(), "polarisations", "matrices of the two polarisations are alike by 1.00"),
    "tiles": (ByTile(), "tiles", "but an entry must depend on its input and its output alone"),
    "still": (Still(), "drift", "is like that at the start by 1.00, but it must be by exp.-0.36."),
    "jumps": (Jumping(), "drift", "one state on, its matrix is like that at the start by 0.0.*, but a state must be a"),
    "type": (Double(), "matrix", "entries gave complex128 of the shape .48, 400., but it must be complex64"),
    "outputs first": (Outputs(), "matrix", "of the shape .400, 48., but it must be complex64 of .48, 400."),
    "threads": (ByThreads(), "threads", "1 and 2 threads gave different matrices"),
    "not linear": (Bent(), "linearity", "but the medium must be linear"),
    "backward": (OneWay(), "reciprocity", "backward differs from the transpose of forward by .*: entries are computed"),
    "entries": (TwoMatrices(), "linearity", "its entries are not those of its operator, but both must be one matrix"),
    "transmission": (
        forced(Plain(), transmission=2.0),
        "members",
        "transmission is 2.0, but it must be a share of the light",
    ),
    "time": (
        forced(Plain(), decorrelation_time_s=0.0),
        "members",
        "decorrelation_time_s is 0.0, but it must be seconds",
    ),
    "slopes": (
        Lying(),
        "inside",
        "with phase_std_rad larger by a thousandth a factor differs by 0.0",
    ),
    "not learnable": (Forgetful(), "inside", "inside names 'step_m', but there is no field of that name that is descr"),
    "no medium": (object(), "members", "it is a object, but it must be an opusim.device.medium.Medium"),
    "a class": (GaussianMedium, "members", r"The medium GaussianMedium .*\n.*it is a class: .*, as GaussianMedium\(\)"),
    "dark": (Dark(), "matrix", "entries gave zeros alone, but some light must come through"),
    "not frozen": (Loose(), "members", "unhashable"),
}


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    """They have a name, but no device may find them by it."""
    monkeypatch.setattr(Plain, "kind", "plain", raising=False)


@pytest.mark.parametrize(("medium", "check", "sentence"), WRONG.values(), ids=WRONG)
def test_a_rule_that_is_broken_is_named(medium, check, sentence):
    with pytest.raises(ConformanceError, match=sentence) as error:
        check_medium(medium, n_outputs=400)
    assert check in error.value.failures


def test_a_right_one_of_ones_own():
    assert issubclass(Plain, Medium) and not issubclass(Plain, WaveMedium)
    assert "tiles" in check_medium(Plain()).passed
    assert check_medium(dataclasses.replace(Plain(), decorrelation_time_s=5.0)).passed


def test_a_matrix_that_is_given_need_not_be_drawn():
    report = check_medium(Given())
    assert set(report.skipped) >= {"level", "seed", "polarisations", "drift"} and "tiles" in report.passed
    assert report.skipped["seed"].endswith("(random is False): it may be the same for every seed")


def test_a_class_that_declares_too_little_is_refused():
    @dataclass(frozen=True)
    class NoLight(EntryMedium):
        decorrelation_time_s: float = math.inf
        entries = Plain.entries

    with pytest.raises(TypeError, match="NoLight, which has no field transmission: every medium must declare transm"):
        NoLight()

    class Melting(Plain):
        width: float = 1.0  # no field, for want of a decorator

    with pytest.raises(TypeError, match="medium is a Melting, but a medium must be a frozen dataclass"):
        Melting()
