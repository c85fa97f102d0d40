"""A row of servers step by step: loads come, caps take effect late, and a brake stops the row above its supply.

The rules: docs/power_cap.md. What servers draw and how fast they are: `plant.py`. A step takes `STEP_S`. Two classes of
equal models, low and high priority, [2] in this order. Power is over the row's supply, load over what a class's servers
can do at full speed. Pure JAX on one episode; float32.

A step: a command of each class's frequency enters the line of an actuator that takes `delay_steps`; a brake that was
called comes into force; loads are drawn; each class works at its frequency on what came and what waits, of which
`MOST_WAITING` is kept and the rest turned away; the power that this draws is measured. Above the supply a brake is
called: it comes into force a step later, before the uninterruptible supply gives out, holds all GPUs at `BRAKE_MHZ` for
`BRAKE_STEPS`, and goes on while power is above `RELEASE`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ... import luck
from ...arrays import Array
from .plant import BRAKE_MHZ, LEVELS_MHZ, request_time, server_power

__all__ = [
    "BRAKE_COST",
    "BRAKE_STEPS",
    "FLOOR",
    "HIGH_WEIGHT",
    "HISTORY",
    "MOST_DELAY_STEPS",
    "MOST_WAITING",
    "STEP_S",
    "Luck",
    "Metrics",
    "Params",
    "State",
    "advance",
    "day_curve",
    "draws",
    "expected_load",
    "impact",
    "metrics",
    "next_loads",
    "over",
    "row_power",
    "start",
]

STEP_S = 5.0  # the power brake's latency
MOST_DELAY_STEPS = 24
HISTORY = 8  # powers that are seen: 40 s
BRAKE_STEPS = 8  # 40 s, in which a cap takes effect: assumed
RELEASE = 0.95  # of the supply
REQUEST_S = 10.0  # mean time of a request at full speed, for waits: assumed
MOST_WAITING = 6.0  # work of a class, in steps: what comes beyond these 30 s is turned away; assumed
TURNED_COST = 10.0  # of such work, in relative latency
HIGH_WEIGHT = 10.0  # of high priority's latency over low priority's
BRAKE_COST = 10.0  # of a brake, in per cent of latency over an episode
FLOOR = 0.1  # per cent, added so that ratios of objectives mean something

DAY_SKEW = 1 / 3  # of a uniform chance: days are busy rather than quiet
# Loads: a day's curve, slow noise, bursts. Synthetic; tuned to POLCA's statistics of inference (docs/power_cap.md).
PEAK_HOUR, MEAN_LOAD, DAY_SWING, DAY_SPREAD = 14.0, 0.365, 0.235, 0.1
SHARED_NOISE, OWN_NOISE, NOISE_S = 0.035, 0.025, 120.0
BURST_HOURS, BURST_LEAST, BURST_MOST = 1.0, 0.1, 0.245  # mean time between bursts; their height
BURST_STEPS = (6, 60)
_KEPT = float(np.exp(-STEP_S / NOISE_S))
_NEW = float(np.sqrt(1 - _KEPT**2))


class Params(NamedTuple):
    """An instance; scalars if not said otherwise."""

    seeds: Array  # uint32[E]
    steps: Array  # int32, of an episode
    delay_steps: Array  # int32, of a cap
    shares: Array  # float32[2], of the row's servers, low and high priority
    servers: Array  # float32, over the provisioned ones
    first_hour: Array  # float32, of the day


class Luck(NamedTuple):
    """What chance decides in a step."""

    shared: Array  # float32, standard normal
    own: Array  # float32[2], standard normal
    burst: Array  # float32 in [0, 1): whether one begins
    height: Array  # float32 in [0, 1)
    length: Array  # float32 in [0, 1)


class State(NamedTuple):
    """Where an episode stands. Float32 if not said otherwise."""

    seed: Array  # uint32
    step: Array  # int32
    day: Array  # factor of the day's curve
    shared: Array
    own: Array  # [2]
    burst: Array  # height of the burst that runs
    burst_left: Array  # int32, steps
    load: Array  # [2]
    waiting: Array  # [2], work, in steps of a class's servers at full speed
    commanded: Array  # int32[2], places in `LEVELS_MHZ`
    line: Array  # int32[2, MOST_DELAY_STEPS + 1], commands, the newest first
    applied: Array  # int32[2]
    brake_left: Array  # int32, steps that the brake holds; 0 for none
    brake_called: Array  # bool
    power: Array
    history: Array  # [HISTORY], the newest first
    lost: Array  # [2], load x (relative latency - 1) and what was turned away, summed
    turned: Array  # work that was turned away, in steps of the row's servers at full speed
    brakes: Array  # int32
    peak: Array
    capped: Array  # [2], steps
    served: Array  # work, in steps of the row's servers at full speed


class Metrics(NamedTuple):
    """Of an episode, averaged over episodes. Scalars, float32."""

    latency_low_percent: Array  # lost by low priority, by load over the expected one
    latency_high_percent: Array
    turned_away: Array  # share of the expected work
    brakes: Array
    peak_power: Array  # over the supply
    capped_low: Array  # share of the time
    capped_high: Array
    served_per_supply: Array  # work over time, in provisioned servers at full speed


def day_curve(hour: Array) -> Array:
    """The mean load at an hour."""
    return MEAN_LOAD + DAY_SWING * jnp.cos(2 * jnp.pi / 24 * (hour - PEAK_HOUR))


def expected_load(params: Params) -> Array:
    """The mean of the day's curve over an episode: closed form of the integral."""
    hours = params.steps.astype(jnp.float32) * (STEP_S / 3600)
    first = 2 * jnp.pi / 24 * (params.first_hour - PEAK_HOUR)
    swing = (jnp.sin(first + 2 * jnp.pi / 24 * hours) - jnp.sin(first)) / (2 * jnp.pi / 24 * hours)
    return MEAN_LOAD + DAY_SWING * swing


def draws(seed: Array, step: Array) -> Luck:
    """The luck of a step."""
    return Luck(
        luck.normal(seed, step, 0),
        jnp.stack([luck.normal(seed, step, 1), luck.normal(seed, step, 2)]),
        luck.uniform(seed, step, 3),
        luck.uniform(seed, step, 4),
        luck.uniform(seed, step, 5),
    )


def next_loads(state: State, chance: Luck, params: Params) -> State:
    """The loads of the next step."""
    shared = _KEPT * state.shared + _NEW * SHARED_NOISE * chance.shared
    own = _KEPT * state.own + _NEW * OWN_NOISE * chance.own
    begins = (state.burst_left == 0) & (chance.burst < STEP_S / 3600 / BURST_HOURS)
    least, most = BURST_STEPS
    length = least + jnp.floor(chance.length * (most - least)).astype(jnp.int32)
    left = jnp.where(begins, length, jnp.maximum(state.burst_left - 1, 0))
    height = jnp.where(begins, BURST_LEAST + (BURST_MOST - BURST_LEAST) * chance.height, state.burst)
    height = jnp.where(left > 0, height, 0.0)
    hour = params.first_hour + state.step.astype(jnp.float32) * (STEP_S / 3600)
    load = jnp.clip(day_curve(hour) * state.day + shared + own + height, 0.0, 1.0)
    return state._replace(shared=shared, own=own, burst=height, burst_left=left, load=load)


def row_power(busy: Array, frequency_mhz: Array, params: Params) -> Array:
    """Over the supply; busy and frequency [..., 2]."""
    return params.servers * jnp.sum(params.shares * server_power(busy, frequency_mhz), axis=-1)


def start(key: Array, params: Params) -> State:
    """An uncapped row, before the first command."""
    seed = jax.random.bits(key, (), jnp.uint32)
    zero, none = jnp.float32(0), jnp.zeros(2, jnp.int32)
    pair = jnp.zeros(2, jnp.float32)
    day = 1.0 + DAY_SPREAD * (2.0 * luck.uniform(seed, 0, 6) ** DAY_SKEW - 1.0)
    state = State(
        seed=seed, step=jnp.int32(0), day=day, shared=zero, own=pair, burst=zero, burst_left=jnp.int32(0), load=pair,
        waiting=pair, commanded=none, line=jnp.zeros((2, MOST_DELAY_STEPS + 1), jnp.int32), applied=none,
        brake_left=jnp.int32(0), brake_called=jnp.bool_(False), power=zero, history=jnp.zeros(HISTORY, jnp.float32),
        lost=pair, turned=zero, brakes=jnp.int32(0), peak=zero, capped=pair, served=zero,
    )  # fmt: skip
    state = next_loads(state, Luck(zero, pair, jnp.float32(1), zero, zero), params)
    power = row_power(state.load, jnp.full(2, LEVELS_MHZ[0], jnp.float32), params)
    return state._replace(power=power, peak=power, history=jnp.full(HISTORY, power))


def advance(state: State, levels: Array, params: Params) -> State:
    """A step after commands, int32[2], places in `LEVELS_MHZ`."""
    commanded = jnp.clip(levels, 0, len(LEVELS_MHZ) - 1).astype(jnp.int32)
    line = jnp.concatenate([commanded[:, None], state.line[:, :-1]], axis=1)
    applied = jnp.sum(jnp.where(np.arange(MOST_DELAY_STEPS + 1) == params.delay_steps, line, 0), axis=1)
    goes_on = (state.brake_left == 1) & (state.power > RELEASE)
    left = jnp.where(goes_on, 1, jnp.maximum(state.brake_left - 1, 0))
    brake_left = jnp.where(state.brake_called, BRAKE_STEPS, left)

    state = next_loads(state._replace(step=state.step + 1), draws(state.seed, state.step + 1), params)
    frequency = jnp.where(brake_left > 0, BRAKE_MHZ, jnp.asarray(LEVELS_MHZ, jnp.float32)[applied])
    time = request_time(frequency)
    want = state.load + state.waiting
    served = jnp.minimum(want, 1.0 / time)
    waits, busy = want - served, jnp.minimum(served * time, 1.0)
    waiting = jnp.minimum(waits, MOST_WAITING)
    turned = waits - waiting
    power = row_power(busy, frequency, params)
    latency = time + waiting * (STEP_S / REQUEST_S)
    called = (power > 1.0) & (brake_left == 0)
    return state._replace(
        waiting=waiting,
        commanded=commanded,
        line=line,
        applied=applied,
        brake_left=brake_left,
        brake_called=called,
        power=power,
        history=jnp.concatenate([power[None], state.history[:-1]]),
        lost=state.lost + state.load * (latency - 1.0) + TURNED_COST * turned,
        turned=state.turned + jnp.sum(params.shares * turned),
        brakes=state.brakes + called,
        peak=jnp.maximum(state.peak, power),
        capped=state.capped + (applied > 0),
        served=state.served + jnp.sum(params.shares * served),
    )


def over(state: State, params: Params) -> Array:
    """Whether the last step is done."""
    return state.step >= params.steps


def _percent(lost: Array, params: Params) -> Array:
    return 100.0 * lost / (params.steps.astype(jnp.float32) * expected_load(params))


def impact(metrics: Metrics) -> Array:
    """What is minimised: per cent of latency, high priority weighing ten times, and brakes."""
    latency = metrics.latency_low_percent + HIGH_WEIGHT * metrics.latency_high_percent
    return FLOOR + latency / (1.0 + HIGH_WEIGHT) + BRAKE_COST * metrics.brakes


def metrics(state: State, params: Params) -> Metrics:
    """Of an episode, finished or not."""
    lost = _percent(state.lost, params)
    steps = params.steps.astype(jnp.float32)
    return Metrics(
        latency_low_percent=lost[0],
        latency_high_percent=lost[1],
        turned_away=state.turned / (steps * expected_load(params)),
        brakes=state.brakes.astype(jnp.float32),
        peak_power=state.peak,
        capped_low=state.capped[0] / steps,
        capped_high=state.capped[1] / steps,
        served_per_supply=params.servers * state.served / steps,
    )
