"""The sizing game: the values of each dimension, budgets and their references, objectives, and the exact optimum.

F fields of `model.Hardware`, B designs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from ..files import plain_number
from . import model
from .platforms import Platform
from .workloads import LayerArrays

__all__ = [
    "AREA_BUDGETS_MM2",
    "BUDGETS_TEXT",
    "BUFFER_KIB",
    "DRAM_WORDS",
    "INFEASIBLE_FACTOR",
    "MOST_AREA_MM2",
    "OBJECTIVES",
    "TARGET_SHARES",
    "VALUES",
    "Goal",
    "Optimum",
    "Params",
    "Tally",
    "area_text",
    "least_area_mm2",
    "objective_values",
    "params_of",
    "parse_area_mm2",
    "penalty",
    "reference_scale",
    "reference_values",
    "with_rows",
]

_ARRAY = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
BUFFER_KIB = tuple(2**power for power in range(3, 12))
DRAM_WORDS = tuple(2**power for power in range(1, 9))
# {dimension: its values}, in the order of `model.Hardware`.
VALUES: Mapping[str, tuple[int, ...] | tuple[str, ...]] = {
    "rows": _ARRAY,
    "columns": _ARRAY,
    "ifmap_buffer": BUFFER_KIB,
    "filter_buffer": BUFFER_KIB,
    "ofmap_buffer": BUFFER_KIB,
    "dram_width": DRAM_WORDS,
    "dataflow": model.DATAFLOWS,
}

AREA_BUDGETS_MM2: Mapping[str, int] = {"small": 2, "medium": 8, "large": 20}
MOST_AREA_MM2 = 100  # of a budget; the largest design of the space has about half of it
BUDGETS_TEXT = ", ".join(f"{name} = {budget} mm2" for name, budget in AREA_BUDGETS_MM2.items())

# The reference: Gemmini's default (16 x 16, weight stationary, 128 KiB scratchpad, 32 KiB accumulator, as DOSA has it),
# every dimension times the largest of these factors, all whose designs are in the space, that the budget holds.
_GEMMINI = {"rows": 16, "columns": 16, "ifmap_buffer": 64, "filter_buffer": 64, "ofmap_buffer": 32, "dram_width": 8}
_SCALES = (0.25, 0.5, 1, 2, 4, 8, 16)
_ROOM = 1 + 1e-6  # of a reference in its budget, so that no rounding of areas decides whether it is feasible

# Shares of the reference's metrics that the target objective asks for, as in ArchGym's TimeloopGym: -30 % energy, -15 %
# area, -20 % time.
TARGET_SHARES = {"energy_j": 0.70, "area_mm2": 0.85, "latency_s": 0.80}
_TARGET_SLOPE = 0.1

# Above the largest feasible objective over the reference's: see `worst_over_reference` in optima.csv.
INFEASIBLE_FACTOR = 1e6


def parse_area_mm2(given: object) -> float:
    """mm2 that a user means: a named budget's, or a number with or without its unit.

    Raises:
        ValueError: neither, or out of range.
    """
    if isinstance(given, str):
        if given in AREA_BUDGETS_MM2:
            return AREA_BUDGETS_MM2[given]
        given = given.removesuffix("mm2").strip()
    value = plain_number(given)
    if not 0 < value <= MOST_AREA_MM2:
        raise ValueError
    return int(value) if value.is_integer() else value


def area_text(area_mm2: float) -> str:
    """A named budget by its name, whatever number it was given as."""
    named: Mapping[float, str] = {budget: name for name, budget in AREA_BUDGETS_MM2.items()}
    return named.get(area_mm2) or np.format_float_positional(area_mm2, trim="-")


class Params(NamedTuple):
    """What tells instances apart, all traced: instances of one platform share compiled code."""

    layers: LayerArrays  # int32[L] each
    objective: Array  # int32, index into OBJECTIVES
    area_budget_mm2: Array  # float32
    targets: Array  # float32[3]: J, mm2, s
    reference_value: Array  # float32, in the objective's unit


class Costs(Protocol):
    """What an objective is made of: of a design, a relaxed design or a bound."""

    @property
    def latency_s(self) -> Any: ...
    @property
    def energy_j(self) -> Any: ...
    @property
    def area_mm2(self) -> Any: ...


@dataclass(frozen=True)
class Goal:
    """An objective: its unit, one line about it, and `(metrics, targets float32[3]) -> float32`."""

    unit: str
    summary: str
    value: Callable[[Costs, Array], Array]


def _target(metrics: Costs, targets: Array) -> Array:
    """Mean over energy, area and latency of the excess over the target, plus a slope that goes on rewarding beyond it.

    ArchGym's distance to a target has either a pole at the target or a floor below it; here better is never punished.
    """
    # Compilers round the same at every batch size only where no division is by a vector and no product is in a sum.
    ratios = jnp.stack([metrics.energy_j, metrics.area_mm2, metrics.latency_s]) * (1.0 / targets)
    slope = jnp.maximum(_TARGET_SLOPE * ratios, 0.0)
    energy, area, latency = jnp.maximum(ratios - 1.0, 0.0) + slope
    return (energy + area + latency) / 3.0


OBJECTIVES: Mapping[str, Goal] = {
    "latency": Goal("s", "time of one inference", lambda metrics, targets: metrics.latency_s),
    "energy": Goal("J", "energy of one inference", lambda metrics, targets: metrics.energy_j),
    "edp": Goal("J s", "energy-delay product", lambda metrics, targets: metrics.energy_j * metrics.latency_s),
    "target": Goal("", "mean excess over the targets: reference energy -30 %, area -15 %, latency -20 %", _target),
}


def objective_values(metrics: Costs, targets: Array) -> jax.Array:
    """float32[4], every objective, in the order of OBJECTIVES."""
    return jnp.stack([goal.value(metrics, targets) for goal in OBJECTIVES.values()])


def penalty(excess: Array, params: Params) -> Array:
    """float32, the objective of a design whose area exceeds the budget by this share of it."""
    return params.reference_value * INFEASIBLE_FACTOR * (1.0 + excess)


def _scaled(scale: float) -> dict[str, int]:
    """{dimension: value} of Gemmini's default, scaled, without the dataflow."""
    return {name: int(value * scale) for name, value in _GEMMINI.items()}


@functools.cache
def _areas_mm2(platform: Platform) -> np.ndarray:
    """float32[scales], mm2: of the references."""
    sizes = np.array([tuple(_scaled(scale).values()) for scale in _SCALES], np.int32).T
    return np.asarray(model.area_mm2(model.Hardware(*sizes, dataflow=None), platform.technology))


def least_area_mm2(platform: Platform) -> float:
    """mm2, rounded up: the least budget that holds a reference."""
    return math.ceil(float(_areas_mm2(platform)[0]) * _ROOM * 1e4) / 1e4


def reference_scale(area_budget_mm2: float, platform: Platform) -> float:
    """The factor of an area budget's reference; of one that is below `least_area_mm2`, the least factor."""
    held = _areas_mm2(platform).astype(np.float64) * _ROOM <= area_budget_mm2
    return _SCALES[max(int(held.sum()) - 1, 0)]


def reference_values(area_budget_mm2: float, platform: Platform) -> dict[str, int | str]:
    """{dimension: value} of the reference of an area budget: Gemmini's default, scaled."""
    return {**_scaled(reference_scale(area_budget_mm2, platform)), "dataflow": "ws"}


@functools.partial(jax.jit, static_argnums=2)
def _metrics(hardware: model.Hardware, layers: LayerArrays, platform: Platform) -> model.Metrics:
    """Of hardware int32[B] each, leaves [B]."""
    return jax.vmap(model.evaluate, in_axes=(0, None, None))(hardware, layers, platform)


def params_of(layers: LayerArrays, *, objective: str, area_budget_mm2: float, platform: Platform) -> Params:
    """An instance, its targets and penalty from the metrics of its reference."""
    *sizes, dataflow = reference_values(area_budget_mm2, platform).values()
    hardware = model.Hardware(*(np.array([value], np.int32) for value in (*sizes, model.DATAFLOWS.index(dataflow))))
    metrics = jax.tree.map(lambda leaf: leaf[0], _metrics(hardware, layers, platform))
    targets = np.array(
        [share * np.asarray(getattr(metrics, name)) for name, share in TARGET_SHARES.items()], np.float32
    )
    value = OBJECTIVES[objective].value(metrics, targets)
    return Params(
        layers=layers,
        objective=np.asarray(tuple(OBJECTIVES).index(objective), np.int32),
        area_budget_mm2=np.asarray(area_budget_mm2, np.float32),
        targets=targets,
        reference_value=np.asarray(value, np.float32),
    )


def with_rows(params: Params, count: int) -> Params:
    """The instance with `count` rows of layers; those that are added are of one product that occurs zero times."""
    more = (0, count - len(params.layers.m))
    rows = LayerArrays(*(np.pad(leaf, more, constant_values=1) for leaf in params.layers))
    return params._replace(layers=rows._replace(occurrences=np.pad(params.layers.occurrences, more)))


class Optimum(NamedTuple):
    """What an exhaustive enumeration finds of one objective."""

    value: float
    number: int  # of the first optimal design in the enumeration
    ties: int  # designs with this value
    feasible: int  # designs
    worst: float  # feasible value


class Tally:
    """The optimum of everything seen so far; chunks come in the order of the enumeration."""

    def __init__(self) -> None:
        self.found = Optimum(np.inf, -1, 0, 0, 0.0)

    def add(self, start: int, values: np.ndarray, feasible: np.ndarray) -> None:
        """Counts a chunk: the number of its first design, objectives float[B], feasible bool[B]."""
        kept = np.flatnonzero(feasible)
        if not kept.size:
            return
        best, number, ties, count, worst = self.found
        values = values[kept]
        least = values.min()
        if least < best:
            best, number, ties = least, start + int(kept[values.argmin()]), 0
        ties += int((values == best).sum())
        self.found = Optimum(best, number, ties, count + kept.size, max(worst, values.max()))
