"""kill -9 at a hundred random moments: of the runner, of its workers, and of a Ray cluster's nodes.

The moments are spread over a run's length, so that they fall while it imports, searches and stores; as it writes for a
few milliseconds at a time, some are those at which it writes, moves or merges.
"""

import hashlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import NamedTuple

import numpy as np
import polars
import psutil
import pytest

from dsegym.experiments.batches import stored_trials
from dsegym.experiments.store import TrialResult

SEED = 20261129
SEEDS, AGENTS = 100, ("random_search", "genetic_algorithm")
SUITE = f"""
name = "killed"
samples = 40
seeds = {SEEDS}

[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
workload = "alexnet"
objective = "edp"
area_budget = "small"
""" + "".join(f'[[agents]]\nname = "{agent}"\n' for agent in AGENTS)
# The console script, whose batches are so small that a run writes, moves and merges many.
MAIN = """
from dsegym.experiments import batch_writing, cli, runner
runner._WAIT_S, runner._LEAST_BATCH, runner.MOST_TRIALS = 0.02, 4, 16
batch_writing.MOST_TRIALS, batch_writing._SMALL_TRIALS = 32, 12
batch_writing.compact.__kwdefaults__["least"] = 8
if __name__ == "__main__":
    cli.main()
"""
LONGEST_S = 300.0  # that a run may take, or a process to end that was left alone
has_ray = importlib.util.find_spec("ray") is not None and importlib.util.find_spec("ray").origin is not None
pytestmark = [
    pytest.mark.minutes,
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX"),
]


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "killed.toml"
    path.write_text(SUITE, encoding="utf-8")
    return path


def start(suite_file, results, *more):
    with (results.parent / f"{results.name}.log").open("ab") as log:
        arguments = ["run", suite_file, "--output", results, "--workers", "2", "--retry-failed", *more]
        return subprocess.Popen([sys.executable, "-c", MAIN, *arguments], stdout=log, stderr=log, cwd=results.parent)


class Calm(NamedTuple):
    """A run that nobody disturbed."""

    expected: dict[str, tuple[str, str]]  # what the seed determines of each trial, by id
    start_s: float  # until the first trial was stored
    length_s: float

    def left_s(self, stored):
        """How long a run takes where so many trials are stored."""
        return self.start_s + (1.0 - stored / len(self.expected)) * (self.length_s - self.start_s)


@pytest.fixture(scope="module")
def calm(suite_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm")
    assert start(suite_file, folder / "compiles").wait(LONGEST_S) == 0
    results = folder / "results"
    began_s = time.monotonic()
    process = start(suite_file, results)
    while process.poll() is None and not any(results.glob("[bt]*/*")):
        time.sleep(0.05)
    start_s = time.monotonic() - began_s
    assert process.wait(LONGEST_S) == 0
    length_s = time.monotonic() - began_s
    expected = {name: outcome(found) for name, found in trials_of(results).items()}
    assert len(expected) == SEEDS * len(AGENTS)
    return Calm(expected, start_s, length_s)


# --- What a directory holds. ---


def digest(found):
    """Of all that is stored of a trial, seconds too: stored once, it stays so."""
    manifest = json.dumps(found.manifest, sort_keys=True)
    return hashlib.sha256(manifest.encode() + found.trace.write_json().encode()).hexdigest()


def outcome(found):
    """What the seed determines of a trial."""
    manifest = {key: value for key, value in found.manifest.items() if key not in ("seconds", "files", "energy")}
    return json.dumps(manifest, sort_keys=True), found.trace.drop("elapsed_s").write_json()


def trials_of(results):
    """All that is stored, by id; whatever is no whole trial fails."""
    if not (results / "suite.json").exists():
        assert not list(results.glob("trials/*"))
        assert not list(results.glob("batches/*"))
        return {}
    found = list(stored_trials(results, json.loads((results / "suite.json").read_text(encoding="utf-8"))["trials"]))
    assert [each for _, each in found if not isinstance(each, TrialResult)] == []
    assert len(dict(found)) == len(found)
    return dict(found)


def look(results, seen):
    """Holds what is stored to what was seen before; what is finished now is seen."""
    now = {name: digest(found) for name, found in trials_of(results).items() if found.manifest["status"] == "finished"}
    assert {name: now.get(name) for name in seen} == seen
    seen |= now


def copies(results):
    """How often each trial is on the disk."""
    count = Counter(path.name for path in (results / "trials").glob("*") if not path.name.startswith("."))
    for path in (results / "batches").glob("*.parquet"):
        count.update(polars.read_parquet(path, columns=["trial_id"])["trial_id"])
    return count


def check_whole(results, seen, expected):
    """All trials are there, each once, as of a run that nobody disturbed, and nothing else."""
    look(results, seen)
    assert {name: outcome(found) for name, found in trials_of(results).items()} == expected
    assert copies(results) == dict.fromkeys(expected, 1)
    assert [path for path in results.rglob(".*") if path.is_dir() or path.is_file()] == []


# --- Who is killed: each kills one, and returns what the runner had started until then; None where none was there. ---


def kill_runner(process, results, generator):
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    return started


def kill_writer(process, results, generator):
    """The runner, within two milliseconds of the start of a write, one of the next dozen."""
    met, wanted = set(), generator.integers(1, 13)
    while process.poll() is None:
        met |= being_written(results)
        if len(met) >= wanted:
            time.sleep(generator.random() * 2e-3)
            return kill_runner(process, results, generator)
        time.sleep(1e-4)
    return None


def being_written(results):
    """The names of what is not whole yet, or no more."""
    folders = (folder for folder in (results, results / "trials", results / "batches") if folder.is_dir())
    return {name for folder in folders for name in os.listdir(folder) if name.startswith(".")}


def kill_worker(process, results, generator):
    """One of its workers; those that keep its resources and play agents are left."""
    started = psutil.Process(process.pid).children(recursive=True)
    victims = []
    for each in sorted(started, key=lambda each: each.pid):
        try:
            if "spawn_main" in " ".join(each.cmdline()):
                victims.append(each)
        except psutil.NoSuchProcess:
            continue
    if not victims:
        return None
    victims[generator.integers(len(victims))].kill()
    return started


LOCAL = {"runner": kill_runner, "writer": kill_writer, "worker": kill_worker}


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of this machine: a head and a node, one processor each."""
    if not has_ray:
        pytest.skip("Ray is not installed")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "150")
        beats = {f"health_check_{what}": value for what, value in (("initial_delay_ms", 0), ("period_ms", 1000))}
        settings = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
        nodes = Cluster(initialize_head=True, head_node_args={**settings, "_system_config": beats})
        nodes.add_node(**settings)
        yield nodes, settings
        nodes.shutdown()


@pytest.fixture
def victim(request):
    """Who is killed in this room: how the run is started, and what kills."""
    if request.param in LOCAL:
        return (), LOCAL[request.param]
    nodes, settings = request.getfixturevalue("cluster")

    def kill_node(process, results, generator):
        (node,) = nodes.worker_nodes
        nodes.remove_node(node, allow_graceful=False)
        nodes.add_node(**settings)
        return psutil.Process(process.pid).children(recursive=True)

    return ("--executor", "ray", "--address", nodes.address), kill_node


@pytest.mark.parametrize(
    ("victim", "kills", "pace"),  # lengths of what is left of a run between one kill and the next, at most
    [("runner", 40, 1.0), ("writer", 20, 0.1), ("worker", 30, 0.25), ("node", 10, 2.0)],
    indirect=["victim"],
)
def test_kill_9_at_random_moments_loses_nothing_and_doubles_nothing(victim, kills, pace, suite_file, calm, tmp_path):
    more, kill = victim
    generator = np.random.default_rng([SEED, kills])
    born, met, runs, process = [], Counter(), 0, None
    for number in itertools.count():
        results, seen, code = tmp_path / f"results-{number}", {}, None
        while code != 0:
            runs += process is None
            assert runs < 5 * kills, f"the runs do not end well: {results}.log"
            process = process or start(suite_file, results, *more)
            moment_s = generator.random() * pace * calm.left_s(len(seen))
            try:
                process.wait(moment_s if met["kills"] < kills else LONGEST_S)
            except subprocess.TimeoutExpired:
                assert met["kills"] < kills, f"a run took more than {LONGEST_S:g} s"
                started = kill(process, results, generator)
                met["kills"] += started is not None
                met["before there were workers"] += started == []
                met["while something was written"] += bool(being_written(results))
                born += started or []
                look(results, seen)
                met["between the first trial and the last"] += 0 < len(seen) < len(calm.expected)
            if (code := process.poll()) is not None:
                process = None
                look(results, seen)
        check_whole(results, seen, calm.expected)
        if met["kills"] == kills:
            break
    print(f"{dict(met)}, {runs} runs into {number + 1} directories; {calm.start_s:.1f} s of {calm.length_s:.1f} s")
    assert met["between the first trial and the last"]
    assert psutil.wait_procs(born, LONGEST_S)[1] == []  # whoever is left alone ends
    if kill is not kill_worker and not more:  # nor does Ray keep silent
        assert [path.name for path in tmp_path.glob("*.log") if b"Traceback" in path.read_bytes()] == []
