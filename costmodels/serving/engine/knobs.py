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
import numpy as np

from ...arrays import Array
from ..stream.traces import Windows
from .engine import BLOCK, NEVER, Limits, Requests, State, blocks_of, coast, initial, next_arrival_us, tick
from .law import StepLaw

__all__ = ["GOALS", "GRAPH_BYTES", "PENALTY", "Deployment", "Knobs", "Memory", "Metrics", "evaluate"]

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
    blocks: Array  # int32[], of a replica's cache
    missed: Array  # float32[], what is missing for the engine to start


class Memory(NamedTuple):
    """What takes a replica's memory; NumPy numbers that broadcast."""

    memory_bytes: np.ndarray
    fixed_bytes: np.ndarray  # weights, and what a measured deployment is known to take
    token_bytes: float  # of a step
    sequence_bytes: float
    block_bytes: np.ndarray
    spare_bytes: np.ndarray  # beside the share

    def blocks(self, tokens: np.ndarray, sequences: np.ndarray, share: np.ndarray) -> np.ndarray:
        """float64: of cache; negative where the rest does not fit."""
        taken = self.fixed_bytes + tokens * self.token_bytes + sequences * self.sequence_bytes
        return (share * self.memory_bytes - taken) / self.block_bytes

    def missing(
        self, tokens: np.ndarray, sequences: np.ndarray, share: np.ndarray, whole: np.ndarray, longest: int
    ) -> np.ndarray:
        """float64: by what shares the engine's start fails, summed, for requests of so many tokens; 0: it starts."""
        parts = (
            1 - self.blocks(tokens, sequences, share) / blocks_of(longest),
            1 - (1 - share) * self.memory_bytes / self.spare_bytes,
            np.where(whole, 1 - tokens / longest, 0.0),
            1 - tokens / sequences,
        )
        return sum((np.maximum(each, 0.0) for each in parts), np.zeros(1))


class Deployment(NamedTuple):
    """A model on GPUs, and what arrives; arrays. K, S, C and M values of tokens, sequences, chunk and share."""

    laws: StepLaw  # leaves [T, ...]
    replicas: Array  # int32[T]
    lanes: Array  # bool[L], for the shape
    blocks: Array  # int32[T, K, S, M]
    missed: Array  # float32[T, K, S, C, M]
    windows: Windows
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


def _mean(values: Array, scale: float = 1.0) -> jax.Array:
    """float32[], scaled, in halves: the order of additions does not depend on how many settings are costed at once."""
    flat = jnp.ravel(values).astype(jnp.float32)
    count = flat.size
    flat = jnp.pad(flat, (0, (1 << (count - 1).bit_length()) - count))
    while flat.size > 1:
        flat = flat[: flat.size // 2] + flat[flat.size // 2 :]
    return flat[0] * np.float32(scale / count)


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


def evaluate(knobs: Knobs, given: Deployment) -> tuple[Metrics, Array]:
    """Metrics of one setting, and the goal's value; they mean nothing where it does not start."""
    limits = Limits(knobs.sequences, knobs.tokens, knobs.blocks, jnp.int32(2), jnp.int32(0), knobs.chunk, knobs.whole)
    law = jax.tree.map(lambda leaf: jnp.asarray(leaf)[knobs.degree], given.laws)
    windows, lanes = jax.tree.map(jnp.asarray, given.windows), len(given.lanes)
    count, requests = windows.prompt.shape
    rank = jnp.arange(requests) % jnp.asarray(given.replicas)[knobs.degree]
    mine = jnp.arange(lanes)[:, None] == rank

    def laned(leaf: Array, fill: int | None) -> Array:
        shaped = jnp.broadcast_to(leaf[:, None], (count, lanes, requests))
        return (shaped if fill is None else jnp.where(mine, shaped, fill)).reshape(count * lanes, requests)

    every = Requests(laned(windows.arrival_us, NEVER), *(laned(leaf, None) for leaf in windows[1:]))
    last = _served(law, limits, every, knobs.missed <= 0)
    first_us, last_us = (
        jnp.min(leaf.reshape(count, lanes, requests), axis=1) for leaf in (last.first_us, last.last_us)
    )
    ttft = (first_us - windows.arrival_us).astype(jnp.float32)
    latency = (last_us - windows.arrival_us).astype(jnp.float32)
    # Reciprocals, into which XLA turns some divisions: how a setting is rounded must not depend on the batch.
    tpot = (last_us - first_us).astype(jnp.float32) * (1 / jnp.maximum(windows.output - 1, 1).astype(jnp.float32))
    token_us = jnp.max(last_us, axis=1).astype(jnp.float32) * (1 / jnp.sum(windows.output, axis=1).astype(jnp.float32))
    strain = jnp.maximum(ttft * (1 / jnp.asarray(given.ttft_us)), tpot * (1 / jnp.asarray(given.tpot_us)))
    metrics = Metrics(
        latency_s=_mean(latency, 1e-6),
        ttft_s=_mean(ttft, 1e-6),
        tpot_s=_mean(tpot, 1e-6),
        tail=jnp.quantile(strain.ravel(), TAIL),
        token_ms=_mean(token_us, 1e-3),
        met=_mean(strain <= 1),
        preempted=jnp.sum(last.preempted) / jnp.float32(count),
        cache_tokens=(knobs.blocks * BLOCK).astype(jnp.float32),
    )
    value = jnp.stack([metrics.tail, metrics.latency_s, metrics.token_ms])[given.goal]
    return metrics, value
