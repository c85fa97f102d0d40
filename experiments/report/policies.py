"""How tables of policies and rules read: in the terminal, in Markdown and on the page."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from ...costmodels.errors import visible
from ..formats import format_gap, format_number, format_quantity, format_score
from ..scoring.records import PolicyRow, PolicyTable, Sensitivity, SensitivityRow
from .chart import to_fragment
from .section import Section
from .sheet import Column, Sheet

__all__ = [
    "HEAD",
    "cells",
    "policy_sections",
    "policy_sheet",
    "sensitivity_cells",
    "sensitivity_head",
    "sensitivity_sheet",
    "sensitivity_title",
    "sentences",
    "title",
]

HEAD = (
    "Entrant",
    "How",
    "Score (IQM)",
    "95 % interval",
    "Below the reference",
    "Median gap",
    "Infeasible",
    "Seeds",
    "Training",
)
_ROLES = {"policy": "", "rule": "rule", "rules": "rules", "reference": "reference", "bound": "bound"}


def title(table: PolicyTable) -> str:
    """What a table shows, in one line."""
    what = "Policies adapted by samples" if table.adapted else "Policies, zero-shot"
    options = "".join(f", {key}={value}" for key, value in table.changed.items())
    return f"{what}: {table.collection}, {table.split}{options}"


def cells(row: PolicyRow) -> list[str]:
    """A line of the table, as `HEAD` names its columns."""
    policy = row.role == "policy"
    return [
        row.entrant,
        row.kind or _ROLES[row.role],
        format_score(row.score),
        _interval(row.low, row.high, format_score),
        f"{format_gap(row.gain_percent)} {_interval(row.gain_low_percent, row.gain_high_percent, format_gap)}".rstrip(),
        format_gap(row.median_gap_percent),
        str(row.infeasible) if row.role in ("policy", "rule") else "",
        str(row.policies) if policy else "",
        _cost(row) if policy else "",
    ]


def _cost(row: PolicyRow) -> str:
    """Of training, each policy's."""
    if row.steps is None or row.training_s is None:
        return "not known"
    energy = "" if row.energy_j is None else f", {format_quantity(row.energy_j, 'J')}"
    return f"{format_number(row.steps)} steps, {format_quantity(row.training_s, 's')}{energy}"


def _interval(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    return "" if low is None or high is None else f"[{write(low)}, {write(high)}]"


def sentences(table: PolicyTable) -> list[str]:
    """How to read a table, and what to beware of in it."""
    used = (
        "Each policy had several samples on every instance, of which the best counts: a search that starts from it. "
        "Where scores are taken on held-out cases, the best is chosen on the search's."
        if table.adapted
        else "Zero-shot: a policy plays each instance once."
    )
    options = ", ".join(f"{key}={value}" for key, value in table.changed.items())
    count, bounds = len(table.instances), ", ".join(table.bounds) or "none"
    what = f"{count} instance{'s' * (count != 1)} of {table.scenario}, {table.form}"
    what += f"; in all of them {options}." if options else "."
    read = (
        f"Score 0 is the instance's reference, 1 its bound ({bounds}), raw: below 0 is worse than the reference; "
        "intervals are 95 % bootstrap intervals over instances. A design that is not feasible scores 0. A gap is the "
        "share by which a value exceeds the bound."
    )
    found = [f"{what} {used} {read}"]
    if table.trained_on:
        found.append(
            f"Beware: a policy was trained on {table.trained_on} of these instances; its values there are no zero-shot "
            "values."
        )
    if table.left_out:
        listed = "; ".join(f"{name}: {reason}" for name, reason in table.left_out)
        found.append(f"Left out, as no result on them can be scored: {listed}.")
    return found


def policy_sheet(table: PolicyTable) -> Sheet:
    """A table for the terminal."""
    columns = [Column(name, number=name not in HEAD[:2]) for name in HEAD]
    return Sheet(title(table), columns, [cells(row) for row in table.rows], keys=2)


def sensitivity_title(found: Sensitivity) -> str:
    """What a table of sensitivity shows, in one line."""
    return f"Below the reference as {found.option} changes: {found.collection}, {found.split}"


def sensitivity_head(found: Sensitivity) -> tuple[str, ...]:
    """The columns of a table of sensitivity: an entrant, and each value of the option."""
    return ("Entrant", "How", *(f"{found.option} {value}" for value in found.values))


def sensitivity_cells(row: SensitivityRow) -> list[str]:
    """A line of it."""
    policy = row.role == "policy"
    shown = [
        f"{format_gap(gain)} {_interval(low, high, format_gap)}".rstrip() if policy else format_gap(gain)
        for gain, low, high in zip(row.gain_percent, row.low_percent, row.high_percent, strict=True)
    ]
    return [row.entrant, row.kind or _ROLES[row.role], *shown]


def sensitivity_sheet(found: Sensitivity) -> Sheet:
    """A table of sensitivity for the terminal."""
    head = sensitivity_head(found)
    columns = [Column(name, number=place > 1) for place, name in enumerate(head)]
    return Sheet(sensitivity_title(found), columns, [sensitivity_cells(row) for row in found.rows], keys=2)


def policy_sections(tables: Sequence[PolicyTable], sensitivity: Sequence[Sensitivity] = ()) -> list[Section]:
    """The tables for the page, with learning curves beside them; and what changes do."""
    found = [Section(title(table), _html(table) + _learning(place, table)) for place, table in enumerate(tables)]
    if sensitivity:
        charts = "\n".join(_sensitivity(place, each) for place, each in enumerate(sensitivity))
        found.append(Section("Beyond the training range", f"<p>{_SENSITIVITY}</p>\n<div class='pair'>{charts}</div>"))
    return found


_SENSITIVITY = (
    "How policies and rules do as one option of every instance changes: the mean share by which values lie below the "
    "reference's of the same instance, with 95 % bootstrap intervals of policies over instances. Of the rules, those "
    "with the highest means are shown; the dashed lines are the reference (0) and the bound. Shaded: the values that "
    "were trained on. Charts leave out values above twice the reference's."
)


def _learning(place: int, table: PolicyTable) -> str:
    from .sections.learning import learning_figure

    if not table.curves or table.adapted:  # the adapted tables' curves are those of the zero-shot ones
        return ""
    caption = (
        "In training: the reward of a step, the mean over seeds of the updates before each point; bands go from the "
        "lowest to the highest seed. Of imitation, the reward is its expert's."
    )
    chart = to_fragment(learning_figure(table), f"learning-{place}", f"Learning curves of {title(table)}")
    return f'\n<figure class="narrow">{chart}<figcaption>{caption}</figcaption></figure>'


def _sensitivity(place: int, found: Sensitivity) -> str:
    from .sections.learning import sensitivity_figure, trained_text

    heading = f"{found.collection}, {found.split}: {found.option}"
    chart = to_fragment(sensitivity_figure(found), f"sensitivity-{place}", heading)
    note = html.escape(visible(trained_text(found)))
    return f"<figure><h3>{html.escape(visible(heading))}</h3>{chart}<figcaption>{note}</figcaption></figure>"


def _html(table: PolicyTable) -> str:
    def cell(place: int, text: str, scope: str = "") -> str:
        kind = ' class="n"' if place > 1 else ' class="nowrap"'
        text = html.escape(visible(text))
        return f'<th scope="{scope}"{kind}>{text}</th>' if scope else f"<td{kind}>{text}</td>"

    def line(row: PolicyRow) -> str:
        kind = "" if row.role == "policy" else ' class="all"'
        found = (cell(place, text, "" if place else "row") for place, text in enumerate(cells(row)))
        return f"<tr{kind}>{''.join(found)}</tr>"

    head = "".join(cell(place, text, "col") for place, text in enumerate(HEAD))
    about = html.escape(visible(title(table)))
    rows = "\n".join(map(line, table.rows))
    notes = "\n".join(f"<p>{html.escape(visible(text))}</p>" for text in sentences(table))
    return (
        f'{notes}\n<div class="scroll" role="region" aria-label="{about}"><table aria-label="{about}">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )
