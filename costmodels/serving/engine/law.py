"""What a step of an engine takes: whole nanoseconds from tables, measured operators or a roofline in the same form.

    step = token[tokens] + sequence[sequences] + layers * attention[chunk, chunk context, decoding, context]

`token` holds every layer that works on tokens, with all-reduces over a link where the model is split (tensor
parallelism); `experts`, which ranks share, come on top (`replay.py`). Steps that CUDA graphs replay are padded to the
sizes that vLLM captures. `sequence` holds head and sampler. `attention` is one layer's, interpolated linearly on a
doubling grid between the measured points and beyond the last. Several prompts of one step count as one chunk whose
queries meet as many keys. Decoding sequences count at their mean context, and a measured share `skew` of the way to the
longest, for which the kernel's blocks wait. All tables rise with every argument (running maxima iron out what a
measurement scatters), so that no step is faster for carrying more.

Measured: profiles of LLMServingSim (`serving/SOURCES.md`). Modelled: `serving/roofline.py`. Times are int32, so that
JAX and plain Python agree to the nanosecond. C points of the grid of contexts, T tokens of a step, S sequences.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...errors import DsegymError, UnknownNameError
from ...tables import package_rows
from ...transformers.architectures import attention_flop
from .. import roofline

__all__ = [
    "CHUNKS",
    "CONTEXTS",
    "MOST_SEQUENCES",
    "MOST_STEP_S",
    "MOST_TOKENS",
    "PROFILES",
    "SEQUENCES",
    "Decoding",
    "Profile",
    "StepLaw",
    "decode_us",
    "decoding_of",
    "most_captured",
    "profile_law",
    "roofline_law",
    "step_us",
]

MOST_TOKENS = 2048  # T, of a step: as far as operators were measured, and vLLM's default
MOST_SEQUENCES = 256  # S, likewise
MOST_STEP_S = 1.4  # of a step's tokens alone; int32 nanoseconds end at 2.1 s
_MEASURED = 12  # contexts of the profiles
_FLAT = 1024  # tokens cached of prompts, below which the table of attention is taken as linear, and leaves points out
CONTEXTS = (0, *(16 << i for i in range(14)))  # tokens; the last three are extrapolated
CHUNKS = (0, *(16 << i for i in range(8)))
SEQUENCES = (0, *(1 << i for i in range(9)))
_CAPTURED = (0, 1, 2, 4, *range(8, 256, 8), *range(256, 513, 16))  # tokens
_FRACTION_BITS = 7  # of a place between two points
_MOST_NS = 2**30 - 1  # of a layer's attention: 1 s, so that twice as much, extrapolated, fits into int32

# Where a layer stands: so many times in each of the model's layers, or once.
_EACH_LAYER = {"layernorm": 2, "qkv_proj": 1, "qk_norm": 1, "rotary_emb": 1, "o_proj": 1, "gate_up_proj": 1,
               "act_fn": 1, "down_proj": 1}  # fmt: skip
_ONCE = ("embedding", "final_layernorm")


class Profile(NamedTuple):
    """A measured deployment."""

    layers: int
    hidden: int
    tensor_parallelism: int
    ranks: int  # that share experts: data parallel, in lockstep
    experts: int  # of a layer; 0 for a dense model
    active_experts: int
    sequences: int  # at once, as its runs were limited
    link_gb_s: float  # between two accelerators
    link_us: float  # of a message
    skew: float = 0.0  # share; 0 where it was not measured


# The link of the RTX PRO 6000 (configs/cluster/README.md), and the skew of its attention where dozens of sequences
# decode, 0.02 to 0.05 (skew_fit.csv of each profile), as the same project measured them. The 0.03 between these was
# chosen with the 32B run in sight (docs/serving_stream.md says what others would make of it).
_LINK, _SKEW = (16.37, 16.1), 0.03
PROFILES: Mapping[str, Profile] = {
    "rtx4090_llama31_8b_tp1": Profile(32, 4096, 1, 1, 0, 0, 256, *_LINK),
    "rtxpro6000_llama31_8b_tp1": Profile(32, 4096, 1, 1, 0, 0, 128, *_LINK, skew=_SKEW),
    "rtxpro6000_qwen3_32b_tp2": Profile(64, 5120, 2, 1, 0, 0, 128, *_LINK, skew=_SKEW),
    "rtxpro6000_qwen3_30b_a3b_dp2_ep2": Profile(48, 2048, 1, 2, 128, 8, 128, *_LINK, skew=_SKEW),
}
_TABLE = {"rtxpro6000_qwen3_30b_a3b_dp2_ep2": "rtxpro6000_qwen3_30b_a3b_tp1"}  # a rank is profiled alone


class StepLaw(NamedTuple):
    """Tables of a deployment; int32, ns."""

    token: Array  # [T + 1]
    sequence: Array  # [S + 1]
    experts: Array  # [ranks * T + 1], by the tokens of all ranks; [1] of 0 for a dense model
    attention: Array  # [9 or more, C, 10, C], one layer: chunk, its context, decoding sequences, context of each
    layers: Array  # int32[]
    skew: Array  # int32[], of 1024


@functools.cache
def profile_law(name: str) -> StepLaw:
    """The law of a measured deployment, by its name in `PROFILES`.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if name not in PROFILES:
        raise UnknownNameError("profile", name, tuple(PROFILES))
    profile, table = PROFILES[name], _TABLE.get(name, name)
    tokens, of = np.arange(MOST_TOKENS + 1.0), _columns("vllm_tokens", table)
    token_us = sum(np.interp(tokens, of["tokens"], of[layer]) * n * profile.layers for layer, n in _EACH_LAYER.items())
    token_us = token_us + sum(np.interp(tokens, of["tokens"], of[layer]) for layer in _ONCE)
    token_us = token_us + profile.layers * _all_reduces_us(profile, tokens)
    heads = _columns("vllm_sequences", table)
    at = np.arange(MOST_SEQUENCES + 1)
    sequence_us = np.sum([np.interp(at, heads["sequences"], heads[layer]) for layer in ("lm_head", "sampler")], axis=0)
    law = _law(token_us[_padded(profile.sequences)], sequence_us, _attention_us(table), profile.layers, profile.skew)
    if not profile.experts:
        return law
    experts_us = _experts_us(profile, table, np.arange(profile.ranks * MOST_TOKENS + 1))
    return law._replace(experts=_whole_ns(profile.layers * experts_us))


def roofline_law(replica: roofline.Replica, most_tokens: int = MOST_TOKENS) -> StepLaw:
    """The law of a model on any accelerators, by the calibrated roofline, for steps of 2,048 x 2**n tokens at most.

    Raises:
        DsegymError: the tokens of the largest step take more than 1.4 s, attention left out.
    """
    further = (most_tokens // MOST_TOKENS).bit_length() - 1
    chunks = (*CHUNKS, *(MOST_TOKENS << 1 + i for i in range(further)))
    model, layers = replica.model, int(replica.model.layers)

    def seconds(tokens: Array, flop: Array, cache_bytes: Array, requests: Array) -> np.ndarray:
        return np.asarray(roofline.step_parts(replica, tokens, flop, cache_bytes, requests).total_s(), np.float64)

    zero = np.zeros(1)
    none = seconds(np.ones(1), zero, zero, zero)
    token = seconds(np.maximum(np.arange(most_tokens + 1.0), 1), 0.0 * np.arange(most_tokens + 1), zero, zero)
    if token[-1] > MOST_STEP_S:
        raise DsegymError(
            f"A step of {most_tokens:,} tokens takes {token[-1]:.1f} s; {MOST_STEP_S} s at most are modelled."
        )
    sequence = seconds(np.ones(1), zero, zero, np.arange(MOST_SEQUENCES + 1.0)) - none
    chunk, before, decoding, context = np.meshgrid(chunks, CONTEXTS, SEQUENCES, CONTEXTS, indexing="ij", sparse=True)
    flop = attention_flop(model, model.prefill_pair_flop, chunk, before + chunk / 2)
    flop = flop + attention_flop(model, model.decode_pair_flop, decoding, context)
    cached = np.where(chunk > 0, before + chunk, 0) + decoding * context
    attention = seconds(np.ones(1), np.asarray(flop), cached * replica.kv_bytes_per_token, zero) - none
    return _law(token * 1e6, sequence * 1e6, attention * 1e6 / layers, layers)


def _law(
    token_us: np.ndarray, sequence_us: np.ndarray, attention_us: np.ndarray, layers: int, skew: float = 0.0
) -> StepLaw:
    """Rising tables of whole nanoseconds."""
    for axis in range(4):
        attention_us = np.maximum.accumulate(attention_us, axis=axis)
    return StepLaw(
        _whole_ns(token_us),
        _whole_ns(sequence_us),
        np.zeros(1, np.int32),
        np.minimum(np.rint(attention_us * 1e3), _MOST_NS).astype(np.int32),
        np.asarray(layers, np.int32),
        np.asarray(round(skew * 1024), np.int32),
    )


def _whole_ns(rising_us: np.ndarray) -> np.ndarray:
    return np.rint(np.maximum.accumulate(rising_us) * 1e3).astype(np.int32)


def _columns(name: str, profile: str) -> Mapping[str, np.ndarray]:
    rows = [row for row in package_rows(f"serving/tables/{name}.csv") if row["profile"] == profile]
    return {key: np.array([float(row[key] or 0) for row in rows]) for key in rows[0] if key != "profile"}


def _all_reduces_us(profile: Profile, tokens: np.ndarray) -> np.ndarray:
    """Two rings a layer, over the accelerators that split it: 2 (t - 1) messages, 2 (t - 1) / t of the activations."""
    hops = 2 * (profile.tensor_parallelism - 1)
    moved = hops / profile.tensor_parallelism * tokens * profile.hidden * 2
    return 2 * (hops * profile.link_us + moved / profile.link_gb_s * 1e-3)


def _experts_us(profile: Profile, table: str, everyone: np.ndarray) -> np.ndarray:
    """Experts that r ranks share, by the tokens of all: they are gathered, and reduced afterwards.

    A rank computes 1/r of the tokens' experts, as much as 1/r of the tokens would need, on the share of its experts
    that even draws meet.
    """
    of, ranks = _columns("vllm_experts", table), profile.ranks
    met = profile.experts / ranks * (1 - (1 - profile.active_experts / profile.experts) ** everyone)
    levels = np.unique(of["experts"])
    rows = [of["experts"] == level for level in levels]
    by_level = np.stack([np.interp(everyone / ranks, of["tokens"][row], of["time_us"][row]) for row in rows])
    place = np.clip(np.searchsorted(levels, met, side="right") - 1, 0, len(levels) - 2)
    part = np.clip((met - levels[place]) / (levels[place + 1] - levels[place]), 0, None)
    at = np.arange(len(everyone))
    computed = by_level[place, at] * (1 - part) + by_level[place + 1, at] * part
    moved = (ranks - 1) / ranks * everyone * profile.hidden * 2
    return computed + 2 * ((ranks - 1) * profile.link_us + moved / profile.link_gb_s * 1e-3)


def most_captured(sequences: int) -> int:
    """Tokens of the largest step that vLLM replays as a CUDA graph, by the sequences that run at once at most."""
    return min(2 * sequences, _CAPTURED[-1])


def _padded(sequences: int) -> np.ndarray:
    """int[T + 1]: as how many tokens a step counts: those that graphs replay, as the next size that vLLM captures."""
    tokens = np.arange(MOST_TOKENS + 1)
    captured = np.array(_CAPTURED)[np.searchsorted(_CAPTURED, np.minimum(tokens, _CAPTURED[-1]))]
    return np.where(tokens <= most_captured(sequences), captured, tokens)


def _attention_us(profile: str) -> np.ndarray:
    """float64[9, C, 10, C]: one layer's attention; what was not measured is extrapolated, or does not depend."""
    table = np.full((len(CHUNKS), len(CONTEXTS), len(SEQUENCES), len(CONTEXTS)), np.nan)
    contexts = [str(context) for context in CONTEXTS[:_MEASURED]]
    for row in package_rows("serving/tables/vllm_attention.csv"):
        if row["profile"] != profile:
            continue
        chunk, before, decoding = int(row["chunk"]), int(row["chunk_context"]), int(row["sequences"])
        at = CHUNKS.index(chunk), CONTEXTS.index(before), SEQUENCES.index(decoding)
        table[at][:_MEASURED] = [float(row[context]) if row[context] else np.nan for context in contexts]
    table[:, :, 0, :] = table[:, :, 0, :1]  # nobody decodes
    table[0] = table[0, :1]  # no prompt
    table[0, :, 0] = 0.0
    table[:, :, 1:, 0] = table[:, :, 1:, 1]
    left_out = CONTEXTS.index(_FLAT)
    part = (np.array(CONTEXTS[:left_out]) / _FLAT)[:, None, None]
    table[1:, :left_out] = table[1:, :1] + (table[1:, left_out, None] - table[1:, :1]) * part
    lacks = np.isnan(table[:, :, -1])
    table[:, :, -1] = np.where(lacks, 3 * table[:, :, -2] - 2 * table[:, :, -3], table[:, :, -1])
    for at in range(_MEASURED, len(CONTEXTS)):  # linear: each doubling adds twice what the one before did
        table[:, at] = 3 * table[:, at - 1] - 2 * table[:, at - 2]
        table[..., at] = 3 * table[..., at - 1] - 2 * table[..., at - 2]
    return table


def _width_bits(place: Array, first: int) -> Array:
    """log2 of the distance from a point of 0, first, 2 first, ... to the next."""
    return (first.bit_length() - 1) + jnp.maximum(place - 1, 0)


def _point(place: Array, first: int) -> Array:
    return jnp.where(place == 0, 0, first << jnp.maximum(place - 1, 0))


def _place(value: Array, first: int, points: int) -> tuple[Array, Array]:
    """Where a number stands among 0, first, 2 first, ...: int32 place, and int32 part of 2**7 to the next point."""
    whole = jnp.asarray(value, jnp.int32)
    level = 31 - jax.lax.clz(jnp.maximum(whole >> (first.bit_length() - 1), 1))
    place = jnp.minimum(jnp.where(whole < first, 0, level + 1), points - 2)
    return place, (whole - _point(place, first) << _FRACTION_BITS) >> _width_bits(place, first)


def _share(span_ns: Array, part: Array) -> Array:
    """`span_ns * part` over 2**7, whole, by halves of the span: the product itself would not fit into int32."""
    return (span_ns >> _FRACTION_BITS) * part + ((span_ns & (1 << _FRACTION_BITS) - 1) * part >> _FRACTION_BITS)


def _whole_us(once_ns: Array, layers: Array, attention_ns: Array) -> jax.Array:
    """`once_ns + layers * attention_ns` in whole us, rounded: a long prompt's product would not fit into int32."""
    of = jnp.asarray(layers)
    return of * (attention_ns // 1000) + (once_ns + of * (attention_ns % 1000) + 500) // 1000


def step_us(
    law: StepLaw,
    *,
    tokens: Array,
    sequences: Array,
    chunk: Array,
    before: Array,
    decoding: Array,
    context: Array,
    longest: Array,
) -> jax.Array:
    """int32[], us: what a step takes.

    Args:
        law: of one deployment.
        tokens, sequences: that the step carries.
        chunk, before: tokens of prompts, and cached tokens that each of them meets.
        decoding, context, longest: sequences that decode, and cached tokens of each: their mean, and the most.
    """
    context = context + ((longest - context) * jnp.asarray(law.skew) >> 10)
    places = (
        _place(chunk, CHUNKS[1], jnp.shape(law.attention)[0]),
        _place(before, CONTEXTS[1], len(CONTEXTS)),
        _place(decoding, SEQUENCES[1], len(SEQUENCES)),
        _place(context, CONTEXTS[1], len(CONTEXTS)),
    )
    table = jnp.asarray(law.attention)
    strides = np.cumprod((1, *table.shape[:0:-1]))[::-1]
    corner = sum(place * int(stride) for (place, _), stride in zip(places, strides, strict=True))
    offsets = [sum(int(stride) * (at >> (3 - axis) & 1) for axis, stride in enumerate(strides)) for at in range(16)]
    values = table.ravel()[corner + jnp.array(offsets, jnp.int32)]
    for _, part in reversed(places):
        values = values[0::2] + _share(values[1::2] - values[0::2], part)
    once = jnp.asarray(law.token)[tokens] + jnp.asarray(law.sequence)[sequences]
    return _whole_us(once, law.layers, values[0])


class Decoding(NamedTuple):
    """Steps in which the same sequences decode and nothing else happens, while their context grows; int32[]."""

    once_ns: Array  # tokens and sequences
    layers: Array
    corners_ns: Array  # [4]: attention at both counts of sequences of the grid, at both contexts of it each
    sequences_part: Array  # of 2**7
    beyond: Array  # tokens of the first step's context beyond the grid's point
    bits: Array  # of the distance to the next
    steps: Array  # that stay between the two points


def decoding_of(law: StepLaw, *, decoding: Array, context: Array, longest: Array) -> Decoding:
    """Such steps, by the context of the first: as of `step_us`."""
    context = context + ((longest - context) * jnp.asarray(law.skew) >> 10)
    row, row_part = _place(decoding, SEQUENCES[1], len(SEQUENCES))
    place, _ = _place(context, CONTEXTS[1], len(CONTEXTS))
    bits, beyond = _width_bits(place, CONTEXTS[1]), context - _point(place, CONTEXTS[1])
    corners = row * len(CONTEXTS) + place + jnp.array([0, 1, len(CONTEXTS), len(CONTEXTS) + 1], jnp.int32)
    once = jnp.asarray(law.token)[decoding] + jnp.asarray(law.sequence)[decoding]
    values = jnp.asarray(law.attention)[0, 0].ravel()[corners]
    return Decoding(once, jnp.asarray(law.layers), values, row_part, beyond, bits, (1 << bits) - beyond)


def decode_us(steps: Decoding, further: Array) -> Array:
    """int32[], us: what `step_us` says of the step after so many, sooner."""
    part = (steps.beyond + further << _FRACTION_BITS) >> steps.bits
    fewer, more = (
        steps.corners_ns[at] + _share(steps.corners_ns[at + 1] - steps.corners_ns[at], part) for at in (0, 2)
    )
    attention = fewer + _share(more - fewer, steps.sequences_part)
    return _whole_us(steps.once_ns, steps.layers, attention)
