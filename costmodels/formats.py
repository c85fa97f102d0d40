"""What users' files may be: a row for each format that a reader takes.

The table of docs/files.md and the sentence of a file that no reader of an option knows both come from here. A format is
told by content (`recognisers.py`), never by the file's name; names of files only break ties between two kinds of job
shops.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NoReturn

from . import recognisers
from .errors import InvalidWorkloadError
from .files import fail, read_text, shown

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
    "MOST_LOOK_UPS",
    "MOST_PROBLEMS",
    "MOST_REQUESTS",
    "MOST_TASKS",
    "READERS",
    "Format",
    "Reader",
    "destination",
    "format_of",
    "format_rows",
    "takes",
]

MOST_LAYERS = 100_000
MOST_BUFFERS = 2_000  # the space of priorities has as many parameters with as many values each
MOST_TASKS, MOST_EDGES, MOST_ELEMENTS = 5_000, 1_000_000, 64
MOST_PROBLEMS, MOST_ATTEMPTS = 100_000, 1_000_000
MOST_ACCESSES = 20_000  # of a program that is played
MOST_CLASSES = 200  # of requests
MOST_REQUESTS = 2_000_000  # of a trace
MOST_DEVICES = 16  # of a user's table
MOST_LOOK_UPS = 2_000_000  # of a log of routes


@dataclass(frozen=True)
class Reader:
    """What takes files of the same formats.

    Attributes:
        places: the options that do, (scenario, option) each, those of one name together.
        page: of the docs that says more.
        also: readers whose formats it takes too.
    """

    places: tuple[tuple[str, str], ...]
    page: str
    also: tuple[str, ...] = ()


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


def _at(option: str, *scenarios: str) -> tuple[tuple[str, str], ...]:
    return tuple((scenario, option) for scenario in scenarios)


READERS: Mapping[str, Reader] = {
    "workload": Reader(
        _at("workload", "AcceleratorSizing", "AcceleratorMapping", "AcceleratorDataflow", "AcceleratorTemplate"),
        "accelerator.md",
    ),
    "instance": Reader(_at("instance", "MemoryAllocation"), "memory_allocation.md"),
    "program": Reader(_at("program", "MemoryMapping"), "memory_mapping.md"),
    "graph": Reader(_at("graph", "SocSchedulingStatic"), "soc_scheduling.md"),
    "data": Reader(_at("data", "BatchBestOfN"), "batch_best_of_n.md"),
    "requests": Reader(
        _at("workload", "ServingMix", "ServingPlan", "ServingCluster"), "serving_mix.md", also=("trace",)
    ),
    "trace": Reader(_at("trace", "ServingStream", "ServingEngine"), "serving_stream.md"),
    "model": Reader(_at("model", "ServingPlan", "ServingMix", "MemoryTiers"), "serving_plan.md"),
    "devices": Reader((*_at("gpus", "ServingMix"), *_at("gpu", "ServingPlan", "MemoryTiers")), "serving_mix.md"),
    "routes": Reader(_at("routes", "ExpertCache"), "expert_cache.md"),
}


_TRACE_LIMITS = f"{MOST_REQUESTS:,} requests of up to 131,072 tokens; going back in time and holes of 600 s are refused"
FORMATS: Sequence[Format] = (
    Format(
        "workload",
        "a table of layers",
        "a header with layer and kind; kind is conv, gemm or attention; a padding, stride and dilation for each axis",
        "pixels and channels; sizes are without padding, outputs are rounded down",
        f"{MOST_LAYERS:,} rows; M, N, K up to 2^23; 2^44 multiply-accumulates",
        recognisers.is_own_layers,
    ),
    Format(
        "workload",
        "a SCALE-Sim topology of convolutions",
        "a header with IFMAP Height, ..., Num Filter, Strides (or two strides), and perhaps Batch Size",
        "pixels; sizes hold their padding, outputs are rounded up, as SCALE-Sim does; DP in a name makes it depthwise",
        "as a table of layers; a sparsity other than N:N is refused",
        recognisers.is_topology,
    ),
    Format(
        "workload",
        "a SCALE-Sim topology of matrix products",
        "a header with M, N, K: an M x K by K x N product a row",
        "elements",
        "as a table of layers; a sparsity other than N:N is refused",
        recognisers.is_gemm_topology,
    ),
    Format(
        "instance",
        "a table of buffers (MiniMalloc's)",
        "a header with id, lower, upper, size, or the older start and end; offset of a solution",
        "bytes; the capacity is in the file's name, NAME.CAPACITY.csv, or an option",
        f"{MOST_BUFFERS:,} buffers; 2^47 bytes; alignments, hints and gaps are refused",
        recognisers.is_buffers,
    ),
    Format(
        "program",
        "a traced program",
        "JSON lines: a program, then buffers and instructions, as `dsegym trace` writes them",
        "bytes, floating-point operations",
        f"{MOST_ACCESSES:,} accesses; 2^50 bytes and 1e24 operations each",
        recognisers.is_program,
    ),
    Format(
        "graph",
        "dsegym's task graph",
        'JSON with "format": "dsegym task graph 1", a platform, tasks and edges',
        "whole us; volumes over bandwidths are us",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges, {MOST_ELEMENTS} elements",
        recognisers.is_own_graph,
    ),
    Format(
        "graph",
        "a recorded workflow (WfFormat)",
        'JSON of WfCommons with "schemaVersion" 1.0 to 1.6 and a "workflow"',
        "s and bytes; elements and links are synthetic; long recordings count in a power of ten of us",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges",
        recognisers.is_workflow,
    ),
    Format(
        "graph",
        "a graph of the Standard Task Graph Set",
        "the number of tasks, then a line for each: number, time, how many predecessors, which",
        "us for the set's unit of time; 4 equal elements without communication, or platform=equal_P",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges",
        recognisers.is_task_graph_set,
    ),
    Format(
        "graph",
        "a job shop",
        "jobs and machines, then classic pairs, flexible operations, or Taillard's times and machines; lines may wrap",
        "us for the file's unit of time; machines from 0 or 1, as the whole file shows; data take no time",
        f"{MOST_TASKS:,} operations, {MOST_ELEMENTS} machines",
        recognisers.is_job_shop,
    ),
    Format(
        "graph",
        "a DOT graph",
        "digraph { a [weight=5]; a -> b [weight=3] }",
        "us: weights of nodes are run times, of edges the time between two elements; 4 equal ones, or platform=equal_P",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges",
        recognisers.is_dot,
    ),
    Format(
        "graph",
        "a TGFF file",
        "@TASK_GRAPH blocks with TASK and ARC, a table of times a type for each processing element",
        "us for the file's unit of time, in a power of ten of it; periods and deadlines are not modelled",
        f"{MOST_TASKS:,} tasks, {MOST_EDGES:,} edges, {MOST_ELEMENTS} elements",
        recognisers.is_tgff,
    ),
    Format(
        "data",
        "a table of outcomes",
        "a header with problem, attempts, successes (or num_correct, ...), perhaps tokens_right, tokens_wrong",
        "counts; mean tokens of a successful and of a failed attempt",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each",
        recognisers.is_counts,
    ),
    Format(
        "data",
        "a table of attempts",
        "a header with a problem (or task_id, question_id, ...) and a verdict (passed, correct, ...); a row an attempt",
        "verdicts true or false, 1 or 0, pass or fail; tokens, if there is such a column",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each",
        recognisers.is_attempt_table,
    ),
    Format(
        "data",
        "JSON lines of attempts",
        "an object an attempt: HumanEval's task_id and passed, lm-evaluation-harness's doc_id and exact_match or acc",
        "as a table of attempts",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each; 256 MiB",
        recognisers.is_attempt_lines,
    ),
    Format(
        "data",
        "an EvalPlus result",
        'JSON with "eval": {task: [{"base_status": "pass", "plus_status": "fail"}]}; an attempt passes both',
        "verdicts",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each; 256 MiB",
        recognisers.is_evalplus,
    ),
    Format(
        "data",
        "an Inspect log",
        'JSON with "samples": each an id, an epoch and one score of C, I, 1, 0, true or false',
        "verdicts",
        f"{MOST_PROBLEMS:,} problems, {MOST_ATTEMPTS:,} attempts each; 256 MiB",
        recognisers.is_inspect,
    ),
    Format(
        "requests",
        "a request histogram",
        "a header with prompt_tokens, output_tokens and requests; a row a class of about one size",
        "tokens and counts, or any shares of the requests; the rate is an option",
        f"{MOST_CLASSES} classes, 10,000,000 tokens a request",
        recognisers.is_request_sizes,
    ),
    Format(
        "trace",
        "a table of requests by arrival",
        "a header with arrival_s, prompt_tokens (or input_tokens) and output_tokens; a row a request",
        "s from any moment; other columns are not read",
        _TRACE_LIMITS,
        recognisers.is_requests_by_arrival,
    ),
    Format(
        "trace",
        "Azure's trace of a language model's requests",
        "a header with TIMESTAMP, ContextTokens, GeneratedTokens",
        "moments as 2023-11-16 18:15:46.68; or t_s, context_tokens, generated_tokens in s",
        _TRACE_LIMITS,
        recognisers.is_azure_trace,
    ),
    Format(
        "trace",
        "BurstGPT's trace",
        "a header with Timestamp, Model, Request tokens, Response tokens",
        "s; models are not told apart; failed requests, without response tokens, are refused",
        _TRACE_LIMITS,
        recognisers.has_columns("timestamp", "request tokens", "response tokens"),
    ),
    Format(
        "trace",
        "Mooncake's trace (JSON lines)",
        "an object a request: timestamp, input_length, output_length, hash_ids",
        "ms; hash_ids name blocks of 512 tokens by all that stands before them",
        _TRACE_LIMITS,
        recognisers.is_mooncake_trace,
    ),
    Format(
        "model",
        "a Hugging Face configuration",
        'the config.json of a causal language model: JSON with "model_type" and sizes',
        "numbers of layers, heads, experts, rows; windows and quantisation are not read",
        "35 types of models, docs/serving_plan.md lists them; others are refused",
        recognisers.is_configuration,
    ),
    Format(
        "devices",
        "a table of devices",
        "a header with device and any of bf16_tflops, fp8_tflops, int8_tops, fp4_tflops, memory_gb, bandwidth_gb_s, "
        "scale_up_gb_s, scale_out_gb_s, tdp_w, usd_per_h",
        "as the names say, 10^9 bytes a GB; dense peaks, links in one direction; a known device keeps what is left out",
        f"{MOST_DEVICES} devices",
        recognisers.has_columns("device"),
    ),
    Format(
        "routes",
        "a log of routes to experts (BigMoeOnEdge's route_trace v1)",
        "comments with n_layer, n_expert, n_expert_used, expert_bytes; a header with step, layer, expert, perhaps "
        "turn, phase, slot, weight; a row a look-up; gzip's files are unpacked",
        "bytes of an expert at 4 bits; phase 0 is the prompt, 1 is decoded",
        f"{MOST_LOOK_UPS:,} look-ups; 64 MiB; unknown experts and layers are refused",
        recognisers.is_routes,
    ),
)

# Formats of the field that no reader takes. Those of `_TABLED` become tables of layers.
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


_TABLED = ("a Timeloop problem (YAML)", "a workload of ZigZag (YAML)")


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
    own = _formats_of(reader)
    try:
        found = next((each for each in own if each.matches(text)), None)
        if found is None:
            guess = (by_suffix or {}).get(Path(path).suffix.lower())
            found = next((each for each in own if each.name == guess and not _looks_known(text)), None)
        if found is None:
            _refuse(path, text, reader)
        return found
    finally:
        recognisers.leading_object.cache_clear()


def takes(reader: str, form: Format) -> bool:
    """Whether a reader, a key of `READERS`, takes files of a format."""
    return form.reader in (reader, *READERS[reader].also)


def destination(path: str, reads: Mapping[str, str]) -> str:
    """Where a user's file goes that was given to an option that takes none, in a sentence; empty where that is unknown.

    Args:
        path: of an existing file.
        reads: {option that takes files: key of `READERS`}, of the scenario.
    """
    try:
        text = read_text(path)
        found = next((each for each in FORMATS if each.matches(text)), None)
    except InvalidWorkloadError:  # no text, or too much of it
        found = None
    finally:
        recognisers.leading_object.cache_clear()
    if found is None:
        return f"Files go to {_options_in_words(tuple(reads))}." if reads else ""
    own = tuple(option for option, reader in reads.items() if takes(reader, found))
    if own:
        return f"{shown(path)} looks like {found.name}: such files go to {_options_in_words(own)}."
    return f"{shown(path)} looks like {found.name}, which is for the option {_places_in_words(_readers_of(found))}."


def _options_in_words(names: Sequence[str]) -> str:
    return f"the option{'s' * (len(names) > 1)} {', '.join(names)}"


def _readers_of(form: Format) -> list[Reader]:
    """Every reader of a format, its own first."""
    return [READERS[form.reader], *(each for key, each in READERS.items() if key != form.reader and takes(key, form))]


def _places_in_words(readers: Sequence[Reader], quote: str = "") -> str:
    """As in "trace of A and B, and workload of C"."""
    groups = []
    for option, places in itertools.groupby((each for reader in readers for each in reader.places), itemgetter(1)):
        *others, last = (scenario for scenario, _ in places)
        groups.append(f"{quote}{option}{quote} of {', '.join(others)}{' and ' * bool(others)}{last}")
    return ", and ".join(groups)


def _formats_of(reader: str) -> list[Format]:
    return [each for each in FORMATS if takes(reader, each)]


def _looks_known(text: str) -> bool:
    foreign = any(name != "JSON" and matches(text) for name, matches in _FOREIGN)
    return foreign or any(each.matches(text) for each in FORMATS)


def _refuse(path: str | Path, text: str, reader: str) -> NoReturn:
    own = _formats_of(reader)
    taken = ", ".join(each.name for each in own)
    other = next((each for each in FORMATS if each.matches(text)), None)
    foreign = next((name for name, matches in _FOREIGN if matches(text)), "")
    if other is not None:
        looks = f"this looks like {other.name}, which is for the option {_places_in_words(_readers_of(other))}"
    else:
        looks = f"this looks like {foreign}" if foreign else "it is in no format that is known here"
        if reader == "workload" and foreign in _TABLED:
            looks += ", which `dsegym workload` writes as a table"
    fail(path, f"{looks}; as {_places_in_words([READERS[reader]])}, dsegym reads {taken} (docs/files.md)")


def format_rows() -> list[dict[str, str]]:
    """The table of docs/files.md."""
    return [
        {
            "option": _places_in_words(_readers_of(each), quote="`"),
            "format": each.name,
            "content": each.content,
            "units": each.units,
            "limits": each.limits,
        }
        for each in FORMATS
    ]
