"""Where a policy's budget went, episode by episode: the pictures of the test-time families.

Each function takes the states of an episode so far, the first one included, with leaves on the host, and draws what
happened between one and the next: time, as budget spent, goes to the right.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...costmodels.diagram import Diagram, Rectangle

__all__ = ["draw_batch", "draw_plan"]

_INSET = 0.1  # of a row, above and below what lies in it


def _rows(names: Sequence[str]) -> tuple[tuple[float, str], ...]:
    return tuple((place + 0.5, name) for place, name in enumerate(names))


def _in_row(row: int, start: float, end: float, kind: str, label: str) -> Rectangle:
    return Rectangle(start, row + _INSET, end - start, 1 - 2 * _INSET, kind, label)


def draw_batch(states: Sequence[Any], *, budget: float, unit: str, noisy: bool) -> Diagram:
    """A batch of questions, one row each; states of `BatchBestOfN`.

    Args:
        states: of the episode so far.
        budget: of the batch.
        unit: of the budget.
        noisy: whether the verifier errs.
    """
    found = []
    for before, after in itertools.pairwise(states):
        tried = after.attempts - before.attempts
        if not tried.any():
            continue  # nothing was affordable
        question = int(tried.argmax())
        kind = "right" if after.right[question] > before.right[question] else "wrong"
        if noisy:
            accepted = [
                float(each.accepted_right[question] + each.accepted_wrong[question]) for each in (before, after)
            ]
            kind = f"{kind}, {'accepted' if accepted[1] > accepted[0] else 'rejected'}"
        label = f"question {question + 1}, sample {int(after.attempts[question])}: {kind}"
        found.append(_in_row(question, float(before.spent), float(after.spent), kind, label))
    last = states[-1]
    count = len(last.attempts)
    solved = int(np.sum(last.right > 0))
    return Diagram(
        title=f"a batch: {solved} of {count} questions have a right sample, {float(last.spent):,.0f} {unit} spent",
        x_label=f"budget ({unit})",
        y_label="question",
        x_range=(0.0, budget),
        y_range=(0.0, float(count)),
        rectangles=found,
        y_ticks=_rows([str(place + 1) for place in range(count)]),
    )


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
