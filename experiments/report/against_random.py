"""The page "Each agent against random search", made of what counts of trials and of nothing else."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from ..formats import counted
from ..scoring.chances import Chance, chances
from ..scoring.field import GRID, Field, statuses
from .field import how_made
from .prose import paragraph, point, unfinished
from .text import markdown_table

__all__ = ["against_random_page"]

OTHER = "random_search"
_EARLIER = 0.3  # of the budget, at which agents are compared as well

_HEAD = """# Each agent against random search

At equal samples an agent at its defaults should beat random search on an instance of every family that it applies to.
This page is made by one command from stored results (last section), whatever they say.

How to read it. The chance that a trial of the agent holds a better design than one of random search after as many
samples, over all pairs of seeds, a tie counting half (the Mann-Whitney statistic): 0.5 where neither is better. Its
interval is that of 95 %, for which seeds of both are drawn anew. An agent *beats* random search where the whole
interval is above 0.5, and *loses* where all of it is below; otherwise these seeds do not tell. One instance stands for
its family. Designs are compared by what the search sees; no feasible design is worse than any. Where an instance is
scored on held-out cases, on those."""


def against_random_page(field: Field) -> str:
    """The page as Markdown; the same results give the same bytes."""
    most = max((trial.budget for trial in field.trials), default=0)
    last = max((samples for samples in GRID if samples <= most), default=0)
    earlier = max((samples for samples in GRID if samples <= _EARLIER * last), default=0)
    points = [samples for samples in (last, earlier) if samples and chances(field, OTHER, samples)]
    parts = [_HEAD, "## In short", *_summary(field, points), _coverage(field)]
    for samples in points:
        parts += [f"## After {samples:,} samples", _table(field, samples)]
    return "\n\n".join([*parts, "## How this page is made", how_made(field, "against")]) + "\n"


def _verdicts(field: Field, samples: int) -> dict[str, Mapping[str, str]]:
    found = chances(field, OTHER, samples)
    return {agent: {name: chance.verdict for name, chance in own.items()} for agent, own in found.items()}


def _summary(field: Field, points: list[int]) -> list[str]:
    """Who beats random search everywhere, somewhere and nowhere, and who loses where."""
    told = []
    for samples in points:
        verdicts = _verdicts(field, samples)
        by_count: dict[tuple[int, int], list[str]] = defaultdict(list)
        for agent, own in verdicts.items():
            by_count[sum(each == "beats" for each in own.values()), len(own)].append(f"`{agent}`")
        shares = sorted(by_count.items(), key=lambda item: (-item[0][0] / item[0][1], -item[0][1]))
        listed = "; ".join(f"on {won} of {of}: {', '.join(agents)}" for (won, of), agents in shares)
        told.append(point(f"After {samples:,} samples, an agent beats random search {listed}."))
        losing = [
            f"`{agent}` on {', '.join(name for name, each in own.items() if each == 'loses')}"
            for agent, own in verdicts.items()
            if "loses" in own.values()
        ]
        who = "; ".join(losing) or "nobody"
        told.append(point(f"After {samples:,} samples, random search beats {who}."))
    return ["\n".join(told)] if told else []


def _coverage(field: Field) -> str:
    agents = {trial.agent for trial in field.trials}
    seeds = 1 + max((trial.seed for trial in field.trials), default=-1)
    about = (
        f"{len(field.trials):,} of the {field.declared:,} trials that the suite declares: "
        f"{counted(len(agents), 'agent')} on {counted(len(field.instances), 'instance')}, {counted(seeds, 'seed')} at "
        "most. Where all trials of one lie on one side of all of the other's, the interval is a point: with "
        f"{counted(seeds, 'seed')} each chance does that once in {math.comb(2 * seeds, seeds) // 2:,} times. What has "
        f"no cell does not apply, or has no result yet.{unfinished(statuses(field))}"
    )
    return paragraph(about)


def _table(field: Field, samples: int) -> str:
    found = chances(field, OTHER, samples)
    instances = [it for it in field.instances if any(it.name in own for own in found.values())]
    rows = []
    for agent, own in sorted(found.items(), key=lambda item: (-_beaten(item[1]), item[0])):
        rows.append([agent, *(_cell(own[it.name]) if it.name in own else "" for it in instances)])
    head = ("Agent", *(f"{it.name} ({it.family})" for it in instances))
    return markdown_table(head, rows, right=set(range(1, len(head))))


def _beaten(own: Mapping[str, Chance]) -> float:
    return sum(chance.verdict == "beats" for chance in own.values()) / len(own)


def _cell(chance: Chance) -> str:
    about = chance.interval
    ends = "" if about.low is None or about.high is None else f" [{about.low:.2f}, {about.high:.2f}]"
    told = {"beats": "beats: ", "loses": "loses: "}.get(chance.verdict, "")
    return f"{told}{about.value:.2f}{ends}"
