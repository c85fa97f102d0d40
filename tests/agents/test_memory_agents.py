"""The agents on memory mapping: none beats a bound, and search reaches the optima that exact solving proves."""

import contextlib

import numpy as np
import pytest

import dsegym
from dsegym.agents.referee import Referee
from dsegym.agents.registry import make_agent
from dsegym.costmodels.errors import BudgetExhausted
from dsegym.costmodels.memory.bounds.stored import stored_rows

MAPPING = "dsegym/MemoryMapping-v0"
TOLERANCE = 2e-6  # relative, of the exact solver
SMALL = {"mlp_tiny": 1.16, "attention_tiny": 1.81, "residual_tiny": 1.13}  # at 0.5: optimal speed-up over all slow
AGENTS = {
    "random_search": {},
    "genetic_algorithm": {"start": "frugal"},
    "hill_climb": {"start": "frugal"},
    "tpe": {},
    "ppo": {"form": "sequential", "lanes": 8, "steps": 32},
}


def searched(problem, name, samples, seed=0, **hyperparameters):
    referee = Referee(problem, samples)
    with contextlib.suppress(BudgetExhausted):
        make_agent(name, hyperparameters).search(referee, seed)
    return referee.samples


@pytest.mark.slow
@pytest.mark.parametrize("program", SMALL)
def test_search_reaches_the_proven_optimum_of_a_small_program(program):
    problem = dsegym.make_problem(MAPPING, program=program, capacity="0.5")
    assert problem.bound.name == "optimum"
    all_slow = problem.evaluate(np.zeros(len(problem.space), int)).objective[0]
    assert all_slow / problem.bound.value == pytest.approx(SMALL[program], abs=0.01)
    best = searched(problem, "hill_climb", 3000, start="frugal").objective.min()
    assert best == pytest.approx(problem.bound.value, rel=TOLERANCE)


@pytest.mark.parametrize("program", SMALL)
def test_cp_sat_proves_the_optimum_of_a_small_program(program):
    pytest.importorskip("ortools", reason="OR-Tools is not installed")
    from dsegym.costmodels.memory.bounds import best_plan
    from dsegym.envs.memory.mapping import discrete_of

    problem = dsegym.make_problem(MAPPING, program=program, capacity="0.5")
    found = best_plan(discrete_of(problem.instance), time_limit_s=30)
    assert found.optimal
    played = problem.evaluate(np.asarray(found.plan, np.int32)).objective[0]
    assert played == pytest.approx(problem.bound.value, rel=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_no_agent_beats_the_bound(agent):
    problem = dsegym.make_problem(MAPPING, program="attention_tiny", capacity="0.5")
    samples = searched(problem, agent, 200, **AGENTS[agent])
    assert len(samples.objective) == 200
    assert samples.feasible.all()
    assert samples.objective.min() >= problem.bound.value * (1 - TOLERANCE)


@pytest.mark.minutes
@pytest.mark.parametrize("program", sorted({key[0] for key in stored_rows()}))
def test_no_heuristic_no_random_plan_and_no_climb_beats_a_bound_on_any_instance(program):
    for row in stored_rows().values():
        if row["program"] != program:
            continue
        problem = dsegym.make_problem(MAPPING, **{key: row[key] for key in ("program", "platform", "capacity")})
        limit = problem.bound.value * (1 - TOLERANCE)
        plans = [np.array(make()) for make in problem.baselines.values()]
        assert problem.evaluate(np.stack(plans)).objective.min() >= limit
        assert searched(problem, "random_search", 64).objective.min() >= limit
        assert searched(problem, "hill_climb", 256, start="frugal").objective.min() >= limit
