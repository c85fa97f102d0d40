"""SoC scheduling of a stream: its Gymnasium faces, its episodes against the oracle, traces, yardsticks and pictures."""

import itertools

import jax
import numpy as np
import pytest
import soc_oracle as oracle

import dsegym
from dsegym.agents.referee import Referee
from dsegym.costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError
from dsegym.costmodels.soc import rules, simulator
from dsegym.costmodels.soc.library import MIXES, get_instance
from dsegym.costmodels.soc.stream_game import POOL, TRACES
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.vector_env import FunctionalVectorEnv
from dsegym.envs.soc.stream import SCENARIO
from dsegym.testing import check_scenario

STREAM = "dsegym/SocSchedulingStream-v0"
JOBS = 5
# 3 elements that run every task, and noise; 16 elements of which few run a task, and power.
NOISY = {"jobs": "top", "count": str(JOBS), "noise": "0.25"}
POWER = {"jobs": "single_carrier", "count": str(JOBS), "objective": "edp", "interval_us": "20"}
BASELINES = ("eft", "met", "olb", "etf_finish", "etf_start", "stf", "max_min", "sufferage", "heft_rt")
LANES = 4


def make_problem(**options):
    return dsegym.make_problem(STREAM, **options)


def slow(*values):
    return [pytest.param(*value, marks=pytest.mark.slow) for value in values]


@pytest.fixture(scope="module")
def problem():
    return make_problem(**NOISY)


@pytest.fixture(scope="module")
def power():
    return make_problem(**POWER)


def instances_of(problem):
    mix, platform = MIXES[problem.options["jobs"]], problem.options["platform"]
    return [get_instance(graph, mix.platform if platform == "own" else platform) for graph in mix.graphs]


def trace_of(traces, number, jobs=None):
    return oracle.Trace(*(np.asarray(leaf)[number, :jobs] for leaf in traces))


def by_oracle(problem, name, traces, number, jobs=None):
    rule = oracle.RULES[name]
    trace = trace_of(traces, number, jobs)
    return oracle.simulate(instances_of(problem), trace, rule, queue=len(problem.params.queue))


def objective_of(problem, result):
    latency_us, name = result.average_latency_us, problem.options["objective"]
    if name == "latency":
        return latency_us
    return result.energy_j * (latency_us * 1e-6 if name == "edp" else 1.0)


def average(problem, name, traces):
    """The oracle's objective over traces under a named rule."""
    return np.mean([objective_of(problem, by_oracle(problem, name, traces, number)) for number in range(TRACES)])


def earliest_finish(env, observation, info):
    """The element where the offered task is estimated to finish first, as the observation of `decisions` has it."""
    elements = env.action_space.n
    return int(np.where(info["action_mask"] == 1, observation[:elements], np.inf).argmin())


def play(env, choose, seed):
    """One episode: (reward, info, jobs in the system before) of each step, and the last info."""
    observation, info = env.reset(seed=seed)
    steps, jobs, terminated = [], int(np.sum(np.asarray(env.state.stream.job) >= 0)), False
    while not terminated:
        observation, reward, terminated, truncated, info = env.step(choose(env, observation, info))
        assert observation in env.observation_space
        assert not truncated
        steps.append((reward, info, jobs))
        jobs = int(info["jobs_in_system"])
    return steps, info


# --- Interfaces -------------------------------------------------------------------------------------------------------


@pytest.mark.minutes  # tests/test_contracts.py holds a quick instance to it
@pytest.mark.parametrize("options", [NOISY, POWER, NOISY | {"start": "full"}], ids=str)
def test_the_scenario_keeps_its_contract(options):
    check_scenario(STREAM, [options])


def test_the_scenario_is_registered_and_covers_every_mix():
    assert STREAM in dsegym.scenario_ids()
    covered = SCENARIO.core_instances()
    assert {row["jobs"] for row in covered} == set(MIXES)
    assert len({tuple(row.values()) for row in covered}) == len(covered)


def test_agents_are_offered_only_forms_whose_episodes_are_designs(problem):
    assert list(problem.forms) == ["decisions", "pairs", "parametric", "sequential"]
    assert Referee(problem, 1).forms == ("parametric", "sequential")


# --- Episodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("which", ["problem", pytest.param("power", marks=pytest.mark.slow)])
def test_rewards_sum_to_the_objective_and_to_jobs_times_time(which, request):
    problem = request.getfixturevalue(which)
    env, generator = FunctionalGymnasiumEnv(problem, "decisions"), np.random.default_rng(0)
    reference = problem.as_searched.reference.value
    for choose in (earliest_finish, lambda env, observation, info: generator.integers(0, env.action_space.n)):
        steps, final = play(env, choose, seed=1)
        assert all({"elapsed_us", "jobs_in_system", "action_mask"} <= info.keys() for _, info, _ in steps)
        assert all("objective" not in info for _, info, _ in steps[:-1])
        total = sum(reward for reward, _, _ in steps)
        assert total == pytest.approx(-final["objective"] / reference, rel=1e-4)
        passed = [int(info["elapsed_us"]) for _, info, _ in steps]
        assert min(passed) >= 0
        assert sum(passed) == int(env.state.stream.now)
        assert final["jobs_in_system"] == 0
        assert final["feasible"]
        assert final["illegal_actions"] <= len(steps)
        tasks = sum(len(instances_of(problem)[kind]) for kind in problem.params.pool.kind[int(final["trace"])])
        assert len(steps) == tasks <= env.functional.horizon


def test_every_reward_is_the_time_that_passed_times_the_jobs_that_the_oracle_has_in_the_system(problem):
    env = FunctionalGymnasiumEnv(problem, "decisions")
    steps, final = play(env, earliest_finish, seed=2)
    result = by_oracle(problem, "eft", problem.params.pool, int(final["trace"]))
    injected, left = np.array(result.injection_us), np.array(result.finish_us)
    unit, now = JOBS * problem.as_searched.reference.value, 0
    for reward, info, jobs in steps:
        assert jobs == np.sum((injected <= now) & (now < left))
        before, now = now, now + int(info["elapsed_us"])
        job_time_us = np.maximum(np.minimum(left, now) - np.maximum(injected, before), 0).sum()
        assert -reward * unit == pytest.approx(job_time_us, abs=1e-2)
        assert info["jobs_in_system"] == np.sum((injected <= now) & (now < left))
    assert now == result.end_us
    assert max(jobs for _, _, jobs in steps) > 1


@pytest.mark.parametrize("which", ["problem", pytest.param("power", marks=pytest.mark.slow)])
def test_earliest_finish_by_the_observation_is_the_oracles_rule_to_the_microsecond(which, request):
    problem = request.getfixturevalue(which)
    env = FunctionalGymnasiumEnv(problem, "decisions")
    for seed in range(4):
        steps, final = play(env, earliest_finish, seed)
        expected = by_oracle(problem, "eft", problem.params.pool, int(final["trace"]))
        assert final["illegal_actions"] == 0
        assert len(steps) == expected.decisions
        stream = env.state.stream
        assert int(stream.latency_us) == sum(expected.latencies_us)
        assert int(stream.now) == expected.end_us
        assert final["objective"] == pytest.approx(objective_of(problem, expected), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["problem", "power"])
@pytest.mark.parametrize("name", ["etf_finish", "stf"])
def test_pairs_chosen_by_a_rule_are_the_oracles_to_the_microsecond(which, name, request):
    problem = request.getfixturevalue(which)
    params = problem.params
    rule = rules.named_rule(name, params.facts)
    chosen = jax.jit(lambda stream: simulator.choose(params.arrays, stream, rule)[0])
    _, most, elements = params.arrays.run_time.shape

    def choose(env, observation, info):
        choice = chosen(env.state.stream)
        action = int((choice.slot * most + choice.task) * elements + choice.element)
        assert info["action_mask"][action]
        return action

    env = FunctionalGymnasiumEnv(problem, "pairs")
    _, final = play(env, choose, 3)
    expected = by_oracle(problem, name, params.pool, int(final["trace"]))
    assert final["illegal_actions"] == 0
    assert int(env.state.stream.latency_us) == sum(expected.latencies_us)


def seeds_of_traces(env, wanted):
    """{trace: a seed whose reset draws it}."""
    found, seed = {}, 0
    while not wanted <= found.keys():
        env.reset(seed=seed)
        found.setdefault(int(env.state.number), seed)
        seed += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decisions", pytest.param("pairs", marks=pytest.mark.slow)])
def test_single_and_vector_environment_agree_lane_by_lane(problem, form):
    generator = np.random.default_rng(4)
    vector, single = FunctionalVectorEnv(problem, LANES, form), FunctionalGymnasiumEnv(problem, form)
    observation, info = vector.reset(seed=0)
    taken, before = [], [(observation, info["action_mask"])]
    ended = np.zeros(LANES, bool)
    while not ended.all():
        actions = generator.integers(0, vector.single_action_space.n, LANES)
        observation, reward, terminated, _, info = vector.step(actions)
        taken.append((actions, reward, terminated, info))
        before.append((observation, info["action_mask"]))
        ended |= terminated
    last = [next(n for n, row in enumerate(taken) if row[2][lane]) for lane in range(LANES)]
    traces = [int(taken[last[lane]][3]["final_info"]["trace"][lane]) for lane in range(LANES)]
    assert len(set(traces)) > 1
    seeds = seeds_of_traces(single, set(traces))
    for lane in range(LANES):
        alone, alone_info = single.reset(seed=seeds[traces[lane]])
        for n in range(last[lane] + 1):
            np.testing.assert_allclose(alone, before[n][0][lane], rtol=1e-6, atol=1e-6)
            np.testing.assert_array_equal(alone_info["action_mask"], before[n][1][lane])
            actions, reward, terminated, info = taken[n]
            alone, alone_reward, alone_terminated, _, alone_info = single.step(actions[lane])
            assert alone_reward == pytest.approx(reward[lane], rel=1e-6)
            assert alone_terminated == terminated[lane] == (n == last[lane])
            for key in ("elapsed_us", "jobs_in_system"):
                told = info["final_info"] if n == last[lane] else info
                assert alone_info[key] == told[key][lane]
                assert told[f"_{key}"][lane]
        np.testing.assert_allclose(alone, info["final_obs"][lane], rtol=1e-6, atol=1e-6)
        for key in ("objective", "feasible", "trace", "illegal_actions"):
            assert alone_info[key] == info["final_info"][key][lane]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["problem", "power"])
def test_the_mask_and_the_observation_show_the_offered_task(which, request):
    """Recomputed from the simulator's state: of all that is ready, the oldest job's first task is offered."""
    problem = request.getfixturevalue(which)
    env = FunctionalGymnasiumEnv(problem, "decisions")
    params, instances = problem.params, instances_of(problem)
    elements, slots = env.action_space.n, len(params.queue)
    heads = np.mean([float(params.facts.rank[t, 0]) for t in range(len(instances))])
    generator = np.random.default_rng(5)
    observation, info = env.reset(seed=1)
    restricted = 0
    for _ in range(25):
        stream = jax.tree.map(np.asarray, env.state.stream)
        ready = sorted((stream.job[s], task, s) for s, task in np.argwhere(stream.status == simulator.READY))
        _, task, slot = ready[0]
        instance = instances[stream.kind[slot]]
        assert info["action_mask"].tolist() == instance.feasible[task].astype(int).tolist()
        restricted += not instance.feasible[task].all()
        can = instance.feasible[task]
        goes_on = bool(instance.graph.successors[task])
        run_time = np.maximum(instance.run_time_us[task], int(goes_on))
        data = np.full(elements, stream.now)
        for edge, times in zip(instance.graph.edges, instance.communication_us, strict=True):
            if edge.target == task:
                producer = stream.element[slot, edge.source]
                data = np.maximum(data, stream.finish_us[slot, edge.source] + times[producer])
        finish = np.maximum(data, stream.available) + run_time - stream.now
        of_elements = [
            np.where(can, finish / heads, -1),
            np.where(can, (data - stream.now) / heads, -1),
            np.maximum(stream.available - stream.now, 0) / heads,
            np.where(can, run_time / heads, -1),
            can,
            ~np.isin(np.arange(elements), stream.element[stream.status == simulator.RUNNING]),
        ]
        np.testing.assert_allclose(observation[: 6 * elements], np.clip(of_elements, -1, 10).ravel(), rtol=1e-5)
        most = stream.status.shape[1]
        shown = observation[6 * elements :]
        assert shown[1] == pytest.approx(run_time[can].mean() / heads, rel=1e-3, abs=1e-3)
        assert shown[2] == pytest.approx(run_time[can].min() / heads, rel=1e-5)
        assert shown[3] == pytest.approx(min((stream.now - stream.injection_us[slot]) / heads, 10), rel=1e-5)
        assert shown[4] == pytest.approx(len(ready) / most, rel=1e-5)
        of_slots = shown[5:].reshape(7, slots)
        np.testing.assert_array_equal(of_slots[0], stream.job >= 0)
        states = (simulator.WAITING, simulator.READY, simulator.ASSIGNED, simulator.RUNNING, simulator.DONE)
        counts = [(stream.status == each).sum(1) / most for each in states]
        np.testing.assert_allclose(of_slots[2:], counts, rtol=1e-5)
        observation, _, _, _, info = env.step(generator.choice(np.flatnonzero(info["action_mask"])))
    assert (restricted > 0) == (which == "power")


@pytest.mark.slow
def test_the_mask_of_pairs_lists_every_ready_task_on_elements_that_can_run_it(power):
    env, instances = FunctionalGymnasiumEnv(power, "pairs"), instances_of(power)
    generator = np.random.default_rng(6)
    _, info = env.reset(seed=0)
    for _ in range(30):
        stream = jax.tree.map(np.asarray, env.state.stream)
        expected = np.zeros((*stream.status.shape, 16), bool)
        for slot, task in np.argwhere(stream.status == simulator.READY):
            expected[slot, task] = instances[stream.kind[slot]].feasible[task]
        np.testing.assert_array_equal(info["action_mask"], expected.ravel())
        _, _, _, _, info = env.step(generator.choice(np.flatnonzero(info["action_mask"])))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decisions", pytest.param("pairs", marks=pytest.mark.slow)])
def test_illegal_actions_count_as_the_offered_task_where_it_finishes_first(power, form):
    env = FunctionalGymnasiumEnv(power, form)
    generator = np.random.default_rng(7)

    def never_legal(env, observation, info):
        return generator.choice(np.flatnonzero(info["action_mask"] == 0))

    steps, final = play(env, never_legal, seed=0)
    assert int(final["illegal_actions"]) == len(steps)
    expected = by_oracle(power, "eft", power.params.pool, int(final["trace"]))
    assert int(env.state.stream.latency_us) == sum(expected.latencies_us)


# --- Traces and noise -------------------------------------------------------------------------------------------------


def test_no_two_of_the_search_held_out_and_training_traces_are_the_same(problem):
    sets = (problem.params.traces, problem.held_out_params.traces, problem.params.pool)
    assert [len(traces.arrival_us) for traces in sets] == [TRACES, TRACES, POOL]
    rows = [tuple(np.concatenate([leaf[n].ravel() for leaf in each])) for each in sets for n in range(len(each[0]))]
    assert len(set(rows)) == 2 * TRACES + POOL
    arrivals = [tuple(row) for traces in sets for row in traces.arrival_us]
    assert len(set(arrivals)) == 2 * TRACES + POOL
    for name in ("arrival_us", "kind", "factor"):
        np.testing.assert_array_equal(getattr(problem.held_out_params.pool, name), getattr(problem.params.pool, name))


def test_resets_draw_many_training_traces(problem):
    env = FunctionalGymnasiumEnv(problem, "decisions")
    numbers = {int((env.reset(seed=0 if n == 0 else None), env.state.number)[1]) for n in range(300)}
    assert min(numbers) >= 0
    assert max(numbers) < POOL
    assert len(numbers) > 100


def test_scores_are_taken_on_the_held_out_traces(problem):
    eft = problem.reference.design
    searched, held_out = problem.evaluate(eft), problem.evaluate_held_out(eft)
    assert problem.reference.value == held_out.objective[0] != searched.objective[0]
    assert problem.as_searched.reference.value == searched.objective[0]
    assert problem.as_searched.evaluate_held_out(eft).objective[0] == searched.objective[0]
    for result, traces in ((searched, problem.params.traces), (held_out, problem.held_out_params.traces)):
        assert result.objective[0] == pytest.approx(average(problem, "eft", traces), rel=0.02)


def test_schedulers_see_the_tables_times_whatever_the_noise(problem):
    env, instances = FunctionalGymnasiumEnv(problem, "decisions"), instances_of(problem)
    observation, info = env.reset(seed=1)
    noisy = 0
    for _ in range(JOBS * 10):
        stream = jax.tree.map(np.asarray, env.state.stream)
        _, task, slot = min((stream.job[s], i, s) for s, i in np.argwhere(stream.status == simulator.READY))
        tabled = instances[stream.kind[slot]].run_time_us[task]
        np.testing.assert_allclose(observation[9:12] * problem.params.unit_us, tabled, rtol=1e-5)
        noisy += problem.params.pool.factor[int(env.state.number), stream.job[slot], task] != 1024
        observation, _, terminated, _, info = env.step(earliest_finish(env, observation, info))
    assert terminated
    assert noisy > JOBS * 8


def test_the_longest_and_the_shortest_factor_are_three_deviations_away(problem):
    factors = np.concatenate([problem.params.pool.factor.ravel(), problem.params.traces.factor.ravel()])
    assert factors.min() >= 1024 - 768
    assert factors.max() <= 1024 + 768
    assert factors.std() == pytest.approx(256, rel=0.05)


# --- Baselines and bounds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["problem", pytest.param("power", marks=pytest.mark.slow)])
def test_the_weights_of_each_classic_rule_cost_what_the_rule_costs(which, request):
    problem = request.getfixturevalue(which)
    assert tuple(problem.baselines) == BASELINES
    designs = np.array([problem.baselines[name]() for name in BASELINES])
    assert len(np.unique(designs, axis=0)) == len(BASELINES)
    objective = problem.evaluate(designs).objective
    for name, value in zip(BASELINES, objective.tolist(), strict=True):
        exact = name == "met"  # the others break ties otherwise than the rules by name
        expected = average(problem, name, problem.params.traces)
        if name == "stf" and which == "power":  # by name all goes to the first of equal elements
            assert value < 0.5 * expected
        else:
            assert value == pytest.approx(expected, rel=1e-5 if exact else 0.03), name


@pytest.mark.parametrize(
    "options",
    [
        NOISY,
        *slow(
            (POWER,),
            (NOISY | {"noise": "0"},),
            (POWER | {"objective": "energy", "noise": "0.25"},),
            (POWER | {"objective": "latency"},),
            ({"jobs": "wifi", "count": "5", "objective": "edp", "noise": "0.25", "interval_us": "2000"},),
            ({"jobs": "wifi_rx", "count": "5"},),
            ({"jobs": "radar", "count": "5", "objective": "energy"},),
        ),
    ],
    ids=str,
)
def test_no_rule_and_no_random_design_beats_the_bound(options):
    problem = make_problem(**options)
    designs = np.array([make() for make in problem.baselines.values()])
    designs = np.concatenate([designs, problem.space.sample(np.random.default_rng(8), 23)])
    result = problem.evaluate_held_out(designs)
    assert 0 < problem.bound.value <= problem.reference.value
    assert result.objective.min() >= problem.bound.value * (1 - 1e-6)
    assert result.feasible.all()
    metrics = result.metrics
    if problem.options["objective"] == "latency":
        np.testing.assert_allclose(result.objective, metrics.latency_us, rtol=1e-6)
    has_power = bool(problem.params.arrays.power.shape[0])
    assert np.isfinite(metrics.energy_j).all() == np.isfinite(metrics.edp_js).all() == has_power


@pytest.mark.slow
def test_one_job_at_a_time_takes_as_long_as_alone():
    problem = make_problem(jobs="top1", queue="1", count="3")
    assert problem.reference.value == 80.0
    assert problem.bound.value == 73.0


@pytest.mark.slow
def test_a_trace_of_one_job_takes_as_long_as_the_job():
    problem = make_problem(jobs="top1", count="1")
    assert problem.reference.value == problem.as_searched.reference.value == 80.0
    assert not problem.params.traces.arrival_us.any()
    env = FunctionalGymnasiumEnv(problem, "decisions")
    steps, final = play(env, earliest_finish, 0)
    assert len(steps) == 10
    assert final["objective"] == 80.0


def test_a_full_start_fills_every_slot_at_once(problem):
    full = make_problem(**NOISY, start="full")
    for traces in (full.params.traces, full.params.pool, full.held_out_params.traces):
        assert not traces.arrival_us[:, :3].any()
        assert traces.arrival_us[:, 3:].any()
    env = FunctionalGymnasiumEnv(full, "decisions")
    env.reset(seed=0)
    assert np.asarray(env.state.stream.job).tolist() == [0, 1, 2]
    assert problem.params.pool.arrival_us[:, 1].any()


@pytest.mark.parametrize("which", ["problem", pytest.param("power", marks=pytest.mark.slow)])
def test_the_breakdown_shows_the_design_beside_the_reference_on_both_sets_of_traces(which, request):
    problem = request.getfixturevalue(which)
    designs = {"design": problem.baselines["heft_rt"](), "eft": problem.reference.design}
    parts = problem.breakdown(problem.decode(designs["design"]))
    assert [(row["episodes"], row["policy"]) for row in parts.rows] == [
        (name, policy) for name in ("search", "held-out") for policy in designs
    ]
    known = {"latency_us", "jobs_per_ms"} | ({"energy_j", "edp_js"} if which == "power" else set())
    for row in parts.rows:
        costs = problem.evaluate if row["episodes"] == "search" else problem.evaluate_held_out
        metrics = costs(designs[row["policy"]]).metrics
        assert row.keys() - {"episodes", "policy"} == known
        for name in known:
            assert row[name] == pytest.approx(getattr(metrics, name)[0], rel=1e-6)
            if row["policy"] == "design":
                assert parts.totals[f"{row['episodes']}_{name}"] == row[name]


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["energy", "edp"])
def test_power_that_is_unknown_is_said_in_one_sentence(objective):
    with pytest.raises(DsegymError, match=r"^The power of top is unknown; only objective=latency is allowed\.$"):
        make_problem(jobs="top", objective=objective)


def test_too_many_jobs_are_refused_with_the_largest_number_allowed():
    with pytest.raises(DsegymError, match=r"count = 10000 jobs are too many for wifi; at most 367 are allowed\."):
        make_problem(jobs="wifi", count="10000")


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_us": "0"},
        {"interval_us": "-5"},
        {"interval_us": "nan"},
        {"interval_us": "often"},
        {"queue": "0"},
        {"queue": "33"},
        {"queue": "2.5"},
        {"noise": "1.5"},
        {"noise": "-0.1"},
        {"noise": "nan"},
        {"count": "0"},
        {"count": "-3"},
        {"count": "10001"},
        {"count": "²"},
        {"start": "half"},
    ],
    ids=str,
)
def test_a_value_that_is_none_is_refused_with_what_is_allowed(wrong):
    (name,) = wrong
    with pytest.raises((UnknownNameError, InvalidOptionError), match=name):
        make_problem(**NOISY | wrong)


def test_an_unknown_mix_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'wifi'"):
        make_problem(jobs="wfi")


def test_a_platform_that_cannot_run_the_jobs_is_refused():
    with pytest.raises(DsegymError, match=r"needs the kernel '\w+', which top has no time for\."):
        make_problem(jobs="wifi", platform="top")


# --- Pictures ---------------------------------------------------------------------------------------------------------


def check_bars(diagram, instances, result):
    """The bars are the oracle's tasks; none overlap; colours are the jobs' kinds."""
    names, rows = instances[0].platform.element_names, {name: y for y, name in diagram.y_ticks}
    assert list(rows) == list(names)
    found, labels = [], []
    for one in diagram.rectangles:
        name = next(name for name, y in rows.items() if one.y < y < one.y + one.height)
        found.append((names.index(name), one.x, one.x + one.width))
        labels.append((int(one.label.partition(".")[0]), one.kind))
        assert 0 <= one.x <= one.x + one.width <= diagram.x_range[1]
    expected = [(task.element, task.start_us, task.finish_us) for task in result.tasks]
    assert sorted(found) == sorted(expected)
    for (element, _, end), (other, start, _) in itertools.pairwise(sorted(found)):
        assert element != other or start >= end
    return labels


@pytest.mark.parametrize("count", [JOBS, pytest.param(20, marks=pytest.mark.slow)])
def test_a_diagram_shows_the_first_jobs_of_the_first_trace(count):
    problem = make_problem(**NOISY | {"count": str(count)})
    diagram = problem.diagram(np.array(problem.baselines["met"]()))
    jobs, instances = min(count, 12), instances_of(problem)
    result = by_oracle(problem, "met", problem.params.traces, 0, jobs)
    kinds = problem.params.traces.kind[0]
    for job, kind in check_bars(diagram, instances, result):
        assert kind == instances[kinds[job]].graph.name
    assert f"average latency {result.average_latency_us:,.1f} us" in diagram.title


def test_frames_change_as_the_episode_goes_on_and_show_the_whole_at_the_end(problem):
    env = FunctionalGymnasiumEnv(problem, "decisions", render_mode="rgb_array")
    observation, info = env.reset(seed=3)
    frames, shown, terminated = [env.render()], [0], False
    while not terminated:
        observation, _, terminated, _, info = env.step(earliest_finish(env, observation, info))
        if terminated or len(env._actions) in (12, 25, 40):
            frames.append(env.render())
            shown.append(len(env.functional.picture(problem, env._first, env._actions).rectangles))
    assert all(one.shape == frames[0].shape for one in frames)
    assert all((one != other).any() for one, other in itertools.pairwise(frames))
    assert shown == sorted(set(shown))
    diagram = env.functional.picture(problem, env._first, env._actions)
    result = by_oracle(problem, "eft", problem.params.pool, int(info["trace"]))
    check_bars(diagram, instances_of(problem), result)
    assert diagram.title == f"top: {JOBS} of {JOBS} jobs left by {result.end_us:,} us"
    env.reset(seed=3)
    np.testing.assert_array_equal(env.render(), frames[0])
