"""dsegym/AcceleratorMapping-v0: a Gemmini-like machine, and each layer of a network mapped to it, in an area budget.

| parameter | values |
|---|---|
| edge, scratchpad, accumulator | the machine: 4 to 128 elements a side, 8 to 2048 KiB, 2 to 2048 KiB |
| layerL_R, S, P, Q, C, K, N | a bound of layer L as factors at DRAM, scratchpad, accumulator, and over space |
| layerL_accumulator_order, layerL_scratchpad_order, layerL_dram_order | the order of the loops there |

Every design is a mapping: factors multiply to the bounds, and what does not fit the machine runs further out
(`costmodels/accelerator/mapping/encoding.py`). Objectives (all minimised): `latency`, `energy`, and `edp`, their
product. A design whose area is over the budget is not feasible; its objective is `INFEASIBLE_FACTOR` times the
reference's, and more the larger the excess.

Observation, action and reward of both forms: `core/one_shot.py`.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/AcceleratorMapping-v0", workload="bert_base_s128", area_budget="small")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> terminated, sorted(info)
    (True, ['design', 'feasible', 'objective'])
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.accelerator import experts
from ...costmodels.accelerator.mapping import bounds, breakdown, encoding, heuristics, model, network, picture
from ...costmodels.accelerator.sizing import (
    AREA_BUDGETS_MM2,
    BUDGETS_TEXT,
    MOST_AREA_MM2,
    OBJECTIVES,
    area_text,
    parse_area_mm2,
)
from ...costmodels.accelerator.workloads import get_workload, workload_names, workload_rows
from ...costmodels.arrays import Array
from ...costmodels.breakdown import Breakdown
from ...costmodels.diagram import Diagram
from ...costmodels.errors import InvalidOptionError
from ...costmodels.files import is_path
from ..core.evaluation import Evaluation, Expert, Objective, Yardstick
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, custom, file_or_name, whole
from ..core.problem import Problem
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "MappingOptions", "space_of"]

REFERENCE = "weight_stationary"
INFEASIBLE_FACTOR = 1e9  # above the largest feasible objective over the reference's
_GOALS = ("latency", "energy", "edp")  # the target objective of sizing is restated for its own reference only
_RELAXED_PENALTY = 10.0  # of the log excess of area and capacities: steeper than any gain from more of them
_BATCH_SIZES = (1, 128, 1024)  # beyond these, a network's layers fall out of cache
_UNITS = {"edge": "processing elements", "scratchpad": "KiB", "accumulator": "KiB"}


@dataclass(frozen=True)
class MappingOptions(Options):
    """What tells instances apart."""

    workload: str = file_or_name(
        "resnet18",
        workload_names,
        is_path,
        "the path of a table of layers or a SCALE-Sim topology (docs/files.md)",
        "a shipped network, or the path of a table of layers",
        reads="workload",
    )
    objective: str = choice("edp", _GOALS, "what to minimise")
    area_budget: float = custom(
        AREA_BUDGETS_MM2["small"],
        tuple(AREA_BUDGETS_MM2.values()),
        parse=parse_area_mm2,
        also=f"any number of mm2 above 0, to {MOST_AREA_MM2} ({BUDGETS_TEXT})",
        text=area_text,
        summary="the constraint on area",
    )
    dram_width: int = whole(
        8, (8, 16, 32), least=1, most=1024, unit="words/cycle", summary="DRAM's bandwidth; validated at 8"
    )


class Params(NamedTuple):
    """What tells instances apart, all traced: instances of one workload share compiled code."""

    tables: encoding.Tables
    network: network.NetworkArrays
    dram_words_per_cycle: Array  # int32
    objective: Array  # int32, index into the objectives offered
    area_budget_mm2: Array  # float32
    reference_value: Array  # float32, in the objective's unit


def _value(metrics: Any, objective: Array) -> jax.Array:
    unused = np.zeros(3, np.float32)  # targets, which these objectives have none of
    return jnp.stack([OBJECTIVES[name].value(metrics, unused) for name in _GOALS])[objective]


def _decoded(design: Array, params: Params) -> tuple[model.Hardware, model.Mapping]:
    return encoding.decode(design, params.tables, params.network, params.dram_words_per_cycle)


def cost(design: Array, params: Params) -> Evaluation:
    """Costs of one design, int32[n]. A module-level function: the same object for every instance."""
    hardware, mappings = _decoded(design, params)
    metrics = network.evaluate_network(mappings, params.network, hardware)
    # A difference before the quotient: compilers contract a quotient minus 1 in some batch sizes and not in others.
    excess = (metrics.area_mm2 - params.area_budget_mm2) / params.area_budget_mm2
    feasible, value = excess <= 0.0, _value(metrics, params.objective)
    penalty = params.reference_value * INFEASIBLE_FACTOR * (1.0 + excess)
    layers = network.evaluate_apart(mappings, params.network, hardware)
    return Evaluation(
        metrics, jnp.where(feasible, value, penalty), feasible, excess, value, _value(layers, params.objective)
    )


def relaxed(weights: Sequence[Any], params: Params) -> jax.Array:
    """log(objective) of weights over each parameter's values, with a penalty for what does not fit."""
    hardware, mappings = encoding.decode_relaxed(weights, params.tables, params.dram_words_per_cycle * jnp.float32(1))
    metrics = network.relaxed(mappings, params.network, hardware)
    shares = jax.vmap(model.overflow, in_axes=(0, 0, None))(mappings, params.network.shapes, hardware)
    excess = jnp.sum(jnp.maximum(jnp.log(shares), 0.0))
    excess += jnp.maximum(jnp.log(metrics.area_mm2 / params.area_budget_mm2), 0.0)
    return jnp.log(_value(metrics, params.objective)) + _RELAXED_PENALTY * excess


@functools.lru_cache(maxsize=64)
def _network_of(workload: str) -> network.Network:
    return network.Network.of(get_workload(workload))


def space_of(nests: network.Network) -> DesignSpace:
    """The design space of a network."""
    machine = encoding.hardware_values()
    return DesignSpace(
        tuple(
            Parameter(name, values, _UNITS.get(name, ""), ordered=name in machine)
            for name, values in encoding.choices(nests).items()
        )
    )


def _params(options: MappingOptions, nests: network.Network) -> Params:
    least = heuristics.least_area_mm2()
    if options.area_budget < least:
        allowed = f"{least:g} to {MOST_AREA_MM2} mm2, as smaller budgets hold no reference ({BUDGETS_TEXT})"
        raise InvalidOptionError("area_budget", options.area_budget, [allowed])
    return Params(
        tables=encoding.tables(nests),
        network=nests.arrays,
        dram_words_per_cycle=np.asarray(options.dram_width, np.int32),
        objective=np.asarray(_GOALS.index(options.objective), np.int32),
        area_budget_mm2=np.asarray(options.area_budget, np.float32),
        reference_value=np.asarray(1.0, np.float32),
    )


_machine_and_mappings = jax.jit(_decoded)


def _break_down(nests: network.Network, space: DesignSpace, params: Params, values: Mapping[str, object]) -> Breakdown:
    hardware, mappings = jax.device_get(_machine_and_mappings(space.encode(values), params))
    return breakdown.break_down(nests, hardware, mappings)


def _diagram(nests: network.Network, params: Params, design: np.ndarray) -> Diagram:
    hardware, mappings = jax.device_get(_machine_and_mappings(np.asarray(design, np.int32), params))
    return picture.draw(breakdown.break_down(nests, hardware, mappings), hardware)


def _bound(nests: network.Network, options: MappingOptions) -> Yardstick:
    """The least over machines of what none of their mappings goes below."""
    limits = bounds.limits(nests, area_budget_mm2=options.area_budget, dram_words_per_cycle=options.dram_width)
    unused = np.zeros(3, np.float32)
    value = min(float(OBJECTIVES[options.objective].value(each, unused)) for each in limits)
    return Yardstick("bound", value, "compulsory work and traffic on the best machine within the budget")


def _parts(space: DesignSpace) -> tuple[tuple[int, ...], ...]:
    """The places of each layer's parameters, whose mapping is independent of the others' once the machine is chosen."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(space.names):
        layer, underscore, _ = name.partition("_")
        if underscore:
            found.setdefault(layer, []).append(place)
    return tuple(map(tuple, found.values()))


def _experts(nests: network.Network, dram_words_per_cycle: int, area_budget_mm2: float) -> Sequence[Expert]:
    """Square machines in their places, each layer mapped by a rule, on the instance's DRAM."""
    found = []
    for row in experts.expert_rows():
        scratchpad = int(row["ifmap_buffer"]) + int(row["filter_buffer"])
        sizes = (int(row["edge"]), scratchpad, int(row["ofmap_buffer"]))
        hardware = model.Hardware(*(np.asarray(size, np.int32) for size in (*sizes, dram_words_per_cycle)))
        mappings = heuristics.network_mappings(row["rule"], nests, hardware)
        metrics = jax.device_get(_network_metrics(mappings, nests.arrays, hardware))
        costs = {name: float(getattr(metrics, name)) for name in experts.FRONT}
        values = dict(zip(encoding.hardware_values(), sizes, strict=True)) | {"mapping": row["rule"]}
        found.append(Expert(row["expert"], costs, values, experts.told_of(row, costs, area_budget_mm2)))
    return found


_network_metrics = jax.jit(network.evaluate_network)


def build(options: MappingOptions) -> Problem:
    """An instance.

    Raises:
        InvalidOptionError: the area budget holds no reference.
        InvalidWorkloadError: the network has too many layers, or bounds with too many tilings.
    """
    nests, goal = _network_of(options.workload), OBJECTIVES[options.objective]
    space, params = space_of(nests), _params(options, nests)
    factor, hardware = heuristics.reference_hardware(options.area_budget, options.dram_width)
    mapped = {
        name: functools.cache(functools.partial(heuristics.heuristic_values, name, nests, hardware))
        for name in heuristics.RULES
    }
    design = space.encode(mapped[REFERENCE]())
    metrics = _metrics(design, params)
    params = params._replace(reference_value=np.asarray(_value(metrics, params.objective), np.float32))
    return one_shot_problem(
        options=options,
        space=space,
        objective=Objective(options.objective, goal.unit, goal.summary),
        cost=cost,
        params=params,
        reference=(
            f"gemmini-x{factor:g}-{REFERENCE}",
            mapped[REFERENCE](),
            "Gemmini's default machine (as in DOSA), scaled to the budget; each layer weight stationary, tiles grown "
            "while they fit",
        ),
        bound=lambda problem: _bound(nests, options),
        baselines={
            name: functools.partial(lambda values: tuple(space.encode(values()).tolist()), values)
            for name, values in mapped.items()
            if name != REFERENCE
        },
        breakdown=functools.partial(_break_down, nests, space, params),
        relaxation=relaxed,
        diagram=functools.partial(_diagram, nests, params),
        batch_sizes=_BATCH_SIZES,
        notes=breakdown.NOTES,
        front=experts.FRONT,
        parts=_parts(space),
        experts=functools.partial(_experts, nests, options.dram_width, options.area_budget),
    )


@jax.jit
def _metrics(design: Array, params: Params) -> network.Metrics:
    hardware, mappings = _decoded(design, params)
    return network.evaluate_network(mappings, params.network, hardware)


# {network: area budgets} at which the reference's latency is within 1 % of the bound, as DRAM limits both.
_DECIDED: Mapping[str, Sequence[str]] = {
    "alexnet": ("large",),
    "bert_base_s128": ("large",),
    **dict.fromkeys(
        (
            *("gpt2_small_decode_kv1024", "llama2_7b_decode_kv2048", "llama3_8b_decode_kv2048"),
            *("mobilenet_v1", "mobilenet_v2"),
        ),
        tuple(AREA_BUDGETS_MM2),
    ),
}


def _core() -> Sequence[Mapping[str, object]]:
    """All networks, objectives and budgets at which there is something to decide."""
    return [
        {"workload": workload, "objective": objective, "area_budget": budget}
        for workload in workload_names()
        for objective in _GOALS
        for budget in AREA_BUDGETS_MM2
        if not (objective == "latency" and budget in _DECIDED.get(workload, ()))
    ]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    budgets = [
        {"area budget": f"{name} ({budget:g} mm2)", "reference's machine": f"gemmini-x{factor:g}"}
        | {each: int(size) for each, size in zip(encoding.hardware_values(), hardware[:3], strict=True)}
        for name, budget in AREA_BUDGETS_MM2.items()
        for factor, hardware in [heuristics.reference_hardware(budget, 8)]
    ]
    constants = [{"quantity": name, "value": value} for name, value in model.constants().items()]
    return (
        ("Area budgets and references", budgets),
        ("Heuristics", heuristics.rule_rows()),
        ("Workloads", workload_rows()),
        ("Constants", constants),
        ("Experts' machines, drawn beside fronts", experts.expert_rows()),
    )


SCENARIO = Scenario(
    summary="Choose a Gemmini-like machine and map each layer of a network to it, within an area budget.",
    options_type=MappingOptions,
    build=build,
    core=_core,
    facts=_facts,
)
