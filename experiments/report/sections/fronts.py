"""Fronts on the leaderboard's page: what all trials of an instance found in several costs, beside experts' machines."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....envs.faces.raster import PALETTE
from ...formats import counted, interval_text
from ...front_search import designs_of, trials_of
from ...scoring.attainment import NEAR, AgentAttainment, Attainment, attainment_of
from ...scoring.fronts import Front
from ...scoring.records import Instance, Leaderboard
from ...scoring.scored_trials import read_trials
from ...store import TrialResult
from ..chart import to_fragment
from ..fronts import axis_label, is_front, log_ranges, log_ticks, marks
from ..section import Section, draw_problems
from ..style import INK, plain_styles, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ....envs.core.problem import Problem

__all__ = ["sections"]

_HEAD = ("Agent", "Trials", "Hypervolume", "95 % interval", "Some", "Half", "All", f"Half, within {NEAR:.0%}")
_SYMBOLS = ("diamond", "square", "triangle-up", "triangle-down", "pentagon", "hexagon", "star")


def sections(leaderboard: Leaderboard, trials: Sequence[TrialResult], allow: Collection[str] = ()) -> list[Section]:
    """The front of each instance whose scenario declares several costs, and what each agent attains of it.

    Instances that differ in their objective only share a chart, and all their trials count. Designs are costed anew.
    None where no scenario declares costs.
    """
    entrants = {trial.trial_id: trial.agent for trial in read_trials(trials)} if trials else {}
    attained: list[tuple[str, Attainment]] = []

    def draw(problem: Problem, instance: Instance) -> tuple[str, go.Figure] | None:
        mine: dict[str, list[NDArray[np.int32]]] = defaultdict(list)
        for trial in trials_of(problem, trials):
            if (agent := entrants.get(trial.manifest["trial_id"])) is not None:
                mine[agent].append(designs_of(problem, [trial]))
        found = attainment_of(problem, mine)
        front = found.front
        rest = ", ".join(f"{name}={text}" for name, text in instance.options.items() if name != "objective")
        name = f"{instance.scenario} ({rest})"
        attained.append((name, found))
        share = f"hypervolume {front.hypervolume:.4f} of the box up to twice the reference's costs"
        return f"{name}: {share}", _figure(front)

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
    found = [charts.section("Fronts", about, "charts"), _attainment_section(attained)]
    return [section for section in found if section is not None]


def _attainment_section(attained: Sequence[tuple[str, Attainment]]) -> Section | None:
    """Of each front a table of agents and a chart of the shares of trials; None without a front."""
    if not attained:
        return None
    parts = [
        "<p>Hypervolume: the mean over an agent's trials, relative to that of the front of all trials, or of all "
        "designs where these are few enough to cost each, at twice the reference's costs; the interval of 95 % is over "
        "trials. Attained: the share of the front's points that some, half or all of the trials attain, with a design "
        f"that is at least as good in every cost, or within {NEAR:.0%}. All objectives' trials count; one that does "
        "not search for fronts is measured by what it came across. A front that has no point within twice the "
        "reference's costs has no hypervolume to be relative to.</p>"
    ]
    for place, (name, found) in enumerate(attained):
        kind = "the proven front" if found.proven else "the best known front"
        heading = f"{name}: {kind} of {counted(len(found.front.designs), 'design')}"
        table = _table(f"attainment-{place}", f"Hypervolume and attainment of {heading}", found.agents)
        chart = to_fragment(_attainment_figure(found), f"attainment-{place}", f"Attainment of {heading}")
        parts.append(f"<figure><h3>{html.escape(heading)}</h3>{table}\n{chart}</figure>")
    return Section("Hypervolume and attainment", "\n".join(parts))


def _table(name: str, label: str, agents: Sequence[AgentAttainment]) -> str:
    """A row an agent, in the form of the page's own tables, so that its script sorts and saves it.

    Args:
        name: of the files that it is saved as.
        label: plain text, what it shows.
        agents: in their order.
    """
    first, *others = _HEAD
    head = f'<th scope="col" class="stick">{first}</th>'
    head += "".join(f'<th scope="col" class="n">{text}</th>' for text in others)
    about = html.escape(label)
    rows = "".join(_row(*_cells(agent)) for agent in agents)
    return (
        f'<div class="scroll" role="region" aria-label="{about}"><table data-name="{name}" aria-label="{about}">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )


def _row(first: str, *others: str) -> str:
    cells = "".join(f'<td class="n">{text}</td>' for text in others)
    return f'<tr><th scope="row" class="stick">{first}</th>{cells}</tr>'


def _cells(row: AgentAttainment) -> list[str]:
    def share(shares: NDArray[np.float64], least: float) -> str:
        return f"{np.mean(shares >= least):.0%}" if len(shares) else "none"

    volume = ["-", "-"]
    if row.hypervolume is not None:
        interval = interval_text(row.low, row.high, lambda low, high: f"{low:.4f} to {high:.4f}")
        volume = [f"{row.hypervolume:.4f}", interval]
    return [
        html.escape(row.agent),
        str(row.trials),
        *volume,
        share(row.attained, np.nextafter(0, 1)),
        share(row.attained, 0.5),
        share(row.attained, 1.0),
        share(row.near, 0.5),
    ]


def _attainment_figure(found: Attainment) -> go.Figure:
    """Along the front, in the order of the first cost: in what share of its trials an agent comes within `NEAR`."""
    figure = styled_figure(
        height=300,
        margin={"l": 10, "r": 15, "t": 20, "b": 80},
        legend={"orientation": "h", "x": 0, "y": -0.3, "yanchor": "top"},
    )
    styles = plain_styles(sorted(row.agent for row in found.agents))
    for row in found.agents:
        style = styles[row.agent]
        figure.add_scatter(
            x=[float(f"{cost:.6g}") for cost in found.front.costs[:, 0]],
            y=row.near.round(6).tolist(),
            name=html.escape(row.agent),
            mode="lines+markers",
            line={"color": style.colour, "dash": style.dash, "width": 1.5},
            marker={"color": style.colour, "symbol": style.symbol, "size": 5},
        )
    figure.update_xaxes(title=html.escape(axis_label(found.front.metrics[0])), type="log")
    figure.update_yaxes(title=f"share of trials within {NEAR:.0%}", range=[-0.03, 1.03])
    return figure


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
