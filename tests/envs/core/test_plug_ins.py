"""Third parties' scenarios in processes that know nothing of them yet."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.envs.core.scenarios import BUILT_IN

PLACE = Path(__file__).parents[1]  # of the toy scenarios
TOY = "toy/Staircase-v0"
HEAD = "import warnings; warnings.simplefilter('ignore')\nimport json, pickle, sys\n"


def printed(script, *places, given=b""):
    """What a fresh interpreter prints, with folders in front of its path."""
    path = os.pathsep.join(map(str, (*places, os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-c", HEAD + script]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, input=given, capture_output=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode().strip()


@pytest.fixture
def installed(tmp_path):
    """A folder in which a package that names a scenario as an entry point is installed."""
    metadata = tmp_path / "toy_steps-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-steps\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[dsegym.scenarios]\n{TOY} = staircase:SCENARIO\n", encoding="utf-8")
    return tmp_path


def test_a_specification_finds_the_scenario_in_a_process_that_has_not_imported_it(staircase):
    written = gymnasium.make(TOY, start="random").spec.to_json()
    script = """
import gymnasium, dsegym
assert 'toy/Staircase-v0' not in dsegym.scenario_ids()
env = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(sys.stdin.read()))
print(env.reset(seed=0)[0].shape, env.unwrapped.problem.options['start'], 'toy/Staircase-v0' in dsegym.scenario_ids())
"""
    assert printed(script, PLACE, given=written.encode()).endswith("random True")
    assert json.loads(written)["kwargs"]["location"] == "staircase:SCENARIO"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["environment", "problem"])
def test_a_pickle_finds_the_scenario_in_a_process_that_has_not_imported_it(staircase, what):
    env = gymnasium.make(TOY, start="fixed").unwrapped
    env.reset(seed=0)
    given = pickle.dumps(env if what == "environment" else env.problem)
    script = (
        "loaded = pickle.loads(sys.stdin.buffer.read())\nprint(type(loaded).__name__, getattr(loaded, 'scenario', ''))"
    )
    expected = "FunctionalGymnasiumEnv " if what == "environment" else f"Problem {TOY}"
    assert printed(script, PLACE, given=given) == expected.strip()


def test_every_shipped_problem_pickles_by_its_name_and_options():
    for scenario in dsegym.scenario_ids():
        if scenario.startswith("dsegym/"):
            problem = dsegym.make_problem(scenario, **dsegym.load_scenario(scenario).core_instances()[0])
            pickled = pickle.dumps(problem)
            assert len(pickled) < 2000
            fresh = dsegym.make_problem(scenario, **problem.options)
            for loaded, expected in (
                (pickle.loads(pickled), fresh),
                (pickle.loads(pickle.dumps(problem.as_searched)), fresh.as_searched),
            ):
                assert loaded.options == expected.options
                assert (loaded.digest, loaded.cost, loaded.space) == (expected.digest, expected.cost, expected.space)


def test_a_pickle_finds_a_users_file_from_any_folder_and_refuses_another_content(tmp_path, monkeypatch):
    path = tmp_path / "net.csv"
    path.write_text("layer,kind,m,n,k\na,gemm,64,64,512\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    problem = dsegym.make_problem("dsegym/AcceleratorSizing-v0", workload="net.csv")
    pickled = pickle.dumps(problem)
    monkeypatch.chdir(tmp_path.parent)
    assert pickle.loads(pickled).evaluate([0] * 7).objective == problem.evaluate([0] * 7).objective
    path.write_text("layer,kind,m,n,k\na,gemm,64,64,128\n", encoding="utf-8")
    with pytest.raises(DsegymError, match="has other content than when the instance was made of it"):
        pickle.loads(pickled)


def test_an_installed_packages_scenario_is_there_without_an_import(installed):
    script = """
import gymnasium, dsegym
print('toy/Staircase-v0' in dsegym.scenario_ids(), 'staircase' in sys.modules, end=' ')
print(gymnasium.make('toy/Staircase-v0').reset(seed=0)[0].shape)
"""
    assert printed(script, PLACE, installed).startswith("True False (")


@pytest.mark.slow
def test_a_spawned_worker_finds_a_third_partys_scenario(installed):
    script = """
import gymnasium, dsegym

def main():
    dsegym.register('toy/Other-v0', 'staircase:SCENARIO')
    spawn = {'context': 'spawn'}
    envs = gymnasium.make_vec('toy/Other-v0', num_envs=2, vectorization_mode='async', vector_kwargs=spawn)
    print(envs.reset(seed=0)[0].shape)
    envs.close()

main()
"""
    assert printed(script, PLACE).startswith("(2, ")


def test_another_packages_broken_name_keeps_no_one_from_the_rest(installed):
    place = next(installed.glob("*.dist-info")) / "entry_points.txt"
    place.write_text("[dsegym.scenarios]\nno id at all = staircase:SCENARIO\n", encoding="utf-8")
    assert printed("import dsegym\nprint(len(dsegym.scenario_ids()))", PLACE, installed) == str(len(BUILT_IN))


def test_gymnasium_imports_the_package_that_an_id_names():
    script = "import gymnasium\nprint(gymnasium.make('dsegym:dsegym/SleepTime-v0').reset(seed=0)[0].shape)"
    assert printed(script).startswith("(")
