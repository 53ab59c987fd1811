"""What is between a vector and its counts takes no function whose last bits depend on the processor.

`opusim.base.elementary` has those that do not, and says why.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The way of the light, and what makes fields and linear transforms of frames.
PLACES = (
    "opusim/device", "opusim/bench", "opusim/patterns", "opusim/fringes", "opusim/encoding", "opusim/base/rng.py",
    "opusim/base/rng_kernels.py", "drivers/methods", "calibration/procedures/linear.py",
    "calibration/algorithms/fringe_fit.py", "calibration/algorithms/frame_input.py",
    "calibration/algorithms/iterative.py",
)  # fmt: skip
FUNCTIONS = {
    "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "arctan",
    "arctan2", "atan", "atan2", "angle", "hypot", "power", "float_power", "pow", "cbrt", "dot", "vdot", "inner",
    "matmul", "tensordot", "geomspace", "logspace",
}  # fmt: skip
MATRICES = {"pinv", "inv", "solve", "lstsq", "svd", "eigh", "eigvalsh", "qr", "norm"}
# What may stand there, by file and function: why.
ALLOWED = {
    ("opusim/device/medium/drift.py", "exp"): "a correlation, for warnings and budgets of noise",
    ("opusim/device/medium/phase_screens.py", "exp"): "the same",
    ("opusim/device/medium/phase_screens.py", "expm1"): "the same",
    ("opusim/bench/way.py", "log2"): "a count of operations, for plans",
    ("opusim/device/pixel_sampling.py", "@"): "weights of points, rounded to nine digits",
    ("opusim/device/pixel_sampling.py", "lstsq"): "the same",
    ("opusim/bench/by_waves.py", "@"): "a sparse product, which goes by no BLAS",
    ("opusim/bench/phase_sources.py", "@"): "a sparse product, which goes by no BLAS",
    ("opusim/bench/entries.py", "@"): "a sparse product, which goes by no BLAS",
    ("opusim/encoding/models.py", "@"): "an autoencoder, trained by torch",
    ("opusim/fringes/demodulation.py", "pinv"): "columns that depend on each other, which callers refuse",
    ("calibration/algorithms/frame_input.py", "svd"): "a limit from which phases are refused",
    ("calibration/algorithms/iterative.py", "pinv"): "the error that is told of the steps",
    ("calibration/algorithms/iterative.py", "@"): "the error that is told of the steps, and a test for fringes",
    ("calibration/algorithms/iterative.py", "eigvalsh"): "a test for fringes",
}


def sources() -> list[Path]:
    found = [ROOT / place for place in PLACES]
    return sorted(path for one in found for path in ([one] if one.is_file() else one.rglob("*.py")))


def uses(path: Path) -> Iterator[tuple[str, int]]:
    """Functions of the kind in a file, with their lines: calls of numpy's, math's or an array library's, and @."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            yield "@", node.lineno
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if owner in ("np", "numpy", "math", "cmath") and node.attr in FUNCTIONS:
                yield node.attr, node.lineno
            elif owner in ("np.linalg", "scipy.linalg", "linalg") and node.attr in MATRICES:
                yield node.attr, node.lineno


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_light_takes_no_function_that_depends_on_the_processor(path):
    name = path.relative_to(ROOT).as_posix()
    found = [f"{name}:{line} {what}" for what, line in uses(path) if (name, what) not in ALLOWED]
    assert found == [], "opusim.base.elementary has these with the same bits everywhere"


def test_every_exception_is_still_there():
    there = {(path.relative_to(ROOT).as_posix(), what) for path in sources() for what, _ in uses(path)}
    assert set(ALLOWED) <= there
