"""`dsegym learning`: whether learning pays, as a page made of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...costmodels.errors import DsegymError
from .arguments import JsonOption
from .stored_pages import PageOption, SectionOption, StoredArgument, read_stored, show_page

__all__ = ["learning"]

PAGE, STORED = "learning.md", "learning/results.json"


def learning(
    results: StoredArgument,
    output: PageOption = None,
    section: SectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show whether learning pays: policies against the best rules on held-out instances, as a page.

    Example: `dsegym learning results/learning --output docs`
    """
    from ..scoring.learning import from_stored, to_stored

    def read() -> str:
        return to_stored(*(read_stored(results, from_stored) if results.is_file() else _played(results)))

    def made(stored: str) -> dict[str, str]:
        from ..report.learning import learning_page

        return {PAGE: learning_page(*from_stored(stored))}

    show_page(output, as_json, section, PAGE, STORED, read=read, made=made)


def _played(results: Path) -> tuple[list[Any], str, Any]:
    """What counts of a directory's evaluations; the suite's name, or "", and its trainings."""
    from ..evaluations import read_evaluations
    from ..policy_runner import read_policy_note, trainings_of
    from ..scoring.policies import played

    found = [played(result) for result in read_evaluations(results)]
    if not found:
        raise DsegymError(f"'{results}' holds no evaluation of a policy; `dsegym evaluate` and `dsegym run` make them.")
    return found, (read_policy_note(results) or {"name": ""})["name"], trainings_of(results)
