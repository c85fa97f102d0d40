"""`dsegym list` and `dsegym info`: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..formats import format_exact
from .arguments import OptionsOption, ScenarioArgument, WorkloadOption, options_of
from .tables import LONG, looseness, obstacles, say, table, terminal

__all__ = ["info", "list_command"]


def list_command() -> None:
    """List scenarios, agents, learners, collections and suites.

    Example: `dsegym list`
    """
    from ...agents.learners.registry import learner_names, learner_summary
    from ...agents.registry import agent_names
    from ...envs.core.collections import collection_names, load_collection
    from ...envs.core.scenarios import load_scenario, scenario_ids
    from ..shipped_policies import policy_names, shipped_evaluation
    from ..suite import count_trials, find_any_suite, find_suite, policy_suite_names, suite_names
    from ..toml_tables import read_toml_file

    console = terminal()
    console.print(table("Scenarios", [{"id": name, "what": load_scenario(name).summary} for name in scenario_ids()]))
    console.print(table("Agents", [_agent_row(name) for name in agent_names()]))
    console.print(
        table(
            "Learners, for `dsegym train`", [{"name": name, "what": learner_summary(name)} for name in learner_names()]
        )
    )
    collections = map(load_collection, collection_names())
    console.print(
        table("Collections", [{"name": c.name, "scenario": c.scenario, "what": c.summary} for c in collections])
    )
    suites = [read_toml_file(find_suite(name)) for name in suite_names()]
    console.print(
        table(
            "Suites",
            [{"name": s["name"], "trials": count_trials(s), "what": s.get("description", "")} for s in suites],
        )
    )
    policies = [read_toml_file(find_any_suite(name)) for name in policy_suite_names()]
    console.print(
        table(
            "Suites of policies",
            [{"name": s["name"], "trainings": len(s["trainings"]), "what": s["description"]} for s in policies],
        )
    )
    shipped = [(name, shipped_evaluation(name)) for name in policy_names()]
    console.print(table("Policies, for `dsegym evaluate`", [_policy_row(name, found) for name, found in shipped]))


def _agent_row(name: str) -> dict[str, Any]:
    from ...agents.registry import agent_needs, agent_summary

    needs = " and ".join(f"a {need}" for need in agent_needs(name))
    return {"name": name, "applies to": f"scenarios with {needs}" if needs else "all", "what": agent_summary(name)}


def _policy_row(name: str, evaluation: Any) -> dict[str, Any]:
    training = evaluation["policy"]["training"]
    return {
        "name": name,
        "scenario": evaluation["scenario"],
        "trained by": evaluation["policy"]["name"],
        "on": training["collection"],
        "training steps": training["steps"],
    }


def info(
    scenario: ScenarioArgument,
    option: OptionsOption = None,
    workload: WorkloadOption = None,
) -> None:
    """Show a scenario: its options, its design space, and one instance's reference and bound.

    Example: `dsegym info dsegym/AcceleratorSizing-v0 --option objective=edp`
    """
    from ...envs.core.options import PERMUTATION, UNIVERSAL
    from ...envs.core.scenarios import load_scenario, make_problem

    family = load_scenario(scenario)
    problem = make_problem(scenario, **options_of(option, workload))
    console = terminal()
    say(console, f"{scenario}: {family.summary}\n", "bold")
    console.print(
        table(
            "Options",
            [
                {
                    "option": name,
                    "default": entry.text(entry.default),
                    "what": entry.summary,
                    "values": ", ".join(
                        [*dict.fromkeys((*entry.values(), *entry.words)), *([entry.also] if entry.also else [])]
                    ),
                }
                for name, entry in {**family.options, PERMUTATION: UNIVERSAL}.items()
            ],
        )
    )
    parameters = problem.space.parameters
    console.print(
        table(
            f"Design space: {_count_text(problem.space.size)} designs",
            [
                {"parameter": p.name, "values": _values_text(p.values), "unit": p.unit or "-", "what": p.summary}
                for p in parameters[:LONG]
            ],
        )
    )
    if len(parameters) > LONG:
        say(console, f"... and {len(parameters) - LONG} parameters more.\n")
    for title, rows in family.facts():
        console.print(table(title, rows))
    value = f"value [{problem.objective.unit}]" if problem.objective.unit else "value"
    yardsticks = [("reference", problem.reference), ("bound", problem.bound)]
    cases = "" if problem.held_out_params is None else ", on the held-out cases"
    console.print(
        table(
            f"Yardsticks of {problem.name}: {problem.objective.name}, {problem.objective.summary}{cases}",
            [
                {"yardstick": role, "name": y.name, value: format_exact(y.value), "source": y.source}
                | {"design": _design_text(problem, y.design)}
                for role, y in yardsticks
            ],
        )
    )
    form, env = next(iter(problem.forms)), problem.functional_env()
    console.print(
        table(
            f"Observation of the form {form}: {_space_text(env.observation_space)}",
            [
                {"feature": f.name, "shape": str(list(f.shape)), "from": f.low, "to": f.high, "what": f.meaning}
                for f in env.features
            ],
        )
    )
    say(console, f"Environment forms: {', '.join(problem.forms)} (the first is the default)")
    for note in [*problem.notes, *obstacles(problem), *looseness(problem)]:
        say(console, f"Note: {note}")


def _space_text(space: Any) -> str:
    """The dtype and shape of an observation, or of each of its parts."""
    parts = getattr(space, "spaces", None)
    if parts is not None:
        return ", ".join(f"{name} {_space_text(part)}" for name, part in parts.items())
    return f"{space.dtype}{list(space.shape)}"


def _values_text(values: Sequence[object]) -> str:
    shown = [*values[:3], "...", values[-1]] if len(values) > LONG else values
    return ", ".join(map(str, shown))


def _count_text(count: int) -> str:
    return format_exact(count) if count < 10**15 else f"about 1e{len(str(count)) - 1}"


def _design_text(problem: Any, design: object) -> str:
    if design is None:
        return "-"
    if len(problem.space) > LONG:
        return f"{len(problem.space)} parameters"
    return ",".join(f"{name}={value}" for name, value in problem.decode(design).items())
