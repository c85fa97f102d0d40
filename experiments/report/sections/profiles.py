"""How often each agent is how good: the share of instances on which its mean score is above a threshold."""

from __future__ import annotations

import html
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ...scoring.profiles import score_profile
from ...scoring.records import Leaderboard
from ..chart import to_fragment
from ..section import Section
from ..style import INK, styled_figure, styles_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["profiles_figure", "section"]

LEAST = 3  # instances that make a profile
_LOWEST = -1.0  # score, from which on the profile is drawn


def section(leaderboard: Leaderboard, allow: Collection[str] = ()) -> Section | None:
    """The score profile; None where there are too few instances for one."""
    del allow
    if len(leaderboard.instances) < LEAST or not leaderboard.rows:
        return None
    about = (
        "How often an agent is how good: the share of instances on which its mean score is above the threshold below. "
        "Who lies higher is better; lines that cross say that one agent is safer and the other reaches further. An "
        "agent counts on the instances that it was run on."
    )
    chart = to_fragment(profiles_figure(leaderboard), "profiles", "Score profiles of all agents")
    return Section("Score profiles", f"<p>{about}</p>\n<figure>{chart}</figure>")


def profiles_figure(leaderboard: Leaderboard) -> go.Figure:
    """A falling staircase for each agent."""
    styles = styles_of(leaderboard)
    found: dict[str, list[float]] = {row.agent: [] for row in leaderboard.rows}
    for instance in leaderboard.instances:
        for score in instance.scores:
            if score.agent in found:
                found[score.agent].append(score.mean_score)
    figure = styled_figure(height=420)
    for agent, scores in found.items():
        if not scores:
            continue
        thresholds = np.array([_LOWEST, *sorted({score for score in scores if _LOWEST < score < 1}), 1.0])
        # The profile falls where a score is reached, so that a stair stands for the thresholds from one to the next.
        figure.add_scatter(
            x=thresholds.tolist(),
            y=score_profile(scores, thresholds).tolist(),
            name=html.escape(agent),
            mode="lines",
            line={"color": styles[agent].colour, "dash": styles[agent].dash, "shape": "hv"},
            hovertemplate="%{y:.0%} of instances above %{x:.3g}<extra>%{fullData.name}</extra>",
        )
    figure.add_vline(0.0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="score: 0 the reference, 1 the bound", range=[_LOWEST, 1.02])
    figure.update_yaxes(title="share of instances above it", range=[0, 1.03], tickformat=".0%")
    return figure
