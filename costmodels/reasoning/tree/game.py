"""Tree search as a game: depth by depth, which leaves go on and how widely; pure JAX on one episode.

The rules: docs/tree_search.md; nodes and judges: `trees.py`; which leaves the field's policies keep: `policies.py`.
K slots hold the leaves of a depth, D depths; functions take the static `Rules` first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import normal, uniform
from . import policies, trees

__all__ = [
    "LEVELS",
    "MOST_WIDTH",
    "Metrics",
    "Params",
    "Rules",
    "State",
    "advance",
    "failure",
    "kept_weights",
    "metrics",
    "most_cache",
    "over",
    "own_slots",
    "params_of",
    "slot_at",
    "start",
    "unpacked",
]

LEVELS = 8  # weights that an action gives to each slot: 0 drops a leaf, level l weighs it 2 ** (l - 7)
LOG_SLOTS = 16  # recorded leaves that can be seen
_SLOT_BITS = 5
MOST_WIDTH = 1 << _SLOT_BITS  # slots of the leaf and its ancestors fit one word
# Of the derived decoding time, assumed: 8 billion parameters in bf16 on one H100, 100 tokens a step.
WEIGHT_BYTES, KV_BYTES_PER_TOKEN, BANDWIDTH_BYTES_S, TOKENS_PER_STEP = 16e9, 131_072, 3.35e12, 100
_PROBLEM, _DIFFICULTY = 8, 9  # the draws beside those of trees.py, each the last word of its hash

Table: TypeAlias = "trees.Hands24 | trees.Log | None"


class Rules(NamedTuple):
    """What shapes the program of an instance; the rest is in `Params`."""

    tree: str
    width: int  # continuations at each depth, of an instance at most

    @property
    def slots(self) -> int:
        """K."""
        return LOG_SLOTS if self.tree == "game24_log" else self.width

    @property
    def depth(self) -> int:
        """D."""
        return trees.DEPTHS[self.tree]


class Metrics(NamedTuple):
    """Costs of a search, averaged over searches. Scalars, float32."""

    success: Array
    cache_share: Array  # cache over that of as many separate chains
    cache_nodes: Array  # summed over depths
    decode_s: Array  # time to generate all steps: weights and cache are read once a token
    price_paid: Array


class Params(NamedTuple):
    """An instance."""

    seeds: Array  # uint32[E]
    table: Table  # None where everything is synthetic
    price: Array  # float32[], of the cache of separate chains, in success
    width: Array  # int32[], continuations at each depth


class State(NamedTuple):
    """Where a search stands. Scalars if not said otherwise."""

    seed: Array  # uint32
    puzzle: Array  # int32, of the split
    difficulty: Array  # float32, of `steps`
    depth: Array  # int32, of the leaves, from 1; D + 1 at the end
    nodes: trees.Nodes  # leaves [K]
    path: Array  # uint32[K], slots of a leaf's ancestors and of itself, five bits each: `unpacked`
    cache: Array  # float32, nodes summed over depths
    success: Array  # bool
    illegal: Array  # int32, actions so far that were not legal


_TABLES: Mapping[str, Callable[[str], Table]] = {
    "game24": trees.hands,
    "game24_log": trees.log,
    "steps": lambda split: None,
}


def params_of(rules: Rules, split: str, seeds: np.ndarray, price: float) -> Params:
    """An instance of the rules' width: the problems of a split, searched on the episodes of seeds uint32[E]."""
    return Params(seeds, _TABLES[rules.tree](split), np.asarray(price, np.float32), np.asarray(rules.width, np.int32))


def own_slots(rules: Rules, params: Params) -> Array:
    """int32[]: slots that leaves of the instance can be in, K where it is not padded."""
    return jnp.asarray(LOG_SLOTS if rules.tree == "game24_log" else params.width, jnp.int32)


def most_cache(rules: Rules, params: Params) -> Array:
    """float32[]: nodes, summed over depths, of as many separate chains as the width allows."""
    return jnp.asarray(params.width * (rules.depth * (rules.depth + 1) // 2), jnp.float32)


def start(rules: Rules, key: Array, params: Params) -> State:
    """The root's children."""
    seed = jax.random.bits(key)
    slots = jnp.arange(rules.slots)
    puzzle = jnp.int32(0)
    if params.table is not None:
        puzzle = (uniform(seed, 0, _PROBLEM) * params.table.count).astype(jnp.int32)
    zero = jnp.zeros(rules.slots, jnp.uint32 if rules.tree == "steps" else jnp.int32)
    state = State(
        seed=seed,
        puzzle=puzzle,
        difficulty=trees.PROBLEM_DEVIATION * normal(seed, 0, _DIFFICULTY),
        depth=jnp.int32(1),
        nodes=trees.Nodes(
            there=jnp.ones(rules.slots, bool),
            name=zero,
            good=jnp.ones(rules.slots, bool),
            value=jnp.zeros(rules.slots),
            cluster=slots,
        ),
        path=jnp.zeros(rules.slots, jnp.uint32),
        cache=jnp.float32(0),
        success=jnp.bool_(False),
        illegal=jnp.int32(0),
    )
    if isinstance(params.table, trees.Log):
        return _recorded(rules, state, jnp.ones(rules.slots, bool), jnp.int32(1), params.table)
    return _generated(rules, state, jnp.zeros(rules.slots, jnp.int32), slots, jnp.int32(1), params)


def _generated(rules: Rules, state: State, parents: Array, number: Array, depth: Array, params: Params) -> State:
    """The leaves of a depth, given each slot's parent and which child of it the slot is."""
    # What a child inherits, in one word: gathers are what a step's time goes to.
    packed = (state.path << 2) | (state.nodes.good.astype(jnp.uint32) << 1) | state.nodes.there
    taken, table = packed[parents], params.table
    before = state.nodes._replace(
        there=((taken & 1) > 0) & (jnp.arange(rules.slots) < params.width),
        good=(taken & 2) > 0,
        name=state.nodes.name[parents],
        value=None,
        cluster=None,
    )
    if not isinstance(table, trees.Hands24):
        nodes = trees.steps_children(state.difficulty, before, number, state.seed)
    else:
        nodes = trees.game24_children(state.puzzle, depth, before, number, table, state.seed)
    return _placed(rules, state, nodes, taken >> 2, depth)


def _recorded(rules: Rules, state: State, kept: Array, depth: Array, table: trees.Log) -> State:
    """The best-valued recorded children of the kept nodes."""
    at = jnp.minimum(depth, rules.depth) - 1
    there, parent, good, value = (
        jnp.asarray(leaf)[state.puzzle, at] for leaf in (table.there, table.parent, table.good, table.value)
    )
    mine = parent[:, None] == jnp.where(kept, state.nodes.name, -2)[None]  # [N, K]
    there = there & (jnp.any(mine, axis=1) | (depth == 1))
    score, rows = jax.lax.top_k(jnp.where(there, value, -1.0), rules.slots)
    parents = jnp.argmax(mine[rows], axis=1)
    nodes = trees.Nodes(
        there=score >= 0,
        name=rows.astype(jnp.int32),
        good=good[rows],
        value=jnp.maximum(score, 0.0),
        cluster=jnp.zeros_like(rows),
    )
    return _placed(rules, state, nodes, state.path[parents], depth)


def _placed(rules: Rules, state: State, nodes: trees.Nodes, path: Array, depth: Array) -> State:
    own = jnp.arange(rules.slots, dtype=jnp.uint32) << (_SLOT_BITS * (depth - 1)).astype(jnp.uint32)
    return state._replace(nodes=nodes, path=jnp.where(depth <= rules.depth, path | own, path), depth=depth)


def kept_weights(rules: Rules, state: State, action: Array, params: Params) -> tuple[Array, Array]:
    """Weights of the slots under an action, float32[K], 0 where a leaf is dropped; and whether it is legal, bool.

    Levels that are none count as the nearest. Where nothing is kept, the best-valued leaf is; of recorded leaves the
    first ones that are wanted are kept, as many as the width.
    """
    level = jnp.clip(jnp.asarray(action, jnp.int32), 0, LEVELS - 1)
    wanted = (level > 0) & state.nodes.there
    legal = jnp.any(wanted)
    kept = wanted
    if rules.tree == "game24_log":
        kept = wanted & (jnp.cumsum(wanted) <= params.width)
        legal = legal & jnp.all(kept == wanted)
    slots, value = jnp.arange(rules.slots), jnp.where(state.nodes.there, state.nodes.value, -1.0)
    best = slots == jnp.min(jnp.where(value == jnp.max(value), slots, rules.slots))  # the first of the best
    kept = jnp.where(jnp.any(kept), kept, best & state.nodes.there)
    legal = legal | ~jnp.any(state.nodes.there)  # a dead end leaves no choice
    weight = jnp.where(wanted, (1 << level) * 0.5 ** (LEVELS - 1), 1.0)
    return jnp.where(kept, weight, 0.0), legal


def advance(rules: Rules, state: State, action: Array, params: Params) -> State:
    """Keeps leaves, pays for their cache, and goes one depth down; at the last depth it answers."""
    weight, legal = kept_weights(rules, state, action, params)
    kept, live = weight > 0, state.depth <= rules.depth
    cache = policies.cache_nodes(unpacked(rules, state.path), kept, state.depth)
    last = state.depth == rules.depth
    moved = state._replace(
        cache=state.cache + jnp.where(live, cache, 0),
        success=state.success | (last & _answer(rules, state, kept)),
        illegal=state.illegal + (live & ~legal),
    )
    depth = state.depth + live
    if isinstance(params.table, trees.Log):
        return _recorded(rules, moved, kept, depth, params.table)
    parents, number = policies.continuations(weight, params.width)
    return _generated(rules, moved, parents, number, depth, params)


def _answer(rules: Rules, state: State, kept: Array) -> Array:
    """bool: whether the answer is right: any kept leaf that makes 24; or the kept step of the largest value."""
    good = kept & state.nodes.there & state.nodes.good
    if rules.tree != "steps":
        return jnp.any(good)
    return good[jnp.argmax(jnp.where(kept & state.nodes.there, state.nodes.value, -1.0))]


def slot_at(path: Array, depth: Array | int) -> Array:
    """int32[K]: the slot of each leaf's ancestor of a depth, or of itself; `path` is of a `State`."""
    shift = jnp.asarray(_SLOT_BITS * (depth - 1)).astype(jnp.uint32)
    return ((path >> shift) & jnp.uint32(MOST_WIDTH - 1)).astype(jnp.int32)


def unpacked(rules: Rules, path: Array) -> Array:
    """int32[K, D]: slots of the leaves' ancestors and of themselves; `path` is of a `State`."""
    return jnp.stack([slot_at(path, at) for at in range(1, rules.depth + 1)], axis=1)


def over(rules: Rules, state: State, params: Params) -> Array:
    """Whether it has answered."""
    del params
    return state.depth > rules.depth


def metrics(rules: Rules, state: State, params: Params) -> Metrics:
    """Costs of a finished search."""
    each = 1.0 / most_cache(rules, params)
    read = WEIGHT_BYTES * rules.depth + KV_BYTES_PER_TOKEN * TOKENS_PER_STEP * state.cache
    return Metrics(
        success=state.success.astype(jnp.float32),
        cache_share=state.cache * each,
        cache_nodes=state.cache,
        decode_s=TOKENS_PER_STEP * read / BANDWIDTH_BYTES_S,
        price_paid=state.cache * (params.price * each),
    )


def failure(found: Metrics) -> Array:
    """float32: 1 - success, plus the cache's price."""
    return 1.0 - found.success + found.price_paid
