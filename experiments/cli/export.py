"""`dsegym export` and `dsegym compact`: results as data for others, and in fewer files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...costmodels.errors import DsegymError, visible
from ..formats import counted
from .arguments import AllowOption, JsonOption, OptionsOption, ResultsArgument, options_of
from .documents import print_json
from .tables import progress_bar, tell_odd, terminal

__all__ = ["compact_command", "export"]


def export(
    source: Annotated[str, typer.Argument(help="A results directory; with --episodes, a scenario's id.")],
    output: Annotated[
        str, typer.Option("--output", help="The table, NAME.parquet; with --episodes, a data set's id, NAME-v0.")
    ],
    episodes: Annotated[
        int | None, typer.Option("--episodes", help="Play so many, and keep them as a data set of Minari.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="Who plays: random, a baseline, best of them, optimum, a trained policy, or module:function.",
            show_default=False,
        ),
    ] = None,
    option: OptionsOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the first episode.", show_default=False)] = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write every sample of a results directory into one Parquet table, or episodes of a scenario into a data set.

    Example: `dsegym export results/quick --output quick.parquet`
    """
    given = {"--policy": policy, "--option": option, "--seed": seed}
    if episodes is None and (named := [name for name, value in given.items() if value is not None]):
        raise DsegymError(f"{named[0]} is for episodes: say --episodes COUNT.")
    if episodes is not None and allow:
        raise DsegymError("--allow is for results directories: episodes import what the scenario's id names.")
    with progress_bar() as bar:
        task = bar.add_task("export", total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if episodes is None:
            from ..export import export_samples

            count = export_samples(source, output, allow=allow or (), progress=update)
        else:
            from ..episodes import RANDOM, export_episodes

            count = export_episodes(
                source,
                options_of(option, None),
                output,
                episodes=episodes,
                policy=RANDOM if policy is None else policy,
                seed=seed or 0,
                progress=update,
            )
    if episodes is None:
        tell_odd(Path(source))
        content, what = {"file": output, "samples": count}, counted(count, "sample")
    else:
        content = {"data_set": output, "episodes": episodes, "steps": count}
        what = f"{counted(count, 'step')} of {counted(episodes, 'episode')}"
    if as_json:
        print_json(content)
    else:
        terminal().print(visible(f"{what}: {output}"))


def compact_command(results: ResultsArgument, as_json: JsonOption = False) -> None:
    """Move the finished trials of a results directory into a few files; everything else reads them as before.

    A run does so by itself for every thousand trials. Trials that stand in two such files are kept once, and a file
    that is not what its name says is written anew.

    Example: `dsegym compact results/lottery`
    """
    from ..batch_writing import compact, mend_batches
    from ..layout import BATCHES
    from ..odd_entries import check_places
    from ..suite_note import read_suite
    from ..whole_folders import clean

    identifiers = read_suite(results)["trials"]
    check_places(results, ())
    clean(results)
    mend_batches(results)
    count = compact(results, identifiers, least=1)
    tell_odd(results)
    if as_json:
        print_json({"folder": str(results / BATCHES), "trials_moved": count})
        return
    terminal().print(visible(f"{counted(count, 'trial')} moved into {results / BATCHES}."))
