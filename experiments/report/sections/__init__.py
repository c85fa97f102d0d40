"""The page's sections, a file each: charts that every page has, those of `SECTIONS`, which it may lack, and fronts."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ...scoring.records import Leaderboard
from ..section import Section
from . import designs, fronts, sweeps

__all__ = ["SECTIONS", "fronts"]

# In the page's order; the packages that may be imported are the second argument.
SECTIONS: tuple[Callable[[Leaderboard, Collection[str]], Section | None], ...] = (sweeps.section, designs.section)
