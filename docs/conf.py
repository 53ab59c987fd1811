"""How sphinx makes pages of this folder; `writing.md` says how to add one."""

from __future__ import annotations

import sys
from pathlib import Path

# In a clone the pages tell of the modules beside this folder; anywhere else, of the installed package.
HERE = Path(__file__).resolve().parent
if (HERE.parent / "opusim" / "__init__.py").is_file():
    sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

import numpydoc.xref  # noqa: E402

# Before torch is stood in for: what scipy computes while it is imported looks at torch.
import scipy.stats  # noqa: E402, F401
import sklearn  # noqa: E402, F401

import opusim  # noqa: E402

project = "opusim"
author = "The opusim authors"
version = release = opusim.__version__
# The version stands at the foot of a page: beside the title it may be too long.
project_copyright = f"{author}, opusim {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "opusim_pages"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# ---------------------------------------------------------------- text

myst_heading_anchors = 3
# An option's two dashes are two dashes.
smartquotes = False
# Pages need no network: there is no inventory of numpy's or Python's names, so only those of opusim are links.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    # A word in quotes is an argument, or something else that has no page.
    ("py:.*", r"[a-z_]\w*(\(\))?|[A-Z]"),
    # Names of other packages.
    ("py:.*", r"(copy|cupy|dask|lightonml|matplotlib|numpy|scipy|sklearn|torch)\..*"),
]

# ---------------------------------------------------------------- reference

# Pages are the same whether these are installed or not, and torch is large.
autodoc_mock_imports = ["torch", "pymmcore_plus", "useq"]
# Types stand in the docstrings, with shapes and units.
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
# Of the words of a type, the classes of opusim are links (`opusim_pages` names them), and no others.
numpydoc_xref_ignore = "all"
numpydoc.xref.DEFAULT_LINKS.clear()
# Everything is checked but: where the first line stands (GL01, GL02: it follows the quotes), and that there be
# an extended summary, a section See Also and an example (ES01, SA01, EX01).
numpydoc_validation_checks = {"all", "GL01", "GL02", "ES01", "SA01", "EX01"}

# Nobody calls these: protocols, choices, and a base that takes what torch's does. What they declare is checked.
numpydoc_validation_exclude = {
    r"\.bench\.(protocol|driver)\.(?!Identity$)[A-Z]\w*$",
    r"\.(Bench|ErrorEncoding|ErrorProjection|Feedback|(Entry|Wave)?Medium)$",
    # Their example is a file, which has two lines between its definitions.
    r"\.calibration\.Procedure$",
    # Fields of a named tuple, which Python itself describes.
    r"\.Roi\.(row|column|n_rows|n_columns)$",
    r"\.(AcqState|FeaturesFormat|InputRoiStrategy|OutputRescaling|OutputRoiStrategy)$",
    r"\.AE$",
}

# ---------------------------------------------------------------- looks

html_theme = "pydata_sphinx_theme"
html_title = "opusim"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["opusim.css"]
# Pages without pages below them have nothing to show at their left.
html_sidebars = {"*": []}
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
}
