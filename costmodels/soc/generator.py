"""Seeded synthetic instances, regenerated from their names: a task graph and the platform that it brings.

| name | what | what is known |
|---|---|---|
| `random_N_P_ccrC_sSEED` | a layered graph of N tasks on P unrelated elements | nothing |
| `random_N_P_ccrC_sSEED_wW` | the same, with layers W times as wide (and so fewer of them) | nothing |
| `random_N_P_ccrC_sSEED_hH` | the same, with elements of heterogeneity H, 0 to 2; both: `_wW_hH` | nothing |
| `rows_P_N_sSEED` | P full rows of one length, cut into N tasks; data take no time | the optimum: the row's length |

`random`, after Topcuoglu et al. (2002): one head, one tail, at most `MOST_PREDECESSORS` predecessors of a task. C is
the mean volume over the mean run time; two different elements exchange one unit of volume per us, so it is the ratio of
communication to computation. Of the paper's generator we keep the layers (their width uniform, W sqrt(N) on average),
the mean run time of a task (uniform, up to twice the graph's) and the heterogeneity (an element's time uniform within
+-H / 2 of the task's, `HETEROGENEITY` where the name has none); its out-degree is replaced by the bound on
predecessors. Edges may skip layers.
Layers narrow towards the tail, to a third at most from one to the next, so that the bound holds.

`rows`: no element runs a task faster than that of its row; others take up to twice as long. The precedences, at most
`MOST_PREDECESSORS` of a task, agree with the rows. The order of the tasks tells nothing of the rows.

Names that differ in nothing but C have the same graph and run times, with other volumes; those that differ in nothing
but H the same graph and volumes, with other run times.

Source: H. Topcuoglu, S. Hariri, M.-Y. Wu, IEEE TPDS 13(3), 2002, section 5.2. All figures are synthetic.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence

import numpy as np

from ..errors import DsegymError
from .graph import Task, TaskGraph, task_graph
from .platform import Cluster, Platform

__all__ = [
    "MOST_PREDECESSORS",
    "generate",
    "is_generated_name",
    "known_optimum_instance",
    "random_graph_and_platform",
]

FEWEST_TASKS, MOST_TASKS = 2, 500
MOST_ELEMENTS = 32
MOST_PREDECESSORS = 3  # predecessors of a task; so many a simulator gathers in one step, and DS3's graphs have few
MEAN_RUN_TIME_US = 50  # mean run time of a random graph's tasks
HETEROGENEITY = 1.0  # the paper's beta: an element's times lie within +-50 % of the task's mean
EXTRA_PREDECESSORS = (0.5, 0.3, 0.2)  # probability of 0, 1, 2 edges beside those that the layers need
LARGEST_CCR, LARGEST_WIDTH, LARGEST_HETEROGENEITY = 100.0, 10.0, 2.0
ROW_US_PER_TASK = 50  # mean length of a piece of a row

_WHOLE, _DECIMAL = r"0|[1-9][0-9]*", r"(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?"
_SEED = r"s(?P<seed>0|[1-9][0-9]{0,8})"
_RANDOM = re.compile(rf"random_(?P<tasks>{_WHOLE})_(?P<elements>{_WHOLE})_ccr(?P<ccr>{_DECIMAL})_{_SEED}"
                     rf"(?:_w(?P<width>{_DECIMAL}))?(?:_h(?P<heterogeneity>{_DECIMAL}))?")  # fmt: skip
_ROWS = re.compile(rf"rows_(?P<elements>{_WHOLE})_(?P<tasks>{_WHOLE})_{_SEED}")


def is_generated_name(name: str) -> bool:
    """Whether a name has the form of a generated instance's; `generate` says whether its numbers are allowed."""
    return bool(_RANDOM.fullmatch(name) or _ROWS.fullmatch(name))


@functools.lru_cache(maxsize=64)
def generate(name: str) -> tuple[TaskGraph, Platform]:
    """The graph and the platform of a name for which `is_generated_name` holds.

    Raises:
        DsegymError: not such a name, or numbers out of range.
    """
    return known_optimum_instance(name)[:2] if _ROWS.fullmatch(name) else random_graph_and_platform(name)


def random_graph_and_platform(name: str) -> tuple[TaskGraph, Platform]:
    """A random layered graph with one head and one tail, and its platform.

    Args:
        name: `random_{tasks}_{elements}_ccr{CCR}_s{SEED}`, at will with `_w{WIDTH}` (1 where left out) and
            `_h{HETEROGENEITY}`.

    Raises:
        DsegymError: another name, or numbers out of range.
    """
    count, elements, seed, match = _parse(_RANDOM, name)
    ccr, width = float(match["ccr"]), float(match["width"] or 1)
    beta = float(match["heterogeneity"] or HETEROGENEITY)
    if ccr > LARGEST_CCR or not 0 < width <= LARGEST_WIDTH or beta > LARGEST_HETEROGENEITY:
        raise DsegymError(
            f"Graph '{name}': the ratio of communication to computation is 0 to {LARGEST_CCR:g}, the width above 0 "
            f"and up to {LARGEST_WIDTH:g}, and the heterogeneity 0 to {LARGEST_HETEROGENEITY:g}."
        )
    rng = np.random.default_rng(seed)
    pairs = _layered_edges(rng, _layers(rng, count, width))
    mean = rng.uniform(0.0, 2.0 * MEAN_RUN_TIME_US, count)
    spread = rng.uniform(1.0 - beta / 2.0, 1.0 + beta / 2.0, (count, elements))
    times = np.maximum(np.rint(mean[:, None] * spread), 1).astype(int)
    volumes = rng.integers(0, round(2.0 * ccr * MEAN_RUN_TIME_US), len(pairs), endpoint=True).tolist()
    edges = [(s, t, volume) for (s, t), volume in zip(pairs, volumes, strict=True)]
    source = "synthetic: a random layered graph after Topcuoglu, Hariri and Wu (2002)"
    return _with_platform(name, range(count), times, edges, source)


def known_optimum_instance(name: str) -> tuple[TaskGraph, Platform, int]:
    """An instance whose optimum is known: full rows of one length, cut into tasks.

    No schedule is shorter than the row: the least run times add up to as many rows as there are elements.

    Args:
        name: `rows_{elements}_{tasks}_s{SEED}`; at least as many tasks as elements.

    Returns:
        The graph, its platform, and the optimal makespan in us.

    Raises:
        DsegymError: another name, or numbers out of range.
    """
    count, elements, seed, _ = _parse(_ROWS, name)
    if count < elements:
        raise DsegymError(f"Graph '{name}' has {count} tasks for {elements} rows; at least one a row is needed.")
    rng = np.random.default_rng(seed)
    length = ROW_US_PER_TASK * -(-count // elements)
    pieces = []  # (start, end, row)
    for row in range(elements):
        parts = count // elements + (row < count % elements)
        cuts = [0, *sorted((1 + rng.choice(length - 1, parts - 1, replace=False)).tolist()), length]
        pieces += [(start, end, row) for start, end in itertools.pairwise(cuts)]
    pieces = [pieces[i] for i in rng.permutation(count)]
    times = np.empty((count, elements), int)
    edges = []
    for i, (start, end, row) in enumerate(pieces):
        own = end - start
        times[i] = own + rng.integers(0, own, elements, endpoint=True)
        times[i, row] = own
        before = [j for j, piece in enumerate(pieces) if piece[1] <= start]
        wanted = min(int(rng.integers(0, MOST_PREDECESSORS, endpoint=True)), len(before))
        edges += [(int(j), i, 0) for j in rng.choice(before, wanted, replace=False)] if wanted else []
    source = "synthetic: full rows cut into tasks, so that the row's length is optimal"
    return (*_with_platform(name, range(count), times, edges, source), length)


def _parse(pattern: re.Pattern[str], name: str) -> tuple[int, int, int, re.Match[str]]:
    """Tasks, elements and seed of a name."""
    match = pattern.fullmatch(name)
    if match is None:
        raise DsegymError(
            f"'{name}' is not the name of a generated graph; "
            "such are random_30_3_ccr1_s1, random_30_3_ccr0.1_s1_w2 and rows_3_20_s1."
        )
    tasks, elements, seed = int(match["tasks"]), int(match["elements"]), int(match["seed"])
    if not (FEWEST_TASKS <= tasks <= MOST_TASKS and 1 <= elements <= MOST_ELEMENTS):
        raise DsegymError(
            f"Graph '{name}' has {tasks} tasks on {elements} elements; {FEWEST_TASKS} to {MOST_TASKS} tasks and 1 to "
            f"{MOST_ELEMENTS} elements are allowed."
        )
    return tasks, elements, seed, match


def _layers(rng: np.random.Generator, count: int, width: float) -> list[int]:
    """The widths of the layers from the head to the tail.

    Drawn from the tail, so that no layer is wider than the one behind it has room for.
    """
    widest = max(1, round(2.0 * width * count**0.5) - 1)
    layers, remaining = [1], count - 2  # from the tail
    while remaining:
        layer = min(int(rng.integers(1, widest, endpoint=True)), MOST_PREDECESSORS * layers[-1], remaining)
        layers.append(layer)
        remaining -= layer
    return [1, *reversed(layers)]


def _layered_edges(rng: np.random.Generator, layers: Sequence[int]) -> list[tuple[int, int]]:
    """(source, target), ascending by target: every task has a predecessor in the layer before it, and one behind it."""
    ends = np.cumsum(layers)
    found: list[set[int]] = [set() for _ in range(int(ends[-1]))]
    for here, behind, start in zip(layers, layers[1:], [0, *ends.tolist()], strict=False):
        sources, targets = start + rng.permutation(here), start + here + rng.permutation(behind)
        # Both are used up in turn, so that all of the wider layer are met and none of the narrower more than it must.
        for k in range(max(here, behind)):
            found[targets[k % behind]].add(int(sources[k % here]))
    for target in range(1, len(found)):
        extra = int(rng.choice(len(EXTRA_PREDECESSORS), p=EXTRA_PREDECESSORS))
        layer_start = int(ends[np.searchsorted(ends, target, side="right") - 1])
        others = [i for i in range(layer_start) if i not in found[target]]
        extra = min(extra, MOST_PREDECESSORS - len(found[target]), len(others))
        found[target].update(int(i) for i in rng.choice(others, extra, replace=False)) if extra else None
    return [(source, target) for target, sources in enumerate(found) for source in sorted(sources)]


def _with_platform(
    name: str, tasks: Sequence[int], times: np.ndarray, edges: Sequence[tuple[int, int, int]], source: str
) -> tuple[TaskGraph, Platform]:
    """The graph whose task i has the kernel ti, and a platform of single elements with these times, int[N, P]."""
    names = [f"P{p + 1}" for p in range(times.shape[1])]
    run_times = {f"t{i}": dict(zip(names, map(int, times[i]), strict=True)) for i in tasks}
    platform = Platform(name, tuple(Cluster(each, 1) for each in names), run_times, source=source)
    return task_graph(name, [Task(f"t{i}", f"t{i}") for i in tasks], edges, source), platform
