"""A front for people and programs: as tables and a picture of letters, as a diagram, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...costmodels.diagram import Diagram, Rectangle
from ...envs.core.problem import Problem
from ..formats import name_and_unit
from ..scoring.fronts import Front, non_dominated

__all__ = [
    "Mark",
    "axis_label",
    "expert_rows",
    "front_csv",
    "front_diagram",
    "front_rows",
    "letters",
    "marks",
    "to_json",
]

_WIDE, _HIGH = 72, 20  # letters of the picture
_MARK = 0.008, 0.015  # of the axes' lengths, a mark's width and height; of machines beside the front, half as much more


class Mark(NamedTuple):
    """A point of the picture: the first two costs of a design."""

    kind: str
    x: float
    y: float
    label: str


def axis_label(metric: str) -> str:
    """A cost's name with its unit."""
    words, unit = name_and_unit(metric)
    return f"{words} ({unit})" if unit else words


def marks(front: Front) -> list[Mark]:
    """What is drawn: the front, its reference and the experts; of more than two costs, those of the first two apart."""
    first, second = front.metrics[:2]
    names = f"{name_and_unit(first)[0]} and {name_and_unit(second)[0]}"
    plain = set(non_dominated(front.costs[:, :2]).tolist())
    found = []
    for place, costs in enumerate(front.costs):
        kind = "front" if len(front.metrics) == 2 else f"front of {names}" if place in plain else "front in other costs"
        label = ", ".join(f"{axis_label(m)} {v:.4g}" for m, v in zip(front.metrics, costs, strict=True))
        found.append(Mark(kind, costs[0], costs[1], label))
    found.sort(key=lambda mark: mark.kind, reverse=True)  # those of the first two costs on top
    if front.reference is not None:
        name, costs = front.reference
        found.append(Mark(f"reference {name}", costs[0], costs[1], name))
    for expert in front.experts:
        costs = front.expert_costs(expert)
        found.append(Mark(f"expert {expert.name}", costs[0], costs[1], expert.name))
    return found


def front_rows(front: Front, problem: Problem, most: int) -> list[dict[str, object]]:
    """The front as rows, evenly chosen where there are more than `most`; parameters as far as a terminal takes them."""
    count = len(front.designs)
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)) if count else []
    shown = problem.space.names if len(problem.space) <= 10 else problem.space.names[:4]
    rows = []
    for place in chosen:
        values = problem.decode(front.designs[place])
        rows.append(
            dict(zip(front.metrics, map(float, front.costs[place]), strict=True)) | {n: values[n] for n in shown}
        )
    return rows


def expert_rows(front: Front) -> list[dict[str, object]]:
    """Reference and experts as rows, with how many of the front beat each in every cost."""
    every: list[tuple[str, Any, str]]
    every = [] if front.reference is None else [(f"{front.reference[0]} (reference)", front.reference[1], "")]
    every += [(expert.name, front.expert_costs(expert), expert.source.partition(":")[0]) for expert in front.experts]
    return [
        {
            "machine": name,
            **dict(zip(front.metrics, map(float, costs), strict=True)),
            "beaten by": front.beating(costs),
            "sizes": status or "of the space",
        }
        for name, costs, status in every
    ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """log10 of the smallest and the largest value, with a margin."""
    low, high = math.log10(min(values)), math.log10(max(values))
    pad = max(0.05 * (high - low), 0.02)
    return low - pad, high + pad


def _ticks(limits: tuple[float, float]) -> list[tuple[float, str]]:
    """Round numbers on a logarithmic axis: 1, 2 and 5 of each decade, or the decades alone where there are many."""
    factors = (1, 2, 5) if limits[1] - limits[0] < 3 else (1,)
    powers = range(math.floor(limits[0]), math.ceil(limits[1]) + 1)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [(math.log10(v), f"{v:g}") for v in values if limits[0] <= math.log10(v) <= limits[1]]


def front_diagram(front: Front, title: str) -> Diagram | None:
    """The first two costs against each other, both axes logarithmic; None where nothing is to be drawn."""
    found = marks(front)
    if not found:
        return None
    x_range, y_range = _range([mark.x for mark in found]), _range([mark.y for mark in found])
    lengths = x_range[1] - x_range[0], y_range[1] - y_range[0]

    def rectangle(mark: Mark) -> Rectangle:
        size = 1.0 if mark.kind.startswith("front") else 1.5
        width, height = (size * share * length for share, length in zip(_MARK, lengths, strict=True))
        return Rectangle(math.log10(mark.x) - width / 2, math.log10(mark.y) - height / 2, width, height, mark.kind)

    return Diagram(
        title=title,
        x_label=f"{axis_label(front.metrics[0])}, logarithmic",
        y_label=f"{axis_label(front.metrics[1])}, logarithmic",
        x_range=x_range,
        y_range=y_range,
        rectangles=[rectangle(mark) for mark in found],
        x_ticks=_ticks(x_range),
        y_ticks=_ticks(y_range),
    )


def letters(front: Front) -> Iterator[str]:
    """The same picture in lines of letters, and what they mean."""
    found = marks(front)
    if not found:
        return
    x_range, y_range = _range([mark.x for mark in found]), _range([mark.y for mark in found])
    grid = [[" "] * _WIDE for _ in range(_HIGH)]
    signs: dict[str, str] = {}
    for mark in found:
        if mark.kind.startswith("front"):
            sign = "." if mark.kind == "front in other costs" else "*"
        else:
            sign = chr(ord("A") + sum(each not in ".*" for each in signs.values()))
        sign = signs.setdefault(mark.kind, sign)
        column = (math.log10(mark.x) - x_range[0]) / (x_range[1] - x_range[0]) * (_WIDE - 1)
        row = (math.log10(mark.y) - y_range[0]) / (y_range[1] - y_range[0]) * (_HIGH - 1)
        grid[_HIGH - 1 - round(row)][round(column)] = sign
    yield f"{axis_label(front.metrics[1])}, from {10 ** y_range[0]:.3g} to {10 ** y_range[1]:.3g}, logarithmic"
    yield from ("|" + "".join(line).rstrip() for line in grid)
    yield "+" + "-" * _WIDE
    yield f" {axis_label(front.metrics[0])}, from {10 ** x_range[0]:.3g} to {10 ** x_range[1]:.3g}, logarithmic"
    yield "; ".join(f"{sign} {kind}" for kind, sign in sorted(signs.items(), key=lambda each: each[1]))


def front_csv(front: Front, problem: Problem) -> str:
    """One row a design of the front, then the reference and the experts; costs in full."""
    text = io.StringIO()
    parameters = list(dict.fromkeys([*problem.space.names, *(name for e in front.experts for name in e.values)]))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "name", *front.metrics, *parameters])
    rows: list[tuple[str, str, Any, Mapping[str, object]]] = [
        ("front", "", costs, problem.decode(design)) for design, costs in zip(front.designs, front.costs, strict=True)
    ]
    if front.reference is not None and problem.reference.design is not None:
        rows.append(("reference", *front.reference, problem.decode(problem.reference.design)))
    rows += [("expert", expert.name, front.expert_costs(expert), expert.values) for expert in front.experts]
    for kind, name, costs, values in rows:
        writer.writerow([kind, name, *(repr(float(cost)) for cost in costs), *(values.get(p, "") for p in parameters)])
    return text.getvalue()


def to_json(front: Front, problem: Problem) -> dict[str, object]:
    """All of it as plain data."""

    def named(costs: Sequence[float]) -> dict[str, float]:
        return dict(zip(front.metrics, map(float, costs), strict=True))

    own = front.reference and {"name": front.reference[0], "costs": named(front.reference[1].tolist())}
    return {
        "scenario": problem.scenario,
        "options": dict(problem.options),
        "metrics": list(front.metrics),
        "feasible_designs": front.considered,
        "hypervolume": front.hypervolume,
        "hypervolume_point": named(front.point.tolist()),
        "front": [
            {"costs": named(costs.tolist()), "design": problem.decode(design)}
            for design, costs in zip(front.designs, front.costs, strict=True)
        ],
        "reference": own,
        "experts": [
            {
                "name": expert.name,
                "costs": named(front.expert_costs(expert).tolist()),
                "beaten_by": front.beating(front.expert_costs(expert)),
                "values": dict(expert.values),
                "source": expert.source,
            }
            for expert in front.experts
        ],
        "notes": list(problem.notes),
    }
