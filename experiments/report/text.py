"""How a leaderboard reads: JSON, Markdown, terminal tables, and the formats that they share with the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from ...costmodels.errors import visible
from ..formats import counted, format_gap, format_quantity, format_score, interval_text, plain_text, rounded
from ..scoring.notes import TWO_SCORES
from ..scoring.records import (
    BestOfAll,
    FrontTable,
    Improvement,
    Instance,
    Leaderboard,
    PolicyTable,
    Row,
    Sensitivity,
    Timings,
    Yardstick,
)
from . import attainment
from .policies import HEAD, cells, sensitivity_cells, sensitivity_head, sensitivity_title, sentences, title
from .sheet import Column, Sheet

__all__ = ["cell_text", "markdown_table", "policies_to_json", "timings_to_rich", "to_json", "to_markdown", "to_rich"]


def to_json(leaderboard: Leaderboard) -> str:
    """The whole leaderboard as JSON, floats rounded to 9 significant digits; the same bytes for the same traces.

    A line holds one record: an agent's row, an instance, a curve.
    """
    plain = {"format": 1, **{each.name: _plain(getattr(leaderboard, each.name)) for each in fields(leaderboard)}}
    lines = [f"{_line(name)}: {_records(value)}" for name, value in plain.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _records(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(map(_line, value)) + "\n]"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def policies_to_json(tables: Sequence[PolicyTable]) -> str:
    """Tables of policies as JSON, as `to_json` has them."""
    return json.dumps(_plain(tables), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return rounded(value) if isinstance(value, float) else value


def _policy_parts(table: PolicyTable) -> list[str]:
    """A table of policies and rules as parts of a Markdown page."""
    return [
        f"## {cell_text(title(table))}",
        *(cell_text(text) for text in sentences(table)),
        markdown_table(HEAD, [cells(row) for row in table.rows], right=set(range(2, len(HEAD)))),
    ]


def _sensitivity_parts(found: Sensitivity) -> list[str]:
    head = sensitivity_head(found)
    table = markdown_table(head, [sensitivity_cells(row) for row in found.rows], right=set(range(2, len(head))))
    return [f"## {cell_text(sensitivity_title(found))}", table]


def _front_parts(tables: Sequence[FrontTable]) -> list[str]:
    """Hypervolume and attainment as parts of a Markdown page; nothing without a front."""
    if not tables:
        return []
    parts = ["## Hypervolume and attainment", attainment.explained(tables[0].near_relative)]
    for table in tables:
        head = attainment.head(table.near_relative)
        point = ", ".join(f"{name} = {value:.6g}" for name, value in table.reference_point.items())
        about = f"Hypervolume of the front: {table.hypervolume:.4f} of the box between zero and {point}."
        rows = [attainment.cells(row) for row in table.scores]
        shown = markdown_table(head, rows, right=set(range(1, len(head))))
        parts += [f"### {cell_text(attainment.title(table))}", cell_text(about), shown]
    return parts


def _ranking_head(leaderboard: Leaderboard) -> tuple[str, ...]:
    return (
        "Rank",
        "Agent",
        "Score (IQM)",
        "95 % interval",
        "With reference",
        *leaderboard.gap_columns.values(),
        "Reached bound",
        "Samples to 1 %",
        "Finished / failed / timed out",
    )


def _ranking_cells(row: Row, gaps: Iterable[str]) -> list[str]:
    return [
        str(row.rank),
        row.agent,
        format_score(row.score),
        interval_text(row.low, row.high, lambda low, high: f"[{format_score(low)}, {format_score(high)}]"),
        format_score(row.with_reference),
        *(format_gap(getattr(row, name)) for name in gaps),
        f"{row.reached} of {row.trials}",
        "-" if row.samples_to_near is None else str(row.samples_to_near),
        f"{row.finished} / {row.failed} / {row.timed_out}",
    ]


def _best_of_all_cells(best: BestOfAll, gaps: Iterable[str]) -> list[str]:
    return [
        "",
        "best of all agents",
        format_score(best.score),
        "",
        format_score(best.with_reference),
        *(format_gap(getattr(best, name)) for name in gaps),
        f"{best.reached} of {best.instances}",
        "",
        "",
    ]


def _ranking(leaderboard: Leaderboard) -> list[list[str]]:
    gaps = leaderboard.gap_columns
    rows = [_ranking_cells(row, gaps) for row in leaderboard.rows]
    return [*rows, _best_of_all_cells(leaderboard.best_of_all, gaps)]


def to_markdown(leaderboard: Leaderboard) -> str:
    """The leaderboard's tables as Markdown; the same bytes for the same traces."""
    policies = [part for table in leaderboard.policies for part in _policy_parts(table)]
    policies += [part for found in leaderboard.sensitivity for part in _sensitivity_parts(found)]
    if not leaderboard.rows:
        return "\n\n".join(["# Leaderboard", *policies]) + "\n"
    agents = [row.agent for row in leaderboard.rows]
    places = counted(len(leaderboard.instances), "instance")
    counts = f"{counted(leaderboard.trials, 'trial')}: {counted(len(agents), 'agent')} on {places}"
    parts = [
        "# Leaderboard",
        f"{counts}, {' or '.join(map(str, leaderboard.budgets))} samples each. {TWO_SCORES}",
        markdown_table(
            _ranking_head(leaderboard),
            _ranking(leaderboard),
            right={0, 2, *range(4, len(_ranking_head(leaderboard)) - 1)},
        ),
        "## How to read this",
        "\n".join(f"- {cell_text(note)}" for note in leaderboard.notes),
        *policies,
    ]
    if leaderboard.improvement:
        parts += ["## Probability that the row's agent beats the column's", _improvement_table(leaderboard)]
    parts += [*_front_parts(leaderboard.fronts), "## Instances"]
    for instance in leaderboard.instances:
        parts += [f"### {cell_text(instance.name)}", _instance_text(instance), _instance_table(instance)]
    if leaderboard.lottery:
        parts += ["## Hyperparameter lottery", _lottery_table(leaderboard)]
    if leaderboard.failures:
        parts += [
            "## Trials that did not finish",
            markdown_table(
                ("Agent", "Draw", "Instance", "Seed", "Status", "Trial"),
                [
                    [f.agent, "" if f.draw is None else str(f.draw), f.instance, str(f.seed), f.status, f.trial_id]
                    for f in leaderboard.failures
                ],
                right={1, 3},
            ),
        ]
    parts += [
        "## Versions",
        ", ".join(
            f"{cell_text(package)} {cell_text(' or '.join(found))}" for package, found in leaderboard.versions.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _improvement_cell(pair: Improvement) -> str:
    interval = interval_text(pair.low, pair.high, lambda low, high: f"[{low:.2f}, {high:.2f}]")
    return f"{pair.probability:.2f} {interval}"


def _improvement_table(leaderboard: Leaderboard) -> str:
    agents = [row.agent for row in leaderboard.rows]
    pairs = {(pair.x, pair.y): pair for pair in leaderboard.improvement}
    rows = []
    for x in agents:
        cells = [pairs.get((x, y)) for y in agents]
        rows.append([x] + ["" if pair is None else _improvement_cell(pair) for pair in cells])
    return markdown_table(("", *agents), rows, right=set(range(1, len(agents) + 1)))


def _instance_text(instance: Instance) -> str:
    def yardstick(label: str, it: Yardstick) -> str:
        return f"- {label}: {format_quantity(it.value, instance.unit)} ({cell_text(it.source)})"

    options = ", ".join(f"{key} = {plain_text(value)}" for key, value in instance.options.items())
    lines = [
        f"- Scenario: {cell_text(instance.scenario)}" + (f" with {cell_text(options)}" if options else ""),
        f"- Objective: {cell_text(instance.objective)}, minimised",
        yardstick(f"Reference, {cell_text(instance.reference.name)}", instance.reference),
        yardstick(cell_text(instance.bound.name[:1].upper() + instance.bound.name[1:]), instance.bound)
        + (f"; {instance.loose}: a gap to it is not a gap to the optimum" if instance.loose else ""),
    ]
    if instance.best:
        best = instance.best
        decoded = ", ".join(f"{key} = {plain_text(value)}" for key, value in best.decoded.items())
        lines.append(
            f"- Best design: {cell_text(decoded or str(list(best.design)))}: "
            f"{format_quantity(best.value, instance.unit)}, found by {cell_text(best.agent)}"
            f"{'' if best.draw is None else f' (draw {best.draw})'} with seed {best.seed} "
            f"at sample {best.sample}, trial {best.trial_id}"
        )
    return "\n".join(lines)


def _instance_table(instance: Instance) -> str:
    rows = [
        [
            score.agent,
            format_score(score.mean_score),
            format_quantity(score.best_value, instance.unit),
            format_gap(score.gap_percent),
            str(score.trials),
        ]
        for score in instance.scores
    ]
    if instance.best:
        best = instance.best
        rows.append(
            [
                "best of all agents",
                format_score(best.score),
                format_quantity(best.value, instance.unit),
                format_gap(best.gap_percent),
                "",
            ]
        )
    gap = "Gap to loose bound" if instance.loose else "Gap"
    return markdown_table(("Agent", "Mean score", "Best value", gap, "Trials"), rows, right={1, 2, 3, 4})


def _lottery_table(leaderboard: Leaderboard) -> str:
    fixed = {row.agent: row.score for row in leaderboard.rows if not row.drawn}
    return markdown_table(
        ("Agent", "Draws", "Lowest", "Median", "Highest", "Fixed hyperparameters"),
        [
            [
                it.agent,
                str(len(it.draws)),
                *map(format_score, (it.low, it.median, it.high)),
                format_score(fixed[it.agent]) if it.agent in fixed else "-",
            ]
            for it in leaderboard.lottery
        ],
        right={1, 2, 3, 4, 5},
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[int]) -> str:
    """Rows under a head; the columns of `right` are aligned there."""
    lines = [head, ["---:" if column in right else "---" for column in range(len(head))], *rows]
    return "\n".join(f"| {' | '.join(map(cell_text, line))} |" for line in lines)


def cell_text(text: str) -> str:
    """Text that cannot end a Markdown table cell, start a line, open an HTML tag, form a link or hide."""
    return visible(" ".join(text.replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(").split()))


def to_rich(leaderboard: Leaderboard) -> Sheet:
    """The ranking as a table for the terminal."""
    columns = [Column(name, number=name != "Agent") for name in _ranking_head(leaderboard)]
    return Sheet("Leaderboard", columns, _ranking(leaderboard), keys=2, last_apart=True)


def timings_to_rich(timings: Timings) -> Sheet:
    """The median seconds per trial, and joules where they were measured, as a table for the terminal."""
    head = ("Agent", "Trials", "Agent (s)", "Cost model (s)", "Overhead (s)", "Total (s)")
    measured = any(row.machine_j is not None for row in timings.rows)
    head += ("Whole machine meanwhile (J)",) if measured else ()
    rows = [
        [row.agent, str(row.trials)]
        + [f"{each:.3g}" for each in (row.agent_s, row.cost_model_s, row.overhead_s, row.total_s)]
        + (["not measured" if row.machine_j is None else f"{row.machine_j:.3g}"] if measured else [])
        for row in timings.rows
    ]
    title = "Median seconds and joules per trial" if measured else "Median seconds per trial"
    return Sheet(title, [Column(name, number=name != "Agent") for name in head], rows)
