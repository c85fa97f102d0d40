"""A front for people and programs: as tables and a picture of letters, as a diagram, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import itertools
import math
import textwrap
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
    "is_front",
    "letters",
    "log_ranges",
    "log_ticks",
    "marks",
    "to_json",
]

_WIDE, _HIGH = 72, 20  # letters of the picture
_MARK = 0.008, 0.015  # of the axes' lengths, a mark's width and height; of machines beside the front, half as much more
_LINE = 0.0015, 0.0025  # of the axes' lengths, how thick the front's line is
_OTHER_COSTS = "front in other costs"
_FRONT_COLOURS = {True: "#222222", False: "#AAAAAA"}  # of the first two costs, and of others
# Factors of each power of ten that have a mark, the first that gives an axis three: a narrow one needs finer ones.
_FACTORS = ((1,), (1, 2, 5), range(1, 10), *([k / n for k in range(n, 10 * n)] for n in (2, 5, 10, 20, 50, 100)))


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
    """What is drawn, the front last, so that nothing hides it; of more than two costs, that of the first two apart."""
    first, second = front.metrics[:2]
    own = "front" if len(front.metrics) == 2 else f"front of {name_and_unit(first)[0]} and {name_and_unit(second)[0]}"
    plain = set(non_dominated(front.costs[:, :2]).tolist())
    found, others = [], []
    for place, costs in enumerate(front.costs):
        label = ", ".join(f"{axis_label(m)} {v:.4g}" for m, v in zip(front.metrics, costs, strict=True))
        (found if place in plain else others).append(
            Mark(own if place in plain else _OTHER_COSTS, costs[0], costs[1], label)
        )
    if front.reference is not None:
        name, costs = front.reference
        others.append(Mark(f"reference {name}", costs[0], costs[1], name))
    for expert in front.experts:
        costs = front.expert_costs(expert)
        others.append(Mark(f"expert {expert.name}", costs[0], costs[1], expert.name))
    return others + sorted(found, key=lambda mark: mark.x)


def is_front(kind: str) -> bool:
    """Whether marks of a kind are the front of the two costs that are drawn."""
    return kind.startswith("front") and kind != _OTHER_COSTS


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


def log_ranges(found: Sequence[Mark]) -> tuple[tuple[float, float], tuple[float, float]]:
    """log10 of where the two axes begin and end."""
    return _range([mark.x for mark in found]), _range([mark.y for mark in found])


def _range(values: Sequence[float]) -> tuple[float, float]:
    """log10 of the smallest and the largest value, with a margin."""
    low, high = math.log10(min(values)), math.log10(max(values))
    pad = max(0.05 * (high - low), 0.02)
    return low - pad, high + pad


def log_ticks(limits: tuple[float, float]) -> list[tuple[float, str]]:
    """(log10, text) of round numbers on a logarithmic axis: three at least, decades alone where these are enough."""
    powers = range(math.floor(limits[0]), math.ceil(limits[1]) + 1)
    found: list[tuple[float, str]] = []
    for factors in _FACTORS:
        values = [factor * 10.0**power for power in powers for factor in factors]
        found = [(math.log10(v), f"{v:g}") for v in values if limits[0] <= math.log10(v) <= limits[1]]
        if len(found) >= 3:
            break
    return found


def front_diagram(front: Front, title: str) -> Diagram | None:
    """The first two costs against each other, both axes logarithmic; None where nothing is to be drawn."""
    found = marks(front)
    if not found:
        return None
    x_range, y_range = log_ranges(found)
    lengths = x_range[1] - x_range[0], y_range[1] - y_range[0]

    def rectangle(mark: Mark) -> Rectangle:
        size = 1.0 if mark.kind.startswith("front") else 1.5
        width, height = (size * share * length for share, length in zip(_MARK, lengths, strict=True))
        return Rectangle(math.log10(mark.x) - width / 2, math.log10(mark.y) - height / 2, width, height, mark.kind)

    def step(mark: Mark, after: Mark) -> Iterator[Rectangle]:
        thick, high = (share * length for share, length in zip(_LINE, lengths, strict=True))
        (left, right), (top, low) = ([math.log10(v) for v in pair] for pair in zip(mark[1:3], after[1:3], strict=True))
        yield Rectangle(left, top - high / 2, right - left, high, mark.kind)
        yield Rectangle(right - thick / 2, low, thick, top - low, mark.kind)

    line = [part for pair in itertools.pairwise(m for m in found if is_front(m.kind)) for part in step(*pair)]
    return Diagram(
        title=title,
        x_label=f"{axis_label(front.metrics[0])}, logarithmic",
        y_label=f"{axis_label(front.metrics[1])}, logarithmic",
        x_range=x_range,
        y_range=y_range,
        rectangles=[*line, *map(rectangle, found)],
        x_ticks=log_ticks(x_range),
        y_ticks=log_ticks(y_range),
        colours={mark.kind: _FRONT_COLOURS[is_front(mark.kind)] for mark in found if mark.kind.startswith("front")},
    )


def letters(front: Front) -> Iterator[str]:
    """The same picture in lines of letters, and what they mean."""
    found = marks(front)
    if not found:
        return
    x_range, y_range = log_ranges(found)
    grid = [[" "] * _WIDE for _ in range(_HIGH)]
    signs: dict[str, str] = {}
    for mark in found:
        if mark.kind.startswith("front"):
            sign = "*" if is_front(mark.kind) else "."
        else:
            sign = chr(ord("A") + sum(each not in ".*" for each in signs.values()))
        sign = signs.setdefault(mark.kind, sign)
        column = round((math.log10(mark.x) - x_range[0]) / (x_range[1] - x_range[0]) * (_WIDE - 1))
        row = _HIGH - 1 - round((math.log10(mark.y) - y_range[0]) / (y_range[1] - y_range[0]) * (_HIGH - 1))
        if grid[row][column] in (" ", ".", sign):
            grid[row][column] = sign
        else:
            grid[row][column] = signs["several in one place"] = "#"
    yield f"{axis_label(front.metrics[1])}, from {10 ** y_range[0]:.3g} to {10 ** y_range[1]:.3g}, logarithmic"
    yield from ("|" + "".join(line).rstrip() for line in grid)
    yield "+" + "-" * _WIDE
    yield f" {axis_label(front.metrics[0])}, from {10 ** x_range[0]:.3g} to {10 ** x_range[1]:.3g}, logarithmic"
    meanings = [f"{sign} {kind}".replace(" ", "\0") for kind, sign in sorted(signs.items(), key=lambda each: each[1])]
    lines = textwrap.wrap("; ".join(meanings), _WIDE + 1, break_long_words=False, break_on_hyphens=False)
    yield from (line.replace("\0", " ") for line in lines)


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
