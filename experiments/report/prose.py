"""Sentences of the pages that are made of stored results, as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from .text import cell_text

__all__ = ["paragraph", "point", "unfinished"]

_WIDTH = 120  # characters of a line


def paragraph(text: str) -> str:
    """A paragraph in lines of the page's width; what others named in it is no markup."""
    return textwrap.fill(cell_text(text), _WIDTH, break_long_words=False, break_on_hyphens=False)


def point(text: str) -> str:
    """The same as an item of a list."""
    return textwrap.fill(f"- {cell_text(text)}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def unfinished(lost: Mapping[tuple[str, str], int]) -> str:
    """A sentence on trials that did not finish, with a blank before it; empty where all did.

    Args:
        lost: {(agent, status): how many}.
    """
    if not lost:
        return ""
    listed = ", ".join(f"{agent} {count} {status.replace('_', ' ')}" for (agent, status), count in sorted(lost.items()))
    return f" Not finished, and scored by what they had found: {listed}."
