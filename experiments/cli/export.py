"""`dsegym export` and `dsegym compact`: results as data for others, and in fewer files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...costmodels.errors import visible
from .arguments import AllowOption, ResultsArgument
from .tables import progress_bar, terminal

__all__ = ["compact_command", "export"]


def export(
    results: ResultsArgument,
    output: Annotated[Path, typer.Option("--output", help="The table's file, NAME.parquet.")],
    allow: AllowOption = None,
) -> None:
    """Write every sample of a results directory into one Parquet table: designs, their values and metrics, costs.

    Example: `dsegym export results/quick --output quick.parquet`
    """
    from ..export import export_samples

    with progress_bar() as bar:
        task = bar.add_task("export", total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        rows = export_samples(results, output, allow=allow or (), progress=update)
    terminal().print(visible(f"{rows:,} samples: {output}"))


def compact_command(results: ResultsArgument) -> None:
    """Move the finished trials of a results directory into a few files; everything else reads them as before.

    A run does so by itself for every thousand trials. Example: `dsegym compact results/lottery`
    """
    from ..batches import compact
    from ..store import clean, read_suite

    identifiers = read_suite(results)["trials"]
    clean(results)
    count = compact(results, identifiers, least=1)
    terminal().print(visible(f"{count:,} trials moved into {results / 'batches'}."))
