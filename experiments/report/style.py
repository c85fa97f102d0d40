"""How the page's charts look: an agent's colour, the two views of a score, and where the yardsticks stand.

Colours are Okabe and Ito's, which people with colour-vision deficiencies can tell apart; dashes and markers differ too.
The page's script turns ink, grids and paper for a dark page, by the names of their colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...envs.faces.raster import PALETTE
from ..scoring.records import Leaderboard

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "INK",
    "REGRET",
    "SCORE",
    "Style",
    "View",
    "add_yardsticks",
    "base_layout",
    "faint",
    "plain_styles",
    "styled_figure",
    "styles_of",
    "yardstick_layout",
]

_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
INK, _FAINT, _YARDSTICK = "#222222", "#e4e4e4", "#555555"
_LOWEST_REGRET = 1e-6  # where a trial counts as having reached the bound
_HIGHEST_REGRET = 1e2  # the same for the distance to the bound


@dataclass(frozen=True)
class Style:
    """How one agent is drawn, in every chart alike."""

    colour: str
    dash: str
    symbol: str


def styles_of(leaderboard: Leaderboard) -> dict[str, Style]:
    """By name, not by rank, so that an agent keeps its colour from one run to the next."""
    agents = {row.agent for row in leaderboard.rows} | {lottery.agent for lottery in leaderboard.lottery}
    return plain_styles(sorted(agents))


def plain_styles(names: Sequence[str]) -> dict[str, Style]:
    """Of names in their order."""
    return {
        agent: Style(PALETTE[place % len(PALETTE)], _DASHES[place % len(_DASHES)], _SYMBOLS[place % len(_SYMBOLS)])
        for place, agent in enumerate(names)
    }


def faint(colour: str) -> str:
    """A colour for a band that lies under a line of that colour."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}" if -3 <= exponent <= 3 else f"1e{exponent}"


@dataclass(frozen=True)
class View:
    """How scores become coordinates, and where on that axis the yardsticks stand."""

    name: str
    title: str
    regret: bool

    def coordinates(self, scores: Sequence[float], floor: float) -> list[float]:
        """Scores as drawn: themselves, or their distance to the bound but not below `floor`."""
        return [max(1 - score, floor) for score in scores] if self.regret else list(scores)

    def floor(self, scores: Iterable[float]) -> float:
        """The power of ten below all distances, where the bound is drawn on a log axis."""
        distances = [1 - score for score in scores if 1 - score > _LOWEST_REGRET]
        return 10.0 ** math.floor(math.log10(min([*distances, 1e-2]))) if self.regret else 0.0

    def axis(self, scores: Sequence[float], floor: float, *, lowest: float = -math.inf) -> dict[str, Any]:
        """The Plotly axis that holds both yardsticks and these scores, as far as they are not below `lowest`."""
        if self.regret:
            top = min(max([1.0, *(1 - score for score in scores)]), max(_HIGHEST_REGRET, 1 - lowest))
            pad = 0.06 * (math.log10(top / floor) + 1)
            powers = range(round(math.log10(floor)), math.floor(math.log10(top)) + 1)
            step = max(1, math.ceil(len(powers) / 8))
            shown = [power for power in powers if power % step == 0]
            return {
                "type": "log",
                "range": [math.log10(floor) - pad, math.log10(top) + pad],
                "tickvals": [10.0**power for power in shown],
                "ticktext": [_power(power) for power in shown],
            }
        low, high = max(min([0.0, *scores]), lowest), max([1.0, *scores])
        pad = 0.07 * (high - low)
        return {"range": [low - pad, high + pad]}

    def yardsticks(self, floor: float) -> tuple[tuple[float, str], tuple[float, str]]:
        """Where reference and bound stand, and their labels."""
        if self.regret:
            return (1.0, "reference"), (floor, f"bound (≤ {_power(round(math.log10(floor)))})")
        return (0.0, "reference"), (1.0, "bound")


SCORE = View("score", "score (no unit)", regret=False)
REGRET = View("regret", "1 − score (no unit, log)", regret=True)


def yardstick_layout(view: View, floor: float, *, horizontal: bool) -> dict[str, list[dict[str, Any]]]:
    """The shapes and annotations of a Plotly layout that draw reference and bound as lines with their names."""
    shapes, notes = [], []
    for place, label in view.yardsticks(floor):
        line = {"color": INK, "width": 1.4, "dash": "6px,3px"}
        at = math.log10(place) if view.regret else place
        note = {"text": label, "showarrow": False, "font": {"size": 11, "color": _YARDSTICK}}
        across = {"type": "line", "line": line, "layer": "between"}
        if horizontal:
            shapes.append({**across, "xref": "paper", "x0": 0, "x1": 1, "y0": place, "y1": place})
            above = view.regret == (label == "reference")  # outside the range that the curves fill
            ends = {"xref": "paper", "x": 1, "y": at, "xanchor": "right", "yanchor": "bottom" if above else "top"}
        else:
            shapes.append({**across, "yref": "paper", "y0": 0, "y1": 1, "x0": place, "x1": place})
            # Scores may put the two close together: their labels point away from each other.
            rightwards = (label == "reference") == view.regret
            ends = {"yref": "paper", "y": 1, "x": at, "xanchor": "left" if rightwards else "right", "yanchor": "bottom"}
        notes.append({**note, **ends})
    return {"shapes": shapes, "annotations": notes}


def add_yardsticks(figure: go.Figure, view: View, floor: float, *, horizontal: bool) -> None:
    """Draws reference and bound as lines with their names."""
    figure.update_layout(yardstick_layout(view, floor, horizontal=horizontal))


def base_layout() -> dict[str, Any]:
    """What every chart's Plotly layout begins with."""
    plain = {
        "gridcolor": _FAINT,
        "zeroline": False,
        "automargin": True,
        "ticks": "outside",
        "title": {"font": {"size": 13}, "standoff": 8},
    }
    return {
        "template": {"layout": {"xaxis": plain, "yaxis": plain}},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"namelength": -1},
    }


def styled_figure(**layout: Any) -> go.Figure:
    """An empty figure in the page's style."""
    import plotly.graph_objects as go

    return go.Figure(layout={**base_layout(), **layout})
