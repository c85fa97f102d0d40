"""A problem's answers, one row each in the order in which they came up; budget spent goes to the right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...diagram import Diagram, in_row, row_ticks
from .game import State

__all__ = ["draw_problem"]


def draw_problem(states: Sequence[State], *, budget: float) -> Diagram:
    """A problem's samples and verdicts so far.

    Args:
        states: of the episode, the first one included.
        budget: in samples.
    """
    found, rows = [], {}
    for before, after in itertools.pairwise(states):
        voted, judged = after.votes - before.votes, after.verdicts - before.verdicts
        if voted.any():
            group = int(voted.argmax())
            kind = "right sample" if after.members_right[group] > before.members_right[group] else "wrong sample"
        elif judged.any():
            group = int(judged.argmax())
            kind = "verdict yes" if after.yes[group] > before.yes[group] else "verdict no"
        else:
            continue  # it answers
        row = rows.setdefault(group, len(rows))
        found.append(in_row(row, float(before.spent), float(after.spent), kind, f"answer {row + 1}: {kind}"))
    last, count = states[-1], max(len(rows), 1)
    outcome = f"answered, right with {float(last.accuracy):.2f}" if last.answered else "no answer yet"
    return Diagram(
        title=f"a problem: {int(last.samples)} samples, {int(last.verdicts.sum())} verdicts, {outcome}",
        x_label="budget (samples)",
        y_label="answer",
        x_range=(0.0, budget),
        y_range=(0.0, float(count)),
        rectangles=found,
        y_ticks=row_ticks([str(place + 1) for place in range(count)]),
    )
