"""Forked processes: they work where JAX has not started before, and say so in one sentence where it has."""

import subprocess
import sys

import pytest

IDS = ("dsegym/SocSchedulingStatic-v0", "dsegym/AcceleratorSizing-v0")
HEAD = "import warnings; warnings.simplefilter('ignore')\nimport multiprocessing, gymnasium, dsegym\n"
ASYNC = """
envs = gymnasium.make_vec({id!r}, num_envs=2, vectorization_mode='async')
try:
    observation, _ = envs.reset(seed=0)
    print('fine', len(observation))
    envs.close()
except Exception as error:
    print(type(error).__name__, error)
"""
EVALUATE = """
problem = dsegym.make_problem('dsegym/AcceleratorSizing-v0')
"""
POOL = """
def cost(design):
    return float(dsegym.make_problem('dsegym/AcceleratorSizing-v0').evaluate(design).objective[0])

with multiprocessing.get_context('fork').Pool(2) as pool:
    try:
        print('fine', len(pool.map(cost, [[0] * 7] * 4)))
    except Exception as error:
        print(type(error).__name__, error)
"""
BEFORE = "\nproblem.evaluate([0] * 7)\n"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are not forked on Windows")


def printed(script):
    """What a fresh interpreter prints of a script."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script], capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout.strip()


def test_gymnasiums_asynchronous_environment_works_where_making_an_environment_starts_no_jax():
    assert printed(ASYNC.format(id=IDS[0])) == "fine 2"


def test_where_jax_has_started_before_the_workers_name_the_remedy():
    said = printed(ASYNC.format(id=IDS[1]))
    assert said.startswith("ForkedError This process was forked after JAX had started")
    assert "vector_kwargs={'context': 'spawn'}" in said


@pytest.mark.slow
def test_a_pool_forked_after_an_evaluation_is_an_error_and_one_before_works():
    assert printed(POOL) == "fine 4"
    assert printed(EVALUATE + BEFORE + POOL).startswith("ForkedError")


@pytest.mark.slow
def test_an_environment_that_is_handed_to_a_spawned_process_works():
    script = """
import pickle, sys
env = gymnasium.make('dsegym/SocSchedulingStatic-v0')
env.reset(seed=0)
sys.stdout.buffer.write(pickle.dumps(env.unwrapped))
"""
    pickled = subprocess.run([sys.executable, "-c", HEAD + script], capture_output=True, timeout=120, check=True).stdout
    after = "import pickle, sys\nenv = pickle.loads(sys.stdin.buffer.read())\nprint(env.step(0)[0].shape)"
    loaded = subprocess.run([sys.executable, "-c", after], input=pickled, capture_output=True, timeout=120, check=True)
    assert loaded.stdout.decode().startswith("(")
