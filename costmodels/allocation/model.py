"""The packing model: buffers placed one after another, each at the lowest (or the tightest) free address.

Pure JAX; exact in int32, in units of the greatest common divisor of the sizes. n buffers, B lanes.

`first_fit` places a buffer at the lowest address at which it overlaps no placed buffer whose lifetime overlaps its
own; `best_fit` into the smallest gap that holds it (of equal gaps the lowest), and above everything where none does.
Some order of the buffers makes first fit reach the optimum: take an optimal packing's buffers by ascending address;
each finds its own address free, or a lower one.

The placed buffers are kept sorted by address. Those that overlap a new one in time end below some address; the running
maximum of their ends, from below, is where the gap under each starts. That makes a placement a handful of passes over
n elements and a running maximum, O(n log n), all vector instructions. Arrays have the lanes last, [n, B], so that a
shift by one buffer moves whole rows; `jax.vmap` of `pack` becomes lanes (`custom_vmap`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..arrays import Array
from .instance import BufferArrays

__all__ = [
    "NEVER",
    "PLACEMENTS",
    "Placed",
    "insert",
    "lowest_gap",
    "nothing_placed",
    "order_of",
    "pack",
    "peak_of",
    "tightest_gap",
]

_ABOVE = np.int32(2**30)  # above every address
NEVER = np.int32(2**30)  # the start, after every time, of what is never live
_BLOCK = 8  # rows of a block of the running maximum
_LANES = 64  # packed side by side on a CPU


class Placed(NamedTuple):
    """The placed buffers by ascending address; all int32[n, B]. Unused rows come last and overlap nothing."""

    offset: Array  # units
    end: Array  # units
    lower: Array  # number of a time
    upper: Array


def nothing_placed(count: int, lanes: int) -> Placed:
    """Room for `count` buffers in each of `lanes` lanes."""
    shape = (count, lanes)
    above = jnp.full(shape, _ABOVE)
    return Placed(above, jnp.zeros(shape, jnp.int32), above, jnp.full(shape, -1, jnp.int32))


def _shifted(rows: Array, first: int) -> jax.Array:
    """Every row one place later."""
    return jnp.concatenate([jnp.full((1, *rows.shape[1:]), first, rows.dtype), rows[:-1]])


def _running_maximum(rows: Array) -> jax.Array:
    """The elementwise maximum of each row and all rows before it; int32[n, B], not negative.

    Within blocks of eight rows one row after another, over the blocks by doubling strides: a quarter of the time of
    `jax.lax.associative_scan` on a CPU.
    """
    count, lanes = rows.shape
    blocks = -(-count // _BLOCK)
    padded = jnp.concatenate([rows, jnp.zeros((blocks * _BLOCK - count, lanes), rows.dtype)])
    padded = padded.reshape(blocks, _BLOCK, lanes)
    within = [padded[:, 0]]
    for row in range(1, _BLOCK):
        within.append(jnp.maximum(within[-1], padded[:, row]))
    before, stride = _shifted(within[-1], 0), 1
    while stride < blocks:
        earlier = jnp.concatenate([jnp.zeros((stride, lanes), rows.dtype), before[:-stride]])
        before, stride = jnp.maximum(before, earlier), 2 * stride
    return jnp.stack([jnp.maximum(row, before) for row in within], 1).reshape(blocks * _BLOCK, lanes)[:count]


def _gaps(placed: Placed, lower: Array, upper: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What lies below each placed buffer that overlaps a lifetime, int32[B] each.

    Returns:
        Where the free space under it starts (int32[n, B], units), how much there is (units, -1 for buffers that do not
        overlap), and where the topmost ends (int32[B]).
    """
    overlaps = (placed.lower < upper) & (lower < placed.upper)
    ends = jnp.where(overlaps, placed.end, 0)
    highest = _running_maximum(ends)
    start = _shifted(highest, 0)
    return start, jnp.where(overlaps, placed.offset - start, -1), highest[-1]


def lowest_gap(placed: Placed, lower: Array, upper: Array, size: Array) -> jax.Array:
    """First fit: the lowest free address of buffers, int32[B] units, from int32[B] each."""
    start, room, top = _gaps(placed, lower, upper)
    return jnp.min(jnp.where(room >= size, start, top), axis=0)


def tightest_gap(placed: Placed, lower: Array, upper: Array, size: Array) -> jax.Array:
    """Best fit: the start of the smallest gap that holds the buffer, the lowest of equal ones; else the top."""
    start, room, top = _gaps(placed, lower, upper)
    tightest = jnp.min(jnp.where(room >= size, room, _ABOVE), axis=0)
    return jnp.min(jnp.where(room == tightest, start, top), axis=0)


PLACEMENTS: Mapping[str, Callable[[Placed, Array, Array, Array], jax.Array]] = {
    "first_fit": lowest_gap,
    "best_fit": tightest_gap,
}


def insert(placed: Placed, offset: Array, lower: Array, upper: Array, size: Array) -> Placed:
    """The placed buffers with one more in each lane, int32[B] each."""
    rows = jnp.arange(placed.offset.shape[0])[:, None]
    position = jnp.sum(placed.offset < offset, axis=0)
    before, here = rows < position, rows == position

    def put(values: Array, value: Array) -> jax.Array:
        return jnp.where(before, values, jnp.where(here, value, _shifted(values, 0)))

    return Placed(*map(put, placed, (offset, offset + size, lower, upper)))


def order_of(ranks: Array, tie_order: Array) -> jax.Array:
    """The buffers by ascending rank, of equal ranks those that stand first in `tie_order` first.

    Args:
        ranks: int32[..., n], from 0 to n - 1.
        tie_order: int32[n], a permutation of the buffers.

    Returns:
        int32[..., n], the buffers' numbers.
    """
    count = tie_order.shape[-1]
    keys = jnp.sort(ranks[..., tie_order] * count + jnp.arange(count, dtype=jnp.int32), axis=-1)
    return tie_order[keys % count]  # sorting keys takes a third of the time of sorting indices


def _pack_lanes(orders: Array, buffers: BufferArrays, placement: str, with_offsets: bool) -> tuple[jax.Array, ...]:
    """For orders int32[B, n]: peaks int32[B], and if asked for offsets int32[B, n]."""
    lanes, count = orders.shape
    find = PLACEMENTS[placement]

    def step(
        carry: tuple[Placed, jax.Array], buffer: BufferArrays
    ) -> tuple[tuple[Placed, jax.Array], jax.Array | None]:
        placed, peak = carry
        offset = find(placed, *buffer)
        after = insert(placed, offset, *buffer), jnp.maximum(peak, offset + buffer.size)
        return after, offset if with_offsets else None

    first = (nothing_placed(count, lanes), jnp.zeros(lanes, jnp.int32))
    sequence = BufferArrays(*(jnp.asarray(values)[orders.T] for values in buffers))
    (_, peak), offsets = jax.lax.scan(step, first, sequence)
    if offsets is None:
        return (peak,)
    return peak, jnp.zeros_like(orders).at[jnp.arange(lanes)[:, None], orders].set(offsets.T)


def _pack_chunks(orders: Array, buffers: BufferArrays, placement: str, with_offsets: bool) -> tuple[jax.Array, ...]:
    """As `_pack_lanes`, so many lanes at a time that the placed buffers stay in a processor's cache."""
    lanes, count = orders.shape
    filler = jnp.broadcast_to(orders[:1], (-lanes % _LANES, count))
    chunks = jnp.concatenate([orders, filler]).reshape(-1, _LANES, count)
    parts = jax.lax.map(lambda chunk: _pack_lanes(chunk, buffers, placement, with_offsets), chunks)
    return tuple(part.reshape(-1, *part.shape[2:])[:lanes] for part in parts)


def _pack_batch(orders: Array, buffers: BufferArrays, placement: str, with_offsets: bool) -> tuple[jax.Array, ...]:
    """As `_pack_lanes`: on a CPU chunk by chunk; elsewhere all lanes at once, as chunks would leave a GPU idle."""
    how = {"placement": placement, "with_offsets": with_offsets}
    at_once = functools.partial(_pack_lanes, **how)
    if len(orders) <= _LANES:
        return at_once(orders, buffers)
    return jax.lax.platform_dependent(orders, buffers, cpu=functools.partial(_pack_chunks, **how), default=at_once)


@functools.cache
def _pack_function(placement: str, with_offsets: bool) -> Callable[[Array, BufferArrays], tuple[jax.Array, ...]]:
    """`order, buffers -> (peak,)` or `(peak, offsets)`, which `jax.vmap` turns into lanes."""
    outputs = (True,) * (1 + with_offsets)

    @jax.custom_batching.custom_vmap
    def one(order: Array, buffers: BufferArrays) -> tuple[jax.Array, ...]:
        return tuple(part[0] for part in _pack_lanes(order[None], buffers, placement, with_offsets))

    @one.def_vmap
    def many(
        axis_size: int, batched: tuple[bool, BufferArrays], orders: Array, buffers: BufferArrays
    ) -> tuple[tuple[jax.Array, ...], tuple[bool, ...]]:
        def spread(values: Array, is_batched: bool) -> Array:
            return values if is_batched else jnp.broadcast_to(values, (axis_size, *values.shape))

        orders_batched, buffers_batched = batched
        if not any(jax.tree.leaves(buffers_batched)):
            return _pack_batch(orders, buffers, placement, with_offsets), outputs
        # Instances side by side: one after another.
        side_by_side = spread(orders, orders_batched), jax.tree.map(spread, buffers, buffers_batched)
        return jax.lax.map(lambda pair: one(*pair), side_by_side), outputs

    return one


def peak_of(order: Array, buffers: BufferArrays, placement: str = "first_fit") -> jax.Array:
    """As `pack`, the peak only, which is quicker."""
    return _pack_function(placement, False)(order, buffers)[0]


def pack(order: Array, buffers: BufferArrays, placement: str = "first_fit") -> tuple[jax.Array, ...]:
    """Places the buffers one after another.

    Args:
        order: int32[n], a permutation: the buffers' numbers in the order in which they are placed.
        buffers: int32[n] each; the sizes' sum is below 2^30.
        placement: `first_fit` or `best_fit`.

    Returns:
        The peak, int32, and every buffer's address, int32[n], both in units.
    """
    return _pack_function(placement, True)(order, buffers)
