"""Caches of experts: steps, a layer of a token each, a second; ratios to plain Python.

Plain Python is the tests' oracle, `tests/oracles/expert_oracle.py`, on the same window with the same actions in the
same run.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from timing import load_oracle, median_seconds, report

import dsegym
from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.offload.experts import game

LANES = (64, 1024)
ACTION = 3  # least recently used goes first, high bits, nothing ahead


def main() -> None:
    """Episodes of the default instance under LRU."""
    problem = dsegym.make_problem("dsegym/ExpertCache-v0")
    params, horizon = problem.params, problem.functional_env("decisions").horizon
    start = jax.jit(jax.vmap(lambda seed: game.start(episode_key(seed), params)))

    @jax.jit
    def play(states: game.State) -> jax.Array:
        def steps(state: game.State) -> game.State:
            return jax.lax.fori_loop(0, horizon, lambda _, each: game.advance(each, ACTION, params), state)

        return jax.vmap(steps)(states).time_ms

    oracle = load_oracle("expert_oracle")
    first = start(jnp.zeros(1, jnp.uint32))
    device = oracle.device_of(params, int(first.offset[0]))
    begun = time.perf_counter()
    while not device.over:
        device.act(ACTION)
    plain = horizon / (time.perf_counter() - begun)
    report("time equals plain Python's", str(bool(np.isclose(play(first)[0], device.time_ms, rtol=1e-5))), "True")
    report("plain Python: steps", f"{plain:,.0f}/s")
    for lanes in LANES:
        states = start(jnp.arange(lanes, dtype=jnp.uint32))
        seconds = median_seconds(lambda states=states: jax.block_until_ready(play(states)), repeats=3, warm_up=1)
        rate = lanes * horizon / seconds
        report(f"{lanes:,} lanes: steps, ratio to plain Python", f"{rate:,.0f}/s, {rate / plain:,.0f}")


if __name__ == "__main__":
    main()
