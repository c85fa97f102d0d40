"""Anytime curves: the score of the best design so far, against samples or seconds."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...scoring.records import Curve
from ..style import Style, View, add_yardsticks, faint, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["curves_figure", "small"]

_LOWEST_SCORE = -0.5  # early designs can be far worse than the reference; curves start in sight from here on


def curves_figure(
    curves: Sequence[Curve], grid: Sequence[float], styles: Mapping[str, Style], view: View, x_title: str
) -> go.Figure:
    """Score against samples or seconds: a line and a bootstrap band per agent."""
    scores = [score for curve in curves for score in (*(curve.low or ()), *curve.score, *(curve.high or ()))]
    floor = view.floor(scores)
    figure = styled_figure(
        height=390 + 22 * math.ceil(len(curves) / 5),  # room for the legend's lines
        margin={"l": 10, "r": 15, "t": 20, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    for curve in curves:
        if curve.low is None or curve.high is None:
            continue
        name, style = html.escape(curve.agent), styles[curve.agent]
        band = {"x": list(grid), "mode": "lines", "legendgroup": name, "showlegend": False, "hoverinfo": "skip"}
        edge = {"width": 0, "shape": "hv", "color": style.colour}
        figure.add_scatter(y=view.coordinates(curve.low, floor), line=edge, **band)
        figure.add_scatter(
            y=view.coordinates(curve.high, floor), line=edge, fill="tonexty", fillcolor=faint(style.colour), **band
        )
    for curve in curves:  # after all bands, so that no band lies over a line
        name, style = html.escape(curve.agent), styles[curve.agent]
        figure.add_scatter(
            x=list(grid),
            y=view.coordinates(curve.score, floor),
            customdata=list(curve.score),
            name=name,
            legendgroup=name,
            mode="lines",
            line={"color": style.colour, "dash": style.dash, "width": 2, "shape": "hv"},
            hovertemplate="%{x:.4~g}: score %{customdata:.5f}",
        )
    decades = math.log10(grid[-1] / grid[0])
    pad = max(0.01 * decades, 0.05)
    figure.update_xaxes(
        title=x_title,
        type="log",
        exponentformat="none",
        range=[math.log10(grid[0]) - pad, math.log10(grid[-1]) + pad],
        nticks=6,
        dtick=1 if decades >= 2 else None,
    )
    lowest = min([_LOWEST_SCORE, *(curve.score[-1] for curve in curves)])
    figure.update_yaxes(title=view.title, **view.axis(scores, floor, lowest=lowest))
    add_yardsticks(figure, view, floor, horizontal=True)
    return figure


def small(figure: go.Figure) -> go.Figure:
    """The same chart as one of many: smaller, and without a legend of its own."""
    return figure.update_layout(height=260, showlegend=False, font={"size": 11})
