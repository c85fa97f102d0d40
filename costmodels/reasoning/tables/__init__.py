"""The data tables of this folder: CSV. Where figures come from, and what the columns mean: ../SOURCES.md."""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Mapping

__all__ = ["rows"]


@functools.cache
def rows(table: str) -> tuple[Mapping[str, str], ...]:
    """The rows of a table of this folder, by its name without .csv."""
    text = (importlib.resources.files(__name__) / f"{table}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
