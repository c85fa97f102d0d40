"""`dsegym proxy fit` and `dsegym proxy show`: models of an objective, fitted to stored samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ...costmodels.errors import visible
from ..formats import counted
from .arguments import AllowOption, JsonOption, OptionsOption, WorkloadOption, options_of
from .documents import alone, print_json
from .tables import progress_bar, say, table, terminal

__all__ = ["app"]

app = typer.Typer(
    help="Fit proxies of an objective to stored samples, and see what they are worth.", no_args_is_help=True
)


@app.command("fit")
@alone
def fit(
    source: Annotated[Path, typer.Argument(help="A table that `dsegym export` wrote, or a results directory.")],
    scenario: Annotated[str, typer.Option("--scenario", help="Its id, dsegym/AcceleratorSizing-v0 say.")],
    output: Annotated[Path, typer.Option("--output", help="The proxy's directory, where nothing is yet.")],
    option: OptionsOption = None,
    workload: WorkloadOption = None,
    model: Annotated[
        str, typer.Option("--model", help="trees (LightGBM's gradient-boosted ones) or network (a small one, in flax).")
    ] = "trees",
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Of fits and splits.")] = 0,
    splits: Annotated[int, typer.Option("--splits", min=2, max=1000, help="Of training and test, for the report.")] = 5,
    allow: AllowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a proxy to one instance's samples, and tell what it is worth on designs that it has not seen.

    Example: `dsegym proxy fit results/quick --scenario dsegym/AcceleratorSizing-v0 -o workload=resnet50 --output proxy`
    """
    from ...agents.proxies.base import load_model
    from ..proxies import fitted, read_samples, worth
    from ..proxy_store import card_of, check_place, read_card, save_proxy

    check_place(output)
    load_model(model)
    samples = read_samples(source, scenario, options_of(option, workload), allow=allow or ())
    with progress_bar("proxies") as bar:
        task = bar.add_task("fit", total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        report = worth(samples, model, splits=splits, seed=seed, progress=update)
        proxy, designs = fitted(samples, model, seed)
    save_proxy(output, proxy, card_of(samples, model, designs, report, seed=seed, splits=splits))
    _show(read_card(output), as_json)
    if not as_json:
        say(terminal(), f"The proxy of all of them: {output}")


@app.command("show")
@alone
def show(
    proxy: Annotated[Path, typer.Argument(help="A proxy's directory, as `dsegym proxy fit` makes it.")],
    as_json: JsonOption = False,
) -> None:
    """Show what a proxy was made of, and what it is worth.

    Example: `dsegym proxy show proxy`
    """
    from ..proxy_store import read_card

    _show(read_card(proxy), as_json)


def _show(card: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(card)
        return
    console, samples = terminal(), card["samples"]
    options = ", ".join(f"{name}={value}" for name, value in card["options"].items())
    say(console, f"{card['scenario']}: {options}", "bold")
    agents = ", ".join(f"{name} {count:,}" for name, count in card["agents"].items())
    taken = f"{counted(samples['rows'], 'sample')} of {counted(samples['trials'], 'trial')} ({agents})"
    designs = counted(samples["designs"], "different design")
    feasible = f"{100 * samples['feasible']:.1f} % of the samples feasible"
    say(console, f"{card['model']}, seed {card['seed']}: {taken}; {designs}, {feasible}.")
    for test in dict.fromkeys(row["test"] for row in card["report"]):
        rows = [
            {
                "learned from": visible(row["learned_from"]),
                "designs": row["designs"],
                "relative RMSE, %": _figure(row.get("rmse_percent"), 2),
                "Spearman": _figure(row.get("spearman"), 3),
                "feasibility right": _figure(row["right"], 3),
            }
            for row in card["report"]
            if row["test"] == test
        ]
        console.print(table(f"On {visible(test)}: mean of {card['splits']} splits, 95 % interval", rows))


def _figure(interval: list[float] | None, digits: int) -> str:
    if interval is None:
        return "too few feasible"
    mean, low, high = (f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.2g}" for value in interval)
    return f"{mean} [{low}, {high}]"
