"""The benches that README and the pages describe are read without a word, and have the numbers that stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opusim import Device
from opusim.cli.line import drawing, lengths

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/plan_a_bench.md", "docs/reference/presets.md")


def benches(page: str) -> list[str]:
    """The TOML texts of a page that have a table of lengths."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [block for block in blocks if "\n[optics]" in block]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("page", PAGES)
def test_benches_of_the_pages_are_read_without_a_word(page):
    (text,) = benches(page)
    device = Device.from_toml(text)
    assert device.optics.by_lengths and device.pixel_over_grain > 0


def test_the_page_shows_what_info_tells():
    page = (ROOT / "docs/plan_a_bench.md").read_text(encoding="utf-8")
    device = Device.from_toml(benches("docs/plan_a_bench.md")[0])
    assert drawing(device) in page
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (.+) \|$", page, flags=re.MULTILINE))
    told = {name: value.replace("0.", ".") for name, value in lengths(device, 400e-6)}
    for name in ("angle a mirror", "grain", "pixel", "fringes", "off axis"):
        assert told[name].startswith(rows[name]), name
    assert told["light of a pixel"].startswith(rows["light of a pixel"].removesuffix(", in 400 µs"))
    assert "grains of 15.8 um" in benches("README.md")[0]


@pytest.mark.parametrize(
    ("camera", "grain_px", "snr", "least"), [("CMV2000", 2.88, 13.2, 0.521), ("IMX174", 2.70, 19.9, 0.556),
                                             ("IMX250", 4.59, 11.3, 0.327)],
)  # fmt: skip
def test_cameras_of_the_page_compare_as_it_says(camera, grain_px, snr, least):
    """By hand from the lengths and the sensors' data (EMVA 1288): signal over the root of its own variance, dark
    current, read noise and rounding, at 12 ms, with the efficiency .21 of the page, which gives a digit."""
    device = Device.from_toml(benches("docs/plan_a_bench.md")[0].replace('"IMX250"', f'"{camera}"'))
    sensor, exposure_s = device.camera, 12e-3
    ratio = sensor.pixel_pitch_m * 4e-3 / (632.8e-9 * 0.1)
    share = sensor.pixel_pitch_m**2 / (5.5e-6) ** 2 * (4e-3 / 10e-3) ** 2  # of the stated pixel's light
    photons = 7.95e-11 * share * 0.21 * 10e-3 * exposure_s / 2 / (6.62607015e-34 * 299792458 / 632.8e-9)
    signal = photons * sensor.quantum_efficiency
    warmer = (sensor.temperature_c - sensor.dark_current_stated_c) / sensor.dark_current_doubling_k
    variance = signal + sensor.dark_current_e_per_s * 2**warmer * exposure_s
    variance += sensor.read_noise_e**2 + sensor.telegraph_fraction * sensor.telegraph_e**2
    variance += 1 / 12 / sensor.gain_dn_per_e**2
    assert 1 / ratio == pytest.approx(grain_px, abs=6e-3) and 1.5 * ratio == pytest.approx(least, abs=6e-4)
    assert signal / variance**0.5 == pytest.approx(snr, abs=0.06)
    page = (ROOT / "docs/plan_a_bench.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| {camera}"))
    assert [float(cell) for cell in row.strip("| ").split("|")[1:]] == [grain_px, snr, least]
