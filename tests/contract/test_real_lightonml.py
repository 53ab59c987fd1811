"""Runs this folder in the contract environment, against three versions of the real lightonml.

`.ci/contract-environment FOLDER PYTHON` makes that environment; the variable OPUSIM_CONTRACT_PYTHON names its
interpreter. Beside it lie lightonml-1.3/, lightonml-1.4.1.post1/ and lightonml-1.4.3/.
"""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

CONTRACT_PYTHON = os.environ.get("OPUSIM_CONTRACT_PYTHON")

# Version, what is run, and the fewest tests that must pass there. Fewer means that files were not collected.
RUNS = [
    ("1.4.3", ["tests/contract"], 400),
    ("1.4.1.post1", ["tests/contract/test_older_versions.py", "tests/contract/test_encoders.py"], 50),
    ("1.3", ["tests/contract/test_older_versions.py", "tests/contract/test_encoders.py"], 50),
]


@pytest.mark.slow
@pytest.mark.skipif(CONTRACT_PYTHON is None, reason="OPUSIM_CONTRACT_PYTHON names no environment with lightonml")
@pytest.mark.parametrize(("version", "what", "fewest"), RUNS, ids=[run[0] for run in RUNS])
def test_contract(version, what, fewest, root, tmp_path):
    folder = Path(CONTRACT_PYTHON).parent.parent / f"lightonml-{version}"
    assert folder.is_dir(), f"OPUSIM_CONTRACT_PYTHON is {CONTRACT_PYTHON}, but there is no {folder}"
    report = tmp_path / "report.xml"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPUSIM_", "PYTEST_"))}
    environment |= {"PYTHONPATH": str(folder), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    done = subprocess.run(
        [CONTRACT_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *what],
        capture_output=True,
        text=True,
        cwd=root,
        env=environment,
        timeout=1800,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    skipped = [reason.get("message", "") for case in cases for reason in case.iter("skipped")]
    assert not [reason for reason in skipped if re.search("import", reason) and "torch" not in reason]
    assert len(cases) - len(skipped) >= fewest
