"""Fronts on the leaderboard's page: what all trials of an instance found in several costs, beside experts' machines."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....envs.faces.raster import PALETTE
from ...scoring.attainment import NEAR, Attainment
from ...scoring.fronts import Front
from ...scoring.instance_fronts import InstanceFront, front_tables
from ...scoring.records import FrontTable
from .. import attainment
from ..chart import to_fragment
from ..fronts import axis_label, is_front, log_ranges, log_ticks, marks
from ..section import MOST, Charts, Section, note, reason_of, shortened
from ..style import INK, plain_styles, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["sections"]

_SYMBOLS = ("diamond", "square", "triangle-up", "triangle-down", "pentagon", "hexagon", "star")


def sections(fronts: Sequence[InstanceFront]) -> list[Section]:
    """The front of each instance whose scenario declares several costs, and what each agent attains of it.

    None where no scenario declares costs. A front that could not be costed, or be drawn, has a note in its place.
    """
    drawn, notes, shown, left_out = [], [], [], 0
    for each in fronts:
        if len(drawn) == MOST and each.found is not None:
            left_out += 1
            continue
        try:
            if each.found is None:
                notes.append(note("front", each.name, each.problem))
                continue
            share = f"hypervolume {each.found.front.hypervolume:.4f} of the box up to twice the reference's costs"
            heading = f"{each.name}: {share}"
            chart = to_fragment(_figure(each.found.front), f"front-{len(drawn)}", f"Front: {heading}")
            drawn.append(f"<figure><h3>{html.escape(heading)}</h3>\n{chart}</figure>")
            shown.append((each.found, *front_tables([each])))
        except Exception as error:  # whatever another package's experts raise: the leaderboard stands without it
            notes.append(note("front", each.name, reason_of(error)))
    about = (
        "Of all designs that any trial costed, those that no other beats in every cost. Machines that experts built "
        "are costed by the same model at their sizes; where these come from, the command dsegym info says."
    )
    found = [
        Charts(drawn, shortened(notes, "front"), left_out).section("Fronts", about, "charts"),
        _attainment_section(shown),
    ]
    return [section for section in found if section is not None]


def _attainment_section(fronts: Sequence[tuple[Attainment, FrontTable]]) -> Section | None:
    """Of each front a table of agents and a chart of the shares of trials; None without a front."""
    if not fronts:
        return None
    parts = [f"<p>{attainment.explained(NEAR)}</p>"]
    for place, (found, table) in enumerate(fronts):
        heading = attainment.title(table)
        shown = _table(f"attainment-{place}", f"Hypervolume and attainment of {heading}", table)
        chart = to_fragment(_attainment_figure(found), f"attainment-{place}", f"Attainment of {heading}")
        parts.append(f"<figure><h3>{html.escape(heading)}</h3>{shown}\n{chart}</figure>")
    return Section("Hypervolume and attainment", "\n".join(parts))


def _table(name: str, label: str, table: FrontTable) -> str:
    """A row an agent, in the form of the page's own tables, so that its script sorts and saves it.

    Args:
        name: of the files that it is saved as.
        label: plain text, what it shows.
        table: its agents in their order.
    """
    first, *others = attainment.head(table.near_relative)
    head = f'<th scope="col" class="stick">{first}</th>'
    head += "".join(f'<th scope="col" class="n">{text}</th>' for text in others)
    about = html.escape(label)
    rows = "".join(_row(*map(html.escape, attainment.cells(row))) for row in table.scores)
    return (
        f'<div class="scroll" role="region" aria-label="{about}"><table data-name="{name}" aria-label="{about}">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )


def _row(first: str, *others: str) -> str:
    cells = "".join(f'<td class="n">{text}</td>' for text in others)
    return f'<tr><th scope="row" class="stick">{first}</th>{cells}</tr>'


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
