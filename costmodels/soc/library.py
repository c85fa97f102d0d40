"""The library: task graphs, platforms and mixes of jobs, by name. Figures: tables/; whose they are: SOURCES.md.

Beside the names of the tables, `random_30_3_ccr1_s1` and `rows_3_20_s1` name generated graphs (`generator.py`), a path
names a file of the user's (`files.py`), `bal_mmM_fftF_vitV` a platform of 4 A7 and 4 A15 cores with M accelerators for
matrices, F for Fourier transforms and V Viterbi decoders, and `equal_P` P equal elements for a file that has none.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DsegymError, InvalidWorkloadError, UnknownNameError
from ..files import is_path, shown
from ..formats import MOST_ELEMENTS
from ..tables import package_rows
from . import files, generator
from .graph import Task, TaskGraph, task_graph
from .instance import Instance, bind
from .platform import Cluster, Platform
from .power import BASE_W, operating_points

__all__ = [
    "CORE_GRAPHS",
    "MIXES",
    "OWN",
    "Mix",
    "equal_elements_of",
    "get_graph",
    "get_instance",
    "get_mix",
    "get_platform",
    "graph_names",
    "home_platform",
    "is_generated_name",
    "is_graph_file",
    "is_platform_name",
    "mix_name",
    "mix_rows",
    "platform_names",
    "source_notes",
]

OWN = "own"  # the platform that belongs to a graph
MOST_ACCELERATORS = 16  # of a kind
_EQUAL = re.compile(r"equal_([1-9][0-9]?)")
_BAL = re.compile(r"bal_mm(0|[1-9][0-9]?)_fft(0|[1-9][0-9]?)_vit(0|[1-9][0-9]?)")
_CORES = {"A7": 4, "A15": 4}
_ACCELERATORS = {"MM": 2, "FFT": 4, "VIT": 2}  # of multiple_bal
_FAST, _SLOW = 1000, 10  # volume per us; the slow links are those between FFT and _SLOW_TO_FFT
_SLOW_TO_FFT = ("A7", "A15", "MM")
_SOURCE = (
    "DS3 (Arda et al., IEEE Transactions on Computers 69(8), 2020): platform profiles and power of an Odroid-XU3; "
    "re-encoded figures"
)


def graph_names() -> tuple[str, ...]:
    """The graphs of the package."""
    return tuple(row["graph"] for row in package_rows("soc/tables/graphs.csv"))


def platform_names() -> tuple[str, ...]:
    """The platforms of the package; `is_platform_name` knows the family bal_mmM_fftF_vitV as well."""
    return tuple(_PLATFORMS)


def is_generated_name(value: str) -> bool:
    """Whether it names a graph that is generated, together with its platform."""
    return generator.is_generated_name(value)


def is_graph_file(value: str) -> bool:
    """Whether it is the path of a user's file: no name, and there, or with a folder or a suffix."""
    return value not in graph_names() and not is_generated_name(value) and is_path(value)


def equal_elements_of(platform: str) -> int | None:
    """How many equal elements a name equal_P asks for, of a file that has none; None for other names."""
    match = _EQUAL.fullmatch(platform)
    return int(match[1]) if match and int(match[1]) <= MOST_ELEMENTS else None


def is_platform_name(value: str) -> bool:
    """Whether `get_platform` knows it, or a file without elements can be scheduled on it."""
    return value in _PLATFORMS or _accelerators(value) is not None or equal_elements_of(value) is not None


def home_platform(graph_name: str) -> str:
    """The platform on which a graph of the package is scheduled by default; `OWN` for a graph that brings its own.

    Raises:
        UnknownNameError: there is no such graph.
    """
    if _brings_its_own(graph_name):
        return OWN
    return _graph_row(graph_name)["platform"]


def get_graph(name: str) -> TaskGraph:
    """A graph of the package, a generated one, or that of a user's file.

    Raises:
        UnknownNameError: there is no such graph.
        InvalidWorkloadError: a file that cannot be read.
    """
    return _own(name)[0] if _brings_its_own(name) else _graph_of_table(name)


def get_platform(name: str) -> Platform:
    """A platform by name.

    Raises:
        UnknownNameError: there is no such platform.
    """
    if name in _PLATFORMS:
        return _PLATFORMS[name]()
    counts = _accelerators(name)
    if counts is None:
        raise UnknownNameError("platform", name, (*platform_names(), "bal_mmM_fftF_vitV"))
    return _balanced(name, counts)


def get_instance(graph: str, platform: str = OWN, levels: tuple[int, ...] | None = None) -> Instance:
    """A graph on a platform.

    Args:
        graph: the name of one of the package's graphs or of a generated one, or a user's file.
        platform: a name, or `OWN` for the one that belongs to the graph.
        levels: an operating point for each cluster; the highest where left out.

    Raises:
        UnknownNameError: there is no such graph or platform.
        DsegymError: a platform by name for a graph that brings its own.
        InvalidWorkloadError: a file that cannot be read, or a graph that the platform cannot run.
    """
    if not _brings_its_own(graph):
        return bind(get_graph(graph), get_platform(home_platform(graph) if platform == OWN else platform), levels)
    elements = equal_elements_of(platform)
    if platform != OWN and (elements is None or is_generated_name(graph)):
        raise DsegymError(
            f"Graph '{shown(graph)}' brings its own platform; platform is '{platform}', allowed is '{OWN}'."
        )
    try:
        return bind(*_own(graph, elements), levels)
    except InvalidWorkloadError as error:
        place = "" if str(error).startswith(shown(graph)) else f"{shown(graph)}: "
        raise InvalidWorkloadError(f"{place}{error}") from None


def source_notes(instances: Sequence[Instance]) -> tuple[str, ...]:
    """Whose figures graphs and their platform are, a sentence each."""
    sources = [*(instance.graph.source for instance in instances), instances[0].platform.source]
    return tuple(f"{source.rstrip('.')}." for source in dict.fromkeys(sources) if source)


def _brings_its_own(graph: str) -> bool:
    return is_generated_name(graph) or is_graph_file(graph)


def _own(graph: str, elements: int | None = None) -> tuple[TaskGraph, Platform]:
    return generator.generate(graph) if is_generated_name(graph) else files.load_graph_file(Path(graph), elements)


def _graph_row(name: str) -> Mapping[str, str]:
    row = next((row for row in package_rows("soc/tables/graphs.csv") if row["graph"] == name), None)
    if row is None:
        raise UnknownNameError("graph", name, graph_names())
    return row


@functools.cache
def _graph_of_table(name: str) -> TaskGraph:
    source = _graph_row(name)["source"]
    tasks = [Task(row["task"], row["kernel"]) for row in package_rows("soc/tables/tasks.csv") if row["graph"] == name]
    place = {task.name: i for i, task in enumerate(tasks)}
    edges = [
        (place[row["source"]], place[row["target"]], int(row["volume"]))
        for row in package_rows("soc/tables/edges.csv")
        if row["graph"] == name
    ]
    return task_graph(name, tasks, edges, source)


def _run_times(table: str, clusters: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """{kernel: {cluster: us}} of a table of run times, of these clusters."""
    return {
        row["kernel"]: {c: int(row[c]) for c in clusters if row[c]} for row in package_rows(f"soc/tables/{table}.csv")
    }


def _paper(name: str, source: str) -> Platform:
    """Three different elements, each a cluster of its own, whose power is unknown."""
    names = ("P1", "P2", "P3")
    return Platform(
        name, tuple(Cluster(each, 1) for each in names), _run_times(f"run_times_{name}", names), source=source
    )


def _balanced(name: str, accelerators: Mapping[str, int], other_times: str = "") -> Platform:
    """Cores and accelerators; clusters without elements are left out.

    Args:
        name: of the platform.
        accelerators: how many of each kind.
        other_times: a table of run times that differ on this platform.
    """
    counts = {kind: count for kind, count in {**_CORES, **accelerators}.items() if count}
    run_times = _run_times("run_times_ds3", tuple(counts))
    if other_times:
        run_times |= _run_times(other_times, tuple(counts))
    slow = {(kind, "FFT"): _SLOW for kind in _SLOW_TO_FFT if {kind, "FFT"} <= counts.keys()}
    return Platform(
        name,
        tuple(Cluster(kind, count, operating_points(kind, count)) for kind, count in counts.items()),
        {kernel: times for kernel, times in run_times.items() if times},
        slow,
        default_bandwidth=_FAST,
        base_w=BASE_W,
        source=_SOURCE,
    )


def _accelerators(name: str) -> dict[str, int] | None:
    """How many of each kind a name of the family bal_mmM_fftF_vitV asks for; None for other names."""
    match = _BAL.fullmatch(name)
    counts = [int(count) for count in match.groups()] if match else []
    if not counts or max(counts) > MOST_ACCELERATORS:
        return None
    return dict(zip(_ACCELERATORS, counts, strict=True))


_PLATFORMS = {
    "top": functools.cache(
        lambda: _paper("top", "Topcuoglu, Hariri and Wu (IEEE TPDS 13(3), 2002); EpiSci/SoCRATES (gym_ds3; MIT)")
    ),
    "peft": functools.cache(lambda: _paper("peft", "Arabnejad and Barbosa (IEEE TPDS 25(3), 2014)")),
    "multiple_bal": functools.cache(lambda: _balanced("multiple_bal", _ACCELERATORS)),
    "bal_only": functools.cache(lambda: _balanced("bal_only", {}, "run_times_bal_only")),
}
CORE_GRAPHS = graph_names()


@dataclass(frozen=True)
class Mix:
    """Jobs that arrive at random."""

    graphs: tuple[str, ...]  # all on one platform
    probabilities: tuple[float, ...]  # of each graph; they sum to 1
    platform: str
    mean_interval_us: int  # us between arrivals, by default
    queue: int  # jobs in the system at most, by default
    summary: str


_TEN = tuple(f"top{i}" for i in range(1, 11))
# 250 us is one of the intervals that DS3 was run at: good schedulers keep up with its WiFi mix, poor ones do not.
MIXES: Mapping[str, Mix] = {
    "top": Mix(_TEN, (0.1,) * 10, "top", 25, 3, "the ten graphs of gym_ds3 in equal shares, with its defaults"),
    "top1": Mix(("top1",), (1.0,), "top", 25, 3, "Topcuoglu's graph alone, with the defaults of gym_ds3"),
    "wifi": Mix(
        ("wifi_tx", "wifi_rx"), (0.8, 0.2), "multiple_bal", 250, 12, "mostly transmitting; DS3 paper, Fig. 12, mix b"
    ),
    "wifi_rx": Mix(
        ("wifi_tx", "wifi_rx"), (0.2, 0.8), "multiple_bal", 250, 12, "mostly receiving; DS3 paper, Fig. 12, mix a"
    ),
    "radar": Mix(
        ("range_detection", "pulse_doppler"),
        (0.8, 0.2),
        "multiple_bal",
        250,
        12,
        "DS3 paper, Fig. 12, mix c; pulse_doppler is a reconstruction",
    ),
    "all": Mix(
        ("wifi_tx", "wifi_rx", "range_detection", "pulse_doppler"),
        (0.3, 0.3, 0.3, 0.1),
        "multiple_bal",
        250,
        12,
        "DS3 paper, Fig. 12, mix d; pulse_doppler is a reconstruction",
    ),
    "single_carrier": Mix(
        ("sct", "scr"), (0.5, 0.5), "multiple_bal", 250, 12, "DS3's single-carrier jobs in equal shares (ours)"
    ),
}


_DEFAULTS = {"multiple_bal": (250, 12)}  # interval in us and queue on a platform, as DS3 has them
_GYM_DS3 = (25, 3)
_SHARE = re.compile(r"([a-z0-9_]+):([1-9][0-9]{0,2})")


def get_mix(name: str) -> Mix:
    """A mix of the package, or one that is spelled out, as `wifi_tx:3+wifi_rx:1`: graphs on one platform, and shares.

    Raises:
        ValueError: it is neither.
    """
    if name in MIXES:
        return MIXES[name]
    shares = _shares(name)
    platform = home_platform(next(iter(shares)))
    total = sum(shares.values())
    probabilities = tuple(share / total for share in shares.values())
    return Mix(tuple(shares), probabilities, platform, *_DEFAULTS.get(platform, _GYM_DS3), "spelled out")


def mix_name(name: str) -> str:
    """The one text of a mix: as it is named, or graphs in the order of the tables and shares in lowest terms.

    Raises:
        ValueError: there is no such mix.
    """
    return name if name in MIXES else "+".join(f"{graph}:{share}" for graph, share in _shares(name).items())


def _shares(name: str) -> dict[str, int]:
    """{graph: share} of a mix that is spelled out."""
    found = [_SHARE.fullmatch(part) for part in name.split("+")]
    pairs = {match[1]: int(match[2]) for match in found if match}
    if len(pairs) < len(found) or not pairs.keys() <= set(graph_names()) or len(set(map(home_platform, pairs))) > 1:
        raise ValueError(name)
    divisor = math.gcd(*pairs.values())
    return {graph: pairs[graph] // divisor for graph in graph_names() if graph in pairs}


def mix_rows() -> list[dict[str, object]]:
    """The mixes of jobs, a row each, for people."""
    return [
        {
            "jobs": name,
            "graphs": ", ".join(f"{graph} {p:g}" for graph, p in zip(mix.graphs, mix.probabilities, strict=True)),
            "platform": mix.platform,
            "interval (us)": mix.mean_interval_us,
            "queue": mix.queue,
        }
        for name, mix in MIXES.items()
    ]
