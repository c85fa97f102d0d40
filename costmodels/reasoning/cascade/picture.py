"""A batch of questions, one row each, and the models that answered them; budget spent goes to the right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ...diagram import Diagram, in_row
from .game import NAMES, State

__all__ = ["draw_cascade"]


def draw_cascade(states: Sequence[State], *, budget: float) -> Diagram:
    """A batch so far.

    Args:
        states: of the episode, the first one included.
        budget: of the batch, TFLOP.
    """
    found = []
    for before, after in itertools.pairwise(states):
        if after.runs > before.runs:
            model = NAMES[int(np.argmax(after.ran & ~before.ran))]
            label = f"question {int(before.at) + 1}, {model}: {'right' if after.last else 'wrong'}"
            found.append(in_row(int(before.at), float(before.spent), float(after.spent), model, label))
    last, count = states[-1], len(states[-1].chosen)
    return Diagram(
        title=f"a batch: {float(last.solved):.0f} of {count} questions answered right, {float(last.spent):,.0f} TFLOP",
        x_label="budget (TFLOP)",
        y_label="question",
        x_range=(0.0, budget),
        y_range=(0.0, float(count)),
        rectangles=found,
    )
