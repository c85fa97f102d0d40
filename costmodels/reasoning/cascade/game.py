"""A cascade of models as a game: run one on a question, see how long its answer is, keep it or run another; pure JAX.

The rules: docs/reasoning_cascade.md. Recorded: greedy answers of six open models to GSM8K's questions (ZeroEval), right
or wrong, and their lengths. A batch is Q = 32 questions that share a hard budget; an answer costs 2 x parameters x
tokens FLOP, tokens being a quarter of its characters. Each model answers a question once at most: recorded outcomes are
never drawn twice. M models, P questions of the pool, padded.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import uniform
from ..outcomes import gsm8k_models
from ..splits import split_indices, split_sizes

__all__ = [
    "LADDER",
    "NAMES",
    "QUESTIONS",
    "Metrics",
    "Params",
    "State",
    "action_mask",
    "advance",
    "budget_tera",
    "here",
    "ladder_rows",
    "metrics",
    "over",
    "params_of",
    "question_sizes",
    "runnable",
    "start",
]

QUESTIONS = 32  # Q
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


class Metrics(NamedTuple):
    """Costs of a batch, averaged over batches. Scalars, float32."""

    accuracy: Array
    cost_tflop: Array  # a question
    runs_per_question: Array


class Params(NamedTuple):
    """An instance."""

    seeds: Array  # uint32[E]
    there: Array  # bool[P], questions of the split
    right: Array  # bool[M, P]
    cost_tera: Array  # float32[M, P], FLOP of an answer
    quantile: Array  # float32[M, P], of its length among the training questions
    mean_tera: Array  # float32[M], mean cost on the training questions
    budget_tera: Array  # float32[], a question


class State(NamedTuple):
    """Where a batch stands. Scalars if not said otherwise."""

    chosen: Array  # int32[Q], places of the questions in the pool
    at: Array  # int32, the question that is asked; Q at the end
    ran: Array  # bool[M], on this question
    last: Array  # bool, whether the last answer is right
    spent: Array  # float32, TFLOP
    solved: Array  # float32, questions
    runs: Array  # float32
    illegal: Array  # int32, actions so far that were not legal


def question_sizes() -> dict[str, int]:
    """{split: GSM8K's questions in it}."""
    return split_sizes("gsm8k", range(gsm8k_models().correct.shape[1]))


def params_of(split: str, seeds: np.ndarray, budget_tflop: float) -> Params:
    """An instance.

    Args:
        split: whose questions are asked.
        seeds: uint32[E], of the batches.
        budget_tflop: of a question, on average.
    """
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
        budget_tera=np.asarray(budget_tflop, np.float32),
    )


def start(key: Array, params: Params) -> State:
    """A batch of the pool, nothing run."""
    there = jnp.asarray(params.there)
    luck = uniform(jax.random.bits(key), jnp.arange(len(there)))
    _, chosen = jax.lax.top_k(jnp.where(there, luck, -1.0), QUESTIONS)
    zero = jnp.float32(0)
    return State(
        chosen=chosen,
        at=jnp.int32(0),
        ran=jnp.zeros(len(LADDER), bool),
        last=jnp.bool_(False),
        spent=zero,
        solved=zero,
        runs=zero,
        illegal=jnp.int32(0),
    )


def here(table: Array, state: State) -> Array:
    """[M]: the column of a table [M, P] of the question that is asked."""
    return jnp.asarray(table)[:, state.chosen[jnp.minimum(state.at, QUESTIONS - 1)]]


def budget_tera(params: Params) -> Array:
    """float32, TFLOP: of a batch."""
    return jnp.asarray(params.budget_tera) * QUESTIONS


def runnable(state: State, params: Params) -> Array:
    """bool[M]: models that have not answered this question and whose mean cost is affordable."""
    fits = state.spent + jnp.asarray(params.mean_tera) <= budget_tera(params) * (1 + 1e-6)
    return ~state.ran & fits & (state.at < QUESTIONS)


def action_mask(state: State, params: Params) -> Array:
    """bool[M + 1]: moving on, and the models that can run."""
    return jnp.concatenate([jnp.ones(1, bool), runnable(state, params)])


def advance(state: State, action: Array, params: Params) -> State:
    """Runs a model, or leaves the question; what is not legal leaves it.

    An answer that costs more than what is left is cut off: it is wrong, and the budget is spent.
    """
    action = jnp.asarray(action, jnp.int32)
    one = (jnp.arange(len(LADDER)) == action - 1) & runnable(state, params)
    runs = jnp.any(one)
    price = jnp.sum(jnp.where(one, here(params.cost_tera, state), 0.0))
    left = jnp.maximum(budget_tera(params) - state.spent, 0.0)
    right = jnp.any(one & here(params.right, state)) & (price <= left * (1 + 1e-6))
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


def over(state: State, params: Params) -> Array:
    """Whether all questions are left."""
    del params
    return state.at >= QUESTIONS


def metrics(state: State, params: Params) -> Metrics:
    """Costs of a finished batch."""
    del params
    return Metrics(
        accuracy=state.solved / QUESTIONS,
        cost_tflop=state.spent / QUESTIONS,
        runs_per_question=state.runs / QUESTIONS,
    )


def ladder_rows() -> list[dict[str, object]]:
    """A row a model: its accuracy, tokens and cost on all questions."""
    table, found = gsm8k_models(), []
    assert table.characters is not None
    for name, short in zip(LADDER, NAMES, strict=True):
        place = table.names.index(name)
        tokens = float(table.characters[place].mean()) / CHARACTERS_PER_TOKEN
        found.append(
            {
                "model": short,
                "name": name,
                "accuracy": round(float(table.correct[place].mean()), 3),
                "mean tokens": round(tokens, 1),
                "mean cost (TFLOP)": round(2e-3 * float(table.parameters_billion[place]) * tokens, 2),
            }
        )
    return found
