"""The Ray executor: the bits of this machine's, nodes that die, addresses where nothing answers, nodes that differ.

What an actor does is tested without Ray, as the actor is an ordinary class; the rest skips where Ray is not installed.
"""

import dataclasses
import importlib.util
import os
import platform
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import dsegym
from dsegym.costmodels.errors import DsegymError
from dsegym.experiments import runner
from dsegym.experiments.executors import Task, cluster, processes
from dsegym.experiments.identities import identity, trial_id, versions
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite import load_suite
from dsegym.experiments.verify import verify

AGENTS = Path(__file__).parent.parent
LAYERS = Path(dsegym.__file__).parent / "costmodels" / "accelerator" / "workload_tables" / "alexnet.csv"
OBJECT_STORE_BYTES = 80 * 2**20
MEMORY_BYTES = 2**30
has_ray = importlib.util.find_spec("ray") is not None and importlib.util.find_spec("ray").origin is not None
needs_ray = pytest.mark.skipif(not has_ray, reason="Ray is not installed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="agents' processes are those of POSIX")


@pytest.fixture(scope="module", autouse=True)
def importable():
    """Agents of another package: importable here, in workers and on nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(AGENTS)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(AGENTS), os.environ.get("PYTHONPATH", "")]))
        yield
    for name in ("awkward_agents", "rogue_agents"):
        sys.modules.pop(name, None)


def suite_of(path, tiny_file, agents, seeds=1):
    head = tiny_file.read_text(encoding="utf-8").partition("[[agents]]")[0].replace("seeds = 2", f"seeds = {seeds}")
    path.write_text(head + "".join(f'[[agents]]\nname = "{agent}"\n' for agent in agents), encoding="utf-8")
    return load_suite(path)


def task_of(trial, options=None):
    modules = trial.agent.partition(":")[0] if ":" in trial.agent else "dsegym", "dsegym"
    return Task(trial, trial_id(trial), versions(trial.agent), identity(trial), options or trial.options, modules)


def assert_same_results(one, two):
    """All trials of one directory are in the other, with the same bits but for seconds."""
    names = sorted(path.name for path in (one / "trials").iterdir())
    assert names == sorted(path.name for path in (two / "trials").iterdir())
    assert names
    for name in names:
        here, there = (read_trial(results / "trials" / name) for results in (one, two))
        assert here.trace.drop("elapsed_s").equals(there.trace.drop("elapsed_s"))
        timed = ("seconds", "files", "energy")
        assert {key: value for key, value in here.manifest.items() if key not in timed} == {
            key: value for key, value in there.manifest.items() if key not in timed
        }


# --- On a cluster. ---


@pytest.fixture
def one_node(monkeypatch):
    """Ray in this process, with one processor."""
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "150")  # beside other tests
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    settings = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False, "log_to_driver": False}
    ray.init("local", num_cpus=1, **settings)
    yield ray
    ray.shutdown()


@pytest.mark.slow
@needs_ray
@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_suite_on_ray_gives_the_bits_that_it_gives_here(one_node, finished, tiny_suite, tmp_path):
    summary = runner.run_suite(tiny_suite, tmp_path / "ray", executor=cluster.on_ray())
    assert (summary.statuses, summary.problems) == ({"finished": 4}, [])
    assert_same_results(finished, tmp_path / "ray")
    assert one_node.is_initialized()


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_node_that_is_killed_in_mid_run_loses_no_trial_and_doubles_none(tiny_file, tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    gate = tmp_path / "gate"
    gate.mkdir()
    monkeypatch.setenv("DSEGYM_TEST_GATE", str(gate))
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "150")
    beats = {f"health_check_{what}": value for what, value in (("initial_delay_ms", 0), ("period_ms", 1000))}
    settings = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args={**settings, "_system_config": beats})
    lost = nodes.add_node(**settings)
    suite = suite_of(tmp_path / "gated.toml", tiny_file, ["random_search", "awkward_agents:Gated"], seeds=3)
    stored = []

    def kill_one():
        deadline = time.monotonic() + 240.0
        while len(list(gate.glob("waiting-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        nodes.remove_node(lost, allow_graceful=False)
        (gate / "open").touch()

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        summary = runner.run_suite(
            suite,
            tmp_path / "ray",
            executor=cluster.on_ray(nodes.address),
            progress=lambda summary: stored.append(sum(summary.statuses.values())),
        )
    finally:
        killer.join()
        nodes.shutdown()
    assert (summary.statuses, summary.problems) == ({"finished": 6}, [])
    assert stored == list(range(7))  # each once
    assert all(verdict.problem == "" for verdict in verify(tmp_path / "ray", allow=["awkward_agents"]))
    runner.run_suite(suite, tmp_path / "here", workers=1)
    assert_same_results(tmp_path / "here", tmp_path / "ray")


# --- Addresses. ---


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "head", ":6379", "head:", "head:99999", "head:-1", "http://a:1"]
)
def test_what_is_no_address_is_refused_in_one_sentence(address):
    with pytest.raises(
        DsegymError, match=r"is no address of a Ray cluster: give HOST:PORT of its head, auto or local\.$"
    ):
        cluster.on_ray(address)


def test_without_ray_the_command_says_what_to_install(monkeypatch, dsegym_command, tiny_file, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, out, err = dsegym_command("run", tiny_file, "--output", tmp_path / "results", "--executor", "ray")
    assert (code, out) == (2, "")
    assert err.startswith("dsegym: The Ray executor needs Ray (")
    assert err.endswith("): pip install 'dsegym[cluster]'.\n")
    assert not (tmp_path / "results").exists()


def test_an_address_without_ray_or_for_a_suite_of_policies_is_refused(dsegym_command, tiny_file, tmp_path):
    assert dsegym_command("run", tiny_file, "--output", tmp_path, "--address", "auto") == (
        2,
        "",
        "dsegym: --address is for --executor ray.\n",
    )
    code, _, err = dsegym_command("run", "policies", "--output", tmp_path, "--executor", "ray")
    assert (code, err) == (2, "dsegym: --executor is for suites of trials; 'policies' is one of policies.\n")


@pytest.fixture
def answering():
    """Starts a server that answers each connection with these bytes: its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def start(content):
            def serve():
                connection, _ = server.accept()
                with connection:
                    connection.recv(1024)
                    connection.sendall(content)

            threading.Thread(target=serve, daemon=True).start()
            return f"127.0.0.1:{server.getsockname()[1]}"

        yield start


@pytest.mark.parametrize("content", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR\r\n"])
def test_a_server_that_is_no_head_is_named(content, answering):
    with pytest.raises(
        DsegymError, match=r"What answers at the Ray address 127\.0\.0\.1:\d+ is no head of a Ray cluster"
    ):
        cluster._check_answer(answering(content))


def test_a_server_of_grpc_may_be_a_head(answering):
    cluster._check_answer(answering(bytes.fromhex("000006 04 00 00000000 0005 00400000")))


@needs_ray
def test_an_address_where_nothing_answers_is_one_sentence_and_what_is_stored_stays(
    dsegym_command, tiny_file, results, first_trial
):
    for path in first_trial.iterdir():
        path.unlink()
    first_trial.rmdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    run = ("run", tiny_file, "--output", results, "--executor", "ray", "--address", address)
    code, out, err = dsegym_command(*run)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"dsegym: The Ray address {address} does not answer: Connection refused."
    assert len(list((results / "trials").iterdir())) == 3


def test_an_address_of_the_environment_is_held_to_the_same_form(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(DsegymError, match="'ray://head:10001' is no address of a Ray cluster"):
        cluster.on_ray()
    cluster.on_ray("head:6379")


# --- What Ray says of those that are lost, and what becomes of their trials: a stand-in says it. ---


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


DEAD_NODE = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: Keeper\n\tip: 192.0.2.2\n"
    "The actor died because its node has died. Node Id: fbb25dec51a2\n"
    "\tthe actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats"
)


@pytest.fixture
def standing_in(tiny_suite):
    """A cluster whose actors answer with what the list says, in order: (cluster, list)."""
    says = []

    def get(answer, timeout=None):
        said = says.pop(0)
        if isinstance(said, RayError):
            raise said
        return said

    method = SimpleNamespace(remote=lambda *arguments: object())
    actor = SimpleNamespace(remote=lambda *arguments: SimpleNamespace(refused=method, play=method, end=method))
    ray = SimpleNamespace(
        get=get,
        kill=lambda actor: None,
        wait=lambda answers, num_returns, timeout: (answers if says else [], []),
        remote=lambda **options: lambda kind: actor,
        get_runtime_context=lambda: SimpleNamespace(gcs_address="127.0.0.1:1"),  # where nothing is
        exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError),
    )
    return cluster._Cluster(ray, task_of(tiny_suite.trials[0]), MEMORY_BYTES), says


def answer_of(worker):
    worker.cluster.wait([worker])
    return worker.take()


def test_a_lost_node_costs_its_trial_an_attempt_with_rays_reason(standing_in, tiny_suite):
    nodes, says = standing_in
    worker = nodes.start()
    says += [""]
    assert worker.is_awaited
    assert answer_of(worker) is None
    assert not worker.is_awaited
    worker.give(task_of(tiny_suite.trials[0]))
    says += [RayError(DEAD_NODE)]
    lost = answer_of(worker)
    assert (lost.was_killed, lost.retires, lost.status) == (True, True, "failed")
    assert lost.message == (
        "the Ray worker was lost: its node has died: the actor's node was terminated unexpectedly: health check failed "
        "due to missing too many heartbeats; its samples are lost."
    )


def test_an_actor_that_does_not_answer_in_time_is_given_up(standing_in, tiny_suite, monkeypatch):
    monkeypatch.setattr(cluster, "GRACE_S", -1e6)
    worker = standing_in[0].start()
    worker.give(task_of(tiny_suite.trials[0]))
    assert answer_of(worker)[3:5] == (True, "timed_out")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("The Ray node n has other python.", "The Ray node n has other python."),
        (RayTaskError("Traceback (most recent call last):\n  x\nOSError: no space"), "cannot work: OSError: no space"),
        (RayError("The actor died because of an error raised in its creation task, x"), "No worker starts on the Ray"),
    ],
)
def test_a_worker_that_cannot_work_at_all_ends_the_run(said, sentence, standing_in):
    nodes, says = standing_in
    worker = nodes.start()
    says += [said]
    with pytest.raises(DsegymError, match=sentence):
        answer_of(worker)


def test_actors_that_are_lost_as_they_start_end_the_run_when_there_were_three(standing_in):
    nodes, says = standing_in
    for _ in range(2):
        says += [RayError(DEAD_NODE)]
        assert answer_of(nodes.start()).retires
    says += [RayError(DEAD_NODE)]
    with pytest.raises(DsegymError, match="No worker starts on the Ray cluster: its node has died"):
        answer_of(nodes.start())


def test_a_cluster_without_a_free_processor_or_without_its_head_is_one_sentence(standing_in, monkeypatch):
    nodes, _ = standing_in
    worker = nodes.start()
    assert answer_of(worker) is None  # the head may come again
    monkeypatch.setattr(cluster, "_HEAD_S", 0.0)
    with pytest.raises(DsegymError, match=r"The head of the Ray cluster, 127\.0\.0\.1:1, answers no more"):
        nodes.wait([worker])
    monkeypatch.setattr(cluster, "_START_S", -1.0)
    with pytest.raises(DsegymError, match="No node of the Ray cluster has had a processor free"):
        nodes.wait([worker])


# --- What an actor does on its node. ---


@pytest.fixture
def keeper(monkeypatch):
    """An actor in this process, which sets its environment."""
    before = dict(os.environ)
    monkeypatch.setattr(sys, "path", list(sys.path))
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray sets it
    alike = {name: value for name, value in before.items() if name.startswith("JAX_")} | {"JAX_PLATFORMS": "cpu"}
    keeper = cluster.Keeper(sys.path, alike, MEMORY_BYTES)
    yield keeper
    keeper.end()
    os.environ.clear()
    os.environ.update(before)
    assert not os.path.exists(keeper._folder)


def test_a_node_that_differs_is_named_in_one_sentence(keeper, tiny_suite):
    asked = versions("random_search")
    node, end = platform.node(), "and results would name 0: install there what is installed here."
    assert keeper.refused(asked, ["dsegym.agents", "dsegym.envs"], ["", ""]) == ""
    for name, what in (("python", "python"), ("jax", "jax"), ("dsegym_sources", "the sources of dsegym")):
        assert keeper.refused({**asked, name: "0"}, [], []) == f"The Ray node {node} has {what} {asked[name]}, {end}"
    assert keeper.refused({"no_such_library": "0"}, [], []) == f"The Ray node {node} has no no_such_library, {end}"
    assert keeper.refused({}, ["no_such_package.agents"], ["0"]).startswith(
        f"The Ray node {node} cannot import 'no_such_package.agents': No module named"
    )
    assert keeper.refused({}, ["awkward_agents"], ["0"]) == (
        f"The Ray node {node} has other files of 'awkward_agents' than this run."
    )
    task = task_of(tiny_suite.trials[0])
    refused = keeper.play(task._replace(versions={**task.versions, "python": "2.7.18"}), {})
    assert isinstance(refused, DsegymError)


def test_a_node_computes_with_the_environment_of_the_one_who_asks(keeper):
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["JAX_PLATFORMS"] == "cpu"


@pytest.mark.slow
def test_an_actor_outlives_its_worker_process_and_tells_why_that_ended(keeper, tiny_file, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_S", 5.0)
    agents = ["rogue_agents:KillsItsParent", "rogue_agents:StopsItsParent", "random_search"]
    killed, stopped, well = suite_of(tmp_path / "rogues.toml", tiny_file, agents).trials
    outcome = keeper.play(task_of(killed), {})
    assert (outcome.was_killed, outcome.retires, outcome.status) == (True, False, "failed")
    assert outcome.message == "the worker process died (exit code -9); its samples are lost."
    outcome = keeper.play(task_of(dataclasses.replace(stopped, time_limit_s=5.0)), {})
    assert (outcome.was_killed, outcome.status) == (False, "timed_out")
    assert outcome.message == "the worker did not stop within 10 s and was ended; its samples are lost."
    outcome = keeper.play(task_of(well), {})
    assert (outcome.manifest["status"], outcome.trace.height) == ("finished", 60)


@pytest.mark.slow
def test_users_files_come_with_the_task(keeper, tiny_suite, tmp_path):
    there = tmp_path / "alexnet.csv"  # as on another machine
    there.write_bytes(LAYERS.read_bytes())
    trial = dataclasses.replace(
        tiny_suite.trials[0], options={**tiny_suite.trials[0].options, "workload": str(there)}, samples=5
    )
    task, content, declared = task_of(trial), there.read_bytes(), trial.as_dict()
    there.unlink()
    outcome = keeper.play(task, {there.name: content})
    assert outcome.manifest["status"] == "finished"
    assert outcome.manifest["trial"] == declared
