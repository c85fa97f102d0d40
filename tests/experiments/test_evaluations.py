"""Evaluations as results: they are played again bit for bit, and what was edited is rejected."""

import dataclasses
import hashlib
import json
import re
import shutil

import jax
import numpy as np
import polars
import pytest

from dsegym.agents.policies.players import named_function
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.core.collections import Collection, load_collection
from dsegym.envs.core.own_bounds import kept_beside
from dsegym.experiments import evaluations
from dsegym.experiments.evaluations import MANIFEST, POLICY, ROWS, changed, evaluate_into, read_evaluations
from dsegym.experiments.identities import hashed_id
from dsegym.experiments.policy_store import save_policy
from dsegym.experiments.publish import publish
from dsegym.experiments.verify import verify

CASCADE = "dsegym/ReasoningCascade-v0"
MINE = """
name = "mine"
scenario = "dsegym/ReasoningCascade-v0"
[[train]]
budget = [2, 8]
[[test]]
budget = [5, 50]
"""


@pytest.fixture(scope="module")
def policy(untrained):
    """One that is not trained."""
    collection = Collection("mine", CASCADE, "", lambda: [{"budget": 2}, {"budget": 8}], list, list)
    return untrained(collection)


@pytest.fixture(scope="module")
def evaluated(policy, tmp_path_factory):
    """A results directory with one zero-shot and one adapted evaluation; not to be changed."""
    results = tmp_path_factory.mktemp("evaluated")
    collection = Collection("mine", CASCADE, "", list, list, lambda: [{"budget": 5}, {"budget": 50}])
    for words in ({}, {"mode": "sampled", "samples": 3}):
        evaluate_into(results, policy, collection, "test", **words)
    return results


@pytest.fixture
def results(evaluated, tmp_path):
    return shutil.copytree(evaluated, tmp_path / "results")


@pytest.fixture
def directory(results):
    """Of the zero-shot evaluation."""
    return next(each for each in (results / "evaluations").iterdir() if manifest_of(each)["samples"] == 1)


def manifest_of(directory):
    return json.loads((directory / MANIFEST).read_text())


def rejections(results, **words):
    return [verdict.problem for verdict in verify(results, **words) if verdict.problem]


def edit(directory, change=lambda manifest: None, rows=lambda table: table):
    """Edits an evaluation as somebody would who keeps hashes and ids right; its directory afterwards."""
    manifest = manifest_of(directory)
    change(manifest)
    rows(polars.read_parquet(directory / ROWS)).write_parquet(directory / ROWS)
    manifest["files"][ROWS] = hashlib.sha256((directory / ROWS).read_bytes()).hexdigest()
    named = {key: value for key, value in manifest.items() if key not in ("evaluation_id", "seconds", "files")}
    manifest["evaluation_id"] = hashed_id(named, {}, {})
    (directory / MANIFEST).write_text(json.dumps(manifest))
    return directory.rename(directory.with_name(manifest["evaluation_id"]))


def test_what_was_played_is_played_again_bit_for_bit(results):
    assert rejections(results) == []
    assert len(read_evaluations(results)) == 2


def test_the_same_evaluation_is_one_result(results, policy, directory):
    before = (directory / ROWS).read_bytes()
    collection = Collection("mine", CASCADE, "", list, list, lambda: [{"budget": 5}, {"budget": 50}])
    again = evaluate_into(results, policy, collection, "test")
    assert again.manifest["evaluation_id"] == directory.name
    assert len(read_evaluations(results)) == 2
    assert (directory / ROWS).read_bytes() == before


def test_a_row_for_every_sample_and_every_rule(evaluated):
    adapted, greedy = sorted(read_evaluations(evaluated), key=lambda result: -result.manifest["samples"])
    own = adapted.rows.filter(~adapted.rows["rule"])
    assert own.select("instance", "sample").rows() == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert own["searched"].null_count() == 0
    assert greedy.rows.filter(~greedy.rows["rule"])["searched"].null_count() == 2
    assert "largest_that_fits" in set(greedy.rows.filter(greedy.rows["rule"])["entrant"])


def nudge(column, value, rule):
    """Changes the first row of a policy or a rule."""

    def rows(table):
        place = int(table["rule"].to_numpy().tolist().index(rule))
        values = table[column].to_list()
        values[place] = value(values[place])
        return table.with_columns(polars.Series(column, values, table.schema[column]))

    return rows


def smaller(value):
    return float(np.nextafter(np.float64(value), 0.0))


def put(*path, value):
    def change(manifest):
        place = manifest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


EDITS = {
    "the last bit of a value": ({"rows": nudge("objective", smaller, False)}, "ppo claims .* played again it comes to"),
    "the last bit of a rule's": ({"rows": nudge("objective", smaller, True)}, "claims .* played again it comes to"),
    "feasibility": ({"rows": nudge("feasible", lambda value: not value, False)}, "played again"),
    "a rule's design": ({"rows": nudge("design", lambda design: [0, *design[1:]], True)}, "played again"),
    "a rule left out": ({"rows": lambda table: table.filter(table["entrant"] != "cascade")}, "rows are missing"),
    "an instance left out": (
        {
            "change": lambda manifest: manifest["instances"].pop(),
            "rows": lambda table: table.filter(table["instance"] == 0),
        },
        None,  # sound in itself: of a user's collection nobody knows how large it is
    ),
    "the reference": ({"change": put("instances", 0, "reference", "value", value=0.5)}, "the reference of budget=5 is"),
    "the bound": ({"change": put("instances", 0, "bound", "value", value=0.05)}, "the bound of budget=5 is"),
    "an instance's digest": ({"change": put("instances", 0, "digest", value="0" * 64)}, "the digest of budget=5"),
    "what it was trained on": ({"change": put("instances", 0, "trained_on", value=True)}, "trained_on of budget=5"),
    "seconds of training": (
        {"change": put("policy", "training", "training_s", value=0.1)},
        "not the one that",
    ),
    "steps of training": ({"change": put("policy", "training", "steps", value=1)}, "not the one that the evaluation"),
    "the seed of sampling": ({"change": put("seed", value=7)}, None),  # a greedy policy draws nothing
    "whether cases are held out": ({"change": put("held_out", value=False)}, "whether values are on held-out cases"),
    "a shipped collection's name": ({"change": put("collection", value="cascade-budgets")}, "not those of test in the"),
    "an unknown part": ({"change": put("split", value="tests")}, "'split' is missing or of the wrong type"),
    "another scenario": ({"change": put("scenario", value="dsegym/SleepTime-v0")}, "The policy plays"),
    "samples without end": ({"change": put("samples", value=2**62)}, "2 rows of 4611686018427387904 samples"),
    "sizes beyond all memory": ({"change": put("sizes", value={"tasks": 2**62})}, "'sizes.tasks' is missing or of the"),
    "no room between reference and bound": (
        {"change": put("instances", 0, "reference", "value", value=0.0)},
        "nothing can be scored on budget=5",
    ),
    "sizes that nothing was padded to": ({"change": put("sizes", value={"tasks": 3})}, "padded to is said wrongly"),
    "a value beyond all scores": ({"rows": nudge("objective", lambda value: 1e308, False)}, "is no number from -1e"),
    "a reference beyond all scores": (
        {"change": put("instances", 0, "reference", "value", value=1e308)},
        "nothing can be scored on budget=5",
    ),
    "a file as what is changed": (
        {"change": lambda manifest: manifest.update(collection="cascade-budgets", changed={"budget": "/etc/passwd"})},
        "do not keep",
    ),
    "a file as an option": ({"change": put("instances", 0, "options", "budget", value="/etc/passwd")}, "do not keep"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("edits", "wanted"), EDITS.values(), ids=EDITS)
def test_what_was_edited_is_rejected(results, directory, edits, wanted):
    edit(directory, **edits)
    found = rejections(results)
    assert len(found) == (wanted is not None)
    if wanted:
        assert re.search(wanted, found[0])


def test_an_id_that_does_not_follow_is_rejected(results, directory):
    manifest = manifest_of(directory)
    manifest["samples"] = 1
    manifest["seed"] = 5
    (directory / MANIFEST).write_text(json.dumps(manifest))
    assert "the id does not follow from the evaluation" in rejections(results)[0]


@pytest.fixture
def with_file(tmp_path):
    """Results of an evaluation whose every instance was changed to a user's file, which is gone."""
    network = tmp_path / "net.csv"
    network.write_text("name,m,k,n\nfirst,8,8,8\nsecond,16,8,8\n", encoding="utf-8")
    options = {"workload": str(network)}
    plain = Collection("mine", "dsegym/AcceleratorSizing-v0", "", list, list, lambda: [{}], form="sequential")
    (tmp_path / "zeros.py").write_text("def act(observation, mask):\n    return 0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        player = named_function("zeros:act")
        evaluate_into(tmp_path / "results", player, changed(plain, options), "test", options=options)
        network.unlink()
        yield tmp_path / "results"


def test_a_file_that_every_instance_was_changed_to_is_kept_with_the_results(with_file):
    (result,) = read_evaluations(with_file)
    assert result.manifest["changed"]["workload"] == result.manifest["instances"][0]["options"]["workload"]
    assert (with_file / result.manifest["changed"]["workload"]).is_file()
    assert rejections(with_file) == []


def test_bounds_beside_a_kept_file_that_lie_elsewhere_are_not_read(with_file, tmp_path):
    (result,) = read_evaluations(with_file)
    (tmp_path / "secret").write_text("mine")
    kept_beside(with_file / result.manifest["changed"]["workload"]).symlink_to(tmp_path / "secret")
    assert "it leads out of the results directory" in rejections(with_file)[0]


def test_other_weights_are_rejected(results, directory, policy):
    shutil.rmtree(directory / POLICY)
    variables = jax.tree.map(lambda leaf: leaf + 1, policy.variables)
    save_policy(dataclasses.replace(policy, variables=variables), directory / POLICY)
    assert "the policy is not the one that the evaluation names" in rejections(results)[0]


@pytest.mark.parametrize("name", [ROWS, MANIFEST, POLICY])
def test_what_is_missing_is_named(results, directory, name):
    path = directory / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert any(name in problem for problem in rejections(results))


def test_evaluations_elsewhere_are_not_read(results, tmp_path):
    (results / "evaluations").rename(tmp_path / "elsewhere")
    (results / "evaluations").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="leads out of the results directory"):
        verify(results)


def test_a_function_is_run_by_verification_only_where_it_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "firsts.py").write_text("def act(observation, mask):\n    return int(mask.argmax())\n")
    monkeypatch.syspath_prepend(tmp_path)
    collection = Collection("mine", CASCADE, "", list, list, lambda: [{"budget": 5}])
    evaluate_into(tmp_path / "results", named_function("firsts:act"), collection, "test")
    monkeypatch.delitem(__import__("sys").modules, "firsts")
    assert "--allow firsts" in rejections(tmp_path / "results")[0]
    assert "firsts" not in __import__("sys").modules
    assert rejections(tmp_path / "results", allow=["firsts"]) == []
    text = (tmp_path / "firsts.py").read_text()
    (tmp_path / "firsts.py").write_text(f"{text}\n# edited\n")
    from dsegym.experiments.identities import source_of

    source_of.cache_clear()
    assert "not the one that the evaluation names" in rejections(tmp_path / "results", allow=["firsts"])[0]


def test_what_nobody_could_score_never_stands_among_others(results, policy, monkeypatch):
    before, own = sorted((results / "evaluations").iterdir()), evaluations.rows_of

    def endless(*given):
        return own(*given).with_columns(polars.lit(np.inf).alias("objective"))

    monkeypatch.setattr(evaluations, "rows_of", endless)
    collection = Collection("mine", CASCADE, "", list, list, lambda: [{"budget": 6}])
    with pytest.raises(DsegymError, match="an objective is no number"):
        evaluate_into(results, policy, collection, "test")
    assert sorted((results / "evaluations").iterdir()) == before


def test_the_leaderboard_of_policies_alone_is_written_and_verified(results):
    published = publish(results)
    zero_shot, adapted = published.leaderboard.policies
    assert (zero_shot.adapted, adapted.adapted) == (False, True)
    text = (published.folder / "leaderboard.md").read_text()
    page = (published.folder / "leaderboard.html").read_text()
    for shown in ("Policies, zero-shot: mine, test", "Policies adapted by samples: mine, test", "best of 3 samples"):
        assert shown in text
        assert shown in page
    assert rejections(results) == []
    board = published.folder / "leaderboard.json"
    board.write_text(board.read_text().replace('"steps": 1000', '"steps": 10'))
    assert "it does not follow from the trials" in rejections(results)[0]


def test_policies_stand_beside_the_trials_of_a_suite(evaluated, finished, tmp_path):
    both = shutil.copytree(finished, tmp_path / "both")
    shutil.copytree(evaluated / "evaluations", both / "evaluations")
    published = publish(both)
    assert len(published.leaderboard.rows) == 2
    assert len(published.leaderboard.policies) == 2
    assert "Policies, zero-shot: mine, test" in (published.folder / "leaderboard.html").read_text()
    assert rejections(both) == []


# The commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(policy, tmp_path):
    save_policy(policy, tmp_path / "policy")
    (tmp_path / "mine.toml").write_text(MINE)
    return tmp_path


def test_evaluate_prints_the_table_and_verify_plays_it_again(mine, dsegym_command):
    words = ["evaluate", mine / "policy", "--collection", mine / "mine.toml", "--output", mine / "results"]
    done = dsegym_command(*words)
    assert done.code == 0, done.err
    for shown in ("Policies, zero-shot: mine, test", "zero-shot,", "largest_that_fits", "reference", "bound"):
        assert shown in done.out
    done = dsegym_command("verify", mine / "results")
    assert (done.code, "1 of 1 reproduce" in done.out) == (0, True)
    done = dsegym_command("leaderboard", mine / "results")
    assert done.code == 0
    assert "Policies, zero-shot: mine, test" in done.out
    done = dsegym_command(*words, "--mode", "sampled", "--samples", "3", "--json")
    (table,) = json.loads(done.out)
    assert table["adapted"]
    assert [row["kind"] for row in table["rows"] if row["role"] == "policy"] == ["adapted: best of 3 samples"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--split", "tests"], "Unknown split 'tests'"),
        (["--mode", "best"], "Unknown mode 'best'"),
        (["--seed", "-1"], "seed = -1 is not a whole number from 0"),
        (["--seed", str(2**70)], "is not a whole number from 0"),
        (["--output", __file__], "is no directory"),
        (["--split", "train"], "was trained on 2 of the 2 instances of train"),
        (["--collection", "none.toml"], "Cannot read the collection 'none.toml': No such file"),
        (["--collection", "memory"], "Unknown collection 'memory'"),
    ],
)
def test_what_is_wrong_is_one_sentence_of_the_command(mine, dsegym_command, words, wanted):
    given = ["evaluate", mine / "policy", "--collection", mine / "mine.toml", "--output", mine / "results", *words]
    done = dsegym_command(*given)
    assert done.code == 2
    assert wanted in done.err
    assert done.err.count("\n") == 1
    assert not (mine / "results").exists()


def test_a_table_says_that_instances_were_trained_on(mine, dsegym_command):
    words = ["evaluate", mine / "policy", "--collection", mine / "mine.toml", "--output", mine / "results"]
    done = dsegym_command(*words, "--split", "train", "--trained-on")
    assert done.code == 0, done.err
    assert "a policy was trained on 2 of these instances" in " ".join(done.out.split())


def test_a_full_disk_leaves_no_half_an_evaluation(mine, dsegym_command, monkeypatch):
    def full(self, content, **words):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    words = ["evaluate", mine / "policy", "--collection", mine / "mine.toml", "--output", mine / "results"]
    done = dsegym_command(*words)
    assert (done.code, "No space left on device" in done.err) == (1, True)
    assert list((mine / "results" / "evaluations").iterdir()) == []


def test_train_refuses_what_cannot_be_in_one_sentence(tmp_path, dsegym_command):
    words = ["train", CASCADE, "--collection", "cascade-budgets", "--steps", "64", "--out", tmp_path / "policy"]
    for more, wanted in (
        (["--set", "lanes"], "'lanes' is not a hyperparameter of the form name=value"),
        (["--set", "lanes=x"], "ppo's lanes = 'x' is no int"),
        (["--agent", "tpe"], "Unknown learner 'tpe'"),
    ):
        done = dsegym_command(*words, *more)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert wanted in done.err


@pytest.mark.slow
def test_train_tells_of_steps_rounded_up(tmp_path, dsegym_command):
    words = ["train", CASCADE, "--collection", "cascade-budgets", "--steps", "5", "--out", tmp_path / "policy"]
    done = dsegym_command(*words, "--set", "lanes=8", "--set", "rollout=4")
    assert done.code == 0
    assert "ppo: 32 steps (5 rounded up to whole updates) in" in " ".join(done.out.split())


def test_tensorboard_that_is_not_there_is_one_sentence(tmp_path, dsegym_command, monkeypatch):
    for name in ("tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    words = ["train", CASCADE, "--collection", "cascade-budgets", "--steps", "64", "--out", tmp_path / "policy"]
    done = dsegym_command(*words, "--tensorboard", tmp_path / "board")
    assert done.code == 2
    assert "pip install tensorboardX" in done.err


def test_a_shipped_collection_is_evaluated_whole(policy, tmp_path):
    result = evaluate_into(tmp_path, policy, load_collection("cascade-budgets"), "validation")
    digests = [each["digest"] for each in result.manifest["instances"]]
    assert digests == list(load_collection("cascade-budgets").digests("validation"))
    assert rejections(tmp_path) == []
