"""Replay of runs of a real engine: the requests that it met, through the engine model, and how far off the means are.

D ranks (data parallel) share experts, and so go in lockstep: a step of all takes as long as the most loaded one's, and
experts compute the tokens of all, which are padded to the most loaded's where a graph is replayed. Arrivals go to the
ranks in turns. D is 1 but for `rtxpro6000_qwen3_30b_a3b_dp2_ep2`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from .engine import (
    MINE,
    NEVER,
    Limits,
    Requests,
    State,
    duration_us,
    finish,
    initial,
    limits_of,
    next_arrival_us,
    schedule,
)
from .law import MOST_SEQUENCES, PROFILES, StepLaw, most_captured, profile_law

__all__ = ["Latencies", "Times", "deployment_limits", "latencies", "replay", "replayed"]

# Blocks that are there for requests. vLLM states 2,588 for the RTX 4090, of which it keeps one as a placeholder. The
# others do not state theirs: 0.9 of 96 GB less the weights holds more than their 128 sequences ever need.
_BLOCKS = {"rtx4090_llama31_8b_tp1": 2587}
_AMPLE = 2**20


class Times(NamedTuple):
    """When what happened; int32[N], us."""

    queued_us: np.ndarray
    first_us: np.ndarray
    last_us: np.ndarray
    steps: int
    preempted: int


class Latencies(NamedTuple):
    """Of requests; float64[N], as vLLM counts: from when its engine saw them."""

    ttft_s: np.ndarray
    tpot_s: np.ndarray  # NaN where there is one token
    latency_s: np.ndarray


def deployment_limits(profile: str) -> Limits:
    """The limits of a measured deployment."""
    return limits_of(sequences=PROFILES[profile].sequences, blocks=_BLOCKS.get(profile, _AMPLE))


def latencies(queued_s: np.ndarray, first_s: np.ndarray, last_s: np.ndarray, output: np.ndarray) -> Latencies:
    """Latencies of times in one unit."""
    tpot = (last_s - first_s) / np.where(output > 1, output - 1, np.nan)
    return Latencies(first_s - queued_s, tpot, last_s - queued_s)


def replay(profile: str, requests: Requests) -> Times:
    """Requests through a measured deployment.

    Args:
        profile: of `PROFILES`.
        requests: N of them, by arrival, within half an hour; the cache holds each.
    """
    return replayed(profile_law(profile), deployment_limits(profile), requests, PROFILES[profile].ranks)


def replayed(law: StepLaw, limits: Limits, requests: Requests, ranks: int = 1) -> Times:
    """Requests through any engine."""
    count = len(requests.arrival_us)
    rank = np.arange(count) % ranks
    arrival = np.where(rank == np.arange(ranks)[:, None], np.asarray(requests.arrival_us), NEVER).astype(np.int32)
    last = jax.tree.map(np.asarray, _run(law, limits, requests._replace(arrival_us=arrival)))
    mine = rank, np.arange(count)
    steps, preempted = int(last.steps.max()), int(last.preempted.sum())
    return Times(last.queued_us[mine], last.first_us[mine], last.last_us[mine], steps, preempted)


@jax.jit
def _run(law: StepLaw, limits: Limits, requests: Requests) -> State:
    """The last states, leaves [D, ...]; arrivals are int32[D, N]."""
    ranks, count = requests.arrival_us.shape
    captured = jnp.minimum(2 * jnp.asarray(limits.sequences), most_captured(MOST_SEQUENCES))
    first = jax.vmap(lambda _: initial(count, limits))(jnp.arange(ranks))

    def step(states: State) -> State:
        states, work = jax.vmap(schedule, in_axes=(MINE, None, 0))(requests, limits, states)
        most = jnp.max(work.tokens)
        everyone = jnp.where(most <= captured, ranks * most, jnp.sum(work.tokens))
        experts_us = (jnp.asarray(law.experts)[jnp.minimum(everyone, len(law.experts) - 1)] + 500) // 1000
        each = jax.vmap(duration_us, in_axes=(None, 0, None))(law, work, most)
        coming = jnp.min(jax.vmap(next_arrival_us, in_axes=(MINE, 0))(requests, states))
        carries, longest = jnp.any(work.tokens > 0), jnp.max(each) + experts_us

        def timed(of: Requests, state: State, made: Array) -> State:
            return finish(of, limits, state, made, duration_us=longest, carries=carries, next_arrival_us=coming)

        return jax.vmap(timed, in_axes=(MINE, 0, 0))(requests, states, work.made)

    return jax.lax.while_loop(lambda states: states.now_us[0] < NEVER, step, first)
