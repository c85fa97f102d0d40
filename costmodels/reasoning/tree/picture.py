"""A search's leaves, a column for each depth: which went on, and which could still be right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...arrays import Array
from ...diagram import Diagram, in_row
from .game import Params, Rules, State, kept_weights

__all__ = ["draw_search"]


def draw_search(rules: Rules, states: Sequence[State], actions: Sequence[Array], params: Params) -> Diagram:
    """A search so far.

    Args:
        rules: of the instance.
        states: of the episode, the first one included.
        actions: int32[K] each, between them.
        params: of the instance.
    """
    kept = [np.asarray(kept_weights(rules, *pair, params)[0]) > 0 for pair in zip(states, actions, strict=False)]
    found = []
    for place, state in enumerate(states):
        if int(state.depth) > rules.depth:
            break
        for slot in np.flatnonzero(state.nodes.there):
            fate = "" if place >= len(kept) else "kept, " if kept[place][slot] else "dropped, "
            kind = fate + ("can be right" if state.nodes.good[slot] else "wrong")
            label = f"{kind}: value {float(state.nodes.value[slot]):.2f}"
            found.append(in_row(int(slot), int(state.depth) - 0.9, int(state.depth) - 0.1, kind, label))
    last = states[-1]
    over = int(last.depth) > rules.depth
    outcome = ("solved" if last.success else "not solved") if over else f"at depth {int(last.depth)}"
    return Diagram(
        title=f"a search: {outcome}, {float(last.cache):.0f} nodes of cache summed over depths",
        x_label="depth",
        y_label="leaf",
        x_range=(0.0, float(rules.depth)),
        y_range=(0.0, float(rules.slots)),
        rectangles=found,
    )
