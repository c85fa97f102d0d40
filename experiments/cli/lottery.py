"""`dsegym lottery`: what draws of hyperparameters are worth at each budget, as a page made of stored results."""

from __future__ import annotations

from .stored_pages import PageOption, StoredArgument, read_stored, sound_trials_of, write_page

__all__ = ["lottery_command"]

PAGE, STORED = "hyperparameter_lottery.md", "lottery/results.json"


def lottery_command(results: StoredArgument, output: PageOption = None) -> None:
    """Show the hyperparameter lottery: spread over draws, winners by budget, whether anyone dominates, as a page.

    Example: `dsegym lottery results/lottery --output docs`
    """
    from ..report.lottery import lottery_page
    from ..scoring.lottery import check_drawn, from_stored, lottery_of, to_stored

    found = read_stored(results, from_stored) if results.is_file() else lottery_of(*sound_trials_of(results))
    check_drawn(found)
    stored = to_stored(found)
    write_page(output, PAGE, STORED, {STORED: stored, PAGE: lottery_page(from_stored(stored))})
