"""The ranking as a chart: every agent's score and its interval."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...formats import interval_text
from ...scoring.records import Leaderboard
from ..style import Style, View, add_yardsticks, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["ranking_figure"]


def ranking_figure(leaderboard: Leaderboard, styles: Mapping[str, Style], view: View) -> go.Figure:
    """A dot and an interval per agent, the best on top, better to the right."""
    ends = [end for row in leaderboard.rows for end in (row.low, row.score, row.high) if end is not None]
    floor = view.floor(ends)
    figure = styled_figure(height=110 + 30 * len(leaderboard.rows), margin={"l": 10, "r": 20, "t": 30, "b": 50})
    for row in leaderboard.rows:
        row_ends = [row.score if end is None else end for end in (row.low, row.high)]
        score, low, high = view.coordinates((row.score, *row_ends), floor)
        interval = interval_text(row.low, row.high, lambda low, high: f"{low:.6f} to {high:.6f}")
        name, style = html.escape(row.agent), styles[row.agent]
        figure.add_scatter(
            x=[score],
            y=[name],
            mode="markers",
            marker={"color": style.colour, "symbol": style.symbol, "size": 7},
            error_x={
                "array": [max(low, high) - score],
                "arrayminus": [score - min(low, high)],
                "thickness": 2,
                "width": 5,
            },
            showlegend=False,
            hovertemplate=f"{name}<br>score {row.score:.6f}<br>95 % interval {interval}<extra></extra>",
        )
    axis = view.axis(ends, floor)
    if view.regret:
        axis["range"] = axis["range"][::-1]
    figure.update_xaxes(title=view.title, **axis)
    figure.update_yaxes(
        categoryorder="array", categoryarray=[html.escape(row.agent) for row in leaderboard.rows], autorange="reversed"
    )
    add_yardsticks(figure, view, floor, horizontal=False)
    return figure
