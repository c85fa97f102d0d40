"""Where a plan's tokens went: budget spent goes to the right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...diagram import Diagram, Rectangle
from .game import State

__all__ = ["draw_plan"]


def draw_plan(states: Sequence[State]) -> Diagram:
    """A plan's sub-questions so far, as wide as their tokens, as high as they are certain.

    Args:
        states: of the episode, the first one included.
    """
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
