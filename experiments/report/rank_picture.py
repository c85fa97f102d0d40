"""Average ranks over samples as an SVG picture, for a page of Markdown; made without a library, byte by byte alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ...envs.faces.raster import PALETTE
from ..scoring.field import GRID, POINTS, Field, Standing, instances_at, standing
from .style import INK

__all__ = ["rank_picture"]

_WIDTH, _HEIGHT = 960, 620
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 250, 30, 60
_GRID_COLOUR, _LABEL_GAP = "#e4e4e4", 15.0  # px between the names of lines
_DASHES = ("", "7 4", "2 3", "9 3 2 3")


def rank_picture(field: Field) -> str:
    """The picture of every agent that is ranked somewhere; the same results give the same bytes.

    Lines are broken where other agents are ranked, or on other instances: ranks do not go on there.
    """
    grid = [samples for samples in GRID if samples >= POINTS[0]]
    found = [standing(field, there, samples) for samples in grid if (there := instances_at(field, samples))]
    lines: dict[str, list[tuple[int, float]]] = {}
    for each in found:
        for contender in each.contenders:
            lines.setdefault(contender.agent, []).append((each.samples, contender.rank))
    groups = _alike(field, found)
    most = max((len(each.contenders) for each in found), default=1)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    decades = math.log10(grid[-1] / grid[0])

    def x(samples: int) -> float:
        return _LEFT + width * math.log10(samples / grid[0]) / decades

    def y(rank: float) -> float:
        return _TOP + height * (rank - 1) / max(most - 1, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for rank in range(1, most + 1, max(1, most // 11)):
        parts.append(_line(_LEFT, y(rank), _LEFT + width, y(rank), _GRID_COLOUR))
        parts.append(_text(_LEFT - 8, y(rank) + 4, str(rank), "end"))
    for samples in POINTS:
        parts.append(_line(x(samples), _TOP, x(samples), _TOP + height, _GRID_COLOUR))
        parts.append(_text(x(samples), _TOP + height + 18, f"{samples:,}", "middle"))
    parts.append(_text(_LEFT + width / 2, _HEIGHT - 14, "samples (log scale)", "middle"))
    parts.append(
        f'<text transform="translate(20 {_TOP + height / 2:.1f}) rotate(-90)" text-anchor="middle">'
        "average rank (1 is the best)</text>"
    )
    names = sorted(lines)
    for place, name in enumerate(names):
        colour, dash = PALETTE[place % len(PALETTE)], _DASHES[place // len(PALETTE) % len(_DASHES)]
        for group in groups:
            own = [(samples, rank) for samples, rank in lines[name] if samples in group]
            if own:
                points = " ".join(f"{x(samples):.1f},{y(rank):.1f}" for samples, rank in own)
                parts.append(
                    f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" '
                    f'stroke-dasharray="{dash}"/>'
                )
        last = lines[name][-1]
        parts.append(f'<circle cx="{x(last[0]):.1f}" cy="{y(last[1]):.1f}" r="3.5" fill="{colour}"/>')
    # Names stand right of the picture in the order of last ranks; those whose lines end before come below the others.
    order = sorted(names, key=lambda name: (-lines[name][-1][0], lines[name][-1][1], name))
    start = max(_TOP, _TOP + (height - _LABEL_GAP * len(order)) / 2)
    for place, name in enumerate(order):
        own = names.index(name)
        colour, dash = PALETTE[own % len(PALETTE)], _DASHES[own // len(PALETTE) % len(_DASHES)]
        down, samples = start + place * _LABEL_GAP, lines[name][-1][0]
        parts.append(_line(_LEFT + width + 14, down, _LEFT + width + 44, down, colour, dash, 2))
        until = "" if samples == grid[-1] else f" (to {samples:,})"
        parts.append(_text(_LEFT + width + 50, down + 4, f"{escape(name)} {lines[name][-1][1]:.1f}{until}", "start"))
    bar = next((each for each in found if each.samples == 100), None)
    if bar is not None and len(bar.contenders) > 1:
        down = y(most) - height * bar.critical_difference / max(most - 1, 1)
        parts.append(_line(_LEFT + 14, down, _LEFT + 14, y(most), INK, "", 4))
        parts.append(
            _text(_LEFT + 22, y(most) - 6, f"critical difference at 100: {bar.critical_difference:.1f}", "start")
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _alike(field: Field, found: Sequence[Standing]) -> list[set[int]]:
    """Numbers of samples, in groups that rank the same agents on the same instances."""
    groups: dict[tuple[frozenset[str], ...], set[int]] = {}
    for each in found:
        agents = frozenset(contender.agent for contender in each.contenders)
        there = frozenset(instance.name for instance in instances_at(field, each.samples))
        groups.setdefault((agents, there), set()).add(each.samples)
    return list(groups.values())


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "", width: int = 1) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
