"""An episode as a person looks at it: a row a request, its wait for the first token, then its tokens on its server."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...diagram import Diagram, in_row
from ..engine.engine import NEVER
from .game import State, tokens_us

__all__ = ["draw_stream"]


def draw_stream(state: State, names: Sequence[str]) -> Diagram:
    """What is known of an episode so far.

    Args:
        state: leaves on the host.
        names: of the servers.
    """
    first, last = (np.asarray(times) for times in tokens_us(state))
    server, arrival = np.asarray(state.server), np.asarray(state.window.arrival_us)
    known = (server >= 0) & (server < len(names)) & (last < NEVER)
    rows = []
    for request in np.flatnonzero(known):
        begin, token, end = (float(times[request]) * 1e-6 for times in (arrival, first, last))
        name = names[int(server[request])]
        rows.append(in_row(int(request), begin, token, "no token yet", f"request {request} on {name}: waits"))
        rows.append(in_row(int(request), token, end, name, f"request {request} on {name}: makes tokens"))
    end = float(last[known].max()) * 1e-6 if known.any() else 1.0
    return Diagram(
        title=f"{int((server >= 0).sum())} of {len(server)} requests sent, {int((server == len(names)).sum())} away",
        x_label="time (s)",
        y_label="request",
        x_range=(0.0, end),
        y_range=(0.0, float(len(server))),
        rectangles=rows,
    )
