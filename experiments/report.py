"""The leaderboard as one HTML page that needs no network: plotly.js, styles and data are all inside the file.

Every chart comes in two views: the score, on which reference (0) and bound (1) are both in sight, and the distance to
the bound, 1 − score, on a log axis, which shows differences where all agents come close. Colours are Okabe and Ito's,
which people with colour-vision deficiencies can tell apart; from the eighth agent on, dashes and markers differ too.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..envs.faces.raster import PALETTE
from .formats import format_gap, format_quantity, format_score
from .leaderboard import Curve, Leaderboard, Timings, build_timings

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .store import TrialResult

__all__ = ["INK", "styled_figure", "to_fragment", "write_html"]

_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")
INK, _FAINT, _YARDSTICK = "#222222", "#e4e4e4", "#555555"
_LOWEST_SCORE = -0.5  # early designs can be far worse than the reference; curves start in sight from here on
_LOWEST_REGRET = 1e-6  # where a trial counts as having reached the bound
_HIGHEST_REGRET = 1e2  # the same for the distance to the bound

_DEFAULT_SUITE = {
    "name": "Leaderboard",
    "description": (
        "Search agents competed for the best designs, each with the same number of samples of the cost model: "
        "who won, by how much, and how surely."
    ),
}


def write_html(
    leaderboard: Leaderboard,
    results: Iterable[TrialResult],
    path: str | Path,
    *,
    suite: Mapping[str, str] | None = None,
    figures: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the page to `path`.

    Args:
        leaderboard: what `build_leaderboard(results)` returned.
        results: the same trials, for the clock readings and the error messages.
        path: the file to write; its folder exists.
        suite: `name` and `description`, plain text.
        figures: further figures as (title, HTML fragment); the fragments go into the page as they are and may use the
            page's `Plotly`.
    """
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    results = list(results)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    timings = build_timings(results)
    styles = _styles(leaderboard)
    page = environment.get_template("leaderboard.html.j2").render(
        plotlyjs=Markup(get_plotlyjs()),
        suite={**_DEFAULT_SUITE, **(suite or {})},
        board=leaderboard,
        timings=timings,
        styles=styles,
        charts={name: Markup(chart) for name, chart in _charts(leaderboard, timings, styles).items()},
        pairs={(pair.x, pair.y): pair for pair in leaderboard.improvement},
        fixed={row.agent: row.score for row in leaderboard.rows if not row.drawn},
        messages={result.manifest["trial_id"]: result.manifest["message"] for result in results},
        format_gap=format_gap,
        format_quantity=format_quantity,
        format_score=format_score,
        figures=[(title, Markup(fragment)) for title, fragment in figures],
    )
    Path(path).write_text(page, encoding="utf-8")


@dataclass(frozen=True)
class _Style:
    """How one agent is drawn, in every chart alike."""

    colour: str
    dash: str
    symbol: str


def _styles(leaderboard: Leaderboard) -> dict[str, _Style]:
    """By name, not by rank, so that an agent keeps its colour from one run to the next."""
    agents = sorted({row.agent for row in leaderboard.rows} | {lottery.agent for lottery in leaderboard.lottery})
    return {
        agent: _Style(
            PALETTE[place % len(PALETTE)],
            _DASHES[place // len(PALETTE) % len(_DASHES)],
            _SYMBOLS[place // len(PALETTE) % len(_SYMBOLS)],
        )
        for place, agent in enumerate(agents)
    }


def _charts(leaderboard: Leaderboard, timings: Timings, styles: Mapping[str, _Style]) -> dict[str, str]:
    """Name to HTML fragment of all charts of the page."""
    rank = {row.agent: place for place, row in enumerate(leaderboard.rows)}
    overall = [curve for curve in leaderboard.curves if curve.instance is None]
    samples, seconds = "samples", "time since the trial's start (s)"
    figures = {}
    for view in (_SCORE, _REGRET):
        figures[f"ranking-{view.name}"] = _ranking_figure(leaderboard, styles, view)
        figures[f"samples-{view.name}"] = _curves_figure(overall, leaderboard.sample_grid, styles, view, samples)
        for place, instance in enumerate(leaderboard.instances):
            here = [curve for curve in leaderboard.curves if curve.instance == instance.name]
            figures[f"instance-{place}-{view.name}"] = _small(
                _curves_figure(here, leaderboard.sample_grid, styles, view, samples)
            )
        if timings.curves:
            figures[f"seconds-{view.name}"] = _curves_figure(
                sorted(timings.curves, key=lambda curve: rank[curve.agent]), timings.seconds_grid, styles, view, seconds
            )
        if leaderboard.lottery:
            figures[f"lottery-{view.name}"] = _lottery_figure(leaderboard, styles, view)
    if leaderboard.improvement:
        figures["improvement"] = _improvement_figure(leaderboard)
    return {name: to_fragment(figure, name) for name, figure in figures.items()}


def to_fragment(figure: go.Figure, name: str) -> str:
    """A figure as HTML for the page, which brings plotly.js along; `name` is its own."""
    import plotly.io

    return plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=False,
        div_id=f"chart-{name}",
        default_height=f"{figure.layout.height}px",
        config={"displaylogo": False, "responsive": True, "displayModeBar": False},
    )


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}" if -3 <= exponent <= 3 else f"1e{exponent}"


# Views ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _View:
    """How scores become coordinates, and where on that axis the yardsticks stand."""

    name: str
    title: str
    regret: bool

    def coordinates(self, scores: Sequence[float], floor: float) -> list[float]:
        """Scores as drawn: themselves, or their distance to the bound but not below `floor`."""
        return [max(1 - score, floor) for score in scores] if self.regret else list(scores)

    def floor(self, scores: Iterable[float]) -> float:
        """The power of ten below all distances, where the bound is drawn on a log axis."""
        distances = [1 - score for score in scores if 1 - score > _LOWEST_REGRET]
        return 10.0 ** math.floor(math.log10(min([*distances, 1e-2]))) if self.regret else 0.0

    def axis(self, scores: Sequence[float], floor: float, *, lowest: float = -math.inf) -> dict[str, Any]:
        """The Plotly axis that holds both yardsticks and these scores, as far as they are not below `lowest`."""
        if self.regret:
            top = min(max([1.0, *(1 - score for score in scores)]), max(_HIGHEST_REGRET, 1 - lowest))
            pad = 0.06 * (math.log10(top / floor) + 1)
            powers = range(round(math.log10(floor)), math.floor(math.log10(top)) + 1)
            step = max(1, math.ceil(len(powers) / 8))
            shown = [power for power in powers if power % step == 0]
            return {
                "type": "log",
                "range": [math.log10(floor) - pad, math.log10(top) + pad],
                "tickvals": [10.0**power for power in shown],
                "ticktext": [_power(power) for power in shown],
            }
        low, high = max(min([0.0, *scores]), lowest), max([1.0, *scores])
        pad = 0.07 * (high - low)
        return {"range": [low - pad, high + pad]}

    def yardsticks(self, floor: float) -> tuple[tuple[float, str], tuple[float, str]]:
        """Where reference and bound stand, and their labels."""
        if self.regret:
            return (1.0, "reference"), (floor, f"bound (≤ {_power(round(math.log10(floor)))})")
        return (0.0, "reference"), (1.0, "bound")


_SCORE = _View("score", "score (no unit)", regret=False)
_REGRET = _View("regret", "1 − score (no unit, log)", regret=True)


def _add_yardsticks(figure: go.Figure, view: _View, floor: float, *, horizontal: bool) -> None:
    for place, label in view.yardsticks(floor):
        line = {"color": INK, "width": 1.4, "dash": "6px,3px"}
        at = math.log10(place) if view.regret else place
        note = {"text": label, "showarrow": False, "font": {"size": 11, "color": _YARDSTICK}}
        if horizontal:
            figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=place, y1=place, line=line, layer="between")
            above = view.regret == (label == "reference")  # outside the range that the curves fill
            figure.add_annotation(
                xref="paper", x=1, y=at, xanchor="right", yanchor="bottom" if above else "top", **note
            )
        else:
            figure.add_shape(type="line", yref="paper", y0=0, y1=1, x0=place, x1=place, line=line, layer="between")
            # Scores may put the two close together: their labels point away from each other.
            rightwards = (label == "reference") == view.regret
            figure.add_annotation(
                yref="paper", y=1, x=at, xanchor="left" if rightwards else "right", yanchor="bottom", **note
            )


def styled_figure(**layout: Any) -> go.Figure:
    """An empty figure in the page's style."""
    import plotly.graph_objects as go

    plain = {
        "gridcolor": _FAINT,
        "zeroline": False,
        "automargin": True,
        "ticks": "outside",
        "title": {"font": {"size": 13}, "standoff": 8},
    }
    figure = go.Figure(layout={"template": {"layout": {"xaxis": plain, "yaxis": plain}}})
    figure.update_layout(
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"namelength": -1},
        **layout,
    )
    return figure


# Charts --------------------------------------------------------------------------------------------------------------


def _ranking_figure(leaderboard: Leaderboard, styles: Mapping[str, _Style], view: _View) -> go.Figure:
    """A dot and an interval per agent, the best on top, better to the right."""
    ends = [end for row in leaderboard.rows for end in (row.low, row.score, row.high)]
    floor = view.floor(ends)
    figure = styled_figure(height=110 + 30 * len(leaderboard.rows), margin={"l": 10, "r": 20, "t": 30, "b": 50})
    for row in leaderboard.rows:
        score, low, high = view.coordinates((row.score, row.low, row.high), floor)
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
            hovertemplate=f"{name}<br>score {row.score:.6f}<br>95 % interval {row.low:.6f} to {row.high:.6f}"
            "<extra></extra>",
        )
    axis = view.axis(ends, floor)
    if view.regret:
        axis["range"] = axis["range"][::-1]
    figure.update_xaxes(title=view.title, **axis)
    figure.update_yaxes(
        categoryorder="array", categoryarray=[html.escape(row.agent) for row in leaderboard.rows], autorange="reversed"
    )
    _add_yardsticks(figure, view, floor, horizontal=False)
    return figure


def _curves_figure(
    curves: Sequence[Curve], grid: Sequence[float], styles: Mapping[str, _Style], view: _View, x_title: str
) -> go.Figure:
    """Score against samples or seconds: a line and a bootstrap band per agent."""
    scores = [score for curve in curves for score in (*curve.low, *curve.score, *curve.high)]
    floor = view.floor(scores)
    figure = styled_figure(
        height=390 + 22 * math.ceil(len(curves) / 5),  # room for the legend's lines
        margin={"l": 10, "r": 15, "t": 20, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    for curve in curves:
        name, style = html.escape(curve.agent), styles[curve.agent]
        band = {"x": list(grid), "mode": "lines", "legendgroup": name, "showlegend": False, "hoverinfo": "skip"}
        edge = {"width": 0, "shape": "hv", "color": style.colour}
        figure.add_scatter(y=view.coordinates(curve.low, floor), line=edge, **band)
        figure.add_scatter(
            y=view.coordinates(curve.high, floor), line=edge, fill="tonexty", fillcolor=_faint(style.colour), **band
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
    _add_yardsticks(figure, view, floor, horizontal=True)
    return figure


def _small(figure: go.Figure) -> go.Figure:
    """The same chart as one of many: smaller, and without a legend of its own."""
    return figure.update_layout(height=260, showlegend=False, font={"size": 11})


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _improvement_figure(leaderboard: Leaderboard) -> go.Figure:
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
        customdata=[["" if pair is None else f"{pair.low:.2f} to {pair.high:.2f}" for pair in row] for row in cells],
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


def _lottery_figure(leaderboard: Leaderboard, styles: Mapping[str, _Style], view: _View) -> go.Figure:
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
    _add_yardsticks(figure, view, floor, horizontal=False)
    return figure
