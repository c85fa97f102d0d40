"""The leaderboard's hypervolume and attainment: closed forms, the page's values, and their verification."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import polars
import pytest

import dsegym
from dsegym.experiments.batches import stored_trials
from dsegym.experiments.publish import board_of
from dsegym.experiments.report.text import to_json, to_markdown
from dsegym.experiments.scoring.attainment import attainment_of
from dsegym.experiments.scoring.instance_fronts import front_tables, instance_fronts
from dsegym.experiments.scoring.scored_trials import read_trials
from dsegym.experiments.suite_note import read_suite

SHARES = ("attained_by_some", "attained_by_half", "attained_by_all", "near_by_half")


@pytest.fixture(scope="module")
def board(finished, tmp_path_factory):
    """The tiny suite's results with their leaderboard; what is changed is put back."""
    results = shutil.copytree(finished, tmp_path_factory.mktemp("fronts") / "results")
    dsegym.publish(results)
    return results / "leaderboard"


@pytest.fixture(scope="module")
def told(board):
    """The one front of the leaderboard's JSON."""
    (front,) = json.loads((board / "leaderboard.json").read_text(encoding="utf-8"))["fronts"]
    return front


@pytest.fixture(scope="module")
def trials(finished):
    return [found for _, found in stored_trials(finished, read_suite(finished)["trials"])]


@pytest.fixture(scope="module")
def instances(finished, trials):
    return board_of([finished], [read_suite(finished)], trials).instances


@pytest.fixture(scope="module")
def problem():
    return dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="alexnet", area_budget="small")


def with_designs(trial, designs):
    """The trial, had it costed these designs."""
    return SimpleNamespace(manifest=trial.manifest, trace=polars.DataFrame({"design": np.asarray(designs).tolist()}))


def test_where_all_costed_the_reference_alone_each_attains_its_front_of_an_eighth_of_the_box(
    trials, instances, problem
):
    own = [problem.reference.design]
    (table,) = front_tables(instance_fronts(instances, [with_designs(t, own) for t in trials], read_trials(trials)))
    assert (table.kind, table.designs, table.reference) == ("best known", 1, problem.reference.name)
    assert table.hypervolume == pytest.approx(1 / 2**3)
    costs = problem.evaluate(np.array(own)).metrics
    assert table.reference_point == pytest.approx({name: 2 * getattr(costs, name)[0] for name in problem.front})
    assert [(row.agent, row.trials, row.seeds) for row in table.scores] == [
        ("genetic_algorithm", 2, (0, 1)),
        ("random_search", 2, (0, 1)),
    ]
    for row in table.scores:
        volumes = row.relative_hypervolume, row.relative_hypervolume_low, row.relative_hypervolume_high
        assert volumes == pytest.approx((1, 1, 1))
        assert [getattr(row, name) for name in SHARES] == [1, 1, 1, 1]


def test_whose_trials_cost_the_reference_alone_has_an_eighth_of_the_box_relative_to_the_front(
    trials, instances, problem
):
    def mine(trial):
        if trial.manifest["trial"]["agent"]["name"] == "random_search":
            return with_designs(trial, [problem.reference.design])
        return with_designs(trial, problem.space.sample(np.random.default_rng(trial.manifest["trial"]["seed"]), 2000))

    (table,) = front_tables(instance_fronts(instances, [mine(trial) for trial in trials], read_trials(trials)))
    (row,) = [row for row in table.scores if row.agent == "random_search"]
    assert table.hypervolume > 1 / 8
    assert row.relative_hypervolume == pytest.approx(1 / 8 / table.hypervolume)
    assert row.relative_hypervolume_low == row.relative_hypervolume_high == row.relative_hypervolume
    assert table.scores[0].agent == "genetic_algorithm"


def test_a_front_is_named_by_the_options_that_are_not_defaults(board, told):
    defaults = dsegym.load_scenario("dsegym/AcceleratorSizing-v0").resolve({})
    options = {name: text for name, text in told["options"].items() if text != defaults[name]}
    assert told["options"].keys() > options.keys() > set()
    assert told["name"] == f"dsegym/AcceleratorSizing-v0 ({', '.join(f'{k}={v}' for k, v in options.items())})"


def test_the_values_are_those_of_attainment(trials, instances, problem, told):
    designs = {
        agent: [np.array(t.trace["design"].to_list()) for t in trials if t.manifest["trial"]["agent"]["name"] == agent]
        for agent in ("genetic_algorithm", "random_search")
    }
    found = attainment_of(problem, designs)
    (table,) = front_tables(instance_fronts(instances, trials, read_trials(trials)))
    assert (table.designs, table.hypervolume) == (len(found.front.designs), found.front.hypervolume)
    assert [(row.agent, row.relative_hypervolume) for row in table.scores] == [
        (row.agent, row.hypervolume) for row in found.agents
    ]
    for row, mine, json_row in zip(table.scores, found.agents, told["scores"], strict=True):
        expected = [
            np.mean(mine.attained > 0),
            np.mean(mine.attained >= 0.5),
            np.mean(mine.attained == 1),
            np.mean(mine.near >= 0.5),
        ]
        assert [getattr(row, name) for name in SHARES] == expected
        assert [json_row[name] for name in SHARES] == pytest.approx(expected)
        assert json_row["relative_hypervolume"] == pytest.approx(mine.hypervolume, rel=1e-8)
        assert json_row["seeds"] == [0, 1]


def test_intervals_do_not_depend_on_the_order_in_which_trials_are_stored(trials, instances, problem):
    generator = np.random.default_rng(0)
    many = [
        SimpleNamespace(manifest={**trials[0].manifest, "trial_id": name}, trace=with_designs(trials[0], designs).trace)
        for name, designs in ((str(seed), problem.space.sample(generator, 100)) for seed in range(12))
    ]
    scored = [SimpleNamespace(trial_id=each.manifest["trial_id"], agent="ant") for each in many]
    (table,) = front_tables(instance_fronts(instances, many, scored))
    assert table.scores[0].relative_hypervolume_low < table.scores[0].relative_hypervolume_high
    assert front_tables(instance_fronts(instances, many[::-1], scored)) == (table,)


def test_json_and_markdown_tell_what_the_page_tells(board, told):
    page = (board / "leaderboard.html").read_text(encoding="utf-8")
    (table,) = re.findall(r'<table data-name="attainment-0".*?</table>', page, re.DOTALL)
    rows = [re.findall(r">([^<>]+)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
    text = (board / "leaderboard.md").read_text(encoding="utf-8")
    for cells in rows:
        assert f"| {' | '.join(cells)} |" in text
    assert [row[:3] for row in rows[1:]] == [
        [row["agent"], str(row["trials"]), f"{row['relative_hypervolume']:.4f}"] for row in told["scores"]
    ]
    assert f"{told['name']}: the {told['kind']} front of {told['designs']} designs" in text
    assert f"{told['name']}: the {told['kind']} front of {told['designs']} designs" in page


def test_without_a_front_nothing_is_said(finished, trials):
    one_cost = SimpleNamespace(name="one", scenario="dsegym/MemoryAllocation-v0", options={}, files={})
    assert instance_fronts([one_cost], trials, read_trials(trials)) == []
    bare = board_of([finished], [read_suite(finished)], trials)
    assert json.loads(to_json(bare))["fronts"] == []
    assert "ypervolume" not in to_markdown(bare)


def test_a_scenario_that_cannot_be_had_is_named_and_the_others_stand(trials, instances):
    stranger = SimpleNamespace(name="strange", scenario="elsewhere:dsegym/Strange-v0", options={}, files={})
    found = instance_fronts([stranger, *instances], trials, read_trials(trials))
    assert [bool(each.problem) for each in found] == [True, False]
    assert len(front_tables(found)) == 1


@pytest.mark.parametrize(
    ("factor", "rejected"), [(1 + 1e-7, False), (1.01, True)], ids=["another machine's rounding", "a better claim"]
)
def test_a_fronts_numbers_verify_but_for_rounding(factor, rejected, board, told):
    path = board / "leaderboard.json"
    whole = path.read_text(encoding="utf-8")
    value = told["scores"][0]["relative_hypervolume"]
    changed = whole.replace(
        f'"relative_hypervolume": {value}', f'"relative_hypervolume": {float(f"{value * factor:.9g}")}'
    )
    assert changed != whole
    path.write_text(changed, encoding="utf-8")
    try:
        problems = [verdict.problem for verdict in dsegym.verify(board.parent) if verdict.problem]
    finally:
        path.write_text(whole, encoding="utf-8")
    assert problems == ([f"{path}: it does not follow from the trials; run `dsegym leaderboard` again."] * rejected)


def test_the_terminal_has_a_table_of_80_columns(board, told, dsegym_command, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = dsegym_command("leaderboard", board.parent, "--output", tmp_path / "board").out
    part = shown[shown.index("Hypervolume and attainment") : shown.index("Pages: ")]
    assert max(map(len, part.splitlines())) <= 80
    for row in told["scores"]:
        (line,) = [line for line in part.splitlines() if row["agent"] in line]
        assert f"{row['relative_hypervolume']:.4f}" in line
        assert f"{row['near_by_half']:.0%}" in line
