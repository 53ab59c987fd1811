"""The reference program of EMVA 1288 on frames of every camera preset, against the values of the preset.

    pip install "emva1288==1.0.2" "numpy<2"        # beside opusim; .ci/peers emva does it
    python benchmarks/emva_peers.py                # five minutes
    python benchmarks/emva_peers.py --cameras cmv2000 imx174 --side 512

`emva1288` is the standard's own program; its versions 1 are of release 4. It calls numpy's `asfarray`, which numpy 2
does not have. It gets frames of a bench with the camera under an even lamp (`OpticalBench.flat_field`), as the standard
has them taken:

- one exposure and 60 levels of light, of which the brightest saturates .15 % of the pixels, two frames each, with a
  stack of 100 frames in the dark and one at half of saturation: gain, quantum efficiency, temporal dark noise,
  linearity, DSNU and PRNU with their rows, columns and pixels (sections 6 and 8);
- exposures that grow, two frames dark and two lit: dark current by mean and by variance (section 7), at the preset's
  temperature and, where the dark current follows it, 10 K above and below; a second dark stack at the longest one, for
  the DSNU that grows with the exposure.

The sensor `every` has all imperfections at once, whichever the presets have.

"preset" is what the preset says. "expected" is what follows from it by closed forms, with its standard error in one
sensor where it is met by chance, as the spread of a thousand rows: what a straight line makes of the parabola of a
sensor that is not linear, say. "this sensor" is what follows from the fixed pattern of the sensor at hand, also where a
dark level is cut off at 0; it must lie within five of those standard errors and the bar. "program" must lie within the
bar of this sensor; "error" is its standard error by the noise of the frames. "sheet" is what the part's data sheet has,
by such lines, and in brackets how far the program is from it: within the bar, too, and five standard errors of one
sensor. The formulas of release 4 are computed once more in numpy (tests/support/emva_release4.py) on the same frames.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from emva1288.process import routines
from emva1288.process.data import Data1288
from emva1288.process.loader import LoadImageData
from emva1288.process.parser import ParseEmvaDescriptorFile
from emva1288.process.results import Results1288
from PIL import Image
from scipy import special

import opusim
from opusim import Device, OpticalBench
from opusim.device.camera import Camera, SensorMaps
from opusim.device.toml import presets

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the clone, for tests.support

from tests.support import emva_release4 as release4  # noqa: E402

EXPOSURE_S = 1e-3
MOST_ZEROS = 0.5  # percent of the dark counts (6.5)
STACK = 100
# Dark electrons of a plain pixel at the longest exposure, and exposures as shares of that.
LONGEST_E, SHARES = 40.0, (0.1, 0.3, 0.5, 0.75, 1.0)
OTHER_K = (-10.0, 10.0)
DARK_SIDE = 512

BARS = {
    "K": 0.15, "QE": 0.2, "temporal dark noise": 0.6, "saturation": 0.5, "DSNU": 2.0, "PRNU": 2.0, "dark current": 2.0
}  # fmt: skip
# Rows and columns are counted by M N - M - N there, and M - 1 and N - 1 here: a part in M.
FORMULAS_APART = 5e-3
LINEARITY_BAR = 0.02  # percent of the level: what the noise of a level's mean leaves at 5 % of saturation


EVERY = Camera(
    "every", (1024, 1024), 5.5e-6, 0.6, 100.0, 0.124, 12,
    full_well_e=32000.0, read_noise_e=7.0, dark_current_e_per_s=125.0, prnu=0.01, dsnu_e=10.0,
    hot_pixel_fraction=1e-5, hot_pixel_dark_e_per_s=2000.0, black_level_dn=40.0, dsnu_row_e=3.0, dsnu_column_e=4.0,
    prnu_row=0.002, prnu_column=0.003, dark_current_spread_e_per_s=60.0, temperature_c=35.0,
    dark_current_doubling_k=8.0, nonlinearity=0.01, telegraph_fraction=0.02, telegraph_e=15.0,
)  # fmt: skip


class Frames:
    """Frames of one scene, taken one by one as they are read: what the program's routines ask of a list."""

    def __init__(self, shot: Callable[[], np.ndarray], n: int) -> None:
        self._shot, self._n = shot, n

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[np.ndarray]:
        for _ in range(self._n):
            yield self._shot()


class Table:
    """A camera before a lamp: a square in the middle of the sensor."""

    def __init__(self, camera: Camera, seed: int, side: int) -> None:
        self.camera, self.seed = camera, seed
        device = Device.load("ideal").evolve(camera=camera)
        self.bench = OpticalBench(device, seed)
        rows, columns = (min(side, n) for n in camera.shape)
        self.roi = ((camera.shape[0] - rows) // 2, (camera.shape[1] - columns) // 2, rows, columns)
        row, column = (np.arange(n) + start for start, n in zip(self.roi[:2], self.roi[2:], strict=True))
        self.maps: SensorMaps = camera.maps(seed, (row[:, None] * camera.shape[1] + column).ravel())
        self.end_e = release4.end_of(camera)
        self.top_photons = release4.saturation_of(camera) / camera.quantum_efficiency

    def frames(self, photons: float, exposure_s: float, n: int = 2) -> Frames:
        """Frames of an even lamp."""

        def shot() -> np.ndarray:
            return self.bench.flat_field(photons, exposure_s=exposure_s, roi=self.roi)[0]

        return Frames(shot, n)

    # ------------------------------------------------------------------ what follows from the preset

    def read(self, electrons: np.ndarray) -> np.ndarray:
        """Electrons as they are read: the parabola whose largest distance from the line is at the middle."""
        a = self.camera.nonlinearity
        return electrons * (1 + 4 * a * (1 - electrons / self.end_e))

    def slope(self, electrons: np.ndarray) -> np.ndarray:
        """Slope of that."""
        a = self.camera.nonlinearity
        return 1 + 4 * a * (1 - 2 * electrons / self.end_e)

    def amplitudes(self) -> np.ndarray:
        """Amplitude of each pixel's telegraph noise in electrons."""
        given = getattr(self.maps, "telegraph_e", None)
        none = given is None or np.size(given) == 0
        return np.zeros(len(self.maps)) if none else np.asarray(given, dtype=np.float64)

    def moments(
        self, photons: float, exposure_s: float, every: int = 1, *, rounded: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, temporal variance and fourth cumulant of each pixel's counts in DN; `every`: of so many pixels one.

        A parabola of a Poisson number of mean m has the mean of that of m, less 4 a m / E, and the slope's square times
        m as variance, with 32 (a m / E)^2 more. Telegraph noise of amplitude A has the variance A^2 / 2 and the fourth
        cumulant -A^4 / 4, rounding the variance 1/12. Where counts are cut off at 0 they are summed over, by the normal
        law that dark electrons widen; if `rounded` also where noise is no wider than a count, as each pixel has another
        place between two of them.
        """
        camera, k, a = self.camera, self.camera.gain_dn_per_e, self.camera.nonlinearity
        gain, dark, offset, amplitude = (
            np.asarray(v, dtype=np.float64)[::every]
            for v in (self.maps.gain, self.maps.dark_e(exposure_s), self.maps.offset_e, self.amplitudes())
        )
        m = np.minimum(photons * gain + dark, self.end_e)
        shot = self.slope(m) ** 2 * m + 32 * (a * m / self.end_e) ** 2
        mean = camera.black_level_dn + k * (self.read(m) - 4 * a * m / self.end_e + offset)
        variance = k**2 * (shot + camera.read_noise_e**2 + amplitude**2 / 2) + release4.QUANTISATION
        fourth = -((k * amplitude) ** 4) / 4
        width = k * np.sqrt(camera.read_noise_e**2 + shot)
        few = (mean < 8 * np.sqrt(variance)) | (rounded & (width < 1.2))
        for which in (few & (amplitude == 0), few & (amplitude > 0)):
            if which.any():
                mean[which], variance[which], fourth[which] = summed(mean[which], width[which], k * amplitude[which])
        return mean, variance, fourth

    def image(self, photons: float, exposure_s: float) -> np.ndarray:
        """Mean image in DN."""
        return self.moments(photons, exposure_s)[0].reshape(self.roi[2:])


def summed(middle: np.ndarray, width: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and fourth cumulant of normal numbers with telegraph noise, rounded and cut off at 0."""
    raw = np.zeros((4, middle.size))
    reach = math.ceil(6.5 * float(width.max())) + 1
    for share, steps in ((0.5, 0.0), (0.25, 1.0), (0.25, -1.0)) if step.any() else ((1.0, 0.0),):
        at = middle + steps * step
        start = np.floor(at)
        below = special.ndtr((start - reach - 0.5 - at) / width)
        for j in range(-reach, reach + 1):
            upto = special.ndtr((start + j + 0.5 - at) / width)
            off = np.maximum(start + j, 0.0) - middle
            term = share * (upto - below)
            for power in raw:
                term = term * off
                power += term
            below = upto
    first, second, third, fourth = raw
    variance = second - first**2
    central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
    return middle + first, variance, central - 3 * variance**2


# ---------------------------------------------------------------------- what the program is given


@dataclass
class Given:
    """Sums of frames in the program's own form, and beside them what our formulas need."""

    temporal: dict[float, dict[float, dict[str, Any]]] = field(default_factory=dict)
    spatial: dict[float, dict[float, dict[str, Any]]] = field(default_factory=dict)
    pairs: dict[tuple[float, float], release4.Pair] = field(default_factory=dict)
    stacks: dict[tuple[float, float], release4.Stack] = field(default_factory=dict)
    zeros: float = 0.0  # share of the counts of the last dark pair that are 0

    def pair(self, photons: float, exposure_s: float, frames: Frames) -> None:
        """Add two frames, as the program's loader does (`LoadImageData._get_imgs_data`)."""
        kept = list(frames)
        sums = routines.get_int_imgs(kept)
        self.temporal.setdefault(exposure_s * 1e9, {})[float(photons)] = {
            "sum": np.sum(sums["sum"]), "pvar": np.sum(sums["pvar"]), "dmean": sums["dmean"]
        }  # fmt: skip
        self.pairs[photons, exposure_s] = release4.pair_of(kept)
        if not photons:
            self.zeros = float(np.mean([np.mean(frame == 0) for frame in kept]))

    def stack(self, photons: float, exposure_s: float, frames: Frames) -> None:
        """Add a stack."""
        sums = routines.get_int_imgs(frames)
        self.spatial.setdefault(exposure_s * 1e9, {})[float(photons)] = sums
        n = sums["L"]
        self.stacks[photons, exposure_s] = release4.Stack(sums["sum"] / n, sums["pvar"] / (n**2 * (n - 1)), n)

    def results(self, shape: tuple[int, int]) -> Results1288:
        """Hand all to the program."""
        data = {"temporal": self.temporal, "spatial": self.spatial, "height": shape[0], "width": shape[1]}
        return Results1288(Data1288(data, loglevel=logging.WARNING).data, loglevel=logging.WARNING)


def from_files(table: Table, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sums of the same frames by the program's front door, a descriptor with TIFF files, and by ours, arrays."""
    given, lines = Given(), [f"n {table.camera.bits} {table.roi[3]} {table.roi[2]}"]
    scenes = [(p, n) for n in (2, 4) for p in (0.0, 0.3, 0.6)][:5]
    for photons_share, n in scenes:
        photons = photons_share * table.end_e / table.camera.quantum_efficiency
        frames = list(table.frames(photons, EXPOSURE_S, n))
        (given.pair if n == 2 else given.stack)(photons, EXPOSURE_S, frames)  # type: ignore[operator]
        nanoseconds = EXPOSURE_S * 1e9
        lines.append(f"b {nanoseconds!r} {photons!r}" if photons else f"d {nanoseconds!r}")
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / f"{n}-{photons_share}-{i}.tif")
            lines.append(f"i {n}-{photons_share}-{i}.tif")
    (folder / "descriptor.txt").write_text("\n".join(lines) + "\n")
    parsed = ParseEmvaDescriptorFile(str(folder / "descriptor.txt"), loglevel=logging.WARNING)
    loaded = LoadImageData(parsed.images, loglevel=logging.WARNING).data
    ours = {"temporal": given.temporal, "spatial": given.spatial, "height": table.roi[2], "width": table.roi[3]}
    return loaded, ours


def same(a: Any, b: Any) -> bool:
    """Whether nested dictionaries of arrays are the same."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(np.array_equal(a, b))


# ---------------------------------------------------------------------- the table


class Report:
    """Rows as they come, and what is beyond its bar."""

    def __init__(self) -> None:
        self.far: list[str] = []
        self.apart: dict[str, float] = {}
        heads = ("camera", "quantity", "sheet", "preset", "expected", "this sensor", "program", "off", "error", "bar")
        print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")

    def row(
        self, name: str, what: str, preset: float | None, sensor: float, program: float, error: float, bar: float,
        *, expected: tuple[float, float] | None = None, relative: bool = True, sheet: float | None = None,
    ) -> None:  # fmt: skip
        """Print a row; deviations, errors and bars in percent of this sensor's value, or plain if not `relative`.

        `expected`: what follows from the preset, and its standard error in one sensor; `sheet`: what the sheet has.
        """
        scale = 100 / abs(sensor) if relative else 1.0
        off, unit = (program - sensor) * scale, " %" if relative else ""
        bad = not abs(off) <= bar
        law, chance = expected or (sensor, 0.0)
        bad |= not abs(sensor - law) <= 5 * chance + bar / 100 * abs(law)
        bad |= sheet is not None and not abs(program - sheet) <= 5 * chance + bar / 100 * sheet
        cells = [
            name, what, "" if sheet is None else f"{sheet:.5g} ({100 * (program / sheet - 1):+.3f} %)",
            "" if preset is None else f"{preset:.5g}",
            "" if expected is None else f"{law:.5g}" + (f" ± {chance:.2g}" if chance else ""),
            f"{sensor:.5g}", f"{program:.5g}", f"{off:+.3f}{unit}", f"{error * scale:.3f}{unit}",
            f"{bar:.3g}{unit}{' **beyond**' if bad else ''}",
        ]  # fmt: skip
        if bad:
            self.far.append(f"{name}: {what}")
        print(f"| {' | '.join(cells)} |", flush=True)

    def compare(self, what: str, ours: float, program: float) -> None:
        """Keep the largest relative difference of our formulas from the program's."""
        if math.isnan(ours) and math.isnan(program):
            return
        self.apart[what] = max(self.apart.get(what, 0.0), abs(ours / program - 1))


def sensitivity(report: Report, name: str, table: Table, given: Given, results: Results1288) -> float:
    """Gain, efficiency, dark noise, linearity; returns the gain that a photon transfer curve of the preset gives."""
    camera, n = table.camera, table.roi[2] * table.roi[3]
    k, a, photons = camera.gain_dn_per_e, table.amplitudes(), np.array(sorted(p for p, _ in given.pairs if p))
    dark, pairs = given.pairs[0.0, EXPOSURE_S], [given.pairs[p, EXPOSURE_S] for p in photons]
    mean, variance = (np.array([getattr(p, which) for p in pairs]) for which in ("mean", "variance"))
    ours = release4.Transfer(photons, mean - dark.mean, variance - dark.variance)
    expected, dark_variance = transfer_of(table, photons, [EXPOSURE_S] * len(photons))
    lower, judged = ours.lower, ours.middle
    gain = expected.gain(lower)

    # Of a level: twice the square of its variance over the pixels, and the dark's in all of them.
    x = ours.signal[lower]
    errors = math.sqrt(float(np.sum((x * variance[lower]) ** 2)) + (float(x.sum()) * dark.variance) ** 2)
    error = math.sqrt(2 / n) * errors / float(x @ x)
    sheet = release4.TABULATED.get(name.partition("@")[0].lower(), release4.Sheet())
    report.row(name, "K, DN/e", k, gain, results.K, error, BARS["K"], sheet=sheet.gain_dn_per_e)
    efficiency = expected.responsivity(lower) / gain
    report.row(
        name, "QE", camera.quantum_efficiency, efficiency, results.QE / 100, efficiency * error / gain, BARS["QE"],
        sheet=sheet.quantum_efficiency,
    )  # fmt: skip
    report.row(
        name, "saturation capacity, e", None, efficiency * table.top_photons, results.u_e_sat,
        efficiency * table.top_photons * error / gain, BARS["saturation"], sheet=sheet.saturation_e,
    )  # fmt: skip
    # Of a pair: twice the square of the variance, less for telegraph noise, whose fourth cumulant is -A^4 / 4.
    noise = release4.dark_noise(dark_variance, gain)
    each = camera.read_noise_e**2 + a**2 / 2 + release4.QUANTISATION / k**2
    error_e = math.sqrt(float(np.mean(2 * each**2 - a**4 / 8)) / n) / (2 * noise)
    # Amplitudes are exponential: A^2 / 2 has the mean t^2 and the variance (6 - f) t^4 over all pixels.
    fraction, amplitude = camera.telegraph_fraction, camera.telegraph_e
    rms = math.sqrt(camera.read_noise_e**2 + fraction * amplitude**2)
    chance = math.sqrt(fraction * (6 - fraction) / n) * amplitude**2 / (2 * rms)
    slope = float(table.slope(np.array(0.0)))
    law = k / gain * math.sqrt(rms**2 + slope**2 * camera.mean_dark_current_e_per_s * EXPOSURE_S)
    report.row(
        name, "temporal dark noise, e", rms, noise, results.sigma_d, error_e, BARS["temporal dark noise"],
        expected=(law, chance), sheet=sheet.dark_noise_e,
    )  # fmt: skip
    report.row(name, "dark counts that are 0, %", None, 0.0, 100 * given.zeros, 0.0, MOST_ZEROS, relative=False)

    deviations, law_deviations = 100 * ours.deviations(judged), 100 * expected.deviations(judged)
    level_error = 100 * math.sqrt(float(variance[judged][0]) / (2 * n)) / float(ours.signal[judged][0])
    theirs = results.linearity()["relative_deviation"][judged]
    for what, take in (("least", np.min), ("greatest", np.max), ("mean absolute", lambda v: np.mean(np.abs(v)))):
        report.row(
            name, f"linearity error, {what}, %", None, float(take(law_deviations)), float(take(theirs)), level_error,
            LINEARITY_BAR, relative=False,
        )  # fmt: skip
    if camera.nonlinearity:
        # The signal is K q p (1 + 4 a) - 4 a K (q p)^2 / E, and what the dark level is off by.
        each = np.sqrt(variance[lower] / (2 * n))
        (bend, rise, _), covariance = np.polyfit(photons[lower], ours.signal[lower], 2, w=1 / each, cov="unscaled")
        end = table.end_e / camera.quantum_efficiency
        whole = 4 * (rise + bend * end)
        report.row(
            name, "integral non-linearity", camera.nonlinearity, camera.nonlinearity, -bend * end / whole,
            math.sqrt(covariance[0, 0]) * end / whole, BARS["DSNU"],
        )  # fmt: skip
    report.compare("K", ours.gain(), results.K)
    report.compare("QE", ours.responsivity() / ours.gain(), results.QE / 100)
    report.compare("temporal dark noise", release4.dark_noise(dark.variance, ours.gain()), results.sigma_d)
    report.compare("linearity error", 1 + deviations.max() / 100, 1 + results.LE_max / 100)
    report.compare("linearity error", 1 + deviations.min() / 100, 1 + results.LE_min / 100)
    return gain


def transfer_of(table: Table, photons: np.ndarray, exposures_s: list[float]) -> tuple[release4.Transfer, float]:
    """Levels as they follow from the preset, and the variance in the dark at the first exposure, in DN^2."""
    every = 1 + len(table.maps) // 100_000
    lit = [table.moments(p, t, every) for p, t in zip(photons, exposures_s, strict=True)]
    dark = {t: table.moments(0.0, t, every) for t in set(exposures_s)}
    level, variance = (np.array([m[i].mean() for m in lit]) for i in (0, 1))
    dark_level, dark_variance = (np.array([dark[t][i].mean() for t in exposures_s]) for i in (0, 1))
    # The light of all pixels, not of these alone.
    share = float(table.maps.gain.mean(dtype=np.float64) / table.maps.gain[::every].mean(dtype=np.float64))
    whole = table.moments(0.0, exposures_s[0])[1].mean()
    return release4.Transfer(photons, (level - dark_level) * share, (variance - dark_variance) * share), float(whole)


def uniformity(
    report: Report, name: str, table: Table, given: Given, results: Results1288, gain: float, exposure_s: float
) -> None:
    """DSNU, and PRNU where the lit stack is whole, with rows, columns and pixels; `gain` as the closed form has it."""
    camera, (m, n) = table.camera, table.roi[2:]
    (lit,) = (p for p, t in given.stacks if p and t == exposure_s)
    dark, bright = given.stacks[0.0, exposure_s], given.stacks[lit, exposure_s]
    dark_image, bright_image = table.image(0.0, exposure_s), table.image(lit, exposure_s)
    of_dark, of_bright = release4.spatial_of(dark_image), release4.spatial_of(bright_image)
    signal = float(bright_image.mean() - dark_image.mean())
    uneven(
        report, f"DSNU at {exposure_s:.3g} s, ", "e", name, table, dark, of_dark, gain, results,
        {
            "row": camera.dsnu_row_e, "column": camera.dsnu_column_e, "total": camera.total_dsnu_e(exposure_s),
            "pixel": camera.evolve(dsnu_row_e=0.0, dsnu_column_e=0.0).total_dsnu_e(exposure_s),
        },
        by_hand(camera, dark_image, gain, exposure_s), dark.spatial(), results.K,
    )  # fmt: skip
    if bright.frames < STACK:
        return
    # Slope over level of the parabola at this light.
    charge = np.array(lit * camera.quantum_efficiency)
    bent = float(table.slope(charge) * charge / table.read(charge))
    law = {"row": camera.prnu_row * bent, "column": camera.prnu_column * bent, "pixel": camera.prnu * bent}
    chances = {
        "row": one_in(law["row"], law["pixel"] / math.sqrt(n), m),
        "column": one_in(law["column"], law["pixel"] / math.sqrt(m), n),
        "pixel": one_in(law["pixel"], 0.0, m * n),
    }
    uneven(
        report, "PRNU ", "%", name, table, bright, of_bright.minus(of_dark), signal / 100, results,
        {
            "row": 100 * camera.prnu_row, "column": 100 * camera.prnu_column, "pixel": 100 * camera.prnu,
            "total": 100 * camera.total_prnu,
        },
        {part: (100 * law[part], 100 * chances[part]) for part in law},
        bright.spatial().minus(dark.spatial()), float(bright.mean.mean() - dark.mean.mean()) / 100,
    )  # fmt: skip


SUFFIXES = {"row": "_row", "column": "_col", "pixel": "_pixel", "total": ""}


def one_in(spread: float, left: float, count: int) -> float:
    """Standard error of a standard deviation over so many normal numbers, with what others leave in their means."""
    return (spread**2 + left**2) / max(spread, 1e-30) / math.sqrt(2 * (count - 1))


def chance_of(law: tuple[float, float]) -> float:
    """Relative standard error of a value in one sensor."""
    return law[1] / law[0]


def by_hand(camera: Camera, image: np.ndarray, gain: float, exposure_s: float) -> dict[str, tuple[float, float]]:
    """DSNU of rows, columns and pixels by the preset, in electrons of the curve's gain; each error in one sensor."""
    m, n = image.shape
    per = camera.gain_dn_per_e / gain
    slope = 1 + 4 * camera.nonlinearity
    dark, hot = camera.mean_dark_current_e_per_s, camera.hot_pixel_dark_e_per_s * camera.dark_current_factor
    share = camera.hot_pixel_fraction
    spread = camera.dark_current_spread_e_per_s * camera.dark_current_factor if dark else 0.0
    rate2 = (1 - share) * spread**2 + share * (1 - share) * (hot - dark) ** 2 if share else spread**2
    pixel = per * math.sqrt(camera.dsnu_e**2 + rate2 * (slope * exposure_s) ** 2)
    row, column = per * camera.dsnu_row_e, per * camera.dsnu_column_e
    # Dark currents are far from normal, and there are ten hot pixels: the fourth moment of this sensor's pixels tells.
    square = (image - image.mean()) ** 2 / gain**2
    chance = float(square.std()) / math.sqrt(m * n) / (2 * math.sqrt(float(square.mean())))
    if share:
        chance = max(chance, (per * slope * exposure_s * (hot - dark)) ** 2 * math.sqrt(share / (m * n)) / (2 * pixel))
    return {
        "row": (row, one_in(row, pixel / math.sqrt(n), m)),
        "column": (column, one_in(column, pixel / math.sqrt(m), n)),
        "pixel": (pixel, chance),
    }


def uneven(
    report: Report, what: str, of: str, name: str, table: Table, stack: release4.Stack, sensor: release4.Spatial,
    unit: float, results: Results1288, preset: dict[str, float], law: dict[str, tuple[float, float]],
    ours: release4.Spatial, our_unit: float,
) -> None:  # fmt: skip
    """Rows of one non-uniformity: `law` is the expected value of each part and its standard error in one sensor."""
    m, n = table.roi[2:]
    temporal = float(stack.variance.mean()) / stack.frames
    total = math.sqrt(sum(value**2 for value, _ in law.values()))
    law = law | {"total": (total, math.sqrt(sum((v * c) ** 2 for v, c in law.values())) / total if total else 0.0)}
    for part, suffix in SUFFIXES.items():
        # Hot pixels drown rows and columns at long exposures.
        if law[part][0] == 0 or chance_of(law[part]) > 0.2:
            continue
        value = sensor.roots()[part]
        count, noise = {"row": (m, temporal / n), "column": (n, temporal / m)}.get(part, (m * n, temporal))
        error = math.sqrt((4 * value**2 * noise + 2 * noise**2) / count) / (2 * value)
        program = float(getattr(results, f"{what[:4]}1288{suffix}"))
        report.row(
            name, f"{what}{part}, {of}", preset[part], value / unit, program, error / unit, BARS[what[:4]],
            expected=law[part],
        )  # fmt: skip
        report.compare(f"{what[:4]} {part}", ours.roots()[part] / our_unit, program)


# ---------------------------------------------------------------------- dark current, tails


def dark_current(
    report: Report, name: str, table: Table, given: Given, exposures_s: list[float]
) -> tuple[float, float]:
    """Dark current by the mean and by the variance of dark frames; returns the first and its relative error."""
    camera, n = table.camera, table.roi[2] * table.roi[3]
    photons = np.array([next(p for p, t in given.pairs if p and t == each) for each in exposures_s])
    results = given.results(table.roi[2:])
    pairs = [given.pairs[p, t] for p, t in zip(photons, exposures_s, strict=True)]
    dark = [given.pairs[0.0, t] for t in exposures_s]
    ours = release4.Transfer(
        photons,
        np.array([p.mean - d.mean for p, d in zip(pairs, dark, strict=True)]),
        np.array([p.variance - d.variance for p, d in zip(pairs, dark, strict=True)]),
    )
    expected, _ = transfer_of(table, photons, exposures_s)
    gain = expected.gain(ours.lower)
    times = np.array(exposures_s)
    images = [table.moments(0.0, t) for t in exposures_s]
    by_mean = release4.line(times, np.array([mean.mean() for mean, *_ in images]))[0] / gain
    by_variance = release4.line(times, np.array([v.mean() for _, v, _ in images]))[0] / gain**2
    weights = (times - times.mean()) / np.sum((times - times.mean()) ** 2)
    variances = np.array([d.variance for d in dark])
    # The gain of a few levels has an error of its own.
    x, v = ours.signal[ours.lower], np.array([p.variance for p in pairs])[ours.lower]
    of_gain = math.sqrt(2 / n * float(np.sum((x * v) ** 2))) / float(x @ x) / gain
    error = math.hypot(math.sqrt(float(weights**2 @ variances) / (2 * n)) / gain, by_mean * of_gain)
    # Pixels with more noise weigh more: the mean square of their variances.
    each = np.array([np.mean(variance**2) for _, variance, _ in images])
    error_v = math.hypot(math.sqrt(float(weights**2 @ each) * 2 / n) / gain**2, 2 * by_variance * of_gain)
    rate, hot = camera.mean_dark_current_e_per_s, camera.hot_pixel_dark_e_per_s * camera.dark_current_factor
    per = camera.gain_dn_per_e / gain * (1 + 4 * camera.nonlinearity)
    law = per * (rate + camera.hot_pixel_fraction * (hot - rate))
    spread = float(table.maps.dark_e_per_s.std(dtype=np.float64))
    chance = per * max(spread, abs(hot - rate) * math.sqrt(camera.hot_pixel_fraction)) / math.sqrt(n)
    at = f" at {camera.temperature_c:g} °C" if math.isfinite(camera.dark_current_doubling_k) else ""
    report.row(
        name, f"dark current by mean{at}, e/s", rate, by_mean, results.u_I_mean, error, BARS["dark current"],
        expected=(law, chance),
    )  # fmt: skip
    report.row(
        name, f"dark current by variance{at}, e/s", rate, by_variance, results.u_I_var, error_v,
        max(BARS["dark current"], 500 * error_v / by_variance),
    )  # fmt: skip
    report.compare(
        "dark current by mean", release4.line(times, [d.mean for d in dark])[0] / ours.gain(), results.u_I_mean
    )
    report.compare("dark current by variance", release4.line(times, variances)[0] / ours.gain() ** 2, results.u_I_var)
    return float(results.u_I_mean), error / by_mean


def tails(report: Report, name: str, table: Table, stack: release4.Stack) -> None:
    """Shares of pixels whose temporal variance in the dark is some times that of a plain pixel.

    The sample variance of L frames is about a gamma number of the mean v and the variance 2 v^2 / (L - 1) + k / L, with
    the fourth cumulant k. Amplitudes of telegraph noise are exponential over the pixels that have it.
    """
    camera, k, n = table.camera, table.camera.gain_dn_per_e, len(table.maps)
    frames, step = stack.frames, k * camera.telegraph_e
    _, variance, fourth = table.moments(0.0, EXPOSURE_S, rounded=True)
    amplitude = k * table.amplitudes()
    plain, plain_fourth = variance[amplitude == 0], fourth[amplitude == 0]
    nodes = (np.arange(2000) + 0.5) / 2000
    quantiles = -step * np.log1p(-nodes)

    def above(x: float, mean: np.ndarray, cumulant: np.ndarray) -> np.ndarray:
        square = 2 * mean**2 / (frames - 1) + cumulant / frames
        return np.asarray(special.gammaincc(mean**2 / square, x * mean / square))

    for times in (1.2, 1.5, 3.0, 10.0):
        x = times * float(plain.mean())
        if times > 1.5 and not camera.telegraph_fraction:
            continue
        usual = float(above(x, plain[::16], plain_fourth[::16]).mean())
        law = usual
        if camera.telegraph_fraction:
            noisy = float(above(x, plain.mean() + quantiles**2 / 2, plain_fourth.mean() - quantiles**4 / 4).mean())
            law += camera.telegraph_fraction * (noisy - usual)
        sensor = float(above(x, variance, fourth).mean())
        program = float(np.mean(stack.variance > x))
        error = math.sqrt(max(law * (1 - law), 1e-12) / n)
        if law * n < 20:
            continue
        bar = 100 * (5 * error / sensor + 0.02)
        what = f"share of pixels above {times:g} times a plain one's dark variance"
        report.row(name, what, None, sensor, program, error, bar, expected=(law, error))


# ---------------------------------------------------------------------- all of it


def measure(report: Report, name: str, camera: Camera, seed: int, side: int) -> None:
    """All rows of one camera."""
    if camera.lag:
        raise SystemExit(f"The camera of {name} has a lag of {camera.lag:g}, for which nothing here has a closed form.")
    table = Table(camera, seed, side)
    full = table.end_e / camera.quantum_efficiency
    given = Given()
    given.pair(0.0, EXPOSURE_S, table.frames(0.0, EXPOSURE_S))
    for photons in np.arange(1, release4.LEVELS + 1) / release4.LEVELS * table.top_photons:
        given.pair(float(photons), EXPOSURE_S, table.frames(float(photons), EXPOSURE_S))
    for photons in (0.0, full / 2):
        given.stack(photons, EXPOSURE_S, table.frames(photons, EXPOSURE_S, STACK))
    results = given.results(table.roi[2:])
    gain = sensitivity(report, name, table, given, results)
    uniformity(report, name, table, given, results, gain, EXPOSURE_S)
    tails(report, name, table, given.stacks[0.0, EXPOSURE_S])
    rate = camera.mean_dark_current_e_per_s
    if not rate:
        return
    longest = min(LONGEST_E / rate, 3000.0)
    exposures = [share * longest for share in SHARES]
    slow = Given()
    for share, exposure_s in zip(SHARES, exposures, strict=True):
        for photons in (0.0, share * 0.9 * full):
            slow.pair(photons, exposure_s, table.frames(photons, exposure_s))
    slow.stack(0.0, longest, table.frames(0.0, longest, STACK))
    slow.stack(full / 2, longest, table.frames(full / 2, longest, 3))
    measured, error = dark_current(report, name, table, slow, exposures)
    slow.temporal = given.temporal  # for the gain
    slow_results = slow.results(table.roi[2:])
    uniformity(report, name, table, slow, slow_results, gain, longest)
    if math.isfinite(camera.dark_current_doubling_k):
        for rise in OTHER_K:
            warm = Table(camera.evolve(temperature_c=camera.temperature_c + rise), seed, DARK_SIDE)
            hot = Given()
            shorter = [t / 2 ** (rise / camera.dark_current_doubling_k) for t in exposures]
            for share, exposure_s in zip(SHARES, shorter, strict=True):
                for photons in (0.0, share * 0.9 * full):
                    hot.pair(photons, exposure_s, warm.frames(photons, exposure_s))
            hot.stack(0.0, shorter[0], warm.frames(0.0, shorter[0], 3))
            hot.stack(full / 2, shorter[0], warm.frames(full / 2, shorter[0], 3))
            value, own = dark_current(report, name, warm, hot, shorter)
            law = 2 ** (rise / camera.dark_current_doubling_k)
            report.row(
                name, f"dark current at {rise:+g} K, times", law, law, value / measured, law * math.hypot(error, own),
                BARS["dark current"],
            )  # fmt: skip


def main() -> None:
    """Print the table; end with an error if a row is beyond its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    newest = [name.partition("@")[0] for name in presets("cameras") if name in newest_of()]
    parser.add_argument(
        "--cameras", nargs="+", default=[*newest, "every"], help="presets of cameras, or of whole devices"
    )
    parser.add_argument("--side", type=int, default=1024, help="rows and columns of the sensor that are used")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    print(f"emva1288 {version('emva1288')}, opusim {opusim.__version__}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        loaded, ours = from_files(Table(camera_of(args.cameras[0]), args.seed, 64), Path(folder))
    if not same(loaded, ours):
        raise SystemExit("From TIFF files the program has other sums than from the same frames in memory.")
    report, start = Report(), time.perf_counter()
    for name in args.cameras:
        measure(report, name, camera_of(name), args.seed, args.side)
    print(f"\n{time.perf_counter() - start:.0f} s. Our formulas against the program's, largest relative difference:")
    for what, apart in report.apart.items():
        print(f"  {what}: {apart:.1e}")
        if not apart < FORMULAS_APART:
            report.far.append(f"our formulas: {what}")
    if report.far:
        raise SystemExit(f"Beyond the bar: {'; '.join(report.far)}.")


def newest_of() -> set[str]:
    """Newest version of each camera preset."""
    newest: dict[str, int] = {}
    for each in presets("cameras"):
        name, _, number = each.partition("@")
        newest[name] = max(newest.get(name, 0), int(number))
    return {f"{name}@{number}" for name, number in newest.items()}


def camera_of(name: str) -> Camera:
    """The camera of a preset, of a camera or of a device, or `every`."""
    if name == "every":
        return EVERY
    if any(name.partition("@")[0] == each.partition("@")[0] for each in presets("")):
        return Device.load(name).camera
    return Device.from_toml(f'preset = "ideal"\n[camera]\npreset = "{name}"\n').camera


if __name__ == "__main__":
    main()
