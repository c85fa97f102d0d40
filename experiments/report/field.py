"""The page "Which agent when", made of what counts of trials and of nothing else."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...agents.registry import PLAY_RULES
from ..formats import counted, format_score, rounded
from ..scoring.field import (
    GRID,
    KINDS,
    POINTS,
    RANDOM,
    Comparison,
    Field,
    FieldInstance,
    Standing,
    Verdict,
    against,
    instances_at,
    scores_at,
    standing,
    statuses,
    verdict,
)
from ..scoring.learning import Interval
from ..suite import suite_names
from .prose import paragraph, point, unfinished
from .text import cell_text, markdown_table

__all__ = ["PICTURE", "field_page", "how_made", "trials_of"]

PICTURE = "field/ranks.svg"  # beside the page
_MOST_ALIKE = 4  # agents that a cell names beside the winner
_MOST_EQUAL = 5  # agents that a cell names as winners beside the first

_HEAD = """# Which agent when

Every agent at its defaults on the same instances, one of each scenario. This page is made by one command from stored
results (last section), whatever they say."""
_READING = """## How to read it

Score 0 is an instance's reference, 1 its bound; whoever holds nothing better than the reference falls back on it, so no
score is below 0 (the score with the reference of `docs/compete.md`, not the raw one that a leaderboard ranks by). A
score of several instances is the interquartile mean over instances and seeds, with a 95 % bootstrap interval for which
instances and seeds are both drawn anew. An agent is compared on a set of instances where it plays all of them. *Not
told apart* are agents whose difference to the winner, on the same drawn instances, has an interval that holds 0: with
few instances that is often so, and then the name of the winner says little. Ranks are those of the means over seeds on
each instance, averaged over instances, 1 being the best; average ranks that differ by less than the critical difference
(Nemenyi's test, 95 %, after Demšar, JMLR 7, 2006) are not told apart either. A bound that no design reaches keeps
scores below 1.

Of agents with the same score the one whose interval begins higher is named, then the one with the higher mean; those
that are equal in all of it stand together (=).

Agents do not begin alike. `warm_start` and `portfolio` play all rules of the family first, as samples; `hill_climb`,
`simulated_annealing` and `block_local_search` begin at the reference's design, which is given to them without a sample
until they play it; all others begin at random designs or those of a method of their own. What a rule costs to compute
is nobody's sample.

`heuristic` plays every rule of the family (`rule = "all"`, where its default is the reference's rule alone), one sample
each, the design of an exact solver among them where the family has one: what such a rule computes beside its sample is
not counted, so its row says what the family's own knowledge is worth, not what a search finds.

Every figure is read from one run of each trial with its whole budget. Agents that plan with their budget
(`simulated_annealing` cools by it, `portfolio` shares it out, `regularised_evolution` takes its population from it) are
in the middle of their plan at fewer samples; run with that budget they may do better there. Agents whose own time is
long have smaller budgets, and are missing from the tables beyond."""

_RANKS = (
    "Average ranks of the agents with the best of them, at each number of samples on all instances that reach it; the "
    "bar is the critical difference at 100 samples. Lines are broken where other agents are ranked, or on other "
    "instances: ranks among fewer are smaller."
)

_AGAINST = (
    "On how many instances every trial of an agent ends with a better design than every trial of random search, at the "
    "most samples that both may take. Worse: on how many every trial ends with a worse design. An instance counts "
    "where both have as many trials. Of three seeds each, chance alone makes an agent better on one instance in 20, "
    "and worse on one in 20; one that draws nothing, as `exact` and `heuristic`, on one in four. Who finds the optimum "
    "is not better where random search finds it too."
)
_MORE_SEEDS = "With more seeds, and intervals: [Each agent against random search](against_random.md)."
_VERDICTS_HEAD = ("Kind", *(f"{samples:,} samples" for samples in POINTS))


def field_page(field: Field) -> str:
    """The page as Markdown; the same results give the same bytes."""
    standings = _standings(field)
    parts = [_HEAD, "## In short", *_summary(field, standings), *_coverage(field), *_without_rules(field)]
    parts += [_READING, *_kinds(field), *_families(field)]
    parts += _against_random(field)
    parts += ["## Ranks over samples", paragraph(_RANKS), f"![Average ranks over samples]({PICTURE})"]
    for found in standings:
        parts += _standing(found)
    parts += _elsewhere(field, {each.agent for found in standings for each in found.contenders})
    parts += [*_instances(field), "## How this page is made", how_made(field, "field", "its picture")]
    return "\n\n".join(parts) + "\n"


def _standings(field: Field) -> list[Standing]:
    """At each number of samples that some instance reaches."""
    return [standing(field, found, samples) for samples in POINTS if (found := instances_at(field, samples))]


def _with(figure: Interval) -> str:
    if figure.low is None or figure.high is None:
        return format_score(figure.value)
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _summary(field: Field, standings: Sequence[Standing]) -> list[str]:
    """Who wins at each number of samples, in sentences and as a table."""
    rows, told = [], []
    for found in standings:
        best = verdict(field, instances_at(field, found.samples), found.samples)
        if best is None or not found.contenders:
            continue
        first = found.contenders[0]
        near = [each for each in found.contenders if each.rank <= first.rank + found.critical_difference]
        rows.append(
            [
                f"{found.samples:,}",
                str(found.instances),
                str(len(found.contenders)),
                f"{first.agent} ({first.rank:.2f})",
                f"{found.critical_difference:.2f}",
                str(len(near) - 1),
                f"{_winners(best)} {_with(best.score)}",
                _alike(best),
            ]
        )
        told.append(_sentence(found, best, len(near) - 1))
    head = ("Samples", "Instances", "Agents", "Best average rank", "Critical difference", "Not told apart by rank")
    head += ("Highest score", "Not told apart by score")
    return ["\n".join(told), markdown_table(head, rows, right={0, 1, 2, 4, 5})] if rows else []


def _without_rules(field: Field) -> list[str]:
    """The same of the agents that find their designs themselves; nothing where all do, or none does."""
    others = _without_rule_players(field)
    if others is None:
        return []
    summary = _summary(others, _standings(others))
    left_out = sorted({trial.agent for trial in field.trials} - {trial.agent for trial in others.trials})
    about = f"The same without {_listed(left_out)}, whose first samples are the designs of a family's rules."
    return ["### Among agents that play no rules", paragraph(about), *summary] if summary else []


def _without_rule_players(field: Field) -> Field | None:
    """The other agents' trials; None where all are theirs, or none is."""
    trials = tuple(trial for trial in field.trials if trial.agent.partition("(")[0] not in PLAY_RULES)
    return replace(field, trials=trials) if 0 < len(trials) < len(field.trials) else None


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _sentence(found: Standing, best: Verdict, near: int) -> str:
    first = found.contenders[0]
    samples = f"At {found.samples:,} samples, on {counted(found.instances, 'instance')},"
    another = "" if best.winner == first.agent else f"`{best.winner}` "
    wins = (
        f"`{first.agent}` has the best average rank ({first.rank:.2f} of {len(found.contenders)}) "
        f"and {another}the highest score ({_with(best.score)})"
    )
    if near:
        surely = f"{counted(near, 'agent')} cannot be told from {first.agent} by rank"
    elif len(found.contenders) > 1:
        surely = "it is surely the best by rank"
    else:
        surely = "no other plays all of these instances"
    random = next((each for each in found.contenders if each.agent == RANDOM), None)
    beaten = ""
    if random is not None:
        above = sum(each.rank < random.rank - found.critical_difference for each in found.contenders)
        beaten = f"; {above} of {len(found.contenders)} agents surely rank before random search ({random.rank:.2f})"
    return point(f"{samples} {wins}; {surely}{beaten}.")


def _winners(found: Verdict) -> str:
    """The winner, and how many stand where it does: their names where they are few."""
    if len(found.equal) > _MOST_EQUAL:
        return f"{found.winner} and {len(found.equal)} more"
    return " = ".join((found.winner, *found.equal))


def _alike(found: Verdict) -> str:
    """The agents that cannot be told from the winner; many are counted."""
    return _some(found.alike) or "none"


def _some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - _MOST_ALIKE
    named = ", ".join(names[:_MOST_ALIKE])
    return f"{named} and {more} more" if more > 0 else named


def _coverage(field: Field) -> list[str]:
    """What the suite declares and what is here."""
    agents = {trial.agent for trial in field.trials}
    seeds = {trial.seed for trial in field.trials}
    told = (
        f"{trials_of(field)}: {counted(len(agents), 'agent')}, {counted(len(field.instances), 'instance')}, "
        f"{counted(len(seeds), 'seed')}."
    )
    lacking = field.declared - len(field.trials)
    if lacking > 0:
        have = "has" if lacking == 1 else "have"
        told += (
            f" {counted(lacking, 'trial')} {have} no result yet: agents and instances that are missing below, and "
            "those that stand there with fewer seeds, are not compared in full."
        )
    told += fewer_seeds(field) + unfinished(statuses(field))
    return [paragraph(told)]


def fewer_seeds(field: Field) -> str:
    """A sentence on agents with fewer seeds on some instance than others have, with a blank before it; or empty."""
    counts: dict[str, list[int]] = defaultdict(list)
    for (agent, _), trials in field.played().items():
        counts[agent].append(len(trials))
    most = max(max(each) for each in counts.values())
    fewer = {agent: sorted({min(each), max(each)}) for agent, each in sorted(counts.items()) if min(each) < most}
    if not fewer:
        return ""
    told = ", ".join(f"{agent} {' to '.join(map(str, ends))}" for agent, ends in fewer.items())
    return f" Fewer than {counted(most, 'seed')} on an instance, so that chance weighs more: {told}."


def _groups(field: Field) -> Iterable[tuple[str, list[FieldInstance]]]:
    for kind, holds in KINDS.items():
        found = [instance for instance in field.instances if holds(instance)]
        if found:
            yield kind, found


def _kinds(field: Field) -> list[str]:
    groups = {**dict(_groups(field)), "all": field.instances}
    rows = [_verdicts(field, kind, found) for kind, found in groups.items()]
    about = (
        "The winner, its score, and in brackets how many of the others cannot be told from it, the best of them first."
        " Of a kind those instances count that reach the number of samples (how many stands before the winner)."
    )
    parts = ["## By kind of space", paragraph(about), markdown_table(_VERDICTS_HEAD, rows, right=set())]
    if others := _without_rule_players(field):
        rows = [_verdicts(others, kind, found) for kind, found in groups.items()]
        parts += ["The same among agents that play no rules:", markdown_table(_VERDICTS_HEAD, rows, right=set())]
    listed = (f"{kind.split(' (')[0]}: {', '.join(each.name for each in found)}." for kind, found in _groups(field))
    return [*parts, "Which these are:", "\n".join(map(point, listed))]


def _verdicts(field: Field, name: str, instances: Sequence[FieldInstance]) -> list[str]:
    cells = []
    for samples in POINTS:
        there = {each.name for each in instances_at(field, samples)}
        own = [each for each in instances if each.name in there]
        best = verdict(field, own, samples) if own else None
        if best is None:
            cells.append("-")
        else:
            beside = [agent for agent in best.alike if agent not in best.equal]
            alike = f"{len(beside)} of {best.compared - 1 - len(best.equal)} others alike"
            alike += f": {_some(beside)}" if beside else ""
            cells.append(f"{len(own)}: {_winners(best)} {_with(best.score)} ({alike})")
    return [name, *cells]


def _by_family(field: Field) -> dict[str, list[FieldInstance]]:
    """{family: its instances}, by name."""
    families: dict[str, list[FieldInstance]] = defaultdict(list)
    for instance in field.instances:
        families[instance.family].append(instance)
    return dict(sorted(families.items()))


def _families(field: Field) -> list[str]:
    families = _by_family(field)
    rows = [_verdicts(field, name, found) for name, found in families.items()]
    parts = ["## By family", markdown_table(("Family", *_VERDICTS_HEAD[1:]), rows, right=set())]
    for samples in POINTS:
        table = _family_scores(field, families, samples)
        if table:
            parts += [f"Scores at {samples:,} samples, of every agent that plays some family's instances:", table]
    return parts


def _family_scores(field: Field, families: Mapping[str, Sequence[FieldInstance]], samples: int) -> str:
    there = {each.name for each in instances_at(field, samples)}
    columns = {name: [it for it in found if it.name in there] for name, found in families.items()}
    columns = {name: found for name, found in columns.items() if found}
    everything = [it for it in field.instances if it.name in there]
    scores = {
        name: {each.agent: each.score for each in standing(field, found, samples).contenders}
        for name, found in {**columns, "": everything}.items()
    }
    agents = sorted({agent for own in scores.values() for agent in own})
    agents.sort(key=lambda agent: -(scores[""][agent].value if agent in scores[""] else -1.0))
    rows = []
    for agent in agents:
        whole = scores[""].get(agent)
        own = [f"{scores[name][agent].value:.3f}" if agent in scores[name] else "" for name in columns]
        rows.append([agent, _with(whole) if whole else "", *own])
    head = ("Agent", f"all ({len(everything)})", *(f"{name} ({len(found)})" for name, found in columns.items()))
    return markdown_table(head, rows, right=set(range(1, len(head)))) if rows else ""


def _against_random(field: Field) -> list[str]:
    """On how many instances of each family all trials of an agent beat all of random search, and who does on none."""
    families = _by_family(field)
    found: dict[str, Comparison] = {}
    by_family: dict[str, dict[str, Comparison]] = {}
    for agent in sorted({trial.agent for trial in field.trials} - {RANDOM}):
        whole = against(field, agent, RANDOM, field.instances)
        if whole.played:
            found[agent] = whole
            by_family[agent] = {name: against(field, agent, RANDOM, own) for name, own in families.items()}
    if not found:
        return []
    rows = [
        [agent, _share(found[agent]), str(found[agent].worse), *map(_share, by_family[agent].values())]
        for agent in sorted(found, key=lambda agent: (-found[agent].better / found[agent].played, agent))
    ]
    never = [f"`{agent}`" for agent, whole in found.items() if not whole.better]
    told = [f"Better on no instance of any family: {', '.join(never)}."] if never else []
    lacking = sorted({trial.agent for trial in field.trials} - {RANDOM, *found})
    if lacking:
        told.append(f"Without a row, for their seeds are not as many as random search's: {', '.join(lacking)}.")
    head = ("Agent", "Better, of all", "Worse", *families)
    return [
        "## Against random search",
        paragraph(_AGAINST),
        _MORE_SEEDS,
        markdown_table(head, rows, right=set(range(1, len(head)))),
        *(paragraph(each) for each in told),
    ]


def _share(compared: Comparison) -> str:
    return f"{compared.better} of {compared.played}" if compared.played else ""


def _standing(found: Standing) -> list[str]:
    if not found.contenders:
        return []
    p_value = "below 0.001" if found.p_value < 0.001 else f"{found.p_value:.3f}"
    about = (
        f"On {counted(found.instances, 'instance')}, {len(found.contenders)} agents; that all are equal has a "
        f"probability {p_value} (Friedman); critical difference {found.critical_difference:.2f}."
    )
    last = found.contenders[0].rank + found.critical_difference
    rows = [
        [each.agent, f"{each.rank:.2f}", "yes" if each.rank <= last else "no", _with(each.score)]
        for each in found.contenders
    ]
    head = ("Agent", "Average rank", "Within the critical difference of the best", "Score")
    return [f"### {found.samples:,} samples", paragraph(about), markdown_table(head, rows, right={1, 3})]


def _elsewhere(field: Field, ranked: Collection[str]) -> list[str]:
    """How agents do that are in no ranking, instance by instance."""
    known, rows = {it.name: it for it in field.instances}, []
    for (agent, name), trials in sorted(field.played().items()):
        samples = max((each for each in POINTS if each <= max(trial.budget for trial in trials)), default=None)
        if agent in ranked or samples is None:
            continue
        found = scores_at(field, [known[name]], samples)
        score = {each: rounded(float(own[0].mean())) for each, own in found.items()}
        place = f"{1 + sum(each > score[agent] for each in score.values())} of {len(score)}"
        rows.append([agent, name, f"{samples:,}", str(found[agent][0].size), f"{score[agent]:.3f}", place])
    if not rows:
        return []
    head = ("Agent", "Instance", "Samples", "Seeds", "Score", "Place")
    return [
        "## Agents that play some of the instances",
        paragraph(
            "What is in no ranking above, because it does not play all instances: the mean score, and the place among "
            "all who play there; those with equal scores share one."
        ),
        markdown_table(head, rows, right={2, 3, 4, 5}),
    ]


def _instances(field: Field) -> list[str]:
    budget: dict[str, int] = defaultdict(int)
    own: dict[str, list[float]] = defaultdict(list)
    best: dict[str, float] = {}
    for trial in field.trials:
        budget[trial.instance] = max(budget[trial.instance], trial.budget)
        own[trial.agent].append(trial.agent_ms)
        value = trial.values[-1] if trial.values else None
        if value is not None:
            best[trial.instance] = min(best.get(trial.instance, math.inf), value)
    rows = []
    for it in field.instances:
        kinds = f"{it.parameters} ({it.unordered} unordered, {it.ranked} of rankings)"
        options = ", ".join(f"{key}={text}" for key, text in it.options.items()) or "defaults"
        feasible = "-" if it.feasible is None else f"{100 * it.feasible:.3g} %"
        score = "-" if it.name not in best else f"{(it.reference - best[it.name]) / (it.reference - it.bound):.3f}"
        row = [it.scenario, it.family, options, kinds, f"10^{it.designs_log10:.1f}", feasible]
        rows.append([*row, f"{budget[it.name]:,}", it.bound_kind, score])
    head = (
        "Scenario",
        "Family",
        "Options",
        "Parameters",
        "Designs",
        "Feasible",
        "Samples",
        "Bound",
        "Best score of all trials",
    )
    times = [[agent, f"{np.median(each):.3g}"] for agent, each in own.items()]
    times.sort(key=lambda row: (float(row[1]), row[0]))
    about = (
        "Milliseconds of its own that an agent takes for a sample, the median over trials, measured on machines that "
        "did other things beside; what a design costs comes on top."
    )
    return [
        "## Instances",
        markdown_table(head, rows, right={4, 5, 6, 8}),
        "## What agents cost",
        paragraph(about),
        markdown_table(("Agent", "ms a sample"), times, right={1}),
    ]


def trials_of(field: Field) -> str:
    """How many trials there are, of how many that were declared."""
    trials = counted(len(field.trials), "trial")
    if field.runs > 1:
        return f"{trials} of {field.runs} runs, the largest of which declares {field.declared:,}"
    return f"{trials} of the {field.declared:,} that the suite declares"


def how_made(field: Field, command: str, beside: str = "") -> str:
    """How a page of a field came to be, and how to make it again.

    Args:
        field: that it is made of.
        command: `field`, say, that makes it.
        beside: what the command writes beside the page and what it is made of, `its picture` say.
    """
    file = f"`experiments/suites/{field.suite}.toml`" if field.suite in suite_names() else "its file"
    place = f"results/{field.suite}"
    named, folder = (shlex.quote(cell_text(text)) for text in (field.suite, place))  # a command that may be pasted
    stored = f"docs/{command}/results.json"
    joined = (
        f"These are trials of {field.runs} runs of it and of parts of it (fewer agents, instances or seeds), whose "
        f"results `dsegym {command}` took together. "
    )
    rest = (
        f"The first command runs the suite `{field.suite}`: {file} declares every trial, its budget and its seeds. "
        f"{joined if field.runs > 1 else ''}"
        f"`dsegym {command}` writes this page, {f'{beside}, ' if beside else ''}and `{stored}`: the best so far of "
        f"every trial at {len(GRID)} numbers of samples; from that file alone `dsegym {command} {stored} --output "
        f"docs` writes this page again, as a test checks. `dsegym verify {folder}` costs every design again."
    )
    run = f"dsegym run {named} --output {folder}   # resumes\n"
    return f"```bash\n{run}dsegym {command} {folder} --output docs\n```\n\n{paragraph(rest)}"
