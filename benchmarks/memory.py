"""Mappings played a second, the ratio to plain Python on the same plans in the same run, and environment steps.

Plain Python is the tests' oracle: `tests/oracles/memory_oracle.py`, one plan at a time.
"""

from __future__ import annotations

import functools
from types import ModuleType

import gymnasium
import jax
import numpy as np
from timing import load_oracle, median_seconds, report

from dsegym.costmodels.memory import simulator
from dsegym.costmodels.memory.instance import Capacity, discrete_program

PROGRAMS = ("mlp_train", "transformer_train", "lstm", "lstm_train")  # 106, 400, 510 and 744 accesses
BATCHES = (1, 64, 1024)
LANES = 1024


def against_plain_python(name: str, oracle: ModuleType) -> None:
    """Plays random plans of one program with both, at every batch size."""
    discrete = discrete_program(name, "tpu_v4i", Capacity(peak_share=0.25), "charged")
    arrays = jax.device_put(discrete.arrays)
    count = len(discrete.program.accesses)
    plans = np.random.default_rng(0).integers(0, 3, (max(BATCHES), count)).astype(np.int32)
    play = jax.jit(jax.vmap(lambda arrays, plan: simulator.play(arrays, plan).latency, in_axes=(None, 0)))
    ours = [int(x) for x in play(arrays, plans[:4])]
    theirs = [oracle.simulate(discrete, plan.tolist()).latency_ticks for plan in plans[:4]]
    report(f"{name}: latencies of four plans equal plain Python's", str(ours == theirs), "True")
    plain = [
        median_seconds(lambda plan=plan: oracle.simulate(discrete, plan), repeats=1) for plan in plans[:8].tolist()
    ]
    plain_s = float(np.median(plain))
    report(f"{name}: {count} accesses, plain Python", f"{1 / plain_s:,.1f}/s")
    for batch in BATCHES:
        chosen = jax.device_put(plans[:batch])
        seconds = median_seconds(functools.partial(_wait, play, arrays, chosen), repeats=7)
        ratio = f"{batch / seconds:,.0f}/s, {batch / seconds * plain_s:,.1f}"
        report(f"{name}: batch {batch}, ratio to plain Python", ratio, "100" if batch == 1024 else "")


def _wait(function, *arguments) -> None:
    jax.block_until_ready(function(*arguments))


def environment_steps(name: str, form: str) -> None:
    """Steps of the vector environment, and the bytes that a lane's state takes."""
    env = gymnasium.make_vec("dsegym/MemoryMapping-v0", num_envs=LANES, program=name, form=form)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 3, (64, LANES))
    stream = iter(np.tile(actions, (100, 1)))
    seconds = median_seconds(lambda: env.step(next(stream)), repeats=30)
    report(f"{name}, {form}: steps a second at {LANES} lanes", f"{LANES / seconds:,.0f}")
    functional = env.unwrapped.functional
    state = jax.eval_shape(functional.start, jax.random.key(0), env.unwrapped.problem.params)
    held = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    space = functional.observation_space
    parts = getattr(space, "spaces", {"vector": space}).values()
    seen = sum(int(np.prod(part.shape)) * np.dtype(part.dtype).itemsize for part in parts)
    report(f"{name}, {form}: a lane's state and observation", f"{held:,} B, {seen:,} B")


def main() -> None:
    """Prints the table."""
    print("Memory mapping: random plans on tpu_v4i, a quarter of the activation peak")
    oracle = load_oracle("memory_oracle")
    for name in PROGRAMS:
        against_plain_python(name, oracle)
    for form in ("sequential", "image"):
        environment_steps("mlp_train", form)


if __name__ == "__main__":
    main()
