"""Which leaves of a search tree go on, and how widely: beam search, REBASE, DVTS, ETS; and the cache that they share.

Leaves' paths are their slots at each depth, int32[K, D], filled up to the present depth; two leaves share a node of
the key-value cache where their paths are equal so far. Weights are float32[K], 0 for leaves that are dropped;
`continuations` turns them into whole ones. JAX; K slots, D depths.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ...arrays import Array

__all__ = ["beam", "cache_nodes", "continuations", "dvts", "ets", "ets_objective", "rebase"]


def _rank(value: Array, among: Array) -> jax.Array:
    """int32[K]: how many of the leaves `among` are better, or as good and earlier."""
    slots = jnp.arange(len(value))
    better = (value[None] > value[:, None]) | ((value[None] == value[:, None]) & (slots[None] < slots[:, None]))
    return jnp.sum(better & among[None], axis=1)


def beam(value: Array, there: Array, keep: Array | int) -> jax.Array:
    """Equal weights for the `keep` leaves of the largest value."""
    return jnp.where(there & (_rank(value, there) < keep), 1.0, 0.0)


def rebase(value: Array, there: Array, tau: Array) -> jax.Array:
    """Weights exp(value / tau), the largest 1 (Wu et al., 2024; tau 0.2 in ETS's code)."""
    top = jnp.max(jnp.where(there, value, -jnp.inf), initial=-1e9)
    return jnp.where(there, jnp.exp((value - top) / tau), 0.0)


def dvts(value: Array, there: Array, subtree: Array, keep: Array | int) -> jax.Array:
    """Equal weights for the best leaf of each subtree of depth 1, of the `keep` best such leaves."""
    same = (subtree[:, None] == subtree[None]) & there[None]
    slots = jnp.arange(len(value))
    better = (value[None] > value[:, None]) | ((value[None] == value[:, None]) & (slots[None] < slots[:, None]))
    best = there & ~jnp.any(same & better, axis=1)
    return jnp.where(best & (_rank(value, best) < keep), 1.0, 0.0)


def cache_nodes(path: Array, kept: Array, depth: Array) -> jax.Array:
    """int32: nodes on the kept leaves' paths, shared ones once.

    Args:
        path: int32[K, D], K at most 32.
        kept: bool[K].
        depth: int32, of the leaves; deeper columns are ignored.
    """
    bits = jnp.where(kept[:, None], jnp.uint32(1) << jnp.asarray(path).astype(jnp.uint32), jnp.uint32(0))
    used = jax.lax.population_count(jax.lax.reduce(bits, jnp.uint32(0), jax.lax.bitwise_or, (0,)))  # [D]
    return jnp.sum(jnp.where(jnp.arange(path.shape[1]) < depth, used, 0)).astype(jnp.int32)


def _new_nodes(path: Array, chosen: Array, depth: Array) -> jax.Array:
    """int32[K]: nodes that each leaf would add to the chosen ones' paths."""
    shared = jnp.any(chosen[None, :, None] & (path[:, None] == path[None]), axis=1)  # [K, D]
    return jnp.sum(~shared & (jnp.arange(path.shape[1]) < depth), axis=1)


def ets_objective(
    weight: Array,
    path: Array,
    cluster: Array,
    there: Array,
    chosen: Array,
    depth: Array,
    *,
    share: Array,
    spread: Array,
) -> jax.Array:
    """float32: ETS's objective of a set of leaves (Hooper et al., 2025).

    Args:
        weight: float32[K], REBASE's.
        path, cluster, there: of the leaves.
        chosen: bool[K].
        depth: of the leaves.
        share: lambda_b, the price of the cache.
        spread: lambda_d, the worth of covering clusters.
    """
    relevance = jnp.sum(jnp.where(chosen, weight, 0.0)) / jnp.maximum(jnp.sum(jnp.where(there, weight, 0.0)), 1e-9)
    nodes = cache_nodes(path, chosen, depth) / jnp.maximum(cache_nodes(path, there, depth), 1)
    same = cluster[:, None] == cluster[None]
    first = ~jnp.any(jnp.tril(same, -1) & there[None], axis=1) & there  # one leaf stands for each cluster
    covered = jnp.sum(first & jnp.any(same & chosen[None], axis=1))
    return relevance - share * nodes + spread * covered / jnp.maximum(jnp.sum(first), 1)


def ets(
    weight: Array, path: Array, cluster: Array, there: Array, depth: Array, *, share: Array, spread: Array
) -> jax.Array:
    """bool[K]: leaves to keep, greedily: the largest gain in ETS's objective while it is above 0; one at least.

    ETS solves an integer program. Greedy addition is not always optimal; tests measure by how much. Arguments as of
    `ets_objective`.
    """
    total = jnp.maximum(jnp.sum(jnp.where(there, weight, 0.0)), 1e-9)
    nodes = jnp.maximum(cache_nodes(path, there, depth), 1)
    same = cluster[:, None] == cluster[None]
    first = ~jnp.any(jnp.tril(same, -1) & there[None], axis=1) & there
    clusters = jnp.maximum(jnp.sum(first), 1)
    slots = jnp.arange(len(weight))

    def add(chosen, _):
        fresh = ~jnp.any(same & chosen[None], axis=1)
        gain = weight / total - share * _new_nodes(path, chosen, depth) / nodes + spread * fresh / clusters
        gain = jnp.where(there & ~chosen, gain, -jnp.inf)
        best = jnp.argmax(gain)
        wanted = (gain[best] > 0) | ~jnp.any(chosen)
        return chosen | ((slots == best) & wanted & there[best]), None

    return jax.lax.scan(add, jnp.zeros_like(there), None, length=len(weight))[0]


def continuations(weight: Array, width: Array | int) -> tuple[jax.Array, jax.Array]:
    """Two int32[K]: the leaf that each of `width` continuations, at most K, goes on from, and which of the leaf's it
    is; beyond the width they mean nothing.

    Shared out by weight: each leaf in turn gets the rest of the width times its share of the rest's weight, rounded
    up. REBASE's rule, in the order of the slots, which is that of falling value where it matters. Leaves of weight 0
    get none; if all weights are 0, all go on from the last.
    """

    def share(carry, each):
        left, rest = carry
        mine = jnp.where(each > 0, jnp.minimum(jnp.ceil(left * each / jnp.maximum(rest, 1e-9) - 1e-4), left), 0.0)
        return (left - mine, rest - each), width - (left - mine)

    _, ends = jax.lax.scan(share, (jnp.asarray(width, jnp.float32), jnp.sum(weight)), weight)
    ends, slots = ends.astype(jnp.int32), jnp.arange(len(weight))
    past = slots[:, None] >= ends[None]
    parents = jnp.minimum(jnp.sum(past, axis=1), len(weight) - 1)
    return parents, slots - jnp.max(jnp.where(past, ends[None], 0), axis=1)
