"""Pages of the documentation that are made of stored results: what their commands take, read and write alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ...costmodels.errors import DsegymError, shortened, visible
from .documents import print_document
from .pages import show_section
from .tables import tell_odd, terminal

if TYPE_CHECKING:
    from ..store import TrialResult

Found = TypeVar("Found")

__all__ = ["PageOption", "SectionOption", "StoredArgument", "read_stored", "show_page", "sound_trials_of"]

_MOST_BYTES = 2**26  # of a file of stored results

StoredArgument = Annotated[Path, typer.Argument(help="A results directory, or the file that was made from one.")]
SectionOption = Annotated[
    str | None,
    typer.Option("--section", help="Show this section of the page, as the terminal does.", show_default=False),
]
PageOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        help="A folder, docs say: the page, its pictures and what it is made of are written there. Left out, a "
        "terminal shows the page's summary, and anything else is given the whole page in Markdown; with --json, what "
        "it is made of.",
        show_default=False,
    ),
]


def read_stored(path: Path, from_stored: Callable[[str], Found]) -> Found:
    """What a file holds that such a command wrote.

    Args:
        path: of the file.
        from_stored: reads its text, and raises a ValueError of one that is not its own.

    Raises:
        DsegymError: it is no such file, or too large.
    """
    from ..door import read_file

    try:
        return from_stored(read_file(path, path.parent, _MOST_BYTES).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DsegymError(f"'{path}' is no file of stored results: {shortened(error, 300)}.") from None


def sound_trials_of(results: Path) -> tuple[list[TrialResult], str, int]:
    """The trials of a results directory, their suite's name, and how many it declares.

    Raises:
        CorruptResultError: the directory holds no results, or damaged ones.
        DsegymError: there is no trial yet.
    """
    from ..batches import sound_trials
    from ..suite_note import count_declared, read_suite

    note = read_suite(results)
    found = list(sound_trials(results, note))
    if not found:
        raise DsegymError(f"'{results}' holds no trial yet; `dsegym run` makes them.")
    tell_odd(results)
    return found, note["name"], count_declared(note["declared"]) if "declared" in note else len(note["trials"])


def show_page(
    output: Path | None,
    as_json: bool,
    section: str | None,
    page: str,
    stored: str,
    *,
    read: Callable[[], str],
    made: Callable[[str], Mapping[str, str]],
) -> None:
    """Writes a page and what it is made of, or prints one of both where there is no folder for them.

    Args:
        output: the folder.
        as_json: whether what the page is made of is printed, and not the page.
        section: the heading of what is shown of the page; None for all, or in a terminal for its summary.
        page: the page's name in the folder.
        stored: the name there of what it is made of.
        read: gives the text of that.
        made: {name in the folder: text} of the page and its pictures, of that text.

    Raises:
        DsegymError: two of a folder, JSON and a section are asked for, the folder cannot be written, or the page has
            no such section; also what `read` raises.
    """
    from ..door import check_no_folder, check_writable_folder, write_by_rename

    if section is not None and (as_json or output is not None):
        raise DsegymError("--section shows a part of the page; leave out --json and --output, which give all of it.")
    if output is not None:
        if as_json:
            raise DsegymError(f"--json prints what --output writes to {output / stored}; give one of them.")
        check_writable_folder((output / stored).parent)
        for name in (page, stored):
            check_no_folder(output / name)
    content = read()
    if as_json:
        print_document(content)
        return
    files = {stored: content, **made(content)}
    if output is None:
        if section is None and not sys.stdout.isatty():
            print(files[page], end="")
        else:
            show_section(files[page], section)
        return
    for name, text in files.items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_by_rename(path, text.encode("utf-8"))
    terminal().print(visible(f"Page: {output / page}; what it is made of: {output / stored}"))
