"""`dsegym optimize`: the best designs of an instance, exact where all that could be best can be costed, or searched."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...costmodels.errors import DsegymError
from ..door import check_writable, write_by_rename
from ..formats import counted, format_exact
from .arguments import JsonOption, OptionsOption, ScenarioArgument, WorkloadOption, complete_agents, options_of
from .documents import json_text, print_json
from .tables import LONG, looseness, obstacles, progress_bar, say, table, terminal, units_of

if TYPE_CHECKING:
    import numpy as np

    from ...envs.core.problem import Problem

__all__ = ["equal_designs", "optimize"]

_ALL = "exact: every design that could be best was costed"
_ALIKE = 1e-6  # relative: values that differ by less are one value
_MOST_SHOWN = 10  # designs
_SAMPLES = 1000  # of a search, where the user names none
_AGENT = "portfolio"  # who searches, where the user names none


def optimize(
    scenario: ScenarioArgument,
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    best: Annotated[int, typer.Option(min=1, max=_MOST_SHOWN, help="How many designs to show.")] = 3,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000_000,
            help=f"Search with so many designs; {_SAMPLES:,} where there is no exact way, or with --agent.",
            show_default=False,
        ),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            help=f"Who searches; {_AGENT} where none is named.", show_default=False, autocompletion=complete_agents
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the search.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Write the designs to this file, .json.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the best designs of an instance beside the reference, and how far the best is from the bound.

    Exact where every design that could be best can be costed, or the optimum is known; else, or with --samples or
    --agent, what a search finds.

    Example: `dsegym optimize dsegym/TrainingPlan-v0 -o model=Llama-3-70B -o cluster=H100 -o gpus=256`
    """
    from ...agents.registry import check_libraries
    from ...envs.core.scenarios import make_problem

    if agent is not None:
        check_libraries(agent)
    if output is not None and output.suffix != ".json":
        raise DsegymError(f"'{output}' is no name of a file of designs; allowed: a name that ends in .json.")
    if output is not None:
        check_writable(output)
    problem = make_problem(scenario, **options_of(option, workload))
    way = _exact_way(problem)
    exact = way is not None and samples is None and agent is None
    if way is not None and exact:
        origin, rank = way
        designs = rank(best)
    else:
        agent = _AGENT if agent is None else agent
        designs, spent = _searched(problem, agent, samples or _SAMPLES, seed, best)
        origin = f"search: {counted(spent, 'sample')} of {agent}, seed {seed}"
    columns = _columns(problem, designs)
    notes = [*problem.notes, *obstacles(problem), *(() if exact else looseness(problem))]
    if not exact and not _reached(problem, columns):
        notes += _other_ways(problem, way is not None, agent)
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
        _print_table(console, problem, columns)
    say(console, _distance(problem, columns, exact), "bold")
    if equal := equal_designs(problem.objective.name, columns):
        say(console, equal)
    for note in notes:
        say(console, f"Note: {note}")
    if output is not None:
        say(console, f"Wrote {output}.")


def _columns(problem: Problem, designs: np.ndarray) -> dict[str, dict[str, Any]]:
    """{title: what is shown of a design} of the best ones, int[K, n], under `1.` to `K.`; of the known design of the
    bound, where it is better than these; and of the reference's.
    """
    columns = {f"{place}.": _described(problem, design) for place, design in enumerate(designs, 1)}
    bound, reference = problem.bound, problem.reference
    if columns and bound.design is not None and not _reached(problem, columns):
        columns[f"known {bound.name}"] = _described(problem, bound.design)
    if reference.design is not None:
        columns[f"reference {reference.name}"] = _described(problem, reference.design)
    return columns


def _print_table(console: Any, problem: Problem, columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints designs side by side; their parameters are left out where these are many, or come to a summary."""
    first = next(iter(columns.values()))
    summed = bool(_summary(problem, {name: first[name] for name in problem.space.names}))
    parameters = problem.space.names if summed or len(problem.space) > LONG else ()
    left_out = {*parameters, *_repeated(problem.objective.name, columns)}
    quantities = [name for name in first if name not in left_out]
    rows = [{"": name, **{title: each[name] for title, each in columns.items()}} for name in quantities]
    console.print(table(f"Best designs by {problem.objective.name} [{problem.objective.unit}]", rows))
    if parameters:
        say(console, f"The designs' {len(problem.space)} parameters are in --json and --output.")
    elif units := units_of(problem):
        say(console, f"Units: {units}.")


def _repeated(objective: str, columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Metrics that are the objective under a longer or a shorter name."""
    first = next(iter(columns.values()))
    alike = (name for name in first if name != objective and (name in objective or objective in name))
    return [name for name in alike if all(each[name] == each[objective] for each in columns.values())]


def equal_designs(objective: str, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence where the best designs that are shown do not differ in the objective; else empty."""
    found = [each[objective] for title, each in columns.items() if title[:-1].isdecimal()]
    equal = sum(value <= found[0] * (1 + _ALIKE) for value in found)
    if equal < 2:
        return ""
    more = (
        f"; there may be more of these: --best shows up to {_MOST_SHOWN}" if equal == len(found) < _MOST_SHOWN else ""
    )
    return f"Designs 1 to {equal} are equal in {objective}{more}."


def _reached(problem: Problem, columns: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the best design that was found is as good as the bound, so that none can be better."""
    found = columns.get("1.")
    return found is not None and found[problem.objective.name] <= problem.bound.value * (1 + _ALIKE)


def _other_ways(problem: Problem, is_exact: bool, agent: str | None) -> list[str]:
    """A sentence where a search that fell short could have been an exact answer; none where there is no such way."""
    from ...agents.registry import agent_needs

    if is_exact:
        return ["`dsegym optimize` is exact here: leave out --samples and --agent."]
    if problem.solvers and "solver" not in agent_needs(agent or _AGENT):
        return [f"this instance has an exact solver, {next(iter(problem.solvers))}: --agent exact asks it."]
    return []


def _distance(problem: Problem, columns: Mapping[str, Mapping[str, Any]], exact: bool) -> str:
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
    if exact:  # whatever the bound that suites score by is worth
        return f"{best}: {words}, the optimum: no design is better."
    return f"{best}: {words}, {100 * beyond:.3g} % above the {bound.name} {format_exact(bound.value)}."


def _exact_way(problem: Problem) -> tuple[str, Callable[[int], np.ndarray]] | None:
    """Why what it makes is exact, in words, and what makes a number of designs, int[K, n], best first; None where the
    family cannot list its best designs, its space is too large to cost, and no design is known to be optimal.
    """
    import numpy as np

    from ...envs.core.problem import ENUMERABLE
    from ...envs.core.ranking import best_of_all

    if problem.ranked is not None:
        return _ALL, problem.ranked
    if problem.space.size <= ENUMERABLE:
        return _ALL, functools.partial(best_of_all, problem)
    known = problem.bound
    if known.name == "optimum" and known.design is not None:
        origin = f"exact: the known optimum ({known.source}); --samples searches for others"
        return origin, lambda count: np.array([known.design], np.int32)
    return None


def _searched(problem: Problem, agent: str, samples: int, seed: int, count: int) -> tuple[np.ndarray, int]:
    """The best of an agent's designs, int[K, n], and the number that it costed; Ctrl-C ends the search early."""
    import numpy as np

    from ...envs.core.ranking import best_of
    from ..front_search import searched

    with progress_bar("samples") as progress:
        task = progress.add_task(agent, total=samples)
        designs = searched(problem, agent, (), samples, seed, lambda spent: progress.update(task, completed=spent))
    return best_of(problem, np.unique(designs, axis=0), count), len(designs)


def _described(problem: Problem, design: np.ndarray | Sequence[int]) -> dict[str, Any]:
    """{quantity: value} of a design: its objective, its parameters, what they come to, its metrics.

    A metric that is called as a parameter is `metric NAME`: the limit `tokens`, say, and what was spent of it.
    """
    result = problem.evaluate_held_out(design)
    values, objective = problem.decode(design), problem.objective.name
    metrics = {
        f"metric {name}" if name in values else name: float(value[0])
        for name, value in (result.metrics._asdict() if result.metrics else {}).items()
        if name != objective
    }
    return {objective: float(result.objective[0]), **values, **_summary(problem, values), **metrics}


def _summary(problem: Problem, values: Mapping[str, Any]) -> dict[str, float]:
    """What a design comes to, where its breakdown says so."""
    return {} if problem.breakdown is None else dict(problem.breakdown(values).summary)
