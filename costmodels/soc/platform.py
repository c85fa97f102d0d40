"""Platforms: clusters of identical processing elements, their bandwidths, run times, frequencies and power."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

__all__ = ["Cluster", "OperatingPoint", "Platform"]


@dataclass(frozen=True)
class OperatingPoint:
    """A frequency, its supply voltage, and what the cluster draws there."""

    frequency_mhz: int
    voltage_mv: int
    leakage_w: float  # W, each element of the cluster, always
    dynamic_w: tuple[float, ...]  # W, the whole cluster beyond leakage, with 0, 1, ..., `elements` busy elements


@dataclass(frozen=True)
class Cluster:
    """Identical processing elements that share a frequency."""

    name: str
    elements: int
    operating_points: tuple[OperatingPoint, ...] = ()  # ascending by frequency; empty where power is unknown


@dataclass(frozen=True)
class Platform:
    """A system on chip. Elements are numbered cluster by cluster; each runs one task at a time.

    Attributes:
        name: of the platform.
        clusters: its clusters.
        bandwidth: {(cluster, cluster): volume per us} between two different elements, whole and positive; a pair that
            is not listed, in either order, has `default_bandwidth`.
        self_bandwidth: volume per us from an element to itself.
        run_times: {kernel: {cluster: us at the cluster's highest frequency}}, whole; a cluster that is left out cannot
            run the kernel.
        base_w: W, drawn all the time by what is no processing element: memory, display.
        source: where the numbers come from, and what is synthetic.
        tick_us: us that one whole number of `run_times` stands for, and of which bandwidths count; not 1 only for
            graphs from files, whose times are fractions of a us or too long for 32 bits of them.
    """

    name: str
    clusters: tuple[Cluster, ...]
    run_times: Mapping[str, Mapping[str, int]]
    bandwidth: Mapping[tuple[str, str], int] = field(default_factory=dict)
    default_bandwidth: int = 1
    self_bandwidth: int = 10_000
    base_w: float = 0.0
    source: str = ""
    tick_us: Fraction = Fraction(1)

    @functools.cached_property
    def element_clusters(self) -> tuple[int, ...]:
        """The cluster's index of each element."""
        return tuple(c for c, cluster in enumerate(self.clusters) for _ in range(cluster.elements))

    @functools.cached_property
    def element_names(self) -> tuple[str, ...]:
        """The cluster's name, and a number where the cluster has more than one element."""
        return tuple(
            cluster.name if cluster.elements == 1 else f"{cluster.name}.{number}"
            for cluster in self.clusters
            for number in range(cluster.elements)
        )

    @property
    def has_power(self) -> bool:
        """Whether every cluster has operating points, so that energy can be told."""
        return all(cluster.operating_points for cluster in self.clusters)

    def bandwidth_between(self, first: str, second: str) -> int:
        """Volume per us between different elements of two clusters (or of one)."""
        found = self.bandwidth.get((first, second), self.bandwidth.get((second, first)))
        return self.default_bandwidth if found is None else found
