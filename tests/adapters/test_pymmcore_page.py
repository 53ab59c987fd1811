"""The examples of docs/with_pymmcore.md run, one after the other."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pymmcore_plus", reason="pymmcore-plus is not installed: .ci/peers pymmcore has it")

from opusim import OpticalBench  # noqa: E402
from opusim.patterns.layout import MirrorPatterns  # noqa: E402

PAGE = Path(__file__).resolve().parents[2] / "docs" / "with_pymmcore.md"


def test_examples_of_the_page_run():
    names: dict[str, object] = {"__name__": "example"}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            exec(compile(code, str(PAGE), "exec"), names)
    mean, counts, shape = out.getvalue().splitlines()
    assert float(mean) > 2.6  # above the black level
    assert counts == "100 101" and shape == "(100, 500) uint8"
    # "To the bit": the frames of the acquisition are those of another bench of this seed.
    other = OpticalBench("aurora", seed=1)
    how = {"exposure_s": 0.4e-3, "roi": (500, 700, 64, 64)}
    bits = np.concatenate([np.eye(16, dtype=np.uint8)[None], names["images"]]).reshape(101, 256)
    known = other.expose(MirrorPatterns(bits, names["segments"]), **how)
    assert np.array_equal(names["frames"], known[1:])
