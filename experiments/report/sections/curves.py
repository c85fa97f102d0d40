"""Anytime curves: the score of the best design so far, against samples or seconds.

The page holds each curve once, as distances to the bound with the digits that a screen resolves, and only where it
changes; its script makes the figures of both views of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...formats import format_score
from ...scoring.records import Curve
from ..chart import chart_html, to_json
from ..style import REGRET, SCORE, View, base_layout, yardstick_layout

__all__ = ["curves_chart", "curves_layout"]

_LOWEST_SCORE = -0.5  # early designs can be far worse than the reference; curves start in sight from here on
_LINE_DIGITS, _BAND_DIGITS = 5, 3  # of distances: a line's are read at its points, a band's are drawn only
_TOLD = 5  # agents whose last score a chart's label tells


def curves_chart(
    curves: Sequence[Curve],
    grid: Sequence[float],
    places: Mapping[str, int],
    name: str,
    *,
    x_title: str,
    about: str,
    view: View | None = None,
) -> str:
    """A chart of curves as an element of the page.

    Args:
        curves: of agents, in the order in which they are drawn and named; one at least.
        grid: where they are known.
        places: agent to its place among the page's agents, which says how it is drawn.
        name: its own on the page.
        x_title: of the axis.
        about: what it shows, plain text.
        view: the one it shows; None, for one of many: smaller, without a legend, and in the view that the page has
            chosen.
    """
    scores = [score for curve in curves for score in (*(curve.low or ()), *curve.score, *(curve.high or ()))]
    lowest = min([_LOWEST_SCORE, *(curve.score[-1] for curve in curves)])
    small = view is None
    height = 260 if small else 390 + 22 * math.ceil(len(curves) / 5)  # room for the legend's lines
    views = (SCORE, REGRET) if view is None else (view,)
    figure = {
        "small": small,
        "views": {each.name: _view(each, scores, lowest, x_title, grid) for each in views},
        "grid": [float(f"{point:.6g}") for point in grid],
        "curves": [_data(curve, places[curve.agent]) for curve in curves],
    }
    last = sorted(((curve.score[-1], curve.agent) for curve in curves), reverse=True)
    told = ", ".join(f"{agent} {format_score(score)}" for score, agent in last[:_TOLD])
    label = f"{about}. Scores at the end, the best first: {told}{' and others' if len(last) > _TOLD else ''}."
    return chart_html(to_json(figure), name, kind="curves", height=height, label=label)


def _view(view: View, scores: Sequence[float], lowest: float, x_title: str, grid: Sequence[float]) -> dict[str, Any]:
    """How one view is drawn: where distances stop, and what the layout has beside the base."""
    floor = view.floor(scores)
    decades = math.log10(grid[-1] / grid[0])
    pad = max(0.01 * decades, 0.05)
    x_axis = {
        "title": {"text": x_title},
        "type": "log",
        "exponentformat": "none",
        "range": [math.log10(grid[0]) - pad, math.log10(grid[-1]) + pad],
        "nticks": 6,
        **({"dtick": 1} if decades >= 2 else {}),
    }
    y_axis = {"title": {"text": view.title}, **view.axis(scores, floor, lowest=lowest)}
    layout = {"xaxis": x_axis, "yaxis": y_axis, **yardstick_layout(view, floor, horizontal=True)}
    return {"floor": floor if view.regret else None, "layout": layout}


def _data(curve: Curve, place: int) -> dict[str, Any]:
    """A curve as distances to the bound at the places of the grid where it changes; the last place closes it."""
    line = _distances(curve.score, _LINE_DIGITS)
    bands = [] if curve.low is None or curve.high is None else [curve.low, curve.high]
    columns = [line, *(_distances(band, _BAND_DIGITS) for band in bands)]
    points = list(zip(*columns, strict=True))
    kept = [at for at in range(len(points)) if at in (0, len(points) - 1) or points[at] != points[at - 1]]
    names = ("line", "low", "high")
    return {
        "agent": place,
        "at": kept,
        **{name: [column[at] for at in kept] for name, column in zip(names, columns, strict=False)},
    }


def _distances(scores: Sequence[float], digits: int) -> list[float | int]:
    found = [float(f"{1 - score:.{digits}g}") for score in scores]
    return [int(each) if each.is_integer() else each for each in found]


def curves_layout() -> dict[str, Any]:
    """What the layouts of all curves share."""
    return {
        **base_layout(),
        "margin": {"l": 10, "r": 15, "t": 20, "b": 50},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
