"""A trial's id says what determines its samples."""

import dataclasses
import shutil
import subprocess
import sys

import pytest

from dsegym.experiments import identities
from dsegym.experiments.identities import trial_id
from dsegym.experiments.suite_note import write_suite


def test_jaxs_switch_to_64_bits_gives_other_ids(tiny_suite):
    import jax

    usual = trial_id(tiny_suite.trials[0])
    with jax.enable_x64(True):
        identities.versions.cache_clear()
        assert identities.versions()["jax_enable_x64"] == "True"
        assert trial_id(tiny_suite.trials[0]) != usual
    identities.versions.cache_clear()
    assert trial_id(tiny_suite.trials[0]) == usual


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
    identities.source_of.cache_clear()  # a process reads sources once
    assert trial_id(trial) != before
    sys.modules.pop("visiting_agent")


@pytest.fixture
def copied_sources(tmp_path, monkeypatch):
    """A copy of the part of this package whose files a trial's id hashes; the ids of this test are made from it."""
    root = tmp_path / "copy"
    for layer in identities._LAYERS:
        shutil.copytree(identities._ROOT / layer, root / layer, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identities, "_ROOT", root)
    forget_sources()
    yield root
    forget_sources()


def forget_sources():
    """A process reads sources and versions once."""
    for cached in (identities.versions, identities._own_source, identities.source_of):
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
    found = {path.suffix for layer in identities._LAYERS for path in identities._files(identities._ROOT / layer)}
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
    identities.source_of.cache_clear()
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
    installed = identities.version
    monkeypatch.setattr(identities, "version", lambda name: "999" if name == library else installed(name))
    identities.versions.cache_clear()
    assert {agent for agent, trial in trials.items() if trial_id(trial) != before[agent]} == changed
    identities.versions.cache_clear()
    sys.modules.pop("visiting_agent")


def test_ids_are_the_same_in_every_process(tiny_file, tiny_suite):
    script = "import sys; from dsegym.experiments import identities, suite; "
    script += "print(*map(identities.trial_id, suite.load_suite(sys.argv[1]).trials))"
    found = subprocess.run([sys.executable, "-c", script, tiny_file], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [trial_id(trial) for trial in tiny_suite.trials]
    assert len(set(found.stdout.split())) == len(tiny_suite.trials)
