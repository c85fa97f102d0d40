"""Where a batch's budget went, sample by sample: time, as budget spent, goes to the right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ...diagram import Diagram, in_row, row_ticks
from .game import State

__all__ = ["draw_batch"]


def draw_batch(states: Sequence[State], *, budget: float, unit: str, noisy: bool) -> Diagram:
    """A batch of questions, one row each.

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
        found.append(in_row(question, float(before.spent), float(after.spent), kind, label))
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
        y_ticks=row_ticks([str(place + 1) for place in range(count)]),
    )
