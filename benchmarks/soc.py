"""SoC scheduling: static schedules, streaming decisions and environment steps a second; ratios to plain Python.

Plain Python is the tests' oracle, `tests/oracles/soc_oracle.py`, on the same designs and traces in the same run. XLA
keeps about one core busy with loops as small as these, so `two threads` has two Python threads call the same compiled
function, each with half of every batch; JAX releases the interpreter's lock meanwhile. The goals are for two cores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from timing import load_oracle, median_seconds, report

from dsegym.costmodels.soc import model, rules, simulator
from dsegym.costmodels.soc.instance import Instance
from dsegym.costmodels.soc.library import MIXES, get_instance
from dsegym.costmodels.soc.traces import draw_traces

STATIC = {"top1": "1.5 million", "random_100_16_ccr1_s1": "150 thousand"}  # graph: goal at batch 256
STATIC_BATCHES, STREAM_BATCHES, WIFI_BATCHES = (1, 64, 256, 1024), (1, 64, 256, 1024), (16, 256)
IN_TWO = 256  # the batch that is also played in two threads
CALLS = 10  # in a row in each thread
STEPS = 100  # of an environment

SCHEDULERS: dict[str, Callable[..., Any]] = {
    "order and element": lambda a, ranks, order, elements: model.schedule(
        a, a.run_time[0], model.effective_order(a, ranks), elements
    ),
    "order given": lambda a, ranks, order, elements: model.schedule(a, a.run_time[0], order, elements),
    "earliest finish": lambda a, ranks, order, elements: model.schedule_earliest(
        a, a.run_time[0], model.effective_order(a, ranks)
    ),
}
# EFT's weights; weights are arguments of the program, so others take the same time.
WEIGHTS = rules.Weights(*(np.array([row], np.int32) for row in (0, [0] * 6, [1, 0, 0, 0, 0, 0])))


def rates(label: str, run: Callable[..., Any], inputs: Any, batches: Sequence[int], **how: Any) -> None:
    """Reports how many things a second a compiled function does, one call at a time and in two threads.

    Args:
        label: what is measured.
        run: of arrays with a leading axis B.
        inputs: a pytree, leaves with a leading axis as long as the largest batch.
        batches: B.
        how: `calls` in a row in each thread; `repeats`, of which the median counts; `plain`, how many a second plain
            Python does; `goal` at batch IN_TWO; `things` in a batch, float[B], 1 each if left out.
    """
    calls, plain, goal = how.get("calls", CALLS), how["plain"], how.get("goal", "")
    things = how.get("things", np.ones(max(batches)))

    def wait(part: Any, times: int = 1) -> None:
        for _ in range(times):
            jax.block_until_ready(run(part))

    def tell(name: str, rate: float, goal: str) -> None:
        report(f"{label}: {name}, ratio to plain Python", f"{rate:,.0f}/s, {rate / plain:,.0f}", goal)

    for batch in batches:
        part = jax.device_put(jax.tree.map(lambda leaf, batch=batch: leaf[:batch], inputs))
        seconds = median_seconds(functools.partial(wait, part, calls), repeats=how.get("repeats", 3), warm_up=1)
        tell(f"batch {batch}", things[:batch].sum() * calls / seconds, goal if batch == IN_TWO else "")
        if batch == IN_TWO:
            halves = [jax.tree.map(lambda leaf, at=at: leaf[at : at + IN_TWO // 2], part) for at in (0, IN_TWO // 2)]
            with ThreadPoolExecutor(2) as pool:
                both = functools.partial(_all, pool, functools.partial(wait, times=calls), halves)
                seconds = median_seconds(both, repeats=how.get("repeats", 3), warm_up=1)
            tell(f"batch {batch}, two threads", things[:batch].sum() * calls / seconds, goal)


def _all(pool: ThreadPoolExecutor, function: Callable[[Any], None], parts: Sequence[Any]) -> None:
    list(pool.map(function, parts))


def static(graph: str, goal: str, oracle: ModuleType) -> None:
    """Random designs of one graph."""
    instance = get_instance(graph)
    arrays, count, most = model.arrays(instance), len(instance), max(STATIC_BATCHES)
    generator = np.random.default_rng(0)
    ranks = generator.integers(0, count, (most, count)).astype(np.int32)
    drawn = np.where(instance.feasible, generator.random((most, *instance.feasible.shape)), -1.0)
    elements = drawn.argmax(axis=2).astype(np.int32)
    device = jax.device_put(arrays)
    order = np.asarray(jax.vmap(functools.partial(model.effective_order, device))(ranks))
    name = f"{count} tasks, {instance.elements} elements"
    for label, schedule in SCHEDULERS.items():
        run = _batched(schedule, device)
        given = None if label == "earliest finish" else elements
        sample = [(ranks[i].tolist(), None if given is None else given[i].tolist()) for i in range(16)]
        theirs = [oracle.schedule(instance, *each).makespan_us for each in sample]
        ours = np.asarray(run((ranks[:16], order[:16], elements[:16]))).tolist()
        report(f"{name}, {label}: 16 makespans equal plain Python's", str(ours == theirs), "True")
        plain_s = median_seconds(lambda sample=sample: [oracle.schedule(instance, *each) for each in sample], repeats=5)
        report(f"{name}, {label}: plain Python", f"{16 / plain_s:,.0f}/s")
        inputs = (ranks, order, elements)
        rates(f"{name}, {label}", run, inputs, STATIC_BATCHES, plain=16 / plain_s, goal=goal)


def _batched(schedule: Callable[..., Any], arrays: model.Arrays) -> Callable[[Any], jax.Array]:
    """Makespans, int32[B] us, of designs (ranks, order, elements), int32[B, N] each."""
    together = jax.jit(jax.vmap(lambda a, *design: jnp.max(schedule(a, *design).available), in_axes=(None, 0, 0, 0)))
    return lambda designs: together(arrays, *designs)


def stream(
    mix_name: str, jobs: int, batches: Sequence[int], goal: str, oracle: ModuleType, left_out: Sequence[str] = ()
) -> None:
    """Traces of one mix under two named rules, one that compares the ready tasks, and under the weighted rule."""
    mix = MIXES[mix_name]
    instances = [get_instance(graph, mix.platform) for graph in mix.graphs]
    arrays = simulator.arrays(instances)
    known = rules.facts(arrays, instances)
    traces = draw_traces(
        max(batches),
        jobs=jobs,
        probabilities=mix.probabilities,
        mean_interval_us=mix.mean_interval_us,
        noise=0.0,
        tasks=arrays.run_time.shape[1],
        seed=[1],
    )
    tasks = np.array([len(instance) for instance in instances])[traces.kind].sum(axis=1)
    first = [oracle.Trace(*(leaf[lane] for leaf in traces)) for lane in range(4)]
    nothing = np.zeros((1, 0), np.int32)
    schedulers: dict[str, tuple[Callable[..., simulator.Rule], Any]] = {
        "eft": (lambda known, _: rules.named_rule("eft", known), nothing),
        "etf_finish": (lambda known, _: rules.named_rule("etf_finish", known), nothing),
        "weighted rule": (rules.weighted_rule, WEIGHTS),
    }
    for label in sorted(schedulers.keys() - set(left_out)):
        rule_of, designs = schedulers[label]
        run = _played(rule_of, mix.queue, jax.device_put((arrays, known, designs)))
        name, classic = f"{mix_name}, {label}", label if label in rules.RULES else "eft"
        simulate = functools.partial(_simulate, oracle, instances, first, getattr(oracle, classic), mix.queue)
        if classic == label:
            ours = np.asarray(run(jax.tree.map(lambda leaf: leaf[: batches[-1]], traces)))[0, : len(first)].tolist()
            report(f"{name}: latencies of {len(first)} traces equal plain Python's", str(ours == simulate()), "True")
        plain = tasks[: len(first)].sum() / median_seconds(simulate, repeats=1, warm_up=0)
        report(f"{name}: plain Python, {classic}", f"{plain:,.0f}/s")
        rates(name, run, traces, batches, plain=plain, goal=goal, things=tasks, calls=1)


def _played(rule_of: Callable[..., simulator.Rule], queue: int, fixed: Any) -> Callable[[simulator.Trace], jax.Array]:
    """Sums of latencies, int32[1, S] us, of traces; instance and design are arguments, as in `Problem.evaluate`."""

    def play(fixed: Any, traces: simulator.Trace) -> jax.Array:
        arrays, known, designs = fixed
        last = simulator.play(arrays, traces, lambda design: rule_of(known, design), designs, queue=queue)
        return last.latency_us

    return functools.partial(jax.jit(play), fixed)


def _simulate(
    oracle: ModuleType, instances: Sequence[Instance], traces: Sequence[Any], rule: Any, queue: int
) -> list[int]:
    """us: sums of latencies, by plain Python."""
    return [sum(oracle.simulate(instances, trace, rule, queue=queue).latencies_us) for trace in traces]


def environment_steps(lanes: int) -> None:
    """Steps of the form `decisions` under random actions: the vector environment, or for one lane the single one."""
    options: dict[str, Any] = {"jobs": "top", "count": "60"}
    generator = np.random.default_rng(0)
    if lanes == 1:
        env = gymnasium.make("dsegym/SocSchedulingStream-v0", **options)
        actions: Any = generator.integers(0, 3, STEPS).tolist()
    else:
        env = gymnasium.make_vec("dsegym/SocSchedulingStream-v0", num_envs=lanes, **options)
        actions = generator.integers(0, 3, (STEPS, lanes))
    env.reset(seed=0)

    def episode() -> None:
        for action in actions:
            *_, terminated, _, _ = env.step(action)
            if lanes == 1 and terminated:
                env.reset()

    name = "one environment" if lanes == 1 else f"vector environment, {lanes} lanes"
    report(f"top, decisions: {name}", f"{STEPS * lanes / median_seconds(episode, repeats=5, warm_up=1):,.0f} steps/s")


def main() -> None:
    """Prints the tables."""
    oracle = load_oracle("soc_oracle")
    print("SoC scheduling: static schedules a second")
    for graph, goal in STATIC.items():
        static(graph, goal, oracle)
    print("SoC scheduling: streaming decisions a second")
    stream("top", 60, STREAM_BATCHES, "1 million", oracle)
    stream("wifi", 8, WIFI_BATCHES, "", oracle, left_out=("etf_finish",))
    print("SoC scheduling: environment steps a second")
    for lanes in (1, 64, 256):
        environment_steps(lanes)


if __name__ == "__main__":
    main()
