"""The notebooks: they run from top to bottom without a word of complaint, and have the form that they should."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = ("01_first_light", "02_noise_vs_accuracy", "03_calibration", "04_dfa", "05_your_device", "06_randnla")
FIGURES = {"01_first_light": 7, "02_noise_vs_accuracy": 4, "03_calibration": 7, "04_dfa": 4, "05_your_device": 5,
           "06_randnla": 5}  # fmt: skip
NEEDED = ("jupytext", "nbclient", "ipykernel", "ipywidgets")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
needs_jupyter = pytest.mark.skipif(bool(MISSING), reason=f"notebooks need {', '.join(MISSING)}, which is not here")


@pytest.fixture(scope="module")
def fonts(tmp_path_factory):
    """A list of fonts of this environment: the user's may come from one that is gone, and matplotlib says so aloud."""
    folder = tmp_path_factory.mktemp("matplotlib")
    environment = {**os.environ, "MPLCONFIGDIR": str(folder)}
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], env=environment, check=True)
    return folder


@pytest.fixture
def this_kernel(tmp_path, fonts, monkeypatch):
    """Make the kernel named python3 the interpreter of the tests, whatever the user has set up under that name."""
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Python 3", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MPLCONFIGDIR", str(fonts))
    # The kernel's own, which puts figures into the notebook, unless another is asked for.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    # Matrices are small: on a busy machine the threads of BLAS would wait for each other most of the time.
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


@needs_jupyter
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name, this_kernel, tmp_path):
    import jupytext
    import nbclient

    notebook = jupytext.read(FOLDER / f"{name}.py")
    resources = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    # What a slider's function shows stays in the cell's own output. nbclient would put it into the widget and tell the
    # kernel so, in the middle of a cell, which now and then loses the kernel's answer (jupyter/nbclient issue 312).
    client.comm_open_handlers.clear()
    client.execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert not said, said
    # What the function of a slider raises is shown, and stops nothing.
    assert all(output.output_type != "error" for output in outputs)
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == FIGURES[name]
    state = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    if name == "02_noise_vs_accuracy":
        kinds = ("IntSliderModel", "SelectionSliderModel")
        sliders = [one["state"]["description"] for one in state.values() if one["model_name"] in kinds]
        assert sorted(sliders) == ["bits", "contrast", "decorrelation (h)", "exposure (µs)"]


@pytest.mark.parametrize("name", NAMES)
def test_notebook_begins_with_what_one_learns_and_ends_with_what_to_change(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    cells = text.split("\n# %%")[1:]
    header = text.split("\n# %%")[0]
    assert "format_name: percent" in header and "name: python3" in header and "language: python" in header
    assert cells[0].startswith(" [markdown]\n# # ") and "ou will learn" in cells[0].replace("\n# ", " ")
    assert cells[-1].startswith(" [markdown]") and "## What to change next" in cells[-1]


def test_the_folder_holds_these_notebooks_without_outputs():
    assert sorted(path.name for path in FOLDER.glob("*.py")) == sorted(f"{name}.py" for name in NAMES)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.py`" in readme for name in NAMES)


def test_without_ipywidgets_the_sliders_are_left_out(monkeypatch, capsys):
    text = (FOLDER / "02_noise_vs_accuracy.py").read_text(encoding="utf-8")
    (cell,) = (cell for cell in text.split("\n# %%\n") if "import ipywidgets" in cell)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    exec(compile(cell.split("\n# %%")[0], "cell", "exec"), {})
    assert "opusim[notebooks]" in capsys.readouterr().out
