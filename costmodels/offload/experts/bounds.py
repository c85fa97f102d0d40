"""The clairvoyant's bound of the cache of experts: what no policy, with any reading ahead, can do without.

Two bit-widths are two planes of an expert: the low bits, which every look-up needs, and the rest, which a look-up with
high bits needs too. With the whole capacity for one plane, Belady's rule on fractions of experts (what is needed again
last goes first, in part) reads least: by exchange, for equal or unequal sizes, and reading ahead saves no byte. The
same of whole experts, from which what a policy did not use is taken off again. Where a share f of the look-ups has
high bits, at least
    max(low plane + max(0, rest - left out), whole experts - left out) bytes
are read, left out = (1 - f) x look-ups x the rest's size, and the loss is at least that of the f heaviest slots. The
time is at least the compute's and the reads'. f is unknown: the least of all f, over a fine grid whose cells take the
reads of one end and the loss of the other.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...arrays import Array
from ...luck import episode_key
from . import game
from .game import ABSENT, HIGH, LOW, WARM_TOKENS, Params
from .replay import next_uses

__all__ = ["least_cost_ms", "least_read_units", "window_bound_ms"]

_CELLS = 2000


class _Window(NamedTuple):
    """What an episode looks up."""

    batches: np.ndarray  # int64[tokens x L, K], entries layer x X + expert, -1 for none
    warm: np.ndarray  # bool[L x X], in memory at first, with high bits


def least_read_units(batches: np.ndarray, warm: np.ndarray, size: np.ndarray, capacity: int) -> int:
    """The least that a cache of fractions of entries reads: Belady's rule, what is looked up may go at once.

    Args:
        batches: int[steps, K], entries that are looked up together, each once; -1 for none.
        warm: bool[entries], those that are whole in memory at first.
        size: int[entries], units.
        capacity: units, that hold after each step.
    """
    steps = [np.unique(entries[entries >= 0]) for entries in batches]
    following, until = next_uses(steps, len(size))
    kept = np.where(warm, size, 0).astype(np.int64)
    used, read = int(kept.sum()), 0
    for entries, after in zip(steps, following, strict=True):
        more = int((size[entries] - kept[entries]).sum())
        read, used = read + more, used + more
        kept[entries] = size[entries]
        until[entries] = after
        while used > capacity:
            victim = int(np.argmax(np.where(kept > 0, until, -1)))
            gone = min(int(kept[victim]), used - capacity)
            kept[victim] -= gone
            used -= gone
    return read


@jax.jit
def _started(params: Params) -> tuple[Array, Array]:
    """int32[E], int8[E, L, X]: where the windows of an instance's seeds begin, and what is in memory."""

    def window(seed: Array) -> tuple[Array, Array]:
        state = game.start(episode_key(seed), params)
        return state.offset, state.level

    return jax.lax.map(window, jnp.asarray(params.seeds))


def window_bound_ms(window: _Window, params: Params) -> float:
    """A lower bound on the cost of an episode, of a token."""
    layers, experts = params.popularity.shape
    units = np.asarray(params.units, np.int64)
    capacity = int(params.capacity)
    low, high = (np.repeat(units[level], experts) for level in (LOW, HIGH))
    looked_up = int((window.batches >= 0).sum())
    reads = [least_read_units(window.batches, window.warm, size, capacity) for size in (low, high - low, high)]
    rest = int((units[HIGH] - units[LOW]).max())
    share = np.linspace(0.0, 1.0, _CELLS + 1)
    left_out = (1 - share) * looked_up * rest
    read = np.maximum(reads[0] + np.maximum(reads[1] - left_out, 0.0), reads[2] - left_out)
    tokens = int(params.tokens)
    time = np.maximum(tokens * layers * float(params.compute_ms), read / float(params.units_per_ms))

    weights, losses = np.asarray(params.weights, float), np.asarray(params.losses, float)
    slots = int((window.batches >= 0).sum(1).max())  # every layer of every token uses as many
    heaviest = np.concatenate([[0.0], np.cumsum(np.sort(weights[:slots])[::-1])])
    with_high = np.interp(share * slots, np.arange(slots + 1), heaviest)
    loss = losses[HIGH] * heaviest[-1] + (losses[LOW] - losses[HIGH]) * (heaviest[-1] - with_high)
    cost = time[:-1] / tokens + float(params.penalty_ms) * loss[1:]
    return float(cost.min()) if rest else float(time[-1] / tokens + float(params.penalty_ms) * loss[-1])


def windows_of(params: Params) -> list[_Window]:
    """The episodes of an instance's seeds."""
    offsets, levels = map(np.asarray, _started(params))
    routes = np.asarray(params.routes, np.int64)
    layers, experts = params.popularity.shape
    entries = np.where(routes >= 0, routes + np.arange(layers)[:, None] * experts, -1)
    found = []
    for offset, level in zip(offsets, levels, strict=True):
        first = int(offset) + WARM_TOKENS
        batches = entries[first : first + int(params.tokens)].reshape(-1, routes.shape[2])
        found.append(_Window(batches, level.ravel() > ABSENT))
    return found


def least_cost_ms(params: Params) -> float:
    """The mean of `window_bound_ms` over the episodes of an instance's seeds."""
    return float(np.mean([window_bound_ms(window, params) for window in windows_of(params)]))
