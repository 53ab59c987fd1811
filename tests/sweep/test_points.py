"""What a sweep may vary, and that every value is checked before anything is run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from opusim.device.record import Device
from opusim.sweep import KernelRidge, Sweep
from opusim.sweep.points import make_axes, make_settings, numeric_fields, parse_vary

AURORA = Device.load("aurora")


def task(opu, seed):
    return {"one": 1.0}


def sweep(vary, *, task=task, device=AURORA, **arguments):
    return Sweep(task, lambda device, n, seed: None, vary, device=device, **arguments)


def settings(vary, **arguments):
    return sweep(vary, **arguments).settings


# ---------------------------------------------------------------- paths and values


def test_a_field_of_mirrors_is_told_where_there_is_a_phase_modulator():
    device = Device.from_toml('preset = "aurora"\n[modulator]\npreset = "HSP1920"\n')
    words = "no numeric field 'dmd.contrast_ratio' .*: its modulator is a PhaseSlm, whose fields are modulator.NAME"
    with pytest.raises(ValueError, match=words):
        sweep({"dmd.contrast_ratio": [10, 100]}, device=device)


def test_numeric_fields_are_those_of_the_stages_with_their_kind():
    known = numeric_fields(AURORA, task)
    assert known["camera.bits"] is int and known["camera.full_well_e"] is float
    assert known["medium.decorrelation_time_s"] is float and known["reference.jitter_rad"] is float
    for path in ("camera.name", "camera.shape", "camera.quantise", "operation.ones_range", "name", "version"):
        assert path not in known


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("camera.bit", "camera.bits"),
        ("dmd.contrast", "dmd.contrast_ratio"),
        ("full_well", "camera.full_well_e"),
        ("mean_level", "exposure.mean_level"),
        ("components", "n_components"),
    ],
)
def test_an_unknown_path_names_near_matches(path, near):
    with pytest.raises(ValueError, match=f"no numeric field '{path}' in the device 'aurora'.*'{near}'"):
        sweep({path: [1, 2]})


def test_what_shares_the_stage_only_is_no_near_match():
    with pytest.raises(ValueError, match=r"near matches are 'camera.bits'\. "):
        sweep({"camera.bit": [4]})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("camera", r'\[camera\] preset = "NAME" below preset = "aurora"'),
        ("dmd", r'\[dmd\] preset = "NAME"'),
        ("laser", r"a table \[laser\]"),
        ("optics.held", r"\[optics\] held = \.\.\."),
        ("medium.kind", r"\[medium\] kind = \.\.\."),
        ("resolution", r"resolution = \.\.\."),
    ],
)
def test_what_is_no_number_is_varied_by_a_toml_each(path, words):
    with pytest.raises(ValueError, match=f"{path} cannot be varied, .*: make a TOML of each device, {words}.*--device"):
        sweep({path: ["CMV2000", "IMX250"]})
    with pytest.raises(ValueError, match=f"--vary is '{path}=CMV2000,IMX250', but {path} is no number.*{words}"):
        parse_vary(f"{path}=CMV2000,IMX250")


@pytest.mark.parametrize(
    "text",
    ["optics.pixel_integration=true,false", "camera.quantise=1,0,true", "camera.shutter=global,rolling",
     "optics.held=lengths,magnification", "medium.depolarised_at=exit face"],
)  # fmt: skip
def test_switches_and_choices_are_told_from_numbers(text):
    path = text.partition("=")[0]
    with pytest.raises(ValueError, match=f"--vary is '{text}', but {path} is no number.*make a TOML of each device"):
        parse_vary(text)
    with pytest.raises(ValueError, match=f"{path} cannot be varied, .*, not a number.*make a TOML of each device"):
        sweep({path: [1, 2]})


@pytest.mark.parametrize("path", ["camera.quantise", "camera.shape", "operation.opu_type", "resolution"])
def test_a_field_that_is_no_number_is_told_as_such(path):
    with pytest.raises(ValueError, match=f"{path} cannot be varied, because it is .*, not a number"):
        sweep({path: [1, 2]})


def test_whole_numbers_stay_whole_and_others_become_floats():
    axes = make_axes({"camera.bits": [4.0, np.int64(8)], "camera.read_noise_e": [0, 5]}, AURORA, task)
    assert axes[0].values == (4, 8) and all(type(v) is int for v in axes[0].values)
    assert axes[1].values == (0.0, 5.0) and all(type(v) is float for v in axes[1].values)


@pytest.mark.parametrize(
    ("vary", "error", "sentence"),
    [
        ({}, ValueError, "vary is empty"),
        ([("camera.bits", [4])], TypeError, "must be a mapping"),
        ({"camera.bits": []}, ValueError, "has no values"),
        ({"camera.bits": 8}, TypeError, "must be a list of numbers"),
        ({"camera.bits": "4,8"}, TypeError, "must be a list of numbers"),
        ({"camera.bits": [4, 4.0]}, ValueError, "vary has camera.bits=4 twice"),
        ({"camera.bits": [4.5]}, ValueError, "has the value 4.5, but it must be a whole number"),
        ({"camera.bits": [True]}, TypeError, "must be a number"),
        ({"camera.bits": ["8"]}, TypeError, "must be a number"),
        ({"exposure_s": [1e-3], "operation.exposure_s": [2e-3]}, ValueError, "names operation.exposure_s twice"),
        ({"exposure_s": [1e-3], "exposure.mean_level": [0.1]}, ValueError, "both set the exposure"),
        ({"adc.bits": [4], "camera.bits": [4]}, ValueError, "both set the bits"),
        ({1: [2]}, ValueError, "no numeric field 1"),
    ],
)
def test_what_cannot_be_varied_is_refused(vary, error, sentence):
    with pytest.raises(error, match=sentence):
        sweep(vary)


@pytest.mark.parametrize(
    ("vary", "sentence"),
    [
        ({"camera.bits": [4, 8, 40]}, r"Point 3 of 3 \(camera.bits=40\) cannot be run: camera.bits is 40, but"),
        ({"camera.prnu": [0.1, -0.1]}, "camera.prnu is -0.1"),
        ({"camera.prnu": [math.nan]}, "camera.prnu is nan"),
        ({"adc.bits": [1]}, "adc.bits is 1"),
        ({"exposure.mean_level": [0.1, 1.0]}, "share of the full scale, above 0 and below 1"),
        ({"exposure.mean_level": [math.nan]}, "share of the full scale"),
        ({"exposure_s": [1e-7]}, "whole microseconds"),
        ({"n_components": [0]}, "n_components is 0"),
        ({"n_components": [10**7]}, "n_components is 10000000"),
        ({"camera.black_level_dn": [1, 300]}, r"Point 2 of 2 .*below the full scale"),
    ],
)
def test_every_value_is_checked_before_anything_is_run(vary, sentence):
    with pytest.raises(ValueError, match=sentence):
        sweep(vary)


# ---------------------------------------------------------------- combinations


def test_a_grid_combines_every_value_and_the_first_axis_moves_slowest():
    found = settings({"camera.bits": [4, 8], "n_components": [10, 20, 30]})
    assert [s.values for s in found] == [(4, 10), (4, 20), (4, 30), (8, 10), (8, 20), (8, 30)]
    assert [s.n_components for s in found] == [10, 20, 30] * 2
    assert [s.device.camera.bits for s in found] == [4] * 3 + [8] * 3


def test_values_that_go_together_make_a_list():
    found = settings({"camera.bits": [4, 8], "camera.read_noise_e": [5, 6]}, zipped=True)
    assert [s.values for s in found] == [(4, 5.0), (8, 6.0)]
    assert [s.device.camera.read_noise_e for s in found] == [5.0, 6.0]


def test_values_that_go_together_may_come_again_but_not_all_of_them():
    vary = {"camera.bits": [4, 4, 8], "camera.read_noise_e": [5, 6, 6]}
    assert len(settings(vary, zipped=True)) == 3
    with pytest.raises(ValueError, match="vary has camera.bits=4, camera.read_noise_e=5 twice"):
        settings({**vary, "camera.read_noise_e": [5, 5, 6]}, zipped=True)
    with pytest.raises(ValueError, match="vary has camera.bits=4, camera.read_noise_e=5 twice"):
        settings(vary)


def test_values_that_go_together_must_be_as_many():
    with pytest.raises(ValueError, match="camera.bits has 2, camera.read_noise_e has 3"):
        settings({"camera.bits": [4, 8], "camera.read_noise_e": [5, 6, 7]}, zipped=True)


def test_everything_else_of_the_device_stays():
    (found,) = settings({"medium.decorrelation_time_s": [math.inf]})
    assert found.device == AURORA.evolve(**{"medium.decorrelation_time_s": math.inf})
    assert found.mean_level is None and found.n_components == 1000 and found.task is task


def test_exposure_has_three_names():
    for name in ("exposure_s", "exposure.exposure_s", "operation.exposure_s"):
        (found,) = settings({name: [1e-3]})
        assert found.device.operation.exposure_s == 1e-3


def test_bits_of_the_converter_keep_the_full_scale_in_electrons_and_what_lies_below_it():
    """Gain and black level follow 2**b - 1: the same electrons reach full scale, and darkness is the same share."""
    for setting in settings({"adc.bits": [2, 5, 8, 12, 16]}):
        camera = setting.device.camera
        assert camera.bits == setting.values[0]
        for now, before in (
            (camera.full_scale_dn / camera.gain_dn_per_e, 255 / AURORA.camera.gain_dn_per_e),
            (camera.black_level_dn / camera.full_scale_dn, AURORA.camera.black_level_dn / 255),
        ):
            assert now == pytest.approx(before, rel=1e-12)  # rounding of a product and a quotient
    (same,) = settings({"adc.bits": [8]})
    assert same.device == AURORA


def test_a_gain_that_is_varied_too_counts_at_the_bits_of_the_device():
    (found,) = settings({"camera.gain_dn_per_e": [0.08], "adc.bits": [4]})
    assert found.device.camera.gain_dn_per_e == pytest.approx(0.08 * 15 / 255, rel=1e-12)


def test_settings_of_a_task_may_be_varied():
    found = settings({"task.n_train": [100, 200]}, task=KernelRidge("digits"))
    assert [s.task for s in found] == [KernelRidge("digits", n_train=100), KernelRidge("digits", n_train=200)]


def test_settings_of_a_task_are_checked():
    with pytest.raises(ValueError, match="n_train is 5, but it must be 0 .all images. or at least 20"):
        settings({"task.n_train": [5]}, task=KernelRidge("digits"))
    with pytest.raises(ValueError, match="n_train is 9999, but it must be a whole number from 0 to 1348"):
        settings({"task.n_train": [9999]}, task=KernelRidge("digits"))


@dataclass(frozen=True)
class Linear:
    linear = True
    exposure_s: float = 0.0

    def __call__(self, opu, seed):
        return {"one": 1.0}


def test_what_has_no_effect_on_a_linear_transform_is_refused():
    with pytest.raises(ValueError, match="level of counts, but this task uses the linear transform"):
        settings({"exposure.mean_level": [0.1]}, task=Linear())
    with pytest.raises(ValueError, match="has no effect here.*Vary task.exposure_s"):
        settings({"exposure_s": [1e-3]}, task=Linear())
    assert settings({"task.exposure_s": [1e-3]}, task=Linear())[0].task.exposure_s == 1e-3
    # Without a reference arm the transform is put together from counts, with the device's exposure.
    plain = AURORA.evolve(**{"reference.relative_amplitude": 0.0})
    assert settings({"exposure_s": [1e-3]}, task=Linear(), device=plain)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("medium.decorrelation_time_s", "nothing passes between training and test.*--set pause_s=3600"),
        ("laser.power_drift_per_hour", "nothing passes between training and test.*--set pause_s=3600"),
        ("reference.jitter_rad", "counts are taken with the reference arm closed"),
    ],
)
def test_what_has_no_effect_on_counts_is_refused(path, sentence):
    values = [1e3, 1e5, math.inf] if path.startswith("medium") else [0.0, 0.01]
    with pytest.raises(ValueError, match=f"{path} has no effect here.*{sentence}"):
        settings({path: values}, task=KernelRidge("digits"))
    # One value is no curve.
    settings({path: values[:1]}, task=KernelRidge("digits"))


def test_what_time_changes_may_be_varied_where_time_passes():
    """All digits take 0.9 s: a medium that moves within a second changes while they are shown."""
    times = {"medium.decorrelation_time_s": [1e3, math.inf]}
    assert settings(times, task=KernelRidge("digits", pause_s=3600))
    assert settings({"medium.decorrelation_time_s": [1.0, math.inf]}, task=KernelRidge("digits"))
    assert settings({**times, "task.pause_s": [0.0, 3600.0]}, task=KernelRidge("digits"))


def test_a_check_of_the_task_is_asked_for_every_point():
    class Picky:
        def check(self, device, n_components):
            if n_components > device.camera.bits:
                raise ValueError(f"{n_components} is too many.")

        def __call__(self, opu, seed):
            return {"one": 1.0}

    with pytest.raises(ValueError, match=r"Point 2 of 2 \(n_components=9\) cannot be run: 9 is too many."):
        make_settings(make_axes({"n_components": [8, 9]}, AURORA, Picky()), device=AURORA, n_components=1, task=Picky())


# ---------------------------------------------------------------- seeds


def test_seeds_are_a_number_or_a_list():
    assert sweep({"camera.bits": [8]}, seeds=3).header.seeds == (0, 1, 2)
    assert sweep({"camera.bits": [8]}, seeds=[7, 2]).header.seeds == (7, 2)


@pytest.mark.parametrize(
    ("seeds", "error"),
    [(0, ValueError), ([], ValueError), ([1, 1], ValueError), ([-1], ValueError), (1.5, TypeError), ("3", TypeError)],
)
def test_bad_seeds_are_refused(seeds, error):
    with pytest.raises(error, match="seeds"):
        sweep({"camera.bits": [8]}, seeds=seeds)


def test_a_task_and_a_maker_must_be_functions():
    with pytest.raises(TypeError, match="task is 3"):
        sweep({"camera.bits": [8]}, task=3)
    with pytest.raises(TypeError, match="make_opu is 3"):
        Sweep(task, 3, {"camera.bits": [8]})


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("camera.bits=2,4,8", [2, 4, 8]),
        (" camera.bits = 2 , 4 ", [2, 4]),
        ("camera.bits=2:8:lin:4", [2, 4, 6, 8]),
        ("camera.bits=1e-4:1e-2:log:3", [1e-4, 1e-3, 1e-2]),
        ("camera.bits=0.1:0.3:lin:3", [0.1, 0.2, 0.3]),
        ("camera.bits=1:100:log:3,inf", [1, 10, 100, math.inf]),
        ("camera.bits=-3,1.5e2,inf", [-3, 150, math.inf]),
        ("camera.bits=4:8:lin:1", [4]),
    ],
)
def test_lists_and_ranges_are_read(text, values):
    path, found = parse_vary(text)
    assert path == "camera.bits" and found == values


@pytest.mark.parametrize(
    "text",
    ["", "camera.bits", "camera.bits=", "=4", "camera.bits=4,,5", "camera.bits=a", "camera.bits=1:2:3", "x=1:2:log:0",
     "x=0:1:log:3", "x=-1:1:log:3", "x=1:inf:lin:3", "x=1:2:cubic:3", "x=1:2:lin:2.5"],
)  # fmt: skip
def test_bad_texts_are_refused(text):
    with pytest.raises(ValueError, match="--vary is "):
        parse_vary(text)
