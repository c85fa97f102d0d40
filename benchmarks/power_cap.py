"""Steps of power-capped rows a second, as a ratio to plain Python in the same run, and designs a second.

Plain Python is the tests' oracle, `tests/oracles/power_oracle.py`, on the same luck, which is drawn for it beforehand
and not counted.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from timing import load_oracle, median_seconds, report

import dsegym
from dsegym.costmodels.luck import episode_key
from dsegym.costmodels.serving.power import game
from dsegym.envs.core.problem import evaluate_batch

LANES = (64, 1024)
LOW, HIGH = 2, 1  # levels of both classes, all the while: the plant's steps, no policy's


def main() -> None:
    """Prints the table."""
    print("Rows under power caps: steps of 5 s, and policies over 256 episodes")
    problem = dsegym.make_problem("dsegym/PowerCap-v0")
    params, steps = problem.params, int(problem.params.steps)
    levels = jnp.array([LOW, HIGH], jnp.int32)

    def episode(seed: jax.Array) -> tuple[game.State, game.State]:
        first = game.start(episode_key(seed), params)
        step = lambda state, _: (game.advance(state, levels, params), None)  # noqa: E731
        return first, jax.lax.scan(step, first, None, length=steps)[0]

    play = jax.jit(jax.vmap(episode))
    first, last = jax.tree.map(lambda leaf: np.asarray(leaf[0]), play(np.asarray(params.seeds[:1])))
    drawn = jax.jit(jax.vmap(lambda step: game.draws(first.seed, step)))(jnp.arange(1, steps + 1))
    columns = {name: np.asarray(leaf).tolist() for name, leaf in drawn._asdict().items()}
    luck = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    row = load_oracle("power_oracle").Row(
        day=float(first.day),
        steps=steps,
        delay_steps=int(params.delay_steps),
        shares=params.shares.tolist(),
        servers=float(params.servers),
        first_hour=float(params.first_hour),
    )
    start = time.perf_counter()
    for chance in luck:
        row.advance([LOW, HIGH], chance)
    plain = steps / (time.perf_counter() - start)
    same = bool(np.isclose(float(last.power), row.power, atol=2e-4)) and int(last.brakes) == row.brakes
    report("the last step's power and the brakes equal plain Python's", str(same), "True")
    report("plain Python: steps", f"{plain:,.0f}/s")
    for lanes in LANES:
        seeds = np.arange(lanes, dtype=np.uint32)
        seconds = median_seconds(lambda seeds=seeds: jax.block_until_ready(play(seeds)), repeats=3, warm_up=1)
        rate = lanes * steps / seconds
        report(f"{lanes:,} lanes: steps, ratio to plain Python", f"{rate:,.0f}/s, {rate / plain:,.0f}", "1 million")

    batch = problem.space.sample(np.random.default_rng(0), max(problem.batch_sizes))
    seconds = median_seconds(
        lambda: jax.block_until_ready(evaluate_batch(problem.cost, batch, params)), repeats=3, warm_up=1
    )
    report(f"policies of 256 episodes, {len(batch)} at once", f"{len(batch) / seconds:,.1f}/s")


if __name__ == "__main__":
    main()
