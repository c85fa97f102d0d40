"""Where a policy's budget went, episode by episode: the pictures of the test-time families.

Each function takes the states of an episode so far, the first one included, with leaves on the host, and draws what
happened between one and the next: time, as budget spent, goes to the right.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ...costmodels.diagram import Diagram, Rectangle

__all__ = ["draw_plan"]

_INSET = 0.1  # of a row, above and below what lies in it


def _rows(names: Sequence[str]) -> tuple[tuple[float, str], ...]:
    return tuple((place + 0.5, name) for place, name in enumerate(names))


def _in_row(row: int, start: float, end: float, kind: str, label: str) -> Rectangle:
    return Rectangle(start, row + _INSET, end - start, 1 - 2 * _INSET, kind, label)


def draw_plan(states: Sequence[Any]) -> Diagram:
    """A plan's sub-questions, as wide as their tokens, as high as they are certain; states of `SubQuestionBudget`."""
    found, budget = [], float(states[0].budget_tokens)
    for before, after in itertools.pairwise(states):
        start, end = (budget - float(state.left_tokens) for state in (before, after))
        certain, name = max(1 - float(after.residual), 0.0), f"sub-question {int(after.answered)}"
        label = f"{name}: {end - start:.0f} tokens, 1 - uncertainty {certain:.2f}"
        found.append(Rectangle(start, 0.0, end - start, certain, name, label))
    last = states[-1]
    return Diagram(
        title=f"a plan of {int(last.plan.count)}: {int(last.answered)} answered, utility {float(last.utility):.3f}",
        x_label="budget (tokens)",
        y_label="1 - uncertainty, at least 0",
        x_range=(0.0, budget),
        y_range=(0.0, 1.0),
        rectangles=found,
    )
