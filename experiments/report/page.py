"""The leaderboard as one HTML page that needs no network: the chart library, styles and data are all inside the file.

Tables and words are plain HTML, whole without a script. What is large, plotly.js and the charts' data, is compressed;
the page's script unpacks and draws a chart when it comes into view (`chart.py`). Overall charts come in two views: the
score, on which reference (0) and bound (1) are both in sight, and the distance to the bound, 1 − score, on a log axis,
which shows differences where all agents come close.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...costmodels.errors import visible
from ..door import write_by_rename
from ..formats import counted, format_gap, format_quantity, format_score, plain_text
from ..scoring.leaderboard import build_timings
from ..scoring.notes import TWO_SCORES
from ..scoring.records import Curve, Instance, Leaderboard, Timings
from ..scoring.scored_trials import ScoredTrial, read_trials
from .chart import packed, to_fragment, to_json
from .headline import by_scenario, headline
from .section import Section
from .sections.curves import curves_chart, curves_layout
from .sections.improvement import improvement_figure
from .sections.lottery import lottery_figure
from .sections.ranking import ranking_figure
from .strips import ranking_strips, trial_strips
from .style import REGRET, SCORE, Style, styles_of

if TYPE_CHECKING:
    from ..store import TrialResult

__all__ = ["write_html"]

# What the page shows of large boards, so that it stays below 10 MB; the JSON has all.
MOST_SCORES = 4_000  # of entrants on instances, each with a curve
MOST_FAILURES = 2_000

_DEFAULT_SUITE = {
    "name": "Leaderboard",
    "description": (
        "Search agents competed for the best designs, each with the same number of samples of the cost model: "
        "who won, by how much, and how surely."
    ),
}


def write_html(
    leaderboard: Leaderboard,
    results: Iterable[TrialResult],
    path: str | Path,
    *,
    suite: Mapping[str, str] | None = None,
    sections: Sequence[Section] = (),
    timings: Timings | None = None,
    scored: Sequence[ScoredTrial] | None = None,
) -> None:
    """Write the page to `path`.

    Args:
        leaderboard: what `build_leaderboard(results)` returned.
        results: the same trials, for the clock readings and the error messages.
        path: the file to write; its folder exists.
        suite: `name` and `description`, plain text.
        sections: further ones, beside those that every page has.
        timings: what `build_timings(results)` returned, if it was called already.
        scored: what `read_trials(results)` returned, with the names of files that the leaderboard has, likewise.
    """
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    results = list(results)
    templates = Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    if scored is None:
        scored = read_trials(results) if results else []
    timings = build_timings(results, scored=scored) if timings is None else timings
    styles = styles_of(leaderboard)
    places = {row.agent: place for place, row in enumerate(leaderboard.rows)}
    shown = _shown_instances(leaderboard.instances)
    page = environment.get_template("leaderboard.html.j2").render(
        css=Markup((templates / "leaderboard.css").read_text(encoding="utf-8")),
        script=Markup((templates / "leaderboard.js").read_text(encoding="utf-8")),
        data=Markup(_data(leaderboard, styles)),
        plotlyjs=Markup(packed(get_plotlyjs())),
        suite={**_DEFAULT_SUITE, **(suite or {})},
        board=leaderboard,
        two_scores=TWO_SCORES,
        cards=headline(leaderboard, len({result.manifest["trial"]["seed"] for result in results})),
        scenarios=by_scenario(leaderboard),
        timings=timings,
        styles=styles,
        places=places,
        slugs=_slugs(leaderboard),
        strips={agent: Markup(strip) for agent, strip in ranking_strips(leaderboard.rows).items()},
        trial_strips={
            instance: {agent: Markup(strip) for agent, strip in found.items()}
            for instance, found in trial_strips(_of_instances(scored, shown), places).items()
        },
        instances=shown,
        failures=leaderboard.failures[:MOST_FAILURES],
        words={instance.name: _words(instance) for instance in shown},
        charts={name: Markup(chart) for name, chart in _charts(leaderboard, shown, timings, styles, places).items()},
        banded=any(curve.low is not None for curve in leaderboard.curves if curve.instance is not None),
        pairs={(pair.x, pair.y): pair for pair in leaderboard.improvement},
        by_agent={each.name: {score.agent: score for score in each.scores} for each in shown},
        fixed={row.agent: row.score for row in leaderboard.rows if not row.drawn},
        messages={result.manifest["trial_id"]: result.manifest["message"] for result in results},
        counted=counted,
        gaps=leaderboard.gap_columns,
        format_gap=format_gap,
        format_quantity=format_quantity,
        format_score=format_score,
        sections=[Section(title, Markup(fragment)) for title, fragment in sections],
    )
    write_by_rename(Path(path), page.encode("utf-8"))


def _shown_instances(instances: Sequence[Instance]) -> Sequence[Instance]:
    """The first ones, of no more scores together than the page holds; one at least."""
    scores = itertools.accumulate(len(instance.scores) for instance in instances)
    return instances[: max(1, sum(count <= MOST_SCORES for count in scores))]


def _of_instances(trials: Sequence[ScoredTrial], instances: Sequence[Instance]) -> list[ScoredTrial]:
    names = {instance.name for instance in instances}
    return [trial for trial in trials if trial.instance in names]


def _shown(value: object) -> object:
    """What the page shows of a value: of a text no character that hides or turns what stands around it."""
    plain = type(value) is str  # not what is markup already
    return "\n".join(map(visible, str(value).split("\n"))) if plain else value


def _data(leaderboard: Leaderboard, styles: Mapping[str, Style]) -> str:
    """What the page's script knows beside the charts, as JSON that cannot end the element which holds it."""
    agents = [
        {"name": visible(row.agent), "colour": styles[row.agent].colour, "dash": styles[row.agent].dash}
        for row in leaderboard.rows
    ]
    return to_json({"agents": agents, "layout": curves_layout()}).replace("<", "\\u003c")


def _slugs(leaderboard: Leaderboard) -> dict[str, str]:
    """Names of agents and instances to what stands in addresses: `instance-resnet50-latency`, and the agent's name."""
    names = [each.name for each in leaderboard.instances]
    return {**_addresses([row.agent for row in leaderboard.rows], ""), **_addresses(names, "instance-")}


def _addresses(names: Sequence[str], before: str) -> dict[str, str]:
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = before + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "unnamed")
        address, count = stem, 1
        while address in taken:
            count += 1
            address = f"{stem}-{count}"
        taken.add(address)
        found[name] = address
    return found


def _words(instance: Instance) -> str:
    """What the page's search finds an instance by."""
    options = " ".join(f"{key}={plain_text(value)}" for key, value in instance.options.items())
    return f"{instance.name} {instance.scenario} {options} {instance.objective}"


def _charts(
    leaderboard: Leaderboard,
    instances: Sequence[Instance],
    timings: Timings,
    styles: Mapping[str, Style],
    places: Mapping[str, int],
) -> dict[str, str]:
    """Name to HTML of all charts of the page; none where there are no trials."""
    if not leaderboard.rows:
        return {}
    overall = [curve for curve in leaderboard.curves if curve.instance is None]
    by_instance: dict[str, list[Curve]] = {instance.name: [] for instance in instances}
    for curve in leaderboard.curves:
        if curve.instance in by_instance:
            by_instance[curve.instance].append(curve)
    seconds = sorted(
        (curve for curve in timings.curves if curve.agent in places), key=lambda curve: places[curve.agent]
    )
    samples, clock = "samples", "time since the trial's start (s)"
    grid = leaderboard.sample_grid
    found = {}
    for view in (SCORE, REGRET):
        name, what = f"samples-{view.name}", f"Anytime curves over all instances, {view.title}"
        found[name] = curves_chart(overall, grid, places, name, about=what, view=view, x_title=samples)
        if seconds:
            name, what = f"seconds-{view.name}", f"Anytime curves against seconds, {view.title}"
            found[name] = curves_chart(
                seconds, timings.seconds_grid, places, name, about=what, view=view, x_title=clock
            )
        name = f"ranking-{view.name}"
        what = f"Scores and intervals of the ranking's table, {view.title}"
        found[name] = to_fragment(ranking_figure(leaderboard, styles, view), name, what)
        if leaderboard.lottery:
            name, what = f"lottery-{view.name}", f"Scores of all draws of hyperparameters, {view.title}"
            found[name] = to_fragment(lottery_figure(leaderboard, styles, view), name, what)
    for place, (instance, curves) in enumerate(by_instance.items()):
        name, what = f"instance-{place}", f"Anytime curves on {instance}"
        found[name] = curves_chart(curves, grid, places, name, about=what, x_title=samples)
    if leaderboard.improvement:
        what = "Heat map of the probabilities that one agent scores higher than another; the table below holds them"
        found["improvement"] = to_fragment(improvement_figure(leaderboard), "improvement", what)
    return found
