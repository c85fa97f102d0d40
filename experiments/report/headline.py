"""The page's first lines: what ran, who wins, by how much, and how surely."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ..formats import counted, format_score
from ..scoring.records import Improvement, Leaderboard

__all__ = ["Card", "ScenarioScores", "by_scenario", "headline"]


class Card(NamedTuple):
    """One answer: a question, the answer in a few words, and a sentence."""

    question: str
    answer: str
    detail: str


class ScenarioScores(NamedTuple):
    """Mean scores over a scenario's instances."""

    scenario: str
    instances: int
    scores: tuple[float | None, ...]  # by agent in the ranking's order; None where it ran on none of them


def headline(board: Leaderboard, seeds: int) -> list[Card]:
    """The answers about a board; none where it has no rows.

    Args:
        board: the leaderboard.
        seeds: how many different ones its trials have.
    """
    if not board.rows:
        return []
    first = [row.agent for row in board.rows if row.rank == 1]
    top = board.rows[0]
    interval = "" if top.low is None or top.high is None else f", 95 % {_ends(top.low, top.high)}"
    found = [
        Card(
            "What ran",
            f"{counted(len(board.rows), 'agent')}, {counted(len(board.instances), 'instance')}",
            f"{counted(board.trials, 'trial')}: {counted(seeds, 'seed')}, "
            f"{' or '.join(f'{budget:,}' for budget in board.budgets)} samples each.",
        ),
        Card(
            "Who wins",
            " and ".join(first) if len(first) <= 2 else f"{len(first)} agents alike",
            f"Score {format_score(top.score)}{interval}; 0 is the reference, 1 the bound.",
        ),
    ]
    others = [row for row in board.rows if row.rank > 1]
    if others:
        second = others[0]
        lead = f"{format_score(top.score - second.score)} of score"
        found.append(Card("By how much", lead, f"Above {second.agent}, which has {format_score(second.score)}."))
        found.append(_surely(board, top.agent))
    best = board.best_of_all
    found.append(
        Card(
            "Best found",
            f"the bound on {best.reached} of {best.instances}",
            f"All agents together score {format_score(best.score)}.",
        )
    )
    return found


def _surely(board: Leaderboard, winner: str) -> Card:
    """Whether the winner is told apart from the others, by the probability that it scores higher."""
    pairs = [pair for pair in board.improvement if pair.x == winner]
    if not pairs:
        return Card("How surely", "not known", f"{winner} shares no instance with another agent.")
    closest = min(pairs, key=lambda pair: (pair.probability, pair.y))
    told = f"It scores higher than {closest.y} with probability {closest.probability:.2f}"
    single = [pair.y for pair in pairs if pair.low is None]
    if len(single) == len(pairs):
        return Card("How surely", "not known", f"{told}, but with one seed nothing is known of another.")
    alike = [pair.y for pair in pairs if not _apart(pair)]
    ends = "" if closest.low is None or closest.high is None else f" (95 % {closest.low:.2f} to {closest.high:.2f})"
    if alike:
        listed = ", ".join(alike[:4]) + (f" and {len(alike) - 4} more" if len(alike) > 4 else "")
        answer = f"not told apart from {counted(len(alike), 'agent')}"
        return Card("How surely", answer, f"{told}{ends}. Not told apart: {listed}.")
    return Card("How surely", "told apart from every other", f"{told}{ends}, the closest.")


def _apart(pair: Improvement) -> bool:
    return pair.low is not None and pair.low > 0.5


def by_scenario(board: Leaderboard) -> list[ScenarioScores]:
    """Each scenario's mean scores, by name; none where there is only one, which the ranking tells about."""
    instances = Counter(instance.scenario for instance in board.instances)
    if len(instances) < 2:
        return []
    found: dict[tuple[str, str], list[float]] = defaultdict(list)  # {(scenario, agent): mean scores, one an instance}
    for instance in board.instances:
        for score in instance.scores:
            found[instance.scenario, score.agent].append(score.mean_score)
    return [
        ScenarioScores(scenario, count, tuple(_mean(found[scenario, row.agent]) for row in board.rows))
        for scenario, count in sorted(instances.items())
    ]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _ends(low: float, high: float) -> str:
    return f"{format_score(low)} to {format_score(high)}"
