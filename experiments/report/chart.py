"""Charts as the page keeps them: compressed, and drawn by the page's script when they come into view.

A chart is a `div` with a sentence for who cannot see it; its figure is JSON in `data-figure`, gzip in base64. The
script, `templates/leaderboard.js`, knows two kinds: Plotly figures, and anytime curves, of whose data it makes figures.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from typing import TYPE_CHECKING, Any

from ...costmodels.errors import visible

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["chart_html", "packed", "to_fragment", "to_json"]


def packed(text: str) -> str:
    """A text as the page's script unpacks it; the same bytes for the same text."""
    return base64.b64encode(gzip.compress(text.encode("utf-8"), mtime=0)).decode("ascii")


def to_json(value: Any) -> str:
    """JSON without a blank, for `packed`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def chart_html(figure: str, name: str, *, kind: str, height: int, label: str) -> str:
    """A chart as an element of the page.

    Args:
        figure: JSON.
        name: its own on the page.
        kind: "plotly" or "curves".
        height: px, kept free until it is drawn.
        label: plain text, what it shows.
    """
    return (
        f'<div class="chart" id="chart-{name}" role="img" aria-label="{html.escape(visible(label))}" '
        f'data-kind="{kind}" data-figure="{packed(figure)}" style="height:{height}px"></div>'
    )


def to_fragment(figure: go.Figure, name: str, label: str = "") -> str:
    """A Plotly figure as an element of the page; arguments as of `chart_html`."""
    shown = figure.to_json(remove_uids=True)
    assert shown is not None
    return chart_html(shown, name, kind="plotly", height=figure.layout.height, label=label or f"Chart {name}")
