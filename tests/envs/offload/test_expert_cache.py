"""dsegym/ExpertCache-v0: episodes against plain Python, its bound, its options, its faces, a user's log."""

import expert_oracle as oracle
import jax
import numpy as np
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.offload.experts import bounds, evictions, game
from dsegym.costmodels.offload.experts.replay import replay
from dsegym.costmodels.offload.experts.routes import DECODE, Routes
from dsegym.envs.core.collections import load_collection
from dsegym.envs.offload.expert_cache import BITS, HEURISTICS, SCENARIO, loss_of

ID = "dsegym/ExpertCache-v0"
SMALL = {"layers": 4, "tokens": 4}


@pytest.fixture(scope="module")
def small():
    return dsegym.make_problem(ID, **SMALL)


# --- Plain Python -----------------------------------------------------------------------------------------------------

START, ADVANCE = jax.jit(game.start), jax.jit(game.advance)


def started(params, seed):
    return START(episode_key(seed), params)


def levels_of(state):
    found = np.asarray(state.level)
    return {
        (int(layer), int(expert)): int(found[layer, expert]) for layer, expert in zip(*found.nonzero(), strict=True)
    }


@pytest.mark.parametrize(
    "options",
    [{}, {"routes": "gptoss", "memory": 2, "bits": "3+4"}, {"memory": 30, "bits": "4"}, {"routes": "gemma", "memory": 5,
     "bits": "2+8", "flash": 20000}],
    ids=str,
)  # fmt: skip
def test_every_step_is_the_plain_devices(options):
    params = dsegym.make_problem(ID, **SMALL, **options).params
    generator = np.random.default_rng(0)
    for seed in params.seeds[:3]:
        state = started(params, seed)
        device = oracle.device_of(params, int(state.offset))
        keep = int(generator.integers(len(game.KEEP)))
        while not bool(game.over(state, params)):
            assert levels_of(state) == device.level
            assert int(state.used) == device.used
            # A rule for some steps, then any action: both what a rule does for long and how rules follow each other.
            action = int(generator.integers(game.ACTIONS)) if generator.random() < 0.5 else keep * 16 + 3
            state = ADVANCE(state, action, params)
            device.act(action)
            assert float(state.time_ms) == pytest.approx(device.time_ms, rel=1e-5)
            assert float(state.backlog_ms) == pytest.approx(device.backlog_ms, rel=1e-4, abs=1e-4)
        assert device.over
        found = game.metrics(state, params)
        assert float(found.cost_ms) == pytest.approx(device.cost_ms, rel=1e-5)
        assert float(found.hit_rate) == pytest.approx(device.hits / device.looked_up)
        assert float(state.high) == device.high
        assert float(state.ahead) == device.ahead
        # Conservation: what was read is what is there and what went.
        before = int(started(params, seed).used)
        assert device.loaded == int(state.used) - before + device.evicted
        assert float(state.read_mib) == pytest.approx(device.loaded * game.UNIT_BYTES / 2**20, rel=1e-5)


@pytest.mark.parametrize("memory", [3, 10])
def test_the_games_lru_hits_as_often_as_the_replay_that_equals_the_recorded_engine(memory):
    """From an empty cache, without bits or reads ahead."""
    params = dsegym.make_problem(ID, routes="qwen_recorded", layers=4, tokens=24, bits="4", memory=memory).params
    state = game.warmed(0, params)
    empty = np.zeros_like(np.asarray(state.level))
    state = state._replace(level=empty, used=np.int32(0))
    for _ in range(24 * 4):
        state = ADVANCE(state, 3, params)
    chosen = np.asarray(params.routes)[game.WARM_TOKENS : game.WARM_TOKENS + 24, :, :6]
    units = np.asarray(params.units)[game.HIGH].astype(np.int64)
    log = Routes(128, chosen, np.full(24, DECODE, np.int8), np.zeros(24, np.int32), units, np.full(6, 1 / 6))
    assert int(state.hits) == replay(log, "lru", int(params.capacity)).hits


# --- Victims of choice ------------------------------------------------------------------------------------------------

START_FREE, ADVANCE_FREE = jax.jit(evictions.start), jax.jit(evictions.advance)
MASK = jax.jit(evictions.action_mask)


@pytest.mark.parametrize("options", [{}, {"routes": "gptoss", "memory": 2, "bits": "3+4"}], ids=str)
def test_with_victims_of_choice_every_step_is_the_plain_devices_and_the_mask_its_free_entries(options):
    params = dsegym.make_problem(ID, **SMALL, **options).params
    generator = np.random.default_rng(0)
    for seed in params.seeds[:2]:
        state, evicted = START_FREE(episode_key(seed), params), 0
        device = oracle.device_of(params, int(state.cache.offset))
        while not bool(evictions.over(state, params)):
            assert levels_of(state.cache) == device.level
            assert int(state.cache.used) == device.used
            mask = np.asarray(MASK(state, params))
            free = [evictions.LAYER_ACTIONS + layer * 128 + expert for layer, expert in device.free]
            assert mask.nonzero()[0].tolist() == (free or list(range(evictions.LAYER_ACTIONS)))
            action = int(generator.choice(mask.nonzero()[0]))
            state = ADVANCE_FREE(state, action, params)
            if free:
                device.evict(divmod(action - evictions.LAYER_ACTIONS, 128))
                evicted += 1
            else:
                device.ask(action)
            assert float(state.cache.time_ms) == pytest.approx(device.time_ms, rel=1e-5)
        assert device.over
        assert evicted > 0
        assert int(state.illegal) == 0
        assert float(evictions.metrics(state, params).cost_ms) == pytest.approx(device.cost_ms, rel=1e-5)


@pytest.mark.slow
def test_a_design_plays_the_same_episodes_whether_its_victims_are_chosen_by_rule_or_one_by_one():
    rule, free = (dsegym.make_problem(ID, **SMALL, eviction=each) for each in ("rule", "expert"))
    assert free.bound.value == rule.bound.value
    assert free.reference.value == rule.reference.value
    env, params = free.functional_env("decisions"), rule.params
    decide, decide_rule = jax.jit(env.decide), jax.jit(rule.functional_env("decisions").decide)
    for name in ("lru", "expected", "edgemoe", "hottest_bits_first"):
        design = HEURISTICS.design(name)
        state, other = START_FREE(episode_key(params.seeds[0]), params), started(params, params.seeds[0])
        while not bool(evictions.over(state, params)):
            state = ADVANCE_FREE(state, decide(design, state, params), params)
        while not bool(game.over(other, params)):
            other = ADVANCE(other, decide_rule(design, other, params), params)
        assert evictions.metrics(state, params) == game.metrics(other, params), name


def test_victims_that_are_needed_again_last_hit_as_often_as_beladys_replay():
    """From an empty cache, one width; no order of the rules reaches it."""
    tokens, layers = 24, 4
    params = dsegym.make_problem(ID, routes="qwen_recorded", layers=layers, tokens=tokens, bits="4", memory=8).params
    chosen = np.asarray(params.routes)[game.WARM_TOKENS : game.WARM_TOKENS + tokens, :, :6]
    units = np.asarray(params.units)[game.HIGH].astype(np.int64)
    log = Routes(128, chosen, np.full(tokens, DECODE, np.int8), np.zeros(tokens, np.int32), units, np.full(6, 1 / 6))
    cache = game.warmed(0, params)
    cache = cache._replace(level=np.zeros_like(np.asarray(cache.level)), used=np.int32(0))
    state = evictions.State(cache, np.zeros(cache.level.shape, bool), np.int32(0))
    while not bool(evictions.over(state, params)):
        free = np.asarray(MASK(state, params)).nonzero()[0]
        action = 3
        if free[0] >= evictions.LAYER_ACTIONS:
            done = int(state.cache.step) - game.WARM_TOKENS * layers

            def next_use(entry, done=done):
                layer, expert = divmod(entry - evictions.LAYER_ACTIONS, 128)
                uses = (t * layers + layer for t in range(tokens) if expert in chosen[t, layer])
                return next((use for use in uses if use >= done), 10**9)

            action = max(free.tolist(), key=next_use)
        state = ADVANCE_FREE(state, action, params)
    best = replay(log, "belady", int(params.capacity)).hits
    assert int(state.cache.hits) == best
    assert best > 1.1 * max(replay(log, rule, int(params.capacity)).hits for rule in ("lru", "lfu"))


def test_what_the_router_will_choose_is_not_seen_while_entries_go():
    problem = dsegym.make_problem(ID, **SMALL, eviction="expert")
    env, params = problem.functional_env("decisions"), problem.params
    state = START_FREE(episode_key(params.seeds[0]), params)
    while MASK(state, params)[0]:
        state = ADVANCE_FREE(state, 3, params)
    routes = np.array(params.routes)
    following = int(state.cache.offset) + int(state.cache.step) // SMALL["layers"]
    routes[following, int(state.cache.step) % SMALL["layers"], :6] = np.arange(90, 96)
    observe = jax.jit(env.observation)
    np.testing.assert_array_equal(observe(state, params), observe(state, params._replace(routes=routes)))
    asked = game.batch_of(state.cache, params)
    assert not np.array_equal(asked, game.batch_of(state.cache, params._replace(routes=routes)))


# --- Designs, bound, options ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"memory": 3}, {"bits": "2+8", "routes": "gptoss"}, {"routes": "gemma_recorded"}]
)
def test_no_design_beats_the_clairvoyant_on_any_episode(options):
    problem = dsegym.make_problem(ID, **SMALL, **options)
    params = problem.held_out_params
    designs = [*(make() for make in problem.baselines.values()), *problem.space.sample(np.random.default_rng(1), 12)]
    least = [bounds.window_bound_ms(window, params) for window in bounds.windows_of(params)]
    assert problem.bound.value == pytest.approx(np.mean(least))
    found = problem.evaluate_held_out(np.array(designs))
    assert (np.asarray(found.objective) >= problem.bound.value - 1e-4).all()
    one = problem.evaluate_held_out(np.array(designs[:1])).metrics
    assert float(one.cost_ms[0]) == pytest.approx(float(one.time_ms[0]) + float(one.penalty_ms[0]), rel=1e-5)
    assert problem.bound.value < problem.reference.value


def test_more_memory_lowers_the_bound_and_every_keeping_rule_beats_keeping_nothing():
    problems = [dsegym.make_problem(ID, **SMALL, memory=memory) for memory in (5, 15, 40)]
    values = [problem.bound.value for problem in problems]
    assert values == sorted(values, reverse=True)
    for problem in problems:
        names = list(HEURISTICS.makers)
        costs = dict(zip(names, problem.evaluate_held_out(np.array([HEURISTICS.design(n) for n in names])).objective,
                         strict=True))  # fmt: skip
        assert all(costs[name] < costs["none"] for name in ("lru", "lfu", "static", "expected"))


def test_the_reward_is_minus_the_costs_growth(small):
    env, params = small.functional_env("decisions"), small.params
    state, total = started(params, 3), 0.0
    for action in (3, 60, 19, 111):
        moved = ADVANCE(state, action, params)
        total += float(env.reward(state, moved, params))
        state = moved
    assert total == pytest.approx(-float(game.cost_ms(state, params)), rel=1e-5)


def test_the_proxy_of_quality_is_the_law_of_uniform_quantisation():
    assert [loss_of(bits) for bits in (2, 3, 4)] == [1.0, 0.25, 0.0625]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memory": 0}, "memory"),
        ({"bits": "5"}, "2+4"),
        ({"bits": "1+4"}, "2+4"),
        ({"routes": "mixtral"}, "qwen_recorded"),
        ({"routes": "qwen_recorded", "layers": 9}, "8 layers only"),
        ({"routes": "gptoss_recorded", "tokens": 30}, "64 decoded tokens"),
        ({"tokens": 4000}, "512 decoded tokens"),
        ({"layers": 200, "tokens": 200}, "too many"),
        ({"routes": "gptoss", "layers": 200, "tokens": 1}, "128 GiB"),
        ({"flash": 0}, "flash"),
    ],
)
def test_options_that_make_no_instance_are_refused_with_what_is_allowed(options, said):
    with pytest.raises(DsegymError, match=said.replace("+", r"\+")):
        dsegym.make_problem(ID, **options)


def test_a_users_log_makes_an_instance(tmp_path):
    generator = np.random.default_rng(0)
    lines = ["# n_layer=3 n_expert=6 n_expert_used=2", "# expert_bytes=1000000", "step,layer,expert"]
    for token in range(24):
        for layer in range(3):
            lines += [f"{token},{layer},{expert}" for expert in generator.permutation(6)[:2]]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines))
    problem = dsegym.make_problem(ID, routes=str(path), layers=3, tokens=4, memory=50, compute=0.1)
    assert problem.bound.value < problem.reference.value
    assert int(problem.params.units[game.HIGH, 0]) == 1_000_000 // 64
    with pytest.raises(DsegymError, match="3 layers only"):
        dsegym.make_problem(ID, routes=str(path), layers=4, tokens=4)


@pytest.mark.slow
def test_the_picture_shows_every_step_and_the_breakdown_both_sets(small):
    design = HEURISTICS.design("edgemoe")
    picture = small.diagram(design)
    assert len(picture.rectangles) == SMALL["layers"] * SMALL["tokens"]
    assert {each.kind for each in picture.rectangles} <= {
        "computes", "waits for missing experts", "waits for reads ahead",
    }  # fmt: skip
    parts = small.breakdown(small.decode(design))
    assert parts.totals["search_cost_ms"] > 0
    assert {row["episodes"] for row in parts.rows} == {"search", "held-out"}


def test_bit_widths_are_pairs_of_low_and_high():
    assert all(low <= high for low, high in BITS.values())
    assert {options.get("bits", "2+4") for options in SCENARIO.core} <= set(BITS)


# --- Faces ------------------------------------------------------------------------------------------------------------


def test_the_collection_shares_shapes_and_no_instance():
    collection = load_collection("expert-caches")
    collection.check()
    routes = {split: {each["routes"] for each in collection.options(split)} for split in ("train", "test")}
    assert not routes["train"] & routes["test"]
