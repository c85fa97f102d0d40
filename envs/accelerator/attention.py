"""dsegym/AttentionAccelerator-v0: size a FuseMax-like accelerator for attention, and choose how it is fused.

| parameter | values |
|---|---|
| edge | 16 to 512 processing elements a side of the 2D array, and in the 1D array |
| buffer | 512 KiB to 64 MiB |
| bandwidth | 50 to 1,600 GiB/s |
| cascade | unfused, flat, one_pass, fusemax_pe, fusemax; where a recurrent layer runs, `kernel`: per_step, fused |
| block | queries that stay while keys pass, 1 to 4,096 times the edge; of a recurrent layer `batch_tile`, `gate_tile` |

Cost model: `costmodels/accelerator/attention/`. Objectives (all minimised): `latency`, `energy`, `edp` (their product)
and `traffic`. A design whose area is over the budget, or whose block is over the buffer, is not feasible; its objective
is `INFEASIBLE_FACTOR` times the reference's, and more the larger the excess.

Observation, action and reward of both forms: `core/one_shot.py`.

    >>> import gymnasium, dsegym
    >>> env = gymnasium.make("dsegym/AttentionAccelerator-v0", model="BERT", length="16K")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> terminated, sorted(info)
    (True, ['design', 'feasible', 'objective'])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...costmodels.accelerator.attention import breakdown, model, recurrent, sizing
from ...costmodels.accelerator.attention.networks import (
    GRAMMAR,
    Network,
    network_rows,
    network_text,
    parse_network,
    shipped_networks,
)
from ...costmodels.arrays import Array
from ...costmodels.errors import InvalidOptionError
from ..core.evaluation import Evaluation, Expert, Objective, Yardstick
from ..core.one_shot import one_shot_problem
from ..core.options import Options, choice, custom, number, whole
from ..core.problem import Problem, YardstickRule, enumerated
from ..core.scenarios import Scenario
from ..core.spaces import DesignSpace, Parameter

__all__ = ["SCENARIO", "AttentionOptions"]

_FRONT = ("latency_s", "energy_j", "area_mm2")
INFEASIBLE_FACTOR = 1e6  # above the largest feasible objective over the reference's
_RELAXED_PENALTY = 10.0  # of the log excess of area and buffer: steeper than any gain from more of them
_MOST_DESIGNS = 2**21  # that are enumerated, in a second: above a recurrent layer's with the most divisors
_LENGTHS = {"1K": 2**10, "4K": 2**12, "16K": 2**14, "64K": 2**16, "256K": 2**18, "1M": 2**20}
_MACHINE = tuple(
    Parameter(name, sizing.MACHINE[name], unit, summary=summary)
    for name, unit, summary in (
        ("edge", "processing elements", "a side of the 2D array, and all of the 1D array"),
        ("buffer", "KiB", "on-chip buffer"),
        ("bandwidth", "GiB/s", "of DRAM"),
    )
)
_ATTENTION = DesignSpace(
    (
        *_MACHINE,
        Parameter("cascade", model.CASCADES, ordered=False, summary="how products and softmax are fused"),
        Parameter("block", sizing.BLOCKS, "times the edge", summary="queries that stay while keys pass"),
    )
)


@dataclass(frozen=True)
class AttentionOptions(Options):
    """What tells instances apart."""

    model: str = custom(
        "BERT",
        tuple(map(network_text, shipped_networks())),
        parse=lambda given: network_text(parse_network(given)),
        also=GRAMMAR,
        summary="whose layer runs",
    )
    length: int = whole(
        _LENGTHS["4K"],
        tuple(_LENGTHS.values()),
        least=16,
        most=2**20,
        unit="tokens",
        summary="queries and keys, or steps of a recurrent layer",
        words=_LENGTHS,
    )
    objective: str = choice("latency", tuple(sizing.OBJECTIVES), "what to minimise")
    area_budget: float = number(
        sizing.AREA_BUDGETS_MM2["medium"],
        tuple(sizing.AREA_BUDGETS_MM2.values()),
        least=0,
        most=sizing.MOST_AREA_MM2,
        above=True,
        unit="mm2",
        summary="the constraint on area",
        words=sizing.AREA_BUDGETS_MM2,
    )


class Params(NamedTuple):
    """What tells instances apart, all traced: instances of one space share compiled code."""

    layer: Any  # model.Attention or recurrent.Recurrent, float32 scalars
    values: tuple[Array, ...]  # float32, of each parameter; of names, their places
    objective: Array  # int32, index into the objectives
    area_budget_mm2: Array  # float32
    reference_value: Array  # float32, in the objective's unit


def _value(metrics: model.Metrics, objective: Array) -> jax.Array:
    return jnp.stack([goal.value(metrics) for goal in sizing.OBJECTIVES.values()])[objective]


def _excess(metrics: model.Metrics, params: Params) -> Any:
    """Of area and buffer, the larger: a share of the budget, and of the buffer."""
    area = (metrics.area_mm2 - params.area_budget_mm2) / params.area_budget_mm2
    return jnp.maximum(area, metrics.buffer_share - 1.0)


def _evaluation(metrics: model.Metrics, params: Params) -> Evaluation:
    excess, value = _excess(metrics, params), _value(metrics, params.objective)
    feasible = excess <= 0.0
    penalty = params.reference_value * INFEASIBLE_FACTOR * (1.0 + excess)
    return Evaluation(metrics, jnp.where(feasible, value, penalty), feasible, excess, value)


def _numbers(design: Array, params: Params) -> list[Any]:
    return [values[index] for values, index in zip(params.values, design, strict=True)]


def attention_cost(design: Array, params: Params) -> Evaluation:
    """Costs of one design of an attention layer, int32[5]. The same object for every instance."""
    *machine, _, block = _numbers(design, params)
    mapping = model.Mapping(design[3], block)
    return _evaluation(model.evaluate(model.Hardware(*machine), mapping, params.layer), params)


def recurrent_cost(design: Array, params: Params) -> Evaluation:
    """Costs of one design of a recurrent layer, int32[6]. The same object for every instance."""
    *machine, _, batch_tile, gate_tile = _numbers(design, params)
    tiling = recurrent.Tiling(design[3], batch_tile, gate_tile)
    return _evaluation(recurrent.evaluate(model.Hardware(*machine), tiling, params.layer), params)


def _at_least_one(quotient: Any) -> jax.Array:
    """A number of tiles, whole or not."""
    return jnp.maximum(quotient, 1.0)


def relaxed(weights: Sequence[Any], params: Params) -> jax.Array:
    """log(objective) of weights over each parameter's values, with a penalty for what does not fit.

    Sizes are weighted means of logarithms; of the cascades, or kernels, the logarithms of what each costs are mixed.
    """
    sizes = [
        jnp.exp(jnp.dot(w, jnp.log(v))) for w, v in zip(weights, params.values, strict=True) if w is not weights[3]
    ]
    form: Callable[..., model.Metrics] = recurrent.evaluate_kernels
    if isinstance(params.layer, model.Attention):
        form = model.evaluate_cascades
    metrics = form(model.Hardware(*sizes[:3]), *sizes[3:], params.layer, round_up=_at_least_one)
    over = jnp.maximum(jnp.log(metrics.area_mm2 / params.area_budget_mm2), 0.0)
    over += jnp.maximum(jnp.log(metrics.buffer_share + 1e-9), 0.0)
    return jnp.dot(weights[3], jnp.log(_value(metrics, params.objective)) + _RELAXED_PENALTY * over)


@functools.lru_cache(maxsize=64)
def _recurrent_space(network: Network) -> DesignSpace:
    tiles = (
        Parameter("batch_tile", recurrent.batch_tiles(network.batch), "sequences"),
        Parameter("gate_tile", recurrent.gate_tiles(network.head_width), "columns", summary="of a head's four gates"),
    )
    return DesignSpace((*_MACHINE, Parameter("kernel", recurrent.KERNELS, ordered=False), *tiles))


@dataclass(frozen=True)
class _Kind:
    """What a kind of layer is played with."""

    space: Callable[[Network], DesignSpace]
    cost: Callable[[Any, Params], Evaluation]
    layer: Callable[[AttentionOptions], Any]
    rules: Callable[[AttentionOptions], Mapping[str, Mapping[str, object]]]  # the first is the reference
    reference_source: str
    traffic_bound: Callable[[AttentionOptions], float]
    traffic_source: str


def _attention_of(options: AttentionOptions) -> model.Attention:
    layer = parse_network(options.model)
    return model.Attention(layer.batch, layer.heads, options.length, layer.head_width, layer.value_width)


def _recurrent_of(options: AttentionOptions) -> recurrent.Recurrent:
    layer = parse_network(options.model)
    return recurrent.Recurrent(layer.batch, layer.heads, options.length, layer.head_width)


def _attention_rules(options: AttentionOptions) -> Mapping[str, Mapping[str, object]]:
    layer = _attention_of(options)
    return {name: sizing.attention_values(rule, options.area_budget, layer) for name, rule in sizing.RULES.items()}


def _recurrent_rules(options: AttentionOptions) -> Mapping[str, Mapping[str, object]]:
    layer = _recurrent_of(options)
    found = {kernel: sizing.recurrent_values(kernel, options.area_budget, layer) for kernel in recurrent.KERNELS}
    return {kernel: values for kernel, values in found.items() if values is not None}


_KINDS: Mapping[str, _Kind] = {
    "attention": _Kind(
        lambda network: _ATTENTION,
        attention_cost,
        _attention_of,
        _attention_rules,
        "FLAT on the machine of FuseMax's artifact, scaled to the budget",
        lambda options: sizing.traffic_bound_bytes(
            _attention_of(options), sizing.largest_buffer_kib(options.area_budget)
        ),
        "I/O complexity of attention (Saha and Ye), with the constant of these mappings, at the largest buffer within "
        "the budget",
    ),
    "lstm": _Kind(
        _recurrent_space,
        recurrent_cost,
        _recurrent_of,
        _recurrent_rules,
        "matrices from DRAM at every step, on FLAT's machine scaled to the budget",
        lambda options: float(recurrent.least_words(_recurrent_of(options))) * model.constants()["word_bytes"],
        "matrices, inputs, outputs and states once",
    ),
}


def _values_of(parameter: Parameter) -> np.ndarray:
    named = isinstance(parameter.values[0], str)
    return np.asarray(range(len(parameter.values)) if named else parameter.values, np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _cost(cost: Callable[[Any, Params], Evaluation], design: Array, params: Params) -> Evaluation:
    return cost(design, params)


def _break_down(space: DesignSpace, kind: str, params: Params, values: Mapping[str, Any]) -> breakdown.Breakdown:
    hardware = model.Hardware(*(values[each.name] for each in _MACHINE))
    form = breakdown.of_attention if kind == "attention" else breakdown.of_recurrent
    return form(hardware, values, params.layer)


def build(options: AttentionOptions) -> Problem:
    """An instance.

    Raises:
        InvalidOptionError: the area budget holds no reference.
    """
    least, budget = sizing.least_area_mm2(), options.area_budget
    if budget < least:
        allowed = f"{least:g} to {sizing.MOST_AREA_MM2} mm2, as smaller budgets hold no reference"
        raise InvalidOptionError("area_budget", budget, [allowed])
    network, goal = parse_network(options.model), sizing.OBJECTIVES[options.objective]
    kind = _KINDS[network.kind]
    space = kind.space(network)
    rules = kind.rules(options)
    params = Params(
        layer=jax.tree.map(np.float32, kind.layer(options)),
        values=tuple(map(_values_of, space.parameters)),
        objective=np.asarray(tuple(sizing.OBJECTIVES).index(options.objective), np.int32),
        area_budget_mm2=np.asarray(budget, np.float32),
        reference_value=np.asarray(1.0, np.float32),
    )
    reference, *others = rules
    value = _cost(kind.cost, space.encode(rules[reference]), params).unpenalised
    params = params._replace(reference_value=np.asarray(value, np.float32))
    bound: YardstickRule = enumerated(space, _MOST_DESIGNS)
    if options.objective == "traffic":
        bound = functools.partial(_traffic_bound, kind, options)
    return one_shot_problem(
        options=options,
        space=space,
        objective=Objective(options.objective, goal.unit, goal.summary),
        cost=kind.cost,
        params=params,
        reference=(reference, rules[reference], kind.reference_source),
        bound=bound,
        baselines={name: functools.partial(_encoded, space, rules[name]) for name in others},
        breakdown=functools.partial(_break_down, space, network.kind, params),
        relaxation=relaxed,
        notes=breakdown.NOTES[network.kind],
        front=_FRONT,
        experts=functools.partial(_experts, kind, space, {name: rules[name] for name in others}, params),
    )


def _experts(
    kind: _Kind, space: DesignSpace, rules: Mapping[str, Mapping[str, object]], params: Params
) -> Sequence[Expert]:
    """The rules, on the artifact's machine at the scale of the budget."""
    found = []
    for name, values in rules.items():
        metrics = jax.device_get(_cost(kind.cost, space.encode(values), params).metrics)
        costs = {metric: float(getattr(metrics, metric)) for metric in _FRONT}
        found.append(Expert(name, costs, values, "derived: the machine of FuseMax's artifact, scaled to the budget"))
    return found


def _encoded(space: DesignSpace, values: Mapping[str, object]) -> tuple[int, ...]:
    return tuple(space.encode(values).tolist())


def _traffic_bound(kind: _Kind, options: AttentionOptions, problem: Problem) -> Yardstick:
    del problem
    return Yardstick("bound", kind.traffic_bound(options), kind.traffic_source)


def _core() -> Sequence[Mapping[str, object]]:
    return [
        {"model": network_text(network), "length": length, "objective": objective, "area_budget": budget}
        for network in shipped_networks()
        for length in (("1K", "16K", "256K") if network.kind == "attention" else ("1K",))
        for objective in sizing.OBJECTIVES
        for budget in sizing.AREA_BUDGETS_MM2
        if (length, objective) != ("1K", "traffic")  # which fits on chip: the reference is at the bound
    ]


def _facts() -> Sequence[tuple[str, Sequence[Mapping[str, object]]]]:
    budgets = [{"area budget": name, "mm2": size} for name, size in sizing.AREA_BUDGETS_MM2.items()]
    constants = [{"quantity": name, "value": value} for name, value in model.constants().items()]
    return (
        ("Area budgets", budgets),
        ("Rules", sizing.rule_rows()),
        ("Models", network_rows()),
        ("Constants", constants),
    )


SCENARIO = Scenario(
    summary="Size a FuseMax-like accelerator for attention within an area budget, and choose how attention is fused.",
    options_type=AttentionOptions,
    build=build,
    core=_core,
    facts=_facts,
)
