"""Requests that arrive at M engines as a game of sending each to one of them, when it arrives; pure JAX.

The rules: docs/serving_stream.md; the engine: `engine/engine.py`. Between two arrivals every engine goes on, step by
step, up to the second one; after the last all requests are finished (`fleet.py`). With pools an action may move an
engine from one to the other besides. N requests of an episode, W windows of a trace.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import uniform
from ..engine import engine
from ..engine.engine import NEVER, Limits, Requests, blocks_of
from ..engine.law import MOST_SEQUENCES, MOST_TOKENS, StepLaw, step_us
from .fleet import Engines, Fleet, Pools, Trips, requests_of, served, times, woken
from .traces import Windows

__all__ = [
    "LUCK",
    "Facts",
    "Forecasts",
    "Metrics",
    "Params",
    "PoolState",
    "State",
    "Views",
    "action_mask",
    "advance",
    "arrivals_of",
    "facts_of",
    "forecasts",
    "luck_of",
    "metrics",
    "over",
    "pool_views",
    "progress",
    "servers",
    "start",
    "tokens_us",
    "views",
]

LUCK = 7  # the word of the draws of a random rule
_US = np.float32(1e-6)


class Facts(NamedTuple):
    """What a router knows of its servers beforehand; float32[M]."""

    prompt_token_us: Array  # of a full step of prompts, for each token
    slowness: Array  # a step of one sequence over the fastest server's
    there: Array  # bool[M]: servers that an instance in the shape of a larger one has itself


class Params(NamedTuple):
    """An instance."""

    seeds: Array  # uint32[E], episodes of the cost
    windows: Windows  # leaves int32[W, N]
    requests: Array  # int32, of an episode: N
    laws: StepLaw  # leaves [M, ...]
    limits: Limits  # leaves [M]
    facts: Facts
    ttft_us: Array  # float32, target
    tpot_us: Array  # float32, target
    sheds: Array  # bool, whether requests may be turned away
    reference: Array  # float32, of the objective
    every: Array | None = None  # int32, steps between updates of priorities; None: first come, first served
    pools: Pools | None = None  # None: each server computes prompts and makes tokens


class Metrics(NamedTuple):
    """What an episode costs, a request; means over episodes. Scalars, float32."""

    latency_s: Array  # from its arrival to its last token, of those that are served
    ttft_s: Array  # to its first token
    tpot_s: Array  # between tokens
    missed: Array  # share of all requests that miss a target, or are turned away
    shed: Array  # share of all requests that are turned away
    preempted: Array  # times
    tokens_per_s: Array  # made, from the first arrival to the last token
    fairness: Array  # Jain's index of the requests' tokens a second; 1: all the same; 1/N: one alone; away: 0 tokens


class PoolState(NamedTuple):
    """Who is in which pool."""

    prefills: Array  # bool[M], computes prompts
    ready_us: Array  # int32[M], from when it takes requests there
    decode: Array  # int32[N], the server that makes a request's tokens


class State(NamedTuple):
    """Where an episode stands."""

    window: Windows  # leaves int32[N]
    seed: Array  # uint32, of a rule's luck
    server: Array  # int32[N]: where each request was sent; M: turned away; -1: not yet
    next: Array  # int32, the request that is offered
    engines: engine.State  # leaves [M, ...]
    illegal: Array  # int32
    order: Array | None = None  # int32[M, N], requests by priority
    pools: PoolState | None = None


class Views(NamedTuple):
    """What a router sees of its servers, float32[M], and of the offered request."""

    waiting: Array  # requests that were sent there and not admitted
    running: Array  # requests
    used: Array  # share of the cache that is held
    backlog_us: Array  # prompts that are not computed, in the time of full steps
    step_us: Array  # what the last step took
    own_us: Array  # the offered prompt, likewise
    prompt: Array  # float32, tokens of it that are to compute
    gap_us: Array  # float32, since the request before


class PoolViews(NamedTuple):
    """What a router sees of the pools; [M]."""

    prefills: Array  # bool: takes prompts, or will once it has moved
    takes: Array  # bool: takes requests
    load: Array  # float32, requests there and on their way


class Forecasts(NamedTuple):
    """What a router makes of what it sees and of the laws of its servers, if the offered request went there; float32.

    Servers that are full are taken as if they were not: when a request ends nobody knows.
    """

    first_us: Array  # [M], until the request's first token: the step under way, then prompts beside what decodes
    pace_us: Array  # [M], a step in which all that are there decode, the request too
    room: Array  # [M], share of the cache that is free beyond all prompts that wait and this one
    slots: Array  # [M], sequences that run at most and are not taken
    context: Array  # [M], mean tokens in the cache of those that run
    hopeful: Array  # [M], requests there whose first token is not late yet
    gap_us: Array  # [], mean time between the last arrivals, eight at most


def facts_of(laws: StepLaw) -> Facts:
    """From laws with a leading axis of servers."""
    token, sequence = np.asarray(laws.token, np.float64), np.asarray(laws.sequence, np.float64)
    one = token[:, 1] + sequence[:, 1]
    return Facts(
        prompt_token_us=(token[:, MOST_TOKENS] / MOST_TOKENS * 1e-3).astype(np.float32),
        slowness=(one / one.min()).astype(np.float32),
        there=np.ones(len(one), bool),
    )


def start(key: Array, params: Params) -> State:
    """A window of the pool; the first request is offered, at 0."""
    bits = jax.random.bits(key, (2,))
    arrivals = jnp.asarray(params.windows.arrival_us)
    number = (bits[0] % jnp.uint32(arrivals.shape[0])).astype(jnp.int32)
    window = Windows(*(jnp.asarray(leaf)[number] for leaf in params.windows))
    count = arrivals.shape[1]
    engines = jax.vmap(lambda limits: engine.initial(count, limits, NEVER))(params.limits)
    nobody = jnp.full(count, -1, jnp.int32)
    first = State(window, bits[1], nobody, jnp.int32(0), engines, jnp.int32(0))
    if params.every is not None:
        first = first._replace(order=jnp.tile(jnp.arange(count, dtype=jnp.int32), (servers(params), 1)))
    if params.pools is not None:
        prefills = jnp.asarray(params.pools.prefills)
        first = first._replace(pools=PoolState(prefills, jnp.zeros(servers(params), jnp.int32), nobody))
    return first


def servers(params: Params) -> int:
    """M."""
    return params.facts.there.shape[0]


def _at(values: Array, place: Array) -> Array:
    """The value at a place, 0 beyond the end."""
    return jnp.sum(jnp.where(jnp.arange(values.shape[0]) == place, values, 0))


def clock_us(state: State, params: Params) -> jax.Array:
    """int32: when the offered request arrives; NEVER once all are served."""
    return jnp.where(over(state, params), NEVER, _at(state.window.arrival_us, state.next)).astype(jnp.int32)


def over(state: State, params: Params) -> jax.Array:
    """Whether all requests were sent; they are served then."""
    return jnp.asarray(state.next) >= jnp.asarray(params.requests)


def _trips(state: State) -> Trips:
    return Trips(state.window, state.server, None if state.pools is None else state.pools.decode)


def _fleet(params: Params) -> Fleet:
    return Fleet(params.laws, params.limits, params.every, params.pools)


def _requests(state: State, params: Params) -> Requests:
    """Requests of each engine: arrivals int32[M, N], NEVER for those that are not its own."""
    return requests_of(_fleet(params), _trips(state), state.engines)


def action_mask(state: State, params: Params) -> Any:
    """bool[M + 1]: the servers that are there, and turning away where that is allowed; with pools of
    [(M + 1) * (M + 1)]: so for nobody who moves, and for each server.
    """
    if state.pools is None:
        return jnp.append(params.facts.there, params.sheds)
    seen, places = pool_views(state, params), jnp.arange(servers(params))
    sends = seen.takes & seen.prefills
    left = jnp.where(seen.prefills, jnp.sum(sends), jnp.sum(seen.takes & ~seen.prefills))
    moves = jnp.append(True, seen.takes & (left > 1))
    beside = jnp.concatenate([jnp.ones((1, len(places)), bool), places != places[:, None]])
    targets = jnp.concatenate([sends & beside, jnp.full((len(places) + 1, 1), params.sheds)], axis=1)
    return (targets & moves[:, None]).ravel()


def pool_views(state: State, params: Params) -> PoolViews:
    """Of a state with pools."""
    if state.pools is None:
        raise TypeError("there are no pools")
    engines, pools, places = state.engines, state.pools, jnp.arange(servers(params))[:, None]
    prompts = (state.server == places) & (engines.first_us == NEVER)
    # A request of one token is over where its prompt was computed.
    over = (engines.last_us < NEVER) | ((jnp.min(engines.first_us, axis=0) < NEVER) & (state.window.output == 1))
    promised = (pools.decode == places) & ~over
    takes = jnp.asarray(params.facts.there) & (clock_us(state, params) >= pools.ready_us)
    return PoolViews(pools.prefills, takes, jnp.sum(prompts | promised, axis=1).astype(jnp.float32))


def advance(state: State, action: Array, params: Params) -> State:
    """Sends the offered request to a server, or turns it away, and lets time pass until the next one arrives.

    An action that is not legal counts as the server with the fewest requests, with pools of those that take prompts.
    """
    count, given = servers(params), jnp.asarray(action, jnp.int32)
    legal = action_mask(state, params)
    allowed = jnp.any((jnp.arange(legal.shape[0]) == given) & legal)
    ended, now = over(state, params), clock_us(state, params)
    offered = (jnp.arange(state.server.shape[0]) == state.next) & ~ended
    engines = state.engines
    if state.pools is None:
        seen = views(state, params)
        fewest = jnp.argmin(jnp.where(params.facts.there, seen.waiting + seen.running, jnp.inf)).astype(jnp.int32)
        chosen = jnp.where(allowed, given, fewest)
        here = (jnp.arange(count) == chosen) & ~ended
        engines = engines._replace(now_us=jnp.where(here & (engines.now_us == NEVER), now, engines.now_us))
    else:
        seen = pool_views(state, params)
        fewest = jnp.argmin(jnp.where(seen.takes & seen.prefills, seen.load, jnp.inf)).astype(jnp.int32)
        chosen = jnp.where(allowed, given % (count + 1), fewest)
    moved = state._replace(
        server=jnp.where(offered, chosen, state.server),
        next=state.next + ~ended,
        illegal=state.illegal + (~allowed & ~ended),
        engines=engines,
    )
    if state.pools is not None and params.pools is not None:
        mover = jnp.where(allowed & ~ended, given // (count + 1), 0)
        moved = _with_pools(moved, state.pools, offered, mover, now, params.pools, params)
    trips, until = _trips(moved), clock_us(moved, params)
    at = served(_fleet(params), trips, until, Engines(moved.engines, moved.order))
    return moved._replace(engines=at.engines, order=at.order)


def _with_pools(
    state: State, pools: PoolState, offered: Array, mover: Array, now: Array, given: Pools, params: Params
) -> State:
    """A server changes pools, 1 + its place or 0 for nobody; the request is promised to the one with the fewest."""
    places = jnp.arange(servers(params))
    changes = places == mover - 1
    pools = pools._replace(
        prefills=pools.prefills ^ changes,
        ready_us=jnp.where(changes, now + given.move_us, pools.ready_us),
    )
    before = state._replace(pools=pools, next=state.next - jnp.any(offered))  # what was before is seen at its clock
    seen = pool_views(before, params)
    fewest = jnp.argmin(jnp.where(seen.takes & ~seen.prefills, seen.load, jnp.inf)).astype(jnp.int32)
    promised = jnp.where(jnp.sum(jnp.where(offered, state.server, 0)) == len(places), -1, fewest)
    pools = pools._replace(decode=jnp.where(offered, promised, pools.decode))
    engines = state.engines
    first = offered & (pools.decode == places[:, None])  # it comes with its first token
    engines = engines._replace(generated=jnp.where(first, 1, engines.generated))
    moved = state._replace(pools=pools, engines=engines)
    return moved._replace(engines=woken(_requests(moved, params), engines))


def tokens_us(state: State) -> tuple[Array, Array]:
    """int32[N]: when the first and the last token of each request is made; NEVER where that is not known."""
    return times(state.engines, _trips(state))


def arrivals_of(state: State, params: Params) -> Array:
    """int32[M, N]: when each request comes to each server; NEVER where it does not, or is not known to."""
    return jnp.asarray(_requests(state, params).arrival_us)


def _missed(state: State, params: Params, now_us: Array | int = NEVER) -> Array:
    """bool[N]: requests that have missed a target by now: a first token that is late, or the last one, is no secret
    before it is made.
    """
    first, last = (jnp.minimum(each, now_us) for each in tokens_us(state))
    pace = (last - first).astype(jnp.float32) / jnp.maximum(state.window.output - 1, 1)
    return ((first - state.window.arrival_us) > params.ttft_us) | (pace > params.tpot_us)


def progress(objective: str, before: State, after: State, params: Params) -> jax.Array:
    """float32: how much an objective, summed over requests, grew: seconds, or requests."""
    clocks = [clock_us(state, params) for state in (before, after)]
    arrival = after.window.arrival_us
    if objective == "missed":
        done = [
            (_missed(state, params, clock) & (state.server >= 0)) | _turned(state, params)
            for state, clock in zip((before, after), clocks, strict=True)
        ]
        return jnp.sum(done[1]).astype(jnp.float32) - jnp.sum(done[0])
    place = ("ttft", "latency").index(objective)
    spent = [
        jnp.where(state.server >= 0, jnp.minimum(tokens_us(state)[place], clock) - arrival, 0)
        for state, clock in zip((before, after), clocks, strict=True)
    ]
    return jnp.sum((spent[1] - spent[0]).astype(jnp.float32)) * _US


def _turned(state: State, params: Params) -> Array:
    """bool[N]: requests that were turned away."""
    return state.server == servers(params)


def metrics(state: State, params: Params) -> Metrics:
    """Costs of an episode that is over."""
    first, last = tokens_us(state)
    total = jnp.asarray(params.requests).astype(jnp.float32)
    turned = _turned(state, params)
    served = (state.server >= 0) & ~turned
    number = jnp.maximum(jnp.sum(served).astype(jnp.float32), 1)
    arrival, output = state.window.arrival_us, state.window.output

    def mean(values: Array) -> Array:
        return jnp.sum(jnp.where(served, values, 0.0)) / number

    seconds = (last - arrival).astype(jnp.float32) * _US
    pace = (last - first).astype(jnp.float32) / jnp.maximum(output - 1, 1) * _US
    end = jnp.max(jnp.where(served, last, 1)).astype(jnp.float32) * _US
    rate = jnp.where(served, output / jnp.where(served, seconds, 1.0), 0.0)
    return Metrics(
        latency_s=mean(seconds),
        ttft_s=mean((first - arrival).astype(jnp.float32) * _US),
        tpot_s=mean(pace),
        missed=jnp.sum((served & _missed(state, params)) | turned).astype(jnp.float32) / total,
        shed=jnp.sum(turned).astype(jnp.float32) / total,
        preempted=jnp.sum(state.engines.preempted).astype(jnp.float32) / total,
        tokens_per_s=jnp.sum(jnp.where(served, output, 0)).astype(jnp.float32) / end,
        fairness=jnp.sum(rate) ** 2 / (total * jnp.maximum(jnp.sum(rate**2), 1e-12)),
    )


def views(state: State, params: Params) -> Views:
    """What the servers look like when the offered request arrives; nobody tells how many tokens it will make."""
    engines, requests = state.engines, _requests(state, params)
    sent = requests.arrival_us < NEVER
    open_ = sent & (engines.last_us == NEVER)
    running = engines.held > 0
    window, facts = state.window, params.facts
    left = jnp.where(open_, jnp.maximum(window.prompt - jnp.maximum(engines.computed, requests.reused), 0), 0)
    own = _at(window.prompt - window.reused, state.next).astype(jnp.float32)
    before = _at(window.arrival_us, state.next - 1)
    per_token = jnp.asarray(facts.prompt_token_us)
    return Views(
        waiting=jnp.sum(open_ & ~running, axis=1).astype(jnp.float32),
        running=jnp.sum(running, axis=1).astype(jnp.float32),
        used=1.0 - engines.free / jnp.asarray(params.limits.blocks),
        backlog_us=jnp.sum(left, axis=1) * per_token,
        step_us=engines.step_us.astype(jnp.float32),
        own_us=own * per_token,
        prompt=own,
        gap_us=jnp.where(over(state, params), 0, clock_us(state, params) - before).astype(jnp.float32),
    )


def forecasts(state: State, params: Params) -> Forecasts:
    """What would become of the offered request on each server; what it will make is not looked at."""
    engines, requests, window = state.engines, _requests(state, params), state.window
    now = jnp.where(over(state, params), _at(window.arrival_us, state.next - 1), clock_us(state, params))
    open_ = (requests.arrival_us < NEVER) & (engines.last_us == NEVER)
    running = engines.held > 0
    there, runs = jnp.sum(open_, axis=1), jnp.sum(running, axis=1)
    own = _at(window.prompt - window.reused, state.next)
    left = jnp.where(open_, jnp.maximum(window.prompt - jnp.maximum(engines.computed, requests.reused), 0), 0)
    held = jnp.sum(jnp.where(running, engines.computed, 0), axis=1)
    context = held // jnp.maximum(runs, 1)
    longest = jnp.max(jnp.where(running, engines.computed, 0), axis=1)
    decoding = jnp.clip(there + 1, 1, MOST_SEQUENCES)
    prompts = jnp.sum(left, axis=1) + own
    beside = jnp.clip(runs, 0, MOST_SEQUENCES)
    chunk = jnp.minimum(prompts, MOST_TOKENS - beside)

    def step(law: StepLaw, **carried: Array) -> Array:
        return step_us(law, **carried)

    of_prompts = jax.vmap(step)(
        params.laws,
        tokens=chunk + beside,
        sequences=jnp.minimum(beside + 1, MOST_SEQUENCES),
        chunk=chunk,
        before=jnp.maximum(own - chunk, 0) // 2,
        decoding=beside,
        context=context,
        longest=longest,
    )
    # All there decode at the mean of the contexts there and the offered prompt.
    whole = jnp.sum(jnp.where(open_, window.prompt + engines.generated, 0), axis=1) + _at(window.prompt, state.next)
    of_all = jax.vmap(step)(
        params.laws,
        tokens=decoding,
        sequences=decoding,
        chunk=jnp.zeros_like(chunk),
        before=jnp.zeros_like(chunk),
        decoding=decoding,
        context=whole // (there + 1),
        longest=jnp.maximum(longest, _at(window.prompt, state.next)),
    )
    busy = jnp.clip(engines.latest_us - now, 0, None).astype(jnp.float32)
    steps = prompts.astype(jnp.float32) / jnp.maximum(chunk, 1)
    waits = jnp.sum(jnp.where(open_ & ~running, blocks_of(window.prompt + engines.generated), 0), axis=1)
    free = engines.free - waits - blocks_of(_at(window.prompt, state.next))
    late = (jnp.minimum(engines.first_us, now) - window.arrival_us) > params.ttft_us
    latest = jnp.minimum(state.next, 8)
    since = now - _at(window.arrival_us, state.next - latest)
    return Forecasts(
        first_us=busy + steps * of_prompts,
        pace_us=of_all.astype(jnp.float32),
        room=free / jnp.asarray(params.limits.blocks),
        slots=(params.limits.sequences - there).astype(jnp.float32),
        context=context.astype(jnp.float32),
        hopeful=jnp.sum(open_ & ~late, axis=1).astype(jnp.float32),
        gap_us=since.astype(jnp.float32) / jnp.maximum(latest, 1),
    )


def luck_of(state: State, count: int) -> Array:
    """float32[M] in [0, 1), of a random rule."""
    return uniform(state.seed, state.next, jnp.arange(count), LUCK)
