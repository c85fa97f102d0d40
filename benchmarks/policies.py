"""Costs of policies, designs a second at batch 1, 128 and 4,096, beside what they were: one design after another.

The peer is the cost function before batches came in blocks: `sequential_vmap` over designs, each on all episodes for as
many steps as the horizon has, in batches of at most 128. Both are measured in turn.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from timing import paired_seconds, report

import dsegym
from dsegym.envs.core.evaluation import Evaluation

INSTANCES = (
    ("dsegym/BatchBestOfN-v0", {"data": "humaneval"}),
    ("dsegym/SolveVerify-v0", {}),
    ("dsegym/TreeSearch-v0", {}),
    ("dsegym/SleepTime-v0", {}),
)
BATCHES = (1, 128, 4096)


def one_after_another(env):
    """`(designs [B, n], params) -> Evaluation`, jitted: as it was."""

    def play(seed, design, params):
        def step(state, _):
            moved = env.advance(state, env.decide(design, state, params), params)
            over = env.over(state, params)
            return jax.tree.map(lambda old, new: jnp.where(over, old, new), state, moved), None

        first = env.start(jax.random.fold_in(jax.random.key(seed), 0), params)
        return jax.lax.scan(step, first, None, length=env.horizon)[0]

    @jax.custom_batching.sequential_vmap
    def cost(design, params):
        states = jax.vmap(play, in_axes=(0, None, None))(jnp.asarray(params.seeds), design, params)
        metrics = jax.vmap(env.metrics, in_axes=(0, None))(states, params)
        means = jax.tree.map(lambda leaf: jnp.mean(leaf.astype(jnp.float32), axis=0), metrics)
        return Evaluation(means, env.objective(means), jnp.bool_(True))

    return jax.jit(jax.vmap(cost, in_axes=(0, None)))


def compare(scenario: str, options: dict[str, object]) -> None:
    """Prints the rates of one instance."""
    problem = dsegym.make_problem(scenario, **options)
    before, params = one_after_another(problem.functional_env()), jax.tree.map(jnp.asarray, problem.env_params())

    def peer(designs: np.ndarray) -> None:
        for start in range(0, len(designs), 128):
            jax.block_until_ready(before(designs[start : start + 128], params))

    for batch in BATCHES:
        designs = problem.space.sample(np.random.default_rng(0), batch)
        ours_s, peer_s, ratio = paired_seconds(
            functools.partial(problem.evaluate, designs),
            functools.partial(peer, designs),
            pairs=1 if batch > 128 else 7,
        )
        goal = "at least 10 on two cores where they allow, 100 on a GPU" if batch == BATCHES[-1] else ""
        report(f"{scenario}, batch {batch}", f"{batch / ours_s:,.0f}")
        report("  one design after another", f"{batch / peer_s:,.0f}")
        report("  ratio", f"{ratio:.2f}", goal)


def main() -> None:
    """Prints the table."""
    print(f"Policies: designs a second on {jax.default_backend()}")
    for scenario, options in INSTANCES:
        compare(scenario, options)


if __name__ == "__main__":
    main()
