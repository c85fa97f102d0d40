"""An engine of continuous batching, step by step, as vLLM's (V1) scheduler has it; pure JAX, int32 throughout.

First come, first served. A step carries up to `tokens` tokens: a token of every running sequence first (more, where its
prompt is still going), then chunks of prompts that wait. A request is admitted when the blocks of all that it has so
far fit; where a running one finds no block, the latest admitted are preempted, and a step that preempts admits nobody.
What was preempted is computed again but for its blocks that nobody has taken since (prefix caching: freed blocks are
taken oldest first, a request's last ones before its first); a store of prefixes may bring more. Or it is swapped: its
blocks go to the host's memory, which holds all, and come back with it, in the time of the steps that push it out and
take it in. A threshold, `chunk`, bounds what a step carries of one prompt; without chunked prefill, `whole`, a prompt
is admitted only where the step has room for all that is left of it, or for as much as the threshold lets through. With
`depth` 2 a step is scheduled while the one before it runs (asynchronous scheduling), so that the scheduler knows what
is over a step later. A request makes all its tokens: lengths are known to the engine, and to nobody who routes.

With priorities (`priority_tick`) requests are taken in another order, told anew every so many steps: those that made
the fewest tokens first. That step takes as many as sequences and cache hold and pushes out those that run beside.

Clocks stand still at `LATEST_US`, 2,147 s: what is served later counts as served then.

Requests are in the order of their arrival, so that the running ones and the waiting ones are each in that order too. N
requests; blocks hold 16 tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from .law import StepLaw, decode_us, decoding_of, step_us

__all__ = [
    "BLOCK",
    "LATEST_US",
    "MINE",
    "NEVER",
    "Limits",
    "Requests",
    "State",
    "Work",
    "blocks_of",
    "coast",
    "duration_us",
    "finish",
    "initial",
    "limits_of",
    "next_arrival_us",
    "priority_tick",
    "schedule",
    "tick",
]

BLOCK = 16  # tokens
NEVER = 2**31 - 1  # us
LATEST_US = NEVER - 1  # where clocks stand still: int32 would go on below zero
_LOW_BITS = 12


class Requests(NamedTuple):
    """What arrives; int32[N], by arrival. Columns that are not there arrive NEVER."""

    arrival_us: Array
    prompt: Array  # tokens
    output: Array  # tokens, 1 or more
    reused: Array  # tokens of the prompt that a store of prefixes brings, whole blocks and not all of it


MINE: Any = Requests(0, None, None, None)  # pyright: ignore[reportArgumentType]  # axes: each engine has own arrivals


class Limits(NamedTuple):
    """Of an engine; int32[]."""

    sequences: Array  # at once
    tokens: Array  # of a step
    blocks: Array  # of cache
    depth: Array  # steps in flight: 1 or 2
    swap_us: Array  # of a block to the host's memory or back; 0: what is preempted is computed again
    chunk: Array  # tokens of one prompt that a step carries at most, 1 or more; NEVER: what the step has left
    whole: Array  # 1: nobody is admitted with less than all that is left of the prompt, or `chunk`; 0: with any token


class State(NamedTuple):
    """Where an engine stands; int32[N], or int32[] in the second part."""

    computed: Array  # tokens in the cache, of those that run
    generated: Array  # tokens that were scheduled, which the latest steps may be making still
    held: Array  # blocks; above 0: it runs
    cached: Array  # full blocks that it held when it was preempted; tokens, where it was swapped
    behind: Array  # free blocks that are taken after those
    queued_us: Array  # when the engine saw it
    first_us: Array  # its first token
    last_us: Array  # its last

    now_us: Array  # when the scheduler looks next; NEVER: nothing is to do
    latest_us: Array  # when the last step that was scheduled ends
    free: Array  # blocks
    steps: Array
    preempted: Array  # times
    step_us: Array  # what the last step took


class Work(NamedTuple):
    """What a step carries. int32[], but for `made`."""

    made: Array  # bool[N], requests that get a token
    tokens: Array
    sequences: Array
    chunk: Array  # see `step_us`
    before: Array
    decoding: Array
    context: Array
    longest: Array
    swap_us: Array  # of what goes to the host's memory and comes back


def blocks_of(tokens: Any) -> Any:
    """Blocks that hold so many tokens."""
    return -(-tokens // BLOCK)


def initial(count: int, limits: Limits, now_us: Array | int = 0) -> State:
    """An engine without work, for N requests."""
    zeros, never = jnp.zeros(count, jnp.int32), jnp.full(count, NEVER, jnp.int32)
    none, now = jnp.int32(0), jnp.asarray(now_us, jnp.int32)
    free = jnp.asarray(limits.blocks, jnp.int32)
    return State(zeros, zeros, zeros, zeros, zeros, never, never, never, now, none, free, none, none, none)


def _total(values: Array) -> jax.Array:
    return jnp.sum(values, dtype=jnp.int32)


def _before(values: Array) -> jax.Array:
    """The sums of what comes before each."""
    return jnp.cumsum(values, dtype=jnp.int32) - values


def _mean_before(of_prompts: Array, computed: Array, chunk: Array) -> jax.Array:
    """int32[]: (sum of n (2 c + n) - chunk^2) // (2 chunk), n tokens of a prompt after c: as many keys for one chunk.

    Exact for steps of 32,767 tokens. The sum itself, twice the keys that queries of prompts meet, would not fit into
    int32 where prompts go on after 130,000 tokens: it is kept as `high` x 4096 + `low`.
    """
    keys, twice = 2 * computed + of_prompts, 2 * jnp.maximum(chunk, 1)
    high = _total(of_prompts * (keys >> _LOW_BITS))
    low = _total(of_prompts * (keys & (1 << _LOW_BITS) - 1)) - chunk * chunk
    whole = high // twice
    return jnp.maximum((whole << _LOW_BITS) + ((high - whole * twice << _LOW_BITS) + low) // twice, 0)


def schedule(
    requests: Requests, limits: Limits, state: State, active: Array | bool = True, chosen: Array | None = None
) -> tuple[State, Work]:
    """Who is in the next step, if `active`; times are left to `finish`.

    Where bool[N] of requests are `chosen`, those that run beside them are pushed out first, and nobody else comes in.
    """
    prompt = jnp.asarray(requests.prompt)
    arrived = jnp.asarray(requests.arrival_us) <= state.now_us
    open_ = state.last_us == NEVER
    budget = jnp.where(active, jnp.asarray(limits.tokens), 0)
    # What is over frees its blocks.
    over = (state.last_us <= state.now_us) & (state.held > 0) & active
    freed = _total(jnp.where(over, state.held, 0))
    free, behind, held = state.free + freed, state.behind + freed, jnp.where(over, 0, state.held)
    # Running requests, in order; those that find no block push out the latest.
    target, running = prompt + state.generated, held > 0
    moves = running & open_
    yields = None if chosen is None else moves & ~chosen & active
    if yields is not None:
        moves = moves & ~yields
    chunk = jnp.asarray(limits.chunk)
    wanted = jnp.where(moves, jnp.minimum(target - state.computed, chunk), 0)
    runs = jnp.clip(budget - _before(wanted), 0, wanted)
    extra = jnp.where(runs > 0, blocks_of(state.computed + runs) - held, 0)
    pushable = jnp.where(moves, held, 0)
    later = _total(pushable) - _before(pushable) - pushable
    roomy = free if yields is None else free + _total(jnp.where(yields, held, 0))
    lost = forced = moves & (_before(extra) + extra > roomy + later)
    if yields is not None:
        lost = lost | yields
    pushed = jnp.where(lost, held, 0)
    runs, extra = jnp.where(lost, 0, runs), jnp.where(lost, 0, extra)
    free = free + _total(pushed) - _total(extra)
    swaps = jnp.asarray(limits.swap_us) > 0
    cached = jnp.where(lost, jnp.where(swaps, state.computed, state.computed // BLOCK), state.cached)
    behind = jnp.where(lost, _before(pushed), behind + _total(pushed))
    computed, held = jnp.where(lost, 0, state.computed), jnp.where(lost, 0, held + extra)
    # Waiting requests, in order, as long as all that they have fits. What is left of a preempted one's blocks is what
    # the earlier ones of this step would leave if they took all of theirs from the front.
    waits = arrived & open_ & ~running
    if chosen is not None:
        waits = waits & chosen
    whole = jnp.where(waits, blocks_of(target), 0)
    ahead = _before(whole)
    hit = jnp.where(waits, jnp.clip(free - ahead - behind, 0, jnp.minimum(cached, (target - 1) // BLOCK)), 0)
    hit = jnp.where(swaps, 0, hit)
    kept = jnp.where(swaps, cached, hit * BLOCK)
    begun = jnp.where(waits, jnp.maximum(kept, jnp.asarray(requests.reused)), 0)
    wanted = jnp.where(waits, jnp.minimum(target - begun, chunk), 0)
    left = budget - _total(runs) - _before(wanted)
    room = limits.sequences - _total(running if yields is None else running & ~yields)
    needed = jnp.where(jnp.asarray(limits.whole) > 0, wanted, 1)
    fits = (ahead + whole <= free) & (_before(waits.astype(jnp.int32)) < room) & (left > 0) & (left >= needed)
    admitted = waits & fits & ~jnp.any(forced)
    chunks = jnp.where(admitted, jnp.minimum(wanted, left), 0)
    taken = jnp.where(admitted, blocks_of(begun + chunks), 0)
    free, behind = free - _total(taken), behind - _total(jnp.where(admitted, hit, 0))
    computed = jnp.where(admitted, begun, computed)
    # What the step carries.
    tokens = runs + chunks
    decodes = (tokens == 1) & (computed >= prompt)
    of_prompts, decoding = jnp.where(decodes, 0, tokens), _total(decodes)
    chunk = _total(of_prompts)
    after = computed + tokens
    work = Work(
        made=(tokens > 0) & (after == target),
        tokens=chunk + decoding,
        sequences=_total(tokens > 0),
        chunk=chunk,
        before=_mean_before(of_prompts, computed, chunk),
        decoding=decoding,
        context=_total(jnp.where(decodes, after, 0)) // jnp.maximum(decoding, 1),
        longest=jnp.max(jnp.where(decodes, after, 0)).astype(jnp.int32),
        swap_us=limits.swap_us * (_total(pushed) + _total(jnp.where(admitted, blocks_of(cached), 0))),
    )
    seen = arrived & (state.queued_us == NEVER) & active
    return (
        state._replace(
            computed=after,
            held=jnp.where(admitted, taken, held),
            cached=jnp.where(admitted, 0, cached),
            behind=behind,
            queued_us=jnp.where(seen, state.now_us, state.queued_us),
            free=free,
            preempted=state.preempted + _total(lost),
        ),
        work,
    )


def finish(
    requests: Requests,
    limits: Limits,
    state: State,
    made: Array,
    *,
    duration_us: Array,
    carries: Array,
    next_arrival_us: Array,
    active: Array | bool = True,
) -> State:
    """Gives a scheduled step its time, and says when the scheduler looks next.

    Args:
        requests, limits: of the engine.
        state: as `schedule` left it.
        made: bool[N], requests that get a token.
        duration_us: int32[], of the step.
        carries: bool[], whether the step carries anything.
        next_arrival_us: int32[], later than now.
        active: bool[], whether the engine moves at all.
    """
    start = jnp.maximum(state.now_us, state.latest_us)
    end, goes = _later(start, duration_us), carries & active
    generated = state.generated + made
    waits = jnp.where(state.latest_us > state.now_us, state.latest_us, next_arrival_us)
    after = jnp.where(carries, jnp.where(jnp.asarray(limits.depth) > 1, start, end), waits)
    return state._replace(
        generated=generated,
        first_us=jnp.where(made & (generated == 1), end, state.first_us),
        last_us=jnp.where(made & (generated == jnp.asarray(requests.output)), end, state.last_us),
        now_us=jnp.where(active, after, state.now_us),
        latest_us=jnp.where(goes, end, state.latest_us),
        steps=state.steps + goes,
        step_us=jnp.where(goes, duration_us, state.step_us),
    )


def _later(start_us: Array, duration_us: Array) -> jax.Array:
    """int32[]: the end of a step, `LATEST_US` at most."""
    return jnp.add(start_us, jnp.minimum(duration_us, LATEST_US - start_us))


def next_arrival_us(requests: Requests, state: State) -> jax.Array:
    """int32[]: of the first request that the engine has not seen; NEVER where there is none."""
    arrival = jnp.asarray(requests.arrival_us)
    return jnp.min(jnp.where(arrival > state.now_us, arrival, NEVER)).astype(jnp.int32)


def duration_us(law: StepLaw, work: Work, tokens: Array) -> jax.Array:
    """int32[]: of a step that counts as so many tokens."""
    return step_us(
        law,
        tokens=tokens,
        sequences=work.sequences,
        chunk=work.chunk,
        before=work.before,
        decoding=work.decoding,
        context=work.context,
        longest=work.longest,
    ) + jnp.asarray(work.swap_us)


def tick(law: StepLaw, limits: Limits, requests: Requests, state: State, active: Array | bool = True) -> State:
    """One look of the scheduler: a step if there is work, or the wait for what happens next."""
    state, work = schedule(requests, limits, state, active)
    return _carried(law, limits, requests, state, work, active)


def _carried(law: StepLaw, limits: Limits, requests: Requests, state: State, work: Work, active: Array | bool) -> State:
    duration = duration_us(law, work, work.tokens)
    return finish(
        requests,
        limits,
        state,
        work.made,
        duration_us=duration,
        carries=work.tokens > 0,
        next_arrival_us=next_arrival_us(requests, state),
        active=active,
    )


def _chosen(requests: Requests, limits: Limits, state: State) -> jax.Array:
    """bool[N]: the first ones, in order, that sequences and cache hold with all that they have so far."""
    open_, over = state.last_us == NEVER, state.last_us <= state.now_us
    runs, there = state.held > 0, open_ & (jnp.asarray(requests.arrival_us) <= state.now_us)
    blocks = state.free + _total(jnp.where(runs & (open_ | over), state.held, 0))
    seats = limits.sequences - _total(runs & ~open_ & ~over)
    needed = jnp.where(there, blocks_of(jnp.asarray(requests.prompt) + state.generated), 0)
    return there & (jnp.cumsum(needed) <= blocks) & (jnp.cumsum(there.astype(jnp.int32)) <= seats)


def _permuted(tree: Any, order: Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[order] if jnp.ndim(leaf) else leaf, tree)


def priority_tick(
    law: StepLaw,
    limits: Limits,
    requests: Requests,
    state: State,
    order: Array,
    every: Array,
    active: Array | bool = True,
) -> tuple[State, Array]:
    """`tick` of an engine that takes requests in the order of their priorities, and that order.

    Args:
        law, limits, requests, state, active: as of `tick`.
        order: int32[N], requests by priority.
        every: int32[], steps between updates of the order: the fewest tokens first, the earliest of equals; who has
            not arrived by then has none.
    """
    count = order.shape[0]
    updates = (state.steps % every == 0) & active
    there = (jnp.asarray(requests.arrival_us) <= state.now_us) & (state.last_us == NEVER)
    by_tokens = jnp.sort(jnp.where(there, state.generated, 0) * count + jnp.arange(count)) % count
    order = jnp.where(updates, by_tokens, order)
    requests, state = _permuted(requests, order), _permuted(state, order)
    chosen = _chosen(requests, limits, state) | ~updates
    state, work = schedule(requests, limits, state, active, chosen)
    state = _carried(law, limits, requests, state, work, active)
    return _permuted(state, jnp.zeros_like(order).at[order].set(jnp.arange(count))), order


def coast(
    law: StepLaw, limits: Limits, requests: Requests, state: State, until_us: Array, at_most: Array | int = NEVER
) -> State:
    """What `tick` makes of an engine in which all that runs decodes and nobody waits, over and over, but in scalars.

    It ends before a request makes its last token, before blocks could be short, at the next context of the law's grid,
    and where the scheduler would look at `until_us` or later, which is before any further request arrives; `at_most` so
    many steps.
    """
    runs = state.held > 0
    target = jnp.asarray(requests.prompt) + state.generated
    decodes = runs & (state.last_us == NEVER) & (state.computed == target - 1) & (state.generated > 0)
    waits = (jnp.asarray(requests.arrival_us) <= state.now_us) & ~runs & (state.last_us == NEVER)
    decoding = _total(runs)
    quiet = (decoding > 0) & (decoding <= jnp.asarray(limits.tokens)) & ~jnp.any((runs & ~decodes) | waits)
    left = jnp.min(jnp.where(runs, jnp.asarray(requests.output) - state.generated, NEVER)) - 1
    blocks = BLOCK * (state.free // jnp.maximum(decoding, 1))  # each takes at most one in as many steps
    context = _total(jnp.where(runs, state.computed, 0)) // jnp.maximum(decoding, 1)
    longest = jnp.max(jnp.where(runs, state.computed, 0))
    steps = decoding_of(law, decoding=decoding, context=context + 1, longest=longest + 1)
    most = jnp.where(quiet, jnp.minimum(jnp.minimum(jnp.minimum(left, blocks), steps.steps), at_most), 0)
    ahead = jnp.asarray(limits.depth) > 1

    def step(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        taken, now, latest, last = carry
        goes = (taken < most) & (now < until_us)
        duration = decode_us(steps, taken)
        start = jnp.maximum(now, latest)
        end = _later(start, duration)
        return (
            taken + goes,
            jnp.where(goes, jnp.where(ahead, start, end), now),
            jnp.where(goes, end, latest),
            jnp.where(goes, duration, last),
        )

    first = (jnp.int32(0), state.now_us, state.latest_us, state.step_us)
    taken, now, latest, last = jax.lax.while_loop(lambda carry: (carry[0] < most) & (carry[1] < until_us), step, first)
    more = jnp.where(runs, taken, 0)
    computed = state.computed + more
    held = jnp.where(runs & (taken > 0), blocks_of(computed), state.held)
    return state._replace(
        computed=computed,
        generated=state.generated + more,
        held=held,
        now_us=now,
        latest_us=latest,
        free=state.free - _total(held) + _total(state.held),
        steps=state.steps + taken,
        step_us=last,
    )


def limits_of(
    *,
    sequences: int,
    blocks: int,
    tokens: int = 2048,
    depth: int = 2,
    swap_us: int = 0,
    chunk: int = NEVER,
    whole: int = 0,
) -> Limits:
    """Limits as arrays, of an engine that computes again what it preempts and chunks prompts, unless said otherwise.

    An engine never serves a request that its blocks do not hold; nor, where prompts are `whole`, one whose prompt, with
    all that it has made when it is preempted, has more tokens than a step, and than `chunk` lets through.
    """
    return Limits(*(np.asarray(value, np.int32) for value in (sequences, tokens, blocks, depth, swap_us, chunk, whole)))
