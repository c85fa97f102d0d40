"""The hyperparameter lottery: the score of every draw."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...scoring.records import Leaderboard
from ..style import Style, View, add_yardsticks, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["lottery_figure"]


def lottery_figure(leaderboard: Leaderboard, styles: Mapping[str, Style], view: View) -> go.Figure:
    """A ring per draw of hyperparameters, a bar at their median, and a diamond for the fixed hyperparameters."""
    fixed = {row.agent: row.score for row in leaderboard.rows if not row.drawn}
    shown = {lottery.agent: fixed[lottery.agent] for lottery in leaderboard.lottery if lottery.agent in fixed}
    scores = [draw.score for lottery in leaderboard.lottery for draw in lottery.draws] + list(shown.values())
    floor = view.floor(scores)
    figure = styled_figure(
        height=130 + 40 * len(leaderboard.lottery), margin={"l": 10, "r": 20, "t": 30, "b": 50}, showlegend=False
    )
    for lottery in leaderboard.lottery:
        name, style = html.escape(lottery.agent), styles[lottery.agent]
        marks = [
            ("circle-open", 9, [draw.score for draw in lottery.draws], [f"draw {draw.draw}" for draw in lottery.draws]),
            ("line-ns-open", 22, [lottery.median], ["median of the draws"]),
            ("diamond", 10, [shown[lottery.agent]] if lottery.agent in shown else [], ["fixed hyperparameters"]),
        ]
        for symbol, size, values, labels in marks:
            figure.add_scatter(
                x=view.coordinates(values, floor),
                y=[name] * len(values),
                mode="markers",
                marker={"symbol": symbol, "size": size, "color": style.colour, "line": {"width": 2}},
                text=[f"{label}: score {value:.5f}" for label, value in zip(labels, values, strict=False)],
                hovertemplate=f"{name}<br>%{{text}}<extra></extra>",
            )
    axis = view.axis(scores, floor)
    if view.regret:
        axis["range"] = axis["range"][::-1]
    figure.update_xaxes(title=view.title, **axis)
    figure.update_yaxes(autorange="reversed", type="category")
    add_yardsticks(figure, view, floor, horizontal=False)
    return figure
