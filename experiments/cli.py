"""The command line: `dsegym list | info | cost | bound | run | leaderboard | verify | trace`.

Heavy libraries are imported by the command that needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..costmodels.errors import DsegymError, UnknownNameError

__all__ = ["main"]

app = typer.Typer(
    help="Design-space exploration of computer systems: environments, agents, a fair competition.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

ScenarioArgument = Annotated[str, typer.Argument(help="A scenario's id, dsegym/AcceleratorSizing-v0 say.")]
OptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="NAME=VALUE", help="An option of the scenario; see `dsegym info`."),
]
WorkloadOption = Annotated[
    str | None, typer.Option(help="Short for --option workload=...: a shipped workload or a file.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
ResultsArgument = Annotated[Path, typer.Argument(help="A results directory, as `dsegym run` makes it.")]


def _console(*, error: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=error, highlight=False, width=None if sys.stdout.isatty() else 160)


def _table(title: str, rows: Sequence[Mapping[str, object]]) -> Any:
    from rich.table import Table
    from rich.text import Text  # as it is: a layer's name may look like markup

    table = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in rows[0] if rows else ():
        numeric = all(isinstance(row[column], int | float) for row in rows)
        name, unit = _name_and_unit(str(column))
        header = f"{name} [{unit}]" if unit else name
        widest = max(map(len, header.split()))  # so that no word of the heading is broken
        table.add_column(Text(header), justify="right" if numeric else "left", overflow="fold", min_width=widest)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    return table


_LONG = 24  # parameters of a design space that are shown one by one

# The last word of a quantity's name, where it is a unit.
_UNITS: Mapping[str, str] = {
    "s": "s",
    "us": "us",
    "js": "J s",
    "bytes": "B",
    "j": "J",
    "mm2": "mm2",
    "hz": "Hz",
    "words": "words",
    "bits": "bits",
    "tokens": "tokens",
    "tflop": "TFLOP",
    "teflop": "TeFLOP",
}
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _name_and_unit(column: str) -> tuple[str, str]:
    stem, _, last = column.rpartition("_")
    unit = _UNITS.get(last, "") if stem else ""
    return (stem if unit else column).replace("_", " "), unit


def _cell(value: object) -> str:
    """A number in at most five digits: 12,345 or 123.4 M or 1.234e-05; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) and abs(value) < 100_000:
        return f"{value:,}"
    if isinstance(value, int) or abs(value) >= 100_000:
        scale, suffix = next(pair for pair in _SUFFIXES if abs(value) >= pair[0])
        return f"{value / scale:.4g} {suffix}"
    return f"{value:.4g}"


def _pairs(items: Sequence[str], what: str) -> dict[str, str]:
    pairs = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name or not value:
            raise DsegymError(f"'{item}' is not {what} of the form name=value.")
        if name in pairs:
            raise DsegymError(f"{name} is given twice.")
        pairs[name.strip()] = value.strip()
    return pairs


def _options(options: Sequence[str] | None, workload: str | None) -> dict[str, str]:
    pairs = _pairs(options or (), "an option")
    if workload is not None:
        pairs["workload"] = workload
    return pairs


def _instance_title(problem: Any) -> str:
    return f"{problem.scenario}: {problem.name}"


@app.command("list")
def list_command() -> None:
    """List scenarios, agents and suites.

    Example: `dsegym list`
    """
    from ..agents.registry import agent_names, load_agent
    from ..envs.core.scenarios import load_scenario, scenario_ids
    from .suite import find_suite, load_suite, suite_names

    console = _console()
    console.print(_table("Scenarios", [{"id": name, "what": load_scenario(name).summary} for name in scenario_ids()]))
    console.print(_table("Agents", [{"name": name, "what": load_agent(name).summary} for name in agent_names()]))
    suites = [load_suite(find_suite(name)) for name in suite_names()]
    console.print(_table("Suites", [{"name": s.name, "trials": len(s.trials), "what": s.description} for s in suites]))


@app.command()
def info(
    scenario: ScenarioArgument,
    option: OptionsOption = None,
    workload: WorkloadOption = None,
) -> None:
    """Show a scenario: its options, its design space, and one instance's reference and bound.

    Example: `dsegym info dsegym/AcceleratorSizing-v0 --option objective=edp`
    """
    from ..envs.core.scenarios import load_scenario, make_problem

    family = load_scenario(scenario)
    problem = make_problem(scenario, **_options(option, workload))
    console = _console()
    console.print(f"[bold]{scenario}[/bold]: {family.summary}\n")
    console.print(
        _table(
            "Options",
            [
                {"option": name, "default": entry.default, "what": entry.summary, "values": ", ".join(entry.values())}
                for name, entry in family.options.items()
            ],
        )
    )
    parameters = problem.space.parameters
    console.print(
        _table(
            f"Design space: {_count_text(problem.space.size)} designs",
            [
                {"parameter": p.name, "values": _values_text(p.values), "unit": p.unit or "-", "what": p.summary}
                for p in parameters[:_LONG]
            ],
        )
    )
    if len(parameters) > _LONG:
        console.print(f"... and {len(parameters) - _LONG} parameters more.\n")
    for title, rows in family.facts():
        console.print(_table(title, rows))
    value = f"value [{problem.objective.unit}]" if problem.objective.unit else "value"
    yardsticks = [("reference", problem.reference), ("bound", problem.bound)]
    cases = "" if problem.held_out_params is None else ", on the held-out cases"
    console.print(
        _table(
            f"Yardsticks of {problem.name}: {problem.objective.name}, {problem.objective.summary}{cases}",
            [
                {"yardstick": role, "name": y.name, value: f"{y.value:.6g}", "source": y.source}
                | {"design": _design_text(problem, y.design)}
                for role, y in yardsticks
            ],
        )
    )
    console.print(f"Environment forms: {', '.join(problem.forms)} (the first is the default)")
    for note in problem.notes:
        console.print(f"Note: {note}")


def _values_text(values: Sequence[object]) -> str:
    shown = [*values[:3], "...", values[-1]] if len(values) > _LONG else values
    return ", ".join(map(str, shown))


def _count_text(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"about 1e{len(str(count)) - 1}"


def _design_text(problem: Any, design: object) -> str:
    if design is None:
        return "-"
    if len(problem.space) > _LONG:
        return f"{len(problem.space)} parameters"
    return ",".join(f"{name}={value}" for name, value in problem.decode(design).items())


@app.command()
def cost(
    scenario: ScenarioArgument,
    design: Annotated[
        str, typer.Option(metavar="NAME=VALUE,...", help="The design. What is left out is taken from the reference.")
    ] = "",
    baseline: Annotated[
        str, typer.Option(help="Take what is left out from this heuristic's design instead.", show_default=False)
    ] = "",
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    any_value: Annotated[
        bool,
        typer.Option(
            "--any-value", help="Allow values outside the design space (any whole number that the model holds)."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Cost one design: totals and the breakdown by part, with units.

    Example: `dsegym cost dsegym/AcceleratorSizing-v0 --workload resnet50 --design rows=64,columns=64,dataflow=os`
    """
    from ..envs.core.scenarios import make_problem

    problem = make_problem(scenario, **_options(option, workload))
    given = _pairs([item for item in design.split(",") if item.strip()], "a part of the design")
    unknown = [name for name in given if name not in problem.space.names]
    if unknown:
        raise UnknownNameError("parameter", unknown[0], problem.space.names)
    start = problem.reference.design
    if baseline:
        if baseline not in problem.baselines:
            raise UnknownNameError("baseline", baseline, problem.baselines)
        start = problem.baselines[baseline]()
    defaults = problem.decode(start) if start else {}
    values = {**defaults, **given}
    verdict: dict[str, Any] = {}
    if any_value:
        in_space = _encodes(problem, values)
    else:
        problem.space.encode(values)
        in_space = True
    if problem.breakdown is None and not in_space:
        raise DsegymError(f"{scenario} costs designs of its space only.")
    result = problem.evaluate(problem.space.encode(values)) if in_space else None
    breakdown = problem.breakdown(values) if problem.breakdown else _metrics_only(problem, result)
    if result is not None:
        value, feasible = _value(result)
        verdict = {
            "objective": problem.objective.name,
            "unit": problem.objective.unit,
            "value": value,
            "feasible": feasible,
        }
        if problem.held_out_params is not None:
            value, feasible = _value(problem.evaluate_held_out(problem.space.encode(values)))
            verdict |= {"held_out": value, "held_out_feasible": feasible}
        verdict |= {  # values on the held-out cases where there are any
            "reference": problem.reference.value,
            problem.bound.name: problem.bound.value,
        }
    described = {p.name: p.text(values[p.name]) for p in problem.space.parameters}
    if as_json:
        content = {
            "scenario": problem.scenario,
            "options": dict(problem.options),
            "design": described,
            "totals": dict(breakdown.totals),
            "verdict": verdict,
            "parts": [dict(row) for row in breakdown.rows],
            "notes": list(breakdown.notes),
        }
        print(json.dumps(content, indent=1, allow_nan=False))
        return
    console = _console()
    taken = [name for name in problem.space.names if name not in given]
    console.print(f"[bold]{_instance_title(problem)}[/bold]")
    shown = dict(list(described.items())[:_LONG])
    more = f", ... ({len(described)} in all)" if len(described) > _LONG else ""
    console.print(", ".join(f"{name}={text}" for name, text in shown.items()) + more, markup=False)
    if taken:
        origin = f"the baseline {baseline}" if baseline else f"the reference {problem.reference.name}"
        which = ", ".join(taken) if len(taken) <= _LONG else f"{len(taken)} parameters"
        console.print(f"(from {origin}: {which})", markup=False)
    if breakdown.rows:
        console.print(_table("Parts", breakdown.rows))
    console.print(_table("Totals", _totals(breakdown.totals)))
    if verdict:
        outcome = f"Objective {problem.objective.name}: [bold]{_value_text(problem, verdict['value'])}[/bold]"
        if "held_out" in verdict:
            outcome += f"; on the held-out cases: [bold]{_value_text(problem, verdict['held_out'])}[/bold]"
        console.print(
            f"{outcome} (reference {problem.reference.name} {problem.reference.value:.6g}, {problem.bound.name} "
            f"{problem.bound.value:.6g})"
        )
    for note in breakdown.notes:
        console.print(f"Note: {note}")


def _value(result: Any) -> tuple[float | None, bool]:
    """The objective of the one design, None where it is not feasible; and whether it is."""
    feasible = bool(result.feasible[0])
    return (float(result.objective[0]) if feasible else None), feasible


def _value_text(problem: Any, value: float | None) -> str:
    return "not feasible" if value is None else f"{value:.6g} {problem.objective.unit}"


def _metrics_only(problem: Any, result: Any) -> Any:
    """What a family without a breakdown has to show: the metrics of the one design."""
    from ..costmodels.breakdown import Breakdown

    metrics = {name: getattr(result.metrics, name)[0].item() for name in result.metrics._fields}
    return Breakdown(metrics, (), problem.notes)


def _totals(totals: Mapping[str, Any]) -> list[Mapping[str, object]]:
    rows = []
    for key, value in totals.items():
        name, unit = _name_and_unit(key)
        exact = f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        rows.append({"quantity": name, "value": exact, "unit": unit or "-"})
    return rows


def _encodes(problem: Any, values: Mapping[str, object]) -> bool:
    try:
        problem.space.encode(values)
    except DsegymError:
        return False
    return True


@app.command()
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

    Example: `dsegym bound dsegym/AcceleratorSizing-v0 --workload resnet18`
    """
    from rich.progress import Progress

    from ..envs.core.scenarios import load_scenario

    family = load_scenario(scenario)
    if family.bounds is None or family.stored_bounds is None:
        raise DsegymError(f"{scenario} has no bounds to compute.")
    resolved = family.resolve(_options(option, workload))
    instances = family.core_instances() if store else [resolved]
    rows: list[Mapping[str, Any]] = []
    with Progress(console=_console(error=True), transient=True) as progress:
        for instance in instances:
            if any(all(row[key] == instance[key] for key in instance) for row in rows):
                continue  # an earlier computation covered it
            task = progress.add_task(", ".join(instance.values()), total=None)
            rows += family.bounds(
                instance, lambda done, total, task=task: progress.update(task, completed=done, total=total)
            )
            progress.remove_task(task)
    if store:
        path = Path(__file__).parent.parent / family.stored_bounds
        path.write_text(_stored_text(scenario, rows), encoding="utf-8")
        print(f"Wrote {len(rows)} instances to {family.stored_bounds}.")
    elif as_json:
        print(json.dumps([dict(row) for row in rows], indent=1))
    else:
        asked = [row for row in rows if all(row[key] == value for key, value in resolved.items())]
        for row in asked:
            _console().print(_table("This instance", [{"quantity": k, "value": v} for k, v in row.items()]))
        _console().print(_table("All instances of this computation", rows))


def _stored_text(scenario: str, rows: Sequence[Mapping[str, Any]]) -> str:
    from .store import versions

    stamp = ", ".join(f"{name} {versions()[name]}" for name in ("dsegym", "jax", "numpy", "python"))
    text = io.StringIO()
    text.write(f"# Bounds of the core instances of {scenario}.\n")
    text.write(f"# Made by: dsegym bound {scenario} --store ({stamp}).\n")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="A shipped suite's name, or the path of a .toml file.")],
    output: Annotated[Path, typer.Option("--output", help="The results directory; a run that was cut short resumes.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; as many as processors when left out.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed and timed-out trials again.")
    ] = False,
) -> None:
    """Run a suite's trials; what is already there is kept.

    Example: `dsegym run quick --output results/quick`
    """
    from .runner import run_suite
    from .suite import find_suite, load_suite

    loaded = load_suite(find_suite(suite))
    try:
        with _progress_bar(loaded) as update:
            summary = run_suite(loaded, output, workers=workers, retry_failed=retry_failed, progress=update)
    except KeyboardInterrupt:
        message = f"Interrupted. Finished trials are kept in '{output}'; run the same command again to resume."
        raise _Stop(message, 130) from None
    done = ", ".join(f"{count} {status}" for status, count in sorted(summary.statuses.items())) or "nothing to do"
    _console().print(
        f"{loaded.name}: {summary.total} trials, {summary.resumed} already there, {done}. Results: {output}"
    )
    for problem in summary.problems:
        _console(error=True).print(f"warning: {problem}", markup=False)
    if summary.problems:
        raise typer.Exit(1)


def _progress_bar(suite: Any) -> Any:
    import contextlib

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    @contextlib.contextmanager
    def bar():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=_console(error=True)) as progress:
            task = progress.add_task(suite.name, total=len(suite.trials))

            def update(summary: Any) -> None:
                trouble = sum(count for status, count in summary.statuses.items() if status != "finished")
                label = f"{suite.name} ({trouble} failed)" if trouble else suite.name
                done = summary.resumed + sum(summary.statuses.values())
                progress.update(task, completed=done, description=label, refresh=True)

            yield update

    return bar()


@app.command()
def leaderboard(
    results: ResultsArgument,
    output: Annotated[
        Path | None, typer.Option("--output", help="Where the files go; RESULTS/leaderboard when left out.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the leaderboard, and write it as JSON, Markdown and one HTML page.

    Example: `dsegym leaderboard results/quick`
    """
    from .diagrams import diagram_figures
    from .leaderboard import build_leaderboard, build_timings
    from .leaderboard_text import timings_to_rich, to_json, to_markdown, to_rich
    from .report import write_html
    from .store import read_suite, read_trial, trial_directory
    from .sweeps import sweep_figures

    suite = read_suite(results)
    found = [trial_directory(results, identifier) for identifier in suite["trials"]]
    trials = [read_trial(directory) for directory in found if directory.is_dir()]
    if not trials:
        raise DsegymError(f"'{results}' holds no finished trial yet.")
    board = build_leaderboard(trials)
    target = output or results / "leaderboard"
    target.mkdir(parents=True, exist_ok=True)
    (target / "leaderboard.json").write_text(to_json(board), encoding="utf-8")
    (target / "leaderboard.md").write_text(to_markdown(board), encoding="utf-8")
    figures = [*sweep_figures(board), *diagram_figures(board)]
    write_html(board, trials, target / "leaderboard.html", suite=dict(suite), figures=figures)
    if as_json:
        print(to_json(board), end="")
    else:
        console = _console()
        console.print(to_rich(board))
        console.print(timings_to_rich(build_timings(trials)))
        console.print(f"Pages: {target / 'leaderboard.html'}, leaderboard.md, leaderboard.json", soft_wrap=True)
    if len(trials) < len(found):
        _console(error=True).print(f"warning: {len(found) - len(trials)} of {len(found)} trials have no result yet.")


@app.command()
def trace(
    function: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="A JAX function; the module is imported.")],
    output: Annotated[Path, typer.Option("--output", help="The program's file, NAME.jsonl.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="DTYPE[SHAPE]",
            help="One an argument: bf16[8,128]. Left out: the function's attribute `example_args`.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The program's name; the file's when left out.")] = None,
    donate: Annotated[
        list[int] | None, typer.Option(help="Position of an argument whose storage the outputs may take over.")
    ] = None,
) -> None:
    """Trace a JAX function to a program for dsegym/MemoryMapping-v0.

    Example: `dsegym trace my_model:step --input 'bf16[8,256]' --input 'bf16[256,256]' --output step.jsonl`
    """
    from ..costmodels.memory.program import is_program_file, save_program
    from ..costmodels.memory.tracer import trace_location

    if not is_program_file(output.name):
        raise DsegymError(f"'{output}' is not the name of a program file; it ends in .jsonl.")
    program = trace_location(function, inputs or (), name=name or output.stem, donate=donate or ())
    save_program(program, output)
    rows = [
        {"quantity": "instructions", "value": f"{len(program.instructions):,}"},
        {"quantity": "buffers", "value": f"{len(program.buffers):,}"},
        {"quantity": "accesses", "value": f"{len(program.accesses):,}"},
        {"quantity": "work", "value": f"{program.flops / 1e9:.6g} GFLOP"},
        {"quantity": "moved", "value": f"{program.bytes_moved / 1e6:.6g} MB"},
        {"quantity": "parameters", "value": f"{program.parameter_bytes / 1e6:.6g} MB"},
        {"quantity": "activation peak", "value": f"{program.activation_peak_bytes / 1e6:.6g} MB"},
    ]
    console = _console()
    console.print(_table(f"{program.name}: {output}", rows))
    usage = f"dsegym info dsegym/MemoryMapping-v0 --option program={output}"
    console.print(f"Play it: {usage}", markup=False, soft_wrap=True)


@app.command("verify")
def verify_command(results: ResultsArgument) -> None:
    """Replay every claimed design through the cost model; reject what does not reproduce.

    Example: `dsegym verify results/quick`
    """
    from .verify import verify

    verdicts = list(verify(results))
    failures = [verdict for verdict in verdicts if verdict.problem]
    for verdict in failures:
        print(f"rejected: {verdict.problem}")
    print(f"{len(verdicts) - len(failures)} of {len(verdicts)} reproduce.")
    if failures:
        raise typer.Exit(1)


class _Stop(Exception):
    """Ends the command with one sentence and an exit code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def _failure(error: BaseException) -> _Stop:
    """What the user reads of an error, ours or the system's, in one sentence; anything else is a bug and is raised."""
    match error:
        case _Stop():
            return error
        case DsegymError():
            return _Stop(str(error), 2)
        case KeyboardInterrupt():
            return _Stop("Interrupted.", 130)
        case ImportError():
            return _Stop(f"{error}. The agents' libraries come with: pip install 'dsegym[agents]'.", 1)
        case OSError():
            place = f" '{error.filename}'" if error.filename else ""
            return _Stop(f"The system refused{place}: {error.strerror or error}. What was finished is kept.", 1)
    raise error


def main() -> None:
    """The entry point. Exit codes: 0 done, 1 something failed, 2 a wrong request, 130 interrupted."""
    try:
        app(standalone_mode=True)
    except BrokenPipeError:
        raise SystemExit(1) from None
    except SystemExit as end:
        if end.code == 130:  # typer has met Ctrl-C, and says nothing
            print(f"dsegym: {_failure(KeyboardInterrupt())}", file=sys.stderr)
        raise
    except BaseException as error:
        failure = _failure(error)
        print(f"dsegym: {failure}", file=sys.stderr)
        raise SystemExit(failure.code) from None
