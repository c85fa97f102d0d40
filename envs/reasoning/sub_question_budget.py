"""dsegym/SubQuestionBudget-v0: how many tokens each sub-question of a plan may spend.

The rules: docs/sub_question_budget.md. Cost model: `costmodels/reasoning/bbam.py`; plans are drawn by `plans.py` there.
An episode is one question, already divided into N <= 7 sub-questions, each with a difficulty credit as a language model
might assign it. They are answered in order; the budget of the whole plan is hard and depends on the question's level.
What a sub-question's difficulty, ease and aleatoric uncertainty are, nobody sees; what uncertainty its tokens left, one
sees afterwards.

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
Observation: float32[16]: level over 5; N over 7; sub-questions answered over 7; budget left over the budget; tokens
left for each sub-question left over 100, at most 10; credit of the next one, and of it and those after it; last
residual (U_j, or 1 - s_j; 0 at first), at most 2; its surprise, ln(residual / estimate) in [-2, 2]; the credits of all.
Termination: after the last sub-question.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/SubQuestionBudget-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(5)  # a quarter of the budget
    >>> reward >= 0, round(float(observation[3]), 2)
    (True, 0.75)
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

from ...costmodels.diagram import Diagram
from ...costmodels.errors import DsegymError
from ...costmodels.reasoning import bbam, plans, schedulers
from ...costmodels.reasoning.schedulers import MOST
from ..core.functional import ONE_SHOT_FORMS
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_cost, policy_diagram, seeds_of
from ..core.problem import Evaluation, Objective, Problem, Sweep, Yardstick
from ..core.scenarios import Option, Scenario, number_between
from .policy_diagrams import draw_plan
from .sub_question_budget_policy import BASELINES, NEUTRAL, SPACE, design_of
from .sub_question_budget_yardsticks import best_failure, break_down, least_tokens, scores

__all__ = [
    "EPISODES",
    "SCENARIO",
    "SPACE",
    "Metrics",
    "Params",
    "SubQuestionBudget",
]

EPISODES = 256  # plans that a design is costed on
ACTIONS = 21
BATCH_SIZES = (1, 128)  # as many designs cost a few milliseconds
_MOST_RESIDUAL, _MOST_SURPRISE, _MOST_EVEN = 2.0, 2.0, 10.0  # observations are clipped here

NOTES = (
    "Plans are synthetic but for levels, sub-questions by level and mean credits, which were measured on public ones.",
    "Budgets are enforced; the released planners only ask for them. Plans of 1, 2, 6 and 7 have no measured credits.",
)
UTILITIES = {
    "sum": "mean uncertainty of a sub-question",
    "clamped": "1 - the mean success of a sub-question",
    "all": "1 - the probability that every sub-question succeeds",
}
REFERENCE = "uniform"


class Metrics(NamedTuple):
    """Costs of a plan, averaged over plans. Scalars, float32."""

    accuracy: Any  # the utility
    tokens: Any  # of a plan
    sub_questions: Any  # of a plan
    e3_per_kilotoken: Any  # mean accuracy (at least 0) squared over mean kilotokens
    cost_of_pass_tokens: Any  # mean tokens over mean accuracy


class Params(NamedTuple):
    """An instance."""

    seeds: Any  # uint32[EPISODES]
    budgets_tokens: Any  # int32[5], of a plan, by level
    world: Any  # plans.World


class EnvState(NamedTuple):
    """Where an episode stands. Scalars, float32 if not said otherwise."""

    plan: Any  # plans.Plan
    budget_tokens: Any  # int32, of the plan
    least_tokens: Any  # int32, of a sub-question
    answered: Any  # int32, sub-questions
    left_tokens: Any  # int32
    utility: Any  # so far; see the module's docstring
    residual: Any  # uncertainty that the last sub-question was left with
    surprise: Any  # ln(residual / estimate) of the last sub-question


def _at(values: Any, place: Any) -> jax.Array:
    """values[place], float32, as a select: gathers are slow on CPUs."""
    return jnp.sum(jnp.where(np.arange(MOST) == place, values, 0.0))


class SubQuestionBudget(PolicyEnv):
    """Sub-question by sub-question; see the module's docstring.

    Args:
        utility: an entry of `bbam.UTILITIES`.
        fractions: into how many parts actions divide what is left; None where actions are tokens.
        most_tokens: the largest budget, where actions are tokens.
        reference: the reference's objective.
    """

    horizon = MOST
    observation_space = gymnasium.spaces.Box(
        np.array([0] * 8 + [-_MOST_SURPRISE] + [0] * MOST, np.float32),
        np.array([1, 1, 1, 1, _MOST_EVEN, 1, 1, _MOST_RESIDUAL, _MOST_SURPRISE] + [1] * MOST, np.float32),
        dtype=np.float32,
    )

    def __init__(
        self,
        utility: str,
        *,
        fractions: int | None = None,
        most_tokens: int = 0,
        reference: float = float("nan"),
    ):
        super().__init__()
        self._utility, self._fractions, self.reference = utility, fractions, reference
        self.action_space = gymnasium.spaces.Discrete((fractions or most_tokens) + 1)

    def initial(self, rng: Any, params: Any = None) -> EnvState:
        """A plan, before anything is spent on it."""
        plan = plans.draw(jax.random.bits(rng, (), jnp.uint32), params.world)
        budget = jnp.sum(jnp.where(np.arange(5) == plan.level, params.budgets_tokens, 0)).astype(jnp.int32)
        least = least_tokens(self._utility, budget, plan.count)
        zero = jnp.float32(0)
        return EnvState(plan, budget, least, jnp.int32(0), budget, zero, zero, zero)

    def transition(self, state: EnvState, action: Any, rng: Any, params: Any = None) -> EnvState:
        """Answers a sub-question; a number that is no action counts as the nearest one."""
        del rng, params
        plan, place = state.plan, state.answered
        action = jnp.maximum(jnp.asarray(action, jnp.int32), 0)
        if self._fractions is not None:
            action = jnp.minimum(action, self._fractions) * state.left_tokens // self._fractions
        most = state.left_tokens - state.least_tokens * (plan.count - 1 - place)
        tokens = jnp.clip(action, state.least_tokens, most)
        spent = tokens.astype(jnp.float32)
        what = {
            "scale_tokens": _at(plan.scale_tokens, place),
            "ease": _at(plan.ease, place),
            "aleatoric": _at(plan.aleatoric, place),
        }
        estimate = self._estimated_residual(state, spent)
        count = plan.count.astype(jnp.float32)
        if self._utility == "sum":
            residual = bbam.uncertainty(jnp.maximum(spent, 1.0), **what)
        else:
            residual = 1.0 - bbam.success(spent, **what)
        if self._utility == "all":
            utility = jnp.where(place == 0, 1.0, state.utility) * (1.0 - residual)
        else:
            utility = state.utility + (1.0 - residual) / count
        return state._replace(
            answered=place + 1,
            left_tokens=state.left_tokens - tokens,
            utility=utility,
            residual=residual,
            surprise=jnp.clip(jnp.log(jnp.maximum(residual, 1e-6) / estimate), -_MOST_SURPRISE, _MOST_SURPRISE),
        )

    def _estimated_residual(self, state: EnvState, tokens: Any) -> jax.Array:
        """What level and credit promise of the next sub-question at beta = 1 and a mean aleatoric uncertainty."""
        relative = _at(state.plan.credits, state.answered) * state.plan.count.astype(jnp.float32)
        typical = jnp.sum(
            jnp.where(np.arange(5) == state.plan.level, np.array(plans.LEVEL_SCALE_TOKENS, np.float32), 0.0)
        )
        left = typical * relative**2 / jnp.maximum(tokens, 1.0)
        if self._utility == "sum":
            return left + plans.MEAN_ALEATORIC
        return plans.MEAN_ALEATORIC + (1.0 - plans.MEAN_ALEATORIC) * jnp.minimum(left, 1.0)

    def terminal(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """Whether the last sub-question is answered."""
        del rng, params
        return state.answered >= state.plan.count

    def reward(self, state: EnvState, action: Any, next_state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """float32: the growth of the utility."""
        del action, rng, params
        return next_state.utility - state.utility

    def observation(self, state: EnvState, rng: Any, params: Any = None) -> jax.Array:
        """float32[16]; see the module's docstring."""
        del rng, params
        plan, place = state.plan, state.answered
        left, count = state.left_tokens.astype(jnp.float32), plan.count.astype(jnp.float32)
        still = jnp.maximum(count - place, 1.0)
        few = jnp.stack(
            [
                (plan.level + 1) / 5,
                count / MOST,
                place / MOST,
                left / state.budget_tokens,
                jnp.minimum(left / still / 100.0, _MOST_EVEN),
                _at(plan.credits, place),
                jnp.minimum(jnp.sum(jnp.where(np.arange(MOST) >= place, plan.credits, 0.0)), 1.0),
                jnp.minimum(state.residual, _MOST_RESIDUAL),
                state.surprise,
            ]
        )
        return jnp.concatenate([few, plan.credits]).astype(jnp.float32)

    def decide(self, design: Any, state: EnvState, params: Any = None) -> jax.Array:
        """Tokens of the next sub-question by the policy in the module's docstring."""
        del params
        number = {
            p.name: jnp.asarray(p.values, jnp.float32)[design[i]] for i, p in enumerate(SPACE.parameters) if p.ordered
        }
        schedule, how = (design[SPACE.names.index(name)] for name in ("schedule", "plan"))
        plan, place = state.plan, state.answered
        table = jnp.asarray(_SCHEDULES)[schedule, plan.count - 1]
        relative = plan.credits * plan.count.astype(jnp.float32)
        weight = jnp.maximum(relative, 1e-9) ** number["credit_exponent"]
        weight = weight * jnp.where(table > 0, table, 1.0) ** number["sharpness"]
        weight = jnp.where((table > 0) & (relative <= number["drop_above"]), weight, 0.0)
        down, handed_out = schedulers.shared_tokens(weight, state.budget_tokens)
        own = _at(weight, place) * jnp.exp(number["surprise"] * state.surprise)
        later = jnp.sum(jnp.where(np.arange(MOST) > place, weight, 0.0))
        kept = jnp.where(later > 0, number["reserve"], 0.0)
        anew = (1.0 - kept) * state.left_tokens * own / jnp.maximum(own + later, 1e-30)
        of_plan = _at(jnp.where(how == _ROUNDED_DOWN, down, handed_out), place).astype(jnp.int32)
        return jnp.where(how == _ADAPTIVE, schedulers.whole_tokens(anew), of_plan)

    def metrics(self, state: EnvState, params: Any = None) -> Metrics:
        """Costs of a finished plan."""
        del params
        tokens = (state.budget_tokens - state.left_tokens).astype(jnp.float32)
        return Metrics(state.utility, tokens, state.plan.count.astype(jnp.float32), *scores(state.utility, tokens))

    def drawing(self, states: Sequence[Any], actions: Sequence[Any], params: Any) -> Diagram:
        """Where the budget went; see `policy_diagrams.py`."""
        del actions, params
        return draw_plan(states)

    def objective(self, metrics: Metrics) -> jax.Array:
        """float32: the failure."""
        return 1.0 - metrics.accuracy


_SCHEDULES = np.stack([schedulers.schedule_table(name) for name in schedulers.SCHEDULES])
_ROUNDED_DOWN, _ADAPTIVE = (
    SPACE.parameters[SPACE.names.index("plan")].values.index(n) for n in ("rounded_down", "adaptive")
)


@functools.cache
def _cost_function(utility: str) -> Callable[[Any, Params], Evaluation]:
    """One object for all instances of a utility."""
    mean_of_plans = policy_cost(SubQuestionBudget(utility))

    def cost(design: Any, params: Params) -> Evaluation:
        found = mean_of_plans(design, params)
        e3, cost_of_pass = scores(found.metrics.accuracy, found.metrics.tokens)
        metrics = found.metrics._replace(e3_per_kilotoken=e3, cost_of_pass_tokens=cost_of_pass)
        return found._replace(metrics=metrics)  # ratios of means, not means of ratios

    return cost


# --- Instances --------------------------------------------------------------------------------------------------------

_HOW = {
    "sum": "everything known: the closed form of the model, one Lagrange multiplier by bisection",
    "clamped": "everything known: the closed form over every subset of sub-questions",
    "all": "everything known: stationary point of the log success, one Lagrange multiplier by bisection",
}


def _build(scenario_id: str, world: str, utility: str, budget: str, credit_noise: str, spread_beta: str) -> Problem:
    budgets = plans.level_budgets_tokens(float(budget))
    drawn_from = plans.World(
        trend=plans.trend(world),
        credit_trend=plans.trend("measured"),
        apart=np.float32(world != "equal"),
        spread_beta=np.float32(spread_beta),
        credit_noise=np.float32(credit_noise),
    )
    params = Params(seeds_of(SEARCH, EPISODES), budgets, drawn_from)
    held_out = params._replace(seeds=seeds_of(HELD_OUT, EPISODES))
    design = design_of(BASELINES[REFERENCE])
    bound = float(best_failure(utility, held_out).mean())
    bare = Problem(
        scenario=scenario_id,
        options={
            "world": world,
            "utility": utility,
            "budget": budget,
            "credit_noise": credit_noise,
            "spread_beta": spread_beta,
        },
        space=SPACE,
        objective=Objective("failure", "", f"{UTILITIES[utility]}, under the plan's hard budget"),
        cost=_cost_function(utility),
        params=params,
        held_out_params=held_out,
        reference=Yardstick(REFERENCE, float("nan"), "every sub-question the same tokens", design),
        bound=Yardstick("bound", bound, _HOW[utility]),
        forms={
            "decisions": lambda problem: SubQuestionBudget(
                utility, fractions=ACTIONS - 1, reference=problem.reference.value
            ),
            "tokens": lambda problem: SubQuestionBudget(
                utility, most_tokens=int(budgets.max()), reference=problem.reference.value
            ),
            **ONE_SHOT_FORMS,
        },
        baselines={name: functools.partial(design_of, values) for name, values in BASELINES.items()},
        diagram=policy_diagram(SubQuestionBudget(utility), params),
        batch_sizes=BATCH_SIZES,
        notes=NOTES,
        sweep=Sweep(
            option="budget",
            values=("0.25", "0.5", "1", "2", "4"),
            x_label="budget (released budgets of 200 to 600 tokens a plan)",
            y_label="accuracy (utility of a plan)",
            to_y=lambda failure: 1 - failure,
            baselines=("constant", "linear", "cosine"),
        ),
    )
    value = float(bare.evaluate_held_out(design).objective[0])
    if bound >= value:
        raise DsegymError(f"budget = {budget} leaves nothing to win with utility={utility} in the {world} world.")
    found = replace(bare, reference=replace(bare.reference, value=value))
    return replace(found, breakdown=functools.partial(break_down, found))


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    levels = [
        {
            "level": number + 1,
            "budget (tokens)": budget,
            "problems": problems,
            "sub-questions": count,
            "typical scale (tokens)": scale,
        }
        for number, (budget, problems, count, scale) in enumerate(
            zip(
                schedulers.LEVEL_BUDGETS_TOKENS,
                schedulers.LEVEL_PROBLEMS,
                schedulers.MEAN_COUNTS,
                plans.LEVEL_SCALE_TOKENS,
                strict=True,
            )
        )
    ]
    credits = [
        {"sub-questions": count, "mean credits": ", ".join(f"{each:.3f}" for each in shares)}
        for count, shares in schedulers.MEASURED_CREDITS.items()
    ]
    baselines = [{"baseline": name, **NEUTRAL, **values} for name, values in BASELINES.items()]
    return (("Levels (the scale is synthetic)", levels), ("Measured credits", credits), ("Baselines", baselines))


def core_instances() -> Sequence[Mapping[str, str]]:
    """Every world and utility, and a tight budget."""
    default = {name: option.default for name, option in OPTIONS.items()}
    changes: Sequence[Mapping[str, str]] = (
        {},
        {"world": "decreasing"},
        {"world": "increasing"},
        {"utility": "sum"},
        {"utility": "sum", "world": "decreasing"},
        {"utility": "all"},
        {"budget": "0.5"},
        {"credit_noise": "0.6"},
    )
    return [{**default, **change} for change in changes]


OPTIONS = {
    "world": Option("measured", tuple(plans.WORLDS), "how difficulty truly changes along a plan"),
    "utility": Option(
        "clamped", bbam.UTILITIES, "mean of 1 - uncertainty, mean of success, or success of every sub-question"
    ),
    "budget": Option(
        "1",
        ("0.25", "0.5", "1", "2", "4"),
        "of a plan, in the released budgets: 200, 250, 350, 450, 600 tokens by level",
        number_between(0.1, 10.0),
        "any from 0.1 to 10",
    ),
    "credit_noise": Option(
        "0.3",
        ("0", "0.15", "0.3", "0.6"),
        "standard deviation of the logarithm of a credit's error",
        number_between(0.0, 2.0),
        "any from 0 to 2",
    ),
    "spread_beta": Option(
        "0.5", ("0", "0.5", "1"), "beta is uniform from 1 to 1 + this", number_between(0.0, 2.0), "any from 0 to 2"
    ),
}

SCENARIO = Scenario(
    summary="Share a plan's tokens between its sub-questions, by credits with errors and by what is learnt on the way.",
    options=OPTIONS,
    build=_build,
    core=core_instances,
    facts=_facts,
)
