"""The cascade of dsegym/ReasoningServe-v0, tasks=gsm8k: run a model, look at the length of its answer, stop or go on.

Recorded: greedy answers of six open models to GSM8K's questions (ZeroEval), right or wrong, and their lengths. A batch
is Q = 32 questions that share a budget of Q times the option's; an answer costs 2 x parameters x tokens FLOP, tokens
being a quarter of its characters. Each model answers a question once at most: recorded outcomes are never drawn twice.

Action, Discrete(M + 1): 0 keeps the last answer and moves on to the next question; m runs model m. A run is possible if
the model's mean cost on the training questions is still affordable; an answer that then costs more than what is left
is cut off: it is wrong, and the budget is spent. An action that is not legal counts as 0; `info["illegal_actions"]`.
Reward: 1 / Q for each question that is left with a right answer, when it is left; the return is 1 - the objective.
Observation: float32 in [0, 1]: of each model [has run on this question, quantile of its answer's length among the
training questions (0 before), affordable]; of all [spent share, questions left over Q, budget left for each question
left over twice the mean one].
Termination: when all questions are left.

A design is the policy's parameters: the models of the first, second and third step, the quantiles of length above which
the cascade goes on, and whether it keeps back enough for one run of the first model on each question that is left.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.reasoning.luck import uniform
from ...costmodels.reasoning.outcomes import gsm8k_models
from ...costmodels.reasoning.scores import cost_of_pass
from ...costmodels.reasoning.splits import split_indices
from ..core.functional import ONE_SHOT_FORMS
from ..core.policies import HELD_OUT, SEARCH, PolicyEnv, policy_cost, policy_diagram, seeds_of
from ..core.problem import Objective, Problem, Sweep, Yardstick, one_shot_problem
from ..core.spaces import DesignSpace, Parameter
from .policy_diagrams import draw_cascade

__all__ = ["LADDER", "Cascade", "Metrics", "Params", "best_known_correctness", "build_cascade"]

QUESTIONS = 32  # Q
EPISODES = 64
CHARACTERS_PER_TOKEN = 4
# Models by their names in the table, with as many billion parameters as these say; ascending.
LADDER = (
    "gemma-2-2b-it",
    "Meta-Llama-3.1-8B-Instruct",
    "gemma-2-9b-it",
    "gemma-2-27b-it@together",
    "Meta-Llama-3.1-70B-Instruct",
    "Llama-3.1-405B-Inst@sambanova",
)
NAMES = ("2B", "8B", "9B", "27B", "70B", "405B")
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
OBJECTIVE = Objective("failure", "fraction", "1 - accuracy: questions of a batch whose last answer is wrong or missing")
REFERENCE = "largest_that_fits"
NOTES = (
    "Answers and lengths are recorded (ZeroEval, greedy decoding), re-scored by numeric equality: 1.2 points above the "
    "official table for the 2B model, within 0.4 points of it for the others.",
    "Costs are 2 x parameters x tokens with a token for 4 characters; parameters as the models' names say. No prompt, "
    "no attention, no key-value reads.",
)


class Metrics(NamedTuple):
    """Of a batch; float32 scalars."""

    accuracy: Any
    cost_tflop: Any  # a question
    runs_per_question: Any


class Params(NamedTuple):
    """An instance. M models, P questions of the pool, padded."""

    seeds: Any  # uint32[E]
    there: Any  # bool[P], questions of the split
    right: Any  # bool[M, P]
    cost_tera: Any  # float32[M, P], of an answer
    quantile: Any  # float32[M, P], of its length among the training questions
    mean_tera: Any  # float32[M], mean cost on the training questions
    budget_tera: Any  # float32, a question


class State(NamedTuple):
    """Where a batch stands."""

    chosen: Any  # int32[Q], places of the questions in the pool
    at: Any  # int32, the question that is asked; Q at the end
    ran: Any  # bool[M], on this question
    last: Any  # bool, whether the last answer is right
    spent: Any  # float32, TFLOP
    solved: Any  # float32
    runs: Any  # float32
    illegal: Any  # int32


class Cascade(PolicyEnv):
    """Run by run; see the module's docstring."""

    def __init__(self, reference: float = float("nan")):
        super().__init__()
        self.reference = reference
        self.horizon = QUESTIONS * (len(LADDER) + 1)
        self.action_space = gymnasium.spaces.Discrete(len(LADDER) + 1)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (3 * len(LADDER) + 3,), np.float32)

    def initial(self, rng: Any, params: Any = None) -> State:
        """A batch of the pool, nothing run."""
        there = jnp.asarray(params.there)
        luck = uniform(jax.random.bits(rng), jnp.arange(len(there)))
        _, chosen = jax.lax.top_k(jnp.where(there, luck, -1.0), QUESTIONS)
        zero, none = jnp.float32(0), jnp.zeros(len(LADDER), bool)
        return State(chosen, jnp.int32(0), none, jnp.bool_(False), zero, zero, zero, jnp.int32(0))

    def _here(self, table: Any, state: State) -> jax.Array:
        """A table's column of the question that is asked, [M]."""
        return jnp.asarray(table)[:, state.chosen[jnp.minimum(state.at, QUESTIONS - 1)]]

    def _budget(self, params: Params) -> Any:
        return params.budget_tera * QUESTIONS

    def runnable(self, state: State, params: Params) -> jax.Array:
        """bool[M]: models that have not answered this question and whose mean cost is affordable."""
        fits = state.spent + jnp.asarray(params.mean_tera) <= self._budget(params) * (1 + 1e-6)
        return ~state.ran & fits & (state.at < QUESTIONS)

    def transition(self, state: State, action: Any, rng: Any, params: Any = None) -> State:
        """Runs a model, or leaves the question."""
        del rng
        action = jnp.asarray(action, jnp.int32)
        runnable = self.runnable(state, params)
        one = (jnp.arange(len(LADDER)) == action - 1) & runnable
        runs = jnp.any(one)
        price = jnp.sum(jnp.where(one, self._here(params.cost_tera, state), 0.0))
        left = jnp.maximum(self._budget(params) - state.spent, 0.0)
        right = jnp.any(one & self._here(params.right, state)) & (price <= left * (1 + 1e-6))
        return State(
            chosen=state.chosen,
            at=state.at + (~runs & (state.at < QUESTIONS)),
            ran=jnp.where(runs, state.ran | one, jnp.zeros_like(one)),
            last=jnp.where(runs, right, False),
            spent=state.spent + jnp.minimum(price, left),
            solved=state.solved + jnp.where(runs, 0.0, state.last.astype(jnp.float32)),
            runs=state.runs + runs,
            illegal=state.illegal + (~runs & (action != 0)),
        )

    def terminal(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """Whether all questions are left."""
        del rng, params
        return state.at >= QUESTIONS

    def reward(self, state: State, action: Any, next_state: State, rng: Any, params: Any = None) -> Any:
        """float32: 1 / Q when a question is left with a right answer."""
        del action, rng, params
        return (next_state.solved - state.solved) / QUESTIONS

    def action_mask(self, state: State, params: Any = None) -> jax.Array:
        """bool[M + 1]: moving on, and the models that can run."""
        return jnp.concatenate([jnp.ones(1, bool), self.runnable(state, params)])

    def observation(self, state: State, rng: Any, params: Any = None) -> jax.Array:
        """float32[3 M + 3]; see the module's docstring."""
        del rng
        length = jnp.where(state.ran, self._here(params.quantile, state), 0.0)
        left, budget = QUESTIONS - state.at, self._budget(params)
        rest = (budget - state.spent) / jnp.maximum(left, 1) / (2 * params.budget_tera)
        of_all = jnp.stack([state.spent / budget, left / QUESTIONS, rest])
        rows = [state.ran.astype(jnp.float32), length, self.runnable(state, params).astype(jnp.float32), of_all]
        return jnp.clip(jnp.concatenate(rows), 0.0, 1.0).astype(jnp.float32)

    def decide(self, design: Any, state: State, params: Any = None) -> jax.Array:
        """The cascade of a design, int32[6]: the first model of its three that has not run, while answers are long.

        A model that cannot run, or that two steps name, is passed over; where none of the three can run on a fresh
        question, the cheapest one that can does.
        """
        places, limits = jnp.arange(len(LADDER)), jnp.asarray(_QUANTILES, jnp.float32)
        runnable, length = self.runnable(state, params), self._here(params.quantile, state)
        steps = design[jnp.array([0, 2, 4])]
        limit = limits[design[jnp.array([1, 3])]]
        fresh = ~jnp.any(state.ran)
        left = QUESTIONS - state.at - 1
        keep = jnp.where(design[5] == 1, left * jnp.asarray(params.mean_tera)[steps[0]], 0.0)
        afford = runnable & (state.spent + jnp.asarray(params.mean_tera) + keep <= self._budget(params) * (1 + 1e-6))
        ran, able = state.ran[steps], (afford[steps] & ~fresh) | (runnable[steps] & fresh)
        long = jnp.array([True, True, True])
        long = long.at[1].set((length[steps[0]] >= limit[0]) & (limit[0] < 1) | ~ran[0])
        long = long.at[2].set((length[steps[1]] >= limit[1]) & (limit[1] < 1) & ran[1] | ~(ran[0] | ran[1]))
        open_ = able & ~ran & long
        third_first = jnp.argmax(open_)
        cheapest = jnp.argmax(runnable)  # the ladder ascends
        chosen = jnp.where(jnp.any(open_), places[steps[third_first]] + 1, jnp.where(fresh, cheapest + 1, 0))
        return jnp.where(jnp.any(runnable), chosen, 0).astype(jnp.int32)

    def metrics(self, state: State, params: Any = None) -> Metrics:
        """Of a finished batch."""
        del params
        return Metrics(state.solved / QUESTIONS, state.spent / QUESTIONS, state.runs / QUESTIONS)

    def drawing(self, states: Sequence[Any], actions: Sequence[Any], params: Any) -> Diagram:
        """Where the budget went; see `policy_diagrams.py`."""
        del actions
        return draw_cascade(states, budget=float(self._budget(params)), models=NAMES)

    def objective(self, metrics: Metrics) -> jax.Array:
        """float32: 1 - accuracy."""
        return 1.0 - metrics.accuracy

    def transition_info(self, state: Any, action: Any, next_state: Any, params: Any = None) -> dict:
        """As of every policy family, and `illegal_actions`."""
        info = super().transition_info(state, action, next_state, params)
        return {**info, "illegal_actions": next_state.illegal}


@functools.cache
def _cost_function() -> Callable[[Any, Any], Any]:
    return policy_cost(Cascade())


def best_known_correctness(right: np.ndarray, cost: np.ndarray, budget: float) -> np.ndarray:
    """float64[E]: the largest share of each batch that can be answered right within a budget: proven.

    Who knows which answers are right runs the cheapest right model of each question, cheapest questions first.

    Args:
        right: bool[M, E, Q].
        cost: float64[M, E, Q].
        budget: of a batch, in the unit of cost.
    """
    cheapest = np.sort(np.where(right, cost, np.inf).min(0), axis=1)
    return (np.cumsum(cheapest, axis=1) <= budget * (1 + 1e-5)).mean(1)


def _params(split: str, seeds: np.ndarray, budget: float) -> Params:
    table = gsm8k_models()
    places = [table.names.index(name) for name in LADDER]
    assert table.characters is not None
    characters, billions = table.characters[places], table.parameters_billion[places]
    questions = range(characters.shape[1])
    train = split_indices("gsm8k", questions, "train")
    mine = split_indices("gsm8k", questions, split)
    tokens = characters / CHARACTERS_PER_TOKEN
    cost = 2 * billions[:, None] * 1e9 * tokens * 1e-12
    quantile = np.stack([np.searchsorted(np.sort(row[train]), row, side="left") / len(train) for row in characters])
    return Params(
        seeds=seeds,
        there=np.isin(np.arange(characters.shape[1]), mine),
        right=table.correct[places],
        cost_tera=cost.astype(np.float32),
        quantile=quantile.astype(np.float32),
        mean_tera=cost[:, train].mean(1).astype(np.float32),
        budget_tera=np.float32(budget),
    )


@functools.cache
def _chosen_function() -> Callable[[Params], jax.Array]:
    env = Cascade()
    return jax.jit(
        lambda params: jax.vmap(lambda seed: env.initial(jax.random.fold_in(jax.random.key(seed), 0), params).chosen)(
            params.seeds
        )
    )


def _oracle(params: Params) -> np.ndarray:
    chosen = np.asarray(_chosen_function()(params))
    cost = np.asarray(params.cost_tera, np.float64)[:, chosen]
    return best_known_correctness(params.right[:, chosen], cost, float(params.budget_tera) * QUESTIONS)


def _design(first: str, first_limit: float, second: str, second_limit: float, third: str, reserve: str) -> tuple:
    values = (first, first_limit, second, second_limit, third, reserve)
    return tuple(int(index) for index in SPACE.encode(dict(zip(SPACE.names, values, strict=True))))


def _baselines(params: Params) -> dict[str, tuple[int, ...]]:
    fits = [name for name, mean in zip(NAMES, params.mean_tera, strict=True) if mean <= params.budget_tera]
    largest = fits[-1] if fits else NAMES[0]
    return {
        REFERENCE: _design(largest, 1.0, largest, 1.0, largest, "no"),
        **{f"only_{name}": _design(name, 1.0, name, 1.0, name, "no") for name in NAMES},
        "cascade": _design("9B", 0.7, "70B", 1.0, "70B", "yes"),
        "small_cascade": _design("2B", 0.5, "9B", 0.8, "27B", "yes"),
        "cascade_to_the_largest": _design("9B", 0.7, "70B", 0.8, "405B", "yes"),
        "escalate_once": _design("9B", 0.8, "405B", 1.0, "405B", "yes"),
    }


def build_cascade(scenario_id: str, options: Mapping[str, str], budget: float, sweep: Callable[..., Sweep]) -> Problem:
    """The problem of a budget, TFLOP a question."""
    params = _params("train", seeds_of(SEARCH, EPISODES), budget)
    held_out = _params("test", seeds_of(HELD_OUT, EPISODES), budget)
    baselines = _baselines(params)
    return one_shot_problem(
        scenario=scenario_id,
        options=dict(options),
        space=SPACE,
        objective=OBJECTIVE,
        cost=_cost_function(),
        params=params,
        held_out_params=held_out,
        reference=(
            REFERENCE,
            SPACE.decode(baselines[REFERENCE]),
            "the largest model whose mean cost is within the budget of a question, for every question",
        ),
        bound=Yardstick(
            "bound", 1 - float(_oracle(held_out).mean()), "the cheapest right answer of each question, cheapest first"
        ),
        forms={"decisions": lambda problem: Cascade(problem.reference.value), **ONE_SHOT_FORMS},
        breakdown=functools.partial(_break_down, params, held_out),
        baselines={name: functools.partial(tuple, design) for name, design in baselines.items()},
        diagram=policy_diagram(Cascade(), params),
        batch_sizes=(1, 32),
        notes=NOTES,
        sweep=sweep(
            x_label="budget (TFLOP a question)",
            y_label="accuracy (fraction of questions answered right)",
            baselines=("only_9B", "cascade"),
        ),
    )


def _break_down(params: Params, held_out: Params, values: Mapping[str, Any]) -> Breakdown:
    """A design's accuracy and cost beside the oracle's."""
    design = SPACE.encode(values)
    rows: list[Mapping[str, Any]] = []
    totals: dict[str, float] = {}
    for name, where in (("search", params), ("held-out", held_out)):
        metrics = jax.tree.map(float, _jitted_cost()(design, where).metrics)
        totals |= {f"{name}_{key}": value for key, value in metrics._asdict().items()}
        totals[f"{name}_oracle_accuracy"] = float(_oracle(where).mean())
        totals[f"{name}_cost_of_pass_tflop"] = float(cost_of_pass(metrics.cost_tflop, metrics.accuracy))
        for model, mine in zip(NAMES, range(len(LADDER)), strict=True):
            pool = np.flatnonzero(where.there)
            rows.append(
                {
                    "questions": name,
                    "model": model,
                    "accuracy alone": float(where.right[mine, pool].mean()),
                    "TFLOP alone": float(where.cost_tera[mine, pool].mean()),
                }
            )
    return Breakdown(totals, rows, NOTES)


@functools.cache
def _jitted_cost() -> Callable[..., Any]:
    return jax.jit(_cost_function())


def facts() -> Sequence[Mapping[str, object]]:
    """The ladder, for `dsegym info`."""
    table = gsm8k_models()
    found = []
    for name, short in zip(LADDER, NAMES, strict=True):
        place = table.names.index(name)
        assert table.characters is not None
        found.append(
            {
                "model": short,
                "name": name,
                "accuracy": round(float(table.correct[place].mean()), 3),
                "mean tokens": round(float(table.characters[place].mean()) / CHARACTERS_PER_TOKEN, 1),
            }
        )
    return found
