"""Python imports this module when it starts with this folder on its path, as ``opusim run`` starts it.

It prepares lightonml for the simulated device, then gives way to the `sitecustomize` that would have been imported.
"""

import importlib.machinery
import importlib.util
import os
import sys

import opusim_lightonml_hook

opusim_lightonml_hook.install()

_here = os.path.dirname(os.path.abspath(__file__))
_others = [entry for entry in sys.path if os.path.abspath(entry) != _here]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["sitecustomize"] = _module
    _spec.loader.exec_module(_module)
