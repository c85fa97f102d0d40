"""Fleets with pools for prompts and tokens, and priorities by tokens made, against plain engines."""

import engine_oracle as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.serving.engine.engine import NEVER
from dsegym.costmodels.serving.stream import game
from dsegym.costmodels.serving.stream.fleet import Pools
from dsegym.costmodels.serving.stream.servers import parse_servers, servers_of, stacked
from dsegym.costmodels.serving.stream.traces import Windows

COUNT = 24
FLEET = "1*rtx4090+2*L4+1*rtx4090"
ADVANCE = jax.jit(game.advance)
LOOK = jax.jit(lambda state, params: (game.action_mask(state, params), game.pool_views(state, params)))


def _params(rng, *, sequences, blocks, swap_us, every, pools, span_us=2 * 10**6):
    laws, limits = stacked(servers_of(parse_servers(FLEET), "Llama-3-8B"), sequences, "recompute")
    limits = limits._replace(blocks=np.full(4, blocks, np.int32), swap_us=np.full(4, swap_us, np.int32))
    arrival, prompt = np.sort(rng.integers(0, span_us, COUNT)), rng.integers(1, 1500, COUNT)
    output = rng.integers(1, 80, COUNT)
    output[rng.integers(0, COUNT, 3)] = 1
    columns = (arrival - arrival[0], prompt, output, np.zeros(COUNT))
    return game.Params(
        seeds=np.zeros(1, np.uint32),
        windows=Windows(*(each.astype(np.int32)[None] for each in columns)),
        requests=np.int32(COUNT),
        laws=laws,
        limits=limits,
        facts=game.facts_of(laws),
        ttft_us=np.float32(1e6),
        tpot_us=np.float32(5e4),
        sheds=np.bool_(True),
        reference=np.float32(1),
        every=None if every is None else np.int32(every),
        pools=pools,
    )


def _limits(params):
    every = 0 if params.every is None else int(params.every)
    names = ("sequences", "blocks", "swap_us")
    return [{**{name: int(getattr(params.limits, name)[m]) for name in names}, "every": every} for m in range(4)]


def _laws(params):
    return [jax.tree.map(lambda leaf, m=m: np.asarray(leaf)[m], params.laws) for m in range(4)]


def _plain(params):
    return [oracle.Request(*map(int, row), number=i)
            for i, row in enumerate(zip(*(leaf[0] for leaf in params.windows), strict=True))]  # fmt: skip


def _check(state, plain, engines):
    first, last = (np.asarray(each).tolist() for each in game.tokens_us(state))
    assert first == [NEVER if each.first is None else each.first for each in plain]
    assert last == [NEVER if each.last is None else each.last for each in plain]
    assert np.asarray(state.engines.steps).tolist() == [engine.steps for engine in engines]
    assert np.asarray(state.engines.preempted).tolist() == [engine.preempted for engine in engines]
    over = np.asarray(state.engines.last_us) < NEVER  # whose blocks nobody took back yet
    held = np.where(over, state.engines.held, 0).sum(axis=1)
    kept = [engine.free + sum(each.held for each in engine.running) for engine in engines]
    assert (np.asarray(state.engines.free) + held).tolist() == kept


def _play_pools(seed, **given):
    rng = np.random.default_rng(seed)
    pools = Pools(np.array([True, True, False, False]), np.int32(rng.integers(1, 300_000)),
                  np.int32(rng.integers(1, 2000)))  # fmt: skip
    params = _params(rng, pools=pools, **given)
    state, actions, loads = game.start(episode_key(0), params), [], []
    for _ in range(COUNT):
        mask, seen = jax.tree.map(np.asarray, LOOK(state, params))
        moves = rng.random() < 0.4  # an action that moves, where there is one
        legal = np.flatnonzero(mask)
        legal = legal[legal >= 5] if moves and legal[-1] >= 5 else legal[legal < 5]
        actions.append(int(rng.choice(legal)))
        loads.append((seen.prefills.tolist(), seen.load.astype(int).tolist()))
        state = ADVANCE(state, jnp.int32(actions[-1]), params)
    plain = _plain(params)

    def choose(number, fleet):
        assert (fleet["prefills"], fleet["load"]) == loads[number]
        mover, target = divmod(actions[number], 5)
        return (mover - 1 if mover else None), target

    engines, promised = oracle.route_pools(
        _laws(params), _limits(params), plain, choose, prefills=pools.prefills.tolist(), move_us=int(pools.move_us),
        block_us=int(pools.block_us),
    )  # fmt: skip
    assert np.asarray(state.pools.decode).tolist() == [-1 if each is None else each for each in promised]
    assert int(state.illegal) == 0
    _check(state, plain, engines)
    return state, actions, engines


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("every", [None, pytest.param(7, marks=pytest.mark.slow)])
def test_pools_equal_plain_engines_to_the_microsecond(every, seed):
    rng = np.random.default_rng(seed + 100)
    given = dict(sequences=int(rng.choice([2, 6, 32])), blocks=int(rng.choice([110, 400])),
                 swap_us=int(rng.choice([0, 300])), every=every)  # fmt: skip
    _, actions, _ = _play_pools(seed, **given)
    assert max(actions) >= 5  # some engine moves


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_priorities_equal_plain_engines_to_the_microsecond(seed):
    rng = np.random.default_rng(seed)
    params = _params(rng, sequences=int(rng.choice([2, 4])), blocks=int(rng.choice([110, 200])),
                     swap_us=int(rng.choice([0, 300])), every=int(rng.choice([1, 5, 20])), pools=None)  # fmt: skip
    actions = rng.integers(0, 5, COUNT)
    state = game.start(episode_key(0), params)
    for action in actions:
        state = ADVANCE(state, jnp.int32(action), params)
    plain = _plain(params)
    engines = oracle.route(_laws(params), _limits(params), plain, lambda number, _: actions[number])
    assert sum(engine.preempted for engine in engines) > 0
    _check(state, plain, engines)
