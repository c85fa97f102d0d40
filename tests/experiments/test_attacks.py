"""Attacks on a results directory: forged trials, damaged and hostile files, links out of it. Each is refused in a
sentence, in seconds and within the memory that a directory of its size needs, by `verify` and by `publish`.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import polars
import pytest

import dsegym
from dsegym.experiments.identities import hashed_id
from dsegym.experiments.layout import trial_directory
from dsegym.experiments.publish import board_of
from dsegym.experiments.report.text import to_json, to_markdown
from dsegym.experiments.scoring.leaderboard import build_timings
from dsegym.experiments.store import read_trial
from dsegym.experiments.suite_note import read_suite
from dsegym.experiments.verify import verify

pytestmark = pytest.mark.slow

MOST_S = 60.0  # that a command may take on four small trials, on a machine that others use


def first(results):
    return min((results / "trials").iterdir())


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def manifest(change):
    """Edits the first trial's manifest; the trial's id is left as it was."""

    def attack(results):
        path = first(results) / "manifest.json"
        content = read(path)
        change(content)
        write(path, content)

    return attack


def note(change):
    def attack(results):
        content = read(results / "suite.json")
        change(content)
        write(results / "suite.json", content)

    return attack


def renamed(results, change, directory=None):
    """Edits a trial as one who knows how ids are made: folder, manifest and the suite's list agree."""
    directory = directory or first(results)
    content = read(directory / "manifest.json")
    old = content["trial_id"]
    change(content)
    content["trial_id"] = hashed_id(content["trial"], content["versions"], content["identity"])
    write(directory / "manifest.json", content)
    directory.rename(directory.with_name(content["trial_id"]))
    note(lambda n: n.update(trials=[content["trial_id"] if each == old else each for each in n["trials"]]))(results)


def forged(change):
    return lambda results: renamed(results, change)


def signed(results, trace, change=lambda content: None):
    """Puts another trace into the first trial, with its hash."""
    directory = first(results)
    trace.write_parquet(directory / "trace.parquet")

    def sign(content):
        digest = hashlib.sha256((directory / "trace.parquet").read_bytes()).hexdigest()
        content.update(files={"trace.parquet": digest}, samples_used=trace.height)
        change(content)

    manifest(sign)(results)


def text(name, content):
    def attack(results):
        path = results / name if name == "suite.json" else first(results) / name
        path.write_text(content, encoding="utf-8")

    return attack


def unfloatable(number):
    """A number that Python would read as infinite, in the first trial's decoded design."""

    def attack(results):
        path = first(results) / "manifest.json"
        content = read(path)
        content["best"]["decoded"] = {"rows": "HERE"}
        write(path, content)
        path.write_text(path.read_text(encoding="utf-8").replace('"HERE"', number), encoding="utf-8")

    return attack


def instead(name, put):
    """Puts something else in a file's place."""

    def attack(results):
        path = results / name if name == "suite.json" else first(results) / name
        path.unlink()
        put(path)

    return attack


def link_to(target):
    return lambda path: path.symlink_to(target)


def trials_elsewhere(results):
    (results / "trials").rename(results.parent / "elsewhere")
    (results / "trials").symlink_to(results.parent / "elsewhere")


def bomb(results):
    count = 3_000_000
    columns = {
        "sample": polars.zeros(count, polars.Int32, eager=True),
        "objective": polars.zeros(count, polars.Float64, eager=True),
        "feasible": polars.repeat(True, count, eager=True),
        "elapsed_s": polars.zeros(count, polars.Float64, eager=True),
        "design": polars.Series([[0]], dtype=polars.List(polars.Int32)).new_from_index(0, count),
    }
    signed(results, polars.DataFrame(columns))


def times(values):
    def attack(results):
        trace = polars.read_parquet(first(results) / "trace.parquet")
        signed(results, trace.with_columns(elapsed_s=polars.Series(values(trace.height), dtype=polars.Float64)))

    return attack


def rival(results):
    """The trace of another agent under the first trial's name."""
    other = max((results / "trials").iterdir())
    signed(
        results,
        polars.read_parquet(other / "trace.parquet"),
        lambda m: m.update({name: read(other / "manifest.json")[name] for name in ("best", "seconds")}),
    )


HUGE = 300_000_000
OTHER_TRIAL = "not the one that the suite declares"
FIFO = {"manifest.json": os.mkfifo, "trace.parquet": os.mkfifo, "suite.json": os.mkfifo}
# What was done, and what `verify` says of it.
FORGERIES = {
    "another agent's name": (
        forged(lambda m: m["trial"]["agent"].update(name="tpe")),
        OTHER_TRIAL,
    ),
    "another seed": (forged(lambda m: m["trial"].update(seed=77)), OTHER_TRIAL),
    "a larger budget": (forged(lambda m: m["trial"].update(samples=5000)), OTHER_TRIAL),
    "another time limit": (
        forged(lambda m: m["trial"].update(time_limit_s=9.0)),
        OTHER_TRIAL,
    ),
    "other hyperparameters": (
        forged(lambda m: m["trial"]["agent"].update(hyperparameters={"population_size": 7})),
        OTHER_TRIAL,
    ),
    "a draw": (forged(lambda m: m["trial"]["agent"].update(draw=3)), OTHER_TRIAL),
    "other versions": (forged(lambda m: m["versions"].update(jax="9.9")), "jax 9.9"),
    "a worse seed dropped": (note(lambda n: n["trials"].pop()), "declares 4 trials, and 3 are named"),
    "nothing declared": (note(lambda n: n.pop("declared")), "does not say which trials its suite declares"),
    "a shipped suite's name": (note(lambda n: n.update(name="lottery")), "name of the shipped suite 'lottery'"),
    "the bound's kind": (manifest(lambda m: m["bound"].update(kind="best known")), "the manifest's bound's kind"),
    "the bound's source": (manifest(lambda m: m["bound"].update(source="me")), "the manifest's bound's source"),
    "the reference's name": (manifest(lambda m: m["reference"].update(name="me")), "the manifest's reference's name"),
    "the unit": (manifest(lambda m: m["objective"].update(unit="ns")), "the manifest's objective's unit"),
    "the objective's name": (manifest(lambda m: m["objective"].update(name="x")), "the manifest's objective's name"),
    "a failure without a message": (manifest(lambda m: m.update(status="failed")), "it is said to be failed"),
    "a failure called finished": (manifest(lambda m: m.update(message="boom")), "it is said to be finished"),
    "negative seconds": (manifest(lambda m: m["seconds"].update(total=-1.0)), "seconds contradict each other"),
    "too few seconds": (times(lambda n: [9.0 + i for i in range(n)]), "seconds contradict each other"),
    "another package": (
        forged(lambda m: m["trial"]["instance"].update(scenario="this:dsegym/AcceleratorSizing-v0")),
        "say --allow this",
    ),
    "a file of the verifier's": (
        forged(lambda m: m["trial"]["instance"]["options"].update(workload="/etc/passwd.csv")),
        "is a file that the results do not keep",
    ),
    "a file that is not kept": (
        forged(lambda m: m["trial"]["instance"]["options"].update(workload=f"files/{'0' * 16}.csv")),
        "No such file",
    ),
}
# What was done, and what both `verify` and `publish` say of it.
DAMAGES = {
    "a list of numbers for trials": (
        note(lambda n: n.update(trials=[1])),
        "'trials.0' is missing or of",
    ),
    "an id that leads out": (note(lambda n: n.update(trials=["../../etc"])), "'trials.0'"),
    "a trial named twice": (note(lambda n: n["trials"].append(n["trials"][0])), "a trial stands there twice"),
    "a note of format 0": (
        note(lambda n: n.update(format=0)),
        "format 0 where this version reads 1. Run",
    ),
    "a manifest of format 99": (manifest(lambda m: m.update(format=99)), "`dsegym run SUITE --output DIRECTORY`"),
    "an unknown status": (manifest(lambda m: m.update(status="great")), "'status'"),
    "no seconds": (manifest(lambda m: m.update(seconds={})), "'seconds.agent'"),
    "no bound": (manifest(lambda m: m.update(bound={})), "'bound.kind'"),
    "a bound of null": (manifest(lambda m: m["bound"].update(value=None)), "'bound.value'"),
    "an instance of null": (manifest(lambda m: m["trial"].update(instance=None)), "'trial.instance'"),
    "a boolean for a number": (manifest(lambda m: m["seconds"].update(agent=True)), "'seconds.agent'"),
    "NaN": (text("manifest.json", '{"format": 1, "seconds": NaN}'), "the number NaN is not allowed"),
    "infinity": (text("manifest.json", '{"samples_used": Infinity}'), "the number Infinity is not allowed"),
    "a float beyond all floats": (unfloatable("1e999"), "the number 1e999 is not allowed"),
    "a negative float beyond all floats": (unfloatable("-1.5e400"), "the number -1.5e400 is not allowed"),
    "an integer of 5,000 digits": (text("manifest.json", "9" * 5000), "not readable as JSON"),
    "JSON nested 100,000 deep": (text("manifest.json", "[" * 100_000 + "]" * 100_000), "nested too deeply"),
    "a member twice": (text("suite.json", '{"format": 1, "format": 1}'), "the member 'format' is given twice"),
    "half a surrogate pair": (text("manifest.json", '{"message": "\\ud800"}'), "not readable as JSON"),
    "bytes that are no text": (lambda r: (r / "suite.json").write_bytes(b"\xff\xfe"), "not readable as JSON"),
    **{f"a pipe for {name}": (instead(name, put), "no regular file") for name, put in FIFO.items()},
    **{f"a link to zeros for {name}": (instead(name, link_to("/dev/zero")), "leads out") for name in FIFO},
    "a link to another file": (instead("manifest.json", link_to("/etc/hostname")), "leads out"),
    "a link in a circle": (instead("manifest.json", lambda path: path.symlink_to(path)), "manifest.json"),
    "trials behind a link": (trials_elsewhere, "leads out"),
    "a manifest of 300 MB": (instead("manifest.json", lambda path: path.write_bytes(b" " * HUGE)), "300,000,000 bytes"),
    "a folder for a manifest": (instead("manifest.json", lambda path: path.mkdir()), "manifest.json"),
    "a trace of three million rows": (bomb, "3000000 samples, where the manifest says 3000000 of a budget of 60"),
    "times that fall": (times(lambda n: [1.0 - i / n for i in range(n)]), "'elapsed_s' does not rise"),
    "times that are none": (times(lambda n: [float("nan")] * n), "'elapsed_s' does not rise"),
    "times of null": (times(lambda n: [None] * n), "'elapsed_s' is missing in some samples"),
}


def refusals(results):
    """What `verify` says."""
    try:
        return " ".join(verdict.problem for verdict in verify(results) if verdict.problem)
    except dsegym.DsegymError as error:
        return str(error)


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forgery_is_rejected(case, results):
    attack, reason = FORGERIES[case]
    attack(results)
    assert reason in refusals(results)


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_or_hostile_file_is_one_sentence_for_both_commands(case, results):
    attack, reason = DAMAGES[case]
    attack(results)
    start = time.monotonic()
    assert reason in refusals(results)
    with pytest.raises(dsegym.DsegymError) as raised:
        dsegym.publish(results)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert time.monotonic() - start < MOST_S
    assert not (results / "leaderboard").exists()


def test_a_rivals_trace_under_ones_own_name_is_found_by_running_the_agent_again(results):
    rival(results)
    assert refusals(results) == ""
    found = " ".join(verdict.problem for verdict in verify(results, rerun=True))
    assert "run again" in found
    assert "comes to other designs from sample 1 on" in found


def test_samples_left_out_are_found_by_running_the_agent_again(results):
    trace = polars.read_parquet(first(results) / "trace.parquet")
    best = int(trace["objective"].arg_min())
    kept = polars.concat([trace[best : best + 1], trace[best + 1 :]]).with_columns(
        sample=polars.Series(range(1, trace.height - best + 1), dtype=polars.Int32)
    )

    def claim(content):
        content["best"]["sample"] = 1

    signed(results, kept, claim)
    assert refusals(results) == ""
    assert "run again" in " ".join(verdict.problem for verdict in verify(results, rerun=True))


def test_what_was_run_survives_being_run_again(results):
    assert [verdict.problem for verdict in verify(results, rerun=True)] == [""] * 4


def test_a_leaderboard_is_written_through_no_link(results, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    dsegym.publish(results)
    for name in ("leaderboard.json", "leaderboard.md", "leaderboard.html"):
        (results / "leaderboard" / name).unlink()
        (results / "leaderboard" / name).symlink_to(victim)
    dsegym.publish(results)
    assert victim.read_text(encoding="utf-8") == "mine"
    shutil.rmtree(results / "leaderboard")
    (results / "leaderboard").symlink_to(tmp_path)
    with pytest.raises(dsegym.DsegymError, match="leads out"):
        dsegym.publish(results)


def test_a_package_that_a_manifest_names_is_not_imported(results):
    renamed(results, lambda m: m["trial"]["instance"].update(scenario="this:dsegym/AcceleratorSizing-v0"))
    script = (
        "import sys, dsegym; dsegym.verify(sys.argv[1]); dsegym.publish(sys.argv[1]); assert 'this' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", script, str(results)], capture_output=True, text=True, check=True)
    assert found.stdout == ""


INSTALLED_AGENT = """
from dsegym import Agent

class Sampler(Agent):
    name, summary = "installed_sampler", "one batch of random designs"

    def search(self, referee, seed):
        import numpy as np

        referee.evaluate(referee.space.sample(np.random.default_rng(seed), referee.budget))
"""
INSTALLED_SUITE = """
name = "installed"
samples = 20
seeds = 1
[[instances]]
scenario = "dsegym/AcceleratorSizing-v0"
workload = "alexnet"
[[agents]]
name = "installed_sampler"
"""
RUN_HERE = """
import sys, pathlib
from dsegym.experiments.suite_note import write_suite
from dsegym.experiments.suite import load_suite
from dsegym.experiments.trial import run_trial
suite, results = load_suite(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])
for trial, identifier in zip(suite.trials, write_suite(results, suite)):
    run_trial(trial, identifier, results)
"""
LOOK = """
import sys, dsegym
allow, names = sys.argv[2].split(), []
problems = [verdict.problem for verdict in dsegym.verify(sys.argv[1], allow=allow)]
dsegym.publish(sys.argv[1], allow=allow)
print([name for name in ("installed_agent", "installed_scenario") if name in sys.modules], *filter(None, problems))
"""


@pytest.fixture
def installed(tmp_path):
    """A folder in which a package that names an agent and a scenario as entry points is installed."""
    folder = tmp_path / "site"
    metadata = folder / "installed-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(
        "[dsegym.agents]\ninstalled_sampler = installed_agent:Sampler\n"
        "[dsegym.scenarios]\ninstalled/Sizing-v0 = installed_scenario:SCENARIO\n",
        encoding="utf-8",
    )
    (folder / "installed_agent.py").write_text(INSTALLED_AGENT, encoding="utf-8")
    (folder / "installed_scenario.py").write_text(
        "from dsegym.envs.accelerator.sizing import SCENARIO\n", encoding="utf-8"
    )
    return folder


def printed(script, *arguments, site=None):
    """What a fresh interpreter prints, with another folder of packages or without."""
    path = os.pathsep.join(filter(None, (str(site or ""), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_an_installed_packages_agent_is_imported_only_where_it_is_allowed(installed, tmp_path):
    (tmp_path / "installed.toml").write_text(INSTALLED_SUITE, encoding="utf-8")
    results = tmp_path / "installed-results"
    printed(RUN_HERE, tmp_path / "installed.toml", results, site=installed)
    assert printed(LOOK, results, "", site=installed) == "[]"
    assert printed(LOOK, results, "installed_agent", site=installed) == "['installed_agent']"
    assert printed(LOOK, results, "") == "[]"  # not installed: its samples are replayed without it
    rerun = "import sys, dsegym; print(*(v.problem for v in dsegym.verify(sys.argv[1], rerun=True)))"
    assert "say --allow installed_agent" in printed(rerun, results, site=installed)
    # Whoever claims such a name for this package's own claims what is not there.
    renamed(results, lambda m: m["identity"].update(sources=["", ""]))
    assert "nknown agent 'installed_sampler'" in printed(LOOK, results, "")


@pytest.mark.parametrize("package", ["", "numpy:"])
def test_an_installed_packages_scenario_is_imported_only_where_it_is_allowed(installed, package, results):
    renamed(results, lambda m: m["trial"]["instance"].update(scenario=f"{package}installed/Sizing-v0"))
    found = printed(LOOK, results, "", site=installed)
    assert found.startswith("[] ")
    assert "say --allow installed_scenario" in found
    found = printed(LOOK, results, "installed_scenario", site=installed)
    assert found.startswith("['installed_scenario']")
    assert "--allow" not in found


def test_escape_codes_in_a_name_do_not_reach_the_terminal(results, dsegym_command):
    evil = "x:\x1b]0;evil\x07\u202e"
    for directory in sorted((results / "trials").iterdir()):
        renamed(results, lambda m: m["trial"]["agent"].update(name=evil + m["trial"]["agent"]["name"]), directory)
    printed = "".join("".join(dsegym_command(command, results)[1:]) for command in ("leaderboard", "verify"))
    assert not set(evil[2:3] + evil[-2:]) & set(printed)
    assert "\\x1b" in printed


@pytest.mark.parametrize("case", ["\x1b]0;evil\x07", "[/bold]", "[red]", ":smile:"])
def test_a_sentence_shows_what_was_given_as_it_is(case, dsegym_command):
    code, out, err = dsegym_command("info", "dsegym/AcceleratorSizing-v0", "--option", f"workload={case}")
    assert (code, out) == (2, "")
    assert case.replace("\x1b", "\\x1b").replace("\x07", "\\x07") in err
    assert "Traceback" not in err


ODD = (None, [], {}, "", -1, 1e308, True, "x" * 5000, [1], {"a": 1}, 2**70, "\x1b[31m", ...)


def places(content, place=()):
    """Every member of JSON, the first three of each list."""
    yield place
    listed = enumerate(content[:3]) if isinstance(content, list) else ()
    for key, member in content.items() if isinstance(content, dict) else listed:
        yield from places(member, (*place, key))


def changed(content, place, value):
    """A copy with one member changed, or left out where the value is `...`."""
    copy = json.loads(json.dumps(content))
    if not place:
        return None if value is ... else value
    *outer, last = place
    inner = copy
    for key in outer:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copy


@pytest.mark.parametrize("name", ["manifest.json", "suite.json"])
def test_one_odd_member_is_a_sentence_or_harmless(name, results):
    path = results / name if name == "suite.json" else first(results) / name
    content = read(path)
    for place in places(content):
        for value in ODD:
            write(path, changed(content, place, value))
            assert len(refusals(results)) < 2000 * 4, (place, value)
            with contextlib.suppress(dsegym.DsegymError):
                note = read_suite(results)
                trials = [read_trial(trial_directory(results, identifier)) for identifier in note["trials"]]
                board = board_of([results], [note], trials)
                assert to_json(board)
                assert to_markdown(board)
                assert build_timings(trials)


def test_a_trace_with_altered_bytes_is_a_sentence_or_harmless(results, capfd):
    path = first(results) / "trace.parquet"
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        content[generator.integers(len(content))] = generator.integers(256)
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        manifest(lambda m, digest=digest: m.update(files={"trace.parquet": digest}))(results)
        assert len(refusals(results)) < 2000
    assert "panicked" not in capfd.readouterr().err
