"""dsegym/AcceleratorSizing-v0: size a systolic-array accelerator for a network under an area budget.

| parameter | values |
|---|---|
| rows, columns | 4 to 256 processing elements |
| ifmap_buffer, filter_buffer, ofmap_buffer | 8 to 2048 KiB |
| dram_width | 2 to 256 operand words a cycle |
| dataflow | ws, os, is: weight, output, input stationary |

2,519,424 designs. Cost model: `costmodels/accelerator/model.py`. Objectives (all minimised): `latency`, `energy`,
`edp` (their product) and `target` (`costmodels/accelerator/sizing.py`). A design whose area is over the budget is not
feasible; its objective is `INFEASIBLE_FACTOR` times the reference's, and more the larger the excess.

Observation, action and reward of the forms: `core/one_shot.py`. `form="contextual"` is the sequential one, whose
observation also says what the network is like, the area budget and the objective: for policies that carry over.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/AcceleratorSizing-v0", workload="resnet18", objective="edp", area_budget="small")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> terminated, sorted(info)
    (True, ['design', 'feasible', 'objective'])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels import tables
from ...costmodels.accelerator import bounds, breakdown, experts, model, picture, relaxation
from ...costmodels.accelerator.platforms import PLATFORMS, Platform, get_platform, platform_rows, technology_rows
from ...costmodels.accelerator.sizing import (
    AREA_BUDGETS_MM2,
    BUDGETS_TEXT,
    BUFFER_KIB,
    DRAM_WORDS,
    MOST_AREA_MM2,
    OBJECTIVES,
    VALUES,
    Params,
    Tally,
    area_text,
    least_area_mm2,
    objective_values,
    params_of,
    parse_area_mm2,
    penalty,
    reference_scale,
    reference_values,
    with_rows,
)
from ...costmodels.accelerator.summary import QUANTILES, SUMMARY, summary_of
from ...costmodels.accelerator.workloads import Workload, get_workload, workload_names, workload_rows
from ...costmodels.arrays import Array
from ...costmodels.diagram import Diagram
from ...costmodels.errors import InvalidOptionError
from ...costmodels.files import is_path
from ..core import own_bounds
from ..core.evaluation import Evaluation, Expert, Objective, Yardstick
from ..core.features import Feature
from ..core.functional import FunctionalEnv
from ..core.one_shot import (
    ContextualEnv,
    OneShotParams,
    OneShotState,
    ParametricEnv,
    SequentialEnv,
    one_shot_problem,
)
from ..core.options import Options, choice, custom, file_or_name, options_of, texts
from ..core.problem import Problem
from ..core.ranking import best_of_all
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "SPACE", "SizingOptions"]

_DIMENSIONS = {  # unit, and what it is
    "rows": ("processing elements", "rows of the array"),
    "columns": ("processing elements", "columns of the array"),
    "ifmap_buffer": ("KiB", "double-buffered input buffer"),
    "filter_buffer": ("KiB", "double-buffered weight buffer"),
    "ofmap_buffer": ("KiB", "double-buffered partial-sum and output buffer"),
    "dram_width": ("words/cycle", "off-chip bandwidth"),
    "dataflow": ("", "weight, output or input stationary"),
}
SPACE = DesignSpace(
    tuple(
        Parameter(name, VALUES[name], unit, ordered=name != "dataflow", summary=summary)
        for name, (unit, summary) in _DIMENSIONS.items()
    )
)
_RELAXED_PENALTY = 10.0  # of the log excess area in the relaxation: steeper than any gain from more area
OPTIMA = "accelerator/optima.csv"
_AREA_SCALE = 6  # of the logarithm of the area budget in observations
_CHUNK = 4096  # designs, of the exhaustive enumeration


@dataclass(frozen=True)
class SizingOptions(Options):
    """What tells instances apart."""

    workload: str = file_or_name(
        "resnet50",
        workload_names,
        is_path,
        "the path of a table of layers or a SCALE-Sim topology (docs/files.md)",
        "a shipped network, or the path of a table of layers",
        reads="workload",
    )
    objective: str = choice("latency", tuple(OBJECTIVES), "what to minimise")
    area_budget: float = custom(
        AREA_BUDGETS_MM2["medium"],
        tuple(AREA_BUDGETS_MM2.values()),
        parse=parse_area_mm2,
        also=f"any number of mm2 above 0, to {MOST_AREA_MM2} ({BUDGETS_TEXT})",
        text=area_text,
        summary="the constraint on area",
    )
    platform: str = choice("gemmini", tuple(PLATFORMS), "technology and memory conventions")


def _hardware(design: Array) -> model.Hardware:
    return model.Hardware(*SPACE.values(design).values())


@functools.cache
def _cost_function(platform: Platform) -> Callable[[Any, Params], Evaluation]:
    """One object for all instances of a platform."""

    def cost(design: Array, params: Params) -> Evaluation:
        metrics = model.evaluate(_hardware(design), params.layers, platform)
        excess = metrics.area_mm2 / params.area_budget_mm2 - 1.0
        feasible = excess <= 0.0
        value = objective_values(metrics, params.targets)[params.objective]
        return Evaluation(metrics, jnp.where(feasible, value, penalty(excess, params)), feasible, excess, value)

    return cost


@functools.cache
def _relaxation_function(platform: Platform) -> Callable[[Sequence[Any], Params], Array]:
    def relaxed(weights: Sequence[Any], params: Params) -> Array:
        sizes = [
            jnp.exp(jnp.dot(w, np.log(p.values))) for w, p in zip(weights[:-1], SPACE.parameters[:-1], strict=True)
        ]
        hardware = model.Hardware(*sizes, dataflow=None)
        logs = []
        for dataflow in range(len(model.DATAFLOWS)):
            metrics = relaxation.evaluate(hardware, dataflow, params.layers, platform)
            excess = jnp.maximum(jnp.log(metrics.area_mm2 / params.area_budget_mm2), 0.0)
            value = objective_values(metrics, params.targets)[params.objective]
            logs.append(jnp.log(value) + _RELAXED_PENALTY * excess)
        return jnp.dot(weights[-1], jnp.stack(logs))

    return relaxed


@functools.cache
def stored_optima() -> Mapping[tuple[str, ...], Mapping[str, str]]:
    """{values of the options: row} of the stored table."""
    return {tuple(row[name] for name in SCENARIO.options): row for row in tables.package_rows(OPTIMA)}


def _optimum_of(row: Mapping[str, str]) -> tuple[float, tuple[int, ...]]:
    return float(row["value"]), tuple(SPACE.encode({name: row[name] for name in SPACE.names}).tolist())


def _bound(problem: Problem) -> Yardstick:
    """The stored optimum where there is one, or the one kept beside the user's network; else a quick lower bound."""
    options, params = problem.instance, problem.params
    assert isinstance(options, SizingOptions)
    stored = stored_optima().get(tuple(problem.options.values()))
    if stored is not None:
        value, design = _optimum_of(stored)
        return Yardstick("optimum", value, "exhaustive enumeration: dsegym bound --store", design)
    kept = own_bounds.kept_row(problem)
    if kept is not None:
        value, design = own_bounds.parsed(problem, lambda: _optimum_of(kept))
        own_bounds.require_value(problem, design, value)
        return Yardstick("optimum", value, f"exhaustive enumeration: {own_bounds.KEPT}", design)
    limits = bounds.lower_bounds(
        get_workload(options.workload),
        get_platform(options.platform),
        area_budget_mm2=options.area_budget,
        words_per_cycle=max(DRAM_WORDS),
        smallest=dict.fromkeys(("ifmap_kib", "filter_kib", "ofmap_kib"), min(BUFFER_KIB)),
    )
    value = float(OBJECTIVES[options.objective].value(limits, params.targets))
    source = "compulsory work and traffic; run `dsegym bound` for the exact optimum"
    return Yardstick("bound", value, source, remedy="finds the optimum")


def _params(options: SizingOptions) -> Params:
    least = least_area_mm2(get_platform(options.platform))
    if options.area_budget < least:
        allowed = f"{least:g} to {MOST_AREA_MM2} mm2, as smaller budgets hold no reference ({BUDGETS_TEXT})"
        raise InvalidOptionError("area_budget", options.area_budget, [allowed])
    return params_of(
        get_workload(options.workload).distinct,
        objective=options.objective,
        area_budget_mm2=options.area_budget,
        platform=get_platform(options.platform),
    )


class _OfLayers(FunctionalEnv[OneShotState, OneShotParams]):
    """Forms whose instances have layers: larger networks have more."""

    def sizes(self, params: OneShotParams) -> Mapping[str, int]:
        """The distinct products."""
        return {"layers": len(params.given.layers.m)}

    def padded(self, params: OneShotParams, sizes: Mapping[str, int]) -> tuple[_OfLayers, OneShotParams]:
        """More rows, which occur zero times: sums are exact, so that they change no bit."""
        return self, params._replace(given=with_rows(params.given, sizes["layers"]))


class SizingParametric(_OfLayers, ParametricEnv):
    """Every dimension at once."""


class SizingSequential(_OfLayers, SequentialEnv):
    """One dimension after another."""


class SizingContextual(_OfLayers, ContextualEnv):
    """One dimension after another, with what the instance is like in every observation."""

    context_features = (
        *(
            Feature(name, (len(QUANTILES),) if meaning.startswith("quantiles") else (), -2.0, 2.0, meaning)
            for name, meaning in SUMMARY.items()
        ),
        Feature("area_budget", (), -2.0, 2.0, f"log2 of mm2 over {_AREA_SCALE}"),
        Feature("objective", (len(OBJECTIVES),), meaning=f"1 for the one of {', '.join(OBJECTIVES)} that is minimised"),
    )

    def context(self, problem: Problem) -> Mapping[str, Any]:
        """See `context_features`."""
        params: Params = problem.params
        return {
            **summary_of(params.layers),
            "area_budget": np.log2(params.area_budget_mm2) / _AREA_SCALE,
            "objective": np.arange(len(OBJECTIVES)) == params.objective,
        }


def _experts(options: SizingOptions) -> Sequence[Expert]:
    workload, platform = get_workload(options.workload), get_platform(options.platform)
    found = []
    for row in experts.expert_rows():
        sizes = experts.sizes_of(row, workload, platform)
        costs = experts.costs_of(sizes, workload, platform)
        found.append(Expert(row["expert"], costs, sizes, experts.told_of(row, costs, options.area_budget)))
    return found


def _diagram(workload: Workload, platform: Platform, design: np.ndarray) -> Diagram:
    return picture.draw(workload, platform, SPACE.decode(design))


def build(options: SizingOptions) -> Problem:
    """An instance.

    Raises:
        InvalidOptionError: the area budget holds no reference.
    """
    platform, goal = get_platform(options.platform), OBJECTIVES[options.objective]
    params = _params(options)
    problem = one_shot_problem(
        options=options,
        space=SPACE,
        objective=Objective(options.objective, goal.unit, goal.summary),
        cost=_cost_function(platform),
        params=params,
        reference=(
            f"gemmini-x{reference_scale(options.area_budget, platform):g}",
            reference_values(options.area_budget, platform),
            "Gemmini's default design (as in DOSA), every dimension scaled to the budget",
        ),
        bound=_bound,
        breakdown=functools.partial(breakdown.break_down, get_workload(options.workload), platform),
        relaxation=_relaxation_function(platform),
        diagram=functools.partial(_diagram, get_workload(options.workload), platform),
        forms={
            "parametric": SizingParametric.of,
            "sequential": SizingSequential.of,
            "contextual": SizingContextual.of,
        },
        notes=breakdown.NOTES,
        front=experts.FRONT,
        experts=functools.partial(_experts, options),
    )
    return replace(problem, ranked=functools.partial(best_of_all, problem))


def _core() -> Sequence[Mapping[str, object]]:
    return [
        {"workload": workload, "objective": objective, "area_budget": budget}
        for workload in workload_names()
        for objective in OBJECTIVES
        for budget in AREA_BUDGETS_MM2
    ]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    platform = get_platform(options_of(SizingOptions)["platform"].default)
    budgets = [
        {"area budget": f"{name} ({budget:g} mm2)", "reference": f"gemmini-x{reference_scale(budget, platform):g}"}
        | {parameter.name: parameter.text(reference[parameter.name]) for parameter in SPACE.parameters}
        for name, budget in AREA_BUDGETS_MM2.items()
        for reference in [reference_values(budget, platform)]
    ]
    return (
        ("Area budgets and references", budgets),
        ("Workloads", workload_rows()),
        ("Platforms", platform_rows()),
        ("Technology constants", technology_rows()),
        ("Experts' machines, drawn beside fronts", experts.expert_rows()),
    )


@functools.partial(jax.jit, static_argnums=2)
def _every_objective(designs: Array, params: Params, platform: Platform) -> tuple[Array, Array]:
    """float32[B, 4], every objective, and bool[B], feasible, of designs int32[B, 7]."""

    def of_one(design: Array) -> tuple[Array, Array]:
        metrics = model.evaluate(_hardware(design), params.layers, platform)
        # As `_cost_function` has it, so that both agree on a design that is as large as its budget.
        return objective_values(metrics, params.targets), metrics.area_mm2 / params.area_budget_mm2 - 1.0 <= 0.0

    return jax.vmap(of_one)(designs)


def _bounds(options: SizingOptions, progress: Callable[[int, int], None]) -> Sequence[Mapping[str, object]]:
    """Exact optima by exhaustive enumeration of the space for one workload and platform: every objective and budget.

    Returns:
        One row per objective, and per named budget and the one asked for: the instance, the optimal value, the design,
        how many feasible designs there are, how many of them reach the optimum, and the worst feasible value over the
        reference's.
    """
    budgets = dict.fromkeys((*AREA_BUDGETS_MM2.values(), options.area_budget))
    instances = [replace(options, area_budget=budget, objective=goal) for budget in budgets for goal in OBJECTIVES]
    params, tallies = [_params(each) for each in instances], [Tally() for _ in instances]
    for start in range(0, SPACE.size, _CHUNK):
        designs = SPACE.enumerate(start, start + _CHUNK)
        for first in range(0, len(instances), len(OBJECTIVES)):  # the instances of a budget share their costs
            costs = _every_objective(designs, params[first], get_platform(options.platform))
            values, feasible = (np.asarray(each) for each in costs)
            for column, tally in enumerate(tallies[first : first + len(OBJECTIVES)]):
                tally.add(start, values[:, column].astype(np.float64), feasible)
        progress(min(start + _CHUNK, SPACE.size), SPACE.size)
    return [
        {
            **texts(instance),
            "value": float(best.value),
            "unit": OBJECTIVES[instance.objective].unit,
            "kind": "optimum",
            **SPACE.decode(SPACE.enumerate(best.number, best.number + 1)[0]),
            "optimal_designs": best.ties,
            "feasible_designs": best.feasible,
            "worst_over_reference": float(f"{best.worst / float(values_of.reference_value):.4g}"),
        }
        for instance, values_of, best in zip(instances, params, (tally.found for tally in tallies), strict=True)
    ]


SCENARIO = Scenario(
    summary="Size a systolic-array accelerator (array, buffers, DRAM, dataflow) for a network under an area budget.",
    options_type=SizingOptions,
    build=build,
    core=_core,
    facts=_facts,
    bounds=_bounds,
    stored_bounds=f"costmodels/{OPTIMA}",
)
