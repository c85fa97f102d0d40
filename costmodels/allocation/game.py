"""Static allocation as a game: one buffer placed after another; pure JAX on one episode, over `model.py`.

n buffers. Sizes and addresses are in units of `AllocationInstance.unit`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .. import wide
from ..arrays import Array
from . import heuristics, model
from .bounds import max_load
from .instance import AllocationInstance, BufferArrays

__all__ = [
    "Metrics",
    "Params",
    "State",
    "advance",
    "metrics",
    "over",
    "padded",
    "params_of",
    "peak_of_ranks",
    "start",
    "there",
]


class Params(NamedTuple):
    """What tells instances apart, all traced: instances with as many buffers share compiled code."""

    buffers: BufferArrays  # int32[n] each
    tie: Array  # int32[n], each buffer's place by descending size
    by_size: Array  # int32[n], the buffers by descending size
    lifetimes: Array  # float32[n, 2], start and end of each life, scaled to [0, 1]
    unit_bytes: Array  # int32, bytes a unit
    load: Array  # int32, units: the most that is live at once
    capacity: Array  # int32, units (at most 2^30)
    per_capacity: Array  # float32, unit over capacity
    number: Array  # int32, buffers; those that a padded instance lacks come last


class Metrics(NamedTuple):
    """What a packing comes to."""

    peak_bytes: wide.Wide  # the end of the topmost buffer
    load_bytes: wide.Wide  # the most that is live at once, which no packing is below
    fits: Array  # bool: the peak is within the capacity
    peak_over_capacity: Array  # float32
    fragmentation: Array  # float32: the share of the peak that is above the load


class State(NamedTuple):
    """Where an episode stands."""

    packed: model.Placed  # int32[n, 1] each, the placed buffers by ascending address
    rank: Array  # int32[n], when each buffer was placed; n where it is not, n - 1 where the instance lacks it
    offset: Array  # int32[n], units; 0 where not placed
    skyline: Array  # int32[n], units: the topmost end of what is placed within each buffer's life
    step: Array  # int32, buffers placed
    peak: Array  # int32, units
    illegal: Array  # int32, actions that counted as another


def params_of(instance: AllocationInstance) -> Params:
    """An instance; every leaf a NumPy array."""
    by_size = heuristics.rule_order(instance, "size_descending_first_fit")
    first, span = instance.lowers.min(), float(instance.uppers.max() - instance.lowers.min())
    lifetimes = [(times - first) / span for times in (instance.lowers, instance.uppers)]
    return Params(
        buffers=instance.arrays,
        tie=heuristics.ranks_of_order(by_size),
        by_size=by_size,
        lifetimes=np.stack(lifetimes, 1).astype(np.float32),
        unit_bytes=np.asarray(instance.unit, np.int32),
        load=np.asarray(max_load(instance) // instance.unit, np.int32),
        capacity=np.asarray(min(instance.capacity // instance.unit, 2**30), np.int32),
        per_capacity=np.asarray(instance.unit / instance.capacity, np.float32),
        number=np.asarray(len(instance), np.int32),
    )


def padded(params: Params, count: int) -> Params:
    """The instance with `count` buffers, those that it lacks live never and are placed from the start."""
    own = len(params.by_size)
    more, lacking = count - own, np.arange(own, count, dtype=np.int32)

    def filled(values: Array, value: int) -> np.ndarray:
        return np.pad(values, (0, more), constant_values=value)

    size, lower, upper = (getattr(params.buffers, name) for name in ("size", "lower", "upper"))
    return params._replace(
        buffers=BufferArrays(lower=filled(lower, int(model.NEVER)), upper=filled(upper, -1), size=filled(size, 0)),
        tie=np.concatenate([params.tie, lacking]),
        by_size=np.concatenate([params.by_size, lacking]),
        lifetimes=np.pad(params.lifetimes, ((0, more), (0, 0))),
    )


def there(params: Params) -> Array:
    """bool[n], the buffers that the instance has."""
    return jnp.arange(len(params.by_size)) < params.number


def start(key: Array, params: Params) -> State:
    """Nothing is placed."""
    del key
    count = len(params.by_size)
    none, zero = jnp.zeros(count, jnp.int32), jnp.int32(0)
    rank = jnp.where(there(params), count, count - 1)
    return State(model.nothing_placed(count, 1), rank, none, none, zero, zero, zero)


def advance(state: State, action: Array, params: Params, placement: str) -> State:
    """Places a buffer; one that is placed already counts as the largest that is left."""
    count = state.rank.shape[0]
    buffers = BufferArrays(*map(jnp.asarray, params.buffers))
    unplaced = state.rank >= count
    action = jnp.clip(jnp.asarray(action, jnp.int32), 0, count - 1)
    legal = unplaced[action]
    first = jnp.minimum(jnp.min(jnp.where(unplaced, params.tie, count)), count - 1)
    chosen = jnp.where(legal, action, jnp.asarray(params.by_size)[first])
    lower, upper, size = (values[chosen] for values in buffers)
    offset = model.PLACEMENTS[placement](state.packed, lower[None], upper[None], size[None])
    packed = model.insert(state.packed, offset, lower[None], upper[None], size[None])
    offset, here = offset[0], jnp.arange(count) == chosen
    beside = (buffers.lower < upper) & (lower < buffers.upper)
    return State(
        packed=packed,
        rank=jnp.where(here, state.step, state.rank),
        offset=jnp.where(here, offset, state.offset),
        skyline=jnp.where(beside, jnp.maximum(state.skyline, offset + size), state.skyline),
        step=state.step + 1,
        peak=jnp.maximum(state.peak, offset + size),
        illegal=state.illegal + ~legal,
    )


def over(state: State, params: Params) -> Array:
    """Whether every buffer is placed."""
    return state.step >= params.number


def peak_of_ranks(ranks: Array, params: Params, placement: str) -> Array:
    """int32, units: the peak of the buffers placed by ascending rank, int32[n]; of equal ranks the larger first."""
    return model.peak_of(model.order_of(ranks, jnp.asarray(params.by_size)), params.buffers, placement)


def metrics(peak: Array, params: Params) -> Metrics:
    """What a packing with a peak in units, int32, comes to."""
    return Metrics(
        peak_bytes=wide.multiply(peak, params.unit_bytes),
        load_bytes=wide.multiply(params.load, params.unit_bytes),
        fits=peak <= params.capacity,
        peak_over_capacity=peak.astype(jnp.float32) * params.per_capacity,
        fragmentation=(peak - params.load).astype(jnp.float32) / peak.astype(jnp.float32),
    )
