"""`dsegym matrix`: one suite on several interpreters and numbers of threads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...costmodels.errors import visible
from ..formats import counted
from .arguments import AllowOption, JsonOption
from .documents import print_document
from .tables import progress_bar, say, table, terminal

__all__ = ["matrix_command"]


def matrix_command(
    suite: Annotated[str, typer.Argument(help="A shipped suite's name, or the path of a .toml file; a small one.")],
    output: Annotated[Path, typer.Option("--output", help="The matrix's directory, where nothing is yet.")],
    python: Annotated[
        list[str] | None,
        typer.Option(
            "--python",
            metavar="PATH",
            help="An interpreter or a virtual environment's folder that has dsegym; may be given several times; this "
            "one when left out.",
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option("--threads", help="May be given several times; 1 and all processors when left out."),
    ] = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a suite in several environments, and tell what changed: values, designs, seconds, memory.

    Example: `dsegym matrix quick --output matrix --python .venv --python .venv-3.13 --threads 1 --threads 2`
    """
    from ..matrix import TABLE, TOLERANCE, plan_matrix, run_matrix

    plan = plan_matrix(suite, output, pythons=python or (), threads=threads or ())

    with progress_bar("environments") as bar:
        task = bar.add_task("matrix", total=None)
        cells = run_matrix(
            plan,
            allow=allow or (),
            progress=lambda done, total, what: bar.update(task, completed=done, total=total, description=visible(what)),
        )
    if as_json:
        print_document((output / TABLE).read_text(encoding="utf-8"))
    else:
        rows = [
            {
                "Python": cell.versions["python"],
                "JAX": cell.versions["jax"],
                "NumPy": cell.versions["numpy"],
                "threads": cell.threads,
                "finished": f"{cell.finished} of {cell.finished + cell.others}",
                "largest difference": f"{cell.largest_difference:.2g}",
                "same designs": f"{cell.same_designs} of {cells[0].finished + cells[0].others}",
                "trials_s": cell.trials_s,
                "all_s": cell.seconds,
                "peak memory, MiB": round(cell.peak_mib) if cell.peak_mib == cell.peak_mib else "not told",
            }
            for cell in cells
        ]
        terminal().print(table("Environments, one worker each", rows))
        verdict = f"Values may differ by {TOLERANCE:g}, relative, from what the designs cost here: "
        say(terminal(), verdict + ("all do." if all(cell.holds for cell in cells) else "not all hold."))
    for cell in cells:
        if not cell.holds:
            reasons = {
                f"a value differs by {cell.largest_difference:.2g}": cell.largest_difference > TOLERANCE,
                f"feasibility differs in {counted(cell.infeasible_elsewhere, 'sample')}": cell.infeasible_elsewhere,
                f"{counted(cell.others, 'trial')} did not finish": cell.others,
            }
            told = ", ".join(reason for reason, holds in reasons.items() if holds)
            say(terminal(error=True), f"warning: {visible(cell.path)}, threads {cell.threads}: {told}.")
    if not all(cell.holds for cell in cells):
        raise typer.Exit(1)
