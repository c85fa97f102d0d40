"""The one exception family: what was given, what is allowed, and the nearest match."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

__all__ = [
    "BudgetExhausted",
    "CorruptResultError",
    "DsegymError",
    "ForkedError",
    "InvalidActionError",
    "InvalidDesignError",
    "InvalidOptionError",
    "InvalidSuiteError",
    "InvalidWorkloadError",
    "MissingLibraryError",
    "TimeLimitReached",
    "UnknownNameError",
    "UnknownOptionError",
    "literal",
    "reason_of",
    "shortened",
    "visible",
]

_LONGEST = 60  # letters of a user's input that an error shows
_LEAST_BEGUN = 2  # letters of a name that say which is meant
_MOST_NAMES = 100  # that an error lists


def visible(text: object) -> str:
    """A text in which no character moves the cursor, hides, or turns what stands around it."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))


def shortened(value: object, most: int = _LONGEST) -> str:
    """What a user gave, as an error shows it: the beginning of a long text, on one line."""
    return _begun(str, value, most)


def literal(value: object, most: int = _LONGEST) -> str:
    """As `shortened`, but as Python writes the value: texts in quotes."""
    return _begun(repr, value, most)


def _begun(written: Callable[[object], str], value: object, most: int) -> str:
    try:
        text = visible(written(value)[: most + 1])
    except Exception:  # integers of thousands of digits, and what holds them, have no text
        text = "a huge number" if isinstance(value, int) else f"a {type(value).__name__} without a text"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def reason_of(error: BaseException) -> str:
    """What somebody else's code raised, as an error shows it."""
    return f"{type(error).__name__}: {shortened(error, 200)}".rstrip(": ")


class DsegymError(Exception):
    """Base of every error that dsegym raises on purpose; its text is one clear sentence for the user."""


class UnknownNameError(DsegymError, ValueError):
    """A name (scenario, workload, objective, agent, ...) that does not exist; `more` is a further sentence."""

    def __init__(self, kind: str, given: object, allowed: Iterable[str], more: str = ""):
        self.kind, self.given, self.allowed, self.more = kind, given, tuple(allowed), more
        word = shortened(given).lower()
        nearest = difflib.get_close_matches(word, [name.lower() for name in self.allowed], n=1, cutoff=0.5)
        begun = [name for name in self.allowed if len(word) >= _LEAST_BEGUN and name.lower().startswith(word)]
        match = next(iter([*begun, *(name for name in self.allowed if name.lower() in nearest)]), None)
        hint = f" Did you mean '{match}'?" if match and any(letter.isalpha() for letter in shortened(given)) else ""
        listed = ", ".join(self.allowed[:_MOST_NAMES]) or "none"
        if len(self.allowed) > _MOST_NAMES:
            listed += f" and {len(self.allowed) - _MOST_NAMES:,} more"
        super().__init__(f"Unknown {kind} '{shortened(given, 80)}'; there are: {listed}.{hint} {more}".rstrip())

    def __reduce__(self) -> tuple[object, ...]:
        """Workers send errors to the runner as pickles of what the error was made of."""
        return type(self), (self.kind, self.given, self.allowed, self.more)


class UnknownOptionError(UnknownNameError, TypeError):
    """A keyword that is no option of the scenario. Clients that try a keyword and go without it (TorchRL's `frameskip`)
    look for a `TypeError` with Python's own words; `gymnasium.make` raises it anew, as the class called with a text.
    """

    def __init__(self, given: object, allowed: Iterable[str] | None = None, more: str = ""):
        self._made_of = (given,) if allowed is None else (given, tuple(allowed), more)
        super().__init__("option", given, allowed or (), more)
        said = given if allowed is None else f"{self.args[0]} (got an unexpected keyword argument '{given}')"
        self.args = (said,)

    def __reduce__(self) -> tuple[object, ...]:
        """Workers send errors to the runner as pickles of what the error was made of."""
        return type(self), self._made_of


class InvalidOptionError(DsegymError, ValueError):
    """An option's value of the wrong type or out of its range; `more` is a further sentence."""

    def __init__(self, name: str, given: object, allowed: Iterable[str], more: str = ""):
        self.name, self.given, self.allowed, self.more = name, given, tuple(allowed), more
        listed = ", ".join(self.allowed)
        super().__init__(f"{name} = {literal(given, 80)} is not allowed; allowed: {listed}. {more}".rstrip())

    def __reduce__(self) -> tuple[object, ...]:
        """Workers send errors to the runner as pickles of what the error was made of."""
        return type(self), (self.name, self.given, self.allowed, self.more)


class InvalidDesignError(DsegymError, ValueError):
    """A design out of range, of the wrong shape or of the wrong dtype."""


class InvalidActionError(DsegymError, ValueError):
    """An action that is not in the action space, or a seed that is none."""


class ForkedError(DsegymError, RuntimeError):
    """A process that was forked when JAX was already running, in which JAX would wait for ever."""


class InvalidWorkloadError(DsegymError):
    """A workload table that cannot be read; the message names the file and the line."""


class MissingLibraryError(DsegymError):
    """An optional library that is not installed; the message names it and how it comes."""


class InvalidSuiteError(DsegymError):
    """A suite file that cannot be run; the message names the file and the key."""


class CorruptResultError(DsegymError):
    """A result directory that is truncated or was tampered with; the message names the file and the reason."""


class BudgetExhausted(DsegymError):
    """The referee's stop signal: the sample budget is spent. Agents need not catch it."""


class TimeLimitReached(DsegymError):
    """The referee's stop signal: the trial's time limit has passed."""
