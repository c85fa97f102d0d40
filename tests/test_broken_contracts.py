"""What the contracts of `dsegym.testing` tell a broken scenario and a broken agent, clause by clause."""

import dataclasses
import functools
import inspect
import random
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.agents.base import Agent
from dsegym.costmodels.breakdown import Breakdown
from dsegym.costmodels.errors import BudgetExhausted, DsegymError, TimeLimitReached
from dsegym.envs.contracts.clauses import hold, require
from dsegym.envs.core.features import Box, Feature
from dsegym.envs.core.options import Options, choice, custom
from dsegym.envs.core.problem import given
from dsegym.testing import (
    AGENT_CLAUSES,
    FORM_CLAUSES,
    INSTANCE_CLAUSES,
    SCENARIO_CLAUSES,
    BrokenContract,
    check_agent,
    check_scenario,
)

CONTRIBUTING = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"

pytestmark = pytest.mark.usefixtures("few_programs")


def test_a_clause_with_arguments_of_its_own_is_named_by_its_function():
    def it_keeps_its_word(word, *, given):
        require(word == given, f"it says {word}")

    with pytest.raises(BrokenContract, match=r"^here: it keeps its word: it says no$"):
        hold(functools.partial(it_keeps_its_word, given="yes"), "here", "no")


def named(table):
    return [f"{clause}: {reason}" for clause, reason, _ in table]


# --- What breaks a scenario -------------------------------------------------------------------------------------------
#
# Each change breaks one promise of the staircase's scenario. `BREAKS` says which clause names it and why; a promise
# that the table lacks is one that nobody holds.


def scenario(**fields):
    """The scenario with other fields."""
    return lambda good: dataclasses.replace(good, **fields)


def instance(**fields):
    """Instances with other fields, each given, or made of the problem by a function named `of`."""
    return _rebuilt(lambda problem: dataclasses.replace(problem, **fields))


def _rebuilt(change):
    return lambda good: dataclasses.replace(good, build=lambda options: change(good.build(options)))


def reference(**fields):
    return _rebuilt(lambda p: dataclasses.replace(p, reference_rule=given(dataclasses.replace(p.reference, **fields))))


def bound(**fields):
    return _rebuilt(lambda p: dataclasses.replace(p, bound_rule=given(dataclasses.replace(p.bound, **fields))))


def costs(change):
    """Instances whose designs cost `change(evaluation, design)`."""

    def other(problem):
        good = problem.cost
        return dataclasses.replace(problem, cost=lambda design, params: change(good(design, params), design))

    return _rebuilt(other)


def objective(value):
    return costs(lambda cost, design: cost._replace(objective=value(cost, design)))


def form(**parts):
    """Instances whose form has other parts: values, or methods that take the good form before what they take."""

    def other(problem):
        good = problem.functional_env()
        parts_of = {
            name: (lambda self, *given, part=part: part(good, *given)) if inspect.isfunction(part) else part
            for name, part in parts.items()
        }
        kind = dataclasses.dataclass(frozen=True)(type("Broken", (type(good),), parts_of))
        return dataclasses.replace(problem, forms={"sequential": lambda problem: kind()})

    return _rebuilt(other)


def noisy_cost(problem):
    """Costs whose last digits depend on where a design stands in its batch."""
    cost = jax.custom_batching.custom_vmap(problem.cost)

    @cost.def_vmap
    def _(size, in_batched, designs, params):
        costs = jax.vmap(problem.cost, in_axes=(0, None))(designs, params)
        return costs._replace(objective=costs.objective + jnp.arange(size)), jax.tree.map(lambda leaf: True, costs)

    return dataclasses.replace(problem, cost=cost)


def unpriced_cases(problem):
    """Held-out cases without prices."""
    return dataclasses.replace(problem, held_out_params=problem.params._replace(prices=problem.params.prices * np.nan))


@dataclasses.dataclass(frozen=True)
class Silent(Options):
    start: str = choice("fixed", ("fixed", "random"), "")


@dataclasses.dataclass(frozen=True)
class Growing(Options):
    start: str = custom("fixed", ("fixed",), parse=lambda given: f"{given}!", also="any", summary="text that grows")


def altered(position, **changes):
    """What a method of the form returns, the element at `position` with some fields changed by functions of it."""

    def of(result):
        fields = {name: change(getattr(result[position], name)) for name, change in changes.items()}
        return (*result[:position], result[position]._replace(**fields), *result[position + 1 :])

    return of


def stepped(position, change):
    """A door's `step` of which one returned value is another."""

    def step(good, *given):
        found = list(good.step(*given))
        found[position] = change(found[position])
        return tuple(found)

    return form(step=step)


def laned(**changes):
    """Lanes, as vector environments take them, whose `Step` has other fields."""
    return form(lane_step=lambda good, *given: altered(1, **changes)(good.lane_step(*given)))


def late(state, value, otherwise):
    """The value near an episode's end."""
    return jnp.where(state.time >= 3, value, otherwise)


def not_autoreset(good, key, state, action, params):
    moved = good.advance(state, action, params)
    return good.observation(moved, params), moved, *good.step(key, state, action, params)[2:]


def lost(name):
    return form(final_info=lambda good, *given: {k: v for k, v in good.final_info(*given).items() if k != name})


def counted(change):
    return form(
        final_info=lambda good, state, params: {
            **good.final_info(state, params),
            "illegal_actions": change(state.illegal),
        }
    )


def enlarged(change=lambda params: params, **parts):
    """A form with sizes, which in a larger shape has other params or other parts."""

    def padded(good, params, sizes):
        other = dataclasses.dataclass(frozen=True)(type("Larger", (type(good),), parts))
        return other(), change(params)

    return form(sizes=lambda good, params: {"moves": good.horizon}, padded=padded)


def stair(**fields):
    """A feature of the staircase with other fields."""
    first = {"name": "position", "meaning": "steps climbed", **fields}
    return form(features=(Feature(**first), Feature("time", meaning="moves made")))


DESCRIBES, SURVIVES = "it describes itself and its instances", "options survive json"
COSTS, BATCH = "designs cost finite positive objectives", "a design costs the same alone and in a batch"
ABOVE, BELOW = "the reference is above the bound", "no design is below the bound"
NOTES, BREAKDOWN = "notes are sentences", "a breakdown has finite totals"
FEATURES, CHECKERS = "features are the observation", "checkers find no fault"
SEED, EPISODES = "a seed fixes the episodes", "episodes end and replay"
MASK, RENDERS = "a mask names the legal actions", "it renders"
DOOR = "the functional door takes the same steps"
LARGER = "a larger shape changes nothing"

BREAKS = [
    (DESCRIBES, "has no summary", scenario(summary="")),
    (DESCRIBES, "option start has no summary", scenario(options_type=Silent)),
    (DESCRIBES, "'fixed!' becomes 'fixed!!'", scenario(options_type=Growing)),
    (DESCRIBES, "no core instances", scenario(core=list)),
    (DESCRIBES, "raises KeyError", scenario(facts=lambda: {}["table"])),
    (
        SURVIVES,
        "make another instance",
        lambda good: dataclasses.replace(
            good, build=lambda options: good.build(dataclasses.replace(options, start="random"))
        ),
    ),
    (COSTS, "not all finite", objective(lambda cost, design: jnp.where(design.min() == 2, jnp.nan, cost.objective))),
    (COSTS, "not all finite", objective(lambda cost, design: jnp.where(cost.feasible, cost.objective, jnp.inf))),
    (COSTS, "not all finite", _rebuilt(unpriced_cases)),
    (COSTS, "not all positive", objective(lambda cost, design: cost.objective * 0)),
    (COSTS, "not all positive", objective(lambda cost, design: -cost.objective)),
    (COSTS, "an infeasible design", objective(lambda cost, design: jnp.where(cost.feasible, cost.objective, 0.5))),
    (COSTS, "do not tell", costs(lambda cost, design: cost._replace(violation=jnp.float32(0)))),
    (COSTS, "do not tell", costs(lambda cost, design: cost._replace(violation=jnp.float32(jnp.nan)))),
    (COSTS, "are not those", costs(lambda cost, design: cost._replace(unpenalised=cost.objective + 1))),
    (BATCH, "in a batch", _rebuilt(noisy_cost)),
    (ABOVE, "reference 1 is not above bound 1", reference(value=1.0)),
    (ABOVE, "reference 0.5 is not above bound 1", reference(value=0.5)),
    (ABOVE, "ten is nan", reference(value=np.nan)),
    (ABOVE, "bound is -inf", bound(value=-np.inf)),
    (ABOVE, "lacks its name or its source", reference(source="")),
    (ABOVE, "lacks its name or its source", bound(source="")),
    (ABOVE, "called 'guess'", bound(name="guess")),
    (ABOVE, "ten's design costs", reference(design=(2, 2, 2, 0, 0))),
    (ABOVE, "ten's design is infeasible", reference(value=1000.0, design=(0, 0, 0, 0, 0))),
    (
        BELOW,
        "the bound is 100000.0",
        lambda good: reference(value=1e6)(bound(value=1e5)(good)),
    ),
    (NOTES, "no sentence", instance(notes=("synthetic",))),
    (NOTES, "no sentence", instance(notes=("",))),
    (NOTES, "no sequence", instance(notes="Synthetic.")),
    (BREAKDOWN, "has no totals", instance(breakdown=lambda values: Breakdown({}, []))),
    (BREAKDOWN, "time_s is nan", instance(breakdown=lambda values: Breakdown({"time_s": np.nan}, []))),
    (BREAKDOWN, "raises KeyError", instance(breakdown=lambda values: Breakdown({"time_s": values["time"]}, []))),
    (FEATURES, "share names", stair(name="time")),
    (FEATURES, "has no meaning", stair(meaning="")),
    (FEATURES, "the observation has", form(observation_space=Box(0, 1, (3,)))),
    (CHECKERS, "check_env", form(observe=lambda good, *given: {k: v + 2 for k, v in good.observe(*given).items()})),
    (CHECKERS, "check_env", form(reward=lambda good, *given: jnp.float32(jnp.nan))),
    (SEED, "sees other than alone", form(observe=lambda good, *given: {"position": random.random(), "time": 0.0})),
    (SEED, "is rewarded otherwise than alone", form(reward=lambda good, *given: jnp.float32(random.random()))),
    (
        SEED,
        "has another mask than alone",
        laned(action_mask=jnp.logical_not),
    ),
    (SEED, "ends at another time than alone", laned(terminal=jnp.logical_not)),
    (SEED, "ends elsewhere", laned(final_observation=lambda seen: seen / 2)),
    (
        EPISODES,
        "is outside its space",
        form(observe=lambda good, state, params: {**good.observe(state, params), "position": late(state, 2.0, 0.0)}),
    ),
    (
        EPISODES,
        "without a legal action",
        form(action_mask=lambda good, state, params: late(state, False, good.action_mask(state, params))),
    ),
    (EPISODES, "beyond its horizon of 5 steps", form(over=lambda good, *given: jnp.bool_(False))),
    (EPISODES, "beyond its horizon of 2 steps", form(horizon=2)),
    (
        EPISODES,
        "an episode costs",
        form(final_info=lambda good, *given: (info := good.final_info(*given)) | {"objective": info["objective"] + 1}),
    ),
    (
        EPISODES,
        "differ in feasibility",
        form(final_info=lambda good, *given: (info := good.final_info(*given)) | {"feasible": ~info["feasible"]}),
    ),
    (EPISODES, "raises InvalidDesignError", form(design=lambda good, state, params: state.moves + 7)),
    (MASK, "lacks 'illegal_actions'", lost("illegal_actions")),
    (MASK, "illegal_actions is 1", counted(lambda illegal: illegal + 1)),
    (MASK, "illegal_actions is 0", counted(lambda illegal: illegal * 0)),
    (RENDERS, "raises ZeroDivisionError", instance(diagram=lambda design: 1 / 0)),
    (RENDERS, "raises AttributeError", instance(diagram=lambda design: None)),
    (DOOR, "the door's reward is", stepped(2, lambda reward: reward * 2)),
    (DOOR, "ends at another time", stepped(3, jnp.logical_not)),
    (DOOR, "observation differs", stepped(0, lambda seen: seen / 2)),
    (
        DOOR,
        "raises KeyError: 'objective'",
        stepped(4, lambda info: {k: v for k, v in info.items() if k != "objective"}),
    ),
    (
        DOOR,
        "`reset` sees its state otherwise",
        form(reset=lambda good, *given: (good.reset(*given)[0] + 1, good.reset(*given)[1])),
    ),
    (DOOR, "not that of `reset`", form(step=not_autoreset)),
    (LARGER, "raises NotImplementedError: Broken has sizes", form(sizes=lambda good, params: {"moves": good.horizon})),
    (LARGER, "the reward is", enlarged(lambda params: params._replace(prices=params.prices + 1))),
    (LARGER, "other actions are legal", enlarged(action_mask=lambda self, *given: jnp.arange(3) < 2)),
    (LARGER, "ends at another time", enlarged(over=lambda self, state, params: state.time >= 1)),
    (LARGER, "the feature time differs", enlarged(observe=lambda self, state, params: {"position": 0, "time": 1})),
    (LARGER, "the episode's design is", enlarged(design=lambda self, state, params: state.moves + 1)),
]


@pytest.fixture
def broken(staircase):
    """Registers the staircase's scenario changed: `broken(change)` gives the id."""
    name = "toy/Broken-v0"

    def register(change):
        staircase.BROKEN = change(staircase.SCENARIO)
        dsegym.register(name, "staircase:BROKEN")
        return name

    yield register
    dsegym.unregister(name)


@pytest.mark.slow
@pytest.mark.parametrize(("clause", "reason", "change"), BREAKS, ids=named(BREAKS))
def test_a_broken_scenario_is_told_its_instance_and_the_clause_in_one_sentence(broken, clause, reason, change):
    with pytest.raises(BrokenContract) as told:
        check_scenario(broken(change))
    where, named, said = str(told.value).split(": ", 2)
    assert where.startswith("toy/Broken-v0")
    assert ("start=" in where, "form sequential" in where) == (
        clause != DESCRIBES,
        spoken(FORM_CLAUSES).get(named) is not None,
    )
    assert named == clause
    assert reason in said
    assert "\n" not in said


@pytest.mark.parametrize("change", [lambda good: good, enlarged()], ids=["as it is", "with sizes"])
def test_what_the_table_changes_keeps_the_contract_unchanged(broken, change):
    check_scenario(broken(change))


def test_a_form_whose_episodes_no_design_replays_must_say_so(staircase):
    with pytest.raises(BrokenContract, match="form sequential: episodes end and replay: an episode costs"):
        check_scenario("toy/Staircase-v0", [{"start": "random"}])


def test_a_broken_contract_is_an_error_of_ours_and_an_assertion():
    assert issubclass(BrokenContract, DsegymError)
    assert issubclass(BrokenContract, AssertionError)


# --- What breaks an agent ---------------------------------------------------------------------------------------------


def drawn(referee, generator):
    referee.evaluate(referee.space.sample(generator, 10))


@dataclasses.dataclass(frozen=True)
class Good(Agent):
    """Draws designs, ten at a time."""

    size: int = 1

    name = "good"
    summary = "random designs"
    hyperparameters: ClassVar = {"size": (1, 2, 3)}

    def search(self, referee, seed):
        generator = np.random.default_rng(seed)
        while True:
            drawn(referee, generator)


def agent(search=Good.search, **parts):
    return dataclasses.dataclass(frozen=True)(type("Broken", (Good,), {"search": search, **parts}))


def going_on(*caught):
    """A search that lets nothing stop it."""

    def search(self, referee, seed):
        generator = np.random.default_rng(seed)
        while True:
            try:
                drawn(referee, generator)
            except caught:
                continue

    return search


def playing_on(self, referee, seed):
    env, generator = referee.vector_env(2), np.random.default_rng(seed)
    env.reset(seed=seed)
    while True:
        try:
            env.step(generator.integers(0, env.single_action_space.n, 2))
        except BudgetExhausted:
            env.reset()


def drawing(luck):
    """An agent that costs one batch, which `luck(seed, shape)` draws."""

    def search(self, referee, seed):
        count = referee.space.cardinalities
        referee.evaluate((luck(seed, (10, len(count))) * count).astype(int))

    return agent(search)


def everybodys_luck(seed, shape):
    """Of the generator that all of a process share; a number of each entry's own, as few designs would often agree."""
    return np.array([random.random() for _ in range(np.prod(shape))]).reshape(shape)


def choosy(self, referee, seed):
    """Fails where the size is not its default."""
    if self.size == 3:
        raise ZeroDivisionError("three")
    Good.search(self, referee, seed)


def idle(self, referee, seed):
    if self.size == 1:
        Good.search(self, referee, seed)


def stubborn(self, referee, seed):
    (Good.search if self.size == 1 else going_on(BudgetExhausted))(self, referee, seed)


@dataclasses.dataclass
class Mutable(Agent):
    name, summary = "mutable", "no frozen dataclass"

    def search(self, referee, seed):
        Good.search(self, referee, seed)


KEPT = np.random.default_rng(0)  # a generator that outlives a search
ITSELF, STOPS = "it describes itself", "it searches until it is stopped and no longer"
LUCK, VALUES = "its seed and nothing else is its luck", "every value that it offers searches"

BROKEN_AGENTS = [
    (ITSELF, "no frozen dataclass", Mutable),
    (ITSELF, "has no name", agent(name="")),
    (ITSELF, "has no summary", agent(summary="")),
    (ITSELF, "it needs 'luck'", agent(needs=("luck",))),
    (ITSELF, "colour is no field", agent(hyperparameters={"colour": (1,)})),
    (ITSELF, "default of size, 1, is none", agent(hyperparameters={"size": (2, 3)})),
    (ITSELF, "size offers '2'", agent(hyperparameters={"size": (1, "2")})),
    (STOPS, "it spent 0 samples", agent(lambda self, referee, seed: None)),
    (STOPS, "goes on after BudgetExhausted", agent(going_on(BudgetExhausted))),
    (STOPS, "goes on after BudgetExhausted", agent(going_on(Exception))),
    (STOPS, "goes on after BudgetExhausted", agent(playing_on)),
    (STOPS, "goes on after TimeLimitReached", agent(going_on(TimeLimitReached))),
    (STOPS, "raises ZeroDivisionError", agent(lambda self, referee, seed: 1 / 0)),
    (LUCK, "the same seed gave other designs", drawing(lambda seed, shape: np.random.default_rng().random(shape))),
    (LUCK, "the same seed gave other designs", drawing(lambda seed, shape: np.random.random(shape))),  # noqa: NPY002
    (LUCK, "the same seed gave other designs", drawing(everybodys_luck)),
    (LUCK, "the same seed gave other designs", drawing(lambda seed, shape: KEPT.random(shape))),
    (LUCK, "another seed gave the same", drawing(lambda seed, shape: np.random.default_rng(0).random(shape))),
    (LUCK, "not stochastic", agent(stochastic=False)),
    (VALUES, "'size': 3}: raises ZeroDivisionError: three", agent(choosy)),
    (VALUES, "'size': 2}: it costs no design", agent(idle)),
    (VALUES, "'size': 2}: it goes on", agent(stubborn)),
]


@pytest.mark.parametrize(("clause", "reason", "kind"), BROKEN_AGENTS, ids=named(BROKEN_AGENTS))
def test_a_broken_agent_is_told_the_clause_in_one_sentence(staircase, clause, reason, kind):
    with pytest.raises(BrokenContract) as told:
        check_agent(kind, "toy/Staircase-v0")
    _, named, said = str(told.value).split(": ", 2)
    assert named == clause
    assert reason in said
    assert "\n" not in said


def returning(self, referee, seed):
    try:
        Good.search(self, referee, seed)
    except BudgetExhausted:
        return


@pytest.mark.parametrize(
    "kind",
    [
        Good,
        agent(returning),
        agent(lambda self, referee, seed: referee.evaluate(referee.baseline("leaps")), stochastic=False),
    ],
    ids=["lets it pass", "returns on it", "draws nothing and says so"],
)
def test_an_agent_may_return_when_it_is_stopped_and_may_draw_nothing_if_it_says_so(staircase, kind):
    check_agent(kind, "toy/Staircase-v0")


# --- That no clause is forgotten --------------------------------------------------------------------------------------


def spoken(clauses):
    """{a clause as errors name it: its docstring in one line}."""
    return {clause.__name__.replace("_", " "): " ".join(inspect.getdoc(clause).split()) for clause in clauses}


def test_every_clause_is_broken_by_something():
    assert {clause for clause, _, _ in BREAKS} == {*spoken((*SCENARIO_CLAUSES, *INSTANCE_CLAUSES, *FORM_CLAUSES))}
    assert {clause for clause, _, _ in BROKEN_AGENTS} == {*spoken(AGENT_CLAUSES)}


@pytest.mark.parametrize(
    ("holds_for", "clauses"),
    [
        ("a scenario", SCENARIO_CLAUSES),
        ("every instance", INSTANCE_CLAUSES),
        ("every form", FORM_CLAUSES),
        ("an agent", AGENT_CLAUSES),
    ],
)
def test_the_text_for_contributors_lists_the_clauses_as_they_are(holds_for, clauses):
    rows = "".join(f"| {name} | {meaning} |\n" for name, meaning in spoken(clauses).items())
    table = f"| of {holds_for} | what is checked |\n|---|---|\n{rows}"
    assert table in CONTRIBUTING.read_text(encoding="utf-8"), f"CONTRIBUTING.md lacks this table:\n{table}"
