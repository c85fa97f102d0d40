"""Instances and traces for the tests of SoC scheduling: by hand, and at random from a seed."""

import numpy as np

from dsegym.costmodels.soc.graph import Task, task_graph
from dsegym.costmodels.soc.instance import bind
from dsegym.costmodels.soc.platform import Cluster, OperatingPoint, Platform

ONE = 1024  # a factor that leaves the run time as it is


def small_instance(times, edges=(), *, clusters=None, bandwidth=1, name="by_hand"):
    """An instance by hand: on P elements, each a cluster of its own unless `clusters` says otherwise.

    Args:
        times: [N][C], us; None where the cluster cannot run the task.
        edges: (source, target, volume); the volume is the time between two different elements if the bandwidth is 1.
        clusters: the number of elements of each.
        bandwidth: volume per us between two different elements.
        name: of the graph.
    """
    return small_instances([(times, edges)], clusters=clusters, bandwidth=bandwidth, name=name)[0]


def small_instances(graphs, *, clusters=None, bandwidth=1, name="by_hand"):
    """Several graphs (times, edges) by hand on one platform; see `small_instance`.

    An element draws 1 W of leakage; a cluster c with n busy elements draws 10 (c + 1) n W more.
    """
    clusters = clusters or [1] * len(graphs[0][0][0])
    parts = tuple(
        Cluster(f"c{c}", count, (OperatingPoint(1000, 1000, 1.0, tuple(10.0 * (c + 1) * n for n in range(count + 1))),))
        for c, count in enumerate(clusters)
    )
    run_times = {
        f"g{g}k{i}": {f"c{c}": time for c, time in enumerate(row) if time is not None}
        for g, (times, _) in enumerate(graphs)
        for i, row in enumerate(times)
    }
    platform = Platform(name, parts, run_times, default_bandwidth=bandwidth)
    return [
        bind(task_graph(name, [Task(f"t{i}", f"g{g}k{i}") for i in range(len(times))], edges), platform)
        for g, (times, edges) in enumerate(graphs)
    ]


def random_edges(rng, tasks, volume):
    """Edges of a graph with one head, 0, and one tail, the last task: (source, target, volume)."""
    found = set()
    for j in range(1, tasks):
        latest = max(1, j - int(rng.integers(0, 4)))  # chains, forks, and whatever lies between
        for i in rng.integers(0, latest, size=int(rng.integers(1, 4))):
            found.add((int(i), j))
    with_successor = {i for i, _ in found}
    found |= {(i, tasks - 1) for i in range(tasks - 1) if i not in with_successor}
    return [(i, j, volume()) for i, j in sorted(found)]


def random_instances(rng, graphs=1, *, tasks=(1, 15), shape=None, slow=True, kept=1.0):
    """Random graphs on one random platform, all that the rules know: elements that cannot run a task, clusters of
    several elements, edges that take no time, tasks that take no time, operating points, many ties.

    Args:
        rng: a NumPy generator.
        graphs: how many.
        tasks: the least and the largest number of tasks of a graph.
        shape: (elements of each cluster, ...) where it matters; random where left out.
        slow: whether clusters may run below their highest frequency.
        kept: share of the edges that are kept; 1 for graphs of one head and one tail, as streams need them.
    """
    shape = tuple(int(n) for n in rng.integers(1, 4, size=rng.integers(1, 5))) if shape is None else shape
    clusters = tuple(_random_cluster(rng, f"c{c}", count) for c, count in enumerate(shape))
    names = [cluster.name for cluster in clusters]
    longest = int(rng.choice([3, 12, 100]))  # short ones tie often
    run_times = {}
    drawn = []
    for g in range(graphs):
        size = int(rng.integers(tasks[0], tasks[1] + 1))
        for i in range(size):
            able = [name for name in names if rng.random() < 0.75] or [str(rng.choice(names))]
            free = rng.random() < 0.1
            run_times[f"g{g}k{i}"] = {name: 0 if free else int(rng.integers(0, longest + 1)) for name in able}
        drawn.append((f"g{g}", size))
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i:] if rng.random() < 0.5]
    platform = Platform(
        "random",
        clusters,
        run_times,
        {pair: int(rng.integers(1, 11)) for pair in pairs},
        default_bandwidth=int(rng.integers(1, 4)),
        self_bandwidth=int(rng.choice([40, 10_000])),
    )
    levels = tuple(
        int(rng.integers(len(c.operating_points))) if slow else len(c.operating_points) - 1 for c in clusters
    )
    largest = int(rng.choice([1, 20, 200]))
    return [
        bind(
            task_graph(
                name,
                [Task(f"t{i}", f"{name}k{i}") for i in range(size)],
                [e for e in random_edges(rng, size, lambda: int(rng.integers(0, largest + 1))) if rng.random() < kept],
            ),
            platform,
            levels,
        )
        for name, size in drawn
    ]


def _random_cluster(rng, name, elements):
    frequencies = sorted({int(f) for f in rng.choice([600, 800, 1000, 1400], size=3)})
    return Cluster(
        name,
        elements,
        tuple(
            OperatingPoint(
                frequency,
                1000,
                float(rng.uniform(0.0, 0.2)),
                (0.0, *np.cumsum(rng.uniform(0.0, 1.0, size=elements)).tolist()),
            )
            for frequency in frequencies
        ),
    )


def random_trace(rng, instances, jobs, mean_interval_us, noise=0.0):
    """Jobs of random types, as the rules have it: {"arrival_us", "kind", "factor"}, the fields of a trace.

    Args:
        rng: a NumPy generator.
        instances: one for each type of job.
        jobs: A.
        mean_interval_us: between arrivals; 0 for jobs that all arrive at 0.
        noise: standard deviation of the run times, relative.
    """
    gaps = (
        rng.exponential(mean_interval_us, size=max(jobs - 1, 0)).astype(int) if mean_interval_us else [0] * (jobs - 1)
    )
    z = np.clip(rng.standard_normal((jobs, max(map(len, instances)))), -3, 3)
    return {
        "arrival_us": np.cumsum([0, *gaps]),
        "kind": rng.integers(0, len(instances), size=jobs),
        "factor": np.maximum(np.rint(ONE * (1 + noise * z)), 0).astype(int),
    }


def plain_trace(instances, arrival_us, kind=None):
    """Jobs that arrive at given times and take their tabled run times; see `random_trace`."""
    size = (len(arrival_us), max(map(len, instances)))
    kinds = np.zeros(size[0], int) if kind is None else np.array(kind)
    return {"arrival_us": np.array(arrival_us), "kind": kinds, "factor": np.full(size, ONE)}
