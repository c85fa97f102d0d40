"""The page "The hyperparameter lottery", made of what counts of trials and of nothing else."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..energy import energy_text
from ..formats import counted, format_number
from ..scoring.learning import Interval
from ..scoring.lottery import (
    EFFORTS,
    RATIOS,
    TARGETS,
    Chance,
    Dominance,
    LotteryResults,
    Table,
    chances,
    dominance,
    general,
    pace,
    reach,
    spreads,
    stability,
    statuses,
    table_at,
)
from ..suite import suite_names
from .prose import paragraph, point, unfinished
from .text import cell_text, markdown_table

__all__ = ["lottery_page"]

_HEAD = """# The hyperparameter lottery

How much of an agent's result is its hyperparameters' luck, who wins at which budget, and whether anyone dominates. This
page is made by one command from stored results (last section), whatever they say."""
_READING = """## How to read it

Score 0 is an instance's reference, 1 its bound; whoever holds nothing better than the reference falls back on it, so no
score is below 0 (the score with the reference of `docs/compete.md`, not the raw one that a leaderboard ranks by). Each
*draw* is one random choice of an agent's declared hyperparameters, draw 0 its defaults; a draw's score is the mean over
instances of the means over seeds. Every budget has trials of its own, and agents are compared within a budget only: an
agent that plans with its budget plans with that one, and one that has a smaller budget is missing from the tables of
larger ones. Intervals are 95 % bootstrap intervals: those of spreads and regrets for which draws were drawn, those of
chances for which instances. Few instances make wide ones. The best of several draws is chosen by the same trials that
it is scored by, which flatters agents whose draws differ by luck. Some agents start from a baseline's design and others
at random: `dsegym list` says which."""

_FINDING = (
    "ArchGym's finding, as its abstract has it: with unlimited samples and tuned hyperparameters, no algorithm "
    "dominates. Here the largest budget stands for unlimited samples, and each agent has, for each instance, the best "
    "of all its draws; an agent dominates if it is among the best on every instance and is the only one of which that "
    "holds. That is sure, of these instances, if it stays so in 95 % of resamples of draws and seeds, and surely not "
    "so if nobody does in 95 %: the resamples say what other draws and seeds would change, not what other instances "
    "would. The winners of each budget are those of the mean over instances, which who is far ahead on one of them may "
    "win without being the best on the others; an interval from 0 to 100 says that with other instances anything may "
    "come out."
)


def lottery_page(results: LotteryResults) -> str:
    """The page as Markdown; the same results give the same bytes."""
    tables = [table for budget in results.budgets if (table := table_at(results, budget)) is not None]
    found = {table.budget: chances(table) for table in tables}
    parts = [_HEAD, *_summary(results, tables, found), *_coverage(results, tables), _READING]
    parts += [*_winners(found), *_dominance(tables), *_spreads(tables), *_stability(tables)]
    parts += [*_reach(results, tables), *_general(tables), *_pace(results), "## How this page is made", _made(results)]
    return "\n\n".join(parts) + "\n"


def _with(figure: Interval) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _percent(figure: Interval) -> str:
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.0f} %"
    return f"{100 * figure.value:.0f} % [{100 * figure.low:.0f}, {100 * figure.high:.0f}]"


def _summary(results: LotteryResults, tables: Sequence[Table], found: dict[int, list[Chance]]) -> list[str]:
    if not tables:
        return ["## In short", "No instance has trials of all draws yet: nothing can be compared."]
    last = tables[-1]
    judged = dominance(last)
    told = []
    told.append(_verdict(judged))
    for table in tables:
        told.append(_won(table, found[table.budget]))
    widest = max(spreads(last), key=lambda each: each.middle.value)
    told.append(
        f"The lottery is widest for {widest.agent} at {last.budget:,} samples: its draws score from {widest.low:.3f} "
        f"to {widest.high:.3f}, the middle half within {_with(widest.middle)}."
    )
    agents, taus = stability(tables)
    if taus and len(tables) > 1:
        ends = {name: tau[0, -1] for name, tau in taus.items()}
        told.append(
            f"From {tables[0].budget:,} to {last.budget:,} samples the order of the {len(agents)} agents that play all "
            f"budgets has a Kendall's tau of "
            + " and ".join(f"{_tau(tau)} by the {name}" for name, tau in ends.items())
            + " (1: the same order, 0: unrelated)."
        )
    return ["## In short", "\n".join(map(point, told)), paragraph(_FINDING)]


_SURE = 0.95


def _verdict(judged: Dominance) -> str:
    """Whether ArchGym's finding holds, as far as these draws can tell."""
    winners = sorted({agent for agents in judged.best.values() for agent in agents})
    if judged.alone is not None:
        seen = f"{judged.alone} alone is among the best on all {len(judged.best)} instances"
    elif judged.everywhere:
        seen = f"{', '.join(judged.everywhere)} are alike the best on all {len(judged.best)} instances"
    else:
        seen = f"no agent is among the best on all {len(judged.best)} instances: {', '.join(winners)} are, each on some"
    anyone = sum(judged.chance.values())
    likeliest = max(judged.chance, key=lambda agent: (judged.chance[agent], agent))
    if judged.chance[likeliest] >= _SURE:
        told = f"{likeliest} dominates, and ArchGym's finding does not hold on these"
    elif anyone <= 1 - _SURE:
        told = "nobody dominates, and ArchGym's finding holds on these"
    else:
        told = "whether ArchGym's finding holds on these cannot be told yet"
    shares = f"{100 * anyone:.0f} % of resamples ({likeliest} in {100 * judged.chance[likeliest]:.0f} %)"
    return (
        f"At {judged.budget:,} samples with tuned hyperparameters, {seen}. With draws and seeds drawn anew, somebody "
        f"dominates in {shares}: {told}."
    )


def _won(table: Table, found: Sequence[Chance]) -> str:
    untuned = max(found, key=lambda each: (each.by_effort[0].value, each.agent))
    tuned = found[0]
    return (
        f"By the mean over instances, at {table.budget:,} samples, one draw each: {untuned.agent} wins most often "
        f"({_percent(untuned.by_effort[0])}); the best of {EFFORTS[-1]} draws each: {tuned.agent} "
        f"({_percent(tuned.by_effort[-1])})."
    )


def _coverage(results: LotteryResults, tables: Sequence[Table]) -> list[str]:
    agents, seeds = {trial.agent for trial in results.trials}, {trial.seed for trial in results.trials}
    count = sum(len(own) for own in results.draws.values())
    told = (
        f"This page stands on {len(results.trials):,} of the {results.declared:,} trials that the suite declares: "
        f"{counted(len(agents), 'agent')}, {counted(count, 'draw')} in all, "
        f"{counted(len(results.instances), 'instance')}, {counted(len(seeds), 'seed')}, "
        f"budgets of {', '.join(f'{each:,}' for each in results.budgets)} samples."
    )
    if len(results.trials) < results.declared:
        told += " The rest has no result yet: intervals will narrow, and what is close may turn."
    if len(seeds) == 1:
        told += " With one seed, luck of the seed and of the draw are not told apart."
    apart = [f"{len(table.instances)} at {table.budget:,}" for table in tables]
    told += f" Instances on which all draws have trials: {', '.join(apart) or 'none'}."
    told += unfinished(statuses(results))
    return [paragraph(told)]


def _winners(found: dict[int, list[Chance]]) -> list[str]:
    parts = [
        "## The winner by budget",
        paragraph(
            "How likely each agent is the best if everybody tries so many of its own draws and keeps the best, by the "
            "mean over instances: exact over all choices of draws, drawn without replacement; agents with fewer draws "
            "try all that they have."
        ),
    ]
    for budget, each in found.items():
        head = ("Agent", *(f"{k} draw{'s' * (k > 1)}" for k in EFFORTS))
        rows = [[chance.agent, *map(_percent, chance.by_effort)] for chance in each]
        parts += [f"### {budget:,} samples", markdown_table(head, rows, right=set(range(1, len(head))))]
    return parts


def _dominance(tables: Sequence[Table]) -> list[str]:
    if not tables:
        return []
    names = list(dict.fromkeys(name for table in tables for name in table.instances))
    judged = {table.budget: dominance(table).best for table in tables}
    rows = []
    for name in names:
        cells = [_few(best[name]) if name in (best := judged[budget]) else "-" for budget in judged]
        rows.append([name, *cells])
    about = "The agents that are best on each instance, each with the best of all its draws for that instance."
    head = ("Instance", *(f"{budget:,} samples" for budget in judged))
    return ["## Who is best where, when tuned", paragraph(about), markdown_table(head, rows, right=set())]


def _few(agents: Sequence[str]) -> str:
    return ", ".join(agents) if len(agents) <= 3 else f"{', '.join(agents[:3])} and {len(agents) - 3} more"


def _spreads(tables: Sequence[Table]) -> list[str]:
    about = (
        "Scores of draws: the defaults (draw 0), the lowest, the median, the highest, the width of the middle half, "
        "and the expected best of so many draws (the closed form for draws without replacement)."
    )
    parts = ["## The spread over draws", paragraph(about)]
    head = (
        "Agent",
        "Draws",
        "Defaults",
        "Low",
        "Median",
        "High",
        "Middle half",
        *(f"Best of {k}" for k in EFFORTS[1:]),
    )
    for table in tables:
        rows = []
        for each in sorted(spreads(table), key=lambda each: (-each.median.value, each.agent)):
            own = ["-" if each.default is None else f"{each.default:.3f}", f"{each.low:.3f}", _with(each.median)]
            own += [f"{each.high:.3f}", _with(each.middle) if each.draws > 1 else "-"]
            own += ["-" if value is None else f"{value:.3f}" for value in each.best_of[1:]]
            rows.append([each.agent, str(each.draws), *own])
        parts += [f"### {table.budget:,} samples", markdown_table(head, rows, right=set(range(1, len(head))))]
    return parts


def _tau(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _stability(tables: Sequence[Table]) -> list[str]:
    agents, taus = stability(tables)
    if not taus:
        return []
    about = (
        f"Kendall's tau between the orders of the agents at two budgets, of those that play all of them: "
        f"{', '.join(agents)}. 1 is the same order, 0 unrelated, -1 the reverse."
    )
    parts = ["## Does the order last", paragraph(about)]
    for name, tau in taus.items():
        head = (f"By the {name}", *(f"{table.budget:,}" for table in tables))
        rows = [[f"{table.budget:,}", *map(_tau, row)] for table, row in zip(tables, tau, strict=True)]
        parts.append(markdown_table(head, rows, right=set(range(1, len(head)))))
    return parts


def _reach(results: LotteryResults, tables: Sequence[Table]) -> list[str]:
    if not tables:
        return []
    target = TARGETS[1]
    about = (
        "Over all draws of an agent. Anytime regret: the mean of 1 - score over the logarithm of samples, 0 at the "
        "bound all along. Level: the mean share of the instance's heuristics that its design matches or beats. To a "
        f"score of {' / '.join(f'{each:g}' for each in TARGETS)}: the share of trials that get there, and the expected "
        "samples if a trial that does not is followed by another (COCO's ERT). Profile: the share of instances on "
        "which "
        f"its expected samples to {target:g} are within {', '.join(f'{each:g}' for each in RATIOS)} times the fewest "
        "of any agent (Dolan and Moré)."
    )
    head = ("Agent", "Anytime regret", "Level", *(f"Reach {each:g}" for each in TARGETS))
    head += (*(f"Samples to {each:g}" for each in TARGETS), f"Profile at {', '.join(f'{each:g}' for each in RATIOS)}")
    parts = ["## How soon, how far", paragraph(about)]
    for table in tables:
        rows = []
        for each in reach(results, table):
            level = "-" if math.isnan(each.level) else f"{each.level:.2f}"
            attained = [f"{100 * share:.0f} %" for share in each.attained]
            runtime = [f"{value:,.0f}" if math.isfinite(value) else "-" for value in each.runtime]
            profile = ", ".join(f"{share:.2f}" for share in each.profile)
            rows.append([each.agent, _with(each.regret), level, *attained, *runtime, profile])
        title = f"### In the class of {table.budget:,} samples"
        parts += [title, markdown_table(head, rows, right=set(range(1, len(head))))]
    return parts


def _general(tables: Sequence[Table]) -> list[str]:
    if not tables or not (found := general(tables[-1])):
        return []
    about = (
        f"At {tables[-1].budget:,} samples. At home: the best draw of each instance, there; elsewhere: the same draws "
        "on the other instances; transfer: elsewhere as a share of what a draw chosen there scores; one for all: the "
        "one draw that is best on all instances together; its price: what that loses to choosing anew on each."
    )
    head = ("Agent", "At home", "Elsewhere", "Gap", "Transfer", "One for all", "Its price")
    rows = []
    for agent, each in sorted(found.items(), key=lambda pair: (-pair[1].general, pair[0])):
        transfer = "-" if each.transfer is None else f"{each.transfer:.2f}"
        figures = (each.at_home, each.elsewhere, each.gap), (each.general, each.price)
        first, second = ([f"{value:.3f}" for value in part] for part in figures)
        rows.append([agent, *first, transfer, *second])
    title = "## Specialists and generalists"
    return [title, paragraph(about), markdown_table(head, rows, right=set(range(1, len(head))))]


def _pace(results: LotteryResults) -> list[str]:
    rows = [
        [
            each.agent,
            f"{each.budget:,}",
            f"{each.trials:,}",
            *(f"{value:.3g}" for value in (each.agent_ms, each.cost_model_ms, each.overhead_ms)),
            energy_text(None),
        ]
        for each in pace(results)
    ]
    about = (
        "Milliseconds of a trial, medians by the clock of machines that did other things beside; overhead is the "
        "worker's own, with the making of an instance in its first trial, without what the runner takes to hand it "
        "over and to store it (`benchmarks/lottery.py` has that). Energy is told where a trial's share of it was "
        "measured."
    )
    head = ("Agent", "Budget", "Trials", "Agent (ms)", "Cost model (ms)", "Overhead (ms)", "Energy")
    return ["## What trials cost", paragraph(about), markdown_table(head, rows, right={1, 2, 3, 4, 5})]


def _made(results: LotteryResults) -> str:
    """How the page came to be, and how to make it again, with what the whole suite would take."""
    file = f"`experiments/suites/{results.suite}.toml`" if results.suite in suite_names() else "its file"
    named, folder = (shlex.quote(cell_text(text)) for text in (results.suite, f"results/{results.suite}"))
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for trial in results.trials:
        seconds[trial.agent, trial.budget].append((trial.agent_ms + trial.cost_model_ms + trial.overhead_ms) / 1e3)
    mean = float(np.mean([np.mean(own) for own in seconds.values() for _ in own]))
    hours = mean * results.declared / 3600
    rest = (
        f"The first command runs the suite `{results.suite}`: {file} declares every trial, its budget and its seeds. "
        f"At the {mean:.2g} s that a trial here took by the clock, all {results.declared:,} of them take "
        f"{format_number(round(hours / 2, 1))} hours on two cores as busy as these were, compiling apart. "
        "`dsegym lottery` writes this page and `docs/lottery/results.json`: what counts of every trial; from that file "
        "alone `dsegym lottery docs/lottery/results.json --output docs` writes this page again, as a test checks. "
        f"`dsegym verify {folder}` costs every design again."
    )
    run = f"dsegym run {named} --output {folder}   # resumes\n"
    return f"```bash\n{run}dsegym lottery {folder} --output docs\n```\n\n{paragraph(rest)}"
