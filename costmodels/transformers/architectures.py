"""What a transformer is made of: parameters, arithmetic and cache of a token, from its sizes.

Four kinds, in one record of plain numbers: multi-head attention, grouped queries, multi-head latent attention
(DeepSeek), and mixtures of experts. h hidden size, H query heads, K key-value heads, D head dimension.

| | parameters of a layer | numbers cached for a token and layer |
|---|---|---|
| grouped queries | 2 h H D + 2 h K D | 2 K D |
| latent attention, ranks q and c, rotary dimension r | h q + q H (D + r) + h (c + r) + 2 c H D + h H D | c + r |
| feed-forward, m matrices | m h f | |
| experts | 3 h f_e (E + shared) + h E | |

A query and a key cost 4 H D FLOP a layer (scores and values, a multiply and an add each); with latent attention
2 H (2 D + r) in prefill and, as the up-projections are absorbed, 2 H (2 c + r) in decode.

The functions are pure and take NumPy or JAX numbers, which broadcast. Norms and biases count h each, as many a layer as
the table says; the bias of a router and norms within a head are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from ..arrays import Array
from ..errors import UnknownNameError
from ..tables import package_rows

__all__ = [
    "Architecture",
    "active_parameters",
    "architecture_rows",
    "architectures",
    "attention_flop",
    "cache_copies",
    "checked_against",
    "distinct_experts",
    "get_architecture",
    "kv_bytes_per_token",
    "linear_flop",
    "parameters",
    "read_parameters",
]

Number: TypeAlias = "Array | float"  # a number, or an array of them that broadcasts


class Architecture(NamedTuple):
    """A transformer; numbers, or arrays that broadcast."""

    layers: Number
    hidden: Number
    heads: Number
    kv_heads: Number
    attention_parameters: Number  # of a layer
    dense_layers: Number  # layers with one feed-forward network; all of them without experts
    ffn_parameters: Number  # of that network
    expert_parameters: Number  # of one expert
    experts: Number  # routed, of a layer
    active_experts: Number  # routed ones that a token takes
    shared_experts: Number
    vector_parameters: Number  # norms and biases of a layer
    lookup_parameters: Number  # tables of tokens and positions that are looked up, not multiplied
    output_parameters: Number  # the matrix that makes logits
    stored_output_parameters: Number  # the same, 0 where it is the lookup table
    kv_numbers: Number  # cached for a token and layer
    kv_shards: Number  # parts that the cache of a layer can be split into: its heads, or one latent vector
    prefill_pair_flop: Number  # of a query and a key, a layer
    decode_pair_flop: Number


@functools.cache
def architectures() -> Mapping[str, Architecture]:
    """{name: architecture} of the package's table."""
    return {row["model"]: architecture_of(row) for row in package_rows("transformers/tables/architectures.csv")}


def get_architecture(name: str) -> Architecture:
    """An architecture by its name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in architectures():
        raise UnknownNameError("model", name, architectures())
    return architectures()[name]


def checked_against(name: str) -> str:
    """The public file that states the same sizes (`SOURCES.md`), or `recalled`."""
    rows = package_rows("transformers/tables/architectures.csv")
    return next(row["checked"] for row in rows if row["model"] == name)


def architecture_of(sizes: Mapping[str, str | int]) -> Architecture:
    """The record of a row of `tables/architectures.csv`; empty sizes are 0."""
    size = {name: int(value or 0) for name, value in sizes.items() if name not in _NO_SIZES}
    h, heads, kv_heads, d = size["hidden"], size["heads"], size["kv_heads"], size["head_dimension"]
    q, c, r = size["q_rank"], size["kv_rank"], size["rope_dimension"]
    latent = h * q + q * heads * (d + r) + h * (c + r) + 2 * c * heads * d + h * heads * d
    output = size["vocabulary"] * h
    return Architecture(
        layers=size["layers"],
        hidden=h,
        heads=heads,
        kv_heads=kv_heads,
        attention_parameters=latent if c else 2 * h * d * (heads + kv_heads),
        dense_layers=size["dense_layers"] if size["experts"] else size["layers"],
        ffn_parameters=size["ffn_matrices"] * h * size["ffn"],
        expert_parameters=size["ffn_matrices"] * h * size["expert_ffn"],
        experts=size["experts"],
        active_experts=size["active_experts"],
        shared_experts=size["shared_experts"],
        vector_parameters=size["vectors"] * h,
        lookup_parameters=(size["vocabulary"] + size["positions"]) * h,
        output_parameters=output,
        stored_output_parameters=0 if size["tied"] else output,
        kv_numbers=c + r if c else 2 * kv_heads * d,
        kv_shards=1 if c else kv_heads,
        prefill_pair_flop=2 * heads * (2 * d + r),
        decode_pair_flop=2 * heads * (2 * c + r) if c else 4 * heads * d,
    )


_NO_SIZES = ("model", "stated_billion", "active_billion", "checked")


def _layer_parameters(model: Architecture, experts: Number) -> Number:
    """Of all layers, with so many routed experts each."""
    routed = model.layers - model.dense_layers
    return (
        model.layers * (model.attention_parameters + model.vector_parameters)
        + model.dense_layers * model.ffn_parameters
        + routed * (model.expert_parameters * (experts + model.shared_experts) + model.hidden * model.experts)
    )


def parameters(model: Architecture) -> Number:
    """All that is stored."""
    return _layer_parameters(model, model.experts) + model.lookup_parameters + model.stored_output_parameters


def active_parameters(model: Architecture) -> Number:
    """What multiplies a token: the experts that it takes, the logits' matrix, and no lookup table."""
    return _layer_parameters(model, model.active_experts) + model.output_parameters


def distinct_experts(model: Architecture, tokens: Number) -> Number:
    """Routed experts of a layer that at least one of the tokens takes, on average: E (1 - (1 - k/E)^tokens).

    Each token takes k of E experts evenly; real routers are uneven, so that fewer are met.
    """
    some = model.experts + (model.experts == 0)
    return model.experts * (1 - (1 - model.active_experts / some) ** tokens)


def read_parameters(model: Architecture, tokens: Number) -> Number:
    """What a step over so many tokens reads from memory once: the experts that are met, and no lookup table."""
    return _layer_parameters(model, distinct_experts(model, tokens)) + model.output_parameters


def linear_flop(model: Architecture, tokens: Number) -> Number:
    """Of all matrices but attention's scores: a multiply and an add a weight and token."""
    return 2 * active_parameters(model) * tokens


def attention_flop(model: Architecture, pair_flop: Number, queries: Number, keys: Number) -> Number:
    """Of scores and values over all layers.

    Args:
        model: sizes.
        pair_flop: its `prefill_pair_flop` or `decode_pair_flop`.
        queries: tokens that attend.
        keys: tokens that each attends to, on average: half of the prompt where prefill is causal.
    """
    return model.layers * pair_flop * queries * keys


def kv_bytes_per_token(model: Architecture, kv_bytes: Number) -> Number:
    """Bytes of cache that a token takes in all layers; `kv_bytes` a number."""
    return model.layers * model.kv_numbers * kv_bytes


def cache_copies(model: Architecture, tensor_parallelism: Number) -> Number:
    """How often the accelerators of an instance hold the same cache: beyond its heads it can only be repeated."""
    fewer = (model.kv_shards < tensor_parallelism) * 1.0
    split = tensor_parallelism + (model.kv_shards - tensor_parallelism) * fewer
    return tensor_parallelism / split


def architecture_rows() -> list[dict[str, object]]:
    """The table for people."""
    return [
        {
            "model": name,
            "parameters (10^9)": round(float(parameters(each)) * 1e-9, 2),
            "of which a token multiplies (10^9)": round(float(active_parameters(each)) * 1e-9, 2),
            "cache, bf16 (KiB a token)": float(kv_bytes_per_token(each, 2)) / 1024,
            "sizes checked against": checked_against(name),
        }
        for name, each in architectures().items()
    ]
