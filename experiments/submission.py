"""Submissions: a results directory with a short card, that anyone can replay.

    RESULTS/submission.toml

title = "Tabu search on memory mappings"
authors = ["Ada Example <ada@example.org>"]
date = 2026-11-29

[[entries]]                     # one for each agent or policy in the results
name = "my_package.search:Tabu" # as the results name it
source = "https://github.com/ada/tabu/tree/0123abc" # or "shipped": an agent of this package
deterministic = true            # whether its seed determines its samples: `--rerun` repeats those only
chosen_on = "five instances that no suite scores"  # where its hyperparameters were chosen, in words
considered = { tenure = [2, 4, 8] }                # every value of each hyperparameter that was tried; optional

The rest of the directory is what `dsegym run` and `dsegym evaluate` write, and nothing else. No code of a submission
runs when it is checked, but that of packages which the reader allows by name.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agents.registry import BUILT_IN as BUILT_IN_AGENTS
from ..costmodels.errors import CorruptResultError, DsegymError, InvalidSuiteError, literal, shortened
from .batches import BATCH_NAME, batch_folder, batched, stored_trials, strays
from .door import LONGEST, write_by_rename
from .evaluations import evaluation_directories, read_evaluation
from .layout import BATCHES, EVALUATIONS, SUITE, TRIALS
from .odd_entries import odd_entries
from .suite import FILES
from .suite_note import declared_trials, holds_suite, read_suite
from .toml_tables import check_keys, check_once, read_toml_file, tables_of
from .toml_text import toml_key, toml_text

__all__ = [
    "CARD",
    "Card",
    "Entry",
    "check_submission",
    "entrants_of",
    "read_card",
    "submission_notes",
    "write_template",
]

CARD = "submission.toml"
MOST_FILES, MOST_BYTES = 1_000_000, 8 * 2**30
_PARTS = (CARD, SUITE, TRIALS, BATCHES, FILES, EVALUATIONS, "policies", "policies.json", "leaderboard")
_LONGEST_WORDS = 1000  # characters of a text in a card
_FEW = 10  # entries that an error lists
_BLANK = "?"  # what a template leaves to its author
SHIPPED = "shipped"  # the source of this package's own agents


@dataclass(frozen=True)
class Entry:
    """What a card says of one agent or policy.

    Attributes:
        name: as the results name it.
        source: a link to its code; `SHIPPED` for an agent of this package.
        deterministic: whether its seed determines its samples.
        chosen_on: where its hyperparameters were chosen, in words.
        considered: {hyperparameter: every value that was tried}.
    """

    name: str
    source: str
    deterministic: bool
    chosen_on: str
    considered: Mapping[str, tuple[str | bool | int | float, ...]]


@dataclass(frozen=True)
class Card:
    """Who submits what."""

    title: str
    authors: tuple[str, ...]
    date: datetime.date
    entries: tuple[Entry, ...]


def read_card(results: Path) -> Card:
    """The card of a submission.

    Raises:
        DsegymError: it is missing, or a member is missing, unknown, of the wrong type or still blank; names it.
    """
    path = results / CARD
    if not os.path.lexists(path):
        raise CorruptResultError(f"'{results}' has no {CARD}; `dsegym submit new {results}` writes one to fill in.")
    if path.is_symlink():
        raise CorruptResultError(f"{path}: it is a link; a submission holds plain files only.")
    content = read_toml_file(path, "card")
    try:
        check_keys("card", content, ("title", "authors", "date", "entries"), ())
        date = content["date"]
        if type(date) is not datetime.date:
            raise ValueError(f"date = {literal(date)} is no date such as 2026-11-29, without quotes.")
        entries = tuple(_entry(table) for table in tables_of("entries", content["entries"]))
        check_once("entry", (entry.name for entry in entries))
        if not isinstance(content["authors"], list) or not content["authors"]:
            raise ValueError("authors must be a list of texts that is not empty.")
        authors = tuple(_words("author", author) for author in content["authors"])
        return Card(_words("title", content["title"]), authors, date, entries)
    except (DsegymError, ValueError) as error:
        raise InvalidSuiteError(f"The card '{path}' does not hold: {error}") from None


def _entry(table: Mapping[str, Any]) -> Entry:
    check_keys("entry", table, ("name", "source", "deterministic", "chosen_on"), ("considered",))
    name = _words("name", table["name"])
    source = _words(f"source of {name}", table["source"])
    if source == SHIPPED:
        if name not in BUILT_IN_AGENTS:
            raise ValueError(f"source = {literal(source)} of {name}: no agent of that name is shipped; give a link.")
    elif not re.fullmatch(r"https://[^\s/]+\.[^\s/]+(/\S*)?", source):
        raise ValueError(
            f"source = {literal(source)} of {name} is neither a link of the form "
            f"https://... nor '{SHIPPED}', which an agent of this package is."
        )
    if type(table["deterministic"]) is not bool:
        raise ValueError(f"deterministic of {name} must be true or false.")
    considered = table.get("considered", {})
    if not isinstance(considered, dict):
        raise ValueError(f"considered of {name} must be a table, {{ population_size = [20, 50, 100] }} say.")
    for key, values in considered.items():
        plain = isinstance(values, list) and values and all(isinstance(v, str | bool | int | float) for v in values)
        if not plain:
            raise ValueError(f"considered.{shortened(key)} of {name} must list the values that were tried.")
    chosen_on = _words(f"chosen_on of {name}", table["chosen_on"])
    tried = {key: tuple(values) for key, values in considered.items()}
    return Entry(name, source, table["deterministic"], chosen_on, tried)


def _words(what: str, value: object) -> str:
    if not (isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= _LONGEST_WORDS):
        raise ValueError(f"the {what} must be a text of 1 to {_LONGEST_WORDS} characters on one line.")
    if value.strip() == _BLANK:
        raise ValueError(f"the {what} is still '{_BLANK}': fill it in.")
    return value


def entrants_of(results: Path, note: Mapping[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """Who is in a results directory: {agent or policy: the sets of hyperparameters that the suite fixes for it}.

    Args:
        results: the directory.
        note: of `read_suite`; None where no suite was run into it.

    Raises:
        CorruptResultError: it holds damaged results, or does not say what its suite declares.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    if note is not None:
        if "declared" not in note:
            raise CorruptResultError(f"{results / SUITE}: it does not say which trials its suite declares.")
        for agent in note["declared"]["agents"]:
            sets = found.setdefault(agent["name"], [])
            if agent["draw"] is None:
                sets.append(agent["hyperparameters"])
    for directory in evaluation_directories(results):
        found.setdefault(read_evaluation(directory).manifest["policy"]["name"], [])
    return found


def _note_of(results: Path) -> Mapping[str, Any] | None:
    return read_suite(results) if holds_suite(results) else None


def submission_notes(results: Path) -> Iterator[str]:
    """A sentence for each entry of a directory with a card, none for one without.

    Raises:
        DsegymError: as `read_card`.
    """
    if os.path.lexists(results / CARD):
        card = read_card(results)
        by = f"submitted by {', '.join(card.authors)} on {card.date} ({card.title}"
        yield from (f"{entry.name} was {by}; {entry.source})." for entry in card.entries)


def write_template(results: Path) -> Path:
    """Writes a card to be filled in, with what the results say already.

    Raises:
        DsegymError: there is a card already, or no results.
    """
    path = results / CARD
    found = entrants_of(results, _note_of(results))
    if os.path.lexists(path):
        raise DsegymError(f"'{path}' is there already; edit it, or remove it first.")
    lines = [
        f'title = "{_BLANK}"',
        f'authors = ["{_BLANK}"]',
        f"date = {datetime.date.today().isoformat()}",
    ]
    for name, sets in found.items():
        lines += [
            "",
            "[[entries]]",
            f"name = {toml_text(name)}",
            f'source = "{SHIPPED}"' if name in BUILT_IN_AGENTS else f'source = "{_BLANK}"  # https://... of its code',
            "deterministic = true  # whether its seed determines its samples",
            f'chosen_on = "{_BLANK}"  # where its hyperparameters were chosen, "defaults" say',
        ]
        keys = {
            key: list({toml_text(each[key]): None for each in sets if key in each}) for each in sets for key in each
        }
        if keys:
            tried = ", ".join(f"{toml_key(key)} = [{', '.join(values)}]" for key, values in keys.items())
            lines.append(f"considered = {{ {tried} }}  # every value that was tried")
    write_by_rename(path, ("\n".join(lines) + "\n").encode())
    return path


def check_submission(results: Path) -> Card:
    """Checks a submission's card, its files and that both name the same entries; replays nothing, see `verify`.

    Raises:
        DsegymError: what does not hold, in one sentence.
    """
    if not results.is_dir():
        raise CorruptResultError(f"'{shortened(results, LONGEST)}' is no directory.")
    _check_files(results)
    card = read_card(results)
    note = _note_of(results)
    found = entrants_of(results, note)
    named = {entry.name: entry for entry in card.entries}
    _check_same(results, "in the results, and not on the card", found.keys() - named.keys())
    _check_same(results, "on the card, and not in the results", named.keys() - found.keys())
    for name, sets in found.items():
        for key, value in _missing(named[name], sets):
            raise CorruptResultError(
                f"{results / CARD}: {name} ran with {shortened(key)} = {shortened(json.dumps(value))}, which is not "
                "among the values that its card says were considered."
            )
    if note is not None:
        lying = strays(results, note["trials"])
        if lying:
            raise CorruptResultError(f"{results / TRIALS}: {lying[0]} is no trial of this suite; remove it.")
    odd = odd_entries(results, note["trials"] if note is not None else ())
    if odd:
        raise CorruptResultError(next(iter(odd.values())))
    if note is not None:
        expected = len(declared_trials(note))
        moved = batched(results)
        there = sum(each in moved or (results / TRIALS / each).is_dir() for each in note["trials"])
        if there < expected:
            for _, each in stored_trials(results, note["trials"]):
                if isinstance(each, CorruptResultError):
                    raise CorruptResultError(f"{each} `dsegym run` makes it again.")
            raise CorruptResultError(f"'{results}': {expected - there} of {expected} trials are not done yet.")
    return card


def _missing(entry: Entry, sets: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Hyperparameters that ran and were not considered."""
    for each in sets:
        for key, value in each.items():
            if value not in entry.considered.get(key, ()):
                yield key, value


def _check_same(results: Path, where: str, names: Collection[str]) -> None:
    if names:
        listed = ", ".join(shortened(name) for name in sorted(names)[:_FEW]) + ", ..." * (len(names) > _FEW)
        raise CorruptResultError(f"{results / CARD}: {where}: {listed}.")


def _check_files(results: Path) -> None:
    """Refuses what a submission cannot hold: links, other things than files and folders, and files of other kinds."""
    unknown = sorted(entry.name for entry in results.iterdir() if entry.name not in _PARTS)
    if unknown:
        raise CorruptResultError(
            f"'{results}' holds {shortened(unknown[0])}, which is no part of a submission; its parts are "
            f"{', '.join(_PARTS)}."
        )
    batches = batch_folder(results)
    others = (
        sorted(each.name for each in batches.iterdir() if not BATCH_NAME.fullmatch(each.name))
        if (batches.is_dir())
        else []
    )
    if others:
        raise CorruptResultError(f"'{batches}' holds {shortened(others[0])}, which is no batch of trials; remove it.")
    trials = results / TRIALS
    left = sorted(each.name for each in trials.glob(".*")) if trials.is_dir() else []
    if left:
        raise CorruptResultError(f"'{trials}' holds {shortened(left[0])}, which is no trial; remove it.")
    count = size = 0
    for folder, folders, files in os.walk(results):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise CorruptResultError(f"{path}: it is a link or no plain file; a submission holds plain files only.")
            count, size = count + 1, size + status.st_size
        if count > MOST_FILES or size > MOST_BYTES:
            raise CorruptResultError(
                f"'{results}' holds more than {MOST_FILES:,} files or {MOST_BYTES / 2**30:.0f} GiB, the most that a "
                "submission can have."
            )
