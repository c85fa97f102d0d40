"""How content tells the format of a user's file: a function of the text for each row of `formats.FORMATS`.

A file that is broken is told by what of it can still be read, so that the format's reader says what is wrong with it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping

from .files import decimal_of
from .tables import header_cells, normalised, numbered_lines

__all__ = [
    "PROBLEM_NAMES",
    "VERDICT_NAMES",
    "count_column",
    "has_columns",
    "is_attempt_lines",
    "is_attempt_table",
    "is_azure_trace",
    "is_buffers",
    "is_configuration",
    "is_counts",
    "is_dot",
    "is_evalplus",
    "is_gemm_topology",
    "is_inspect",
    "is_job_shop",
    "is_mooncake_trace",
    "is_own_graph",
    "is_own_layers",
    "is_program",
    "is_request_sizes",
    "is_requests_by_arrival",
    "is_routes",
    "is_task_graph_set",
    "is_tgff",
    "is_topology",
    "is_workflow",
    "leading_object",
]


def _first_line(text: str) -> str:
    """The first line that is neither empty nor a comment."""
    return next(
        (line.strip() for _, line in numbered_lines(text) if line.strip() and not line.lstrip().startswith("#")), ""
    )


def has_columns(*columns: str) -> Callable[[str], bool]:
    """Tells whether a text's header has all these columns, named as `normalised`."""

    def matches(text: str) -> bool:
        return set(columns) <= {normalised(cell) for cell in header_cells(text)}

    return matches


def is_routes(text: str) -> bool:
    """A log of the experts that a router chose."""
    return has_columns("step", "layer", "expert")(text)


def is_own_layers(text: str) -> bool:
    """dsegym's table of layers, told from others with a column `Layer`: SCALE-Sim's topologies, logs of routes."""
    others = (is_gemm_topology, is_topology, is_routes)
    return has_columns("kind")(text) or (has_columns("layer")(text) and not any(other(text) for other in others))


def is_gemm_topology(text: str) -> bool:
    """SCALE-Sim's topology of matrix products."""
    return has_columns("m", "n", "k")(text) and not has_columns("kind")(text)


def is_topology(text: str) -> bool:
    """SCALE-Sim's topology of convolutions, in any of its spellings."""
    names = {normalised(cell) for cell in header_cells(text)}
    return any("ifmap" in name for name in names) and any(name.startswith("num filter") for name in names)


def is_buffers(text: str) -> bool:
    """A table of buffers; which column it lacks, its reader says."""
    return (
        has_columns("id", "size")(text)
        or has_columns("id", "lower")(text)
        or has_columns("lower", "upper", "size")(text)
    )


_JSON = json.JSONDecoder()
_VISIBLE = re.compile(r"\S")


def _skipped(text: str, place: int) -> int:
    """Where the next character that is no space stands."""
    found = _VISIBLE.search(text, place)
    return found.start() if found else len(text)


@functools.lru_cache(maxsize=2)  # a text and its first line; `format_of` lets go of them
def leading_object(text: str) -> tuple[Mapping[str, object], int | None]:
    """The members of the JSON object that a text begins with, and where it ends: None where it breaks.

    The member that breaks is None, so that the reader of the format can say what is wrong.
    """
    found: dict[str, object] = {}
    place = _skipped(text, 0)
    try:
        if text[place] != "{":
            return found, None
        while text[place] in "{,":
            name, place = _JSON.raw_decode(text, _skipped(text, place + 1))
            place = _skipped(text, place)
            if not isinstance(name, str) or text[place] != ":":
                return found, None
            found[name] = None
            found[name], place = _JSON.raw_decode(text, _skipped(text, place + 1))
            place = _skipped(text, place)
        return found, place + 1 if text[place] == "}" else None
    except (ValueError, IndexError, RecursionError):
        return found, None


def _members(line: str) -> set[str]:
    """The members of a JSON object in one line."""
    found, end = leading_object(line) if len(line) < 2**20 else ({}, None)
    return set(found) if end == len(line) else set()


def is_program(text: str) -> bool:
    """Lines of JSON of which the first is one of a traced program's."""
    return bool({"program", "buffer", "instruction"} & _members(_first_line(text)))


def _top_members(text: str) -> set[str]:
    """The members of a JSON file that is one object, not lines of JSON."""
    found, end = leading_object(text)
    return set(found) if end is None or _skipped(text, end) == len(text) else set()


def is_workflow(text: str) -> bool:
    """A recorded workflow, WfFormat."""
    return "workflow" in _top_members(text)


def is_configuration(text: str) -> bool:
    """A Hugging Face configuration."""
    return bool({"model_type", "architectures"} & _top_members(text)) and not is_workflow(text)


def is_own_graph(text: str) -> bool:
    """dsegym's task graph."""
    return "format" in _top_members(text) and "dsegym task graph" in text and not is_workflow(text)


def _numbers_of(line: str) -> int:
    words = line.split("#")[0].split()
    return len(words) if words and all(decimal_of(word) is not None for word in words) else 0


def _numeric_lines(text: str) -> list[int]:
    """How many numbers stand on the first lines that hold nothing else; at most two lines."""
    found: list[int] = []
    for line in text[: 2**16].split("\n"):
        if count := _numbers_of(line):
            found.append(count)
            if len(found) == 2:
                break
        elif any(decimal_of(word) is not None for word in line.split("#")[0].split()):
            break  # words and numbers: neither a title nor data
    return found


def is_task_graph_set(text: str) -> bool:
    """A graph of the Standard Task Graph Set: one number alone on the first line of numbers."""
    return _numeric_lines(text)[:1] == [1]


def is_job_shop(text: str) -> bool:
    """A job shop: two numbers or more on the first line of numbers."""
    counts = _numeric_lines(text)
    return bool(counts) and counts[0] >= 2


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*", " ", text[: 2**16], flags=re.DOTALL | re.MULTILINE)


def is_dot(text: str) -> bool:
    """A DOT graph, whatever comments stand before it."""
    return re.match(r"\s*(strict\s+)?(di)?graph\b[^{;=]{0,200}\{", _without_comments(text), re.IGNORECASE) is not None


def is_tgff(text: str) -> bool:
    """A TGFF file."""
    return re.search(r"^\s*@\s*TASK_GRAPH\b", text, re.MULTILINE) is not None


def is_counts(text: str) -> bool:
    """A table of outcomes, a row a problem."""
    names = {count_column(cell) for cell in header_cells(text)}
    return "attempts" in names or ("successes" in names and not has_columns("correct")(text))


def is_attempt_lines(text: str) -> bool:
    """Lines of JSON, an attempt each."""
    names = {normalised(name) for name in _members(_first_line(text))}
    known = bool(names & (set(PROBLEM_NAMES) - {"name", "question"} if names.isdisjoint(VERDICT_NAMES) else _NAMES))
    return known and not is_inspect(text) and not is_evalplus(text)


def is_inspect(text: str) -> bool:
    """An Inspect log."""
    return "samples" in _top_members(text) and '"scores"' in text


def is_evalplus(text: str) -> bool:
    """An EvalPlus result."""
    top = _top_members(text)
    of_inspect = {"samples", "plan"} & top  # which has a member `eval` too
    return "eval" in top and not of_inspect and re.search(r'"(base_status|plus_status|base)"\s*:', text) is not None


def is_attempt_table(text: str) -> bool:
    """A table of attempts, a row each."""
    names = {normalised(cell) for cell in header_cells(text)}
    return not is_counts(text) and bool(names & set(PROBLEM_NAMES)) and bool(names & set(VERDICT_NAMES))


# Names under which sampling frameworks write what was tried, and whether it was right; compared as `normalised`.
PROBLEM_NAMES = (
    "problem", "task id", "problem id", "problem name", "question id", "doc id", "id", "instance id",
    "name", "question", "idx", "index",
)  # fmt: skip
_NAMES = set(PROBLEM_NAMES)
VERDICT_NAMES = (
    "passed", "correct", "is correct", "success", "solved", "resolved", "right", "pass", "plus status", "base status",
    "exact match", "acc", "pass@1", "score", "result", "status", "verdict",
)  # fmt: skip
# Names of the counts of a table that has a row a problem.
_COUNT_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("attempts", "num attempts", "n attempts", "total attempts"), "attempts"),
    **dict.fromkeys(
        ("successes", "num successes", "n successes", "num correct", "n correct", "correct", "num passed", "n passed"),
        "successes",
    ),
}


def count_column(name: str) -> str:
    """`attempts` or `successes` where a column's name says that, or the name with underscores."""
    return _COUNT_NAMES.get(normalised(name), normalised(name).replace(" ", "_"))


def is_requests_by_arrival(text: str) -> bool:
    """A table of requests with their moments of arrival."""
    names = {normalised(cell) for cell in header_cells(text)}
    return {"arrival s", "output tokens"} <= names and bool({"prompt tokens", "input tokens"} & names)


def is_request_sizes(text: str) -> bool:
    """A histogram of requests: sizes without moments of arrival."""
    return has_columns("prompt tokens", "output tokens")(text) and not is_requests_by_arrival(text)


def is_azure_trace(text: str) -> bool:
    """Azure's trace of a language model's requests, as published or with moments in s."""
    return has_columns("timestamp", "contexttokens", "generatedtokens")(text) or has_columns(
        "t s", "context tokens", "generated tokens"
    )(text)


def is_mooncake_trace(text: str) -> bool:
    """Mooncake's trace, a request a line of JSON."""
    return {"timestamp", "input_length", "output_length"} <= _members(_first_line(text))
