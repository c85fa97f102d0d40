"""Results against one option of their instances, accuracy against a budget say, for the leaderboard's page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....envs.core.scenarios import make_problem
from ....envs.faces.raster import PALETTE
from ...scoring.records import Instance, Leaderboard
from ..style import INK, styled_figure, to_fragment

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ....envs.core.problem import Problem, Sweep

__all__ = ["sweep_figures"]

MOST = 12  # charts
_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class _Line:
    """One line of a chart."""

    name: str
    y: Sequence[float | None]  # None: a constraint is broken
    own: int | None = None  # the place of the value for which the design was searched


def sweep_figures(leaderboard: Leaderboard) -> list[tuple[str, str]]:
    """The section of the page that shows what designs and yardsticks are worth as an option changes.

    Instances that differ in that option only share a chart. Designs are costed anew on the held-out cases.

    Args:
        leaderboard: names the instances and the best design of each; their problems are made anew.

    Returns:
        One (title, HTML fragment), or nothing where no instance has a sweep. An instance whose problems cannot be made
        on this machine gets a note in its place.
    """
    parts, notes, left_out, titles = [], [], 0, []
    swept: dict[str, bool] = {}  # whether a scenario has sweeps, as its first instance says: making one takes seconds
    done: set[tuple[object, ...]] = set()
    for place, instance in enumerate(leaderboard.instances):
        if not swept.get(instance.scenario, True):
            continue
        try:
            problem = make_problem(instance.scenario, **instance.options)
            swept[instance.scenario] = problem.sweep is not None
            if problem.sweep is None:
                continue
            group = _group(instance, problem.sweep.option)
            if group in done:
                continue
            done.add(group)
            if len(parts) == MOST:
                left_out += 1
                continue
            kin = [other for other in leaderboard.instances if _group(other, problem.sweep.option) == group]
            figure = _figure(problem.sweep, _lines(problem.sweep, problem.options, kin, instance.scenario))
            title = ", ".join(f"{key}={value}" for key, value in group[1:])  # type: ignore[misc]
            heading = f"{instance.scenario} ({title})" if title else instance.scenario
            parts.append(f"<figure><h3>{html.escape(heading)}</h3>\n{to_fragment(figure, f'sweep-{place}')}</figure>")
            titles.append(f"{problem.sweep.y_label.partition(' (')[0]} against {problem.sweep.option}".capitalize())
        except Exception as error:  # whatever another package's scenario raises: the leaderboard stands without it
            reason = html.escape(f"{type(error).__name__}: {' '.join(str(error).split())}")
            notes.append(f'<p class="quiet">No sweep of {html.escape(instance.name)}: {reason}</p>')
    if not parts and not notes:
        return []
    about = (
        "Each line is one policy or yardstick, costed on the held-out cases as the option changes and nothing else; a "
        "ring marks the value for which a design was searched. Where it would break a constraint, it has no point."
        if parts
        else ""
    )
    if left_out:
        about += f" The first {MOST} of {MOST + left_out} are shown."
    title = titles[0] if len(set(titles)) == 1 else "Results against a budget"
    return [(title, "\n".join([f"<p>{about}</p>", *parts, *notes[:MOST]]))]


def _group(instance: Instance, option: str) -> tuple[Any, ...]:
    rest = tuple((key, value) for key, value in instance.options.items() if key != option)
    return instance.scenario, *rest


def _lines(sweep: Sweep, options: Mapping[str, str], instances: Sequence[Instance], scenario: str) -> list[_Line]:
    problems = [make_problem(scenario, **{**options, sweep.option: value}) for value in sweep.values]
    lines = [
        _Line(problems[0].bound.name, [sweep.to_y(each.bound.value) for each in problems]),
        _Line(f"{problems[0].reference.name} (reference)", [sweep.to_y(each.reference.value) for each in problems]),
    ]
    for name in sweep.baselines:
        if name != problems[0].reference.name:
            lines.append(_Line(name, [_value(sweep, each, each.baselines[name]()) for each in problems]))
    for instance in instances:
        if instance.best is not None:
            value = str(instance.options[sweep.option])
            value = value if value[:1].isdigit() else sweep.own or value
            lines.append(
                _Line(
                    f"best design for {sweep.option} {value} ({instance.best.agent})",
                    [_value(sweep, each, instance.best.design) for each in problems],
                    sweep.values.index(value) if value in sweep.values else None,
                )
            )
    return lines


def _value(sweep: Sweep, problem: Problem, design: Sequence[int]) -> float | None:
    found = problem.evaluate_held_out(design)
    return sweep.to_y(float(found.objective[0])) if found.feasible[0] else None


def _figure(sweep: Sweep, lines: Sequence[_Line]) -> go.Figure:
    figure = styled_figure(
        height=400 + 22 * len(lines) // 3,
        margin={"l": 10, "r": 15, "t": 20, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    x = [float(value) for value in sweep.values]
    for place, line in enumerate(lines):
        bound = place == 0
        figure.add_scatter(
            x=x,
            y=list(line.y),
            name=html.escape(line.name),
            mode="lines+markers",
            line={
                "color": INK if bound else PALETTE[(place - 1) % len(PALETTE)],
                "dash": "6px,3px" if bound else _DASHES[(place - 1) // len(PALETTE) % len(_DASHES)],
                "width": 1.5 if bound else 2,
            },
            marker={
                "size": [13 if at == line.own else 6 for at in range(len(x))],
                "symbol": ["circle-open" if at == line.own else "circle" for at in range(len(x))],
            },
            hovertemplate="%{x}: %{y:.4f}",
        )
    logarithmic = min(x) > 0 and max(x) / min(x) > 5
    figure.update_xaxes(
        title=html.escape(sweep.x_label),
        type="log" if logarithmic else "linear",
        tickvals=x,
        ticktext=list(sweep.values),
    )
    figure.update_yaxes(title=html.escape(sweep.y_label))
    return figure
