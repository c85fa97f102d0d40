"""The page's sections, a file each: charts that every page has, those of `SECTIONS`, which it may lack, and fronts."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ...scoring.records import Leaderboard
from ..section import Section
from . import designs, fronts, profiles, sweeps

__all__ = ["SECTIONS", "fronts"]

# In the page's order; the packages that may be imported are the second argument.
SECTIONS: tuple[Callable[[Leaderboard, Collection[str]], Section | None], ...] = (
    profiles.section,
    sweeps.section,
    designs.section,
)
