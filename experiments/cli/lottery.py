"""`dsegym lottery`: what draws of hyperparameters are worth at each budget, as a page made of stored results."""

from __future__ import annotations

from .arguments import JsonOption
from .stored_pages import PageOption, SectionOption, StoredArgument, read_stored, show_page, sound_trials_of

__all__ = ["lottery_command"]

PAGE, STORED = "hyperparameter_lottery.md", "lottery/results.json"


def lottery_command(
    results: StoredArgument,
    output: PageOption = None,
    section: SectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the hyperparameter lottery: spread over draws, winners by budget, whether anyone dominates, as a page.

    Example: `dsegym lottery results/lottery --output docs`
    """
    from ..scoring.lottery import check_drawn, from_stored, lottery_of, to_stored

    def read() -> str:
        found = read_stored(results, from_stored) if results.is_file() else lottery_of(*sound_trials_of(results))
        check_drawn(found)
        return to_stored(found)

    def made(stored: str) -> dict[str, str]:
        from ..report.lottery import lottery_page

        return {PAGE: lottery_page(from_stored(stored))}

    show_page(output, as_json, section, PAGE, STORED, read=read, made=made)
