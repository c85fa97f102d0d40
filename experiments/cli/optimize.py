"""`dsegym optimize`: the best designs of an instance, where all that could be the best can be costed."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ...costmodels.errors import DsegymError
from .arguments import JsonOption, OptionsOption, ScenarioArgument, WorkloadOption, options_of
from .tables import obstacles, say, table, terminal

__all__ = ["optimize"]


def optimize(
    scenario: ScenarioArgument,
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    best: Annotated[int, typer.Option(min=1, max=10, help="How many designs to show.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Show the best designs of an instance beside the reference: exact, by costing every design that could be best.

    Example: `dsegym optimize dsegym/TrainingPlan-v0 -o model=Llama-3-70B -o cluster=H100 -o gpus=256`
    """
    from ...envs.core.scenarios import make_problem

    problem = make_problem(scenario, **options_of(option, workload))
    designs = _ranked(problem, best)
    columns = {f"{place}.": _described(problem, design) for place, design in enumerate(designs, 1)}
    if problem.reference.design is not None:
        columns[f"reference {problem.reference.name}"] = _described(problem, problem.reference.design)
    notes = [*problem.notes, *obstacles(problem)]
    if as_json:
        content = {"scenario": problem.scenario, "options": dict(problem.options), "designs": columns, "notes": notes}
        print(json.dumps(content, indent=1, allow_nan=False))
        return
    console = terminal()
    say(console, f"{problem.scenario}: {problem.name}", "bold")
    quantities = next(iter(columns.values()))
    rows = [{"": name, **{title: each[name] for title, each in columns.items()}} for name in quantities]
    title = f"Best designs by {problem.objective.name} [{problem.objective.unit}]"
    console.print(table(title, rows))
    for note in notes:
        say(console, f"Note: {note}")


def _ranked(problem: Any, count: int) -> Any:
    """int[K, n], best first.

    Raises:
        DsegymError: the family cannot list its best designs, and its space is too large to cost.
    """
    import numpy as np

    from ...envs.core.problem import ENUMERABLE

    if problem.ranked is not None:
        return problem.ranked(count)
    if problem.space.size > ENUMERABLE:
        raise DsegymError(
            f"{problem.scenario} has {problem.space.size:,} designs, too many to cost each; search them with an agent: "
            "`dsegym run` with a suite that names the instance."
        )
    everything = problem.space.enumerate(0, problem.space.size)
    result = problem.evaluate_held_out(everything)
    order = np.argsort(np.where(result.feasible, result.objective, np.inf), kind="stable")[:count]
    return everything[order[result.feasible[order]]]


def _described(problem: Any, design: Any) -> dict[str, Any]:
    """{quantity: value} of a design: its objective, its parameters, its metrics."""
    result = problem.evaluate_held_out(design)
    metrics = {name: float(value[0]) for name, value in result.metrics._asdict().items()} if result.metrics else {}
    return {problem.objective.name: float(result.objective[0]), **problem.decode(design), **metrics}
