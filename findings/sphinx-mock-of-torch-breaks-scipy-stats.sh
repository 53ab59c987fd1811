#!/usr/bin/env bash
# Packages:  Sphinx 9.0.4 and scipy 1.17.1 (numpy 2.4.6); Python 3.11, torch not installed.
# Guess:     autodoc_mock_imports = ["torch"] only touches modules that import torch. scipy does not.
# Behaviour: a module that imports scipy.stats cannot be documented: scipy's array API layer asks sys.modules for torch,
#            finds the mock, and takes it for the real one. If scipy.stats is imported in conf.py, before the mock is
#            there, the page is made.
# Seen:
#   scipy.stats first met under the mock: the import fails
#   scipy.stats imported in conf.py: the page is made
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "sphinx==9.0.4" "scipy==1.17.1" "numpy==2.4.6" 2> /dev/null
mkdir "$folder/docs"
cat > "$folder/docs/sample.py" << 'PY'
"""A module."""
import torch
import scipy.stats


def mean_of_a_normal():
    """Return zero."""
    return scipy.stats.norm.mean()
PY
printf 'Sample\n======\n\n.. automodule:: sample\n   :members:\n' > "$folder/docs/index.rst"
for first in "" "import scipy.stats"; do
    printf 'import sys\nsys.path.insert(0, "%s")\n%s\nextensions = ["sphinx.ext.autodoc"]\nautodoc_mock_imports = ["torch"]\n' \
        "$folder/docs" "$first" > "$folder/docs/conf.py"
    "$folder/venv/bin/sphinx-build" -q -E -b text "$folder/docs" "$folder/text" > "$folder/log" 2>&1 || true
    where=${first:+"scipy.stats imported in conf.py"}
    where=${where:-"scipy.stats first met under the mock"}
    if grep -q "Return zero" "$folder/text/index.txt"; then
        echo "$where: the page is made"
    elif grep -q "import" "$folder/log"; then
        echo "$where: the import fails"
    fi
done | tee "$folder/seen"
sed -n 's/^#   \(scipy.stats .*\)/\1/p' "$0" | diff - "$folder/seen" && echo "as stated"
