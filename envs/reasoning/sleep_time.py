"""dsegym/SleepTime-v0: how many tokens to spend on a context before its queries are known, and how many on each query.

The rules: docs/sleep_time.md. The game: `costmodels/reasoning/sleep/`. An episode is one context: it arrives with a
hint of how predictable its queries are; offline ("sleep") tokens are spent on it once; then its queries come one by
one, nobody knows how many, and each gets test-time tokens, which cost `price` offline tokens each. The budget of a
context, `budget` times the mean number of queries, is hard.

A design is the parameter vector of a policy:

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
Observation: float32[11], `SleepTime.features`.
Termination: after a context's last query.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SleepTime-v0", budget=8000)
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(8)  # sleep for two fifths of the budget
    >>> reward, terminated
    (0.0, False)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.reasoning.scores import cost_of_pass, e3
from ...costmodels.reasoning.sleep import bounds, game, model
from ...costmodels.reasoning.sleep.game import ACTIONS, MOST_QUERIES, SLEEP_STEP, TEST_STEP, Params, State
from ...costmodels.reasoning.sleep.picture import draw_context
from ..core.evaluation import Objective, Sweep
from ..core.features import Discrete, Feature
from ..core.options import Options, choice, number, whole
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem, bounded
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["HEURISTICS", "SCENARIO", "SleepTime", "SleepTimeOptions"]

BUDGETS = (1000, 2000, 4000, 8000, 16000, 32000)  # tokens, that are drawn
EPISODES = 256  # contexts that a design is costed on
_HINT, _WORTH = model.HIGHEST_HINT, model.WORTH_TOKENS / model.SCALE_TOKENS
_HIGHEST_SHARE = 10.0  # the observation is clipped here
_TYPICAL_BUDGET, _TYPICAL_PRICE, _TYPICAL_NOISE = 64_000, 10, 0.25  # are seen as 1/2

NOTES = (
    "Everything is synthetic: the accuracy curve, its constants, predictabilities, difficulties and hints are ours.",
    "The price ratio 10 is recalled from the sleep-time paper, not read again.",
)
OBJECTIVE = Objective("failure", "fraction", "1 - accuracy of a context's queries, under its hard budget")
_SPREADS = {name: name for name in game.PREDICTABILITIES}
_SLEEP_SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_TEST_SHARES = (0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 2.0, 2.4, 3.0, 4.0)
_SLEEP_SLOPES, _RESERVES = (-0.4, -0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.6), (0.0, 0.25, 0.5, 0.75, 1.0)
_DIFFICULTY_SLOPES = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)

SPACE = DesignSpace(
    (
        Parameter("sleep_share", _SLEEP_SHARES, summary="of the budget that goes into sleep where the hint is 1/2"),
        Parameter("sleep_slope", _SLEEP_SLOPES, summary="what that grows by from a hint of 1/2 to one of 1"),
        Parameter("test_share", _TEST_SHARES, summary="tokens of a query, in even shares of what sleep leaves"),
        Parameter("reserve", _RESERVES, summary="0: every query gets the same; 1: a constant part of what is left"),
        Parameter(
            "difficulty_slope",
            _DIFFICULTY_SLOPES,
            summary="doublings of a query's tokens for each doubling of its hinted difficulty",
        ),
    )
)
HEURISTICS = Heuristics(
    SPACE,
    {"sleep_share": 0.0, "sleep_slope": 0.0, "test_share": 1.0, "reserve": 0.0, "difficulty_slope": 0.0},
    {
        "uniform": {},
        "decay": {"test_share": 2.0, "reserve": 1.0},
        "hardest_first": {"difficulty_slope": 0.5},
        "easiest_first": {"difficulty_slope": -0.5},
        "always_sleep": {"sleep_share": 0.3},
        "half": {"sleep_share": 0.5},
        "all_sleep": {"sleep_share": 1.0},
        "predictable_only": {"sleep_slope": 0.6},
        "sleep_and_decay": {"sleep_share": 0.3, "sleep_slope": 0.2, "test_share": 2.0, "reserve": 1.0},
    },
)


@dataclass(frozen=True)
class SleepTimeOptions(Options):
    """What tells instances apart."""

    budget: float = number(
        8000, BUDGETS, least=1, most=1e6, unit="tokens", summary="offline tokens that a query may cost, on average"
    )
    queries: int = whole(10, (1, 2, 5, 10), least=1, most=10, summary="mean number of queries of a context")
    arrivals: str = choice(
        "geometric", ("geometric", "fixed"), "how many queries come: at random, or the mean number in every context"
    )
    predictability: str | float = number(
        "mixed", tuple(_SPREADS), least=0, most=1, words=_SPREADS, summary="of the queries; a number is that of all"
    )
    hint_noise: float = number(
        0.1, (0, 0.1, 0.3, 1), least=0, most=10, summary="deviation of hints over the range of what they hint at"
    )
    price: float = number(
        10, (1, 3, 10, 30), least=0.1, most=1000, unit="offline tokens", summary="of a test-time token; 10 is recalled"
    )


@dataclass(frozen=True)
class SleepTime(PolicyEnv[State, Params]):
    """Context by context; see the module's docstring."""

    game = game
    horizon = 1 + MOST_QUERIES
    features = (
        Feature("predictability_hint", meaning="hint of how predictable the context's queries are"),
        Feature("slept", meaning="1 where sleep is over"),
        Feature("answered", meaning=f"queries answered over {MOST_QUERIES}"),
        Feature("left", meaning="tokens left over the budget"),
        Feature("sleep", meaning="tokens slept over the budget"),
        Feature("difficulty_hint", (), -_HINT, _HINT, "of the query that waits, in doublings; 0 where none waits"),
        Feature("even_share", high=_HIGHEST_SHARE, meaning="test-time tokens of an even share over 1,000, clipped"),
        Feature("sleep_worth", (), 0.0, _WORTH, "the hint times the test-time tokens that sleep replaces, over 1,000"),
        Feature("budget", meaning=f"b / (b + {_TYPICAL_BUDGET:,}) of b offline tokens of the context"),
        Feature("price", meaning=f"p / (p + {_TYPICAL_PRICE}) of p offline tokens of a test-time token"),
        Feature("hint_noise", meaning=f"n / (n + {_TYPICAL_NOISE}) of the deviation n of hints over their range"),
    )

    @property
    def action_space(self) -> Discrete:
        """Steps of the budget, then of an even share."""
        return Discrete(ACTIONS)

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: the growth of the mean accuracy."""
        return next_state.accuracy - state.accuracy

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        slept = state.answered >= 0
        waits = slept & (state.answered < state.queries)  # after the last query none does
        share = game.even_tokens(state, params) / (params.price * model.SCALE_TOKENS)
        return {
            "predictability_hint": state.hint,
            "slept": slept,
            "answered": jnp.maximum(state.answered, 0).astype(jnp.float32) / MOST_QUERIES,
            "left": state.left_tokens / params.budget_tokens,
            "sleep": state.sleep_tokens / params.budget_tokens,
            "difficulty_hint": jnp.where(waits, model.difficulty_hint(state.seed, state.answered, params.noise), 0.0),
            "even_share": jnp.minimum(share, _HIGHEST_SHARE),
            "sleep_worth": state.hint * model.worth(state.sleep_tokens) / model.SCALE_TOKENS,
            "budget": params.budget_tokens / (params.budget_tokens + _TYPICAL_BUDGET),
            "price": params.price / (params.price + _TYPICAL_PRICE),
            "hint_noise": params.noise / (params.noise + _TYPICAL_NOISE),
        }

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The action of the policy in the module's docstring, halves rounded up."""
        chosen = SPACE.values(design, jnp.float32)
        share = chosen["sleep_share"] + chosen["sleep_slope"] * (2.0 * state.hint - 1.0)
        after = jnp.maximum(params.budget_tokens - state.sleep_tokens, 1e-6)
        kept = 1.0 - chosen["reserve"] + chosen["reserve"] * state.left_tokens / after
        hint = model.difficulty_hint(state.seed, state.answered, params.noise)
        multiple = chosen["test_share"] * kept * jnp.exp2(chosen["difficulty_slope"] * hint)
        steps = jnp.where(state.answered < 0, share / SLEEP_STEP, multiple / TEST_STEP)
        # A little more than a half, so that rounding errors cannot tell apart what is one half in decimals.
        return jnp.clip(jnp.floor(steps + 0.501), 0, ACTIONS - 1).astype(jnp.int32)

    def drawing(self, states: Sequence[State], actions: Sequence[object], params: Params) -> Diagram:
        """Where the budget went."""
        return draw_context(states, budget=float(params.budget_tokens))


def _bound(problem: Problem) -> float:
    return 1.0 - float(bounds.oracle_allocation(problem.held_out_params).bound.mean())


def _derived(metrics: Any) -> Mapping[str, float]:
    each, tokens = metrics.cost_tokens / metrics.queries, metrics.query_tokens / metrics.queries
    return {
        "cost_tokens_per_query": each,
        "cost_of_pass_tokens": float(cost_of_pass(each, metrics.accuracy)),
        "e3_per_kilotoken": float(e3(metrics.accuracy, max(tokens, 1e-9))),
    }


def build(options: SleepTimeOptions) -> Problem:
    """An instance."""
    params = game.params_of(
        seeds_of(SEARCH, EPISODES),
        budget_tokens=options.budget,
        queries=options.queries,
        fixed_number=options.arrivals == "fixed",
        predictability=options.predictability,
        noise=options.hint_noise,
        price=options.price,
    )
    return policy_problem(
        SleepTime(),
        options=options,
        heuristics=HEURISTICS,
        params=params,
        held_out_params=params._replace(seeds=seeds_of(HELD_OUT, EPISODES)),
        reference=("uniform", "no sleep; every query the same tokens"),
        bound=bounded("bound", _bound, "everything known: concave optimisation of each context, with its duality gap"),
        best=bounds.oracle_metrics,
        derived=_derived,
        objective=OBJECTIVE,
        notes=NOTES,
        sweep=Sweep(
            option="budget",
            values=tuple(map(str, BUDGETS)),
            x_label="budget (offline tokens a query)",
            y_label="accuracy (share of queries)",
            baselines=("always_sleep", "predictable_only"),
        ),
    )


CORE = (  # every predictability, few and many queries, dear and cheap test-time tokens
    {},
    {"predictability": "low"},
    {"predictability": "high"},
    {"budget": 2000},
    {"queries": 1},
    {"arrivals": "fixed"},
    {"price": 1, "budget": 1000},
    {"hint_noise": 0.3},
)
SCENARIO = Scenario(
    summary="Spend tokens on a context before its queries are known, or on each query when it is.",
    options_type=SleepTimeOptions,
    build=build,
    core=CORE,
    facts=lambda: (
        ("Constants", model.constant_rows()),
        ("Contexts", game.context_rows()),
        ("Heuristics (blank: neutral)", HEURISTICS.rows()),
    ),
)
