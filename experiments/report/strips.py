"""Small pictures in the page's tables, all of a table on one scale: intervals of the ranking, trials of an instance.

The dashed ends are reference (0) and bound (1). What lies below a score of -1 is drawn there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from statistics import median

from ...costmodels.errors import visible
from ..formats import format_score
from ..scoring.records import Row
from ..scoring.scored_trials import ScoredTrial, by_entrant
from ..store import FINISHED

__all__ = ["MOST_DOTS", "ranking_strips", "trial_strips"]

MOST_DOTS = 50  # of a strip; of more trials so many are drawn, evenly by rank
_MOST_ON_A_PAGE, _FEWEST = 40_000, 5  # dots of all strips, 3 MB; of a strip where there are too many of them
_MOST_TOLD = 12  # trials of which a screen reader is told each
_LOWEST = -1.0


def _places(scores: Collection[float]) -> Callable[[float], str]:
    """Where a score stands in a strip 150 wide, on a scale that holds all scores, the reference and the bound."""
    low, high = max(min([0.0, *scores]), _LOWEST), max([1.0, *scores])

    def place(score: float) -> str:
        return f"{3 + 144 * (min(max(score, low), high) - low) / (high - low):.1f}"

    return place


def _marks(place: Callable[[float], str], height: int) -> str:
    middle, foot = height // 2, height - 1
    ends = "".join(f'<line class="end" x1="{place(end)}" x2="{place(end)}" y1="1" y2="{foot}"/>' for end in (0.0, 1.0))
    return f'<line class="axis" x1="0" x2="150" y1="{middle}" y2="{middle}"/>{ends}'


def ranking_strips(rows: Collection[Row]) -> dict[str, str]:
    """{agent: its score and interval as SVG}; the table's cells beside it hold the figures."""
    place = _places([end for row in rows for end in (row.low, row.score, row.high) if end is not None])
    found = {}
    for row in rows:
        span = ""
        if row.low is not None and row.high is not None:
            span = f'<line class="range" x1="{place(row.low)}" x2="{place(row.high)}" y1="8" y2="8"/>'
        found[row.agent] = (
            f'<svg class="strip" viewBox="0 0 150 16" aria-hidden="true">{_marks(place, 16)}{span}'
            f'<circle cx="{place(row.score)}" cy="8" r="4"/></svg>'
        )
    return found


def trial_strips(trials: Sequence[ScoredTrial], agents: Iterable[str]) -> dict[str, dict[str, str]]:
    """{instance: {agent: SVG with a dot for the score of each of its trials}}.

    Seeds descend from the strip's upper edge, so that equal scores stay apart; a trial that did not finish is a ring.
    Of more trials than `MOST_DOTS`, or fewer where the page has very many strips, some are drawn.

    Args:
        trials: as of `read_trials`.
        agents: the entrants that are shown.
    """
    entrants = by_entrant(trials)
    by_instance: dict[str, dict[str, list[ScoredTrial]]] = {}
    for agent in agents:
        for trial in entrants.get(agent, ()):
            by_instance.setdefault(trial.instance, {}).setdefault(agent, []).append(trial)
    strips = sum(map(len, by_instance.values()))
    most = max(min(MOST_DOTS, _MOST_ON_A_PAGE // max(strips, 1)), _FEWEST)
    return {instance: _of_instance(found, most) for instance, found in by_instance.items()}


def _of_instance(found: Mapping[str, Sequence[ScoredTrial]], most: int) -> dict[str, str]:
    place = _places([trial.score for trials in found.values() for trial in trials])
    marks = _marks(place, 24)
    return {
        agent: f'<svg class="strip trials" viewBox="0 0 150 24" role="img" aria-label="{_safe(_told(trials, most))}">'
        f"{marks}{''.join(_dots(trials, place, most))}</svg>"
        for agent, trials in found.items()
    }


def _dots(trials: Sequence[ScoredTrial], place: Callable[[float], str], most: int) -> list[str]:
    shown = _thinned(trials, most)
    dots, rings = [], []
    for turn, trial in enumerate(shown):
        height = 12.0 if len(shown) == 1 else 3 + 18 * turn / (len(shown) - 1)
        what = f'cx="{place(trial.score)}" cy="{height:.3g}" r="2.2"><title>{_safe(_named(trial))}</title></circle>'
        if trial.status == FINISHED:
            dots.append(f"<circle {what}")
        else:
            rings.append(f'<circle class="ring" {what}')
    return dots + rings  # in front


def _thinned(trials: Sequence[ScoredTrial], most: int) -> list[ScoredTrial]:
    """The trials by seed, or of many the lowest, the highest and others evenly between by rank."""
    chosen = list(trials)
    if len(chosen) > most:
        ranked = sorted(chosen, key=lambda trial: (trial.score, trial.identity))
        chosen = [ranked[round(turn * (len(ranked) - 1) / (most - 1))] for turn in range(most)]
    return sorted(chosen, key=lambda trial: (trial.seed, trial.identity))


def _safe(text: str) -> str:
    return escape(visible(text))


def _named(trial: ScoredTrial) -> str:
    draw = "" if trial.draw is None else f", draw {trial.draw}"
    status = "" if trial.status == FINISHED else f" ({trial.status.replace('_', ' ')})"
    return f"seed {trial.seed}{draw}: {format_score(trial.score)}{status}"


def _told(trials: Sequence[ScoredTrial], most: int) -> str:
    scores = [trial.score for trial in trials]
    if len(trials) <= min(_MOST_TOLD, most):
        return "; ".join(_named(trial) for trial in sorted(trials, key=lambda trial: (trial.seed, trial.identity)))
    ends = f"{format_score(min(scores))} to {format_score(max(scores))}, median {format_score(median(scores))}"
    drawn = f"; {most} are drawn, evenly by rank" if len(trials) > most else ""
    return f"{len(trials):,} trials: scores {ends}{drawn}"
