"""`dsegym pareto`: the designs that no other beats in several costs at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...costmodels.errors import DsegymError, visible
from ..door import check_writable, write_by_rename
from ..formats import counted
from .arguments import JsonOption, OptionsOption, ScenarioArgument, WorkloadOption, options_of
from .documents import json_text, print_json
from .tables import say, table, tell_odd, terminal, units_of

__all__ = ["pareto"]

_SUFFIXES = (".png", ".json", ".csv")
_MOST_ROWS = 20  # of the front, in the terminal


def pareto(
    scenario: ScenarioArgument,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Costs, the first two drawn; all that there are when left out."),
    ] = None,
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    samples: Annotated[int, typer.Option(min=1, max=10_000_000, help="Of the search.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, help="Of the search.")] = 0,
    agent: Annotated[str, typer.Option(help="Who searches; nsga2 minimises all costs at once.")] = "nsga2",
    results: Annotated[
        Path | None, typer.Option(help="Take the designs of a run's trials in place of a search.", show_default=False)
    ] = None,
    point: Annotated[
        str, typer.Option(metavar="VALUE,...", help="Of the hypervolume; twice the reference's costs when left out.")
    ] = "",
    output: Annotated[
        list[Path] | None, typer.Option(help="A file to write, .png, .json or .csv; may be given several times.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the front of several costs, its hypervolume, and machines that experts built beside it.

    Example: `dsegym pareto dsegym/AcceleratorSizing-v0 --workload resnet18 --metrics latency,energy --output front.png`
    """
    from ...envs.core.scenarios import make_problem
    from ..front_search import searched, stored
    from ..report.fronts import expert_rows, front_csv, front_diagram, front_rows, letters, to_json
    from ..scoring.fronts import costs_named, front_of

    for path in output or ():
        if path.suffix not in _SUFFIXES:
            raise DsegymError(f"'{path}' is no name of a front's file; allowed: names that end in {_listed()}.")
        check_writable(path)
    problem = make_problem(scenario, **options_of(option, workload))
    names = costs_named(problem, [] if metrics is None else [name.strip() for name in metrics.split(",")])
    corner = _numbers(point, names) if point else None
    if results is None:
        designs = searched(problem, agent, names, samples, seed)
        origin = f"{counted(len(designs), 'sample')} of {agent}, seed {seed}"
    else:
        designs = stored(problem, results)
        tell_odd(results)
        origin = f"{counted(len(designs), 'sample')} of the trials in {results}"
    front = front_of(problem, designs, names, corner)
    about = f"{problem.scenario}: {problem.name}"
    content = {"origin": origin, **to_json(front, problem)}
    for path in output or ():
        write_by_rename(
            path, _file(path.suffix, about, front_diagram(front, about), content, front_csv(front, problem))
        )
    if as_json:
        print_json(content)
        return
    console = terminal()
    say(console, about, "bold")
    considered = counted(front.considered, "different feasible design")
    say(console, f"{origin}: {considered}, {len(front.designs)} of them on the front.")
    if len(front.designs):
        many = len(front.designs) > _MOST_ROWS
        title = f"{_MOST_ROWS} of the front's {len(front.designs)}" if many else "Front of what was costed"
        console.print(table(title, front_rows(front, problem, _MOST_ROWS)))
        if units := units_of(problem):
            say(console, f"Units: {units}.")
        say(console, "Designs that were not costed may beat some of these.")
        if many:
            say(console, "All of them are in --json and --output.")
    if rows := expert_rows(front):
        console.print(table("Beside it", rows))
    for line in letters(front):
        console.print(visible(line))
    corner_text = ", ".join(f"{name} = {value:.4g}" for name, value in zip(front.metrics, front.point, strict=True))
    say(console, f"Hypervolume: {front.hypervolume:.4f} of the box from 0 to {corner_text}.", "bold")
    for note in problem.notes:
        say(console, f"Note: {note}")
    for path in output or ():
        say(console, f"Wrote {path}.")


def _listed() -> str:
    return f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"


def _numbers(text: str, names: tuple[str, ...]) -> list[float]:
    """The point that a user gives.

    Raises:
        DsegymError: it is none.
    """
    from ...costmodels.files import plain_number

    try:
        found = [float(plain_number(part.strip())) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != len(names) or not all(value > 0 for value in found):
        raise DsegymError(
            f"'{text}' is no point of the hypervolume: give {len(names)} numbers above 0, {', '.join(names)}."
        )
    return found


def _file(suffix: str, about: str, diagram: Any, content: Any, rows: str) -> bytes:
    """What a file holds."""
    if suffix == ".csv":
        return rows.encode()
    if suffix == ".json":
        return json_text(content).encode()
    import io

    from PIL import Image

    from ...envs.faces.raster import draw

    if diagram is None:
        raise DsegymError(f"{about}: no design is feasible, and there is nothing to draw.")
    picture = io.BytesIO()
    Image.fromarray(draw(diagram)).save(picture, "PNG")
    return picture.getvalue()
