"""An episode over time: a bar for each layer of each token, coloured by what it waited for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...diagram import Diagram, in_row, row_ticks
from .game import Params, State

__all__ = ["draw_steps"]


def draw_steps(states: Sequence[State], params: Params) -> Diagram:
    """An episode so far.

    Args:
        states: of the episode, the first one included.
        params: of the instance.
    """
    layers = states[0].level.shape[0]
    compute = float(params.compute_ms)
    bars = []
    for before, after in itertools.pairwise(states):
        start, end = float(before.time_ms), float(after.time_ms)
        if end <= start:
            continue
        layer, waits = int(before.step) % layers, end - start > compute * (1 + 1e-6)
        missed = float(after.last_read_ms)
        kind = "computes" if not waits else "waits for missing experts" if missed > 0 else "waits for reads ahead"
        label = (
            f"token {int(before.step) // layers + 1}, layer {layer}: {end - start:.2f} ms, "
            f"{100 * float(after.last_hits):.0f} % of its experts in memory"
        )
        bars.append(in_row(layer, start, end, kind, label))
    last = states[-1]
    hits = 100 * float(last.hits) / max(float(last.looked_up), 1.0)
    return Diagram(
        title=f"layers of tokens: {hits:.1f} % of the experts in memory, {float(last.read_mib):,.0f} MiB read",
        x_label="time (ms)",
        y_label="layer",
        x_range=(0.0, max(float(last.time_ms), 1e-6)),
        y_range=(0.0, float(layers)),
        rectangles=bars,
        y_ticks=row_ticks([str(layer) for layer in range(layers)]) if layers <= 16 else (),
    )
