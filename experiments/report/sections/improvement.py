"""Who beats whom: a heat map of probabilities."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from ...formats import interval_text
from ...scoring.records import Improvement, Leaderboard
from ..style import styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["improvement_figure"]


def _interval(pair: Improvement) -> str:
    return interval_text(pair.low, pair.high, lambda low, high: f"{low:.2f} to {high:.2f}")


def improvement_figure(leaderboard: Leaderboard) -> go.Figure:
    """Heat map: blue where the row's agent beats the column's, orange where it loses, white at a toss-up."""
    agents = [row.agent for row in leaderboard.rows]
    names = [html.escape(agent) for agent in agents]
    pairs = {(pair.x, pair.y): pair for pair in leaderboard.improvement}
    cells = [[pairs.get((x, y)) for y in agents] for x in agents]
    figure = styled_figure(height=170 + 38 * len(agents), margin={"l": 10, "r": 10, "t": 20, "b": 60})
    figure.add_heatmap(
        x=names,
        y=names,
        z=[[None if pair is None else pair.probability for pair in row] for row in cells],
        text=[["" if pair is None else f"{pair.probability:.2f}" for pair in row] for row in cells],
        customdata=[["" if pair is None else _interval(pair) for pair in row] for row in cells],
        texttemplate="%{text}",
        hovertemplate="P(%{y} beats %{x}) = %{text}<br>95 % interval %{customdata}<extra></extra>",
        hoverongaps=False,
        zmin=0,
        zmax=1,
        colorscale=[[0, "#E69F00"], [0.5, "#FFFFFF"], [1, "#56B4E9"]],
        colorbar={
            "title": {"text": "probability", "side": "right"},
            "thickness": 12,
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
        },
        xgap=2,
        ygap=2,
    )
    figure.update_xaxes(title="… than this agent", showgrid=False, tickangle=-35 if len(agents) > 3 else 0)
    figure.update_yaxes(title="this agent scores higher …", showgrid=False, autorange="reversed")
    return figure
