"""Typed options: a dataclass a scenario, whose fields know how a user's text becomes a value and back.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Batch(Options):
    ...     samples: float = number(4, (1, 2, 4), least=1, most=64, unit="samples", summary="budget of a question")
    >>> parse(Batch, {"samples": "8.0"})
    Batch(samples=8)
    >>> texts(parse(Batch, {"samples": "8e0"}))
    {'samples': '8'}

Numbers are parsed once, here; equal values are one instance, however they are written. Everything that says something
about options is derived from the fields: `dsegym info`, errors, manifests, suites.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...costmodels.errors import DsegymError, InvalidOptionError, UnknownNameError, UnknownOptionError
from ...costmodels.files import plain_number
from ...costmodels.formats import destination

__all__ = [
    "PERMUTATION",
    "UNIVERSAL",
    "Option",
    "Options",
    "choice",
    "custom",
    "file_or_name",
    "number",
    "number_or_own",
    "options_of",
    "parse",
    "texts",
    "whole",
    "whole_or_own",
]

_OWN: Mapping[str, object] = {"own": None}
_Listed = Sequence[object] | Callable[[], Sequence[object]]
_OptionsType = TypeVar("_OptionsType", bound="Options")


@dataclass(frozen=True)
class Options:
    """Base of every scenario's options; subclasses are frozen dataclasses whose fields this module's functions make.

    Attributes:
        scenario_id: the registered id under which the instance was asked for.
        permutation: the seed of the orders in which each parameter's values stand, which every scenario with one-shot
            designs takes; None for the family's own.
    """

    scenario_id: str = field(default="", kw_only=True, repr=False)
    permutation: int | None = field(default=None, kw_only=True, repr=False)


def _never(text: str) -> bool:
    return False


@dataclass(frozen=True)
class Option:
    """One thing that tells instances of a scenario apart, as its field declares it.

    Attributes:
        default: the value when the user gives none.
        listed: the values that are shown and swept, or a function that lists them.
        summary: one line for the user.
        parse: a user's value (text, or of the option's type) to the option's; raises `ValueError` where it is none.
        text: the canonical text of a value.
        also: which values there are beside the listed ones, in words; empty where there are none.
        words: names that are values, listed or not.
        generated: whether a text names something that is made from the name alone: no file.
        unit: of a number; empty where it has none.
        reads: the key of `costmodels.formats.READERS` of the files that it takes; empty where it takes none, or files
            of another package's own.
    """

    default: Any
    listed: _Listed
    summary: str
    parse: Callable[[object], Any]
    text: Callable[[Any], str] = str
    also: str = ""
    words: tuple[str, ...] = ()
    generated: Callable[[str], bool] = _never
    unit: str = ""
    reads: str = ""

    def is_name(self, text: str) -> bool:
        """Whether a text is a value by itself, and no user's file."""
        return text in self.values() or self.generated(text)

    def values(self) -> tuple[str, ...]:
        """The texts of the listed values."""
        return tuple(self.text(value) for value in (self.listed() if callable(self.listed) else self.listed))


def _field(option: Option) -> Any:
    return field(default=option.default, metadata={"option": option})


def _number_text(value: float) -> str:
    """The shortest text: 8000 of 8000.0, 0.1 of 0.1."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _words(
    words: Mapping[str, object],
) -> tuple[Callable[[object], tuple[bool, object]], Callable[[object], str | None]]:
    def find(given: object) -> tuple[bool, object]:
        return (True, words[given]) if isinstance(given, str) and given in words else (False, None)

    def name(value: object) -> str | None:
        return next((word for word, meant in words.items() if type(meant) is type(value) and meant == value), None)

    return find, name


def choice(default: str, listed: Sequence[str] | Callable[[], Sequence[str]], summary: str) -> Any:
    """An option that takes one of the listed names and nothing else."""

    def parse(given: object) -> str:
        allowed = listed() if callable(listed) else listed
        if str(given) not in allowed:
            raise ValueError
        return str(given)

    return _field(Option(default, listed, summary, parse))


def number(
    default: object,
    listed: Sequence[object],
    *,
    least: float,
    most: float,
    summary: str,
    unit: str = "",
    above: bool = False,
    words: Mapping[str, object] | None = None,
) -> Any:
    """An option that takes any number of a range.

    Args:
        default: the number, or the value of a word.
        listed: the numbers, and values of words, that are shown.
        least, most: the range, both ends included.
        summary: one line for the user.
        unit: of the number.
        above: whether `least` itself is left out.
        words: {word that may stand in place of a number: the value that it means}.
    """
    return _numeric(default, listed, least, most, summary, unit, above, words or {}, whole=False)


def whole(
    default: object,
    listed: Sequence[object],
    *,
    least: int,
    most: int,
    summary: str,
    unit: str = "",
    words: Mapping[str, object] | None = None,
) -> Any:
    """An option that takes any whole number of a range; arguments as of `number`."""
    return _numeric(default, listed, least, most, summary, unit, False, words or {}, whole=True)


def number_or_own(listed: Sequence[object], *, least: float, most: float, summary: str, unit: str = "") -> Any:
    """As `number`, or by default `own`: None, for the number that the instance has by itself."""
    return _numeric(None, (None, *listed), least, most, summary, unit, False, _OWN, whole=False)


def whole_or_own(listed: Sequence[object], *, least: int, most: int, summary: str, unit: str = "") -> Any:
    """As `whole`, or by default `own`: None, for the number that the instance has by itself."""
    return _numeric(None, (None, *listed), least, most, summary, unit, False, _OWN, whole=True)


def _numeric(
    default: object,
    listed: Sequence[object],
    least: float,
    most: float,
    summary: str,
    unit: str,
    above: bool,
    words: Mapping[str, object],
    *,
    whole: bool,
) -> Any:
    find, name = _words(words)
    kind = "whole number" if whole else "number"
    range_ = f"above {_number_text(least)}, to" if above else f"from {_number_text(least)} to"
    also = f"any {kind} {range_} {_number_text(most)} {unit}".rstrip()

    def parse(given: object) -> object:
        found, meant = find(given)
        if found:
            return meant
        value = plain_number(given)
        if not (least <= value <= most) or (above and value == least) or (whole and not value.is_integer()):
            raise ValueError
        return int(value) if value.is_integer() else value

    def text(value: Any) -> str:
        return name(value) or _number_text(value)

    return _field(Option(default, tuple(listed), summary, parse, text, also, tuple(words), unit=unit))


def file_or_name(
    default: str,
    listed: Sequence[str] | Callable[[], Sequence[str]],
    is_file: Callable[[str], bool],
    also: str,
    summary: str,
    generated: Callable[[str], bool] = _never,
    reads: str = "",
) -> Any:
    """An option that takes a listed name, one that something is made from, or the path of a user's file.

    Args:
        default: a name.
        listed: the names.
        is_file: whether a text that is no name is a path that the scenario reads.
        also: which paths and names those are, in words.
        summary: one line for the user.
        generated, reads: as of `Option`.
    """

    def parse(given: object) -> str:
        allowed = listed() if callable(listed) else listed
        named = str(given) in allowed or generated(str(given))
        is_text = isinstance(given, str | os.PathLike)
        if not named and (not is_text or "\0" in str(given) or not is_file(str(given))):
            raise ValueError
        return str(given)

    return _field(Option(default, listed, summary, parse, also=also, generated=generated, reads=reads))


def custom(
    default: object,
    listed: _Listed,
    *,
    parse: Callable[[object], Any],
    also: str,
    summary: str,
    text: Callable[[Any], str] = str,
    reads: str = "",
) -> Any:
    """An option with a grammar of its own.

    Args:
        default: the parsed value.
        listed: parsed values.
        parse: takes the user's value; raises `ValueError` where it is none of the option's.
        also: which values there are, in words.
        summary: one line for the user.
        text: the canonical text of a parsed value; equal values have one text.
        reads: as of `Option`.
    """
    return _field(Option(default, listed, summary, parse, text, also, reads=reads))


def options_of(kind: type[Options]) -> dict[str, Option]:
    """{name: option} of a scenario's options, in order."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(kind) if "option" in each.metadata}


def _parse_permutation(given: object) -> int | None:
    value = None if given is None or given == "none" else plain_number(given)
    if value is not None and not (0 <= value < 2**31 and value.is_integer()):
        raise ValueError
    return None if value is None else int(value)


# Every scenario's, beside its own: it is in texts where it is set only, so that instances without it keep their names.
PERMUTATION = "permutation"
UNIVERSAL = Option(
    default=None,
    listed=(None,),
    summary="seed of an order of each parameter's values, so that neighbours say nothing",
    parse=_parse_permutation,
    text=lambda value: "none" if value is None else str(value),
    also=f"any whole number from 0 to {2**31 - 1}",
    words=("none",),
)


def parse(kind: type[_OptionsType], given: Mapping[str, object], scenario_id: str = "") -> _OptionsType:
    """The options of a user's values; what is not given takes its default.

    Raises:
        UnknownOptionError: an option that does not exist.
        UnknownNameError: a name that is none of an option's.
        InvalidOptionError: a value of the wrong type or out of range; says what is allowed.
    """
    declared = {**options_of(kind), PERMUTATION: UNIVERSAL}
    for name, value in given.items():
        if name not in declared:
            raise UnknownOptionError(name, declared, _destination(value, declared))
    values = {}
    for name, value in given.items():
        try:
            values[name] = declared[name].parse(value)
        except DsegymError:
            raise
        except (ValueError, TypeError, OverflowError):
            raise _refusal(name, value, declared[name], _destination(value, declared)) from None
    return kind(**values, scenario_id=scenario_id)


def _destination(given: object, declared: Mapping[str, Option]) -> str:
    """Where a user's file goes that stands at the wrong option, in a sentence; empty where it is none."""
    if not isinstance(given, str | os.PathLike) or not os.path.isfile(given):
        return ""
    return destination(str(given), {name: option.reads for name, option in declared.items() if option.reads})


def _refusal(name: str, given: object, option: Option, more: str) -> Exception:
    listed = option.values()
    if not option.also:
        return UnknownNameError(name, given, listed, more)
    # The range says what the numbers are.
    words = tuple(dict.fromkeys((*option.words, *(text for text in listed if not _is_number(text)))))
    refusal = UnknownNameError if words and isinstance(given, str) and not _is_number(given) else InvalidOptionError
    return refusal(name, given, (*words, option.also), more)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def texts(options: Options) -> dict[str, str]:
    """{name: canonical text} of every option: what manifests, suites and names of instances hold; of the permutation
    where it is set.
    """
    found = {name: option.text(getattr(options, name)) for name, option in options_of(type(options)).items()}
    return found if options.permutation is None else {**found, PERMUTATION: UNIVERSAL.text(options.permutation)}
