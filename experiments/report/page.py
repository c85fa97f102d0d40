"""The leaderboard as one HTML page that needs no network: plotly.js, styles and data are all inside the file.

Every chart comes in two views: the score, on which reference (0) and bound (1) are both in sight, and the distance to
the bound, 1 − score, on a log axis, which shows differences where all agents come close.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...costmodels.errors import visible
from ..door import write_by_rename
from ..formats import format_gap, format_quantity, format_score
from ..scoring.leaderboard import build_timings
from ..scoring.records import Leaderboard, Timings
from .section import Section
from .sections.curves import curves_figure, small
from .sections.improvement import improvement_figure
from .sections.lottery import lottery_figure
from .sections.ranking import ranking_figure
from .style import REGRET, SCORE, Style, styles_of, to_fragment

if TYPE_CHECKING:
    from ..store import TrialResult

__all__ = ["write_html"]

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
) -> None:
    """Write the page to `path`.

    Args:
        leaderboard: what `build_leaderboard(results)` returned.
        results: the same trials, for the clock readings and the error messages.
        path: the file to write; its folder exists.
        suite: `name` and `description`, plain text.
        sections: further ones, beside those that every page has.
        timings: what `build_timings(results)` returned, if it was called already.
    """
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    results = list(results)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    timings = build_timings(results) if timings is None else timings
    styles = styles_of(leaderboard)
    page = environment.get_template("leaderboard.html.j2").render(
        plotlyjs=Markup(get_plotlyjs()),
        suite={**_DEFAULT_SUITE, **(suite or {})},
        board=leaderboard,
        timings=timings,
        styles=styles,
        charts={name: Markup(chart) for name, chart in _charts(leaderboard, timings, styles).items()},
        pairs={(pair.x, pair.y): pair for pair in leaderboard.improvement},
        fixed={row.agent: row.score for row in leaderboard.rows if not row.drawn},
        messages={result.manifest["trial_id"]: result.manifest["message"] for result in results},
        gaps=leaderboard.gap_columns,
        format_gap=format_gap,
        format_quantity=format_quantity,
        format_score=format_score,
        sections=[Section(title, Markup(fragment)) for title, fragment in sections],
    )
    write_by_rename(Path(path), page.encode("utf-8"))


def _shown(value: object) -> object:
    """What the page shows of a value: of a text no character that hides or turns what stands around it."""
    plain = type(value) is str  # not what is markup already
    return "\n".join(map(visible, str(value).split("\n"))) if plain else value


def _charts(leaderboard: Leaderboard, timings: Timings, styles: Mapping[str, Style]) -> dict[str, str]:
    """Name to HTML fragment of all charts of the page; none where there are no trials."""
    if not leaderboard.rows:
        return {}
    rank = {row.agent: place for place, row in enumerate(leaderboard.rows)}
    overall = [curve for curve in leaderboard.curves if curve.instance is None]
    samples, seconds = "samples", "time since the trial's start (s)"
    figures = {}
    for view in (SCORE, REGRET):
        figures[f"ranking-{view.name}"] = ranking_figure(leaderboard, styles, view)
        figures[f"samples-{view.name}"] = curves_figure(overall, leaderboard.sample_grid, styles, view, samples)
        for place, instance in enumerate(leaderboard.instances):
            here = [curve for curve in leaderboard.curves if curve.instance == instance.name]
            figures[f"instance-{place}-{view.name}"] = small(
                curves_figure(here, leaderboard.sample_grid, styles, view, samples)
            )
        if timings.curves:
            figures[f"seconds-{view.name}"] = curves_figure(
                sorted(timings.curves, key=lambda curve: rank[curve.agent]), timings.seconds_grid, styles, view, seconds
            )
        if leaderboard.lottery:
            figures[f"lottery-{view.name}"] = lottery_figure(leaderboard, styles, view)
    if leaderboard.improvement:
        figures["improvement"] = improvement_figure(leaderboard)
    return {name: to_fragment(figure, name) for name, figure in figures.items()}
