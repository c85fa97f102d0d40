"""The command line: `dsegym list | info | cost | render | optimize | bound | pareto | run | leaderboard | verify |
trace | workload | doctor`, `dsegym train | evaluate | learning | field | lottery`, and
`dsegym export | compact | proxy | matrix | submit`.

Heavy libraries are imported by the command that needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ..._interrupts import raised_where_met
from ...costmodels.errors import visible
from . import (
    board,
    bound,
    cost,
    doctor,
    export,
    field,
    learn,
    lottery,
    matrix,
    optimize,
    pareto,
    pay,
    proxy,
    render,
    run,
    show,
    submit,
    trace,
    workload,
)
from .documents import alone
from .failures import failure_of

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"dsegym {version('dsegym')}")
        raise typer.Exit


@app.callback()
def _of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version, and exit.")
    ] = False,
) -> None:
    """Design-space exploration of computer systems: environments, agents, a fair competition."""


for _name, _command in (
    ("list", show.list_command),
    ("info", show.info),
    ("cost", cost.cost),
    ("render", render.render),
    ("optimize", optimize.optimize),
    ("bound", bound.bound),
    ("pareto", pareto.pareto),
    ("run", run.run),
    ("leaderboard", board.leaderboard),
    ("trace", trace.trace),
    ("workload", workload.workload),
    ("train", learn.train_command),
    ("evaluate", learn.evaluate_command),
    ("verify", board.verify_command),
    ("learning", pay.learning),
    ("doctor", doctor.doctor),
    ("field", field.field_command),
    ("against", field.against_command),
    ("lottery", lottery.lottery_command),
    ("export", export.export),
    ("compact", export.compact_command),
    ("matrix", matrix.matrix_command),
):
    app.command(_name)(alone(_command))
app.add_typer(proxy.app, name="proxy")
app.add_typer(submit.app, name="submit")


def main() -> None:
    """The entry point. Exit codes: 0 done, 1 something failed, 2 a wrong request, 130 interrupted."""
    if sys.stderr is None:  # closed: what is said there is lost, and harms nothing
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        print("dsegym: standard output is closed; there is nowhere to print to.", file=sys.stderr)
        raise SystemExit(1)
    try:
        with raised_where_met():
            app(standalone_mode=True)
    except BrokenPipeError:
        raise SystemExit(1) from None
    except SystemExit as end:
        if end.code == 130:  # typer has met Ctrl-C, and says nothing
            print(f"dsegym: {failure_of(KeyboardInterrupt())}", file=sys.stderr)
        raise
    except BaseException as error:
        failure = failure_of(error)
        print(f"dsegym: {visible(failure)}", file=sys.stderr)
        raise SystemExit(failure.code) from None
