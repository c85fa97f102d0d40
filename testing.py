"""The contracts that every scenario and every agent keeps, for the tests of those who write one.

    >>> from dsegym.testing import check_scenario
    >>> check_scenario("dsegym/AcceleratorSizing-v0", [{"workload": "alexnet"}], forms=["parametric"])

A check that fails raises `BrokenContract`, which says in one sentence the scenario, the instance, the clause and what
breaks it. The clauses are the functions of the tables, in the order in which they are tried; each docstring is the
clause, and CONTRIBUTING.md lists them. Those of scenarios are in `envs/contracts/`, of agents in `agents/contract.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from .agents.base import Agent
from .agents.contract import AGENT_CLAUSES
from .agents.registry import load_agent
from .envs.contracts.clauses import BrokenContract, hold, require
from .envs.contracts.forms import FORM_CLAUSES
from .envs.contracts.instances import INSTANCE_CLAUSES, SCENARIO_CLAUSES
from .envs.contracts.padding import Axes, a_larger_shape_changes_nothing
from .envs.core.problem import Problem
from .envs.core.scenarios import load_scenario, make_problem

__all__ = [
    "AGENT_CLAUSES",
    "FORM_CLAUSES",
    "INSTANCE_CLAUSES",
    "SCENARIO_CLAUSES",
    "BrokenContract",
    "check_agent",
    "check_padding",
    "check_scenario",
]


def check_scenario(
    scenario_id: str,
    instances: Iterable[Mapping[str, object]] = ({},),
    *,
    forms: Sequence[str] | None = None,
) -> None:
    """Holds a registered scenario to its contract.

    Args:
        scenario_id: as `make_problem` takes it.
        instances: the options of those that are tried; the defaults when left out. Small ones are quick.
        forms: those that are tried; all when left out.

    Raises:
        BrokenContract: says the instance, the form and the clause.
        DsegymError: an instance cannot be made.
    """
    family, tried = load_scenario(scenario_id), list(instances)
    require(tried, "no instance is given to be tried")
    require(forms is None or forms, "no form is given to be tried")
    for clause in SCENARIO_CLAUSES:
        hold(clause, scenario_id, family)
    for options in tried:
        problem = make_problem(scenario_id, **options)
        where = f"{problem.scenario} ({problem.name})"
        for clause in INSTANCE_CLAUSES:
            hold(clause, where, problem)
        for form in problem.forms if forms is None else forms:
            for clause in FORM_CLAUSES:
                hold(clause, f"{where}, form {form}", problem, form)


def check_padding(
    problem: Problem,
    form: str | None = None,
    sizes: Mapping[str, int] | None = None,
    *,
    axes: tuple[Axes, Axes] | None = None,
    exact: bool = True,
) -> None:
    """Holds an instance to `FunctionalEnv.padded`: plays an episode as it is and in a larger shape.

    Args:
        problem: the instance.
        form: one of its forms; the first when left out.
        sizes: of the larger shape, as `FunctionalEnv.sizes` names them; one more of each when left out.
        axes: of the table of actions, alone and in the larger shape, as ((tasks, elements), (30, 4)), so that masks
            are compared place by place; when left out, legal actions are compared in their order.
        exact: whether rewards are the same bits, as all else must be; otherwise they may differ by rounding.

    Raises:
        BrokenContract: says the instance, the form and what differs at which step.
    """
    form = next(iter(problem.forms)) if form is None else form
    where = f"{problem.scenario} ({problem.name}), form {form}"
    hold(functools.partial(a_larger_shape_changes_nothing, exact=exact), where, problem, form, sizes, axes)


def check_agent(agent: str | type[Agent], scenario_id: str, **options: object) -> None:
    """Holds an agent to its contract, on one instance.

    Args:
        agent: the class, or a name as suites have it.
        scenario_id, options: of the instance, as `make_problem` takes them.

    Raises:
        BrokenContract: says the clause.
        DsegymError: the agent or the instance cannot be made.
    """
    kind = load_agent(agent) if isinstance(agent, str) else agent
    problem = make_problem(scenario_id, **options)
    for clause in AGENT_CLAUSES:
        hold(clause, getattr(kind, "name", kind.__name__), kind, problem)
