"""dsegym/ReasoningCascade-v0: run a model, look at the length of its answer, keep it or run another.

The rules, the policy and where figures come from: docs/reasoning_cascade.md. The game:
`costmodels/reasoning/cascade/`. A batch of Q = 32 recorded questions shares a budget of Q times the option's; each of
M = 6 models answers a question once at most.

| form | action |
|---|---|
| `decisions` | Discrete(7): 0 keeps the last answer and moves on to the next question; m runs model m |
| `parametric`, `sequential` | the parameters of a policy, as of a one-shot family: what the leaderboard ranks |

A run is possible if the model's mean cost on the training questions is still affordable; an answer that then costs more
than what is left is cut off: it is wrong, and the budget is spent. An action that is not legal counts as 0;
`info["illegal_actions"]` counts those.
Objective: failure, the share of questions whose last answer is wrong or missing.
Reward: 1 / Q for each question that is left with a right answer, when it is left; the return is 1 - the objective.
Observation: float32[22], `ReasoningCascade.features`.
Termination: when all questions are left.

A design is the policy's parameters: the models of the first, second and third step, the quantiles of length above which
the cascade goes on, and whether it keeps back enough for one run of the first model on each question that is left.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/ReasoningCascade-v0", budget=20)
    >>> observation, info = env.reset(seed=0)
    >>> info["action_mask"].tolist()
    [1, 1, 1, 1, 1, 1, 1]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.reasoning.cascade import bounds, game
from ...costmodels.reasoning.cascade.game import LADDER, NAMES, QUESTIONS, Params, State
from ...costmodels.reasoning.cascade.picture import draw_cascade
from ...costmodels.reasoning.scores import cost_of_pass
from ..core.evaluation import Objective, Sweep
from ..core.features import Discrete, Feature
from ..core.options import Options, number
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem, bounded
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["SCENARIO", "SPACE", "ReasoningCascade", "ReasoningCascadeOptions"]

EPISODES = 64  # batches that a design is costed on
BATCH_SIZES = (1, 32)
BUDGETS = (2, 5, 10, 20, 50, 100)  # TFLOP a question, that are drawn
_TYPICAL_TFLOP = 16  # budget that is seen as 1/2

OBJECTIVE = Objective("failure", "fraction", "1 - accuracy: questions of a batch whose last answer is wrong or missing")
NOTES = (
    "Answers and lengths are recorded (ZeroEval, greedy decoding), re-scored by numeric equality: 1.2 points above the "
    "official table for the 2B model, within 0.4 points of it for the others.",
    "Costs are 2 x parameters x tokens with a token for 4 characters; parameters as the models' names say. No prompt, "
    "no attention, no key-value reads.",
)
_QUANTILES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
SPACE = DesignSpace(
    (
        Parameter("first", NAMES, summary="the model that answers first"),
        Parameter("first_limit", _QUANTILES, summary="longer answers, as a quantile, are not kept; 1: all are"),
        Parameter("second", NAMES, summary="the model that answers next"),
        Parameter("second_limit", _QUANTILES, summary="the same for its answers"),
        Parameter("third", NAMES, summary="the last model"),
        Parameter("reserve", ("no", "yes"), ordered=False, summary="keep back a first answer for every question left"),
    )
)


@dataclass(frozen=True)
class ReasoningCascadeOptions(Options):
    """What tells instances apart."""

    budget: float = number(
        20, BUDGETS, least=1e-3, most=1e9, unit="TFLOP", summary="that a question may cost, on average over a batch"
    )


@dataclass(frozen=True)
class ReasoningCascade(PolicyEnv[State, Params]):
    """Run by run; see the module's docstring."""

    game = game
    horizon = QUESTIONS * (len(LADDER) + 1)
    action_space = Discrete(len(LADDER) + 1)
    features = (
        Feature("ran", (len(LADDER),), meaning="1 for each model that has answered this question"),
        Feature(
            "length",
            (len(LADDER),),
            meaning="quantile of the model's answer among its answers to the training questions; 0 where it has none",
        ),
        Feature("can_run", (len(LADDER),), meaning="1 for each model that can run on this question"),
        Feature("spent", meaning="share of the budget"),
        Feature("left", meaning=f"questions left, this one included, over {QUESTIONS}"),
        Feature("rest", meaning="budget left for each question left, over twice the mean one, clipped"),
        Feature("budget", meaning=f"b / (b + {_TYPICAL_TFLOP}) of b TFLOP a question"),
    )

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: 1 / Q when a question is left with a right answer."""
        return (next_state.solved - state.solved) / QUESTIONS

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        left, budget = QUESTIONS - state.at, game.budget_tera(params)
        rest = (budget - state.spent) / jnp.maximum(left, 1) / (2 * params.budget_tera)
        return {
            "ran": state.ran,
            "length": jnp.where(state.ran, game.here(params.quantile, state), 0.0),
            "can_run": game.runnable(state, params),
            "spent": jnp.clip(state.spent / budget, 0.0, 1.0),
            "left": left / QUESTIONS,
            "rest": jnp.clip(rest, 0.0, 1.0),
            "budget": params.budget_tera / (params.budget_tera + _TYPICAL_TFLOP),
        }

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """The cascade of a design: the first model of its three that has not run, while answers are long.

        A model that cannot run, or that two steps name, is passed over; where none of the three can run on a fresh
        question, the cheapest one that can does.
        """
        chosen = SPACE.values(design)
        runnable, length = game.runnable(state, params), game.here(params.quantile, state)
        steps = jnp.stack([chosen["first"], chosen["second"], chosen["third"]])
        first_limit, second_limit = chosen["first_limit"], chosen["second_limit"]
        fresh, mean = ~jnp.any(state.ran), jnp.asarray(params.mean_tera)
        left = QUESTIONS - state.at - 1
        keep = jnp.where(chosen["reserve"] == SPACE["reserve"].index("yes"), left * mean[steps[0]], 0.0)
        afford = runnable & (state.spent + mean + keep <= game.budget_tera(params) * (1 + 1e-6))
        ran, able = state.ran[steps], (afford[steps] & ~fresh) | (runnable[steps] & fresh)
        goes_on = jnp.stack(
            [
                jnp.bool_(True),
                (length[steps[0]] >= first_limit) & (first_limit < 1) | ~ran[0],
                (length[steps[1]] >= second_limit) & (second_limit < 1) & ran[1] | ~(ran[0] | ran[1]),
            ]
        )
        possible = able & ~ran & goes_on
        cheapest = jnp.argmax(runnable)  # the ladder ascends
        step = jnp.where(jnp.any(possible), steps[jnp.argmax(possible)] + 1, jnp.where(fresh, cheapest + 1, 0))
        return jnp.where(jnp.any(runnable), step, 0).astype(jnp.int32)

    def drawing(self, states: Sequence[State], actions: Sequence[object], params: Params) -> Diagram:
        """Where the budget went."""
        return draw_cascade(states, budget=float(game.budget_tera(params)))


def _heuristics(params: Params) -> Heuristics:
    """The cascades of the field; neutral is the largest model whose mean cost the budget of a question pays for."""
    fits = [name for name, mean in zip(NAMES, params.mean_tera, strict=True) if mean <= params.budget_tera]
    largest = fits[-1] if fits else NAMES[0]

    def only(name: str) -> Mapping[str, object]:
        return {"first": name, "second": name, "third": name}

    def cascade(first: str, limit: float, second: str, second_limit: float, third: str) -> Mapping[str, object]:
        limits = {"first_limit": limit, "second_limit": second_limit}
        return {"first": first, "second": second, "third": third, **limits, "reserve": "yes"}

    return Heuristics(
        SPACE,
        {**only(largest), "first_limit": 1.0, "second_limit": 1.0, "reserve": "no"},
        {
            "largest_that_fits": {},
            **{f"only_{name}": only(name) for name in NAMES},
            "cascade": cascade("9B", 0.7, "70B", 1.0, "70B"),
            "small_cascade": cascade("2B", 0.5, "9B", 0.8, "27B"),
            "cascade_to_the_largest": cascade("9B", 0.7, "70B", 0.8, "405B"),
            "escalate_once": cascade("9B", 0.8, "405B", 1.0, "405B"),
        },
    )


def build(options: ReasoningCascadeOptions) -> Problem:
    """An instance."""
    params = game.params_of("train", seeds_of(SEARCH, EPISODES), options.budget)
    held_out = game.params_of("test", seeds_of(HELD_OUT, EPISODES), options.budget)

    return policy_problem(
        ReasoningCascade(),
        options=options,
        heuristics=_heuristics(params),
        params=params,
        held_out_params=held_out,
        reference=(
            "largest_that_fits",
            "the largest model whose mean cost is within the budget of a question, for every question",
        ),
        bound=bounded(
            "bound",
            lambda problem: 1 - bounds.oracle_correctness(held_out),
            "the cheapest right answer of each question, cheapest first",
        ),
        best=bounds.oracle_metrics,
        derived=lambda metrics: {"cost_of_pass_tflop": float(cost_of_pass(metrics.cost_tflop, metrics.accuracy))},
        objective=OBJECTIVE,
        notes=NOTES,
        splits=game.question_sizes(),
        sweep=Sweep(
            option="budget",
            values=tuple(map(str, BUDGETS)),
            x_label="budget (TFLOP a question)",
            y_label="accuracy (fraction of questions answered right)",
            baselines=("only_9B", "cascade"),
        ),
        batch_sizes=BATCH_SIZES,
    )


SCENARIO = Scenario(
    summary="Run a model on a question, look at the length of its answer, and keep it or run another.",
    options_type=ReasoningCascadeOptions,
    build=build,
    core=({}, {"budget": 2}, {"budget": 5}, {"budget": 100}),
    facts=lambda: (("Models", game.ladder_rows()),),
)
