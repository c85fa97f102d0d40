"""The page's sections, a file each: charts that every page has, and those of `SECTIONS`, which a page may lack."""

from __future__ import annotations

from collections.abc import Callable

from ...scoring.records import Leaderboard
from ..section import Section
from . import designs, sweeps

__all__ = ["SECTIONS"]

# In the page's order.
SECTIONS: tuple[Callable[[Leaderboard], Section | None], ...] = (sweeps.section, designs.section)
