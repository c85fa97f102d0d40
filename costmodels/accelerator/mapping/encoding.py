"""The mapping game: hardware and each layer's mapping as lists of values, so that every choice is a legal mapping.

| parameter | values |
|---|---|
| edge | 4 to 128 processing elements along each side |
| scratchpad, accumulator | 8 to 2048 KiB, 2 to 2048 KiB |
| a layer's R, S, P, Q, N | every way to write the bound as DRAM x scratchpad x accumulator factors |
| a layer's C, K | the same with a factor over space: C over rows, K over columns |
| a layer's order at accumulator, scratchpad and DRAM | which of three groups of loops runs innermost, and which next |

So factors always multiply to the bound. What does not fit the machine is moved outwards (`fitted`): a factor over space
that is wider than the array becomes a loop at the accumulators; loops whose tile overflows the accumulators go to the
scratchpad, and those whose tile overflows the scratchpad go to DRAM, one whole factor after another in a fixed order
until the rest fits. A mapping that fits is left as it is. Loops at the registers are not offered: under an order that
has P, Q and N innermost, those at the accumulators do the same.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...errors import InvalidWorkloadError
from .model import (
    ACCUMULATOR,
    DIMENSIONS,
    DRAM,
    LEVELS,
    SCRATCHPAD,
    C,
    Hardware,
    K,
    LayerShape,
    Mapping,
    N,
    P,
    Q,
    R,
    S,
    inside_of,
    overflow,
)
from .network import Network, NetworkArrays

__all__ = [
    "EDGES",
    "ORDERS",
    "Tables",
    "choices",
    "decode",
    "decode_relaxed",
    "fitted",
    "hardware_values",
    "split_text",
    "tables",
]

EDGES = (4, 8, 16, 32, 64, 128)
_SCRATCHPAD_KIB = tuple(2**power for power in range(3, 12))
_ACCUMULATOR_KIB = tuple(2**power for power in range(1, 12))
MOST_SPLITS = 20_000  # of one bound

# From the outermost loop to the innermost. A group's loops leave one tensor where it is: inputs (K), weights (N, Q, P),
# outputs (C, R, S).
_GROUPS: AnyMapping[str, tuple[int, ...]] = {"K": (K,), "NQP": (N, Q, P), "CRS": (C, R, S)}
ORDERS: AnyMapping[str, tuple[int, ...]] = {
    " ".join(names): tuple(itertools.chain.from_iterable(_GROUPS[name] for name in names))
    for names in itertools.permutations(_GROUPS)
}
_PLACES = np.argsort(list(ORDERS.values()), axis=1).astype(np.int32)  # [6, 7], of each dimension in the order
_INSIDE = np.stack([inside_of(order) for order in ORDERS.values()])  # [6, 7, 7]
_ORDERED_LEVELS = (ACCUMULATOR, SCRATCHPAD, DRAM)


def hardware_values() -> dict[str, tuple[int, ...]]:
    """{parameter: values} of the machine, in the order of `Hardware`."""
    return {"edge": EDGES, "scratchpad": _SCRATCHPAD_KIB, "accumulator": _ACCUMULATOR_KIB}


@functools.cache
def splits(bound: int, slots: int) -> tuple[tuple[int, ...], ...]:
    """Every way to write a bound as an ordered product of so many factors; the first of space, the rest outwards."""
    if slots == 1:
        return ((bound,),)
    divisors = [each for each in range(1, bound + 1) if bound % each == 0]
    return tuple((each, *rest) for each in divisors for rest in splits(bound // each, slots - 1))


@functools.cache
def _splits_of(dimension: int, bound: int) -> tuple[tuple[int, int, int, int], ...]:
    """(space, accumulator, scratchpad, DRAM) factors of a bound; over space none is wider than the widest array."""
    if dimension in (C, K):
        return tuple((a, b, c, d) for a, b, c, d in splits(bound, 4) if a <= max(EDGES))
    return tuple((1, b, c, d) for b, c, d in splits(bound, 3))


def split_text(dimension: int, factors: Sequence[int]) -> str:
    """Factors as a user reads them, DRAM first; that over space with an X."""
    space, *loops = (int(each) for each in factors)
    return " ".join(map(str, reversed(loops))) + (f" {space}X" if dimension in (C, K) else "")


def choices(network: Network) -> dict[str, tuple[int, ...] | tuple[str, ...]]:
    """{parameter: values} of hardware and mappings, in the order of a design.

    Raises:
        InvalidWorkloadError: a bound has too many splits.
    """
    found: dict[str, tuple[int, ...] | tuple[str, ...]] = {**hardware_values()}
    for layer, (name, nest) in enumerate(zip(network.names, network.loops, strict=True)):
        for dimension, bound in enumerate(nest.bounds):
            if bound == 1:
                continue
            every = _splits_of(dimension, bound)
            if len(every) > MOST_SPLITS:
                raise InvalidWorkloadError(
                    f"'{network.name}', layer '{name}': {DIMENSIONS[dimension]} = {bound} has {len(every)} tilings; at "
                    f"most {MOST_SPLITS} are allowed."
                )
            found[f"layer{layer}_{DIMENSIONS[dimension]}"] = tuple(split_text(dimension, each) for each in every)
        for level in _ORDERED_LEVELS:
            found[f"layer{layer}_{LEVELS[level]}_order"] = tuple(ORDERS)
    return found


class Tables(NamedTuple):
    """How a design of n indices is read, as arrays. T rows of splits, all parameters' one after another."""

    hardware: tuple[Array, ...]  # int32[values] each, in the order of `Hardware`
    splits: Array  # int32[T + 1, 4], a row of ones at the end
    first: Array  # int32[L, 7], the row of each bound's first split; of a bound of 1 the last row
    place: Array  # int32[L, 7], where its index stands in the design; of a bound of 1 place n
    order_place: Array  # int32[L, 3]
    owner: Array  # int32[T], the split's layer times 7 plus its dimension
    # Where the weights of values stand when those of all layers' parameters follow each other.
    split_weight: Array  # int32[T]
    order_weight: Array  # int32[L, 3, 6]


def tables(network: Network) -> Tables:
    """The tables of a network's `choices`."""
    place, count, weight = len(hardware_values()), len(network.loops), 0
    rows: list[tuple[int, int, int, int]] = []
    owner: list[int] = []
    split_weight: list[int] = []
    first, places = np.full((2, count, len(DIMENSIONS)), -1, np.int32)
    order_place, order_weight = np.zeros((count, 3), np.int32), np.zeros((count, 3, len(ORDERS)), np.int32)
    for layer, nest in enumerate(network.loops):
        for dimension, bound in enumerate(nest.bounds):
            if bound > 1:
                every = _splits_of(dimension, bound)
                first[layer, dimension], places[layer, dimension] = len(rows), place
                rows += every
                owner += [layer * len(DIMENSIONS) + dimension] * len(every)
                split_weight += range(weight, weight + len(every))
                place, weight = place + 1, weight + len(every)
        order_place[layer] = np.arange(place, place + 3)
        order_weight[layer] = weight + np.arange(3 * len(ORDERS)).reshape(3, -1)
        place, weight = place + 3, weight + 3 * len(ORDERS)
    first[first < 0], places[places < 0] = len(rows), place
    return Tables(
        hardware=tuple(np.array(values, np.int32) for values in hardware_values().values()),
        splits=np.array([*rows, (1, 1, 1, 1)], np.int32),
        first=first,
        place=places,
        order_place=order_place,
        owner=np.array(owner, np.int32),
        split_weight=np.array(split_weight, np.int32),
        order_weight=order_weight,
    )


def _mapping(factors: Array, inside: Array) -> Mapping:
    """From [L, 7, 4] factors (space, accumulator, scratchpad, DRAM) and [L, 3, 7, 7] orders."""
    registers = jnp.ones_like(factors[..., 0])
    temporal = jnp.stack([registers, factors[..., 1], factors[..., 2], factors[..., 3]], axis=1)
    return Mapping(temporal, factors[:, C, 0], factors[:, K, 0], inside)


def decode(
    design: Array, tables: Tables, network: NetworkArrays, dram_words_per_cycle: Array
) -> tuple[Hardware, Mapping]:
    """The machine and the mappings, [L, ...], of a design int32[n], `fitted` to the machine."""
    machine = [values[design[place]] for place, values in enumerate(map(jnp.asarray, tables.hardware))]
    edge, scratchpad, accumulator = machine
    hardware = Hardware(edge, scratchpad, accumulator, dram_words_per_cycle)
    factors = jnp.asarray(tables.splits)[tables.first + jnp.append(design, 0)[tables.place]]
    chosen = _mapping(factors, jnp.asarray(_PLACES)[design[tables.order_place]])
    temporal, rows, columns, places = _kept(jax.vmap(fitted, in_axes=(0, 0, None))(chosen, network.shapes, hardware))
    # Orders are compared, not looked up: XLA makes the 49 comparisons of a level where they are needed.
    return hardware, Mapping(temporal, rows, columns, (places[..., :, None] > places[..., None, :]).astype(jnp.int32))


def _kept(mappings: Mapping) -> Mapping:
    """The same, written to memory: XLA would otherwise make each mapping anew for every count that reads it.

    On CPUs it takes optimisation barriers away before it fuses; through a loop it does not fuse.
    """
    return jax.lax.scan(lambda carry, layer: (carry, jax.lax.optimization_barrier(layer)), None, mappings)[1]


def decode_relaxed(weights: Sequence[Array], tables: Tables, dram_words_per_cycle: Array) -> tuple[Hardware, Mapping]:
    """The machine and the mappings of weights over each parameter's values: geometric means, and means of orders.

    Products of factors stay the bounds, as their logarithms add up for every value.
    """
    machine = [
        jnp.exp(jnp.dot(each, jnp.log(jnp.asarray(values))))
        for each, values in zip(weights, tables.hardware, strict=False)
    ]
    layers, every = len(tables.first), jnp.concatenate(weights[len(machine) :])
    logs = every[tables.split_weight][:, None] * jnp.log(jnp.asarray(tables.splits[:-1], jnp.float32))
    factors = jnp.exp(jax.ops.segment_sum(logs, tables.owner, num_segments=layers * 7)).reshape(layers, 7, 4)
    inside = jnp.einsum("lvo,oij->lvij", every[tables.order_weight], jnp.asarray(_INSIDE, jnp.float32))
    edge, scratchpad, accumulator = machine
    return Hardware(edge, scratchpad, accumulator, dram_words_per_cycle), _mapping(factors, inside)


# What gives way first: loops that enlarge a tile and serve little reuse there; (level, dimension) of each.
_FROM_ACCUMULATOR = tuple((ACCUMULATOR, dimension) for dimension in (N, K, Q, P))
_FROM_SCRATCHPAD = tuple((level, each) for level in (SCRATCHPAD, ACCUMULATOR) for each in (N, C, K, Q, P, S, R))


def _moved(mapping: Mapping, order: Sequence[tuple[int, int]], count: Array, to: int) -> Mapping:
    """The first so many factors of an order at another level; one more than there are takes the rows along."""
    place = np.full((len(LEVELS), len(DIMENSIONS)), len(order))
    for position, (level, dimension) in enumerate(order):
        place[level, dimension] = position
    goes, rows_go = (place < count) & (place < len(order)), count > len(order)
    gone = jnp.prod(jnp.where(goes, mapping.temporal, 1), axis=0)
    gone *= jnp.where((np.arange(len(DIMENSIONS)) == C) & rows_go, mapping.rows, 1)
    stays = jnp.where(goes, 1, mapping.temporal)
    outer = (np.arange(len(LEVELS)) == to)[:, None]
    return mapping._replace(temporal=stays * jnp.where(outer, gone, 1), rows=jnp.where(rows_go, 1, mapping.rows))


def fitted(mapping: Mapping, shape: LayerShape, hardware: Hardware) -> Mapping:
    """The mapping, int32, with factors moved outwards until it fits the machine; unchanged if it fits.

    Every move makes the tile smaller or leaves it, so that as many are needed as there are steps at which it overflows.
    The last one leaves a single row of a wide array beside a small scratchpad, which always fits.
    """
    rows, columns = (jnp.where(each <= hardware.edge, each, 1) for each in (mapping.rows, mapping.columns))
    wide = jnp.ones((len(LEVELS), len(DIMENSIONS)), jnp.int32)
    wide = wide.at[ACCUMULATOR, C].set(mapping.rows // rows).at[ACCUMULATOR, K].set(mapping.columns // columns)
    mapping = Mapping(mapping.temporal * wide, rows, columns, mapping.inside)
    for level, order, to in ((ACCUMULATOR, _FROM_ACCUMULATOR, SCRATCHPAD), (SCRATCHPAD, _FROM_SCRATCHPAD, DRAM)):

        def too_full(
            count: Array, mapping: Mapping = mapping, level: int = level, order: Any = order, to: int = to
        ) -> Any:
            return overflow(_moved(mapping, order, count, to), shape, hardware)[2 + level] > 1.0

        moves = jnp.sum(jax.vmap(too_full)(np.arange(len(order) + 1)), dtype=jnp.int32)
        mapping = _moved(mapping, order, moves, to)
    return mapping
