"""`dsegym list` and `dsegym info`: what there is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..formats import counted, format_exact
from .arguments import JsonOption, OptionsOption, ScenarioArgument, WorkloadOption, options_of
from .documents import print_json
from .tables import LONG, looseness, obstacles, say, table, terminal

__all__ = ["info", "list_command"]

_EXACT = 2**53  # up to here every reader of JSON has whole numbers exactly


# The parts of what there is: their titles in the terminal, and the headings of their columns by their members.
_LISTED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "scenarios": ("Scenarios", {"id": "id", "summary": "what"}),
    "agents": ("Agents", {"name": "name", "needs": "applies to", "summary": "what"}),
    "learners": ("Learners, for `dsegym train`", {"name": "name", "summary": "what"}),
    "collections": ("Collections", {"name": "name", "scenario": "scenario", "summary": "what"}),
    "suites": ("Suites", {"name": "name", "trials": "trials", "summary": "what"}),
    "policy_suites": ("Suites of policies", {"name": "name", "trainings": "trainings", "summary": "what"}),
    "policies": (
        "Policies, for `dsegym evaluate`",
        {
            "name": "name",
            "scenario": "scenario",
            "learner": "trained by",
            "collection": "on",
            "steps": "training steps",
        },
    ),
}


def list_command(as_json: JsonOption = False) -> None:
    """List scenarios, agents, learners, collections and suites.

    Example: `dsegym list`
    """
    found = _all_there_is()
    if as_json:
        print_json(found)
        return
    for part, (title, headings) in _LISTED.items():
        rows = [{heading: _words(row[name]) for name, heading in headings.items()} for row in found[part]]
        terminal().print(table(title, rows))


def _all_there_is() -> dict[str, list[dict[str, Any]]]:
    """{part of `_LISTED`: its entries}."""
    from ...agents.learners.registry import learner_names, learner_summary
    from ...agents.registry import agent_names, agent_needs, agent_summary
    from ...envs.core.collections import collection_names, load_collection
    from ...envs.core.scenarios import load_scenario, scenario_ids
    from ..shipped_policies import policy_names, shipped_evaluation
    from ..suite import count_trials, find_any_suite, find_suite, policy_suite_names, suite_names
    from ..toml_tables import read_toml_file

    suites = [read_toml_file(find_suite(name)) for name in suite_names()]
    policy_suites = [read_toml_file(find_any_suite(name)) for name in policy_suite_names()]
    return {
        "scenarios": [{"id": name, "summary": load_scenario(name).summary} for name in scenario_ids()],
        "agents": [
            {"name": name, "needs": list(agent_needs(name)), "summary": agent_summary(name)} for name in agent_names()
        ],
        "learners": [{"name": name, "summary": learner_summary(name)} for name in learner_names()],
        "collections": [
            {"name": each.name, "scenario": each.scenario, "summary": each.summary}
            for each in map(load_collection, collection_names())
        ],
        "suites": [
            {"name": each["name"], "trials": count_trials(each), "summary": each.get("description", "")}
            for each in suites
        ],
        "policy_suites": [
            {"name": each["name"], "trainings": len(each["trainings"]), "summary": each["description"]}
            for each in policy_suites
        ],
        "policies": [_policy(name, shipped_evaluation(name)) for name in policy_names()],
    }


def _policy(name: str, evaluation: Any) -> dict[str, Any]:
    training = evaluation["policy"]["training"]
    return {
        "name": name,
        "scenario": evaluation["scenario"],
        "learner": evaluation["policy"]["name"],
        "collection": training["collection"],
        "steps": training["steps"],
    }


def _words(value: Any) -> Any:
    """A cell; what an agent needs, in words."""
    if not isinstance(value, list):
        return value
    needs = " and ".join(f"a {need}" for need in value)
    return f"scenarios with {needs}" if needs else "all"


def info(
    scenario: ScenarioArgument,
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a scenario: its options, its design space, and one instance's reference and bound.

    Example: `dsegym info dsegym/AcceleratorSizing-v0 --option objective=edp`
    """
    from ...envs.core.options import PERMUTATION, UNIVERSAL
    from ...envs.core.scenarios import load_scenario, make_problem

    family = load_scenario(scenario)
    problem = make_problem(scenario, **options_of(option, workload))
    options = {**family.options, PERMUTATION: UNIVERSAL}
    notes = [*problem.notes, *obstacles(problem), *looseness(problem)]
    if as_json:
        print_json(_content(problem, family, options, notes))
        return
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
                for name, entry in options.items()
            ],
        )
    )
    parameters = problem.space.parameters
    console.print(
        table(
            f"Design space: {_count_text(problem.space.size)} design{'s' * (problem.space.size != 1)}",
            [
                {"parameter": p.name, "values": _values_text(p.values), "unit": p.unit or "-", "what": p.summary}
                for p in parameters[:LONG]
            ],
        )
    )
    if len(parameters) > LONG:
        say(console, f"... and {counted(len(parameters) - LONG, 'parameter')} more.\n")
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
    for note in notes:
        say(console, f"Note: {note}")


def _content(problem: Any, family: Any, options: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """All of it as JSON."""
    objective, size = problem.objective, problem.space.size
    form, env = next(iter(problem.forms)), problem.functional_env()

    def yardstick(one: Any) -> dict[str, Any]:
        design = None if one.design is None else problem.decode(one.design)
        return {"name": one.name, "value": one.value, "source": one.source, "design": design}

    return {
        "scenario": problem.scenario,
        "summary": family.summary,
        "options": dict(problem.options),
        "known_options": [
            {
                "name": name,
                "default": entry.text(entry.default),
                "unit": entry.unit,
                "values": list(dict.fromkeys((*entry.values(), *entry.words))),
                "also": entry.also,
                "summary": entry.summary,
            }
            for name, entry in options.items()
        ],
        "designs": size if size <= _EXACT else None,
        "designs_log10": math.log10(size),
        "parameters": [
            {"name": p.name, "values": list(p.values), "unit": p.unit, "ordered": p.ordered, "summary": p.summary}
            for p in problem.space.parameters
        ],
        "facts": [{"title": title, "rows": list(rows)} for title, rows in family.facts()],
        "objective": {
            "name": objective.name,
            "unit": objective.unit,
            "summary": objective.summary,
            "held_out": problem.held_out_params is not None,
        },
        "reference": yardstick(problem.reference),
        "bound": yardstick(problem.bound),
        "forms": list(problem.forms),
        "observation": {
            "form": form,
            "space": _space_text(env.observation_space),
            "features": [
                {"name": f.name, "shape": list(f.shape), "low": f.low, "high": f.high, "summary": f.meaning}
                for f in env.features
            ],
        },
        "notes": list(notes),
    }


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
