"""How the engines of a fleet go on together until a moment; pure JAX. M engines, N requests of an episode.

Engines of replicas do not meet: each goes on by itself. With pools a request's prompt is computed by one engine and its
tokens are made by another, which has it when its cache has come over. An engine may then look as early as nothing that
it has not heard of can have come: no sooner than the engines that still compute prompts for it look, and a transfer
later (conservative simulation in parallel; Chandy and Misra, 1979).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ...arrays import Array
from ..engine import engine
from ..engine.engine import MINE, NEVER, Limits, Requests, blocks_of
from ..engine.law import StepLaw
from .traces import Windows

__all__ = ["Engines", "Fleet", "Pools", "Trips", "requests_of", "served", "times", "woken"]

_POOLED: Any = Requests(0, None, 0, 0)  # pyright: ignore[reportArgumentType]  # axes: each engine has own ones


class Pools(NamedTuple):
    """Engines that compute prompts, and engines that make tokens. Whole us."""

    prefills: Array  # bool[M], at the start: computes prompts
    move_us: Array  # int32[], for which an engine that changes pools takes no requests
    block_us: Array  # int32[], of a block of cache from one engine to another


class Fleet(NamedTuple):
    """What engines are, and how they go on."""

    laws: StepLaw  # leaves [M, ...]
    limits: Limits  # leaves [M]
    every: Array | None  # int32[], steps between updates of priorities; None: first come, first served
    pools: Pools | None


class Trips(NamedTuple):
    """Where requests go."""

    window: Windows  # leaves int32[N]
    server: Array  # int32[N]: that has the prompt; M: turned away; -1: not sent yet
    decode: Array | None  # int32[N], likewise: that makes the tokens, where there are pools


class Engines(NamedTuple):
    """Where the engines stand."""

    engines: engine.State  # leaves [M, ...]
    order: Array | None  # int32[M, N], requests by priority


def times(engines: engine.State, trips: Trips) -> tuple[Array, Array]:
    """int32[N]: when the first and the last token of each request is made; NEVER where that is not known."""
    first, last = jnp.min(engines.first_us, axis=0), engines.last_us
    if trips.decode is not None:
        ends = trips.decode == jnp.arange(last.shape[0])[:, None]
        last = jnp.where(ends, jnp.where(trips.window.output == 1, first, last), NEVER)
    return first, jnp.min(last, axis=0)


def _transfer_us(pools: Pools, trips: Trips) -> Array:
    return blocks_of(trips.window.prompt) * pools.block_us


def requests_of(fleet: Fleet, trips: Trips, engines: engine.State) -> Requests:
    """Requests of each engine: arrivals int32[M, N], NEVER for those that are not its own, or not yet known to be.

    An engine that makes tokens has a request with its whole prompt in the cache, and with one token, until it runs.
    """
    window = trips.window
    places = jnp.arange(fleet.limits.blocks.shape[0])[:, None]
    mine = trips.server == places
    if fleet.pools is None or trips.decode is None:
        return Requests(jnp.where(mine, window.arrival_us, NEVER), window.prompt, window.output, window.reused)
    first, makes = jnp.min(engines.first_us, axis=0), trips.decode == places
    comes = makes & (first < NEVER) & (window.output > 1)
    after = first + jnp.where(first < NEVER, _transfer_us(fleet.pools, trips), 0)
    return Requests(
        jnp.where(mine, window.arrival_us, jnp.where(comes, after, NEVER)),
        window.prompt,
        jnp.where(mine, 1, window.output),
        jnp.where(makes & (engines.generated == 1), window.prompt, window.reused),
    )


def woken(requests: Requests, engines: engine.State) -> engine.State:
    """Engines with nothing to do, which look when the first request comes that they have not seen."""
    unseen = jnp.where(engines.queued_us == NEVER, requests.arrival_us, NEVER)
    idle = engines.now_us > engines.latest_us
    return engines._replace(now_us=jnp.where(idle, jnp.min(unseen, axis=1), engines.now_us))


def _horizon_us(fleet: Fleet, trips: Trips, engines: engine.State, until: Array) -> Array:
    """int32[M]: before when each engine has heard of all that comes to it."""
    if fleet.pools is None or trips.decode is None:
        return jnp.broadcast_to(until, engines.now_us.shape)
    places = jnp.arange(engines.now_us.shape[0])[:, None]
    looks = jnp.min(jnp.where(trips.server == places, engines.now_us[:, None], NEVER), axis=0)
    pending = (trips.decode == places) & (jnp.min(engines.first_us, axis=0) == NEVER)
    soonest = jnp.where(looks < NEVER, looks, 0) + _transfer_us(fleet.pools, trips) + 1
    return jnp.minimum(until, jnp.min(jnp.where(pending, soonest, NEVER), axis=1))


def _go_on(fleet: Fleet, trips: Trips, own: Requests | None, until: Array, at: Engines) -> Engines:
    """A look of every engine that looks before `until`, and the steps after it in which all decode."""
    pooled, engines, order = fleet.pools is not None, at.engines, at.order
    requests = requests_of(fleet, trips, engines) if own is None else own
    axes = (0, 0, _POOLED if pooled else MINE, 0)
    horizon = _horizon_us(fleet, trips, engines, until)
    active = engines.now_us < horizon
    at_most = None
    if order is None or fleet.every is None:
        engines = jax.vmap(engine.tick, in_axes=(*axes, 0))(fleet.laws, fleet.limits, requests, engines, active)
    else:
        tick = jax.vmap(engine.priority_tick, in_axes=(*axes, 0, None, 0))
        engines, order = tick(fleet.laws, fleet.limits, requests, engines, order, fleet.every, active)
        at_most = -engines.steps % fleet.every
    if pooled:
        coming = jnp.min(jnp.where(engines.queued_us == NEVER, requests.arrival_us, NEVER), axis=1)
        horizon = jnp.minimum(horizon, coming)
    last = (horizon,) if at_most is None else (horizon, at_most)
    coast = jax.vmap(engine.coast, in_axes=(*axes, *(0 for _ in last)))
    engines = coast(fleet.laws, fleet.limits, requests, engines, *last)
    if pooled:
        engines = woken(requests_of(fleet, trips, engines), engines)
    return Engines(engines, order)


@jax.custom_batching.custom_vmap
def _served(fleet: Fleet, trips: Trips, own: Requests | None, until: Array, at: Engines) -> Engines:
    go_on = functools.partial(_go_on, fleet, trips, own, until)
    return jax.lax.while_loop(lambda each: jnp.any(each.engines.now_us < until), go_on, at)


@_served.def_vmap
def _(axis_size: int, in_batched: Any, *given: Any) -> tuple[Engines, Any]:
    """One loop for all lanes: an engine that is done stays as it is, and `vmap` of a loop would select every leaf."""
    axes = jax.tree.map(lambda batched: 0 if batched else None, tuple(in_batched))
    at = jax.tree.map(
        lambda leaf, batched: leaf if batched else jnp.broadcast_to(leaf, (axis_size, *jnp.shape(leaf))),
        given[4],
        in_batched[4],
    )
    until = jnp.broadcast_to(given[3], axis_size)[:, None]
    go_on = functools.partial(jax.vmap(_go_on, in_axes=(*axes[:4], 0)), *given[:4])
    last = jax.lax.while_loop(lambda each: jnp.any(each.engines.now_us < until), go_on, at)
    return last, jax.tree.map(lambda _: True, last)


def served(fleet: Fleet, trips: Trips, until: Array, at: Engines) -> Engines:
    """Engines that have done all that they do before `until`."""
    own = requests_of(fleet, trips, at.engines) if fleet.pools is None else None  # once, where nothing comes over
    return _served(fleet, trips, own, until, at)
