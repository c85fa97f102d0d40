"""Proxies of stored samples: what is tested was not learned, figures are what they say, damage is one sentence."""

import json
import shutil

import numpy as np
import polars
import pytest

import dsegym
from dsegym.agents.proxies.base import Data, Prediction
from dsegym.costmodels.errors import DsegymError
from dsegym.experiments import proxies
from dsegym.experiments.export import export_samples
from dsegym.experiments.proxies import ALL, DESIGNS, MANY, MEAN, ONE, TRIALS, UNIFORM, quality, read_samples, worth
from dsegym.experiments.proxy_store import CARD, card_of, load_proxy, read_card, save_proxy

pytest.importorskip("lightgbm", reason="LightGBM is not installed")
SIZING = "dsegym/AcceleratorSizing-v0"


@pytest.fixture(scope="module")
def table(finished, tmp_path_factory):
    """The tiny suite's samples as a table: two agents, two trials each, sixty samples a trial."""
    path = tmp_path_factory.mktemp("samples") / "samples.parquet"
    export_samples(finished, path)
    return path


@pytest.fixture(scope="module")
def samples(table):
    return read_samples(table, SIZING)


@pytest.fixture(scope="module")
def few():
    """Agents with fewer designs than a comparison needs otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proxies, "_FEWEST", 20)
        patch.setattr(proxies, "_UNIFORM", 200)
        yield


@pytest.fixture(scope="module")
def report(samples, few):
    return worth(samples, "trees", splits=2, seed=3)


@pytest.fixture(scope="module")
def stored(samples, report, tmp_path_factory):
    """A proxy's directory; not to be changed."""
    directory = tmp_path_factory.mktemp("proxies") / "sizing"
    proxy, designs = proxies.fitted(samples, "trees", 3)
    save_proxy(directory, proxy, card_of(samples, "trees", designs, report, seed=3, splits=2))
    return directory


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_the_quality_of_known_predictions_is_what_one_computes_by_hand():
    true = np.log(np.arange(1.0, 26.0))
    feasible = np.arange(25) < 22
    said = Prediction(true + np.log(1.1), np.where(np.arange(25) < 20, 0.9, 0.1))
    found = quality(said, Data(np.zeros((25, 1), np.int32), true, feasible))
    assert found.rmse_percent == pytest.approx(10.0)  # each feasible design is said to cost 10 % more
    assert found.spearman == pytest.approx(1.0)
    assert found.right == pytest.approx(23 / 25)
    backwards = quality(said._replace(log_objective=-true), Data(np.zeros((25, 1), np.int32), true, feasible))
    assert backwards.spearman == pytest.approx(-1.0)
    none = quality(said, Data(np.zeros((25, 1), np.int32), true, np.zeros(25, bool)))
    assert (none.rmse_percent, none.spearman) == (None, None)


def test_no_design_is_both_learned_and_tested_and_trainings_are_of_one_size(samples):
    agents = sorted(set(samples.agent))
    for whole in (True, False):
        generator = np.random.default_rng(5)
        pools, test = proxies._split(samples, agents, whole, generator)
        tested = {samples.data.designs[place].tobytes() for place in test}
        assert len(tested) == len(test) > 0
        trainings = proxies._trainings(pools, generator)
        for places in trainings.values():
            assert not tested & {samples.data.designs[place].tobytes() for place in places}
        assert {len(trainings[name]) for name in (*agents, MANY)} == {min(map(len, pools.values()))}
        shares = [int((samples.agent[trainings[MANY]] == agent).sum()) for agent in agents]
        assert max(shares) - min(shares) <= 1
        if whole:
            for agent, pool in pools.items():
                held = set(samples.trial[test[samples.agent[test] == agent]])
                assert not held & set(samples.trial[pool])


def test_the_report_has_a_row_for_each_training_and_test_and_the_same_seed_gives_it_again(samples, report, few):
    names = ["genetic_algorithm", "random_search", ONE, MANY, ALL, MEAN]
    assert [(row.test, row.learned_from) for row in report] == [(t, n) for t in (TRIALS, UNIFORM) for n in names]
    for row in report:
        for mean, low, high in filter(None, (row.rmse_percent, row.spearman, row.right)):
            assert low <= mean <= high
    singles = [row.right[0] for row in report[:2]]
    assert report[2].right[0] == pytest.approx(np.mean(singles))
    assert all(row.spearman in (None, (0.0, 0.0, 0.0)) for row in report if row.learned_from == MEAN)
    assert worth(samples, "trees", splits=2, seed=3) == report


def test_an_agent_of_one_trial_has_designs_held_out(samples, few):
    one = samples.trial == sorted(set(samples.trial[samples.agent == "random_search"]))[0]
    only = samples._replace(data=samples.data.at(one), agent=samples.agent[one], trial=samples.trial[one])
    found = worth(only, "trees", splits=2)
    assert [row.test for row in found] == [DESIGNS] * 3 + [UNIFORM] * 3
    assert [row.learned_from for row in found[:3]] == ["random_search", ALL, MEAN]


def test_too_few_designs_to_learn_from_and_to_test_on_are_one_sentence(samples):
    few = samples._replace(data=samples.data.at(np.arange(30)), agent=samples.agent[:30], trial=samples.trial[:30])
    with pytest.raises(DsegymError, match="different designs of an agent at least, half to learn from"):
        worth(few, "trees", splits=2)


# --- Samples ----------------------------------------------------------------------------------------------------------


def test_a_results_directory_gives_the_same_samples_as_its_table(finished, samples):
    found = read_samples(finished, SIZING, {"workload": "alexnet"})
    assert sorted(found.trial) == sorted(samples.trial)
    assert len(found.data.designs) == 240


def altered(table, path, **columns):
    polars.read_parquet(table).with_columns(**columns).write_parquet(path)
    return path


def test_what_is_not_what_it_says_is_refused_in_one_sentence(table, tmp_path):
    def refused(source, reason, scenario=SIZING, options=None):
        with pytest.raises(DsegymError, match=reason):
            read_samples(source, scenario, options)

    refused(tmp_path / "nothing.parquet", "neither a table of samples nor a results directory")
    (tmp_path / "text.parquet").write_text("no table", encoding="utf-8")
    refused(tmp_path / "text.parquet", "not readable as Parquet")
    polars.read_parquet(table).drop("design").write_parquet(tmp_path / "less.parquet")
    refused(tmp_path / "less.parquet", "columns .* are expected")
    refused(
        table, "holds no samples of dsegym/MemoryAllocation-v0; there are: dsegym/Acc", "dsegym/MemoryAllocation-v0"
    )
    refused(table, "Unknown scenario", "dsegym/AcceleratorSising-v0")
    refused(table, "holds no instance of .* with these options", options={"workload": "vgg16"})
    refused(table, "Did you mean 'workload'", options={"worklod": "vgg16"})
    lied = altered(table, tmp_path / "lied.parquet", objective=polars.lit(1e-9))
    refused(lied, "claims 1e-09, but its design costs")
    short = altered(table, tmp_path / "short.parquet", design=polars.lit([1, 2], polars.List(polars.Int32)))
    refused(short, "Designs have shape")
    blank = altered(table, tmp_path / "blank.parquet", objective=polars.lit(None, polars.Float64))
    refused(blank, "lacks its design, its cost or where it is from")
    options = json.loads(polars.read_parquet(table)["options"][0])
    half = polars.when(polars.col("seed") == 0).then(polars.col("options"))
    two = half.otherwise(polars.lit(json.dumps({**options, "workload": "vgg16"})))
    refused(altered(table, tmp_path / "two.parquet", options=two), "holds 2 instances .* say which by --option")


# --- Stored proxies ---------------------------------------------------------------------------------------------------


def test_a_stored_proxy_says_what_it_is_and_predicts_as_before(samples, stored):
    found = load_proxy(stored)
    assert found.problem.options == dsegym.make_problem(SIZING, workload="alexnet", objective="edp",
                                                        area_budget="small").options  # fmt: skip
    designs = samples.problem.space.sample(np.random.default_rng(0), 50)
    fresh, _ = proxies.fitted(samples, "trees", 3)
    for given, read in zip(fresh.predict(designs), found.proxy.predict(designs), strict=True):
        np.testing.assert_array_equal(given, read)
    assert found.card["agents"] == {"genetic_algorithm": 120, "random_search": 120}
    assert found.card["samples"]["rows"] == 240
    assert found.card["versions"]["lightgbm"]
    assert sorted(path.name for path in stored.iterdir()) == ["card.toml", "proxy.safetensors"]


@pytest.mark.parametrize(
    ("name", "before", "after", "reason"),
    [
        (CARD, "format = 1", "format = 2", "format 2 where this version reads 1"),
        (CARD, "[files]", "[fils]", "'files' is missing or of the wrong type"),
        (CARD, "format", "= format", "not readable as TOML"),
        (CARD, 'model = "trees"', 'model = "forest"', "there is no proxy 'forest'"),
        (CARD, SIZING, "elsewhere:toy/Other-v0", "--allow elsewhere"),
        (CARD, '"proxy.safetensors" =', '"../proxy.safetensors" =', "missing or of the wrong type"),
        ("proxy.safetensors", "feasible", "faesible", "it is not the file of the card"),
    ],
)
def test_a_damaged_proxy_is_one_sentence(name, before, after, reason, stored, tmp_path):
    copy = shutil.copytree(stored, tmp_path / "copy")
    content = (copy / name).read_bytes()
    assert before.encode() in content
    (copy / name).write_bytes(content.replace(before.encode(), after.encode(), 1))
    with pytest.raises(DsegymError, match=reason):
        load_proxy(copy)


def test_a_missing_file_and_a_place_that_is_taken_are_refused(stored, samples, tmp_path):
    copy = shutil.copytree(stored, tmp_path / "copy")
    (copy / "proxy.safetensors").unlink()
    with pytest.raises(DsegymError, match=r"proxy\.safetensors: No such file"):
        load_proxy(copy)
    with pytest.raises(DsegymError, match="is no proxy"):
        load_proxy(tmp_path)
    proxy, _ = proxies.fitted(samples, "trees", 0)
    with pytest.raises(DsegymError, match="is there already; a proxy is written where nothing is"):
        save_proxy(copy, proxy, read_card(stored))


# --- The command ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", ["trees", "network"])
def test_the_command_fits_stores_and_shows(dsegym_command, table, few, tmp_path, model):
    fitted = ("proxy", "fit", table, "--scenario", SIZING, "--model", model, "--splits", 2)
    outcome = dsegym_command(*fitted, "--output", tmp_path / "proxy")
    assert outcome.code == 0, outcome.err
    for text in (TRIALS, UNIFORM, ONE, MANY, ALL, "240 samples of 4 trials", "relative RMSE", "Spearman"):
        assert text in outcome.out
    shown = dsegym_command("proxy", "show", tmp_path / "proxy")
    assert shown.out == outcome.out[: len(shown.out)]
    content = json.loads(dsegym_command("proxy", "show", tmp_path / "proxy", "--json").out)
    assert content == read_card(tmp_path / "proxy")
    assert len(content["report"]) == 12
    load_proxy(tmp_path / "proxy")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"--model": "forest"}, "Unknown model of a proxy 'forest'"),
        ({"--output": "."}, "does not end in a name"),
        ({"--scenario": "dsegym/Nothing-v0"}, "Unknown scenario"),
        ({"--option": "workload"}, "is not an option of the form name=value"),
    ],
)
def test_wrong_requests_are_one_sentence_and_write_nothing(
    dsegym_command, table, tmp_path, monkeypatch, changes, reason
):
    monkeypatch.chdir(tmp_path)
    arguments = {"--scenario": SIZING, "--output": "proxy", **changes}
    outcome = dsegym_command("proxy", "fit", table, *(word for pair in arguments.items() for word in pair))
    assert outcome.code == 2
    assert reason in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
