"""A store of many trials: seconds and memory to load, rank and render them, one directory a trial and in batches.

`python benchmarks/store.py` compares the layouts on 6,000 synthetic trials; `python benchmarks/store.py 100000` is the
size that the store is made for, in batches alone: directories of that many trials take minutes to write.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars
from timing import report

TRIALS, INSTANCES, AGENTS = 6_000, 100, 30  # of the comparison; instances and agents of any size
SAMPLES, PARAMETERS = 40, 7  # of a trial
LIMIT_S, LIMIT_BYTES = 60.0, 2 * 2**30  # of 100,000 trials


def trials(count: int) -> Iterator[tuple[dict[str, object], polars.DataFrame]]:
    """Manifests and traces as runs leave them, of a scenario that does not exist: nothing of it can be drawn."""
    generator = np.random.default_rng(0)
    for number in range(count):
        place, seed = number % (INSTANCES * AGENTS), number // (INSTANCES * AGENTS)
        objective = 1.0 + generator.exponential(0.3 + place // INSTANCES / AGENTS, SAMPLES)
        designs = generator.integers(0, 12, (SAMPLES, PARAMETERS), dtype=np.int32)
        best = int(objective.argmin())
        elapsed_s = np.cumsum(generator.exponential(1e-3, SAMPLES))
        decoded = {f"parameter_{each}": f"{index} KiB" for each, index in enumerate(designs[best].tolist())}
        total_s = float(elapsed_s[-1])
        yield (
            {
                "format": 1,
                "trial_id": f"{number:016x}",
                "trial": {
                    "instance": {
                        "scenario": "synthetic/Sizing-v0",
                        "options": {"workload": f"w{place % INSTANCES:03d}", "area_budget": "small"},
                    },
                    "agent": {"name": f"agent_{place // INSTANCES:02d}", "hyperparameters": {}, "draw": None},
                    "seed": seed,
                    "samples": SAMPLES,
                    "time_limit_s": 300.0,
                },
                "versions": dict.fromkeys(("python", "machine", "system", "dsegym", "numpy", "scipy"), "1.2.3"),
                "identity": {"sources": ["", ""], "files": {}},
                "status": "finished",
                "message": "",
                "samples_used": SAMPLES,
                "objective": {"name": "energy", "unit": "J"},
                "reference": {"name": "expert", "value": 2.0, "source": "an expert's machine"},
                "bound": {"kind": "optimum", "value": 1.0, "source": "exhaustive enumeration"},
                "best": {
                    "sample": best + 1,
                    "design": designs[best].tolist(),
                    "decoded": decoded,
                    "objective": float(objective[best]),
                },
                "seconds": {"agent": total_s / 2, "cost_model": total_s / 2, "overhead": 0.0, "total": total_s},
            },
            polars.DataFrame(
                {
                    "sample": polars.Series(range(1, SAMPLES + 1), dtype=polars.Int32),
                    "objective": objective,
                    "feasible": np.ones(SAMPLES, bool),
                    "elapsed_s": elapsed_s,
                    "design": polars.Series(designs.tolist(), dtype=polars.List(polars.Int32)),
                }
            ),
        )


def write_note(results: Path, count: int) -> None:
    """The suite's note, of so many trials."""
    note = {"format": 1, "name": "synthetic", "description": "", "trials": [f"{each:016x}" for each in range(count)]}
    results.mkdir(parents=True, exist_ok=True)
    (results / "suite.json").write_text(json.dumps(note), encoding="utf-8")


def write_directories(results: Path, count: int) -> None:
    """One directory a trial."""
    from dsegym.experiments.store import write_trial

    write_note(results, count)
    for manifest, trace in trials(count):
        write_trial(results, manifest, trace)


def write_batches(results: Path, count: int) -> None:
    """In batches from the beginning, as a run leaves them."""
    from dsegym.experiments.batch_writing import compact
    from dsegym.experiments.store import write_trial

    write_note(results, count)
    waiting: list[str] = []
    for number, (manifest, trace) in enumerate(trials(count), start=1):
        write_trial(results, manifest, trace)
        waiting.append(str(manifest["trial_id"]))
        if len(waiting) == 1000 or number == count:
            compact(results, waiting, least=1)
            waiting.clear()


def measure(results: Path) -> dict[str, float]:
    """Seconds to load, rank and render, and the peak of memory, of this process."""
    from dsegym.experiments.batches import stored_trials
    from dsegym.experiments.publish import board_of
    from dsegym.experiments.report.page import write_html
    from dsegym.experiments.report.text import to_json
    from dsegym.experiments.scoring.leaderboard import build_timings
    from dsegym.experiments.scoring.scored_trials import read_trials
    from dsegym.experiments.store import TrialResult
    from dsegym.experiments.suite_note import read_suite

    marks = [time.perf_counter()]
    note = read_suite(results)
    found = [trial for _, trial in stored_trials(results, note["trials"]) if isinstance(trial, TrialResult)]
    marks.append(time.perf_counter())
    scored = read_trials(found, {})
    board = board_of([results], [note], found, scored)
    marks.append(time.perf_counter())
    page = results / "page.html"
    write_html(board, found, page, timings=build_timings(found, scored=scored), scored=scored)
    to_json(board)
    marks.append(time.perf_counter())
    load_s, rank_s, render_s = np.diff(marks).tolist()
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "load_s": load_s,
        "rank_s": rank_s,
        "render_s": render_s,
        "peak_bytes": peak_bytes,
        "page_bytes": page.stat().st_size,
    }


def measured(results: Path) -> dict[str, float]:
    """As `measure`, in a process of its own."""
    command = [sys.executable, __file__, "measure", str(results)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def tell(layout: str, found: dict[str, float], goals: bool) -> None:
    """The figures of one layout."""
    for part in ("load", "rank", "render"):
        report(f"{layout}: seconds to {part}", f"{found[f'{part}_s']:.2f} s")
    total_s = sum(found[f"{part}_s"] for part in ("load", "rank", "render"))
    report(f"{layout}: all of it", f"{total_s:.1f} s", f"{LIMIT_S:g} s" if goals else "")
    memory = f"{found['peak_bytes'] / 2**30:.2f} GiB"
    report(f"{layout}: peak memory", memory, f"{LIMIT_BYTES / 2**30:g} GiB" if goals else "")
    report(f"{layout}: the page", f"{found['page_bytes'] / 1e6:.1f} MB")


def main() -> None:
    """Prints the table."""
    count = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else TRIALS
    print(f"Store: {count:,} trials of {SAMPLES} samples, {AGENTS} agents on {INSTANCES} instances")
    with tempfile.TemporaryDirectory() as folder:
        write_batches(Path(folder) / "batches", count)
        batches = measured(Path(folder) / "batches")
        tell("batches", batches, goals=count >= 100_000)
        if count > TRIALS:
            return
        write_directories(Path(folder) / "directories", count)
        directories = measured(Path(folder) / "directories")
        tell("directories", directories, goals=False)
        report("ratio of loading, batches to directories", f"{batches['load_s'] / directories['load_s']:.3f}", "0.1")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        main()
