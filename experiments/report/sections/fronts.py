"""Fronts on the leaderboard's page: what all trials of an instance found in several costs, beside experts' machines."""

from __future__ import annotations

import html
from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING

from ....envs.faces.raster import PALETTE
from ...front_search import designs_of, trials_of
from ...scoring.fronts import Front, front_of
from ...scoring.records import Instance, Leaderboard
from ...store import TrialResult
from ..fronts import axis_label, is_front, log_ranges, log_ticks, marks
from ..section import Section, draw_problems
from ..style import INK, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ....envs.core.problem import Problem

__all__ = ["section"]

_SYMBOLS = ("diamond", "square", "triangle-up", "triangle-down", "pentagon", "hexagon", "star")


def section(leaderboard: Leaderboard, trials: Sequence[TrialResult], allow: Collection[str] = ()) -> Section | None:
    """The front of each instance whose scenario declares several costs; None where none does.

    Instances that differ in their objective only share a chart, and all their trials count. Designs are costed anew.
    """

    def draw(problem: Problem, instance: Instance) -> tuple[str, go.Figure] | None:
        front = front_of(problem, designs_of(problem, trials_of(problem, trials)), problem.front)
        rest = ", ".join(f"{name}={text}" for name, text in instance.options.items() if name != "objective")
        share = f"hypervolume {front.hypervolume:.4f} of the box up to twice the reference's costs"
        return f"{instance.scenario} ({rest}): {share}", _figure(front)

    charts = draw_problems(
        leaderboard,
        "front",
        lambda problem: problem.front or None,
        draw,
        lambda offer, instance: _group(instance),
        allow,
    )
    about = (
        "Of all designs that any trial costed, those that no other beats in every cost. Machines that experts built "
        "are costed by the same model at their sizes; where these come from, the command dsegym info says."
    )
    return charts.section("Fronts", about, "charts")


def _group(instance: Instance) -> Hashable:
    rest = tuple((name, text) for name, text in instance.options.items() if name != "objective")
    return instance.scenario, *rest


def _figure(front: Front) -> go.Figure:
    """The first two costs on logarithmic axes."""
    found = marks(front)
    figure = styled_figure(
        height=440,
        margin={"l": 10, "r": 15, "t": 20, "b": 90},
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
    )
    kinds = list(dict.fromkeys(mark.kind for mark in found))
    others = [kind for kind in kinds if not kind.startswith("front")]
    for kind in kinds:
        here = [mark for mark in found if mark.kind == kind]
        drawn = kind.startswith("front")
        place = 0 if drawn else others.index(kind)
        own = is_front(kind)
        figure.add_scatter(
            x=[float(f"{mark.x:.6g}") for mark in here],
            y=[float(f"{mark.y:.6g}") for mark in here],
            text=[html.escape(mark.label) for mark in here],
            name=html.escape(kind),
            legendrank=1 if own else 1000,  # drawn last, so that nothing hides it, and named first
            mode="lines+markers" if own else "markers",
            line={"shape": "hv", "width": 1, "color": INK},
            marker={
                "color": INK if own else "#aaaaaa" if drawn else PALETTE[place % len(PALETTE)],
                "symbol": "circle" if drawn else _SYMBOLS[place % len(_SYMBOLS)],
                "size": 5 if drawn else 11,
            },
            hovertemplate="%{text}<br>%{x:.4g}, %{y:.4g}",
        )
    axes = (figure.update_xaxes, figure.update_yaxes)
    for update, metric, limits in zip(axes, front.metrics, log_ranges(found) if found else (), strict=False):
        ticks = log_ticks(limits)
        update(
            title=html.escape(axis_label(metric)),
            type="log",
            range=limits,
            tickvals=[10**place for place, _ in ticks],
            ticktext=[text for _, text in ticks],
        )
    return figure
