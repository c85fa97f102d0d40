"""dsegym/SubQuestionBudget-v0: how many tokens each sub-question of a plan may spend.

The rules: docs/sub_question_budget.md. The game and its cost model: `costmodels/reasoning/plan/`. An episode is
one question, already divided into N <= 7 sub-questions, each with a difficulty credit as a language model might assign
it. They are answered in order; the budget of the whole plan is hard and depends on the question's level. What a
sub-question's difficulty, ease and aleatoric uncertainty are, nobody sees; what uncertainty its tokens left, one sees
afterwards.

A design is the parameter vector of a policy, `SPACE`. The weight of sub-question i is

    credit_i ^ credit_exponent * d(i, N) ^ sharpness,    0 where N credit_i > drop_above

with d of `schedule`. A fixed plan shares the budget by weights as the released code does (`schedulers.py`). An
adaptive one gives sub-question i its weight's share of what is left, all but a `reserve`, the weights of those after it
being the others; its own is multiplied by (residual / estimate) ^ surprise of the one before. A search costs designs on
256 plans; scores are taken on 256 others; environments draw their own.

| form | action |
|---|---|
| `decisions` | Discrete(21): the sub-question gets action / 20 of what is left, rounded down |
| `tokens` | Discrete(largest budget + 1): its tokens |
| `parametric`, `sequential` | the policy's parameters, as of a one-shot family: what the leaderboard ranks |

Every action is legal; more than what is left counts as all that is left. With `utility=sum` each sub-question gets at
least a tenth of an even share (or one token), and as much is kept for each that comes.
Objective: failure, 1 - utility: the mean uncertainty (`sum`), 1 - the mean (`clamped`) or the product (`all`) of s_j.
Reward: the growth of the utility: (1 - U_j) / N, s_j / N, or that of the product so far, which starts from 0. The
return is 1 - objective.
Observation: float32[17], `SubQuestionBudget.features`.
Termination: after the last sub-question.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SubQuestionBudget-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(5)  # a quarter of the budget
    >>> reward >= 0, round(float(observation[3]), 2)
    (True, 0.75)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.reasoning.plan import bbam, bounds, game, plans, schedulers
from ...costmodels.reasoning.plan.game import MOST_SURPRISE, Metrics, Params, State, at
from ...costmodels.reasoning.plan.picture import draw_plan
from ...costmodels.reasoning.plan.schedulers import MOST, SCHEDULES
from ...costmodels.reasoning.scores import cost_of_pass, e3
from ..core.evaluation import Objective, Sweep
from ..core.features import Discrete, Feature
from ..core.options import Options, choice, number
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_problem, seeds_of
from ..core.problem import Problem, bounded
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Heuristics, Parameter

__all__ = ["HEURISTICS", "SCENARIO", "SubQuestionBudget", "SubQuestionBudgetOptions"]

BUDGETS = (0.25, 0.5, 1, 2, 4)  # that are drawn
EPISODES = 256  # plans that a design is costed on
PARTS = 20  # of what is left, that a decision chooses from
BATCH_SIZES = (1, 128)  # as many designs cost a few milliseconds
_MOST_RESIDUAL, _MOST_EVEN = 2.0, 10.0  # observations are clipped here
_TYPICAL_NOISE = 0.25  # is seen as 1/2

NOTES = (
    "Plans are synthetic but for levels, sub-questions by level and mean credits, which were measured on public ones.",
    "Budgets are enforced; the released planners only ask for them. Plans of 1, 2, 6 and 7 have no measured credits.",
)
FAILURES = {
    "sum": "mean uncertainty of a sub-question",
    "clamped": "1 - the mean success of a sub-question",
    "all": "1 - the probability that every sub-question succeeds",
}
BOUND_SOURCES = {
    "sum": "everything known: the closed form of the model, one Lagrange multiplier by bisection",
    "clamped": "everything known: the closed form over every subset of sub-questions",
    "all": "everything known: stationary point of the log success, one Lagrange multiplier by bisection",
}
_EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_SHARPNESSES = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 1.5, 2.0)
_SURPRISES, _RESERVES = (-0.5, 0.0, 0.1, 0.25, 0.5, 1.0), (0.0, 0.1, 0.2, 0.3, 0.4)
_DROPS = (1.25, 1.5, 1.75, 2.0, 2.5, 100.0)
_FIXED, _ROUNDED_DOWN, _ADAPTIVE = _PLANS = ("fixed", "rounded_down", "adaptive")
SPACE = DesignSpace(
    (
        Parameter("credit_exponent", _EXPONENTS, summary="of a sub-question's difficulty credit in its weight"),
        Parameter("schedule", tuple(SCHEDULES), ordered=False, summary="how the weight changes along the plan"),
        Parameter(
            "sharpness", _SHARPNESSES, summary="exponent of the schedule; below 0, later sub-questions weigh more"
        ),
        Parameter(
            "plan",
            _PLANS,
            ordered=False,
            summary="shares of the budget, the remainder to the largest or unspent; or of what is left, anew each time",
        ),
        Parameter(
            "surprise",
            _SURPRISES,
            summary="adaptive: exponent of the last residual over its estimate in the next weight",
        ),
        Parameter("reserve", _RESERVES, summary="adaptive: part of what is left that is kept for later sub-questions"),
        Parameter(
            "drop_above",
            _DROPS,
            summary="sub-questions with more credit than this, in mean credits, get nothing; 100: none is dropped",
        ),
    )
)
HEURISTICS = Heuristics(
    SPACE,
    dict(
        credit_exponent=0.0,
        schedule="constant",
        sharpness=1.0,
        plan=_FIXED,
        surprise=0.0,
        reserve=0.0,
        drop_above=100.0,
    ),
    {
        "uniform": {"plan": _ROUNDED_DOWN},
        "remaining": {"plan": _ADAPTIVE},
        # The released schedulers go by their own names, `constant` being the credits alone.
        **{name: {"credit_exponent": 1.0, "schedule": name} for name in SCHEDULES},
        "linear_alone": {"schedule": "linear"},
        "cosine_alone": {"schedule": "cosine"},
        "growth_alone": {"schedule": "linear", "sharpness": -1.0},
        "half_credits": {"credit_exponent": 0.5},
        "surprised": {"credit_exponent": 1.0, "plan": _ADAPTIVE, "surprise": 0.25},
        "drop_hardest": {"credit_exponent": 1.0, "drop_above": 1.5},
    },
)
_SCHEDULE_TABLES = np.stack([schedulers.schedule_table(name) for name in SCHEDULES])


@dataclass(frozen=True)
class SubQuestionBudgetOptions(Options):
    """What tells instances apart."""

    world: str = choice("measured", tuple(plans.WORLDS), "how difficulty truly changes along a plan")
    utility: str = choice(
        "clamped", bbam.UTILITIES, "mean of 1 - uncertainty, mean of success, or success of every sub-question"
    )
    budget: float = number(
        1,
        BUDGETS,
        least=0.1,
        most=10,
        summary="of a plan, in the released budgets: 200, 250, 350, 450, 600 tokens by level",
    )
    credit_noise: float = number(
        0.3, (0, 0.15, 0.3, 0.6), least=0, most=2, summary="standard deviation of the logarithm of a credit's error"
    )
    spread_beta: float = number(0.5, (0, 0.5, 1), least=0, most=2, summary="beta is uniform from 1 to 1 + this")


@dataclass(frozen=True)
class SubQuestionBudget(PolicyEnv[State, Params]):
    """Sub-question by sub-question; see the module's docstring.

    Attributes:
        utility: an entry of `bbam.UTILITIES`.
        parts: of what is left, that actions choose from; 0 where actions are tokens, as the policy's are.
        most_tokens: the largest budget, where actions are tokens.
    """

    utility: str
    parts: int = 0
    most_tokens: int = 0
    game = game
    horizon = MOST
    features = (
        Feature("level", meaning="of the question, from 1, over 5"),
        Feature("sub_questions", meaning=f"N over {MOST}"),
        Feature("answered", meaning=f"sub-questions over {MOST}"),
        Feature("left", meaning="tokens over the budget"),
        Feature("even_share", high=_MOST_EVEN, meaning="tokens left for each sub-question left, over 100, clipped"),
        Feature("credit", meaning="of the next sub-question"),
        Feature("credits_left", meaning="of the next sub-question and those after it"),
        Feature("residual", high=_MOST_RESIDUAL, meaning="U, or 1 - s, of the last sub-question, clipped; 0 at first"),
        Feature("surprise", (), -MOST_SURPRISE, MOST_SURPRISE, "its ln(residual / estimate), clipped"),
        Feature("credits", (MOST,), meaning="of all"),
        Feature("credit_noise", meaning=f"n / (n + {_TYPICAL_NOISE}) of the deviation n of the logarithm of credits"),
    )

    @property
    def action_space(self) -> Discrete:
        """Parts of what is left, or tokens."""
        return Discrete((self.parts or self.most_tokens) + 1)

    def start(self, key: Array, params: Params) -> State:
        """A plan, before anything is spent on it."""
        return game.start(self.utility, key, params)

    def advance(self, state: State, action: Array, params: Params) -> State:
        """Answers a sub-question; a number that is no action counts as the nearest one."""
        action = jnp.maximum(jnp.asarray(action, jnp.int32), 0)
        tokens = jnp.minimum(action, self.parts) * state.left_tokens // self.parts if self.parts else action
        return game.advance(self.utility, state, tokens)

    def reward(self, state: State, next_state: State, params: Params) -> Array:
        """float32: the growth of the utility."""
        return next_state.utility - state.utility

    def observe(self, state: State, params: Params) -> Mapping[str, Array]:
        """See `features`."""
        plan, place = state.plan, state.answered
        left, count = jnp.asarray(state.left_tokens, jnp.float32), jnp.asarray(plan.count, jnp.float32)
        return {
            "level": (plan.level + 1) / 5,
            "sub_questions": count / MOST,
            "answered": place / MOST,
            "left": left / state.budget_tokens,
            "even_share": jnp.minimum(left / jnp.maximum(count - place, 1.0) / 100.0, _MOST_EVEN),
            "credit": at(plan.credits, place),
            "credits_left": jnp.minimum(jnp.sum(jnp.where(np.arange(MOST) >= place, plan.credits, 0.0)), 1.0),
            "residual": jnp.minimum(state.residual, _MOST_RESIDUAL),
            "surprise": state.surprise,
            "credits": plan.credits,
            "credit_noise": params.world.credit_noise / (params.world.credit_noise + _TYPICAL_NOISE),
        }

    def decide(self, design: Array, state: State, params: Params) -> Array:
        """int32, tokens of the next sub-question by the policy in the module's docstring."""
        chosen = SPACE.values(design, jnp.float32)
        plan, place = state.plan, state.answered
        table = jnp.asarray(_SCHEDULE_TABLES)[chosen["schedule"], plan.count - 1]
        relative = plan.credits * plan.count.astype(jnp.float32)
        weight = jnp.maximum(relative, 1e-9) ** chosen["credit_exponent"]
        weight = weight * jnp.where(table > 0, table, 1.0) ** chosen["sharpness"]
        weight = jnp.where((table > 0) & (relative <= chosen["drop_above"]), weight, 0.0)
        down, handed_out = schedulers.shared_tokens(weight, state.budget_tokens)
        own = at(weight, place) * jnp.exp(chosen["surprise"] * state.surprise)
        later = jnp.sum(jnp.where(np.arange(MOST) > place, weight, 0.0))
        kept = jnp.where(later > 0, chosen["reserve"], 0.0)
        anew = (1.0 - kept) * state.left_tokens * own / jnp.maximum(own + later, 1e-30)
        rounded_down, adaptive = (chosen["plan"] == _PLANS.index(name) for name in (_ROUNDED_DOWN, _ADAPTIVE))
        of_plan = at(jnp.where(rounded_down, down, handed_out), place).astype(jnp.int32)
        return jnp.where(adaptive, schedulers.whole_tokens(anew), of_plan)

    def drawing(self, states: Sequence[State], actions: Sequence[object], params: Params) -> Diagram:
        """Where the budget went."""
        return draw_plan(states)


def _derived(metrics: Metrics) -> Mapping[str, float]:
    """Ratios of means, where an accuracy below 0, as under `sum`, or no tokens do no harm."""
    accuracy, tokens = max(float(metrics.accuracy), 0.0), float(metrics.tokens)
    return {
        "e3_per_kilotoken": float(e3(accuracy, max(tokens, 1.0))),
        "cost_of_pass_tokens": float(cost_of_pass(tokens, max(accuracy, 1e-6))),
    }


def build(options: SubQuestionBudgetOptions) -> Problem:
    """An instance."""
    utility, budgets = options.utility, plans.level_budgets_tokens(options.budget)
    world = plans.World(
        trend=plans.trend(options.world),
        credit_trend=plans.trend("measured"),
        apart=np.asarray(options.world != "equal", np.float32),
        spread_beta=np.asarray(options.spread_beta, np.float32),
        credit_noise=np.asarray(options.credit_noise, np.float32),
    )
    held_out = Params(seeds_of(HELD_OUT, EPISODES), budgets, world)

    def bound(problem: Problem) -> float:
        return float(bounds.least_failure(utility, held_out).mean())

    return policy_problem(
        SubQuestionBudget(utility),
        options=options,
        heuristics=HEURISTICS,
        params=held_out._replace(seeds=seeds_of(SEARCH, EPISODES)),
        held_out_params=held_out,
        reference=("uniform", "every sub-question the same tokens"),
        bound=bounded("bound", bound, BOUND_SOURCES[utility]),
        best=lambda params: bounds.oracle_metrics(utility, params),
        derived=_derived,
        objective=Objective("failure", "", f"{FAILURES[utility]}, under the plan's hard budget"),
        notes=NOTES,
        sweep=Sweep(
            option="budget",
            values=tuple(map(str, BUDGETS)),
            x_label="budget (released budgets of 200 to 600 tokens a plan)",
            y_label="accuracy (utility of a plan)",
            baselines=("constant", "linear", "cosine"),
        ),
        batch_sizes=BATCH_SIZES,
        forms={
            "decisions": SubQuestionBudget(utility, parts=PARTS),
            "tokens": SubQuestionBudget(utility, most_tokens=int(budgets.max())),
        },
    )


CORE = (  # every world and utility, and a tight budget
    {},
    {"world": "decreasing"},
    {"world": "increasing"},
    {"utility": "sum"},
    {"utility": "sum", "world": "decreasing"},
    {"utility": "all"},
    {"budget": 0.5},
    {"credit_noise": 0.6},
)
SCENARIO = Scenario(
    summary="Share a plan's tokens between its sub-questions, by credits with errors and by what is learnt on the way.",
    options_type=SubQuestionBudgetOptions,
    build=build,
    core=CORE,
    facts=lambda: (
        ("Levels (the scale is synthetic)", plans.level_rows()),
        ("Measured credits", schedulers.credit_rows()),
        ("Heuristics (blank: neutral)", HEURISTICS.rows()),
    ),
)
