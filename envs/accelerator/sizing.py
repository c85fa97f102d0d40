"""dsegym/AcceleratorSizing-v0: size a systolic-array accelerator for a network under an area budget.

| parameter | values |
|---|---|
| rows, columns | 4 to 256 processing elements |
| ifmap_buffer, filter_buffer, ofmap_buffer | 8 to 2048 KiB |
| dram_width | 2 to 256 operand words a cycle |
| dataflow | ws, os, is: weight, output, input stationary |

2,519,424 designs. Cost model: `costmodels/accelerator/model.py`. Objectives (all minimised): `latency`, `energy`,
`edp` (their product) and `target` (see `_target`). A design whose area is over the budget is not feasible; its
objective is `INFEASIBLE_FACTOR` times the reference's, and more the larger the excess.

Observation, action and reward of both forms: `functional.ParametricEnv`, `functional.SequentialEnv`.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/AcceleratorSizing-v0", workload="resnet18", objective="edp", area_budget="small")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> terminated, sorted(info)
    (True, ['design', 'feasible', 'objective'])
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ...costmodels import accelerator
from ...costmodels.accelerator import bounds, breakdown, model, relaxation
from ...costmodels.accelerator.platforms import PLATFORMS, Platform, get_platform, technology_rows
from ...costmodels.accelerator.workloads import LayerArrays, get_workload, workload_names
from ..core.problem import Evaluation, Objective, Problem, Yardstick
from ..core.scenarios import Option, Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["AREA_BUDGETS_MM2", "OBJECTIVES", "SCENARIO", "SPACE"]

_ARRAY = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_BUFFER_KIB = tuple(2**power for power in range(3, 12))
_DRAM_WORDS = tuple(2**power for power in range(1, 9))

SPACE = DesignSpace(
    (
        Parameter("rows", _ARRAY, "processing elements", summary="rows of the array"),
        Parameter("columns", _ARRAY, "processing elements", summary="columns of the array"),
        Parameter("ifmap_buffer", _BUFFER_KIB, "KiB", summary="double-buffered input buffer"),
        Parameter("filter_buffer", _BUFFER_KIB, "KiB", summary="double-buffered weight buffer"),
        Parameter("ofmap_buffer", _BUFFER_KIB, "KiB", summary="double-buffered partial-sum and output buffer"),
        Parameter("dram_width", _DRAM_WORDS, "words/cycle", summary="off-chip bandwidth"),
        Parameter("dataflow", model.DATAFLOWS, ordered=False, summary="weight, output or input stationary"),
    )
)
# The values of each parameter in physical terms, int32; `model.Hardware` has the same order.
_VALUES = tuple(
    np.arange(len(parameter.values), dtype=np.int32)
    if parameter.name == "dataflow"
    else np.array(parameter.values, dtype=np.int32)
    for parameter in SPACE.parameters
)

AREA_BUDGETS_MM2: Mapping[str, float] = {"small": 2.0, "medium": 8.0, "large": 20.0}

# The reference: Gemmini's default (16 x 16, weight stationary, 128 KiB scratchpad, 32 KiB accumulator, as DOSA has it),
# every dimension times the factor that suits the budget.
_GEMMINI = {"rows": 16, "columns": 16, "ifmap_buffer": 64, "filter_buffer": 64, "ofmap_buffer": 32, "dram_width": 8}
_REFERENCE_SCALE: Mapping[str, int] = {"small": 2, "medium": 4, "large": 8}

# Shares of the reference's metrics that the target objective asks for, as in ArchGym's TimeloopGym: -30 % energy, -15 %
# area, -20 % time.
_TARGET_SHARES = {"energy_j": 0.70, "area_mm2": 0.85, "latency_s": 0.80}
_TARGET_SLOPE = 0.1

# Above the largest feasible objective over the reference's: see `worst_over_reference` in optima.csv.
INFEASIBLE_FACTOR = 1e6
_RELAXED_PENALTY = 10.0  # of the log excess area in the relaxation: steeper than any gain from more area


class Params(NamedTuple):
    """What tells instances apart, all traced: instances of one platform share compiled code."""

    layers: LayerArrays  # int32[L] each
    objective: Any  # int32, index into OBJECTIVES
    area_budget_mm2: Any  # float32
    targets: Any  # float32[3]: J, mm2, s
    reference_value: Any  # float32, in the objective's unit


def _latency(metrics: model.Metrics, targets: Any) -> Any:
    return metrics.latency_s


def _energy(metrics: model.Metrics, targets: Any) -> Any:
    return metrics.energy_j


def _energy_delay_product(metrics: model.Metrics, targets: Any) -> Any:
    return metrics.energy_j * metrics.latency_s


def _target(metrics: model.Metrics, targets: Any) -> Any:
    """Mean over energy, area and latency of the excess over the target, plus a slope that goes on rewarding beyond it.

    ArchGym's distance to a target has either a pole at the target or a floor below it; here better is never punished.
    """
    # Compilers round the same at every batch size only where no division is by a vector and no product is in a sum.
    ratios = jnp.stack([metrics.energy_j, metrics.area_mm2, metrics.latency_s]) * (1.0 / targets)
    slope = jnp.maximum(_TARGET_SLOPE * ratios, 0.0)
    energy, area, latency = jnp.maximum(ratios - 1.0, 0.0) + slope
    return (energy + area + latency) / 3.0


_OBJECTIVE_FUNCTIONS: Mapping[str, tuple[Objective, Callable]] = {
    "latency": (Objective("latency", "s", "time of one inference"), _latency),
    "energy": (Objective("energy", "J", "energy of one inference"), _energy),
    "edp": (Objective("edp", "J s", "energy-delay product"), _energy_delay_product),
    "target": (
        Objective("target", "", "mean excess over the targets: reference energy -30 %, area -15 %, latency -20 %"),
        _target,
    ),
}
OBJECTIVES = tuple(_OBJECTIVE_FUNCTIONS)


def _hardware(design: Any) -> model.Hardware:
    return model.Hardware(*(jnp.asarray(values)[design[i]] for i, values in enumerate(_VALUES)))


def _objectives(metrics: Any, params: Params) -> Any:
    """float32[4], every objective, in the order of OBJECTIVES."""
    return jnp.stack([function(metrics, params.targets) for _, function in _OBJECTIVE_FUNCTIONS.values()])


@functools.cache
def _cost_function(platform: Platform) -> Callable[[Any, Params], Evaluation]:
    def cost(design: Any, params: Params) -> Evaluation:
        metrics = model.evaluate(_hardware(design), params.layers, platform)
        excess = metrics.area_mm2 / params.area_budget_mm2 - 1.0
        feasible = excess <= 0.0
        penalty = params.reference_value * INFEASIBLE_FACTOR * (1.0 + excess)
        return Evaluation(
            metrics, jnp.where(feasible, _objectives(metrics, params)[params.objective], penalty), feasible
        )

    return cost


@functools.cache
def _all_objectives_function(platform: Platform) -> Callable[[Any, Params], Evaluation]:
    """As the cost function, but with every objective at once, float32[4], for the exhaustive sweep."""

    def cost(design: Any, params: Params) -> Evaluation:
        metrics = model.evaluate(_hardware(design), params.layers, platform)
        return Evaluation(metrics, _objectives(metrics, params), metrics.area_mm2 <= params.area_budget_mm2)

    return cost


def reference_design(area_budget: str) -> dict[str, int | str]:
    """The reference of an area budget: Gemmini's default, scaled."""
    scale = _REFERENCE_SCALE[area_budget]
    return {**{name: value * scale for name, value in _GEMMINI.items()}, "dataflow": "ws"}


def _instance_params(workload: str, objective: str, area_budget: str, platform: str) -> tuple[Params, float]:
    """The parameters of an instance and the reference's objective value."""
    design = SPACE.encode(reference_design(area_budget))
    params = Params(
        layers=get_workload(workload).distinct,
        objective=np.int32(OBJECTIVES.index(objective)),
        area_budget_mm2=np.float32(AREA_BUDGETS_MM2[area_budget]),
        targets=np.ones(len(_TARGET_SHARES), np.float32),
        reference_value=np.float32(1.0),
    )
    problem = _bare_problem(_cost_function(get_platform(platform)), params)
    metrics = problem.evaluate(design).metrics
    targets = [share * getattr(metrics, name)[0] for name, share in _TARGET_SHARES.items()]
    params = params._replace(targets=np.array(targets, np.float32))
    value = _bare_problem(problem.cost, params).evaluate(design).objective[0]
    return params._replace(reference_value=np.float32(value)), float(value)


def _bare_problem(cost: Callable, params: Params) -> Problem:
    nothing = Yardstick("", float("nan"), "")
    return Problem("", {}, SPACE, Objective("", "", ""), cost, params, nothing, nothing)


@functools.cache
def _stored_optima() -> Mapping[tuple[str, ...], Mapping[str, str]]:
    text = (importlib.resources.files(accelerator) / "optima.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {tuple(row[key] for key in _INSTANCE_KEYS): row for row in csv.DictReader(lines)}


_INSTANCE_KEYS = ("workload", "objective", "area_budget", "platform")


def _bound(workload: str, objective: str, area_budget: str, platform: str, params: Params) -> Yardstick:
    """The stored optimum where there is one, else a quick lower bound."""
    stored = _stored_optima().get((workload, objective, area_budget, platform))
    if stored is not None:
        design = tuple(int(i) for i in SPACE.encode({name: stored[name] for name in SPACE.names}))
        return Yardstick("optimum", float(stored["value"]), "exhaustive enumeration: dsegym bound --store", design)
    limits = bounds.lower_bounds(
        get_workload(workload),
        get_platform(platform),
        area_budget_mm2=AREA_BUDGETS_MM2[area_budget],
        words_per_cycle=_DRAM_WORDS[-1],
        smallest=dict.fromkeys(("ifmap_kib", "filter_kib", "ofmap_kib"), _BUFFER_KIB[0]),
    )
    value = float(_OBJECTIVE_FUNCTIONS[objective][1](_Limits(**limits), params.targets))
    return Yardstick("bound", value, "compulsory work and traffic; run `dsegym bound` for the exact optimum")


class _Limits(NamedTuple):
    latency_s: float
    energy_j: float
    area_mm2: float


def _build(scenario_id: str, workload: str, objective: str, area_budget: str, platform: str) -> Problem:
    params, reference_value = _instance_params(workload, objective, area_budget, platform)
    reference = reference_design(area_budget)
    chosen = get_platform(platform)
    return Problem(
        scenario=scenario_id,
        options=dict(zip(_INSTANCE_KEYS, (workload, objective, area_budget, platform), strict=True)),
        space=SPACE,
        objective=_OBJECTIVE_FUNCTIONS[objective][0],
        cost=_cost_function(chosen),
        params=params,
        reference=Yardstick(
            name=f"gemmini-x{_REFERENCE_SCALE[area_budget]}",
            value=reference_value,
            source="Gemmini's default design (as in DOSA), every dimension scaled to the budget",
            design=tuple(int(i) for i in SPACE.encode(reference)),
        ),
        bound=_bound(workload, objective, area_budget, platform, params),
        breakdown=functools.partial(breakdown.break_down, get_workload(workload), chosen),
        relaxation=_relaxation_function(chosen),
        notes=breakdown.NOTES,
    )


@functools.cache
def _relaxation_function(platform: Platform) -> Callable[[Sequence[Any], Params], Any]:
    def relaxed(weights: Sequence[Any], params: Params) -> Any:
        sizes = [jnp.exp(jnp.dot(w, np.log(v))) for w, v in zip(weights[:-1], _VALUES[:-1], strict=True)]
        hardware = model.Hardware(*sizes, dataflow=None)
        logs = []
        for dataflow in range(len(model.DATAFLOWS)):
            metrics = relaxation.evaluate(hardware, dataflow, params.layers, platform)
            excess = jnp.maximum(jnp.log(metrics.area_mm2 / params.area_budget_mm2), 0.0)
            logs.append(jnp.log(_objectives(metrics, params)[params.objective]) + _RELAXED_PENALTY * excess)
        return jnp.dot(weights[-1], jnp.stack(logs))

    return relaxed


def _core() -> Sequence[Mapping[str, str]]:
    return [
        {"workload": workload, "objective": objective, "area_budget": budget, "platform": "gemmini"}
        for workload in workload_names()
        for objective in OBJECTIVES
        for budget in AREA_BUDGETS_MM2
    ]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    budgets = [
        {"area budget": f"{name} ({budget:g} mm2)", "reference": f"gemmini-x{_REFERENCE_SCALE[name]}"}
        | {parameter.name: parameter.text(reference_design(name)[parameter.name]) for parameter in SPACE.parameters}
        for name, budget in AREA_BUDGETS_MM2.items()
    ]
    workloads = [
        {"workload": name, "layers": sum(layer.repeat for layer in get_workload(name).layers)}
        | {"MACs": f"{get_workload(name).macs:,}", "weights": f"{get_workload(name).weights:,}"}
        for name in workload_names()
    ]
    platforms = [{"platform": name, "summary": row[-1]} for name, row in PLATFORMS.items()]
    return (
        ("Area budgets and references", budgets),
        ("Workloads", workloads),
        ("Platforms", platforms),
        ("Technology constants", technology_rows()),
    )


def _bounds(options: Mapping[str, str], progress: Callable[[int, int], None] = lambda done, total: None):
    """Exact optima by exhaustive enumeration of the space for one workload and platform: every objective and budget.

    Returns:
        One row per objective and budget: the instance, the optimal value, the design, how many feasible designs there
        are, how many of them reach the optimum, and the worst feasible value over the reference's.
    """
    workload, platform = options["workload"], options["platform"]
    instances = {
        (budget, objective): _instance_params(workload, objective, budget, platform)
        for budget in AREA_BUDGETS_MM2
        for objective in OBJECTIVES
    }
    # Value, design number, ties, feasible designs, worst value.
    best: dict[tuple[str, str], tuple[float, int, int, int, float]] = dict.fromkeys(instances, (np.inf, -1, 0, 0, 0.0))
    cost, chunk = _all_objectives_function(get_platform(platform)), 4096
    for start in range(0, SPACE.size, chunk):
        designs = SPACE.enumerate(start, start + chunk)
        by_budget = {
            budget: _bare_problem(cost, instances[budget, "latency"][0]).evaluate(designs)
            for budget in AREA_BUDGETS_MM2
        }
        for (budget, objective), (value, number, ties, count, worst) in best.items():
            result = by_budget[budget]
            feasible = np.flatnonzero(result.feasible)
            if not feasible.size:
                continue
            values = result.objective[feasible, OBJECTIVES.index(objective)]
            least = values.min()
            if least < value:
                value, number, ties = least, start + int(feasible[values.argmin()]), 0
            ties += int((values == value).sum())
            best[budget, objective] = (value, number, ties, count + feasible.size, max(worst, values.max()))
        progress(min(start + chunk, SPACE.size), SPACE.size)
    rows = []
    for (budget, objective), (value, number, ties, count, worst) in best.items():
        row = dict(zip(_INSTANCE_KEYS, (workload, objective, budget, platform), strict=True))
        row |= {"value": repr(float(value)), "unit": _OBJECTIVE_FUNCTIONS[objective][0].unit}
        row |= SPACE.decode(SPACE.enumerate(number, number + 1)[0])
        row |= {"optimal_designs": ties, "feasible_designs": count}
        row |= {"worst_over_reference": f"{worst / instances[budget, objective][1]:.4g}"}
        rows.append(row)
    return rows


SCENARIO = Scenario(
    summary="Size a systolic-array accelerator (array, buffers, DRAM, dataflow) for a network under an area budget.",
    options={
        "workload": Option(
            "resnet50",
            workload_names,
            "a shipped network, or the path of a .csv file",
            lambda value: value.endswith(".csv"),
        ),
        "objective": Option("latency", OBJECTIVES, "what to minimise"),
        "area_budget": Option("medium", tuple(AREA_BUDGETS_MM2), "the constraint on area"),
        "platform": Option("gemmini", tuple(PLATFORMS), "technology and memory conventions"),
    },
    build=_build,
    core=_core,
    facts=_facts,
    bounds=_bounds,
    stored_bounds="costmodels/accelerator/optima.csv",
)
