"""Exact SoC schedules and bounds: published optima, exhaustive search, and schedules that no bound may exceed."""

import itertools
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import soc_cases as cases
import soc_oracle as oracle

from dsegym.costmodels.errors import DsegymError
from dsegym.costmodels.soc import bounds, exact
from dsegym.costmodels.soc.graph import Task, task_graph
from dsegym.costmodels.soc.heuristics import run_heuristic
from dsegym.costmodels.soc.instance import INFEASIBLE, bind
from dsegym.costmodels.soc.library import get_instance
from dsegym.costmodels.soc.platform import Cluster, OperatingPoint, Platform
from dsegym.costmodels.soc.schedule import Schedule, check_schedule
from dsegym.costmodels.solver import is_available

needs_solver = pytest.mark.skipif(not is_available(), reason="OR-Tools is not installed")

# us, under the static rules; 69 and 288 are the DS3 paper's own, the others were proven by another model of ours.
OPTIMA = {
    "top1": 73,
    "top2": 81,
    "top3": 80,
    "top4": 87,
    "top5": 85,
    "top6": 80,
    "top7": 72,
    "top8": 65,
    "top9": 72,
    "top10": 74,
    "peft": 113,
    "wifi_tx": 69,
    "wifi_rx": 288,
    "range_detection": 176,
    "sct": 56,
    "scr": 153,
    "temporal_mitigation": 79,
}
# Flexible job shops, from the collection of 2026 best known values; all proven.
JOB_SHOPS = {
    "fattahi_sfjs01": 66,
    "fattahi_sfjs02": 107,
    "fattahi_sfjs03": 221,
    "fattahi_sfjs04": 355,
    "fattahi_sfjs05": 119,
    "fattahi_sfjs06": 320,
    "fattahi_sfjs07": 397,
    "fattahi_sfjs08": 253,
    "fattahi_sfjs09": 210,
    "fattahi_sfjs10": 516,
    "kacem_k1": 11,
    "kacem_k3": 7,
    "brandimarte_mk01": 40,
    "brandimarte_mk03": 204,
}
# Those that the bounds alone prove.
LOADED_JOB_SHOPS = {"brandimarte_mk02": 26, "brandimarte_mk03": 204, "brandimarte_mk05": 172, "brandimarte_mk08": 523}
FT06 = """6 6
2 1 0 3 1 6 3 7 5 3 4 6
1 8 2 5 4 10 5 10 0 10 3 4
2 5 3 4 5 8 0 9 1 1 4 7
1 5 0 5 2 5 3 3 4 8 5 9
2 9 1 3 4 5 5 4 0 3 3 1
1 3 3 3 5 9 0 10 4 4 2 1
"""


def optimum(instance):
    """us: the least makespan over all orders and elements."""
    incoming = [[] for _ in range(len(instance))]
    for edge, times in zip(instance.graph.edges, instance.communication_us.tolist(), strict=True):
        incoming[edge.target].append((edge.source, times))
    run_time, placed, best = instance.run_time_us.tolist(), {}, math.inf

    def descend(available, makespan):
        nonlocal best
        if makespan >= best:
            return
        if len(placed) == len(instance):
            best = makespan
            return
        for i, edges in enumerate(incoming):
            if i in placed or any(source not in placed for source, _ in edges):
                continue
            for q, time in enumerate(run_time[i]):
                if time != INFEASIBLE:
                    arrivals = [placed[source][1] + times[placed[source][0]][q] for source, times in edges]
                    finish = max([available[q], *arrivals]) + time
                    placed[i] = q, finish
                    descend([*available[:q], finish, *available[q + 1 :]], max(makespan, finish))
                    del placed[i]

    descend([0] * instance.elements, 0)
    return best


def energy_j(instance, schedule):
    """By the rule, microsecond by microsecond."""
    energy = instance.platform.base_w * schedule.makespan_us * 1e-6
    for time in range(schedule.makespan_us):
        busy = schedule.element[(schedule.start_us <= time) & (time < schedule.finish_us)].tolist()
        clusters = [instance.platform.element_clusters[q] for q in busy]
        for c, (cluster, level) in enumerate(zip(instance.platform.clusters, instance.levels, strict=True)):
            point = cluster.operating_points[level]
            energy += (point.dynamic_w[clusters.count(c)] + point.leakage_w * cluster.elements) * 1e-6
    return energy


def random_schedule(rng, instance, idle_us):
    """Tasks in a random order on random elements, each after a random pause of up to `idle_us`."""
    predecessors = [{edge.source for edge in edges} for edges in instance.graph.predecessors]
    count = len(instance)
    element, start, finish = np.zeros((3, count), int).tolist()
    available, done = [0] * instance.elements, set()
    communication = dict(zip(instance.graph.edges, instance.communication_us.tolist(), strict=True))
    while len(done) < count:
        i = int(rng.choice([i for i in range(count) if i not in done and predecessors[i] <= done]))
        q = int(rng.choice(np.flatnonzero(instance.feasible[i])))
        arrivals = [
            finish[edge.source] + communication[edge][element[edge.source]][q]
            for edge in instance.graph.predecessors[i]
        ]
        start[i] = max([available[q], *arrivals]) + int(rng.integers(0, idle_us + 1))
        element[i], finish[i] = q, start[i] + int(instance.run_time_us[i, q])
        available[q] = finish[i]
        done.add(i)
    return Schedule(np.array(element), np.array(start), np.array(finish))


def tiny_instance(seed, tasks=(3, 6)):
    """At most six elements; now and then an element is slower to itself than to others."""
    rng = np.random.default_rng(seed)
    shape = rng.choice([1, 1, 2, 3], size=rng.integers(1, 3)).tolist()
    instance = cases.random_instances(rng, tasks=tasks, shape=tuple(shape))[0]
    if seed % 2:
        return instance
    platform = replace(instance.platform, self_bandwidth=int(rng.integers(1, 4)))
    return bind(instance.graph, platform, instance.levels)


def last_element_hint(instance):
    """Every task on the last element that can run it: as far as can be from what breaking symmetry asks for."""
    elements = [int(np.flatnonzero(row)[-1]) for row in instance.feasible]
    return oracle.schedule(instance, list(range(len(instance))), elements)


def check_optimal(instance, solution, makespan_us):
    check_schedule(instance, solution.schedule)
    assert (solution.schedule.makespan_us, solution.bound_us, solution.optimal) == (makespan_us, makespan_us, True)
    ranks = np.argsort(solution.schedule.order)
    assert oracle.schedule(instance, ranks, solution.schedule.element).makespan_us == makespan_us
    assert bounds.makespan_bound(instance) <= makespan_us


# Optima that are known.


@needs_solver
@pytest.mark.parametrize("name", OPTIMA)
def test_the_optima_of_the_library_are_the_published_ones(name):
    instance = get_instance(name)
    check_optimal(instance, exact.solve(instance), OPTIMA[name])


def job_shop(shared_data, name):
    path = shared_data / "soc" / "fjsp" / f"{name}.txt"
    if not path.is_file():
        pytest.skip(f"the flexible job shop is not there: {path}")
    return get_instance(str(path))


@needs_solver
@pytest.mark.parametrize("name", JOB_SHOPS)
def test_the_optima_of_flexible_job_shops_are_the_published_ones(shared_data, name):
    instance = job_shop(shared_data, name)
    check_optimal(instance, exact.solve(instance), JOB_SHOPS[name])


@pytest.mark.parametrize("name", LOADED_JOB_SHOPS)
def test_the_load_bound_proves_the_optima_of_flexible_job_shops_with_much_choice(shared_data, name):
    assert bounds.load_bound(job_shop(shared_data, name)) == LOADED_JOB_SHOPS[name]


@needs_solver
def test_the_optimum_of_fisher_and_thompsons_six_by_six_is_55(tmp_path):
    path = tmp_path / "ft06.jsp"
    path.write_text(FT06)
    instance = get_instance(str(path))
    assert instance.run_time_us[instance.feasible].sum() == 197
    check_optimal(instance, exact.solve(instance), 55)


# Exhaustive search.


def check_against_exhaustive_search(seeds):
    seen = {"cannot run": 0, "no time": 0, "slow to itself": 0, "heft is not optimal": 0, "bound is not tight": 0}
    for seed in seeds:
        instance = tiny_instance(seed)
        best = optimum(instance)
        check_optimal(instance, exact.solve(instance, hint=last_element_hint(instance), workers=1), best)
        check_optimal(instance, exact.solve(instance, workers=1, seed=seed), best)
        own = instance.communication_us.diagonal(axis1=1, axis2=2)
        seen["cannot run"] += bool((~instance.feasible).any())
        seen["no time"] += bool((instance.run_time_us == 0).any())
        seen["slow to itself"] += bool((own > instance.communication_us.min(axis=(1, 2), initial=0)[:, None]).any())
        seen["heft is not optimal"] += run_heuristic("heft", instance).makespan_us > best
        seen["bound is not tight"] += bounds.makespan_bound(instance) < best
    assert min(seen.values()) > 0, seen


@needs_solver
def test_the_solver_agrees_with_exhaustive_search():
    check_against_exhaustive_search(range(40))


@pytest.mark.slow
@needs_solver
def test_the_solver_agrees_with_exhaustive_search_on_many_instances():
    check_against_exhaustive_search(range(40, 540))


@needs_solver
def test_a_task_that_takes_no_time_is_not_in_the_middle_of_another():
    # One element: 0 (3 us) and 2 (4 us) are long; 1 takes no time and 3 (on the other element) waits for it. 1 first.
    instance = cases.small_instance([(3, None), (0, None), (4, None), (None, 6)], [(1, 3, 1)])
    assert optimum(instance) == 7
    check_optimal(instance, exact.solve(instance, hint=last_element_hint(instance)), 7)
    # 1 needs the data of 0, at 3, and so 2, which was as good at the start, comes after 1 or before 0: 4 + 3 + 6.
    instance = cases.small_instance([(3, None), (0, None), (4, None), (None, 6)], [(0, 1, 0), (1, 3, 1)])
    assert optimum(instance) == 10
    check_optimal(instance, exact.solve(instance, hint=last_element_hint(instance)), 10)
    # 3 takes no time and has its data at 2, when both elements of c0 are at work until 5.
    instance = cases.small_instance([(5, None), (5, None), (None, 2), (0, None)], [(2, 3, 0)], clusters=[2, 1])
    assert optimum(instance) == 5
    check_optimal(instance, exact.solve(instance, hint=last_element_hint(instance)), 5)


@needs_solver
def test_identical_elements_without_communication_are_packed_like_bins():
    # 5 + 4 and 3 + 3 + 3 on two elements; largest first would put 3 to 5 and 3 to 4, and the last one to 7.
    instance = cases.small_instance([(5,), (4,), (3,), (3,), (3,)], clusters=[2])
    assert run_heuristic("heft", instance).makespan_us == 10
    check_optimal(instance, exact.solve(instance), 9)
    # The same between a head and a tail that take no time, and with transfers that cost as much on one element.
    tasks = [(0,), (5,), (4,), (3,), (3,), (3,), (0,)]
    edges = [(0, i, 0) for i in range(1, 6)] + [(i, 6, 0) for i in range(1, 6)]
    instance = cases.small_instance(tasks, edges, clusters=[2])
    check_optimal(instance, exact.solve(instance, hint=last_element_hint(instance)), 9)


# What the solver returns.


@needs_solver
def test_where_the_time_is_up_the_hint_stands_in_and_the_bound_is_valid():
    instance = get_instance("wifi_rx")
    hint = run_heuristic("olb", instance)
    found = exact.solve(instance, hint=hint, time_limit_s=0.0)
    check_schedule(instance, found.schedule)
    assert bounds.makespan_bound(instance) <= found.bound_us <= OPTIMA["wifi_rx"]
    assert OPTIMA["wifi_rx"] <= found.schedule.makespan_us <= hint.makespan_us
    assert not found.optimal


@needs_solver
def test_a_hint_that_reaches_the_bound_is_returned_as_it_is():
    instance = get_instance("sct")
    hint = run_heuristic("heft", instance)
    assert bounds.makespan_bound(instance) == hint.makespan_us
    found = exact.solve(instance, hint=hint)
    assert found.schedule is hint
    assert (found.bound_us, found.optimal) == (56, True)


@needs_solver
def test_a_hint_that_is_no_schedule_is_refused():
    instance = get_instance("top1")
    hint = run_heuristic("heft", instance)
    with pytest.raises(DsegymError, match="start"):
        exact.solve(instance, hint=Schedule(hint.element, hint.start_us * 0, hint.finish_us - hint.start_us))


@needs_solver
def test_one_worker_returns_the_same_schedule_again():
    instance = get_instance("top2")
    first, second = (exact.solve(instance, workers=1, seed=3).schedule for _ in range(2))
    assert first.element.tolist() == second.element.tolist()
    assert first.start_us.tolist() == second.start_us.tolist()


def test_without_or_tools_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(DsegymError, match="pip install ortools"):
        exact.solve(get_instance("top1"))


# Bounds.


def test_bounds_worked_by_hand():
    # 0 (2 on c0, 5 on c1) > 1 (c1 only, 4) with 3 us between elements: 2 + 3 + 4 = 5 + 4 = 9.
    instance = cases.small_instance([(2, 5), (None, 4)], [(0, 1, 3)])
    assert bounds.earliest_finish_us(instance).tolist() == [[2, 5], [bounds.NEVER, 9]]
    assert bounds.least_remaining_us(instance).tolist() == [[7, 4], [bounds.NEVER, 0]]
    assert bounds.critical_path_bound(instance) == 9
    # Four tasks that only c1's two elements can run: 14 / 2; the fifth could be anywhere.
    instance = cases.small_instance([(None, 3), (None, 3), (None, 3), (None, 5), (1, 1)], clusters=[1, 2])
    assert (bounds.critical_path_bound(instance), bounds.load_bound(instance)) == (5, 7)
    # They are 2 us late, behind a task on c0, and a last one of 4 us follows: 2 + 7 + 4.
    times = [(2, None), (None, 3), (None, 3), (None, 3), (None, 5), (4, None)]
    edges = [(0, i, 0) for i in range(1, 5)] + [(i, 5, 0) for i in range(1, 5)]
    instance = cases.small_instance(times, edges, clusters=[1, 2])
    assert (bounds.critical_path_bound(instance), bounds.load_bound(instance)) == (11, 13)
    # Both elements can run all, at different speeds: 2/3 of a task's worth here and 1/3 there, so 12 * 2 / 3.
    assert bounds.load_bound(cases.small_instance([(1, 2)] * 12)) == 8


def test_energy_bounds_worked_by_hand():
    # c1's two elements: 6 W for one, 8 W for both, so at least 4 W each; 1 W of leakage each. c0 takes 10 W, and 0.5 W.
    points = OperatingPoint(1000, 900, 0.5, (0.0, 10.0)), OperatingPoint(1000, 900, 1.0, (0.0, 6.0, 8.0))
    platform = Platform(
        "by_hand",
        (Cluster("c0", 1, points[:1]), Cluster("c1", 2, points[1:])),
        {"both": {"c0": 1, "c1": 3}, "slow": {"c1": 10}},
        base_w=0.25,
    )
    instance = bind(task_graph("two", [Task("a", "both"), Task("b", "slow")], []), platform)
    dynamic, constant = (min(1 * 10, 3 * 4) + 10 * 4) * 1e-6, 0.5 + 2 * 1.0 + 0.25
    expected = dynamic + 10 * constant * 1e-6
    assert bounds.makespan_bound(instance) == 10
    assert bounds.energy_bound_j(instance) == pytest.approx(expected, rel=1e-9)
    assert bounds.energy_bound_j(instance) <= expected
    assert bounds.energy_bound_j(instance, 20) == pytest.approx(dynamic + 20 * constant * 1e-6, rel=1e-9)
    assert bounds.dynamic_energy_bound_j(instance) == pytest.approx(dynamic, rel=1e-9)
    assert bounds.constant_power_w(instance) == pytest.approx(constant, rel=1e-9)
    assert bounds.energy_bound_of_all_levels_j(instance, 10) == pytest.approx(expected, rel=1e-9)
    assert bounds.energy_delay_bound(instance) == pytest.approx(expected * 10e-6, rel=1e-9)
    # c0 takes 20 us for what it is given 1 us for: c1 is better.
    longer = np.where(instance.run_time_us == 1, 20, instance.run_time_us)
    assert bounds.dynamic_energy_bound_j(instance, longer) == pytest.approx((3 * 4 + 10 * 4) * 1e-6, rel=1e-9)


def test_the_energy_of_two_tasks_side_by_side_is_the_bound():
    points = (OperatingPoint(1000, 900, 1.0, (0.0, 6.0, 8.0)),)
    platform = Platform("by_hand", (Cluster("c0", 2, points),), {"k": {"c0": 10}})
    instance = bind(task_graph("two", [Task("a", "k"), Task("b", "k")], []), platform)
    schedule = Schedule(np.array([0, 1]), np.array([0, 0]), np.array([10, 10]))
    check_schedule(instance, schedule)
    assert energy_j(instance, schedule) == pytest.approx(bounds.energy_bound_j(instance), rel=1e-9)


def test_an_energy_bound_without_power_says_what_is_missing():
    for bound in (bounds.energy_bound_j, bounds.energy_delay_bound):
        with pytest.raises(DsegymError, match="top has no operating points"):
            bound(get_instance("top1"))


def test_no_random_schedule_is_below_a_bound():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        drawn = cases.random_instances(rng, tasks=(1, 12))[0]
        platform = replace(drawn.platform, base_w=float(rng.choice([0.0, 0.5])))
        instance = bind(drawn.graph, platform, drawn.levels)
        fastest = bounds.makespan_bound(bind(drawn.graph, platform))
        of_all_levels = bounds.energy_bound_of_all_levels_j(instance, fastest)
        least_us, least_j = bounds.makespan_bound(instance), bounds.energy_bound_j(instance)
        product = bounds.energy_delay_bound(instance)
        assert least_us >= max(bounds.critical_path_bound(instance), bounds.load_bound(instance))
        for idle_us in (0, 0, 5):
            schedule = random_schedule(rng, instance, idle_us)
            check_schedule(instance, schedule)
            energy = energy_j(instance, schedule)
            assert least_us <= schedule.makespan_us
            assert 0 <= of_all_levels <= least_j * (1 + 1e-9) <= energy * (1 + 2e-9)
            assert least_j <= energy
            assert product <= energy * schedule.makespan_us * 1e-6


def test_no_heuristic_of_the_library_is_below_a_bound():
    for name in ("wifi_tx", "wifi_rx", "range_detection", "temporal_mitigation", "pulse_doppler"):
        instance = get_instance(name)
        for heuristic in ("heft", "met", "olb"):
            schedule = run_heuristic(heuristic, instance)
            assert bounds.makespan_bound(instance) <= schedule.makespan_us
            assert bounds.energy_bound_j(instance) <= energy_j(instance, schedule)


def test_the_path_bound_is_at_least_that_of_least_run_times_and_transfers():
    for seed in range(40):
        instance = cases.random_instances(np.random.default_rng(seed))[0]
        finish = []
        for i, edges in enumerate(instance.graph.predecessors):
            arrivals = [finish[e.source] + least_transfer(instance, e) for e in edges]
            finish.append(max([0, *arrivals]) + int(instance.least_run_time_us[i]))
        assert bounds.critical_path_bound(instance) >= max(finish)
        assert (bounds.earliest_finish_us(instance).min(axis=1) >= finish).all()


def least_transfer(instance, edge):
    times = instance.communication_us[instance.graph.edges.index(edge)]
    return int(times[np.ix_(instance.feasible[edge.source], instance.feasible[edge.target])].min())


def test_the_load_bound_is_at_least_the_load_of_each_group_of_clusters():
    for seed in range(40):
        instance = cases.random_instances(np.random.default_rng(seed))[0]
        clusters = np.array(instance.platform.element_clusters)
        for size in range(1, len(instance.platform.clusters) + 1):
            for group in itertools.combinations(range(len(instance.platform.clusters)), size):
                inside = np.isin(clusters, group)
                bound_to = ~instance.feasible[:, ~inside].any(axis=1)
                load = int(instance.least_run_time_us[bound_to].sum())
                assert bounds.load_bound(instance) >= -(-load // int(inside.sum()))


@needs_solver
def test_the_load_bound_is_close_to_the_linear_program():
    from ortools.linear_solver import pywraplp

    for seed in range(40):
        instance = cases.random_instances(np.random.default_rng(seed), tasks=(5, 40))[0]
        solver = pywraplp.Solver.CreateSolver("GLOP")
        makespan = solver.NumVar(0, solver.infinity(), "makespan")
        share = [
            {q: solver.NumVar(0, 1, "") for q in np.flatnonzero(row).tolist()} for row in instance.feasible
        ]  # of each task, on each element
        for row in share:
            solver.Add(sum(row.values()) == 1)
        for q in range(instance.elements):
            load = [int(instance.run_time_us[i, q]) * row[q] for i, row in enumerate(share) if q in row]
            solver.Add(makespan >= sum(load))
        solver.Minimize(makespan)
        assert solver.Solve() == pywraplp.Solver.OPTIMAL
        assert bounds.load_bound(instance) >= 0.995 * makespan.solution_value()
