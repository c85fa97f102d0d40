"""Training and what came of it: learning curves, and results as an option leaves the range of the training."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...formats import counted, format_number
from ...scoring.records import LearningCurve, PolicyTable, Sensitivity, SensitivityRow
from ..style import INK, Style, faint, plain_styles, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["LOWEST_PERCENT", "learning_figure", "sensitivity_figure", "trained_text"]

LOWEST_PERCENT = -100.0  # twice the reference's value: charts leave out what is worse
_ROLES = ("policy", "rules", "rule")  # whose lines have colours of their own, in this order


def learning_figure(table: PolicyTable) -> go.Figure:
    """The reward of a step in training against steps: a line and a band over seeds per policy."""
    styles = plain_styles(sorted(curve.entrant for curve in table.curves))
    figure = _figure(len(table.curves))
    for curve in table.curves:
        if curve.seeds > 1:
            _band(figure, curve.steps, curve.low, curve.high, styles[curve.entrant])
    for curve in table.curves:
        figure.add_scatter(
            x=list(curve.steps),
            y=list(curve.reward),
            name=_legend(curve),
            mode="lines+markers" if len(curve.steps) < 3 else "lines",
            line={"color": styles[curve.entrant].colour, "dash": styles[curve.entrant].dash, "width": 2},
            hovertemplate="%{x:.4~s} steps: %{y:.5g}",
        )
    longest, shortest = (choose(curve.steps[-1] for curve in table.curves) for choose in (max, min))
    wide = longest > 8 * shortest  # budgets that differ by much share no linear axis
    figure.update_xaxes(title="steps of the environment in training", type="log" if wide else "linear", nticks=7)
    if wide:
        figure.update_xaxes(exponentformat="SI", dtick=1)
    figure.update_yaxes(title="reward of a step, mean", nticks=7)
    return figure


def _legend(curve: LearningCurve) -> str:
    return f"{html.escape(curve.entrant)} ({counted(curve.seeds, 'seed')})"


def sensitivity_figure(found: Sensitivity) -> go.Figure:
    """Values below the reference's, in percent, against an option: a line per entrant, what was trained on shaded."""
    rows = sorted((row for row in found.rows if row.role in _ROLES), key=lambda row: _ROLES.index(row.role))
    rows += [row for row in found.rows if row.role == "bound"]
    numbers = _numbers(found.values)
    x = list(range(len(found.values))) if numbers is None else numbers
    policies = sorted({row.entrant for row in rows if row.role == "policy"})  # coloured as in learning curves
    styles = plain_styles([*policies, *(_name(row) for row in rows if row.role not in ("policy", "bound"))])
    figure = _figure(len(rows) + 1)
    for row in rows:
        if row.role == "policy" and None not in (*row.low_percent, *row.high_percent):
            _band(figure, x, row.low_percent, row.high_percent, styles[_name(row)])
    for row in rows:
        bound = row.role == "bound"
        style = Style(INK, "6px,3px", "circle") if bound else styles[_name(row)]
        dash = style.dash if bound or row.role == "policy" else "dot"
        figure.add_scatter(
            x=x,
            y=list(row.gain_percent),
            name=html.escape(_name(row)),
            mode="lines+markers",
            line={"color": style.colour, "dash": dash, "width": 1.5 if bound else 2.5 if row.role == "policy" else 1.5},
            marker={"size": 7 if row.role == "policy" else 5, "symbol": style.symbol},
            hovertemplate="%{y:.2f} % below the reference",
        )
    trained = _numbers(found.trained)
    if numbers is not None and trained:
        figure.add_vrect(
            x0=min(trained), x1=max(trained), fillcolor="#000000", opacity=0.06, line_width=0, layer="below"
        )
    figure.add_hline(y=0.0, line={"color": INK, "width": 1.2, "dash": "6px,3px"}, layer="below")
    logarithmic = numbers is not None and min(numbers) > 0 and max(numbers) / min(numbers) > 8
    figure.update_xaxes(
        title=html.escape(found.option),
        type="log" if logarithmic else "linear",
        tickvals=x,
        ticktext=[html.escape(value) for value in found.values],
    )
    shown = [gain for row in rows for gain in row.gain_percent if gain is not None]
    low, high = max(min([0.0, *shown]), LOWEST_PERCENT), max([0.0, *shown])
    pad = 0.06 * (high - low) or 1.0
    figure.update_yaxes(title="below the reference (%)", nticks=7, range=[low - pad, high + pad])
    return figure


def _name(row: SensitivityRow) -> str:
    return f"{row.entrant} ({row.role})" if row.role == "rule" else row.entrant


def _numbers(values: Sequence[str]) -> list[float] | None:
    """Values as numbers; None where one is a word."""
    try:
        found = [float(value) for value in values]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def _figure(lines: int) -> go.Figure:
    return styled_figure(
        height=380 + 22 * math.ceil(lines / 3),  # room for the legend's lines
        margin={"l": 10, "r": 15, "t": 20, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    )


def _band(
    figure: go.Figure, x: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], style: Style
) -> None:
    edge = {"width": 0, "color": style.colour}
    words = {"x": list(x), "mode": "lines", "showlegend": False, "hoverinfo": "skip", "line": edge}
    figure.add_scatter(y=list(low), **words)
    figure.add_scatter(y=list(high), fill="tonexty", fillcolor=faint(style.colour), **words)


def trained_text(found: Sensitivity) -> str:
    """What of an option was trained on, in words."""
    numbers = _numbers(found.trained)
    if not found.trained:
        return ""
    if numbers and len(numbers) > 1:
        return f"Trained on values from {format_number(min(numbers))} to {format_number(max(numbers))}."
    return f"Trained on {', '.join(found.trained)}."
