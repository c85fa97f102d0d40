"""The store: trials appear whole or not at all, damage is named, and a trial's id says what determines its samples."""

import dataclasses
import errno
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import polars
import pytest

from dsegym.costmodels.errors import CorruptResultError, DsegymError
from dsegym.experiments import batches, store
from dsegym.experiments.store import read_suite, read_trial, trial_directory, trial_id, write_suite, write_trial
from dsegym.experiments.suite import Suite, count_trials, load_suite, located, read_suite_file

TRACE = polars.DataFrame(
    {
        "sample": polars.Series([1, 2], dtype=polars.Int32),
        "objective": [2.0, 1.0],
        "feasible": [True, False],
        "elapsed_s": [0.1, 0.2],
        "design": polars.Series([[0, 1], [1, 0]], dtype=polars.List(polars.Int32)),
    }
)


def manifest(identifier="a" * 16):
    trial = {
        "instance": {"scenario": "dsegym/AcceleratorSizing-v0", "options": {"workload": "alexnet"}},
        "agent": {"name": "random_search", "hyperparameters": {}, "draw": None},
        "seed": 0,
        "samples": 2,
        "time_limit_s": 600.0,
    }
    return {
        "format": store.FORMAT,
        "trial_id": identifier,
        "trial": trial,
        "versions": {},
        "identity": {"sources": [], "files": {}},
        "status": "finished",
        "message": "",
        "samples_used": 2,
        "objective": {"name": "latency", "unit": "s"},
        "reference": {"name": "gemmini", "value": 2.0, "source": ""},
        "bound": {"kind": "optimum", "value": 1.0, "source": ""},
        "best": None,
        "seconds": {"agent": 0.1, "cost_model": 0.1, "overhead": 0.1, "total": 0.3},
    }


@pytest.fixture
def stored(tmp_path):
    """The directory of a trial as small as can be."""
    write_trial(tmp_path, manifest(), TRACE)
    return trial_directory(tmp_path, "a" * 16)


def test_a_trial_is_read_as_it_was_written(stored):
    result = read_trial(stored)
    assert result.trace.equals(TRACE)
    assert {key: result.manifest[key] for key in manifest()} == manifest()
    assert sorted(path.name for path in stored.iterdir()) == ["manifest.json", "trace.parquet"]


def test_what_a_run_stores_is_json_and_parquet_with_every_second_accounted_for(results, first_trial):
    assert {path.suffix for path in results.rglob("*") if path.is_file()} == {".json", ".parquet"}
    seconds = read_trial(first_trial).manifest["seconds"]
    assert set(seconds) == {"agent", "cost_model", "overhead", "total"}
    assert seconds["total"] == pytest.approx(seconds["agent"] + seconds["cost_model"] + seconds["overhead"])


@pytest.mark.parametrize("step", ["trace.parquet", "manifest.json"])
def test_a_write_that_fails_leaves_nothing_and_harms_nothing(step, stored, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in stored.iterdir()}
    write_bytes, write_text = Path.write_bytes, Path.write_text

    def full(write):
        def refuse(path, content, *arguments, **more):
            if path.name != step:
                return write(path, content, *arguments, **more)
            write(path, content[:10], *arguments, **more)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

        return refuse

    monkeypatch.setattr(Path, "write_bytes", full(write_bytes))
    monkeypatch.setattr(Path, "write_text", full(write_text))
    with pytest.raises(OSError, match="No space left"):
        write_trial(tmp_path, manifest("b" * 16), TRACE)
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["a" * 16]
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == before


def watched(look):
    """The trace, and a look at what is there when it has been written."""
    return SimpleNamespace(write_parquet=lambda table: (TRACE.write_parquet(table), look()))


def test_until_the_last_byte_is_written_the_trial_is_not_there(tmp_path):
    target = trial_directory(tmp_path, "a" * 16)
    seen = []
    write_trial(tmp_path, manifest(), watched(lambda: seen.append(target.exists())))
    assert seen == [False]
    assert target.is_dir()


def test_the_first_of_two_results_of_one_trial_stands(stored, tmp_path):
    before = (stored / "manifest.json").stat().st_ino
    write_trial(tmp_path, {**manifest(), "message": "the second"}, TRACE)
    assert (stored / "manifest.json").stat().st_ino == before
    assert read_trial(stored).manifest["message"] == ""
    assert len(list(stored.parent.iterdir())) == 1


def test_a_trial_that_did_not_finish_stays_until_its_retry_is_written(tmp_path):
    write_trial(tmp_path, {**manifest(), "status": "failed", "message": "boom"}, TRACE)
    target = trial_directory(tmp_path, "a" * 16)
    seen = []
    write_trial(tmp_path, manifest(), watched(lambda: seen.append(read_trial(target).manifest["status"])))
    assert seen == ["failed"]
    assert read_trial(target).manifest["status"] == "finished"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_what_killed_writers_left_is_cleaned_and_what_they_replaced_comes_back(stored, tmp_path):
    trials = stored.parent
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = store._process().partition("-")[0]
    for name in (
        f".partial-{'b' * 16}-{here}-{gone.pid}",
        f".partial-{'b' * 16}-{gone.pid}",  # of the earliest versions
        f".replaced-{'a' * 16}-1700000000000000000",
        f".partial-{'c' * 16}-{here}-{os.getpid()}",
        f".partial-{'c' * 16}-00000000-{gone.pid}",
    ):
        shutil.copytree(stored, trials / name)
    stored.rename(trials / f".replaced-{'d' * 16}-{here}-{gone.pid}")
    (tmp_path / f".suite.json-{gone.pid}-17").touch()
    (tmp_path / f".suite.json-{os.getpid()}-17").touch()
    store.clean(tmp_path)
    assert [path.name for path in tmp_path.glob(".*")] == [f".suite.json-{os.getpid()}-17"]
    assert sorted(path.name for path in trials.iterdir()) == [
        f".partial-{'c' * 16}-00000000-{gone.pid}",
        f".partial-{'c' * 16}-{here}-{os.getpid()}",
        "a" * 16,
        "d" * 16,
    ]


def edit_manifest(**changes):
    """A damage: keys of the manifest set, or left out where the new value is `...`."""

    def edit(directory):
        path = directory / "manifest.json"
        content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}), encoding="utf-8")

    return edit


def truncate(name):
    return lambda directory: (directory / name).write_bytes((directory / name).read_bytes()[:-20])


def remove(name):
    return lambda directory: (directory / name).unlink()


def replace_trace(trace):
    """A damage: another table, signed."""

    def replace(directory):
        trace.write_parquet(directory / "trace.parquet")
        digest = hashlib.sha256((directory / "trace.parquet").read_bytes()).hexdigest()
        edit_manifest(files={"trace.parquet": digest})(directory)

    return replace


def no_parquet(directory):
    content = b"sample,objective\n"
    (directory / "trace.parquet").write_bytes(content)
    edit_manifest(files={"trace.parquet": hashlib.sha256(content).hexdigest()})(directory)


def altered_byte(directory):
    content = bytearray((directory / "trace.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (directory / "trace.parquet").write_bytes(content)


# What was done: (damage, the file that the message names, the reason).
DAMAGES = {
    "no manifest": (remove("manifest.json"), "manifest.json", "No such file"),
    "no trace": (remove("trace.parquet"), "trace.parquet", "No such file"),
    "a truncated manifest": (truncate("manifest.json"), "manifest.json", "not readable as JSON"),
    "a manifest that is a list": (lambda d: (d / "manifest.json").write_text("[]"), "manifest.json", "'format'"),
    "a truncated trace": (truncate("trace.parquet"), "trace.parquet", "do not match the hash"),
    "an altered trace": (altered_byte, "trace.parquet", "do not match the hash"),
    "another hash": (edit_manifest(files={"trace.parquet": "0" * 64}), "trace.parquet", "do not match the hash"),
    "no hash": (edit_manifest(files={}), "trace.parquet", "do not match the hash"),
    "a best design that is a number": (
        edit_manifest(best=3),
        "manifest.json",
        "'best' is missing or of the wrong type",
    ),
    "another format": (edit_manifest(format=99), "manifest.json", "format 99 where this version reads 1"),
    "a missing key": (edit_manifest(seconds=...), "manifest.json", "'seconds' is missing or of the wrong type"),
    "a key of the wrong type": (edit_manifest(samples_used="2"), "manifest.json", "'samples_used' is missing"),
    "a trace that is no Parquet": (no_parquet, "trace.parquet", "not readable as Parquet"),
    "a trace without a column": (replace_trace(TRACE.drop("feasible")), "trace.parquet", "columns"),
    "a trace of other types": (
        replace_trace(TRACE.with_columns(polars.col("objective").cast(polars.String))),
        "trace.parquet",
        "'objective': 'String'",
    ),
    "a trace with another column": (
        replace_trace(TRACE.with_columns(more=polars.lit(1))),
        "trace.parquet",
        "columns",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_named_with_the_file_and_the_reason(case, stored):
    damage, file, reason = DAMAGES[case]
    damage(stored)
    with pytest.raises(CorruptResultError) as raised:
        read_trial(stored)
    assert str(stored / file) in str(raised.value)
    assert reason in str(raised.value)


def test_a_directory_takes_one_suite_only(results, tiny_suite):
    before = (results / "suite.json").read_bytes()
    other = dataclasses.replace(tiny_suite, name="other")
    with pytest.raises(
        DsegymError, match="holds the results of the suite 'tiny'; choose another directory for 'other'"
    ):
        write_suite(results, other)
    assert (results / "suite.json").read_bytes() == before


def test_a_suite_that_has_grown_keeps_the_trials_that_it_had(tmp_path, tiny_suite):
    small = Suite("tiny", "", tiny_suite.trials[:2])
    identifiers = write_suite(tmp_path, small)
    assert write_suite(tmp_path, tiny_suite)[:2] == identifiers
    assert len(read_suite(tmp_path)["trials"]) == len(tiny_suite.trials)


def test_trials_of_another_suite_of_the_same_name_are_counted(results, tiny_suite):
    other = dataclasses.replace(tiny_suite, trials=tiny_suite.trials[2:])
    write_suite(results, other)
    assert len(batches.strays(results, read_suite(results)["trials"])) == 2
    write_suite(results, tiny_suite)
    assert batches.strays(results, read_suite(results)["trials"]) == []


def test_trials_that_are_no_product_make_no_suite(tmp_path, tiny_suite):
    with pytest.raises(DsegymError, match="not its agents on its instances with all its seeds"):
        write_suite(tmp_path, dataclasses.replace(tiny_suite, trials=tiny_suite.trials[:3]))


def test_the_note_declares_the_suites_trials(results, tiny_suite):
    assert store.declared_trials(read_suite(results)) == [trial.as_dict() for trial in tiny_suite.trials]


def test_the_note_declares_budgets_that_differ_and_agents_that_do_not_play_everywhere(tmp_path, tiny_suite):
    first, second = tiny_suite.trials[0], tiny_suite.trials[-1]
    other = dataclasses.replace(second, agent="sobol", samples=first.samples + 1)
    elsewhere = dataclasses.replace(first, options={**first.options, "objective": "energy"})
    trials = tuple(dataclasses.replace(each, seed=seed) for each in (first, other, elsewhere) for seed in (0, 1))
    write_suite(tmp_path, dataclasses.replace(tiny_suite, trials=trials))
    note = read_suite(tmp_path)
    assert store.declared_trials(note) == [trial.as_dict() for trial in trials]
    assert store.count_declared(note["declared"]) == len(note["trials"]) == 6
    assert sorted(itertools.chain(*note["declared"]["budgets"])) == [0, first.samples, first.samples, other.samples]


def test_an_agent_that_first_plays_on_a_later_instance_may_stand_anywhere_among_the_others(tmp_path, tiny_suite):
    first = tiny_suite.trials[0]
    played = {"latency": ("hill_climb", "sobol"), "energy": ("hill_climb", "exhaustive", "sobol"), "edp": ("sobol",)}
    trials = tuple(
        dataclasses.replace(first, agent=agent, options={**first.options, "objective": objective})
        for objective, agents in played.items()
        for agent in agents
    )
    write_suite(tmp_path, dataclasses.replace(tiny_suite, trials=trials))
    assert store.declared_trials(read_suite(tmp_path)) == [trial.as_dict() for trial in trials]
    crossed = dataclasses.replace(tiny_suite, trials=(*trials[:2], trials[4], trials[2]))
    with pytest.raises(DsegymError, match="not its agents on its instances"):
        write_suite(tmp_path / "crossed", crossed)


SEVERAL = """
name = "several"
samples = [20, 60, 40]
seeds = 2
[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
workload = ["alexnet", "resnet18"]
[[agents]]
name = "random_search"
[[agents]]
name = "genetic_algorithm"
draws = 2
most_samples = 30
"""


def test_the_note_declares_several_budgets(tmp_path):
    file = tmp_path / "several.toml"
    file.write_text(SEVERAL)
    suite = load_suite(file)
    held = {(trial.agent, trial.samples) for trial in suite.trials}
    assert held == {("random_search", each) for each in (20, 40, 60)} | {
        ("genetic_algorithm", each) for each in (20, 30)
    }
    assert len(suite.trials) == 2 * 2 * (3 + 2 * 2) == count_trials(read_suite_file(file))
    write_suite(tmp_path / "results", suite)
    declared = read_suite(tmp_path / "results")["declared"]
    assert store.declared_trials({"declared": declared}) == [trial.as_dict() for trial in suite.trials]
    assert store.count_declared(declared) == len(suite.trials)
    assert sorted(store.largest_budgets(declared).values()) == [30] * 4 + [60] * 2


@pytest.mark.parametrize("budgets", [[], [[1, 2, 3]], [[1]] * 40])
def test_budgets_of_other_agents_or_instances_are_refused(budgets, results):
    path = results / "suite.json"
    note = json.loads(path.read_text())
    note["declared"]["budgets"] = budgets
    path.write_text(json.dumps(note))
    with pytest.raises(CorruptResultError, match="'budgets' is no table of its agents on its instances"):
        read_suite(results)


def test_folders_that_lead_out_are_not_written_to(tmp_path, tiny_suite):
    for name in ("trials", "files"):
        results = tmp_path / f"with-{name}"
        results.mkdir()
        (results / name).symlink_to(tmp_path)
        with pytest.raises(CorruptResultError, match="leads out"):
            write_suite(results, tiny_suite)


def test_jaxs_switch_to_64_bits_gives_other_ids(tiny_suite):
    import jax

    usual = trial_id(tiny_suite.trials[0])
    with jax.enable_x64(True):
        store.versions.cache_clear()
        assert store.versions()["jax_enable_x64"] == "True"
        assert trial_id(tiny_suite.trials[0]) != usual
    store.versions.cache_clear()
    assert trial_id(tiny_suite.trials[0]) == usual


def test_a_directory_without_results_is_named(tmp_path):
    with pytest.raises(CorruptResultError, match=r"holds no results: there is no suite\.json"):
        read_suite(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not readable as JSON"),
        ('{"format": 1, "name": 3, "description": "", "trials": []}', "'name' is missing or of the wrong type"),
        ("{", "not readable as JSON"),
        ("[]", "'format' is missing"),
        ('{"format": 1, "name": "tiny", "description": ""}', "'trials' is missing"),
    ],
)
def test_a_damaged_note_of_the_suite_is_named(content, reason, results, tiny_suite):
    (results / "suite.json").write_text(content, encoding="utf-8")
    with pytest.raises(CorruptResultError, match=reason) as raised:
        read_suite(results)
    assert str(results / "suite.json") in str(raised.value)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_run_over_a_damaged_note_of_the_suite_stops(content, results, tiny_suite):
    (results / "suite.json").write_text(content, encoding="utf-8")
    with pytest.raises(DsegymError, match=r"suite\.json: "):
        write_suite(results, tiny_suite)
    assert (results / "suite.json").read_text(encoding="utf-8") == content


CHANGES = {
    "seed": {"seed": 5},
    "samples": {"samples": 61},
    "time_limit_s": {"time_limit_s": 1.0},
    "agent": {"agent": "tpe"},
    "hyperparameters": {"hyperparameters": {"population_size": 21}},
    "draw": {"draw": 1},
    "options": {"options": {"workload": "alexnet", "objective": "energy", "area_budget": "small"}},
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_trials_id_changes_with(field, tiny_suite):
    trial = tiny_suite.trials[-1]
    changed = dataclasses.replace(trial, **CHANGES[field])
    assert trial_id(dataclasses.replace(trial)) == trial_id(trial) != trial_id(changed)


def test_a_trials_id_changes_with_the_content_of_the_users_file(tmp_path, tiny_suite):
    table = tmp_path / "network.csv"
    trial = dataclasses.replace(tiny_suite.trials[0], options={"workload": str(table)})
    table.write_text("layer,kind,m,n,k\nonly,gemm,8,8,8\n", encoding="utf-8")
    before = trial_id(trial)
    copied = shutil.copy(table, tmp_path / "copy.csv")
    table.write_text("layer,kind,m,n,k\nonly,gemm,8,8,9\n", encoding="utf-8")
    assert trial_id(trial) != before
    shutil.copy(copied, table)
    assert trial_id(trial) == before


def test_a_trials_id_changes_with_the_sources_of_another_packages_agent(tmp_path, tiny_suite, monkeypatch):
    module = tmp_path / "visiting_agent.py"
    text = 'from dsegym.agents.random_search import RandomSearch\nclass Guest(RandomSearch):\n    name = "guest"\n'
    module.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    trial = dataclasses.replace(tiny_suite.trials[0], agent="visiting_agent:Guest")
    before = trial_id(trial)
    module.write_text(text + "# faster\n", encoding="utf-8")
    store.source_of.cache_clear()  # a process reads sources once
    assert trial_id(trial) != before
    sys.modules.pop("visiting_agent")


@pytest.fixture
def copied_sources(tmp_path, monkeypatch):
    """A copy of the part of this package whose files a trial's id hashes; the ids of this test are made from it."""
    root = tmp_path / "copy"
    for layer in store._LAYERS:
        shutil.copytree(store._ROOT / layer, root / layer, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(store, "_ROOT", root)
    forget_sources()
    yield root
    forget_sources()


def forget_sources():
    """A process reads sources and versions once."""
    for cached in (store.versions, store._own_source, store.source_of):
        cached.cache_clear()


SHIPPED_DATA = (".py", ".csv", ".jsonl", ".md")


@pytest.mark.parametrize("suffix", SHIPPED_DATA)
def test_a_trials_id_changes_with_every_kind_of_shipped_file(suffix, copied_sources, tiny_suite):
    trial = tiny_suite.trials[0]
    before = trial_id(trial)
    file = next(path for path in sorted((copied_sources / "costmodels").rglob(f"*{suffix}")) if path.stat().st_size)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"1", b"2") + b"\n")
    forget_sources()
    assert trial_id(trial) != before
    file.write_bytes(content)
    forget_sources()
    assert trial_id(trial) == before


def test_the_kinds_of_files_that_are_shipped_are_those_tested():
    found = {path.suffix for layer in store._LAYERS for path in store._files(store._ROOT / layer)}
    assert found == set(SHIPPED_DATA)


def test_caches_hidden_files_and_results_change_no_id(copied_sources, tiny_suite):
    before = trial_id(tiny_suite.trials[0])
    for name in ("__pycache__/model.py", "model.pyc", ".model.py.swp", ".cache/table.csv"):
        path = copied_sources / "costmodels" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("different", encoding="utf-8")
    write_suite(copied_sources / "costmodels" / "results", tiny_suite)
    forget_sources()
    assert trial_id(tiny_suite.trials[0]) == before
    (copied_sources / "costmodels" / "table.json").write_text("{}", encoding="utf-8")
    forget_sources()
    assert trial_id(tiny_suite.trials[0]) != before


def test_a_trials_id_changes_with_the_data_of_another_packages_agent(tmp_path, tiny_suite, monkeypatch):
    package = tmp_path / "visiting_package"
    package.mkdir()
    (package / "__init__.py").write_text(VISITOR, encoding="utf-8")
    (package / "weights.npz").write_bytes(b"1")
    monkeypatch.syspath_prepend(tmp_path)
    trial = dataclasses.replace(tiny_suite.trials[0], agent="visiting_package:Guest")
    before = trial_id(trial)
    (package / "weights.npz").write_bytes(b"2")
    store.source_of.cache_clear()
    assert trial_id(trial) != before
    sys.modules.pop("visiting_package")


VISITOR = """from dsegym.agents.random_search import RandomSearch


class Guest(RandomSearch):
    name = "guest"
    libraries = ("rich",)
"""


@pytest.mark.parametrize(
    ("library", "changed"),
    [
        ("optuna", {"tpe"}),
        ("rich", {"visiting_agent:Guest"}),
        ("ortools", {"tpe", "random_search", "visiting_agent:Guest"}),
    ],
)
def test_an_agents_libraries_enter_its_own_trials_ids_and_no_others(
    library, changed, tmp_path, tiny_suite, monkeypatch
):
    (tmp_path / "visiting_agent.py").write_text(VISITOR, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    agents = ("tpe", "random_search", "visiting_agent:Guest")
    trials = {agent: dataclasses.replace(tiny_suite.trials[0], agent=agent) for agent in agents}
    before = {agent: trial_id(trial) for agent, trial in trials.items()}
    installed = store.version
    monkeypatch.setattr(store, "version", lambda name: "999" if name == library else installed(name))
    store.versions.cache_clear()
    assert {agent for agent, trial in trials.items() if trial_id(trial) != before[agent]} == changed
    store.versions.cache_clear()
    sys.modules.pop("visiting_agent")


def test_ids_are_the_same_in_every_process(tiny_file, tiny_suite):
    script = "import sys; from dsegym.experiments import store, suite; "
    script += "print(*map(store.trial_id, suite.load_suite(sys.argv[1]).trials))"
    found = subprocess.run([sys.executable, "-c", script, tiny_file], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [trial_id(trial) for trial in tiny_suite.trials]
    assert len(set(found.stdout.split())) == len(tiny_suite.trials)


@pytest.mark.parametrize(
    ("name", "kept"), [("in.12.csv", ".12.csv"), ("net", ""), ("a b.tar.x y", ""), ("n.json", ".json"), (".hidden", "")]
)
def test_a_kept_file_keeps_the_suffixes_that_may_say_what_it_is(name, kept, tmp_path, tiny_suite):
    """A packing's capacity may stand there."""
    (tmp_path / name).write_bytes(b"same")
    trial = dataclasses.replace(tiny_suite.trials[0], options={"instance": str(tmp_path / name)})
    place = trial.as_dict()["instance"]["options"]["instance"]
    assert place == f"files/{store.file_hash(str(tmp_path / name))[:16]}{kept}"
    assert located({"instance": place, "price": "0"}, tmp_path) == {"instance": str(tmp_path / place), "price": "0"}


@pytest.mark.parametrize("refused", ["dup", "open"])
def test_a_trace_is_read_where_no_descriptor_is_left_for_silence(refused, stored, monkeypatch):
    real = getattr(os, refused)

    def none_left(*arguments, **named):
        if refused == "dup" or arguments[0] == os.devnull:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*arguments, **named)

    before = len(os.listdir("/dev/fd"))
    monkeypatch.setattr(os, refused, none_left)
    assert read_trial(stored).trace.height == 2
    assert len(os.listdir("/dev/fd")) == before
