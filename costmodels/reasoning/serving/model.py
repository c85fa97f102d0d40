"""Serving reasoning models: what a configuration of model, tokens, trials and attention solves, and what it costs.

Costs are the Kinetics law's (`costmodels/transformers/kinetics.py`). The outcome model is a proposal of ours, synthetic
but for one anchor: with the most tokens, dense attention and one trial, each model reaches its published pass@1
(tables/pass_rates.csv).

    solve probability of a trial = sigmoid(a - theta) x Phi(ln(L / (l e^(theta/2))) / 0.6) x (1 - 0.02 sqrt(1024 / b))

theta ~ N(0, 2.5^2) is a question's difficulty, a the model's ability (calibrated), l the task's median length of a
solution at theta = 0, L the most tokens of a trial, b the attention's budget (dense: the last factor is 1). A trial
generates min(length, L) tokens. Coverage over N trials: 1 - (1 - p)^N, of one theta.

JAX, float32. T values of theta, of equal weight, hardest last; M models.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...errors import UnknownNameError
from ...tables import package_rows
from ...transformers.kinetics import ATTENTIONS, Attention, Model, cost, models

__all__ = [
    "PROMPT_TOKENS",
    "TASKS",
    "TOKENS",
    "TRIALS",
    "Served",
    "Task",
    "ability_rows",
    "load_task",
    "serve",
    "solve_probability",
]

TOKENS = (2048, 4096, 8192, 16384, 32768)
TRIALS = (1, 2, 4, 8, 16, 32)
PROMPT_TOKENS = 256
DIFFICULTIES = 60  # values of theta; 1, 3 and 5 divide it
DIFFICULTY_DEVIATION = 2.5
LENGTH_DEVIATION = 0.6  # standard deviation of the logarithm of a length
LENGTHS = 8  # quantiles of a solution's length that costs are averaged over
SPARSITY_LOSS = 0.02  # at a budget of 1024 tokens
MEDIAN_TOKENS = {"aime24": 6000.0, "aime25": 6000.0, "livecodebench": 4000.0}
TASKS = tuple(MEDIAN_TOKENS)


class Task(NamedTuple):
    """A distribution of questions and the models that answer them."""

    sizes: Model  # leaves float32[M]
    ability: Array  # float32[M]
    median_tokens: Array  # float32, l
    theta: Array  # float32[T], ascending


class Served(NamedTuple):
    """Means over questions; float32 scalars."""

    coverage: Array  # share of questions that at least one trial solves
    eflop: Array
    flop: Array
    kv_share: Array  # cache reads' share of eflop
    tokens: Array  # tokens of all trials


def _normal_quantiles(count: int) -> np.ndarray:
    from scipy.special import ndtri

    return ndtri((np.arange(count) + 0.5) / count)


def solve_probability(
    ability: Array, theta: Array, *, tokens: Array, median_tokens: Array, budget: Array | float
) -> jax.Array:
    """float32[...]: of one trial; arguments broadcast. `budget` is the attention's, 0 for dense."""
    finishes = jax.scipy.stats.norm.cdf(jnp.log(tokens / (median_tokens * jnp.exp(0.5 * theta))) / LENGTH_DEVIATION)
    loss = jnp.where(budget > 0, SPARSITY_LOSS * jnp.sqrt(1024.0 / jnp.maximum(budget, 1)), 0.0)
    return jax.nn.sigmoid(ability - theta) * finishes * (1 - loss)


@functools.cache
def load_task(name: str) -> tuple[tuple[str, ...], Task]:
    """The models' names, and the task, abilities calibrated.

    Raises:
        UnknownNameError: there is no such task.
    """
    table = {row["task"]: row for row in package_rows("reasoning/tables/pass_rates.csv")}
    if name not in table:
        raise UnknownNameError("task", name, table)
    known = {model: float(rate) / 100 for model, rate in table[name].items() if model != "task" and rate}
    theta = DIFFICULTY_DEVIATION * _normal_quantiles(DIFFICULTIES)
    median = MEDIAN_TOKENS[name]
    sizes = [models()[model] for model in known]
    return tuple(known), Task(
        sizes=Model(*(np.array(column, np.float32) for column in zip(*sizes, strict=True))),
        ability=np.array([_calibrate(rate, theta, median) for rate in known.values()], np.float32),
        median_tokens=np.asarray(median, np.float32),
        theta=theta.astype(np.float32),
    )


def _calibrate(rate: float, theta: np.ndarray, median: float) -> float:
    """The ability with which one trial of the most tokens solves a share `rate` of questions, by bisection."""
    from scipy.special import expit, ndtr

    finishes = ndtr(np.log(TOKENS[-1] / (median * np.exp(0.5 * theta))) / LENGTH_DEVIATION)
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        if float(np.mean(expit(middle - theta) * finishes)) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def serve(
    task: Task, theta: Array, *, model: Array, tokens: Array, trials: Array, attention: Attention, intensity: Array
) -> Served:
    """What one configuration does for questions of some difficulties.

    Args:
        task: models and lengths.
        theta: float32[t], difficulties of equal weight.
        model: int32, a place among the task's models.
        tokens, trials: float32, L and N.
        attention: float32 scalars.
        intensity: of the hardware, FLOP a byte.
    """
    sizes = Model(*(jnp.asarray(leaf)[model] for leaf in task.sizes))
    p = solve_probability(
        jnp.asarray(task.ability)[model],
        theta,
        tokens=tokens,
        median_tokens=task.median_tokens,
        budget=attention.budget,
    )
    spread = jnp.exp(LENGTH_DEVIATION * jnp.asarray(_normal_quantiles(LENGTHS), jnp.float32))
    length = jnp.minimum(task.median_tokens * jnp.exp(0.5 * theta)[:, None] * spread, tokens)  # [t, LENGTHS]
    spent = cost(sizes, attention, prompt=float(PROMPT_TOKENS), length=length, trials=trials)
    eflop = jnp.mean(spent.eflop(intensity))
    return Served(
        coverage=jnp.mean(-jnp.expm1(trials * jnp.log1p(-jnp.minimum(p, 1 - 1e-7)))),
        eflop=eflop,
        flop=jnp.mean(spent.flop()),
        kv_share=jnp.mean(intensity * spent.kv_bytes) / eflop,
        tokens=jnp.mean(length) * trials,
    )


def attention_arrays() -> Attention:
    """`ATTENTIONS` in order, leaves float32[A]."""
    return Attention(*(np.array(column, np.float32) for column in zip(*ATTENTIONS.values(), strict=True)))


def ability_rows() -> list[dict[str, object]]:
    """The calibrated abilities, a row for each task and model, for people."""
    return [
        {"task": task, "model": name, "ability": round(float(ability), 3)}
        for task, (names, found) in ((task, load_task(task)) for task in TASKS)
        for name, ability in zip(names, found.ability, strict=True)
    ]
