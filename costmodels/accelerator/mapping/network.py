"""Networks as loop nests, and what one costs under a mapping of each of its layers. L: distinct layers."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ... import wide
from ...arrays import Array
from ...errors import InvalidWorkloadError
from ..workloads import Loops, Workload
from .model import Costs, Hardware, LayerShape, Mapping, area_mm2, energies, evaluate, evaluate_relaxed

__all__ = [
    "CLOCK_HZ",
    "LARGEST_PRIME",
    "LayerMetrics",
    "Metrics",
    "Network",
    "NetworkArrays",
    "evaluate_apart",
    "evaluate_network",
    "padded",
    "relaxed",
]

CLOCK_HZ = 1e9  # assumed, as for the other platforms
LARGEST_PRIME = 13  # of a bound; a vocabulary of 50,257 entries, a prime, would have no tiles
MOST_LAYERS = 64  # distinct ones


class NetworkArrays(NamedTuple):
    """The distinct layers of a network, in the form that the model takes."""

    shapes: LayerShape  # leaves int32[L, ...]
    occurrences: Array  # int32[L]


class Metrics(NamedTuple):
    """What a network costs. Scalars."""

    latency_s: Any  # float32, as all that are not counts
    energy_j: Any
    area_mm2: Any
    utilisation: Any  # multiply-accumulates over those that the array could do in the time
    cycles: Any  # wide.Wide
    compute_cycles: Any  # wide.Wide
    dram_words: Any  # wide.Wide
    array_energy_j: Any
    accumulator_energy_j: Any
    scratchpad_energy_j: Any
    dram_energy_j: Any


class LayerMetrics(NamedTuple):
    """What each layer of a network costs, its occurrences together. float32[L], but for the area."""

    latency_s: Any
    energy_j: Any
    area_mm2: Any  # of the machine


def padded(bound: int) -> int:
    """A bound with its prime factors above `LARGEST_PRIME` replaced: their product by the next number without such."""
    smooth, rough = 1, bound
    for prime in range(2, LARGEST_PRIME + 1):
        while rough % prime == 0:
            smooth, rough = smooth * prime, rough // prime
    while rough > 1 and _has_large_prime(rough):
        rough += 1
    return smooth * rough


def _has_large_prime(number: int) -> bool:
    for prime in range(2, LARGEST_PRIME + 1):
        while number % prime == 0:
            number //= prime
    return number > 1


@dataclass(frozen=True)
class Network:
    """The distinct layers of a workload as loop nests, their bounds `padded`."""

    name: str
    names: tuple[str, ...]  # of each distinct layer: the first that has this shape
    loops: tuple[Loops, ...]
    occurrences: tuple[int, ...]

    @classmethod
    def of(cls, workload: Workload) -> Network:
        """Merges layers of one shape.

        Raises:
            InvalidWorkloadError: too many distinct layers, or accesses that the model's integers may not hold.
        """
        counts: Counter[Loops] = Counter()
        names: dict[Loops, str] = {}
        for layer in workload.layers:
            nest = layer.loops
            bounds: Any = tuple(padded(bound) for bound in nest.bounds)
            counts[nest._replace(bounds=bounds)] += layer.count
            names.setdefault(nest._replace(bounds=bounds), layer.name)
        if len(counts) > MOST_LAYERS:
            raise InvalidWorkloadError(
                f"'{workload.name}' has {len(counts)} distinct layers; with a mapping for each, at most {MOST_LAYERS} "
                "are allowed."
            )
        # Without any reuse each multiply-accumulate moves a word of each tensor, and a partial sum both ways; a stride
        # may read as many words beside each.
        worst = sum(4 * np.prod(each.bounds, dtype=object) * np.prod(each.strides) * n for each, n in counts.items())
        if worst > wide.LIMIT:
            raise InvalidWorkloadError(f"'{workload.name}': up to {worst} words of traffic, above {wide.LIMIT}.")
        return cls(workload.name, tuple(names.values()), tuple(counts), tuple(counts.values()))

    @functools.cached_property
    def arrays(self) -> NetworkArrays:
        """For the model."""
        shapes = LayerShape(*(np.array(each, np.int32) for each in zip(*self.loops, strict=True)))
        return NetworkArrays(shapes, np.array(self.occurrences, np.int32))

    def shape(self, layer: int) -> LayerShape:
        """One layer's."""
        return LayerShape(*(np.array(each, np.int32) for each in self.loops[layer]))


def _metrics(totals: Costs, hardware: Hardware) -> Metrics:
    parts = energies(totals, hardware)
    cycles, macs = (
        wide.to_float32(each) if isinstance(each, wide.Wide) else each for each in (totals.cycles, totals.macs)
    )
    array, accumulator, scratchpad, dram = parts
    return Metrics(
        latency_s=cycles * np.float32(1.0 / CLOCK_HZ),
        energy_j=array + accumulator + scratchpad + dram,
        area_mm2=area_mm2(hardware),
        utilisation=macs / (cycles * (hardware.edge * hardware.edge * jnp.float32(1))),
        cycles=totals.cycles,
        compute_cycles=totals.compute_cycles,
        dram_words=totals.dram_accesses,
        array_energy_j=array,
        accumulator_energy_j=accumulator,
        scratchpad_energy_j=scratchpad,
        dram_energy_j=dram,
    )


def evaluate_apart(mappings: Mapping, network: NetworkArrays, hardware: Hardware) -> LayerMetrics:
    """Costs of each layer, from the exact counts."""
    layers = jax.vmap(evaluate, in_axes=(0, 0, None))(mappings, network.shapes, hardware)
    array, accumulator, scratchpad, dram = jax.vmap(energies, in_axes=(0, None))(layers, hardware)
    # Kept apart by a maximum: compilers multiply in another order at some batch sizes only.
    seconds = jnp.maximum(wide.to_float32(layers.cycles) * np.float32(1.0 / CLOCK_HZ), 0.0)
    joules = jnp.maximum(array + accumulator + scratchpad + dram, 0.0)
    return LayerMetrics(seconds * network.occurrences, joules * network.occurrences, area_mm2(hardware))


def evaluate_network(mappings: Mapping, network: NetworkArrays, hardware: Hardware) -> Metrics:
    """Exact costs of a network: layers run one after another. Leaves of `mappings` are [L, ...], int32."""
    layers = jax.vmap(evaluate, in_axes=(0, 0, None))(mappings, network.shapes, hardware)
    totals = Costs(*(wide.sum_last(wide.scale(count, network.occurrences)) for count in layers))
    return _metrics(totals, hardware)


def relaxed(mappings: Mapping, network: NetworkArrays, hardware: Hardware) -> Metrics:
    """Costs of real-valued factors, counts float32, differentiable; equal to the exact ones at whole factors."""
    layers = jax.vmap(evaluate_relaxed, in_axes=(0, 0, None))(mappings, network.shapes, hardware)
    totals = Costs(*(jnp.sum(count * network.occurrences) for count in layers))
    return _metrics(totals, hardware)
