"""MoE-Lens' limit: how fast a GPU with little memory serves a mixture whose experts stream from the host's.

After MoE-Lens (Yuan et al., 2025): each pass streams all weights over PCIe once for all tokens in flight, the GPU
multiplies, and the CPU attends to keys and values in the host's memory, from which the weights stream too. As many
sequences are in flight as the memory for keys and values holds; where prompts and generation overlap, a sequence takes
half of what it will generate on average. The published accuracy of the law, 94 %, is for measurements that are not
public: nothing here is fitted, and only its ratios are checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ...errors import DsegymError

__all__ = ["Host", "Mixture", "Pass", "overlap_factor", "pass_of", "sequences_in_flight"]


@dataclass(frozen=True)
class Host:
    """A machine of one GPU."""

    pcie_bytes_s: float
    memory_bytes_s: float  # of the host
    peak_flop_s: float  # of the GPU
    efficiency: float  # of its peak
    kv_bytes: float  # of the host's memory, for keys and values


@dataclass(frozen=True)
class Mixture:
    """A model."""

    weight_bytes: float
    active_parameters: float  # of a token
    kv_bytes_per_token: float


class Pass(NamedTuple):
    """A pass over the model."""

    tokens: float  # that leave it: one for each sequence that generates, the prompts' too
    weights_s: float
    compute_s: float
    attention_s: float
    tokens_s: float  # throughput of generated tokens
    limit: str  # what takes longest: weights, compute or attention


def overlap_factor(prompt: float, generated: float) -> float:
    """How many times more sequences fit where prompts and generation overlap: (p + g) / (p + g / 2).

    Raises:
        DsegymError: there is no prompt and nothing is generated.
    """
    if min(prompt, generated) < 0 or prompt + generated <= 0:
        raise DsegymError(f"prompt = {prompt:g} and generated = {generated:g} tokens: none below 0, one above it.")
    return (prompt + generated) / (prompt + generated / 2)


def sequences_in_flight(host: Host, mixture: Mixture, prompt: float, generated: float, *, overlapped: bool) -> float:
    """How many sequences the memory for keys and values holds: whole ones, or at their mean length."""
    whole = host.kv_bytes / (mixture.kv_bytes_per_token * (prompt + generated))
    return whole * overlap_factor(prompt, generated) if overlapped else whole


def pass_of(host: Host, mixture: Mixture, prompt: float, generated: float, *, overlapped: bool = True) -> Pass:
    """The law: the longest of streaming, multiplying and attending; prompts are admitted as sequences end.

    Raises:
        DsegymError: nothing is generated, or the host's memory is slower than PCIe.
    """
    if prompt < 0 or generated <= 0:
        raise DsegymError(f"prompt = {prompt:g} and generated = {generated:g} tokens: 0 at least, and above 0.")
    if host.memory_bytes_s <= host.pcie_bytes_s:
        raise DsegymError("The host's memory must be faster than PCIe, which streams from it.")
    sequences = sequences_in_flight(host, mixture, prompt, generated, overlapped=overlapped)
    tokens = sequences * (1 + prompt / generated)
    weights = mixture.weight_bytes / host.pcie_bytes_s
    compute = 2 * mixture.active_parameters * tokens / (host.peak_flop_s * host.efficiency)
    read = sequences * mixture.kv_bytes_per_token * (prompt + generated / 2)
    attention = read / (host.memory_bytes_s - host.pcie_bytes_s)
    times = {"weights": weights, "compute": compute, "attention": attention}
    limit = max(times, key=lambda name: times[name])
    return Pass(tokens, weights, compute, attention, sequences / times[limit], limit)
