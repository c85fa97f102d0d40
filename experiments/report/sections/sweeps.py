"""Results against one option of their instances, accuracy against a budget say, for the leaderboard's page."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....envs.core.scenarios import make_problem
from ....envs.faces.raster import PALETTE
from ...scoring.records import Instance, Leaderboard
from ..section import Section, draw_problems
from ..style import INK, styled_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ....envs.core.evaluation import Sweep
    from ....envs.core.problem import Problem

__all__ = ["section"]

_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class _Line:
    """One line of a chart."""

    name: str
    y: Sequence[float | None]  # None: a constraint is broken
    own: int | None = None  # the place of the value for which the design was searched


def section(leaderboard: Leaderboard, allow: Collection[str] = ()) -> Section | None:
    """What designs and yardsticks are worth as an option changes; None where no instance has a sweep.

    Instances that differ in that option only share a chart. Designs are costed anew on the held-out cases.
    """
    titles: set[str] = set()

    def draw(problem: Problem, instance: Instance) -> tuple[str, go.Figure]:
        sweep = problem.sweep
        assert sweep is not None
        group = _group(instance, sweep.option)
        kin = [other for other in leaderboard.instances if _group(other, sweep.option) == group]
        figure = _figure(sweep, _lines(sweep, problem.options, kin, instance.scenario))
        titles.add(f"{sweep.y_label.partition(' (')[0]} against {sweep.option}".capitalize())
        rest = ", ".join(f"{key}={value}" for key, value in group[1:])
        return (f"{instance.scenario} ({rest})" if rest else instance.scenario), figure

    charts = draw_problems(
        leaderboard,
        "sweep",
        lambda problem: problem.sweep,
        draw,
        lambda sweep, instance: _group(instance, sweep.option),
        allow,
    )
    about = (
        "Each line is one policy or yardstick, costed on the held-out cases as the option changes and nothing else; a "
        "ring marks the value for which a design was searched. Where it would break a constraint, it has no point."
    )
    return charts.section(titles.pop() if len(titles) == 1 else "Results against a budget", about, "charts")


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
