"""What sphinx does on these pages beside what its extensions do: generated parts, links by short names, arguments."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any

import opusim_texts
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.ext.autodoc.mock import mock
from sphinx.ext.autosummary import import_by_name
from sphinx.ext.autosummary.generate import find_autosummary_in_files
from sphinx.util.inspect import signature, stringify_signature

GENERATED = {
    "reference/commands": opusim_texts.command_line,
    "reference/presets": opusim_texts.presets,
    "reference/device": opusim_texts.parameters,
    "reference/differentiable": opusim_texts.learnable,
    "reference/calibration": opusim_texts.procedures,
}
WITH_A_FILE = {"reference/hashes": opusim_texts.hashes}


def add_generated(app: Sphinx, page: str, source: list[str]) -> None:
    """Put what is generated for a page below what is written there."""
    if page in GENERATED:
        with mock(app.config.autodoc_mock_imports):
            source[0] += f"\n\n{GENERATED[page]()}"
    if page in WITH_A_FILE:
        source[0] += f"\n\n{WITH_A_FILE[page](Path(app.env.doc2path(page)))}"


def outdated(*_: object) -> list[str]:
    """Return the pages that are read again in any case: what they tell of stands in no file that sphinx knows."""
    return [*GENERATED, *WITH_A_FILE]


def name_classes(app: Sphinx, config: Config) -> None:
    """Tell numpydoc the full names of the classes that pages describe, so that types of arguments are links."""
    pages = sorted(Path(app.srcdir, "reference").glob("*.rst"))
    with mock(config.autodoc_mock_imports):
        names = [entry.name for entry in find_autosummary_in_files([str(page) for page in pages])]
    short = [name.rpartition(".")[2] for name in names]
    config.numpydoc_xref_aliases |= {
        last: name for last, name in zip(short, names, strict=True) if last[0].isupper() and short.count(last) == 1
    }


def link_short_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Node) -> nodes.Node | None:
    """Find what a class's bare name means (`Device`, `OPU.transform`), if there is one of that name.

    Functions are not looked for: arguments have such names.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not re.match(r"(\w+\.)*[A-Z]\w+", target):
        return None
    domain = env.domains.python_domain

    def full_name(wanted: str) -> str | None:
        # What is known by two names has one entry.
        found = {
            (entry.docname, entry.node_id): name
            for name, entry in domain.objects.items()
            if f".{name}".endswith(f".{wanted}")
        }
        return found.popitem()[1] if len(found) == 1 else None

    name = full_name(target)
    if name is None:
        # A field of a record has no entry of its own: it is described in that of its class.
        owner, _, field = target.rpartition(".")
        name = full_name(owner) if owner else None
        if name is None or field not in getattr(import_by_name(name)[1], "__dataclass_fields__", ()):
            return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, text)


def true_arguments(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str, returns: str
) -> tuple[str, str] | None:
    """Show the arguments of a class's own, not those of what it is made from.

    Nobody calls a protocol or a choice, and what stands in for torch takes anything.
    """
    if what != "class":
        return None
    stand_in = next((base for base in thing.__mro__ if base.__module__ == mock.__module__), None)
    if getattr(thing, "_is_protocol", False) or issubclass(thing, Enum):
        return "", ""
    if stand_in is None:
        return None
    if thing.__init__ is stand_in.__init__:
        return "", ""
    return stringify_signature(signature(thing.__init__, bound_method=True), show_annotation=False), ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell sphinx what is here."""
    app.connect("config-inited", name_classes, priority=400)  # before numpydoc reads them
    app.connect("source-read", add_generated)
    app.connect("env-get-outdated", outdated)
    app.connect("missing-reference", link_short_name)
    app.connect("autodoc-process-signature", true_arguments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
