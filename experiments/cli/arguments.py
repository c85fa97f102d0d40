"""What several commands take, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ...costmodels.errors import DsegymError

__all__ = [
    "AllowOption",
    "JsonOption",
    "OptionsOption",
    "ResultsArgument",
    "ScenarioArgument",
    "WorkloadOption",
    "complete_agents",
    "complete_suites",
    "options_of",
    "pairs_of",
]


def _scenarios(incomplete: str) -> list[str]:
    """What a shell completes."""
    from ...envs.core.scenarios import scenario_ids

    return [name for name in scenario_ids() if name.startswith(incomplete)]


def complete_agents(incomplete: str) -> list[str]:
    """Names of agents that a shell completes."""
    from ...agents.registry import agent_names

    return [name for name in agent_names() if name.startswith(incomplete)]


def complete_suites(incomplete: str) -> list[str]:
    """Names of shipped suites that a shell completes."""
    from ..suite import policy_suite_names, suite_names

    return [name for name in (*suite_names(), *policy_suite_names()) if name.startswith(incomplete)]


ScenarioArgument = Annotated[
    str, typer.Argument(help="A scenario's id, dsegym/AcceleratorSizing-v0 say.", autocompletion=_scenarios)
]
OptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="NAME=VALUE", help="An option of the scenario; see `dsegym info`."),
]
WorkloadOption = Annotated[
    str | None, typer.Option(help="Short for --option workload=...: a shipped workload or a file.", show_default=False)
]
DesignOption = Annotated[
    str, typer.Option(metavar="NAME=VALUE,...", help="The design. What is left out is taken from the reference.")
]
BaselineOption = Annotated[
    str,
    typer.Option(
        help="Take what is left out from this heuristic's design instead, or from the proven one: optimum.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document, and nothing else, to standard output.")
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="PACKAGE", help="A package that may be imported where the results name it."),
]
ResultsArgument = Annotated[Path, typer.Argument(help="A results directory, as `dsegym run` makes it.")]


def pairs_of(items: Sequence[str], what: str) -> dict[str, str]:
    """Items of the form name=value as a dict; `what` names one of them in the error."""
    pairs = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not name or not value:
            raise DsegymError(f"'{item}' is not {what} of the form name=value.")
        if name in pairs:
            raise DsegymError(f"{name} is given twice.")
        pairs[name] = value
    return pairs


def options_of(options: Sequence[str] | None, workload: str | None) -> dict[str, str]:
    """A scenario's options, as --option and --workload give them."""
    pairs = pairs_of(options or (), "an option")
    if workload is not None:
        pairs["workload"] = workload
    return pairs
