"""What a leaderboard says about its own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..formats import counted, format_quantity
from .records import Instance, LeftOut, Row
from .scored_trials import REACHED, ScoredTrial

__all__ = ["TWO_SCORES", "notes"]

# What the ranking's two columns count, in one line; docs/compete.md explains both.
TWO_SCORES = (
    "Score is raw: 0 the reference, 1 the bound, below 0 worse than the reference. With reference counts what is below "
    "0 as 0."
)

_HOW_TO_READ = (
    (
        "Score = (reference − value) / (reference − bound): 0 is the reference, 1 is the bound. A score may be "
        "negative: worse than the reference."
    ),
    (
        "A trial that found no feasible design, or failed before it could, scores 0, as if it had fallen back on the "
        "reference."
    ),
    (
        "The ranking is by the interquartile mean (IQM) over instances and seeds. Intervals are 95 % stratified "
        "bootstrap intervals: they say what other seeds would change, not what other instances would."
    ),
    (
        "With reference is the same mean where every trial takes the better of the reference and the agent's best "
        "design, as who puts a design into production would: a score below 0 counts as 0."
    ),
    (
        "A trial reached the bound if its best value lies within a relative 1e-6 of it. Samples to 1 % is the median "
        "over trials of the samples spent until within 1 % of the bound, '-' where fewer than half of the trials got "
        "there."
    ),
)


_HELD_OUT = (
    "Reference and bound are values on these cases too. The value of a trial is the held-out value of the design that "
    "its search found best, so that a curve may fall again, and samples to 1 % are those after which it stays there. "
    "Best designs are chosen by what the searches saw, never by the held-out value. A design that breaks a constraint "
    "on the held-out cases scores its penalty."
)


def notes(
    trials: Sequence[ScoredTrial],
    ranking: Sequence[Row],
    ranked: Mapping[str, Sequence[ScoredTrial]],
    instances: Sequence[Instance],
    left_out: Sequence[LeftOut] = (),
    strays: int = 0,
) -> tuple[str, ...]:
    """How to read the numbers, and what to beware of in these."""
    found: list[str] = list(_HOW_TO_READ)
    held_out = sorted({trial.instance for trial in trials if trial.held_out})
    if held_out:
        which = "all instances" if len(held_out) == len(instances) else ", ".join(held_out)
        found.append(f"Scored on held-out cases, which no search saw: {which}. {_HELD_OUT}")
    late = sum(trial.status == "timed_out" for trial in trials)
    if late:
        found.append(f"Trials stopped at their time limit: {late}. Their scores depend on the speed of the machine.")
    empty = {row.agent: sum(not trial.best_design for trial in ranked[row.agent]) for row in ranking}
    empty = {agent: f"{agent} in {count} of {len(ranked[agent])} trials" for agent, count in empty.items() if count}
    if empty:
        found.append(
            f"No feasible design, which scores 0, above a feasible one that is worse than the reference: "
            f"{', '.join(empty.values())}."
        )
    for each in left_out:
        found.append(f"Left out of every figure: {each.instance}, {counted(each.trials, 'trial')}: {each.reason}.")
    if strays:
        found.append(
            f"Left out: {counted(strays, 'trial')} in the directory, not of the suite as it ran last but of another "
            "suite of its name, or of other versions."
        )
    budgets = sorted({trial.budget for trial in trials})
    if len(budgets) > 1:
        found.append(f"The trials have different sample budgets: {', '.join(map(str, budgets))}.")
    loose = [instance for instance in instances if instance.loose]
    if loose:
        which = "; ".join(f"{instance.name} ({instance.loose})" for instance in loose)
        known = len(instances) - len(loose)
        found.append(
            f"Loose bounds: {which}. Gaps to them are not gaps to the optimum, and score 1 may be out of reach there. "
            f"So they stand apart: 'Median gap' is over the instances whose optimum is known ({known}), 'Gap to loose "
            f"bounds' over the others ({len(loose)})."
        )
    single = [row.agent for row in ranking if row.low is None]
    if single:
        found.append(
            f"One seed: {', '.join(single)} ran once on each instance: nothing is known of what another seed would "
            "change. There is no interval ('-'), and a probability of improvement is that of single trials."
        )
    for row in ranking:
        if row.drawn:
            found.append(f"{row.agent} ran with drawn hyperparameters only and is ranked on all its draws together.")
        covered = len({trial.instance for trial in ranked[row.agent]})
        if covered < len(instances):
            found.append(
                f"{row.agent} ran on {covered} of {len(instances)} instances: its overall score does not compare with "
                "that of agents which ran on others."
            )
    for instance in instances:
        best, bound = instance.best, instance.bound
        if best and best.value < bound.value * (1 - REACHED):
            known = bound.name == "best known"
            found.append(
                f"{best.agent} found {format_quantity(best.value, instance.unit)} on {instance.name}, below the "
                f"{bound.name} of {format_quantity(bound.value, instance.unit)}: "
                + ("a new best known value." if known else "the bound or the cost model is wrong.")
            )
    return tuple(found)
