"""Queues of prompts that arrive at random and are prefilled one after another.

Arrivals are Poisson of rate R; a service takes S. M/D/1 as DistServe's analysis has it (Zhong et al., section 3.1), for
a prompt that takes D on one accelerator: exact, pure functions of NumPy or JAX numbers. Requests of several lengths:
rates within a target, on the host, by a simulation or by the tails of heavy traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..arrays import Array

__all__ = [
    "REQUESTS",
    "batched_rate",
    "mean_response_s",
    "mean_response_split_s",
    "mean_response_staged_s",
    "staged_rate",
    "together_rate",
]

Number: TypeAlias = "Array | float"

REQUESTS = 20_000  # of a simulated queue
_HALVINGS = 24


def mean_response_s(rate: Number, service_s: Number) -> Number:
    """M/D/1: D + R D^2 / (2 (1 - R D)); below saturation."""
    return service_s + rate * service_s**2 / (2 * (1 - rate * service_s))


def mean_response_staged_s(rate: Number, service_s: Number) -> Number:
    """Two pipeline stages of half the service each (inter-operator): D + R D^2 / (4 (2 - R D))."""
    return service_s + rate * service_s**2 / (4 * (2 - rate * service_s))


def mean_response_split_s(rate: Number, service_s: Number, speed_up: Number) -> Number:
    """Two ways of tensor parallelism (intra-operator), K times as fast: D/K + R D^2 / (2 K (K - R D))."""
    return service_s / speed_up + rate * service_s**2 / (2 * speed_up * (speed_up - rate * service_s))


def staged_rate(services_s: np.ndarray, shares: np.ndarray, stages: int, limit_s: float, late: float) -> float:
    """The highest rate at which at most a share `late` of requests takes longer than a limit, waits included.

    `REQUESTS` Poisson arrivals of fixed luck pass `stages` servers in a row, first come first served, each of which
    takes its share of the service. Long prompts hold up short ones at every stage, which no formula of one queue has.

    Args:
        services_s, shares: float64[K], of the kinds of request, through all stages.
        stages: servers.
        limit_s: on the response.
        late: the share that may miss it.
    """
    luck = np.random.default_rng(0)
    gaps = np.cumsum(luck.exponential(size=REQUESTS))
    service = luck.choice(services_s, REQUESTS, p=shares) / stages
    before = np.concatenate([[0.0], np.cumsum(service)[:-1]])  # work ahead of each request

    def misses(rate: float) -> bool:
        came = at = gaps / rate
        for _ in range(stages):
            at = np.maximum.accumulate(at - before) + before + service
        return float(np.mean(at - came > limit_s)) > late

    return _highest(misses, stages / float(shares @ services_s))


def batched_rate(
    works_s: np.ndarray,
    tokens: np.ndarray,
    shares: np.ndarray,
    *,
    fixed_s: float,
    most_tokens: float,
    limit_s: float,
    late: float,
) -> float:
    """The highest rate at which at most a share `late` takes longer than a limit, where a server takes batches.

    As of `staged_rate`, but one server takes all that wait, in order, up to so many tokens (one prompt at least), for
    `fixed_s` and the sum of their work; all of a batch are done when it is.

    Args:
        works_s, tokens, shares: float64[K], of the kinds of request.
        fixed_s: of a batch.
        most_tokens: of a batch.
        limit_s: on the response.
        late: the share that may miss it.
    """
    luck = np.random.default_rng(0)
    gaps = np.cumsum(luck.exponential(size=REQUESTS))
    kinds = luck.choice(len(shares), REQUESTS, p=shares)
    work = np.concatenate([[0.0], np.cumsum(works_s[kinds])])
    size = np.concatenate([[0.0], np.cumsum(tokens[kinds])])
    full = np.maximum(np.searchsorted(size, size[:-1] + most_tokens, side="right") - 1, np.arange(REQUESTS) + 1)

    def misses(rate: float) -> bool:
        came, done, first, clock = gaps / rate, np.empty(REQUESTS), 0, 0.0
        while first < REQUESTS:
            clock = max(clock, came[first])
            after = min(int(np.searchsorted(came, clock, side="right")), full[first])
            clock += fixed_s + work[after] - work[first]
            done[first:after] = clock
            first = after
        return float(np.mean(done - came > limit_s)) > late

    return _highest(misses, 1 / float(shares @ works_s))


def together_rate(
    *,
    full_rate: float,
    slots: float,
    variation: float,
    services_s: np.ndarray,
    shares: np.ndarray,
    limits_s: np.ndarray,
    late: float,
) -> float:
    """The highest rate at which at most a share `late` waits too long for a slot of the batch and a prefill.

    Slots are the servers of an M/G/n queue: a request waits with Erlang's probability C, and then

        P(W > x) = C exp(-(full rate - rate) x 2 / (1 + cv^2))

    The prefill's queue adds its own tail, as of M/G/1. Both are of heavy traffic, and their sum is an upper estimate.

    Args:
        full_rate: requests/s with all slots taken.
        slots: of the batch.
        variation: squared coefficient of variation of a request's stay.
        services_s, shares: float64[K], of prefills.
        limits_s: float64[K], on the wait.
        late: the share that may wait longer.
    """
    mean, square = float(shares @ services_s), float(shares @ services_s**2)

    def misses(rate: float) -> bool:
        load = rate * mean
        if load >= 1:
            return True
        slot = _erlang_c(slots, slots * rate / full_rate) * np.exp(-(full_rate - rate) * limits_s * 2 / (1 + variation))
        queue = load * np.exp(-2 * limits_s * (1 - load) * mean / square)
        return float(shares @ np.where(limits_s > 0, np.minimum(slot + queue, 1.0), 1.0)) > late

    return _highest(misses, full_rate)


def _erlang_c(servers: float, offered: float) -> float:
    """The probability that an arrival finds all servers busy; servers are rounded down to a whole number."""
    whole = max(int(servers), 1)
    load = min(offered / servers, 1 - 1e-12)
    blocked = 1.0
    for n in range(1, whole + 1):  # Erlang's B
        blocked = load * whole * blocked / (n + load * whole * blocked)
    return blocked / (1 - load * (1 - blocked))


def _highest(misses: Callable[[float], bool], most: float) -> float:
    """The highest rate below `most` that does not miss, by bisection; 0 where even a thousandth does."""
    low, high = most * 1e-3, most
    if misses(low):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if misses(middle):
            high = middle
        else:
            low = middle
    return low
