"""Examples of the page on phases and wavelength run, and give the numbers that stand there."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from opusim import Device
from opusim.patterns import lee_stop

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "phases_and_wavelength.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.filterwarnings("error")
def test_devices_of_the_page_are_read_without_a_word():
    slm, stopped = (Device.from_toml(text) for text in blocks("toml"))
    assert (slm.modulator.kind, slm.modulator.name, slm.name) == ("slm", "PLUTO-2.1", "SLM bench")
    assert stopped.fourier_stop == Device.load("aurora").evolve(**lee_stop((0.11, 0.13), 0.1)).fourier_stop


def test_contrasts_of_the_page_are_those_of_the_device():
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == 4
    for ghz, contrast in rows:
        device = Device.load("aurora").evolve(**{"laser.linewidth_hz": 1e9 * float(ghz)})
        assert device.line_contrast == pytest.approx(float(contrast), abs=6e-4)


@pytest.mark.slow
def test_examples_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("slm.toml").write_text(blocks("toml")[0], encoding="utf-8")
    names: dict[str, object] = {"__name__": "example"}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for code in blocks("python"):
            exec(compile(code, "docs/phases_and_wavelength.md", "exec"), names)
    lines = out.getvalue().splitlines()
    slm, reservoir, focus, hologram, *contrasts, lock, still, ten, hour, piezo = (
        [float(number) for number in re.findall(r"(?<![\w.-])-?\d+\.?\d*(?:e[+-]?\d+)?", line)] for line in lines
    )
    assert slm[-2] == pytest.approx(15.9, abs=0.2) and reservoir[-2] == pytest.approx(42.1, abs=0.5)
    assert slm[-1] == reservoir[-1] == pytest.approx(0.4)
    # An enhancement over 16 targets, each of which scatters as the powers of its row do.
    assert focus[1] == pytest.approx(50.5, abs=0.1) and 0.85 * focus[1] < focus[0] < 1.1 * focus[1]
    assert hologram[0] > 8 and len(contrasts) == 4
    # The law: frequency x (expansion + change of the index) x kelvins, the other way.
    assert lock[0] < 0.75 and lock[1] > 0.99 and lock[2] == pytest.approx(-299792458 / 532e-9 * 2e-5 * 10, rel=0.01)
    assert still[1] > 0.999 > 0.99 > ten[1] > hour[1] > 0.9
    assert piezo[1] == pytest.approx(5.4e-3)
