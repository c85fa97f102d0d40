"""Files of task graphs: what is read from each format, and what a bad file is told."""

import json
import re

import numpy as np
import pytest

from dsegym.costmodels.errors import InvalidWorkloadError
from dsegym.costmodels.soc import files, library
from dsegym.costmodels.soc.instance import INFEASIBLE, MAX_TOTAL_US, bind

FT06 = """\
# Fisher and Thompson, 6 x 6
6 6
2 1 0 3 1 6 3 7 5 3 4 6
1 8 2 5 4 10 5 10 0 10 3 4
2 5 3 4 5 8 0 9 1 1 4 7
1 5 0 5 2 5 3 3 4 8 5 9
2 9 1 3 4 5 5 4 0 3 3 1
1 3 3 3 5 9 0 10 4 4 2 1
"""
FLEXIBLE = "2 3 1.5\n2 2 0 5 2 4 1 1 7\n\n1 1 2 9\n"
GRAPH = {
    "format": "dsegym task graph 1",
    "name": "radio",
    "source": "by hand",
    "platform": {
        "name": "board",
        "clusters": [
            {
                "name": "cpu",
                "elements": 2,
                "operating_points": [
                    {"frequency_mhz": 500, "voltage_mv": 800, "leakage_w": 0.01, "dynamic_w": [0, 0.1, 0.2]},
                    {"frequency_mhz": 1000, "voltage_mv": 900, "leakage_w": 0.02, "dynamic_w": [0, 0.3, 0.5]},
                ],
            },
            {"name": "fft", "elements": 1},
        ],
        "default_bandwidth": 5,
        "bandwidth": [["cpu", "fft", 10]],
        "base_w": 0.125,
    },
    "tasks": [
        {"name": "c", "run_times_us": {"cpu": 7}},
        {"name": "a", "run_times_us": {"cpu": 10, "fft": 5}},
        {"name": "b", "kernel": "c", "run_times_us": {"cpu": 7}},
    ],
    "edges": [["a", "b", 30], ["b", "c", 0], ["a", "c", 55]],
    "tail": "c",
}
WORKFLOW = {
    "name": "shop",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {
            "tasks": [
                {"name": "split", "id": "s", "parents": [], "children": ["x", "y"], "inputFiles": ["in"],
                 "outputFiles": ["left", "right", "log"]},
                {"name": "work", "id": "x", "parents": ["s"], "children": ["j"], "inputFiles": ["left"],
                 "outputFiles": ["p"]},
                {"name": "work", "id": "y", "parents": ["s"], "children": [], "inputFiles": ["left", "right"],
                 "outputFiles": ["q"]},
                {"name": "join", "id": "j", "parents": ["x", "y"], "children": [], "inputFiles": ["p", "q"]},
            ],
            "files": [
                {"id": name, "sizeInBytes": size}
                for name, size in {"in": 9000, "left": 1000, "right": 200, "log": 7, "p": 50, "q": 0}.items()
            ],
        },
        "execution": {
            "makespanInSeconds": 1,
            "tasks": [
                {"id": "s", "runtimeInSeconds": 0.001},
                {"id": "x", "runtimeInSeconds": 0.0000031},
                {"id": "y", "runtimeInSeconds": 2},
                {"id": "j", "runtimeInSeconds": 0},
            ],
        },
    },
}  # fmt: skip


def changed(data, path, value):
    """A copy of JSON with one member set, or removed where the value is `...`."""
    copy = json.loads(json.dumps(data))
    place = copy
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


def written(folder, name, content):
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refusal(path):
    """What a file is told, without its name, with which the message begins."""
    with pytest.raises(InvalidWorkloadError) as caught:
        files.load_graph_file(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(".")
    return text.removeprefix(f"{path}: ")


# ----- job shops -----


def test_a_flexible_job_shop_becomes_chains_on_machines_that_some_operations_cannot_use(tmp_path):
    graph, platform = files.load_graph_file(written(tmp_path, "mine.fjs", FLEXIBLE))
    instance = bind(graph, platform)
    no = INFEASIBLE
    assert instance.run_time_us.tolist() == [[5, no, 4], [no, 7, no], [no, no, 9]]
    assert [(e.source, e.target, e.volume) for e in graph.edges] == [(0, 1, 0)]
    assert [task.name for task in graph.tasks] == ["job0_0", "job0_1", "job1_0"]
    assert graph.name == platform.name == "mine"


def test_a_classic_job_shop_is_told_from_a_flexible_one(tmp_path):
    graph, platform = files.load_graph_file(written(tmp_path, "ft06.txt", FT06))
    instance = bind(graph, platform)
    assert instance.feasible.sum(axis=1).tolist() == [1] * 36
    assert instance.least_run_time_us.sum() == 197
    assert instance.run_time_us[:3, [2, 0, 1]].diagonal().tolist() == [1, 3, 6]
    assert len(graph.edges) == 30


def test_every_shared_flexible_job_shop_has_the_operations_that_its_lines_promise(shared_data):
    paths = sorted((shared_data / "soc" / "fjsp").glob("*.txt"))
    assert len(paths) == 17
    for path in paths:
        (jobs, machines, *_), *rows = [[int(float(word)) for word in line.split()] for line in
                                       path.read_text().splitlines() if line.strip()]  # fmt: skip
        instance = library.get_instance(str(path))
        assert len(instance) == sum(row[0] for row in rows)
        assert len(instance.graph.heads) == len(instance.graph.tails) == jobs
        assert instance.elements == machines
        # A row is a count, then for each operation a count and pairs.
        assert 2 * instance.feasible.sum() == sum(len(row) - 1 - row[0] for row in rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        (" \n# only this\n", "the file is empty"),
        ("5\n1 1 0 5\n", "line 1 promises 5 tasks and two dummies, a line each; there are 1 lines"),
        ("two 3\n", "line 1: 'two' is not a whole number"),
        ("0 3\n", "line 1: 0 jobs on 3 machines; allowed are 1 job or more"),
        ("1 65\n1 1 0 5\n", "1 to 64 machines"),
        ("2 3\n1 1 0 5\n", "line 1 promises 2 jobs; the file ends in job 1, before the number of operations"),
        ("1 3\n1 1 0 5\n1 1 0 5\n", "line 3: 4 numbers more than the 1 jobs that line 1 promises need"),
        ("1 3\n1 2 0 5 1\n", "line 2 ends where a duration should be"),
        ("1 3\n2 1 0 5\n", "line 2 ends where the number of machines of operation 1 should be"),
        ("1 3\n1 1 0 5 7\n", "line 2 has 1 numbers more than its 1 operations need"),
        ("1 3\n1 0\n", "line 2, operation 0: 0 machines can run it; allowed are 1 to 3"),
        ("1 3\n1 4 0 5 1 5 2 5 0 5\n", "4 machines can run it"),
        ("1 3\n1 1 4 5\n", "line 2, operation 0: machine 4; machines are 0 to 2, or 1 to 3"),
        ("1 3\n1 2 1 5 1 5\n", "line 2, operation 0: machine 1 is given twice"),
        ("1 3\n1 1 0 -5\n", "the duration -5; durations are whole numbers of 0 to 536,870,912 us"),
        ("1 3\n\n1 1 0 2.5\n", "line 3: '2.5' is not a whole number"),
        ("1 3\n1 1 0 5_0\n", "line 2: '5_0' is not a whole number"),
        ("1 3\n1 1 0 99999999999999999999\n", "is not a whole number of up to 18 digits"),
        ("1 3\n-1\n", "-1 operations"),
        ("1 3\n0\n", "a task graph needs at least one task"),
        ("1 2\n0 5 2 5\n", "nor a classic one (it names the machines 0 and 2, of 2; count them from 0 or from 1)."),
        ("6 1\n" + ("1000 " + "1 0 1 " * 1000 + "\n") * 6, "6,000 tasks; at most 5,000 are supported"),
        (b"1 3\n1 1 0 5\xff\n", "line 2 is not UTF-8"),
        (b"1 3\n1 1 0 5\0\n", "line 2: '5\\x00' is not a whole number"),
    ],
)  # fmt: skip
def test_a_bad_job_shop_is_refused_with_the_line(tmp_path, content, message):
    assert message in refusal(written(tmp_path, "bad.txt", content))


# ----- our own format -----


def test_a_graph_file_says_what_its_members_say(tmp_path):
    graph, platform = files.load_graph_file(written(tmp_path, "radio.json", GRAPH))
    instance = bind(graph, platform)
    assert [task.name for task in graph.tasks] == ["a", "b", "c"]  # topological
    no = INFEASIBLE
    assert instance.run_time_us.tolist() == [[10, 10, 5], [7, 7, no], [7, 7, no]]
    assert [(e.source, e.target, e.volume) for e in graph.edges] == [(0, 1, 30), (0, 2, 55), (1, 2, 0)]
    assert instance.communication_us[1].tolist() == [[0, 11, 5], [11, 0, 5], [5, 5, 0]]
    assert platform.clusters[0].operating_points[1].dynamic_w == (0, 0.3, 0.5)
    assert (platform.name, platform.self_bandwidth, graph.source) == ("board", 10_000, "by hand")
    assert platform.base_w == 0.125
    assert not platform.has_power


@pytest.mark.parametrize(
    "name", ["top1", "wifi_rx", "temporal_mitigation", "random_20_3_ccr1_s1", "rows_2_9_s1"]
)  # fmt: skip
def test_a_written_graph_is_read_back_the_same(tmp_path, name):
    before = library.get_instance(name)
    path = tmp_path / "graph.json"
    files.write_graph_file(path, before.graph, before.platform)
    graph, platform = files.load_graph_file(path)
    after = library.get_instance(str(path))
    assert graph == before.graph
    used = {task.kernel for task in graph.tasks}
    assert platform.run_times == {kernel: before.platform.run_times[kernel] for kernel in used}
    for member in ("name", "clusters", "bandwidth", "default_bandwidth", "self_bandwidth", "base_w", "source"):
        assert getattr(platform, member) == getattr(before.platform, member)
    np.testing.assert_array_equal(after.run_time_us, before.run_time_us)
    np.testing.assert_array_equal(after.communication_us, before.communication_us)
    assert path.read_text().count("\n") > len(graph) + len(graph.edges)  # a line each, so that it can be compared


def test_a_graph_without_times_is_not_written(tmp_path):
    with pytest.raises(InvalidWorkloadError, match="top has no time for the kernel 'scrambler_encoder' of wifi_tx"):
        files.write_graph_file(tmp_path / "x.json", library.get_graph("wifi_tx"), library.get_platform("top"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "other", "neither a graph file"),
        (("name",), ..., "name is missing"),
        (("name",), 3, "name is 3; a text is needed"),
        (("tasks",), {}, "tasks is {}; a list is needed"),
        (("tasks",), [], "at least one task"),
        (("tasks", 0, "run_times_us"), ..., "tasks[0].run_times_us is missing"),
        (("tasks", 0, "run_times_us"), {}, "tasks[0].run_times_us is empty: no element can run the task 'c'"),
        (("tasks", 0, "run_times_us"), {"gpu": 1}, "run_times_us: there is no cluster 'gpu'; there are cpu, fft"),
        (("tasks", 0, "run_times_us", "cpu"), -1, "tasks[0].run_times_us.cpu is -1; allowed are 0 to 536,870,912"),
        (("tasks", 0, "run_times_us", "cpu"), 1.5, "tasks[0].run_times_us.cpu is 1.5; a whole number is needed"),
        (("tasks", 0, "run_times_us", "cpu"), True, "tasks[0].run_times_us.cpu is true; a whole number is needed"),
        (("tasks", 0, "run_times_us", "cpu"), 10**12, "allowed are 0 to"),
        (("tasks", 2, "run_times_us", "cpu"), 8, "tasks[2]: the kernel 'c' has other run times in a task before"),
        (("tasks", 1, "name"), "c", "two tasks are named 'c'"),
        (("tasks", 1, "runtime"), 3, "tasks[1].runtime is not known; allowed are name, kernel, run_times_us"),
        (("tasks", 1), "a", "tasks[1] is not an object"),
        (("edges", 0), ["a", "z", 3], 'edges[0]: there is no task "z"'),
        (("edges", 0), ["a", "b"], "edges[0] is"),
        (("edges", 0), ["a", "b", 2.5], "[task, task, whole number] is needed"),
        (("edges", 0, 2), -3, "edges[0]: the volume is -3; volumes are whole numbers of 0 to"),
        (("edges", 1), ["a", "b", 3], "the edge a > b is given twice"),
        (("edges", 1), ["b", "a", 3], "the edges form a cycle"),
        (("edges", 1), ["b", "b", 3], "the edges form a cycle"),
        (("edges", 1), ["a", "c", 3], "the edge a > c is given twice"),
        (("edges",), [["a", "b", 3]], "the tail c is not reached by every task; other ends: b"),
        (("tail",), "b", "the tail b is not reached by every task"),
        (("tail",), "z", "tail: there is no task 'z'"),
        (("platform",), ..., "platform is missing"),
        (("platform", "clusters"), [], "platform.clusters has 0 elements; allowed are 1 to 64"),
        (("platform", "clusters", 0, "elements"), 65, "platform.clusters[0].elements is 65; allowed are 1 to 64"),
        (("platform", "clusters", 1, "elements"), 64, "platform.clusters has 66 elements"),
        (("platform", "clusters", 1, "name"), "cpu", "platform.clusters[1]: two clusters are named 'cpu'"),
        (("platform", "clusters", 0, "operating_points", 1, "dynamic_w"), [0, 1], "has 2 numbers; 3 are needed"),
        (("platform", "clusters", 0, "operating_points", 1, "dynamic_w"), [0, 1, "x"], "dynamic_w.2 is"),
        (("platform", "clusters", 0, "operating_points", 1, "frequency_mhz"), 500, "frequencies must ascend"),
        (("platform", "clusters", 0, "operating_points", 0, "leakage_w"), -1, "leakage_w is -1"),
        (("platform", "bandwidth", 0), ["cpu", "gpu", 1], 'platform.bandwidth[0]: there is no cluster "gpu"'),
        (("platform", "bandwidth", 0, 2), 0, "bandwidths are whole numbers of 1 to"),
        (("platform", "bandwidth"), [["cpu", "fft", 1], ["fft", "cpu", 2]], "the pair fft, cpu is given twice"),
        (("platform", "self_bandwidth"), 0, "platform.self_bandwidth is 0"),
        (("platform", "base_w"), -0.1, "platform.base_w is -0.1"),
        (("platform", "memory"), 0, "platform.memory is not known"),
        (("colour",), 0, "colour is not known"),
    ],
)  # fmt: skip
def test_a_bad_graph_file_is_refused_with_the_member(tmp_path, path, value, message):
    assert message in refusal(written(tmp_path, "bad.json", changed(GRAPH, path, value)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        (json.dumps(GRAPH, indent=1)[:-40], "is not JSON"),
        ('{\n"name": 1,\n"tasks" 2}', "line 3 is not JSON"),
        ("[1]", "neither a graph file"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": NaN}', "the number NaN is not allowed"),
        ('{"a": 1, "a": 2}', "the member 'a' is given twice"),
        ('{"a": ' + "9" * 5000 + "}", "a number is too large"),
        (b'{"a": "\xe9"}', "line 1 is not UTF-8"),
    ],
)
def test_a_file_that_is_not_json_is_refused_with_the_line(tmp_path, content, message):
    assert message in refusal(written(tmp_path, "bad.json", content))


@pytest.mark.slow
def test_graphs_above_the_limits_are_refused_with_the_limit(tmp_path):
    tasks = [{"name": f"t{i}", "run_times_us": {"cpu": 1}} for i in range(5001)]
    assert "5,001 tasks; at most 5,000 are supported" in refusal(
        written(tmp_path, "a.json", changed(GRAPH, ("tasks",), tasks))
    )
    edges = [["a", "b", 1]] * 1_000_001
    assert "1,000,001 edges; at most 1,000,000 are supported" in refusal(
        written(tmp_path, "b.json", changed(GRAPH, ("edges",), edges))
    )


def test_a_graph_of_as_many_tasks_as_allowed_is_read(tmp_path):
    tasks = [{"name": f"t{i}", "run_times_us": {"cpu": 1}} for i in range(5000)]
    edges = [[f"t{i}", f"t{i + 1}", 1] for i in range(4999)]
    data = {**GRAPH, "tasks": tasks, "edges": edges, "tail": "t4999"}
    graph, _ = files.load_graph_file(written(tmp_path, "long.json", data))
    assert (len(graph), len(graph.edges)) == (5000, 4999)


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path):
    assert refusal(tmp_path / "none.json") == "there is no such file."
    assert refusal(tmp_path / "none.txt") == "there is no such file."
    known = "as graph of SocSchedulingStatic, dsegym reads dsegym's task graph, a recorded workflow (WfFormat), "
    assert known in refusal(written(tmp_path, "x.csv", "one,two\n3,4\n"))
    assert library.is_graph_file("a/b.JSON")
    assert library.is_graph_file("b.anything")
    assert not library.is_graph_file("top1")
    assert not library.is_graph_file("top11")


def test_times_too_long_for_a_schedule_are_refused_with_the_file(tmp_path):
    path = written(tmp_path, "long.json", changed(GRAPH, ("tasks", 1, "run_times_us"), {"cpu": MAX_TOTAL_US}))
    with pytest.raises(InvalidWorkloadError, match=re.escape(f"{path}: radio: a schedule could take")):
        library.get_instance(str(path))


# ----- workflows -----


def test_a_workflow_has_its_recorded_times_and_the_bytes_that_tasks_hand_on(tmp_path):
    path = written(tmp_path, "shop.json", WORKFLOW)
    graph, platform = files.load_graph_file(path)
    instance = bind(graph, platform)
    assert [task.name for task in graph.tasks] == ["s", "x", "y", "j"]
    assert [(e.source, e.target, e.volume) for e in graph.edges] == [
        (0, 1, 1000),
        (0, 2, 1200),
        (1, 3, 50),
        (2, 3, 0),
    ]
    # 3.1 us become 4 at speed 1, and 2 and 1 at speeds 2 and 4.
    assert instance.run_time_us[:, [0, 2, 3]].tolist() == [
        [1000, 500, 250],
        [4, 2, 1],
        [2_000_000, 1_000_000, 500_000],
        [0, 0, 0],
    ]
    assert instance.communication_us[0, 0, 1] == 8  # 1000 bytes at 125 bytes/us
    assert "synthetic" in platform.source
    assert graph.source == "workflow recording, shop.json"


def test_version_1_6_is_read_as_well(tmp_path):
    newer = written(tmp_path, "newer.json", changed(WORKFLOW, ("schemaVersion",), "1.6"))
    graph, platform = files.load_graph_file(newer)
    assert bind(graph, platform).run_time_us[:, 0].tolist() == [1000, 4, 2_000_000, 0]


def test_long_recordings_count_their_time_in_a_coarser_unit(tmp_path):
    hours = ("workflow", "execution", "tasks", 2, "runtimeInSeconds")
    path = written(tmp_path, "shop.json", changed(WORKFLOW, hours, 36_000))
    graph, platform = files.load_graph_file(path)
    instance = bind(graph, platform)
    assert "counted in steps of 1,000 us" in graph.source
    assert platform.tick_us == 1000
    assert instance.run_time_us[2].tolist() == [36_000_000, 36_000_000, 18_000_000, 9_000_000]
    assert instance.run_time_us[0, 0] == 1  # 0.001 s
    assert platform.default_bandwidth == 125_000  # bytes per 1000 us


TASKS, RUNS = ("workflow", "specification", "tasks"), ("workflow", "execution", "tasks")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schemaVersion",), "2.0", "schemaVersion is '2.0'; supported are 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6"),
        (("schemaVersion",), ..., "schemaVersion is missing"),
        (("workflow",), [], "workflow is []; an object is needed"),
        (("workflow", "specification"), ..., "workflow.specification is missing"),
        (("workflow", "execution"), ..., "workflow.execution is missing"),
        (RUNS, [], "workflow.specification.tasks[0]: the task 's' has no run time in workflow.execution.tasks"),
        ((*RUNS, 1, "id"), "s", "workflow.execution.tasks[1]: two tasks have the id 's'; ids are unique"),
        ((*RUNS, 1, "runtimeInSeconds"), ..., "workflow.execution.tasks[1].runtimeInSeconds is missing"),
        ((*RUNS, 1, "runtimeInSeconds"), -1, "workflow.execution.tasks[1].runtimeInSeconds is -1"),
        ((*RUNS, 1, "runtimeInSeconds"), "1 s", 'runtimeInSeconds is "1 s"'),
        ((*RUNS, 1, "runtimeInSeconds"), 1e300, "runtimeInSeconds is 1e+300"),
        ((*TASKS, 1, "id"), ..., "workflow.specification.tasks[1].id is missing"),
        ((*TASKS, 1, "id"), "s", "two tasks are named 's'"),
        ((*TASKS, 1, "parents"), ["q"], "workflow.specification.tasks[1].parents: there is no task 'q'"),
        ((*TASKS, 1, "parents"), "s", 'workflow.specification.tasks[1].parents is "s"; a list is needed'),
        ((*TASKS, 1, "parents"), [3], "workflow.specification.tasks[1].parents is not a list of texts"),
        ((*TASKS, 1, "inputFiles"), ["none"], "workflow.specification.tasks[1].inputFiles: there is no file 'none'"),
        ((*TASKS, 0, "parents"), ["j"], "the edges form a cycle"),
        (("workflow", "specification", "files", 1, "id"), "in",
         "workflow.specification.files[1]: two files have the id 'in'; ids are unique"),
        (("workflow", "specification", "files", 1, "sizeInBytes"), -1, "specification.files[1].sizeInBytes is -1"),
        (TASKS, [], "at least one task"),
    ],
)  # fmt: skip
def test_a_bad_workflow_is_refused_with_the_member(tmp_path, path, value, message):
    assert message in refusal(written(tmp_path, "bad.json", changed(WORKFLOW, path, value)))
