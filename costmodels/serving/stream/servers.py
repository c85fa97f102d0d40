"""Servers that serve one model: measured deployments, and GPUs of the datasheets by the roofline.

`4*rtx4090`, `2*rtx4090+1*rtxpro6000`, `2*H100-SXM-80GB`, `1*A100-SXM-80GB/2` (two GPUs, tensor parallel). What the
cache holds is what memory leaves beside the weights.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ...errors import DsegymError, UnknownNameError
from ...transformers.architectures import Architecture, architectures, get_architecture, kv_bytes_per_token
from ...transformers.devices import devices, get_device, get_precision
from ...transformers.memory import capacity_tokens, require_fit
from ..engine.engine import BLOCK, Limits, limits_of
from ..engine.law import PROFILES, StepLaw, profile_law, roofline_law
from ..long_context import HOST_BYTES_S
from ..roofline import replica_of

__all__ = [
    "MEASURED",
    "MODELS",
    "MOST_SERVERS",
    "PREEMPTIONS",
    "Server",
    "block_us",
    "get_server",
    "parse_servers",
    "server_rows",
    "servers_of",
    "stacked",
]

MOST_SERVERS = 16
PRECISION = "bf16"
MODELS = tuple(name for name, each in architectures().items() if not int(each.experts))


class _Measured(NamedTuple):
    profile: str
    model: str
    blocks: int  # of cache; 0.9 of 96 GB a GPU less the weights on the RTX PRO 6000, what vLLM states on the RTX 4090


MEASURED: Mapping[str, _Measured] = {
    "rtx4090": _Measured("rtx4090_llama31_8b_tp1", "Llama-3-8B", 2587),
    "rtxpro6000": _Measured("rtxpro6000_llama31_8b_tp1", "Llama-3-8B", 33_000),
    "rtxpro6000_tp2": _Measured("rtxpro6000_qwen3_32b_tp2", "Qwen3-32B", 25_000),
}
# A copy of its own of a block's keys, and of its values, of every layer, as vLLM laid its cache out; or blocks that lie
# side by side at once, as FastSwitch has them (arXiv 2411.18424), which the link bounds and not the calls.
_CALL_S = 6e-6  # of cudaMemcpyAsync: 5 to 7 us were measured (arXiv 2602.21548, section 5.2)
PREEMPTIONS = ("recompute", "swap", "grouped_swap")
_PART = re.compile(r"([1-9][0-9]?)\*([A-Za-z0-9_.-]+?)(?:/([1248]))?")


class Server(NamedTuple):
    """One engine."""

    name: str
    law: StepLaw
    blocks: int  # of cache
    measured: bool
    swap_us: Mapping[str, int]  # of a block to the host's memory or back, by the preemption; 0 where nothing is swapped


def _swap_us(model: Architecture, kv_bytes: float, gpus: int) -> Mapping[str, int]:
    """Copies are given out while the ones before them go."""
    link_s = BLOCK * float(kv_bytes_per_token(model, kv_bytes)) / gpus / HOST_BYTES_S
    calls_s = 2 * int(model.layers) * _CALL_S
    return {"recompute": 0, "swap": round(max(link_s, calls_s) * 1e6), "grouped_swap": max(1, round(link_s * 1e6))}


def block_us(model: str, link_gb_s: float) -> int:
    """Of a block of a model's cache over a link, whole us."""
    kv_bytes = float(kv_bytes_per_token(get_architecture(model), get_precision(PRECISION).kv_bytes))
    return max(1, round(BLOCK * kv_bytes / link_gb_s * 1e-3))


@functools.cache
def get_server(name: str, gpus: int, model: str) -> Server:
    """A server of a model.

    Raises:
        UnknownNameError: there is no such server.
        DsegymError: it was measured with another model, or the model does not fit.
    """
    precision = get_precision(PRECISION)
    if name in MEASURED:
        profile, served, blocks = MEASURED[name]
        if served != model or gpus != 1:
            raise DsegymError(f"{name} was measured as it is, with {served}; it is taken as 1*{name} or more of it.")
        moved = _swap_us(get_architecture(model), precision.kv_bytes, PROFILES[profile].tensor_parallelism)
        return Server(name, profile_law(profile), blocks, measured=True, swap_us=moved)
    if name not in devices():
        raise UnknownNameError("server", name, _known())
    architecture, device = get_architecture(model), get_device(name)
    require_fit(model, architecture, device, precision, gpus, BLOCK)
    blocks = int(capacity_tokens(architecture, device, precision, gpus)) // BLOCK
    law = roofline_law(replica_of(architecture, device, precision, gpus))
    return Server(
        f"{name}/{gpus}" if gpus > 1 else name, law, blocks, False, _swap_us(architecture, precision.kv_bytes, gpus)
    )


def parse_servers(text: str) -> tuple[tuple[int, str, int], ...]:
    """(count, name, GPUs) of each part of a text.

    Raises:
        ValueError: it has no such form, or names none or too many servers.
        UnknownNameError: there is no such server.
    """
    parts = [_PART.fullmatch(part.strip()) for part in text.split("+")]
    if not all(parts):
        raise ValueError
    found = tuple((int(part[1]), part[2], int(part[3] or 1)) for part in parts if part)
    for _, name, _ in found:
        if name not in _known():
            raise UnknownNameError("server", name, _known())
    if sum(count for count, _, _ in found) > MOST_SERVERS:
        raise ValueError
    return found


def _known() -> tuple[str, ...]:
    return (*MEASURED, *devices())


def servers_of(parts: Sequence[tuple[int, str, int]], model: str) -> list[Server]:
    """The servers one after another."""
    return [get_server(name, gpus, model) for count, name, gpus in parts for _ in range(count)]


def stacked(servers: Sequence[Server], sequences: int, preemption: str) -> tuple[StepLaw, Limits]:
    """Laws and limits with a leading axis of servers; the preemption is of `PREEMPTIONS`."""
    limits = [
        limits_of(sequences=sequences, blocks=server.blocks, swap_us=server.swap_us[preemption]) for server in servers
    ]
    laws = jax.tree.map(lambda *leaves: np.stack(leaves), *(server.law for server in servers))
    return laws, jax.tree.map(lambda *leaves: np.stack(leaves), *limits)


def server_rows() -> list[dict[str, object]]:
    """A row a measured deployment."""
    return [
        {
            "server": name,
            "model": each.model,
            "GPUs": PROFILES[each.profile].tensor_parallelism,
            "cache (tokens)": each.blocks * BLOCK,
            "a token alone (ms)": round(int(profile_law(each.profile).token[1]) * 1e-6, 1),
            "2,048 tokens of prompts (ms)": round(int(profile_law(each.profile).token[-1]) * 1e-6, 1),
        }
        for name, each in MEASURED.items()
    ]
