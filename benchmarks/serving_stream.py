"""Requests to engines of continuous batching: steps of engines and decisions a second; ratios to plain Python.

Plain Python is the tests' oracle, `tests/oracles/engine_oracle.py`, on the same windows and routing in the same run. A
step is one iteration of one engine; between two requests all engines of a lane go on to the same moment, so that the
lane with most to do sets the pace of all.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from timing import load_oracle, median_seconds, report

import dsegym
from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.serving.stream.servers import parse_servers, servers_of

LANES = (64, 1024)
OPTIONS = {"servers": "2*rtx4090+1*rtxpro6000", "requests": 48, "sequences": 32}
GOAL = "1 million at 1,024 lanes"


def main() -> None:
    """Episodes in which servers take turns."""
    problem = dsegym.make_problem("dsegym/ServingStream-v0", **OPTIONS)
    env, params = problem.forms["decisions"](problem), problem.params
    count = env.servers

    def episode(seed: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        first = env.start(episode_key(seed), params)
        last, _ = jax.lax.scan(
            lambda state, _: (env.advance(state, state.next % count, params), None), first, None, length=env.requests
        )
        return jnp.sum(last.engines.steps), jnp.min(last.engines.last_us, axis=0), last.window.arrival_us

    play = jax.jit(jax.vmap(episode))
    servers = servers_of(parse_servers(OPTIONS["servers"]), "Llama-3-8B")
    oracle = load_oracle("engine_oracle")
    window = jax.tree.map(np.asarray, jax.jit(lambda: env.start(episode_key(0), params).window)())
    requests = [oracle.Request(*map(int, row)) for row in zip(*window, strict=True)]
    limits = [{"sequences": OPTIONS["sequences"], "blocks": server.blocks} for server in servers]
    start = time.perf_counter()
    engines = oracle.route([each.law for each in servers], limits, requests, lambda number, _: number % count)
    plain_s, plain_steps = time.perf_counter() - start, sum(engine.steps for engine in engines)
    same = np.asarray(play(np.zeros(1, np.uint32))[1][0]).tolist() == [each.last for each in requests]
    report("last tokens equal plain Python's", str(same), "True")
    report("plain Python: steps", f"{plain_steps / plain_s:,.0f}/s")
    for lanes in LANES:
        seeds = np.arange(lanes, dtype=np.uint32)
        steps = int(np.asarray(play(seeds)[0]).sum())
        seconds = median_seconds(lambda seeds=seeds: jax.block_until_ready(play(seeds)), repeats=3, warm_up=1)
        ratio = steps / seconds / (plain_steps / plain_s)
        report(f"{lanes:,} lanes: steps, ratio to plain Python", f"{steps / seconds:,.0f}/s, {ratio:,.0f}", GOAL)
        report(f"{lanes:,} lanes: decisions", f"{lanes * env.requests / seconds:,.0f}/s")
