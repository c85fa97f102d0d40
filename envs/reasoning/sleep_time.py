"""dsegym/SleepTime-v0: how many tokens to spend on a context before its queries are known, and how many on each query.

The rules: docs/sleep_time.md. Cost model: `costmodels/reasoning/sleep.py`. An episode is one context: it arrives with a
hint of how predictable its queries are; offline ("sleep") tokens are spent on it once; then its queries come one by
one, nobody knows how many, and each gets test-time tokens, which cost `price` offline tokens each. The budget of a
context, `budget` times the mean number of queries, is hard.

A design is the parameter vector of a policy, `SPACE`:

    sleep share of the budget      = sleep_share + sleep_slope (2 hint - 1)
    tokens of a query / even share = test_share (1 - reserve + reserve left / left after sleep)
                                     2^(difficulty_slope difficulty hint)

The even share is what is left after sleep over the mean number of queries. A search costs designs on 256 contexts;
scores are taken on 256 others; environments draw their own.

| form | action |
|---|---|
| `decisions` | Discrete(21): first sleep, action / 20 of the budget; then each query's tokens, action / 5 even shares |
| `parametric`, `sequential` | the policy's parameters, as of a one-shot family: what the leaderboard ranks |

Every action is legal; more than what is left counts as all that is left.
Objective: failure, 1 - the accuracy expected, averaged over a context's queries and then over contexts.
Reward: the growth of the mean accuracy of the queries answered so far, 0 for sleep; the return is 1 - objective.
Observation: float32[8]: hint of the predictability in [0, 1]; whether sleep is over; queries answered over 32; budget
left and slept, each over the budget; difficulty hint of the query that waits, in doublings, [-2, 2]; the even share in
test-time tokens over 1,000, at most 10; the hint times what sleep is worth in tokens over 1,000.
Termination: after a context's last query.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SleepTime-v0", budget="8000")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(8)  # sleep for two fifths of the budget
    >>> reward, terminated
    (0.0, False)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.reasoning import sleep
from ...costmodels.reasoning.scores import cost_of_pass, e3
from ..core.functional import ONE_SHOT_FORMS
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_cost, policy_diagram, seeds_of
from ..core.problem import Evaluation, Objective, Problem, Sweep, Yardstick
from ..core.scenarios import Option, Scenario, number_between
from .policy_diagrams import draw_context
from .sleep_time_policy import BASELINES, NEUTRAL, SPACE, design_of

__all__ = [
    "EPISODES",
    "MOST_QUERIES",
    "SCENARIO",
    "SPACE",
    "Metrics",
    "Params",
    "SleepTime",
    "everything_known",
    "hidden_values",
]

EPISODES = 256  # contexts that a design is costed on
MOST_QUERIES = 32  # of a context: later ones do not come
ACTIONS = 21
SLEEP_STEP, TEST_STEP = 1 / 20, 1 / 5  # of the budget, and of an even share
BATCH_SIZES = (1, 16, 128)
_HIGHEST_SHARE = 10.0  # the observation is clipped here

NOTES = (
    "Everything is synthetic: the accuracy curve, its constants, predictabilities, difficulties and hints are ours.",
    "The price ratio 10 is recalled from the sleep-time paper, not read again.",
)
# How rho is spread over contexts: rho = u ** power, u uniform.
PREDICTABILITIES = {"low": 4.0, "mixed": 1.0, "high": 0.25}

REFERENCE = "uniform"


class Metrics(NamedTuple):
    """Costs of a context, averaged over contexts. Scalars, float32."""

    accuracy: Any  # mean over a context's queries
    sleep_tokens: Any  # offline tokens of a context
    query_tokens: Any  # test-time tokens of a context, over all of its queries
    cost_tokens: Any  # of a context, in offline tokens: sleep + price * test-time
    queries: Any  # of a context


class Params(NamedTuple):
    """An instance. Scalars float32 but for the seeds."""

    seeds: Any  # uint32[EPISODES]
    budget_tokens: Any  # of a context, in offline tokens
    mean_queries: Any  # of a context
    stay: Any  # probability that another query comes; used if `known` is 0
    known: Any  # queries of every context, or 0
    power: Any  # rho = least + (1 - fixed) u ** power
    fixed: Any  # 1 where every context has the predictability `least`
    least: Any
    noise: Any  # standard deviation of hints over the range of what they hint at
    price: Any  # offline tokens that a test-time token costs


class EnvState(NamedTuple):
    """Where an episode stands. Scalars, float32 if not said otherwise."""

    seed: Any  # uint32, of the queries' difficulties and hints
    queries: Any  # int32, that will come; hidden
    predictability: Any  # rho; hidden
    hint: Any  # of rho
    answered: Any  # int32, queries; -1 before sleep
    sleep_tokens: Any
    test_tokens: Any  # so far
    left_tokens: Any  # of the budget, in offline tokens
    accuracy: Any  # mean over the queries answered


class SleepTime(PolicyEnv):
    """Context by context; see the module's docstring."""

    horizon = 1 + MOST_QUERIES
    action_space = gymnasium.spaces.Discrete(ACTIONS)
    observation_space = gymnasium.spaces.Box(
        np.array([0, 0, 0, 0, 0, -sleep.HIGHEST_HINT, 0, 0], np.float32),
        np.array(
            [1, 1, 1, 1, 1, sleep.HIGHEST_HINT, _HIGHEST_SHARE, sleep.WORTH_TOKENS / sleep.SCALE_TOKENS], np.float32
        ),
        dtype=np.float32,
    )

    def __init__(self, reference: float = float("nan")):
        super().__init__()
        self.reference = reference

    def initial(self, rng: Any, params: Any = None) -> EnvState:
        """A context, before anything is spent on it."""
        words = jax.random.bits(rng, (4,), jnp.uint32)
        how_many, how_predictable, error = (sleep.uniform(words[place]) for place in (1, 2, 3))
        # The least n with 1 - stay^n > u; `stay` is 0 where one query comes.
        drawn = jnp.where(params.stay > 0, jnp.log1p(-how_many) / jnp.log(jnp.maximum(params.stay, 1e-30)), 0.0)
        drawn = jnp.where(params.known > 0, params.known, jnp.clip(jnp.floor(drawn) + 1, 1, MOST_QUERIES))
        rho = params.least + (1.0 - params.fixed) * how_predictable**params.power
        hint = jnp.clip(rho + params.noise * sleep.WIDTH * (error - 0.5), 0.0, 1.0)
        zero = jnp.float32(0)
        return EnvState(
            words[0],
            drawn.astype(jnp.int32),
            rho,
            hint,
            jnp.int32(-1),
            zero,
            zero,
            jnp.asarray(params.budget_tokens, jnp.float32),
            zero,
        )

    def _even_tokens(self, state: EnvState, params: Params) -> jax.Array:
        """Offline tokens: what sleep left over the mean number of queries."""
        return (params.budget_tokens - state.sleep_tokens) / params.mean_queries

    def transition(self, state: EnvState, action: Any, rng: Any, params: Any = None) -> EnvState:
        """Sleeps, or answers a query; a number that is no action counts as the nearest one."""
        del rng
        level = jnp.clip(jnp.asarray(action, jnp.int32), 0, ACTIONS - 1).astype(jnp.float32)
        sleeping = state.answered < 0
        wanted = jnp.where(
            sleeping, level * SLEEP_STEP * params.budget_tokens, level * TEST_STEP * self._even_tokens(state, params)
        )
        spent = jnp.minimum(wanted, state.left_tokens)
        test = jnp.where(sleeping, 0.0, spent / params.price)
        difficulty = jnp.exp2(sleep.doublings(state.seed, state.answered))
        right = sleep.accuracy(test, state.predictability * sleep.worth(state.sleep_tokens), difficulty)
        mean = state.accuracy + (right - state.accuracy) / (state.answered + 1).astype(jnp.float32)
        return state._replace(
            answered=state.answered + 1,
            sleep_tokens=jnp.where(sleeping, spent, state.sleep_tokens),
            test_tokens=state.test_tokens + test,
            left_tokens=state.left_tokens - spent,
            accuracy=jnp.where(sleeping, 0.0, mean),
        )

    def terminal(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """Whether the context's last query is answered."""
        del rng, params
        return state.answered >= state.queries

    def reward(self, state: EnvState, action: Any, next_state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """float32: the growth of the mean accuracy."""
        del action, rng, params
        return next_state.accuracy - state.accuracy

    def observation(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """float32[8]; see the module's docstring."""
        del rng
        slept = state.answered >= 0
        shown = slept & (state.answered < state.queries)  # after the last query none waits
        share = self._even_tokens(state, params) / (params.price * sleep.SCALE_TOKENS)
        return jnp.stack(
            [
                state.hint,
                slept.astype(jnp.float32),
                jnp.maximum(state.answered, 0).astype(jnp.float32) / MOST_QUERIES,
                state.left_tokens / params.budget_tokens,
                state.sleep_tokens / params.budget_tokens,
                jnp.where(shown, sleep.difficulty_hint(state.seed, state.answered, params.noise), 0.0),
                jnp.minimum(share, _HIGHEST_SHARE),
                state.hint * sleep.worth(state.sleep_tokens) / sleep.SCALE_TOKENS,
            ]
        )

    def decide(self, design: Any, state: EnvState, params: Any = None) -> jax.Array:
        """The action of the policy in the module's docstring, halves rounded up."""
        chosen = {p.name: jnp.asarray(p.values, jnp.float32)[design[i]] for i, p in enumerate(SPACE.parameters)}
        share = chosen["sleep_share"] + chosen["sleep_slope"] * (2.0 * state.hint - 1.0)
        after = jnp.maximum(params.budget_tokens - state.sleep_tokens, 1e-6)
        kept = 1.0 - chosen["reserve"] + chosen["reserve"] * state.left_tokens / after
        hint = sleep.difficulty_hint(state.seed, state.answered, params.noise)
        multiple = chosen["test_share"] * kept * jnp.exp2(chosen["difficulty_slope"] * hint)
        steps = jnp.where(state.answered < 0, share / SLEEP_STEP, multiple / TEST_STEP)
        # A little more than a half, so that rounding errors cannot tell apart what is one half in decimals.
        return jnp.clip(jnp.floor(steps + 0.501), 0, ACTIONS - 1).astype(jnp.int32)

    def metrics(self, state: EnvState, params: Any = None) -> Metrics:
        """Costs of a finished context."""
        cost = state.sleep_tokens + params.price * state.test_tokens
        return Metrics(state.accuracy, state.sleep_tokens, state.test_tokens, cost, state.queries.astype(jnp.float32))

    def drawing(self, states: Sequence[Any], actions: Sequence[Any], params: Any) -> Diagram:
        """Where the budget went; see `policy_diagrams.py`."""
        del actions
        return draw_context(states, budget=float(params.budget_tokens))

    def objective(self, metrics: Metrics) -> jax.Array:
        """float32: the failure."""
        return 1.0 - metrics.accuracy


@functools.cache
def _cost_function() -> Callable[[Any, Params], Evaluation]:
    """One object for all instances."""
    return policy_cost(SleepTime())


class Hidden(NamedTuple):
    """What contexts hide, NumPy."""

    queries: Any  # int32[E]
    predictability: Any  # float32[E]
    hint: Any  # float32[E]
    difficulty: Any  # float32[E, MOST_QUERIES]
    difficulty_hint: Any  # float32[E, MOST_QUERIES], in doublings


@functools.cache
def _jitted_hidden() -> Any:
    @jax.jit
    def hidden(params: Params) -> Hidden:
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 0))(params.seeds)
        states = jax.vmap(SleepTime().initial, in_axes=(0, None))(keys, params)
        seeds, places = states.seed[:, None], jnp.arange(MOST_QUERIES)
        return Hidden(
            states.queries,
            states.predictability,
            states.hint,
            jnp.exp2(sleep.doublings(seeds, places)),
            sleep.difficulty_hint(seeds, places, params.noise),
        )

    return hidden


def hidden_values(params: Params) -> Hidden:
    """What the contexts of an instance's seeds hide, for bounds and tests; no policy sees it."""
    return jax.tree.map(np.asarray, _jitted_hidden()(params))


def everything_known(params: Params) -> sleep.Allocation:
    """The best allocations of the contexts of an instance's seeds, for who knows what they hide."""
    hidden = hidden_values(params)
    return sleep.best_allocation(
        queries=hidden.queries,
        predictability=hidden.predictability,
        difficulty=hidden.difficulty,
        budget_tokens=float(params.budget_tokens),
        price=float(params.price),
    )


def _break_down(problem: Problem, values: Mapping[str, Any]) -> Breakdown:
    """A design's costs beside the reference's and the best allocation's, on both sets of contexts."""
    designs = np.stack([SPACE.encode(values), np.array(problem.reference.design, np.int32)])
    price, rows, totals = float(problem.params.price), [], {}
    sets = (
        ("search", problem.params, problem.evaluate),
        ("held-out", problem.held_out_params, problem.evaluate_held_out),
    )
    for name, params, evaluate in sets:
        found, best = evaluate(designs).metrics, everything_known(params)
        of_best = Metrics(
            float(best.accuracy.mean()),
            float(best.sleep_tokens.mean()),
            float(best.test_tokens.sum(1).mean()),
            float((best.sleep_tokens + price * best.test_tokens.sum(1)).mean()),
            float(found.queries[0]),
        )
        each = (Metrics(*(float(leaf[place]) for leaf in found)) for place in range(2))
        for who, metrics in zip(("design", problem.reference.name, "everything known"), (*each, of_best), strict=True):
            per_query = metrics.cost_tokens / metrics.queries
            row = {
                "contexts": name,
                "policy": who,
                **metrics._asdict(),
                "cost_tokens_per_query": per_query,
                "cost_of_pass_tokens": float(cost_of_pass(per_query, metrics.accuracy)),
                "e3_per_kilotoken": float(e3(metrics.accuracy, max(metrics.query_tokens / metrics.queries, 1e-9))),
            }
            rows.append(row)
            if who == "design":
                totals |= {f"{name}_{key}": row[key] for key in ("accuracy", "cost_tokens_per_query")}
    return Breakdown(totals, rows, NOTES)


def _build(
    scenario_id: str, budget: str, queries: str, arrivals: str, predictability: str, hint_noise: str, price: str
) -> Problem:
    mean, stay = int(queries), 1 - 1 / int(queries)
    expected = float(mean) if arrivals == "fixed" or stay == 0 else (1 - stay**MOST_QUERIES) / (1 - stay)
    named = predictability in PREDICTABILITIES
    numbers = {
        "budget_tokens": float(budget) * expected,
        "mean_queries": expected,
        "stay": stay,
        "known": mean if arrivals == "fixed" else 0,
        "power": PREDICTABILITIES[predictability] if named else 1.0,
        "fixed": 0.0 if named else 1.0,
        "least": 0.0 if named else float(predictability),
        "noise": float(hint_noise),
        "price": float(price),
    }
    params = Params(seeds_of(SEARCH, EPISODES), **{name: np.float32(value) for name, value in numbers.items()})
    held_out = params._replace(seeds=seeds_of(HELD_OUT, EPISODES))
    design = design_of(BASELINES[REFERENCE])
    bare = Problem(
        scenario=scenario_id,
        options={
            "budget": budget,
            "queries": queries,
            "arrivals": arrivals,
            "predictability": predictability,
            "hint_noise": hint_noise,
            "price": price,
        },
        space=SPACE,
        objective=Objective("failure", "", "1 - accuracy of a context's queries, under its hard budget"),
        cost=_cost_function(),
        params=params,
        held_out_params=held_out,
        reference=Yardstick(REFERENCE, float("nan"), "no sleep; every query the same tokens", design),
        bound=Yardstick(
            "bound",
            1.0 - float(everything_known(held_out).bound.mean()),
            "everything known: concave optimisation of each context, with its duality gap",
        ),
        forms={"decisions": lambda problem: SleepTime(problem.reference.value), **ONE_SHOT_FORMS},
        baselines={name: functools.partial(design_of, values) for name, values in BASELINES.items()},
        diagram=policy_diagram(SleepTime(), params),
        batch_sizes=BATCH_SIZES,
        notes=NOTES,
        sweep=Sweep(
            option="budget",
            values=("1000", "2000", "4000", "8000", "16000", "32000"),
            x_label="budget (offline tokens a query)",
            y_label="accuracy (share of queries)",
            to_y=lambda failure: 1 - failure,
            baselines=("always_sleep", "predictable_only"),
        ),
    )
    value = float(bare.evaluate_held_out(design).objective[0])
    found = replace(bare, reference=replace(bare.reference, value=value))
    return replace(found, breakdown=functools.partial(_break_down, found))


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    constants = [
        {"constant": "accuracy with unlimited tokens, A", "value": sleep.CEILING, "status": "synthetic"},
        {"constant": "accuracy lost without tokens, B", "value": sleep.GAP, "status": "synthetic"},
        {"constant": "scale of test-time tokens, tau", "value": sleep.SCALE_TOKENS, "status": "synthetic"},
        {"constant": "test-time tokens that sleep replaces, G", "value": sleep.WORTH_TOKENS, "status": "synthetic"},
        {"constant": "scale of offline tokens, sigma", "value": sleep.SLEEP_TOKENS, "status": "synthetic"},
        {"constant": "price of a test-time token, t", "value": 10, "status": "recalled"},
    ]
    baselines = [{"baseline": name, **NEUTRAL, **values} for name, values in BASELINES.items()]
    spread = [{"predictability": name, "mean rho": 1 / (1 + power)} for name, power in PREDICTABILITIES.items()]
    return (("Constants", constants), ("Contexts", spread), ("Baselines", baselines))


def core_instances() -> Sequence[Mapping[str, str]]:
    """Every predictability, few and many queries, dear and cheap test-time tokens."""
    default = {name: option.default for name, option in OPTIONS.items()}
    changes: Sequence[Mapping[str, str]] = (
        {},
        {"predictability": "low"},
        {"predictability": "high"},
        {"budget": "2000"},
        {"queries": "1"},
        {"arrivals": "fixed"},
        {"price": "1", "budget": "1000"},
        {"hint_noise": "0.3"},
    )
    return [{**default, **change} for change in changes]


OPTIONS = {
    "budget": Option(
        "8000",
        ("1000", "2000", "4000", "8000", "16000", "32000"),
        "offline tokens that a query may cost, on average",
        number_between(1.0, 1e6),
        "any from 1 to 1e6 tokens",
    ),
    "queries": Option(
        "10",
        ("1", "2", "5", "10"),
        "mean number of queries of a context",
        lambda value: value.isascii() and value.isdigit() and 1 <= int(value) <= 10,
        "a whole number from 1 to 10",
    ),
    "arrivals": Option(
        "geometric", ("geometric", "fixed"), "how many queries come: at random, or the mean number in every context"
    ),
    "predictability": Option(
        "mixed",
        tuple(PREDICTABILITIES),
        "of the contexts' queries",
        number_between(0.0, 1.0),
        "one from 0 to 1 for all",
    ),
    "hint_noise": Option(
        "0.1",
        ("0", "0.1", "0.3", "1"),
        "standard deviation of hints over the range of what they hint at",
        number_between(0.0, 10.0),
        "any from 0 to 10",
    ),
    "price": Option(
        "10",
        ("1", "3", "10", "30"),
        "offline tokens that a test-time token costs; 10 is recalled from the sleep-time paper",
        number_between(0.1, 1000.0),
        "any from 0.1 to 1000",
    ),
}

SCENARIO = Scenario(
    summary="Spend tokens on a context before its queries are known, or on each query when it is.",
    options=OPTIONS,
    build=_build,
    core=core_instances,
    facts=_facts,
)
