"""`dsegym run`: a suite's trials, or its trainings and evaluations."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ...costmodels.errors import DsegymError, visible
from ..formats import counted
from .arguments import JsonOption, complete_suites
from .documents import print_json
from .failures import Stop
from .tables import progress_bar, say, steps_bar, tell_odd, terminal

__all__ = ["run"]


class ExecutorName(enum.Enum):
    """What `--executor` names."""

    PROCESSES = "processes"
    RAY = "ray"


def run(
    suite: Annotated[
        str,
        typer.Argument(help="A shipped suite's name, or the path of a .toml file.", autocompletion=complete_suites),
    ],
    output: Annotated[Path, typer.Option("--output", help="The results directory; a run that was cut short resumes.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time; one a processor when left out.")] = None,
    memory_gib: Annotated[
        float | None,
        typer.Option(
            "--memory-gib", min=0.1, help="What an agent may take of the memory, GiB; a share of it when left out."
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed and timed-out trials again.")
    ] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out agents whose libraries are not installed.")
    ] = False,
    executor: Annotated[
        ExecutorName, typer.Option("--executor", help="Where trials run: in processes here, or on a Ray cluster.")
    ] = ExecutorName.PROCESSES,
    address: Annotated[
        str | None,
        typer.Option(help="The Ray cluster's HOST:PORT, `auto` or `local`; as Ray finds it when left out."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a suite's trials, or its trainings and evaluations of policies; what is already there is kept.

    Example: `dsegym run quick --output results/quick`

    On a Ray cluster: `dsegym run quick --output results/quick --executor ray --address auto`
    """
    from ..batches import strays
    from ..executors.cluster import on_ray
    from ..executors.processes import in_processes
    from ..runner import run_suite
    from ..suite import find_any_suite, find_suite, is_policy_suite, load_suite, suite_names
    from ..suite_note import read_suite

    path = find_any_suite(suite)
    if is_policy_suite(path):
        given = {"--workers": workers, "--memory-gib": memory_gib}
        given |= {"--retry-failed": retry_failed, "--skip-missing": skip_missing}
        given |= {"--executor": executor is not ExecutorName.PROCESSES, "--address": address}
        if named := [name for name, value in given.items() if value]:
            raise DsegymError(f"{named[0]} is for suites of trials; '{suite}' is one of policies.")
        _run_policies(path, output, as_json)
        return
    if address is not None and executor is not ExecutorName.RAY:
        raise DsegymError("--address is for --executor ray.")
    runs = on_ray(address) if executor is ExecutorName.RAY else in_processes
    loaded = load_suite(path, skip_missing=skip_missing)
    if loaded.name in suite_names() and not path.samefile(find_suite(loaded.name)):
        warning = (
            f"'{loaded.name}' is the name of a shipped suite; verify rejects other trials that bear it: rename yours."
        )
        say(terminal(error=True), f"warning: {warning}")
    for reason in loaded.skipped:
        say(terminal(error=True), f"warning: left out: {reason}")
    for instance, reason in loaded.left_out:
        say(terminal(error=True), f"warning: left out, as no result on it could be scored: {instance}: {reason}.")
    try:
        with _trials_bar(loaded) as update:
            summary = run_suite(
                loaded,
                output,
                workers=workers,
                retry_failed=retry_failed,
                memory_gib=memory_gib,
                executor=runs,
                progress=update,
            )
    except KeyboardInterrupt:
        message = f"Interrupted. Finished trials are kept in '{output}'; run the same command again to resume."
        raise Stop(message, 130) from None
    others = strays(output, read_suite(output)["trials"])
    if as_json:
        print_json(
            {
                "suite": loaded.name,
                "results": str(output),
                "trials": summary.total,
                "already_there": summary.resumed,
                "run_now": dict(sorted(summary.statuses.items())),
                "problems": summary.problems,
                "trials_of_other_suites": len(others),
            }
        )
    else:
        done = ", ".join(f"{count:,} {status}" for status, count in sorted(summary.statuses.items())) or "nothing to do"
        total = counted(summary.total, "trial")
        terminal().print(
            visible(f"{loaded.name}: {total}, {summary.resumed:,} already there, {done}. Results: {output}")
        )
    for problem in summary.problems:
        say(terminal(error=True), f"warning: {problem}")
    if others:
        whose = "of another suite of its name, or of other versions: no leaderboard shows them"
        say(terminal(error=True), f"warning: in '{output}', {counted(len(others), 'trial')} {whose}.")
    tell_odd(output)
    if summary.problems:
        raise typer.Exit(1)


def _run_policies(path: Path, output: Path, as_json: bool) -> None:
    from ..policy_runner import run_policies
    from ..policy_suite import load_policy_suite

    loaded = load_policy_suite(path)
    try:
        with steps_bar(loaded.name) as update:
            done = run_policies(loaded, output, lambda what, *rest: update(*rest, name=what))
    except KeyboardInterrupt:
        message = f"Interrupted. What is done is kept in '{output}'; run the same command again to go on."
        raise Stop(message, 130) from None
    if as_json:
        print_json(
            {
                "suite": loaded.name,
                "results": str(output),
                "policies_trained": done.trained,
                "policies_already_there": done.kept,
                "evaluations_run": done.evaluated,
                "evaluations_already_there": done.kept_evaluations,
                "problems": done.problems,
            }
        )
    else:
        policies = f"{done.trained} {'policy' if done.trained == 1 else 'policies'} trained, {done.kept} already there"
        evaluations = f"{done.evaluated} evaluated, {done.kept_evaluations} already there"
        terminal().print(visible(f"{loaded.name}: {policies}; {evaluations}. Results: {output}"))
    for problem in done.problems:
        say(terminal(error=True), f"warning: {problem}")
    if done.problems:
        raise typer.Exit(1)


@contextlib.contextmanager
def _trials_bar(suite: Any) -> Iterator[Callable[[Any], None]]:
    """A bar of a suite's trials on standard error; what it yields is told the summary so far."""
    from ..store import FINISHED

    with progress_bar() as progress:
        task = progress.add_task(suite.name, total=len(suite.trials))

        def update(summary: Any) -> None:
            trouble = sum(count for status, count in summary.statuses.items() if status != FINISHED)
            label = f"{suite.name} ({trouble} failed)" if trouble else suite.name
            done = summary.resumed + sum(summary.statuses.values())
            progress.update(task, completed=done, description=label)

        yield update
