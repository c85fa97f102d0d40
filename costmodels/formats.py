"""What users' files may be: a row for each format that a reader takes, and how content tells it.

The table of docs/files.md and the sentence of a file that no reader of an option knows both come from here. A format is
told by content, never by the file's name; names of files only break ties between two kinds of job shops.
"""

from __future__ import annotations

import csv
import functools
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from .files import decimal_of, fail

__all__ = [
    "FORMATS",
    "MOST_ACCESSES",
    "MOST_ATTEMPTS",
    "MOST_BUFFERS",
    "MOST_CLASSES",
    "MOST_DEVICES",
    "MOST_EDGES",
    "MOST_ELEMENTS",
    "MOST_LAYERS",
    "MOST_PROBLEMS",
    "MOST_REQUESTS",
    "MOST_TASKS",
    "READERS",
    "Format",
    "Reader",
    "count_column",
    "format_of",
    "format_rows",
    "header_cells",
    "normalised",
    "table_rows",
]

MOST_LAYERS = 100_000
MOST_BUFFERS = 2_000  # the space of priorities has as many parameters with as many values each
MOST_TASKS, MOST_EDGES, MOST_ELEMENTS = 5_000, 1_000_000, 64
MOST_PROBLEMS, MOST_ATTEMPTS = 100_000, 1_000_000
MOST_ACCESSES = 20_000  # of a program that is played
MOST_CLASSES = 200  # of requests
MOST_REQUESTS = 2_000_000  # of a trace
MOST_DEVICES = 16  # of a user's table


@dataclass(frozen=True)
class Reader:
    """An option that takes files.

    Attributes:
        scenario, option: which.
        page: of the docs that says more.
    """

    scenario: str
    option: str
    page: str


@dataclass(frozen=True)
class Format:
    """A format that a reader takes.

    Attributes:
        reader: key of `READERS`.
        name: for people, as in "this looks like NAME".
        content: what a file looks like.
        units: of its numbers, and what is taken for granted.
        limits: beyond which a file is refused.
        matches: whether a text is of this format.
    """

    reader: str
    name: str
    content: str
    units: str
    limits: str
    matches: Callable[[str], bool]


READERS: Mapping[str, Reader] = {
    "workload": Reader("AcceleratorSizing", "workload", "accelerator.md"),
    "instance": Reader("MemoryAllocation", "instance", "memory_allocation.md"),
    "program": Reader("MemoryMapping", "program", "memory_mapping.md"),
    "graph": Reader("SocSchedulingStatic", "graph", "soc_scheduling.md"),
    "data": Reader("BatchBestOfN", "data", "batch_best_of_n.md"),
    "requests": Reader("ServingMix", "workload", "serving_mix.md"),
    "trace": Reader("ServingStream", "trace", "serving_stream.md"),
    "model": Reader("ServingPlan", "model", "serving_plan.md"),
    "devices": Reader("ServingMix", "gpus", "serving_mix.md"),
}


_LONGEST_LINE = 100_000  # characters of a line, or a row; csv's own limit for a cell can be set by any library
_BLANK = " \t\n\u00a0"  # around a cell; spreadsheets write the last one
_DECLARED = re.compile(r'\s*"?sep=([,;\t|])"?[\s,;]*', re.IGNORECASE)  # Excel's first line

# How content tells a format.


def _first_line(text: str) -> str:
    """The first line that is neither empty nor a comment."""
    return next((line.strip() for _, line in _lines(text) if line.strip() and not line.lstrip().startswith("#")), "")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of each line, as they are asked for."""
    start, number = 0, 1
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield number, text[start:end]
        start, number = end + 1, number + 1


def _separator_of(line: str) -> str:
    """What separates the cells of a header: a comma, or where there is none a tab or a semicolon."""
    return next((separator for separator in ",\t;" if separator in line), ",")


def normalised(name: str) -> str:
    """A column's name as it is compared: small letters, single spaces."""
    return " ".join(name.replace("\u00a0", " ").replace("_", " ").lower().split())


def table_rows(text: str, comments: list[str] | None = None) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, stripped cells) of each row of a table; a cell in quotes may hold ends of lines.

    Lines that are empty, or begin with # where a row may begin, are no rows. Excel's first line, `sep=;`, names what
    separates the cells; otherwise the header does.

    Args:
        text: of the table.
        comments: to which the lines that begin with # are appended.

    Raises:
        ValueError: a line is too long, or a quote is not closed; names the line.
    """
    lines = _lines(text)
    ended = False

    def following(first: int, length: int) -> Iterator[str]:
        """The lines that the cells in quotes of a row go on to."""
        nonlocal ended
        for number, line in lines:
            length += len(line)
            if length > _LONGEST_LINE:
                raise ValueError(
                    f"line {first}: a row of more than {_LONGEST_LINE:,} characters; is a quote not closed?"
                )
            yield checked(number, line)
        ended = True

    def checked(number: int, line: str) -> str:
        if len(line) > _LONGEST_LINE:
            raise ValueError(f"line {number}: {len(line):,} characters; at most {_LONGEST_LINE:,} are read")
        return line + "\n"

    separator = ""
    for number, line in lines:
        if line.startswith("#"):
            if comments is not None:
                comments.append(line)
            continue
        if not line.strip():
            continue
        row = checked(number, line)
        if not separator:
            if declared := _DECLARED.fullmatch(line):
                separator = declared[1]
                continue
            separator = _separator_of(line)
        try:
            cells = next(csv.reader(itertools.chain([row], following(number, len(line))), delimiter=separator))
        except csv.Error as error:
            raise ValueError(f"line {number}: {error}") from None
        if ended:
            raise ValueError(f"line {number}: a quote is opened and not closed")
        yield number, [cell.strip(_BLANK) for cell in cells]


def header_cells(text: str) -> list[str]:
    """The names of a table's columns, stripped."""
    try:
        return next(table_rows(text), (0, []))[1]
    except ValueError:
        return []


def _has(*columns: str) -> Callable[[str], bool]:
    """Whether the text's header has all these columns."""

    def matches(text: str) -> bool:
        return set(columns) <= {normalised(cell) for cell in header_cells(text)}

    return matches


def _is_own_layers(text: str) -> bool:
    return _has("kind")(text) or (_has("layer")(text) and not _is_gemm_topology(text) and not _is_topology(text))


def _is_gemm_topology(text: str) -> bool:
    return _has("m", "n", "k")(text) and not _has("kind")(text)


def _is_topology(text: str) -> bool:
    names = {normalised(cell) for cell in header_cells(text)}
    return any("ifmap" in name for name in names) and any(name.startswith("num filter") for name in names)


def _is_buffers(text: str) -> bool:
    return _has("id", "size")(text) or _has("id", "lower")(text) or _has("lower", "upper", "size")(text)


_JSON = json.JSONDecoder()
_VISIBLE = re.compile(r"\S")


def _skipped(text: str, place: int) -> int:
    """Where the next character that is no space stands."""
    found = _VISIBLE.search(text, place)
    return found.start() if found else len(text)


@functools.lru_cache(maxsize=2)  # a text and its first line; `format_of` lets go of them
def _object(text: str) -> tuple[Mapping[str, object], int | None]:
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
    found, end = _object(line) if len(line) < 2**20 else ({}, None)
    return set(found) if end == len(line) else set()


def _is_program(text: str) -> bool:
    return bool({"program", "buffer", "instruction"} & _members(_first_line(text)))


def _top_members(text: str) -> set[str]:
    """The members of a JSON file that is one object, not lines of JSON."""
    found, end = _object(text)
    return set(found) if end is None or _skipped(text, end) == len(text) else set()


def _is_workflow(text: str) -> bool:
    return "workflow" in _top_members(text)


def _is_configuration(text: str) -> bool:
    return bool({"model_type", "architectures"} & _top_members(text)) and not _is_workflow(text)


def _is_own_graph(text: str) -> bool:
    return "format" in _top_members(text) and "dsegym task graph" in text and not _is_workflow(text)


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


def _is_task_graph_set(text: str) -> bool:
    return _numeric_lines(text)[:1] == [1]


def _is_job_shop(text: str) -> bool:
    counts = _numeric_lines(text)
    return bool(counts) and counts[0] >= 2


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*", " ", text[: 2**16], flags=re.DOTALL | re.MULTILINE)


def _is_dot(text: str) -> bool:
    return re.match(r"\s*(strict\s+)?(di)?graph\b[^{;=]{0,200}\{", _without_comments(text), re.IGNORECASE) is not None


def _is_tgff(text: str) -> bool:
    return re.search(r"^\s*@\s*TASK_GRAPH\b", text, re.MULTILINE) is not None


def _is_counts(text: str) -> bool:
    names = {count_column(cell) for cell in header_cells(text)}
    return "attempts" in names or ("successes" in names and not _has("correct")(text))


def _is_attempt_lines(text: str) -> bool:
    names = {normalised(name) for name in _members(_first_line(text))}
    known = bool(names & (set(PROBLEM_NAMES) - {"name", "question"} if names.isdisjoint(VERDICT_NAMES) else _NAMES))
    return known and not _is_inspect(text) and not _is_evalplus(text)


def _is_inspect(text: str) -> bool:
    return "samples" in _top_members(text) and '"scores"' in text


def _is_evalplus(text: str) -> bool:
    top = _top_members(text)
    of_inspect = {"samples", "plan"} & top  # which has a member `eval` too
    return "eval" in top and not of_inspect and re.search(r'"(base_status|plus_status|base)"\s*:', text) is not None


def _is_attempt_table(text: str) -> bool:
    names = {normalised(cell) for cell in header_cells(text)}
    return not _is_counts(text) and bool(names & set(PROBLEM_NAMES)) and bool(names & set(VERDICT_NAMES))


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


def _is_requests_by_arrival(text: str) -> bool:
    own, inputs = ("arrival_s", "prompt_tokens", "output_tokens"), ("arrival_s", "input_tokens", "output_tokens")
    return _has(*map(normalised, own))(text) or _has(*map(normalised, inputs))(text)


def _is_request_sizes(text: str) -> bool:
    return _has("prompt tokens", "output tokens")(text) and not _is_requests_by_arrival(text)


def _is_azure_trace(text: str) -> bool:
    return _has("timestamp", "contexttokens", "generatedtokens")(text) or _has(
        "t s", "context tokens", "generated tokens"
    )(text)


def _is_mooncake_trace(text: str) -> bool:
    return {"timestamp", "input_length", "output_length"} <= _members(_first_line(text))


_TRACE_LIMITS = f"{MOST_REQUESTS:,} requests of up to 131,072 tokens; going back in time and holes of 600 s are refused"
FORMATS: Sequence[Format] = (
    Format(
        "workload",
        "a table of layers",
        "a header with layer and kind; kind is conv, gemm or attention; a padding, stride and dilation for each axis",
        "pixels and channels; sizes are without padding, outputs are rounded down",
        f"{MOST_LAYERS:,} rows; M, N, K up to 2^23; 2^44 multiply-accumulates",
        _is_own_layers,
    ),
    Format(
        "workload",
        "a SCALE-Sim topology of convolutions",
        "a header with IFMAP Height, ..., Num Filter, Strides (or two strides), and perhaps Batch Size",
        "pixels; sizes hold their padding, outputs are rounded up, as SCALE-Sim does; DP in a name makes it depthwise",
        "as a table of layers; a sparsity other than N:N is refused",
        _is_topology,
    ),
    Format(
        "workload",
        "a SCALE-Sim topology of matrix products",
        "a header with M, N, K: an M x K by K x N product a row",
        "elements",
        "as a table of layers; a sparsity other than N:N is refused",
        _is_gemm_topology,
    ),
    Format(
        "instance",
        "a table of buffers (MiniMalloc's)",
        "a header with id, lower, upper, size, or the older start and end; offset of a solution",
        "bytes; the capacity is in the file's name, NAME.CAPACITY.csv, or an option",
        f"{MOST_BUFFERS:,} buffers; 2^47 bytes; alignments, hints and gaps are refused",
        _is_buffers,
    ),
    Format(
        "program",
        "a traced program",
        "JSON lines: a program, then buffers and instructions, as `dsegym trace` writes them",
        "bytes, floating-point operations",
        f"{MOST_ACCESSES:,} accesses; 2^50 bytes and 1e24 operations each",
        _is_program,
    ),
    Format(
        "graph",
        "dsegym's task graph",
        'JSON with "format": "dsegym task graph 1", a platform, tasks and edges',
        "whole us; volumes over bandwidths are us",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges, {MOST_ELEMENTS} elements",
        _is_own_graph,
    ),
    Format(
        "graph",
        "a recorded workflow (WfFormat)",
        'JSON of WfCommons with "schemaVersion" 1.0 to 1.6 and a "workflow"',
        "s and bytes; elements and links are synthetic; long recordings count in a power of ten of us",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges",
        _is_workflow,
    ),
    Format(
        "graph",
        "a graph of the Standard Task Graph Set",
        "the number of tasks, then a line for each: number, time, how many predecessors, which",
        "us for the set's unit of time; 4 equal elements without communication, or platform=equal_P",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges",
        _is_task_graph_set,
    ),
    Format(
        "graph",
        "a job shop",
        "jobs and machines, then classic pairs, flexible operations, or Taillard's times and machines; lines may wrap",
        "us for the file's unit of time; machines from 0 or 1, as the whole file shows; data take no time",
        f"{MOST_TASKS:,} operations, {MOST_ELEMENTS} machines",
        _is_job_shop,
    ),
    Format(
        "graph",
        "a DOT graph",
        "digraph { a [weight=5]; a -> b [weight=3] }",
        "us: weights of nodes are run times, of edges the time between two elements; 4 equal ones, or platform=equal_P",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges",
        _is_dot,
    ),
    Format(
        "graph",
        "a TGFF file",
        "@TASK_GRAPH blocks with TASK and ARC, a table of times a type for each processing element",
        "us for the file's unit of time, in a power of ten of it; periods and deadlines are not modelled",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges, {MOST_ELEMENTS} elements",
        _is_tgff,
    ),
    Format(
        "data",
        "a table of outcomes",
        "a header with problem, attempts, successes (or num_correct, ...), perhaps tokens_right, tokens_wrong",
        "counts; mean tokens of a successful and of a failed attempt",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each",
        _is_counts,
    ),
    Format(
        "data",
        "a table of attempts",
        "a header with a problem (or task_id, question_id, ...) and a verdict (passed, correct, ...); a row an attempt",
        "verdicts true or false, 1 or 0, pass or fail; tokens, if there is such a column",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each",
        _is_attempt_table,
    ),
    Format(
        "data",
        "JSON lines of attempts",
        "an object an attempt: HumanEval's task_id and passed, lm-evaluation-harness's doc_id and exact_match or acc",
        "as a table of attempts",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each; 256 MiB",
        _is_attempt_lines,
    ),
    Format(
        "data",
        "an EvalPlus result",
        'JSON with "eval": {task: [{"base_status": "pass", "plus_status": "fail"}]}; an attempt passes both',
        "verdicts",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each; 256 MiB",
        _is_evalplus,
    ),
    Format(
        "data",
        "an Inspect log",
        'JSON with "samples": each an id, an epoch and one score of C, I, 1, 0, true or false',
        "verdicts",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each; 256 MiB",
        _is_inspect,
    ),
    Format(
        "requests",
        "a request histogram",
        "a header with prompt_tokens, output_tokens and requests; a row a class of about one size",
        "tokens and counts, or any shares of the requests; the rate is an option",
        f"{MOST_CLASSES} classes, 10,000,000 tokens a request",
        _is_request_sizes,
    ),
    Format(
        "trace",
        "a table of requests by arrival",
        "a header with arrival_s, prompt_tokens (or input_tokens) and output_tokens; a row a request",
        "s from any moment; other columns are not read",
        _TRACE_LIMITS,
        _is_requests_by_arrival,
    ),
    Format(
        "trace",
        "Azure's trace of a language model's requests",
        "a header with TIMESTAMP, ContextTokens, GeneratedTokens",
        "moments as 2023-11-16 18:15:46.68; or t_s, context_tokens, generated_tokens in s",
        _TRACE_LIMITS,
        _is_azure_trace,
    ),
    Format(
        "trace",
        "BurstGPT's trace",
        "a header with Timestamp, Model, Request tokens, Response tokens",
        "s; models are not told apart; failed requests, without response tokens, are refused",
        _TRACE_LIMITS,
        _has("timestamp", "request tokens", "response tokens"),
    ),
    Format(
        "trace",
        "Mooncake's trace (JSON lines)",
        "an object a request: timestamp, input_length, output_length, hash_ids",
        "ms; hash_ids name blocks of 512 tokens by all that stands before them",
        _TRACE_LIMITS,
        _is_mooncake_trace,
    ),
    Format(
        "model",
        "a Hugging Face configuration",
        'the config.json of a causal language model: JSON with "model_type" and sizes',
        "numbers of layers, heads, experts, rows; windows and quantisation are not read",
        "35 types of models, docs/serving_plan.md lists them; others are refused",
        _is_configuration,
    ),
    Format(
        "devices",
        "a table of devices",
        "a header with device and any of bf16_tflops, fp8_tflops, int8_tops, fp4_tflops, memory_gb, bandwidth_gb_s, "
        "scale_up_gb_s, scale_out_gb_s, tdp_w, usd_per_h",
        "as the names say, 10^9 bytes a GB; dense peaks, links in one direction; a known device keeps what is left out",
        f"{MOST_DEVICES} devices",
        _has("device"),
    ),
)

# Formats of the field that no reader takes.
_FOREIGN: Sequence[tuple[str, Callable[[str], bool]]] = (
    ("GraphML", lambda text: "<graphml" in text[:4096].lower()),
    ("a Pegasus DAX workflow (XML)", lambda text: "<adag" in text[:4096].lower()),
    ("XML", lambda text: text.lstrip().startswith("<")),
    ("a Timeloop problem (YAML)", lambda text: re.search(r"^(problem|architecture|mapping):", text, re.M) is not None),
    ("a workload of ZigZag (YAML)", lambda text: "loop_dims:" in text and "equation:" in text),
    ("a MAESTRO network", lambda text: re.search(r"^\s*Network\s+\S+\s*\{", text, re.MULTILINE) is not None),
    ("GML", lambda text: re.match(r"\s*graph\s*\[", text) is not None),
    ("JSON", lambda text: text.lstrip()[:1] in ("{", "[")),
)


def format_of(path: str | Path, text: str, reader: str, by_suffix: Mapping[str, str] | None = None) -> Format:
    """The format of a file's text, among those of a reader.

    Args:
        path: of the file.
        text: its content, which decides.
        reader: key of `READERS`.
        by_suffix: {suffix: name of the format} whose reader says what is wrong where the content tells nothing.

    Raises:
        InvalidWorkloadError: it is none of them; says what it looks like and what the reader takes.
    """
    own = [each for each in FORMATS if each.reader == reader]
    try:
        found = next((each for each in own if each.matches(text)), None)
        if found is None:
            guess = (by_suffix or {}).get(Path(path).suffix.lower())
            found = next((each for each in own if each.name == guess and not _looks_known(text)), None)
        if found is None:
            _refuse(path, text, reader)
        return found
    finally:
        _object.cache_clear()


def _looks_known(text: str) -> bool:
    foreign = any(name != "JSON" and matches(text) for name, matches in _FOREIGN)
    return foreign or any(each.matches(text) for each in FORMATS)


def _refuse(path: str | Path, text: str, reader: str) -> NoReturn:
    own = [each for each in FORMATS if each.reader == reader]
    taken = ", ".join(each.name for each in own)
    other = next((each for each in FORMATS if each.matches(text)), None)
    foreign = next((name for name, matches in _FOREIGN if matches(text)), "")
    option = READERS[reader]
    if other is not None:
        where = READERS[other.reader]
        looks = f"this looks like {other.name}, which is for the option {where.option} of {where.scenario}"
    else:
        looks = f"this looks like {foreign}" if foreign else "it is in no format that is known here"
        if reader == "workload" and foreign.endswith("(YAML)"):
            looks += ", which `dsegym workload` writes as a table"
    fail(path, f"{looks}; as {option.option} of {option.scenario}, dsegym reads {taken} (docs/files.md)")


def format_rows() -> list[dict[str, str]]:
    """The table of docs/files.md."""
    return [
        {
            "option": f"`{READERS[each.reader].option}` of {READERS[each.reader].scenario}",
            "format": each.name,
            "content": each.content,
            "units": each.units,
            "limits": each.limits,
        }
        for each in FORMATS
    ]
