"""How many requests a second a pool of equal machines serves within Splitwise's targets.

Targets are slowdowns against the same request alone on a DGX-A100, at the 50th, 90th and 99th percentile of requests:

| | P50 | P90 | P99 |
|---|---|---|---|
| time to the first token | 2 | 3 | 6 |
| time between tokens, mean of a request | 1.25 | 1.5 | 5 |
| end to end | 1.25 | 1.5 | 5 |

A prompt pool is one queue of Poisson arrivals for n instances, each of which takes prompts one by one: the tail of
M/G/n in heavy traffic, P(W > x) = C(n) exp(-2 n (1 - load) x / (S (1 + cv^2))), C being Erlang's. A token pool
runs batches `FULL` full, bound by memory, by `MOST_BATCH`, and by the time of a token. Instances that serve both: a
prompt that arrives makes the next step a mixed one, and whoever decodes waits for it. How long an answer then takes is
followed for `SAMPLES` requests of fixed luck. The n instances of a pool take prompts in turn, so that gaps are as of
Erlang-n: rates are found for random gaps and for even ones, and lie between by 1/n, the gaps' squared variation. The
prompts' waits for each other are those of a prompt pool whose service is the mixed step, and count for the first token
alone: an answer's time is that of its steps.

Prompts of a pool are not batched with each other: at these lengths (1,000 tokens and more) that gains 7 % at most. The
cache's transfer between pools is left out: sent layer by layer, it delays one token by 5 to 8 ms (Splitwise).

K classes of requests, N sizes of a pool. Float64 on the host, seconds and requests/s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...transformers.architectures import get_architecture, kv_bytes_per_token, parameters
from ..mix.requests import Class
from .performance import GPUS, MEMORY_BYTES, TokenTimes, times_of

__all__ = [
    "FULL",
    "LATE",
    "MOST_BATCH",
    "SLOWDOWNS",
    "Rates",
    "Requests",
    "decode_stretch_s",
    "highest_rates",
    "pool_rates",
    "requests_of",
    "wait_tail",
]

LATE = (0.5, 0.1, 0.01)  # shares of requests that may exceed P50, P90, P99
SLOWDOWNS = {"first_token": (2.0, 3.0, 6.0), "token": (1.25, 1.5, 5.0), "end_to_end": (1.25, 1.5, 5.0)}
MOST_BATCH = 512  # requests on an instance: splitwise-sim's
FULL = 0.95  # of a decode batch's slots are taken on average, so that hardly a request waits for one: assumed
SAMPLES = 2000  # requests whose decoding is followed among prompts
_MOST_PROMPTS = 200  # that are met by one answer
_HALVINGS = 16
_REFERENCE = "DGX-A100"


@dataclass(frozen=True)
class Requests:
    """Classes of requests of a model, and what one of them takes alone on a DGX-A100."""

    model: str
    tensor_parallelism: int  # GPUs of an instance
    prompt: np.ndarray  # float64[K], tokens
    output: np.ndarray
    shares: np.ndarray
    first_token_s: np.ndarray  # float64[K], alone
    token_s: np.ndarray


@dataclass(frozen=True)
class Rates:
    """Of pools of 0, 1, ..., N - 1 machines of one type."""

    prompt: np.ndarray  # float64[N]
    token: np.ndarray
    together: np.ndarray


def requests_of(classes: Sequence[Class], model: str, tensor_parallelism: int) -> Requests:
    """The classes of a histogram with their times alone."""
    alone = times_of(model, _REFERENCE, tensor_parallelism)
    prompt, output, shares = (
        np.array([getattr(each, name) for each in classes]) for name in ("prompt_tokens", "output_tokens", "share")
    )
    return Requests(model, tensor_parallelism, prompt, output, shares, alone.prompt_s(prompt), alone.token_s(prompt))


def batch_capacity(requests: Requests) -> float:
    """Requests whose cache an instance holds beside the weights, each with its whole prompt and answer."""
    sizes = get_architecture(requests.model)
    free = requests.tensor_parallelism * MEMORY_BYTES - 2.0 * float(parameters(sizes))
    weights = requests.shares * requests.output  # a request stays as long as its answer
    tokens = float(weights @ (requests.prompt + requests.output) / weights.sum())
    return max(free, 0.0) / (float(kv_bytes_per_token(sizes, 2.0)) * tokens)


def wait_tail(servers: np.ndarray, rates: np.ndarray, mean_s: float, variation: float) -> tuple[np.ndarray, np.ndarray]:
    """float64[N] each: the probability that an arrival waits, and the decay of its wait (1/s), of M/G/n below load 1.

    Args:
        servers: int[N].
        rates: float64[N], arrivals.
        mean_s, variation: of the service: its mean and squared coefficient of variation.
    """
    offered = rates * mean_s
    load = np.minimum(offered / servers, 1 - 1e-12)
    blocked = np.ones(len(servers))
    for n in range(1, int(servers.max()) + 1):  # Erlang's B
        blocked = np.where(n <= servers, load * servers * blocked / (n + load * servers * blocked), blocked)
    waits = blocked / (1 - load * (1 - blocked))
    return waits, 2 * servers * (1 - load) / (mean_s * (1 + variation))


def highest_rates(
    servers: np.ndarray,
    services_s: np.ndarray,
    shares: np.ndarray,
    limits_s: Sequence[tuple[np.ndarray, float]],
    most: np.ndarray | float,
) -> np.ndarray:
    """float64[N]: the highest rates at which every limit is kept; 0 where none is.

    Args:
        servers: int[N].
        services_s, shares: float64[K], of the classes.
        limits_s: (float64[K] on the wait, the share of requests that may wait longer), each.
        most: float64[N], not to be exceeded.
    """
    mean = float(shares @ services_s)
    variation = float(shares @ services_s**2) / mean**2 - 1

    def kept(rates: np.ndarray) -> np.ndarray:
        waits, decay = wait_tail(servers, rates, mean, variation)
        good = rates * mean < servers
        for limit, late in limits_s:
            tail = np.where(limit >= 0, np.exp(-decay[:, None] * np.maximum(limit, 0.0)) * waits[:, None], 1.0)
            good &= tail @ shares <= late
        return good

    low, high = np.zeros(len(servers)), np.minimum(servers / mean, most)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        good = kept(middle)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return np.where(kept(low) & (low > 0), low, 0.0)


def decode_stretch_s(
    rate: float, token_s: float, output: np.ndarray, gaps: np.ndarray, services_s: np.ndarray
) -> np.ndarray:
    """float64[R]: how long answers take when prompts arrive at an instance that also decodes.

    A step takes `token_s`, and one that holds a prompt the prompt's mixed step; each gives every answer a token.

    Args:
        rate: prompts/s of the instance.
        token_s: of a step without prompts.
        output: float64[R], tokens of each answer.
        gaps: float64[R, P], between prompts at rate 1; services_s: float64[R, P], mixed steps.
    """
    arrivals = np.cumsum(gaps, axis=1) / rate
    taken = output * token_s
    met = np.ones(len(output), bool)
    for place in range(gaps.shape[1]):
        met = met & (arrivals[:, place] <= taken) & (place < output)
        if not met.any():
            break
        taken = taken + np.where(met, services_s[:, place] - token_s, 0.0)
    return taken


def pool_rates(requests: Requests, machine: str, most_machines: int, token_times: TokenTimes) -> Rates:
    """Rates of pools of 0 to `most_machines` machines."""
    times = times_of(requests.model, machine, requests.tensor_parallelism)
    token_s = times.token_s if token_times == "simulator" else times.token_by_batch_s
    shares, output = requests.shares, requests.output
    servers = np.arange(1, most_machines + 1) * (GPUS // requests.tensor_parallelism)
    alone_s = requests.first_token_s + (output - 1) * requests.token_s  # end to end

    def limits(target: str, whole_s: np.ndarray, taken_s: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """On waits, where so much is taken anyway of what takes `whole_s` alone."""
        return [(slowdown * whole_s - taken_s, late) for slowdown, late in zip(SLOWDOWNS[target], LATE, strict=True)]

    def kept(target: str, slowed: np.ndarray, weights: np.ndarray) -> bool:
        targets = zip(SLOWDOWNS[target], LATE, strict=True)
        return all(float(weights @ (slowed > slowdown)) <= late for slowdown, late in targets)

    holds = min(batch_capacity(requests), float(MOST_BATCH))
    batch = holds
    while batch > 1 and not kept("token", float(token_s(batch)) / requests.token_s, shares):
        batch -= 1
    step = float(token_s(max(batch, 1.0)))
    able = batch >= 1 and kept("token", step / requests.token_s, shares)
    token = FULL * batch / (float(shares @ output) * step) * servers if able else np.zeros(len(servers))

    prompt_s = times.prompt_s(requests.prompt)
    waits = limits("first_token", requests.first_token_s, prompt_s)
    waits += limits("end_to_end", alone_s, prompt_s + (output - 1) * step)
    prompt = highest_rates(servers, prompt_s, shares, waits, np.inf)

    mixed_s = times.mixed_s(requests.prompt + holds / 2)
    mixed, answer = float(shares @ mixed_s), float(shares @ output)

    def step_among(rate: float) -> float:
        """A step without prompts of as many requests as decode at once, on average."""
        running = 1.0
        for _ in range(8):
            pace = (1 - rate * mixed) / float(token_s(running)) + rate  # tokens/s of an answer
            running = min(max(rate * answer / pace, 1.0), max(holds, 1.0))
        return float(token_s(running))

    luck = np.random.default_rng(0)
    kinds = luck.choice(len(shares), (SAMPLES, _MOST_PROMPTS), p=shares)
    asked = luck.choice(len(shares), SAMPLES, p=shares)
    random_gaps = luck.exponential(size=kinds.shape)
    even_gaps = np.concatenate([luck.random((SAMPLES, 1)), np.ones((SAMPLES, _MOST_PROMPTS - 1))], axis=1)
    answers, even = output[asked], np.full(SAMPLES, 1 / SAMPLES)

    def smooth(rate: float, gaps: np.ndarray) -> bool:
        if rate * mixed >= 1:
            return False
        step = step_among(rate)
        stretch = decode_stretch_s(rate, step, answers, gaps, mixed_s[kinds])
        if rate * float(stretch.mean()) > FULL * holds:
            return False
        whole = (mixed_s[asked] + step / 2 + stretch) / alone_s[asked]  # a prompt waits for the step that runs
        return kept("token", stretch / answers / requests.token_s[asked], even) and kept("end_to_end", whole, even)

    def smoothest(gaps: np.ndarray) -> float:
        low, high = 0.0, 1 / mixed
        for _ in range(_HALVINGS if holds >= 1 else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if smooth(middle, gaps) else (low, middle)
        return low

    at_random, evenly = smoothest(random_gaps), smoothest(even_gaps)
    together = np.zeros(len(servers))
    if min(at_random, evenly) > 0:
        each = evenly + (at_random - evenly) / servers
        waits = limits("first_token", requests.first_token_s, mixed_s + step_among(evenly) / 2)
        together = highest_rates(servers, mixed_s, shares, waits, each * servers)
    first = np.zeros(1)
    return Rates(*(np.concatenate([first, each]) for each in (prompt, token, together)))
