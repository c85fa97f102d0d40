"""Clusters, and how near software comes to their peaks: one set of constants.

`HALF_SIZE`, `TRAFFIC` and `CARDS` hold for all; a cluster has its `eta` and the shares that fused attention reaches, in
`tables/clusters.csv`. They are a joint fit to Megatron's tables 1 and 2, Korthikanti's eight iteration times and 209
bf16 rows of llm-foundry (A100 of both sizes, H100): seven constants, 239 points; `benchmarks/training_plans.py` makes
it again. Frontier's two are fitted to its three published shares of peak. Everything else is measured elsewhere
(collectives) or assumed, as the table's header says.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import DsegymError, UnknownNameError
from ..tables import package_rows
from ..transformers.devices import Device, get_device, get_precision, peak_flops
from .step import Machine

__all__ = ["ATTENTIONS", "OVERLAPS", "Cluster", "clusters", "get_cluster", "machine_of", "usable_bytes"]

HALF_SIZE = 1262.0  # x0
TRAFFIC = 2.31  # k
CARDS = 0.645
MEMORY_SHARE = 0.97  # the rest is the driver's; 212 of llm-foundry's 216 plans, which ran, then fit
OFFLOAD_BYTES_S = 6e9  # of an accelerator to host memory or an SSD: assumed

# Attention: which share of `tables/clusters.csv` it reaches; none where scores are written to memory.
ATTENTIONS = ("written", "triton", "flash2")
# Overlap: shares of the tensor group's traffic and of the layers' time behind which traffic hides. `data` is what
# frameworks do; `all` adds what T3 (arXiv 2401.16677) claims of its hardware: all of a tensor group's traffic.
OVERLAPS: Mapping[str, tuple[float, float]] = {"none": (0.0, 0.0), "data": (0.0, 0.5), "all": (1.0, 0.5)}


@dataclass(frozen=True)
class Cluster:
    """One kind of node; None where nothing is known."""

    name: str
    device: Device
    node: int  # accelerators
    pair_bytes_s: float | None  # between the two of a package
    scale_up_bytes_s: float
    scale_out_bytes_s: float
    eta: float
    fused: Mapping[str, float]  # {attention: share of the bf16 peak}
    server_w: float | None  # of a node at full power
    usd_gpu_h: float | None
    fitted: str


@functools.cache
def clusters() -> Mapping[str, Cluster]:
    """{name: cluster} of the package's table."""
    return {
        row["cluster"]: Cluster(
            name=row["cluster"],
            device=get_device(row["device"]),
            node=int(row["node"]),
            pair_bytes_s=float(row["pair_gb_s"]) * 1e9 if row["pair_gb_s"] else None,
            scale_up_bytes_s=float(row["scale_up_gb_s"]) * 1e9,
            scale_out_bytes_s=float(row["scale_out_gb_s"]) * 1e9,
            eta=float(row["eta"]),
            fused={name: float(row[name]) for name in ATTENTIONS[1:]},
            server_w=float(row["server_w"]) if row["server_w"] else None,
            usd_gpu_h=float(row["usd_gpu_h"]) if row["usd_gpu_h"] else None,
            fitted=row["fitted"],
        )
        for row in package_rows("training/tables/clusters.csv")
    }


def get_cluster(name: str) -> Cluster:
    """A cluster by its name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in clusters():
        raise UnknownNameError("cluster", name, clusters())
    return clusters()[name]


def usable_bytes(cluster: Cluster) -> float:
    """Of an accelerator: `MEMORY_SHARE` of as many 2^30 bytes as it is sold by 10^9."""
    return MEMORY_SHARE * cluster.device.memory_bytes * 2**30 / 1e9


def machine_of(
    cluster: Cluster, *, precision: str = "bf16", attention: str = "flash2", overlap: str = "data", lost: float = 0.0
) -> Machine:
    """A cluster as the law of a step takes it.

    Args:
        cluster: the cluster.
        precision: of the matrix products; attention stays in bf16.
        attention: of `ATTENTIONS`.
        overlap: of `OVERLAPS`.
        lost: share of the bandwidth between nodes that congestion takes.

    Raises:
        UnknownNameError: there is no such attention or overlap.
        DsegymError: the accelerator has no such arithmetic, or the share is none.
    """
    for kind, given, known in (("attention", attention, ATTENTIONS), ("overlap", overlap, OVERLAPS)):
        if given not in known:
            raise UnknownNameError(kind, given, known)
    if not 0 <= lost < 1:
        raise DsegymError(f"congestion = {lost:g} is not allowed; allowed: shares from 0 to below 1.")
    peak = peak_flops(cluster.device, get_precision(precision))
    tensor_hidden, data_hidden = OVERLAPS[overlap]
    return Machine(
        peak_flops=peak,
        bandwidth_bytes_s=cluster.device.bandwidth_bytes_s,
        node=cluster.node,
        pair_bytes_s=cluster.pair_bytes_s or cluster.scale_up_bytes_s,
        scale_up_bytes_s=cluster.scale_up_bytes_s,
        scale_out_bytes_s=cluster.scale_out_bytes_s * (1 - lost),
        offload_bytes_s=OFFLOAD_BYTES_S,
        eta=cluster.eta,
        half_size=HALF_SIZE,
        traffic=TRAFFIC,
        flash=cluster.fused.get(attention, 0.0) * cluster.device.peak_flops["bf16"] / peak,
        cards=CARDS,
        tensor_hidden=tensor_hidden,
        data_hidden=data_hidden,
    )
