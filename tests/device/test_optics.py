"""Lengths of a bench that contradict each other, and what is refused: each in a sentence with number and limit."""

from __future__ import annotations

import dataclasses
import math
import warnings

import pytest
from typer.testing import CliRunner

from opusim import Device, Optics, cli
from opusim.cli.line import drawing, lengths, metres, told_held
from opusim.device.medium import GaussianMedium
from opusim.noise.levels import error_budget
from opusim.noise.sources import without
from opusim.sweep import Sweep

AURORA = Device.load("aurora")
HELD = Optics(held="lengths")


# ---------------------------------------------------------------- properties


def test_f_number_and_numerical_aperture_follow_from_the_smaller_of_stop_and_face():
    """f-number z / D, numerical aperture D / 2z: by definition."""
    assert HELD.f_number == pytest.approx(0.1 / 5e-3, rel=1e-12)
    one = dataclasses.replace(HELD, stop_diameter_m=2e-3)
    assert (one.diameter_m, one.f_number) == (2e-3, pytest.approx(50, rel=1e-12))
    assert one.numerical_aperture == pytest.approx(1 / (2 * one.f_number), rel=1e-12)
    assert one.spot_m(532e-9, 7.6e-6) * one.mirror_angle_rad(7.6e-6) == pytest.approx(532e-9, rel=1e-12)
    again = Optics.of_f_number(50, 0.1)
    assert again.held == "lengths" and again.stop_diameter_m == pytest.approx(2e-3, rel=1e-12)
    assert Optics.of_f_number(8.0, 0.05, exit_diameter_m=10e-3).diameter_m == pytest.approx(6.25e-3, rel=1e-12)


def test_version_1_holds_the_magnification_and_has_its_fingerprint():
    """As release 0.1.0 gave it: a stage that came later is left out where it does what was done before."""
    first = Device.load("aurora@1")
    assert first.optics == Optics() and first.optics.held == "magnification"
    assert first.fingerprint().startswith("e400bf33db55")
    assert first.pixel_share == first.medium.transmission
    # Lengths change no frame there.
    assert first.evolve(**{"optics.focal_m": 0.2}).fingerprint() == first.fingerprint()
    assert first.remagnified() is first


def test_a_device_with_lengths_comes_back_from_its_tables():
    device = AURORA.evolve(**{"optics.stop_diameter_m": 2e-3, "optics.focal_m": 0.25})
    for again in (Device.from_toml(device.to_toml()), Device.from_stored(device.to_dict())):
        assert again == device and again.fingerprint() == device.fingerprint()
    assert device.changes == {"optics.stop_diameter_m": (2e-3, math.inf), "optics.focal_m": (0.25, 0.1)}
    assert device.description == "aurora, changed: optics.stop_diameter_m 2 mm, optics.focal_m 250 mm"


def test_stored_devices_of_before_hold_the_magnification():
    table = Device.load("aurora@1").to_dict()
    del table["optics"]
    assert Device.from_stored(table) == Device.load("aurora@1")


def test_re_magnified_it_has_the_same_light_on_the_same_pixels():
    device = AURORA.evolve(**{"optics.pixel_integration": True, "optics.stop_diameter_m": 3e-3})
    same = device.remagnified()
    assert same.optics.held == "magnification"
    assert same.sampling == device.sampling and same.sampling.fine > 1
    assert same.camera.pixel_over_grain == pytest.approx(5.5e-6 * 3e-3 / (532e-9 * 0.1), rel=1e-12)
    assert same.photons_per_intensity(1.0) == pytest.approx(device.photons_per_intensity(1.0), rel=1e-12)


def test_pixel_integration_is_one_imperfection_however_it_is_said():
    off = AURORA.imperfections()["pixel integration"]
    assert off == {"camera.pixel_over_grain": 0.0, "optics.pixel_integration": False}
    device = AURORA.evolve(**{"optics.pixel_integration": True})
    assert device.ideal().pixel_over_grain == 0 and without(device, ["pixel integration"]).pixel_over_grain == 0
    whole = error_budget(device.evolve(**{"optics.stop_diameter_m": 2e-3}))
    same = error_budget(device.evolve(**{"optics.stop_diameter_m": 2e-3}).remagnified())
    assert whole.errors["pixel integration"] > 0.01
    assert whole.errors == pytest.approx(same.errors, rel=1e-9)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"held": "all"}, "optics.held is 'all', but it must be one of 'magnification', 'lengths'"),
        ({"focal_m": 0.0}, r"optics.focal_m is 0.0, but it must be .*\(0, 100\]"),
        ({"focal_m": math.nan}, "optics.focal_m is nan"),
        ({"illumination_focal_m": -1.0}, "optics.illumination_focal_m is -1.0"),
        ({"exit_diameter_m": math.inf}, "optics.exit_diameter_m is inf"),
        ({"stop_diameter_m": "wide"}, "optics.stop_diameter_m is 'wide'"),
        ({"pixel_integration": 1}, "optics.pixel_integration is 1"),
        ({"stated_share": 0.0}, r"optics.stated_share is 0.0, but it must be .*\(0, 1\]"),
        ({"stated_share": 1.5}, "optics.stated_share is 1.5"),
        ({"stop_diameter_m": 6e-3}, r"stop_diameter_m is 0.006, but the face .* 0.005 m wide .*must not be larger"),
        ({"focal_m": 2e-3}, r"focal_m is 0.002 .* numerical aperture of 1.25, but it must be at most 1"),
    ],
)
def test_optics_that_cannot_be_are_refused(fields, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Optics(**{"held": "lengths", **fields})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # 2 / sqrt(pi) x 532 nm x 12 mm / 7.6 um = .9478 mm
        ({"optics.exit_diameter_m": 0.9e-3}, r"exit_diameter_m is 0.0009, but it must be at least 0.0009432: each of"),
        ({"optics.illumination_focal_m": 0.1}, "exit_diameter_m is 0.005, but it must be at least 0.00786"),
        ({"optics.illumination_focal_m": 5e-3}, "illumination_focal_m is 0.005, .* is 0.005808 m, 1.16 of it"),
        ({"optics.focal_m": 6e-3}, r"camera.shape is \[1088, 2040\] .* 0.006358 m, .* at most optics.focal_m, 0.006 m"),
        ({"camera.pixel_over_grain": 1.0}, r"pixel_over_grain is 1.0, but optics.held is 'lengths'.*= 0.009673 would"),
        (
            {"optics.pixel_integration": True, "camera.pixel_pitch_m": 80e-6, "optics.focal_m": 0.1,
             "optics.exit_diameter_m": 80e-3},
            r"pixel_integration is True, and a pixel of 8e-05 m is 120.3 grains of 6.65e-07 m wide, .* 100 at most",
        ),
        ({"optics.stop_diameter_m": 1e-9}, "stop_diameter_m is 1e-09, but it must be at least laser.wavelength_m, 5"),
        ({"optics.exit_diameter_m": 1e-7}, "exit_diameter_m is 1e-07, but it must be at least laser.wavelength_m"),
        ({"optics.illumination_focal_m": 1e-8}, "illumination_focal_m is 1e-08, but it must be at least laser.wavelen"),
        (
            {"optics.pixel_integration": True, "optics.stop_diameter_m": 9e-6},
            r"pixel_integration is True, and a pixel of 5.5e-06 m is 0.0009305 grains of 0.005911 m wide, .* 0.001 at",
        ),
        ({"medium.transmission": 1.5}, "medium.transmission is 1.5"),
        ({"optics.held": "magnification", "optics.pixel_integration": True}, "pixel_integration is True, but optics"),
    ],
)  # fmt: skip
def test_lengths_that_the_parts_do_not_go_with_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        AURORA.evolve(**changes)


def test_lengths_mean_nothing_where_the_magnification_is_held():
    """No combination is refused that says nothing."""
    first = Device.load("aurora@1")
    other = first.evolve(**{"optics.focal_m": 1e-3, "optics.stop_diameter_m": 1.0, "optics.illumination_focal_m": 1e-4})
    assert other.photons_per_intensity(1.0) == first.photons_per_intensity(1.0)
    assert other.sampling == first.sampling


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"held": "lengths"}, "held is 'lengths', but of_f_number takes none: f_number says it"),
        ({"stop_diameter_m": 1e-3}, "stop_diameter_m is 0.001, but of_f_number takes none: focal_m / f_number is it"),
        ({"stop": 1e-3}, "stop is no field of the optics: others than f_number and focal_m are illumination_focal_m, "),
    ],
)
def test_an_f_number_takes_the_fields_that_do_not_follow_from_it(fields, words):
    with pytest.raises(TypeError, match=words):
        Optics.of_f_number(20, 0.1, **fields)


@pytest.mark.parametrize("number", [0, -2, math.nan, "8", True])
def test_an_f_number_is_a_number_above_0(number):
    with pytest.raises((TypeError, ValueError), match="f_number is"):
        Optics.of_f_number(number, 0.1)
    with pytest.raises((TypeError, ValueError), match="focal_m is"):
        Optics.of_f_number(8.0, number)
    with pytest.raises(ValueError, match="stop_diameter_m is"):
        Optics.of_f_number(2.0, 0.1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("text", "share"),
    [
        ('preset = "aurora"\n[medium]\ntransmission = 1e-10', 1e-10),
        ('preset = "aurora"\n[medium]\nkind = "gaussian"', 1e-10),
        ('preset = "aurora@1"\n[optics]\nheld = "lengths"', 8.37e-11),
        ('preset = "aurora"\n[optics]\nheld = "magnification"', 7.95e-11),
        ('preset = "aurora"\n[optics]\nfocal_m = 0.2', 7.95e-11 / 4),
    ],
)
def test_the_transmission_means_one_thing_whatever_is_held(text, share):
    """The share that reaches a pixel of 5.5 um behind a lens of .1 m; of another lens by irradiance. To rounding."""
    device = Device.from_toml(text)
    assert device.pixel_share == pytest.approx(share, rel=1e-12)
    assert Device.from_stored(device.to_dict()) == device


def test_the_preset_has_as_much_light_as_its_black_level_leaves_for_nine_grey_levels():
    """6.4 in place of 7 above black, read .8 % high on its curve, of half the mirrors: to 7.95e-11's last digit."""
    first = Device.load("aurora@1")
    ratio = AURORA.photons_per_intensity(400e-6) / first.photons_per_intensity(400e-6)
    assert ratio == pytest.approx(6.4 / 7 / (1 + 4 * AURORA.camera.nonlinearity), rel=2e-3)
    assert AURORA.optics.stated_share == pytest.approx(5.5e-6**2 / (math.pi * 0.1**2), rel=1e-15)


def test_what_leaves_the_layer_is_at_most_what_comes_to_it():
    """transmission / stated_share at most 1, and 1 is allowed; with the magnification held it says nothing."""
    whole = AURORA.optics.stated_share
    assert AURORA.optics.layer_transmittance(whole) == 1
    assert AURORA.evolve(**{"medium.transmission": whole}).pixel_share == pytest.approx(whole, rel=1e-12)
    with pytest.raises(ValueError, match=r"medium.transmission is 1e-09, but it must be at most optics.stated_share"):
        AURORA.evolve(**{"medium.transmission": 1e-9})
    with pytest.raises(ValueError, match=r"medium.transmission is 7.95e-11, .*, 7.6e-11: .*, 1.046, of the light"):
        AURORA.evolve(**{"optics.stated_share": 7.6e-11})
    Device.load("aurora@1").evolve(**{"medium.transmission": 1e-9, "optics.stated_share": 1e-12})


def test_re_magnified_and_back_the_light_of_a_pixel_stays():
    """On a camera of other pixels, behind a stop: what falls on them is stated for them."""
    device = AURORA.evolve(**{"camera.pixel_pitch_m": 3.45e-6, "optics.stop_diameter_m": 3e-3})
    back = device.remagnified().evolve(**{"optics.held": "lengths"})
    assert back.photons_per_intensity(1.0) == pytest.approx(device.photons_per_intensity(1.0), rel=1e-12)
    then, now = (one.optics.layer_transmittance(one.medium.transmission) for one in (device, back))
    assert now == pytest.approx(then, rel=1e-12)


def test_lengths_that_have_no_effect_are_told_where_a_table_is_read():
    with pytest.warns(
        UserWarning, match=r"optics.stop_diameter_m has no effect, because optics.held is 'magnification'"
    ):
        Device.from_toml('preset = "aurora@1"\n[optics]\nstop_diameter_m = 2e-3')
    with pytest.warns(UserWarning, match="optics.stop_diameter_m and optics.focal_m have no effect"):
        Device.from_toml('preset = "aurora"\n[optics]\nheld = "magnification"\nstop_diameter_m = 2e-3\nfocal_m = 0.3')


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "text", ["held = 'lengths'\nstop_diameter_m = 2e-3", "focal_m = 0.1", "held = 'magnification'"]
)
def test_nothing_is_told_of_lengths_that_are_held_or_as_they_were(text):
    Device.from_toml(f'preset = "aurora@1"\n[optics]\n{text}')


@pytest.mark.filterwarnings("error")
def test_a_device_that_was_written_is_read_without_a_word():
    device = AURORA.evolve(**{"optics.stop_diameter_m": 2e-3, "optics.focal_m": 0.3}).remagnified()
    assert Device.from_toml(device.to_toml()) == device


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("f_number", r"optics.focal_m / optics.stop_diameter_m, set one"),
        ("numerical_aperture", r"optics.stop_diameter_m / \(2 optics.focal_m\), set one"),
    ],
)
def test_what_follows_from_lengths_is_no_field_and_the_sentence_says_from_which(name, words):
    with pytest.raises(ValueError, match=f"unknown key 'optics.{name}': it is {words}"):
        Device.from_toml(f'preset = "aurora"\n[optics]\n{name} = 8')
    with pytest.raises(ValueError, match=f"no field 'optics.{name}' in the device: it is {words}"):
        AURORA.evolve(**{f"optics.{name}": 8.0})


# ---------------------------------------------------------------- as text


@pytest.mark.parametrize("spec", ["aurora", "aurora@1", "ideal", "aurora-type1"])
def test_the_drawing_has_every_part_and_fits_a_terminal(spec):
    device = Device.load(spec)
    rows = drawing(device).splitlines()
    assert len(rows) == 3 and all(0 < len(row) <= 80 for row in rows)
    assert rows[0].split() == ["laser", "DMD", "lens", "layer", "lens", "camera"]
    assert ("12 mm" in rows[1] and "100 mm" in rows[1]) == device.optics.by_lengths
    assert rows[2].startswith("532 nm") and rows[2].endswith("5.5 µm")


def test_the_stop_is_drawn_on_the_face_that_it_is_on():
    rows = drawing(AURORA.evolve(**{"optics.stop_diameter_m": 2e-3})).splitlines()
    at = rows[1].index("[##]:-")
    assert rows[0][at : at + 10].split() == ["ayer", "stop"] and "5 mm 2 mm" in rows[2]
    assert ":" not in drawing(AURORA)


def test_the_longest_numbers_fit_too():
    fields = {"illumination_focal_m": 12.34e-3, "exit_diameter_m": 3.456e-3, "stop_diameter_m": 1.234e-3}
    device = AURORA.evolve(optics=Optics(held="lengths", focal_m=1.234, **fields), **{"camera.pixel_pitch_m": 12.34e-6})
    rows = drawing(device).splitlines()
    assert max(map(len, rows)) <= 80 and "stop" in rows[0] and "1.23 mm" in rows[2]


def test_what_follows_is_told():
    """Numbers by hand: 7.637 um / 12 mm; 532 nm x .1 m / 5 mm; f/20; 5.5 um / 10.64 um."""
    told = dict(lengths(AURORA, 400e-6))
    assert told["angle a mirror"].startswith("0.636 mrad") and told["grain"].startswith("10.6 µm")
    assert told["lens to the sensor"] == "100 mm: numerical aperture 0.025, f/20"
    assert told["pixel"].startswith("0.517 grains wide") and "idealisation" in told["pixel"]
    assert told["layer"].startswith("8.26 % of the mirrors' light")  # 7.95e-11 pi .1^2 / 5.5e-6^2
    assert told["held"].startswith("the lengths") and "836 µm" in told["spot on the layer"]
    first = dict(lengths(Device.load("aurora@1"), 400e-6))
    assert first["held"].startswith("the magnification") and "grid of modes" in first["angle a mirror"]


def test_a_layer_that_is_thickened_to_light_its_face_evenly_is_told():
    """A gap of 1 mm spreads light by 1 mm x .384 rms at most (532 nm, steps of .4 um): .4 of a spot of .96 mm."""
    spot = "optics.illumination_focal_m"
    wide = AURORA.evolve(**{spot: 50e-3, "optics.exit_diameter_m": 5e-3, "optics.stop_diameter_m": 3e-3})
    assert "memory effect" not in dict(lengths(wide, 400e-6))  # pixels that sample points have no stop
    wide = wide.evolve(**{"optics.pixel_integration": True})
    told = dict(lengths(wide, 400e-6))["memory effect"]
    # 532 nm x 50 mm / 7.6 um is a spot of 3.5 mm.
    assert told.startswith(f"{0.4 * 3.5 / 0.384:.2g}") and "1 mm between screens" in told
    near = wide.evolve(**{spot: 12e-3})
    assert "memory effect" not in dict(lengths(near, 400e-6))
    assert "memory effect" not in dict(lengths(wide.remagnified(), 400e-6))


@pytest.mark.parametrize("field", [{"medium.n_screens": 1}, {"medium.thickness_m": 0.0}])
def test_a_single_plane_lights_no_face(field):
    with pytest.raises(ValueError, match=r"pixel_integration is True, but the medium has no space between screens"):
        AURORA.evolve(**{"optics.pixel_integration": True}, **field)
    assert not AURORA.evolve(**field).medium.spreads and AURORA.medium.spreads


TILTED = AURORA.evolve(
    **{"optics.pixel_integration": True, "optics.stop_diameter_m": 2e-3,
       "reference.carrier_cycles_per_pixel": (0.25, 0.25)}
)  # fmt: skip


def told_of_reference(**changes):
    return dict(lengths(TILTED.evolve(**changes), 400e-6))


def test_the_reference_and_its_fringes_are_told():
    """By hand: a carrier of .25 on either side is .3536 cycles a pixel, a period of 2.83 pixels or 15.6 um, and
    asin(532 nm / 15.6 um) = 1.96 degrees. Grain 26.6 um, .2068 grains a pixel, half bandwidth .1034, three are .31."""
    told = told_of_reference()
    assert told["reference"] == "re-scaled with the signal; its tilt is held in cycles a pixel"
    assert told["fringes"] == "a period of 2.83 pixels, 15.6 µm: a tilt of 1.96 degrees"
    assert told["off axis"] == (
        "carrier 0.354 cycles a pixel, half bandwidth 0.103: at least 3 of these, 0.31, so the side band is free"
    )
    assert told["grain"].startswith("26.6 µm, 4.84 pixels")
    assert "fringes" not in told_of_reference(**{"reference.carrier_cycles_per_pixel": (0.0, 0.0)})
    assert "reference" not in told_of_reference(**{"reference.relative_amplitude": 0.0})
    steep = told_of_reference(**{"camera.pixel_pitch_m": 0.15e-6})
    assert steep["fringes"].endswith("more than any tilt gives")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optics.stop_diameter_m": 4e-3}, "below 3 of these, 0.62; the side band is free only where the background"),
        ({"reference.carrier_cycles_per_pixel": (0.05, 0.05)}, "no side band is free, the tilt is below one of these"),
        ({"reference.carrier_cycles_per_pixel": (0.5, 0.5)}, "no side band is free, it overlaps its twin"),
        ({"camera.pixel_pitch_m": 30e-6}, "half bandwidth 0.564: pixels are coarser than the speckle"),
        ({"optics.pixel_integration": False}, "no band to cut out: pixels sample points"),
    ],
)
def test_a_tilt_without_room_is_told(changes, words):
    """Limits of `opusim.calibration.algorithms.off_axis.check_room`: three half bandwidths, one, and the twin's two."""
    assert words in told_of_reference(**changes)["off axis"]


def test_sweeps_of_lengths_that_mean_nothing_are_refused():
    for name, value in (("stop_diameter_m", 2e-3), ("focal_m", 0.2), ("stated_share", 1e-9)):
        with pytest.raises(ValueError, match=f"optics.{name}, but it has no effect, because optics.held .* 'magnif"):
            Sweep(lambda opu, seed: {}, lambda *args: None, {f"optics.{name}": [value]}, device="aurora@1")


def test_sweeps_vary_lengths_and_say_which_are_held():
    vary = {"optics.focal_m": [0.1, 0.2], "camera.pixel_pitch_m": [3e-6, 6e-6]}
    sweep = Sweep(lambda opu, seed: {}, lambda *args: None, vary, device="aurora")
    light = [setting.device.photons_per_intensity(1.0) for setting in sweep.settings]
    assert light == pytest.approx([light[0] * one for one in (1, 4, 1 / 4, 1)], rel=1e-12)
    assert told_held(sweep.header.device).startswith("the lengths")
    first = Device.load("aurora@1").to_dict()
    assert told_held(first).startswith("the magnification")
    del first["optics"]  # as files of earlier releases have it
    assert told_held(first).startswith("the magnification")


def test_a_sweep_says_that_pixels_which_sample_points_do_not_see_the_grain():
    table = AURORA.to_dict()
    assert "pixels sample points" in told_held(table, ["camera.pixel_pitch_m"])
    assert "grain on a pixel go by its pitch" in told_held(table, ["optics.pixel_integration"])
    whole = AURORA.evolve(**{"optics.pixel_integration": True}).to_dict()
    assert "sample points" not in told_held(whole) and "grain on a pixel go by its pitch" in told_held(whole)


# ---------------------------------------------------------------- what is allowed, and hardly meant


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # 532 nm x 12 mm / 7.637 um = .836 mm; with 2 x 20 um .876 mm, below the 2 / sqrt(pi) x .836 mm asked for.
        ("[medium]\nthickness_m = 20e-6", ["optics.exit_diameter_m is 0.005", "0.000876 m", "= 0.000943 would",
                                           "thickness_m = 0.00208"]),
        ("[optics]\nexit_diameter_m = 0.96e-3", ["optics.exit_diameter_m is 0.00096", "about 0.00484 m", "= 0.00484"]),
        ("[optics]\nexit_diameter_m = 10e-3", ["optics.exit_diameter_m is 0.01", "about 0.00484 m"]),
        ("[medium]\ncorrelation_length_m = 20e-6", ["correlation_length_m is 2e-05, 50 times medium.step_m", "0.047",
                                                    "at most 1.7e-06"]),
        ("[medium]\nphase_std_rad = 1.5", ["n_screens x phase_std_rad^2 6.75", "phase_std_rad = 1.83 would do"]),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_told_when_a_toml_is_read(changes, words, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'preset = "aurora"\nname = "mine"\n{changes}\n')
    with pytest.warns(UserWarning) as told:
        device = Device.load(str(path))
    assert len(told) == 1 and len(device.doubts) == 1
    sentence = str(told[0].message)
    assert device.doubts[0] in sentence and "mine.toml" in sentence and sentence.endswith(".")
    for one in words:
        assert one in sentence
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Device.from_stored(device.to_dict()) == device  # it was told
    output = CliRunner().invoke(cli.app, ["info", str(path)]).stdout
    assert " ".join(device.doubts[0].split()) in " ".join(output.split())


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"optics.exit_diameter_m": 2.5e-3}, {"optics.exit_diameter_m": 9.6e-3}, {"optics.stop_diameter_m": 1e-3},
        {"medium": GaussianMedium(8.37e-11)}, {"medium.n_screens": 1, "medium.phase_std_rad": 6.0,
                                              "optics.exit_diameter_m": 1e-3},
        {"medium.correlation_length_m": 0.0},
    ],
)  # fmt: skip
def test_what_goes_together_is_not_told(changes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        device = AURORA.evolve(name="mine", **changes)
        assert device.doubts == [] and Device.from_toml(device.to_toml()) == device


@pytest.mark.parametrize("name", ["aurora", "ideal", "aurora-type1", "aurora-type3", "aurora@1", "ideal@1"])
def test_presets_leave_no_doubts(name):
    device = Device.load(name)
    assert device.doubts == []
    # Of a device that holds the magnification no face is stated.
    thin = device.remagnified().evolve(**{"medium.thickness_m": 20e-6})
    assert thin.doubts == []


def test_lengths_are_told_with_three_digits():
    assert [metres(one) for one in (2.0, 0.0123456, 9.996e-4, 5.5e-6, 532e-9)] == [
        "2 m", "12.3 mm", "1 mm", "5.5 µm", "532 nm",
    ]  # fmt: skip
