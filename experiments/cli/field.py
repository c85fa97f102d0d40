"""`dsegym field`: which agent wins when, as a page made of stored results."""

from __future__ import annotations

from .arguments import JsonOption
from .stored_pages import PageOption, StoredArgument, read_stored, show_page, sound_trials_of

__all__ = ["field_command"]

PAGE, STORED = "which_agent_when.md", "field/results.json"


def field_command(results: StoredArgument, output: PageOption = None, as_json: JsonOption = False) -> None:
    """Show which agent wins when: ranks and scores by samples, family and kind of space, as a page.

    Example: `dsegym field results/core --output docs`
    """
    from ..scoring.field import field_of, from_stored, to_stored

    def read() -> str:
        return to_stored(
            read_stored(results, from_stored) if results.is_file() else field_of(*sound_trials_of(results))
        )

    def made(stored: str) -> dict[str, str]:
        from ..report.field import PICTURE, field_page
        from ..report.rank_picture import rank_picture

        field = from_stored(stored)
        return {PICTURE: rank_picture(field), PAGE: field_page(field)}

    show_page(output, as_json, PAGE, STORED, read=read, made=made)
