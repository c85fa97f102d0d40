"""The library of graphs, platforms and power against the published figures, and the generator's promises."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsegym
from dsegym.costmodels.errors import DsegymError, InvalidWorkloadError, UnknownNameError
from dsegym.costmodels.soc import generator, library, power
from dsegym.costmodels.soc.heuristics import run_heuristic
from dsegym.costmodels.soc.instance import INFEASIBLE

TEN = tuple(f"top{i}" for i in range(1, 11))
APPLICATIONS = ("wifi_tx", "wifi_rx", "range_detection", "sct", "scr", "temporal_mitigation", "pulse_doppler")


# ----- graphs -----


def test_the_library_lists_its_graphs_and_platforms_in_a_fixed_order():
    assert library.graph_names() == library.CORE_GRAPHS == (*TEN, "peft", *APPLICATIONS)
    assert library.platform_names() == ("top", "peft", "multiple_bal", "bal_only")


@pytest.mark.parametrize(
    ("name", "tasks", "edges"),
    [
        ("top1", 10, 15),
        ("peft", 10, 15),
        ("wifi_tx", 27, 30),
        ("wifi_rx", 34, 37),
        ("range_detection", 7, 7),
        ("sct", 8, 7),
        ("scr", 8, 7),
        ("temporal_mitigation", 10, 12),
        ("pulse_doppler", 65, 88),
    ],
)
def test_graphs_have_the_published_numbers_of_tasks_and_edges(name, tasks, edges):
    graph = library.get_graph(name)
    assert (len(graph), len(graph.edges)) == (tasks, edges)


@pytest.mark.parametrize("name", library.graph_names())
def test_every_graph_has_one_head_one_tail_a_source_and_runs_on_its_own_platform(name):
    instance = library.get_instance(name)
    assert instance.graph.name == name
    assert instance.graph.heads == (0,)
    assert instance.graph.tails == (len(instance) - 1,)
    assert instance.graph.source
    assert instance.platform.name == library.home_platform(name)
    assert instance.feasible.any(axis=1).all()


@pytest.mark.parametrize("name", TEN)
def test_the_ten_graphs_are_those_of_the_job_files(name, shared_data):
    number = name.removeprefix("top")
    text = (shared_data / "soc" / "gym_ds3_mit" / f"job_Top{'' if number == '1' else number}.txt").read_text()
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    expected = sorted(
        (int(s), int(t), int(volume)) for key, *row in lines if key == "comm_vol" for s, t, volume in [row]
    )
    graph = library.get_graph(name)
    assert sorted((edge.source, edge.target, edge.volume) for edge in graph.edges) == expected
    assert [task.kernel for task in graph.tasks] == [line[0] for line in lines if re.fullmatch(r"task_\d+", line[0])
                                                     and line[1].isdigit()]  # fmt: skip


def test_the_run_times_of_top_are_those_of_the_platform_file(shared_data):
    text = (shared_data / "soc" / "gym_ds3_mit" / "DASH.SoC.Top.txt").read_text()
    expected, element = {}, ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["add_new_resource"]:
            element = words[2]
        elif words and words[0].startswith("task_"):
            expected.setdefault(words[0], {})[element] = int(words[1])
    assert library.get_platform("top").run_times == expected


def test_the_run_times_of_peft_are_those_of_the_paper():
    times = library.get_instance("peft").run_time_us.T.tolist()
    assert times == [
        [22, 22, 32, 7, 29, 26, 14, 29, 15, 13],
        [21, 18, 27, 10, 27, 17, 25, 23, 21, 16],
        [36, 18, 43, 4, 35, 24, 30, 36, 8, 33],
    ]


@pytest.mark.parametrize(
    ("graph", "task", "times"),
    [
        ("wifi_tx", "ifft_3", {"A7": 296, "A15": 118, "FFT": 16}),
        ("wifi_tx", "interleaver_1", {"A7": 10, "A15": 4}),
        ("wifi_rx", "viterbi_decoder", {"A7": 1828, "A15": 739, "VIT": 2}),
        ("wifi_rx", "qpsk_demodulation_5", {"A7": 191, "A15": 95}),
        ("wifi_rx", "payload_extraction_2", {"A7": 8, "A15": 4}),
        ("range_detection", "ifft", {"A7": 150, "A15": 60, "FFT": 30}),
        ("sct", "interleaver", {"A7": 10, "A15": 3}),
        ("sct", "qpsk_modulation", {"A7": 27, "A15": 8}),
        ("sct", "crc", {"A7": 5, "A15": 2}),
        ("scr", "payload_extraction", {"A7": 14, "A15": 3}),
        ("scr", "qpsk_demodulation", {"A7": 240, "A15": 96}),
        ("scr", "deinterleaver", {"A7": 20, "A15": 7}),
        ("scr", "descrambler", {"A7": 3, "A15": 2}),
        ("scr", "viterbi_decoder", {"A7": 1828, "A15": 739, "VIT": 2}),
        ("temporal_mitigation", "multiply_2", {"A7": 240, "A15": 54, "MM": 22}),
        ("temporal_mitigation", "multiply_3", {"A7": 210, "A15": 44, "MM": 22}),
        ("pulse_doppler", "amplitude_1", {"A7": 70, "A15": 40}),
    ],
)
def test_tasks_take_the_published_time_on_each_kind_of_element(graph, task, times):
    instance = library.get_instance(graph)
    row = instance.run_time_us[[each.name for each in instance.graph.tasks].index(task)]
    kinds = [instance.platform.clusters[c].name for c in instance.platform.element_clusters]
    assert {kind: time for kind, time in zip(kinds, row.tolist(), strict=True) if time != INFEASIBLE} == times


@pytest.mark.parametrize(
    ("graph", "total"),
    # The sum of a column of the source's table, with five chains.
    [("wifi_tx", 10 + 5 * (4 + 8 + 3 + 118 + 3)), ("wifi_rx", 5 + 5 * (4 + 114 + 4 + 95 + 9 + 4) + 739 + 2 + 39)],
)
def test_one_big_core_runs_a_wifi_job_in_the_sum_of_its_times(graph, total):
    assert library.get_instance(graph, "bal_only").run_time_us[:, 4].sum() == total


def test_edges_cost_the_floor_of_volume_over_bandwidth():
    instance = library.get_instance("wifi_tx")
    names = [task.name for task in instance.graph.tasks]
    at = {(names[e.source], names[e.target]): k for k, e in enumerate(instance.graph.edges)}
    a7, other_a7, a15, fft, other_fft, vit = 0, 1, 4, 10, 11, 14
    first, out = at["scrambler", "interleaver_1"], at["ifft_1", "crc_1"]
    into = at["pilot_insertion_1", "ifft_1"]
    cost = instance.communication_us
    assert [cost[first, a7, q] for q in (a7, other_a7, a15)] == [0, 2, 2]  # 2000 units
    assert [cost[into, a15, q] for q in (a15, fft)] == [0, 1]  # 10 units
    assert [cost[out, fft, q] for q in (a7, a15, fft, other_fft, vit)] == [8, 8, 0, 0, 0]  # 80 units
    assert cost[at["crc_5", "end"], a7, a15] == 0  # 3 units


def test_three_kernels_take_longer_on_the_platform_without_accelerators():
    alone, with_accelerators = library.get_platform("bal_only"), library.get_platform("bal_mm0_fft0_vit0")
    differing = {k for k, times in alone.run_times.items() if times != with_accelerators.run_times[k]}
    assert differing == {"fir_filter", "match_correlation", "filter"}
    assert alone.run_times["fir_filter"] == {"A7": 6468, "A15": 1393}
    assert with_accelerators.run_times["fir_filter"] == {"A7": 30, "A15": 20}


# ----- platforms -----


def test_multiple_bal_has_its_sixteen_elements_in_the_published_order():
    platform = library.get_platform("multiple_bal")
    assert [(c.name, c.elements) for c in platform.clusters] == [
        ("A7", 4),
        ("A15", 4),
        ("MM", 2),
        ("FFT", 4),
        ("VIT", 2),
    ]
    assert platform.self_bandwidth == 10_000
    slow = {frozenset(pair) for pair in itertools.product(("A7", "A15", "MM", "FFT", "VIT"), repeat=2)
            if platform.bandwidth_between(*pair) == 10}  # fmt: skip
    assert slow == {frozenset((kind, "FFT")) for kind in ("A7", "A15", "MM")}
    assert platform.bandwidth_between("VIT", "FFT") == platform.bandwidth_between("A7", "A7") == 1000


def test_the_family_of_platforms_contains_multiple_bal_and_leaves_out_empty_clusters():
    same, whole = library.get_platform("bal_mm2_fft4_vit2"), library.get_platform("multiple_bal")
    assert (same.clusters, same.run_times, same.bandwidth) == (whole.clusters, whole.run_times, whole.bandwidth)
    small = library.get_platform("bal_mm0_fft6_vit0")
    assert [(c.name, c.elements) for c in small.clusters] == [("A7", 4), ("A15", 4), ("FFT", 6)]
    for graph in APPLICATIONS:
        for platform in ("bal_mm0_fft0_vit0", "bal_mm16_fft0_vit16", "bal_only"):
            assert library.get_instance(graph, platform).feasible[:, :8].all()


@pytest.mark.parametrize("name", ["bal_mm2_fft4", "bal_mm02_fft4_vit2", "bal_mm17_fft0_vit0", "multiple", "own"])
def test_other_platform_names_are_unknown(name):
    assert not library.is_platform_name(name)
    with pytest.raises(UnknownNameError, match="bal_mmM_fftF_vitV"):
        library.get_platform(name)


def test_a_graph_that_does_not_exist_is_unknown_with_the_nearest_match():
    for look_up in (library.get_graph, library.get_instance, library.home_platform):
        with pytest.raises(UnknownNameError, match="Did you mean 'wifi_tx'"):
            look_up("wifi_txx")


def test_graphs_that_bring_their_own_platform_refuse_others():
    assert library.home_platform("random_30_3_ccr1_s1") == "own"
    with pytest.raises(DsegymError, match=r"brings its own platform; platform is 'top', allowed is 'own'"):
        library.get_instance("random_30_3_ccr1_s1", "top")


def test_a_graph_on_a_platform_without_its_kernels_is_refused():
    with pytest.raises(InvalidWorkloadError, match="task_1"):
        library.get_instance("top1", "multiple_bal")


# ----- power -----


@pytest.mark.parametrize(
    ("kind", "elements", "frequency", "watts"),
    [
        ("A7", 4, 1000, (0.19, 0.29, 0.35, 0.40)),
        ("A7", 4, 1400, (0.39, 0.59, 0.72, 0.81)),
        ("A15", 4, 1000, (0.85, 1.30, 1.58, 1.78)),
        ("A15", 4, 2000, (3.32, 5.05, 6.15, 6.91)),
        ("MM", 2, 1000, (0.05, 0.10)),
        ("FFT", 4, 1000, (0.0913, 0.1826, 0.2739, 0.3652)),
        ("FFT", 2, 1000, (0.0913, 0.1826)),
        ("VIT", 2, 1000, (0.05885, 0.1177)),
    ],
)
def test_a_busy_cluster_draws_its_profile_at_the_profiled_frequency(kind, elements, frequency, watts):
    points = power.operating_points(kind, elements)
    point = next(point for point in points if point.frequency_mhz == frequency)
    drawn = [dynamic + elements * point.leakage_w for dynamic in point.dynamic_w[1:]]
    np.testing.assert_allclose(drawn, watts, rtol=1e-12)


def test_leakage_follows_the_published_law():
    # 1.362 V at 315 K: 1.362 (0.002488 315^2 e^(-2660/315) + 0.000519), a quarter of it for each big core.
    np.testing.assert_allclose(power.leakage_w("A15", 1362), 0.0183, atol=5e-5)
    np.testing.assert_allclose(power.leakage_w("A7", 1300), power.leakage_w("A15", 1300) / 4, rtol=1e-12)


def test_dynamic_power_scales_with_frequency_and_the_square_of_voltage():
    point, profiled = (next(p for p in power.operating_points("A15", 4) if p.frequency_mhz == f) for f in (1600, 2000))
    ratio = 1600 * 1.175**2 / (2000 * 1.362**2)
    np.testing.assert_allclose(point.dynamic_w, np.array(profiled.dynamic_w) * ratio, rtol=1e-12)
    below = next(p for p in power.operating_points("A15", 4) if p.frequency_mhz == 600)
    lower = next(p for p in power.operating_points("A15", 4) if p.frequency_mhz == 1000)
    np.testing.assert_allclose(below.dynamic_w[2] / lower.dynamic_w[2], 0.6 * 0.9**2, rtol=1e-12)


def test_operating_points_are_the_published_ones():
    points = {kind: [(p.frequency_mhz, p.voltage_mv) for p in power.operating_points(kind, 4)] for kind in power.KINDS}
    assert points["A7"] == [(600, 1000), (800, 1075), (1000, 1150), (1200, 1250), (1400, 1300)]
    assert [len(points[kind]) for kind in power.KINDS] == [5, 8, 1, 1, 1]
    assert points["A15"][-1] == (2000, 1362)
    assert points["FFT"] == points["MM"] == points["VIT"] == [(1000, 900)]


@pytest.mark.parametrize("kind", power.KINDS)
@pytest.mark.parametrize("elements", [1, 2, 3, 4, 6, 16])
def test_dynamic_power_starts_at_nothing_and_rises_with_busy_elements_and_frequency(kind, elements):
    points = power.operating_points(kind, elements)
    table = np.array([point.dynamic_w for point in points])
    assert table.shape == (len(points), elements + 1)
    assert (table[:, 0] == 0).all()
    assert (np.diff(table, axis=1) > 0).all()
    assert (np.diff(table[:, 1:], axis=0) > 0).all()


def test_a_larger_cluster_goes_on_as_its_profile_ends():
    np.testing.assert_allclose(np.diff(power.operating_points("FFT", 6)[0].dynamic_w[2:]), 0.0913, rtol=1e-12)


def test_power_is_unknown_where_the_source_has_none():
    assert not library.get_platform("top").has_power
    assert not library.get_platform("peft").has_power
    assert library.get_platform("bal_mm1_fft6_vit0").has_power
    assert library.get_platform("multiple_bal").base_w == pytest.approx(0.1674)
    with pytest.raises(UnknownNameError, match="A15"):
        power.operating_points("GPU", 1)


def energy_j(instance, schedule):
    """By the rules: over the makespan, base power and what each cluster draws with as many busy elements as it has."""
    times = np.unique(np.concatenate([schedule.start_us, schedule.finish_us, [0]]))
    of_task = np.array(instance.platform.element_clusters)[schedule.element]
    total = instance.platform.base_w * schedule.makespan_us * 1e-6
    for c, cluster in enumerate(instance.platform.clusters):
        point = cluster.operating_points[instance.levels[c]]
        for begin, end in itertools.pairwise(times.tolist()):
            busy = ((of_task == c) & (schedule.start_us <= begin) & (schedule.finish_us >= end)).sum()
            total += (point.dynamic_w[busy] + cluster.elements * point.leakage_w) * (end - begin) * 1e-6
    return total


@pytest.mark.parametrize(
    ("graph", "heuristic", "makespan", "printed"),
    [("wifi_tx", "etf_finish", 71, 2.64e-4), ("wifi_rx", "mct", 301, 1.46e-3)],
)
def test_energy_of_a_schedule_as_long_as_ds3s_is_within_a_twentieth_below_what_it_prints(
    graph, heuristic, makespan, printed
):
    instance = library.get_instance(graph)
    schedule = run_heuristic(heuristic, instance)
    assert schedule.makespan_us == makespan
    assert 0.95 < energy_j(instance, schedule) / printed < 1.0  # DS3 heats up, so that it leaks more


# ----- mixes -----


@pytest.mark.parametrize("name", library.MIXES)
def test_a_mix_has_shares_that_sum_to_one_and_graphs_that_its_platform_runs(name):
    mix = library.MIXES[name]
    assert len(mix.graphs) == len(mix.probabilities)
    assert sum(mix.probabilities) == pytest.approx(1.0, abs=1e-12)
    assert min(mix.probabilities) > 0
    assert mix.mean_interval_us > 0
    assert mix.queue > 0
    for graph in mix.graphs:
        instance = library.get_instance(graph, mix.platform)
        assert len(instance.graph.heads) == len(instance.graph.tails) == 1


def test_the_mixes_have_the_published_shares():
    shares = {name: dict(zip(mix.graphs, mix.probabilities, strict=True)) for name, mix in library.MIXES.items()}
    assert shares["wifi"] == {"wifi_tx": 0.8, "wifi_rx": 0.2}
    assert shares["wifi_rx"] == {"wifi_tx": 0.2, "wifi_rx": 0.8}
    assert shares["radar"] == {"range_detection": 0.8, "pulse_doppler": 0.2}
    assert shares["all"] == {"wifi_tx": 0.3, "wifi_rx": 0.3, "range_detection": 0.3, "pulse_doppler": 0.1}
    assert shares["top"] == dict.fromkeys(TEN, 0.1)
    assert {(m.mean_interval_us, m.queue) for m in library.MIXES.values()} == {(25, 3), (250, 12)}


def test_a_mix_that_is_spelled_out_has_one_text_and_its_shares():
    assert library.mix_name("wifi_rx:2+wifi_tx:6") == "wifi_tx:3+wifi_rx:1"
    mix = library.get_mix("wifi_tx:3+wifi_rx:1")
    assert (mix.graphs, mix.probabilities, mix.platform) == (("wifi_tx", "wifi_rx"), (0.75, 0.25), "multiple_bal")
    assert (mix.mean_interval_us, mix.queue) == (250, 12)
    assert library.get_mix("top2:1") == library.Mix(("top2",), (1.0,), "top", 25, 3, "spelled out")
    for graph in library.graph_names():  # any may be in one
        found = library.get_graph(graph)
        assert len(found.heads) == len(found.tails) == 1


@pytest.mark.parametrize(
    "name", ["top1:", "top1:0", "top1:01", "top1:1+", "top1:1+top1:2", "top1:1+wifi_tx:1", "nothing:1", "top1:1000"]
)
def test_what_is_no_mix_is_refused(name):
    with pytest.raises(ValueError, match=re.escape(name)):
        library.get_mix(name)
    with pytest.raises(UnknownNameError, match="whole shares"):
        dsegym.make_problem("dsegym/SocSchedulingStream-v0", jobs=name)


# ----- generated instances -----


@settings(max_examples=40, deadline=None)
@given(
    tasks=st.integers(2, 80),
    elements=st.integers(1, 6),
    ccr=st.sampled_from(["0", "0.1", "1", "5"]),
    width=st.sampled_from(["", "_w0.1", "_w2", "_w10"]),
    seed=st.integers(0, 999),
)
def test_random_graphs_have_the_asked_size_one_head_one_tail_and_few_predecessors(tasks, elements, ccr, width, seed):
    name = f"random_{tasks}_{elements}_ccr{ccr}_s{seed}{width}"
    assert library.is_generated_name(name)
    instance = library.get_instance(name)
    graph = instance.graph
    assert (len(graph), instance.elements, graph.name) == (tasks, elements, name)
    assert graph.heads == (0,)
    assert graph.tails == (tasks - 1,)
    assert max(map(len, graph.predecessors)) <= generator.MOST_PREDECESSORS
    assert instance.run_time_us.min() >= 1
    assert all(0 <= edge.volume <= 2 * float(ccr) * generator.MEAN_RUN_TIME_US for edge in graph.edges)


@pytest.mark.parametrize("ccr", ["0.1", "1", "5"])
def test_volumes_and_run_times_have_the_asked_ratio_on_average(ccr):
    instances = [library.get_instance(f"random_200_4_ccr{ccr}_s{seed}") for seed in range(5)]
    volume = np.mean([edge.volume for instance in instances for edge in instance.graph.edges])
    time = np.mean([instance.run_time_us.mean() for instance in instances])
    assert volume / time == pytest.approx(float(ccr), rel=0.1)
    assert time == pytest.approx(generator.MEAN_RUN_TIME_US, rel=0.1)


def test_run_times_of_a_random_task_lie_within_the_heterogeneity():
    times = library.get_instance("random_200_8_ccr1_s3").run_time_us.astype(float)
    long = times[times.min(axis=1) >= 20]  # rounding hides the rest
    ratio = long.max(axis=1) / long.min(axis=1)
    assert ratio.max() <= 3.0 * 1.1
    assert ratio.mean() > 1.5


def test_wider_graphs_have_fewer_layers():
    def layers(graph):
        depth = []
        for edges in graph.predecessors:
            depth.append(1 + max((depth[edge.source] for edge in edges), default=0))
        return max(depth)

    found = [layers(library.get_graph(f"random_100_3_ccr1_s5{width}")) for width in ("_w0.3", "", "_w3")]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[1] > 2 * found[2]


def test_generation_depends_on_the_name_alone():
    name = "random_30_3_ccr1_s1"
    first = generator.random_graph_and_platform(name)
    np.random.default_rng(0).random(100)
    assert generator.random_graph_and_platform(name) == first
    assert generator.random_graph_and_platform("random_30_3_ccr1_s2")[0].edges != first[0].edges
    other = generator.random_graph_and_platform("random_30_3_ccr5_s1")
    assert other[1].run_times == first[1].run_times
    assert [(e.source, e.target) for e in other[0].edges] == [(e.source, e.target) for e in first[0].edges]


def test_heterogeneity_spreads_the_run_times_of_one_graph():
    found = [library.get_instance(f"random_200_4_ccr1_s3{behind}") for behind in ("_h0", "_h0.5", "", "_w1_h1", "_h2")]
    spread = [float((each.run_time_us.max(1) / each.run_time_us.mean(1)).mean()) for each in found]
    assert spread[0] == 1.0
    assert spread[0] < spread[1] < spread[2] == spread[3] < spread[4]
    assert all(each.graph.edges == found[0].graph.edges for each in found)


def test_a_generated_instance_keeps_its_figures():
    # Made by get_instance("random_30_3_ccr1_s1"); a change here changes every result on generated graphs.
    instance = library.get_instance("random_30_3_ccr1_s1")
    volumes = [edge.volume for edge in instance.graph.edges]
    assert (int(instance.run_time_us.sum()), len(volumes), sum(volumes)) == (4331, 59, 2862)


@settings(max_examples=25, deadline=None)
@given(elements=st.integers(1, 5), extra=st.integers(0, 30), seed=st.integers(0, 999))
def test_the_least_run_times_of_cut_rows_fill_them_exactly(elements, extra, seed):
    tasks = max(2, elements + extra)
    name = f"rows_{elements}_{tasks}_s{seed}"
    instance = library.get_instance(name)
    length = generator.known_optimum_instance(name)[2]
    assert instance.feasible.all()
    assert instance.least_run_time_us.sum() == length * elements
    assert not instance.communication_us.any()
    assert all(len(edges) <= generator.MOST_PREDECESSORS for edges in instance.graph.predecessors)
    best = min(run_heuristic(each, instance).makespan_us for each in ("heft", "mct"))
    assert best >= length


def test_some_schedule_of_cut_rows_reaches_the_optimum():
    graph, platform, length = generator.known_optimum_instance("rows_3_12_s1")
    times = {task.name: platform.run_times[task.kernel] for task in graph.tasks}
    names = [task.name for task in graph.tasks]
    after = [{edge.source for edge in edges} for edges in graph.predecessors]

    def search(now, done, running):
        """Rows never wait: whenever one is free, a task starts there that is as fast there as anywhere."""
        free = [row for row in times[names[0]] if row not in running]
        if len(done) == len(names):
            return now
        if free and len(done) + len(running) < len(names) and now < length:
            started = {i for _, i in running.values()}
            for i, name in enumerate(names):
                fastest = min(times[name].values())
                open_task = i not in done and i not in started and after[i] <= done
                if open_task and times[name][free[0]] == fastest and now + fastest <= length:
                    found = search(now, done, running | {free[0]: (now + fastest, i)})
                    if found is not None:
                        return found
            return None
        end = min(finish for finish, _ in running.values())
        finished = {i for finish, i in running.values() if finish == end}
        return search(end, done | finished, {r: v for r, v in running.items() if v[0] > end})

    assert search(0, frozenset(), {}) == length


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random_1_3_ccr1_s1", "2 to 500 tasks"),
        ("random_501_3_ccr1_s1", "2 to 500 tasks"),
        ("random_30_0_ccr1_s1", "1 to 32 elements"),
        ("random_30_33_ccr1_s1", "1 to 32 elements"),
        ("random_30_3_ccr101_s1", "0 to 100"),
        ("random_30_3_ccr1_s1_w0", "width"),
        ("random_30_3_ccr1_s1_w11", "width"),
        ("random_30_3_ccr1_s1_h2.5", "heterogeneity 0 to 2"),
        ("rows_5_4_s1", "at least one a row"),
    ],
)
def test_generated_names_out_of_range_say_what_is_allowed(name, message):
    assert library.is_generated_name(name)
    with pytest.raises(DsegymError, match=message):
        library.get_instance(name)


@pytest.mark.parametrize(
    "name", ["random_30_3_ccr1", "random_030_3_ccr1_s1", "random_30_3_ccr1.0_s1", "rows_3_s1", "random_30_3_ccr-1_s1"]
)
def test_other_spellings_are_no_generated_names(name):
    assert not library.is_generated_name(name)
    with pytest.raises(UnknownNameError):
        library.get_instance(name)
    with pytest.raises(DsegymError, match="random_30_3_ccr1_s1"):
        generator.generate(name)


def test_large_generated_graphs_bind():
    instance = library.get_instance("random_500_32_ccr5_s1_w3")
    assert instance.run_time_us.shape == (500, 32)
    assert library.get_instance("rows_32_500_s9").run_time_us.shape == (500, 32)
