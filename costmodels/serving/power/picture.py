"""A row's power over time, a bar a minute, coloured by what is capped; the supply is a line."""

from __future__ import annotations

from collections.abc import Sequence

from ...diagram import Diagram, Rectangle
from .game import STEP_S, State

__all__ = ["draw_row"]

_STEPS = round(60 / STEP_S)  # of a bar


def draw_row(states: Sequence[State]) -> Diagram:
    """An episode so far.

    Args:
        states: of the episode, the first one included.
    """
    bars = []
    for start in range(0, len(states), _STEPS):
        minute = states[start : start + _STEPS]
        peak = max(float(each.power) for each in minute)
        low, high = (any(int(each.applied[place]) > 0 for each in minute) for place in (0, 1))
        braked = any(int(each.brake_left) > 0 for each in minute)
        names = (
            (braked, "power brake"),
            (high, "high priority capped"),
            (low, "low priority capped"),
            (True, "uncapped"),
        )
        kind = next(name for holds, name in names if holds)
        minutes = start / _STEPS
        bars.append(Rectangle(minutes, 0.0, 1.0, peak, kind, f"minute {minutes:.0f}: at most {100 * peak:.1f} %"))
    brakes = int(states[-1].brakes)
    return Diagram(
        title=f"a row's highest power by the minute: {brakes} brake{'' if brakes == 1 else 's'}",
        x_label="time (minutes)",
        y_label="power over the supply",
        x_range=(0.0, max(len(states) / _STEPS, 1.0)),
        y_range=(0.0, max(1.05, *(float(each.power) for each in states))),
        rectangles=bars,
        limit=(1.0, "supply"),
    )
