"""The tasks of the sweeps, and the exposure that is found for a level."""

from __future__ import annotations

import dataclasses
import functools
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from opusim import OPU, datasets
from opusim.device.record import Device
from opusim.sweep import DfaAccuracy, FunctionTask, KernelRidge, SketchError, Sweep
from opusim.sweep.exposure import example_of, exposure_for_level
from opusim.tasks.base import Task, as_task
from opusim.tasks.registry import TASKS, describe, parse_task

AURORA = Device.load("aurora")
# Small enough to calibrate in a moment.
SMALL = AURORA.evolve(**{"dmd.shape": (48, 64), "camera.shape": (32, 128), "operation.ones_range": (10, 2000)})


def make_opu(device, n_components, seed):
    return OPU(n_components, device=device, seed=seed, disable_pbar=True)


def changed(**changes):
    return AURORA.evolve(**{path.replace("__", "."): value for path, value in changes.items()})


# ---------------------------------------------------------------- exposure for a level


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_the_exposure_for_a_level_gives_it_and_follows_the_light(share):
    """Mean of an exponential law of mean m that clips at s: m (1 - exp(-s / m)); exposure in proportion to m.

    The level is found within 1 %. Its mean over 1024 outputs differs from that over all by 1 / sqrt(1024) = 3 % (one
    sigma of the matrix's rows), and PRNU, dark current and rounding add less than 1 %: 12 % are more than three sigma.
    """
    with make_opu(AURORA, 1024, 3) as opu:
        bench = opu.device.bench
        example = example_of(None, 0)
        exposure_s = exposure_for_level(opu, share, example)
        assert exposure_s * 1e6 == pytest.approx(round(exposure_s * 1e6), abs=1e-6)
        counts = np.asarray(opu.transform(example))
    camera = AURORA.camera
    span = camera.full_scale_dn - camera.black_level_dn
    assert (counts.mean() - camera.black_level_dn) / span == pytest.approx(share, rel=0.015)
    mirrors_on = example.mean() * AURORA.dmd.n_mirrors
    mean = (bench.expected_level_dn(mirrors_on, exposure_s) - camera.black_level_dn) / span
    assert mean * (1 - math.exp(-1 / mean)) == pytest.approx(share, rel=0.12)


def test_a_level_is_right_for_the_vectors_of_the_task():
    """Twelve times fewer pixels on need a longer exposure; each point has the level that was asked for."""

    def sparse(opu, seed):
        opu.fit1d(sparse.example)
        return {"level": (opu.transform(sparse.example).mean() - 2.6) / 252.4, "exposure": opu.device.exposure_us}

    bits = np.zeros((20, 400), np.uint8)
    bits[:, ::25] = 1
    sparse.example = bits
    result = Sweep(sparse, make_opu, {"exposure.mean_level": [0.05, 0.1]}, n_components=1024).run()
    assert np.allclose(result.values("level")[:, 0], [0.05, 0.1], rtol=0.02)
    # Without clipping twice the light takes twice the time; 5 % at 0.1: exp(-10) of the outputs clip, and black level.
    assert result.values("exposure")[1, 0] / result.values("exposure")[0, 0] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "share", "sentence"),
    [
        ({"laser__power_w": 1e3}, 0.01, "at the shortest exposure, 1 µs, it is"),
        ({"laser__power_w": 0.0, "camera__dark_current_e_per_s": 0.0}, 0.5, "at the longest exposure, 60 s, it is"),
        ({"camera__full_well_e": 500.0}, 0.5, "at the longest exposure, 60 s, it is"),
    ],
)
def test_a_level_that_cannot_be_had_is_told(changes, share, sentence):
    with make_opu(changed(medium__decorrelation_time_s=math.inf, **changes), 100, 0) as opu:
        with pytest.raises(ValueError, match=f"exposure.mean_level is {share}, but {sentence}"):
            exposure_for_level(opu, share, example_of(None, 0))


def test_a_level_gives_the_same_light_to_any_bits():
    """Two bits round most of an exponential law of this mean to nothing: the light must not follow them."""

    def task(opu, seed):
        return {"exposure_us": float(opu.device.exposure_us)}

    result = Sweep(task, make_opu, {"exposure.mean_level": [0.05], "adc.bits": [2, 3, 8, 12]}, n_components=500).run()
    assert len(set(result.values("exposure_us").ravel())) == 1


def test_an_example_is_an_array_or_a_function_of_the_seed():
    def task(opu, seed):
        return {}

    assert example_of(task, 1).mean() == pytest.approx(0.5, abs=4 * 0.5 / 256)  # 65 536 coins, four sigma
    task.example = np.ones((2, 3))
    assert example_of(task, 1).shape == (2, 3)
    task.example = lambda seed: np.ones((seed, 4, 5))
    assert example_of(task, 7).shape == (7, 4, 5)
    task.example = np.ones(3)
    with pytest.raises(ValueError, match="example has the shape"):
        example_of(task, 1)


# ---------------------------------------------------------------- kernel ridge


def test_kernel_ridge_learns_digits_and_noise_costs_accuracy():
    """Linear ridge on the same binary pixels gives 86.4 %. Noise as strong as the light leaves hardly anything.

    A standard error of an accuracy on 449 images is 1.1 % at 94 %: the margins are above five of them.
    """
    sweep = Sweep(KernelRidge("digits"), make_opu, {"camera.read_noise_e": [13.0, 3000.0]}, n_components=600, seeds=2)
    result = sweep.run()
    clean, noisy = result.values("accuracy").mean(axis=1)
    assert clean > 0.92 and noisy < clean - 0.06
    assert set(result.metrics) == {
        "accuracy", "validation_accuracy", "penalty", "mean_level", "clipped", "exposure_us", "device_s",
    }  # fmt: skip
    assert (result.values("exposure_us")[0] == 400).all()


def test_kernel_ridge_says_what_the_device_needed():
    """Frames of 500 µs, one for each image, and the pause between them."""
    task = KernelRidge("digits", n_train=100, n_test=50, pause_s=7200.5)
    with make_opu(AURORA, 50, 0) as opu:
        found = task(opu, 0)
        assert found["device_s"] == pytest.approx(7200.5 + 150 * 500e-6, rel=1e-9)
        assert opu.device.bench.clock.frames >= 150


def test_a_medium_that_moved_between_training_and_testing_leaves_chance():
    """After a pause of thirty decorrelation times the test images meet an independent matrix: one in ten by chance."""
    device = changed(medium__decorrelation_time_s=1000.0)
    sweep = Sweep(
        KernelRidge("digits"), make_opu, {"task.pause_s": [0.0, 30_000.0]}, device=device, n_components=400, seeds=3
    )
    still, moved = sweep.run().values("accuracy").mean(axis=1)
    # The classes that a wrong matrix gives are the same for many images: a spread of some 5 % over three seeds.
    assert still > 0.9 and abs(moved - 0.1) < 0.12


def test_images_are_chosen_by_the_seed():
    task = KernelRidge("digits", n_train=200, n_test=60)
    x, y, *_ = task.images(1)
    assert x.shape == (200, 8, 8) and set(np.unique(x)) == {0, 1} and len(y) == 200
    assert np.array_equal(x, task.images(1)[0]) and not np.array_equal(x, task.images(2)[0])
    everything = KernelRidge("digits").images(0)
    data = datasets.load("digits")
    assert everything[0].sum() == (data.x_train > 7).sum() and len(everything[2]) == len(data.x_test)


@pytest.mark.parametrize(
    "settings",
    [{"dataset": "cifar"}, {"n_train": -1}, {"n_train": 5}, {"validation_share": 0.9}, {"pause_s": math.nan}],
)
def test_settings_of_kernel_ridge_are_checked(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        KernelRidge(**settings)


@pytest.mark.data
def test_mnist_and_fashion_are_there(data_folder):
    for name in ("mnist", "fashion-mnist"):
        x, y, x_test, _ = KernelRidge(name, n_train=30, n_test=20).images(0)
        assert x.shape == (30, 28, 28) and x_test.shape == (20, 28, 28) and y.max() <= 9


def test_images_that_are_not_there_are_told_before_anything_is_run(monkeypatch, tmp_path):
    from opusim.tasks import images as image_tasks

    def load(name):
        raise FileNotFoundError("The data set 'mnist' was not found.")

    monkeypatch.setattr(image_tasks.datasets, "load", load)
    image_tasks._binary_images.cache_clear()
    with pytest.raises(FileNotFoundError, match="mnist"):
        Sweep(KernelRidge("mnist"), make_opu, {"camera.bits": [8]})


# ---------------------------------------------------------------- sketches and feedback


@pytest.mark.parametrize("kind", ["randsvd", "trace", "triangles"])
@pytest.mark.parametrize("mode", ["holographic", "intensity"])
def test_a_sketch_by_the_device_is_about_as_good_as_an_ideal_one(kind, mode, tmp_path, monkeypatch):
    pytest.importorskip("opusim.dfa", reason="opusim.dfa is not in this checkout")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    task = SketchError(kind, size=120, mode=mode, power_iterations=2)
    result = Sweep(task, make_opu, {"n_components": [60]}, seeds=3, device=SMALL).run()
    assert not result.n_failed, result.outcomes
    error, exact = result.values("error").mean(), result.values("exact_error").mean()
    # Two power iterations leave the noise of the sketch hardly any say. Of the others each estimate stands beside the
    # exact one of the same random matrix, so that they differ by the device's noise alone.
    assert error == pytest.approx(exact, rel=0.05 if kind == "randsvd" else 0.3)
    assert not list(tmp_path.rglob("*.h5"))  # no calibration is stored


def test_a_larger_sketch_is_a_better_one(tmp_path, monkeypatch):
    pytest.importorskip("opusim.dfa", reason="opusim.dfa is not in this checkout")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    task = SketchError("randsvd", size=100)
    result = Sweep(task, make_opu, {"n_components": [10, 40, 80]}, device=SMALL).run()
    assert (np.diff(result.values("error")[:, 0]) < 0).all()


def test_noise_of_the_camera_shows_in_a_sketch(tmp_path, monkeypatch):
    """Read noise of twenty times what the light leaves makes the basis worse; exact arithmetic does not notice."""
    pytest.importorskip("opusim.dfa", reason="opusim.dfa is not in this checkout")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    sweep = Sweep(SketchError("randsvd", size=100), make_opu, {"camera.read_noise_e": [0, 400]}, device=SMALL)
    assert sweep.header.n_components == 40
    result = sweep.run()
    quiet, noisy = result.values("error")[:, 0]
    assert noisy > 1.5 * quiet and (np.diff(result.values("noise")[:, 0]) > 0).all()
    assert (result.values("exact_error")[:, 0] < quiet).all()


def test_outputs_are_those_of_the_task_where_nobody_says():
    for task, outputs in ((SketchError("trace"), 400), (SketchError("randsvd"), 200), (KernelRidge("digits"), 1000)):
        assert Sweep(task, make_opu, {"camera.read_noise_e": [13]}).header.n_components == outputs


def test_sketches_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="n_components is 200, but the matrix has only 100 columns"):
        Sweep(SketchError(size=100), make_opu, {"n_components": [50, 200]})
    with pytest.raises(ValueError, match="n_components is 50, but it must be a multiple of block, 20"):
        Sweep(SketchError("trace"), make_opu, {"n_components": [40, 50]})
    with pytest.raises(ValueError, match="task.decay has no effect here: the task 'trace' does not use it"):
        Sweep(SketchError("trace"), make_opu, {"task.decay": [1, 2]})
    plain = changed(reference__relative_amplitude=0.0)
    with pytest.raises(ValueError, match="mode is 'holographic', but this device has no reference arm"):
        Sweep(SketchError(mode="holographic"), make_opu, {"n_components": [50]}, device=plain)
    for settings in ({"kind": "lu"}, {"size": 1}, {"n_bits": 0}, {"mode": "magic"}, {"exposure_s": -1.0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            SketchError(**settings)


def test_a_network_learns_by_light(tmp_path, monkeypatch):
    """Ten classes by chance: 10 %. Fifteen epochs give 91 to 93 % for any seed; four are a lottery, 15 to 75 %."""
    pytest.importorskip("opusim.dfa", reason="opusim.dfa is not in this checkout")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    task = DfaAccuracy("digits", layers=2, epochs=15, learning_rate=1e-2)
    result = Sweep(task, make_opu, {"n_components": [64]}, device=SMALL).run()
    assert not result.n_failed, result.outcomes
    assert result.values("accuracy")[0, 0] > 0.85 and result.values("alignment_deg")[0, 0] < 85
    assert not list(tmp_path.rglob("*.h5"))


def test_a_network_has_the_epochs_and_the_rate_of_its_images():
    """They are part of what the sweep is: a file of other ones is another sweep."""
    digits, mnist = describe(DfaAccuracy("digits")), describe(DfaAccuracy("mnist"))
    assert (digits["epochs"], digits["learning_rate"]) == (15, 4e-3)
    assert (mnist["epochs"], mnist["learning_rate"]) == (5, 1e-3)
    assert DfaAccuracy("digits", epochs=3).epochs == 3


@pytest.mark.slow
def test_digits_are_learnt_well_by_default(tmp_path, monkeypatch):
    """Backpropagation gets some 97 %; 2.5 standard errors of 449 images at 95 %, and of one seed, lie between."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert Sweep(DfaAccuracy("digits"), make_opu, {"n_components": [500]}).run().values("accuracy")[0, 0] > 0.925


def test_networks_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="n_components is 65, but it must be a multiple of layers, 2"):
        Sweep(DfaAccuracy("digits"), make_opu, {"n_components": [65]})
    pytest.importorskip("opusim.dfa", reason="opusim.dfa is not in this checkout")
    for encoding, sentence in (("float", "mirrors show bits only"), ("quaternary", "encoding is 'quaternary'")):
        with pytest.raises(ValueError, match=sentence):
            Sweep(DfaAccuracy("digits", encoding=encoding), make_opu, {"n_components": [64]})
    with pytest.raises(ValueError, match="n_train is 9999"):
        Sweep(DfaAccuracy("digits"), make_opu, {"task.n_train": [100, 9999]})


# ---------------------------------------------------------------- functions, names, descriptions

FILE = """
from helper import three

def task(opu, seed):
    return {"sum": opu.n_components + seed + three()}

task.linear = True

def check(device, n_components):
    if n_components > 99:
        raise ValueError("Too many.")

task.check = check
not_a_function = 3
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("def three():\n    return 3\n")
    (tmp_path / "program.py").write_text(FILE)
    return tmp_path / "program.py"


def test_a_function_of_a_file_goes_to_the_workers_as_text(program):
    task = FunctionTask(f"{program}:task")
    assert task.name == "program.py:task" and describe(task) == {"name": "program.py:task"}
    assert task.linear and task.example is None

    class Opu:
        n_components = 5

    copy = pickle.loads(pickle.dumps(task))
    program.unlink()
    assert copy(Opu(), 1) == task(Opu(), 1) == {"sum": 9}
    with pytest.raises(ValueError, match="Too many"):
        Sweep(task, make_opu, {"n_components": [100]})


def test_a_function_of_a_module_is_imported():
    task = FunctionTask("math:hypot")
    assert task(3, 4) == 5 and task.name == "math:hypot"


@pytest.mark.parametrize("spec", ["program.py:task", "program:task"])
def test_a_function_is_found_by_a_process_in_another_folder(program, monkeypatch, tmp_path_factory, spec):
    """With what lies beside it; a module that was edited meanwhile is not taken for the same."""
    monkeypatch.chdir(program.parent)
    monkeypatch.syspath_prepend(program.parent)
    try:
        task = FunctionTask(spec)
        sent = pickle.dumps(task)
    finally:
        for name in ("program", "helper"):
            sys.modules.pop(name, None)
    code = "import sys, pickle; task = pickle.load(sys.stdin.buffer); print(task(type('', (), {'n_components': 5}), 1))"

    def elsewhere():
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        return subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, cwd=elsewhere)

    assert elsewhere().stdout.strip() == b"{'sum': 9}"
    program.write_text(FILE + "# edited\n")
    after = elsewhere()
    if spec.startswith("program.py"):
        assert after.stdout.strip() == b"{'sum': 9}"
    else:
        assert b"holds another text of that module" in after.stderr


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("program.py:tusk", "there is no function 'tusk' in .*program.py; near matches are 'task'"),
        ("program.py:not_a_function", "there is no function 'not_a_function'"),
        ("nothing.py:task", "the file cannot be read"),
        ("no_such_module:task", "it cannot be loaded .ModuleNotFoundError"),
        ("bad.py:task", "it cannot be loaded .NameError"),
        ("task", "module:function or file.py:function"),
        (":task", "module:function or file.py:function"),
    ],
)
def test_functions_that_cannot_be_loaded_are_told(program, spec, sentence, monkeypatch):
    monkeypatch.chdir(program.parent)
    (program.parent / "bad.py").write_text("x = y\n")
    with pytest.raises(ValueError, match=sentence):
        FunctionTask(spec)


def test_tasks_have_names():
    assert parse_task("mnist") == KernelRidge("mnist")
    assert parse_task("digits", {"n_train": "100", "pause_s": "1e3"}) == KernelRidge("digits", 100, pause_s=1000.0)
    assert parse_task("trace", {"size": "50", "mode": "intensity"}) == SketchError("trace", 50, mode="intensity")
    assert parse_task("dfa-digits", {"epochs": "2"}) == DfaAccuracy("digits", epochs=2)
    assert [make().name for make in TASKS.values()] == list(TASKS)


@pytest.mark.parametrize(
    ("text", "settings", "sentence"),
    [
        ("mnits", {}, "task is 'mnits'; near matches are 'mnist'"),
        ("digits", {"n_tran": "5"}, "has no setting 'n_tran'; near matches are 'n_train'"),
        ("digits", {"dataset": "mnist"}, "has no setting 'dataset'"),
        ("digits", {"n_train": "1e3"}, "n_train of the task 'digits' is '1e3', but it must be a whole number"),
        ("digits", {"pause_s": "long"}, "is 'long', but it must be a number"),
        ("math:hypot", {"x": "3"}, "is a function: it has no settings such as 'x'"),
    ],
)
def test_bad_names_and_settings_are_told(text, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_task(text, settings)


def test_a_task_that_says_nothing_has_what_a_task_declares():
    @dataclasses.dataclass(frozen=True)
    class Mine(Task):
        n: int = 3

        def __call__(self, opu, seed):
            return {"n": self.n}

    def plain(opu, seed):
        return {"n": 3}

    assert as_task(Mine()) == Mine() and describe(Mine()) == {"name": Mine.__qualname__, "n": 3}
    for task in (as_task(Mine()), as_task(plain), as_task(functools.partial(plain))):
        assert (task.name, task.example, task.linear, task.outputs) == ("", None, False, None)
        assert task.check(AURORA, 7) is None and task.check_sweep((), ()) is None and task(None, 0) == {"n": 3}


def test_what_a_function_says_of_itself_is_asked():
    def plain(opu, seed):
        return {}

    asked = []
    plain.outputs, plain.linear, plain.example = 12, True, np.ones((1, 4))
    plain.check, plain.check_sweep = (lambda *given: asked.append(given)), (lambda *given: asked.append(given))
    plain.describe = lambda: {"name": "mine", "version": 2}
    task = as_task(plain)
    assert (task.outputs, task.linear) == (12, True) and task.example is plain.example
    task.check(AURORA, 5)
    task.check_sweep((), ())
    assert asked == [(AURORA, 5), ((), ())] and describe(plain) == {"name": "mine", "version": 2}
    plain.check_sweep = 3
    with pytest.raises(TypeError, match="check_sweep of the task is 3, but it must be a function"):
        as_task(plain)


def test_what_a_task_is_can_be_told():
    assert describe(KernelRidge("digits"))["name"] == "digits" and describe(KernelRidge("digits"))["n_train"] == 0
    assert describe(make_opu) == {"name": f"{__name__}:make_opu"}
    partial = describe(functools.partial(make_opu, seed=3))
    assert partial == {"name": f"{__name__}:make_opu", "arguments": "()", "seed": "3"}

    class Odd:
        def describe(self):
            return {"name": "odd", "values": [1, 2]}

        def __call__(self, opu, seed):
            return {}

    with pytest.raises(TypeError, match=r"task values is \[1, 2\]"):
        describe(Odd())
