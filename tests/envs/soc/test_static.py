"""Static SoC scheduling: its Gymnasium faces, its episodes against a plain second calculation, yardsticks, pictures."""

import itertools
import json

import jax
import numpy as np
import pytest
import soc_cases as cases
import soc_oracle as oracle

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.soc.files import write_graph_file
from dsegym.costmodels.soc.heuristics import HEURISTICS, run_heuristic
from dsegym.costmodels.soc.library import get_instance, graph_names
from dsegym.costmodels.soc.ranks import upward_rank
from dsegym.costmodels.soc.schedule import check_schedule
from dsegym.costmodels.soc.stored import stored_rows, stored_schedule
from dsegym.envs.faces.gymnasium_env import FunctionalGymnasiumEnv
from dsegym.envs.faces.vector_env import FunctionalVectorEnv
from dsegym.envs.soc.static import SCENARIO
from dsegym.testing import check_scenario

STATIC = "dsegym/SocSchedulingStatic-v0"
LANES = 8
# An instance with power, 7 tasks and 16 elements; and the one without, 10 tasks and 3 elements.
RANGE, TOP = {"graph": "range_detection"}, {"graph": "top1"}


def make_problem(**options):
    return dsegym.make_problem(STATIC, **options)


def instance_of(problem, levels=None):
    return get_instance(problem.options["graph"], problem.options["platform"], levels)


def slow(*values):
    return [pytest.param(*value, marks=pytest.mark.slow) for value in values]


@pytest.fixture(scope="module")
def problem():
    return make_problem(**TOP)


@pytest.fixture(scope="module")
def chosen():
    return make_problem(**RANGE, frequency="chosen")


def split(problem, design):
    """Ranks, elements (None where the space has none) and operating points of a design, by the parameters' names."""
    instance, values = instance_of(problem), problem.decode(design)
    ranks = [values[f"rank:{task.name}"] for task in instance.graph.tasks]
    elements = levels = None
    if problem.options["space"] == "order_and_element":
        names = instance.platform.element_names
        elements = [names.index(values[f"element:{task.name}"]) for task in instance.graph.tasks]
    if problem.options["frequency"] == "chosen":
        points = [(c.name, [p.frequency_mhz for p in c.operating_points]) for c in instance.platform.clusters]
        levels = tuple(frequencies.index(values[f"frequency:{name}"]) for name, frequencies in points)
    return ranks, elements, levels


def by_oracle(problem, design):
    """The instance at the design's frequencies, and the oracle's schedule of the design."""
    ranks, elements, levels = split(problem, design)
    instance = instance_of(problem, levels)
    return instance, oracle.schedule(instance, ranks, elements)


class Plain:
    """An episode written anew from the rules: what is ready, when it would finish where, and what is placed."""

    def __init__(self, instance):
        self.instance = instance
        costs = zip(instance.graph.edges, instance.communication_us, strict=True)
        self.incoming = [(edge.source, edge.target, times) for edge, times in costs]
        self.finish, self.where = {}, {}
        self.available = np.zeros(instance.elements, int)

    def ready(self):
        waiting = {target for source, target, _ in self.incoming if source not in self.finish}
        return [i for i in range(len(self.instance)) if i not in self.finish and i not in waiting]

    def finishes(self, task):
        """int[P], us; the largest number where the task cannot run."""
        arrivals = [
            self.finish[source] + times[self.where[source]] for source, target, times in self.incoming if target == task
        ]
        begin = np.max([self.available, *arrivals], axis=0)
        run_time = self.instance.run_time_us[task]
        return np.where(run_time < 0, np.iinfo(int).max, begin + run_time)

    def mask(self, by_element):
        shown = np.zeros((len(self.instance), self.instance.elements), bool)
        shown[self.ready()] = True
        return (shown & self.instance.feasible).ravel() if by_element else shown[:, 0]

    def play(self, action, by_element):
        """Places what an action means; returns the task, its element, and whether the action was legal."""
        legal = bool(self.mask(by_element)[action])
        if by_element and legal:
            task, element = divmod(int(action), self.instance.elements)
        else:
            task = int(action) if legal else self.ready()[0]
            element = int(self.finishes(task).argmin())
        self.finish[task], self.where[task] = int(self.finishes(task)[element]), element
        self.available[element] = self.finish[task]
        return task, element, legal

    def observation(self, scale_us):
        count, placed, ready = len(self.instance), self.finish, self.ready()
        run_time, able = self.instance.run_time_us, self.instance.feasible
        mean = [row[can].mean() for row, can in zip(run_time, able, strict=True)]
        estimates = np.full((count, self.instance.elements), -1.0)
        for task in ready:
            estimates[task, able[task]] = self.finishes(task)[able[task]] / scale_us
        return np.concatenate(
            [
                [i in placed for i in range(count)],
                [i in ready for i in range(count)],
                [placed.get(i, 0) / scale_us for i in range(count)],
                np.stack([upward_rank(self.instance), mean], axis=1).ravel() / scale_us,
                estimates.ravel(),
                self.available / scale_us,
            ]
        ).clip(-1.0, 10.0)


def play_lanes(problem, seed, legal=False):
    """One episode of random actions in each lane, each step checked; returns final info, sums of rewards, and plays."""
    instance, generator = instance_of(problem), np.random.default_rng(seed)
    by_element = problem.options["space"] == "order_and_element"
    heft_us = run_heuristic("heft", instance).makespan_us
    env, plays = FunctionalVectorEnv(problem, LANES), [Plain(instance) for _ in range(LANES)]
    observation, info = env.reset(seed=seed)
    total, illegal = np.zeros(LANES), np.zeros(LANES, int)
    for step in range(len(instance)):
        for lane, plain in enumerate(plays):
            np.testing.assert_array_equal(info["action_mask"][lane], plain.mask(by_element))
            np.testing.assert_allclose(observation[lane], plain.observation(heft_us), rtol=1e-5, atol=1e-6)
        actions = generator.integers(0, env.single_action_space.n, LANES)
        if legal:
            actions = np.array([generator.choice(np.flatnonzero(mask)) for mask in info["action_mask"]])
        illegal += [not plain.play(action, by_element)[2] for plain, action in zip(plays, actions, strict=True)]
        observation, reward, terminated, truncated, info = env.step(actions)
        total += reward
        assert not truncated.any()
        assert terminated.all() == terminated.any() == (step == len(instance) - 1)
    final = info["final_info"]
    np.testing.assert_array_equal(final["illegal_actions"], illegal)
    return final, total, plays


def check_designs(problem, final, plays):
    """Designs of finished episodes say what was placed where, and cost what the episode and the oracle say."""
    result = problem.evaluate(final["design"])
    # Whole microseconds are exact; energies are sums in float32, which compilers order as they like.
    rounding = 0 if problem.options["objective"] == "makespan" else 5e-7
    np.testing.assert_allclose(final["objective"], result.objective, rtol=rounding)
    instance = instance_of(problem)
    for lane, plain in enumerate(plays):
        ranks, elements, _ = split(problem, final["design"][lane])
        assert np.argsort(ranks).tolist() == list(plain.finish)
        assert elements is None or elements == [plain.where[i] for i in range(len(instance))]
        _, schedule = by_oracle(problem, final["design"][lane])
        assert schedule.finish_us.tolist() == [plain.finish[i] for i in range(len(instance))]
        assert result.metrics.makespan_us[lane] == schedule.makespan_us == max(plain.finish.values())
        if instance.platform.has_power:
            assert result.metrics.energy_j[lane] == pytest.approx(oracle.energy_j(instance, schedule), rel=1e-5)
            edp_js = result.metrics.energy_j[lane] * schedule.makespan_us * 1e-6
            assert result.metrics.edp_js[lane] == pytest.approx(edp_js, rel=1e-5)


def check_return(problem, total, objective):
    """Rewards sum to what the rules say."""
    expected = -objective / problem.reference.value
    if problem.options["objective"] == "makespan":
        instance, longest = instance_of(problem), {}
        for i in range(len(instance)):
            before = [longest[edge.source] for edge in instance.graph.predecessors[i]]
            longest[i] = max(before, default=0) + int(instance.least_run_time_us[i])
        expected = (max(longest.values()) - objective) / problem.reference.value
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-5)


# --- Interfaces -------------------------------------------------------------------------------------------------------


@pytest.mark.minutes  # tests/test_contracts.py holds a quick instance to it
@pytest.mark.parametrize(
    "options",
    [
        TOP | {"space": "order"},
        RANGE | {"objective": "edp"},
        RANGE | {"objective": "edp", "frequency": "chosen"},
        RANGE | {"objective": "energy", "frequency": "chosen", "space": "order"},
    ],
    ids=str,
)
def test_the_scenario_keeps_its_contract(options):
    check_scenario(STATIC, [options])


def test_the_scenario_is_registered_and_covers_every_graph():
    assert STATIC in dsegym.scenario_ids()
    covered = SCENARIO.core_instances()
    assert {row["graph"] for row in covered} > set(graph_names())
    assert len({tuple(row.values()) for row in covered}) == len(covered)


def test_chosen_frequencies_have_the_one_shot_forms_only(problem, chosen):
    assert list(problem.forms) == ["sequential", "parametric", "by_action"]
    assert list(chosen.forms) == ["parametric", "sequential"]
    assert chosen.functional_env("sequential").horizon == len(chosen.space) == 7 + 7 + 5
    assert problem.functional_env().horizon == 10


# --- Episodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        TOP,
        RANGE | {"objective": "edp"},
        *slow(
            (TOP | {"space": "order"},),
            (RANGE,),
            (RANGE | {"objective": "energy"},),
            (RANGE | {"objective": "energy", "space": "order"},),
            ({"graph": "temporal_mitigation", "objective": "edp"},),
            ({"graph": "wifi_tx"},),
            ({"graph": "random_12_4_ccr2_s3"},),
        ),
    ],
    ids=str,
)
def test_episodes_are_those_of_the_rules_and_cost_what_their_designs_cost(options):
    problem = make_problem(**options)
    for legal in (False, True):
        final, total, plays = play_lanes(problem, seed=1 + legal, legal=legal)
        assert final["illegal_actions"].any() != legal
        assert final["feasible"].all()
        check_designs(problem, final, plays)
        check_return(problem, total, final["objective"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_episodes_on_random_instances_are_those_of_the_rules(seed, tmp_path):
    generator = np.random.default_rng(seed)
    instance = cases.random_instances(generator, slow=False, tasks=(4, 9), kept=float(generator.choice([0.5, 1.0])))[0]
    path = tmp_path / "random.json"
    write_graph_file(path, instance.graph, instance.platform)
    problem = make_problem(
        graph=str(path),
        objective=str(generator.choice(["makespan", "energy", "edp"])),
        space=str(generator.choice(["order", "order_and_element"])),
    )
    final, total, plays = play_lanes(problem, seed)
    check_designs(problem, final, plays)
    check_return(problem, total, final["objective"])
    assert problem.bound.value <= final["objective"].min() * (1 + 1e-6)


def test_a_single_environment_plays_as_a_lane_of_many_and_starts_anew(problem):
    generator = np.random.default_rng(3)
    vector, single = FunctionalVectorEnv(problem, LANES), FunctionalGymnasiumEnv(problem)
    observation, info = vector.reset(seed=1)
    alone, alone_info = single.reset(seed=5)
    ended = 0
    for _ in range(2 * 10 + 3):
        np.testing.assert_allclose(alone, observation[0], rtol=1e-6)
        np.testing.assert_array_equal(alone_info["action_mask"], info["action_mask"][0])
        actions = generator.integers(0, 30, LANES)
        observation, reward, terminated, _, info = vector.step(actions)
        alone, alone_reward, alone_terminated, _, alone_info = single.step(actions[0])
        assert alone_reward == pytest.approx(reward[0], rel=1e-6)
        assert alone_terminated == terminated[0]
        assert ("illegal_actions" in alone_info) == alone_terminated
        if alone_terminated:
            ended += 1
            for key in ("design", "objective", "feasible", "illegal_actions"):
                np.testing.assert_array_equal(alone_info[key], info["final_info"][key][0])
            alone, alone_info = single.reset()
    assert ended == 2


def test_features_are_the_parts_of_the_observation(problem):
    slices = problem.functional_env().feature_slices
    sizes = {name: each.stop - each.start for name, each in slices.items()}
    assert sizes == {
        "placed": 10,
        "ready": 10,
        "finish": 10,
        "rank_and_run_time": 20,
        "estimated_finish": 30,
        "available": 3,
    }


# --- Designs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        TOP | {"space": "order"},
        RANGE | {"frequency": "chosen"},
        *slow(
            (RANGE | {"frequency": "chosen", "space": "order"},),
            ({"graph": "scr", "platform": "bal_only", "frequency": "chosen"},),
            ({"graph": "wifi_tx", "platform": "bal_mm1_fft2_vit0"},),
            ({"graph": "peft"},),
        ),
    ],
    ids=str,
)
def test_random_designs_cost_what_the_oracle_says_at_their_frequencies(options):
    problem = make_problem(**options)
    designs = problem.space.sample(np.random.default_rng(4), 40)
    metrics = problem.evaluate(designs).metrics
    for number, design in enumerate(designs):
        instance, schedule = by_oracle(problem, design)
        check_schedule(instance, schedule)
        assert metrics.makespan_us[number] == schedule.makespan_us
        if instance.platform.has_power:
            assert metrics.energy_j[number] == pytest.approx(oracle.energy_j(instance, schedule), rel=1e-5)
        else:
            assert np.isinf(metrics.energy_j[number])


def test_a_lower_frequency_shortens_no_schedule(chosen):
    heft = np.array(chosen.baselines["heft"]())
    designs, clusters = [heft], instance_of(chosen).platform.clusters
    for number, cluster in enumerate(clusters, start=len(heft) - len(clusters)):
        for level in range(len(cluster.operating_points)):
            designs.append(np.where(np.arange(len(heft)) == number, level, heft))
    makespans = chosen.evaluate(np.array(designs)).metrics.makespan_us
    assert makespans.min() == makespans[0] == 176
    a7 = makespans[1 : 1 + len(clusters[0].operating_points)]
    assert (np.diff(a7) <= 0).all()
    a15 = makespans[1 + len(a7) :][: len(clusters[1].operating_points)]
    assert (np.diff(a15) <= 0).all()
    assert a15[0] > a15[-1] == 176


@pytest.mark.parametrize(
    ("graph", "published"),
    [("top1", {"heft": 80, "cpop": 86}), *slow(("peft", {"heft": 133, "peft": 122, "cpop": 167, "min_min": 122}))],
)
def test_baselines_replay_the_heuristics_schedules_or_better_ones(graph, published):
    problem = make_problem(graph=graph)
    instance = instance_of(problem)
    names = [name for name in problem.baselines if name != "cp_sat"]
    assert names == list(HEURISTICS)
    objective = problem.evaluate(np.array([problem.baselines[name]() for name in names])).objective
    for name, value in zip(names, objective.tolist(), strict=True):
        assert problem.bound.value <= value <= run_heuristic(name, instance).makespan_us, name
        assert value == published.get(name, value), name
    assert problem.reference.value == published["heft"]


def test_the_optimum_of_the_paper_example_is_attained_by_its_design(problem):
    assert (problem.bound.name, problem.bound.value) == ("optimum", 73.0)
    stored = np.array([problem.bound.design, problem.baselines["cp_sat"]()])
    assert problem.evaluate(stored).objective.tolist() == [73.0, 73.0]


def test_no_stored_bound_is_above_heft_or_the_best_known():
    rows = stored_rows()
    assert {graph for graph, _ in rows} == {row["graph"] for row in SCENARIO.core_instances()}
    for (graph, platform), row in rows.items():
        instance = get_instance(graph)
        assert instance.platform.name == platform
        bound, best, heft = (int(row[f"{name}_us"]) for name in ("bound", "best", "heft"))
        assert 0 < bound <= best <= heft == run_heuristic("heft", instance).makespan_us, graph
        assert (bound == best) == (row["proven"] == "yes"), graph
        schedule = stored_schedule(row, instance)
        check_schedule(instance, schedule)
        assert schedule.makespan_us == best, graph


def test_a_makespan_beyond_what_float32_holds_is_exact(tmp_path):
    path = tmp_path / "long.json"
    tasks = [{"name": "long", "run_times_us": {"cpu": 16_777_217}}]
    platform = {"clusters": [{"name": "cpu", "elements": 1}]}
    graph = {"format": RADIO["format"], "name": "long", "platform": platform, "tasks": tasks, "edges": []}
    path.write_text(json.dumps(graph))
    problem = make_problem(graph=str(path))
    result = problem.evaluate(problem.baselines["heft"]())
    assert result.objective[0] == result.metrics.makespan_us[0] == 16_777_217
    assert problem.reference.value == problem.bound.value == 16_777_217


@pytest.mark.slow
@pytest.mark.parametrize("options", SCENARIO.core_instances(), ids=lambda options: options["graph"])
def test_yardsticks_of_a_core_instance_are_in_order_and_attained(options):
    problem = make_problem(**options)
    assert problem.bound.value <= problem.reference.value
    best = problem.evaluate(problem.baselines["cp_sat"]()).objective[0]
    assert problem.bound.value <= best <= problem.reference.value
    if problem.bound.name == "optimum":
        assert problem.evaluate(problem.bound.design).objective[0] == problem.bound.value == best
    else:
        assert problem.bound.design is None


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["energy", "edp"])
@pytest.mark.parametrize("frequency", ["highest", "chosen"])
@pytest.mark.parametrize("graph", ["wifi_tx", "range_detection", "scr"])
def test_no_design_draws_less_than_the_bound(graph, objective, frequency):
    problem = make_problem(graph=graph, objective=objective, frequency=frequency)
    designs = [make() for make in problem.baselines.values()]
    designs = np.concatenate([designs, problem.space.sample(np.random.default_rng(5), 200)])
    assert 0 < problem.bound.value < problem.evaluate(designs).objective.min()


@pytest.mark.parametrize(("objective", "frequency"), [("energy", "chosen"), ("edp", "highest")])
def test_a_recomputed_bound_is_that_of_its_objective_not_of_the_makespan(objective, frequency):
    options = {"graph": "wifi_tx", "objective": objective, "frequency": frequency}
    (row,) = SCENARIO.recompute_bounds(options)
    problem = dsegym.make_problem(STATIC, **options)
    assert (row["value"], row["unit"], row["kind"]) == (problem.bound.value, problem.objective.unit, "bound")


# --- Options and files ------------------------------------------------------------------------------------------------


def test_power_that_is_unknown_is_said_in_one_sentence():
    for wrong in ({"objective": "energy"}, {"objective": "edp"}, {"frequency": "chosen"}):
        with pytest.raises(
            DsegymError, match=r"^The power of top is unknown: only objective=makespan and .* allowed\.$"
        ):
            make_problem(graph="top1", **wrong)


def test_unknown_names_name_the_nearest_or_all():
    with pytest.raises(UnknownNameError, match="Did you mean 'wifi_tx'"):
        make_problem(graph="wifi_xt")
    with pytest.raises(UnknownNameError, match="Did you mean 'bal_only'"):
        make_problem(graph="wifi_tx", platform="bal_olny")
    with pytest.raises(UnknownNameError, match="makespan, energy, edp"):
        make_problem(objective="time")


def test_a_graph_with_a_platform_of_its_own_takes_no_other():
    message = "Graph 'rows_2_6_s1' brings its own platform; platform is 'top', allowed is 'own'."
    with pytest.raises(DsegymError, match=message):
        make_problem(graph="rows_2_6_s1", platform="top")


def test_a_platform_that_lacks_a_kernel_is_refused():
    with pytest.raises(InvalidWorkloadError, match=r"wifi_tx: task \w+ needs the kernel '\w+', which top has no time"):
        make_problem(graph="wifi_tx", platform="top")


RADIO = {
    "format": "dsegym task graph 1",
    "name": "radio",
    "platform": {
        "clusters": [{"name": "cpu", "elements": 2}, {"name": "fft", "elements": 1}],
        "default_bandwidth": 10,
        "bandwidth": [["cpu", "fft", 5]],
    },
    "tasks": [
        {"name": "sample", "run_times_us": {"cpu": 8}},
        {"name": "transform", "run_times_us": {"cpu": 40, "fft": 6}},
        {"name": "merge", "run_times_us": {"cpu": 10}},
    ],
    "edges": [["sample", "transform", 50], ["transform", "merge", 50]],
}


def test_a_users_graph_is_scheduled_by_hand_and_read_again_when_it_changes(tmp_path):
    path = tmp_path / "radio.json"
    path.write_text(json.dumps(RADIO))
    problem = make_problem(graph=str(path))
    assert problem.reference.value == problem.bound.value == 8 + 10 + 6 + 10 + 10
    assert problem.space.names[-1] == "element:merge"
    path.write_text(json.dumps(RADIO | {"edges": [["sample", "transform", 5], ["transform", "merge", 5]]}))
    assert make_problem(graph=str(path)).reference.value == 8 + 1 + 6 + 1 + 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"edges": [*RADIO["edges"], ["merge", "sample", 1]]}, r"form a cycle; tasks in or behind it: sample"),
        ({"tasks": [{"name": "sample", "run_times_us": {}}]}, r"no element can run the task 'sample'"),
        (
            {"tasks": [{"name": f"t{i}", "run_times_us": {"cpu": 1}} for i in range(5001)], "edges": []},
            r"5,001 tasks; at most 5,000",
        ),
    ],
)
def test_a_file_that_cannot_be_scheduled_is_refused_in_one_sentence(tmp_path, change, said):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(RADIO | change))
    with pytest.raises(DsegymError, match=said) as caught:
        make_problem(graph=str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_users_job_shop_is_scheduled(tmp_path):
    path = tmp_path / "shop.txt"
    path.write_text("3 2\n2  1 0 5  2 0 4 1 6\n2  2 0 3 1 8  1 1 2\n1  1 1 7\n")
    problem = make_problem(graph=str(path))
    assert (problem.reference.value, problem.bound.value) == (12.0, 11.0)
    assert {"rank:job0_0", "element:job2_0"} <= set(problem.space.names)


@pytest.mark.slow
def test_a_recorded_workflow_is_scheduled(tmp_path):
    tasks = [
        {"id": "make", "parents": [], "children": ["use"], "inputFiles": [], "outputFiles": ["data"]},
        {"id": "use", "parents": ["make"], "children": [], "inputFiles": ["data"], "outputFiles": []},
    ]
    times = [{"id": "make", "runtimeInSeconds": 0.5}, {"id": "use", "runtimeInSeconds": 0.25}]
    files = [{"id": "data", "sizeInBytes": 1_000_000}]
    workflow = {"specification": {"files": files, "tasks": tasks}, "execution": {"tasks": times}}
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps({"schemaVersion": "1.5", "workflow": workflow}))
    assert make_problem(graph=str(path)).reference.value == (500_000 + 250_000) / 4 + 100


# --- Pictures and breakdowns ------------------------------------------------------------------------------------------


def check_bars(diagram, platform, expected):
    """The bars are (element, start, finish), in any order, on rows with the elements' names; none overlap."""
    rows = {name: y for y, name in diagram.y_ticks}
    assert list(rows) == list(platform.element_names)
    found = []
    for one in diagram.rectangles:
        assert diagram.y_range[0] <= one.y <= one.y + one.height <= diagram.y_range[1]
        assert 0 <= one.x <= one.x + one.width <= diagram.x_range[1]
        name = next(name for name, y in rows.items() if one.y < y < one.y + one.height)
        found.append((platform.element_names.index(name), one.x, one.x + one.width))
    assert sorted(found) == sorted(expected)
    for (element, _, end), (other, start, _) in itertools.pairwise(sorted(found)):
        assert element != other or start >= end


@pytest.mark.parametrize("which", ["problem", "chosen"])
def test_a_diagram_and_a_breakdown_show_the_schedule(which, request):
    problem = request.getfixturevalue(which)
    for design in problem.space.sample(np.random.default_rng(6), 5):
        instance, schedule = by_oracle(problem, design)
        bars = list(
            zip(*(each.tolist() for each in (schedule.element, schedule.start_us, schedule.finish_us)), strict=True)
        )
        diagram = problem.diagram(design)
        check_bars(diagram, instance.platform, bars)
        assert f"{schedule.makespan_us:,} us" in diagram.title
        parts = problem.breakdown(problem.decode(design))
        rows = {row["task"]: (row["element"], row["start_us"], row["finish_us"]) for row in parts.rows}
        names = instance.platform.element_names
        assert rows == {t.name: (names[q], s, f) for t, (q, s, f) in zip(instance.graph.tasks, bars, strict=True)}
        assert [row["start_us"] for row in parts.rows] == sorted(schedule.start_us)
        assert parts.totals["makespan_us"] == schedule.makespan_us
        busy = (schedule.finish_us - schedule.start_us).sum() / instance.elements / schedule.makespan_us
        assert parts.totals["mean_busy_share"] == pytest.approx(busy)
        if instance.platform.has_power:
            assert parts.totals["energy_j"] == pytest.approx(oracle.energy_j(instance, schedule), rel=1e-5)
        assert ("energy_j" in parts.totals) == instance.platform.has_power


def test_a_frame_shows_what_is_placed_and_the_last_one_the_design(problem):
    env = FunctionalGymnasiumEnv(problem, render_mode="rgb_array")
    instance, generator = instance_of(problem), np.random.default_rng(7)
    _, info = env.reset(seed=0)
    first, state, frames, plain = env._first, env.state, [env.render()], Plain(instance)
    for step in range(1, 11):
        _, _, terminated, _, info = env.step(int(generator.choice(30)))
        plain.play(int(env._actions[-1]), by_element=True)
        diagram = env.functional.picture(problem, first, env._actions)
        if step < 10:
            bars = [
                (q, plain.finish[i] - int(instance.run_time_us[i, q]), plain.finish[i]) for i, q in plain.where.items()
            ]
            check_bars(diagram, instance.platform, bars)
            assert f"{step} of 10 tasks" in diagram.title
        frames.append(env.render())
        assert (frames[-1] != frames[-2]).any()
    assert terminated
    assert diagram is None
    assert all(map(np.array_equal, jax.tree.leaves(state), jax.tree.leaves(first)))
    shown = problem.diagram(info["design"])
    assert len(shown.rectangles) == 10
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), frames[0])


def test_an_environment_that_renders_nothing_remembers_no_actions(problem):
    env = FunctionalGymnasiumEnv(problem)
    env.reset(seed=0)
    env.step(0)
    assert env._actions == []
    assert env._first is None
    assert env.render() is None
