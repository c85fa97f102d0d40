"""Task graphs as the collections of the field write them: numberings, layouts, units, versions."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from dsegym.costmodels.errors import InvalidWorkloadError
from dsegym.costmodels.soc import library, model
from dsegym.costmodels.soc.heuristics import run_heuristic
from dsegym.costmodels.soc.instance import bind
from dsegym.costmodels.soc.workflow import read_workflow


@pytest.fixture
def written(tmp_path):
    def write(name, content):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(tmp_path / name)

    return write


def refusal(path, *options):
    with pytest.raises(InvalidWorkloadError) as caught:
        library.get_instance(path, *options)
    return str(caught.value)


def times_of(instance):
    """{task: {element: us}}, with the elements' names."""
    names = instance.platform.element_names
    return {
        task.name: {names[q]: int(row[q]) for q in np.flatnonzero(row >= 0)}
        for task, row in zip(instance.graph.tasks, instance.run_time_us, strict=True)
    }


# ----- job shops -----

JOBS = [[(1, 3), (0, 5), (2, 4)], [(0, 2), (2, 6), (1, 7)]]  # (machine, duration)
SHOP = {f"job{j}_{k}": {f"M{machine}": us} for j, job in enumerate(JOBS) for k, (machine, us) in enumerate(job)}


def pairs(first, separator=" "):
    return [separator.join(f"{machine + first} {us}" for machine, us in job) for job in JOBS]


def flexible(first):
    return [f"{len(job)} " + "  ".join(f"1 {machine + first} {us}" for machine, us in job) for job in JOBS]


def matrices(first, titles=("", "")):
    times = [" ".join(str(us) for _, us in job) for job in JOBS]
    machines = [" ".join(str(machine + first) for machine, _ in job) for job in JOBS]
    return "\n".join([titles[0], *times, titles[1], *machines]) + "\n"


OR_LIBRARY = """\
 +++++++++++++++++++++++++++++
 instance tiny
 Adams, Balas, and Zawack 2x3 instance (Table 1, instance 5)
"""
JSPLIB = "#+++++\n# instance tiny\n#+++++\n"
TAILLARD = """\
Nb of jobs, Nb of Machines, Time seed, Machine seed, Upper bound, Lower bound
   2   3   840612802  398197754  1231  1005
"""
LAYOUTS = {
    "JSPLIB": (0, JSPLIB + "2 3\n" + "\n".join(pairs(0)) + "\n"),
    "OR-Library": (0, OR_LIBRARY + " 2 3\n " + " \n ".join(pairs(0, "  ")) + " \n"),
    "classic from 1": (1, "2 3\n" + "\n".join(pairs(1)) + "\n"),
    "classic, wrapped": (0, "2 3\n" + "\n".join(" ".join(pairs(0)).split()) + "\n"),
    "classic, floats and tabs": (0, "2.0\t3\n" + "\n".join(line.replace(" ", ".0\t") for line in pairs(0)) + "\r\n"),
    "flexible from 0": (0, "2 3 1.5\n" + "\n".join(flexible(0)) + "\n"),
    "flexible from 1": (1, "2 3 1\n\n" + "\n\n".join(flexible(1)) + "\n\n"),
    "flexible, wrapped": (1, "2   3   1.0 \n" + "\n".join(" ".join(flexible(1)).split()) + "\n"),
    "flexible, comments": (1, "# a shop\n2 3 # jobs machines\n" + " # one\n".join(flexible(1)) + " # two\n"),
    "Taillard's": (1, TAILLARD + matrices(1, ("Times", "Machines"))),
    "Taillard's, machines first": (
        1,
        "2 3\nMachines\n2 1 3\n1 3 2\n-----\nTimes:\n3 5 4\n2 6 7\n",
    ),
    "OR-Library with a rule at its end": (
        0,
        OR_LIBRARY + " 2 3\n" + "\n".join(pairs(0)) + "\n +++++++++\n and so on\n",
    ),
    "Taillard's without words": (1, "2 3\n" + matrices(1)),
    "Taillard's from 0": (0, "2 3\n" + matrices(0)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", ["", ".txt"])
def test_one_shop_is_the_same_in_every_layout_and_numbering(written, layout, suffix):
    first, text = LAYOUTS[layout]
    instance = library.get_instance(written(f"tiny{suffix}", text))
    shifted = {task: {f"M{int(m[1:]) + first}": us for m, us in times.items()} for task, times in SHOP.items()}
    assert times_of(instance) == shifted
    assert [(e.source, e.target, e.volume) for e in instance.graph.edges] == [
        (0, 1, 0),
        (1, 2, 0),
        (3, 4, 0),
        (4, 5, 0),
    ]
    assert instance.platform.element_names == tuple(f"M{machine + first}" for machine in range(3))


def test_a_shop_that_names_neither_end_has_the_same_makespan_in_both_numberings(written):
    zero, one = (f"1 4 1\n2 1 {m} 5 2 {m} 3 {m + 1} 4\n" for m in (0, 3))
    neither = "1 4 1\n2 1 1 5 2 1 3 2 4\n"
    found = [library.get_instance(written(f"{k}.fjs", text)) for k, text in enumerate((zero, one, neither))]
    assert [run_heuristic("heft", instance).makespan_us for instance in found] == [8, 8, 8]
    assert [instance.elements for instance in found] == [4, 4, 4]
    assert found[2].platform.element_names[0] == "M1"  # as the literature counts


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.fjs", "2 2\n1 1 0 5\n1 1 2 7\n", "it names the machines 0 and 2, of 2; count them from 0 or from 1"),
        ("a.jsp", "2 2\n0 5 1 6\n0 5\n", "line 3 has 2 numbers; a pair for each of 2 machines is 4"),
        ("a.jsp", "1 2\n0 5 1 3.5\n", "line 2: '3.5' is not a whole number"),
        ("a.fjs", "1 2\n2 1 1 5 1 2 6\n0 3\n3 0\n", "4 numbers more than the 1 jobs that line 1 promises need; setup"),
        ("a.txt", "1 2\nTimes\n5 6\nMachines\n1 1\n", "the job has been on machine 1 before"),
        ("a.txt", "1 2\n5 6\nwhat\n1 2\n", "line 3: 'what' is not a whole number"),
        ("a.jsp", "1 2\nTimes\n5 6 1\nMachines\n2\n", "3 numbers before 'machines' of line 4; 1 x 2 are 2"),
        ("a.txt", "1 2\n0 5 1 6\n+++++\n instance b\n+++++\n1 2\n0 5 1 6\n", "line 6: numbers follow the rule of"),
        ("a.txt", "1 2\nTimes\n5 6\nMachines\n1 2\nNb of jobs, Nb of Machines\n1 2\nTimes\n5 6\nMachines\n1 2\n",
         "line 6: 'Nb of jobs, Nb of Machines' begins another; where a file holds several instances, keep one"),
        ("a.txt", "1 2\nTimes\n5 6\nMachines\n1 2\n1 2\nTimes\n5 6\nMachines\n1 2\n",
         "holds several instances, keep one"),
        ("a.txt", "1 2 x\n0 5 1 5\n", "line 1: 'x' is not a number"),
        ("a.txt", "9999 2\n0 5 1 5\n", "9,999 jobs; at most 5,000 are supported"),
        ("a.txt", "1 2\n0 0 1 0\n", "no task takes any time"),
    ],
)  # fmt: skip
def test_a_shop_that_is_none_is_refused_by_its_own_kind(written, name, text, message):
    assert message in refusal(written(name, text))


# ----- the Standard Task Graph Set -----

STG = "   4\n" + "\n".join(
    "  ".join(map(str, row))
    for row in [(0, 0, 0), (1, 5, 1, 0), (2, 7, 1, 0), (3, 4, 2, 1, 2), (4, 3, 1, 2), (5, 0, 2, 3, 4)]
) + "\n# Processors : 2\n"  # fmt: skip


def test_a_standard_task_graph_has_its_times_and_edges_and_no_communication(written):
    instance = library.get_instance(written("rand.stg", STG), "equal_2")
    assert instance.least_run_time_us.tolist() == [0, 5, 7, 4, 3, 0]
    assert [(e.source, e.target) for e in instance.graph.edges] == [
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 3),
        (2, 4),
        (3, 5),
        (4, 5),
    ]
    assert not instance.communication_us.any()
    assert instance.platform.element_names == ("M.0", "M.1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("   4\n", "   5\n"), "line 1 promises 5 tasks and two dummies, a line each; there are 6 lines"),
        (("3  4  2  1  2", "3  4  3  1  2"), "line 5: task 3 has 3 predecessors; 2 are named"),
        (("3  4  2  1  2", "3  4  2  1  9"), "line 5: there is no task 9"),
        (("3  4  2  1  2", "2  4  2  1  2"), "line 5: task 2 is given twice"),
        (("3  4  2  1  2", "3 -4  2  1  2"), "line 5: the time of task 3 is '-4'; a time is a number from 0"),
        (("1  5  1  0", "1  5  1  3"), "the edges form a cycle"),
        (("1  5  1  0", "1  5"), "line 3: a task has a number, a time, how many predecessors, and which"),
    ],
)
def test_a_broken_standard_task_graph_is_refused_with_the_line(written, change, message):
    assert message in refusal(written("rand.stg", STG.replace(*change)))


@pytest.mark.parametrize("title", ["my graph", "rand0001", "a\n\nb c\u2028d", "# 7"])
def test_titles_above_a_standard_task_graph_are_skipped(written, title):
    instance = library.get_instance(written("rand.stg", f"{title}\n{STG}"), "equal_2")
    assert instance.least_run_time_us.tolist() == [0, 5, 7, 4, 3, 0]


def test_a_standard_task_graph_without_a_count_is_refused(written):
    assert "it holds no number" in refusal(written("rand.stg", "my graph\n"))
    assert "line 1: 'graph 4' stands where the number of tasks" in refusal(written("rand.stg", "graph 4\n"))


# ----- DOT -----

DOT = """\
/* a graph */ strict digraph "my graph" {
  rankdir = LR;  // of no meaning
  graph [label="tasks"]; node [shape=box, Weight=2]; edge [style="dashed"]
  # a comment
  a [Weight=5, label="the \\"first\\" task"];
  "b 1"; c
  subgraph cluster_0 { d [Weight="4"] ; label = "x"; }
  a -> "b 1" -> c [Weight=3];
  {c a}:n -> d;
}
"""


def test_a_dot_graph_has_weights_defaults_chains_and_groups(written):
    text = DOT.replace("}:n", "}")
    instance = library.get_instance(written("g.dot", text), "equal_2")
    assert times_of(instance) == {
        name: dict.fromkeys(("M.0", "M.1"), us) for name, us in {"a": 5, "b 1": 2, "c": 2, "d": 4}.items()
    }
    names = [task.name for task in instance.graph.tasks]
    edges = {(names[e.source], names[e.target]): e.volume for e in instance.graph.edges}
    assert edges == {("a", "b 1"): 3, ("b 1", "c"): 3, ("c", "d"): 0, ("a", "d"): 0}
    assert instance.communication_us[0, 0].tolist() == [0, 3]


def test_fractions_of_a_dot_graph_are_counted_in_finer_ticks(written):
    instance = library.get_instance(written("g.gv", "digraph{a[time=0.25];b[time=1.5];a->b[delay=.5]}"), "equal_1")
    assert float(instance.platform.tick_us) == 0.01
    assert instance.least_run_time_us.tolist() == [25, 150]
    assert instance.graph.edges[0].volume == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digraph { a [weight=5]; b }", "node 'b' has no run time (it has no attribute); give one of weight, time"),
        ("digraph { a [size=5] }", "node 'a' has no run time (it has size); give one of weight"),
        ("digraph { a [weight=5, time=4] }", "node 'a' has weight and time; one time is needed"),
        ("digraph { a [weight=five] }", "weight of node 'a' is 'five'; a time is a number"),
        ("digraph { a [weight=-5] }", "weight of node 'a' is '-5'; a time is a number"),
        ("digraph { a [weight=5] b [weight=5] a -> b [label=7] }", "edge a -> b has a label that is a number"),
        ('digraph { a [weight=5] b [weight=5] a -> b [weight=1, label="30"] }', "a label that is another number, 30"),
        ("graph { a -- b }", "an undirected graph has no order"),
        ("digraph { a [weight=1] b [weight=1] a -- b }", "an undirected edge"),
        ("digraph { a [weight=5]", "line 1: 'the end' stands where"),
        ("digraph { a [weight=1]\n b [weight=%] }", "line 2: '%] }' is not DOT"),
        ("digraph { a [weight=1]; a -> a }", "the edges form a cycle"),
        ("digraph { a [weight=1]; b [weight=1]; a -> b; a -> b }", "the edge a > b is given twice"),
        ("digraph { }", "a task graph needs at least one task"),
        ("digraph { a [weight=0] }", "no task takes any time"),
        ("digraph { " + "{" * 5000, "nested too deeply"),
    ],
)  # fmt: skip
def test_a_dot_graph_that_does_not_say_its_times_is_refused(written, text, message):
    assert message in refusal(written("g.dot", text))


# ----- TGFF -----

TGFF = """\
@HYPERPERIOD 300

@COMMUN 0 {
# price
10
#------
# type    exec_time
  0       3
  1       1.5
}

@TASK_GRAPH 0 {
\tPERIOD 300

\tTASK t0_0\tTYPE 1
\tTASK t0_1\tTYPE 0
\tTASK t0_2\tTYPE 1

\tARC a0_0 \tFROM t0_0  TO  t0_1 TYPE 0
\tARC a0_1 \tFROM t0_0  TO  t0_2 TYPE 1

\tHARD_DEADLINE d0_0 ON t0_1 AT 300
}

@PE 0 {
# price      area
  79.0597    0.219023
#----------------------
# type version valid task_time preempt_time
  0    0       1     10        1
  1    0       1     7.5       1
  1    1       1     7         1
}

@PE 1 {
# price      area
  72.405     0.166029
# type version valid task_time preempt_time
  0    0       0     1         1
  1    0       1     9         1
}
"""


def test_a_tgff_file_has_a_table_for_each_element_and_ticks_that_hold_its_times(written):
    instance = library.get_instance(written("a.tgff", TGFF))
    assert instance.platform.element_names == ("PE0", "PE1")
    assert float(instance.platform.tick_us) == 0.1
    assert times_of(instance) == {
        "t0_0": {"PE0": 70, "PE1": 90},
        "t0_1": {"PE0": 100},
        "t0_2": {"PE0": 70, "PE1": 90},
    }
    assert instance.communication_us[0].tolist() == [[0, 30], [30, 0]]
    assert instance.communication_us[1].tolist() == [[0, 15], [15, 0]]
    assert "deadlines are not modelled" in instance.graph.source


def test_the_graphs_of_a_tgff_file_are_one_and_quantities_may_stand_for_times(written):
    text = "@COMMUN_QUANT 0 {\n0 4\n}\n" + "".join(
        f"@TASK_GRAPH {k} {{\nTASK src TYPE 1\nTASK dst TYPE 1\nARC a FROM src TO dst TYPE 0\n}}\n" for k in range(2)
    )
    instance = library.get_instance(written("a.tgff", text + "@PROC 0 {\n# type task_time\n1 5\n}\n"))
    assert [task.name for task in instance.graph.tasks] == ["g0.src", "g0.dst", "g1.src", "g1.dst"]
    assert [(e.source, e.target, e.volume) for e in instance.graph.edges] == [(0, 1, 4), (2, 3, 4)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("TO  t0_1 TYPE 0", "TO  t0_9 TYPE 0"), "line 19: an arc names the task 't0_9', which is not there"),
        (("TO  t0_1 TYPE 0", "TO  t0_1 TYPE 7"), "is of type 7, which no table has"),
        (("TASK t0_1\tTYPE 0", "TASK t0_1\tTYPE 5"), "no table has a time for the type 5 of the task 't0_1'"),
        (("TASK t0_1\tTYPE 0", "TASK t0_0\tTYPE 0"), "line 16: two tasks are named 't0_0'"),
        (("TASK t0_1\tTYPE 0", "TASK t0_1"), "line 16: 'TASK t0_1' is neither a TASK with its TYPE"),
        (("1     10        1", "1     ten       1"), "line 30: table PE0, type 0: task_time is 'ten'"),
        (("task_time", "price"), "line 30: table PE0 has no column of times"),
        (("  1    0       1     7.5", "  1.5  0       1     7.5"), "line 31: '1.5' is not a whole number"),
        (("  1    0       1     7.5", "  1    0       no    7.5"), "line 31: 'no' is not a whole number"),
        (("  0       3\n", "  0       3\n  0x      4\n"), "line 9: '0x' is not a whole number"),
        (("@PE 1", "@PE 0"), "line 35: there are two tables PE0"),
    ],
)  # fmt: skip
def test_a_broken_tgff_file_is_refused(written, change, message):
    assert message in refusal(written("a.tgff", TGFF.replace("preempt_time", "area").replace(*change)))


LINKED = """\
@TASK_GRAPH 0 {
TASK a TYPE 1
TASK b TYPE 1
ARC c FROM a TO b TYPE 0
}
@PE 0 {
# type exec_time
  1    5
}
@PE 1 {
# type exec_time
  1    6
}
"""


@pytest.mark.parametrize("name", ["COMMUN", "COMM", "Comm_link", "LINK", "BUS"])
@pytest.mark.parametrize("column", ["exec_time", "trans_time", "time"])
def test_a_table_of_links_is_no_processing_element(written, name, column):
    instance = library.get_instance(written("a.tgff", LINKED + f"@{name} 0 {{\n# type {column}\n#-----\n0 4\n}}\n"))
    assert instance.platform.element_names == ("PE0", "PE1")
    assert [(e.source, e.target, e.volume) for e in instance.graph.edges] == [(0, 1, 4)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("@WIRE 0 {\n# type trans_time\n0 4\n}\n", "line 16: table WIRE0 has no column of times; a processing"),
        ("@PE 2 {\n1 4\n}\n", "line 14: table PE2 has no row below a header such as # type exec_time"),
        ("@LINK 0 {\n# type time\n}\n", "table LINK0 has no row below a header"),
        ("@PE 2 {\n# type exec_time\n1 4\n# the others\n0 4\n}\n", "line 18: table PE2: 2 numbers below 'the others'"),
        ("@PE 2 {\n# type exec_time (cycles)\n1 4\n}\n", "the unit of exec_time is 'cycles'; units are ns, us"),
        ("@PE 2 {\n# type exec_time_cycles\n1 4\n}\n", "the unit of exec_time_cycles is 'cycles'; units are ns"),
        ("@BUS 0 {\n# type time\n0 4\n}\n@BUS 1 {\n# type time\n0 5\n}\n", "table BUS1 has other times than the links"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_known_is_refused(written, table, message):
    assert message in refusal(written("a.tgff", LINKED + table))


@pytest.mark.parametrize("rule", ["#-----", "# ======", "#", "# - - -", "#####"])
@pytest.mark.parametrize(
    "header",
    ["# type exec_time", "# type exec_time (us)", "# type exec_time(us)", "# type exec_time_us", "# Type, Exec-Time"],
)
def test_rules_and_units_of_a_table_are_no_columns(written, rule, header):
    text = LINKED.replace("# type exec_time", f"{header}\n{rule}")
    assert times_of(library.get_instance(written("a.tgff", text)))["a"] == {"PE0": 5, "PE1": 6}


@pytest.mark.parametrize(
    ("header", "us"), [("exec_time (ms)", 5000), ("exec_time_ms", 5000), ("task_time [s]", 5_000_000)]
)
def test_a_unit_of_a_table_is_read(written, header, us):
    text = LINKED.replace("# type exec_time", f"# type {header}")
    instance = library.get_instance(written("a.tgff", text))
    assert times_of(instance)["a"]["PE0"] * instance.platform.tick_us == us


@pytest.mark.parametrize("no", ["0", "0.0", "00", "0e0", "-0"])
def test_a_version_that_is_not_valid_is_left_out_however_its_nought_is_written(written, no):
    row = "  1    1       1     7  "
    instance = library.get_instance(written("a.tgff", TGFF.replace(row, row.replace("1     7", f"{no}   7"))))
    assert times_of(instance)["t0_0"] == {"PE0": 75, "PE1": 90}


def test_quantities_of_one_type_are_given_once(written):
    text = "@COMMUN_QUANT 0 {\n0 4\n0 5\n}\n@TASK_GRAPH 0 {\nTASK a TYPE 1\n}\n@PE 0 {\n# type time\n1 5\n}\n"
    assert "line 3: table COMMUN_QUANT0 gives the type 0 twice" in refusal(written("a.tgff", text))


# ----- workflows before 1.5 -----


@pytest.mark.parametrize(("runtime", "size"), [("runtime", "size"), ("runtimeInSeconds", "sizeInBytes")])
@pytest.mark.parametrize("key", ["tasks", "jobs"])
@pytest.mark.parametrize("by", ["name", "id"])
def test_older_workflows_say_the_same_in_other_words(written, runtime, size, key, by):
    names = {"make": "make_1" if by == "name" else "ID1", "use": "use_2" if by == "name" else "ID2"}
    file = {"name": "data", size: 1_000_000}
    tasks = [
        {"name": "make_1", "id": "ID1", runtime: 0.5, "parents": [], "children": [names["use"]],
         "files": [{"link": "output", **file}]},
        {"name": "use_2", "id": "ID2", runtime: 0.25, "parents": [names["make"]], "files": [{"link": "input", **file}]},
    ]  # fmt: skip
    instance = library.get_instance(written("old.json", {"schemaVersion": "1.3", "workflow": {key: tasks}}))
    assert [task.name for task in instance.graph.tasks] == ["make_1", "use_2"]
    assert [(e.source, e.target, e.volume) for e in instance.graph.edges] == [(0, 1, 1_000_000)]
    assert instance.run_time_us[:, 0].tolist() == [500_000, 250_000]


@pytest.mark.parametrize(
    "tasks",
    [
        [("a", "b"), ("b", "c")],  # a name that is another task's id
        [("a", "x"), ("b", "x")],  # one id twice
        [("a", "1"), ("a", "2")],  # one name twice
    ],
)
def test_a_parent_of_an_older_workflow_that_may_be_two_tasks_is_refused(written, tasks):
    twice = next(name for name in ("b", "x", "a") if sum(name in task for task in tasks) == 2)
    entries = [{"name": name, "id": ident, "runtime": 1} for name, ident in tasks]
    entries.append({"name": "end", "id": "9", "runtime": 1, "parents": [twice]})
    with pytest.raises(InvalidWorkloadError, match=rf"tasks\[2\].parents: '{twice}' names two tasks"):
        library.get_instance(written("old.json", {"schemaVersion": "1.3", "workflow": {"tasks": entries}}))


def test_a_workflow_of_2_000_tasks_with_a_join_of_all_is_read_in_a_time_that_grows_with_it():
    tasks = [{"id": f"t{i}", "parents": [], "outputFiles": [f"f{i}"]} for i in range(2000)]
    tasks.append({"id": "end", "parents": [task["id"] for task in tasks], "inputFiles": [f"f{i}" for i in range(2000)]})
    data = {
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {"tasks": tasks, "files": [{"id": f"f{i}", "sizeInBytes": 10} for i in range(2000)]},
            "execution": {"tasks": [{"id": task["id"], "runtimeInSeconds": 1} for task in tasks]},
        },
    }
    graph, platform = read_workflow(Path("join.json"), data)
    assert {edge.volume for edge in graph.edges} == {10}
    arrays = model.arrays(bind(graph, platform))
    assert arrays.predecessor.size < 64 * (len(graph) + len(graph.edges))  # a row of them all would be N x N


# ----- graphs of which some tasks have many predecessors -----


@pytest.mark.minutes
def test_tasks_with_several_rows_of_predecessors_are_scheduled_as_with_one(monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("random_20_3_ccr1_s1", "random_30_3_ccr5_s1", "wifi_rx"):
        instance = library.get_instance(name)
        ranks = rng.integers(0, len(instance), len(instance)).astype(np.int32)
        found = []
        for widest in (64, 1, 2):
            monkeypatch.setattr(model, "WIDEST", widest)
            arrays = model.arrays(instance)
            order = model.effective_order(arrays, ranks)
            placement = model.schedule_earliest(arrays, arrays.run_time[0], order)
            given = model.schedule(arrays, arrays.run_time[0], order, placement.element[:-1])
            finishes = model.all_finish_times(arrays, arrays.run_time[0], placement)
            each = [model.finish_times(arrays, arrays.run_time[0], placement, i) for i in range(len(instance))]
            np.testing.assert_array_equal(finishes, np.stack(each))
            found.append([np.asarray(part) for part in (order, *placement, *given, finishes)])
        for other, part in itertools.product((1, 2), range(len(found[0]))):
            np.testing.assert_array_equal(found[other][part], found[0][part])
