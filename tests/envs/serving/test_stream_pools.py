"""Rules, bounds and refusals of fleets with pools, and of priorities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.serving.stream.bounds import stream_bound
from dsegym.costmodels.serving.stream.servers import block_us
from dsegym.envs.serving.stream import POOLED_HEURISTICS, POOLED_SPACE

OPTIONS = {"requests": 16, "servers": "3*rtx4090+1*L4", "sequences": 6, "rate": 20, "objective": "missed", "prefill": 2}


def test_pools_of_no_servers_are_refused_in_a_sentence():
    with pytest.raises(DsegymError, match="leaves none that makes tokens; at most 2 of these"):
        dsegym.make_problem("dsegym/ServingStream-v0", prefill=3)


def test_a_block_takes_its_bytes_over_the_link():
    assert block_us("Llama-3-8B", 25) == round(16 * 2 * 32 * 8 * 128 * 2 / 25e3)


def test_pools_are_no_part_of_a_fleet_without_them():
    problem = dsegym.make_problem("dsegym/ServingStream-v0", requests=8)
    assert problem.params.pools is None
    assert problem.params.every is None
    assert set(POOLED_SPACE.names) - set(problem.space.names) == {"to_prefill", "to_decode"}


@pytest.mark.slow
def test_rules_move_servers_when_prompts_wait_and_keep_one_in_each_pool():
    problem = dsegym.make_problem("dsegym/ServingStream-v0", **{**OPTIONS, "prefill": 1, "move": 0.2})
    env, params = problem.forms["decisions"](problem), problem.params
    design = jnp.asarray(POOLED_HEURISTICS.encode({"backlog": 1, "own": 1, "to_prefill": 0.125}), jnp.int32)

    @jax.jit
    def step(state, design, given=-1):
        action = jnp.where(given < 0, env.decide(design, state, params), given)
        return action, env.action_mask(state, params), env.observe(state, params), env.advance(state, action, params)

    first = jax.jit(env.start)(episode_key(1), params)
    state, moves = first, 0
    for _ in range(OPTIONS["requests"]):
        action, mask, seen, state = step(state, design, -1)
        assert mask[action]
        takes, prefills = np.asarray(seen["takes"][:4]) > 0, np.asarray(seen["prefills"][:4]) > 0
        assert (takes & prefills).any()
        assert (takes & ~prefills).any()
        moves += int(action) >= 5
    assert moves > 0
    assert int(state.illegal) == 0
    fixed = jnp.asarray(POOLED_HEURISTICS.design("join_shortest_queue"), jnp.int32)
    state = first
    for _ in range(OPTIONS["requests"]):
        action, _, _, state = step(state, fixed, -1)
        assert int(action) < 5
    assert np.asarray(state.pools.prefills).tolist() == [True, False, False, False]
    # A move that no pool allows, and a prompt to a server for tokens, count as the emptiest server for prompts.
    wrong = step(first, fixed, 1 * 5 + 2)[-1]
    assert int(wrong.illegal) == 1
    assert int(wrong.server[0]) == 0
    assert np.asarray(wrong.pools.prefills).tolist() == [True, False, False, False]
    metrics = jax.jit(env.metrics)(state, params)
    window = jax.tree.map(lambda leaf: np.asarray(leaf)[None], state.window)
    assert stream_bound(params, window, "latency")[0] <= float(metrics.latency_s)
    assert stream_bound(params, window, "ttft")[0] <= float(metrics.ttft_s)
