"""`python -m opusim.dfa.examples.transformer`, as in 0.1.0; it is `opusim.tasks.text` now."""

from __future__ import annotations

import runpy

from opusim.base.lazy_names import lazy_names

_LAZY = dict.fromkeys(("Block", "LanguageModel", "LanguageModelResult", "train_language_model"), "opusim.tasks.text")

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)

if __name__ == "__main__":
    runpy.run_module("opusim.tasks.text", run_name="__main__")
