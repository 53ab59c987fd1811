"""The camera's parameters and arguments, the address of its noise, and its presets.

Seeds are fixed; each bound of five standard errors would raise a false alarm with probability 6e-7 for a new seed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import tomllib
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opusim.device.camera import Camera, SensorMaps
from opusim.device.camera_kernels import BLOCK, develop_block, make_scratch
from shooting import EXPOSURE_S, REAL, SIDE, shoot

N = SIDE * SIDE
FIVE = 5 / math.sqrt(N)  # five standard errors of a correlation

# ---------------------------------------------------------------------- independence, and the address of noise


def correlation(a, b):
    return abs(np.corrcoef(np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64))[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("photons", [4.0, 1000.0])
def test_noise_is_independent_over_frames_seeds_and_pixels(photons):
    camera = REAL.evolve(prnu=0.0, dsnu_e=0.0, hot_pixel_fraction=0.0)
    frames = shoot(camera, photons, frames=3)
    a = frames[0].reshape(SIDE, SIDE)
    assert correlation(frames[0], frames[1]) < FIVE
    assert correlation(frames[0], frames[2]) < FIVE
    assert correlation(frames[0], shoot(camera, photons, seed=2)) < FIVE
    assert correlation(frames[0], shoot(camera, photons, frame0=2**32)) < FIVE
    assert correlation(frames[0], shoot(camera, photons, frame0=2**62)) < FIVE
    for rows, columns in ((0, 1), (1, 0), (1, 1), (0, 2), (0, BLOCK)):
        left = a[: SIDE - rows, : SIDE - columns]
        assert correlation(left, a[rows:, columns:]) < FIVE * 1.5
        assert correlation(left**2.0, a[rows:, columns:] ** 2.0) < FIVE * 1.5


UNEVEN = {
    "dsnu_row_e": 5.0, "dsnu_column_e": 3.0, "prnu_row": 0.01, "prnu_column": 0.02, "telegraph_fraction": 0.3,
    "telegraph_e": 20.0, "nonlinearity": 0.05, "dark_current_spread_e_per_s": 90.0, "temperature_c": 60.0,
    "dark_current_doubling_k": 6.0,
}  # fmt: skip


@pytest.fixture(scope="module", params=[{}, UNEVEN], ids=["plain", "uneven"])
def sequence(request):
    """Seven frames of speckle from dim to bright, and their counts."""
    generator = np.random.default_rng(8)
    light = generator.exponential(1.0, (7, 5000)) * np.array([1, 5, 10, 20, 100, 1000, 10_000.0])[:, None]
    camera = REAL.evolve(shape=(50, 100), **request.param)
    maps = camera.maps(3)
    return camera, maps, light.astype(np.float32), camera.expose(light, exposure_s=EXPOSURE_S, seed=3, maps=maps)


def test_a_seed_gives_the_counts_it_gave():
    # The same bits on every processor (seen with SSE2, AVX2 and AVX-512 code). A change of this number is a change
    # of what every seed gives: it belongs in the changelog, and papers and calibrations depend on it.
    camera = REAL.evolve(shape=(64, 64))
    light = np.ldexp(np.float32(0.25), np.arange(4096) // 256)
    counts = [
        c.expose(light, exposure_s=1e-3, seed=20, maps=c.maps(20), frame0=5).tobytes()
        for c in (camera, camera.evolve(bits=8), camera.evolve(quantise=False))
    ]
    assert hashlib.sha256(b"".join(counts)).hexdigest()[:16] == "b46995c38a9bb7d2"


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_no_bit(sequence, threads):
    camera, maps, light, counts = sequence
    again = camera.expose(light, exposure_s=EXPOSURE_S, seed=3, maps=maps, threads=threads)
    np.testing.assert_array_equal(again, counts)


@settings(max_examples=40, deadline=None)
@given(
    first=st.integers(0, 6), last=st.integers(0, 7), row=st.integers(0, 49), column=st.integers(0, 99),
    rows=st.integers(1, 50), columns=st.integers(1, 100),
)  # fmt: skip
def test_a_window_of_some_frames_has_the_same_bits(sequence, first, last, row, column, rows, columns):
    camera, _, light, counts = sequence
    place = np.arange(5000).reshape(50, 100)[row : row + rows, column : column + columns].ravel()
    maps = camera.maps(3, place)
    part = camera.expose(light[first:last][:, place], exposure_s=EXPOSURE_S, seed=3, maps=maps, frame0=first)
    np.testing.assert_array_equal(part, counts[first:last][:, place])


def test_pixels_in_any_order_have_the_same_bits(sequence):
    camera, _, light, counts = sequence
    order = np.random.default_rng(1).permutation(5000)
    maps = camera.maps(3, order)
    part = camera.expose(light[:, order], exposure_s=EXPOSURE_S, seed=3, maps=maps)
    np.testing.assert_array_equal(part, counts[:, order])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("m", [1, 7, BLOCK - 1, BLOCK])
def test_a_block_can_be_developed_alone(sequence, dtype, m):
    camera, maps, light, _ = sequence
    camera = camera.evolve(bits=8 if dtype == np.uint8 else 12, quantise=dtype != np.float32)
    whole = camera.expose(light, exposure_s=EXPOSURE_S, seed=3, maps=maps)
    out = np.full(2 * BLOCK, 77, dtype)
    key0, key1 = camera.noise_key(3)
    buffer = np.r_[np.float32(0), light[4, 300 : 300 + m]]
    develop_block(
        buffer, 1, m, maps.gain, maps.dark_e(EXPOSURE_S), maps.offset_e, maps.telegraph_e, maps.pixels, 300,
        np.uint64(4), key0, key1, camera.params(), make_scratch(), out, 5,
    )  # fmt: skip
    np.testing.assert_array_equal(out[5 : 5 + m], whole[4, 300 : 300 + m])
    assert (out[:5] == 77).all() and (out[5 + m :] == 77).all()


def test_any_real_array_is_taken(sequence):
    camera, maps, light, counts = sequence
    frozen = light.copy()
    frozen.flags.writeable = False
    for given_ in (light.astype(np.float64), np.asfortranarray(light), frozen, light[::-1][::-1], light.tolist()):
        np.testing.assert_array_equal(camera.expose(given_, exposure_s=EXPOSURE_S, seed=3, maps=maps), counts)
    one = camera.expose(light[0], exposure_s=EXPOSURE_S, seed=3, maps=maps)
    np.testing.assert_array_equal(one, counts[0])
    assert camera.expose(light[:0], exposure_s=EXPOSURE_S, seed=3, maps=maps).shape == (0, 5000)
    none = camera.maps(3, [])
    assert camera.expose(np.empty((2, 0), np.float32), exposure_s=1.0, seed=3, maps=none).shape == (2, 0)


# ---------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "seen", [lambda a: np.repeat(a, 2)[::2], lambda a: a[::-1].copy()[::-1], lambda a: a.astype(np.float64)],
    ids=["with gaps", "backwards", "double precision"],
)  # fmt: skip
def test_maps_may_lie_in_memory_as_they_like(seen):
    camera = REAL.evolve(telegraph_fraction=0.5, telegraph_e=3.0)
    maps = camera.maps(7, np.arange(300))
    fields = [field.name for field in dataclasses.fields(SensorMaps)]
    other = SensorMaps(**{name: seen(getattr(maps, name)) for name in fields})
    photons = np.linspace(0, 500, 600, dtype=np.float32).reshape(2, 300)
    given = {"exposure_s": EXPOSURE_S, "seed": 7}
    assert np.array_equal(camera.expose(photons, maps=other, **given), camera.expose(photons, maps=maps, **given))
    assert np.array_equal(other.gain, maps.gain) and other.gain.flags.c_contiguous and other.gain.dtype == np.float32


def test_maps_of_other_lengths_are_refused_in_a_sentence():
    maps = REAL.maps(7, np.arange(30))
    with pytest.raises(ValueError, match="gain has 29 values, but pixels has 30"):
        dataclasses.replace(maps, gain=maps.gain[1:])
    assert dataclasses.replace(maps, telegraph_e=np.empty(0, np.float32)).telegraph_e.size == 0


def test_a_sensor_has_four_billion_pixels_at_most():
    with pytest.raises(ValueError, match=r"camera\.shape is \(70000, 70000\), but a sensor may have at most 2"):
        REAL.evolve(shape=(70_000, 70_000))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"photons": [[1.0, np.nan]]}, ValueError, ["photons", "nan", "finite", "at least 0"]),
        ({"photons": [[1.0, np.inf]]}, ValueError, ["photons", "inf", "finite"]),
        ({"photons": [[1.0, 1e300]]}, ValueError, ["photons", "inf", "finite"]),
        ({"photons": [[1.0, -1e-9]]}, ValueError, ["photons reaches from -1e-09 to 1", "at least 0"]),
        ({"photons": [[1.0, 1.0, 1.0]]}, ValueError, ["photons", "(1, 3)", "(2,) or (frames, 2)"]),
        ({"photons": 1.0}, ValueError, ["photons", "()"]),
        ({"photons": [[1j, 1.0]]}, TypeError, ["photons", "complex128", "real"]),
        ({"photons": ["a", "b"]}, TypeError, ["photons", "real"]),
        ({"exposure_s": -1.0}, ValueError, ["exposure_s is -1.0"]),
        ({"exposure_s": np.nan}, ValueError, ["exposure_s is nan"]),
        ({"seed": -3}, ValueError, ["seed is -3"]),
        ({"frame0": -1}, ValueError, ["frame0 is -1"]),
        ({"frame0": 1.0}, TypeError, ["frame0 is 1.0"]),
        ({"threads": 0}, ValueError, ["threads is 0"]),
        ({"maps": None}, TypeError, ["maps is None", "Camera.maps"]),
    ],
)
def test_bad_exposures_are_refused_in_a_sentence(change, error, words):
    arguments = {"photons": [[1.0, 2.0]], "exposure_s": 1e-3, "seed": 0, "maps": REAL.maps(0, [0, 1]), **change}
    with pytest.raises(error) as caught:
        REAL.expose(arguments.pop("photons"), **arguments)
    assert all(word in str(caught.value) for word in words)
    assert shoot(REAL, 100.0).size == N  # and the camera stays usable


@pytest.mark.parametrize("pixels", [[-1], [N], [[0, 1]], [0.5], ["a"]])
def test_bad_pixels_are_refused_in_a_sentence(pixels):
    with pytest.raises((TypeError, ValueError), match="pixels"):
        REAL.maps(0, pixels)


def test_timing():
    camera = REAL.evolve(shape=(1088, 2040), frame_rate_hz=340.0)
    assert camera.readout_s(1088) == pytest.approx(1 / 340)
    assert camera.readout_s(64) == pytest.approx(64 * camera.row_time_s)
    with pytest.raises(ValueError, match=r"n_rows is 1089, but it must be a whole number from 1 to 1088"):
        camera.readout_s(1089)


def test_a_camera_is_a_plain_record():
    assert Camera(**REAL.to_dict()) == REAL
    assert isinstance(REAL.maps(0, [1]), SensorMaps) and len(REAL.maps(0, [1, 2])) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        REAL.bits = 8  # type: ignore[misc]


# ---------------------------------------------------------------------- presets

PRESETS = {"cmv2000", "cmv4000", "imx174", "imx250", "imx252", "zyla-4.2", "flash4.0-v3"}


def preset(name):
    text = (resources.files("opusim") / "presets" / "cameras" / f"{name}.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    assert table.pop("version") == 2 and table.pop("description")
    return Camera(**table)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_cameras_that_use_their_range(name):
    camera = preset(name)
    dark = shoot(camera.evolve(shape=(100, 100)), 0.0)
    assert (dark == 0).mean() < 0.05  # dark noise is hardly cut off
    # Full well reaches full scale, or a good part of it: no bits are wasted, no well is left unread but at high gain.
    assert camera.black_level_dn + camera.gain_dn_per_e * camera.full_well_e > 0.95 * camera.full_scale_dn


def test_cmv2000_has_the_noise_of_the_real_device():
    # The OPU's examples: 1.0 to 1.2 grey levels rms in time, at a mean of 21.6 over the speckle.
    camera = preset("cmv2000").evolve(shape=(SIDE, SIDE))
    maps = camera.maps(1)
    light = np.random.default_rng(5).exponential(1.0, N) * (21.6 - 2.6) / 0.04 / 0.6
    a, b = (camera.expose(light, exposure_s=EXPOSURE_S, seed=1, maps=maps, frame0=i).astype(np.float64) for i in (0, 1))
    assert a.mean() == pytest.approx(21.6, abs=0.2)
    assert 1.0 < np.std(a - b) / math.sqrt(2) < 1.2


def test_a_scale_that_ends_beyond_single_precision():
    """Kernels take single precision, 1e-38 to 3e38: a scale that ends above is endless, a bent one below refused."""
    with np.errstate(over="raise", invalid="raise"):
        for changes in (
            {"gain_dn_per_e": 1e-38},
            {"full_well_e": 1e200},
            {"gain_dn_per_e": 1e-38, "nonlinearity": 0.1},
        ):
            endless = REAL.evolve(**{"full_well_e": 1e200, "quantise": False, **changes})
            assert np.isfinite(shoot(endless, 100.0)).all()
        for nonlinearity in (0.2, -0.2):
            assert np.isfinite(REAL.evolve(full_well_e=1e-30, nonlinearity=nonlinearity).params()).all()
    words = (
        r"camera.nonlinearity is 0.1, but the scale of this camera ends at 1e-200 e, .*full_well_e = 1e-200 .*1e-30 e"
    )
    with pytest.raises(ValueError, match=words):
        REAL.evolve(full_well_e=1e-200, gain_dn_per_e=1e-38, nonlinearity=0.1)
