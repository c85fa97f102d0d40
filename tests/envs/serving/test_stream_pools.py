"""Rules, bounds and refusals of fleets with pools, and of priorities."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.serving.stream.bounds import stream_bound
from dsegym.costmodels.serving.stream.servers import block_us
from dsegym.envs.core.collections import Collection
from dsegym.envs.serving.stream import POOLED_HEURISTICS, POOLED_SPACE
from dsegym.testing import check_padding

OPTIONS = {"requests": 16, "servers": "3*rtx4090+1*L4", "sequences": 6, "rate": 20, "objective": "missed", "prefill": 2}


def test_pools_of_no_servers_are_refused_in_a_sentence():
    with pytest.raises(DsegymError, match="leaves none that makes tokens; at most 2 of these"):
        dsegym.make_problem("dsegym/ServingStream-v0", prefill=3)


def test_a_block_takes_its_bytes_over_the_link():
    assert block_us("Llama-3-8B", 25) == round(16 * 2 * 32 * 8 * 128 * 2 / 25e3)


def test_options_of_pools_that_say_nothing_are_named():
    said = [
        any("say nothing" in note for note in dsegym.make_problem("dsegym/ServingStream-v0", **options).notes)
        for options in ({"move": 3}, {"link": 50}, {}, {"prefill": 1, "move": 3})
    ]
    assert said == [True, True, False, False]


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


# --- In the shape of a larger fleet -----------------------------------------------------------------------------------

TWO = {"requests": 8, "servers": "2*rtx4090", "sequences": 4, "rate": 40, "objective": "missed", "prefill": 1}
THREE = {**TWO, "servers": "2*rtx4090+1*L4", "move": 0.05}


def collection(*instances):
    return Collection("pools", "dsegym/ServingStream-v0", "", lambda: instances, list, list)


@pytest.mark.slow
def test_a_larger_fleet_changes_no_bit_of_an_episode_with_pools():
    check_padding(dsegym.make_problem("dsegym/ServingStream-v0", **THREE), "decisions", {"servers": 6}, exact=True)


@pytest.mark.slow
def test_a_rule_does_the_same_in_the_shape_of_a_larger_fleet_moves_and_all():
    problem = dsegym.make_problem("dsegym/ServingStream-v0", **THREE)
    env, params = problem.forms["decisions"](problem), problem.params
    design = POOLED_HEURISTICS.encode({"backlog": 1, "own": 1, "random": 0.25, "to_prefill": 0.125})
    played = []
    for game, given in ((env, params), env.padded(params, {"servers": 5})):

        @jax.jit
        def step(state, params, game=game):
            action = game.decide(jnp.asarray(design, jnp.int32), state, params)
            return action, game.advance(state, action, params)

        state, actions = game.start(episode_key(3), given), []
        for _ in range(THREE["requests"]):
            action, state = step(state, given)
            mover, target = divmod(int(action), game.servers + 1)
            actions.append((mover, "away" if target == game.servers else target))
        metrics = jax.tree.map(float, game.metrics(state, given))
        assert int(state.illegal) == 0
        played.append((actions, metrics))
    assert played[0] == played[1]
    assert any(mover for mover, _ in played[0][0])


@pytest.mark.slow
def test_a_collection_of_fleets_with_pools_has_one_shape_and_each_costs_what_it_does_alone():
    found = collection(TWO, THREE).padded("train")
    assert found.env.servers == 3
    assert found.env.action_space.n == 16
    for place, problem in enumerate(found.problems):
        own = problem.forms["decisions"](problem)
        costs = []
        of_all = jax.tree.map(operator.itemgetter(place), found.params)
        for env, params in ((own, own.params_of(problem)), (found.env, of_all)):
            away = env.servers
            step = jax.jit(env.advance)
            state, rewards = env.start(episode_key(7), params), 0.0
            for turn in range(TWO["requests"]):  # to the only server for prompts, but for one
                after = step(state, jnp.int32(away if turn == 5 else 0), params)
                rewards += float(env.reward(state, after, params))
                state = after
            costs.append((rewards, jax.tree.map(float, env.metrics(state, params))))
        assert costs[0] == costs[1]
        assert costs[0][1].shed == 1 / TWO["requests"]


@pytest.mark.slow
def test_fleets_with_pools_and_without_do_not_share_a_program():
    with pytest.raises(DsegymError, match="'pools' holds instances that cannot share a program"):
        collection(TWO, {**TWO, "prefill": 0}).padded("train")
