"""A cache of experts as a game: a layer of a token a step; which experts stay, with how many bits, what is read ahead.

The rules: docs/expert_cache.md. Pure JAX on one episode. A slice of L layers with X experts each; a token has K slots a
layer, by falling router weight, -1 where a model uses fewer. Experts have two bit-widths, `LOW` and `HIGH`, that may be
equal; they are nested, so that from low to high only the difference is read. Sizes count in `UNIT_BYTES`.

An episode is a window of recorded or generated tokens: `WARM_TOKENS` that fill the cache by heat, at no cost, then
those that are played. A step: the router's experts are known; those that are not in memory, or with fewer bits than
wanted, are read; some of the next layer's are read ahead; then entries are evicted until the capacity holds, never one
that the step touched. The flash reads one thing after another: what was read ahead and has not arrived, what is
missing, then what is read ahead. A layer takes as long as its compute or its reads, whichever is longer.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ... import luck
from ...arrays import Array

__all__ = [
    "ABSENT",
    "ACTIONS",
    "AHEAD",
    "HIGH",
    "HOT",
    "KEEP",
    "LOW",
    "MOST_HEAT",
    "UNITS_PER_MIB",
    "UNIT_BYTES",
    "WARM_TOKENS",
    "Metrics",
    "Params",
    "State",
    "action_of",
    "advance",
    "asked",
    "batch_of",
    "cost_ms",
    "hot_slots",
    "keys",
    "metrics",
    "missing",
    "most_steps",
    "over",
    "parts",
    "sizes",
    "start",
    "stride",
    "warmed",
]

UNIT_BYTES = 64
UNITS_PER_MIB = 2**20 // UNIT_BYTES
WARM_TOKENS = 8
ABSENT, LOW, HIGH = 0, 1, 2  # levels of an expert in memory

# The parts of an action, the last one the fastest.
KEEP = ("recency", "frequency", "cycle", "layer", "expected", "popularity", "none")  # which entry is evicted first
AHEAD = (0, 1, 2, 4)  # experts of the next layer that are read ahead, at most
HOT = ("none", "one", "half", "all")  # slots that are wanted with high bits, by falling router weight; others low
ACTIONS = len(KEEP) * len(AHEAD) * len(HOT)

_STAMP = 2**18  # above every stamp
_HEAT = 1024  # of a look-up
MOST_HEAT = 8 * _HEAT  # what an expert that each token takes comes to
_NEAR = 2**17  # over a layer's distance: what its heat weighs
_LAST = np.iinfo(np.int32).max  # a key that is never the smallest


class Params(NamedTuple):
    """An instance."""

    seeds: Array  # uint32[E]
    routes: Array  # int16[N, L, K]
    there: Array  # int32, tokens of these that windows are taken from, the first ones
    tokens: Array  # int32, played in an episode
    popularity: Array  # int32[L, X], look-ups of each expert in tokens that were seen beforehand
    weights: Array  # float32[K], mean router weight by slot
    units: Array  # int32[3, L], of an expert at each level, the first 0
    capacity: Array  # int32, units
    compute_ms: Array  # float32, of a layer
    units_per_ms: Array  # float32, of the flash
    losses: Array  # float32[3], proxy of quality lost at each level, the first 0
    penalty_ms: Array  # float32, of a token that loses 1


class State(NamedTuple):
    """Where an episode stands. Scalars if not said otherwise."""

    offset: Array  # int32, the window's first token
    step: Array  # int32, layers done, those of the warm tokens included
    level: Array  # int8[L, X]
    stamp: Array  # int32[L, X], of the last use or read-ahead; 0 for never
    uses: Array  # int32[L, X], look-ups
    heat: Array  # int32[L, X], look-ups that fade by an eighth a token
    used: Array  # int32, units
    backlog_ms: Array  # float32, of reads ahead that have not arrived
    time_ms: Array  # float32
    loss: Array  # float32, sum over steps
    hits: Array  # float32
    looked_up: Array  # float32
    high: Array  # float32, look-ups that were served with high bits
    read_mib: Array  # float32
    ahead: Array  # float32, experts read ahead
    last_hits: Array  # float32, share of the last step's look-ups
    last_read_ms: Array  # float32, of the last step


class Metrics(NamedTuple):
    """Of an episode, averaged over episodes. Scalars, float32; a token stands for its L layers."""

    cost_ms: Array  # time and penalty, of a token
    time_ms: Array  # of a token
    penalty_ms: Array  # of a token
    hit_rate: Array  # look-ups that waited for no read of their own
    read_mib: Array  # of a token
    high_bits: Array  # share of the look-ups
    read_ahead: Array  # experts, of a token


def stride(slots: int) -> int:
    """Stamps of a step with K slots: one before, one a slot, the last for what is read ahead."""
    return slots + 2


def most_steps(slots: int) -> int:
    """Layers x tokens of a window, at most."""
    return _STAMP // stride(slots) - 1


def parts(action: Array) -> tuple[Array, Array, Array]:
    """int32: places in `KEEP`, `AHEAD` and `HOT` of an action; the nearest one's of a number that is none."""
    action = jnp.clip(jnp.asarray(action, jnp.int32), 0, ACTIONS - 1)
    return action // (len(AHEAD) * len(HOT)), action // len(HOT) % len(AHEAD), action % len(HOT)


def action_of(keep: Array, ahead: Array, hot: Array) -> Array:
    """int32: of places in `KEEP`, `AHEAD` and `HOT`."""
    return jnp.asarray((keep * len(AHEAD) + ahead) * len(HOT) + hot, jnp.int32)


def batch_of(state: State, params: Params) -> Array:
    """int32[K]: the experts of the step's layer, -1 for none."""
    routes = jnp.asarray(params.routes)
    tokens, layers, _ = routes.shape
    token = jnp.clip(state.offset + state.step // layers, 0, tokens - 1)
    return routes[token, state.step % layers].astype(jnp.int32)


def hot_slots(hot: Array, batch: Array) -> Array:
    """bool[K]: slots that are wanted with high bits, of a place in `HOT`."""
    used = jnp.sum(batch >= 0)
    most = jnp.stack([jnp.int32(0), jnp.int32(1), (used + 1) // 2, used])[hot]
    return np.arange(batch.shape[0]) < most


def _at(row: Array, batch: Array) -> Array:
    """[K]: entries of a row [X]; 0 where a slot is not used."""
    return jnp.where(batch >= 0, row[jnp.maximum(batch, 0)], 0)


def missing(state: State, hot: Array, params: Params) -> Array:
    """int32[K]: units that each slot's expert has to be read, of a place in `HOT`."""
    batch, layer = batch_of(state, params), state.step % state.level.shape[0]
    want = jnp.where(hot_slots(hot, batch), HIGH, LOW)
    have = _at(state.level[layer], batch).astype(jnp.int32)
    units = jnp.asarray(params.units)[:, layer]
    return jnp.where((batch >= 0) & (have < want), units[want] - units[have], 0)


def _rows(experts: int, batch: Array) -> Array:
    """bool[K, X]: where each slot's expert is."""
    return batch[:, None] == np.arange(experts)


def warmed(offset: Array, params: Params) -> State:
    """A cache that has seen a window's warm tokens: the hottest experts are in it with high bits, as they fit."""
    routes, experts = jnp.asarray(params.routes), params.popularity.shape[1]
    layers = routes.shape[1]
    zero = jnp.zeros((layers, experts), jnp.int32)

    def see(token: Array, found: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        stamp, count, heat = found
        batch = routes[offset + token].astype(jnp.int32)  # [L, K]
        rows = batch[:, :, None] == np.arange(experts)  # [L, K, X]
        slots = np.arange(1, batch.shape[1] + 1, dtype=np.int32)[None, :, None]
        first = (token * layers + np.arange(layers, dtype=np.int32))[:, None] * stride(batch.shape[1])
        chosen = jnp.any(rows, axis=1)
        last = first + jnp.max(jnp.where(rows, slots, 0), axis=1)
        return jnp.where(chosen, last, stamp), count + chosen, heat - (heat >> 3) + _HEAT * chosen

    stamp, count, heat = jax.lax.fori_loop(0, WARM_TOKENS, see, (zero, zero, zero))
    order = jnp.argsort(-heat.ravel(), stable=True)
    size = jnp.broadcast_to(jnp.asarray(params.units)[HIGH][:, None], heat.shape).ravel()[order]
    stays = (jnp.cumsum(size) <= params.capacity) & (heat.ravel()[order] > 0)  # all experts together are in int32
    level = jnp.zeros(heat.size, jnp.int8).at[order].set(jnp.where(stays, HIGH, ABSENT).astype(jnp.int8))
    nothing = jnp.float32(0)
    return State(
        offset=jnp.asarray(offset, jnp.int32), step=jnp.int32(WARM_TOKENS * layers), level=level.reshape(heat.shape),
        stamp=stamp, uses=count, heat=heat, used=jnp.sum(jnp.where(stays, size, 0)), backlog_ms=nothing,
        time_ms=nothing, loss=nothing, hits=nothing, looked_up=nothing, high=nothing, read_mib=nothing, ahead=nothing,
        last_hits=nothing, last_read_ms=nothing,
    )  # fmt: skip


def start(key: Array, params: Params) -> State:
    """A window of the tokens, its cache warm."""
    windows = jnp.asarray(params.there) - params.tokens - WARM_TOKENS + 1
    chance = luck.uniform(jax.random.bits(key, (), jnp.uint32), 0)
    offset = jnp.minimum((chance * windows.astype(jnp.float32)).astype(jnp.int32), windows - 1)
    return warmed(offset, params)


def sizes(level: Array, params: Params) -> Array:
    """int32[L, X]: units of each entry in memory."""
    units = jnp.asarray(params.units)
    return jnp.where(level == HIGH, units[HIGH][:, None], jnp.where(level == LOW, units[LOW][:, None], 0))


def keys(state: State, keep: Array, layer: Array, params: Params) -> Array:
    """int32[L, X]: the entry with the smallest is evicted first; of a place in `KEEP`, after a step of the layer."""
    layers, experts = state.level.shape
    own = np.arange(layers)[:, None]
    distance = (own - layer - 1) % layers + 1  # steps until a layer comes again
    shape = (layers, experts)
    orders = (
        state.stamp,
        state.uses * _STAMP + state.stamp,
        jnp.broadcast_to((layers - distance) * _STAMP, shape) + state.stamp,
        jnp.where(own == layer, 0, _STAMP) + state.stamp,
        state.heat * (_NEAR // distance),
        jnp.asarray(params.popularity, jnp.int32),
        jnp.broadcast_to(jnp.int32(0), shape),
    )
    return jax.lax.select_n(keep, *orders)


def asked(state: State, ahead: Array, hot: Array, params: Params) -> tuple[State, Array]:
    """A layer of a token, of places in `AHEAD` and `HOT`, before anything goes; and bool[L, X], what it touched."""
    layers, experts = state.level.shape
    layer, batch = state.step % layers, batch_of(state, params)
    there, high = batch >= 0, hot_slots(hot, batch)
    units = jnp.asarray(params.units)
    stamped = state.step * stride(batch.shape[0])
    here, after = np.arange(layers)[:, None] == layer, np.arange(layers)[:, None] == (layer + 1) % layers

    # What the router asks for.
    loads = missing(state, hot, params)
    rows = _rows(experts, batch)
    want = jnp.max(jnp.where(rows, jnp.where(high, HIGH, LOW)[:, None], ABSENT), axis=0).astype(jnp.int8)
    chosen = jnp.any(rows, axis=0)
    have = _at(state.level[layer], batch).astype(jnp.int32)
    served = jnp.maximum(have, jnp.where(high, HIGH, LOW))
    slots = jnp.max(jnp.where(rows, np.arange(1, batch.shape[0] + 1)[:, None], 0), axis=0)
    level = jnp.maximum(state.level, jnp.where(here, want, 0).astype(jnp.int8))
    stamp = jnp.where(here & chosen, stamped + slots, state.stamp)
    count = state.uses + (here & chosen)
    heat = jnp.where(here, state.heat - (state.heat >> 3) + _HEAT * chosen, state.heat)

    # What is read ahead: the hottest of the next layer that are not in memory, as far as they fit beside the batch.
    following = (layer + 1) % layers
    grade = jnp.where(hot == HOT.index("all"), HIGH, LOW)
    each = units[grade, following]
    held = jnp.sum(jnp.where(there, units[served, layer], 0))
    fits = jnp.maximum(params.capacity - held, 0) // each
    candidates = jnp.where(level[following] == ABSENT, heat[following], 0)
    best, places = jax.lax.top_k(candidates, AHEAD[-1])
    most = jnp.minimum(jnp.asarray(AHEAD, jnp.int32)[ahead], fits)
    taken = (best > 0) & (np.arange(AHEAD[-1]) < most)
    extra = jnp.any((places[:, None] == np.arange(experts)) & taken[:, None], axis=0)
    level = jnp.where(after & extra, grade.astype(jnp.int8), level)
    stamp = jnp.where(after & extra, stamped + batch.shape[0] + 1, stamp)
    ahead_units = jnp.sum(taken) * each

    # What it takes.
    read_ms = jnp.sum(loads).astype(jnp.float32) / params.units_per_ms
    ready = state.backlog_ms + read_ms
    time = jnp.maximum(params.compute_ms, ready)
    backlog = jnp.maximum(ahead_units.astype(jnp.float32) / params.units_per_ms - (time - ready), 0.0)
    hit = there & (loads == 0)
    used_slots = jnp.maximum(jnp.sum(there), 1).astype(jnp.float32)
    touched = (here & chosen) | (after & extra)
    moved = State(
        offset=state.offset,
        step=state.step + 1,
        level=level,
        stamp=stamp,
        uses=count,
        heat=heat,
        used=state.used + jnp.sum(loads) + ahead_units,
        backlog_ms=backlog,
        time_ms=state.time_ms + time,
        loss=state.loss + jnp.sum(jnp.where(there, params.weights * jnp.asarray(params.losses)[served], 0.0)),
        hits=state.hits + jnp.sum(hit),
        looked_up=state.looked_up + jnp.sum(there),
        high=state.high + jnp.sum(there & (served == HIGH)),
        read_mib=state.read_mib + (jnp.sum(loads) + ahead_units).astype(jnp.float32) / UNITS_PER_MIB,
        ahead=state.ahead + jnp.sum(taken),
        last_hits=jnp.sum(hit).astype(jnp.float32) / used_slots,
        last_read_ms=read_ms,
    )
    return moved, touched


def advance(state: State, action: Array, params: Params) -> State:
    """A layer of a token; a number that is no action counts as the nearest one."""
    keep, ahead, hot = parts(action)
    layers, experts = state.level.shape
    moved, touched = asked(state, ahead, hot, params)
    size = sizes(moved.level, params)
    order = keys(moved, keep, state.step % layers, params)
    order = jnp.where(touched | (moved.level == ABSENT), _LAST, order)
    goes_all = keep == KEEP.index("none")
    places = np.arange(layers * experts, dtype=np.int32).reshape(layers, experts)

    def full(carry: tuple[Array, Array, Array]) -> Array:
        _, used, left = carry
        return (used > params.capacity) & left

    def evict(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        order, used, _ = carry
        smallest = jnp.min(order)
        victim = jnp.min(jnp.where(order == smallest, places, _LAST))  # the first of equal ones
        order = jnp.where(places == victim, _LAST, order)
        return order, used - size.reshape(-1)[victim], jnp.any(order != _LAST)

    order = jnp.where(goes_all, _LAST, order)
    used = jnp.where(goes_all, jnp.sum(jnp.where(touched, size, 0)), moved.used)
    order, used, _ = jax.lax.while_loop(full, evict, (order, used, jnp.any(order != _LAST)))
    level = jnp.where(touched | (order != _LAST), moved.level, ABSENT).astype(jnp.int8)
    return moved._replace(level=level, used=used)


def over(state: State, params: Params) -> Array:
    """Whether the window's last token is done."""
    return state.step >= (WARM_TOKENS + jnp.asarray(params.tokens)) * state.level.shape[0]


def cost_ms(state: State, params: Params) -> Array:
    """float32: time and penalty of all that was played so far, of a token of the episode."""
    layers = state.level.shape[0]
    tokens = jnp.asarray(params.tokens).astype(jnp.float32)
    return (state.time_ms + params.penalty_ms / layers * state.loss) / tokens


def metrics(state: State, params: Params) -> Metrics:
    """Of an episode, finished or not."""
    layers = state.level.shape[0]
    tokens = jnp.asarray(params.tokens).astype(jnp.float32)
    looked_up = jnp.maximum(state.looked_up, 1.0)
    return Metrics(
        cost_ms=cost_ms(state, params),
        time_ms=state.time_ms / tokens,
        penalty_ms=params.penalty_ms / layers * state.loss / tokens,
        hit_rate=state.hits / looked_up,
        read_mib=state.read_mib / tokens,
        high_bits=state.high / looked_up,
        read_ahead=state.ahead / tokens,
    )
