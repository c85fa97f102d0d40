"""A section of the page, and the loop that draws problems for it, never at the page's expense."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Hashable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ...envs.core.scenarios import make_problem
from ..door import check_allowed
from ..formats import counted
from ..scoring.records import Instance, Leaderboard
from .chart import to_fragment

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ...envs.core.problem import Problem

__all__ = ["MOST", "Charts", "Section", "draw_problems", "note", "reason_of", "shortened"]

MOST = 12  # charts of a section: each takes seconds to make, and up to 30 kB of the page

Offer = TypeVar("Offer")


class Section(NamedTuple):
    """A part of the page with a heading of its own."""

    title: str
    html: str  # goes into the page as it is


class Charts(NamedTuple):
    """What `draw_problems` drew, as HTML."""

    drawn: list[str]
    notes: list[str]  # one for each that could not be drawn
    left_out: int

    def section(self, title: str, about: str, what: str) -> Section | None:
        """The charts under a title, with a sentence about them; None where there is neither a chart nor a note.

        Args:
            title, about: plain text.
            what: the word for what is counted where not all are shown.
        """
        if not self.drawn and not self.notes:
            return None
        text = about if self.drawn else ""
        if self.left_out:
            text += f" The first {MOST} of {MOST + self.left_out} {what} are shown."
        return Section(title, "\n".join([f"<p>{text}</p>", *self.drawn, *self.notes]))


def _options(instance: Instance) -> dict[str, str]:
    return {**instance.options, **instance.files}


def draw_problems(
    leaderboard: Leaderboard,
    what: str,
    offer: Callable[[Problem], Offer | None],
    draw: Callable[[Problem, Instance], tuple[str, go.Figure] | None],
    key: Callable[[Offer, Instance], Hashable] = lambda offer, instance: instance.name,
    allow: Collection[str] = (),
) -> Charts:
    """Draws the leaderboard's instances, whose problems are made anew for it.

    An instance whose problem or chart cannot be made on this machine gets a note in its place.

    Args:
        leaderboard: names the instances; their `files` are paths.
        what: the word for a chart, "diagram" say.
        offer: what a problem has to be drawn, None where it has nothing. The first problem of a scenario speaks for all
            of them: making one takes seconds.
        draw: (heading, figure) of an instance, or None where there is nothing to show after all.
        key: equal for the instances that share a chart; the first of them is drawn.
        allow: packages beside this one that may be imported, where instances name them.
    """
    drawn, notes, left_out = [], [], 0
    offers: dict[str, Offer | None] = {}
    seen: set[Hashable] = set()
    for place, instance in enumerate(leaderboard.instances):
        try:
            check_allowed(instance.scenario, allow)
            problem = None
            if instance.scenario not in offers:
                problem = make_problem(instance.scenario, **_options(instance))
                offers[instance.scenario] = offer(problem)
            offered = offers[instance.scenario]
            if offered is None or (shared := key(offered, instance)) in seen:
                continue
            seen.add(shared)
            if len(drawn) == MOST:
                left_out += 1
                continue
            found = draw(problem or make_problem(instance.scenario, **_options(instance)), instance)
            if found is not None:
                heading, figure = found
                chart = to_fragment(figure, f"{what}-{place}", f"{what.capitalize()}: {heading}")
                drawn.append(f"<figure><h3>{html.escape(heading)}</h3>\n{chart}</figure>")
        except Exception as error:  # whatever another package's scenario raises: the leaderboard stands without it
            notes.append(note(what, instance.name, reason_of(error)))
    return Charts(drawn, shortened(notes, what), left_out)


def reason_of(error: Exception) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def note(what: str, name: str, reason: str) -> str:
    """What stands in the place of a chart of an instance, as HTML."""
    return f'<p class="quiet">No {what} of {html.escape(name)}: {html.escape(reason)}</p>'


def shortened(notes: list[str], what: str) -> list[str]:
    """The first notes, and how many more there are."""
    rest = counted(len(notes) - MOST, "more instance")
    return notes if len(notes) <= MOST else [*notes[:MOST], f'<p class="quiet">And no {what} of {rest}.</p>']
