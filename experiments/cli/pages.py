"""Pages in Markdown as a terminal shows them: one section at a time, with tables at its width."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from ...costmodels.errors import UnknownNameError
from .tables import say, terminal

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

__all__ = ["show_section"]

_SUMMARY = "In short"  # the section that a terminal shows of a page
_INDENT = "  "


def show_section(page: str, name: str | None) -> None:
    """Prints a section of a page; without a name its title, its summary, and what other sections there are.

    Args:
        page: Markdown, with a heading of the first level and sections of the second.
        name: the section's heading, in any case.

    Raises:
        UnknownNameError: the page has no such section.
    """
    title, sections = _taken_apart(page)
    asked = _SUMMARY if name is None else name
    found = {heading.casefold(): heading for heading in sections}.get(asked.strip().casefold())
    if found is None:
        raise UnknownNameError("section", asked, sections)
    console = terminal()
    say(console, title if name is None else found, "bold underline")
    for node in sections[found]:
        console.print()
        _print(console, node)
    if name is None:
        console.print()
        others = ", ".join(f"'{heading}'" for heading in sections if heading != found)
        say(console, f"--section shows another: {others}. --output FOLDER writes the whole page.")


def _taken_apart(page: str) -> tuple[str, dict[str, list[SyntaxTreeNode]]]:
    """A page's title, and {heading: what stands below it} of its sections."""
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    tree = SyntaxTreeNode(MarkdownIt("commonmark", {"html": False}).enable("table").parse(page))
    title, sections, below = "", {}, []
    for node in tree.children:
        if node.type == "heading" and node.tag == "h1":
            title = _text(node)
        elif node.type == "heading" and node.tag == "h2":
            below = sections.setdefault(_text(node), [])
        else:
            below.append(node)
    return title, sections


def _print(console: Any, node: SyntaxTreeNode) -> None:
    """Prints what stands between two blank lines."""
    from ..report.sheet import wrapped

    match node.type:
        case "heading":
            say(console, _text(node), "bold")
        case "table":
            console.print(_sheet(node))
        case "bullet_list" | "ordered_list":
            for item in node.children:
                lines = wrapped(_text(item), console.width - len(_INDENT)).split("\n")
                say(console, "- " + f"\n{_INDENT}".join(lines))
        case "fence":
            say(console, textwrap.indent(node.content.rstrip(), _INDENT))
        case _:
            say(console, _text(node))


def _sheet(node: SyntaxTreeNode) -> Any:
    """A table; its first column says what a row is about, or two where numbers follow them."""
    from ..report.sheet import Column, Sheet

    head, *bodies = node.children
    cells = head.children[0].children
    columns = [Column(_text(cell), "right" in str(cell.attrs.get("style", ""))) for cell in cells]
    rows = [[_text(cell) for cell in row.children] for body in bodies for row in body.children]
    words = next((place for place, column in enumerate(columns) if column.number), 1)
    return Sheet("", columns, rows, keys=min(max(words, 1), 2))


def _text(node: SyntaxTreeNode) -> str:
    """The words of a node, without their markup; a picture is its description."""
    if node.type in ("softbreak", "hardbreak"):
        return " "
    if node.children and node.type != "image":
        return "".join(map(_text, node.children))
    return f"(picture: {node.content})" if node.type == "image" else node.content
