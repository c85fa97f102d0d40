"""`dsegym bound`: the exact optimum of an instance, or the best bound there is."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ...costmodels.errors import DsegymError, visible
from ..door import write_by_rename
from ..formats import counted
from .arguments import JsonOption, OptionsOption, ScenarioArgument, WorkloadOption, options_of
from .documents import print_json
from .tables import say, table, terminal, units_of

__all__ = ["bound"]


def bound(
    scenario: ScenarioArgument,
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    store: Annotated[
        bool,
        typer.Option("--store", help="For maintainers: recompute every core instance into the package's own table."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the exact optimum (or the best bound there is) of an instance, and of those that share its computation.

    Of an instance with a file of yours, it is kept beside the file (FILE.bounds.csv) and used from then on.

    Example: `dsegym bound dsegym/AcceleratorSizing-v0 --workload resnet18`
    """
    from rich.markup import escape
    from rich.progress import Progress

    from ...envs.core.options import PERMUTATION
    from ...envs.core.own_bounds import kept_table
    from ...envs.core.scenarios import BUILT_IN, load_scenario, make_problem

    family = load_scenario(scenario)
    if family.bounds is None or family.stored_bounds is None:
        able = [name for name in BUILT_IN if load_scenario(name).bounds is not None]
        raise DsegymError(f"{scenario} has no bounds to compute; there are some of {', '.join(able)}.")
    resolved = family.resolve(options_of(option, workload))
    resolved.pop(PERMUTATION, None)  # the order of values changes no bound
    if not store:
        make_problem(scenario, **resolved)  # what is no instance has no bound, and is refused before the work
        kept_table(scenario, resolved, [])  # what lies there and is another's is refused before the work
    instances = family.core_instances() if store else [resolved]
    rows: list[Mapping[str, Any]] = []
    with Progress(console=terminal(error=True), transient=True) as progress:
        for instance in instances:
            if any(all(row[key] == instance[key] for key in instance) for row in rows):
                continue  # an earlier computation covered it
            task = progress.add_task(escape(visible(", ".join(instance.values()))), total=None)
            rows += family.recompute_bounds(
                instance, lambda done, total, task=task: progress.update(task, completed=done, total=total)
            )
            progress.remove_task(task)
    if store:
        path = Path(__file__).parents[2] / family.stored_bounds
        path.write_text(_stored_text(scenario, rows), encoding="utf-8")
    if as_json:
        print_json(rows)
    elif store:
        print(f"Wrote {counted(len(rows), 'instance')} to {family.stored_bounds}.")
    else:
        asked = [row for row in rows if all(row[key] == value for key, value in resolved.items())]
        for row in asked:
            terminal().print(table("This instance", [{"quantity": k, "value": v} for k, v in row.items()]))
        differing = [name for name in resolved if len({row[name] for row in rows}) > 1]
        if differing:
            shown = [
                {name: row[name] for name in (*differing, *(key for key in row if key not in resolved))} for row in rows
            ]
            title = f"All instances of this computation, by {' and '.join(differing)}"
            terminal().print(table(title, shown, len(differing)))
        if units := units_of(make_problem(scenario, **resolved)):
            say(terminal(), f"Units: {units}.")
    if not store:
        _keep(scenario, resolved, rows)


def _keep(scenario: str, options: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Keeps the rows beside the user's file, if there is one, where problems find them from now on."""
    from ...envs.core.own_bounds import kept_table

    kept = kept_table(scenario, options, rows)
    if kept is None:
        return
    path, text = kept
    console = terminal(error=True)
    try:
        write_by_rename(path, text.encode())
        say(console, f"Kept in {path}: this bound is used from now on, for as long as the file's content stays.")
    except OSError as error:
        say(console, f"warning: it cannot be kept in {path}: {error.strerror}.")


def _stored_text(scenario: str, rows: Sequence[Mapping[str, Any]]) -> str:
    from ..identities import versions

    stamp = ", ".join(f"{name} {versions()[name]}" for name in ("dsegym", "jax", "numpy", "python"))
    text = io.StringIO()
    text.write(f"# Bounds of the core instances of {scenario}.\n")
    text.write(f"# Made by: dsegym bound {scenario} --store ({stamp}).\n")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
