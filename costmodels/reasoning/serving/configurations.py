"""Every configuration of a service, costed once: a design is one of them for each class of difficulty.

A configuration is a model, the most tokens of a trial, trials, and an attention; what it solves and costs: `model.py`.
C configurations, levels classes of difficulty of equal size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...transformers.kinetics import ATTENTIONS, Attention, Hardware
from .model import TOKENS, TRIALS, Served, Task, attention_arrays, load_task, serve

__all__ = [
    "RULES",
    "SLACK",
    "Configurations",
    "Metrics",
    "Params",
    "best",
    "configurations_of",
    "flop_optimal",
    "parts",
    "served",
]

SLACK = 1e-6  # share of the budget, for rounding


class Metrics(NamedTuple):
    """Means over questions. Scalars, float32."""

    coverage: Array
    cost_teflop: Array  # key-value reads included
    cost_tflop: Array  # arithmetic alone
    time_s: Array  # eFLOPs over the hardware's peak
    kv_share: Array  # cache reads' share of eFLOPs
    tokens: Array


class Params(NamedTuple):
    """An instance. Scalars float32."""

    table: Array  # float32[levels * C, 5]: `_COLUMNS` of every configuration for every class of difficulty
    law: Array  # 1: the budget counts eFLOPs; 0: FLOPs
    peak_tera: Array  # TFLOP/s
    budget_tera: Array  # a question


_COLUMNS = ("coverage", "cost_teflop", "cost_tflop", "kv_tera", "tokens")
_PER_MODEL = len(TOKENS) * len(TRIALS) * len(ATTENTIONS)


class Configurations(NamedTuple):
    """Every configuration for every class of difficulty."""

    indices: np.ndarray  # int32[C, 4], places among models, TOKENS, TRIALS and ATTENTIONS
    coverage: np.ndarray  # float64[C, levels]
    cost_teflop: np.ndarray  # float64[C, levels]
    cost_tflop: np.ndarray  # float64[C, levels]
    rows: np.ndarray  # float32[levels * C, 5], as in `Params`


@functools.partial(jax.jit, static_argnums=0)
def _served(levels: int, indices: Array, task: Task, attention: Attention, intensity: Array) -> Served:
    """Leaves [C, levels] of configurations int32[C, 4]."""

    def one(index: Array, theta: Array) -> Served:
        return serve(
            task,
            theta,
            model=index[0],
            tokens=jnp.asarray(TOKENS, jnp.float32)[index[1]],
            trials=jnp.asarray(TRIALS, jnp.float32)[index[2]],
            attention=Attention(*(jnp.asarray(leaf)[index[3]] for leaf in attention)),
            intensity=intensity,
        )

    classes = jnp.asarray(task.theta).reshape(levels, -1)
    return jax.vmap(lambda index: jax.vmap(lambda theta: one(index, theta))(classes))(jnp.asarray(indices))


def configurations_of(task_name: str, machine: Hardware, levels: int) -> Configurations:
    """All configurations of a task's models on given hardware."""
    _, task = load_task(task_name)
    shape = (len(task.ability), len(TOKENS), len(TRIALS), len(ATTENTIONS))
    indices = np.stack(np.unravel_index(np.arange(math.prod(shape)), shape), axis=1).astype(np.int32)
    intensity = np.asarray(machine.intensity, np.float32)
    found = jax.tree.map(np.asarray, _served(levels, indices, task, attention_arrays(), intensity))
    columns = (found.coverage, found.eflop * 1e-12, found.flop * 1e-12, found.kv_share * found.eflop * 1e-12)
    rows = np.stack([*columns, found.tokens], axis=-1).astype(np.float32)  # [C, levels, 5]
    coverage, eflop, flop = (rows[..., column].astype(np.float64) for column in range(3))
    return Configurations(indices, coverage, eflop, flop, rows.swapaxes(0, 1).reshape(-1, len(_COLUMNS)))


def served(design: Array, params: Params) -> tuple[Metrics, Array]:
    """What a design does, and what it costs as the budget counts, TFLOP of a question; pure JAX.

    It looks configurations up: an outcome is a mean over many difficulties and lengths, too dear for every step.

    Args:
        design: int32[4 levels], model, tokens, trials and attention for each class of difficulty.
        params: of the instance.
    """
    table, levels = jnp.asarray(params.table), len(design) // 4
    model, tokens, trials, attention = jnp.asarray(design).reshape(levels, 4).T
    place = ((model * len(TOKENS) + tokens) * len(TRIALS) + trials) * len(ATTENTIONS) + attention
    rows = table[place + np.arange(levels) * (len(params.table) // levels)]
    coverage, eflop, flop, kv, spent_tokens = jnp.sum(rows, axis=0) / levels
    law = jnp.asarray(params.law)
    spent = law * eflop + (1 - law) * flop
    metrics = Metrics(
        coverage=coverage,
        cost_teflop=eflop,
        cost_tflop=flop,
        time_s=eflop / params.peak_tera,
        kv_share=kv / eflop,
        tokens=spent_tokens,
    )
    return metrics, spent


def parts(design: np.ndarray, params: Params) -> list[dict[str, float]]:
    """A design's coverage, costs and tokens, a row for each class of difficulty."""
    levels = len(design) // 4
    table, found = np.asarray(params.table).reshape(levels, -1, len(_COLUMNS)), []
    shape = (table.shape[1] // _PER_MODEL, len(TOKENS), len(TRIALS), len(ATTENTIONS))
    for level, index in enumerate(design.reshape(levels, 4)):
        row = table[level, np.ravel_multi_index(tuple(index), shape)]
        one: dict[str, float] = dict(zip(_COLUMNS, map(float, row), strict=True))
        one["kv_share"] = one.pop("kv_tera") / one["cost_teflop"]
        found.append({"class": level + 1, **one})
    return found


def best(table: Configurations, spent: np.ndarray, allowed: np.ndarray, budget: float) -> int:
    """The allowed configuration, one for all classes, with the most coverage within the budget; else the cheapest.

    Args:
        table: C configurations.
        spent: float64[C, levels], TFLOP of a question, as the budget counts them.
        allowed: bool[C].
        budget: TFLOP of a question.

    Returns:
        A place among the C.
    """
    spent = spent.mean(1)
    fits = allowed & (spent <= budget * (1 + SLACK))
    if not fits.any():
        return int(np.argmin(np.where(allowed, spent, np.inf)))
    return int(np.argmax(np.where(fits, table.coverage.mean(1), -1.0)))


def flop_optimal(table: Configurations, spent: np.ndarray, budget: float) -> int:
    """The largest plan that fits, among those that are best under the FLOP law: dense attention, for some budget.

    Arguments and result as of `best`.
    """
    dense = RULES["dense"](table.indices)
    flop, coverage = table.cost_tflop.mean(1), table.coverage.mean(1)
    order = np.lexsort((-coverage, flop))
    order = order[dense[order]]
    leading = np.maximum.accumulate(np.concatenate([[-1.0], coverage[order]]))
    front = order[coverage[order] > leading[:-1]]
    fits = front[spent.mean(1)[front] <= budget * (1 + SLACK)]
    return int(fits[-1]) if len(fits) else best(table, spent, dense, budget)


# Name: which configurations a rule considers, bool[C], of their indices int32[C, 4].
RULES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "best_of_all": lambda c: np.ones(len(c), bool),
    "dense": lambda c: _attention_is(c, "dense"),
    "block_top": lambda c: _attention_is(c, "block"),
    "long_thought": lambda c: np.array(TRIALS)[c[:, 2]] == 1,
    "best_of_n_short": lambda c: np.array(TOKENS)[c[:, 1]] <= 4096,
    "smallest_model": lambda c: c[:, 0] == 0,
    "largest_model": lambda c: c[:, 0] == c[:, 0].max(),
}


def _attention_is(indices: np.ndarray, kind: str) -> np.ndarray:
    names: Sequence[str] = list(ATTENTIONS)
    return np.char.startswith(np.array(names)[indices[:, 3]], kind)
