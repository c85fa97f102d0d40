"""dsegym/AcceleratorDataflow-v0: the knobs of ArchGym's MaestroGym, a dataflow on clusters of elements.

| parameter | values |
|---|---|
| elements, cluster | 1 to 1024 processing elements, in clusters of 1 to 64 |
| outer_parallel, inner_parallel | the dimension that is spread over clusters, and over a cluster's elements |
| outer_order, inner_order | the loops that pass in time, outermost first: 720 orders each |
| outer_, inner_ + K, C, Y, X | tiles: 16 sizes to 64 of a cluster, 10 to 16 of an element |

8e20 designs, all legal. Cost model: `costmodels/accelerator/dataflow.py`. Objectives, all minimised: `latency`,
`energy`, `edp`, and `target`, the mean excess over ArchGym's shares of the reference's costs plus a slope that goes on
rewarding beyond them. A design whose area exceeds the budget is not feasible.

Observation, action and reward of both forms: `core/one_shot.py`.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/AcceleratorDataflow-v0", workload="resnet18", layer="layer1.0.conv1")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> terminated, sorted(info)
    (True, ['design', 'feasible', 'objective'])
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.accelerator import dataflow
from ...costmodels.accelerator.sizing import (
    AREA_BUDGETS_MM2,
    BUDGETS_TEXT,
    MOST_AREA_MM2,
    OBJECTIVES,
    TARGET_SHARES,
    area_text,
    objective_values,
    parse_area_mm2,
)
from ...costmodels.accelerator.workloads import get_workload, workload_names
from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.errors import InvalidOptionError
from ...costmodels.files import is_path
from ...costmodels.tables import package_rows
from ..core.evaluation import Evaluation, Objective, Yardstick
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, custom, file_or_name, whole
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["REFERENCE", "SCENARIO", "SPACE", "DataflowOptions"]

INFEASIBLE_FACTOR = 1e6  # above the largest feasible objective over the reference's: one element's, nothing reused
REFERENCE = "nvdla"
_FRONT = ("latency_s", "energy_j", "area_mm2")
_MOST_CLUSTER = 64
_LEVELS = ("outer", "inner")
_TILES = "KCYX"
# Of ArchGym's, 1 to 63 and 1 to 55 at both levels, those that divide what networks have.
_SIZES = (1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 24, 28, 32, 48, 56, 64)
_MOST = {"outer": 64, "inner": 16}  # larger stores in each element leave no budget
NOTES = (
    "A closed form that ranks dataflows as MAESTRO does; DRAM is not in it, nor in MAESTRO's energies.",
    "L1 and L2 are as large as the dataflow needs; areas are ArchGym's for MAESTRO.",
    "The clock (1 GHz) is an assumption; the multiply-accumulate's energy is Gemmini's.",
)

SPACE = DesignSpace(
    (
        Parameter("elements", tuple(range(1, dataflow.MOST_ELEMENTS + 1)), "processing elements"),
        Parameter("cluster", tuple(range(1, _MOST_CLUSTER + 1)), "processing elements"),
        *(Parameter(f"{level}_parallel", tuple(dataflow.DIMENSIONS), "", False) for level in _LEVELS),
        *(Parameter(f"{level}_order", dataflow.ORDERS, "", False) for level in _LEVELS),
        *(
            Parameter(f"{level}_{name}", tuple(size for size in _SIZES if size <= _MOST[level]), "iterations")
            for level in _LEVELS
            for name in _TILES
        ),
    )
)


def _layer(given: object) -> str:
    if not str(given).strip():
        raise ValueError
    return str(given)


@dataclass(frozen=True)
class DataflowOptions(Options):
    """What tells instances apart."""

    workload: str = file_or_name(
        "resnet18",
        workload_names,
        is_path,
        "the path of a table of layers or a SCALE-Sim topology (docs/files.md)",
        "a shipped network, or the path of a table of layers",
        reads="workload",
    )
    layer: str = custom(
        "all",
        ("all",),
        parse=_layer,
        also="the name of one of the network's layers",
        summary="one layer, or all with one dataflow",
    )
    objective: str = choice("edp", tuple(OBJECTIVES), "what to minimise")
    area_budget: float = custom(
        AREA_BUDGETS_MM2["medium"],
        tuple(AREA_BUDGETS_MM2.values()),
        parse=parse_area_mm2,
        also=f"any number of mm2 above 0, to {MOST_AREA_MM2} ({BUDGETS_TEXT})",
        text=area_text,
        summary="the constraint on area",
    )
    network_width: int = whole(
        1000,
        (64, 1000),
        least=16,
        most=2**30,
        unit="words/cycle",
        summary="the network between L2 and the elements; ranked against MAESTRO at 1000",
    )


class Params(NamedTuple):
    """What tells instances apart, all traced."""

    layers: dataflow.Layers
    words_per_cycle: Array  # int32
    objective: Array  # int32, index into OBJECTIVES
    area_budget_mm2: Array  # float32
    targets: Array  # float32[3]: J, mm2, s
    reference_value: Array  # float32, in the objective's unit


def _dataflow(design: Array) -> dataflow.Dataflow:
    """A design of the space, int32[14], whose categories are places in the same tuples."""
    values = SPACE.values(design)
    return dataflow.Dataflow(
        values["elements"],
        values["cluster"],
        jnp.stack([values[f"{level}_parallel"] for level in _LEVELS]),
        jnp.stack([values[f"{level}_order"] for level in _LEVELS]),
        jnp.stack([jnp.stack([values[f"{level}_{name}"] for name in _TILES]) for level in _LEVELS]),
    )


def cost(design: Array, params: Params) -> Evaluation:
    """Costs of one design, int32[14]. A module-level function: the same object for every instance."""
    metrics = dataflow.evaluate(_dataflow(design), params.layers, params.words_per_cycle)
    # A product kept out of a fused subtraction, as compilers form one at some batch sizes only.
    excess = jnp.maximum(metrics.area_mm2 * (1.0 / params.area_budget_mm2), 0.0) - 1.0
    feasible = excess <= 0.0
    value = objective_values(metrics, params.targets)[params.objective]
    penalty = params.reference_value * INFEASIBLE_FACTOR * (1.0 + excess)
    return Evaluation(metrics, jnp.where(feasible, value, penalty), feasible, excess, value)


_evaluate = jax.jit(dataflow.evaluate)
_count = jax.jit(dataflow.count)
_energies = jax.jit(dataflow.energies_pj)


@jax.jit
def _areas_mm2(flow: dataflow.Dataflow, layers: dataflow.Layers) -> Array:
    """float32[1024], mm2: of a dataflow on every number of elements."""
    elements = jnp.arange(1, dataflow.MOST_ELEMENTS + 1)
    return jax.vmap(lambda each: dataflow.evaluate(flow._replace(elements=each), layers, 1).area_mm2)(elements)


def named(name: str, layers: dataflow.Layers, area_budget_mm2: float) -> dict[str, int | str]:
    """{parameter: value} of a named dataflow: as many whole clusters as the budget holds; smaller ones if none.

    Eyeriss's clusters are as long as the filters are high in the layer with most multiply-accumulates.

    Raises:
        InvalidOptionError: the budget does not hold one element.
    """
    values: dict[str, int | str] = {"elements": 1, **dataflow.DATAFLOWS[name]}
    if name == "eyeriss":
        work = np.prod(np.asarray(layers.bounds, np.float64), axis=1) * layers.occurrences
        values["cluster"] = min(int(layers.bounds[np.argmax(work), dataflow.DIMENSIONS.index("R")]), _MOST_CLUSTER)
    cluster = int(values["cluster"])
    while cluster:
        values["cluster"] = cluster
        areas = np.asarray(_areas_mm2(dataflow.dataflow_of(values), layers))[cluster - 1 :: cluster]
        held = np.flatnonzero(areas <= np.float32(area_budget_mm2) * (1 - 1e-6))
        if held.size:
            return {**values, "elements": cluster * (int(held[-1]) + 1)}
        cluster //= 2
    allowed = f"more, as it holds no element of the dataflow '{name}'; to {MOST_AREA_MM2} mm2 ({BUDGETS_TEXT})"
    raise InvalidOptionError("area_budget", area_budget_mm2, [allowed])


def _break_down(params: Params, values: Mapping[str, object]) -> Breakdown:
    flow = dataflow.dataflow_of(SPACE.decode(SPACE.encode(values)))
    metrics = jax.device_get(_evaluate(flow, params.layers, params.words_per_cycle))
    counts = jax.device_get(_count(flow, params.layers))
    energies = np.sum(jax.device_get(_energies(counts)), axis=0)
    rows = []
    for at, (k, c, r, s, y, x) in enumerate(np.asarray(params.layers.bounds).tolist()):
        times = int(params.layers.occurrences[at])
        words = {name: float(getattr(counts, name)[at]) * times for name in counts._fields if name.endswith("s")}
        rows.append(
            {
                "layer": f"{r}x{s} {c}->{k} {y}x{x}",
                "occurrences": times,
                **{name: words[name] for name in ("compute_cycles", "weight_reads", "input_reads")},
                **{name: words[name] for name in ("sum_reads", "output_writes", "fills")},
                "energy_j": float(energies[at]) * times * 1e-12,
                "l1_words": float(counts.l1_words[at]),
                "l2_words": float(counts.l2_words[at]),
            }
        )
    return Breakdown({name: float(value) for name, value in metrics._asdict().items()}, rows, NOTES)


def _bound(params: Params, options: DataflowOptions) -> Yardstick:
    least = dataflow.floor(params.layers, options.network_width, options.area_budget)
    value = OBJECTIVES[options.objective].value(least, np.asarray(params.targets))
    return Yardstick("bound", float(value) * (1 - 1e-5), "compulsory work and traffic, the least memories")


def build(options: DataflowOptions) -> Problem:
    """An instance.

    Raises:
        InvalidOptionError: the area budget holds no element.
        InvalidWorkloadError: the network has a layer with dilated filters.
        UnknownNameError: the network has no such layer.
    """
    layers = dataflow.layers_of(get_workload(options.workload), options.layer)
    designs = {name: named(name, layers, options.area_budget) for name in dataflow.DATAFLOWS}
    width = np.asarray(options.network_width, np.int32)
    metrics = jax.device_get(_evaluate(dataflow.dataflow_of(designs[REFERENCE]), layers, width))
    targets = np.array([share * getattr(metrics, name) for name, share in TARGET_SHARES.items()], np.float32)
    goal = OBJECTIVES[options.objective]
    params = Params(
        layers=layers,
        words_per_cycle=width,
        objective=np.asarray(tuple(OBJECTIVES).index(options.objective), np.int32),
        area_budget_mm2=np.asarray(options.area_budget, np.float32),
        targets=targets,
        reference_value=np.asarray(goal.value(metrics, targets), np.float32),
    )
    encoded = {name: tuple(SPACE.encode(values).tolist()) for name, values in designs.items()}
    return one_shot_problem(
        options=options,
        space=SPACE,
        objective=Objective(options.objective, goal.unit, goal.summary),
        cost=cost,
        params=params,
        reference=(
            REFERENCE,
            designs[REFERENCE],
            "MAESTRO's NVDLA-like dataflow on as many clusters as the budget holds",
        ),
        bound=lambda problem: _bound(params, options),
        baselines={
            name: functools.partial(lambda design: design, design)
            for name, design in encoded.items()
            if name != REFERENCE
        },
        breakdown=functools.partial(_break_down, params),
        batch_sizes=(1, 128, 1024),
        notes=NOTES,
        front=_FRONT,
    )


def _core() -> Sequence[Mapping[str, object]]:
    """Networks, and the layer that ArchGym has by default."""
    networks = [{"workload": name} for name in ("resnet18", "resnet50", "vgg16", "mobilenet_v2", "bert_base_s128")]
    return [
        {**each, "objective": objective, "area_budget": budget}
        for each in (*networks, {"workload": "resnet18", "layer": "layer1.0.conv1"})
        for objective in OBJECTIVES
        for budget in ("small", "medium")
    ]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    tables = {"Named dataflows": "dataflows", "Constants": "dataflow", "MAESTRO's own runs": "maestro_runs"}
    return tuple((title, package_rows(f"accelerator/{name}.csv")) for title, name in tables.items())


SCENARIO = Scenario(
    summary="Choose a dataflow on clusters of elements (what is spread, orders, tiles) within an area, as MaestroGym.",
    options_type=DataflowOptions,
    build=build,
    core=_core,
    facts=_facts,
)
