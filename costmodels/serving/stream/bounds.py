"""Bounds that no router beats, however much it knows beforehand: two relaxations, of which the tighter counts.

- **Alone**: every request on the server that is fastest for it, with nobody else there. Its prompt costs as many tokens
  as it has at the best rate at which any step computes them, and every further token a step of one sequence. Laws rise
  with every argument, so that company makes no step faster.
- **Shared**: a decoded token costs at least `a` and a token of a prompt at least `b` microseconds of some server, where
  a d + b q is below what any step with d decoding sequences and q tokens of prompts takes. Work so counted can at best
  be done by one machine with the speed of all servers, which may interrupt; for the mean time to completion the
  shortest remaining work first is optimal there (Schrage, 1968).

For targets: requests that miss one even alone. Float64 on the host; S sequences at most.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from ..engine.engine import blocks_of
from ..engine.law import CONTEXTS, MOST_TOKENS, StepLaw
from .fleet import Pools
from .game import Params
from .traces import Windows

__all__ = ["Alone", "alone", "shortest_first_s", "stream_bound"]

_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # of the best rate of prompts that a prompt's tokens are charged
_ROUNDED_NS = 500.0  # that a step's whole microseconds may lack


class Alone(NamedTuple):
    """What a request takes at least; float64[...]."""

    ttft_s: np.ndarray
    tpot_s: np.ndarray
    latency_s: np.ndarray


def _laws(params: Params) -> list[StepLaw]:
    return [
        jax.tree.map(lambda leaf, m=m: np.asarray(leaf)[m], params.laws)
        for m in range(len(params.facts.there))
        if params.facts.there[m]
    ]


def _prompt_ns(law: StepLaw) -> float:
    """The least that a step takes for each of its tokens."""
    tokens = np.arange(1, MOST_TOKENS + 1)
    return float(np.min((np.asarray(law.token, np.float64)[1:] - _ROUNDED_NS) / tokens))


def alone(law: StepLaw, windows: Windows) -> Alone:
    """Of requests on one server, alone."""
    head = float(law.sequence[1])
    prompt, output = np.asarray(windows.prompt, np.int64), np.asarray(windows.output, np.int64)
    first = (prompt - windows.reused) * _prompt_ns(law) + head
    # A step of one sequence by its context, summed so that a request's steps are a difference of two sums.
    contexts = np.arange(int((prompt + output).max()) + 1)
    table = np.asarray(law.attention, np.float64)[0, 0, 1]
    step = float(law.token[1]) + head + float(law.layers) * (np.interp(contexts, CONTEXTS, table) - 1) - _ROUNDED_NS
    sums = np.concatenate([[0.0], np.cumsum(step)])
    rest = sums[prompt + output] - sums[prompt + 1]
    pace = np.where(output > 1, rest / np.maximum(output - 1, 1), 0.0)
    return Alone(first * 1e-9, pace * 1e-9, (first + rest) * 1e-9)


def _apart(pools: Pools, each: Sequence[Alone], windows: Windows) -> Alone:
    """With pools: the fastest for the prompt and the fastest for the tokens, and the transfer between them."""
    first = np.min([one.ttft_s for one in each], axis=0)
    rest = np.min([one.latency_s - one.ttft_s for one in each], axis=0)
    further = np.asarray(windows.output, np.int64) - 1
    rest = np.where(further > 0, rest + blocks_of(np.asarray(windows.prompt, np.int64)) * int(pools.block_us) * 1e-6, 0)
    return Alone(first, rest / np.maximum(further, 1), first + rest)


def _charges_ns(law: StepLaw, sequences: int, share: float) -> tuple[float, float]:
    """(a, b): what each decoded token and each token of a prompt costs at least."""
    token, head = np.asarray(law.token, np.float64), np.asarray(law.sequence, np.float64)
    prompt = share * _prompt_ns(law)
    decoding = np.arange(1, min(sequences, len(head) - 1) + 1)[:, None]
    prompts = np.arange(MOST_TOKENS)[None, :]
    total = np.minimum(decoding + prompts, MOST_TOKENS)
    least = (token[total] + head[decoding] - _ROUNDED_NS - prompt * (total - decoding)) / decoding
    return float(least.min()), prompt


def shortest_first_s(arrival_s: np.ndarray, work_s: np.ndarray) -> float:
    """The sum of times from arrival to completion on one machine that always does the shortest remaining work."""
    total, now, place, waiting = 0.0, 0.0, 0, []
    while place < len(arrival_s) or waiting:
        if not waiting:
            now = max(now, float(arrival_s[place]))
        while place < len(arrival_s) and arrival_s[place] <= now:
            heapq.heappush(waiting, (float(work_s[place]), place))
            place += 1
        left, which = heapq.heappop(waiting)
        until = float(arrival_s[place]) if place < len(arrival_s) else np.inf
        if now + left <= until:
            now += left
            total += now - float(arrival_s[which])
        else:
            heapq.heappush(waiting, (left - (until - now), which))
            now = until
    return total


def stream_bound(params: Params, windows: Windows, objective: str) -> tuple[float, str]:
    """A bound of an objective, averaged over windows, and how it is proven.

    Args:
        params: of the instance.
        windows: leaves [W, N], in the order of arrival.
        objective: `latency` or `ttft` in s, or `missed`, a share.
    """
    laws = _laws(params)
    each = [alone(law, windows) for law in laws]
    if params.pools is not None:
        each = [_apart(params.pools, each, windows)]
    if objective == "missed":
        late = [
            (one.ttft_s > float(params.ttft_us) * 1e-6) | (one.tpot_s > float(params.tpot_us) * 1e-6) for one in each
        ]
        return float(np.all(late, axis=0).mean()), "requests that miss a target even alone on the fastest server"
    name = {"latency": "latency_s", "ttft": "ttft_s"}[objective]
    least = float(np.min([getattr(one, name) for one in each], axis=0).mean())
    shared = max(_shared_s(params, laws, windows, objective, share) for share in _SHARES)
    how = "each request alone on the fastest server, or the shortest work first on one machine as fast as all"
    return max(least, shared), how


def _shared_s(params: Params, laws: Sequence[StepLaw], windows: Windows, objective: str, share: float) -> float:
    sequences = int(np.max(params.limits.sequences))
    charges = np.array([_charges_ns(law, sequences, share) for law in laws])
    if objective == "ttft":
        charges[:, 0] = 0.0
    base = charges.max(0)
    if not base.any():
        return 0.0
    ratios = np.divide(base, charges, out=np.zeros_like(charges), where=charges > 0)
    if np.any((charges <= 0) & (base > 0)):
        return 0.0
    speed = float(ratios.max(1).sum())
    tokens = np.stack([windows.output - 1, windows.prompt - windows.reused]).astype(np.float64)
    work_s = np.tensordot(base, tokens, 1) * 1e-9 / speed
    arrival_s = np.asarray(windows.arrival_us, np.float64) * 1e-6
    found = [shortest_first_s(*row) for row in zip(arrival_s, work_s, strict=True)]
    return float(np.mean(found)) / arrival_s.shape[1]
