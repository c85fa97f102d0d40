"""Diagrams as pixels: what `render` shows of a design."""

from __future__ import annotations

import functools
import itertools
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...costmodels.diagram import Diagram, Rectangle

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

__all__ = ["PALETTE", "draw", "kind_colours"]

# M. Okabe and K. Ito, "Color Universal Design", 2008; without its yellow, which is too faint for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

WIDTH, HEIGHT = 960, 600  # px
_INK, _QUIET, _FAINT, _PAPER = (34, 34, 34), (85, 85, 85), (228, 228, 228), (255, 255, 255)
_TITLE_SIZE, _LABEL_SIZE, _TICK_SIZE = 17, 14, 12  # px
_INSIDE_SIZES = (12, 10)  # px, of a rectangle's own label, the largest that fits
_MARGIN, _TICK, _SWATCH = 16, 5, 12  # px
_LIGHTER = (0.0, 0.45, 0.7)  # how much white the first, the second and the third seven kinds take

# Pillow's own font has hardly more than ASCII; these signs have a spelling in it that their decomposition is not.
_SPELLINGS = str.maketrans(
    {"µ": "u", "μ": "u", "×": "x", "−": "-", "–": "-", "—": "-", "→": "->", "≤": "<=", "≥": ">="}
)

RGB = tuple[int, int, int]


def kind_colours(kinds: Iterable[str]) -> dict[str, str]:
    """{kind: #rrggbb}, by name, so that designs of the same kinds agree; from the eighth on, lighter shades."""
    colours = {}
    for place, kind in enumerate(sorted(set(kinds))):
        white = _LIGHTER[place // len(PALETTE) % len(_LIGHTER)]
        colours[kind] = "#{:02X}{:02X}{:02X}".format(*_mixed(_rgb(PALETTE[place % len(PALETTE)]), white))
    return colours


def draw(diagram: Diagram, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A diagram as uint8[height, width, 3]: axes with units, rectangles coloured by kind, a legend, the limit's line.

    The same diagram gives the same pixels. What reaches beyond the axes' limits is cut off; a rectangle's label is
    shown where it fits, or else what stands before its colon.
    """
    from PIL import Image, ImageDraw

    diagram = _spelled(diagram)
    image = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(image)
    pen.text(
        (_MARGIN, _MARGIN),
        _fitting(pen, diagram.title, _font(_TITLE_SIZE), width - 2 * _MARGIN),
        _INK,
        _font(_TITLE_SIZE),
    )
    by_name = kind_colours(r.kind for r in diagram.rectangles if r.kind not in diagram.colours)
    colours = {kind: _rgb(code) for kind, code in {**diagram.colours, **by_name}.items()}
    top = _legend(pen, colours, _MARGIN + _TITLE_SIZE + 12, width)

    x_ticks = list(diagram.x_ticks) or _ticks(diagram.x_range, 8)
    y_ticks = list(diagram.y_ticks) or _ticks(diagram.y_range, 6)
    widest = max((pen.textlength(text, _font(_TICK_SIZE)) for _, text in y_ticks), default=0.0)
    left = _MARGIN + _LABEL_SIZE + 12 + math.ceil(widest) + _TICK
    bottom = height - _MARGIN - _LABEL_SIZE - 14 - _TICK_SIZE - _TICK
    plot = _Plot(diagram, (left, top + 10, width - _MARGIN - 10, bottom))

    for value, _ in x_ticks:
        pen.line([(plot.x(value), plot.top), (plot.x(value), plot.bottom)], _FAINT)
    for value, _ in y_ticks:
        pen.line([(plot.left, plot.y(value)), (plot.right, plot.y(value))], _FAINT)
    for rectangle in diagram.rectangles:
        _rectangle(pen, plot, rectangle, colours[rectangle.kind])
    _limit(pen, plot, diagram)
    _axes(image, pen, plot, diagram, x_ticks, y_ticks)
    return np.array(image, dtype=np.uint8)


def _spelled(diagram: Diagram) -> Diagram:
    """The diagram with its texts in letters that the font has."""
    return replace(
        diagram,
        title=_plain(diagram.title),
        x_label=_plain(diagram.x_label),
        y_label=_plain(diagram.y_label),
        limit=diagram.limit and (diagram.limit[0], _plain(diagram.limit[1])),
        y_ticks=[(value, _plain(name)) for value, name in diagram.y_ticks],
        x_ticks=[(value, _plain(name)) for value, name in diagram.x_ticks],
        colours={_plain(kind): code for kind, code in diagram.colours.items()},
        rectangles=[replace(r, kind=_plain(r.kind), label=_plain(r.label)) for r in diagram.rectangles],
    )


def _plain(text: str) -> str:
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFKD", text.translate(_SPELLINGS))
    return "".join(part for part in parts if not unicodedata.combining(part))


class _Plot:
    """Where the axes are, and where a value lies between them. Pixels."""

    def __init__(self, diagram: Diagram, box: tuple[int, int, int, int]):
        self.left, self.top, self.right, self.bottom = box
        self._x, self._y = _spread(diagram.x_range), _spread(diagram.y_range)

    def x(self, value: float) -> int:
        low, high = self._x
        return round(self.left + _share(value, low, high) * (self.right - self.left))

    def y(self, value: float) -> int:
        low, high = self._y
        return round(self.bottom - _share(value, low, high) * (self.bottom - self.top))


def _share(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _spread(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits, a unit apart where they are one value."""
    low, high = limits
    return (low, high) if high > low else (low, low + 1.0)


def _ticks(limits: tuple[float, float], about: int) -> list[tuple[float, str]]:
    """Round values between the limits and their texts, `about` as many as asked for."""
    low, high = _spread(limits)
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    values = [place * step for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    plain = max(abs(low), abs(high)) < 1e7 and decimals <= 4
    return [(value, f"{value:z,.{decimals}f}" if plain else f"{value:z.4g}") for value in values]


def _legend(pen: ImageDraw, colours: dict[str, RGB], top: int, width: int) -> int:
    """A swatch and a name per kind, in as many lines as it takes; returns where it ends."""
    font, x, y = _font(_TICK_SIZE), _MARGIN, top
    for kind, colour in colours.items():
        length = _SWATCH + 6 + math.ceil(pen.textlength(kind, font))
        if x > _MARGIN and x + length > width - _MARGIN:
            x, y = _MARGIN, y + _SWATCH + 8
        pen.rectangle([x, y, x + _SWATCH - 1, y + _SWATCH - 1], colour)
        pen.text((x + _SWATCH + 6, y + _SWATCH // 2), kind, _INK, font, anchor="lm")
        x += length + 20
    return y + _SWATCH if colours else top


def _rectangle(pen: ImageDraw, plot: _Plot, rectangle: Rectangle, colour: RGB) -> None:
    left, right = plot.x(rectangle.x), plot.x(rectangle.x + rectangle.width)
    bottom, top = plot.y(rectangle.y), plot.y(rectangle.y + rectangle.height)
    right, top = max(right, left + 1), min(top, bottom - 1)  # a pixel at least
    edge = _mixed(colour, 0.75) if min(right - left, bottom - top) >= 4 else None
    pen.rectangle([left, top, right - 1, bottom - 1], colour, edge)
    if not rectangle.label:
        return
    head = rectangle.label.partition(":")[0]  # "b7: 64 KiB" may shrink to "b7"
    for text, size in itertools.product((rectangle.label, head), _INSIDE_SIZES):
        if pen.textlength(text, _font(size)) <= right - left - 6 and size + 3 <= bottom - top:
            middle = ((left + right) / 2, (top + bottom) / 2)
            pen.text(middle, text, _PAPER if _luminance(colour) < 0.4 else _INK, _font(size), anchor="mm")
            return


def _limit(pen: ImageDraw, plot: _Plot, diagram: Diagram) -> None:
    """A dashed line with its name at its right end."""
    if diagram.limit is None:
        return
    value, name = diagram.limit
    y, font = plot.y(value), _font(_TICK_SIZE)
    for start in range(plot.left, plot.right, 10):
        pen.line([(start, y), (min(start + 6, plot.right), y)], _INK, 2)
    above = y - plot.top > _TICK_SIZE + 6
    at = (plot.right - 4, y - 5 if above else y + 5)
    box = pen.textbbox(at, name, font, anchor="rb" if above else "rt")
    pen.rectangle([box[0] - 3, box[1] - 1, box[2] + 2, box[3] + 1], _PAPER)
    pen.text(at, name, _INK, font, anchor="rb" if above else "rt")


def _axes(
    image: Any,
    pen: ImageDraw,
    plot: _Plot,
    diagram: Diagram,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
) -> None:
    from PIL import Image, ImageDraw

    font, name_font = _font(_TICK_SIZE), _font(_LABEL_SIZE)
    pen.line([(plot.left, plot.top), (plot.left, plot.bottom), (plot.right, plot.bottom)], _INK)
    for value, text in x_ticks:
        pen.line([(plot.x(value), plot.bottom), (plot.x(value), plot.bottom + _TICK)], _INK)
        pen.text((plot.x(value), plot.bottom + _TICK + 3), text, _QUIET, font, anchor="mt")
    for value, text in y_ticks:
        pen.line([(plot.left - _TICK, plot.y(value)), (plot.left, plot.y(value))], _INK)
        pen.text((plot.left - _TICK - 4, plot.y(value)), text, _QUIET, font, anchor="rm")
    middle = (plot.left + plot.right) // 2
    pen.text((middle, image.height - _MARGIN), diagram.x_label, _INK, name_font, anchor="mb")
    length = math.ceil(pen.textlength(diagram.y_label, name_font)) + 2
    upright = Image.new("RGB", (length, _LABEL_SIZE + 6), _PAPER)
    ImageDraw.Draw(upright).text((1, 1), diagram.y_label, _INK, name_font)
    turned = upright.rotate(90, expand=True)
    image.paste(turned, (_MARGIN - 4, max((plot.top + plot.bottom - length) // 2, 0)))


def _fitting(pen: ImageDraw, text: str, font: Font, width: int) -> str:
    """The text, cut where it is too long for the width."""
    if pen.textlength(text, font) <= width:
        return text
    while text and pen.textlength(text + "...", font) > width:
        text = text[:-1]
    return text.rstrip() + "..."


@functools.cache
def _font(size: int) -> Font:
    """The font that Pillow brings along, the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _rgb(code: str) -> RGB:
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def _mixed(colour: RGB, white: float) -> RGB:
    red, green, blue = (round(part + (255 - part) * white) for part in colour)
    return red, green, blue


def _luminance(colour: RGB) -> float:
    """How bright a colour looks, from 0 to 1 (ITU-R BT.601)."""
    return (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255
