"""A server of GPUs with host memory, CXL cards and SSDs, and how near its GPUs come to their peaks.

Links are one direction. What a reference states as a range (PCIe 4.0 x16 at 25 GB/s, CXL cards at 20 to 30, SSDs at 3
to 7, 1 to 2.5 x 10^9 Adam updates a second and socket) is recalled there, not measured: a server takes its own numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from ..training.clusters import HALF_SIZE, MEMORY_SHARE, clusters
from ..training.step import Number
from ..transformers.devices import Device

__all__ = ["HOST_SHARE", "Reached", "Server", "gpu_usable_bytes", "reached_by"]

HOST_SHARE = 0.9  # of host memory: the rest is the system's; assumed


class Server(NamedTuple):
    """Rates in units a second, capacities in bytes; of all GPUs, cards and SSDs together unless said."""

    gpus: Number
    peak_flops: Number  # of one GPU
    bandwidth_bytes_s: Number  # of one GPU's memory
    eta: Number  # share of the peak that large matrix products reach
    half_size: Number  # size of a product that reaches half of that, as of `training/step.py`
    flash: Number  # share of the peak that FlashAttention-2 reaches
    link_bytes_s: Number  # of one GPU to the host, and back at the same time
    fabric_bytes_s: Number  # of one GPU to the others
    cxl_bytes_s: Number  # to the cards, and back at the same time
    read_bytes_s: Number  # of the SSDs
    write_bytes_s: Number  # of the SSDs, at the same time
    updates_s: Number  # parameters that the processors' Adam updates
    gpu_bytes: Number  # of one GPU
    host_bytes: Number
    cxl_bytes: Number
    ssd_bytes: Number


class Reached(NamedTuple):
    """What software reaches of a GPU's peak, and how that is known."""

    eta: float
    half_size: float
    flash: float
    known: str


# RTX 4090: eta and half_size from Llama-3.1-8B's matrix products of 512 and 2,048 tokens as vLLM ran them (profiles of
# LLMServingSim, MIT): 161.0 and 165.2 TFLOP/s. FlashAttention-2 as on an A100: assumed, 3 % of a step.
_MEASURED = {"RTX4090": Reached(1.028, 110.0, 0.6, "measured matrix products; attention assumed")}
_ASSUMED = Reached(0.7, HALF_SIZE, 0.5, "assumed")


def reached_by(device: Device) -> Reached:
    """Of a device: measured, fitted to published training runs (`training/tables/clusters.csv`), or assumed."""
    for cluster in clusters().values():
        if cluster.device.name == device.name:
            return Reached(cluster.eta, HALF_SIZE, cluster.fused["flash2"], f"fitted to {cluster.fitted}")
    return _MEASURED.get(device.name, _ASSUMED)


def gpu_usable_bytes(device: Device) -> float:
    """Of one GPU, as in training: a share of as many 2^30 bytes as it is sold by 10^9."""
    return MEMORY_SHARE * device.memory_bytes * 2**30 / 1e9
