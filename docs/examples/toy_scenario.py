"""A complete scenario in one file of another package: choose a cache for a program under an area budget.

Synthetic: the laws and the constants are invented to show the interface. No simulator and no measurement stands behind
them, so no number from here means anything.

    >>> import dsegym
    >>> problem = dsegym.make_problem("toy_scenario:toy/CacheSizing-v0", program="graph")
    >>> problem.space.size
    420
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import dsegym
from dsegym.authoring import (
    DesignSpace,
    Evaluation,
    Objective,
    Options,
    Parameter,
    Problem,
    Scenario,
    choice,
    one_shot_problem,
)

# --- The cost model. In the package it would be `costmodels/cache/model.py`; it knows nothing of what follows. ---

REPLACEMENT = ("lru", "fifo", "random")
_EXTRA_MISSES = np.array([1.0, 1.1, 1.15], np.float32)  # by replacement policy, synthetic


class Program(NamedTuple):
    """How a program uses memory. Scalars, float32."""

    miss_rate: Any  # of a direct-mapped 64 KiB cache with 64-byte lines
    locality: Any  # 0: each access needs a line of its own; 1: all bytes of a line are used


class Metrics(NamedTuple):
    """What a cache costs. Scalars, float32."""

    access_time_ns: Any  # mean over all accesses
    miss_rate: Any
    area_mm2: Any


def evaluate(capacity_kib: Any, ways: Any, line_bytes: Any, replacement: Any, program: Program) -> Metrics:
    """Costs of one cache. Pure JAX; scalars in, scalars out."""
    conflicts = 0.7 + 0.3 / ways
    useful_lines = (64.0 / line_bytes) ** (2.0 * program.locality - 1.0)
    misses = program.miss_rate * jnp.sqrt(64.0 / capacity_kib) * conflicts * useful_lines
    miss_rate = jnp.minimum(misses * jnp.asarray(_EXTRA_MISSES)[replacement], 1.0)
    hit_ns = 0.3 + 0.05 * jnp.sqrt(capacity_kib) + 0.05 * ways
    miss_ns = 50.0 + line_bytes / 8.0
    area_mm2 = 0.01 * capacity_kib * (1.0 + 0.05 * ways) + 0.2 / line_bytes * capacity_kib
    return Metrics(hit_ns + miss_rate * miss_ns, miss_rate, area_mm2)


# --- The environment. In the package it would be `envs/cache/sizing.py`. ---

SPACE = DesignSpace(
    (
        Parameter("capacity", (8, 16, 32, 64, 128, 256, 512), "KiB"),
        Parameter("ways", (1, 2, 4, 8)),
        Parameter("line", (16, 32, 64, 128, 256), "B"),
        Parameter("replacement", REPLACEMENT, ordered=False),
    )
)
PROGRAMS = {"matrix": Program(np.float32(0.02), np.float32(0.9)), "graph": Program(np.float32(0.2), np.float32(0.3))}
AREA_BUDGETS_MM2 = {"small": 0.6, "large": 4.0}
INFEASIBLE_NS = 1e6  # above every feasible access time, so that "feasible" always wins


class Params(NamedTuple):
    """What tells instances apart. Traced, so that all instances share one compiled cost function."""

    program: Program
    area_budget_mm2: Any  # float32


def cost(design: Any, params: Params) -> Evaluation:
    """Costs of one design, int32[4]. A module-level function: the same object for every instance."""
    values = SPACE.values(design)  # {name: number}; of the replacement, whose values are names, the index
    metrics = evaluate(values["capacity"], values["ways"], values["line"], values["replacement"], params.program)
    # A difference before the quotient: compilers contract a quotient minus 1 in some batch sizes and not in others.
    excess = (metrics.area_mm2 - params.area_budget_mm2) / params.area_budget_mm2
    feasible = excess <= 0.0
    objective = jnp.where(feasible, metrics.access_time_ns, INFEASIBLE_NS * (1.0 + excess))
    return Evaluation(metrics, objective, feasible, violation=excess, unpenalised=metrics.access_time_ns)


@dataclass(frozen=True)
class CacheOptions(Options):
    """What tells instances apart: a field with its default, its values and one line for the user, each."""

    program: str = choice("matrix", tuple(PROGRAMS), "what runs")
    area_budget: str = choice("small", tuple(AREA_BUDGETS_MM2), "the constraint on area")


def build(options: CacheOptions) -> Problem:
    """Makes an instance of typed options. The space has 420 designs, so the optimum is enumerated."""
    return one_shot_problem(
        options=options,
        space=SPACE,
        objective=Objective("access_time", "ns", "mean time of one access"),
        cost=cost,
        params=Params(PROGRAMS[options.program], np.float32(AREA_BUDGETS_MM2[options.area_budget])),
        reference=(
            "direct-mapped-32k",
            {"capacity": 32, "ways": 1, "line": 64, "replacement": "lru"},
            "a plain small cache",
        ),
        notes=("Synthetic: laws and constants are invented.",),
    )


SCENARIO = Scenario(
    summary="Toy: choose a cache's geometry for a program under an area budget (synthetic).",
    options_type=CacheOptions,
    build=build,
)

dsegym.register("toy/CacheSizing-v0", "toy_scenario:SCENARIO")
