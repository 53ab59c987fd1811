"""`check_task`: every task that has a name passes, and each rule that is broken is named in a sentence of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest

from opusim.device.record import Device
from opusim.tasks.registry import TASKS, parse_task
from opusim.testing import ConformanceError, check_task

SMALL = Device.load("aurora").evolve(
    **{"dmd.shape": (48, 64), "camera.shape": (40, 60), "operation.ones_range": (10, 2000)}
)
IMAGES = {"n_train": "60", "n_test": "40"}
SHORT = {
    "randsvd": {"size": "200"}, "trace": {"size": "40", "block": "5"}, "triangles": {"size": "40", "block": "5"},
    **dict.fromkeys(("mnist", "fashion-mnist", "digits"), IMAGES),
    **dict.fromkeys(("dfa-mnist", "dfa-fashion-mnist", "dfa-digits"), {**IMAGES, "epochs": "1"}),
}  # fmt: skip
# Of an application of its own: the images are as many as there are.
OUTPUTS = {name: None if name in ("randsvd", "trace", "triangles") else 100 for name in SHORT}
WITH_DATA = [name for name in SHORT if "mnist" in name]


def test_none_is_left_out():
    assert set(TASKS) == set(SHORT)


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("randsvd", "dfa-digits")]


@pytest.mark.parametrize("name", ["trace", "triangles", "digits", *LONG])
def test_every_task_conforms(name):
    report = check_task(parse_task(name, SHORT[name]), device=SMALL, n_components=OUTPUTS[name])
    assert {"numbers", "repetition", "seed", "settings", "copies"} <= set(report.passed)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", WITH_DATA)
def test_every_task_on_a_data_set_conforms(name, data_folder):
    report = check_task(parse_task(name, SHORT[name]), device=SMALL, n_components=OUTPUTS[name])
    assert "numbers" in report.passed or pytest.skip(report.skipped["numbers"])


# ---------------------------------------------------------------------------------------------- wrong ones


@dataclass(frozen=True)
class Mean:
    """A right one."""

    n_vectors: int = 20
    outputs = 50

    def __call__(self, opu, seed):
        return {"mean": float(np.asarray(opu.fit_transform1d(self.vectors(seed))).mean())}

    def vectors(self, seed):
        return np.random.default_rng(seed).integers(0, 2, (self.n_vectors, 40), dtype=np.uint8)

    def example(self, seed):
        return self.vectors(seed)


class Text(Mean):
    def __call__(self, opu, seed):
        return {**super().__call__(opu, seed), "which": "the first"}


class Alone(Mean):
    def __call__(self, opu, seed):
        return super().__call__(opu, seed)["mean"]


class Endless(Mean):
    def __call__(self, opu, seed):
        return {"mean": float("nan")}


class Seedless(Mean):
    def __call__(self, opu, seed):
        return super().__call__(opu, 0)


class Moody(Mean):
    def __call__(self, opu, seed):
        return {"mean": super().__call__(opu, seed)["mean"] + np.random.default_rng().random()}


class Rude(Mean):
    def __call__(self, opu, seed):
        opu.n_components, opu.linear_mode = 30, "intensity"
        return super().__call__(opu, seed)


class Slow(Mean):
    def __call__(self, opu, seed):
        result = super().__call__(opu, seed)
        opu.device.exposure_us, opu.device.frametime_us = 150, 2500
        return result


class Elsewhere(Mean):
    def __call__(self, opu, seed):
        result = super().__call__(opu, seed)
        opu.device.output_roi = ((0, 3), (60, 5))
        return result


class Seeding(Mean):
    def __call__(self, opu, seed):
        np.random.seed(seed)  # noqa: NPY002
        return super().__call__(opu, seed)


class Drawing(Mean):
    def __call__(self, opu, seed):
        return {**super().__call__(opu, seed), "none": 0 * random.random()}


class Blind(Mean):
    def __call__(self, opu, seed):
        return {"mean": float(self.vectors(seed).mean())}


class Constant(Mean):
    def __call__(self, opu, seed):
        super().__call__(opu, 0)
        return {"mean": 1.0}


class Fickle(Mean):
    def __call__(self, opu, seed):
        return {f"mean {seed}": super().__call__(opu, seed)["mean"]}


class Vain(Mean):
    outputs = 2.5

    def describe(self):
        return {"name": "vain"}


class Grey(Mean):
    def example(self, seed):
        return 2 * self.vectors(seed)


class Absent(Mean):
    def check(self, device, n_components):
        raise FileNotFoundError("no such data")


class Choosy(Mean):
    def check(self, device, n_components):
        raise ValueError("n_components is 50, but it must be 7.")


WRONG = {
    "text": (Text(), "numbers", "it returned 'which': 'the first', but it must return names with real numbers"),
    "number alone": (Alone(), "numbers", "but it must return a mapping from names to numbers"),
    "not finite": (Endless(), "numbers", "it returned 'mean': nan, but a number must be finite"),
    "no seed": (
        Seedless(),
        "seed",
        "the seeds 0 and 1 it returned the same numbers on the same device, .* must choose",
    ),
    "chance": (Moody(), "repetition", "the same seed must give the same numbers"),
    "settings": (Rude(), "settings", "with n_components = 50 and left it with 30, but it must leave it as it was"),
    "exposure": (Slow(), "settings", r"device.exposure_us = \d+ and left it with 150, but it must leave it as it was"),
    "frame time": (Slow(), "settings", r"device.frametime_us = \d+ and left it with 2500, but it must leave it as it"),
    "region": (Elsewhere(), "settings", r"device.output_roi = \(.* and left it with \(\(0, 3\), \(60, 5\)\), but"),
    "seeds all": (Seeding(), "generators", "it seeded or drew from numpy.random, which the whole program shares, but"),
    "draws": (Drawing(), "generators", "it seeded or drew from random, which the whole program shares, but it must"),
    "no light": (Blind(), "light", "it took 0 frames of the OPU that it was given, but it must use it"),
    "names": (Fickle(), "seed", "with the seed 1 it returned .'mean 1'., and with 0 .'mean 0'."),
    "outputs": (Vain(), "attributes", "outputs is 2.5, but it must be a whole number above 0"),
    "example": (Grey(), "example", "its example holds other values than 0 and 1"),
    "class": (Mean, "call", "but it must be a function of an OPU and a seed"),
    "check": (
        Choosy(),
        "check",
        "check refused the device 'aurora, changed' and n_components = 50: n_components is 50, but",
    ),
    "no function": (3, "call", "it is 3, but it must be a function of an OPU and a seed"),
}


@pytest.mark.parametrize(("task", "check", "sentence"), WRONG.values(), ids=WRONG)
def test_a_rule_that_is_broken_is_named(task, check, sentence):
    with pytest.raises(ConformanceError, match=sentence) as error:
        check_task(task, device=SMALL, n_components=50)
    assert check in error.value.failures


def test_a_task_that_has_nothing_random_is_compared_on_two_devices():
    with pytest.raises(ConformanceError, match="If nothing is, check it with random=False") as error:
        check_task(Seedless(), device=SMALL)
    assert list(error.value.failures) == ["seed"]
    assert "seed" in check_task(Seedless(), device=SMALL, random=False).passed
    with pytest.raises(ConformanceError, match="on OPUs of the seeds 0 and 1 it returned the same .* follow from what"):
        check_task(Constant(), device=SMALL, random=False)


def test_a_task_that_only_computes_says_so():
    assert check_task(Blind(), device=SMALL, shows=False).skipped["light"] == "it only computes"


def test_a_right_one_and_one_whose_data_are_not_here():
    assert "example" in check_task(Mean(), device=SMALL).passed
    report = check_task(Absent(), device=SMALL)
    assert report.passed == ("call", "description", "attributes")
    assert report.skipped["numbers"] == "its data are not here (no such data)"


def test_a_function_is_a_task():
    def clipped(opu, seed):
        return Mean()(opu, seed)

    # Workers load a function by its name: one that is made within another cannot be sent.
    with pytest.raises(ConformanceError, match="breaks 1 rule:\n- copies: .*Can't pickle local object") as error:
        check_task(clipped, device=SMALL)
    assert list(error.value.failures) == ["copies"]
