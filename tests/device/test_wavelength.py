"""Efficiencies at a wavelength: a curve, what is stated for another one, and what says so."""

from __future__ import annotations

import math
import pickle

import pytest

from opusim import Device, OpticalBench
from opusim.device.medium import GaussianMedium

AURORA = Device.load("aurora")
COARSE = {"medium.step_m": 0.5e-6, "medium.correlation_length_m": 1e-6}  # a grid for longer waves too
CURVE = {"camera.qe_wavelengths_m": (450e-9, 550e-9, 650e-9), "camera.qe_values": (0.4, 0.6, 0.5)}


def test_a_curve_gives_the_efficiency_at_the_laser():
    device = AURORA.evolve(**CURVE, **COARSE)
    assert device.camera.quantum_efficiency == pytest.approx(0.6 - 18 / 100 * 0.2, rel=1e-12)
    assert AURORA.camera.evolve(quantum_efficiency=0.1).efficiency_at(1e-6) == 0.1
    other = device.evolve(**{"laser.wavelength_m": 550e-9})
    assert other.camera.quantum_efficiency == 0.6
    assert other.evolve(**{"laser.wavelength_m": 600e-9}).camera.quantum_efficiency == pytest.approx(0.55, rel=1e-12)
    assert Device.from_toml(other.to_toml()) == other
    ends = [device.camera.efficiency_at(w) for w in (450e-9, 650e-9)]
    assert ends == [0.4, 0.5]


def test_a_table_that_gives_another_efficiency_than_its_curve_is_refused():
    """The curve is in force; what is written beside it, even rounded, must be its value."""
    text = """preset = "aurora"
    [medium]
    step_m = 0.5e-6
    correlation_length_m = 1e-6
    [camera]
    qe_wavelengths_m = [450e-9, 550e-9, 650e-9]
    qe_values = [0.4, 0.6, 0.5]
    """
    assert Device.from_toml(text).camera.quantum_efficiency == pytest.approx(0.564)
    assert Device.from_toml(text + "quantum_efficiency = 0.564").camera.quantum_efficiency == pytest.approx(0.564)
    with pytest.raises(ValueError, match=r"camera.quantum_efficiency is 0.3, but the camera has a curve .* 0.564 at"):
        Device.from_toml(text + "quantum_efficiency = 0.3")


def test_a_wavelength_outside_of_the_curve_is_refused():
    with pytest.raises(ValueError, match=r"laser.wavelength_m is 6.6e-07, but the quantum efficiency .* is known from"):
        AURORA.evolve(**CURVE, **COARSE, **{"laser.wavelength_m": 660e-9})


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"camera.qe_wavelengths_m": (5e-7, 6e-7)}, r"camera.qe_wavelengths_m holds 2 numbers, but"),
        ({"camera.qe_wavelengths_m": (5e-7,), "camera.qe_values": (0.5,)}, "it must be at least two wavelengths"),
        ({"camera.qe_wavelengths_m": (6e-7, 5e-7), "camera.qe_values": (0.5, 0.6)}, "two wavelengths that rise"),
        ({"camera.qe_wavelengths_m": (5e-7, math.nan), "camera.qe_values": (0.5, 0.6)}, r"wavelengths_m\[1\] is nan"),
        ({"camera.qe_wavelengths_m": (5e-7, 6e-7), "camera.qe_values": (0.5, 0.0)}, r"camera.qe_values\[1\] is 0"),
        (CURVE | {"camera.quantum_efficiency": 0.3}, "camera.quantum_efficiency is 0.3, but the camera has a curve"),
    ],
)  # fmt: skip
def test_a_curve_that_is_none_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        AURORA.evolve(**changes)


def test_efficiencies_that_are_stated_for_other_light_are_told():
    assert AURORA.doubts == []
    red = AURORA.evolve(**{"laser.wavelength_m": 633e-9}, **COARSE)
    told = red.doubts
    assert len(told) == 2 and "dmd.efficiency is stated for 5.32e-07" in told[0]
    assert "camera.quantum_efficiency is stated for 5.5e-07" in told[1]
    anew = red.evolve(
        **{"dmd.efficiency": 0.16, "dmd.stated_wavelength_m": 633e-9, "camera.stated_wavelength_m": 633e-9}
    )
    assert anew.doubts == []


def test_efficiencies_that_a_preset_had_for_its_own_laser_are_told_where_they_stay():
    """Those of aurora@1 are stated for no wavelength; one that is given anew is that at the laser's."""
    old = Device.load("aurora@1").evolve(**COARSE)
    assert old.wavelength_doubts == [] and old.evolve(**{"laser.wavelength_m": 540e-9}).wavelength_doubts == []
    red = old.evolve(**{"laser.wavelength_m": 633e-9})
    assert [sentence.split(", but ")[1].split(":")[0] for sentence in red.wavelength_doubts] == [
        "dmd.efficiency is that of the preset it comes from, whose laser has 5.32e-07",
        "camera.quantum_efficiency is that of the preset it comes from, whose laser has 5.32e-07",
    ]
    assert red.evolve(**{"dmd.efficiency": 0.5, "camera.quantum_efficiency": 0.4}).wavelength_doubts == []
    own = red.evolve(name="mine", description="A device of its own.")
    assert own.wavelength_doubts == []


def test_a_bench_warns_of_efficiencies_for_other_light_as_evolve_does_not(tmp_path, recwarn):
    red = AURORA.evolve(**{"laser.wavelength_m": 633e-9}, **COARSE)
    OpticalBench(AURORA)
    assert len(recwarn) == 0
    OpticalBench(red)
    told = [str(one.message) for one in recwarn.list]
    assert told == red.wavelength_doubts and len(told) == 2 and recwarn.list[0].filename == __file__
    recwarn.clear()
    path = tmp_path / "red.toml"
    path.write_text(red.to_toml())
    bench = OpticalBench(path)  # reading it says so, and that is enough
    assert len(recwarn) == 2 and bench.device == red
    recwarn.clear()
    pickle.loads(pickle.dumps(bench))
    assert len(recwarn) == 0


@pytest.mark.parametrize("stage", ["camera", "dmd"])
def test_a_stated_wavelength_changes_no_fingerprint_and_no_name(stage):
    """A device that was written before there was such a field is the preset that it was."""
    table = AURORA.to_dict()
    del table[stage]["stated_wavelength_m"]
    stored = Device.from_stored(table)
    assert stored.fingerprint() == AURORA.fingerprint()
    assert stored.name == "aurora" and stored.changes == {}


def test_presets_of_parts_say_for_which_light_their_efficiency_is():
    assert AURORA.dmd.stated_wavelength_m == AURORA.laser.wavelength_m
    assert AURORA.camera.stated_wavelength_m == 550e-9


def test_phases_that_are_stated_for_other_light_are_told():
    """Of a whole bench; the panels by themselves say nothing, as no source says for which light they are."""
    bench = Device.load("ngrc-bench")
    assert bench.modulator.stated_wavelength_m == bench.laser.wavelength_m and bench.doubts == []
    grid = {"medium.step_m": 0.8e-6, "medium.correlation_length_m": 1.6e-6}
    told = bench.evolve(**{"laser.wavelength_m": 1064e-9}, **grid).doubts
    assert len(told) == 2 and "modulator.efficiency and modulator.range_turns are stated for 5.32e-07: they" in told[0]
    assert "camera.quantum_efficiency is stated for 5.25e-07: it must be given anew" in told[1]
    plain = Device.from_toml('preset = "aurora"\n[modulator]\npreset = "HSP1920"\n')
    assert plain.modulator.stated_wavelength_m == 0 and plain.lit_modulator is plain.modulator


def test_a_line_that_no_medium_sees_is_told():
    lined = AURORA.evolve(**{"laser.linewidth_hz": 1e9, "laser.tuning_range_hz": 1e9})
    assert lined.doubts == []
    plain = lined.evolve(medium=GaussianMedium(transmission=AURORA.medium.transmission))
    assert plain.doubts == [
        "laser.linewidth_hz and laser.tuning_range_hz have no effect, because a medium of kind 'gaussian' does not "
        "change with the frequency of the light."
    ]
