"""The best design of each instance as a picture beside the reference's, for the leaderboard's page."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....costmodels.diagram import Diagram, Rectangle
from ....envs.faces.raster import kind_colours
from ...formats import format_quantity
from ...scoring.records import Instance, Leaderboard
from ..section import Section, draw_problems
from ..style import INK, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ....envs.core.problem import Problem

__all__ = ["section"]

_OPACITY = 0.85


def section(leaderboard: Leaderboard, allow: Collection[str] = ()) -> Section | None:
    """The best design of each instance beside the reference's; None where no instance has a diagram."""
    charts = draw_problems(leaderboard, "diagram", lambda problem: problem.diagram, _draw, allow=allow)
    about = "Left the reference's design, right the best that any agent found, on the same axes."
    return charts.section("Best designs drawn", about, "instances")


def _draw(problem: Problem, instance: Instance) -> tuple[str, go.Figure] | None:
    panels = _panels(problem, instance)
    return (instance.name, _figure(panels)) if panels else None


def _panels(problem: Problem, instance: Instance) -> list[tuple[str, Diagram]]:
    """(title, diagram) of the reference's design and of the best one, as far as there are such designs."""
    assert problem.diagram is not None
    panels = []
    if problem.reference.design is not None:
        value = format_quantity(instance.reference.value, instance.unit)
        diagram = problem.diagram(problem.space.check(problem.reference.design)[0])
        panels.append((f"reference {instance.reference.name}: {value}", diagram))
    if instance.best is not None:
        best = instance.best
        who = best.agent if best.draw is None else f"{best.agent} (draw {best.draw})"
        diagram = problem.diagram(problem.space.check(best.design)[0])
        panels.append((f"{who}, seed {best.seed}: {format_quantity(best.value, instance.unit)}", diagram))
    return panels


def _figure(panels: Sequence[tuple[str, Diagram]]) -> go.Figure:
    """The diagrams side by side; zooming into one zooms into all."""
    from plotly.subplots import make_subplots

    diagrams = [diagram for _, diagram in panels]
    titles = [f"<b>{html.escape(title)}</b><br>{html.escape(diagram.title)}" for title, diagram in panels]
    figure = make_subplots(
        cols=len(panels),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=titles,
        figure=styled_figure(
            height=460,
            margin={"l": 10, "r": 15, "t": 60, "b": 90},
            hovermode="closest",
            legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        ),
    )
    figure.update_annotations(font={"size": 12})
    x_range = _union([diagram.x_range for diagram in diagrams])
    # With room above a limit's line for its name.
    limits = [(diagram.limit[0], 1.06 * diagram.limit[0]) for diagram in diagrams if diagram.limit]
    y_range = _union([diagram.y_range for diagram in diagrams] + limits)
    colours = kind_colours(rectangle.kind for diagram in diagrams for rectangle in diagram.rectangles)
    shown: set[str] = set()  # kinds that are in the legend
    for column, diagram in enumerate(diagrams, start=1):
        for kind, colour in colours.items():
            here = [rectangle for rectangle in diagram.rectangles if rectangle.kind == kind]
            if here:
                _add_kind(figure, column, kind, colour, here, first=kind not in shown)
                shown.add(kind)
        _add_hover_points(figure, column, diagram, x_range, y_range)
        if diagram.limit:
            value, name = diagram.limit
            figure.add_hline(
                value,
                line={"color": INK, "width": 1.5, "dash": "6px,3px"},
                annotation={"text": html.escape(name), "font": {"size": 11}, "bgcolor": "rgba(255,255,255,0.8)"},
                annotation_position="top right",
                row=1,  # pyright: ignore[reportArgumentType]: plotly's hint is too narrow
                col=column,  # pyright: ignore[reportArgumentType]
            )
    figure.update_xaxes(title=html.escape(diagrams[0].x_label), range=x_range, matches="x")
    figure.update_yaxes(range=y_range, matches="y")
    if diagrams[0].y_ticks:
        values, names = zip(*diagrams[0].y_ticks, strict=True)
        figure.update_yaxes(tickvals=values, ticktext=[html.escape(name) for name in names])
    figure.update_yaxes(title=html.escape(diagrams[0].y_label), col=1)
    return figure


def _union(ranges: Sequence[tuple[float, float]]) -> list[float]:
    """The smallest range that holds all."""
    return [min(low for low, _ in ranges), max(high for _, high in ranges)]


def _add_kind(
    figure: go.Figure, column: int, kind: str, colour: str, rectangles: Sequence[Rectangle], *, first: bool
) -> None:
    """All rectangles of a kind as one trace, however many there are: outlines with gaps between them, filled."""
    xs, ys = [], []
    for rectangle in rectangles:
        left, right = _short(rectangle.x), _short(rectangle.x + rectangle.width)
        low, high = _short(rectangle.y), _short(rectangle.y + rectangle.height)
        xs += [left, right, right, left, left, None]
        ys += [low, low, high, high, low, None]
    name = html.escape(kind)
    figure.add_scatter(
        x=xs,
        y=ys,
        mode="lines",
        fill="toself",
        fillcolor=colour,
        opacity=_OPACITY,
        line={"color": "#ffffff", "width": 0.5},
        name=name,
        legendgroup=name,
        showlegend=first,
        hoverinfo="skip",
        row=1,
        col=column,
    )


def _add_hover_points(
    figure: go.Figure, column: int, diagram: Diagram, x_range: Sequence[float], y_range: Sequence[float]
) -> None:
    """Invisible points inside the rectangles that carry their texts, more than one in a large rectangle."""
    xs, ys, texts, edges = [], [], [], []
    for rectangle in diagram.rectangles:
        text = html.escape(": ".join(part for part in (rectangle.kind, rectangle.label) if part))
        ends = (rectangle.x, rectangle.x + rectangle.width, rectangle.y, rectangle.y + rectangle.height)
        for x in _inside(rectangle.x, rectangle.width, (x_range[1] - x_range[0]) / 12, 6):
            for y in _inside(rectangle.y, rectangle.height, (y_range[1] - y_range[0]) / 8, 4):
                xs.append(_short(x))
                ys.append(_short(y))
                texts.append(text)
                edges.append([_short(end) for end in ends])
    x_text, y_text = html.escape(diagram.x_label), html.escape(diagram.y_label)
    figure.add_scatter(
        x=xs,
        y=ys,
        text=texts,
        customdata=edges,
        mode="markers",
        marker={"opacity": 0, "size": 14},
        hovertemplate=f"%{{text}}<br>{x_text}: %{{customdata[0]}} to %{{customdata[1]}}"
        f"<br>{y_text}: %{{customdata[2]}} to %{{customdata[3]}}<extra></extra>",
        showlegend=False,
        row=1,
        col=column,
    )


def _inside(start: float, length: float, apart: float, most: int) -> list[float]:
    """Evenly spread places inside an interval, about `apart` from each other, one at least and `most` at most."""
    count = int(np.clip(round(length / apart), 1, most)) if apart > 0 else 1
    return [start + length * (place + 0.5) / count for place in range(count)]


def _short(value: float) -> float | int:
    """Six digits, more than a screen resolves, and no needless ".0": the page stays small."""
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded
