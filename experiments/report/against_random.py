"""The page "Each agent against random search", made of what counts of trials and of nothing else."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from ...costmodels.errors import DsegymError
from ..formats import counted
from ..scoring.chances import BEATS, LOSES, UNDECIDED, Chance, chances
from ..scoring.field import GRID, POINTS, RANDOM, Field, statuses
from .field import fewer_seeds, how_made, trials_of
from .prose import paragraph, point, unfinished
from .text import markdown_table

__all__ = ["against_random_page"]

_FEW = 100  # samples; of larger budgets, agents are compared at those of `POINTS` from here on
_EARLIER = 0.3  # of a smaller budget, at which agents are compared beside its end

_HEAD = """# Each agent against random search

At equal samples an agent at its defaults should beat random search on an instance of every family that it applies to.
This page is made by one command from stored results (last section), whatever they say."""
_READING = """## How to read it

The chance that a trial of the agent holds a better design than one of random search after as many samples, over all
pairs of seeds, a tie counting half (the Mann-Whitney statistic): 0.5 where neither is better. Its interval is that of
95 %, for which seeds of both are drawn anew. An agent *beats* random search where the whole interval is above 0.5, and
*loses* where all of it is below; otherwise, and with fewer than five seeds of either, these seeds do not tell. A trial
without a feasible design loses to one that has one, and two without tie. Designs are compared by what the search sees,
and on held-out cases where an instance is scored on such. Agents that plan with their budget (`simulated_annealing`,
`regularised_evolution`, `portfolio`) are in the middle of their plan at fewer samples than it. Each interval stands by
itself: of agents that are as good as random search 3 to 4 in 100 cells beat it by chance, and as many lose, with ten
seeds each as with five against ten (simulated, as a test checks). An empty cell: the agent does not suit the instance,
or has no trials there."""

_Found = Mapping[str, Mapping[str, Chance]]  # {agent: {instance: its chance}}


def against_random_page(field: Field) -> str:
    """The page as Markdown; the same results give the same bytes.

    Raises:
        DsegymError: nothing can be compared.
    """
    most = max((trial.budget for trial in field.trials), default=0)
    found = {samples: chances(field, RANDOM, samples) for samples in _points(most)}
    told = {samples: own for samples, own in found.items() if own}
    if not told:
        raise DsegymError(f"There is nothing to compare: no agent and {RANDOM} have trials on the same instance.")
    summary = "\n".join(line for samples, own in told.items() for line in _summary(samples, own))
    parts = [_HEAD, "## In short", summary, _coverage(field), _READING]
    for samples, own in told.items():
        parts += [f"## After {samples:,} samples", _table(field, own)]
    return "\n\n".join([*parts, "## How this page is made", how_made(field, "against")]) + "\n"


def _points(most: int) -> list[int]:
    """At which samples agents are compared, the largest first.

    Args:
        most: samples that any trial may take.
    """
    last = max((samples for samples in GRID if samples <= most), default=0)
    earlier = max((samples for samples in GRID if samples <= _EARLIER * last), default=0)
    points = [samples for samples in POINTS if _FEW <= samples <= most] if most > _FEW else [earlier, last]
    return sorted({samples for samples in (last, *points) if samples}, reverse=True)


def _summary(samples: int, found: _Found) -> list[str]:
    """Who beats random search everywhere, somewhere and nowhere, and who loses where."""
    by_count: dict[tuple[int, int], list[str]] = defaultdict(list)
    for agent, own in found.items():
        by_count[len(_where(own, BEATS)), len(own)].append(f"`{agent}`")
    shares = sorted(by_count.items(), key=lambda item: (-item[0][0] / item[0][1], -item[0][1]))
    listed = "; ".join(f"on {won} of {of}: {', '.join(agents)}" for (won, of), agents in shares)
    losing = [f"`{agent}` on {', '.join(names)}" for agent, own in found.items() if (names := _where(own, LOSES))]
    return [
        point(f"After {samples:,} samples, an agent beats random search, of the instances that it plays, {listed}."),
        point(f"After {samples:,} samples, random search beats {'; '.join(losing) or 'nobody'}."),
    ]


def _where(own: Mapping[str, Chance], verdict: str) -> list[str]:
    return [name for name, chance in own.items() if chance.verdict == verdict]


def _coverage(field: Field) -> str:
    agents = {trial.agent for trial in field.trials}
    seeds = max(map(len, field.played().values()), default=0)  # their numbers need not begin at 0
    luck = f"once in {math.comb(2 * seeds, seeds) // 2:,} times"
    about = (
        f"{trials_of(field)}: {counted(len(agents), 'agent')} on {counted(len(field.instances), 'instance')}, "
        f"{counted(seeds, 'seed')} at most. Where all trials of one lie on one side of all of the other's, the "
        f"interval is a point: with {counted(seeds, 'seed')} each, chance does that {luck}, "
        "and where the agent draws nothing, so that its seeds are one result, in 2 of "
        f"{seeds + 1}. What has no cell does not apply, or has no result yet."
    )
    return paragraph(about + fewer_seeds(field) + unfinished(statuses(field)))


def _table(field: Field, found: _Found) -> str:
    instances = [it for it in field.instances if any(it.name in own for own in found.values())]
    order = sorted(found, key=lambda agent: (-len(_where(found[agent], BEATS)) / len(found[agent]), agent))
    rows = [
        [agent, *(_cell(found[agent][it.name]) if it.name in found[agent] else "" for it in instances)]
        for agent in order
    ]
    head = ("Agent", *(f"{it.name} ({it.family})" for it in instances))
    return markdown_table(head, rows, right=set(range(1, len(head))))


def _cell(chance: Chance) -> str:
    about = chance.interval
    ends = "" if about.low is None or about.high is None else f" [{about.low:.2f}, {about.high:.2f}]"
    told = "" if chance.verdict == UNDECIDED else f"{chance.verdict}: "
    return f"{told}{about.value:.2f}{ends}"
