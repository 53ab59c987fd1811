"""Calibrations on a bench that loses one frame in a thousand: right, ended by a sentence, or wrong in silence.

    python benchmarks/lost_frames.py                        # some minutes
    python benchmarks/lost_frames.py --runs 20 --share 5e-3

The bench is `tests/support/losing_bench.py`, of numpy alone: a random matrix, a reference, photon and read noise. Its
camera loses frames in six manners: it says so; it returns fewer; it moves the ones behind up by one, and puts at the
end the last one again, what its memory held there before, or a dark frame; or it gives the one before twice. Each is
asked through `LaboratoryBench`, through `Guarded` around an `expose` that steps phases in one sequence, and through
that `expose` alone.

A result is compared with the truth: the exposure with what the light asks for, phases of the reference with those that
it makes, maps of the reference with the light of the arm, a matrix with the bench's own, correlations over time
with 1. It counts as wrong if it is twice as far away as the furthest of as many runs of each bench without losses.
"Told" ended in an error; a warning that guards could not be told apart counts as told too, if the result is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from opusim.bench.guarded import Guarded
from opusim.calibration import find_exposure, measure_drift, measure_linear, measure_phases, measure_tm
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of the clone, for tests.support
from tests.support.losing_bench import MANNERS, MIRRORS, SENSOR, Losing, Plain  # noqa: E402

EXPOSURE_S = 400e-6
STEPS = np.arange(4) * np.pi / 2
INPUTS = 64


def patterns(n: int) -> MirrorPatterns:
    """Return random patterns of 64 macro-pixels."""
    bits = np.random.default_rng(3).integers(0, 2, (n, INPUTS), dtype=np.uint8)
    return MirrorPatterns(bits, MirrorLayout.lined(MIRRORS, INPUTS))


def exposure(bench: Any, inside: Losing) -> float:
    """Find an exposure for a level; return how far it is from what the light asks for, as a share."""
    shown = patterns(24)
    found = find_exposure(bench, shown, target_level_dn=500.0, full_scale_dn=4095.0)
    inside.set_reference(None)
    expected = EXPOSURE_S * 500.0 / (2 * float(inside.light(shown.to_mirrors()).mean()))
    return abs(found.exposure_s / expected - 1)


def phase(bench: Any, inside: Losing) -> float:
    """Measure the steps of the shifter; return the largest error in radians."""
    found = measure_phases(bench, STEPS, exposure_s=EXPOSURE_S, bursts=8, full_scale_dn=4095.0)
    return float(np.abs(found.phases_rad - STEPS).max())


def linear(bench: Any, inside: Losing) -> float:
    """Measure what a linear transform needs; return the largest error, of the steps, or of any pixel's reference."""
    found = measure_linear(bench, patterns(16), exposure_s=EXPOSURE_S)
    map_error = np.abs(found.reference_dn / (2 * Losing.reference**2) - 1).max()
    return float(max(np.abs(found.actual_rad - STEPS).max(), map_error, found.relative_error))


def tm(bench: Any, inside: Losing) -> float:
    """Measure the matrix; return the largest error of a column, as a share."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure_tm(bench, INPUTS, exposure_s=EXPOSURE_S, out=Path(folder) / "tm.h5", full_scale_dn=4095.0)
        measured, use = found.matrix(), found.valid
    mirrors = MirrorLayout.lined(MIRRORS, INPUTS).mirrors(np.eye(INPUTS, dtype=np.uint8))
    true = inside.matrix @ mirrors.reshape(INPUTS, -1).T
    measured, true = measured[use], true[use]
    measured = measured * (np.vdot(measured, true) / np.vdot(measured, measured))
    return float(np.sqrt(np.sum(np.abs(measured - true) ** 2, axis=0) / np.sum(np.abs(true) ** 2, axis=0)).max())


def drift(bench: Any, inside: Losing) -> float:
    """Watch a pattern that stays; return the largest loss of correlation, or change of phase."""
    found = measure_drift(
        bench, mirrors=patterns(1), duration_s=1e-3, looks=20, exposure_s=EXPOSURE_S, full_scale_dn=4095.0
    )  # fmt: skip
    return float(max(np.abs(1 - found.intensity_correlation).max(), np.abs(found.phase_rad).max()))


PROCEDURES: dict[str, Callable[[Any, Losing], float]] = {
    "exposure": exposure, "phase": phase, "linear": linear, "tm": tm, "drift": drift,
}  # fmt: skip


def laboratory(manner: str, share: float, seed: int) -> tuple[Any, Losing]:
    """Return a `LaboratoryBench`."""
    bench = Losing(manner, share, seed)
    return bench, bench


def guarded(manner: str, share: float, seed: int) -> tuple[Any, Losing]:
    """Return `Guarded` around a bench of one's own."""
    plain = Plain(manner, share, seed)
    return Guarded(plain), plain.inside


def alone(manner: str, share: float, seed: int) -> tuple[Any, Losing]:
    """Return that bench by itself."""
    plain = Plain(manner, share, seed)
    return plain, plain.inside


BENCHES = {"LaboratoryBench": laboratory, "Guarded": guarded, "expose alone": alone}


def outcome(
    procedure: str, make: Callable[..., Any], manner: str, share: float, seed: int, most: float
) -> tuple[str, int]:
    """Return "right", "told" or "wrong", and how many frames were lost."""
    bench, inside = make(manner, share, seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            error = PROCEDURES[procedure](bench, inside)
        except (RuntimeError, ValueError):
            return "told", inside.n_lost
    if error <= most:
        return "right", inside.n_lost
    weak = any("cannot be told apart" in str(w.message) for w in caught)
    return ("told" if weak else "wrong"), inside.n_lost


def main() -> None:
    """Print for each procedure and manner how many runs ended how."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--share", type=float, default=1e-3)
    parser.add_argument("--procedures", nargs="+", default=list(PROCEDURES), choices=PROCEDURES)
    parser.add_argument("--benches", nargs="+", default=list(BENCHES), choices=BENCHES)
    args = parser.parse_args()
    start, total = time.perf_counter(), dict.fromkeys(BENCHES, (0, 0, 0))
    print(f"{args.runs} runs each, {args.share:g} of the frames lost, {SENSOR[0]} x {SENSOR[1]} pixels")
    print("| procedure | bench | " + " | ".join(MANNERS) + " |\n" + "|---" * (2 + len(MANNERS)) + "|")
    for procedure in args.procedures:
        most = 0.0
        for make in BENCHES.values():
            for seed in range(args.runs):
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    most = max(most, PROCEDURES[procedure](*make("raises", 0.0, 10_000 + seed)))
        for name in args.benches:
            make, cells = BENCHES[name], []
            for manner in MANNERS:
                ends = [outcome(procedure, make, manner, args.share, seed, 2 * most) for seed in range(args.runs)]
                counts = [sum(end == word for end, _ in ends) for word in ("right", "told", "wrong")]
                met = sum(n > 0 for _, n in ends)
                cells.append(f"{counts[0]} / {counts[1]} / {counts[2]} ({met})")
                total[name] = tuple(a + b for a, b in zip(total[name], counts, strict=True))
            print(f"| {procedure} | {name} | " + " | ".join(cells) + " |", flush=True)
    print("right / told / wrong (runs that lost a frame)")
    for name in args.benches:
        print(f"{name}: {total[name][0]} right, {total[name][1]} told, {total[name][2]} wrong")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
