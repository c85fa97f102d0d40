"""The knobs of a vLLM-like engine: what a deployment's requests see of them, by the engine model; pure JAX.

GPUs are split into replicas of `tensor` each, to which requests go in turns. A replica runs the engine of `engine.py`
with its limits, over the step times of its degree. What its cache holds is the arithmetic of memory:

    cache = share x memory - weights - activations of a full step - logits of all sequences

Activations and logits are the largest buffers of a layer, 2 bytes a number, and 4 bytes a logit: arithmetic, not
measured; so is `GRAPH_BYTES`, which CUDA graphs and libraries take beside the share. T degrees, W windows of N
requests, L replicas at most.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ...arrays import Array
from ..stream.traces import Windows
from .engine import BLOCK, NEVER, Limits, Requests, State, blocks_of, coast, initial, next_arrival_us, tick
from .law import StepLaw

__all__ = ["GOALS", "GRAPH_BYTES", "PENALTY", "Deployment", "Knobs", "Metrics", "evaluate", "memory_blocks", "missing"]

GRAPH_BYTES = 1.5e9  # of an accelerator, outside the share
TAIL = 0.9  # of the requests
PENALTY = 1e6
GOALS = ("slo", "latency", "throughput")


class Knobs(NamedTuple):
    """One setting; numbers."""

    degree: Array  # int32[], the place of the degree of tensor parallelism
    tokens: Array  # int32[], of a step (max_num_batched_tokens)
    sequences: Array  # int32[], at once (max_num_seqs)
    chunk: Array  # int32[], of a prompt a step (long_prefill_token_threshold)
    whole: Array  # int32[], 1: prompts are not chunked
    share: Array  # float32[], of memory (gpu_memory_utilization)


class Deployment(NamedTuple):
    """A model on GPUs, and what arrives; arrays."""

    laws: StepLaw  # leaves [T, ...]
    replicas: Array  # int32[T]
    lanes: Array  # bool[L], for the shape
    memory_bytes: Array  # float32[T], of a replica, as are all below
    fixed_bytes: Array  # float32[T]: weights, and what a measured deployment is known to take
    token_bytes: Array  # float32[T], a token of a step
    sequence_bytes: Array  # float32[]
    block_bytes: Array  # float32[T]
    spare_bytes: Array  # float32[T], beside the share
    windows: Windows
    longest: Array  # int32[], tokens of a request
    ttft_us: Array
    tpot_us: Array
    goal: Array  # int32[], of `GOALS`


class Metrics(NamedTuple):
    """Of all windows; float32[]."""

    latency_s: Array  # mean, as are the next two
    ttft_s: Array
    tpot_s: Array
    tail: Array  # what 9 of 10 requests stay within: the larger of TTFT and TPOT over their targets
    token_ms: Array  # time of a window over the tokens it makes
    met: Array  # share of the requests that meet both targets
    preempted: Array  # times a window
    cache_tokens: Array  # of a replica


def memory_blocks(knobs: Knobs, given: Deployment) -> jax.Array:
    """float32[]: blocks of a replica's cache; negative where the rest does not fit."""
    at = knobs.degree
    taken = jnp.asarray(given.fixed_bytes)[at] + knobs.tokens * jnp.asarray(given.token_bytes)[at]
    free = knobs.share * jnp.asarray(given.memory_bytes, jnp.float32)[at] - taken
    free = free - knobs.sequences * jnp.asarray(given.sequence_bytes)
    return jnp.asarray(free / jnp.asarray(given.block_bytes)[at])


def missing(knobs: Knobs, given: Deployment) -> jax.Array:
    """float32[]: by what shares the engine's start fails, summed; 0 where it starts."""
    longest = jnp.asarray(given.longest).astype(jnp.float32)
    memory, spare = jnp.asarray(given.memory_bytes)[knobs.degree], jnp.asarray(given.spare_bytes)[knobs.degree]
    needed = blocks_of(jnp.asarray(given.longest)).astype(jnp.float32)
    parts = (
        1 - memory_blocks(knobs, given) / needed,
        1 - (1 - knobs.share) * memory / spare,
        jnp.where(knobs.whole > 0, 1 - knobs.tokens / longest, 0.0),
        1 - knobs.tokens / knobs.sequences,
    )
    return jnp.sum(jnp.maximum(jnp.stack(parts), 0.0))


def _mean(values: Array) -> jax.Array:
    """float32[], in halves: the order of additions does not depend on how many settings are costed at once."""
    flat = jnp.ravel(values).astype(jnp.float32)
    count = flat.size
    flat = jnp.pad(flat, (0, (1 << (count - 1).bit_length()) - count))
    while flat.size > 1:
        flat = flat[: flat.size // 2] + flat[flat.size // 2 :]
    return flat[0] / count


def _served(law: StepLaw, limits: Limits, requests: Requests, starts: Array) -> State:
    """Engines that have served all; arrivals are int32[K, N], as are prompts."""

    def begun(_: Array) -> State:
        return initial(requests.prompt.shape[-1], limits, jnp.where(starts, 0, NEVER))

    def go_on(of: Requests, state: State) -> State:
        state = tick(law, limits, of, state, state.now_us < NEVER)
        return coast(law, limits, of, state, next_arrival_us(of, state))

    first = jax.vmap(begun)(jnp.arange(requests.prompt.shape[0]))
    return jax.lax.while_loop(
        lambda states: jnp.any(states.now_us < NEVER), lambda states: jax.vmap(go_on)(requests, states), first
    )


def evaluate(knobs: Knobs, given: Deployment) -> tuple[Metrics, Array, Array]:
    """Metrics of one setting, the goal's value, and what is missing for it to start (its metrics then mean nothing)."""
    missed, blocks = missing(knobs, given), memory_blocks(knobs, given)
    held = jnp.clip(blocks, 1, 2**24).astype(jnp.int32)
    limits = Limits(knobs.sequences, knobs.tokens, held, jnp.int32(2), jnp.int32(0), knobs.chunk, knobs.whole)
    law = jax.tree.map(lambda leaf: jnp.asarray(leaf)[knobs.degree], given.laws)
    windows, lanes = jax.tree.map(jnp.asarray, given.windows), len(given.lanes)
    count, requests = windows.prompt.shape
    rank = jnp.arange(requests) % jnp.asarray(given.replicas)[knobs.degree]
    mine = jnp.arange(lanes)[:, None] == rank

    def laned(leaf: Array, fill: int | None) -> Array:
        shaped = jnp.broadcast_to(leaf[:, None], (count, lanes, requests))
        return (shaped if fill is None else jnp.where(mine, shaped, fill)).reshape(count * lanes, requests)

    every = Requests(laned(windows.arrival_us, NEVER), *(laned(leaf, None) for leaf in windows[1:]))
    last = _served(law, limits, every, missed <= 0)
    first_us, last_us = (
        jnp.min(leaf.reshape(count, lanes, requests), axis=1) for leaf in (last.first_us, last.last_us)
    )
    ttft = (first_us - windows.arrival_us).astype(jnp.float32)
    latency = (last_us - windows.arrival_us).astype(jnp.float32)
    tpot = (last_us - first_us) / jnp.maximum(windows.output - 1, 1).astype(jnp.float32)
    strain = jnp.maximum(ttft / given.ttft_us, tpot / given.tpot_us)
    token_us = jnp.max(last_us, axis=1) / jnp.sum(windows.output, axis=1).astype(jnp.float32)
    metrics = Metrics(
        latency_s=_mean(latency) * 1e-6,
        ttft_s=_mean(ttft) * 1e-6,
        tpot_s=_mean(tpot) * 1e-6,
        tail=jnp.quantile(strain.ravel(), TAIL),
        token_ms=_mean(token_us) * 1e-3,
        met=_mean(strain <= 1),
        preempted=jnp.sum(last.preempted) / jnp.float32(count),
        cache_tokens=blocks * BLOCK,
    )
    value = jnp.stack([metrics.tail, metrics.latency_s, metrics.token_ms])[given.goal]
    return metrics, value, missed
