"""The Kinetics cost law: what generating tokens costs when reading the key-value cache counts as much as arithmetic.

Infini-AI-Lab/Kinetics (Sadhukhan et al., 2025). Costs are in eFLOPs: arithmetic plus bytes of key-value cache read,
times the hardware's intensity I, FLOP for each byte: linear layers are bound by arithmetic and attention by bandwidth,
and the two do not overlap. Weight reads (shared by a large batch) and the prompt's own computation are left out.

P parameters, H query heads, K key-value heads, D = head dimension times layers, c prompt tokens, L generated tokens of
a trial, N trials on one prompt. Keys and values take 2 bytes a number (bf16), so a token takes 4 K D bytes.

| | arithmetic | key-value bytes |
|---|---|---|
| linear layers | 2 P L N | |
| dense attention | 2 (2c + L) L H D N | 2 (2c + L N) L K D: the trials share the prompt's part |
| top-k, b tokens a step | 4 S H D N | 4 S K D N |
| search of block top-k, beside that | floor((2c + L) / B) L H D N | floor((2c + L N) / B) L K D |

S = b L - max(0, b - c)^2 / 2 tokens: fewer than b are there at first (the released top-k function adds where its block
function subtracts; subtracting is right). Where L < b - c the b are never there, and S = c L + L^2 / 2, as of dense
attention. Blocks have B = 16384 / b tokens, as in the sweep of the paper's code.

Functions are pure and take NumPy or JAX numbers, which broadcast; results are in the dtype that they are given.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..arrays import Array
from ..tables import package_rows
from .architectures import get_architecture

__all__ = [
    "ATTENTIONS",
    "BLOCK_TIMES_BUDGET",
    "Attention",
    "Cost",
    "Hardware",
    "Model",
    "cost",
    "hardware",
    "hardware_rows",
    "models",
]

BLOCK_TIMES_BUDGET = 16384  # tokens^2: the swept block sizes times budgets


Number: TypeAlias = "Array | float"  # a number, or an array of them that broadcasts


class Model(NamedTuple):
    """A transformer's sizes; numbers, or arrays that broadcast."""

    parameters: Number
    query_heads: Number
    kv_heads: Number
    depth: Number  # head dimension times layers


class Attention(NamedTuple):
    """What a step of attention reads; numbers, or arrays that broadcast."""

    budget: Number  # tokens a step; 0: all of them
    block: Number  # tokens of a block that is searched as one; 0: no search is paid for


class Cost(NamedTuple):
    """Costs of all trials on one prompt."""

    linear_flop: Number
    attention_flop: Number  # search included
    kv_bytes: Number

    def flop(self) -> Number:
        """The FLOP law, which forgets memory."""
        return self.linear_flop + self.attention_flop

    def eflop(self, intensity: Number) -> Number:
        """The Kinetics law; `intensity` in FLOP a byte."""
        return self.flop() + intensity * self.kv_bytes


@dataclass(frozen=True)
class Hardware:
    """An accelerator: peak arithmetic, FLOP/s, and memory bandwidth, bytes/s."""

    name: str
    peak_flops: float
    bandwidth_bytes_s: float

    @property
    def intensity(self) -> float:
        """FLOP a byte."""
        return self.peak_flops / self.bandwidth_bytes_s


_BUDGETS = (128, 256, 512, 1024, 2048)
# Name: what it reads.
ATTENTIONS: dict[str, Attention] = {
    "dense": Attention(0, 0),
    **{f"top_{budget}": Attention(budget, 0) for budget in _BUDGETS},
    **{f"block_top_{budget}": Attention(budget, BLOCK_TIMES_BUDGET // budget) for budget in _BUDGETS},
}


@functools.cache
def models() -> dict[str, Model]:
    """Qwen3's six dense models, by size."""
    found = {}
    for row in package_rows("transformers/tables/kinetics_models.csv"):
        sizes = get_architecture(row["architecture"])
        head = sizes.kv_numbers // (2 * sizes.kv_heads)
        found[row["model"]] = Model(
            float(row["parameters_billion"]) * 1e9, sizes.heads, sizes.kv_heads, head * sizes.layers
        )
    return found


@functools.cache
def hardware() -> dict[str, Hardware]:
    """Accelerators by name."""
    return {
        row["hardware"]: Hardware(
            row["hardware"], float(row["peak_tflops"]) * 1e12, float(row["bandwidth_tbps"]) * 1e12
        )
        for row in package_rows("transformers/tables/kinetics_hardware.csv")
    }


def cost(model: Model, attention: Attention, *, prompt: Number, length: Number, trials: Number) -> Cost:
    """What N trials of L tokens on a prompt of c tokens cost.

    Args:
        model: sizes.
        attention: what a step reads.
        prompt: c, tokens.
        length: L, tokens of a trial.
        trials: N.
    """
    c, steps, n = prompt, length, trials
    heads, kv_heads, depth, b = model.query_heads, model.kv_heads, model.depth, attention.budget
    sparse, searches = (b > 0) * 1.0, (attention.block > 0) * 1.0  # products, for numbers and traced arrays alike
    filling = steps - _positive(steps - _positive(b - c))  # steps until b tokens are there, or the answer ends
    read = b * (steps - filling) + (c + 0.5 * filling) * filling  # S, tokens
    dense_flop = 2 * (2 * c + steps) * steps * heads * depth * n
    dense_bytes = 2 * (2 * c + steps * n) * steps * kv_heads * depth
    block = attention.block + (1 - searches)
    blocks, shared_blocks = searches * ((2 * c + steps) // block), searches * ((2 * c + steps * n) // block)
    sparse_flop = 4 * read * heads * depth * n + blocks * steps * heads * depth * n
    sparse_bytes = 4 * read * kv_heads * depth * n + shared_blocks * steps * kv_heads * depth
    return Cost(
        linear_flop=2 * model.parameters * steps * n,
        attention_flop=sparse * sparse_flop + (1 - sparse) * dense_flop,
        kv_bytes=sparse * sparse_bytes + (1 - sparse) * dense_bytes,
    )


def _positive(x: Number) -> Number:
    return x * (x > 0)


def hardware_rows() -> list[dict[str, object]]:
    """The named hardware, a row each, for people."""
    return [
        {
            "hardware": name,
            "peak (TFLOP/s)": each.peak_flops * 1e-12,
            "bandwidth (TB/s)": each.bandwidth_bytes_s * 1e-12,
            "intensity (FLOP/byte)": round(each.intensity, 1),
        }
        for name, each in hardware().items()
    ]
