"""The dark picture of README.md, `pictures/overview_dark.svg`: the light one in colours for a dark page.

The light one is drawn by hand. After a change of it: `python docs/dark_picture.py`. GitHub shows the one that fits the
reader's theme; the site turns the light one round by its style.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DARK", "LIGHT", "dark"]

LIGHT = Path(__file__).resolve().parent / "pictures" / "overview.svg"
DARK = LIGHT.with_name("overview_dark.svg")

# Of each colour of the light picture, the dark one's: GitHub's dark page, and lighter tones of the colour-blind-safe
# palette (Okabe and Ito).
_COLOURS = {
    "#222222": "#e6edf3",  # text
    "#555555": "#a9b3be",  # quiet text, arrows
    "#ffffff": "#0d1117",  # paper
    "#eef5fb": "#10202e",  # cost models
    "#eef8f4": "#0f241d",  # the door
    "#fdf3ec": "#2b1a10",  # the leaderboard
    "#0072b2": "#56b4e9",
    "#009e73": "#2fc89b",
    "#d55e00": "#f08a4b",
    "#cc79a7": "#e39cc4",
    "#e69f00": "#f0b94a",
}


def dark(picture: str) -> str:
    """A light picture's SVG as that of a dark page.

    Raises:
        KeyError: it has a colour without a dark one.
    """
    return re.sub(r"#[0-9a-fA-F]{6}\b", lambda found: _COLOURS[found[0].lower()], picture)


if __name__ == "__main__":
    DARK.write_text(dark(LIGHT.read_text(encoding="utf-8")), encoding="utf-8")
