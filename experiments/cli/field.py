"""`dsegym field`: which agent wins when, as a page made of stored results."""

from __future__ import annotations

from .stored_pages import PageOption, StoredArgument, read_stored, sound_trials_of, write_page

__all__ = ["field_command"]

PAGE, STORED = "which_agent_when.md", "field/results.json"


def field_command(results: StoredArgument, output: PageOption = None) -> None:
    """Show which agent wins when: ranks and scores by samples, family and kind of space, as a page.

    Example: `dsegym field results/core --output docs`
    """
    from ..report.field import PICTURE, field_page
    from ..report.rank_picture import rank_picture
    from ..scoring.field import field_of, from_stored, to_stored

    found = read_stored(results, from_stored) if results.is_file() else field_of(*sound_trials_of(results))
    stored = to_stored(found)
    field = from_stored(stored)
    write_page(output, PAGE, STORED, {STORED: stored, PICTURE: rank_picture(field), PAGE: field_page(field)})
