"""The files of `opusim/presets`: a mark and a source for each value, and values that agree with each other.

What is verified stands in the table of facts, section 4 of docs/physics.md. What was computed is computed again here.
"""

from __future__ import annotations

import math
import re
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from opusim.base.parameters import parameters_of
from opusim.device.camera import Camera
from opusim.device.record import Device
from opusim.theory import blaze_efficiency
from tests.support.emva_release4 import TABULATED, sheet_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(str(resources.files("opusim"))) / "presets"
FILES = sorted(FOLDER.rglob("*.toml"))
MARK = re.compile(r"(V|F|C|I|R|R-hi|R-lo)(:|$)")
LINE = re.compile(r"(?P<key>\w+) = (?P<value>.*?)\s*(?:#\s*(?P<comment>.*))?")
# What a file says of itself, and not of a device.
LABELS = {"name", "version", "description"}
# Of a camera's fields those that say how it is used or simulated, and not what it is; and a curve, which no source has.
OF_THE_MODEL = {"quantise", "shot_noise", "polarised", "pixel_over_grain", "qe_wavelengths_m", "qe_values"}
NEWEST_CAMERAS = sorted(file.stem for file in (FOLDER / "cameras").glob("*.toml") if "@" not in file.stem)
DEVICES = ("aurora", "aurora-type1", "aurora-type3")


def lines_of(file: Path) -> list[tuple[str, str, str]]:
    """Return path, value as TOML has it, and comment of each line that gives a value."""
    result, table = [], ""
    for text in file.read_text(encoding="utf-8").splitlines():
        if head := re.fullmatch(r"\[(\w+)\]", text.strip()):
            table = f"{head[1]}."
        elif text and not text.startswith((" ", "#")):
            found = LINE.fullmatch(text)
            assert found, f"{file.name}: {text!r} is no line that this test reads"
            result.append((table + found["key"], found["value"], found["comment"] or ""))
    return result


def value_of(text: str) -> object:
    return tomllib.loads(f"x = {text}")["x"]


def camera_of(name: str) -> Camera:
    return Device.from_dict({"preset": "aurora", "camera": {"preset": name}}).camera


def dmd_of(name: str):
    return Device.from_dict({"preset": "aurora", "dmd": {"preset": name}, "operation": {"ones_range": [0, 1]}}).dmd


# ---------------------------------------------------------------- marks and facts


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_value_has_a_mark(file):
    """Of `ideal` each value is the one at which its field does nothing; of version 1 some are what it did."""
    off = {
        f"{stage}.{name}": about.off
        for stage in ("laser", "dmd", "medium", "camera", "reference", "optics", "operation")
        for name, about in parameters_of(type(getattr(Device.load("ideal"), stage))).items()
        if about.off is not None
    }
    missing = []
    for path, value, comment in lines_of(file):
        if path in LABELS or path == "preset" or MARK.match(comment):
            continue
        if file.stem.startswith("ideal") and (path == "camera.black_level_dn" or value_of(value) == off[path]):
            continue
        if "@" in file.stem and comment.startswith("what version 1 did"):
            continue
        missing.append(f"{path} = {value}  # {comment}")
    assert not missing


def facts() -> dict[tuple[str, str], object]:
    """Return the rows of the table of facts whose quantity is a field, by part and field."""
    text = (ROOT / "docs" / "physics.md").read_text(encoding="utf-8")
    table = text[text.index("### Facts") : text.index("What follows from them:")]
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in table.splitlines() if line.startswith("| ")]
    assert rows[0] == ["part", "quantity", "value", "source"] and all(len(row) == 4 and all(row) for row in rows)
    return {(row[0], row[1].strip("`")): value_of(row[2].strip("`")) for row in rows if row[1].startswith("`")}


def test_what_is_verified_stands_in_the_table_of_facts_and_nothing_else():
    marked = {}
    for file in FILES:
        if "@" in file.stem:
            continue
        name = tomllib.loads(file.read_text(encoding="utf-8"))["name"]
        for path, value, comment in lines_of(file):
            if comment.startswith("V"):
                marked[name, path] = value_of(value)
    assert marked == facts()


@pytest.mark.parametrize("name", NEWEST_CAMERAS)
def test_a_camera_gives_each_of_its_fields(name):
    """None is left to a default, which would have no source."""
    given = {path for path, _, _ in lines_of(FOLDER / "cameras" / f"{name}.toml")} - {"version", "description"}
    assert given == set(parameters_of(Camera)) - OF_THE_MODEL


# ---------------------------------------------------------------- cameras


@pytest.mark.parametrize(
    "name, dsnu_e, prnu",
    [("CMV2000", 15, 0.010), ("CMV4000", 15, 0.010), ("IMX174", 1, 0.005), ("IMX250", 0.5, 0.005),
     ("IMX252", 0.5, 0.005), ("Zyla-4.2", 0.3, 0.002), ("Flash4.0-V3", 0.3, 0.002)],
)  # fmt: skip
def test_rows_columns_and_pixels_add_up_to_what_was_stated(name, dsnu_e, prnu):
    """Within 1 %: half of the last digit of the parts."""
    camera, before = camera_of(name), camera_of(f"{name}@1")
    parts = camera.dsnu_e, camera.dsnu_row_e, camera.dsnu_column_e
    assert math.hypot(*parts) == pytest.approx(dsnu_e, rel=0.01) and before.dsnu_e == dsnu_e
    assert math.hypot(camera.prnu, camera.prnu_row, camera.prnu_column) == pytest.approx(prnu, rel=0.01)
    assert before.prnu == prnu


# Bars on frames (benchmarks/emva_peers.py) for gain, efficiency, dark noise, saturation; presets are rounded to 1e-4.
BARS = {"gain_dn_per_e": 1.5e-3, "quantum_efficiency": 2e-3, "dark_noise_e": 6e-3, "saturation_e": 5e-3}


@pytest.mark.parametrize("name", NEWEST_CAMERAS)
def test_the_lines_of_the_standard_give_what_the_sheet_has(name):
    """Sums over the levels of release 4 (tests/support/emva_release4.py), which know nothing of how a preset was made.

    A tenth of the bars on frames. The CMV2000 is the exception: its fields are those of the OPU, with a gain that no
    sheet has; its lines are within 1 % of them, 4 a = .008.
    """
    camera = camera_of(name)
    given = sheet_of(camera)
    if name not in TABULATED:
        assert name == "cmv2000"
        fields = camera.gain_dn_per_e, camera.quantum_efficiency, camera.temporal_dark_noise_e
        assert (given.gain_dn_per_e, given.quantum_efficiency, given.dark_noise_e) == pytest.approx(fields, rel=0.01)
        return
    for what, bar in BARS.items():
        stated = getattr(TABULATED[name], what)
        assert stated is None or getattr(given, what) == pytest.approx(stated, rel=bar / 10), what


def test_lines_of_a_bent_response_are_tilted_as_the_closed_form_says():
    """To first order in a: gain K (1 + 4a (1 - 3w)), responsivity K q (1 + 4a (1 - w)), w = sum u^3 / sum u^2.

    With a = 1e-4 what is left is of the order of (4a)^2, and of rounding a Poisson number's parabola, 4a / E.
    """
    a, camera = 1e-4, camera_of("IMX174")
    straight, bent = (sheet_of(camera.evolve(nonlinearity=value)) for value in (0.0, a))
    assert straight.gain_dn_per_e == pytest.approx(camera.gain_dn_per_e, rel=1e-12)
    assert straight.quantum_efficiency == pytest.approx(camera.quantum_efficiency, rel=1e-12)
    # 42 of 60 levels end at .7 of the last one, and a signal that is bent downwards is above it there: 41 are in.
    levels = np.arange(1, 42) / 60 * straight.saturation_e / camera.full_well_e
    w = np.sum(levels**3) / np.sum(levels**2)
    gain = bent.gain_dn_per_e / camera.gain_dn_per_e - 1
    response = bent.quantum_efficiency / camera.quantum_efficiency * (1 + gain) - 1
    assert gain == pytest.approx(4 * a * (1 - 3 * w), rel=2e-3)
    assert response == pytest.approx(4 * a * (1 - w), rel=2e-3)
    assert bent.dark_noise_e == pytest.approx(camera.temporal_dark_noise_e / (1 + gain), rel=1e-12)


@pytest.mark.parametrize("name, core_e", [("Zyla-4.2", 0.9), ("Flash4.0-V3", 1.0)])
def test_read_noise_is_the_core_and_the_median_of_the_sheet(name, core_e):
    """Of scientific cameras, by the gain of the standard's line, to the last digit of the preset."""
    camera = camera_of(name)
    by_line = camera.read_noise_e * camera.gain_dn_per_e / sheet_of(camera).gain_dn_per_e
    assert by_line == pytest.approx(core_e, rel=1e-3)


@pytest.mark.parametrize(
    "name, snr_db, range_db, tolerance_db",
    [("IMX250", 40.3, 71.2, 0.05), ("IMX252", 40.3, 71.2, 0.05), ("IMX174", 45.1, 73.0, 0.5)],
)
def test_full_well_and_read_noise_are_those_of_the_stated_decibels(name, snr_db, range_db, tolerance_db):
    """EMVA 1288: largest SNR sqrt(mu_sat), dynamic range mu_sat over the charge of SNR 1, which holds rounding too.

    All by the standard's lines.

    To the last digit that is printed; for the IMX174 two makers' cameras are compared, whose gains may differ.
    """
    sheet = sheet_of(camera_of(name))
    assert sheet.saturation_e and sheet.dark_noise_e and sheet.gain_dn_per_e
    least_e = math.sqrt(sheet.dark_noise_e**2 + 1 / 12 / sheet.gain_dn_per_e**2) + 0.5
    assert 10 * math.log10(sheet.saturation_e) == pytest.approx(snr_db, abs=0.05)
    assert 20 * math.log10(sheet.saturation_e / least_e) == pytest.approx(range_db, abs=tolerance_db)


@pytest.mark.parametrize("name", ["CMV4000", "IMX174", "IMX250", "IMX252"])
def test_full_scale_is_the_full_well(name):
    """By the sensor's own gain; that of the CMV4000 is .4 % above its sheet's, as its response is bent."""
    camera = camera_of(name)
    assert camera.full_scale_e == pytest.approx(camera.full_well_e, rel=0.004)


def dark_share(camera: Camera, exposure_s: float) -> float:
    """Return the share of the dark counts that read 0, level + K x below 1/2, of pixels that are not hot.

    x is the sum of a Poisson number of dark electrons (the spread of their mean from pixel to pixel, less than an
    electron, is left out), a normal number, and in pixels with telegraph noise -A or A in a quarter of the frames each,
    with an exponential law of A over the pixels.
    """
    limit_e = (0.5 - camera.black_level_dn) / camera.gain_dn_per_e
    doublings = (camera.temperature_c - camera.dark_current_stated_c) / camera.dark_current_doubling_k
    mean_e = camera.dark_current_e_per_s * 2**doublings * exposure_s
    sigma_e = math.hypot(camera.read_noise_e, camera.dsnu_e, camera.dsnu_row_e, camera.dsnu_column_e)
    n = np.arange(40)
    weights = stats.poisson.pmf(n, mean_e)

    def below(shift_e: float) -> float:
        return float(weights @ stats.norm.cdf((limit_e - n - shift_e) / sigma_e))

    still, fraction, mean = below(0.0), camera.telegraph_fraction, camera.telegraph_e
    if not fraction or not mean:
        return still
    jumped, _ = integrate.quad(lambda a: (below(-a) + below(a)) / 2 * math.exp(-a / mean) / mean, 0, 40 * mean)
    return still + fraction / 2 * (jumped - still)


CAMERAS_IN_USE = [*((name, camera_of(name)) for name in NEWEST_CAMERAS), *((n, Device.load(n).camera) for n in DEVICES)]


@pytest.mark.parametrize("camera", [c for _, c in CAMERAS_IN_USE], ids=[n for n, _ in CAMERAS_IN_USE])
def test_at_most_a_two_hundredth_of_the_dark_counts_read_0(camera):
    """EMVA 1288 asks for an offset that leaves .5 % of the pixels at 0; in closed form, and the whole sensor's frame.

    A frame has at least two million pixels, and 1088 rows and columns share an offset: with 7 of 20 electrons shared by
    a column, the share of a column varies by about as much as it is, and the mean over 2000 by a fortieth.
    """
    exposure_s = 400e-6
    expected = dark_share(camera, exposure_s)
    assert expected <= 0.005
    maps = camera.maps(seed=3)
    frame = camera.expose(np.zeros(camera.n_pixels, np.float32), exposure_s=exposure_s, seed=3, maps=maps, threads=2)
    share = np.mean(frame == 0)
    assert share <= 0.005
    assert share == pytest.approx(expected, rel=0.12, abs=20 / camera.n_pixels)


def test_the_black_level_of_aurora_is_no_higher_than_it_needs_to_be():
    """.1 below, rounded to a tenth as it is, it would break the rule; version 1 does, with 2.9 %."""
    camera = Device.load("aurora").camera
    assert dark_share(camera.evolve(black_level_dn=camera.black_level_dn - 0.1), 400e-6) > 0.005
    assert dark_share(Device.load("aurora@1").camera, 400e-6) == pytest.approx(0.029, abs=0.001)


@pytest.mark.parametrize("page", ["README.md", "docs/measured_matrix.md"])
def test_examples_of_a_measured_matrix_in_aurora_have_its_light(page):
    """A medium that does not say its transmission has the default, which is another light level than the preset's."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    tables = [tomllib.loads(block) for block in blocks if 'kind = "measured"' in block]
    given = [table["medium"].get("transmission") for table in tables if table["preset"] == "aurora"]
    assert given == [Device.load("aurora").medium.transmission]


# ---------------------------------------------------------------- mirrors


@pytest.mark.parametrize("pitch_m", [7.637e-6, 13.68e-6])
@pytest.mark.parametrize("fill", [1.0, 0.92])
def test_an_order_holds_what_the_integral_over_a_mirror_gives(pitch_m, fill):
    """The amplitude of each order by the midpoint rule over the mirror, which is right to 1e-4 with 64 points a side.

    All orders together hold what the mirrors reflect, the fill factor, by Parseval's theorem, and the nearest one is
    the brightest. Orders up to 28 away leave out about 1 / (pi^2 28), .4 %, on either axis, and the rule as much more.
    """
    p = math.sin(math.radians(24)) * pitch_m / math.sqrt(2) / 532e-9
    side = math.sqrt(fill)
    x = ((np.arange(64) + 0.5) / 64 - 0.5) * side
    orders = np.arange(round(p) - 60, round(p) + 61)
    amplitude = np.exp(2j * np.pi * (p - orders[:, None]) * x).mean(axis=1) * side
    # The rule repeats itself with its own number of points a side: only orders well below it are compared and summed.
    near = np.abs(orders - p) < 28
    power = np.multiply.outer(np.abs(amplitude[near]) ** 2, np.abs(amplitude[near]) ** 2)
    order, blaze, efficiency = blaze_efficiency(pitch_m, 532e-9, fill=fill)
    assert order == round(p) and blaze == pytest.approx(1 - 2 * abs(p - order), abs=1e-12)
    assert power.max() == pytest.approx(efficiency, rel=1e-3)
    assert np.unravel_index(power.argmax(), power.shape) == (int(np.flatnonzero(orders[near] == order)[0]),) * 2
    assert power.sum() == pytest.approx(fill, rel=0.03)


@pytest.mark.parametrize(
    "name, wavelength_m, fill, mirror, window, blaze",
    [
        ("DLP4500", 532e-9, 0.92, 0.88, 0.96**2, 0.74), ("DLP6500", 532e-9, 0.92, 0.88, 0.97**2, 0.83),
        ("DLP7000", 532e-9, 0.92, 0.88, 0.97**2, 0.21), ("DLP9500", 532e-9, 0.92, 0.88, 0.97**2, 0.68),
        ("DLP650LNIR", 1064e-9, 0.94, 0.94, 0.93**2, 0.84),
    ],
)  # fmt: skip
def test_efficiency_is_that_of_one_order(name, wavelength_m, fill, mirror, window, blaze):
    """As the comment beside it says: fill, squared, blaze, mirror and window, squared. To half of the last digit."""
    dmd = dmd_of(name)
    _, mu, share = blaze_efficiency(dmd.pitch_m, wavelength_m, fill=fill)
    assert mu == pytest.approx(blaze, abs=0.0051)
    assert dmd.efficiency == pytest.approx(share * mirror * window, abs=0.0051)
    comments = {path: comment for path, _, comment in lines_of(FOLDER / "dmds" / f"{name.lower()}.toml")}
    assert f"at {1e9 * wavelength_m:.0f} nm" in comments["efficiency"]


@pytest.mark.parametrize(
    "wrong, sentence",
    [({"pitch_m": 0.0}, "pitch_m is 0.0"), ({"wavelength_m": -1e-9}, "wavelength_m is -1e-09"),
     ({"fill": 1.2}, "fill is 1.2"), ({"tilt_rad": 3.0}, "tilt_rad is 3.0")],
)  # fmt: skip
def test_a_blaze_of_nothing_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        blaze_efficiency(**{"pitch_m": 1e-5, "wavelength_m": 5e-7, **wrong})


def test_a_part_in_a_device_of_an_older_version_is_that_of_its_time():
    """And one that is named with a version is that one, with fields that came later as they were."""
    text = 'preset = "aurora@1"\noperation.ones_range = [0, 1]\n[camera]\npreset = "IMX250"\n[dmd]\npreset = "DLP7000"'
    older = Device.from_toml(text)
    assert (older.camera.read_noise_e, older.dmd.efficiency) == (1.8, 0.65)
    assert older.description.startswith("aurora, changed: dmd DLP7000@1, camera IMX250@1")
    newer = Device.from_toml(text.replace("IMX250", "IMX250@2"))
    assert (newer.camera.read_noise_e, newer.camera.telegraph_fraction) == (2.294, 0.0)
    now = Device.from_toml(text.replace("aurora@1", "aurora"))
    assert (now.camera.read_noise_e, now.dmd.efficiency) == (2.294, 0.26)
    assert now.description.startswith("aurora, changed: dmd DLP7000, camera IMX250")
