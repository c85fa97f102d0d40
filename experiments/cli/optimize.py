"""`dsegym optimize`: the best designs of an instance, exact where all that could be best can be costed, or searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...costmodels.errors import DsegymError
from ..door import check_writable, write_by_rename
from ..formats import counted, format_exact
from .arguments import JsonOption, OptionsOption, ScenarioArgument, WorkloadOption, options_of
from .documents import json_text, print_json
from .tables import LONG, looseness, obstacles, progress_bar, say, table, terminal, units_of

if TYPE_CHECKING:
    import numpy as np

    from ...envs.core.problem import Problem

__all__ = ["optimize"]

_ALIKE = 1e-6  # relative: values that differ by less are one value
_SAMPLES = 1000  # of a search, where the user names none


def optimize(
    scenario: ScenarioArgument,
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    best: Annotated[int, typer.Option(min=1, max=10, help="How many designs to show.")] = 3,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000_000,
            help=f"Search with so many designs; {_SAMPLES:,} where the instance is too large to cost every design.",
            show_default=False,
        ),
    ] = None,
    agent: Annotated[str, typer.Option(help="Who searches.")] = "portfolio",
    seed: Annotated[int, typer.Option(min=0, help="Of the search.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Write the designs to this file, .json.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the best designs of an instance beside the reference, and how far the best is from the bound.

    Exact where every design that could be best can be costed; else, or with --samples, what a search finds.

    Example: `dsegym optimize dsegym/TrainingPlan-v0 -o model=Llama-3-70B -o cluster=H100 -o gpus=256`
    """
    from ...envs.core.scenarios import make_problem

    if output is not None and output.suffix != ".json":
        raise DsegymError(f"'{output}' is no name of a file of designs; allowed: a name that ends in .json.")
    if output is not None:
        check_writable(output)
    problem = make_problem(scenario, **options_of(option, workload))
    designs = None if samples is not None else _ranked(problem, best)
    origin = "exact: every design that could be best was costed"
    if designs is None:
        designs, spent = _searched(problem, agent, samples or _SAMPLES, seed, best)
        origin = f"search: {counted(spent, 'sample')} of {agent}, seed {seed}"
    columns = {f"{place}.": _described(problem, design) for place, design in enumerate(designs, 1)}
    known, name = problem.bound.design, problem.objective.name
    if columns and known is not None and columns["1."][name] > problem.bound.value * (1 + _ALIKE):
        columns[f"known {problem.bound.name}"] = _described(problem, known)
    if problem.reference.design is not None:
        columns[f"reference {problem.reference.name}"] = _described(problem, problem.reference.design)
    notes = [*problem.notes, *obstacles(problem), *looseness(problem)]
    content = {
        "scenario": problem.scenario,
        "options": dict(problem.options),
        "origin": origin,
        "objective": problem.objective.name,
        "unit": problem.objective.unit,
        "reference": problem.reference.value,
        problem.bound.name: problem.bound.value,
        "designs": columns,
        "notes": notes,
    }
    if output is not None:
        write_by_rename(output, json_text(content).encode())
    if as_json:
        print_json(content)
        return
    console = terminal()
    say(console, f"{problem.scenario}: {problem.name}", "bold")
    say(console, f"{origin[0].upper()}{origin[1:]}.")
    if columns:
        first = next(iter(columns.values()))
        summed = bool(_summary(problem, {name: first[name] for name in problem.space.names}))
        parameters = problem.space.names if summed or len(problem.space) > LONG else ()
        quantities = [name for name in first if name not in parameters]
        rows = [{"": name, **{title: each[name] for title, each in columns.items()}} for name in quantities]
        title = f"Best designs by {problem.objective.name} [{problem.objective.unit}]"
        console.print(table(title, rows))
        if units := "" if parameters else units_of(problem):
            say(console, f"Units: {units}.")
        if parameters:
            say(console, f"The designs' {len(problem.space)} parameters are in --json and --output.")
    say(console, _distance(problem, columns), "bold")
    for note in notes:
        say(console, f"Note: {note}")
    if output is not None:
        say(console, f"Wrote {output}.")


def _distance(problem: Problem, columns: Any) -> str:
    """How far the best design is from reference and bound, in words."""
    found, reference, bound = columns.get("1."), problem.reference, problem.bound
    if found is None:
        return "No design that was costed is feasible."
    value, name = found[problem.objective.name], problem.objective.name
    unit = f" {problem.objective.unit}" * bool(problem.objective.unit)
    best = f"Best {name} {format_exact(value)}{unit}"
    change, beyond = value / reference.value - 1, value / bound.value - 1
    side = "above" if change > 0 else "below"
    words = f"{100 * abs(change):.3g} % {side} the reference {format_exact(reference.value)}"
    if abs(change) <= _ALIKE:
        words = f"as good as the reference {reference.name}"
    if beyond <= _ALIKE:
        return f"{best}: {words}, at the {bound.name}."
    return f"{best}: {words}, {100 * beyond:.3g} % above the {bound.name} {format_exact(bound.value)}."


def _ranked(problem: Problem, count: int) -> np.ndarray | None:
    """int[K, n], best first; None where the family cannot list its best designs, and its space is too large to cost."""
    from ...envs.core.problem import ENUMERABLE

    if problem.ranked is not None:
        return problem.ranked(count)
    if problem.space.size > ENUMERABLE:
        return None
    return _best_of(problem, problem.space.enumerate(0, problem.space.size), count)


def _searched(problem: Problem, agent: str, samples: int, seed: int, count: int) -> tuple[np.ndarray, int]:
    """The best of an agent's designs, int[K, n], and the number that it costed; Ctrl-C ends the search early."""
    from ..front_search import searched

    with progress_bar("samples") as progress:
        task = progress.add_task(agent, total=samples)
        designs = searched(
            problem, agent, (), samples, seed, lambda spent: progress.update(task, completed=spent, refresh=True)
        )
    return _best_of(problem, designs, count), len(designs)


def _best_of(problem: Problem, designs: np.ndarray, count: int) -> np.ndarray:
    """The best feasible designs, int[K, n], best first; of those that cost the same in every metric, the first."""
    import numpy as np

    designs = np.unique(designs, axis=0)
    result = problem.evaluate_held_out(designs)
    order = np.argsort(np.where(result.feasible, result.objective, np.inf), kind="stable")
    order = order[result.feasible[order]]
    chosen: dict[Any, int] = {}
    for place in order.tolist():
        costs = tuple(float(metric[place]) for metric in result.metrics or ())
        chosen.setdefault((float(result.objective[place]), *(costs or (place,))), place)
        if len(chosen) == count:
            break
    return designs[list(chosen.values())]


def _described(problem: Problem, design: np.ndarray | Sequence[int]) -> dict[str, Any]:
    """{quantity: value} of a design: its objective, its parameters, what they come to, its metrics."""
    result = problem.evaluate_held_out(design)
    metrics = {name: float(value[0]) for name, value in result.metrics._asdict().items()} if result.metrics else {}
    values = problem.decode(design)
    return {problem.objective.name: float(result.objective[0]), **values, **_summary(problem, values), **metrics}


def _summary(problem: Problem, values: Mapping[str, Any]) -> dict[str, float]:
    """What a design comes to, where its breakdown says so."""
    return {} if problem.breakdown is None else dict(problem.breakdown(values).summary)
