"""The contracts of `dsegym.testing`: every registered scenario and form, every agent, and what a broken one is told."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.agents.base import Agent
from dsegym.agents.registry import BUILT_IN as AGENTS
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.core.problem import given
from dsegym.envs.core.scenarios import BUILT_IN
from dsegym.testing import BrokenContract, check_agent, check_scenario

# Instances that are quick to make and to play; of the scenarios that are not named, the defaults.
INSTANCES = {
    "dsegym/AcceleratorSizing-v0": [{"workload": "alexnet"}, {"workload": "alexnet", "objective": "target"}],
    "dsegym/BatchBestOfN-v0": [
        {"questions": 8, "samples": 2},
        {"questions": 8, "samples": 2, "data": "humaneval", "cost": "tokens", "rounds": 2},
        {"questions": 8, "samples": 2, "verifier": "0.8/0.3", "hint": "none"},
    ],
    "dsegym/MemoryAllocation-v0": [
        {"instance": "perfect_12_s1"},
        {"instance": "perfect_12_s1", "placement": "best_fit"},
    ],
    "dsegym/MemoryMapping-v0": [
        {"program": "residual_tiny", "capacity": 0.5},
        {"program": "residual_tiny", "capacity": 0.5, "space": "msa"},
    ],
    "dsegym/ReasoningServe-v0": [{}, {"levels": 3}],
    "dsegym/SocSchedulingStatic-v0": [{"graph": "top1"}],
    "dsegym/SolveVerify-v0": [{"budget": 4}, {"data": "genrm", "budget": 4, "price": 0.1}],
    "dsegym/SubQuestionBudget-v0": [{}, {"utility": "sum", "budget": 0.25}],
    "dsegym/TreeSearch-v0": [{"width": 4}, {"tree": "game24", "width": 4}, {"tree": "game24_log", "width": 3}],
}
CASES = [(name, options) for name in BUILT_IN for options in INSTANCES.get(name, [{}])]


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value))
def test_a_scenario_keeps_its_contract_in_every_form(name, options):
    check_scenario(name, [options])


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_keeps_its_contract(name):
    check_agent(name, "dsegym/AcceleratorSizing-v0", workload="alexnet", area_budget="small")


# --- What breaks --------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(staircase):
    """Registers the staircase's scenario with its problem changed: `broken(change)` gives the id."""
    name = "toy/Broken-v0"

    def register(change):
        staircase.BROKEN = dataclasses.replace(
            staircase.SCENARIO, build=lambda options: change(staircase.SCENARIO.build(options))
        )
        dsegym.register(name, "staircase:BROKEN")
        return name

    yield register
    dsegym.unregister(name)


def with_values(problem, reference, bound):
    return dataclasses.replace(
        problem,
        reference_rule=given(dataclasses.replace(problem.reference, value=reference)),
        bound_rule=given(dataclasses.replace(problem.bound, value=bound)),
    )


def noisy_cost(problem):
    """Costs whose last digits depend on where a design stands in its batch."""
    cost = jax.custom_batching.custom_vmap(problem.cost)

    @cost.def_vmap
    def _(size, in_batched, designs, params):
        costs = jax.vmap(problem.cost, in_axes=(0, None))(designs, params)
        return costs._replace(objective=costs.objective + jnp.arange(size)), jax.tree.map(lambda leaf: True, costs)

    return dataclasses.replace(problem, cost=cost)


BREAKS = {
    "reference is above the bound": lambda problem: with_values(problem, 10.0, 10.0),
    "no design is below the bound": lambda problem: with_values(problem, 1e6, 1e5),
    "notes are sentences": lambda problem: dataclasses.replace(problem, notes=("synthetic",)),
    "alone and in a batch": noisy_cost,
}


@pytest.mark.parametrize("clause", BREAKS)
def test_a_broken_scenario_is_told_its_instance_and_the_clause(broken, clause):
    with pytest.raises(BrokenContract, match=rf"^toy/Broken-v0 \(start=fixed\)[^:]*: [^:]*{clause}"):
        check_scenario(broken(BREAKS[clause]))


def test_a_form_whose_episodes_no_design_replays_must_say_so(staircase):
    with pytest.raises(BrokenContract, match="form sequential: episodes end and replay: an episode costs"):
        check_scenario("toy/Staircase-v0", [{"start": "random"}])


def test_a_broken_contract_is_an_error_of_ours_and_an_assertion():
    assert issubclass(BrokenContract, DsegymError)
    assert issubclass(BrokenContract, AssertionError)


@dataclasses.dataclass(frozen=True)
class Careless(Agent):
    """Draws from a generator that no seed fixes."""

    name = "careless"
    summary = "random designs, never the same"

    def search(self, referee, seed):
        referee.evaluate(referee.space.sample(np.random.default_rng(), 10))


class Mutable(Careless):
    name = ""


@pytest.mark.parametrize(
    ("agent", "reason"),
    [(Careless, "careless: the same seed gives the same samples: .* other designs"), (Mutable, "it has no name")],
)
def test_a_broken_agent_is_told_the_clause(staircase, agent, reason):
    with pytest.raises(BrokenContract, match=reason):
        check_agent(agent, "toy/Staircase-v0")
