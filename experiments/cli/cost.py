"""`dsegym cost`: what one design costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...costmodels.errors import DsegymError, UnknownNameError
from ..formats import format_exact, name_and_unit
from .arguments import (
    BaselineOption,
    DesignOption,
    JsonOption,
    OptionsOption,
    ScenarioArgument,
    WorkloadOption,
    options_of,
    pairs_of,
)
from .documents import print_json
from .tables import LONG, looseness, obstacles, say, table, terminal

if TYPE_CHECKING:
    from ...envs.core.problem import Problem

__all__ = ["cost", "values_of"]


def cost(
    scenario: ScenarioArgument,
    design: DesignOption = "",
    baseline: BaselineOption = "",
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    any_value: Annotated[
        bool,
        typer.Option(
            "--any-value", help="Allow values outside the design space (any whole number that the model holds)."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Cost one design: totals and the breakdown by part, with units.

    Example: `dsegym cost dsegym/AcceleratorSizing-v0 --workload resnet50 --design rows=64,columns=64,dataflow=os`
    """
    from ...envs.core.scenarios import make_problem

    problem = make_problem(scenario, **options_of(option, workload))
    values, given = values_of(problem, design, baseline)
    verdict: dict[str, Any] = {}
    if any_value:
        in_space = _encodes(problem, values)
    else:
        problem.space.encode(values)
        in_space = True
    if problem.breakdown is None and not in_space:
        raise DsegymError(f"{scenario} costs designs of its space only.")
    result = problem.evaluate(problem.space.encode(values)) if in_space else None
    breakdown = problem.breakdown(values) if problem.breakdown else _metrics_only(problem, result)
    if result is not None:
        value, feasible = _value(result)
        verdict = {
            "objective": problem.objective.name,
            "unit": problem.objective.unit,
            "value": value,
            "feasible": feasible,
        }
        if not feasible:
            beyond, unpenalised = float(result.violation[0]), float(result.unpenalised[0])
            verdict |= {"violation": beyond, "unpenalised": unpenalised}
        if problem.held_out_params is not None:
            value, feasible = _value(problem.evaluate_held_out(problem.space.encode(values)))
            verdict |= {"held_out": value, "held_out_feasible": feasible}
            error = next((v for k, v in breakdown.totals.items() if k.endswith("_standard_error")), None)
            if error is not None:
                verdict |= {"standard_error": error, "test_problems": breakdown.totals["test_problems"]}
        verdict |= {  # values on the held-out cases where there are any
            "reference": problem.reference.value,
            problem.bound.name: problem.bound.value,
        }
    described = {p.name: p.text(values[p.name]) for p in problem.space.parameters}
    if as_json:
        content = {
            "scenario": problem.scenario,
            "options": dict(problem.options),
            "design": described,
            "totals": dict(breakdown.totals),
            "verdict": verdict,
            "parts": [dict(row) for row in breakdown.rows],
            "notes": [*breakdown.notes, *obstacles(problem), *looseness(problem)],
        }
        print_json(content)
        return
    console = terminal()
    taken = [name for name in problem.space.names if name not in given]
    say(console, f"{problem.scenario}: {problem.name}", "bold")
    shown = dict(list(described.items())[:LONG])
    more = f", ... ({len(described)} in all)" if len(described) > LONG else ""
    say(console, ", ".join(f"{name}={text}" for name, text in shown.items()) + more)
    if taken:
        origin = f"the baseline {baseline}" if baseline else f"the reference {problem.reference.name}"
        which = ", ".join(taken) if len(taken) <= LONG else f"{len(taken)} parameters"
        say(console, f"(from {origin}: {which})")
    if breakdown.rows:
        console.print(table("Parts", breakdown.rows))
    console.print(table("Totals", _totals(breakdown.totals)))
    if verdict:
        outcome = f"Objective {problem.objective.name}: {_value_text(problem, verdict['value'])}"
        if "violation" in verdict:
            outcome += (
                f": {100 * verdict['violation']:.4g} % beyond a limit; without limits "
                f"{_value_text(problem, verdict['unpenalised'])}"
            )
        if "held_out" in verdict:
            outcome += f"; on the held-out cases: {_value_text(problem, verdict['held_out'])}"
        if "standard_error" in verdict:
            outcome += (
                f", standard error {verdict['standard_error']:.2g} over {verdict['test_problems']:.0f} test problems"
            )
        reference, bound = format_exact(problem.reference.value), format_exact(problem.bound.value)
        say(
            console, f"{outcome} (reference {problem.reference.name} {reference}, {problem.bound.name} {bound})", "bold"
        )
    for note in [*breakdown.notes, *obstacles(problem), *looseness(problem)]:
        say(console, f"Note: {note}")


def values_of(problem: Problem, design: str, baseline: str = "") -> tuple[dict[str, Any], Mapping[str, str]]:
    """{parameter: value} of a design, and what of it was given.

    Args:
        problem: the instance.
        design: NAME=VALUE,...
        baseline: whose design gives the rest: a rule's, the reference's by its name, or the proven one, `optimum`; the
            reference's when left out.

    Raises:
        UnknownNameError: there is no such parameter or baseline.
        DsegymError: the design is no list of NAME=VALUE.
    """
    given = pairs_of([item for item in design.split(",") if item.strip()], "a part of the design")
    unknown = [name for name in given if name not in problem.space.names]
    if unknown:
        raise UnknownNameError("parameter", unknown[0], problem.space.names)
    start = problem.reference.design
    yardsticks = {each.name: each.design for each in (problem.bound, problem.reference) if each.design}
    if baseline in yardsticks:
        start = yardsticks[baseline]
    elif baseline:
        if baseline not in problem.baselines:
            own = [name for name in yardsticks if name == problem.reference.name]
            raise UnknownNameError("baseline", baseline, dict.fromkeys([*own, *problem.baselines, *yardsticks]))
        start = problem.baselines[baseline]()
    return {**(problem.decode(start) if start is not None and len(start) else {}), **given}, given


def _value(result: Any) -> tuple[float | None, bool]:
    """The objective of the one design, None where it is not feasible; and whether it is."""
    feasible = bool(result.feasible[0])
    return (float(result.objective[0]) if feasible else None), feasible


def _value_text(problem: Any, value: float | None) -> str:
    return "not feasible" if value is None else f"{format_exact(value)} {problem.objective.unit}"


def _metrics_only(problem: Any, result: Any) -> Any:
    """What a family without a breakdown has to show: the metrics of the one design."""
    from ...costmodels.breakdown import Breakdown

    metrics = {name: getattr(result.metrics, name)[0].item() for name in result.metrics._fields}
    return Breakdown(metrics, (), problem.notes)


def _totals(totals: Mapping[str, Any]) -> list[Mapping[str, object]]:
    rows = []
    for key, value in totals.items():
        name, unit = name_and_unit(key)
        rows.append({"quantity": name, "value": format_exact(value), "unit": unit or "-"})
    return rows


def _encodes(problem: Any, values: Mapping[str, object]) -> bool:
    try:
        problem.space.encode(values)
    except DsegymError:
        return False
    return True
