"""A step as its layers' tasks run one after the other on each resource, and overlap on different ones.

Every resource (the GPU, its link up and down, the fabric among GPUs, the SSDs' reads and writes, the CXL cards' reads
and writes, the processors) serves its tasks in the order of issue, each when it is free and what the task needs is
there. A task of no length takes no place in a queue. Layers are issued in the order of the passes; a fetch begins when
its buffer is free, `depth` layers ahead. All GPUs do the same, so one is played, with its part of what is shared.

All times are sums and maxima of durations: a faster part or a deeper buffer never makes a step longer. They are played
in whole ticks, a 2^30th of what all tasks take one after the other, so that sums are exact and a design costs the same
alone and among many.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..arrays import Array
from ..training.step import Number
from .placement import Durations, turns

__all__ = ["MOST_DEPTH", "Resources", "Times", "busy", "lower_bound_s", "simulate"]

MOST_DEPTH = 4
TICKS = 2.0**30  # of all tasks one after the other: no end is beyond int32


class Resources(NamedTuple):
    """Seconds of each: when it is next free, or how long it is busy."""

    gpu: Number
    up: Number
    down: Number
    fabric: Number
    read: Number
    write: Number
    cxl_read: Number
    cxl_write: Number
    processors: Number


class Times(NamedTuple):
    """Seconds from the step's begin."""

    forward: Array  # end of the last layer's forward pass
    backward: Array  # end of the first layer's backward pass, its gradient delivered
    step: Array  # end of all


class _State(NamedTuple):
    free: Resources
    computed: Array  # int32[MOST_DEPTH]: ends of the last layers' passes, the latest first
    left: Array  # int32[MOST_DEPTH]: when the last layers' buffers on their way out were empty
    updated: Array  # int32[MOST_DEPTH]: the same of updates


def _serve(free: Resources, name: str, ready: Number, seconds: Number) -> tuple[Resources, jax.Array]:
    """The resource's next free time, and the task's end."""
    end = jnp.maximum(getattr(free, name), ready) + seconds
    some = jnp.asarray(seconds) > 0
    return free._replace(**{name: jnp.where(some, end, getattr(free, name))}), jnp.where(some, end, ready)


def _ticks(length: Array) -> jax.Array:
    """Whole ticks; what takes any time takes one at least."""
    return jnp.where(length > 0, jnp.maximum(jnp.rint(length), 1.0), 0.0).astype(jnp.int32)


def _push(last: Array, value: Array) -> jax.Array:
    return jnp.concatenate([value[None], last[:-1]])


def simulate(layers: Array, d: Durations, *, stride: Number, depth: Number, during: Number) -> Times:
    """When a step's passes end.

    Args:
        layers: int32[L], 0 to L - 1.
        d: of a layer.
        stride, depth, during: as of `Placement`.
    """
    parts = busy(jnp.float32(len(layers)), Durations(*map(jnp.float32, d)), jnp.float32(stride))
    tick = sum(sum(seconds) for seconds in parts) / TICKS
    d = Durations(*(_ticks(jnp.float32(each) / tick) for each in d))
    behind = jnp.int32(depth) - 1
    swapped = d.activations_down > 0
    zero = jnp.int32(0)
    during = (jnp.asarray(during) > 0).astype(jnp.int32)
    stride = jnp.int32(stride)
    # Layers of updates and returns: some more at the end, in which nothing is updated, bring the last weights back.
    places = jnp.concatenate([layers, jnp.zeros(MOST_DEPTH, jnp.int32)])
    real = jnp.arange(len(places)) < len(layers)

    def is_turn(place: Array) -> Array:
        """1 where the update of the layer at a place of the backward order is the GPU's."""
        return ((stride > 0) & (place % jnp.maximum(stride, 1) == stride - 1)).astype(jnp.int32)

    def fetch(free: Resources, start: Number, read: Number, cxl: Number, up: Number) -> tuple[Resources, Array]:
        free, from_ssd = _serve(free, "read", start, read)
        free, from_cxl = _serve(free, "cxl_read", start, cxl)
        free, there = _serve(free, "up", jnp.maximum(from_ssd, from_cxl), up)
        return _serve(free, "fabric", there, d.gather)

    def store(free: Resources, ready: Number, write: Number, cxl: Number) -> tuple[Resources, Array]:
        free, on_ssd = _serve(free, "write", ready, write)
        free, on_cxl = _serve(free, "cxl_write", ready, cxl)
        return free, jnp.maximum(on_ssd, on_cxl)

    def forward(state: _State, _: Array) -> tuple[_State, Array]:
        free, there = fetch(state.free, state.computed[behind], d.weights_read, d.weights_cxl, d.weights_up)
        free, end = _serve(free, "gpu", jnp.maximum(there, state.left[behind]), d.forward)
        free, down = _serve(free, "down", end, d.activations_down)
        free, stored = store(free, down, d.activations_write, d.activations_cxl_write)
        return _State(free, _push(state.computed, end), _push(state.left, stored), state.updated), stored

    def update(state: _State, place: Array, ready: Array, start: Array, on: Array) -> tuple[_State, Array]:
        """Of the layer at a place of the backward order, if it is its time; when its new weights may return."""
        turn = is_turn(place) * on
        start = jnp.maximum(state.updated[behind], start)
        free, read = _serve(state.free, "read", start, d.states_read * on)
        free, cxl = _serve(free, "cxl_read", start, d.states_cxl * turn)
        there = jnp.maximum(read, cxl)
        free, up = _serve(free, "up", there, d.states_up * turn)
        needed = jnp.maximum(ready, jnp.where(turn > 0, up, zero))
        free, gpu = _serve(free, "gpu", needed, d.resident_update * on + d.moved_update * turn)
        down = d.resident_weights_down * on + (d.states_down + d.moved_weights_down) * turn
        free, down = _serve(free, "down", gpu, down)
        free, processors = _serve(free, "processors", jnp.maximum(ready, read), d.processor_update * (on - turn))
        done = jnp.maximum(down, processors)
        cxl_write = d.states_cxl_write * turn + d.weights_cxl_write * on
        free, stored = store(free, done, d.states_write * on + d.weights_write * on, cxl_write)
        pushed = jnp.where(on > 0, _push(state.updated, stored), state.updated)
        return state._replace(free=free, updated=pushed), jnp.where(turn > 0, zero, processors)

    def backward(state: _State, at: tuple[Array, Array]) -> tuple[_State, tuple[Array, Array]]:
        place, stored = at
        start = jnp.maximum(state.computed[behind], jnp.where(swapped, stored, zero))
        read, cxl = d.weights_read + d.activations_read, d.weights_cxl + d.activations_cxl
        free, there = fetch(state.free, start, read, cxl, d.weights_up + d.activations_up)
        free, end = _serve(free, "gpu", jnp.maximum(there, state.left[behind]), d.backward)
        free, scattered = _serve(free, "fabric", end, d.scatter)
        free, gradient = _serve(free, "down", scattered, d.gradients_down * (1 - is_turn(place)))
        state = _State(free, _push(state.computed, end), _push(state.left, gradient), state.updated)
        state, returns = update(state, place, gradient, zero, during)
        return state, (gradient, returns)

    def last(carry: tuple[_State, Array, Array], at: tuple[Array, Array, Array]) -> tuple[Any, Array]:
        """Updates that waited, and new weights that go back to the GPU, `depth` layers behind."""
        (state, ready, seconds), (place, returns, is_real) = carry, at
        state, later = update(state, place, barrier, barrier, (1 - during) * is_real)
        ready = _push(ready, jnp.where(during > 0, returns, later))
        seconds = _push(seconds, d.weights_return * (1 - is_turn(place)) * is_real)
        free, end = _serve(state.free, "up", ready[behind + 1], seconds[behind + 1])
        return (state._replace(free=free), ready, seconds), jnp.maximum(end, state.updated[0])

    none = jnp.zeros(MOST_DEPTH, jnp.int32)
    start = _State(Resources(*[zero] * len(Resources._fields)), none, none, none)
    state, stored = jax.lax.scan(forward, start, layers)
    forward_end = state.computed[0]
    state, (gradients, returns) = jax.lax.scan(backward, state, (layers, stored[::-1]))
    barrier = jnp.maximum(jnp.max(gradients), state.computed[0])
    pending = jnp.zeros(MOST_DEPTH + 1, jnp.int32)
    waiting = (places, jnp.concatenate([returns, none]), real.astype(jnp.int32))
    (state, _, _), ends = jax.lax.scan(last, (state, pending, pending), waiting)
    step = jnp.maximum(jnp.maximum(jnp.max(ends), barrier), jnp.max(jnp.stack(state.free)))
    return Times(*(each.astype(jnp.float32) * tick for each in (forward_end, barrier, step)))


def busy(layers: Number, d: Durations, stride: Number) -> tuple[Resources, Resources, Resources]:
    """Seconds that each resource works: of the forward pass, the backward pass, and updates."""
    gpus_turns = turns(layers, stride)
    others = layers - gpus_turns
    none = 0.0 * layers
    forward = Resources(
        gpu=layers * d.forward,
        up=layers * d.weights_up,
        down=layers * d.activations_down,
        fabric=layers * d.gather,
        read=layers * d.weights_read,
        write=layers * d.activations_write,
        cxl_read=layers * d.weights_cxl,
        cxl_write=layers * d.activations_cxl_write,
        processors=none,
    )
    backward = Resources(
        gpu=layers * d.backward,
        up=layers * (d.weights_up + d.activations_up),
        down=others * d.gradients_down,
        fabric=layers * (d.gather + d.scatter),
        read=layers * (d.weights_read + d.activations_read),
        write=none,
        cxl_read=layers * (d.weights_cxl + d.activations_cxl),
        cxl_write=none,
        processors=none,
    )
    updates = Resources(
        gpu=layers * d.resident_update + gpus_turns * d.moved_update,
        up=gpus_turns * d.states_up + others * d.weights_return,
        down=layers * d.resident_weights_down + gpus_turns * (d.states_down + d.moved_weights_down),
        fabric=none,
        read=layers * d.states_read,
        write=layers * (d.states_write + d.weights_write),
        cxl_read=gpus_turns * d.states_cxl,
        cxl_write=gpus_turns * d.states_cxl_write + layers * d.weights_cxl_write,
        processors=others * d.processor_update,
    )
    return forward, backward, updates


def _most(*seconds: Number) -> jax.Array:
    return jnp.max(jnp.stack(jnp.broadcast_arrays(*map(jnp.asarray, seconds))), axis=0)


def lower_bound_s(layers: Number, d: Durations, *, stride: Number, depth: Number, during: Number) -> jax.Array:
    """Seconds below which no step ends: the busiest resource, of each phase where one waits for the other.

    What the backward pass fetches waits until activations have gone out, or is fetched `depth` layers ahead. The GPU
    waits for the first layer's weights. Updates after the backward pass are a phase of their own.
    """
    forward, backward, updates = busy(layers, d, stride)
    first = _most(d.weights_read, d.weights_cxl) + d.weights_up + d.gather
    fetches = _most(backward.read, backward.cxl_read, backward.up)
    swapped = jnp.asarray(d.activations_down) > 0
    ahead = first + (layers - depth + 1) * d.forward + fetches + d.backward
    delivered = d.scatter + jnp.where(turns(layers, stride) > 0, 0.0, d.gradients_down)
    gpu = first + forward.gpu + backward.gpu + delivered
    one_after_other = jnp.where(swapped, _most(first + forward.gpu, *forward) + _most(*backward), 0.0)
    passes = _most(gpu, ahead, one_after_other)
    both = [one + other for one, other in zip(backward, updates, strict=True)]
    together = [one + other for one, other in zip(forward, both, strict=True)]
    tail = jnp.where(swapped, _most(first + forward.gpu, *forward) + both[0], 0.0)
    during_s = _most(passes, first + together[0], *together[1:], tail)
    return jnp.where(jnp.asarray(during) > 0, during_s, passes + _most(*updates))
