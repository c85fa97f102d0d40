"""Gumbel MuZero and imitation: simulations and training steps a second, and what a tree of true states takes.

On memory mapping at several capacities, B lanes; compilation is not counted.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import median_seconds, report

from dsegym.agents.learners.gumbel_muzero import GumbelMuZero
from dsegym.agents.learners.imitation import Imitation
from dsegym.envs.core.collections import Collection

LANES = 64


def capacities(program: str) -> Collection:
    """A program at capacities that differ."""
    parts = [
        [{"program": program, "capacity": share} for share in part] for part in ((0.2, 0.3, 0.4), (0.35,), (0.25,))
    ]
    return Collection("capacities", "dsegym/MemoryMapping-v0", "", *[lambda part=part: part for part in parts])


def state_bytes(env: Any, params: Any) -> int:
    """Of one state of an episode."""
    state = jax.eval_shape(lambda: env.start(jax.random.key(0), jax.tree.map(jnp.asarray, params)))
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def seconds_of_an_update(learner: Any, collection: Collection) -> tuple[float, int, Any, Any]:
    """Seconds, environment steps, and what was played."""
    env, params = learner.environment(collection)
    arrays = jax.tree.map(jnp.asarray, params)
    carry = jax.jit(lambda key: learner.begin(env, arrays, key, 100))(jax.random.key(0))
    update = jax.jit(lambda carry: learner.update(env, arrays, carry))
    seconds = median_seconds(lambda: jax.block_until_ready(update(carry)), repeats=5, warm_up=1)
    return seconds, learner.steps_per_update(env), env, params


def main() -> None:
    """Prints the figures."""
    print("Learners that search and that imitate, memory mapping")
    collection = capacities("mlp_train")
    seconds, steps, _, _ = seconds_of_an_update(Imitation(), collection)
    report("imitation: training steps a second", f"{steps / seconds:,.0f}")
    for simulations in (4, 16, 64):
        learner = GumbelMuZero(lanes=LANES, simulations=simulations)
        seconds, steps, env, params = seconds_of_an_update(learner, collection)
        searched = f"{simulations} simulations"
        report(f"Gumbel MuZero, {searched}: training steps a second", f"{steps / seconds:,.0f}")
        report(
            f"Gumbel MuZero, {searched}: simulations a second, learning included",
            f"{simulations * steps / seconds:,.0f}",
        )
        tree = LANES * (simulations + 1) * state_bytes(env, params)
        report(f"Gumbel MuZero, {searched}: states of the trees of {LANES} lanes", f"{tree / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
