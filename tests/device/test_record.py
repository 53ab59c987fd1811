"""Devices: presets, TOML, variants, fingerprints, and what is said about bad ones."""

from __future__ import annotations

import numpy as np
import pytest

from opusim.bench.bench import OpticalBench
from opusim.device.camera import Camera
from opusim.device.medium import PhaseScreenMedium
from opusim.device.record import Device
from opusim.device.slm import PhaseSlm
from opusim.device.toml import presets
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = Device.load("aurora")


@pytest.mark.parametrize("name", [n for n in presets()])
def test_every_device_preset_loads_and_survives_toml(name):
    device = Device.load(name)
    again = Device.from_toml(device.to_toml())
    assert again == device
    assert again.fingerprint() == device.fingerprint()


@pytest.mark.filterwarnings("ignore:the table. laser.wavelength_m is 5.32e-07, but dmd.efficiency")  # DLP650LNIR
@pytest.mark.parametrize("stage,shelf", [("dmd", "dmds"), ("camera", "cameras")])
def test_every_part_preset_fits_into_a_device(stage, shelf):
    names = [n.partition("@")[0] for n in presets(shelf)]
    assert len(names) >= 5
    for name in names:
        table = AURORA.to_dict()
        table[stage] = {"preset": name}
        table["operation"]["ones_range"] = [0, 100_000]
        device = Device.from_dict(table)
        assert getattr(device, stage).shape[0] > 100


def test_the_presets_that_the_design_names_are_there():
    assert {"aurora@1", "ideal@1"} <= set(presets())
    dmds = {n.partition("@")[0] for n in presets("dmds")}
    assert {"dlp4500", "dlp6500", "dlp7000", "dlp9500", "dlp650lnir"} <= dmds
    cameras = {n.partition("@")[0] for n in presets("cameras")}
    assert {"cmv2000", "cmv4000", "imx174", "imx250", "imx252", "zyla-4.2", "flash4.0-v3"} <= cameras


def test_aurora_is_the_device_that_lightonml_describes():
    """Shapes, timing and camera of docs/physics.md section 2."""
    assert AURORA.dmd.shape == (912, 1140)
    assert AURORA.camera.shape == (1088, 2040)
    assert AURORA.camera.bits == 8
    assert AURORA.operation.frametime_s == 500e-6
    assert AURORA.operation.exposure_s == 400e-6
    assert isinstance(AURORA.medium, PhaseScreenMedium)
    assert AURORA.medium.n_screens >= 3
    assert AURORA.medium.n_screens * AURORA.medium.phase_std_rad**2 >= 10
    assert AURORA.camera.pixel_over_grain == 0


def test_ideal_preset_is_aurora_with_every_imperfection_off():
    ideal = Device.load("ideal")
    other = AURORA.ideal()
    assert ideal.fingerprint() == other.fingerprint()
    assert other.camera == AURORA.camera.ideal()  # a camera alone and one in a device lose the same imperfections


def test_each_imperfection_can_be_switched_off_alone():
    for name, switch in AURORA.imperfections().items():
        device = AURORA.evolve(**switch)
        changed = {
            path for path in device.paths() if "." in path
            and getattr(getattr(device, path.split(".")[0]), path.split(".")[1])
            != getattr(getattr(AURORA, path.split(".")[0]), path.split(".")[1])
        }  # fmt: skip
        assert changed <= set(switch), name


def test_a_version_that_does_not_exist_is_refused():
    assert Device.load("aurora@2") == AURORA != Device.load("aurora@1")
    with pytest.raises(ValueError, match="aurora@7.*aurora@1, aurora@2"):
        Device.load("aurora@7")


def test_fingerprint_sees_physics_and_not_names():
    assert AURORA.evolve(name="mine", description="x").fingerprint() == AURORA.fingerprint()
    assert AURORA.evolve(resolution="mirrors").fingerprint() != AURORA.fingerprint()
    assert AURORA.evolve(**{"camera.bits": 10}).fingerprint() != AURORA.fingerprint()


def test_a_file_may_start_from_a_preset(tmp_path):
    path = tmp_path / "mine.toml"
    parts = ["[camera]", "bits = 12", "[dmd]", 'preset = "DLP7000"', "[operation]", "ones_range = [0, 9]"]
    path.write_text("\n".join(['preset = "aurora"', 'name = "mine"', *parts]))
    with pytest.warns(UserWarning, match="gain_dn_per_e"):
        device = Device.load(str(path))
    assert device.name == "mine"
    assert device.camera.bits == 12
    assert device.camera.gain_dn_per_e == AURORA.camera.gain_dn_per_e
    assert device.dmd.name == "DLP7000"


@pytest.mark.parametrize(
    "text, words",
    [
        ("name = ", ["not valid TOML"]),
        ('preset = "aurora"\n[camera]\nbitz = 8', ["camera.bitz", "'bits'"]),
        ('preset = "aurora"\ncolour = 1', ["colour", "Allowed"]),
        ('preset = "aurorra"', ["aurorra", "'aurora'"]),
        ('preset = "aurora"\n[camera]\npreset = "cmv200"', ["cmv200", "cmv2000"]),
        ('preset = "aurora"\n[medium]\nkind = "fog"', ["medium.kind", "fog", "gaussian"]),
        ('preset = "aurora"\ncamera = 3', ["camera", "table"]),
        ('name = "x"', ["lacks", "laser"]),
        ('preset = "aurora"\n[camera]\nbits = "eight"', ["bits", "eight"]),
        ('preset = "aurora"\n[dmd]\nshape = [3]', ["dmd.shape", "[3]"]),
        ('preset = "aurora"\n[operation]\nones_range = [9, 3]', ["ones_range"]),
        ('preset = "aurora"\n[operation]\nones_range = [9, 3000000]', ["ones_range", "1039680"]),
        ('preset = "aurora"\n[camera]\nblack_level_dn = 300.0', ["black_level_dn", "300", "255"]),
        ('preset = "aurora"\n[laser]\nwavelength_m = 1064e-9', ["medium.step_m", "7.524e-07"]),
        ('preset = "aurora"\ncamera = "IMX174"', ["camera", "table", "preset"]),
        ('preset = "aurora"\n[camra]\nbits = 8', ["camra", "'camera'", "preset"]),
    ],
)
def test_malformed_toml_is_refused_with_the_reason(text, words):
    with pytest.raises((ValueError, TypeError)) as error:
        Device.from_toml(text)
    for word in words:
        assert word in str(error.value).replace("(3,)", "[3]")
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("spec", ["nothing", "missing.toml", "", 3, None])
def test_unknown_devices_are_refused(spec):
    with pytest.raises((ValueError, TypeError), match="device|preset"):
        Device.load(spec)


@pytest.mark.parametrize("name, stage", [("cmv2000", "camera"), ("DLP7000", "dmd")])
def test_a_part_is_no_device_and_the_error_says_where_it_belongs(name, stage):
    with pytest.raises(ValueError, match=rf"{name}.*is a {stage}.*\[{stage}\]"):
        Device.load(name)


def test_evolve_names_near_matches():
    with pytest.raises(ValueError, match="camera.bits"):
        AURORA.evolve(**{"camera.bitss": 3})
    with pytest.raises(ValueError, match="no field"):
        AURORA.evolve(**{"camera.": 3})


def test_a_device_for_the_near_infrared():
    """The DLP650LNIR at 1 064 nm, with the grid step that the wavelength asks for, and its expected light level."""
    with pytest.warns(UserWarning, match=r"camera.quantum_efficiency is stated for 5.5e-07: it must be given anew"):
        device = Device.from_toml(
            'preset = "ideal"\n[laser]\nwavelength_m = 1064e-9\n[dmd]\npreset = "DLP650LNIR"\ncontrast_ratio = inf\n'
            "[medium]\nstep_m = 0.8e-6\ncorrelation_length_m = 1.6e-6\n[operation]\nones_range = [0, 1024000]"
        )
    bench = OpticalBench(device, 0)
    layout = MirrorLayout(dmd_shape=(800, 1280), n_features=(50,), kind="lined", factor=20480, roi_offset=(0, 0),
                          roi_size=(800, 1280))  # fmt: skip
    patterns = MirrorPatterns(np.tile([[0, 1]], (4, 25)).astype(np.uint8), layout)
    level = bench.expose(patterns, exposure_s=400e-6, roi=(0, 0, 50, 200)).mean()
    assert level == pytest.approx(bench.expected_level_dn(512_000, 400e-6), rel=0.05)


def test_camera_field_is_a_camera():
    assert isinstance(AURORA.camera, Camera)


def test_a_modulator_goes_by_either_name_whatever_there_was():
    """The same device by `dmd` and by `modulator`, from mirrors to phases, from one to another, and back."""
    aurora = Device.load("aurora")
    slm = PhaseSlm("pixels", aurora.dmd.shape, aurora.dmd.pitch_m)
    phases = aurora.evolve(modulator=slm)
    assert phases == aurora.evolve(dmd=slm) and phases.modulator is slm
    other = PhaseSlm("others", aurora.dmd.shape, aurora.dmd.pitch_m)
    assert phases.evolve(modulator=other).modulator is other
    assert phases.evolve(modulator=aurora.dmd).modulator == aurora.dmd
    with pytest.raises(ValueError, match="dmd and modulator are both given"):
        phases.evolve(dmd=aurora.dmd, modulator=other)
