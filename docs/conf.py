"""Sphinx's configuration of the documentation site: `make docs`.

The pages are the Markdown files of this folder, as they are read on GitHub too. Three kinds are made when the site is
built, into folders that git ignores: the gallery (`gallery.py`), the reference of the API, and the pages of the
repository's top level. Links that lead out of this folder are turned to those pages, and every page is in a table of
contents without being asked: a new file of this folder appears under "More".
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import gallery  # noqa: E402

import dsegym  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "dsegym"
author = "The dsegym authors"
copyright = author
version = release = dsegym.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["examples", "field/*.json", "learning/*.json"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
default_role = "code"  # docstrings have single backticks, as Markdown has
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"dsegym {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
templates_path = ["templates"]
html_copy_source = False
html_show_sourcelink = False

# --- The table of contents -------------------------------------------------------------------------------------------

CONTENTS = {
    "Start": ["quick_start", "train_ppo", "size_my_network", "my_agent", "my_outcomes", "plan_a_cluster"],
    "Scenarios": ["gallery/index"],
    "Results": [
        "which_agent_when",
        "against_random",
        "hyperparameter_lottery",
        "learning",
        "truth",
        "comparison",
        "dosa_protocol",
    ],
    "Guides": [
        "compete",
        "clients",
        "functional",
        "policies",
        "fronts",
        "exact_agents",
        "files",
        "many_machines",
        "proxies",
        "environments",
        "submit",
        "project/contributing",
    ],
    "The models": [
        "accelerator",
        "accelerator_mapping",
        "accelerator_dataflow",
        "accelerator_template",
        "row_stationary",
        "attention_accelerator",
        "codesign",
        "memory_mapping",
        "memory_allocation",
        "soc_scheduling",
        "serving",
        "serving_plan",
        "serving_engine",
        "serving_stream",
        "serving_mix",
        "serving_cluster",
        "power_cap",
        "training_plan",
        "memory_tiers",
        "expert_cache",
        "reasoning",
        "sub_question_budget",
        "batch_best_of_n",
        "solve_verify",
        "tree_search",
        "reasoning_serve",
        "reasoning_cascade",
        "sleep_time",
    ],
    "Reference": ["api/index", "design", "project/changelog", "cite"],
}


def contents() -> str:
    """The tables of contents that follow the landing page's text; what stands in none of them comes last."""
    listed = {"index", *(page for pages in CONTENTS.values() for page in pages)}
    rest = sorted({path.stem for path in DOCS.glob("*.md")} - listed)
    tables = {**CONTENTS, **({"More": rest} if rest else {})}
    return "\n".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```"
        for caption, pages in tables.items()
    )


# --- Pages of the repository's top level -----------------------------------------------------------------------------

TOP_LEVEL = {  # file outside docs/: its page
    "CONTRIBUTING.md": "project/contributing",
    "CHANGELOG.md": "project/changelog",
    "README.md": "index",
    "costmodels/accelerator/SOURCES.md": "project/accelerator_sources",
}
SCENARIOS = ("README.md", "#the-scenarios")  # where a checkout has no gallery; on the site, the gallery
LINK = re.compile(r"(\]\()(?!\w+:|#|<)([^)\s#]+)(#[^)\s]*)?(\))")


def turned(text: str, origin: Path, page: str) -> str:
    """A page's text with its links as they are on the site.

    Args:
        text: Markdown.
        origin: the file that it comes from, whose relative links it has.
        page: its name on the site.
    """

    def turn(link: re.Match[str]) -> str:
        target = (origin.parent / link[2]).resolve()
        if target.is_relative_to(ROOT):
            name = target.relative_to(ROOT).as_posix()
            if (name, link[3]) == SCENARIOS:
                return f"{link[1]}{os.path.relpath(DOCS / 'gallery/index.md', (DOCS / page).parent)}{link[4]}"
            if name in TOP_LEVEL:
                target = DOCS / f"{TOP_LEVEL[name]}.md"
        path = os.path.relpath(target, (DOCS / page).parent).replace(os.sep, "/")
        return f"{link[1]}{path}{link[3] or ''}{link[4]}"

    return LINK.sub(turn, text)


def write_top_level() -> None:
    """The pages of files outside this folder."""
    for name, page in TOP_LEVEL.items():
        if page != "index":
            text = turned((ROOT / name).read_text(encoding="utf-8"), ROOT / name, page)
            orphan = "---\norphan: true\n---\n\n" if not any(page in pages for pages in CONTENTS.values()) else ""
            gallery.write_changed(DOCS / f"{page}.md", orphan + text)


# --- The reference of the API ----------------------------------------------------------------------------------------

API = {  # page: its title, and the modules whose public names it documents
    "dsegym": ("dsegym", ["dsegym"]),
    "authoring": ("dsegym.authoring", ["dsegym.authoring"]),
    "testing": ("dsegym.testing", ["dsegym.testing"]),
    "agents": (
        "Agents: the base class, the referee, the registry",
        ["dsegym.agents.base", "dsegym.agents.referee", "dsegym.agents.registry"],
    ),
    "core": (
        "The core of environments",
        [
            f"dsegym.envs.core.{name}"
            for name in (
                "scenarios",
                "options",
                "spaces",
                "evaluation",
                "problem",
                "one_shot",
                "functional",
                "policies",
                "features",
                "collections",
                "own_bounds",
            )
        ],
    ),
    "faces": (
        "Environments: Gymnasium, lanes, stable-baselines3",
        [
            f"dsegym.envs.faces.{name}"
            for name in ("gymnasium_env", "vector_env", "functional_env", "stable_baselines3_env")
        ],
    ),
}


def write_api() -> None:
    """A page for each group of public modules, and the agents of the package."""
    from dsegym.agents.registry import BUILT_IN

    shown: dict[int, str] = {}  # {id of an object: the name by which it is documented, its most public one}
    for page, (title, modules) in API.items():
        parts = [heading(title, "=")]
        for name in modules:
            parts += [heading(name, "-")] * (len(modules) > 1) + [f".. automodule:: {name}\n"]
            parts += _entries(name, shown)
        gallery.write_changed(DOCS / "api" / f"{page}.rst", "\n".join(parts))
    parts = [heading("Agents that are shipped", "="), "By the names that suites and ``dsegym list`` give them.\n"]
    for name, entry in sorted(BUILT_IN.items()):
        parts += [heading(name, "-"), f".. autoclass:: {entry.location.replace(':', '.')}\n"]
    gallery.write_changed(DOCS / "api" / "shipped_agents.rst", "\n".join(parts))
    pages = "\n   ".join([*API, "shipped_agents"])
    text = heading("API reference", "=") + "\nMade from the docstrings. What is not here is no promise.\n"
    gallery.write_changed(DOCS / "api" / "index.rst", f"{text}\n.. toctree::\n   :maxdepth: 2\n\n   {pages}\n")


def heading(text: str, line: str) -> str:
    """A heading of reStructuredText."""
    return f"{text}\n{line * len(text)}\n"


def _entries(name: str, shown: dict[int, str]) -> list[str]:
    """The public names of a module: the classes and functions that no page before has, links to others, the rest by
    name alone.
    """
    module = importlib.import_module(name)
    entries, elsewhere, plain = [], [], []
    for public in module.__all__:
        found = getattr(module, public)
        if not (inspect.isclass(found) or inspect.isfunction(found)) or typing.get_origin(found):
            plain.append(f"``{public}``")
        elif id(found) in shown:
            elsewhere.append(f":py:obj:`~{shown[id(found)]}`")
        else:
            shown[id(found)] = f"{name}.{public}"
            kind = "class" if inspect.isclass(found) else "function"
            members = "   :members:\n" if kind == "class" else ""
            entries.append(f".. auto{kind}:: {name}.{public}\n{members}")
    lists = [("Documented elsewhere, and public here too", elsewhere), ("Constants and types", plain)]
    return [*(f"{title}: {', '.join(names)}.\n" for title, names in lists if names), *entries]


# --- Sphinx ----------------------------------------------------------------------------------------------------------


def make_pages(app: Sphinx) -> None:
    """Before pages are read: those that are made."""
    write_top_level()
    write_api()
    gallery.write(DOCS / "gallery", Path(app.outdir).parent / "gallery")


def turn_page(app: Sphinx, page: str, source: list[str]) -> None:
    """A page as it is read: its links turned, and after the landing page's text the tables of contents."""
    path = DOCS / f"{page}.md"
    if path.exists() and path.parent == DOCS:
        source[0] = turned(source[0], path, page) + (contents() if page == "index" else "")


_KEPT: dict[str, list[str]] = {}  # {a property's name: the lines of its docstring}, between two steps of autodoc
SEVERAL = re.compile(r"^(\s+(?:[*\w]+, )+[*\w]+:)(?= )")  # names that share a text


def join_names(app: Sphinx, kind: str, name: str, found: object, options: Any, lines: list[str]) -> None:
    """Before Napoleon, which takes the first of several names (`a, b: text`) for the type of the last."""
    lines[:] = [SEVERAL.sub(lambda names: names[1].replace(", ", ","), line) for line in lines]


def keep_property(app: Sphinx, kind: str, name: str, found: object, options: Any, lines: list[str]) -> None:
    """Before Napoleon, which takes what precedes a colon in a property's docstring for a type: the text is put by."""
    if kind == "property":
        _KEPT[name] = list(lines)


def give_property(app: Sphinx, kind: str, name: str, found: object, options: Any, lines: list[str]) -> None:
    """After Napoleon: the text as it was."""
    if kind == "property":
        lines[:] = _KEPT.pop(name)


def skip_field(app: Sphinx, kind: str, name: str, found: object, skip: bool, options: Any) -> bool | None:
    """Fields of dataclasses are in their class's text; what autodoc would show is the docstring of their default."""
    return True if kind == "class" and isinstance(found, type | str | int | float | tuple) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    from pygments.lexers.special import TextLexer

    for language in ("csv", "jsonl"):
        app.add_lexer(language, TextLexer)
    app.connect("autodoc-process-docstring", join_names, priority=300)
    app.connect("autodoc-process-docstring", keep_property, priority=400)
    app.connect("autodoc-process-docstring", give_property, priority=600)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("builder-inited", make_pages)
    app.connect("source-read", turn_page)
    return {"parallel_read_safe": True}
