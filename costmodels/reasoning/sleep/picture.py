"""Where a context's budget went, episode by episode: time, as budget spent, goes to the right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...diagram import Diagram, Rectangle
from .game import State

__all__ = ["draw_context"]


def draw_context(states: Sequence[State], *, budget: float) -> Diagram:
    """A context: tokens asleep, then each query's, as high as its accuracy.

    Args:
        states: of the episode so far.
        budget: in offline tokens.
    """
    found = []
    for before, after in itertools.pairwise(states):
        start, end = (budget - float(state.left_tokens) for state in (before, after))
        answered = int(after.answered)
        if answered == 0:
            found.append(Rectangle(start, 0.0, end - start, 1.0, "asleep", f"asleep: {end - start:,.0f} tokens"))
        elif answered > int(before.answered):
            right = float(after.accuracy) * answered - float(before.accuracy) * (answered - 1)
            label = f"query {answered}: accuracy {right:.2f}, {end - start:,.0f} offline tokens' worth"
            found.append(Rectangle(start, 0.0, end - start, right, "query", label))
    last = states[-1]
    return Diagram(
        title=f"a context: queries answered {max(int(last.answered), 0)}, mean accuracy {float(last.accuracy):.3f}",
        x_label="budget (offline tokens)",
        y_label="accuracy of a query (fraction)",
        x_range=(0.0, budget),
        y_range=(0.0, 1.0),
        rectangles=found,
    )
