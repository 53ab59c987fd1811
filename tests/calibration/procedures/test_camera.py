"""Photon transfer: the camera's set values come back within the procedure's own intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from opusim import OpticalBench
from opusim.calibration.algorithms.camera_statistics import gather, spatial_variance
from opusim.calibration.files import read_record, write_record
from opusim.calibration.procedures.camera import CameraRecord, characterise_camera
from opusim.calibration.report import summary
from opusim.device.record import Device

# Cameras of version 1 have a plain sensor: what rows, columns, temperature and bend do is in test_camera_components.py.
AURORA = Device.from_dict({**Device.load("aurora").to_dict(), "camera": {"preset": "CMV2000@1"}})
ROI = (500, 500, 64, 64)


def with_camera(camera):
    return AURORA.evolve(camera=camera)


def preset(name):
    return Device.from_dict({**AURORA.to_dict(), "camera": {"preset": f"{name}@1"}})


# Shot noise and nothing else: float counts that never clip.
SHOT_ONLY = with_camera(AURORA.camera.ideal().evolve(shot_noise=True))


def truth(camera, exposure_s=400e-6):
    """What the record must hold, by its interval's name."""
    by_full_scale = (camera.full_scale_dn - camera.black_level_dn) / camera.gain_dn_per_e
    top = min(camera.full_well_e, by_full_scale) if camera.quantise else camera.full_well_e
    return {
        "gain": camera.gain_dn_per_e,
        "quantum_efficiency": camera.quantum_efficiency,
        "read_noise": camera.temporal_dark_noise_e,
        "dark_current": camera.mean_dark_current_e_per_s,
        "saturation": top - camera.mean_dark_current_e_per_s * exposure_s,
        "linearity": 0.0,
        "prnu": camera.total_prnu,
        "dsnu": camera.total_dsnu_e(exposure_s),
    }


def holds(record, name, value):
    low, high = getattr(record, f"{name}_interval")
    return low - 1e-9 <= value <= high + 1e-9


@pytest.mark.parametrize(
    ("device", "by"),
    [(AURORA, "full scale"), (preset("IMX174"), "full well"), (preset("Zyla 4.2"), "full scale"), (SHOT_ONLY, "none")],
    ids=["CMV2000", "IMX174", "Zyla 4.2", "shot noise only"],
)
def test_set_values_come_back(device, by):
    """8 intervals of 99.99 % for each camera: a false alarm once in 1250 changes of the seed."""
    record = characterise_camera(OpticalBench(device, seed=3), roi=ROI, confidence=0.9999)
    assert record.saturation_by == by
    for name, value in truth(device.camera).items():
        assert holds(record, name, value), (name, value, getattr(record, f"{name}_interval"))
    # The intervals say something: none of the main figures is open by more than 10 %.
    for name in ("gain", "quantum_efficiency"):
        low, high = getattr(record, f"{name}_interval")
        assert (high - low) / (high + low) < 0.1


@pytest.mark.parametrize("device", [AURORA, preset("IMX174")], ids=["CMV2000", "IMX174"])
def test_intervals_hold_the_truth_as_often_as_they_say(device):
    """80 seeds at 90 %: hits of each interval follow a binomial law, 1e-4 each way and name (false alarm 2e-3)."""
    n, p = 80, 0.9
    expected = truth(device.camera)
    hits = dict.fromkeys(expected, 0)
    scatter = []
    for seed in range(n):
        record = characterise_camera(
            OpticalBench(device, seed=seed, threads=1),
            roi=(500, 500, 32, 32), levels=10, frames_per_level=4, dark_frames_per_exposure=8, confidence=p,
        )  # fmt: skip
        scatter.append(record.gain_dn_per_e)
        for name, value in expected.items():
            hits[name] += holds(record, name, value)
    low, high = stats.binom.ppf(1e-4, n, p), stats.binom.isf(1e-4, n, p)
    for name, count in hits.items():
        # Linearity's lower end is 0 by right, so its interval holds more often than it says.
        assert low <= count <= (n if name == "linearity" else high), (name, count)
    # The gain's interval is as wide as the gain scatters, within 4 standard errors of a standard deviation.
    width = (record.gain_interval[1] - record.gain_interval[0]) / 2 / stats.norm.ppf((1 + p) / 2)
    assert abs(np.std(scatter, ddof=1) / width - 1) < 4 / math.sqrt(2 * (n - 1))


def test_an_uneven_and_warm_sensor_is_measured_as_its_fields_say():
    """Figures of all pixels together: sums of squares of rows, columns and pixels, of normal and telegraph noise.

    Over a region they are those of its own rows and pixels, which are few; with the whole sensor's they agree to the
    error of a standard deviation of 400 rows and columns, of which 3.5 % is one.
    """
    camera = AURORA.camera.evolve(
        shape=(400, 400), bits=12, gain_dn_per_e=0.3, black_level_dn=64.0, read_noise_e=5.0, telegraph_fraction=0.2,
        telegraph_e=10.0, dsnu_e=8.0, dsnu_row_e=4.0, dsnu_column_e=3.0, prnu=0.01, prnu_row=0.004, prnu_column=0.003,
        dark_current_spread_e_per_s=30.0, temperature_c=37.0, dark_current_doubling_k=6.0, hot_pixel_fraction=0.0,
        frame_rate_hz=1000.0,
    )  # fmt: skip
    exposure_s = 0.05
    bench = OpticalBench(with_camera(camera), seed=4)
    record = characterise_camera(
        bench, exposure_s=exposure_s, levels=8, frames_per_level=4, dark_frames_per_exposure=8, longest_dark_s=0.4
    )
    maps = camera.maps(4)
    assert record.gain_dn_per_e == pytest.approx(camera.gain_dn_per_e, rel=0.01)
    # Exponential amplitudes of 32 000 pixels: the mean of their squares to sqrt(5 / 32 000) = 1.3 %, of .44 of the sum.
    assert record.read_noise_e == pytest.approx(camera.temporal_dark_noise_e, rel=0.02)
    assert camera.temporal_dark_noise_e == pytest.approx(math.sqrt(25 + 20), rel=1e-12)
    assert record.dark_current_e_per_s == pytest.approx(4 * 125, rel=0.01)
    # The tail of the dark currents is not taken for hot pixels but for a few, which are left out.
    ordinary = np.ones((400, 400), dtype=bool)
    ordinary[tuple(record.hot_pixels.T)] = False
    assert ordinary.mean() > 0.98
    dark = (maps.offset_e.astype(float) + maps.dark_e(exposure_s))[ordinary.ravel()]
    for value, here, law in (
        (record.dsnu_e, dark.std(), math.sqrt(64 + 16 + 9 + (4 * 30 * exposure_s) ** 2)),
        (record.prnu, maps.gain.std(dtype=float) / maps.gain.mean(dtype=float), math.sqrt(1 + 0.16 + 0.09) / 100),
    ):
        assert value == pytest.approx(here, rel=0.015) and value == pytest.approx(law, rel=0.04)


def test_rounding_is_not_taken_for_read_noise():
    """8 bits, read noise of .5 DN: without the 1/12 DN^2 taken off, it would come out 15 % too large."""
    camera = AURORA.camera.evolve(read_noise_e=12.5, black_level_dn=10.0)
    record = characterise_camera(OpticalBench(with_camera(camera), seed=1), roi=ROI, confidence=0.9999)
    low, high = record.read_noise_interval
    assert low <= 12.5 <= high and high < 12.5 * math.sqrt(1 + 1 / 12 / 0.25) * 0.95
    assert record.read_noise_dn == pytest.approx(record.read_noise_e * record.gain_dn_per_e)


def test_read_noise_below_a_step_is_a_bound():
    """EMVA 1288: below .24 DN^2 of dark variance only a bound of .4 DN can be given."""
    camera = AURORA.camera.evolve(read_noise_e=2.0)
    with pytest.warns(UserWarning, match=r"Below 0.24 DN\^2 \(EMVA 1288, 6.5\) rounding hides it"):
        record = characterise_camera(OpticalBench(with_camera(camera), seed=1), roi=ROI)
    rows = {name: found for name, found, _ in summary(record)}
    assert record.below_rounding and rows["read noise"].startswith("not seen: below ")
    assert rows["intervals"].startswith("none: rounding hides") and " to " not in rows["gain"] + rows["DSNU"]
    assert record.read_noise_interval[0] == 0 and record.read_noise_interval[1] >= 0.4 / record.gain_dn_per_e
    assert holds(record, "read_noise", 2.0)


def test_without_the_temporal_part_taken_off_dsnu_would_be_wrong():
    """DSNU of 1 e- below a read noise of 7 e-: a mean of 4 dark frames scatters by 3.6 e- by noise alone."""
    device = preset("IMX174")
    record = characterise_camera(OpticalBench(device, seed=2), roi=ROI, dark_frames_per_exposure=4, confidence=0.9999)
    low, high = record.dsnu_interval
    assert low <= 1.0 <= high < 2.0


def test_uneven_lamp_is_not_taken_for_prnu():
    class Lamp:
        """A bench whose lamp falls off by a fifth across the region."""

        def __init__(self, bench):
            self.bench, self.sensor_shape = bench, bench.sensor_shape
            self.expose = bench.expose

        def flat_field(self, photons, *, exposure_s, n_frames=1, roi=None):
            # Each column lit by itself; frame numbers go on, so noise is fresh.
            row, column, n_rows, n_columns = roi
            shade = 1 - 0.2 * (np.arange(n_columns) / n_columns) ** 2
            return np.concatenate(
                [
                    self.bench.flat_field(
                        photons * s, exposure_s=exposure_s, n_frames=n_frames, roi=(row, column + j, n_rows, 1)
                    )
                    for j, s in enumerate(shade)
                ],
                axis=2,
            )

    roi = (500, 500, 64, 16)
    record = characterise_camera(
        Lamp(OpticalBench(AURORA, seed=4)), roi=roi, levels=10, frames_per_level=4, dark_frames_per_exposure=8,
        confidence=0.9999,
    )  # fmt: skip
    assert holds(record, "prnu", 0.01) and record.prnu < 0.012  # the lamp alone would give 0.06


def test_clipped_dark_pixels_are_counted():
    record = characterise_camera(OpticalBench(AURORA, seed=3), roi=ROI)
    # Mean 2 DN, standard deviation of DSNU and read noise .794 DN: below .5 DN with the normal law.
    expected = stats.norm.cdf((0.5 - 2.0 - 0.002) / math.hypot(0.6, 0.52))
    assert record.dark_clipped_share == pytest.approx(expected, abs=5 * math.sqrt(expected / 4096))


def test_hot_pixels_are_found_and_left_out():
    camera = AURORA.camera.evolve(hot_pixel_fraction=5e-3)
    bench = OpticalBench(with_camera(camera), seed=6)
    record = characterise_camera(bench, roi=ROI, confidence=0.9999)
    index = (np.arange(500, 564)[:, None] * 2040 + np.arange(500, 564)).ravel()
    hot = camera.maps(6, index).dark_e_per_s > 1000
    there = {divmod(int(k), 2040) for k in index[hot]}
    assert there and {tuple(pixel) for pixel in record.hot_pixels.tolist()} == there
    assert holds(record, "dark_current", 125.0)


def test_curve_follows_the_law():
    """Variance against level of the record itself: K^2 sigma_d^2 + 1/12 + K signal, to 5 standard errors."""
    record = characterise_camera(OpticalBench(preset("IMX174"), seed=8), roi=ROI)
    signal = record.level_dn - record.dark_level_dn
    law = 0.124**2 * 6.83**2 + 1 / 12 + 0.124 * signal
    few = signal < 0.8 * (record.saturation_dn - record.dark_level_dn)
    assert np.all(np.abs(record.variance_dn2 / law - 1)[few] < 5 * math.sqrt(2 / (7 * 4095)))


def test_two_frames_are_the_standards_formula():
    a, b = np.random.default_rng(0).normal(100, 3, (2, 40, 50)) + np.array([0.0, 5.0])[:, None, None]
    standard = np.mean((a - b) ** 2) / 2 - (a.mean() - b.mean()) ** 2 / 2
    assert gather(np.stack([a, b])).variance == pytest.approx(standard * 2000 / 1999)


def test_spatial_variance_is_unbiased():
    """Mean over 400 images of 16 x 16 pixels, 4 frames: 5 standard errors."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(400):
        frames = generator.normal(0, 2, (4, 16, 16)) + generator.normal(0, 1, (16, 16))
        moments = gather(frames)
        found.append(spatial_variance(moments.mean_image, moments.variance / 4)[0])
    assert abs(np.mean(found) - 1) < 5 * np.std(found) / 20


def test_record_survives_the_file(tmp_path):
    bench = OpticalBench(AURORA, seed=3)
    record = characterise_camera(bench, roi=(500, 500, 16, 16), levels=8, frames_per_level=2)
    write_record(tmp_path / "cal.h5", "camera", record, bench=bench)
    back = read_record(tmp_path / "cal.h5", "camera", CameraRecord, bench=bench)
    for name in CameraRecord.__dataclass_fields__:
        assert np.array_equal(getattr(back, name), getattr(record, name)), name
    assert type(record.prnu) is float and all(type(x) is float for x in record.prnu_interval)


def test_progress_counts_to_the_end():
    seen = []
    characterise_camera(
        OpticalBench(AURORA), roi=(0, 0, 8, 8), levels=8, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(i, 15) for i in range(1, 16)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": 3}, "levels is 3, but it must be a whole number from 8"),
        ({"frames_per_level": 1}, "frames_per_level is 1, but"),
        ({"confidence": 1.0}, "confidence is 1"),
        ({"exposure_s": 0.0}, "exposure_s is 0.0, but"),
        ({"longest_dark_s": 1e-4}, "longest_dark_s is 0.0001, but"),
        ({"roi": (0, 0, 2, 2)}, "must hold at least 64 pixels"),
        ({"roi": (0, 0, 2, 20000)}, "roi n_columns is 20000, but"),
        ({"longest_dark_s": 60.0}, "the dark current alone fills half of the range"),
    ],
)
def test_bad_arguments_are_sentences(change, message):
    with pytest.raises(ValueError, match=message):
        characterise_camera(OpticalBench(AURORA), **{"roi": (0, 0, 16, 16), **change})


def test_no_shot_noise_no_lamp_too_bright():
    with pytest.raises(ValueError, match="does not grow with its light, so the gain cannot be found"):
        characterise_camera(OpticalBench("ideal"), roi=(0, 0, 16, 16))

    class Broken:
        def __init__(self, factor):
            self.bench, self.factor = OpticalBench(AURORA), factor
            self.sensor_shape, self.expose = self.bench.sensor_shape, self.bench.expose

        def flat_field(self, photons, **rest):
            return self.bench.flat_field(min(photons * self.factor, 1e9), **rest)

    with pytest.raises(ValueError, match="flat field gives no light: its frames are as dark as dark frames"):
        characterise_camera(Broken(0.0), roi=(0, 0, 16, 16))
    with pytest.raises(ValueError, match="saturated already with 4 photons"):
        characterise_camera(Broken(1e6), roi=(0, 0, 16, 16))
    with pytest.raises(TypeError, match="bench is .* but it must have expose, flat_field"):
        characterise_camera(object())
